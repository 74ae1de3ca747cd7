/* SPDX-License-Identifier: Apache-2.0 */
/* More: what is ours already first, then what can be had on our NICs, then NICs. */
#include "ipamd/planner_impl.h"

bool plan_may_grow(struct decision *d)
{
	if (d->input->now_us >= d->input->grow_not_before_us)
		return true;
	plan_wake_at(d->plan, d->input->grow_not_before_us);
	return false;
}

unsigned plan_room(const struct decision *d, const struct nic_sum *sum, unsigned family)
{
	const struct nic_family *share = &sum->families[family];
	unsigned used = sum->nic->block_count[family] - share->lost_count + sum->nic->incoming_units[family] +
			share->recover_count + share->assign_count;

	return sub_sat(d->input->limits.units[family].per_nic_max, used);
}

/* Addresses that are short. Ranges are not bought by the address. */
static unsigned needed(const struct decision *d, unsigned i)
{
	const struct plan_family *family = &d->families[i];

	if (!family->served || plan_buys_ranges(family))
		return 0;
	return sub_sat(d->plan->wanted[i], add_sat(d->plan->supply[i], family->coming_count));
}

/* ---- what drains is taken back ---- */

void plan_take_back(struct decision *d, struct pick *pick)
{
	struct plan_family *family = &d->families[pick->family];
	struct nic_family *share = &pick->sum->families[pick->family];

	family->coming_count += pick->free_count;
	family->draining_leased_count -= pick->leased_count;
	share->supply_count += pick->free_count;
	share->live_count++;
	if (pick->sum->nic->state != NIC_READY)
		return;
	share->settled_count += pick->free_count;
	family->settled_count += pick->free_count;
}

/* Those that are least likely to become empty: the wanted length, then the most pods. */
static bool rank_drained(const struct decision *d, const struct nic_sum *sum, const struct pool_block_view *block,
			 uint64_t *ret_rank)
{
	uint64_t is_leftover = !plan_is_wanted_len(d, &block->prefix);

	*ret_rank = is_leftover << 32 | (UINT32_MAX - block->leased_count);
	return block->state == BLOCK_DRAINING && plan_in_service(sum) && sum->usable && block->free_count > 0 &&
	       needed(d, ip_index(block->prefix.addr.family)) > 0;
}

static void undrain(struct decision *d)
{
	struct picks picks;

	if (needed(d, V4) == 0 && needed(d, V6) == 0)
		return;
	plan_collect(d, rank_drained, &picks);
	for (unsigned i = 0; i < picks.count; i++)
		if (needed(d, picks.list[i].family) > 0 && plan_choose(d, &picks, &picks.list[i]))
			plan_take_back(d, &picks.list[i]);
	plan_emit(d, PLAN_UNDRAIN, &picks);
}

/* ---- what was lost is asked back ---- */

static bool rank_lost(const struct decision *d, const struct nic_sum *sum, const struct pool_block_view *block,
		      uint64_t *ret_rank)
{
	*ret_rank = 0;
	return block->state == BLOCK_LOST && block->leased_count > 0 && sum->nic->state == NIC_READY &&
	       plan_may_mutate(sum) && plan_room(d, sum, ip_index(block->prefix.addr.family)) > 0;
}

static void ask_back(struct decision *d, const struct pick *pick)
{
	struct plan_family *family = &d->families[pick->family];
	struct nic_family *share = &pick->sum->families[pick->family];

	share->recover_count++;
	family->recover_size += pick->sum->usable ? pick->size : pick->size - pick->free_count;
	if (!family->served || !pick->sum->usable)
		return;
	share->live_count++;
	share->supply_count += pick->free_count;
	family->coming_count += pick->free_count;
}

static void recover(struct decision *d)
{
	struct picks picks;
	bool any_lost = false;

	for (unsigned i = 0; i < d->nic_count; i++)
		any_lost = any_lost || d->nics[i].families[V4].lost_count || d->nics[i].families[V6].lost_count;
	if (!any_lost)
		return;
	plan_collect(d, rank_lost, &picks);
	if (picks.count == 0 || !plan_may_grow(d))
		return;
	if (d->input->now_us < d->input->recover_not_before_us) {
		plan_wake_at(d->plan, d->input->recover_not_before_us);
		return;
	}
	for (unsigned i = 0; i < picks.count; i++)
		if (plan_room(d, picks.list[i].sum, picks.list[i].family) > 0 && plan_choose(d, &picks, &picks.list[i]))
			ask_back(d, &picks.list[i]);
	plan_emit(d, PLAN_RECOVER, &picks);
	for (unsigned i = 0; i < picks.count; i++)
		picks.list[i].sum->mutated = picks.list[i].sum->mutated || picks.list[i].is_chosen;
}

/* ---- what is bought ---- */

/* Units that may still be bought before the node owns more than max pods, rounded up. */
static unsigned units_allowed(const struct decision *d, const struct plan_family *family)
{
	unsigned staying = sub_sat(family->counts.total, family->parting_count);
	unsigned owned = add_sat(add_sat(staying, family->counts.incoming), family->recover_size);

	return round_up_div(sub_sat(d->input->targets.max_pods, owned), family->unit_size);
}

static unsigned units_needed(const struct decision *d, unsigned i)
{
	unsigned need = needed(d, i);

	return need ? round_up_div(need, d->families[i].unit_size) : 0;
}

static void note_bought(struct plan_family *family, unsigned units)
{
	family->coming_count = add_sat(family->coming_count, mul_sat(units, family->unit_size));
}

/* Units that fit on NICs which may (@now) or may not yet be mutated: the former are bought, the latter waited for. */
static void fill(struct decision *d, unsigned *units, bool now)
{
	for (unsigned i = 0; i < d->nic_count; i++) {
		struct nic_sum *sum = &d->nics[i];

		if (!plan_in_service(sum) || !sum->usable || plan_may_mutate(sum) != now)
			continue;
		for (unsigned f = 0; f < IP_FAMILIES; f++) {
			unsigned count = min_u(units[f], plan_room(d, sum, f));

			units[f] -= count;
			if (!now)
				continue;
			sum->families[f].assign_count += count;
			note_bought(&d->families[f], count);
		}
	}
}

/* How many more NICs the instance, the settings and berth itself allow. */
static unsigned nics_allowed(const struct decision *d)
{
	const struct cloud_limits *limits = &d->input->limits;
	unsigned total_max = min_u(limits->nics_max, CLOUD_NICS_MAX);
	unsigned ours_max = d->input->targets.max_nics ? d->input->targets.max_nics : total_max;
	unsigned ours = 0;

	if (!limits->can_attach_nic)
		return 0;
	for (unsigned i = 0; i < d->nic_count; i++)
		ours += d->nics[i].nic->state != NIC_FOREIGN;
	return min_u(sub_sat(total_max, d->nic_count), sub_sat(ours_max, ours));
}

/* The lowest slot from @slot on that no NIC has; the NICs are in slot order. */
static unsigned free_slot(const struct decision *d, unsigned slot)
{
	for (unsigned i = 0; i < d->nic_count; i++)
		if (d->nics[i].nic->slot == slot)
			slot++;
	return slot;
}

/* What of @units a new NIC begins with. Return: anything? */
static bool first_units(struct decision *d, const unsigned *units, struct cloud_want *ret)
{
	const struct cloud_limits *limits = &d->input->limits;
	bool any = false;

	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		ret[f] = (struct cloud_want){ min_u(units[f], limits->units[f].per_nic_max), d->families[f].len };
		any = any || ret[f].count > 0;
	}
	/* Whoever gives IPv4 addresses has a range beside them. */
	if (ret[V4].count > 0 && plan_buys_ranges(&d->families[V6]))
		ret[V6].count = min_u(1, limits->units[V6].per_nic_max);
	return any;
}

static void attach(struct decision *d, unsigned *units)
{
	struct cloud_want wants[IP_FAMILIES];
	unsigned slot = 0;

	for (unsigned left = nics_allowed(d); left > 0 && first_units(d, units, wants); left--) {
		struct plan_action *action;

		/* Slot 0 is the primary NIC's, which no attach can be. */
		slot = free_slot(d, slot + 1);
		if (slot >= CLOUD_NICS_MAX)
			return;
		action = plan_add(d->plan, PLAN_ATTACH, slot);
		for (unsigned f = 0; f < IP_FAMILIES; f++) {
			action->wants[f] = wants[f];
			units[f] = sub_sat(units[f], wants[f].count);
			note_bought(&d->families[f], wants[f].count);
		}
	}
}

static void emit_assigns(struct decision *d)
{
	for (unsigned i = 0; i < d->nic_count; i++) {
		struct nic_sum *sum = &d->nics[i];
		struct plan_action *action;

		if (sum->families[V4].assign_count + sum->families[V6].assign_count == 0)
			continue;
		action = plan_add(d->plan, PLAN_ASSIGN, sum->nic->slot);
		for (unsigned f = 0; f < IP_FAMILIES; f++)
			action->wants[f] = (struct cloud_want){ sum->families[f].assign_count, d->families[f].len };
		sum->mutated = true;
	}
}

/* What of the need can be bought in units at all, and is left when nothing is held back. */
static void units_wanted(struct decision *d, unsigned *ret)
{
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		const struct plan_family *family = &d->families[f];
		unsigned units = units_needed(d, f), allowed = units > 0 ? units_allowed(d, family) : 0;

		if (units > allowed && family->counts.cooling > 0)
			d->plan->short_because = FAIL_COOLING;
		ret[f] = min_u(units, allowed);
	}
}

void plan_grow(struct decision *d)
{
	unsigned units[IP_FAMILIES];

	undrain(d);
	recover(d);
	units_wanted(d, units);
	if (units[V4] + units[V6] > 0 && !plan_may_grow(d)) {
		d->growth_held = true;
		d->plan->short_because = FAIL_NONE;
		units[V4] = units[V6] = 0;
	}
	fill(d, units, true);
	fill(d, units, false);
	plan_detach(d);
	units[V6] += plan_place_ranges(d);
	emit_assigns(d);
	attach(d, units);
	if (units[V4] + units[V6] == 0)
		return;
	d->plan->short_because = FAIL_NIC_LIMIT;
	d->families[V4].unplaced_count = units[V4];
	d->families[V6].unplaced_count = units[V6];
	plan_make_room(d);
}
