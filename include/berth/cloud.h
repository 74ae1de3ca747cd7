/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: what berth asks of a cloud
 *
 * Everything that a cloud attaches is a block: a prefix of 2^k addresses on one NIC. A provider is a table of calls. Each
 * call blocks, runs on an executor thread, may run beside other calls of the same provider, retries only what its class
 * allows inside its deadline, and returns values that the caller owns. After ERR_AMBIGUOUS the caller lists before it
 * mutates the same object again.
 */
#ifndef BERTH_CLOUD_H
#define BERTH_CLOUD_H

#include <stdbool.h>
#include <stdint.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/ipaddr.h"

struct err;

#define CLOUD_ID_SIZE      256 /* Azure resource IDs are the longest */
#define CLOUD_NICS_MAX     64  /* attached to one instance: p6-b300 has 68 over 17 cards, of which berth uses card 0 */
#define CLOUD_BLOCKS_MAX   256 /* per NIC: Azure's 256 ipConfigurations; EC2's largest is 64 */
#define CLOUD_VPC_PREFIXES 32

/** struct cloud_identity - who and where am I; does not change while the instance runs. */
struct cloud_identity {
	char instance[CLOUD_ID_SIZE];
	char type[64];
	char region[64];
	char zone[64];
	char nic[CLOUD_ID_SIZE]; /* the primary NIC */
	struct macaddr primary_mac;
	struct ipaddr primary_addr;
	unsigned vpc_prefix_count;
	struct prefix vpc_prefixes[CLOUD_VPC_PREFIXES]; /* the network's own ranges: no SNAT towards them */
};

/** struct cloud_units - blocks of one address family on this instance. */
struct cloud_units {
	unsigned per_nic_max; /* on one NIC, beside its primary address; 0: the family is not served */
	uint8_t len;          /* prefix length of the unit that is wanted: 32, 28, 80, 128, ... */
	uint8_t single_len; /* what is bought instead while no unit of @len is to be had; equal to @len: nothing else */
};

/** struct cloud_limits - what this instance may have. */
struct cloud_limits {
	unsigned nics_max; /* the primary included */
	bool can_attach_nic;
	struct cloud_units units[IP_FAMILIES]; /* by ip_index() */
};

struct cloud_block {
	struct prefix prefix;
};

/** struct cloud_nic - one NIC as the cloud shows it. */
struct cloud_nic {
	char id[CLOUD_ID_SIZE];
	char handle[CLOUD_ID_SIZE]; /* the provider's own (EC2: attachment ID); nobody else reads it */
	struct macaddr mac;
	unsigned slot; /* device index: 0 = primary; stable while attached; source of mark and table numbers */
	bool primary;
	bool attached; /* completely: the guest can expect the device */
	bool foreign;  /* not ours: never touched, counts against limits */
	bool closed;   /* pods get nothing more of it (an operator excluded its subnet): what is leased stays */
	struct ipaddr primary_addr;
	struct prefix subnet;
	struct ipaddr gateway;
	struct ipaddr primary_addr6; /* the IPv6 side; IP_NONE where the NIC has none */
	struct prefix subnet6;
	struct ipaddr gateway6; /* link-local on AWS */
	unsigned block_count;
	struct cloud_block *blocks; /* owned by the nic */
};

/** struct cloud_view - an authoritative list of one node's NICs. */
struct cloud_view {
	unsigned nic_count;
	struct cloud_nic *nics;    /* owned */
	unsigned vpc_prefix_count; /* 0: nothing is said of the network's ranges */
	struct prefix vpc_prefixes[CLOUD_VPC_PREFIXES];
};

void cloud_nic_done(struct cloud_nic *nic);
void cloud_view_done(struct cloud_view *view);
/** cloud_nic_add_block() - append. Return: 0, -ENOMEM, -ENOSPC (CLOUD_BLOCKS_MAX). */
int cloud_nic_add_block(struct cloud_nic *nic, const struct prefix *prefix);
/** cloud_view_add_nic() - append an empty NIC. Return: borrowed, or NULL (no memory, CLOUD_NICS_MAX). */
struct cloud_nic *cloud_view_add_nic(struct cloud_view *view);

/** struct cloud_want - blocks of one family that are asked for. */
struct cloud_want {
	unsigned count; /* units; 0: nothing of this family */
	uint8_t len;    /* prefix length of each */
};

/** struct cloud_attach - a new NIC, with its first units in the same call where the cloud can. */
struct cloud_attach {
	unsigned slot; /* wanted device index; the provider takes the next free one if it is occupied */
	struct cloud_want wants[IP_FAMILIES]; /* first units, by ip_index() */
	char token[64]; /* idempotency token, unique per wanted NIC; repeating it never makes a second one */
};

struct cloud; /* one provider instance; thread-safe */

/** struct cloud_stats - counters of all calls since the start, for metrics. */
struct cloud_stats {
	uint64_t reads, mutations; /* HTTP requests to the API, retries included */
	uint64_t metadata;         /* HTTP requests to the metadata service */
	uint64_t errors[16];       /* by enum err_class */
	uint64_t throttle_wait_us; /* time spent waiting for the budget */
};

/** struct cloud_guarded - what a pod that the operator did not name must not reach: where the node's credentials are. */
struct cloud_guarded {
	const char *prefix; /* an address or prefix of either family; NULL ends the table */
	uint16_t port;      /* of TCP; 0: everything but DNS (port 53) */
};

/** struct cloud_ops - one row per call; @deadline_us is clock_boot time. Errors: any class; see the provider. */
struct cloud_ops {
	const char *name; /* "aws" */
	/** identify - from metadata; once at start. */
	int (*identify)(struct cloud *cloud, int64_t deadline_us, struct cloud_identity *ret, struct err *err);
	/** limits - of this instance type. */
	int (*limits)(struct cloud *cloud, int64_t deadline_us, struct cloud_limits *ret, struct err *err);
	/** list - authoritative NICs and blocks of this node, never from metadata alone. */
	int (*list)(struct cloud *cloud, int64_t deadline_us, struct cloud_view *ret, struct err *err);
	/** assign - more units on a NIC, @wants[IP_FAMILIES] by ip_index(); *ret: only @ret->blocks that came (may be
	 *  fewer: what came before a later part failed is a success) and id are filled. EXHAUSTED for a @len that is no
	 *  single address may mean no more than fragmentation. */
	int (*assign)(struct cloud *cloud, const char *nic, const struct cloud_want *wants, int64_t deadline_us,
		      struct cloud_nic *ret, struct err *err);
	/** recover - exactly these blocks on that NIC again, which the cloud took away while pods used them; *ret: those
	 *  that came. Errors: CONFLICT or EXHAUSTED when another holds them, INVALID when this cloud lets nobody choose. */
	int (*recover)(struct cloud *cloud, const char *nic, const struct prefix *blocks, unsigned count,
		       int64_t deadline_us, struct cloud_nic *ret, struct err *err);
	/** glance - NICs and blocks as the metadata service tells them: cheap, often late, never authoritative. A
	 *  difference from what we hold is a reason to list, never to add or drop. Foreign and primary marks may lack; of a
	 *  NIC that is not known completely yet, attached is false and the id may be empty. Addresses of the node itself
	 *  may be among the blocks. NULL: this cloud's metadata says nothing of blocks. */
	int (*glance)(struct cloud *cloud, int64_t deadline_us, struct cloud_view *ret, struct err *err);
	/** release - these blocks of a NIC; a block that is not there is success. */
	int (*release)(struct cloud *cloud, const char *nic, const struct prefix *blocks, unsigned count,
		       int64_t deadline_us, struct err *err);
	/** attach - create, attach, make it die with the instance. Returns when the cloud has taken it; the device appears
	 *  seconds later. Cleans up behind itself on failure. Errors: AMBIGUOUS when something of it may be left all the
	 *  same, for a list and a sweep to find; with any other class nothing is. */
	int (*attach)(struct cloud *cloud, const struct cloud_attach *want, int64_t deadline_us, struct cloud_nic *ret,
		      struct err *err);
	/** detach - detach and delete; NOTFOUND is success. CONFLICT: not all of it was done, and what hangs there is not known. */
	int (*detach)(struct cloud *cloud, const char *nic, int64_t deadline_us, struct err *err);
	/** sweep - delete NICs that berth made and that hang on nothing: those of this instance, and now and then those of
	 *  instances of the same cluster that are gone; *ret: how many. Asked for once an hour or so by each node. */
	int (*sweep)(struct cloud *cloud, int64_t deadline_us, unsigned *ret, struct err *err);
	/** stats - a snapshot of the counters. Context: any thread, never blocks on the network. */
	void (*stats)(struct cloud *cloud, struct cloud_stats *ret);
	/** stop - end every wait and every later call with RETRY or AMBIGUOUS, within about a second; for shutting down.
	 *  Cannot be taken back. Context: any thread. */
	void (*stop)(struct cloud *cloud);
	/** free - no call may be under way: stop, join the executors, then free. */
	void (*free)(struct cloud *cloud);
	const struct cloud_guarded *guarded; /* static; NULL: nothing */
};

/** struct cloud - the head of every provider's own struct. */
struct cloud {
	const struct cloud_ops *ops;
};

/** enum cloud_access - what a provider may ask of its cloud. */
enum cloud_access {
	CLOUD_ACCESS_FULL,     /* reads and changes */
	CLOUD_ACCESS_READ,     /* no changes: every attached NIC serves, whoever made it; limits forbid to attach */
	CLOUD_ACCESS_METADATA, /* the metadata service only, which list() then believes; no API, no credentials */
	CLOUD_ACCESS_COUNT
};

/* The strictest cloud's limits (EC2: 50 tags on a resource, of which berth has some for itself). */
#define CLOUD_TAGS_MAX      40
#define CLOUD_TAG_KEY_MAX   127 /* bytes */
#define CLOUD_TAG_VALUE_MAX 255
/* No key of an operator's starts so: a cloud's own, ours, and what another pod network takes for a NIC of its own. */
#define CLOUD_TAGS_RESERVED "aws:", "node.berth.io/", "node.k8s.amazonaws.com/", "cluster.k8s.amazonaws.com/"

/** struct cloud_tag - what an operator wants on every NIC that berth makes. */
struct cloud_tag {
	const char *key, *value;
};

/** struct cloud_config - what a provider may be told; strings and lists are borrowed until cloud_open() returns. All
 *  zero is the default: IPv4, single addresses, the primary NIC's subnet and those that are tagged for it. */
struct cloud_config {
	const char *cluster; /* for owner tags; may be "" */
	enum cloud_access access;
	bool serves[IP_FAMILIES]; /* families that pods get, by ip_index(); none: IPv4 */
	bool tells_own6;          /* the primary NIC's own IPv6 address is told, also where pods get no IPv6 */
	bool prefixes;            /* units of many addresses where cloud and instance can; single ones else */
	bool no_discovery;        /* of subnets by tag: new NICs go where the primary one is */
	unsigned subnet_count;
	const char *const *subnets; /* where new NICs go instead, of those in this node's zone; pods then get nothing of
				       the primary one */
	unsigned group_count;
	const char *const *groups; /* security groups of new NICs; none: those of the primary one */
	unsigned tag_count;
	const struct cloud_tag *tags;
	const struct clock *boot;                /* NULL: clock_boot */
	const struct clock *wall;                /* NULL: clock_wall; for signatures */
	const char *(*getenv)(const char *name); /* NULL: the process environment */
};

/** enum cloud_var_rule - what becomes of a variable that users of another pod network have set. An empty one is not set. */
enum cloud_var_rule {
	CLOUD_VAR_SETTING, /* sets @setting, its value taken as it is; @value: "A=a,B=b", values that are called otherwise */
	CLOUD_VAR_COUNT,  /* sets @setting if it is a number above 0; else it is as if it were not set */
	CLOUD_VAR_VALUE,  /* "true" sets @setting to @value; false is the default */
	CLOUD_VAR_MEMBER, /* "true" adds @value to @setting, a list which starts empty */
	CLOUD_VAR_PASSED, /* nothing to do: berth does so anyway, or it means nothing here; @note says which */
	CLOUD_VAR_WARNED, /* not supported: the daemon says so by name, with @note, and starts; not for values in @value */
	CLOUD_VAR_REFUSED, /* not supported, and pods would be wrong without it: does not start unless its value is in
			      @value, or @setting, which does the same here, is set */
	CLOUD_VAR_STEM,    /* no variable: how others of that pod network start; one that is in no row is warned of */
	CLOUD_VAR_RULE_COUNT
};

/** struct cloud_var - one such variable. A later row wins where two set the same. */
struct cloud_var {
	const char *name;
	enum cloud_var_rule rule;
	const char *setting;
	const char *value; /* WARNED, REFUSED: words that do no harm, with commas between them; NULL: false */
	/* Other variables that are "true" or a number above 0, or settings that are true, also by a row before this one.
	 * Passed over where one of ... */
	const char *unless;   /* ... these is so; with blanks between them; may be NULL */
	const char *requires; /* ... this one is not; may be NULL */
	const char *note;     /* what is different, or what to do instead; may be NULL */
};

/** cloud_vars() - of the provider called @name. Return: static, *ret_count of them; NULL: none, or no such provider. */
const struct cloud_var *cloud_vars(const char *name, unsigned *ret_count);

/** cloud_open() - the provider called @name. No I/O. Errors: INVALID (unknown name, bad endpoint). */
int cloud_open(const char *name, const struct cloud_config *config, struct cloud **ret, struct err *err);
void cloud_free(struct cloud *cloud);

#endif
