/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What users of other systems reported, as statements about this daemon. A test is named after its source: aws_N and acn_N
 * are issues of amazon-vpc-cni-k8s and azure-container-networking, cil_N of cilium; aws_40_N, azure_N and gcp_N are the
 * statements that follow from the reports about each cloud's own plugin.
 */
#include "tests/sim/script.h"

static const unsigned always = 1000000; /* ppm */

static int first_block(const struct pool_block_view *block, void *arg)
{
	*(struct prefix *)arg = block->prefix;
	return 1;
}

/* ---- nothing leaks ---- */

/* An address whose sandbox vanished and for which nobody ever says DEL is free again 90 s later. */
static void test_vanished_sandboxes__are_free_within_90_s__aws_1939(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.load.lifetime = exactly(MN);
	s.load.vanish = always;
	s.load.no_del = always;
	w = open_world(&s);
	run(w, 10 * S);
	add_pods(w, 5);
	wait_live(w, 5, MN);
	run(w, MN);
	assert_int_equal(world_pods_in(w, POD_LIVE), 0);
	assert_int_equal(counts_of(w).leased, 5);
	run(w, 92 * S); /* two seconds for looks that do not fall on the second */
	assert_int_equal(counts_of(w).leased, 0);
	assert_int_equal(counts_of(w).cooling, 0);
	assert_int_equal(world_counters(w)->reclaimed, 5);
	settle(w);
	close_world(w);
}

/* Killed at each place where a crash matters while NICs come and go: no NIC is left that hangs on nothing. */
static void test_kill_at_every_call_boundary__leaks_no_nic__aws_69(void **state)
{
	unsigned hits = 0;

	(void)state;
	for (unsigned point = 0; point < CRASH_POINT_COUNT; point++) {
		struct scenario s;
		struct world *w;

		scenario_quiet(&s);
		s.seed = point;
		s.shape.units_per_nic = 3;
		s.config.warm_ips = 1;
		s.config.release_delay_us = 10 * S;
		w = open_world(&s);
		run(w, 5 * S);
		for (unsigned round = 0; round < 3; round++) {
			unsigned pods[8];

			world_arm_crash(w, (enum crash_point)point, 1 + round);
			for (unsigned i = 0; i < 8; i++)
				pods[i] = world_pod_add(w);
			run(w, 2 * MN);
			for (unsigned i = 0; i < 8; i++)
				world_pod_del(w, pods[i]);
			run(w, 3 * MN);
			hits += world_crash_hit(w);
		}
		settle(w); /* which asserts that the cloud has no left-over NIC */
		close_world(w);
	}
	assert_true(hits >= CRASH_POINT_COUNT);
}

/* ---- an address has one pod ---- */

/* DEL overtakes ADD for every pod, with kills in between: the address is free, or one sandbox has it. */
static void test_del_racing_add__is_linear__acn_4829(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.load = (struct sim_load){ .pods_max = 30,
				    .arrival_us = 300 * MS,
				    .lifetime = { 100 * MS, 20 * S },
				    .wire = { 1 * MS, 200 * MS },
				    .del_early = always / 2,
				    .del_twice = always / 2,
				    .killed_waiting = always / 10 };
	s.faults.crash_mean_us = 20 * S;
	s.faults.restart = (struct sim_range){ 100 * MS, 2 * S };
	w = open_world(&s);
	run(w, 10 * MN);
	must_hold(w);
	assert_true(world_counters(w)->dels > 1000);
	assert_true(world_counters(w)->kills > 10);
	settle(w);
	close_world(w);
}

/* Hundreds of kills under churn: no two live pods share an address, none is used again before its cooldown. The invariants
 * of the world say so after every step; make sim does it ten thousand times. */
static void test_kills_under_churn__no_address_twice__aws_40_23(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.load = (struct sim_load){ .pods_max = 50,
				    .arrival_us = 500 * MS,
				    .lifetime = { 1 * S, 60 * S },
				    .wire = { 1 * MS, 100 * MS },
				    .killed_wired = always / 50,
				    .no_del = always / 5 };
	s.faults.crash_mean_us = 4 * S;
	s.faults.restart = (struct sim_range){ 50 * MS, 500 * MS };
	w = open_world(&s);
	run(w, 20 * MN);
	must_hold(w);
	assert_true(world_counters(w)->kills > 100);
	settle(w);
	close_world(w);
}

static int count_leased(const struct pool_block_view *block, void *arg)
{
	*(unsigned *)arg += block->leased_count;
	return 0;
}

/* At every moment of a busy hour: what is held is free, leased or cooling, and nothing is counted twice. */
static void test_busy_node__counts_add_up_at_every_step__azure_25(void **state)
{
	struct scenario s;
	struct world *w;
	int64_t end_us;
	unsigned full = 0;

	(void)state;
	scenario_quiet(&s);
	s.shape.nics_max = 2;
	s.shape.units_per_nic = 8;
	s.config.max_pods = 16;
	s.load = (struct sim_load){ .pods_max = 16, .arrival_us = S, .lifetime = { 10 * S, 40 * S } };
	w = open_world(&s);
	run(w, 30 * S);
	for (end_us = world_now(w) + 60 * MN; world_now(w) < end_us && world_step(w);) {
		struct pool_counts c = counts_of(w);
		unsigned leased = 0;

		(void)pool_blocks(world_daemon(w)->pool, count_leased, &leased);
		assert_int_equal(leased, c.leased);
		assert_int_equal(c.total, c.free + c.leased + c.cooling + c.pending + c.unleasable);
		full += c.leased + c.cooling == c.total;
	}
	must_hold(w);
	assert_true(full > 0); /* or it was never near its limit */
	settle(w);
	close_world(w);
}

/* ---- the daemon was away ---- */

/* A full node whose daemon is down and whose pods all go: the next daemon has room, for itself too if it were a pod. */
static void test_full_node__emptied_without_a_daemon_has_room__azure_6(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.shape.nics_max = 1;
	s.shape.units_per_nic = 4;
	s.config.warm_ips = 0;
	w = open_world(&s);
	run(w, 10 * S);
	add_pods(w, 4);
	wait_live(w, 4, MN);
	world_daemon_kill(w, false);
	delete_pods(w, 4);
	run(w, 10 * S);
	assert_int_equal(world_pods_in(w, POD_LIVE), 0); /* no DEL waits for a daemon */
	world_daemon_start(w);
	add_pods(w, 4);
	wait_live(w, 4, s.config.cooldown_us + 5 * S);
	assert_int_equal(world_counters(w)->adds_failed, 0);
	settle(w);
	close_world(w);
}

/* What the daemon believes is wrong: a block is forgotten, another is taken for lost. Minutes later both are there. */
static void test_pool_out_of_step__is_right_by_the_next_list__cil_46598(void **state)
{
	struct prefix forgotten, lost;
	struct pool_block_view block;
	struct scenario s;
	struct world *w;
	struct pool *pool;

	(void)state;
	scenario_quiet(&s);
	s.config.warm_ips = 4;
	s.config.release_delay_us = 60 * MN; /* what turns up again is too many by then */
	w = open_world(&s);
	run(w, MN);
	pool = world_daemon(w)->pool;
	assert_int_equal(counts_of(w).free, 4);
	assert_int_equal(pool_blocks(pool, first_block, &forgotten), 1);
	pool_block_remove(pool, &forgotten);
	assert_int_equal(pool_blocks(pool, first_block, &lost), 1);
	pool_block_set_state(pool, &lost, BLOCK_LOST, world_now(w));
	run(w, 5 * MN); /* a glance at metadata does not agree: that is a reason for a list */
	assert_true(pool_block_get(pool, &forgotten, &block));
	assert_true(pool_block_get(pool, &lost, &block) && block.state == BLOCK_READY);
	settle(w);
	close_world(w);
}

/* ---- who waits is served, or told why ---- */

/* No address anywhere, pods that keep asking for half an hour: the cloud is asked a few times a minute, not by each pod. */
static void test_full_subnet__calls_stay_bounded__gcp_13(void **state)
{
	struct scenario s;
	struct world *w;
	uint64_t before;

	(void)state;
	scenario_quiet(&s);
	s.shape.subnet_len = 28;
	s.config.add_timeout_us = 20 * S;
	w = open_world(&s);
	run(w, 5 * S);
	add_pods(w, 30);
	run(w, 5 * MN);
	before = world_counters(w)->calls[JOB_ASSIGN] + world_counters(w)->calls[JOB_ATTACH];
	run(w, 30 * MN);
	assert_true(world_counters(w)->adds_failed > 30);
	assert_true(world_counters(w)->calls[JOB_ASSIGN] + world_counters(w)->calls[JOB_ATTACH] - before <= 30 * 4);
	close_world(w);
}

/* The conflist is there only when an address can be leased: a node that may not buy any is not ready. */
static void test_no_address__node_is_not_ready__aws_330(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.faults.denied = always;
	w = open_world(&s);
	run(w, 5 * MN);
	assert_true(world_counters(w)->calls[JOB_LIST] + world_counters(w)->calls[JOB_LIMITS] > 0);
	assert_false(world_daemon(w)->conflist_written);
	close_world(w);
}

static void test_full_subnet__is_the_reason_told__aws_3415(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.shape.subnet_len = 28;
	s.config.add_timeout_us = 20 * S;
	w = open_world(&s);
	run(w, 5 * S);
	add_pods(w, 16); /* of a /28 fewer than 14 can be had */
	run(w, MN);
	assert_true(world_counters(w)->failures[FAIL_SUBNET_FULL] > 0);
	assert_true(world_counters(w)->failures[FAIL_SUBNET_FULL] == world_counters(w)->adds_failed);
	close_world(w);
}

/* Five mutations a minute, a burst of pods: all are served in the end, and none is told anything but "throttled". */
static void test_throttled__is_the_reason_told_and_all_are_served__aws_405(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.faults.mutations_per_minute = 5;
	s.faults.mutation_burst = 1;
	s.shape.units_per_nic = 5;
	s.config.warm_ips = 0;
	w = open_world(&s);
	run(w, 10 * S);
	add_pods(w, 15);
	wait_live(w, 15, 30 * MN);
	assert_true(world_counters(w)->failures[FAIL_THROTTLED] + world_counters(w)->failures[FAIL_PENDING] ==
		    world_counters(w)->adds_failed);
	settle(w);
	close_world(w);
}

/* No /28 is left, single addresses are: they come in the same breath, and the pods do not see it. */
static void test_fragmented_subnet__single_addresses_at_once__aws_2749(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.shape = (struct sim_shape){ .nics_max = 3,
				      .units_per_nic = 9,
				      .unit_len = 28,
				      .single_len = 32,
				      .subnet_len = 23,
				      .taken_ppm = always / 2,
				      .scattered = true };
	s.latency.assign = exactly(500 * MS);
	s.config.warm_ips = 0;
	w = open_world(&s);
	run(w, 10 * S);
	assert_int_equal(counts_of(w).total, 0);
	add_pods(w, 4);
	wait_live(w, 4, 10 * S);
	assert_true(world_daemon(w)->single_until_us[0] > world_now(w));
	assert_int_equal(world_counters(w)->adds_failed, 0);
	assert_true(world_counters(w)->longest_wait_us <= 2 * 500 * MS + S);
	settle(w);
	close_world(w);
}

/* All addresses are in use: a pod that waits gets the one of a pod that goes, when it has cooled. */
static void test_full_node__a_waiting_pod_gets_what_another_gives_back__gcp_10(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.shape.nics_max = 1;
	s.shape.units_per_nic = 4;
	s.config.warm_ips = 0;
	s.config.add_timeout_us = 60 * S;
	w = open_world(&s);
	run(w, 5 * S);
	add_pods(w, 4);
	wait_live(w, 4, MN);
	add_pods(w, 1);
	run(w, 5 * S);
	world_pod_del(w, 0);
	wait_live(w, 4, s.config.cooldown_us + 2 * S); /* three of the old ones and the new one */
	assert_int_equal(world_counters(w)->adds_failed, 0);
	settle(w);
	close_world(w);
}

/* ---- the cloud's word ---- */

/* Somebody attaches a NIC behind our back: what the instance may have is asked for once too often, not for ever. */
static void test_limit_exceeded__is_read_back__aws_40_13(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.shape.nics_max = 2;
	s.shape.units_per_nic = 3;
	s.config.warm_ips = 0;
	w = open_world(&s);
	run(w, 10 * S);
	add_pods(w, 3);
	wait_live(w, 3, MN);
	world_others(w, OTHER_ATTACH_NIC);
	add_pods(w, 2); /* there is no room for them */
	run(w, 5 * MN);
	must_hold(w);
	assert_true(world_counters(w)->calls[JOB_ATTACH] <= 3);
	assert_true(world_counters(w)->failures[FAIL_NIC_LIMIT] > 0);
	settle(w);
	close_world(w);
}

/* Calls that say yes and do nothing: the daemon neither spins nor believes them for ever. */
static void test_calls_without_effect__end__aws_40_14(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.config.release_delay_us = 5 * S;
	s.config.cooldown_us = S;
	w = open_world(&s);
	run(w, 10 * S);
	add_pods(w, 20);
	wait_live(w, 20, 2 * MN);
	for (unsigned i = 0; i < 4; i++)
		world_fate_next(w, i % 2 ? JOB_DETACH : JOB_RELEASE, 0, FATE_NO_EFFECT);
	for (unsigned i = 0; i < 20; i++)
		world_pod_del(w, i);
	run(w, 10 * MN);
	must_hold(w);
	assert_true(world_counters(w)->calls[JOB_RELEASE] + world_counters(w)->calls[JOB_DETACH] < 40);
	settle(w);
	close_world(w);
}

/* A block that the cloud took away from a running pod is loud, and bought back under the same address. */
static void test_lost_block__is_bought_back__aws_40_6(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.config.warm_ips = 0;
	w = open_world(&s);
	run(w, 10 * S);
	add_pods(w, 1);
	wait_live(w, 1, MN);
	world_others(w, OTHER_STEAL_BLOCK);
	run(w, 3 * s.config.list_period_us);
	assert_true(world_counters(w)->calls[JOB_RECOVER] > 0);
	assert_int_equal(world_pods_in(w, POD_LIVE), 1);
	settle(w);
	close_world(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_vanished_sandboxes__are_free_within_90_s__aws_1939),
		world_test(test_kill_at_every_call_boundary__leaks_no_nic__aws_69),
		world_test(test_del_racing_add__is_linear__acn_4829),
		world_test(test_kills_under_churn__no_address_twice__aws_40_23),
		world_test(test_busy_node__counts_add_up_at_every_step__azure_25),
		world_test(test_full_node__emptied_without_a_daemon_has_room__azure_6),
		world_test(test_pool_out_of_step__is_right_by_the_next_list__cil_46598),
		world_test(test_full_subnet__calls_stay_bounded__gcp_13),
		world_test(test_no_address__node_is_not_ready__aws_330),
		world_test(test_full_subnet__is_the_reason_told__aws_3415),
		world_test(test_throttled__is_the_reason_told_and_all_are_served__aws_405),
		world_test(test_fragmented_subnet__single_addresses_at_once__aws_2749),
		world_test(test_full_node__a_waiting_pod_gets_what_another_gives_back__gcp_10),
		world_test(test_limit_exceeded__is_read_back__aws_40_13),
		world_test(test_calls_without_effect__end__aws_40_14),
		world_test(test_lost_block__is_bought_back__aws_40_6),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
