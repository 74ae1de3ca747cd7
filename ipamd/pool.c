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

static_assert((uint64_t)POOL_RANGE_COUNT_MAX * CLOUD_NICS_MAX * CLOUD_BLOCKS_MAX <= INT32_MAX / 2 + 1,
	      "the addresses of all blocks can be counted, and those in flight added");

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

struct pool *pool_new(int64_t cooldown_us, unsigned serves)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	CHECK(cooldown_us >= 0 && serves && !(serves & ~(POOL_SERVES_V4 | POOL_SERVES_V6)));
	if (!pool || table_init(&pool->leases) < 0 || table_init(&pool->in_use) < 0) {
		pool_free(pool);
		return NULL;
	}
	pool->cooldown_us = cooldown_us;
	pool->serves = serves;
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		list_init(&pool->free[i]);
	return pool;
}

bool pool_serves(const struct pool *pool, enum ip_family family)
{
	return pool->serves & (family == IP_V6 ? POOL_SERVES_V6 : POOL_SERVES_V4);
}

enum ip_family pool_first_family(const struct pool *pool)
{
	return pool_serves(pool, IP_V4) ? IP_V4 : IP_V6;
}

/* Range addresses and leases; all else goes with its block or NIC. */
static void free_tables(struct pool *pool)
{
	struct table_entry *entry, *next;

	for (entry = table_next(&pool->leases, NULL); entry; entry = next) {
		next = table_next(&pool->leases, entry);
		free(table_of(entry, struct lease_entry, by_key));
	}
	table_done(&pool->leases);
	range_forget_all(pool);
	table_done(&pool->in_use);
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	free_tables(pool);
	for (unsigned i = 0; i < pool->block_count; i++)
		free(pool->blocks[i]);
	for (unsigned i = 0; i < pool->nic_count; i++)
		free(pool->nics[i]);
	free(pool->blocks);
	free(pool->cooling);
	free(pool);
}

/* ---- NICs ---- */

/* Where a NIC of that slot is, or belongs. */
static unsigned nic_position(const struct pool *pool, unsigned slot)
{
	unsigned i = 0;

	while (i < pool->nic_count && pool->nics[i]->pub.slot < slot)
		i++;
	return i;
}

struct held_nic *pool_find_nic(const struct pool *pool, unsigned slot)
{
	unsigned i = nic_position(pool, slot);

	return i < pool->nic_count && pool->nics[i]->pub.slot == slot ? pool->nics[i] : NULL;
}

static struct held_nic *get_nic(const struct pool *pool, unsigned slot)
{
	struct held_nic *nic = pool_find_nic(pool, slot);

	CHECK(nic);
	return nic;
}

static void insert_nic(struct pool *pool, struct held_nic *nic)
{
	unsigned at = nic_position(pool, nic->pub.slot);

	CHECK(pool->nic_count < CLOUD_NICS_MAX);
	memmove(&pool->nics[at + 1], &pool->nics[at], (pool->nic_count - at) * sizeof(pool->nics[0]));
	pool->nics[at] = nic;
	pool->nic_count++;
}

static void extract_nic(struct pool *pool, const struct held_nic *nic)
{
	unsigned at = nic_position(pool, nic->pub.slot);

	CHECK(at < pool->nic_count && pool->nics[at] == nic);
	pool->nic_count--;
	memmove(&pool->nics[at], &pool->nics[at + 1], (pool->nic_count - at) * sizeof(pool->nics[0]));
}

static struct pool_nic *new_nic(struct pool *pool, unsigned slot, int64_t now_us)
{
	struct held_nic *nic;

	CHECK(!pool_find_nic(pool, slot));
	if (pool->nic_count == CLOUD_NICS_MAX || !(nic = calloc(1, sizeof(*nic))))
		return NULL;
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		list_init(&nic->free[i]);
	nic->pub.slot = slot;
	nic->pub.since_us = now_us;
	insert_nic(pool, nic);
	return &nic->pub;
}

static void describe_again(struct pool_nic *nic, const struct cloud_nic *from)
{
	nic->closed = from->closed;
	nic->primary_addr6 = from->primary_addr6;
	nic->subnet6 = from->subnet6;
	nic->gateway6 = from->gateway6;
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
	describe_again(nic, from);
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

/* What a mutation may bring; @wants NULL: nothing. */
static void set_incoming(struct pool_nic *nic, const struct cloud_want *wants)
{
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		nic->incoming_units[i] = 0;
		nic->incoming[i] = 0;
		if (!wants || wants[i].count == 0)
			continue;
		/* More than CLOUD_BLOCKS_MAX is not held of what comes. */
		nic->incoming_units[i] = wants[i].count < CLOUD_BLOCKS_MAX ? wants[i].count : CLOUD_BLOCKS_MAX;
		nic->incoming[i] = nic->incoming_units[i] * pool_block_size(ip_family_at(i), wants[i].len);
	}
}

const struct pool_nic *pool_nic_attaching(struct pool *pool, unsigned slot, const struct cloud_want *wants,
					  int64_t now_us)
{
	struct pool_nic *nic = new_nic(pool, slot, now_us);

	if (!nic)
		return NULL;
	nic->state = NIC_ATTACHING;
	nic->busy = NIC_BUSY_ATTACH;
	set_incoming(nic, wants);
	return nic;
}

int pool_nic_attached(struct pool *pool, unsigned placeholder_slot, const struct cloud_nic *from, int64_t now_us)
{
	struct held_nic *nic = get_nic(pool, placeholder_slot);

	CHECK(nic->pub.state == NIC_ATTACHING);
	if (from->slot != placeholder_slot && pool_find_nic(pool, from->slot))
		return -EEXIST;
	extract_nic(pool, nic);
	describe_nic(&nic->pub, from);
	insert_nic(pool, nic);
	nic->pub.busy = NIC_IDLE;
	set_incoming(&nic->pub, NULL);
	pool_nic_set_state(pool, nic->pub.slot, NIC_CONFIGURING, now_us);
	return 0;
}

void pool_nic_remove(struct pool *pool, unsigned slot)
{
	struct held_nic *nic = get_nic(pool, slot);

	CHECK(nic->pub.leased_count == 0);
	pool_drop_blocks(pool, nic);
	extract_nic(pool, nic);
	free(nic);
}

/* After something that the use of its blocks follows from. */
static void update_uses(struct pool *pool, const struct held_nic *nic)
{
	for (unsigned i = 0; i < pool->block_count; i++)
		if (pool->blocks[i]->nic == nic)
			block_update_use(pool, pool->blocks[i]);
}

void pool_nic_set_state(struct pool *pool, unsigned slot, enum nic_state state, int64_t now_us)
{
	struct held_nic *held = get_nic(pool, slot);
	struct pool_nic *nic = &held->pub;

	if (nic->state == state)
		return;
	CHECK(nic_edges[nic->state] & BIT(state));
	CHECK(state != NIC_DETACHING || (nic->leased_count == 0 && nic->cooling_count == 0 && !nic->primary));
	nic->state = state;
	nic->since_us = now_us;
	update_uses(pool, held);
}

bool pool_nic_update(struct pool *pool, unsigned slot, const struct cloud_nic *from)
{
	struct held_nic *held = get_nic(pool, slot);
	const struct pool_nic *nic = &held->pub;
	bool changed = nic->closed != from->closed || !ipaddr_equal(&nic->primary_addr6, &from->primary_addr6) ||
		       prefix_cmp(&nic->subnet6, &from->subnet6) != 0 || !ipaddr_equal(&nic->gateway6, &from->gateway6);

	describe_again(&held->pub, from);
	update_uses(pool, held);
	return changed;
}

void pool_nic_set_busy(struct pool *pool, unsigned slot, enum nic_busy busy, const struct cloud_want *wants)
{
	struct pool_nic *nic = &get_nic(pool, slot)->pub;

	CHECK(nic->state != NIC_FOREIGN);
	CHECK(busy == NIC_IDLE || nic->busy == NIC_IDLE);
	nic->busy = busy;
	set_incoming(nic, busy == NIC_IDLE ? NULL : wants);
}

void pool_nic_set_stale(struct pool *pool, unsigned slot, bool stale)
{
	get_nic(pool, slot)->pub.stale = stale;
}

const struct pool_nic *pool_nic_by_slot(const struct pool *pool, unsigned slot)
{
	const struct held_nic *nic = pool_find_nic(pool, slot);

	return nic ? &nic->pub : NULL;
}

const struct pool_nic *pool_nic_by_id(const struct pool *pool, const char *id)
{
	for (unsigned i = 0; i < pool->nic_count; i++)
		if (pool->nics[i]->pub.id[0] && str_equal(pool->nics[i]->pub.id, id))
			return &pool->nics[i]->pub;
	return NULL;
}

const struct pool_nic *pool_nic_next(const struct pool *pool, const struct pool_nic *after)
{
	unsigned i = after ? nic_position(pool, after->slot) + 1 : 0;

	return i < pool->nic_count ? &pool->nics[i]->pub : NULL;
}

/* ---- counts ---- */

void pool_count(const struct pool *pool, enum ip_family family, struct pool_counts *ret)
{
	unsigned at = ip_index(family);
	const unsigned(*sums)[ADDR_STATE_COUNT] = pool->sums[at];
	struct pool_counts counts = { .free = sums[USE_LEASE][ADDR_FREE],
				      .pending = sums[USE_SOON][ADDR_FREE],
				      .unleasable = sums[USE_KEEP][ADDR_FREE],
				      .lost = sums[USE_LOST][ADDR_LEASED],
				      .reserved = pool->reserved[at] };

	for (unsigned use = 0; use < BLOCK_USE_COUNT; use++) {
		counts.leased += sums[use][ADDR_LEASED];
		counts.cooling += sums[use][ADDR_COOLING];
		for (unsigned i = 0; i < ADDR_STATE_COUNT && (use == USE_LEASE || use == USE_SOON || use == USE_KEEP);
		     i++)
			counts.total += sums[use][i];
	}
	for (unsigned i = 0; i < pool->nic_count; i++)
		counts.incoming += pool->nics[i]->pub.incoming[at];
	*ret = counts;
}
