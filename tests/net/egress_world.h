/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node with pods of one family and a world of both, with the whole daemon and the real plugin:
 *
 *   pod 0, 1 --bth..-- (this namespace) eth0 10.0.1.10, 2600:1f14::10 -- eth0 (outside)
 *
 * Outside is everybody else: a host of the network (10.0.1.99, 2600:1f14::99) and the internet (198.51.100.9,
 * 2001:db8:ffff::9). It has a way back to pods' own addresses and, as no real network has it, to those that only the node
 * knows: what reaches them is seen. A tap keeps what comes from them.
 */
#ifndef TESTS_NET_EGRESS_WORLD_H
#define TESTS_NET_EGRESS_WORLD_H

#include "tests/net/plugin_run.h"
#include "tests/net/stub_cloud.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>

#include "ipamd/egress.h"

#define PODS       2U
#define OUTSIDE    PODS        /* index of that namespace */
#define NODE       (PODS + 1U) /* this one */
#define PORT       9000U
#define TRY_MS     200 /* one try; a packet takes well below 1 ms */
#define FAIL_TRIES 2
#define NODE_V6    "2600:1f14::10"
#define HOST_V4    "10.0.1.99"
#define HOST_V6    "2600:1f14::99"
#define WORLD_V4   "198.51.100.9"
#define WORLD_V6   "2001:db8:ffff::9"
#define METADATA   "169.254.169.254"
#define BLOCK_V6   "2600:1f14:0:0:5::/80"
#define RANGE_V4   "169.254.172.0/22"
#define RANGE_V6   "fd00::ac:0/118"
#define FRAME_SIZE 2048
#define CONF_SIZE  16384
#define LATER_US   (3600 * USEC_PER_SEC)

static struct places {
	char name[NODE][32];
	int fd[NODE];
	int tap;
} places;

/* ---- small words ---- */

static inline struct ipaddr ip(const char *text)
{
	struct ipaddr addr;

	if (ipaddr_parse(text, &addr) < 0)
		fail_msg("%s is no address", text);
	return addr;
}

static inline void in_place(unsigned place, int (*fn)(void *arg, struct err *err), void *arg)
{
	struct err oops = { 0 };
	int r = place == NODE ? fn(arg, &oops) : netns_run(places.fd[place], fn, arg, &oops);

	if (r < 0)
		fail_msg("in place %u: %s", place, oops.msg);
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

static inline void sysctl(unsigned place, const char *key, const char *value)
{
	struct sysctl arg = { key, value };

	in_place(place, write_sysctl, &arg);
}

static inline int run_batch(void *arg, struct err *err)
{
	return nft_run(arg, clock_now(&clock_boot) + PATIENCE_US, NULL, err);
}

static inline void nft(const char *text)
{
	_cleanup_free_ char *copy = strdup(text);

	assert_non_null(copy);
	in_place(NODE, run_batch, copy);
}

/* ---- links, addresses, routes ---- */

static inline int index_of(struct net *net, const char *name)
{
	struct net_link link;

	must(net_link_by_name(net, name, &link, &err));
	return link.index;
}

static inline void add_addr(struct net *net, const char *link, const char *text, unsigned len)
{
	const struct ipaddr addr = ip(text);

	must(net_addr_add(net, index_of(net, link), &addr, len, NET_ADDR_NODAD, &err));
}

static inline void add_route(struct net *net, const char *dst, const char *via)
{
	struct net_route route = { .dst = stub_prefix(dst),
				   .type = NET_ROUTE_UNICAST,
				   .gateway = ip(via),
				   .onlink = true,
				   .oif = index_of(net, "eth0"),
				   .protocol = RTPROT_STATIC };

	must(net_route_replace(net, &route, &err));
}

static inline void make_places(void)
{
	for (unsigned i = 0; i < NODE; i++) {
		char path[64];

		(void)snprintf(places.name[i], sizeof(places.name[i]), "bhe%d-%u", (int)getpid(), i);
		(void)netns_del(places.name[i], NULL);
		must(netns_add(places.name[i], &err));
		(void)snprintf(path, sizeof(path), "/run/netns/%s", places.name[i]);
		must(netns_open(path, &places.fd[i], &err));
	}
	sysctl(OUTSIDE, "net/ipv6/conf/default/accept_dad", "0");
	sysctl(NODE, "net/ipv6/conf/default/accept_dad", "0");
}

/* In place of the one that leads nowhere. */
static inline void make_nic(struct net *node)
{
	struct net_veth veth = { .name = "eth0", .peer_netns_fd = places.fd[OUTSIDE], .peer_name = "eth0", .up = true };
	struct macaddr mac;

	assert_int_equal(macaddr_parse(NODE_MAC, &mac), 0);
	veth.mac = &mac;
	must(net_link_del(node, index_of(node, "eth0"), &err));
	must(net_veth_add(node, &veth, &err));
	must(net_link_set_up(node, index_of(node, "eth0"), true, &err));
	add_addr(node, "eth0", NODE_PRIMARY, 24);
	add_addr(node, "eth0", NODE_V6, 128);
	add_route(node, "0.0.0.0/0", "10.0.1.1");
	add_route(node, "::/0", "fe80::1");
}

static inline void make_outside(void)
{
	static const struct {
		const char *addr;
		unsigned len;
	} addrs[] = { { "10.0.1.1", 24 }, { HOST_V4, 32 },  { WORLD_V4, 32 }, { METADATA, 32 },
		      { "fe80::1", 64 },  { HOST_V6, 128 }, { WORLD_V6, 128 } };
	_cleanup_net_ struct net *net = NULL;

	must(net_open_ns(places.fd[OUTSIDE], &net, &err));
	must(net_link_set_up(net, index_of(net, "eth0"), true, &err));
	for (unsigned i = 0; i < ARRAY_SIZE(addrs); i++)
		add_addr(net, "eth0", addrs[i].addr, addrs[i].len);
	add_route(net, NODE_V6 "/128", NODE_V6);
	add_route(net, "2600:1f14:0:0:5::/80", NODE_V6);
	add_route(net, "10.0.1.16/28", NODE_PRIMARY);
	add_route(net, RANGE_V4, NODE_PRIMARY);
	add_route(net, RANGE_V6, NODE_V6);
}

static inline int open_tap(void *arg, struct err *err)
{
	int *fd = arg;

	*fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
	return *fd < 0 ? err_set_errno(err, ERR_BUG, "test", errno, "tap") : 0;
}

static inline int egress_setup(void **state)
{
	_cleanup_net_ struct net *node = NULL;

	memset(&places, 0, sizeof(places));
	places.tap = -1;
	for (unsigned i = 0; i < NODE; i++)
		places.fd[i] = -1;
	if (world_setup(state) < 0)
		return -1;
	make_places();
	must(net_open(&node, &err));
	make_nic(node);
	make_outside();
	in_place(OUTSIDE, open_tap, &places.tap);
	return 0;
}

static inline int egress_teardown(void **state)
{
	if (places.tap >= 0)
		(void)close(places.tap);
	for (unsigned i = 0; i < NODE; i++) {
		if (places.fd[i] >= 0)
			(void)close(places.fd[i]);
		(void)netns_del(places.name[i], NULL);
	}
	return world_teardown(state);
}

#define egress_test(f) cmocka_unit_test_setup_teardown(f, egress_setup, egress_teardown)

/* Pods get addresses of @family, and egress of the other one where that is configured. */
static inline void make_node(struct world *w, enum ip_family family)
{
	w->config.families = (struct config_families){ { family == IP_V4, family == IP_V6 } };
	if (family == IP_V6)
		make_stub(w, 4, 4, 80, BLOCKS(BLOCK_V6));
	else
		make_stub(w, 8, 0, 0, BLOCKS("10.0.1.21/32", "10.0.1.22/32", "10.0.1.23/32"));
}

static inline void up(struct world *w)
{
	start(w);
	until(has_conflist(w));
}

/* ---- the plugin ---- */

static inline struct output run_berth(struct world *w, const char *verb, unsigned pod, const json_t *prev)
{
	char command[32], container[32], netns[64], ifname[] = "CNI_IFNAME=eth0", path[] = "CNI_PATH=/none";
	char *env[] = { command, container, netns, ifname, path, NULL }, program[512];
	_cleanup_free_ char *prev_text = prev ? json_dumps(prev, JSON_COMPACT) : NULL;
	char conf[CONF_SIZE];
	struct output output = { 0 };
	int in_fd, out_fd = temp_fd(""), err_fd = temp_fd("");

	(void)snprintf(command, sizeof(command), "CNI_COMMAND=%s", verb);
	(void)snprintf(container, sizeof(container), "CNI_CONTAINERID=pod%u", pod);
	(void)snprintf(netns, sizeof(netns), "CNI_NETNS=/run/netns/%s", places.name[pod]);
	(void)snprintf(conf, sizeof(conf),
		       "{\"cniVersion\":\"1.0.0\",\"name\":\"berth\",\"type\":\"berth\",\"socket\":\"%s\","
		       "\"timeoutMs\":5000%s%s}",
		       w->socket, prev ? ",\"prevResult\":" : "", prev_text ? prev_text : "");
	in_fd = temp_fd(conf);
	output.status =
		spawn_and_wait(check_path(program, sizeof(program), build_dir(), "berth"), env, in_fd, out_fd, err_fd);
	(void)close(in_fd);
	output.out = read_back(out_fd);
	output.err = read_back(err_fd);
	output.json = json_loads(output.out, 0, NULL);
	return output;
}

static inline struct output must_berth(struct world *w, const char *verb, unsigned pod, const json_t *prev)
{
	struct output output = run_berth(w, verb, pod, prev);

	if (output.status != 0)
		fail_msg("%s of pod %u: %s %s", verb, pod, output.out, output.err);
	return output;
}

static inline void add_pod(struct world *w, unsigned pod)
{
	struct output output = must_berth(w, "ADD", pod, NULL);

	output_done(&output);
}

static inline void del_pod(struct world *w, unsigned pod)
{
	struct output output = must_berth(w, "DEL", pod, NULL);

	output_done(&output);
}

/* ---- flows ---- */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct open_socket {
	const char *addr;   /* to connect to, or to listen at; NULL: any */
	const char *source; /* to connect from, the place's own or not; NULL: the kernel's choice */
	bool v6, listens;
	uint16_t port;
	int fd;
};

static inline socklen_t fill_address(union address *address, const struct open_socket *o)
{
	const struct ipaddr addr = o->addr ? ip(o->addr) : (struct ipaddr){ 0 };

	memset(address, 0, sizeof(*address));
	address->any.sa_family = o->v6 ? AF_INET6 : AF_INET;
	if (o->v6) {
		address->v6.sin6_port = htons(o->port);
		memcpy(&address->v6.sin6_addr, addr.bytes, sizeof(address->v6.sin6_addr));
		return sizeof(address->v6);
	}
	address->v4.sin_port = htons(o->port);
	memcpy(&address->v4.sin_addr, addr.bytes, sizeof(address->v4.sin_addr));
	return sizeof(address->v4);
}

/* To an address that is not the place's own. */
static inline int bind_to(int fd, const char *source)
{
	const struct open_socket at = { .addr = source, .v6 = strchr(source, ':') != NULL };
	const int on = 1;
	union address address;
	socklen_t size = fill_address(&address, &at);

	if (setsockopt(fd, at.v6 ? IPPROTO_IPV6 : IPPROTO_IP, at.v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, &on,
		       sizeof(on)) < 0)
		return -1;
	return bind(fd, &address.any, size);
}

static inline int open_udp(void *arg, struct err *err)
{
	struct open_socket *o = arg;
	union address address;
	socklen_t size = fill_address(&address, o);

	o->fd = socket(address.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (o->fd < 0)
		return err_set_errno(err, ERR_BUG, "test", errno, "socket");
	if (o->source && bind_to(o->fd, o->source) < 0)
		return err_set_errno(err, ERR_BUG, "test", errno, "bind to %s", o->source);
	/* A place without a way there is one that nothing gets through. */
	if (!o->listens)
		(void)connect(o->fd, &address.any, size);
	else if (bind(o->fd, &address.any, size) < 0)
		return err_set_errno(err, ERR_BUG, "test", errno, "bind");
	return 0;
}

static inline bool is_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, TRY_MS) == 1 && (p.revents & POLLIN);
}

/* A flow, and what its two ends see. */
struct flow {
	unsigned from, to; /* places */
	const char *addr;  /* what is asked */
	const char *source;
	uint16_t port; /* the same; 0: PORT, where the other end listens */
	struct open_socket client, server;
	char seen[IPADDR_STRLEN]; /* whom the server sees */
};

static inline void flow_open(struct flow *flow)
{
	bool v6 = strchr(flow->addr, ':') != NULL;

	/* Behind somebody's DNAT the address is another. */
	flow->server =
		(struct open_socket){ .addr = flow->port ? NULL : flow->addr, .v6 = v6, .listens = true, .port = PORT };
	flow->client = (struct open_socket){
		.addr = flow->addr, .source = flow->source, .v6 = v6, .port = flow->port ? flow->port : (uint16_t)PORT
	};
	in_place(flow->to, open_udp, &flow->server);
	in_place(flow->from, open_udp, &flow->client);
}

static inline void flow_close(struct flow *flow)
{
	(void)close(flow->client.fd);
	(void)close(flow->server.fd);
}

/* A question and its answer. */
static inline bool flow_try(struct flow *flow)
{
	union address from = { .any.sa_family = AF_UNSPEC };
	socklen_t size = sizeof(from);
	char byte;

	flow->seen[0] = '\0';
	(void)send(flow->client.fd, "?", 1, 0);
	if (!is_readable(flow->server.fd) || recvfrom(flow->server.fd, &byte, 1, 0, &from.any, &size) != 1)
		return false;
	if (from.any.sa_family == AF_INET6)
		(void)inet_ntop(AF_INET6, &from.v6.sin6_addr, flow->seen, IPADDR_STRLEN);
	else
		(void)inet_ntop(AF_INET, &from.v4.sin_addr, flow->seen, IPADDR_STRLEN);
	if (sendto(flow->server.fd, "!", 1, 0, &from.any, size) != 1 || !is_readable(flow->client.fd))
		return false;
	return recv(flow->client.fd, &byte, 1, 0) == 1 && byte == '!';
}

/* A new flow passes, and is seen to come from @seen (NULL: is not looked at). */
static inline void passes(unsigned from, unsigned to, const char *addr, const char *seen)
{
	int64_t end_us = clock_now(&clock_boot) + PATIENCE_US;
	struct flow flow = { .from = from, .to = to, .addr = addr };

	flow_open(&flow);
	while (!flow_try(&flow))
		if (clock_now(&clock_boot) > end_us)
			fail_msg("place %u to %s does not pass (last seen from %s)", from, addr, flow.seen);
	if (seen)
		assert_string_equal(flow.seen, seen);
	flow_close(&flow);
}

/* Nothing of it arrives at the other end. */
static inline void does_not_pass(const struct flow *wanted)
{
	for (unsigned i = 0; i < FAIL_TRIES; i++) {
		struct flow flow = *wanted;
		bool passed;

		flow_open(&flow);
		passed = flow_try(&flow) || flow.seen[0];
		flow_close(&flow);
		if (passed)
			fail_msg("place %u to %s passes", flow.from, flow.addr);
	}
}

/* ---- what outside has seen ---- */

/* The source of an IP packet. */
static inline struct ipaddr source_of(const uint8_t *packet, ssize_t size)
{
	struct ipaddr addr = { 0 };

	if (size >= 20 && packet[0] >> 4 == 4) {
		addr.family = IP_V4;
		memcpy(addr.bytes, packet + 12, 4);
	} else if (size >= 40 && packet[0] >> 4 == 6) {
		addr.family = IP_V6;
		memcpy(addr.bytes, packet + 8, 16);
	}
	return addr;
}

/* Packets that came to outside under an address that only the node knows, since the last look. */
static inline unsigned leaked(void)
{
	uint8_t packet[FRAME_SIZE];
	struct sockaddr_ll from;
	socklen_t from_size = sizeof(from);
	unsigned count = 0;
	ssize_t n;

	while ((n = recvfrom(places.tap, packet, sizeof(packet), 0, (struct sockaddr *)&from, &from_size)) >= 0) {
		const struct ipaddr addr = source_of(packet, n);

		if (from.sll_pkttype != PACKET_OUTGOING && egress_has(&addr))
			count++;
		from_size = sizeof(from);
	}
	return count;
}

/* ---- what the kernel has ---- */

struct find {
	struct prefix dst;
	enum net_route_type type;
	bool found;
};

static inline int look_at_route(const struct net_route *route, void *arg)
{
	struct find *find = arg;

	find->found = find->found || (prefix_cmp(&route->dst, &find->dst) == 0 && route->type == find->type &&
				      route->protocol == BERTH_RTPROT);
	return 0;
}

/* Is that route of ours in the node's table local? */
static inline bool has_route(const char *dst, enum net_route_type type)
{
	_cleanup_net_ struct net *net = NULL;
	struct find find = { stub_prefix(dst), type, false };

	must(net_open(&net, &err));
	must(net_routes(net, strchr(dst, ':') ? IP_V6 : IP_V4, NET_TABLE_LOCAL, look_at_route, &find, &err));
	return find.found;
}

struct addrs {
	unsigned index, count[IP_FAMILIES];
	struct ipaddr addr[IP_FAMILIES]; /* the last one */
};

static inline int look_at_addr(const struct net_addr *addr, void *arg)
{
	struct addrs *addrs = arg;

	if (addr->index != (int)addrs->index)
		return 0;
	addrs->count[ip_index(addr->addr.family)]++;
	addrs->addr[ip_index(addr->addr.family)] = addr->addr;
	return 0;
}

/* Of a pod's eth0, what the kernel made by itself not counted. */
static inline struct addrs addrs_of(unsigned pod)
{
	_cleanup_net_ struct net *net = NULL;
	struct addrs addrs = { 0 };

	must(net_open_ns(places.fd[pod], &net, &err));
	addrs.index = (unsigned)index_of(net, "eth0");
	must(net_addrs(net, look_at_addr, &addrs, &err));
	if (addrs.addr[1].bytes[0] == 0xfe)
		addrs.count[1] = 0;
	return addrs;
}

/* The egress address that a pod has on its eth0. */
static inline const char *egress_addr(unsigned pod, enum ip_family family, char text[static IPADDR_STRLEN])
{
	const struct addrs addrs = addrs_of(pod);
	const struct ipaddr *addr = &addrs.addr[ip_index(family)];

	assert_int_equal(addrs.count[ip_index(family)], 1);
	assert_true(egress_has(addr));
	return ipaddr_str(addr, text);
}

/* Does the node's connection tracking have a flow with that address, written as there? */
static inline bool has_flow(const char *text)
{
	_cleanup_free_ char *flows = NULL;
	char word[80];

	assert_int_equal(fs_read("/proc/thread-self/net/nf_conntrack", 1U << 20, &flows, NULL), 0);
	(void)snprintf(word, sizeof(word), "src=%s ", text);
	return strstr(flows, word) != NULL;
}

#endif
