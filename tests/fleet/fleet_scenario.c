/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: scenarios
 *
 * cold      every node boots within 10 s (an option) and finds its pods waiting
 * rolling   the nodes are up and full; each minute 5 % of them die and as many boot, with the pods of those that died
 * burst     the nodes are up with a few pods; all others arrive within 1 s
 * outage    the same, but they come over 20 min, and from minute 5 to 15 no call succeeds
 *
 * Before all but cold the fleet is built in an account without limits, and nothing of that is counted. In cold and
 * rolling one new node in a hundred dies again within its first two minutes: that is when it attaches NICs.
 */
#include "tests/fleet/fleet_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUILD_US        (180 * USEC_PER_SEC) /* to attach what is wanted, in an account without limits */
#define MINUTE_US       (60 * USEC_PER_SEC)
#define ROLL_PERCENT    5
#define BURST_US        USEC_PER_SEC
#define ARRIVE_US       (20 * MINUTE_US)
#define OUTAGE_FROM_US  (5 * MINUTE_US)
#define OUTAGE_UNTIL_US (15 * MINUTE_US)
#define FIRST_PODS      3 /* of a node that is up: DaemonSets */
#define DEATH_US        (2 * MINUTE_US)
#define SWEEP_US        (75 * MINUTE_US) /* every hourly sweep of leaks has run, and what it found is deleted */
#define FOREVER_US      INT64_MAX

const char *fleet_scenario_name(enum fleet_scenario scenario)
{
	static const char *const names[] = { "cold start", "rolling replacement", "burst", "API outage" };

	return (unsigned)scenario < FLEET_SCENARIO_COUNT ? names[scenario] : "?";
}

/* Pods of one node come one after the other in the array. */
static void place(struct fleet *f, unsigned node, unsigned *next_pod, unsigned count, int64_t from_us,
		  int64_t within_us)
{
	struct fleet_node *on = &f->nodes[node];

	if (on->pod_count == 0)
		on->first_pod = *next_pod;
	on->pod_count += count;
	for (unsigned i = 0; i < count; i++) {
		struct fleet_pod *pod = &f->pods[*next_pod];

		pod->node = node;
		pod->life_us = FOREVER_US;
		pod->arrive_us = from_us + dice_between(&f->dice, 0, within_us + 1);
		queue_push(&f->queue, pod->arrive_us, EVENT_POD, (*next_pod)++, NULL);
	}
}

static void maybe_dies(struct fleet *f, unsigned node, int64_t boot_us)
{
	if (f->options->deaths_one_in && dice_between(&f->dice, 0, f->options->deaths_one_in) == 0)
		queue_push(&f->queue, boot_us + dice_between(&f->dice, 0, DEATH_US), EVENT_DIE, node, NULL);
}

static void boot_at(struct fleet *f, unsigned node, int64_t at_us)
{
	queue_push(&f->queue, at_us, EVENT_BOOT, node, NULL);
}

static void cold(struct fleet *f, unsigned *next_pod)
{
	for (unsigned i = 0; i < f->options->nodes; i++) {
		int64_t at_us = f->now_us + dice_between(&f->dice, 0, f->options->boot_spread_us + 1);

		boot_at(f, i, at_us);
		maybe_dies(f, i, at_us);
		place(f, i, next_pod, f->options->pods_per_node, at_us, 0);
	}
}

/* The fleet as it is before a scenario. */
static void build(struct fleet *f, unsigned *next_pod, unsigned pods)
{
	f->count_from_us = f->now_us + BUILD_US;
	for (unsigned i = 0; i < f->options->nodes; i++) {
		int64_t at_us = f->now_us + dice_between(&f->dice, 0, f->options->boot_spread_us + 1);

		boot_at(f, i, at_us);
		place(f, i, next_pod, pods, at_us, 0);
	}
}

static void rolling(struct fleet *f, unsigned *next_pod)
{
	unsigned nodes = f->options->nodes;

	build(f, next_pod, f->options->pods_per_node);
	for (unsigned i = 0; i < nodes; i++) {
		int64_t at_us = f->count_from_us + (int64_t)i * 100 / ROLL_PERCENT * MINUTE_US / nodes;

		queue_push(&f->queue, at_us, EVENT_DIE, i, NULL);
		boot_at(f, nodes + i, at_us);
		maybe_dies(f, nodes + i, at_us);
		place(f, nodes + i, next_pod, f->options->pods_per_node, at_us, 0);
	}
}

/* Each node's pods must be neighbours: the first few and those that come are placed together. */
static void arrivals(struct fleet *f, unsigned *next_pod, int64_t within_us)
{
	f->count_from_us = f->now_us + BUILD_US;
	for (unsigned i = 0; i < f->options->nodes; i++) {
		int64_t at_us = f->now_us + dice_between(&f->dice, 0, f->options->boot_spread_us + 1);

		boot_at(f, i, at_us);
		place(f, i, next_pod, FIRST_PODS, at_us, 0);
		place(f, i, next_pod, f->options->pods_per_node, f->count_from_us, within_us);
	}
}

static void schedule(struct fleet *f, enum fleet_scenario scenario)
{
	unsigned next_pod = 0;

	f->count_from_us = f->now_us;
	switch (scenario) {
	case FLEET_COLD:
		cold(f, &next_pod);
		return;
	case FLEET_ROLLING:
		rolling(f, &next_pod);
		return;
	case FLEET_BURST:
		arrivals(f, &next_pod, BURST_US);
		return;
	case FLEET_OUTAGE:
		arrivals(f, &next_pod, ARRIVE_US);
		f->outage_from_us = f->count_from_us + OUTAGE_FROM_US;
		f->outage_until_us = f->count_from_us + OUTAGE_UNTIL_US;
		return;
	case FLEET_SCENARIO_COUNT:
		return;
	}
}

static unsigned nodes_of(const struct fleet_options *options, enum fleet_scenario scenario)
{
	return scenario == FLEET_ROLLING ? options->nodes * 2 : options->nodes;
}

static unsigned pods_of(const struct fleet_options *options, enum fleet_scenario scenario)
{
	unsigned per_node = options->pods_per_node;

	if (scenario == FLEET_ROLLING)
		per_node *= 2;
	else if (scenario != FLEET_COLD)
		per_node += FIRST_PODS;
	return options->nodes * per_node;
}

int fleet_scenario_run(const struct fleet_options *options, enum fleet_scenario scenario,
		       const struct fleet_policy *policy, struct fleet_result *ret)
{
	struct fleet f;
	bool ok = fleet_setup(&f, options, policy, nodes_of(options, scenario), pods_of(options, scenario));

	if (ok) {
		schedule(&f, scenario);
		fleet_go(&f, f.count_from_us, false);
		fleet_go(&f, f.count_from_us + (int64_t)FLEET_SECONDS_MAX * USEC_PER_SEC, true);
		fleet_sum_up(&f);
		fleet_go(&f, f.now_us + SWEEP_US, false);
		fleet_count_leaks(&f);
		ok = !f.failed && !f.queue.failed;
	}
	fleet_done(&f);
	*ret = f.result;
	if (!ok) {
		fleet_result_done(ret);
		return -ENOMEM;
	}
	return 0;
}
