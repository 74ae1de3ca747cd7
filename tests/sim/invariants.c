/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: what must hold
 *
 * After every step, while a daemon runs: the pool is sound; what it would lease the cloud has on that NIC, unless another
 * writer took it and the daemon cannot know yet; no two pods that live have one address; a pod that lives keeps its route;
 * who waits is served while something is free; no NIC has more than the instance allows.
 *
 * What is looked at where it happens: leases and cooldowns in storedoor.c, one mutation per NIC in executor.c, foreign
 * NICs in cloud.c, answers and deadlines in pods.c.
 *
 * At rest: cloud = pool, store = pool, kernel = pool; nothing is left over; who waits has a reason.
 */
#include "tests/sim/world_impl.h"

#include <inttypes.h>
#include <string.h>

#include "berth/check.h"
#include "berth/str.h"

#define RECOVERS_AN_HOUR 12U /* calls for blocks that pods have lost to others: a few on each NIC */

/* ---- before a release or a detach ---- */

static bool pods_in_block(struct world *w, const struct prefix *block)
{
	unsigned at = subnet_offset(&block->addr);

	for (unsigned i = 0; i < 1U << (32 - block->len); i++)
		if (w->ledger[at + i].pod || w->ledger[at + i].free_at_us > w->now_us)
			return true;
	return false;
}

void invariants_taking(struct world *w, const struct job *job)
{
	const struct mnic *nic = cloud_nic(w, job->nic);
	char text[PREFIX_STRLEN];

	for (unsigned i = 0; job->kind == JOB_RELEASE && i < job->count; i++)
		if (pods_in_block(w, &job->blocks[i]))
			world_fail(w, "a block in use is never released", "%s of %s", prefix_str(&job->blocks[i], text),
				   job->nic);
	for (unsigned i = 0; job->kind == JOB_DETACH && nic && i < nic->block_count; i++)
		if (pods_in_block(w, &nic->blocks[i]) && !cloud_stolen(w, &nic->blocks[i]))
			world_fail(w, "a NIC in use is never detached", "%s with %s", job->nic,
				   prefix_str(&nic->blocks[i], text));
}

/* ---- after every step ---- */

static int check_block(const struct pool_block_view *block, void *arg)
{
	struct world *w = arg;
	const struct pool_nic *nic = pool_nic_by_slot(w->d->pool, block->nic_slot);
	char text[PREFIX_STRLEN];

	if (block->state == BLOCK_LOST || block->state == BLOCK_RELEASING || !nic || nic->state == NIC_LOST ||
	    nic->state == NIC_DETACHING)
		return 0;
	if (cloud_has(w, nic->id, &block->prefix) || cloud_stolen(w, &block->prefix))
		return 0;
	world_fail(w, "what is leased the cloud has", "%s block %s is not on %s", block_state_name(block->state),
		   prefix_str(&block->prefix, text), nic->id);
	return 1;
}

/* What can be leased the kernel knows. */
static int check_ready(const struct pool_block_view *block, void *arg)
{
	struct world *w = arg;
	char text[PREFIX_STRLEN];

	if (block->state == BLOCK_READY && pool_nic_by_slot(w->d->pool, block->nic_slot)->state == NIC_READY &&
	    !kernel_covers(w, &block->prefix))
		world_fail(w, "what is leased the kernel knows", "no cover for %s", prefix_str(&block->prefix, text));
	return 0;
}

/* Pod @i has @addr, and nobody else does. */
static void check_alone(struct world *w, const struct ipaddr *addr, unsigned i)
{
	struct ledger *at = ledger_of(w, addr);
	char text[IPADDR_STRLEN];

	if (at->seen_step == w->counters.steps)
		world_fail(w, "no address is leased twice", "%s in pods %u and %u", ipaddr_str(addr, text), i,
			   at->seen_pod);
	at->seen_step = w->counters.steps;
	at->seen_pod = i;
}

/* Of a secondary NIC whose device is there. */
static void check_mark(struct world *w, const struct pod *pod)
{
	struct pool_block_view block;
	char text[PREFIX_STRLEN];

	if (!w->d || !w->d->listed || ledger_of(w, &pod->addr)->stolen ||
	    !pool_block_of(w->d->pool, &pod->addr, &block) || block.nic_slot == 0 || block.state == BLOCK_LOST ||
	    !kernel_has_nic(w, &pool_nic_by_slot(w->d->pool, block.nic_slot)->mac))
		return;
	(void)prefix_str(&block.prefix, text);
	if (block.prefix.len == 32)
		(void)ipaddr_str(&block.prefix.addr, text);
	if (!w->kernel.nft || !strstr(w->kernel.nft, text))
		world_fail(w, "a running pod's packets leave by its NIC",
			   "%s of %010" PRIu32 " is not in the nft table", text, pod->serial);
}

static void check_pods(struct world *w)
{
	char text[IPADDR_STRLEN];

	for (unsigned i = 0; i < w->pod_top; i++) {
		const struct pod *pod = &w->pods[i];
		const struct kpod *have;

		if (pod->state != POD_LIVE || pod->del_said)
			continue;
		check_alone(w, &pod->addr, i);
		if (pod->egress.family != IP_NONE)
			check_alone(w, &pod->egress, i);
		have = kernel_pod(w, pod->host_ifname);
		if (have && !ipaddr_equal(&have->egress, &pod->egress))
			world_fail(w, "a running pod keeps its egress route", "%s of %010" PRIu32,
				   ipaddr_str(&pod->egress, text), pod->serial);
		if (!have || !have->route || !ipaddr_equal(&have->addr, &pod->addr))
			world_fail(w, "a running pod keeps its route", "%s of %010" PRIu32,
				   ipaddr_str(&pod->addr, text), pod->serial);
		check_mark(w, pod);
	}
}

/* Nobody else writes it here. */
static void check_table(struct world *w)
{
	if (w->d->nft_applied && !w->d->running[JOB_NFT] &&
	    !(w->kernel.nft && str_equal(w->kernel.nft, w->d->nft_applied)))
		world_fail(w, "the nft table is the one that is said to be loaded", "it is another one");
}

static void check_waiters(struct world *w)
{
	struct pool_counts counts;

	world_counts(w, &counts);
	if (w->d->listed && counts.free && w->d->waiting && w->wake_us > w->now_us)
		world_fail(w, "who waits is served", "%u wait, %u are free", w->d->waiting, counts.free);
}

/* Does this world do to the daemon what it cannot know of? */
static bool surprises(const struct world *w)
{
	const struct sim_faults *f = &w->scenario.faults;
	const struct sim_others *o = &w->scenario.others;

	return w->surprised || f->lost_request || f->lost_answer || f->unavailable || f->stale_read || f->no_effect ||
	       f->denied || f->crash || f->crash_mean_us || o->attach_nic_us || o->add_block_us || o->steal_block_us ||
	       o->close_nic_us;
}

static void check_limits(struct world *w)
{
	if (w->counters.over_limit && !surprises(w))
		world_fail(w, "nothing is asked for that cannot be", "%" PRIu64 " calls over the instance's limits",
			   w->counters.over_limit);
}

void invariants_check(struct world *w)
{
	struct err err = { 0 };

	if (w->failed)
		return;
	check_pods(w);
	check_limits(w);
	if (!w->d)
		return;
	if (w->d->listed)
		w->store_lost = false;
	if (pool_check(w->d->pool, &err) < 0)
		world_fail(w, "the pool is sound", "%s", err.msg);
	(void)pool_blocks(w->d->pool, check_block, w);
	(void)pool_blocks(w->d->pool, check_ready, w);
	check_table(w);
	check_waiters(w);
}

/* ---- what the settings want ---- */

static unsigned wanted_of(const struct world *w, const struct pool_counts *counts)
{
	const struct config *config = &w->scenario.config;
	unsigned wanted = counts->leased + w->d->waiting + w->d->warm_ips;

	wanted = wanted > config->min_ips ? wanted : config->min_ips;
	return wanted < config->max_pods ? wanted : config->max_pods;
}

/* ---- at rest: cloud = pool ---- */

static int check_in_cloud(const struct pool_block_view *block, void *arg)
{
	struct world *w = arg;
	const struct pool_nic *nic = pool_nic_by_slot(w->d->pool, block->nic_slot);
	char text[PREFIX_STRLEN];

	if (block->state == BLOCK_LOST) {
		if (!block->leased_count)
			world_fail(w, "at rest: a lost block goes with its last pod", "%s",
				   prefix_str(&block->prefix, text));
		return 0;
	}
	if (block->state != BLOCK_READY && block->state != BLOCK_DRAINING && nic->state == NIC_READY)
		world_fail(w, "at rest: every block is ready", "%s is %s", prefix_str(&block->prefix, text),
			   block_state_name(block->state));
	if (!cloud_has(w, nic->id, &block->prefix))
		world_fail(w, "at rest: pool = cloud", "%s is not on %s", prefix_str(&block->prefix, text), nic->id);
	return 0;
}

static void check_nic_in_pool(struct world *w, const struct mnic *nic)
{
	const struct pool_nic *have = pool_nic_by_id(w->d->pool, nic->id);
	struct pool_block_view block;
	char text[PREFIX_STRLEN];

	if (nic->state == MNIC_AVAILABLE && !nic->foreign)
		world_fail(w, "at rest: no NIC is left over", "%s", nic->id);
	if (nic->state != MNIC_ATTACHED)
		return;
	if (!have) {
		world_fail(w, "at rest: cloud = pool", "NIC %s is not in the pool", nic->id);
		return;
	}
	if ((have->busy != NIC_IDLE || have->stale) && !invariants_short(w))
		world_fail(w, "at rest: no NIC is busy", "%s", nic->id);
	if (nic->foreign)
		return;
	if (have->state != NIC_READY && nic->link_us <= w->now_us)
		world_fail(w, "at rest: every NIC is ready", "%s is %s", nic->id, nic_state_name(have->state));
	for (unsigned i = 0; i < nic->block_count; i++)
		if (!pool_block_get(w->d->pool, &nic->blocks[i], &block) || block.nic_slot != nic->slot)
			world_fail(w, "at rest: cloud = pool", "%s of %s is not in the pool",
				   prefix_str(&nic->blocks[i], text), nic->id);
}

static void check_cloud(struct world *w)
{
	const struct pool_nic *nic = NULL;

	for (unsigned i = 0; i < MODEL_NICS; i++)
		if (w->cloud.now.nics[i].state != MNIC_NONE)
			check_nic_in_pool(w, &w->cloud.now.nics[i]);
	while ((nic = pool_nic_next(w->d->pool, nic)))
		if (nic->id[0] && !cloud_nic(w, nic->id) && nic->state != NIC_LOST)
			world_fail(w, "at rest: pool = cloud", "NIC %s (%s) is not in the cloud", nic->id,
				   nic_state_name(nic->state));
	(void)pool_blocks(w->d->pool, check_in_cloud, w);
}

/* ---- at rest: store = pool = pods = kernel ---- */

static int check_stored(const struct lease *stored, void *arg)
{
	struct world *w = arg;
	const struct lease *lease = pool_lease_find(w->d->pool, &stored->key);

	if (!lease || !ipaddr_equal(lease_addr4(lease), lease_addr4(stored)) ||
	    !ipaddr_equal(&lease->egress, &stored->egress) || lease->state != stored->state)
		world_fail(w, "at rest: store = pool", "lease of %s", stored->key.container);
	return 0;
}

static int count_lease(const struct lease *lease, void *arg)
{
	(void)lease;
	(*(unsigned *)arg)++;
	return 0;
}

static int check_lease(const struct lease *lease, void *arg)
{
	struct world *w = arg;
	uint32_t serial = w->ledger[subnet_offset(lease_addr4(lease))].pod;
	const struct pod *pod = serial ? pods_find(w, serial) : NULL;

	/* Without its store nobody can tell a pod from what a dead runtime left wired. */
	if (w->stores_lost && lease_is_adopted(lease))
		return 0;
	if (!pod || (pod->state != POD_LIVE && pod->state != POD_WIRING))
		world_fail(w, "at rest: each lease has a pod", "%s, %s", lease->key.container,
			   lease_state_name(lease->state));
	return 0;
}

static int count_intent(const struct intent *intent, void *arg)
{
	(void)intent;
	(*(unsigned *)arg)++;
	return 0;
}

static void check_store(struct world *w)
{
	unsigned stored = 0, leased = 0, intents = 0;
	struct err err;

	(void)store_leases(w->d->store, check_stored, w, &err);
	(void)store_leases(w->d->store, count_lease, &stored, &err);
	(void)pool_leases(w->d->pool, count_lease, &leased);
	if (stored + w->adoptions_unstored < leased || stored > leased)
		world_fail(w, "at rest: store = pool", "%u leases stored, %u in the pool", stored, leased);
	(void)pool_leases(w->d->pool, check_lease, w);
	(void)store_intents(w->d->store, count_intent, &intents, &err);
	if (intents > w->intents_kept && !invariants_short(w))
		world_fail(w, "at rest: no intent is left", "%u, of which %u could not be deleted", intents,
			   w->intents_kept);
}

static int check_kernel_block(const struct pool_block_view *block, void *arg)
{
	struct world *w = arg;
	char text[PREFIX_STRLEN];

	(void)prefix_str(&block->prefix, text);
	if (!kernel_covers(w, &block->prefix))
		world_fail(w, "at rest: kernel = pool", "no cover for %s", text);
	if (block->nic_slot && block->state != BLOCK_LOST && w->d->host_nics[block->nic_slot].ifname[0] &&
	    (!w->kernel.nft ||
	     !strstr(w->kernel.nft, block->prefix.len == 32 ? ipaddr_str(&block->prefix.addr, text) : text)))
		world_fail(w, "at rest: kernel = pool", "%s is not in the nft table", text);
	return 0;
}

static int count_block(const struct pool_block_view *block, void *arg)
{
	(void)block;
	(*(unsigned *)arg)++;
	return 0;
}

/* Whom the table leads that port to; family 0: nobody. */
static struct ipaddr led_to(const struct world *w, const struct port_map *map)
{
	struct ipaddr addr = { 0 };
	char text[96];
	const char *at;

	(void)snprintf(text, sizeof(text), "\t%s . %u : ", runtime_protocol_name(map->protocol), map->host_port);
	at = w->kernel.nft ? strstr(w->kernel.nft, text) : NULL;
	if (!at)
		return addr;
	at += strlen(text);
	(void)snprintf(text, sizeof(text), "%.*s", (int)strcspn(at, " "), at);
	CHECK(ipaddr_parse(text, &addr) == 0);
	return addr;
}

/* Each port of a pod that lives is led to it, and none to an address that nobody has. What the store lost, no lease asks
 * for any more. */
static void check_ports(struct world *w)
{
	for (unsigned i = 0; i < MODEL_PODS; i++) {
		const struct pod place = { .name = i }, *pod = &w->pods[i];
		const struct port_map map = pods_port(&place);
		struct ipaddr to = led_to(w, &map);

		if (pod->state == POD_LIVE && pod->port && !w->stores_lost && !ipaddr_equal(&to, &pod->addr))
			world_fail(w, "at rest: kernel = pool", "port %u does not lead to its pod", map.host_port);
		if (to.family != IP_NONE && !pool_lease_by_addr(w->d->pool, &to))
			world_fail(w, "at rest: kernel = pool", "port %u leads to nobody", map.host_port);
	}
}

static void check_kernel(struct world *w)
{
	char text[IPADDR_STRLEN];
	unsigned blocks = 0;

	(void)pool_blocks(w->d->pool, check_kernel_block, w);
	check_ports(w);
	(void)pool_blocks(w->d->pool, count_block, &blocks);
	if (w->kernel.cover_count != blocks)
		world_fail(w, "at rest: kernel = pool", "%u covers for %u blocks", w->kernel.cover_count, blocks);
	if (w->kernel.egress_cover != w->scenario.config.egress[ip_index(IP_V6)])
		world_fail(w, "at rest: kernel = pool", "the egress range is%s covered",
			   w->kernel.egress_cover ? "" : " not");
	for (unsigned i = 0; i < w->kernel.pod_top; i++)
		if (w->kernel.pods[i].egress.family != IP_NONE && !egress_of(w->d->pool, &w->kernel.pods[i].egress))
			world_fail(w, "at rest: kernel = pool", "a route to %s, which nobody has",
				   ipaddr_str(&w->kernel.pods[i].egress, text));
	for (unsigned i = 0; i < w->kernel.pod_top; i++)
		if (w->kernel.pods[i].route && !pool_lease_by_addr(w->d->pool, &w->kernel.pods[i].addr))
			world_fail(w, "at rest: kernel = pool", "a route to %s, which nobody has",
				   ipaddr_str(&w->kernel.pods[i].addr, text));
}

/* ---- at rest: no more than is wanted, and reasons ---- */

struct surplus {
	struct world *w;
	int64_t spare; /* addresses above what is wanted */
};

static int check_surplus(const struct pool_block_view *block, void *arg)
{
	struct surplus *s = arg;
	char text[PREFIX_STRLEN];

	if (block->state == BLOCK_READY && !block->leased_count && !block->cooling_count &&
	    (int64_t)block->supply_count <= s->spare)
		world_fail(s->w, "at rest: what is not wanted goes back", "%s is idle, %" PRId64 " spare",
			   prefix_str(&block->prefix, text), s->spare);
	return 0;
}

static void check_owned(struct world *w)
{
	const struct config *config = &w->scenario.config;
	unsigned unit = 1U << (32 - w->scenario.shape.unit_len);
	struct pool_counts counts;
	struct surplus s = { .w = w };

	world_counts(w, &counts);
	s.spare = (int64_t)counts.free + counts.leased + counts.pending - wanted_of(w, &counts);
	(void)pool_blocks(w->d->pool, check_surplus, &s);
	if (!surprises(w) && counts.total >= config->max_pods + unit &&
	    w->scenario.shape.blocks_at_start * unit <= config->max_pods)
		world_fail(w, "at rest: no more than max pods are owned", "%u of %u", counts.total, config->max_pods);
}

/* A NIC whose device never came: its addresses are there and cannot be used. */
static bool link_lacks(const struct world *w)
{
	for (unsigned i = 0; i < MODEL_NICS; i++)
		if (w->cloud.now.nics[i].state == MNIC_ATTACHED && w->cloud.now.nics[i].link_us > w->now_us)
			return true;
	return false;
}

static void check_waiting(struct world *w)
{
	struct pool_counts counts;

	world_counts(w, &counts);
	for (unsigned i = 0; i < MODEL_PODS; i++) {
		const struct pod *pod = &w->pods[i];

		/* Above max pods there is no reason of its own: kubelet sends no such pod. */
		if ((pod->state != POD_ADDING && pod->state != POD_RETRY) ||
		    counts.leased >= w->scenario.config.max_pods)
			continue;
		if (cloud_room(w) && !link_lacks(w))
			world_fail(w, "at rest: nobody waits while the cloud has room", "%010" PRIu32 ": %s",
				   pod->serial, fail_reason_name(pod->last_reason));
		if (pod->tries && pod->last_reason != FAIL_SUBNET_FULL && pod->last_reason != FAIL_SUBNET_FRAGMENTED &&
		    pod->last_reason != FAIL_NIC_LIMIT && pod->last_reason != FAIL_COOLING && !link_lacks(w))
			world_fail(w, "at rest: who waits is told why", "%010" PRIu32 ": %s", pod->serial,
				   fail_reason_name(pod->last_reason));
	}
}

bool invariants_short(const struct world *w)
{
	struct pool_counts counts;

	if (!w->d || w->d->waiting || world_pods_in(w, POD_ADDING) || world_pods_in(w, POD_RETRY))
		return true;
	world_counts(w, &counts);
	return counts.free + counts.leased < wanted_of(w, &counts);
}

unsigned invariants_idle_most(const struct world *w)
{
	struct pool_counts counts;

	world_counts(w, &counts);
	return counts.lost ? RECOVERS_AN_HOUR : 0;
}

void invariants_rest(struct world *w)
{
	struct err err = { 0 };

	if (!w->d) {
		world_fail(w, "at rest: a daemon runs", "it does not");
		return;
	}
	w->checking = true;
	if (pool_check(w->d->pool, &err) < 0)
		world_fail(w, "the pool is sound", "%s", err.msg);
	check_cloud(w);
	check_store(w);
	check_kernel(w);
	check_owned(w);
	check_waiting(w);
	if (w->spool_count)
		world_fail(w, "at rest: the spool is empty", "%u DELs", w->spool_count);
	w->checking = false;
}
