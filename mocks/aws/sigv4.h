/* SPDX-License-Identifier: Apache-2.0 */
/* Checking AWS Signature Version 4 as the service does: from what came over the wire. */
#ifndef MOCKS_AWS_SIGV4_H
#define MOCKS_AWS_SIGV4_H

#include <stdint.h>

struct httpd_request;

#define SIGV4_SCOPE_LEN  128 /* bytes of access key, region or service */
#define SIGV4_SIGNED_MAX 64  /* signed headers of one request */

enum sigv4_result {
	SIGV4_OK,
	SIGV4_MISSING,    /* no Authorization header */
	SIGV4_INCOMPLETE, /* the header, or one that it names, is not there or has not its form */
	SIGV4_MISMATCH,   /* somebody else's secret, or changed on the way */
};

/** struct sigv4 - what a request says about its signature. */
struct sigv4 {
	char access_key[SIGV4_SCOPE_LEN];
	char date[9]; /* yyyymmdd of the scope */
	char region[SIGV4_SCOPE_LEN];
	char service[SIGV4_SCOPE_LEN];
	char signed_headers[1024];
	char signature[65];
	char amz_date[17]; /* yyyymmddThhmmssZ */
	int64_t time_us;   /* the same, wall clock */
};

/** sigv4_parse() - read Authorization and X-Amz-Date. Return: OK, MISSING or INCOMPLETE. */
enum sigv4_result sigv4_parse(const struct httpd_request *request, struct sigv4 *ret);
/** sigv4_verify() - compute the signature with @secret and compare. Return: OK, INCOMPLETE or MISMATCH. */
enum sigv4_result sigv4_verify(const struct httpd_request *request, const struct sigv4 *sig, const char *secret);

#endif
