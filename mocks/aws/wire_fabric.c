/* SPDX-License-Identifier: Apache-2.0 */
#include "wire_fabric.h"

#include <stddef.h>

#include "../fabric/fabric.h"
#include "aws_mock.h"

static int nic_attach(void *ctx, const struct aws_mock_net_nic *nic, struct err *err)
{
	struct fabric_nic want = { .node = nic->node,
				   .ifname = nic->ifname,
				   .mac = nic->mac,
				   .gateway = nic->gateway,
				   .primary = nic->primary,
				   .subnet = nic->subnet,
				   .mtu = nic->mtu,
				   .configure = nic->configure,
				   .subnet6 = nic->subnet6,
				   .primary6 = nic->primary6,
				   .public6 = nic->public };

	return fabric_nic_attach(ctx, &want, err);
}

static int nic_detach(void *ctx, const struct macaddr *mac, struct err *err)
{
	return fabric_nic_detach(ctx, mac, err);
}

static int addr_assign(void *ctx, const struct macaddr *mac, const struct ipaddr *primary, const struct prefix *prefix,
		       struct err *err)
{
	return fabric_addr_assign(ctx, mac, primary, prefix, err);
}

static int addr_unassign(void *ctx, const struct macaddr *mac, const struct prefix *prefix, struct err *err)
{
	return fabric_addr_unassign(ctx, mac, prefix, err);
}

static int public_set(void *ctx, const struct ipaddr *primary, bool allowed, struct err *err)
{
	return fabric_public_set(ctx, primary, allowed, err);
}

int aws_wire_fabric_open(const char *prefix, struct aws_mock_net_ops *ret, struct err *err)
{
	struct fabric *fabric;

	if (fabric_open(prefix, &fabric, err) < 0)
		return -1;
	*ret = (struct aws_mock_net_ops){ .ctx = fabric,
					  .nic_attach = nic_attach,
					  .nic_detach = nic_detach,
					  .addr_assign = addr_assign,
					  .addr_unassign = addr_unassign,
					  .public_set = public_set };
	return 0;
}

void aws_wire_fabric_close(struct aws_mock_net_ops *ops)
{
	fabric_close(ops->ctx);
	ops->ctx = NULL;
}
