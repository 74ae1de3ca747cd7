/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: inside a sync
 *
 * Shared by hostnet.c, hostnet_nic.c, hostnet_pod.c, hostnet_route.c and hostnet_shape.c, and by nobody else. A struct sync lives for one
 * hostnet_sync(): what the kernel shows, what is wanted, what was done, and the first thing that went wrong.
 */
#ifndef IPAMD_HOSTNET_IMPL_H
#define IPAMD_HOSTNET_IMPL_H

#include "berth/attr.h"
#include "berth/err.h"
#include "ipamd/hostnet.h"

#define HOSTNET_DOMAIN     "hostnet"
#define HOSTNET_LINKS_MAX  16384U /* links of a node: pods are under 4,096 */
#define HOSTNET_ADDRS_MAX  65536U /* addresses of a node: a few a link */
#define HOSTNET_ROUTES_MAX 65536U /* routes wanted or to be removed: 64 NICs of 256 blocks, and pods */

struct hostnet {
	struct net *net;
	struct hostnet_config config;
};

/** struct sync_list - items of one type, one behind the other. */
struct sync_list {
	void *items;
	unsigned count, alloc;
};
void sync_list_done(struct sync_list *list);
/** sync_list_add() - a zeroed item at the end. Return: NULL without memory or above @max. */
void *sync_list_add(struct sync_list *list, size_t item_size, unsigned max);

struct sync {
	struct hostnet *hostnet;
	struct hostnet_want *want;
	struct hostnet_report report;
	struct sync_list links;        /* struct net_link by name */
	struct sync_list wants;        /* struct want by table and destination */
	struct sync_list removals;     /* struct net_route */
	struct sync_list rules;        /* struct want_rule */
	struct sync_list neighs;       /* struct want_neigh */
	struct sync_list addrs;        /* struct net_addr, of all links */
	struct sync_list qdiscs;       /* struct net_qdisc by link: token buckets; read only where pods are limited */
	int secondary[CLOUD_NICS_MAX]; /* link indices of our secondary NICs */
	unsigned secondary_count;
	bool is_short; /* not all that is wanted is in the lists */
	bool failed;
	struct err err; /* the first one */
};
/** sync_note() - keep the first error of a sync. */
void sync_note(struct sync *sync, const struct err *err);
/** sync_note_memory() - the error that keeps a sync from changing anything. */
void sync_note_memory(struct sync *sync);

/* ---- links and NICs: hostnet_nic.c ---- */

/** sync_read_links() - links and addresses, one dump of each, before everything else. */
int sync_read_links(struct sync *sync, struct err *err);
/** sync_link_by_name() - Return: borrowed, or NULL when there is none. */
struct net_link *sync_link_by_name(const struct sync *sync, const char *name);
/** sync_set_link_sysctl() - of a link, @ip: "ipv4" or "ipv6"; written only where it differs. A link without IPv6 has
 * none. */
void sync_set_link_sysctl(struct sync *sync, const char *ip, const char *ifname, const char *name, const char *value);
/** sync_wants_ipv6() - has a NIC, a block or a pod anything of it? */
bool sync_wants_ipv6(const struct sync *sync);
/** sync_nics() - links of the NICs as they shall be; their routes and rules are wanted. */
void sync_nics(struct sync *sync);
/** sync_forwarding() - behind sync_nics(), which knows the primary link's name. */
void sync_forwarding(struct sync *sync);

/* ---- covers and pods: hostnet_pod.c ---- */

/** sync_want_pods() - covers of blocks, routes and neighbours of pods; their links are mended at once: up, MAC. */
void sync_want_pods(struct sync *sync);
/** sync_neighs() - those that are missing; one that somebody changed is left as it is. */
void sync_neighs(struct sync *sync);

/* ---- bandwidth: hostnet_shape.c ---- */

/** sync_shapes() - limits of pods that lost something; ifbs that lost their pod are told. */
void sync_shapes(struct sync *sync);

/* ---- routes and rules: hostnet_route.c ---- */

/** enum want_kind - what to do about a wanted route. */
enum want_kind {
	WANT_LEAVE,   /* a reserved pod's: its plugin is at work, whatever is there stays */
	WANT_PRESENT, /* shall be there as it is */
};
/** sync_want_route() - @rank: of two for the same table and destination, the lower one counts. */
void sync_want_route(struct sync *sync, enum want_kind kind, unsigned rank, const struct net_route *route);
/** sync_want_rule() - by the mark of @nic to its table. */
void sync_want_rule(struct sync *sync, const struct hostnet_nic *nic, enum ip_family family);
/** sync_routes() - hold what is wanted against the kernel's routes, and change these. */
int sync_routes(struct sync *sync, struct err *err);
/** sync_rules() - the same for rules. */
int sync_rules(struct sync *sync, struct err *err);

#endif
