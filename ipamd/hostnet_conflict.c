/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: who else uses our numbers
 *
 * Marks, priorities and tables are agreements between programs that do not know each other. Two that use the same one
 * break each other's traffic, and nobody says why; so at the start what others already use is named. Nothing of theirs
 * is changed: the operator chooses, by the settings that are named too.
 *
 * Only a rule that could be looked at in place of ours counts: one with a mark under our mask, one that leads to a table
 * of ours, one at a priority of ours, where who comes first is a matter of luck. A route of others in a table of ours
 * is used for pods' packets, and so is one of theirs to an address that only this node knows: both lead to a pod. A rule of
 * nftables or iptables-nft that may change a bit of our mask is named once for its chain.
 */
#include <assert.h>
#include <stdio.h>

#include "berth/err.h"
#include "berth/str.h"
#include "berth/version.h"
#include "ipamd/hostnet_impl.h"

struct search {
	const struct hostnet_config *config;
	unsigned slots;
	hostnet_conflict_fn *fn;
	void *arg;
};

static bool is_within(uint32_t number, uint32_t base, unsigned count)
{
	return number >= base && number - base < count;
}

static void tell(const struct search *search, struct hostnet_conflict *conflict, const char *setting)
{
	conflict->setting = setting;
	search->fn(conflict, search->arg);
}

static int look_at_rule(const struct net_rule *rule, void *arg)
{
	const struct search *search = arg;
	const struct hostnet_config *config = search->config;
	struct hostnet_conflict conflict = { .family = rule->family, .protocol = rule->protocol };

	if (rule->protocol == BERTH_RTPROT)
		return 0;
	(void)snprintf(conflict.what, sizeof(conflict.what), "rule %u: fwmark 0x%x/0x%x lookup %u", rule->priority,
		       rule->fwmark, rule->fwmask, rule->table);
	if (rule->fwmask & config->mark_mask)
		tell(search, &conflict, "markMask");
	if (is_within(rule->table, config->table_base, search->slots))
		tell(search, &conflict, "tableBase");
	if (is_within(rule->priority, config->rule_priority, search->slots))
		tell(search, &conflict, "rulePriority");
	return 0;
}

static int look_at_route(const struct net_route *route, void *arg)
{
	const struct search *search = arg;
	struct hostnet_conflict conflict = { .family = (enum ip_family)route->dst.addr.family,
					     .protocol = route->protocol };
	const struct prefix *egress = &search->config->egress[ip_index(route->dst.addr.family)];
	char text[PREFIX_STRLEN];

	if (route->protocol == BERTH_RTPROT)
		return 0;
	if (egress->addr.family && prefix_covers(egress, &route->dst)) {
		(void)snprintf(conflict.what, sizeof(conflict.what), "route to %s", prefix_str(&route->dst, text));
		tell(search, &conflict, egress->addr.family == IP_V6 ? "v6Egress" : "v4Egress");
	}
	if (!is_within(route->table, search->config->table_base, search->slots))
		return 0;
	(void)snprintf(conflict.what, sizeof(conflict.what), "route to %s in table %u", prefix_str(&route->dst, text),
		       route->table);
	tell(search, &conflict, "tableBase");
	return 0;
}

struct mark_search {
	uint32_t mask;
	hostnet_conflict_fn *fn;
	void *arg;
	struct net_nft_mark last;
};

static int look_at_mark(const struct net_nft_mark *mark, void *arg)
{
	struct mark_search *search = arg;
	struct hostnet_conflict conflict = { .setting = "markMask" };

	if (!(mark->bits & search->mask) ||
	    (str_equal(mark->chain, search->last.chain) && str_equal(mark->table, search->last.table) &&
	     str_equal(mark->family, search->last.family ? search->last.family : "")))
		return 0;
	search->last = *mark;
	(void)snprintf(conflict.what, sizeof(conflict.what), "nft table %s %.32s chain %.32s: %smark bits 0x%x",
		       mark->family, mark->table, mark->chain, mark->ct ? "ct " : "", mark->bits);
	search->fn(&conflict, search->arg);
	return 0;
}

int hostnet_mark_conflicts(uint32_t mask, int64_t deadline_us, hostnet_conflict_fn *fn, void *arg, struct err *err)
{
	struct mark_search search = { .mask = mask, .fn = fn, .arg = arg };

	return net_nft_marks("berth", deadline_us, look_at_mark, &search, err) < 0 ? -1 : 0;
}

int hostnet_conflicts(struct hostnet *hostnet, hostnet_conflict_fn *fn, void *arg, struct err *err)
{
	struct search search = { .config = &hostnet->config, .fn = fn, .arg = arg };
	struct err ignored;

	assert(fn);
	search.slots = hostnet_slots_max(hostnet->config.mark_mask);
	if (search.slots > CLOUD_NICS_MAX)
		search.slots = CLOUD_NICS_MAX;
	if (net_rules(hostnet->net, IP_V4, look_at_rule, &search, err) < 0 ||
	    net_routes(hostnet->net, IP_V4, 0, look_at_route, &search, err) < 0)
		return err_wrap(err, "look for conflicts");
	/* a kernel without IPv6 has none */
	(void)net_rules(hostnet->net, IP_V6, look_at_rule, &search, &ignored);
	(void)net_routes(hostnet->net, IP_V6, 0, look_at_route, &search, &ignored);
	return 0;
}
