/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner's world: a pool, and a cloud that obeys at once. decide() asserts what must hold for every plan
 * (plan_rules.h), step() that nothing is left to do behind it, settle() that time which nobody announced changes nothing.
 */
#ifndef TESTS_UNIT_WORLD_H
#define TESTS_UNIT_WORLD_H

#include "tests/unit/plan_rules.h"

static inline void decide(struct world *w)
{
	const struct plan_input input = {
		.pool = w->pool,
		.limits = w->limits,
		.targets = w->targets,
		.waiting = w->waiting,
		.now_us = w->now_us,
		.grow_not_before_us = w->grow_us,
		.shrink_not_before_us = w->shrink_us,
		.recover_not_before_us = w->recover_us,
		.single_until_us = { w->single_until_us[V4], w->single_until_us[V6] },
	};
	static struct plan again; /* stale on purpose: everything must be written */

	planner_decide(&input, &w->plan);
	planner_decide(&input, &again);
	assert_same_plan(&w->plan, &again);
	assert_plan_allowed(w);
}

/* ---- the cloud obeys ---- */

static inline void set_blocks(struct world *w, const struct plan_action *action, enum block_state state)
{
	for (unsigned i = 0; i < action->block_count; i++)
		pool_block_set_state(w->pool, &w->plan.blocks[action->first_block + i], state, w->now_us);
}

static inline void obey_release(struct world *w, const struct plan_action *action)
{
	set_blocks(w, action, BLOCK_DRAINING);
	set_blocks(w, action, BLOCK_RELEASING);
	for (unsigned i = 0; i < action->block_count; i++)
		pool_block_remove(w->pool, &w->plan.blocks[action->first_block + i]);
}

static inline void obey_attach(struct world *w, const struct plan_action *action)
{
	struct cloud_nic nic = { .slot = action->slot, .attached = true };

	(void)snprintf(nic.id, sizeof(nic.id), "nic-%u", action->slot);
	assert_non_null(pool_nic_attaching(w->pool, action->slot, action->wants, w->now_us));
	assert_int_equal(pool_nic_attached(w->pool, action->slot, &nic, w->now_us), 0);
	pool_nic_set_state(w->pool, action->slot, NIC_READY, w->now_us);
	add_wants(w, action->slot, action->wants);
}

static inline void obey_one(struct world *w, const struct plan_action *action)
{
	switch (action->kind) {
	case PLAN_ASSIGN:
		add_wants(w, action->slot, action->wants);
		break;
	case PLAN_ATTACH:
		obey_attach(w, action);
		break;
	case PLAN_RECOVER:
		set_blocks(w, action, BLOCK_PENDING);
		set_blocks(w, action, BLOCK_READY);
		break;
	case PLAN_RELEASE:
		obey_release(w, action);
		break;
	case PLAN_DETACH:
		pool_nic_set_state(w->pool, action->slot, NIC_DRAINING, w->now_us);
		pool_nic_set_state(w->pool, action->slot, NIC_DETACHING, w->now_us);
		pool_nic_remove(w->pool, action->slot);
		break;
	case PLAN_DRAIN:
		set_blocks(w, action, BLOCK_DRAINING);
		break;
	case PLAN_UNDRAIN:
		set_blocks(w, action, BLOCK_READY);
		break;
	case PLAN_KIND_COUNT:
		fail();
	}
}

static inline void obey(struct world *w)
{
	for (unsigned i = 0; i < w->plan.action_count; i++) {
		const struct plan_action *action = &w->plan.actions[i];

		w->mutations += is_mutation(action->kind);
		w->growths += action->kind == PLAN_ASSIGN || action->kind == PLAN_ATTACH;
		w->drains += action->kind == PLAN_DRAIN;
		obey_one(w, action);
	}
}

/* Decide, obey, decide: nothing more. Return: actions of the first decision. */
static inline unsigned step(struct world *w)
{
	unsigned actions;

	decide(w);
	actions = w->plan.action_count;
	obey(w);
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	return actions;
}

/* Lets time pass from one event to the next until none is left. Time that nobody announced must change nothing. */
static inline void settle(struct world *w)
{
	for (unsigned i = 0; i < SETTLE_STEPS; i++) {
		int64_t next_us = pool_tick(w->pool, w->now_us);

		(void)step(w);
		if (w->plan.wake_us < next_us)
			next_us = w->plan.wake_us;
		w->now_us = next_us == INT64_MAX ? w->now_us + 86400 * USEC_PER_SEC : next_us - 1;
		decide(w);
		assert_int_equal(w->plan.action_count, 0);
		if (next_us == INT64_MAX)
			return;
		w->now_us = next_us;
	}
	fail_msg("does not come to rest");
}

/* Brings the node to exactly @pods pods, as a burst; what does not fit stays outside. */
static inline void set_pods(struct world *w, unsigned pods)
{
	unsigned running = 0;

	for (unsigned i = 0; i < PODS_MAX; i++) {
		if (w->up[i] && running >= pods)
			pod_down(w, i);
		running += w->up[i];
	}
	w->waiting = pods - running;
	(void)step(w);
	for (unsigned i = 0; i < PODS_MAX && w->waiting > 0; i++)
		if (!w->up[i] && pod_up(w, i))
			w->waiting--;
	w->waiting = 0;
	(void)step(w);
}

#endif
