/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the variables that amazon-vpc-cni-k8s is set by; their meaning: its README and main.go. */
#include "../providers.h"
#include "berth/attr.h"
#include "berth/cloud.h"

static const struct cloud_var vars[] = {
	{ .name = "WARM_IP_TARGET", .rule = CLOUD_VAR_COUNT, .setting = "warmIPs" },
};

const struct cloud_var *aws_vars(unsigned *ret_count)
{
	*ret_count = ARRAY_SIZE(vars);
	return vars;
}
