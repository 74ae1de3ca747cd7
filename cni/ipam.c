/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: addresses for another plugin
 *
 * macvlan, ptp, ipvlan, or Cilium in its delegated mode wires the pod itself and runs us for the addresses, with its own
 * configuration on stdin. The daemon binds the lease at once, there being no wiring of ours that could be confirmed, and
 * sees to it that the node's own routes do not hide the address. DEL, CHECK, GC and STATUS find the lease by the same key.
 */
#include <jansson.h>

#include "berth/err.h"
#include "berth/proto.h"
#include "cni/client.h"
#include "cni/cnierr.h"
#include "cni/plugin.h"
#include "cni/result.h"

static int print_result(const struct cni_run *run, const struct proto_reply *reply, struct cnierr *cnierr)
{
	json_auto_t *conf = cni_conf_json(run->stdin_text, run->stdin_size);
	_cleanup_free_ char *text = NULL;
	const json_t *routes = json_object_get(json_object_get(conf, "ipam"), "routes");
	const struct ipam_result result = {
		.version = run->conf.version,
		.subnet_router = run->conf.subnet_router,
		.address_count = reply->address_count,
		.addresses = reply->addresses,
		.routes = json_is_array(routes) ? routes : NULL,
	};

	if (!reply->delegated)
		return cnierr_set(cnierr, CNI_DAEMON_PROTOCOL, "Install plugin and daemon of the same release.",
				  "berth-ipamd does not lease addresses to other plugins");
	text = ipam_result_print(&result);
	return cni_print(run, text, cnierr);
}

int cni_ipam_add(const struct cni_run *run, struct cnierr *cnierr)
{
	_cleanup_reply_ struct proto_reply reply = { 0 }, undone = { 0 };
	bool undo;

	if (client_add(run, &reply, &undo, cnierr) == 0 && print_result(run, &reply, cnierr) == 0)
		return 0;
	/* Failure is not reported: the first error is what the runtime must see, and the daemon reclaims. */
	if (undo)
		(void)client_del(run, CLIENT_UNDO_MS, &undone, NULL);
	return -1;
}
