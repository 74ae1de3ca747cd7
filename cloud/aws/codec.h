/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of EC2 and STS. Elements are found by their path from the root, never by name alone; what is not known is
 * skipped; document type declarations are refused. Limits are in xml.c.
 * Errors of all decoders: PROTOCOL (not the document that was expected, a limit), RETRY (no memory). Context: any
 * thread.
 */
#ifndef BERTH_AWS_CODEC_H
#define BERTH_AWS_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "berth/attr.h"
#include "berth/cloud.h"

struct aws_creds;
struct err;

#define EC2_ID_SIZE     64  /* "eni-attach-" and 17 hex digits, with room */
#define EC2_GROUPS_MAX  16  /* security groups per interface: quota 5, at most 16 */
#define EC2_NICS_MAX    512 /* interfaces that one of our questions can find; one instance has at most 68 */
#define EC2_SUBNETS_MAX 512 /* of one VPC in one zone; the quota is 200 per VPC, raised on request */
#define EC2_TEXT_SIZE   256 /* tag value and description: at most 255 characters */

#define EC2_DESCRIPTION "berth-" /* start of the description of every interface that we make */
#define EC2_TAG_OWNER   "node.berth.io/instance_id"
#define EC2_TAG_CLUSTER "node.berth.io/cluster"
#define EC2_TAG_CREATED "node.berth.io/created_at"
#define EC2_TAG_TOKEN   "node.berth.io/token" /* of the attach that made it */

/* Tags of subnets, by which users of amazon-vpc-cni-k8s say the same. */
#define EC2_TAG_SUBNET         "kubernetes.io/role/cni" /* "0": not for pods; anything else: for new interfaces */
#define EC2_TAG_SUBNET_CLUSTER "cni.networking.k8s.aws/cluster/" /* and a cluster's name: for those clusters only */

/** struct ec2_tracking - idle timeouts of the connections of an interface, in seconds; 0 = EC2's own. */
struct ec2_tracking {
	unsigned tcp_established_s, udp_stream_s, udp_s;
};

/** struct ec2_nic - one network interface; @nic's slot is the device index and its handle the attachment. */
struct ec2_nic {
	/* Owned; foreign, subnets, gateways, primary and attached are left to the caller. Its blocks hold every IPv6 address
	 * but the one that EC2 calls primary: which of them is the NIC's own is not EC2's to say. */
	struct cloud_nic nic;
	char instance[EC2_ID_SIZE]; /* attached to; "" = none */
	char attachment_status[16]; /* "attached", ...; "" = not attached */
	bool delete_on_termination;
	unsigned card;
	char vpc[EC2_ID_SIZE];
	char subnet[EC2_ID_SIZE];
	char description[EC2_TEXT_SIZE];
	char type[32];   /* "interface", "efa", ... */
	char status[16]; /* "available", "in-use", ... */
	bool requester_managed;
	bool operator_managed;
	bool operator_hidden;      /* shown only because somebody asked for it */
	bool no_manage;            /* tagged so by an operator */
	char owner[EC2_TEXT_SIZE]; /* value of EC2_TAG_OWNER; "" = no such tag */
	int64_t created_us;        /* wall clock, by EC2_TAG_CREATED; 0 = no such tag, or not a time */
	struct ec2_tracking tracking;
	char token[EC2_ID_SIZE]; /* of EC2_TAG_TOKEN */
	unsigned group_count;
	char groups[EC2_GROUPS_MAX][EC2_ID_SIZE];
};

struct ec2_nics {
	unsigned count;
	struct ec2_nic *nics; /* owned */
};

/** struct ec2_subnet - one subnet. */
struct ec2_subnet {
	char id[EC2_ID_SIZE];
	char vpc[EC2_ID_SIZE];
	char zone[64];
	struct prefix prefix;  /* IPv4; IP_NONE: it has none */
	struct prefix prefix6; /* IPv6; IP_NONE: it has none */
	uint64_t free;         /* IPv4 addresses */
	bool tagged;           /* by EC2_TAG_SUBNET, with any value */
	bool excluded;         /* with the value 0 */
	bool of_clusters;      /* by EC2_TAG_SUBNET_CLUSTER, for some cluster */
	bool of_ours;          /* for the one that was asked for */
};

struct ec2_subnets {
	unsigned count;
	struct ec2_subnet *subnets; /* owned */
};

/** struct ec2_type - the network limits of an instance type. */
struct ec2_type {
	char name[64];
	uint64_t nics_total;   /* over all cards */
	uint64_t nics_card0;   /* 0 = the answer does not list cards */
	uint64_t ipv4_per_nic; /* the primary included */
	uint64_t ipv6_per_nic; /* 0 = no IPv6 */
	uint64_t cards;        /* network cards; 0 = the answer does not say */
	bool nitro;            /* or bare metal: an interface may hold prefixes */
};

/** struct ec2_error - of an error document; cut to size. */
struct ec2_error {
	char code[64];
	char message[256];
};

void ec2_nic_done(struct ec2_nic *nic);
void ec2_nics_done(struct ec2_nics *nics);
void ec2_subnets_done(struct ec2_subnets *subnets);

/** ec2_decode_nics() - DescribeNetworkInterfaces; appends to @ret, nothing on failure. *ret_next: owned, NULL on the
 * last page. */
int ec2_decode_nics(const char *xml, size_t size, struct ec2_nics *ret, char **ret_next, struct err *err);
/** ec2_decode_create() - CreateNetworkInterface. */
int ec2_decode_create(const char *xml, size_t size, struct ec2_nic *ret, struct err *err);
/** ec2_decode_attach() - AttachNetworkInterface: the attachment ID. */
int ec2_decode_attach(const char *xml, size_t size, char ret[static EC2_ID_SIZE], struct err *err);
/** ec2_decode_assign() - AssignPrivateIpAddresses or AssignIpv6Addresses, by @family: id and blocks of @ret, which the
 *  caller zeroed and releases. */
int ec2_decode_assign(const char *xml, size_t size, enum ip_family family, struct cloud_nic *ret, struct err *err);
/** ec2_decode_type() - DescribeInstanceTypes: the type called @name. */
int ec2_decode_type(const char *xml, size_t size, const char *name, struct ec2_type *ret, struct err *err);
/** ec2_decode_subnets() - DescribeSubnets; appends to @ret, nothing on failure. @cluster: whose tags are ours; "" = none.
 *  *ret_next: owned, NULL on the last page. In codec_subnets.c. */
int ec2_decode_subnets(const char *xml, size_t size, const char *cluster, struct ec2_subnets *ret, char **ret_next,
		       struct err *err);
/** ec2_decode_ack() - an answer that says nothing but "done". */
int ec2_decode_ack(const char *xml, size_t size, const char *action, struct err *err);
/** sts_decode_creds() - AssumeRoleWithWebIdentity: what the caller releases with aws_creds_done(). */
int sts_decode_creds(const char *xml, size_t size, struct aws_creds *ret, struct err *err);
/** ec2_decode_error() - an error document, of STS too. Return: 0, or -1 when it is not one (a gateway's page). */
int ec2_decode_error(const char *xml, size_t size, struct ec2_error *ret);

#endif
