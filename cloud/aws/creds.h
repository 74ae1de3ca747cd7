/* SPDX-License-Identifier: Apache-2.0 */
/* One set of credentials as a value, the JSON that it comes in, and tokens that others renew. Context of all: any
 * thread. */
#ifndef BERTH_AWS_CREDS_H
#define BERTH_AWS_CREDS_H

#include <stdbool.h>
#include <stdint.h>

#include "../crypto.h"
#include "berth/attr.h"

struct err;

#define AWS_TOKEN_MAX 20000U /* bytes: the longest that STS takes, clientTokenType of its model */

/** struct aws_creds - one set; release with aws_creds_done(), which wipes it. */
struct aws_creds {
	struct secret access_key;
	struct secret secret_key;
	struct secret token; /* none for long-lived keys */
	int64_t expires_us;  /* wall clock; 0 = never */
	uint64_t generation; /* tells one set from the next */
};

void aws_creds_done(struct aws_creds *creds);
/** aws_creds_set() - make a set of copies that never ends; @token: NULL or "" = none. Return: 0 or -ENOMEM. */
_must_check_ int aws_creds_set(struct aws_creds *creds, const char *access_key, const char *secret_key,
			       const char *token);
/** aws_creds_copy() - a second one with its own memory. Return: 0 or -ENOMEM. */
_must_check_ int aws_creds_copy(const struct aws_creds *from, struct aws_creds *ret);

/** aws_creds_decode() - the document of the metadata service, and of a container's agent. Errors: AUTH (no keys in it),
 *  PROTOCOL, RETRY. */
_must_check_ int aws_creds_decode(const char *text, struct aws_creds *ret, struct err *err);
/** aws_time_parse() - "2026-01-01T06:15:00Z", with or without a fraction. Return: 0 or -EINVAL. */
_must_check_ int aws_time_parse(const char *text, int64_t *ret_us);

/** aws_token_usable() - can it be sent in a header or a form: printable, no blank? */
bool aws_token_usable(const char *token);
/** aws_token_read() - a token in a file that somebody else (kubelet) renews; newlines behind it are cut off.
 *  Errors: AUTH (no such file, not a token), RETRY (no memory). */
_must_check_ int aws_token_read(const char *path, struct secret *ret, struct err *err);

/** aws_err_withhold() - replace the message of @err, or its word, where it repeats a piece of @secret. @err may be
 *  NULL. */
void aws_err_withhold(struct err *err, const struct secret *secret);

#endif
