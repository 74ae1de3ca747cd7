/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: a world to run the daemon in
 *
 * A world is one node under a virtual clock: the daemon's own objects (turns, pool, planner, cloud work, lists, requests,
 * host work, store with its SQLite), and models of what they talk to. The doors are replaced when the program is linked:
 * executor.h, hostnet.h, server.h, berth/net.h, the conflist, both clocks, the log, getrandom(), the spool directory. No
 * line of the daemon knows.
 *
 *   cloud.c      the cloud: NICs, blocks, subnet, latencies, throttling, old reads, lost answers; other writers
 *   executor.c   jobs of the daemon as series of calls to it
 *   kernel.c     links, covers, pod routes, the nft table
 *   storedoor.c  the store's calls: faults, crash points, the ledger of who had which address until when
 *   pods.c       pods, the plugin that serves each, the runtime that kills it
 *   invariants.c what must hold after every step, and when the world has come to rest
 *
 * Time stands still inside a turn and jumps from event to event. One number, the seed, decides everything: equal seed,
 * equal trace. A crash (kill -9) inside a turn shuts all doors of the daemon at that point: what the rest of the turn does
 * reaches nobody.
 *
 * One world at a time: the doors speak to the one that runs.
 *
 * A world that failed does not move any more; world_failure() says why, world_dump() shows the last events.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "ipamd/executor.h"
#include "tests/sim/scenario.h"

struct ipamd;
struct world;

/** enum crash_point - where a daemon may be killed so that it matters. */
enum crash_point {
	CRASH_INTENT_PUT_BEFORE,
	CRASH_INTENT_PUT_AFTER,
	CRASH_SUBMIT_AFTER,      /* of a mutation */
	CRASH_RESULT_TAKEN,      /* of a mutation: before anything of it is recorded */
	CRASH_INTENT_DEL_BEFORE, /* recorded in memory only */
	CRASH_INTENT_DEL_AFTER,
	CRASH_LEASE_PUT_BEFORE,
	CRASH_LEASE_PUT_AFTER,
	CRASH_BIND_BEFORE,
	CRASH_BIND_AFTER,
	CRASH_RELEASE_BEFORE,
	CRASH_RELEASE_AFTER,
	CRASH_REPLY_AFTER,
	CRASH_POINT_COUNT
};
const char *crash_point_name(enum crash_point point);

/** enum fate - what becomes of one call to the cloud. */
enum fate {
	FATE_OK,
	FATE_LOST_REQUEST,
	FATE_LOST_ANSWER,
	FATE_UNAVAILABLE,
	FATE_DENIED,
	FATE_NO_EFFECT,
	FATE_THROTTLED, /* once; the provider tries again by itself */
	FATE_COUNT
};

enum pod_state {
	POD_NONE,
	POD_ADDING, /* its ADD is with the daemon */
	POD_WIRING, /* has an address; the plugin makes its link */
	POD_LIVE,   /* confirmed */
	POD_RETRY,  /* its ADD failed: DEL, then a new sandbox */
	POD_DELETING,
	POD_VANISHED, /* no container and no namespace any more, and no DEL yet */
	POD_LEFT,     /* the plugin was killed and nobody will say DEL */
	POD_STATE_COUNT
};

struct world_counters {
	uint64_t steps, turns;
	uint64_t adds, adds_ok, adds_failed, dels, reclaimed;
	uint64_t failures[FAIL_REASON_COUNT];
	uint64_t calls[JOB_KIND_COUNT]; /* jobs that reached the cloud */
	uint64_t mutations;             /* single mutating calls that the cloud took */
	uint64_t kills, crash_points[CRASH_POINT_COUNT];
	uint64_t over_limit;     /* asked for more than the instance may have */
	uint64_t foreign_deeds;  /* of others */
	int64_t last_ok_us;      /* when the last ADD was served */
	int64_t longest_wait_us; /* of an ADD that was served */
};

/** enum plant - a mistake that is put into the daemon to see that it is found; tests/sim/plants.c makes them. */
enum plant {
	PLANT_NONE,
	PLANT_NO_COOLDOWN,      /* an address is free at once */
	PLANT_DOUBLE_LEASE,     /* now and then a pod gets an address that another one has */
	PLANT_FORGOTTEN_INTENT, /* what was in flight at a crash is not looked at by the next daemon */
	PLANT_BLIND_SWEEP,      /* left-over NICs are not seen */
	PLANT_UNCLEAR_IS_DONE,  /* an AMBIGUOUS mutation is taken for done */
	PLANT_DEAF_SPOOL,       /* DELs that found no daemon are not replayed */
	PLANT_LOST_LEASE,       /* a lease of the store is not restored */
	PLANT_NO_DEADLINE,      /* an ADD waits for ever */
	PLANT_COUNT
};

/** world_new() - a node with its primary NIC; the daemon is not started. Return: NULL without memory. */
struct world *world_new(const struct scenario *scenario);
void world_free(struct world *w);

int64_t world_now(const struct world *w);
/** world_step() - the next event. Return: false when the world has failed or nothing is left to happen. */
bool world_step(struct world *w);
/** world_run() - everything that happens in @duration_us. Return: false when the world has failed. */
bool world_run(struct world *w, int64_t duration_us);
/** world_run_until() - until @done or for @timeout_us. Return: did @done say so? */
bool world_run_until(struct world *w, bool (*done)(struct world *w, void *arg), void *arg, int64_t timeout_us);
/** world_settle() - no more pods, faults or other writers; run until all is at rest, check that cloud, store, pool and
 *  kernel agree and that an idle hour costs no mutation. Return: false when the world has failed. */
bool world_settle(struct world *w);

/** world_failure() - what does not hold, or NULL. */
const char *world_failure(const struct world *w);
/** world_fail() - the world ends here. The first failure stays. */
_printf_(3, 4) void world_fail(struct world *w, const char *invariant, const char *fmt, ...);
/** world_dump() - the failure and the last events. */
void world_dump(const struct world *w, FILE *out);
/** world_trace_hash() - of every event so far. */
uint64_t world_trace_hash(const struct world *w);
void world_set_verbose(struct world *w, bool verbose);
const struct world_counters *world_counters(const struct world *w);

/** world_plant() - from now on; does nothing in a program without plants.c. */
void world_plant(struct world *w, enum plant plant);
/** world_planted() - in the world that runs. */
enum plant world_planted(void);

/* ---- the daemon ---- */

void world_daemon_start(struct world *w);
/** world_daemon_kill() - kill -9, now. @restart: it comes back after the scenario's time. */
void world_daemon_kill(struct world *w, bool restart);
/** world_daemon() - to look at; NULL while it is down. */
const struct ipamd *world_daemon(const struct world *w);
/** world_arm_crash() - kill it at the @nth (1 = next) time it comes by @point. */
void world_arm_crash(struct world *w, enum crash_point point, unsigned nth);
/** world_crash_hit() - did it come by? */
bool world_crash_hit(const struct world *w);

/* ---- pods ---- */

/** world_pod_add() - a new pod's ADD, now. Return: its number; UINT32_MAX when the world is full of pods. */
unsigned world_pod_add(struct world *w);
void world_pod_del(struct world *w, unsigned pod);
enum pod_state world_pod_state(const struct world *w, unsigned pod);
unsigned world_pods_in(const struct world *w, enum pod_state state);
/** world_pod_wait_us() - from its first ADD until it was served; -1: not yet. */
int64_t world_pod_wait_us(const struct world *w, unsigned pod);

/* ---- the cloud ---- */

/** world_fate_next() - the next call of a job of @kind meets @fate, at its @stage-th step (0 = first). */
void world_fate_next(struct world *w, enum job_kind kind, unsigned stage, enum fate fate);
/** world_cloud_nics() - NICs that the cloud has of ours, attached (@attached) or left over. */
unsigned world_cloud_nics(const struct world *w, bool attached);
unsigned world_cloud_blocks(const struct world *w);
/** world_others() - another writer does something now: take a block away from a NIC of ours, add one, attach a NIC. */
enum other_deed { OTHER_STEAL_BLOCK, OTHER_ADD_BLOCK, OTHER_ATTACH_NIC, OTHER_SUBNET, OTHER_CLOSE_NIC, OTHER_COUNT };
void world_others(struct world *w, enum other_deed deed);
/** world_answered_us() - when the last answer of a mutation reached the daemon. */
int64_t world_answered_us(const struct world *w);

#endif
