/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "berth/str.h"
#include "cloud/crypto.h"
#include "tests/check.h"

static void test_shows__a_run_of_it(void **state)
{
	static const struct {
		const char *secret, *text;
		bool shows;
	} rows[] = {
		{ "wJalrXUtnFEMI", "wJalrXUtnFEMI", true },
		{ "wJalrXUtnFEMI", "the value 'wJalrXUt' is bad", true },
		{ "wJalrXUtnFEMI", "XUtnFEMI", true },
		{ "wJalrXUtnFEMI", "wJalrXU", false },
		{ "wJalrXUtnFEMI", "wJalrXU UtnFEMI", false },
		{ "wJalrXUtnFEMI", "", false },
		{ "short", "a short one", true },
		{ "short", "a shor one", false },
		{ "", "anything", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_secret_ struct secret secret = { 0 };

		assert_int_equal(secret_set(&secret, rows[i].secret, strlen(rows[i].secret)), 0);
		if (secret_shows(&secret, rows[i].text) != rows[i].shows)
			fail_msg("%s in \"%s\"", rows[i].secret, rows[i].text);
	}
}

static void test_shows__no_secret(void **state)
{
	const struct secret none = { 0 };

	(void)state;
	assert_false(secret_shows(&none, "text"));
}

static void test_reserve__then_nothing_moves(void **state)
{
	struct strbuf buf = { 0 };
	const char *before;

	(void)state;
	assert_true(strbuf_reserve(&buf, 10000));
	before = buf.text;
	for (unsigned i = 0; i < 1000; i++)
		strbuf_add(&buf, "0123456789");
	assert_ptr_equal(buf.text, before);
	assert_int_equal(buf.len, 10000);
	wiped_strbuf_done(&buf);
	assert_null(buf.text);
	buf.max_len = 10;
	assert_false(strbuf_reserve(&buf, 11));
	assert_true(buf.failed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_shows__a_run_of_it),
		check_unit_test(test_shows__no_secret),
		check_unit_test(test_reserve__then_nothing_moves),
	};

	return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
