/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/trace.h"

#include <string.h>

#include "berth/attr.h"
#include "tests/check.h"

#define ID     "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static void test_trace_id__valid(void **state)
{
	static const char *const valid[] = {
		"00-" ID "-" PARENT "-01",
		"00-" ID "-" PARENT "-00",
		"cc-" ID "-" PARENT "-01",
		"cc-" ID "-" PARENT "-01-what-the-future-will-be-like",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
		char id[TRACE_ID_SIZE] = "";

		assert_true(trace_id(valid[i], id));
		assert_string_equal(id, ID);
	}
}

static void test_trace_id__ignored(void **state)
{
	static const char *const invalid[] = {
		"",
		"00",
		"00-",
		ID,
		"00-" ID,
		"00-" ID "-",
		"00-" ID "-" PARENT,
		"00-" ID "-" PARENT "-",
		"00-" ID "-" PARENT "-1",
		"00-" ID "-" PARENT "-010",
		"00-" ID "-" PARENT "-01-more",
		"00-" ID "-" PARENT "-01 ",
		"ff-" ID "-" PARENT "-01",
		"0-" ID "-" PARENT "-01",
		"00_" ID "-" PARENT "-01",
		"00-00000000000000000000000000000000-" PARENT "-01",
		"00-" ID "-0000000000000000-01",
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01",
		"00-" ID "0-" PARENT "-01",
		"00-" ID "-" PARENT "0-01",
		"00-" ID "-" PARENT "-zz",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(invalid); i++) {
		char id[TRACE_ID_SIZE] = "kept";

		if (trace_id(invalid[i], id))
			fail_msg("'%s' is taken for a trace", invalid[i]);
		assert_string_equal(id, "kept");
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		check_unit_test(test_trace_id__valid),
		check_unit_test(test_trace_id__ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
