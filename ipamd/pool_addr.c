/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/pool_impl.h"

#include <stdlib.h>

#include "berth/check.h"

#define BIT(n) (1U << (unsigned)(n))

/* What may follow what; FREE -> COOLING is what the store tells at start, LEASED -> FREE is undo. */
static const unsigned addr_edges[ADDR_STATE_COUNT] = {
	[ADDR_FREE] = BIT(ADDR_LEASED) | BIT(ADDR_COOLING),
	[ADDR_LEASED] = BIT(ADDR_COOLING) | BIT(ADDR_FREE),
	[ADDR_COOLING] = BIT(ADDR_FREE),
};

bool addr_store_fits(const struct prefix *prefix)
{
	return prefix->addr.family == IP_V4 && prefix_size(prefix) <= POOL_BLOCK_SIZE_MAX;
}

struct pool_block *addr_store_new(const struct prefix *prefix, struct pool_nic *nic, int64_t now_us)
{
	unsigned size = (unsigned)prefix_size(prefix);
	struct pool_block *block = calloc(1, sizeof(*block) + size * sizeof(struct pool_addr));

	CHECK(addr_store_fits(prefix));
	if (!block)
		return NULL;
	block->prefix = *prefix;
	block->nic = nic;
	block->state = BLOCK_PENDING;
	block->changed_us = now_us;
	block->size = size;
	block->counts[ADDR_FREE] = size;
	nic->free_count += size;
	for (unsigned i = 0; i < size; i++) {
		list_init(&block->addrs[i].link);
		block->addrs[i].block = block;
		block->addrs[i].state = ADDR_FREE;
	}
	return block;
}

struct pool_addr *addr_in(struct pool_block *block, const struct ipaddr *addr)
{
	CHECK(prefix_contains(&block->prefix, addr));
	return &block->addrs[prefix_offset(&block->prefix, addr)];
}

struct ipaddr addr_value(const struct pool_addr *addr)
{
	return ipaddr_add(&addr->block->prefix.addr, (uint64_t)(addr - addr->block->addrs));
}

static void queue_free(struct pool *pool, struct pool_addr *addr, bool first)
{
	if (!pool_block_leasable(addr->block))
		return;
	list_add_after(first ? &pool->free : pool->free.prev, &addr->link);
	pool->free_count++;
}

static void unqueue_free(struct pool *pool, struct pool_addr *addr)
{
	if (list_empty(&addr->link))
		return;
	list_remove(&addr->link);
	pool->free_count--;
}

/* Nearly always at the end: only what comes from the store, or a clock that a test sets, is out of order. */
static void queue_cooling(struct pool *pool, struct pool_addr *addr)
{
	struct list *after = pool->cooling.prev;

	while (after != &pool->cooling && list_entry(after, struct pool_addr, link)->until_us > addr->until_us)
		after = after->prev;
	list_add_after(after, &addr->link);
}

void addr_block_enqueue(struct pool *pool, struct pool_block *block)
{
	CHECK(pool_block_leasable(block));
	for (unsigned i = 0; i < block->size; i++)
		if (block->addrs[i].state == ADDR_FREE)
			queue_free(pool, &block->addrs[i], false);
}

void addr_block_dequeue(struct pool *pool, struct pool_block *block)
{
	for (unsigned i = 0; i < block->size; i++)
		if (block->addrs[i].state == ADDR_FREE)
			unqueue_free(pool, &block->addrs[i]);
}

static unsigned *nic_counter(struct pool_nic *nic, enum addr_state state)
{
	switch (state) {
	case ADDR_FREE:
		return &nic->free_count;
	case ADDR_LEASED:
		return &nic->leased_count;
	case ADDR_COOLING:
		return &nic->cooling_count;
	case ADDR_STATE_COUNT:
		break;
	}
	CHECK_NEVER("no address state");
}

/* The one place where an address changes its state: edge, queue it leaves, counters. */
static void addr_set_state(struct pool *pool, struct pool_addr *addr, enum addr_state state, int64_t now_us)
{
	struct pool_block *block = addr->block;

	CHECK(addr_edges[addr->state] & BIT(state));
	CHECK((addr->state == ADDR_LEASED) == (addr->lease != NULL));
	if (addr->state == ADDR_FREE)
		unqueue_free(pool, addr);
	else
		list_remove(&addr->link);
	block->counts[addr->state]--;
	(*nic_counter(block->nic, addr->state))--;
	addr->state = state;
	addr->lease = NULL;
	addr->until_us = 0;
	block->counts[state]++;
	(*nic_counter(block->nic, state))++;
	block->changed_us = now_us;
}

void addr_block_forget(struct pool *pool, struct pool_block *block)
{
	CHECK(block->counts[ADDR_LEASED] == 0);
	addr_block_dequeue(pool, block);
	for (unsigned i = 0; i < block->size; i++)
		if (block->addrs[i].state == ADDR_COOLING)
			list_remove(&block->addrs[i].link);
	block->nic->free_count -= block->counts[ADDR_FREE];
	block->nic->cooling_count -= block->counts[ADDR_COOLING];
}

struct pool_addr *addr_least_recent(struct pool *pool)
{
	if (list_empty(&pool->free))
		return NULL;
	return list_entry(pool->free.next, struct pool_addr, link);
}

void addr_lease(struct pool *pool, struct pool_addr *addr, struct lease_entry *lease, int64_t now_us)
{
	addr_set_state(pool, addr, ADDR_LEASED, now_us);
	addr->lease = lease;
	lease->addr = addr;
}

void addr_cool(struct pool *pool, struct pool_addr *addr, int64_t until_us, int64_t now_us)
{
	addr_set_state(pool, addr, ADDR_COOLING, now_us);
	addr->until_us = until_us;
	queue_cooling(pool, addr);
}

void addr_extend(struct pool *pool, struct pool_addr *addr, int64_t until_us)
{
	CHECK(addr->state == ADDR_COOLING);
	if (until_us <= addr->until_us)
		return;
	list_remove(&addr->link);
	addr->until_us = until_us;
	queue_cooling(pool, addr);
}

void addr_free(struct pool *pool, struct pool_addr *addr, bool first, int64_t now_us)
{
	addr_set_state(pool, addr, ADDR_FREE, now_us);
	queue_free(pool, addr, first);
}

int64_t pool_tick(struct pool *pool, int64_t now_us)
{
	while (!list_empty(&pool->cooling)) {
		struct pool_addr *addr = list_entry(pool->cooling.next, struct pool_addr, link);

		if (addr->until_us > now_us)
			return addr->until_us;
		addr_free(pool, addr, false, now_us);
	}
	return INT64_MAX;
}

int pool_addresses(const struct pool *pool, const struct prefix *prefix,
		   int (*fn)(const struct ipaddr *addr, enum addr_state state, const struct lease *lease, void *arg),
		   void *arg)
{
	const struct pool_block *block = pool_find_block(pool, &prefix->addr);

	if (!block || prefix_cmp(&block->prefix, prefix) != 0)
		return 0;
	for (unsigned i = 0; i < block->size; i++) {
		const struct pool_addr *addr = &block->addrs[i];
		struct ipaddr value = addr_value(addr);
		int rc = fn(&value, addr->state, addr->lease ? &addr->lease->lease : NULL, arg);

		if (rc != 0)
			return rc;
	}
	return 0;
}
