/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mock of the AWS that a node sees: the EC2 query API, AssumeRoleWithWebIdentity of STS on the same listener, the
 * instance metadata service (v2 only), an agent that hands out credentials to containers, and a control endpoint for
 * tests. As a library it runs inside a test's process on its own threads; `berth-mockcloud aws` is the
 * same as a program. mocks/aws/seed.h says what a seed is.
 *
 * Control endpoint, on the API's listener, unsigned:
 *   POST /_mock/fault         {"action","kind",...}: one switch (mocks/faults.h); metadata is the action "imds", the
 *                             agent of containers is "agent"
 *   POST /_mock/faults/clear
 *   POST /_mock/foreign       one of the seed's "nics": somebody else makes a NIC, and attaches it when it names an
 *                             instance -> {"nic","attachment","mac","device_index"}
 *   POST /_mock/remove        {"nic": ID, "units"?: ["10.0.1.7", "10.0.1.16/28"]}: somebody else unassigns these, or
 *                             detaches and deletes the NIC, at once
 *   POST /_mock/throttle      {"enabled"?: bool, "drain"?: ACTION or "*"}: the token buckets
 *   POST /_mock/timings       any keys of the seed's "timings"
 *   POST /_mock/credentials   {"expire": ACCESS_KEY, "role", "web" or "agent"}: these credentials, or those that were
 *                             handed out last by the metadata service, STS or the agent, end now
 *   POST /_mock/web_identity  one of the seed's "web_identities": replaces the token of that role
 *   POST /_mock/agent         any keys of the seed's "agent"
 *   GET  /_mock/state         the whole model, call counters included
 *   GET  /_mock/calls         {"reads": N, "mutations": N, "others": N, "actions": {ACTION: {"calls", "ok", "errors",
 *                             "throttled"}}} since the start; refused calls and dry runs count too
 */
#ifndef MOCKS_AWS_MOCK_H
#define MOCKS_AWS_MOCK_H

#include <stdbool.h>

#include "berth/ipaddr.h"

struct aws_mock;
struct clock;
struct err;
struct fault;

#define AWS_MOCK_METADATA_MAX 16 /* extra metadata listeners, one per instance */

/** struct aws_mock_net_nic - a NIC as the network behind the mock has to make it. */
struct aws_mock_net_nic {
	const char *node;   /* the instance's name */
	const char *ifname; /* "eth" and the device index */
	struct macaddr mac;
	struct ipaddr gateway;
	struct ipaddr primary;
	struct prefix subnet;
	unsigned mtu;
	bool configure;         /* the primary NIC: the distribution configures it */
	struct prefix subnet6;  /* family 0: the subnet has no IPv6 range */
	struct ipaddr primary6; /* its first IPv6 address; family 0: none */
	bool public;            /* its instance may reach the internet */
};

/**
 * struct aws_mock_net_ops - what the mock does to the network when its model changes; may be NULL as a whole
 *
 * Every call returns 0 or -1 with @err; a failure is counted, logged and shown in the state, the model goes on.
 * Context: any thread, one call at a time.
 */
struct aws_mock_net_ops {
	void *ctx;
	/** a NIC has become visible in its instance; its other addresses follow by addr_assign. */
	int (*nic_attach)(void *ctx, const struct aws_mock_net_nic *nic, struct err *err);
	/** it is gone; may never have been there. */
	int (*nic_detach)(void *ctx, const struct macaddr *mac, struct err *err);
	int (*addr_assign)(void *ctx, const struct macaddr *mac, const struct ipaddr *primary,
			   const struct prefix *prefix, struct err *err);
	int (*addr_unassign)(void *ctx, const struct macaddr *mac, const struct prefix *prefix, struct err *err);
	/** may this primary address reach the internet? */
	int (*public_set)(void *ctx, const struct ipaddr *primary, bool allowed, struct err *err);
};

struct aws_mock_metadata {
	const char *instance; /* name */
	const char *listen;   /* "ADDR:PORT" */
};

struct aws_mock_options {
	const char *api;      /* "ADDR:PORT"; NULL = 127.0.0.1, any port */
	const char *metadata; /* the same; answers by the client's address when by_source, else as the first instance */
	struct aws_mock_metadata metadata_for[AWS_MOCK_METADATA_MAX];
	unsigned metadata_for_count;
	bool by_source; /* which instance asks is told by its primary address; answers have IP TTL 1 */
	const struct aws_mock_net_ops *net; /* borrowed, NULL = no network */
	const struct clock *wall;           /* borrowed, NULL = clock_wall: signatures, credentials */
	int log_fd;                         /* borrowed; one JSON line per call; 0 or less = none */
};

/** aws_mock_start() - build the model from the text of a seed and serve it. @options may be NULL. Errors: PROTOCOL
 *  (seed), INVALID (options), RETRY (port in use). */
int aws_mock_start(const char *seed, const struct aws_mock_options *options, struct aws_mock **ret, struct err *err);
/** aws_mock_stop() - end every exchange, join all threads. NULL is fine. */
void aws_mock_stop(struct aws_mock *mock);

/** aws_mock_api_url() - "http://ADDR:PORT" of the EC2 API and the control endpoint; borrowed. */
const char *aws_mock_api_url(const struct aws_mock *mock);
/** aws_mock_metadata_url() - of the shared listener (@instance NULL) or of that instance's own; NULL when it has
 *  none. */
const char *aws_mock_metadata_url(const struct aws_mock *mock, const char *instance);
/** aws_mock_fault() - switch a fault on. Return: 0 or -ENOSPC. */
int aws_mock_fault(struct aws_mock *mock, const struct fault *fault);
/** aws_mock_faults_clear() - all of them off. */
void aws_mock_faults_clear(struct aws_mock *mock);
/** aws_mock_control() - what POST or GET /_mock/@path would do, with @body (may be NULL). Return: owned text of the
 *  answer, or NULL without memory; *ret_status (may be NULL) is the HTTP status. */
char *aws_mock_control(struct aws_mock *mock, const char *path, const char *body, unsigned *ret_status);

#endif
