/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/icmp.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/net.h"
#include "box_ping.h"

#define DOMAIN        "ping"
#define BATCH         128U  /* probes in flight: one descriptor each, far below the usual limit of 1024 */
#define DRAIN_MAX     1024U /* datagrams read from one socket before the others get their turn */
#define ECHO_PORT     7U    /* of the listener: the port of RFC 862 */
#define FORGE_WAIT_US (50 * USEC_PER_MSEC) /* for a forged packet, after the honest one behind it has come */

/* What travels. The cookie finds its probe again; it is unguessable, so that no other ping on the machine is taken for
 * it. */
struct payload {
	uint64_t run;
	uint32_t index;
	uint32_t seen; /* source of the request, network order; in an answer */
};

struct echo {
	struct icmphdr header;
	struct payload payload;
} __attribute__((packed));

struct forged_packet {
	struct iphdr ip;
	struct echo echo;
} __attribute__((packed));

struct batch {
	struct ping_probe *probes;
	unsigned count;
	uint64_t run;
	bool udp;
	int fds[BATCH];
	int server_fd;
};

static uint16_t checksum(const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	uint32_t sum = 0;

	assert(size % 2 == 0);
	for (size_t i = 0; i < size; i += 2) {
		uint16_t word;

		memcpy(&word, at + i, sizeof(word));
		sum += ntohs(word);
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static struct sockaddr_in sockaddr_of(const struct ipaddr *addr, uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };

	memcpy(&to.sin_addr, addr->bytes, sizeof(to.sin_addr));
	return to;
}

static struct ipaddr addr_from(uint32_t network_order)
{
	return ipaddr_v4(ntohl(network_order));
}

/* ---- sockets ---- */

struct socket_wish {
	int type, protocol;
	int icmp_type; /* raw: the only type that it wants; -1: not raw ICMP */
	const struct sockaddr_in *bind_to;
	int fd;
};

static int open_socket(void *arg, struct err *err)
{
	struct socket_wish *wish = arg;
	_cleanup_close_ int fd = socket(AF_INET, wish->type | SOCK_CLOEXEC | SOCK_NONBLOCK, wish->protocol);

	if (fd < 0)
		return err_set_errno(err, errno == EPERM ? ERR_AUTH : ERR_EXHAUSTED, DOMAIN, errno, "socket");
	if (wish->icmp_type >= 0) {
		struct icmp_filter filter = { .data = ~(1U << wish->icmp_type) };

		if (setsockopt(fd, SOL_RAW, ICMP_FILTER, &filter, sizeof(filter)) < 0)
			return err_set_errno(err, ERR_BUG, DOMAIN, errno, "ICMP filter");
	}
	if (wish->bind_to && bind(fd, (const struct sockaddr *)wish->bind_to, sizeof(*wish->bind_to)) < 0)
		return err_set_errno(err, ERR_CONFLICT, DOMAIN, errno, "bind");
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
		struct socket_wish wish = { .type = batch->udp ? SOCK_DGRAM : SOCK_RAW,
					    .protocol = batch->udp ? IPPROTO_UDP : IPPROTO_ICMP,
					    .icmp_type = batch->udp ? -1 : ICMP_ECHOREPLY };

		if (socket_in(batch->probes[i].netns_fd, &wish, &batch->fds[i], err) < 0)
			return -1;
	}
	return 0;
}

/* Failures to send are what a probe is there to find (no route, unreachable): it then is not answered. */
static void send_probe(const struct batch *batch, unsigned i, unsigned attempt)
{
	struct sockaddr_in to = sockaddr_of(&batch->probes[i].dst, batch->udp ? ECHO_PORT : 0);
	struct echo echo = { .header = { .type = ICMP_ECHO }, .payload = { .run = batch->run, .index = i } };
	const void *bytes = batch->udp ? (const char *)&echo + offsetof(struct echo, payload) : (const char *)&echo;

	echo.header.un.echo.id = htons((uint16_t)(batch->run + i));
	echo.header.un.echo.sequence = htons((uint16_t)attempt);
	echo.header.checksum = checksum(&echo, sizeof(echo));
	(void)sendto(batch->fds[i], bytes, batch->udp ? sizeof(echo.payload) : sizeof(echo), 0,
		     (const struct sockaddr *)&to, sizeof(to));
}

static void take_answer(struct batch *batch, const struct payload *payload, struct in_addr from)
{
	struct ipaddr source = addr_from(from.s_addr);

	if (payload->run != batch->run || payload->index >= batch->count)
		return;
	struct ping_probe *probe = &batch->probes[payload->index];

	if (!ipaddr_equal(&source, &probe->dst)) {
		probe->wrong_source = true;
		return;
	}
	probe->ok = true;
	if (batch->udp)
		probe->seen = addr_from(payload->seen);
}

/* The ICMP payload of a raw packet, if it is an echo of the wanted type and whole. */
static bool parse_echo(const uint8_t *bytes, size_t size, uint8_t type, struct echo *ret)
{
	size_t header = size >= sizeof(struct iphdr) ? (size_t)(bytes[0] & 0x0f) * 4 : 0;

	if (header < sizeof(struct iphdr) || size < header + sizeof(*ret))
		return false;
	memcpy(ret, bytes + header, sizeof(*ret));
	return ret->header.type == type;
}

static void drain_probe(struct batch *batch, int fd)
{
	for (unsigned n = 0; n < DRAIN_MAX; n++) {
		uint8_t bytes[256];
		struct sockaddr_in from = { 0 };
		socklen_t from_len = sizeof(from);
		ssize_t size = recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &from_len);
		struct payload payload;
		struct echo echo;

		if (size < 0 && errno == EAGAIN)
			return;
		if (batch->udp && size == (ssize_t)sizeof(payload)) {
			memcpy(&payload, bytes, sizeof(payload));
			take_answer(batch, &payload, from.sin_addr);
		} else if (!batch->udp && size > 0 && parse_echo(bytes, (size_t)size, ICMP_ECHOREPLY, &echo)) {
			memcpy(&payload, &echo.payload, sizeof(payload));
			take_answer(batch, &payload, from.sin_addr);
		}
	}
}

static void serve(int fd)
{
	for (unsigned n = 0; n < DRAIN_MAX; n++) {
		struct payload payload = { 0 };
		struct sockaddr_in from = { 0 };
		socklen_t from_len = sizeof(from);
		ssize_t size = recvfrom(fd, &payload, sizeof(payload), 0, (struct sockaddr *)&from, &from_len);

		if (size < 0 && errno == EAGAIN)
			return;
		if (size != (ssize_t)sizeof(payload))
			continue;
		payload.seen = from.sin_addr.s_addr;
		(void)sendto(fd, &payload, sizeof(payload), 0, (const struct sockaddr *)&from, from_len);
	}
}

/* Return: how many are still to be waited for. */
static unsigned poll_once(struct batch *batch, int64_t left_us, unsigned attempt)
{
	struct pollfd pollers[BATCH + 1];
	unsigned waiting = 0;

	for (unsigned i = 0; i < batch->count; i++) {
		unsigned tries = batch->probes[i].tries ? batch->probes[i].tries : PING_TRIES;

		if (!batch->probes[i].ok && attempt < tries)
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
			drain_probe(batch, pollers[i].fd);
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
	struct sockaddr_in listen_on = sockaddr_of(&probes[0].dst, ECHO_PORT);
	struct socket_wish wish = {
		.type = SOCK_DGRAM, .protocol = IPPROTO_UDP, .icmp_type = -1, .bind_to = &listen_on
	};

	if (socket_in(server_netns_fd, &wish, &server_fd, err) < 0)
		return -1;
	return run_batches(probes, count, true, server_fd, err);
}

/* ---- forged sources ---- */

enum forge_kind { FORGE_FORGED, FORGE_HONEST };

static void send_forged(int fd, uint64_t run, enum forge_kind kind, const struct ipaddr *src, const struct ipaddr *dst)
{
	struct sockaddr_in to = sockaddr_of(dst, 0);
	struct forged_packet packet = { .ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_ICMP },
					.echo = { .header = { .type = ICMP_ECHO },
						  .payload = { .run = run, .index = kind } } };

	/* Length and checksum of the IP header are the kernel's work, raw(7). */
	memcpy(&packet.ip.saddr, src->bytes, sizeof(packet.ip.saddr));
	memcpy(&packet.ip.daddr, dst->bytes, sizeof(packet.ip.daddr));
	packet.echo.header.un.echo.id = htons((uint16_t)(run + kind));
	packet.echo.header.checksum = checksum(&packet.echo, sizeof(packet.echo));
	(void)sendto(fd, &packet, sizeof(packet), 0, (const struct sockaddr *)&to, sizeof(to));
}

static void look_for(struct ping_forgery *forgery, int fd, uint64_t run, int64_t deadline_us, bool until_honest)
{
	int64_t left_us = deadline_us - clock_now(&clock_boot);

	while (left_us > 0 && !(until_honest && forgery->honest_came) && !forgery->forged_came) {
		struct pollfd poller = { .fd = fd, .events = POLLIN };
		uint8_t bytes[256];
		struct echo echo;
		ssize_t size = -1;

		if (poll(&poller, 1, (int)(left_us / USEC_PER_MSEC) + 1) > 0)
			size = recv(fd, bytes, sizeof(bytes), 0);
		if (size > 0 && parse_echo(bytes, (size_t)size, ICMP_ECHO, &echo) && echo.payload.run == run) {
			forgery->honest_came |= echo.payload.index == FORGE_HONEST;
			forgery->forged_came |= echo.payload.index == FORGE_FORGED;
		}
		left_us = deadline_us - clock_now(&clock_boot);
	}
}

int ping_forge(struct ping_forgery *forgery, struct err *err)
{
	_cleanup_close_ int from_fd = -1, to_fd = -1;
	struct socket_wish from = { .type = SOCK_RAW, .protocol = IPPROTO_RAW, .icmp_type = -1 };
	struct socket_wish to = { .type = SOCK_RAW, .protocol = IPPROTO_ICMP, .icmp_type = ICMP_ECHO };
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
