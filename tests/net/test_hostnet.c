/* SPDX-License-Identifier: Apache-2.0 */
/* hostnet_sync() and its neighbours: repairs, foreign things, NICs that come and go, routes of pods. */
#include "tests/net/node_world.h"

/* ---- sync ---- */

static void test_sync__a_second_time_changes_nothing(void **state)
{
	struct wish wish;

	(void)state;
	usual(&wish);
	sync_ok(&wish);
	sync_ok(&wish);
	assert_int_equal(wish.report.added, 0);
	assert_int_equal(wish.report.removed, 0);
	assert_int_equal(wish.report.pods_without_link, 0);
	assert_true(wish.nics[0].ready && wish.nics[1].ready);
	assert_string_equal(wish.nics[0].ifname, "eth0");
	assert_string_equal(wish.nics[1].ifname, "eth1");
}

struct found {
	uint32_t table;
	int oif;
	bool ours_only;
	unsigned count;
};

static int count_route(const struct net_route *route, void *arg)
{
	struct found *found = arg;

	found->count += (!found->table || route->table == found->table) && (!found->oif || route->oif == found->oif) &&
			(!found->ours_only || route->protocol == BERTH_RTPROT);
	return 0;
}

static unsigned count_routes(uint32_t table, const char *dev, bool ours_only)
{
	struct found found = { .table = table, .oif = dev ? link_index(NA, dev) : 0, .ours_only = ours_only };

	must(net_routes(world.net[NA], IP_V4, 0, count_route, &found, &oops));
	return found.count;
}

static int count_rule(const struct net_rule *rule, void *arg)
{
	*(unsigned *)arg += rule->protocol == BERTH_RTPROT;
	return 0;
}

static unsigned count_rules(void)
{
	unsigned count = 0;

	must(net_rules(world.net[NA], IP_V4, count_rule, &count, &oops));
	return count;
}

static int delete_rule(const struct net_rule *rule, void *arg)
{
	(void)arg;
	if (rule->protocol == BERTH_RTPROT)
		must(net_rule_del(world.net[NA], rule, &oops));
	return 0;
}

static int delete_route(const struct net_route *route, void *arg)
{
	(void)arg;
	if (route->protocol == BERTH_RTPROT)
		must(net_route_del(world.net[NA], route, &oops));
	return 0;
}

static void test_sync__repairs_what_others_flush(void **state)
{
	struct wish wish;
	unsigned routes = count_routes(0, NULL, true), rules = count_rules();

	(void)state;
	assert_int_equal(rules, 2);
	assert_int_equal(routes, 6); /* two covers, two pods, a gateway and a default */
	must(net_rules(world.net[NA], IP_V4, delete_rule, NULL, &oops));
	must(net_routes(world.net[NA], IP_V4, 0, delete_route, NULL, &oops));
	assert_int_equal(count_rules() + count_routes(0, NULL, true), 0);
	does_not_pass(&secondary_flows[0]);
	usual(&wish);
	sync_ok(&wish);
	assert_int_equal(wish.report.added, routes + rules);
	assert_int_equal(wish.report.removed, 0);
	each(plain_flows, passes);
	each(secondary_flows, passes);
	each(internet_flows, passes);
	each(nodeport_flows, passes);
}

static void test_sync__repairs_a_link_that_was_taken_down(void **state)
{
	const struct ipaddr addr = ip("10.0.0.20");
	struct wish wish;

	(void)state;
	must(net_link_set_up(world.net[NA], link_index(NA, "eth1"), false, &oops));
	must(net_addr_del(world.net[NA], link_index(NA, "eth1"), &addr, 32, &oops));
	sysctl(NA, "net/ipv4/conf/eth1/rp_filter", "1");
	sysctl(NA, "net/ipv4/ip_forward", "0");
	usual(&wish);
	sync_ok(&wish);
	assert_int_equal(wish.report.added, 4); /* up, address, gateway, default */
	each(secondary_flows, passes);
}

static void test_sync__follows_the_mtu_of_the_primary(void **state)
{
	struct net_link link = { 0 };
	struct wish wish;

	(void)state;
	must(net_link_set_mtu(world.net[NA], link_index(NA, "eth0"), 1400, &oops));
	usual(&wish);
	sync_ok(&wish);
	must(net_link_by_name(world.net[NA], "eth1", &link, &oops));
	assert_int_equal(link.mtu, 1400);
	assert_int_equal(wish.nics[0].mtu, 1400);
	assert_int_equal(wish.nics[1].mtu, 1400);
	must(net_link_set_mtu(world.net[NA], link_index(NA, "eth0"), 1500, &oops));
}

static struct net_rule foreign_rule(void)
{
	return (struct net_rule){ .family = IP_V4,
				  .priority = RULE_PRIORITY + 1,
				  .fwmark = 0x1000,
				  .fwmask = 0x1000,
				  .table = TABLE_BASE + 1,
				  .protocol = RTPROT_STATIC };
}

static int find_foreign_rule(const struct net_rule *rule, void *arg)
{
	const struct net_rule wanted = foreign_rule();

	(void)arg;
	return rule->protocol == wanted.protocol && rule->fwmark == wanted.fwmark;
}

static int find_route(const struct net_route *route, void *arg)
{
	const struct net_route *wanted = arg;

	return prefix_cmp(&route->dst, &wanted->dst) == 0 && route->table == wanted->table &&
	       route->protocol == wanted->protocol && route->type == wanted->type;
}

static bool has_route(const struct net_route *route)
{
	struct net_route wanted = *route;
	struct err err;

	return net_routes(world.net[NA], route->dst.addr.family, 0, find_route, &wanted, &err) == 1;
}

/* Foreign things in our own places: our table, our priority, table local, main; also when the NIC goes. */
static void test_sync__leaves_what_others_made(void **state)
{
	struct net_rule rule = foreign_rule();
	struct net_route routes[] = {
		{ .dst = pfx("192.0.2.0/24"),
		  .type = NET_ROUTE_UNREACHABLE,
		  .table = TABLE_BASE + 1,
		  .protocol = RTPROT_STATIC },
		{ .dst = pfx("192.0.2.1/32"),
		  .type = NET_ROUTE_UNREACHABLE,
		  .table = NET_TABLE_LOCAL,
		  .protocol = RTPROT_STATIC },
		{ .dst = pfx("192.0.2.2/32"),
		  .type = NET_ROUTE_UNICAST,
		  .table = NET_TABLE_MAIN,
		  .oif = link_index(NA, "eth1"),
		  .protocol = RTPROT_STATIC },
	};
	struct wish wish;
	struct err err;

	(void)state;
	must(net_rule_add(world.net[NA], &rule, &oops));
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		must(net_route_replace(world.net[NA], &routes[i], &oops));
	usual(&wish);
	sync_ok(&wish);
	wish.want.nic_count = 1;
	wish.want.pod_count = wish.want.block_count = 0;
	sync_ok(&wish);
	assert_int_equal(net_rules(world.net[NA], IP_V4, find_foreign_rule, NULL, &err), 1);
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		assert_true(has_route(&routes[i]));
	must(net_rule_del(world.net[NA], &rule, &oops));
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		must(net_route_del(world.net[NA], &routes[i], &oops));
}

static void test_sync__a_nic_that_goes(void **state)
{
	struct wish wish;

	(void)state;
	usual(&wish);
	wish.want.nic_count = 1;
	sync_ok(&wish);
	assert_int_equal(wish.report.removed, 3); /* rule, gateway, default */
	assert_int_equal(count_routes(TABLE_BASE + 1, NULL, true), 0);
	assert_int_equal(count_rules(), 1);
	each(plain_flows, passes);
}

static void test_sync__a_nic_whose_link_is_not_there_yet(void **state)
{
	struct wish wish;

	(void)state;
	usual(&wish);
	wish.nics[2] = wish.nics[1];
	wish.nics[2].slot = 2;
	assert_int_equal(macaddr_parse("02:00:00:00:00:99", &wish.nics[2].mac), 0);
	wish.want.nic_count = 3;
	sync_ok(&wish);
	assert_false(wish.nics[2].ready);
	assert_string_equal(wish.nics[2].ifname, "");
	assert_int_equal(wish.report.added + wish.report.removed, 0);
}

/* A host end never is a NIC, even under a NIC's MAC. */
static void test_sync__a_pods_link_under_the_mac_of_a_nic(void **state)
{
	struct net_link pod = { 0 };
	struct wish wish;

	(void)state;
	must(net_link_by_name(world.net[NA], "bth00000000001", &pod, &oops));
	usual(&wish);
	wish.nics[2] = wish.nics[1];
	wish.nics[2].slot = 2;
	wish.nics[2].mac = pod.mac;
	wish.want.nic_count = 3;
	sync_ok(&wish);
	assert_false(wish.nics[2].ready);
	assert_int_equal(wish.report.added, 0);
}

/* What DHCP does to a NIC that appears: an address with its subnet's length, so a route in main. */
static void test_sync__address_with_a_prefix_route(void **state)
{
	const struct ipaddr addr = ip("10.0.0.20");
	int index = link_index(NA, "eth1");
	struct wish wish;

	(void)state;
	must(net_addr_del(world.net[NA], index, &addr, 32, &oops));
	must(net_addr_add(world.net[NA], index, &addr, 20, 0, &oops));
	assert_int_equal(count_routes(NET_TABLE_MAIN, "eth1", false), 1);
	usual(&wish);
	sync_ok(&wish);
	assert_int_equal(count_routes(NET_TABLE_MAIN, "eth1", false), 0);
	assert_int_equal(count_routes(NET_TABLE_MAIN, "eth0", false), 2);
	sync_ok(&wish);
	assert_int_equal(wish.report.added + wish.report.removed, 0);
	each(secondary_flows, passes);
	must(net_addr_del(world.net[NA], index, &addr, 20, &oops));
}

/* An agent of the cloud's image that assigns the node's addresses to its interface. */
static void test_sync__address_of_a_block_on_an_interface(void **state)
{
	const struct ipaddr addr = ip("10.0.0.70");
	struct net_route kernels = {
		.dst = pfx("10.0.0.70"), .type = NET_ROUTE_LOCAL, .table = NET_TABLE_LOCAL, .protocol = RTPROT_KERNEL
	};
	int index = link_index(NA, "eth1");
	struct wish wish;
	struct err err;

	(void)state;
	must(net_addr_add(world.net[NA], index, &addr, 32, 0, &oops));
	usual(&wish);
	add_pod(&wish, "10.0.0.70", "bth00000000001", true);
	assert_int_equal(try_sync(&wish, &err), -1);
	assert_int_equal(err.class, ERR_CONFLICT);
	assert_non_null(strstr(err.msg, "10.0.0.70"));
	assert_true(has_route(&kernels));
	assert_true(wish.nics[1].ready); /* the rest was done */
	must(net_addr_del(world.net[NA], index, &addr, 32, &oops));
	sync_ok(&wish);
	assert_int_equal(wish.report.added, 1);
}

/* ---- pods ---- */

static struct net_route pod_route(const char *addr, const char *dev)
{
	return (struct net_route){ .dst = pfx(addr),
				   .type = NET_ROUTE_UNICAST,
				   .table = NET_TABLE_LOCAL,
				   .oif = dev ? link_index(NA, dev) : 0,
				   .protocol = BERTH_RTPROT };
}

static struct net_route cover_route(const char *addr)
{
	return (struct net_route){
		.dst = pfx(addr), .type = NET_ROUTE_UNREACHABLE, .table = NET_TABLE_LOCAL, .protocol = BERTH_RTPROT
	};
}

static void test_sync__pod_without_a_link(void **state)
{
	struct net_route cover = cover_route("10.0.0.12");
	struct wish wish;

	(void)state;
	usual(&wish);
	add_pod(&wish, "10.0.0.12", "bth0000000dead", true);
	sync_ok(&wish);
	assert_int_equal(wish.report.pods_without_link, 1);
	assert_true(has_route(&cover));
	/* the link went after the route was made: back to the cover */
	usual(&wish);
	snprintf(wish.pods[1].host_ifname, sizeof(wish.pods[1].host_ifname), "bth0000000dead");
	sync_ok(&wish);
	cover = cover_route("10.0.0.21");
	assert_int_equal(wish.report.pods_without_link, 1);
	assert_true(has_route(&cover));
}

/* Whatever stands there while a plugin is at work stays: cover, route or nothing. */
static void test_sync__reserved_pods_are_left_alone(void **state)
{
	struct net_route route = pod_route("10.0.0.12", "bth00000000001");
	struct net_route cover = cover_route("10.0.0.12");
	struct wish wish;

	(void)state;
	usual(&wish);
	add_pod(&wish, "10.0.0.12", "bth0000000dead", false);
	sync_ok(&wish);
	assert_true(has_route(&cover));
	must(net_route_replace(world.net[NA], &route, &oops));
	sync_ok(&wish);
	assert_true(has_route(&route));
	assert_int_equal(wish.report.added + wish.report.removed, 0);
	/* no lease any more: the route is nobody's, the cover comes back */
	usual(&wish);
	sync_ok(&wish);
	assert_true(has_route(&cover));
	assert_false(has_route(&route));
}

static void test_sync__route_of_no_pod_in_a_prefix(void **state)
{
	struct net_route route = pod_route("10.0.0.70", "bth00000000001");
	struct wish wish;

	(void)state;
	must(net_route_replace(world.net[NA], &route, &oops));
	usual(&wish);
	sync_ok(&wish);
	assert_int_equal(wish.report.removed, 1);
	assert_false(has_route(&route));
}

static void test_hostnet_pod_down__single_address_and_prefix(void **state)
{
	const struct ipaddr single = ip("10.0.0.12"), inside = ip("10.0.0.70");
	const struct prefix single_block = pfx("10.0.0.12"), block = pfx("10.0.0.64/28");
	struct net_route routes[] = { pod_route("10.0.0.12", "bth00000000001"),
				      pod_route("10.0.0.70", "bth00000000001") };
	struct net_route cover = cover_route("10.0.0.12");
	struct wish wish;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		must(net_route_replace(world.net[NA], &routes[i], &oops));
	for (int again = 0; again < 2; again++) {
		must(hostnet_pod_down(world.hostnet, &single, &single_block, &oops));
		must(hostnet_pod_down(world.hostnet, &inside, &block, &oops));
		assert_true(has_route(&cover));
		assert_false(has_route(&routes[1]));
	}
	usual(&wish);
	sync_ok(&wish);
	assert_int_equal(wish.report.added + wish.report.removed, 0);
}

static int count_name(const char *ifname, void *arg)
{
	(void)ifname;
	++*(unsigned *)arg;
	return 0;
}

static int link_del(void *arg, struct err *err)
{
	return hostnet_pod_link_del(*(const char **)arg, err);
}

static void test_hostnet_pod_links__and_their_end(void **state)
{
	struct net_veth veth = { .name = "bth0000000beef", .peer_netns_fd = -1, .peer_name = "beef" };
	const char *name = "bth0000000beef", *foreign = "eth1";
	unsigned count = 0;
	struct err err;

	(void)state;
	must(net_veth_add(world.net[NA], &veth, &oops));
	must(hostnet_pod_links(world.hostnet, count_name, &count, &oops));
	assert_int_equal(count, 3);
	for (int again = 0; again < 2; again++)
		must(netns_run(world.fd[NA], link_del, &name, &oops));
	count = 0;
	must(hostnet_pod_links(world.hostnet, count_name, &count, &oops));
	assert_int_equal(count, 2);
	assert_int_equal(netns_run(world.fd[NA], link_del, &foreign, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
	(void)link_index(NA, "eth1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		path_test(test_sync__a_second_time_changes_nothing),
		path_test(test_sync__repairs_what_others_flush),
		path_test(test_sync__repairs_a_link_that_was_taken_down),
		path_test(test_sync__follows_the_mtu_of_the_primary),
		path_test(test_sync__leaves_what_others_made),
		path_test(test_sync__a_nic_that_goes),
		path_test(test_sync__a_nic_whose_link_is_not_there_yet),
		path_test(test_sync__a_pods_link_under_the_mac_of_a_nic),
		path_test(test_sync__address_with_a_prefix_route),
		path_test(test_sync__address_of_a_block_on_an_interface),
		path_test(test_sync__pod_without_a_link),
		path_test(test_sync__reserved_pods_are_left_alone),
		path_test(test_sync__route_of_no_pod_in_a_prefix),
		path_test(test_hostnet_pod_down__single_address_and_prefix),
		path_test(test_hostnet_pod_links__and_their_end),
	};

	return cmocka_run_group_tests_name("hostnet", tests, setup_world, teardown_world);
}
