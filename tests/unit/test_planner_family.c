/* SPDX-License-Identifier: Apache-2.0 */
/* The planner by example: IPv6 beside IPv4 and alone, ranges and single addresses. */
#include "tests/unit/world.h"

static void test_planner_decide__a_range_comes_with_the_first_addresses(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_dual, 8);

	(void)state;
	w->waiting = 4;
	decide(w);
	assert_int_equal(w->plan.action_count, 2);
	for (unsigned slot = 0; slot < 2; slot++) {
		struct plan_action action = action_on(w, slot ? PLAN_ATTACH : PLAN_ASSIGN, slot);

		assert_int_equal(action.wants[V4].count, slot ? 3 : 9);
		assert_int_equal(action.wants[V4].len, 32);
		assert_int_equal(action.wants[V6].count, 1);
		assert_int_equal(action.wants[V6].len, 80);
	}
	assert_int_equal(w->plan.wanted[V6], 12);
	assert_int_equal(w->plan.supply[V6], 0);
	assert_int_equal(step(w), 2);
	assert_int_equal(w->plan.supply[V6], 2 * POOL_RANGE_COUNT_MAX);
	/* More IPv4 addresses, no more ranges. */
	w->waiting = 8;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 4);
	assert_int_equal(w->plan.actions[0].wants[V6].count, 0);
}

static void test_planner_decide__a_missing_range_is_bought(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_dual, 4);
	struct prefix lost;

	(void)state;
	add_blocks(w, 0, 4);
	lost = add_block_of(w, V6, 0, 80);
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	pool_block_set_state(w->pool, &lost, BLOCK_LOST, w->now_us);
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_ASSIGN);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 0);
	assert_int_equal(w->plan.actions[0].wants[V6].count, 1);
	/* It waits as all growth does, and for its NIC. */
	w->grow_us = w->now_us + 3;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.wake_us, w->now_us + 3);
	w->grow_us = 0;
	pool_nic_set_stale(w->pool, 0, true);
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.short_because, FAIL_NONE);
	/* With pods on it, it is asked back first. */
	pool_nic_set_stale(w->pool, 0, false);
	pod_at(w, 0, &lost, 7);
	w->targets.warm_ips = 3;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_RECOVER);
	assert_int_equal(step(w), 1);
}

static void test_planner_decide__a_range_on_its_way_is_not_bought_twice(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_dual, 4);
	const struct wants wants = { { { 0, 32 }, { 1, 80 } } };

	(void)state;
	add_blocks(w, 0, 4);
	pool_nic_set_busy(w->pool, 0, NIC_BUSY_ASSIGN, wants.units);
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.supply[V6], POOL_RANGE_COUNT_MAX);
}

static void test_planner_decide__a_nic_has_one_range(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_dual, 4);
	struct prefix ranges[3];

	(void)state;
	add_blocks(w, 0, 4);
	for (unsigned i = 0; i < 3; i++)
		ranges[i] = add_block_of(w, V6, 0, 80);
	/* The one with the most pods stays, one with pods drains, an idle one goes. */
	pod_at(w, 0, &ranges[0], 5);
	pod_at(w, 1, &ranges[1], 5);
	pod_at(w, 2, &ranges[1], 6);
	w->now_us += DELAY_US;
	decide(w);
	assert_int_equal(w->plan.action_count, 2);
	assert_int_equal(prefix_cmp(&w->plan.blocks[action_on(w, PLAN_RELEASE, 0).first_block], &ranges[2]), 0);
	assert_int_equal(prefix_cmp(&w->plan.blocks[action_on(w, PLAN_DRAIN, 0).first_block], &ranges[0]), 0);
	assert_int_equal(step(w), 2);
	pod_down(w, 0);
	settle(w);
	assert_int_equal(pool_nic_by_slot(w->pool, 0)->block_count[V6], 1);
	/* The one that is left may drain for whatever reason: it is taken back, not replaced. */
	pool_block_set_state(w->pool, &ranges[1], BLOCK_DRAINING, w->now_us);
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_UNDRAIN);
	assert_int_equal(step(w), 1);
}

/* Of ranges that drain the one with the most pods comes back, and none where one is on its way or asked back. */
static void test_planner_decide__one_range_comes_back(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_dual, 2);
	const struct wants wants = { { { 0, 32 }, { 1, 80 } } };
	struct prefix ranges[3];

	(void)state;
	add_blocks(w, 0, 2);
	for (unsigned i = 0; i < 3; i++) {
		ranges[i] = add_block_of(w, V6, 0, 80);
		for (unsigned n = 0; n < (i == 1 ? 2U : 1U); n++)
			pod_at(w, 10 * i + n, &ranges[i], 5 + n);
		if (i < 2)
			pool_block_set_state(w->pool, &ranges[i], BLOCK_DRAINING, w->now_us);
	}
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	pool_block_set_state(w->pool, &ranges[2], BLOCK_LOST, w->now_us);
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_RECOVER);
	pool_nic_set_busy(w->pool, 0, NIC_BUSY_RECOVER, NULL);
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	pool_nic_set_busy(w->pool, 0, NIC_IDLE, NULL);
	pool_nic_set_busy(w->pool, 0, NIC_BUSY_ASSIGN, wants.units);
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	pool_nic_set_busy(w->pool, 0, NIC_IDLE, NULL);
	w->recover_us = INT64_MAX;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_UNDRAIN);
	assert_int_equal(w->plan.block_count, 1);
	assert_int_equal(prefix_cmp(&w->plan.blocks[0], &ranges[1]), 0);
}

/* A NIC that gives IPv4 addresses again needs its range in the same breath. */
static void test_planner_decide__a_range_beside_what_is_taken_back(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_dual, 0);
	struct prefix drained = add_block(w, 0, 32);

	(void)state;
	pool_block_set_state(w->pool, &drained, BLOCK_DRAINING, w->now_us);
	w->waiting = 1;
	decide(w);
	assert_int_equal(w->plan.action_count, 2);
	assert_int_equal(action_on(w, PLAN_UNDRAIN, 0).block_count, 1);
	assert_int_equal(action_on(w, PLAN_ASSIGN, 0).wants[V4].count, 0);
	assert_int_equal(action_on(w, PLAN_ASSIGN, 0).wants[V6].count, 1);
	assert_int_equal(step(w), 2);
}

/* A range stays on the primary without IPv4 addresses: it costs nothing. It goes with its NIC. */
static void test_planner_decide__ranges_go_with_their_nic(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_dual, 0);

	(void)state;
	for (unsigned slot = 0; slot < 2; slot++) {
		if (slot > 0)
			open_nic(w, slot);
		add_blocks(w, slot, 2);
		(void)add_block_of(w, V6, slot, 80);
	}
	settle(w);
	assert_int_equal(w->mutations, 2);
	assert_null(pool_nic_by_slot(w->pool, 1));
	assert_int_equal(counts_of(w).total, 0);
	assert_int_equal(pool_nic_by_slot(w->pool, 0)->block_count[V6], 1);
	assert_int_equal(w->growths, 0);
}

/* A NIC that goes as soon as it has rested needs no range. */
static void test_planner_decide__no_range_for_a_nic_that_goes(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_dual, 2);

	(void)state;
	add_blocks(w, 0, 2);
	(void)add_block_of(w, V6, 0, 80);
	open_nic(w, 1);
	add_blocks(w, 1, 2);
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	w->targets.warm_ips = 4;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].slot, 1);
	assert_int_equal(w->plan.actions[0].wants[V6].count, 1);
}

/* A NIC with the only range of all stays, though no pod is on it. */
static void test_planner_decide__the_last_range_stays(void **state)
{
	static const struct cloud_limits one_slot = { 2, true, { { 4, 32, 32 }, { 1, 80, 128 } } };
	_cleanup_world_ struct world *w = world_new(&one_slot, 2);
	struct prefix single;

	(void)state;
	add_blocks(w, 0, 2);
	single = add_block_of(w, V6, 0, 128);
	pod_at(w, 0, &single, 0);
	open_nic(w, 1);
	(void)add_block_of(w, V6, 1, 80);
	w->now_us += DELAY_US;
	decide(w);
	/* The primary's room is taken by a single address with a pod. That drains, and then the range may come. */
	assert_int_equal(count_actions(w, PLAN_DETACH), 0);
	assert_int_equal(count_mutations(w), 0);
	assert_int_equal(count_actions(w, PLAN_DRAIN), 1);
}

static void test_planner_decide__v6_alone_has_one_range_on_the_primary(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_v6, 8);

	(void)state;
	open_nic(w, 1);
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].slot, 0);
	assert_int_equal(w->plan.actions[0].wants[V6].count, 1);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 0);
	(void)step(w);
	set_pods(w, 110);
	assert_int_equal(counts_in(w, V6).leased, 110);
	settle(w);
	/* One purchase; the NIC that is not needed went. */
	assert_int_equal(w->growths, 1);
	assert_int_equal(w->mutations, 2);
	set_pods(w, 0);
	settle(w);
	assert_int_equal(w->mutations, 2);
}

static void test_planner_decide__v6_alone_leaves_an_unused_primary(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_v6, 8);

	(void)state;
	(void)add_block_of(w, V6, 0, 80);
	w->targets.primary_unused = true;
	decide(w);
	assert_int_equal(w->plan.action_count, 2);
	assert_int_equal(action_on(w, PLAN_ATTACH, 1).wants[V6].count, 1);
	assert_int_equal(action_on(w, PLAN_DRAIN, 0).block_count, 1);
	(void)step(w);
	settle(w);
	assert_int_equal(pool_nic_by_slot(w->pool, 0)->block_count[V6], 0);
	assert_int_equal(w->growths, 1);
	w->limits.can_attach_nic = false;
	pool_nic_remove(w->pool, 1);
	decide(w);
	assert_int_equal(w->plan.short_because, FAIL_NIC_LIMIT);
}

/* The lowest NIC that pods may use has the range; pods move there. */
static void test_planner_decide__v6_alone_moves_to_the_lowest_nic(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_v6, 8);

	(void)state;
	w->targets.primary_unused = true;
	for (unsigned slot = 1; slot < 3; slot++) {
		struct prefix range;

		open_nic(w, slot);
		range = add_block_of(w, V6, slot, 80);
		for (unsigned i = 0; i < slot; i++)
			pod_at(w, slot * 10 + i, &range, 5 + i);
	}
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_DRAIN);
	assert_int_equal(w->plan.actions[0].slot, 2);
	(void)step(w);
	pod_down(w, 20);
	pod_down(w, 21);
	settle(w);
	assert_null(pool_nic_by_slot(w->pool, 2));
	assert_int_equal(w->mutations, 1);
}

/* A range that is there and settled is proof enough for all others, those of NICs that are not ready too. */
static void test_planner_decide__ranges_go_at_once(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_v6, 8);

	(void)state;
	(void)add_block_of(w, V6, 0, 80);
	(void)add_block_of(w, V6, 0, 80);
	open_nic(w, 1);
	(void)add_block_of(w, V6, 1, 80);
	pool_nic_set_state(w->pool, 1, NIC_DRAINING, w->now_us);
	pool_nic_set_state(w->pool, 1, NIC_CONFIGURING, w->now_us);
	w->now_us += DELAY_US;
	decide(w);
	assert_int_equal(w->plan.action_count, 2);
	assert_int_equal(count_actions(w, PLAN_DETACH), 1);
	assert_int_equal(action_on(w, PLAN_RELEASE, 0).block_count, 1);
}

/* Where no NIC that needs a range has room for it, any other will do: pods get both addresses all the same. */
static void test_planner_decide__a_range_on_another_nic(void **state)
{
	static const struct cloud_limits one_slot = { 2, true, { { 4, 32, 32 }, { 1, 80, 128 } } };
	_cleanup_world_ struct world *w = world_new(&one_slot, 2);
	struct prefix single;

	(void)state;
	add_blocks(w, 0, 2);
	single = add_block_of(w, V6, 0, 128);
	pod_at(w, 0, &single, 0);
	decide(w);
	assert_int_equal(action_on(w, PLAN_ATTACH, 1).wants[V6].count, 1);
	assert_int_equal(action_on(w, PLAN_ATTACH, 1).wants[V4].count, 0);
	open_nic(w, 1);
	w->now_us += DELAY_US;
	decide(w);
	assert_int_equal(count_mutations(w), 1);
	assert_int_equal(action_on(w, PLAN_ASSIGN, 1).wants[V6].count, 1);
	/* While it may not be bought the NIC is not given away, and nobody says that there is none. */
	w->grow_us = w->now_us + 1;
	decide(w);
	assert_int_equal(count_mutations(w), 0);
	assert_int_equal(w->plan.short_because, FAIL_NONE);
	assert_int_equal(w->plan.wake_us, w->now_us + 1);
	/* An idle single address makes room for one. */
	w->grow_us = 0;
	w->limits.can_attach_nic = false;
	pool_nic_remove(w->pool, 1);
	pod_down(w, 0);
	cool_down(w);
	w->now_us += DELAY_US;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_RELEASE);
	obey(w);
	decide(w);
	assert_int_equal(action_on(w, PLAN_ASSIGN, 0).wants[V6].count, 1);
}

/* Nor does one of a primary NIC stay that pods get nothing of. */
static void test_planner_decide__an_unused_primary_keeps_no_range(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_dual, 2);

	(void)state;
	add_blocks(w, 0, 2);
	(void)add_block_of(w, V6, 0, 80);
	w->targets.primary_unused = true;
	decide(w);
	assert_int_equal(action_on(w, PLAN_DRAIN, 0).block_count, 3);
	assert_int_equal(action_on(w, PLAN_ATTACH, 1).wants[V6].count, 1);
	(void)step(w);
	settle(w);
	assert_int_equal(pool_nic_by_slot(w->pool, 0)->block_count[V6], 0);
}

/* No range to be had: single addresses, as many as are wanted; then a range again, and they go. */
static void test_planner_decide__singles_while_no_range_is_to_be_had(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_dual, 2);

	(void)state;
	w->single_until_us[V6] = w->now_us + 100 * USEC_PER_SEC;
	set_pods(w, 3);
	assert_int_equal(counts_in(w, V6).leased, 3);
	assert_int_equal(counts_in(w, V6).total, 5);
	decide(w);
	assert_int_equal(w->plan.wake_us, w->single_until_us[V6]);
	w->now_us = w->plan.wake_us;
	decide(w);
	assert_int_equal(action_on(w, PLAN_ASSIGN, 0).wants[V6].count, 1);
	assert_int_equal(action_on(w, PLAN_ASSIGN, 0).wants[V6].len, 80);
	/* Those with pods drain at once, for nobody new gets them; the idle ones go when the range is there. */
	assert_int_equal(w->plan.action_count, 2);
	assert_int_equal(action_on(w, PLAN_DRAIN, 0).block_count, 3);
	obey(w);
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(action_on(w, PLAN_RELEASE, 0).block_count, 2);
	set_pods(w, 0);
	settle(w);
	assert_int_equal(pool_nic_by_slot(w->pool, 0)->block_count[V6], 1);
}

static void test_planner_decide__single_addresses_of_both_families(void **state)
{
	_cleanup_world_ struct world *w = world_new(&azure_dual, 8);

	(void)state;
	w->waiting = 60;
	decide(w);
	assert_int_equal(w->plan.action_count, 2);
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		assert_int_equal(w->plan.wanted[f], 68);
		assert_int_equal(w->plan.actions[0].wants[f].count, 63);
		assert_int_equal(w->plan.actions[1].wants[f].count, 5);
	}
	assert_int_equal(step(w), 2);
	/* Each family by itself: three of one are lost. */
	for (unsigned i = 0; i < 3; i++) {
		struct prefix spare = { .addr = { .family = IP_V6, .bytes = { 0x20, 0x01, 0x0d, 0xb8 } }, .len = 128 };

		spare.addr.bytes[9] = (uint8_t)(64 + i);
		pool_block_set_state(w->pool, &spare, BLOCK_LOST, w->now_us);
	}
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 0);
	assert_int_equal(w->plan.actions[0].wants[V6].count, 3);
}

/* A surplus of one family is given back while the other grows, on NICs that have nothing else to do. */
static void test_planner_decide__one_family_grows_while_the_other_shrinks(void **state)
{
	_cleanup_world_ struct world *w = world_new(&azure_dual, 4);
	struct prefix full;

	(void)state;
	add_blocks(w, 0, 2);
	for (unsigned i = 0; i < 4; i++)
		(void)add_block_of(w, V6, 0, 128);
	open_nic(w, 1);
	full = add_block(w, 1, 32);
	pod_at(w, 0, &full, 0);
	for (unsigned i = 0; i < 3; i++)
		(void)add_block_of(w, V6, 1, 128);
	w->now_us += DELAY_US;
	decide(w);
	/* IPv4: 3 of 5. IPv6: 7 of 4. */
	assert_int_equal(w->plan.action_count, 2);
	assert_int_equal(action_on(w, PLAN_ASSIGN, 0).wants[V4].count, 2);
	assert_int_equal(action_on(w, PLAN_RELEASE, 1).block_count, 3);
	assert_int_equal(step(w), 2);
}

/* Blocks of a family that the pool does not serve are nobody's business. */
static void test_planner_decide__a_family_that_is_not_served_is_left_alone(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 2);

	(void)state;
	w->limits.units[V6] = m5_large_dual.units[V6];
	add_blocks(w, 0, 2);
	(void)add_block_of(w, V6, 0, 80);
	settle(w);
	assert_int_equal(w->mutations, 0);
	assert_int_equal(w->plan.wanted[V6], 0);
	assert_int_equal(w->plan.supply[V6], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_planner_decide__a_range_comes_with_the_first_addresses),
		check_unit_test(test_planner_decide__a_missing_range_is_bought),
		check_unit_test(test_planner_decide__a_range_on_its_way_is_not_bought_twice),
		check_unit_test(test_planner_decide__a_nic_has_one_range),
		check_unit_test(test_planner_decide__an_unused_primary_keeps_no_range),
		check_unit_test(test_planner_decide__ranges_go_at_once),
		check_unit_test(test_planner_decide__one_range_comes_back),
		check_unit_test(test_planner_decide__v6_alone_moves_to_the_lowest_nic),
		check_unit_test(test_planner_decide__a_range_on_another_nic),
		check_unit_test(test_planner_decide__a_range_beside_what_is_taken_back),
		check_unit_test(test_planner_decide__ranges_go_with_their_nic),
		check_unit_test(test_planner_decide__no_range_for_a_nic_that_goes),
		check_unit_test(test_planner_decide__the_last_range_stays),
		check_unit_test(test_planner_decide__v6_alone_has_one_range_on_the_primary),
		check_unit_test(test_planner_decide__v6_alone_leaves_an_unused_primary),
		check_unit_test(test_planner_decide__singles_while_no_range_is_to_be_had),
		check_unit_test(test_planner_decide__single_addresses_of_both_families),
		check_unit_test(test_planner_decide__one_family_grows_while_the_other_shrinks),
		check_unit_test(test_planner_decide__a_family_that_is_not_served_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
