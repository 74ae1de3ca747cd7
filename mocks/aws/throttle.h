/* SPDX-License-Identifier: Apache-2.0 */
/* One token bucket per action, as EC2 keeps them per account and Region. */
#ifndef MOCKS_AWS_THROTTLE_H
#define MOCKS_AWS_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#define THROTTLE_ACTIONS_MAX 64 /* more than the mock has actions */

/** struct throttle_rate - how many calls at once, and how many more each second. */
struct throttle_rate {
	unsigned burst;
	unsigned per_s;
};

struct throttle_bucket {
	char action[64];
	struct throttle_rate rate;
	bool fixed;        /* the seed said so: the class of a call does not matter */
	int64_t tokens_us; /* tokens, each worth USEC_PER_SEC, so that a slow refill is exact */
	int64_t filled_us; /* when tokens_us was true */
};

struct throttle {
	bool enabled;
	struct throttle_bucket buckets[THROTTLE_ACTIONS_MAX];
	unsigned count;
};

/** throttle_set() - fix the rate of @action. Return: 0 or -ENOSPC. */
int throttle_set(struct throttle *throttle, const char *action, struct throttle_rate rate);
/** throttle_take() - one call of @action now, of that class unless the rate is fixed. Return: may it go on? */
bool throttle_take(struct throttle *throttle, const char *action, struct throttle_rate rate, int64_t now_us);
/** throttle_drain() - empty the bucket of @action, of all for "*". */
void throttle_drain(struct throttle *throttle, const char *action, int64_t now_us);

#endif
