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

#define SUBNETS_MAX 8 /* whose range is remembered; a node's interfaces are in one, seldom in two */

/** struct aws_subnet - a range never changes while the subnet exists. */
struct aws_subnet {
	char id[EC2_ID_SIZE];
	struct prefix prefix;
};

struct aws {
	struct cloud cloud; /* first: cloud_ops get a pointer to it */
	struct aws_base base;
	struct stop stop;
	struct aws_meta meta;
	struct aws_endpoints endpoints;
	struct aws_auth auth;
	struct ec2 ec2;
	char *cluster; /* owned */
	/* Of what was learnt once: executor threads share it. Held for copying only. */
	pthread_mutex_t lock;
	bool identity_known;
	struct cloud_identity identity;
	struct aws_subnet subnets[SUBNETS_MAX];
	unsigned subnet_count;
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

/** aws_is_ours() - may we change it? Made by us for this instance, by its owner tag. */
bool aws_is_ours(const struct ec2_nic *nic, const char *instance);

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
int aws_sweep(struct cloud *cloud, int64_t deadline_us, unsigned *ret, struct err *err);

/* recover.c and glance.c; see struct cloud_ops. */
int aws_recover(struct cloud *cloud, const char *nic, const struct prefix *blocks, unsigned count, int64_t deadline_us,
		struct cloud_nic *ret, struct err *err);
int aws_glance(struct cloud *cloud, int64_t deadline_us, struct cloud_view *ret, struct err *err);

#endif
