/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/check.h"

#include <string.h>

#include "ipamd/demand.h"

#define START_US (100000 * USEC_PER_SEC)

static int64_t at_s(int64_t s)
{
	return START_US + s * USEC_PER_SEC;
}

static void arrive(struct demand *demand, int64_t s, unsigned count)
{
	while (count-- > 0)
		demand_arrived(demand, at_s(s));
}

/* A node that grows in @took_us. */
static void demand_of(struct demand *ret, int64_t took_us)
{
	demand_init(ret, START_US);
	demand_provisioned(ret, took_us);
}

static void test_demand_warm__nothing_arrived(void **state)
{
	struct demand demand;
	int64_t wake_us = 0;

	(void)state;
	demand_init(&demand, START_US);
	assert_int_equal(demand_warm(&demand, at_s(5), 16, &wake_us), 1);
	assert_int_equal(wake_us, INT64_MAX);
	assert_int_equal(demand_warm(&demand, at_s(86400), 1, NULL), 1);
}

static void test_demand_warm__the_worst_moment_of_one_latency(void **state)
{
	struct demand demand;

	(void)state;
	demand_of(&demand, 2 * USEC_PER_SEC);
	/* 2 s touch three seconds: 1 + 2 + 1, not the 3 that came a minute later. */
	arrive(&demand, 10, 1);
	arrive(&demand, 11, 2);
	arrive(&demand, 12, 1);
	arrive(&demand, 13, 1);
	arrive(&demand, 70, 3);
	assert_int_equal(demand_warm(&demand, at_s(70), 16, NULL), 4);
	assert_int_equal(demand_warm(&demand, at_s(200), 16, NULL), 4);
	/* It takes longer by now. */
	demand_provisioned(&demand, 2 * USEC_PER_SEC + 1);
	assert_int_equal(demand_warm(&demand, at_s(200), 16, NULL), 5);
}

static void test_demand_warm__ten_seconds_until_one_growth_was_seen(void **state)
{
	struct demand demand;

	(void)state;
	demand_init(&demand, START_US);
	arrive(&demand, 0, 2);
	arrive(&demand, 10, 3);
	arrive(&demand, 30, 1);
	assert_int_equal(demand_warm(&demand, at_s(30), 16, NULL), 5);
	demand_provisioned(&demand, 800 * USEC_PER_MSEC);
	assert_int_equal(demand_warm(&demand, at_s(30), 16, NULL), 3);
}

static void test_demand_provisioned__the_worst_of_the_last_eight(void **state)
{
	struct demand demand;

	(void)state;
	demand_of(&demand, 20 * USEC_PER_SEC);
	arrive(&demand, 0, 2);
	arrive(&demand, 20, 3);
	for (unsigned i = 1; i < DEMAND_SAMPLES; i++) {
		demand_provisioned(&demand, -1);
		assert_int_equal(demand_warm(&demand, at_s(20), 16, NULL), 5);
	}
	demand_provisioned(&demand, 0);
	assert_int_equal(demand_warm(&demand, at_s(20), 16, NULL), 3);
}

static void test_demand_warm__never_above_eight_or_one_unit(void **state)
{
	struct demand demand;
	int64_t wake_us = 0;

	(void)state;
	demand_of(&demand, USEC_PER_SEC);
	arrive(&demand, 1, 20);
	assert_int_equal(demand_warm(&demand, at_s(1), 1, NULL), 8);
	assert_int_equal(demand_warm(&demand, at_s(1), 16, NULL), 16);
	assert_int_equal(demand_warm(&demand, at_s(1), 64, NULL), 20);
	assert_int_equal(demand_warm(&demand, at_s(1), UINT32_MAX, NULL), 20);
	/* More than fit into a second's counter are still many, not few. */
	arrive(&demand, 2, 70000);
	assert_int_equal(demand_warm(&demand, at_s(2), 1U << 24, NULL), 20 + UINT16_MAX);
	/* What the cap hides does not wake: of the first 20 and the later 70,000 the later alone hold it up. */
	assert_int_equal(demand_warm(&demand, at_s(2), 1, &wake_us), 8);
	assert_int_equal(wake_us, at_s(2 + DEMAND_HORIZON_S));
}

static void test_demand_warm__forgets_after_half_an_hour(void **state)
{
	struct demand demand;
	int64_t wake_us = 0;

	(void)state;
	demand_of(&demand, USEC_PER_SEC);
	arrive(&demand, 0, 6);
	arrive(&demand, 600, 3);
	assert_int_equal(demand_warm(&demand, at_s(600), 16, &wake_us), 6);
	assert_int_equal(wake_us, at_s(1800));
	assert_int_equal(demand_warm(&demand, wake_us - 1, 16, NULL), 6);
	assert_int_equal(demand_warm(&demand, wake_us, 16, &wake_us), 3);
	assert_int_equal(wake_us, at_s(2400));
	assert_int_equal(demand_warm(&demand, wake_us, 16, &wake_us), 1);
	assert_int_equal(wake_us, INT64_MAX);
}

static void test_demand_arrived__after_a_long_silence(void **state)
{
	struct demand demand;

	(void)state;
	demand_of(&demand, USEC_PER_SEC);
	for (int64_t s = 0; s < DEMAND_HORIZON_S; s++)
		arrive(&demand, s, 2);
	assert_int_equal(demand_warm(&demand, at_s(DEMAND_HORIZON_S), 16, NULL), 4);
	arrive(&demand, 1000000, 3);
	assert_int_equal(demand_warm(&demand, at_s(1000000), 16, NULL), 3);
}

static void test_demand_arrived__time_that_goes_back_is_now(void **state)
{
	struct demand demand;
	int64_t wake_us = 0;

	(void)state;
	demand_of(&demand, USEC_PER_SEC);
	arrive(&demand, 50, 1);
	arrive(&demand, 10, 3);
	assert_int_equal(demand_warm(&demand, at_s(10), 16, &wake_us), 4);
	assert_int_equal(wake_us, at_s(50 + DEMAND_HORIZON_S));
}

/* Just after boot the horizon reaches back before time began. */
static void test_demand_warm__right_after_boot(void **state)
{
	struct demand demand;
	int64_t wake_us = 0;

	(void)state;
	demand_init(&demand, 0);
	demand_provisioned(&demand, INT64_MAX);
	demand_arrived(&demand, 0);
	demand_arrived(&demand, 3 * USEC_PER_SEC);
	assert_int_equal(demand_warm(&demand, 5 * USEC_PER_SEC, 16, &wake_us), 2);
	assert_int_equal(wake_us, DEMAND_HORIZON_S * USEC_PER_SEC);
}

/* ---- against the definition, counted naively ---- */

static uint64_t next_random(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return *random;
}

/* The largest sum of @window seconds in a row, of those that are recent at second @now. */
static unsigned naive_warm(const unsigned *arrivals, unsigned now, unsigned window, unsigned warm_max)
{
	unsigned first = now + 1 > DEMAND_HORIZON_S ? now + 1 - DEMAND_HORIZON_S : 0, worst = 1;

	for (unsigned from = first; from <= now; from++) {
		unsigned sum = 0;

		for (unsigned s = from; s < from + window && s <= now; s++)
			sum += arrivals[s];
		if (sum > worst)
			worst = sum;
	}
	return worst < warm_max ? worst : warm_max;
}

static void test_demand_warm__as_counted_naively(void **state)
{
	enum { SECONDS = 6000 };
	static unsigned arrivals[SECONDS];
	uint64_t random = 20261125;

	(void)state;
	for (unsigned round = 0; round < 30; round++) {
		unsigned window = 1 + (unsigned)(next_random(&random) % 40), density = 1 + round * 7;
		unsigned unit_size = 1U << next_random(&random) % 6, warm_max = unit_size > 8 ? unit_size : 8;
		struct demand demand;

		demand_of(&demand, (window - 1) * USEC_PER_SEC);
		for (unsigned s = 0; s < SECONDS; s++) {
			arrivals[s] = next_random(&random) % density ? 0 : (unsigned)(next_random(&random) % 5);
			arrive(&demand, s, arrivals[s]);
			if (next_random(&random) % 97 == 0) {
				int64_t wake_us = 0;
				unsigned warm = demand_warm(&demand, at_s(s), unit_size, &wake_us), wake = s;

				assert_int_equal(warm, naive_warm(arrivals, s, window, warm_max));
				if (wake_us == INT64_MAX) {
					assert_int_equal(warm, 1);
					continue;
				}
				/* Nobody else arrives: when is it less? */
				memset(&arrivals[s + 1], 0, (SECONDS - s - 1) * sizeof(arrivals[0]));
				wake = (unsigned)((wake_us - START_US) / USEC_PER_SEC);
				assert_in_range(wake, s + 1, s + DEMAND_HORIZON_S);
				if (wake >= SECONDS)
					continue;
				assert_int_equal(naive_warm(arrivals, wake - 1, window, warm_max), warm);
				assert_true(naive_warm(arrivals, wake, window, warm_max) < warm);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_demand_warm__nothing_arrived),
		check_unit_test(test_demand_warm__the_worst_moment_of_one_latency),
		check_unit_test(test_demand_warm__ten_seconds_until_one_growth_was_seen),
		check_unit_test(test_demand_provisioned__the_worst_of_the_last_eight),
		check_unit_test(test_demand_warm__never_above_eight_or_one_unit),
		check_unit_test(test_demand_warm__forgets_after_half_an_hour),
		check_unit_test(test_demand_arrived__after_a_long_silence),
		check_unit_test(test_demand_arrived__time_that_goes_back_is_now),
		check_unit_test(test_demand_warm__right_after_boot),
		check_unit_test(test_demand_warm__as_counted_naively),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
