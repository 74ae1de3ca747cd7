/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit of this folder works with. */
#ifndef BERTH_AWS_AWS_H
#define BERTH_AWS_AWS_H

#include <stdatomic.h>
#include <stdint.h>

#include "berth/clock.h"
#include "berth/cloud.h"
#include "berth/err.h"

struct http;
struct random;
struct stop;

#define AWS_REGION_SIZE 64 /* "us-isob-east-1" and the like */

/** struct aws_counters - struct cloud_stats while it is being counted; atomic, so that counting needs no lock. */
struct aws_counters {
	_Atomic uint64_t reads, mutations, metadata, throttle_wait_us;
	_Atomic uint64_t errors[ERR_CLASS_COUNT];
};

/** struct aws_base - embedded in the provider; borrowed by its parts, which are released before it. */
struct aws_base {
	const struct clock *boot;
	const struct clock *wall;
	const struct random *random;
	struct stop *stop;
	struct http *http;
	struct aws_counters counters;
};

/** aws_env() - a variable of the environment; "" is the same as not set. Return: borrowed or NULL. */
static inline const char *aws_env(const struct cloud_config *config, const char *name)
{
	const char *value = config->getenv(name);

	return value && *value ? value : NULL;
}

#endif
