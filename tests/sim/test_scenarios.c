/* SPDX-License-Identifier: Apache-2.0 */
/* Scripted worlds: a full node in one burst, a crash at each place where one matters, what other writers and old reads do. */
#include "tests/sim/script.h"

#include <inttypes.h>

/* ---- speed ---- */

/* EC2's latencies at the middle of their ranges, so that the chain of calls is a number. */
static int64_t fix_latencies(struct sim_latency *l)
{
	*l = (struct sim_latency){
		.metadata = exactly(10 * MS),
		.read = exactly(90 * MS),
		.assign = exactly(500 * MS),
		.create = exactly(750 * MS),
		.attach = exactly(450 * MS),
		.attaching = exactly(3500 * MS),
		.link = exactly(500 * MS),
		.detach = exactly(350 * MS),
		.detaching = exactly(4 * S),
		.remove = exactly(350 * MS),
		.nft = exactly(20 * MS),
		.poll = exactly(500 * MS),
	};
	/* create, attach, the attaching itself, the link, one table. */
	return l->create.low_us + l->attach.low_us + l->attaching.low_us + l->link.low_us + l->nft.low_us;
}

/* Design, section 9: 250 pods on an empty 4-NIC node in 1.2 x the slowest chain of calls that they need. */
static void test_burst__250_pods_on_an_empty_node(void **state)
{
	struct scenario s;
	struct world *w;
	int64_t chain_us, took_us, start_us;

	(void)state;
	scenario_quiet(&s);
	s.shape = (struct sim_shape){
		.nics_max = 4, .units_per_nic = 64, .unit_len = 32, .single_len = 32, .subnet_len = 22
	};
	s.config.max_pods = 250;
	chain_us = fix_latencies(&s.latency);
	w = open_world(&s);
	assert_true(world_run(w, 10 * S));
	start_us = world_now(w);
	add_pods(w, 250);
	wait_live(w, 250, 5 * MN);
	took_us = world_counters(w)->last_ok_us - start_us;
	print_message("# 250 pods served after %" PRId64 " ms; the chain takes %" PRId64 " ms\n", took_us / MS,
		      chain_us / MS);
	assert_true(took_us * 10 <= chain_us * 12);
	assert_int_equal(world_counters(w)->adds_failed, 0);
	settle(w);
	close_world(w);
}

/* Nothing is warm and nothing waits in between: the answer of the cloud is the answer to the pod. */
static void test_add__served_when_the_cloud_has_answered_and_not_before__azure_10(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.config.warm_ips = 0;
	w = open_world(&s);
	assert_true(world_run(w, 10 * S));
	assert_int_equal(counts_of(w).total, 0);
	add_pods(w, 1);
	wait_live(w, 1, 10 * S);
	assert_true(world_answered_us(w) > 0);
	assert_true(world_counters(w)->last_ok_us == world_answered_us(w));
	settle(w);
	close_world(w);
}

static bool has_leased(struct world *w, void *arg)
{
	return counts_of(w).leased == *(const unsigned *)arg;
}

/* Three pods that come at once are one decision, and who is served already does not wait for it. */
static void test_add__served_from_the_pool_is_made_up_for_in_one_call_10_ms_later(void **state)
{
	unsigned pods = 3;
	uint64_t before;
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.config.warm_ips = 4;
	w = open_world(&s);
	assert_true(world_run(w, MN + 5 * S)); /* not in the turn of a look that is due each minute */
	assert_int_equal(counts_of(w).free, 4);
	before = world_counters(w)->mutations;
	add_pods(w, pods);
	assert_true(world_run_until(w, has_leased, &pods, S));
	assert_true(world_run(w, 5 * MS)); /* within a turn of the last one */
	assert_int_equal(world_daemon(w)->running[JOB_ASSIGN], 0);
	assert_true(world_run(w, 10 * MS));
	assert_int_equal(world_daemon(w)->running[JOB_ASSIGN], 1);
	assert_true(world_run(w, MN));
	assert_int_equal(counts_of(w).free, 4);
	assert_true(world_counters(w)->mutations == before + 1);
	settle(w);
	close_world(w);
}

/* Prefixes: what a fresh node's pods cost in changes, 16 at a time up to its limit, and an idle hour after that. */
static void test_prefixes__changes_for_each_16_pods(void **state)
{
	struct scenario s;
	struct world *w;
	uint64_t before = 0;

	(void)state;
	scenario_quiet(&s);
	s.shape = (struct sim_shape){
		.nics_max = 3, .units_per_nic = 9, .unit_len = 28, .single_len = 32, .subnet_len = 22
	};
	s.config.warm_ips = CONFIG_WARM_AUTO;
	s.config.max_pods = 110;
	w = open_world(&s);
	assert_true(world_run(w, MN));
	for (unsigned pods = 16; pods <= 96; pods += 16) {
		unsigned changes;

		add_pods(w, 16);
		wait_live(w, pods, MN);
		changes = (unsigned)(world_counters(w)->mutations - before);
		print_message("# %u pods: %u changes\n", pods, changes);
		assert_true(changes <= (pods == 16 ? 1 : 2));
		before += changes;
		assert_true(world_run(w, MN)); /* what fills the warm pool behind them counts with the next */
	}
	before = world_counters(w)->mutations;
	assert_true(world_run(w, 60 * MN));
	assert_true(world_counters(w)->mutations == before);
	assert_int_equal(world_counters(w)->adds_failed, 0);
	settle(w);
	close_world(w);
}

/* ---- crashes ---- */

/* Pods come until NICs are attached, go until they are detached; killed on the way, at the @nth time at @point. */
static bool crash_once(enum crash_point point, unsigned nth)
{
	struct scenario s;
	struct world *w;
	bool hit;

	scenario_quiet(&s);
	s.shape.units_per_nic = 6;
	s.config.warm_ips = 2;
	w = open_world(&s);
	world_arm_crash(w, point, nth);
	assert_true(world_run(w, 3 * S));
	add_pods(w, 14);
	wait_live(w, 14, 3 * MN);
	delete_pods(w, 14);
	assert_true(world_run(w, 10 * MN));
	hit = world_crash_hit(w);
	settle(w);
	assert_int_equal(counts_of(w).leased, 0);
	close_world(w);
	return hit;
}

static void crash_at(enum crash_point point)
{
	unsigned hits = 0;

	for (unsigned nth = 1; nth <= 12; nth++)
		hits += crash_once(point, nth);
	print_message("# %s: %u kills\n", crash_point_name(point), hits);
	assert_true(hits >= 4);
}

static void test_crash__before_an_intent_is_stored(void **state)
{
	(void)state;
	crash_at(CRASH_INTENT_PUT_BEFORE);
}

static void test_crash__after_an_intent_is_stored(void **state)
{
	(void)state;
	crash_at(CRASH_INTENT_PUT_AFTER);
}

static void test_crash__after_a_mutation_is_submitted(void **state)
{
	(void)state;
	crash_at(CRASH_SUBMIT_AFTER);
}

static void test_crash__with_a_result_in_hand(void **state)
{
	(void)state;
	crash_at(CRASH_RESULT_TAKEN);
}

static void test_crash__before_an_intent_is_deleted(void **state)
{
	(void)state;
	crash_at(CRASH_INTENT_DEL_BEFORE);
}

static void test_crash__after_an_intent_is_deleted(void **state)
{
	(void)state;
	crash_at(CRASH_INTENT_DEL_AFTER);
}

static void test_crash__around_a_lease(void **state)
{
	(void)state;
	crash_at(CRASH_LEASE_PUT_BEFORE);
	crash_at(CRASH_LEASE_PUT_AFTER);
	crash_at(CRASH_REPLY_AFTER);
	crash_at(CRASH_BIND_BEFORE);
	crash_at(CRASH_BIND_AFTER);
	crash_at(CRASH_RELEASE_BEFORE);
	crash_at(CRASH_RELEASE_AFTER);
}

/* The route of a pod that nobody confirmed outlived the daemon that gave its lease up. */
static void test_crash__reclaimed_pod_is_not_adopted(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.load.killed_wired = 1000000;
	s.load.no_del = 1000000;
	w = open_world(&s);
	assert_true(world_run(w, 10 * S));
	add_pods(w, 1);
	assert_true(world_run(w, 10 * S));
	world_arm_crash(w, CRASH_RELEASE_AFTER, 1);
	assert_true(world_run(w, 5 * MN));
	assert_true(world_crash_hit(w));
	assert_int_equal(counts_of(w).leased, 0);
	settle(w);
	close_world(w);
}

/* ---- what the cloud does to us ---- */

static void test_lost_answer__is_read_back_and_nothing_bought_twice__gcp_16(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.config.warm_ips = 8;
	w = open_world(&s);
	world_fate_next(w, JOB_ASSIGN, 0, FATE_LOST_ANSWER);
	assert_true(world_run(w, 2 * MN));
	must_hold(w);
	assert_int_equal(world_counters(w)->calls[JOB_ASSIGN], 1);
	assert_int_equal(world_cloud_blocks(w), s.config.warm_ips);
	settle(w);
	close_world(w);
}

static void test_lost_answer__attach_leaves_no_nic_behind(void **state)
{
	(void)state;
	for (unsigned stage = 0; stage < 2; stage++) {
		struct scenario s;
		struct world *w;

		scenario_quiet(&s);
		s.shape.units_per_nic = 4;
		s.config.warm_ips = 2;
		w = open_world(&s);
		assert_true(world_run(w, 10 * S));
		world_fate_next(w, JOB_ATTACH, stage, FATE_LOST_ANSWER);
		add_pods(w, 6);
		wait_live(w, 6, 3 * MN);
		assert_true(world_run(w, MN));
		must_hold(w);
		assert_int_equal(world_cloud_nics(w, false), 0);
		settle(w);
		close_world(w);
	}
}

static bool is_lost(struct world *w, void *arg)
{
	(void)arg;
	return counts_of(w).lost == 1;
}

static void test_stolen_block__with_a_pod_is_reported_and_bought_back(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.config.warm_ips = 0;
	w = open_world(&s);
	assert_true(world_run(w, 10 * S));
	add_pods(w, 1);
	wait_live(w, 1, MN);
	world_others(w, OTHER_STEAL_BLOCK);
	world_fate_next(w, JOB_RECOVER, 0, FATE_DENIED); /* or it is back before anybody sees that it was lost */
	assert_true(world_run_until(w, is_lost, NULL, 2 * s.config.list_period_us));
	assert_true(world_run(w, 10 * MN));
	assert_int_equal(counts_of(w).lost, 0);
	assert_int_equal(world_cloud_blocks(w), 1);
	assert_int_equal(world_pods_in(w, POD_LIVE), 1);
	settle(w);
	close_world(w);
}

/* A list from before a release showed the block again, and it was leased. */
static void test_old_read__released_block_is_not_leased(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.faults.stale_read = 1000000;
	s.faults.stale_max_us = 5 * S;
	s.config.list_period_us = 10 * S;
	s.config.release_delay_us = S;
	s.config.cooldown_us = S;
	w = open_world(&s);
	for (unsigned round = 0; round < 20; round++) {
		assert_true(world_run(w, 20 * S));
		add_pods(w, 8);
		wait_live(w, 8, 2 * MN);
		delete_pods(w, 8);
		assert_true(world_run(w, 10 * S));
		must_hold(w);
	}
	settle(w);
	close_world(w);
}

/* A daemon that starts beside pods on a NIC that its first list, an old one, does not show yet: none is cut off. */
static void test_old_read__of_a_daemon_that_starts(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 8; seed++) {
		struct scenario s;
		struct world *w;

		scenario_quiet(&s);
		s.seed = seed;
		s.latency.attaching = exactly(100 * MS);
		s.latency.link = exactly(100 * MS);
		s.faults.stale_read = 1000000;
		s.faults.stale_max_us = 5 * S;
		s.faults.restart = exactly(50 * MS);
		w = open_world(&s);
		assert_true(world_run(w, 20 * S));
		add_pods(w, 20); /* six more than the primary NIC has room for */
		wait_live(w, 20, MN);
		world_daemon_kill(w, true);
		assert_true(world_run(w, 30 * S));
		must_hold(w);
		settle(w);
		close_world(w);
	}
}

/* A daemon that is killed over a release it has just sent: the next one lists before it takes effect. @stay: pods that live
 * on; @lost: ppm, of the store with the daemon; @unread: ppm, of intents that cannot be read. */
static void crash_over_a_release(unsigned stay, uint32_t lost, uint32_t unread)
{
	unsigned hits = 0;

	for (unsigned nth = 1; nth <= 8; nth++) {
		struct scenario s;
		struct world *w;

		scenario_quiet(&s);
		s.seed = nth;
		s.latency.assign = exactly(2 * S);
		s.faults.restart = exactly(100 * MS);
		s.faults.store_lost = lost;
		s.faults.intents = unread;
		s.config.release_delay_us = 3 * S;
		s.config.cooldown_us = S;
		w = open_world(&s);
		assert_true(world_run(w, 20 * S));
		add_pods(w, 4 + stay);
		wait_live(w, 4 + stay, MN);
		assert_true(world_run(w, 20 * S));
		world_arm_crash(w, CRASH_SUBMIT_AFTER, 1);
		delete_pods(w, 4);
		assert_true(world_run(w, 30 * S));
		hits += world_crash_hit(w);
		settle(w);
		close_world(w);
	}
	assert_int_equal(hits, 8);
}

static void test_crash__release_takes_effect_behind_the_first_list(void **state)
{
	(void)state;
	crash_over_a_release(0, 0, 0);
}

/* The same with the store gone, and so the intent: that it is empty beside a pod that lives says enough. */
static void test_crash__release_in_flight_and_the_store_lost(void **state)
{
	(void)state;
	crash_over_a_release(1, 1000000, 0);
}

static void test_crash__release_in_flight_and_no_intent_to_be_read(void **state)
{
	(void)state;
	crash_over_a_release(0, 0, 1000000);
}

/* ---- what pods are told ---- */

static void test_full_node__says_that_its_nics_are_full(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	s.shape = (struct sim_shape){
		.nics_max = 1, .units_per_nic = 4, .unit_len = 32, .single_len = 32, .subnet_len = 24
	};
	s.config.warm_ips = 0;
	w = open_world(&s);
	/* An error from when there was room must not be what a full node says: this call was done, a list shows it. */
	world_fate_next(w, JOB_ASSIGN, 0, FATE_LOST_ANSWER);
	add_pods(w, 6);
	assert_true(world_run(w, 5 * MN));
	assert_int_equal(world_pods_in(w, POD_LIVE), 4);
	assert_int_equal(world_counters(w)->failures[FAIL_METADATA], 0);
	assert_true(world_counters(w)->failures[FAIL_NIC_LIMIT] > 0);
	settle(w);
	close_world(w);
}

static void test_del__without_a_daemon_is_spooled_and_done_later__aws_40_24(void **state)
{
	struct scenario s;
	struct world *w;

	(void)state;
	scenario_quiet(&s);
	w = open_world(&s);
	assert_true(world_run(w, 10 * S));
	add_pods(w, 3);
	wait_live(w, 3, MN);
	world_daemon_kill(w, false);
	delete_pods(w, 2);
	assert_true(world_run(w, 10 * S));
	world_daemon_start(w);
	assert_true(world_run(w, 10 * S));
	assert_int_equal(counts_of(w).leased, 1);
	settle(w);
	close_world(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_burst__250_pods_on_an_empty_node),
		world_test(test_add__served_when_the_cloud_has_answered_and_not_before__azure_10),
		world_test(test_add__served_from_the_pool_is_made_up_for_in_one_call_10_ms_later),
		world_test(test_prefixes__changes_for_each_16_pods),
		world_test(test_crash__before_an_intent_is_stored),
		world_test(test_crash__after_an_intent_is_stored),
		world_test(test_crash__after_a_mutation_is_submitted),
		world_test(test_crash__with_a_result_in_hand),
		world_test(test_crash__before_an_intent_is_deleted),
		world_test(test_crash__after_an_intent_is_deleted),
		world_test(test_crash__around_a_lease),
		world_test(test_crash__reclaimed_pod_is_not_adopted),
		world_test(test_crash__release_takes_effect_behind_the_first_list),
		world_test(test_crash__release_in_flight_and_the_store_lost),
		world_test(test_crash__release_in_flight_and_no_intent_to_be_read),
		world_test(test_lost_answer__is_read_back_and_nothing_bought_twice__gcp_16),
		world_test(test_lost_answer__attach_leaves_no_nic_behind),
		world_test(test_stolen_block__with_a_pod_is_reported_and_bought_back),
		world_test(test_old_read__released_block_is_not_leased),
		world_test(test_old_read__of_a_daemon_that_starts),
		world_test(test_full_node__says_that_its_nics_are_full),
		world_test(test_del__without_a_daemon_is_spooled_and_done_later__aws_40_24),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
