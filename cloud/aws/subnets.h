/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of the subnets around this node: where new interfaces go, and which of them pods get nothing of.
 * subnets.c says how. Context of all: any thread.
 */
#ifndef BERTH_AWS_SUBNETS_H
#define BERTH_AWS_SUBNETS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "codec.h"

struct aws_settings;
struct ec2;

#define SUBNETS_MAX 64 /* that are remembered: tagged, configured or in use; the quota of a VPC is 200 in all zones */

/* Subnets that one attach tries. Each try is a change, of which an account has 5 a second; where the four with most free
 * addresses are full, so are the others. */
#define SUBNET_TRIES_MAX 4

/** struct aws_subnet - one that is of use; its range never changes while it exists. */
struct aws_subnet {
	struct ec2_subnet is;  /* vpc "": only its ranges are known, by metadata */
	int64_t read_us;       /* boot clock, when EC2 told of it; 0 = never */
	int64_t full_until_us; /* boot clock; it had no room, and is asked last until then */
};

/** struct aws_subnets - embedded in the provider. */
struct aws_subnets {
	struct ec2 *ec2;                     /* borrowed */
	const struct aws_settings *settings; /* borrowed */
	pthread_mutex_t reading;             /* held while EC2 is asked, so that all who want the same ask once */
	pthread_mutex_t lock;                /* of all below; held for copying only */
	unsigned count;
	struct aws_subnet known[SUBNETS_MAX];
	int64_t read_us;   /* boot clock, when EC2 told last; 0 = never */
	int64_t next_us;   /* not asked before for the marks of a list; 0 = at once */
	int64_t denied_us; /* boot clock; not asked before, where that can be helped */
	int64_t failed_us; /* boot clock, of the last failure, which was @failure */
	struct err failure;
};

/** struct aws_places - subnets for one new interface, best first. */
struct aws_places {
	unsigned count;
	char ids[SUBNET_TRIES_MAX][EC2_ID_SIZE];
};

/** struct aws_here - where this node is. */
struct aws_here {
	const char *vpc, *zone;
	const char *subnet; /* of the primary interface */
	bool v6;            /* the new interface is to have IPv6: subnets with a range of it come first */
};

/** aws_subnets_init() - all borrowed; no I/O. Errors: RETRY (no mutex). */
_must_check_ int aws_subnets_init(struct aws_subnets *subnets, struct ec2 *ec2, const struct aws_settings *settings,
				  struct err *err);
void aws_subnets_done(struct aws_subnets *subnets);

/** aws_subnets_remember() - the ranges of a subnet, as metadata tells them, so that nobody asks for them. */
void aws_subnets_remember(struct aws_subnets *subnets, const struct ec2_subnet *subnet);

/** aws_subnets_find() - one of them, from memory or from EC2. @v6: its IPv6 range is wanted; one that has none may have got
 *  it since. Errors: NOTFOUND. */
_must_check_ int aws_subnets_find(struct aws_subnets *subnets, const char *id, bool v6, int64_t deadline_us,
				  struct ec2_subnet *ret, struct err *err);

/** aws_subnets_look() - have the marks read again when that is due; short, and a failure is no matter. */
void aws_subnets_look(struct aws_subnets *subnets, const struct aws_here *here, int64_t deadline_us);

/** aws_subnets_places() - where a new interface may go. Errors: INVALID (nowhere, and why), AUTH, RETRY. */
_must_check_ int aws_subnets_places(struct aws_subnets *subnets, const struct aws_here *here, int64_t deadline_us,
				    struct aws_places *ret, struct err *err);

/** aws_subnets_full() - it had no room for a new interface. */
void aws_subnets_full(struct aws_subnets *subnets, const char *id);

/** aws_subnets_closed() - do pods get nothing of an interface there? */
bool aws_subnets_closed(struct aws_subnets *subnets, const char *id, bool primary);

/** aws_subnets_used() - how many addresses of it somebody holds; all that it has, when nobody knows. */
uint64_t aws_subnets_used(struct aws_subnets *subnets, const char *id);

/** aws_subnets_choose() - of what is known at @now_us alone; the pure part of aws_subnets_places(). */
_must_check_ int aws_subnets_choose(const struct aws_subnet *known, unsigned count, const struct aws_settings *settings,
				    const struct aws_here *here, int64_t now_us, struct aws_places *ret,
				    struct err *err);

#endif
