/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: credentials
 *
 * Where they come from is decided once, by the environment alone, in the order of the AWS SDKs: the first source that is
 * configured is the only one that is asked. One that fails never makes room for the next: a node's role in place of a
 * service account's would work with the wrong permissions, which is harder to find than an error.
 *
 *   environment     AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; never replaced
 *   web identity    auth_web.h
 *   container       auth_container.h
 *   instance role   auth_role.h
 *
 * Temporary ones are replaced ahead of their end by one caller while the others go on with the old ones. When that
 * fails, the old ones stay in use and it is tried again, sooner the less time is left. At their end:
 *
 *   instance role   they stay in use. The metadata service itself hands out sets that have ended when its own source is
 *                   down, and EC2 then accepts them (the SDKs call it static stability).
 *   others          they are of no use any more, and the source's own error says more than EC2's would.
 *
 * An API that refuses a set causes one fetch of another one, whatever the clock says.
 */
#ifndef BERTH_AWS_AUTH_H
#define BERTH_AWS_AUTH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth_container.h"
#include "auth_web.h"
#include "berth/attr.h"
#include "creds.h"

struct aws_base;
struct aws_endpoints;
struct aws_meta;
struct cloud_config;
struct err;
struct aws_source;

struct aws_auth {
	struct aws_base *base;
	struct aws_meta *meta;
	struct aws_web web;
	struct aws_container container;
	const struct aws_source *source; /* static; does not change after aws_auth_init() */
	/* Of all below: executor threads share the set. Never held during I/O. */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a refresh ended */
	struct aws_creds creds;
	int64_t refresh_us; /* wall clock; fetch anew after this */
	bool refreshing;    /* one caller is fetching */
	bool refused;       /* the API did not accept the present set */
};

/**
 * aws_auth_init() - choose the source; no I/O
 * @base, @meta, @endpoints: borrowed; @config: only read here
 * Errors: INVALID (a source is half configured), RETRY (no memory).
 */
int aws_auth_init(struct aws_auth *auth, struct aws_base *base, struct aws_meta *meta, struct aws_endpoints *endpoints,
		  const struct cloud_config *config, struct err *err);
void aws_auth_done(struct aws_auth *auth);

/** aws_auth_source() - "web identity", ...: static. */
const char *aws_auth_source(const struct aws_auth *auth);

/** aws_auth_get() - a copy of the present set, fetched if need be. Errors: AUTH (none is to be had), INVALID (STS does
 *  not take what is configured), RETRY, THROTTLED, PROTOCOL; the message starts with the source. */
_must_check_ int aws_auth_get(struct aws_auth *auth, int64_t deadline_us, struct aws_creds *ret, struct err *err);

/**
 * aws_auth_refused() - the API did not accept that set
 * Return: true when aws_auth_get() will have another one, so that one more attempt makes sense.
 */
bool aws_auth_refused(struct aws_auth *auth, uint64_t generation);

#endif
