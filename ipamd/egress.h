/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: egress across families
 *
 * A pod that has an address of one family from the cloud reaches the world of the other one with an address that this node
 * alone knows, and that leaves the node as the node's primary address of that family. It stands in the pod's lease
 * (lease.egress): who holds one is what the pool's leases say, and nothing here repeats it. Kept here is only which ones
 * rest: an address that was given back is given again after its cooldown and after its flows were forgotten, as those of
 * the cloud are. They are given in turn, so that one that a pod has left rests for as long as there are others.
 *
 * A node whose range is used up, or that has no address of that family itself, gives a pod none: its own family works.
 */
#ifndef IPAMD_EGRESS_H
#define IPAMD_EGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "berth/ipaddr.h"

struct lease;
struct pool;

#define EGRESS_SIZE 1024U /* addresses of a range; without the first and the last, more than a node has pods */

/** struct egress_rests - what of one family's range must not be given now. */
struct egress_rests {
	unsigned last;              /* offset of the one that was given last */
	unsigned count;             /* that rest */
	int64_t next_us;            /* not before this is one of them to be flushed; 0: none is */
	int64_t until[EGRESS_SIZE]; /* by offset, µs; 0: does not rest; INT64_MAX: its flows are being forgotten */
};

/** struct egress - zeroed: nothing was given yet. */
struct egress {
	struct egress_rests rests[IP_FAMILIES];
	uint64_t exhausted[IP_FAMILIES]; /* pods that got none because all were taken */
	bool said[IP_FAMILIES];          /* that the node has no address of that family */
};

/** egress_range() - what addresses of a family are given out of: 169.254.172.0/22, fd00::ac:0/118, as the egress plugin of
 *  amazon-vpc-cni-k8s has them. */
struct prefix egress_range(enum ip_family family);
/** egress_has() - is @addr in one of the two ranges? */
bool egress_has(const struct ipaddr *addr);
/** egress_of() - the lease of @pool that has this egress address. Return: borrowed or NULL. */
const struct lease *egress_of(const struct pool *pool, const struct ipaddr *addr);
/** egress_count() - leases of @pool with an egress address of that family. */
unsigned egress_count(const struct pool *pool, enum ip_family family);
/** egress_addrs() - all that leads to a lease's pod: its addresses, and its egress address in the place of the family that
 *  they lack. */
void egress_addrs(const struct lease *lease, struct ipaddr ret[static IP_FAMILIES]);
/** egress_split() - the other way round, of a lease whose addresses are what a kernel knew. Return: false when no address
 *  of the cloud is left. */
bool egress_split(struct lease *lease);

/** egress_pick() - one that no lease of @pool has and that does not rest, in turn. Return: false when there is none. */
bool egress_pick(struct egress *egress, const struct pool *pool, enum ip_family family, struct ipaddr *ret);
/** egress_rest() - not before @until_us, and not before egress_flush_end(); nothing for an address of no range. */
void egress_rest(struct egress *egress, const struct ipaddr *addr, int64_t until_us);
/** egress_next_rested() - when the next rest ends; INT64_MAX: none does (those being flushed are not asked). */
int64_t egress_next_rested(const struct egress *egress);
/** egress_flush_begin() - up to @max of those whose time is over, to be given to egress_flush_end(). Return: how many. */
unsigned egress_flush_begin(struct egress *egress, int64_t now_us, struct ipaddr *ret, unsigned max);
/** egress_flush_end() - may be given again; one that is not being flushed is passed over. */
void egress_flush_end(struct egress *egress, const struct ipaddr *addr);

#endif
