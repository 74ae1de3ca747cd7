/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: container credentials
 *
 * An agent on the node hands out credentials by HTTP: that of EKS Pod Identity, that of ECS, or one of an operator's
 * own.
 *
 *   AWS_CONTAINER_CREDENTIALS_RELATIVE_URI   a path of http://169.254.170.2; wins over
 *   AWS_CONTAINER_CREDENTIALS_FULL_URI       a URL: https to any host, http only to what cannot leave the node
 *   AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE   sent as Authorization, read anew for each request; wins over
 *   AWS_CONTAINER_AUTHORIZATION_TOKEN
 *
 * Whoever may answer such a request may choose the credentials that we use, hence the check of the host, which is that of
 * the AWS SDKs.
 */
#ifndef BERTH_AWS_AUTH_CONTAINER_H
#define BERTH_AWS_AUTH_CONTAINER_H

#include <stdbool.h>
#include <stdint.h>

#include "../crypto.h"
#include "berth/attr.h"

struct aws_base;
struct aws_creds;
struct cloud_config;
struct err;

/** struct aws_container - embedded in struct aws_auth; does not change after aws_container_init(). */
struct aws_container {
	struct aws_base *base;
	char *url;           /* owned; NULL = not configured */
	char *token_file;    /* owned; NULL = none */
	struct secret token; /* of the environment */
};

/** aws_container_init() - read the environment; no I/O. Errors: INVALID (URL, token), RETRY (no memory). */
int aws_container_init(struct aws_container *container, struct aws_base *base, const struct cloud_config *config,
		       struct err *err);
void aws_container_done(struct aws_container *container);

/** aws_container_fetch() - what the agent hands out now. Errors: AUTH, RETRY, THROTTLED, PROTOCOL. Context: any thread. */
_must_check_ int aws_container_fetch(const struct aws_container *container, int64_t deadline_us, struct aws_creds *ret,
				     struct err *err);

/** aws_container_url_allowed() - may credentials come from there? Pure. */
bool aws_container_url_allowed(const char *url);
/** aws_container_decode() - an answer with that HTTP status: credentials, or why not. Errors: as above. Pure. */
_must_check_ int aws_container_decode(unsigned status, const char *text, struct aws_creds *ret, struct err *err);

#endif
