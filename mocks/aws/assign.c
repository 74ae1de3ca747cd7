/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and prefixes: out of a subnet, onto a NIC, and back. All of a request or nothing of it. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "aws_mock.h"
#include "berth/err.h"
#include "berth/str.h"
#include "model.h"

#define V6_TRIES 1024 /* random picks in a /64 collide never; the bound is for a subnet that somebody made tiny */

unsigned aws_want_count(const struct aws_want *want)
{
	return want->addr_count + want->prefix_count + want->explicit_.addr_count + want->explicit_.prefix_count;
}

void aws_units_give(struct aws_subnet *subnet, const struct aws_units *units)
{
	for (unsigned i = 0; i < units->addr_count; i++) {
		struct prefix host = prefix_host(&units->addrs[i]);

		if (host.addr.family == IP_V4)
			addrpool_give(&subnet->pool, &host);
	}
	for (unsigned i = 0; i < units->prefix_count; i++)
		if (units->prefixes[i].addr.family == IP_V4)
			addrpool_give(&subnet->pool, &units->prefixes[i]);
}

/* ---- IPv4 ---- */

static int refuse_explicit(struct ec2_err *err, const struct prefix *range, int why)
{
	char text[PREFIX_STRLEN];

	if (range->len == 32)
		(void)ipaddr_str(&range->addr, text);
	else
		(void)prefix_str(range, text);
	if (why == -EBUSY)
		return ec2_refuse(err, 400, "InvalidIPAddress.InUse", "The specified address is already in use.");
	return ec2_refuse(err, 400, "InvalidParameterValue", "invalid value for parameter address: %s", text);
}

static int take_explicit4(struct aws_subnet *subnet, const struct aws_units *want, struct aws_units *got,
			  struct ec2_err *err)
{
	for (unsigned i = 0; i < want->addr_count; i++) {
		struct prefix host = prefix_host(&want->addrs[i]);
		int rc = host.addr.family == IP_V4 ? addrpool_take(&subnet->pool, &host) : -ERANGE;

		if (rc < 0)
			return refuse_explicit(err, &host, rc);
		got->addrs[got->addr_count++] = want->addrs[i];
	}
	for (unsigned i = 0; i < want->prefix_count; i++) {
		const struct prefix *prefix = &want->prefixes[i];
		bool fits = prefix->addr.family == IP_V4 && prefix->len == AWS_PREFIX_LEN;
		int rc = fits ? addrpool_take(&subnet->pool, prefix) : -ERANGE;

		if (rc < 0)
			return refuse_explicit(err, prefix, rc);
		got->prefixes[got->prefix_count++] = *prefix;
	}
	return 0;
}

static int take_any4(struct aws_model *model, struct aws_subnet *subnet, const struct aws_want *want,
		     struct aws_units *got, struct ec2_err *err)
{
	uint32_t block_size = UINT32_C(1) << (32 - AWS_PREFIX_LEN);

	for (; got->addr_count < want->addr_count; got->addr_count++)
		if (addrpool_take_any(&subnet->pool, &model->prng, &got->addrs[got->addr_count]) < 0)
			return ec2_refuse(err, 400, "InsufficientFreeAddressesInSubnet",
					  "The specified subnet does not have enough free addresses to satisfy the "
					  "request.");
	if (want->prefix_count && subnet->pool.free_count < want->prefix_count * block_size)
		return ec2_refuse(err, 400, "InvalidParameterValue",
				  "There aren't sufficient free Ipv4 addresses or prefixes");
	for (; got->prefix_count < want->prefix_count; got->prefix_count++)
		if (addrpool_take_block(&subnet->pool, &model->prng, AWS_PREFIX_LEN,
					&got->prefixes[got->prefix_count]) < 0)
			return ec2_refuse(err, 400, "InsufficientCidrBlocks",
					  "The specified subnet does not have enough free cidr blocks to satisfy the "
					  "request.");
	return 0;
}

/* ---- IPv6: space is never short, so that what is in use is looked up on the NICs ---- */

static bool in_use6(const struct aws_model *model, const struct prefix *range, const struct aws_units *got)
{
	for (unsigned i = 0; i <= model->nic_count; i++) {
		const struct aws_units *units = i < model->nic_count ? &model->nics[i]->face.v6 : got;

		if (i < model->nic_count && model->nics[i]->face.dead)
			continue;
		for (unsigned k = 0; k < units->addr_count; k++)
			if (prefix_contains(range, &units->addrs[k]))
				return true;
		for (unsigned k = 0; k < units->prefix_count; k++)
			if (prefix_overlaps(range, &units->prefixes[k]))
				return true;
	}
	return false;
}

static int pick6(struct aws_model *model, const struct aws_subnet *subnet, unsigned len, const struct aws_units *got,
		 struct prefix *ret)
{
	for (unsigned try = 0; try < V6_TRIES; try++) {
		struct ipaddr addr = subnet->cidr6.addr;
		uint64_t bits = prng_next(&model->prng);

		for (unsigned i = 0; i < 8; i++)
			addr.bytes[8 + i] = (uint8_t)(bits >> (8 * i));
		*ret = prefix_of(&addr, len);
		/* The first /80 of a subnet holds the addresses that AWS keeps for itself. */
		if (addr.bytes[8] | addr.bytes[9] && !in_use6(model, ret, got))
			return 0;
	}
	return -ENOSPC;
}

static int take_explicit6(const struct aws_model *model, const struct aws_subnet *subnet, const struct aws_units *want,
			  struct aws_units *got, struct ec2_err *err)
{
	for (unsigned i = 0; i < want->addr_count; i++) {
		struct prefix host = prefix_host(&want->addrs[i]);

		if (!prefix_covers(&subnet->cidr6, &host))
			return refuse_explicit(err, &host, -ERANGE);
		if (in_use6(model, &host, got))
			return refuse_explicit(err, &host, -EBUSY);
		got->addrs[got->addr_count++] = want->addrs[i];
	}
	for (unsigned i = 0; i < want->prefix_count; i++) {
		const struct prefix *prefix = &want->prefixes[i];

		if (prefix->len != AWS_PREFIX6_LEN || !prefix_covers(&subnet->cidr6, prefix))
			return refuse_explicit(err, prefix, -ERANGE);
		if (in_use6(model, prefix, got))
			return refuse_explicit(err, prefix, -EBUSY);
		got->prefixes[got->prefix_count++] = *prefix;
	}
	return 0;
}

static int take6(struct aws_model *model, const struct aws_subnet *subnet, const struct aws_want *want,
		 struct aws_units *got, struct ec2_err *err)
{
	struct prefix range;

	if (subnet->cidr6.addr.family != IP_V6)
		return ec2_refuse(err, 400, "InvalidParameterValue",
				  "The subnet '%s' does not have an IPv6 CIDR block.", subnet->id);
	for (unsigned i = 0; i < want->addr_count + want->prefix_count; i++) {
		bool is_prefix = i >= want->addr_count;

		if (pick6(model, subnet, is_prefix ? AWS_PREFIX6_LEN : 128, got, &range) < 0)
			return ec2_refuse(err, 400, "InsufficientFreeAddressesInSubnet",
					  "The specified subnet does not have enough free addresses to satisfy the "
					  "request.");
		if (is_prefix)
			got->prefixes[got->prefix_count++] = range;
		else
			got->addrs[got->addr_count++] = range.addr;
	}
	return take_explicit6(model, subnet, &want->explicit_, got, err);
}

/* ---- both ---- */

int aws_units_take(struct aws_model *model, struct aws_subnet *subnet, const struct aws_want *want,
		   struct aws_units *ret, struct ec2_err *err)
{
	struct aws_units got = { 0 };
	int rc;

	assert(aws_want_count(want) <= AWS_NIC_UNITS_MAX);
	if (want->family == IP_V6) {
		rc = take6(model, subnet, want, &got, err);
	} else {
		rc = take_explicit4(subnet, &want->explicit_, &got, err);
		if (rc == 0 && (want->addr_count || want->prefix_count))
			rc = take_any4(model, subnet, want, &got, err);
	}
	if (rc < 0) {
		aws_units_give(subnet, &got);
		return -1;
	}
	*ret = got;
	return 0;
}

static void drop_addr(struct aws_units *units, unsigned index)
{
	units->addr_count--;
	memmove(&units->addrs[index], &units->addrs[index + 1], (units->addr_count - index) * sizeof(units->addrs[0]));
}

static void drop_prefix(struct aws_units *units, unsigned index)
{
	units->prefix_count--;
	memmove(&units->prefixes[index], &units->prefixes[index + 1],
		(units->prefix_count - index) * sizeof(units->prefixes[0]));
}

static int addr_index(const struct aws_units *units, const struct ipaddr *addr)
{
	for (unsigned i = 0; i < units->addr_count; i++)
		if (ipaddr_equal(&units->addrs[i], addr))
			return (int)i;
	return -1;
}

static int prefix_index(const struct aws_units *units, const struct prefix *prefix)
{
	for (unsigned i = 0; i < units->prefix_count; i++)
		if (prefix_cmp(&units->prefixes[i], prefix) == 0)
			return (int)i;
	return -1;
}

/* AllowReassignment: a secondary address moves over from the NIC that has it; a primary one never does. */
static void steal(struct aws_model *model, const struct aws_nic *to, const struct ipaddr *addr, int64_t now_us)
{
	for (unsigned i = 0; i < model->nic_count; i++) {
		struct aws_nic *nic = model->nics[i];
		int index = nic->face.dead || nic == to ? -1 : addr_index(&nic->face.v4, addr);

		if (index < 1 || aws_change(model, nic, now_us) < 0)
			continue;
		struct aws_units gone = { .addrs = { *addr }, .addr_count = 1 };

		aws_net_units(model, nic, &gone, false);
		aws_units_give(nic->subnet, &gone);
		drop_addr(&nic->face.v4, (unsigned)index);
	}
}

static int assign_check(const struct aws_nic *nic, const struct aws_want *want, struct ec2_err *err)
{
	const struct aws_units *have = want->family == IP_V6 ? &nic->face.v6 : &nic->face.v4;
	const struct aws_type *type = nic->face.instance ? nic->face.instance->type : NULL;
	unsigned limit = type ? type->nic_units : AWS_NIC_UNITS_MAX;

	if (aws_nic_not_ours(nic))
		return ec2_refuse(err, 403, "UnauthorizedOperation",
				  "You do not have permission to access the specified resource.");
	if (have->addr_count + have->prefix_count + aws_want_count(want) > limit)
		return ec2_refuse(err, 400, "PrivateIpAddressLimitExceeded",
				  "Number of private addresses will exceed limit.");
	if ((want->prefix_count || want->explicit_.prefix_count) && type && str_equal(type->hypervisor, "xen"))
		return ec2_refuse(err, 400, "UnsupportedOperation", "Instance type %s does not support prefixes.",
				  type->name);
	return 0;
}

int aws_nic_assign(struct aws_model *model, struct aws_nic *nic, const struct aws_want *want, int64_t now_us,
		   struct aws_units *ret_got, struct ec2_err *err)
{
	struct aws_units *have = want->family == IP_V6 ? &nic->face.v6 : &nic->face.v4;
	struct aws_units got;

	if (assign_check(nic, want, err) < 0)
		return -1;
	if (want->reassign && want->family == IP_V4)
		for (unsigned i = 0; i < want->explicit_.addr_count; i++)
			steal(model, nic, &want->explicit_.addrs[i], now_us);
	if (aws_units_take(model, nic->subnet, want, &got, err) < 0)
		return -1;
	if (aws_change(model, nic, now_us) < 0) {
		aws_units_give(nic->subnet, &got);
		return ec2_refuse(err, 500, "InternalError", "An internal error has occurred");
	}
	for (unsigned i = 0; i < got.addr_count; i++)
		have->addrs[have->addr_count++] = got.addrs[i];
	for (unsigned i = 0; i < got.prefix_count; i++)
		have->prefixes[have->prefix_count++] = got.prefixes[i];
	if (nic->face.status == AWS_NIC_IN_USE)
		aws_net_units(model, nic, &got, true);
	*ret_got = got;
	return 0;
}

static int unassign_check(const struct aws_nic *nic, const struct aws_units *have, enum ip_family family,
			  const struct aws_units *units, struct ec2_err *err)
{
	char text[PREFIX_STRLEN];

	for (unsigned i = 0; i < units->addr_count; i++) {
		int index = addr_index(have, &units->addrs[i]);

		if (index == 0 && family == IP_V4)
			return ec2_refuse(err, 400, "InvalidParameterValue",
					  "The primary IP address %s of interface %s cannot be unassigned.",
					  ipaddr_str(&units->addrs[i], text), nic->id);
		if (index < 0)
			return ec2_refuse(err, 400, "InvalidParameterValue",
					  "Some of [%s] are not assigned to interface %s",
					  ipaddr_str(&units->addrs[i], text), nic->id);
	}
	for (unsigned i = 0; i < units->prefix_count; i++)
		if (prefix_index(have, &units->prefixes[i]) < 0)
			return ec2_refuse(err, 400, "InvalidParameterValue",
					  "Some of [%s] are not assigned to interface %s",
					  prefix_str(&units->prefixes[i], text), nic->id);
	return 0;
}

int aws_nic_unassign(struct aws_model *model, struct aws_nic *nic, enum ip_family family, const struct aws_units *units,
		     int64_t now_us, struct ec2_err *err)
{
	struct aws_units *have = family == IP_V6 ? &nic->face.v6 : &nic->face.v4;
	struct aws_units gone = { 0 };

	if (unassign_check(nic, have, family, units, err) < 0)
		return -1;
	if (aws_change(model, nic, now_us) < 0)
		return ec2_refuse(err, 500, "InternalError", "An internal error has occurred");
	/* The same one named twice is one. */
	for (unsigned i = 0; i < units->addr_count; i++) {
		int index = addr_index(have, &units->addrs[i]);

		if (index < 0)
			continue;
		gone.addrs[gone.addr_count++] = units->addrs[i];
		drop_addr(have, (unsigned)index);
	}
	for (unsigned i = 0; i < units->prefix_count; i++) {
		int index = prefix_index(have, &units->prefixes[i]);

		if (index < 0)
			continue;
		gone.prefixes[gone.prefix_count++] = units->prefixes[i];
		drop_prefix(have, (unsigned)index);
	}
	if (nic->face.status == AWS_NIC_IN_USE)
		aws_net_units(model, nic, &gone, false);
	aws_units_give(nic->subnet, &gone);
	return 0;
}
