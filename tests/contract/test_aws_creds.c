/* SPDX-License-Identifier: Apache-2.0 */
/* Where the AWS provider has its credentials from: STS and the agent of containers of the mock, which EC2 believes. */
#include "cloud/crypto.h"
#include "tests/contract/aws_world.h"

#define ROLE_ARN    "arn:aws:iam::111122223333:role/cni"
#define TOKEN       "eyJhbGciOiJSUzI1NiJ9.b25l.c2lnbmF0dXJl"
#define NEXT_TOKEN  "eyJhbGciOiJSUzI1NiJ9.bmV4dA.c2lnbmF0dXJl"
#define AGENT_TOKEN "eyJhbGciOiJSUzI1NiJ9.cG9k.c2lnbmF0dXJl"
#define ASSUME      "AssumeRoleWithWebIdentity"

#define SESSION "IQoJb3JpZ2luX2VjEKX//////////wEaCXVzLWVhc3QtMSJHMEUCIQD+/=="

static const char seed[] =
	"{\"region\":\"us-west-2\",\"vpc\":{\"cidrs\":[\"10.0.0.0/16\"]},"
	"\"subnets\":[{\"id\":\"subnet-0a000000000000001\",\"cidr\":\"10.0.1.0/24\",\"az\":\"us-west-2a\"}],"
	"\"credentials\":[{\"access_key\":\"ASIAEXAMPLE\",\"secret\":\"" SECRET "\",\"session_token\":\"" SESSION
	"\"}],"
	"\"web_identities\":[{\"role_arn\":\"" ROLE_ARN "\",\"token\":\"" TOKEN "\"}],"
	"\"agent\":{\"authorization\":\"" AGENT_TOKEN "\"},"
	"\"role\":{\"name\":\"berth-node\",\"lifetime_s\":21600},"
	"\"instances\":[{\"name\":\"n1\",\"id\":\"" INSTANCE "\",\"type\":\"m5.large\",\"subnet\":0}]}";

enum from { ENVIRONMENT, WEB, AGENT, ROLE, FROM_COUNT };

struct files {
	const char *dir;
	char web[512], agent[512];
};

static void write_token(const char *path, const char *token)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(token, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* This source and all that come after it are configured: the first must win. */
static void configure(struct world *w, enum from from, struct files *files)
{
	static char uri[128];

	(void)snprintf(uri, sizeof(uri), "%s/v1/credentials", aws_mock_metadata_url(w->mock, NULL));
	files->dir = check_tmpdir();
	(void)check_path(files->web, sizeof(files->web), files->dir, "web");
	(void)check_path(files->agent, sizeof(files->agent), files->dir, "agent");
	write_token(files->web, TOKEN "\n");
	write_token(files->agent, AGENT_TOKEN);
	env("AWS_ENDPOINT_URL_STS", aws_mock_api_url(w->mock));
	env("AWS_ACCESS_KEY_ID", from <= ENVIRONMENT ? "ASIAEXAMPLE" : NULL);
	env("AWS_SECRET_ACCESS_KEY", from <= ENVIRONMENT ? SECRET : NULL);
	env("AWS_SESSION_TOKEN", from <= ENVIRONMENT ? SESSION : NULL);
	env("AWS_WEB_IDENTITY_TOKEN_FILE", from <= WEB ? files->web : NULL);
	env("AWS_ROLE_ARN", from <= WEB ? ROLE_ARN : NULL);
	env("AWS_CONTAINER_CREDENTIALS_FULL_URI", from <= AGENT ? uri : NULL);
	env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", from <= AGENT ? files->agent : NULL);
}

static void start_from(struct world *w, enum from from, struct files *files)
{
	start_mock(w, seed);
	configure(w, from, files);
	start_cloud(w);
}

static void end_from(struct world *w, struct files *files)
{
	end(w);
	env("AWS_SESSION_TOKEN", NULL);
	env("AWS_WEB_IDENTITY_TOKEN_FILE", NULL);
	env("AWS_CONTAINER_CREDENTIALS_FULL_URI", NULL);
	env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", NULL);
	check_tmpdir_remove(files->dir);
}

static void list_all(struct world *w)
{
	struct cloud_view view;

	list(w, &view);
	assert_int_equal(view.nic_count, 1);
	cloud_view_done(&view);
}

static int try_list(struct world *w, int64_t ms)
{
	struct cloud_view view = { 0 };
	int r;

	memset(&w->err, 0, sizeof(w->err));
	r = w->cloud->ops->list(w->cloud, clock_now(&clock_boot) + ms * USEC_PER_MSEC, &view, &w->err);
	cloud_view_done(&view);
	return r;
}

static void test_order__the_first_that_is_configured(void **state)
{
	(void)state;
	for (enum from from = ENVIRONMENT; from < FROM_COUNT; from++) {
		struct files files;
		struct world w;

		start_from(&w, from, &files);
		list_all(&w);
		list_all(&w);
		assert_int_equal(calls(&w, ASSUME), from == WEB);
		assert_int_equal(calls(&w, "agent"), from == AGENT);
		end_from(&w, &files);
	}
}

/* EC2 takes them no longer, before their end: one refresh, and the call succeeds. */
static void test_expired__one_refresh(void **state)
{
	static const struct {
		enum from from;
		const char *expire, *action;
	} rows[] = {
		{ WEB, "{\"expire\":\"web\"}", ASSUME },
		{ AGENT, "{\"expire\":\"agent\"}", "agent" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct files files;
		struct world w;

		start_from(&w, rows[i].from, &files);
		list_all(&w);
		control(&w, "credentials", rows[i].expire);
		list_all(&w);
		list_all(&w);
		assert_int_equal(calls(&w, rows[i].action), 2);
		end_from(&w, &files);
	}
}

static void test_token__renewed_in_its_file(void **state)
{
	struct files files;
	struct world w;

	(void)state;
	start_from(&w, WEB, &files);
	list_all(&w);
	control(&w, "web_identity", "{\"role_arn\":\"" ROLE_ARN "\",\"token\":\"" NEXT_TOKEN "\"}");
	/* The old credentials are as good as before. */
	list_all(&w);
	write_token(files.web, NEXT_TOKEN);
	control(&w, "credentials", "{\"expire\":\"web\"}");
	list_all(&w);
	end_from(&w, &files);
	start_from(&w, AGENT, &files);
	control(&w, "agent", "{\"authorization\":\"" NEXT_TOKEN "\"}");
	write_token(files.agent, NEXT_TOKEN);
	list_all(&w);
	end_from(&w, &files);
}

static void test_refused__named_and_never_the_next_source(void **state)
{
	static const struct {
		enum from from;
		const char *control, *body;
		const char *ident, *source, *action;
	} rows[] = {
		{ WEB, "web_identity", "{\"role_arn\":\"" ROLE_ARN "\",\"token\":\"" NEXT_TOKEN "\"}",
		  "InvalidIdentityToken", "web identity: ", ASSUME },
		{ WEB, "web_identity", "{\"role_arn\":\"" ROLE_ARN "\",\"token\":\"" TOKEN "\",\"expires_in_s\":-1}",
		  "ExpiredTokenException", "web identity: ", ASSUME },
		{ AGENT, "agent", "{\"authorization\":\"" NEXT_TOKEN "\"}", "InvalidTokenException",
		  "container credentials: ", "agent" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct files files;
		struct world w;

		start_from(&w, rows[i].from, &files);
		control(&w, rows[i].control, rows[i].body);
		assert_int_equal(try_list(&w, 20000), -1);
		assert_int_equal(w.err.class, ERR_AUTH);
		assert_string_equal(w.err.ident, rows[i].ident);
		assert_non_null(strstr(w.err.msg, rows[i].source));
		assert_int_equal(calls(&w, rows[i].action), 1);
		assert_int_equal(calls(&w, "DescribeNetworkInterfaces"), 0);
		assert_int_equal(calls(&w, "agent"), rows[i].from == AGENT);
		end_from(&w, &files);
	}
}

static void test_down__tried_again(void **state)
{
	static const struct {
		enum from from;
		const char *action;
	} rows[] = { { WEB, ASSUME }, { AGENT, "agent" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct files files;
		struct world w;

		start_from(&w, rows[i].from, &files);
		identify(&w);
		fault(&w, rows[i].action, FAULT_HTML502, 1, "", "");
		fault(&w, rows[i].action, FAULT_LOST_ANSWER, 1, "", "");
		list_all(&w);
		assert_int_equal(calls(&w, rows[i].action), 3);
		fault(&w, rows[i].action, FAULT_GARBAGE, 1, "", "");
		control(&w, "credentials", i == 0 ? "{\"expire\":\"web\"}" : "{\"expire\":\"agent\"}");
		assert_int_equal(try_list(&w, 20000), -1);
		assert_int_equal(w.err.class, ERR_PROTOCOL);
		list_all(&w);
		end_from(&w, &files);
	}
}

static void assert_no_secret(const struct world *w, const char *action)
{
	static const char *const secrets[] = { SECRET, SESSION, TOKEN, AGENT_TOKEN };

	for (size_t i = 0; i < ARRAY_SIZE(secrets); i++) {
		const struct secret secret = { .text = (char *)(uintptr_t)secrets[i], .size = strlen(secrets[i]) };

		if (secret_shows(&secret, w->err.msg) || secret_shows(&secret, w->err.ident))
			fail_msg("%s: %s %s", action, w->err.ident, w->err.msg);
	}
}

/* Whatever goes wrong, and though each side repeats what it was sent: no error has a piece of a key or a token. */
static void test_errors__without_secrets(void **state)
{
	static const enum fault_kind kinds[] = { FAULT_ERROR,   FAULT_THROTTLE, FAULT_HTML502,
						 FAULT_GARBAGE, FAULT_HALF,     FAULT_LOST_ANSWER };
	static const struct {
		enum from from;
		const char *action, *echo, *expire;
	} rows[] = {
		{ ENVIRONMENT, "DescribeNetworkInterfaces", SECRET, NULL },
		{ ENVIRONMENT, "DescribeNetworkInterfaces", SESSION, NULL },
		{ WEB, ASSUME, TOKEN, "{\"expire\":\"web\"}" },
		{ AGENT, "agent", AGENT_TOKEN, "{\"expire\":\"agent\"}" },
		{ ROLE, "imds", "", "{\"expire\":\"role\"}" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows) * ARRAY_SIZE(kinds); i++) {
		size_t row = i / ARRAY_SIZE(kinds);
		struct files files;
		char echo[256];
		struct world w;

		(void)snprintf(echo, sizeof(echo), "not '%s'", rows[row].echo);
		start_from(&w, rows[row].from, &files);
		list_all(&w);
		if (rows[row].expire)
			control(&w, "credentials", rows[row].expire);
		fault(&w, rows[row].action, kinds[i % ARRAY_SIZE(kinds)], FAULT_FOREVER, rows[row].echo, echo);
		assert_int_equal(try_list(&w, 300), -1);
		assert_no_secret(&w, rows[row].action);
		end_from(&w, &files);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_order__the_first_that_is_configured),
		check_unit_test(test_expired__one_refresh),
		check_unit_test(test_token__renewed_in_its_file),
		check_unit_test(test_refused__named_and_never_the_next_source),
		check_unit_test(test_down__tried_again),
		check_unit_test(test_errors__without_secrets),
	};

	return cmocka_run_group_tests_name("aws_creds", tests, NULL, NULL);
}
