/* SPDX-License-Identifier: Apache-2.0 */
/* What an epoll event of the daemon's one loop refers to; the switch over it is in ipamd.c. */
#ifndef IPAMD_LOOP_H
#define IPAMD_LOOP_H

enum loop_kind {
	LOOP_SIGNAL,   /* signalfd: TERM and INT end, HUP logs the state */
	LOOP_TIMER,    /* timerfd: the earliest of all deadlines */
	LOOP_EXECUTOR, /* eventfd: results are ready */
	LOOP_NETLINK,  /* links, routes or rules changed */
	LOOP_NFT,      /* an nft table changed */
	LOOP_LISTEN,   /* somebody connects */
	LOOP_CONN,     /* a connection sent bytes or went away */
	LOOP_METRICS,  /* libmicrohttpd's own epoll descriptor */
	LOOP_KIND_COUNT
};

/** struct loop_item - embedded in whatever owns the descriptor; epoll's data.ptr points at it. */
struct loop_item {
	enum loop_kind kind;
	int fd;
};

#endif
