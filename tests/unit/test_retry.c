/* SPDX-License-Identifier: Apache-2.0 */
/* Retry, stop, and the call budget. */
#include "cloud/retry.h"

#include <errno.h>

#include "berth/err.h"
#include "cloud/budget.h"
#include "tests/check.h"

static uint64_t fixed_next(void *ctx)
{
	return *(uint64_t *)ctx;
}

static int64_t fake_now(void *ctx)
{
	return *(int64_t *)ctx;
}

static const struct retry_policy policy = {
	.attempts_max = 4,
	.transient_us = 1000,
	.throttled_us = 100000,
	.cap_us = 300000,
};

struct world {
	uint64_t dice;
	struct random random;
	int64_t now;
	struct clock clock;
	struct stop stop;
	struct retry retry;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->random = (struct random){ fixed_next, &w->dice };
	w->clock = (struct clock){ fake_now, &w->now };
	assert_int_equal(stop_init(&w->stop), 0);
	w->retry = (struct retry){
		.policy = &policy,
		.random = &w->random,
		.clock = &w->clock,
		.stop = &w->stop,
		.deadline_us = 10 * USEC_PER_SEC,
	};
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	stop_done(&w->stop);
	free(w);
	return 0;
}

static void test_delay__full_jitter_doubles_up_to_the_cap__aws_40_11(void **state)
{
	struct world *w = *state;

	w->dice = 0;
	assert_int_equal(retry_delay(&policy, 5, ERR_RETRY, 0, &w->random), 0);
	/* The largest value below each bound. */
	w->dice = 1000 - 1;
	assert_int_equal(retry_delay(&policy, 0, ERR_RETRY, 0, &w->random), 999);
	w->dice = 4000 - 1;
	assert_int_equal(retry_delay(&policy, 2, ERR_RETRY, 0, &w->random), 3999);
	w->dice = 300000 - 1;
	assert_int_equal(retry_delay(&policy, 2, ERR_THROTTLED, 0, &w->random), 299999);
	assert_int_equal(retry_delay(&policy, 4000000000U, ERR_THROTTLED, 0, &w->random), 299999);
}

static void test_delay__retry_after_is_a_minimum(void **state)
{
	struct world *w = *state;

	w->dice = 42;
	assert_int_equal(retry_delay(&policy, 0, ERR_THROTTLED, 7000, &w->random), 7000042);
}

static void test_again__by_class(void **state)
{
	struct world *w = *state;

	for (unsigned class = ERR_RETRY; class < ERR_CLASS_COUNT; class ++) {
		struct retry retry = w->retry;
		const struct err err = { .class = (enum err_class) class };
		bool again = class == ERR_RETRY || class == ERR_THROTTLED;

		assert_int_equal(retry_again(&retry, &err), again);
	}
}

/* "forbidden" is no matter of time, and neither is a request that cannot be done. */
static void test_again__forbidden_is_asked_once__gcp_14(void **state)
{
	static const enum err_class classes[] = { ERR_AUTH, ERR_INVALID, ERR_EXHAUSTED, ERR_AMBIGUOUS };
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
		struct retry retry = w->retry;
		const struct err err = { .class = classes[i], .retry_after_ms = 1 };

		assert_false(retry_again(&retry, &err));
		assert_int_equal(retry.attempts, 0);
	}
}

static void test_again__attempts_are_bounded(void **state)
{
	struct world *w = *state;
	const struct err err = { .class = ERR_RETRY };

	for (unsigned i = 1; i < policy.attempts_max; i++)
		assert_true(retry_again(&w->retry, &err));
	assert_false(retry_again(&w->retry, &err));
}

static void test_again__not_beyond_the_deadline(void **state)
{
	struct world *w = *state;
	const struct err err = { .class = ERR_THROTTLED, .retry_after_ms = 5000 };

	w->now = 5 * USEC_PER_SEC;
	assert_false(retry_again(&w->retry, &err));
}

static void test_again__stopped(void **state)
{
	struct world *w = *state;
	const struct err err = { .class = ERR_RETRY, .retry_after_ms = 9000 };
	int64_t before = clock_now(&clock_boot);

	stop_set(&w->stop);
	assert_false(retry_again(&w->retry, &err));
	assert_true(clock_now(&clock_boot) - before < USEC_PER_SEC);
}

static void *stop_from_elsewhere(void *ctx)
{
	stop_set(ctx);
	return NULL;
}

static void test_stop_wait__woken(void **state)
{
	struct world *w = *state;
	int64_t before = clock_now(&clock_boot);
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, stop_from_elsewhere, &w->stop), 0);
	assert_int_equal(stop_wait(&w->stop, 60 * USEC_PER_SEC), -ECANCELED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(clock_now(&clock_boot) - before < 10 * USEC_PER_SEC);
}

static void test_stop_wait__times_out(void **state)
{
	struct world *w = *state;
	int64_t before = clock_now(&clock_boot);

	assert_int_equal(stop_wait(&w->stop, 20000), 0);
	assert_true(clock_now(&clock_boot) - before >= 20000);
}

static void test_random_kernel__varies(void **state)
{
	uint64_t first = random_kernel.next(NULL);
	bool varies = false;

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		varies = varies || random_kernel.next(NULL) != first;
	assert_true(varies);
	assert_int_equal(random_below(&random_kernel, 0), 0);
	assert_int_equal(random_below(&random_kernel, 1), 0);
}

/* ---- budget ---- */

static const struct budget_limit limits[BUDGET_CLASS_COUNT] = {
	[BUDGET_READ] = { .burst = 10, .rate_max = 10, .rate_min = 1 },
	[BUDGET_MUTATE] = { .burst = 2, .rate_max = 2, .rate_min = 0.5 },
};

static void budget_start(struct world *w, struct budget *budget)
{
	assert_int_equal(budget_init(budget, limits, &w->clock, &w->random, &w->stop), 0);
}

/* A new caller's start, µs from @now_us. */
static int64_t wait_of(struct budget *b, enum budget_class class, int64_t now_us)
{
	int64_t wait = budget_reserve(b, class, now_us);

	assert_true(wait >= 0);
	return wait;
}

static void test_reserve__burst_then_spread_at_the_rate(void **state)
{
	struct world *w = *state;
	struct budget b;

	budget_start(w, &b);
	assert_int_equal(wait_of(&b, BUDGET_MUTATE, 0), 0);
	assert_int_equal(wait_of(&b, BUDGET_MUTATE, 0), 0);
	assert_int_equal(wait_of(&b, BUDGET_MUTATE, 0), 500000);
	assert_int_equal(wait_of(&b, BUDGET_MUTATE, 0), 1000000);
	/* The other class has its own bucket. */
	assert_int_equal(wait_of(&b, BUDGET_READ, 0), 0);
	/* What was owed is paid first; a bucket never holds more than its burst. */
	assert_int_equal(wait_of(&b, BUDGET_MUTATE, 1500000), 0);
	assert_int_equal(wait_of(&b, BUDGET_MUTATE, 100000000), 0);
	assert_int_equal(wait_of(&b, BUDGET_MUTATE, 100000000), 0);
	assert_int_equal(wait_of(&b, BUDGET_MUTATE, 100000000), 500000);
	budget_done(&b);
}

static void test_throttled__slows_down_and_recovers(void **state)
{
	struct world *w = *state;
	struct budget b;

	budget_start(w, &b);
	budget_throttled(&b, BUDGET_MUTATE, 0, 0);
	/* Emptied, and 2/s became 1.4/s. */
	assert_in_range(wait_of(&b, BUDGET_MUTATE, 0), 714000, 715000);
	for (unsigned i = 1; i <= 50; i++)
		budget_throttled(&b, BUDGET_MUTATE, i * USEC_PER_SEC, 0);
	assert_true(b.buckets[BUDGET_MUTATE].rate >= 0.5 && b.buckets[BUDGET_MUTATE].rate < 0.51);
	for (unsigned i = 0; i < 20; i++)
		budget_ok(&b, BUDGET_MUTATE, 0);
	assert_true(b.buckets[BUDGET_MUTATE].rate > 1.4 && b.buckets[BUDGET_MUTATE].rate < 1.6);
	for (unsigned i = 0; i < 100; i++)
		budget_ok(&b, BUDGET_MUTATE, 0);
	assert_true(b.buckets[BUDGET_MUTATE].rate <= 2);
	assert_true(b.buckets[BUDGET_READ].rate >= 10);
	budget_done(&b);
}

/* Sixteen workers met the same full bucket of the cloud: one piece of news. */
static void test_throttled__one_decrease_for_calls_that_were_under_way(void **state)
{
	struct world *w = *state;
	struct budget b;

	budget_start(w, &b);
	for (unsigned i = 0; i < 16; i++)
		budget_throttled(&b, BUDGET_MUTATE, i * USEC_PER_MSEC, 0);
	assert_true(b.buckets[BUDGET_MUTATE].rate > 1.39 && b.buckets[BUDGET_MUTATE].rate < 1.41);
	budget_throttled(&b, BUDGET_MUTATE, USEC_PER_SEC, 0);
	assert_true(b.buckets[BUDGET_MUTATE].rate > 0.97 && b.buckets[BUDGET_MUTATE].rate < 0.99);
	budget_done(&b);
}

#define WORKERS 16

static void assert_starts(struct budget *b, const struct budget_ticket *tickets, int64_t first_us, int64_t apart_us)
{
	for (unsigned i = 0; i < WORKERS; i++)
		assert_in_range(budget_start_us(b, BUDGET_MUTATE, &tickets[i]), first_us + i * apart_us,
				first_us + i * apart_us + WORKERS); /* µs of rounding */
}

static void test_throttled__no_call_of_the_class_before_it_for_all_workers__azure_17(void **state)
{
	struct budget_ticket waiting[WORKERS], late;
	struct world *w = *state;
	struct budget b;

	budget_start(w, &b);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(wait_of(&b, BUDGET_MUTATE, 0), 0);
	/* Workers that wait for a token, the first one until 0.5 s. */
	for (unsigned i = 0; i < WORKERS; i++)
		waiting[i] = budget_ticket(&b, BUDGET_MUTATE, 0);
	assert_starts(&b, waiting, 500000, 500000);
	/* One of the two that went ahead is told: not before 7 s. */
	budget_throttled(&b, BUDGET_MUTATE, 100000, 7000);
	assert_starts(&b, waiting, 7500000, 500000);
	/* Who comes later waits behind them, and the class stays closed to the last microsecond. */
	late = budget_ticket(&b, BUDGET_MUTATE, 7099999);
	assert_true(budget_start_us(&b, BUDGET_MUTATE, &late) >
		    budget_start_us(&b, BUDGET_MUTATE, &waiting[WORKERS - 1]));
	/* The other one is told something shorter, then a third something longer. */
	budget_throttled(&b, BUDGET_MUTATE, 200000, 1000);
	assert_starts(&b, waiting, 7500000, 500000);
	budget_throttled(&b, BUDGET_MUTATE, 300000, 20000);
	assert_starts(&b, waiting, 20700000, 500000);
	/* Reads are counted apart. */
	assert_int_equal(wait_of(&b, BUDGET_READ, 300000), 0);
	budget_done(&b);
}

/* Nothing is saved up during a pause: what follows are calls at the rate, not a burst. */
static void test_throttled__no_burst_behind_a_pause__azure_17(void **state)
{
	struct world *w = *state;
	struct budget b;
	int64_t last;

	budget_start(w, &b);
	budget_throttled(&b, BUDGET_READ, 0, 60000);
	assert_int_equal(wait_of(&b, BUDGET_READ, 30 * USEC_PER_SEC), 30 * USEC_PER_SEC);
	last = wait_of(&b, BUDGET_READ, 60 * USEC_PER_SEC);
	for (unsigned i = 0; i < 20; i++) {
		int64_t next = wait_of(&b, BUDGET_READ, 60 * USEC_PER_SEC);

		/* 10/s became 7/s. */
		assert_in_range(next - last, 142000, 143000);
		last = next;
	}
	budget_done(&b);
}

static void test_throttled__nonsense_does_not_stop_us_for_days(void **state)
{
	struct world *w = *state;
	struct budget b;

	budget_start(w, &b);
	budget_throttled(&b, BUDGET_READ, 0, INT64_C(1) << 50);
	assert_in_range(wait_of(&b, BUDGET_READ, 0), 1, 3600 * USEC_PER_SEC);
	budget_throttled(&b, BUDGET_MUTATE, 0, -5);
	assert_in_range(wait_of(&b, BUDGET_MUTATE, 0), 1, USEC_PER_SEC);
	budget_done(&b);
}

/* The quota of a minute is full: a provider asks for the rest of the minute, and a thousand nodes come back neither before
 * its end nor at once. */
static void test_throttled__next_window_with_jitter__gcp_14(void **state)
{
	enum { NODES = 1000, SLICES = 100, REST_MS = 20000 };
	struct world *w = *state;
	unsigned slices[SLICES] = { 0 };

	w->dice = 88172645463325252U;
	for (unsigned i = 0; i < NODES; i++) {
		struct budget b;
		int64_t wait;

		/* xorshift64: any sequence would do that is the same in each run */
		w->dice ^= w->dice << 13;
		w->dice ^= w->dice >> 7;
		w->dice ^= w->dice << 17;
		budget_start(w, &b);
		budget_throttled(&b, BUDGET_READ, 0, REST_MS);
		wait = wait_of(&b, BUDGET_READ, 0) - REST_MS * USEC_PER_MSEC;
		/* Up to half of what was asked for. */
		assert_in_range(wait, 0, REST_MS / 2 * USEC_PER_MSEC - 1);
		slices[wait * SLICES / (REST_MS / 2 * USEC_PER_MSEC)]++;
		budget_done(&b);
	}
	for (unsigned i = 0; i < SLICES; i++)
		assert_in_range(slices[i], 1, 30); /* 10 on average */
}

/* Sixteen workers who always want more, against a cloud that says yes, and then one that says no for an hour. */
static void test_budget__of_a_node_is_kept__aws_40_11(void **state)
{
	struct budget_ticket tickets[WORKERS];
	struct world *w = *state;
	unsigned calls = 0, refused = 0;
	int64_t now = 0;
	struct budget b;

	budget_start(w, &b);
	for (unsigned i = 0; i < WORKERS; i++)
		tickets[i] = budget_ticket(&b, BUDGET_MUTATE, 0);
	while (now < 7200 * USEC_PER_SEC) {
		unsigned first = 0;

		for (unsigned i = 1; i < WORKERS; i++)
			if (budget_start_us(&b, BUDGET_MUTATE, &tickets[i]) <
			    budget_start_us(&b, BUDGET_MUTATE, &tickets[first]))
				first = i;
		assert_true(budget_start_us(&b, BUDGET_MUTATE, &tickets[first]) >= now);
		now = budget_start_us(&b, BUDGET_MUTATE, &tickets[first]);
		if (now < 3600 * USEC_PER_SEC) {
			calls++;
			budget_ok(&b, BUDGET_MUTATE, now);
			/* Burst and rate, at every time. */
			assert_true((double)calls <= 2 + 2 * (double)now / (double)USEC_PER_SEC + 1);
		} else {
			refused++;
			budget_throttled(&b, BUDGET_MUTATE, now, 0);
		}
		tickets[first] = budget_ticket(&b, BUDGET_MUTATE, now);
	}
	assert_in_range(calls, 7195, 7203);
	/* 0.5/s at the least, and each "no" costs the time of one more call. */
	assert_in_range(refused, 800, 1000);
	budget_done(&b);
}

static void test_take__no_token_before_the_deadline(void **state)
{
	struct world *w = *state;
	struct err err = { 0 };
	int64_t waited = -1;
	struct budget b;

	budget_start(w, &b);
	budget_throttled(&b, BUDGET_READ, 0, 3000);
	assert_int_equal(budget_take(&b, BUDGET_READ, USEC_PER_SEC, &waited, &err), -1);
	assert_int_equal(err.class, ERR_THROTTLED);
	assert_int_equal(err.retry_after_ms, 3000);
	assert_int_equal(waited, 0);
	/* The token was given back. */
	assert_true(b.buckets[BUDGET_READ].tokens >= 0);
	budget_done(&b);
}

static void test_take__waits_for_real(void **state)
{
	struct world *w = *state;
	int64_t waited = 0, sum = 0;
	struct budget b;

	w->clock = clock_boot;
	budget_start(w, &b);
	for (unsigned i = 0; i < 12; i++) {
		assert_int_equal(budget_take(&b, BUDGET_READ, clock_now(&clock_boot) + 9 * USEC_PER_SEC, &waited, NULL),
				 0);
		sum += waited;
	}
	/* Ten at once, two more at 10/s. */
	assert_in_range(sum, 150000, 2000000);
	budget_done(&b);
}

static void test_take__stopped(void **state)
{
	struct world *w = *state;
	struct err err = { 0 };
	int64_t waited;
	struct budget b;

	budget_start(w, &b);
	stop_set(&w->stop);
	budget_throttled(&b, BUDGET_READ, 0, 3000);
	assert_int_equal(budget_take(&b, BUDGET_READ, 60 * USEC_PER_SEC, &waited, &err), -1);
	assert_int_equal(err.class, ERR_RETRY);
	budget_done(&b);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_delay__full_jitter_doubles_up_to_the_cap__aws_40_11),
		T(test_delay__retry_after_is_a_minimum),
		T(test_again__by_class),
		T(test_again__forbidden_is_asked_once__gcp_14),
		T(test_again__attempts_are_bounded),
		T(test_again__not_beyond_the_deadline),
		T(test_again__stopped),
		T(test_stop_wait__woken),
		T(test_stop_wait__times_out),
		T(test_random_kernel__varies),
		T(test_reserve__burst_then_spread_at_the_rate),
		T(test_throttled__slows_down_and_recovers),
		T(test_throttled__one_decrease_for_calls_that_were_under_way),
		T(test_throttled__no_call_of_the_class_before_it_for_all_workers__azure_17),
		T(test_throttled__no_burst_behind_a_pause__azure_17),
		T(test_throttled__nonsense_does_not_stop_us_for_days),
		T(test_throttled__next_window_with_jitter__gcp_14),
		T(test_budget__of_a_node_is_kept__aws_40_11),
		T(test_take__no_token_before_the_deadline),
		T(test_take__waits_for_real),
		T(test_take__stopped),
	};

	return cmocka_run_group_tests_name("retry", tests, check_fds_setup, check_fds_teardown);
}
