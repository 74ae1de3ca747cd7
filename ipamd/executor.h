/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: executors
 *
 * What may block runs on a few threads: cloud calls, nft batches, deletions of links, reading the flow table. A job goes
 * in by value and comes back by value through an eventfd; nothing else is shared, so the only lock is that of the queue.
 * Each lane has its own threads, so that a slow attach never keeps an nft batch waiting, nor a list:
 *
 *   change   ASSIGN RECOVER RELEASE ATTACH DETACH   16 threads: every NIC of the largest instances at once
 *   read     IDENTIFY LIMITS LIST SWEEP GLANCE       3
 *   nft      NFT                                     1, so in order
 *   link     LINK_DEL FORWARD                        4
 *   flows    CT_FLUSH                                1, so in order
 *
 * A thread is started when a job finds none of its lane free, and stays: an idle one costs its stack. Jobs of a lane start
 * in the order they were submitted; results come in the order in which the jobs ended.
 */
#ifndef IPAMD_EXECUTOR_H
#define IPAMD_EXECUTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "berth/cloud.h"
#include "berth/err.h"
#include "berth/proto.h"

struct executor;
struct forward;

enum job_kind {
	JOB_IDENTIFY,
	JOB_LIMITS,
	JOB_LIST,
	JOB_SWEEP,
	JOB_ASSIGN,
	JOB_RELEASE,
	JOB_ATTACH,
	JOB_DETACH,
	JOB_NFT,
	JOB_LINK_DEL,
	JOB_CT_FLUSH, /* forget the tracked flows of addresses, or those that ports lead elsewhere now */
	JOB_RECOVER,  /* exactly these blocks on a NIC again */
	JOB_GLANCE,   /* what the metadata service tells */
	JOB_FORWARD,  /* who else decides about what is forwarded */
	JOB_KIND_COUNT
};
const char *job_kind_name(enum job_kind kind);

#define JOB_QUEUE_MAX 4096 /* link deletions of a node that loses all its pods at once, several times over */

/** struct job - what to do, and afterwards what came of it. Owns what its pointers point at. */
struct job {
	enum job_kind kind;
	int64_t deadline_us; /* clock_boot */
	unsigned slot;       /* ASSIGN RECOVER RELEASE ATTACH DETACH: of the NIC in the pool */
	char nic[CLOUD_ID_SIZE];
	unsigned count;                       /* units, or of blocks[], addrs[] or ports[] */
	struct cloud_want wants[IP_FAMILIES]; /* ASSIGN ATTACH; by ip_index() */
	struct prefix *blocks;                /* RECOVER RELEASE; owned */
	struct ipaddr *addrs;                 /* CT_FLUSH; owned */
	struct net_port *ports;               /* CT_FLUSH of ports; owned */
	char token[64];                       /* ATTACH */
	int64_t intent;                       /* of the store; 0 = none */
	char *batch;                          /* NFT; owned */
	struct forward *forward;              /* FORWARD: asked and found; owned */
	char ifname[LEASE_IFNAME_SIZE];       /* LINK_DEL: what it was called, for the log */
	int ifindex;                          /* LINK_DEL: its name may be another pod's by now */
	/* the result: */
	int rc; /* 0, or -1 with err */
	struct err err;
	int64_t submitted_us, done_us;
	union {
		struct cloud_identity *identity; /* IDENTIFY; owned */
		struct cloud_limits limits;      /* LIMITS */
		struct cloud_view view;          /* LIST GLANCE */
		struct cloud_nic nic_result;     /* ASSIGN RECOVER ATTACH */
		unsigned swept;                  /* SWEEP: NICs */
		unsigned flushed;                /* CT_FLUSH: flows */
		int nft_pid;                     /* NFT: of the program; 0 = none was started */
	};
};
/** job_done() - free what it owns. */
void job_done(struct job *job);

/** executor_new() - @cloud is borrowed and must outlive it. No thread yet. Errors: RETRY. */
int executor_new(struct cloud *cloud, struct executor **ret, struct err *err);
/** executor_free() - ends the threads: jobs that wait are dropped, but for deletions of links, which are done; those that run are
 *  waited for (their deadlines bound it). */
void executor_free(struct executor *executor);
/** executor_fd() - readable when a result is there; borrowed. */
int executor_fd(const struct executor *executor);
/** executor_threads() - how many it has started. Context: the submitting thread. */
unsigned executor_threads(const struct executor *executor);
/** executor_submit_take() - takes @job's contents on success. Errors: EXHAUSTED (JOB_QUEUE_MAX jobs of its lane wait),
 *  RETRY (no memory, not even one thread for the lane). Context: one thread, the loop's. */
int executor_submit_take(struct executor *executor, struct job *job, struct err *err);
/** executor_next() - one result. Return: false when there is none (the eventfd is then drained). */
bool executor_next(struct executor *executor, struct job *ret);

#endif
