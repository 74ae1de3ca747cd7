/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: what a packet between two pods of a node costs
 *
 * Three nodes side by side, each a network namespace that the daemon's own hostnet_sync() and nft table were applied to:
 * with 2 pods, with 250 pods, and with 250 pods whose routes stand behind one policy rule for each, as others do it. A
 * pod asks another one by UDP and gets an answer; turn by turn, so that a noisy moment hits all three. All pods are on
 * secondary NICs.
 *
 *   path [--turns N]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/net.h"
#include "berth/str.h"
#include "berth/version.h"
#include "cni/podnet.h"
#include "ipamd/hostnet.h"

#define PODS_MAX    250U
#define NICS        6U /* the primary one and those of the pods */
#define TURNS       40U
#define PER_TURN    500U
#define TURNS_MAX   200U
#define MASK        0x7eU
#define PORT        9000
#define PEER_RULES  100U /* priority of the rules of the third node */
#define POD_NET     UINT32_C(0x0a000100)
#define NFT_TIME_US (10 * USEC_PER_SEC)

/* The default of a node on AWS. */
static const struct cloud_guarded guarded[] = { { "169.254.169.254", 0 }, { "fd00:ec2::254", 0 }, { NULL, 0 } };

struct node {
	const char *name;
	unsigned pods, rules;
	char place[32];
	int fd;
	int pod_fds[2]; /* of the two that talk */
	int sockets[2];
	int64_t took_ns[TURNS_MAX * PER_TURN];
	unsigned count;
};

static struct node nodes[] = {
	{ .name = "pods_2", .pods = 2 },
	{ .name = "pods_250", .pods = PODS_MAX },
	{ .name = "pods_250_rules_250", .pods = PODS_MAX, .rules = PODS_MAX },
};

static void die(const char *what, const char *why)
{
	(void)fprintf(stderr, "path: %s: %s\n", what, why);
	exit(1);
}

#define must(call)                                                                                                     \
	do {                                                                                                           \
		struct err err = { 0 };                                                                                \
		if ((call) < 0)                                                                                        \
			die(#call, err.msg);                                                                           \
	} while (0)

static void place_name(const struct node *node, const char *what, char ret[static 32])
{
	(void)snprintf(ret, 32, "bp%d-%u%s", (int)getpid(), (unsigned)(node - nodes), what);
}

static int make_place(const struct node *node, const char *what)
{
	char name[32], path[64];
	int fd = -1;

	place_name(node, what, name);
	must(netns_add(name, &err));
	(void)snprintf(path, sizeof(path), "/run/netns/%s", name);
	must(netns_open(path, &fd, &err));
	return fd;
}

static void remove_places(void)
{
	static const char *const all[] = { "", "p0", "p1", "rest" };
	char name[32];

	for (size_t i = 0; i < ARRAY_SIZE(nodes) * ARRAY_SIZE(all); i++) {
		place_name(&nodes[i / ARRAY_SIZE(all)], all[i % ARRAY_SIZE(all)], name);
		(void)netns_del(name, NULL);
	}
}

static struct ipaddr pod_addr(unsigned i)
{
	return ipaddr_v4(POD_NET + i);
}

static void host_end(unsigned i, char ret[static LEASE_IFNAME_SIZE])
{
	(void)snprintf(ret, LEASE_IFNAME_SIZE, "bth%011x", i);
}

/* ---- a node: all of this runs in its namespace ---- */

static void make_nic(struct net *net, unsigned slot, struct hostnet_nic *nic)
{
	char name[NET_IFNAME_SIZE], peer[NET_IFNAME_SIZE];
	struct net_veth veth = { .name = name, .peer_name = peer, .peer_netns_fd = -1, .up = true };
	struct net_link link = { 0 };

	(void)snprintf(name, sizeof(name), "eth%u", slot);
	(void)snprintf(peer, sizeof(peer), "fabric%u", slot);
	must(net_veth_add(net, &veth, &err));
	must(net_link_by_name(net, peer, &link, &err));
	must(net_link_set_up(net, link.index, true, &err));
	must(net_link_by_name(net, name, &link, &err));
	must(net_link_set_up(net, link.index, true, &err));
	*nic = (struct hostnet_nic){
		.mac = link.mac,
		.slot = slot,
		.primary = slot == 0,
		.primary_addr = ipaddr_v4(UINT32_C(0x0a000a00) + slot),
		.gateway = ipaddr_v4(UINT32_C(0x0a000001)),
	};
}

/* One that talks, as the plugin wires it. */
static void make_pod(struct node *node, unsigned i)
{
	char name[LEASE_IFNAME_SIZE], what[8], place[32], path[64];
	struct podnet_wish wish = { .ifname = "eth0", .host_ifname = name, .addr_count = 1 };
	struct podnet podnet = { .netns_fd = -1 };
	struct podnet_made made;

	(void)snprintf(what, sizeof(what), "p%u", i);
	place_name(node, what, place);
	(void)snprintf(path, sizeof(path), "/run/netns/%s", place);
	host_end(i, name);
	wish.addrs[0].addr = pod_addr(i);
	(void)ipaddr_parse("169.254.1.1", &wish.addrs[0].gateway);
	must(podnet_open(path, false, &podnet, &err));
	must(podnet_wire(&podnet, &wish, &made, &err));
	podnet_done(&podnet);
}

static void make_silent_pod(struct net *net, unsigned i)
{
	char name[LEASE_IFNAME_SIZE], peer[NET_IFNAME_SIZE];
	const struct net_veth veth = { .name = name, .peer_name = peer, .peer_netns_fd = -1, .up = true };
	struct net_link link = { 0 };

	host_end(i, name);
	(void)snprintf(peer, sizeof(peer), "pod%u", i);
	must(net_veth_add(net, &veth, &err));
	must(net_link_by_name(net, peer, &link, &err));
	must(net_link_set_up(net, link.index, true, &err));
}

static void apply(const struct node *node, struct hostnet_nic *nics)
{
	const struct hostnet_config config = { .mark_mask = MASK, .rule_priority = 1024, .table_base = 48640 };
	static struct pool_block_ref refs[PODS_MAX];
	static struct prefix blocks[PODS_MAX];
	static struct hostnet_pod pods[PODS_MAX];
	struct hostnet_want want = { .nic_count = NICS,
				     .nics = nics,
				     .block_count = node->pods,
				     .blocks = blocks,
				     .pod_count = node->pods,
				     .pods = pods };
	const struct prefix local = { ipaddr_v4(UINT32_C(0x0a000000)), 16 };
	struct nft_input input = { .mark_mask = MASK,
				   .nics = nics,
				   .nic_count = NICS,
				   .blocks = refs,
				   .block_count = node->pods,
				   .local_prefixes = &local,
				   .local_count = 1,
				   .snat_to = nics[0].primary_addr,
				   .source_check = true,
				   .guarded = guarded };
	_cleanup_strbuf_ struct strbuf text = { 0 };
	struct hostnet *hostnet = NULL;

	for (unsigned i = 0; i < node->pods; i++) {
		const struct ipaddr addr = pod_addr(i);

		blocks[i] = prefix_host(&addr);
		refs[i] = (struct pool_block_ref){ blocks[i], 1 + i % (NICS - 1) };
		pods[i] = (struct hostnet_pod){ .addr = addr, .bound = true };
		host_end(i, pods[i].host_ifname);
	}
	must(hostnet_open(&config, &hostnet, &err));
	must(hostnet_sync(hostnet, &want, NULL, &err));
	hostnet_close(hostnet);
	nft_render(&input, &text);
	must(nft_run(text.text, clock_now(&clock_boot) + NFT_TIME_US, NULL, &err));
}

/* As others do it: the pods' routes in main, and before main a rule for each pod. */
static void rule_per_pod(struct net *net, const struct node *node)
{
	for (unsigned i = 0; i <= node->rules; i++) {
		const struct net_rule rule = {
			.family = IP_V4,
			.priority = PEER_RULES + i,
			/* those of other pods, then the one that matches */
			.fwmark = i < node->rules ? (i + 1) << 16 : 0,
			.fwmask = i < node->rules ? 0xffff0000U : 0,
			.table = NET_TABLE_MAIN,
		};

		must(net_rule_add(net, &rule, &err));
	}
	for (unsigned i = 0; i < ARRAY_SIZE(node->pod_fds); i++) {
		const struct ipaddr addr = pod_addr(i);
		struct net_route route = { .dst = prefix_host(&addr),
					   .table = NET_TABLE_LOCAL,
					   .protocol = BERTH_RTPROT };
		char name[LEASE_IFNAME_SIZE];
		struct net_link link = { 0 };

		host_end(i, name);
		must(net_link_by_name(net, name, &link, &err));
		must(net_route_del(net, &route, &err));
		route.table = NET_TABLE_MAIN;
		route.oif = link.index;
		must(net_route_replace(net, &route, &err));
	}
}

static int build(void *arg, _unused_ struct err *ignored)
{
	struct hostnet_nic nics[NICS];
	struct node *node = arg;
	struct net *net = NULL;

	must(net_open(&net, &err));
	for (unsigned slot = 0; slot < NICS; slot++)
		make_nic(net, slot, &nics[slot]);
	for (unsigned i = 0; i < node->pods; i++) {
		if (i < ARRAY_SIZE(node->pod_fds))
			make_pod(node, i);
		else
			make_silent_pod(net, i);
	}
	apply(node, nics);
	if (node->rules)
		rule_per_pod(net, node);
	net_close(net);
	return 0;
}

/* ---- two pods talk ---- */

struct talker {
	unsigned pod, peer;
	int fd;
};

static int open_talker(void *arg, struct err *err)
{
	struct talker *t = arg;
	const struct timeval patience = { .tv_sec = 2 };
	struct sockaddr_in own = { .sin_family = AF_INET, .sin_port = htons(PORT) }, peer = own;

	own.sin_addr.s_addr = htonl(POD_NET + t->pod);
	peer.sin_addr.s_addr = htonl(POD_NET + t->peer);
	t->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (t->fd < 0 || setsockopt(t->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
	    bind(t->fd, (const struct sockaddr *)&own, sizeof(own)) < 0 ||
	    connect(t->fd, (const struct sockaddr *)&peer, sizeof(peer)) < 0)
		return err_set_errno(err, ERR_RETRY, "path", errno, "socket of a pod");
	return 0;
}

static void make_node(struct node *node)
{
	node->fd = make_place(node, "");
	node->pod_fds[0] = make_place(node, "p0");
	node->pod_fds[1] = make_place(node, "p1");
	must(netns_run(node->fd, build, node, &err));
	for (unsigned i = 0; i < 2; i++) {
		struct talker t = { .pod = i, .peer = !i };

		must(netns_run(node->pod_fds[i], open_talker, &t, &err));
		node->sockets[i] = t.fd;
	}
}

static int64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t round_trip(const struct node *node)
{
	int64_t start = now_ns();
	char byte = '?';

	if (send(node->sockets[0], &byte, 1, 0) != 1 || recv(node->sockets[1], &byte, 1, 0) != 1 ||
	    send(node->sockets[1], &byte, 1, 0) != 1 || recv(node->sockets[0], &byte, 1, 0) != 1)
		die(node->name, "no answer");
	return now_ns() - start;
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static double quantile_us(const struct node *node, unsigned percent)
{
	size_t at = (size_t)(node->count - 1) * percent / 100;

	return (double)node->took_ns[at] / 1000.0;
}

int main(int argc, char **argv)
{
	uint64_t turns = TURNS;

	if (argc != 1 && !(argc == 3 && str_equal(argv[1], "--turns") && str_u64(argv[2], 1, TURNS_MAX, &turns) == 0))
		die("arguments", "see the top of path.c");
	if (atexit(remove_places) != 0)
		die("atexit", "no memory");
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		make_node(&nodes[i]);
	for (uint64_t turn = 0; turn < turns * ARRAY_SIZE(nodes); turn++) {
		struct node *node = &nodes[turn % ARRAY_SIZE(nodes)];

		for (unsigned i = 0; i < PER_TURN; i++)
			node->took_ns[node->count++] = round_trip(node);
	}
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		qsort(nodes[i].took_ns, nodes[i].count, sizeof(nodes[i].took_ns[0]), compare);
		(void)printf("bench: udp_round_trip_%s_p50 %.1f us\n", nodes[i].name, quantile_us(&nodes[i], 50));
		(void)printf("bench: udp_round_trip_%s_p99 %.1f us\n", nodes[i].name, quantile_us(&nodes[i], 99));
	}
	(void)printf("bench: udp_round_trip_250_to_2_ratio_p50 %.2f x\n",
		     quantile_us(&nodes[1], 50) / quantile_us(&nodes[0], 50));
	(void)printf("bench: udp_round_trip_rules_to_2_ratio_p50 %.2f x\n",
		     quantile_us(&nodes[2], 50) / quantile_us(&nodes[0], 50));
	return 0;
}
