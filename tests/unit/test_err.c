/* SPDX-License-Identifier: Apache-2.0 */
#include "berth/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/check.h"

static void test_err_set__fills_all_of_it(void **state)
{
	struct err err;

	(void)state;
	memset(&err, 0xaa, sizeof(err));
	assert_int_equal(err_set(&err, ERR_THROTTLED, "ec2", "try %d of %s", 3, "assign"), -1);
	assert_int_equal(err.class, ERR_THROTTLED);
	assert_string_equal(err.domain, "ec2");
	assert_string_equal(err.msg, "try 3 of assign");
	assert_int_equal(err.code, 0);
	assert_int_equal(err.retry_after_ms, 0);
	assert_string_equal(err.ident, "");
}

static void test_err_set__null_err(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, ERR_BUG, "x", "%s", "y"), -1);
	assert_int_equal(err_set_errno(NULL, ERR_BUG, "x", EIO, "%s", "y"), -1);
	assert_int_equal(err_wrap(NULL, "%s", "y"), -1);
	err_set_ident(NULL, "y");
}

static void test_err_set__cut_to_size(void **state)
{
	struct err err;
	char text[400];

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	(void)err_set(&err, ERR_BUG, "x", "%s", text);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	err_set_ident(&err, text);
	assert_int_equal(strlen(err.ident), sizeof(err.ident) - 1);
}

static void test_err_set__cut_never_halves_a_character(void **state)
{
	/* The last byte that fits, 254, is the first, second or third one of a three-byte character. */
	static const struct {
		int blanks;
		size_t want;
	} cases[] = { { 254, 254 }, { 253, 253 }, { 252, 255 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err;

		(void)err_set(&err, ERR_BUG, "x", "%*s\xe2\x82\xac\xe2\x82\xac", cases[i].blanks, "");
		assert_int_equal(strlen(err.msg), cases[i].want);
		(void)err_wrap(&err, "%*s\xe2\x82\xac\xe2\x82\xac", cases[i].blanks, "");
		assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
		assert_int_equal(err.msg[cases[i].want], cases[i].want == sizeof(err.msg) - 1 ? '\0' : ':');
	}
}

static void test_err_set__own_message_as_argument(void **state)
{
	struct err err;

	(void)state;
	(void)err_set(&err, ERR_RETRY, "x", "inner");
	err_set_ident(&err, "Word");
	(void)err_set(&err, ERR_CONFLICT, "y", "outer (%s, %s)", err.msg, err.ident);
	assert_string_equal(err.msg, "outer (inner, Word)");
	assert_string_equal(err.ident, "");
}

static void test_err_set_errno__appends_reason_and_keeps_code(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(err_set_errno(&err, ERR_RETRY, "fs", ENOENT, "open %s", "/x"), -1);
	assert_string_equal(err.msg, "open /x: No such file or directory");
	assert_int_equal(err.code, ENOENT);
	assert_int_equal(err.class, ERR_RETRY);
}

static void test_err_set_errno__reason_survives_a_long_message(void **state)
{
	static const char reason[] = ": No space left on device";
	struct err err;

	(void)state;
	(void)err_set_errno(&err, ERR_RETRY, "fs", ENOSPC, "%0500d", 0);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	assert_string_equal(err.msg + strlen(err.msg) - strlen(reason), reason);
}

static void test_err_wrap__keeps_the_rest(void **state)
{
	struct err err;

	(void)state;
	(void)err_set_errno(&err, ERR_THROTTLED, "ec2", EAGAIN, "slow down");
	err_set_ident(&err, "RequestLimitExceeded");
	err.retry_after_ms = 1500;
	assert_int_equal(err_wrap(&err, "assign %u to %s", 4U, "eni-1"), -1);
	assert_string_equal(err.msg, "assign 4 to eni-1: slow down: Resource temporarily unavailable");
	assert_string_equal(err.ident, "RequestLimitExceeded");
	assert_string_equal(err.domain, "ec2");
	assert_int_equal(err.code, EAGAIN);
	assert_int_equal(err.class, ERR_THROTTLED);
	assert_int_equal(err.retry_after_ms, 1500);
}

static void test_err_wrap__full_message_loses_its_end(void **state)
{
	struct err err;

	(void)state;
	(void)err_set(&err, ERR_BUG, "x", "%0255d", 0);
	(void)err_wrap(&err, "outer");
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	assert_memory_equal(err.msg, "outer: 0000", strlen("outer: 0000"));
	for (int i = 0; i < 100; i++)
		(void)err_wrap(&err, "layer %d", i);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	assert_memory_equal(err.msg, "layer 99: layer 98: ", strlen("layer 99: layer 98: "));
}

static void test_err_wrap__own_message_as_argument(void **state)
{
	struct err err;

	(void)state;
	(void)err_set(&err, ERR_BUG, "x", "a");
	(void)err_wrap(&err, "<%s>", err.msg);
	assert_string_equal(err.msg, "<a>: a");
}

static void test_err_class_parse__every_name_there_and_back(void **state)
{
	enum err_class back = ERR_NONE;

	(void)state;
	for (unsigned i = 0; i < ERR_CLASS_COUNT; i++) {
		assert_int_equal(err_class_parse(err_class_name((enum err_class)i), &back), 0);
		assert_int_equal(back, i);
	}
	assert_string_equal(err_class_name(ERR_THROTTLED), "THROTTLED");
	assert_string_equal(err_class_name(ERR_CLASS_COUNT), "?");
	back = ERR_AUTH;
	assert_int_equal(err_class_parse("throttled", &back), -EINVAL);
	assert_int_equal(err_class_parse("", &back), -EINVAL);
	assert_int_equal(back, ERR_AUTH);
}

static void test_errno_str__unknown_number(void **state)
{
	(void)state;
	assert_string_equal(errno_str(EPERM), "Operation not permitted");
	assert_non_null(errno_str(99999));
	assert_non_null(errno_str(-1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_err_set__fills_all_of_it),
		check_unit_test(test_err_set__null_err),
		check_unit_test(test_err_set__cut_to_size),
		check_unit_test(test_err_set__cut_never_halves_a_character),
		check_unit_test(test_err_set__own_message_as_argument),
		check_unit_test(test_err_set_errno__appends_reason_and_keeps_code),
		check_unit_test(test_err_set_errno__reason_survives_a_long_message),
		check_unit_test(test_err_wrap__keeps_the_rest),
		check_unit_test(test_err_wrap__full_message_loses_its_end),
		check_unit_test(test_err_wrap__own_message_as_argument),
		check_unit_test(test_err_class_parse__every_name_there_and_back),
		check_unit_test(test_errno_str__unknown_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
