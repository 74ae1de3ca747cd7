/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers: ENIs of the default card, cards, IPv4 (= IPv6) addresses per ENI, vCPUs, as DescribeInstanceTypes has
 * them.
 */
#include "types.h"

#include "berth/str.h"
#include "model.h"

struct row {
	const char *name, *hypervisor, *arch;
	unsigned nics, cards, nic_units, vcpus;
};

static const struct row rows[] = {
	{ "t2.micro", "xen", "x86_64", 2, 1, 2, 1 },           { "t2.medium", "xen", "x86_64", 3, 1, 6, 2 },
	{ "t3.nano", "nitro", "x86_64", 2, 1, 2, 2 },          { "t3.micro", "nitro", "x86_64", 2, 1, 2, 2 },
	{ "t3.small", "nitro", "x86_64", 3, 1, 4, 2 },         { "t3.medium", "nitro", "x86_64", 3, 1, 6, 2 },
	{ "t3.large", "nitro", "x86_64", 3, 1, 12, 2 },        { "t3.xlarge", "nitro", "x86_64", 4, 1, 15, 4 },
	{ "t4g.small", "nitro", "arm64", 3, 1, 4, 2 },         { "t4g.medium", "nitro", "arm64", 3, 1, 6, 2 },
	{ "m4.large", "xen", "x86_64", 2, 1, 10, 2 },          { "c4.large", "xen", "x86_64", 3, 1, 10, 2 },
	{ "m5.large", "nitro", "x86_64", 3, 1, 10, 2 },        { "m5.xlarge", "nitro", "x86_64", 4, 1, 15, 4 },
	{ "m5.2xlarge", "nitro", "x86_64", 4, 1, 15, 8 },      { "m5.4xlarge", "nitro", "x86_64", 8, 1, 30, 16 },
	{ "m5.8xlarge", "nitro", "x86_64", 8, 1, 30, 32 },     { "m5.12xlarge", "nitro", "x86_64", 8, 1, 30, 48 },
	{ "m5.24xlarge", "nitro", "x86_64", 15, 1, 50, 96 },   { "m5.metal", "", "x86_64", 15, 1, 50, 96 },
	{ "c5.large", "nitro", "x86_64", 3, 1, 10, 2 },        { "c5.xlarge", "nitro", "x86_64", 4, 1, 15, 4 },
	{ "c5.4xlarge", "nitro", "x86_64", 8, 1, 30, 16 },     { "r5.large", "nitro", "x86_64", 3, 1, 10, 2 },
	{ "m6g.large", "nitro", "arm64", 3, 1, 10, 2 },        { "m6i.large", "nitro", "x86_64", 3, 1, 10, 2 },
	{ "m7g.medium", "nitro", "arm64", 2, 1, 4, 1 },        { "m7g.large", "nitro", "arm64", 3, 1, 10, 2 },
	{ "m7i.48xlarge", "nitro", "x86_64", 15, 1, 50, 192 }, { "m6in.32xlarge", "nitro", "x86_64", 8, 2, 50, 128 },
	{ "p4d.24xlarge", "nitro", "x86_64", 15, 4, 50, 96 },  { "p5.48xlarge", "nitro", "x86_64", 2, 32, 50, 192 },
};

unsigned aws_types_builtin(struct aws_type *types, unsigned max)
{
	unsigned count = 0;

	for (; count < ARRAY_SIZE(rows) && count < max; count++) {
		const struct row *row = &rows[count];
		struct aws_type *type = &types[count];

		*type = (struct aws_type){ .nics = row->nics,
					   .cards = row->cards,
					   .nic_units = row->nic_units,
					   .vcpus = row->vcpus,
					   .bare_metal = row->hypervisor[0] == '\0' };
		(void)str_copy(type->name, sizeof(type->name), row->name);
		(void)str_copy(type->hypervisor, sizeof(type->hypervisor), row->hypervisor);
		(void)str_copy(type->arch, sizeof(type->arch), row->arch);
	}
	return count;
}
