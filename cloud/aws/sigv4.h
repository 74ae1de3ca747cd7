/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS Signature Version 4 for POST requests without a query. Our own, because libcurl's cannot correct clock skew,
 * cannot be held against fixed vectors, and behaves differently from one distribution to the next. Context of all: any
 * thread.
 */
#ifndef BERTH_AWS_SIGV4_H
#define BERTH_AWS_SIGV4_H

#include <stddef.h>
#include <stdint.h>

#include "../crypto.h"
#include "berth/attr.h"

struct strbuf;

#define SIGV4_DATE_SIZE 17 /* "20260101T000000Z" and the terminator */

/** struct sigv4_request - what is signed; all borrowed. */
struct sigv4_request {
	const char *path; /* of the URL, as sent */
	const char *host; /* with ":port" when it is not the scheme's own */
	const char *content_type;
	const char *body;
	size_t body_size;
	const char *region;
	const char *service; /* "ec2" */
	const char *access_key;
	const char *secret_key;
	const char *token; /* session token; NULL = none */
	int64_t time_us;   /* wall clock, skew corrected */
};

/** sigv4_date() - "20260101T000000Z". Return: 0 or -EINVAL (year outside 1970-9999). */
_must_check_ int sigv4_date(int64_t time_us, char ret[static SIGV4_DATE_SIZE]);
/** sigv4_canonical() - append the canonical request. Return: 0, -EINVAL, -EIO or -ENOMEM. */
_must_check_ int sigv4_canonical(const struct sigv4_request *request, struct strbuf *ret);
/** sigv4_string_to_sign() - append it, for a given canonical request. Return: the same. */
_must_check_ int sigv4_string_to_sign(const struct sigv4_request *request, const char *canonical, struct strbuf *ret);
/** sigv4_key() - the signing key of that day, region and service; the caller wipes it. Return: the same. */
_must_check_ int sigv4_key(const struct sigv4_request *request, uint8_t ret[static CRYPTO_SHA256_SIZE]);
/** sigv4_authorization() - append the value of the Authorization header. Return: the same. */
_must_check_ int sigv4_authorization(const struct sigv4_request *request, struct strbuf *ret);

#endif
