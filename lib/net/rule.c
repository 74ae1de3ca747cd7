/* SPDX-License-Identifier: Apache-2.0 */
/* Policy rules: fwmark and mask to table. */
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "net_internal.h"

static const struct nla_policy rule_policy[FRA_MAX + 1] = {
	[FRA_PRIORITY] = { .type = NLA_U32 }, [FRA_FWMARK] = { .type = NLA_U32 },  [FRA_FWMASK] = { .type = NLA_U32 },
	[FRA_TABLE] = { .type = NLA_U32 },    [FRA_PROTOCOL] = { .type = NLA_U8 },
};

static uint32_t get_u32(const struct nlattr *attr)
{
	return attr ? nla_get_u32(attr) : 0;
}

int net_parse_rule(struct nlmsghdr *hdr, void *item)
{
	struct nlattr *tb[FRA_MAX + 1];
	struct net_rule rule = { 0 };
	const struct fib_rule_hdr *frh;

	if (hdr->nlmsg_type != RTM_NEWRULE && hdr->nlmsg_type != RTM_DELRULE)
		return 1;
	if (nlmsg_parse(hdr, sizeof(*frh), tb, FRA_MAX, rule_policy) < 0)
		return -EBADMSG;
	frh = nlmsg_data(hdr);
	if (net_family(frh->family) == IP_NONE)
		return 1;
	rule.family = net_family(frh->family);
	rule.priority = get_u32(tb[FRA_PRIORITY]);
	rule.fwmark = get_u32(tb[FRA_FWMARK]);
	rule.fwmask = get_u32(tb[FRA_FWMASK]);
	rule.table = tb[FRA_TABLE] ? nla_get_u32(tb[FRA_TABLE]) : frh->table;
	rule.protocol = tb[FRA_PROTOCOL] ? nla_get_u8(tb[FRA_PROTOCOL]) : 0;
	memcpy(item, &rule, sizeof(rule));
	return 0;
}

static int check_rule(const struct net_rule *rule, struct err *err)
{
	if (net_af(rule->family) != AF_UNSPEC && rule->priority != 0 && rule->table != 0)
		return 0;
	return err_set(err, ERR_INVALID, NET_DOMAIN, "rule without family, priority or table");
}

static void rule_msg(struct net_msg *msg, int type, int flags, const struct net_rule *rule)
{
	struct fib_rule_hdr frh = {
		.family = net_af(rule->family),
		.action = FR_ACT_TO_TBL,
		.table = rule->table <= UINT8_MAX ? (uint8_t)rule->table : RT_TABLE_UNSPEC,
	};

	net_msg_init(msg, type, flags, &frh, sizeof(frh));
	net_msg_u32(msg, FRA_PRIORITY, rule->priority);
	net_msg_u32(msg, FRA_TABLE, rule->table);
	net_msg_put(msg, FRA_PROTOCOL, &rule->protocol, sizeof(rule->protocol));
	if (rule->fwmark == 0 && rule->fwmask == 0)
		return;
	net_msg_u32(msg, FRA_FWMARK, rule->fwmark);
	net_msg_u32(msg, FRA_FWMASK, rule->fwmask);
}

int net_rule_add(struct net *net, const struct net_rule *rule, struct err *err)
{
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	if (check_rule(rule, err) < 0)
		return -1;
	rule_msg(&msg, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule);
	rc = net_call(net, &msg, &ack);
	if (rc < 0 && rc != -EEXIST)
		return net_fail(err, rc, &ack, "add rule %u: fwmark 0x%x/0x%x table %u", rule->priority, rule->fwmark,
				rule->fwmask, rule->table);
	return 0;
}

int net_rule_del(struct net *net, const struct net_rule *rule, struct err *err)
{
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	if (check_rule(rule, err) < 0)
		return -1;
	rule_msg(&msg, RTM_DELRULE, 0, rule);
	rc = net_call(net, &msg, &ack);
	if (rc < 0 && net_err_class(-rc) != ERR_NOTFOUND)
		return net_fail(err, rc, &ack, "remove rule %u: fwmark 0x%x/0x%x table %u", rule->priority,
				rule->fwmark, rule->fwmask, rule->table);
	return 0;
}

int net_rules(struct net *net, enum ip_family family, int (*fn)(const struct net_rule *rule, void *arg), void *arg,
	      struct err *err)
{
	_cleanup_list_ struct net_list list = { .item_size = sizeof(struct net_rule) };
	struct fib_rule_hdr frh = { .family = net_af(family) };
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	if (frh.family == AF_UNSPEC)
		return err_set(err, ERR_INVALID, NET_DOMAIN, "rules of no family");
	net_msg_init(&msg, RTM_GETRULE, 0, &frh, sizeof(frh));
	rc = net_dump(net, &msg, net_parse_rule, &list, &ack);
	if (rc < 0)
		return net_fail(err, rc, &ack, "list rules");
	for (size_t i = 0; rc == 0 && i < list.count; i++)
		rc = fn(&((const struct net_rule *)list.items)[i], arg);
	return rc;
}
