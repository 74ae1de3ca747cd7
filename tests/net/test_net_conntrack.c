/* SPDX-License-Identifier: Apache-2.0 */
/* Real flows between two namespaces, tracked in the first; and a scripted kernel for what the real one seldom does. */
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "berth/clock.h"
#include "lib/net/net_internal.h"
#include "tests/net/world.h"

#define PORT        9000
#define DEADLINE_US (clock_now(&clock_boot) + 20 * USEC_PER_SEC)

/* ---- a world with flows ---- */

struct flows_world {
	struct world *w;
	int sockets[512]; /* open, or a TCP flow would end */
	unsigned socket_count;
};

static void nft(const struct world *w, const char *words)
{
	char command[256];

	(void)snprintf(command, sizeof(command), "netns exec %s nft %s", w->a_name, words);
	world_ip_do(w->a_name, command);
}

static struct sockaddr_storage sockaddr_of(const char *text, uint16_t port, socklen_t *ret_len)
{
	struct sockaddr_storage storage = { 0 };
	struct ipaddr addr = addr_of(text);

	if (addr.family == IP_V4) {
		struct sockaddr_in *in = (void *)&storage;

		*in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
		memcpy(&in->sin_addr, addr.bytes, sizeof(in->sin_addr));
		*ret_len = sizeof(*in);
	} else {
		struct sockaddr_in6 *in = (void *)&storage;

		*in = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port) };
		memcpy(&in->sin6_addr, addr.bytes, sizeof(in->sin6_addr));
		*ret_len = sizeof(*in);
	}
	return storage;
}

struct flow {
	int type; /* SOCK_DGRAM or SOCK_STREAM */
	const char *from, *to;
	uint16_t from_port; /* 0: any */
	int fd;             /* of the socket that was made; of a listener: @to is NULL */
};

/* In the namespace of the flow's own end. */
static int flow_open(void *arg, struct err *err)
{
	struct flow *f = arg;
	socklen_t len;
	struct sockaddr_storage addr = sockaddr_of(f->from, f->from_port, &len);

	(void)err;
	f->fd = socket(addr.ss_family, f->type | SOCK_CLOEXEC, 0);
	assert_true(f->fd >= 0);
	assert_int_equal(bind(f->fd, (struct sockaddr *)&addr, len), 0);
	if (!f->to)
		return f->type == SOCK_STREAM ? listen(f->fd, 16) : 0;
	addr = sockaddr_of(f->to, PORT, &len);
	assert_int_equal(connect(f->fd, (struct sockaddr *)&addr, len), 0);
	if (f->type == SOCK_DGRAM)
		assert_int_equal(send(f->fd, "x", 1, 0), 1);
	return 0;
}

static void keep(struct flows_world *fw, int fd)
{
	assert_true(fw->socket_count < ARRAY_SIZE(fw->sockets));
	fw->sockets[fw->socket_count++] = fd;
}

static void listen_at(struct flows_world *fw, int type, const char *at)
{
	struct flow f = { .type = type, .from = at, .from_port = PORT };

	must(netns_run(fw->w->b_fd, flow_open, &f, &err));
	keep(fw, f.fd);
}

static void flow(struct flows_world *fw, int type, const char *from, const char *to)
{
	struct flow f = { .type = type, .from = from, .to = to };

	must(netns_run(fw->w->a_fd, flow_open, &f, &err));
	keep(fw, f.fd);
}

static int read_count(void *arg, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	uint64_t count = 0;

	(void)err;
	assert_int_equal(fs_read("/proc/sys/net/netfilter/nf_conntrack_count", 64, &text, NULL), 0);
	text[strcspn(text, "\n")] = '\0';
	assert_int_equal(str_u64(text, 0, UINT32_MAX, &count), 0);
	*(unsigned *)arg = (unsigned)count;
	return 0;
}

/* How many flows are tracked. The kernel counts a deleted one until its last packet is gone, hence not used after. */
static unsigned tracked(struct flows_world *fw)
{
	unsigned count = 0;

	must(netns_run(fw->w->a_fd, read_count, &count, &err));
	return count;
}

static int setup(void **state)
{
	struct flows_world *fw = calloc(1, sizeof(*fw));
	void *inner = NULL;

	if (!fw || world_setup(&inner) != 0)
		return -1;
	fw->w = inner;
	*state = fw;
	const struct net_veth veth = { .name = "c0", .peer_netns_fd = fw->w->b_fd, .peer_name = "c1", .up = true };

	must(net_veth_add(fw->w->a, &veth, &err));
	world_ip_do(fw->w->b_name, "link set c1 up");
	world_ip_do(fw->w->b_name, "address add 10.7.0.1/24 dev c1");
	world_ip_do(fw->w->b_name, "address add fd07::1/64 dev c1 nodad");
	for (unsigned i = 2; i < 6; i++) {
		char words[64];

		(void)snprintf(words, sizeof(words), "address add 10.7.0.%u/24 dev c0", i);
		world_ip_do(fw->w->a_name, words);
		(void)snprintf(words, sizeof(words), "address add fd07::%u/64 dev c0 nodad", i);
		world_ip_do(fw->w->a_name, words);
	}
	nft(fw->w, "add table inet t");
	nft(fw->w, "add chain inet t raw { type filter hook output priority -300 ; }");
	nft(fw->w, "add chain inet t before { type nat hook output priority -100 ; }");
	nft(fw->w, "add chain inet t after { type nat hook postrouting priority 100 ; }");
	nft(fw->w, "add chain inet t look { type filter hook output priority 0 ; }");
	nft(fw->w, "add rule inet t look ct state new counter");
	for (unsigned i = 0; i < 2; i++) {
		listen_at(fw, i ? SOCK_STREAM : SOCK_DGRAM, "10.7.0.1");
		listen_at(fw, i ? SOCK_STREAM : SOCK_DGRAM, "fd07::1");
	}
	return 0;
}

static int teardown(void **state)
{
	struct flows_world *fw = *state;
	void *inner = fw->w;

	for (unsigned i = 0; i < fw->socket_count; i++)
		(void)close(fw->sockets[i]);
	free(fw);
	*state = NULL;
	return world_teardown(&inner);
}

struct flush {
	struct ipaddr addrs[8];
	unsigned count, deleted;
	int64_t deadline_us;
};

static int run_flush(void *arg, struct err *err)
{
	struct flush *f = arg;

	return net_conntrack_flush(f->addrs, f->count, f->deadline_us, &f->deleted, err);
}

/* Return: how many flows of these addresses (split at blanks) were forgotten. */
static unsigned flush(struct flows_world *fw, const char *addrs)
{
	struct flush f = { .deadline_us = DEADLINE_US };
	char copy[256], *save = NULL;

	assert_int_equal(str_copy(copy, sizeof(copy), addrs), 0);
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		assert_true(f.count < ARRAY_SIZE(f.addrs));
		f.addrs[f.count++] = addr_of(word);
	}
	must(netns_run(fw->w->a_fd, run_flush, &f, &err));
	return f.deleted;
}

/* ---- flows ---- */

static void test_flush__both_families_and_only_the_named__rule_12(void **state)
{
	struct flows_world *fw = *state;

	flow(fw, SOCK_DGRAM, "10.7.0.2", "10.7.0.1");
	flow(fw, SOCK_STREAM, "10.7.0.2", "10.7.0.1");
	flow(fw, SOCK_DGRAM, "10.7.0.3", "10.7.0.1");
	flow(fw, SOCK_DGRAM, "10.7.0.4", "10.7.0.1");
	flow(fw, SOCK_DGRAM, "fd07::2", "fd07::1");
	flow(fw, SOCK_STREAM, "fd07::2", "fd07::1");
	flow(fw, SOCK_STREAM, "fd07::3", "fd07::1");
	assert_int_equal(tracked(fw), 7);
	assert_int_equal(flush(fw, "10.7.0.9 fd07::9"), 0);
	assert_int_equal(flush(fw, "10.7.0.2 fd07::2"), 4);
	assert_int_equal(flush(fw, "10.7.0.2 fd07::2"), 0);
	assert_int_equal(flush(fw, "fd07::3"), 1);
	assert_int_equal(flush(fw, "10.7.0.4 10.7.0.3"), 2);
}

static void test_flush__as_destination(void **state)
{
	struct flows_world *fw = *state;

	flow(fw, SOCK_DGRAM, "10.7.0.2", "10.7.0.1");
	flow(fw, SOCK_STREAM, "10.7.0.3", "10.7.0.1");
	flow(fw, SOCK_STREAM, "fd07::3", "fd07::1");
	assert_int_equal(flush(fw, "10.7.0.1"), 2);
	assert_int_equal(flush(fw, "fd07::1"), 1);
}

/* A Service's backend stands in the reply only, and so does what a pod is masqueraded to; the Service itself does not. */
static void test_flush__address_that_only_one_direction_has(void **state)
{
	struct flows_world *fw = *state;

	nft(fw->w, "add rule inet t before ip daddr 10.7.0.77 dnat ip to 10.7.0.1");
	nft(fw->w, "add rule inet t before ip6 daddr fd07::77 dnat ip6 to fd07::1");
	nft(fw->w, "add rule inet t after ip saddr 10.7.0.4 snat ip to 10.7.0.5");
	flow(fw, SOCK_DGRAM, "10.7.0.2", "10.7.0.77");
	flow(fw, SOCK_STREAM, "fd07::2", "fd07::77");
	flow(fw, SOCK_DGRAM, "10.7.0.4", "10.7.0.1");
	assert_int_equal(flush(fw, "10.7.0.5"), 1);
	assert_int_equal(flush(fw, "10.7.0.1"), 1);
	assert_int_equal(flush(fw, "fd07::1"), 1);
	flow(fw, SOCK_DGRAM, "10.7.0.2", "10.7.0.77");
	flow(fw, SOCK_STREAM, "fd07::2", "fd07::77");
	assert_int_equal(flush(fw, "10.7.0.77"), 1);
	assert_int_equal(flush(fw, "fd07::77"), 1);
}

static void test_flush__in_another_zone(void **state)
{
	struct flows_world *fw = *state;

	flow(fw, SOCK_DGRAM, "10.7.0.2", "10.7.0.1");
	nft(fw->w, "add rule inet t raw ct zone set 7");
	flow(fw, SOCK_DGRAM, "10.7.0.2", "10.7.0.1");
	flow(fw, SOCK_STREAM, "10.7.0.2", "10.7.0.1");
	assert_int_equal(tracked(fw), 3);
	assert_int_equal(flush(fw, "10.7.0.2"), 3);
	assert_int_equal(flush(fw, "10.7.0.2"), 0);
}

static void test_flush__echo_requests(void **state)
{
	struct flows_world *fw = *state;
	char words[128];

	(void)snprintf(words, sizeof(words), "netns exec %s busybox ping -c 1 -W 5 -I 10.7.0.2 10.7.0.1",
		       fw->w->a_name);
	world_ip_do(fw->w->a_name, words);
	(void)snprintf(words, sizeof(words), "netns exec %s busybox ping -c 1 -W 5 -I fd07::2 fd07::1", fw->w->a_name);
	world_ip_do(fw->w->a_name, words);
	assert_int_equal(flush(fw, "10.7.0.2"), 1);
	assert_int_equal(flush(fw, "fd07::2"), 1);
}

/* More than one datagram of the dump, with deletions while it is being read: none is passed over. */
static void test_flush__long_table_under_deletion(void **state)
{
	struct flows_world *fw = *state;
	unsigned mine = 0;

	while (mine < 200) {
		flow(fw, SOCK_DGRAM, "10.7.0.2", "10.7.0.1");
		flow(fw, SOCK_DGRAM, "10.7.0.3", "10.7.0.1");
		mine++;
	}
	assert_int_equal(flush(fw, "10.7.0.2"), mine);
	assert_int_equal(flush(fw, "10.7.0.3"), mine);
}

static void test_flush__nothing_tracked_nothing_asked(void **state)
{
	struct flows_world *fw = *state;
	struct flush none = { .deadline_us = DEADLINE_US };

	assert_int_equal(flush(fw, "10.7.0.2 fd07::2"), 0);
	flow(fw, SOCK_DGRAM, "10.7.0.2", "10.7.0.1");
	must(netns_run(fw->w->a_fd, run_flush, &none, &err));
	assert_int_equal(none.deleted, 0);
	assert_int_equal(flush(fw, "10.7.0.2"), 1);
}

/* ---- flows to ports of this node ---- */

struct port_flush {
	struct net_port ports[4];
	unsigned count, deleted;
	const char *skip_link;
};

static int run_port_flush(void *arg, struct err *err)
{
	struct port_flush *f = arg;

	return net_conntrack_flush_ports(f->ports, f->count, f->skip_link, DEADLINE_US, &f->deleted, err);
}

/* @to: NULL: nowhere. */
static void add_port(struct port_flush *f, const char *host, const char *to, uint16_t to_port)
{
	struct net_port *port = &f->ports[f->count++];

	*port = (struct net_port){
		.host_addr = addr_of(host), .host_port = PORT, .to_port = to_port, .protocol = IPPROTO_UDP
	};
	if (to)
		port->to = addr_of(to);
}

static unsigned flush_ports(struct flows_world *fw, struct port_flush *f)
{
	must(netns_run(fw->w->a_fd, run_port_flush, f, &err));
	return f->deleted;
}

static unsigned flush_port(struct flows_world *fw, const char *host, const char *to, uint16_t to_port)
{
	struct port_flush f = { .count = 0 };

	add_port(&f, host, to, to_port);
	return flush_ports(fw, &f);
}

/* What was there before the port was: to this node's addresses and to no others, of one family and protocol. */
static void test_flush_ports__opened(void **state)
{
	struct flows_world *fw = *state;
	struct port_flush tcp = { .count = 0 };

	flow(fw, SOCK_DGRAM, "10.7.0.2", "10.7.0.3");
	flow(fw, SOCK_DGRAM, "10.7.0.2", "10.7.0.4");
	flow(fw, SOCK_DGRAM, "10.7.0.2", "10.7.0.1");
	flow(fw, SOCK_DGRAM, "127.0.0.1", "127.0.0.5");
	flow(fw, SOCK_DGRAM, "fd07::2", "fd07::3");
	flow(fw, SOCK_DGRAM, "::1", "::1");
	flow(fw, SOCK_STREAM, "10.7.0.2", "10.7.0.1");
	assert_int_equal(tracked(fw), 7);
	add_port(&tcp, "0.0.0.0", "10.7.0.9", PORT);
	tcp.ports[0].protocol = IPPROTO_TCP;
	assert_int_equal(flush_ports(fw, &tcp), 0);
	tcp.ports[0].protocol = IPPROTO_UDP;
	tcp.ports[0].host_port = PORT + 1;
	assert_int_equal(flush_ports(fw, &tcp), 0);
	assert_int_equal(flush_port(fw, "10.7.0.4", "10.7.0.9", PORT), 1);
	assert_int_equal(flush_port(fw, "0.0.0.0", "10.7.0.9", PORT), 2);
	assert_int_equal(flush_port(fw, "::", "fd07::9", PORT), 1);
	assert_int_equal(flush(fw, "10.7.0.1 ::1"), 3);
}

/* To an address that passes through, CVE-2025-67499's other half: its flow stays whatever the ports are. */
static void test_flush_ports__not_of_a_foreign_host_ip(void **state)
{
	struct flows_world *fw = *state;

	flow(fw, SOCK_DGRAM, "10.7.0.2", "10.7.0.1");
	assert_int_equal(flush_port(fw, "10.7.0.1", "10.7.0.9", PORT), 0);
}

static void test_flush_ports__not_of_a_link_that_is_left_out(void **state)
{
	struct flows_world *fw = *state;
	struct port_flush f = { .skip_link = "c0" };

	flow(fw, SOCK_DGRAM, "10.7.0.2", "10.7.0.3");
	add_port(&f, "0.0.0.0", "10.7.0.9", PORT);
	assert_int_equal(flush_ports(fw, &f), 0);
	f.skip_link = "nosuch";
	assert_int_equal(flush_ports(fw, &f), 1);
}

static void test_flush_ports__moved_and_closed(void **state)
{
	struct flows_world *fw = *state;

	nft(fw->w, "add rule inet t before ip daddr 10.7.0.3 udp dport 9000 dnat ip to 10.7.0.1:9000");
	nft(fw->w, "add rule inet t before ip6 daddr fd07::3 udp dport 9000 dnat ip6 to [fd07::1]:9000");
	flow(fw, SOCK_DGRAM, "10.7.0.2", "10.7.0.3");
	flow(fw, SOCK_DGRAM, "fd07::2", "fd07::3");
	assert_int_equal(flush_port(fw, "0.0.0.0", "10.7.0.1", PORT), 0);
	assert_int_equal(flush_port(fw, "0.0.0.0", "10.7.0.1", PORT + 1), 1);
	assert_int_equal(flush_port(fw, "::", "fd07::1", PORT), 0);
	assert_int_equal(flush_port(fw, "::", "fd07::9", PORT), 1);
	flow(fw, SOCK_DGRAM, "10.7.0.2", "10.7.0.3");
	flow(fw, SOCK_DGRAM, "10.7.0.2", "10.7.0.4"); /* the node's own */
	assert_int_equal(flush_port(fw, "0.0.0.0", NULL, 0), 1);
	assert_int_equal(flush(fw, "10.7.0.4"), 1);
}

static void test_flush_ports__of_one_address_goes_first(void **state)
{
	struct flows_world *fw = *state;
	struct port_flush f = { .count = 0 };

	nft(fw->w, "add rule inet t before ip daddr 10.7.0.3 udp dport 9000 dnat ip to 10.7.0.1:9000");
	flow(fw, SOCK_DGRAM, "10.7.0.2", "10.7.0.3");
	flow(fw, SOCK_DGRAM, "10.7.0.2", "10.7.0.4");
	add_port(&f, "10.7.0.3", "10.7.0.1", PORT);
	add_port(&f, "0.0.0.0", "10.7.0.9", PORT);
	assert_int_equal(flush_ports(fw, &f), 1);
	assert_int_equal(flush(fw, "10.7.0.3"), 1);
}

/* ---- kernels of other kinds ---- */

static void deny_netfilter_sockets(void)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NETLINK_NETFILTER, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPROTONOSUPPORT),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { .len = ARRAY_SIZE(rules), .filter = rules };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		_exit(3);
}

static void test_flush__kernel_without_netfilter_netlink(void **state)
{
	const struct ipaddr addr = addr_of("10.7.0.2");
	int status = -1;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		unsigned deleted = 9;

		deny_netfilter_sockets();
		if (net_conntrack_flush(&addr, 1, DEADLINE_US, &deleted, NULL) < 0)
			_exit(1);
		_exit(deleted == 0 ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

enum answer {
	ANSWER_FLOWS,       /* two flows of 10.7.0.2 and one of 10.7.0.3 */
	ANSWER_INTERRUPTED, /* the same, but the end is marked as interrupted */
	ANSWER_MALFORMED,   /* a flow without a tuple */
	ANSWER_ENDLESS,     /* flows, and no end */
	ANSWER_ACK,
	ANSWER_ABSENT, /* EINVAL */
	ANSWER_GONE,   /* ENOENT */
	ANSWER_BUSY,   /* EBUSY */
};

#define SCRIPT_MAX 8

struct kernel {
	struct net net;
	int fd; /* the kernel's end */
	pthread_t thread;
	enum answer script[SCRIPT_MAX];
	size_t script_count;
	int requests; /* seen */
};

static void put_error(struct nl_msg *msg, int code)
{
	const struct nlmsgerr e = { .error = code };

	assert_int_equal(nlmsg_append(msg, (void *)(uintptr_t)&e, sizeof(e), NLMSG_ALIGNTO), 0);
}

static void put_tuple(struct nl_msg *msg, int attr, const char *src, const char *dst)
{
	struct nlattr *tuple = nla_nest_start(msg, attr), *ip = nla_nest_start(msg, CTA_TUPLE_IP);

	assert_int_equal(nla_put(msg, CTA_IP_V4_SRC, 4, addr_of(src).bytes), 0);
	assert_int_equal(nla_put(msg, CTA_IP_V4_DST, 4, addr_of(dst).bytes), 0);
	nla_nest_end(msg, ip);
	nla_nest_end(msg, tuple);
}

static void send_one(const struct kernel *k, struct nl_msg *msg, uint32_t seq)
{
	struct nlmsghdr *hdr = nlmsg_hdr(msg);

	hdr->nlmsg_seq = seq;
	(void)send(k->fd, hdr, hdr->nlmsg_len, MSG_NOSIGNAL);
	nlmsg_free(msg);
}

static void send_flow(const struct kernel *k, uint32_t seq, const char *src, bool has_reply)
{
	const struct nfgenmsg head = { .nfgen_family = AF_INET };
	struct nl_msg *msg = nlmsg_alloc_simple(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW, NLM_F_MULTI);

	assert_non_null(msg);
	assert_int_equal(nlmsg_append(msg, (void *)(uintptr_t)&head, sizeof(head), NLMSG_ALIGNTO), 0);
	put_tuple(msg, CTA_TUPLE_ORIG, src, "10.7.0.1");
	if (has_reply)
		put_tuple(msg, CTA_TUPLE_REPLY, "10.7.0.1", src);
	send_one(k, msg, seq);
}

static void send_end(const struct kernel *k, uint32_t seq, int flags)
{
	struct nl_msg *msg = nlmsg_alloc_simple(NLMSG_DONE, NLM_F_MULTI | flags);

	assert_non_null(msg);
	put_error(msg, 0);
	send_one(k, msg, seq);
}

static void send_error(const struct kernel *k, uint32_t seq, int code)
{
	struct nl_msg *msg = nlmsg_alloc_simple(NLMSG_ERROR, NLM_F_CAPPED);

	assert_non_null(msg);
	put_error(msg, code);
	send_one(k, msg, seq);
}

static void answer(const struct kernel *k, enum answer what, uint32_t seq)
{
	switch (what) {
	case ANSWER_FLOWS:
	case ANSWER_INTERRUPTED:
		send_flow(k, seq, "10.7.0.2", true);
		send_flow(k, seq, "10.7.0.3", true);
		send_flow(k, seq, "10.7.0.2", true);
		send_end(k, seq, what == ANSWER_INTERRUPTED ? NLM_F_DUMP_INTR : 0);
		return;
	case ANSWER_MALFORMED:
		send_flow(k, seq, "10.7.0.3", false);
		send_end(k, seq, 0);
		return;
	case ANSWER_ENDLESS:
		send_flow(k, seq, "10.7.0.3", true);
		return;
	case ANSWER_ACK:
		send_error(k, seq, 0);
		return;
	case ANSWER_ABSENT:
		send_error(k, seq, -EINVAL);
		return;
	case ANSWER_GONE:
		send_error(k, seq, -ENOENT);
		return;
	case ANSWER_BUSY:
		send_error(k, seq, -EBUSY);
		return;
	}
}

static void *play(void *arg)
{
	struct kernel *k = arg;
	_Alignas(NLMSG_ALIGNTO) uint8_t buf[1024];

	for (size_t i = 0; i < k->script_count; i++) {
		struct nlmsghdr hdr;

		if (recv(k->fd, buf, sizeof(buf), 0) < (ssize_t)sizeof(hdr))
			break;
		memcpy(&hdr, buf, sizeof(hdr));
		k->requests++;
		answer(k, k->script[i], hdr.nlmsg_seq);
	}
	return NULL;
}

static void kernel_start(struct kernel *k, const enum answer *script, size_t count)
{
	const struct timeval timeout = { .tv_sec = 5 };
	int fds[2];

	memset(k, 0, sizeof(*k));
	assert_true(count <= SCRIPT_MAX);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), 0);
	k->net.fd = fds[0];
	k->fd = fds[1];
	memcpy(k->script, script, count * sizeof(*script));
	k->script_count = count;
	assert_int_equal(pthread_create(&k->thread, NULL, play, k), 0);
}

/* Return: how many requests the kernel saw. */
static int kernel_stop(struct kernel *k)
{
	(void)shutdown(k->net.fd, SHUT_RDWR);
	(void)pthread_join(k->thread, NULL);
	(void)close(k->net.fd);
	(void)close(k->fd);
	return k->requests;
}

struct scripted {
	enum answer reads[SCRIPT_MAX], deletes[SCRIPT_MAX];
	size_t read_count, delete_count;
	int64_t deadline_us; /* from now */
	int rc;
	unsigned deleted;
	int deletes_sent;
};

/* Forgets 10.7.0.2 on a kernel that plays these answers. */
static void play_script(struct scripted *s)
{
	const struct ipaddr addr = addr_of("10.7.0.2");
	struct kernel *reader = calloc(1, sizeof(*reader)), *deleter = calloc(1, sizeof(*deleter));
	struct net_ack ack;

	assert_non_null(reader);
	assert_non_null(deleter);
	kernel_start(reader, s->reads, s->read_count);
	kernel_start(deleter, s->deletes, s->delete_count);
	s->rc = net_conntrack_flush_on(&reader->net, &deleter->net, &addr, 1,
				       clock_now(&clock_boot) + (s->deadline_us ? s->deadline_us : 20 * USEC_PER_SEC),
				       &s->deleted, &ack);
	(void)kernel_stop(reader);
	s->deletes_sent = kernel_stop(deleter);
	free(reader);
	free(deleter);
}

static void test_flush__interrupted_dump_is_made_again(void **state)
{
	struct scripted s = { .reads = { ANSWER_INTERRUPTED, ANSWER_FLOWS },
			      .read_count = 2,
			      .deletes = { ANSWER_ACK, ANSWER_ACK, ANSWER_GONE, ANSWER_ACK },
			      .delete_count = 4 };

	(void)state;
	play_script(&s);
	assert_int_equal(s.rc, 0);
	assert_int_equal(s.deletes_sent, 4);
	assert_int_equal(s.deleted, 3);
}

static void test_flush__interrupted_always_is_given_up(void **state)
{
	struct scripted s = { .reads = { ANSWER_INTERRUPTED, ANSWER_INTERRUPTED, ANSWER_INTERRUPTED, ANSWER_FLOWS },
			      .read_count = 4,
			      .deletes = { ANSWER_ACK, ANSWER_ACK, ANSWER_GONE, ANSWER_GONE, ANSWER_GONE, ANSWER_GONE },
			      .delete_count = 6 };

	(void)state;
	play_script(&s);
	assert_int_equal(s.rc, -EINTR);
	assert_int_equal(s.deletes_sent, 2 * NET_DUMP_TRIES);
}

static void test_flush__flow_that_cannot_go_now(void **state)
{
	struct scripted s = {
		.reads = { ANSWER_FLOWS }, .read_count = 1, .deletes = { ANSWER_BUSY, ANSWER_ACK }, .delete_count = 2
	};

	(void)state;
	play_script(&s);
	assert_int_equal(s.rc, -EBUSY);
	assert_int_equal(s.deletes_sent, 2);
}

static void test_flush__kernel_without_conntrack(void **state)
{
	struct scripted s = { .reads = { ANSWER_ABSENT }, .read_count = 1, .deleted = 9 };

	(void)state;
	play_script(&s);
	assert_int_equal(s.rc, 0);
	assert_int_equal(s.deleted, 0);
}

/* The same word about a deletion is no success. */
static void test_flush__refused_deletion(void **state)
{
	struct scripted s = {
		.reads = { ANSWER_FLOWS }, .read_count = 1, .deletes = { ANSWER_ABSENT, ANSWER_ACK }, .delete_count = 2
	};

	(void)state;
	play_script(&s);
	assert_int_equal(s.rc, -EINVAL);
	assert_int_equal(s.deletes_sent, 1);
}

static void test_flush__malformed_flow(void **state)
{
	struct scripted s = { .reads = { ANSWER_MALFORMED }, .read_count = 1 };

	(void)state;
	play_script(&s);
	assert_int_equal(s.rc, -EBADMSG);
}

static void test_flush__not_beyond_the_deadline(void **state)
{
	struct scripted s = { .reads = { ANSWER_ENDLESS }, .read_count = 1, .deadline_us = -1 };

	(void)state;
	play_script(&s);
	assert_int_equal(s.rc, -ETIMEDOUT);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_flush__both_families_and_only_the_named__rule_12),
		T(test_flush__as_destination),
		T(test_flush__address_that_only_one_direction_has),
		T(test_flush__in_another_zone),
		T(test_flush__echo_requests),
		T(test_flush__long_table_under_deletion),
		T(test_flush__nothing_tracked_nothing_asked),
		T(test_flush_ports__opened),
		T(test_flush_ports__not_of_a_foreign_host_ip),
		T(test_flush_ports__not_of_a_link_that_is_left_out),
		T(test_flush_ports__moved_and_closed),
		T(test_flush_ports__of_one_address_goes_first),
		check_unit_test(test_flush__kernel_without_netfilter_netlink),
		check_unit_test(test_flush__interrupted_dump_is_made_again),
		check_unit_test(test_flush__interrupted_always_is_given_up),
		check_unit_test(test_flush__flow_that_cannot_go_now),
		check_unit_test(test_flush__kernel_without_conntrack),
		check_unit_test(test_flush__refused_deletion),
		check_unit_test(test_flush__malformed_flow),
		check_unit_test(test_flush__not_beyond_the_deadline),
	};

	return cmocka_run_group_tests_name("net_conntrack", tests, NULL, NULL);
}
