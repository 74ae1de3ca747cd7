/* SPDX-License-Identifier: Apache-2.0 */
/* Two nodes in a fabric of one's own: a with one NIC, b with two; with IPv6 where a test program says so. */
#ifndef TESTS_NET_FABRIC_WORLD_H
#define TESTS_NET_FABRIC_WORLD_H

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

/* The IPv6 side of a NIC: nothing, or a subnet with or without an address of its own. */
struct side6 {
	const char *subnet, *primary;
	bool public;
};

struct world {
	const struct side6 *sides; /* of a's eth0, b's eth0, b's eth1; NULL: IPv4 alone */
	char prefix[FABRIC_PREFIX_MAX + 1];
	struct fabric *fabric;
	int a, b, inet, vpc;
};

static inline void must(int r, const struct err *err)
{
	if (r != 0)
		fail_msg("%s: %s", err_class_name(err->class), err->msg);
}

static inline struct ipaddr ip(const char *text)
{
	struct ipaddr addr;

	assert_int_equal(ipaddr_parse(text, &addr), 0);
	return addr;
}

static inline struct prefix net_of(const char *text)
{
	struct prefix prefix;

	assert_int_equal(prefix_parse(text, &prefix), 0);
	return prefix;
}

/* Short enough for a prefix, different for every process that lives. */
static inline void own_prefix(char ret[static FABRIC_PREFIX_MAX + 1])
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	unsigned pid = (unsigned)getpid();

	ret[0] = 't';
	for (unsigned i = 1; i < FABRIC_PREFIX_MAX; i++, pid /= 36)
		ret[i] = digits[pid % 36];
	ret[FABRIC_PREFIX_MAX] = '\0';
}

static inline struct fabric_nic nic_of(const char *node, const char *ifname, const struct macaddr *mac,
				       const char *primary)
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

static inline void add_side6(struct fabric_nic *nic, const struct side6 *side)
{
	if (side->subnet)
		nic->subnet6 = net_of(side->subnet);
	if (side->primary)
		nic->primary6 = ip(side->primary);
	nic->public6 = side->public;
}

static inline void attach(struct world *world, const struct fabric_nic *nic)
{
	struct err err = { 0 };

	must(fabric_nic_attach(world->fabric, nic, &err), &err);
}

static inline int build(struct world *world, struct err *err)
{
	struct fabric_nic nics[] = { nic_of("a", "eth0", &mac_a0, "10.0.0.10"),
				     nic_of("b", "eth0", &mac_b0, "10.0.0.30"),
				     nic_of("b", "eth1", &mac_b1, "10.0.0.40") };

	if (fabric_create(world->prefix, err) < 0 || fabric_open(world->prefix, &world->fabric, err) < 0 ||
	    fabric_node_add(world->fabric, "a", err) < 0 || fabric_node_add(world->fabric, "b", err) < 0 ||
	    fabric_netns_open(world->prefix, "a", &world->a, err) < 0 ||
	    fabric_netns_open(world->prefix, "b", &world->b, err) < 0 ||
	    fabric_netns_open(world->prefix, "inet", &world->inet, err) < 0 ||
	    fabric_netns_open(world->prefix, "vpc", &world->vpc, err) < 0)
		return -1;
	for (size_t i = 0; world->sides && i < ARRAY_SIZE(nics); i++)
		add_side6(&nics[i], &world->sides[i]);
	for (size_t i = 0; i < ARRAY_SIZE(nics); i++)
		if (fabric_nic_attach(world->fabric, &nics[i], err) < 0)
			return -1;
	return 0;
}

static inline int world_up_with(void **state, const struct side6 *sides)
{
	static struct world world;
	struct err err = { 0 };

	check_fds_setup(state);
	world = (struct world){ .sides = sides, .a = -1, .b = -1, .inet = -1, .vpc = -1 };
	own_prefix(world.prefix);
	*state = &world;
	if (build(&world, &err) == 0)
		return 0;
	/* No teardown follows a setup that failed. */
	(void)fabric_destroy(world.prefix, NULL);
	must(-1, &err);
	return -1;
}

static inline int world_down(void **state)
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

static inline bool answers_in(int from_fd, const char *dst, unsigned tries)
{
	struct ping_probe probe = { .netns_fd = from_fd, .dst = ip(dst), .tries = tries };
	struct err err = { 0 };

	must(ping_echo(&probe, 1, &err), &err);
	assert_false(probe.wrong_source);
	return probe.ok;
}

/* An address that was dark a moment ago is asked for by ARP again only after a second: hence several tries. */
static inline bool answers(int from_fd, const char *dst)
{
	return answers_in(from_fd, dst, PING_TRIES);
}

static inline bool is_dark(int from_fd, const char *dst)
{
	return !answers_in(from_fd, dst, 1);
}

static inline struct ping_forgery forge(int from_fd, int to_fd, const char *honest, const char *forged, const char *dst)
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

static inline void add_address(int netns_fd, const char *ifname, const char *text)
{
	_cleanup_net_ struct net *net = NULL;
	struct ipaddr addr = ip(text);
	struct err err = { 0 };
	struct net_link link;

	must(net_open_ns(netns_fd, &net, &err), &err);
	must(net_link_by_name(net, ifname, &link, &err), &err);
	must(net_link_set_up(net, link.index, true, &err), &err);
	must(net_addr_add(net, link.index, &addr, ipaddr_bits(&addr), NET_ADDR_NOPREFIXROUTE | NET_ADDR_NODAD, &err),
	     &err);
}

static inline void assign(struct world *world, const struct macaddr *mac, const char *primary, const char *prefix_text)
{
	struct ipaddr addr = ip(primary);
	struct prefix prefix = net_of(prefix_text);
	struct err err = { 0 };

	must(fabric_addr_assign(world->fabric, mac, &addr, &prefix, &err), &err);
}

static inline void unassign(struct world *world, const struct macaddr *mac, const char *prefix_text)
{
	struct prefix prefix = net_of(prefix_text);
	struct err err = { 0 };

	must(fabric_addr_unassign(world->fabric, mac, &prefix, &err), &err);
}

static inline void set_public(struct world *world, const char *primary, bool allowed)
{
	struct ipaddr addr = ip(primary);
	struct err err = { 0 };

	must(fabric_public_set(world->fabric, &addr, allowed, &err), &err);
}

#endif
