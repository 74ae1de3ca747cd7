/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the pool's work depends on: not on how much it holds. Each test does the same work in a small and in a large pool and
 * compares the processor time, best of several, so that a busy machine does not matter; what walked through all of it
 * would take as many times longer as the large pool is larger.
 */
#include "tests/unit/pools.h"

#include <stdlib.h>
#include <time.h>

#define ROUNDS       5U     /* the best of so many counts */
#define OPERATIONS   20000U /* of each round */
#define SMALL_BLOCKS 1U
#define LARGE_BLOCKS 40U /* of 256 addresses, or groups of 250 addresses of one: 10,000 */
#define SINGLES      250U
/* log2(10,000) / log2(250) is 1.7; caches that hold the small pool and not the large one cost the rest. 40 would be linear. */
#define FACTOR_MAX 10

static int64_t cpu_ns(void)
{
	struct timespec now;

	assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static struct ipaddr single(unsigned number)
{
	return ipaddr_v4(0x0a000000U + 2 * number);
}

/* So many NICs with a block of 256 addresses, or with 250 of one address. */
static struct pool *pool_of(unsigned nics, bool singles)
{
	struct pool *pool = pool_new(COOLDOWN_US, POOL_SERVES_V4);
	char text[PREFIX_STRLEN];

	assert_non_null(pool);
	for (unsigned slot = 0; slot < nics; slot++) {
		add_nic(pool, slot);
		for (unsigned i = 0; singles && i < SINGLES; i++) {
			const struct ipaddr addr = single(slot * SINGLES + i);

			add_block(pool, slot, ipaddr_str(&addr, text));
		}
		(void)snprintf(text, sizeof(text), "10.0.%u.0/24", slot);
		if (!singles)
			add_block(pool, slot, text);
	}
	return pool;
}

/* ---- a life ---- */

/* Half of all is leased throughout; pods come and go, are found, and addresses rest. */
static int64_t live(struct pool *pool)
{
	unsigned pods = count(pool).total / 2;
	const struct pod_name name = { .name = "p" };
	int64_t start_ns, now_us = START_US;

	for (unsigned i = 0; i < pods; i++)
		assert_string_not_equal(take(pool, i, now_us), "-");
	start_ns = cpu_ns();
	for (unsigned i = 0; i < OPERATIONS; i++) {
		const struct lease_key old = key_of(i), new = key_of(pods + i);
		const struct lease *lease;
		bool is_new;

		if (!pool_lease_release(pool, &old, now_us, NULL) ||
		    !(lease = pool_lease(pool, &new, &name, "", now_us, &is_new)) ||
		    pool_lease_by_addr(pool, &lease->addrs[0]) != lease || pool_lease_find(pool, &new) != lease ||
		    count(pool).leased != pods)
			fail();
		now_us += USEC_PER_SEC;
		(void)pool_tick(pool, now_us);
	}
	return cpu_ns() - start_ns;
}

static int64_t best_life(unsigned nics, bool singles)
{
	int64_t best_ns = INT64_MAX;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct pool *pool = pool_of(nics, singles);
		int64_t ns = live(pool);

		best_ns = ns < best_ns ? ns : best_ns;
		assert_sound(pool);
		pool_free(pool);
	}
	return best_ns;
}

static void assert_factor(const char *what, int64_t small_ns, int64_t large_ns, int factor_max)
{
	print_message("# %s: %lld ns small, %lld ns large\n", what, (long long)small_ns, (long long)large_ns);
	assert_true(large_ns < factor_max * small_ns);
}

static void test_pool_lease__ten_thousand_addresses(void **state)
{
	(void)state;
	assert_factor("lease, find, count, release, tick", best_life(SMALL_BLOCKS, false) / OPERATIONS,
		      best_life(LARGE_BLOCKS, false) / OPERATIONS, FACTOR_MAX);
}

static void test_pool_lease__ten_thousand_blocks(void **state)
{
	(void)state;
	assert_factor("lease, find, count, release, tick", best_life(SMALL_BLOCKS, true) / OPERATIONS,
		      best_life(LARGE_BLOCKS, true) / OPERATIONS, FACTOR_MAX);
}

/* ---- counting ---- */

static int64_t best_count(unsigned nics)
{
	struct pool *pool = pool_of(nics, true);
	int64_t best_ns = INT64_MAX;

	for (unsigned i = 0; i < ROUNDS; i++) {
		int64_t start_ns = cpu_ns(), ns;

		for (unsigned n = 0; n < OPERATIONS; n++)
			if (count(pool).total != nics * SINGLES)
				fail();
		ns = (cpu_ns() - start_ns) / OPERATIONS;
		best_ns = ns < best_ns ? ns : best_ns;
	}
	pool_free(pool);
	return best_ns;
}

static void test_pool_count__walks_no_block(void **state)
{
	(void)state;
	assert_factor("count", best_count(SMALL_BLOCKS), best_count(LARGE_BLOCKS), FACTOR_MAX);
}

/* ---- a restart ---- */

static unsigned next_random(uint64_t *random, unsigned below)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return (unsigned)(*random % below);
}

/* Of one address: all cooldowns of a full pool restored in random order, and ended. */
static int64_t best_restart(unsigned nics)
{
	unsigned addr_count = nics * SINGLES;
	int64_t best_ns = INT64_MAX;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct pool *pool = pool_of(nics, true);
		uint64_t random = 20261125;
		int64_t start_ns = cpu_ns(), ns;

		for (unsigned n = 0; n < addr_count; n++) {
			const struct ipaddr addr = single(n);

			if (pool_cooldown_restore(pool, &addr, START_US + next_random(&random, 1U << 30)) != 0)
				fail();
		}
		(void)pool_tick(pool, START_US + (INT64_C(1) << 30));
		ns = (cpu_ns() - start_ns) / addr_count;
		best_ns = ns < best_ns ? ns : best_ns;
		assert_int_equal(count(pool).free, addr_count);
		pool_free(pool);
	}
	return best_ns;
}

static void test_pool_cooldown_restore__ten_thousand_in_random_order(void **state)
{
	(void)state;
	assert_factor("cooldown restored and ended", best_restart(SMALL_BLOCKS), best_restart(LARGE_BLOCKS),
		      FACTOR_MAX);
}

/* ---- a range with much in use ---- */

static int64_t best_range(unsigned in_use)
{
	int64_t best_ns = INT64_MAX;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct pool *pool = pool_new(COOLDOWN_US, POOL_SERVES_V6);
		int64_t start_ns, ns, now_us = START_US;

		assert_non_null(pool);
		add_nic(pool, 0);
		add_block(pool, 0, "2001:db8::/80");
		for (unsigned n = 0; n < in_use; n++)
			assert_string_not_equal(take6(pool, n, now_us), "-");
		start_ns = cpu_ns();
		for (unsigned n = 0; n < OPERATIONS; n++) {
			now_us = give(pool, n, now_us);
			(void)pool_tick(pool, now_us);
			if (take6(pool, in_use + n, now_us)[0] == '-')
				fail();
		}
		ns = (cpu_ns() - start_ns) / OPERATIONS;
		best_ns = ns < best_ns ? ns : best_ns;
		pool_free(pool);
	}
	return best_ns;
}

static void test_pool_lease__range_with_thousands_in_use(void **state)
{
	(void)state;
	assert_factor("lease and release in a range", best_range(SINGLES), best_range(LARGE_BLOCKS * SINGLES),
		      FACTOR_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_pool_lease__ten_thousand_addresses),
		check_unit_test(test_pool_lease__ten_thousand_blocks),
		check_unit_test(test_pool_count__walks_no_block),
		check_unit_test(test_pool_cooldown_restore__ten_thousand_in_random_order),
		check_unit_test(test_pool_lease__range_with_thousands_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
