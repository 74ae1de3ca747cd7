/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold for every plan, whatever the state. */
#ifndef TESTS_UNIT_PLAN_RULES_H
#define TESTS_UNIT_PLAN_RULES_H

#include "tests/unit/plan_world.h"

static inline void assert_same_action(const struct plan_action *a, const struct plan_action *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->slot, b->slot);
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		assert_int_equal(a->wants[f].count, b->wants[f].count);
		assert_int_equal(a->wants[f].len, b->wants[f].len);
	}
	assert_int_equal(a->first_block, b->first_block);
	assert_int_equal(a->block_count, b->block_count);
}

static inline void assert_same_plan(const struct plan *a, const struct plan *b)
{
	assert_int_equal(a->action_count, b->action_count);
	assert_int_equal(a->block_count, b->block_count);
	for (unsigned i = 0; i < a->action_count; i++)
		assert_same_action(&a->actions[i], &b->actions[i]);
	for (unsigned i = 0; i < a->block_count; i++)
		assert_int_equal(prefix_cmp(&a->blocks[i], &b->blocks[i]), 0);
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		assert_int_equal(a->wanted[f], b->wanted[f]);
		assert_int_equal(a->supply[f], b->supply[f]);
	}
	assert_int_equal(a->short_because, b->short_because);
	assert_int_equal(a->wake_us, b->wake_us);
}

static inline unsigned count_nics(const struct world *w, bool foreign_too)
{
	const struct pool_nic *nic = NULL;
	unsigned n = 0;

	while ((nic = pool_nic_next(w->pool, nic)))
		n += foreign_too || nic->state != NIC_FOREIGN;
	return n;
}

/* Of one NIC and family: addresses that pods may get from it, now or soon, and blocks that the cloud shows. */
struct on_nic {
	unsigned slot, family, supply_count, shown_count;
	unsigned free_count; /* of the supply: may be leased this moment */
};

struct on_nic_walk {
	const struct world *w;
	struct on_nic on;
};

static inline int add_to_nic(const struct pool_block_view *block, void *arg)
{
	struct on_nic_walk *walk = arg;
	struct on_nic *on = &walk->on;

	if (block->nic_slot != on->slot || ip_index(block->prefix.addr.family) != on->family)
		return 0;
	on->supply_count += block->supply_count;
	on->shown_count += block->state != BLOCK_LOST;
	if (block->state == BLOCK_READY && pool_nic_by_slot(walk->w->pool, on->slot)->state == NIC_READY)
		on->free_count += block->supply_count;
	return 0;
}

static inline struct on_nic blocks_in(const struct world *w, unsigned family, unsigned slot)
{
	struct on_nic_walk walk = { .w = w, .on = { .slot = slot, .family = family } };

	(void)pool_blocks(w->pool, add_to_nic, &walk);
	return walk.on;
}

static inline struct on_nic blocks_on(const struct world *w, unsigned slot)
{
	return blocks_in(w, V4, slot);
}

/* Pods must get nothing of it. */
static inline bool is_unused(const struct world *w, unsigned slot)
{
	const struct pool_nic *nic = pool_nic_by_slot(w->pool, slot);

	return nic->closed || (w->targets.primary_unused && nic->primary);
}

/* ---- one action ---- */

static inline void assert_block_allowed(const struct world *w, enum plan_kind kind, const struct pool_block_view *block)
{
	const struct pool_nic *nic = pool_nic_by_slot(w->pool, block->nic_slot);

	if (kind == PLAN_RELEASE) {
		assert_int_equal(block->leased_count + block->cooling_count, 0);
		assert_true(block->state == BLOCK_READY || block->state == BLOCK_DRAINING);
		assert_true(block->idle_since_us + w->targets.release_delay_us <= w->now_us);
	} else if (kind == PLAN_RECOVER) {
		assert_int_equal(block->state, BLOCK_LOST);
		assert_true(block->leased_count > 0);
		assert_int_equal(nic->state, NIC_READY);
	} else if (kind == PLAN_DRAIN) {
		assert_int_equal(block->state, BLOCK_READY);
		assert_int_equal(nic->state, NIC_READY);
	} else {
		assert_int_equal(kind, PLAN_UNDRAIN);
		assert_int_equal(block->state, BLOCK_DRAINING);
		assert_true(block->free_count > 0);
		assert_true(nic->state == NIC_READY || nic->state == NIC_CONFIGURING);
		assert_false(is_unused(w, nic->slot));
	}
}

static inline void assert_blocks_allowed(const struct world *w, const struct plan_action *action)
{
	assert_true(action->block_count > 0);
	assert_true(action->first_block + action->block_count <= w->plan.block_count);
	for (unsigned i = 0; i < action->block_count; i++) {
		struct pool_block_view block = view_of(w, &w->plan.blocks[action->first_block + i]);

		assert_int_equal(block.nic_slot, action->slot);
		assert_true(pool_serves(w->pool, block.prefix.addr.family) || action->kind == PLAN_RECOVER);
		assert_block_allowed(w, action->kind, &block);
	}
}

static inline unsigned recovered_in(const struct world *w, unsigned family, unsigned slot)
{
	const struct plan_action action = action_on(w, PLAN_RECOVER, slot);
	unsigned n = 0;

	for (unsigned i = 0; i < action.block_count; i++)
		n += ip_index(w->plan.blocks[action.first_block + i].addr.family) == family;
	return n;
}

static inline void assert_room(const struct world *w, const struct plan_action *action)
{
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		unsigned more = action->wants[f].count + recovered_in(w, f, action->slot);

		assert_true(more == 0 ||
			    blocks_in(w, f, action->slot).shown_count + more <= w->limits.units[f].per_nic_max);
		assert_true(action->wants[f].count == 0 || pool_serves(w->pool, ip_family_at(f)));
		assert_true(action->wants[f].count == 0 ||
			    action->wants[f].len == (w->now_us < w->single_until_us[f] ? w->limits.units[f].single_len
										       : w->limits.units[f].len));
		assert_true(!in_ranges(w, f) || action->wants[f].count <= 1);
	}
}

static inline bool names_blocks(enum plan_kind kind)
{
	return kind != PLAN_ASSIGN && kind != PLAN_ATTACH && kind != PLAN_DETACH;
}

static inline void assert_mutation_allowed(const struct world *w, const struct plan_action *action)
{
	const struct pool_nic *nic = pool_nic_by_slot(w->pool, action->slot);

	assert_non_null(nic);
	assert_int_equal(nic->busy, NIC_IDLE);
	assert_false(nic->stale);
	assert_true(nic->state == NIC_READY || nic->state == NIC_CONFIGURING ||
		    (nic->state == NIC_DRAINING && action->kind == PLAN_DETACH));
	assert_false(action->kind == PLAN_ASSIGN && is_unused(w, action->slot));
	if (action->kind == PLAN_DETACH) {
		assert_false(nic->primary);
		assert_int_equal(nic->leased_count + nic->cooling_count, 0);
	}
}

static inline void assert_action_allowed(const struct world *w, const struct plan_action *action)
{
	if (action->kind == PLAN_ASSIGN || action->kind == PLAN_ATTACH)
		assert_true(action->wants[V4].count + action->wants[V6].count > 0);
	if (action->kind == PLAN_ATTACH) {
		assert_null(pool_nic_by_slot(w->pool, action->slot));
		assert_true(action->slot > 0);
	} else if (is_mutation(action->kind)) {
		assert_mutation_allowed(w, action);
	}
	assert_room(w, action);
	if (names_blocks(action->kind))
		assert_blocks_allowed(w, action);
}

/* ---- all of them ---- */

/* Do two actions do the same to a NIC? IPv6 ranges are taken back by themselves. */
static inline bool is_twice(const struct plan *plan, const struct plan_action *a, const struct plan_action *b)
{
	if (a->slot != b->slot)
		return false;
	if (a->kind == PLAN_DETACH || b->kind == PLAN_DETACH)
		return true;
	if (a->kind == PLAN_UNDRAIN && b->kind == PLAN_UNDRAIN)
		return plan->blocks[a->first_block].addr.family == plan->blocks[b->first_block].addr.family;
	return a->kind == b->kind || (is_mutation(a->kind) && is_mutation(b->kind));
}

/* One mutation of a NIC at a time, and each block in one action at most. */
static inline void assert_nothing_twice(const struct plan *plan)
{
	for (unsigned i = 0; i < plan->action_count; i++)
		for (unsigned j = 0; j < i; j++)
			assert_false(is_twice(plan, &plan->actions[i], &plan->actions[j]));
	for (unsigned i = 0; i < plan->block_count; i++)
		for (unsigned j = 0; j < i; j++)
			assert_int_not_equal(prefix_cmp(&plan->blocks[i], &plan->blocks[j]), 0);
}

/* What a plan does to the addresses of a family: bought, taken back or recovered, and given away or drained. */
struct plan_sums {
	unsigned bought, back, shed;
	unsigned back_now, shed_now; /* of those, what may be leased this moment */
	unsigned drained;            /* of what is shed */
};

static inline void sum_blocks(const struct world *w, const struct plan_action *action, unsigned family,
			      struct plan_sums *sums)
{
	for (unsigned i = 0; names_blocks(action->kind) && i < action->block_count; i++) {
		struct pool_block_view block = view_of(w, &w->plan.blocks[action->first_block + i]);

		if (ip_index(block.prefix.addr.family) != family || is_unused(w, action->slot))
			continue;
		if (action->kind == PLAN_RELEASE || action->kind == PLAN_DRAIN) {
			sums->shed += block.supply_count;
			sums->shed_now += block.supply_count;
			sums->drained += action->kind == PLAN_DRAIN ? block.supply_count : 0;
			continue;
		}
		sums->back += block.free_count;
		if (action->kind == PLAN_UNDRAIN && pool_nic_by_slot(w->pool, action->slot)->state == NIC_READY)
			sums->back_now += block.free_count;
	}
}

static inline struct plan_sums sums_of(const struct world *w, unsigned family)
{
	struct plan_sums sums = { 0 };

	for (unsigned i = 0; i < w->plan.action_count; i++) {
		const struct plan_action *action = &w->plan.actions[i];

		if (action->wants[family].count > 0)
			sums.bought += action->wants[family].count *
				       pool_block_size(ip_family_at(family), action->wants[family].len);
		if (action->kind == PLAN_DETACH) {
			struct on_nic on = blocks_in(w, family, action->slot);

			sums.shed += on.supply_count;
			sums.shed_now += on.free_count;
		}
		sum_blocks(w, action, family, &sums);
	}
	return sums;
}

/* Free addresses of a NIC that pods must get nothing of: they are on their way out, and keep nobody from buying others. */
struct parting {
	const struct world *w;
	unsigned counts[IP_FAMILIES];
};

static inline int add_parting(const struct pool_block_view *block, void *arg)
{
	struct parting *parting = arg;
	enum nic_state nic = pool_nic_by_slot(parting->w->pool, block->nic_slot)->state;
	bool is_owned = block->state != BLOCK_LOST && block->state != BLOCK_RELEASING && nic != NIC_LOST &&
			nic != NIC_DETACHING;

	if (is_owned && is_unused(parting->w, block->nic_slot))
		parting->counts[ip_index(block->prefix.addr.family)] += block->free_count;
	return 0;
}

static inline unsigned parting_of(const struct world *w, unsigned family)
{
	struct parting parting = { .w = w };

	(void)pool_blocks(w->pool, add_parting, &parting);
	return parting.counts[family];
}

/* Whoever drains leaves enough that may be leased this moment, not only on its way. */
static inline void assert_enough_now(const struct world *w, unsigned family)
{
	struct pool_counts counts = counts_in(w, family);
	struct plan_sums sums = sums_of(w, family);
	unsigned unused = w->targets.primary_unused ? blocks_in(w, family, 0).free_count : 0;

	if (sums.drained > 0)
		assert_true(counts.free - unused + counts.leased + sums.back_now >=
			    w->plan.wanted[family] + sums.shed_now);
}

/* A surplus goes back when it has lasted: what was free all through release_delay, beyond what is wanted free. */
struct proof {
	const struct world *w;
	unsigned family, count;
};

static inline int add_proof(const struct pool_block_view *block, void *arg)
{
	struct proof *proof = arg;
	const struct world *w = proof->w;
	bool lasted = w->now_us - block->changed_us >= w->targets.release_delay_us;

	if (lasted && ip_index(block->prefix.addr.family) == proof->family && !is_unused(w, block->nic_slot))
		proof->count += block->supply_count;
	return 0;
}

static inline void assert_proven(const struct world *w, unsigned family)
{
	struct pool_counts counts = counts_in(w, family);
	struct plan_sums sums = sums_of(w, family);
	struct proof proof = { .w = w, .family = family };
	unsigned spare = w->plan.wanted[family] > counts.leased ? w->plan.wanted[family] - counts.leased : 0;

	(void)pool_blocks(w->pool, add_proof, &proof);
	assert_true(sums.shed - sums.drained == 0 || sums.shed - sums.drained + spare <= proof.count);
}

/* More is wanted, and no NIC has room for it. */
static inline bool is_full(const struct world *w, unsigned family)
{
	struct plan_sums sums = sums_of(w, family);

	return w->plan.short_because == FAIL_NIC_LIMIT &&
	       w->plan.supply[family] + sums.back + sums.bought < w->plan.wanted[family];
}

/* Each that goes is smaller than the unit that can then come, and no more go than have to. */
static inline void assert_room_made(const struct world *w, unsigned family)
{
	struct plan_sums sums = sums_of(w, family);
	unsigned unit = pool_block_size(ip_family_at(family), w->now_us < w->single_until_us[family]
								      ? w->limits.units[family].single_len
								      : w->limits.units[family].len);
	unsigned missing = w->plan.wanted[family] - w->plan.supply[family] - sums.back - sums.bought, made = 0;

	for (unsigned i = 0; i < w->plan.action_count; i++) {
		const struct plan_action *action = &w->plan.actions[i];

		for (unsigned b = 0; action->kind == PLAN_RELEASE && b < action->block_count; b++) {
			struct pool_block_view block = view_of(w, &w->plan.blocks[action->first_block + b]);

			if (ip_index(block.prefix.addr.family) != family || block.supply_count == 0 ||
			    is_unused(w, action->slot))
				continue;
			assert_true(block.size < unit);
			made++;
		}
	}
	assert_true(made <= (missing + unit - 1) / unit);
}

static inline void assert_family_allowed(const struct world *w, unsigned family)
{
	const struct plan *plan = &w->plan;
	struct pool_counts counts = counts_in(w, family);
	struct plan_sums sums = sums_of(w, family);
	unsigned one = w->now_us < w->single_until_us[family] ? 1 : unit_size_of(w, family);

	if (!pool_serves(w->pool, ip_family_at(family))) {
		assert_int_equal(plan->wanted[family] + plan->supply[family] + sums.bought + sums.shed, 0);
		return;
	}
	assert_true(plan->wanted[family] <= w->targets.max_pods);
	/* Nothing goes that is wanted, not even in exchange for what is still to come, but for the room of a whole unit. */
	if (is_full(w, family))
		assert_room_made(w, family);
	else if (unit_size_of(w, family) <= POOL_BLOCK_SIZE_MAX)
		assert_proven(w, family);
	if (!is_full(w, family))
		assert_true(sums.shed == 0 || plan->supply[family] + sums.back >= plan->wanted[family] + sums.shed);
	assert_enough_now(w, family);
	if (in_ranges(w, family))
		return;
	assert_true(sums.bought == 0 || sums.shed == 0 || is_full(w, family));
	assert_true(sums.bought == 0 ||
		    counts.total - parting_of(w, family) + counts.incoming + sums.bought < w->targets.max_pods + one);
	assert_true(sums.bought == 0 || plan->supply[family] + sums.back + sums.bought < plan->wanted[family] + one);
}

static inline void assert_nics_allowed(const struct world *w)
{
	unsigned attaches = count_actions(w, PLAN_ATTACH);

	assert_true(attaches == 0 || w->limits.can_attach_nic);
	assert_true(attaches == 0 || count_nics(w, true) + attaches <= w->limits.nics_max);
	assert_true(attaches == 0 || w->targets.max_nics == 0 ||
		    count_nics(w, false) + attaches <= w->targets.max_nics);
}

static inline void assert_times_kept(const struct world *w)
{
	for (unsigned i = 0; i < w->plan.action_count; i++) {
		const struct plan_action *action = &w->plan.actions[i];

		if (action->kind == PLAN_ASSIGN || action->kind == PLAN_ATTACH || action->kind == PLAN_RECOVER)
			assert_true(w->now_us >= w->grow_us);
		if (action->kind == PLAN_RECOVER)
			assert_true(w->now_us >= w->recover_us);
		if (action->kind == PLAN_RELEASE || action->kind == PLAN_DETACH)
			assert_true(w->now_us >= w->shrink_us);
		if (action->kind == PLAN_DRAIN)
			assert_true(w->now_us >= w->shrink_us || is_unused(w, action->slot));
	}
	assert_true(w->plan.wake_us > w->now_us);
}

/* For whoever looks into a seed that failed. */
static inline void print_plan(const struct world *w)
{
	static const char *const names[] = { "assign", "attach", "recover", "release", "detach", "drain", "undrain" };
	char text[PREFIX_STRLEN];

	print_message("# wanted %u %u supply %u %u because %u\n", w->plan.wanted[V4], w->plan.wanted[V6],
		      w->plan.supply[V4], w->plan.supply[V6], w->plan.short_because);
	for (unsigned i = 0; i < w->plan.action_count; i++) {
		const struct plan_action *action = &w->plan.actions[i];

		print_message("# %s slot %u: %u/%u %u/%u", names[action->kind], action->slot, action->wants[V4].count,
			      action->wants[V4].len, action->wants[V6].count, action->wants[V6].len);
		for (unsigned b = 0; b < action->block_count; b++)
			print_message(" %s", prefix_str(&w->plan.blocks[action->first_block + b], text));
		print_message("\n");
	}
}

static inline void assert_plan_allowed(const struct world *w)
{
	const struct plan *plan = &w->plan;

	if (getenv("BERTH_TEST_TRACE"))
		print_plan(w);
	assert_true(plan->action_count <= PLAN_ACTIONS_MAX && plan->block_count <= CLOUD_BLOCKS_MAX);
	for (unsigned i = 0; i < plan->action_count; i++)
		assert_action_allowed(w, &plan->actions[i]);
	assert_nothing_twice(plan);
	for (unsigned f = 0; f < IP_FAMILIES; f++)
		assert_family_allowed(w, f);
	assert_nics_allowed(w);
	assert_times_kept(w);
	assert_true(plan->short_because == FAIL_NONE || plan->supply[V4] < plan->wanted[V4] ||
		    plan->supply[V6] < plan->wanted[V6]);
}

#endif
