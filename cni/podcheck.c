/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/podcheck.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/str.h"
#include "berth/version.h"

#define FINDING_SIZE 192

/* One look: both ends, and of each address what was seen of it. */
struct look {
	struct podnet *podnet;
	const struct podcheck_want *want;
	struct strbuf *findings;
	struct net_link pod, host;
	bool is_paired; /* both ends are there and belong together: what hangs on them can be looked at */
	struct seen {
		bool addr, gateway, neigh, host_route, host_neigh;
		bool routes[POD_ROUTES_MAX + 1]; /* as wanted */
	} seen[IP_FAMILIES];
};

_printf_(2, 3) static void find(struct look *look, const char *fmt, ...)
{
	char text[FINDING_SIZE];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	strbuf_printf(look->findings, "%s%s", look->findings->len ? "; " : "", text);
}

/* Return: 1 when there is such a link, 0 when there is none, -1. */
static int find_link(struct net *net, const char *name, struct net_link *ret, struct err *err)
{
	struct err why;

	if (net_link_by_name(net, name, ret, &why) == 0)
		return 1;
	if (why.class == ERR_NOTFOUND)
		return 0;
	*err = why;
	return -1;
}

/* ---- links ---- */

static bool is_zero(const struct macaddr *mac)
{
	const struct macaddr zero = { { 0 } };

	return macaddr_equal(mac, &zero);
}

static void judge_link(struct look *look, const char *side, const struct net_link *link, const struct macaddr *want)
{
	char have[MACADDR_STRLEN], wanted[MACADDR_STRLEN];

	if (!link->up)
		find(look, "%s interface %s is down", side, link->name);
	if (!is_zero(want) && !macaddr_equal(&link->mac, want))
		find(look, "%s interface %s has MAC %s instead of %s", side, link->name, macaddr_str(&link->mac, have),
		     macaddr_str(want, wanted));
}

static int look_at_links(struct look *look, struct err *err)
{
	const struct podcheck_want *want = look->want;
	int pod = find_link(look->podnet->pod, want->ifname, &look->pod, err);
	int host = pod < 0 ? -1 : find_link(look->podnet->host, want->host_ifname, &look->host, err);

	if (pod < 0 || host < 0)
		return -1;
	if (!pod)
		find(look, "pod interface %s is missing", want->ifname);
	if (!host)
		find(look, "host interface %s is missing", want->host_ifname);
	if (pod)
		judge_link(look, "pod", &look->pod, &want->mac);
	if (host)
		judge_link(look, "host", &look->host, &want->host_mac);
	if (pod && want->mtu && look->pod.mtu != want->mtu)
		find(look, "pod interface %s has MTU %u instead of %u", want->ifname, look->pod.mtu, want->mtu);
	look->is_paired = pod && host && str_equal(look->host.kind, "veth") &&
			  look->host.peer_index == look->pod.index && look->pod.peer_index == look->host.index;
	if (pod && host && !look->is_paired)
		find(look, "pod interface %s is not the other end of host interface %s", want->ifname,
		     want->host_ifname);
	return 0;
}

/* ---- addresses, routes, neighbours ---- */

static int see_addr(const struct net_addr *addr, void *arg)
{
	struct look *look = arg;

	for (unsigned i = 0; i < look->want->addr_count; i++)
		if (addr->index == look->pod.index && ipaddr_equal(&addr->addr, &look->want->addrs[i].addr))
			look->seen[i].addr = true;
	return 0;
}

static void see_route_via(const struct prefix *dst, const struct podcheck_routes *want, struct seen *seen)
{
	for (unsigned i = 0; i < want->count; i++)
		if (prefix_cmp(dst, &want->dsts[i]) == 0)
			seen->routes[i] = true;
}

static int see_pod_route(const struct net_route *route, void *arg)
{
	struct look *look = arg;

	for (unsigned i = 0; i < look->want->addr_count; i++) {
		const struct ipaddr *gateway = &look->want->addrs[i].gateway;

		if (route->oif != look->pod.index || route->dst.addr.family != gateway->family)
			continue;
		if (ipaddr_equal(&route->gateway, gateway))
			see_route_via(&route->dst, &look->want->routes[i], &look->seen[i]);
		if (route->dst.len == ipaddr_bits(gateway) && ipaddr_equal(&route->dst.addr, gateway))
			look->seen[i].gateway = true;
	}
	return 0;
}

static int see_pod_neigh(const struct net_neigh *neigh, void *arg)
{
	struct look *look = arg;

	for (unsigned i = 0; i < look->want->addr_count; i++)
		if (neigh->index == look->pod.index && ipaddr_equal(&neigh->addr, &look->want->addrs[i].gateway) &&
		    neigh->permanent && macaddr_equal(&neigh->mac, &look->host.mac))
			look->seen[i].neigh = true;
	return 0;
}

static int see_host_route(const struct net_route *route, void *arg)
{
	struct look *look = arg;

	for (unsigned i = 0; i < look->want->addr_count; i++) {
		const struct prefix pod = prefix_host(&look->want->addrs[i].addr);

		if (prefix_cmp(&route->dst, &pod) == 0 && route->oif == look->host.index &&
		    route->type == NET_ROUTE_UNICAST)
			look->seen[i].host_route = true;
	}
	return 0;
}

static int see_host_neigh(const struct net_neigh *neigh, void *arg)
{
	struct look *look = arg;

	for (unsigned i = 0; i < look->want->addr_count; i++)
		if (neigh->index == look->host.index && ipaddr_equal(&neigh->addr, &look->want->addrs[i].addr) &&
		    neigh->permanent && macaddr_equal(&neigh->mac, &look->pod.mac))
			look->seen[i].host_neigh = true;
	return 0;
}

/* Only the families that the pod has are asked for. */
static int look_behind_links(struct look *look, struct err *err)
{
	struct net *pod = look->podnet->pod, *host = look->podnet->host;

	if (net_addrs(pod, see_addr, look, err) < 0)
		return -1;
	for (unsigned i = 0; i < look->want->addr_count; i++) {
		enum ip_family family = (enum ip_family)look->want->addrs[i].addr.family;

		if (net_routes(pod, family, NET_TABLE_MAIN, see_pod_route, look, err) < 0 ||
		    net_neighs(pod, family, see_pod_neigh, look, err) < 0 ||
		    net_routes(host, family, NET_TABLE_LOCAL, see_host_route, look, err) < 0)
			return -1;
		if (family == IP_V6 && net_neighs(host, family, see_host_neigh, look, err) < 0)
			return -1;
	}
	return 0;
}

static void judge_routes(struct look *look, unsigned i, const char *gateway)
{
	const struct podcheck_routes *want = &look->want->routes[i];
	char dst[PREFIX_STRLEN];

	if (want->count && !look->seen[i].gateway)
		find(look, "pod lacks the route to %s dev %s", gateway, look->want->ifname);
	for (unsigned k = 0; k < want->count; k++) {
		if (look->seen[i].routes[k])
			continue;
		if (want->dsts[k].len == 0)
			find(look, "pod lacks the default route via %s dev %s", gateway, look->want->ifname);
		else
			find(look, "pod lacks the route to %s via %s dev %s", prefix_str(&want->dsts[k], dst), gateway,
			     look->want->ifname);
	}
}

static void judge_addr(struct look *look, unsigned i)
{
	const struct podnet_addr *addr = &look->want->addrs[i];
	const struct seen *seen = &look->seen[i];
	const char *ifname = look->want->ifname, *host_ifname = look->want->host_ifname;
	char text[IPADDR_STRLEN], gateway[IPADDR_STRLEN];

	(void)ipaddr_str(&addr->addr, text);
	(void)ipaddr_str(&addr->gateway, gateway);
	if (!seen->addr)
		find(look, "pod interface %s lacks address %s", ifname, text);
	judge_routes(look, i, gateway);
	if (look->is_paired && !seen->neigh)
		find(look, "pod lacks the permanent neighbour %s dev %s with the MAC of host interface %s", gateway,
		     ifname, host_ifname);
	if (!seen->host_route)
		find(look, "host lacks the route to %s dev %s in table local", text, host_ifname);
	if (look->is_paired && addr->addr.family == IP_V6 && !seen->host_neigh)
		find(look, "host lacks the permanent neighbour %s dev %s with the MAC of pod interface %s", text,
		     host_ifname, ifname);
}

int podcheck(struct podnet *podnet, const struct podcheck_want *want, struct strbuf *findings, struct err *err)
{
	struct look look = { .podnet = podnet, .want = want, .findings = findings };

	if (look_at_links(&look, err) < 0)
		return -1;
	/* A link that is missing took all of its own along: one finding says it. */
	if (!look.pod.index || !look.host.index)
		return 0;
	if (look_behind_links(&look, err) < 0)
		return -1;
	for (unsigned i = 0; i < want->addr_count; i++)
		judge_addr(&look, i);
	return 0;
}
