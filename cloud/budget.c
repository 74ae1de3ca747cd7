/* SPDX-License-Identifier: Apache-2.0 */
#include "budget.h"

#include <string.h>

#include "berth/err.h"
#include "retry.h"

#define DECREASE          0.7          /* beta of the AWS SDKs' adaptive mode */
#define DECREASE_EVERY_US USEC_PER_SEC /* one call's time with its tail: later answers are of slower calls */
#define INCREASE_STEPS    40.0         /* good answers from nothing to the full rate */
/* Longest pause that one Retry-After may cause; the longest that any cloud's API documents is an hour. */
#define RETRY_AFTER_MAX_MS (INT64_C(3600) * 1000)
#define WAIT_ROUNDS_MAX    16 /* a pause that is extended while we wait is followed this often */
/* Jitter on top of a Retry-After: half of it, but not less than what separates calls anyway, nor more than a pod's start
 * can bear. */
#define JITTER_MIN_US (USEC_PER_SEC / 2)
#define JITTER_MAX_US (15 * USEC_PER_SEC)

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

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* µs that the refill takes for so many tokens. */
static int64_t refill_us(const struct budget_bucket *bucket, double tokens)
{
	return (int64_t)(tokens / bucket->rate * (double)USEC_PER_SEC);
}

struct budget_ticket budget_ticket(struct budget *budget, enum budget_class class, int64_t now_us)
{
	struct budget_bucket *bucket = &budget->buckets[class];
	struct budget_ticket ticket;

	pthread_mutex_lock(&budget->lock);
	bucket_fill(bucket, now_us);
	bucket->tokens -= 1;
	ticket.start_us = later(now_us, bucket->blocked_until_us);
	ticket.shift_us = bucket->shift_us;
	if (bucket->tokens < 0)
		ticket.start_us += refill_us(bucket, -bucket->tokens);
	pthread_mutex_unlock(&budget->lock);
	return ticket;
}

int64_t budget_reserve(struct budget *budget, enum budget_class class, int64_t now_us)
{
	return budget_ticket(budget, class, now_us).start_us - now_us;
}

int64_t budget_start_us(struct budget *budget, enum budget_class class, const struct budget_ticket *ticket)
{
	int64_t start;

	pthread_mutex_lock(&budget->lock);
	start = ticket->start_us + budget->buckets[class].shift_us - ticket->shift_us;
	pthread_mutex_unlock(&budget->lock);
	return start;
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

static int no_token(int64_t wait_us, struct err *err)
{
	err_set(err, ERR_THROTTLED, "budget", "call budget is empty for %lld ms", (long long)(wait_us / USEC_PER_MSEC));
	if (err)
		err->retry_after_ms = wait_us / USEC_PER_MSEC;
	return -1;
}

/* Waits, and again if a pause came meanwhile. */
static int wait_out(struct budget *budget, enum budget_class class, const struct budget_ticket *ticket,
		    int64_t deadline_us, struct err *err)
{
	for (unsigned round = 0;; round++) {
		int64_t start = budget_start_us(budget, class, ticket), now = clock_now(budget->clock);

		if (start <= now)
			return 0;
		if (start >= deadline_us || round == WAIT_ROUNDS_MAX)
			return no_token(start - now, err);
		if (stop_wait(budget->stop, start - now) < 0)
			return err_set(err, ERR_RETRY, "budget", "stopped");
	}
}

int budget_take(struct budget *budget, enum budget_class class, int64_t deadline_us, int64_t *waited_us,
		struct err *err)
{
	int64_t begun = clock_now(budget->clock);
	const struct budget_ticket ticket = budget_ticket(budget, class, begun);
	int r = wait_out(budget, class, &ticket, deadline_us, err);

	*waited_us = clock_now(budget->clock) - begun;
	if (r < 0)
		budget_return(budget, class);
	return r;
}

static void decrease(struct budget_bucket *bucket, int64_t now_us)
{
	if (bucket->was_decreased && now_us - bucket->decreased_us < DECREASE_EVERY_US)
		return;
	bucket->was_decreased = true;
	bucket->decreased_us = now_us;
	bucket->rate *= DECREASE;
	if (bucket->rate < bucket->limit.rate_min)
		bucket->rate = bucket->limit.rate_min;
}

/* Halt the class until then; one call is free to start at that time, the others follow at the rate. */
static void halt(struct budget_bucket *bucket, int64_t now_us, int64_t until_us)
{
	int64_t from = later(now_us, bucket->blocked_until_us);

	if (bucket->tokens > 1)
		bucket->tokens = 1;
	if (until_us <= from)
		return;
	bucket->shift_us += until_us - from;
	bucket->blocked_until_us = bucket->filled_us = until_us;
}

static int64_t asked_us(const struct budget *budget, int64_t retry_after_ms)
{
	int64_t asked = (retry_after_ms < RETRY_AFTER_MAX_MS ? retry_after_ms : RETRY_AFTER_MAX_MS) * USEC_PER_MSEC;
	int64_t spread = later(asked / 2, JITTER_MIN_US);

	if (asked <= 0)
		return 0;
	return asked + random_below(budget->random, spread < JITTER_MAX_US ? spread : JITTER_MAX_US);
}

void budget_throttled(struct budget *budget, enum budget_class class, int64_t now_us, int64_t retry_after_ms)
{
	struct budget_bucket *bucket = &budget->buckets[class];
	int64_t pause = asked_us(budget, retry_after_ms);

	pthread_mutex_lock(&budget->lock);
	bucket_fill(bucket, now_us);
	decrease(bucket, now_us);
	halt(bucket, now_us, now_us + (pause ? pause : refill_us(bucket, 1)));
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
