/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "berth/check.h"
#include "ipamd/pool_impl.h"

#define BIT(n) (1U << (unsigned)(n))

#define BLOCKS_FIRST 16U                                 /* room before the array of blocks grows; it doubles */
#define BLOCKS_MAX   (CLOUD_NICS_MAX * CLOUD_BLOCKS_MAX) /* what the NICs can hold between them */

static const unsigned block_edges[BLOCK_STATE_COUNT] = {
	[BLOCK_PENDING] = BIT(BLOCK_READY) | BIT(BLOCK_LOST),
	[BLOCK_READY] = BIT(BLOCK_DRAINING) | BIT(BLOCK_LOST),
	[BLOCK_DRAINING] = BIT(BLOCK_READY) | BIT(BLOCK_RELEASING) | BIT(BLOCK_LOST),
	[BLOCK_RELEASING] = BIT(BLOCK_PENDING) | BIT(BLOCK_READY) | BIT(BLOCK_DRAINING) | BIT(BLOCK_LOST),
	[BLOCK_LOST] = BIT(BLOCK_PENDING),
};

/* ---- what a block is good for ---- */

enum block_use block_use_of(const struct pool *pool, const struct pool_block *block)
{
	enum nic_state nic = block->nic->pub.state;

	if (block->state == BLOCK_LOST || nic == NIC_LOST)
		return USE_LOST;
	if (block->state == BLOCK_RELEASING || nic == NIC_DETACHING)
		return USE_RETURN;
	if (block->state == BLOCK_DRAINING || nic == NIC_DRAINING || block->nic->pub.closed ||
	    !pool_serves(pool, (enum ip_family)block->prefix.addr.family))
		return USE_KEEP;
	return block->state == BLOCK_READY && nic == NIC_READY ? USE_LEASE : USE_SOON;
}

/* Its addresses as they are now: into the sums of its use, or out of them. */
static void sum_block(struct pool *pool, const struct pool_block *block, bool add)
{
	unsigned *sums = pool->sums[block_family(block)][block->use];

	for (unsigned i = 0; i < ADDR_STATE_COUNT; i++) {
		CHECK(add || sums[i] >= block->counts[i]);
		sums[i] = add ? sums[i] + block->counts[i] : sums[i] - block->counts[i];
	}
}

void block_update_use(struct pool *pool, struct pool_block *block)
{
	enum block_use was = block->use, is = block_use_of(pool, block);

	if (was == is)
		return;
	sum_block(pool, block, false);
	block->use = is;
	sum_block(pool, block, true);
	if (was == USE_LEASE)
		addr_block_dequeue(block);
	else if (is == USE_LEASE)
		addr_block_enqueue(pool, block);
}

/* ---- finding ---- */

/* The first block that starts behind @addr. */
static unsigned block_position(const struct pool *pool, const struct ipaddr *addr)
{
	unsigned low = 0, high = pool->block_count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (ipaddr_cmp(&pool->blocks[middle]->prefix.addr, addr) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct pool_block *pool_find_block(const struct pool *pool, const struct ipaddr *addr)
{
	unsigned after = block_position(pool, addr);

	if (after == 0 || !prefix_contains(&pool->blocks[after - 1]->prefix, addr))
		return NULL;
	return pool->blocks[after - 1];
}

/* The index of exactly that block; block_count if there is none. */
static unsigned find_exact(const struct pool *pool, const struct prefix *prefix)
{
	unsigned after = block_position(pool, &prefix->addr);

	if (after == 0 || prefix_cmp(&pool->blocks[after - 1]->prefix, prefix) != 0)
		return pool->block_count;
	return after - 1;
}

static int make_room(struct pool *pool)
{
	unsigned alloc = pool->block_alloc ? pool->block_alloc * 2 : BLOCKS_FIRST;
	struct pool_block **blocks;

	if (pool->block_count < pool->block_alloc)
		return 0;
	CHECK(pool->block_count < BLOCKS_MAX);
	blocks = reallocarray(pool->blocks, alloc, sizeof(struct pool_block *));
	if (!blocks)
		return -ENOMEM;
	pool->blocks = blocks;
	pool->block_alloc = alloc;
	return 0;
}

/* ---- coming and going ---- */

static bool overlaps_neighbour(const struct pool *pool, unsigned at, const struct prefix *prefix)
{
	return (at > 0 && prefix_overlaps(&pool->blocks[at - 1]->prefix, prefix)) ||
	       (at < pool->block_count && prefix_overlaps(&pool->blocks[at]->prefix, prefix));
}

int pool_block_add(struct pool *pool, unsigned slot, const struct prefix *prefix, int64_t now_us)
{
	struct held_nic *nic = pool_find_nic(pool, slot);
	struct pool_block *block;
	unsigned at;

	if (!addr_store_fits(prefix))
		return -EINVAL;
	if (!nic || nic->pub.state == NIC_FOREIGN)
		return -ENOENT;
	if (nic->pub.block_count[0] + nic->pub.block_count[1] == CLOUD_BLOCKS_MAX)
		return -ENOSPC;
	at = block_position(pool, &prefix->addr);
	if (overlaps_neighbour(pool, at, prefix))
		return -EEXIST;
	if (make_room(pool) < 0 || !(block = addr_store_new(pool, prefix, nic, now_us)))
		return -ENOMEM;
	memmove(&pool->blocks[at + 1], &pool->blocks[at], (pool->block_count - at) * sizeof(struct pool_block *));
	pool->blocks[at] = block;
	pool->block_count++;
	nic->pub.block_count[block_family(block)]++;
	block->use = block_use_of(pool, block);
	sum_block(pool, block, true);
	return 0;
}

/* Out of counters and queues, and freed; the caller closes the gap in pool.blocks. */
static void drop_block(struct pool *pool, struct pool_block *block)
{
	sum_block(pool, block, false);
	block->nic->pub.block_count[block_family(block)]--;
	addr_store_free(pool, block);
}

void pool_block_remove(struct pool *pool, const struct prefix *prefix)
{
	unsigned at = find_exact(pool, prefix);

	CHECK(at < pool->block_count);
	drop_block(pool, pool->blocks[at]);
	pool->block_count--;
	memmove(&pool->blocks[at], &pool->blocks[at + 1], (pool->block_count - at) * sizeof(struct pool_block *));
}

void pool_drop_blocks(struct pool *pool, const struct held_nic *nic)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < pool->block_count; i++) {
		if (pool->blocks[i]->nic == nic)
			drop_block(pool, pool->blocks[i]);
		else
			pool->blocks[kept++] = pool->blocks[i];
	}
	pool->block_count = kept;
}

void pool_block_set_state(struct pool *pool, const struct prefix *prefix, enum block_state state, int64_t now_us)
{
	unsigned at = find_exact(pool, prefix);
	struct pool_block *block;

	CHECK(at < pool->block_count);
	block = pool->blocks[at];
	if (block->state == state)
		return;
	CHECK(block_edges[block->state] & BIT(state));
	CHECK(state != BLOCK_RELEASING || block->counts[ADDR_FREE] == block->size);
	block->state = state;
	block->changed_us = now_us;
	block_update_use(pool, block);
}

/* ---- views ---- */

static struct pool_block_view view_of(const struct pool_block *block)
{
	bool supplies = block->use == USE_LEASE || block->use == USE_SOON;

	return (struct pool_block_view){
		.prefix = block->prefix,
		.state = block->state,
		.nic_slot = block->nic->pub.slot,
		.size = block->size,
		.free_count = block->counts[ADDR_FREE],
		.leased_count = block->counts[ADDR_LEASED],
		.cooling_count = block->counts[ADDR_COOLING],
		.supply_count = supplies ? block->counts[ADDR_FREE] : 0,
		.changed_us = block->changed_us,
		.idle_since_us = block->counts[ADDR_FREE] == block->size ? block->changed_us : INT64_MAX,
	};
}

bool pool_block_get(const struct pool *pool, const struct prefix *prefix, struct pool_block_view *ret)
{
	unsigned at = find_exact(pool, prefix);

	if (at == pool->block_count)
		return false;
	*ret = view_of(pool->blocks[at]);
	return true;
}

bool pool_block_of(const struct pool *pool, const struct ipaddr *addr, struct pool_block_view *ret)
{
	const struct pool_block *block = pool_find_block(pool, addr);

	if (!block)
		return false;
	*ret = view_of(block);
	return true;
}

int pool_blocks(const struct pool *pool, int (*fn)(const struct pool_block_view *block, void *arg), void *arg)
{
	for (unsigned i = 0; i < pool->block_count; i++) {
		struct pool_block_view view = view_of(pool->blocks[i]);
		int rc = fn(&view, arg);

		if (rc != 0)
			return rc;
	}
	return 0;
}
