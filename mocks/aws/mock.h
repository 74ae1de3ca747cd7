/* SPDX-License-Identifier: Apache-2.0 */
/* What the running mock consists of; for the files that run it only. */
#ifndef MOCKS_AWS_MOCK_PRIVATE_H
#define MOCKS_AWS_MOCK_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "../faults.h"
#include "aws_mock.h"
#include "imds.h"
#include "throttle.h"

struct httpd;

#define AWS_COUNTERS_MAX 64 /* actions, "imds" and "?" */

struct aws_counter {
	char action[64];
	uint64_t calls, ok, errors, throttled;
};

/** struct aws_metadata - one metadata listener. */
struct aws_metadata {
	struct aws_mock *mock;
	struct aws_instance *instance; /* NULL: the shared one */
	struct httpd *httpd;
};

struct aws_mock {
	pthread_mutex_t lock; /* over all below that changes */
	pthread_cond_t due;   /* a transition may have become due earlier, or stopping */
	bool stopping;
	pthread_t thread;
	bool thread_runs;
	struct aws_model *model;
	struct throttle throttle;
	struct faults faults;
	struct imds imds;
	struct aws_counter counters[AWS_COUNTERS_MAX];
	unsigned counter_count;
	const struct clock *wall;
	bool by_source;
	int log_fd;
	struct httpd *api;
	struct aws_metadata metadata[1 + AWS_MOCK_METADATA_MAX];
	unsigned metadata_count;
};

#endif
