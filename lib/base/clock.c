/* SPDX-License-Identifier: Apache-2.0 */
#include "berth/clock.h"

#include <assert.h>
#include <time.h>

#define NSEC_PER_USEC 1000

static int64_t read_us(clockid_t id)
{
	struct timespec ts;

	/* Both clocks exist on every Linux that we run on; it cannot fail with a valid pointer. */
	int rc = clock_gettime(id, &ts);

	assert(rc == 0);
	return (int64_t)ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / NSEC_PER_USEC;
}

static int64_t boot_us(void *ctx)
{
	(void)ctx;
	return read_us(CLOCK_BOOTTIME);
}

static int64_t wall_us(void *ctx)
{
	(void)ctx;
	return read_us(CLOCK_REALTIME);
}

const struct clock clock_boot = { .now_us = boot_us };
const struct clock clock_wall = { .now_us = wall_us };
