/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: units of addresses: onto an interface, and off it
 *
 * EC2 has one action per family, and each is done as a whole or not at all. A call of ours may need both:
 *
 *   assign   IPv4, then IPv6; what came before the other failed is a success, unless nobody knows how that one ended
 *   release  IPv4, then IPv6; what went before the other failed makes a CONFLICT of it: nobody may believe that all of
 *            the blocks are still there
 *
 * A subnet that cannot give all may still give some: all, half, then one. EC2 says three different things when it cannot,
 * and of a prefix each may mean no more than that the free addresses do not lie together.
 */
#include <string.h>

#include "berth/err.h"
#include "berth/str.h"
#include "provider.h"

#define DOMAIN "aws"

unsigned aws_fewer(unsigned count)
{
	return count <= 3 ? 1 : count / 2;
}

int aws_end_partial(struct cloud_nic *got, const char *nic, int rc, const struct err *why, struct cloud_nic *ret)
{
	if (got->block_count == 0 || (rc < 0 && why->class == ERR_AMBIGUOUS)) {
		cloud_nic_done(got);
		return -1;
	}
	(void)str_copy(got->id, sizeof(got->id), nic);
	*ret = *got;
	memset(got, 0, sizeof(*got));
	return 0;
}

/* ---- assign ---- */

struct assigning {
	struct aws *aws;
	const char *nic;
	int64_t deadline_us;
	struct cloud_nic got; /* owned; of all families so far */
};

static bool is_unit(unsigned family, uint8_t len)
{
	if (ip_family_at(family) == IP_V6)
		return len == AWS_SINGLE6_LEN || len == AWS_PREFIX6_LEN;
	return len == AWS_SINGLE_LEN || len == AWS_PREFIX_LEN;
}

/* Is the answer one to this question? No more than were asked for, all of that length. */
static bool is_answer(const struct assigning *a, const struct cloud_nic *came, unsigned family, unsigned count,
		      uint8_t len)
{
	for (unsigned i = 0; i < came->block_count; i++)
		if (came->blocks[i].prefix.addr.family != ip_family_at(family) || came->blocks[i].prefix.len != len)
			return false;
	return came->block_count > 0 && came->block_count <= count && (!came->id[0] || str_equal(came->id, a->nic));
}

static int take(struct assigning *a, struct cloud_nic *came, unsigned family, const struct cloud_want *want,
		struct err *err)
{
	int rc = 0;

	if (!is_answer(a, came, family, want->count, want->len))
		rc = err_set(err, ERR_AMBIGUOUS, DOMAIN, "the answer lists %u of %s", came->block_count, came->id);
	for (unsigned i = 0; rc == 0 && i < came->block_count; i++)
		if (cloud_nic_add_block(&a->got, &came->blocks[i].prefix) < 0)
			rc = err_set(err, ERR_AMBIGUOUS, DOMAIN, "no memory for what came");
	cloud_nic_done(came);
	return rc;
}

/* EC2 says no more than that a parameter is wrong when the subnet has no IPv6 range: say which subnet that is. */
static void explain_no_range(struct assigning *a, struct err *err)
{
	const struct ec2_filter filter = { "network-interface-id", a->nic };
	struct ec2_subnet subnet;
	struct ec2_nics nics;
	struct err ignored;

	if (ec2_nics_describe(&a->aws->ec2, &filter, 1, a->deadline_us, &nics, &ignored) < 0)
		return;
	if (nics.count == 1 && aws_subnet_get(a->aws, nics.nics[0].subnet, a->deadline_us, &subnet, &ignored) == 0 &&
	    subnet.prefix6.addr.family == IP_NONE)
		err_set(err, ERR_INVALID, DOMAIN, "subnet %s has no IPv6 range", subnet.id);
	ec2_nics_done(&nics);
}

static int assign_family(struct assigning *a, unsigned family, const struct cloud_want *want, struct err *err)
{
	const unsigned tries[] = { want->count, aws_fewer(want->count), 1 };
	struct cloud_want now = *want;
	struct cloud_nic came = { 0 };
	int rc = -1;

	for (unsigned i = 0; rc < 0 && i < ARRAY_SIZE(tries); i++) {
		if (i > 0 && tries[i] >= tries[i - 1])
			break;
		now.count = tries[i];
		rc = ec2_assign(&a->aws->ec2, a->nic, ip_family_at(family), &now, a->deadline_us, &came, err);
		if (rc < 0 && err->class != ERR_EXHAUSTED)
			break;
	}
	if (rc == 0)
		rc = take(a, &came, family, &now, err);
	else if (err->class == ERR_INVALID && ip_family_at(family) == IP_V6)
		explain_no_range(a, err);
	return rc < 0 ? err_wrap(err, "assign %u of /%u to %s", now.count, now.len, a->nic) : 0;
}

int aws_assign(struct cloud *cloud, const char *nic, const struct cloud_want *wants, int64_t deadline_us,
	       struct cloud_nic *ret, struct err *err)
{
	struct assigning a = { .aws = aws_of(cloud), .nic = nic, .deadline_us = deadline_us };
	unsigned asked = 0;
	struct err why;
	int rc = 0;

	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		asked += wants[i].count;
		if (wants[i].count > CLOUD_BLOCKS_MAX || (wants[i].count > 0 && !is_unit(i, wants[i].len)))
			return err_set(err, ERR_BUG, DOMAIN, "assign %u of /%u to %s", wants[i].count, wants[i].len,
				       nic);
	}
	if (asked == 0)
		return err_set(err, ERR_BUG, DOMAIN, "assign of nothing to %s", nic);
	for (unsigned i = 0; rc == 0 && i < IP_FAMILIES; i++)
		if (wants[i].count > 0)
			rc = assign_family(&a, i, &wants[i], &why);
	if (aws_end_partial(&a.got, nic, rc, &why, ret) == 0)
		return 0;
	if (err)
		*err = why;
	return -1;
}

/* ---- release ---- */

struct releasing {
	struct aws *aws;
	const char *nic;
	int64_t deadline_us;
	unsigned gone_count; /* blocks that are not there any more, whoever took them */
};

/* EC2 refuses the whole call when one address is not there: find out which are, and name only those. */
static int release_present(struct releasing *r, const struct prefix *blocks, unsigned count, struct err *err)
{
	const struct ec2_filter filter = { "network-interface-id", r->nic };
	struct prefix present[CLOUD_BLOCKS_MAX];
	const struct err why = *err;
	unsigned present_count = 0;
	struct ec2_nics nics;

	if (ec2_nics_describe(&r->aws->ec2, &filter, 1, r->deadline_us, &nics, err) < 0)
		return -1;
	for (unsigned i = 0; i < count; i++) {
		if (aws_nics_have(&nics, &blocks[i]))
			present[present_count++] = blocks[i];
	}
	ec2_nics_done(&nics);
	r->gone_count += count - present_count;
	if (present_count == 0)
		return 0;
	if (present_count == count) {
		*err = why;
		return -1;
	}
	return ec2_unassign(&r->aws->ec2, r->nic, present, present_count, r->deadline_us, err);
}

static int release_family(struct releasing *r, const struct prefix *blocks, unsigned count, struct err *err)
{
	int rc = ec2_unassign(&r->aws->ec2, r->nic, blocks, count, r->deadline_us, err);

	if (rc < 0 && err->class == ERR_INVALID)
		return release_present(r, blocks, count, err);
	/* The interface is not there, and so nothing of it. */
	if (rc < 0 && err->class != ERR_NOTFOUND)
		return -1;
	r->gone_count += count;
	return 0;
}

static unsigned of_family(const struct prefix *blocks, unsigned count, enum ip_family family,
			  struct prefix ret[static CLOUD_BLOCKS_MAX])
{
	unsigned found = 0;

	for (unsigned i = 0; i < count; i++)
		if (blocks[i].addr.family == family)
			ret[found++] = blocks[i];
	return found;
}

int aws_release(struct cloud *cloud, const char *nic, const struct prefix *blocks, unsigned count, int64_t deadline_us,
		struct err *err)
{
	struct releasing r = { .aws = aws_of(cloud), .nic = nic, .deadline_us = deadline_us };
	struct err why;
	int rc = 0;

	if (count == 0 || count > CLOUD_BLOCKS_MAX)
		return err_set(err, ERR_BUG, DOMAIN, "release of %u blocks of %s", count, nic);
	for (unsigned i = 0; rc == 0 && i < IP_FAMILIES; i++) {
		struct prefix part[CLOUD_BLOCKS_MAX];
		unsigned part_count = of_family(blocks, count, ip_family_at(i), part);

		if (part_count > 0)
			rc = release_family(&r, part, part_count, &why);
	}
	if (rc == 0)
		return 0;
	/* Of blocks that are said to be kept, pods get addresses again. */
	if (r.gone_count > 0 && why.class != ERR_AMBIGUOUS)
		why.class = ERR_CONFLICT;
	if (err)
		*err = why;
	return err_wrap(err, "release %u of %s, %u of which are gone", count, nic, r.gone_count);
}
