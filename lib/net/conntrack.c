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
 * A delete without a tuple empties the table. delete_flow() can only send one with a tuple: a message that could not be
 * built whole is never sent.
 */
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net_internal.h"

#define CT_TYPE(message) (NFNL_SUBSYS_CTNETLINK << 8 | (message))

struct flush {
	struct net *deleter;
	struct ipaddr *addrs; /* sorted */
	unsigned count;
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
	int ours;

	if (hdr->nlmsg_type != CT_TYPE(IPCTNL_MSG_CT_NEW))
		return 1;
	f->seen = true;
	if (nlmsg_parse(hdr, sizeof(*head), tb, CTA_MAX, NULL) < 0)
		return -EBADMSG;
	head = nlmsg_data(hdr);
	ours = tuple_has(f, tb[CTA_TUPLE_ORIG]);
	if (ours == 0)
		ours = tuple_has(f, tb[CTA_TUPLE_REPLY]);
	return ours <= 0 ? ours : delete_flow(f, head->nfgen_family, tb[CTA_TUPLE_ORIG], tb[CTA_ZONE]);
}

/* Of the one family that all addresses have: the kernel then shows no other; AF_UNSPEC when there are two. */
static uint8_t family_of(const struct ipaddr *sorted, unsigned count)
{
	return sorted[0].family == sorted[count - 1].family ? net_af(sorted[0].family) : AF_UNSPEC;
}

/* A kernel without connection tracking: nfnetlink says EINVAL of a subsystem that is not there, and a dump without
 * attributes cannot be invalid otherwise. */
static bool is_absent(int rc)
{
	return rc == -EINVAL || rc == -EOPNOTSUPP;
}

int net_conntrack_flush_on(struct net *reader, struct net *deleter, const struct ipaddr *addrs, unsigned count,
			   int64_t deadline_us, unsigned *ret_deleted, struct net_ack *ack)
{
	_cleanup_free_ struct ipaddr *sorted = reallocarray(NULL, count, sizeof(*sorted));
	struct flush f = { .deleter = deleter, .addrs = sorted, .count = count, .ack = ack };
	_cleanup_msg_ struct net_msg msg = { 0 };
	struct nfgenmsg head = { .version = NFNETLINK_V0 };
	int rc;

	ack->text[0] = '\0';
	if (!sorted)
		return -ENOMEM;
	memcpy(sorted, addrs, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), cmp_addrs);
	head.nfgen_family = family_of(sorted, count);
	net_msg_init(&msg, CT_TYPE(IPCTNL_MSG_CT_GET), 0, &head, sizeof(head));
	rc = net_stream(reader, &msg, see_flow, &f, deadline_us, ack);
	if (!f.seen && is_absent(rc))
		rc = 0;
	if (rc == 0 && f.busy)
		rc = -EBUSY;
	if (rc == 0)
		*ret_deleted = f.deleted;
	return rc;
}

int net_conntrack_flush(const struct ipaddr *addrs, unsigned count, int64_t deadline_us, unsigned *ret_deleted,
			struct err *err)
{
	_cleanup_net_ struct net *reader = NULL, *deleter = NULL;
	struct net_ack ack = { 0 };
	unsigned deleted = 0;
	int rc = 0;

	if (count > 0)
		rc = net_new(NETLINK_NETFILTER, &reader);
	if (rc == -EPROTONOSUPPORT) /* a kernel without netfilter's netlink */
		rc = 0;
	if (reader)
		rc = net_new(NETLINK_NETFILTER, &deleter);
	if (deleter)
		rc = net_conntrack_flush_on(reader, deleter, addrs, count, deadline_us, &deleted, &ack);
	if (rc < 0)
		return net_fail(err, rc, &ack, "forget the flows of %u addresses", count);
	*ret_deleted = deleted;
	return 0;
}
