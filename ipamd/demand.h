/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: how much to keep warm when nobody said (warmIPs "auto")
 *
 * Enough for what arrived, at the worst recent moment, during one provisioning latency as measured on this node. Pure.
 *
 * Arrivals are counted per second over the last DEMAND_HORIZON_S seconds; the worst moment is the largest sum of as many
 * seconds in a row as the latency can touch. The latency is the worst of the last DEMAND_SAMPLES growths, from the
 * decision to the first address that can be leased; DEMAND_LATENCY_FIRST_US until one was seen. The result is at least 1
 * and at most max(8, one unit): more than that is the business of those who wait, whom the planner serves whole.
 *
 * Time that goes back counts as the latest time seen.
 */
#ifndef IPAMD_DEMAND_H
#define IPAMD_DEMAND_H

#include <stdint.h>

#include "berth/clock.h"

#define DEMAND_HORIZON_S        1800U /* a rollout or a cron burst of the last half hour is recent */
#define DEMAND_SAMPLES          8U
#define DEMAND_LATENCY_FIRST_US (10 * USEC_PER_SEC) /* EC2: "up to 10 seconds" for a NIC; GCE alias ranges: 6-10 s */
#define DEMAND_WARM_MIN         1U
#define DEMAND_WARM_MAX         8U /* or one unit, where that is larger: unused addresses are taken from others */

struct demand {
	uint16_t arrivals[DEMAND_HORIZON_S]; /* a ring: second s is at s % DEMAND_HORIZON_S; stops at UINT16_MAX */
	int64_t second;                      /* the latest one that the ring knows */
	int64_t took_us[DEMAND_SAMPLES];     /* a ring of the last growths */
	unsigned took_count;                 /* of all growths; took_us has the last of them */
};

/** demand_init() - nothing arrived yet. */
void demand_init(struct demand *demand, int64_t now_us);
/** demand_arrived() - an ADD that needs a new address came in. */
void demand_arrived(struct demand *demand, int64_t now_us);
/** demand_provisioned() - a growth took that long until its addresses could be leased; less than 0 counts as 0. */
void demand_provisioned(struct demand *demand, int64_t took_us);
/** demand_warm() - addresses to keep free. @unit_size: addresses of one unit. @ret_wake_us: when time alone lowers it,
 *  INT64_MAX = never; may be NULL. */
unsigned demand_warm(struct demand *demand, int64_t now_us, unsigned unit_size, int64_t *ret_wake_us);

#endif
