/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of the socket: one request, one reply, never longer than the deadline. */
#include "berth/proto.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "berth/clock.h"
#include "berth/str.h"
#include "lib/proto/codec.h"

#define CALL_CHUNK    4096U                /* bytes a read; every reply but `state` fits one */
#define CALL_WAIT_MAX INT64_C(86400000000) /* µs, a day: keeps what poll() and a timeval take from overflowing */

/* µs until the deadline, at most CALL_WAIT_MAX; 0 when it has passed. */
static int64_t left_us(int64_t deadline_us)
{
	int64_t now_us = clock_now(&clock_boot);

	if (deadline_us <= now_us)
		return 0;
	return deadline_us - now_us < CALL_WAIT_MAX ? deadline_us - now_us : CALL_WAIT_MAX;
}

static int hung(const char *path, const char *what, struct err *err)
{
	return err_set_errno(err, ERR_RETRY, PROTO_DOMAIN, ETIMEDOUT, "daemon on %s: %s", path, what);
}

static enum err_class class_of_connect(int errnum)
{
	if (errnum == ENOENT || errnum == ENOTDIR)
		return ERR_NOTFOUND;
	if (errnum == EACCES || errnum == EPERM)
		return ERR_AUTH;
	return ERR_RETRY;
}

/*
 * A Unix socket connects at once, except when the listener's backlog is full: then a non-blocking connect fails with
 * EAGAIN and nothing can be polled for, while a blocking one waits its turn and obeys SO_SNDTIMEO.
 */
static int connect_until(int fd, const struct sockaddr_un *addr, int64_t deadline_us, struct err *err)
{
	int64_t us;

	while ((us = left_us(deadline_us)) > 0) {
		struct timeval wait = { .tv_sec = us / USEC_PER_SEC, .tv_usec = us % USEC_PER_SEC };

		if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0)
			return err_set_errno(err, ERR_RETRY, PROTO_DOMAIN, errno, "set the send timeout");
		if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0)
			return 0;
		if (errno != EINTR && errno != EAGAIN)
			return err_set_errno(err, class_of_connect(errno), PROTO_DOMAIN, errno,
					     "connect to daemon on %s", addr->sun_path);
	}
	return hung(addr->sun_path, "did not accept", err);
}

/* A request is smaller than any socket buffer, so that one send takes it; SO_SNDTIMEO stands behind that. */
static int send_all(int fd, const char *path, const char *bytes, size_t size, int64_t deadline_us, struct err *err)
{
	while (size > 0) {
		ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);

		if (n >= 0) {
			bytes += n;
			size -= (size_t)n;
			continue;
		}
		if (left_us(deadline_us) == 0)
			return hung(path, "did not read", err);
		/* It closed before it read: a refusal that it sent first is still there to be read. */
		if (errno == EPIPE || errno == ECONNRESET)
			return 0;
		if (errno != EINTR && errno != EAGAIN)
			return err_set_errno(err, ERR_RETRY, PROTO_DOMAIN, errno, "send to daemon on %s", path);
	}
	return 0;
}

/* Return: 1 when there is something to read (or an end), 0 to try again, -1. */
static int wait_readable(int fd, const char *path, int64_t deadline_us, struct err *err)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	int64_t us = left_us(deadline_us);
	int n;

	if (us == 0)
		return hung(path, "did not answer", err);
	n = poll(&pollfd, 1, (int)((us + USEC_PER_MSEC - 1) / USEC_PER_MSEC));
	if (n < 0 && errno != EINTR)
		return err_set_errno(err, ERR_RETRY, PROTO_DOMAIN, errno, "wait for daemon on %s", path);
	return n > 0;
}

/* Reads up to the first newline; what a daemon would send behind it is not looked at. */
static int recv_line(int fd, const char *path, int64_t deadline_us, struct strbuf *line, struct err *err)
{
	char chunk[CALL_CHUNK];

	for (;;) {
		int ready = wait_readable(fd, path, deadline_us, err);
		ssize_t n;

		if (ready < 0)
			return -1;
		if (ready == 0)
			continue;
		n = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return err_set_errno(err, ERR_RETRY, PROTO_DOMAIN, n < 0 ? errno : ECONNRESET,
					     "daemon on %s closed %s", path,
					     line->len ? "in the middle of its answer" : "without an answer");
		const char *end = memchr(chunk, '\n', (size_t)n);

		strbuf_add_bytes(line, chunk, end ? (size_t)(end - chunk) + 1 : (size_t)n);
		if (line->failed)
			return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN,
				       "answer of daemon on %s is longer than %d bytes", path, PROTO_REPLY_MAX);
		if (end)
			return 0;
	}
}

int proto_send(const char *socket_path, const struct proto_request *request, int64_t deadline_us,
	       struct proto_pending *ret, struct err *err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t size;

	assert(socket_path && request && ret);
	if (!*socket_path || str_copy(addr.sun_path, sizeof(addr.sun_path), socket_path) < 0)
		return err_set_errno(err, ERR_INVALID, PROTO_DOMAIN, ENAMETOOLONG, "socket path must be 1 to %zu bytes",
				     sizeof(addr.sun_path) - 1);
	text = proto_request_encode(request, &size);
	if (!text)
		return err_set(err, ERR_INVALID, PROTO_DOMAIN, "request cannot be encoded: no memory, or no UTF-8");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set_errno(err, ERR_RETRY, PROTO_DOMAIN, errno, "open a socket");
	if (connect_until(fd, &addr, deadline_us, err) < 0 ||
	    send_all(fd, socket_path, text, size, deadline_us, err) < 0)
		return -1;
	*ret = (struct proto_pending){ take_fd(fd), socket_path, deadline_us };
	return 0;
}

int proto_receive(const struct proto_pending *pending, struct proto_reply *ret, struct err *err)
{
	_cleanup_strbuf_ struct strbuf line = { .max_len = PROTO_REPLY_MAX };

	assert(pending && pending->fd >= 0 && ret);
	if (recv_line(pending->fd, pending->socket_path, pending->deadline_us, &line, err) < 0)
		return -1;
	if (proto_reply_decode(line.text, line.len, ret, err) < 0)
		return err_wrap(err, "answer of daemon on %s", pending->socket_path);
	return 0;
}

void proto_pending_done(struct proto_pending *pending)
{
	cleanup_close(&pending->fd);
	pending->fd = -1;
}

int proto_call(const char *socket_path, const struct proto_request *request, int64_t deadline_us,
	       struct proto_reply *ret, struct err *err)
{
	_cleanup_pending_ struct proto_pending pending = { .fd = -1 };

	if (proto_send(socket_path, request, deadline_us, &pending, err) < 0)
		return -1;
	return proto_receive(&pending, ret, err);
}
