/* SPDX-License-Identifier: Apache-2.0 */
/* Pools that serve both families, or v6 alone: leases of an address each, all or none. */
#include "tests/unit/pools.h"

#include <errno.h>

static void assert_got(struct got got, const char *v4, const char *v6)
{
	assert_string_equal(got.v4, v4);
	assert_string_equal(got.v6, v6);
}

static void assert_same_counts(const struct pool_counts *a, const struct pool_counts *b)
{
	assert_int_equal(a->total, b->total);
	assert_int_equal(a->free, b->free);
	assert_int_equal(a->leased, b->leased);
	assert_int_equal(a->cooling, b->cooling);
	assert_int_equal(a->reserved, b->reserved);
}

/* ---- what is served ---- */

static void test_pool_serves__each(void **state)
{
	struct pool *v4 = pool_new(0, POOL_SERVES_V4), *v6 = pool_new(0, POOL_SERVES_V6),
		    *both = pool_new(0, POOL_SERVES_V4 | POOL_SERVES_V6);

	(void)state;
	assert_true(pool_serves(v4, IP_V4) && !pool_serves(v4, IP_V6));
	assert_true(!pool_serves(v6, IP_V4) && pool_serves(v6, IP_V6));
	assert_true(pool_serves(both, IP_V4) && pool_serves(both, IP_V6));
	pool_free(v4);
	pool_free(v6);
	pool_free(both);
}

static void test_pool_lease__family_that_is_not_served(void **state)
{
	struct pool *pool = *state;
	const struct prefix v6 = pfx("2001:db8::/80");
	struct pool_block_view view;

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/31");
	add_block(pool, 0, "2001:db8::/80");
	add_block(pool, 0, "2001:db8:1::1/128");
	assert_got(take_both(pool, 1, START_US), "10.0.0.0", "-");
	assert_int_equal(count_of(pool, IP_V6).free, 0);
	assert_int_equal(count_of(pool, IP_V6).pending, 0);
	assert_int_equal(count_of(pool, IP_V6).unleasable, POOL_RANGE_COUNT_MAX + 1);
	assert_int_equal(count_of(pool, IP_V6).total, POOL_RANGE_COUNT_MAX + 1);
	assert_true(pool_block_get(pool, &v6, &view));
	assert_int_equal(view.supply_count, 0);
	assert_int_equal(view.free_count, POOL_RANGE_COUNT_MAX);
	pool_block_set_state(pool, &v6, BLOCK_DRAINING, START_US);
	pool_block_set_state(pool, &v6, BLOCK_RELEASING, START_US);
	pool_block_remove(pool, &v6);
	assert_int_equal(count_of(pool, IP_V6).total, 1);
	assert_int_equal(pool_nic_by_slot(pool, 0)->block_count[1], 1);
}

/* A daemon that served both comes back and serves one: its pods keep what they have. */
static void test_pool_lease_restore__family_that_is_not_served(void **state)
{
	struct pool *pool = *state;
	const struct lease lease = { .key = key_of(1), .addrs = { ip("10.0.0.0"), ip("2001:db8::7") } };

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/31");
	add_block(pool, 0, "2001:db8::/80");
	assert_int_equal(pool_lease_restore(pool, &lease), 0);
	assert_ptr_equal(pool_lease_by_addr(pool, &lease.addrs[1]), pool_lease_find(pool, &lease.key));
	assert_int_equal(count_of(pool, IP_V6).leased, 1);
	assert_int_equal(count_of(pool, IP_V6).reserved, 1);
	assert_sound(pool);
	(void)give(pool, 1, START_US);
	assert_int_equal(count_of(pool, IP_V6).cooling, 1);
	assert_int_equal(pool_tick(pool, START_US + COOLDOWN_US), INT64_MAX);
	assert_int_equal(count_of(pool, IP_V6).free, 0);
	assert_int_equal(count_of(pool, IP_V6).unleasable, POOL_RANGE_COUNT_MAX);
}

static void test_pool_lease__v6_alone(void **state)
{
	struct pool *pool = *state;

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/31");
	assert_got(take_both(pool, 1, START_US), "-", "-");
	add_block(pool, 0, "2001:db8::/80");
	assert_got(take_both(pool, 1, START_US), "-", "2001:db8::1");
	assert_int_equal(count(pool).leased, 0);
	assert_int_equal(count(pool).unleasable, 2);
	assert_int_equal(count_of(pool, IP_V6).leased, 1);
}

/* ---- both ---- */

static void test_pool_lease__both_families(void **state)
{
	struct pool *pool = *state;
	const struct lease_key key = key_of(1);
	const struct lease *lease;

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/30");
	add_block(pool, 0, "2001:db8::/80");
	assert_got(take_both(pool, 1, START_US), "10.0.0.0", "2001:db8::1");
	assert_got(take_both(pool, 2, START_US), "10.0.0.1", "2001:db8::2");
	assert_got(take_both(pool, 1, START_US), "10.0.0.0", "2001:db8::1");
	lease = pool_lease_find(pool, &key);
	assert_ptr_equal(pool_lease_by_addr(pool, &(struct ipaddr){ .family = IP_V4, .bytes = { 10 } }), lease);
	assert_ptr_equal(pool_lease_by_addr(pool, &lease->addrs[1]), lease);
	assert_int_equal(count(pool).leased, 2);
	assert_int_equal(count_of(pool, IP_V6).leased, 2);
	assert_int_equal(pool_nic_by_slot(pool, 0)->leased_count, 4);
	assert_int_equal(count(pool).reserved, 2);
	assert_int_equal(count_of(pool, IP_V6).reserved, 2);
	assert_true(pool_lease_confirm(pool, &key, START_US));
	assert_int_equal(count(pool).reserved, 1);
	assert_int_equal(count_of(pool, IP_V6).reserved, 1);
	(void)give(pool, 1, START_US);
	assert_int_equal(count(pool).cooling, 1);
	assert_int_equal(count_of(pool, IP_V6).cooling, 1);
	assert_int_equal(pool_nic_by_slot(pool, 0)->cooling_count, 2);
	assert_int_equal(pool_tick(pool, START_US + COOLDOWN_US), INT64_MAX);
	assert_int_equal(pool_nic_by_slot(pool, 0)->cooling_count, 0);
}

/* Whichever family has nothing: the other one's address is free again, and first in line as before. */
static void test_pool_lease__all_or_none__aws_40_29__gcp_23(void **state)
{
	struct pool *pool = *state;
	struct pool_counts v4, v6, v4_after, v6_after;

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/30");
	add_block(pool, 0, "2001:db8::9/128");
	assert_got(take_both(pool, 1, START_US), "10.0.0.0", "2001:db8::9");
	v4 = count(pool);
	v6 = count_of(pool, IP_V6);
	for (unsigned i = 2; i < 10; i++)
		assert_got(take_both(pool, i, START_US), "-", "-");
	v4_after = count(pool);
	v6_after = count_of(pool, IP_V6);
	assert_same_counts(&v4, &v4_after);
	assert_same_counts(&v6, &v6_after);
	assert_int_equal(v4.free, 3);
	assert_sound(pool);
	add_block(pool, 0, "2001:db8:1::/80");
	assert_got(take_both(pool, 2, START_US), "10.0.0.1", "2001:db8:1::1");
	assert_got(take_both(pool, 3, START_US), "10.0.0.2", "2001:db8:1::2");
	assert_got(take_both(pool, 4, START_US), "10.0.0.3", "2001:db8:1::3");
	assert_got(take_both(pool, 5, START_US), "-", "-");
	assert_sound(pool);
	add_block(pool, 0, "10.0.1.1/32");
	assert_got(take_both(pool, 5, START_US), "10.0.1.1", "2001:db8:1::4");
}

static void test_pool_lease__v6_of_the_nic_of_the_v4_address(void **state)
{
	struct pool *pool = *state;

	add_nic(pool, 0);
	add_nic(pool, 1);
	add_nic(pool, 2);
	add_block(pool, 0, "2001:db8:a::/80");
	add_block(pool, 1, "2001:db8:b::/80");
	add_block(pool, 1, "10.0.1.0/32");
	add_block(pool, 0, "10.0.0.0/32");
	add_block(pool, 2, "10.0.2.0/32");
	assert_got(take_both(pool, 1, START_US), "10.0.1.0", "2001:db8:b::1");
	assert_got(take_both(pool, 2, START_US), "10.0.0.0", "2001:db8:a::1");
	/* NIC 2 has none: the least recently used one of any. */
	assert_got(take_both(pool, 3, START_US), "10.0.2.0", "2001:db8:a::2");
	(void)give(pool, 1, START_US);
	(void)pool_tick(pool, START_US + COOLDOWN_US);
	assert_got(take_both(pool, 4, START_US), "10.0.1.0", "2001:db8:b::2");
}

static void test_pool_lease__only_what_is_ready(void **state)
{
	struct pool *pool = *state;
	const struct prefix near = pfx("2001:db8:a::/80"), v4 = pfx("10.0.0.0/30");

	add_nic(pool, 0);
	add_nic(pool, 1);
	add_block(pool, 0, "10.0.0.0/30");
	add_block(pool, 0, "2001:db8:a::/80");
	add_block(pool, 1, "2001:db8:b::/80");
	pool_block_set_state(pool, &near, BLOCK_DRAINING, START_US);
	assert_got(take_both(pool, 1, START_US), "10.0.0.0", "2001:db8:b::1");
	pool_nic_set_state(pool, 1, NIC_DRAINING, START_US);
	assert_got(take_both(pool, 2, START_US), "-", "-");
	assert_int_equal(count_of(pool, IP_V6).unleasable, 2 * POOL_RANGE_COUNT_MAX - 1);
	pool_block_set_state(pool, &near, BLOCK_READY, START_US);
	assert_got(take_both(pool, 2, START_US), "10.0.0.1", "2001:db8:a::1");
	pool_block_set_state(pool, &v4, BLOCK_DRAINING, START_US);
	assert_got(take_both(pool, 3, START_US), "-", "-");
	pool_block_set_state(pool, &v4, BLOCK_READY, START_US);
	pool_nic_set_state(pool, 0, NIC_DRAINING, START_US);
	assert_got(take_both(pool, 3, START_US), "-", "-");
	assert_int_equal(count(pool).unleasable, 2);
	pool_nic_set_state(pool, 0, NIC_READY, START_US);
	assert_got(take_both(pool, 3, START_US), "10.0.0.2", "2001:db8:a::2");
}

static void test_pool_lease_undo__both_families(void **state)
{
	struct pool *pool = *state;
	const struct lease_key key = key_of(1);

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/30");
	add_block(pool, 0, "2001:db8::/80");
	assert_got(take_both(pool, 1, START_US), "10.0.0.0", "2001:db8::1");
	pool_lease_undo(pool, &key, START_US);
	assert_int_equal(count(pool).leased + count_of(pool, IP_V6).leased, 0);
	assert_int_equal(count(pool).reserved + count_of(pool, IP_V6).reserved, 0);
	assert_sound(pool);
	assert_got(take_both(pool, 2, START_US), "10.0.0.0", "2001:db8::1");
}

static void test_pool_lease_restore__all_or_none(void **state)
{
	struct pool *pool = *state;
	struct lease lease = { .key = key_of(1), .addrs = { ip("10.0.0.1"), ip("2001:db8::7") }, .state = LEASE_BOUND };
	const struct lease none = { .key = key_of(9) };
	const struct lease crossed = { .key = key_of(9), .addrs = { ip("2001:db8::8"), ip("10.0.0.2") } };

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/30");
	assert_int_equal(pool_lease_restore(pool, &lease), -ENOENT);
	assert_int_equal(count(pool).leased, 0);
	assert_null(pool_lease_find(pool, &lease.key));
	add_block(pool, 0, "2001:db8::/80");
	assert_int_equal(pool_lease_restore(pool, &none), -ENOENT);
	assert_int_equal(pool_lease_restore(pool, &crossed), -ENOENT);
	assert_int_equal(pool_lease_restore(pool, &lease), 0);
	assert_int_equal(count(pool).reserved, 0);
	lease.key = key_of(2);
	lease.addrs[0] = ip("10.0.0.2");
	assert_int_equal(pool_lease_restore(pool, &lease), -EEXIST);
	assert_int_equal(count(pool).leased, 1);
	/* One family is enough: that pod is older than the other one's service. */
	lease.addrs[1] = (struct ipaddr){ 0 };
	assert_int_equal(pool_lease_restore(pool, &lease), 0);
	assert_int_equal(count(pool).leased, 2);
	assert_int_equal(count_of(pool, IP_V6).leased, 1);
	assert_sound(pool);
	assert_got(take_both(pool, 2, START_US), "10.0.0.2", "-");
	assert_got(take_both(pool, 3, START_US), "10.0.0.0", "2001:db8::8");
}

/* ---- in flight ---- */

static void test_pool_nic_set_busy__what_may_come(void **state)
{
	struct pool *pool = *state;
	const struct cloud_want wants[IP_FAMILIES] = { { 3, 28 }, { 1, 80 } },
				many[IP_FAMILIES] = { { 0, 0 }, { 1000, 128 } };

	add_nic(pool, 0);
	pool_nic_set_busy(pool, 0, NIC_BUSY_ASSIGN, wants);
	assert_int_equal(count(pool).incoming, 48);
	assert_int_equal(count_of(pool, IP_V6).incoming, POOL_RANGE_COUNT_MAX);
	assert_int_equal(pool_nic_by_slot(pool, 0)->incoming_units[0], 3);
	assert_int_equal(pool_nic_by_slot(pool, 0)->incoming_units[1], 1);
	assert_non_null(pool_nic_attaching(pool, 1, many, START_US));
	assert_int_equal(count(pool).incoming, 48);
	assert_int_equal(count_of(pool, IP_V6).incoming, POOL_RANGE_COUNT_MAX + CLOUD_BLOCKS_MAX);
	pool_nic_set_busy(pool, 0, NIC_IDLE, NULL);
	assert_int_equal(count(pool).incoming, 0);
	pool_nic_set_busy(pool, 0, NIC_BUSY_RECOVER, NULL);
	assert_int_equal(count(pool).incoming, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_pool_serves__each),
		pool_test(test_pool_lease__family_that_is_not_served),
		pool_test(test_pool_lease_restore__family_that_is_not_served),
		pool_test_v6(test_pool_lease__v6_alone),
		pool_test_dual(test_pool_lease__both_families),
		pool_test_dual(test_pool_lease__all_or_none__aws_40_29__gcp_23),
		pool_test_dual(test_pool_lease__v6_of_the_nic_of_the_v4_address),
		pool_test_dual(test_pool_lease__only_what_is_ready),
		pool_test_dual(test_pool_lease_undo__both_families),
		pool_test_dual(test_pool_lease_restore__all_or_none),
		pool_test_dual(test_pool_nic_set_busy__what_may_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
