/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner's world: a pool, and a cloud that obeys at once. decide() asserts what must hold for every plan, step()
 * that nothing is left to do behind it, settle() that time which nobody announced changes nothing.
 */
#ifndef TESTS_UNIT_WORLD_H
#define TESTS_UNIT_WORLD_H

#include "tests/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/str.h"
#include "ipamd/planner.h"
#include "ipamd/pool.h"

#define COOLDOWN_US  (30 * USEC_PER_SEC)
#define DELAY_US     (60 * USEC_PER_SEC)
#define START_US     (100000 * USEC_PER_SEC)
#define PODS_MAX     300U
#define SETTLE_STEPS 2000U /* decisions until nothing is left to do; far above what any test needs */

/* ---- the model ---- */

struct world {
	struct pool *pool;
	struct cloud_limits limits;
	struct plan_targets targets;
	unsigned waiting;
	int64_t now_us, grow_us, shrink_us;
	uint32_t next_addr; /* of the next block, host order */
	bool up[PODS_MAX];
	unsigned mutations, growths;
	uint64_t random;
	struct plan plan; /* the last one */
};

/* NICs, units on each, length of a unit: as EC2 has them. */
static _unused_ const struct cloud_limits m5_large = { 3, true, { { 9, 32, 32 } } };
static _unused_ const struct cloud_limits t3_nano = { 2, true, { { 1, 32, 32 } } };
static _unused_ const struct cloud_limits m5_4xlarge = { 8, true, { { 29, 32, 32 } } };
static _unused_ const struct cloud_limits m5_large_prefixes = { 3, true, { { 9, 28, 28 } } };
static _unused_ const struct cloud_limits t3_nano_prefixes = { 2, true, { { 1, 28, 28 } } };

static inline void open_nic(struct world *w, unsigned slot)
{
	struct cloud_nic nic = { .slot = slot, .primary = slot == 0, .attached = true };

	(void)snprintf(nic.id, sizeof(nic.id), "nic-%u", slot);
	assert_non_null(pool_nic_add(w->pool, &nic, w->now_us));
	pool_nic_set_state(w->pool, slot, NIC_READY, w->now_us);
}

static inline struct world *world_new(const struct cloud_limits *limits, unsigned warm)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->pool = pool_new(COOLDOWN_US, POOL_SERVES_V4);
	assert_non_null(w->pool);
	w->limits = *limits;
	w->targets = (struct plan_targets){ .warm_ips = warm, .max_pods = 110, .release_delay_us = DELAY_US };
	w->now_us = START_US;
	w->next_addr = 0x0a000000U;
	w->random = 1;
	open_nic(w, 0);
	return w;
}

static inline void world_free(struct world *w)
{
	pool_free(w->pool);
	free(w);
}

#define _cleanup_world_ _cleanup_(world_done)
static inline void world_done(struct world **w)
{
	if (*w)
		world_free(*w);
}

static inline unsigned roll(struct world *w, unsigned below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (unsigned)(w->random % below);
}

static inline uint64_t test_seed(void)
{
	const char *given = getenv("BERTH_TEST_SEED");
	uint64_t seed = 20261123;

	if (given && str_u64(given, 1, UINT64_MAX, &seed) < 0)
		fail_msg("BERTH_TEST_SEED is no number");
	print_message("# seed %" PRIu64 " (BERTH_TEST_SEED)\n", seed);
	return seed;
}

static inline unsigned unit_size(const struct world *w)
{
	return 1U << (32 - w->limits.units[0].len);
}

/* What asks for so many units of the wanted length. */
struct wants {
	struct cloud_want units[IP_FAMILIES];
};

static inline struct wants wants_of(const struct world *w, unsigned count)
{
	return (struct wants){ { { count, w->limits.units[0].len } } };
}

/* A block of @len on a NIC, READY if the NIC is, of addresses that nobody had. */
static inline struct prefix add_block(struct world *w, unsigned slot, unsigned len)
{
	struct ipaddr addr = ipaddr_v4(w->next_addr);
	struct prefix prefix = prefix_of(&addr, len);

	w->next_addr += 256;
	assert_int_equal(pool_block_add(w->pool, slot, &prefix, w->now_us), 0);
	if (pool_nic_by_slot(w->pool, slot)->state == NIC_READY)
		pool_block_set_state(w->pool, &prefix, BLOCK_READY, w->now_us);
	return prefix;
}

static inline void add_blocks(struct world *w, unsigned slot, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		(void)add_block(w, slot, w->limits.units[0].len);
}

static inline struct lease_key key_of(unsigned pod)
{
	struct lease_key key = { .network = "n", .ifname = "eth0" };

	(void)snprintf(key.container, sizeof(key.container), "%u", pod);
	return key;
}

static inline bool pod_up(struct world *w, unsigned pod)
{
	const struct lease_key key = key_of(pod);
	const struct pod_name name = { .name = "p" };
	bool is_new;

	w->up[pod] = pool_lease(w->pool, &key, &name, "", w->now_us, &is_new) != NULL;
	return w->up[pod];
}

static inline void pod_down(struct world *w, unsigned pod)
{
	const struct lease_key key = key_of(pod);

	assert_true(pool_lease_release(w->pool, &key, w->now_us, NULL));
	w->up[pod] = false;
}

static inline struct pool_counts counts_of(const struct world *w)
{
	struct pool_counts counts;

	pool_count(w->pool, IP_V4, &counts);
	return counts;
}

/* ---- deciding, with what must hold for every plan ---- */

static inline void assert_same_plan(const struct plan *a, const struct plan *b)
{
	assert_int_equal(a->action_count, b->action_count);
	assert_int_equal(a->block_count, b->block_count);
	for (unsigned i = 0; i < a->action_count; i++) {
		assert_int_equal(a->actions[i].kind, b->actions[i].kind);
		assert_int_equal(a->actions[i].slot, b->actions[i].slot);
		assert_int_equal(a->actions[i].count, b->actions[i].count);
		assert_int_equal(a->actions[i].first_block, b->actions[i].first_block);
	}
	for (unsigned i = 0; i < a->block_count; i++)
		assert_int_equal(prefix_cmp(&a->blocks[i], &b->blocks[i]), 0);
	assert_int_equal(a->wanted, b->wanted);
	assert_int_equal(a->supply, b->supply);
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

/* Of one NIC: addresses that pods may get from it, and blocks that the cloud shows. */
struct on_nic {
	unsigned slot, supply_count, shown_count;
};

static inline int add_to_nic(const struct pool_block_view *block, void *arg)
{
	struct on_nic *on = arg;

	if (block->nic_slot == on->slot) {
		on->supply_count += block->supply_count;
		on->shown_count += block->state != BLOCK_LOST;
	}
	return 0;
}

static inline struct on_nic blocks_on(const struct world *w, unsigned slot)
{
	struct on_nic on = { .slot = slot };

	(void)pool_blocks(w->pool, add_to_nic, &on);
	return on;
}

static inline void assert_release_allowed(const struct world *w, const struct plan_action *action)
{
	for (unsigned i = 0; i < action->count; i++) {
		struct pool_block_view block;

		assert_true(pool_block_get(w->pool, &w->plan.blocks[action->first_block + i], &block));
		assert_int_equal(block.nic_slot, action->slot);
		assert_int_equal(block.leased_count + block.cooling_count, 0);
		assert_true(block.state == BLOCK_READY || block.state == BLOCK_DRAINING);
		assert_true(block.idle_since_us + w->targets.release_delay_us <= w->now_us);
	}
}

static inline void assert_action_allowed(const struct world *w, const struct plan_action *action)
{
	const struct pool_nic *nic = pool_nic_by_slot(w->pool, action->slot);

	assert_true(action->count > 0);
	if (action->kind == PLAN_ATTACH) {
		assert_null(nic);
		assert_true(action->slot > 0);
		assert_true(action->count <= w->limits.units[0].per_nic_max);
		return;
	}
	assert_non_null(nic);
	assert_int_equal(nic->busy, NIC_IDLE);
	assert_false(nic->stale);
	assert_true(nic->state == NIC_READY || nic->state == NIC_CONFIGURING ||
		    (nic->state == NIC_DRAINING && action->kind == PLAN_DETACH));
	if (action->kind == PLAN_ASSIGN)
		assert_true(blocks_on(w, action->slot).shown_count + action->count <= w->limits.units[0].per_nic_max);
	if (action->kind == PLAN_RELEASE)
		assert_release_allowed(w, action);
	if (action->kind == PLAN_DETACH) {
		assert_false(nic->primary);
		assert_int_equal(nic->leased_count + nic->cooling_count, 0);
	}
}

static inline void assert_plan_allowed(const struct world *w)
{
	const struct plan *plan = &w->plan;
	struct pool_counts counts = counts_of(w);
	unsigned attaches = 0, grown = 0, shrinks = 0;

	for (unsigned i = 0; i < plan->action_count; i++) {
		const struct plan_action *action = &plan->actions[i];

		assert_action_allowed(w, action);
		for (unsigned j = 0; j < i; j++)
			assert_int_not_equal(plan->actions[j].slot, action->slot);
		attaches += action->kind == PLAN_ATTACH;
		if (action->kind == PLAN_ATTACH || action->kind == PLAN_ASSIGN)
			grown += action->count * unit_size(w);
		else
			shrinks++;
	}
	assert_true(grown == 0 || shrinks == 0);
	assert_true(attaches == 0 || count_nics(w, true) + attaches <= w->limits.nics_max);
	assert_true(attaches == 0 || w->targets.max_nics == 0 ||
		    count_nics(w, false) + attaches <= w->targets.max_nics);
	if (grown > 0) {
		assert_true(w->now_us >= w->grow_us);
		assert_true(counts.total + counts.incoming + grown < w->targets.max_pods + unit_size(w));
		assert_true(plan->supply + grown < plan->wanted + unit_size(w));
	}
	assert_true(shrinks == 0 || w->now_us >= w->shrink_us);
	assert_true(plan->wake_us > w->now_us);
	assert_true(plan->short_because == FAIL_NONE || plan->supply < plan->wanted);
}

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
	};
	static struct plan again; /* stale on purpose: everything must be written */

	planner_decide(&input, &w->plan);
	planner_decide(&input, &again);
	assert_same_plan(&w->plan, &again);
	assert_plan_allowed(w);
}

/* ---- the cloud obeys ---- */

static inline void obey_release(struct world *w, const struct plan_action *action)
{
	for (unsigned i = 0; i < action->count; i++) {
		const struct prefix *block = &w->plan.blocks[action->first_block + i];

		pool_block_set_state(w->pool, block, BLOCK_DRAINING, w->now_us);
		pool_block_set_state(w->pool, block, BLOCK_RELEASING, w->now_us);
		pool_block_remove(w->pool, block);
	}
}

static inline void obey_attach(struct world *w, const struct plan_action *action)
{
	struct cloud_nic nic = { .slot = action->slot, .attached = true };

	(void)snprintf(nic.id, sizeof(nic.id), "nic-%u", action->slot);
	assert_non_null(pool_nic_attaching(w->pool, action->slot, wants_of(w, action->count).units, w->now_us));
	assert_int_equal(pool_nic_attached(w->pool, action->slot, &nic, w->now_us), 0);
	pool_nic_set_state(w->pool, action->slot, NIC_READY, w->now_us);
	add_blocks(w, action->slot, action->count);
}

static inline void obey(struct world *w)
{
	for (unsigned i = 0; i < w->plan.action_count; i++) {
		const struct plan_action *action = &w->plan.actions[i];

		w->mutations++;
		w->growths += action->kind == PLAN_ASSIGN || action->kind == PLAN_ATTACH;
		switch (action->kind) {
		case PLAN_ASSIGN:
			add_blocks(w, action->slot, action->count);
			break;
		case PLAN_ATTACH:
			obey_attach(w, action);
			break;
		case PLAN_RELEASE:
			obey_release(w, action);
			break;
		case PLAN_DETACH:
			pool_nic_set_state(w->pool, action->slot, NIC_DRAINING, w->now_us);
			pool_nic_set_state(w->pool, action->slot, NIC_DETACHING, w->now_us);
			pool_nic_remove(w->pool, action->slot);
			break;
		case PLAN_KIND_COUNT:
			fail();
		}
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

#endif
