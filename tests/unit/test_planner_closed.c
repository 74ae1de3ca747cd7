/* SPDX-License-Identifier: Apache-2.0 */
/* NICs that pods get nothing more of. */
#include "tests/unit/world.h"

static void set_closed(struct world *w, unsigned slot, bool closed)
{
	const struct cloud_nic now = { .closed = closed };

	assert_true(pool_nic_update(w->pool, slot, &now));
}

static void test_planner_decide__a_closed_nic_is_emptied_and_detached(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 2);
	struct prefix with_pod;

	(void)state;
	open_nic(w, 1);
	add_blocks(w, 1, 3);
	with_pod = add_block(w, 1, 32);
	pod_at(w, 0, &with_pod, 0);
	set_closed(w, 1, true);
	/* Whatever is held back: nobody gets one of them, so two are bought elsewhere. */
	w->shrink_us = w->now_us + 1;
	decide(w);
	assert_int_equal(w->plan.wanted[V4], 3);
	assert_int_equal(w->plan.supply[V4], 1);
	assert_int_equal(action_on(w, PLAN_DRAIN, 1).block_count, 4);
	assert_int_equal(action_on(w, PLAN_ASSIGN, 0).wants[V4].count, 2);
	assert_int_equal(step(w), 2);
	settle(w);
	assert_int_equal(pool_nic_by_slot(w->pool, 1)->block_count[V4], 1);
	w->waiting = 7;
	decide(w);
	assert_int_equal(count_actions(w, PLAN_UNDRAIN), 0);
	assert_int_equal(action_on(w, PLAN_ASSIGN, 1).wants[V4].count, 0);
	w->waiting = 0;
	pod_down(w, 0);
	settle(w);
	assert_null(pool_nic_by_slot(w->pool, 1));
	assert_int_equal(counts_of(w).total, 2);
}

/* Others are kept while growth is held back, for what they may get; this one gets nothing. */
static void test_planner_decide__a_closed_nic_goes_while_growth_waits(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 2);

	(void)state;
	open_nic(w, 1);
	w->waiting = 3;
	w->grow_us = w->now_us + 2 * DELAY_US;
	w->now_us += DELAY_US;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	set_closed(w, 1, true);
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(action_on(w, PLAN_DETACH, 1).kind, PLAN_DETACH);
	assert_int_equal(w->plan.actions[0].slot, 1);
}

static void test_planner_decide__a_closed_primary(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 3);

	(void)state;
	set_closed(w, 0, true);
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(action_on(w, PLAN_ATTACH, 1).wants[V4].count, 3);
	/* And in IPv6 alone: the range is on another NIC then. */
	world_free(w);
	w = world_new(&m5_large_v6, 3);
	set_closed(w, 0, true);
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(action_on(w, PLAN_ATTACH, 1).wants[V6].count, 1);
}

static void test_planner_decide__a_nic_that_is_open_again(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 3);
	struct plan_action drain;

	(void)state;
	add_blocks(w, 0, 3);
	set_closed(w, 0, true);
	decide(w);
	drain = action_on(w, PLAN_DRAIN, 0);
	assert_int_equal(drain.block_count, 3);
	set_blocks(w, &drain, BLOCK_DRAINING);
	set_closed(w, 0, false);
	/* What drained is taken back before anything is bought. */
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(action_on(w, PLAN_UNDRAIN, 0).block_count, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_planner_decide__a_closed_nic_is_emptied_and_detached),
		check_unit_test(test_planner_decide__a_closed_nic_goes_while_growth_waits),
		check_unit_test(test_planner_decide__a_closed_primary),
		check_unit_test(test_planner_decide__a_nic_that_is_open_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
