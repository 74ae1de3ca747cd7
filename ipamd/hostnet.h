/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the node's own network state
 *
 * hostnet_sync() makes the kernel match what the daemon wants, whatever it is now: it reads our routes and rules (those
 * that carry BERTH_RTPROT), adds what is missing and deletes what is not wanted. It never touches what does not carry
 * our mark. Calls are rtnetlink only, microseconds each, on the loop thread; what may block (nft, link deletion) is
 * rendered here and run by an executor.
 *
 *   per block      unreachable BLOCK, table local: a free address neither loops through the fabric nor is answered
 *   per pod        ADDR dev bthX, unicast, table local, for each of its addresses: made by the plugin, repaired here;
 *                  for IPv6 also a permanent neighbour ADDR = MAC of the pod's end; the link is up and has the MAC of
 *                  its name (net_named_mac()), which its pod knows as its gateway's; route_localnet where the node
 *                  reaches a port of it by 127.0.0.1 (nft_ports.c has the guard)
 *   per delegated  throw ADDR, table local, for each of its addresses: the cover would hide the route that the plugin
 *                  of another product makes for its pod in main
 *   per NIC n > 0  up, MTU, rp_filter 2, own primary addresses without prefix route; in table base + n, for each
 *                  family that it has a gateway of, the gateway on link and a default through it; nothing of it in
 *                  main; rule: fwmark (n + 1) << shift / mask -> that table
 *   primary NIC    rp_filter 2; rule: fwmark 1 << shift / mask -> main
 *   per limited    token buckets at its host end and at an ifb of its own (hostnet_shape.c)
 *   once           ip_forward on; where IPv6 is wanted, forwarding of IPv6 on, and before that accept_ra of the primary
 *                  NIC from 1 to 2: else the kernel throws away the default route that it learnt from the router
 *
 * IPv6 is wanted where a NIC has an address or gateway of it, or a block or pod is of it; else nothing of it is touched
 * but that secondary NICs read no router advertisements.
 *
 * Priorities and tables follow the slot, which is stable while a NIC is attached: slot n has rule_priority + n and
 * table_base + n; the primary, slot 0, looks up main. A NIC that is not wanted any more loses its rule and its table.
 * Removed from main: what carries our mark, and the prefix route that the kernel made for an address of a secondary
 * NIC. An address of a block that somebody assigned to an interface of the node is left alone and reported as CONFLICT.
 */
#ifndef IPAMD_HOSTNET_H
#define IPAMD_HOSTNET_H

#include <stdbool.h>
#include <stdint.h>

#include "berth/cloud.h"
#include "berth/err.h"
#include "berth/ipaddr.h"
#include "berth/net.h"
#include "berth/proto.h"
#include "berth/str.h"

struct err;
struct hostnet;

#define HOSTNET_POD_LINKS "bth" /* prefix of every host end's name that was not asked for otherwise */

#define HOSTNET_SHAPE_LINKS                                                                                            \
	"bti" /* prefix of the ifb of a pod whose egress is limited; then the digits of its host end */

#define HOSTNET_NAMES_MAX 4U /* kinds of names beside that one: a node has one, or two while it is changed */

/** struct hostnet_config - numbers from the configuration. */
struct hostnet_config {
	uint32_t mark_mask;     /* contiguous bits; NIC slot n has mark (n + 1) << lowest bit */
	uint32_t rule_priority; /* slot n uses rule_priority + n */
	uint32_t table_base;
	uint32_t mtu;                      /* 0: the primary link's */
	struct prefix egress[IP_FAMILIES]; /* ranges that only this node knows, by ip_index(); family 0: not in use */
};

/** struct hostnet_nic - one NIC wanted in the kernel. */
struct hostnet_nic {
	struct macaddr mac;
	unsigned slot;
	bool primary;
	struct ipaddr primary_addr;
	struct prefix subnet;
	struct ipaddr gateway;
	/* family 0: the NIC has no IPv6. The gateway is a link-local one in every cloud. */
	struct ipaddr primary_addr6;
	struct prefix subnet6;
	struct ipaddr gateway6;
	/* set by hostnet_sync(), and left as they are by one that fails before it has looked: */
	bool looked;                  /* at all; the next three count */
	bool ready;                   /* link there, up, addressed, routed */
	char ifname[NET_IFNAME_SIZE]; /* "" while the link is not there */
	unsigned mtu;
};

/** struct hostnet_pod - a leased address; a pod with one of each family is two of these with the same link. */
struct hostnet_pod {
	struct ipaddr addr;
	char host_ifname[LEASE_IFNAME_SIZE];
	bool bound;       /* RESERVED ones are left to the plugin that wires them right now */
	bool delegated;   /* another plugin wires it: what leads there is that plugin's, in whatever table it likes */
	bool by_loopback; /* the node reaches a port of it by 127.0.0.1: its host end routes that */
	const struct bandwidth *bandwidth; /* borrowed; NULL: not limited, or not by us */
};

struct hostnet_want {
	unsigned nic_count;
	struct hostnet_nic *nics;
	unsigned block_count;
	const struct prefix *blocks; /* covers; of all NICs, sorted or not, and ranges that only this node knows */
	unsigned pod_count;
	const struct hostnet_pod *pods;
	/* NULL, or called for each ifb of a pod whose host end is gone; deleting it would block */
	void (*orphan)(const struct net_link *ifb, void *arg);
	void *orphan_arg;
	bool thorough; /* look at each pod's sysctls too, of which the kernel announces no change: 10 us a pod */
};

/** struct hostnet_report - what a sync found. */
struct hostnet_report {
	unsigned added, removed;    /* kernel objects */
	unsigned pods_without_link; /* bound pods whose host end is gone */
	/* All of the kernel was looked at, and what is wanted was made: but for what could not be, as the error and
	 * nics[].ready tell. False: it was cut short, and what was wanted anew may be missing. */
	bool whole;
};

/** hostnet_lacks_family() - does a list of routes or rules fail because the kernel is without that family? Then it has none. */
static inline bool hostnet_lacks_family(const struct err *err)
{
	return err->class == ERR_INVALID || err->class == ERR_NOTFOUND;
}

/** hostnet_open() - sockets of the present namespace, nothing changed yet. */
int hostnet_open(const struct hostnet_config *config, struct hostnet **ret, struct err *err);
void hostnet_close(struct hostnet *hostnet);
/** hostnet_sync() - see above. A NIC whose link is not there (yet) is not an error: it is not ready. Errors: those of
 *  net.h, wrapped with the object; what could be done is done. */
int hostnet_sync(struct hostnet *hostnet, struct hostnet_want *want, struct hostnet_report *ret, struct err *err);
/** hostnet_pod_down() - the routes of a pod go: back to `unreachable` where its block is just that address, else deleted.
 *  @host_ifname: the pod's host end, which may be gone; @addrs: of the lease, by ip_index(), family 0 = none;
 *  @blocks: that hold them, family 0 = not known. Errors: the first one; what could be done is done. */
int hostnet_pod_down(struct hostnet *hostnet, const char *host_ifname, const struct ipaddr addrs[static IP_FAMILIES],
		     const struct prefix blocks[static IP_FAMILIES], struct err *err);
/** struct hostnet_conflict - something of others that uses a number of ours. */
struct hostnet_conflict {
	char what[128];
	enum ip_family family; /* of a routing rule or route; IP_NONE: @what says it */
	uint8_t protocol;      /* rtm_protocol of whoever made it */
	const char *setting;   /* the one that chooses another number for us */
};
typedef void hostnet_conflict_fn(const struct hostnet_conflict *conflict, void *arg);
/** hostnet_conflicts() - call @fn for each rule of others with a mark, table or priority of ours, and each route of theirs
 *  in a table of ours. Changes nothing. */
int hostnet_conflicts(struct hostnet *hostnet, hostnet_conflict_fn *fn, void *arg, struct err *err);
/** hostnet_mark_conflicts() - call @fn for each chain of others whose rules may change a bit of @mask in the mark of a packet or
 *  connection. What iptables-legacy loaded is not seen. Context: any thread, in the host's namespace. */
int hostnet_mark_conflicts(uint32_t mask, int64_t deadline_us, hostnet_conflict_fn *fn, void *arg, struct err *err);
/** hostnet_pod_links() - the names of host ends that exist, for leases to be compared with; bounded walk. */
int hostnet_pod_links(struct hostnet *hostnet, int (*fn)(const char *ifname, void *arg), void *arg, struct err *err);
/** hostnet_link_index() - which link has that name at this moment? @kind: "veth" or "ifb"; one of another kind is none.
 *  @ret_index: 0 = there is none, which is success. */
int hostnet_link_index(struct hostnet *hostnet, const char *ifname, const char *kind, int *ret_index, struct err *err);
/** hostnet_link_del() - by index, which the kernel does not give again soon, as it does names. A missing link is success. May
 *  block for an RCU grace period: not on the loop thread. Context: any thread, in the host's namespace. */
int hostnet_link_del(int index, struct err *err);

/** hostnet_delegated_up() - from now on the addresses (by ip_index(), family 0 = none) are looked up behind table local. */
int hostnet_delegated_up(struct hostnet *hostnet, const struct ipaddr addrs[static IP_FAMILIES], struct err *err);
/** hostnet_delegated_down() - covered again; @blocks: that hold them, family 0 = not known. Errors: the first one; what
 *  could be done is done. */
int hostnet_delegated_down(struct hostnet *hostnet, const struct ipaddr addrs[static IP_FAMILIES],
			   const struct prefix blocks[static IP_FAMILIES], struct err *err);

/* Of kube-proxy in IPVS mode: it has the address of every Service, so that the node takes in what is sent there. */
#define HOSTNET_SERVICES_LINK "kube-ipvs0"

/** struct hostnet_services - addresses of that link. */
struct hostnet_services {
	struct ipaddr *addrs; /* owned; NULL = none */
	unsigned count, alloc;
	int link; /* its index; 0 = there is none */
};
/** hostnet_services() - what the kernel shows; no such link is success. @ret: zeroed; free its addrs. */
int hostnet_services(struct hostnet *hostnet, struct hostnet_services *ret, struct err *err);

/** hostnet_shape_wants() - is anything limited? */
static inline bool hostnet_shape_wants(const struct bandwidth *bandwidth)
{
	return bandwidth->ingress_rate > 0 || bandwidth->egress_rate > 0;
}
/** hostnet_shape() - limit a pod that is wired; idempotent. Errors: those of net.h; INVALID names what the kernel lacks. */
int hostnet_shape(struct hostnet *hostnet, const char *host_ifname, const struct bandwidth *bandwidth, struct err *err);
/** struct hostnet_shape_view - what is missing of the limits that a pod shall have. */
struct hostnet_shape_view {
	bool lacks_ingress, lacks_egress; /* to the pod, from the pod */
};
/** hostnet_shape_look() - at the kernel, changing nothing. Errors: those of net.h; NOTFOUND: there is no such host end. */
int hostnet_shape_look(struct hostnet *hostnet, const char *host_ifname, const struct bandwidth *bandwidth,
		       struct hostnet_shape_view *ret, struct err *err);
/** hostnet_shape_ifname() - the name of the ifb that belongs to a host end. */
void hostnet_shape_ifname(const char *host_ifname, char ret[static LEASE_IFNAME_SIZE]);
/** hostnet_shape_tbf() - the bucket for @rate (bits per second) and @burst (bits; 0: ours) on a link of @mtu. */
struct net_tbf hostnet_shape_tbf(uint64_t rate, uint64_t burst, unsigned mtu);

/** hostnet_mark() - of a slot under @mask. */
uint32_t hostnet_mark(uint32_t mask, unsigned slot);
/** hostnet_slots_max() - how many NICs @mask can tell apart. */
unsigned hostnet_slots_max(uint32_t mask);

/** struct nft_input - what the nft table is made from. */
struct nft_input {
	uint32_t mark_mask;
	const struct hostnet_nic *nics; /* only those with an ifname are rendered */
	unsigned nic_count;
	const struct pool_block_ref {
		struct prefix prefix;
		unsigned slot;
	} * blocks; /* of all NICs; those of the primary are not in the map */
	unsigned block_count;
	const struct prefix *local_prefixes; /* VPC prefixes and exclusions: no SNAT, no pin */
	unsigned local_count;
	struct ipaddr snat_to;                      /* the node's primary address; family 0: SNAT is done elsewhere */
	const char (*pod_links)[LEASE_IFNAME_SIZE]; /* prefixes of names of host ends beside HOSTNET_POD_LINKS */
	unsigned pod_link_count;
	bool source_check;                     /* pods send under their own addresses alone */
	const struct cloud_guarded *guarded;   /* as cloud_ops.guarded; NULL: pods may reach all of it */
	const struct ipaddr *metadata_allowed; /* of pods that may reach what is guarded; of both families */
	unsigned metadata_allowed_count;

	struct nft_egress {
		struct prefix range; /* family 0: not in use */
		struct ipaddr to;    /* what leaves as; family 0: nothing leaves */
	} egress[IP_FAMILIES];       /* by ip_index() */

	const struct net_port *ports; /* of the node that lead to pods; sorted, see net_port_cmp() */
	unsigned port_count;
	const struct ipaddr *services; /* addresses of the node that no port is led from */
	unsigned service_count;
};
/** nft_render() - the whole `table inet berth` as one atomic batch for `nft -f -`. Deterministic: equal input, equal
 * text. */
void nft_render(const struct nft_input *input, struct strbuf *out);
/** nft_run() - feed @batch to `nft -f -`, wait until @deadline_us, kill it after. @ret_pid: of the nft program, also when
 *  it failed, 0 when none was started; NULL: not wanted. Errors: INVALID with nft's own words
 *  (first line of stderr), NOTFOUND (no nft program), RETRY (deadline). Blocks: not on the loop thread. */
int nft_run(const char *batch, int64_t deadline_us, int *ret_pid, struct err *err);

#endif
