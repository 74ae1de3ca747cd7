/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What users of other CNIs asked for or suffered from, one test each, named after the report: aws_N is issue N of
 * amazon-vpc-cni-k8s, aws_40_N statement N of the list made from its history; azure_N and gcp_N are from the lists made
 * from the histories of azure-container-networking and of netd and metis.
 */
#include "ipamd/demand.h"
#include "tests/unit/world.h"

static unsigned unused(const struct world *w)
{
	return counts_of(w).total - counts_of(w).leased;
}

static unsigned max_u(unsigned a, unsigned b)
{
	return a > b ? a : b;
}

/* ---- never too many ---- */

/* Over-allocation beyond what the node may run, whatever the warm targets say. */
static void test_planner_decide__aws_2793(void **state)
{
	static const struct cloud_limits *const limits[] = { &m5_large, &m5_4xlarge, &m5_large_prefixes, &gcp_ranges };
	static const unsigned max_pods[] = { 1, 5, 16, 29, 58, 110 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(limits) * ARRAY_SIZE(max_pods); i++) {
		_cleanup_world_ struct world *w = world_new(limits[i % ARRAY_SIZE(limits)], 20);

		w->random = 77 + i;
		w->targets.max_pods = max_pods[i / ARRAY_SIZE(limits)];
		w->targets.warm_nics = 1;
		w->targets.min_ips = 40;
		for (unsigned turn = 0; turn < 100; turn++) {
			set_pods(w, roll(w, w->targets.max_pods + 1));
			assert_true(counts_of(w).total < w->targets.max_pods + unit_size(w));
			w->now_us += roll(w, 40) * USEC_PER_SEC;
			(void)pool_tick(w->pool, w->now_us);
		}
		settle(w);
		assert_true(counts_of(w).total < w->targets.max_pods + unit_size(w));
	}
}

/* Answers that come late or twice are no reason to buy twice: a second burst beside a purchase under way buys its own. */
static void test_planner_decide__gcp_11(void **state)
{
	_cleanup_world_ struct world *w = world_new(&gcp_ranges, 8);
	struct plan first;

	(void)state;
	w->waiting = 40;
	decide(w);
	first = w->plan;
	assert_int_equal(first.actions[0].wants[V4].count, 2);
	pool_nic_set_busy(w->pool, 0, NIC_BUSY_ASSIGN, first.actions[0].wants);
	/* 16 more than fit into what is coming: they wait for the NIC. */
	w->waiting = 72;
	for (unsigned i = 0; i < 5; i++) {
		decide(w);
		assert_int_equal(w->plan.action_count, 0);
		assert_int_equal(w->plan.short_because, FAIL_NONE);
		w->now_us += USEC_PER_SEC;
	}
	/* It is done, and the list shows it: the rest, once. */
	pool_nic_set_busy(w->pool, 0, NIC_IDLE, NULL);
	add_wants(w, 0, first.actions[0].wants);
	assert_int_equal(step(w), 1);
	assert_int_equal(counts_of(w).total, 96);
	/* The burst is served; nobody else comes: nothing more is bought. */
	for (unsigned pod = 0; pod < 72; pod++)
		assert_true(pod_up(w, pod));
	w->waiting = 0;
	assert_int_equal(step(w), 0);
}

/* ---- small batches, and what adapts ---- */

/* Pods come one by one: no more is held than is warm, where others take 16 or a whole NIC's worth at a time. */
static void test_planner_decide__aws_114(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_4xlarge, 3);

	(void)state;
	for (unsigned pods = 0; pods <= 110; pods++) {
		set_pods(w, pods);
		assert_int_equal(counts_of(w).total, pods + 3 < 110 ? pods + 3 : 110);
	}
	for (unsigned pods = 110; pods-- > 0;) {
		set_pods(w, pods);
		settle(w);
		assert_int_equal(counts_of(w).total, pods + 3 < 110 ? pods + 3 : 110);
	}
}

/* What a node with "auto" keeps warm follows what happened on it, and never more than 8 or a unit is unused at rest. */
static void test_planner_decide__aks_4035(void **state)
{
	static const struct cloud_limits *const limits[] = { &m5_4xlarge, &m5_large_prefixes, &gcp_ranges };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(limits); i++) {
		_cleanup_world_ struct world *w = world_new(limits[i], 0);
		unsigned bound = max_u(8, unit_size(w));
		struct demand demand;

		w->targets.warm_auto = true;
		demand_init(&demand, w->now_us);
		demand_provisioned(&demand, USEC_PER_SEC);
		for (unsigned pods = 0; pods <= 110; pods += pods < 20 ? 1 : 9) {
			/* A minute between the first ones, then bursts of nine. */
			for (unsigned n = 0; n < (pods < 20 ? 1U : 9U); n++)
				demand_arrived(&demand, w->now_us);
			w->targets.warm_ips = demand_warm(&demand, w->now_us, unit_size(w), NULL);
			set_pods(w, pods);
			assert_true(unused(w) <= bound);
			assert_true(unused(w) > 0 || pods == 110);
			if (unit_size(w) == 1)
				assert_int_equal(unused(w), pods < 20 ? 1 : pods + 8 < 110 ? 8 : 110 - pods);
			w->now_us += 60 * USEC_PER_SEC;
		}
		/* Half an hour later that is forgotten. */
		set_pods(w, 30);
		settle(w);
		w->now_us += DEMAND_HORIZON_S * USEC_PER_SEC;
		w->targets.warm_ips = demand_warm(&demand, w->now_us, unit_size(w), NULL);
		settle(w);
		assert_int_equal(unused(w), unit_size(w) == 1 ? 1 : unit_size(w) - 30 % unit_size(w));
	}
}

/* A subnet with less than a batch: what there is is taken, and only the rest is asked for; one warm address is possible. */
static void test_planner_decide__azure_21(void **state)
{
	_cleanup_world_ struct world *w = world_new(&azure_dual, 8);

	(void)state;
	decide(w);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 8);
	for (unsigned i = 0; i < 3; i++) {
		(void)add_block_of(w, V4, 0, 32);
		(void)add_block_of(w, V6, 0, 128);
	}
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 5);
	/* Three pods run with what there is, and the node goes on asking for what it lacks, no more. */
	for (unsigned pod = 0; pod < 3; pod++)
		assert_true(pod_up(w, pod));
	decide(w);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 8);
	w->targets.warm_ips = 1;
	decide(w);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 1);
	assert_int_equal(w->plan.actions[0].wants[V6].count, 1);
}

/* ---- cooling ---- */

/* Addresses that rest are not warm: a burst as large as what just ended finds addresses all the same. */
static void test_planner_decide__aws_2896(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_4xlarge, 8);

	(void)state;
	set_pods(w, 30);
	for (unsigned pod = 0; pod < 30; pod++)
		pod_down(w, pod);
	decide(w);
	assert_int_equal(counts_of(w).cooling, 30);
	assert_int_equal(w->plan.supply[V4], 8);
	/* As many come again before the first one has rested. */
	w->waiting = 22;
	for (unsigned pod = 100; pod < 108; pod++)
		assert_true(pod_up(w, pod));
	decide(w);
	assert_int_equal(w->plan.actions[0].wants[V4].count + w->plan.actions[1].wants[V4].count, 22 + 8);
	assert_int_equal(w->plan.short_because, FAIL_NONE);
	(void)step(w);
	for (unsigned pod = 108; pod < 130; pod++)
		assert_true(pod_up(w, pod));
	w->waiting = 0;
	assert_int_equal(counts_of(w).free, 8);
	assert_int_equal(counts_of(w).cooling, 30);
	/* And what had been bought for them goes again. */
	settle(w);
	assert_int_equal(counts_of(w).total, 38);
}

/* An ADD that waits on a node at its limit is served by the next pod's end, without a call. */
static void test_planner_decide__gcp_10(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_prefixes, 8);

	(void)state;
	w->targets.max_pods = 32;
	set_pods(w, 32);
	assert_int_equal(counts_of(w).free, 0);
	w->waiting = 1;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	pod_down(w, 5);
	w->now_us += COOLDOWN_US - 1;
	(void)pool_tick(w->pool, w->now_us);
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
	assert_int_equal(w->plan.short_because, FAIL_COOLING);
	assert_false(pod_up(w, 40));
	w->now_us++;
	(void)pool_tick(w->pool, w->now_us);
	assert_true(pod_up(w, 40));
	w->waiting = 0;
	decide(w);
	assert_int_equal(w->plan.action_count, 0);
}

/* ---- a cloud that says yes and does nothing, or no ---- */

/* A call that succeeds without effect is asked for again, the same and no more. */
static void test_planner_decide__aws_40_14(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large, 8);
	struct plan first;

	(void)state;
	w->waiting = 15;
	decide(w);
	first = w->plan;
	for (unsigned i = 0; i < 100; i++) {
		/* NIC by NIC, the call is under way and comes back. */
		for (unsigned a = 0; a < first.action_count; a++) {
			if (first.actions[a].kind != PLAN_ASSIGN)
				continue;
			pool_nic_set_busy(w->pool, first.actions[a].slot, NIC_BUSY_ASSIGN, first.actions[a].wants);
			decide(w);
			assert_int_equal(count_actions(w, PLAN_ASSIGN), 0);
			pool_nic_set_busy(w->pool, first.actions[a].slot, NIC_IDLE, NULL);
		}
		w->now_us += USEC_PER_SEC;
		decide(w);
		assert_same_plan(&w->plan, &first);
	}
	/* A return without effect: the same. */
	w->waiting = 0;
	add_blocks(w, 0, 9);
	w->now_us += DELAY_US;
	w->targets.warm_ips = 2;
	decide(w);
	first = w->plan;
	assert_int_equal(first.block_count, 7);
	for (unsigned i = 0; i < 100; i++) {
		decide(w);
		assert_same_plan(&w->plan, &first);
	}
}

/* Whatever part of each plan the cloud does, in whatever order: there is an end, and it is the target. */
static void test_planner_decide__a_cloud_that_does_a_part(void **state)
{
	static const struct cloud_limits *const limits[] = { &m5_large, &m5_large_prefixes_dual, &azure_dual,
							     &m5_large_v6 };
	uint64_t seed = test_seed();

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		_cleanup_world_ struct world *w = world_new(limits[i % ARRAY_SIZE(limits)], 4);
		unsigned rounds = 0;

		w->random = seed + i * 104729;
		set_pods(w, roll(w, 20));
		w->targets.warm_ips = roll(w, 20);
		w->targets.min_ips = roll(w, 2) ? roll(w, 30) : 0;
		w->now_us += COOLDOWN_US + DELAY_US;
		(void)pool_tick(w->pool, w->now_us);
		for (decide(w); w->plan.action_count > 0; decide(w)) {
			for (unsigned a = 0; a < w->plan.action_count; a++)
				if (roll(w, 2))
					obey_one(w, &w->plan.actions[a]);
			if (++rounds > 100)
				fail_msg("life %u does not come to rest", i);
		}
		settle(w);
		for (unsigned f = 0; f < IP_FAMILIES; f++)
			assert_true(w->plan.supply[f] >= w->plan.wanted[f] || w->plan.short_because == FAIL_NIC_LIMIT);
	}
}

/* A return that fails again and again names the same blocks, not more each time. */
static void test_planner_decide__azure_29(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_prefixes, 8);
	struct plan first;

	(void)state;
	set_pods(w, 100);
	set_pods(w, 20);
	cool_down(w);
	(void)step(w);
	w->now_us += DELAY_US;
	decide(w);
	first = w->plan;
	assert_int_equal(count_actions(w, PLAN_RELEASE), 1);
	assert_int_equal(first.block_count, 5);
	for (unsigned i = 0; i < 20; i++) {
		set_blocks(w, &first.actions[0], BLOCK_DRAINING);
		set_blocks(w, &first.actions[0], BLOCK_RELEASING);
		pool_nic_set_busy(w->pool, 0, NIC_BUSY_RELEASE, NULL);
		decide(w);
		assert_int_equal(w->plan.action_count, 0);
		/* It failed; they are ours still, and after a while it is tried again. */
		pool_nic_set_busy(w->pool, 0, NIC_IDLE, NULL);
		set_blocks(w, &first.actions[0], BLOCK_READY);
		decide(w);
		assert_int_equal(w->plan.action_count, 0);
		w->now_us += DELAY_US;
		decide(w);
		assert_int_equal(w->plan.block_count, 5);
		for (unsigned b = 0; b < 5; b++)
			assert_int_equal(prefix_cmp(&w->plan.blocks[b], &first.blocks[b]), 0);
	}
}

/* No prefix to be had, then no address on this NIC either: singles, then the other NICs, and no more than is wanted. */
static void test_planner_decide__aws_40_12(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_prefixes, 8);

	(void)state;
	w->waiting = 4;
	decide(w);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 1);
	assert_int_equal(w->plan.actions[0].wants[V4].len, 28);
	/* The subnet is fragmented: the same need in singles, in the same breath. */
	w->single_until_us[V4] = w->now_us + 120 * USEC_PER_SEC;
	decide(w);
	assert_int_equal(w->plan.action_count, 2);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 9);
	assert_int_equal(w->plan.actions[0].wants[V4].len, 32);
	assert_int_equal(w->plan.actions[1].kind, PLAN_ATTACH);
	assert_int_equal(w->plan.actions[1].wants[V4].count, 3);
	/* Two came. The rest, of which this NIC has room for seven. */
	(void)add_block(w, 0, 32);
	(void)add_block(w, 0, 32);
	decide(w);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 7);
	assert_int_equal(w->plan.actions[1].wants[V4].count, 3);
	obey(w);
	/* Later prefixes are tried again, for what is wanted then. */
	w->now_us = w->single_until_us[V4];
	w->waiting = 5;
	decide(w);
	assert_int_equal(w->plan.action_count, 1);
	assert_int_equal(w->plan.actions[0].wants[V4].count, 1);
	assert_int_equal(w->plan.actions[0].wants[V4].len, 28);
}

/* ---- NICs of others ---- */

/* They are never given addresses or taken away, and take one place each, however often one looks. */
static void test_planner_decide__aws_40_17(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_4xlarge, 8);

	(void)state;
	for (unsigned slot = 2; slot < 5; slot++) {
		struct cloud_nic foreign = { .slot = slot, .foreign = true };

		(void)snprintf(foreign.id, sizeof(foreign.id), "theirs-%u", slot);
		assert_non_null(pool_nic_add(w->pool, &foreign, w->now_us));
	}
	w->targets.max_pods = 1000;
	w->waiting = 500;
	for (unsigned i = 0; i < 50; i++) {
		decide(w);
		assert_int_equal(count_actions(w, PLAN_ATTACH), 4);
		assert_int_equal(w->plan.short_because, FAIL_NIC_LIMIT);
	}
	obey(w);
	for (unsigned i = 0; i < 50; i++) {
		decide(w);
		assert_int_equal(w->plan.action_count, 0);
		assert_int_equal(w->plan.short_because, FAIL_NIC_LIMIT);
	}
	assert_int_equal(counts_of(w).total, 5 * 29);
	/* All that is ours goes; what is not stays. */
	w->waiting = 0;
	w->targets.warm_ips = 0;
	settle(w);
	assert_int_equal(count_nics(w, false), 1);
	assert_int_equal(count_nics(w, true), 4);
}

/* ---- targets as amazon-vpc-cni-k8s means them ---- */

static void assert_owned(struct world *w, unsigned pods, unsigned owned)
{
	set_pods(w, pods);
	settle(w);
	assert_int_equal(counts_of(w).total, owned);
	assert_true(counts_of(w).total >= counts_of(w).leased);
}

static void test_planner_decide__aws_40_15(void **state)
{
	_cleanup_world_ struct world *singles = world_new(&m5_large, 0);
	_cleanup_world_ struct world *prefixes = world_new(&m5_large_prefixes, 0);

	(void)state;
	/* WARM_ENI_TARGET=0: nothing before the first pod, and nothing more than pods. */
	assert_owned(singles, 0, 0);
	assert_owned(singles, 1, 1);
	assert_owned(singles, 12, 12);
	/* WARM_IP_TARGET over several NICs. */
	singles->targets.warm_ips = 5;
	assert_owned(singles, 12, 17);
	assert_owned(singles, 20, 25);
	/* WARM_IP_TARGET=2, MINIMUM_IP_TARGET=10: what pods hold counts. */
	singles->targets.warm_ips = 2;
	singles->targets.min_ips = 10;
	assert_owned(singles, 0, 10);
	assert_int_equal(blocks_on(singles, 0).shown_count, 9);
	assert_owned(singles, 8, 10);
	assert_owned(singles, 9, 11);
	/* Reduced at runtime. */
	singles->targets.min_ips = 0;
	singles->targets.warm_ips = 1;
	assert_owned(singles, 9, 10);
	assert_owned(singles, 0, 1);
	/* WARM_ENI_TARGET=1: the addresses of one NIC are free. */
	singles->targets.warm_ips = 0;
	singles->targets.warm_nics = 1;
	assert_owned(singles, 0, 9);
	assert_owned(singles, 1, 10);
	assert_owned(singles, 18, 27);
	/* WARM_PREFIX_TARGET=1: one prefix at first, a second with the first pod. */
	prefixes->targets.warm_blocks = 1;
	assert_owned(prefixes, 0, 16);
	assert_owned(prefixes, 1, 32);
	assert_owned(prefixes, 16, 32);
	assert_owned(prefixes, 17, 48);
	/* WARM_IP_TARGET with prefixes: as many as hold pods and warm ones. */
	prefixes->targets.warm_blocks = 0;
	prefixes->targets.warm_ips = 5;
	assert_owned(prefixes, 11, 16);
	assert_owned(prefixes, 12, 32);
}

/* ---- no churn ---- */

/* One more and one less, for an hour, around every number of pods: a call when the level is first reached, then none. */
static void swing(const struct cloud_limits *limits, const struct plan_targets *targets, unsigned pods)
{
	_cleanup_world_ struct world *w = world_new(limits, 0);

	w->targets = *targets;
	w->targets.max_pods = 110;
	w->targets.release_delay_us = DELAY_US;
	set_pods(w, pods);
	for (unsigned minute = 0; minute < 60; minute++) {
		if (minute == 2)
			w->mutations = 0;
		set_pods(w, pods + 1);
		for (unsigned second = 0; second < 60; second++) {
			if (second == 20)
				set_pods(w, pods);
			w->now_us += USEC_PER_SEC;
			(void)pool_tick(w->pool, w->now_us);
			(void)step(w);
		}
	}
	if (w->mutations > 0)
		fail_msg("%u calls around %u pods", w->mutations, pods);
}

static void test_planner_decide__gcp_24(void **state)
{
	static const struct plan_targets targets[] = { { .warm_ips = 8 },
						       { .warm_ips = 8, .warm_auto = true },
						       { .warm_blocks = 1 } };
	static const struct cloud_limits *const limits[] = { &m5_4xlarge, &m5_large_prefixes_dual, &gcp_ranges };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(limits); i++)
		for (unsigned t = 0; t < ARRAY_SIZE(targets); t++)
			for (unsigned pods = 0; pods < 36; pods++)
				swing(limits[i], &targets[t], pods);
}

/* A block drains by its own clock, whatever else happens on the node. */
static void test_planner_decide__the_clock_of_a_drained_block(void **state)
{
	_cleanup_world_ struct world *w = world_new(&m5_large_prefixes, 4);
	struct prefix busy = add_block(w, 0, 28), drained = add_block(w, 0, 28);

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		pod_at(w, i, &busy, i);
	pod_at(w, 20, &drained, 0);
	(void)step(w);
	assert_int_equal(view_of(w, &drained).state, BLOCK_DRAINING);
	pod_down(w, 20);
	w->mutations = 0;
	/* A pod comes and goes beside it every ten seconds. */
	for (unsigned second = 0; second < 90; second++) {
		assert_int_equal(w->mutations, 0);
		if (second % 10 == 0)
			assert_true(pod_up(w, 30));
		if (second % 10 == 4)
			pod_down(w, 30);
		w->now_us += USEC_PER_SEC;
		(void)pool_tick(w->pool, w->now_us);
		(void)step(w);
	}
	/* 30 s of rest, then 60 s of release_delay. */
	assert_int_equal(w->mutations, 1);
	assert_int_equal(counts_of(w).total, 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_planner_decide__aws_2793),
		check_unit_test(test_planner_decide__gcp_11),
		check_unit_test(test_planner_decide__aws_114),
		check_unit_test(test_planner_decide__aks_4035),
		check_unit_test(test_planner_decide__azure_21),
		check_unit_test(test_planner_decide__aws_2896),
		check_unit_test(test_planner_decide__gcp_10),
		check_unit_test(test_planner_decide__aws_40_14),
		check_unit_test(test_planner_decide__a_cloud_that_does_a_part),
		check_unit_test(test_planner_decide__azure_29),
		check_unit_test(test_planner_decide__aws_40_12),
		check_unit_test(test_planner_decide__aws_40_17),
		check_unit_test(test_planner_decide__aws_40_15),
		check_unit_test(test_planner_decide__gcp_24),
		check_unit_test(test_planner_decide__the_clock_of_a_drained_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
