/* SPDX-License-Identifier: Apache-2.0 */
/* A provider that is told of families, prefixes and access, and a subnet that has IPv6; beside tests/contract/aws_world.h. */
#ifndef TESTS_CONTRACT_AWS_UNITS_H
#define TESTS_CONTRACT_AWS_UNITS_H

#include "tests/contract/aws_world.h"

#define SUBNET  "subnet-0a000000000000001"
#define RANGE6  "2600:1f14:aa:bb00::/64"
#define GATEWAY "fe80:ec2::1"

/* @more_subnet: more members of the subnet, behind a comma. */
#define SEED6(subnet, more_subnet, type, more)                                                                         \
	"{\"region\":\"us-west-2\",\"vpc\":{\"cidrs\":[\"10.0.0.0/16\"],\"cidr6\":\"2600:1f14:aa:bb00::/56\"},"        \
	"\"subnets\":[{\"id\":\"" SUBNET "\",\"cidr\":\"" subnet "\",\"az\":\"us-west-2a\"" more_subnet "}],"          \
	"\"security_groups\":[{\"name\":\"nodes\"}],"                                                                  \
	"\"credentials\":[{\"access_key\":\"AKIDEXAMPLE\",\"secret\":\"" SECRET "\"}],"                                \
	"\"instances\":[{\"name\":\"n1\",\"id\":\"" INSTANCE "\",\"type\":\"" type "\",\"subnet\":0}]" more "}"
#define HAS6 ",\"cidr6\":\"" RANGE6 "\""
#define DUAL SEED6("10.0.1.0/24", HAS6, "m5.large", "")

/* In no /28 of the subnet are all addresses free, and in three of them nearly all. */
#define FRAGMENTED SEED6("10.0.1.0/26", HAS6 ",\"used\":[\"10.0.1.20\",\"10.0.1.40\"]", "m5.large", "")

/** struct served - what pods get. */
struct served {
	bool v4, v6, prefixes, own6;
	enum cloud_access access;
};

static inline void open_as(struct world *w, struct served served)
{
	const struct cloud_config config = { .cluster = "kube",
					     .wall = &w->wall,
					     .access = served.access,
					     .serves = { served.v4, served.v6 },
					     .tells_own6 = served.own6,
					     .prefixes = served.prefixes,
					     .no_discovery = true };

	if (cloud_open("aws", &config, &w->cloud, &w->err) < 0)
		fail_msg("open: %s", w->err.msg);
}

static inline void start_as(struct world *w, const char *seed, struct served served)
{
	start_mock(w, seed);
	env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
	env("AWS_SECRET_ACCESS_KEY", SECRET);
	open_as(w, served);
	identify(w);
}

/* The daemon starts again, told of something else. */
static inline void restart_as(struct world *w, struct served served)
{
	cloud_free(w->cloud);
	open_as(w, served);
	identify(w);
}

static inline int assign_units(struct world *w, const char *nic, struct cloud_want v4, struct cloud_want v6,
			       struct cloud_nic *ret)
{
	const struct cloud_want wants[IP_FAMILIES] = { v4, v6 };

	memset(ret, 0, sizeof(*ret));
	memset(&w->err, 0, sizeof(w->err));
	return w->cloud->ops->assign(w->cloud, nic, wants, in_seconds(20), ret, &w->err);
}

static inline void assigned(struct world *w, const char *nic, struct cloud_want v4, struct cloud_want v6,
			    struct cloud_nic *ret)
{
	if (assign_units(w, nic, v4, v6, ret) < 0)
		fail_msg("assign: %s %s", err_class_name(w->err.class), w->err.msg);
}

static inline int attach_units(struct world *w, const char *token, struct cloud_want v4, struct cloud_want v6,
			       struct cloud_nic *ret)
{
	struct cloud_attach want = { .slot = 1, .wants = { v4, v6 } };

	memset(ret, 0, sizeof(*ret));
	memset(&w->err, 0, sizeof(w->err));
	(void)str_copy(want.token, sizeof(want.token), token);
	return w->cloud->ops->attach(w->cloud, &want, in_seconds(30), ret, &w->err);
}

/* Blocks of that length: 32 and 28 are IPv4's, 128 and 80 those of IPv6. */
static inline unsigned blocks_of(const struct cloud_nic *nic, unsigned len)
{
	unsigned count = 0;

	for (unsigned i = 0; i < nic->block_count; i++) {
		const struct prefix *prefix = &nic->blocks[i].prefix;

		count += prefix->len == len && prefix->addr.family == (len == 128 || len == 80 ? IP_V6 : IP_V4);
	}
	return count;
}

static inline unsigned mutations(struct world *w)
{
	struct cloud_stats stats;

	w->cloud->ops->stats(w->cloud, &stats);
	return (unsigned)stats.mutations;
}

#endif
