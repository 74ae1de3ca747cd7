/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server on a port of the loopback, driven as the daemon's loop drives it. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/ipaddr.h"
#include "ipamd/metrics.h"
#include "tests/check.h"

#define DEADLINE_US (10 * USEC_PER_SEC)
#define PORT_TRIES  20 /* ports that somebody may take between the look and the use */

struct world {
	struct metrics *metrics;
	uint16_t port;
	bool healthy;
	unsigned pages;
	size_t page_size; /* 0: a small page */
};

static void render(void *ctx, struct strbuf *out)
{
	struct world *w = ctx;

	w->pages++;
	metrics_family(out, "berth_up", "gauge", "Is it?");
	metrics_u64(out, "berth_up", "", 1);
	while (out->len < w->page_size && !out->failed)
		strbuf_add(out, "# padding padding padding padding padding padding padding padding\n");
}

static bool healthy(void *ctx)
{
	return ((struct world *)ctx)->healthy;
}

/* A port that nobody uses now. */
static uint16_t free_port(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &size), 0);
	(void)close(fd);
	return ntohs(addr.sin_port);
}

static int setup(void **state)
{
	struct world *w;
	struct err err;
	int r = -1;

	if (check_fds_setup(state) < 0)
		return -1;
	w = calloc(1, sizeof(*w));
	assert_non_null(w);
	for (int i = 0; i < PORT_TRIES && r < 0; i++) {
		char address[32];

		w->port = free_port();
		(void)snprintf(address, sizeof(address), "127.0.0.1:%u", w->port);
		r = metrics_open(address, render, healthy, w, &w->metrics, &err);
	}
	if (r < 0)
		fail_msg("%s", err.msg);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	metrics_close(w->metrics);
	free(w);
	return check_fds_teardown(state);
}

static int dial(const struct world *w)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons(w->port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* Runs the server when its descriptor says so or its time has come, until @fd has something to read. */
static void run_until_readable(struct world *w, int fd)
{
	int64_t end_us = clock_now(&clock_boot) + DEADLINE_US, timeout_us = metrics_run(w->metrics);

	for (;;) {
		struct pollfd fds[] = { { .fd = metrics_fd(w->metrics), .events = POLLIN },
					{ .fd = fd, .events = POLLIN } };
		int ms = timeout_us < 100 * USEC_PER_MSEC ? (int)(timeout_us / USEC_PER_MSEC) : 100;

		assert_true(poll(fds, ARRAY_SIZE(fds), ms) >= 0);
		if (fds[1].revents)
			return;
		timeout_us = metrics_run(w->metrics);
		assert_true(timeout_us >= 0);
		assert_true(clock_now(&clock_boot) < end_us);
	}
}

/* The whole answer to one request. Return: owned. */
static char *ask(struct world *w, const char *request)
{
	struct strbuf answer = { 0 };
	int fd = dial(w);
	char *text;

	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
	for (;;) {
		char chunk[65536];
		ssize_t n;

		run_until_readable(w, fd);
		n = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			break;
		assert_true(n > 0);
		strbuf_add_bytes(&answer, chunk, (size_t)n);
	}
	(void)close(fd);
	text = strbuf_take(&answer);
	strbuf_done(&answer);
	assert_non_null(text);
	return text;
}

static void expect(struct world *w, const char *request, const char *status, const char *inside, const char *body)
{
	_cleanup_free_ char *answer = ask(w, request);
	const char *end = strstr(answer, "\r\n\r\n");

	if (strncmp(answer, status, strlen(status)) != 0 || !strstr(answer, inside) || !end)
		fail_msg("wanted %s with %s, got:\n%s", status, inside, answer);
	else
		assert_string_equal(end + 4, body);
}

#define END  "Host: x\r\nConnection: close\r\n\r\n"
#define PAGE "# HELP berth_up Is it?\n# TYPE berth_up gauge\nberth_up 1\n"

static void test_metrics__page(void **state)
{
	struct world *w = *state;

	expect(w, "GET /metrics HTTP/1.1\r\n" END, "HTTP/1.1 200",
	       "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n", PAGE);
	assert_int_equal(w->pages, 1);
}

static void test_metrics__head_has_no_body(void **state)
{
	struct world *w = *state;

	expect(w, "HEAD /metrics HTTP/1.1\r\n" END, "HTTP/1.1 200", "Content-Length: ", "");
}

static void test_metrics__health(void **state)
{
	struct world *w = *state;

	expect(w, "GET /healthz HTTP/1.1\r\n" END, "HTTP/1.1 503", "", "not ready\n");
	w->healthy = true;
	expect(w, "GET /healthz HTTP/1.1\r\n" END, "HTTP/1.1 200", "", "ok\n");
	assert_int_equal(w->pages, 0);
}

static void test_metrics__other_paths_and_methods(void **state)
{
	struct world *w = *state;

	expect(w, "GET / HTTP/1.1\r\n" END, "HTTP/1.1 404", "", "there are /metrics and /healthz\n");
	expect(w, "GET /metrics/x HTTP/1.1\r\n" END, "HTTP/1.1 404", "", "there are /metrics and /healthz\n");
	expect(w, "DELETE /metrics HTTP/1.1\r\n" END, "HTTP/1.1 405", "Allow: GET, HEAD\r\n", "GET or HEAD only\n");
	expect(w, "POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n" END "hello", "HTTP/1.1 405", "",
	       "GET or HEAD only\n");
	assert_int_equal(w->pages, 0);
}

static void test_metrics__big_page(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *answer = NULL;

	w->page_size = 900U << 10;
	answer = ask(w, "GET /metrics HTTP/1.1\r\n" END);
	assert_true(strlen(answer) > w->page_size);
	w->page_size = 2U << 20; /* over the limit: an error, not half a page */
	expect(w, "GET /metrics HTTP/1.1\r\n" END, "HTTP/1.1 500", "", "no memory for the page\n");
}

static void test_metrics__two_requests_of_one_connection(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *answer = ask(w, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /metrics HTTP/1.1\r\n" END);

	assert_non_null(strstr(answer, "not ready\n"));
	assert_non_null(strstr(answer, PAGE));
}

static void test_metrics__garbage(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *answer = ask(w, "\x01\x02 nonsense\r\n\r\n");

	assert_true(answer[0] == '\0' || str_starts(answer, "HTTP/1.1 4"));
	expect(w, "GET /metrics HTTP/1.1\r\n" END, "HTTP/1.1 200", "", PAGE);
}

/* Sixteen that say nothing; they do not keep a daemon's descriptors for ever, and leave when they go. */
static void test_metrics__more_connections_than_there_may_be(void **state)
{
	struct world *w = *state;
	int fds[40];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = dial(w);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)metrics_run(w->metrics);
	/* 40 of ours, 16 of the server's, a few of the test itself */
	assert_true(check_open_fds() < ARRAY_SIZE(fds) + 16 + 16);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close(fds[i]);
	expect(w, "GET /metrics HTTP/1.1\r\n" END, "HTTP/1.1 200", "", PAGE);
}

static void test_metrics_run__idle_wants_nothing(void **state)
{
	struct world *w = *state;
	struct pollfd pfd = { .fd = metrics_fd(w->metrics), .events = POLLIN };

	expect(w, "GET /metrics HTTP/1.1\r\n" END, "HTTP/1.1 200", "", PAGE);
	(void)metrics_run(w->metrics);
	assert_int_equal(poll(&pfd, 1, 0), 0); /* or the daemon's loop would spin */
	assert_true(metrics_run(w->metrics) >= USEC_PER_SEC);
}

static void test_metrics_open__port_in_use(void **state)
{
	struct world *w = *state;
	struct metrics *second = NULL;
	struct err err;
	char address[32];

	(void)snprintf(address, sizeof(address), "127.0.0.1:%u", w->port);
	assert_int_equal(metrics_open(address, render, healthy, w, &second, &err), -1);
	assert_int_equal(err.class, ERR_CONFLICT);
	assert_non_null(strstr(err.msg, address));
	assert_null(second);
	assert_int_equal(metrics_open("nonsense", render, healthy, w, &second, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
}

static void test_metrics_address_parse__cases(void **state)
{
	static const struct {
		const char *text, *addr;
		unsigned port;
	} cases[] = {
		{ "127.0.0.1:9479", "127.0.0.1", 9479 },
		{ "[::1]:80", "::1", 80 },
		{ "0.0.0.0:65535", "0.0.0.0", 65535 },
		{ "127.0.0.1", NULL, 0 },
		{ ":80", NULL, 0 },
		{ "[::1]", NULL, 0 },
		{ "::1:80", NULL, 0 },
		{ "[127.0.0.1]:80", NULL, 0 },
		{ "127.0.0.1:65536", NULL, 0 },
		{ "127.0.0.1:0", NULL, 0 },
		{ "[]:80", NULL, 0 },
		{ "[:80", NULL, 0 },
		{ "x:80", NULL, 0 },
		{ "", NULL, 0 },
		{ "127.0.0.1:80 ", NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[IPADDR_STRLEN];
		struct ipaddr addr;
		uint16_t port;
		int r = metrics_address_parse(cases[i].text, &addr, &port);

		if ((r == 0) != (cases[i].addr != NULL))
			fail_msg("%s: %d", cases[i].text, r);
		if (r < 0)
			continue;
		assert_string_equal(ipaddr_str(&addr, text), cases[i].addr);
		assert_int_equal(port, cases[i].port);
	}
}

#define metrics_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		metrics_test(test_metrics__page),
		metrics_test(test_metrics__head_has_no_body),
		metrics_test(test_metrics__health),
		metrics_test(test_metrics__other_paths_and_methods),
		metrics_test(test_metrics__big_page),
		metrics_test(test_metrics__two_requests_of_one_connection),
		metrics_test(test_metrics__garbage),
		metrics_test(test_metrics__more_connections_than_there_may_be),
		metrics_test(test_metrics_run__idle_wants_nothing),
		metrics_test(test_metrics_open__port_in_use),
		check_unit_test(test_metrics_address_parse__cases),
	};

	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
