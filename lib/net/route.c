/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: routes
 *
 * What identifies a route differs by family. IPv4: destination, table, TOS and metric; a replace takes the place of
 * the first of those whatever its type, and a delete compares type and protocol. IPv6: the same for replace, but a
 * delete compares no type: "delete the unreachable route" would take a unicast one. There the device decides, because
 * unreachable and blackhole routes of IPv6 hang on lo.
 *
 * No metric is set but on routes of a pod's further interfaces: the kernel's default (0 for IPv4, 1024 for IPv6) is the
 * same for all our types, so that unicast and unreachable replace each other.
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "net_internal.h"

/* ---- reading ---- */

static const struct nla_policy route_policy[RTA_MAX + 1] = {
	[RTA_OIF] = { .type = NLA_U32 },
	[RTA_TABLE] = { .type = NLA_U32 },
	[RTA_METRICS] = { .type = NLA_NESTED },
};

static enum net_route_type type_from(uint8_t rtn)
{
	switch (rtn) {
	case RTN_UNICAST:
		return NET_ROUTE_UNICAST;
	case RTN_UNREACHABLE:
		return NET_ROUTE_UNREACHABLE;
	case RTN_BLACKHOLE:
		return NET_ROUTE_BLACKHOLE;
	case RTN_LOCAL:
		return NET_ROUTE_LOCAL;
	case RTN_THROW:
		return NET_ROUTE_THROW;
	default:
		return NET_ROUTE_OTHER;
	}
}

/* Return: RTN_UNSPEC for a type that cannot be made. */
static uint8_t type_to(enum net_route_type type)
{
	switch (type) {
	case NET_ROUTE_UNICAST:
		return RTN_UNICAST;
	case NET_ROUTE_UNREACHABLE:
		return RTN_UNREACHABLE;
	case NET_ROUTE_BLACKHOLE:
		return RTN_BLACKHOLE;
	case NET_ROUTE_LOCAL:
		return RTN_LOCAL;
	case NET_ROUTE_THROW:
		return RTN_THROW;
	case NET_ROUTE_OTHER:
		break;
	}
	return RTN_UNSPEC;
}

static bool type_has_device(enum net_route_type type)
{
	return type != NET_ROUTE_UNREACHABLE && type != NET_ROUTE_BLACKHOLE && type != NET_ROUTE_THROW;
}

static uint32_t parse_mtu(struct nlattr *metrics)
{
	static const struct nla_policy policy[RTAX_MAX + 1] = { [RTAX_MTU] = { .type = NLA_U32 } };
	struct nlattr *tb[RTAX_MAX + 1];

	if (!metrics || nla_parse_nested(tb, RTAX_MAX, metrics, policy) < 0 || !tb[RTAX_MTU])
		return 0;
	return nla_get_u32(tb[RTAX_MTU]);
}

static int parse_addrs(unsigned af, struct nlattr **tb, struct net_route *route)
{
	if ((tb[RTA_DST] && net_addr_from(af, tb[RTA_DST], &route->dst.addr) < 0) ||
	    (tb[RTA_GATEWAY] && net_addr_from(af, tb[RTA_GATEWAY], &route->gateway) < 0) ||
	    (tb[RTA_PREFSRC] && net_addr_from(af, tb[RTA_PREFSRC], &route->src) < 0))
		return -EBADMSG;
	return route->dst.len <= ipaddr_bits(&route->dst.addr) ? 0 : -EBADMSG;
}

int net_parse_route(struct nlmsghdr *hdr, void *item)
{
	struct nlattr *tb[RTA_MAX + 1];
	struct net_route route = { 0 };
	const struct rtmsg *rtm;

	if (hdr->nlmsg_type != RTM_NEWROUTE && hdr->nlmsg_type != RTM_DELROUTE)
		return 1;
	if (nlmsg_parse(hdr, sizeof(*rtm), tb, RTA_MAX, route_policy) < 0)
		return -EBADMSG;
	rtm = nlmsg_data(hdr);
	if (net_family(rtm->rtm_family) == IP_NONE || (rtm->rtm_flags & RTM_F_CLONED))
		return 1;
	route.dst.addr.family = net_family(rtm->rtm_family);
	route.dst.len = rtm->rtm_dst_len;
	if (parse_addrs(rtm->rtm_family, tb, &route) < 0)
		return -EBADMSG;
	route.type = type_from(rtm->rtm_type);
	route.table = tb[RTA_TABLE] ? nla_get_u32(tb[RTA_TABLE]) : rtm->rtm_table;
	/* IPv6 shows lo on routes that lead nowhere; IPv4 shows nothing. */
	route.oif = tb[RTA_OIF] && type_has_device(route.type) ? (int)nla_get_u32(tb[RTA_OIF]) : 0;
	route.onlink = rtm->rtm_flags & RTNH_F_ONLINK;
	route.protocol = rtm->rtm_protocol;
	route.mtu = parse_mtu(tb[RTA_METRICS]);
	memcpy(item, &route, sizeof(route));
	return 0;
}

/* A table that nobody has used yet does not exist, and has no routes. */
int net_routes(struct net *net, enum ip_family family, uint32_t table,
	       int (*fn)(const struct net_route *route, void *arg), void *arg, struct err *err)
{
	_cleanup_list_ struct net_list list = { .item_size = sizeof(struct net_route) };
	struct rtmsg rtm = { .rtm_family = net_af(family) };
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	if (rtm.rtm_family == AF_UNSPEC)
		return err_set(err, ERR_INVALID, NET_DOMAIN, "routes of no family");
	net_msg_init(&msg, RTM_GETROUTE, 0, &rtm, sizeof(rtm));
	if (table != 0)
		net_msg_u32(&msg, RTA_TABLE, table);
	rc = net_dump(net, &msg, net_parse_route, &list, &ack);
	if (rc == -ENOENT && table != 0)
		return 0;
	if (rc < 0)
		return net_fail(err, rc, &ack, "list routes of table %u", table);
	for (size_t i = 0; rc == 0 && i < list.count; i++) {
		const struct net_route *route = &((const struct net_route *)list.items)[i];

		/* A kernel that does not filter dumps (before 4.20) brings all tables. */
		if (table == 0 || route->table == table)
			rc = fn(route, arg);
	}
	return rc;
}

/* ---- changing ---- */

static uint32_t table_of(const struct net_route *route)
{
	return route->table ? route->table : NET_TABLE_MAIN;
}

static uint8_t scope_of(const struct net_route *route)
{
	if (route->dst.addr.family == IP_V6)
		return RT_SCOPE_UNIVERSE;
	if (route->type == NET_ROUTE_LOCAL)
		return RT_SCOPE_HOST;
	if (route->type == NET_ROUTE_UNICAST && route->gateway.family == IP_NONE)
		return RT_SCOPE_LINK;
	return RT_SCOPE_UNIVERSE;
}

static bool family_fits(const struct ipaddr *addr, const struct net_route *route)
{
	return addr->family == IP_NONE || addr->family == route->dst.addr.family;
}

static int check_route(const struct net_route *route, struct err *err)
{
	char text[PREFIX_STRLEN];

	if (ipaddr_bits(&route->dst.addr) == 0 || route->dst.len > ipaddr_bits(&route->dst.addr))
		return err_set(err, ERR_INVALID, NET_DOMAIN, "route without a destination");
	if (type_to(route->type) == RTN_UNSPEC)
		return err_set(err, ERR_INVALID, NET_DOMAIN, "route %s of a type that we do not make",
			       prefix_str(&route->dst, text));
	if (!family_fits(&route->gateway, route) || !family_fits(&route->src, route))
		return err_set(err, ERR_INVALID, NET_DOMAIN, "route %s with addresses of another family",
			       prefix_str(&route->dst, text));
	return 0;
}

static void route_msg(struct net_msg *msg, int type, int flags, const struct net_route *route, uint8_t scope)
{
	uint32_t table = table_of(route);
	struct rtmsg rtm = {
		.rtm_family = net_af(route->dst.addr.family),
		.rtm_dst_len = route->dst.len,
		.rtm_table = table <= UINT8_MAX ? (uint8_t)table : RT_TABLE_UNSPEC,
		.rtm_protocol = route->protocol,
		.rtm_scope = scope,
		.rtm_type = type_to(route->type),
		.rtm_flags = route->onlink ? RTNH_F_ONLINK : 0,
	};

	net_msg_init(msg, type, flags, &rtm, sizeof(rtm));
	net_msg_u32(msg, RTA_TABLE, table);
	if (route->dst.len != 0)
		net_msg_addr(msg, RTA_DST, &route->dst.addr);
}

static void put_nexthop(struct net_msg *msg, const struct net_route *route)
{
	struct nlattr *metrics;

	if (route->oif != 0)
		net_msg_u32(msg, RTA_OIF, (uint32_t)route->oif);
	if (route->gateway.family != IP_NONE)
		net_msg_addr(msg, RTA_GATEWAY, &route->gateway);
	if (route->src.family != IP_NONE)
		net_msg_addr(msg, RTA_PREFSRC, &route->src);
	if (route->metric != 0)
		net_msg_u32(msg, RTA_PRIORITY, route->metric);
	if (route->mtu == 0)
		return;
	metrics = net_msg_nest(msg, RTA_METRICS);
	net_msg_u32(msg, RTAX_MTU, route->mtu);
	net_msg_nest_end(msg, metrics);
}

int net_route_replace(struct net *net, const struct net_route *route, struct err *err)
{
	char text[PREFIX_STRLEN];
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	if (check_route(route, err) < 0)
		return -1;
	route_msg(&msg, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route, scope_of(route));
	put_nexthop(&msg, route);
	rc = net_call(net, &msg, &ack);
	if (rc < 0)
		return net_fail(err, rc, &ack, "set route %s dev %d table %u", prefix_str(&route->dst, text),
				route->oif, table_of(route));
	return 0;
}

/* ---- deleting ---- */

struct same_route {
	const struct net_route *wanted;
	int oif; /* of the one found; 0 = none */
};

static int match_route(const struct net_route *route, void *arg)
{
	struct same_route *same = arg;

	if (route->type != same->wanted->type || route->protocol != same->wanted->protocol ||
	    prefix_cmp(&route->dst, &same->wanted->dst) != 0)
		return 0;
	same->oif = route->oif;
	return 1;
}

/* Which device tells the kernel's IPv6 delete that this route is meant and none of another type; 0: none is needed or
 * there is no such route (*ret_missing). */
static int device_of(struct net *net, const struct net_route *route, int *ret_oif, bool *ret_missing, struct err *err)
{
	struct same_route same = { .wanted = route };

	*ret_missing = false;
	*ret_oif = route->oif;
	if (route->dst.addr.family != IP_V6 || route->oif != 0)
		return 0;
	if (!type_has_device(route->type)) {
		*ret_oif = NET_LO_INDEX;
		return 0;
	}
	if (net_routes(net, IP_V6, table_of(route), match_route, &same, err) < 0)
		return -1;
	*ret_missing = same.oif == 0;
	*ret_oif = same.oif;
	return 0;
}

int net_route_del(struct net *net, const struct net_route *route, struct err *err)
{
	char text[PREFIX_STRLEN];
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	bool missing;
	int oif, rc;

	if (check_route(route, err) < 0 || device_of(net, route, &oif, &missing, err) < 0)
		return -1;
	if (missing)
		return 0;
	route_msg(&msg, RTM_DELROUTE, 0, route, RT_SCOPE_NOWHERE);
	if (oif != 0)
		net_msg_u32(&msg, RTA_OIF, (uint32_t)oif);
	rc = net_call(net, &msg, &ack);
	if (rc < 0 && net_err_class(-rc) != ERR_NOTFOUND)
		return net_fail(err, rc, &ack, "remove route %s table %u", prefix_str(&route->dst, text),
				table_of(route));
	return 0;
}
