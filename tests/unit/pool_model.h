/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the pool as a plain table
 *
 * What the pool must do, done the slow way: one row for each address, also of ranges, and a search through all of them for
 * each question. Whoever stands in a line has a stamp; the lowest one is next. Nothing of this is shared with the pool.
 */
#ifndef TESTS_UNIT_POOL_MODEL_H
#define TESTS_UNIT_POOL_MODEL_H

#include "tests/unit/pools.h"

#include <string.h>

#include "berth/str.h"

#define MODEL_NICS   2U
#define MODEL_PODS   90U
#define MODEL_BLOCKS 8U
#define MODEL_ADDRS  1100U
#define NONE         UINT32_MAX

struct model_addr {
	unsigned block;
	uint64_t offset;
	struct ipaddr value;
	enum addr_state state;
	int64_t stamp;    /* FREE, kept one by one: its place in line */
	int64_t until_us; /* COOLING */
	uint64_t turn;    /* COOLING: which of two that end together began first */
	bool flushing;    /* COOLING */
	unsigned pod;     /* LEASED */
};

struct model_block {
	struct prefix prefix;
	unsigned nic, family, first, count; /* its rows */
	bool held, range;
	enum block_state state;
	uint64_t cursor; /* a range */
	bool in_line;    /* the same: its place is stamp */
	int64_t stamp;
};

struct model_pod {
	bool up, reserved;
	unsigned addrs[IP_FAMILIES]; /* rows; NONE */
};

struct model {
	unsigned serves;
	enum nic_state nics[MODEL_NICS];
	bool closed[MODEL_NICS];
	struct model_block blocks[MODEL_BLOCKS];
	struct model_addr addrs[MODEL_ADDRS];
	struct model_pod pods[MODEL_PODS];
	unsigned block_count, addr_count;
	int64_t back, front; /* the next stamps at either end of the lines */
	uint64_t turn;
};

static inline struct model_block *block_of(struct model *m, unsigned addr)
{
	return &m->blocks[m->addrs[addr].block];
}

static inline bool is_served(const struct model *m, unsigned family)
{
	return m->serves & (family ? POOL_SERVES_V6 : POOL_SERVES_V4);
}

static inline bool is_leasable(const struct model *m, const struct model_block *block)
{
	return block->held && is_served(m, block->family) && block->state == BLOCK_READY &&
	       m->nics[block->nic] == NIC_READY && !m->closed[block->nic];
}

static inline unsigned in_state(const struct model *m, const struct model_block *block, enum addr_state state)
{
	unsigned n = 0;

	for (unsigned i = 0; i < block->count; i++)
		n += m->addrs[block->first + i].state == state;
	return n;
}

/* Addresses that can be leased: the base of a range is there, but only the store may say that somebody has it. */
static inline unsigned size_of(const struct model_block *block)
{
	return block->count - block->range;
}

static inline unsigned free_in(const struct model *m, const struct model_block *block)
{
	return size_of(block) - in_state(m, block, ADDR_LEASED) - in_state(m, block, ADDR_COOLING);
}

/* Blocks are added in the order of their addresses. */
static inline void model_add_block(struct model *m, unsigned nic, const char *text)
{
	struct model_block *block = &m->blocks[m->block_count];

	assert_true(m->block_count < MODEL_BLOCKS);
	*block = (struct model_block){ .prefix = pfx(text), .nic = nic, .first = m->addr_count, .cursor = 1 };
	block->family = ip_index(block->prefix.addr.family);
	block->count = (unsigned)prefix_size(&block->prefix);
	block->range = block->count > POOL_BLOCK_SIZE_MAX;
	assert_true(m->addr_count + block->count <= MODEL_ADDRS);
	for (unsigned i = 0; i < block->count; i++)
		m->addrs[m->addr_count++] = (struct model_addr){ .block = m->block_count,
								 .offset = i,
								 .value = ipaddr_add(&block->prefix.addr, i) };
	m->block_count++;
}

/* ---- lines ---- */

static inline uint64_t behind(const struct model_block *block, uint64_t offset)
{
	return offset + 1 == block->count ? 1 : offset + 1;
}

/* A range joins the line at its end when it can be leased from, and leaves it when not. */
static inline void line_up_range(struct model *m, struct model_block *block)
{
	bool should = is_leasable(m, block) && free_in(m, block) > 0;

	if (should && !block->in_line)
		block->stamp = m->back++;
	block->in_line = should;
}

/* After the state of a block or NIC changed; @was: leasable before. */
static inline void line_up(struct model *m, struct model_block *block, bool was)
{
	if (block->range)
		line_up_range(m, block);
	for (unsigned i = 0; i < block->count && !was && is_leasable(m, block); i++)
		if (m->addrs[block->first + i].state == ADDR_FREE)
			m->addrs[block->first + i].stamp = m->back++;
}

/* The address that the next pod gets; @nic NONE: any. */
static inline unsigned next_of(struct model *m, unsigned family, unsigned nic)
{
	unsigned best = NONE;
	int64_t stamp = INT64_MAX;
	struct model_block *range = NULL;

	for (unsigned i = 0; i < m->addr_count; i++) {
		struct model_block *block = block_of(m, i);

		if (block->family != family || !is_leasable(m, block) || (nic != NONE && block->nic != nic))
			continue;
		if (block->range ? !block->in_line || block->stamp >= stamp
				 : m->addrs[i].state != ADDR_FREE || m->addrs[i].stamp >= stamp)
			continue;
		best = i;
		range = block->range ? block : NULL;
		stamp = range ? range->stamp : m->addrs[i].stamp;
	}
	if (!range)
		return best;
	best = (unsigned)range->cursor;
	while (m->addrs[range->first + best].state != ADDR_FREE)
		best = (unsigned)behind(range, best);
	return range->first + best;
}

/* ---- what happens to an address ---- */

static inline void model_lease(struct model *m, unsigned at, unsigned pod, bool restored)
{
	struct model_addr *addr = &m->addrs[at];
	struct model_block *block = block_of(m, at);
	uint64_t was = block->cursor;

	if (block->range && addr->state == ADDR_FREE && (!restored || addr->offset >= was)) {
		block->cursor = behind(block, addr->offset);
		if (block->cursor <= was && block->in_line)
			block->stamp = m->back++;
	}
	addr->state = ADDR_LEASED;
	addr->pod = pod;
	if (block->range)
		line_up_range(m, block);
	m->pods[pod].up = true;
	m->pods[pod].addrs[block->family] = at;
}

static inline void model_cool(struct model *m, unsigned at, int64_t until_us)
{
	struct model_addr *addr = &m->addrs[at];
	struct model_block *block = block_of(m, at);

	if (block->range && addr->state == ADDR_FREE && addr->offset >= block->cursor) {
		uint64_t was = block->cursor;

		block->cursor = behind(block, addr->offset);
		if (block->cursor <= was && block->in_line)
			block->stamp = m->back++;
	}
	addr->state = ADDR_COOLING;
	addr->until_us = until_us;
	addr->turn = m->turn++;
	addr->flushing = false;
	if (block->range)
		line_up_range(m, block);
}

static inline void model_free(struct model *m, unsigned at, bool first)
{
	struct model_addr *addr = &m->addrs[at];
	struct model_block *block = block_of(m, at);

	addr->state = ADDR_FREE;
	if (!block->range) {
		addr->stamp = first ? m->front-- : m->back++;
		return;
	}
	line_up_range(m, block);
	if (first && addr->offset != 0 && block->cursor == behind(block, addr->offset)) {
		block->cursor = addr->offset;
		if (block->in_line)
			block->stamp = m->front--;
	}
}

/* The address whose cooldown ends first and is not being flushed; NONE. */
static inline unsigned next_rested(const struct model *m)
{
	unsigned best = NONE;

	for (unsigned i = 0; i < m->addr_count; i++) {
		const struct model_addr *addr = &m->addrs[i];

		if (addr->state != ADDR_COOLING || addr->flushing)
			continue;
		if (best == NONE || addr->until_us < m->addrs[best].until_us ||
		    (addr->until_us == m->addrs[best].until_us && addr->turn < m->addrs[best].turn))
			best = i;
	}
	return best;
}

static inline void model_forget_block(struct model *m, struct model_block *block)
{
	block->held = false;
	block->in_line = false;
	block->cursor = 1;
	for (unsigned i = 0; i < block->count; i++)
		m->addrs[block->first + i].state = ADDR_FREE;
}

/* ---- comparing ---- */

static inline struct pool_counts model_count(const struct model *m, unsigned family)
{
	struct pool_counts c = { 0 };

	for (unsigned b = 0; b < m->block_count; b++) {
		const struct model_block *block = &m->blocks[b];
		enum nic_state nic = m->nics[block->nic];
		unsigned leased = in_state(m, block, ADDR_LEASED), cooling = in_state(m, block, ADDR_COOLING);
		bool lost = block->state == BLOCK_LOST || nic == NIC_LOST;

		if (!block->held || block->family != family)
			continue;
		c.leased += leased;
		c.cooling += cooling;
		c.lost += lost ? leased : 0;
		if (lost || block->state == BLOCK_RELEASING)
			continue;
		c.total += size_of(block);
		if (is_leasable(m, block))
			c.free += free_in(m, block);
		else if (block->state == BLOCK_DRAINING || nic == NIC_DRAINING || m->closed[block->nic] ||
			 !is_served(m, family))
			c.unleasable += free_in(m, block);
		else
			c.pending += free_in(m, block);
	}
	for (unsigned p = 0; p < MODEL_PODS; p++)
		c.reserved += m->pods[p].up && m->pods[p].reserved && m->pods[p].addrs[family] != NONE;
	return c;
}

static inline void assert_same_counts(const struct model *m, const struct pool *pool)
{
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		struct pool_counts is = count_of(pool, ip_family_at(i)), should = model_count(m, i);

		if (memcmp(&is, &should, sizeof(is)) != 0)
			fail_msg("v%u is: total %u free %u leased %u cooling %u pending %u unleasable %u reserved %u "
				 "lost %u,"
				 " should: total %u free %u leased %u cooling %u pending %u unleasable %u reserved %u "
				 "lost %u",
				 ip_family_at(i), is.total, is.free, is.leased, is.cooling, is.pending, is.unleasable,
				 is.reserved, is.lost, should.total, should.free, should.leased, should.cooling,
				 should.pending, should.unleasable, should.reserved, should.lost);
	}
}

struct comparison {
	struct model *m;
	const struct pool *pool;
	const struct model_block *block;
	unsigned seen;
};

static inline int compare_addr(const struct ipaddr *value, enum addr_state state, const struct lease *lease, void *arg)
{
	struct comparison *c = arg;
	unsigned at = c->block->first + (unsigned)prefix_offset(&c->block->prefix, value);

	assert_int_equal(state, c->m->addrs[at].state);
	if (lease)
		assert_string_equal(lease->key.container, key_of(c->m->addrs[at].pod).container);
	c->seen++;
	return 0;
}

static inline void assert_same_addresses(struct model *m, const struct pool *pool)
{
	for (unsigned b = 0; b < m->block_count; b++) {
		struct comparison c = { m, pool, &m->blocks[b], 0 };
		unsigned shown = c.block->range ? size_of(c.block) - free_in(m, c.block) : c.block->count;

		assert_int_equal(pool_addresses(pool, &c.block->prefix, compare_addr, &c), 0);
		assert_int_equal(c.seen, c.block->held ? shown : 0);
	}
}

#endif
