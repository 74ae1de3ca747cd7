/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Unix socket: RUN_DIR/ipamd.sock, directory 0700, socket 0600, SO_PEERCRED uid 0 only. One request per connection,
 * a JSON line of at most PROTO_GC_MAX bytes that must be complete within SERVER_READ_US. A handler may answer at
 * once or keep the connection and answer later (an ADD that waits); if the peer goes away first, `gone` is called.
 * Everything is non-blocking and runs on the loop thread.
 */
#ifndef IPAMD_SERVER_H
#define IPAMD_SERVER_H

#include <stdint.h>

#include "berth/proto.h"

struct err;
struct server;
struct server_conn;

#define SERVER_CONNS_MAX 512 /* at once: 250 pods starting, each with one ADD, and status beside them */
#define SERVER_READ_US   (5 * INT64_C(1000000)) /* µs for the request to arrive */
#define SERVER_WRITE_US  (5 * INT64_C(1000000)) /* µs for a peer to take a reply that did not fit its buffer */

struct server_ops {
	/** request - a decoded request; answer with server_reply(), now or later, exactly once. */
	void (*request)(void *ctx, struct server_conn *conn, const struct proto_request *request);
	/** gone - the peer closed before it was answered; @conn is invalid afterwards. */
	void (*gone)(void *ctx, struct server_conn *conn);
};

/** server_open() - makes the directory, refuses to start when another daemon answers on the socket, replaces a stale
 * one.
 *  @epoll_fd: where the server registers its descriptors with data.ptr = a struct loop_item (loop.h). */
int server_open(const char *run_dir, int epoll_fd, const struct server_ops *ops, void *ctx, struct server **ret,
		struct err *err);
/** server_close() - closes connections unanswered, removes the socket. NULL is fine. */
void server_close(struct server *server);
/** server_accept() - the listening descriptor is readable. */
void server_accept(struct server *server, int64_t now_us);
struct loop_item;
/** server_conn_event() - a connection's descriptor has @events. */
void server_conn_event(struct server *server, struct loop_item *item, uint32_t events, int64_t now_us);
/** server_reply() - encode, send, close; takes @reply's contents (proto_reply_done). */
void server_reply(struct server_conn *conn, struct proto_reply *reply);
/** server_tick() - end what did not send its request or take its reply in time. Called once per turn of the loop, after
 *  the events of that turn: the deadline of a reply that is still being sent starts here.
 *  Return: when to call again, INT64_MAX = never. */
int64_t server_tick(struct server *server, int64_t now_us);
/** server_refused() - connections refused since the start: wrong uid, over SERVER_CONNS_MAX, bad request. */
uint64_t server_refused(const struct server *server);

#endif
