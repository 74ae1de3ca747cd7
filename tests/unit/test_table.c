/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/check.h"

#include "ipamd/table.h"

#define MANY 3000U /* doubles six times from 64 buckets */

struct item {
	unsigned number, seen;
	struct table_entry entry;
};

static struct item items[MANY];

static unsigned number_of(struct table_entry *entry)
{
	return table_of(entry, struct item, entry)->number;
}

static void test_table__same_hash(void **state)
{
	struct table table;
	struct item a = { .number = 1 }, b = { .number = 2 }, c = { .number = 3 }, other = { .number = 9 };
	unsigned seen = 0;

	(void)state;
	assert_int_equal(table_init(&table), 0);
	assert_null(table_first(&table, 7));
	assert_null(table_next(&table, NULL));
	table_add(&table, &a.entry, 7);
	table_add(&table, &other.entry, 7 + 64); /* the same bucket, another hash */
	table_add(&table, &b.entry, 7);
	table_add(&table, &c.entry, 7);
	table_remove(&table, &b.entry);
	for (struct table_entry *at = table_first(&table, 7); at; at = table_same(at))
		seen += number_of(at);
	assert_int_equal(seen, 1 + 3);
	assert_int_equal(number_of(table_first(&table, 7 + 64)), 9);
	assert_null(table_same(table_first(&table, 7 + 64)));
	table_remove(&table, &a.entry);
	table_remove(&table, &c.entry);
	assert_null(table_first(&table, 7));
	assert_int_equal(table.count, 1);
	table_done(&table);
}

/* Every entry is found by its hash and walked over once, whatever the number of buckets. */
static void test_table__thousands(void **state)
{
	struct table table;
	unsigned walked = 0;

	(void)state;
	assert_int_equal(table_init(&table), 0);
	for (unsigned i = 0; i < MANY; i++) {
		items[i].number = i;
		table_add(&table, &items[i].entry, i * UINT64_C(0x9e3779b97f4a7c15));
	}
	assert_true(table.bucket_count >= MANY / 2);
	for (unsigned i = 0; i < MANY; i += 3)
		table_remove(&table, &items[i].entry);
	for (struct table_entry *at = table_next(&table, NULL); at; at = table_next(&table, at), walked++)
		table_of(at, struct item, entry)->seen++;
	assert_int_equal(walked, MANY - MANY / 3);
	assert_int_equal(table.count, walked);
	for (unsigned i = 0; i < MANY; i++) {
		const struct table_entry *found = table_first(&table, i * UINT64_C(0x9e3779b97f4a7c15));

		assert_int_equal(items[i].seen, i % 3 != 0);
		assert_ptr_equal(found, i % 3 ? &items[i].entry : NULL);
	}
	table_done(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_table__same_hash),
		check_unit_test(test_table__thousands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
