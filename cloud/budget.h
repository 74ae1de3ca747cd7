/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the call budget of one provider
 *
 * One token bucket per class of call, shared by every worker of the provider. A caller reserves a token and gets the time
 * at which it may start; tokens may be owed, so that waiting callers are spread at the refill rate instead of all waking
 * at once.
 *
 *   rate  max ─────╮        ╭──── additive increase: max/40 per good answer
 *                  ╰──╮ ╭───╯
 *             min     ╰─╯         multiplicative decrease: x 0.7 per THROTTLED, once a second at most
 *
 * A throttle answer halts its class for everybody: for as long as it says (Retry-After) and some jitter on top, since
 * the nodes of a fleet were told the same, or for the time of one call where it says nothing. Nothing is refilled
 * meanwhile. Who waits already keeps its place: all starts of the class move by the same time, so that a pause is
 * followed by calls at the refill rate and not by a burst.
 *
 *   starts     |  |  |  |            reserved
 *   throttled   ^
 *   starts      '--pause--'|  |  |   the same, later
 *
 * The decrease is once a second, because the calls of 16 workers that meet one full bucket of the cloud are one piece of
 * news and not sixteen. The other class goes on: clouds count reads and changes apart (docs/cloud-calls.md).
 */
#ifndef BERTH_CLOUD_BUDGET_H
#define BERTH_CLOUD_BUDGET_H

#include <pthread.h>
#include <stdbool.h>
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
	int64_t filled_us;        /* boot clock; when tokens was last brought up to date; the end of a pause */
	int64_t blocked_until_us; /* end of the last pause; 0 = there was none */
	int64_t shift_us;         /* by how much pauses have put off starts, in all */
	int64_t decreased_us;     /* when rate was last decreased */
	bool was_decreased;
};

/** struct budget_ticket - a reserved start. */
struct budget_ticket {
	int64_t start_us; /* as it was when it was reserved */
	int64_t shift_us; /* of the bucket at that time */
};

struct budget {
	/* A lock is allowed here: the budget is shared by the executor threads of one provider by nature, it is held
	 * for some arithmetic only, and nothing is called while it is held. */
	pthread_mutex_t lock;
	const struct clock *clock;
	const struct random *random;
	struct stop *stop;
	struct budget_bucket buckets[BUDGET_CLASS_COUNT];
};

/** budget_init() - full buckets. @clock (boot), @random and @stop are borrowed. Return: 0 or -errno. */
_must_check_ int budget_init(struct budget *budget, const struct budget_limit limits[static BUDGET_CLASS_COUNT],
			     const struct clock *clock, const struct random *random, struct stop *stop);
void budget_done(struct budget *budget);

/** budget_ticket() - take one token, owed if need be. Context: any thread, never waits. */
struct budget_ticket budget_ticket(struct budget *budget, enum budget_class class, int64_t now_us);
/** budget_reserve() - the same for one who does not follow later pauses. Return: µs from @now_us until the start. */
int64_t budget_reserve(struct budget *budget, enum budget_class class, int64_t now_us);
/** budget_start_us() - when the holder of that ticket may start, by all that is known now; later pauses move it. */
int64_t budget_start_us(struct budget *budget, enum budget_class class, const struct budget_ticket *ticket);
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

/** budget_throttled() - the cloud said "too fast" to a call of that class; @retry_after_ms: for how long it wants none,
 *  0 = it did not say. */
void budget_throttled(struct budget *budget, enum budget_class class, int64_t now_us, int64_t retry_after_ms);
/** budget_ok() - the cloud answered, with whatever but a throttle. */
void budget_ok(struct budget *budget, enum budget_class class, int64_t now_us);

#endif
