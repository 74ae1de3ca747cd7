/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks that are too large to be kept address by address. */
#include "tests/unit/pools.h"

#include <errno.h>

#include "berth/str.h"

/* The smallest range: 512 addresses, of which all but the first may be leased. */
#define SMALL       "2001:db8::/119"
#define SMALL_COUNT 511U
/* What an /80 counts as. */
#define LARGE_COUNT POOL_RANGE_COUNT_MAX

static struct pool_counts count6(const struct pool *pool)
{
	return count_of(pool, IP_V6);
}

static uint64_t offset_of(const char *text)
{
	const struct prefix all = pfx("2001:db8::/64");
	const struct ipaddr addr = ip(text);

	return prefix_offset(&all, &addr);
}

static struct lease lease_at(unsigned number, const char *text)
{
	return (struct lease){ .key = key_of(number), .addrs = { { 0 }, ip(text) }, .state = LEASE_BOUND };
}

/* ---- leasing ---- */

static void test_pool_lease__range_in_order_behind_its_base(void **state)
{
	struct pool *pool = *state;

	add_nic(pool, 0);
	add_block(pool, 0, "2001:db8:0:1::/80");
	assert_string_equal(take6(pool, 1, START_US), "2001:db8:0:1::1");
	assert_string_equal(take6(pool, 2, START_US), "2001:db8:0:1::2");
	assert_string_equal(take6(pool, 1, START_US), "2001:db8:0:1::1");
	assert_string_equal(take_both(pool, 3, START_US).v4, "-");
	assert_string_equal(take6(pool, 3, START_US), "2001:db8:0:1::3");
	assert_int_equal(count6(pool).leased, 3);
	assert_int_equal(count6(pool).free, LARGE_COUNT - 3);
	assert_int_equal(count6(pool).total, LARGE_COUNT);
	assert_sound(pool);
}

/* An address that was given back waits for all the others, however long ago it has rested. */
static void test_pool_lease__range_comes_round(void **state)
{
	struct pool *pool = *state;
	int64_t now_us = START_US;

	add_nic(pool, 0);
	add_block(pool, 0, SMALL);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 1; i <= SMALL_COUNT; i++) {
			assert_int_equal(offset_of(take6(pool, 1, now_us)), i);
			now_us = give(pool, 1, now_us);
			(void)pool_tick(pool, now_us);
		}
		assert_sound(pool);
	}
}

static void test_pool_lease__range_passes_what_is_in_use(void **state)
{
	struct pool *pool = *state;
	int64_t now_us = START_US;

	add_nic(pool, 0);
	add_block(pool, 0, SMALL);
	for (unsigned i = 1; i <= SMALL_COUNT; i++)
		assert_int_equal(offset_of(take6(pool, i, now_us)), i);
	assert_int_equal(count6(pool).free, 0);
	assert_string_equal(take6(pool, 1000, now_us), "-");
	assert_sound(pool);
	now_us = give(pool, 7, now_us);
	assert_string_equal(take6(pool, 1000, now_us - 1), "-");
	(void)pool_tick(pool, now_us);
	assert_int_equal(count6(pool).free, 1);
	assert_int_equal(offset_of(take6(pool, 1000, now_us)), 7);
	assert_string_equal(take6(pool, 1001, now_us), "-");
	(void)give(pool, 511, now_us);
	(void)give(pool, 3, now_us);
	(void)pool_tick(pool, now_us + COOLDOWN_US);
	assert_int_equal(offset_of(take6(pool, 1001, now_us)), 511);
	assert_int_equal(offset_of(take6(pool, 1002, now_us)), 3);
	assert_sound(pool);
}

static void test_pool_lease__base_of_a_range__gcp_7(void **state)
{
	struct pool *pool = *state;
	static const char *const blocks[] = { "2001:db8:1::/119", "2001:db8:2::/119", "2001:db8:3::/119" };
	unsigned number = 0;

	add_nic(pool, 0);
	add_nic(pool, 1);
	for (unsigned b = 0; b < ARRAY_SIZE(blocks); b++) {
		const struct prefix prefix = pfx(blocks[b]);
		bool is_new;

		add_block(pool, b % 2, blocks[b]);
		for (unsigned i = 0; i < SMALL_COUNT; i++) {
			const struct lease_key key = key_of(number++);
			const struct lease *lease =
				pool_lease(pool, &key, &(struct pod_name){ .name = "p" }, "", START_US, &is_new);

			assert_non_null(lease);
			assert_true(prefix_contains(&prefix, &lease->addrs[1]));
			assert_false(ipaddr_equal(&prefix.addr, &lease->addrs[1]));
		}
		assert_string_equal(take6(pool, 9999, START_US), "-");
	}
}

static void test_pool_lease__small_v6_blocks_are_kept_one_by_one(void **state)
{
	struct pool *pool = *state;

	add_nic(pool, 0);
	add_block(pool, 0, "2001:db8::10/126");
	add_block(pool, 0, "2001:db8::99/128");
	assert_string_equal(take6(pool, 1, START_US), "2001:db8::10");
	(void)give(pool, 1, START_US);
	(void)pool_tick(pool, START_US + COOLDOWN_US);
	assert_string_equal(take6(pool, 2, START_US), "2001:db8::11");
	assert_string_equal(take6(pool, 3, START_US), "2001:db8::12");
	assert_string_equal(take6(pool, 4, START_US), "2001:db8::13");
	assert_string_equal(take6(pool, 5, START_US), "2001:db8::99");
	assert_string_equal(take6(pool, 6, START_US), "2001:db8::10");
	assert_string_equal(take6(pool, 7, START_US), "-");
}

/* What is left of a round is older than what was used in it: the range keeps its place until it has come round. */
static void test_pool_lease__range_among_others_by_last_use(void **state)
{
	struct pool *pool = *state;
	int64_t now_us = START_US;

	add_nic(pool, 0);
	add_block(pool, 0, "2001:db8:1::1/128");
	add_block(pool, 0, "2001:db8:2::/119");
	add_block(pool, 0, "2001:db8:3::/119");
	assert_string_equal(take6(pool, 0, now_us), "2001:db8:1::1");
	now_us = give(pool, 0, now_us);
	(void)pool_tick(pool, now_us);
	for (unsigned i = 1; i <= SMALL_COUNT; i++) {
		(void)take6(pool, 1, now_us);
		now_us = give(pool, 1, now_us);
		(void)pool_tick(pool, now_us);
	}
	assert_string_equal(take6(pool, 1, now_us), "2001:db8:3::1");
	for (unsigned i = 2; i <= SMALL_COUNT; i++)
		(void)take6(pool, i, now_us);
	assert_string_equal(take6(pool, 1001, now_us), "2001:db8:1::1");
	assert_string_equal(take6(pool, 1002, now_us), "2001:db8:2::1");
	assert_sound(pool);
}

static void test_pool_lease_undo__range_goes_back(void **state)
{
	struct pool *pool = *state;
	const struct lease_key first = key_of(1), second = key_of(2);

	add_nic(pool, 0);
	add_block(pool, 0, SMALL);
	assert_int_equal(offset_of(take6(pool, 1, START_US)), 1);
	assert_int_equal(offset_of(take6(pool, 2, START_US)), 2);
	pool_lease_undo(pool, &second, START_US);
	assert_int_equal(count6(pool).free, SMALL_COUNT - 1);
	assert_int_equal(offset_of(take6(pool, 3, START_US)), 2);
	/* Not the last one: what came behind it stays where it is, and it comes round again in its turn. */
	pool_lease_undo(pool, &first, START_US);
	assert_int_equal(offset_of(take6(pool, 4, START_US)), 3);
	assert_sound(pool);
}

/* The last address of a round puts the range behind the others; undone, it is as if it had not been. */
static void test_pool_lease_undo__range_that_had_come_round(void **state)
{
	struct pool *pool = *state;
	const struct lease_key last = key_of(SMALL_COUNT);

	add_nic(pool, 0);
	add_block(pool, 0, "2001:db8::/119");
	add_block(pool, 0, "2001:db8::1:0/119");
	for (unsigned i = 1; i <= SMALL_COUNT; i++)
		assert_int_equal(offset_of(take6(pool, i, START_US)), i);
	pool_lease_undo(pool, &last, START_US);
	assert_sound(pool);
	assert_int_equal(offset_of(take6(pool, 1000, START_US)), SMALL_COUNT);
	assert_int_equal(offset_of(take6(pool, 1001, START_US)), 0x10001);
}

/* ---- what the store brings back ---- */

static void test_pool_lease_restore__range_goes_on_behind_it(void **state)
{
	struct pool *pool = *state;
	const struct lease lease = lease_at(1, "2001:db8::42"), low = lease_at(2, "2001:db8::5"),
			   same = lease_at(3, "2001:db8::5");
	const struct ipaddr cooling = ip("2001:db8::44"), lower = ip("2001:db8::6");

	add_nic(pool, 0);
	add_block(pool, 0, "2001:db8::/64");
	assert_int_equal(pool_lease_restore(pool, &lease), 0);
	assert_int_equal(pool_lease_restore(pool, &low), 0);
	assert_int_equal(pool_lease_restore(pool, &same), -EEXIST);
	assert_ptr_equal(pool_lease_by_addr(pool, &low.addrs[1]), pool_lease_find(pool, &low.key));
	assert_null(pool_lease_by_addr(pool, &cooling));
	assert_string_equal(take6(pool, 4, START_US), "2001:db8::43");
	assert_int_equal(pool_cooldown_restore(pool, &cooling, START_US + 5), 0);
	assert_int_equal(pool_cooldown_restore(pool, &lower, START_US + 9), 0);
	assert_int_equal(pool_cooldown_restore(pool, &low.addrs[1], START_US + 5), -EBUSY);
	assert_int_equal(count6(pool).cooling, 2);
	assert_string_equal(take6(pool, 5, START_US), "2001:db8::45");
	assert_sound(pool);
	assert_int_equal(pool_tick(pool, START_US + 5), START_US + 9);
	assert_int_equal(pool_tick(pool, START_US + 9), INT64_MAX);
	assert_string_equal(take6(pool, 6, START_US), "2001:db8::46");
}

static void test_pool_lease_restore__range_ends_a_cooldown(void **state)
{
	struct pool *pool = *state;
	const struct lease lease = lease_at(1, "2001:db8::42");

	add_nic(pool, 0);
	add_block(pool, 0, "2001:db8::/64");
	assert_int_equal(pool_cooldown_restore(pool, &lease.addrs[1], START_US), 0);
	assert_int_equal(pool_lease_restore(pool, &lease), 0);
	assert_int_equal(count6(pool).cooling, 0);
	assert_int_equal(pool_tick(pool, START_US), INT64_MAX);
	assert_int_equal(count6(pool).leased, 1);
	assert_sound(pool);
}

static void test_pool_lease_restore__last_address_of_the_largest_range(void **state)
{
	struct pool *pool = *state;
	const struct lease lease = lease_at(1, "2001:db8::ffff:ffff:ffff:ffff");

	add_nic(pool, 0);
	add_block(pool, 0, "2001:db8::/64");
	assert_int_equal(pool_lease_restore(pool, &lease), 0);
	assert_sound(pool);
	assert_string_equal(take6(pool, 2, START_US), "2001:db8::1");
	assert_ptr_equal(pool_lease_by_addr(pool, &lease.addrs[1]), pool_lease_find(pool, &lease.key));
	assert_string_equal(take6(pool, 3, START_US), "2001:db8::2");
}

/* Somebody had the last one: all that is left of this range was had before the other one's. */
static void test_pool_cooldown_restore__last_of_a_range_puts_it_behind_the_others(void **state)
{
	struct pool *pool = *state;

	add_nic(pool, 0);
	add_block(pool, 0, "2001:db8:1::/119");
	add_block(pool, 0, "2001:db8:2::/119");
	rest(pool, "2001:db8:1::1ff", START_US);
	assert_sound(pool);
	assert_string_equal(take6(pool, 1, START_US), "2001:db8:2::1");
}

/* No pod of ours has it, but a daemon before us may have given it: it is kept, not given again. */
static void test_pool_lease_restore__base_of_a_range(void **state)
{
	struct pool *pool = *state;
	const struct lease lease = lease_at(1, "2001:db8::");

	add_nic(pool, 0);
	add_block(pool, 0, SMALL);
	assert_int_equal(pool_lease_restore(pool, &lease), 0);
	for (unsigned i = 1; i < SMALL_COUNT; i++)
		assert_int_equal(offset_of(take6(pool, 1 + i, START_US)), i);
	assert_string_equal(take6(pool, 1000, START_US), "-");
	assert_sound(pool);
	(void)give(pool, 1, START_US);
	(void)pool_tick(pool, START_US + COOLDOWN_US);
	assert_int_equal(offset_of(take6(pool, 1000, START_US)), SMALL_COUNT);
}

static void test_pool_cooldown_restore__range_that_counts_as_full(void **state)
{
	struct pool *pool = *state;
	const struct prefix range = pfx("2001:db8::/96");
	const struct lease lease = lease_at(1, "2001:db8::4:0");

	add_nic(pool, 0);
	add_block(pool, 0, "2001:db8::/96");
	for (unsigned i = 1; i <= LARGE_COUNT; i++) {
		const struct ipaddr addr = ipaddr_add(&range.addr, i);

		assert_int_equal(pool_cooldown_restore(pool, &addr, START_US + i), 0);
	}
	assert_int_equal(count6(pool).free, 0);
	assert_int_equal(count6(pool).cooling, LARGE_COUNT);
	assert_int_equal(pool_cooldown_restore(pool, &lease.addrs[1], START_US), -ENOMEM);
	assert_int_equal(pool_lease_restore(pool, &lease), -ENOMEM);
	assert_string_equal(take6(pool, 2, START_US), "-");
	assert_sound(pool);
	(void)pool_tick(pool, START_US + 1);
	assert_int_equal(pool_lease_restore(pool, &lease), 0);
	assert_int_equal(count6(pool).free, 0);
}

/* ---- blocks ---- */

static void test_pool_block_add__v6_of_every_size(void **state)
{
	struct pool *pool = *state;
	const struct prefix none = pfx("2001:db8:9::/63"), inner = pfx("2001:db8:1::5/128"),
			    outer = pfx("2001:db8::/32");

	add_nic(pool, 0);
	add_block(pool, 0, "2001:db8:1::/64");
	assert_int_equal(count6(pool).total, LARGE_COUNT);
	add_block(pool, 0, "2001:db8:2::/119");
	assert_int_equal(count6(pool).total, LARGE_COUNT + 511);
	add_block(pool, 0, "2001:db8:3::/120");
	assert_int_equal(count6(pool).total, LARGE_COUNT + 511 + 256);
	add_block(pool, 0, "2001:db8:4::4/128");
	assert_int_equal(count6(pool).total, LARGE_COUNT + 511 + 256 + 1);
	add_block(pool, 0, "2001:db8:5::/111");
	assert_int_equal(count6(pool).total, 2 * LARGE_COUNT + 511 + 256 + 1);
	assert_int_equal(count6(pool).free, count6(pool).total);
	assert_int_equal(pool_block_add(pool, 0, &none, START_US), -EINVAL);
	assert_int_equal(pool_block_add(pool, 0, &inner, START_US), -EEXIST);
	assert_int_equal(pool_block_add(pool, 0, &outer, START_US), -EINVAL);
	assert_int_equal(pool_nic_by_slot(pool, 0)->block_count[1], 5);
	assert_int_equal(pool_nic_by_slot(pool, 0)->block_count[0], 0);
	assert_int_equal(count_of(pool, IP_V4).total, 0);
}

static void test_pool_block_size__by_length(void **state)
{
	(void)state;
	assert_int_equal(pool_block_size(IP_V4, 32), 1);
	assert_int_equal(pool_block_size(IP_V4, 28), 16);
	assert_int_equal(pool_block_size(IP_V4, 24), 256);
	assert_int_equal(pool_block_size(IP_V6, 128), 1);
	assert_int_equal(pool_block_size(IP_V6, 120), 256);
	assert_int_equal(pool_block_size(IP_V6, 119), 511);
	assert_int_equal(pool_block_size(IP_V6, 112), 65535);
	assert_int_equal(pool_block_size(IP_V6, 111), POOL_RANGE_COUNT_MAX);
	assert_int_equal(pool_block_size(IP_V6, 64), POOL_RANGE_COUNT_MAX);
}

static void test_pool_count__no_sum_wraps(void **state)
{
	struct pool *pool = *state;
	char text[PREFIX_STRLEN];

	for (unsigned slot = 0; slot < CLOUD_NICS_MAX; slot++) {
		add_nic(pool, slot);
		for (unsigned i = 0; i < CLOUD_BLOCKS_MAX; i++) {
			(void)snprintf(text, sizeof(text), "2001:db8:%x:%x::/80", slot, i);
			add_block(pool, slot, text);
		}
	}
	assert_int_equal(count6(pool).total, CLOUD_NICS_MAX * CLOUD_BLOCKS_MAX * LARGE_COUNT);
	assert_int_equal(count6(pool).free, count6(pool).total);
	(void)take6(pool, 1, START_US);
	assert_int_equal(count6(pool).free, count6(pool).total - 1);
}

static void test_pool_block_set_state__range_drained_lost_and_back(void **state)
{
	struct pool *pool = *state;
	const struct prefix range = pfx(SMALL);
	struct pool_block_view view;

	add_nic(pool, 0);
	add_block(pool, 0, SMALL);
	(void)take6(pool, 1, START_US);
	(void)take6(pool, 2, START_US);
	(void)give(pool, 2, START_US);
	pool_block_set_state(pool, &range, BLOCK_DRAINING, START_US);
	assert_string_equal(take6(pool, 3, START_US), "-");
	assert_int_equal(count6(pool).unleasable, SMALL_COUNT - 2);
	assert_int_equal(count6(pool).free, 0);
	assert_sound(pool);
	(void)pool_tick(pool, START_US + COOLDOWN_US);
	assert_int_equal(count6(pool).unleasable, SMALL_COUNT - 1);
	pool_block_set_state(pool, &range, BLOCK_LOST, START_US);
	assert_int_equal(count6(pool).lost, 1);
	assert_int_equal(count6(pool).total, 0);
	pool_block_set_state(pool, &range, BLOCK_PENDING, START_US);
	assert_int_equal(count6(pool).pending, SMALL_COUNT - 1);
	pool_block_set_state(pool, &range, BLOCK_READY, START_US);
	assert_true(pool_block_get(pool, &range, &view));
	assert_int_equal(view.size, SMALL_COUNT);
	assert_int_equal(view.leased_count, 1);
	assert_int_equal(view.supply_count, SMALL_COUNT - 1);
	assert_int_equal(offset_of(take6(pool, 3, START_US)), 3);
}

static void test_pool_block_remove__range_with_cooldowns(void **state)
{
	struct pool *pool = *state;
	const struct prefix range = pfx(SMALL);

	add_nic(pool, 0);
	add_nic(pool, 1);
	add_block(pool, 0, SMALL);
	add_block(pool, 1, "2001:db8:1::/80");
	for (unsigned i = 0; i < 100; i++)
		(void)take6(pool, i, START_US);
	for (unsigned i = 0; i < 100; i++)
		(void)give(pool, i, START_US + i);
	assert_int_equal(pool_nic_by_slot(pool, 0)->cooling_count, 100);
	pool_block_remove(pool, &range);
	assert_int_equal(pool_nic_by_slot(pool, 0)->cooling_count, 0);
	assert_int_equal(pool_next_rested(pool), INT64_MAX);
	assert_sound(pool);
	assert_string_equal(take6(pool, 1, START_US), "2001:db8:1::1");
	(void)give(pool, 1, START_US);
	pool_nic_remove(pool, 1);
	assert_int_equal(count6(pool).cooling, 0);
	assert_string_equal(take6(pool, 1, START_US), "-");
}

struct seen {
	unsigned count;
	uint64_t offsets[8];
	enum addr_state states[8];
};

static int note_addr(const struct ipaddr *addr, enum addr_state addr_state, const struct lease *lease, void *arg)
{
	struct seen *seen = arg;
	const struct prefix all = pfx("2001:db8::/64");

	assert_int_equal(addr_state == ADDR_LEASED, lease != NULL);
	assert_true(seen->count < ARRAY_SIZE(seen->offsets));
	seen->offsets[seen->count] = prefix_offset(&all, addr);
	seen->states[seen->count++] = addr_state;
	return seen->count == 4 ? 42 : 0;
}

static void test_pool_addresses__of_a_range_what_is_in_use(void **state)
{
	struct pool *pool = *state;
	static const char *const cooling[] = { "2001:db8::9000", "2001:db8::3", "2001:db8::7" };
	const struct prefix range = pfx("2001:db8::/80");
	struct seen seen = { 0 };

	add_nic(pool, 0);
	add_block(pool, 0, "2001:db8::/80");
	assert_int_equal(pool_addresses(pool, &range, note_addr, &seen), 0);
	assert_int_equal(seen.count, 0);
	(void)take6(pool, 1, START_US);
	for (unsigned i = 0; i < ARRAY_SIZE(cooling) - 1; i++)
		rest(pool, cooling[i], START_US);
	assert_int_equal(pool_addresses(pool, &range, note_addr, &seen), 0);
	assert_int_equal(seen.count, 3);
	assert_int_equal(seen.offsets[0], 1);
	assert_int_equal(seen.states[0], ADDR_LEASED);
	assert_int_equal(seen.offsets[1], 3);
	assert_int_equal(seen.states[1], ADDR_COOLING);
	assert_int_equal(seen.offsets[2], 0x9000);
	rest(pool, cooling[2], START_US);
	seen.count = 0;
	assert_int_equal(pool_addresses(pool, &range, note_addr, &seen), 42);
	assert_int_equal(seen.offsets[2], 7);
	assert_int_equal(seen.offsets[3], 0x9000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pool_test_v6(test_pool_lease__range_in_order_behind_its_base),
		pool_test_v6(test_pool_lease__range_comes_round),
		pool_test_v6(test_pool_lease__range_passes_what_is_in_use),
		pool_test_v6(test_pool_lease__base_of_a_range__gcp_7),
		pool_test_v6(test_pool_lease__small_v6_blocks_are_kept_one_by_one),
		pool_test_v6(test_pool_lease__range_among_others_by_last_use),
		pool_test_v6(test_pool_lease_undo__range_goes_back),
		pool_test_v6(test_pool_lease_undo__range_that_had_come_round),
		pool_test_v6(test_pool_lease_restore__range_goes_on_behind_it),
		pool_test_v6(test_pool_lease_restore__range_ends_a_cooldown),
		pool_test_v6(test_pool_lease_restore__last_address_of_the_largest_range),
		pool_test_v6(test_pool_cooldown_restore__last_of_a_range_puts_it_behind_the_others),
		pool_test_v6(test_pool_lease_restore__base_of_a_range),
		pool_test_v6(test_pool_cooldown_restore__range_that_counts_as_full),
		pool_test_v6(test_pool_block_add__v6_of_every_size),
		check_unit_test(test_pool_block_size__by_length),
		pool_test_v6(test_pool_count__no_sum_wraps),
		pool_test_v6(test_pool_block_set_state__range_drained_lost_and_back),
		pool_test_v6(test_pool_block_remove__range_with_cooldowns),
		pool_test_v6(test_pool_addresses__of_a_range_what_is_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
