/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/egress.h"

#include <assert.h>

#include "ipamd/pool.h"

#define FLUSHING INT64_MAX

static_assert(EGRESS_SIZE == 1U << (32 - 22) && EGRESS_SIZE == 1U << (128 - 118), "the size of both ranges");

struct prefix egress_range(enum ip_family family)
{
	struct prefix range = { .addr = { .family = IP_V6, .bytes = { 0xfd, [13] = 0xac } }, .len = 118 };

	if (family == IP_V4)
		range = (struct prefix){ .addr = ipaddr_v4(UINT32_C(0xa9feac00)), .len = 22 };
	return range;
}

static bool is_in_range(const struct ipaddr *addr)
{
	const struct prefix range = egress_range(addr->family);

	return prefix_contains(&range, addr);
}

bool egress_has(const struct ipaddr *addr)
{
	return addr->family != IP_NONE && is_in_range(addr);
}

/* Of an address that is in its range. */
static unsigned offset_of(const struct ipaddr *addr)
{
	const struct prefix range = egress_range(addr->family);

	return (unsigned)prefix_offset(&range, addr);
}

/* ---- leases ---- */

struct search {
	const struct ipaddr *addr;
	const struct lease *found;
};

static int find_lease(const struct lease *lease, void *arg)
{
	struct search *search = arg;

	if (!ipaddr_equal(&lease->egress, search->addr))
		return 0;
	search->found = lease;
	return 1;
}

const struct lease *egress_of(const struct pool *pool, const struct ipaddr *addr)
{
	struct search search = { .addr = addr };

	if (egress_has(addr))
		(void)pool_leases(pool, find_lease, &search);
	return search.found;
}

static int count_lease(const struct lease *lease, void *arg)
{
	unsigned *counts = arg;

	if (lease->egress.family != IP_NONE)
		counts[ip_index(lease->egress.family)]++;
	return 0;
}

unsigned egress_count(const struct pool *pool, enum ip_family family)
{
	unsigned counts[IP_FAMILIES] = { 0 };

	(void)pool_leases(pool, count_lease, counts);
	return counts[ip_index(family)];
}

void egress_addrs(const struct lease *lease, struct ipaddr ret[static IP_FAMILIES])
{
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		ret[i] = lease->addrs[i];
	if (lease->egress.family != IP_NONE && ret[ip_index(lease->egress.family)].family == IP_NONE)
		ret[ip_index(lease->egress.family)] = lease->egress;
}

bool egress_split(struct lease *lease)
{
	bool left = false;

	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		if (egress_has(&lease->addrs[i])) {
			lease->egress = lease->addrs[i];
			lease->addrs[i] = (struct ipaddr){ 0 };
		}
		left = left || lease->addrs[i].family != IP_NONE;
	}
	return left;
}

/* ---- one that is free ---- */

struct taken {
	enum ip_family family;
	bool at[EGRESS_SIZE];
};

static int take(const struct lease *lease, void *arg)
{
	struct taken *taken = arg;

	if (lease->egress.family == taken->family && is_in_range(&lease->egress))
		taken->at[offset_of(&lease->egress)] = true;
	return 0;
}

bool egress_pick(struct egress *egress, const struct pool *pool, enum ip_family family, struct ipaddr *ret)
{
	const struct prefix range = egress_range(family);
	struct egress_rests *rests = &egress->rests[ip_index(family)];
	struct taken taken = { .family = family };

	(void)pool_leases(pool, take, &taken);
	/* The first address of a range is not a host's, nor is the last one of IPv4's. */
	taken.at[0] = taken.at[EGRESS_SIZE - 1] = true;
	for (unsigned i = 1; i <= EGRESS_SIZE; i++) {
		unsigned offset = (rests->last + i) % EGRESS_SIZE;

		if (taken.at[offset] || rests->until[offset])
			continue;
		rests->last = offset;
		*ret = ipaddr_add(&range.addr, offset);
		return true;
	}
	egress->exhausted[ip_index(family)]++;
	return false;
}

/* ---- rest ---- */

void egress_rest(struct egress *egress, const struct ipaddr *addr, int64_t until_us)
{
	struct egress_rests *rests;
	int64_t *until;

	if (!egress_has(addr))
		return;
	rests = &egress->rests[ip_index(addr->family)];
	until = &rests->until[offset_of(addr)];
	rests->count += *until == 0;
	if (*until == FLUSHING || *until < until_us)
		*until = until_us > 0 ? until_us : 1;
	if (!rests->next_us || *until < rests->next_us)
		rests->next_us = *until;
}

int64_t egress_next_rested(const struct egress *egress)
{
	int64_t next = FLUSHING;

	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		if (egress->rests[f].next_us && egress->rests[f].next_us < next)
			next = egress->rests[f].next_us;
	}
	return next;
}

/* Return: how many of those that have rested were moved to @ret. */
static unsigned begin_of(struct egress_rests *rests, const struct ipaddr *first, int64_t now_us, struct ipaddr *ret,
			 unsigned max)
{
	int64_t next_us = FLUSHING;
	unsigned n = 0;

	for (unsigned i = 0; i < EGRESS_SIZE; i++) {
		if (rests->until[i] && rests->until[i] <= now_us && n < max) {
			rests->until[i] = FLUSHING;
			ret[n++] = ipaddr_add(first, i);
		} else if (rests->until[i] && rests->until[i] < next_us) {
			next_us = rests->until[i];
		}
	}
	rests->next_us = next_us == FLUSHING ? 0 : next_us;
	return n;
}

unsigned egress_flush_begin(struct egress *egress, int64_t now_us, struct ipaddr *ret, unsigned max)
{
	unsigned n = 0;

	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		const struct prefix range = egress_range(ip_family_at(f));
		struct egress_rests *rests = &egress->rests[f];

		if (rests->next_us && rests->next_us <= now_us)
			n += begin_of(rests, &range.addr, now_us, ret + n, max - n);
	}
	return n;
}

void egress_flush_end(struct egress *egress, const struct ipaddr *addr)
{
	struct egress_rests *rests;

	if (!egress_has(addr))
		return;
	rests = &egress->rests[ip_index(addr->family)];
	if (rests->until[offset_of(addr)] != FLUSHING)
		return;
	rests->until[offset_of(addr)] = 0;
	rests->count--;
}
