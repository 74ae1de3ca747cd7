/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/pools.h"

#include <errno.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/str.h"

/* ---- leases ---- */

static void test_pool_lease__is_idempotent_on_the_key(void **state)
{
	struct pool *pool = *state;
	const struct pod_name pod = { .namespace = "ns", .name = "web-0", .uid = "u" };
	struct lease_key key = key_of(1);
	const struct lease *first, *again;
	bool is_new = false;

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.16/28");
	first = pool_lease(pool, &key, &pod, "/run/netns/a", START_US, &is_new);
	assert_non_null(first);
	assert_true(is_new);
	assert_int_equal(first->state, LEASE_RESERVED);
	assert_string_equal(first->pod.name, "web-0");
	assert_string_equal(first->netns, "/run/netns/a");
	assert_int_equal(first->since_us, START_US);
	again = pool_lease(pool, &key, &pod, "/run/netns/a", START_US + 5, &is_new);
	assert_ptr_equal(first, again);
	assert_false(is_new);
	(void)str_copy(key.ifname, sizeof(key.ifname), "net1");
	assert_ptr_not_equal(first, pool_lease(pool, &key, &pod, "/run/netns/a", START_US + 5, &is_new));
	assert_true(is_new);
	assert_int_equal(count(pool).leased, 2);
}

static void test_pool_lease__nothing_free(void **state)
{
	struct pool *pool = *state;

	assert_string_equal(take(pool, 1, START_US), "-");
	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.9/32");
	assert_string_equal(take(pool, 1, START_US), "10.0.0.9");
	assert_string_equal(take(pool, 2, START_US), "-");
	assert_sound(pool);
}

static void test_pool_lease__least_recently_used_first(void **state)
{
	struct pool *pool = *state;

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/30");
	assert_string_equal(take(pool, 0, START_US), "10.0.0.0");
	assert_string_equal(take(pool, 1, START_US), "10.0.0.1");
	(void)give(pool, 1, START_US + 1);
	(void)give(pool, 0, START_US + 2);
	assert_int_equal(pool_tick(pool, START_US + 2 + COOLDOWN_US), INT64_MAX);
	assert_string_equal(take(pool, 2, START_US), "10.0.0.2");
	assert_string_equal(take(pool, 3, START_US), "10.0.0.3");
	assert_string_equal(take(pool, 4, START_US), "10.0.0.1");
	assert_string_equal(take(pool, 5, START_US), "10.0.0.0");
}

static void test_pool_lease_release__rests_for_the_cooldown__rule_12(void **state)
{
	struct pool *pool = *state;
	const struct lease_key key = key_of(1);
	const struct ipaddr addr = ip("10.0.0.9");
	int64_t until_us;

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.9/32");
	assert_string_equal(take(pool, 1, START_US), "10.0.0.9");
	assert_true(pool_lease_release(pool, &key, START_US + 7, &until_us));
	assert_int_equal(until_us, START_US + 7 + COOLDOWN_US);
	assert_false(pool_lease_release(pool, &key, START_US + 8, NULL));
	assert_null(pool_lease_find(pool, &key));
	assert_null(pool_lease_by_addr(pool, &addr));
	assert_int_equal(count(pool).cooling, 1);
	assert_int_equal(count(pool).free, 0);
	assert_int_equal(pool_tick(pool, until_us - 1), until_us);
	assert_string_equal(take(pool, 2, until_us - 1), "-");
	assert_int_equal(pool_tick(pool, until_us), INT64_MAX);
	assert_string_equal(take(pool, 2, until_us), "10.0.0.9");
}

static void test_pool_lease_undo__goes_back_to_the_front(void **state)
{
	struct pool *pool = *state;
	const struct lease_key key = key_of(1);

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/31");
	assert_string_equal(take(pool, 1, START_US), "10.0.0.0");
	pool_lease_undo(pool, &key, START_US);
	assert_null(pool_lease_find(pool, &key));
	assert_int_equal(count(pool).free, 2);
	assert_int_equal(count(pool).reserved, 0);
	assert_string_equal(take(pool, 2, START_US), "10.0.0.0");
}

static void test_pool_lease_confirm__binds_once(void **state)
{
	struct pool *pool = *state;
	const struct lease_key key = key_of(1), other = key_of(2);

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.9/32");
	(void)take(pool, 1, START_US);
	assert_int_equal(count(pool).reserved, 1);
	assert_true(pool_lease_confirm(pool, &key, START_US + 3));
	assert_true(pool_lease_confirm(pool, &key, START_US + 9));
	assert_false(pool_lease_confirm(pool, &other, START_US));
	assert_int_equal(pool_lease_find(pool, &key)->state, LEASE_BOUND);
	assert_int_equal(pool_lease_find(pool, &key)->since_us, START_US + 3);
	assert_int_equal(count(pool).reserved, 0);
	(void)give(pool, 1, START_US);
	assert_sound(pool);
}

static int count_lease(const struct lease *lease, void *arg)
{
	unsigned *n = arg;

	assert_true(lease->key.container[0] != '\0');
	(*n)++;
	return 0;
}

static int stop_at_once(const struct lease *lease, void *arg)
{
	(void)lease;
	(void)arg;
	return 42;
}

static void test_pool_leases__thousands_are_found_by_key_and_address(void **state)
{
	struct pool *pool = *state;
	unsigned seen = 0, total = 0;
	char text[32];

	add_nic(pool, 0);
	for (unsigned i = 0; i < 16; i++) {
		(void)snprintf(text, sizeof(text), "10.0.%u.0/24", i);
		add_block(pool, 0, text);
		total += 256;
	}
	for (unsigned i = 0; i < total; i++)
		assert_string_not_equal(take(pool, i, START_US), "-");
	for (unsigned i = 0; i < total; i++) {
		const struct lease_key key = key_of(i);
		const struct lease *lease = pool_lease_find(pool, &key);

		assert_non_null(lease);
		assert_ptr_equal(pool_lease_by_addr(pool, &lease->addrs[0]), lease);
	}
	assert_int_equal(pool_leases(pool, count_lease, &seen), 0);
	assert_int_equal(seen, total);
	assert_int_equal(pool_leases(pool, stop_at_once, NULL), 42);
	for (unsigned i = 0; i < total; i += 2)
		(void)give(pool, i, START_US);
	assert_int_equal(count(pool).leased, total / 2);
	assert_sound(pool);
}

/* ---- what the store brings back ---- */

static void test_pool_lease_restore__as_it_was(void **state)
{
	struct pool *pool = *state;
	struct lease lease = { .key = key_of(1), .addrs = { ip("10.0.0.5") }, .state = LEASE_BOUND, .since_us = 77 };
	const struct lease *found;

	assert_int_equal(pool_lease_restore(pool, &lease), -ENOENT);
	add_nic(pool, 0);
	assert_int_equal(pool_block_add(pool, 0, &(struct prefix){ ip("10.0.0.0"), 28 }, START_US), 0);
	assert_int_equal(pool_lease_restore(pool, &lease), 0);
	found = pool_lease_find(pool, &lease.key);
	assert_non_null(found);
	assert_int_equal(found->state, LEASE_BOUND);
	assert_int_equal(found->since_us, 77);
	assert_int_equal(pool_lease_restore(pool, &lease), -EEXIST);
	lease.key = key_of(2);
	assert_int_equal(pool_lease_restore(pool, &lease), -EEXIST);
	lease.key = key_of(1);
	lease.addrs[0] = ip("10.0.0.6");
	assert_int_equal(pool_lease_restore(pool, &lease), -EEXIST);
	assert_int_equal(count(pool).leased, 1);
	assert_int_equal(count(pool).pending, 15);
	pool_block_set_state(pool, &(struct prefix){ ip("10.0.0.0"), 28 }, BLOCK_READY, START_US);
	assert_int_equal(count(pool).free, 15);
	for (unsigned i = 0; i < 15; i++)
		assert_string_not_equal(take(pool, 10 + i, START_US), "10.0.0.5");
	assert_string_equal(take(pool, 99, START_US), "-");
}

static void test_pool_lease_restore__ends_a_cooldown(void **state)
{
	struct pool *pool = *state;
	struct lease lease = { .key = key_of(1), .addrs = { ip("10.0.0.5") }, .state = LEASE_RESERVED };

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.5/32");
	assert_int_equal(pool_cooldown_restore(pool, &lease.addrs[0], START_US + 5), 0);
	assert_int_equal(pool_lease_restore(pool, &lease), 0);
	assert_int_equal(pool_cooldown_restore(pool, &lease.addrs[0], START_US + 5), -EBUSY);
	assert_int_equal(count(pool).cooling, 0);
	assert_int_equal(count(pool).reserved, 1);
	assert_int_equal(pool_tick(pool, START_US + 5), INT64_MAX);
	assert_int_equal(count(pool).leased, 1);
}

static void test_pool_cooldown_restore__in_any_order(void **state)
{
	struct pool *pool = *state;
	const struct ipaddr a = ip("10.0.0.4"), b = ip("10.0.0.5"), c = ip("10.0.0.6"), none = ip("10.0.1.1");

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.4/30");
	assert_int_equal(pool_cooldown_restore(pool, &a, START_US + 30), 0);
	assert_int_equal(pool_cooldown_restore(pool, &b, START_US + 10), 0);
	assert_int_equal(pool_cooldown_restore(pool, &c, START_US + 20), 0);
	assert_int_equal(pool_cooldown_restore(pool, &b, START_US + 5), 0);
	assert_int_equal(pool_cooldown_restore(pool, &none, START_US), -ENOENT);
	assert_sound(pool);
	assert_int_equal(pool_tick(pool, START_US), START_US + 10);
	assert_int_equal(pool_cooldown_restore(pool, &b, START_US + 40), 0);
	assert_int_equal(pool_tick(pool, START_US), START_US + 20);
	assert_int_equal(pool_tick(pool, START_US + 20), START_US + 30);
	assert_int_equal(pool_tick(pool, START_US + 39), START_US + 40);
	assert_int_equal(count(pool).cooling, 1);
	assert_sound(pool);
}

/* ---- blocks ---- */

static void test_pool_block_add__what_cannot_be_held(void **state)
{
	struct pool *pool = *state;
	struct cloud_nic foreign = cloud_nic_of(3);
	const struct prefix good = pfx("10.0.0.16/28"), inner = pfx("10.0.0.17/32"), outer = pfx("10.0.0.0/24"),
			    large = pfx("10.1.0.0/23"), v6 = pfx("2001:db8::/63"), below = pfx("10.0.0.15/32"),
			    above = pfx("10.0.0.32/28");

	foreign.foreign = true;
	add_nic(pool, 0);
	assert_non_null(pool_nic_add(pool, &foreign, START_US));
	assert_int_equal(pool_nic_by_slot(pool, 3)->state, NIC_FOREIGN);
	assert_int_equal(pool_block_add(pool, 0, &good, START_US), 0);
	assert_int_equal(pool_block_add(pool, 0, &good, START_US), -EEXIST);
	assert_int_equal(pool_block_add(pool, 0, &inner, START_US), -EEXIST);
	assert_int_equal(pool_block_add(pool, 0, &outer, START_US), -EEXIST);
	assert_int_equal(pool_block_add(pool, 0, &large, START_US), -EINVAL);
	assert_int_equal(pool_block_add(pool, 0, &v6, START_US), -EINVAL);
	assert_int_equal(pool_block_add(pool, 1, &above, START_US), -ENOENT);
	assert_int_equal(pool_block_add(pool, 3, &above, START_US), -ENOENT);
	assert_int_equal(pool_block_add(pool, 0, &below, START_US), 0);
	assert_int_equal(pool_block_add(pool, 0, &above, START_US), 0);
	assert_int_equal(pool_nic_by_slot(pool, 0)->block_count[0], 3);
	for (unsigned i = 3; i < CLOUD_BLOCKS_MAX; i++) {
		const struct ipaddr addr = ipaddr_v4(0x0a020000U + i);
		const struct prefix prefix = prefix_host(&addr);

		assert_int_equal(pool_block_add(pool, 0, &prefix, START_US), 0);
	}
	assert_int_equal(pool_block_add(pool, 0, &(struct prefix){ ip("10.9.0.0"), 32 }, START_US), -ENOSPC);
}

static int compare_with_last(const struct pool_block_view *block, void *arg)
{
	struct prefix *last = arg;

	assert_true(prefix_cmp(last, &block->prefix) < 0);
	*last = block->prefix;
	return 0;
}

static int stop_at_block(const struct pool_block_view *block, void *arg)
{
	(void)block;
	(void)arg;
	return -7;
}

static void test_pool_blocks__in_address_order(void **state)
{
	struct pool *pool = *state;
	struct prefix last = { 0 };

	add_nic(pool, 0);
	add_nic(pool, 1);
	add_block(pool, 1, "10.0.9.0/28");
	add_block(pool, 0, "10.0.1.7/32");
	add_block(pool, 1, "10.0.3.0/24");
	add_block(pool, 0, "9.0.0.0/30");
	assert_int_equal(pool_blocks(pool, compare_with_last, &last), 0);
	assert_int_equal(prefix_cmp(&last, &(struct prefix){ ip("10.0.9.0"), 28 }), 0);
	assert_int_equal(pool_blocks(pool, stop_at_block, NULL), -7);
}

static void test_pool_block_of__by_binary_search(void **state)
{
	struct pool *pool = *state;
	struct pool_block_view view;
	char text[32];

	add_nic(pool, 0);
	add_nic(pool, 1);
	for (unsigned i = 0; i < 100; i++) {
		(void)snprintf(text, sizeof(text), "10.0.%u.16/28", (i * 37) % 100);
		add_block(pool, i % 2, text);
	}
	for (unsigned i = 0; i < 100; i++) {
		struct ipaddr inside = ipaddr_v4(0x0a000000U + i * 256 + 31),
			      under = ipaddr_v4(0x0a000000U + i * 256 + 15),
			      over = ipaddr_v4(0x0a000000U + i * 256 + 32);

		assert_true(pool_block_of(pool, &inside, &view));
		assert_true(prefix_contains(&view.prefix, &inside));
		assert_int_equal(view.size, 16);
		assert_false(pool_block_of(pool, &under, &view));
		assert_false(pool_block_of(pool, &over, &view));
	}
	assert_false(pool_block_get(pool, &(struct prefix){ ip("10.0.5.16"), 29 }, &view));
	assert_true(pool_block_get(pool, &(struct prefix){ ip("10.0.5.16"), 28 }, &view));
}

struct expected_addr {
	unsigned index;
	enum addr_state states[4];
};

static int expect_addr(const struct ipaddr *addr, enum addr_state addr_state, const struct lease *lease, void *arg)
{
	struct expected_addr *expected = arg;

	assert_int_equal(addr->bytes[3], expected->index);
	assert_int_equal(addr_state, expected->states[expected->index]);
	assert_int_equal(addr_state == ADDR_LEASED, lease != NULL);
	expected->index++;
	return 0;
}

static void test_pool_addresses__state_of_each(void **state)
{
	struct pool *pool = *state;
	const struct prefix block = pfx("10.0.0.0/30"), other = pfx("10.0.0.0/29");
	struct expected_addr expected = { 0, { ADDR_COOLING, ADDR_LEASED, ADDR_FREE, ADDR_FREE } };

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/30");
	(void)take(pool, 0, START_US);
	(void)take(pool, 1, START_US);
	(void)give(pool, 0, START_US);
	assert_int_equal(pool_addresses(pool, &block, expect_addr, &expected), 0);
	assert_int_equal(expected.index, 4);
	assert_int_equal(pool_addresses(pool, &other, expect_addr, &expected), 0);
	assert_int_equal(expected.index, 4);
}

static void test_pool_block_set_state__only_ready_ones_lease(void **state)
{
	struct pool *pool = *state;
	const struct prefix block = pfx("10.0.0.0/30");
	struct cloud_nic nic = cloud_nic_of(0);

	assert_non_null(pool_nic_add(pool, &nic, START_US));
	assert_int_equal(pool_block_add(pool, 0, &block, START_US), 0);
	assert_string_equal(take(pool, 1, START_US), "-");
	assert_int_equal(count(pool).pending, 4);
	pool_block_set_state(pool, &block, BLOCK_READY, START_US);
	assert_string_equal(take(pool, 1, START_US), "-");
	assert_int_equal(count(pool).pending, 4);
	pool_nic_set_state(pool, 0, NIC_READY, START_US);
	assert_int_equal(count(pool).pending, 0);
	assert_int_equal(count(pool).free, 4);
	assert_string_equal(take(pool, 1, START_US), "10.0.0.0");
	pool_block_set_state(pool, &block, BLOCK_DRAINING, START_US);
	assert_string_equal(take(pool, 2, START_US), "-");
	assert_int_equal(count(pool).free, 0);
	assert_int_equal(count(pool).total, 4);
	pool_block_set_state(pool, &block, BLOCK_READY, START_US);
	pool_block_set_state(pool, &block, BLOCK_READY, START_US);
	pool_nic_set_state(pool, 0, NIC_DRAINING, START_US);
	assert_string_equal(take(pool, 2, START_US), "-");
	assert_sound(pool);
	pool_nic_set_state(pool, 0, NIC_READY, START_US);
	assert_string_equal(take(pool, 2, START_US), "10.0.0.1");
}

static void test_pool_block_set_state__lost_keeps_pods_and_cooldowns(void **state)
{
	struct pool *pool = *state;
	const struct prefix block = pfx("10.0.0.0/30");
	const struct lease_key key = key_of(1);
	struct pool_block_view view;
	int64_t until_us;

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/30");
	(void)take(pool, 0, START_US);
	(void)take(pool, 1, START_US);
	until_us = give(pool, 0, START_US);
	pool_block_set_state(pool, &block, BLOCK_LOST, START_US + 1);
	assert_non_null(pool_lease_find(pool, &key));
	assert_int_equal(count(pool).lost, 1);
	assert_int_equal(count(pool).total, 0);
	assert_int_equal(count(pool).cooling, 1);
	assert_string_equal(take(pool, 2, START_US + 1), "-");
	assert_int_equal(pool_tick(pool, until_us), INT64_MAX);
	assert_int_equal(count(pool).cooling, 0);
	assert_string_equal(take(pool, 2, until_us), "-");
	assert_sound(pool);
	until_us = give(pool, 1, until_us);
	pool_block_set_state(pool, &block, BLOCK_PENDING, until_us);
	pool_block_set_state(pool, &block, BLOCK_READY, until_us);
	assert_int_equal(count(pool).free, 3);
	assert_true(pool_block_get(pool, &block, &view));
	assert_int_equal(view.cooling_count, 1);
	assert_int_equal(view.idle_since_us, INT64_MAX);
	assert_int_equal(pool_tick(pool, until_us), INT64_MAX);
	assert_int_equal(count(pool).free, 4);
}

/* What drains is still ours, but nobody gets it; what rests there goes on resting. */
static void test_pool_block_set_state__draining_is_unleasable(void **state)
{
	struct pool *pool = *state;
	const struct prefix block = pfx("10.0.0.0/30");

	add_nic(pool, 0);
	add_nic(pool, 1);
	add_block(pool, 0, "10.0.0.0/30");
	add_block(pool, 1, "10.0.0.4/30");
	for (unsigned i = 0; i < 5; i++)
		(void)take(pool, i, START_US);
	(void)give(pool, 0, START_US);
	(void)give(pool, 4, START_US);
	pool_block_set_state(pool, &block, BLOCK_DRAINING, START_US);
	pool_nic_set_state(pool, 1, NIC_DRAINING, START_US);
	assert_int_equal(count(pool).free, 0);
	assert_int_equal(count(pool).unleasable, 3);
	assert_int_equal(count(pool).cooling, 2);
	assert_int_equal(count(pool).leased, 3);
	assert_int_equal(count(pool).total, 8);
	assert_int_equal(pool_tick(pool, START_US + COOLDOWN_US), INT64_MAX);
	assert_int_equal(count(pool).unleasable, 5);
	assert_string_equal(take(pool, 9, START_US), "-");
	assert_sound(pool);
	pool_nic_set_state(pool, 1, NIC_READY, START_US);
	assert_int_equal(count(pool).unleasable, 1);
	assert_string_equal(take(pool, 9, START_US), "10.0.0.4");
	pool_block_set_state(pool, &block, BLOCK_READY, START_US);
	assert_int_equal(count(pool).unleasable, 0);
	assert_int_equal(count(pool).free, 4);
	pool_block_set_state(pool, &block, BLOCK_DRAINING, START_US);
	for (unsigned i = 10; i < 13; i++)
		assert_string_not_equal(take(pool, i, START_US), "-");
	assert_string_equal(take(pool, 13, START_US), "-");
	assert_int_equal(count(pool).unleasable, 1);
}

static void test_pool_block_get__idle_since(void **state)
{
	struct pool *pool = *state;
	const struct prefix block = pfx("10.0.0.0/30");
	struct pool_block_view view;
	int64_t until_us;

	add_nic(pool, 0);
	assert_int_equal(pool_block_add(pool, 0, &block, START_US), 0);
	pool_block_set_state(pool, &block, BLOCK_READY, START_US + 3);
	assert_true(pool_block_get(pool, &block, &view));
	assert_int_equal(view.idle_since_us, START_US + 3);
	assert_int_equal(view.supply_count, 4);
	(void)take(pool, 1, START_US + 10);
	assert_true(pool_block_get(pool, &block, &view));
	assert_int_equal(view.idle_since_us, INT64_MAX);
	assert_int_equal(view.changed_us, START_US + 10);
	until_us = give(pool, 1, START_US + 20);
	assert_true(pool_block_get(pool, &block, &view));
	assert_int_equal(view.idle_since_us, INT64_MAX);
	(void)pool_tick(pool, until_us);
	assert_true(pool_block_get(pool, &block, &view));
	assert_int_equal(view.idle_since_us, until_us);
	pool_nic_set_state(pool, 0, NIC_DRAINING, until_us);
	assert_true(pool_block_get(pool, &block, &view));
	assert_int_equal(view.supply_count, 0);
	assert_int_equal(view.free_count, 4);
}

static void test_pool_block_remove__takes_its_addresses_along(void **state)
{
	struct pool *pool = *state;
	const struct prefix block = pfx("10.0.0.0/30");

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/30");
	add_block(pool, 0, "10.0.0.8/31");
	(void)take(pool, 1, START_US);
	(void)give(pool, 1, START_US);
	pool_block_remove(pool, &block);
	assert_int_equal(count(pool).cooling, 0);
	assert_int_equal(count(pool).free, 2);
	assert_int_equal(pool_nic_by_slot(pool, 0)->block_count[0], 1);
	assert_int_equal(pool_tick(pool, START_US + COOLDOWN_US), INT64_MAX);
	assert_sound(pool);
}

/* ---- NICs ---- */

static void test_pool_nic_attached__perhaps_at_another_slot(void **state)
{
	struct pool *pool = *state;
	struct cloud_nic came = cloud_nic_of(4), taken = cloud_nic_of(0);
	const struct pool_nic *nic;

	add_nic(pool, 0);
	nic = pool_nic_attaching(pool, 1, units_v4(9, 32).units, START_US);
	assert_non_null(nic);
	assert_int_equal(nic->state, NIC_ATTACHING);
	assert_int_equal(nic->busy, NIC_BUSY_ATTACH);
	assert_int_equal(count(pool).incoming, 9);
	assert_null(pool_nic_by_id(pool, ""));
	add_nic(pool, 2);
	assert_int_equal(pool_nic_attached(pool, 1, &taken, START_US), -EEXIST);
	assert_int_equal(pool_nic_attached(pool, 1, &came, START_US + 9), 0);
	assert_ptr_equal(pool_nic_by_slot(pool, 4), nic);
	assert_ptr_equal(pool_nic_by_id(pool, "nic-4"), nic);
	assert_null(pool_nic_by_slot(pool, 1));
	assert_int_equal(nic->state, NIC_CONFIGURING);
	assert_int_equal(nic->busy, NIC_IDLE);
	assert_int_equal(nic->since_us, START_US + 9);
	assert_int_equal(count(pool).incoming, 0);
	assert_ptr_equal(pool_nic_next(pool, pool_nic_by_slot(pool, 2)), nic);
	assert_null(pool_nic_next(pool, nic));
}

static void test_pool_nic_add__up_to_the_limit(void **state)
{
	struct pool *pool = *state;
	const struct pool_nic *nic = NULL;
	unsigned seen = 0;

	for (unsigned i = CLOUD_NICS_MAX; i > 0; i--) {
		struct cloud_nic from = cloud_nic_of(i - 1);

		assert_non_null(pool_nic_add(pool, &from, START_US));
	}
	assert_null(pool_nic_add(pool, &(struct cloud_nic){ .slot = CLOUD_NICS_MAX }, START_US));
	assert_null(pool_nic_attaching(pool, CLOUD_NICS_MAX, units_v4(1, 32).units, START_US));
	while ((nic = pool_nic_next(pool, nic)))
		assert_int_equal(nic->slot, seen++);
	assert_int_equal(seen, CLOUD_NICS_MAX);
}

static void test_pool_nic_remove__with_all_its_blocks(void **state)
{
	struct pool *pool = *state;

	add_nic(pool, 0);
	add_nic(pool, 1);
	add_block(pool, 0, "10.0.0.0/30");
	add_block(pool, 1, "10.0.0.4/30");
	add_block(pool, 0, "10.0.0.8/30");
	add_block(pool, 1, "10.0.0.12/30");
	pool_nic_remove(pool, 1);
	assert_int_equal(count(pool).free, 8);
	assert_int_equal(count(pool).total, 8);
	assert_null(pool_nic_by_slot(pool, 1));
}

/* From the moment that it is known: nobody gets an address of it, whoever has one keeps it. */
static void test_pool_nic_update__closed(void **state)
{
	struct pool *pool = *state;
	struct cloud_nic nic = cloud_nic_of(1);
	struct pool_counts c;

	add_nic(pool, 1);
	add_block(pool, 1, "10.0.0.0/30");
	assert_string_not_equal(take(pool, 1, START_US), "-");
	nic.closed = true;
	assert_true(pool_nic_update(pool, 1, &nic));
	assert_false(pool_nic_update(pool, 1, &nic));
	assert_true(pool_nic_by_slot(pool, 1)->closed);
	assert_string_equal(take(pool, 2, START_US), "-");
	assert_non_null(pool_lease_find(pool, &(struct lease_key){ "berth", "pod1", "eth0" }));
	c = count(pool);
	assert_int_equal(c.total, 4);
	assert_int_equal(c.leased, 1);
	assert_int_equal(c.free, 0);
	assert_int_equal(c.unleasable, 3);
	/* Neither what comes back nor what is new. */
	(void)give(pool, 1, START_US);
	(void)pool_tick(pool, START_US + COOLDOWN_US);
	add_block(pool, 1, "10.0.0.8/30");
	assert_string_equal(take(pool, 2, START_US), "-");
	nic.closed = false;
	assert_true(pool_nic_update(pool, 1, &nic));
	assert_int_equal(count(pool).free, 8);
	assert_string_not_equal(take(pool, 2, START_US), "-");
	assert_sound(pool);
}

static void test_pool_nic_update__ipv6_side(void **state)
{
	struct pool *pool = *state;
	struct cloud_nic nic = cloud_nic_of(1);

	add_nic(pool, 1);
	assert_int_equal(pool_nic_by_slot(pool, 1)->primary_addr6.family, IP_NONE);
	nic.primary_addr6 = ip("2600::5");
	nic.subnet6 = pfx("2600::/64");
	nic.gateway6 = ip("fe80::1");
	assert_true(pool_nic_update(pool, 1, &nic));
	assert_false(pool_nic_update(pool, 1, &nic));
	assert_true(ipaddr_equal(&pool_nic_by_slot(pool, 1)->primary_addr6, &nic.primary_addr6));
	assert_int_equal(prefix_cmp(&pool_nic_by_slot(pool, 1)->subnet6, &nic.subnet6), 0);
	assert_true(ipaddr_equal(&pool_nic_by_slot(pool, 1)->gateway6, &nic.gateway6));
}

static void test_pool_nic_set_state__lost(void **state)
{
	struct pool *pool = *state;

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/30");
	(void)take(pool, 1, START_US);
	pool_nic_set_state(pool, 0, NIC_LOST, START_US);
	assert_int_equal(count(pool).lost, 1);
	assert_int_equal(count(pool).free, 0);
	assert_int_equal(count(pool).total, 0);
	assert_int_equal(count(pool).leased, 1);
	pool_nic_set_state(pool, 0, NIC_CONFIGURING, START_US);
	assert_int_equal(count(pool).pending, 3);
	pool_nic_set_state(pool, 0, NIC_READY, START_US);
	assert_int_equal(count(pool).free, 3);
	assert_int_equal(count(pool).lost, 0);
}

static void test_pool_free__null(void **state)
{
	(void)state;
	pool_free(NULL);
}

static void test_state_names__each(void **state)
{
	(void)state;
	assert_string_equal(nic_state_name(NIC_LOST), "lost");
	assert_string_equal(nic_state_name(NIC_FOREIGN), "foreign");
	assert_string_equal(nic_state_name(NIC_STATE_COUNT), "?");
	assert_string_equal(block_state_name(BLOCK_RELEASING), "releasing");
	assert_string_equal(addr_state_name(ADDR_COOLING), "cooling");
	assert_string_equal(lease_state_name(LEASE_BOUND), "bound");
	assert_string_equal(lease_state_name(LEASE_STATE_COUNT), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pool_test(test_pool_lease__is_idempotent_on_the_key),
		pool_test(test_pool_lease__nothing_free),
		pool_test(test_pool_lease__least_recently_used_first),
		pool_test(test_pool_lease_release__rests_for_the_cooldown__rule_12),
		pool_test(test_pool_lease_undo__goes_back_to_the_front),
		pool_test(test_pool_lease_confirm__binds_once),
		pool_test(test_pool_leases__thousands_are_found_by_key_and_address),
		pool_test(test_pool_lease_restore__as_it_was),
		pool_test(test_pool_lease_restore__ends_a_cooldown),
		pool_test(test_pool_cooldown_restore__in_any_order),
		pool_test(test_pool_block_add__what_cannot_be_held),
		pool_test(test_pool_blocks__in_address_order),
		pool_test(test_pool_block_of__by_binary_search),
		pool_test(test_pool_addresses__state_of_each),
		pool_test(test_pool_block_set_state__only_ready_ones_lease),
		pool_test(test_pool_block_set_state__lost_keeps_pods_and_cooldowns),
		pool_test(test_pool_block_set_state__draining_is_unleasable),
		pool_test(test_pool_block_get__idle_since),
		pool_test(test_pool_block_remove__takes_its_addresses_along),
		pool_test(test_pool_nic_attached__perhaps_at_another_slot),
		pool_test(test_pool_nic_add__up_to_the_limit),
		pool_test(test_pool_nic_remove__with_all_its_blocks),
		pool_test(test_pool_nic_update__closed),
		pool_test(test_pool_nic_update__ipv6_side),
		pool_test(test_pool_nic_set_state__lost),
		check_unit_test(test_pool_free__null),
		check_unit_test(test_state_names__each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
