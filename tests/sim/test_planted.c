/* SPDX-License-Identifier: Apache-2.0 */
/* Each planted mistake is found within a thousand seeds, by the rule that it breaks. */
#include "tests/check.h"

#include <inttypes.h>
#include <string.h>

#include "tests/sim/plants.h"
#include "tests/sim/runner.h"

#define SEEDS_MAX 1000U

/* Return: the seed that found it. */
static uint64_t find(enum plant plant, struct runner_result *ret)
{
	const struct runner_how how = { .steps = RUNNER_STEPS, .plant = plant };

	for (uint64_t seed = 1; seed <= SEEDS_MAX; seed++) {
		plants_reset();
		runner_run(seed, &how, ret);
		if (ret->failed)
			return seed;
	}
	fail_msg("not found within %u seeds", SEEDS_MAX);
	return 0;
}

/* @rules: of which one must be the one that was broken; NULL-terminated. */
static void must_find(enum plant plant, const char *const *rules)
{
	struct runner_result result;
	uint64_t seed = find(plant, &result);

	for (; *rules; rules++)
		if (strstr(result.failure, *rules))
			return;
	fail_msg("seed %" PRIu64 " found something else: %s", seed, result.failure);
}

#define RULES(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void test_plant__none(void **state)
{
	const struct runner_how how = { .steps = RUNNER_STEPS, .out = stdout };
	struct runner_result result;

	(void)state;
	plants_reset();
	for (uint64_t seed = 1; seed <= 20; seed++) {
		runner_run(seed, &how, &result);
		assert_string_equal(result.failure, "");
	}
}

static void test_plant__no_cooldown(void **state)
{
	(void)state;
	must_find(PLANT_NO_COOLDOWN, RULES("an address rests before it is leased again"));
}

static void test_plant__double_lease(void **state)
{
	(void)state;
	must_find(PLANT_DOUBLE_LEASE, RULES("no address is leased twice"));
}

static void test_plant__forgotten_intent(void **state)
{
	(void)state;
	must_find(PLANT_FORGOTTEN_INTENT, RULES("no intent is left", "what is leased the cloud has"));
}

static void test_plant__blind_sweep(void **state)
{
	(void)state;
	must_find(PLANT_BLIND_SWEEP, RULES("no NIC is left over"));
}

static void test_plant__unclear_is_done(void **state)
{
	(void)state;
	must_find(PLANT_UNCLEAR_IS_DONE, RULES("no mutation before an unclear one was read back"));
}

static void test_plant__deaf_spool(void **state)
{
	(void)state;
	must_find(PLANT_DEAF_SPOOL, RULES("the spool is empty", "each lease has a pod"));
}

static void test_plant__lost_lease(void **state)
{
	(void)state;
	must_find(PLANT_LOST_LEASE,
		  RULES("no address is leased twice", "store = pool", "a running pod keeps its route"));
}

static void test_plant__no_deadline(void **state)
{
	(void)state;
	must_find(PLANT_NO_DEADLINE, RULES("an ADD is answered by its deadline"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plant__none),         cmocka_unit_test(test_plant__no_cooldown),
		cmocka_unit_test(test_plant__double_lease), cmocka_unit_test(test_plant__forgotten_intent),
		cmocka_unit_test(test_plant__blind_sweep),  cmocka_unit_test(test_plant__unclear_is_done),
		cmocka_unit_test(test_plant__deaf_spool),   cmocka_unit_test(test_plant__lost_lease),
		cmocka_unit_test(test_plant__no_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
