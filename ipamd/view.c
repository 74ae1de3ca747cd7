/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the cloud's word against ours
 *
 * A list adds what we do not hold at once. It takes nothing away at once: reads can be older than our last write, so a
 * block or NIC goes only when two lists in a row lack it, and a NIC that was mutated after the list was asked for, or from
 * which something was taken a few seconds before, is left alone. What is gone but carries pods becomes LOST: nothing new
 * is leased from it, and the pods are reported. It goes with its last pod, or comes back, if need be on another NIC.
 */
#include "ipamd/ipamd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "berth/clock.h"
#include "berth/log.h"
#include "berth/str.h"
#include "berth/version.h"

#define METADATA_LAG_US (30 * USEC_PER_SEC) /* a few seconds as measured by others; rarely tens of seconds */

#define HEX            "0123456789abcdef"
#define NAME_DIGITS    11
#define ADOPTED_IFNAME "adopted" /* no runtime asks for an interface of that name in a pod that it names by our link */

/* ---- leases ---- */

/* The address by which a lease is named in the log. */
static const struct ipaddr *first_addr(const struct lease *lease)
{
	return &lease->addrs[lease->addrs[0].family == IP_NONE];
}

static int hold_lost(struct ipamd *d, const struct lease *lease, const struct ipaddr *addr, int64_t now_us)
{
	const struct pool_nic *primary = pool_nic_next(d->pool, NULL);
	struct prefix prefix = prefix_host(addr);
	char text[IPADDR_STRLEN];
	int r = primary ? pool_block_add(d->pool, primary->slot, &prefix, now_us) : -ENOENT;

	if (r < 0)
		return r;
	log_error("a running pod has an address that the cloud does not show", "addr=%s container=%s",
		  ipaddr_str(addr, text), lease->key.container);
	pool_block_set_state(d->pool, &prefix, BLOCK_LOST, now_us);
	return 0;
}

/* A lease whose address no block holds: the cloud took it while we were away. The pod runs on, so does its lease. */
static int restore_lost(struct ipamd *d, const struct lease *lease, int64_t now_us)
{
	struct pool_block_view block;
	int r = 0;

	for (unsigned i = 0; i < IP_FAMILIES && r == 0; i++)
		if (lease->addrs[i].family != IP_NONE && !pool_block_of(d->pool, &lease->addrs[i], &block))
			r = hold_lost(d, lease, &lease->addrs[i], now_us);
	return r < 0 ? r : pool_lease_restore(d->pool, lease);
}

static void restore_lease(struct ipamd *d, const struct lease *lease, int64_t now_us)
{
	char text[IPADDR_STRLEN];
	int r = pool_lease_restore(d->pool, lease);

	(void)hostwork_learn_name(d, lease->host_ifname);

	if (r == -ENOENT)
		r = restore_lost(d, lease, now_us);
	if (r < 0)
		log_error("cannot restore a lease", "addr=%s container=%s err=\"%s\"",
			  ipaddr_str(first_addr(lease), text), lease->key.container, errno_str(-r));
}

/* ---- NICs and blocks ---- */

static bool view_has_block(const struct cloud_view *view, const char *nic, const struct prefix *prefix)
{
	for (unsigned n = 0; n < view->nic_count; n++)
		for (unsigned b = 0; str_equal(view->nics[n].id, nic) && b < view->nics[n].block_count; b++)
			if (prefix_cmp(&view->nics[n].blocks[b].prefix, prefix) == 0)
				return true;
	return false;
}

static bool view_has_nic(const struct cloud_view *view, const char *id)
{
	for (unsigned n = 0; n < view->nic_count; n++)
		if (str_equal(view->nics[n].id, id))
			return true;
	return false;
}

/* May this list speak about that slot? */
static bool is_current(const struct ipamd *d, const struct pool_nic *nic, int64_t submitted_us)
{
	return nic->busy == NIC_IDLE && d->mutated_us[nic->slot] < submitted_us;
}

struct moving {
	const struct prefix *to;
	struct prefix from[POOL_BLOCK_SIZE_MAX]; /* LOST blocks inside @to, or around it */
	unsigned from_count;
	struct lease *leases; /* owned */
	unsigned lease_count;
};

static int find_lost(const struct pool_block_view *block, void *arg)
{
	struct moving *m = arg;

	if (!prefix_overlaps(&block->prefix, m->to))
		return 0;
	if (block->state != BLOCK_LOST || m->from_count == ARRAY_SIZE(m->from))
		return -EEXIST;
	m->from[m->from_count++] = block->prefix;
	return 0;
}

static bool is_moving_addr(const struct moving *m, const struct ipaddr *addr)
{
	for (unsigned i = 0; i < m->from_count; i++)
		if (prefix_contains(&m->from[i], addr))
			return true;
	return false;
}

static int find_moving_lease(const struct lease *lease, void *arg)
{
	struct moving *m = arg;
	struct lease *grown;

	if (!is_moving_addr(m, &lease->addrs[0]) && !is_moving_addr(m, &lease->addrs[1]))
		return 0;
	grown = realloc(m->leases, (m->lease_count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	m->leases = grown;
	m->leases[m->lease_count++] = *lease;
	return 0;
}

/* What was lost turns up on another NIC or in a block of another size: its leases move there. */
static int move_lost(struct ipamd *d, unsigned slot, const struct prefix *to, int64_t now_us)
{
	struct moving m = { .to = to };
	int r = pool_blocks(d->pool, find_lost, &m);

	if (r == 0)
		r = pool_leases(d->pool, find_moving_lease, &m);
	if (r == 0) {
		for (unsigned i = 0; i < m.lease_count; i++)
			(void)pool_lease_release(d->pool, &m.leases[i].key, now_us, NULL);
		for (unsigned i = 0; i < m.from_count; i++)
			pool_block_remove(d->pool, &m.from[i]);
		r = pool_block_add(d->pool, slot, to, now_us);
		for (unsigned i = 0; i < m.lease_count; i++)
			restore_lease(d, &m.leases[i], now_us);
	}
	free(m.leases);
	return r;
}

struct resting {
	struct ipamd *d;
	const struct prefix *block;
	int64_t now_us;
};

static int rest_again(const struct ipaddr *addr, int64_t until_us, void *arg)
{
	struct resting *r = arg;

	if (until_us > r->now_us && prefix_contains(r->block, addr))
		(void)pool_cooldown_restore(r->d->pool, addr, until_us);
	return 0;
}

/* A block that was given up with addresses that rested, and is back before their time: the store remembers. */
static void keep_resting(struct ipamd *d, const struct prefix *block, int64_t now_us)
{
	struct resting r = { d, block, now_us };
	struct err err;

	if (d->listed && store_cooldowns(d->store, rest_again, &r, &err) < 0)
		log_warn("cannot load cooldowns", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
}

static void merge_block(struct ipamd *d, const struct pool_nic *nic, const struct prefix *prefix, int64_t now_us)
{
	char text[PREFIX_STRLEN];
	struct pool_block_view block;
	int r;

	if (pool_block_get(d->pool, prefix, &block) && (block.state != BLOCK_LOST || block.nic_slot == nic->slot)) {
		/* RELEASING on an idle NIC: nobody knew whether the release was done. It was not. */
		if ((block.state == BLOCK_LOST || block.state == BLOCK_RELEASING) && block.nic_slot == nic->slot) {
			log_info("a block is still ours", "block=%s nic=%s was=%s", prefix_str(prefix, text), nic->id,
				 block_state_name(block.state));
			pool_block_set_state(d->pool, prefix, BLOCK_PENDING, now_us);
			d->host_dirty = true;
		}
		return;
	}
	r = pool_block_add(d->pool, nic->slot, prefix, now_us);
	if (r == -EEXIST)
		r = move_lost(d, nic->slot, prefix, now_us);
	if (r < 0)
		log_warn("cannot hold a block that the cloud shows", "block=%s nic=%s err=\"%s\"",
			 prefix_str(prefix, text), nic->id, errno_str(-r));
	else
		keep_resting(d, prefix, now_us);
	d->host_dirty = d->host_dirty || r == 0;
}

static void merge_nic(struct ipamd *d, const struct cloud_nic *seen, int64_t submitted_us, int64_t now_us)
{
	const struct pool_nic *nic = pool_nic_by_id(d->pool, seen->id);

	if (!nic) {
		/* Under an attach in flight this NIC may be what it will return, at whatever slot, or what it takes back:
		 * pods must not get addresses of it yet. One that left a slot a moment ago may be shown for a while. */
		if (!seen->attached || (!seen->foreign && d->running[JOB_ATTACH]) || seen->slot >= CLOUD_NICS_MAX ||
		    pool_nic_by_slot(d->pool, seen->slot) || d->taken_us[seen->slot] >= submitted_us ||
		    d->mutated_us[seen->slot] >= submitted_us)
			return;
		nic = pool_nic_add(d->pool, seen, now_us);
		if (!nic) {
			log_warn("cannot hold a NIC that the cloud shows", "nic=%s slot=%u", seen->id, seen->slot);
			return;
		}
		d->host_dirty = true;
		log_info("NIC found", "nic=%s slot=%u foreign=%d", seen->id, seen->slot, seen->foreign);
	}
	if (nic->state == NIC_FOREIGN || !is_current(d, nic, submitted_us))
		return;
	if (d->taken_us[nic->slot] < submitted_us) {
		if (nic->state == NIC_LOST || (nic->state == NIC_DETACHING && seen->attached))
			pool_nic_set_state(d->pool, nic->slot, NIC_CONFIGURING, now_us);
		for (unsigned b = 0; b < seen->block_count; b++)
			merge_block(d, nic, &seen->blocks[b].prefix, now_us);
	}
	pool_nic_set_stale(d->pool, nic->slot, false);
}

/* ---- what the list lacks ---- */

struct lacking {
	struct ipamd *d;
	const struct cloud_view *view;
	int64_t submitted_us;
	struct prefix list[IPAMD_MISSING_MAX];
	unsigned count;
	bool overflow;
};

static int find_lacking(const struct pool_block_view *block, void *arg)
{
	struct lacking *l = arg;
	const struct pool_nic *nic = pool_nic_by_slot(l->d->pool, block->nic_slot);

	/* A LOST block stays for its pods and goes with the last of them: its cover would hide the address's next owner. */
	if (!nic || !is_current(l->d, nic, l->submitted_us) || (block->state == BLOCK_LOST && block->leased_count) ||
	    view_has_block(l->view, nic->id, &block->prefix))
		return 0;
	if (l->count == IPAMD_MISSING_MAX) {
		l->overflow = true;
		return 1;
	}
	l->list[l->count++] = block->prefix;
	return 0;
}

static bool was_missing(const struct ipamd *d, const struct prefix *prefix)
{
	for (unsigned i = 0; i < d->missing_count; i++)
		if (prefix_cmp(&d->missing[i], prefix) == 0)
			return true;
	return false;
}

static void give_up_block(struct ipamd *d, const struct prefix *prefix, int64_t now_us)
{
	char text[PREFIX_STRLEN];
	struct pool_block_view block;

	if (!pool_block_get(d->pool, prefix, &block))
		return;
	d->host_dirty = true;
	if (block.leased_count) {
		log_error("the cloud took a block away from running pods", "block=%s pods=%u", prefix_str(prefix, text),
			  block.leased_count);
		pool_block_set_state(d->pool, prefix, BLOCK_LOST, now_us);
		return;
	}
	log_warn("a block is gone", "block=%s", prefix_str(prefix, text));
	pool_block_set_state(d->pool, prefix, BLOCK_LOST, now_us);
	pool_block_remove(d->pool, prefix);
}

struct live {
	unsigned slot, count;
};

static int count_live(const struct pool_block_view *block, void *arg)
{
	struct live *live = arg;

	live->count += block->nic_slot == live->slot && block->state != BLOCK_LOST;
	return 0;
}

static bool has_live_blocks(const struct ipamd *d, unsigned slot)
{
	struct live live = { slot, 0 };

	(void)pool_blocks(d->pool, count_live, &live);
	return live.count > 0;
}

static bool holds_blocks(const struct pool_nic *nic)
{
	return nic->block_count[0] + nic->block_count[1] > 0;
}

static void give_up_nics(struct ipamd *d, const struct cloud_view *view, int64_t submitted_us, int64_t now_us)
{
	const struct pool_nic *nic = NULL;
	unsigned gone[CLOUD_NICS_MAX], count = 0;

	/* A NIC whose blocks are all gone or lost, and that this list lacks too, was lacking twice. */
	while ((nic = pool_nic_next(d->pool, nic)))
		if (nic->id[0] && !nic->primary && is_current(d, nic, submitted_us) && !view_has_nic(view, nic->id) &&
		    !has_live_blocks(d, nic->slot))
			gone[count++] = nic->slot;
	for (unsigned i = 0; i < count; i++) {
		nic = pool_nic_by_slot(d->pool, gone[i]);
		if (nic->state == NIC_LOST && holds_blocks(nic))
			continue; /* said before; its pods keep it */
		log_warn("a NIC is gone", "nic=%s slot=%u pods=%u", nic->id, nic->slot, nic->leased_count);
		if (nic->state != NIC_FOREIGN && nic->state != NIC_LOST)
			pool_nic_set_state(d->pool, gone[i], NIC_LOST, now_us);
		if (!holds_blocks(nic))
			pool_nic_remove(d->pool, gone[i]);
		d->host_dirty = true;
	}
}

static void give_up_blocks(struct ipamd *d, const struct cloud_view *view, int64_t submitted_us, int64_t now_us)
{
	struct lacking l = { .d = d, .view = view, .submitted_us = submitted_us };

	(void)pool_blocks(d->pool, find_lacking, &l);
	if (l.overflow) {
		log_error("the cloud's list lacks more blocks than can be true; ignored", "blocks=%u+", l.count);
		return;
	}
	for (unsigned i = 0; i < l.count; i++)
		if (was_missing(d, &l.list[i]))
			give_up_block(d, &l.list[i], now_us);
	d->missing_count = l.count;
	memcpy(d->missing, l.list, l.count * sizeof(l.list[0]));
}

void view_merge(struct ipamd *d, const struct cloud_view *view, int64_t submitted_us, int64_t now_us)
{
	/* First: a block that is on another NIC now can move there only when it is lost here. A later list may come too
	 * late: that NIC seems to be empty, and is filled or detached meanwhile. */
	give_up_blocks(d, view, submitted_us, now_us);
	for (unsigned n = 0; n < view->nic_count; n++)
		merge_nic(d, &view->nics[n], submitted_us, now_us);
	give_up_nics(d, view, submitted_us, now_us);
}

/* ---- metadata ---- */

struct unseen {
	const struct ipamd *d;
	const struct cloud_view *view;
	int64_t before_us;
	unsigned count; /* blocks of NICs that metadata may speak of, and which it does not show */
};

/* Metadata follows the cloud by seconds, by its own words: what was mutated a moment ago may differ. */
static bool is_settled(const struct ipamd *d, const struct pool_nic *nic, int64_t before_us)
{
	return nic->busy == NIC_IDLE && d->mutated_us[nic->slot] < before_us &&
	       (nic->state == NIC_READY || nic->state == NIC_CONFIGURING);
}

static int count_unseen(const struct pool_block_view *block, void *arg)
{
	struct unseen *u = arg;
	const struct pool_nic *nic = pool_nic_by_slot(u->d->pool, block->nic_slot);

	if (nic && is_settled(u->d, nic, u->before_us) && block->state != BLOCK_LOST)
		u->count += !view_has_block(u->view, nic->id, &block->prefix);
	return 0;
}

static bool nic_differs(const struct ipamd *d, const struct cloud_nic *seen, int64_t before_us)
{
	const struct pool_nic *nic = pool_nic_by_id(d->pool, seen->id);
	struct pool_block_view block;

	if (!nic)
		return !d->running[JOB_ATTACH] && !d->running[JOB_DETACH];
	for (unsigned i = 0; is_settled(d, nic, before_us) && i < seen->block_count; i++) {
		const struct prefix *prefix = &seen->blocks[i].prefix;

		/* An address of a family that pods do not get is the node's own affair. */
		if (pool_serves(d->pool, (enum ip_family)prefix->addr.family) &&
		    !pool_block_get(d->pool, prefix, &block))
			return true;
	}
	return false;
}

bool view_differs(const struct ipamd *d, const struct cloud_view *view, int64_t now_us)
{
	struct unseen u = { .d = d, .view = view, .before_us = now_us - METADATA_LAG_US };

	for (unsigned i = 0; i < view->nic_count; i++)
		if (nic_differs(d, &view->nics[i], u.before_us))
			return true;
	(void)pool_blocks(d->pool, count_unseen, &u);
	return u.count > 0;
}

/* ---- leases after a start ---- */

void adopted_key(const struct ipamd *d, const char *host_ifname, struct lease_key *ret)
{
	memset(ret, 0, sizeof(*ret));
	(void)str_copy(ret->network, sizeof(ret->network), d->config.network);
	(void)str_copy(ret->container, sizeof(ret->container), host_ifname);
	(void)str_copy(ret->ifname, sizeof(ret->ifname), ADOPTED_IFNAME);
}

bool lease_is_adopted(const struct lease *lease)
{
	return str_equal(lease->key.ifname, ADOPTED_IFNAME) && !lease->netns[0] && !lease->delegated;
}

void lease_host_ifname(const struct lease *lease, char ret[static LEASE_IFNAME_SIZE])
{
	if (lease_is_adopted(lease))
		(void)str_copy(ret, LEASE_IFNAME_SIZE, lease->key.container);
	else if (lease->host_ifname[0])
		(void)str_copy(ret, LEASE_IFNAME_SIZE, lease->host_ifname);
	else
		proto_host_ifname(&lease->key, ret);
}

static int restore_cooldown(const struct ipaddr *addr, int64_t until_us, void *arg)
{
	struct ipamd *d = arg;

	(void)pool_cooldown_restore(d->pool, addr, until_us); /* not ours any more, or leased: nothing rests */
	return 0;
}

struct adopt {
	struct ipamd *d;
	int64_t now_us;
};

struct rest {
	const struct ipaddr *addr;
	bool found;
};

static int find_rest(const struct ipaddr *addr, int64_t until_us, void *arg)
{
	struct rest *rest = arg;

	(void)until_us;
	rest->found = rest->found || ipaddr_equal(addr, rest->addr);
	return rest->found;
}

/* The store knows that the address was given back: a daemon before us ended before it took the pod's route away. */
static bool was_released(struct ipamd *d, const struct ipaddr *addr)
{
	struct rest rest = { addr, false };
	struct err err;

	(void)store_cooldowns(d->store, find_rest, &rest, &err);
	return rest.found;
}

/* By our name, or one that was asked for: those end with 11 hex digits. */
static bool is_host_end(const struct net_link *link)
{
	size_t len = strlen(link->name), digits = len > NAME_DIGITS ? strspn(link->name + len - NAME_DIGITS, HEX) : 0;

	return str_starts(link->name, HOSTNET_POD_LINKS) || (digits == NAME_DIGITS && str_equal(link->kind, "veth"));
}

/* A pod's route without a lease: the store was lost, the pod was not. */
static int adopt_route(const struct net_route *route, void *arg)
{
	struct adopt *a = arg;
	struct lease lease = { .state = LEASE_BOUND, .since_us = a->now_us, .addrs[0] = route->dst.addr };
	struct net_link link;
	char text[IPADDR_STRLEN];
	struct err err;

	if (route->protocol != BERTH_RTPROT || route->type != NET_ROUTE_UNICAST || !route->oif ||
	    route->dst.len != ipaddr_bits(&route->dst.addr) || pool_lease_by_addr(a->d->pool, &route->dst.addr))
		return 0;
	if (net_link_by_index(a->d->net, route->oif, &link, &err) < 0 || !is_host_end(&link))
		return 0;
	(void)hostwork_learn_name(a->d, link.name);
	if (was_released(a->d, &route->dst.addr)) {
		hostwork_pod_down(a->d, lease.addrs, link.name);
		return 0;
	}
	adopted_key(a->d, link.name, &lease.key);
	restore_lease(a->d, &lease, a->now_us);
	if (store_lease_put(a->d->store, &lease, &err) < 0)
		log_error("cannot store an adopted lease", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
	a->d->stats.adopted++;
	log_warn("adopted a pod that only the kernel knew", "addr=%s link=%s", ipaddr_str(&route->dst.addr, text),
		 link.name);
	return 0;
}

/* net_link_by_index() must not run inside a dump of the same socket: collect first. */
#define ADOPT_MAX 4096 /* routes; no node runs more pods */
struct routes {
	struct net_route *list;
	unsigned count;
};

static int collect_route(const struct net_route *route, void *arg)
{
	struct routes *r = arg;

	if (r->count < ADOPT_MAX)
		r->list[r->count++] = *route;
	return 0;
}

static void adopt_pods(struct ipamd *d, int64_t now_us)
{
	struct adopt a = { d, now_us };
	struct routes r = { calloc(ADOPT_MAX, sizeof(struct net_route)), 0 };
	struct err err;

	if (!r.list || net_routes(d->net, IP_V4, NET_TABLE_LOCAL, collect_route, &r, &err) < 0)
		log_error("cannot look for pods that only the kernel knows", "");
	for (unsigned i = 0; r.list && i < r.count; i++)
		(void)adopt_route(&r.list[i], &a);
	free(r.list);
}

void view_restore(struct ipamd *d, int64_t now_us)
{
	for (unsigned i = 0; i < d->early_count; i++)
		restore_lease(d, &d->early[i], now_us);
	free(take_ptr(d->early));
	d->early_count = 0;
}

void view_adopt(struct ipamd *d, int64_t now_us)
{
	struct err err;

	if (store_cooldowns(d->store, restore_cooldown, d, &err) < 0)
		log_warn("cannot load cooldowns", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
	adopt_pods(d, now_us);
}
