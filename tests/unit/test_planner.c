/* SPDX-License-Identifier: Apache-2.0 */
/* The planner by example; test_planner_property.c has the rest. */
#include "tests/unit/world.h"

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
	assert_int_equal(w->plan.wanted[V4], 8);
	assert_int_equal(w->plan.supply[V4], 0);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_ASSIGN);
	assert_int_equal(w->plan.actions[0].slot, 0);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 8);
	assert_int_equal(w->plan.wake_us, INT64_MAX);
}

static void test_planner_decide__a_burst_in_one_decision(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_4xlarge, 8);
	static const unsigned counts[] = { 29, 29, 29, 23 };

	(void)state;
	w->waiting = 250;
	decide(w);
	assert_int_equal(w->plan.wanted[V4], 110);
	assert_int_equal(w->plan.action_count, 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(w->plan.actions[i].kind, i == 0 ? PLAN_ASSIGN : PLAN_ATTACH);
		assert_int_equal(w->plan.actions[i].slot, i);
		assert_int_equal(w->plan.actions[i].wants[V4].count, counts[i]);
	}
}

static void test_planner_decide__prefixes_are_rounded_up(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_prefixes, 8);

	(void)state;
	w->waiting = 9;
	decide(w);
	assert_int_equal(w->plan.wanted[V4], 17);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 2);
	obey(w);
	decide(w);
	assert_int_equal(w->plan.supply[V4], 32);
	assert_int_equal(w->plan.action_count, 0);
}

static void test_planner_decide__counts_what_is_in_flight(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 8);

	(void)state;
	pool_nic_set_busy(w->pool, 0, NIC_BUSY_ASSIGN, wants_of(w, 8).units);
	decide(w);
	assert_int_equal(w->plan.supply[V4], 8);
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
	assert_int_equal(w->plan.actions[0].wants[V4].count, 1);
}

static void test_planner_decide__counts_a_nic_that_is_being_attached(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 2);

	(void)state;
	add_blocks(w, 0, 9);
	w->waiting = 10;
	assert_non_null(pool_nic_attaching(w->pool, 1, wants_of(w, 3).units, w->now_us));
	decide(w);
	assert_int_equal(w->plan.supply[V4], 12);
	assert_int_equal(w->plan.action_count, 0);
	w->waiting = 18;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_ATTACH);
	assert_int_equal(w->plan.actions[0].slot, 2);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 2);
}

static void test_planner_decide__pending_blocks_are_supply(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_prefixes, 8);
	struct prefix prefix = add_block(w, 0, 28);

	(void)state;
	pool_block_set_state(w->pool, &prefix, BLOCK_LOST, w->now_us);
	pool_block_set_state(w->pool, &prefix, BLOCK_PENDING, w->now_us);
	decide(w);
	assert_int_equal(w->plan.supply[V4], 16);
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
	assert_int_equal(w->plan.actions[1].wants[V4].count, 9);
	assert_int_equal(w->plan.short_because, FAIL_NIC_LIMIT);
	open_nic(w, 2);
	pool_nic_set_state(w->pool, 2, NIC_LOST, w->now_us);
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_ASSIGN);
	assert_int_equal(w->plan.actions[0].slot, 0);
	assert_int_equal(w->plan.short_because, FAIL_NIC_LIMIT);
}

static void test_planner_decide__lost_blocks_take_no_room(void **state)
{
	_cleanup_world_ struct world *w = world_new(&t3_nano, 1);
	struct prefix prefix = add_block(w, 0, 32);

	(void)state;
	w->limits.nics_max = 1;
	assert_true(pod_up(w, 0));
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.short_because, FAIL_NIC_LIMIT);
	pool_block_set_state(w->pool, &prefix, BLOCK_LOST, w->now_us);
	w->recover_us = INT64_MAX;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_ASSIGN);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 1);
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
	assert_int_equal(w->plan.wanted[V4], 12);
	w->waiting = 11;
	decide(w);
	assert_int_equal(w->plan.wanted[V4], 13);
	w->targets.max_pods = 7;
	decide(w);
	assert_int_equal(w->plan.wanted[V4], 7);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 7);
	w->targets.max_pods = 20;
	w->targets.warm_ips = UINT32_MAX;
	decide(w);
	assert_int_equal(w->plan.wanted[V4], 20);
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
	assert_int_equal(w->plan.supply[V4], 0);
	assert_int_equal(w->plan.wanted[V4], 3);
	/* Four pods may run here and three addresses rest: one more may be bought, no second. */
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 1);
	assert_int_equal(w->plan.short_because, FAIL_COOLING);
	/* What is held back anyway has a reason of its own. */
	w->grow_us = w->now_us + 1;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.short_because, FAIL_NONE);
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

/* All that the node may have is on a NIC that is on its way out: nothing is bought, and nothing rests either. */
static void test_planner_decide__what_leaves_is_owned_until_it_is_gone(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 2);

	(void)state;
	w->targets.max_pods = 3;
	open_nic(w, 1);
	add_blocks(w, 1, 3);
	pool_nic_set_state(w->pool, 1, NIC_DRAINING, w->now_us);
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.supply[V4], 0);
	assert_int_equal(w->plan.short_because, FAIL_NONE);
}

static void test_planner_decide__no_slot_beyond_the_last(void **state)
{
	static const struct cloud_limits most = { CLOUD_NICS_MAX, true, { { 1, 32, 32 } } };
	_cleanup_world_ struct world *w = world_new(&most, 70);

	(void)state;
	pool_nic_remove(w->pool, 0);
	for (unsigned slot = 1; slot < CLOUD_NICS_MAX; slot++) {
		open_nic(w, slot);
		add_blocks(w, slot, 1);
	}
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.short_because, FAIL_NIC_LIMIT);
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
	assert_int_equal(w->plan.actions[0].block_count, 2);
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
	assert_int_equal(w->plan.actions[2].block_count, 2);
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
	assert_int_equal(w->plan.actions[0].block_count, 2);
}

static void test_planner_decide__the_primary_is_only_emptied(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 0);

	(void)state;
	add_blocks(w, 0, 2);
	w->now_us += DELAY_US;
	assert_int_equal(step(w), 1);
	assert_non_null(pool_nic_by_slot(w->pool, 0));
	assert_int_equal(pool_nic_by_slot(w->pool, 0)->block_count[0], 0);
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
	static const struct cloud_limits large = { 8, true, { { CLOUD_BLOCKS_MAX, 32, 32 } } };
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
		const struct lease lease = { .key = key_of(i), .addrs = { addr }, .state = LEASE_BOUND };

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
		check_unit_test(test_planner_decide__lost_blocks_take_no_room),
		check_unit_test(test_planner_decide__max_nics_caps_ours_alone),
		check_unit_test(test_planner_decide__min_ips_and_max_pods),
		check_unit_test(test_planner_decide__what_cools_is_no_supply_yet_owned),
		check_unit_test(test_planner_decide__nothing_grows_before_its_time),
		check_unit_test(test_planner_decide__what_leaves_is_owned_until_it_is_gone),
		check_unit_test(test_planner_decide__no_slot_beyond_the_last),
		check_unit_test(test_planner_decide__surplus_goes_after_the_delay),
		check_unit_test(test_planner_decide__never_a_block_that_rests),
		check_unit_test(test_planner_decide__an_idle_nic_goes_as_a_whole),
		check_unit_test(test_planner_decide__a_nic_that_will_go_is_not_emptied_first),
		check_unit_test(test_planner_decide__a_nic_whose_part_is_needed_stays),
		check_unit_test(test_planner_decide__the_primary_is_only_emptied),
		check_unit_test(test_planner_decide__an_empty_nic_goes_too),
		check_unit_test(test_planner_decide__not_more_blocks_than_a_plan_holds),
		check_unit_test(test_planner_decide__a_pod_a_minute_costs_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
