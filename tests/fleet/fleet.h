/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: many nodes, one account
 *
 * A simulation in virtual time, seeded: nodes that run either berth (the daemon's own cloudwork.c, mutations.c, planner.c, pool.c,
 * backoff.c and the provider's budget.c and retry.c; only the executor, the store and the kernel are stand-ins) or the
 * rule of another system (rules.h), against one cloud account that throttles as EC2 does. compare.c runs one node of it
 * under a curve of pods, fleet_scenario.c thousands under a scenario.
 */
#ifndef TESTS_SIM_FLEET_H
#define TESTS_SIM_FLEET_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/fleet/rules.h"

/** struct fleet_instance - what kind of machine the nodes are. */
struct fleet_instance {
	const char *name;
	unsigned nics_max, units_per_nic; /* beside each NIC's primary address */
	uint8_t unit_len;                 /* 32 or 28 */
	unsigned max_pods;
};

/** struct fleet_bucket - one token bucket of the account. */
struct fleet_bucket_limit {
	double burst, rate; /* requests, requests a second */
};

/** struct fleet_policy - what runs on the nodes. */
struct fleet_policy {
	const char *name;
	const struct rule *rule;  /* NULL: berth */
	unsigned warm_ips;        /* berth: as its setting; FLEET_WARM_AUTO */
	unsigned min_ips;         /* berth */
	int64_t release_delay_us; /* berth; 0: its default */
};
#define FLEET_WARM_AUTO UINT32_MAX /* CONFIG_WARM_AUTO */

/** struct fleet_account - of the cloud. Defaults: fleet_account_ec2. */
struct fleet_account {
	struct fleet_bucket_limit reads, mutations, tags; /* of one action each */
	bool shared;                                      /* one bucket for all mutations instead of one per action */
};
extern const struct fleet_account fleet_account_ec2;

enum fleet_scenario {
	FLEET_COLD,    /* every node boots within 10 s, each with its pods */
	FLEET_ROLLING, /* 5 % of the nodes a minute are replaced */
	FLEET_BURST,   /* all pods at once on nodes that are up */
	FLEET_OUTAGE,  /* pods come for 20 min; 10 min of them no call succeeds */
	FLEET_SCENARIO_COUNT
};
const char *fleet_scenario_name(enum fleet_scenario scenario);

struct fleet_options {
	unsigned nodes;
	unsigned pods_per_node;
	int64_t boot_spread_us; /* within which all nodes of a scenario boot */
	unsigned deaths_one_in; /* of new nodes, in their first two minutes; 0: none */
	uint64_t seed;
	struct fleet_instance instance;
	struct fleet_account account;
	bool no_jitter; /* take full jitter away from berth's delays: what the test of it turns red by */
	FILE *out;
};
/** fleet_options_default() - 5,000 nodes of 4 NICs x 15 addresses, EC2's buckets, stdout. */
void fleet_options_default(struct fleet_options *ret);

#define FLEET_SECONDS_MAX 14400U /* virtual: a scenario ends after 4 h whatever is left */
#define FLEET_TENTHS_MAX  6000U  /* of the first 10 min, in 100 ms: for the test of jitter */

enum fleet_class { FLEET_READ, FLEET_MUTATE, FLEET_CLASS_COUNT };

/** struct fleet_result - what came of one scenario. */
struct fleet_result {
	unsigned pods, served, waited;
	unsigned unplaced;                 /* pods beside those, for which the node had no room until the end */
	int64_t last_served_us;            /* from the beginning of the scenario */
	int64_t p50_us, p99_us, max_us;    /* from a pod's arrival on its node to its address */
	uint64_t calls[FLEET_CLASS_COUNT]; /* until the last pod was served */
	uint64_t throttled[FLEET_CLASS_COUNT];
	unsigned leaked;      /* NICs that no living node has, an hour and a quarter later */
	unsigned leaked_dead; /* of those: of instances that are gone */
	unsigned cut_off;     /* pods whose address went back to the cloud under them */
	double unused_mean;   /* addresses held and used by no pod, over time and nodes */
	unsigned unused_max;  /* of one node */
	uint32_t *per_second; /* owned: calls in each second, FLEET_SECONDS_MAX */
	uint32_t *per_tenth;  /* owned: calls in each 100 ms, FLEET_TENTHS_MAX */
};
void fleet_result_done(struct fleet_result *result);

/** fleet_scenario_run() - one scenario under one policy. Return: 0 or -ENOMEM. */
int fleet_scenario_run(const struct fleet_options *options, enum fleet_scenario scenario,
		       const struct fleet_policy *policy, struct fleet_result *ret);
/** fleet_run() - every scenario under every policy, as tables on options->out. Return: 0 or -1. */
int fleet_run(const struct fleet_options *options);
/** compare_run() - the rules on single nodes under the curves, as markdown tables. Return: 0 or -1. */
int compare_run(FILE *out, uint64_t seed);

#endif
