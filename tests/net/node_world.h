/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data path of one node with two NICs in a fabric that drops what a cloud drops:
 *
 *   p1 10.0.0.11 --bth1-- na --eth0 10.0.0.10-- a1 +-----+ b1 --eth0 10.0.0.30-- nb --bth3-- p3 10.0.0.31
 *   p2 10.0.0.21 --bth2-- na --eth1 10.0.0.20-- a2 | vpc |
 *                                                  +-----+ x1 198.51.100.1 -- ext 198.51.100.9
 *
 * Everybody has IPv6 beside it, under 2001:db8:0:1::/64 with the same last number: p1 in a /80 of eth0, p2 as a single
 * address of eth1, ext at 2001:db8:ffff::9. The fabric's gateway is 10.0.0.1, and fe80:ec2::1 on every NIC.
 *
 * The fabric drops a source that is not assigned to the NIC by which it comes: strict rp_filter for IPv4, the same by
 * nft for IPv6, which has no rp_filter. The way out takes 10.0.0.10 only of IPv4, and every assigned address of IPv6.
 * Flows are UDP exchanges, each with a new source port. For each part of the data path there is a test that it is
 * needed: without it exactly the flows that it is for fail. Pods are wired by the plugin's own podnet_wire().
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
#include "cni/podnet.h"
#include "ipamd/hostnet.h"
#include "tests/check.h"

#define NFT_US        (10 * USEC_PER_SEC)
#define PASS_US       (10 * USEC_PER_SEC) /* a flow that shall pass gets this long, with new tries */
#define TRY_MS        300                 /* one try; a packet takes well below 1 ms */
#define FAIL_TRIES    2                   /* a flow that shall not pass is tried this often */
#define TABLE_BASE    48640U
#define RULE_PRIORITY 1024U
#define MASK          0x7eU
#define GATEWAY6      "fe80:ec2::1" /* as EC2's */
#define JUMBO         9001U         /* bytes: the MTU of an EC2 NIC; also of pods */

enum place { VPC, NA, NB, EXT, P1, P2, P3, PLACES };
static const char *const place_names[PLACES] = { "vpc", "na", "nb", "ext", "p1", "p2", "p3" };

/* Their addresses; NS: of na's second interface. */
#define P1_4 "10.0.0.11"
#define P1_6 "2001:db8:0:1:a::11"
#define P2_4 "10.0.0.21"
#define P2_6 "2001:db8:0:1::21"
#define P3_4 "10.0.0.31"
#define P3_6 "2001:db8:0:1::31"
#define NA_4 "10.0.0.10" /* eth0 */
#define NA_6 "2001:db8:0:1::10"
#define NS_4 "10.0.0.20" /* eth1 */
#define NS_6 "2001:db8:0:1::20"
#define NB_4 "10.0.0.30"
#define NB_6 "2001:db8:0:1::30"
#define EX_4 "198.51.100.9"
#define EX_6 "2001:db8:ffff::9"

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
	return nft_run(((struct batch *)arg)->text, clock_now(&clock_boot) + NFT_US, NULL, err);
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
	/* nobody here is a duplicate; a second of waiting for each address would be one for each test program */
	sysctl(place, "net/ipv6/conf/default/accept_dad", "0");
}

static inline void add_addr(enum place place, const char *dev, const char *addr, unsigned len)
{
	const struct ipaddr a = ip(addr);

	must(net_addr_add(world.net[place], link_index(place, dev), &a, len, NET_ADDR_NODAD, &oops));
}

/* What the fabric has assigned to a NIC: the first one is its primary address, the others are behind it. */
static inline void assign(const char *fabric, const char *const *addrs)
{
	for (unsigned i = 0; addrs[i]; i++)
		add_route(VPC, addrs[i], i ? addrs[0] : NULL, fabric, 0, i > 0);
}

static inline void make_nic(const char *fabric, enum place node, const char *ifname, const char *const *addrs,
			    const char *const *addrs6)
{
	struct net_veth veth = {
		.name = fabric, .peer_netns_fd = world.fd[node], .peer_name = ifname, .mtu = JUMBO, .up = true
	};
	char key[96];

	must(net_veth_add(world.net[VPC], &veth, &oops));
	must(net_link_set_up(world.net[VPC], link_index(VPC, fabric), true, &oops));
	add_addr(VPC, fabric, "10.0.0.1", 32);
	add_addr(VPC, fabric, GATEWAY6, 64);
	(void)snprintf(key, sizeof(key), "net/ipv4/conf/%s/proxy_arp", fabric);
	sysctl(VPC, key, "1");
	(void)snprintf(key, sizeof(key), "net/ipv4/neigh/%s/proxy_delay", fabric);
	sysctl(VPC, key, "0");
	assign(fabric, addrs);
	assign(fabric, addrs6);
}

static inline void make_primary(enum place node, const char *addr, const char *addr6)
{
	must(net_link_set_up(world.net[node], link_index(node, "eth0"), true, &oops));
	add_addr(node, "eth0", addr, 20);
	add_addr(node, "eth0", addr6, 128);
	add_route(node, "0.0.0.0/0", "10.0.0.1", "eth0", 0, false);
	add_route(node, "::/0", GATEWAY6, "eth0", 0, false);
	sysctl(node, "net/ipv4/ip_forward", "1");
	sysctl(node, "net/ipv6/conf/all/forwarding", "1");
}

struct pod_to_make {
	enum place pod;
	const char *host, *addr, *addr6;
};

/* In the node's namespace. */
static inline int wire_pod(void *arg, struct err *err)
{
	const struct pod_to_make *make = arg;
	const struct podnet_wish wish = {
		.ifname = "eth0",
		.host_ifname = make->host,
		.addr_count = 2,
		.addrs = { { ip(make->addr), ip("169.254.1.1") }, { ip(make->addr6), ip("fe80::1") } },
		.mtu = JUMBO,
	};
	struct podnet podnet = { .netns_fd = -1 };
	struct podnet_made made;
	char name[32], path[64];
	int r;

	ns_name(make->pod, name);
	(void)snprintf(path, sizeof(path), "/run/netns/%s", name);
	if (podnet_open(path, false, &podnet, err) < 0)
		return -1;
	r = podnet_wire(&podnet, &wish, &made, err);
	podnet_done(&podnet);
	return r;
}

static inline void make_pod(enum place node, enum place pod, const char *host, const char *addr, const char *addr6)
{
	struct pod_to_make make = { pod, host, addr, addr6 };

	must(netns_run(world.fd[node], wire_pod, &make, &oops));
}

static inline void make_internet(void)
{
	struct net_veth veth = { .name = "x1", .peer_netns_fd = world.fd[EXT], .peer_name = "eth0", .up = true };

	must(net_veth_add(world.net[VPC], &veth, &oops));
	must(net_link_set_up(world.net[VPC], link_index(VPC, "x1"), true, &oops));
	add_addr(VPC, "x1", "198.51.100.1", 24);
	add_addr(VPC, "x1", "198.51.100.77", 32);
	add_addr(VPC, "x1", "2001:db8:ffff::1", 64);
	add_addr(EXT, "eth0", "198.51.100.9", 24);
	add_addr(EXT, "eth0", "2001:db8:ffff::9", 64);
	must(net_link_set_up(world.net[EXT], link_index(EXT, "eth0"), true, &oops));
	add_route(EXT, "::/0", "2001:db8:ffff::1", "eth0", 0, false);
	nft(VPC, "table ip igw {\n"
		 " chain f { type filter hook forward priority 0; oifname \"x1\" ip saddr != 10.0.0.10 drop; }\n"
		 " chain p { type nat hook postrouting priority 100; oifname \"x1\" snat ip to 198.51.100.77; }\n}\n");
}

/* IPv6 sources: what came by the NIC that it is assigned to, and the talk of neighbours. */
static inline void check_sources6(void)
{
	nft(VPC, "table ip6 sources {\n chain p { type filter hook prerouting priority -300;\n"
		 "  ip6 saddr { ::, fe80::/10 } accept\n"
		 "  iifname { \"a1\", \"a2\", \"b1\" } fib saddr . iif oif missing drop\n }\n}\n");
}

/* As kube-proxy: a NodePort whose only endpoint is on the other NIC, a Service on the other node. */
static inline void make_services(void)
{
	nft(NA, "table ip kp {\n chain d { type nat hook prerouting priority -100;\n"
		"  fib daddr type local udp dport 30080 dnat to 10.0.0.21:9000\n"
		"  ip daddr 172.20.0.1 udp dport 80 dnat to 10.0.0.31:9000\n }\n}\n"
		"table ip6 kp {\n chain d { type nat hook prerouting priority -100;\n"
		"  fib daddr type local udp dport 30080 dnat to [2001:db8:0:1::21]:9000\n"
		"  ip6 daddr fd00:20::1 udp dport 80 dnat to [2001:db8:0:1::31]:9000\n }\n}\n");
}

static inline void fill_nic(struct hostnet_nic *nic, unsigned slot, const char *ifname, const char *addr,
			    const char *addr6)
{
	struct net_link link = { 0 };

	must(net_link_by_name(world.net[NA], ifname, &link, &oops));
	*nic = (struct hostnet_nic){ .mac = link.mac,
				     .slot = slot,
				     .primary = slot == 0,
				     .primary_addr = ip(addr),
				     .subnet = pfx("10.0.0.0/20"),
				     .gateway = ip("10.0.0.1"),
				     .primary_addr6 = ip(addr6),
				     .subnet6 = pfx("2001:db8:0:1::/64"),
				     .gateway6 = ip(GATEWAY6) };
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
	static const char *const a1_v6[] = { "2001:db8:0:1::10", "2001:db8:0:1:a::/80", "2001:db8:0:1::12", NULL };
	static const char *const a2_v6[] = { "2001:db8:0:1::20", "2001:db8:0:1::21", "2001:db8:0:1:b::/80", NULL };
	static const char *const b1_v6[] = { "2001:db8:0:1::30", "2001:db8:0:1::31", NULL };

	if (geteuid() != 0 || check_fds_setup(state) < 0)
		return -1;
	world.owner = getpid();
	if (atexit(remove_world) != 0)
		return -1;
	for (int i = 0; i < PLACES; i++)
		make_place((enum place)i);
	sysctl(VPC, "net/ipv4/ip_forward", "1");
	sysctl(VPC, "net/ipv6/conf/all/forwarding", "1");
	make_nic("a1", NA, "eth0", a1, a1_v6);
	make_nic("a2", NA, "eth1", a2, a2_v6);
	make_nic("b1", NB, "eth0", b1, b1_v6);
	make_internet();
	check_sources6();
	make_primary(NA, "10.0.0.10", "2001:db8:0:1::10");
	make_primary(NB, "10.0.0.30", "2001:db8:0:1::30");
	make_pod(NA, P1, "bth00000000001", "10.0.0.11", "2001:db8:0:1:a::11");
	make_pod(NA, P2, "bth00000000002", "10.0.0.21", "2001:db8:0:1::21");
	make_pod(NB, P3, "bth00000000003", "10.0.0.31", "2001:db8:0:1::31");
	make_services();
	must(netns_run(world.fd[NA], open_hostnet, NULL, &oops));
	fill_nic(&world.nics[0], 0, "eth0", "10.0.0.10", "2001:db8:0:1::10");
	fill_nic(&world.nics[1], 1, "eth1", "10.0.0.20", "2001:db8:0:1::20");
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
	struct prefix blocks[8];
	struct hostnet_pod pods[8];
	struct net_port ports[24]; /* of NA that lead to pods; sorted */
	unsigned port_count;
	struct hostnet_services services;
	struct hostnet_report report;
	/* of the table: */
	const struct cloud_guarded *guarded;
	struct ipaddr allowed[4];
	unsigned allowed_count;
};

static inline void add_pod(struct wish *wish, const char *addr, const char *host, bool bound)
{
	struct hostnet_pod *pod = &wish->pods[wish->want.pod_count++];

	*pod = (struct hostnet_pod){ .addr = ip(addr), .bound = bound };
	(void)snprintf(pod->host_ifname, sizeof(pod->host_ifname), "%s", host);
}

static inline void usual(struct wish *wish)
{
	static const char *const blocks[] = {
		"10.0.0.11",           "10.0.0.12",
		"10.0.0.21",           "10.0.0.64/28", /* two of each NIC, in turn */
		"2001:db8:0:1:a::/80", "2001:db8:0:1::12",
		"2001:db8:0:1::21",    "2001:db8:0:1:b::/80",
	};

	*wish = (struct wish){ .want = { .nic_count = 2, .block_count = ARRAY_SIZE(blocks) } };
	wish->want.nics = wish->nics;
	wish->want.blocks = wish->blocks;
	wish->want.pods = wish->pods;
	memcpy(wish->nics, world.nics, sizeof(world.nics));
	for (unsigned i = 0; i < ARRAY_SIZE(blocks); i++)
		wish->blocks[i] = pfx(blocks[i]);
	add_pod(wish, "10.0.0.11", "bth00000000001", true);
	add_pod(wish, "10.0.0.21", "bth00000000002", true);
	add_pod(wish, "2001:db8:0:1:a::11", "bth00000000001", true);
	add_pod(wish, "2001:db8:0:1::21", "bth00000000002", true);
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
	const struct prefix local[] = { pfx("10.0.0.0/16"), pfx("192.0.2.0/24"), pfx("2001:db8::/56") };
	struct pool_block_ref refs[ARRAY_SIZE(wish->blocks)];
	const struct nft_input input = {
		.mark_mask = MASK,
		.nics = wish->want.nics,
		.nic_count = wish->want.nic_count,
		.blocks = refs,
		.block_count = wish->want.block_count,
		.local_prefixes = local,
		.local_count = ARRAY_SIZE(local),
		.snat_to = ip("10.0.0.10"),
		.source_check = true,
		.guarded = wish->guarded,
		.metadata_allowed = wish->allowed,
		.metadata_allowed_count = wish->allowed_count,
		.ports = wish->ports,
		.port_count = wish->port_count,
		.services = wish->services.addrs,
		.service_count = wish->services.count,
	};
	_cleanup_strbuf_ struct strbuf out = { 0 };

	for (unsigned i = 0; i < wish->want.block_count; i++)
		refs[i] = (struct pool_block_ref){ wish->blocks[i], i / 2 % 2 }; /* see usual() */
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
	bool v6;
	const char *addr; /* NULL: bind to any */
	uint16_t port;
	int fd;
};

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static inline bool is_v6(const char *addr)
{
	return strchr(addr, ':') != NULL;
}

/* Return: its size. */
static inline socklen_t fill_address(union address *address, bool v6, const char *text, uint16_t port)
{
	struct ipaddr addr = text ? ip(text) : (struct ipaddr){ 0 };

	memset(address, 0, sizeof(*address));
	if (v6) {
		address->v6.sin6_family = AF_INET6;
		address->v6.sin6_port = htons(port);
		memcpy(&address->v6.sin6_addr, addr.bytes, sizeof(address->v6.sin6_addr));
		return sizeof(address->v6);
	}
	address->v4.sin_family = AF_INET;
	address->v4.sin_port = htons(port);
	memcpy(&address->v4.sin_addr, addr.bytes, sizeof(address->v4.sin_addr));
	return sizeof(address->v4);
}

static inline void address_text(const union address *address, char text[static IPADDR_STRLEN])
{
	if (address->any.sa_family == AF_INET6)
		(void)inet_ntop(AF_INET6, &address->v6.sin6_addr, text, IPADDR_STRLEN);
	else
		(void)inet_ntop(AF_INET, &address->v4.sin_addr, text, IPADDR_STRLEN);
}

static inline int open_udp(void *arg, struct err *err)
{
	struct open_socket *o = arg;
	union address address;
	socklen_t size = fill_address(&address, o->v6, o->addr, o->port);
	const int on = 1;
	int r;

	o->fd = socket(address.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (o->fd < 0)
		return err_set_errno(err, ERR_BUG, "test", errno, "socket");
	(void)setsockopt(o->fd, o->v6 ? IPPROTO_IPV6 : IPPROTO_IP, o->v6 ? IPV6_RECVERR : IP_RECVERR, &on, sizeof(on));
	(void)setsockopt(o->fd, o->v6 ? IPPROTO_IPV6 : IPPROTO_IP, o->v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, &on,
			 sizeof(on));
	r = o->addr ? connect(o->fd, &address.any, size) : bind(o->fd, &address.any, size);
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

/* Answers come from the address that was asked, as from any server that minds several: the link of the question is taken
 * out of its packet information, the rest goes back with the answer. */
static inline void forget_link(struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
			((struct in6_pktinfo *)(void *)CMSG_DATA(c))->ipi6_ifindex = 0;
		else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			((struct in_pktinfo *)(void *)CMSG_DATA(c))->ipi_ifindex = 0;
	}
}

/* One question and its answer. @ret_from: the source as the server saw it. */
static inline bool exchange(int client, int server, union address *ret_from)
{
	_Alignas(struct cmsghdr) char control[128];
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_name = ret_from,
			      .msg_namelen = sizeof(*ret_from),
			      .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };

	if (send(client, "?", 1, 0) != 1 || !wait_readable(server) || recvmsg(server, &msg, 0) != 1)
		return false;
	forget_link(&msg);
	byte = '!';
	if (sendmsg(server, &msg, 0) != 1 || !wait_readable(client))
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
static inline bool try_flow(const struct flow *flow, char seen[static IPADDR_STRLEN])
{
	struct open_socket server = { .v6 = is_v6(flow->addr), .port = 9000 },
			   client = { .v6 = is_v6(flow->addr), .addr = flow->addr, .port = flow->port };
	union address from = { .any.sa_family = AF_INET };
	struct err err;
	bool ok = false;

	must(netns_run(world.fd[flow->server], open_udp, &server, &oops));
	if (netns_run(world.fd[flow->from], open_udp, &client, &err) == 0) {
		ok = exchange(client.fd, server.fd, &from);
		(void)close(client.fd);
	}
	(void)close(server.fd);
	address_text(&from, seen);
	return ok;
}

static inline void passes(const struct flow *flow)
{
	int64_t end_us = clock_now(&clock_boot) + PASS_US;
	char seen[IPADDR_STRLEN];

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
	char seen[IPADDR_STRLEN];

	for (int i = 0; i < FAIL_TRIES; i++) {
		if (try_flow(flow, seen))
			fail_msg("%s to %s:%u at %s passes", place_names[flow->from], flow->addr, flow->port,
				 place_names[flow->server]);
	}
}

/* By what they need, and by ip_index(). */
_unused_ static const struct flow plain_flows[IP_FAMILIES][7] = {
	{
		{ P1, "10.0.0.31", 9000, P3, "10.0.0.11" }, /* primary NIC, both ways */
		{ P3, "10.0.0.11", 9000, P1, "10.0.0.31" },
		{ P1, "10.0.0.21", 9000, P2, "10.0.0.11" }, /* on the node */
		{ P2, "10.0.0.11", 9000, P1, "10.0.0.21" },
		{ NA, "10.0.0.21", 9000, P2, NULL },
		{ P2, "10.0.0.10", 9000, NA, "10.0.0.21" },
		{ P1, "172.20.0.1", 80, P3, "10.0.0.11" }, /* a Service */
	},
	{
		{ P1, "2001:db8:0:1::31", 9000, P3, "2001:db8:0:1:a::11" },
		{ P3, "2001:db8:0:1:a::11", 9000, P1, "2001:db8:0:1::31" },
		{ P1, "2001:db8:0:1::21", 9000, P2, "2001:db8:0:1:a::11" },
		{ P2, "2001:db8:0:1:a::11", 9000, P1, "2001:db8:0:1::21" },
		{ NA, "2001:db8:0:1::21", 9000, P2, NULL },
		{ P2, "2001:db8:0:1::10", 9000, NA, "2001:db8:0:1::21" },
		{ P1, "fd00:20::1", 80, P3, "2001:db8:0:1:a::11" },
	},
};
_unused_ static const struct flow secondary_flows[IP_FAMILIES][4] = {
	{
		{ P2, "10.0.0.31", 9000, P3, "10.0.0.21" },
		{ P2, "10.0.0.30", 9000, NB, "10.0.0.21" },
		{ P3, "10.0.0.21", 9000, P2, "10.0.0.31" },
		{ P2, "172.20.0.1", 80, P3, "10.0.0.21" },
	},
	{
		{ P2, "2001:db8:0:1::31", 9000, P3, "2001:db8:0:1::21" },
		{ P2, "2001:db8:0:1::30", 9000, NB, "2001:db8:0:1::21" },
		{ P3, "2001:db8:0:1::21", 9000, P2, "2001:db8:0:1::31" },
		{ P2, "fd00:20::1", 80, P3, "2001:db8:0:1::21" },
	},
};
/* IPv6 goes out by the pod's own NIC and under its own address. */
_unused_ static const struct flow internet_flows[IP_FAMILIES][2] = {
	{
		{ P1, "198.51.100.9", 9000, EXT, NULL },
		{ P2, "198.51.100.9", 9000, EXT, NULL },
	},
	{
		{ P1, "2001:db8:ffff::9", 9000, EXT, "2001:db8:0:1:a::11" },
		{ P2, "2001:db8:ffff::9", 9000, EXT, "2001:db8:0:1::21" },
	},
};
_unused_ static const struct flow nodeport_flows[IP_FAMILIES][2] = {
	{
		{ NB, "10.0.0.10", 30080, P2, "10.0.0.30" },
		{ P3, "10.0.0.10", 30080, P2, "10.0.0.31" },
	},
	{
		{ NB, "2001:db8:0:1::10", 30080, P2, "2001:db8:0:1::30" },
		{ P3, "2001:db8:0:1::10", 30080, P2, "2001:db8:0:1::31" },
	},
};
_unused_ static const struct flow nodeport_eth1[IP_FAMILIES][1] = {
	{ { NB, "10.0.0.20", 30080, P2, "10.0.0.30" } },
	{ { NB, "2001:db8:0:1::20", 30080, P2, "2001:db8:0:1::30" } },
};

/* The node itself, asked at its secondary NIC. */
_unused_ static const struct flow own_flows[IP_FAMILIES][2] = {
	{
		{ NB, "10.0.0.20", 9000, NA, "10.0.0.30" },
		{ P3, "10.0.0.20", 9000, NA, "10.0.0.31" },
	},
	{
		{ NB, "2001:db8:0:1::20", 9000, NA, "2001:db8:0:1::30" },
		{ P3, "2001:db8:0:1::20", 9000, NA, "2001:db8:0:1::31" },
	},
};

/* @flows: of one family. */
#define each(flows, fn)                                                                                                \
	do {                                                                                                           \
		for (size_t i_ = 0; i_ < ARRAY_SIZE(flows); i_++)                                                      \
			fn(&(flows)[i_]);                                                                              \
	} while (0)

#define each_family(family) for (unsigned family = 0; family < IP_FAMILIES; family++)

static inline void everything_passes(void)
{
	each_family(f)
	{
		each(plain_flows[f], passes);
		each(secondary_flows[f], passes);
		each(internet_flows[f], passes);
		each(nodeport_flows[f], passes);
		each(nodeport_eth1[f], passes);
		each(own_flows[f], passes);
	}
}

#define path_test(f) cmocka_unit_test_setup(f, restore)

/* ---- what the kernel of a node says ---- */

static inline int read_text(void *arg, struct err *err)
{
	char **text = arg; /* in: a path, borrowed; out: what stands there, owned */
	int r = fs_read(*text, 64, text, NULL);

	return r < 0 ? err_set_errno(err, ERR_INVALID, "test", -r, "read") : 0;
}

static inline void assert_sysctl(const char *key, const char *value)
{
	char path[128];
	char *text = path;

	(void)snprintf(path, sizeof(path), "/proc/sys/%s", key);
	must(netns_run(world.fd[NA], read_text, &text, &oops));
	text[strcspn(text, "\n")] = '\0';
	if (strcmp(text, value) != 0)
		fail_msg("%s is %s", key, text);
	free(text);
}

static inline int find_route(const struct net_route *route, void *arg)
{
	const struct net_route *wanted = arg;

	return prefix_cmp(&route->dst, &wanted->dst) == 0 && route->table == wanted->table &&
	       route->protocol == wanted->protocol && route->type == wanted->type;
}

static inline bool has_route(const struct net_route *route)
{
	struct net_route wanted = *route;
	struct err err;

	return net_routes(world.net[NA], route->dst.addr.family, 0, find_route, &wanted, &err) == 1;
}

#endif
