/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: ADD
 *
 * The pod's namespace is looked at before the daemon is asked: when the interface exists, a pod may be living behind
 * it, and neither its link nor its lease may be touched. Then: reserve, wire, confirm, print. Whatever fails after the
 * reservation is undone in reverse order. Where another plugin came before us, its result is printed with ours behind it.
 * A reservation that cannot be taken back, because the daemon went away, is
 * reclaimed by the daemon since it was never confirmed.
 */
#include <assert.h>

#include <jansson.h>

#include "berth/err.h"
#include "berth/log.h"
#include "berth/proto.h"
#include "cni/client.h"
#include "cni/cnierr.h"
#include "cni/hostname.h"
#include "cni/plugin.h"
#include "cni/podnet.h"
#include "cni/result.h"

#define NETNS_HINT                                                                                                     \
	"The pod sandbox is gone or its runtime gave a wrong path (CNI_NETNS): the runtime must make a new sandbox."
#define IPAM_HINT                                                                                                      \
	"Leave 'ipam' out of the network configuration (/etc/cni/net.d): the addresses are the cloud's, from "         \
	"berth-ipamd."
#define IFNAME_HINT                                                                                                    \
	"Nothing was touched. The runtime must call DEL before it calls ADD again; another network of the pod must "   \
	"have another interface name."

static int name_taken(const struct err *err, struct cnierr *cnierr)
{
	return cnierr_set_err(cnierr, CNI_INVALID_ENVIRONMENT, IFNAME_HINT, "CNI_IFNAME", err);
}

static int open_pod(const struct cni_run *run, const char *host_ifname, struct podnet *ret, struct cnierr *cnierr)
{
	struct podnet podnet;
	struct err err;

	if (podnet_open(run->args.netns, run->args.netns_override, &podnet, &err) < 0)
		return cnierr_set_err(cnierr, CNI_INVALID_NETNS, NETNS_HINT, "CNI_NETNS", &err);
	if (podnet_claim(&podnet, run->args.ifname, host_ifname, &err) < 0) {
		podnet_done(&podnet);
		return err.class == ERR_CONFLICT ? name_taken(&err, cnierr)
						 : cnierr_kernel(cnierr, "look at the pod's interfaces", &err);
	}
	*ret = podnet;
	return 0;
}

/* Return: owned, or NULL without memory. */
static char *result_text(const struct cni_run *run, const struct proto_reply *reply, const struct podnet_wish *wish,
			 const struct podnet_made *made)
{
	json_auto_t *conf = run->conf.has_prev_result ? cni_conf_json(run->stdin_text, run->stdin_size) : NULL;
	const struct cni_result result = {
		.prev = json_object_get(conf, "prevResult"),
		.version = run->conf.version,
		.host_ifname = wish->host_ifname,
		.host_mac = made->host_mac,
		.ifname = wish->ifname,
		.mac = made->pod_mac,
		.sandbox = run->args.netns,
		.mtu = made->mtu,
		.address_count = reply->address_count,
		.addresses = reply->addresses,
		.routes = &run->conf.routes,
	};

	return cni_result_print(&result);
}

/* The result is written up while the daemon binds the lease, and printed when that is done. */
static int confirm_and_print(const struct cni_run *run, const struct proto_reply *reply, const struct podnet_wish *wish,
			     const struct podnet_made *made, struct cnierr *cnierr)
{
	_cleanup_pending_ struct proto_pending pending = { .fd = -1 };
	_cleanup_free_ char *text = NULL;

	if (client_confirm(run, &pending, cnierr) < 0)
		return -1;
	text = result_text(run, reply, wish, made);
	if (client_confirmed(&pending, cnierr) < 0)
		return -1;
	return cni_print(run, text, cnierr);
}

/* *ret_undo is only ever cleared: when another run took the name meanwhile, the lease is that run's too. */
static int wire(const struct cni_run *run, struct podnet *podnet, const struct proto_reply *reply,
		const char *host_ifname, bool *ret_undo, struct cnierr *cnierr)
{
	struct podnet_wish wish = {
		.ifname = run->args.ifname,
		.host_ifname = reply->host_ifname[0] ? reply->host_ifname : host_ifname,
		.addr_count = reply->address_count,
		.mtu = reply->mtu,
		.routes = &run->conf.routes,
	};
	struct podnet_made made;
	struct err err;

	for (unsigned i = 0; i < reply->address_count; i++)
		wish.addrs[i] = (struct podnet_addr){ .addr = reply->addresses[i].address.addr,
						      .gateway = reply->addresses[i].gateway };
	/* Wired as the others, and not in the result: the pod is not reached by it. */
	if (reply->egress.address.addr.family != IP_NONE && wish.addr_count < IP_FAMILIES)
		wish.addrs[wish.addr_count++] =
			(struct podnet_addr){ .addr = reply->egress.address.addr, .gateway = reply->egress.gateway };
	if (podnet_wire(podnet, &wish, &made, &err) < 0) {
		*ret_undo = err.class != ERR_CONFLICT;
		return err.class == ERR_CONFLICT ? name_taken(&err, cnierr)
						 : cnierr_kernel(cnierr, "wire the pod", &err);
	}
	if (confirm_and_print(run, reply, &wish, &made, cnierr) == 0)
		return 0;
	if (podnet_unwire(podnet->host, wish.host_ifname, &err) < 0)
		log_warn("link of a failed ADD stays", "link=%s " LOG_ERR_FMT, wish.host_ifname, LOG_ERR_ARGS(&err));
	return -1;
}

/* Failure is not reported: the first error is what the runtime must see, and the daemon reclaims. */
static void take_back(const struct cni_run *run)
{
	_cleanup_reply_ struct proto_reply reply = { 0 };

	(void)client_del(run, CLIENT_UNDO_MS, &reply, NULL);
}

static int reserve_and_wire(const struct cni_run *run, struct podnet *podnet, const char *host_ifname,
			    struct cnierr *cnierr)
{
	_cleanup_reply_ struct proto_reply reply = { 0 };
	bool undo;

	if (client_add(run, &reply, &undo, cnierr) == 0 && wire(run, podnet, &reply, host_ifname, &undo, cnierr) == 0)
		return 0;
	if (undo)
		take_back(run);
	return -1;
}

int cni_add(const struct cni_run *run, struct cnierr *cnierr)
{
	_cleanup_(podnet_done) struct podnet podnet = { .netns_fd = -1 };
	char host_ifname[LEASE_IFNAME_SIZE];

	if (run->conf.delegated)
		return cni_ipam_add(run, cnierr);
	if (run->conf.others_ipam[0])
		return cnierr_set(
			cnierr, CNI_INVALID_CONFIG, IPAM_HINT,
			"network configuration: 'ipam' of type '%s': berth runs no other plugin for addresses",
			run->conf.others_ipam);
	cni_host_ifname(run, host_ifname);
	if (open_pod(run, host_ifname, &podnet, cnierr) < 0)
		return -1;
	return reserve_and_wire(run, &podnet, host_ifname, cnierr);
}
