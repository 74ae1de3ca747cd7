/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: sync
 *
 * What is wanted is a sorted list of routes, at most one per table and destination. One dump per family is held against
 * it: a route of ours that is wanted is ticked off, one that is not wanted is put on the list of removals, a route of
 * somebody else where ours should be is a conflict. What is left unticked is missing. The kernel is changed only after
 * it was read, so that a second sync finds nothing to do.
 *
 * A step that fails does not keep the others from being done; the first error is returned.
 */
#include "ipamd/hostnet.h"

#include <assert.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/version.h"

#define HOSTNET_DOMAIN     "hostnet"
#define HOSTNET_LINKS_MAX  16384U /* links of a node: pods are under 4,096 */
#define HOSTNET_ROUTES_MAX 65536U /* routes wanted or to be removed: 64 NICs of 256 blocks, and pods */
#define SYSCTL_KEY_MAX     96     /* bytes: "net/ipv6/conf/IFNAME/accept_ra" and to spare */
#define SYSCTL_VALUE_MAX   64     /* bytes of a value that is compared */

struct hostnet {
	struct net *net;
	struct hostnet_config config;
};

/* ---- lists ---- */

struct list {
	void *items;
	unsigned count, alloc;
};

static void list_done(struct list *list)
{
	free(list->items);
}
#define _cleanup_list_ _cleanup_(list_done)

/* A zeroed item at the end. Return: NULL without memory or above @max. */
static void *list_add(struct list *list, size_t item_size, unsigned max)
{
	void *item;

	if (list->count == list->alloc) {
		unsigned alloc = list->alloc ? list->alloc * 2 : 64;
		void *items = list->count < max ? realloc(list->items, alloc * item_size) : NULL;

		if (!items)
			return NULL;
		list->items = items;
		list->alloc = alloc;
	}
	item = (char *)list->items + list->count++ * item_size;
	memset(item, 0, item_size);
	return item;
}

/* ---- one sync ---- */

/* What to do about a wanted route. */
enum want_kind {
	WANT_LEAVE,   /* a reserved pod's: its plugin is at work, whatever is there stays */
	WANT_PRESENT, /* shall be there as it is */
};

struct want {
	enum want_kind kind;
	unsigned rank; /* of two for the same table and destination, the lower one counts */
	struct net_route route;
	bool seen;
	bool foreign; /* somebody else's route is there */
};

struct sync {
	struct hostnet *hostnet;
	struct hostnet_want *want;
	struct hostnet_report report;
	struct list links;             /* struct net_link by name */
	struct list wants;             /* struct want by table and destination */
	struct list removals;          /* struct net_route */
	struct list rules;             /* struct want_rule */
	int secondary[CLOUD_NICS_MAX]; /* link indices of our secondary NICs */
	unsigned secondary_count;
	bool failed;
	struct err err; /* the first one */
};

struct want_rule {
	struct net_rule rule;
	bool seen;
};

/* Keeps the first error of a sync. */
static void note(struct sync *sync, const struct err *err)
{
	if (!sync->failed)
		sync->err = *err;
	sync->failed = true;
}

static void note_memory(struct sync *sync)
{
	struct err err;

	(void)err_set(&err, ERR_EXHAUSTED, HOSTNET_DOMAIN, "no memory, or more links or routes than there may be");
	note(sync, &err);
}

static void sync_done(struct sync *sync)
{
	list_done(&sync->links);
	list_done(&sync->wants);
	list_done(&sync->removals);
	list_done(&sync->rules);
}

/* ---- links ---- */

static int keep_link(const struct net_link *link, void *arg)
{
	struct sync *sync = arg;
	struct net_link *kept = list_add(&sync->links, sizeof(*kept), HOSTNET_LINKS_MAX);

	if (!kept)
		return -ENOMEM;
	*kept = *link;
	return 0;
}

static int compare_links(const void *a, const void *b)
{
	return strcmp(((const struct net_link *)a)->name, ((const struct net_link *)b)->name);
}

static const struct net_link *link_by_name(const struct sync *sync, const char *name)
{
	struct net_link key = { 0 };

	if (!sync->links.count || str_copy(key.name, sizeof(key.name), name) < 0)
		return NULL;
	return bsearch(&key, sync->links.items, sync->links.count, sizeof(key), compare_links);
}

static bool is_hardware(const struct net_link *link)
{
	return !link->kind[0];
}

/* The NIC's link: by MAC, no host end of a pod. A VLAN, bridge or bond over a NIC carries its MAC too: hardware wins.
 */
static const struct net_link *link_by_mac(struct sync *sync, const struct macaddr *mac)
{
	const struct net_link *links = sync->links.items, *found = NULL;
	char text[MACADDR_STRLEN];
	struct err err;

	for (unsigned i = 0; i < sync->links.count; i++) {
		if (!macaddr_equal(&links[i].mac, mac) || str_starts(links[i].name, HOSTNET_POD_LINKS))
			continue;
		if (!found || is_hardware(&links[i]) > is_hardware(found)) {
			found = &links[i];
			continue;
		}
		if (is_hardware(&links[i]) < is_hardware(found))
			continue;
		(void)err_set(&err, ERR_CONFLICT, HOSTNET_DOMAIN, "links %s and %s both have MAC %s", found->name,
			      links[i].name, macaddr_str(mac, text));
		note(sync, &err);
		return NULL;
	}
	return found;
}

static int read_links(struct sync *sync, struct err *err)
{
	int r = net_links(sync->hostnet->net, keep_link, sync, err);

	if (r == -ENOMEM)
		return err_set(err, ERR_EXHAUSTED, HOSTNET_DOMAIN, "no memory for links, or more than %u of them",
			       HOSTNET_LINKS_MAX);
	if (r < 0)
		return -1;
	if (sync->links.count)
		qsort(sync->links.items, sync->links.count, sizeof(struct net_link), compare_links);
	return 0;
}

/* ---- sysctls ---- */

static bool sysctl_is(const char *key, const char *value)
{
	char path[SYSCTL_KEY_MAX + sizeof("/proc/sys/")], *now = NULL;
	bool same;

	(void)snprintf(path, sizeof(path), "/proc/sys/%s", key);
	if (fs_read(path, SYSCTL_VALUE_MAX, &now, NULL) < 0)
		return false;
	now[strcspn(now, "\n")] = '\0';
	same = str_equal(now, value);
	free(now);
	return same;
}

/* Writes only what differs: a read-only /proc/sys with the right values is fine. @optional: may be missing (no IPv6).
 */
static void set_sysctl(struct sync *sync, const char *key, const char *value, bool optional)
{
	struct err err;
	int r;

	if (sysctl_is(key, value))
		return;
	r = fs_sysctl_write(key, value);
	if (r == 0 || (optional && r == -ENOENT))
		return;
	(void)err_set_errno(&err, ERR_INVALID, HOSTNET_DOMAIN, -r, "set %s to %s", key, value);
	note(sync, &err);
}

static void set_link_sysctl(struct sync *sync, const char *ip, const char *ifname, const char *name, const char *value)
{
	char key[SYSCTL_KEY_MAX];

	(void)snprintf(key, sizeof(key), "net/%s/conf/%s/%s", ip, ifname, name);
	set_sysctl(sync, key, value, str_equal(ip, "ipv6"));
}

/* ---- what is wanted ---- */

static void want_route(struct sync *sync, enum want_kind kind, unsigned rank, const struct net_route *route)
{
	struct want *want = list_add(&sync->wants, sizeof(*want), HOSTNET_ROUTES_MAX);

	if (!want) {
		note_memory(sync);
		return;
	}
	want->kind = kind;
	want->rank = rank;
	want->route = *route;
	want->route.protocol = BERTH_RTPROT;
}

static void want_rule(struct sync *sync, const struct hostnet_nic *nic)
{
	const struct hostnet_config *config = &sync->hostnet->config;
	struct want_rule *want = list_add(&sync->rules, sizeof(*want), CLOUD_NICS_MAX);

	if (!want) {
		note_memory(sync);
		return;
	}
	want->rule = (struct net_rule){
		.family = IP_V4,
		.priority = config->rule_priority + nic->slot,
		.fwmark = hostnet_mark(config->mark_mask, nic->slot),
		.fwmask = config->mark_mask,
		.table = nic->primary ? NET_TABLE_MAIN : config->table_base + nic->slot,
		.protocol = BERTH_RTPROT,
	};
}

static void want_covers_and_pods(struct sync *sync)
{
	const struct hostnet_want *want = sync->want;

	for (unsigned i = 0; i < want->block_count; i++) {
		struct net_route route = { .dst = want->blocks[i],
					   .type = NET_ROUTE_UNREACHABLE,
					   .table = NET_TABLE_LOCAL };

		want_route(sync, WANT_PRESENT, 1, &route);
	}
	for (unsigned i = 0; i < want->pod_count; i++) {
		const struct hostnet_pod *pod = &want->pods[i];
		const struct net_link *link = link_by_name(sync, pod->host_ifname);
		struct net_route route = { .dst = prefix_host(&pod->addr),
					   .type = NET_ROUTE_UNICAST,
					   .table = NET_TABLE_LOCAL,
					   .oif = link ? link->index : 0 };

		if (!pod->bound)
			want_route(sync, WANT_LEAVE, 0, &route);
		else if (link)
			want_route(sync, WANT_PRESENT, 0, &route);
		else
			sync->report.pods_without_link++;
	}
}

/* The NIC's own table: the gateway on link, the default through it. */
static void want_table(struct sync *sync, const struct hostnet_nic *nic, const struct net_link *link)
{
	uint32_t table = sync->hostnet->config.table_base + nic->slot;
	struct net_route gateway = {
		.dst = prefix_host(&nic->gateway), .type = NET_ROUTE_UNICAST, .table = table, .oif = link->index
	};
	struct net_route all = {
		.type = NET_ROUTE_UNICAST, .table = table, .oif = link->index, .gateway = nic->gateway
	};

	all.dst.addr.family = nic->gateway.family;
	want_route(sync, WANT_PRESENT, 0, &gateway);
	want_route(sync, WANT_PRESENT, 0, &all);
}

static int compare_place(const struct net_route *a, const struct net_route *b)
{
	if (a->table != b->table)
		return a->table < b->table ? -1 : 1;
	return prefix_cmp(&a->dst, &b->dst);
}

static int compare_wants(const void *a, const void *b)
{
	const struct want *x = a, *y = b;
	int r = compare_place(&x->route, &y->route);

	return r ? r : (int)x->rank - (int)y->rank;
}

/* Sorts, and leaves one per table and destination. */
static void settle_wants(struct sync *sync)
{
	struct want *wants = sync->wants.items;
	unsigned kept = 0;

	if (!sync->wants.count)
		return;
	qsort(wants, sync->wants.count, sizeof(*wants), compare_wants);
	for (unsigned i = 1; i < sync->wants.count; i++) {
		if (compare_place(&wants[kept].route, &wants[i].route) != 0)
			wants[++kept] = wants[i];
	}
	sync->wants.count = kept + 1;
}

/* ---- NICs ---- */

struct find_addr {
	int index;
	struct ipaddr addr;
};

static int match_addr(const struct net_addr *addr, void *arg)
{
	const struct find_addr *find = arg;

	return addr->index == find->index && ipaddr_equal(&addr->addr, &find->addr);
}

/* With whatever length: what DHCP put there serves as well. */
static int ensure_addr(struct sync *sync, const struct hostnet_nic *nic, int index, struct err *err)
{
	struct find_addr find = { index, nic->primary_addr };
	int r = net_addrs(sync->hostnet->net, match_addr, &find, err);

	if (r != 0)
		return r < 0 ? -1 : 0;
	if (net_addr_add(sync->hostnet->net, index, &nic->primary_addr, ipaddr_bits(&nic->primary_addr),
			 NET_ADDR_NOPREFIXROUTE, err) < 0)
		return -1;
	sync->report.added++;
	return 0;
}

/* MTU, IPv6 off, address, up. The link is quiet about IPv6 before it is up. */
static int ensure_link(struct sync *sync, struct hostnet_nic *nic, const struct net_link *link, unsigned mtu,
		       struct err *err)
{
	struct net *net = sync->hostnet->net;
	struct err mtu_err;

	set_link_sysctl(sync, "ipv6", link->name, "accept_ra", "0");
	set_link_sysctl(sync, "ipv6", link->name, "autoconf", "0");
	nic->mtu = link->mtu;
	if (mtu && link->mtu != mtu) {
		/* a NIC with its own MTU works; nobody is told of packets that are too big, so it is an error */
		if (net_link_set_mtu(net, link->index, mtu, &mtu_err) < 0) {
			(void)err_wrap(&mtu_err, "MTU %u of %s", mtu, link->name);
			note(sync, &mtu_err);
		} else {
			nic->mtu = mtu;
			sync->report.added++;
		}
	}
	if (ensure_addr(sync, nic, link->index, err) < 0)
		return -1;
	if (link->up)
		return 0;
	if (net_link_set_up(net, link->index, true, err) < 0)
		return -1;
	sync->report.added++;
	return 0;
}

static void sync_nic(struct sync *sync, struct hostnet_nic *nic, unsigned mtu)
{
	const struct net_link *link = link_by_mac(sync, &nic->mac);
	struct err err;

	nic->ready = false;
	nic->ifname[0] = '\0';
	nic->mtu = 0;
	if (!link)
		return;
	if (nic->slot >= hostnet_slots_max(sync->hostnet->config.mark_mask) || nic->slot >= CLOUD_NICS_MAX) {
		(void)err_set(&err, ERR_INVALID, HOSTNET_DOMAIN, "slot %u of %s has no mark under mask 0x%x", nic->slot,
			      link->name, sync->hostnet->config.mark_mask);
		note(sync, &err);
		return;
	}
	(void)str_copy(nic->ifname, sizeof(nic->ifname), link->name);
	set_link_sysctl(sync, "ipv4", link->name, "rp_filter", "2");
	nic->mtu = link->mtu;
	want_rule(sync, nic);
	if (nic->primary) {
		nic->ready = link->up;
		return;
	}
	if (sync->secondary_count < CLOUD_NICS_MAX)
		sync->secondary[sync->secondary_count++] = link->index;
	want_table(sync, nic, link);
	nic->ready = true; /* until a step below fails */
	if (ensure_link(sync, nic, link, mtu, &err) < 0) {
		nic->ready = false;
		(void)err_wrap(&err, "NIC %s", link->name);
		note(sync, &err);
	}
}

/* The MTU that secondary NICs get: as configured, else the primary link's; 0: none is known. */
static unsigned wanted_mtu(struct sync *sync)
{
	if (sync->hostnet->config.mtu)
		return sync->hostnet->config.mtu;
	for (unsigned i = 0; i < sync->want->nic_count; i++) {
		const struct net_link *link =
			sync->want->nics[i].primary ? link_by_mac(sync, &sync->want->nics[i].mac) : NULL;

		if (link)
			return link->mtu;
	}
	return 0;
}

/* ---- routes ---- */

static bool is_same(const struct net_route *have, const struct net_route *want)
{
	return have->type == want->type && have->oif == want->oif && ipaddr_equal(&have->gateway, &want->gateway);
}

static void remove_later(struct sync *sync, const struct net_route *route)
{
	struct net_route *kept = list_add(&sync->removals, sizeof(*kept), HOSTNET_ROUTES_MAX);

	if (kept)
		*kept = *route;
	else
		note_memory(sync);
}

/* Did the kernel make it for an address of a secondary NIC? */
static bool is_prefix_route(const struct sync *sync, const struct net_route *route)
{
	if (route->table != NET_TABLE_MAIN || route->protocol != RTPROT_KERNEL || route->type != NET_ROUTE_UNICAST ||
	    route->dst.addr.family != IP_V4 || route->gateway.family != IP_NONE)
		return false;
	for (unsigned i = 0; i < sync->secondary_count; i++) {
		if (sync->secondary[i] == route->oif)
			return true;
	}
	return false;
}

static struct want *find_want(const struct sync *sync, const struct net_route *route)
{
	const struct want key = { .route = *route };
	struct want *wants = sync->wants.items;
	unsigned low = 0, high = sync->wants.count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		int r = compare_place(&wants[middle].route, &key.route);

		if (r == 0)
			return &wants[middle];
		if (r < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static void look_at_ours(struct sync *sync, const struct net_route *route)
{
	struct want *want = find_want(sync, route);

	if (!want)
		remove_later(sync, route);
	else if (want->kind == WANT_LEAVE || is_same(route, &want->route))
		want->seen = true;
}

static int look_at_route(const struct net_route *route, void *arg)
{
	struct sync *sync = arg;
	struct want *want;

	if (route->protocol == BERTH_RTPROT) {
		look_at_ours(sync, route);
		return 0;
	}
	want = find_want(sync, route);
	if (want)
		want->foreign = true;
	else if (is_prefix_route(sync, route))
		remove_later(sync, route);
	return 0;
}

static void remove_routes(struct sync *sync)
{
	const struct net_route *routes = sync->removals.items;
	struct err err;

	for (unsigned i = 0; i < sync->removals.count; i++) {
		if (net_route_del(sync->hostnet->net, &routes[i], &err) < 0)
			note(sync, &err);
		else
			sync->report.removed++;
	}
}

/* A route of a NIC that cannot be made leaves that NIC not ready. */
static void unready(struct sync *sync, const struct net_route *route)
{
	for (unsigned i = 0; i < sync->want->nic_count; i++) {
		struct hostnet_nic *nic = &sync->want->nics[i];

		if (!nic->primary && route->table == sync->hostnet->config.table_base + nic->slot)
			nic->ready = false;
	}
}

static void add_route(struct sync *sync, const struct want *want)
{
	char text[PREFIX_STRLEN];
	struct err err;

	if (want->foreign) {
		(void)err_set(&err, ERR_CONFLICT, HOSTNET_DOMAIN,
			      "%s is in table %u already and not by us; is the address assigned to an interface?",
			      prefix_str(&want->route.dst, text), want->route.table);
	} else if (net_route_replace(sync->hostnet->net, &want->route, &err) == 0) {
		sync->report.added++;
		return;
	}
	unready(sync, &want->route);
	note(sync, &err);
}

/* The gateway's route stands before the default that needs it: a default is /0 and sorts first. */
static void add_routes(struct sync *sync)
{
	const struct want *wants = sync->wants.items;

	for (unsigned i = sync->wants.count; i > 0; i--) {
		if (wants[i - 1].kind == WANT_PRESENT && !wants[i - 1].seen)
			add_route(sync, &wants[i - 1]);
	}
}

/* A kernel without IPv6 lists no IPv6 routes; that matters only where some are wanted, and then adding fails. */
static int sync_routes(struct sync *sync, struct err *err)
{
	struct err ignored;

	settle_wants(sync);
	if (net_routes(sync->hostnet->net, IP_V4, 0, look_at_route, sync, err) < 0)
		return -1;
	(void)net_routes(sync->hostnet->net, IP_V6, 0, look_at_route, sync, &ignored);
	remove_routes(sync);
	add_routes(sync);
	return 0;
}

/* ---- rules ---- */

static bool rule_equal(const struct net_rule *a, const struct net_rule *b)
{
	return a->family == b->family && a->priority == b->priority && a->fwmark == b->fwmark &&
	       a->fwmask == b->fwmask && a->table == b->table;
}

/* The list was read before the first call: deleting while walking is safe. */
static int look_at_rule(const struct net_rule *rule, void *arg)
{
	struct sync *sync = arg;
	struct want_rule *wants = sync->rules.items;
	struct err err;

	if (rule->protocol != BERTH_RTPROT)
		return 0;
	for (unsigned i = 0; i < sync->rules.count; i++) {
		if (rule_equal(rule, &wants[i].rule)) {
			wants[i].seen = true;
			return 0;
		}
	}
	if (net_rule_del(sync->hostnet->net, rule, &err) < 0)
		note(sync, &err);
	else
		sync->report.removed++;
	return 0;
}

static int sync_rules(struct sync *sync, struct err *err)
{
	const struct want_rule *wants = sync->rules.items;
	struct err rule_err;

	if (net_rules(sync->hostnet->net, IP_V4, look_at_rule, sync, err) < 0)
		return -1;
	for (unsigned i = 0; i < sync->rules.count; i++) {
		if (wants[i].seen)
			continue;
		if (net_rule_add(sync->hostnet->net, &wants[i].rule, &rule_err) < 0)
			note(sync, &rule_err);
		else
			sync->report.added++;
	}
	return 0;
}

/* ---- doors ---- */

int hostnet_open(const struct hostnet_config *config, struct hostnet **ret, struct err *err)
{
	struct hostnet *hostnet;

	assert(config && ret);
	assert(hostnet_slots_max(config->mark_mask) > 0);
	hostnet = calloc(1, sizeof(*hostnet));
	if (!hostnet)
		return err_set(err, ERR_EXHAUSTED, HOSTNET_DOMAIN, "no memory");
	hostnet->config = *config;
	if (net_open(&hostnet->net, err) < 0) {
		free(hostnet);
		return -1;
	}
	*ret = hostnet;
	return 0;
}

void hostnet_close(struct hostnet *hostnet)
{
	if (!hostnet)
		return;
	net_close(hostnet->net);
	free(hostnet);
}

static int sync_all(struct sync *sync, struct err *err)
{
	unsigned mtu;

	if (read_links(sync, err) < 0)
		return -1;
	set_sysctl(sync, "net/ipv4/ip_forward", "1", false);
	mtu = wanted_mtu(sync);
	for (unsigned i = 0; i < sync->want->nic_count; i++)
		sync_nic(sync, &sync->want->nics[i], mtu);
	want_covers_and_pods(sync);
	/* Half a list of what is wanted would remove the other half from the kernel. */
	if (sync->failed && sync->err.class == ERR_EXHAUSTED) {
		if (err)
			*err = sync->err;
		return -1;
	}
	if (sync_routes(sync, err) < 0 || sync_rules(sync, err) < 0)
		return -1;
	if (sync->failed && err)
		*err = sync->err;
	return sync->failed ? -1 : 0;
}

int hostnet_sync(struct hostnet *hostnet, struct hostnet_want *want, struct hostnet_report *ret, struct err *err)
{
	_cleanup_(sync_done) struct sync sync = { .hostnet = hostnet, .want = want };
	int r;

	assert(hostnet && want);
	r = sync_all(&sync, err);
	if (r < 0)
		(void)err_wrap(err, "host network");
	if (ret)
		*ret = sync.report;
	return r;
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
