/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/net.h"
#include "box_icmp.h"
#include "box_ping.h"

#define DOMAIN        "ping"
#define BATCH         128U  /* probes in flight: one descriptor each, far below the usual limit of 1024 */
#define DRAIN_MAX     1024U /* datagrams read from one socket before the others get their turn */
#define ECHO_PORT     7U    /* of the listener: the port of RFC 862 */
#define FORGE_WAIT_US (50 * USEC_PER_MSEC) /* for a forged packet, after the honest one behind it has come */

struct batch {
	struct ping_probe *probes;
	unsigned count;
	uint64_t run;
	bool udp;
	int fds[BATCH];
	int server_fd;
};

/* ---- sockets ---- */

enum socket_kind {
	SOCKET_UDP,
	SOCKET_ANSWERS, /* ICMP: sends requests, gets answers */
	SOCKET_ASKS,    /* ICMP: gets requests */
	SOCKET_PACKETS  /* sends whole packets */
};

struct socket_wish {
	enum socket_kind kind;
	enum ip_family family;
	const struct ipaddr *bind_to; /* UDP: on ECHO_PORT; NULL: nowhere */
	int fd;
};

static int protocol_of(const struct socket_wish *wish)
{
	if (wish->kind == SOCKET_UDP)
		return IPPROTO_UDP;
	if (wish->kind == SOCKET_PACKETS)
		return IPPROTO_RAW;
	return wish->family == IP_V6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
}

static int prepare_socket(const struct socket_wish *wish, int fd, struct err *err)
{
	enum icmp_kind kind = wish->kind == SOCKET_ASKS ? ICMP_KIND_ASK : ICMP_KIND_ANSWER;
	struct sockaddr_storage to;
	int r = 0;

	if (wish->kind == SOCKET_ASKS || wish->kind == SOCKET_ANSWERS)
		r = icmp_filter(fd, wish->family, kind);
	if (r < 0)
		return err_set_errno(err, ERR_BUG, DOMAIN, -r, "ICMP filter");
	if (!wish->bind_to)
		return 0;
	socklen_t len = icmp_sockaddr(wish->bind_to, ECHO_PORT, &to);

	if (bind(fd, (const struct sockaddr *)&to, len) < 0)
		return err_set_errno(err, ERR_CONFLICT, DOMAIN, errno, "bind");
	return 0;
}

static int open_socket(void *arg, struct err *err)
{
	struct socket_wish *wish = arg;
	int type = (wish->kind == SOCKET_UDP ? SOCK_DGRAM : SOCK_RAW) | SOCK_CLOEXEC | SOCK_NONBLOCK;
	_cleanup_close_ int fd = socket(wish->family == IP_V6 ? AF_INET6 : AF_INET, type, protocol_of(wish));

	if (fd < 0)
		return err_set_errno(err, errno == EPERM ? ERR_AUTH : ERR_EXHAUSTED, DOMAIN, errno, "socket");
	if (prepare_socket(wish, fd, err) < 0)
		return -1;
	wish->fd = take_fd(fd);
	return 0;
}

static int socket_in(int netns_fd, struct socket_wish *wish, int *ret_fd, struct err *err)
{
	if (netns_run(netns_fd, open_socket, wish, err) < 0)
		return -1;
	*ret_fd = wish->fd;
	return 0;
}

static int new_run(uint64_t *ret, struct err *err)
{
	if (getrandom(ret, sizeof(*ret), 0) != (ssize_t)sizeof(*ret))
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, errno, "random");
	return 0;
}

/* ---- many probes ---- */

static void batch_done(struct batch *batch)
{
	for (unsigned i = 0; i < BATCH; i++)
		if (batch->fds[i] >= 0)
			(void)close(batch->fds[i]);
}

static int batch_open(struct batch *batch, struct err *err)
{
	for (unsigned i = 0; i < batch->count; i++) {
		struct socket_wish wish = { .kind = batch->udp ? SOCKET_UDP : SOCKET_ANSWERS,
					    .family = batch->probes[i].dst.family };

		if (socket_in(batch->probes[i].netns_fd, &wish, &batch->fds[i], err) < 0)
			return -1;
	}
	return 0;
}

/* Failures to send are what a probe is there to find (no route, unreachable): it then is not answered. */
static void send_probe(const struct batch *batch, unsigned i, unsigned attempt)
{
	const struct ipaddr *dst = &batch->probes[i].dst;
	struct icmp_cookie cookie = { .run = batch->run, .index = i };
	struct sockaddr_storage to;
	socklen_t to_len = icmp_sockaddr(dst, batch->udp ? ECHO_PORT : 0, &to);
	uint8_t bytes[ICMP_BYTES_MAX];
	size_t size = sizeof(cookie);

	if (batch->udp)
		memcpy(bytes, &cookie, sizeof(cookie));
	else
		size = icmp_ask(dst->family, (uint16_t)(batch->run + i), (uint16_t)attempt, &cookie, bytes);
	(void)sendto(batch->fds[i], bytes, size, 0, (const struct sockaddr *)&to, to_len);
}

static void take_answer(struct batch *batch, const struct icmp_cookie *cookie, const struct sockaddr_storage *from)
{
	struct ipaddr source = icmp_sockaddr_addr(from);

	if (cookie->run != batch->run || cookie->index >= batch->count)
		return;
	struct ping_probe *probe = &batch->probes[cookie->index];

	if (!ipaddr_equal(&source, &probe->dst)) {
		probe->wrong_source = true;
		return;
	}
	probe->ok = true;
	if (!batch->udp)
		return;
	probe->seen = (struct ipaddr){ .family = (uint8_t)cookie->seen_family };
	memcpy(probe->seen.bytes, cookie->seen, sizeof(cookie->seen));
}

static void drain_probe(struct batch *batch, int fd, enum ip_family family)
{
	for (unsigned n = 0; n < DRAIN_MAX; n++) {
		uint8_t bytes[ICMP_BYTES_MAX];
		struct sockaddr_storage from = { 0 };
		socklen_t from_len = sizeof(from);
		ssize_t size = recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &from_len);
		struct icmp_cookie cookie;

		if (size < 0 && errno == EAGAIN)
			return;
		if (batch->udp && size == (ssize_t)sizeof(cookie)) {
			memcpy(&cookie, bytes, sizeof(cookie));
			take_answer(batch, &cookie, &from);
		} else if (!batch->udp && size > 0 &&
			   icmp_read(family, ICMP_KIND_ANSWER, bytes, (size_t)size, &cookie)) {
			take_answer(batch, &cookie, &from);
		}
	}
}

static void serve(int fd)
{
	for (unsigned n = 0; n < DRAIN_MAX; n++) {
		struct icmp_cookie cookie = { 0 };
		struct sockaddr_storage from = { 0 };
		socklen_t from_len = sizeof(from);
		ssize_t size = recvfrom(fd, &cookie, sizeof(cookie), 0, (struct sockaddr *)&from, &from_len);
		struct ipaddr who = icmp_sockaddr_addr(&from);

		if (size < 0 && errno == EAGAIN)
			return;
		if (size != (ssize_t)sizeof(cookie))
			continue;
		cookie.seen_family = who.family;
		memcpy(cookie.seen, who.bytes, sizeof(cookie.seen));
		(void)sendto(fd, &cookie, sizeof(cookie), 0, (const struct sockaddr *)&from, from_len);
	}
}

/* Return: how many are still to be waited for. */
static unsigned poll_once(struct batch *batch, int64_t left_us, unsigned attempt)
{
	struct pollfd pollers[BATCH + 1];
	unsigned who[BATCH], waiting = 0;

	for (unsigned i = 0; i < batch->count; i++) {
		unsigned tries = batch->probes[i].tries ? batch->probes[i].tries : PING_TRIES;

		if (batch->probes[i].ok || attempt >= tries)
			continue;
		who[waiting] = i;
		pollers[waiting++] = (struct pollfd){ .fd = batch->fds[i], .events = POLLIN };
	}
	if (waiting == 0)
		return 0;
	pollers[waiting] = (struct pollfd){ .fd = batch->server_fd, .events = POLLIN };
	if (poll(pollers, waiting + 1, (int)(left_us / USEC_PER_MSEC) + 1) <= 0)
		return waiting;
	if (pollers[waiting].revents)
		serve(batch->server_fd);
	for (unsigned i = 0; i < waiting; i++)
		if (pollers[i].revents)
			drain_probe(batch, pollers[i].fd, batch->probes[who[i]].dst.family);
	return waiting;
}

static bool attempt_once(struct batch *batch, unsigned attempt)
{
	int64_t deadline_us = clock_now(&clock_boot) + PING_TRY_US;
	unsigned waiting = 1;

	for (unsigned i = 0; i < batch->count; i++) {
		unsigned tries = batch->probes[i].tries ? batch->probes[i].tries : PING_TRIES;

		if (!batch->probes[i].ok && attempt < tries)
			send_probe(batch, i, attempt);
	}
	for (int64_t left_us = PING_TRY_US; waiting > 0 && left_us > 0; left_us = deadline_us - clock_now(&clock_boot))
		waiting = poll_once(batch, left_us, attempt);
	return waiting > 0;
}

static int run_batches(struct ping_probe *probes, unsigned count, bool udp, int server_fd, struct err *err)
{
	for (unsigned done = 0; done < count; done += BATCH) {
		_cleanup_(batch_done) struct batch batch = { .probes = probes + done,
							     .count = count - done < BATCH ? count - done : BATCH,
							     .udp = udp,
							     .server_fd = server_fd };

		for (unsigned i = 0; i < BATCH; i++)
			batch.fds[i] = -1;
		for (unsigned i = 0; i < batch.count; i++) {
			batch.probes[i].ok = batch.probes[i].wrong_source = false;
			batch.probes[i].seen = (struct ipaddr){ 0 };
		}
		if (new_run(&batch.run, err) < 0 || batch_open(&batch, err) < 0)
			return -1;
		for (unsigned attempt = 0; attempt < PING_TRIES && attempt_once(&batch, attempt); attempt++)
			;
	}
	return 0;
}

int ping_echo(struct ping_probe *probes, unsigned count, struct err *err)
{
	return run_batches(probes, count, false, -1, err);
}

int ping_udp(struct ping_probe *probes, unsigned count, int server_netns_fd, struct err *err)
{
	_cleanup_close_ int server_fd = -1;

	if (count == 0)
		return 0;
	struct socket_wish wish = { .kind = SOCKET_UDP, .family = probes[0].dst.family, .bind_to = &probes[0].dst };

	if (socket_in(server_netns_fd, &wish, &server_fd, err) < 0)
		return -1;
	return run_batches(probes, count, true, server_fd, err);
}

/* ---- forged sources ---- */

enum forge_kind { FORGE_FORGED, FORGE_HONEST };

static void send_forged(int fd, uint64_t run, enum forge_kind kind, const struct ipaddr *src, const struct ipaddr *dst)
{
	struct icmp_cookie cookie = { .run = run, .index = kind };
	uint8_t bytes[ICMP_BYTES_MAX];
	size_t size = icmp_packet(src, dst, &cookie, bytes);
	struct sockaddr_storage to;
	socklen_t to_len = icmp_sockaddr(dst, 0, &to);

	(void)sendto(fd, bytes, size, 0, (const struct sockaddr *)&to, to_len);
}

static void look_for(struct ping_forgery *forgery, int fd, uint64_t run, int64_t deadline_us, bool until_honest)
{
	int64_t left_us = deadline_us - clock_now(&clock_boot);

	while (left_us > 0 && !(until_honest && forgery->honest_came) && !forgery->forged_came) {
		struct pollfd poller = { .fd = fd, .events = POLLIN };
		uint8_t bytes[ICMP_BYTES_MAX];
		struct icmp_cookie cookie;
		ssize_t size = -1;

		if (poll(&poller, 1, (int)(left_us / USEC_PER_MSEC) + 1) > 0)
			size = recv(fd, bytes, sizeof(bytes), 0);
		if (size > 0 && icmp_read(forgery->dst.family, ICMP_KIND_ASK, bytes, (size_t)size, &cookie) &&
		    cookie.run == run) {
			forgery->honest_came |= cookie.index == FORGE_HONEST;
			forgery->forged_came |= cookie.index == FORGE_FORGED;
		}
		left_us = deadline_us - clock_now(&clock_boot);
	}
}

int ping_forge(struct ping_forgery *forgery, struct err *err)
{
	_cleanup_close_ int from_fd = -1, to_fd = -1;
	struct socket_wish from = { .kind = SOCKET_PACKETS, .family = forgery->dst.family };
	struct socket_wish to = { .kind = SOCKET_ASKS, .family = forgery->dst.family };
	uint64_t run = 0;

	forgery->honest_came = forgery->forged_came = false;
	if (socket_in(forgery->from_netns_fd, &from, &from_fd, err) < 0 ||
	    socket_in(forgery->to_netns_fd, &to, &to_fd, err) < 0 || new_run(&run, err) < 0)
		return -1;
	for (unsigned attempt = 0; attempt < PING_TRIES && !forgery->honest_came; attempt++) {
		send_forged(from_fd, run, FORGE_FORGED, &forgery->forged, &forgery->dst);
		send_forged(from_fd, run, FORGE_HONEST, &forgery->honest, &forgery->dst);
		look_for(forgery, to_fd, run, clock_now(&clock_boot) + PING_TRY_US, true);
	}
	look_for(forgery, to_fd, run, clock_now(&clock_boot) + FORGE_WAIT_US, false);
	return 0;
}
