/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: bandwidth of pods
 *
 *   to the pod     a token bucket is the root of the host end's queueing: what leaves by it goes to the pod
 *   from the pod   what comes in by the host end is sent through an ifb of its own, whose root is a token bucket
 *
 * Both are on the host's side, where a pod that may change its own network cannot reach them. The ifb has the digits of
 * its host end's name, so that one is found by the other, also by a daemon that knows nothing of the pod.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "berth/err.h"
#include "berth/str.h"
#include "ipamd/hostnet_impl.h"

/* ---- shaping ---- */

static bool is_shape(const struct net_link *link)
{
	return str_starts(link->name, HOSTNET_SHAPE_LINKS) && str_equal(link->kind, "ifb");
}

static int make_ifb(struct net *net, const struct net_link *host, struct net_link *ret, struct err *err)
{
	char name[LEASE_IFNAME_SIZE];
	struct err why;

	hostnet_shape_ifname(host->name, name);
	/* One that is there is the pod's, or was left by ourselves half way. */
	if (net_ifb_add(net, name, host->mtu, &why) < 0 && why.class != ERR_CONFLICT) {
		if (err)
			*err = why;
		return -1;
	}
	if (net_link_by_name(net, name, ret, err) < 0)
		return -1;
	if (!is_shape(ret))
		return err_set(err, ERR_CONFLICT, HOSTNET_DOMAIN, "link %s is there, and is no ifb", name);
	/* A kernel without IPv6 gives it no addresses anyway. */
	(void)net_link_make_no_addrs(net, ret->index, NULL);
	return 0;
}

static int shape_egress(struct net *net, const struct net_link *host, const struct bandwidth *bandwidth,
			struct err *err)
{
	const struct net_tbf tbf = hostnet_shape_tbf(bandwidth->egress_rate, bandwidth->egress_burst, host->mtu);
	struct net_link ifb;

	if (make_ifb(net, host, &ifb, err) < 0 || net_tbf_set(net, ifb.index, &tbf, err) < 0 ||
	    net_link_set_up(net, ifb.index, true, err) < 0)
		return -1;
	return net_redirect_set(net, host->index, ifb.index, err);
}

static int shape_link(struct net *net, const struct net_link *host, const struct bandwidth *bandwidth, struct err *err)
{
	const struct net_tbf tbf = hostnet_shape_tbf(bandwidth->ingress_rate, bandwidth->ingress_burst, host->mtu);

	if ((bandwidth->ingress_rate && net_tbf_set(net, host->index, &tbf, err) < 0) ||
	    (bandwidth->egress_rate && shape_egress(net, host, bandwidth, err) < 0))
		return err_wrap(err, "limit the bandwidth of %s", host->name);
	return 0;
}

/* The ifb that the last pod of that name left may be deleted at any moment, in the background: a limit that it carried would
 * go with it. To wait for its end would hold up everybody, so it gives up the name, and is an orphan if nobody deletes it. */
static int put_aside(struct net *net, const char *host_ifname, struct err *err)
{
	char name[LEASE_IFNAME_SIZE], aside[LEASE_IFNAME_SIZE];
	struct net_link ifb;
	struct err why = { 0 };

	hostnet_shape_ifname(host_ifname, name);
	if (net_link_by_name(net, name, &ifb, &why) == 0) {
		if (!is_shape(&ifb))
			return 0; /* making ours tells */
		(void)snprintf(aside, sizeof(aside), HOSTNET_SHAPE_LINKS "-%d", ifb.index);
		if (net_link_set_up(net, ifb.index, false, &why) == 0 &&
		    net_link_rename(net, ifb.index, aside, &why) == 0)
			return 0;
	}
	if (why.class == ERR_NOTFOUND)
		return 0;
	if (err)
		*err = why;
	return -1;
}

int hostnet_shape(struct hostnet *hostnet, const char *host_ifname, const struct bandwidth *bandwidth, struct err *err)
{
	struct net_link host;

	assert(hostnet && host_ifname && bandwidth);
	if (net_link_by_name(hostnet->net, host_ifname, &host, err) < 0 ||
	    put_aside(hostnet->net, host_ifname, err) < 0)
		return err_wrap(err, "limit the bandwidth of a pod");
	return shape_link(hostnet->net, &host, bandwidth, err);
}

/* ---- repair ---- */

static int compare_qdiscs(const void *a, const void *b)
{
	const int ia = ((const struct net_qdisc *)a)->index, ib = ((const struct net_qdisc *)b)->index;

	return ia < ib ? -1 : ia > ib;
}

static int keep_qdisc(const struct net_qdisc *qdisc, void *arg)
{
	struct net_qdisc *kept = NULL;

	if (qdisc->ingress || !str_equal(qdisc->kind, "tbf"))
		return 0;
	kept = sync_list_add(arg, sizeof(*kept), HOSTNET_LINKS_MAX);
	if (!kept)
		return -1;
	*kept = *qdisc;
	return 0;
}

static int read_qdiscs(struct net *net, struct sync_list *qdiscs, struct err *err)
{
	struct err why = { 0 };

	if (net_qdiscs(net, keep_qdisc, qdiscs, &why) < 0) {
		if (why.class == ERR_NONE)
			return err_set(err, ERR_RETRY, HOSTNET_DOMAIN, "no memory for the shapers of this node");
		if (err)
			*err = why;
		return -1;
	}
	if (qdiscs->count)
		qsort(qdiscs->items, qdiscs->count, sizeof(struct net_qdisc), compare_qdiscs);
	return 0;
}

/* Only rate and queue are compared: those come back as they were given. */
static bool has_tbf(const struct sync_list *qdiscs, const struct net_link *link, uint64_t rate, uint64_t burst,
		    unsigned mtu)
{
	const struct net_tbf want = hostnet_shape_tbf(rate, burst, mtu);
	const struct net_qdisc key = { .index = link->index }, *qdisc;

	if (!qdiscs->count)
		return false;
	qdisc = bsearch(&key, qdiscs->items, qdiscs->count, sizeof(key), compare_qdiscs);
	return qdisc && qdisc->tbf.rate == want.rate && qdisc->tbf.limit == want.limit;
}

static bool is_ingress_whole(const struct sync_list *qdiscs, const struct net_link *host,
			     const struct bandwidth *bandwidth)
{
	return !bandwidth->ingress_rate ||
	       has_tbf(qdiscs, host, bandwidth->ingress_rate, bandwidth->ingress_burst, host->mtu);
}

/* @ifb: NULL where there is none. */
static bool is_egress_whole(struct net *net, const struct sync_list *qdiscs, const struct net_link *host,
			    const struct net_link *ifb, const struct bandwidth *bandwidth)
{
	int to = 0;

	return !bandwidth->egress_rate ||
	       (ifb && ifb->up && has_tbf(qdiscs, ifb, bandwidth->egress_rate, bandwidth->egress_burst, host->mtu) &&
		net_redirect_get(net, host->index, &to, NULL) == 0 && to == ifb->index);
}

/* A pod is shaped once, for all its addresses, which stand beside each other. */
static const struct bandwidth *limits_of(const struct hostnet_want *want, unsigned i)
{
	const struct hostnet_pod *pod = &want->pods[i];

	if (!pod->bound || pod->delegated || !pod->bandwidth || !hostnet_shape_wants(pod->bandwidth) ||
	    (i > 0 && str_equal(pod->host_ifname, want->pods[i - 1].host_ifname)))
		return NULL;
	return pod->bandwidth;
}

static void mend_pod(struct sync *sync, const char *host_ifname, const struct bandwidth *bandwidth)
{
	const struct net_link *host = sync_link_by_name(sync, host_ifname);
	struct net *net = sync->hostnet->net;
	char ifb[LEASE_IFNAME_SIZE];
	struct err err;

	hostnet_shape_ifname(host_ifname, ifb);
	if (!host || (is_ingress_whole(&sync->qdiscs, host, bandwidth) &&
		      is_egress_whole(net, &sync->qdiscs, host, sync_link_by_name(sync, ifb), bandwidth)))
		return;
	if (shape_link(net, host, bandwidth, &err) < 0)
		sync_note(sync, &err);
	else
		sync->report.added++;
}

static void mend_pods(struct sync *sync)
{
	const struct hostnet_want *want = sync->want;
	bool is_read = false;
	struct err err;

	for (unsigned i = 0; i < want->pod_count; i++) {
		const struct bandwidth *bandwidth = limits_of(want, i);

		if (!bandwidth)
			continue;
		if (!is_read && read_qdiscs(sync->hostnet->net, &sync->qdiscs, &err) < 0) {
			sync_note(sync, &err);
			return;
		}
		is_read = true;
		mend_pod(sync, want->pods[i].host_ifname, bandwidth);
	}
}

/* ---- one pod, looked at ---- */

int hostnet_shape_look(struct hostnet *hostnet, const char *host_ifname, const struct bandwidth *bandwidth,
		       struct hostnet_shape_view *ret, struct err *err)
{
	_cleanup_(sync_list_done) struct sync_list qdiscs = { 0 };
	char name[LEASE_IFNAME_SIZE];
	struct net_link host, ifb;
	bool has_ifb;

	assert(hostnet && host_ifname && bandwidth && ret);
	hostnet_shape_ifname(host_ifname, name);
	if (net_link_by_name(hostnet->net, host_ifname, &host, err) < 0 || read_qdiscs(hostnet->net, &qdiscs, err) < 0)
		return err_wrap(err, "look at the limits of %s", host_ifname);
	has_ifb = net_link_by_name(hostnet->net, name, &ifb, NULL) == 0;
	*ret = (struct hostnet_shape_view){
		.lacks_ingress = !is_ingress_whole(&qdiscs, &host, bandwidth),
		.lacks_egress = !is_egress_whole(hostnet->net, &qdiscs, &host, has_ifb ? &ifb : NULL, bandwidth),
	};
	return 0;
}

/* ---- what is left behind ---- */

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && str_equal(text + len - end_len, end);
}

/* By whatever name its host end goes. */
static bool has_host_end(const struct sync *sync, const char *digits)
{
	const struct net_link *links = sync->links.items;
	char name[LEASE_IFNAME_SIZE] = HOSTNET_POD_LINKS;

	if (str_copy(name + strlen(name), sizeof(name) - strlen(name), digits) == 0 && sync_link_by_name(sync, name))
		return true;
	for (unsigned i = 0; i < sync->links.count; i++)
		if (str_equal(links[i].kind, "veth") && ends_with(links[i].name, digits))
			return true;
	return false;
}

void sync_shapes(struct sync *sync)
{
	const struct net_link *links = sync->links.items;

	mend_pods(sync);
	for (unsigned i = 0; sync->want->orphan && i < sync->links.count; i++)
		if (is_shape(&links[i]) && !has_host_end(sync, links[i].name + strlen(HOSTNET_SHAPE_LINKS)))
			sync->want->orphan(&links[i], sync->want->orphan_arg);
}
