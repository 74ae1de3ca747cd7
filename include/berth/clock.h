/* SPDX-License-Identifier: Apache-2.0 */
/* Time as an argument. All times are int64_t microseconds; which clock is said where a value is stored. */
#ifndef BERTH_CLOCK_H
#define BERTH_CLOCK_H

#include <stdint.h>

#define USEC_PER_MSEC INT64_C(1000)
#define USEC_PER_SEC  INT64_C(1000000)

/** struct clock - where a unit gets the time from; tests and the simulator inject their own. */
struct clock {
	int64_t (*now_us)(void *ctx);
	void *ctx;
};

/** clock_now() - µs of that clock. */
static inline int64_t clock_now(const struct clock *clock)
{
	return clock->now_us(clock->ctx);
}

/** clock_earlier() - the smaller of two times; INT64_MAX is "never". */
static inline int64_t clock_earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/** clock_boot - CLOCK_BOOTTIME: goes on during suspend, starts at 0 at boot; what all deadlines and the store use. */
extern const struct clock clock_boot;
/** clock_wall - CLOCK_REALTIME, µs since 1970; only for signatures, certificates and what people read. */
extern const struct clock clock_wall;

#endif
