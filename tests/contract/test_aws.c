/* SPDX-License-Identifier: Apache-2.0 */
/* The AWS provider against the mock: identity, limits, lists, addresses, credentials. */
#include "tests/contract/aws_world.h"

/* ---- identity, limits, list ---- */

static const struct cloud_want one[IP_FAMILIES] = { { 1, 32 } };

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
	/* Types that no release of berth knows. */
	static const char unknown[] = ",\"instance_types\":[{\"name\":\"x99.large\",\"nics\":5,\"addresses\":7},"
				      "{\"name\":\"x99.48xlarge\",\"nics\":4,\"cards\":3,\"addresses\":64}]";
	static const struct {
		const char *type;
		unsigned nics, units, calls;
	} rows[] = {
		{ "m5.large", 3, 9, 0 },
		{ "p5.48xlarge", 2, 49, 0 },
		{ "x99.large", 5, 6, 1 },
		{ "x99.48xlarge", 4, 63, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cloud_limits limits;
		struct world w;
		char seed[2048];

		(void)snprintf(seed, sizeof(seed), SEED("10.0.1.0/24", "%s", "%s"), rows[i].type, unknown);
		start(&w, seed, false);
		if (w.cloud->ops->limits(w.cloud, in_seconds(20), &limits, &w.err) < 0)
			fail_msg("%s", w.err.msg);
		assert_int_equal(limits.nics_max, rows[i].nics);
		assert_int_equal(limits.units[0].per_nic_max, rows[i].units);
		assert_int_equal(limits.units[0].len, 32);
		assert_true(limits.can_attach_nic);
		assert_int_equal(calls(&w, "DescribeInstanceTypes"), rows[i].calls);
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

/* ---- addresses ---- */

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
	assert_int_equal(w.cloud->ops->assign(w.cloud, w.self.nic, one, in_seconds(2), &got, &w.err), -1);
	assert_int_equal(w.err.class, ERR_THROTTLED);
	end(&w);
}

/* ---- credentials ---- */

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

static void test_denied__asked_once_and_named__aws_40_21(void **state)
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

/* ---- the whole ---- */

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
	assert_int_equal(w.cloud->ops->assign(w.cloud, w.self.nic, one, in_seconds(600), &got, &w.err), -1);
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
		check_unit_test(test_denied__asked_once_and_named__aws_40_21),
		check_unit_test(test_clock__wrong_by_hours),
		check_unit_test(test_stop__ends_a_back_off),
		check_unit_test(test_open__refused),
	};

	return cmocka_run_group_tests_name("aws", tests, NULL, NULL);
}
