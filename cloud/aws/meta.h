/* SPDX-License-Identifier: Apache-2.0 */
/* The instance metadata service, version 2 only. Thread-safe. */
#ifndef BERTH_AWS_META_H
#define BERTH_AWS_META_H

#include <pthread.h>
#include <stdint.h>

#include "../crypto.h"
#include "berth/attr.h"

struct aws_base;
struct err;

#define META_DEFAULT_ENDPOINT "http://169.254.169.254"

struct aws_meta {
	struct aws_base *base;
	char *endpoint; /* owned; without a trailing slash */
	/* Of the token: requests of several executor threads share it. Held for copying only. */
	pthread_mutex_t lock;
	struct secret token;
	int64_t refresh_us; /* boot clock; a new token is fetched after this */
};

/** aws_meta_init() - @endpoint: URL, NULL or "" for the link-local one. No I/O. Errors: INVALID, RETRY (no memory). */
int aws_meta_init(struct aws_meta *meta, struct aws_base *base, const char *endpoint, struct err *err);
void aws_meta_done(struct aws_meta *meta);

/**
 * aws_meta_get() - one item
 * @path: below /latest/meta-data/
 * @deadline_us: boot clock
 * @ret: owned text, to be released by wiped_free()
 * Errors: NOTFOUND (no such item), AUTH (switched off), RETRY, THROTTLED, PROTOCOL (not the metadata service).
 */
_must_check_ int aws_meta_get(struct aws_meta *meta, const char *path, int64_t deadline_us, char **ret,
			      struct err *err);

#endif
