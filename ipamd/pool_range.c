/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: ranges
 *
 * A block with more addresses than can be kept one by one knows what is in use, in a table of the whole pool, and a
 * cursor. The next address is the first from the cursor on that is not in use: nobody had it since the cursor last came
 * by, so it is the least recently used one of the range. Each address in use is passed once a round, so that a lease
 * costs O(1) on average and never more than what is in use.
 *
 *      0   1 ... cursor-1   cursor ... last          0 is never leased (RFC 4291 section 2.6.1); behind last comes 1
 *          had in this round   had before, or never
 *
 * When the cursor has come round, the range goes to the end of the free queues: all the others have waited longer.
 */
#include "ipamd/pool_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "berth/attr.h"
#include "berth/check.h"

#define RANGE_BASE 0U /* the subnet-router anycast address */

/** struct range_addr - an address of a range that is LEASED or COOLING, or on its way there. */
struct range_addr {
	struct pool_addr addr;
	uint64_t offset;
	struct table_entry in_use; /* in pool.in_use */
};

uint64_t range_offset(const struct pool_addr *addr)
{
	static_assert(offsetof(struct range_addr, addr) == 0, "the cast below");
	return ((const struct range_addr *)(const void *)addr)->offset;
}

void range_init(struct pool_block *block)
{
	uint64_t size = prefix_size(&block->prefix);

	block->last = size == UINT64_MAX ? size : size - 1; /* a /64: the size saturates, the last offset does not */
	block->cursor = 1;
}

static uint64_t next_offset(const struct pool_block *block, uint64_t offset)
{
	return offset == block->last ? 1 : offset + 1;
}

/* splitmix64's finalizer: neighbours in a range spread over all buckets. */
static uint64_t hash_of(const struct pool_block *block, uint64_t offset)
{
	uint64_t hash = offset + (uint64_t)(uintptr_t)block * UINT64_C(0x9e3779b97f4a7c15);

	hash = (hash ^ hash >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	hash = (hash ^ hash >> 27) * UINT64_C(0x94d049bb133111eb);
	return hash ^ hash >> 31;
}

struct pool_addr *range_find(const struct pool *pool, const struct pool_block *block, uint64_t offset)
{
	struct table_entry *entry = table_first(&pool->in_use, hash_of(block, offset));

	for (; entry; entry = table_same(entry)) {
		struct range_addr *found = table_of(entry, struct range_addr, in_use);

		if (found->addr.block == block && found->offset == offset)
			return &found->addr;
	}
	return NULL;
}

void range_requeue(struct pool *pool, struct pool_block *block)
{
	struct pool_addr *all_free = &block->addrs[0];
	bool wanted = block->use == USE_LEASE && block->counts[ADDR_FREE] > 0;

	if (!wanted)
		addr_dequeue(all_free);
	else if (list_empty(&all_free->link))
		addr_enqueue(pool, all_free, false);
}

/* To the front or the end of the queues, if it is in them. */
static void move_in_queue(struct pool *pool, struct pool_block *block, bool first)
{
	struct pool_addr *all_free = &block->addrs[0];

	if (list_empty(&all_free->link))
		return;
	addr_dequeue(all_free);
	addr_enqueue(pool, all_free, first);
}

static struct pool_addr *new_in_use(struct pool *pool, struct pool_block *block, uint64_t offset)
{
	struct range_addr *made;

	if (cool_reserve(pool, 1) < 0)
		return NULL;
	made = calloc(1, sizeof(*made));
	if (!made) {
		cool_unreserve(pool, 1);
		return NULL;
	}
	made->addr = (struct pool_addr){ .block = block, .state = ADDR_FREE, .heap_at = NOT_IN_HEAP };
	made->offset = offset;
	list_init(&made->addr.near);
	list_init(&made->addr.link);
	list_add_after(block->used.prev, &made->addr.link);
	table_add(&pool->in_use, &made->in_use, hash_of(block, offset));
	return &made->addr;
}

static void forget(struct pool *pool, struct pool_addr *addr)
{
	struct range_addr *gone = list_entry(addr, struct range_addr, addr);

	cool_remove(pool, addr);
	cool_unreserve(pool, 1);
	list_remove(&addr->link);
	table_remove(&pool->in_use, &gone->in_use);
	free(gone);
}

struct pool_addr *range_hold(struct pool *pool, struct pool_block *block, uint64_t offset)
{
	struct pool_addr *addr = new_in_use(pool, block, offset);

	if (addr && offset >= block->cursor) {
		block->cursor = next_offset(block, offset);
		if (offset == block->last)
			move_in_queue(pool, block, false);
	}
	return addr;
}

struct pool_addr *range_pick(struct pool *pool, struct pool_block *block)
{
	uint64_t from = block->cursor, offset = from;
	unsigned in_use = block->counts[ADDR_LEASED] + block->counts[ADDR_COOLING];
	struct pool_addr *addr;

	CHECK(block->counts[ADDR_FREE] > 0);
	for (unsigned passed = 0; range_find(pool, block, offset); passed++) {
		CHECK(passed < in_use);
		offset = next_offset(block, offset);
	}
	addr = new_in_use(pool, block, offset);
	if (!addr)
		return NULL;
	block->cursor = next_offset(block, offset);
	if (block->cursor <= from)
		move_in_queue(pool, block, false);
	return addr;
}

void range_put(struct pool *pool, struct pool_addr *addr, bool first)
{
	struct pool_block *block = addr->block;
	uint64_t offset = range_offset(addr);

	CHECK(addr->state == ADDR_FREE);
	forget(pool, addr);
	if (!first || offset == RANGE_BASE || block->cursor != next_offset(block, offset))
		return;
	block->cursor = offset;
	move_in_queue(pool, block, true);
}

void range_forget(struct pool *pool, struct pool_block *block)
{
	while (!list_empty(&block->used))
		forget(pool, list_entry(block->used.next, struct pool_addr, link));
}

void range_forget_all(struct pool *pool)
{
	for (unsigned i = 0; i < pool->block_count; i++)
		if (block_is_range(pool->blocks[i]))
			range_forget(pool, pool->blocks[i]);
}

static int compare_offsets(const void *a, const void *b)
{
	uint64_t x = range_offset(*(struct pool_addr *const *)a), y = range_offset(*(struct pool_addr *const *)b);

	return x < y ? -1 : x > y;
}

int range_addresses(const struct pool_block *block,
		    int (*fn)(const struct ipaddr *addr, enum addr_state state, const struct lease *lease, void *arg),
		    void *arg)
{
	unsigned in_use = block->counts[ADDR_LEASED] + block->counts[ADDR_COOLING], n = 0;
	_cleanup_free_ struct pool_addr **sorted = calloc(in_use ? in_use : 1, sizeof(struct pool_addr *));

	if (!sorted)
		return -ENOMEM;
	for (struct list *link = block->used.next; link != &block->used; link = link->next)
		sorted[n++] = list_entry(link, struct pool_addr, link);
	CHECK(n == in_use);
	qsort(sorted, n, sizeof(struct pool_addr *), compare_offsets);
	for (unsigned i = 0; i < n; i++) {
		struct ipaddr value = addr_value(sorted[i]);
		int rc = fn(&value, sorted[i]->state, sorted[i]->lease ? &sorted[i]->lease->lease : NULL, arg);

		if (rc != 0)
			return rc;
	}
	return 0;
}
