/* SPDX-License-Identifier: Apache-2.0 */
/* The planner by example: draining, recovering, two lengths of units, a primary NIC that is not used, pauses. */
#include "tests/unit/world.h"

/* ---- draining ---- */

/* Two prefixes with @first and @second pods. */
static struct world *two_prefixes(unsigned warm, unsigned first, unsigned second, struct prefix ret[2])
{
	struct world *w = world_new(&m5_large_prefixes, warm);
	const unsigned counts[2] = { first, second };

	for (unsigned i = 0; i < 2; i++) {
		ret[i] = add_block(w, 0, 28);
		for (unsigned n = 0; n < counts[i]; n++)
			pod_at(w, i * 16 + n, &ret[i], n);
	}
	return w;
}

static void test_planner_decide__the_block_with_the_fewest_pods_drains(void **state)
{
	struct prefix blocks[2];
	_cleanup_world_ struct world *w = two_prefixes(8, 2, 5, blocks);

	(void)state;
	/* 7 pods and 8 warm are 15: one prefix is enough. It needs no delay, for it costs nothing. */
	assert_int_equal(step(w), 1);
	assert_int_equal(w->drains, 1);
	assert_int_equal(view_of(w, &blocks[0]).state, BLOCK_DRAINING);
	assert_int_equal(view_of(w, &blocks[1]).state, BLOCK_READY);
	assert_int_equal(w->plan.supply[V4], 2 + 16);
	/* The pods go; release_delay later the block does. */
	pod_down(w, 0);
	pod_down(w, 1);
	settle(w);
	assert_int_equal(counts_of(w).total, 16);
	assert_int_equal(w->mutations, 1);
}

static void test_planner_decide__less_than_a_block_is_not_drained_for(void **state)
{
	struct prefix blocks[2];
	_cleanup_world_ struct world *w = two_prefixes(8, 4, 5, blocks);

	(void)state;
	/* 17 wanted, 32 there. */
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
}

static void test_planner_decide__an_idle_block_goes_rather_than_one_in_use(void **state)
{
	struct prefix blocks[2];
	_cleanup_world_ struct world *w = two_prefixes(8, 8, 0, blocks);

	(void)state;
	assert_int_equal(step(w), 0);
	settle(w);
	assert_int_equal(w->drains, 0);
	assert_int_equal(w->mutations, 1);
	assert_int_equal(counts_of(w).total, 16);
}

/* Pods of a draining block may come back as others: their places are not given away too. */
static void test_planner_decide__drains_no_more_than_its_pods_leave_room_for(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_prefixes, 8);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct prefix block = add_block(w, 0, 28);

		for (unsigned n = 0; n < 3; n++)
			pod_at(w, i * 16 + n, &block, n);
	}
	/* 17 wanted of 48: 31 surplus, one block. 13 free ones of it go, 18 are left: with 3 that may come back 15. */
	assert_int_equal(step(w), 1);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(counts_of(w).unleasable, 13);
	/* One pod less, and a second block may. */
	pod_down(w, 0);
	cool_down(w);
	assert_int_equal(step(w), 1);
	assert_int_equal(counts_of(w).free, 13);
}

static void test_planner_decide__what_drains_is_taken_back_before_anything_is_bought(void **state)
{
	struct prefix blocks[2];
	_cleanup_world_ struct world *w = two_prefixes(8, 2, 5, blocks);

	(void)state;
	(void)step(w);
	w->waiting = 4;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_UNDRAIN);
	assert_int_equal(prefix_cmp(&w->plan.blocks[0], &blocks[0]), 0);
	/* Also while nothing may be bought: it is ours. */
	w->grow_us = INT64_MAX;
	decide(w);
	assert_int_equal(w->plan.actions[0].kind, PLAN_UNDRAIN);
	w->grow_us = 0;
	/* 19 pods more than one block holds: it is taken back, and one more is bought. */
	w->waiting = 22;
	decide(w);
	assert_int_equal(w->plan.action_count, 2);
	assert_int_equal(w->plan.actions[0].kind, PLAN_UNDRAIN);
	assert_int_equal(w->plan.actions[1].kind, PLAN_ASSIGN);
	assert_int_equal(w->plan.actions[1].wants[V4].count, 1);
	assert_int_equal(step(w), 2);
}

static void test_planner_decide__the_fullest_of_those_that_drain_comes_back(void **state)
{
	struct prefix blocks[2];
	_cleanup_world_ struct world *w = two_prefixes(0, 1, 3, blocks);

	(void)state;
	pool_block_set_state(w->pool, &blocks[0], BLOCK_DRAINING, w->now_us);
	pool_block_set_state(w->pool, &blocks[1], BLOCK_DRAINING, w->now_us);
	w->waiting = 1;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.block_count, 1);
	assert_int_equal(prefix_cmp(&w->plan.blocks[0], &blocks[1]), 0);
	w->waiting = 14;
	decide(w);
	assert_int_equal(w->plan.block_count, 2);
}

/* What is left over from another mode is taken back last, however full. */
static void test_planner_decide__the_wanted_length_comes_back_first(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 0);
	struct prefix prefix = add_block(w, 0, 28), single = add_block(w, 0, 32);

	(void)state;
	pod_at(w, 0, &prefix, 0);
	pool_block_set_state(w->pool, &prefix, BLOCK_DRAINING, w->now_us);
	pool_block_set_state(w->pool, &single, BLOCK_DRAINING, w->now_us);
	w->waiting = 1;
	decide(w);
	assert_int_equal(w->plan.block_count, 1);
	assert_int_equal(prefix_cmp(&w->plan.blocks[0], &single), 0);
	/* A block without a free address would bring nothing. */
	pod_at(w, 1, &single, 0);
	decide(w);
	assert_int_equal(w->plan.block_count, 1);
	assert_int_equal(prefix_cmp(&w->plan.blocks[0], &prefix), 0);
}

/* A NIC whose block is taken back does not go. */
static void test_planner_decide__a_nic_is_kept_for_what_it_gets_back(void **state)
{
	_cleanup_world_ struct world *w = world_new(&t3_nano, 0);
	struct prefix first = add_block(w, 0, 32), second;

	(void)state;
	pod_at(w, 0, &first, 0);
	open_nic(w, 1);
	second = add_block(w, 1, 32);
	pool_block_set_state(w->pool, &second, BLOCK_DRAINING, w->now_us);
	w->now_us += DELAY_US;
	w->waiting = 1;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_UNDRAIN);
	w->waiting = 0;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_DETACH);
}

/* A block whose NIC is busy drains all the same, and none while shrinking is held back. */
static void test_planner_decide__draining_is_no_mutation(void **state)
{
	struct prefix blocks[2];
	_cleanup_world_ struct world *w = two_prefixes(8, 2, 5, blocks);

	(void)state;
	pool_nic_set_busy(w->pool, 0, NIC_BUSY_RELEASE, NULL);
	pool_nic_set_stale(w->pool, 0, true);
	decide(w);
	assert_int_equal(count_actions(w, PLAN_DRAIN), 1);
	w->shrink_us = w->now_us + 7;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.wake_us, w->now_us + 7);
	w->shrink_us = INT64_MAX;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.wake_us, INT64_MAX);
}

/* What is on its way is nothing that pods can be sent to. */
static void test_planner_decide__nothing_drains_for_what_is_still_coming(void **state)
{
	struct prefix blocks[2];
	_cleanup_world_ struct world *w = two_prefixes(8, 9, 9, blocks);

	(void)state;
	pool_nic_set_busy(w->pool, 0, NIC_BUSY_ASSIGN, wants_of(w, 1).units);
	decide(w);
	assert_int_equal(w->plan.supply[V4], 48);
	assert_int_equal(w->plan.wanted[V4], 26);
	assert_int_equal(w->plan.action_count, 0);
}

/* Nor for what comes back on a NIC that is not ready. */
static void test_planner_decide__nothing_drains_for_a_nic_that_is_not_ready(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_prefixes, 0);
	struct prefix left = add_block(w, 0, 30), back;

	(void)state;
	pod_at(w, 0, &left, 0);
	pod_at(w, 1, &left, 1);
	open_nic(w, 1);
	back = add_block(w, 1, 28);
	pod_at(w, 2, &back, 0);
	pool_block_set_state(w->pool, &back, BLOCK_DRAINING, w->now_us);
	pool_nic_set_state(w->pool, 1, NIC_DRAINING, w->now_us);
	pool_nic_set_state(w->pool, 1, NIC_CONFIGURING, w->now_us);
	w->waiting = 3;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_UNDRAIN);
	/* When it is ready, what is left over from another mode is not needed any more. */
	obey(w);
	pool_nic_set_state(w->pool, 1, NIC_READY, w->now_us);
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_DRAIN);
	assert_int_equal(w->plan.actions[0].slot, 0);
}

/* What is left over from another mode drains first, whoever has fewer pods. */
static void test_planner_decide__leftovers_drain_before_the_fewest_pods(void **state)
{
	_cleanup_world_ struct world *w = world_new(&gcp_ranges, 10);
	struct prefix left = add_block(w, 0, 26), few = add_block(w, 0, 27), many = add_block(w, 0, 27);

	(void)state;
	for (unsigned i = 0; i < 12; i++)
		pod_at(w, i, i < 3 ? &left : i < 4 ? &few : &many, i);
	/* 22 wanted of 128: the /26 and the emptier /27. With 52 wanted the /26 alone, though it has more pods. */
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.block_count, 2);
	w->targets.warm_ips = 40;
	decide(w);
	assert_int_equal(w->plan.block_count, 1);
	assert_int_equal(prefix_cmp(&w->plan.blocks[0], &left), 0);
	assert_int_equal(step(w), 1);
}

/* What has drained goes though nothing else is surplus. */
static void test_planner_decide__a_drained_block_goes_by_itself(void **state)
{
	struct prefix blocks[2];
	_cleanup_world_ struct world *w = two_prefixes(16, 0, 0, blocks);

	(void)state;
	pool_block_set_state(w->pool, &blocks[1], BLOCK_DRAINING, w->now_us);
	decide(w);
	assert_int_equal(w->plan.wanted[V4], w->plan.supply[V4]);
	assert_int_equal(w->plan.wake_us, w->now_us + DELAY_US);
	w->now_us += DELAY_US;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_RELEASE);
	assert_int_equal(prefix_cmp(&w->plan.blocks[0], &blocks[1]), 0);
}

/* More idle blocks than one plan names: those that have rested are among them, and nothing in use drains for the rest. */
static void test_planner_decide__more_idle_blocks_than_a_plan_names(void **state)
{
	static const struct cloud_limits large = { 2, true, { { CLOUD_BLOCKS_MAX, 32, 32 } } };
	_cleanup_world_ struct world *w = world_new(&large, 0);

	(void)state;
	/* The last by address are those that have rested. */
	w->next_addr = 0x0b000000U;
	add_blocks(w, 0, 20);
	w->next_addr = 0x0a000000U;
	open_nic(w, 1);
	w->now_us += DELAY_US;
	for (unsigned slot = 0; slot < 2; slot++)
		for (unsigned i = 0; i < 200; i++) {
			struct prefix single = add_block(w, slot, 32);

			if (i < 10)
				pod_at(w, slot * 10 + i, &single, 0);
		}
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_RELEASE);
	assert_int_equal(w->plan.actions[0].slot, 0);
	assert_int_equal(w->plan.block_count, 20);
}

/* A NIC on its way out is no place that could be filled: it goes while growth is held back, too. */
static void test_planner_decide__a_nic_on_its_way_out_goes_while_growth_waits(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 4);

	(void)state;
	for (unsigned slot = 1; slot < 3; slot++)
		open_nic(w, slot);
	pool_nic_set_state(w->pool, 2, NIC_DRAINING, w->now_us);
	w->now_us += DELAY_US;
	w->grow_us = w->now_us + 1;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_DETACH);
	assert_int_equal(w->plan.actions[0].slot, 2);
}

/* ---- what was lost ---- */

static void test_planner_decide__lost_blocks_with_pods_are_asked_back(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 1);
	struct prefix blocks[3];

	(void)state;
	open_nic(w, 1);
	for (unsigned i = 0; i < 3; i++) {
		blocks[i] = add_block(w, i == 2, 32);
		if (i != 1)
			pod_at(w, i, &blocks[i], 0);
		pool_block_set_state(w->pool, &blocks[i], BLOCK_LOST, w->now_us);
	}
	decide(w);
	/* One on each NIC; the idle one is not missed. The warm one waits for its NIC. */
	assert_int_equal(w->plan.action_count, 2);
	assert_int_equal(w->plan.block_count, 2);
	for (unsigned slot = 0; slot < 2; slot++)
		assert_int_equal(action_on(w, PLAN_RECOVER, slot).block_count, 1);
	w->recover_us = w->now_us + 5;
	w->targets.warm_ips = 0;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.wake_us, w->now_us + 5);
	w->recover_us = 0;
	w->grow_us = w->now_us + 9;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.wake_us, w->now_us + 9);
}

static void test_planner_decide__nothing_is_asked_back_where_it_cannot_be(void **state)
{
	_cleanup_world_ struct world *w = world_new(&t3_nano, 0);
	struct prefix lost = add_block(w, 0, 32);

	(void)state;
	pod_at(w, 0, &lost, 0);
	pool_block_set_state(w->pool, &lost, BLOCK_LOST, w->now_us);
	pool_nic_set_stale(w->pool, 0, true);
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	pool_nic_set_stale(w->pool, 0, false);
	decide(w);
	assert_int_equal(count_actions(w, PLAN_RECOVER), 1);
	/* Another took its place. */
	pod_at(w, 1, &(struct prefix){ add_block(w, 0, 32).addr, 32 }, 0);
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.short_because, FAIL_NONE);
}

/* What is asked back brings its free addresses, now and while the call is under way: they are not bought a second time. */
static void test_planner_decide__what_is_asked_back_counts(void **state)
{
	struct prefix blocks[2];
	_cleanup_world_ struct world *w = two_prefixes(8, 16, 4, blocks);

	(void)state;
	pool_block_set_state(w->pool, &blocks[1], BLOCK_LOST, w->now_us);
	open_nic(w, 1);
	decide(w);
	assert_int_equal(w->plan.wanted[V4], 28);
	assert_int_equal(w->plan.supply[V4], 20);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_RECOVER);
	pool_nic_set_busy(w->pool, 0, NIC_BUSY_RECOVER, NULL);
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	pool_nic_set_busy(w->pool, 0, NIC_IDLE, NULL);
	assert_int_equal(step(w), 1);
	assert_int_equal(w->plan.supply[V4], 32);
}

/* A lost block without pods is not asked back, and so nothing to wait for. */
static void test_planner_decide__what_is_not_asked_back_does_not_count(void **state)
{
	struct prefix blocks[2];
	_cleanup_world_ struct world *w = two_prefixes(8, 16, 0, blocks);

	(void)state;
	pool_block_set_state(w->pool, &blocks[1], BLOCK_LOST, w->now_us);
	pool_nic_set_busy(w->pool, 0, NIC_BUSY_RECOVER, NULL);
	open_nic(w, 1);
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_ASSIGN);
	assert_int_equal(w->plan.actions[0].slot, 1);
}

static void test_planner_decide__asks_back_as_many_as_there_is_room_for(void **state)
{
	static const struct cloud_limits three = { 1, false, { { 3, 32, 32 } } };
	_cleanup_world_ struct world *w = world_new(&three, 0);

	(void)state;
	add_blocks(w, 0, 1);
	for (unsigned i = 0; i < 3; i++) {
		struct prefix lost = add_block(w, 0, 32);

		pod_at(w, i, &lost, 0);
		pool_block_set_state(w->pool, &lost, BLOCK_LOST, w->now_us);
	}
	assert_true(pod_up(w, 9));
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].block_count, 2);
}

/* What is asked back is owned: with what rests in it, it may be all that the node may have. */
static void test_planner_decide__what_is_asked_back_is_owned(void **state)
{
	struct prefix blocks[2];
	_cleanup_world_ struct world *w = two_prefixes(0, 16, 4, blocks);

	(void)state;
	w->targets.max_pods = 32;
	for (unsigned i = 4; i < 12; i++) {
		struct ipaddr addr = ipaddr_add(&blocks[1].addr, i);

		assert_int_equal(pool_cooldown_restore(w->pool, &addr, w->now_us + COOLDOWN_US), 0);
	}
	pool_block_set_state(w->pool, &blocks[1], BLOCK_LOST, w->now_us);
	open_nic(w, 1);
	w->waiting = 12;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_RECOVER);
	assert_int_equal(w->plan.short_because, FAIL_COOLING);
	pool_nic_set_busy(w->pool, 0, NIC_BUSY_RECOVER, NULL);
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.short_because, FAIL_COOLING);
}

static void test_planner_decide__what_is_asked_back_for_an_unused_primary(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_prefixes, 1);
	struct prefix lost = add_block(w, 0, 28);

	(void)state;
	w->targets.max_pods = 16;
	w->targets.primary_unused = true;
	pod_at(w, 0, &lost, 0);
	pool_block_set_state(w->pool, &lost, BLOCK_LOST, w->now_us);
	decide(w);
	/* Its pod is cut off, so it comes back; nobody else gets one of it, and keeps nobody from getting another. */
	assert_int_equal(w->plan.action_count, 2);
	assert_int_equal(action_on(w, PLAN_RECOVER, 0).block_count, 1);
	assert_int_equal(action_on(w, PLAN_ATTACH, 1).wants[V4].count, 1);
}

/* ---- units of two lengths ---- */

static void test_planner_decide__singles_while_no_prefix_is_to_be_had(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_prefixes, 8);
	static const unsigned counts[] = { 8, 9, 8 };

	(void)state;
	(void)add_block(w, 0, 28);
	w->waiting = 33;
	w->single_until_us[V4] = w->now_us + 60 * USEC_PER_SEC;
	decide(w);
	/* 41 wanted, 16 there; a single takes the room of a prefix: 8 are left on this NIC, 9 on each other. */
	assert_int_equal(w->plan.action_count, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(w->plan.actions[i].wants[V4].count, counts[i]);
		assert_int_equal(w->plan.actions[i].wants[V4].len, 32);
	}
	assert_int_equal(w->plan.wake_us, w->single_until_us[V4]);
	w->now_us = w->single_until_us[V4];
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 2);
	assert_int_equal(w->plan.actions[0].wants[V4].len, 28);
}

static void test_planner_decide__what_is_left_of_another_mode_goes_first(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_prefixes, 8);
	struct prefix singles[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		singles[i] = add_block(w, 0, 32);
	(void)add_block(w, 0, 28);
	pod_at(w, 0, &singles[0], 0);
	pod_at(w, 1, &singles[1], 0);
	/* 10 wanted of 20. The idle singles go when they have rested; those with pods drain instead of the prefix. */
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_DRAIN);
	assert_int_equal(w->plan.block_count, 2);
	settle(w);
	assert_int_equal(counts_of(w).total, 16 + 2);
	pod_down(w, 0);
	pod_down(w, 1);
	assert_true(pod_up(w, 2));
	settle(w);
	assert_int_equal(counts_of(w).total, 16);
	assert_int_equal(w->growths, 0);
}

/* The other way round: prefixes are left over where singles are wanted. */
static void test_planner_decide__prefixes_left_over_go_before_singles(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 2);

	(void)state;
	add_blocks(w, 0, 5);
	(void)add_block(w, 0, 28);
	w->now_us += DELAY_US;
	decide(w);
	/* 2 wanted of 21. */
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.block_count, 4);
	assert_int_equal(w->plan.blocks[0].len, 28);
}

/* A node that is full of singles can have prefixes instead, without a new NIC. */
static void test_planner_decide__an_idle_single_makes_room_for_a_prefix(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_prefixes, 8);

	(void)state;
	w->limits.nics_max = 1;
	w->targets.max_nics = 1;
	for (unsigned i = 0; i < 9; i++) {
		struct prefix single = add_block(w, 0, 32);

		if (i < 6)
			pod_at(w, i, &single, 0);
	}
	/* 14 wanted of 9, and no room. */
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.short_because, FAIL_NIC_LIMIT);
	assert_int_equal(w->plan.wake_us, w->now_us + DELAY_US);
	w->now_us += DELAY_US;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_RELEASE);
	assert_int_equal(w->plan.block_count, 1);
	w->shrink_us = INT64_MAX;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	w->shrink_us = 0;
	decide(w);
	obey(w);
	decide(w);
	assert_int_equal(w->plan.actions[0].kind, PLAN_ASSIGN);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 1);
	obey(w);
	settle(w);
	assert_int_equal(w->plan.short_because, FAIL_NONE);
	/* 14 wanted: the prefix and six singles, which drain. */
	assert_int_equal(counts_of(w).total, 16 + 6);
}

/* ---- a primary NIC that is not used ---- */

static void test_planner_decide__nothing_of_an_unused_primary(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 3);

	(void)state;
	w->targets.primary_unused = true;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].kind, PLAN_ATTACH);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 3);
	w->limits.can_attach_nic = false;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.short_because, FAIL_NIC_LIMIT);
}

static void test_planner_decide__an_unused_primary_is_emptied(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 3);
	struct prefix with_pod;

	(void)state;
	add_blocks(w, 0, 4);
	with_pod = add_block(w, 0, 32);
	pod_at(w, 0, &with_pod, 0);
	w->targets.primary_unused = true;
	/* Nobody gets one of them from now on, whatever is held back; three are bought elsewhere. */
	w->shrink_us = w->now_us + 1;
	decide(w);
	assert_int_equal(w->plan.wanted[V4], 4);
	assert_int_equal(w->plan.supply[V4], 1);
	assert_int_equal(action_on(w, PLAN_DRAIN, 0).block_count, 5);
	assert_int_equal(action_on(w, PLAN_ATTACH, 1).wants[V4].count, 3);
	assert_int_equal(step(w), 2);
	settle(w);
	assert_int_equal(pool_nic_by_slot(w->pool, 0)->block_count[V4], 1);
	/* What drains there is never taken back. */
	w->waiting = 30;
	decide(w);
	assert_int_equal(count_actions(w, PLAN_UNDRAIN), 0);
	w->waiting = 0;
	pod_down(w, 0);
	settle(w);
	assert_int_equal(pool_nic_by_slot(w->pool, 0)->block_count[V4], 0);
	assert_int_equal(counts_of(w).total, 3);
}

static void test_planner_decide__what_leaves_an_unused_primary_holds_nobody_up(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 3);

	(void)state;
	w->targets.max_pods = 6;
	add_blocks(w, 0, 6);
	w->targets.primary_unused = true;
	w->waiting = 2;
	assert_int_equal(step(w), 2);
	assert_int_equal(w->plan.supply[V4], 5);
	assert_int_equal(counts_of(w).total, 6 + 5);
}

/* ---- pauses ---- */

static void test_planner_decide__paused(void **state)
{
	struct prefix blocks[2];
	_cleanup_world_ struct world *w = two_prefixes(8, 16, 9, blocks);
	struct prefix lost = add_block(w, 0, 28);

	(void)state;
	pod_at(w, 100, &lost, 0);
	pool_block_set_state(w->pool, &lost, BLOCK_LOST, w->now_us);
	open_nic(w, 1);
	w->waiting = 40;
	w->grow_us = INT64_MAX;
	w->now_us += DELAY_US;
	decide(w);
	/* Neither bought nor asked back, and the empty NIC is kept for the time when it may be filled. */
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.wake_us, INT64_MAX);
	w->waiting = 0;
	w->targets.warm_ips = 0;
	w->shrink_us = INT64_MAX;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.wake_us, INT64_MAX);
	w->shrink_us = 0;
	decide(w);
	assert_int_equal(count_actions(w, PLAN_DETACH), 1);
}

static void test_planner_decide__the_largest_numbers_do_not_wrap(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_prefixes, UINT32_MAX);

	(void)state;
	w->targets = (struct plan_targets){ .warm_ips = UINT32_MAX,
					    .min_ips = UINT32_MAX,
					    .warm_blocks = UINT32_MAX,
					    .warm_nics = UINT32_MAX,
					    .max_pods = 1000,
					    .release_delay_us = INT64_MAX };
	w->waiting = UINT32_MAX;
	add_blocks(w, 0, 1);
	decide(w);
	assert_int_equal(w->plan.wanted[V4], 1000);
	/* 3 NICs with 9 prefixes each. */
	assert_int_equal(w->plan.actions[0].wants[V4].count, 8);
	assert_int_equal(w->plan.action_count, 3);
	w->targets.warm_auto = true;
	decide(w);
	assert_int_equal(w->plan.wanted[V4], 1000);
	/* So many units that their addresses would come round to none. */
	w->targets = (struct plan_targets){ .warm_blocks = 1U << 28, .max_pods = 1000, .release_delay_us = INT64_MAX };
	w->waiting = 0;
	decide(w);
	assert_int_equal(w->plan.wanted[V4], 1000);
	w->targets = (struct plan_targets){ .max_pods = 1000, .release_delay_us = INT64_MAX };
	w->waiting = 0;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	/* Never is a time that does not come. */
	assert_int_equal(w->plan.wake_us, INT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_planner_decide__the_block_with_the_fewest_pods_drains),
		check_unit_test(test_planner_decide__less_than_a_block_is_not_drained_for),
		check_unit_test(test_planner_decide__an_idle_block_goes_rather_than_one_in_use),
		check_unit_test(test_planner_decide__drains_no_more_than_its_pods_leave_room_for),
		check_unit_test(test_planner_decide__what_drains_is_taken_back_before_anything_is_bought),
		check_unit_test(test_planner_decide__the_fullest_of_those_that_drain_comes_back),
		check_unit_test(test_planner_decide__the_wanted_length_comes_back_first),
		check_unit_test(test_planner_decide__a_nic_is_kept_for_what_it_gets_back),
		check_unit_test(test_planner_decide__draining_is_no_mutation),
		check_unit_test(test_planner_decide__nothing_drains_for_what_is_still_coming),
		check_unit_test(test_planner_decide__nothing_drains_for_a_nic_that_is_not_ready),
		check_unit_test(test_planner_decide__leftovers_drain_before_the_fewest_pods),
		check_unit_test(test_planner_decide__a_drained_block_goes_by_itself),
		check_unit_test(test_planner_decide__more_idle_blocks_than_a_plan_names),
		check_unit_test(test_planner_decide__a_nic_on_its_way_out_goes_while_growth_waits),
		check_unit_test(test_planner_decide__lost_blocks_with_pods_are_asked_back),
		check_unit_test(test_planner_decide__nothing_is_asked_back_where_it_cannot_be),
		check_unit_test(test_planner_decide__what_is_asked_back_counts),
		check_unit_test(test_planner_decide__what_is_not_asked_back_does_not_count),
		check_unit_test(test_planner_decide__asks_back_as_many_as_there_is_room_for),
		check_unit_test(test_planner_decide__what_is_asked_back_is_owned),
		check_unit_test(test_planner_decide__what_is_asked_back_for_an_unused_primary),
		check_unit_test(test_planner_decide__singles_while_no_prefix_is_to_be_had),
		check_unit_test(test_planner_decide__what_is_left_of_another_mode_goes_first),
		check_unit_test(test_planner_decide__prefixes_left_over_go_before_singles),
		check_unit_test(test_planner_decide__an_idle_single_makes_room_for_a_prefix),
		check_unit_test(test_planner_decide__nothing_of_an_unused_primary),
		check_unit_test(test_planner_decide__an_unused_primary_is_emptied),
		check_unit_test(test_planner_decide__what_leaves_an_unused_primary_holds_nobody_up),
		check_unit_test(test_planner_decide__paused),
		check_unit_test(test_planner_decide__the_largest_numbers_do_not_wrap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
