/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the real kernel does too seldom to be waited for: interrupted dumps, late answers, half messages. A thread at
 * the other end of a socket pair plays the kernel from a script of one answer per request.
 */
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <pthread.h>
#include <sys/socket.h>

#include "lib/net/net_internal.h"
#include "tests/net/world.h"

#define REQUESTS_MAX 5
#define ROUTES       4096 /* of 60 bytes in a dump, so that it takes more datagrams than the kernel has ready */
#define ATTR_HDRLEN  4U   /* NLA_HDRLEN is signed */

enum answer {
	ANSWER_ACK,
	ANSWER_LATE_THEN_ACK,  /* first the refusal of an earlier request that was given up */
	ANSWER_REFUSED,        /* EBUSY with the kernel's words */
	ANSWER_REFUSED_ECHOED, /* the same behind a copy of the request, as without NETLINK_CAP_ACK */
	ANSWER_CUT,            /* an error message without an error */
	ANSWER_DUMP,           /* two addresses */
	ANSWER_INTERRUPTED,    /* the same, but the end is marked as interrupted */
	ANSWER_DUMP_FAILED,    /* one address, then the end says ENOMEM */
	ANSWER_BIG,            /* more than a datagram may hold */
};

struct kernel {
	struct net net;
	int fd; /* the kernel's end */
	pthread_t thread;
	enum answer script[REQUESTS_MAX];
	size_t script_count;
	int requests; /* seen */
};

struct packet {
	_Alignas(NLMSG_ALIGNTO) uint8_t bytes[512];
	size_t size;
};

static void *add_message(struct packet *p, uint16_t type, uint16_t flags, uint32_t seq, const void *body, size_t size)
{
	struct nlmsghdr hdr = {
		.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + size), .nlmsg_type = type, .nlmsg_flags = flags, .nlmsg_seq = seq
	};
	uint8_t *at = p->bytes + p->size;

	memcpy(at, &hdr, sizeof(hdr));
	if (size)
		memcpy(at + NLMSG_HDRLEN, body, size);
	p->size += NLMSG_ALIGN(hdr.nlmsg_len);
	return at;
}

static void add_error(struct packet *p, uint32_t seq, int code)
{
	const struct nlmsgerr e = { .error = code };

	(void)add_message(p, NLMSG_ERROR, NLM_F_CAPPED, seq, &e, sizeof(e));
}

static void add_refusal(struct packet *p, uint32_t seq, bool echoed)
{
	static const char words[12] = "rtnl is shy";
	uint8_t body[128] = { 0 };
	struct nlmsgerr e = { .error = -EBUSY, .msg.nlmsg_len = NLMSG_HDRLEN + (echoed ? 20 : 0) };
	struct nlattr attr = { .nla_len = ATTR_HDRLEN + sizeof(words), .nla_type = NLMSGERR_ATTR_MSG };
	size_t at = sizeof(e) + (echoed ? 20 : 0);

	memcpy(body, &e, sizeof(e));
	memcpy(body + at, &attr, sizeof(attr));
	memcpy(body + at + ATTR_HDRLEN, words, sizeof(words));
	(void)add_message(p, NLMSG_ERROR, (uint16_t)(NLM_F_ACK_TLVS | (echoed ? 0 : NLM_F_CAPPED)), seq, body,
			  at + attr.nla_len);
}

static void add_address(struct packet *p, uint32_t seq, uint8_t last)
{
	struct {
		struct ifaddrmsg ifa;
		struct nlattr attr;
		uint8_t addr[4];
	} body = { .ifa = { .ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_index = 7 },
		   .attr = { .nla_len = ATTR_HDRLEN + 4, .nla_type = IFA_LOCAL },
		   .addr = { 10, 0, 1, last } };

	(void)add_message(p, RTM_NEWADDR, NLM_F_MULTI, seq, &body, sizeof(body));
}

static void add_done(struct packet *p, uint32_t seq, uint16_t flags, int code)
{
	(void)add_message(p, NLMSG_DONE, (uint16_t)(NLM_F_MULTI | flags), seq, &code, sizeof(code));
}

static void send_packet(const struct kernel *k, const struct packet *p)
{
	(void)send(k->fd, p->bytes, p->size, MSG_NOSIGNAL);
}

static void answer(const struct kernel *k, enum answer what, uint32_t seq)
{
	static const uint8_t big[NET_RECV_SIZE + 1];
	struct packet p = { 0 };
	uint32_t cut = 0;

	switch (what) {
	case ANSWER_ACK:
		add_error(&p, seq, 0);
		break;
	case ANSWER_LATE_THEN_ACK:
		add_error(&p, seq - 1, -EPERM);
		send_packet(k, &p);
		p.size = 0;
		add_error(&p, seq, 0);
		break;
	case ANSWER_REFUSED:
		add_refusal(&p, seq, false);
		break;
	case ANSWER_REFUSED_ECHOED:
		add_refusal(&p, seq, true);
		break;
	case ANSWER_CUT:
		(void)add_message(&p, NLMSG_ERROR, 0, seq, &cut, 2);
		break;
	case ANSWER_DUMP:
	case ANSWER_INTERRUPTED:
		add_address(&p, seq, 1);
		add_address(&p, seq, 2);
		send_packet(k, &p);
		p.size = 0;
		add_done(&p, seq, what == ANSWER_INTERRUPTED ? NLM_F_DUMP_INTR : 0, 0);
		break;
	case ANSWER_DUMP_FAILED:
		add_address(&p, seq, 1);
		add_done(&p, seq, 0, -ENOMEM);
		break;
	case ANSWER_BIG:
		(void)send(k->fd, big, sizeof(big), MSG_NOSIGNAL);
		return;
	}
	send_packet(k, &p);
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

static struct kernel *kernel_start(const enum answer *script, size_t count)
{
	struct kernel *k = calloc(1, sizeof(*k));
	const struct timeval timeout = { .tv_sec = 5 };
	int fds[2];

	assert_non_null(k);
	assert_true(count <= REQUESTS_MAX);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), 0);
	k->net.fd = fds[0];
	k->fd = fds[1];
	memcpy(k->script, script, count * sizeof(*script));
	k->script_count = count;
	assert_int_equal(pthread_create(&k->thread, NULL, play, k), 0);
	return k;
}

/* Return: how many requests the kernel saw. */
static int kernel_stop(struct kernel *k)
{
	int requests;

	(void)shutdown(k->net.fd, SHUT_RDWR);
	(void)pthread_join(k->thread, NULL);
	requests = k->requests;
	(void)close(k->net.fd);
	(void)close(k->fd);
	free(k);
	return requests;
}

static int count_addr(const struct net_addr *addr, void *arg)
{
	assert_int_equal(addr->index, 7);
	(*(int *)arg)++;
	return 0;
}

/* ---- changes ---- */

static int change(struct kernel *k, struct err *err)
{
	return net_link_set_up(&k->net, 7, true, err);
}

static void test_net_call__late_answer_of_an_earlier_request(void **state)
{
	static const enum answer script[] = { ANSWER_LATE_THEN_ACK, ANSWER_ACK };
	struct kernel *k = kernel_start(script, ARRAY_SIZE(script));

	(void)state;
	must(change(k, &err));
	must(change(k, &err));
	assert_int_equal(kernel_stop(k), 2);
}

static void test_net_call__the_kernels_words(void **state)
{
	static const enum answer script[] = { ANSWER_REFUSED, ANSWER_REFUSED_ECHOED };
	struct kernel *k = kernel_start(script, ARRAY_SIZE(script));
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(script); i++) {
		must_fail(change(k, &e), e, ERR_RETRY);
		assert_int_equal(e.code, EBUSY);
		assert_contains(e.msg, "set link 7 up: kernel says \"rtnl is shy\"");
	}
	(void)kernel_stop(k);
}

static void test_net_call__answers_that_cannot_be_read(void **state)
{
	static const enum answer script[] = { ANSWER_CUT, ANSWER_BIG, ANSWER_ACK };
	struct kernel *k = kernel_start(script, ARRAY_SIZE(script));
	struct err e;

	(void)state;
	must_fail(change(k, &e), e, ERR_PROTOCOL);
	must_fail(change(k, &e), e, ERR_PROTOCOL);
	must(change(k, &err));
	(void)kernel_stop(k);
}

/* ---- dumps ---- */

static void test_net_dump__interrupted_once_shows_each_item_once(void **state)
{
	static const enum answer script[] = { ANSWER_INTERRUPTED, ANSWER_DUMP };
	struct kernel *k = kernel_start(script, ARRAY_SIZE(script));
	int count = 0;

	(void)state;
	must(net_addrs(&k->net, count_addr, &count, &err));
	assert_int_equal(count, 2);
	assert_int_equal(kernel_stop(k), 2);
}

static void test_net_dump__interrupted_always_is_given_up(void **state)
{
	static const enum answer script[] = { ANSWER_INTERRUPTED, ANSWER_INTERRUPTED, ANSWER_INTERRUPTED, ANSWER_DUMP };
	struct kernel *k = kernel_start(script, ARRAY_SIZE(script));
	int count = 0;
	struct err e;

	(void)state;
	must_fail(net_addrs(&k->net, count_addr, &count, &e), e, ERR_RETRY);
	assert_int_equal(e.code, EINTR);
	assert_int_equal(count, 0);
	assert_int_equal(kernel_stop(k), NET_DUMP_TRIES);
}

static void test_net_dump__failed_half_way_shows_nothing(void **state)
{
	static const enum answer script[] = { ANSWER_DUMP_FAILED, ANSWER_DUMP };
	struct kernel *k = kernel_start(script, ARRAY_SIZE(script));
	int count = 0;
	struct err e;

	(void)state;
	must_fail(net_addrs(&k->net, count_addr, &count, &e), e, ERR_EXHAUSTED);
	assert_int_equal(count, 0);
	must(net_addrs(&k->net, count_addr, &count, &err));
	assert_int_equal(count, 2);
	(void)kernel_stop(k);
}

static int pass_over(struct nlmsghdr *hdr, void *item)
{
	(void)hdr;
	(void)item;
	return 0;
}

static int count_route(const struct net_route *route, void *arg)
{
	unsigned *count = arg;

	*count += route->protocol == BERTH_RTPROT;
	return 0;
}

/* The real kernel: the rest of the first dump is still to be read when the second is asked for. */
static void test_net_dump__behind_one_that_was_given_up(void **state)
{
	const struct rtmsg rtm = { .rtm_family = AF_INET };
	struct net_route route = { .dst = prefix_from("10.0.0.0/32"),
				   .type = NET_ROUTE_UNREACHABLE,
				   .table = NET_TABLE_LOCAL,
				   .protocol = BERTH_RTPROT };
	const struct world *w = *state;
	_cleanup_msg_ struct net_msg msg = { 0 };
	struct net_ack ack;
	unsigned count = 0;

	for (unsigned i = 0; i < ROUTES; i++) {
		route.dst.addr.bytes[2] = (uint8_t)(i >> 8);
		route.dst.addr.bytes[3] = (uint8_t)i;
		must(net_route_replace(w->a, &route, &err));
	}
	net_msg_init(&msg, RTM_GETROUTE, 0, &rtm, sizeof(rtm));
	assert_int_equal(net_stream(w->a, &msg, pass_over, NULL, 1, &ack), -ETIMEDOUT);
	must(net_routes(w->a, IP_V4, NET_TABLE_LOCAL, count_route, &count, &err));
	assert_int_equal(count, ROUTES);
}

/* ---- classes ---- */

static void test_net_err_class__table(void **state)
{
	static const struct {
		int errnum;
		enum err_class class;
	} rows[] = {
		{ ENODEV, ERR_NOTFOUND },
		{ ESRCH, ERR_NOTFOUND },
		{ ENOENT, ERR_NOTFOUND },
		{ ENXIO, ERR_NOTFOUND },
		{ EADDRNOTAVAIL, ERR_NOTFOUND },
		{ EEXIST, ERR_CONFLICT },
		{ EINVAL, ERR_INVALID },
		{ ERANGE, ERR_INVALID },
		{ EOPNOTSUPP, ERR_INVALID },
		{ ENETUNREACH, ERR_INVALID },
		{ ENOBUFS, ERR_EXHAUSTED },
		{ ENOMEM, ERR_EXHAUSTED },
		{ EMFILE, ERR_EXHAUSTED },
		{ ENFILE, ERR_EXHAUSTED },
		{ ENOSPC, ERR_EXHAUSTED },
		{ EOVERFLOW, ERR_EXHAUSTED },
		{ EPERM, ERR_AUTH },
		{ EACCES, ERR_AUTH },
		{ EBUSY, ERR_RETRY },
		{ EINTR, ERR_RETRY },
		{ EAGAIN, ERR_RETRY },
		{ ETIMEDOUT, ERR_RETRY },
		{ ENETDOWN, ERR_RETRY },
		{ EBADMSG, ERR_PROTOCOL },
		{ EMSGSIZE, ERR_PROTOCOL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(net_err_class(rows[i].errnum), rows[i].class);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_net_call__late_answer_of_an_earlier_request),
		check_unit_test(test_net_call__the_kernels_words),
		check_unit_test(test_net_call__answers_that_cannot_be_read),
		check_unit_test(test_net_dump__interrupted_once_shows_each_item_once),
		check_unit_test(test_net_dump__interrupted_always_is_given_up),
		check_unit_test(test_net_dump__failed_half_way_shows_nothing),
		world_test(test_net_dump__behind_one_that_was_given_up),
		check_unit_test(test_net_err_class__table),
	};

	return cmocka_run_group_tests_name("net_exchange", tests, NULL, NULL);
}
