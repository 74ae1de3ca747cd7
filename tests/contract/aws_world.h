/* SPDX-License-Identifier: Apache-2.0 */
/* One AWS provider and one mock AWS in this process; shared by the contract tests of the provider. */
#ifndef TESTS_CONTRACT_AWS_WORLD_H
#define TESTS_CONTRACT_AWS_WORLD_H

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "berth/cloud.h"
#include "berth/err.h"
#include "berth/str.h"
#include "mocks/aws/aws_mock.h"
#include "mocks/faults.h"
#include "tests/check.h"

#define INSTANCE "i-0a000000000000001"
#define SECRET   "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

#define SEED(subnet, type, more)                                                                                       \
	"{\"region\":\"us-west-2\",\"vpc\":{\"cidrs\":[\"10.0.0.0/16\",\"100.64.0.0/16\"]},"                           \
	"\"subnets\":[{\"id\":\"subnet-0a000000000000001\",\"cidr\":\"" subnet "\",\"az\":\"us-west-2a\"}],"           \
	"\"security_groups\":[{\"name\":\"nodes\"}],"                                                                  \
	"\"credentials\":[{\"access_key\":\"AKIDEXAMPLE\",\"secret\":\"" SECRET "\"}],"                                \
	"\"role\":{\"name\":\"berth-node\",\"lifetime_s\":21600},"                                                     \
	"\"instances\":[{\"name\":\"n1\",\"id\":\"" INSTANCE "\",\"type\":\"" type "\",\"subnet\":0}]" more "}"

#define PLAIN SEED("10.0.1.0/24", "m5.large", "")

struct world {
	struct aws_mock *mock;
	struct cloud *cloud;
	int64_t skew; /* of our wall clock */
	struct clock wall;
	struct cloud_identity self;
	struct err err;
};

static inline int64_t skewed_now(void *ctx)
{
	return clock_now(&clock_wall) + *(int64_t *)ctx;
}

static inline void env(const char *name, const char *value)
{
	assert_int_equal(value ? setenv(name, value, 1) : unsetenv(name), 0);
}

static inline int64_t in_seconds(int64_t seconds)
{
	return clock_now(&clock_boot) + seconds * USEC_PER_SEC;
}

static inline void start_mock(struct world *w, const char *seed)
{
	memset(w, 0, sizeof(*w));
	w->wall = (struct clock){ skewed_now, &w->skew };
	if (aws_mock_start(seed, NULL, &w->mock, &w->err) < 0)
		fail_msg("mock: %s", w->err.msg);
	env("AWS_ENDPOINT_URL_EC2", aws_mock_api_url(w->mock));
	env("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws_mock_metadata_url(w->mock, NULL));
	env("AWS_REGION", NULL);
}

static inline void start_cloud(struct world *w)
{
	struct cloud_config config = { .cluster = "kube", .wall = &w->wall };

	if (cloud_open("aws", &config, &w->cloud, &w->err) < 0)
		fail_msg("open: %s", w->err.msg);
}

static inline void start(struct world *w, const char *seed, bool role)
{
	start_mock(w, seed);
	env("AWS_ACCESS_KEY_ID", role ? NULL : "AKIDEXAMPLE");
	env("AWS_SECRET_ACCESS_KEY", role ? NULL : SECRET);
	start_cloud(w);
}

static inline void identify(struct world *w)
{
	if (w->cloud->ops->identify(w->cloud, in_seconds(20), &w->self, &w->err) < 0)
		fail_msg("identify: %s", w->err.msg);
}

static inline void end(struct world *w)
{
	cloud_free(w->cloud);
	aws_mock_stop(w->mock);
}

/* ---- what the mock knows ---- */

static inline json_t *state_of(struct world *w)
{
	unsigned status;
	char *text = aws_mock_control(w->mock, "state", NULL, &status);
	json_t *json;

	assert_non_null(text);
	assert_int_equal(status, 200);
	json = json_loads(text, 0, NULL);
	assert_non_null(json);
	free(text);
	return json;
}

static inline unsigned calls(struct world *w, const char *action)
{
	json_t *state = state_of(w);
	json_t *counter = json_object_get(json_object_get(state, "counters"), action);
	unsigned n = (unsigned)json_integer_value(json_object_get(counter, "calls"));

	json_decref(state);
	return n;
}

static inline unsigned nic_count(struct world *w)
{
	json_t *state = state_of(w);
	unsigned n = (unsigned)json_array_size(json_object_get(state, "nics"));

	json_decref(state);
	return n;
}

static inline void control(struct world *w, const char *path, const char *body)
{
	unsigned status;
	char *text = aws_mock_control(w->mock, path, body, &status);

	if (status != 200)
		fail_msg("%s %s: %u %s", path, body, status, text);
	free(text);
}

static inline void fault(struct world *w, const char *action, enum fault_kind kind, int64_t count, const char *code,
			 const char *message)
{
	struct fault f = { .kind = kind, .count = count, .ms = 1000, .status = 400 };

	(void)str_copy(f.action, sizeof(f.action), action);
	(void)str_copy(f.code, sizeof(f.code), code);
	(void)str_copy(f.message, sizeof(f.message), message);
	assert_int_equal(aws_mock_fault(w->mock, &f), 0);
}

/* ---- our calls ---- */

static inline void list(struct world *w, struct cloud_view *view)
{
	memset(view, 0, sizeof(*view));
	if (w->cloud->ops->list(w->cloud, in_seconds(20), view, &w->err) < 0)
		fail_msg("list: %s", w->err.msg);
}

static inline const struct cloud_nic *nic_at(const struct cloud_view *view, unsigned slot)
{
	unsigned i = 0;

	while (view->nics && i < view->nic_count && view->nics[i].slot != slot)
		i++;
	if (!view->nics || i == view->nic_count)
		fail_msg("no NIC at %u", slot);
	return &view->nics[i];
}

static inline int assign(struct world *w, const char *nic, unsigned count, struct cloud_nic *ret)
{
	memset(ret, 0, sizeof(*ret));
	memset(&w->err, 0, sizeof(w->err));
	const struct cloud_want wants[IP_FAMILIES] = { { count, 32 } };

	return w->cloud->ops->assign(w->cloud, nic, wants, in_seconds(20), ret, &w->err);
}

static inline int attach_with(struct world *w, const char *token, unsigned slot, unsigned units, struct cloud_nic *ret)
{
	struct cloud_attach want = { .slot = slot, .wants = { { units, 32 } } };

	memset(ret, 0, sizeof(*ret));
	memset(&w->err, 0, sizeof(w->err));
	(void)str_copy(want.token, sizeof(want.token), token);
	return w->cloud->ops->attach(w->cloud, &want, in_seconds(30), ret, &w->err);
}

static inline void attached(struct world *w, const char *token, unsigned slot, unsigned units, struct cloud_nic *ret)
{
	if (attach_with(w, token, slot, units, ret) < 0)
		fail_msg("attach: %s %s", err_class_name(w->err.class), w->err.msg);
}

static inline unsigned sweep(struct world *w)
{
	unsigned n = 99;

	if (w->cloud->ops->sweep(w->cloud, in_seconds(20), &n, &w->err) < 0)
		fail_msg("sweep: %s", w->err.msg);
	return n;
}

#endif
