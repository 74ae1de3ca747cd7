/* SPDX-License-Identifier: Apache-2.0 */
/* Covers of blocks, routes and neighbours of pods, and the links that lead to them. */
#include <assert.h>
#include <stdlib.h>

#include "berth/err.h"
#include "berth/str.h"
#include "berth/version.h"
#include "ipamd/hostnet_impl.h"

/* ---- what is wanted ---- */

/* Who has a pod's IPv6 address. Nothing asks for it on the wire: host ends have no address to ask from. */
struct want_neigh {
	int index;
	struct ipaddr addr;
	struct macaddr mac;
	bool seen;
};

static void want_neigh(struct sync *sync, const struct ipaddr *addr, const struct net_link *link)
{
	const struct macaddr mac = net_named_mac(link->name);
	struct want_neigh *want = sync_list_add(&sync->neighs, sizeof(*want), HOSTNET_ROUTES_MAX);

	if (!want)
		sync_note_memory(sync);
	else
		*want = (struct want_neigh){ .index = link->index, .addr = *addr, .mac = net_twin_mac(&mac) };
}

static void want_cover(struct sync *sync, const struct prefix *block)
{
	struct net_route route = { .dst = *block, .type = NET_ROUTE_UNREACHABLE, .table = NET_TABLE_LOCAL };

	sync_want_route(sync, WANT_PRESENT, 1, &route);
}

/* Before the routes are looked at: those of a link that is down are gone. Once for all the pod's addresses. */
static void mend_link(struct sync *sync, struct net_link *link, bool by_loopback)
{
	const struct macaddr mac = net_named_mac(link->name);
	struct net *net = sync->hostnet->net;
	struct err err;

	if (!macaddr_equal(&link->mac, &mac)) {
		if (net_link_set_mac(net, link->index, &mac, &err) < 0)
			sync_note(sync, &err);
		else
			sync->report.added++;
		link->mac = mac;
	}
	if (!link->up || sync->want->thorough)
		sync_set_link_sysctl(sync, "ipv6", link->name, "accept_ra", "0");
	if (by_loopback)
		sync_set_link_sysctl(sync, "ipv4", link->name, "route_localnet", "1");
	if (link->up)
		return;
	if (net_link_set_up(net, link->index, true, &err) < 0)
		sync_note(sync, &err);
	else
		sync->report.added++;
	link->up = true;
}

/* Those of one pod stand beside each other. What another plugin wired is its own. */
static void mend_links(struct sync *sync)
{
	const struct hostnet_pod *pods = sync->want->pods;

	for (unsigned i = 0; i < sync->want->pod_count; i++) {
		bool is_ours = pods[i].bound && !pods[i].delegated;
		struct net_link *link = is_ours ? sync_link_by_name(sync, pods[i].host_ifname) : NULL;

		if (link && (i == 0 || !str_equal(pods[i].host_ifname, pods[i - 1].host_ifname)))
			mend_link(sync, link, pods[i].by_loopback);
	}
}

static void want_pod(struct sync *sync, const struct hostnet_pod *pod)
{
	const struct net_link *link = sync_link_by_name(sync, pod->host_ifname);
	struct net_route route = { .dst = prefix_host(&pod->addr),
				   .type = NET_ROUTE_UNICAST,
				   .table = NET_TABLE_LOCAL,
				   .oif = link ? link->index : 0 };

	if (pod->delegated) {
		route.type = NET_ROUTE_THROW;
		route.oif = 0;
		sync_want_route(sync, WANT_PRESENT, 0, &route);
	} else if (!pod->bound) {
		sync_want_route(sync, WANT_LEAVE, 0, &route);
	} else if (!link) {
		sync->report.pods_without_link++;
	} else {
		sync_want_route(sync, WANT_PRESENT, 0, &route);
		if (pod->addr.family == IP_V6)
			want_neigh(sync, &pod->addr, link);
	}
}

void sync_want_pods(struct sync *sync)
{
	mend_links(sync);
	for (unsigned i = 0; i < sync->want->block_count; i++)
		want_cover(sync, &sync->want->blocks[i]);
	for (unsigned i = 0; i < sync->want->pod_count; i++)
		want_pod(sync, &sync->want->pods[i]);
}

/* ---- neighbours ---- */

static int compare_neighs(const void *a, const void *b)
{
	return ipaddr_cmp(&((const struct want_neigh *)a)->addr, &((const struct want_neigh *)b)->addr);
}

static int look_at_neigh(const struct net_neigh *neigh, void *arg)
{
	const struct want_neigh key = { .addr = neigh->addr };
	struct sync *sync = arg;
	struct want_neigh *want = bsearch(&key, sync->neighs.items, sync->neighs.count, sizeof(key), compare_neighs);

	if (want && neigh->permanent && neigh->index == want->index)
		want->seen = true;
	return 0;
}

void sync_neighs(struct sync *sync)
{
	struct want_neigh *wants = sync->neighs.items;
	struct err err;

	if (!sync->neighs.count)
		return;
	qsort(wants, sync->neighs.count, sizeof(*wants), compare_neighs);
	if (net_neighs(sync->hostnet->net, IP_V6, look_at_neigh, sync, &err) < 0) {
		sync_note(sync, &err);
		return;
	}
	for (unsigned i = 0; i < sync->neighs.count; i++) {
		const struct want_neigh *want = &wants[i];

		if (want->seen)
			continue;
		if (net_neigh_set_permanent(sync->hostnet->net, want->index, &want->addr, &want->mac, &err) < 0)
			sync_note(sync, &err);
		else
			sync->report.added++;
	}
}

/* ---- one pod ---- */

/* The kernel's delete of an IPv6 route needs the device, or a walk over the table to learn it. The link's name answers
 * that; a link that is gone took its routes along. Return: 1 when it is gone. */
static int device_of(struct hostnet *hostnet, const char *host_ifname, int *ret_index, struct err *err)
{
	struct net_link link;
	struct err why;

	if (net_link_by_name(hostnet->net, host_ifname, &link, &why) == 0) {
		*ret_index = link.index;
		return 0;
	}
	if (why.class == ERR_NOTFOUND)
		return 1;
	if (err)
		*err = why;
	return -1;
}

static int addr_down(struct hostnet *hostnet, const char *host_ifname, const struct ipaddr *addr,
		     const struct prefix *block, struct err *err)
{
	struct net_route route = {
		.dst = prefix_host(addr), .type = NET_ROUTE_UNICAST, .table = NET_TABLE_LOCAL, .protocol = BERTH_RTPROT
	};
	int gone;

	if (block->len == route.dst.len) {
		/* one call, so that there is no moment without a route */
		route.type = NET_ROUTE_UNREACHABLE;
		return net_route_replace(hostnet->net, &route, err);
	}
	if (addr->family == IP_V6) {
		gone = device_of(hostnet, host_ifname, &route.oif, err);
		if (gone)
			return gone < 0 ? -1 : 0;
	}
	return net_route_del(hostnet->net, &route, err);
}

int hostnet_pod_down(struct hostnet *hostnet, const char *host_ifname, const struct ipaddr addrs[static IP_FAMILIES],
		     const struct prefix blocks[static IP_FAMILIES], struct err *err)
{
	int r = 0;

	assert(hostnet && host_ifname);
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		if (addrs[i].family != IP_NONE &&
		    addr_down(hostnet, host_ifname, &addrs[i], &blocks[i], r == 0 ? err : NULL) < 0)
			r = -1;
	}
	return r;
}

/* ---- links ---- */

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

int hostnet_link_index(struct hostnet *hostnet, const char *ifname, const char *kind, int *ret_index, struct err *err)
{
	struct net_link link;
	struct err why;

	assert(hostnet && ifname && kind && ret_index);
	if (net_link_by_name(hostnet->net, ifname, &link, &why) == 0) {
		*ret_index = str_equal(link.kind, kind) ? link.index : 0;
		return 0;
	}
	if (why.class == ERR_NOTFOUND) {
		*ret_index = 0;
		return 0;
	}
	if (err)
		*err = why;
	return err_wrap(err, "look for the link %s of a pod", ifname);
}

int hostnet_link_del(int index, struct err *err)
{
	_cleanup_net_ struct net *net = NULL;
	struct err why;

	if ((net_open(&net, &why) == 0 && net_link_del(net, index, &why) == 0) || why.class == ERR_NOTFOUND)
		return 0;
	if (err)
		*err = why;
	return err_wrap(err, "delete link %d of a pod", index);
}
