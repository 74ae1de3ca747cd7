/* SPDX-License-Identifier: Apache-2.0 */
/* A few hundred seeds, and that a seed is a whole run. `make sim` runs ten thousand. */
#include "tests/check.h"

#include "tests/sim/runner.h"

#define SEEDS  200U /* some ten seconds on one core */
#define REPLAY 12U  /* seeds that are run twice */

static void test_seeds__all_hold(void **state)
{
	const struct runner_how how = { .steps = RUNNER_STEPS, .out = stdout };
	struct runner_result result;

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		runner_run(seed, &how, &result);
		assert_string_equal(result.failure, "");
	}
}

static void test_seeds__a_seed_is_a_whole_run(void **state)
{
	const struct runner_how how = { .steps = RUNNER_STEPS };
	struct runner_result first, second, other;

	(void)state;
	for (uint64_t seed = 1; seed <= REPLAY; seed++) {
		runner_run(seed, &how, &first);
		runner_run(seed + 1, &how, &other);
		runner_run(seed, &how, &second);
		assert_true(first.hash == second.hash);
		assert_true(first.steps == second.steps);
		assert_true(first.hash != other.hash);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_seeds__a_seed_is_a_whole_run),
		check_unit_test(test_seeds__all_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
