/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the warm-pool rules of other systems
 *
 * What amazon-vpc-cni-k8s, Azure CNS and GKE's metis decide, each as a pure function from one small state to one step,
 * so that they can be run beside berth's planner on the same node under the same pods. Each constant names the version
 * that was read: amazon-vpc-cni-k8s 1.23.1 (b5218838), azure-container-networking's cns/ipampool, cloud-provider-gcp's
 * metis. Where their documents leave something open the rule takes what is better for it; such places say "charitable".
 *
 * Azure CNS and metis do not mutate the cloud from the node: they write a wish, and a controller fulfils it. Here the
 * wish is fulfilled on the spot by the same cloud calls that the others make, one after the other and with no latency of
 * the controller's own (charitable).
 */
#ifndef TESTS_SIM_RULES_H
#define TESTS_SIM_RULES_H

#include <stdbool.h>
#include <stdint.h>

#define RULE_NICS_MAX 16U

enum rule_kind {
	RULE_AWS,      /* amazon-vpc-cni-k8s: one step a loop */
	RULE_AZURE_V1, /* cns/ipampool/monitor.go */
	RULE_AZURE_V2, /* cns/ipampool/v2/monitor.go */
	RULE_METIS,    /* cloud-provider-gcp/metis */
	RULE_KIND_COUNT
};

/** struct rule - a rule with its settings. */
struct rule {
	const char *name;
	enum rule_kind kind;
	unsigned warm_nics, warm_ips, min_ips, warm_blocks; /* AWS; warm_ips and min_ips 0: not set */
	int64_t loop_us;                                    /* between two looks */
	int64_t cooldown_us;                                /* before an address is given to another pod */
	int64_t add_wait_us;                                /* how long an ADD waits before it fails */
	bool prefix; /* AWS only: for units of 16 addresses (prefix delegation) */
};

/** struct rule_nic - one NIC that pods use. */
struct rule_nic {
	unsigned slot;
	unsigned total, assigned, cooling; /* addresses */
	unsigned units, unused_units;      /* blocks; those without an assigned address (cooling does not count) */
	int64_t age_us;
};

/** struct rule_state - all that a decision looks at. */
struct rule_state {
	int64_t now_us;
	unsigned unit_size;     /* addresses of a block: 1 or 16 */
	unsigned units_per_nic; /* beside its primary address */
	unsigned nics_max, max_pods;
	unsigned waiting; /* pods that are on the node and have no address */
	unsigned nic_count;
	struct rule_nic nics[RULE_NICS_MAX]; /* [0]: the primary */
};

/** struct rule_memory - what a rule keeps between two decisions; zeroed at start. */
struct rule_memory {
	int64_t last_decrease_us;
	int64_t paused_until_us; /* after "the subnet is full" */
	unsigned requested;      /* Azure, metis: the wish */
	int64_t low_since_us;    /* metis */
};

enum rule_what { RULE_HOLD, RULE_ASSIGN, RULE_ATTACH, RULE_UNASSIGN };

/** struct rule_step - at most one growth or shrink, and at most one NIC to free. */
struct rule_step {
	enum rule_what what;
	unsigned slot;      /* ASSIGN: of the NIC */
	unsigned units;     /* ASSIGN, ATTACH, UNASSIGN (over all NICs) */
	unsigned free_slot; /* detach and delete that NIC; 0: none (the primary never goes) */
	bool again;         /* the wish is not fulfilled by this step alone: look again as soon as it is done */
};

/** rule_exhausted() - the cloud said that the subnet is full. */
void rule_exhausted(struct rule_memory *memory, int64_t now_us);
/** rule_decide() - what it does now. */
void rule_decide(const struct rule *rule, const struct rule_state *state, struct rule_memory *memory,
		 struct rule_step *ret);

#endif
