/* SPDX-License-Identifier: Apache-2.0 */
#include "budget.h"

#include <string.h>

#include "berth/err.h"
#include "retry.h"

#define DECREASE       0.7  /* beta of the AWS SDKs' adaptive mode */
#define INCREASE_STEPS 40.0 /* good answers from nothing to the full rate */
/* Longest pause that one Retry-After may cause; the longest that any cloud's API documents is an hour. */
#define RETRY_AFTER_MAX_MS (INT64_C(3600) * 1000)
#define WAIT_ROUNDS_MAX    16                 /* a pause that is extended while we wait is followed this often */
#define SPREAD_US          (USEC_PER_SEC / 2) /* after a pause the workers of a node start within this time */

int budget_init(struct budget *budget, const struct budget_limit limits[static BUDGET_CLASS_COUNT],
		const struct clock *clock, const struct random *random, struct stop *stop)
{
	memset(budget, 0, sizeof(*budget));
	budget->clock = clock;
	budget->random = random;
	budget->stop = stop;
	for (unsigned i = 0; i < BUDGET_CLASS_COUNT; i++) {
		budget->buckets[i].limit = limits[i];
		budget->buckets[i].tokens = limits[i].burst;
		budget->buckets[i].rate = limits[i].rate_max;
		budget->buckets[i].filled_us = clock_now(clock);
	}
	return -pthread_mutex_init(&budget->lock, NULL);
}

void budget_done(struct budget *budget)
{
	(void)pthread_mutex_destroy(&budget->lock);
}

static void bucket_fill(struct budget_bucket *bucket, int64_t now_us)
{
	int64_t elapsed = now_us - bucket->filled_us;

	if (elapsed <= 0)
		return;
	bucket->tokens += bucket->rate * (double)elapsed / (double)USEC_PER_SEC;
	if (bucket->tokens > bucket->limit.burst)
		bucket->tokens = bucket->limit.burst;
	bucket->filled_us = now_us;
}

int64_t budget_reserve(struct budget *budget, enum budget_class class, int64_t now_us)
{
	struct budget_bucket *bucket = &budget->buckets[class];
	int64_t wait = 0;

	pthread_mutex_lock(&budget->lock);
	bucket_fill(bucket, now_us);
	bucket->tokens -= 1;
	if (bucket->tokens < 0)
		wait = (int64_t)(-bucket->tokens / bucket->rate * (double)USEC_PER_SEC);
	if (budget->blocked_until_us > now_us + wait)
		wait = budget->blocked_until_us - now_us;
	pthread_mutex_unlock(&budget->lock);
	return wait;
}

void budget_return(struct budget *budget, enum budget_class class)
{
	struct budget_bucket *bucket = &budget->buckets[class];

	pthread_mutex_lock(&budget->lock);
	bucket->tokens += 1;
	if (bucket->tokens > bucket->limit.burst)
		bucket->tokens = bucket->limit.burst;
	pthread_mutex_unlock(&budget->lock);
}

static int64_t blocked_for(struct budget *budget, int64_t now_us)
{
	int64_t wait;

	pthread_mutex_lock(&budget->lock);
	wait = budget->blocked_until_us > now_us ? budget->blocked_until_us - now_us : 0;
	pthread_mutex_unlock(&budget->lock);
	return wait;
}

/* Waits, and again if a Retry-After came meanwhile. */
static int wait_out(struct budget *budget, int64_t wait, int64_t deadline_us, struct err *err)
{
	for (unsigned round = 0; wait > 0; round++) {
		int64_t now = clock_now(budget->clock);

		if (now + wait >= deadline_us || round == WAIT_ROUNDS_MAX) {
			err_set(err, ERR_THROTTLED, "budget", "call budget is empty for %lld ms",
				(long long)(wait / USEC_PER_MSEC));
			if (err)
				err->retry_after_ms = wait / USEC_PER_MSEC;
			return -1;
		}
		if (stop_wait(budget->stop, wait) < 0)
			return err_set(err, ERR_RETRY, "budget", "stopped");
		wait = blocked_for(budget, clock_now(budget->clock));
		if (wait > 0)
			wait += random_below(budget->random, SPREAD_US);
	}
	return 0;
}

int budget_take(struct budget *budget, enum budget_class class, int64_t deadline_us, int64_t *waited_us,
		struct err *err)
{
	int64_t start = clock_now(budget->clock);
	int r = wait_out(budget, budget_reserve(budget, class, start), deadline_us, err);

	*waited_us = clock_now(budget->clock) - start;
	if (r < 0)
		budget_return(budget, class);
	return r;
}

void budget_throttled(struct budget *budget, enum budget_class class, int64_t now_us, int64_t retry_after_ms)
{
	struct budget_bucket *bucket = &budget->buckets[class];
	int64_t asked = retry_after_ms < RETRY_AFTER_MAX_MS ? retry_after_ms : RETRY_AFTER_MAX_MS;

	pthread_mutex_lock(&budget->lock);
	bucket_fill(bucket, now_us);
	if (bucket->tokens > 0)
		bucket->tokens = 0;
	bucket->rate *= DECREASE;
	if (bucket->rate < bucket->limit.rate_min)
		bucket->rate = bucket->limit.rate_min;
	if (asked > 0 && now_us + asked * USEC_PER_MSEC > budget->blocked_until_us)
		budget->blocked_until_us = now_us + asked * USEC_PER_MSEC;
	pthread_mutex_unlock(&budget->lock);
}

void budget_ok(struct budget *budget, enum budget_class class, int64_t now_us)
{
	struct budget_bucket *bucket = &budget->buckets[class];

	pthread_mutex_lock(&budget->lock);
	bucket_fill(bucket, now_us);
	bucket->rate += bucket->limit.rate_max / INCREASE_STEPS;
	if (bucket->rate > bucket->limit.rate_max)
		bucket->rate = bucket->limit.rate_max;
	pthread_mutex_unlock(&budget->lock);
}
