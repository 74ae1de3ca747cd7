/* SPDX-License-Identifier: Apache-2.0 */
#include "addrpool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "prng.h"

enum {
	FLAG_USED = 1,     /* somebody has it */
	FLAG_KEPT = 2,     /* network, router, DNS, broadcast: the cloud's own */
	FLAG_BLOCKS = 4,   /* set aside for blocks */
	FLAG_EXPLICIT = 8, /* set aside for who names it */
};

static void keep(struct addrpool *pool, uint32_t index)
{
	if (pool->flags[index] & FLAG_KEPT)
		return;
	pool->flags[index] |= FLAG_KEPT;
	pool->free_count--;
}

int addrpool_init(struct addrpool *pool, const struct prefix *range, uint32_t head, uint32_t tail)
{
	if (range->addr.family != IP_V4 || range->len < ADDRPOOL_LEN_MIN || range->len > 30)
		return -EINVAL;
	*pool = (struct addrpool){ .range = *range, .size = (uint32_t)prefix_size(range) };
	if (head + tail > pool->size)
		return -EINVAL;
	pool->flags = calloc(pool->size, 1);
	if (!pool->flags)
		return -ENOMEM;
	pool->free_count = pool->size;
	for (uint32_t i = 0; i < head; i++)
		keep(pool, i);
	for (uint32_t i = 0; i < tail; i++)
		keep(pool, pool->size - 1 - i);
	return 0;
}

void addrpool_done(struct addrpool *pool)
{
	free(pool->flags);
	*pool = (struct addrpool){ 0 };
}

static uint32_t first_of(const struct addrpool *pool, const struct prefix *range)
{
	return (uint32_t)prefix_offset(&pool->range, &range->addr);
}

int addrpool_hold(struct addrpool *pool, const struct prefix *range, enum addrpool_hold what)
{
	if (!prefix_covers(&pool->range, range))
		return -ERANGE;
	uint32_t first = first_of(pool, range), size = (uint32_t)prefix_size(range);

	for (uint32_t i = 0; i < size; i++)
		pool->flags[first + i] |= what == ADDRPOOL_HOLD_BLOCKS ? FLAG_BLOCKS : FLAG_EXPLICIT;
	return 0;
}

int addrpool_unhold(struct addrpool *pool, const struct prefix *range)
{
	if (!prefix_covers(&pool->range, range))
		return -ERANGE;
	uint32_t first = first_of(pool, range), size = (uint32_t)prefix_size(range);

	for (uint32_t i = 0; i < size; i++)
		pool->flags[first + i] &= (uint8_t) ~(FLAG_BLOCKS | FLAG_EXPLICIT);
	return 0;
}

static void mark_used(struct addrpool *pool, uint32_t first, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++)
		pool->flags[first + i] |= FLAG_USED;
	pool->free_count -= size;
}

int addrpool_take(struct addrpool *pool, const struct prefix *range)
{
	if (!prefix_covers(&pool->range, range))
		return -ERANGE;
	uint32_t first = first_of(pool, range), size = (uint32_t)prefix_size(range);

	for (uint32_t i = 0; i < size; i++) {
		if (pool->flags[first + i] & FLAG_KEPT)
			return -EPERM;
		if (pool->flags[first + i] & FLAG_USED)
			return -EBUSY;
	}
	mark_used(pool, first, size);
	return 0;
}

int addrpool_take_any(struct addrpool *pool, struct prng *prng, struct ipaddr *ret)
{
	uint32_t start = prng_below(prng, pool->size);

	for (uint32_t i = 0; i < pool->size; i++) {
		uint32_t index = (start + i) % pool->size;

		if (pool->flags[index])
			continue;
		mark_used(pool, index, 1);
		*ret = ipaddr_add(&pool->range.addr, index);
		return 0;
	}
	return -ENOSPC;
}

/* Is every address of the block free and set aside for blocks (@held) or for nothing? */
static bool block_fits(const struct addrpool *pool, uint32_t first, uint32_t size, bool held)
{
	for (uint32_t i = 0; i < size; i++)
		if (pool->flags[first + i] != (held ? FLAG_BLOCKS : 0))
			return false;
	return true;
}

int addrpool_take_block(struct addrpool *pool, struct prng *prng, unsigned len, struct prefix *ret)
{
	assert(len <= 32);
	if (len < pool->range.len)
		return -ENOSPC;
	uint32_t size = UINT32_C(1) << (32 - len), blocks = pool->size / size;
	uint32_t start = prng_below(prng, blocks);

	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < blocks; i++) {
			uint32_t first = (start + i) % blocks * size;

			if (!block_fits(pool, first, size, pass == 0))
				continue;
			mark_used(pool, first, size);
			*ret = (struct prefix){ .addr = ipaddr_add(&pool->range.addr, first), .len = (uint8_t)len };
			return 0;
		}
	}
	return -ENOSPC;
}

void addrpool_give(struct addrpool *pool, const struct prefix *range)
{
	assert(prefix_covers(&pool->range, range));
	uint32_t first = first_of(pool, range), size = (uint32_t)prefix_size(range);

	for (uint32_t i = 0; i < size; i++) {
		assert(pool->flags[first + i] & FLAG_USED);
		pool->flags[first + i] &= (uint8_t)~FLAG_USED;
	}
	pool->free_count += size;
}
