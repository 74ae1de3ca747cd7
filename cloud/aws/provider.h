/* SPDX-License-Identifier: Apache-2.0 */
/* The provider's own struct, shared by its units: provider.c (what exists), identity.c (who we are and what we may have),
 * units.c (addresses), lifecycle.c (making and removing), sweep.c (leftovers), groups.c (security groups), recover.c (taking
 * back), glance.c (what metadata tells) and access.c (what of it may be called). */
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

/** struct aws_attempt - how often an attach was refused, so that asking again makes no second interface: as long as one
 *  request may have made something, the next carries the same ClientToken, and EC2 says so. */
struct aws_attempt {
	char token[64];  /* of the attach; "" = unused */
	unsigned number; /* of the request; the ClientToken says it: other parameters need another one */
	uint64_t used;   /* by age: the oldest makes room */
};

#define AWS_SINGLE_LEN  32
#define AWS_SINGLE6_LEN 128
#define AWS_PREFIX_LEN  28 /* the only length of a prefix on an interface, of each family */
#define AWS_PREFIX6_LEN 80

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
	enum cloud_access access;
	bool serves[IP_FAMILIES], tells_own6;
	bool prefixes; /* of IPv4; an IPv6 prefix costs what an address does, and is had wherever there are any */
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
	struct ipaddr own6;       /* the primary interface's own IPv6 address when we started; IP_NONE: it had none */
	bool type_known;          /* of a type that is newer than we are */
	struct ec2_type type;     /* as EC2 told */
	/* So that a sweep does not take an interface that an attach has just made for a leftover. */
	_Atomic uint64_t attaches_started, attaches_ended;
};

static inline struct aws *aws_of(struct cloud *cloud)
{
	return (struct aws *)(void *)cloud;
}

/** aws_identity() - from memory, or from metadata the first time. */
_must_check_ int aws_identity(struct aws *aws, int64_t deadline_us, struct cloud_identity *ret, struct err *err);

/** aws_meta_item() - one item of metadata that may lack. @mac: of the interface whose key it is; NULL: none. Return: 0
 *  with *ret owned (wiped_free()), or NULL when there is no such item. */
_must_check_ int aws_meta_item(struct aws *aws, const char *mac, const char *key, int64_t deadline_us, char **ret,
			       struct err *err);
/** aws_has_line() - is @line one of the lines of @text? */
bool aws_has_line(const char *text, const char *line);

/** aws_has_prefixes() - may interfaces of this instance hold prefixes? Yes of a type that nobody told us of yet: those
 *  that cannot are old. */
bool aws_has_prefixes(struct aws *aws);

/**
 * aws_nic_settle6() - tell the node's own IPv6 addresses from the blocks
 * @nic: id, slot and primary filled in; its blocks hold every single IPv6 address, and primary_addr6 the one that EC2
 *	calls primary, if any
 *
 * Where interfaces hold prefixes no single address was ever bought for pods: the first is the interface's own, the
 * others are somebody's. Else the primary interface's own is the one it had when we started. The same from EC2 and from
 * metadata, which must agree.
 */
void aws_nic_settle6(struct aws *aws, struct cloud_nic *nic);

/** aws_nic_route() - subnets and gateways of @nic; those of IPv6 where pods get it or got it, and else no own address of
 *  it, but for one that is to be told. */
void aws_nic_route(const struct aws *aws, const struct ec2_subnet *subnet, struct cloud_nic *nic);

/** aws_subnet_remember() - the ranges of a subnet, so that nobody asks for them again. */
void aws_subnet_remember(struct aws *aws, const struct ec2_subnet *subnet);
/** aws_subnet_get() - its ranges, from memory or from EC2. */
_must_check_ int aws_subnet_get(struct aws *aws, const char *id, int64_t deadline_us, struct ec2_subnet *ret,
				struct err *err);

/** aws_nic_finish() - fill in what EC2 does not say: primary, attached, foreign, own addresses, subnets, gateways. */
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

/** aws_fewer() - units to ask for when @count are not to be had: half, in the end one. */
unsigned aws_fewer(unsigned count);
/** aws_end_partial() - blocks that came before @rc and @why ended it are a success, unless nobody knows how it ended.
 *  Return: 0 with @got moved to @ret, or -1 with @got released. */
int aws_end_partial(struct cloud_nic *got, const char *nic, int rc, const struct err *why, struct cloud_nic *ret);

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
void aws_groups_follow(struct aws *aws, const struct ec2_nics *nics, const struct cloud_view *view,
		       int64_t deadline_us);

/* recover.c and glance.c; see struct cloud_ops. */
int aws_recover(struct cloud *cloud, const char *nic, const struct prefix *blocks, unsigned count, int64_t deadline_us,
		struct cloud_nic *ret, struct err *err);
int aws_glance(struct cloud *cloud, int64_t deadline_us, struct cloud_view *ret, struct err *err);
/** aws_list_metadata() - list() by metadata alone: the interfaces that it shows completely. */
int aws_list_metadata(struct cloud *cloud, int64_t deadline_us, struct cloud_view *ret, struct err *err);

/* access.c */

/** aws_ops() - the calls of a provider that may ask of EC2 what @access says. Return: static. */
const struct cloud_ops *aws_ops(enum cloud_access access);

/* provider.c; see struct cloud_ops. */
int aws_list(struct cloud *cloud, int64_t deadline_us, struct cloud_view *ret, struct err *err);
void aws_stats(struct cloud *cloud, struct cloud_stats *ret);
void aws_stop(struct cloud *cloud);
void aws_free(struct cloud *cloud);

#endif
