/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: credentials
 *
 * From the environment (fixed), else from the instance's role through the metadata service (temporary). Temporary ones
 * are replaced ahead of their end by one caller while the others go on with the old ones. When that fails, or the
 * metadata service hands out expired ones, the old ones stay in use and it is tried again later: the API may still
 * accept them, and refusing ourselves would only turn a small outage into a large one.
 */
#ifndef BERTH_AWS_AUTH_H
#define BERTH_AWS_AUTH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "berth/attr.h"
#include "creds.h"

struct aws_base;
struct aws_meta;
struct err;

struct aws_auth {
	struct aws_base *base;
	struct aws_meta *meta;
	bool from_env;
	/* Of all below: executor threads share the set. Never held during I/O. */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a refresh ended */
	struct aws_creds creds;
	int64_t refresh_us; /* wall clock; fetch anew after this */
	bool refreshing;    /* one caller is fetching */
	bool refused;       /* the API did not accept the present set */
};

/**
 * aws_auth_init() - no I/O
 * @access_key, @secret_key, @token: of the environment, copied; NULL or "": not set. Without a pair of keys: the role.
 * Errors: INVALID (only one of the pair), RETRY (no memory).
 */
int aws_auth_init(struct aws_auth *auth, struct aws_base *base, struct aws_meta *meta, const char *access_key,
		  const char *secret_key, const char *token, struct err *err);
void aws_auth_done(struct aws_auth *auth);

/** aws_auth_get() - a copy of the present set, fetched if need be. Errors: AUTH (no role), RETRY, THROTTLED, PROTOCOL.
 */
_must_check_ int aws_auth_get(struct aws_auth *auth, int64_t deadline_us, struct aws_creds *ret, struct err *err);

/**
 * aws_auth_refused() - the API did not accept that set
 * Return: true when aws_auth_get() will have another one, so that one more attempt makes sense.
 */
bool aws_auth_refused(struct aws_auth *auth, uint64_t generation);

#endif
