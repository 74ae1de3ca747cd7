/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: inside the pool
 *
 * Shared by pool.c (NICs and blocks), pool_addr.c (addresses and queues), pool_lease.c (leases) and pool_check.c, and by
 * nobody else. Only pool_addr.c knows that a block keeps one struct per address; a block that is a range (IPv6) gets
 * another store behind the same functions and changes nothing above them.
 *
 * An address is in the free queue if and only if it is FREE, its block READY and its NIC READY; it is in the cooling
 * queue, ordered by end, if and only if it is COOLING. Counters of block, NIC and pool change in addr_set_state() alone.
 */
#ifndef IPAMD_POOL_IMPL_H
#define IPAMD_POOL_IMPL_H

#include "ipamd/lease_table.h"
#include "ipamd/list.h"
#include "ipamd/pool.h"

struct pool_block;

/** struct pool_addr - one address that we hold. */
struct pool_addr {
	struct list link; /* in pool.free or pool.cooling */
	struct pool_block *block;
	struct lease_entry *lease; /* LEASED; else NULL */
	int64_t until_us;          /* COOLING: when it may be leased again */
	enum addr_state state;
};

struct pool_block {
	struct prefix prefix;
	struct pool_nic *nic;
	enum block_state state;
	int64_t changed_us;
	unsigned size;
	unsigned counts[ADDR_STATE_COUNT];
	struct pool_addr addrs[]; /* size of them */
};

struct pool {
	int64_t cooldown_us;
	struct pool_nic *nics[CLOUD_NICS_MAX]; /* by slot */
	unsigned nic_count;
	struct pool_block **blocks; /* by address; they never overlap */
	unsigned block_count, block_alloc;
	struct list free;    /* least recently used first */
	struct list cooling; /* what ends first, first */
	unsigned free_count; /* length of the free queue */
	struct lease_table leases;
	unsigned reserved_count; /* leases that are not BOUND */
};

/* ---- pool.c ---- */

/** pool_find_block() - the block that holds @addr, or NULL. O(log blocks). */
struct pool_block *pool_find_block(const struct pool *pool, const struct ipaddr *addr);
/** pool_block_leasable() - may its free addresses be leased this moment? */
bool pool_block_leasable(const struct pool_block *block);
/** pool_block_coming() - not now, but as soon as what is PENDING or CONFIGURING is READY? */
bool pool_block_coming(const struct pool_block *block);

/* ---- pool_addr.c ---- */

/** addr_store_new() - a block whose addresses are all FREE and in no queue. Return: NULL without memory. */
struct pool_block *addr_store_new(const struct prefix *prefix, struct pool_nic *nic, int64_t now_us);
/** addr_store_fits() - can a block of that prefix be kept? */
bool addr_store_fits(const struct prefix *prefix);
/** addr_in() - the address inside a block that holds it. */
struct pool_addr *addr_in(struct pool_block *block, const struct ipaddr *addr);
struct ipaddr addr_value(const struct pool_addr *addr);
/** addr_block_enqueue() - all FREE addresses of a block that became leasable join the free queue at its end. */
void addr_block_enqueue(struct pool *pool, struct pool_block *block);
/** addr_block_dequeue() - all FREE addresses of a block that is leasable no more leave it. */
void addr_block_dequeue(struct pool *pool, struct pool_block *block);
/** addr_block_forget() - FREE and COOLING addresses leave the counters and queues; nothing may be leased. */
void addr_block_forget(struct pool *pool, struct pool_block *block);
/** addr_least_recent() - the head of the free queue, or NULL. */
struct pool_addr *addr_least_recent(struct pool *pool);

/* One call per edge of the address states; the edge is asserted. */
void addr_lease(struct pool *pool, struct pool_addr *addr, struct lease_entry *lease, int64_t now_us);
void addr_cool(struct pool *pool, struct pool_addr *addr, int64_t until_us, int64_t now_us);
/** addr_extend() - COOLING lasts until @until_us at least. */
void addr_extend(struct pool *pool, struct pool_addr *addr, int64_t until_us);
/** addr_free() - FREE again; @first: at the front of the queue instead of its end. */
void addr_free(struct pool *pool, struct pool_addr *addr, bool first, int64_t now_us);

#endif
