/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/ipamd.h"

#include <string.h>

#include "berth/clock.h"

#define BACKOFF_FIRST_US (500 * USEC_PER_MSEC) /* ceiling of the first delay; doubles, full jitter below it */
#define BACKOFF_MAX_US   (60 * USEC_PER_SEC)   /* as amazon-vpc-cni-k8s caps its own */
#define EXHAUSTED_MAX_US                                                                                               \
	(120 * USEC_PER_SEC) /* a full subnet stays so for minutes; its insufficientCidrErrorCooldown */
#define BACKOFF_DOUBLINGS 8

uint64_t ipamd_random(struct ipamd *d, uint64_t bound)
{
	/* xorshift64: spreads retries; nothing secret hangs on it */
	d->random ^= d->random << 13;
	d->random ^= d->random >> 7;
	d->random ^= d->random << 17;
	return d->random % bound;
}

void backoff_fail(struct ipamd *d, struct backoff *backoff, const struct err *err, int64_t now_us)
{
	unsigned doublings = backoff->failures < BACKOFF_DOUBLINGS ? backoff->failures : BACKOFF_DOUBLINGS;
	int64_t max = err->class == ERR_EXHAUSTED ? EXHAUSTED_MAX_US : BACKOFF_MAX_US;
	int64_t ceiling = BACKOFF_FIRST_US << doublings;
	int64_t delay;

	if (ceiling > max)
		ceiling = max;
	/* Behind a Retry-After too: other nodes were told the same. */
	delay = err->retry_after_ms * USEC_PER_MSEC + (int64_t)ipamd_random(d, (uint64_t)ceiling) + 1;
	backoff->failures++;
	backoff->not_before_us = now_us + delay;
	backoff->err = *err;
}

void backoff_ok(struct backoff *backoff)
{
	memset(backoff, 0, sizeof(*backoff));
}
