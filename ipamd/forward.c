/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/forward.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/str.h"
#include "ipamd/program.h"

#define LOCK_WAIT "--wait=5" /* seconds for the lock of iptables-legacy, which kube-proxy holds for long */

/* ---- looking ---- */

static int look(const struct forward *forward, struct net_closed_chains *ret, struct err *err)
{
	struct net_forward_ask ask = { .own_table = "berth", .mark = FORWARD_MARK, .link_count = forward->link_count };

	static_assert(FORWARD_LINKS_MAX <= NET_LINK_KINDS_MAX, "each kind of link has a bit");
	for (unsigned i = 0; i < forward->link_count; i++)
		ask.links[i] = forward->links[i];
	ret->count = 0;
	return net_nft_closed(&ask, ret, err) < 0 || net_legacy_closed(&ask, ret, err) < 0 ? -1 : 0;
}

/* The chain that iptables makes, and that everybody who uses iptables expects rules of others in. */
static bool is_of_iptables(const struct net_closed_chain *chain)
{
	return chain->family != IP_NONE && str_equal(chain->table, "filter") && str_equal(chain->name, "FORWARD");
}

static bool has_our_rules(const struct forward *forward, const struct net_closed_chain *chain)
{
	uint32_t all = (1U << forward->link_count) - 1;

	return chain->from == all && chain->to == all;
}

static bool is_served(const struct forward *forward, const struct net_closed_chain *chain)
{
	return chain->family == IP_NONE || forward->serves[ip_index((enum ip_family)chain->family)];
}

/* ---- opening ---- */

static void open_nft(const struct forward *forward, const struct net_closed_chain *chain, struct strbuf *batch,
		     unsigned *added)
{
	const char *ip = chain->family == IP_V6 ? "ip6" : "ip";

	for (unsigned i = 0; i < 2 * forward->link_count; i++) {
		unsigned link = i / 2;
		bool to = i % 2;

		if ((to ? chain->to : chain->from) & 1U << link)
			continue;
		strbuf_printf(batch, "%s rule %s filter FORWARD", chain->last ? "insert" : "add", ip);
		if (chain->last)
			strbuf_printf(batch, " handle %" PRIu64, chain->last);
		strbuf_printf(batch, " %s \"%s*\" counter accept comment \"" FORWARD_MARK "\"\n",
			      to ? "oifname" : "iifname", forward->links[link]);
		(*added)++;
	}
}

static int open_legacy_one(const struct net_closed_chain *chain, const char *option, const char *link,
			   int64_t deadline_us, struct err *err)
{
	char begins[LEASE_IFNAME_SIZE + 1], number[24];
	const char *args[PROGRAM_ARGS_MAX] = { LOCK_WAIT, chain->last ? "-I" : "-A", "FORWARD" };
	const char *const rest[] = { option, begins, "-m", "comment", "--comment", FORWARD_MARK, "-j", "ACCEPT", NULL };
	const struct program program = { .name = chain->family == IP_V6 ? "ip6tables-legacy" : "iptables-legacy",
					 .args = args,
					 .input = "" };
	unsigned count = 3;

	(void)snprintf(begins, sizeof(begins), "%s+", link);
	(void)snprintf(number, sizeof(number), "%" PRIu64, chain->last);
	if (chain->last)
		args[count++] = number;
	memcpy(&args[count], rest, sizeof(rest));
	return program_run(&program, deadline_us, NULL, err);
}

static int open_legacy(const struct forward *forward, const struct net_closed_chain *chain, int64_t deadline_us,
		       unsigned *added, struct err *err)
{
	for (unsigned i = 0; i < 2 * forward->link_count; i++) {
		unsigned link = i / 2;
		bool to = i % 2;

		if ((to ? chain->to : chain->from) & 1U << link)
			continue;
		if (open_legacy_one(chain, to ? "-o" : "-i", forward->links[link], deadline_us, err) < 0)
			return -1;
		(*added)++;
	}
	return 0;
}

static int open_chain(const struct forward *forward, const struct net_closed_chain *chain, int64_t deadline_us,
		      unsigned *added, struct err *err)
{
	_cleanup_strbuf_ struct strbuf batch = { 0 };
	unsigned count = 0;

	if (chain->legacy)
		return open_legacy(forward, chain, deadline_us, added, err);
	open_nft(forward, chain, &batch, &count);
	if (batch.failed)
		return err_set(err, ERR_RETRY, "forward", "no memory for rules");
	if (nft_run(batch.text, deadline_us, NULL, err) < 0)
		return -1;
	*added += count;
	return 0;
}

/* ---- telling ---- */

static void tell(const struct forward *forward, const struct net_closed_chain *chain, struct forward_problem *ret)
{
	static const char *const families[] = { "inet", "ip", "ip6" };
	const char *family = families[chain->family == IP_NONE ? 0 : chain->family == IP_V4 ? 1 : 2];
	const char *tool = chain->family == IP_V6 ? "ip6tables" : "iptables", *link = forward->links[0];

	(void)snprintf(ret->what, sizeof(ret->what), "%s %s %s %s drops what pods send and get, by its %s",
		       chain->legacy ? "iptables-legacy" : "nft", family, chain->table, chain->name,
		       chain->last ? "last rule" : "policy");
	if (is_of_iptables(chain))
		(void)snprintf(ret->hint, sizeof(ret->hint),
			       "%s%s %s FORWARD -i %s+ -j ACCEPT, and the same with -o; or the setting forwardAccept",
			       tool, chain->legacy ? "-legacy" : "", chain->last ? "-I" : "-A", link);
	else if (str_equal(chain->table, "firewalld"))
		(void)snprintf(ret->hint, sizeof(ret->hint),
			       "firewall-cmd --permanent --zone=trusted --add-interface=%s+; firewall-cmd --reload",
			       link);
	else
		(void)snprintf(ret->hint, sizeof(ret->hint),
			       "nft insert rule %s %s %s iifname \"%s*\" accept, and the same with oifname, to stay",
			       family, chain->table, chain->name, link);
}

/* Is there anything about this chain that somebody must know or do? */
static bool is_problem(const struct forward *forward, const struct net_closed_chain *chain)
{
	return is_served(forward, chain) && !has_our_rules(forward, chain) &&
	       (!chain->named || (forward->accept && is_of_iptables(chain)));
}

/* struct failures - why rules could not be put into a chain of iptables, by kind and family. */
struct failures {
	struct err errs[2][IP_FAMILIES];
};

static struct err *failure_of(struct failures *failures, const struct net_closed_chain *chain)
{
	return &failures->errs[chain->legacy][ip_index((enum ip_family)chain->family)];
}

static void tell_all(struct forward *forward, const struct net_closed_chains *chains, struct failures *failures)
{
	for (unsigned i = 0; i < chains->count; i++) {
		struct forward_problem *problem = &forward->problems[forward->problem_count];

		if (!is_problem(forward, &chains->list[i]))
			continue;
		*problem = (struct forward_problem){ 0 };
		tell(forward, &chains->list[i], problem);
		if (forward->accept && is_of_iptables(&chains->list[i])) {
			const struct err *failed = failure_of(failures, &chains->list[i]);

			forward->blind = forward->blind || !failed->class;
			(void)snprintf(problem->error, sizeof(problem->error), "%s",
				       failed->class ? failed->msg : "rules were put there, and are not there");
		}
		forward->problem_count++;
	}
}

int forward_look(struct forward *forward, int64_t deadline_us, struct err *err)
{
	struct failures failures = { 0 };
	struct net_closed_chains chains;

	forward->added = forward->problem_count = 0;
	if (look(forward, &chains, err) < 0)
		return -1;
	for (unsigned i = 0; forward->accept && i < chains.count; i++)
		if (is_of_iptables(&chains.list[i]) && is_problem(forward, &chains.list[i]))
			(void)open_chain(forward, &chains.list[i], deadline_us, &forward->added,
					 failure_of(&failures, &chains.list[i]));
	if (forward->added && look(forward, &chains, err) < 0)
		return -1;
	tell_all(forward, &chains, &failures);
	return 0;
}
