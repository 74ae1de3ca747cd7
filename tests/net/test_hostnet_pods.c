/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod has on the host: routes, covers, neighbours, its link; put right by a sync, taken away with it. */
#include "tests/net/node_world.h"

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

/* By ip_index(): a free address that is a block, the pod's that is one, a free one in a range. */
static const char *const single_free[IP_FAMILIES] = { "10.0.0.12", "2001:db8:0:1::12" };
static const char *const single_pod[IP_FAMILIES] = { "10.0.0.21", "2001:db8:0:1::21" };
static const char *const ranged[IP_FAMILIES] = { "10.0.0.70", "2001:db8:0:1:b::70" };
static const char *const ranges[IP_FAMILIES] = { "10.0.0.64/28", "2001:db8:0:1:b::/80" };

static void test_sync__pod_without_a_link(void **state)
{
	struct wish wish;

	each_family(f)
	{
		struct net_route cover = cover_route(single_free[f]);

		usual(&wish);
		add_pod(&wish, single_free[f], "bth0000000dead", true);
		sync_ok(&wish);
		assert_int_equal(wish.report.pods_without_link, 1);
		assert_true(has_route(&cover));
		/* the link went after the route was made: back to the cover */
		usual(&wish);
		snprintf(wish.pods[2 * f + 1].host_ifname, sizeof(wish.pods[1].host_ifname), "bth0000000dead");
		sync_ok(&wish);
		cover = cover_route(single_pod[f]);
		assert_int_equal(wish.report.pods_without_link, 1);
		assert_true(has_route(&cover));
		restore(state);
	}
}

/* Whatever stands there while a plugin is at work stays: cover, route or nothing. */
static void test_sync__reserved_pods_are_left_alone__rule_11(void **state)
{
	struct wish wish;

	(void)state;
	each_family(f)
	{
		struct net_route route = pod_route(single_free[f], "bth00000000001");
		struct net_route cover = cover_route(single_free[f]);

		usual(&wish);
		add_pod(&wish, single_free[f], "bth0000000dead", false);
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
}

static void test_sync__route_of_no_pod_in_a_range(void **state)
{
	struct wish wish;

	(void)state;
	each_family(f)
	{
		struct net_route route = pod_route(ranged[f], "bth00000000001");

		must(net_route_replace(world.net[NA], &route, &oops));
		usual(&wish);
		sync_ok(&wish);
		assert_int_equal(wish.report.removed, 1);
		assert_false(has_route(&route));
	}
}

static int find_neigh(const struct net_neigh *neigh, void *arg)
{
	const struct ipaddr *addr = arg;

	return neigh->permanent && ipaddr_equal(&neigh->addr, addr);
}

static bool has_neigh(const char *text)
{
	struct ipaddr addr = ip(text);
	struct err err;

	return net_neighs(world.net[NA], IP_V6, find_neigh, &addr, &err) == 1;
}

/* Down and up again loses routes and neighbours of the link; without the latter the node cannot find the pod. */
static void test_sync__repairs_a_pods_link_that_was_down(void **state)
{
	int index = link_index(NA, "bth00000000002");
	struct wish wish;

	(void)state;
	must(net_link_set_up(world.net[NA], index, false, &oops));
	must(net_link_set_up(world.net[NA], index, true, &oops));
	assert_false(has_neigh("2001:db8:0:1::21"));
	usual(&wish);
	sync_ok(&wish);
	assert_int_equal(wish.report.added, 3); /* a route of each family, a neighbour */
	assert_true(has_neigh("2001:db8:0:1::21"));
	sync_ok(&wish);
	assert_int_equal(wish.report.added + wish.report.removed, 0);
	everything_passes();
}

static void test_sync__repairs_a_pods_link__aws_40_33(void **state)
{
	const struct macaddr other = { { 2, 0, 0, 0, 0, 0x78 } }, own = net_named_mac("bth00000000002");
	int index = link_index(NA, "bth00000000002");
	struct net_link link = { 0 };
	struct wish wish;

	(void)state;
	must(net_link_by_index(world.net[NA], index, &link, &oops));
	assert_true(macaddr_equal(&link.mac, &own)); /* as the plugin made it */
	must(net_link_set_mac(world.net[NA], index, &other, &oops));
	must(net_link_set_up(world.net[NA], index, false, &oops));
	usual(&wish);
	sync_ok(&wish);
	assert_int_equal(wish.report.added, 5); /* MAC, up, a route of each family, a neighbour */
	must(net_link_by_index(world.net[NA], index, &link, &oops));
	assert_true(link.up && macaddr_equal(&link.mac, &own));
	everything_passes();
}

/* A pod that its plugin wires right now is the plugin's. */
static void test_sync__leaves_the_link_of_a_reserved_pod(void **state)
{
	int index = link_index(NA, "bth00000000002");
	struct net_link link = { 0 };
	struct wish wish;

	(void)state;
	must(net_link_set_up(world.net[NA], index, false, &oops));
	usual(&wish);
	wish.pods[1].bound = wish.pods[3].bound = false;
	sync_ok(&wish);
	must(net_link_by_index(world.net[NA], index, &link, &oops));
	assert_false(link.up);
}

/* The kernel tells nobody: found by the slow sweep, which asks to be thorough. */
static void test_sync__accept_ra_of_a_host_end__rule_4(void **state)
{
	static const char key[] = "net/ipv6/conf/bth00000000001/accept_ra";
	struct wish wish;

	(void)state;
	sysctl(NA, key, "1");
	usual(&wish);
	sync_ok(&wish);
	assert_sysctl(key, "1");
	wish.want.thorough = true;
	sync_ok(&wish);
	assert_sysctl(key, "0");
}

/* A pod that got another MAC after it was wired: who put that right is right. */
static void test_sync__leaves_a_neighbour_that_was_changed(void **state)
{
	const struct ipaddr addr = ip("2001:db8:0:1::21");
	int index = link_index(NA, "bth00000000002");
	struct net_link link = { 0 };
	struct macaddr mac = { { 2, 0, 0, 0, 0, 0x77 } };
	struct wish wish;

	(void)state;
	must(net_neigh_set_permanent(world.net[NA], index, &addr, &mac, &oops));
	usual(&wish);
	sync_ok(&wish);
	assert_int_equal(wish.report.added, 0);
	must(net_link_by_index(world.net[NA], index, &link, &oops));
	mac = net_twin_mac(&link.mac);
	must(net_neigh_set_permanent(world.net[NA], index, &addr, &mac, &oops));
}

/* A pod of both families, all four mixes of a block of its own and one in a range. */
static void test_hostnet_pod_down__single_addresses_and_ranges(void **state)
{
	struct wish wish;

	(void)state;
	for (unsigned mix = 0; mix < 4; mix++) {
		struct ipaddr addrs[IP_FAMILIES];
		struct prefix blocks[IP_FAMILIES];
		struct net_route routes[IP_FAMILIES];

		each_family(f)
		{
			const char *addr = mix & 1U << f ? ranged[f] : single_free[f];

			addrs[f] = ip(addr);
			blocks[f] = pfx(mix & 1U << f ? ranges[f] : addr);
			routes[f] = pod_route(addr, "bth00000000001");
			must(net_route_replace(world.net[NA], &routes[f], &oops));
		}
		for (int again = 0; again < 2; again++) {
			must(hostnet_pod_down(world.hostnet, "bth00000000001", addrs, blocks, &oops));
			each_family(f)
			{
				struct net_route cover = cover_route(single_free[f]);

				assert_false(has_route(&routes[f]));
				assert_true(has_route(&cover));
			}
		}
		usual(&wish);
		sync_ok(&wish);
		assert_int_equal(wish.report.added + wish.report.removed, 0);
	}
}

/* A lease of one family says nothing about the other; a link that is gone took its routes along; somebody else's link
 * keeps its own. */
static void test_hostnet_pod_down__only_what_is_said__rule_2(void **state)
{
	const struct ipaddr addrs[IP_FAMILIES] = { { 0 }, ip(ranged[1]) };
	const struct prefix blocks[IP_FAMILIES] = { { { 0 }, 0 }, pfx(ranges[1]) };
	struct net_route v4 = pod_route(ranged[0], "bth00000000001"), v6 = pod_route(ranged[1], "bth00000000001");

	(void)state;
	must(net_route_replace(world.net[NA], &v4, &oops));
	must(net_route_replace(world.net[NA], &v6, &oops));
	must(hostnet_pod_down(world.hostnet, "bth0000000dead", addrs, blocks, &oops));
	must(hostnet_pod_down(world.hostnet, "bth00000000002", addrs, blocks, &oops));
	assert_true(has_route(&v6));
	must(hostnet_pod_down(world.hostnet, "bth00000000001", addrs, blocks, &oops));
	assert_false(has_route(&v6));
	assert_true(has_route(&v4));
}

static int count_name(const char *ifname, void *arg)
{
	(void)ifname;
	++*(unsigned *)arg;
	return 0;
}

static int link_del(void *arg, struct err *err)
{
	return hostnet_link_del(*(const int *)arg, err);
}

static int index_of(const char *name, const char *kind)
{
	int index = -1;

	must(hostnet_link_index(world.hostnet, name, kind, &index, &oops));
	return index;
}

static void test_hostnet_pod_links__and_their_end(void **state)
{
	struct net_veth veth = { .name = "bth0000000beef", .peer_netns_fd = -1, .peer_name = "beef" };
	const char *name = "bth0000000beef";
	unsigned count = 0;
	int index;

	(void)state;
	must(net_veth_add(world.net[NA], &veth, &oops));
	must(hostnet_pod_links(world.hostnet, count_name, &count, &oops));
	assert_int_equal(count, 3);
	index = index_of(name, "veth");
	assert_true(index > 0);
	assert_int_equal(index_of(name, "ifb"), 0);
	for (int again = 0; again < 2; again++)
		must(netns_run(world.fd[NA], link_del, &index, &oops));
	assert_int_equal(index_of(name, "veth"), 0);
	count = 0;
	must(hostnet_pod_links(world.hostnet, count_name, &count, &oops));
	assert_int_equal(count, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		path_test(test_sync__pod_without_a_link),
		path_test(test_sync__reserved_pods_are_left_alone__rule_11),
		path_test(test_sync__route_of_no_pod_in_a_range),
		path_test(test_sync__repairs_a_pods_link_that_was_down),
		path_test(test_sync__leaves_a_neighbour_that_was_changed),
		path_test(test_sync__repairs_a_pods_link__aws_40_33),
		path_test(test_sync__leaves_the_link_of_a_reserved_pod),
		path_test(test_sync__accept_ra_of_a_host_end__rule_4),
		path_test(test_hostnet_pod_down__single_addresses_and_ranges),
		path_test(test_hostnet_pod_down__only_what_is_said__rule_2),
		path_test(test_hostnet_pod_links__and_their_end),
	};

	return cmocka_run_group_tests_name("hostnet", tests, setup_world, teardown_world);
}
