/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: addresses that another plugin wires
 *
 * Table local, where the covers of blocks are, is asked before every other table. An address that macvlan, ptp or Cilium
 * has from us is routed by them, in main or in tables of their own, which the cover would hide: the node could not reach
 * its own pod. `throw ADDR` in table local is more special than the cover and means "not here": the next rule decides, as
 * if we had nothing to do with the address. It is there from the ADD to the DEL, and put back like everything of ours.
 */
#include <assert.h>

#include "berth/err.h"
#include "berth/version.h"
#include "ipamd/hostnet_impl.h"

static struct net_route place_of(const struct ipaddr *addr, enum net_route_type type)
{
	return (struct net_route){
		.dst = prefix_host(addr), .type = type, .table = NET_TABLE_LOCAL, .protocol = BERTH_RTPROT
	};
}

int hostnet_delegated_up(struct hostnet *hostnet, const struct ipaddr addrs[static IP_FAMILIES], struct err *err)
{
	assert(hostnet);
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		const struct net_route route = place_of(&addrs[i], NET_ROUTE_THROW);

		if (addrs[i].family != IP_NONE && net_route_replace(hostnet->net, &route, err) < 0)
			return -1;
	}
	return 0;
}

/* A block of that one address is its own cover: one call, so that there is no moment without a route. */
static int cover(struct hostnet *hostnet, const struct ipaddr *addr, const struct prefix *block, struct err *err)
{
	struct net_route route = place_of(addr, NET_ROUTE_UNREACHABLE);

	if (block->len == route.dst.len)
		return net_route_replace(hostnet->net, &route, err);
	route.type = NET_ROUTE_THROW;
	return net_route_del(hostnet->net, &route, err);
}

int hostnet_delegated_down(struct hostnet *hostnet, const struct ipaddr addrs[static IP_FAMILIES],
			   const struct prefix blocks[static IP_FAMILIES], struct err *err)
{
	int r = 0;

	assert(hostnet);
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		if (addrs[i].family != IP_NONE && cover(hostnet, &addrs[i], &blocks[i], r == 0 ? err : NULL) < 0)
			r = -1;
	}
	return r;
}
