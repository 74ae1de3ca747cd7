/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model of the mock EC2 by hand, with a clock that is an argument: limits, states, staleness, what the
 * network sees.
 */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "berth/err.h"
#include "berth/str.h"
#include "mocks/aws/aws_mock.h"
#include "mocks/aws/model.h"
#include "mocks/aws/query.h"
#include "mocks/aws/seed.h"
#include "mocks/aws/throttle.h"
#include "mocks/faults.h"

#define SEC INT64_C(1000000)

static const char seed_text[] =
	"{\"random\": 4, \"vpc\": {\"cidrs\": [\"10.0.0.0/16\"]},"
	" \"subnets\": [{\"cidr\": \"10.0.1.0/24\", \"az\": \"a\"}, {\"cidr\": \"10.0.2.0/24\", \"az\": \"b\"}],"
	" \"instances\": [{\"name\": \"n1\", \"type\": \"t3.medium\", \"subnet\": 0, \"primary\": \"10.0.1.10\","
	"                  \"public\": true},"
	"                 {\"name\": \"n2\", \"type\": \"tiny\", \"subnet\": 0}],"
	" \"instance_types\": [{\"name\": \"tiny\", \"nics\": 2, \"addresses\": 4}],"
	" \"timings\": {\"attach_ms\": 2000, \"detach_ms\": 3000}}";

/* What the network was told, one word per call. */
struct net_log {
	char text[1024];
};

static void net_add(void *ctx, const char *fmt, const char *what, const char *more)
{
	struct net_log *log = ctx;
	size_t len = strlen(log->text);

	(void)snprintf(log->text + len, sizeof(log->text) - len, "%s %s%s;", fmt, what, more);
}

static int net_attach(void *ctx, const struct aws_mock_net_nic *nic, struct err *err)
{
	(void)err;
	net_add(ctx, nic->configure ? "boot" : "attach", nic->node, nic->ifname);
	return 0;
}

static int net_detach(void *ctx, const struct macaddr *mac, struct err *err)
{
	(void)mac;
	(void)err;
	net_add(ctx, "detach", "", "");
	return 0;
}

static int net_assign(void *ctx, const struct macaddr *mac, const struct ipaddr *primary, const struct prefix *prefix,
		      struct err *err)
{
	char text[PREFIX_STRLEN];

	(void)mac;
	(void)primary;
	(void)err;
	net_add(ctx, "assign", prefix_str(prefix, text), "");
	return 0;
}

static int net_unassign(void *ctx, const struct macaddr *mac, const struct prefix *prefix, struct err *err)
{
	char text[PREFIX_STRLEN];

	(void)mac;
	(void)err;
	net_add(ctx, "unassign", prefix_str(prefix, text), "");
	return 0;
}

static int net_public(void *ctx, const struct ipaddr *primary, bool allowed, struct err *err)
{
	char text[IPADDR_STRLEN];

	(void)err;
	net_add(ctx, "public", ipaddr_str(primary, text), allowed ? "+" : "-");
	return 0;
}

struct world {
	struct aws_model *model;
	struct throttle throttle;
	struct net_log log;
	struct aws_mock_net_ops net;
	struct ec2_err err;
};

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct err err = { 0 };
	json_t *seed = json_loads(seed_text, 0, NULL);

	assert_non_null(world);
	assert_non_null(seed);
	world->model = aws_model_new();
	assert_non_null(world->model);
	world->net =
		(struct aws_mock_net_ops){ &world->log, net_attach, net_detach, net_assign, net_unassign, net_public };
	world->model->net = &world->net;
	if (aws_seed_load(world->model, &world->throttle, seed, 0, &err) < 0)
		fail_msg("%s", err.msg);
	json_decref(seed);
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;

	aws_model_free(world->model);
	free(world);
	return 0;
}

static struct aws_nic *create(struct world *w, unsigned secondaries, int64_t now_us)
{
	struct aws_create want = { .subnet = w->model->subnets[0],
				   .v4 = { .family = IP_V4, .addr_count = secondaries },
				   .v6 = { .family = IP_V6 } };
	struct aws_nic *nic = NULL;

	assert_int_equal(aws_nic_create(w->model, &want, now_us, &nic, &w->err), 0);
	return nic;
}

static void test_seed__primaries_are_there(void **state)
{
	struct world *w = *state;
	struct aws_nic *nic = aws_nic_at(w->model, aws_instance_find(w->model, "n1"), 0, 0);
	char text[IPADDR_STRLEN];

	assert_non_null(nic);
	assert_string_equal(ipaddr_str(&nic->face.v4.addrs[0], text), "10.0.1.10");
	assert_int_equal(nic->face.status, AWS_NIC_IN_USE);
	assert_string_equal(w->log.text, "boot n1eth0;public 10.0.1.10+;boot n2eth0;");
	assert_int_equal(w->model->subnets[0]->pool.free_count, 251 - 2);
}

static void test_life__states_and_what_the_network_sees(void **state)
{
	struct world *w = *state;
	struct aws_instance *n1 = aws_instance_find(w->model, "n1");
	struct aws_nic *nic = create(w, 0, 0);

	assert_int_equal(nic->face.status, AWS_NIC_PENDING);
	assert_int_equal(aws_model_advance(w->model, 0), INT64_MAX);
	assert_int_equal(nic->face.status, AWS_NIC_AVAILABLE);
	w->log.text[0] = '\0';
	assert_int_equal(aws_nic_attach(w->model, nic, n1, 0, 2, 10 * SEC, &w->err), 0);
	assert_int_equal(nic->face.status, AWS_NIC_ATTACHING);
	assert_int_equal(aws_model_advance(w->model, 11 * SEC), 12 * SEC);
	assert_string_equal(w->log.text, "");
	assert_int_equal(aws_model_advance(w->model, 12 * SEC), INT64_MAX);
	assert_int_equal(nic->face.status, AWS_NIC_IN_USE);
	assert_string_equal(w->log.text, "attach n1eth2;");
	assert_int_equal(aws_nic_delete(w->model, nic, 13 * SEC, &w->err), -1);
	assert_string_equal(w->err.code, "InvalidParameterValue");
	assert_int_equal(aws_nic_detach(w->model, nic, 13 * SEC, &w->err), 0);
	assert_int_equal(nic->face.status, AWS_NIC_DETACHING);
	assert_ptr_equal(aws_nic_at(w->model, n1, 0, 2), nic);
	assert_int_equal(aws_nic_detach(w->model, nic, 13 * SEC, &w->err), -1);
	assert_string_equal(w->err.code, "IncorrectState");
	(void)aws_model_advance(w->model, 16 * SEC);
	assert_int_equal(nic->face.status, AWS_NIC_AVAILABLE);
	assert_null(aws_nic_at(w->model, n1, 0, 2));
	assert_string_equal(w->log.text, "attach n1eth2;detach ;");
	assert_int_equal(aws_nic_delete(w->model, nic, 17 * SEC, &w->err), 0);
	(void)aws_model_advance(w->model, 17 * SEC);
	assert_int_equal(w->model->nic_count, 2);
	assert_int_equal(w->model->subnets[0]->pool.free_count, 251 - 2);
}

static void test_detach__while_attaching_never_appears(void **state)
{
	struct world *w = *state;
	struct aws_nic *nic = create(w, 0, 0);

	w->log.text[0] = '\0';
	assert_int_equal(aws_nic_attach(w->model, nic, w->model->instances[0], 0, 1, 0, &w->err), 0);
	assert_int_equal(aws_nic_detach(w->model, nic, 1 * SEC, &w->err), 0);
	(void)aws_model_advance(w->model, 3 * SEC);
	assert_int_equal(nic->face.status, AWS_NIC_DETACHING);
	(void)aws_model_advance(w->model, 4 * SEC);
	assert_int_equal(nic->face.status, AWS_NIC_AVAILABLE);
	assert_string_equal(w->log.text, "detach ;");
}

static void test_attach__limits_of_the_type(void **state)
{
	struct world *w = *state;
	struct aws_instance *n2 = aws_instance_find(w->model, "n2");
	struct aws_nic *fits = create(w, 3, 0), *crowded = create(w, 4, 0);

	assert_int_equal(aws_nic_attach(w->model, crowded, n2, 0, 1, 0, &w->err), -1);
	assert_string_equal(w->err.code, "PrivateIpAddressLimitExceeded");
	assert_int_equal(aws_nic_attach(w->model, fits, n2, 1, 1, 0, &w->err), -1);
	assert_string_equal(w->err.code, "InvalidParameterValue");
	assert_int_equal(aws_nic_attach(w->model, fits, n2, 0, 1, 0, &w->err), 0);
	assert_int_equal(aws_nic_attach(w->model, crowded, n2, 0, 1, 0, &w->err), -1);
	assert_non_null(strstr(w->err.message, "already has an interface attached at device index '1'."));
	assert_int_equal(aws_nic_attach(w->model, crowded, n2, 0, 2, 0, &w->err), -1);
	assert_string_equal(w->err.code, "AttachmentLimitExceeded");
	assert_string_equal(w->err.message, "Interface count 3 exceeds the limit for tiny");
}

static void test_attach__other_zone(void **state)
{
	struct world *w = *state;
	struct aws_nic *nic = create(w, 0, 0);

	nic->subnet = w->model->subnets[1];
	assert_int_equal(aws_nic_attach(w->model, nic, w->model->instances[0], 0, 1, 0, &w->err), -1);
	assert_string_equal(w->err.code, "InvalidParameterCombination");
	nic->subnet = w->model->subnets[0];
}

static void test_assign__all_or_nothing(void **state)
{
	struct world *w = *state;
	struct aws_nic *nic = aws_nic_at(w->model, aws_instance_find(w->model, "n1"), 0, 0);
	struct aws_want five = { .family = IP_V4, .addr_count = 5 }, six = { .family = IP_V4, .addr_count = 6 };
	struct aws_want one_taken = { .family = IP_V4, .explicit_ = { .addr_count = 2 } };
	uint32_t free_count = w->model->subnets[0]->pool.free_count;
	struct aws_units got;

	assert_int_equal(aws_nic_assign(w->model, nic, &six, 0, &got, &w->err), -1);
	assert_string_equal(w->err.code, "PrivateIpAddressLimitExceeded");
	one_taken.explicit_.addrs[0] = ipaddr_v4(0x0a000132);
	one_taken.explicit_.addrs[1] = ipaddr_v4(0x0a00010a);
	assert_int_equal(aws_nic_assign(w->model, nic, &one_taken, 0, &got, &w->err), -1);
	assert_string_equal(w->err.code, "InvalidIPAddress.InUse");
	assert_int_equal(w->model->subnets[0]->pool.free_count, free_count);
	w->log.text[0] = '\0';
	assert_int_equal(aws_nic_assign(w->model, nic, &five, 0, &got, &w->err), 0);
	assert_int_equal(got.addr_count, 5);
	assert_int_equal(nic->face.v4.addr_count, 6);
	assert_true(str_starts(w->log.text, "assign 10.0.1."));
	w->log.text[0] = '\0';
	assert_int_equal(aws_nic_unassign(w->model, nic, IP_V4, &got, 0, &w->err), 0);
	assert_true(str_starts(w->log.text, "unassign 10.0.1."));
	assert_int_equal(w->model->subnets[0]->pool.free_count, free_count);
}

static void test_unassign__never_the_primary(void **state)
{
	struct world *w = *state;
	struct aws_nic *nic = aws_nic_at(w->model, aws_instance_find(w->model, "n1"), 0, 0);
	struct aws_units primary = { .addr_count = 1, .addrs = { nic->face.v4.addrs[0] } };

	assert_int_equal(aws_nic_unassign(w->model, nic, IP_V4, &primary, 0, &w->err), -1);
	assert_string_equal(w->err.code, "InvalidParameterValue");
	assert_int_equal(nic->face.v4.addr_count, 1);
}

static void test_view__lags_behind(void **state)
{
	struct world *w = *state;
	struct aws_want one = { .family = IP_V4, .addr_count = 1 };
	struct aws_units got;

	w->model->timings.describe_lag_ms = 5000;
	struct aws_nic *nic = create(w, 0, 10 * SEC);

	assert_null(aws_view(nic, 14 * SEC, 5 * SEC));
	assert_non_null(aws_view(nic, 15 * SEC, 5 * SEC));
	assert_int_equal(aws_nic_assign(w->model, nic, &one, 20 * SEC, &got, &w->err), 0);
	assert_int_equal(aws_nic_assign(w->model, nic, &one, 22 * SEC, &got, &w->err), 0);
	assert_int_equal(aws_view(nic, 24 * SEC, 5 * SEC)->v4.addr_count, 1);
	assert_int_equal(aws_view(nic, 26 * SEC, 5 * SEC)->v4.addr_count, 2);
	assert_int_equal(aws_view(nic, 27 * SEC, 5 * SEC)->v4.addr_count, 3);
	assert_int_equal(aws_view(nic, 24 * SEC, 0)->v4.addr_count, 3);
	assert_int_equal(aws_nic_delete(w->model, nic, 30 * SEC, &w->err), 0);
	(void)aws_model_advance(w->model, 33 * SEC);
	assert_null(aws_nic_find(w->model, nic->id));
	assert_non_null(aws_view(nic, 34 * SEC, 5 * SEC));
	assert_null(aws_view(nic, 35 * SEC, 5 * SEC));
	(void)aws_model_advance(w->model, 36 * SEC);
	assert_int_equal(w->model->nic_count, 2);
}

static void test_creds_role__rotates_before_the_end(void **state)
{
	struct world *w = *state;
	char first[AWS_NAME_LEN];

	w->model->role_lifetime_us = 3600 * SEC;
	(void)str_copy(first, sizeof(first), aws_creds_role(w->model, 0)->access_key);
	assert_string_equal(aws_creds_role(w->model, 3299 * SEC)->access_key, first);
	assert_string_not_equal(aws_creds_role(w->model, 3301 * SEC)->access_key, first);
	assert_non_null(aws_creds_find(w->model, first));
}

static void test_throttle_take__burst_then_refill(void **state)
{
	const struct throttle_rate rate = { .burst = 50, .per_s = 5 };
	struct throttle throttle = { .enabled = true };

	(void)state;
	for (unsigned i = 0; i < 50; i++)
		assert_true(throttle_take(&throttle, "A", rate, 7 * SEC));
	assert_false(throttle_take(&throttle, "A", rate, 7 * SEC));
	assert_true(throttle_take(&throttle, "B", rate, 7 * SEC));
	assert_false(throttle_take(&throttle, "A", rate, 7 * SEC + SEC / 5 - 1));
	assert_true(throttle_take(&throttle, "A", rate, 7 * SEC + SEC / 5));
	assert_false(throttle_take(&throttle, "A", rate, 7 * SEC + SEC / 5));
	for (unsigned i = 0; i < 50; i++)
		assert_true(throttle_take(&throttle, "A", rate, 1000 * SEC));
	assert_false(throttle_take(&throttle, "A", rate, 1000 * SEC));
	throttle.enabled = false;
	assert_true(throttle_take(&throttle, "A", rate, 1000 * SEC));
}

static void test_query_match__wildcards(void **state)
{
	(void)state;
	assert_true(query_match("m5.*", "m5.large"));
	assert_true(query_match("*", ""));
	assert_true(query_match("a*b*c", "aXXbYYbZc"));
	assert_true(query_match("n?", "n1"));
	assert_false(query_match("n?", "n"));
	assert_false(query_match("m5", "m5.large"));
	assert_true(query_match("a\\*", "a*"));
	assert_false(query_match("a\\*", "ab"));
}

static void test_aws_mock_start__inside_a_process(void **state)
{
	struct aws_mock_options options = { .metadata_for = { { "n2", "127.0.0.1:0" } }, .metadata_for_count = 1 };
	struct fault fault = { .action = "*", .kind = FAULT_THROTTLE, .count = FAULT_FOREVER };
	struct aws_mock *mock = NULL;
	struct err err = { 0 };
	unsigned status;
	char *text;

	(void)state;
	assert_int_equal(aws_mock_start("{}", NULL, &mock, &err), -1);
	assert_int_equal(err.class, ERR_PROTOCOL);
	assert_null(mock);
	assert_int_equal(aws_mock_start(seed_text, &options, &mock, &err), 0);
	assert_true(str_starts(aws_mock_api_url(mock), "http://127.0.0.1:"));
	assert_string_not_equal(aws_mock_metadata_url(mock, "n2"), aws_mock_metadata_url(mock, NULL));
	assert_null(aws_mock_metadata_url(mock, "n1"));
	assert_int_equal(aws_mock_fault(mock, &fault), 0);
	text = aws_mock_control(mock, "state", NULL, &status);
	assert_int_equal(status, 200);
	assert_non_null(strstr(text, "\"faults\":1"));
	free(text);
	aws_mock_faults_clear(mock);
	text = aws_mock_control(mock, "foreign", "{\"instance\": \"n1\"}", &status);
	assert_int_equal(status, 200);
	free(text);
	text = aws_mock_control(mock, "foreign", "{\"instance\": \"nobody\"}", &status);
	assert_int_equal(status, 404);
	free(text);
	aws_mock_stop(mock);
	aws_mock_stop(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_seed__primaries_are_there, setup, teardown),
		cmocka_unit_test_setup_teardown(test_life__states_and_what_the_network_sees, setup, teardown),
		cmocka_unit_test_setup_teardown(test_detach__while_attaching_never_appears, setup, teardown),
		cmocka_unit_test_setup_teardown(test_attach__limits_of_the_type, setup, teardown),
		cmocka_unit_test_setup_teardown(test_attach__other_zone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_assign__all_or_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unassign__never_the_primary, setup, teardown),
		cmocka_unit_test_setup_teardown(test_view__lags_behind, setup, teardown),
		cmocka_unit_test_setup_teardown(test_creds_role__rotates_before_the_end, setup, teardown),
		cmocka_unit_test(test_throttle_take__burst_then_refill),
		cmocka_unit_test(test_query_match__wildcards),
		cmocka_unit_test(test_aws_mock_start__inside_a_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
