/* SPDX-License-Identifier: Apache-2.0 */
#include "throttle.h"

#include <errno.h>
#include <stddef.h>

#include "berth/clock.h"
#include "berth/str.h"

static struct throttle_bucket *find(struct throttle *throttle, const char *action)
{
	for (unsigned i = 0; i < throttle->count; i++)
		if (str_equal(throttle->buckets[i].action, action))
			return &throttle->buckets[i];
	return NULL;
}

static struct throttle_bucket *get(struct throttle *throttle, const char *action, struct throttle_rate rate,
				   int64_t now_us)
{
	struct throttle_bucket *bucket = find(throttle, action);

	if (bucket || throttle->count == THROTTLE_ACTIONS_MAX)
		return bucket;
	bucket = &throttle->buckets[throttle->count++];
	*bucket = (struct throttle_bucket){ .rate = rate, .tokens_us = rate.burst * USEC_PER_SEC, .filled_us = now_us };
	(void)str_copy(bucket->action, sizeof(bucket->action), action);
	return bucket;
}

int throttle_set(struct throttle *throttle, const char *action, struct throttle_rate rate)
{
	struct throttle_bucket *bucket = get(throttle, action, rate, 0);

	if (!bucket)
		return -ENOSPC;
	bucket->rate = rate;
	bucket->fixed = true;
	bucket->tokens_us = rate.burst * USEC_PER_SEC;
	return 0;
}

static void refill(struct throttle_bucket *bucket, int64_t now_us)
{
	int64_t full_us = bucket->rate.burst * USEC_PER_SEC, missing_us = full_us - bucket->tokens_us;
	int64_t passed_us = now_us - bucket->filled_us;

	bucket->filled_us = now_us;
	if (!bucket->rate.per_s || passed_us <= 0)
		return;
	if (passed_us >= missing_us / bucket->rate.per_s + 1)
		bucket->tokens_us = full_us;
	else
		bucket->tokens_us += passed_us * bucket->rate.per_s;
}

bool throttle_take(struct throttle *throttle, const char *action, struct throttle_rate rate, int64_t now_us)
{
	struct throttle_bucket *bucket;

	if (!throttle->enabled)
		return true;
	bucket = get(throttle, action, rate, now_us);
	if (!bucket)
		return true;
	if (!bucket->fixed)
		bucket->rate = rate;
	refill(bucket, now_us);
	if (bucket->tokens_us < USEC_PER_SEC)
		return false;
	bucket->tokens_us -= USEC_PER_SEC;
	return true;
}

void throttle_drain(struct throttle *throttle, const char *action, int64_t now_us)
{
	const struct throttle_rate unknown = { .burst = 50, .per_s = 5 }; /* replaced by the next call's class */

	if (!str_equal(action, "*"))
		(void)get(throttle, action, unknown, now_us);
	for (unsigned i = 0; i < throttle->count; i++)
		if (str_equal(action, "*") || str_equal(throttle->buckets[i].action, action)) {
			throttle->buckets[i].tokens_us = 0;
			throttle->buckets[i].filled_us = now_us;
		}
}
