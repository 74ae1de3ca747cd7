/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the log
 *
 * A line is built on the stack and leaves in one write(2). It is never longer than PIPE_BUF, up to which a pipe keeps
 * lines of several threads and processes apart. Whatever foreign text a field holds, a line stays a line: control
 * characters leave as \n, \t or \xNN. What does not fit is dropped and the line ends in cut=1.
 *
 * Each statement has a token bucket (struct log_limit): LOG_BURST lines at once, then one per LOG_REFILL_US. Zeroed
 * memory is a full bucket: it counts the tokens that are used, and next_refill_us says when the next one comes back.
 * Threads that use one statement at the same moment may both see the last token: a line too many does no harm, so plain
 * relaxed atomics do instead of a lock.
 */
#include "berth/log.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "berth/clock.h"
#include "utf8.h"

#define LOG_LINE_MAX   PIPE_BUF     /* bytes with the newline: a write to a pipe is atomic up to here */
#define LOG_TAIL_MAX   32           /* bytes kept free for `" cut=1 suppressed=4294967295` and the newline */
#define LOG_FIELDS_MAX PIPE_BUF     /* bytes of formatted fields before escaping: no more fits into a line */
#define LOG_BURST      10U          /* lines of one statement at once: enough to see a pattern */
#define LOG_REFILL_US  USEC_PER_SEC /* one more line each second: 86,400 a day at worst */
#define LOG_EINTR_MAX  8            /* tries of one write; a process under such a storm of signals drops the line */

static_assert(LOG_FIELDS_MAX >= LOG_LINE_MAX, "fields cut by formatting overflow the line as well, which then says so");

/* The log is the one unit besides main() that keeps process state: where lines go. */
static struct {
	const char *program;
	int fd;
	enum log_level level;
	char trace[LOG_TRACE_MAX + 1]; /* "": none */
} sink = { .program = "berth", .fd = STDERR_FILENO, .level = LOG_INFO_ };

static const char *const level_names[] = {
	[LOG_ERROR_] = "error",
	[LOG_WARN_] = "warn",
	[LOG_INFO_] = "info",
	[LOG_DEBUG_] = "debug",
};
static_assert(ARRAY_SIZE(level_names) == LOG_LEVEL_COUNT, "every level has a name");

struct line {
	char text[LOG_LINE_MAX];
	size_t len;
	bool in_quotes; /* an odd number of quotes was written: the end of the line has to close them */
	bool cut;
};

void log_init(const char *program, int fd, enum log_level level)
{
	assert(program);
	assert(level < LOG_LEVEL_COUNT);
	__atomic_store_n(&sink.program, program, __ATOMIC_RELAXED);
	__atomic_store_n(&sink.fd, fd, __ATOMIC_RELAXED);
	__atomic_store_n(&sink.level, level, __ATOMIC_RELAXED);
}

void log_set_trace(const char *id)
{
	assert(id);
	(void)snprintf(sink.trace, sizeof(sink.trace), "%s", id);
}

int log_level_parse(const char *text, enum log_level *ret)
{
	assert(text);
	assert(ret);
	for (unsigned i = 0; i < LOG_LEVEL_COUNT; i++) {
		if (strcmp(text, level_names[i]) != 0)
			continue;
		*ret = (enum log_level)i;
		return 0;
	}
	return -EINVAL;
}

/* Takes a token; *ret_suppressed is then how many lines were dropped since the last one that passed. */
static bool limit_take(struct log_limit *limit, int64_t now_us, unsigned *ret_suppressed)
{
	unsigned used = __atomic_load_n(&limit->tokens_used, __ATOMIC_RELAXED);
	int64_t next_us = __atomic_load_n(&limit->next_refill_us, __ATOMIC_RELAXED);

	if (used > 0 && now_us >= next_us) {
		int64_t back = 1 + (now_us - next_us) / LOG_REFILL_US;

		used = back >= (int64_t)used ? 0 : used - (unsigned)back;
		next_us += back * LOG_REFILL_US;
	}
	if (used >= LOG_BURST) {
		(void)__atomic_add_fetch(&limit->suppressed, 1, __ATOMIC_RELAXED);
		return false;
	}
	if (used == 0)
		next_us = now_us + LOG_REFILL_US;
	__atomic_store_n(&limit->tokens_used, used + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&limit->next_refill_us, next_us, __ATOMIC_RELAXED);
	*ret_suppressed = __atomic_exchange_n(&limit->suppressed, 0, __ATOMIC_RELAXED);
	return true;
}

/* All of @bytes or nothing: an escape sequence is never halved. */
static void put(struct line *line, const char *bytes, size_t size)
{
	if (line->cut || size > sizeof(line->text) - LOG_TAIL_MAX - line->len) {
		line->cut = true;
		return;
	}
	memcpy(line->text + line->len, bytes, size);
	line->len += size;
}

/* Is there a control character at @text? C1 ones are two bytes in UTF-8, and terminals obey them as well. */
static bool is_control(const char *text)
{
	unsigned char c = (unsigned char)text[0];
	unsigned char next = (unsigned char)(c ? text[1] : 0);

	return c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0);
}

static void put_escape(struct line *line, unsigned char c)
{
	static const char digits[] = "0123456789abcdef";
	char hex[] = { '\\', 'x', digits[c >> 4], digits[c & 0xf] };

	switch (c) {
	case '\n':
		put(line, "\\n", 2);
		break;
	case '\r':
		put(line, "\\r", 2);
		break;
	case '\t':
		put(line, "\\t", 2);
		break;
	default:
		put(line, hex, sizeof(hex));
		break;
	}
}

/* Foreign text: control characters are escaped, inside our own quotes (@quoted) quotes and backslashes as well. */
static void put_text(struct line *line, const char *text, bool quoted)
{
	for (; *text && !line->cut; text++) {
		if (is_control(text)) {
			put_escape(line, (unsigned char)*text);
			if ((unsigned char)*text == 0xc2)
				put_escape(line, (unsigned char)*++text);
		} else if (quoted && (*text == '"' || *text == '\\')) {
			put(line, (const char[]){ '\\', *text }, 2);
		} else {
			put(line, text, 1);
			line->in_quotes ^= *text == '"' && !line->cut;
		}
	}
}

static void put_head(struct line *line, enum log_level level, const char *msg)
{
	int64_t wall_ms = clock_now(&clock_wall) / USEC_PER_MSEC;
	time_t sec = (time_t)(wall_ms / 1000);
	struct tm tm = { 0 };
	char head[64];
	int len;

	(void)gmtime_r(&sec, &tm);
	len = snprintf(head, sizeof(head), "ts=%04d-%02d-%02dT%02d:%02d:%02d.%03dZ lvl=%s prog=", tm.tm_year + 1900,
		       tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(wall_ms % 1000),
		       level_names[level]);
	if (len > 0 && (size_t)len < sizeof(head))
		put(line, head, (size_t)len);
	put_text(line, __atomic_load_n(&sink.program, __ATOMIC_RELAXED), false);
	if (sink.trace[0]) {
		put_text(line, " trace=", false);
		put_text(line, sink.trace, false);
	}
	put_text(line, " msg=\"", false);
	put_text(line, msg, true);
	put_text(line, "\"", false);
}

/* Closes the line; LOG_TAIL_MAX is what this may need. */
static void put_tail(struct line *line, unsigned suppressed)
{
	char count[LOG_TAIL_MAX] = "";
	size_t room;
	int len;

	if (line->cut)
		line->len = utf8_cut(line->text, line->len);
	if (suppressed)
		(void)snprintf(count, sizeof(count), " suppressed=%u", suppressed);
	room = sizeof(line->text) - line->len;
	len = snprintf(line->text + line->len, room, "%s%s%s\n", line->in_quotes ? "\"" : "", line->cut ? " cut=1" : "",
		       count);
	assert(len > 0 && (size_t)len < room);
	line->len += (size_t)len;
}

static void send_line(const struct line *line)
{
	int fd = __atomic_load_n(&sink.fd, __ATOMIC_RELAXED);

	/* A log that cannot be written has nowhere to say so. */
	for (int i = 0; i < LOG_EINTR_MAX; i++)
		if (write(fd, line->text, line->len) >= 0 || errno != EINTR)
			return;
}

void log_write(enum log_level level, struct log_limit *limit, const char *msg, const char *fields, ...)
{
	if (level > __atomic_load_n(&sink.level, __ATOMIC_RELAXED))
		return;

	int saved_errno = errno;
	unsigned suppressed = 0;
	struct line line;
	char raw[LOG_FIELDS_MAX];
	va_list ap;

	assert(level < LOG_LEVEL_COUNT);
	assert(msg && fields);
	if (limit && !limit_take(limit, clock_now(&clock_boot), &suppressed))
		return;
	line.len = 0;
	line.in_quotes = line.cut = false;
	put_head(&line, level, msg);
	va_start(ap, fields);
	int want = vsnprintf(raw, sizeof(raw), fields, ap);

	va_end(ap);
	/* The macros put a blank in front of the fields, also when there are none. */
	if (want > 1)
		put_text(&line, raw, false);
	put_tail(&line, suppressed);
	send_line(&line);
	errno = saved_errno;
}
