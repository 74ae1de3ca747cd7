/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: wanted and there
 *
 * What is wanted is a sorted list of routes, at most one per table and destination. One dump per family is held against
 * it: a route of ours that is wanted is ticked off, one that is not wanted is put on the list of removals, a route of
 * somebody else where ours should be is a conflict. What is left unticked is missing. The kernel is changed only after
 * it was read, so that a second sync finds nothing to do. Rules are so few that each is looked up in turn.
 */
#include <linux/rtnetlink.h>
#include <stdlib.h>

#include "berth/err.h"
#include "berth/version.h"
#include "ipamd/hostnet_impl.h"

/* ---- what is wanted ---- */

struct want {
	enum want_kind kind;
	unsigned rank; /* of two for the same table and destination, the lower one counts */
	struct net_route route;
	bool seen;
	bool foreign; /* somebody else's route is there */
};

void sync_want_route(struct sync *sync, enum want_kind kind, unsigned rank, const struct net_route *route)
{
	struct want *want = sync_list_add(&sync->wants, sizeof(*want), HOSTNET_ROUTES_MAX);

	if (!want) {
		sync_note_memory(sync);
		return;
	}
	want->kind = kind;
	want->rank = rank;
	want->route = *route;
	want->route.protocol = BERTH_RTPROT;
}

static int compare_place(const struct net_route *a, const struct net_route *b)
{
	if (a->table != b->table)
		return a->table < b->table ? -1 : 1;
	return prefix_cmp(&a->dst, &b->dst);
}

static int compare_wants(const void *a, const void *b)
{
	const struct want *x = a, *y = b;
	int r = compare_place(&x->route, &y->route);

	return r ? r : (int)x->rank - (int)y->rank;
}

/* Sorts, and leaves one per table and destination. */
static void settle_wants(struct sync *sync)
{
	struct want *wants = sync->wants.items;
	unsigned kept = 0;

	if (!sync->wants.count)
		return;
	qsort(wants, sync->wants.count, sizeof(*wants), compare_wants);
	for (unsigned i = 1; i < sync->wants.count; i++) {
		if (compare_place(&wants[kept].route, &wants[i].route) != 0)
			wants[++kept] = wants[i];
	}
	sync->wants.count = kept + 1;
}

/* ---- routes ---- */

static bool is_same(const struct net_route *have, const struct net_route *want)
{
	return have->type == want->type && have->oif == want->oif && ipaddr_equal(&have->gateway, &want->gateway);
}

static void remove_later(struct sync *sync, const struct net_route *route)
{
	struct net_route *kept = sync_list_add(&sync->removals, sizeof(*kept), HOSTNET_ROUTES_MAX);

	if (kept)
		*kept = *route;
	else
		sync_note_memory(sync);
}

/* Link-local addresses are of one link, whatever table leads there, and the way to the gateway. */
static bool is_link_local(const struct ipaddr *addr)
{
	return addr->family == IP_V6 && addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0x80;
}

/* Did the kernel make it for an address of a secondary NIC? */
static bool is_prefix_route(const struct sync *sync, const struct net_route *route)
{
	if (route->table != NET_TABLE_MAIN || route->protocol != RTPROT_KERNEL || route->type != NET_ROUTE_UNICAST ||
	    is_link_local(&route->dst.addr) || route->gateway.family != IP_NONE)
		return false;
	for (unsigned i = 0; i < sync->secondary_count; i++) {
		if (sync->secondary[i] == route->oif)
			return true;
	}
	return false;
}

static struct want *find_want(const struct sync *sync, const struct net_route *route)
{
	const struct want key = { .route = *route };
	struct want *wants = sync->wants.items;
	unsigned low = 0, high = sync->wants.count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		int r = compare_place(&wants[middle].route, &key.route);

		if (r == 0)
			return &wants[middle];
		if (r < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static void look_at_ours(struct sync *sync, const struct net_route *route)
{
	struct want *want = find_want(sync, route);

	if (!want)
		remove_later(sync, route);
	else if (want->kind == WANT_LEAVE || is_same(route, &want->route))
		want->seen = true;
}

static int look_at_route(const struct net_route *route, void *arg)
{
	struct sync *sync = arg;
	struct want *want;

	if (route->protocol == BERTH_RTPROT) {
		look_at_ours(sync, route);
		return 0;
	}
	want = find_want(sync, route);
	if (want)
		want->foreign = true;
	else if (is_prefix_route(sync, route))
		remove_later(sync, route);
	return 0;
}

static void remove_routes(struct sync *sync)
{
	const struct net_route *routes = sync->removals.items;
	struct err err;

	for (unsigned i = 0; i < sync->removals.count; i++) {
		if (net_route_del(sync->hostnet->net, &routes[i], &err) < 0)
			sync_note(sync, &err);
		else
			sync->report.removed++;
	}
}

/* A route of a NIC that cannot be made leaves that NIC not ready. */
static void unready(struct sync *sync, const struct net_route *route)
{
	for (unsigned i = 0; i < sync->want->nic_count; i++) {
		struct hostnet_nic *nic = &sync->want->nics[i];

		if (!nic->primary && route->table == sync->hostnet->config.table_base + nic->slot)
			nic->ready = false;
	}
}

static void add_route(struct sync *sync, const struct want *want)
{
	char text[PREFIX_STRLEN];
	struct err err;

	if (want->foreign) {
		(void)err_set(&err, ERR_CONFLICT, HOSTNET_DOMAIN,
			      "%s is in table %u already and not by us; is the address assigned to an interface?",
			      prefix_str(&want->route.dst, text), want->route.table);
	} else if (net_route_replace(sync->hostnet->net, &want->route, &err) == 0) {
		sync->report.added++;
		return;
	} else if (err.class == ERR_NOTFOUND && want->route.table == NET_TABLE_LOCAL) {
		sync->report.pods_without_link++; /* it went since the links were read */
		return;
	}
	unready(sync, &want->route);
	sync_note(sync, &err);
}

/* IPv4 has one route for a place, and what came first stays. IPv6 has several: the kernel's own for an address that
 * somebody assigned to an interface comes before ours, whenever it came. */
static bool is_overruled(const struct want *want)
{
	return want->foreign && want->route.table == NET_TABLE_LOCAL && want->route.dst.addr.family == IP_V6;
}

/* The gateway's route stands before the default that needs it: a default is /0 and sorts first. */
static void add_routes(struct sync *sync)
{
	const struct want *wants = sync->wants.items;

	for (unsigned i = sync->wants.count; i > 0; i--) {
		if (wants[i - 1].kind == WANT_PRESENT && (!wants[i - 1].seen || is_overruled(&wants[i - 1])))
			add_route(sync, &wants[i - 1]);
	}
}

/* A kernel without IPv6 lists no IPv6 routes or rules; that matters only where some are wanted, and then adding fails. */
int sync_routes(struct sync *sync, struct err *err)
{
	struct err why;

	settle_wants(sync);
	if (net_routes(sync->hostnet->net, IP_V4, 0, look_at_route, sync, err) < 0)
		return -1;
	if (net_routes(sync->hostnet->net, IP_V6, 0, look_at_route, sync, &why) < 0 && !hostnet_lacks_family(&why)) {
		if (err)
			*err = why;
		return -1;
	}
	remove_routes(sync);
	add_routes(sync);
	return 0;
}

/* ---- rules ---- */

struct want_rule {
	struct net_rule rule;
	bool seen;
};

void sync_want_rule(struct sync *sync, const struct hostnet_nic *nic, enum ip_family family)
{
	const struct hostnet_config *config = &sync->hostnet->config;
	struct want_rule *want = sync_list_add(&sync->rules, sizeof(*want), IP_FAMILIES * CLOUD_NICS_MAX);

	if (!want) {
		sync_note_memory(sync);
		return;
	}
	want->rule = (struct net_rule){
		.family = family,
		.priority = config->rule_priority + nic->slot,
		.fwmark = hostnet_mark(config->mark_mask, nic->slot),
		.fwmask = config->mark_mask,
		.table = nic->primary ? NET_TABLE_MAIN : config->table_base + nic->slot,
		.protocol = BERTH_RTPROT,
	};
}

static bool rule_equal(const struct net_rule *a, const struct net_rule *b)
{
	return a->family == b->family && a->priority == b->priority && a->fwmark == b->fwmark &&
	       a->fwmask == b->fwmask && a->table == b->table;
}

/* The list was read before the first call: deleting while walking is safe. */
static int look_at_rule(const struct net_rule *rule, void *arg)
{
	struct sync *sync = arg;
	struct want_rule *wants = sync->rules.items;
	struct err err;

	if (rule->protocol != BERTH_RTPROT)
		return 0;
	for (unsigned i = 0; i < sync->rules.count; i++) {
		if (rule_equal(rule, &wants[i].rule)) {
			wants[i].seen = true;
			return 0;
		}
	}
	if (net_rule_del(sync->hostnet->net, rule, &err) < 0)
		sync_note(sync, &err);
	else
		sync->report.removed++;
	return 0;
}

int sync_rules(struct sync *sync, struct err *err)
{
	const struct want_rule *wants = sync->rules.items;
	struct err rule_err;

	if (net_rules(sync->hostnet->net, IP_V4, look_at_rule, sync, err) < 0)
		return -1;
	if (net_rules(sync->hostnet->net, IP_V6, look_at_rule, sync, &rule_err) < 0 &&
	    !hostnet_lacks_family(&rule_err)) {
		if (err)
			*err = rule_err;
		return -1;
	}
	for (unsigned i = 0; i < sync->rules.count; i++) {
		if (wants[i].seen)
			continue;
		if (net_rule_add(sync->hostnet->net, &wants[i].rule, &rule_err) < 0)
			sync_note(sync, &rule_err);
		else
			sync->report.added++;
	}
	return 0;
}
