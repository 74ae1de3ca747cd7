/* SPDX-License-Identifier: Apache-2.0 */
/* Less: NICs as a whole, then blocks that are idle; what is in use is drained. */
#include "ipamd/planner_impl.h"

static bool may_shrink_now(const struct decision *d)
{
	return d->input->now_us >= d->input->shrink_not_before_us;
}

static void set_surplus(struct decision *d)
{
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		struct plan_family *family = &d->families[f];
		unsigned spare = sub_sat(d->plan->wanted[f], family->counts.leased);
		/* A range changes with every pod, and is far larger than what could come back: that it is there is enough. */
		unsigned lasting = family->ranges ? family->settled_count - family->counts.leased : family->quiet_count;

		family->surplus = sub_sat(d->plan->supply[f], d->plan->wanted[f]);
		family->proven = (int64_t)lasting - spare;
	}
}

/* What of a surplus has to be proven: what is on its way counts as a range's proof neither way. */
static unsigned to_prove(const struct plan_family *family, unsigned count, unsigned settled_count)
{
	return family->ranges ? settled_count : count;
}

static void set_aside(struct plan_family *family, unsigned count, unsigned settled_count)
{
	family->surplus -= count;
	family->proven -= to_prove(family, count, settled_count);
	family->going_count += count;
	family->going_settled_count += settled_count;
}

/* ---- NICs ---- */

static bool is_idle(const struct nic_sum *sum)
{
	const struct pool_nic *nic = sum->nic;
	bool settled = nic->state == NIC_READY || nic->state == NIC_CONFIGURING || nic->state == NIC_DRAINING;

	return !nic->primary && settled && nic->leased_count + nic->cooling_count == 0 &&
	       sum->families[V4].assign_count + sum->families[V6].assign_count == 0;
}

static bool is_surplus(const struct decision *d, const struct nic_sum *sum)
{
	return sum->families[V4].supply_count <= d->families[V4].surplus &&
	       sum->families[V6].supply_count <= d->families[V6].surplus;
}

static bool is_proven(const struct plan_family *family, unsigned count, unsigned settled_count)
{
	unsigned proof = to_prove(family, count, settled_count);

	return proof == 0 || proof <= family->proven;
}

static bool is_nic_proven(const struct decision *d, const struct nic_sum *sum)
{
	for (unsigned f = 0; f < IP_FAMILIES; f++)
		if (!is_proven(&d->families[f], sum->families[f].supply_count, sum->families[f].settled_count))
			return false;
	return true;
}

static bool is_kept_to_fill(const struct decision *d, const struct nic_sum *sum)
{
	return plan_in_service(sum) && sum->usable && (d->growth_held || plan_ranges_short(d));
}

static void detach_if_idle(struct decision *d, struct nic_sum *sum)
{
	if (!is_idle(sum) || !is_surplus(d, sum) || is_kept_to_fill(d, sum))
		return;
	sum->kept_for_detach = true;
	if (!plan_is_quiet(d, sum->changed_us) || !is_nic_proven(d, sum)) {
		d->may_shrink_later = true;
	} else if (plan_may_mutate(sum) && may_shrink_now(d)) {
		(void)plan_add(d->plan, PLAN_DETACH, sum->nic->slot);
		sum->mutated = true;
	} else if (plan_may_mutate(sum)) {
		plan_wake_at(d->plan, d->input->shrink_not_before_us);
	}
	for (unsigned f = 0; f < IP_FAMILIES; f++)
		set_aside(&d->families[f], sum->families[f].supply_count, sum->families[f].settled_count);
}

void plan_detach(struct decision *d)
{
	set_surplus(d);
	for (unsigned i = d->nic_count; i-- > 0;)
		detach_if_idle(d, &d->nics[i]);
}

/* ---- idle blocks ---- */

static bool may_go(const struct decision *d, const struct nic_sum *sum, const struct pool_block_view *block)
{
	return d->families[ip_index(block->prefix.addr.family)].served && sum->nic->state == NIC_READY &&
	       !sum->kept_for_detach && !plan_keeps_range(d, sum, &block->prefix);
}

/* What has rested first, then what is left over from another mode, then from the highest slot down. */
static bool rank_idle(const struct decision *d, const struct nic_sum *sum, const struct pool_block_view *block,
		      uint64_t *ret_rank)
{
	uint64_t is_restless = !plan_is_quiet(d, block->changed_us), is_wanted = plan_is_wanted_len(d, &block->prefix);

	*ret_rank = is_restless << 33 | is_wanted << 32 | (UINT32_MAX - sum->nic->slot);
	return (block->state == BLOCK_READY || block->state == BLOCK_DRAINING) &&
	       block->leased_count + block->cooling_count == 0 && may_go(d, sum, block);
}

static bool rank_surplus(const struct decision *d, const struct nic_sum *sum, const struct pool_block_view *block,
			 uint64_t *ret_rank)
{
	const struct plan_family *family = &d->families[ip_index(block->prefix.addr.family)];

	return plan_gives(sum, block) <= family->surplus && rank_idle(d, sum, block, ret_rank);
}

/* Return: does it go now? Its surplus is set aside if it goes now or later. */
static bool may_release(struct decision *d, struct picks *picks, struct pick *pick)
{
	if (!pick->is_quiet || !is_proven(&d->families[pick->family], pick->gives, pick->gives)) {
		d->may_shrink_later = true;
		return false;
	}
	if (!plan_may_mutate(pick->sum))
		return false;
	if (!may_shrink_now(d)) {
		plan_wake_at(d->plan, d->input->shrink_not_before_us);
		return false;
	}
	return plan_choose(d, picks, pick);
}

static void emit_releases(struct decision *d, const struct picks *picks)
{
	plan_emit(d, PLAN_RELEASE, picks);
	for (unsigned i = 0; i < picks->count; i++)
		picks->list[i].sum->mutated = picks->list[i].sum->mutated || picks->list[i].is_chosen;
}

static void release(struct decision *d, struct picks *picks)
{
	plan_collect(d, rank_surplus, picks);
	for (unsigned i = 0; i < picks->count; i++) {
		struct pick *pick = &picks->list[i];

		if (pick->gives <= d->families[pick->family].surplus && may_release(d, picks, pick))
			set_aside(&d->families[pick->family], pick->gives, pick->gives);
	}
	/* What is left of the surplus is that of idle blocks whose time has not come. */
	for (unsigned i = 0; i < picks->count; i++) {
		struct pick *pick = &picks->list[i];

		if (!pick->is_chosen && pick->gives <= d->families[pick->family].surplus)
			set_aside(&d->families[pick->family], pick->gives, pick->gives);
	}
	emit_releases(d, picks);
}

/* ---- room ---- */

static bool rank_leftover(const struct decision *d, const struct nic_sum *sum, const struct pool_block_view *block,
			  uint64_t *ret_rank)
{
	const struct plan_family *family = &d->families[ip_index(block->prefix.addr.family)];

	return family->unplaced_count > 0 && block->size < family->unit_size && sum->usable && plan_may_mutate(sum) &&
	       rank_idle(d, sum, block, ret_rank);
}

void plan_make_room(struct decision *d)
{
	struct picks picks;

	plan_collect(d, rank_leftover, &picks);
	for (unsigned i = 0; i < picks.count; i++) {
		struct pick *pick = &picks.list[i];

		if (!pick->is_quiet)
			d->may_shrink_later = true;
		else if (!may_shrink_now(d))
			plan_wake_at(d->plan, d->input->shrink_not_before_us);
		else if (d->families[pick->family].unplaced_count > 0 && plan_choose(d, &picks, pick))
			d->families[pick->family].unplaced_count--;
	}
	emit_releases(d, &picks);
}

/* ---- blocks in use ---- */

/* What draining may take: of all supply, with what this plan buys; and of what can be leased this moment, so that nobody
 * waits for what is still on its way. */
static void set_drain_budgets(struct decision *d)
{
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		struct plan_family *family = &d->families[f];
		int64_t supply = (int64_t)d->plan->supply[f] + family->coming_count, wanted = d->plan->wanted[f];

		family->drain_total = supply - wanted - family->draining_leased_count - family->going_count;
		family->drain_now = (int64_t)family->settled_count - wanted - family->going_settled_count;
	}
}

static bool may_drain(const struct plan_family *family, unsigned size, unsigned gives)
{
	return size <= family->drain_total && (gives == 0 || gives <= family->drain_now);
}

/* What is left over from another mode first, then the fewest pods, then from the highest slot down. */
static bool rank_in_use(const struct decision *d, const struct nic_sum *sum, const struct pool_block_view *block,
			uint64_t *ret_rank)
{
	const struct plan_family *family = &d->families[ip_index(block->prefix.addr.family)];
	uint64_t is_wanted = plan_is_wanted_len(d, &block->prefix), leased_count = block->leased_count;

	*ret_rank = is_wanted << 63 | leased_count << 32 | (UINT32_MAX - sum->nic->slot);
	if (block->state != BLOCK_READY || !may_go(d, sum, block))
		return false;
	/* Idle blocks that did not fit into a list may cover the whole surplus. */
	return !sum->usable || (!d->is_cut && block->leased_count + block->cooling_count > 0 &&
				may_drain(family, block->size, plan_gives(sum, block)));
}

static void drain_one(struct decision *d, struct picks *picks, struct pick *pick)
{
	struct plan_family *family = &d->families[pick->family];

	if (!pick->sum->usable) {
		(void)plan_choose(d, picks, pick);
		return;
	}
	if (!may_drain(family, pick->size, pick->gives))
		return;
	if (!may_shrink_now(d)) {
		plan_wake_at(d->plan, d->input->shrink_not_before_us);
		return;
	}
	if (!plan_choose(d, picks, pick))
		return;
	family->drain_total -= (int64_t)pick->gives + pick->leased_count;
	family->drain_now -= pick->gives;
}

static void drain(struct decision *d, struct picks *picks)
{
	set_drain_budgets(d);
	plan_collect(d, rank_in_use, picks);
	for (unsigned i = 0; i < picks->count; i++)
		drain_one(d, picks, &picks->list[i]);
	plan_emit(d, PLAN_DRAIN, picks);
}

/* Is there anything that might go? Most decisions end here. */
static bool may_shrink(const struct decision *d)
{
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		const struct plan_family *family = &d->families[f];

		if (add_sat(d->plan->supply[f], family->coming_count) > d->plan->wanted[f] ||
		    family->draining_count > 0)
			return true;
	}
	return d->any_unusable;
}

void plan_shrink(struct decision *d)
{
	struct picks picks;

	if (!may_shrink(d))
		return;
	release(d, &picks);
	d->is_cut = picks.is_cut;
	drain(d, &picks);
}
