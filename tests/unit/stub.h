/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP server inside the test process: reads a whole request, asks a handler what to do, and can misbehave in
 * ways that a real server library would not allow (half answers, no answer, garbage). One thread, several connections.
 */
#ifndef TESTS_UNIT_STUB_H
#define TESTS_UNIT_STUB_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "berth/str.h"
#include "tests/check.h"

#define STUB_CONNECTIONS 32
#define STUB_REQUEST_MAX (64 * 1024)

/** struct stub_answer - what a handler wants to be done; text stays empty for no answer at all. */
struct stub_answer {
	struct strbuf text;
	bool close; /* after the text, at once */
};

struct stub {
	/* Called on the server's thread; @number counts requests from 0; request is terminated text. */
	void (*handler)(struct stub *stub, unsigned number, const char *request, struct stub_answer *answer);
	void *ctx;
	unsigned port;
	_Atomic unsigned requests;
	_Atomic unsigned connections;
	int listener;
	int wake[2];
	pthread_t thread;
	struct {
		int fd;
		size_t len;
		char *buf;
	} peers[STUB_CONNECTIONS];
};

static inline void stub_reply(struct stub_answer *answer, const char *status, const char *headers, const char *body)
{
	strbuf_printf(&answer->text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n%s", status, strlen(body), headers,
		      body);
}

static inline size_t stub_request_size(const char *text)
{
	const char *end = strstr(text, "\r\n\r\n");
	const char *length = strcasestr(text, "\r\nContent-Length:");
	size_t body = 0;

	if (!end)
		return 0;
	if (length && length < end) {
		for (length += strlen("\r\nContent-Length:"); *length == ' ' || (*length >= '0' && *length <= '9');
		     length++)
			body = *length == ' ' ? body : body * 10 + (size_t)(*length - '0');
	}
	return (size_t)(end - text) + 4 + body;
}

static inline void stub_drop(struct stub *stub, unsigned i)
{
	(void)close(stub->peers[i].fd);
	free(stub->peers[i].buf);
	stub->peers[i].fd = -1;
	stub->peers[i].buf = NULL;
	stub->peers[i].len = 0;
}

static inline void stub_serve(struct stub *stub, unsigned i)
{
	size_t size = stub_request_size(stub->peers[i].buf);
	struct stub_answer answer = { 0 };

	if (size == 0 || stub->peers[i].len < size)
		return;
	stub->handler(stub, stub->requests++, stub->peers[i].buf, &answer);
	for (size_t sent = 0; sent < answer.text.len;) {
		ssize_t n = send(stub->peers[i].fd, answer.text.text + sent, answer.text.len - sent, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		sent += (size_t)n;
	}
	strbuf_done(&answer.text);
	stub->peers[i].len = 0;
	stub->peers[i].buf[0] = '\0';
	if (answer.close)
		stub_drop(stub, i);
}

static inline void stub_read(struct stub *stub, unsigned i)
{
	ssize_t n = recv(stub->peers[i].fd, stub->peers[i].buf + stub->peers[i].len,
			 STUB_REQUEST_MAX - 1 - stub->peers[i].len, 0);

	if (n <= 0) {
		stub_drop(stub, i);
		return;
	}
	stub->peers[i].len += (size_t)n;
	stub->peers[i].buf[stub->peers[i].len] = '\0';
	stub_serve(stub, i);
}

static inline void stub_accept(struct stub *stub)
{
	int fd = accept4(stub->listener, NULL, NULL, SOCK_CLOEXEC);

	for (unsigned i = 0; fd >= 0 && i < STUB_CONNECTIONS; i++) {
		if (stub->peers[i].fd < 0) {
			stub->peers[i].fd = fd;
			stub->peers[i].buf = calloc(1, STUB_REQUEST_MAX);
			stub->connections++;
			return;
		}
	}
	if (fd >= 0)
		(void)close(fd);
}

static inline void *stub_main(void *ctx)
{
	struct stub *stub = ctx;

	for (;;) {
		struct pollfd fds[STUB_CONNECTIONS + 2];

		fds[0] = (struct pollfd){ .fd = stub->wake[0], .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = stub->listener, .events = POLLIN };
		for (unsigned i = 0; i < STUB_CONNECTIONS; i++)
			fds[i + 2] = (struct pollfd){ .fd = stub->peers[i].fd, .events = POLLIN };
		if (poll(fds, STUB_CONNECTIONS + 2, -1) < 0)
			continue;
		if (fds[0].revents)
			return NULL;
		if (fds[1].revents)
			stub_accept(stub);
		for (unsigned i = 0; i < STUB_CONNECTIONS; i++) {
			if (fds[i + 2].fd >= 0 && fds[i + 2].revents)
				stub_read(stub, i);
		}
	}
}

static inline void stub_start(struct stub *stub,
			      void (*handler)(struct stub *, unsigned, const char *, struct stub_answer *), void *ctx)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);

	memset(stub, 0, sizeof(*stub));
	stub->handler = handler;
	stub->ctx = ctx;
	for (unsigned i = 0; i < STUB_CONNECTIONS; i++)
		stub->peers[i].fd = -1;
	stub->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(stub->listener >= 0);
	assert_int_equal(bind(stub->listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(stub->listener, STUB_CONNECTIONS), 0);
	assert_int_equal(getsockname(stub->listener, (struct sockaddr *)&addr, &len), 0);
	stub->port = ntohs(addr.sin_port);
	assert_int_equal(pipe2(stub->wake, O_CLOEXEC), 0);
	assert_int_equal(pthread_create(&stub->thread, NULL, stub_main, stub), 0);
}

static inline void stub_stop(struct stub *stub)
{
	(void)close(stub->wake[1]);
	(void)pthread_join(stub->thread, NULL);
	(void)close(stub->wake[0]);
	(void)close(stub->listener);
	for (unsigned i = 0; i < STUB_CONNECTIONS; i++) {
		if (stub->peers[i].fd >= 0)
			stub_drop(stub, i);
	}
}

#endif
