/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials with a clock, an environment and a server of the test's own; shared by the tests of the sources. */
#ifndef TESTS_UNIT_AWS_CREDS_WORLD_H
#define TESTS_UNIT_AWS_CREDS_WORLD_H

#include "berth/cloud.h"
#include "berth/err.h"
#include "cloud/aws/auth.h"
#include "cloud/aws/aws.h"
#include "cloud/aws/endpoint.h"
#include "cloud/aws/meta.h"
#include "cloud/http.h"
#include "cloud/retry.h"
#include "stub.h"

#define MINUTES(n) ((n)*INT64_C(60) * USEC_PER_SEC)
#define START      (INT64_C(1767225600) * USEC_PER_SEC) /* 2026-01-01T00:00:00Z */

#define VARIABLES_MAX 16

struct world {
	struct stub stub;
	char url[64]; /* of the stub */
	struct stop stop;
	struct clock wall;
	int64_t now;
	struct aws_base base;
	struct aws_meta meta;
	struct aws_endpoints endpoints;
	struct aws_auth auth;
	bool opened; /* the last two are there */
	_Atomic unsigned fetched;
	_Atomic bool down;
	const char *dir; /* of files; NULL until one was written */
	struct err err;
	/* Of the instance role's test. */
	const char *role;       /* answer to the list of roles; NULL: 404 */
	const char *expiration; /* of the set that is handed out; NULL: the document below */
	const char *document;
	/* Of the others: what the server answers; under the lock of a test that changes it between requests only. */
	const char *status, *headers, *body;
	char request[STUB_REQUEST_MAX]; /* the last one */
};

/* ---- the environment ---- */

static struct {
	const char *name, *value;
} variables[VARIABLES_MAX];
static unsigned variable_count;

static inline const char *fake_getenv(const char *name)
{
	for (unsigned i = variable_count; i > 0; i--) {
		if (str_equal(variables[i - 1].name, name))
			return variables[i - 1].value;
	}
	return NULL;
}

/* The last of a name counts; both are borrowed. */
static inline void set(const char *name, const char *value)
{
	assert_true(variable_count < VARIABLES_MAX);
	variables[variable_count].name = name;
	variables[variable_count++].value = value;
}

static const struct cloud_config fake_config = { .getenv = fake_getenv };

/* ---- clock, chance, files ---- */

static inline int64_t fake_now(void *ctx)
{
	return *(int64_t *)ctx;
}

static inline uint64_t zero_next(void *ctx)
{
	(void)ctx;
	return 0;
}

static const struct random no_jitter = { .next = zero_next };

static inline void write_file(struct world *w, const char *name, const char *text, char *ret_path, size_t size)
{
	FILE *file;

	if (!w->dir)
		w->dir = check_tmpdir();
	file = fopen(check_path(ret_path, size, w->dir, name), "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* ---- life ---- */

static inline void world_start(struct world *w,
			       void (*handler)(struct stub *, unsigned, const char *, struct stub_answer *))
{
	variable_count = 0;
	w->now = START;
	w->wall = (struct clock){ fake_now, &w->now };
	stub_start(&w->stub, handler, w);
	assert_int_equal(stop_init(&w->stop), 0);
	(void)snprintf(w->url, sizeof(w->url), "http://127.0.0.1:%u", w->stub.port);
	w->base = (struct aws_base){ .wall = &w->wall, .random = &no_jitter, .stop = &w->stop, .boot = &clock_boot };
	w->base.http = http_new(NULL, &clock_boot, &w->wall, &w->stop);
	assert_non_null(w->base.http);
	assert_int_equal(aws_meta_init(&w->meta, &w->base, w->url, NULL), 0);
}

/* With the environment as it is now. */
static inline int world_try_open(struct world *w)
{
	memset(&w->err, 0, sizeof(w->err));
	assert_int_equal(aws_endpoints_init(&w->endpoints, &w->meta, &fake_config, NULL), 0);
	if (aws_auth_init(&w->auth, &w->base, &w->meta, &w->endpoints, &fake_config, &w->err) < 0) {
		aws_endpoints_done(&w->endpoints);
		return -1;
	}
	w->opened = true;
	return 0;
}

static inline void world_close(struct world *w)
{
	if (!w->opened)
		return;
	aws_auth_done(&w->auth);
	aws_endpoints_done(&w->endpoints);
	w->opened = false;
}

static inline void world_open(struct world *w, const char *source)
{
	world_close(w);
	if (world_try_open(w) < 0)
		fail_msg("%s", w->err.msg);
	assert_string_equal(aws_auth_source(&w->auth), source);
}

static inline void world_end(struct world *w)
{
	world_close(w);
	aws_meta_done(&w->meta);
	http_free(w->base.http);
	stop_done(&w->stop);
	stub_stop(&w->stub);
	if (w->dir)
		check_tmpdir_remove(w->dir);
	free(w);
}

/* ---- asking ---- */

static inline int get(struct world *w, struct aws_creds *ret)
{
	memset(ret, 0, sizeof(*ret));
	memset(&w->err, 0, sizeof(w->err));
	return aws_auth_get(&w->auth, clock_now(&clock_boot) + 20 * USEC_PER_SEC, ret, &w->err);
}

static inline void assert_key(struct world *w, const char *access_key)
{
	struct aws_creds creds;

	if (get(w, &creds) < 0)
		fail_msg("%s", w->err.msg);
	assert_string_equal(creds.access_key.text, access_key);
	aws_creds_done(&creds);
}

static inline void assert_refused(struct world *w, enum err_class class, const char *message)
{
	struct aws_creds creds;

	if (get(w, &creds) == 0)
		fail_msg("it went well: %s", creds.access_key.text);
	if (w->err.class != class || !strstr(w->err.msg, message))
		fail_msg("%s \"%s\", not %s \"%s\"", err_class_name(w->err.class), w->err.msg, err_class_name(class),
			 message);
}

#endif
