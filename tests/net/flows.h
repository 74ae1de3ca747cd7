/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast bytes get through: flows between two namespaces, several at once, and what their receivers saw.
 *
 * A receiver counts from its first byte on: what came within the first second, and what came within a window behind the
 * first burst. Both are turned into bytes of the link, by the headers of full frames. Senders are slowed down by their
 * socket buffers, which are smaller than any queue on the way: they offer all that is let through, and lose nothing.
 */
#ifndef TESTS_NET_FLOWS_H
#define TESTS_NET_FLOWS_H

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "berth/clock.h"
#include "tests/net/world.h"

#define FLOW_BURST_US    (250 * USEC_PER_MSEC) /* the window begins so long behind the first byte */
#define FLOW_SEND_BUF    32768                 /* bytes; the kernel doubles it and counts its own overhead in */
#define FLOW_RECV_BUF    (4 << 20)
#define FLOW_QUIET_MS    3000 /* without a byte: the flow is over */
#define FLOW_MTU         1500U
#define FLOW_UDP         1400U /* bytes of a datagram */
#define FLOW_UDP_AT_ONCE 10U   /* datagrams of one GSO packet */

struct flow {
	bool tcp, v6;
	int from_fd, to_fd;  /* namespaces; borrowed */
	const char *to_addr; /* of the receiver */
	uint16_t port;
	int64_t window_us;
	/* the result, in bytes of the link per second: */
	double first, steady;
	/* inside: */
	int listen_fd, rx_fd, tx_fd;
	pthread_t rx, tx;
	atomic_bool over;
};

static inline double flow_overhead(const struct flow *flow)
{
	const unsigned ip = flow->v6 ? 40 : 20, ethernet = 14, tcp = 32, udp = 8; /* TCP with timestamps */

	if (!flow->tcp)
		return (double)(FLOW_UDP + udp + ip + ethernet) / FLOW_UDP;
	return (double)(FLOW_MTU + ethernet) / (FLOW_MTU - ip - tcp);
}

/* ---- sockets, which stay in the namespace that they were made in ---- */

static inline socklen_t flow_addr(const struct flow *flow, struct sockaddr_storage *ret)
{
	const struct ipaddr addr = addr_of(flow->to_addr);
	struct sockaddr_in6 *v6 = (void *)ret;
	struct sockaddr_in *v4 = (void *)ret;

	memset(ret, 0, sizeof(*ret));
	if (flow->v6) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(flow->port);
		memcpy(&v6->sin6_addr, addr.bytes, sizeof(v6->sin6_addr));
		return sizeof(*v6);
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons(flow->port);
	memcpy(&v4->sin_addr, addr.bytes, sizeof(v4->sin_addr));
	return sizeof(*v4);
}

static inline int flow_socket(const struct flow *flow)
{
	return socket(flow->v6 ? AF_INET6 : AF_INET, (flow->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
}

static inline int flow_listen(void *arg, struct err *err)
{
	const int one = 1, size = FLOW_RECV_BUF;
	struct sockaddr_storage addr;
	struct flow *flow = arg;
	socklen_t len = flow_addr(flow, &addr);

	flow->listen_fd = flow_socket(flow);
	if (!flow->tcp)
		(void)setsockopt(flow->listen_fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	(void)setsockopt(flow->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(flow->listen_fd, (struct sockaddr *)&addr, len) < 0 || (flow->tcp && listen(flow->listen_fd, 1) < 0))
		return err_set_errno(err, ERR_INVALID, "test", errno, "listen at %s", flow->to_addr);
	return 0;
}

static inline int flow_connect(void *arg, struct err *err)
{
	const int size = FLOW_SEND_BUF, segment = FLOW_UDP;
	struct sockaddr_storage addr;
	struct flow *flow = arg;
	socklen_t len = flow_addr(flow, &addr);

	flow->tx_fd = flow_socket(flow);
	if (!flow->tcp)
		(void)setsockopt(flow->tx_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	/* one family with GSO, the other without */
	if (!flow->tcp && flow->v6 && setsockopt(flow->tx_fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment)) < 0)
		return err_set_errno(err, ERR_INVALID, "test", errno, "UDP_SEGMENT");
	if (connect(flow->tx_fd, (struct sockaddr *)&addr, len) < 0)
		return err_set_errno(err, ERR_INVALID, "test", errno, "connect to %s", flow->to_addr);
	return 0;
}

/* ---- both ends ---- */

static inline void *flow_send(void *arg)
{
	static const char bytes[65536];
	struct flow *flow = arg;
	const size_t size = flow->tcp ? sizeof(bytes) : flow->v6 ? (size_t)FLOW_UDP * FLOW_UDP_AT_ONCE : FLOW_UDP;

	while (!atomic_load(&flow->over)) {
		struct pollfd pollfd = { .fd = flow->tx_fd, .events = POLLOUT };

		if (poll(&pollfd, 1, 10) == 1)
			(void)send(flow->tx_fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	return NULL;
}

/* Return: false when nothing came for long. */
static inline bool flow_take(const struct flow *flow, double *total)
{
	static _Thread_local char bytes[1 << 18];
	struct pollfd pollfd = { .fd = flow->rx_fd, .events = POLLIN };
	ssize_t n;

	if (poll(&pollfd, 1, FLOW_QUIET_MS) != 1)
		return false;
	n = recv(flow->rx_fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	*total += n > 0 ? (double)n : 0;
	return n > 0;
}

static inline void *flow_receive(void *arg)
{
	struct flow *flow = arg;
	double total = 0, mark = 0;
	int64_t now_us, first_us, mark_us = 0;

	flow->first = flow->steady = 0;
	if (!flow_take(flow, &total))
		return NULL;
	first_us = now_us = clock_now(&clock_boot);
	while (now_us < first_us + FLOW_BURST_US + flow->window_us && flow_take(flow, &total)) {
		now_us = clock_now(&clock_boot);
		if (!mark_us && now_us >= first_us + FLOW_BURST_US) {
			mark_us = now_us;
			mark = total;
		}
		if (flow->first == 0 && now_us >= first_us + USEC_PER_SEC)
			flow->first = total * USEC_PER_SEC / (double)(now_us - first_us);
	}
	if (now_us > mark_us)
		flow->steady = (total - mark) * USEC_PER_SEC / (double)(now_us - mark_us);
	flow->first *= flow_overhead(flow);
	flow->steady *= flow_overhead(flow);
	return NULL;
}

static inline void flow_start(struct flow *flow)
{
	must(netns_run(flow->to_fd, flow_listen, flow, &err));
	must(netns_run(flow->from_fd, flow_connect, flow, &err));
	flow->rx_fd = flow->tcp ? accept4(flow->listen_fd, NULL, NULL, SOCK_CLOEXEC) : flow->listen_fd;
	assert_true(flow->rx_fd >= 0);
	atomic_store(&flow->over, false);
	assert_int_equal(pthread_create(&flow->rx, NULL, flow_receive, flow), 0);
	assert_int_equal(pthread_create(&flow->tx, NULL, flow_send, flow), 0);
}

/* Waits until the receiver has seen its window. */
static inline void flow_join(struct flow *flow)
{
	(void)pthread_join(flow->rx, NULL);
	atomic_store(&flow->over, true);
	(void)pthread_join(flow->tx, NULL);
	if (flow->tcp)
		(void)close(flow->listen_fd);
	(void)close(flow->rx_fd);
	(void)close(flow->tx_fd);
}

#endif
