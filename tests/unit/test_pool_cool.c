/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to an address between two pods: cooldown, flush, and its place in the line. */
#include "tests/unit/pools.h"

#include "berth/str.h"

#define MANY 10000U /* cooldowns of a large node that restarts */

/* The only address that is flushed now, as text. */
static const char *flush_one(struct pool *pool, int64_t now_us)
{
	static char text[IPADDR_STRLEN];
	struct ipaddr addrs[2];

	assert_int_equal(pool_flush_begin(pool, now_us, addrs, 2), 1);
	return ipaddr_str(&addrs[0], text);
}

static void flushed(struct pool *pool, const char *text, int64_t now_us)
{
	const struct ipaddr addr = ip(text);

	pool_flush_end(pool, &addr, now_us);
	assert_sound(pool);
}

/* ---- two steps ---- */

static void test_pool_flush_begin__stays_cooling_until_flushed__rule_12(void **state)
{
	struct pool *pool = *state;
	struct ipaddr none;
	struct pool_block_view view;
	int64_t until_us;

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.9/32");
	(void)take(pool, 1, START_US);
	until_us = give(pool, 1, START_US);
	assert_int_equal(pool_next_rested(pool), until_us);
	assert_int_equal(pool_flush_begin(pool, until_us - 1, &none, 1), 0);
	assert_string_equal(flush_one(pool, until_us), "10.0.0.9");
	assert_int_equal(pool_next_rested(pool), INT64_MAX);
	assert_int_equal(pool_flush_begin(pool, until_us, &none, 1), 0);
	assert_int_equal(pool_tick(pool, until_us + 5), INT64_MAX);
	assert_int_equal(count(pool).cooling, 1);
	assert_string_equal(take(pool, 2, until_us), "-");
	assert_sound(pool);
	flushed(pool, "10.0.0.9", until_us + 7);
	assert_int_equal(count(pool).cooling, 0);
	assert_int_equal(count(pool).free, 1);
	assert_true(pool_block_of(pool, &(struct ipaddr){ .family = IP_V4, .bytes = { 10, 0, 0, 9 } }, &view));
	assert_int_equal(view.idle_since_us, until_us + 7);
	assert_string_equal(take(pool, 2, until_us), "10.0.0.9");
}

static void test_pool_flush_begin__in_the_order_of_their_end(void **state)
{
	struct pool *pool = *state;
	struct ipaddr addrs[4];

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/29");
	for (unsigned i = 0; i < 5; i++)
		(void)take(pool, i, START_US);
	(void)give(pool, 3, START_US + 1);
	(void)give(pool, 0, START_US + 2);
	(void)give(pool, 4, START_US + 2);
	(void)give(pool, 1, START_US + 2);
	(void)give(pool, 2, START_US + 3);
	assert_int_equal(pool_flush_begin(pool, START_US + COOLDOWN_US + 2, addrs, 3), 3);
	assert_int_equal(addrs[0].bytes[3], 3);
	assert_int_equal(addrs[1].bytes[3], 0);
	assert_int_equal(addrs[2].bytes[3], 4);
	assert_int_equal(pool_next_rested(pool), START_US + COOLDOWN_US + 2);
	assert_int_equal(pool_flush_begin(pool, START_US + COOLDOWN_US + 2, addrs, 3), 1);
	assert_int_equal(addrs[0].bytes[3], 1);
	assert_int_equal(pool_next_rested(pool), START_US + COOLDOWN_US + 3);
}

/* Those that are flushed first are leased first, whatever the order in which they began to rest. */
static void test_pool_flush_end__joins_the_line_at_its_end(void **state)
{
	struct pool *pool = *state;
	struct ipaddr addrs[4];

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/30");
	for (unsigned i = 0; i < 4; i++)
		(void)take(pool, i, START_US);
	for (unsigned i = 0; i < 3; i++)
		(void)give(pool, i, START_US + i);
	assert_int_equal(pool_flush_begin(pool, START_US + COOLDOWN_US + 9, addrs, 4), 3);
	flushed(pool, "10.0.0.2", START_US);
	flushed(pool, "10.0.0.0", START_US);
	flushed(pool, "10.0.0.1", START_US);
	assert_string_equal(take(pool, 10, START_US), "10.0.0.2");
	assert_string_equal(take(pool, 11, START_US), "10.0.0.0");
	assert_string_equal(take(pool, 12, START_US), "10.0.0.1");
}

/* The flush is a job that takes its time: what happened to the address meanwhile counts. */
static void test_pool_flush_end__not_flushed_any_more(void **state)
{
	struct pool *pool = *state;
	const struct lease lease = { .key = key_of(9), .addrs = { ip("10.0.0.0") } };
	const struct prefix block = pfx("10.0.1.0/31");
	struct ipaddr addrs[8];

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/30");
	add_block(pool, 0, "10.0.1.0/31");
	rest(pool, "10.0.0.0", START_US);
	rest(pool, "10.0.0.1", START_US);
	rest(pool, "10.0.0.2", START_US);
	rest(pool, "10.0.1.1", START_US);
	assert_int_equal(pool_flush_begin(pool, START_US, addrs, ARRAY_SIZE(addrs)), 4);
	assert_int_equal(pool_lease_restore(pool, &lease), 0);
	flushed(pool, "10.0.0.0", START_US);
	assert_int_equal(count(pool).leased, 1);
	rest(pool, "10.0.0.1", START_US + 5);
	flushed(pool, "10.0.0.1", START_US);
	assert_int_equal(count(pool).cooling, 3);
	assert_int_equal(pool_next_rested(pool), START_US + 5);
	/* An end that is no later is no news. */
	rest(pool, "10.0.0.2", START_US);
	flushed(pool, "10.0.0.2", START_US);
	assert_int_equal(count(pool).cooling, 2);
	pool_block_remove(pool, &block);
	flushed(pool, "10.0.1.1", START_US);
	flushed(pool, "10.0.0.3", START_US);
	flushed(pool, "192.0.2.1", START_US);
	flushed(pool, "2001:db8::1", START_US);
	assert_int_equal(count(pool).cooling, 1);
	assert_int_equal(count(pool).free, 2);
	assert_string_equal(flush_one(pool, START_US + 5), "10.0.0.1");
	flushed(pool, "10.0.0.1", START_US + 6);
	flushed(pool, "10.0.0.1", START_US + 7);
	assert_int_equal(count(pool).free, 3);
}

static void test_pool_flush_end__on_a_block_that_drains(void **state)
{
	struct pool *pool = *state;
	const struct prefix block = pfx("10.0.0.9/32");

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.9/32");
	rest(pool, "10.0.0.9", START_US);
	pool_block_set_state(pool, &block, BLOCK_DRAINING, START_US);
	assert_int_equal(count(pool).cooling, 1);
	assert_int_equal(count(pool).unleasable, 0);
	assert_string_equal(flush_one(pool, START_US), "10.0.0.9");
	flushed(pool, "10.0.0.9", START_US);
	assert_int_equal(count(pool).unleasable, 1);
	assert_string_equal(take(pool, 1, START_US), "-");
	pool_block_set_state(pool, &block, BLOCK_READY, START_US);
	assert_string_equal(take(pool, 1, START_US), "10.0.0.9");
}

static void test_pool_flush_end__of_a_range(void **state)
{
	struct pool *pool = *state;

	add_nic(pool, 0);
	add_block(pool, 0, "2001:db8::/80");
	(void)take6(pool, 1, START_US);
	(void)give(pool, 1, START_US);
	assert_string_equal(flush_one(pool, START_US + COOLDOWN_US), "2001:db8::1");
	assert_int_equal(count_of(pool, IP_V6).cooling, 1);
	flushed(pool, "2001:db8::1", START_US + COOLDOWN_US);
	flushed(pool, "2001:db8::1", START_US + COOLDOWN_US);
	flushed(pool, "2001:db8::2", START_US + COOLDOWN_US);
	assert_int_equal(count_of(pool, IP_V6).cooling, 0);
	assert_int_equal(count_of(pool, IP_V6).free, POOL_RANGE_COUNT_MAX);
}

/* ---- who waits, and for how long ---- */

/* Churn on a node with a few spare addresses: each is as old as can be, and has rested, whenever it is given. */
static void test_pool_lease__oldest_that_has_rested__aws_3634(void **state)
{
	struct pool *pool = *state;
	int64_t given_back_us[16], now_us = START_US;
	unsigned leased = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(given_back_us); i++)
		given_back_us[i] = INT64_MIN;
	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/28");
	for (unsigned i = 0; i < 500; i++, now_us += 3 * USEC_PER_SEC) {
		const char *got = take(pool, i, now_us);
		unsigned at;

		(void)pool_tick(pool, now_us);
		if (got[0] == '-')
			continue;
		leased++;
		at = ip(got).bytes[3];
		assert_true(given_back_us[at] == INT64_MIN || given_back_us[at] + COOLDOWN_US <= now_us);
		for (unsigned other = 0; other < ARRAY_SIZE(given_back_us); other++)
			assert_true(given_back_us[other] >= given_back_us[at]);
		(void)give(pool, i, now_us);
		given_back_us[at] = now_us;
	}
	assert_int_equal(leased, 500);
}

static void test_pool_count__cooling_is_not_available__aws_2896(void **state)
{
	struct pool *pool = *state;
	const struct prefix block = pfx("10.0.0.0/28");
	struct pool_block_view view;

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/28");
	for (unsigned i = 0; i < 16; i++)
		(void)take(pool, i, START_US);
	for (unsigned i = 0; i < 16; i++)
		(void)give(pool, i, START_US);
	assert_int_equal(count(pool).free + count(pool).pending + count(pool).unleasable, 0);
	assert_int_equal(count(pool).cooling, 16);
	assert_true(pool_block_get(pool, &block, &view));
	assert_int_equal(view.supply_count, 0);
	assert_string_equal(take(pool, 99, START_US + COOLDOWN_US - 1), "-");
}

/* Rested through a restart, and nothing that rests is returned to the cloud: RELEASING asserts it (test_pool_walk). */
static void test_pool_cooldown_restore__survives_a_restart__aws_40_16(void **state)
{
	struct pool *pool = *state;

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/31");
	rest(pool, "10.0.0.0", START_US + 9);
	assert_int_equal(count(pool).cooling, 1);
	assert_int_equal(count(pool).free, 1);
	assert_string_equal(take(pool, 1, START_US), "10.0.0.1");
	assert_string_equal(take(pool, 2, START_US), "-");
	(void)pool_tick(pool, START_US + 8);
	assert_string_equal(take(pool, 2, START_US + 8), "-");
	(void)pool_tick(pool, START_US + 9);
	assert_string_equal(take(pool, 2, START_US + 9), "10.0.0.0");
}

static void test_pool_lease__not_within_cooldown_after_a_restart__gcp_8(void **state)
{
	struct pool *pool = *state;

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/30");
	add_block(pool, 0, "2001:db8::/119");
	rest(pool, "10.0.0.2", START_US + 5);
	rest(pool, "2001:db8::1ff", START_US + 5);
	rest(pool, "2001:db8::1", START_US + 5);
	for (unsigned i = 0; i < 3; i++) {
		struct got got = take_both(pool, i, START_US);

		assert_string_not_equal(got.v4, "10.0.0.2");
		assert_string_not_equal(got.v6, "2001:db8::1");
		assert_string_not_equal(got.v6, "-");
	}
	assert_string_equal(take(pool, 4, START_US + 4), "-");
	(void)pool_tick(pool, START_US + 5);
	assert_string_equal(take(pool, 4, START_US + 5), "10.0.0.2");
}

static void test_pool_lease__not_at_once_while_others_are_free__azure_30(void **state)
{
	struct pool *pool = *state;

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/30");
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(ip(take(pool, i, START_US)).bytes[3], i);
		assert_true(give(pool, i, START_US) >= START_US + 30 * USEC_PER_SEC);
	}
	assert_string_equal(take(pool, 9, START_US), "-");
}

/* ---- many ---- */

static unsigned next_random(uint64_t *random, unsigned below)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return (unsigned)(*random % below);
}

static void test_pool_cooldown_restore__thousands_in_random_order(void **state)
{
	struct pool *pool = *state;
	static int64_t until_us[MANY];
	struct ipaddr addrs[64];
	uint64_t random = 20260923;
	int64_t last_us = 0;
	unsigned seen = 0, count;
	char text[PREFIX_STRLEN];

	add_nic(pool, 0);
	for (unsigned i = 0; i < 40; i++) {
		(void)snprintf(text, sizeof(text), "10.0.%u.0/24", i);
		add_block(pool, 0, text);
	}
	for (unsigned i = 0; i < MANY; i++) {
		const struct ipaddr addr = ipaddr_v4(0x0a000000U + i);

		until_us[i] = START_US + next_random(&random, 100000);
		assert_int_equal(pool_cooldown_restore(pool, &addr, until_us[i]), 0);
		if (next_random(&random, 4) == 0) {
			until_us[i] += next_random(&random, 100000);
			assert_int_equal(pool_cooldown_restore(pool, &addr, until_us[i]), 0);
		}
	}
	assert_sound(pool);
	while ((count = pool_flush_begin(pool, START_US + 200000, addrs, ARRAY_SIZE(addrs))) > 0) {
		for (unsigned i = 0; i < count; i++) {
			unsigned at = addrs[i].bytes[2] * 256U + addrs[i].bytes[3];

			assert_true(until_us[at] >= last_us);
			last_us = until_us[at];
			pool_flush_end(pool, &addrs[i], START_US);
		}
		seen += count;
	}
	assert_int_equal(seen, MANY);
	assert_int_equal(count_of(pool, IP_V4).free, 40 * 256);
}

/* Cooldowns that end early, wherever they stand among the others. */
static void test_pool_lease_restore__ends_any_of_many_cooldowns(void **state)
{
	struct pool *pool = *state;
	uint64_t random = 7;
	struct lease lease = { .state = LEASE_BOUND };

	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/24");
	for (unsigned i = 0; i < 256; i++) {
		const struct ipaddr addr = ipaddr_v4(0x0a000000U + i);

		assert_int_equal(pool_cooldown_restore(pool, &addr, START_US + next_random(&random, 1000)), 0);
	}
	for (unsigned i = 0; i < 256; i++) {
		lease.key = key_of(i);
		lease.addrs[0] = ipaddr_v4(0x0a000000U + (i * 89) % 256); /* each once */
		assert_int_equal(pool_lease_restore(pool, &lease), 0);
		assert_sound(pool);
	}
	assert_int_equal(pool_next_rested(pool), INT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pool_test(test_pool_flush_begin__stays_cooling_until_flushed__rule_12),
		pool_test(test_pool_flush_begin__in_the_order_of_their_end),
		pool_test(test_pool_flush_end__joins_the_line_at_its_end),
		pool_test(test_pool_flush_end__not_flushed_any_more),
		pool_test(test_pool_flush_end__on_a_block_that_drains),
		pool_test_v6(test_pool_flush_end__of_a_range),
		pool_test(test_pool_lease__oldest_that_has_rested__aws_3634),
		pool_test(test_pool_count__cooling_is_not_available__aws_2896),
		pool_test(test_pool_cooldown_restore__survives_a_restart__aws_40_16),
		pool_test_dual(test_pool_lease__not_within_cooldown_after_a_restart__gcp_8),
		pool_test(test_pool_lease__not_at_once_while_others_are_free__azure_30),
		pool_test(test_pool_cooldown_restore__thousands_in_random_order),
		pool_test(test_pool_lease_restore__ends_any_of_many_cooldowns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
