/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: DEL
 *
 * The daemon frees the lease and answers; it deletes route and link in the background, because a link's deletion waits
 * 14-60 ms for the kernel. What is not there is deleted already: DEL succeeds.
 *
 * Without a daemon the pod must still go, or the runtime would try for ever: the link is deleted here (its route goes
 * with it), the intent is kept in the spool for the daemon's next start, and DEL succeeds. It fails only when the
 * intent cannot be kept: an address would leak.
 */
#include "berth/err.h"
#include "berth/log.h"
#include "berth/net.h"
#include "berth/proto.h"
#include "cni/client.h"
#include "cni/cnierr.h"
#include "cni/hostname.h"
#include "cni/plugin.h"
#include "cni/podnet.h"
#include "cni/spool.h"

/* By that name another sandbox of the same pod may be there by now. Ours is the one that the given namespace has the other
 * end of; where that is gone, ours is too. */
static int unwire_named(const struct cni_run *run, const char *host_ifname, struct err *err)
{
	_cleanup_(podnet_done) struct podnet podnet = { .netns_fd = -1 };
	struct net_link host, pod;
	struct err why;

	if (!run->args.netns[0] || podnet_open(run->args.netns, run->args.netns_override, &podnet, &why) < 0 ||
	    net_link_by_name(podnet.pod, run->args.ifname, &pod, &why) < 0 ||
	    net_link_by_name(podnet.host, host_ifname, &host, &why) < 0 || host.peer_index != pod.index ||
	    pod.peer_index != host.index)
		return 0;
	return podnet_unwire(podnet.host, host_ifname, err);
}

/* Nothing of a delegated pod's is ours but its lease. */
static int unwire(const struct cni_run *run, struct err *err)
{
	_cleanup_net_ struct net *host = NULL;
	char host_ifname[LEASE_IFNAME_SIZE];

	if (run->conf.delegated)
		return 0;
	cni_host_ifname(run, host_ifname);
	if (run->conf.veth_prefix[0])
		return unwire_named(run, host_ifname, err);
	return net_open(&host, err) < 0 ? -1 : podnet_unwire(host, host_ifname, err);
}

static int del_without_daemon(const struct cni_run *run, const struct err *why, struct cnierr *cnierr)
{
	struct proto_request request;
	struct err err;

	client_request(run, PROTO_DEL, &request);
	if (unwire(run, &err) < 0)
		return cnierr_set_err(
			cnierr, CNI_TRY_AGAIN,
			"berth-ipamd is away and the pod's link could not be deleted here: start berth-ipamd; "
			"it is tried again by itself.",
			"delete the pod's link", &err);
	if (spool_del(run->conf.socket, &request, &err) < 0)
		return cnierr_set_err(
			cnierr, CNI_TRY_AGAIN,
			"berth-ipamd is away and the spool beside its socket cannot take this DEL: make it "
			"writable, or start berth-ipamd, which empties it; it is tried again by itself.",
			"keep the DEL for berth-ipamd", &err);
	log_warn("DEL without daemon: link deleted, lease spooled", "container=%s ifname=%s " LOG_ERR_FMT,
		 request.key.container, request.key.ifname, LOG_ERR_ARGS(why));
	return 0;
}

int cni_del(const struct cni_run *run, struct cnierr *cnierr)
{
	_cleanup_reply_ struct proto_reply reply = { 0 };
	struct err err;

	if (client_del(run, CLIENT_PROMPT_MS, &reply, &err) < 0)
		return del_without_daemon(run, &err, cnierr);
	if (reply.ok || reply.error.class == ERR_NOTFOUND)
		return 0;
	return cnierr_reply(cnierr, "free the address", &reply);
}
