/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: nft chains that close forwarding
 *
 * Every base chain of hook forward decides about every packet that passes the node, whatever table it is in: an accept
 * of one chain says nothing to the next. A chain closes forwarding when its policy is drop (Docker's FORWARD, ufw's), or
 * when its last rule drops or rejects whatever has come so far (firewalld's filter_FORWARD, the iptables rules of RHEL).
 * What a rule in front of that decides is its owner's wish and is not looked into.
 *
 * Read by dumps over nfnetlink, two each time: all chains; all rules of the table of a chain that may be closed.
 */
#include <endian.h>
#include <errno.h>
#include <netinet/in.h> /* before the kernel's own */
#include <string.h>
#include <sys/socket.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>

#include "berth/str.h"
#include "net_internal.h"

#define NFT_TYPE(message)  (NFNL_SUBSYS_NFTABLES << 8 | (message))
#define COMMENT_SIZE       64 /* bytes of a rule's comment that are kept; ours is shorter */
#define UDATA_COMMENT      0  /* NFTNL_UDATA_RULE_COMMENT: nft's own code for it in a rule's user data */
#define REGISTER_NAME_SIZE 16 /* bytes of an interface's name in a comparison; fewer: how it begins */

/* ---- chains ---- */

struct chain {
	uint8_t nfproto;
	bool drops;
	char table[NET_CHAIN_NAME_SIZE], name[NET_CHAIN_NAME_SIZE];
};

static uint32_t u32_of(const struct nlattr *attr)
{
	uint32_t value = 0;

	if (attr && nla_len(attr) == (int)sizeof(value))
		memcpy(&value, nla_data(attr), sizeof(value));
	return be32toh(value);
}

static bool is_text(const struct nlattr *attr, const char *text)
{
	return attr && nla_strcmp(attr, text) == 0;
}

static void copy_name(char ret[static NET_CHAIN_NAME_SIZE], const struct nlattr *attr)
{
	(void)nla_strlcpy(ret, attr, NET_CHAIN_NAME_SIZE);
}

/* net_parse_fn: filter chains of hook forward, of the families that packets of IP have. */
static int parse_chain(struct nlmsghdr *hdr, void *item)
{
	struct nlattr *tb[NFTA_CHAIN_MAX + 1], *hook[NFTA_HOOK_MAX + 1];
	const struct nfgenmsg *head = nlmsg_data(hdr);
	struct chain *chain = item;

	if (!nlmsg_valid_hdr(hdr, sizeof(*head)) || nlmsg_parse(hdr, sizeof(*head), tb, NFTA_CHAIN_MAX, NULL) < 0 ||
	    !tb[NFTA_CHAIN_TABLE] || !tb[NFTA_CHAIN_NAME])
		return -EBADMSG;
	if (head->nfgen_family != NFPROTO_INET && head->nfgen_family != NFPROTO_IPV4 &&
	    head->nfgen_family != NFPROTO_IPV6)
		return 1;
	if (!tb[NFTA_CHAIN_HOOK] || nla_parse_nested(hook, NFTA_HOOK_MAX, tb[NFTA_CHAIN_HOOK], NULL) < 0 ||
	    u32_of(hook[NFTA_HOOK_HOOKNUM]) != NF_INET_FORWARD || !is_text(tb[NFTA_CHAIN_TYPE], "filter"))
		return 1;
	*chain = (struct chain){ .nfproto = head->nfgen_family,
				 .drops = tb[NFTA_CHAIN_POLICY] && u32_of(tb[NFTA_CHAIN_POLICY]) == NF_DROP };
	copy_name(chain->table, tb[NFTA_CHAIN_TABLE]);
	copy_name(chain->name, tb[NFTA_CHAIN_NAME]);
	return 0;
}

/* ---- rules ---- */

enum rule_end {
	RULE_OTHER, /* depends on the packet, or decides nothing */
	RULE_OPENS, /* accepts everything */
	RULE_CLOSES /* drops or rejects everything */
};

struct rule {
	char chain[NET_CHAIN_NAME_SIZE];
	uint64_t handle;
	enum rule_end end;
	char comment[COMMENT_SIZE];
	char in[REGISTER_NAME_SIZE], out[REGISTER_NAME_SIZE]; /* how names of links begin that it is about */
};

/* struct reading - of the expressions of one rule. */
struct reading {
	struct rule *rule;
	bool conditional;
	uint32_t meta; /* what the last `meta` loaded */
};

static void read_verdict(struct reading *r, struct nlattr *data)
{
	struct nlattr *imm[NFTA_IMMEDIATE_MAX + 1], *value[NFTA_DATA_MAX + 1], *verdict[NFTA_VERDICT_MAX + 1];

	if (nla_parse_nested(imm, NFTA_IMMEDIATE_MAX, data, NULL) < 0 || !imm[NFTA_IMMEDIATE_DATA] ||
	    nla_parse_nested(value, NFTA_DATA_MAX, imm[NFTA_IMMEDIATE_DATA], NULL) < 0)
		return;
	if (u32_of(imm[NFTA_IMMEDIATE_DREG]) != NFT_REG_VERDICT || !value[NFTA_DATA_VERDICT] ||
	    nla_parse_nested(verdict, NFTA_VERDICT_MAX, value[NFTA_DATA_VERDICT], NULL) < 0 ||
	    !verdict[NFTA_VERDICT_CODE])
		return;
	if (u32_of(verdict[NFTA_VERDICT_CODE]) == NF_DROP)
		r->rule->end = RULE_CLOSES;
	else if (u32_of(verdict[NFTA_VERDICT_CODE]) == NF_ACCEPT)
		r->rule->end = RULE_OPENS;
}

static void read_meta(struct reading *r, struct nlattr *data)
{
	struct nlattr *tb[NFTA_META_MAX + 1];

	r->conditional = true;
	r->meta = UINT32_MAX;
	if (nla_parse_nested(tb, NFTA_META_MAX, data, NULL) == 0 && tb[NFTA_META_KEY])
		r->meta = u32_of(tb[NFTA_META_KEY]);
}

/* A name that is compared whole, with its NUL (iptables) or with all of its bytes (nft), is no kind of links of ours. */
static void read_cmp(struct reading *r, struct nlattr *data)
{
	char *to = r->meta == NFT_META_IIFNAME ? r->rule->in : r->rule->out;
	struct nlattr *tb[NFTA_CMP_MAX + 1], *value[NFTA_DATA_MAX + 1];
	int len;

	r->conditional = true;
	if ((r->meta != NFT_META_IIFNAME && r->meta != NFT_META_OIFNAME) ||
	    nla_parse_nested(tb, NFTA_CMP_MAX, data, NULL) < 0 || !tb[NFTA_CMP_DATA] ||
	    u32_of(tb[NFTA_CMP_OP]) != NFT_CMP_EQ ||
	    nla_parse_nested(value, NFTA_DATA_MAX, tb[NFTA_CMP_DATA], NULL) < 0 || !value[NFTA_DATA_VALUE])
		return;
	len = nla_len(value[NFTA_DATA_VALUE]);
	if (len <= 0 || len >= REGISTER_NAME_SIZE || memchr(nla_data(value[NFTA_DATA_VALUE]), '\0', (size_t)len))
		return;
	memcpy(to, nla_data(value[NFTA_DATA_VALUE]), (size_t)len);
	to[len] = '\0';
}

/* iptables-nft keeps a comment here where its version does not keep it in the user data. */
static void read_match(struct reading *r, struct nlattr *data)
{
	struct nlattr *tb[NFTA_MATCH_MAX + 1];

	if (nla_parse_nested(tb, NFTA_MATCH_MAX, data, NULL) < 0 || !is_text(tb[NFTA_MATCH_NAME], "comment")) {
		r->conditional = true;
		return;
	}
	if (tb[NFTA_MATCH_INFO] && nla_len(tb[NFTA_MATCH_INFO]) > 0)
		(void)nla_strlcpy(r->rule->comment, tb[NFTA_MATCH_INFO], COMMENT_SIZE);
}

static void read_target(struct reading *r, struct nlattr *data)
{
	struct nlattr *tb[NFTA_TARGET_MAX + 1];

	if (nla_parse_nested(tb, NFTA_TARGET_MAX, data, NULL) == 0 &&
	    (is_text(tb[NFTA_TARGET_NAME], "REJECT") || is_text(tb[NFTA_TARGET_NAME], "DROP")))
		r->rule->end = RULE_CLOSES;
}

/* Says nothing about the packet, decides nothing. */
static void read_nothing(struct reading *r, struct nlattr *data)
{
	(void)r;
	(void)data;
}

static void read_reject(struct reading *r, struct nlattr *data)
{
	(void)data;
	r->rule->end = RULE_CLOSES;
}

/* What is not in the table is a condition. */
static void read_expression(struct reading *r, struct nlattr *elem)
{
	static const struct {
		const char *name;
		void (*read)(struct reading *r, struct nlattr *data);
	} kinds[] = {
		{ "counter", read_nothing },   { "log", read_nothing }, { "reject", read_reject },
		{ "immediate", read_verdict }, { "meta", read_meta },   { "cmp", read_cmp },
		{ "target", read_target },     { "match", read_match },
	};
	struct nlattr *tb[NFTA_EXPR_MAX + 1] = { NULL };

	if (nla_parse_nested(tb, NFTA_EXPR_MAX, elem, NULL) == 0 && tb[NFTA_EXPR_NAME] && tb[NFTA_EXPR_DATA]) {
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
			if (!is_text(tb[NFTA_EXPR_NAME], kinds[i].name))
				continue;
			kinds[i].read(r, tb[NFTA_EXPR_DATA]);
			return;
		}
	}
	r->conditional = true;
}

static void read_expressions(struct reading *r, struct nlattr *list)
{
	int left = nla_len(list);

	for (struct nlattr *elem = nla_data(list); nla_ok(elem, left); elem = nla_next(elem, &left))
		read_expression(r, elem);
}

/* Type, length, value, one behind the other; a text has its NUL. */
static void read_userdata(struct rule *rule, const struct nlattr *attr)
{
	const uint8_t *at = nla_data(attr), *end = at + nla_len(attr);

	while (end - at >= 2 && end - at - 2 >= at[1]) {
		size_t len = at[1];

		if (at[0] == UDATA_COMMENT && len > 0 && len <= COMMENT_SIZE && at[1 + len] == '\0')
			memcpy(rule->comment, at + 2, len);
		at += 2 + len;
	}
}

/* net_parse_fn */
static int parse_rule(struct nlmsghdr *hdr, void *item)
{
	struct nlattr *tb[NFTA_RULE_MAX + 1];
	struct rule *rule = item;
	struct reading r = { .rule = rule, .meta = UINT32_MAX };

	if (!nlmsg_valid_hdr(hdr, sizeof(struct nfgenmsg)) ||
	    nlmsg_parse(hdr, sizeof(struct nfgenmsg), tb, NFTA_RULE_MAX, NULL) < 0 || !tb[NFTA_RULE_CHAIN] ||
	    !tb[NFTA_RULE_HANDLE] || nla_len(tb[NFTA_RULE_HANDLE]) != (int)sizeof(rule->handle))
		return -EBADMSG;
	*rule = (struct rule){ 0 };
	copy_name(rule->chain, tb[NFTA_RULE_CHAIN]);
	memcpy(&rule->handle, nla_data(tb[NFTA_RULE_HANDLE]), sizeof(rule->handle));
	rule->handle = be64toh(rule->handle);
	if (tb[NFTA_RULE_USERDATA])
		read_userdata(rule, tb[NFTA_RULE_USERDATA]);
	if (tb[NFTA_RULE_EXPRESSIONS])
		read_expressions(&r, tb[NFTA_RULE_EXPRESSIONS]);
	if (r.conditional)
		rule->end = RULE_OTHER;
	return 0;
}

/* ---- what is closed ---- */

static uint32_t kind_bit(const struct net_forward_ask *ask, const char *begins)
{
	for (unsigned i = 0; i < ask->link_count; i++)
		if (*begins && str_equal(ask->links[i], begins))
			return 1U << i;
	return 0;
}

/* @rules: of its table, in their order. Return: does it close? */
static bool judge(const struct net_forward_ask *ask, const struct chain *chain, const struct net_list *rules,
		  struct net_closed_chain *ret)
{
	const struct rule *last = NULL;

	*ret = (struct net_closed_chain){ .family = chain->nfproto == NFPROTO_IPV4   ? IP_V4
						    : chain->nfproto == NFPROTO_IPV6 ? IP_V6
										     : IP_NONE };
	memcpy(ret->table, chain->table, sizeof(ret->table));
	memcpy(ret->name, chain->name, sizeof(ret->name));
	for (size_t i = 0; i < rules->count; i++) {
		const struct rule *rule = (const struct rule *)rules->items + i;
		uint32_t in = kind_bit(ask, rule->in), out = kind_bit(ask, rule->out);
		bool here = str_equal(rule->chain, chain->name);

		if (here)
			last = rule;
		if (!str_equal(rule->comment, ask->mark)) {
			ret->named = ret->named || in || out;
		} else if (here) {
			ret->from |= in;
			ret->to |= out;
		}
	}
	if (last && last->end == RULE_CLOSES)
		ret->last = last->handle;
	return ret->last || (chain->drops && !(last && last->end == RULE_OPENS));
}

static int dump(struct net *net, int message, uint8_t nfproto, const char *table, net_parse_fn parse,
		struct net_list *list, struct net_ack *ack)
{
	const struct nfgenmsg head = { .nfgen_family = nfproto, .version = NFNETLINK_V0 };
	struct net_msg msg;
	int rc;

	net_msg_init(&msg, NFT_TYPE(message), 0, &head, sizeof(head));
	if (table)
		net_msg_str(&msg, NFTA_RULE_TABLE, table);
	rc = net_dump(net, &msg, parse, list, ack);
	net_msg_done(&msg);
	return rc;
}

static int look_at(struct net *net, const struct net_forward_ask *ask, const struct chain *chain,
		   struct net_closed_chains *chains, struct net_ack *ack)
{
	_cleanup_list_ struct net_list rules = { .item_size = sizeof(struct rule) };
	int rc;

	if ((chain->nfproto == NFPROTO_INET && str_equal(chain->table, ask->own_table)) ||
	    chains->count == NET_CHAINS_MAX)
		return 0;
	rc = dump(net, NFT_MSG_GETRULE, chain->nfproto, chain->table, parse_rule, &rules, ack);
	if (rc == 0 && judge(ask, chain, &rules, &chains->list[chains->count]))
		chains->count++;
	return rc == -ENOENT ? 0 : rc; /* a table that went meanwhile closes nothing */
}

int net_nft_closed(const struct net_forward_ask *ask, struct net_closed_chains *chains, struct err *err)
{
	_cleanup_list_ struct net_list found = { .item_size = sizeof(struct chain) };
	struct net_ack ack = { 0 };
	struct net *net = NULL;
	int rc = net_new(NETLINK_NETFILTER, &net);

	if (rc < 0)
		return net_fail(err, rc, NULL, "open a netfilter socket");
	rc = dump(net, NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, NULL, parse_chain, &found, &ack);
	for (size_t i = 0; rc == 0 && i < found.count; i++)
		rc = look_at(net, ask, (const struct chain *)found.items + i, chains, &ack);
	net_close(net);
	return rc < 0 ? net_fail(err, rc, &ack, "read nft chains of hook forward") : 0;
}
