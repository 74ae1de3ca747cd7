/* SPDX-License-Identifier: Apache-2.0 */
/* Units of addresses: onto an interface, and off it. */
#include <string.h>

#include "berth/err.h"
#include "berth/str.h"
#include "provider.h"

#define DOMAIN  "aws"
#define V4_BITS 32

/* A subnet that cannot give all may still give some: half, then one. */
static unsigned fewer(unsigned count)
{
	return count <= 3 ? 1 : count / 2;
}

int aws_assign(struct cloud *cloud, const char *nic, const struct cloud_want *wants, int64_t deadline_us,
	       struct cloud_nic *ret, struct err *err)
{
	struct aws *aws = aws_of(cloud);
	unsigned count = wants[0].count;
	const unsigned tries[] = { count, fewer(count), 1 };
	struct cloud_nic got = { 0 };
	struct err why;
	int r = -1;

	if (count == 0 || wants[0].len != V4_BITS || wants[1].count)
		return err_set(err, ERR_BUG, DOMAIN, "assign of nothing to %s", nic);
	for (unsigned i = 0; r < 0 && i < ARRAY_SIZE(tries); i++) {
		if (i > 0 && tries[i] >= tries[i - 1])
			break;
		count = tries[i];
		r = ec2_assign(&aws->ec2, nic, count, deadline_us, &got, &why);
		if (r < 0 && why.class != ERR_EXHAUSTED)
			break;
	}
	if (r < 0) {
		if (err)
			*err = why;
		return err_wrap(err, "assign %u to %s", count, nic);
	}
	if (got.block_count == 0 || got.block_count > count || (got.id[0] && !str_equal(got.id, nic))) {
		r = err_set(err, ERR_AMBIGUOUS, DOMAIN, "assign %u to %s: the answer lists %u of %s", count, nic,
			    got.block_count, got.id);
		cloud_nic_done(&got);
		return r;
	}
	(void)str_copy(got.id, sizeof(got.id), nic);
	*ret = got;
	return 0;
}

/* EC2 refuses the whole call when one address is not there: find out which are, and name only those. */
static int release_present(struct aws *aws, const char *nic, const struct prefix *blocks, unsigned count,
			   int64_t deadline_us, const struct err *why, struct err *err)
{
	const struct ec2_filter filter = { "network-interface-id", nic };
	struct prefix present[CLOUD_BLOCKS_MAX];
	unsigned present_count = 0;
	struct ec2_nics nics;

	if (ec2_nics_describe(&aws->ec2, &filter, 1, deadline_us, &nics, err) < 0)
		return -1;
	for (unsigned i = 0; i < count; i++) {
		if (aws_nics_have(&nics, &blocks[i]))
			present[present_count++] = blocks[i];
	}
	ec2_nics_done(&nics);
	if (present_count == 0)
		return 0;
	if (present_count == count) {
		if (err)
			*err = *why;
		return -1;
	}
	return ec2_unassign(&aws->ec2, nic, present, present_count, deadline_us, err);
}

int aws_release(struct cloud *cloud, const char *nic, const struct prefix *blocks, unsigned count, int64_t deadline_us,
		struct err *err)
{
	struct aws *aws = aws_of(cloud);
	struct err why;
	int r;

	if (count == 0 || count > CLOUD_BLOCKS_MAX)
		return err_set(err, ERR_BUG, DOMAIN, "release of %u blocks of %s", count, nic);
	r = ec2_unassign(&aws->ec2, nic, blocks, count, deadline_us, &why);
	if (r == 0 || why.class == ERR_NOTFOUND)
		return 0;
	if (why.class == ERR_INVALID)
		r = release_present(aws, nic, blocks, count, deadline_us, &why, &why);
	if (r == 0)
		return 0;
	if (err)
		*err = why;
	return err_wrap(err, "release %u of %s", count, nic);
}
