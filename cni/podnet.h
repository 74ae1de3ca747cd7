/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pod's network: a veth pair born in place, one address of either family or one of each, a gateway that answers
 * neither ARP nor neighbour discovery, and one route on the host for each address. Everything is rtnetlink through
 * berth/net.h, no dump and no process on the usual path.
 */
#ifndef CNI_PODNET_H
#define CNI_PODNET_H

#include <stdbool.h>

#include "berth/ipaddr.h"
#include "berth/net.h"

struct err;
struct pod_routes;

/** struct podnet - the two sides of one pod's network, open. */
struct podnet {
	int netns_fd; /* -1: not open */
	struct net *host;
	struct net *pod;
};

/** struct podnet_addr - an address and what the pod reaches the world by. */
struct podnet_addr {
	struct ipaddr addr;
	struct ipaddr gateway; /* of the same family; on link, answered by nobody */
};

/** struct podnet_wish - what is to be built; texts are borrowed. */
struct podnet_wish {
	const char *ifname;                    /* in the pod */
	const char *host_ifname;               /* on the host */
	unsigned addr_count;                   /* 1 or 2 */
	struct podnet_addr addrs[IP_FAMILIES]; /* in this order; no two of one family */
	unsigned mtu;                          /* bytes; 0: the kernel's default */
	const struct pod_routes *routes;       /* NULL: the default route alone */
};

/** struct podnet_made - what was built. */
struct podnet_made {
	int host_index;
	struct macaddr host_mac;
	struct macaddr pod_mac;
	unsigned mtu;
};

/**
 * podnet_open() - open the pod's namespace and a socket on each side
 * @netns_path: CNI_NETNS
 * @own_allowed: the namespace may be the one that we run in
 * Errors: NOTFOUND when the namespace is gone, INVALID when it is our own, others of net_open().
 */
int podnet_open(const char *netns_path, bool own_allowed, struct podnet *ret, struct err *err);
/** podnet_done() - close what is open; zeroed and half-open ones are fine when netns_fd is -1 or valid. */
void podnet_done(struct podnet *podnet);

/**
 * podnet_claim() - make sure that the names are free
 *
 * An interface of that name in the pod is somebody's: it stays untouched and is CONFLICT. Except when it is the other
 * end of @host_ifname and no route leads there: then an ADD of ours died half way, and both ends are removed.
 * Errors: CONFLICT, others of the kernel.
 */
int podnet_claim(struct podnet *podnet, const char *ifname, const char *host_ifname, struct err *err);

/**
 * podnet_wire() - build it; a link of the host's name whose other end is elsewhere is a leftover and removed first
 *
 * Where IPv6 is switched off for new links (net.ipv6.conf.default.disable_ipv6) an IPv6 address switches it on for this
 * pair, and for lo of the pod, which carries what the pod sends to itself.
 * Return: 0, or -1 with nothing left behind. Errors: CONFLICT when the name in the pod was taken meanwhile, INVALID when
 * there is no IPv6 to be had (an MTU under 1280; off, and /proc/sys is read-only).
 */
int podnet_wire(struct podnet *podnet, const struct podnet_wish *wish, struct podnet_made *ret, struct err *err);

/** podnet_unwire() - remove the host's link, and with it the pod's and the route; a missing one is success. Waits for
 * the kernel, 14-60 ms. Errors: CONFLICT when the name belongs to a link that is no veth. */
int podnet_unwire(struct net *host, const char *host_ifname, struct err *err);

#endif
