/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: shaping
 *
 * Only what leaves by a link can be shaped, by the queueing discipline at its root: a token bucket (sch_tbf). What comes in
 * is therefore sent through another link (ifb), which hands it back as if it had come in just now, and has the bucket.
 *
 * Sizes are given to the kernel as bytes (TCA_TBF_BURST, TCA_TBF_RATE64 where 32 bits do not hold the rate) and not as
 * times in its ticks with a table of them, as `tc` still does beside it: those cannot hold a bucket that takes more than 4 s
 * to fill. What the kernel shows of a bucket is a time in any case.
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <netinet/in.h>
#include <string.h>

#include "berth/str.h"

#include "net_internal.h"

#define TICK_NS 64U /* PSCHED_SHIFT of the kernel: a number of its interface, /proc/net/psched tells the same */

#define IFB_TXQUEUELEN                                                                                                 \
	1000U /* packets, as Ethernet has; an ifb has 32 else, and that is all that is left without the bucket */

/* Behind the filters of others, which count up from 1 (Cilium) or down from 49152 (tc): what they decide is decided. */
#define REDIRECT_PRIORITY 0xf098U

#define INGRESS TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)

/* ---- what the kernel lacks ---- */

int net_tc_fail(struct err *err, int rc, const struct net_ack *ack, const char *what, const char *parts)
{
	/* These are its words for a kind that neither it nor a module of it knows. */
	if (rc == -ENOENT || rc == -EOPNOTSUPP)
		return err_set_errno(err, ERR_INVALID, NET_DOMAIN, -rc, "%s: the kernel has no %s", what, parts);
	return net_fail(err, rc, ack, "%s", what);
}

/* ---- token bucket ---- */

static void ask_tc(struct net_msg *msg, int type, int flags, const struct tcmsg *tcm, const char *kind)
{
	net_msg_init(msg, type, flags, tcm, sizeof(*tcm));
	if (kind)
		net_msg_str(msg, TCA_KIND, kind);
}

void net_tbf_put(struct net_msg *msg, const struct net_tbf *tbf)
{
	struct tc_tbf_qopt qopt = {
		.rate = { .linklayer = TC_LINKLAYER_ETHERNET, /* without it the kernel asks for a table */
			  .rate = tbf->rate < UINT32_MAX ? (uint32_t)tbf->rate : UINT32_MAX },
		.limit = tbf->limit,
	};
	struct nlattr *options = net_msg_nest(msg, TCA_OPTIONS);

	net_msg_put(msg, TCA_TBF_PARMS, &qopt, sizeof(qopt));
	net_msg_u32(msg, TCA_TBF_BURST, tbf->burst);
	if (tbf->rate >= UINT32_MAX)
		net_msg_put(msg, TCA_TBF_RATE64, &tbf->rate, sizeof(tbf->rate));
	net_msg_nest_end(msg, options);
}

int net_tbf_set(struct net *net, int index, const struct net_tbf *tbf, struct err *err)
{
	const struct tcmsg tcm = { .tcm_family = AF_UNSPEC, .tcm_ifindex = index, .tcm_parent = TC_H_ROOT };
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	char what[64];
	int rc;

	ask_tc(&msg, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &tcm, "tbf");
	net_tbf_put(&msg, tbf);
	rc = net_call(net, &msg, &ack);
	if (rc == 0)
		return 0;
	(void)snprintf(what, sizeof(what), "shape what leaves by link %d", index);
	return net_tc_fail(err, rc, &ack, what, "token bucket filter (sch_tbf)");
}

/* ---- ifb ---- */

int net_ifb_add(struct net *net, const char *name, unsigned mtu, struct err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC };
	struct nlattr *info;
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	char what[64];
	int rc;

	net_msg_init(&msg, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifi, sizeof(ifi));
	net_msg_str(&msg, IFLA_IFNAME, name);
	net_msg_u32(&msg, IFLA_MTU, mtu);
	net_msg_u32(&msg, IFLA_TXQLEN, IFB_TXQUEUELEN);
	info = net_msg_nest(&msg, IFLA_LINKINFO);
	net_msg_str(&msg, IFLA_INFO_KIND, "ifb");
	net_msg_nest_end(&msg, info);
	rc = net_call(net, &msg, &ack);
	if (rc == 0)
		return 0;
	(void)snprintf(what, sizeof(what), "make link %.*s", NET_IFNAME_SIZE, name);
	return net_tc_fail(err, rc, &ack, what, "intermediate functional block (ifb)");
}

/* ---- redirect ---- */

static struct tcmsg our_filter(int index)
{
	return (struct tcmsg){ .tcm_family = AF_UNSPEC,
			       .tcm_ifindex = index,
			       .tcm_parent = INGRESS,
			       .tcm_info = TC_H_MAKE(REDIRECT_PRIORITY << 16, htons(ETH_P_ALL)) };
}

static void put_mirred(struct net_msg *msg, int to)
{
	const struct tc_mirred parms = { .action = TC_ACT_STOLEN,
					 .eaction = TCA_EGRESS_REDIR,
					 .ifindex = (uint32_t)to };
	struct nlattr *actions = net_msg_nest(msg, TCA_U32_ACT), *first = net_msg_nest(msg, 1), *options;

	net_msg_str(msg, TCA_ACT_KIND, "mirred");
	options = net_msg_nest(msg, TCA_ACT_OPTIONS);
	net_msg_put(msg, TCA_MIRRED_PARMS, &parms, sizeof(parms));
	net_msg_nest_end(msg, options);
	net_msg_nest_end(msg, first);
	net_msg_nest_end(msg, actions);
}

/* A selector without keys takes everything. */
static int add_redirect(struct net *net, int index, int to, struct net_ack *ack)
{
	const struct tc_u32_sel all = { .flags = TC_U32_TERMINAL };
	const struct tcmsg tcm = our_filter(index);
	_cleanup_msg_ struct net_msg msg = { 0 };
	struct nlattr *options;

	ask_tc(&msg, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, &tcm, "u32");
	options = net_msg_nest(&msg, TCA_OPTIONS);
	put_mirred(&msg, to);
	net_msg_put(&msg, TCA_U32_SEL, &all, sizeof(all));
	net_msg_nest_end(&msg, options);
	return net_call(net, &msg, ack);
}

static int del_redirect(struct net *net, int index, struct net_ack *ack)
{
	const struct tcmsg tcm = our_filter(index);
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	ask_tc(&msg, RTM_DELTFILTER, 0, &tcm, NULL);
	rc = net_call(net, &msg, ack);
	return rc == -ENOENT ? 0 : rc;
}

static int add_clsact(struct net *net, int index, struct net_ack *ack)
{
	const struct tcmsg tcm = { .tcm_family = AF_UNSPEC,
				   .tcm_ifindex = index,
				   .tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0),
				   .tcm_parent = TC_H_CLSACT };
	_cleanup_msg_ struct net_msg msg = { 0 };

	ask_tc(&msg, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &tcm, "clsact");
	return net_call(net, &msg, ack);
}

int net_redirect_set(struct net *net, int index, int to, struct err *err)
{
	struct net_ack ack;
	char what[64];
	int rc = add_clsact(net, index, &ack);

	(void)snprintf(what, sizeof(what), "send what comes in by link %d through link %d", index, to);
	if (rc < 0 && rc != -EEXIST)
		return net_tc_fail(err, rc, &ack, what, "ingress queueing discipline (sch_ingress)");
	/* Where there was one, ours may be in it, leading elsewhere. */
	rc = rc < 0 ? del_redirect(net, index, &ack) : 0;
	if (rc == 0)
		rc = add_redirect(net, index, to, &ack);
	return rc < 0 ? net_tc_fail(err, rc, &ack, what, "u32 classifier (cls_u32) or mirred action (act_mirred)") : 0;
}

/* ---- reading ---- */

static uint32_t burst_of(const struct tc_tbf_qopt *qopt, uint64_t rate)
{
	/* Rounded down twice by the kernel, to ns and to ticks: what comes back is within one tick's bytes. */
	unsigned __int128 bytes = (unsigned __int128)qopt->buffer * TICK_NS * rate / 1000000000U;

	return bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
}

static int parse_tbf(struct nlattr *options, struct net_tbf *ret)
{
	static const struct nla_policy policy[TCA_TBF_MAX + 1] = {
		[TCA_TBF_PARMS] = { .minlen = sizeof(struct tc_tbf_qopt) },
		[TCA_TBF_RATE64] = { .type = NLA_U64 },
	};
	struct nlattr *tb[TCA_TBF_MAX + 1];
	struct tc_tbf_qopt qopt;

	if (nla_parse_nested(tb, TCA_TBF_MAX, options, policy) < 0 || !tb[TCA_TBF_PARMS])
		return -EBADMSG;
	memcpy(&qopt, nla_data(tb[TCA_TBF_PARMS]), sizeof(qopt));
	ret->rate = tb[TCA_TBF_RATE64] ? nla_get_u64(tb[TCA_TBF_RATE64]) : qopt.rate.rate;
	ret->burst = burst_of(&qopt, ret->rate);
	ret->limit = qopt.limit;
	return 0;
}

int net_parse_qdisc(struct nlmsghdr *hdr, void *item)
{
	static const struct nla_policy policy[TCA_MAX + 1] = { [TCA_KIND] = { .type = NLA_STRING } };
	struct nlattr *tb[TCA_MAX + 1];
	struct net_qdisc qdisc = { 0 };
	const struct tcmsg *tcm;

	if (hdr->nlmsg_type != RTM_NEWQDISC && hdr->nlmsg_type != RTM_DELQDISC)
		return 1;
	if (nlmsg_parse(hdr, sizeof(*tcm), tb, TCA_MAX, policy) < 0 || !tb[TCA_KIND])
		return -EBADMSG;
	tcm = nlmsg_data(hdr);
	if (tcm->tcm_parent != TC_H_ROOT && tcm->tcm_parent != TC_H_INGRESS)
		return 1; /* below another one */
	qdisc.index = tcm->tcm_ifindex;
	qdisc.ingress = tcm->tcm_parent == TC_H_INGRESS;
	(void)nla_strlcpy(qdisc.kind, tb[TCA_KIND], sizeof(qdisc.kind));
	if (str_equal(qdisc.kind, "tbf") && (!tb[TCA_OPTIONS] || parse_tbf(tb[TCA_OPTIONS], &qdisc.tbf) < 0))
		return -EBADMSG;
	memcpy(item, &qdisc, sizeof(qdisc));
	return 0;
}

int net_qdiscs(struct net *net, int (*fn)(const struct net_qdisc *qdisc, void *arg), void *arg, struct err *err)
{
	_cleanup_list_ struct net_list list = { .item_size = sizeof(struct net_qdisc) };
	const struct tcmsg tcm = { .tcm_family = AF_UNSPEC };
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	ask_tc(&msg, RTM_GETQDISC, 0, &tcm, NULL);
	rc = net_dump(net, &msg, net_parse_qdisc, &list, &ack);
	if (rc < 0)
		return net_fail(err, rc, &ack, "list queueing disciplines");
	for (size_t i = 0; rc == 0 && i < list.count; i++)
		rc = fn(&((const struct net_qdisc *)list.items)[i], arg);
	return rc;
}

/* The first action of a filter, when it is a redirect to another link's egress. Return: that link, 0 when it is none. */
static int redirect_of(struct nlattr *options)
{
	struct nlattr *u32[TCA_U32_MAX + 1], *actions[2], *action[TCA_ACT_MAX + 1], *mirred[TCA_MIRRED_MAX + 1];
	struct tc_mirred parms;

	if (nla_parse_nested(u32, TCA_U32_MAX, options, NULL) < 0 || !u32[TCA_U32_ACT] ||
	    nla_parse_nested(actions, 1, u32[TCA_U32_ACT], NULL) < 0 || !actions[1] ||
	    nla_parse_nested(action, TCA_ACT_MAX, actions[1], NULL) < 0 || !action[TCA_ACT_OPTIONS] ||
	    nla_parse_nested(mirred, TCA_MIRRED_MAX, action[TCA_ACT_OPTIONS], NULL) < 0 || !mirred[TCA_MIRRED_PARMS] ||
	    nla_len(mirred[TCA_MIRRED_PARMS]) < (int)sizeof(parms))
		return 0;
	memcpy(&parms, nla_data(mirred[TCA_MIRRED_PARMS]), sizeof(parms));
	return parms.eaction == TCA_EGRESS_REDIR ? (int)parms.ifindex : 0;
}

static int parse_redirect(struct nlmsghdr *hdr, void *item)
{
	static const struct nla_policy policy[TCA_MAX + 1] = { [TCA_KIND] = { .type = NLA_STRING } };
	struct nlattr *tb[TCA_MAX + 1];
	const struct tcmsg *tcm;
	int to;

	if (hdr->nlmsg_type != RTM_NEWTFILTER)
		return 1;
	if (nlmsg_parse(hdr, sizeof(*tcm), tb, TCA_MAX, policy) < 0 || !tb[TCA_KIND])
		return -EBADMSG;
	tcm = nlmsg_data(hdr);
	if (TC_H_MAJ(tcm->tcm_info) >> 16 != REDIRECT_PRIORITY || !tb[TCA_OPTIONS])
		return 1;
	to = redirect_of(tb[TCA_OPTIONS]);
	memcpy(item, &to, sizeof(to));
	return to ? 0 : 1; /* the kernel shows a filter's tables too */
}

int net_redirect_get(struct net *net, int index, int *ret_to, struct err *err)
{
	_cleanup_list_ struct net_list list = { .item_size = sizeof(int) };
	const struct tcmsg tcm = { .tcm_family = AF_UNSPEC, .tcm_ifindex = index, .tcm_parent = INGRESS };
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	ask_tc(&msg, RTM_GETTFILTER, 0, &tcm, NULL);
	rc = net_dump(net, &msg, parse_redirect, &list, &ack);
	if (rc < 0)
		return net_fail(err, rc, &ack, "list filters of link %d", index);
	*ret_to = list.count > 0 ? *(const int *)list.items : 0;
	return 0;
}
