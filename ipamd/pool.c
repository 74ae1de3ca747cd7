/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "berth/check.h"
#include "berth/str.h"
#include "ipamd/pool_impl.h"

#define BIT(n) (1U << (unsigned)(n))

#define BLOCKS_FIRST 16U                                 /* room before the array of blocks grows; it doubles */
#define BLOCKS_MAX   (CLOUD_NICS_MAX * CLOUD_BLOCKS_MAX) /* what the NICs can hold between them */

static const char *const nic_state_names[] = { "attaching", "configuring", "ready", "draining",
					       "detaching", "foreign",     "lost" };
static_assert(ARRAY_SIZE(nic_state_names) == NIC_STATE_COUNT, "a name per state");
static const char *const block_state_names[] = { "pending", "ready", "draining", "releasing", "lost" };
static_assert(ARRAY_SIZE(block_state_names) == BLOCK_STATE_COUNT, "a name per state");
static const char *const addr_state_names[] = { "free", "leased", "cooling" };
static_assert(ARRAY_SIZE(addr_state_names) == ADDR_STATE_COUNT, "a name per state");
static const char *const lease_state_names[] = { "reserved", "bound" };
static_assert(ARRAY_SIZE(lease_state_names) == LEASE_STATE_COUNT, "a name per state");

static const unsigned nic_edges[NIC_STATE_COUNT] = {
	[NIC_ATTACHING] = BIT(NIC_CONFIGURING) | BIT(NIC_LOST),
	[NIC_CONFIGURING] = BIT(NIC_READY) | BIT(NIC_DRAINING) | BIT(NIC_LOST),
	[NIC_READY] = BIT(NIC_DRAINING) | BIT(NIC_LOST),
	[NIC_DRAINING] = BIT(NIC_CONFIGURING) | BIT(NIC_READY) | BIT(NIC_DETACHING) | BIT(NIC_LOST),
	[NIC_DETACHING] = BIT(NIC_CONFIGURING) | BIT(NIC_READY) | BIT(NIC_DRAINING) | BIT(NIC_LOST),
	[NIC_FOREIGN] = 0,
	[NIC_LOST] = BIT(NIC_CONFIGURING),
};

static const unsigned block_edges[BLOCK_STATE_COUNT] = {
	[BLOCK_PENDING] = BIT(BLOCK_READY) | BIT(BLOCK_LOST),
	[BLOCK_READY] = BIT(BLOCK_DRAINING) | BIT(BLOCK_LOST),
	[BLOCK_DRAINING] = BIT(BLOCK_READY) | BIT(BLOCK_RELEASING) | BIT(BLOCK_LOST),
	[BLOCK_RELEASING] = BIT(BLOCK_PENDING) | BIT(BLOCK_READY) | BIT(BLOCK_DRAINING) | BIT(BLOCK_LOST),
	[BLOCK_LOST] = BIT(BLOCK_PENDING),
};

const char *nic_state_name(enum nic_state state)
{
	return (unsigned)state < NIC_STATE_COUNT ? nic_state_names[state] : "?";
}

const char *block_state_name(enum block_state state)
{
	return (unsigned)state < BLOCK_STATE_COUNT ? block_state_names[state] : "?";
}

const char *addr_state_name(enum addr_state state)
{
	return (unsigned)state < ADDR_STATE_COUNT ? addr_state_names[state] : "?";
}

const char *lease_state_name(enum lease_state state)
{
	return (unsigned)state < LEASE_STATE_COUNT ? lease_state_names[state] : "?";
}

struct pool *pool_new(int64_t cooldown_us)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	CHECK(cooldown_us >= 0);
	if (!pool)
		return NULL;
	if (lease_table_init(&pool->leases) < 0) {
		free(pool);
		return NULL;
	}
	pool->cooldown_us = cooldown_us;
	list_init(&pool->free);
	list_init(&pool->cooling);
	return pool;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	for (unsigned i = 0; i < pool->block_count; i++)
		free(pool->blocks[i]);
	for (unsigned i = 0; i < pool->nic_count; i++)
		free(pool->nics[i]);
	free(pool->blocks);
	lease_table_done(&pool->leases);
	free(pool);
}

/* ---- NICs ---- */

/* Where a NIC of that slot is, or belongs. */
static unsigned nic_position(const struct pool *pool, unsigned slot)
{
	unsigned i = 0;

	while (i < pool->nic_count && pool->nics[i]->slot < slot)
		i++;
	return i;
}

static struct pool_nic *find_nic(const struct pool *pool, unsigned slot)
{
	unsigned i = nic_position(pool, slot);

	return i < pool->nic_count && pool->nics[i]->slot == slot ? pool->nics[i] : NULL;
}

static struct pool_nic *get_nic(const struct pool *pool, unsigned slot)
{
	struct pool_nic *nic = find_nic(pool, slot);

	CHECK(nic);
	return nic;
}

static void insert_nic(struct pool *pool, struct pool_nic *nic)
{
	unsigned at = nic_position(pool, nic->slot);

	CHECK(pool->nic_count < CLOUD_NICS_MAX);
	memmove(&pool->nics[at + 1], &pool->nics[at], (pool->nic_count - at) * sizeof(pool->nics[0]));
	pool->nics[at] = nic;
	pool->nic_count++;
}

static void extract_nic(struct pool *pool, const struct pool_nic *nic)
{
	unsigned at = nic_position(pool, nic->slot);

	CHECK(at < pool->nic_count && pool->nics[at] == nic);
	pool->nic_count--;
	memmove(&pool->nics[at], &pool->nics[at + 1], (pool->nic_count - at) * sizeof(pool->nics[0]));
}

static struct pool_nic *new_nic(struct pool *pool, unsigned slot, int64_t now_us)
{
	struct pool_nic *nic;

	CHECK(!find_nic(pool, slot));
	if (pool->nic_count == CLOUD_NICS_MAX || !(nic = calloc(1, sizeof(*nic))))
		return NULL;
	nic->slot = slot;
	nic->since_us = now_us;
	insert_nic(pool, nic);
	return nic;
}

static void describe_nic(struct pool_nic *nic, const struct cloud_nic *from)
{
	CHECK(str_copy(nic->id, sizeof(nic->id), from->id) == 0);
	nic->mac = from->mac;
	nic->slot = from->slot;
	nic->primary = from->primary;
	nic->primary_addr = from->primary_addr;
	nic->subnet = from->subnet;
	nic->gateway = from->gateway;
}

const struct pool_nic *pool_nic_add(struct pool *pool, const struct cloud_nic *from, int64_t now_us)
{
	struct pool_nic *nic = new_nic(pool, from->slot, now_us);

	if (!nic)
		return NULL;
	describe_nic(nic, from);
	nic->state = from->foreign ? NIC_FOREIGN : NIC_CONFIGURING;
	return nic;
}

const struct pool_nic *pool_nic_attaching(struct pool *pool, unsigned slot, unsigned units, int64_t now_us)
{
	struct pool_nic *nic = new_nic(pool, slot, now_us);

	if (!nic)
		return NULL;
	nic->state = NIC_ATTACHING;
	nic->busy = NIC_BUSY_ATTACH;
	nic->incoming = units;
	return nic;
}

int pool_nic_attached(struct pool *pool, unsigned placeholder_slot, const struct cloud_nic *from, int64_t now_us)
{
	struct pool_nic *nic = get_nic(pool, placeholder_slot);

	CHECK(nic->state == NIC_ATTACHING);
	if (from->slot != placeholder_slot && find_nic(pool, from->slot))
		return -EEXIST;
	extract_nic(pool, nic);
	describe_nic(nic, from);
	insert_nic(pool, nic);
	nic->busy = NIC_IDLE;
	nic->incoming = 0;
	pool_nic_set_state(pool, nic->slot, NIC_CONFIGURING, now_us);
	return 0;
}

static void remove_block_at(struct pool *pool, unsigned at)
{
	struct pool_block *block = pool->blocks[at];

	addr_block_forget(pool, block);
	block->nic->block_count--;
	pool->block_count--;
	memmove(&pool->blocks[at], &pool->blocks[at + 1], (pool->block_count - at) * sizeof(struct pool_block *));
	free(block);
}

void pool_nic_remove(struct pool *pool, unsigned slot)
{
	struct pool_nic *nic = get_nic(pool, slot);

	CHECK(nic->leased_count == 0);
	for (unsigned i = pool->block_count; i-- > 0;)
		if (pool->blocks[i]->nic == nic)
			remove_block_at(pool, i);
	extract_nic(pool, nic);
	free(nic);
}

void pool_nic_set_state(struct pool *pool, unsigned slot, enum nic_state state, int64_t now_us)
{
	struct pool_nic *nic = get_nic(pool, slot);
	bool was_ready = nic->state == NIC_READY;

	if (nic->state == state)
		return;
	CHECK(nic_edges[nic->state] & BIT(state));
	CHECK(state != NIC_DETACHING || (nic->leased_count == 0 && nic->cooling_count == 0 && !nic->primary));
	nic->state = state;
	nic->since_us = now_us;
	if (was_ready == (state == NIC_READY))
		return;
	for (unsigned i = 0; i < pool->block_count; i++) {
		struct pool_block *block = pool->blocks[i];

		if (block->nic != nic || block->state != BLOCK_READY)
			continue;
		if (was_ready)
			addr_block_dequeue(pool, block);
		else
			addr_block_enqueue(pool, block);
	}
}

void pool_nic_set_busy(struct pool *pool, unsigned slot, enum nic_busy busy, unsigned incoming)
{
	struct pool_nic *nic = get_nic(pool, slot);

	CHECK(nic->state != NIC_FOREIGN);
	CHECK(busy == NIC_IDLE || nic->busy == NIC_IDLE);
	nic->busy = busy;
	nic->incoming = busy == NIC_IDLE ? 0 : incoming;
}

void pool_nic_set_stale(struct pool *pool, unsigned slot, bool stale)
{
	get_nic(pool, slot)->stale = stale;
}

const struct pool_nic *pool_nic_by_slot(const struct pool *pool, unsigned slot)
{
	return find_nic(pool, slot);
}

const struct pool_nic *pool_nic_by_id(const struct pool *pool, const char *id)
{
	for (unsigned i = 0; i < pool->nic_count; i++)
		if (pool->nics[i]->id[0] && str_equal(pool->nics[i]->id, id))
			return pool->nics[i];
	return NULL;
}

const struct pool_nic *pool_nic_next(const struct pool *pool, const struct pool_nic *after)
{
	unsigned i = after ? nic_position(pool, after->slot) + 1 : 0;

	return i < pool->nic_count ? pool->nics[i] : NULL;
}

/* ---- blocks ---- */

bool pool_block_leasable(const struct pool_block *block)
{
	return block->state == BLOCK_READY && block->nic->state == NIC_READY;
}

bool pool_block_coming(const struct pool_block *block)
{
	bool block_may = block->state == BLOCK_PENDING || block->state == BLOCK_READY;
	bool nic_may = block->nic->state == NIC_ATTACHING || block->nic->state == NIC_CONFIGURING ||
		       block->nic->state == NIC_READY;

	return block_may && nic_may && !pool_block_leasable(block);
}

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

int pool_block_add(struct pool *pool, unsigned slot, const struct prefix *prefix, int64_t now_us)
{
	struct pool_nic *nic = find_nic(pool, slot);
	struct pool_block *block;
	unsigned at;

	if (!addr_store_fits(prefix))
		return -EINVAL;
	if (!nic || nic->state == NIC_FOREIGN)
		return -ENOENT;
	if (nic->block_count == CLOUD_BLOCKS_MAX)
		return -ENOSPC;
	at = block_position(pool, &prefix->addr);
	if ((at > 0 && prefix_overlaps(&pool->blocks[at - 1]->prefix, prefix)) ||
	    (at < pool->block_count && prefix_overlaps(&pool->blocks[at]->prefix, prefix)))
		return -EEXIST;
	if (make_room(pool) < 0 || !(block = addr_store_new(prefix, nic, now_us)))
		return -ENOMEM;
	memmove(&pool->blocks[at + 1], &pool->blocks[at], (pool->block_count - at) * sizeof(struct pool_block *));
	pool->blocks[at] = block;
	pool->block_count++;
	nic->block_count++;
	return 0;
}

void pool_block_set_state(struct pool *pool, const struct prefix *prefix, enum block_state state, int64_t now_us)
{
	unsigned at = find_exact(pool, prefix);
	struct pool_block *block;
	bool was_leasable;

	CHECK(at < pool->block_count);
	block = pool->blocks[at];
	was_leasable = pool_block_leasable(block);
	if (block->state == state)
		return;
	CHECK(block_edges[block->state] & BIT(state));
	CHECK(state != BLOCK_RELEASING || block->counts[ADDR_FREE] == block->size);
	block->state = state;
	block->changed_us = now_us;
	if (was_leasable)
		addr_block_dequeue(pool, block);
	else if (pool_block_leasable(block))
		addr_block_enqueue(pool, block);
}

void pool_block_remove(struct pool *pool, const struct prefix *prefix)
{
	unsigned at = find_exact(pool, prefix);

	CHECK(at < pool->block_count);
	remove_block_at(pool, at);
}

static struct pool_block_view view_of(const struct pool_block *block)
{
	bool supplies = pool_block_leasable(block) || pool_block_coming(block);

	return (struct pool_block_view){
		.prefix = block->prefix,
		.state = block->state,
		.nic_slot = block->nic->slot,
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
