/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cloud calls that were in flight when the last daemon ended. Each may still take effect, behind the first list of this
 * one: what it may take away is not used until a later list tells, what it may add is found by that list (blocks) and by
 * the sweep (NICs).
 *
 * A store that was lost took the intents along. An empty one beside pods that live tells that it was; then everything
 * that might be taken away is doubted, as it is where they cannot be read.
 *
 * The intent of a release or detach outlives its result by IPAMD_READ_LAG_US: a daemon that starts within that time may
 * get a first list that is older than the release.
 */
#include "ipamd/ipamd.h"

#include "berth/clock.h"
#include "berth/log.h"
#include "berth/str.h"

struct idle_blocks {
	unsigned slot, count;
	struct prefix list[CLOUD_BLOCKS_MAX];
};

static int find_idle(const struct pool_block_view *block, void *arg)
{
	struct idle_blocks *idle = arg;

	if (block->nic_slot == idle->slot && block->state == BLOCK_PENDING && !block->leased_count &&
	    !block->cooling_count)
		idle->list[idle->count++] = block->prefix;
	return idle->count == CLOUD_BLOCKS_MAX;
}

/* Any of these may go yet: nothing is leased from them until a list tells. */
static void doubt_blocks(struct ipamd *d, unsigned slot, int64_t now_us)
{
	struct idle_blocks idle = { .slot = slot };

	(void)pool_blocks(d->pool, find_idle, &idle);
	for (unsigned i = 0; i < idle.count; i++) {
		pool_block_set_state(d->pool, &idle.list[i], BLOCK_READY, now_us);
		pool_block_set_state(d->pool, &idle.list[i], BLOCK_DRAINING, now_us);
		pool_block_set_state(d->pool, &idle.list[i], BLOCK_RELEASING, now_us);
	}
}

static void doubt_nic(struct ipamd *d, const struct pool_nic *nic, int64_t now_us)
{
	if (nic->state != NIC_CONFIGURING || nic->leased_count || nic->cooling_count)
		return;
	pool_nic_set_state(d->pool, nic->slot, NIC_DRAINING, now_us);
	pool_nic_set_state(d->pool, nic->slot, NIC_DETACHING, now_us);
}

/* @release, @detach: what may be in flight. */
static void doubt(struct ipamd *d, const struct pool_nic *nic, bool release, bool detach)
{
	int64_t now_us = d->stats.last_list_us;

	if (release)
		doubt_blocks(d, nic->slot, now_us);
	if (detach)
		doubt_nic(d, nic, now_us);
	pool_nic_set_stale(d->pool, nic->slot, true);
	d->mutated_us[nic->slot] = d->taken_us[nic->slot] = now_us + IPAMD_READ_LAG_US;
}

void intents_forget(struct ipamd *d, int64_t id)
{
	struct err err;

	if (store_intent_del(d->store, id, &err) < 0)
		log_warn("cannot forget an intent", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
}

/* A call that the last daemon sent may take effect after the first list: a later one must tell. */
static int settle_intent(const struct intent *intent, void *arg)
{
	struct ipamd *d = arg;
	const struct pool_nic *nic = pool_nic_by_id(d->pool, intent->nic);
	int64_t settled_us = d->stats.last_list_us + IPAMD_READ_LAG_US;

	log_warn("a cloud call was in flight, or just done, when the last daemon ended", "kind=%s nic=%s", intent->kind,
		 intent->nic);
	/* What was made and not attached, or detached and not deleted, hangs on nothing by then. */
	if (str_equal(intent->kind, plan_kind_name(PLAN_ATTACH)) ||
	    str_equal(intent->kind, plan_kind_name(PLAN_DETACH)))
		d->sweep_due_us = settled_us;
	if (nic && nic->state != NIC_FOREIGN)
		doubt(d, nic, str_equal(intent->kind, plan_kind_name(PLAN_RELEASE)),
		      str_equal(intent->kind, plan_kind_name(PLAN_DETACH)));
	cloudwork_list_soon(d, settled_us + 1);
	intents_forget(d, intent->id);
	return 0;
}

void intents_unknown(struct ipamd *d)
{
	int64_t settled_us = d->stats.last_list_us + IPAMD_READ_LAG_US;
	const struct pool_nic *nic = NULL;

	log_warn("what the last daemon had in flight is not known: no new pods until a later list", "wait_s=%d",
		 (int)(IPAMD_READ_LAG_US / USEC_PER_SEC));
	while ((nic = pool_nic_next(d->pool, nic)))
		if (nic->state != NIC_FOREIGN)
			doubt(d, nic, true, !nic->primary);
	d->sweep_due_us = settled_us;
	cloudwork_list_soon(d, settled_us + 1);
}

bool intents_settle(struct ipamd *d)
{
	struct err err;

	if (store_intents(d->store, settle_intent, d, &err) == 0)
		return true;
	log_warn("cannot read intents", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
	return false;
}

void intents_keep(struct ipamd *d, unsigned slot, int64_t id)
{
	if (d->taken_intents[slot])
		intents_forget(d, d->taken_intents[slot]);
	d->taken_intents[slot] = id;
}

int64_t intents_due(struct ipamd *d, int64_t now_us)
{
	int64_t next_us = INT64_MAX;

	for (unsigned i = 0; i < CLOUD_NICS_MAX; i++) {
		if (!d->taken_intents[i])
			continue;
		if (d->taken_us[i] > now_us) {
			next_us = clock_earlier(next_us, d->taken_us[i]);
			continue;
		}
		intents_forget(d, d->taken_intents[i]);
		d->taken_intents[i] = 0;
	}
	return next_us;
}
