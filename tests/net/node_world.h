/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data path of one node with two NICs in a fabric that drops what a cloud drops:
 *
 *   p1 10.0.0.11 --bth1-- na --eth0 10.0.0.10-- a1 +-----+ b1 --eth0 10.0.0.30-- nb --bth3-- p3 10.0.0.31
 *   p2 10.0.0.21 --bth2-- na --eth1 10.0.0.20-- a2 | vpc |
 *                                                  +-----+ x1 198.51.100.1 -- ext 198.51.100.9
 *
 * The fabric has strict rp_filter: a source that is not assigned to the NIC by which it comes is dropped. The way out
 * takes 10.0.0.10 only. Flows are UDP exchanges, each with a new source port. For each part of the data path there is a
 * test that it is needed: without it exactly the flows that it is for fail.
 */
#ifndef TESTS_NET_NODE_WORLD_H
#define TESTS_NET_NODE_WORLD_H

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/net.h"
#include "berth/version.h"
#include "ipamd/hostnet.h"
#include "tests/check.h"

#define NFT_US        (10 * USEC_PER_SEC)
#define PASS_US       (10 * USEC_PER_SEC) /* a flow that shall pass gets this long, with new tries */
#define TRY_MS        300                 /* one try; a packet takes well below 1 ms */
#define FAIL_TRIES    2                   /* a flow that shall not pass is tried this often */
#define TABLE_BASE    48640U
#define RULE_PRIORITY 1024U
#define MASK          0x7eU

enum place { VPC, NA, NB, EXT, P1, P2, P3, PLACES };
static const char *const place_names[PLACES] = { "vpc", "na", "nb", "ext", "p1", "p2", "p3" };

/* The world is built once; atexit() needs it too, hence state of this file. */
static struct world {
	pid_t owner;
	int fd[PLACES];
	struct net *net[PLACES];
	struct hostnet *hostnet;
	struct hostnet_nic nics[2];
} world;

/* ---- small words ---- */

static inline struct ipaddr ip(const char *text)
{
	struct ipaddr addr;

	if (ipaddr_parse(text, &addr) < 0)
		fail_msg("%s is no address", text);
	return addr;
}

static inline struct prefix pfx(const char *text)
{
	struct prefix prefix;

	if (prefix_parse(text, &prefix) < 0)
		fail_msg("%s is no prefix", text);
	return prefix;
}

#define must(call)                                                                                                     \
	do {                                                                                                           \
		struct err oops = { 0 };                                                                               \
		if ((call) < 0)                                                                                        \
			fail_msg("%s: %s", #call, oops.msg);                                                           \
	} while (0)

static inline void ns_name(enum place place, char ret[static 32])
{
	(void)snprintf(ret, 32, "bhn%d-%s", (int)world.owner, place_names[place]);
}

static inline int link_index(enum place place, const char *name)
{
	struct net_link link = { 0 };

	must(net_link_by_name(world.net[place], name, &link, &oops));
	return link.index;
}

struct sysctl {
	const char *key, *value;
};

static inline int write_sysctl(void *arg, struct err *err)
{
	const struct sysctl *sysctl = arg;
	int r = fs_sysctl_write(sysctl->key, sysctl->value);

	return r < 0 ? err_set_errno(err, ERR_INVALID, "test", -r, "%s", sysctl->key) : 0;
}

static inline void sysctl(enum place place, const char *key, const char *value)
{
	struct sysctl arg = { key, value };

	must(netns_run(world.fd[place], write_sysctl, &arg, &oops));
}

struct batch {
	const char *text;
};

static inline int run_batch(void *arg, struct err *err)
{
	return nft_run(((struct batch *)arg)->text, clock_now(&clock_boot) + NFT_US, err);
}

static inline void nft(enum place place, const char *text)
{
	struct batch batch = { text };

	must(netns_run(world.fd[place], run_batch, &batch, &oops));
}

static inline void add_route(enum place place, const char *dst, const char *via, const char *dev, uint32_t table,
			     bool onlink)
{
	struct net_route route = { .dst = pfx(dst),
				   .type = NET_ROUTE_UNICAST,
				   .table = table,
				   .onlink = onlink,
				   .oif = link_index(place, dev),
				   .protocol = RTPROT_STATIC };

	if (via)
		route.gateway = ip(via);
	must(net_route_replace(world.net[place], &route, &oops));
}

/* ---- the world ---- */

static inline void make_place(enum place place)
{
	char name[32], path[64];

	ns_name(place, name);
	must(netns_add(name, &oops));
	(void)snprintf(path, sizeof(path), "/run/netns/%s", name);
	must(netns_open(path, &world.fd[place], &oops));
	must(net_open_ns(world.fd[place], &world.net[place], &oops));
	sysctl(place, "net/ipv4/conf/all/rp_filter", place == VPC ? "1" : "0");
	sysctl(place, "net/ipv4/conf/default/rp_filter", place == VPC ? "1" : "0");
}

/* A cloud's NIC: @addrs are assigned to it, the first one is its primary. */
static inline void make_nic(const char *fabric, enum place node, const char *ifname, const char *const *addrs)
{
	struct net_veth veth = { .name = fabric, .peer_netns_fd = world.fd[node], .peer_name = ifname, .up = true };
	const struct ipaddr gateway = ip("10.0.0.1");
	char key[96];

	must(net_veth_add(world.net[VPC], &veth, &oops));
	must(net_link_set_up(world.net[VPC], link_index(VPC, fabric), true, &oops));
	must(net_addr_add(world.net[VPC], link_index(VPC, fabric), &gateway, 32, 0, &oops));
	(void)snprintf(key, sizeof(key), "net/ipv4/conf/%s/proxy_arp", fabric);
	sysctl(VPC, key, "1");
	(void)snprintf(key, sizeof(key), "net/ipv4/neigh/%s/proxy_delay", fabric);
	sysctl(VPC, key, "0");
	for (unsigned i = 0; addrs[i]; i++)
		add_route(VPC, addrs[i], i ? addrs[0] : NULL, fabric, 0, i > 0);
}

static inline void make_primary(enum place node, const char *addr)
{
	const struct ipaddr a = ip(addr);
	int index = link_index(node, "eth0");

	must(net_link_set_up(world.net[node], index, true, &oops));
	must(net_addr_add(world.net[node], index, &a, 20, 0, &oops));
	add_route(node, "0.0.0.0/0", "10.0.0.1", "eth0", 0, false);
	sysctl(node, "net/ipv4/ip_forward", "1");
}

/* As the plugin does; without the host's route, which is ours to see. */
static inline void make_pod(enum place node, enum place pod, const char *host, const char *addr)
{
	const struct ipaddr a = ip(addr), gateway = ip("169.254.1.1");
	struct net_veth veth = { .name = host, .peer_netns_fd = world.fd[pod], .peer_name = "eth0", .up = true };
	struct net_link link = { 0 };
	int index;

	must(net_veth_add(world.net[node], &veth, &oops));
	must(net_link_set_up(world.net[node], link_index(node, host), true, &oops));
	must(net_link_by_name(world.net[node], host, &link, &oops));
	index = link_index(pod, "eth0");
	must(net_addr_add(world.net[pod], index, &a, 32, 0, &oops));
	must(net_link_set_up(world.net[pod], index, true, &oops));
	add_route(pod, "169.254.1.1", NULL, "eth0", 0, false);
	add_route(pod, "0.0.0.0/0", "169.254.1.1", "eth0", 0, false);
	must(net_neigh_set_permanent(world.net[pod], index, &gateway, &link.mac, &oops));
}

static inline void make_internet(void)
{
	struct net_veth veth = { .name = "x1", .peer_netns_fd = world.fd[EXT], .peer_name = "eth0", .up = true };
	const struct ipaddr inside = ip("198.51.100.1"), outside = ip("198.51.100.9"), elastic = ip("198.51.100.77");

	must(net_veth_add(world.net[VPC], &veth, &oops));
	must(net_link_set_up(world.net[VPC], link_index(VPC, "x1"), true, &oops));
	must(net_addr_add(world.net[VPC], link_index(VPC, "x1"), &inside, 24, 0, &oops));
	must(net_addr_add(world.net[VPC], link_index(VPC, "x1"), &elastic, 32, 0, &oops));
	must(net_addr_add(world.net[EXT], link_index(EXT, "eth0"), &outside, 24, 0, &oops));
	must(net_link_set_up(world.net[EXT], link_index(EXT, "eth0"), true, &oops));
	nft(VPC, "table ip igw {\n"
		 " chain f { type filter hook forward priority 0; oifname \"x1\" ip saddr != 10.0.0.10 drop; }\n"
		 " chain p { type nat hook postrouting priority 100; oifname \"x1\" snat ip to 198.51.100.77; }\n}\n");
}

static inline void fill_nic(struct hostnet_nic *nic, unsigned slot, const char *ifname, const char *addr)
{
	struct net_link link = { 0 };

	must(net_link_by_name(world.net[NA], ifname, &link, &oops));
	*nic = (struct hostnet_nic){ .mac = link.mac,
				     .slot = slot,
				     .primary = slot == 0,
				     .primary_addr = ip(addr),
				     .subnet = pfx("10.0.0.0/20"),
				     .gateway = ip("10.0.0.1") };
}

static inline void remove_world(void)
{
	if (getpid() != world.owner)
		return;
	world.owner = 0;
	for (int i = 0; i < PLACES; i++) {
		char name[32];

		world.owner = getpid();
		ns_name((enum place)i, name);
		(void)netns_del(name, NULL);
	}
}

static inline int open_hostnet(void *arg, struct err *err)
{
	const struct hostnet_config config = { .mark_mask = MASK,
					       .rule_priority = RULE_PRIORITY,
					       .table_base = TABLE_BASE };

	(void)arg;
	return hostnet_open(&config, &world.hostnet, err);
}

static inline int setup_world(void **state)
{
	static const char *const a1[] = { "10.0.0.10", "10.0.0.11", "10.0.0.12", NULL };
	static const char *const a2[] = { "10.0.0.20", "10.0.0.21", "10.0.0.64/28", NULL };
	static const char *const b1[] = { "10.0.0.30", "10.0.0.31", NULL };

	if (geteuid() != 0 || check_fds_setup(state) < 0)
		return -1;
	world.owner = getpid();
	if (atexit(remove_world) != 0)
		return -1;
	for (int i = 0; i < PLACES; i++)
		make_place((enum place)i);
	sysctl(VPC, "net/ipv4/ip_forward", "1");
	make_nic("a1", NA, "eth0", a1);
	make_nic("a2", NA, "eth1", a2);
	make_nic("b1", NB, "eth0", b1);
	make_internet();
	make_primary(NA, "10.0.0.10");
	make_primary(NB, "10.0.0.30");
	make_pod(NA, P1, "bth00000000001", "10.0.0.11");
	make_pod(NA, P2, "bth00000000002", "10.0.0.21");
	make_pod(NB, P3, "bth00000000003", "10.0.0.31");
	add_route(NB, "10.0.0.31", NULL, "bth00000000003", NET_TABLE_LOCAL, false);
	/* as kube-proxy: a NodePort whose only endpoint is on the other NIC, a Service on the other node */
	nft(NA, "table ip kp {\n chain d { type nat hook prerouting priority -100;\n"
		" fib daddr type local udp dport 30080 dnat to 10.0.0.21:9000\n"
		" ip daddr 172.20.0.1 udp dport 80 dnat to 10.0.0.31:9000\n }\n}\n");
	must(netns_run(world.fd[NA], open_hostnet, NULL, &oops));
	fill_nic(&world.nics[0], 0, "eth0", "10.0.0.10");
	fill_nic(&world.nics[1], 1, "eth1", "10.0.0.20");
	return 0;
}

static inline int teardown_world(void **state)
{
	hostnet_close(world.hostnet);
	for (int i = 0; i < PLACES; i++) {
		net_close(world.net[i]);
		(void)close(world.fd[i]);
	}
	remove_world();
	return check_fds_teardown(state);
}

/* ---- what is wanted ---- */

struct wish {
	struct hostnet_want want;
	struct hostnet_nic nics[3];
	struct prefix blocks[4];
	struct hostnet_pod pods[4];
	struct hostnet_report report;
};

static inline void add_pod(struct wish *wish, const char *addr, const char *host, bool bound)
{
	struct hostnet_pod *pod = &wish->pods[wish->want.pod_count++];

	*pod = (struct hostnet_pod){ .addr = ip(addr), .bound = bound };
	(void)snprintf(pod->host_ifname, sizeof(pod->host_ifname), "%s", host);
}

static inline void usual(struct wish *wish)
{
	*wish = (struct wish){ .want = { .nic_count = 2, .block_count = 4 } };
	wish->want.nics = wish->nics;
	wish->want.blocks = wish->blocks;
	wish->want.pods = wish->pods;
	memcpy(wish->nics, world.nics, sizeof(world.nics));
	wish->blocks[0] = pfx("10.0.0.11");
	wish->blocks[1] = pfx("10.0.0.12");
	wish->blocks[2] = pfx("10.0.0.21");
	wish->blocks[3] = pfx("10.0.0.64/28");
	add_pod(wish, "10.0.0.11", "bth00000000001", true);
	add_pod(wish, "10.0.0.21", "bth00000000002", true);
}

static inline int run_sync(void *arg, struct err *err)
{
	struct wish *wish = arg;

	return hostnet_sync(world.hostnet, &wish->want, &wish->report, err);
}

static inline int try_sync(struct wish *wish, struct err *err)
{
	return netns_run(world.fd[NA], run_sync, wish, err);
}

static inline void sync_ok(struct wish *wish)
{
	must(try_sync(wish, &oops));
}

static inline void nft_table(const struct wish *wish)
{
	const struct prefix local = pfx("10.0.0.0/16");
	const struct pool_block_ref refs[] = {
		{ wish->blocks[0], 0 }, { wish->blocks[1], 0 }, { wish->blocks[2], 1 }, { wish->blocks[3], 1 }
	};
	const struct nft_input input = {
		.mark_mask = MASK,
		.nics = wish->want.nics,
		.nic_count = wish->want.nic_count,
		.blocks = refs,
		.block_count = ARRAY_SIZE(refs),
		.local_prefixes = &local,
		.local_count = 1,
		.snat_to = ip("10.0.0.10"),
	};
	_cleanup_strbuf_ struct strbuf out = { 0 };

	nft_render(&input, &out);
	assert_false(out.failed);
	nft(NA, out.text);
}

/* Everything as it shall be, whatever a test before did. */
static inline int restore(void **state)
{
	struct wish wish;

	(void)state;
	nft(NA, "table inet others {}\ndelete table inet others\n");
	usual(&wish);
	sync_ok(&wish);
	assert_true(wish.nics[0].ready && wish.nics[1].ready);
	nft_table(&wish);
	return 0;
}

/* ---- flows ---- */

struct open_socket {
	const char *addr; /* NULL: bind to any */
	uint16_t port;
	int fd;
};

static inline int open_udp(void *arg, struct err *err)
{
	struct open_socket *o = arg;
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(o->port) };
	const int on = 1;
	int r;

	o->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (o->fd < 0)
		return err_set_errno(err, ERR_BUG, "test", errno, "socket");
	if (o->addr && inet_pton(AF_INET, o->addr, &addr.sin_addr) != 1)
		return err_set(err, ERR_BUG, "test", "%s", o->addr);
	(void)setsockopt(o->fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
	r = o->addr ? connect(o->fd, (struct sockaddr *)&addr, sizeof(addr))
		    : bind(o->fd, (struct sockaddr *)&addr, sizeof(addr));
	if (r < 0) {
		cleanup_close(&o->fd);
		return err_set_errno(err, ERR_RETRY, "test", errno, "connect or bind");
	}
	return 0;
}

static inline bool wait_readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, TRY_MS) == 1 && (pfd.revents & POLLIN);
}

/* One question and its answer. @ret_from: the source as the server saw it. */
static inline bool exchange(int client, int server, struct sockaddr_in *ret_from)
{
	socklen_t size = sizeof(*ret_from);
	char byte;

	if (send(client, "?", 1, 0) != 1 || !wait_readable(server))
		return false;
	if (recvfrom(server, &byte, 1, 0, (struct sockaddr *)ret_from, &size) != 1)
		return false;
	if (sendto(server, "!", 1, 0, (struct sockaddr *)ret_from, size) != 1 || !wait_readable(client))
		return false;
	return recv(client, &byte, 1, 0) == 1 && byte == '!';
}

struct flow {
	enum place from;
	const char *addr;
	uint16_t port;
	enum place server;
	const char *seen_from; /* NULL: not looked at */
};

/* A new flow from a new port. */
static inline bool try_flow(const struct flow *flow, char seen[static INET_ADDRSTRLEN])
{
	struct open_socket server = { .port = 9000 }, client = { .addr = flow->addr, .port = flow->port };
	struct sockaddr_in from = { 0 };
	struct err err;
	bool ok = false;

	seen[0] = '\0';
	must(netns_run(world.fd[flow->server], open_udp, &server, &oops));
	if (netns_run(world.fd[flow->from], open_udp, &client, &err) == 0) {
		ok = exchange(client.fd, server.fd, &from);
		(void)close(client.fd);
	}
	(void)close(server.fd);
	(void)inet_ntop(AF_INET, &from.sin_addr, seen, INET_ADDRSTRLEN);
	return ok;
}

static inline void passes(const struct flow *flow)
{
	int64_t end_us = clock_now(&clock_boot) + PASS_US;
	char seen[INET_ADDRSTRLEN];

	while (!try_flow(flow, seen)) {
		if (clock_now(&clock_boot) > end_us) {
			fail_msg("%s to %s:%u at %s does not pass (last seen from %s)", place_names[flow->from],
				 flow->addr, flow->port, place_names[flow->server], seen);
			return;
		}
	}
	if (flow->seen_from)
		assert_string_equal(seen, flow->seen_from);
}

static inline void does_not_pass(const struct flow *flow)
{
	char seen[INET_ADDRSTRLEN];

	for (int i = 0; i < FAIL_TRIES; i++) {
		if (try_flow(flow, seen))
			fail_msg("%s to %s:%u at %s passes", place_names[flow->from], flow->addr, flow->port,
				 place_names[flow->server]);
	}
}

/* By what they need. */
_unused_ static const struct flow plain_flows[] = {
	{ P1, "10.0.0.31", 9000, P3, "10.0.0.11" }, /* primary NIC, both ways */
	{ P3, "10.0.0.11", 9000, P1, "10.0.0.31" }, { P1, "10.0.0.21", 9000, P2, "10.0.0.11" }, /* on the node */
	{ P2, "10.0.0.11", 9000, P1, "10.0.0.21" }, { NA, "10.0.0.21", 9000, P2, NULL },
	{ P2, "10.0.0.10", 9000, NA, "10.0.0.21" }, { P1, "172.20.0.1", 80, P3, "10.0.0.11" }, /* a Service */
};
_unused_ static const struct flow secondary_flows[] = {
	{ P2, "10.0.0.31", 9000, P3, "10.0.0.21" },
	{ P2, "10.0.0.30", 9000, NB, "10.0.0.21" },
	{ P3, "10.0.0.21", 9000, P2, "10.0.0.31" },
	{ P2, "172.20.0.1", 80, P3, "10.0.0.21" },
};
_unused_ static const struct flow internet_flows[] = {
	{ P1, "198.51.100.9", 9000, EXT, NULL },
	{ P2, "198.51.100.9", 9000, EXT, NULL },
};
_unused_ static const struct flow nodeport_flows[] = {
	{ NB, "10.0.0.10", 30080, P2, "10.0.0.30" },
	{ P3, "10.0.0.10", 30080, P2, "10.0.0.31" },
};
_unused_ static const struct flow nodeport_eth1 = { NB, "10.0.0.20", 30080, P2, "10.0.0.30" };

#define each(flows, fn)                                                                                                \
	do {                                                                                                           \
		for (size_t i_ = 0; i_ < ARRAY_SIZE(flows); i_++)                                                      \
			fn(&(flows)[i_]);                                                                              \
	} while (0)

#define path_test(f) cmocka_unit_test_setup(f, restore)

#endif
