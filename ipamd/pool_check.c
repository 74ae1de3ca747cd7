/* SPDX-License-Identifier: Apache-2.0 */
/* The walk over all of the pool that compares every counter, queue and table with what it should be. */
#include <string.h>

#include "berth/err.h"
#include "ipamd/pool_impl.h"

/* What the walk has seen, to be compared at its end. */
struct tally {
	const struct pool *pool;
	struct err *err;
	unsigned sums[IP_FAMILIES][BLOCK_USE_COUNT][ADDR_STATE_COUNT];
	unsigned queued[IP_FAMILIES];   /* elements of the free queues */
	unsigned reserved[IP_FAMILIES]; /* addresses */
	unsigned leased;                /* the same, with a lease */
	unsigned in_heap, in_ranges, addr_count;
	struct pool_nic nics[CLOUD_NICS_MAX]; /* counters only, by position */
};

static int bad_addr(const struct tally *t, const struct pool_addr *addr, const char *what)
{
	struct ipaddr value = addr_value(addr);
	char text[IPADDR_STRLEN];

	return err_set(t->err, ERR_BUG, "pool", "%s (%s): %s", ipaddr_str(&value, text), addr_state_name(addr->state),
		       what);
}

static int bad_block(const struct tally *t, const struct pool_block *block, const char *what)
{
	char text[PREFIX_STRLEN];

	return err_set(t->err, ERR_BUG, "pool", "%s (%s): %s", prefix_str(&block->prefix, text),
		       block_state_name(block->state), what);
}

/* ---- addresses ---- */

static int check_lease_of(const struct tally *t, const struct pool_addr *addr)
{
	unsigned family = block_family(addr->block);
	struct ipaddr value = addr_value(addr);

	if ((addr->state == ADDR_LEASED) != (addr->lease != NULL))
		return bad_addr(t, addr, "lease and state differ");
	if (addr->lease &&
	    (addr->lease->addrs[family] != addr || !ipaddr_equal(&addr->lease->lease.addrs[family], &value)))
		return bad_addr(t, addr, "its lease holds another address");
	return 0;
}

static int check_heap_of(const struct tally *t, const struct pool_addr *addr)
{
	const struct pool *pool = t->pool;

	if (addr->heap_at == NOT_IN_HEAP)
		return 0; /* not COOLING, or being flushed */
	if (addr->state != ADDR_COOLING || addr->heap_at >= pool->cooling_count || pool->cooling[addr->heap_at] != addr)
		return bad_addr(t, addr, "its place among the cooling ones is not its own");
	if (addr->heap_at > 0 && cool_before(addr, pool->cooling[(addr->heap_at - 1) / 2]))
		return bad_addr(t, addr, "rests shorter than what it stands behind");
	return 0;
}

static int check_addr(struct tally *t, const struct pool_addr *addr)
{
	if (check_lease_of(t, addr) < 0 || check_heap_of(t, addr) < 0)
		return -1;
	t->in_heap += addr->heap_at != NOT_IN_HEAP;
	t->leased += addr->state == ADDR_LEASED;
	t->reserved[block_family(addr->block)] += addr->lease && addr->lease->lease.state == LEASE_RESERVED;
	return 0;
}

/* Is what stands in the queues for a free address, or for what is free in a range, in both or in none, as it should? */
static int check_queued(struct tally *t, const struct pool_addr *addr, bool should)
{
	if (!list_empty(&addr->near) != should || (should && list_empty(&addr->link)))
		return bad_addr(t, addr, "in a free queue, or not, against its state");
	t->queued[block_family(addr->block)] += should;
	return 0;
}

/* ---- blocks ---- */

static int check_singles(struct tally *t, const struct pool_block *block, unsigned counts[ADDR_STATE_COUNT])
{
	for (unsigned i = 0; i < block->size; i++) {
		const struct pool_addr *addr = &block->addrs[i];
		bool free_now = addr->state == ADDR_FREE && block->use == USE_LEASE;

		if (addr->block != block || check_addr(t, addr) < 0 || check_queued(t, addr, free_now) < 0)
			return -1;
		if (!free_now && !list_empty(&addr->link))
			return bad_addr(t, addr, "in a queue that is not its own");
		counts[addr->state]++;
	}
	t->addr_count += block->size;
	return 0;
}

static int check_range(struct tally *t, const struct pool_block *block, unsigned counts[ADDR_STATE_COUNT])
{
	unsigned in_use = 0;

	for (const struct list *link = block->used.next; link != &block->used; link = link->next) {
		const struct pool_addr *addr = list_entry_const(link, struct pool_addr, link);

		if (addr->block != block || addr->state == ADDR_FREE || !list_empty(&addr->near))
			return bad_addr(t, addr, "free or foreign, yet held by a range");
		if (range_offset(addr) > block->last || range_find(t->pool, block, range_offset(addr)) != addr)
			return bad_addr(t, addr, "not found in its range");
		if (check_addr(t, addr) < 0)
			return -1;
		counts[addr->state]++;
		if (++in_use > block->size)
			return bad_block(t, block, "more in use than it has");
	}
	counts[ADDR_FREE] = block->size - in_use;
	t->in_ranges += in_use;
	t->addr_count += in_use;
	if (block->cursor == 0 || block->cursor > block->last)
		return bad_block(t, block, "cursor outside");
	return check_queued(t, &block->addrs[0], block->use == USE_LEASE && counts[ADDR_FREE] > 0);
}

static int check_place(const struct tally *t, unsigned at)
{
	const struct pool *pool = t->pool;
	const struct pool_block *block = pool->blocks[at];

	if (block->nic != pool_find_nic(pool, block->nic->pub.slot) || block->nic->pub.state == NIC_FOREIGN)
		return bad_block(t, block, "on no NIC of ours");
	if (at > 0 && (prefix_cmp(&pool->blocks[at - 1]->prefix, &block->prefix) >= 0 ||
		       prefix_overlaps(&pool->blocks[at - 1]->prefix, &block->prefix)))
		return bad_block(t, block, "order or overlap");
	if (block->use != block_use_of(pool, block))
		return bad_block(t, block, "its use does not follow from its state and its NIC's");
	return 0;
}

static int check_block(struct tally *t, unsigned at)
{
	const struct pool_block *block = t->pool->blocks[at];
	unsigned counts[ADDR_STATE_COUNT] = { 0 };
	unsigned nic = 0;

	if (check_place(t, at) < 0 ||
	    (block_is_range(block) ? check_range(t, block, counts) : check_singles(t, block, counts)) < 0)
		return -1;
	if (memcmp(counts, block->counts, sizeof(counts)) != 0)
		return bad_block(t, block, "counters differ from its addresses");
	if (block->state == BLOCK_RELEASING && counts[ADDR_LEASED] > 0)
		return bad_block(t, block, "released with leases");
	while (t->pool->nics[nic] != block->nic)
		nic++;
	t->nics[nic].block_count[block_family(block)]++;
	t->nics[nic].leased_count += counts[ADDR_LEASED];
	t->nics[nic].cooling_count += counts[ADDR_COOLING];
	for (unsigned i = 0; i < ADDR_STATE_COUNT; i++)
		t->sums[block_family(block)][block->use][i] += counts[i];
	return 0;
}

/* ---- NICs and the pool ---- */

static int check_nic(const struct tally *t, unsigned at)
{
	const struct pool_nic *nic = &t->pool->nics[at]->pub, *seen = &t->nics[at];

	if (at > 0 && t->pool->nics[at - 1]->pub.slot >= nic->slot)
		return err_set(t->err, ERR_BUG, "pool", "nic %u: order", nic->slot);
	if (memcmp(nic->block_count, seen->block_count, sizeof(nic->block_count)) != 0 ||
	    nic->leased_count != seen->leased_count || nic->cooling_count != seen->cooling_count)
		return err_set(t->err, ERR_BUG, "pool", "nic %u: counters differ from its blocks", nic->slot);
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		if (nic->busy == NIC_IDLE && (nic->incoming[i] > 0 || nic->incoming_units[i] > 0))
			return err_set(t->err, ERR_BUG, "pool", "nic %u: idle, yet %u addresses incoming", nic->slot,
				       nic->incoming[i]);
	if (nic->state == NIC_DETACHING && nic->leased_count > 0)
		return err_set(t->err, ERR_BUG, "pool", "nic %u: detached with leases", nic->slot);
	return 0;
}

/* The queue of a NIC must be the queue of the pool without the others' addresses. Bounded: a broken list ends too. */
static int check_queue(const struct tally *t, unsigned family)
{
	const struct pool *pool = t->pool;
	const struct list *all = &pool->free[family], *near[CLOUD_NICS_MAX] = { NULL };
	unsigned length = 0;

	for (unsigned i = 0; i < pool->nic_count; i++)
		near[i] = pool->nics[i]->free[family].next;
	for (const struct list *link = all->next; link != all && length <= t->queued[family]; link = link->next) {
		const struct pool_addr *addr = list_entry_const(link, struct pool_addr, link);
		unsigned nic = 0;

		while (pool->nics[nic] != addr->block->nic)
			nic++;
		if (near[nic] != &addr->near || block_family(addr->block) != family)
			return bad_addr(t, addr, "free queues of pool and NIC differ");
		near[nic] = near[nic]->next;
		length++;
	}
	for (unsigned i = 0; i < pool->nic_count; i++)
		if (near[i] != &pool->nics[i]->free[family])
			return err_set(t->err, ERR_BUG, "pool", "nic %u: longer free queue than the pool's",
				       pool->nics[i]->pub.slot);
	if (length != t->queued[family])
		return err_set(t->err, ERR_BUG, "pool", "free queue of %s: %u elements, %u belong there",
			       family ? "v6" : "v4", length, t->queued[family]);
	return 0;
}

static int check_totals(const struct tally *t)
{
	const struct pool *pool = t->pool;

	if (memcmp(pool->sums, t->sums, sizeof(t->sums)) != 0)
		return err_set(t->err, ERR_BUG, "pool", "sums differ from the blocks");
	if (memcmp(pool->reserved, t->reserved, sizeof(t->reserved)) != 0)
		return err_set(t->err, ERR_BUG, "pool", "reserved v4 %u, v6 %u, counters say %u, %u", t->reserved[0],
			       t->reserved[1], pool->reserved[0], pool->reserved[1]);
	if (pool->cooling_count != t->in_heap)
		return err_set(t->err, ERR_BUG, "pool", "%u addresses cool, %u places", t->in_heap,
			       pool->cooling_count);
	if (pool->in_use.count != t->in_ranges)
		return err_set(t->err, ERR_BUG, "pool", "%zu addresses of ranges in use, the ranges know %u",
			       pool->in_use.count, t->in_ranges);
	if (pool->addr_count != t->addr_count || pool->addr_count > pool->cooling_alloc)
		return err_set(t->err, ERR_BUG, "pool", "room for %u addresses to cool, there are %u",
			       pool->cooling_alloc, t->addr_count);
	return 0;
}

/* ---- leases ---- */

static int check_lease(const struct lease *lease, void *arg)
{
	struct tally *t = arg;

	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		if (lease->addrs[i].family == IP_NONE)
			continue;
		if (pool_lease_by_addr(t->pool, &lease->addrs[i]) != lease)
			return err_set(t->err, ERR_BUG, "pool", "lease of %s is not found by its address",
				       lease->key.container);
		t->leased--;
	}
	if (pool_lease_find(t->pool, &lease->key) != lease)
		return err_set(t->err, ERR_BUG, "pool", "lease of %s is not found by its key", lease->key.container);
	return 0;
}

int pool_check(const struct pool *pool, struct err *err)
{
	struct tally t = { .pool = pool, .err = err };

	for (unsigned i = 0; i < pool->block_count; i++)
		if (check_block(&t, i) < 0)
			return -1;
	for (unsigned i = 0; i < pool->nic_count; i++)
		if (check_nic(&t, i) < 0)
			return -1;
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		if (check_queue(&t, i) < 0)
			return -1;
	if (check_totals(&t) < 0 || pool_leases(pool, check_lease, &t) < 0)
		return -1;
	if (t.leased != 0)
		return err_set(err, ERR_BUG, "pool", "addresses are leased to leases that do not exist");
	return 0;
}
