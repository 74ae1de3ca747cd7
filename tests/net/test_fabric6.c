/* SPDX-License-Identifier: Apache-2.0 */
/* The IPv6 side of the fabric says yes and no as a cloud's network does. a may reach the internet, b may not. */
#include "tests/net/fabric_world.h"

#define INTERNET FABRIC_INTERNET_ADDR6

static const struct side6 sides[] = { { "2001:db8:0:1::/64", "2001:db8:0:1::10", true },
				      { "2001:db8:0:1::/64", "2001:db8:0:1::30", false },
				      { "2001:db8:0:2::/64", NULL, false } };

static int world_up(void **state)
{
	return world_up_with(state, sides);
}

/* What a node does for addresses behind it on a NIC that it has configured itself: table, rule and forwarding are the
 * daemon's work; here one address on the link and one default route are enough. */
static void use_eth1(struct world *world, const char *addr)
{
	_cleanup_net_ struct net *net = NULL;
	struct net_route out = {
		.dst = net_of("2001:db8:0:1::10/128"), .gateway = ip(FABRIC_GATEWAY6), .onlink = true, .protocol = 98
	};
	struct err err = { 0 };
	struct net_link link;

	add_address(world->b, "eth1", addr);
	must(net_open_ns(world->b, &net, &err), &err);
	must(net_link_by_name(net, "eth1", &link, &err), &err);
	out.oif = link.index;
	must(net_route_replace(net, &out, &err), &err);
}

/* ---- NICs ---- */

static void test_fabric6__nodes_reach_each_other(void **state)
{
	struct world *world = *state;

	assert_true(answers(world->a, "2001:db8:0:1::30"));
	assert_true(answers(world->b, "2001:db8:0:1::10"));
	/* And IPv4 beside it. */
	assert_true(answers(world->a, "10.0.0.30"));
}

static void test_fabric_nic_attach__ipv6_address_without_a_range(void **state)
{
	struct world *world = *state;
	const struct macaddr mac = { { 0x02, 0, 0, 0, 0, 0x77 } };
	struct fabric_nic nic = nic_of("a", "eth1", &mac, "10.0.0.77");
	struct err err = { 0 };

	nic.primary6 = ip("2001:db8:0:1::77");
	assert_int_equal(fabric_nic_attach(world->fabric, &nic, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
}

/* ---- addresses ---- */

static void test_fabric_addr_assign__ipv6_answers_until_unassigned(void **state)
{
	struct world *world = *state;

	add_address(world->b, "eth0", "2001:db8:0:1::31");
	assert_true(is_dark(world->a, "2001:db8:0:1::31"));
	assign(world, &mac_b0, "10.0.0.30", "2001:db8:0:1::31/128");
	assert_true(answers(world->a, "2001:db8:0:1::31"));
	unassign(world, &mac_b0, "2001:db8:0:1::31/128");
	unassign(world, &mac_b0, "2001:db8:0:1::31/128");
	assert_true(is_dark(world->a, "2001:db8:0:1::31"));
}

static void test_fabric_addr_assign__ipv6_prefix(void **state)
{
	struct world *world = *state;

	add_address(world->b, "eth0", "2001:db8:0:1:a::5");
	assign(world, &mac_b0, "10.0.0.30", "2001:db8:0:1:a::/80");
	assert_true(answers(world->a, "2001:db8:0:1:a::5"));
	unassign(world, &mac_b0, "2001:db8:0:1:a::/80");
	assert_true(is_dark(world->a, "2001:db8:0:1:a::5"));
}

/* A NIC without an IPv6 address of its own takes prefixes all the same. */
static void test_fabric_addr_assign__ipv6_prefix_of_a_bare_nic(void **state)
{
	struct world *world = *state;

	use_eth1(world, "2001:db8:0:2:b::5");
	assign(world, &mac_b1, "10.0.0.40", "2001:db8:0:2:b::/80");
	assert_true(answers(world->a, "2001:db8:0:2:b::5"));
}

static void test_fabric_addr_assign__ipv6_moves_to_another_nic(void **state)
{
	struct world *world = *state;

	use_eth1(world, "2001:db8:0:1:c::5");
	assign(world, &mac_b0, "10.0.0.30", "2001:db8:0:1:c::/80");
	/* It answers by eth1, where the fabric does not take it. */
	assert_true(is_dark(world->a, "2001:db8:0:1:c::5"));
	assign(world, &mac_b1, "10.0.0.40", "2001:db8:0:1:c::/80");
	assert_true(answers(world->a, "2001:db8:0:1:c::5"));
}

/* ---- sources ---- */

static void test_fabric6__spoofed_source_is_dropped(void **state)
{
	struct world *world = *state;
	struct ping_forgery nobody =
		forge(world->a, world->b, "2001:db8:0:1::10", "2001:db8:0:1::99", "2001:db8:0:1::30");
	struct ping_forgery outside =
		forge(world->a, world->b, "2001:db8:0:1::10", "2001:db8:5::7", "2001:db8:0:1::30");
	struct ping_forgery other = forge(world->a, world->b, "2001:db8:0:1::10", INTERNET, "2001:db8:0:1::30");

	assert_true(nobody.honest_came);
	assert_false(nobody.forged_came);
	assert_false(outside.forged_came);
	assert_false(other.forged_came);
}

static void test_fabric6__assigned_source_passes(void **state)
{
	struct world *world = *state;
	const char *mine = "2001:db8:0:1::30", *pod = "2001:db8:0:1:a::7", *dst = "2001:db8:0:1::10";

	assert_false(forge(world->b, world->a, mine, pod, dst).forged_came);
	assign(world, &mac_b0, "10.0.0.30", "2001:db8:0:1:a::/80");
	assert_true(forge(world->b, world->a, mine, pod, dst).forged_came);
}

/* The prefix is of this node, but of its other NIC. */
static void test_fabric6__source_of_other_nic_is_dropped(void **state)
{
	struct world *world = *state;

	assign(world, &mac_b1, "10.0.0.40", "2001:db8:0:2:b::/80");
	struct ping_forgery seen =
		forge(world->b, world->a, "2001:db8:0:1::30", "2001:db8:0:2:b::5", "2001:db8:0:1::10");

	assert_true(seen.honest_came);
	assert_false(seen.forged_came);
}

/* ---- the internet ---- */

static void test_fabric6__internet_for_public_nics_only(void **state)
{
	struct world *world = *state;
	struct ipaddr a = ip("2001:db8:0:1::10");
	struct ping_probe probe = { .netns_fd = world->a, .dst = ip(INTERNET) };
	struct err err = { 0 };

	must(ping_udp(&probe, 1, world->inet, &err), &err);
	assert_true(probe.ok);
	assert_true(ipaddr_equal(&probe.seen, &a)); /* nothing is translated */
	assert_true(is_dark(world->b, INTERNET));
	assert_true(answers(world->inet, "2001:db8:0:1::10"));
	assert_true(is_dark(world->inet, "2001:db8:0:1::30"));
}

/* A pod's address of a NIC that may goes out as it is. */
static void test_fabric6__internet_sees_the_pod(void **state)
{
	struct world *world = *state;

	assign(world, &mac_a0, "10.0.0.10", "2001:db8:0:1:d::/80");
	assign(world, &mac_b0, "10.0.0.30", "2001:db8:0:1:e::/80");
	assert_true(forge(world->a, world->inet, "2001:db8:0:1::10", "2001:db8:0:1:d::9", INTERNET).forged_came);
	assert_false(forge(world->b, world->inet, "2001:db8:0:1::30", "2001:db8:0:1:e::9", INTERNET).forged_came);
}

/* One way is enough to be let in. */
static void test_fabric6__internet_gets_in_to_public_nics_only(void **state)
{
	struct world *world = *state;

	assert_true(forge(world->inet, world->a, INTERNET, "2001:db8:ffff::8", "2001:db8:0:1::10").forged_came);
	assert_false(forge(world->inet, world->b, INTERNET, "2001:db8:ffff::8", "2001:db8:0:1::30").forged_came);
}

/* The MAC comes again as a NIC that may not: what its forerunner might is over. */
static void test_fabric_nic_attach__public6_is_of_this_nic(void **state)
{
	struct world *world = *state;
	const struct side6 closed = { "2001:db8:0:1::/64", "2001:db8:0:1::10", false };
	struct fabric_nic nic = nic_of("a", "eth0", &mac_a0, "10.0.0.10");
	struct err err = { 0 };

	assert_true(answers(world->a, INTERNET));
	must(fabric_nic_detach(world->fabric, &mac_a0, &err), &err);
	add_side6(&nic, &closed);
	attach(world, &nic);
	assert_true(answers(world->a, "2001:db8:0:1::30"));
	assert_true(is_dark(world->a, INTERNET));
}

#define world_test(f) cmocka_unit_test_setup_teardown(f, world_up, world_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_fabric6__nodes_reach_each_other),
		world_test(test_fabric_nic_attach__ipv6_address_without_a_range),
		world_test(test_fabric_addr_assign__ipv6_answers_until_unassigned),
		world_test(test_fabric_addr_assign__ipv6_prefix),
		world_test(test_fabric_addr_assign__ipv6_prefix_of_a_bare_nic),
		world_test(test_fabric_addr_assign__ipv6_moves_to_another_nic),
		world_test(test_fabric6__spoofed_source_is_dropped),
		world_test(test_fabric6__assigned_source_passes),
		world_test(test_fabric6__source_of_other_nic_is_dropped),
		world_test(test_fabric6__internet_for_public_nics_only),
		world_test(test_fabric6__internet_sees_the_pod),
		world_test(test_fabric6__internet_gets_in_to_public_nics_only),
		world_test(test_fabric_nic_attach__public6_is_of_this_nic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
