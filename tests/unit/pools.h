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

/* What pod @number gets, as text: "-" of a family that it has no address of, "-" twice when there is no lease. */
struct got {
	char v4[IPADDR_STRLEN], v6[IPADDR_STRLEN];
};

static inline struct got take_both(struct pool *pool, unsigned number, int64_t now_us)
{
	const struct pod_name pod = { .namespace = "ns", .name = "p" };
	const struct lease_key key = key_of(number);
	struct got got = { "-", "-" };
	bool is_new;
	const struct lease *lease = pool_lease(pool, &key, &pod, "/run/netns/x", now_us, &is_new);

	if (lease) {
		(void)ipaddr_str(&lease->addrs[0], got.v4);
		(void)ipaddr_str(&lease->addrs[1], got.v6);
	}
	return got;
}

/* The address of one family that pod @number gets; "-" when there is none. Overwritten by the next one. */
static inline const char *take_of(struct pool *pool, enum ip_family family, unsigned number, int64_t now_us)
{
	static struct got got;

	got = take_both(pool, number, now_us);
	return family == IP_V6 ? got.v6 : got.v4;
}

static inline const char *take(struct pool *pool, unsigned number, int64_t now_us)
{
	return take_of(pool, IP_V4, number, now_us);
}

static inline const char *take6(struct pool *pool, unsigned number, int64_t now_us)
{
	return take_of(pool, IP_V6, number, now_us);
}

static inline int64_t give(struct pool *pool, unsigned number, int64_t now_us)
{
	const struct lease_key key = key_of(number);
	int64_t until_us = 0;

	assert_true(pool_lease_release(pool, &key, now_us, &until_us));
	return until_us;
}

static inline void rest(struct pool *pool, const char *text, int64_t until_us)
{
	const struct ipaddr addr = ip(text);

	assert_int_equal(pool_cooldown_restore(pool, &addr, until_us), 0);
}

static inline int setup_serving(void **state, unsigned serves)
{
	struct pool *pool = pool_new(COOLDOWN_US, serves);

	if (!pool || check_fds_setup(state) < 0)
		return -1;
	*state = pool;
	return 0;
}

static inline int setup(void **state)
{
	return setup_serving(state, POOL_SERVES_V4);
}

static inline int setup_v6(void **state)
{
	return setup_serving(state, POOL_SERVES_V6);
}

static inline int setup_dual(void **state)
{
	return setup_serving(state, POOL_SERVES_V4 | POOL_SERVES_V6);
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

/* A test of a pool that serves v4, v6 or both. */
#define pool_test(f)      cmocka_unit_test_setup_teardown(f, setup, teardown)
#define pool_test_v6(f)   cmocka_unit_test_setup_teardown(f, setup_v6, teardown)
#define pool_test_dual(f) cmocka_unit_test_setup_teardown(f, setup_dual, teardown)

#endif
