/* SPDX-License-Identifier: Apache-2.0 */
/* Covers of blocks, routes of pods, and the links that lead to them. */
#include <assert.h>

#include "berth/err.h"
#include "berth/str.h"
#include "berth/version.h"
#include "ipamd/hostnet_impl.h"

void sync_want_pods(struct sync *sync)
{
	const struct hostnet_want *want = sync->want;

	for (unsigned i = 0; i < want->block_count; i++) {
		struct net_route route = { .dst = want->blocks[i],
					   .type = NET_ROUTE_UNREACHABLE,
					   .table = NET_TABLE_LOCAL };

		sync_want_route(sync, WANT_PRESENT, 1, &route);
	}
	for (unsigned i = 0; i < want->pod_count; i++) {
		const struct hostnet_pod *pod = &want->pods[i];
		const struct net_link *link = sync_link_by_name(sync, pod->host_ifname);
		struct net_route route = { .dst = prefix_host(&pod->addr),
					   .type = NET_ROUTE_UNICAST,
					   .table = NET_TABLE_LOCAL,
					   .oif = link ? link->index : 0 };

		if (!pod->bound)
			sync_want_route(sync, WANT_LEAVE, 0, &route);
		else if (link)
			sync_want_route(sync, WANT_PRESENT, 0, &route);
		else
			sync->report.pods_without_link++;
	}
}

int hostnet_pod_down(struct hostnet *hostnet, const struct ipaddr *addr, const struct prefix *block, struct err *err)
{
	struct net_route route = {
		.dst = prefix_host(addr), .type = NET_ROUTE_UNICAST, .table = NET_TABLE_LOCAL, .protocol = BERTH_RTPROT
	};

	assert(hostnet && addr);
	if (!block || block->len != route.dst.len)
		return net_route_del(hostnet->net, &route, err);
	/* one call, so that there is no moment without a route */
	route.type = NET_ROUTE_UNREACHABLE;
	return net_route_replace(hostnet->net, &route, err);
}

struct pod_links {
	int (*fn)(const char *ifname, void *arg);
	void *arg;
};

static int pass_pod_link(const struct net_link *link, void *arg)
{
	const struct pod_links *to = arg;

	return str_starts(link->name, HOSTNET_POD_LINKS) ? to->fn(link->name, to->arg) : 0;
}

int hostnet_pod_links(struct hostnet *hostnet, int (*fn)(const char *ifname, void *arg), void *arg, struct err *err)
{
	struct pod_links to = { fn, arg };

	return net_links(hostnet->net, pass_pod_link, &to, err);
}

int hostnet_pod_link_del(const char *ifname, struct err *err)
{
	_cleanup_net_ struct net *net = NULL;
	struct net_link link;
	struct err why;

	if (!str_starts(ifname, HOSTNET_POD_LINKS))
		return err_set(err, ERR_INVALID, HOSTNET_DOMAIN, "link %s is no pod's", ifname);
	if (net_open(&net, &why) == 0 && net_link_by_name(net, ifname, &link, &why) == 0 &&
	    net_link_del(net, link.index, &why) == 0)
		return 0;
	if (why.class == ERR_NOTFOUND)
		return 0;
	if (err)
		*err = why;
	return err_wrap(err, "delete link of a pod %s", ifname);
}
