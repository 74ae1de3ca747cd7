/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud/aws/meta.h"

#include "berth/err.h"
#include "cloud/aws/aws.h"
#include "cloud/http.h"
#include "cloud/retry.h"
#include "stub.h"

struct world {
	struct stub stub;
	struct stop stop;
	struct aws_base base;
	struct aws_meta meta;
	int64_t now;     /* offset of the boot clock */
	unsigned tokens; /* handed out so far; only the last is good */
	unsigned refuse; /* GETs still answered with 401 whatever they carry */
	unsigned broken; /* requests still answered with 500 */
	unsigned puts, gets;
	const char *item; /* status line, content type, body */
	const char *item_type;
	const char *item_body;
	const char *token_body; /* NULL: "TOKEN" and a number */
	bool hang;
	struct err err;
};

static int64_t shifted_now(void *ctx)
{
	return clock_now(&clock_boot) + *(int64_t *)ctx;
}

static uint64_t zero_next(void *ctx)
{
	(void)ctx;
	return 0;
}

static const struct random no_jitter = { .next = zero_next };

static void on_put(struct world *w, const char *request, struct stub_answer *answer)
{
	char body[64];

	w->puts++;
	if (!strstr(request, "PUT /latest/api/token HTTP/1.1") ||
	    !strstr(request, "X-aws-ec2-metadata-token-ttl-seconds: 21600\r\n")) {
		stub_reply(answer, "400 Bad Request", "Content-Type: text/html\r\n", "<html>");
		return;
	}
	(void)snprintf(body, sizeof(body), "TOKEN%u==", ++w->tokens);
	stub_reply(answer, "200 OK", "Content-Type: text/plain\r\n", w->token_body ? w->token_body : body);
}

static void on_get(struct world *w, const char *request, struct stub_answer *answer)
{
	char token[64], type[64];

	w->gets++;
	(void)snprintf(token, sizeof(token), "X-aws-ec2-metadata-token: TOKEN%u==\r\n", w->tokens);
	(void)snprintf(type, sizeof(type), "Content-Type: %s\r\n", w->item_type);
	if (w->refuse > 0 || !strstr(request, token)) {
		w->refuse -= w->refuse > 0;
		stub_reply(answer, "401 Unauthorized", "Content-Type: text/html\r\n", "<html>401</html>");
	} else if (strstr(request, "GET /latest/meta-data/instance-id HTTP/1.1")) {
		stub_reply(answer, w->item, type, w->item_body);
	} else {
		stub_reply(answer, "404 Not Found", "Content-Type: text/html\r\n", "<html>404 - Not Found</html>");
	}
}

static void imds(struct stub *stub, unsigned number, const char *request, struct stub_answer *answer)
{
	struct world *w = stub->ctx;

	(void)number;
	if (w->hang)
		return;
	if (w->broken > 0) {
		w->broken--;
		stub_reply(answer, "500 Internal Server Error", "", "");
	} else if (strncmp(request, "PUT ", 4) == 0) {
		on_put(w, request, answer);
	} else {
		on_get(w, request, answer);
	}
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	char url[64];

	assert_non_null(w);
	w->item = "200 OK";
	w->item_type = "text/plain";
	w->item_body = "i-0abc";
	stub_start(&w->stub, imds, w);
	assert_int_equal(stop_init(&w->stop), 0);
	*state = w;
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/", w->stub.port);
	w->base = (struct aws_base){ .wall = &clock_wall, .random = &no_jitter, .stop = &w->stop, .boot = &clock_boot };
	w->base.http = http_new(NULL, &clock_boot, &clock_wall, &w->stop);
	assert_non_null(w->base.http);
	assert_int_equal(aws_meta_init(&w->meta, &w->base, url, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	aws_meta_done(&w->meta);
	http_free(w->base.http);
	stop_done(&w->stop);
	stub_stop(&w->stub);
	free(w);
	return 0;
}

static int get_within(struct world *w, const char *path, int64_t us, char **ret)
{
	memset(&w->err, 0, sizeof(w->err));
	*ret = NULL;
	return aws_meta_get(&w->meta, path, clock_now(w->base.boot) + us, ret, &w->err);
}

static int get(struct world *w, const char *path, char **ret)
{
	return get_within(w, path, 20 * USEC_PER_SEC, ret);
}

static void assert_item(struct world *w)
{
	char *text;

	if (get(w, "instance-id", &text) < 0)
		fail_msg("%s", w->err.msg);
	assert_string_equal(text, "i-0abc");
	wiped_free(text);
}

static void test_get__token_is_shared(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < 5; i++)
		assert_item(w);
	assert_int_equal(w->puts, 1);
	assert_int_equal(w->gets, 5);
	assert_int_equal(w->base.counters.metadata, 6);
}

static void test_get__token_is_replaced_before_its_end(void **state)
{
	struct world *w = *state;
	const struct clock later = { shifted_now, &w->now };

	assert_item(w);
	w->base.boot = &later;
	w->now = INT64_C(17000) * USEC_PER_SEC;
	assert_item(w);
	assert_int_equal(w->puts, 1);
	/* 80 % of six hours. */
	w->now = INT64_C(17281) * USEC_PER_SEC;
	assert_item(w);
	assert_int_equal(w->puts, 2);
}

static void test_get__401_new_token_once(void **state)
{
	struct world *w = *state;
	char *text;

	assert_item(w);
	w->refuse = 1;
	assert_item(w);
	assert_int_equal(w->puts, 2);
	/* A second refusal is final. */
	w->refuse = 2;
	assert_int_equal(get(w, "instance-id", &text), -1);
	assert_int_equal(w->err.class, ERR_AUTH);
	assert_int_equal(w->puts, 3);
}

static void test_get__404(void **state)
{
	struct world *w = *state;
	char *text;

	assert_int_equal(get(w, "ipv6", &text), -1);
	assert_int_equal(w->err.class, ERR_NOTFOUND);
	assert_int_equal(w->gets, 1);
}

static void test_get__transient_failures_are_retried(void **state)
{
	struct world *w = *state;
	char *text;

	w->broken = 2;
	assert_item(w);
	w->broken = 3;
	assert_int_equal(get(w, "instance-id", &text), -1);
	assert_int_equal(w->err.class, ERR_RETRY);
	assert_int_equal(w->base.counters.errors[ERR_RETRY], 5);
}

static void test_get__page_of_somebody_else(void **state)
{
	struct world *w = *state;
	char *text;

	w->item_type = "text/html; charset=utf-8";
	w->item_body = "please log in";
	assert_int_equal(get(w, "instance-id", &text), -1);
	assert_int_equal(w->err.class, ERR_PROTOCOL);
	w->item_type = "text/plain";
	w->item_body = "<html>";
	assert_int_equal(get(w, "instance-id", &text), -1);
	assert_int_equal(w->err.class, ERR_PROTOCOL);
}

static void test_get__token_with_line_break(void **state)
{
	struct world *w = *state;
	char *text;

	w->token_body = "abc\r\nX-Injected: 1";
	assert_int_equal(get(w, "instance-id", &text), -1);
	assert_int_equal(w->err.class, ERR_PROTOCOL);
	assert_int_equal(w->gets, 0);
}

static void test_get__switched_off(void **state)
{
	struct world *w = *state;
	char *text;

	w->item = "403 Forbidden";
	assert_int_equal(get(w, "instance-id", &text), -1);
	assert_int_equal(w->err.class, ERR_AUTH);
}

static void test_get__hang(void **state)
{
	struct world *w = *state;
	int64_t before = clock_now(&clock_boot);
	char *text;

	w->hang = true;
	assert_int_equal(get_within(w, "instance-id", USEC_PER_SEC / 2, &text), -1);
	assert_int_equal(w->err.class, ERR_RETRY);
	assert_true(clock_now(&clock_boot) - before < 5 * USEC_PER_SEC);
}

static void test_get__item_over_the_limit(void **state)
{
	struct world *w = *state;
	struct strbuf big = { 0 };
	char *text;

	for (unsigned i = 0; i < 70; i++)
		strbuf_printf(&big, "%01024u", i);
	w->item_body = big.text;
	assert_int_equal(get(w, "instance-id", &text), -1);
	assert_int_equal(w->err.class, ERR_PROTOCOL);
	strbuf_done(&big);
}

static void test_init__endpoint(void **state)
{
	struct world *w = *state;
	struct aws_meta meta;
	struct err err = { 0 };

	assert_int_equal(aws_meta_init(&meta, &w->base, NULL, NULL), 0);
	assert_string_equal(meta.endpoint, "http://169.254.169.254");
	aws_meta_done(&meta);
	assert_int_equal(aws_meta_init(&meta, &w->base, "unix:/x", &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_get__token_is_shared),
		T(test_get__token_is_replaced_before_its_end),
		T(test_get__401_new_token_once),
		T(test_get__404),
		T(test_get__transient_failures_are_retried),
		T(test_get__page_of_somebody_else),
		T(test_get__token_with_line_break),
		T(test_get__switched_off),
		T(test_get__hang),
		T(test_get__item_over_the_limit),
		T(test_init__endpoint),
	};

	return cmocka_run_group_tests_name("aws_imds", tests, check_fds_setup, check_fds_teardown);
}
