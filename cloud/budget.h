/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the call budget of one provider
 *
 * One token bucket per class of call. A caller reserves a token and waits until its token is there; tokens may be owed,
 * so that many waiting callers are spread at the refill rate instead of all waking at once. A THROTTLED answer
 * multiplies the refill rate by 0.7 and empties the bucket (multiplicative decrease); every answer that is not
 * throttled adds a little back (additive increase) up to the configured rate. A Retry-After stops all calls of both
 * classes until then, whichever worker it was told to.
 *
 *   rate  max ─────╮        ╭──── additive: max/40 per good answer
 *                  ╰──╮ ╭───╯
 *             min     ╰─╯         multiplicative: x 0.7 per THROTTLED
 */
#ifndef BERTH_CLOUD_BUDGET_H
#define BERTH_CLOUD_BUDGET_H

#include <pthread.h>
#include <stdint.h>

#include "berth/attr.h"
#include "berth/clock.h"

struct err;
struct random;
struct stop;

enum budget_class {
	BUDGET_READ,   /* describe, get, list */
	BUDGET_MUTATE, /* everything that changes something */
	BUDGET_CLASS_COUNT
};

/** struct budget_limit - of one class. */
struct budget_limit {
	double burst;    /* tokens of a full bucket */
	double rate_max; /* tokens per second, when the cloud does not complain */
	double rate_min; /* never slower: something must get through to learn that the cloud recovered */
};

struct budget_bucket {
	struct budget_limit limit;
	double tokens; /* negative: owed to callers that wait */
	double rate;
	int64_t filled_us; /* boot clock; when tokens was last brought up to date */
};

struct budget {
	/* A lock is allowed here: the budget is shared by the executor threads of one provider by nature, it is held
	 * for some arithmetic only, and nothing is called while it is held. */
	pthread_mutex_t lock;
	const struct clock *clock;
	const struct random *random;
	struct stop *stop;
	struct budget_bucket buckets[BUDGET_CLASS_COUNT];
	int64_t blocked_until_us; /* Retry-After; 0 = none */
};

/** budget_init() - full buckets. @clock (boot), @random and @stop are borrowed. Return: 0 or -errno. */
_must_check_ int budget_init(struct budget *budget, const struct budget_limit limits[static BUDGET_CLASS_COUNT],
			     const struct clock *clock, const struct random *random, struct stop *stop);
void budget_done(struct budget *budget);

/**
 * budget_reserve() - take one token, owed if need be. Context: any thread, never waits.
 * Return: µs from @now_us until the call may be made; 0 = now.
 */
int64_t budget_reserve(struct budget *budget, enum budget_class class, int64_t now_us);
/** budget_return() - give a token back that was reserved and not used. */
void budget_return(struct budget *budget, enum budget_class class);

/**
 * budget_take() - reserve and wait
 * @deadline_us: boot clock
 * @waited_us: set on success and on failure: how long this call waited
 * Errors: THROTTLED (no token before the deadline), RETRY (stopped).
 */
_must_check_ int budget_take(struct budget *budget, enum budget_class class, int64_t deadline_us, int64_t *waited_us,
			     struct err *err);

/** budget_throttled() - the cloud said "too fast"; @retry_after_ms: for how long, 0 = it did not say. */
void budget_throttled(struct budget *budget, enum budget_class class, int64_t now_us, int64_t retry_after_ms);
/** budget_ok() - the cloud answered, with whatever but a throttle. */
void budget_ok(struct budget *budget, enum budget_class class, int64_t now_us);

#endif
