/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/pool_impl.h"

#include <stdlib.h>

#include "berth/check.h"

#define BIT(n) (1U << (unsigned)(n))

#define RANGE_LEN_MIN 64U /* offsets are 64 bits; no cloud gives a NIC more than a /64 */

/* What may follow what; FREE -> COOLING and COOLING -> LEASED are what the store tells, LEASED -> FREE is undo. */
static const unsigned addr_edges[ADDR_STATE_COUNT] = {
	[ADDR_FREE] = BIT(ADDR_LEASED) | BIT(ADDR_COOLING),
	[ADDR_LEASED] = BIT(ADDR_COOLING) | BIT(ADDR_FREE),
	[ADDR_COOLING] = BIT(ADDR_FREE) | BIT(ADDR_LEASED),
};

/* ---- the store ---- */

bool addr_store_fits(const struct prefix *prefix)
{
	if (prefix->addr.family == IP_V6)
		return prefix->len >= RANGE_LEN_MIN;
	return prefix->addr.family == IP_V4 && prefix_size(prefix) <= POOL_BLOCK_SIZE_MAX;
}

unsigned pool_block_size(enum ip_family family, unsigned len)
{
	const struct prefix prefix = { .addr.family = (uint8_t)family, .len = (uint8_t)len };
	uint64_t size = prefix_size(&prefix);

	if (size <= POOL_BLOCK_SIZE_MAX)
		return (unsigned)size;
	return size > POOL_RANGE_COUNT_MAX ? POOL_RANGE_COUNT_MAX : (unsigned)size - 1;
}

static void init_addr(struct pool_addr *addr, struct pool_block *block)
{
	list_init(&addr->link);
	list_init(&addr->near);
	addr->block = block;
	addr->state = ADDR_FREE;
	addr->heap_at = NOT_IN_HEAP;
}

struct pool_block *addr_store_new(struct pool *pool, const struct prefix *prefix, struct held_nic *nic, int64_t now_us)
{
	unsigned size = pool_block_size((enum ip_family)prefix->addr.family, prefix->len);
	bool range = prefix_size(prefix) > POOL_BLOCK_SIZE_MAX;
	unsigned addr_count = range ? 1 : size;
	struct pool_block *block;

	CHECK(addr_store_fits(prefix));
	if (!range && cool_reserve(pool, size) < 0)
		return NULL;
	block = calloc(1, sizeof(*block) + addr_count * sizeof(struct pool_addr));
	if (!block) {
		cool_unreserve(pool, range ? 0 : size);
		return NULL;
	}
	*block = (struct pool_block){ .prefix = *prefix,
				      .nic = nic,
				      .state = BLOCK_PENDING,
				      .changed_us = now_us,
				      .size = size,
				      .counts = { [ADDR_FREE] = size } };
	list_init(&block->used);
	for (unsigned i = 0; i < addr_count; i++)
		init_addr(&block->addrs[i], block);
	if (range)
		range_init(block);
	return block;
}

void addr_store_free(struct pool *pool, struct pool_block *block)
{
	CHECK(block->counts[ADDR_LEASED] == 0);
	addr_block_dequeue(block);
	block->nic->pub.cooling_count -= block->counts[ADDR_COOLING];
	if (block_is_range(block)) {
		range_forget(pool, block);
	} else {
		for (unsigned i = 0; i < block->size; i++)
			cool_remove(pool, &block->addrs[i]);
		cool_unreserve(pool, block->size);
	}
	free(block);
}

struct pool_addr *addr_find(const struct pool *pool, struct pool_block *block, const struct ipaddr *addr)
{
	uint64_t offset = prefix_offset(&block->prefix, addr);

	return block_is_range(block) ? range_find(pool, block, offset) : &block->addrs[offset];
}

struct pool_addr *addr_hold(struct pool *pool, struct pool_block *block, const struct ipaddr *addr)
{
	struct pool_addr *found = addr_find(pool, block, addr);

	if (found || block->counts[ADDR_FREE] == 0)
		return found;
	return range_hold(pool, block, prefix_offset(&block->prefix, addr));
}

struct pool_addr *addr_pick(struct pool *pool, unsigned family, const struct held_nic *near)
{
	struct pool_addr *addr;

	if (near && !list_empty(&near->free[family]))
		addr = list_entry(near->free[family].next, struct pool_addr, near);
	else if (!list_empty(&pool->free[family]))
		addr = list_entry(pool->free[family].next, struct pool_addr, link);
	else
		return NULL;
	return block_is_range(addr->block) ? range_pick(pool, addr->block) : addr;
}

struct ipaddr addr_value(const struct pool_addr *addr)
{
	const struct pool_block *block = addr->block;

	return ipaddr_add(&block->prefix.addr,
			  block_is_range(block) ? range_offset(addr) : (uint64_t)(addr - block->addrs));
}

/* ---- the free queues ---- */

void addr_enqueue(struct pool *pool, struct pool_addr *addr, bool first)
{
	unsigned family = block_family(addr->block);
	struct list *all = &pool->free[family], *near = &addr->block->nic->free[family];

	CHECK(addr->block->use == USE_LEASE);
	list_add_after(first ? all : all->prev, &addr->link);
	list_add_after(first ? near : near->prev, &addr->near);
}

void addr_dequeue(struct pool_addr *addr)
{
	list_remove(&addr->link);
	list_remove(&addr->near);
}

void addr_block_enqueue(struct pool *pool, struct pool_block *block)
{
	if (block_is_range(block)) {
		range_requeue(pool, block);
		return;
	}
	for (unsigned i = 0; i < block->size; i++)
		if (block->addrs[i].state == ADDR_FREE)
			addr_enqueue(pool, &block->addrs[i], false);
}

void addr_block_dequeue(struct pool_block *block)
{
	unsigned count = block_is_range(block) ? 1 : block->size;

	for (unsigned i = 0; i < count; i++)
		if (block->addrs[i].state == ADDR_FREE)
			addr_dequeue(&block->addrs[i]);
}

/* ---- states ---- */

static void count_addr(struct pool *pool, struct pool_block *block, enum addr_state state, bool add)
{
	unsigned by = add ? 1 : UINT32_MAX; /* unsigned: minus one */

	block->counts[state] += by;
	pool->sums[block_family(block)][block->use][state] += by;
	if (state == ADDR_LEASED)
		block->nic->pub.leased_count += by;
	else if (state == ADDR_COOLING)
		block->nic->pub.cooling_count += by;
}

/* The one place where an address changes its state: edge, queue or heap that it leaves, counters. */
static void addr_set_state(struct pool *pool, struct pool_addr *addr, enum addr_state state, int64_t now_us)
{
	struct pool_block *block = addr->block;

	CHECK(addr_edges[addr->state] & BIT(state));
	CHECK((addr->state == ADDR_LEASED) == (addr->lease != NULL));
	if (addr->state == ADDR_COOLING)
		cool_remove(pool, addr);
	else if (addr->state == ADDR_FREE && !block_is_range(block))
		addr_dequeue(addr);
	count_addr(pool, block, addr->state, false);
	count_addr(pool, block, state, true);
	addr->state = state;
	addr->lease = NULL;
	block->changed_us = now_us;
	if (block_is_range(block))
		range_requeue(pool, block);
}

void addr_lease(struct pool *pool, struct pool_addr *addr, struct lease_entry *lease, int64_t now_us)
{
	unsigned family = block_family(addr->block);

	addr_set_state(pool, addr, ADDR_LEASED, now_us);
	addr->lease = lease;
	lease->addrs[family] = addr;
	lease->lease.addrs[family] = addr_value(addr);
}

void addr_cool(struct pool *pool, struct pool_addr *addr, int64_t until_us, int64_t now_us)
{
	addr_set_state(pool, addr, ADDR_COOLING, now_us);
	addr->until_us = until_us;
	cool_add(pool, addr);
}

void addr_free(struct pool *pool, struct pool_addr *addr, bool first, int64_t now_us)
{
	addr_set_state(pool, addr, ADDR_FREE, now_us);
	if (block_is_range(addr->block))
		range_put(pool, addr, first);
	else if (addr->block->use == USE_LEASE)
		addr_enqueue(pool, addr, first);
}

int pool_addresses(const struct pool *pool, const struct prefix *prefix,
		   int (*fn)(const struct ipaddr *addr, enum addr_state state, const struct lease *lease, void *arg),
		   void *arg)
{
	const struct pool_block *block = pool_find_block(pool, &prefix->addr);

	if (!block || prefix_cmp(&block->prefix, prefix) != 0)
		return 0;
	if (block_is_range(block))
		return range_addresses(block, fn, arg);
	for (unsigned i = 0; i < block->size; i++) {
		const struct pool_addr *addr = &block->addrs[i];
		struct ipaddr value = addr_value(addr);
		int rc = fn(&value, addr->state, addr->lease ? &addr->lease->lease : NULL, arg);

		if (rc != 0)
			return rc;
	}
	return 0;
}
