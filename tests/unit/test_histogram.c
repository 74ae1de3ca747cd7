/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "berth/clock.h"
#include "ipamd/metrics.h"
#include "tests/check.h"

static uint64_t total(const struct histogram *h)
{
	uint64_t sum = 0;

	for (size_t i = 0; i <= HISTOGRAM_BUCKETS; i++)
		sum += h->counts[i];
	return sum;
}

static void test_histogram_add__bounds_belong_to_their_bucket(void **state)
{
	struct histogram h = { 0 };

	(void)state;
	histogram_add(&h, 500);
	assert_int_equal(h.counts[0], 1);
	histogram_add(&h, 501);
	assert_int_equal(h.counts[1], 1);
	histogram_add(&h, 60 * USEC_PER_SEC);
	assert_int_equal(h.counts[HISTOGRAM_BUCKETS - 1], 1);
	histogram_add(&h, 60 * USEC_PER_SEC + 1);
	assert_int_equal(h.counts[HISTOGRAM_BUCKETS], 1);
	assert_int_equal(total(&h), 4);
	assert_int_equal(h.sum_us, 500 + 501 + 120 * USEC_PER_SEC + 1);
}

static void test_histogram_add__negative_counts_as_nothing(void **state)
{
	struct histogram h = { 0 };

	(void)state;
	histogram_add(&h, -5);
	assert_int_equal(h.counts[0], 1);
	assert_int_equal(h.sum_us, 0);
}

static void test_metrics_histogram__is_cumulative(void **state)
{
	_cleanup_strbuf_ struct strbuf out = { 0 };
	struct histogram h = { 0 };

	(void)state;
	histogram_add(&h, 400);
	histogram_add(&h, 2000);
	histogram_add(&h, 90 * USEC_PER_SEC);
	metrics_histogram(&out, "berth_add_seconds", "result=\"ok\"", &h);
	assert_false(out.failed);
	assert_string_equal(out.text, "berth_add_seconds_bucket{result=\"ok\",le=\"0.0005\"} 1\n"
				      "berth_add_seconds_bucket{result=\"ok\",le=\"0.001\"} 1\n"
				      "berth_add_seconds_bucket{result=\"ok\",le=\"0.0025\"} 2\n"
				      "berth_add_seconds_bucket{result=\"ok\",le=\"0.005\"} 2\n"
				      "berth_add_seconds_bucket{result=\"ok\",le=\"0.01\"} 2\n"
				      "berth_add_seconds_bucket{result=\"ok\",le=\"0.025\"} 2\n"
				      "berth_add_seconds_bucket{result=\"ok\",le=\"0.05\"} 2\n"
				      "berth_add_seconds_bucket{result=\"ok\",le=\"0.1\"} 2\n"
				      "berth_add_seconds_bucket{result=\"ok\",le=\"0.25\"} 2\n"
				      "berth_add_seconds_bucket{result=\"ok\",le=\"0.5\"} 2\n"
				      "berth_add_seconds_bucket{result=\"ok\",le=\"1\"} 2\n"
				      "berth_add_seconds_bucket{result=\"ok\",le=\"5\"} 2\n"
				      "berth_add_seconds_bucket{result=\"ok\",le=\"15\"} 2\n"
				      "berth_add_seconds_bucket{result=\"ok\",le=\"60\"} 2\n"
				      "berth_add_seconds_bucket{result=\"ok\",le=\"+Inf\"} 3\n"
				      "berth_add_seconds_sum{result=\"ok\"} 90.002400\n"
				      "berth_add_seconds_count{result=\"ok\"} 3\n");
}

static void test_metrics_writers__with_and_without_labels(void **state)
{
	_cleanup_strbuf_ struct strbuf out = { 0 };

	(void)state;
	metrics_family(&out, "berth_up_seconds", "gauge", "Since the start.");
	metrics_seconds(&out, "berth_up_seconds", "", 1500001);
	metrics_seconds(&out, "berth_up_seconds", "x=\"y\"", -500000);
	metrics_u64(&out, "berth_calls_total", "class=\"read\"", UINT64_MAX);
	assert_string_equal(out.text, "# HELP berth_up_seconds Since the start.\n# TYPE berth_up_seconds gauge\n"
				      "berth_up_seconds 1.500001\n"
				      "berth_up_seconds{x=\"y\"} -0.500000\n"
				      "berth_calls_total{class=\"read\"} 18446744073709551615\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_histogram_add__bounds_belong_to_their_bucket),
		check_unit_test(test_histogram_add__negative_counts_as_nothing),
		check_unit_test(test_metrics_histogram__is_cumulative),
		check_unit_test(test_metrics_writers__with_and_without_labels),
	};

	return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
