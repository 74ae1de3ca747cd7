/* SPDX-License-Identifier: Apache-2.0 */
/* The provider's own struct, shared by its units: provider.c (what exists), identity.c (who we are and what we may have),
 * units.c (addresses), lifecycle.c (making and removing), recover.c (taking back) and glance.c (what metadata tells). */
#ifndef BERTH_AWS_PROVIDER_H
#define BERTH_AWS_PROVIDER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "../retry.h"
#include "api.h"
#include "auth.h"
#include "aws.h"
#include "berth/cloud.h"
#include "endpoint.h"
#include "meta.h"
#include "settings.h"
#include "subnets.h"

#define ATTEMPTS_MAX 16 /* attaches whose Create may still bear fruit; the daemon runs as many changes at once */

/** struct aws_attempt - what was asked last for one attach, so that asking again makes no second interface. */
struct aws_attempt {
	char token[64];           /* of the attach; "" = unused */
	unsigned number;          /* of the request; the ClientToken says it: other parameters need another token */
	char subnet[EC2_ID_SIZE]; /* that it may have been made in; "" = it certainly was not */
	uint64_t used;            /* by age: the oldest makes room */
};

struct aws {
	struct cloud cloud; /* first: cloud_ops get a pointer to it */
	struct aws_base base;
	struct stop stop;
	struct aws_meta meta;
	struct aws_endpoints endpoints;
	struct aws_auth auth;
	struct ec2 ec2;
	struct aws_settings settings;
	struct aws_subnets subnets;
	/* Of what was learnt once: executor threads share it. Held for copying only. */
	pthread_mutex_t lock;
	bool identity_known;
	struct cloud_identity identity;
	struct aws_attempt attempts[ATTEMPTS_MAX];
	uint64_t attempts_made;
	char vpc[EC2_ID_SIZE];    /* as the last list said; "" = none yet */
	char subnet[EC2_ID_SIZE]; /* of the primary interface, by the same */
	uint64_t addresses;       /* that this node holds in it */
	int64_t groups_due_us;    /* boot clock; security groups are not followed before */
	int64_t cluster_due_us;   /* boot clock; leftovers of others are not looked for before; 0 = not set yet */
	/* So that a sweep does not take an interface that an attach has just made for a leftover. */
	_Atomic uint64_t attaches_started, attaches_ended;
};

static inline struct aws *aws_of(struct cloud *cloud)
{
	return (struct aws *)(void *)cloud;
}

/** aws_identity() - from memory, or from metadata the first time. */
_must_check_ int aws_identity(struct aws *aws, int64_t deadline_us, struct cloud_identity *ret, struct err *err);

/** aws_subnet_remember() - the range of a subnet, so that nobody asks for it again. */
void aws_subnet_remember(struct aws *aws, const char *id, const struct prefix *prefix);

/** aws_nic_finish() - fill in what EC2 does not say: primary, attached, foreign, subnet, gateway. */
_must_check_ int aws_nic_finish(struct aws *aws, struct ec2_nic *nic, int64_t deadline_us, struct err *err);

/** aws_describe_own() - all interfaces of this instance on card 0. */
_must_check_ int aws_describe_own(struct aws *aws, const char *instance, int64_t deadline_us, struct ec2_nics *ret,
				  struct err *err);

/** aws_nics_have() - has one of these interfaces exactly this block? */
bool aws_nics_have(const struct ec2_nics *nics, const struct prefix *block);

/** aws_is_hands_off() - somebody else's, whatever our tags say: of a service, of a kind that is not for pods, or marked. */
bool aws_is_hands_off(const struct ec2_nic *nic);
/** aws_is_ours() - may we change it? Made by us for this instance, by its owner tag. */
bool aws_is_ours(const struct ec2_nic *nic, const char *instance);
/** aws_is_foreign() - do pods get nothing of it? It counts against limits all the same. */
bool aws_is_foreign(const struct ec2_nic *nic, const char *instance, enum cloud_access access);

/* identity.c; see struct cloud_ops. */
int aws_identify(struct cloud *cloud, int64_t deadline_us, struct cloud_identity *ret, struct err *err);
int aws_limits(struct cloud *cloud, int64_t deadline_us, struct cloud_limits *ret, struct err *err);

/* units.c; see struct cloud_ops. */
int aws_assign(struct cloud *cloud, const char *nic, const struct cloud_want *wants, int64_t deadline_us,
	       struct cloud_nic *ret, struct err *err);
int aws_release(struct cloud *cloud, const char *nic, const struct prefix *blocks, unsigned count, int64_t deadline_us,
		struct err *err);

/* lifecycle.c; see struct cloud_ops. */
int aws_attach(struct cloud *cloud, const struct cloud_attach *want, int64_t deadline_us, struct cloud_nic *ret,
	       struct err *err);
int aws_detach(struct cloud *cloud, const char *nic, int64_t deadline_us, struct err *err);
/** aws_remove_nic() - until it is gone, again while EC2 still sees it in use; NOTFOUND is success. */
_must_check_ int aws_remove_nic(struct aws *aws, const char *id, int64_t deadline_us, struct err *err);

/* sweep.c; see struct cloud_ops. */
int aws_sweep(struct cloud *cloud, int64_t deadline_us, unsigned *ret, struct err *err);
/** aws_sweep_drawn() - one draw with @tickets among @all. */
bool aws_sweep_drawn(const struct random *random, uint64_t tickets, uint64_t all);

/** aws_groups_follow() - give our secondary interfaces the primary's security groups, where they differ; @view is of the
 *  same list. Short, and a failure is no matter. In groups.c. */
void aws_groups_follow(struct aws *aws, const struct ec2_nics *nics, const struct cloud_view *view);

/* recover.c and glance.c; see struct cloud_ops. */
int aws_recover(struct cloud *cloud, const char *nic, const struct prefix *blocks, unsigned count, int64_t deadline_us,
		struct cloud_nic *ret, struct err *err);
int aws_glance(struct cloud *cloud, int64_t deadline_us, struct cloud_view *ret, struct err *err);

#endif
