/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges: one on each NIC that pods get an IPv4 address from; without IPv4 one in all. */
#include "ipamd/planner_impl.h"

bool plan_buys_ranges(const struct plan_family *family)
{
	return family->served && family->ranges && family->len == family->wanted_len;
}

bool plan_ranges_short(const struct decision *d)
{
	const struct plan_family *family = &d->families[V6];

	return plan_buys_ranges(family) && d->plan->wanted[V6] > add_sat(d->plan->supply[V6], family->coming_count);
}

/* Without IPv4: the NIC that has the one range. The primary, or the lowest other where pods get nothing of the primary. */
static const struct nic_sum *range_holder(const struct decision *d)
{
	for (unsigned i = 0; i < d->nic_count; i++)
		if (plan_in_service(&d->nics[i]) && d->nics[i].usable)
			return &d->nics[i];
	return NULL;
}

/* Pods get an IPv4 address from it, now or soon. */
static bool gives_v4(const struct nic_sum *sum)
{
	return sum->families[V4].live_count + sum->families[V4].assign_count > 0;
}

static bool needs_range(const struct decision *d, const struct nic_sum *sum)
{
	if (!plan_in_service(sum) || !sum->usable || sum->kept_for_detach)
		return false;
	return d->families[V4].served ? gives_v4(sum) : sum == range_holder(d);
}

/* A range that is there stays while its NIC is in service, needed or not: that costs nothing, buying it again does. */
bool plan_keeps_range(const struct decision *d, const struct nic_sum *sum, const struct prefix *prefix)
{
	if (!d->families[V6].ranges || !sum->usable || prefix_cmp(prefix, &sum->range) != 0)
		return false;
	return d->families[V4].served || sum == range_holder(d);
}

static bool has_range(const struct nic_sum *sum)
{
	return sum->range.addr.family != IP_NONE || sum->nic->incoming_units[V6] > 0 ||
	       sum->families[V6].recover_count > 0;
}

/* The most leased one first. */
static bool rank_drained_range(const struct decision *d, const struct nic_sum *sum, const struct pool_block_view *block,
			       uint64_t *ret_rank)
{
	(void)d;
	*ret_rank = UINT32_MAX - block->leased_count;
	return sum->range_missing && block->state == BLOCK_DRAINING && plan_is_range(block);
}

static void undrain_ranges(struct decision *d)
{
	struct picks picks;

	plan_collect(d, rank_drained_range, &picks);
	for (unsigned i = 0; i < picks.count; i++) {
		struct pick *pick = &picks.list[i];

		if (!pick->sum->range_missing || !plan_choose(d, &picks, pick))
			continue;
		plan_take_back(d, pick);
		pick->sum->range_missing = false;
	}
	plan_emit(d, PLAN_UNDRAIN, &picks);
}

/* Return: false if there is no room. A NIC that is busy is waited for. */
static bool buy_range(struct decision *d, struct nic_sum *sum)
{
	struct plan_family *family = &d->families[V6];

	if (plan_room(d, sum, V6) == 0)
		return false;
	if (!plan_may_mutate(sum) || !plan_may_grow(d))
		return true;
	sum->families[V6].assign_count = 1;
	family->coming_count = add_sat(family->coming_count, family->unit_size);
	return true;
}

/* Nobody has one, and no NIC that needs one has room: any other NIC of ours will do, else a new one. Return: ranges for
 * new NICs. */
static unsigned place_anywhere(struct decision *d)
{
	if (!plan_ranges_short(d))
		return 0;
	for (unsigned i = 0; i < d->nic_count; i++)
		if (plan_in_service(&d->nics[i]) && d->nics[i].usable && buy_range(d, &d->nics[i]))
			return 0;
	return plan_may_grow(d) ? 1 : 0;
}

unsigned plan_place_ranges(struct decision *d)
{
	bool any_missing = false;

	if (!plan_buys_ranges(&d->families[V6]))
		return 0;
	for (unsigned i = 0; i < d->nic_count; i++) {
		struct nic_sum *sum = &d->nics[i];

		sum->range_missing = needs_range(d, sum) && !has_range(sum);
		any_missing = any_missing || sum->range_missing;
	}
	if (any_missing)
		undrain_ranges(d);
	for (unsigned i = 0; i < d->nic_count; i++)
		if (d->nics[i].range_missing)
			(void)buy_range(d, &d->nics[i]);
	return place_anywhere(d);
}
