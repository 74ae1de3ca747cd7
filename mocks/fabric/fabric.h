/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the fabric of a VPC in a box
 *
 * Network namespaces on one machine that behave as a cloud's network does, also where it says no:
 *
 *   PREFIX-vpc    the fabric: each NIC is a veth whose other end is born in a node's namespace under the MAC that the
 *                 cloud announced. On the fabric's end: strict rp_filter (a source that is not assigned to that NIC is
 *                 dropped, as EC2's source check does), proxy_arp without delay, the subnet's gateway address.
 *   PREFIX-NODE   one per node: eth0 (primary), eth1, ... as the cloud attaches them
 *   PREFIX-inet   "the internet", 198.51.100.9, behind a NAT that lets out only primaries with a public address
 *
 * Assigning an address to a NIC is a route in the fabric (the primary on link, others via the primary, onlink);
 * unassigning deletes it, so an address that the cloud does not know is unreachable. Metadata answers on
 * 169.254.169.254:80 of the fabric with IP TTL 1; the APIs on FABRIC_API_ADDR.
 *
 * The kernel is the only state: any process may open a fabric by its prefix, and destroying it removes everything of
 * that prefix, also after a crash.
 */
#ifndef MOCKS_FABRIC_H
#define MOCKS_FABRIC_H

#include <stdbool.h>

#include "berth/ipaddr.h"

struct err;
struct fabric;

#define FABRIC_METADATA_ADDR "169.254.169.254"
#define FABRIC_API_ADDR      "169.254.200.1" /* our choice of a link-local address that no cloud uses */
#define FABRIC_INTERNET_ADDR "198.51.100.9"  /* TEST-NET-2 */
#define FABRIC_PREFIX_MAX    6               /* characters; link names in the fabric are PREFIX-free, namespaces are not */
#define FABRIC_NODE_MAX      8               /* characters of a node's name */

/** fabric_create() - the fabric and the internet, no nodes. Errors: CONFLICT when the prefix is in use. */
int fabric_create(const char *prefix, struct err *err);
/** fabric_destroy() - every namespace of that prefix; success when there is none. */
int fabric_destroy(const char *prefix, struct err *err);
/** fabric_open() - handle on an existing fabric. Errors: NOTFOUND. */
int fabric_open(const char *prefix, struct fabric **ret, struct err *err);
void fabric_close(struct fabric *fabric);
/** fabric_netns_name() - "PREFIX-what" into @ret (64 bytes). */
void fabric_netns_name(const char *prefix, const char *what, char ret[static 64]);

/** fabric_node_add() - the node's empty namespace: lo up, forwarding on, rp_filter as a distribution sets it (2). */
int fabric_node_add(struct fabric *fabric, const char *node, struct err *err);

struct fabric_nic {
	const char *node;
	const char *ifname;        /* in the node: "eth0", "eth1" */
	struct macaddr mac;        /* of the node's end */
	struct ipaddr gateway;     /* of the subnet; lives on the fabric's end */
	struct ipaddr primary;     /* the NIC's primary address */
	struct prefix subnet;
	unsigned mtu;
	bool configure;            /* the distribution configures it: up, primary/subnet length, default route (eth0 only) */
};
/** fabric_nic_attach() - the NIC appears in the node, its primary address is routed. Errors: CONFLICT, NOTFOUND (node). */
int fabric_nic_attach(struct fabric *fabric, const struct fabric_nic *nic, struct err *err);
/** fabric_nic_detach() - the link vanishes from both sides; its routes with it; success when it is not there. */
int fabric_nic_detach(struct fabric *fabric, const struct macaddr *mac, struct err *err);
/** fabric_addr_assign() - route @prefix to the NIC, via its primary. */
int fabric_addr_assign(struct fabric *fabric, const struct macaddr *nic, const struct ipaddr *primary,
		       const struct prefix *prefix, struct err *err);
/** fabric_addr_unassign() - it goes dark; success when it is not there. */
int fabric_addr_unassign(struct fabric *fabric, const struct macaddr *nic, const struct prefix *prefix,
			 struct err *err);
/** fabric_public_set() - may this primary address reach the internet (public address bound to it)? */
int fabric_public_set(struct fabric *fabric, const struct ipaddr *primary, bool allowed, struct err *err);

#endif
