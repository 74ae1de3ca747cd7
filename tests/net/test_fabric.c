/* SPDX-License-Identifier: Apache-2.0 */
/* The fabric says yes and no as a cloud's network does: two nodes, a with one NIC, b with two. */
#include "tests/net/fabric_world.h"

static int world_up(void **state)
{
	return world_up_with(state, NULL);
}

/* ---- names and life ---- */

static void test_fabric_create__conflict_when_in_use(void **state)
{
	struct world *world = *state;
	struct err err = { 0 };

	assert_int_equal(fabric_create(world->prefix, &err), -1);
	assert_int_equal(err.class, ERR_CONFLICT);
	/* What was there is still there. */
	assert_true(answers(world->a, "10.0.0.30"));
}

static void test_fabric_create__bad_prefix(void **state)
{
	static const char *const bad[] = { "", "-a", "a-b", "A", "toolong", "a/b" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = { 0 };

		assert_int_equal(fabric_create(bad[i], &err), -1);
		assert_int_equal(err.class, ERR_INVALID);
		assert_int_equal(fabric_destroy(bad[i], &err), -1);
	}
}

static void test_fabric_destroy__nothing_there(void **state)
{
	char prefix[FABRIC_PREFIX_MAX + 1];
	struct fabric *fabric;
	struct err err = { 0 };

	(void)state;
	own_prefix(prefix);
	must(fabric_destroy(prefix, &err), &err);
	must(fabric_destroy(prefix, &err), &err);
	assert_int_equal(fabric_open(prefix, &fabric, &err), -1);
	assert_int_equal(err.class, ERR_NOTFOUND);
}

static void test_fabric_link_name__from_mac(void **state)
{
	const struct macaddr mac = { { 0x02, 0xab, 0xcd, 0xef, 0x01, 0x23 } };
	char name[NET_IFNAME_SIZE];

	(void)state;
	fabric_link_name(&mac, name);
	assert_string_equal(name, "nabcdef0123");
}

static void test_fabric_public_addr__one_to_one(void **state)
{
	struct ipaddr low = ip("10.0.1.10"), high = ip("10.1.255.254"), want_low = ip("198.18.1.10");
	struct ipaddr want_high = ip("198.19.255.254"), got_low = fabric_public_addr(&low);
	struct ipaddr got_high = fabric_public_addr(&high);

	(void)state;
	assert_true(ipaddr_equal(&got_low, &want_low));
	assert_true(ipaddr_equal(&got_high, &want_high));
}

/* ---- NICs ---- */

static void test_fabric_nic_attach__node_sees_it(void **state)
{
	struct world *world = *state;
	_cleanup_net_ struct net *net = NULL;
	struct err err = { 0 };
	struct net_link link;

	must(net_open_ns(world->b, &net, &err), &err);
	must(net_link_by_mac(net, &mac_b1, NULL, &link, &err), &err);
	assert_string_equal(link.name, "eth1");
	assert_int_equal(link.mtu, NIC_MTU);
	/* Nobody configures a secondary NIC but who wants it. */
	assert_false(link.up);
	must(net_link_by_mac(net, &mac_b0, NULL, &link, &err), &err);
	assert_string_equal(link.name, "eth0");
	assert_true(link.up);
}

static void test_fabric_nic_attach__errors(void **state)
{
	struct world *world = *state;
	struct fabric_nic again = nic_of("a", "eth1", &mac_a0, "10.0.0.50");
	struct fabric_nic nowhere = nic_of("c", "eth0", &mac_a0, "10.0.0.50");
	struct err err = { 0 };

	assert_int_equal(fabric_nic_attach(world->fabric, &again, &err), -1);
	assert_int_equal(err.class, ERR_CONFLICT);
	assert_int_equal(fabric_nic_attach(world->fabric, &nowhere, &err), -1);
	assert_int_equal(err.class, ERR_NOTFOUND);
}

static void test_fabric_nic_detach__gone_on_both_sides(void **state)
{
	struct world *world = *state;
	_cleanup_net_ struct net *node = NULL, *vpc = NULL;
	char name[NET_IFNAME_SIZE];
	struct err err = { 0 };
	struct net_link link;

	assert_true(answers(world->a, "10.0.0.30"));
	must(fabric_nic_detach(world->fabric, &mac_b0, &err), &err);
	must(fabric_nic_detach(world->fabric, &mac_b0, &err), &err);
	must(net_open_ns(world->b, &node, &err), &err);
	must(net_open_ns(world->vpc, &vpc, &err), &err);
	assert_int_equal(net_link_by_name(node, "eth0", &link, &err), -1);
	fabric_link_name(&mac_b0, name);
	assert_int_equal(net_link_by_name(vpc, name, &link, &err), -1);
	assert_true(is_dark(world->a, "10.0.0.30"));
	/* The MAC may come again. */
	struct fabric_nic b0 = nic_of("b", "eth0", &mac_b0, "10.0.0.30");

	attach(world, &b0);
	assert_true(answers(world->a, "10.0.0.30"));
}

/* ---- addresses ---- */

static void test_fabric_addr_assign__answers_until_unassigned(void **state)
{
	struct world *world = *state;

	add_address(world->b, "eth0", "10.0.0.31");
	assert_true(is_dark(world->a, "10.0.0.31"));
	assign(world, &mac_b0, "10.0.0.30", "10.0.0.31/32");
	assert_true(answers(world->a, "10.0.0.31"));
	unassign(world, &mac_b0, "10.0.0.31/32");
	unassign(world, &mac_b0, "10.0.0.31/32");
	assert_true(is_dark(world->a, "10.0.0.31"));
}

static void test_fabric_addr_assign__prefix(void **state)
{
	struct world *world = *state;

	add_address(world->b, "eth0", "10.0.0.69");
	assign(world, &mac_b0, "10.0.0.30", "10.0.0.64/28");
	assert_true(answers(world->a, "10.0.0.69"));
	unassign(world, &mac_b0, "10.0.0.64/28");
	assert_true(is_dark(world->a, "10.0.0.69"));
}

static void test_fabric_addr_unassign__of_another_nic_changes_nothing(void **state)
{
	struct world *world = *state;

	add_address(world->b, "eth0", "10.0.0.31");
	assign(world, &mac_b0, "10.0.0.30", "10.0.0.31/32");
	unassign(world, &mac_b1, "10.0.0.31/32");
	assert_true(answers(world->a, "10.0.0.31"));
}

static void test_fabric_addr_assign__unknown_nic(void **state)
{
	struct world *world = *state;
	const struct macaddr nobody = { { 0x02, 9, 9, 9, 9, 9 } };
	struct ipaddr primary = ip("10.0.0.90");
	struct prefix prefix = net_of("10.0.0.91/32");
	struct err err = { 0 };

	assert_int_equal(fabric_addr_assign(world->fabric, &nobody, &primary, &prefix, &err), -1);
	assert_int_equal(err.class, ERR_NOTFOUND);
	must(fabric_addr_unassign(world->fabric, &nobody, &prefix, &err), &err);
}

/* A neighbour in the same subnet asks by ARP; the fabric answers for every NIC, as EC2 does. */
static void test_fabric__arp_for_secondary_nic(void **state)
{
	struct world *world = *state;

	add_address(world->b, "eth1", "10.0.0.40");
	struct ping_forgery seen = forge(world->a, world->b, "10.0.0.10", "10.0.0.99", "10.0.0.40");

	assert_true(seen.honest_came);
	assert_false(seen.forged_came);
}

/* ---- sources ---- */

static void test_fabric__spoofed_source_is_dropped(void **state)
{
	struct world *world = *state;
	struct ping_forgery nobody = forge(world->a, world->b, "10.0.0.10", "10.0.0.99", "10.0.0.30");
	struct ping_forgery outside = forge(world->a, world->b, "10.0.0.10", "192.0.2.7", "10.0.0.30");

	assert_true(nobody.honest_came);
	assert_false(nobody.forged_came);
	assert_true(outside.honest_came);
	assert_false(outside.forged_came);
}

/* The address is real and of this node, but of its other NIC. */
static void test_fabric__source_of_other_nic_is_dropped(void **state)
{
	struct world *world = *state;
	struct ping_forgery seen = forge(world->b, world->a, "10.0.0.30", "10.0.0.40", "10.0.0.10");

	assert_true(seen.honest_came);
	assert_false(seen.forged_came);
}

static void test_fabric__assigned_source_passes(void **state)
{
	struct world *world = *state;

	assert_false(forge(world->b, world->a, "10.0.0.30", "10.0.0.31", "10.0.0.10").forged_came);
	assign(world, &mac_b0, "10.0.0.30", "10.0.0.31/32");
	assert_true(forge(world->b, world->a, "10.0.0.30", "10.0.0.31", "10.0.0.10").forged_came);
}

/* ---- services and the internet ---- */

static void test_fabric__services_answer_nodes(void **state)
{
	struct world *world = *state;

	assert_true(answers(world->a, FABRIC_METADATA_ADDR));
	assert_true(answers(world->b, FABRIC_API_ADDR));
	assert_true(answers(world->a, "10.0.0.1"));
}

static void test_fabric_public_set__only_public_primaries_get_out(void **state)
{
	struct world *world = *state;
	struct ipaddr a = ip("10.0.0.10"), public_a = fabric_public_addr(&a);
	struct ping_probe probe = { .netns_fd = world->a, .dst = ip(FABRIC_INTERNET_ADDR) };
	struct err err = { 0 };

	assert_true(is_dark(world->a, FABRIC_INTERNET_ADDR));
	set_public(world, "10.0.0.10", true);
	set_public(world, "10.0.0.10", true);
	assert_true(answers(world->a, FABRIC_INTERNET_ADDR));
	assert_true(is_dark(world->b, FABRIC_INTERNET_ADDR));
	must(ping_udp(&probe, 1, world->inet, &err), &err);
	assert_true(probe.ok);
	assert_true(ipaddr_equal(&probe.seen, &public_a));
	set_public(world, "10.0.0.10", false);
	set_public(world, "10.0.0.10", false);
	assert_true(is_dark(world->a, FABRIC_INTERNET_ADDR));
}

static void test_fabric_public_set__internet_gets_in(void **state)
{
	struct world *world = *state;

	assert_true(is_dark(world->inet, "198.18.0.10"));
	set_public(world, "10.0.0.10", true);
	assert_true(answers(world->inet, "198.18.0.10"));
}

/* A secondary address has no public one of its own: a pod's packet without SNAT is lost. */
static void test_fabric__no_snat_no_internet(void **state)
{
	struct world *world = *state;

	set_public(world, "10.0.0.30", true);
	assign(world, &mac_b0, "10.0.0.30", "10.0.0.31/32");
	struct ping_forgery seen = forge(world->b, world->inet, "10.0.0.30", "10.0.0.31", FABRIC_INTERNET_ADDR);

	assert_true(seen.honest_came);
	assert_false(seen.forged_came);
}

#define world_test(f) cmocka_unit_test_setup_teardown(f, world_up, world_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_fabric_create__bad_prefix),
		check_unit_test(test_fabric_destroy__nothing_there),
		check_unit_test(test_fabric_link_name__from_mac),
		check_unit_test(test_fabric_public_addr__one_to_one),
		world_test(test_fabric_create__conflict_when_in_use),
		world_test(test_fabric_nic_attach__node_sees_it),
		world_test(test_fabric_nic_attach__errors),
		world_test(test_fabric_nic_detach__gone_on_both_sides),
		world_test(test_fabric_addr_assign__answers_until_unassigned),
		world_test(test_fabric_addr_assign__prefix),
		world_test(test_fabric_addr_unassign__of_another_nic_changes_nothing),
		world_test(test_fabric_addr_assign__unknown_nic),
		world_test(test_fabric__arp_for_secondary_nic),
		world_test(test_fabric__spoofed_source_is_dropped),
		world_test(test_fabric__source_of_other_nic_is_dropped),
		world_test(test_fabric__assigned_source_passes),
		world_test(test_fabric__services_answer_nodes),
		world_test(test_fabric_public_set__only_public_primaries_get_out),
		world_test(test_fabric_public_set__internet_gets_in),
		world_test(test_fabric__no_snat_no_internet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
