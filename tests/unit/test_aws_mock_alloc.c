/* SPDX-License-Identifier: Apache-2.0 */
/* The address pool of the mock clouds, and what the mock EC2 gives out of it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mocks/addrpool.h"
#include "mocks/prng.h"

static struct prefix range(const char *text)
{
	struct prefix prefix;

	assert_int_equal(prefix_parse(text, &prefix), 0);
	return prefix;
}

static void pool_of(struct addrpool *pool, const char *text)
{
	struct prefix prefix = range(text);

	assert_int_equal(addrpool_init(pool, &prefix, 4, 1), 0);
}

static void test_addrpool_init__sizes(void **state)
{
	struct addrpool pool;
	struct prefix big = range("10.0.0.0/15"), v6 = range("2001:db8::/64");

	(void)state;
	pool_of(&pool, "10.0.1.0/24");
	assert_int_equal(pool.free_count, 251);
	addrpool_done(&pool);
	assert_int_equal(addrpool_init(&pool, &big, 4, 1), -EINVAL);
	assert_int_equal(addrpool_init(&pool, &v6, 4, 1), -EINVAL);
}

static void test_addrpool_take_any__all_once_and_never_reserved(void **state)
{
	struct prng prng = { .state = 3 };
	struct addrpool pool;
	struct ipaddr addr;
	bool seen[32] = { false };

	(void)state;
	pool_of(&pool, "10.0.1.32/27");
	for (unsigned i = 0; i < 27; i++) {
		assert_int_equal(addrpool_take_any(&pool, &prng, &addr), 0);
		uint64_t index = prefix_offset(&pool.range, &addr);

		assert_in_range(index, 4, 30);
		assert_false(seen[index]);
		seen[index] = true;
	}
	assert_int_equal(pool.free_count, 0);
	assert_int_equal(addrpool_take_any(&pool, &prng, &addr), -ENOSPC);
	addrpool_done(&pool);
}

static void test_addrpool_take_any__same_seed_same_addresses(void **state)
{
	struct prng one = { .state = 9 }, two = { .state = 9 };
	struct addrpool a, b;
	struct ipaddr x, y;

	(void)state;
	pool_of(&a, "10.0.1.0/24");
	pool_of(&b, "10.0.1.0/24");
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(addrpool_take_any(&a, &one, &x), 0);
		assert_int_equal(addrpool_take_any(&b, &two, &y), 0);
		assert_true(ipaddr_equal(&x, &y));
	}
	addrpool_done(&a);
	addrpool_done(&b);
}

static void test_addrpool_take_block__aligned_and_whole(void **state)
{
	struct prng prng = { .state = 5 };
	struct addrpool pool;
	struct prefix block;

	(void)state;
	pool_of(&pool, "10.0.1.0/24");
	/* The first and the last sixteenth hold reserved addresses. */
	for (unsigned i = 0; i < 14; i++) {
		assert_int_equal(addrpool_take_block(&pool, &prng, 28, &block), 0);
		assert_int_equal(block.addr.bytes[3] % 16, 0);
		assert_in_range(block.addr.bytes[3], 16, 224);
	}
	assert_int_equal(addrpool_take_block(&pool, &prng, 28, &block), -ENOSPC);
	assert_int_equal(pool.free_count, 251 - 14 * 16);
	addrpool_give(&pool, &block);
	assert_int_equal(addrpool_take_block(&pool, &prng, 28, &block), 0);
	addrpool_done(&pool);
}

static void test_addrpool_take_block__fragmented(void **state)
{
	struct prng prng = { .state = 5 };
	struct addrpool pool;
	struct prefix one = range("10.0.1.20/32"), two = range("10.0.1.36/32"), block;

	(void)state;
	pool_of(&pool, "10.0.1.0/26");
	assert_int_equal(addrpool_take(&pool, &one), 0);
	assert_int_equal(addrpool_take(&pool, &two), 0);
	assert_true(pool.free_count > 16);
	assert_int_equal(addrpool_take_block(&pool, &prng, 28, &block), -ENOSPC);
	addrpool_give(&pool, &two);
	assert_int_equal(addrpool_take_block(&pool, &prng, 28, &block), 0);
	assert_int_equal(block.addr.bytes[3], 32);
	addrpool_done(&pool);
}

static void test_addrpool_take__says_why_not(void **state)
{
	struct prefix inside = range("10.0.1.77/32"), outside = range("10.0.2.1/32"), kept = range("10.0.1.3/32");
	struct prefix around = range("10.0.1.64/28");
	struct addrpool pool;

	(void)state;
	pool_of(&pool, "10.0.1.0/24");
	assert_int_equal(addrpool_take(&pool, &outside), -ERANGE);
	assert_int_equal(addrpool_take(&pool, &kept), -EPERM);
	assert_int_equal(addrpool_take(&pool, &inside), 0);
	assert_int_equal(addrpool_take(&pool, &inside), -EBUSY);
	assert_int_equal(addrpool_take(&pool, &around), -EBUSY);
	assert_int_equal(pool.free_count, 250);
	addrpool_done(&pool);
}

static void test_addrpool_hold__blocks_first_and_singles_never(void **state)
{
	struct prefix held = range("10.0.1.128/27"), block;
	struct prng prng = { .state = 11 };
	struct addrpool pool;
	struct ipaddr addr;

	(void)state;
	pool_of(&pool, "10.0.1.0/24");
	assert_int_equal(addrpool_hold(&pool, &held, ADDRPOOL_HOLD_BLOCKS), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(addrpool_take_block(&pool, &prng, 28, &block), 0);
		assert_true(prefix_covers(&held, &block));
	}
	assert_int_equal(addrpool_take_block(&pool, &prng, 28, &block), 0);
	assert_false(prefix_covers(&held, &block));
	while (addrpool_take_any(&pool, &prng, &addr) == 0)
		assert_false(prefix_contains(&held, &addr));
	addrpool_done(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addrpool_init__sizes),
		cmocka_unit_test(test_addrpool_take_any__all_once_and_never_reserved),
		cmocka_unit_test(test_addrpool_take_any__same_seed_same_addresses),
		cmocka_unit_test(test_addrpool_take_block__aligned_and_whole),
		cmocka_unit_test(test_addrpool_take_block__fragmented),
		cmocka_unit_test(test_addrpool_take__says_why_not),
		cmocka_unit_test(test_addrpool_hold__blocks_first_and_singles_never),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
