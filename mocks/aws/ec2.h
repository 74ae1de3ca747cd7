/* SPDX-License-Identifier: Apache-2.0 */
/* The EC2 query API over the model: one function per action, one table of them, one frame around all. */
#ifndef MOCKS_AWS_EC2_H
#define MOCKS_AWS_EC2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model.h"
#include "query.h"
#include "throttle.h"
#include "xml.h"

struct httpd_request;
struct strbuf;

#define EC2_VERSION "2016-11-15"
#define EC2_XMLNS   "http://ec2.amazonaws.com/doc/2016-11-15/"
/* AWS says 5 or 15 minutes; in practice 5. */
#define EC2_SKEW_US (INT64_C(300) * 1000000)

/** struct ec2_call - one request on its way through an action. */
struct ec2_call {
	struct aws_model *model;
	const struct query *query;
	struct xml *xml; /* the answer's body; an action that fails may leave half of it */
	struct ec2_err *err;
	int64_t now_us; /* the model's clock */
	int64_t wall_us;
};

enum ec2_class { EC2_READ, EC2_MUTATE, EC2_TAG };

struct ec2_action {
	const char *name;
	int (*run)(struct ec2_call *call); /* 0, or -1 with call->err */
	const char *params;                /* beside those that every action has; numbers as N */
	const char *required;              /* blank-separated; a list counts when one item is there */
	enum ec2_class class;
	bool no_dry_run; /* the action has no such parameter */
};

/** ec2_action_find() - NULL when there is none of that name. */
const struct ec2_action *ec2_action_find(const char *name);
/** ec2_execute() - check and run one call, answer or error into @out. Context: the model's lock is held.
 *  @request: as it came, for its signature. @ret_err: code "" when it went well. Return: HTTP status. */
unsigned ec2_execute(struct aws_model *model, struct throttle *throttle, const struct httpd_request *request,
		     const struct query *query, int64_t now_us, int64_t wall_us, struct strbuf *out,
		     struct ec2_err *ret_err);
/** ec2_error_body() - EC2's envelope of an error. */
void ec2_error_body(struct aws_model *model, const struct ec2_err *err, struct strbuf *out);
/** ec2_authenticate() - as EC2 does it. Return: 0 or -1 with @err. */
int ec2_authenticate(struct aws_model *model, const struct httpd_request *request, int64_t wall_us,
		     struct ec2_err *err);

/* ---- parameters; all return 0 or -1 with call->err; absent leaves *ret alone ------------------------------------ */

int ec2_param_uint(struct ec2_call *call, const char *name, unsigned max, unsigned *ret);
int ec2_param_bool(struct ec2_call *call, const char *name, bool *ret);
/** ec2_param_nic() - the NIC that a required NetworkInterfaceId names. */
int ec2_param_nic(struct ec2_call *call, struct aws_nic **ret);
/** ec2_not_found() - NotFound, or Malformed when @id cannot be one. @kind: of the id; @code: without suffix. */
int ec2_not_found(struct ec2_call *call, const char *kind, const char *code, const char *what, const char *id);
/** ec2_param_tags() - Tag.N.Key and Tag.N.Value below @prefix into a new object. */
int ec2_param_tags(struct ec2_call *call, const char *prefix, struct json_t **ret);

/* ---- pieces of answers ---- */

void ec2_put_return(struct ec2_call *call);
void ec2_put_tags(struct xml *xml, const struct json_t *tags);
/** ec2_put_nic() - a network interface; inside an instance it is shown without tags and zone. */
void ec2_put_nic(struct ec2_call *call, const struct aws_nic *nic, const struct aws_face *face, bool in_instance);
/** ec2_private_name() - "ip-10-0-1-10.us-west-2.compute.internal" */
void ec2_private_name(const struct aws_model *model, const struct ipaddr *addr, char *ret, size_t size);

/* ---- listing ---- */

/** struct ec2_match - one filter: the listed object offers its values, one of them must match one of the filter's. */
struct ec2_match {
	const struct query *query;
	unsigned filter;
	bool hit;
};

void ec2_offer(struct ec2_match *match, const char *value);
/** ec2_offer_tags() - answers tag:KEY and tag-key. Return: was it one of them? */
bool ec2_offer_tags(struct ec2_match *match, const char *name, const struct json_t *tags);

struct ec2_lister {
	const char *id_param, *set;
	unsigned page_min, page_max;
	bool ids_or_pages; /* ids and MaxResults together are refused */
	/** number @index of all there are; NULL = not visible now. */
	const void *(*item)(struct ec2_call *call, unsigned index);
	unsigned (*count)(struct ec2_call *call);
	/** its place in the order of paging, from 1. */
	uint64_t (*seq)(const void *item, unsigned index);
	const char *(*id)(const void *item);
	/** offer the values that filter @name looks at. Return: false when there is no such filter. */
	bool (*field)(struct ec2_call *call, const void *item, const char *name, struct ec2_match *match);
	void (*put)(struct ec2_call *call, const void *item);
	int (*missing)(struct ec2_call *call, const char *ids, bool many);
};

/** ec2_list() - ids, filters and paging of one Describe action. */
int ec2_list(struct ec2_call *call, const struct ec2_lister *lister);

/* ---- actions, by file ---- */

int ec2_describe_instances(struct ec2_call *call);
int ec2_describe_instance_types(struct ec2_call *call);
int ec2_describe_nics(struct ec2_call *call);
int ec2_describe_subnets(struct ec2_call *call);
int ec2_describe_vpcs(struct ec2_call *call);
int ec2_describe_groups(struct ec2_call *call);

int ec2_create_nic(struct ec2_call *call);
int ec2_attach_nic(struct ec2_call *call);
int ec2_detach_nic(struct ec2_call *call);
int ec2_delete_nic(struct ec2_call *call);
int ec2_modify_nic(struct ec2_call *call);
int ec2_assign4(struct ec2_call *call);
int ec2_unassign4(struct ec2_call *call);
int ec2_assign6(struct ec2_call *call);
int ec2_unassign6(struct ec2_call *call);
int ec2_create_reservation(struct ec2_call *call);
int ec2_get_reservations(struct ec2_call *call);
int ec2_delete_reservation(struct ec2_call *call);
int ec2_create_tags(struct ec2_call *call);
int ec2_delete_tags(struct ec2_call *call);

#endif
