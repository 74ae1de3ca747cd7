/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that may not change their cloud, for an hour each. */
#include "tests/sim/script.h"

#define HOUR (60 * MN)

static struct world *open_node(enum cloud_access access)
{
	struct scenario s;

	scenario_quiet(&s);
	s.shape.blocks_at_start = 8;
	s.config.access = access;
	s.config.warm_ips = 20; /* which it would buy, and give back what is beyond */
	return open_world(&s);
}

static uint64_t jobs(struct world *w, enum job_kind kind)
{
	return world_daemon(w)->stats.jobs[kind][ERR_NONE];
}

static void assert_nothing_changed(struct world *w)
{
	static const enum job_kind changes[] = {
		JOB_ASSIGN, JOB_ATTACH, JOB_RECOVER, JOB_RELEASE, JOB_DETACH, JOB_SWEEP
	};

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		for (unsigned class = 0; class < ERR_CLASS_COUNT; class ++)
			assert_int_equal(world_daemon(w)->stats.jobs[changes[i]][class], 0);
	assert_int_equal(counts_of(w).total, 8);
}

/* The list is looked at as often as metadata is elsewhere, and metadata not beside it. */
static void test_metadata__is_listed_each_minute(void **state)
{
	struct world *w = open_node(CLOUD_ACCESS_METADATA);

	(void)state;
	run(w, 10 * S);
	add_pods(w, 5);
	wait_live(w, 5, MN);
	run(w, HOUR);
	assert_in_range(jobs(w, JOB_LIST), 50, 75);
	assert_int_equal(jobs(w, JOB_GLANCE), 0);
	assert_nothing_changed(w);
	close_world(w);
}

static void test_read__looks_and_changes_nothing(void **state)
{
	struct world *w = open_node(CLOUD_ACCESS_READ);

	(void)state;
	run(w, 10 * S);
	add_pods(w, 5);
	wait_live(w, 5, MN);
	run(w, HOUR);
	assert_in_range(jobs(w, JOB_LIST), 2, 5);
	assert_in_range(jobs(w, JOB_GLANCE), 50, 75);
	delete_pods(w, 5);
	run(w, HOUR);
	assert_nothing_changed(w);
	assert_int_equal(counts_of(w).free, 8);
	close_world(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_metadata__is_listed_each_minute),
		world_test(test_read__looks_and_changes_nothing),
	};

	return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
