/* SPDX-License-Identifier: Apache-2.0 */
/* The AWS provider against the mock of EC2 and its metadata service, inside this process. */
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

static int64_t skewed_now(void *ctx)
{
	return clock_now(&clock_wall) + *(int64_t *)ctx;
}

static void env(const char *name, const char *value)
{
	assert_int_equal(value ? setenv(name, value, 1) : unsetenv(name), 0);
}

static int64_t in_seconds(int64_t seconds)
{
	return clock_now(&clock_boot) + seconds * USEC_PER_SEC;
}

static void start(struct world *w, const char *seed, bool role)
{
	struct cloud_config config = { .cluster = "kube", .wall = &w->wall };

	memset(w, 0, sizeof(*w));
	w->wall = (struct clock){ skewed_now, &w->skew };
	if (aws_mock_start(seed, NULL, &w->mock, &w->err) < 0)
		fail_msg("mock: %s", w->err.msg);
	env("AWS_ENDPOINT_URL_EC2", aws_mock_api_url(w->mock));
	env("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws_mock_metadata_url(w->mock, NULL));
	env("AWS_ACCESS_KEY_ID", role ? NULL : "AKIDEXAMPLE");
	env("AWS_SECRET_ACCESS_KEY", role ? NULL : SECRET);
	env("AWS_REGION", NULL);
	if (cloud_open("aws", &config, &w->cloud, &w->err) < 0)
		fail_msg("open: %s", w->err.msg);
}

static void identify(struct world *w)
{
	if (w->cloud->ops->identify(w->cloud, in_seconds(20), &w->self, &w->err) < 0)
		fail_msg("identify: %s", w->err.msg);
}

static void end(struct world *w)
{
	cloud_free(w->cloud);
	aws_mock_stop(w->mock);
}

/* ---- what the mock knows
 * --------------------------------------------------------------------------------------------- */

static json_t *state_of(struct world *w)
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

static unsigned calls(struct world *w, const char *action)
{
	json_t *state = state_of(w);
	json_t *counter = json_object_get(json_object_get(state, "counters"), action);
	unsigned n = (unsigned)json_integer_value(json_object_get(counter, "calls"));

	json_decref(state);
	return n;
}

static unsigned nic_count(struct world *w)
{
	json_t *state = state_of(w);
	unsigned n = (unsigned)json_array_size(json_object_get(state, "nics"));

	json_decref(state);
	return n;
}

static void control(struct world *w, const char *path, const char *body)
{
	unsigned status;
	char *text = aws_mock_control(w->mock, path, body, &status);

	if (status != 200)
		fail_msg("%s %s: %u %s", path, body, status, text);
	free(text);
}

static void fault(struct world *w, const char *action, enum fault_kind kind, int64_t count, const char *code,
		  const char *message)
{
	struct fault f = { .kind = kind, .count = count, .ms = 1000, .status = 400 };

	(void)str_copy(f.action, sizeof(f.action), action);
	(void)str_copy(f.code, sizeof(f.code), code);
	(void)str_copy(f.message, sizeof(f.message), message);
	assert_int_equal(aws_mock_fault(w->mock, &f), 0);
}

/* ---- our calls
 * -------------------------------------------------------------------------------------------------------- */

static void list(struct world *w, struct cloud_view *view)
{
	memset(view, 0, sizeof(*view));
	if (w->cloud->ops->list(w->cloud, in_seconds(20), view, &w->err) < 0)
		fail_msg("list: %s", w->err.msg);
}

static const struct cloud_nic *nic_at(const struct cloud_view *view, unsigned slot)
{
	unsigned i = 0;

	while (i < view->nic_count && view->nics[i].slot != slot)
		i++;
	if (i == view->nic_count)
		fail_msg("no NIC at %u", slot);
	return &view->nics[i];
}

static int assign(struct world *w, const char *nic, unsigned count, struct cloud_nic *ret)
{
	memset(ret, 0, sizeof(*ret));
	memset(&w->err, 0, sizeof(w->err));
	return w->cloud->ops->assign(w->cloud, nic, count, in_seconds(20), ret, &w->err);
}

static int attach_with(struct world *w, const char *token, unsigned slot, unsigned units, struct cloud_nic *ret)
{
	struct cloud_attach want = { .slot = slot, .unit_count = units };

	memset(ret, 0, sizeof(*ret));
	memset(&w->err, 0, sizeof(w->err));
	(void)str_copy(want.token, sizeof(want.token), token);
	return w->cloud->ops->attach(w->cloud, &want, in_seconds(30), ret, &w->err);
}

static void attached(struct world *w, const char *token, unsigned slot, unsigned units, struct cloud_nic *ret)
{
	if (attach_with(w, token, slot, units, ret) < 0)
		fail_msg("attach: %s %s", err_class_name(w->err.class), w->err.msg);
}

static unsigned sweep(struct world *w)
{
	unsigned n = 99;

	if (w->cloud->ops->sweep(w->cloud, in_seconds(20), &n, &w->err) < 0)
		fail_msg("sweep: %s", w->err.msg);
	return n;
}

/* ---- identity, limits, list
 * -------------------------------------------------------------------------------------------- */

static void test_identify__from_metadata(void **state)
{
	struct cloud_stats stats;
	struct world w;
	char text[PREFIX_STRLEN];

	(void)state;
	start(&w, PLAIN, false);
	identify(&w);
	assert_string_equal(w.self.instance, INSTANCE);
	assert_string_equal(w.self.type, "m5.large");
	assert_string_equal(w.self.region, "us-west-2");
	assert_string_equal(w.self.zone, "us-west-2a");
	assert_int_equal(w.self.vpc_prefix_count, 2);
	assert_string_equal(prefix_str(&w.self.vpc_prefixes[1], text), "100.64.0.0/16");
	assert_int_equal(w.self.primary_addr.family, IP_V4);
	w.cloud->ops->stats(w.cloud, &stats);
	assert_int_equal(stats.reads + stats.mutations, 0);
	assert_true(stats.metadata > 5);
	end(&w);
}

static void test_identify__metadata_unreachable(void **state)
{
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	fault(&w, "imds", FAULT_HANG, FAULT_FOREVER, "", "");
	assert_int_equal(w.cloud->ops->identify(w.cloud, clock_now(&clock_boot) + USEC_PER_SEC / 2, &w.self, &w.err),
			 -1);
	assert_int_equal(w.err.class, ERR_RETRY);
	end(&w);
}

static void test_limits__of_the_type(void **state)
{
	static const struct {
		const char *seed;
		unsigned nics, units;
	} rows[] = {
		{ PLAIN, 3, 9 },
		{ SEED("10.0.1.0/24", "p5.48xlarge", ""), 2, 49 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cloud_limits limits;
		struct world w;

		start(&w, rows[i].seed, false);
		if (w.cloud->ops->limits(w.cloud, in_seconds(20), &limits, &w.err) < 0)
			fail_msg("%s", w.err.msg);
		assert_int_equal(limits.nics_max, rows[i].nics);
		assert_int_equal(limits.units_per_nic_max, rows[i].units);
		assert_int_equal(limits.unit_len, 32);
		assert_true(limits.can_attach_nic);
		end(&w);
	}
}

static void test_list__primary_and_foreign(void **state)
{
	const struct cloud_nic *nic;
	struct cloud_view view;
	struct world w;
	char text[PREFIX_STRLEN];

	(void)state;
	start(&w, PLAIN, false);
	identify(&w);
	control(&w, "foreign", "{\"instance\":\"n1\",\"device_index\":2,\"secondary\":1}");
	list(&w, &view);
	assert_int_equal(view.nic_count, 2);
	nic = nic_at(&view, 0);
	assert_true(nic->primary && nic->attached && !nic->foreign);
	assert_string_equal(nic->id, w.self.nic);
	assert_true(macaddr_equal(&nic->mac, &w.self.primary_mac));
	assert_true(ipaddr_equal(&nic->primary_addr, &w.self.primary_addr));
	assert_string_equal(prefix_str(&nic->subnet, text), "10.0.1.0/24");
	assert_string_equal(ipaddr_str(&nic->gateway, text), "10.0.1.1");
	assert_int_equal(nic->block_count, 0);
	nic = nic_at(&view, 2);
	assert_true(nic->foreign && !nic->primary);
	cloud_view_done(&view);
	end(&w);
}

static void test_list__no_manage_tag_wins_over_ours(void **state)
{
	struct cloud_view view;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	control(&w, "foreign",
		"{\"instance\":\"n1\",\"device_index\":1,\"tags\":{\"node.berth.io/instance_id\":\"" INSTANCE "\"}}");
	control(&w, "foreign",
		"{\"instance\":\"n1\",\"device_index\":2,\"tags\":{\"node.berth.io/instance_id\":\"" INSTANCE "\","
		"\"node.k8s.amazonaws.com/no_manage\":\"true\"}}");
	list(&w, &view);
	assert_false(nic_at(&view, 1)->foreign);
	assert_true(nic_at(&view, 2)->foreign);
	cloud_view_done(&view);
	end(&w);
}

static void test_list__short_and_empty_pages(void **state)
{
	struct cloud_view view;
	struct cloud_nic nic;
	struct world w;

	(void)state;
	start(&w, SEED("10.0.1.0/24", "m5.large", ",\"paging\":{\"short\":true}"), false);
	attached(&w, "t1", 1, 2, &nic);
	list(&w, &view);
	assert_int_equal(view.nic_count, 2);
	assert_int_equal(nic_at(&view, 1)->block_count, 2);
	cloud_view_done(&view);
	cloud_nic_done(&nic);
	end(&w);
}

/* ---- addresses
 * --------------------------------------------------------------------------------------------------------- */

static void test_assign__and_release(void **state)
{
	struct prefix blocks[4];
	struct cloud_view view;
	struct cloud_nic got;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	identify(&w);
	if (assign(&w, w.self.nic, 4, &got) < 0)
		fail_msg("%s", w.err.msg);
	assert_string_equal(got.id, w.self.nic);
	assert_int_equal(got.block_count, 4);
	list(&w, &view);
	assert_int_equal(nic_at(&view, 0)->block_count, 4);
	cloud_view_done(&view);
	for (unsigned i = 0; i < 4; i++) {
		blocks[i] = got.blocks[i].prefix;
		assert_int_equal(blocks[i].len, 32);
	}
	assert_int_equal(w.cloud->ops->release(w.cloud, w.self.nic, blocks, 2, in_seconds(20), &w.err), 0);
	/* Two of the four are gone already: still success, and nothing else is released. */
	if (w.cloud->ops->release(w.cloud, w.self.nic, blocks + 1, 2, in_seconds(20), &w.err) < 0)
		fail_msg("%s", w.err.msg);
	assert_int_equal(w.cloud->ops->release(w.cloud, w.self.nic, blocks, 2, in_seconds(20), &w.err), 0);
	list(&w, &view);
	assert_int_equal(nic_at(&view, 0)->block_count, 1);
	assert_int_equal(prefix_cmp(&nic_at(&view, 0)->blocks[0].prefix, &blocks[3]), 0);
	cloud_view_done(&view);
	cloud_nic_done(&got);
	end(&w);
}

static void test_assign__more_than_the_nic_holds(void **state)
{
	struct cloud_nic got;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	identify(&w);
	assert_int_equal(assign(&w, w.self.nic, 10, &got), -1);
	assert_int_equal(w.err.class, ERR_CONFLICT);
	assert_string_equal(w.err.ident, "PrivateIpAddressLimitExceeded");
	assert_int_equal(calls(&w, "AssignPrivateIpAddresses"), 1);
	end(&w);
}

static void test_assign__nearly_full_subnet_gives_fewer(void **state)
{
	struct cloud_nic got;
	struct world w;

	(void)state;
	/* 16 addresses, 5 of them the cloud's own, one the primary's: 10 are free. */
	start(&w, SEED("10.0.1.0/28", "m5.24xlarge", ""), false);
	identify(&w);
	assert_int_equal(assign(&w, w.self.nic, 15, &got), 0);
	assert_int_equal(got.block_count, 7);
	cloud_nic_done(&got);
	assert_int_equal(assign(&w, w.self.nic, 9, &got), 0);
	assert_int_equal(got.block_count, 1);
	cloud_nic_done(&got);
	assert_int_equal(assign(&w, w.self.nic, 2, &got), 0);
	assert_int_equal(got.block_count, 2);
	cloud_nic_done(&got);
	assert_int_equal(assign(&w, w.self.nic, 6, &got), -1);
	assert_int_equal(w.err.class, ERR_EXHAUSTED);
	assert_string_equal(w.err.ident, "InsufficientFreeAddressesInSubnet");
	assert_int_equal(calls(&w, "AssignPrivateIpAddresses"), 2 + 3 + 1 + 3);
	end(&w);
}

/* Done or not: whatever leaves that open is AMBIGUOUS, and is asked exactly once. */
static void test_assign__answer_lost(void **state)
{
	static const struct {
		enum fault_kind kind;
		unsigned done;
	} rows[] = {
		{ FAULT_LOST_ANSWER, 3 },
		{ FAULT_HALF, 3 },
		{ FAULT_GARBAGE, 3 },
		{ FAULT_HTML502, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cloud_view view;
		struct cloud_nic got;
		struct world w;

		start(&w, PLAIN, false);
		identify(&w);
		list(&w, &view); /* so that there is a connection that could be reused */
		cloud_view_done(&view);
		fault(&w, "AssignPrivateIpAddresses", rows[i].kind, 1, "", "");
		assert_int_equal(assign(&w, w.self.nic, 3, &got), -1);
		if (w.err.class != ERR_AMBIGUOUS)
			fail_msg("fault %s: %s %s", fault_kind_name(rows[i].kind), err_class_name(w.err.class),
				 w.err.msg);
		assert_int_equal(calls(&w, "AssignPrivateIpAddresses"), 1);
		list(&w, &view);
		assert_int_equal(nic_at(&view, 0)->block_count, rows[i].done);
		cloud_view_done(&view);
		end(&w);
	}
}

static void test_assign__throttled_then_served(void **state)
{
	struct cloud_stats stats;
	struct cloud_nic got;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	identify(&w);
	fault(&w, "AssignPrivateIpAddresses", FAULT_THROTTLE, 2, "", "");
	if (assign(&w, w.self.nic, 3, &got) < 0)
		fail_msg("%s", w.err.msg);
	assert_int_equal(got.block_count, 3);
	assert_int_equal(calls(&w, "AssignPrivateIpAddresses"), 3);
	w.cloud->ops->stats(w.cloud, &stats);
	assert_int_equal(stats.mutations, 3);
	assert_int_equal(stats.errors[ERR_THROTTLED], 2);
	cloud_nic_done(&got);
	end(&w);
}

static void test_assign__throttled_until_the_deadline(void **state)
{
	struct cloud_nic got = { 0 };
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	identify(&w);
	fault(&w, "AssignPrivateIpAddresses", FAULT_THROTTLE, FAULT_FOREVER, "", "");
	assert_int_equal(w.cloud->ops->assign(w.cloud, w.self.nic, 1, in_seconds(2), &got, &w.err), -1);
	assert_int_equal(w.err.class, ERR_THROTTLED);
	end(&w);
}

/* ---- credentials
 * -------------------------------------------------------------------------------------------------------- */

static void test_role__expired_credentials_are_replaced(void **state)
{
	struct cloud_view view;
	struct world w;

	(void)state;
	start(&w, PLAIN, true);
	list(&w, &view);
	cloud_view_done(&view);
	control(&w, "credentials", "{\"expire\":\"role\"}");
	list(&w, &view);
	assert_int_equal(view.nic_count, 1);
	cloud_view_done(&view);
	end(&w);
}

static void test_environment__expired_credentials(void **state)
{
	struct cloud_view view = { 0 };
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	control(&w, "credentials", "{\"expire\":\"AKIDEXAMPLE\"}");
	assert_int_equal(w.cloud->ops->list(w.cloud, in_seconds(20), &view, &w.err), -1);
	assert_int_equal(w.err.class, ERR_AUTH);
	assert_null(strstr(w.err.msg, SECRET));
	assert_int_equal(calls(&w, "DescribeNetworkInterfaces"), 1);
	end(&w);
}

static void test_denied__asked_once_and_named(void **state)
{
	struct cloud_nic got;
	struct world w;

	(void)state;
	start(&w, PLAIN, true);
	identify(&w);
	fault(&w, "AssignPrivateIpAddresses", FAULT_ERROR, FAULT_FOREVER, "UnauthorizedOperation",
	      "You are not authorized");
	assert_int_equal(assign(&w, w.self.nic, 1, &got), -1);
	assert_int_equal(w.err.class, ERR_AUTH);
	assert_non_null(strstr(w.err.msg, "AssignPrivateIpAddresses"));
	assert_int_equal(calls(&w, "AssignPrivateIpAddresses"), 1);
	end(&w);
}

static void test_clock__wrong_by_hours(void **state)
{
	static const char *const seeds[] = {
		SEED("10.0.1.0/24", "m5.large", ",\"skew\":\"AuthFailure\""),
		SEED("10.0.1.0/24", "m5.large", ",\"skew\":\"RequestExpired\""),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(seeds); i++) {
		struct cloud_view view;
		struct world w;

		start(&w, seeds[i], false);
		w.skew = (i == 0 ? -3 : 3) * INT64_C(3600) * USEC_PER_SEC;
		list(&w, &view);
		cloud_view_done(&view);
		assert_int_equal(calls(&w, "DescribeNetworkInterfaces"), 2);
		/* Learnt: the next call is right at once. */
		list(&w, &view);
		cloud_view_done(&view);
		assert_int_equal(calls(&w, "DescribeNetworkInterfaces"), 3);
		/* The clock is set right: learnt again. */
		w.skew = 0;
		list(&w, &view);
		cloud_view_done(&view);
		assert_int_equal(calls(&w, "DescribeNetworkInterfaces"), 5);
		end(&w);
	}
}

/* ---- attach, detach, sweep
 * ----------------------------------------------------------------------------------------------- */

static void test_attach__then_detach(void **state)
{
	struct cloud_view view;
	struct cloud_nic nic;
	struct world w;
	char text[PREFIX_STRLEN];

	(void)state;
	start(&w,
	      SEED("10.0.1.0/24", "m5.large", ",\"timings\":{\"create_ms\":100,\"attach_ms\":300,\"detach_ms\":300}"),
	      false);
	attached(&w, "t1", 1, 5, &nic);
	assert_int_equal(nic.slot, 1);
	assert_true(nic.attached && !nic.foreign && !nic.primary);
	assert_int_equal(nic.block_count, 5);
	assert_string_equal(ipaddr_str(&nic.gateway, text), "10.0.1.1");
	assert_int_equal(calls(&w, "CreateNetworkInterface"), 1);
	assert_int_equal(calls(&w, "AttachNetworkInterface"), 1);
	assert_int_equal(calls(&w, "ModifyNetworkInterfaceAttribute"), 1);
	assert_int_equal(calls(&w, "AssignPrivateIpAddresses"), 0);
	list(&w, &view);
	assert_int_equal(view.nic_count, 2);
	assert_string_equal(nic_at(&view, 1)->id, nic.id);
	cloud_view_done(&view);
	if (w.cloud->ops->detach(w.cloud, nic.id, in_seconds(20), &w.err) < 0)
		fail_msg("%s", w.err.msg);
	assert_int_equal(nic_count(&w), 1);
	/* What is not there is gone. */
	assert_int_equal(w.cloud->ops->detach(w.cloud, nic.id, in_seconds(20), &w.err), 0);
	cloud_nic_done(&nic);
	end(&w);
}

static void test_attach__tags_and_death_with_the_instance(void **state)
{
	struct cloud_nic nic;
	struct world w;
	json_t *json, *item;
	size_t i;
	bool seen = false;

	(void)state;
	start(&w, PLAIN, false);
	attached(&w, "t1", 1, 0, &nic);
	json = state_of(&w);
	json_array_foreach (json_object_get(json, "nics"), i, item) {
		json_t *tags = json_object_get(item, "tags");

		if (!str_equal(json_string_value(json_object_get(item, "id")), nic.id))
			continue;
		seen = true;
		assert_string_equal(json_string_value(json_object_get(tags, "node.berth.io/instance_id")), INSTANCE);
		assert_string_equal(json_string_value(json_object_get(tags, "node.berth.io/cluster")), "kube");
		assert_non_null(json_object_get(tags, "node.berth.io/created_at"));
		assert_true(json_is_true(json_object_get(item, "delete_on_termination")));
	}
	assert_true(seen);
	json_decref(json);
	cloud_nic_done(&nic);
	end(&w);
}

static void test_attach__slot_taken_by_one_that_we_cannot_see(void **state)
{
	struct cloud_nic nic;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	fault(&w, "AttachNetworkInterface", FAULT_ERROR, 1, "InvalidParameterValue",
	      "Instance '" INSTANCE "' already has an interface attached at device index '1'.");
	attached(&w, "t1", 1, 0, &nic);
	assert_int_equal(nic.slot, 2);
	cloud_nic_done(&nic);
	end(&w);
}

static void test_attach__slot_taken_by_one_that_we_see(void **state)
{
	struct cloud_nic nic;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	control(&w, "foreign", "{\"instance\":\"n1\",\"device_index\":1}");
	attached(&w, "t1", 1, 0, &nic);
	assert_int_equal(nic.slot, 2);
	assert_int_equal(calls(&w, "AttachNetworkInterface"), 1);
	cloud_nic_done(&nic);
	end(&w);
}

/* However the answer to one of its calls is lost, an attach makes one interface and uses it. */
static void test_attach__answers_lost(void **state)
{
	static const struct {
		const char *action;
		enum fault_kind kind;
	} rows[] = {
		{ "CreateNetworkInterface", FAULT_LOST_ANSWER },
		{ "CreateNetworkInterface", FAULT_HTML502 },
		{ "CreateNetworkInterface", FAULT_HALF },
		{ "AttachNetworkInterface", FAULT_LOST_ANSWER },
		{ "AttachNetworkInterface", FAULT_HTML502 },
		{ "AttachNetworkInterface", FAULT_GARBAGE },
		{ "ModifyNetworkInterfaceAttribute", FAULT_LOST_ANSWER },
		{ "DescribeNetworkInterfaces", FAULT_HTML502 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cloud_nic nic;
		struct world w;

		start(&w, PLAIN, false);
		fault(&w, rows[i].action, rows[i].kind, 1, "", "");
		if (attach_with(&w, "t1", 1, 3, &nic) < 0)
			fail_msg("%s of %s: %s %s", fault_kind_name(rows[i].kind), rows[i].action,
				 err_class_name(w.err.class), w.err.msg);
		assert_int_equal(nic.slot, 1);
		assert_int_equal(nic.block_count, 3);
		assert_int_equal(nic_count(&w), 2);
		cloud_nic_done(&nic);
		end(&w);
	}
}

static void test_attach__new_interface_not_known_yet(void **state)
{
	struct cloud_nic nic;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	fault(&w, "AttachNetworkInterface", FAULT_ERROR, 2, "InvalidNetworkInterfaceID.NotFound",
	      "The networkInterface ID does not exist");
	attached(&w, "t1", 1, 0, &nic);
	assert_int_equal(nic_count(&w), 2);
	cloud_nic_done(&nic);
	end(&w);
}

static void test_attach__stale_reads(void **state)
{
	struct cloud_nic nic;
	struct world w;

	(void)state;
	start(&w, SEED("10.0.1.0/24", "m5.large", ",\"timings\":{\"attach_ms\":200,\"describe_lag_ms\":500}"), false);
	attached(&w, "t1", 1, 2, &nic);
	assert_int_equal(nic.block_count, 2);
	cloud_nic_done(&nic);
	end(&w);
}

static void test_attach__failure_leaves_nothing(void **state)
{
	struct cloud_nic nic;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	attached(&w, "t1", 1, 0, &nic);
	cloud_nic_done(&nic);
	attached(&w, "t2", 2, 0, &nic);
	cloud_nic_done(&nic);
	/* m5.large has three. */
	assert_int_equal(attach_with(&w, "t3", 3, 0, &nic), -1);
	assert_int_equal(w.err.class, ERR_EXHAUSTED);
	assert_string_equal(w.err.ident, "AttachmentLimitExceeded");
	assert_int_equal(nic_count(&w), 3);
	end(&w);
}

static void test_attach__failure_after_attaching_leaves_nothing(void **state)
{
	struct cloud_nic nic;
	struct world w;

	(void)state;
	start(&w, SEED("10.0.1.0/24", "m5.large", ",\"timings\":{\"detach_ms\":300}"), false);
	fault(&w, "ModifyNetworkInterfaceAttribute", FAULT_ERROR, FAULT_FOREVER, "UnauthorizedOperation", "no");
	assert_int_equal(attach_with(&w, "t1", 1, 0, &nic), -1);
	assert_int_equal(w.err.class, ERR_AUTH);
	assert_int_equal(nic_count(&w), 1);
	end(&w);
}

static void test_attach__subnet_full(void **state)
{
	struct cloud_nic nic;
	struct world w;

	(void)state;
	start(&w, SEED("10.0.1.0/28", "m5.24xlarge", ""), false);
	assert_int_equal(attach_with(&w, "t1", 1, 12, &nic), -1);
	assert_int_equal(w.err.class, ERR_EXHAUSTED);
	assert_int_equal(nic_count(&w), 1);
	end(&w);
}

static void test_attach__repeated_token_makes_no_second_one(void **state)
{
	struct cloud_nic first, again;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	attached(&w, "t1", 1, 2, &first);
	/* Other parameters, as after a change of plan. */
	attached(&w, "t1", 1, 3, &again);
	assert_string_equal(first.id, again.id);
	assert_int_equal(again.slot, 1);
	assert_int_equal(nic_count(&w), 2);
	cloud_nic_done(&first);
	cloud_nic_done(&again);
	end(&w);
}

static void test_detach__not_ours(void **state)
{
	struct cloud_view view;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	identify(&w);
	control(&w, "foreign", "{\"instance\":\"n1\",\"device_index\":1}");
	list(&w, &view);
	assert_int_equal(w.cloud->ops->detach(w.cloud, nic_at(&view, 1)->id, in_seconds(20), &w.err), -1);
	assert_int_equal(w.err.class, ERR_INVALID);
	assert_int_equal(w.cloud->ops->detach(w.cloud, w.self.nic, in_seconds(20), &w.err), -1);
	assert_int_equal(w.err.class, ERR_INVALID);
	assert_int_equal(calls(&w, "DetachNetworkInterface") + calls(&w, "DeleteNetworkInterface"), 0);
	cloud_view_done(&view);
	end(&w);
}

static void test_detach__answers_lost(void **state)
{
	static const char *const actions[] = { "DetachNetworkInterface", "DeleteNetworkInterface" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		struct cloud_nic nic;
		struct world w;

		start(&w, SEED("10.0.1.0/24", "m5.large", ",\"timings\":{\"detach_ms\":300}"), false);
		attached(&w, "t1", 1, 0, &nic);
		fault(&w, actions[i], FAULT_LOST_ANSWER, 1, "", "");
		if (w.cloud->ops->detach(w.cloud, nic.id, in_seconds(20), &w.err) < 0)
			fail_msg("%s: %s %s", actions[i], err_class_name(w.err.class), w.err.msg);
		assert_int_equal(nic_count(&w), 1);
		cloud_nic_done(&nic);
		end(&w);
	}
}

static void test_sweep__only_our_leftovers(void **state)
{
	struct cloud_nic nic;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	attached(&w, "t1", 1, 0, &nic);
	cloud_nic_done(&nic);
	/* A crash between Create and Attach: neither goes on nor cleans up. */
	fault(&w, "AttachNetworkInterface", FAULT_ERROR, FAULT_FOREVER, "UnauthorizedOperation", "no");
	fault(&w, "DeleteNetworkInterface", FAULT_ERROR, FAULT_FOREVER, "UnauthorizedOperation", "no");
	assert_int_equal(attach_with(&w, "t2", 2, 0, &nic), -1);
	assert_int_equal(nic_count(&w), 3);
	aws_mock_faults_clear(w.mock);
	assert_int_equal(sweep(&w), 1);
	assert_int_equal(nic_count(&w), 2);
	assert_int_equal(sweep(&w), 0);
	end(&w);
}

static void *attach_on_thread(void *ctx)
{
	struct world *w = ctx;
	struct cloud_attach want = { .slot = 1, .token = "t1" };
	struct cloud_nic nic = { 0 };
	int r = w->cloud->ops->attach(w->cloud, &want, in_seconds(30), &nic, NULL);

	cloud_nic_done(&nic);
	return (void *)(intptr_t)r;
}

static void test_sweep__beside_an_attach(void **state)
{
	pthread_t thread;
	struct world w;
	void *r;

	(void)state;
	start(&w,
	      SEED("10.0.1.0/24", "m5.large",
		   ",\"timings\":{\"attach_ms\":1000,\"call_ms\":{\"AttachNetworkInterface\":500}}"),
	      false);
	identify(&w);
	assert_int_equal(pthread_create(&thread, NULL, attach_on_thread, &w), 0);
	while (nic_count(&w) < 2) {
		struct cloud_view view;

		list(&w, &view);
		cloud_view_done(&view);
	}
	assert_int_equal(sweep(&w), 0);
	assert_int_equal(pthread_join(thread, &r), 0);
	assert_null(r);
	assert_int_equal(nic_count(&w), 2);
	end(&w);
}

/* ---- the whole
 * ------------------------------------------------------------------------------------------------------------ */

static void *stop_later(void *ctx)
{
	struct world *w = ctx;

	while (calls(w, "AssignPrivateIpAddresses") == 0)
		(void)0;
	w->cloud->ops->stop(w->cloud);
	return NULL;
}

static void test_stop__ends_a_back_off(void **state)
{
	struct cloud_nic got = { 0 };
	int64_t before;
	pthread_t thread;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	identify(&w);
	fault(&w, "AssignPrivateIpAddresses", FAULT_THROTTLE, FAULT_FOREVER, "", "");
	assert_int_equal(pthread_create(&thread, NULL, stop_later, &w), 0);
	before = clock_now(&clock_boot);
	assert_int_equal(w.cloud->ops->assign(w.cloud, w.self.nic, 1, in_seconds(600), &got, &w.err), -1);
	assert_true(clock_now(&clock_boot) - before < 10 * USEC_PER_SEC);
	assert_int_equal(pthread_join(thread, NULL), 0);
	end(&w);
}

static void test_open__refused(void **state)
{
	const struct cloud_config config = { .cluster = "" };
	struct cloud *cloud;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(cloud_open("nowhere", &config, &cloud, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
	env("AWS_ENDPOINT_URL_EC2", "not a url");
	assert_int_equal(cloud_open("aws", &config, &cloud, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
	env("AWS_ENDPOINT_URL_EC2", NULL);
	env("AWS_REGION", "us west");
	assert_int_equal(cloud_open("aws", &config, &cloud, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
	env("AWS_REGION", NULL);
	env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "gopher://x");
	assert_int_equal(cloud_open("aws", &config, &cloud, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
	env("AWS_EC2_METADATA_SERVICE_ENDPOINT", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_identify__from_metadata),
		check_unit_test(test_identify__metadata_unreachable),
		check_unit_test(test_limits__of_the_type),
		check_unit_test(test_list__primary_and_foreign),
		check_unit_test(test_list__no_manage_tag_wins_over_ours),
		check_unit_test(test_list__short_and_empty_pages),
		check_unit_test(test_assign__and_release),
		check_unit_test(test_assign__more_than_the_nic_holds),
		check_unit_test(test_assign__nearly_full_subnet_gives_fewer),
		check_unit_test(test_assign__answer_lost),
		check_unit_test(test_assign__throttled_then_served),
		check_unit_test(test_assign__throttled_until_the_deadline),
		check_unit_test(test_role__expired_credentials_are_replaced),
		check_unit_test(test_environment__expired_credentials),
		check_unit_test(test_denied__asked_once_and_named),
		check_unit_test(test_clock__wrong_by_hours),
		check_unit_test(test_attach__then_detach),
		check_unit_test(test_attach__tags_and_death_with_the_instance),
		check_unit_test(test_attach__slot_taken_by_one_that_we_cannot_see),
		check_unit_test(test_attach__slot_taken_by_one_that_we_see),
		check_unit_test(test_attach__answers_lost),
		check_unit_test(test_attach__new_interface_not_known_yet),
		check_unit_test(test_attach__stale_reads),
		check_unit_test(test_attach__failure_leaves_nothing),
		check_unit_test(test_attach__failure_after_attaching_leaves_nothing),
		check_unit_test(test_attach__subnet_full),
		check_unit_test(test_attach__repeated_token_makes_no_second_one),
		check_unit_test(test_detach__not_ours),
		check_unit_test(test_detach__answers_lost),
		check_unit_test(test_sweep__only_our_leftovers),
		check_unit_test(test_sweep__beside_an_attach),
		check_unit_test(test_stop__ends_a_back_off),
		check_unit_test(test_open__refused),
	};

	return cmocka_run_group_tests_name("aws", tests, NULL, NULL);
}
