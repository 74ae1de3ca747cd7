/* SPDX-License-Identifier: Apache-2.0 */
/* The EC2 client as a provider opens it, whose endpoint is a stub inside the test process. */
#ifndef TESTS_UNIT_AWS_STUB_H
#define TESTS_UNIT_AWS_STUB_H

#include <stdio.h>

#include "berth/cloud.h"
#include "berth/str.h"
#include "tests/unit/stub.h"

struct aws_stub {
	struct stub stub;
	struct cloud *cloud;
	char url[64];
};

/* getenv() has no context. */
static struct aws_stub *aws_stub_current;

static inline const char *aws_stub_env(const char *name)
{
	static const struct {
		const char *name, *value;
	} rows[] = {
		{ "AWS_REGION", "us-west-2" },
		{ "AWS_ACCESS_KEY_ID", "AKIDEXAMPLE" },
		{ "AWS_SECRET_ACCESS_KEY", "secret" },
	};

	if (str_equal(name, "AWS_ENDPOINT_URL_EC2"))
		return aws_stub_current->url;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (str_equal(rows[i].name, name))
			return rows[i].value;
	return NULL;
}

/* @handler and @ctx as in struct stub; @aws lives until aws_stub_close(). */
static inline void aws_stub_open(struct aws_stub *aws,
				 void (*handler)(struct stub *stub, unsigned number, const char *request,
						 struct stub_answer *answer),
				 void *ctx)
{
	const struct cloud_config config = { .getenv = aws_stub_env };

	aws_stub_current = aws;
	stub_start(&aws->stub, handler, ctx);
	(void)snprintf(aws->url, sizeof(aws->url), "http://127.0.0.1:%u", aws->stub.port);
	assert_int_equal(cloud_open("aws", &config, &aws->cloud, NULL), 0);
}

static inline void aws_stub_close(struct aws_stub *aws)
{
	cloud_free(aws->cloud);
	stub_stop(&aws->stub);
}

#endif
