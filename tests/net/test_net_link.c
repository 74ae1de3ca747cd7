/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/net/world.h"

#define MAC_HOST "02:aa:00:00:00:01"
#define MAC_POD  "02:aa:00:00:00:02"

static void assert_no_link(struct net *net, const char *name)
{
	struct net_link link;
	struct err e;

	must_fail(net_link_by_name(net, name, &link, &e), e, ERR_NOTFOUND);
	assert_int_equal(e.code, ENODEV);
}

static int count_link(const struct net_link *link, void *arg)
{
	(void)link;
	(*(int *)arg)++;
	return 0;
}

static int link_count(struct net *net)
{
	int count = 0;

	must(net_links(net, count_link, &count, &err));
	return count;
}

/* ---- veth ---- */

static void test_net_veth_add__other_end_born_in_another_namespace(void **state)
{
	const struct world *w = *state;
	const struct macaddr host = mac_of(MAC_HOST), pod = mac_of(MAC_POD);
	const struct net_veth veth = { .name = "bth0",
				       .mac = &host,
				       .peer_netns_fd = w->b_fd,
				       .peer_name = "eth0",
				       .peer_mac = &pod,
				       .mtu = 1400,
				       .up = true };
	_cleanup_free_ char *shown = NULL;
	struct net_link a, b;

	must(net_veth_add(w->a, &veth, &err));
	must(net_link_by_name(w->a, "bth0", &a, &err));
	must(net_link_by_name(w->b, "eth0", &b, &err));
	assert_true(macaddr_equal(&a.mac, &host));
	assert_true(macaddr_equal(&b.mac, &pod));
	assert_int_equal(a.mtu, 1400);
	assert_int_equal(b.mtu, 1400);
	assert_string_equal(a.kind, "veth");
	assert_int_equal(a.peer_index, b.index);
	assert_int_equal(b.peer_index, a.index);
	assert_true(a.up);
	assert_false(b.up);
	assert_no_link(w->a, "eth0");
	assert_no_link(w->b, "bth0");

	shown = world_ip(w->b_name, "-j -d link show eth0");
	assert_contains(shown, "\"address\":\"" MAC_POD "\"");
	assert_contains(shown, "\"mtu\":1400");
	assert_contains(shown, "\"info_kind\":\"veth\"");
}

static void test_net_veth_add__both_ends_here_with_the_kernels_choice(void **state)
{
	const struct world *w = *state;
	const struct net_veth veth = { .name = "v0", .peer_netns_fd = -1, .peer_name = "v1" };
	const struct macaddr none = { 0 };
	struct net_link v0, v1;

	must(net_veth_add(w->a, &veth, &err));
	must(net_link_by_name(w->a, "v0", &v0, &err));
	must(net_link_by_name(w->a, "v1", &v1, &err));
	assert_int_equal(v0.mtu, 1500);
	assert_false(v0.up);
	assert_int_equal(v0.peer_index, v1.index);
	assert_false(macaddr_equal(&v0.mac, &none));
	assert_false(macaddr_equal(&v0.mac, &v1.mac));
}

static void test_net_veth_add__name_taken_on_either_side(void **state)
{
	const struct world *w = *state;
	struct net_veth veth = { .name = "busy", .peer_netns_fd = w->b_fd, .peer_name = "eth0" };
	struct err e;
	int before_a, before_b;

	(void)world_pair(w->a, "busy", "busy-peer");
	(void)world_pair(w->b, "taken", "taken-peer");
	before_a = link_count(w->a);
	before_b = link_count(w->b);

	must_fail(net_veth_add(w->a, &veth, &e), e, ERR_CONFLICT);
	assert_int_equal(e.code, EEXIST);
	assert_string_equal(e.domain, "netlink");
	assert_contains(e.msg, "busy: name is taken");

	veth.name = "bth0";
	veth.peer_name = "taken";
	must_fail(net_veth_add(w->a, &veth, &e), e, ERR_CONFLICT);
	assert_contains(e.msg, "peer's name taken is taken");

	assert_no_link(w->a, "bth0");
	assert_no_link(w->b, "eth0");
	assert_int_equal(link_count(w->a), before_a);
	assert_int_equal(link_count(w->b), before_b);
}

static void test_net_veth_add__what_the_kernel_refuses_leaves_nothing(void **state)
{
	const struct world *w = *state;
	struct net_veth veth = { .name = "bth0", .peer_netns_fd = w->b_fd, .peer_name = "eth0", .mtu = 1000000 };
	struct err e;

	must_fail(net_veth_add(w->a, &veth, &e), e, ERR_INVALID);
	veth.mtu = 0;
	veth.peer_netns_fd = STDERR_FILENO; /* open, but no namespace */
	must_fail(net_veth_add(w->a, &veth, &e), e, ERR_INVALID);
	veth.peer_netns_fd = w->b_fd;
	veth.name = "a-name-of-16-chr";
	must_fail(net_veth_add(w->a, &veth, &e), e, ERR_INVALID);
	veth.name = "bth0";
	veth.peer_name = "";
	must_fail(net_veth_add(w->a, &veth, &e), e, ERR_INVALID);
	assert_int_equal(link_count(w->a), 1);
	assert_int_equal(link_count(w->b), 1);
}

/* ---- looking up ---- */

static void test_net_link_by_index__there_and_not_there(void **state)
{
	const struct world *w = *state;
	struct net_link link;
	struct err e;

	must(net_link_by_index(w->a, 1, &link, &err));
	assert_string_equal(link.name, "lo");
	assert_string_equal(link.kind, "");
	assert_true(link.up);
	must_fail(net_link_by_index(w->a, 4711, &link, &e), e, ERR_NOTFOUND);
	assert_string_equal(link.name, "lo"); /* untouched by the failure */
	must_fail(net_link_by_index(w->a, 0, &link, &e), e, ERR_INVALID);
}

static void test_net_link_by_name__names_that_cannot_be(void **state)
{
	const struct world *w = *state;
	struct net_link link;
	struct err e;

	must_fail(net_link_by_name(w->a, "", &link, &e), e, ERR_INVALID);
	must_fail(net_link_by_name(w->a, "sixteen-letters-", &link, &e), e, ERR_INVALID);
	must_fail(net_link_by_name(w->a, "fifteen-letters", &link, &e), e, ERR_NOTFOUND);
}

static void test_net_link_by_mac__one_skipped_two(void **state)
{
	const struct world *w = *state;
	const struct macaddr nic = mac_of(MAC_HOST), other = mac_of(MAC_POD), nobody = mac_of("02:00:00:00:00:99");
	struct net_veth veth = {
		.name = "ens5", .mac = &nic, .peer_netns_fd = -1, .peer_name = "p0", .peer_mac = &other
	};
	struct net_link link;
	struct err e;

	must(net_veth_add(w->a, &veth, &err));
	must(net_link_by_mac(w->a, &nic, NULL, &link, &err));
	assert_string_equal(link.name, "ens5");
	must_fail(net_link_by_mac(w->a, &nobody, NULL, &link, &e), e, ERR_NOTFOUND);

	veth.name = "bth1";
	veth.peer_name = "p1";
	veth.peer_mac = NULL;
	must(net_veth_add(w->a, &veth, &err));
	must_fail(net_link_by_mac(w->a, &nic, NULL, &link, &e), e, ERR_CONFLICT);
	assert_contains(e.msg, "ens5");
	assert_contains(e.msg, "bth1");
	must(net_link_by_mac(w->a, &nic, "bth", &link, &err));
	assert_string_equal(link.name, "ens5");
	must_fail(net_link_by_mac(w->a, &nic, "", &link, &e), e, ERR_CONFLICT); /* no prefix: nothing is skipped */
	must(net_link_by_mac(w->a, &other, "ens", &link, &err));
	assert_string_equal(link.name, "p0");
	must_fail(net_link_by_mac(w->a, &other, "p", &link, &e), e, ERR_NOTFOUND);
}

/* What a NIC really looks like: the VF below it or the VLAN on it has its MAC too. */
static void test_net_link_by_mac__parts_of_a_nic_are_not_it(void **state)
{
	const struct world *w = *state;
	const struct macaddr nic = mac_of(MAC_HOST);
	const struct net_veth veth = { .name = "ens5", .mac = &nic, .peer_netns_fd = -1, .peer_name = "p0" };
	struct net_link link;

	must(net_veth_add(w->a, &veth, &err));
	world_ip_do(w->a_name, "link add link ens5 name child0 address " MAC_HOST " type macvlan");
	must(net_link_by_mac(w->a, &nic, NULL, &link, &err));
	assert_string_equal(link.name, "ens5");
	world_ip_do(w->a_name, "link del child0");

	world_ip_do(w->a_name, "link add top0 address " MAC_HOST " type bridge");
	world_ip_do(w->a_name, "link set ens5 master top0");
	must(net_link_by_mac(w->a, &nic, NULL, &link, &err));
	assert_string_equal(link.name, "top0");
}

/* ---- walking ---- */

static int stop_at_second(const struct net_link *link, void *arg)
{
	(void)link;
	return ++*(int *)arg == 2 ? 42 : 0;
}

static void test_net_links__stops_where_the_callback_says(void **state)
{
	const struct world *w = *state;
	struct err err = { 0 };
	int seen = 0;

	(void)world_pair(w->a, "v0", "v1");
	assert_int_equal(net_links(w->a, stop_at_second, &seen, &err), 42);
	assert_int_equal(seen, 2);
	assert_int_equal(link_count(w->a), 3); /* the socket is free again */
}

static int delete_veth(const struct net_link *link, void *arg)
{
	struct world *w = arg;

	if (str_equal(link->kind, "veth") && str_starts(link->name, "bth"))
		must(net_link_del(w->a, link->index, &err));
	return 0;
}

static void test_net_links__the_callback_may_use_the_socket(void **state)
{
	struct world *w = *state;

	(void)world_pair(w->a, "bth0", "x0");
	(void)world_pair(w->a, "bth1", "x1");
	must(net_links(w->a, delete_veth, w, &err));
	assert_int_equal(link_count(w->a), 1);
}

/* More than one datagram of 32 KiB. */
static void test_net_links__many(void **state)
{
	const struct world *w = *state;
	char name[NET_IFNAME_SIZE], peer[NET_IFNAME_SIZE];

	for (int i = 0; i < 40; i++) {
		const struct net_veth veth = { .name = name, .peer_netns_fd = -1, .peer_name = peer };

		(void)snprintf(name, sizeof(name), "bth%d", i);
		(void)snprintf(peer, sizeof(peer), "p%d", i);
		must(net_veth_add(w->a, &veth, &err));
	}
	assert_int_equal(link_count(w->a), 81);
}

/* ---- changing ---- */

static void test_net_link_set__up_mtu_name(void **state)
{
	const struct world *w = *state;
	const struct net_veth veth = { .name = "v0", .peer_netns_fd = -1, .peer_name = "v1" };
	struct net_link link;

	must(net_veth_add(w->a, &veth, &err));
	must(net_link_by_name(w->a, "v0", &link, &err));
	must(net_link_rename(w->a, link.index, "eth7", &err));
	must(net_link_set_mtu(w->a, link.index, 9001, &err));
	must(net_link_set_up(w->a, link.index, true, &err));
	must(net_link_by_name(w->a, "eth7", &link, &err));
	assert_true(link.up);
	assert_int_equal(link.mtu, 9001);
	must(net_link_set_up(w->a, link.index, false, &err));
	must(net_link_by_index(w->a, link.index, &link, &err));
	assert_false(link.up);
}

static void test_net_link_set__refusals(void **state)
{
	const struct world *w = *state;
	int index = world_pair(w->a, "v0", "v1");
	struct err e;

	must_fail(net_link_set_mtu(w->a, index, 1000000, &e), e, ERR_INVALID);
	assert_contains(e.msg, "kernel says \"mtu greater than device maximum\"");
	must_fail(net_link_rename(w->a, index, "v1", &e), e, ERR_CONFLICT);
	must_fail(net_link_rename(w->a, index, "sixteen-letters-", &e), e, ERR_INVALID);
	must_fail(net_link_set_up(w->a, 4711, true, &e), e, ERR_NOTFOUND);
	must_fail(net_link_set_mtu(w->a, 4711, 1500, &e), e, ERR_NOTFOUND);
}

static void test_net_link_del__takes_the_peer_and_then_says_notfound(void **state)
{
	const struct world *w = *state;
	const struct net_veth veth = { .name = "bth0", .peer_netns_fd = w->b_fd, .peer_name = "eth0" };
	struct net_link link;
	struct err e;

	must(net_veth_add(w->a, &veth, &err));
	must(net_link_by_name(w->a, "bth0", &link, &err));
	must(net_link_del(w->a, link.index, &err));
	assert_no_link(w->a, "bth0");
	assert_no_link(w->b, "eth0");
	must_fail(net_link_del(w->a, link.index, &e), e, ERR_NOTFOUND);
}

static void test_net__errors_may_be_ignored(void **state)
{
	const struct world *w = *state;
	struct net_link link;

	assert_int_equal(net_link_by_name(w->a, "nothing", &link, NULL), -1);
	net_close(NULL);
	net_monitor_close(NULL);
}

/* A link without addresses of the kernel's making says nothing by itself: no link-local, so nothing to solicit from. */
static void test_net_link_make_no_addrs__before_it_is_up(void **state)
{
	const struct world *w = *state;
	const struct net_veth veth = { .name = "a0", .peer_name = "a1", .peer_netns_fd = -1 };
	const struct net_veth narrow = { .name = "n0", .peer_name = "n1", .peer_netns_fd = -1, .mtu = 1279 };
	_cleanup_free_ char *quiet = NULL, *usual = NULL;
	struct net_link link, peer;
	struct err e;

	must(net_veth_add(w->a, &veth, &err));
	must(net_link_by_name(w->a, "a0", &link, &err));
	must(net_link_by_name(w->a, "a1", &peer, &err));
	for (int again = 0; again < 2; again++)
		must(net_link_make_no_addrs(w->a, link.index, &err));
	must(net_link_set_up(w->a, link.index, true, &err));
	must(net_link_set_up(w->a, peer.index, true, &err));
	quiet = world_ip(w->a_name, "-6 addr show dev a0");
	usual = world_ip(w->a_name, "-6 addr show dev a1");
	assert_lacks(quiet, "fe80::");
	assert_contains(usual, "fe80::");
	must_fail(net_link_make_no_addrs(w->a, 4711, &e), e, ERR_NOTFOUND);
	must(net_veth_add(w->a, &narrow, &err));
	must(net_link_by_name(w->a, "n0", &link, &err));
	must_fail(net_link_make_no_addrs(w->a, link.index, &e), e, ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_net_veth_add__other_end_born_in_another_namespace),
		world_test(test_net_veth_add__both_ends_here_with_the_kernels_choice),
		world_test(test_net_veth_add__name_taken_on_either_side),
		world_test(test_net_veth_add__what_the_kernel_refuses_leaves_nothing),
		world_test(test_net_link_by_index__there_and_not_there),
		world_test(test_net_link_by_name__names_that_cannot_be),
		world_test(test_net_link_by_mac__one_skipped_two),
		world_test(test_net_link_by_mac__parts_of_a_nic_are_not_it),
		world_test(test_net_links__stops_where_the_callback_says),
		world_test(test_net_links__the_callback_may_use_the_socket),
		world_test(test_net_links__many),
		world_test(test_net_link_set__up_mtu_name),
		world_test(test_net_link_set__refusals),
		world_test(test_net_link_make_no_addrs__before_it_is_up),
		world_test(test_net_link_del__takes_the_peer_and_then_says_notfound),
		world_test(test_net__errors_may_be_ignored),
	};

	return cmocka_run_group_tests_name("net_link", tests, NULL, NULL);
}
