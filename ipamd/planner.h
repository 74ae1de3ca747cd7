/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the planner: what to do next
 *
 * One decision from what the pool holds, who waits and what is allowed, to actions that would reach the target at once.
 * Pure. Deciding twice without a change decides the same; deciding after the cloud obeyed decides nothing, but for what
 * one NIC cannot do in one mutation.
 *
 * For each family that the pool serves:
 *
 *   wanted = min(max(leased + waiting + warm, min), max pods), in units, clamped by NICs and limits
 *   supply = free + leased + pending + incoming            (COOLING is neither warm nor supply)
 *   supply < wanted: take DRAINING blocks back, buy back LOST ones, fill NICs that are ours and have room, least slot
 *                    first; then attach, with first units in the call; where no NIC has room for a unit, an idle block
 *                    that is smaller makes it
 *   supply > wanted: blocks idle for release_delay go, those that are not of the wanted length first, then from the
 *                    highest slot down; a NIC that is idle as a whole, and whose blocks are all surplus, is detached
 *                    instead of being emptied; where a surplus of a whole block is left that idle blocks do not cover,
 *                    the blocks with the fewest leases are drained
 *
 * warm is warm_ips, or what warm_blocks units or warm_nics whole NICs come to, whichever is most. With warm_auto, warm_ips
 * is nobody's order: what rounding up to units would leave unused beyond max(8, one unit) is not bought, and goes back.
 *
 * At most one mutation in flight per NIC; a stale NIC is left alone. Room on a NIC that is busy, stale or being attached
 * is waited for rather than bought a second time on a new NIC. RECOVER goes before ASSIGN: LOST blocks that pods use are
 * asked back by name, whatever the supply.
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
 * To drain costs no call and is taken back before anything is bought, so it needs no proof: that a block has drained and
 * was not missed for release_delay is the proof. What its pods hold is surplus no more, for they may come back as others:
 *
 *   drained <= surplus - leased in DRAINING blocks
 *
 * A secondary NIC without blocks is idle as a whole too, release_delay after it became what it is.
 *
 * Ranges (an IPv6 /80): supply is no question then. Each NIC of ours that pods can get an IPv4 address from has one; of a
 * pool without IPv4 the primary, or where no pod gets its addresses the lowest other.
 *
 * No unit of the wanted length to be had (fragmentation): until single_until_us units of single_len are bought instead.
 *
 * A closed NIC, and with primary_unused the primary one: their blocks are no supply. They are drained at once, even where
 * shrinking is held back: that gives nothing away and keeps pods from a NIC that is not theirs. A closed NIC that is idle as
 * a whole is detached, and it takes its place among those that the instance allows until then.
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
	unsigned warm_blocks; /* wholly free units, or as many free addresses */
	unsigned warm_nics;   /* free addresses of so many full NICs */
	unsigned max_nics;    /* ours; 0: the instance's */
	unsigned max_pods;
	bool warm_auto;      /* warm_ips is what demand suggests: unused stays within max(8, one unit) */
	bool primary_unused; /* no pod gets an address of the primary NIC (custom networking) */
	int64_t release_delay_us;
};

struct plan_input {
	const struct pool *pool;
	struct cloud_limits limits;
	struct plan_targets targets;
	unsigned waiting; /* ADDs in the queue */
	int64_t now_us;
	int64_t grow_not_before_us;    /* back-off after EXHAUSTED, THROTTLED, AUTH, or paused: no ASSIGN, ATTACH,
					       * RECOVER before; INT64_MAX = paused */
	int64_t shrink_not_before_us;  /* the same for RELEASE and DETACH, DRAIN too */
	int64_t recover_not_before_us; /* the same for RECOVER alone */
	int64_t single_until_us[IP_FAMILIES]; /* units of single_len until then; 0 = the wanted length */
};

enum plan_kind {
	PLAN_ASSIGN,
	PLAN_ATTACH,
	PLAN_RECOVER, /* LOST blocks with pods, asked back by name */
	PLAN_RELEASE,
	PLAN_DETACH,
	PLAN_DRAIN,   /* no cloud call: nothing new is leased from the block */
	PLAN_UNDRAIN, /* no cloud call: it is again */
	PLAN_KIND_COUNT
};

/* One mutation per NIC and one attach per free slot; one DRAIN per NIC beside them, one UNDRAIN of each family. */
#define PLAN_ACTIONS_MAX (4 * CLOUD_NICS_MAX)

struct plan_action {
	enum plan_kind kind;
	unsigned slot;                        /* of the NIC; ATTACH: the free one to use */
	struct cloud_want wants[IP_FAMILIES]; /* ASSIGN, ATTACH: by ip_index() */
	unsigned first_block, block_count;    /* RECOVER, RELEASE, DRAIN, UNDRAIN: of plan.blocks */
};

struct plan {
	unsigned action_count;
	struct plan_action actions[PLAN_ACTIONS_MAX];
	unsigned block_count;
	struct prefix blocks[CLOUD_BLOCKS_MAX]; /* of all actions; what does not fit waits for the next decision */
	unsigned wanted[IP_FAMILIES], supply[IP_FAMILIES]; /* addresses, by ip_index(); 0 of a family not served */
	enum fail_reason short_because; /* supply < wanted and nothing can be done about (the rest of) it: NIC_LIMIT,
					 * or COOLING when max pods are owned and some rest; else FAIL_NONE */
	int64_t wake_us;                /* when time alone changes the decision; INT64_MAX = never */
};

/** plan_kind_name() - "assign", "attach", ...; also what an intent of the store is called. */
const char *plan_kind_name(enum plan_kind kind);
/** planner_decide() - all of @ret is written. */
void planner_decide(const struct plan_input *input, struct plan *ret);

#endif
