/* SPDX-License-Identifier: Apache-2.0 */
/* The planner over every pod count, seeded random lives and seeded random states; BERTH_TEST_SEED replays one. */
#include "tests/unit/world.h"

static unsigned capacity(const struct world *w)
{
	return w->limits.nics_max * w->limits.units[0].per_nic_max * unit_size(w);
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
		assert_true(nic->primary || nic->block_count[0] > 0);
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
				assert_int_equal(counts_of(w).total,
						 min_u(capacity(w), w->limits.units[0].len == 32 ? 8 : 16));
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
	static const enum nic_state states[] = { NIC_READY, NIC_READY,    NIC_READY, NIC_CONFIGURING,
						 NIC_READY, NIC_DRAINING, NIC_LOST };

	return states[roll(w, ARRAY_SIZE(states))];
}

static void random_nic(struct world *w, unsigned slot)
{
	struct cloud_nic from = { .slot = slot, .primary = slot == 0, .foreign = slot > 0 && roll(w, 8) == 0 };
	enum nic_state want;

	(void)snprintf(from.id, sizeof(from.id), "nic-%u", slot);
	if (slot > 0 && roll(w, 8) == 0) {
		assert_non_null(pool_nic_attaching(w->pool, slot,
						   wants_of(w, 1 + roll(w, w->limits.units[0].per_nic_max)).units,
						   w->now_us));
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
	unsigned len = roll(w, 6) ? w->limits.units[0].len : 32;
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
		struct lease lease = { .state = LEASE_BOUND, .addrs = { ipaddr_add(&prefix.addr, i) } };

		(void)snprintf(lease.key.container, sizeof(lease.key.container), "%x", w->next_addr + i);
		if (roll(w, 3) == 0)
			assert_int_equal(pool_lease_restore(w->pool, &lease), 0);
		else if (roll(w, 6) == 0)
			assert_int_equal(pool_cooldown_restore(w->pool, &lease.addrs[0], w->now_us + roll(w, 30)), 0);
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
		for (unsigned i = roll(w, w->limits.units[0].per_nic_max + 1); i > 0; i--)
			random_block(w, slot);
		if (roll(w, 5) == 0)
			pool_nic_set_busy(w->pool, slot, NIC_BUSY_ASSIGN, wants_of(w, roll(w, 3)).units);
		if (roll(w, 8) == 0)
			pool_nic_set_stale(w->pool, slot, true);
	}
	return w;
}

static bool is_growth(const struct plan *plan)
{
	return plan->action_count > 0 && (plan->actions[0].kind == PLAN_ASSIGN || plan->actions[0].kind == PLAN_ATTACH);
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
		check_unit_test(test_planner_decide__every_pod_count_on_every_instance),
		check_unit_test(test_planner_decide__down_from_every_pod_count),
		check_unit_test(test_planner_decide__random_lives),
		check_unit_test(test_planner_decide__from_any_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
