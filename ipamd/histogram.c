/* SPDX-License-Identifier: Apache-2.0 */
/* Durations in buckets, and the words of Prometheus' text format 0.0.4. */
#include <assert.h>
#include <inttypes.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "ipamd/metrics.h"

/* µs: from a warm ADD (about 1 ms) to an ADD that waited for a new NIC (tens of seconds). */
static const int64_t bounds_us[] = { 500,    1000,   2500,   5000,    10000,   25000,    50000,
				     100000, 250000, 500000, 1000000, 5000000, 15000000, 60000000 };
static_assert(ARRAY_SIZE(bounds_us) == HISTOGRAM_BUCKETS, "a bound for each bucket");

void histogram_add(struct histogram *histogram, int64_t duration_us)
{
	size_t bucket = 0;

	assert(histogram);
	/* a clock that went back must not make the sum jump to 2^64 */
	if (duration_us < 0)
		duration_us = 0;
	while (bucket < HISTOGRAM_BUCKETS && duration_us > bounds_us[bucket])
		bucket++;
	histogram->counts[bucket]++;
	histogram->sum_us += (uint64_t)duration_us;
}

void metrics_family(struct strbuf *out, const char *name, const char *type, const char *help)
{
	strbuf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_name(struct strbuf *out, const char *name, const char *suffix, const char *labels)
{
	strbuf_printf(out, "%s%s", name, suffix);
	if (*labels)
		strbuf_printf(out, "{%s}", labels);
	strbuf_add(out, " ");
}

static void print_us(struct strbuf *out, uint64_t us)
{
	strbuf_printf(out, "%" PRIu64 ".%06" PRIu64 "\n", us / USEC_PER_SEC, us % USEC_PER_SEC);
}

void metrics_u64(struct strbuf *out, const char *name, const char *labels, uint64_t value)
{
	print_name(out, name, "", labels);
	strbuf_printf(out, "%" PRIu64 "\n", value);
}

void metrics_seconds(struct strbuf *out, const char *name, const char *labels, int64_t us)
{
	print_name(out, name, "", labels);
	if (us < 0)
		strbuf_add(out, "-");
	print_us(out, us < 0 ? 0 - (uint64_t)us : (uint64_t)us);
}

void metrics_histogram(struct strbuf *out, const char *name, const char *labels, const struct histogram *histogram)
{
	const char *comma = *labels ? "," : "";
	uint64_t total = 0;

	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		total += histogram->counts[i];
		strbuf_printf(out, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", name, labels, comma,
			      (double)bounds_us[i] / (double)USEC_PER_SEC, total);
	}
	total += histogram->counts[HISTOGRAM_BUCKETS];
	strbuf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma, total);
	print_name(out, name, "_sum", labels);
	print_us(out, histogram->sum_us);
	print_name(out, name, "_count", labels);
	strbuf_printf(out, "%" PRIu64 "\n", total);
}
