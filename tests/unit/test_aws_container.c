/* SPDX-License-Identifier: Apache-2.0 */
/* Container credentials: whom we ask, what is sent, what is made of the answers. */
#include "aws_creds_world.h"

#define TOKEN "eyJhbGciOiJSUzI1NiJ9.cG9kLWlkZW50aXR5.c2lnbmF0dXJl"
#define OTHER "eyJhbGciOiJSUzI1NiJ9.YW5vdGhlciBvbmU.c2lnbmF0dXJl"

static void agent(struct stub *stub, unsigned number, const char *request, struct stub_answer *answer)
{
	struct world *w = stub->ctx;
	char body[512];

	(void)number;
	(void)str_copy(w->request, sizeof(w->request), request);
	if (!str_equal(w->body, "OK")) {
		stub_reply(answer, w->status, w->headers, w->body);
		return;
	}
	w->fetched++;
	(void)snprintf(body, sizeof(body),
		       "{\"AccessKeyId\":\"ASIA%u\",\"SecretAccessKey\":\"secret\",\"Token\":\"session/+==\","
		       "\"Expiration\":\"%s\",\"AccountId\":\"111122223333\"}",
		       (unsigned)w->fetched, w->expiration);
	stub_reply(answer, w->status, w->headers, body);
}

static char full_uri[256];

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	world_start(w, agent);
	w->status = "200 OK";
	w->headers = "Content-Type: application/json\r\n";
	w->body = "OK";
	w->expiration = "2026-01-01T06:00:00Z";
	(void)snprintf(full_uri, sizeof(full_uri), "%s/v1/credentials?id=1", w->url);
	set("AWS_CONTAINER_CREDENTIALS_FULL_URI", full_uri);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	world_end(*state);
	return 0;
}

static void test_url__who_may_answer(void **state)
{
	static const struct {
		const char *url;
		bool allowed;
	} rows[] = {
		{ "http://169.254.170.2/v2/credentials/1", true },
		{ "http://169.254.170.23/v1/credentials", true },
		{ "http://[fd00:ec2::23]/v1/credentials", true },
		{ "http://[fd00:ec2::23]:80/v1/credentials", true },
		{ "http://[FD00:EC2:0::23]/", true },
		{ "http://127.0.0.1:8080/x?y=z", true },
		{ "http://127.255.0.9", true },
		{ "http://[::1]:8080/x", true },
		{ "http://localhost:8080/x", true },
		{ "http://LOCALHOST", true },
		{ "https://credentials.example/x", true },
		{ "https://10.0.0.1/x", true },
		{ "http://169.254.169.254/latest/", false },
		{ "http://169.254.170.22/", false },
		{ "http://169.254.170.2.example/", false },
		{ "http://169.254.170.2x/", false },
		{ "http://10.0.0.1/", false },
		{ "http://credentials.example/", false },
		{ "http://localhost.example/", false },
		{ "http://[fd00:ec2::254]/", false },
		{ "http://[::2]/", false },
		{ "http://[::ffff:127.0.0.1]/", false },
		{ "http://127.0.0.1@evil.example/", false },
		{ "http://evil.example#127.0.0.1/", false },
		{ "http://evil.example?127.0.0.1/", false },
		{ "http://evil.example\\127.0.0.1/", false },
		{ "ftp://127.0.0.1/", false },
		{ "127.0.0.1", false },
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (aws_container_url_allowed(rows[i].url) != rows[i].allowed)
			fail_msg("%s", rows[i].url);
	}
}

static void test_init__a_relative_uri_wins(void **state)
{
	struct world *w = *state;

	set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/5d3?a=b");
	world_open(w, "container credentials");
	assert_string_equal(w->auth.container.url, "http://169.254.170.2/v2/credentials/5d3?a=b");
}

static void test_init__refused(void **state)
{
	static const struct {
		const char *name, *value;
	} rows[] = {
		{ "AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://10.0.0.1/credentials" },
		{ "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "credentials" },
		/* Would make another host or port of it. */
		{ "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", ".evil.example/" },
		{ "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", ":8080/x" },
		{ "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/a b" },
		{ "AWS_CONTAINER_AUTHORIZATION_TOKEN", "a\r\nHost: evil" },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned count = variable_count;

		set(rows[i].name, rows[i].value);
		if (world_try_open(w) == 0)
			fail_msg("row %zu went well", i);
		assert_int_equal(w->err.class, ERR_INVALID);
		assert_true(str_starts(w->err.msg, "container credentials: "));
		assert_non_null(strstr(w->err.msg, rows[i].name));
		assert_null(strstr(w->err.msg, "evil"));
		variable_count = count;
	}
}

static void test_fetch__what_is_sent(void **state)
{
	struct world *w = *state;
	struct aws_creds creds;

	world_open(w, "container credentials");
	assert_int_equal(get(w, &creds), 0);
	assert_string_equal(creds.access_key.text, "ASIA1");
	assert_string_equal(creds.secret_key.text, "secret");
	assert_string_equal(creds.token.text, "session/+==");
	assert_int_equal(creds.expires_us, START + MINUTES(360));
	aws_creds_done(&creds);
	assert_true(str_starts(w->request, "GET /v1/credentials?id=1 HTTP/1.1\r\n"));
	assert_null(strcasestr(w->request, "\r\nAuthorization:"));
	set("AWS_CONTAINER_AUTHORIZATION_TOKEN", TOKEN);
	world_open(w, "container credentials");
	assert_key(w, "ASIA2");
	assert_non_null(strstr(w->request, "\r\nAuthorization: " TOKEN "\r\n"));
}

static void test_fetch__a_token_file_wins_and_is_read_each_time(void **state)
{
	struct world *w = *state;
	struct aws_creds creds;
	char path[512];

	write_file(w, "token", TOKEN "\n", path, sizeof(path));
	set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "another");
	set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path);
	world_open(w, "container credentials");
	assert_int_equal(get(w, &creds), 0);
	assert_non_null(strstr(w->request, "\r\nAuthorization: " TOKEN "\r\n"));
	write_file(w, "token", OTHER, path, sizeof(path));
	assert_true(aws_auth_refused(&w->auth, creds.generation));
	aws_creds_done(&creds);
	assert_key(w, "ASIA2");
	assert_non_null(strstr(w->request, "\r\nAuthorization: " OTHER "\r\n"));
	/* No token, no request: the agent would count it as an attack. */
	assert_int_equal(unlink(path), 0);
	world_open(w, "container credentials");
	assert_refused(w, ERR_AUTH, "container credentials: token file");
	assert_int_equal(w->stub.requests, 2);
}

static void test_fetch__errors(void **state)
{
	static const struct {
		const char *status, *body;
		enum err_class class;
		unsigned requests;
		const char *message, *ident;
	} rows[] = {
		{ "400 Bad Request", "{\"code\":\"ExpiredTokenException\",\"message\":\"The token is expired.\"}",
		  ERR_AUTH, 1, "The token is expired.", "ExpiredTokenException" },
		{ "404 Not Found", "{\"Code\":\"ResourceNotFoundException\",\"Message\":\"no association\"}", ERR_AUTH,
		  1, "no association", "ResourceNotFoundException" },
		{ "400 Bad Request", "{\"code\":\"InvalidParameterException\",\"message\":\"x\"}", ERR_AUTH, 1, "x",
		  "InvalidParameterException" },
		{ "429 Too Many Requests", "{\"code\":\"ThrottlingException\",\"message\":\"slow\"}", ERR_THROTTLED, 3,
		  "slow", "ThrottlingException" },
		{ "503 Service Unavailable", "{\"code\":\"ServiceUnavailableException\",\"message\":\"later\"}",
		  ERR_RETRY, 3, "later", "ServiceUnavailableException" },
		{ "500 Internal Server Error", "oops", ERR_RETRY, 3, "status 500", "" },
		{ "403 Forbidden", "", ERR_AUTH, 1, "status 403", "" },
		{ "403 Forbidden", "{\"code\":7,\"message\":[]}", ERR_AUTH, 1, "status 403", "" },
		{ "200 OK", "{\"AccessKeyId\":\"A\"}", ERR_AUTH, 1, "no keys", "Success" },
		{ "200 OK", "<html>", ERR_PROTOCOL, 1, "", "" },
		{ "200 OK",
		  "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"wJalrXUtnFEMI\",\"Expiration\":\"wJalrXUtnFEMI\"}",
		  ERR_PROTOCOL, 1, "bad expiration", "" },
		{ "200 OK", "{\"AccessKeyId\":\"A\",\"SecretAccessKey\" \"wJalrXUtnFEMI\"}", ERR_PROTOCOL, 1, "JSON at",
		  "" },
		{ "302 Found", "", ERR_PROTOCOL, 1, "status 302", "" },
		{ "403 Forbidden", "{\"message\":\"not " TOKEN " again\"}", ERR_AUTH, 1, "withheld", "" },
		{ "403 Forbidden", "{\"code\":\"" TOKEN "\"}", ERR_AUTH, 1, "withheld", "" },
	};
	const struct secret key = { .text = (char *)(uintptr_t) "wJalrXUtnFEMI", .size = 13 };
	const struct secret token = { .text = (char *)(uintptr_t)TOKEN, .size = strlen(TOKEN) };
	struct world *w = *state;
	char elsewhere[128];

	(void)snprintf(elsewhere, sizeof(elsewhere), "Location: %s/elsewhere\r\n", w->url);
	w->headers = elsewhere;
	set("AWS_CONTAINER_AUTHORIZATION_TOKEN", TOKEN);
	world_open(w, "container credentials");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned before = w->stub.requests;

		w->status = rows[i].status;
		w->body = rows[i].body;
		assert_refused(w, rows[i].class, rows[i].message);
		assert_true(str_starts(w->err.msg, "container credentials: "));
		assert_string_equal(w->err.ident, rows[i].ident);
		assert_int_equal(w->stub.requests - before, rows[i].requests);
		assert_false(secret_shows(&token, w->err.msg) || secret_shows(&token, w->err.ident));
		assert_false(secret_shows(&key, w->err.msg) || secret_shows(&key, w->err.ident));
	}
}

static void test_get__of_no_use_after_the_end(void **state)
{
	struct world *w = *state;

	world_open(w, "container credentials");
	assert_key(w, "ASIA1");
	w->status = "500 Internal Server Error";
	w->body = "";
	w->now = START + MINUTES(359);
	assert_key(w, "ASIA1");
	w->now = START + MINUTES(361);
	assert_refused(w, ERR_RETRY, "container credentials: the agent answers with status 500");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_url__who_may_answer),
		T(test_init__a_relative_uri_wins),
		T(test_init__refused),
		T(test_fetch__what_is_sent),
		T(test_fetch__a_token_file_wins_and_is_read_each_time),
		T(test_fetch__errors),
		T(test_get__of_no_use_after_the_end),
	};

	return cmocka_run_group_tests_name("aws_container", tests, check_fds_setup, check_fds_teardown);
}
