/* SPDX-License-Identifier: Apache-2.0 */
/* Web identity: what is sent to STS, what is made of its answers, and when it is asked again. */
#include <sched.h>

#include "aws_creds_world.h"

#define ROLE  "arn:aws:iam::111122223333:role/cni"
#define TOKEN "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJhdWQiOiJzdHMifQ.c2lnbmF0dXJl-_"
#define OTHER "eyJhbGciOiJSUzI1NiIsImtpZCI6IjIifQ.eyJhdWQiOiJzdHMifQ.YW5vdGhlcg"

/* "OK" as body: a set that ends at w->expiration, numbered; NULL status: silence. */
static void sts(struct stub *stub, unsigned number, const char *request, struct stub_answer *answer)
{
	struct world *w = stub->ctx;
	char body[1024];

	(void)number;
	(void)str_copy(w->request, sizeof(w->request), request);
	if (!w->status)
		return;
	if (!str_equal(w->body, "OK")) {
		stub_reply(answer, w->status, w->headers, w->body);
		return;
	}
	w->fetched++;
	(void)snprintf(body, sizeof(body),
		       "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
		       "<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA%u</AccessKeyId>"
		       "<SecretAccessKey>secret</SecretAccessKey><SessionToken>session/+==</SessionToken>"
		       "<Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult>"
		       "</AssumeRoleWithWebIdentityResponse>",
		       (unsigned)w->fetched, w->expiration);
	stub_reply(answer, w->status, w->headers, body);
}

static char token_path[512];

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	world_start(w, sts);
	w->status = "200 OK";
	w->headers = "Content-Type: text/xml\r\n";
	w->body = "OK";
	w->expiration = "2026-01-01T01:00:00Z";
	write_file(w, "token", TOKEN "\n", token_path, sizeof(token_path));
	set("AWS_WEB_IDENTITY_TOKEN_FILE", token_path);
	set("AWS_ROLE_ARN", ROLE);
	set("AWS_ROLE_SESSION_NAME", "berth-node-1");
	set("AWS_ENDPOINT_URL_STS", w->url);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	world_end(*state);
	return 0;
}

static void test_fetch__what_is_sent(void **state)
{
	struct world *w = *state;
	struct aws_creds creds;

	world_open(w, "web identity");
	assert_int_equal(get(w, &creds), 0);
	assert_string_equal(creds.access_key.text, "ASIA1");
	assert_string_equal(creds.secret_key.text, "secret");
	assert_string_equal(creds.token.text, "session/+==");
	assert_int_equal(creds.expires_us, START + MINUTES(60));
	aws_creds_done(&creds);
	assert_true(str_starts(w->request, "POST / HTTP/1.1\r\n"));
	assert_non_null(strstr(w->request, "\r\nContent-Type: application/x-www-form-urlencoded; charset=utf-8\r\n"));
	/* The token is the proof: nothing is signed, and nothing of it is in a header. */
	assert_null(strcasestr(w->request, "\r\nAuthorization:"));
	assert_string_equal(strstr(w->request, "\r\n\r\n"),
			    "\r\n\r\nAction=AssumeRoleWithWebIdentity&Version=2011-06-15"
			    "&RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fcni&RoleSessionName=berth-node-1"
			    "&WebIdentityToken=" TOKEN);
	assert_key(w, "ASIA1");
	assert_int_equal(w->stub.requests, 1);
}

static void test_fetch__the_file_is_read_each_time(void **state)
{
	struct world *w = *state;
	struct aws_creds creds;

	world_open(w, "web identity");
	assert_int_equal(get(w, &creds), 0);
	write_file(w, "token", OTHER, token_path, sizeof(token_path));
	assert_true(aws_auth_refused(&w->auth, creds.generation));
	aws_creds_done(&creds);
	assert_key(w, "ASIA2");
	assert_non_null(strstr(w->request, "&WebIdentityToken=" OTHER));
	assert_null(strstr(w->request, TOKEN));
}

static void test_fetch__a_session_named_after_the_host(void **state)
{
	static const struct {
		const char *host, *session;
	} rows[] = {
		{ "ip-10-0-1-10.us-west-2.compute.internal", "berth-ip-10-0-1-10.us-west-2.compute.internal" },
		{ "a b/c:d\xc3\xa9", "berth-a-b-c-d--" },
		/* 64, as long as a name can be. */
		{ "0123456789012345678901234567890123456789012345678901234567890123",
		  "berth-0123456789012345678901234567890123456789012345678901234567" },
	};
	struct world *w = *state;

	assert_int_equal(unshare(CLONE_NEWUTS), 0);
	set("AWS_ROLE_SESSION_NAME", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(sethostname(rows[i].host, strlen(rows[i].host)), 0);
		world_open(w, "web identity");
		assert_string_equal(w->auth.web.session, rows[i].session);
	}
	world_open(w, "web identity");
	assert_key(w, "ASIA1");
	assert_non_null(strstr(w->request, "&RoleSessionName=berth-01234567890123456789012345678901234567890123456789"
					   "01234567&WebIdentityToken="));
}

static void test_init__a_role_alone_is_not_for_us(void **state)
{
	struct world *w = *state;

	set("AWS_WEB_IDENTITY_TOKEN_FILE", "");
	world_open(w, "instance role");
}

static void test_init__wins_over_a_container(void **state)
{
	struct world *w = *state;

	set("AWS_CONTAINER_CREDENTIALS_FULL_URI", w->url);
	world_open(w, "web identity");
}

static void test_init__half_configured(void **state)
{
	static const char long_name[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	static const struct {
		const char *name, *value;
	} rows[] = {
		{ "AWS_ROLE_ARN", NULL },
		{ "AWS_ROLE_ARN", "cni" },
		{ "AWS_ROLE_ARN", "role/with/a/long/enough/name" },
		{ "AWS_ROLE_SESSION_NAME", "a" },
		{ "AWS_ROLE_SESSION_NAME", "two words" },
		{ "AWS_ROLE_SESSION_NAME", long_name },
	};
	struct world *w = *state;

	assert_int_equal(strlen(long_name), 65);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned count = variable_count;

		set(rows[i].name, rows[i].value);
		if (world_try_open(w) == 0)
			fail_msg("row %zu went well", i);
		assert_int_equal(w->err.class, ERR_INVALID);
		assert_true(str_starts(w->err.msg, "web identity: "));
		assert_non_null(strstr(w->err.msg, rows[i].name));
		variable_count = count;
	}
}

#define ERROR_BODY(code, message)                                                                                      \
	"<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>" code     \
	"</Code><Message>" message "</Message></Error><RequestId>r</RequestId></ErrorResponse>"

static void test_fetch__errors(void **state)
{
	static const struct {
		const char *status, *body;
		enum err_class class;
		unsigned requests;
		const char *message; /* "": any */
		const char *ident;
	} rows[] = {
		{ "403 Forbidden",
		  ERROR_BODY("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"), ERR_AUTH, 1,
		  "AssumeRoleWithWebIdentity: Not authorized to perform", "AccessDenied" },
		{ "400 Bad Request", ERROR_BODY("ExpiredTokenException", "Token expired"), ERR_AUTH, 1, "Token expired",
		  "ExpiredTokenException" },
		{ "400 Bad Request", ERROR_BODY("InvalidIdentityToken", "No OpenIDConnect provider found"), ERR_AUTH, 1,
		  "No OpenIDConnect provider found", "InvalidIdentityToken" },
		{ "400 Bad Request", ERROR_BODY("ValidationError", "1 validation error detected"), ERR_INVALID, 1,
		  "1 validation error", "ValidationError" },
		{ "400 Bad Request", ERROR_BODY("IDPCommunicationError", "unreachable"), ERR_RETRY, 3, "unreachable",
		  "IDPCommunicationError" },
		{ "500 Internal Server Error", ERROR_BODY("InternalFailure", "x"), ERR_RETRY, 3, "",
		  "InternalFailure" },
		{ "400 Bad Request", ERROR_BODY("Throttling", "Rate exceeded"), ERR_THROTTLED, 3, "Rate exceeded",
		  "Throttling" },
		{ "502 Bad Gateway", "<html>bad gateway</html>", ERR_RETRY, 3, "not an answer of STS", "" },
		{ "200 OK", "<html>", ERR_PROTOCOL, 1, "", "" },
		{ "200 OK", "", ERR_PROTOCOL, 1, "", "" },
		{ "301 Moved", "", ERR_PROTOCOL, 1, "", "" },
		/* What quotes the token is not shown. */
		{ "400 Bad Request", ERROR_BODY("InvalidIdentityToken", "The token " TOKEN " is bad"), ERR_AUTH, 1,
		  "withheld", "InvalidIdentityToken" },
		{ "400 Bad Request", ERROR_BODY("ValidationError", "Value 'eyJhbGciOiJSUzI1' is bad"), ERR_INVALID, 1,
		  "withheld", "ValidationError" },
		{ "400 Bad Request", ERROR_BODY("c2lnbmF0dXJl-_", "?"), ERR_INVALID, 1, "?", "" },
	};
	struct world *w = *state;

	world_open(w, "web identity");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct secret token = { .text = (char *)(uintptr_t)TOKEN, .size = strlen(TOKEN) };
		unsigned before = w->stub.requests;

		w->status = rows[i].status;
		w->body = rows[i].body;
		assert_refused(w, rows[i].class, rows[i].message);
		assert_true(str_starts(w->err.msg, "web identity: "));
		assert_string_equal(w->err.ident, rows[i].ident);
		assert_int_equal(w->stub.requests - before, rows[i].requests);
		assert_false(secret_shows(&token, w->err.msg) || secret_shows(&token, w->err.ident));
	}
}

static void test_fetch__no_token(void **state)
{
	static const char *const texts[] = { "", "\n\n", "two words", "a\nb", "caf\xc3\xa9", "tab\t" };
	char path[512], large[20003];
	struct world *w = *state;

	world_open(w, "web identity");
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		write_file(w, "token", texts[i], path, sizeof(path));
		assert_refused(w, ERR_AUTH, "not a token");
		assert_non_null(strstr(w->err.msg, path));
	}
	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	write_file(w, "token", large, path, sizeof(path));
	assert_refused(w, ERR_AUTH, path);
	assert_null(strstr(w->err.msg, "xxxxxxxx"));
	large[20001] = '\0';
	write_file(w, "token", large, path, sizeof(path));
	assert_refused(w, ERR_AUTH, "not a token");
	assert_int_equal(unlink(path), 0);
	assert_refused(w, ERR_AUTH, "No such file");
	assert_int_equal(w->stub.requests, 0);
	/* The longest that STS takes, with a newline behind it. */
	large[20000] = '\n';
	write_file(w, "token", large, path, sizeof(path));
	assert_key(w, "ASIA1");
	/* kubelet has written it: no restart is needed. */
	assert_int_equal(unlink(path), 0);
	world_open(w, "web identity");
	assert_refused(w, ERR_AUTH, path);
	write_file(w, "token", TOKEN, path, sizeof(path));
	assert_key(w, "ASIA2");
}

static void test_get__refreshed_ahead_and_kept_until_the_end(void **state)
{
	struct world *w = *state;

	world_open(w, "web identity");
	assert_key(w, "ASIA1");
	w->now = START + MINUTES(44);
	assert_key(w, "ASIA1");
	assert_int_equal(w->stub.requests, 1);
	/* 15 minutes ahead of the end STS is asked, and is down; the old ones go on. */
	w->status = "503 Service Unavailable";
	w->body = ERROR_BODY("ServiceUnavailable", "down");
	w->now = START + MINUTES(45);
	assert_key(w, "ASIA1");
	assert_int_equal(w->stub.requests, 1 + 3);
	/* Again after five minutes, then sooner the less time is left. */
	assert_key(w, "ASIA1");
	w->now = START + MINUTES(49);
	assert_key(w, "ASIA1");
	assert_int_equal(w->stub.requests, 1 + 3);
	w->now = START + MINUTES(50);
	assert_key(w, "ASIA1");
	assert_int_equal(w->stub.requests, 1 + 6);
	w->now = START + MINUTES(58);
	assert_key(w, "ASIA1");
	assert_int_equal(w->stub.requests, 1 + 9);
	w->now = START + MINUTES(59);
	assert_key(w, "ASIA1");
	assert_int_equal(w->stub.requests, 1 + 12);
	/* Spent: now it is an error, and it says whose. */
	w->now = START + MINUTES(60);
	assert_refused(w, ERR_RETRY, "web identity: AssumeRoleWithWebIdentity: down");
	w->status = "200 OK";
	w->body = "OK";
	w->expiration = "2026-01-01T02:00:00.123456Z";
	assert_key(w, "ASIA2");
}

/* A node whose clock is three hours fast, and one whose clock is slow. */
static void test_get__the_end_is_told_by_their_clock(void **state)
{
	static const int64_t offs[] = { MINUTES(180), -MINUTES(180) };
	struct world *w = *state;

	w->headers = "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
	for (size_t i = 0; i < ARRAY_SIZE(offs); i++) {
		unsigned before = w->fetched;
		struct aws_creds creds;

		w->now = START + offs[i];
		world_open(w, "web identity");
		assert_int_equal(get(w, &creds), 0);
		assert_int_equal(creds.expires_us, w->now + MINUTES(60));
		aws_creds_done(&creds);
		w->now += MINUTES(44);
		assert_int_equal(get(w, &creds), 0);
		aws_creds_done(&creds);
		assert_int_equal(w->fetched - before, 1);
	}
}

/* A quarter of an hour is the shortest session of STS: replaced before it ends, not all the time. */
static void test_get__short_lived(void **state)
{
	struct world *w = *state;

	w->expiration = "2026-01-01T00:15:00Z";
	world_open(w, "web identity");
	assert_key(w, "ASIA1");
	w->now = START + MINUTES(4);
	assert_key(w, "ASIA1");
	w->now = START + MINUTES(5);
	w->expiration = "2026-01-01T00:08:00Z";
	assert_key(w, "ASIA2");
	/* Three minutes are left: half of them. */
	w->now += MINUTES(1);
	assert_key(w, "ASIA2");
	w->now += MINUTES(1);
	assert_key(w, "ASIA3");
}

static int64_t late_now(void *ctx)
{
	(void)ctx;
	/* So that five seconds of waiting are over after a tenth of one. */
	return clock_now(&clock_boot) - 49 * USEC_PER_SEC / 10;
}

static void test_get__silence_costs_little_while_the_old_ones_are_good(void **state)
{
	static const struct clock late = { .now_us = late_now };
	struct world *w = *state;
	int64_t before;

	world_open(w, "web identity");
	assert_key(w, "ASIA1");
	w->now = START + MINUTES(46);
	w->status = NULL;
	w->base.boot = &late;
	before = clock_now(&clock_boot);
	assert_key(w, "ASIA1");
	assert_true(w->stub.requests >= 2);
	assert_true(clock_now(&clock_boot) - before < 3 * USEC_PER_SEC);
	w->base.boot = &clock_boot;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_fetch__what_is_sent),
		T(test_fetch__the_file_is_read_each_time),
		T(test_fetch__a_session_named_after_the_host),
		T(test_init__a_role_alone_is_not_for_us),
		T(test_init__wins_over_a_container),
		T(test_init__half_configured),
		T(test_fetch__errors),
		T(test_fetch__no_token),
		T(test_get__refreshed_ahead_and_kept_until_the_end),
		T(test_get__the_end_is_told_by_their_clock),
		T(test_get__short_lived),
		T(test_get__silence_costs_little_while_the_old_ones_are_good),
	};

	return cmocka_run_group_tests_name("aws_web", tests, check_fds_setup, check_fds_teardown);
}
