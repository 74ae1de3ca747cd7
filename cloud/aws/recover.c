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
 * Addresses and prefixes are never named in one call (InvalidParameterCombination), and each family has its own. Nothing is ever taken from another
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

/* struct group - blocks that one call may name: of one family, addresses or prefixes. */
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

static void pick(const struct prefix *blocks, unsigned count, enum ip_family family, bool single, struct group *ret)
{
	ret->count = 0;
	for (unsigned i = 0; i < count; i++)
		if (blocks[i].addr.family == family && (blocks[i].len == ipaddr_bits(&blocks[i].addr)) == single)
			ret->blocks[ret->count++] = blocks[i];
}

static int recover_all(struct recovery *r, const struct prefix *blocks, unsigned count, struct err *err)
{
	struct group group;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < 2 * IP_FAMILIES; i++) {
		pick(blocks, count, ip_family_at(i / 2), i % 2 == 0, &group);
		rc = recover_group(r, &group, err);
	}
	return rc;
}

int aws_recover(struct cloud *cloud, const char *nic, const struct prefix *blocks, unsigned count, int64_t deadline_us,
		struct cloud_nic *ret, struct err *err)
{
	struct recovery r = { .aws = aws_of(cloud), .nic = nic, .deadline_us = deadline_us };
	struct err why;
	int rc;

	if (count == 0 || count > CLOUD_BLOCKS_MAX)
		return err_set(err, ERR_BUG, DOMAIN, "recovery of %u blocks of %s", count, nic);
	rc = recover_all(&r, blocks, count, &why);
	if (aws_end_partial(&r.got, nic, rc, &why, ret) == 0)
		return 0;
	if (err)
		*err = rc == 0 ? r.refused : why;
	return err_wrap(err, "take back %u of %s", count, nic);
}
