/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator wants of new interfaces, kept beyond cloud_open(); see struct cloud_config. */
#ifndef BERTH_AWS_SETTINGS_H
#define BERTH_AWS_SETTINGS_H

#include <stdbool.h>

#include "berth/attr.h"
#include "berth/cloud.h"

struct err;

#define SETTINGS_SUBNETS_MAX 32 /* one in each zone, for several clusters' worth; a Region has at most 6 zones */
#define SETTINGS_TAGS_MAX    46 /* EC2 allows 50 a resource; 4 are ours */

/** struct aws_settings - all owned; embedded in the provider. */
struct aws_settings {
	char *cluster;
	bool no_discovery;
	unsigned subnet_count;
	const char **subnets;
	unsigned group_count;
	const char **groups;
	unsigned tag_count;
	struct cloud_tag *tags; /* without those whose key is ours */
};

/** aws_settings_init() - copies. Errors: INVALID (too many, too long, a key that AWS keeps for itself), RETRY (memory). */
_must_check_ int aws_settings_init(struct aws_settings *settings, const struct cloud_config *config, struct err *err);
void aws_settings_done(struct aws_settings *settings);

/** aws_settings_has_subnet() - is it one of those that new interfaces go to? */
bool aws_settings_has_subnet(const struct aws_settings *settings, const char *id);
/** aws_settings_discovers() - are tags of subnets looked at? */
bool aws_settings_discovers(const struct aws_settings *settings);

#endif
