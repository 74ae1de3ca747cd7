/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the pool costs, and what it does when there is no memory. This program's own allocator counts and, when told to,
 * refuses. AddressSanitizer has one too, which counts only: what needs to be refused is not tested under it.
 */
#include "tests/unit/pools.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#define NIC_COUNT   16U
#define BLOCK_COUNT (NIC_COUNT * CLOUD_BLOCKS_MAX)
#define BLOCK_BYTES 512U /* a struct, its place in the order of addresses, and what the allocator adds */

#if defined(__SANITIZE_ADDRESS__)
#define OWN_ALLOCATOR 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OWN_ALLOCATOR 0
#endif
#endif
#ifndef OWN_ALLOCATOR
#define OWN_ALLOCATOR 1
#endif

#if OWN_ALLOCATOR
static size_t bytes;
static unsigned allocations, refuse_at; /* the number of the allocation that is refused; 0: none */

static size_t bytes_in_use(void)
{
	return bytes;
}

/* glibc's own, for programs that put theirs in front: "Replacing malloc" in its manual. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void __libc_free(void *memory);

static bool refused(void)
{
	return ++allocations == refuse_at;
}

static void *counted(void *memory)
{
	bytes += memory ? malloc_usable_size(memory) : 0;
	return memory;
}

void *malloc(size_t size)
{
	return refused() ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t count, size_t size)
{
	return refused() ? NULL : counted(__libc_calloc(count, size));
}

void *realloc(void *old, size_t size)
{
	size_t before = old ? malloc_usable_size(old) : 0;
	void *memory = refused() ? NULL : counted(__libc_realloc(old, size));

	bytes -= memory ? before : 0;
	return memory;
}

void *reallocarray(void *old, size_t count, size_t size)
{
	return realloc(old, count * size); /* the tests' arrays are small */
}

void free(void *memory)
{
	bytes -= memory ? malloc_usable_size(memory) : 0;
	__libc_free(memory);
}
#else
/* As sanitizer/allocator_interface.h says, which gcc does not come with. */
extern size_t __sanitizer_get_current_allocated_bytes(void);

static size_t bytes_in_use(void)
{
	return __sanitizer_get_current_allocated_bytes();
}
#endif

/* ---- what it costs ---- */

/* Of BLOCK_COUNT ranges of one length. */
static size_t bytes_of_ranges(unsigned len)
{
	struct pool *pool = pool_new(COOLDOWN_US, POOL_SERVES_V6);
	size_t before, used;

	assert_non_null(pool);
	for (unsigned slot = 0; slot < NIC_COUNT; slot++)
		add_nic(pool, slot);
	before = bytes_in_use();
	for (unsigned i = 0; i < BLOCK_COUNT; i++) {
		struct prefix prefix = pfx("2001:db8::/64");

		prefix.len = (uint8_t)len;
		prefix.addr.bytes[6] = (uint8_t)(i >> 8);
		prefix.addr.bytes[7] = (uint8_t)i;
		assert_int_equal(pool_block_add(pool, i / CLOUD_BLOCKS_MAX, &prefix, START_US), 0);
		pool_block_set_state(pool, &prefix, BLOCK_READY, START_US);
	}
	used = bytes_in_use() - before;
	assert_sound(pool);
	pool_free(pool);
	return used;
}

/* Not a byte more for each: the heap rounds a chunk up by what is too small to be split off. */
static void assert_same_cost(size_t cost, size_t other)
{
	assert_true(cost < other + BLOCK_COUNT && other < cost + BLOCK_COUNT);
}

static void test_pool_block_add__v6_prefix_costs_the_same_at_any_size__azure_27(void **state)
{
	size_t cost = bytes_of_ranges(80);

	(void)state;
	assert_true(cost > BLOCK_COUNT * sizeof(void *));
	assert_true(cost < BLOCK_COUNT * BLOCK_BYTES);
	assert_same_cost(bytes_of_ranges(64), cost);
	assert_same_cost(bytes_of_ranges(112), cost);
	assert_same_cost(bytes_of_ranges(119), cost);
}

/* Leasing from one address to the next through a whole range leaves nothing behind. */
static void test_pool_lease__of_a_range_costs_what_is_in_use(void **state)
{
	struct pool *pool = pool_new(COOLDOWN_US, POOL_SERVES_V6);
	size_t before = 0;
	int64_t now_us = START_US;

	(void)state;
	add_nic(pool, 0);
	add_block(pool, 0, "2001:db8::/80");
	for (unsigned i = 0; i < 5000; i++) {
		if (i == 1)
			before = bytes_in_use();
		assert_string_not_equal(take6(pool, i, now_us), "-");
		now_us = give(pool, i, now_us);
		(void)pool_tick(pool, now_us);
	}
	assert_int_equal(bytes_in_use(), before);
	pool_free(pool);
}

static void test_pool_free__gives_all_back(void **state)
{
	size_t before = bytes_in_use();
	struct pool *pool = pool_new(COOLDOWN_US, POOL_SERVES_V4 | POOL_SERVES_V6);

	(void)state;
	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/24");
	add_block(pool, 0, "2001:db8::/80");
	for (unsigned i = 0; i < 200; i++)
		assert_string_not_equal(take(pool, i, START_US), "-");
	for (unsigned i = 0; i < 100; i++)
		(void)give(pool, i, START_US);
	assert_true(bytes_in_use() > before);
	pool_free(pool);
	assert_int_equal(bytes_in_use(), before);
}

static struct pool *dual_pool(void)
{
	struct pool *pool = pool_new(COOLDOWN_US, POOL_SERVES_V4 | POOL_SERVES_V6);

	assert_non_null(pool);
	add_nic(pool, 0);
	add_block(pool, 0, "10.0.0.0/30");
	add_block(pool, 0, "2001:db8::/80");
	return pool;
}

static void test_pool_lease__none_free_leaves_nothing(void **state)
{
	struct pool *pool = dual_pool();
	size_t before;

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		assert_string_not_equal(take(pool, i, START_US), "-");
	before = bytes_in_use();
	assert_string_equal(take(pool, 9, START_US), "-");
	assert_int_equal(bytes_in_use(), before);
	pool_free(pool);
}

#if OWN_ALLOCATOR
/* ---- no memory ---- */

/* Refuses the first, the second, ... allocation of @act until it needs no more; each time nothing must have changed, but
 * for room that was made and is kept. Return: how many it needs. */
static unsigned refuse_each(struct pool *pool, int (*act)(struct pool *pool), bool makes_room)
{
	unsigned n = 1;
	int rc;

	for (;; n++) {
		size_t before = bytes_in_use();
		struct pool_counts v4 = count(pool), v6 = count_of(pool, IP_V6), after;

		allocations = 0;
		refuse_at = n;
		rc = act(pool);
		refuse_at = 0;
		if (rc == 0)
			break;
		assert_int_equal(rc, -ENOMEM);
		assert_sound(pool);
		after = count(pool);
		assert_memory_equal(&v4, &after, sizeof(v4));
		after = count_of(pool, IP_V6);
		assert_memory_equal(&v6, &after, sizeof(v6));
		assert_true(bytes_in_use() == before || (makes_room && bytes_in_use() > before));
	}
	assert_sound(pool);
	return n - 1;
}

static int lease_one(struct pool *pool)
{
	struct got got = take_both(pool, 1, START_US);

	assert_int_equal(got.v4[0] == '-', got.v6[0] == '-');
	return got.v4[0] == '-' ? -ENOMEM : 0;
}

/* The second address cannot be had for want of memory: the first one is free again, and both come first next time. */
static void test_pool_lease__all_or_none_without_memory__gcp_23(void **state)
{
	struct pool *pool = dual_pool();

	(void)state;
	assert_in_range(refuse_each(pool, lease_one, false), 2, 9);
	assert_string_equal(take_both(pool, 1, START_US).v4, "10.0.0.0");
	assert_string_equal(take_both(pool, 1, START_US).v6, "2001:db8::1");
	pool_free(pool);
}

static int restore_one(struct pool *pool)
{
	const struct lease lease = { .key = key_of(1), .addrs = { ip("10.0.0.3"), ip("2001:db8::77") } };

	return pool_lease_restore(pool, &lease);
}

static void test_pool_lease_restore__without_memory(void **state)
{
	struct pool *pool = dual_pool();

	(void)state;
	assert_in_range(refuse_each(pool, restore_one, false), 2, 9);
	pool_free(pool);
}

static int cool_one(struct pool *pool)
{
	const struct ipaddr addr = ip("2001:db8::77");

	return pool_cooldown_restore(pool, &addr, START_US);
}

static void test_pool_cooldown_restore__without_memory(void **state)
{
	struct pool *pool = dual_pool();

	(void)state;
	assert_in_range(refuse_each(pool, cool_one, false), 1, 9);
	pool_free(pool);
}

static int add_one(struct pool *pool)
{
	const struct prefix prefix = pfx("10.0.1.0/24");

	return pool_block_add(pool, 0, &prefix, START_US);
}

static void test_pool_block_add__without_memory(void **state)
{
	struct pool *pool = dual_pool();

	(void)state;
	assert_in_range(refuse_each(pool, add_one, true), 2, 9);
	pool_free(pool);
}

/* A release needs no memory: it must not fail. */
static void test_pool_lease_release__without_memory(void **state)
{
	struct pool *pool = dual_pool();

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		assert_string_not_equal(take(pool, i, START_US), "-");
	allocations = 0;
	for (unsigned i = 0; i < 4; i++)
		(void)give(pool, i, START_US);
	assert_int_equal(allocations, 0);
	pool_free(pool);
}

static void test_pool_new__without_memory(void **state)
{
	size_t before = bytes_in_use();
	struct pool *pool;

	(void)state;
	for (unsigned n = 1; n <= 3; n++) {
		allocations = 0;
		refuse_at = n;
		pool = pool_new(COOLDOWN_US, POOL_SERVES_V4);
		refuse_at = 0;
		assert_null(pool);
		assert_int_equal(bytes_in_use(), before);
	}
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_pool_block_add__v6_prefix_costs_the_same_at_any_size__azure_27),
		check_unit_test(test_pool_lease__of_a_range_costs_what_is_in_use),
		check_unit_test(test_pool_free__gives_all_back),
		check_unit_test(test_pool_lease__none_free_leaves_nothing),
#if OWN_ALLOCATOR
		check_unit_test(test_pool_lease__all_or_none_without_memory__gcp_23),
		check_unit_test(test_pool_lease_restore__without_memory),
		check_unit_test(test_pool_cooldown_restore__without_memory),
		check_unit_test(test_pool_block_add__without_memory),
		check_unit_test(test_pool_lease_release__without_memory),
		check_unit_test(test_pool_new__without_memory),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
