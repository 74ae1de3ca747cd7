/* SPDX-License-Identifier: Apache-2.0 */
#include "berth/json.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "berth/err.h"
#include "berth/str.h"
#include "tests/check.h"

static json_t *parsed(const char *text)
{
	json_t *json = NULL;
	struct err err;

	if (json_parse(text, strlen(text), "test", &json, &err) < 0)
		fail_msg("%s: %s", text, err.msg);
	return json;
}

/* @rc and @err are what a getter of domain "test" gave back. */
static void assert_protocol(int rc, const struct err *err, const char *msg)
{
	assert_int_equal(rc, -1);
	assert_int_equal(err->class, ERR_PROTOCOL);
	assert_string_equal(err->domain, "test");
	assert_string_equal(err->msg, msg);
}

static void test_json_parse__any_kind_comes_back(void **state)
{
	static const char *const texts[] = {
		"{\"z\":1,\"a\":[true,null,\"\xc3\xa4\"],\"m\":{\"b\":1.5}}", "[]", "\"x\"", "1", "null",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		json_auto_t *json = parsed(texts[i]);
		_cleanup_free_ char *text = json_print(json);

		assert_string_equal(text, texts[i]);
	}
}

static void test_json_parse__size_counts_not_the_terminator(void **state)
{
	json_auto_t *json = NULL;
	struct err err;

	(void)state;
	assert_int_equal(json_parse("{}garbage", 2, "test", &json, &err), 0);
	assert_non_null(json);
}

static void test_json_parse__refused(void **state)
{
	static const struct {
		const char *text, *where;
	} cases[] = {
		{ "", "JSON at 1:0: " },
		{ "{\n  \"a\": 1,\n  \"a\": 2}", "JSON at 3:5: duplicate object key" },
		{ "{} {}", "JSON at 1:4: end of file expected" },
		{ "{\"a\":1", "JSON at 1:6: " },
		{ "{'a':1}", "JSON at 1:2: " },
		{ "{\"a\":1,}", "JSON at 1:8: " },
		{ "{\"a\":99999999999999999999}", "JSON at 1:25: too big integer" },
		{ "{\"a\":\"\\u0000\"}", "JSON at 1:13: " },
		{ "{\"a\":\"\xff\"}", "JSON at 1:" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *json = NULL;
		struct err err;

		assert_int_equal(json_parse(cases[i].text, strlen(cases[i].text), "test", &json, &err), -1);
		assert_null(json);
		assert_int_equal(err.class, ERR_PROTOCOL);
		assert_string_equal(err.domain, "test");
		if (!str_starts(err.msg, cases[i].where))
			fail_msg("%s: %s", cases[i].text, err.msg);
	}
}

static void test_json_parse__nul_bytes_are_no_end(void **state)
{
	json_t *json = NULL;
	struct err err;

	(void)state;
	assert_int_equal(json_parse("{}\0x", 4, "test", &json, &err), -1);
	assert_null(json);
	assert_int_equal(json_parse(NULL, 0, "test", &json, &err), -1);
	assert_null(json);
}

static void test_json_parse__too_deep(void **state)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	json_t *json = NULL;
	struct err err;

	(void)state;
	for (int i = 0; i < 100000; i++)
		strbuf_add(&text, "[");
	assert_int_equal(json_parse(text.text, text.len, "test", &json, &err), -1);
	assert_non_null(strstr(err.msg, "maximum parsing depth"));
}

static void test_json_parse__error_quotes_no_content(void **state)
{
	static const char *const texts[] = {
		"{\"SecretAccessKey\": \"wJalrXUtnFEMI",
		"{\"SecretAccessKey\": \"wJalrXUtnFEMI\" \"Token\"}",
		"{\"a\": wJalrXUtnFEMI}",
		"{\"wJalrXUtnFEMI\": 1, \"wJalrXUtnFEMI\": 2}",
		"{\"k\": \"wJalrXUtnFEMI\n\"}",
		"{\"k\": \"wJalrXUtnFEMI near '\xff\"}",
		"{\"k\": \"wJalrXUtnFEMI near '\\x\"}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		json_t *json = NULL;
		struct err err;

		assert_int_equal(json_parse(texts[i], strlen(texts[i]), "test", &json, &err), -1);
		if (strstr(err.msg, "wJal"))
			fail_msg("%s", err.msg);
	}
}

static void test_json_get_str__kinds(void **state)
{
	json_auto_t *obj = parsed("{\"s\":\"text\",\"n\":null,\"i\":1}");
	const char *text = "before";
	struct err err;

	(void)state;
	assert_int_equal(json_get_str(obj, "test", "s", &text, &err), 0);
	assert_string_equal(text, "text");
	text = "before";
	assert_protocol(json_get_str(obj, "test", "x", &text, &err), &err, "'x' is missing");
	assert_protocol(json_get_str(obj, "test", "n", &text, &err), &err, "'n' is not a string");
	assert_protocol(json_get_str(obj, "test", "i", &text, &err), &err, "'i' is not a string");
	assert_protocol(json_get_str_opt(obj, "test", "i", &text, &err), &err, "'i' is not a string");
	assert_int_equal(json_get_str_opt(obj, "test", "x", &text, &err), 0);
	assert_int_equal(json_get_str_opt(obj, "test", "n", &text, &err), 0);
	assert_string_equal(text, "before");
	assert_int_equal(json_get_str_opt(obj, "test", "s", &text, &err), 0);
	assert_string_equal(text, "text");
}

static void test_json_get_int__kinds_and_range(void **state)
{
	json_auto_t *obj = parsed("{\"i\":42,\"neg\":-1,\"r\":1.0,\"s\":\"1\",\"n\":null,\"big\":9223372036854775807}");
	int64_t value = 7;
	struct err err;

	(void)state;
	assert_protocol(json_get_int(obj, "test", "x", 0, 100, &value, &err), &err, "'x' is missing");
	assert_protocol(json_get_int(obj, "test", "n", 0, 100, &value, &err), &err, "'n' is not an integer");
	assert_protocol(json_get_int(obj, "test", "r", 0, 100, &value, &err), &err, "'r' is not an integer");
	assert_protocol(json_get_int(obj, "test", "s", 0, 100, &value, &err), &err, "'s' is not an integer");
	assert_protocol(json_get_int(obj, "test", "i", 0, 41, &value, &err), &err, "'i' is 42, not within 0 and 41");
	assert_protocol(json_get_int(obj, "test", "neg", 0, 41, &value, &err), &err,
			"'neg' is -1, not within 0 and 41");
	assert_protocol(json_get_int_opt(obj, "test", "i", 43, 50, &value, &err), &err,
			"'i' is 42, not within 43 and 50");
	assert_int_equal(json_get_int_opt(obj, "test", "x", 0, 1, &value, &err), 0);
	assert_int_equal(json_get_int_opt(obj, "test", "n", 0, 1, &value, &err), 0);
	assert_int_equal(value, 7);
	assert_int_equal(json_get_int(obj, "test", "i", 42, 42, &value, &err), 0);
	assert_int_equal(value, 42);
	assert_int_equal(json_get_int_opt(obj, "test", "big", INT64_MIN, INT64_MAX, &value, &err), 0);
	assert_true(value == INT64_MAX);
}

static void test_json_get_bool_opt__kinds(void **state)
{
	json_auto_t *obj = parsed("{\"t\":true,\"f\":false,\"n\":null,\"i\":1}");
	bool value = true;
	struct err err;

	(void)state;
	assert_int_equal(json_get_bool_opt(obj, "test", "x", &value, &err), 0);
	assert_int_equal(json_get_bool_opt(obj, "test", "n", &value, &err), 0);
	assert_protocol(json_get_bool_opt(obj, "test", "i", &value, &err), &err, "'i' is not true or false");
	assert_true(value);
	assert_int_equal(json_get_bool_opt(obj, "test", "f", &value, &err), 0);
	assert_false(value);
	assert_int_equal(json_get_bool_opt(obj, "test", "t", &value, &err), 0);
	assert_true(value);
}

static void test_json_get_obj_opt__and_arr_opt(void **state)
{
	json_auto_t *obj = parsed("{\"o\":{},\"a\":[1],\"n\":null}");
	json_t *value = NULL;
	struct err err;

	(void)state;
	assert_int_equal(json_get_obj_opt(obj, "test", "o", &value, &err), 0);
	assert_true(json_is_object(value));
	assert_protocol(json_get_obj_opt(obj, "test", "a", &value, &err), &err, "'a' is not an object");
	assert_true(json_is_object(value));
	assert_int_equal(json_get_obj_opt(obj, "test", "n", &value, &err), 0);
	assert_null(value);
	assert_int_equal(json_get_arr_opt(obj, "test", "a", &value, &err), 0);
	assert_int_equal(json_array_size(value), 1);
	assert_protocol(json_get_arr_opt(obj, "test", "o", &value, &err), &err, "'o' is not an array");
	assert_int_equal(json_array_size(value), 1);
	assert_int_equal(json_get_arr_opt(obj, "test", "x", &value, &err), 0);
	assert_null(value);
}

static void test_json_get__from_what_is_no_object(void **state)
{
	json_auto_t *arr = parsed("[]");
	const char *text = "before";
	json_t *value = NULL;
	struct err err;

	(void)state;
	assert_protocol(json_get_str_opt(arr, "test", "k", &text, &err), &err,
			"'k' wanted from what is no JSON object");
	assert_protocol(json_get_obj_opt(NULL, "test", "k", &value, &err), &err,
			"'k' wanted from what is no JSON object");
	assert_string_equal(text, "before");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_json_parse__any_kind_comes_back),
		check_unit_test(test_json_parse__size_counts_not_the_terminator),
		check_unit_test(test_json_parse__refused),
		check_unit_test(test_json_parse__nul_bytes_are_no_end),
		check_unit_test(test_json_parse__too_deep),
		check_unit_test(test_json_parse__error_quotes_no_content),
		check_unit_test(test_json_get_str__kinds),
		check_unit_test(test_json_get_int__kinds_and_range),
		check_unit_test(test_json_get_bool_opt__kinds),
		check_unit_test(test_json_get_obj_opt__and_arr_opt),
		check_unit_test(test_json_get__from_what_is_no_object),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
