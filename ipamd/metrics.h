/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /metrics in Prometheus' text format 0.0.4, GET /healthz; served by libmicrohttpd from the daemon's own loop.
 * Names follow prometheus.io/docs/practices/naming: berth_ prefix, base units, _total for counters, no label whose
 * values are unbounded (no pod, address or NIC).
 */
#ifndef IPAMD_METRICS_H
#define IPAMD_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "berth/str.h"

struct err;
struct ipaddr;
struct metrics;

/** metrics_address_parse() - "10.0.0.1:9479" or "[::1]:9479"; @ret_addr and @ret_port may be NULL. Return: 0 or
 * -EINVAL. */
int metrics_address_parse(const char *address, struct ipaddr *ret_addr, uint16_t *ret_port);
/** metrics_open() - @address "IP:PORT"; @render appends the page when asked; @healthy answers /healthz. */
int metrics_open(const char *address, void (*render)(void *ctx, struct strbuf *out), bool (*healthy)(void *ctx),
		 void *ctx, struct metrics **ret, struct err *err);
void metrics_close(struct metrics *metrics);
/** metrics_fd() - libmicrohttpd's epoll descriptor, borrowed. */
int metrics_fd(const struct metrics *metrics);
/** metrics_run() - handle what is ready; never blocks. Return: µs until it wants to be called again, INT64_MAX = never.
 */
int64_t metrics_run(struct metrics *metrics);

/** struct histogram - cumulative buckets of durations, in seconds when printed; bounds in histogram.c. */
#define HISTOGRAM_BUCKETS 14
struct histogram {
	uint64_t counts[HISTOGRAM_BUCKETS + 1]; /* the last: above all bounds */
	uint64_t sum_us;
};
void histogram_add(struct histogram *histogram, int64_t duration_us);

/* Writers of one family each; @labels like `result="ok"` or "". HELP and TYPE come with metrics_family(). */
void metrics_family(struct strbuf *out, const char *name, const char *type, const char *help);
void metrics_u64(struct strbuf *out, const char *name, const char *labels, uint64_t value);
void metrics_seconds(struct strbuf *out, const char *name, const char *labels, int64_t us);
void metrics_histogram(struct strbuf *out, const char *name, const char *labels, const struct histogram *histogram);

#endif
