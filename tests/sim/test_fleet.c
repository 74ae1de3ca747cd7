/* SPDX-License-Identifier: Apache-2.0 */
/* Five hundred nodes at once on an account that lets five mutations a second through. */
#include "tests/check.h"

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/log.h"
#include "tests/sim/fleet.h"

#define NODES        500U
#define QUIET_TENTHS 50U  /* the first 5 s: all nodes boot at the same instant, which no retry can help */
#define WATCH_TENTHS 600U /* the minute behind them: most nodes are refused, and try again */

static void options_of(struct fleet_options *ret)
{
	fleet_options_default(ret);
	ret->nodes = NODES;
	ret->boot_spread_us = 0;
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

static void test_fleet__500_nodes_at_five_mutations_a_second(_unused_ void **state)
{
	struct fleet_options options;
	struct fleet_result result;

	options_of(&options);
	run(&options, FLEET_COLD, &result);
	print_message("pods %u served %u last %.0f s leaked %u lumpiness %.2f\n", result.pods, result.served,
		      (double)result.last_served_us / 1e6, result.leaked, lumpiness(&result));
	assert_int_equal(result.served, result.pods);
	assert_int_equal(result.leaked, 0);
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
	print_message("jitter %.2f without %.2f\n", lumpiness(&jittered), lumpiness(&stepped));
	assert_true(lumpiness(&jittered) < 2);
	assert_true(lumpiness(&stepped) > 4);
	fleet_result_done(&jittered);
	fleet_result_done(&stepped);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_fleet__500_nodes_at_five_mutations_a_second),
		check_unit_test(test_fleet__no_two_nodes_retry_in_step),
	};

	log_init("test_fleet", 2, LOG_ERROR_);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
