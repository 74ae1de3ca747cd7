/* SPDX-License-Identifier: Apache-2.0 */
/* A pool for a test, checked and freed behind it, and short words for filling it. */
#ifndef TESTS_UNIT_POOLS_H
#define TESTS_UNIT_POOLS_H

#include "tests/check.h"

#include <stdio.h>

#include "berth/clock.h"
#include "berth/err.h"
#include "ipamd/pool.h"

#define COOLDOWN_US (30 * USEC_PER_SEC)
#define START_US    (1000 * USEC_PER_SEC)

static inline struct prefix pfx(const char *text)
{
	struct prefix prefix = { 0 };

	assert_int_equal(prefix_parse(text, &prefix), 0);
	return prefix;
}

static inline struct ipaddr ip(const char *text)
{
	struct ipaddr addr = { 0 };

	assert_int_equal(ipaddr_parse(text, &addr), 0);
	return addr;
}

static inline struct lease_key key_of(unsigned number)
{
	struct lease_key key = { .network = "berth", .ifname = "eth0" };

	(void)snprintf(key.container, sizeof(key.container), "pod%u", number);
	return key;
}

static inline struct cloud_nic cloud_nic_of(unsigned slot)
{
	struct cloud_nic nic = { .slot = slot, .primary = slot == 0, .attached = true };

	(void)snprintf(nic.id, sizeof(nic.id), "nic-%u", slot);
	return nic;
}

/* What a mutation asks for. */
struct wants {
	struct cloud_want units[IP_FAMILIES];
};

static inline struct wants units_v4(unsigned units, uint8_t len)
{
	return (struct wants){ { { units, len } } };
}

static inline void add_nic(struct pool *pool, unsigned slot)
{
	struct cloud_nic nic = cloud_nic_of(slot);

	assert_non_null(pool_nic_add(pool, &nic, START_US));
	pool_nic_set_state(pool, slot, NIC_READY, START_US);
}

static inline void add_block(struct pool *pool, unsigned slot, const char *text)
{
	struct prefix prefix = pfx(text);

	assert_int_equal(pool_block_add(pool, slot, &prefix, START_US), 0);
	pool_block_set_state(pool, &prefix, BLOCK_READY, START_US);
}

static inline void assert_sound(const struct pool *pool)
{
	struct err err = { 0 };

	if (pool_check(pool, &err) < 0)
		fail_msg("%s", err.msg);
}

static inline struct pool_counts count_of(const struct pool *pool, enum ip_family family)
{
	struct pool_counts counts;

	pool_count(pool, family, &counts);
	return counts;
}

static inline struct pool_counts count(const struct pool *pool)
{
	return count_of(pool, IP_V4);
}

/* The address that pod @number gets, as text; "-" when there is none. */
static _unused_ const char *take(struct pool *pool, unsigned number, int64_t now_us)
{
	static char text[IPADDR_STRLEN];
	const struct pod_name pod = { .namespace = "ns", .name = "p" };
	const struct lease_key key = key_of(number);
	bool is_new;
	const struct lease *lease = pool_lease(pool, &key, &pod, "/run/netns/x", now_us, &is_new);

	return lease ? ipaddr_str(&lease->addrs[0], text) : "-";
}

static inline int64_t give(struct pool *pool, unsigned number, int64_t now_us)
{
	const struct lease_key key = key_of(number);
	int64_t until_us = 0;

	assert_true(pool_lease_release(pool, &key, now_us, &until_us));
	return until_us;
}

static inline int setup(void **state)
{
	struct pool *pool = pool_new(COOLDOWN_US, POOL_SERVES_V4);

	if (!pool || check_fds_setup(state) < 0)
		return -1;
	*state = pool;
	return 0;
}

static inline int teardown(void **state)
{
	struct err err = { 0 };
	int rc = pool_check(*state, &err);

	if (rc < 0)
		print_error("pool_check: %s\n", err.msg);
	pool_free(*state);
	return check_fds_teardown(state) < 0 || rc < 0 ? -1 : 0;
}

#define pool_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
