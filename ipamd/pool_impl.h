/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: inside the pool
 *
 * Shared by pool.c (NICs, counts), pool_block.c (blocks), pool_addr.c (addresses and the free queues), pool_range.c
 * (blocks whose addresses are not kept one by one), pool_cool.c (cooldowns), pool_lease.c (leases) and pool_check.c, and
 * by nobody else.
 *
 * A block counts by its use, which follows from its state and its NIC's; block_update_use() alone changes it. Counters of
 * block, NIC and pool change in two places: there, and in the one setter of an address's state (pool_addr.c).
 *
 * An address is in the two free queues of its family (all of the pool, those of its NIC) if and only if it is FREE and
 * its block's use is USE_LEASE. A range is in them through its only struct pool_addr, which stands for all that is free
 * in it, if and only if something is. The queues have the same order: least recently used first. A range keeps its place
 * until its cursor has come round: what it has left is older than all that was used since.
 *
 * COOLING addresses are in a heap by the end of their cooldown, except those that are being flushed. The heap has room for
 * every address that exists, reserved when the address came to be, so that a release never fails.
 */
#ifndef IPAMD_POOL_IMPL_H
#define IPAMD_POOL_IMPL_H

#include "ipamd/list.h"
#include "ipamd/pool.h"
#include "ipamd/table.h"

struct pool_block;

/** struct pool_addr - one address that we hold, or what is free of a range. */
struct pool_addr {
	struct list link; /* FREE: in pool.free[]. In use in a range: in block.used */
	struct list near; /* FREE: in held_nic.free[] */
	struct pool_block *block;
	struct lease_entry *lease; /* LEASED; else NULL */
	int64_t until_us;          /* COOLING: when it may be leased again */
	uint64_t turn;             /* COOLING: tells which of two that end together came first */
	unsigned heap_at;          /* COOLING: where in pool.cooling; NOT_IN_HEAP: being flushed */
	enum addr_state state;
};

#define NOT_IN_HEAP UINT32_MAX

/** struct held_nic - a NIC with what nobody outside sees. */
struct held_nic {
	struct pool_nic pub;
	struct list free[IP_FAMILIES]; /* of its addresses, least recently used first */
};

/** enum block_use - what the addresses of a block are good for. */
enum block_use {
	USE_LEASE,  /* block and NIC are READY: free ones may be leased */
	USE_SOON,   /* the same as soon as what is PENDING or CONFIGURING is READY */
	USE_KEEP,   /* DRAINING, on a closed NIC, or of a family that the pool does not serve: ours, none is leased */
	USE_RETURN, /* RELEASING or DETACHING: as good as gone */
	USE_LOST,   /* the cloud does not show block or NIC */
	BLOCK_USE_COUNT
};

struct pool_block {
	struct prefix prefix;
	struct held_nic *nic;
	enum block_state state;
	enum block_use use;
	int64_t changed_us;
	unsigned size; /* addresses that can be leased, counted up to POOL_RANGE_COUNT_MAX */
	unsigned counts[ADDR_STATE_COUNT];
	/* A range, by offset in the prefix: */
	uint64_t last;            /* 0: this is no range */
	uint64_t cursor;          /* from where on a free one is looked for: 1 to last */
	struct list used;         /* its LEASED and COOLING addresses */
	struct pool_addr addrs[]; /* size of them; of a range the one that stands for what is free */
};

struct lease_entry {
	struct lease lease;
	struct pool_addr *addrs[IP_FAMILIES]; /* borrowed: what it holds; NULL: none of that family */
	struct table_entry by_key;            /* in pool.leases */
};

struct pool {
	int64_t cooldown_us;
	unsigned serves;                       /* POOL_SERVES_* */
	struct held_nic *nics[CLOUD_NICS_MAX]; /* by slot */
	unsigned nic_count;
	struct pool_block **blocks; /* by address; they never overlap */
	unsigned block_count, block_alloc;
	unsigned sums[IP_FAMILIES][BLOCK_USE_COUNT][ADDR_STATE_COUNT]; /* addresses */
	struct list free[IP_FAMILIES];                                 /* least recently used first */
	struct pool_addr **cooling;                                    /* a heap: what ends first is on top */
	unsigned cooling_count, cooling_alloc;
	unsigned addr_count; /* struct pool_addr that may cool: room for so many is reserved */
	uint64_t turn;       /* of the next cooldown */
	struct table in_use; /* addresses of ranges that are LEASED or COOLING */
	struct table leases;
	unsigned reserved[IP_FAMILIES]; /* addresses of leases that are not BOUND */
};

static inline bool block_is_range(const struct pool_block *block)
{
	return block->last > 0;
}

static inline unsigned block_family(const struct pool_block *block)
{
	return ip_index(block->prefix.addr.family);
}

/* ---- pool.c ---- */

/** pool_find_nic() - Return: NULL if no NIC has that slot. */
struct held_nic *pool_find_nic(const struct pool *pool, unsigned slot);

/* ---- pool_block.c ---- */

/** pool_find_block() - the block that holds @addr, or NULL. O(log blocks). */
struct pool_block *pool_find_block(const struct pool *pool, const struct ipaddr *addr);
/** block_use_of() - by the states of the block and its NIC. */
enum block_use block_use_of(const struct pool *pool, const struct pool_block *block);
/** block_update_use() - after a state changed: counters follow, free addresses join the queues or leave them. */
void block_update_use(struct pool *pool, struct pool_block *block);
/** pool_drop_blocks() - forget all blocks of a NIC; asserts that nothing in them is leased. */
void pool_drop_blocks(struct pool *pool, const struct held_nic *nic);

/* ---- pool_addr.c ---- */

/** addr_store_fits() - can a block of that prefix be kept? */
bool addr_store_fits(const struct prefix *prefix);
/** addr_store_new() - a PENDING block whose addresses are all FREE and in no queue; it is in no sum yet. Return: NULL
 *  without memory. */
struct pool_block *addr_store_new(struct pool *pool, const struct prefix *prefix, struct held_nic *nic, int64_t now_us);
/** addr_store_free() - its addresses leave the queues and the NIC's counters; nothing may be leased. */
void addr_store_free(struct pool *pool, struct pool_block *block);
/** addr_find() - the address inside a block that holds it; NULL if it is FREE in a range. */
struct pool_addr *addr_find(const struct pool *pool, struct pool_block *block, const struct ipaddr *addr);
/** addr_hold() - the same, made for a FREE one of a range: the caller must change its state. Return:
 *  NULL without memory or when the range counts as full. */
struct pool_addr *addr_hold(struct pool *pool, struct pool_block *block, const struct ipaddr *addr);
/** addr_pick() - the least recently used FREE address of a family, of @near if that has one (NULL: of any NIC); to
 *  be leased; one of a range is made for it. Return: NULL when nothing is free or without memory. */
struct pool_addr *addr_pick(struct pool *pool, unsigned family, const struct held_nic *near);
struct ipaddr addr_value(const struct pool_addr *addr);
/** addr_block_enqueue() - all FREE addresses of a block join the free queues at their end. */
void addr_block_enqueue(struct pool *pool, struct pool_block *block);
/** addr_block_dequeue() - all FREE addresses of a block leave them. */
void addr_block_dequeue(struct pool_block *block);
void addr_enqueue(struct pool *pool, struct pool_addr *addr, bool first);
void addr_dequeue(struct pool_addr *addr);

/* One call per edge of the address states; the edge is asserted. */
void addr_lease(struct pool *pool, struct pool_addr *addr, struct lease_entry *lease, int64_t now_us);
void addr_cool(struct pool *pool, struct pool_addr *addr, int64_t until_us, int64_t now_us);
/** addr_free() - FREE again; @first: at the front of the queues instead of their end. @addr of a range is gone. */
void addr_free(struct pool *pool, struct pool_addr *addr, bool first, int64_t now_us);

/* ---- pool_range.c ---- */

/** range_init() - @block, of a prefix larger than POOL_BLOCK_SIZE_MAX, is a range with all of it free. */
void range_init(struct pool_block *block);
uint64_t range_offset(const struct pool_addr *addr);
struct pool_addr *range_find(const struct pool *pool, const struct pool_block *block, uint64_t offset);
/** range_hold() - an address of a range that is FREE; the cursor moves behind it. Return: NULL without memory. */
struct pool_addr *range_hold(struct pool *pool, struct pool_block *block, uint64_t offset);
/** range_pick() - the next FREE address behind the cursor, which moves on. Return: NULL without memory. */
struct pool_addr *range_pick(struct pool *pool, struct pool_block *block);
/** range_put() - @addr is FREE and forgotten; @first: nobody had it, so the cursor goes back to it if it was the last. */
void range_put(struct pool *pool, struct pool_addr *addr, bool first);
/** range_requeue() - in the queues if leasable and something is free, else not. */
void range_requeue(struct pool *pool, struct pool_block *block);
/** range_forget() - nothing is in use any more; counters are the caller's. */
void range_forget(struct pool *pool, struct pool_block *block);
/** range_forget_all() - the same of every range, before the pool goes. */
void range_forget_all(struct pool *pool);
/** range_addresses() - what is in use in a range, in order. Return: what @fn did, or -ENOMEM. */
int range_addresses(const struct pool_block *block,
		    int (*fn)(const struct ipaddr *addr, enum addr_state state, const struct lease *lease, void *arg),
		    void *arg);

/* ---- pool_cool.c ---- */

/** cool_reserve() - room for @count addresses more that may cool at once. Return: 0 or -ENOMEM. */
int cool_reserve(struct pool *pool, unsigned count);
void cool_unreserve(struct pool *pool, unsigned count);
/** cool_before() - does the cooldown of @a end before that of @b? */
bool cool_before(const struct pool_addr *a, const struct pool_addr *b);
/** cool_add() - @addr is COOLING, until_us is set. */
void cool_add(struct pool *pool, struct pool_addr *addr);
/** cool_remove() - fine for one that is being flushed. */
void cool_remove(struct pool *pool, struct pool_addr *addr);
/** cool_extend() - lasts until @until_us at least; ends a flush that began before. */
void cool_extend(struct pool *pool, struct pool_addr *addr, int64_t until_us);

#endif
