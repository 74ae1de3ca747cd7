/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner against a model: a pool, and a cloud that obeys at once. Examples first, then properties over seeded random
 * states and sequences; BERTH_TEST_SEED replays a seed that failed.
 */
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

static const struct cloud_limits m5_large = { 3, 9, 32, true }, t3_nano = { 2, 1, 32, true },
				 m5_4xlarge = { 8, 29, 32, true }, m5_large_prefixes = { 3, 9, 28, true },
				 t3_nano_prefixes = { 2, 1, 28, true };

static void open_nic(struct world *w, unsigned slot)
{
	struct cloud_nic nic = { .slot = slot, .primary = slot == 0, .attached = true };

	(void)snprintf(nic.id, sizeof(nic.id), "nic-%u", slot);
	assert_non_null(pool_nic_add(w->pool, &nic, w->now_us));
	pool_nic_set_state(w->pool, slot, NIC_READY, w->now_us);
}

static struct world *world_new(const struct cloud_limits *limits, unsigned warm)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->pool = pool_new(COOLDOWN_US);
	assert_non_null(w->pool);
	w->limits = *limits;
	w->targets = (struct plan_targets){ .warm_ips = warm, .max_pods = 110, .release_delay_us = DELAY_US };
	w->now_us = START_US;
	w->next_addr = 0x0a000000U;
	w->random = 1;
	open_nic(w, 0);
	return w;
}

static void world_free(struct world *w)
{
	pool_free(w->pool);
	free(w);
}

#define _cleanup_world_ _cleanup_(world_done)
static void world_done(struct world **w)
{
	if (*w)
		world_free(*w);
}

static unsigned roll(struct world *w, unsigned below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (unsigned)(w->random % below);
}

static uint64_t test_seed(void)
{
	const char *given = getenv("BERTH_TEST_SEED");
	uint64_t seed = 20261123;

	if (given && str_u64(given, 1, UINT64_MAX, &seed) < 0)
		fail_msg("BERTH_TEST_SEED is no number");
	print_message("# seed %" PRIu64 " (BERTH_TEST_SEED)\n", seed);
	return seed;
}

static unsigned unit_size(const struct world *w)
{
	return 1U << (32 - w->limits.unit_len);
}

/* A block of @len on a NIC, READY if the NIC is, of addresses that nobody had. */
static struct prefix add_block(struct world *w, unsigned slot, unsigned len)
{
	struct ipaddr addr = ipaddr_v4(w->next_addr);
	struct prefix prefix = prefix_of(&addr, len);

	w->next_addr += 256;
	assert_int_equal(pool_block_add(w->pool, slot, &prefix, w->now_us), 0);
	if (pool_nic_by_slot(w->pool, slot)->state == NIC_READY)
		pool_block_set_state(w->pool, &prefix, BLOCK_READY, w->now_us);
	return prefix;
}

static void add_blocks(struct world *w, unsigned slot, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		(void)add_block(w, slot, w->limits.unit_len);
}

static struct lease_key key_of(unsigned pod)
{
	struct lease_key key = { .network = "n", .ifname = "eth0" };

	(void)snprintf(key.container, sizeof(key.container), "%u", pod);
	return key;
}

static bool pod_up(struct world *w, unsigned pod)
{
	const struct lease_key key = key_of(pod);
	const struct pod_name name = { .name = "p" };
	bool is_new;

	w->up[pod] = pool_lease(w->pool, &key, &name, "", w->now_us, &is_new) != NULL;
	return w->up[pod];
}

static void pod_down(struct world *w, unsigned pod)
{
	const struct lease_key key = key_of(pod);

	assert_true(pool_lease_release(w->pool, &key, w->now_us, NULL, NULL));
	w->up[pod] = false;
}

static struct pool_counts counts_of(const struct world *w)
{
	struct pool_counts counts;

	pool_count(w->pool, &counts);
	return counts;
}

/* ---- deciding, with what must hold for every plan ---- */

static void assert_same_plan(const struct plan *a, const struct plan *b)
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

static unsigned count_nics(const struct world *w, bool foreign_too)
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

static int add_to_nic(const struct pool_block_view *block, void *arg)
{
	struct on_nic *on = arg;

	if (block->nic_slot == on->slot) {
		on->supply_count += block->supply_count;
		on->shown_count += block->state != BLOCK_LOST;
	}
	return 0;
}

static struct on_nic blocks_on(const struct world *w, unsigned slot)
{
	struct on_nic on = { .slot = slot };

	(void)pool_blocks(w->pool, add_to_nic, &on);
	return on;
}

static void assert_release_allowed(const struct world *w, const struct plan_action *action)
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

static void assert_action_allowed(const struct world *w, const struct plan_action *action)
{
	const struct pool_nic *nic = pool_nic_by_slot(w->pool, action->slot);

	assert_true(action->count > 0);
	if (action->kind == PLAN_ATTACH) {
		assert_null(nic);
		assert_true(action->slot > 0);
		assert_true(action->count <= w->limits.units_per_nic_max);
		return;
	}
	assert_non_null(nic);
	assert_int_equal(nic->busy, NIC_IDLE);
	assert_false(nic->stale);
	assert_true(nic->state == NIC_READY || nic->state == NIC_CONFIGURING ||
		    (nic->state == NIC_DRAINING && action->kind == PLAN_DETACH));
	if (action->kind == PLAN_ASSIGN)
		assert_true(blocks_on(w, action->slot).shown_count + action->count <= w->limits.units_per_nic_max);
	if (action->kind == PLAN_RELEASE)
		assert_release_allowed(w, action);
	if (action->kind == PLAN_DETACH) {
		assert_false(nic->primary);
		assert_int_equal(nic->leased_count + nic->cooling_count, 0);
	}
}

static void assert_plan_allowed(const struct world *w)
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
		assert_true(counts.total + counts.incoming * unit_size(w) + grown <
			    w->targets.max_pods + unit_size(w));
		assert_true(plan->supply + grown < plan->wanted + unit_size(w));
	}
	assert_true(shrinks == 0 || w->now_us >= w->shrink_us);
	assert_true(plan->wake_us > w->now_us);
	assert_true(plan->short_because == FAIL_NONE || plan->supply < plan->wanted);
}

static void decide(struct world *w)
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
	static struct plan again; /* 7 KiB, and stale on purpose: everything must be written */

	planner_decide(&input, &w->plan);
	planner_decide(&input, &again);
	assert_same_plan(&w->plan, &again);
	assert_plan_allowed(w);
}

/* ---- the cloud obeys ---- */

static void obey_release(struct world *w, const struct plan_action *action)
{
	for (unsigned i = 0; i < action->count; i++) {
		const struct prefix *block = &w->plan.blocks[action->first_block + i];

		pool_block_set_state(w->pool, block, BLOCK_DRAINING, w->now_us);
		pool_block_set_state(w->pool, block, BLOCK_RELEASING, w->now_us);
		pool_block_remove(w->pool, block);
	}
}

static void obey_attach(struct world *w, const struct plan_action *action)
{
	struct cloud_nic nic = { .slot = action->slot, .attached = true };

	(void)snprintf(nic.id, sizeof(nic.id), "nic-%u", action->slot);
	assert_non_null(pool_nic_attaching(w->pool, action->slot, action->count, w->now_us));
	assert_int_equal(pool_nic_attached(w->pool, action->slot, &nic, w->now_us), 0);
	pool_nic_set_state(w->pool, action->slot, NIC_READY, w->now_us);
	add_blocks(w, action->slot, action->count);
}

static void obey(struct world *w)
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
static unsigned step(struct world *w)
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
static void settle(struct world *w)
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

/* ---- growing: examples ---- */

static void test_planner_decide__empty_pool_is_not_known_yet(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 8);

	(void)state;
	pool_nic_remove(w->pool, 0);
	w->waiting = 5;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.short_because, FAIL_NONE);
}

static void test_planner_decide__warm_addresses_on_the_primary(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 8);

	(void)state;
	decide(w);
	assert_int_equal(w->plan.wanted, 8);
	assert_int_equal(w->plan.supply, 0);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_ASSIGN);
	assert_int_equal(w->plan.actions[0].slot, 0);
	assert_int_equal(w->plan.actions[0].count, 8);
	assert_int_equal(w->plan.wake_us, INT64_MAX);
}

static void test_planner_decide__a_burst_in_one_decision(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_4xlarge, 8);
	static const unsigned counts[] = { 29, 29, 29, 23 };

	(void)state;
	w->waiting = 250;
	decide(w);
	assert_int_equal(w->plan.wanted, 110);
	assert_int_equal(w->plan.action_count, 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(w->plan.actions[i].kind, i == 0 ? PLAN_ASSIGN : PLAN_ATTACH);
		assert_int_equal(w->plan.actions[i].slot, i);
		assert_int_equal(w->plan.actions[i].count, counts[i]);
	}
}

static void test_planner_decide__prefixes_are_rounded_up(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_prefixes, 8);

	(void)state;
	w->waiting = 9;
	decide(w);
	assert_int_equal(w->plan.wanted, 17);
	assert_int_equal(w->plan.actions[0].count, 2);
	obey(w);
	decide(w);
	assert_int_equal(w->plan.supply, 32);
	assert_int_equal(w->plan.action_count, 0);
}

static void test_planner_decide__counts_what_is_in_flight(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 8);

	(void)state;
	pool_nic_set_busy(w->pool, 0, NIC_BUSY_ASSIGN, 8);
	decide(w);
	assert_int_equal(w->plan.supply, 8);
	assert_int_equal(w->plan.action_count, 0);
	/* One more fits on the busy NIC: it is waited for. Two more do not. */
	w->waiting = 1;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.short_because, FAIL_NONE);
	w->waiting = 2;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_ATTACH);
	assert_int_equal(w->plan.actions[0].slot, 1);
	assert_int_equal(w->plan.actions[0].count, 1);
}

static void test_planner_decide__counts_a_nic_that_is_being_attached(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 2);

	(void)state;
	add_blocks(w, 0, 9);
	w->waiting = 10;
	assert_non_null(pool_nic_attaching(w->pool, 1, 3, w->now_us));
	decide(w);
	assert_int_equal(w->plan.supply, 12);
	assert_int_equal(w->plan.action_count, 0);
	w->waiting = 18;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_ATTACH);
	assert_int_equal(w->plan.actions[0].slot, 2);
	assert_int_equal(w->plan.actions[0].count, 2);
}

static void test_planner_decide__pending_blocks_are_supply(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_prefixes, 8);
	struct prefix prefix = add_block(w, 0, 28);

	(void)state;
	pool_block_set_state(w->pool, &prefix, BLOCK_LOST, w->now_us);
	pool_block_set_state(w->pool, &prefix, BLOCK_PENDING, w->now_us);
	decide(w);
	assert_int_equal(w->plan.supply, 16);
	assert_int_equal(w->plan.action_count, 0);
}

static void test_planner_decide__a_stale_nic_is_left_alone(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 3);

	(void)state;
	open_nic(w, 1);
	pool_nic_set_stale(w->pool, 0, true);
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].slot, 1);
	pool_nic_set_stale(w->pool, 1, true);
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.short_because, FAIL_NONE);
}

static void test_planner_decide__foreign_and_lost_nics_take_places(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 8);
	struct cloud_nic foreign = { .id = "theirs", .slot = 1, .foreign = true };

	(void)state;
	assert_non_null(pool_nic_add(w->pool, &foreign, w->now_us));
	w->waiting = 20;
	decide(w);
	assert_int_equal(w->plan.action_count, 2);
	assert_int_equal(w->plan.actions[1].kind, PLAN_ATTACH);
	assert_int_equal(w->plan.actions[1].slot, 2);
	assert_int_equal(w->plan.actions[1].count, 9);
	assert_int_equal(w->plan.short_because, FAIL_NIC_LIMIT);
	open_nic(w, 2);
	pool_nic_set_state(w->pool, 2, NIC_LOST, w->now_us);
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_ASSIGN);
	assert_int_equal(w->plan.actions[0].slot, 0);
	assert_int_equal(w->plan.short_because, FAIL_NIC_LIMIT);
}

static void test_planner_decide__max_nics_caps_ours_alone(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_4xlarge, 8);
	struct cloud_nic foreign = { .id = "theirs", .slot = 3, .foreign = true };

	(void)state;
	assert_non_null(pool_nic_add(w->pool, &foreign, w->now_us));
	w->targets.max_nics = 3;
	w->waiting = 110;
	decide(w);
	assert_int_equal(w->plan.action_count, 3);
	assert_int_equal(w->plan.actions[1].slot, 1);
	assert_int_equal(w->plan.actions[2].slot, 2);
	assert_int_equal(w->plan.short_because, FAIL_NIC_LIMIT);
	w->targets.max_nics = 1;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	w->targets.max_nics = 0;
	w->limits.can_attach_nic = false;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.short_because, FAIL_NIC_LIMIT);
}

static void test_planner_decide__min_ips_and_max_pods(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_4xlarge, 2);

	(void)state;
	w->targets.min_ips = 12;
	decide(w);
	assert_int_equal(w->plan.wanted, 12);
	w->waiting = 11;
	decide(w);
	assert_int_equal(w->plan.wanted, 13);
	w->targets.max_pods = 7;
	decide(w);
	assert_int_equal(w->plan.wanted, 7);
	assert_int_equal(w->plan.actions[0].count, 7);
	w->targets.max_pods = 20;
	w->targets.warm_ips = UINT32_MAX;
	decide(w);
	assert_int_equal(w->plan.wanted, 20);
}

static void test_planner_decide__what_cools_is_no_supply_yet_owned(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 0);

	(void)state;
	w->targets.max_pods = 4;
	add_blocks(w, 0, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_true(pod_up(w, i));
	for (unsigned i = 0; i < 3; i++)
		pod_down(w, i);
	w->waiting = 3;
	decide(w);
	assert_int_equal(w->plan.supply, 0);
	assert_int_equal(w->plan.wanted, 3);
	/* Four pods may run here and three addresses rest: one more may be bought, no second. */
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].count, 1);
	assert_int_equal(w->plan.short_because, FAIL_COOLING);
}

static void test_planner_decide__nothing_grows_before_its_time(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 8);

	(void)state;
	w->grow_us = w->now_us + 5;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.short_because, FAIL_NONE);
	assert_int_equal(w->plan.wake_us, w->now_us + 5);
	w->now_us += 5;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
}

/* ---- shrinking: examples ---- */

static void test_planner_decide__surplus_goes_after_the_delay(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 3);

	(void)state;
	add_blocks(w, 0, 5);
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.wake_us, START_US + DELAY_US);
	w->now_us = START_US + DELAY_US;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_RELEASE);
	assert_int_equal(w->plan.actions[0].count, 2);
	assert_int_equal(w->plan.block_count, 2);
	w->shrink_us = w->now_us + 9;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.wake_us, w->now_us + 9);
	w->shrink_us = INT64_MAX;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.wake_us, INT64_MAX);
}

static void test_planner_decide__never_a_block_that_rests(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 0);

	(void)state;
	w->targets.release_delay_us = 0;
	add_blocks(w, 0, 1);
	open_nic(w, 1);
	add_blocks(w, 1, 1);
	assert_true(pod_up(w, 0));
	assert_true(pod_up(w, 1));
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	pod_down(w, 0);
	pod_down(w, 1);
	w->now_us += COOLDOWN_US - 1;
	(void)pool_tick(w->pool, w->now_us);
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	w->now_us += 1;
	(void)pool_tick(w->pool, w->now_us);
	decide(w);
	assert_int_equal(w->plan.action_count, 2);
}

static void test_planner_decide__an_idle_nic_goes_as_a_whole(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 4);

	(void)state;
	add_blocks(w, 0, 6);
	open_nic(w, 1);
	open_nic(w, 2);
	add_blocks(w, 1, 3);
	add_blocks(w, 2, 4);
	w->now_us += DELAY_US;
	decide(w);
	/* 13 free, 4 wanted: slot 2 as a whole, slot 1 as a whole, then two of the primary's. */
	assert_int_equal(w->plan.action_count, 3);
	assert_int_equal(w->plan.actions[0].kind, PLAN_DETACH);
	assert_int_equal(w->plan.actions[0].slot, 2);
	assert_int_equal(w->plan.actions[1].kind, PLAN_DETACH);
	assert_int_equal(w->plan.actions[1].slot, 1);
	assert_int_equal(w->plan.actions[2].kind, PLAN_RELEASE);
	assert_int_equal(w->plan.actions[2].slot, 0);
	assert_int_equal(w->plan.actions[2].count, 2);
}

static void test_planner_decide__a_nic_that_will_go_is_not_emptied_first(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 4);

	(void)state;
	add_blocks(w, 0, 4);
	open_nic(w, 1);
	add_blocks(w, 1, 3);
	w->now_us += DELAY_US / 2;
	add_blocks(w, 1, 1);
	w->now_us += DELAY_US / 2;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.wake_us, w->now_us + DELAY_US / 2);
	w->now_us = w->plan.wake_us;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_DETACH);
	assert_int_equal(w->plan.actions[0].slot, 1);
}

static void test_planner_decide__a_nic_whose_part_is_needed_stays(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 4);

	(void)state;
	open_nic(w, 1);
	add_blocks(w, 0, 2);
	add_blocks(w, 1, 4);
	w->now_us += DELAY_US;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_RELEASE);
	assert_int_equal(w->plan.actions[0].slot, 1);
	assert_int_equal(w->plan.actions[0].count, 2);
}

static void test_planner_decide__the_primary_is_only_emptied(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 0);

	(void)state;
	add_blocks(w, 0, 2);
	w->now_us += DELAY_US;
	assert_int_equal(step(w), 1);
	assert_non_null(pool_nic_by_slot(w->pool, 0));
	assert_int_equal(pool_nic_by_slot(w->pool, 0)->block_count, 0);
}

static void test_planner_decide__an_empty_nic_goes_too(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 2);

	(void)state;
	add_blocks(w, 0, 2);
	open_nic(w, 1);
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.wake_us, START_US + DELAY_US);
	w->now_us += DELAY_US;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_DETACH);
}

static void test_planner_decide__not_more_blocks_than_a_plan_holds(void **state)
{
	static const struct cloud_limits large = { 8, CLOUD_BLOCKS_MAX, 32, true };
	_cleanup_world_ struct world *w = world_new(&large, 0);
	unsigned rounds = 0;

	(void)state;
	for (unsigned slot = 1; slot < 3; slot++)
		open_nic(w, slot);
	for (unsigned slot = 0; slot < 3; slot++)
		add_blocks(w, slot, 200);
	/* One pod on each keeps them from being detached. */
	for (unsigned i = 0; i < 3; i++) {
		const struct ipaddr addr = ipaddr_v4(0x0a000000U + i * 200 * 256);
		const struct lease lease = { .key = key_of(i), .addr = addr, .state = LEASE_BOUND };

		assert_int_equal(pool_lease_restore(w->pool, &lease), 0);
	}
	w->now_us += DELAY_US;
	do {
		decide(w);
		assert_true(w->plan.block_count <= CLOUD_BLOCKS_MAX);
		obey(w);
		rounds++;
	} while (w->plan.action_count > 0 && rounds < 10);
	assert_int_equal(rounds, 4);
	assert_int_equal(counts_of(w).total, 3);
}

static void test_planner_decide__a_pod_a_minute_costs_nothing(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 8);

	(void)state;
	for (unsigned second = 0; second < 3600; second++) {
		if (second % 60 == 0)
			assert_true(pod_up(w, 0) || second == 0);
		if (second % 60 == 10 && w->up[0])
			pod_down(w, 0);
		(void)pool_tick(w->pool, w->now_us);
		(void)step(w);
		w->now_us += USEC_PER_SEC;
		if (second == 300)
			w->mutations = 0;
	}
	assert_int_equal(w->mutations, 0);
}

/* ---- properties ---- */

static unsigned capacity(const struct world *w)
{
	return w->limits.nics_max * w->limits.units_per_nic_max * unit_size(w);
}

static unsigned min_u(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Brings the node to exactly @pods pods, as a burst; what does not fit stays outside. */
static void set_pods(struct world *w, unsigned pods)
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

static int find_surplus(const struct pool_block_view *block, void *arg)
{
	const struct world *w = arg;

	if (block->leased_count + block->cooling_count == 0 && block->supply_count <= w->plan.supply - w->plan.wanted)
		fail_msg("an idle block of %u addresses is kept, surplus %u", block->size,
			 w->plan.supply - w->plan.wanted);
	return 0;
}

/* At rest: enough, and nothing that could go. */
static void assert_settled(struct world *w)
{
	const struct pool_nic *nic = NULL;

	settle(w);
	assert_true(w->plan.supply >= w->plan.wanted || w->plan.short_because == FAIL_NIC_LIMIT);
	assert_true(w->plan.supply >= min_u(w->plan.wanted, capacity(w)));
	if (w->plan.supply > w->plan.wanted)
		(void)pool_blocks(w->pool, find_surplus, w);
	while ((nic = pool_nic_next(w->pool, nic)))
		assert_true(nic->primary || nic->block_count > 0);
}

static const struct cloud_limits *const all_limits[] = { &m5_large, &t3_nano, &m5_4xlarge, &m5_large_prefixes,
							 &t3_nano_prefixes };

static void test_planner_decide__every_pod_count_on_every_instance(void **state)
{
	(void)state;
	for (unsigned t = 0; t < ARRAY_SIZE(all_limits); t++) {
		for (unsigned pods = 0; pods <= 110; pods++) {
			_cleanup_world_ struct world *w = world_new(all_limits[t], 8);

			set_pods(w, pods);
			assert_int_equal(counts_of(w).leased, min_u(pods, capacity(w)));
			assert_settled(w);
		}
	}
}

static void test_planner_decide__down_from_every_pod_count(void **state)
{
	(void)state;
	for (unsigned t = 0; t < ARRAY_SIZE(all_limits); t++) {
		for (unsigned pods = 0; pods <= 110; pods += 5) {
			_cleanup_world_ struct world *w = world_new(all_limits[t], 8);

			set_pods(w, 110);
			set_pods(w, pods);
			w->growths = 0;
			assert_settled(w);
			assert_int_equal(w->growths, 0);
			if (pods == 0)
				assert_int_equal(counts_of(w).total, min_u(capacity(w), w->limits.unit_len == 32 ? 8 : 16));
		}
	}
}

/* Random arrivals and ends; at each step what step() asserts, and a cloud call only where demand moved. */
static void random_life(struct world *w, unsigned steps)
{
	for (unsigned i = 0; i < steps; i++) {
		unsigned pod = roll(w, 100);

		if (w->up[pod]) {
			pod_down(w, pod);
		} else if (!pod_up(w, pod)) {
			w->waiting = 1 + roll(w, 5);
			(void)step(w);
			w->waiting = 0;
			(void)pod_up(w, pod);
		}
		if (roll(w, 10) == 0)
			set_pods(w, roll(w, 110));
		w->now_us += roll(w, 20) * USEC_PER_SEC;
		(void)pool_tick(w->pool, w->now_us);
		(void)step(w);
	}
}

static void test_planner_decide__random_lives(void **state)
{
	uint64_t seed = test_seed();

	(void)state;
	for (unsigned i = 0; i < 60; i++) {
		_cleanup_world_ struct world *w = world_new(all_limits[i % ARRAY_SIZE(all_limits)], i % 17);

		w->random = seed + i * 7919;
		w->targets.min_ips = roll(w, 3) ? 0 : roll(w, 30);
		random_life(w, 300);
		assert_settled(w);
		w->mutations = 0;
		settle(w);
		assert_int_equal(w->mutations, 0);
	}
}

/* ---- any state whatever ---- */

static enum nic_state random_nic_state(struct world *w)
{
	static const enum nic_state states[] = { NIC_READY, NIC_READY,	  NIC_READY, NIC_CONFIGURING,
						 NIC_READY, NIC_DRAINING, NIC_LOST };

	return states[roll(w, ARRAY_SIZE(states))];
}

static void random_nic(struct world *w, unsigned slot)
{
	struct cloud_nic from = { .slot = slot, .primary = slot == 0, .foreign = slot > 0 && roll(w, 8) == 0 };
	enum nic_state want;

	(void)snprintf(from.id, sizeof(from.id), "nic-%u", slot);
	if (slot > 0 && roll(w, 8) == 0) {
		assert_non_null(pool_nic_attaching(w->pool, slot, 1 + roll(w, w->limits.units_per_nic_max), w->now_us));
		return;
	}
	assert_non_null(pool_nic_add(w->pool, &from, w->now_us - roll(w, 200) * USEC_PER_SEC));
	if (from.foreign)
		return;
	want = slot == 0 ? NIC_READY : random_nic_state(w);
	if (want != NIC_CONFIGURING)
		pool_nic_set_state(w->pool, slot, NIC_READY, w->now_us - roll(w, 200) * USEC_PER_SEC);
	if (want != NIC_READY && want != NIC_CONFIGURING)
		pool_nic_set_state(w->pool, slot, want, w->now_us - roll(w, 200) * USEC_PER_SEC);
}

static void random_block(struct world *w, unsigned slot)
{
	unsigned len = roll(w, 6) ? w->limits.unit_len : 32;
	int64_t now_us = w->now_us;
	struct prefix prefix;
	struct pool_block_view view;

	w->now_us -= roll(w, 150) * USEC_PER_SEC;
	prefix = add_block(w, slot, len);
	assert_true(pool_block_get(w->pool, &prefix, &view));
	if (roll(w, 12) == 0)
		pool_block_set_state(w->pool, &prefix, BLOCK_LOST, w->now_us);
	else if (view.state == BLOCK_READY && roll(w, 12) == 0)
		pool_block_set_state(w->pool, &prefix, BLOCK_DRAINING, w->now_us);
	w->now_us = now_us;
	for (unsigned i = 0; i < view.size; i++) {
		struct lease lease = { .state = LEASE_BOUND, .addr = ipaddr_add(&prefix.addr, i) };

		(void)snprintf(lease.key.container, sizeof(lease.key.container), "%x", w->next_addr + i);
		if (roll(w, 3) == 0)
			assert_int_equal(pool_lease_restore(w->pool, &lease), 0);
		else if (roll(w, 6) == 0)
			assert_int_equal(pool_cooldown_restore(w->pool, &lease.addr, w->now_us + roll(w, 30)), 0);
	}
}

static struct world *random_world(uint64_t seed)
{
	struct world *w = world_new(all_limits[seed % ARRAY_SIZE(all_limits)], 0);

	w->random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	pool_nic_remove(w->pool, 0);
	w->targets = (struct plan_targets){ .warm_ips = roll(w, 20),
					    .min_ips = roll(w, 3) ? 0 : roll(w, 60),
					    .max_nics = roll(w, 3) ? 0 : roll(w, 9),
					    .max_pods = 1 + roll(w, 120),
					    .release_delay_us = (1 + roll(w, 90)) * USEC_PER_SEC };
	w->waiting = roll(w, 3) ? 0 : roll(w, 40);
	w->grow_us = roll(w, 6) ? 0 : w->now_us + 1 + roll(w, 60) * USEC_PER_SEC;
	w->shrink_us = roll(w, 6) ? 0 : w->now_us + 1 + roll(w, 60) * USEC_PER_SEC;
	for (unsigned slot = 0; slot < w->limits.nics_max; slot++) {
		const struct pool_nic *nic;

		if (slot > 0 && roll(w, 2))
			continue;
		random_nic(w, slot);
		nic = pool_nic_by_slot(w->pool, slot);
		if (nic->state == NIC_FOREIGN || nic->state == NIC_ATTACHING)
			continue;
		for (unsigned i = roll(w, w->limits.units_per_nic_max + 1); i > 0; i--)
			random_block(w, slot);
		if (roll(w, 5) == 0)
			pool_nic_set_busy(w->pool, slot, NIC_BUSY_ASSIGN, roll(w, 3));
		if (roll(w, 8) == 0)
			pool_nic_set_stale(w->pool, slot, true);
	}
	return w;
}

static bool is_growth(const struct plan *plan)
{
	return plan->action_count > 0 &&
	       (plan->actions[0].kind == PLAN_ASSIGN || plan->actions[0].kind == PLAN_ATTACH);
}

static bool something_in_flight(const struct world *w)
{
	const struct pool_nic *nic = NULL;

	while ((nic = pool_nic_next(w->pool, nic)))
		if (nic->busy != NIC_IDLE || nic->stale)
			return true;
	return false;
}

static void assert_only_leftovers_go(const struct world *w)
{
	for (unsigned i = 0; i < w->plan.block_count; i++) {
		struct pool_block_view block;

		assert_true(pool_block_get(w->pool, &w->plan.blocks[i], &block));
		assert_int_equal(block.supply_count, 0);
	}
	for (unsigned i = 0; i < w->plan.action_count; i++) {
		struct on_nic on = blocks_on(w, w->plan.actions[i].slot);

		assert_true(w->plan.actions[i].kind == PLAN_RELEASE || on.supply_count == 0);
	}
}

static void test_planner_decide__from_any_state(void **state)
{
	uint64_t seed = test_seed();
	unsigned grown = 0, shrunk = 0;

	(void)state;
	for (uint64_t i = 0; i < 20000; i++) {
		_cleanup_world_ struct world *w = random_world(seed + i);
		struct err err = { 0 };

		if (pool_check(w->pool, &err) < 0)
			fail_msg("state %" PRIu64 ": %s", seed + i, err.msg);
		decide(w);
		grown += is_growth(&w->plan);
		shrunk += w->plan.action_count > 0 && !is_growth(&w->plan);
		if (is_growth(&w->plan)) {
			obey(w);
			decide(w);
			/* Only what was kept for a busy NIC may be bought after all, on one that became free. */
			if (is_growth(&w->plan))
				assert_true(something_in_flight(w));
			/* What drains, and NICs that stand empty, wait until nothing has to grow. */
			else
				assert_only_leftovers_go(w);
			obey(w);
		}
		(void)step(w);
		assert_true(w->plan.wake_us == INT64_MAX || w->plan.wake_us > w->now_us);
		if (w->plan.wake_us != INT64_MAX) {
			w->now_us = w->plan.wake_us - 1;
			decide(w);
			assert_int_equal(w->plan.action_count, 0);
		}
	}
	/* The states are worth their time only if both sides happen often. */
	assert_true(grown > 2000 && shrunk > 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_planner_decide__empty_pool_is_not_known_yet),
		check_unit_test(test_planner_decide__warm_addresses_on_the_primary),
		check_unit_test(test_planner_decide__a_burst_in_one_decision),
		check_unit_test(test_planner_decide__prefixes_are_rounded_up),
		check_unit_test(test_planner_decide__counts_what_is_in_flight),
		check_unit_test(test_planner_decide__counts_a_nic_that_is_being_attached),
		check_unit_test(test_planner_decide__pending_blocks_are_supply),
		check_unit_test(test_planner_decide__a_stale_nic_is_left_alone),
		check_unit_test(test_planner_decide__foreign_and_lost_nics_take_places),
		check_unit_test(test_planner_decide__max_nics_caps_ours_alone),
		check_unit_test(test_planner_decide__min_ips_and_max_pods),
		check_unit_test(test_planner_decide__what_cools_is_no_supply_yet_owned),
		check_unit_test(test_planner_decide__nothing_grows_before_its_time),
		check_unit_test(test_planner_decide__surplus_goes_after_the_delay),
		check_unit_test(test_planner_decide__never_a_block_that_rests),
		check_unit_test(test_planner_decide__an_idle_nic_goes_as_a_whole),
		check_unit_test(test_planner_decide__a_nic_that_will_go_is_not_emptied_first),
		check_unit_test(test_planner_decide__a_nic_whose_part_is_needed_stays),
		check_unit_test(test_planner_decide__the_primary_is_only_emptied),
		check_unit_test(test_planner_decide__an_empty_nic_goes_too),
		check_unit_test(test_planner_decide__not_more_blocks_than_a_plan_holds),
		check_unit_test(test_planner_decide__a_pod_a_minute_costs_nothing),
		check_unit_test(test_planner_decide__every_pod_count_on_every_instance),
		check_unit_test(test_planner_decide__down_from_every_pod_count),
		check_unit_test(test_planner_decide__random_lives),
		check_unit_test(test_planner_decide__from_any_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
