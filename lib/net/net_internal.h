/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share: messages under construction, one exchange with the kernel, and what it says no
 * with. */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/net.h"

#define NET_DOMAIN     "netlink"
#define NET_TIMEOUT_S  5      /* seconds for one answer; the kernel answers in µs, so this only catches a lost one */
#define NET_RECV_SIZE  32768U /* bytes; the kernel fills dump datagrams up to this and no further */
#define NET_DUMP_TRIES 3      /* dumps; one more only when the table changed under it, or the last was not read off */
#define NET_DUMP_MAX   (1U << 20) /* items of one dump; a full Internet table, v4 and v6, with room */
#define NET_ACK_SIZE   128        /* bytes of the kernel's extended error text, cut */
#define NET_LO_INDEX   1          /* LOOPBACK_IFINDEX: lo is born first in every namespace */

/** struct net_batch - changes that wait in net.buf, between net_batch_begin() and net_batch_end(). */
struct net_batch {
	bool on, failed; /* failed: one could not be built or kept */
	unsigned count;
	size_t size;
	struct nlmsghdr *last; /* in net.buf */
};

struct net {
	int fd;       /* owned */
	uint32_t seq; /* of the last message */
	struct net_batch batch;
	_Alignas(NLMSG_ALIGNTO) uint8_t buf[NET_RECV_SIZE];
};

/* ---- sockets ---- */

/** net_sock_new() - a bound socket of the calling thread's namespace with extended errors.
 *  @protocol: NETLINK_ROUTE, NETLINK_NETFILTER; @sock_flags: SOCK_NONBLOCK or 0. Return: the descriptor or -errno. */
int net_sock_new(int protocol, int sock_flags);
/** net_new() - the same with what net_call() and the others need around it; net_close() ends it. Return: 0 or -errno. */
int net_new(int protocol, struct net **ret);
/** net_receive() - one datagram of the kernel. Return: bytes, 0 = not from the kernel, pass over it, or -errno. */
ssize_t net_receive(int fd, void *buf, size_t size);

/* ---- messages ---- */

/** struct net_msg - a request under construction; a failed append is remembered and reported when it is sent. */
struct net_msg {
	struct nl_msg *nl;
	bool failed;
};

/** net_msg_init() - @hdr is the fixed part behind the netlink header (ifinfomsg, rtmsg, ...). */
void net_msg_init(struct net_msg *msg, int type, int flags, const void *hdr, size_t hdr_size);
void net_msg_done(struct net_msg *msg);
#define _cleanup_msg_ _cleanup_(net_msg_done)

void net_msg_put(struct net_msg *msg, int attr, const void *bytes, size_t size);
/** net_msg_raw() - a fixed part inside a nest, without an attribute header of its own (VETH_INFO_PEER). */
void net_msg_raw(struct net_msg *msg, const void *bytes, size_t size);
void net_msg_u32(struct net_msg *msg, int attr, uint32_t value);
void net_msg_str(struct net_msg *msg, int attr, const char *text);
void net_msg_addr(struct net_msg *msg, int attr, const struct ipaddr *addr);
/** net_msg_nest() - open a nest. Return: what net_msg_nest_end() wants, NULL after a failure. */
struct nlattr *net_msg_nest(struct net_msg *msg, int attr);
void net_msg_nest_end(struct net_msg *msg, struct nlattr *nest);

/* ---- exchanges ---- */

/** struct net_ack - the kernel's own words about a refusal; "" = none. */
struct net_ack {
	char text[NET_ACK_SIZE];
};

/** net_parse_fn - read one message into an item. Return: 0 kept, 1 not wanted, -errno malformed. */
typedef int (*net_parse_fn)(struct nlmsghdr *hdr, void *item);

/** net_call() - a change: send and wait for the acknowledgement, or put it behind the others of a batch. Return: 0 or
 *  -errno, then @ack is set. */
int net_call(struct net *net, struct net_msg *msg, struct net_ack *ack);
/** net_get() - a question with one answer, parsed into @item. Return: 0 or -errno, then @ack is set. */
int net_get(struct net *net, struct net_msg *msg, net_parse_fn parse, void *item, struct net_ack *ack);

/** struct net_list - what a dump brought, whole before anybody looks at it. */
struct net_list {
	void *items; /* owned */
	size_t item_size;
	size_t count, alloc;
};
void net_list_done(struct net_list *list);
#define _cleanup_list_ _cleanup_(net_list_done)

/** net_dump() - every item, again from the start when the kernel marked the dump as interrupted (NET_DUMP_TRIES).
 *  @list: item_size set, else zero. Return: 0 or -errno (-EINTR: never one consistent), then @ack is set. */
int net_dump(struct net *net, struct net_msg *msg, net_parse_fn parse, struct net_list *list, struct net_ack *ack);

/** net_stream() - a dump whose messages are shown to @see, which returns as a net_parse_fn, while it is still being read:
 *  nothing is kept, however long it is. When the kernel marked it as interrupted, it is made again from the start, so
 *  that @see may be shown things twice (NET_DUMP_TRIES). @see may use other sockets, not @net.
 *  @deadline_us: clock_boot. Return: 0, what @see failed with, or -errno (-EINTR: never one consistent). */
int net_stream(struct net *net, struct net_msg *msg, net_parse_fn see, void *arg, int64_t deadline_us,
	       struct net_ack *ack);

/* ---- errors ---- */

/** net_err_class() - what to do about a positive errno of the kernel. */
enum err_class net_err_class(int errnum);
/** net_fail() - @rc (-errno) with context and the kernel's own words. @ack may be NULL. Return: -1. */
_printf_(4, 5) int net_fail(struct err *err, int rc, const struct net_ack *ack, const char *fmt, ...);

/* ---- addresses ---- */

/** net_af() - AF_INET, AF_INET6 or AF_UNSPEC. */
uint8_t net_af(unsigned family);
/** net_family() - enum ip_family of an AF_ number. */
uint8_t net_family(unsigned af);
/** net_addr_from() - from an attribute of exactly the right size. Return: 0 or -EBADMSG. */
int net_addr_from(unsigned af, const struct nlattr *attr, struct ipaddr *ret);

/* ---- parsers of one message (RTM_NEW* and RTM_DEL* alike), net_parse_fn ---- */

/** struct net_link_info - a link and what of it only this room needs. */
struct net_link_info {
	struct net_link link;
	int master_index; /* bridge, bond, netvsc above it; 0 = none */
	int lower_index;  /* link below it in this namespace (VLAN, macvlan); 0 = none */
};
int net_parse_link(struct nlmsghdr *hdr, void *item);  /* struct net_link_info */
int net_parse_addr(struct nlmsghdr *hdr, void *item);  /* struct net_addr */
int net_parse_route(struct nlmsghdr *hdr, void *item); /* struct net_route */
int net_parse_rule(struct nlmsghdr *hdr, void *item);  /* struct net_rule */
int net_parse_qdisc(struct nlmsghdr *hdr, void *item); /* struct net_qdisc; 1: neither root nor where packets come in */

/* ---- traffic control ---- */

/** net_tbf_put() - the options of a token bucket into a message. */
void net_tbf_put(struct net_msg *msg, const struct net_tbf *tbf);
/** net_tc_fail() - net_fail() that says which @parts the kernel lacks when that is why. Return: -1. */
int net_tc_fail(struct err *err, int rc, const struct net_ack *ack, const char *what, const char *parts);

/* ---- connection tracking ---- */

/** net_conntrack_flush_on() - net_conntrack_flush() on two NETLINK_NETFILTER sockets: one that reads the table, one that
 *  deletes what the first one finds. Return: 0 or -errno, then @ack is set. */
int net_conntrack_flush_on(struct net *reader, struct net *deleter, const struct ipaddr *addrs, unsigned count,
			   int64_t deadline_us, unsigned *ret_deleted, struct net_ack *ack);

#endif
