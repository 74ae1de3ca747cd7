/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: forgetting flows
 *
 * The kernel deletes a flow by its whole tuple only, so the table is read and what has one of our addresses is deleted
 * on a second socket while the reading goes on: nothing is kept, and 1 address costs what 1,000 cost. Deleting under a
 * reader is what conntrack(8) -D does too: the kernel's walk goes over a hash bucket again when the entry that it
 * stopped at is gone.
 *
 * The kernel's own filter (CTA_FILTER, since 5.8) is not used. Half of what is looked for stands in the reply tuple only
 * (a Service's backend, a masqueraded pod), and until 5.16 the filter read the reply with the flags of the original
 * direction and found nothing: https://lore.kernel.org/netfilter-devel/20211103222155.17981-1-florent.fourcot@wifirst.fr/
 *
 * Two reasons for a flow to go: an address of it is given to somebody else, or it was led to a port of this node in a way
 * that the port does not lead any more.
 *
 * A delete without a tuple empties the table. delete_flow() can only send one with a tuple: a message that could not be
 * built whole is never sent.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net_internal.h"

#define CT_TYPE(message) (NFNL_SUBSYS_CTNETLINK << 8 | (message))

struct flush {
	struct net *deleter;
	/* Of its attributes by CTA_*: shall this flow go? Return: 1, 0, or -EBADMSG. */
	int (*shall_go)(const struct flush *f, struct nlattr **tb);
	struct ipaddr *addrs; /* sorted: what is flushed, or this node's own where ports are */
	unsigned count;
	const struct net_port *ports; /* sorted */
	unsigned port_count;
	unsigned deleted;
	bool seen; /* a flow: so there is connection tracking */
	bool busy; /* a flow could not be deleted now */
	struct net_ack *ack;
};

static int cmp_addrs(const void *a, const void *b)
{
	return ipaddr_cmp(a, b);
}

/* Return: 1 when the attribute is one of our addresses, 0, or -EBADMSG. */
static int is_ours(const struct flush *f, unsigned af, const struct nlattr *attr)
{
	struct ipaddr addr;

	if (!attr)
		return 0;
	if (net_addr_from(af, attr, &addr) < 0)
		return -EBADMSG;
	return bsearch(&addr, f->addrs, f->count, sizeof(addr), cmp_addrs) != NULL;
}

/* Return: 1 when a tuple's source or destination is ours, 0, or -EBADMSG. */
static int tuple_has(const struct flush *f, struct nlattr *tuple)
{
	static const struct {
		int attr;
		unsigned af;
	} ends[] = { { CTA_IP_V4_SRC, AF_INET },
		     { CTA_IP_V4_DST, AF_INET },
		     { CTA_IP_V6_SRC, AF_INET6 },
		     { CTA_IP_V6_DST, AF_INET6 } };
	struct nlattr *tb[CTA_TUPLE_MAX + 1], *ip[CTA_IP_MAX + 1];
	int r = 0;

	if (!tuple || nla_parse_nested(tb, CTA_TUPLE_MAX, tuple, NULL) < 0 || !tb[CTA_TUPLE_IP] ||
	    nla_parse_nested(ip, CTA_IP_MAX, tb[CTA_TUPLE_IP], NULL) < 0)
		return -EBADMSG;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(ends); i++)
		r = is_ours(f, ends[i].af, ip[ends[i].attr]);
	return r;
}

static int touches_addrs(const struct flush *f, struct nlattr **tb)
{
	int ours = tuple_has(f, tb[CTA_TUPLE_ORIG]);

	return ours == 0 ? tuple_has(f, tb[CTA_TUPLE_REPLY]) : ours;
}

static void put_copy(struct net_msg *msg, int attr, int flags, const struct nlattr *value)
{
	net_msg_put(msg, attr | flags, nla_data(value), (size_t)nla_len(value));
}

/* By the tuple and zone that the kernel showed. A flow that has just ended is as good as deleted. */
static int delete_flow(struct flush *f, uint8_t family, const struct nlattr *tuple, const struct nlattr *zone)
{
	const struct nfgenmsg head = { .nfgen_family = family, .version = NFNETLINK_V0 };
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	net_msg_init(&msg, CT_TYPE(IPCTNL_MSG_CT_DELETE), 0, &head, sizeof(head));
	put_copy(&msg, CTA_TUPLE_ORIG, NLA_F_NESTED, tuple);
	if (zone)
		put_copy(&msg, CTA_ZONE, 0, zone);
	rc = net_call(f->deleter, &msg, f->ack);
	if (rc == 0)
		f->deleted++;
	if (rc == -EBUSY)
		f->busy = true;
	return rc == -ENOENT || rc == -EBUSY ? 0 : rc;
}

static int see_flow(struct nlmsghdr *hdr, void *arg)
{
	struct flush *f = arg;
	struct nlattr *tb[CTA_MAX + 1];
	const struct nfgenmsg *head;
	int goes;

	if (hdr->nlmsg_type != CT_TYPE(IPCTNL_MSG_CT_NEW))
		return 1;
	f->seen = true;
	if (nlmsg_parse(hdr, sizeof(*head), tb, CTA_MAX, NULL) < 0)
		return -EBADMSG;
	head = nlmsg_data(hdr);
	goes = f->shall_go(f, tb);
	return goes <= 0 ? goes : delete_flow(f, head->nfgen_family, tb[CTA_TUPLE_ORIG], tb[CTA_ZONE]);
}

/* A kernel without connection tracking: nfnetlink says EINVAL of a subsystem that is not there, and a dump without
 * attributes cannot be invalid otherwise. */
static bool is_absent(int rc)
{
	return rc == -EINVAL || rc == -EOPNOTSUPP;
}

/* @family: whose flows the kernel shows; AF_UNSPEC: of all. */
static int walk(struct net *reader, struct flush *f, uint8_t family, int64_t deadline_us, unsigned *ret_deleted)
{
	const struct nfgenmsg head = { .nfgen_family = family, .version = NFNETLINK_V0 };
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	f->ack->text[0] = '\0';
	net_msg_init(&msg, CT_TYPE(IPCTNL_MSG_CT_GET), 0, &head, sizeof(head));
	rc = net_stream(reader, &msg, see_flow, f, deadline_us, f->ack);
	if (!f->seen && is_absent(rc))
		rc = 0;
	if (rc == 0 && f->busy)
		rc = -EBUSY;
	if (rc == 0)
		*ret_deleted = f->deleted;
	return rc;
}

/* Two sockets of the namespace. Neither: a kernel without netfilter's netlink. */
static int open_both(struct net **ret_reader, struct net **ret_deleter)
{
	int rc = net_new(NETLINK_NETFILTER, ret_reader);

	if (rc == -EPROTONOSUPPORT)
		return 0;
	return rc < 0 ? rc : net_new(NETLINK_NETFILTER, ret_deleter);
}

/* ---- by address ---- */

/* Of the one family that all addresses have: the kernel then shows no other; AF_UNSPEC when there are two. */
static uint8_t family_of(const struct ipaddr *sorted, unsigned count)
{
	return sorted[0].family == sorted[count - 1].family ? net_af(sorted[0].family) : AF_UNSPEC;
}

int net_conntrack_flush_on(struct net *reader, struct net *deleter, const struct ipaddr *addrs, unsigned count,
			   int64_t deadline_us, unsigned *ret_deleted, struct net_ack *ack)
{
	_cleanup_free_ struct ipaddr *sorted = reallocarray(NULL, count, sizeof(*sorted));
	struct flush f = { .deleter = deleter, .shall_go = touches_addrs, .addrs = sorted, .count = count, .ack = ack };

	ack->text[0] = '\0';
	if (!sorted)
		return -ENOMEM;
	memcpy(sorted, addrs, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), cmp_addrs);
	return walk(reader, &f, family_of(sorted, count), deadline_us, ret_deleted);
}

int net_conntrack_flush(const struct ipaddr *addrs, unsigned count, int64_t deadline_us, unsigned *ret_deleted,
			struct err *err)
{
	_cleanup_net_ struct net *reader = NULL, *deleter = NULL;
	struct net_ack ack = { 0 };
	unsigned deleted = 0;
	int rc = 0;

	if (count > 0)
		rc = open_both(&reader, &deleter);
	if (deleter)
		rc = net_conntrack_flush_on(reader, deleter, addrs, count, deadline_us, &deleted, &ack);
	if (rc < 0)
		return net_fail(err, rc, &ack, "forget the flows of %u addresses", count);
	*ret_deleted = deleted;
	return 0;
}

/* ---- by port ---- */

/* One direction of a flow. */
struct way {
	struct ipaddr src, dst;
	uint16_t sport, dport;
	uint8_t protocol;
};

static int cmp_ports(const void *a, const void *b)
{
	return net_port_cmp(a, b);
}

static uint16_t port_from(const struct nlattr *attr)
{
	return attr ? ntohs(nla_get_u16(attr)) : 0;
}

/* Return: 0 or -EBADMSG. */
static int read_way(struct nlattr *tuple, struct way *ret)
{
	struct nlattr *tb[CTA_TUPLE_MAX + 1], *ip[CTA_IP_MAX + 1], *proto[CTA_PROTO_MAX + 1];
	bool v6;

	if (!tuple || nla_parse_nested(tb, CTA_TUPLE_MAX, tuple, NULL) < 0 || !tb[CTA_TUPLE_IP] ||
	    !tb[CTA_TUPLE_PROTO] || nla_parse_nested(ip, CTA_IP_MAX, tb[CTA_TUPLE_IP], NULL) < 0 ||
	    nla_parse_nested(proto, CTA_PROTO_MAX, tb[CTA_TUPLE_PROTO], NULL) < 0 || !proto[CTA_PROTO_NUM])
		return -EBADMSG;
	v6 = ip[CTA_IP_V6_SRC] != NULL;
	ret->protocol = nla_get_u8(proto[CTA_PROTO_NUM]);
	ret->sport = port_from(proto[CTA_PROTO_SRC_PORT]);
	ret->dport = port_from(proto[CTA_PROTO_DST_PORT]);
	if (net_addr_from(v6 ? AF_INET6 : AF_INET, ip[v6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC], &ret->src) < 0 ||
	    net_addr_from(v6 ? AF_INET6 : AF_INET, ip[v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST], &ret->dst) < 0)
		return -EBADMSG;
	return 0;
}

/* ::1 does not count: nothing is led away from it. */
static bool is_own(const struct flush *f, const struct ipaddr *addr)
{
	static const struct ipaddr loopback6 = { .family = IP_V6, .bytes = { [15] = 1 } };

	if (addr->family == IP_V4 && addr->bytes[0] == IN_LOOPBACKNET)
		return true;
	return !ipaddr_equal(addr, &loopback6) && bsearch(addr, f->addrs, f->count, sizeof(*addr), cmp_addrs);
}

static const struct net_port *find_port(const struct flush *f, const struct way *orig)
{
	struct net_port key = { .host_addr = orig->dst, .host_port = orig->dport, .protocol = orig->protocol };
	const struct net_port *found = bsearch(&key, f->ports, f->port_count, sizeof(key), cmp_ports);

	if (found)
		return found;
	key.host_addr = (struct ipaddr){ .family = orig->dst.family };
	return bsearch(&key, f->ports, f->port_count, sizeof(key), cmp_ports);
}

/* Where a flow leads says the source of its answers. */
static int leads_elsewhere(const struct flush *f, struct nlattr **tb)
{
	const struct net_port *port;
	struct way orig, reply;

	if (read_way(tb[CTA_TUPLE_ORIG], &orig) < 0 || read_way(tb[CTA_TUPLE_REPLY], &reply) < 0)
		return -EBADMSG;
	port = find_port(f, &orig);
	if (!port || !is_own(f, &orig.dst))
		return 0;
	if (port->to.family == IP_NONE)
		return !ipaddr_equal(&reply.src, &orig.dst);
	return !ipaddr_equal(&reply.src, &port->to) || reply.sport != port->to_port;
}

struct own_addrs {
	struct ipaddr *list;
	unsigned count, alloc;
	int skip; /* index of the link whose addresses are left out; 0 = none */
};

static int keep_addr(const struct net_addr *addr, void *arg)
{
	struct own_addrs *own = arg;

	if (addr->index == own->skip)
		return 0;
	if (own->count == own->alloc) {
		unsigned alloc = own->alloc ? own->alloc * 2 : 64;
		struct ipaddr *list = reallocarray(own->list, alloc, sizeof(*list));

		if (!list)
			return -ENOMEM;
		own->list = list;
		own->alloc = alloc;
	}
	own->list[own->count++] = addr->addr;
	return 0;
}

static int read_own(struct own_addrs *own, const char *skip_link, struct err *err)
{
	_cleanup_net_ struct net *net = NULL;
	struct net_link link;
	int r;

	if (net_open(&net, err) < 0)
		return -1;
	if (skip_link && net_link_by_name(net, skip_link, &link, NULL) == 0)
		own->skip = link.index;
	r = net_addrs(net, keep_addr, own, err);
	if (r == -ENOMEM)
		return net_fail(err, r, NULL, "read this node's addresses");
	qsort(own->list, own->count, sizeof(*own->list), cmp_addrs);
	return r;
}

int net_conntrack_flush_ports(const struct net_port *ports, unsigned count, const char *skip_link, int64_t deadline_us,
			      unsigned *ret_deleted, struct err *err)
{
	_cleanup_free_ struct net_port *sorted = reallocarray(NULL, count + 1, sizeof(*sorted));
	_cleanup_net_ struct net *reader = NULL, *deleter = NULL;
	struct own_addrs own = { 0 };
	struct net_ack ack = { 0 };
	unsigned deleted = 0;
	int rc = sorted ? 0 : -ENOMEM;

	if (rc == 0 && read_own(&own, skip_link, err) < 0) {
		free(own.list);
		return err_wrap(err, "forget the flows of %u ports", count);
	}
	if (rc == 0)
		rc = open_both(&reader, &deleter);
	if (rc == 0 && deleter) {
		struct flush f = { .deleter = deleter,
				   .shall_go = leads_elsewhere,
				   .addrs = own.list,
				   .count = own.count,
				   .ports = sorted,
				   .port_count = count,
				   .ack = &ack };

		memcpy(sorted, ports, count * sizeof(*sorted));
		qsort(sorted, count, sizeof(*sorted), cmp_ports);
		rc = walk(reader, &f, AF_UNSPEC, deadline_us, &deleted);
	}
	free(own.list);
	if (rc < 0)
		return net_fail(err, rc, &ack, "forget the flows of %u ports", count);
	*ret_deleted = deleted;
	return 0;
}
