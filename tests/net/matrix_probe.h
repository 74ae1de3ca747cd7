/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP connections between the places of node_world.h, many at once. Each server says who it is and whom it sees:
 * "p2 10.0.0.31"; that line, as the client reads it, is what came of a probe.
 */
#ifndef TESTS_NET_MATRIX_PROBE_H
#define TESTS_NET_MATRIX_PROBE_H

#include "tests/net/node_world.h"

#define PROBES_MAX  256U
#define PROBE_US    (2500 * USEC_PER_MSEC) /* that what shall pass gets: a lost SYN is sent again after 1 s */
#define PORT        8080U                  /* of every server */
#define PORT_DETOUR 8081U                  /* the same; the fabric brings it by another NIC */
#define SAID_SIZE   (IPADDR_STRLEN + 16)

struct probe {
	enum place from;
	const char *addr;
	uint16_t port;
	char said[SAID_SIZE]; /* "" = no connection */
	int fd;               /* inside run_probes() */
};

struct listener {
	enum place at;
	bool v6;
	uint16_t port;
	int fd;
};

static inline int open_listener(void *arg, struct err *err)
{
	struct listener *l = arg;
	union address address;
	socklen_t size = fill_address(&address, l->v6, NULL, l->port);
	const int on = 1;

	l->fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return err_set_errno(err, ERR_BUG, "test", errno, "socket");
	(void)setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (l->v6)
		(void)setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(l->fd, &address.any, size) < 0 || listen(l->fd, (int)PROBES_MAX) < 0)
		return err_set_errno(err, ERR_BUG, "test", errno, "listen");
	return 0;
}

static inline int open_probe(void *arg, struct err *err)
{
	struct probe *p = arg;
	union address address;
	socklen_t size = fill_address(&address, is_v6(p->addr), p->addr, p->port);

	p->fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->fd < 0)
		return err_set_errno(err, ERR_BUG, "test", errno, "socket");
	if (connect(p->fd, &address.any, size) == 0 || errno == EINPROGRESS)
		return 0;
	cleanup_close(&p->fd);
	p->fd = -1;
	return 0;
}

static inline void serve(const struct listener *l)
{
	union address peer = { .any.sa_family = AF_INET };
	char text[IPADDR_STRLEN], line[SAID_SIZE];
	socklen_t size = sizeof(peer);
	int fd = accept4(l->fd, &peer.any, &size, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	address_text(&peer, text);
	(void)snprintf(line, sizeof(line), "%s %s", place_names[l->at], text);
	(void)send(fd, line, strlen(line), MSG_NOSIGNAL);
	(void)close(fd);
}

/* Gone with a RST: nothing stays behind that a later flow of the same ports would meet. */
static inline void end_probe(struct probe *p)
{
	const struct linger now = { .l_onoff = 1 };

	(void)setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	(void)close(p->fd);
	p->fd = -1;
}

static inline void hear(struct probe *p)
{
	ssize_t n = recv(p->fd, p->said, sizeof(p->said) - 1, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	p->said[n > 0 ? n : 0] = '\0';
	end_probe(p);
}

#define LISTENERS (PLACES * IP_FAMILIES * 2U)

static inline void open_listeners(struct listener listeners[static LISTENERS])
{
	for (unsigned i = 0; i < LISTENERS; i++) {
		listeners[i] = (struct listener){ .at = i / 4, .v6 = i % 2, .port = i / 2 % 2 ? PORT_DETOUR : PORT };
		must(netns_run(world.fd[listeners[i].at], open_listener, &listeners[i], &oops));
	}
}

/* Until every probe has ended or @end_us. */
static inline void exchange_all(const struct listener *listeners, struct probe *probes, unsigned count, int64_t end_us)
{
	for (;;) {
		struct pollfd fds[LISTENERS + PROBES_MAX];
		int64_t left_us = end_us - clock_now(&clock_boot);
		unsigned open = 0;

		for (unsigned i = 0; i < LISTENERS; i++)
			fds[i] = (struct pollfd){ .fd = listeners[i].fd, .events = POLLIN };
		for (unsigned i = 0; i < count; i++) {
			fds[LISTENERS + i] = (struct pollfd){ .fd = probes[i].fd, .events = POLLIN };
			open += probes[i].fd >= 0;
		}
		if (!open || left_us <= 0 || poll(fds, LISTENERS + count, (int)(left_us / USEC_PER_MSEC) + 1) < 0)
			return;
		for (unsigned i = 0; i < LISTENERS + count; i++) {
			if (fds[i].revents && i < LISTENERS)
				serve(&listeners[i]);
			else if (fds[i].revents)
				hear(&probes[i - LISTENERS]);
		}
	}
}

/* All of them at once, for @for_us each time; those that failed are tried anew, @rounds in all. */
static inline void run_probes(struct probe *probes, unsigned count, int rounds, int64_t for_us)
{
	struct listener listeners[LISTENERS];

	assert_true(count <= PROBES_MAX);
	open_listeners(listeners);
	for (unsigned i = 0; i < count; i++)
		probes[i].said[0] = '\0';
	for (int round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < count; i++) {
			probes[i].fd = -1;
			if (!probes[i].said[0])
				must(netns_run(world.fd[probes[i].from], open_probe, &probes[i], &oops));
		}
		exchange_all(listeners, probes, count, clock_now(&clock_boot) + for_us);
		for (unsigned i = 0; i < count; i++) {
			if (probes[i].fd >= 0)
				end_probe(&probes[i]);
		}
	}
	for (unsigned i = 0; i < LISTENERS; i++)
		(void)close(listeners[i].fd);
}

#endif
