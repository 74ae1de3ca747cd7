/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: how a pod is wired
 *
 *   pod    eth0 up; for each address: ADDR/32 or /128, GATEWAY/32 or /128 on link, default (or what the configuration
 *          lists) via GATEWAY, permanent neighbour GATEWAY = MAC of the host's end
 *   host   bthX up; for each address: ADDR dev bthX, unicast, table local, protocol BERTH_RTPROT; for IPv6 also a
 *          permanent neighbour ADDR = MAC of the pod's end
 *
 * The pair is born in place by one RTM_NEWLINK: moving an end between namespaces costs 35 ms. Both MACs are explicit:
 * the host's, because udev would otherwise choose another one after the pod has learnt the first; the pod's, because
 * the result must name it and this saves a question in the pod's namespace. The host's follows from the link's name, so
 * that the daemon can put it back, and the pod's is net_twin_mac() of it, so that the neighbour entry can be put back. The answer to "which index has the host's end" also holds the
 * index of the pod's.
 *
 * Order matters. accept_ra is off before the host's end is up, or a pod could talk the node into a default route. The
 * pod's side comes first: while the other end is down the pair has no carrier, and the kernel has nothing to tell about it
 * to anybody, under the lock that we want. The host's routes come last: from then on the pod can be reached, and nothing is
 * missing; their absence is also how podnet_claim() knows an ADD that died half way from a pod that lives.
 *
 * Each side is one exchange with the kernel. When it refuses a part of one, the side is made again step by step: that says
 * which and why, and IPv6 that is switched off can be switched on.
 *
 * Neighbour discovery is never needed: both directions have permanent entries. So neither end gets a link-local address
 * (a pair of such a pod would spend a second on duplicate detection, and solicit routers), and the pod's address skips
 * the detection. A pod with an IPv4 address alone keeps what the kernel gives its links: asking for less costs requests.
 *
 * The kernel makes an IPv6 address deliverable (its route in table local) from a workqueue, some time after it has
 * acknowledged the address: the first packets would meet "no route". So we make that route too, in the pod, and the
 * kernel's own takes precedence when it comes (metric 0 before 1024).
 *
 * A further interface of a pod that has its network (net1 of Multus) has routes of the same destinations. Theirs have a
 * metric, so that they precede or replace nothing: what is bound to that interface uses them, all else leaves by eth0.
 *
 * A route replaces a cover (`unreachable`) of the same address if there is one, and precedes the one of a larger block.
 * Deleting the host's end takes the pod's end, routes and neighbours along: this is all that a rollback needs.
 */
#include "cni/podnet.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"
#include "berth/version.h"
#include "cni/podroutes.h"

#define PODNET_DOMAIN "podnet"
#define VETH_TRIES    2 /* the second one after a leftover was removed, or went */
#define SYSCTL_SIZE   64
#define FIRST_IFNAME  "eth0" /* of a pod's first network, in every runtime; further ones are called otherwise */
#define IPV6_MTU_MIN  1280   /* bytes, RFC 8200 section 5; the kernel has no IPv6 on a link with less */
#define LATER_METRIC  4096   /* and more, by index: over the 1024 that the kernel gives to routes of IPv6 */

int podnet_open(const char *netns_path, bool own_allowed, struct podnet *ret, struct err *err)
{
	struct podnet podnet = { .netns_fd = -1 };
	bool own;

	assert(netns_path && ret);
	if (netns_open(netns_path, &podnet.netns_fd, err) < 0)
		return -1;
	if (net_open(&podnet.host, err) < 0 ||
	    net_open_beside(podnet.host, podnet.netns_fd, &own, &podnet.pod, err) < 0) {
		podnet_done(&podnet);
		return -1;
	}
	if (own && !own_allowed) {
		podnet_done(&podnet);
		return err_set(err, ERR_INVALID, PODNET_DOMAIN, "%s is the host's own network namespace", netns_path);
	}
	*ret = podnet;
	return 0;
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

/* A DEL has links deleted in the background: both ends go at once, and that may be after the pod's was seen. Return: 0 when
 * it is gone, -1. */
static int refuse_stranger(struct podnet *podnet, const char *ifname, struct err *err)
{
	struct net_link link;
	int found = find_link(podnet->pod, ifname, &link, err);

	return found > 0 ? err_set(err, ERR_CONFLICT, PODNET_DOMAIN, "%s exists in the pod and is not ours", ifname)
			 : found;
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
		return refuse_stranger(podnet, ifname, err);
	routed = has_route(podnet->host, host_link.index, err);
	if (routed < 0)
		return -1;
	if (routed > 0)
		return err_set(err, ERR_CONFLICT, PODNET_DOMAIN, "%s exists in the pod: it is wired already", ifname);
	return delete_link(podnet->host, host_link.index, err);
}

static int make_veth(struct podnet *podnet, const struct net_veth *veth, struct err *err)
{
	struct net_link link;
	struct err why;
	int found;

	for (int i = 1;; i++) {
		if (net_veth_add(podnet->host, veth, &why) == 0)
			return 0;
		if (i == VETH_TRIES || why.class != ERR_CONFLICT)
			break;
		/* Our name, of a container that has this ID: what an ADD left whose pod's namespace was another. A DEL's link
		 * may be gone by now. */
		found = find_link(podnet->host, veth->name, &link, NULL);
		if (found < 0 || (found > 0 && !str_equal(link.kind, "veth")))
			break;
		if (found > 0 && delete_link(podnet->host, link.index, err) < 0)
			return -1;
	}
	if (err)
		*err = why;
	return -1;
}

static bool has_ipv6(const struct podnet_wish *wish)
{
	for (unsigned i = 0; i < wish->addr_count; i++) {
		if (wish->addrs[i].addr.family == IP_V6)
			return true;
	}
	return false;
}

/* ---- IPv6 that is switched off ---- */

/* Both of a link in the calling thread's namespace. */
static bool is_switched_off(const char *ifname)
{
	_cleanup_free_ char *value = NULL;
	char path[SYSCTL_SIZE];

	(void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", ifname);
	return fs_read(path, SYSCTL_SIZE, &value, NULL) == 0 && str_starts(value, "1");
}

static int switch_on(const char *ifname, struct err *err)
{
	char key[SYSCTL_SIZE];
	int rc;

	(void)snprintf(key, sizeof(key), "net/ipv6/conf/%s/disable_ipv6", ifname);
	rc = fs_sysctl_write(key, "0");
	return rc < 0 ? err_set_errno(err, ERR_INVALID, PODNET_DOMAIN, -rc,
				      "IPv6 is switched off and cannot be switched on: set %s to 0", key)
		      : 0;
}

static int switch_on_pod(void *arg, struct err *err)
{
	const struct podnet_wish *const *wish = arg;

	return switch_on((*wish)->ifname, err) < 0 ? -1 : switch_on("lo", err);
}

/* ---- the pod's side ---- */

static int add_addr(struct podnet *podnet, int index, const struct podnet_wish *wish, const struct ipaddr *addr,
		    struct err *err)
{
	struct err why;

	if (net_addr_add(podnet->pod, index, addr, ipaddr_bits(addr), NET_ADDR_NODAD, &why) == 0)
		return 0;
	if (addr->family == IP_V6 && why.code == EACCES) {
		if (netns_run(podnet->netns_fd, switch_on_pod, &wish, err) < 0)
			return err_wrap(err, "in the pod");
		return net_addr_add(podnet->pod, index, addr, ipaddr_bits(addr), NET_ADDR_NODAD, err);
	}
	if (err)
		*err = why;
	return -1;
}

static uint32_t metric_of(const struct podnet_wish *wish, int index)
{
	return str_equal(wish->ifname, FIRST_IFNAME) ? 0 : LATER_METRIC + (uint32_t)index;
}

/* What the pod reaches by the gateway. */
static int wire_pod_routes(struct podnet *podnet, int index, const struct podnet_wish *wish,
			   const struct podnet_addr *addr, struct err *err)
{
	struct prefix dsts[POD_ROUTES_MAX + 1];
	unsigned count = pod_routes_of(wish->routes, (enum ip_family)addr->addr.family, dsts);

	for (unsigned i = 0; i < count; i++) {
		struct net_route route = {
			.dst = dsts[i],
			.oif = index,
			.gateway = addr->gateway,
			.onlink = true,
			.metric = metric_of(wish, index),
			.protocol = BERTH_RTPROT,
		};

		if (net_route_replace(podnet->pod, &route, err) < 0)
			return -1;
	}
	return 0;
}

static int wire_pod_addr(struct podnet *podnet, int index, const struct podnet_wish *wish,
			 const struct podnet_addr *addr, const struct macaddr *host_mac, struct err *err)
{
	struct net_route self = {
		.dst = prefix_host(&addr->addr),
		.type = NET_ROUTE_LOCAL,
		.table = NET_TABLE_LOCAL,
		.oif = index,
		.protocol = BERTH_RTPROT,
	};
	struct net_route gateway = {
		.dst = prefix_host(&addr->gateway),
		.oif = index,
		.metric = metric_of(wish, index),
		.protocol = BERTH_RTPROT,
	};

	if (add_addr(podnet, index, wish, &addr->addr, err) < 0 ||
	    (addr->addr.family == IP_V6 && net_route_replace(podnet->pod, &self, err) < 0) ||
	    net_neigh_set_permanent(podnet->pod, index, &addr->gateway, host_mac, err) < 0 ||
	    net_route_replace(podnet->pod, &gateway, err) < 0)
		return -1;
	return wire_pod_routes(podnet, index, wish, addr, err);
}

static int make_pod(struct podnet *podnet, int index, const struct podnet_wish *wish, const struct macaddr *host_mac,
		    struct err *err)
{
	if (has_ipv6(wish) && net_link_make_no_addrs(podnet->pod, index, err) < 0)
		return -1;
	if (net_link_set_up(podnet->pod, index, true, err) < 0)
		return -1;
	for (unsigned i = 0; i < wish->addr_count; i++) {
		if (wire_pod_addr(podnet, index, wish, &wish->addrs[i], host_mac, err) < 0)
			return -1;
	}
	return 0;
}

static int wire_pod(struct podnet *podnet, int index, const struct podnet_wish *wish, const struct macaddr *host_mac,
		    struct err *err)
{
	net_batch_begin(podnet->pod);
	(void)make_pod(podnet, index, wish, host_mac, NULL);
	if (net_batch_end(podnet->pod, NULL) == 0)
		return 0;
	return make_pod(podnet, index, wish, host_mac, err);
}

/* ---- the host's side ---- */

/* Not a change that netlink knows. */
static int accept_no_ra(const char *host_ifname, struct err *err)
{
	char key[SYSCTL_SIZE];
	int rc;

	(void)snprintf(key, sizeof(key), "net/ipv6/conf/%s/accept_ra", host_ifname);
	rc = fs_sysctl_write(key, "0");
	/* A kernel without IPv6 has nothing to switch off. */
	return rc < 0 && rc != -ENOENT ? err_set_errno(err, ERR_INVALID, PODNET_DOMAIN, -rc, "set %s", key) : 0;
}

static int set_host_up(struct net *host, int index, const struct podnet_wish *wish, struct err *err)
{
	if (has_ipv6(wish) && net_link_make_no_addrs(host, index, err) < 0)
		return -1;
	return net_link_set_up(host, index, true, err);
}

static int wire_host_addr(struct net *host, int index, const struct ipaddr *addr, const struct macaddr *pod_mac,
			  struct err *err)
{
	struct net_route route = {
		.dst = prefix_host(addr),
		.type = NET_ROUTE_UNICAST,
		.table = NET_TABLE_LOCAL,
		.oif = index,
		.protocol = BERTH_RTPROT,
	};

	if (addr->family == IP_V6 && net_neigh_set_permanent(host, index, addr, pod_mac, err) < 0)
		return -1;
	return net_route_replace(host, &route, err);
}

static int make_host(struct net *host, const struct net_link *link, const struct podnet_wish *wish,
		     const struct macaddr *pod_mac, struct err *err)
{
	struct err why;

	if (set_host_up(host, link->index, wish, err) < 0)
		return -1;
	for (unsigned i = 0; i < wish->addr_count; i++) {
		const struct ipaddr *addr = &wish->addrs[i].addr;

		if (wire_host_addr(host, link->index, addr, pod_mac, &why) == 0)
			continue;
		if (addr->family != IP_V6 || !is_switched_off(link->name)) {
			if (err)
				*err = why;
			return -1;
		}
		if (switch_on(link->name, err) < 0 || wire_host_addr(host, link->index, addr, pod_mac, err) < 0)
			return -1;
	}
	return 0;
}

static int wire_host(struct net *host, const struct net_link *link, const struct podnet_wish *wish,
		     const struct macaddr *pod_mac, struct err *err)
{
	net_batch_begin(host);
	(void)make_host(host, link, wish, pod_mac, NULL);
	if (net_batch_end(host, NULL) == 0)
		return 0;
	return make_host(host, link, wish, pod_mac, err);
}

/* ---- both ---- */

static void assert_wish(const struct podnet_wish *wish)
{
	assert(wish->addr_count >= 1 && wish->addr_count <= IP_FAMILIES);
	for (unsigned i = 0; i < wish->addr_count; i++) {
		assert(ipaddr_bits(&wish->addrs[i].addr) != 0);
		assert(wish->addrs[i].gateway.family == wish->addrs[i].addr.family);
		assert(i == 0 || wish->addrs[i].addr.family != wish->addrs[i - 1].addr.family);
	}
}

static int wire_ends(struct podnet *podnet, const struct net_link *link, const struct podnet_wish *wish,
		     const struct podnet_made *made, struct err *err)
{
	if (accept_no_ra(link->name, err) < 0 || wire_pod(podnet, link->peer_index, wish, &made->host_mac, err) < 0)
		return -1;
	return wire_host(podnet->host, link, wish, &made->pod_mac, err);
}

int podnet_wire(struct podnet *podnet, const struct podnet_wish *wish, struct podnet_made *ret, struct err *err)
{
	struct podnet_made made = { .host_mac = net_named_mac(wish->host_ifname) };
	struct net_link link;
	struct net_veth veth = {
		.name = wish->host_ifname,
		.mac = &made.host_mac,
		.peer_netns_fd = podnet->netns_fd,
		.peer_name = wish->ifname,
		.peer_mac = &made.pod_mac,
		.mtu = wish->mtu,
	};

	assert_wish(wish);
	if (has_ipv6(wish) && wish->mtu != 0 && wish->mtu < IPV6_MTU_MIN)
		return err_set(err, ERR_INVALID, PODNET_DOMAIN, "an MTU of %u is too small for IPv6, which needs %d",
			       wish->mtu, IPV6_MTU_MIN);
	made.pod_mac = net_twin_mac(&made.host_mac);
	if (make_veth(podnet, &veth, err) < 0)
		return -1;
	if (net_link_by_name(podnet->host, wish->host_ifname, &link, err) < 0) {
		(void)podnet_unwire(podnet->host, wish->host_ifname, NULL);
		return -1;
	}
	if (wire_ends(podnet, &link, wish, &made, err) < 0) {
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
