/* SPDX-License-Identifier: Apache-2.0 */
#include "berth/str.h"

#include <errno.h>
#include <string.h>

#include "tests/check.h"

static void test_str_copy__fits_or_is_cut(void **state)
{
	char dst[6];

	(void)state;
	assert_int_equal(str_copy(dst, sizeof(dst), "12345"), 0);
	assert_string_equal(dst, "12345");
	assert_int_equal(str_copy(dst, sizeof(dst), "123456"), -ENAMETOOLONG);
	assert_string_equal(dst, "12345");
	assert_int_equal(str_copy(dst, sizeof(dst), ""), 0);
	assert_string_equal(dst, "");
	assert_int_equal(str_copy(dst, 1, "x"), -ENAMETOOLONG);
	assert_string_equal(dst, "");
	assert_int_equal(str_copy(dst, sizeof(dst), "123\xe2\x82\xac"), -ENAMETOOLONG);
	assert_string_equal(dst, "123");
}

static void test_str_u64__strict_digits(void **state)
{
	static const char *const bad[] = { "", " 1", "1 ", "+1", "-1", "0x10", "1.0", "1e3", "a", "1\n", "\xd9\xa1" };
	uint64_t value = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(str_u64(bad[i], 0, UINT64_MAX, &value), -EINVAL);
	assert_int_equal(value, 7);
	assert_int_equal(str_u64("0042", 0, 100, &value), 0);
	assert_int_equal(value, 42);
}

static void test_str_u64__range(void **state)
{
	uint64_t value = 7;

	(void)state;
	assert_int_equal(str_u64("9", 10, 20, &value), -ERANGE);
	assert_int_equal(str_u64("21", 10, 20, &value), -ERANGE);
	assert_int_equal(str_u64("18446744073709551616", 0, UINT64_MAX, &value), -ERANGE);
	/* Overflows twice and would land inside the range again. */
	assert_int_equal(str_u64("36893488147419103240", 0, UINT64_MAX, &value), -ERANGE);
	/* 2^64 wraps to 0, and nothing overflows after it. */
	assert_int_equal(str_u64("184467440737095516160", 0, UINT64_MAX, &value), -ERANGE);
	assert_int_equal(str_u64("99999999999999999999999999999999999x", 0, UINT64_MAX, &value), -EINVAL);
	assert_int_equal(value, 7);
	assert_int_equal(str_u64("10", 10, 20, &value), 0);
	assert_int_equal(value, 10);
	assert_int_equal(str_u64("20", 10, 20, &value), 0);
	assert_int_equal(value, 20);
	assert_int_equal(str_u64("18446744073709551615", 0, UINT64_MAX, &value), 0);
	assert_true(value == UINT64_MAX);
}

static void test_str_bool__words(void **state)
{
	static const char *const yes[] = { "true", "TRUE", "1", "yes", "On" };
	static const char *const no[] = { "false", "False", "0", "no", "OFF" };
	static const char *const bad[] = { "", "2", "tru", "truee", " true", "01" };
	bool value = false;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		value = false;
		assert_int_equal(str_bool(yes[i], &value), 0);
		assert_true(value);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(str_bool(bad[i], &value), -EINVAL);
	assert_true(value);
	for (size_t i = 0; i < ARRAY_SIZE(no); i++) {
		value = true;
		assert_int_equal(str_bool(no[i], &value), 0);
		assert_false(value);
	}
}

static void test_str_equal__and_starts(void **state)
{
	(void)state;
	assert_true(str_equal("a", "a"));
	assert_false(str_equal("a", "ab"));
	assert_false(str_equal("a", NULL));
	assert_false(str_equal(NULL, "a"));
	assert_true(str_equal(NULL, NULL));
	assert_true(str_starts("eth0", "eth"));
	assert_true(str_starts("eth0", ""));
	assert_false(str_starts("et", "eth"));
}

static void test_str_hex__lower_case(void **state)
{
	static const uint8_t bytes[] = { 0x00, 0x0f, 0xa0, 0xff };
	char dst[2 * sizeof(bytes) + 1];

	(void)state;
	assert_string_equal(str_hex(dst, bytes, sizeof(bytes)), "000fa0ff");
	assert_string_equal(str_hex(dst, NULL, 0), "");
}

static void test_strbuf__all_ways_to_append(void **state)
{
	_cleanup_strbuf_ struct strbuf buf = { 0 };

	(void)state;
	assert_null(buf.text);
	strbuf_add(&buf, "one ");
	strbuf_add_bytes(&buf, "two three", 3);
	strbuf_printf(&buf, " %d %s", 3, "four");
	strbuf_add_bytes(&buf, NULL, 0);
	assert_false(buf.failed);
	assert_string_equal(buf.text, "one two 3 four");
	assert_int_equal(buf.len, strlen("one two 3 four"));
}

static void test_strbuf__grows_by_doubling(void **state)
{
	_cleanup_strbuf_ struct strbuf buf = { 0 };
	size_t growths = 0, last = 0;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		if (i % 2)
			strbuf_add(&buf, "0123456789");
		else
			strbuf_printf(&buf, "%010d", 123456789);
		growths += buf.alloc != last;
		last = buf.alloc;
	}
	assert_false(buf.failed);
	assert_int_equal(buf.len, 100000);
	assert_int_equal(strlen(buf.text), 100000);
	assert_memory_equal(buf.text + 99980, "01234567890123456789", 20);
	assert_in_range(growths, 5, 17);
}

static void test_strbuf_printf__longer_than_the_buffer(void **state)
{
	_cleanup_strbuf_ struct strbuf buf = { 0 };

	(void)state;
	strbuf_printf(&buf, "%0500d%s", 0, "end");
	assert_false(buf.failed);
	assert_int_equal(buf.len, 503);
	assert_string_equal(buf.text + 498, "00end");
}

static void test_strbuf__max_len_is_reached_and_not_passed(void **state)
{
	_cleanup_strbuf_ struct strbuf buf = { .max_len = 100 };

	(void)state;
	for (int i = 0; i < 10; i++)
		strbuf_add(&buf, "0123456789");
	assert_false(buf.failed);
	assert_int_equal(buf.len, 100);
	assert_true(buf.alloc <= 101);
	strbuf_add(&buf, "x");
	assert_true(buf.failed);
	assert_int_equal(buf.len, 100);
	assert_int_equal(strlen(buf.text), 100);
}

static void test_strbuf__failed_takes_no_more(void **state)
{
	_cleanup_strbuf_ struct strbuf buf = { .max_len = 10 };

	(void)state;
	strbuf_add(&buf, "12345");
	strbuf_printf(&buf, "%s", "too long by one");
	assert_true(buf.failed);
	assert_string_equal(buf.text, "12345");
	strbuf_add(&buf, "6");
	strbuf_printf(&buf, "6");
	assert_string_equal(buf.text, "12345");
	assert_null(strbuf_take(&buf));
	strbuf_clear(&buf);
	assert_false(buf.failed);
	assert_int_equal(buf.len, 0);
	strbuf_add(&buf, "1234567890");
	assert_false(buf.failed);
	assert_string_equal(buf.text, "1234567890");
}

static void test_strbuf_take__empties_the_buffer(void **state)
{
	_cleanup_strbuf_ struct strbuf buf = { 0 };
	char *text;

	(void)state;
	text = strbuf_take(&buf);
	assert_string_equal(text, "");
	free(text);
	strbuf_add(&buf, "text");
	text = strbuf_take(&buf);
	assert_string_equal(text, "text");
	free(text);
	assert_null(buf.text);
	strbuf_add(&buf, "again");
	assert_string_equal(buf.text, "again");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_str_copy__fits_or_is_cut),
		check_unit_test(test_str_u64__strict_digits),
		check_unit_test(test_str_u64__range),
		check_unit_test(test_str_bool__words),
		check_unit_test(test_str_equal__and_starts),
		check_unit_test(test_str_hex__lower_case),
		check_unit_test(test_strbuf__all_ways_to_append),
		check_unit_test(test_strbuf__grows_by_doubling),
		check_unit_test(test_strbuf_printf__longer_than_the_buffer),
		check_unit_test(test_strbuf__max_len_is_reached_and_not_passed),
		check_unit_test(test_strbuf__failed_takes_no_more),
		check_unit_test(test_strbuf_take__empties_the_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
