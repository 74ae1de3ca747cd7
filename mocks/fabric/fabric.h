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
 *   PREFIX-inet   "the internet", 198.51.100.9, behind a gateway that lets out only primaries with a public address and
 *                 translates each to its own public one, both ways, as an internet gateway does; 2001:db8:ffff::9,
 *                 which NICs that may reach without translation
 *
 * Assigning an address to a NIC is a route in the fabric (the primary on link, others via the primary, onlink);
 * unassigning deletes it, so an address that the cloud does not know is dark: no ARP answer, no ICMP error, nothing.
 * Metadata answers on 169.254.169.254:80 of the fabric; who serves it sets IP TTL 1. The APIs are on FABRIC_API_ADDR.
 *
 * The kernel is the only state: any process may open a fabric by its prefix, and destroying it removes everything of
 * that prefix, also after a crash. fabric6.c tells what IPv6 is like; a NIC has it when its subnet has a range.
 *
 * Errors of all calls: those of berth/net.h, and INVALID (domain "fabric") for a name, a MAC or an address that cannot
 * be. A handle may be used by several threads: its calls exclude each other.
 */
#ifndef MOCKS_FABRIC_H
#define MOCKS_FABRIC_H

#include <stdbool.h>

#include "berth/ipaddr.h"

struct err;
struct fabric;

#define FABRIC_METADATA_ADDR  "169.254.169.254"
#define FABRIC_API_ADDR       "169.254.200.1" /* our choice of a link-local address that no cloud uses */
#define FABRIC_INTERNET_ADDR  "198.51.100.9"  /* TEST-NET-2 */
#define FABRIC_INTERNET_GW    "198.51.100.1"  /* the fabric's end of that network */
#define FABRIC_GATEWAY6       "fe80:ec2::1"   /* of every NIC, as EC2's */
#define FABRIC_INTERNET_ADDR6 "2001:db8:ffff::9"
#define FABRIC_INTERNET_GW6   "2001:db8:ffff::1"
#define FABRIC_PREFIX_MAX     6   /* characters, [a-z0-9]; namespaces carry it, links do not */
#define FABRIC_NODE_MAX       8   /* characters, [a-z0-9], of a node's name; "vpc" and "inet" are taken */
#define FABRIC_NETNS_SIZE     64  /* of "PREFIX-what" */
#define FABRIC_NICS_LINK      "n" /* + the last 5 bytes of the MAC: the NIC's link in the fabric */

/** fabric_prefix_check() - can this be a prefix? Errors: INVALID. */
int fabric_prefix_check(const char *prefix, struct err *err);
/** fabric_create() - the fabric and the internet, no nodes. Errors: CONFLICT when the prefix is in use. */
int fabric_create(const char *prefix, struct err *err);
/** fabric_destroy() - every namespace of that prefix; success when there is none. */
int fabric_destroy(const char *prefix, struct err *err);
/** fabric_open() - handle on an existing fabric. Errors: NOTFOUND. */
int fabric_open(const char *prefix, struct fabric **ret, struct err *err);
void fabric_close(struct fabric *fabric);
/** fabric_netns_name() - "PREFIX-what" into @ret, cut to its size. */
void fabric_netns_name(const char *prefix, const char *what, char ret[static FABRIC_NETNS_SIZE]);
/** fabric_netns_open() - descriptor of "PREFIX-what", CLOEXEC, owned by the caller. Errors: NOTFOUND. */
int fabric_netns_open(const char *prefix, const char *what, int *ret_fd, struct err *err);
/** fabric_link_name() - of the fabric's end of the NIC with that MAC. */
void fabric_link_name(const struct macaddr *mac, char ret[static 16]);

/** fabric_node_add() - the node's empty namespace: lo up, forwarding on, rp_filter as a distribution sets it (2). */
int fabric_node_add(struct fabric *fabric, const char *node, struct err *err);

struct fabric_nic {
	const char *node;
	const char *ifname;    /* in the node: "eth0", "eth1" */
	struct macaddr mac;    /* of the node's end */
	struct ipaddr gateway; /* of the subnet; lives on the fabric's end */
	struct ipaddr primary; /* the NIC's primary address */
	struct prefix subnet;
	unsigned mtu;           /* of both ends; 0: the kernel's default */
	bool configure;         /* as a distribution does it: up, primary/subnet length, default route */
	struct prefix subnet6;  /* family 0: no IPv6 */
	struct ipaddr primary6; /* its own IPv6 address; family 0: it has none */
	bool public6;           /* its IPv6 addresses may reach the internet, and be reached */
};
/** fabric_nic_attach() - the NIC appears in the node, its primary address is routed. Errors: CONFLICT, NOTFOUND (node).
 */
int fabric_nic_attach(struct fabric *fabric, const struct fabric_nic *nic, struct err *err);
/** fabric_nic_detach() - the link vanishes from both sides; its routes with it; success when it is not there. */
int fabric_nic_detach(struct fabric *fabric, const struct macaddr *mac, struct err *err);
/** fabric_addr_assign() - route @prefix to the NIC, via its primary, or its link-local address when it is IPv6; takes it
 *  from another NIC that had it. Errors: NOTFOUND (NIC). */
int fabric_addr_assign(struct fabric *fabric, const struct macaddr *nic, const struct ipaddr *primary,
		       const struct prefix *prefix, struct err *err);
/** fabric_addr_unassign() - it goes dark; success when it is not there. */
int fabric_addr_unassign(struct fabric *fabric, const struct macaddr *nic, const struct prefix *prefix,
			 struct err *err);
/** fabric_public_set() - bind fabric_public_addr() to this primary address, or take it away: only with it packets of
 * the primary leave for the internet, and packets for it come in. Idempotent. */
int fabric_public_set(struct fabric *fabric, const struct ipaddr *primary, bool allowed, struct err *err);
/** fabric_public_addr() - the public address that goes with a primary: 198.18.0.0/15 (RFC 2544's range) + its low 17
 * bits, one to one inside any network of up to /15. */
struct ipaddr fabric_public_addr(const struct ipaddr *primary);

#endif
