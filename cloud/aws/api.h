/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EC2, one function per action: build the form, have it signed and sent, decode. Context of all: any thread.
 *
 * @deadline_us is boot clock. Errors of all: what errors.c makes of EC2's word, RETRY and AMBIGUOUS of the transport,
 * THROTTLED of the budget, PROTOCOL of the codec. Attach and assign are not idempotent: whatever leaves it open whether
 * they were done is AMBIGUOUS and is never repeated here. Everything else is repeated inside its deadline.
 */
#ifndef BERTH_AWS_API_H
#define BERTH_AWS_API_H

#include <stdatomic.h>
#include <stdint.h>

#include "../budget.h"
#include "aws.h"
#include "codec.h"

struct aws_auth;
struct aws_endpoints;
struct err;
struct http_response;
struct retry_policy;
struct strbuf;

/** struct ec2 - the client; embedded in the provider. */
struct ec2 {
	struct aws_base *base;
	struct aws_endpoints *endpoints;
	struct aws_auth *auth;
	struct budget budget;
	_Atomic int64_t offset_us; /* the API's clock minus ours, as last seen */
	_Atomic int64_t skew_us;   /* what is added to our clock in signatures */
};

/** ec2_init() - all borrowed; no I/O. Errors: RETRY (no mutex). */
int ec2_init(struct ec2 *ec2, struct aws_base *base, struct aws_endpoints *endpoints, struct aws_auth *auth,
	     struct err *err);
void ec2_done(struct ec2 *ec2);

/** ec2_retry_policy, ec2_budget_limits - of every call; the fleet simulation runs by the same numbers. */
extern const struct retry_policy ec2_retry_policy;
extern const struct budget_limit ec2_budget_limits[BUDGET_CLASS_COUNT];

/** struct ec2_call - one request. */
struct ec2_call {
	const char *action;
	const struct strbuf *form;
	enum budget_class class;
	bool idempotent;
};

/** ec2_call() - budget, sign, send, classify, repeat; call.c. On success @ret holds a body with status 200. */
_must_check_ int ec2_call(struct ec2 *ec2, const struct ec2_call *call, int64_t deadline_us, struct http_response *ret,
			  struct err *err);

/** struct ec2_filter - one name, one value. */
struct ec2_filter {
	const char *name;
	const char *value;
};

/** struct ec2_create - a new interface; strings borrowed. */
struct ec2_create {
	const char *subnet;
	const struct ec2_nic *like; /* whose security groups, unless @groups says others, and timeouts it gets */
	unsigned group_count;
	const char *const *groups;
	const char *instance;     /* owner tag and description */
	const char *cluster;      /* "" = no tag */
	const char *created_at;   /* ISO 8601 */
	const char *token;        /* a tag, by which it is found again */
	const char *client_token; /* of this very request: other parameters need another one */
	unsigned tag_count;
	const struct cloud_tag *tags; /* an operator's; none has a key of ours */
	struct cloud_want wants[IP_FAMILIES];
};

_must_check_ int ec2_nics_describe(struct ec2 *ec2, const struct ec2_filter *filters, unsigned filter_count,
				   int64_t deadline_us, struct ec2_nics *ret, struct err *err);
/** ec2_nics_describe_some() - the same, but no page more is asked for once there are @enough. */
_must_check_ int ec2_nics_describe_some(struct ec2 *ec2, const struct ec2_filter *filters, unsigned filter_count,
					unsigned enough, int64_t deadline_us, struct ec2_nics *ret, struct err *err);
_must_check_ int ec2_type_describe(struct ec2 *ec2, const char *type, int64_t deadline_us, struct ec2_type *ret,
				   struct err *err);
/** ec2_subnets_describe() - @cluster: whose tags are ours. */
_must_check_ int ec2_subnets_describe(struct ec2 *ec2, const struct ec2_filter *filters, unsigned filter_count,
				      const char *cluster, int64_t deadline_us, struct ec2_subnets *ret,
				      struct err *err);
_must_check_ int ec2_nic_create(struct ec2 *ec2, const struct ec2_create *want, int64_t deadline_us,
				struct ec2_nic *ret, struct err *err);
_must_check_ int ec2_nic_attach(struct ec2 *ec2, const char *nic, const char *instance, unsigned slot,
				int64_t deadline_us, char ret[static EC2_ID_SIZE], struct err *err);
/** ec2_die_with_instance() - DeleteOnTermination=true of that attachment. */
_must_check_ int ec2_die_with_instance(struct ec2 *ec2, const char *nic, const char *attachment, int64_t deadline_us,
				       struct err *err);
/** ec2_groups_set() - these security groups in place of those that it has. */
_must_check_ int ec2_groups_set(struct ec2 *ec2, const char *nic, unsigned count, const char groups[][EC2_ID_SIZE],
				int64_t deadline_us, struct err *err);
_must_check_ int ec2_nic_detach(struct ec2 *ec2, const char *attachment, int64_t deadline_us, struct err *err);
_must_check_ int ec2_nic_delete(struct ec2 *ec2, const char *nic, int64_t deadline_us, struct err *err);
/** ec2_assign() - units of one family, all or none; which, is EC2's choice. */
_must_check_ int ec2_assign(struct ec2 *ec2, const char *nic, enum ip_family family, const struct cloud_want *want,
			    int64_t deadline_us, struct cloud_nic *ret, struct err *err);
/** ec2_assign_these() - exactly these addresses or these prefixes of one family, all or none; never taken from another
 *  interface. */
_must_check_ int ec2_assign_these(struct ec2 *ec2, const char *nic, const struct prefix *blocks, unsigned count,
				  int64_t deadline_us, struct cloud_nic *ret, struct err *err);
/** ec2_unassign() - addresses and prefixes of one family, all or none. */
_must_check_ int ec2_unassign(struct ec2 *ec2, const char *nic, const struct prefix *blocks, unsigned count,
			      int64_t deadline_us, struct err *err);

#endif
