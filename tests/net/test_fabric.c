/* SPDX-License-Identifier: Apache-2.0 */
/* The fabric says yes and no as a cloud's network does: two nodes, a with one NIC, b with two. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/net.h"
#include "mocks/box_ping.h"
#include "mocks/fabric/fabric.h"
#include "tests/check.h"

#define NIC_MTU 9001U

static const struct macaddr mac_a0 = { { 0x02, 0, 0, 0, 0, 0x0a } };
static const struct macaddr mac_b0 = { { 0x02, 0, 0, 0, 0, 0xb0 } };
static const struct macaddr mac_b1 = { { 0x02, 0, 0, 0, 0, 0xb1 } };

struct world {
	char prefix[FABRIC_PREFIX_MAX + 1];
	struct fabric *fabric;
	int a, b, inet, vpc;
};

static void must(int r, const struct err *err)
{
	if (r != 0)
		fail_msg("%s: %s", err_class_name(err->class), err->msg);
}

static struct ipaddr ip(const char *text)
{
	struct ipaddr addr;

	assert_int_equal(ipaddr_parse(text, &addr), 0);
	return addr;
}

static struct prefix net_of(const char *text)
{
	struct prefix prefix;

	assert_int_equal(prefix_parse(text, &prefix), 0);
	return prefix;
}

/* Short enough for a prefix, different for every process that lives. */
static void own_prefix(char ret[static FABRIC_PREFIX_MAX + 1])
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	unsigned pid = (unsigned)getpid();

	ret[0] = 't';
	for (unsigned i = 1; i < FABRIC_PREFIX_MAX; i++, pid /= 36)
		ret[i] = digits[pid % 36];
	ret[FABRIC_PREFIX_MAX] = '\0';
}

static struct fabric_nic nic_of(const char *node, const char *ifname, const struct macaddr *mac, const char *primary)
{
	return (struct fabric_nic){ .node = node,
				    .ifname = ifname,
				    .mac = *mac,
				    .gateway = ip("10.0.0.1"),
				    .primary = ip(primary),
				    .subnet = net_of("10.0.0.0/20"),
				    .mtu = NIC_MTU,
				    .configure = strcmp(ifname, "eth0") == 0 };
}

static void attach(struct world *world, const struct fabric_nic *nic)
{
	struct err err = { 0 };

	must(fabric_nic_attach(world->fabric, nic, &err), &err);
}

static int build(struct world *world, struct err *err)
{
	const struct fabric_nic nics[] = { nic_of("a", "eth0", &mac_a0, "10.0.0.10"),
					   nic_of("b", "eth0", &mac_b0, "10.0.0.30"),
					   nic_of("b", "eth1", &mac_b1, "10.0.0.40") };

	if (fabric_create(world->prefix, err) < 0 || fabric_open(world->prefix, &world->fabric, err) < 0 ||
	    fabric_node_add(world->fabric, "a", err) < 0 || fabric_node_add(world->fabric, "b", err) < 0 ||
	    fabric_netns_open(world->prefix, "a", &world->a, err) < 0 ||
	    fabric_netns_open(world->prefix, "b", &world->b, err) < 0 ||
	    fabric_netns_open(world->prefix, "inet", &world->inet, err) < 0 ||
	    fabric_netns_open(world->prefix, "vpc", &world->vpc, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(nics); i++)
		if (fabric_nic_attach(world->fabric, &nics[i], err) < 0)
			return -1;
	return 0;
}

static int world_up(void **state)
{
	static struct world world;
	struct err err = { 0 };

	check_fds_setup(state);
	world = (struct world){ .a = -1, .b = -1, .inet = -1, .vpc = -1 };
	own_prefix(world.prefix);
	*state = &world;
	if (build(&world, &err) == 0)
		return 0;
	/* No teardown follows a setup that failed. */
	(void)fabric_destroy(world.prefix, NULL);
	must(-1, &err);
	return -1;
}

static int world_down(void **state)
{
	struct world *world = *state;
	struct err err = { 0 };

	(void)close(world->a);
	(void)close(world->b);
	(void)close(world->inet);
	(void)close(world->vpc);
	fabric_close(world->fabric);
	must(fabric_destroy(world->prefix, &err), &err);
	return check_fds_teardown(state);
}

static bool answers_in(int from_fd, const char *dst, unsigned tries)
{
	struct ping_probe probe = { .netns_fd = from_fd, .dst = ip(dst), .tries = tries };
	struct err err = { 0 };

	must(ping_echo(&probe, 1, &err), &err);
	assert_false(probe.wrong_source);
	return probe.ok;
}

/* An address that was dark a moment ago is asked for by ARP again only after a second: hence several tries. */
static bool answers(int from_fd, const char *dst)
{
	return answers_in(from_fd, dst, PING_TRIES);
}

static bool is_dark(int from_fd, const char *dst)
{
	return !answers_in(from_fd, dst, 1);
}

static struct ping_forgery forge(int from_fd, int to_fd, const char *honest, const char *forged, const char *dst)
{
	struct ping_forgery forgery = { .from_netns_fd = from_fd,
					.to_netns_fd = to_fd,
					.honest = ip(honest),
					.forged = ip(forged),
					.dst = ip(dst) };
	struct err err = { 0 };

	must(ping_forge(&forgery, &err), &err);
	return forgery;
}

static void add_address(int netns_fd, const char *ifname, const char *text)
{
	_cleanup_net_ struct net *net = NULL;
	struct ipaddr addr = ip(text);
	struct err err = { 0 };
	struct net_link link;

	must(net_open_ns(netns_fd, &net, &err), &err);
	must(net_link_by_name(net, ifname, &link, &err), &err);
	must(net_link_set_up(net, link.index, true, &err), &err);
	must(net_addr_add(net, link.index, &addr, 32, NET_ADDR_NOPREFIXROUTE, &err), &err);
}

static void assign(struct world *world, const struct macaddr *mac, const char *primary, const char *prefix_text)
{
	struct ipaddr addr = ip(primary);
	struct prefix prefix = net_of(prefix_text);
	struct err err = { 0 };

	must(fabric_addr_assign(world->fabric, mac, &addr, &prefix, &err), &err);
}

static void unassign(struct world *world, const struct macaddr *mac, const char *prefix_text)
{
	struct prefix prefix = net_of(prefix_text);
	struct err err = { 0 };

	must(fabric_addr_unassign(world->fabric, mac, &prefix, &err), &err);
}

static void set_public(struct world *world, const char *primary, bool allowed)
{
	struct ipaddr addr = ip(primary);
	struct err err = { 0 };

	must(fabric_public_set(world->fabric, &addr, allowed, &err), &err);
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
