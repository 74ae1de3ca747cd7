/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: how a pod is wired
 *
 *   pod:   eth0 POD/32, up; GATEWAY/32 on link; default via GATEWAY; permanent neighbour GATEWAY = MAC of the host's
 * end host:  bthX up; POD/32 dev bthX, unicast, table local, protocol BERTH_RTPROT
 *
 * The pair is born in place by one RTM_NEWLINK: moving an end between namespaces costs 35 ms. Both MACs are explicit:
 * the host's, because udev would otherwise choose another one after the pod has learnt the first; the pod's, because
 * the result must name it and this saves a question in the pod's namespace. The answer to "which index has the host's
 * end" also holds the index of the pod's.
 *
 * Order matters in two places. accept_ra is off before the host's end is up, or a pod could talk the node into a
 * default route. The host's route comes last: from then on the pod can be reached, and nothing is missing; its absence
 * is also how podnet_claim() knows an ADD that died half way from a pod that lives.
 *
 * The route replaces a cover (`unreachable`) of the same /32 if there is one, and precedes the one of a larger block.
 * Deleting the host's end takes the pod's end and the route along: this is all that a rollback needs.
 */
#include "cni/podnet.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"
#include "berth/version.h"

#define PODNET_DOMAIN "podnet"
#define VETH_TRIES    2 /* the second one after a leftover was removed */
#define SYSCTL_SIZE   64

int podnet_open(const char *netns_path, bool own_allowed, struct podnet *ret, struct err *err)
{
	struct podnet podnet = { .netns_fd = -1 };

	assert(netns_path && ret);
	if (netns_open(netns_path, &podnet.netns_fd, err) < 0)
		return -1;
	if (!own_allowed && netns_is_current(podnet.netns_fd))
		(void)err_set(err, ERR_INVALID, PODNET_DOMAIN, "%s is the host's own network namespace", netns_path);
	else if (net_open_ns(podnet.netns_fd, &podnet.pod, err) == 0 && net_open(&podnet.host, err) == 0) {
		*ret = podnet;
		return 0;
	}
	podnet_done(&podnet);
	return -1;
}

void podnet_done(struct podnet *podnet)
{
	net_close(podnet->pod);
	net_close(podnet->host);
	if (podnet->netns_fd >= 0)
		(void)close(podnet->netns_fd);
	*podnet = (struct podnet){ .netns_fd = -1 };
}

/* Return: 1 when there is such a link, 0 when there is none, -1. */
static int find_link(struct net *net, const char *name, struct net_link *ret, struct err *err)
{
	struct err why;

	if (net_link_by_name(net, name, ret, &why) == 0)
		return 1;
	if (why.class == ERR_NOTFOUND)
		return 0;
	if (err)
		*err = why;
	return -1;
}

static int delete_link(struct net *net, int index, struct err *err)
{
	struct err why;

	if (net_link_del(net, index, &why) == 0 || why.class == ERR_NOTFOUND)
		return 0;
	if (err)
		*err = why;
	return -1;
}

static int is_our_route_to(const struct net_route *route, void *arg)
{
	const int *index = arg;

	return route->oif == *index && route->protocol == BERTH_RTPROT;
}

/* Return: 1 when a route of ours leads to the link, 0 when none does, -1. */
static int has_route(struct net *host, int index, struct err *err)
{
	int rc = net_routes(host, IP_V4, NET_TABLE_LOCAL, is_our_route_to, &index, err);

	return rc != 0 ? rc : net_routes(host, IP_V6, NET_TABLE_LOCAL, is_our_route_to, &index, err);
}

int podnet_claim(struct podnet *podnet, const char *ifname, const char *host_ifname, struct err *err)
{
	struct net_link pod_link, host_link;
	int found = find_link(podnet->pod, ifname, &pod_link, err);
	int routed;

	if (found <= 0)
		return found;
	found = find_link(podnet->host, host_ifname, &host_link, err);
	if (found < 0)
		return -1;
	if (found == 0 || !str_equal(host_link.kind, "veth") || host_link.peer_index != pod_link.index ||
	    pod_link.peer_index != host_link.index)
		return err_set(err, ERR_CONFLICT, PODNET_DOMAIN, "%s exists in the pod and is not ours", ifname);
	routed = has_route(podnet->host, host_link.index, err);
	if (routed < 0)
		return -1;
	if (routed > 0)
		return err_set(err, ERR_CONFLICT, PODNET_DOMAIN, "%s exists in the pod: it is wired already", ifname);
	return delete_link(podnet->host, host_link.index, err);
}

/* Locally administered and unicast, random in the other 46 bits: the second of two nodes never meets it, a switch of
 * the pod's own making might. */
static int random_macs(struct macaddr *a, struct macaddr *b, struct err *err)
{
	uint8_t bytes[2 * MACADDR_LEN];

	/* Up to 256 bytes come whole once the kernel's generator is seeded, which it is when containers start. */
	if (getrandom(bytes, sizeof(bytes), GRND_NONBLOCK) != (ssize_t)sizeof(bytes))
		return err_set_errno(err, ERR_RETRY, PODNET_DOMAIN, errno, "no random bytes for a MAC address");
	memcpy(a->bytes, bytes, MACADDR_LEN);
	memcpy(b->bytes, bytes + MACADDR_LEN, MACADDR_LEN);
	a->bytes[0] = (uint8_t)((a->bytes[0] & 0xfcU) | 0x02U);
	b->bytes[0] = (uint8_t)((b->bytes[0] & 0xfcU) | 0x02U);
	return 0;
}

static int make_veth(struct podnet *podnet, const struct net_veth *veth, struct err *err)
{
	struct net_link link;
	struct err why;

	for (int i = 1;; i++) {
		if (net_veth_add(podnet->host, veth, &why) == 0)
			return 0;
		if (i == VETH_TRIES || why.class != ERR_CONFLICT)
			break;
		/* Our name, of a container that has this ID: what an ADD left whose pod's namespace was another. */
		if (find_link(podnet->host, veth->name, &link, NULL) <= 0 || !str_equal(link.kind, "veth"))
			break;
		if (delete_link(podnet->host, link.index, err) < 0)
			return -1;
	}
	if (err)
		*err = why;
	return -1;
}

static int quiet_and_up(struct net *host, const struct net_link *link, struct err *err)
{
	char key[SYSCTL_SIZE];
	int rc;

	(void)snprintf(key, sizeof(key), "net/ipv6/conf/%s/accept_ra", link->name);
	rc = fs_sysctl_write(key, "0");
	/* A kernel without IPv6 has nothing to switch off. */
	if (rc < 0 && rc != -ENOENT)
		return err_set_errno(err, ERR_INVALID, PODNET_DOMAIN, -rc, "set %s", key);
	return net_link_set_up(host, link->index, true, err);
}

static int wire_pod(struct net *pod, int index, const struct podnet_wish *wish, const struct macaddr *host_mac,
		    struct err *err)
{
	struct net_route gateway = { .dst = prefix_host(&wish->gateway), .oif = index, .protocol = BERTH_RTPROT };
	struct net_route any = {
		.dst = { .addr = { .family = wish->addr.family } },
		.oif = index,
		.gateway = wish->gateway,
		.onlink = true,
		.protocol = BERTH_RTPROT,
	};

	if (net_link_set_up(pod, index, true, err) < 0 ||
	    net_addr_add(pod, index, &wish->addr, ipaddr_bits(&wish->addr), NET_ADDR_NODAD, err) < 0 ||
	    net_neigh_set_permanent(pod, index, &wish->gateway, host_mac, err) < 0)
		return -1;
	return net_route_replace(pod, &gateway, err) < 0 ? -1 : net_route_replace(pod, &any, err);
}

static int wire_host(struct net *host, int index, const struct podnet_wish *wish, struct err *err)
{
	struct net_route route = {
		.dst = prefix_host(&wish->addr),
		.type = NET_ROUTE_UNICAST,
		.table = NET_TABLE_LOCAL,
		.oif = index,
		.protocol = BERTH_RTPROT,
	};

	return net_route_replace(host, &route, err);
}

int podnet_wire(struct podnet *podnet, const struct podnet_wish *wish, struct podnet_made *ret, struct err *err)
{
	struct podnet_made made = { 0 };
	struct net_link link;
	struct net_veth veth = {
		.name = wish->host_ifname,
		.mac = &made.host_mac,
		.peer_netns_fd = podnet->netns_fd,
		.peer_name = wish->ifname,
		.peer_mac = &made.pod_mac,
		.mtu = wish->mtu,
	};

	assert(wish->addr.family != IP_NONE && wish->gateway.family == wish->addr.family);
	if (random_macs(&made.host_mac, &made.pod_mac, err) < 0 || make_veth(podnet, &veth, err) < 0)
		return -1;
	if (net_link_by_name(podnet->host, wish->host_ifname, &link, err) < 0) {
		(void)podnet_unwire(podnet->host, wish->host_ifname, NULL);
		return -1;
	}
	if (quiet_and_up(podnet->host, &link, err) < 0 ||
	    wire_pod(podnet->pod, link.peer_index, wish, &made.host_mac, err) < 0 ||
	    wire_host(podnet->host, link.index, wish, err) < 0) {
		(void)delete_link(podnet->host, link.index, NULL);
		return -1;
	}
	made.host_index = link.index;
	made.mtu = link.mtu;
	*ret = made;
	return 0;
}

int podnet_unwire(struct net *host, const char *host_ifname, struct err *err)
{
	struct net_link link;
	int found = find_link(host, host_ifname, &link, err);

	if (found <= 0)
		return found;
	if (!str_equal(link.kind, "veth"))
		return err_set(err, ERR_CONFLICT, PODNET_DOMAIN, "%s is no veth and was left alone", host_ifname);
	return delete_link(host, link.index, err);
}
