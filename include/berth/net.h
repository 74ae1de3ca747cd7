/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: our words for the kernel
 *
 * A struct net is one rtnetlink socket, born in one network namespace and speaking for that namespace whatever thread
 * uses it later. Calls are synchronous, one request and its acknowledgement each (4-8 µs for a route), and are made
 * from one thread at a time. "Idempotent" below means that repeating the call is success; nothing is ever retried
 * inside except a dump that the kernel marked as interrupted (bounded). A walk reads its whole dump before it calls
 * back, so that each object is shown once and the callback may make requests on the same socket; it returns what the
 * callback returned to end it (not 0), 0 at the end, -1 with the error set when the dump failed.
 *
 * Errors of all calls, domain "netlink": NOTFOUND (ENODEV, ESRCH, ENOENT, EADDRNOTAVAIL), CONFLICT (EEXIST), EXHAUSTED
 * (ENOBUFS, ENOMEM, EMFILE), AUTH (EPERM, EACCES), RETRY (EBUSY, EINTR, EAGAIN, ENETDOWN: the device is not up, timeout
 * of 5 s), PROTOCOL (an answer that cannot be read), INVALID (EINVAL, ERANGE, EOPNOTSUPP and every other); code =
 * errno; the message holds the kernel's own words where it has some.
 */
#ifndef BERTH_NET_H
#define BERTH_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "berth/attr.h"
#include "berth/ipaddr.h"

struct err;
struct net;

#define NET_IFNAME_SIZE 16 /* IFNAMSIZ */

/* ---- sockets and namespaces ---- */

/** net_open() - a socket of the calling thread's network namespace. */
int net_open(struct net **ret, struct err *err);
/** net_open_ns() - a socket of the namespace behind @netns_fd; the thread is back in its own namespace afterwards. */
int net_open_ns(int netns_fd, struct net **ret, struct err *err);
/** net_open_beside() - the same for who has a socket of the thread's own namespace (@here): then no path of /proc is
 *  walked, 20 µs. *@ret_same: @netns_fd is that namespace. */
int net_open_beside(const struct net *here, int netns_fd, bool *ret_same, struct net **ret, struct err *err);
/** net_close() - NULL is fine. */
void net_close(struct net *net);
static inline void net_closep(struct net **net)
{
	net_close(*net);
}
#define _cleanup_net_ _cleanup_(net_closep)

/**
 * net_batch_begin() - collect what is to be changed on @net from here on, to have it made by net_batch_end()
 *
 * Every call that makes, sets or removes something returns 0 at once. Nothing may be asked meanwhile, so neither may
 * anything be removed that is asked for first (routes of IPv6 without a device).
 */
void net_batch_begin(struct net *net);
/**
 * net_batch_end() - have the changes made, in their order, in one exchange
 *
 * The kernel goes on behind one that it refuses, and what is success for a single call (an address that is there) is a
 * refusal here. Whoever wants to know which one it was makes all of them again one by one.
 * Return: 0 when all were made. Errors: that of the first one that was refused, without saying which.
 */
int net_batch_end(struct net *net, struct err *err);

/** netns_open() - open a namespace by path (/run/netns/x, /proc/PID/ns/net). Return via *ret_fd, CLOEXEC.
 *  Errors: NOTFOUND when the path is gone or no namespace is mounted there (it says which), INVALID, AUTH. */
int netns_open(const char *path, int *ret_fd, struct err *err);
/** netns_is_current() - is it the calling thread's own namespace? */
bool netns_is_current(int netns_fd);
/** netns_cookie() - inode of the namespace, an identity that is not reused while it lives; 0 on error. */
uint64_t netns_cookie(int netns_fd);
/** netns_run() - call @fn, which must return, with the calling thread inside the namespace; always returns to its own,
 *  also when @fn failed. If there is no way back, the process says so on stderr and aborts: a thread that goes on in a
 *  pod's namespace does more harm than a restart.
 *  Return: what @fn returned, or -1 with @err set when the namespace could not be entered. */
int netns_run(int netns_fd, int (*fn)(void *arg, struct err *err), void *arg, struct err *err);
/** netns_add() - make /run/netns/@name as `ip netns add` does, lo up. Errors: CONFLICT when it exists. */
int netns_add(const char *name, struct err *err);
/** netns_del() - unmount and remove /run/netns/@name; a missing one is success. */
int netns_del(const char *name, struct err *err);

/* ---- links ---- */

struct net_link {
	int index;
	int peer_index; /* of a veth, in the peer's namespace (IFLA_LINK); 0 = none */
	char name[NET_IFNAME_SIZE];
	char kind[NET_IFNAME_SIZE]; /* "veth", "dummy", ...; "" for hardware */
	struct macaddr mac;
	unsigned mtu;
	bool up; /* IFF_UP */
};

/** net_link_by_name() - one question to the kernel, no dump. Errors: NOTFOUND, INVALID (empty or too long). */
int net_link_by_name(struct net *net, const char *name, struct net_link *ret, struct err *err);
/** net_link_by_index() - the same by index (positive). Errors: NOTFOUND. */
int net_link_by_index(struct net *net, int index, struct net_link *ret, struct err *err);
/** net_link_by_mac() - the one link of that MAC that is no veth peer of a pod: names that start with @skip_prefix are
 *  passed over (NULL or "": none). A link whose master, or whose link below, has the same MAC is a part of that NIC
 *  (the VF below netvsc, a bond's slave, a VLAN) and is passed over too. Walks all links: the kernel has no other way.
 *  Errors: NOTFOUND, CONFLICT when two carry it. */
int net_link_by_mac(struct net *net, const struct macaddr *mac, const char *skip_prefix, struct net_link *ret,
		    struct err *err);
/** net_links() - call @fn for each link; a non-zero return of @fn ends the walk and is returned. */
int net_links(struct net *net, int (*fn)(const struct net_link *link, void *arg), void *arg, struct err *err);
/** net_link_set_up() - idempotent; IFF_UP on or off. Errors: NOTFOUND. */
int net_link_set_up(struct net *net, int index, bool up, struct err *err);
/** net_link_set_mtu() - idempotent. Errors: NOTFOUND, INVALID with the device's limit in the message. */
int net_link_set_mtu(struct net *net, int index, unsigned mtu, struct err *err);
/** net_link_set_mac() - idempotent. Errors: NOTFOUND, INVALID (no address of a single host). */
int net_link_set_mac(struct net *net, int index, const struct macaddr *mac, struct err *err);
/** net_link_make_no_addrs() - the kernel gives the link no IPv6 address of its own making, hence neither link-local
 *  address nor duplicate detection nor router solicitation (addrgenmode none). Only before it is up: addresses that it
 *  has stay. Errors: NOTFOUND, INVALID (EAFNOSUPPORT: the link has no IPv6: kernel without it, or an MTU under 1280). */
int net_link_make_no_addrs(struct net *net, int index, struct err *err);
/** net_link_rename() - before kernel 6.2 only while it is down (RETRY). Errors: NOTFOUND, CONFLICT, INVALID. */
int net_link_rename(struct net *net, int index, const char *name, struct err *err);
/** net_link_del() - synchronous, waits for an RCU grace period (14-60 ms); a missing link is NOTFOUND. */
int net_link_del(struct net *net, int index, struct err *err);

/** struct net_veth - a pair born in place: one RTM_NEWLINK, nothing is ever moved. Both ends get one queue each way,
 * the number that the kernel would have put to use anyway; its default is to make one per possible CPU. */
struct net_veth {
	const char *name;          /* here, in @net's namespace */
	const struct macaddr *mac; /* explicit, so that udev keeps its hands off; NULL: kernel's choice */
	int peer_netns_fd;         /* where the other end is born; -1: here too */
	const char *peer_name;
	const struct macaddr *peer_mac; /* NULL: kernel's choice */
	unsigned mtu;                   /* of both ends; 0: kernel's default */
	bool up;                        /* set IFF_UP on this end at birth where the kernel takes it */
};
/** net_twin_mac() - what berth calls the other end of a pair whose near end has @mac: the lowest bit is flipped, so that
 *  who sees one end knows how to reach the other. */
static inline struct macaddr net_twin_mac(const struct macaddr *mac)
{
	struct macaddr twin = *mac;

	twin.bytes[MACADDR_LEN - 1] ^= 1U;
	return twin;
}
/** net_named_mac() - the MAC of a near end that is known by @name: always the same one, locally administered, lowest bit
 *  0, so that whoever finds another one there can put it back. */
static inline struct macaddr net_named_mac(const char *name)
{
	uint64_t hash = 0xcbf29ce484222325U; /* FNV-1a of 64 bits */
	struct macaddr mac;

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 0x100000001b3U;
	for (unsigned i = 0; i < MACADDR_LEN; i++)
		mac.bytes[i] = (uint8_t)(hash >> (8 * i));
	mac.bytes[0] = (uint8_t)((mac.bytes[0] & 0xfcU) | 0x02U);
	mac.bytes[MACADDR_LEN - 1] &= 0xfeU;
	return mac;
}
/** net_veth_add() - Errors: CONFLICT when either name exists (the message says which, when known). */
int net_veth_add(struct net *net, const struct net_veth *veth, struct err *err);

/* ---- traffic control ---- */

/** struct net_tbf - a token bucket: so much may leave by a link. Frames count with their Ethernet header. */
struct net_tbf {
	uint64_t rate; /* bytes per second, not 0 */
	uint32_t
		burst; /* bytes of the bucket, not 0; a larger frame never leaves, a larger GSO packet is cut into frames */
	uint32_t limit; /* bytes that may wait; what comes beyond them is dropped */
};
/** net_tbf_set() - the bucket is the root of @index's queueing from now on, whatever was. Idempotent. Errors: NOTFOUND,
 *  INVALID (code ENOENT: kernel without sch_tbf). */
int net_tbf_set(struct net *net, int index, const struct net_tbf *tbf, struct err *err);
/** net_ifb_add() - a link that hands back what is sent through it; down. Errors: CONFLICT (the name is taken), INVALID
 *  (code EOPNOTSUPP: kernel without ifb). */
int net_ifb_add(struct net *net, const char *name, unsigned mtu, struct err *err);
/** net_redirect_set() - all that comes in by @index is sent through the ifb @to before anything else is done with it, in
 *  place of one that was set before. Filters of others, and what they hang in, stay. Errors: NOTFOUND, INVALID (code ENOENT:
 *  the message names what the kernel lacks). */
int net_redirect_set(struct net *net, int index, int to, struct err *err);
/** net_redirect_get() - where to; *ret_to is 0 where none was set, or its link is gone. */
int net_redirect_get(struct net *net, int index, int *ret_to, struct err *err);
/** struct net_qdisc - what queues at a link, or hangs where packets come in. */
struct net_qdisc {
	int index;
	bool ingress;               /* where packets come in, else the root */
	char kind[NET_IFNAME_SIZE]; /* "tbf", "noqueue", "clsact", ...; IFNAMSIZ is the kernel's limit of these too */
	struct net_tbf tbf;         /* of a tbf; @burst may have lost some bytes to the kernel's ticks of 64 ns */
};
/** net_qdiscs() - call @fn for each of every link. */
int net_qdiscs(struct net *net, int (*fn)(const struct net_qdisc *qdisc, void *arg), void *arg, struct err *err);

/* ---- addresses ---- */

enum net_addr_flags {
	NET_ADDR_NOPREFIXROUTE = 1 << 0,
	NET_ADDR_NODAD = 1 << 1,
};
/** net_addr_add() - idempotent: one that is there stays as it is, with its lifetime and flags. */
int net_addr_add(struct net *net, int index, const struct ipaddr *addr, unsigned prefix_len, unsigned flags,
		 struct err *err);
/** net_addr_del() - a missing address is success. */
int net_addr_del(struct net *net, int index, const struct ipaddr *addr, unsigned prefix_len, struct err *err);
/** struct net_addr - an address that some link has; of a point-to-point link the near one. */
struct net_addr {
	int index;
	struct ipaddr addr;
	uint8_t prefix_len;
};
/** net_addrs() - call @fn for each address of both families. */
int net_addrs(struct net *net, int (*fn)(const struct net_addr *addr, void *arg), void *arg, struct err *err);

/* ---- routes ---- */

enum net_route_type {
	NET_ROUTE_UNICAST,
	NET_ROUTE_UNREACHABLE,
	NET_ROUTE_BLACKHOLE,
	NET_ROUTE_LOCAL,
	NET_ROUTE_THROW, /* not in this table: the next rule decides */
	NET_ROUTE_OTHER
};

#define NET_TABLE_MAIN  254U
#define NET_TABLE_LOCAL 255U

struct net_route {
	struct prefix dst; /* default route: family set, len 0 */
	enum net_route_type type;
	uint32_t table;        /* 0: main */
	int oif;               /* 0: none (unreachable) */
	struct ipaddr gateway; /* family 0: none, then scope link */
	bool onlink;
	struct ipaddr src; /* preferred source; family 0: none */
	uint8_t protocol;  /* BERTH_RTPROT for all that we make */
	uint32_t mtu;      /* 0: the link's */
	uint32_t metric;   /* 0: the kernel's default; only set, never shown */
};
/** net_route_replace() - NLM_F_CREATE | NLM_F_REPLACE: the one route of that dst, table and metric becomes this,
 * whosever it was: the kernel compares no protocol here. Errors: NOTFOUND (oif), RETRY (oif is down), INVALID (gateway
 * not on link). */
int net_route_replace(struct net *net, const struct net_route *route, struct err *err);
/** net_route_del() - matches dst, table, type, protocol, and oif when set; a missing route is success. */
int net_route_del(struct net *net, const struct net_route *route, struct err *err);
/** net_routes() - every route of @family and @table (0: all tables). */
int net_routes(struct net *net, enum ip_family family, uint32_t table,
	       int (*fn)(const struct net_route *route, void *arg), void *arg, struct err *err);

/* ---- rules ---- */

struct net_rule {
	enum ip_family family;
	uint32_t priority;
	uint32_t fwmark, fwmask;
	uint32_t table;
	uint8_t protocol; /* BERTH_RTPROT */
};
/** net_rule_add() - idempotent: an equal rule is success; one of another protocol is not equal. Errors: INVALID
 * (priority or table 0). */
int net_rule_add(struct net *net, const struct net_rule *rule, struct err *err);
/** net_rule_del() - matches all fields, protocol too; a missing rule is success. */
int net_rule_del(struct net *net, const struct net_rule *rule, struct err *err);
/** net_rules() - every rule of @family; selectors other than fwmark (of others' rules) are not shown. */
int net_rules(struct net *net, enum ip_family family, int (*fn)(const struct net_rule *rule, void *arg), void *arg,
	      struct err *err);

/* ---- neighbours ---- */

/** net_neigh_set_permanent() - idempotent (replace). */
int net_neigh_set_permanent(struct net *net, int index, const struct ipaddr *addr, const struct macaddr *mac,
			    struct err *err);
/** struct net_neigh - who has an address, as a link knows it. */
struct net_neigh {
	int index;
	struct ipaddr addr;
	struct macaddr mac; /* zero: not known (yet) */
	bool permanent;
};
/** net_neighs() - every neighbour of @family on every link. */
int net_neighs(struct net *net, enum ip_family family, int (*fn)(const struct net_neigh *neigh, void *arg), void *arg,
	       struct err *err);

/* ---- connection tracking ---- */

/**
 * net_conntrack_flush() - forget every tracked flow of some addresses, of both families
 * @addrs: @count of them; a flow goes when either direction has one of them as source or destination
 * @deadline_us: clock_boot; the whole table is read once, whatever @count is: 150 ms for 100,000 flows, so batch
 * @ret_deleted: how many flows went
 *
 * A kernel without connection tracking has nothing to forget: success. An interrupted call may be repeated.
 * Errors: RETRY (deadline; a flow that a flowtable has taken over cannot be deleted now: all others are gone), AUTH.
 * Context: any thread; makes sockets of its own in the calling thread's network namespace.
 */
int net_conntrack_flush(const struct ipaddr *addrs, unsigned count, int64_t deadline_us, unsigned *ret_deleted,
			struct err *err);

/** struct net_port - a port of this node and where flows to it lead. */
struct net_port {
	struct ipaddr host_addr; /* of the node; all zero: any of that family */
	struct ipaddr to;        /* of the same family; family 0: nowhere, the port is the node's own */
	uint16_t host_port, to_port;
	uint8_t protocol;
};
/** net_port_cmp() - by the node's end: family, address (any of them first), protocol, port. */
static inline int net_port_cmp(const struct net_port *a, const struct net_port *b)
{
	int r = ipaddr_cmp(&a->host_addr, &b->host_addr);

	if (r == 0)
		r = (int)a->protocol - (int)b->protocol;
	return r ? r : (int)a->host_port - (int)b->host_port;
}
/**
 * net_conntrack_flush_ports() - forget the flows to ports of this node that do not lead where they shall
 * @ports: @count of them, no two equal by net_port_cmp(); one of a single address goes before that of any address
 * @skip_link: name of a link whose addresses do not count as this node's; NULL: none
 * @deadline_us, @ret_deleted: as above
 *
 * A tracked flow keeps the destination that its first packet got, UDP for as long as somebody sends. Flows to addresses
 * that are not this node's, and flows that are right, stay. Errors and context: as above.
 */
int net_conntrack_flush_ports(const struct net_port *ports, unsigned count, const char *skip_link, int64_t deadline_us,
			      unsigned *ret_deleted, struct err *err);

/* ---- watching ---- */

struct net_monitor;

enum net_event_kind {
	NET_EVENT_LINK, /* new or changed */
	NET_EVENT_LINK_GONE,
	NET_EVENT_ROUTE_GONE,
	NET_EVENT_RULE_GONE,
	NET_EVENT_ADDR, /* new, or added again */
	NET_EVENT_ADDR_GONE,
	NET_EVENT_TC_GONE, /* a token bucket, what hangs where packets come in, or a filter there; or it was replaced */
	NET_EVENT_SYSCTL, /* rp_filter or forwarding, of whatever link; the kernel announces no others of those we set */
	NET_EVENT_OVERFLOW,
};
/** struct net_event - the kernel announces no IPv4 route or address that died with its link, and no route that a
 *  replacement took the place of: LINK, LINK_GONE and looking again from time to time must do. */
struct net_event {
	enum net_event_kind kind;
	struct net_link link;   /* LINK, LINK_GONE */
	bool born;              /* LINK: this is its first sight */
	struct net_route route; /* ROUTE_GONE */
	struct net_rule rule;   /* RULE_GONE */
	struct net_addr addr;   /* ADDR, ADDR_GONE */
	int tc_index;           /* TC_GONE: of the link */
};
/** net_monitor_open() - links and addresses, and removed routes, rules and shapers of the calling thread's namespace; of
 *  IPv6 no link-local address that comes.
 *  @quiet: how the names of links begin that may be born and set up without a word; NULL: none. */
int net_monitor_open(const char *quiet, struct net_monitor **ret, struct err *err);
/** net_monitor_close() - NULL is fine. */
void net_monitor_close(struct net_monitor *monitor);
/** net_monitor_fd() - borrowed, non-blocking, for epoll. */
int net_monitor_fd(const struct net_monitor *monitor);
/** net_monitor_read() - drain what is there, at most 256 messages a call. OVERFLOW: events were lost, look at
 * everything. */
int net_monitor_read(struct net_monitor *monitor, void (*fn)(const struct net_event *event, void *arg), void *arg,
		     struct err *err);

/* ---- watching an nft table ---- */

struct net_nft_watch;

/** struct net_nft_touch - what happened to the table since the last look. */
struct net_nft_touch {
	bool touched; /* something of it came, changed or went */
	bool lost;    /* more happened than could be kept */
	bool forward; /* a base chain of another table came or changed, a rule of a chain FORWARD, or a table went */
	uint32_t by;  /* touched: netlink address of who did it last: the process ID of an nft program */
};
/** net_nft_watch_open() - `table inet @table` of the calling thread's namespace, whether it is there or not. */
int net_nft_watch_open(const char *table, struct net_nft_watch **ret, struct err *err);
/** net_nft_watch_close() - NULL is fine. */
void net_nft_watch_close(struct net_nft_watch *watch);
/** net_nft_watch_fd() - borrowed, non-blocking, for epoll. */
int net_nft_watch_fd(const struct net_nft_watch *watch);
/** net_nft_watch_read() - drain what is there, at most 256 datagrams a call. */
int net_nft_watch_read(struct net_nft_watch *watch, struct net_nft_touch *ret, struct err *err);

/* ---- who changes marks ---- */

#define NET_NFT_NAME_SIZE 64 /* bytes of a table's or chain's name that are kept */

/** struct net_nft_mark - a rule that changes the mark of a packet or of its connection. */
struct net_nft_mark {
	const char *family; /* "ip", "ip6", "inet", ... */
	char table[NET_NFT_NAME_SIZE];
	char chain[NET_NFT_NAME_SIZE];
	bool ct;       /* of the connection */
	uint32_t bits; /* that may have another value afterwards */
};
/** net_nft_marks() - call @fn for each such rule but those of `table inet @skip_table`, iptables-nft's among them; a non-zero
 *  return of @fn ends the walk and is returned. A rule may be shown twice when rules change meanwhile. A kernel without
 *  nftables has none. @deadline_us: clock_boot. Context: any thread; a socket of its own in the thread's namespace. */
int net_nft_marks(const char *skip_table, int64_t deadline_us, int (*fn)(const struct net_nft_mark *mark, void *arg),
		  void *arg, struct err *err);

/* ---- who else decides about what the node forwards ---- */

#define NET_CHAIN_NAME_SIZE 64 /* longer names, up to nft's 255, are cut: for people to read */
#define NET_CHAINS_MAX      16 /* base chains that a packet passes on its way through a node; two or three are usual */
#define NET_LINK_KINDS_MAX  8

/** struct net_forward_ask - whose links are looked for in chains, and how rules of ours are told. */
struct net_forward_ask {
	const char *own_table; /* of family inet; passed over */
	const char *mark;      /* the comment of our rules */
	unsigned link_count;
	const char *links[NET_LINK_KINDS_MAX]; /* how names of our links begin */
};

/** struct net_closed_chain - a chain of others that says no to what none of its rules decides about. */
struct net_closed_chain {
	bool legacy;    /* of iptables-legacy; else of nft, iptables-nft included */
	uint8_t family; /* enum ip_family; IP_NONE: inet, both */
	char table[NET_CHAIN_NAME_SIZE], name[NET_CHAIN_NAME_SIZE];
	uint64_t last; /* its last rule says no: the handle (legacy: the number) of that one; 0: its policy does */
	bool named;    /* a rule of the table that is not ours speaks of our links: somebody has decided about them */
	uint32_t from, to; /* bit i: a rule of ours lets pass what comes from, or goes to, links[i] */
};

/** struct net_closed_chains - those that were found. */
struct net_closed_chains {
	unsigned count;
	struct net_closed_chain list[NET_CHAINS_MAX];
};

/** net_nft_closed() - nft base chains of hook forward, of families ip, ip6 and inet, behind those in @chains.
 *  Errors: RETRY when the rules change faster than they can be read. Context: any thread; opens its own socket. */
int net_nft_closed(const struct net_forward_ask *ask, struct net_closed_chains *chains, struct err *err);
/** net_legacy_closed() - FORWARD of the filter tables of iptables-legacy, behind those in @chains. A table that nobody uses
 *  is not loaded by this. Context: any thread. */
int net_legacy_closed(const struct net_forward_ask *ask, struct net_closed_chains *chains, struct err *err);

#endif
