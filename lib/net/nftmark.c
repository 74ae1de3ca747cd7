/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: which rules change marks
 *
 * A rule is a row of expressions over registers. `meta mark set meta mark and A or B` is: load the mark, bitwise with mask
 * and xor, store it as the mark; `meta mark set 5` is: load 5, store. So for each register it is enough to know which mark
 * it came from and which of its bits may differ since; what came from elsewhere changes all of them. iptables' MARK and
 * CONNMARK are expressions of their own, which hold the structs of xtables. What the older iptables-legacy has loaded is in
 * no nft table and is not seen.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h> /* before the kernel's own */
#include <string.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_mark.h>

#include "berth/str.h"
#include "net_internal.h"

#define NFT_TYPE(message) (NFNL_SUBSYS_NFTABLES << 8 | (message))
#define REGISTERS         (NFT_REG32_15 + 1)
#define ALL_BITS          UINT32_MAX

struct reg {
	enum { FROM_ELSEWHERE, FROM_META, FROM_CT } from;
	uint32_t changed; /* bits that may differ from the mark that it was */
};

struct walk {
	const char *skip_table;
	int (*fn)(const struct net_nft_mark *mark, void *arg);
	void *arg;
	int ended;                /* what @fn returned */
	struct net_nft_mark mark; /* of the present rule */
	struct reg regs[REGISTERS];
};

static uint32_t number_of(const struct nlattr *attr)
{
	uint32_t value;

	if (!attr || nla_len(attr) < (int)sizeof(value))
		return 0;
	memcpy(&value, nla_data(attr), sizeof(value));
	return ntohl(value);
}

/* Of a register's width, in the machine's order, as marks are. */
static uint32_t value_of(struct nlattr *data)
{
	struct nlattr *tb[NFTA_DATA_MAX + 1];
	uint32_t value = ALL_BITS;

	if (data && nla_parse_nested(tb, NFTA_DATA_MAX, data, NULL) == 0 && tb[NFTA_DATA_VALUE] &&
	    nla_len(tb[NFTA_DATA_VALUE]) == (int)sizeof(value))
		memcpy(&value, nla_data(tb[NFTA_DATA_VALUE]), sizeof(value));
	return value;
}

static struct reg *reg_of(struct walk *walk, const struct nlattr *attr)
{
	uint32_t number = number_of(attr);

	return number < REGISTERS ? &walk->regs[number] : &walk->regs[0];
}

static void forget(struct walk *walk)
{
	for (size_t i = 0; i < REGISTERS; i++)
		walk->regs[i] = (struct reg){ FROM_ELSEWHERE, ALL_BITS };
}

static void tell(struct walk *walk, bool ct, uint32_t bits)
{
	if (!bits || walk->ended)
		return;
	walk->mark.ct = ct;
	walk->mark.bits = bits;
	walk->ended = walk->fn(&walk->mark, walk->arg);
}

static_assert((int)NFTA_META_KEY == (int)NFTA_CT_KEY && (int)NFTA_META_DREG == (int)NFTA_CT_DREG &&
		      (int)NFT_META_MARK == (int)NFT_CT_MARK && (int)NFTA_META_MAX < (int)NFTA_CT_MAX,
	      "one reading of both");

/* "meta" and "ct" load and store alike. */
static void see_mark(struct walk *walk, bool ct, struct nlattr *data)
{
	struct nlattr *tb[NFTA_CT_MAX + 1] = { NULL };
	const struct nlattr *stored;
	const struct reg *reg;

	if (nla_parse_nested(tb, ct ? NFTA_CT_MAX : NFTA_META_MAX, data, NULL) < 0)
		return;
	stored = tb[ct ? (int)NFTA_CT_SREG : (int)NFTA_META_SREG];
	if (number_of(tb[NFTA_META_KEY]) != NFT_META_MARK) {
		forget(walk);
	} else if (tb[NFTA_META_DREG]) {
		*reg_of(walk, tb[NFTA_META_DREG]) = (struct reg){ ct ? FROM_CT : FROM_META, 0 };
	} else if (stored) {
		reg = reg_of(walk, stored);
		tell(walk, ct, reg->from == (ct ? FROM_CT : FROM_META) ? reg->changed : ALL_BITS);
	}
}

static void see_bitwise(struct walk *walk, struct nlattr *data)
{
	struct nlattr *tb[NFTA_BITWISE_MAX + 1];
	struct reg reg;

	if (nla_parse_nested(tb, NFTA_BITWISE_MAX, data, NULL) < 0)
		return;
	reg = *reg_of(walk, tb[NFTA_BITWISE_SREG]);
	/* mask and xor; the others (shifts, two registers) move bits anywhere */
	if (number_of(tb[NFTA_BITWISE_OP]) == 0)
		reg.changed |= ~value_of(tb[NFTA_BITWISE_MASK]) | value_of(tb[NFTA_BITWISE_XOR]);
	else
		reg.changed = ALL_BITS;
	*reg_of(walk, tb[NFTA_BITWISE_DREG]) = reg;
}

/* Revision 2 put a shift before the mode. */
static void see_connmark(struct walk *walk, const struct nlattr *attr, uint32_t revision)
{
	struct xt_connmark_tginfo2 info = { 0 };
	struct xt_connmark_tginfo1 old;

	if (revision < 2 && nla_len(attr) >= (int)sizeof(old)) {
		memcpy(&old, nla_data(attr), sizeof(old));
		info = (struct xt_connmark_tginfo2){
			.ctmark = old.ctmark, .ctmask = old.ctmask, .nfmask = old.nfmask, .mode = old.mode
		};
	} else if (nla_len(attr) >= (int)sizeof(info)) {
		memcpy(&info, nla_data(attr), sizeof(info));
	}
	if (info.mode == XT_CONNMARK_SET)
		tell(walk, true, info.ctmask | info.ctmark);
	else
		tell(walk, info.mode == XT_CONNMARK_SAVE, info.shift_bits ? ALL_BITS : info.nfmask | info.ctmask);
}

static void see_mark_target(struct walk *walk, const struct nlattr *attr)
{
	struct xt_mark_tginfo2 info;

	if (nla_len(attr) < (int)sizeof(info))
		return;
	memcpy(&info, nla_data(attr), sizeof(info));
	tell(walk, false, info.mark | info.mask);
}

static void see_target(struct walk *walk, struct nlattr *data)
{
	struct nlattr *tb[NFTA_TARGET_MAX + 1];

	if (nla_parse_nested(tb, NFTA_TARGET_MAX, data, NULL) < 0 || !tb[NFTA_TARGET_NAME] || !tb[NFTA_TARGET_INFO])
		return;
	if (nla_strcmp(tb[NFTA_TARGET_NAME], "MARK") == 0)
		see_mark_target(walk, tb[NFTA_TARGET_INFO]);
	if (nla_strcmp(tb[NFTA_TARGET_NAME], "CONNMARK") == 0)
		see_connmark(walk, tb[NFTA_TARGET_INFO], number_of(tb[NFTA_TARGET_REV]));
}

static void see_expression(struct walk *walk, struct nlattr *elem)
{
	struct nlattr *tb[NFTA_EXPR_MAX + 1];

	if (nla_parse_nested(tb, NFTA_EXPR_MAX, elem, NULL) < 0 || !tb[NFTA_EXPR_NAME] || !tb[NFTA_EXPR_DATA])
		return;
	if (nla_strcmp(tb[NFTA_EXPR_NAME], "meta") == 0)
		see_mark(walk, false, tb[NFTA_EXPR_DATA]);
	else if (nla_strcmp(tb[NFTA_EXPR_NAME], "ct") == 0)
		see_mark(walk, true, tb[NFTA_EXPR_DATA]);
	else if (nla_strcmp(tb[NFTA_EXPR_NAME], "bitwise") == 0)
		see_bitwise(walk, tb[NFTA_EXPR_DATA]);
	else if (nla_strcmp(tb[NFTA_EXPR_NAME], "target") == 0)
		see_target(walk, tb[NFTA_EXPR_DATA]);
	else
		forget(walk); /* it may have written into any register */
}

static const char *family_name(uint8_t family)
{
	switch (family) {
	case NFPROTO_IPV4:
		return "ip";
	case NFPROTO_IPV6:
		return "ip6";
	case NFPROTO_INET:
		return "inet";
	case NFPROTO_BRIDGE:
		return "bridge";
	case NFPROTO_NETDEV:
		return "netdev";
	default:
		return "other";
	}
}

static int see_rule(struct nlmsghdr *hdr, void *arg)
{
	struct walk *walk = arg;
	struct nlattr *tb[NFTA_RULE_MAX + 1], *elem;
	const struct nfgenmsg *head;
	int left;

	if (hdr->nlmsg_type != NFT_TYPE(NFT_MSG_NEWRULE) || walk->ended)
		return 1;
	if (nlmsg_parse(hdr, sizeof(*head), tb, NFTA_RULE_MAX, NULL) < 0 || !tb[NFTA_RULE_TABLE] ||
	    !tb[NFTA_RULE_CHAIN])
		return -EBADMSG;
	head = nlmsg_data(hdr);
	if (!tb[NFTA_RULE_EXPRESSIONS] || (head->nfgen_family == NFPROTO_INET && walk->skip_table &&
					   nla_strcmp(tb[NFTA_RULE_TABLE], walk->skip_table) == 0))
		return 1;
	walk->mark.family = family_name(head->nfgen_family);
	(void)nla_strlcpy(walk->mark.table, tb[NFTA_RULE_TABLE], sizeof(walk->mark.table));
	(void)nla_strlcpy(walk->mark.chain, tb[NFTA_RULE_CHAIN], sizeof(walk->mark.chain));
	forget(walk);
	left = nla_len(tb[NFTA_RULE_EXPRESSIONS]);
	for (elem = nla_data(tb[NFTA_RULE_EXPRESSIONS]); nla_ok(elem, left); elem = nla_next(elem, &left))
		see_expression(walk, elem);
	return 0;
}

int net_nft_marks(const char *skip_table, int64_t deadline_us, int (*fn)(const struct net_nft_mark *mark, void *arg),
		  void *arg, struct err *err)
{
	const struct nfgenmsg head = { .nfgen_family = NFPROTO_UNSPEC, .version = NFNETLINK_V0 };
	struct walk walk = { .skip_table = skip_table, .fn = fn, .arg = arg };
	_cleanup_msg_ struct net_msg msg = { 0 };
	_cleanup_net_ struct net *net = NULL;
	struct net_ack ack = { 0 };
	int rc = net_new(NETLINK_NETFILTER, &net);

	if (rc == 0) {
		net_msg_init(&msg, NFT_TYPE(NFT_MSG_GETRULE), 0, &head, sizeof(head));
		rc = net_stream(net, &msg, see_rule, &walk, deadline_us, &ack);
	}
	if (rc == -EPROTONOSUPPORT || rc == -EINVAL || rc == -EOPNOTSUPP) /* no netfilter netlink, or no nftables */
		rc = 0;
	if (rc < 0)
		return net_fail(err, rc, &ack, "read the nft rules");
	return walk.ended;
}
