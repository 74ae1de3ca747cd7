/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/world_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "berth/check.h"
#include "berth/str.h"

#define START_US  (1000 * USEC_PER_SEC) /* since boot */
#define TURN_US   20                    /* µs that a turn takes when its timer is due at once */
#define SPINS_MAX 2000U                 /* turns in SPINS_US that only the timer asked for: it runs in circles */
#define SPINS_US  USEC_PER_SEC
#define SETTLE_US                                                                                                      \
	(70 * 60 * USEC_PER_SEC) /* past the hourly sweep and every back-off, list, release delay and reclaim */
#define IDLE_US    (60 * 60 * USEC_PER_SEC)
#define FNV_PRIME  UINT64_C(0x100000001b3) /* FNV-1a, 64 bits */
#define FNV_OFFSET UINT64_C(0xcbf29ce484222325)

struct world *sim_world;

static const char *const crash_names[] = {
	[CRASH_INTENT_PUT_BEFORE] = "before an intent is stored",
	[CRASH_INTENT_PUT_AFTER] = "after an intent is stored",
	[CRASH_SUBMIT_AFTER] = "after a mutation is submitted",
	[CRASH_RESULT_TAKEN] = "with a mutation's result in hand",
	[CRASH_INTENT_DEL_BEFORE] = "before an intent is deleted",
	[CRASH_INTENT_DEL_AFTER] = "after an intent is deleted",
	[CRASH_LEASE_PUT_BEFORE] = "before a lease is stored",
	[CRASH_LEASE_PUT_AFTER] = "after a lease is stored",
	[CRASH_BIND_BEFORE] = "before a lease is bound",
	[CRASH_BIND_AFTER] = "after a lease is bound",
	[CRASH_RELEASE_BEFORE] = "before a lease is released",
	[CRASH_RELEASE_AFTER] = "after a lease is released",
	[CRASH_REPLY_AFTER] = "after a reply",
};
static_assert(ARRAY_SIZE(crash_names) == CRASH_POINT_COUNT, "a name per crash point");

const char *crash_point_name(enum crash_point point)
{
	return point < CRASH_POINT_COUNT ? crash_names[point] : "?";
}

/* ---- the trace ---- */

static void trace_add(struct world *w, const char *line)
{
	for (const char *at = line; *at; at++)
		w->trace.hash = (w->trace.hash ^ (uint8_t)*at) * FNV_PRIME;
	(void)str_copy(w->trace.lines[w->trace.count++ % TRACE_LINES], TRACE_WIDTH, line);
	if (w->trace.verbose)
		(void)fprintf(stderr, "%s\n", line);
}

void world_note(struct world *w, const char *fmt, ...)
{
	char line[TRACE_WIDTH];
	int len = snprintf(line, sizeof(line), "%5" PRId64 ".%06" PRId64 " ", w->now_us / USEC_PER_SEC,
			   w->now_us % USEC_PER_SEC);
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(line + len, sizeof(line) - (size_t)len, fmt, args);
	va_end(args);
	trace_add(w, line);
}

void world_fail(struct world *w, const char *invariant, const char *fmt, ...)
{
	char what[384];
	va_list args;

	if (w->failed)
		return;
	va_start(args, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	(void)snprintf(w->failure, sizeof(w->failure), "%s: %s", invariant, what);
	w->failed = true;
	world_note(w, "FAILED %s", w->failure);
}

const char *world_failure(const struct world *w)
{
	return w->failed ? w->failure : NULL;
}

void world_dump(const struct world *w, FILE *out)
{
	uint64_t first = w->trace.count > TRACE_LINES ? w->trace.count - TRACE_LINES : 0;

	for (uint64_t i = first; i < w->trace.count; i++)
		(void)fprintf(out, "  %s\n", w->trace.lines[i % TRACE_LINES]);
	(void)fprintf(out, "seed %" PRIu64 ", step %" PRIu64 ": %s\n", w->scenario.seed, w->counters.steps,
		      w->failed ? w->failure : "no failure");
}

uint64_t world_trace_hash(const struct world *w)
{
	return w->trace.hash;
}

void world_set_verbose(struct world *w, bool verbose)
{
	w->trace.verbose = verbose;
}

/* ---- events: a binary heap ---- */

static bool earlier(const struct event *a, const struct event *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

void world_at(struct world *w, int64_t at_us, event_fn fn, uint64_t arg)
{
	struct events *e = &w->events;
	unsigned at = e->count;
	struct event new = { at_us < w->now_us ? w->now_us : at_us, ++e->seq, fn, arg };

	if (e->count == e->alloc) {
		unsigned alloc = e->alloc ? e->alloc * 2 : 256;
		struct event *heap = reallocarray(e->heap, alloc, sizeof(*heap));

		CHECK(heap);
		e->heap = heap;
		e->alloc = alloc;
	}
	e->count++;
	while (at > 0 && earlier(&new, &e->heap[(at - 1) / 2])) {
		e->heap[at] = e->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	e->heap[at] = new;
}

static struct event event_pop(struct events *e)
{
	struct event first = e->heap[0], last = e->heap[--e->count];
	unsigned at = 0;

	for (;;) {
		unsigned child = 2 * at + 1;

		if (child + 1 < e->count && earlier(&e->heap[child + 1], &e->heap[child]))
			child++;
		if (child >= e->count || !earlier(&e->heap[child], &last))
			break;
		e->heap[at] = e->heap[child];
		at = child;
	}
	if (e->count)
		e->heap[at] = last;
	return first;
}

/* ---- the daemon ---- */

static void on_restart(struct world *w, uint64_t life)
{
	if (!w->d && life == w->life)
		world_daemon_start(w);
}

static void on_crash(struct world *w, uint64_t arg)
{
	int64_t mean = w->scenario.faults.crash_mean_us;

	(void)arg;
	if (w->settling)
		return;
	world_daemon_kill(w, true);
	world_after(w, rng_us(&w->rng, mean / 2, mean * 3 / 2), on_crash, 0);
}

static struct ipamd *make_daemon(struct world *w)
{
	struct ipamd *d = ipamd_new(&w->scenario.config, rng_next(&w->rng), w->now_us);
	struct err err = { 0 };

	CHECK(d);
	/* Doors that are replaced look at the world, not at these. */
	d->cloud = &w->cloud.head;
	d->executor = &w->executor;
	d->hostnet = (struct hostnet *)&w->kernel;
	d->net = (struct net *)&w->kernel;
	d->monitor = (struct net_monitor *)&w->kernel;
	d->server = (struct server *)w;
	if (ipamd_open_store(d, w->store_name, &err) < 0)
		world_fail(w, "store", "does not open: %s", err.msg);
	return d;
}

void world_daemon_start(struct world *w)
{
	CHECK(!w->d);
	sim_world = w;
	w->life++;
	w->dying = false;
	world_note(w, "daemon %" PRIu64 " starts", w->life);
	store_door_forget(w);
	w->intents_kept = 0;
	w->d = make_daemon(w);
	w->wake_us = w->now_us;
	w->spins = 0;
}

/* What the process leaves when it is gone: the store, the kernel, what the cloud was sent. */
static void bury(struct world *w)
{
	struct ipamd *d = w->d;

	w->dying = true;
	world_note(w, "daemon %" PRIu64 " is dead", w->life);
	w->counters.kills++;
	requests_drop_waiters(d); /* frees; nobody hears it */
	ipamd_free(d);
	w->d = NULL;
	w->look = false;
	w->wake_us = INT64_MAX;
	executor_kill(w);
	pods_daemon_gone(w);
	if (world_chance(w, w->scenario.faults.store_lost))
		store_door_lose(w);
	if (w->restart)
		world_in(w, w->scenario.faults.restart, on_restart, w->life);
}

void world_daemon_kill(struct world *w, bool restart)
{
	sim_world = w;
	if (!w->d)
		return;
	w->restart = restart;
	bury(w);
	w->restart = true;
}

const struct ipamd *world_daemon(const struct world *w)
{
	return w->d;
}

bool world_crash_at(struct world *w, enum crash_point point)
{
	if (w->dying || !w->d)
		return true;
	w->counters.crash_points[point]++;
	if (w->armed_nth && w->armed == point && --w->armed_nth == 0)
		w->armed_hit = w->dying = true;
	else if (world_chance(w, w->scenario.faults.crash))
		w->dying = true;
	if (w->dying)
		world_note(w, "kill -9 %s", crash_point_name(point));
	return w->dying;
}

void world_arm_crash(struct world *w, enum crash_point point, unsigned nth)
{
	w->surprised = true;
	w->armed = point;
	w->armed_nth = nth;
	w->armed_hit = false;
}

bool world_crash_hit(const struct world *w)
{
	return w->armed_hit;
}

/* One turn of the loop: results, then compare and act. */
static void turn(struct world *w)
{
	w->look = false;
	w->counters.turns++;
	w->d->only_pods = w->now_us < w->due_us && !w->executor.done_count;
	if (w->executor.done_count)
		ipamd_take_results(w->d, w->now_us);
	if (!w->dying && w->kernel.events)
		hostwork_netlink(w->d);
	w->d->only_pods = w->d->only_pods && !w->d->host_dirty;
	if (!w->dying)
		w->due_us = w->wake_us = ipamd_reconcile(w->d, w->now_us);
	if (w->dying)
		bury(w);
	else if (w->executor.done_count && w->wake_us > w->now_us)
		w->wake_us = w->now_us;
}

static void count_spins(struct world *w, bool by_timer)
{
	if (!by_timer || w->now_us - w->spins_since_us > SPINS_US) {
		w->spins = 0;
		w->spins_since_us = w->now_us;
	} else if (++w->spins > SPINS_MAX) {
		world_fail(w, "the daemon runs in circles", "%u turns in a second that nobody asked for", w->spins);
	}
}

/* ---- steps ---- */

static bool next_is_wake(const struct world *w)
{
	return w->d && w->wake_us != INT64_MAX && (!w->events.count || w->wake_us <= w->events.heap[0].at_us);
}

static int64_t next_us(const struct world *w)
{
	if (next_is_wake(w))
		return w->wake_us > w->now_us ? w->wake_us : w->now_us;
	return w->events.count ? w->events.heap[0].at_us : INT64_MAX;
}

bool world_step(struct world *w)
{
	bool by_timer = next_is_wake(w);

	sim_world = w;
	if (w->failed || next_us(w) == INT64_MAX)
		return false;
	w->counters.steps++;
	if (by_timer) {
		w->now_us = w->wake_us > w->now_us ? w->wake_us : w->now_us + TURN_US;
		w->look = true;
	} else {
		struct event event = event_pop(&w->events);

		w->now_us = event.at_us > w->now_us ? event.at_us : w->now_us;
		event.fn(w, event.arg);
	}
	count_spins(w, by_timer);
	if (w->d && w->dying)
		bury(w);
	if (w->d && w->look && !w->failed)
		turn(w);
	invariants_check(w);
	return !w->failed;
}

bool world_run(struct world *w, int64_t duration_us)
{
	int64_t until_us = w->now_us + duration_us;

	while (!w->failed && next_us(w) <= until_us)
		(void)world_step(w);
	if (w->now_us < until_us && !w->failed)
		w->now_us = until_us;
	return !w->failed;
}

bool world_run_until(struct world *w, bool (*done)(struct world *w, void *arg), void *arg, int64_t timeout_us)
{
	int64_t until_us = w->now_us + timeout_us;

	while (!done(w, arg)) {
		if (w->failed || next_us(w) > until_us)
			return false;
		(void)world_step(w);
	}
	return true;
}

bool world_settle(struct world *w)
{
	w->settling = true;
	world_note(w, "settling");
	cloud_reopen(w);
	if (!w->d && !w->failed)
		world_daemon_start(w);
	if (!world_run(w, SETTLE_US))
		return false;
	invariants_rest(w);
	w->idle_from = w->counters.mutations;
	if (!world_run(w, IDLE_US))
		return false;
	invariants_rest(w);
	if (!invariants_short(w) && w->counters.mutations - w->idle_from > invariants_idle_most(w))
		world_fail(w, "an idle hour costs nothing", "%" PRIu64 " mutations",
			   w->counters.mutations - w->idle_from);
	return !w->failed;
}

void world_plant(struct world *w, enum plant plant)
{
	w->plant = plant;
}

enum plant world_planted(void)
{
	return sim_world && !sim_world->dying && !sim_world->checking ? sim_world->plant : PLANT_NONE;
}

/* ---- life ---- */

struct world *world_new(const struct scenario *scenario)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err err = { 0 };

	if (!w)
		return NULL;
	sim_world = w;
	w->scenario = *scenario;
	w->rng.state = scenario->seed;
	w->now_us = START_US;
	w->trace.hash = FNV_OFFSET;
	w->wake_us = INT64_MAX;
	w->restart = true;
	executor_init(w);
	cloud_init(w);
	if (store_door_open(w, &err) < 0) {
		world_free(w);
		return NULL;
	}
	cloud_others_start(w);
	pods_start(w);
	if (scenario->faults.crash_mean_us)
		world_after(w, scenario->faults.crash_mean_us, on_crash, 0);
	return w;
}

void world_free(struct world *w)
{
	if (!w)
		return;
	sim_world = w;
	if (w->d) {
		w->dying = true;
		requests_drop_waiters(w->d);
		ipamd_free(w->d);
	}
	executor_done(w);
	kernel_done(w);
	store_door_close(w);
	free(w->events.heap);
	free(w);
	sim_world = NULL;
}

int64_t world_now(const struct world *w)
{
	return w->now_us;
}

const struct world_counters *world_counters(const struct world *w)
{
	return &w->counters;
}
