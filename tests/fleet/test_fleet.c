/* SPDX-License-Identifier: Apache-2.0 */
/* Five hundred nodes at once on an account that lets five mutations a second through. */
#include "tests/check.h"

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/log.h"
#include "tests/fleet/fleet.h"

#define NODES        500U
#define SEEDS        5U
#define LUMPY_MAX    2.0  /* 1 is ideal; 12 seeds gave 0.95 to 1.40 */
#define QUIET_TENTHS 50U  /* the first 5 s: all nodes boot at the same instant, which no retry can help */
#define WATCH_TENTHS 600U /* the minute behind them: most nodes are refused, and try again */

static void options_of(struct fleet_options *ret)
{
	fleet_options_default(ret);
	ret->nodes = NODES;
	ret->boot_spread_us = 0;
	ret->deaths_one_in = 0;
	ret->account.shared = true;
	ret->account.mutations = (struct fleet_bucket_limit){ 50, 5 };
}

static void run(const struct fleet_options *options, enum fleet_scenario scenario, struct fleet_result *ret)
{
	static const struct fleet_policy berth = { .name = "berth", .warm_ips = FLEET_WARM_AUTO };

	assert_int_equal(fleet_scenario_run(options, scenario, &berth, ret), 0);
}

/*
 * How lumpy the calls are, from one 100 ms to the next: the mean of (a - b)^2 / (a + b) over neighbours. Calls that know
 * nothing of each other give 1 whatever their rate and however it drifts (counts are Poisson, so a - b has the variance
 * a + b); nodes that retry together give the size of the crowd.
 */
static double lumpiness(const struct fleet_result *result)
{
	unsigned last = (unsigned)(result->last_served_us / (100 * USEC_PER_MSEC));
	double sum = 0;
	unsigned count = 0;

	for (unsigned i = QUIET_TENTHS; i + 1 < last && i < QUIET_TENTHS + WATCH_TENTHS; i += 2) {
		double a = result->per_tenth[i], b = result->per_tenth[i + 1];

		if (a + b == 0)
			continue;
		sum += (a - b) * (a - b) / (a + b);
		count++;
	}
	return count ? sum / count : 0;
}

/* How many NICs each node attaches and how often it is refused on the way differs by seed. */
static void test_fleet__all_served_and_nothing_left_behind(_unused_ void **state)
{
	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		struct fleet_options options;
		struct fleet_result result;

		options_of(&options);
		options.seed = seed;
		run(&options, FLEET_COLD, &result);
		assert_int_equal(result.pods, NODES * options.pods_per_node);
		assert_int_equal(result.served, result.pods);
		assert_int_equal(result.leaked, 0);
		assert_int_equal(result.cut_off, 0);
		fleet_result_done(&result);
	}
}

/* Nobody sweeps behind an instance that is gone: what it had created and not attached yet is all that may be left. */
static void test_fleet__living_nodes_leave_nothing_when_others_die(_unused_ void **state)
{
	struct fleet_options options;
	struct fleet_result result;

	options_of(&options);
	options.deaths_one_in = 10;
	run(&options, FLEET_COLD, &result);
	assert_int_equal(result.served, result.pods);
	assert_int_equal(result.leaked, result.leaked_dead);
	fleet_result_done(&result);
}

static void test_fleet__no_two_nodes_retry_in_step(_unused_ void **state)
{
	struct fleet_options options;
	struct fleet_result jittered, stepped;

	options_of(&options);
	run(&options, FLEET_COLD, &jittered);
	options.no_jitter = true;
	run(&options, FLEET_COLD, &stepped);
	assert_true(lumpiness(&jittered) < LUMPY_MAX);
	/* The same without jitter is what the limit is there to find. */
	assert_true(lumpiness(&stepped) > 2 * LUMPY_MAX);
	fleet_result_done(&jittered);
	fleet_result_done(&stepped);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_fleet__all_served_and_nothing_left_behind),
		check_unit_test(test_fleet__living_nodes_leave_nothing_when_others_die),
		check_unit_test(test_fleet__no_two_nodes_retry_in_step),
	};

	log_init("test_fleet", 2, LOG_ERROR_);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
