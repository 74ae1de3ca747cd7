/* SPDX-License-Identifier: Apache-2.0 */
/* Routes, addresses and neighbours. */
#include "tests/net/world.h"

#define TABLE_NIC 4001U

static struct net_route unreachable(const char *dst)
{
	return (struct net_route){ .dst = prefix_from(dst),
				   .type = NET_ROUTE_UNREACHABLE,
				   .table = NET_TABLE_LOCAL,
				   .protocol = BERTH_RTPROT };
}

static struct net_route unicast(const char *dst, int oif)
{
	return (struct net_route){ .dst = prefix_from(dst),
				   .type = NET_ROUTE_UNICAST,
				   .table = NET_TABLE_LOCAL,
				   .oif = oif,
				   .protocol = BERTH_RTPROT };
}

struct found {
	struct prefix dst;
	struct net_route route; /* the last one of that dst */
	int count;
	int total;
};

static int find(const struct net_route *route, void *arg)
{
	struct found *found = arg;

	found->total++;
	if (prefix_cmp(&route->dst, &found->dst) != 0)
		return 0;
	found->route = *route;
	found->count++;
	return 0;
}

static struct found find_route(struct net *net, const char *dst, uint32_t table)
{
	struct found found = { .dst = prefix_from(dst) };

	must(net_routes(net, found.dst.addr.family, table, find, &found, &err));
	return found;
}

/* ---- replace ---- */

static void check_replace(struct net *net, int oif, const char *dst)
{
	const struct net_route pod = unicast(dst, oif), idle = unreachable(dst);
	struct found found;

	for (int round = 0; round < 2; round++) {
		must(net_route_replace(net, &idle, &err));
		found = find_route(net, dst, NET_TABLE_LOCAL);
		assert_int_equal(found.count, 1);
		assert_int_equal(found.route.type, NET_ROUTE_UNREACHABLE);
		assert_int_equal(found.route.oif, 0);
		assert_int_equal(found.route.protocol, BERTH_RTPROT);

		must(net_route_replace(net, &pod, &err));
		must(net_route_replace(net, &pod, &err));
		found = find_route(net, dst, NET_TABLE_LOCAL);
		assert_int_equal(found.count, 1);
		assert_int_equal(found.route.type, NET_ROUTE_UNICAST);
		assert_int_equal(found.route.oif, oif);
		assert_int_equal(found.route.table, NET_TABLE_LOCAL);
		assert_int_equal(found.route.protocol, BERTH_RTPROT);
	}
}

static void test_net_route_replace__pod_takes_the_place_of_unreachable_and_back(void **state)
{
	const struct world *w = *state;
	int oif = world_pair(w->a, "bth0", "p0");
	_cleanup_free_ char *v4 = NULL, *v6 = NULL;

	check_replace(w->a, oif, "10.0.1.17/32");
	check_replace(w->a, oif, "2001:db8:1::17/128");
	v4 = world_ip(w->a_name, "route show table local 10.0.1.17");
	assert_contains(v4, "10.0.1.17 dev bth0 proto 98 scope link");
	v6 = world_ip(w->a_name, "-6 route show table local 2001:db8:1::17");
	assert_contains(v6, "2001:db8:1::17 dev bth0 proto 98");
}

/* The block's route stays below the pod's; what the kernel answers for each address is what counts. */
static void test_net_route_replace__block_and_pod(void **state)
{
	const struct world *w = *state;
	const struct net_route block = unreachable("10.0.1.16/28");
	struct net_route pod = unicast("10.0.1.17/32", 0);
	_cleanup_free_ char *got = NULL;

	pod.oif = world_pair(w->a, "bth0", "p0");
	must(net_route_replace(w->a, &block, &err));
	must(net_route_replace(w->a, &pod, &err));
	got = world_ip(w->a_name, "route get fibmatch 10.0.1.17");
	assert_contains(got, "10.0.1.17 dev bth0");
	assert_int_equal(find_route(w->a, "10.0.1.16/28", NET_TABLE_LOCAL).count, 1);
}

static void test_net_route_replace__all_fields(void **state)
{
	const struct world *w = *state;
	int oif = world_pair(w->a, "eth1", "p1");
	const struct ipaddr own = addr_of("10.0.3.7");
	struct net_route route = { .dst = { .addr.family = IP_V4 },
				   .type = NET_ROUTE_UNICAST,
				   .table = TABLE_NIC,
				   .oif = oif,
				   .gateway = addr_of("10.0.3.1"),
				   .onlink = true,
				   .src = own,
				   .protocol = BERTH_RTPROT,
				   .mtu = 1400 };
	struct found found;

	must(net_addr_add(w->a, oif, &own, 32, NET_ADDR_NOPREFIXROUTE, &err));
	must(net_route_replace(w->a, &route, &err));
	found = find_route(w->a, "0.0.0.0/0", TABLE_NIC);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.total, 1);
	assert_int_equal(found.route.table, TABLE_NIC);
	assert_int_equal(found.route.oif, oif);
	assert_true(ipaddr_equal(&found.route.gateway, &route.gateway));
	assert_true(ipaddr_equal(&found.route.src, &own));
	assert_true(found.route.onlink);
	assert_int_equal(found.route.mtu, 1400);
	assert_int_equal(find_route(w->a, "0.0.0.0/0", NET_TABLE_MAIN).count, 0);
	assert_int_equal(find_route(w->a, "0.0.0.0/0", 0).count, 1);
	must(net_route_del(w->a, &route, &err));
	assert_int_equal(find_route(w->a, "0.0.0.0/0", TABLE_NIC).count, 0);
}

static void test_net_route_replace__v6_gateway_and_table_0_is_main(void **state)
{
	const struct world *w = *state;
	int oif = world_pair(w->a, "eth0", "p0");
	struct net_route link = { .dst = prefix_from("fe80::1/128"), .oif = oif, .protocol = BERTH_RTPROT };
	struct net_route route = {
		.dst = { .addr.family = IP_V6 }, .oif = oif, .gateway = addr_of("fe80::1"), .protocol = BERTH_RTPROT
	};
	struct found found;

	must(net_route_replace(w->a, &link, &err));
	must(net_route_replace(w->a, &route, &err));
	found = find_route(w->a, "::/0", NET_TABLE_MAIN);
	assert_int_equal(found.count, 1);
	assert_true(ipaddr_equal(&found.route.gateway, &route.gateway));
	must(net_route_del(w->a, &route, &err));
	assert_int_equal(find_route(w->a, "::/0", NET_TABLE_MAIN).count, 0);
}

static void test_net_route_replace__refusals(void **state)
{
	const struct world *w = *state;
	struct net_route route = unicast("10.0.1.17/32", 4711);
	int oif = world_pair(w->a, "eth0", "p0");
	struct err e;

	must_fail(net_route_replace(w->a, &route, &e), e, ERR_NOTFOUND);
	route.oif = oif;
	route.gateway = addr_of("10.9.9.9"); /* not on link */
	must_fail(net_route_replace(w->a, &route, &e), e, ERR_INVALID);
	assert_contains(e.msg, "10.0.1.17/32");
	assert_contains(e.msg, "kernel says \"Nexthop has invalid gateway\"");
	route.gateway = addr_of("fe80::1");
	must_fail(net_route_replace(w->a, &route, &e), e, ERR_INVALID);
	route.gateway = (struct ipaddr){ 0 };
	route.type = NET_ROUTE_OTHER;
	must_fail(net_route_replace(w->a, &route, &e), e, ERR_INVALID);
	route.type = NET_ROUTE_UNICAST;
	must(net_link_set_up(w->a, oif, false, &err));
	must_fail(net_route_replace(w->a, &route, &e), e, ERR_RETRY);
	route.dst = (struct prefix){ 0 };
	must_fail(net_route_replace(w->a, &route, &e), e, ERR_INVALID);
	assert_int_equal(find_route(w->a, "10.0.1.17/32", 0).count, 0);
}

/* ---- delete ---- */

static void check_del(const struct world *w, int oif, const char *dst, const char *foreign)
{
	struct net_route pod = unicast(dst, oif), idle = unreachable(dst), any_device = unicast(dst, 0);
	struct found found;

	/* not ours: somebody else's route of the same destination and shape */
	world_ip_do(w->a_name, foreign);
	must(net_route_del(w->a, &pod, &err));
	must(net_route_del(w->a, &idle, &err));
	must(net_route_del(w->a, &any_device, &err));
	found = find_route(w->a, dst, NET_TABLE_LOCAL);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.route.protocol, 4); /* RTPROT_STATIC */

	/* ours, of the other type */
	must(net_route_replace(w->a, &pod, &err));
	must(net_route_del(w->a, &idle, &err));
	assert_int_equal(find_route(w->a, dst, NET_TABLE_LOCAL).count, 1);
	must(net_route_replace(w->a, &idle, &err));
	must(net_route_del(w->a, &pod, &err));
	must(net_route_del(w->a, &any_device, &err));
	assert_int_equal(find_route(w->a, dst, NET_TABLE_LOCAL).count, 1);

	/* ours; twice, because a missing one is success */
	must(net_route_del(w->a, &idle, &err));
	must(net_route_del(w->a, &idle, &err));
	assert_int_equal(find_route(w->a, dst, NET_TABLE_LOCAL).count, 0);

	/* ours, the device not known to the caller, or known and another one */
	must(net_route_replace(w->a, &pod, &err));
	pod.oif = 4711;
	must(net_route_del(w->a, &pod, &err));
	assert_int_equal(find_route(w->a, dst, NET_TABLE_LOCAL).count, 1);
	must(net_route_del(w->a, &any_device, &err));
	must(net_route_del(w->a, &any_device, &err));
	assert_int_equal(find_route(w->a, dst, NET_TABLE_LOCAL).count, 0);
}

static void test_net_route_del__only_ours_and_only_what_was_said(void **state)
{
	const struct world *w = *state;
	int oif = world_pair(w->a, "bth0", "p0");

	check_del(w, oif, "10.0.1.17/32", "route add 10.0.1.17/32 dev bth0 table local proto static");
	check_del(w, oif, "2001:db8:1::17/128", "route add 2001:db8:1::17/128 dev bth0 table local proto static");
}

/* IPv6 keeps several routes of one destination apart by metric, and its delete compares no type. */
static void test_net_route_del__v6_among_others_of_the_same_destination(void **state)
{
	static const char dst[] = "2001:db8:1::17/128";
	const struct world *w = *state;
	int oif = world_pair(w->a, "bth0", "p0");
	const struct net_route pod = unicast(dst, oif), any_device = unicast(dst, 0);
	struct found found;

	world_ip_do(w->a_name, "route add 2001:db8:1::17/128 dev p0 table local metric 10 proto static");
	world_ip_do(w->a_name, "route add local 2001:db8:1::17/128 dev p0 table local metric 20 proto 98");
	must(net_route_replace(w->a, &pod, &err));
	assert_int_equal(find_route(w->a, dst, NET_TABLE_LOCAL).count, 3);
	must(net_route_del(w->a, &any_device, &err));
	found = find_route(w->a, dst, NET_TABLE_LOCAL);
	assert_int_equal(found.count, 2);
	assert_int_equal(found.route.type, NET_ROUTE_LOCAL); /* the last of them: ours was behind it */
	must(net_route_del(w->a, &any_device, &err));
	assert_int_equal(find_route(w->a, dst, NET_TABLE_LOCAL).count, 2);
}

static void test_net_route_del__table_that_nobody_used(void **state)
{
	const struct world *w = *state;
	struct net_route route = unicast("10.0.1.17/32", 1);

	route.table = 777;
	must(net_route_del(w->a, &route, &err));
	route.dst = prefix_from("2001:db8::/64");
	must(net_route_del(w->a, &route, &err));
	route.oif = 0;
	must(net_route_del(w->a, &route, &err));
}

/* Below an unreachable block of table local, one address is looked up where the next rule says. */
static void test_net_route_replace__throw(void **state)
{
	static const char *const dsts[] = { "10.0.1.17/32", "2001:db8:1::17/128" };
	const struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(dsts); i++) {
		struct net_route route = unicast(dsts[i], 0);
		struct found found;

		route.type = NET_ROUTE_UNREACHABLE;
		route.table = NET_TABLE_LOCAL;
		must(net_route_replace(w->a, &route, &err));
		route.type = NET_ROUTE_THROW;
		must(net_route_replace(w->a, &route, &err));
		found = find_route(w->a, dsts[i], NET_TABLE_LOCAL);
		assert_int_equal(found.count, 1);
		assert_int_equal(found.route.type, NET_ROUTE_THROW);
		assert_int_equal(found.route.oif, 0);
		must(net_route_del(w->a, &route, &err));
		assert_int_equal(find_route(w->a, dsts[i], NET_TABLE_LOCAL).count, 0);
	}
}

/* ---- walk ---- */

static void test_net_routes__table_filter(void **state)
{
	const struct world *w = *state;
	struct found found = { 0 };
	int oif = world_pair(w->a, "eth1", "p1");
	struct net_route route = unicast("10.0.3.1/32", oif);
	struct err e;

	assert_int_equal(find_route(w->a, "10.0.0.0/8", 777).total, 0);
	assert_int_equal(find_route(w->a, "2001:db8::/32", 777).total, 0);
	route.table = TABLE_NIC;
	must(net_route_replace(w->a, &route, &err));
	route.table = 7;
	must(net_route_replace(w->a, &route, &err));
	assert_int_equal(find_route(w->a, "10.0.3.1/32", TABLE_NIC).total, 1);
	assert_int_equal(find_route(w->a, "10.0.3.1/32", 7).total, 1);
	assert_int_equal(find_route(w->a, "10.0.3.1/32", 0).count, 2);
	assert_int_equal(find_route(w->a, "127.0.0.1/32", NET_TABLE_LOCAL).route.type, NET_ROUTE_LOCAL);
	must_fail(net_routes(w->a, IP_NONE, 0, find, &found, &e), e, ERR_INVALID);
}

static int delete_ours(const struct net_route *route, void *arg)
{
	const struct world *w = arg;

	if (route->protocol == BERTH_RTPROT)
		must(net_route_del(w->a, route, &err));
	return 0;
}

/* Many datagrams, every route once, and the walk may delete what it is shown. */
static void test_net_routes__thousands_and_deleting_on_the_way(void **state)
{
	struct world *w = *state;
	int oif = world_pair(w->a, "bth0", "p0");
	const struct ipaddr first = addr_of("10.1.0.0");
	int before = find_route(w->a, "0.0.0.0/0", NET_TABLE_LOCAL).total;

	for (unsigned i = 0; i < 3000; i++) {
		struct net_route pod = unicast("10.1.0.0/32", oif);

		pod.dst.addr = ipaddr_add(&first, i);
		must(net_route_replace(w->a, &pod, &err));
	}
	assert_int_equal(find_route(w->a, "0.0.0.0/0", NET_TABLE_LOCAL).total, before + 3000);
	must(net_routes(w->a, IP_V4, NET_TABLE_LOCAL, delete_ours, w, &err));
	assert_int_equal(find_route(w->a, "0.0.0.0/0", NET_TABLE_LOCAL).total, before);
}

/* ---- addresses ---- */

struct found_addr {
	struct ipaddr addr;
	int count;
	struct net_addr last;
};

static int find_addr(const struct net_addr *addr, void *arg)
{
	struct found_addr *found = arg;

	if (!ipaddr_equal(&addr->addr, &found->addr))
		return 0;
	found->count++;
	found->last = *addr;
	return 0;
}

static struct found_addr addr_find(struct net *net, const char *text)
{
	struct found_addr found = { .addr = addr_of(text) };

	must(net_addrs(net, find_addr, &found, &err));
	return found;
}

static void test_net_addr_add__without_prefix_route_and_twice(void **state)
{
	const struct world *w = *state;
	int index = world_pair(w->a, "eth1", "p1");
	const struct ipaddr quiet = addr_of("10.0.3.7"), loud = addr_of("10.0.4.7"), v6 = addr_of("2001:db8:3::7");
	struct found_addr found;

	must(net_addr_add(w->a, index, &quiet, 24, NET_ADDR_NOPREFIXROUTE, &err));
	must(net_addr_add(w->a, index, &quiet, 24, NET_ADDR_NOPREFIXROUTE, &err));
	must(net_addr_add(w->a, index, &loud, 24, 0, &err));
	must(net_addr_add(w->a, index, &v6, 64, NET_ADDR_NOPREFIXROUTE | NET_ADDR_NODAD, &err));
	must(net_addr_add(w->a, index, &v6, 64, NET_ADDR_NOPREFIXROUTE | NET_ADDR_NODAD, &err));
	found = addr_find(w->a, "10.0.3.7");
	assert_int_equal(found.count, 1);
	assert_int_equal(found.last.index, index);
	assert_int_equal(found.last.prefix_len, 24);
	assert_int_equal(addr_find(w->a, "2001:db8:3::7").count, 1);
	assert_int_equal(find_route(w->a, "10.0.3.0/24", NET_TABLE_MAIN).count, 0);
	assert_int_equal(find_route(w->a, "10.0.4.0/24", NET_TABLE_MAIN).count, 1);
	assert_int_equal(find_route(w->a, "2001:db8:3::/64", NET_TABLE_MAIN).count, 0);
}

static void test_net_addr_add__no_dad_and_scope(void **state)
{
	const struct world *w = *state;
	int index = world_pair(w->a, "eth1", "p1");
	const struct ipaddr v6 = addr_of("2001:db8:3::7"), local = addr_of("fe80::1");
	_cleanup_free_ char *shown = NULL;

	must(net_addr_add(w->a, index, &v6, 128, NET_ADDR_NODAD, &err));
	must(net_addr_add(w->a, index, &local, 128, NET_ADDR_NODAD, &err));
	shown = world_ip(w->a_name, "-6 addr show dev eth1 to 2001:db8:3::7");
	assert_contains(shown, "nodad");
	assert_lacks(shown, "tentative");
	free(take_ptr(shown));
	shown = world_ip(w->a_name, "-6 addr show dev eth1 scope link");
	assert_contains(shown, "inet6 fe80::1/128 scope link");
}

/* An address that DHCP brought stays DHCP's. */
static void test_net_addr_add__leaves_lifetimes_alone(void **state)
{
	const struct world *w = *state;
	int index = world_pair(w->a, "eth0", "p0");
	const struct ipaddr addr = addr_of("10.0.1.5");
	_cleanup_free_ char *shown = NULL;

	world_ip_do(w->a_name, "addr add 10.0.1.5/24 dev eth0 valid_lft 3600 preferred_lft 3600");
	must(net_addr_add(w->a, index, &addr, 24, 0, &err));
	shown = world_ip(w->a_name, "addr show dev eth0");
	assert_contains(shown, "valid_lft 3600sec");
}

static void test_net_addr_del__there_and_not_there(void **state)
{
	const struct world *w = *state;
	int index = world_pair(w->a, "eth0", "p0");
	const struct ipaddr v4 = addr_of("10.0.1.5"), v6 = addr_of("2001:db8::5");
	struct err e;

	must(net_addr_add(w->a, index, &v4, 32, 0, &err));
	must(net_addr_add(w->a, index, &v6, 128, NET_ADDR_NODAD, &err));
	for (int i = 0; i < 2; i++) {
		must(net_addr_del(w->a, index, &v4, 32, &err));
		must(net_addr_del(w->a, index, &v6, 128, &err));
	}
	assert_int_equal(addr_find(w->a, "10.0.1.5").count, 0);
	assert_int_equal(addr_find(w->a, "2001:db8::5").count, 0);
	must(net_addr_del(w->a, 4711, &v4, 32, &err));
	must_fail(net_addr_add(w->a, 4711, &v4, 32, 0, &e), e, ERR_NOTFOUND);
	must_fail(net_addr_add(w->a, index, &v4, 33, 0, &e), e, ERR_INVALID);
	must_fail(net_addr_add(w->a, index, &(struct ipaddr){ 0 }, 0, 0, &e), e, ERR_INVALID);
}

/* ---- neighbours ---- */

static void test_net_neigh_set_permanent__set_and_changed(void **state)
{
	const struct world *w = *state;
	int index = world_pair(w->a, "eth0", "p0");
	const struct macaddr one = mac_of("02:aa:00:00:00:01"), two = mac_of("02:aa:00:00:00:02");
	const struct ipaddr v4 = addr_of("169.254.1.1"), v6 = addr_of("fe80::1");
	_cleanup_free_ char *shown = NULL;
	struct err e;

	must(net_neigh_set_permanent(w->a, index, &v4, &one, &err));
	must(net_neigh_set_permanent(w->a, index, &v4, &two, &err));
	must(net_neigh_set_permanent(w->a, index, &v6, &two, &err));
	shown = world_ip(w->a_name, "neigh show dev eth0 nud permanent");
	assert_contains(shown, "169.254.1.1 lladdr 02:aa:00:00:00:02 PERMANENT");
	assert_contains(shown, "fe80::1 lladdr 02:aa:00:00:00:02 PERMANENT");
	assert_lacks(shown, "02:aa:00:00:00:01");
	must_fail(net_neigh_set_permanent(w->a, 4711, &v4, &one, &e), e, ERR_NOTFOUND);
	must_fail(net_neigh_set_permanent(w->a, index, &(struct ipaddr){ 0 }, &one, &e), e, ERR_INVALID);
}

struct seen_neighs {
	int index;
	unsigned count, permanent;
	struct net_neigh last;
};

static int see_neigh(const struct net_neigh *neigh, void *arg)
{
	struct seen_neighs *seen = arg;

	if (neigh->index != seen->index)
		return 0;
	seen->count++;
	seen->permanent += neigh->permanent;
	seen->last = *neigh;
	return neigh->permanent ? 0 : 7;
}

static void test_net_neighs__one_family_and_its_states(void **state)
{
	const struct world *w = *state;
	const struct macaddr mac = mac_of("02:aa:00:00:00:02");
	const struct ipaddr v4 = addr_of("169.254.1.1"), v6 = addr_of("2001:db8::5");
	struct seen_neighs seen = { .index = world_pair(w->a, "eth0", "p0") }, none = { .index = seen.index };
	struct err e;

	must(net_neigh_set_permanent(w->a, seen.index, &v4, &mac, &err));
	must(net_neighs(w->a, IP_V6, see_neigh, &none, &err));
	assert_int_equal(none.permanent, 0);
	must(net_neigh_set_permanent(w->a, seen.index, &v6, &mac, &err));
	must(net_neighs(w->a, IP_V6, see_neigh, &seen, &err));
	assert_int_equal(seen.permanent, 1);
	assert_true(ipaddr_equal(&seen.last.addr, &v6));
	assert_true(macaddr_equal(&seen.last.mac, &mac));
	world_ip_do(w->a_name, "neigh replace 2001:db8::5 lladdr 02:aa:00:00:00:03 dev eth0 nud stale");
	assert_int_equal(net_neighs(w->a, IP_V6, see_neigh, &seen, &e), 7);
	assert_false(seen.last.permanent);
	assert_int_equal(seen.last.mac.bytes[5], 3);
	must_fail(net_neighs(w->a, IP_NONE, see_neigh, &seen, &e), e, ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_net_route_replace__pod_takes_the_place_of_unreachable_and_back),
		world_test(test_net_route_replace__block_and_pod),
		world_test(test_net_route_replace__all_fields),
		world_test(test_net_route_replace__v6_gateway_and_table_0_is_main),
		world_test(test_net_route_replace__refusals),
		world_test(test_net_route_del__only_ours_and_only_what_was_said),
		world_test(test_net_route_del__v6_among_others_of_the_same_destination),
		world_test(test_net_route_del__table_that_nobody_used),
		world_test(test_net_route_replace__throw),
		world_test(test_net_routes__table_filter),
		world_test(test_net_routes__thousands_and_deleting_on_the_way),
		world_test(test_net_addr_add__without_prefix_route_and_twice),
		world_test(test_net_addr_add__no_dad_and_scope),
		world_test(test_net_addr_add__leaves_lifetimes_alone),
		world_test(test_net_addr_del__there_and_not_there),
		world_test(test_net_neigh_set_permanent__set_and_changed),
		world_test(test_net_neighs__one_family_and_its_states),
	};

	return cmocka_run_group_tests_name("net_route", tests, NULL, NULL);
}
