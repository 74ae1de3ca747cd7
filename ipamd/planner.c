/* SPDX-License-Identifier: Apache-2.0 */
/* What there is and what is wanted; planner_grow.c and planner_shrink.c bring the one to the other. */
#include "ipamd/planner_impl.h"

#include "berth/check.h"

#define UNUSED_MAX 8U /* or one unit: what warm_auto may leave unused, for the subnet is shared with others */

static unsigned unit_size_of(unsigned family, uint8_t len)
{
	return pool_block_size(ip_family_at(family), len);
}

bool plan_in_service(const struct nic_sum *sum)
{
	const struct pool_nic *nic = sum->nic;

	return nic->state == NIC_READY || nic->state == NIC_CONFIGURING || nic->state == NIC_ATTACHING;
}

bool plan_may_mutate(const struct nic_sum *sum)
{
	return sum->nic->busy == NIC_IDLE && !sum->nic->stale && sum->nic->state != NIC_ATTACHING && !sum->mutated;
}

struct nic_sum *plan_nic(struct decision *d, unsigned slot)
{
	for (unsigned i = 0; i < d->nic_count; i++)
		if (d->nics[i].nic->slot == slot)
			return &d->nics[i];
	CHECK_NEVER("block on an unknown NIC");
}

/* Times are far from the ends of int64_t, delays need not be. */
static int64_t quiet_at(const struct decision *d, int64_t since_us)
{
	int64_t delay_us = d->input->targets.release_delay_us;

	return since_us > 0 && delay_us > INT64_MAX - since_us ? INT64_MAX : since_us + delay_us;
}

bool plan_is_quiet(const struct decision *d, int64_t since_us)
{
	return quiet_at(d, since_us) <= d->input->now_us;
}

unsigned plan_gives(const struct nic_sum *sum, const struct pool_block_view *block)
{
	return sum->usable ? block->supply_count : 0;
}

bool plan_is_wanted_len(const struct decision *d, const struct prefix *prefix)
{
	return prefix->len == d->families[ip_index(prefix->addr.family)].wanted_len;
}

bool plan_is_range(const struct pool_block_view *block)
{
	return block->size > POOL_BLOCK_SIZE_MAX;
}

void plan_wake_at(struct plan *plan, int64_t at_us)
{
	if (at_us < plan->wake_us)
		plan->wake_us = at_us;
}

struct plan_action *plan_add(struct plan *plan, enum plan_kind kind, unsigned slot)
{
	struct plan_action *action = &plan->actions[plan->action_count++];

	CHECK(plan->action_count <= PLAN_ACTIONS_MAX);
	*action = (struct plan_action){ .kind = kind, .slot = slot, .first_block = plan->block_count };
	return action;
}

/* ---- what there is ---- */

static void note_quiet_at(struct decision *d, int64_t since_us)
{
	int64_t at_us = quiet_at(d, since_us);

	if (at_us > d->input->now_us)
		d->next_quiet_us = clock_earlier(d->next_quiet_us, at_us);
}

/* The range that stays is the one with the most pods. */
static void survey_range(struct nic_sum *sum, const struct pool_block_view *block)
{
	if (sum->range.addr.family != IP_NONE && block->leased_count <= sum->range_leased_count)
		return;
	sum->range = block->prefix;
	sum->range_leased_count = block->leased_count;
}

/* Is it in the pool's total? */
static bool is_owned(const struct pool_nic *nic, const struct pool_block_view *block)
{
	return block->state != BLOCK_RELEASING && block->state != BLOCK_LOST && nic->state != NIC_DETACHING &&
	       nic->state != NIC_LOST;
}

static void survey_supply(struct decision *d, struct nic_sum *sum, const struct pool_block_view *block)
{
	unsigned at = ip_index(block->prefix.addr.family), gives = plan_gives(sum, block);
	struct plan_family *family = &d->families[at];
	struct nic_family *share = &sum->families[at];
	bool is_settled = block->state == BLOCK_READY && sum->nic->state == NIC_READY;

	share->supply_count += gives;
	share->settled_count += is_settled ? gives : 0;
	family->settled_count += is_settled ? gives : 0;
	family->unusable_count += block->supply_count - gives;
	if (!sum->usable && is_owned(sum->nic, block))
		family->parting_count += block->free_count;
	family->quiet_count += plan_is_quiet(d, block->changed_us) ? gives : 0;
	if (block->state == BLOCK_PENDING || block->state == BLOCK_READY) {
		share->live_count++;
		if (plan_is_range(block))
			survey_range(sum, block);
	}
	if (block->state == BLOCK_DRAINING) {
		family->draining_count++;
		family->draining_leased_count += block->leased_count;
	}
}

/* What is asked back already is as good as there. */
static void survey_lost(struct decision *d, struct nic_sum *sum, const struct pool_block_view *block)
{
	unsigned at = ip_index(block->prefix.addr.family);

	sum->families[at].lost_count++;
	if (sum->nic->busy != NIC_BUSY_RECOVER || block->leased_count == 0)
		return;
	sum->families[at].recover_count++;
	d->families[at].recover_size += sum->usable ? block->size : block->size - block->free_count;
	d->families[at].coming_count += sum->usable ? block->free_count : 0;
}

static int survey_block(const struct pool_block_view *block, void *arg)
{
	struct decision *d = arg;
	struct nic_sum *sum = plan_nic(d, block->nic_slot);

	if (block->changed_us > sum->changed_us)
		sum->changed_us = block->changed_us;
	note_quiet_at(d, block->changed_us);
	if (block->state == BLOCK_LOST)
		survey_lost(d, sum, block);
	if (d->families[ip_index(block->prefix.addr.family)].served)
		survey_supply(d, sum, block);
	return 0;
}

static void survey_family(struct decision *d, unsigned i)
{
	const struct cloud_units *units = &d->input->limits.units[i];
	struct plan_family *family = &d->families[i];

	family->served = pool_serves(d->input->pool, ip_family_at(i));
	if (!family->served)
		return;
	family->wanted_len = units->len;
	family->len = units->len;
	if (d->input->now_us < d->input->single_until_us[i]) {
		family->len = units->single_len;
		plan_wake_at(d->plan, d->input->single_until_us[i]);
	}
	family->unit_size = unit_size_of(i, family->len);
	family->ranges = unit_size_of(i, family->wanted_len) > POOL_BLOCK_SIZE_MAX;
	pool_count(d->input->pool, ip_family_at(i), &family->counts);
}

static void survey(struct decision *d)
{
	const struct pool *pool = d->input->pool;

	d->next_quiet_us = INT64_MAX;
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		survey_family(d, i);
	for (const struct pool_nic *nic = pool_nic_next(pool, NULL); nic; nic = pool_nic_next(pool, nic)) {
		struct nic_sum *sum = &d->nics[d->nic_count++];
		bool has_blocks = nic->block_count[0] + nic->block_count[1] > 0;

		*sum = (struct nic_sum){ .nic = nic, .changed_us = has_blocks ? INT64_MIN : nic->since_us };
		sum->usable = !(nic->closed || (nic->primary && d->input->targets.primary_unused));
		d->any_unusable = d->any_unusable || !sum->usable;
		if (!has_blocks)
			note_quiet_at(d, nic->since_us);
	}
	(void)pool_blocks(pool, survey_block, d);
}

/* ---- what is wanted ---- */

/* Of what is beyond use only as much as may be unused, and of the last unit nothing if it would leave more than that. */
static unsigned bound_unused(unsigned in_use, unsigned wanted, unsigned unit_size)
{
	unsigned unused_max = max_u(UNUSED_MAX, unit_size), units;

	wanted = min_u(wanted, add_sat(in_use, unused_max));
	units = round_up_div(wanted, unit_size);
	return mul_sat(units, unit_size) - in_use <= unused_max ? wanted : (units - 1) * unit_size;
}

static unsigned wanted_of(const struct decision *d, unsigned i)
{
	const struct plan_targets *targets = &d->input->targets;
	const struct cloud_units *units = &d->input->limits.units[i];
	unsigned unit_size = unit_size_of(i, units->len);
	unsigned in_use = add_sat(d->families[i].counts.leased, d->input->waiting);
	unsigned wanted = add_sat(in_use, targets->warm_ips);
	unsigned warm_blocks = mul_sat(targets->warm_blocks, unit_size);
	unsigned warm_nics = mul_sat(targets->warm_nics, mul_sat(units->per_nic_max, unit_size));

	if (targets->warm_auto)
		wanted = bound_unused(in_use, wanted, unit_size);
	wanted = max_u(wanted, add_sat(in_use, max_u(warm_blocks, warm_nics)));
	return min_u(max_u(wanted, targets->min_ips), targets->max_pods);
}

static void set_targets(struct decision *d)
{
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		struct plan_family *family = &d->families[i];
		const struct pool_counts *counts = &family->counts;
		unsigned pool_supply =
			add_sat(add_sat(counts->free, counts->leased), add_sat(counts->pending, counts->incoming));

		if (!family->served)
			continue;
		family->settled_count = add_sat(family->settled_count, counts->leased);
		d->plan->supply[i] = sub_sat(pool_supply, family->unusable_count);
		d->plan->wanted[i] = wanted_of(d, i);
	}
}

static void check_input(const struct plan_input *input)
{
	CHECK(input->targets.release_delay_us >= 0);
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		const struct cloud_units *units = &input->limits.units[i];

		if (!pool_serves(input->pool, ip_family_at(i)))
			continue;
		CHECK(units->single_len >= units->len);
		CHECK(i == V6 || unit_size_of(i, units->len) <= POOL_BLOCK_SIZE_MAX);
	}
}

const char *plan_kind_name(enum plan_kind kind)
{
	static const char *const names[PLAN_KIND_COUNT] = {
		[PLAN_ASSIGN] = "assign",   [PLAN_ATTACH] = "attach", [PLAN_RECOVER] = "recover",
		[PLAN_RELEASE] = "release", [PLAN_DETACH] = "detach", [PLAN_DRAIN] = "drain",
		[PLAN_UNDRAIN] = "undrain",
	};

	return (unsigned)kind < PLAN_KIND_COUNT ? names[kind] : "?";
}

void planner_decide(const struct plan_input *input, struct plan *ret)
{
	struct decision d = { .input = input, .plan = ret };

	check_input(input);
	ret->action_count = 0;
	ret->block_count = 0;
	ret->short_because = FAIL_NONE;
	ret->wake_us = INT64_MAX;
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		ret->wanted[i] = ret->supply[i] = 0;
	survey(&d);
	set_targets(&d);
	if (d.nic_count == 0)
		return;
	plan_grow(&d);
	plan_shrink(&d);
	if (d.may_shrink_later)
		plan_wake_at(ret, d.next_quiet_us);
}
