/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: web identity
 *
 * IAM roles for service accounts (IRSA): kubelet keeps a token in a file, STS changes it for credentials of a role. The
 * request carries no signature, because the token is the proof. kubelet renews the file well before the token ends, so it
 * is read anew for each request and never kept.
 *
 *   AWS_WEB_IDENTITY_TOKEN_FILE   the token; when it is set, this is where credentials come from
 *   AWS_ROLE_ARN                  the role
 *   AWS_ROLE_SESSION_NAME         what CloudTrail calls us; else "berth-" and the host's name
 */
#ifndef BERTH_AWS_AUTH_WEB_H
#define BERTH_AWS_AUTH_WEB_H

#include <stdbool.h>
#include <stdint.h>

#include "berth/attr.h"

struct aws_base;
struct aws_creds;
struct aws_endpoints;
struct cloud_config;
struct err;

#define AWS_SESSION_SIZE 65 /* bytes: roleSessionNameType of the model of STS, 2-64 characters */

/** struct aws_web - embedded in struct aws_auth; does not change after aws_web_init(). */
struct aws_web {
	struct aws_base *base;
	struct aws_endpoints *endpoints;
	char *token_file; /* owned; NULL = not configured */
	char *role;       /* owned */
	char session[AWS_SESSION_SIZE];
};

/** aws_web_init() - read the environment; no I/O. Errors: INVALID (half of it), RETRY (no memory). */
int aws_web_init(struct aws_web *web, struct aws_base *base, struct aws_endpoints *endpoints,
		 const struct cloud_config *config, struct err *err);
void aws_web_done(struct aws_web *web);

/** aws_web_fetch() - new credentials from STS. Errors: what errors.c makes of STS's word, AUTH (no token), RETRY,
 *  PROTOCOL. Context: any thread. */
_must_check_ int aws_web_fetch(const struct aws_web *web, int64_t deadline_us, struct aws_creds *ret, struct err *err);

#endif
