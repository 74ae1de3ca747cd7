/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the planner: what to do next
 *
 * One decision from what the pool holds, who waits and what is allowed, to actions that would reach the target at once.
 * Pure. Deciding twice without a change decides the same; deciding after the cloud obeyed decides nothing.
 *
 *   wanted = min(max(leased + waiting + warm, min), max pods), in units, clamped by NICs and limits
 *   supply = free + leased + pending + incoming            (COOLING is neither warm nor supply)
 *   supply < wanted: fill NICs that are ours and have room, least slot first; then attach, with first units in the call
 *   supply > wanted: blocks idle for release_delay go, from the highest slot down; a NIC that is idle as a whole, and
 *                    whose blocks are all surplus, is detached instead of being emptied
 *
 * At most one mutation in flight per NIC; a stale NIC is left alone. Room on a NIC that is busy, stale or being attached
 * is waited for rather than bought a second time on a new NIC.
 *
 * Growth counts what rests: the node never owns more than max pods, rounded up to a unit. Foreign and lost NICs count
 * against what the instance allows; max_nics caps ours. An empty pool is a node that is not known yet: nothing is planned.
 *
 * A surplus goes back when it has lasted: addresses whose block changed within release_delay do not count as proof. Else
 * each pod that comes once a minute would cost a purchase when it comes and a return when it has gone.
 *
 *   surplus = supply - wanted;  proven = addresses that were free all through release_delay - (wanted - leased)
 *   released or detached <= min(surplus, proven)
 *
 * A secondary NIC without blocks is idle as a whole too, release_delay after it became what it is.
 */
#ifndef IPAMD_PLANNER_H
#define IPAMD_PLANNER_H

#include <stdbool.h>
#include <stdint.h>

#include "berth/cloud.h"
#include "berth/proto.h"

struct pool;

struct plan_targets {
	unsigned warm_ips, min_ips;
	unsigned max_nics; /* 0: the instance's */
	unsigned max_pods;
	int64_t release_delay_us;
};

struct plan_input {
	const struct pool *pool;
	struct cloud_limits limits;
	struct plan_targets targets;
	unsigned waiting; /* ADDs in the queue */
	int64_t now_us;
	int64_t grow_not_before_us;   /* back-off after EXHAUSTED, THROTTLED, AUTH: no ASSIGN or ATTACH before */
	int64_t shrink_not_before_us; /* the same for RELEASE and DETACH; INT64_MAX = paused */
};

enum plan_kind { PLAN_ASSIGN, PLAN_ATTACH, PLAN_RELEASE, PLAN_DETACH, PLAN_KIND_COUNT };

#define PLAN_ACTIONS_MAX (2 * CLOUD_NICS_MAX) /* one mutation per NIC and one attach per free slot */

struct plan_action {
	enum plan_kind kind;
	unsigned slot;        /* of the NIC; ATTACH: the free one to use */
	unsigned count;       /* ASSIGN, ATTACH: units; RELEASE: blocks */
	unsigned first_block; /* RELEASE: index into plan.blocks */
};

struct plan {
	unsigned action_count;
	struct plan_action actions[PLAN_ACTIONS_MAX];
	unsigned block_count;
	struct prefix
		blocks[CLOUD_BLOCKS_MAX]; /* of all RELEASE actions; what does not fit waits for the next decision */
	unsigned wanted, supply;          /* addresses */
	enum fail_reason short_because;   /* supply < wanted and nothing can be done about (the rest of) it: NIC_LIMIT,
						 * or COOLING when max pods are owned and some rest; else FAIL_NONE */
	int64_t wake_us;                  /* when time alone changes the decision; INT64_MAX = never */
};

/** planner_decide() - all of @ret is written. */
void planner_decide(const struct plan_input *input, struct plan *ret);

#endif
