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
 * At most one mutation in flight per NIC; a stale NIC is left alone.
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
	unsigned waiting;          /* ADDs in the queue */
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
	struct prefix blocks[CLOUD_BLOCKS_MAX]; /* of all RELEASE actions; what does not fit waits for the next decision */
	unsigned wanted, supply;                /* addresses */
	enum fail_reason short_because;         /* supply < wanted and nothing can be done: NIC_LIMIT; else FAIL_NONE */
	int64_t wake_us;                        /* when time alone changes the decision; INT64_MAX = never */
};

/** planner_decide() - see above. */
void planner_decide(const struct plan_input *input, struct plan *ret);

#endif
