/* SPDX-License-Identifier: Apache-2.0 */
/* Cooldowns: a binary heap, whose usual insertion (what ends last) is O(1) and whose worst one is O(log n). */
#include "ipamd/pool_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "berth/check.h"

#define COOLING_FIRST 64U /* room before the heap grows; it doubles */

int cool_reserve(struct pool *pool, unsigned count)
{
	unsigned need = pool->addr_count + count, alloc = pool->cooling_alloc ? pool->cooling_alloc : COOLING_FIRST;
	struct pool_addr **cooling;

	while (alloc < need)
		alloc *= 2;
	if (alloc > pool->cooling_alloc) {
		cooling = reallocarray(pool->cooling, alloc, sizeof(struct pool_addr *));
		if (!cooling)
			return -ENOMEM;
		pool->cooling = cooling;
		pool->cooling_alloc = alloc;
	}
	pool->addr_count = need;
	return 0;
}

void cool_unreserve(struct pool *pool, unsigned count)
{
	CHECK(pool->addr_count >= count);
	pool->addr_count -= count;
}

bool cool_before(const struct pool_addr *a, const struct pool_addr *b)
{
	return a->until_us != b->until_us ? a->until_us < b->until_us : a->turn < b->turn;
}

static void put(struct pool *pool, struct pool_addr *addr, unsigned at)
{
	pool->cooling[at] = addr;
	addr->heap_at = at;
}

static void sift_up(struct pool *pool, struct pool_addr *addr, unsigned at)
{
	while (at > 0 && cool_before(addr, pool->cooling[(at - 1) / 2])) {
		put(pool, pool->cooling[(at - 1) / 2], at);
		at = (at - 1) / 2;
	}
	put(pool, addr, at);
}

static void sift_down(struct pool *pool, struct pool_addr *addr, unsigned at)
{
	for (unsigned child = 2 * at + 1; child < pool->cooling_count; child = 2 * at + 1) {
		if (child + 1 < pool->cooling_count && cool_before(pool->cooling[child + 1], pool->cooling[child]))
			child++;
		if (!cool_before(pool->cooling[child], addr))
			break;
		put(pool, pool->cooling[child], at);
		at = child;
	}
	put(pool, addr, at);
}

void cool_add(struct pool *pool, struct pool_addr *addr)
{
	CHECK(addr->state == ADDR_COOLING && addr->heap_at == NOT_IN_HEAP);
	CHECK(pool->cooling_count < pool->addr_count);
	addr->turn = pool->turn++;
	sift_up(pool, addr, pool->cooling_count++);
}

void cool_remove(struct pool *pool, struct pool_addr *addr)
{
	unsigned at = addr->heap_at;
	struct pool_addr *moved;

	if (at == NOT_IN_HEAP)
		return;
	CHECK(at < pool->cooling_count && pool->cooling[at] == addr);
	addr->heap_at = NOT_IN_HEAP;
	moved = pool->cooling[--pool->cooling_count];
	if (moved == addr)
		return;
	if (at > 0 && cool_before(moved, pool->cooling[(at - 1) / 2]))
		sift_up(pool, moved, at);
	else
		sift_down(pool, moved, at);
}

void cool_extend(struct pool *pool, struct pool_addr *addr, int64_t until_us)
{
	if (until_us <= addr->until_us)
		return;
	cool_remove(pool, addr);
	addr->until_us = until_us;
	cool_add(pool, addr);
}

int64_t pool_next_rested(const struct pool *pool)
{
	return pool->cooling_count > 0 ? pool->cooling[0]->until_us : INT64_MAX;
}

static bool has_rested(const struct pool *pool, int64_t now_us)
{
	return pool->cooling_count > 0 && pool->cooling[0]->until_us <= now_us;
}

unsigned pool_flush_begin(struct pool *pool, int64_t now_us, struct ipaddr *ret, unsigned max)
{
	unsigned count = 0;

	while (count < max && has_rested(pool, now_us)) {
		struct pool_addr *addr = pool->cooling[0];

		cool_remove(pool, addr);
		ret[count++] = addr_value(addr);
	}
	return count;
}

void pool_flush_end(struct pool *pool, const struct ipaddr *value, int64_t now_us)
{
	struct pool_block *block = pool_find_block(pool, value);
	struct pool_addr *addr = block ? addr_find(pool, block, value) : NULL;

	if (addr && addr->state == ADDR_COOLING && addr->heap_at == NOT_IN_HEAP)
		addr_free(pool, addr, false, now_us);
}

int64_t pool_tick(struct pool *pool, int64_t now_us)
{
	while (has_rested(pool, now_us))
		addr_free(pool, pool->cooling[0], false, now_us);
	return pool_next_rested(pool);
}
