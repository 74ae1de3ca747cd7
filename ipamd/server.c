/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: connections
 *
 *   FREE --accept--> READING --line--> WAITING --server_reply()--> (sent) FREE
 *                      |                 |                     \-> WRITING --EPOLLOUT--> FREE
 *                      |                 \--peer closed, ops->gone()--> FREE
 *                      \--bad request: error reply, like server_reply()
 *
 * Connections live in a table that is never freed before the server: an event of the same epoll batch that still points
 * at a connection which was closed meanwhile finds its slot, and every transition asks the descriptor itself instead of
 * believing the event. A reused slot therefore cannot be harmed by its predecessor's event.
 *
 * A peer may shut down its sending half after the request (as socat does) and still gets its answer; gone means that it
 * closed both halves, which the kernel reports as EPOLLHUP.
 */
#include "ipamd/server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"
#include "ipamd/loop.h"

#define SERVER_DOMAIN   "socket"
#define SERVER_LOCK     "ipamd.lock"
#define SERVER_BACKLOG  512 /* connections not accepted yet: as many as may be open */
#define SERVER_ACCEPTS  64  /* accepted per call, so that the loop gets its turn */
#define SERVER_READS    4   /* reads per event; a request fits into one, a GC of many pods into some more */
#define SERVER_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path))

enum conn_state {
	CONN_FREE,    /* slot unused */
	CONN_READING, /* the request is not complete; left by its newline, an error, or SERVER_READ_US */
	CONN_WAITING, /* the handler has it; left by server_reply() or by the peer */
	CONN_WRITING, /* the reply did not fit the socket's buffer; left when it is out, or after SERVER_WRITE_US */
};

struct server_conn {
	struct loop_item item; /* fd -1 in a free slot */
	struct server *server;
	enum conn_state state;
	bool watched;        /* known to epoll */
	int64_t deadline_us; /* READING, WRITING; 0: to be set by the next server_tick() */
	char *in;            /* READING: PROTO_GC_MAX bytes, only when the first read did not bring all */
	size_t in_size;
	char *out; /* WRITING */
	size_t out_size, out_done;
};

struct server {
	struct loop_item listener;
	int epoll_fd;
	int lock_fd;
	int spare_fd; /* given up for a moment to accept and close when descriptors run out */
	const struct server_ops *ops;
	void *ctx;
	uint64_t refused;
	unsigned next_slot;  /* behind the one that was taken last */
	unsigned open_count; /* of conns that are not FREE */
	char path[SERVER_PATH_MAX];
	struct server_conn conns[SERVER_CONNS_MAX];
};

/* ---- connections ---- */

static void conn_close(struct server_conn *conn)
{
	/* closing takes it out of the epoll set: the descriptor is never duplicated */
	cleanup_close(&conn->item.fd);
	free(conn->in);
	free(conn->out);
	conn->server->open_count -= conn->state != CONN_FREE;
	*conn = (struct server_conn){ .item = { LOOP_CONN, -1 }, .server = conn->server };
}

static int conn_watch(struct server_conn *conn, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = &conn->item };
	int op = conn->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (epoll_ctl(conn->server->epoll_fd, op, conn->item.fd, &event) < 0)
		return -errno;
	conn->watched = true;
	return 0;
}

/* Sends what is left. Closes the connection when all is out or nothing more can be. */
static void conn_flush(struct server_conn *conn)
{
	while (conn->out_done < conn->out_size) {
		ssize_t n = send(conn->item.fd, conn->out + conn->out_done, conn->out_size - conn->out_done,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			conn->out_done += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EAGAIN && conn->state == CONN_WRITING)
			return;
		if (n < 0 && errno == EAGAIN && conn_watch(conn, EPOLLOUT) == 0) {
			conn->state = CONN_WRITING;
			conn->deadline_us = 0;
			return;
		}
		break;
	}
	conn_close(conn);
}

void server_reply(struct server_conn *conn, struct proto_reply *reply)
{
	assert(conn && reply);
	assert(conn->state == CONN_READING || conn->state == CONN_WAITING);
	free(conn->in);
	conn->in = NULL;
	conn->out = proto_reply_encode(reply, &conn->out_size);
	proto_reply_done(reply);
	if (!conn->out) {
		conn_close(conn);
		return;
	}
	conn_flush(conn);
}

/* Refuses a request with @error; the connection ends. */
static void conn_refuse(struct server_conn *conn, const struct err *error)
{
	struct proto_reply reply = { .ok = false, .error = *error };

	conn->server->refused++;
	server_reply(conn, &reply);
}

static void conn_request(struct server_conn *conn, const char *line, size_t size)
{
	struct server *server = conn->server;
	_cleanup_request_ struct proto_request request = { 0 };
	struct err err;

	if (proto_request_decode(line, size, &request, &err) < 0) {
		conn_refuse(conn, &err);
		return;
	}
	free(conn->in);
	conn->in = NULL;
	conn->state = CONN_WAITING;
	conn->deadline_us = INT64_MAX;
	server->ops->request(server->ctx, conn, &request);
	/* Not answered yet: from now on only the peer's end matters, which epoll reports unasked. */
	if (conn->state == CONN_WAITING && conn_watch(conn, 0) < 0) {
		server->ops->gone(server->ctx, conn);
		conn_close(conn);
	}
}

static void conn_protocol_error(struct server_conn *conn, const char *what)
{
	struct err err;

	(void)err_set(&err, ERR_PROTOCOL, SERVER_DOMAIN, "%s", what);
	conn_refuse(conn, &err);
}

/* Looks at @size more bytes behind the @conn->in_size that are there; @buf is where they all are. Return: go on? */
static bool conn_input(struct server_conn *conn, char *buf, size_t size)
{
	const char *end = memchr(buf + conn->in_size, '\n', size);

	conn->in_size += size;
	if (end) {
		conn_request(conn, buf, (size_t)(end - buf) + 1);
		return false;
	}
	if (conn->in_size >= PROTO_GC_MAX) {
		conn_protocol_error(conn, "request is longer than 81920 bytes");
		return false;
	}
	if (!conn->in) {
		conn->in = malloc(PROTO_GC_MAX);
		if (!conn->in) {
			conn_close(conn);
			return false;
		}
		memcpy(conn->in, buf, conn->in_size);
	}
	return true;
}

static void conn_read(struct server_conn *conn)
{
	char first[PROTO_REQUEST_MAX];

	static_assert(PROTO_GC_MAX == 81920, "named in a message");
	for (int i = 0; i < SERVER_READS; i++) {
		/* cppcheck-suppress legacyUninitvar ; recv() fills it */
		char *buf = conn->in ? conn->in : first;
		size_t size = conn->in ? PROTO_GC_MAX : sizeof(first);
		ssize_t n = recv(conn->item.fd, buf + conn->in_size, size - conn->in_size, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0) {
			conn->server->refused++;
			conn_close(conn);
			return;
		}
		if (n == 0) {
			conn_protocol_error(conn, "connection ended before the newline of the request");
			return;
		}
		if (!conn_input(conn, buf, (size_t)n))
			return;
	}
	if (!conn->watched && conn_watch(conn, EPOLLIN | EPOLLRDHUP) < 0)
		conn_close(conn);
}

/* Did the peer close both halves? Asked of the descriptor: the event may be an old one of this slot. */
static bool conn_is_gone(const struct server_conn *conn)
{
	struct pollfd pfd = { .fd = conn->item.fd };

	return poll(&pfd, 1, 0) == 1 && (pfd.revents & (POLLHUP | POLLERR));
}

void server_conn_event(struct server *server, struct loop_item *item, uint32_t events, int64_t now_us)
{
	struct server_conn *conn = (struct server_conn *)item;

	static_assert(offsetof(struct server_conn, item) == 0, "an item is its connection");
	assert(conn->server == server);
	(void)events;
	(void)now_us;
	switch (conn->state) {
	case CONN_FREE:
		break;
	case CONN_READING:
		conn_read(conn);
		break;
	case CONN_WAITING:
		if (!conn_is_gone(conn))
			break;
		server->ops->gone(server->ctx, conn);
		conn_close(conn);
		break;
	case CONN_WRITING:
		conn_flush(conn);
		break;
	}
}

/* ---- accepting ---- */

/* The next free slot, in turn, so that a slot rests as long as it can. Return: NULL when all are in use. */
static struct server_conn *take_slot(struct server *server)
{
	for (unsigned i = 0; i < SERVER_CONNS_MAX; i++) {
		unsigned slot = (server->next_slot + i) % SERVER_CONNS_MAX;

		if (server->conns[slot].state != CONN_FREE)
			continue;
		server->next_slot = slot + 1;
		return &server->conns[slot];
	}
	return NULL;
}

/* No slot for @fd: says so if the peer's buffer takes it, and closes. */
static void refuse_full(struct server *server, int fd)
{
	struct proto_reply reply = { .ok = false };
	_cleanup_free_ char *line = NULL;
	size_t size;

	server->refused++;
	(void)err_set(&reply.error, ERR_EXHAUSTED, SERVER_DOMAIN, "%d connections are open, as many as there may be",
		      SERVER_CONNS_MAX);
	line = proto_reply_encode(&reply, &size);
	/* what does not fit is lost: the end of the connection tells it too */
	if (line)
		(void)send(fd, line, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)close(fd);
}

static void refuse_uid(struct server_conn *conn, int64_t uid)
{
	struct err err;

	(void)err_set(&err, ERR_AUTH, SERVER_DOMAIN, "uid %lld may not use this socket, only uid 0", (long long)uid);
	conn_refuse(conn, &err);
}

static void adopt(struct server *server, int fd, int64_t now_us)
{
	struct server_conn *conn = take_slot(server);
	struct ucred peer = { .uid = (uid_t)-1 };
	socklen_t size = sizeof(peer);

	if (!conn) {
		refuse_full(server, fd);
		return;
	}
	server->open_count++;
	conn->item.fd = fd;
	conn->state = CONN_READING;
	conn->deadline_us = now_us + SERVER_READ_US;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.uid != 0)
		refuse_uid(conn, (int64_t)peer.uid);
	else
		conn_read(conn);
}

/* Out of descriptors: the connection that waits would make the listener readable for ever. The kernel looks for a
 * descriptor before it looks for a connection. Return: was there one? */
static bool shed(struct server *server)
{
	int fd;

	cleanup_close(&server->spare_fd);
	fd = accept4(server->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0) {
		server->refused++;
		(void)close(fd);
	}
	server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return fd >= 0;
}

void server_accept(struct server *server, int64_t now_us)
{
	for (int i = 0; i < SERVER_ACCEPTS; i++) {
		int fd = accept4(server->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0)
			adopt(server, fd, now_us);
		else if (errno != ECONNABORTED && errno != EINTR &&
			 !((errno == EMFILE || errno == ENFILE) && shed(server)))
			return;
	}
}

int64_t server_tick(struct server *server, int64_t now_us)
{
	int64_t next_us = INT64_MAX;
	unsigned left = server->open_count;

	/* From the latest back: what is open is nearly always among the last few. */
	for (unsigned i = 1; i <= SERVER_CONNS_MAX && left > 0; i++) {
		struct server_conn *conn =
			&server->conns[(server->next_slot + SERVER_CONNS_MAX - i) % SERVER_CONNS_MAX];

		left -= conn->state != CONN_FREE;
		if (conn->state == CONN_READING && conn->deadline_us <= now_us)
			conn_protocol_error(conn, "request was not complete in time");
		if (conn->state == CONN_WRITING && conn->deadline_us == 0)
			conn->deadline_us = now_us + SERVER_WRITE_US;
		else if (conn->state == CONN_WRITING && conn->deadline_us <= now_us)
			conn_close(conn);
		if ((conn->state == CONN_READING || conn->state == CONN_WRITING) && conn->deadline_us < next_us)
			next_us = conn->deadline_us;
	}
	return next_us;
}

uint64_t server_refused(const struct server *server)
{
	return server->refused;
}

/* ---- start and end ---- */

/* The directory with its mode: what is in it (leases, socket) is for root alone. */
static int open_dir(const char *run_dir, struct err *err)
{
	struct stat st;
	int r = fs_mkdir_p(run_dir, 0700);

	if (r < 0)
		return err_set_errno(err, ERR_INVALID, SERVER_DOMAIN, -r, "make %s", run_dir);
	if (lstat(run_dir, &st) < 0)
		return err_set_errno(err, ERR_INVALID, SERVER_DOMAIN, errno, "look at %s", run_dir);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
		return err_set(err, ERR_INVALID, SERVER_DOMAIN, "%s is no directory of uid %u", run_dir, geteuid());
	if ((st.st_mode & 07777) != 0700 && chmod(run_dir, 0700) < 0)
		return err_set_errno(err, ERR_INVALID, SERVER_DOMAIN, errno, "chmod 0700 %s", run_dir);
	return 0;
}

/* Held while the server lives: two daemons that start at once must not take each other's socket for a stale one. */
static int open_lock(struct server *server, const char *run_dir, struct err *err)
{
	char path[SERVER_PATH_MAX + sizeof(SERVER_LOCK)];

	(void)snprintf(path, sizeof(path), "%s/%s", run_dir, SERVER_LOCK);
	server->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (server->lock_fd < 0)
		return err_set_errno(err, ERR_INVALID, SERVER_DOMAIN, errno, "open %s", path);
	if (flock(server->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return err_set(err, ERR_CONFLICT, SERVER_DOMAIN, "another daemon runs in %s", run_dir);
	return err_set_errno(err, ERR_INVALID, SERVER_DOMAIN, errno, "lock %s", path);
}

/* Removes a socket that nobody answers on. A daemon that answers without our lock (another mount of the lock's file
 * system, an older release) is refused too. */
static int clear_stale(const struct sockaddr_un *addr, struct err *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return err_set_errno(err, ERR_RETRY, SERVER_DOMAIN, errno, "socket");
	/* EAGAIN: somebody listens and is busy */
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN)
		return err_set(err, ERR_CONFLICT, SERVER_DOMAIN, "another daemon answers on %s", addr->sun_path);
	if (errno != ECONNREFUSED && errno != ENOENT)
		return err_set_errno(err, ERR_INVALID, SERVER_DOMAIN, errno, "%s is in the way", addr->sun_path);
	r = fs_unlink(addr->sun_path);
	if (r < 0)
		return err_set_errno(err, ERR_INVALID, SERVER_DOMAIN, -r, "remove stale %s", addr->sun_path);
	return 0;
}

static int open_listener(struct server *server, struct err *err)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = &server->listener };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	memcpy(addr.sun_path, server->path, sizeof(addr.sun_path));
	if (clear_stale(&addr, err) < 0)
		return -1;
	fd = server->listener.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set_errno(err, ERR_RETRY, SERVER_DOMAIN, errno, "socket");
	/* The mode before the name exists: there is no moment at which others could connect. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(fd, SERVER_BACKLOG) < 0)
		return err_set_errno(err, ERR_INVALID, SERVER_DOMAIN, errno, "listen on %s", server->path);
	if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return err_set_errno(err, ERR_BUG, SERVER_DOMAIN, errno, "watch %s", server->path);
	return 0;
}

static struct server *server_new(int epoll_fd, const struct server_ops *ops, void *ctx)
{
	struct server *server = calloc(1, sizeof(*server));

	if (!server)
		return NULL;
	server->epoll_fd = epoll_fd;
	server->ops = ops;
	server->ctx = ctx;
	server->lock_fd = -1;
	server->listener = (struct loop_item){ LOOP_LISTEN, -1 };
	server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	for (unsigned i = 0; i < SERVER_CONNS_MAX; i++) {
		server->conns[i].item = (struct loop_item){ LOOP_CONN, -1 };
		server->conns[i].server = server;
	}
	return server;
}

int server_open(const char *run_dir, int epoll_fd, const struct server_ops *ops, void *ctx, struct server **ret,
		struct err *err)
{
	struct server *server;
	int len;

	assert(run_dir && ops && ops->request && ops->gone && ret);
	server = server_new(epoll_fd, ops, ctx);
	if (!server)
		return err_set(err, ERR_RETRY, SERVER_DOMAIN, "no memory");
	len = snprintf(server->path, sizeof(server->path), "%s/%s", run_dir, PROTO_SOCKET);
	if (len < 0 || (size_t)len >= sizeof(server->path)) {
		server->path[0] = '\0';
		(void)err_set(err, ERR_INVALID, SERVER_DOMAIN, "%s/%s is longer than a socket's name may be (%zu)",
			      run_dir, PROTO_SOCKET, sizeof(server->path) - 1);
	} else if (open_dir(run_dir, err) == 0 && open_lock(server, run_dir, err) == 0 &&
		   open_listener(server, err) == 0) {
		*ret = server;
		return 0;
	}
	server_close(server);
	return -1;
}

void server_close(struct server *server)
{
	if (!server)
		return;
	for (unsigned i = 0; i < SERVER_CONNS_MAX; i++)
		conn_close(&server->conns[i]);
	/* Only who listens may remove the name: a refused second daemon comes through here too. */
	if (server->listener.fd >= 0)
		(void)fs_unlink(server->path);
	cleanup_close(&server->listener.fd);
	cleanup_close(&server->spare_fd);
	cleanup_close(&server->lock_fd);
	free(server);
}
