/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the model of the mock AWS
 *
 * What EC2 knows: subnets, instances, network interfaces. No HTTP and no clock in here: time is an argument (µs of one
 * clock that never goes back), so that tests walk through the state machine by hand.
 *
 *   NIC           PENDING -> AVAILABLE -> ATTACHING -> IN_USE -> DETACHING -> AVAILABLE
 *                                \-> dead (deleted)     ATTACHING -> DETACHING when detached early
 *
 * At most one transition of a NIC is due at a time (`due`, `due_us`); aws_model_advance() makes those whose time has
 * come. What others may see of a NIC is its `face`. Each change of a face first files the old one in the NIC's history,
 * so that a reader with a lag is shown the face of that time: reads older than one's own write, a deleted NIC that is
 * still listed, metadata that does not know an interface yet. All of EC2's staleness is this one mechanism.
 *
 * Errors are EC2's own: HTTP status, code, message.
 */
#ifndef MOCKS_AWS_MODEL_H
#define MOCKS_AWS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../addrpool.h"
#include "../prng.h"
#include "berth/attr.h"
#include "berth/ipaddr.h"

struct aws_mock_net_ops;
struct err;
struct json_t;

#define AWS_ID_LEN         64 /* bytes; "eni-attach-" and 17 hex are 28 */
#define AWS_NAME_LEN       128
#define AWS_TEXT_LEN       256
#define AWS_NIC_UNITS_MAX  64 /* addresses, or prefixes, of one family on one NIC: the largest limit of any type */
#define AWS_NIC_GROUPS_MAX 16 /* security groups on one NIC: EC2's hard limit; the default quota is 5 */
#define AWS_NIC_GROUPS     5
#define AWS_HISTORY_MAX    64   /* faces kept per NIC; at one change per 100 ms good for 6 s of lag */
#define AWS_NICS_MAX       5000 /* per account and Region, EC2's default quota */
#define AWS_SUBNETS_MAX    64
#define AWS_GROUPS_MAX     64
#define AWS_INSTANCES_MAX  256
#define AWS_TYPES_MAX      128
#define AWS_CREDS_MAX      64   /* rotated ones fall out oldest first */
#define AWS_IDENTITIES_MAX 16   /* web identities */
#define AWS_CIDRS_MAX      8    /* of one VPC */
#define AWS_TAGS_MAX       50   /* per resource */
#define AWS_TOKENS_MAX     4096 /* idempotency tokens remembered */
#define AWS_CARDS_MAX      32   /* network cards of the largest type */
#define AWS_DEVICE_MAX     63   /* highest device index */
#define AWS_SUBNET_HEAD    4    /* network, router, DNS, future use */
#define AWS_SUBNET_TAIL    1    /* broadcast */
#define AWS_PREFIX_LEN     28
#define AWS_PREFIX6_LEN    80
#define AWS_MTU            9001 /* bytes, jumbo frames inside a VPC */

/** struct ec2_err - a refusal in EC2's words. */
struct ec2_err {
	unsigned status;
	char code[64];
	char message[512];
};

/** ec2_refuse() - fill in @err. Return: -1. */
_printf_(4, 5) int ec2_refuse(struct ec2_err *err, unsigned status, const char *code, const char *fmt, ...);

struct aws_type {
	char name[32];
	unsigned nics; /* per card */
	unsigned cards;
	unsigned nic_units; /* v4 addresses and prefixes of one NIC; the same for v6 */
	unsigned vcpus;
	bool bare_metal;
	char hypervisor[8]; /* "nitro", "xen"; "" on bare metal */
	char arch[8];
};

struct aws_group {
	char id[AWS_ID_LEN];
	char name[AWS_NAME_LEN];
	char vpc[AWS_ID_LEN];
	struct json_t *tags; /* owned */
};

struct aws_vpc {
	char id[AWS_ID_LEN];
	struct prefix cidrs[AWS_CIDRS_MAX];
	unsigned cidr_count;
	struct prefix cidr6; /* family 0: none */
	struct json_t *tags; /* owned */
};

struct aws_reservation {
	char id[AWS_ID_LEN];
	struct prefix cidr;
	bool for_prefixes; /* else explicit */
	char description[AWS_TEXT_LEN];
};

#define AWS_RESERVATIONS_MAX 16 /* per subnet */

struct aws_subnet {
	char id[AWS_ID_LEN];
	char az[32];
	char az_id[32];
	struct prefix cidr;
	struct prefix cidr6; /* family 0: none */
	struct addrpool pool;
	struct aws_reservation reservations[AWS_RESERVATIONS_MAX];
	unsigned reservation_count;
	struct json_t *tags; /* owned */
};

struct aws_instance {
	char id[AWS_ID_LEN];
	char name[AWS_NAME_LEN];
	const struct aws_type *type;
	struct aws_subnet *subnet;
	char image[AWS_ID_LEN];
	char state[16]; /* "running" */
	bool public;
	struct ipaddr public_ip;
	struct json_t *tags; /* owned */
};

struct aws_creds {
	char access_key[AWS_NAME_LEN];
	char secret[AWS_NAME_LEN];
	char *token;       /* owned, NULL = long-lived credentials */
	int64_t made_us;   /* wall clock */
	int64_t expiry_us; /* wall clock, 0 = never */
};

/** struct aws_identity - a token that STS changes for credentials of a role. */
struct aws_identity {
	char role[AWS_TEXT_LEN]; /* ARN */
	char *token;             /* owned */
	int64_t expiry_us;       /* wall clock, 0 = never */
	int64_t max_session_s;
};

enum aws_nic_status {
	AWS_NIC_PENDING,
	AWS_NIC_AVAILABLE,
	AWS_NIC_ATTACHING,
	AWS_NIC_IN_USE,
	AWS_NIC_DETACHING,
	AWS_NIC_STATUS_COUNT
};

/** struct aws_units - what one NIC holds of one family; of v4 addrs[0] is the primary. */
struct aws_units {
	struct ipaddr addrs[AWS_NIC_UNITS_MAX];
	unsigned addr_count;
	struct prefix prefixes[AWS_NIC_UNITS_MAX];
	unsigned prefix_count;
};

/** struct aws_tracking - connection tracking timeouts, in seconds; 0 = the instance type's own. */
struct aws_tracking {
	unsigned tcp_established_s, udp_s, udp_stream_s;
};

/** struct aws_face - the part of a NIC that changes. */
struct aws_face {
	enum aws_nic_status status;
	struct aws_instance *instance; /* NULL = not attached */
	char attachment[AWS_ID_LEN];
	unsigned device, card;
	int64_t attach_wall_us;
	bool delete_on_termination;
	bool source_dest_check;
	bool dead;
	struct aws_units v4, v6;
	struct aws_group *groups[AWS_NIC_GROUPS_MAX];
	unsigned group_count;
	char description[AWS_TEXT_LEN];
	struct aws_tracking tracking;
	struct json_t *tags; /* owned */
};

enum aws_due { AWS_DUE_NOTHING, AWS_DUE_CREATED, AWS_DUE_ATTACHED, AWS_DUE_DETACHED };

struct aws_old_face {
	int64_t until_us; /* it was the face before this time */
	struct aws_face face;
};

struct aws_nic {
	uint64_t seq; /* order of creation, never reused: what paging counts by */
	char id[AWS_ID_LEN];
	struct macaddr mac;
	struct aws_subnet *subnet;
	char type[16];                /* "interface", "trunk", "efa", "efa-only" */
	bool managed;                 /* belongs to a service of AWS: requester-managed */
	char operator_[AWS_NAME_LEN]; /* the service that operates it: operator-managed; "" = none */
	bool hidden;                  /* not shown unless IncludeManagedResources is asked for */
	int64_t created_us;
	struct aws_face face;
	struct aws_old_face *history[AWS_HISTORY_MAX]; /* owned, oldest first */
	unsigned history_count;
	enum aws_due due;
	int64_t due_us;
};

struct aws_timings {
	int64_t create_ms, attach_ms, detach_ms; /* until the state after the call's */
	int64_t imds_lag_ms, describe_lag_ms;
	struct json_t *call_ms; /* owned object ACTION or "*" -> ms; may be NULL */
};

/** struct aws_token - one idempotency token: what was asked with it and what came of it. */
struct aws_token {
	char *token;   /* owned */
	char *request; /* owned, canonical text of all other parameters */
	char nic[AWS_ID_LEN];
};

struct aws_model {
	char account[16], region[32], role[AWS_NAME_LEN];
	int64_t role_lifetime_us;
	struct aws_vpc vpc;
	struct aws_subnet *subnets[AWS_SUBNETS_MAX];
	unsigned subnet_count;
	struct aws_group *groups[AWS_GROUPS_MAX];
	unsigned group_count;
	struct aws_instance *instances[AWS_INSTANCES_MAX];
	unsigned instance_count;
	struct aws_type types[AWS_TYPES_MAX];
	unsigned type_count;
	struct aws_nic *nics[AWS_NICS_MAX]; /* by seq */
	unsigned nic_count;
	unsigned nic_quota;
	struct aws_creds creds[AWS_CREDS_MAX];
	unsigned cred_count;
	char role_key[AWS_NAME_LEN]; /* access key that metadata hands out now, "" = none yet */
	struct aws_identity identities[AWS_IDENTITIES_MAX];
	unsigned identity_count;
	char web_key[AWS_NAME_LEN];    /* access key that STS gave last, "" = none yet */
	char agent_path[AWS_TEXT_LEN]; /* of the agent of containers, "" = there is none */
	char *agent_token;             /* owned; what it wants as Authorization, NULL = nothing */
	int64_t agent_lifetime_us;
	char agent_key[AWS_NAME_LEN]; /* access key that it hands out now, "" = none yet */
	struct aws_token *tokens;     /* owned, AWS_TOKENS_MAX */
	unsigned token_count;
	struct aws_timings timings;
	bool short_pages;
	bool skew_is_auth_failure;
	struct prng prng;
	uint64_t next_seq;
	const struct aws_mock_net_ops *net; /* borrowed, may be NULL */
	unsigned net_errors;
	char net_error[AWS_TEXT_LEN];
};

/* ---- life ---- */

/** aws_model_new() - an empty model with the built-in instance types. Return: owned or NULL. */
struct aws_model *aws_model_new(void);
void aws_model_free(struct aws_model *model);
/** aws_model_advance() - make every transition that is due at @now_us. Return: when the next one is, INT64_MAX =
 *  none. */
int64_t aws_model_advance(struct aws_model *model, int64_t now_us);
/** aws_model_boot() - attach the primary NIC of @instance at once, with @mac and @primary (family 0: any). @ret may be
 *  NULL. Errors: those of creating a NIC. */
int aws_model_boot(struct aws_model *model, struct aws_instance *instance, const struct macaddr *mac,
		   const struct ipaddr *primary, const struct prefix *more, unsigned more_count, struct ec2_err *err);

/* ---- finding; borrowed, NULL = there is none ---- */

struct aws_subnet *aws_subnet_find(const struct aws_model *model, const char *id);
struct aws_group *aws_group_find(const struct aws_model *model, const char *id);
/** aws_instance_find() - by id or by name. */
struct aws_instance *aws_instance_find(const struct aws_model *model, const char *id_or_name);
const struct aws_type *aws_type_find(const struct aws_model *model, const char *name);
/** aws_nic_find() - alive, by id, as it really is. */
struct aws_nic *aws_nic_find(const struct aws_model *model, const char *id);
/** aws_nic_not_ours() - does a service of AWS own it, so that nobody else may change it? */
bool aws_nic_not_ours(const struct aws_nic *nic);
struct aws_nic *aws_nic_find_attachment(const struct aws_model *model, const char *attachment);
/** aws_nic_at() - the NIC in this slot of this instance, attaching and detaching included. */
struct aws_nic *aws_nic_at(const struct aws_model *model, const struct aws_instance *instance, unsigned card,
			   unsigned device);
struct aws_creds *aws_creds_find(struct aws_model *model, const char *access_key);
/** aws_creds_role() - the credentials of the role as metadata hands them out at @wall_us, minted anew when they are
 *  about to expire. NULL without memory. */
const struct aws_creds *aws_creds_role(struct aws_model *model, int64_t wall_us);
/** aws_creds_agent() - the same of the agent of containers. */
const struct aws_creds *aws_creds_agent(struct aws_model *model, int64_t wall_us);
/** aws_creds_mint() - new temporary credentials that EC2 will take. NULL without memory. */
const struct aws_creds *aws_creds_mint(struct aws_model *model, int64_t lifetime_us, int64_t wall_us);
/** aws_view() - the face that a reader sees who lags @lag_us behind @now_us. NULL = not there (yet, or any more). */
const struct aws_face *aws_view(const struct aws_nic *nic, int64_t now_us, int64_t lag_us);
const char *aws_nic_status_name(enum aws_nic_status status);
/** aws_id_new() - @kind and "-0" and 16 hex digits into @ret. */
void aws_id_new(struct aws_model *model, const char *kind, char ret[static AWS_ID_LEN]);

/* ---- changing ---- */

/** aws_change() - must come before any change of nic->face outside the calls below: files the old face. */
int aws_change(struct aws_model *model, struct aws_nic *nic, int64_t now_us);

/** struct aws_want - units to be added to a NIC: of addrs/addr_count and prefixes/prefix_count one at most is set. */
struct aws_want {
	enum ip_family family;
	unsigned addr_count; /* any so many */
	unsigned prefix_count;
	struct aws_units explicit_; /* exactly these */
	bool reassign;              /* explicit addresses may be taken from another NIC */
};

struct aws_create {
	struct aws_subnet *subnet;
	struct ipaddr primary;  /* family 0: any */
	struct macaddr mac;     /* all zero: any */
	struct aws_want v4, v6; /* beside the primary */
	struct aws_group *groups[AWS_NIC_GROUPS_MAX];
	unsigned group_count;
	const char *description;
	const struct json_t *tags; /* borrowed, may be NULL */
	const char *type;          /* NULL = "interface" */
	bool managed;
};

int aws_nic_create(struct aws_model *model, const struct aws_create *want, int64_t now_us, struct aws_nic **ret,
		   struct ec2_err *err);
int aws_nic_attach(struct aws_model *model, struct aws_nic *nic, struct aws_instance *instance, unsigned card,
		   unsigned device, int64_t now_us, struct ec2_err *err);
int aws_nic_detach(struct aws_model *model, struct aws_nic *nic, int64_t now_us, struct ec2_err *err);
int aws_nic_delete(struct aws_model *model, struct aws_nic *nic, int64_t now_us, struct ec2_err *err);
/** aws_nic_assign() - all of it or nothing. @ret_got: the new ones. */
int aws_nic_assign(struct aws_model *model, struct aws_nic *nic, const struct aws_want *want, int64_t now_us,
		   struct aws_units *ret_got, struct ec2_err *err);
/** aws_nic_unassign() - all of @units, or nothing when one of them is not there or is the primary. */
int aws_nic_unassign(struct aws_model *model, struct aws_nic *nic, enum ip_family family, const struct aws_units *units,
		     int64_t now_us, struct ec2_err *err);

/** aws_units_take() - take @want out of the subnet for a NIC that will hold it. Part of assign.c, used by create. */
int aws_units_take(struct aws_model *model, struct aws_subnet *subnet, const struct aws_want *want,
		   struct aws_units *ret, struct ec2_err *err);
/** aws_units_give() - back to the subnet; v6 needs nothing, its space is not counted. */
void aws_units_give(struct aws_subnet *subnet, const struct aws_units *units);
/** aws_want_count() - how many slots of a NIC @want takes. */
unsigned aws_want_count(const struct aws_want *want);

/* ---- the network behind it; each is nothing without net ops ---- */

void aws_net_attach(struct aws_model *model, const struct aws_nic *nic);
void aws_net_detach(struct aws_model *model, const struct aws_nic *nic);
void aws_net_units(struct aws_model *model, const struct aws_nic *nic, const struct aws_units *units, bool assign);

#endif
