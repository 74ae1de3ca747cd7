/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: inside the fleet
 *
 *   fleet_queue.c    what happens next: a binary heap, by time, then by order of arrival
 *   fleet_cloud.c    the account: buckets, latencies, the outage; the NICs and blocks that exist
 *   fleet_call.c     one API call with its client's retries: berth's budget and back-off, or the AWS SDK's
 *   fleet_berth.c    a node of berth: turns of the daemon; fleet_standins.c: its store and kernel
 *   fleet_jobs.c     the daemon's jobs as sequences of calls, as cloud/aws does them
 *   fleet_peer.c     a node of another system: its loop
 *   fleet_pods.c     pods: arrival, waiting, trying again, end
 *   fleet_run.c      the loop over events; fleet_scenario.c who boots and dies when; fleet_report.c tables
 */
#ifndef TESTS_SIM_FLEET_IMPL_H
#define TESTS_SIM_FLEET_IMPL_H

#include <stddef.h>

#include "berth/clock.h"
#include "berth/err.h"
#include "tests/fleet/dice.h"
#include "tests/fleet/fleet.h"

struct ipamd;
struct fleet;
struct fleet_node;
struct berth_node;
struct peer_node;

/* ---- fleet_queue.c ---- */

enum fleet_event_kind {
	EVENT_BOOT,   /* of node @index */
	EVENT_DIE,    /* of node @index */
	EVENT_POD,    /* @index arrives, or tries again */
	EVENT_END,    /* of pod @index */
	EVENT_NODE,   /* a turn of node @index */
	EVENT_SEND,   /* a call of @op leaves */
	EVENT_ANSWER, /* its answer is there */
	EVENT_WAITED  /* @op slept enough */
};

struct fleet_event {
	int64_t at_us;
	uint64_t order;
	enum fleet_event_kind kind;
	unsigned index;
	struct fleet_op *op;
};

struct fleet_queue {
	struct fleet_event *heap; /* owned */
	size_t count, alloc;
	uint64_t order;
	bool failed; /* no memory: the run is void */
};

void queue_push(struct fleet_queue *queue, int64_t at_us, enum fleet_event_kind kind, unsigned index,
		struct fleet_op *op);
/** queue_pop() - the earliest. Return: false when it is empty. */
bool queue_pop(struct fleet_queue *queue, struct fleet_event *ret);
void queue_done(struct fleet_queue *queue);

/* ---- fleet_cloud.c ---- */

enum fleet_action {
	ACTION_DESCRIBE_NICS,
	ACTION_DESCRIBE_TYPES,
	ACTION_DESCRIBE_SUBNETS,
	ACTION_DESCRIBE_INSTANCES,
	ACTION_TAG,
	ACTION_CREATE,
	ACTION_ATTACH,
	ACTION_MODIFY,
	ACTION_DETACH,
	ACTION_DELETE,
	ACTION_ASSIGN,
	ACTION_UNASSIGN,
	ACTION_COUNT
};
bool action_mutates(enum fleet_action action);
/** action_idempotent() - may it be made again when its answer was lost? */
bool action_idempotent(enum fleet_action action);

enum cnic_state {
	CNIC_AVAILABLE, /* hangs on nothing */
	CNIC_ATTACHED,
	CNIC_DETACHING,
	CNIC_GONE /* deleted; kept for the operations that still point at it */
};

/** struct cnic - a NIC as the cloud has it. */
struct cnic {
	struct cnic *prev, *next; /* of all that are AVAILABLE */
	struct cnic *of_node;     /* the next of its node */
	struct fleet_node *owner; /* by tag */
	unsigned id;
	unsigned slot;
	enum cnic_state state;
	bool dies;       /* with the instance */
	unsigned claims; /* operations under way that point at it and will settle it */
	bool unknown;    /* peers: and it is not, or not any more, in the datastore */
	int64_t created_us;
	int64_t settled_us; /* when attaching or detaching is over */
	unsigned unit_count, unit_alloc;
	uint32_t *units;             /* owned: numbers of its blocks */
	uint8_t *assigned, *cooling; /* owned, peers: addresses of each block that pods have, or had */
};

struct fleet_bucket {
	double tokens;
	int64_t filled_us;
};

struct fleet_cloud {
	struct fleet_bucket buckets[ACTION_COUNT];
	struct cnic *available; /* list */
	unsigned next_id;
};

/** enum verdict - what becomes of one request. */
enum verdict { VERDICT_OK, VERDICT_THROTTLED, VERDICT_REFUSED, VERDICT_LOST, VERDICT_LOST_DONE };

/** cloud_request() - a request arrives now. @ret_took_us: until the client knows. */
enum verdict cloud_request(struct fleet *f, enum fleet_action action, int64_t *ret_took_us);
/** cloud_boot() - the instance with its primary NIC. */
bool cloud_boot(struct fleet *f, struct fleet_node *node);
/** cloud_apply() - what the request of @op does; op->cnic and op->error say what came of it. */
void cloud_apply(struct fleet *f, struct fleet_op *op);
/** cloud_settle() - has the attachment of @nic ended whatever it was doing? Brings its state up to date. */
bool cloud_settle(struct fleet *f, struct cnic *nic);
/** cloud_node_dies() - what is attached and dies with the instance goes; the rest is available. */
void cloud_node_dies(struct fleet *f, struct fleet_node *node);
/** cloud_claim() - the operation is about that NIC. */
void cloud_claim(struct fleet_op *op, struct cnic *nic);
/** cloud_unclaim() - the operation lets go of its NIC, which is then settled: swept, kept, or gone with its instance. */
void cloud_unclaim(struct fleet *f, struct fleet_op *op);
struct cnic *cloud_nic(const struct fleet_node *node, unsigned slot);
/** cloud_addresses() - blocks of all NICs that are attached to a node, in addresses. */
unsigned cloud_addresses(const struct fleet *f, const struct fleet_node *node);
void cloud_node_done(struct fleet_node *node);

/* ---- operations ---- */

typedef void fleet_step(struct fleet *f, struct fleet_op *op, enum err_class class);

/** struct fleet_op - a sequence of calls that one node makes. */
struct fleet_op {
	struct fleet_node *node;
	fleet_step *step;      /* goes on when a call is decided or a sleep is over */
	unsigned phase;        /* whose: step's */
	enum err_class failed; /* what will be reported after cleaning up */
	int64_t deadline_us;   /* of the way forward */
	int64_t end_us;        /* of all */
	/* the call under way */
	enum fleet_action action;
	enum verdict verdict;
	unsigned attempts;
	enum err_class error; /* of an answer that is not about the account: EXHAUSTED, NOTFOUND */
	/* what it is about */
	struct cnic *cnic;
	unsigned slot, count; /* units to assign; came */
	uint32_t *units;      /* UNASSIGN: which; owned */
	unsigned first_unit;  /* ASSIGN: where those that came begin in cnic->units */
	int64_t poll_us;
	unsigned polls;
	void *job; /* berth: struct job, owned */
};

/** op_new() - zeroed; counts as an operation of @node. NULL without memory. */
struct fleet_op *op_new(struct fleet *f, struct fleet_node *node, fleet_step *step);
void op_free(struct fleet *f, struct fleet_op *op);

/* ---- fleet_call.c ---- */

/** call_start() - make one call with its client's retries, then op->step(). */
void call_start(struct fleet *f, struct fleet_op *op, enum fleet_action action);
/** call_after() - the same after a sleep. */
void call_after(struct fleet *f, struct fleet_op *op, enum fleet_action action, int64_t delay_us);
void call_send(struct fleet *f, struct fleet_op *op);
void call_answer(struct fleet *f, struct fleet_op *op);
/** call_resume() - the sleep is over: the next attempt, or the next step. */
void call_resume(struct fleet *f, struct fleet_op *op);

/* ---- nodes and pods ---- */

enum pod_state {
	POD_COMING,   /* not here yet, or between two tries */
	POD_UNPLACED, /* the scheduler has it: the node is full */
	POD_WAITING,  /* in the queue of its node */
	POD_SERVED,
	POD_ENDED, /* its address rests, or is free again */
	POD_GONE   /* with its node */
};

struct fleet_pod {
	unsigned node;
	unsigned next; /* in the node's queue; index + 1, 0 = the last */
	enum pod_state state;
	int64_t arrive_us, life_us, served_us;
	int64_t deadline_us; /* of this try */
	unsigned slot, unit; /* peers: where its address is */
};

struct fleet_node {
	unsigned index;
	unsigned first_pod, pod_count; /* placed on it */
	bool alive, ready;
	int64_t boot_us;
	int64_t wake_us; /* the next turn that is in the queue; INT64_MAX = none */
	struct dice dice;
	struct cnic *nics;
	uint32_t next_unit;
	unsigned first_waiter, last_waiter, waiting; /* pods: index + 1 */
	unsigned first_unplaced, last_unplaced;      /* pods that the scheduler keeps back: index + 1 */
	unsigned pods;                               /* that have an address */
	unsigned missing;                            /* that are here and have none, trying or not */
	unsigned unused;                             /* addresses, since @accounted_us */
	double sdk_quota;                            /* peers: the SDK's retry tokens */
	struct berth_node *berth;
	struct peer_node *peer;
	/* unused addresses over time */
	int64_t accounted_us;
	double unused_integral;
};

struct fleet {
	const struct fleet_options *options;
	const struct fleet_policy *policy;
	int64_t now_us;
	int64_t outage_from_us, outage_until_us; /* every call fails; equal: never */
	int64_t count_from_us; /* before that the account has no limits; unused addresses and calls count from here */
	struct dice dice;      /* the world's */
	struct fleet_queue queue;
	struct fleet_cloud cloud;
	struct fleet_node *nodes; /* owned */
	unsigned node_count;
	struct fleet_pod *pods;        /* owned */
	unsigned pod_count, pods_open; /* not served yet */
	unsigned ops;
	int64_t last_served_us;
	int64_t add_timeout_us; /* berth's setting */
	bool failed;            /* no memory */
	struct clock clock;     /* virtual */
	struct fleet_result result;
};

/* Each node kind. */
void berth_boot(struct fleet *f, struct fleet_node *node);
void berth_die(struct fleet_node *node);
/** berth_arrived() - an ADD that needs a new address came. */
void berth_arrived(struct fleet *f, struct fleet_node *node);
void berth_turn(struct fleet *f, struct fleet_node *node);
/** berth_lease() - an address for a pod. Return: was there one? */
bool berth_lease(struct fleet *f, struct fleet_node *node, unsigned pod);
void berth_release(struct fleet *f, struct fleet_node *node, unsigned pod);
/** berth_cut_off() - pods whose address the cloud does not show any more. */
unsigned berth_cut_off(const struct fleet_node *node);
/** berth_op_start() - begin the calls of op->job. */
void berth_op_start(struct fleet *f, struct fleet_op *op);
/** berth_op_done() - the job's result is in; takes @op. */
void berth_op_done(struct fleet *f, struct fleet_op *op, enum err_class class);
struct budget *berth_budget(struct fleet_node *node);
const struct random *berth_random(struct fleet_node *node);
/** berth_count() - an API error of that class, for the daemon's reading of stats. */
void berth_count(struct fleet_node *node, enum err_class class);

void peer_boot(struct fleet *f, struct fleet_node *node);
void peer_die(struct fleet_node *node);
void peer_turn(struct fleet *f, struct fleet_node *node);
bool peer_lease(struct fleet *f, struct fleet_node *node, unsigned pod);
void peer_release(struct fleet *f, struct fleet_node *node, unsigned pod);
/** peer_cooled() - the address that @pod had may be leased again. */
void peer_cooled(struct fleet *f, struct fleet_node *node, unsigned pod);

/** node_wake() - a turn of that node at that time. */
void node_wake(struct fleet *f, struct fleet_node *node, int64_t at_us);
/** node_ready() - the runtime may call us: pods that came before try now. */
void node_ready(struct fleet *f, struct fleet_node *node);
/** node_account() - bring the sums of unused addresses up to date; call after each change. */
void node_account(struct fleet *f, struct fleet_node *node);

/* fleet_pods.c */
void pod_arrive(struct fleet *f, unsigned pod);
void pod_end(struct fleet *f, unsigned pod);
/** pods_serve() - those that wait, first come first served, and those whose time is over. Return: the next deadline. */
int64_t pods_serve(struct fleet *f, struct fleet_node *node);

/* fleet_run.c */

/** fleet_setup() - nodes and pods, all zero but their numbers; nothing boots. Return: false without memory. */
bool fleet_setup(struct fleet *f, const struct fleet_options *options, const struct fleet_policy *policy,
		 unsigned node_count, unsigned pod_count);
/** fleet_go() - until @until_us; @stop_when_served: or until every pod has had its address. */
void fleet_go(struct fleet *f, int64_t until_us, bool stop_when_served);
/** fleet_sum_up() - percentiles and means into f->result. */
void fleet_sum_up(struct fleet *f);
/** fleet_count_leaks() - NICs that hang on nothing and that nobody is settling. */
void fleet_count_leaks(struct fleet *f);
void fleet_done(struct fleet *f);

#endif
