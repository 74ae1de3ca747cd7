/* SPDX-License-Identifier: Apache-2.0 */
/* The planner's world: a pool, what the instance may have, pods that come and go. */
#ifndef TESTS_UNIT_PLAN_WORLD_H
#define TESTS_UNIT_PLAN_WORLD_H

#include "tests/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/str.h"
#include "ipamd/planner.h"
#include "ipamd/pool.h"

#define COOLDOWN_US  (30 * USEC_PER_SEC)
#define DELAY_US     (60 * USEC_PER_SEC)
#define START_US     (100000 * USEC_PER_SEC)
#define PODS_MAX     300U
#define SETTLE_STEPS 2000U /* decisions until nothing is left to do; far above what any test needs */
#define V4           0U    /* by ip_index() */
#define V6           1U

/* ---- the model ---- */

struct world {
	struct pool *pool;
	struct cloud_limits limits;
	struct plan_targets targets;
	unsigned waiting;
	int64_t now_us, grow_us, shrink_us, recover_us;
	int64_t single_until_us[IP_FAMILIES];
	uint32_t next_addr;  /* of the next IPv4 block, host order */
	uint16_t next_range; /* of the next IPv6 block: its bytes 8 and 9 */
	bool up[PODS_MAX];
	unsigned mutations, growths, drains;
	uint64_t random;
	struct plan plan; /* the last one */
};

/* NICs, units on each, length of a unit: as EC2 has them. */
static _unused_ const struct cloud_limits m5_large = { 3, true, { { 9, 32, 32 } } };
static _unused_ const struct cloud_limits t3_nano = { 2, true, { { 1, 32, 32 } } };
static _unused_ const struct cloud_limits m5_4xlarge = { 8, true, { { 29, 32, 32 } } };
static _unused_ const struct cloud_limits m5_large_prefixes = { 3, true, { { 9, 28, 32 } } };
static _unused_ const struct cloud_limits t3_nano_prefixes = { 2, true, { { 1, 28, 32 } } };
/* The same with a /80 on each NIC. */
static _unused_ const struct cloud_limits m5_large_dual = { 3, true, { { 9, 32, 32 }, { 9, 80, 128 } } };
static _unused_ const struct cloud_limits m5_large_prefixes_dual = { 3, true, { { 9, 28, 32 }, { 9, 80, 128 } } };
static _unused_ const struct cloud_limits m5_large_v6 = { 3, true, { { 0, 0, 0 }, { 9, 80, 128 } } };
/* Azure: many single addresses of each family on a NIC, and blocks of 16. */
static _unused_ const struct cloud_limits azure_dual = { 4, true, { { 63, 32, 32 }, { 63, 128, 128 } } };
static _unused_ const struct cloud_limits azure_v6 = { 4, true, { { 0, 0, 0 }, { 63, 128, 128 } } };
static _unused_ const struct cloud_limits azure_blocks = { 2, false, { { 15, 28, 32 } } };
/* GCP: alias ranges, on one NIC alone. */
static _unused_ const struct cloud_limits gcp_ranges = { 1, false, { { 100, 27, 32 } } };

static inline bool serves(const struct cloud_limits *limits, unsigned family)
{
	return limits->units[family].per_nic_max > 0;
}

static inline void open_nic(struct world *w, unsigned slot)
{
	struct cloud_nic nic = { .slot = slot, .primary = slot == 0, .attached = true };

	(void)snprintf(nic.id, sizeof(nic.id), "nic-%u", slot);
	assert_non_null(pool_nic_add(w->pool, &nic, w->now_us));
	pool_nic_set_state(w->pool, slot, NIC_READY, w->now_us);
}

static inline struct world *world_new(const struct cloud_limits *limits, unsigned warm)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->pool = pool_new(COOLDOWN_US,
			   (serves(limits, V4) ? POOL_SERVES_V4 : 0) | (serves(limits, V6) ? POOL_SERVES_V6 : 0));
	assert_non_null(w->pool);
	w->limits = *limits;
	w->targets = (struct plan_targets){ .warm_ips = warm, .max_pods = 110, .release_delay_us = DELAY_US };
	w->now_us = START_US;
	w->next_addr = 0x0a000000U;
	w->random = 1;
	open_nic(w, 0);
	return w;
}

static inline void world_free(struct world *w)
{
	pool_free(w->pool);
	free(w);
}

#define _cleanup_world_ _cleanup_(world_done)
static inline void world_done(struct world **w)
{
	if (*w)
		world_free(*w);
}

static inline unsigned roll(struct world *w, unsigned below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (unsigned)(w->random % below);
}

static inline uint64_t test_seed(void)
{
	const char *given = getenv("BERTH_TEST_SEED");
	uint64_t seed = 20261123;

	if (given && str_u64(given, 1, UINT64_MAX, &seed) < 0)
		fail_msg("BERTH_TEST_SEED is no number");
	print_message("# seed %" PRIu64 " (BERTH_TEST_SEED)\n", seed);
	return seed;
}

/* Addresses of a unit of the wanted length. */
static inline unsigned unit_size_of(const struct world *w, unsigned family)
{
	return pool_block_size(ip_family_at(family), w->limits.units[family].len);
}

static inline unsigned unit_size(const struct world *w)
{
	return unit_size_of(w, V4);
}

/* Are ranges, one for each NIC, what the family buys? */
static inline bool in_ranges(const struct world *w, unsigned family)
{
	return unit_size_of(w, family) > POOL_BLOCK_SIZE_MAX && w->now_us >= w->single_until_us[family];
}

/* What asks for so many IPv4 units of the wanted length. */
struct wants {
	struct cloud_want units[IP_FAMILIES];
};

static inline struct wants wants_of(const struct world *w, unsigned count)
{
	return (struct wants){ { { count, w->limits.units[V4].len } } };
}

static inline struct ipaddr next_addr(struct world *w, unsigned family)
{
	struct ipaddr v6 = { .family = IP_V6, .bytes = { 0x20, 0x01, 0x0d, 0xb8 } };

	if (family == V4) {
		w->next_addr += 256;
		return ipaddr_v4(w->next_addr - 256);
	}
	w->next_range++;
	v6.bytes[8] = (uint8_t)(w->next_range >> 8);
	v6.bytes[9] = (uint8_t)w->next_range;
	return v6;
}

/* A block of @len on a NIC, READY if the NIC is, of addresses that nobody had. */
static inline struct prefix add_block_of(struct world *w, unsigned family, unsigned slot, unsigned len)
{
	struct ipaddr addr = next_addr(w, family);
	struct prefix prefix = prefix_of(&addr, len);

	assert_int_equal(pool_block_add(w->pool, slot, &prefix, w->now_us), 0);
	if (pool_nic_by_slot(w->pool, slot)->state == NIC_READY)
		pool_block_set_state(w->pool, &prefix, BLOCK_READY, w->now_us);
	return prefix;
}

static inline struct prefix add_block(struct world *w, unsigned slot, unsigned len)
{
	return add_block_of(w, V4, slot, len);
}

static inline void add_wants(struct world *w, unsigned slot, const struct cloud_want *wants)
{
	for (unsigned f = 0; f < IP_FAMILIES; f++)
		for (unsigned i = 0; i < wants[f].count; i++)
			(void)add_block_of(w, f, slot, wants[f].len);
}

static inline void add_blocks(struct world *w, unsigned slot, unsigned count)
{
	add_wants(w, slot, wants_of(w, count).units);
}

static inline struct pool_block_view view_of(const struct world *w, const struct prefix *block)
{
	struct pool_block_view view;

	assert_true(pool_block_get(w->pool, block, &view));
	return view;
}

static inline struct lease_key key_of(unsigned pod)
{
	struct lease_key key = { .network = "n", .ifname = "eth0" };

	(void)snprintf(key.container, sizeof(key.container), "%u", pod);
	return key;
}

static inline bool pod_up(struct world *w, unsigned pod)
{
	const struct lease_key key = key_of(pod);
	const struct pod_name name = { .name = "p" };
	bool is_new;

	w->up[pod] = pool_lease(w->pool, &key, &name, "", w->now_us, &is_new) != NULL;
	return w->up[pod];
}

/* A pod that has the address at @offset of @block. */
static inline void pod_at(struct world *w, unsigned pod, const struct prefix *block, unsigned offset)
{
	struct lease lease = { .key = key_of(pod), .state = LEASE_BOUND };

	lease.addrs[ip_index(block->addr.family)] = ipaddr_add(&block->addr, offset);
	assert_int_equal(pool_lease_restore(w->pool, &lease), 0);
	w->up[pod] = true;
}

static inline void pod_down(struct world *w, unsigned pod)
{
	const struct lease_key key = key_of(pod);

	assert_true(pool_lease_release(w->pool, &key, w->now_us, NULL));
	w->up[pod] = false;
}

/* All cooldowns end; demand does not see the time that passes. */
static inline void cool_down(struct world *w)
{
	w->now_us += COOLDOWN_US;
	(void)pool_tick(w->pool, w->now_us);
}

static inline struct pool_counts counts_in(const struct world *w, unsigned family)
{
	struct pool_counts counts;

	pool_count(w->pool, ip_family_at(family), &counts);
	return counts;
}

static inline struct pool_counts counts_of(const struct world *w)
{
	return counts_in(w, V4);
}

/* That action on that NIC; of none everything is 0. */
static inline struct plan_action action_on(const struct world *w, enum plan_kind kind, unsigned slot)
{
	for (unsigned i = 0; i < w->plan.action_count; i++)
		if (w->plan.actions[i].kind == kind && w->plan.actions[i].slot == slot)
			return w->plan.actions[i];
	return (struct plan_action){ .kind = PLAN_KIND_COUNT };
}

static inline unsigned count_actions(const struct world *w, enum plan_kind kind)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w->plan.action_count; i++)
		n += w->plan.actions[i].kind == kind;
	return n;
}

static inline bool is_mutation(enum plan_kind kind)
{
	return kind != PLAN_DRAIN && kind != PLAN_UNDRAIN;
}

/* Actions that cost a call. */
static inline unsigned count_mutations(const struct world *w)
{
	return w->plan.action_count - count_actions(w, PLAN_DRAIN) - count_actions(w, PLAN_UNDRAIN);
}

#endif
