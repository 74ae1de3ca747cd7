/* SPDX-License-Identifier: Apache-2.0 */
#include "retry.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define NSEC_PER_SEC  INT64_C(1000000000)
#define NSEC_PER_USEC INT64_C(1000)
#define SHIFT_MAX     20U                            /* doublings: 1 s * 2^20 is far above every cap */
#define WAIT_MAX_US   (INT64_C(3600) * USEC_PER_SEC) /* of one wait: no delay of ours is longer, and sums stay small */

static uint64_t kernel_next(_unused_ void *ctx)
{
	uint64_t value = 0;

	/* Cannot fail for so few bytes after boot; early in boot a zero means no jitter, which is harmless. */
	if (getrandom(&value, sizeof(value), 0) != (ssize_t)sizeof(value))
		return 0;
	return value;
}

const struct random random_kernel = { .next = kernel_next };

int64_t random_below(const struct random *random, int64_t bound)
{
	return bound <= 0 ? 0 : (int64_t)(random->next(random->ctx) % (uint64_t)bound);
}

int stop_init(struct stop *stop)
{
	pthread_condattr_t attr;
	int r;

	stop->stopped = false;
	r = pthread_mutex_init(&stop->lock, NULL);
	if (r != 0)
		return -r;
	r = pthread_condattr_init(&attr);
	if (r == 0) {
		(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
		r = pthread_cond_init(&stop->cond, &attr);
		(void)pthread_condattr_destroy(&attr);
	}
	if (r != 0)
		(void)pthread_mutex_destroy(&stop->lock);
	return -r;
}

void stop_done(struct stop *stop)
{
	(void)pthread_cond_destroy(&stop->cond);
	(void)pthread_mutex_destroy(&stop->lock);
}

void stop_set(struct stop *stop)
{
	pthread_mutex_lock(&stop->lock);
	stop->stopped = true;
	pthread_cond_broadcast(&stop->cond);
	pthread_mutex_unlock(&stop->lock);
}

bool stop_is_set(struct stop *stop)
{
	bool stopped;

	pthread_mutex_lock(&stop->lock);
	stopped = stop->stopped;
	pthread_mutex_unlock(&stop->lock);
	return stopped;
}

/* A condition variable cannot wait on the boot clock; a suspend lengthens a wait, which is harmless. */
static struct timespec monotonic_after(int64_t delay_us)
{
	struct timespec ts = { 0 };
	int64_t nsec;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	nsec = ts.tv_nsec + (delay_us % USEC_PER_SEC) * NSEC_PER_USEC;
	ts.tv_sec += (time_t)(delay_us / USEC_PER_SEC + nsec / NSEC_PER_SEC);
	ts.tv_nsec = (long)(nsec % NSEC_PER_SEC);
	return ts;
}

int stop_wait(struct stop *stop, int64_t delay_us)
{
	struct timespec until;
	int r = 0;

	if (delay_us < 0)
		delay_us = 0;
	until = monotonic_after(delay_us < WAIT_MAX_US ? delay_us : WAIT_MAX_US);
	pthread_mutex_lock(&stop->lock);
	while (!stop->stopped && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&stop->cond, &stop->lock, &until);
	r = stop->stopped ? -ECANCELED : 0;
	pthread_mutex_unlock(&stop->lock);
	return r;
}

int64_t retry_delay(const struct retry_policy *policy, unsigned attempt, enum err_class class, int64_t retry_after_ms,
		    const struct random *random)
{
	int64_t base = class == ERR_THROTTLED ? policy->throttled_us : policy->transient_us;
	int64_t limit = base << (attempt < SHIFT_MAX ? attempt : SHIFT_MAX);
	int64_t asked = retry_after_ms > 0 ? retry_after_ms * USEC_PER_MSEC : 0;

	if (limit > policy->cap_us)
		limit = policy->cap_us;
	return asked + random_below(random, limit);
}

bool retry_again(struct retry *retry, const struct err *err)
{
	int64_t delay;

	if (err->class != ERR_RETRY && err->class != ERR_THROTTLED)
		return false;
	if (++retry->attempts >= retry->policy->attempts_max)
		return false;
	delay = retry_delay(retry->policy, retry->attempts - 1, err->class, err->retry_after_ms, retry->random);
	if (clock_now(retry->clock) + delay >= retry->deadline_us)
		return false;
	return stop_wait(retry->stop, delay) == 0;
}
