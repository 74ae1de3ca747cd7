/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud/http.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "cloud/retry.h"
#include "stub.h"

#define SECONDS(n) ((n)*USEC_PER_SEC)

struct world {
	struct stub stub;
	struct stop stop;
	struct http *http;
	char url[64];
	char seen[4096]; /* the last request */
	const char *reply_status, *reply_headers, *reply_body;
	struct http_response response;
	struct err err;
};

static void answer_plainly(struct stub *stub, unsigned number, const char *request, struct stub_answer *answer)
{
	struct world *w = stub->ctx;

	(void)number;
	(void)str_copy(w->seen, sizeof(w->seen), request);
	stub_reply(answer, w->reply_status, w->reply_headers, w->reply_body);
}

static void start(struct world *w, void (*handler)(struct stub *, unsigned, const char *, struct stub_answer *))
{
	memset(w, 0, sizeof(*w));
	w->reply_status = "200 OK";
	w->reply_headers = "";
	w->reply_body = "hello";
	stub_start(&w->stub, handler, w);
	(void)snprintf(w->url, sizeof(w->url), "http://127.0.0.1:%u/x", w->stub.port);
	assert_int_equal(stop_init(&w->stop), 0);
	w->http = http_new(NULL, &clock_boot, &clock_wall, &w->stop);
	assert_non_null(w->http);
}

static void end(struct world *w)
{
	http_response_done(&w->response);
	http_free(w->http);
	stop_done(&w->stop);
	stub_stop(&w->stub);
}

static struct http_request post(const struct world *w)
{
	return (struct http_request){
		.method = HTTP_POST,
		.url = w->url,
		.body = "a=b",
		.body_size = 3,
		.idempotent = true,
		.connect_us = SECONDS(2),
		.timeout_us = SECONDS(5),
		.deadline_us = clock_now(&clock_boot) + SECONDS(10),
	};
}

static int send_it(struct world *w, const struct http_request *request)
{
	http_response_done(&w->response);
	memset(&w->err, 0, sizeof(w->err));
	return http_send(w->http, request, &w->response, &w->err);
}

static void test_send__plain(void **state)
{
	const char *const headers[] = { "X-Test: 1", "Content-Type: text/x-test" };
	struct http_request request;
	struct world w;

	(void)state;
	start(&w, answer_plainly);
	w.reply_headers = "Content-Type: text/xml;charset=UTF-8\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
			  "retry-after:  7 \r\n";
	request = post(&w);
	request.headers = headers;
	request.header_count = 2;
	assert_int_equal(send_it(&w, &request), 0);
	assert_int_equal(w.response.status, 200);
	assert_string_equal(w.response.content_type, "text/xml;charset=UTF-8");
	assert_string_equal(w.response.body, "hello");
	assert_int_equal(w.response.body_size, 5);
	assert_int_equal(w.response.date_us, INT64_C(1767225600) * USEC_PER_SEC);
	assert_int_equal(w.response.retry_after_ms, 7000);
	assert_non_null(strstr(w.seen, "POST /x HTTP/1.1\r\n"));
	assert_non_null(strstr(w.seen, "User-Agent: berth/"));
	assert_non_null(strstr(w.seen, "X-Test: 1\r\n"));
	assert_null(strstr(w.seen, "Expect:"));
	assert_non_null(strstr(w.seen, "\r\n\r\na=b"));
	end(&w);
}

static void test_send__error_status_is_an_answer(void **state)
{
	struct http_request request;
	struct world w;

	(void)state;
	start(&w, answer_plainly);
	w.reply_status = "502 Bad Gateway";
	w.reply_headers = "Content-Type: text/html\r\n";
	w.reply_body = "<html>bad gateway</html>";
	request = post(&w);
	request.idempotent = false;
	assert_int_equal(send_it(&w, &request), 0);
	assert_int_equal(w.response.status, 502);
	assert_string_equal(w.response.body, "<html>bad gateway</html>");
	end(&w);
}

static void test_send__connection_is_reused(void **state)
{
	struct http_request request;
	struct world w;

	(void)state;
	start(&w, answer_plainly);
	for (unsigned i = 0; i < 5; i++) {
		request = post(&w);
		assert_int_equal(send_it(&w, &request), 0);
	}
	assert_int_equal(w.stub.requests, 5);
	assert_int_equal(w.stub.connections, 1);
	end(&w);
}

static void test_send__refused(void **state)
{
	struct http_request request;
	struct world w;

	(void)state;
	start(&w, answer_plainly);
	request = post(&w);
	request.idempotent = false;
	stub_stop(&w.stub);
	assert_int_equal(send_it(&w, &request), -1);
	/* Nothing was sent: not even a request that must not be repeated is in doubt. */
	assert_int_equal(w.err.class, ERR_RETRY);
	assert_non_null(strstr(w.err.msg, "127.0.0.1:"));
	http_free(w.http);
	stop_done(&w.stop);
}

static void say_nothing_and_close(struct stub *stub, unsigned number, const char *request, struct stub_answer *answer)
{
	(void)stub;
	(void)number;
	(void)request;
	answer->close = true;
}

static void test_send__lost_answer(void **state)
{
	struct http_request request;
	struct world w;

	(void)state;
	start(&w, say_nothing_and_close);
	request = post(&w);
	assert_int_equal(send_it(&w, &request), -1);
	assert_int_equal(w.err.class, ERR_RETRY);
	request.idempotent = false;
	assert_int_equal(send_it(&w, &request), -1);
	assert_int_equal(w.err.class, ERR_AMBIGUOUS);
	end(&w);
}

static void answer_once_then_drop(struct stub *stub, unsigned number, const char *request, struct stub_answer *answer)
{
	if (number == 0)
		answer_plainly(stub, number, request, answer);
	else
		answer->close = true;
}

static void test_send__lost_answer_on_a_reused_connection_is_not_repeated(void **state)
{
	struct http_request request;
	struct world w;

	(void)state;
	start(&w, answer_once_then_drop);
	request = post(&w);
	assert_int_equal(send_it(&w, &request), 0);
	request.idempotent = false;
	assert_int_equal(send_it(&w, &request), -1);
	assert_int_equal(w.err.class, ERR_AMBIGUOUS);
	assert_int_equal(w.stub.requests, 2);
	end(&w);
}

static void say_nothing(struct stub *stub, unsigned number, const char *request, struct stub_answer *answer)
{
	(void)stub;
	(void)number;
	(void)request;
	(void)answer;
}

static void test_send__hang(void **state)
{
	struct http_request request;
	struct world w;
	int64_t before;

	(void)state;
	start(&w, say_nothing);
	request = post(&w);
	request.timeout_us = USEC_PER_SEC / 5;
	before = clock_now(&clock_boot);
	assert_int_equal(send_it(&w, &request), -1);
	assert_int_equal(w.err.class, ERR_RETRY);
	request.idempotent = false;
	/* The deadline counts when it is the earlier one. */
	request.timeout_us = SECONDS(60);
	request.deadline_us = clock_now(&clock_boot) + USEC_PER_SEC / 5;
	assert_int_equal(send_it(&w, &request), -1);
	assert_int_equal(w.err.class, ERR_AMBIGUOUS);
	assert_true(clock_now(&clock_boot) - before < SECONDS(4));
	end(&w);
}

static void answer_half(struct stub *stub, unsigned number, const char *request, struct stub_answer *answer)
{
	(void)stub;
	(void)number;
	(void)request;
	strbuf_add(&answer->text, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<half");
	answer->close = true;
}

static void test_send__half_answer(void **state)
{
	struct http_request request;
	struct world w;

	(void)state;
	start(&w, answer_half);
	request = post(&w);
	assert_int_equal(send_it(&w, &request), -1);
	assert_int_equal(w.err.class, ERR_RETRY);
	request.idempotent = false;
	assert_int_equal(send_it(&w, &request), -1);
	assert_int_equal(w.err.class, ERR_AMBIGUOUS);
	end(&w);
}

static void answer_garbage(struct stub *stub, unsigned number, const char *request, struct stub_answer *answer)
{
	(void)stub;
	(void)number;
	(void)request;
	strbuf_add(&answer->text, "SSH-2.0-OpenSSH_9.2\r\n\r\n");
	answer->close = true;
}

static void test_send__garbage(void **state)
{
	struct http_request request;
	struct world w;

	(void)state;
	start(&w, answer_garbage);
	request = post(&w);
	request.idempotent = false;
	assert_int_equal(send_it(&w, &request), -1);
	assert_int_equal(w.err.class, ERR_AMBIGUOUS);
	end(&w);
}

static void test_send__body_over_the_limit(void **state)
{
	struct http_request request;
	struct world w;

	(void)state;
	start(&w, answer_plainly);
	request = post(&w);
	request.body_max = 5;
	assert_int_equal(send_it(&w, &request), 0);
	request.body_max = 4;
	assert_int_equal(send_it(&w, &request), -1);
	assert_int_equal(w.err.class, ERR_PROTOCOL);
	assert_non_null(strstr(w.err.msg, "larger than the limit"));
	request.idempotent = false;
	assert_int_equal(send_it(&w, &request), -1);
	assert_int_equal(w.err.class, ERR_AMBIGUOUS);
	end(&w);
}

static void answer_many_headers(struct stub *stub, unsigned number, const char *request, struct stub_answer *answer)
{
	(void)stub;
	(void)number;
	(void)request;
	strbuf_add(&answer->text, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n");
	for (unsigned i = 0; i < 200; i++)
		strbuf_printf(&answer->text, "X-%u: y\r\n", i);
	strbuf_add(&answer->text, "\r\n");
}

static void test_send__too_many_headers(void **state)
{
	struct http_request request;
	struct world w;

	(void)state;
	start(&w, answer_many_headers);
	request = post(&w);
	assert_int_equal(send_it(&w, &request), -1);
	assert_int_equal(w.err.class, ERR_PROTOCOL);
	end(&w);
}

static void test_send__redirect_is_not_followed(void **state)
{
	char location[128];
	struct http_request request;
	struct world w;

	(void)state;
	start(&w, answer_plainly);
	(void)snprintf(location, sizeof(location), "Location: http://127.0.0.1:%u/elsewhere\r\n", w.stub.port);
	w.reply_status = "302 Found";
	w.reply_headers = location;
	request = post(&w);
	request.method = HTTP_GET;
	assert_int_equal(send_it(&w, &request), 0);
	assert_int_equal(w.response.status, 302);
	assert_int_equal(w.stub.requests, 1);
	end(&w);
}

static void test_send__no_proxy(void **state)
{
	struct http_request request;
	struct world w;

	(void)state;
	start(&w, answer_plainly);
	/* Port 1 of loopback: nobody listens there. */
	assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
	request = post(&w);
	assert_int_equal(send_it(&w, &request), -1);
	request.no_proxy = true;
	assert_int_equal(send_it(&w, &request), 0);
	assert_int_equal(unsetenv("http_proxy"), 0);
	end(&w);
}

static void test_send__deadline_passed(void **state)
{
	struct http_request request;
	struct world w;

	(void)state;
	start(&w, answer_plainly);
	request = post(&w);
	request.idempotent = false;
	request.deadline_us = clock_now(&clock_boot) - 1;
	assert_int_equal(send_it(&w, &request), -1);
	assert_int_equal(w.err.class, ERR_RETRY);
	assert_int_equal(w.stub.requests, 0);
	end(&w);
}

static void stop_on_request(struct stub *stub, unsigned number, const char *request, struct stub_answer *answer)
{
	struct world *w = stub->ctx;

	(void)number;
	(void)request;
	(void)answer;
	stop_set(&w->stop);
}

static void test_send__stopped_in_flight(void **state)
{
	struct http_request request;
	struct world w;
	int64_t before = clock_now(&clock_boot);

	(void)state;
	start(&w, stop_on_request);
	request = post(&w);
	request.timeout_us = SECONDS(60);
	request.deadline_us = before + SECONDS(60);
	request.idempotent = false;
	assert_int_equal(send_it(&w, &request), -1);
	assert_int_equal(w.err.class, ERR_AMBIGUOUS);
	assert_int_equal(send_it(&w, &request), -1);
	assert_int_equal(w.err.class, ERR_RETRY);
	assert_int_equal(w.stub.requests, 1);
	assert_true(clock_now(&clock_boot) - before < SECONDS(10));
	end(&w);
}

static void test_send__header_with_line_break(void **state)
{
	const char *const header = "X-Evil: 1\r\nX-Injected: 2";
	struct http_request request;
	struct world w;

	(void)state;
	start(&w, answer_plainly);
	request = post(&w);
	request.headers = &header;
	request.header_count = 1;
	assert_int_equal(send_it(&w, &request), -1);
	assert_int_equal(w.stub.requests, 0);
	end(&w);
}

static void test_send__bad_url(void **state)
{
	static const char *const urls[] = {
		"ftp://127.0.0.1/",       "file:///etc/passwd", "http://",     "http:///x",
		"http://user@127.0.0.1/", "http://h/ x",        "http://h/#f", "http://?q"
	};
	struct http_request request;
	struct world w;

	(void)state;
	start(&w, answer_plainly);
	request = post(&w);
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		request.url = urls[i];
		assert_false(http_url_valid(urls[i]));
		assert_int_equal(send_it(&w, &request), -1);
		assert_int_equal(w.err.class, ERR_INVALID);
	}
	end(&w);
}

static void test_send__bad_ca_bundle(void **state)
{
	struct http_request request;
	struct world w;

	(void)state;
	start(&w, answer_plainly);
	http_free(w.http);
	w.http = http_new("/nonexistent/ca.pem", &clock_boot, &clock_wall, &w.stop);
	assert_non_null(w.http);
	request = post(&w);
	(void)snprintf(w.url, sizeof(w.url), "https://127.0.0.1:%u/", w.stub.port);
	request.idempotent = false;
	assert_int_equal(send_it(&w, &request), -1);
	assert_int_equal(w.err.class, ERR_INVALID);
	end(&w);
}

static void test_send__retry_after_date(void **state)
{
	struct http_request request;
	char header[128], date[64];
	time_t soon = time(NULL) + 30;
	struct tm tm;
	struct world w;

	(void)state;
	start(&w, answer_plainly);
	assert_non_null(gmtime_r(&soon, &tm));
	assert_true(strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0);
	(void)snprintf(header, sizeof(header), "Retry-After: %s\r\n", date);
	w.reply_headers = header;
	w.reply_status = "503 Service Unavailable";
	request = post(&w);
	assert_int_equal(send_it(&w, &request), 0);
	assert_in_range(w.response.retry_after_ms, 20000, 30000);
	end(&w);
}

static void *many(void *ctx)
{
	struct world *w = ctx;
	uintptr_t failed = 0;

	for (unsigned i = 0; i < 25; i++) {
		const struct http_request request = post(w);
		struct http_response response = { 0 };

		failed += http_send(w->http, &request, &response, NULL) != 0 || !str_equal(response.body, "hello");
		http_response_done(&response);
	}
	return (void *)failed;
}

static void answer_hello(struct stub *stub, unsigned number, const char *request, struct stub_answer *answer)
{
	(void)stub;
	(void)number;
	(void)request;
	stub_reply(answer, "200 OK", "", "hello");
}

static void test_send__from_many_threads(void **state)
{
	pthread_t threads[12];
	struct world w;

	(void)state;
	start(&w, answer_hello);
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, many, &w), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++) {
		void *failed;

		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	assert_int_equal(w.stub.requests, 25 * ARRAY_SIZE(threads));
	end(&w);
}

static void test_url__parts(void **state)
{
	const char *host;

	(void)state;
	assert_true(http_url_valid("https://ec2.us-west-2.amazonaws.com"));
	assert_true(http_url_valid("http://[fd00:ec2::254]/"));
	assert_int_equal(http_url_host("http://127.0.0.1:4566/a/b", &host), 14);
	assert_memory_equal(host, "127.0.0.1:4566", 14);
	assert_string_equal(http_url_path("http://127.0.0.1:4566/a/b"), "/a/b");
	assert_string_equal(http_url_path("http://127.0.0.1:4566"), "/");
	assert_int_equal(http_url_host("http://h:80?x=/", &host), 4);
}

static void test_url__base(void **state)
{
	(void)state;
	assert_true(http_url_is_base("http://h/a"));
	assert_true(http_url_valid("http://h/a?b=c&d"));
	assert_false(http_url_is_base("http://h/a?b=c&d"));
	assert_false(http_url_is_base("h/a"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_send__plain),
		check_unit_test(test_send__error_status_is_an_answer),
		check_unit_test(test_send__connection_is_reused),
		check_unit_test(test_send__refused),
		check_unit_test(test_send__lost_answer),
		check_unit_test(test_send__lost_answer_on_a_reused_connection_is_not_repeated),
		check_unit_test(test_send__hang),
		check_unit_test(test_send__half_answer),
		check_unit_test(test_send__garbage),
		check_unit_test(test_send__body_over_the_limit),
		check_unit_test(test_send__too_many_headers),
		check_unit_test(test_send__redirect_is_not_followed),
		check_unit_test(test_send__no_proxy),
		check_unit_test(test_send__deadline_passed),
		check_unit_test(test_send__stopped_in_flight),
		check_unit_test(test_send__header_with_line_break),
		check_unit_test(test_send__bad_url),
		check_unit_test(test_send__bad_ca_bundle),
		check_unit_test(test_send__retry_after_date),
		check_unit_test(test_send__from_many_threads),
		check_unit_test(test_url__parts),
		check_unit_test(test_url__base),
	};

	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
