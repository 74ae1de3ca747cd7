/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting that can be stopped, and how long to wait before a call is made again. */
#ifndef BERTH_CLOUD_RETRY_H
#define BERTH_CLOUD_RETRY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"

/** struct random - where jitter comes from; tests and the simulator inject their own. */
struct random {
	uint64_t (*next)(void *ctx);
	void *ctx;
};

/** random_kernel - getrandom(2); for jitter and tokens. Context: any thread. */
extern const struct random random_kernel;

/** random_below() - uniform enough for jitter in [0, @bound); 0 when @bound is not positive. */
int64_t random_below(const struct random *random, int64_t bound);

/** struct stop - a flag that ends every wait of a provider at once. */
struct stop {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool stopped;
};

/** stop_init() - Return: 0 or -errno. */
_must_check_ int stop_init(struct stop *stop);
void stop_done(struct stop *stop);
/** stop_set() - wakes every waiter; cannot be taken back. Context: any thread. */
void stop_set(struct stop *stop);
bool stop_is_set(struct stop *stop);
/** stop_wait() - wait @delay_us or until stopped. Return: 0 or -ECANCELED. Context: any thread. */
_must_check_ int stop_wait(struct stop *stop, int64_t delay_us);

/** struct retry_policy - how often and how long; full jitter: a delay is uniform in [0, min(cap, base * 2^n)). */
struct retry_policy {
	unsigned attempts_max; /* calls in all, the first included */
	int64_t transient_us;  /* base after ERR_RETRY */
	int64_t throttled_us;  /* base after ERR_THROTTLED */
	int64_t cap_us;
};

/** struct retry - one call and its repetitions; embedded in the caller's frame; zero attempts at first. */
struct retry {
	const struct retry_policy *policy;
	const struct random *random;
	const struct clock *clock; /* of @deadline_us */
	struct stop *stop;
	int64_t deadline_us;
	unsigned attempts; /* failed so far */
};

/**
 * retry_delay() - how long to wait after failure number @attempt (from 0)
 * @retry_after_ms: what the other side asked for; 0 = nothing. The delay is never shorter; jitter is added to it.
 * Return: µs.
 */
int64_t retry_delay(const struct retry_policy *policy, unsigned attempt, enum err_class class, int64_t retry_after_ms,
		    const struct random *random);

/**
 * retry_again() - may the call be made again? Waits first.
 * @err: why it failed; only RETRY and THROTTLED are worth another attempt
 * Return: true after the wait; false when the class, the attempts, the deadline or a stop forbid it.
 */
bool retry_again(struct retry *retry, const struct err *err);

#endif
