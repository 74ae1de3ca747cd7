/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/net/world.h"

#define NO_LINK 9999

static struct net_route cover_of(const char *prefix)
{
	return (struct net_route){ .dst = prefix_from(prefix),
				   .type = NET_ROUTE_UNREACHABLE,
				   .table = NET_TABLE_LOCAL,
				   .protocol = BERTH_RTPROT };
}

static int is_wanted(const struct net_route *route, void *arg)
{
	return prefix_cmp(&route->dst, arg) == 0 && route->type == NET_ROUTE_UNREACHABLE;
}

static bool has_cover(struct net *net, const char *prefix)
{
	struct prefix wanted = prefix_from(prefix);

	return net_routes(net, IP_V4, NET_TABLE_LOCAL, is_wanted, &wanted, NULL) == 1;
}

static bool has_addr(const struct world *w, const char *text)
{
	_cleanup_free_ char *shown = world_ip(w->a_name, "addr show dev eth0");

	return strstr(shown, text) != NULL;
}

static void test_net_batch_end__all_are_made_in_their_order(void **state)
{
	const struct world *w = *state;
	int index = world_pair(w->a, "eth0", "p0");
	const struct ipaddr addr = addr_of("10.0.1.5");
	const struct net_route on_link = { .dst = prefix_from("10.0.1.17/32"), .oif = index, .protocol = BERTH_RTPROT };
	const struct net_route cover = cover_of("10.0.2.0/24");

	must(net_link_set_up(w->a, index, false, &err));
	net_batch_begin(w->a);
	must(net_link_set_up(w->a, index, true, &err)); /* or there would be no route to it */
	must(net_addr_add(w->a, index, &addr, 32, NET_ADDR_NODAD, &err));
	must(net_route_replace(w->a, &on_link, &err));
	must(net_route_replace(w->a, &cover, &err));
	assert_false(has_addr(w, "10.0.1.5"));
	must(net_batch_end(w->a, &err));
	assert_true(has_addr(w, "10.0.1.5/32"));
	assert_true(has_cover(w->a, "10.0.2.0/24")); /* the socket may be asked again */
}

/* Whether it comes first or last. */
static void test_net_batch_end__a_refusal_is_told_and_the_others_are_made(void **state)
{
	const struct world *w = *state;
	const struct net_route covers[] = { cover_of("10.0.2.0/24"), cover_of("10.0.3.0/24"), cover_of("10.0.4.0/24") };
	static const char *const names[] = { "10.0.2.0/24", "10.0.3.0/24", "10.0.4.0/24" };

	for (size_t at = 0; at < ARRAY_SIZE(covers); at++) {
		struct err refused = { 0 };

		net_batch_begin(w->a);
		for (size_t i = 0; i < ARRAY_SIZE(covers); i++) {
			if (i == at)
				must(net_link_set_up(w->a, NO_LINK, true, &err));
			else
				must(net_route_replace(w->a, &covers[i], &err));
		}
		assert_int_equal(net_batch_end(w->a, &refused), -1);
		assert_int_equal(refused.class, ERR_NOTFOUND);
		assert_int_equal(refused.code, ENODEV);
		assert_contains(refused.msg, "one of 3 changes");
		for (size_t i = 0; i < ARRAY_SIZE(covers); i++) {
			assert_int_equal(has_cover(w->a, names[i]), i != at);
			must(net_route_del(w->a, &covers[i], &err));
		}
	}
}

static void test_net_batch_end__the_first_refusal_counts(void **state)
{
	const struct world *w = *state;
	int index = world_pair(w->a, "eth0", "p0");
	const struct ipaddr addr = addr_of("10.0.1.5");
	struct err refused = { 0 };

	net_batch_begin(w->a);
	must(net_addr_add(w->a, index, &addr, 32, 0, &err));
	must(net_addr_add(w->a, index, &addr, 32, 0, &err));
	must(net_link_set_up(w->a, NO_LINK, true, &err));
	assert_int_equal(net_batch_end(w->a, &refused), -1);
	assert_int_equal(refused.class, ERR_CONFLICT);
	must(net_addr_add(w->a, index, &addr, 32, 0, &err)); /* alone it is none */
}

/* More than a datagram holds: nothing of it is made. */
static void test_net_batch_end__too_much(void **state)
{
	const struct world *w = *state;
	const struct net_route cover = cover_of("10.0.2.0/24");
	struct err refused = { 0 };
	int taken = 0;

	net_batch_begin(w->a);
	while (taken < 10000 && net_route_replace(w->a, &cover, &refused) == 0)
		taken++;
	assert_in_range(taken, 100, 9999);
	assert_int_equal(net_batch_end(w->a, &refused), -1);
	assert_int_equal(refused.class, ERR_EXHAUSTED);
	assert_false(has_cover(w->a, "10.0.2.0/24"));
}

static void test_net_batch_end__nothing_to_do(void **state)
{
	const struct world *w = *state;

	net_batch_begin(w->a);
	must(net_batch_end(w->a, &err));
	assert_false(has_cover(w->a, "10.0.2.0/24"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_net_batch_end__all_are_made_in_their_order),
		world_test(test_net_batch_end__a_refusal_is_told_and_the_others_are_made),
		world_test(test_net_batch_end__the_first_refusal_counts),
		world_test(test_net_batch_end__too_much),
		world_test(test_net_batch_end__nothing_to_do),
	};

	return cmocka_run_group_tests_name("net_batch", tests, NULL, NULL);
}
