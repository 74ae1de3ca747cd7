/* SPDX-License-Identifier: Apache-2.0 */
/* The model's changes handed on to the network behind it. A network that fails is noted; the cloud's model goes on. */
#include <stdio.h>
#include <string.h>

#include "aws_mock.h"
#include "berth/err.h"
#include "berth/log.h"
#include "berth/str.h"
#include "model.h"

static void note(struct aws_model *model, const char *what, const struct aws_nic *nic, int rc, const struct err *err)
{
	if (rc == 0)
		return;
	model->net_errors++;
	(void)snprintf(model->net_error, sizeof(model->net_error), "%.16s %.64s: %.150s", what, nic->id, err->msg);
	log_warn("the network did not follow", "what=%s nic=%s " LOG_ERR_FMT, what, nic->id, LOG_ERR_ARGS(err));
}

static void unit(struct aws_model *model, const struct aws_nic *nic, const struct prefix *prefix, bool assign)
{
	const struct aws_mock_net_ops *net = model->net;
	struct err err = { 0 };

	if (assign)
		note(model, "assign", nic, net->addr_assign(net->ctx, &nic->mac, &nic->face.v4.addrs[0], prefix, &err),
		     &err);
	else
		note(model, "unassign", nic, net->addr_unassign(net->ctx, &nic->mac, prefix, &err), &err);
}

static void units_from(struct aws_model *model, const struct aws_nic *nic, const struct aws_units *units,
		       unsigned first, bool assign)
{
	for (unsigned i = first; i < units->addr_count; i++) {
		struct prefix host = prefix_host(&units->addrs[i]);

		unit(model, nic, &host, assign);
	}
	for (unsigned i = 0; i < units->prefix_count; i++)
		unit(model, nic, &units->prefixes[i], assign);
}

void aws_net_units(struct aws_model *model, const struct aws_nic *nic, const struct aws_units *units, bool assign)
{
	if (model->net && nic->face.instance)
		units_from(model, nic, units, 0, assign);
}

void aws_net_attach(struct aws_model *model, const struct aws_nic *nic)
{
	const struct aws_face *face = &nic->face;
	const struct aws_mock_net_ops *net = model->net;
	char ifname[16];
	struct err err = { 0 };

	if (!net)
		return;
	(void)snprintf(ifname, sizeof(ifname), "eth%u", face->device);
	struct aws_mock_net_nic want = { .node = face->instance->name,
					 .ifname = ifname,
					 .mac = nic->mac,
					 .gateway = ipaddr_add(&nic->subnet->cidr.addr, 1),
					 .primary = face->v4.addrs[0],
					 .subnet = nic->subnet->cidr,
					 .mtu = AWS_MTU,
					 .configure = face->device == 0,
					 .subnet6 = nic->subnet->cidr6,
					 .public = face->instance->public };

	if (face->v6.addr_count)
		want.primary6 = face->v6.addrs[0];

	note(model, "attach", nic, net->nic_attach(net->ctx, &want, &err), &err);
	units_from(model, nic, &face->v4, 1, true);
	units_from(model, nic, &face->v6, 1, true);
	if (face->device == 0 && face->instance->public)
		note(model, "public", nic, net->public_set(net->ctx, &face->v4.addrs[0], true, &err), &err);
}

void aws_net_detach(struct aws_model *model, const struct aws_nic *nic)
{
	struct err err = { 0 };

	if (model->net)
		note(model, "detach", nic, model->net->nic_detach(model->net->ctx, &nic->mac, &err), &err);
}
