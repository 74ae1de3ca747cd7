/* SPDX-License-Identifier: Apache-2.0 */
/* Leases after a start: those of the store, and pods that only the kernel knows. */
#include "ipamd/ipamd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "berth/clock.h"
#include "berth/log.h"
#include "berth/str.h"
#include "berth/version.h"

#define HEX            "0123456789abcdef"
#define ADOPTED_IFNAME "adopted" /* no runtime asks for an interface of that name in a pod that it names by our link */

/* ---- a lease that is known ---- */

/* The address by which a lease is named in the log. */
static const struct ipaddr *first_addr(const struct lease *lease)
{
	return &lease->addrs[lease->addrs[0].family == IP_NONE];
}

static int hold_lost(struct ipamd *d, const struct lease *lease, const struct ipaddr *addr, int64_t now_us)
{
	const struct pool_nic *primary = pool_nic_next(d->pool, NULL);
	struct prefix prefix = prefix_host(addr);
	char text[IPADDR_STRLEN];
	int r = primary ? pool_block_add(d->pool, primary->slot, &prefix, now_us) : -ENOENT;

	if (r < 0)
		return r;
	log_error("a running pod has an address that the cloud does not show", "addr=%s container=%s",
		  ipaddr_str(addr, text), lease->key.container);
	pool_block_set_state(d->pool, &prefix, BLOCK_LOST, now_us);
	return 0;
}

/* A lease whose address no block holds: the cloud took it while we were away. The pod runs on, so does its lease. */
static int restore_lost(struct ipamd *d, const struct lease *lease, int64_t now_us)
{
	struct pool_block_view block;
	int r = 0;

	for (unsigned i = 0; i < IP_FAMILIES && r == 0; i++)
		if (lease->addrs[i].family != IP_NONE && !pool_block_of(d->pool, &lease->addrs[i], &block))
			r = hold_lost(d, lease, &lease->addrs[i], now_us);
	return r < 0 ? r : pool_lease_restore(d->pool, lease);
}

void restore_lease(struct ipamd *d, const struct lease *lease, int64_t now_us)
{
	char text[IPADDR_STRLEN];
	int r = pool_lease_restore(d->pool, lease);

	(void)hostwork_learn_name(d, lease->host_ifname);
	if (r == -ENOENT)
		r = restore_lost(d, lease, now_us);
	if (r < 0)
		log_error("cannot restore a lease", "addr=%s container=%s err=\"%s\"",
			  ipaddr_str(first_addr(lease), text), lease->key.container, errno_str(-r));
}

/* ---- names ---- */

void adopted_key(const struct ipamd *d, const char *host_ifname, struct lease_key *ret)
{
	memset(ret, 0, sizeof(*ret));
	(void)str_copy(ret->network, sizeof(ret->network), d->config.network);
	(void)str_copy(ret->container, sizeof(ret->container), host_ifname);
	(void)str_copy(ret->ifname, sizeof(ret->ifname), ADOPTED_IFNAME);
}

bool lease_is_adopted(const struct lease *lease)
{
	return str_equal(lease->key.ifname, ADOPTED_IFNAME) && !lease->netns[0] && !lease->delegated;
}

void lease_host_ifname(const struct lease *lease, char ret[static LEASE_IFNAME_SIZE])
{
	if (lease_is_adopted(lease))
		(void)str_copy(ret, LEASE_IFNAME_SIZE, lease->key.container);
	else if (lease->host_ifname[0])
		(void)str_copy(ret, LEASE_IFNAME_SIZE, lease->host_ifname);
	else
		proto_host_ifname(&lease->key, ret);
}

static int restore_cooldown(const struct ipaddr *addr, int64_t until_us, void *arg)
{
	struct ipamd *d = arg;

	(void)pool_cooldown_restore(d->pool, addr, until_us); /* not ours any more, or leased: nothing rests */
	if (!egress_of(d->pool, addr))
		egress_rest(&d->egress, addr, until_us);
	return 0;
}

struct rest {
	const struct ipaddr *addr;
	bool found;
};

static int find_rest(const struct ipaddr *addr, int64_t until_us, void *arg)
{
	struct rest *rest = arg;

	(void)until_us;
	rest->found = rest->found || ipaddr_equal(addr, rest->addr);
	return rest->found;
}

/* The store knows that the address was given back: a daemon before us ended before it took the pod's route away. */
static bool was_released(struct ipamd *d, const struct ipaddr *addr)
{
	struct rest rest = { addr, false };
	struct err err;

	if (addr->family == IP_NONE)
		return false;
	(void)store_cooldowns(d->store, find_rest, &rest, &err);
	return rest.found;
}

/* By our name, or one that was asked for: those end with 11 hex digits. */
static bool is_host_end(const struct net_link *link)
{
	size_t len = strlen(link->name),
	       digits = len > PROTO_IFNAME_DIGITS ? strspn(link->name + len - PROTO_IFNAME_DIGITS, HEX) : 0;

	return str_starts(link->name, HOSTNET_POD_LINKS) ||
	       (digits == PROTO_IFNAME_DIGITS && str_equal(link->kind, "veth"));
}

#define ADOPT_MAX (4096 * IP_FAMILIES) /* routes; no node runs more pods */

/** struct found_route - to a pod. */
struct found_route {
	struct ipaddr addr;
	int oif; /* 0: looked at already */
	char link[LEASE_IFNAME_SIZE];
};

struct restore_found {
	unsigned count;
	struct found_route list[ADOPT_MAX];
};

/* Ours, of one address, to one link. net_link_by_index() must not run inside a dump of the same socket: collect first. */
static int collect_route(const struct net_route *route, void *arg)
{
	struct restore_found *found = arg;

	if (route->protocol == BERTH_RTPROT && route->type == NET_ROUTE_UNICAST && route->oif &&
	    route->dst.len == ipaddr_bits(&route->dst.addr) && found->count < ADOPT_MAX)
		found->list[found->count++] = (struct found_route){ .addr = route->dst.addr, .oif = route->oif };
	return 0;
}

/* What leads to no host end does not count. */
static int find_links(struct ipamd *d, struct restore_found *found, struct err *err)
{
	for (unsigned i = 0; i < found->count; i++) {
		struct found_route *route = &found->list[i];
		struct net_link link;
		struct err why;

		if (net_link_by_index(d->net, route->oif, &link, &why) == 0) {
			if (!is_host_end(&link))
				route->oif = 0;
			(void)str_copy(route->link, sizeof(route->link), link.name);
		} else if (why.class == ERR_NOTFOUND) {
			route->oif = 0;
		} else {
			*err = why;
			return -1;
		}
	}
	return 0;
}

/* A kernel without IPv6 lists no routes of it, and has no such pods. */
static int find_routes(struct ipamd *d, struct restore_found *found, struct err *err)
{
	if (net_routes(d->net, IP_V4, NET_TABLE_LOCAL, collect_route, found, err) < 0)
		return -1;
	if (net_routes(d->net, IP_V6, NET_TABLE_LOCAL, collect_route, found, err) < 0 && !hostnet_lacks_family(err))
		return -1;
	return find_links(d, found, err);
}

int restore_look(struct ipamd *d, struct restore_found **ret, struct err *err)
{
	struct restore_found *found = calloc(1, sizeof(*found));

	if (!found)
		return err_set(err, ERR_RETRY, "ipamd", "no memory for the routes of pods");
	if (find_routes(d, found, err) < 0) {
		free(found);
		return err_wrap(err, "look for pods that only the kernel knows");
	}
	*ret = found;
	return 0;
}

/* The pod's addresses: those of all routes to its link, from @first on, that no lease has. They are not looked at again. */
static void take_addrs(const struct ipamd *d, struct restore_found *found, unsigned first,
		       struct ipaddr ret[static IP_FAMILIES])
{
	int oif = found->list[first].oif;

	for (unsigned i = first; i < found->count; i++) {
		struct found_route *route = &found->list[i];
		struct ipaddr *addr = &ret[ip_index(route->addr.family)];

		if (route->oif != oif || addr->family != IP_NONE)
			continue;
		route->oif = 0;
		if (!pool_lease_by_addr(d->pool, &route->addr) && !egress_of(d->pool, &route->addr))
			*addr = route->addr;
	}
}

/* A pod's routes without a lease: the store was lost, the pod was not. */
static void adopt_pod(struct ipamd *d, const struct ipaddr addrs[static IP_FAMILIES], const char *link, int64_t now_us)
{
	struct lease lease = { .state = LEASE_BOUND, .since_us = now_us, .addrs = { addrs[0], addrs[1] } };
	char text[IPADDR_STRLEN];
	struct err err;

	if (was_released(d, &addrs[0]) || was_released(d, &addrs[1])) {
		hostwork_pod_down(d, addrs, link);
		return;
	}
	if (!egress_split(&lease)) {
		log_warn("a pod has nothing but an egress address, and loses it", "link=%s", link);
		return;
	}
	adopted_key(d, link, &lease.key);
	restore_lease(d, &lease, now_us);
	if (store_lease_put(d->store, &lease, &err) < 0)
		log_error("cannot store an adopted lease", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
	d->stats.adopted++;
	log_warn("adopted a pod that only the kernel knew", "addr=%s link=%s", ipaddr_str(first_addr(&lease), text),
		 link);
}

static void adopt_pods(struct ipamd *d, struct restore_found *found, int64_t now_us)
{
	for (unsigned i = 0; i < found->count; i++) {
		struct ipaddr addrs[IP_FAMILIES] = { 0 };

		if (!found->list[i].oif)
			continue;
		(void)hostwork_learn_name(d, found->list[i].link);
		take_addrs(d, found, i, addrs);
		if (addrs[0].family != IP_NONE || addrs[1].family != IP_NONE)
			adopt_pod(d, addrs, found->list[i].link, now_us);
	}
}

void view_restore(struct ipamd *d, struct restore_found *found, int64_t now_us)
{
	for (unsigned i = 0; i < d->early_count; i++)
		restore_lease(d, &d->early[i], now_us);
	free(take_ptr(d->early));
	d->early_count = 0;
	adopt_pods(d, found, now_us);
}

void view_rest(struct ipamd *d)
{
	struct err err;

	if (store_cooldowns(d->store, restore_cooldown, d, &err) < 0)
		log_warn("cannot load cooldowns", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
}
