/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event, key=value after a short message: `lvl=warn msg="assign failed" nic=eni-1 class=THROTTLED`.
 * Programs log; libraries return errors. ERROR: an operator must act. WARN: we cope. INFO: states. DEBUG: the rest.
 */
#ifndef BERTH_LOG_H
#define BERTH_LOG_H

#include "berth/attr.h"
#include "berth/err.h"

enum log_level { LOG_ERROR_, LOG_WARN_, LOG_INFO_, LOG_DEBUG_, LOG_LEVEL_COUNT };

/** log_init() - where (fd, borrowed) and how much to log; @program is borrowed for the life of the process. */
void log_init(const char *program, int fd, enum log_level level);

#define LOG_TRACE_MAX 32 /* bytes of a trace's ID */

/** log_set_trace() - each line has trace=@id from now on; "": none. Copied, cut at LOG_TRACE_MAX. Context: before there are
 *  other threads. */
void log_set_trace(const char *id);

/** log_level_parse() - "error", "warn", "info", "debug". Return: 0 or -EINVAL. */
int log_level_parse(const char *text, enum log_level *ret);

/** struct log_limit - token bucket of one log statement: bursts of 10, one more per second (see log.c). */
struct log_limit {
	int64_t next_refill_us;
	unsigned tokens_used;
	unsigned suppressed;
};

/**
 * log_write() - write one line; use the macros below
 * @fields: " key=value ..." behind the message (the macros put the blank there)
 * Context: any thread.
 */
_printf_(4, 5) void log_write(enum log_level level, struct log_limit *limit, const char *msg, const char *fields, ...);

#define log_at_(level, msg, ...)                                                                                       \
	do {                                                                                                           \
		static struct log_limit limit_;                                                                        \
		log_write((level), &limit_, (msg), " " __VA_ARGS__);                                                   \
	} while (0)

/* log_warn("cannot assign", "nic=%s class=%s", id, name): message first, then a printf format of fields. */
#define log_error(msg, ...) log_at_(LOG_ERROR_, msg, __VA_ARGS__)
#define log_warn(msg, ...)  log_at_(LOG_WARN_, msg, __VA_ARGS__)
#define log_info(msg, ...)  log_at_(LOG_INFO_, msg, __VA_ARGS__)
#define log_debug(msg, ...) log_at_(LOG_DEBUG_, msg, __VA_ARGS__)

/* For an error that stops travelling here: log_warn("...", LOG_ERR_FMT, LOG_ERR_ARGS(&err)). */
#define LOG_ERR_FMT "class=%s domain=%s ident=%s err=\"%s\""
#define LOG_ERR_ARGS(e)                                                                                                \
	err_class_name((e)->class), (e)->domain ? (e)->domain : "-", (e)->ident[0] ? (e)->ident : "-", (e)->msg

#endif
