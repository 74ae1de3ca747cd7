/* SPDX-License-Identifier: Apache-2.0 */
#include "berth/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "berth/clock.h"
#include "berth/str.h"
#include "tests/check.h"

#define SINK_PIPE_SIZE (1 << 20) /* bytes: packet mode takes a page for each write, and 16 are not enough */

/* A pipe in packet mode: one read(2) yields exactly what one write(2) put in, so that "one line, one write" is seen. */
struct sink {
	int fds[2];
	char line[PIPE_BUF + 1];
};

static int sink_setup(void **state)
{
	static struct sink sink;

	if (check_fds_setup(state) < 0 || pipe2(sink.fds, O_CLOEXEC | O_DIRECT | O_NONBLOCK) < 0)
		return -1;
	if (fcntl(sink.fds[1], F_SETPIPE_SZ, SINK_PIPE_SIZE) < 0)
		return -1;
	log_init("berth-test", sink.fds[1], LOG_DEBUG_);
	*state = &sink;
	return 0;
}

static int sink_teardown(void **state)
{
	struct sink *sink = *state;

	log_init("berth-test", STDERR_FILENO, LOG_INFO_);
	(void)close(sink->fds[0]);
	(void)close(sink->fds[1]);
	return check_fds_teardown(state);
}

/* The next write as a string; "" if there was none. */
static const char *next_write(struct sink *sink)
{
	ssize_t len = read(sink->fds[0], sink->line, sizeof(sink->line) - 1);

	sink->line[len > 0 ? len : 0] = '\0';
	return sink->line;
}

/* The line without its newline and its time stamp, whose shape is checked on the way. */
static const char *next_line(struct sink *sink)
{
	static const char shape[] = "ts=dddd-dd-ddTdd:dd:dd.dddZ ";
	char *line = sink->line;
	size_t len = strlen(next_write(sink));

	if (len == 0)
		return line;
	assert_true(len > strlen(shape));
	assert_int_equal(line[len - 1], '\n');
	line[len - 1] = '\0';
	assert_null(strchr(line, '\n'));
	for (size_t i = 0; i < strlen(shape); i++)
		assert_true(shape[i] == 'd' ? line[i] >= '0' && line[i] <= '9' : line[i] == shape[i]);
	return line + strlen(shape);
}

static void test_log__one_line_per_write(void **state)
{
	struct sink *sink = *state;

	log_warn("assign failed", "nic=%s count=%d", "eni-1", 3);
	log_info("started");
	assert_string_equal(next_line(sink), "lvl=warn prog=berth-test msg=\"assign failed\" nic=eni-1 count=3");
	assert_string_equal(next_line(sink), "lvl=info prog=berth-test msg=\"started\"");
	assert_string_equal(next_line(sink), "");
}

static void test_log__trace_in_each_line(void **state)
{
	struct sink *sink = *state;

	log_set_trace("4bf92f3577b34da6a3ce929d0e0e4736");
	log_warn("x", "a=1");
	log_set_trace("4bf92f3577b34da6a3ce929d0e0e4736and more");
	log_warn("y");
	log_set_trace("");
	log_warn("z");
	assert_string_equal(next_line(sink),
			    "lvl=warn prog=berth-test trace=4bf92f3577b34da6a3ce929d0e0e4736 msg=\"x\" a=1");
	assert_string_equal(next_line(sink),
			    "lvl=warn prog=berth-test trace=4bf92f3577b34da6a3ce929d0e0e4736 msg=\"y\"");
	assert_string_equal(next_line(sink), "lvl=warn prog=berth-test msg=\"z\"");
}

static void test_log__time_is_now(void **state)
{
	struct sink *sink = *state;
	int64_t before = clock_now(&clock_wall) / USEC_PER_MSEC, after;
	struct tm tm = { 0 };
	int64_t logged;
	char *rest;

	log_info("x");
	after = clock_now(&clock_wall) / USEC_PER_MSEC;
	rest = strptime(next_write(sink), "ts=%Y-%m-%dT%H:%M:%S.", &tm);
	assert_non_null(rest);
	logged = (int64_t)timegm(&tm) * 1000 + (rest[0] - '0') * 100 + (rest[1] - '0') * 10 + (rest[2] - '0');
	assert_in_range(logged, before, after);
}

static void test_log__level_filters(void **state)
{
	struct sink *sink = *state;
	struct log_limit limit = { 0 };

	log_init("berth-test", sink->fds[1], LOG_WARN_);
	log_write(LOG_INFO_, &limit, "hidden", " ");
	log_debug("hidden");
	assert_string_equal(next_line(sink), "");
	assert_int_equal(limit.tokens_used, 0);
	log_warn("shown");
	log_error("shown too");
	assert_string_equal(next_line(sink), "lvl=warn prog=berth-test msg=\"shown\"");
	assert_string_equal(next_line(sink), "lvl=error prog=berth-test msg=\"shown too\"");
}

static void test_log__control_characters_are_escaped(void **state)
{
	struct sink *sink = *state;

	log_info("a\nb\"c\\d\x1b\xc2\x9b", "k=%s u=%s", "1\n2\r3\t4\x7f\x01\xc2\x85", "\xc3\xa4");
	assert_string_equal(next_line(sink), "lvl=info prog=berth-test msg=\"a\\nb\\\"c\\\\d\\x1b\\xc2\\x9b\" "
					     "k=1\\n2\\r3\\t4\\x7f\\x01\\xc2\\x85 u=\xc3\xa4");
}

static void test_log__lone_lead_byte_at_the_end(void **state)
{
	struct sink *sink = *state;

	log_info("x\xc2", "k=\xc2");
	assert_string_equal(next_line(sink), "lvl=info prog=berth-test msg=\"x\xc2\" k=\xc2");
}

static void test_log__error_fields(void **state)
{
	struct sink *sink = *state;
	struct err err;

	(void)err_set(&err, ERR_AUTH, "ec2", "no permission");
	log_warn("assign failed", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
	assert_string_equal(next_line(sink), "lvl=warn prog=berth-test msg=\"assign failed\" class=AUTH domain=ec2 "
					     "ident=- err=\"no permission\"");
}

static void test_log__long_line_is_cut_and_says_so(void **state)
{
	struct sink *sink = *state;
	char text[3 * PIPE_BUF];
	size_t len;

	/* Both by the formatted text and by what escaping makes of it; the open quote is closed. */
	for (int i = 0; i < 2; i++) {
		static const char end[] = "\" cut=1\n";

		memset(text, i ? '\n' : 'x', sizeof(text) - 1);
		text[i ? PIPE_BUF / 2 : sizeof(text) - 1] = '\0';
		log_info("long", "err=\"%s\"", text);
		len = strlen(next_write(sink));
		assert_in_range(len, PIPE_BUF - 80, PIPE_BUF);
		assert_string_equal(sink->line + len - strlen(end), end);
	}
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_info(text, "k=v");
	len = strlen(next_write(sink));
	assert_in_range(len, PIPE_BUF - 80, PIPE_BUF);
}

static void test_log__cut_never_halves_a_character(void **state)
{
	struct sink *sink = *state;

	for (int shift = 0; shift < 3; shift++) {
		char text[2 * PIPE_BUF];
		const char *cut;

		for (size_t i = 0; i + 1 < sizeof(text); i++)
			text[i] = "\xe2\x82\xac"[i % 3];
		text[sizeof(text) - 1] = '\0';
		log_info("long", "k=%.*s%s", shift, "abc", text);
		cut = strstr(next_write(sink), " cut=1\n");
		assert_non_null(cut);
		assert_memory_equal(cut - 3, "\xe2\x82\xac", 3);
	}
}

static void log_many(struct log_limit *limit, int count)
{
	for (int i = 0; i < count; i++)
		log_write(LOG_WARN_, limit, "again", " i=%d", i);
}

static int count_lines(struct sink *sink)
{
	int count = 0;

	while (*next_write(sink))
		count++;
	return count;
}

static void test_log__burst_of_ten_then_one_per_second(void **state)
{
	struct sink *sink = *state;
	struct log_limit limit = { 0 };

	log_many(&limit, 25);
	assert_int_equal(count_lines(sink), 10);
	/* Moving the bucket back in time is one second passing. */
	limit.next_refill_us -= USEC_PER_SEC;
	log_write(LOG_WARN_, &limit, "again", " ");
	assert_string_equal(next_line(sink), "lvl=warn prog=berth-test msg=\"again\" suppressed=15");
	log_many(&limit, 3);
	assert_int_equal(count_lines(sink), 0);
	limit.next_refill_us -= 2 * USEC_PER_SEC;
	log_many(&limit, 5);
	assert_int_equal(count_lines(sink), 2);
	limit.next_refill_us -= 1000 * USEC_PER_SEC;
	log_many(&limit, 50);
	assert_int_equal(count_lines(sink), 10);
}

static void test_log__refill_does_not_start_over_with_each_line(void **state)
{
	struct sink *sink = *state;
	struct log_limit limit = { 0 };

	log_many(&limit, 10);
	assert_int_equal(count_lines(sink), 10);
	for (int i = 0; i < 2; i++) {
		/* 1.5 s, then 0.6 s: two tokens in two seconds. */
		limit.next_refill_us -= i ? 600 * USEC_PER_MSEC : 1500 * USEC_PER_MSEC;
		log_many(&limit, 2);
		assert_int_equal(count_lines(sink), 1);
	}
}

static void test_log__suppressed_is_said_once(void **state)
{
	struct sink *sink = *state;
	struct log_limit limit = { 0 };

	log_many(&limit, 12);
	(void)count_lines(sink);
	limit.next_refill_us -= 2 * USEC_PER_SEC;
	log_write(LOG_WARN_, &limit, "first", " k=1");
	log_write(LOG_WARN_, &limit, "second", " ");
	assert_string_equal(next_line(sink), "lvl=warn prog=berth-test msg=\"first\" k=1 suppressed=2");
	assert_string_equal(next_line(sink), "lvl=warn prog=berth-test msg=\"second\"");
}

static void test_log__suppressed_survives_a_cut(void **state)
{
	static const char end[] = "\" cut=1 suppressed=4294967295\n";
	struct sink *sink = *state;
	struct log_limit limit = { .suppressed = UINT32_MAX };
	char text[2 * PIPE_BUF];
	size_t len;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_write(LOG_WARN_, &limit, text, " ");
	len = strlen(next_write(sink));
	assert_in_range(len, 1, PIPE_BUF);
	assert_string_equal(sink->line + len - strlen(end), end);
}

static void test_log__statements_have_their_own_bucket(void **state)
{
	struct sink *sink = *state;

	for (int i = 0; i < 20; i++) {
		log_info("one");
		log_info("two");
	}
	assert_int_equal(count_lines(sink), 20);
}

static void test_log__errno_is_kept(void **state)
{
	struct sink *sink = *state;

	log_init("berth-test", -1, LOG_DEBUG_);
	errno = ENOENT;
	log_error("nobody hears it");
	assert_int_equal(errno, ENOENT);
	log_init("berth-test", sink->fds[1], LOG_DEBUG_);
}

#define THREADS          4
#define LINES_PER_THREAD 200

static void *log_from_thread(void *limit)
{
	for (int i = 0; i < LINES_PER_THREAD; i++)
		log_write(LOG_INFO_, limit, "thread", " i=%d", i);
	return NULL;
}

static void test_log__threads_share_a_statement(void **state)
{
	struct sink *sink = *state;
	struct log_limit limit = { 0 };
	pthread_t threads[THREADS];
	int written;

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, log_from_thread, &limit), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	/* A race may let a line too many pass, never lose one unnoticed while no one else passed. */
	written = 0;
	for (const char *line = next_line(sink); *line; line = next_line(sink)) {
		assert_true(str_starts(line, "lvl=info prog=berth-test msg=\"thread\" i="));
		written++;
	}
	assert_in_range(written, 10, 10 * THREADS + 10);
}

static void test_log_level_parse__names(void **state)
{
	enum log_level level = LOG_ERROR_;

	(void)state;
	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(level, LOG_DEBUG_);
	assert_int_equal(log_level_parse("warn", &level), 0);
	assert_int_equal(level, LOG_WARN_);
	assert_int_equal(log_level_parse("WARN", &level), -EINVAL);
	assert_int_equal(log_level_parse("", &level), -EINVAL);
	assert_int_equal(level, LOG_WARN_);
}

#define sink_test(f) cmocka_unit_test_setup_teardown(f, sink_setup, sink_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		sink_test(test_log__one_line_per_write),
		sink_test(test_log__trace_in_each_line),
		sink_test(test_log__time_is_now),
		sink_test(test_log__level_filters),
		sink_test(test_log__control_characters_are_escaped),
		sink_test(test_log__lone_lead_byte_at_the_end),
		sink_test(test_log__error_fields),
		sink_test(test_log__long_line_is_cut_and_says_so),
		sink_test(test_log__cut_never_halves_a_character),
		sink_test(test_log__burst_of_ten_then_one_per_second),
		sink_test(test_log__refill_does_not_start_over_with_each_line),
		sink_test(test_log__suppressed_is_said_once),
		sink_test(test_log__suppressed_survives_a_cut),
		sink_test(test_log__statements_have_their_own_bucket),
		sink_test(test_log__errno_is_kept),
		sink_test(test_log__threads_share_a_statement),
		check_unit_test(test_log_level_parse__names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
