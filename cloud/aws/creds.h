/* SPDX-License-Identifier: Apache-2.0 */
/* One set of credentials as a value, and the documents that it comes in. Context of all: any thread. */
#ifndef BERTH_AWS_CREDS_H
#define BERTH_AWS_CREDS_H

#include <stdint.h>

#include "../crypto.h"
#include "berth/attr.h"

struct err;

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

/** aws_creds_decode() - the role's document of the metadata service. Errors: AUTH (no keys in it), PROTOCOL, RETRY. */
_must_check_ int aws_creds_decode(const char *text, struct aws_creds *ret, struct err *err);
/** aws_time_parse() - "2026-01-01T06:15:00Z", with or without a fraction. Return: 0 or -EINVAL. */
_must_check_ int aws_time_parse(const char *text, int64_t *ret_us);

#endif
