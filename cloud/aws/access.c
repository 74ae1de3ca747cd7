/* SPDX-License-Identifier: Apache-2.0 */
/* What a provider may ask of EC2: everything, no changes, or nothing at all. */
#include "berth/check.h"
#include "berth/err.h"
#include "provider.h"

#define DOMAIN "aws"

static int refuse(const struct cloud *cloud, const char *what, struct err *err)
{
	const struct aws *aws = (const struct aws *)(const void *)cloud;

	return err_set(err, ERR_INVALID, DOMAIN, "%s: changes are switched off by access=%s", what,
		       aws->access == CLOUD_ACCESS_METADATA ? "metadata" : "read");
}

static int no_assign(struct cloud *cloud, _unused_ const char *nic, _unused_ const struct cloud_want *wants,
		     _unused_ int64_t deadline_us, _unused_ struct cloud_nic *ret, struct err *err)
{
	return refuse(cloud, "assign", err);
}

static int no_recover(struct cloud *cloud, _unused_ const char *nic, _unused_ const struct prefix *blocks,
		      _unused_ unsigned count, _unused_ int64_t deadline_us, _unused_ struct cloud_nic *ret,
		      struct err *err)
{
	return refuse(cloud, "recover", err);
}

static int no_release(struct cloud *cloud, _unused_ const char *nic, _unused_ const struct prefix *blocks,
		      _unused_ unsigned count, _unused_ int64_t deadline_us, struct err *err)
{
	return refuse(cloud, "release", err);
}

static int no_attach(struct cloud *cloud, _unused_ const struct cloud_attach *want, _unused_ int64_t deadline_us,
		     _unused_ struct cloud_nic *ret, struct err *err)
{
	return refuse(cloud, "attach", err);
}

static int no_detach(struct cloud *cloud, _unused_ const char *nic, _unused_ int64_t deadline_us, struct err *err)
{
	return refuse(cloud, "detach", err);
}

/* Nothing was made that could have been left over. */
static int no_sweep(_unused_ struct cloud *cloud, _unused_ int64_t deadline_us, unsigned *ret, _unused_ struct err *err)
{
	*ret = 0;
	return 0;
}

/* Not 169.254.169.253 (DNS), 169.254.169.123 (NTP) and 169.254.170.23 (the Pod Identity agent, which is on the node). */
static const struct cloud_guarded guarded[] = { { "169.254.169.254", 0 }, { "fd00:ec2::254", 0 }, { NULL, 0 } };

#define OPS(list_, assign_, recover_, release_, attach_, detach_, sweep_)                                              \
	{                                                                                                              \
		.name = "aws", .identify = aws_identify, .limits = aws_limits, .list = (list_), .assign = (assign_),   \
		.recover = (recover_), .glance = aws_glance, .release = (release_), .attach = (attach_),               \
		.detach = (detach_), .sweep = (sweep_), .stats = aws_stats, .stop = aws_stop, .free = aws_free,        \
		.guarded = guarded,                                                                                    \
	}

static const struct cloud_ops ops[CLOUD_ACCESS_COUNT] = {
	[CLOUD_ACCESS_FULL] = OPS(aws_list, aws_assign, aws_recover, aws_release, aws_attach, aws_detach, aws_sweep),
	[CLOUD_ACCESS_READ] = OPS(aws_list, no_assign, no_recover, no_release, no_attach, no_detach, no_sweep),
	[CLOUD_ACCESS_METADATA] =
		OPS(aws_list_metadata, no_assign, no_recover, no_release, no_attach, no_detach, no_sweep),
};

const struct cloud_ops *aws_ops(enum cloud_access access)
{
	CHECK((unsigned)access < CLOUD_ACCESS_COUNT);
	return &ops[access];
}
