/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/planner.h"

#include "berth/check.h"
#include "ipamd/pool.h"

#define V4_BITS      32U
#define UNIT_LEN_MIN 16U /* a unit of 65,536 addresses; anything larger is a mistake in the provider */

/* What one decision knows of a NIC. */
struct nic_sum {
	const struct pool_nic *nic;
	unsigned supply_count; /* of its blocks */
	unsigned lost_count;   /* blocks that the cloud does not show: they take no room there */
	int64_t changed_us;    /* the latest change of one of its blocks; without blocks its own */
	bool kept_for_detach;  /* idle and surplus as a whole: its blocks are not released one by one */
};

struct decision {
	const struct plan_input *input;
	struct plan *plan;
	struct pool_counts counts;
	struct nic_sum nics[CLOUD_NICS_MAX];
	unsigned nic_count;
	unsigned unit_size;    /* addresses */
	unsigned quiet_count;  /* free addresses of blocks that did not change within release_delay */
	int64_t next_quiet_us; /* when the next block counts as quiet */
	/* while shrinking; signed because what waits for its time is set aside from both */
	int64_t surplus, proven;
	bool may_shrink_later; /* something would go if only time passed */
};

static unsigned min_u(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static unsigned max_u(unsigned a, unsigned b)
{
	return a > b ? a : b;
}

/* Sums must not wrap, whatever an operator writes into the settings. */
static unsigned add_sat(unsigned a, unsigned b)
{
	return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

static unsigned round_up_div(unsigned n, unsigned by)
{
	return n / by + (n % by != 0);
}

static bool is_ours(const struct pool_nic *nic)
{
	return nic->state != NIC_FOREIGN;
}

/* Addresses on it are, or will be, leased to pods. */
static bool in_service(const struct pool_nic *nic)
{
	return nic->state == NIC_READY || nic->state == NIC_CONFIGURING || nic->state == NIC_ATTACHING;
}

static bool may_mutate(const struct pool_nic *nic)
{
	return nic->busy == NIC_IDLE && !nic->stale && nic->state != NIC_ATTACHING;
}

static bool quiet_for(const struct decision *d, int64_t since_us)
{
	return d->input->now_us - since_us >= d->input->targets.release_delay_us;
}

static void wake_at(struct plan *plan, int64_t at_us)
{
	if (at_us < plan->wake_us)
		plan->wake_us = at_us;
}

static struct plan_action *add_action(struct plan *plan, enum plan_kind kind, unsigned slot, unsigned count)
{
	struct plan_action *action = &plan->actions[plan->action_count++];

	CHECK(plan->action_count <= PLAN_ACTIONS_MAX);
	*action = (struct plan_action){ .kind = kind, .slot = slot, .count = count };
	return action;
}

/* ---- what there is ---- */

static struct nic_sum *sum_of(struct decision *d, unsigned slot)
{
	for (unsigned i = 0; i < d->nic_count; i++)
		if (d->nics[i].nic->slot == slot)
			return &d->nics[i];
	CHECK_NEVER("block on an unknown NIC");
}

static int survey_block(const struct pool_block_view *block, void *arg)
{
	struct decision *d = arg;
	struct nic_sum *sum = sum_of(d, block->nic_slot);
	int64_t quiet_us = block->changed_us + d->input->targets.release_delay_us;

	if (block->prefix.addr.family != IP_V4)
		return 0;
	sum->supply_count += block->supply_count;
	sum->lost_count += block->state == BLOCK_LOST;
	if (block->changed_us > sum->changed_us)
		sum->changed_us = block->changed_us;
	if (quiet_for(d, block->changed_us))
		d->quiet_count += block->supply_count;
	else if (quiet_us < d->next_quiet_us)
		d->next_quiet_us = quiet_us;
	return 0;
}

static void survey(struct decision *d)
{
	const struct pool *pool = d->input->pool;

	pool_count(pool, IP_V4, &d->counts);
	d->next_quiet_us = INT64_MAX;
	for (const struct pool_nic *nic = pool_nic_next(pool, NULL); nic; nic = pool_nic_next(pool, nic)) {
		struct nic_sum *sum = &d->nics[d->nic_count++];

		*sum = (struct nic_sum){ .nic = nic,
					 .changed_us = nic->block_count[0] > 0 ? INT64_MIN : nic->since_us };
		if (nic->block_count[0] == 0 && !quiet_for(d, nic->since_us) &&
		    nic->since_us + d->input->targets.release_delay_us < d->next_quiet_us)
			d->next_quiet_us = nic->since_us + d->input->targets.release_delay_us;
	}
	(void)pool_blocks(pool, survey_block, d);
}

static void set_targets(struct decision *d)
{
	const struct plan_targets *targets = &d->input->targets;
	unsigned in_use = add_sat(d->counts.leased, d->input->waiting);

	d->plan->wanted = min_u(max_u(add_sat(in_use, targets->warm_ips), targets->min_ips), targets->max_pods);
	d->plan->supply = d->counts.free + d->counts.leased + d->counts.pending + d->counts.incoming;
}

/* ---- growing ---- */

/* Units that fit on NICs which may (@now) or may not yet be mutated. ASSIGN actions for the former. */
static unsigned fill(struct decision *d, unsigned units, bool now)
{
	for (unsigned i = 0; i < d->nic_count && units > 0; i++) {
		const struct pool_nic *nic = d->nics[i].nic;
		unsigned used = nic->block_count[0] - d->nics[i].lost_count + nic->incoming_units[0];
		unsigned room, count;

		if (!in_service(nic) || may_mutate(nic) != now || used >= d->input->limits.units[0].per_nic_max)
			continue;
		room = d->input->limits.units[0].per_nic_max - used;
		count = min_u(room, units);
		if (now)
			(void)add_action(d->plan, PLAN_ASSIGN, nic->slot, count);
		units -= count;
	}
	return units;
}

/* How many more NICs the instance, the settings and berth itself allow. */
static unsigned nics_allowed(const struct decision *d)
{
	const struct cloud_limits *limits = &d->input->limits;
	unsigned total_max = min_u(limits->nics_max, CLOUD_NICS_MAX);
	unsigned ours_max = d->input->targets.max_nics ? d->input->targets.max_nics : total_max;
	unsigned ours = 0;

	if (!limits->can_attach_nic || limits->units[0].per_nic_max == 0)
		return 0;
	for (unsigned i = 0; i < d->nic_count; i++)
		ours += is_ours(d->nics[i].nic);
	if (d->nic_count >= total_max || ours >= ours_max)
		return 0;
	return min_u(total_max - d->nic_count, ours_max - ours);
}

/* The lowest slot from @slot on that no NIC has; the NICs are in slot order. */
static unsigned free_slot(const struct decision *d, unsigned slot)
{
	for (unsigned i = 0; i < d->nic_count; i++)
		if (d->nics[i].nic->slot == slot)
			slot++;
	return slot;
}

static unsigned attach(struct decision *d, unsigned units)
{
	unsigned slot = 0;

	for (unsigned left = nics_allowed(d); left > 0 && units > 0; left--) {
		unsigned count = min_u(units, d->input->limits.units[0].per_nic_max);

		/* Slot 0 is the primary NIC's, which no attach can be. */
		slot = free_slot(d, slot + 1);
		(void)add_action(d->plan, PLAN_ATTACH, slot, count);
		units -= count;
	}
	return units;
}

/* Units that may still be bought before the node owns more than max pods, rounded up. */
static unsigned units_allowed(const struct decision *d)
{
	unsigned owned = d->counts.total + d->counts.incoming;
	unsigned max_pods = d->input->targets.max_pods;

	return owned >= max_pods ? 0 : round_up_div(max_pods - owned, d->unit_size);
}

static void grow(struct decision *d)
{
	struct plan *plan = d->plan;
	unsigned needed = round_up_div(plan->wanted - plan->supply, d->unit_size);
	unsigned units = min_u(needed, units_allowed(d));
	unsigned unplaced;

	if (d->input->now_us < d->input->grow_not_before_us) {
		if (units > 0)
			wake_at(plan, d->input->grow_not_before_us);
		return;
	}
	unplaced = attach(d, fill(d, fill(d, units, true), false));
	if (unplaced > 0)
		plan->short_because = FAIL_NIC_LIMIT;
	else if (units < needed && d->counts.cooling > 0)
		plan->short_because = FAIL_COOLING;
}

/* ---- shrinking ---- */

static bool may_shrink_now(const struct decision *d)
{
	return d->input->now_us >= d->input->shrink_not_before_us;
}

static void detach_if_idle(struct decision *d, struct nic_sum *sum)
{
	const struct pool_nic *nic = sum->nic;
	bool settled = nic->state == NIC_READY || nic->state == NIC_CONFIGURING || nic->state == NIC_DRAINING;

	if (nic->primary || !settled || nic->leased_count > 0 || nic->cooling_count > 0 || nic->incoming[0] > 0 ||
	    (int64_t)sum->supply_count > d->surplus)
		return;
	sum->kept_for_detach = true;
	if (!quiet_for(d, sum->changed_us) || (sum->supply_count > 0 && (int64_t)sum->supply_count > d->proven))
		d->may_shrink_later = true;
	else if (may_mutate(nic) && may_shrink_now(d))
		(void)add_action(d->plan, PLAN_DETACH, nic->slot, 1);
	else if (may_mutate(nic))
		wake_at(d->plan, d->input->shrink_not_before_us);
	d->surplus -= sum->supply_count;
	d->proven -= sum->supply_count;
}

/* One NIC's share of the RELEASE actions. */
struct release {
	struct decision *d;
	unsigned slot;
	struct plan_action *action; /* NULL until the first block */
};

static int release_block(const struct pool_block_view *block, void *arg)
{
	struct release *release = arg;
	struct decision *d = release->d;
	struct plan *plan = d->plan;
	bool settled = block->state == BLOCK_READY || block->state == BLOCK_DRAINING;
	int64_t size = block->supply_count;

	if (block->nic_slot != release->slot || !settled || block->leased_count > 0 || block->cooling_count > 0 ||
	    size > d->surplus)
		return 0;
	if (!quiet_for(d, block->changed_us) || (size > 0 && size > d->proven)) {
		d->may_shrink_later = true;
		return 0;
	}
	if (!may_shrink_now(d)) {
		wake_at(plan, d->input->shrink_not_before_us);
		return 1;
	}
	if (plan->block_count == CLOUD_BLOCKS_MAX)
		return 1;
	if (!release->action) {
		release->action = add_action(plan, PLAN_RELEASE, release->slot, 0);
		release->action->first_block = plan->block_count;
	}
	plan->blocks[plan->block_count++] = block->prefix;
	release->action->count++;
	d->surplus -= size;
	d->proven -= size;
	return 0;
}

static void shrink(struct decision *d)
{
	unsigned spare = d->plan->wanted > d->counts.leased ? d->plan->wanted - d->counts.leased : 0;

	d->surplus = (int64_t)d->plan->supply - d->plan->wanted;
	d->proven = (int64_t)d->quiet_count - spare;
	for (unsigned i = d->nic_count; i-- > 0;)
		detach_if_idle(d, &d->nics[i]);
	for (unsigned i = d->nic_count; i-- > 0;) {
		struct release release = { .d = d, .slot = d->nics[i].nic->slot };

		if (d->nics[i].nic->state == NIC_READY && may_mutate(d->nics[i].nic) && !d->nics[i].kept_for_detach)
			(void)pool_blocks(d->input->pool, release_block, &release);
	}
	if (d->may_shrink_later)
		wake_at(d->plan, d->next_quiet_us);
}

void planner_decide(const struct plan_input *input, struct plan *ret)
{
	struct decision d = { .input = input, .plan = ret };

	CHECK(input->limits.units[0].len <= V4_BITS && input->limits.units[0].len >= UNIT_LEN_MIN);
	CHECK(input->targets.release_delay_us >= 0);
	ret->action_count = 0;
	ret->block_count = 0;
	ret->short_because = FAIL_NONE;
	ret->wake_us = INT64_MAX;
	d.unit_size = 1U << (V4_BITS - input->limits.units[0].len);
	survey(&d);
	set_targets(&d);
	if (d.nic_count == 0)
		return;
	if (ret->supply < ret->wanted)
		grow(&d);
	else
		shrink(&d);
}
