/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "aws_creds_world.h"

static void role_document(struct world *w, struct stub_answer *answer)
{
	char body[512];

	w->fetched++;
	(void)snprintf(body, sizeof(body),
		       "{\"Code\":\"Success\",\"LastUpdated\":\"2026-01-01T00:00:00Z\",\"Type\":\"AWS-HMAC\","
		       "\"AccessKeyId\":\"ASIA%u\",\"SecretAccessKey\":\"secret\",\"Token\":\"token/+==\","
		       "\"Expiration\":\"%s\"}",
		       (unsigned)w->fetched, w->expiration ? w->expiration : "");
	stub_reply(answer, "200 OK", "Content-Type: text/plain\r\n", w->expiration ? body : w->document);
}

static void imds(struct stub *stub, unsigned number, const char *request, struct stub_answer *answer)
{
	struct world *w = stub->ctx;

	(void)number;
	if (w->down)
		stub_reply(answer, "404 Not Found", "", "");
	else if (strncmp(request, "PUT ", 4) == 0)
		stub_reply(answer, "200 OK", "", "TOKEN");
	else if (w->role && strstr(request, "GET /latest/meta-data/iam/security-credentials/ HTTP"))
		stub_reply(answer, "200 OK", "Content-Type: text/plain\r\n", w->role);
	else if (w->role && strstr(request, "GET /latest/meta-data/iam/security-credentials/my-node-role HTTP"))
		role_document(w, answer);
	else
		stub_reply(answer, "404 Not Found", "Content-Type: text/html\r\n", "<html>");
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->role = "my-node-role";
	w->expiration = "2026-01-01T06:00:00Z";
	world_start(w, imds);
	set("AWS_ACCESS_KEY_ID", "");
	world_open(w, "instance role");
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	world_end(*state);
	return 0;
}

static void test_get__environment(void **state)
{
	struct world *w = *state;
	struct aws_creds creds;

	set("AWS_ACCESS_KEY_ID", "AKID");
	set("AWS_SECRET_ACCESS_KEY", "SECRET");
	set("AWS_SESSION_TOKEN", "TOKEN");
	/* The first that is configured wins. */
	set("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere");
	set("AWS_CONTAINER_CREDENTIALS_FULL_URI", w->url);
	world_open(w, "environment");
	assert_int_equal(get(w, &creds), 0);
	assert_string_equal(creds.access_key.text, "AKID");
	assert_string_equal(creds.secret_key.text, "SECRET");
	assert_string_equal(creds.token.text, "TOKEN");
	/* Nobody has others. */
	assert_false(aws_auth_refused(&w->auth, creds.generation));
	aws_creds_done(&creds);
	assert_key(w, "AKID");
	assert_int_equal(w->stub.requests, 0);
}

static void test_init__half_a_pair(void **state)
{
	struct world *w = *state;

	world_close(w);
	set("AWS_ACCESS_KEY_ID", "AKID");
	assert_int_equal(world_try_open(w), -1);
	assert_int_equal(w->err.class, ERR_INVALID);
	assert_string_equal(w->err.msg, "environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together");
}

static void test_get__role(void **state)
{
	struct world *w = *state;
	struct aws_creds creds;

	assert_int_equal(get(w, &creds), 0);
	assert_string_equal(creds.access_key.text, "ASIA1");
	assert_string_equal(creds.secret_key.text, "secret");
	assert_string_equal(creds.token.text, "token/+==");
	assert_int_equal(creds.expires_us, START + MINUTES(360));
	aws_creds_done(&creds);
	assert_key(w, "ASIA1");
	assert_int_equal(w->fetched, 1);
}

static void test_get__refreshed_ahead_of_the_end(void **state)
{
	struct world *w = *state;

	assert_key(w, "ASIA1");
	w->now = START + MINUTES(340);
	assert_key(w, "ASIA1");
	w->now = START + MINUTES(346);
	w->expiration = "2026-01-01T12:00:00.123456Z";
	assert_key(w, "ASIA2");
}

static void test_get__old_ones_while_metadata_is_down(void **state)
{
	struct world *w = *state;

	assert_key(w, "ASIA1");
	w->down = true;
	w->now = START + MINUTES(361);
	assert_key(w, "ASIA1");
	w->down = false;
	/* Not asked again at once, but after five minutes. */
	assert_key(w, "ASIA1");
	w->now = START + MINUTES(367);
	assert_key(w, "ASIA2");
}

static void test_get__expired_ones_are_not_fetched_in_a_loop(void **state)
{
	struct world *w = *state;

	w->expiration = "2025-12-31T00:00:00Z";
	assert_key(w, "ASIA1");
	assert_key(w, "ASIA1");
	w->now = START + MINUTES(6);
	assert_key(w, "ASIA2");
}

static void test_get__no_role(void **state)
{
	struct world *w = *state;

	w->role = NULL;
	assert_refused(w, ERR_AUTH, "instance role: the instance has none");
}

static void test_get__role_name_is_checked(void **state)
{
	struct world *w = *state;

	w->role = "../../user-data";
	assert_refused(w, ERR_PROTOCOL, "instance role: not a role name");
}

static void test_get__bad_documents(void **state)
{
	static const struct {
		const char *text;
		enum err_class class;
	} rows[] = {
		{ "{\"Code\":\"AssumeRoleUnauthorizedAccess\",\"Message\":\"no\"}", ERR_AUTH },
		{ "{\"Code\":\"Success\"}", ERR_AUTH },
		{ "{\"Code\":\"Success\",\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"very-secret\",\"Expiration\":"
		  "\"soon\"}",
		  ERR_PROTOCOL },
		{ "not json", ERR_PROTOCOL },
		{ "[]", ERR_PROTOCOL },
	};
	struct world *w = *state;
	struct aws_creds creds;

	w->expiration = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		w->document = rows[i].text;
		assert_int_equal(get(w, &creds), -1);
		if (w->err.class != rows[i].class)
			fail_msg("%s: %s", rows[i].text, err_class_name(w->err.class));
		assert_null(strstr(w->err.msg, "very-secret"));
	}
}

static void test_refused__fetched_once(void **state)
{
	struct world *w = *state;
	struct aws_creds creds;

	assert_int_equal(get(w, &creds), 0);
	assert_true(aws_auth_refused(&w->auth, creds.generation));
	assert_key(w, "ASIA2");
	/* Late news about the first set does not cost another fetch. */
	assert_true(aws_auth_refused(&w->auth, creds.generation));
	assert_key(w, "ASIA2");
	assert_int_equal(w->fetched, 2);
	aws_creds_done(&creds);
}

static void *get_on_thread(void *ctx)
{
	struct world *w = ctx;
	struct aws_creds creds = { 0 };
	int r = aws_auth_get(&w->auth, clock_now(&clock_boot) + 20 * USEC_PER_SEC, &creds, NULL);

	aws_creds_done(&creds);
	return (void *)(intptr_t)r;
}

static void test_get__one_fetch_for_all_threads(void **state)
{
	struct world *w = *state;
	pthread_t threads[8];

	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, get_on_thread, w), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++) {
		void *r;

		assert_int_equal(pthread_join(threads[i], &r), 0);
		assert_null(r);
	}
	assert_int_equal(w->fetched, 1);
}

static void test_time__parse(void **state)
{
	int64_t us;

	(void)state;
	assert_int_equal(aws_time_parse("2026-01-01T00:00:00Z", &us), 0);
	assert_int_equal(us, START);
	assert_int_equal(aws_time_parse("2026-01-01T00:00:00.000Z", &us), 0);
	assert_int_equal(us, START);
	assert_int_equal(aws_time_parse("2026-01-01T00:00:00", &us), -EINVAL);
	assert_int_equal(aws_time_parse("2026-01-01T00:00:00Zx", &us), -EINVAL);
	assert_int_equal(aws_time_parse("", &us), -EINVAL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_get__environment),
		T(test_init__half_a_pair),
		T(test_get__role),
		T(test_get__refreshed_ahead_of_the_end),
		T(test_get__old_ones_while_metadata_is_down),
		T(test_get__expired_ones_are_not_fetched_in_a_loop),
		T(test_get__no_role),
		T(test_get__role_name_is_checked),
		T(test_get__bad_documents),
		T(test_refused__fetched_once),
		T(test_get__one_fetch_for_all_threads),
		cmocka_unit_test(test_time__parse),
	};

	return cmocka_run_group_tests_name("aws_creds", tests, check_fds_setup, check_fds_teardown);
}
