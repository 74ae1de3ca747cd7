/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: taking back what the cloud took away
 *
 * EC2 assigns what is named, all or nothing: one address that somebody else has by now fails the call for all others. So:
 *
 *   all at once ─ done                                   the ordinary case: one call
 *        └─ one of them is taken: read the interface; what it has came by an earlier call
 *              └─ the rest in halves, down to the single one that is refused
 *
 * Addresses and prefixes are never named in one call (InvalidParameterCombination). Nothing is ever taken from another
 * interface: AllowReassignment would break the pod that has the address now.
 */
#include <string.h>

#include "berth/err.h"
#include "berth/str.h"
#include "errors.h"
#include "provider.h"

#define DOMAIN "aws"

struct recovery {
	struct aws *aws;
	const char *nic;
	int64_t deadline_us;
	struct cloud_nic got; /* owned */
	struct err refused;   /* of the last block that somebody else has */
};

/* struct group - blocks that one call may name. */
struct group {
	unsigned count;
	struct prefix blocks[CLOUD_BLOCKS_MAX];
};

static int keep(struct recovery *r, const struct prefix *block, struct err *err)
{
	/* -ENOSPC cannot be: no more came than were asked for. */
	return cloud_nic_add_block(&r->got, block) < 0 ? err_set(err, ERR_RETRY, DOMAIN, "no memory") : 0;
}

static bool is_named(const struct prefix *blocks, unsigned count, const struct prefix *block)
{
	for (unsigned i = 0; i < count; i++)
		if (prefix_cmp(&blocks[i], block) == 0)
			return true;
	return false;
}

/* All or none; an answer that says anything else is no answer. */
static int assign_all(struct recovery *r, const struct prefix *blocks, unsigned count, struct err *err)
{
	struct cloud_nic came = { 0 };
	int rc = ec2_assign_these(&r->aws->ec2, r->nic, blocks, count, r->deadline_us, &came, err);

	for (unsigned i = 0; rc == 0 && i < came.block_count; i++)
		if (!is_named(blocks, count, &came.blocks[i].prefix))
			rc = -1;
		else
			rc = keep(r, &came.blocks[i].prefix, err);
	if (rc < 0 && came.block_count == 0)
		return -1;
	if (rc < 0 || came.block_count != count)
		rc = err_set(err, ERR_AMBIGUOUS, DOMAIN, "%u were named, and the answer lists %u", count,
			     came.block_count);
	cloud_nic_done(&came);
	return rc;
}

/* What somebody else has is left out; every other failure ends it. */
static int assign_some(struct recovery *r, const struct prefix *blocks, unsigned count, struct err *err)
{
	unsigned half = count / 2;

	if (count == 0 || assign_all(r, blocks, count, err) == 0)
		return 0;
	if (!ec2_is_addr_taken(err))
		return -1;
	if (count == 1) {
		r->refused = *err;
		return 0;
	}
	if (assign_some(r, blocks, half, err) < 0)
		return -1;
	return assign_some(r, blocks + half, count - half, err);
}

/* Leaves in the group what the interface does not have; the rest has come already. */
static int keep_present(struct recovery *r, struct group *group, struct err *err)
{
	const struct ec2_filter filter = { "network-interface-id", r->nic };
	unsigned missing = 0;
	struct ec2_nics nics;
	int rc = 0;

	if (ec2_nics_describe(&r->aws->ec2, &filter, 1, r->deadline_us, &nics, err) < 0)
		return -1;
	for (unsigned i = 0; rc == 0 && i < group->count; i++) {
		if (aws_nics_have(&nics, &group->blocks[i]))
			rc = keep(r, &group->blocks[i], err);
		else
			group->blocks[missing++] = group->blocks[i];
	}
	ec2_nics_done(&nics);
	group->count = missing;
	return rc;
}

static int recover_group(struct recovery *r, struct group *group, struct err *err)
{
	if (group->count == 0 || assign_all(r, group->blocks, group->count, err) == 0)
		return 0;
	if (!ec2_is_addr_taken(err))
		return -1;
	r->refused = *err;
	if (keep_present(r, group, err) < 0)
		return -1;
	return group->count == 1 ? 0 : assign_some(r, group->blocks, group->count, err);
}

static int split(const struct prefix *blocks, unsigned count, struct group *addrs, struct group *prefixes,
		 struct err *err)
{
	for (unsigned i = 0; i < count; i++) {
		struct group *group = blocks[i].len == ipaddr_bits(&blocks[i].addr) ? addrs : prefixes;

		if (blocks[i].addr.family != IP_V4)
			return err_set(err, ERR_INVALID, DOMAIN, "only IPv4 blocks can be taken back");
		group->blocks[group->count++] = blocks[i];
	}
	return 0;
}

static int finish_take(struct recovery *r, int rc, struct cloud_nic *ret, struct err *err)
{
	/* What came before a later part failed is a success, unless nobody knows how that part ended. */
	if (r->got.block_count > 0 && (rc == 0 || err->class != ERR_AMBIGUOUS)) {
		(void)str_copy(r->got.id, sizeof(r->got.id), r->nic);
		*ret = r->got;
		return 0;
	}
	cloud_nic_done(&r->got);
	if (rc == 0)
		*err = r->refused;
	return -1;
}

int aws_recover(struct cloud *cloud, const char *nic, const struct prefix *blocks, unsigned count, int64_t deadline_us,
		struct cloud_nic *ret, struct err *err)
{
	struct recovery r = { .aws = aws_of(cloud), .nic = nic, .deadline_us = deadline_us };
	struct group addrs = { 0 }, prefixes = { 0 };
	struct err why;
	int rc;

	if (count == 0 || count > CLOUD_BLOCKS_MAX)
		return err_set(err, ERR_BUG, DOMAIN, "recovery of %u blocks of %s", count, nic);
	rc = split(blocks, count, &addrs, &prefixes, &why);
	if (rc == 0)
		rc = recover_group(&r, &addrs, &why);
	if (rc == 0)
		rc = recover_group(&r, &prefixes, &why);
	if (finish_take(&r, rc, ret, &why) == 0)
		return 0;
	if (err)
		*err = why;
	return err_wrap(err, "take back %u of %s", count, nic);
}
