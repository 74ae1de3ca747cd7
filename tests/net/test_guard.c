/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What pods are kept from, with the real nft and the real kernel (node_world.h): sources that are not their own, as a pod
 * with NET_ADMIN sends them, and the cloud's metadata service.
 *
 * Forged packets are frames that a pod's program writes to its link, so that no check of the pod's own kernel is in the
 * way. Who receives has raw sockets, behind every check of its kernel, and says whose packets it got. Every packet that the
 * guard drops is in its counter, so that nothing has to be waited for in vain.
 */
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "berth/str.h"
#include "tests/net/node_world.h"

#define P1_LINK    "bth00000000001"
#define P2_LINK    "bth00000000002"
#define NET1_LINK  "bth00000000004"
#define OTHER_LINK "other1" /* of another plugin */
#define FRAME_SIZE 128U
#define UNTIL_US   (5 * USEC_PER_SEC)
#define LOOK_MS    2 /* between two looks at a condition */

#define until(condition)                                                                                               \
	do {                                                                                                           \
		int64_t end_us_ = clock_now(&clock_boot) + UNTIL_US;                                                   \
		while (!(condition)) {                                                                                 \
			if (clock_now(&clock_boot) > end_us_)                                                          \
				fail_msg("not within %d s: %s", (int)(UNTIL_US / USEC_PER_SEC), #condition);           \
			(void)poll(NULL, 0, LOOK_MS);                                                                  \
		}                                                                                                      \
	} while (0)

/* ---- the counter ---- */

/* In the calling thread's namespace. @arg: in: nothing, out: what nft says, owned. */
static int ask_nft(void *arg, struct err *err)
{
	char *const argv[] = { (char[]){ "nft" },
			       (char[]){ "list" },
			       (char[]){ "counter" },
			       (char[]){ "inet" },
			       (char[]){ "berth" },
			       (char[]){ "spoofed" },
			       NULL };
	char *const env[] = { (char[]){ "PATH=/usr/sbin:/usr/bin:/sbin:/bin" }, NULL };
	_cleanup_close_ int out = memfd_create("said", MFD_CLOEXEC);
	posix_spawn_file_actions_t actions;
	int status = -1, r;
	pid_t pid;

	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO), 0);
	r = posix_spawnp(&pid, argv[0], &actions, NULL, argv, env);
	(void)posix_spawn_file_actions_destroy(&actions);
	if (r != 0)
		return err_set_errno(err, ERR_NOTFOUND, "test", r, "nft");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(lseek(out, 0, SEEK_SET), 0);
	r = fs_read_fd(out, 4096, arg, NULL);
	return r < 0 ? err_set_errno(err, ERR_BUG, "test", -r, "read") : 0;
}

static unsigned long spoofed(void)
{
	_cleanup_free_ char *text = NULL;
	const char *at;

	must(netns_run(world.fd[NA], ask_nft, &text, &oops));
	at = strstr(text, "packets ");
	assert_non_null(at);
	return strtoul(at + strlen("packets "), NULL, 10);
}

/* ---- who receives ---- */

static const int protocols[IP_FAMILIES][3] = { { IPPROTO_UDP, IPPROTO_TCP, IPPROTO_ICMP },
					       { IPPROTO_UDP, IPPROTO_TCP, IPPROTO_ICMPV6 } };

#define EARS 6U /* of both families, by protocol */

struct ear {
	bool v6;
	int protocol, fd;
	unsigned own, forged; /* packets that it heard of the pod under test, and under any other of the list */
};

static int open_ear(void *arg, struct err *err)
{
	struct ear *ear = arg;

	ear->fd = socket(ear->v6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, ear->protocol);
	return ear->fd < 0 ? err_set_errno(err, ERR_BUG, "test", errno, "socket") : 0;
}

static void open_ears(enum place at, struct ear ears[static EARS])
{
	for (unsigned i = 0; i < EARS; i++) {
		ears[i] = (struct ear){ .v6 = i / 3, .protocol = protocols[i / 3][i % 3] };
		must(netns_run(world.fd[at], open_ear, &ears[i], &oops));
	}
}

static void close_ears(struct ear ears[static EARS])
{
	for (unsigned i = 0; i < EARS; i++)
		(void)close(ears[i].fd);
}

/* ---- who sends ---- */

static uint16_t checksum(uint32_t sum, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* UDP from port 9 to port 9, a SYN between the same, an echo request. Return: its size. */
static size_t fill_payload(uint8_t *at, int protocol, const struct ipaddr *src, const struct ipaddr *dst)
{
	size_t size = protocol == IPPROTO_TCP ? 20 : 8, sum_at = 2;
	uint32_t pseudo = (uint32_t)size + (uint32_t)protocol;

	memset(at, 0, size);
	if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
		at[0] = protocol == IPPROTO_ICMP ? 8 : 128;
	} else {
		put16(at, 9);
		put16(at + 2, 9);
		sum_at = protocol == IPPROTO_TCP ? 16 : 6;
		if (protocol == IPPROTO_TCP)
			put16(at + 12, 0x5002); /* five words, SYN */
		else
			put16(at + 4, (unsigned)size);
	}
	for (unsigned i = 0; protocol != IPPROTO_ICMP && i < ipaddr_len(src); i++)
		pseudo += (uint32_t)(src->bytes[i] + dst->bytes[i]) << (i % 2 ? 0 : 8);
	put16(at + sum_at, checksum(protocol == IPPROTO_ICMP ? 0 : pseudo, at, size));
	return size;
}

struct frame {
	const char *link; /* of the pod, by which it leaves */
	const char *host; /* the other end */
	const char *src, *dst;
	int protocol;
};

static size_t fill_frame(uint8_t bytes[static FRAME_SIZE], const struct frame *frame)
{
	const struct ipaddr src = ip(frame->src), dst = ip(frame->dst);
	const struct macaddr mac = net_named_mac(frame->host);
	bool v6 = src.family == IP_V6;
	uint8_t *at = bytes + ETH_HLEN, *payload = at + (v6 ? 40 : 20);
	size_t size = fill_payload(payload, frame->protocol, &src, &dst);

	memset(bytes, 0, (size_t)(payload - bytes));
	memcpy(bytes, mac.bytes, ETH_ALEN);
	bytes[ETH_ALEN] = 2;
	put16(bytes + 2 * (size_t)ETH_ALEN, v6 ? ETH_P_IPV6 : ETH_P_IP);
	at[0] = v6 ? 0x60 : 0x45;
	put16(at + (v6 ? 4 : 2), (unsigned)(v6 ? size : size + 20));
	at[v6 ? 6 : 9] = (uint8_t)frame->protocol;
	at[v6 ? 7 : 8] = 64;
	memcpy(at + (v6 ? 8 : 12), src.bytes, ipaddr_len(&src));
	memcpy(at + (v6 ? 24 : 16), dst.bytes, ipaddr_len(&dst));
	if (!v6)
		put16(at + 10, checksum(0, at, 20));
	return (size_t)(payload - bytes) + size;
}

static int packets[PLACES]; /* a socket of each pod, for frames: closing one waits for an RCU grace period */

static int open_packets(void *arg, struct err *err)
{
	int *fd = arg;

	*fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	return *fd < 0 ? err_set_errno(err, ERR_BUG, "test", errno, "socket") : 0;
}

static void send_as(enum place pod, const struct frame *frame)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = link_index(pod, frame->link) };
	uint8_t bytes[FRAME_SIZE];
	size_t size = fill_frame(bytes, frame);

	if (sendto(packets[pod], bytes, size, 0, (const struct sockaddr *)&to, sizeof(to)) != (ssize_t)size)
		fail_msg("%s to %s by %s: %s", frame->src, frame->dst, frame->link, strerror(errno));
}

/* ---- pods that send under other addresses ---- */

struct pod {
	enum place place;
	const char *host;
	const char *addrs[IP_FAMILIES];
};

static const struct pod pods[] = {
	{ P1, P1_LINK, { "10.0.0.11", "2001:db8:0:1:a::11" } }, /* on the primary NIC */
	{ P2, P2_LINK, { "10.0.0.21", "2001:db8:0:1::21" } },   /* on a secondary one */
};

/* The other pod of the node, a pod of another node, the node, at each of its NICs. */
static const struct {
	enum place at;
	const char *addrs[IP_FAMILIES];
} targets[] = {
	{ P1, { "10.0.0.11", "2001:db8:0:1:a::11" } }, { P2, { "10.0.0.21", "2001:db8:0:1::21" } },
	{ P3, { "10.0.0.31", "2001:db8:0:1::31" } },   { NA, { "10.0.0.10", "2001:db8:0:1::10" } },
	{ NA, { "10.0.0.20", "2001:db8:0:1::20" } },
};

/* Neighbours on this node, leased or not; a pod of another node; the node's own; nobody; the outside; multicast. */
static const char *const forged[IP_FAMILIES][16] = {
	{ "10.0.0.11", "10.0.0.21", "10.0.0.12", "10.0.0.64", "10.0.0.31", "10.0.0.10", "10.0.0.20", "10.0.0.1",
	  "127.0.0.1", "0.0.0.0", "169.254.1.1", "198.51.100.9", "8.8.8.8", NULL },
	{ "2001:db8:0:1:a::11", "2001:db8:0:1::21", "2001:db8:0:1:a::12", "2001:db8:0:1::12", "2001:db8:0:1::31",
	  "2001:db8:0:1::10", "2001:db8:0:1::20", "fe80::1", "fe80::a8bb:ccff:fe00:1", "::", "2001:db8:ffff::9",
	  "2600::1", NULL },
};

/* Return: how many were sent. */
static unsigned forge(const struct pod *pod, unsigned f, const char *target)
{
	unsigned sent = 0;

	for (unsigned i = 0; forged[f][i]; i++) {
		struct frame frame = { "eth0", pod->host, forged[f][i], target, 0 };

		for (unsigned p = 0; p < 3 && strcmp(forged[f][i], pod->addrs[f]) != 0; p++, sent++) {
			frame.protocol = protocols[f][p];
			send_as(pod->place, &frame);
		}
	}
	return sent;
}

static bool is_forged(const char *source, unsigned f)
{
	for (unsigned i = 0; forged[f][i]; i++)
		if (strcmp(source, forged[f][i]) == 0)
			return true;
	return false;
}

/* Return: of @pod's own, so far. */
static unsigned hear(struct ear *ear, const struct pod *pod)
{
	union address from = { .any.sa_family = AF_INET };
	socklen_t size = sizeof(from);
	char byte, text[IPADDR_STRLEN];

	while (recvfrom(ear->fd, &byte, 1, 0, &from.any, &size) >= 0) {
		address_text(&from, text);
		size = sizeof(from);
		if (strcmp(text, pod->addrs[ear->v6]) == 0)
			ear->own++;
		else
			ear->forged += is_forged(text, ear->v6);
	}
	return ear->own;
}

static void set_rp_filter(const char *value)
{
	static const char *const links[] = { "all", "default", "eth0", "eth1", P1_LINK, P2_LINK };
	char key[96];

	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		(void)snprintf(key, sizeof(key), "net/ipv4/conf/%s/rp_filter", links[i]);
		sysctl(NA, key, value);
	}
}

/* Everything that @pod can forge towards a target. Return: what arrived; *ret_sent: of how many. */
static unsigned forge_at(const struct pod *pod, unsigned target, unsigned *ret_sent)
{
	struct ear ears[EARS];
	unsigned heard = 0;

	*ret_sent = 0;
	open_ears(targets[target].at, ears);
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		*ret_sent += forge(pod, f, targets[target].addrs[f]);
		/* When one of its own has arrived, so has what was sent before it, or never will. */
		for (unsigned p = 0; p < 3; p++) {
			const struct frame own = { "eth0", pod->host, pod->addrs[f], targets[target].addrs[f],
						   protocols[f][p] };

			send_as(pod->place, &own);
			until(hear(&ears[f * 3 + p], pod) > 0);
			heard += ears[f * 3 + p].forged;
		}
	}
	close_ears(ears);
	return heard;
}

static unsigned forge_everywhere(const struct pod *pod, bool guarded)
{
	unsigned all = 0;

	for (unsigned t = 0; t < ARRAY_SIZE(targets); t++) {
		unsigned long before = guarded ? spoofed() : 0;
		unsigned sent, heard;

		if (targets[t].at == pod->place)
			continue;
		heard = forge_at(pod, t, &sent);
		all += heard;
		if (guarded && (heard > 0 || spoofed() != before + sent))
			fail_msg("%s to %s: %u of %u arrived, %lu dropped", place_names[pod->place],
				 targets[t].addrs[0], heard, sent, spoofed() - before);
		if (!guarded && heard == 0)
			fail_msg("%s to %s: nothing arrives", place_names[pod->place], targets[t].addrs[0]);
	}
	return all;
}

/* Each by UDP, TCP and ICMP. */
static void test_sources(void **state)
{
	const char *rp_filter = *state;

	set_rp_filter(rp_filter);
	restore(NULL);
	for (size_t p = 0; p < ARRAY_SIZE(pods); p++)
		assert_int_equal(forge_everywhere(&pods[p], true), 0);
	everything_passes();
}

/* What the chain is for: without it a pod passes for its neighbours, at all of these places. */
static void test_sources__without_the_check(void **state)
{
	(void)state;
	set_rp_filter("0");
	restore(NULL);
	nft(NA, "flush chain inet berth sources\n");
	for (size_t p = 0; p < ARRAY_SIZE(pods); p++)
		assert_true(forge_everywhere(&pods[p], false) > 0);
}

/* The kernel's lookup finds 0.0.0.0 good towards these. */
static void test_sources__none_to_broadcast_and_multicast(void **state)
{
	static const char *const all[] = { "255.255.255.255", "224.0.0.1" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		const struct frame frame = { "eth0", P1_LINK, "0.0.0.0", all[i], IPPROTO_UDP };
		unsigned long before = spoofed();

		send_as(P1, &frame);
		until(spoofed() == before + 1);
	}
}

/* As `ip addr add` in a pod with NET_ADMIN does it: by the pod's own kernel. */
static void test_sources__an_address_that_the_pod_gave_itself(void **state)
{
	static const char *const neighbours[IP_FAMILIES] = { "10.0.0.21", "2001:db8:0:1::21" };
	static const struct flow flows[IP_FAMILIES] = { { P1, "10.0.0.31", 9000, P3, NULL },
							{ P1, "2001:db8:0:1::31", 9000, P3, NULL } };

	(void)state;
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		const struct ipaddr a = ip(neighbours[f]), own = ip(pods[0].addrs[f]);
		unsigned len = f ? 128 : 32;
		unsigned long before = spoofed();

		passes(&flows[f]);
		/* in this order: with a link's last address its routes go */
		must(net_addr_add(world.net[P1], link_index(P1, "eth0"), &a, len, NET_ADDR_NODAD, &oops));
		must(net_addr_del(world.net[P1], link_index(P1, "eth0"), &own, len, &oops));
		does_not_pass(&flows[f]);
		must(net_addr_add(world.net[P1], link_index(P1, "eth0"), &own, len, NET_ADDR_NODAD, &oops));
		must(net_addr_del(world.net[P1], link_index(P1, "eth0"), &a, len, &oops));
		assert_true(spoofed() > before);
		passes(&flows[f]);
	}
}

/* What is wrong with a packet is told in both directions. */
static void test_sources__errors_by_icmp(void **state)
{
	static const struct open_socket asked[] = { { .addr = "10.0.0.10" },
						    { .addr = "2001:db8:0:1::10" },
						    { .addr = "10.0.0.31" },
						    { .addr = "2001:db8:0:1::31" } };

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(asked); i++) {
		/* a pod, told by the node and by a pod of another node; and that one, told by a pod */
		enum place from = i < ARRAY_SIZE(asked) ? P2 : P3;
		struct open_socket client = asked[i % ARRAY_SIZE(asked)];
		char byte = '?';

		if (from == P3)
			client.addr = pods[i % 4 / 2].addrs[i % 2];
		client.v6 = is_v6(client.addr);
		client.port = 7; /* nobody is there */
		must(netns_run(world.fd[from], open_udp, &client, &oops));
		assert_int_equal(send(client.fd, &byte, 1, 0), 1);
		until(recv(client.fd, &byte, 1, 0) < 0 && errno == ECONNREFUSED);
		(void)close(client.fd);
	}
}

/* ---- other links ---- */

static int wire_second(void *arg, struct err *err)
{
	const struct podnet_wish wish = {
		.ifname = "net1",
		.host_ifname = NET1_LINK,
		.addr_count = 2,
		.addrs = { { ip("10.0.0.12"), ip("169.254.1.1") }, { ip("2001:db8:0:1::12"), ip("fe80::1") } },
		.mtu = JUMBO,
	};
	struct podnet podnet = { .netns_fd = -1 };
	struct podnet_made made;
	char name[32], path[64];
	int r;

	(void)arg;
	ns_name(P1, name);
	(void)snprintf(path, sizeof(path), "/run/netns/%s", name);
	if (podnet_open(path, false, &podnet, err) < 0)
		return -1;
	r = podnet_wire(&podnet, &wish, &made, err);
	podnet_done(&podnet);
	return r;
}

/* A packet of P1 arrives at P3, or the guard drops it. */
static void arrives(const struct frame *frame)
{
	struct ear ear = { .v6 = is_v6(frame->src), .protocol = frame->protocol };
	const struct pod sender = { P1, NULL, { frame->src, frame->src } };

	must(netns_run(world.fd[P3], open_ear, &ear, &oops));
	send_as(P1, frame);
	until(hear(&ear, &sender) > 0);
	(void)close(ear.fd);
}

static void is_dropped(const struct frame *frame)
{
	unsigned long before = spoofed();

	send_as(P1, frame);
	until(spoofed() == before + 1);
}

/* A second interface of a pod (Multus) takes its own addresses, not the first one's, and the other way round. */
static void test_sources__each_interface_its_own(void **state)
{
	static const char *const first[IP_FAMILIES] = { "10.0.0.11", "2001:db8:0:1:a::11" };
	static const char *const second[IP_FAMILIES] = { "10.0.0.12", "2001:db8:0:1::12" };
	static const char *const to[IP_FAMILIES] = { "10.0.0.31", "2001:db8:0:1::31" };

	(void)state;
	must(netns_run(world.fd[NA], wire_second, NULL, &oops));
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		arrives(&(struct frame){ "net1", NET1_LINK, second[f], to[f], IPPROTO_UDP });
		arrives(&(struct frame){ "eth0", P1_LINK, first[f], to[f], IPPROTO_UDP });
		is_dropped(&(struct frame){ "net1", NET1_LINK, first[f], to[f], IPPROTO_UDP });
		is_dropped(&(struct frame){ "eth0", P1_LINK, second[f], to[f], IPPROTO_UDP });
	}
	must(net_link_del(world.net[NA], link_index(NA, NET1_LINK), &oops));
}

/* Of a pod that another plugin wired (delegated IPAM) nothing is looked at: its link is not one of ours. */
static void test_sources__links_of_others(void **state)
{
	struct net_veth veth = { .name = OTHER_LINK, .peer_netns_fd = world.fd[P1], .peer_name = "net2", .up = true };
	const struct macaddr mac = net_named_mac(OTHER_LINK);
	struct net_route throw = {
		.dst = pfx("10.0.0.12"), .type = NET_ROUTE_THROW, .table = NET_TABLE_LOCAL, .protocol = BERTH_RTPROT
	};
	unsigned long before = spoofed();

	(void)state;
	veth.mac = &mac;
	must(net_veth_add(world.net[NA], &veth, &oops));
	must(net_link_set_up(world.net[NA], link_index(NA, OTHER_LINK), true, &oops));
	must(net_link_set_up(world.net[P1], link_index(P1, "net2"), true, &oops));
	must(net_route_replace(world.net[NA], &throw, &oops));
	add_route(NA, "10.0.0.12", NULL, OTHER_LINK, 0, false);
	arrives(&(struct frame){ "net2", OTHER_LINK, "10.0.0.12", "10.0.0.31", IPPROTO_UDP });
	assert_int_equal(spoofed(), before);
	must(net_link_del(world.net[NA], link_index(NA, OTHER_LINK), &oops));
}

#define SOURCES(value)                                                                                                 \
	{                                                                                                              \
		"test_sources__rp_filter_" value, test_sources, restore, NULL, (char[])                                \
		{                                                                                                      \
			value                                                                                          \
		}                                                                                                      \
	}

static int setup_guard(void **state)
{
	if (setup_world(state) < 0)
		return -1;
	for (int i = 0; i < PLACES; i++)
		must(netns_run(world.fd[i], open_packets, &packets[i], &oops));
	return 0;
}

static int teardown_guard(void **state)
{
	for (int i = 0; i < PLACES; i++)
		(void)close(packets[i]);
	return teardown_world(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SOURCES("0"),
		SOURCES("1"),
		SOURCES("2"),
		path_test(test_sources__without_the_check),
		path_test(test_sources__none_to_broadcast_and_multicast),
		path_test(test_sources__an_address_that_the_pod_gave_itself),
		path_test(test_sources__errors_by_icmp),
		path_test(test_sources__each_interface_its_own),
		path_test(test_sources__links_of_others),
	};

	return cmocka_run_group_tests_name("guard", tests, setup_guard, teardown_guard);
}
