/* SPDX-License-Identifier: Apache-2.0 */
/* `defaultRoute` and `routes` through the plugin's binary: ADD, what the runtime is told, CHECK. */
#include "tests/net/plugin_world.h"

#define LISTED ",\"defaultRoute\":false,\"routes\":[{\"dst\":\"192.0.2.0/24\"},{\"dst\":\"2001:db8:2::/64\"}]"

static struct net_route route_of(struct world *world, const char *dst)
{
	struct net_route route = { .onlink = true, .protocol = BERTH_RTPROT };
	struct net_link link = { 0 };

	assert_int_equal(net_link_by_name(world->pod, "eth0", &link, NULL), 0);
	assert_int_equal(prefix_parse(dst, &route.dst), 0);
	assert_int_equal(ipaddr_parse(route.dst.addr.family == IP_V6 ? "fe80::1" : "169.254.1.1", &route.gateway), 0);
	route.oif = link.index;
	return route;
}

static int is_same(const struct net_route *route, void *arg)
{
	const struct net_route *wanted = arg;

	return prefix_cmp(&route->dst, &wanted->dst) == 0 && route->oif == wanted->oif &&
	       ipaddr_equal(&route->gateway, &wanted->gateway);
}

static bool pod_has(struct world *world, const char *dst)
{
	struct net_route route = route_of(world, dst);

	return net_routes(world->pod, (enum ip_family)route.dst.addr.family, NET_TABLE_MAIN, is_same, &route, NULL) ==
	       1;
}

/* ADD, and the keys that a CHECK of it has. */
static const char *add(struct world *world, const char *keys, char more[static MORE_SIZE])
{
	_cleanup_output_ struct output output = { 0 };

	world->fake.dual = true;
	output = run_more(world, "ADD", keys);
	if (output.status != 0)
		fail_msg("%s", output.out);
	(void)snprintf(more, MORE_SIZE, "%s,\"prevResult\":%s", keys, output.out);
	return more;
}

static void check_says(struct world *world, const char *more, const char *part)
{
	_cleanup_output_ struct output output = run_more(world, "CHECK", more);

	if (part)
		check_error(&output, 103, part);
	else if (output.status != 0)
		fail_msg("%s", output.out);
}

static void test_add__listed_destinations_alone(void **state)
{
	static char more[MORE_SIZE];
	struct world *world = *state;

	(void)add(world, LISTED, more);
	assert_true(pod_has(world, "192.0.2.0/24") && pod_has(world, "2001:db8:2::/64"));
	assert_false(pod_has(world, "0.0.0.0/0") || pod_has(world, "::/0"));
	assert_non_null(strstr(more, "\"routes\":[{\"dst\":\"192.0.2.0/24\",\"gw\":\"169.254.1.1\"},"
				     "{\"dst\":\"2001:db8:2::/64\",\"gw\":\"fe80::1\"}]"));
	check_says(world, more, NULL);
}

static void test_add__no_route_at_all(void **state)
{
	static char more[MORE_SIZE];
	struct world *world = *state;

	(void)add(world, ",\"defaultRoute\":false", more);
	assert_false(pod_has(world, "0.0.0.0/0") || pod_has(world, "::/0"));
	assert_non_null(strstr(more, "\"routes\":[]"));
	check_says(world, more, NULL);
}

static void test_add__listed_destinations_beside_the_default(void **state)
{
	static char more[MORE_SIZE];
	struct world *world = *state;

	(void)add(world, ",\"routes\":[{\"dst\":\"192.0.2.0/24\"}]", more);
	assert_true(pod_has(world, "192.0.2.0/24") && pod_has(world, "0.0.0.0/0") && pod_has(world, "::/0"));
	check_says(world, more, NULL);
}

static void test_check__listed_destinations__cni_d4_29(void **state)
{
	static char more[MORE_SIZE];
	struct world *world = *state;
	struct net_route route;
	char *listed;

	(void)add(world, LISTED, more);
	route = route_of(world, "2001:db8:2::/64");
	assert_int_equal(net_route_del(world->pod, &route, NULL), 0);
	check_says(world, more, "pod lacks the route to 2001:db8:2::/64 via fe80::1 dev eth0");
	/* one that a plugin behind us has taken away, and out of the result, is no finding */
	listed = strstr(more, ",{\"dst\":\"2001:db8:2::/64\",\"gw\"");
	assert_non_null(listed);
	memset(listed, ' ', strlen(",{\"dst\":\"2001:db8:2::/64\",\"gw\":\"fe80::1\"}"));
	check_says(world, more, NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		plugin_test(test_add__listed_destinations_alone),
		plugin_test(test_add__no_route_at_all),
		plugin_test(test_add__listed_destinations_beside_the_default),
		plugin_test(test_check__listed_destinations__cni_d4_29),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
