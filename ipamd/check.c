/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: CHECK, the daemon's part
 *
 * The plugin looks at the pod, its link and its routes. What only the daemon makes is looked at here: that the limits of
 * bandwidth are in the kernel, that the nft table is the one we loaded, and that no newer pod has a port. What is told as
 * missing may be on its way back: the plugin asks again before it says so.
 */
#include "ipamd/ipamd.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "berth/attr.h"

/* What does not fit is cut: there is enough then. */
_printf_(2, 3) static void tell(struct proto_reply *reply, const char *fmt, ...)
{
	const char *between = *reply->missing ? "; " : "";
	char text[sizeof(reply->missing)];
	size_t len = strlen(reply->missing);
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	(void)snprintf(reply->missing + len, sizeof(reply->missing) - len, "%s%s", between, text);
}

static void look_at_limits(struct ipamd *d, const struct lease *lease, struct proto_reply *reply)
{
	char host_ifname[LEASE_IFNAME_SIZE];
	struct hostnet_shape_view view;
	struct err err;

	if (!hostnet_shape_wants(&lease->runtime.bandwidth))
		return;
	lease_host_ifname(lease, host_ifname);
	if (hostnet_shape_look(d->hostnet, host_ifname, &lease->runtime.bandwidth, &view, &err) < 0) {
		tell(reply, "%s", err.msg);
		return;
	}
	if (view.lacks_ingress)
		tell(reply, "%s does not limit what goes to the pod", host_ifname);
	if (view.lacks_egress)
		tell(reply, "%s does not limit what comes from the pod", host_ifname);
}

static void look_at_ports(const struct ipamd *d, const struct lease *lease, struct proto_reply *reply)
{
	const struct lease *rival;
	struct net_port port;

	if (lease->runtime.port_count == 0)
		return;
	if (!d->nft_applied) {
		tell(reply, "no port of the node leads to the pod: the nft table is not loaded");
		return;
	}
	rival = ports_rival(d->pool, lease, lease->since_us, &port);
	if (rival)
		tell(reply, "port %u/%s of the node leads to the newer pod %s/%s", port.host_port,
		     runtime_protocol_name(port.protocol), rival->pod.namespace, rival->pod.name);
}

/* Until the first list nothing in the kernel is touched, and what the daemon before us made is not known. */
static void look(struct ipamd *d, const struct lease *lease, struct proto_reply *reply)
{
	if (!d->listed || lease->state != LEASE_BOUND || lease->delegated)
		return;
	look_at_limits(d, lease, reply);
	look_at_ports(d, lease, reply);
}

void check_serve(struct ipamd *d, struct server_conn *conn, const struct proto_request *request)
{
	const struct lease *lease = requests_lease(d, &request->key);
	struct proto_reply reply;

	if (!lease) {
		err_set(&reply.error, ERR_NOTFOUND, "ipamd", "no lease of container %s interface %s",
			request->key.container, request->key.ifname);
		requests_reply_error(conn, &reply.error, FAIL_NONE);
		return;
	}
	requests_lease_reply(d, lease, &reply);
	look(d, lease, &reply);
	server_reply(conn, &reply);
}
