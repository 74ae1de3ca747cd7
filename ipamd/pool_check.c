/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over the pool, and the walk that compares every counter and queue with what it should be. */
#include "berth/err.h"
#include "berth/ipaddr.h"
#include "ipamd/pool_impl.h"

static bool nic_lost_or_going(const struct pool_nic *nic)
{
	return nic->state == NIC_DETACHING || nic->state == NIC_LOST;
}

static void count_block(const struct pool_block *block, struct pool_counts *counts)
{
	bool owned = block->state == BLOCK_PENDING || block->state == BLOCK_READY || block->state == BLOCK_DRAINING;

	if (owned && !nic_lost_or_going(block->nic))
		counts->total += block->size;
	if (pool_block_coming(block))
		counts->pending += block->counts[ADDR_FREE];
	if (block->state == BLOCK_LOST || block->nic->state == NIC_LOST)
		counts->lost += block->counts[ADDR_LEASED];
	counts->leased += block->counts[ADDR_LEASED];
	counts->cooling += block->counts[ADDR_COOLING];
}

void pool_count(const struct pool *pool, struct pool_counts *ret)
{
	struct pool_counts counts = { .free = pool->free_count, .reserved = pool->reserved_count };

	for (unsigned i = 0; i < pool->block_count; i++)
		count_block(pool->blocks[i], &counts);
	for (unsigned i = 0; i < pool->nic_count; i++)
		counts.incoming += pool->nics[i]->incoming;
	*ret = counts;
}

/* What the walk has seen, to be compared at its end. */
struct tally {
	unsigned in_free_queue, in_cooling_queue, leased, reserved;
	struct pool_nic nics[CLOUD_NICS_MAX]; /* counters only, by position */
};

static int bad_addr(const struct pool_addr *addr, const char *what, struct err *err)
{
	struct ipaddr value = addr_value(addr);
	char text[IPADDR_STRLEN];

	return err_set(err, ERR_BUG, "pool", "%s (%s): %s", ipaddr_str(&value, text), addr_state_name(addr->state),
		       what);
}

static int check_addr(const struct pool_addr *addr, struct tally *tally, struct err *err)
{
	bool leasable = pool_block_leasable(addr->block);
	struct ipaddr value = addr_value(addr);

	if ((addr->state == ADDR_LEASED) != (addr->lease != NULL))
		return bad_addr(addr, "lease and state differ", err);
	if (addr->lease && (addr->lease->addr != addr || !ipaddr_equal(&addr->lease->lease.addrs[0], &value)))
		return bad_addr(addr, "its lease holds another address", err);
	if (list_empty(&addr->link) != (addr->state == ADDR_LEASED || (addr->state == ADDR_FREE && !leasable)))
		return bad_addr(addr, "in a queue, or not, against its state", err);
	tally->in_free_queue += addr->state == ADDR_FREE && leasable;
	tally->in_cooling_queue += addr->state == ADDR_COOLING;
	tally->leased += addr->state == ADDR_LEASED;
	tally->reserved += addr->lease && addr->lease->lease.state == LEASE_RESERVED;
	return 0;
}

static int check_block(const struct pool *pool, unsigned at, struct tally *tally, struct err *err)
{
	const struct pool_block *block = pool->blocks[at];
	unsigned counts[ADDR_STATE_COUNT] = { 0 };
	unsigned nic = 0;
	char text[PREFIX_STRLEN];

	while (nic < pool->nic_count && pool->nics[nic] != block->nic)
		nic++;
	if (nic == pool->nic_count || block->nic->state == NIC_FOREIGN)
		return err_set(err, ERR_BUG, "pool", "%s: on no NIC of ours", prefix_str(&block->prefix, text));
	if (at > 0 && (prefix_cmp(&pool->blocks[at - 1]->prefix, &block->prefix) >= 0 ||
		       prefix_overlaps(&pool->blocks[at - 1]->prefix, &block->prefix)))
		return err_set(err, ERR_BUG, "pool", "%s: order or overlap", prefix_str(&block->prefix, text));
	for (unsigned i = 0; i < block->size; i++) {
		if (check_addr(&block->addrs[i], tally, err) < 0)
			return -1;
		counts[block->addrs[i].state]++;
	}
	for (unsigned i = 0; i < ADDR_STATE_COUNT; i++)
		if (counts[i] != block->counts[i])
			return err_set(err, ERR_BUG, "pool", "%s: %u addresses are %s, counter says %u",
				       prefix_str(&block->prefix, text), counts[i], addr_state_name((enum addr_state)i),
				       block->counts[i]);
	if (block->state == BLOCK_RELEASING && counts[ADDR_LEASED] > 0)
		return err_set(err, ERR_BUG, "pool", "%s: released with leases", prefix_str(&block->prefix, text));
	tally->nics[nic].block_count++;
	tally->nics[nic].free_count += counts[ADDR_FREE];
	tally->nics[nic].leased_count += counts[ADDR_LEASED];
	tally->nics[nic].cooling_count += counts[ADDR_COOLING];
	return 0;
}

static int check_nic(const struct pool *pool, unsigned at, const struct tally *tally, struct err *err)
{
	const struct pool_nic *nic = pool->nics[at], *seen = &tally->nics[at];

	if (at > 0 && pool->nics[at - 1]->slot >= nic->slot)
		return err_set(err, ERR_BUG, "pool", "nic %u: order", nic->slot);
	if (nic->block_count != seen->block_count || nic->free_count != seen->free_count ||
	    nic->leased_count != seen->leased_count || nic->cooling_count != seen->cooling_count)
		return err_set(err, ERR_BUG, "pool", "nic %u: counters differ from its blocks", nic->slot);
	if (nic->busy == NIC_IDLE && nic->incoming > 0)
		return err_set(err, ERR_BUG, "pool", "nic %u: idle, yet %u units incoming", nic->slot, nic->incoming);
	if (nic->state == NIC_DETACHING && nic->leased_count > 0)
		return err_set(err, ERR_BUG, "pool", "nic %u: detached with leases", nic->slot);
	return 0;
}

/* Length of a queue; stops at @limit so that a broken list ends too. */
static unsigned queue_length(const struct list *head, unsigned limit)
{
	unsigned length = 0;

	for (const struct list *link = head->next; link != head && length <= limit; link = link->next)
		length++;
	return length;
}

static int check_queues(const struct pool *pool, const struct tally *tally, struct err *err)
{
	int64_t before_us = INT64_MIN;

	if (pool->free_count != tally->in_free_queue ||
	    queue_length(&pool->free, tally->in_free_queue) != tally->in_free_queue)
		return err_set(err, ERR_BUG, "pool", "free queue: %u addresses belong there, counter says %u",
			       tally->in_free_queue, pool->free_count);
	if (queue_length(&pool->cooling, tally->in_cooling_queue) != tally->in_cooling_queue)
		return err_set(err, ERR_BUG, "pool", "cooling queue: %u addresses belong there",
			       tally->in_cooling_queue);
	for (struct list *link = pool->cooling.next; link != &pool->cooling; link = link->next) {
		const struct pool_addr *addr = list_entry(link, struct pool_addr, link);

		if (addr->until_us < before_us)
			return bad_addr(addr, "cooling queue: order", err);
		before_us = addr->until_us;
	}
	if (pool->leases.count != tally->leased || pool->reserved_count != tally->reserved)
		return err_set(err, ERR_BUG, "pool", "%zu leases (%u reserved) for %u leased addresses (%u reserved)",
			       pool->leases.count, pool->reserved_count, tally->leased, tally->reserved);
	return 0;
}

static int check_lease(const struct lease *lease, void *arg)
{
	const struct pool *pool = arg;

	return pool_lease_by_addr(pool, &lease->addrs[0]) != lease || pool_lease_find(pool, &lease->key) != lease;
}

int pool_check(const struct pool *pool, struct err *err)
{
	struct tally tally = { 0 };

	for (unsigned i = 0; i < pool->block_count; i++)
		if (check_block(pool, i, &tally, err) < 0)
			return -1;
	for (unsigned i = 0; i < pool->nic_count; i++)
		if (check_nic(pool, i, &tally, err) < 0)
			return -1;
	if (check_queues(pool, &tally, err) < 0)
		return -1;
	if (pool_leases(pool, check_lease, (void *)(uintptr_t)pool) != 0)
		return err_set(err, ERR_BUG, "pool", "a lease is not found by its key or address");
	return 0;
}
