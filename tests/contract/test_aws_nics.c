/* SPDX-License-Identifier: Apache-2.0 */
/* The AWS provider against the mock: making and removing network interfaces. */
#include "tests/contract/aws_world.h"

/* ---- attach, detach, sweep ---- */

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
	assert_true(!nic.foreign && !nic.primary);
	assert_int_equal(nic.block_count, 5);
	assert_string_equal(ipaddr_str(&nic.gateway, text), "10.0.1.1");
	assert_int_equal(calls(&w, "CreateNetworkInterface"), 1);
	assert_int_equal(calls(&w, "AttachNetworkInterface"), 1);
	assert_int_equal(calls(&w, "ModifyNetworkInterfaceAttribute"), 1);
	assert_int_equal(calls(&w, "AssignPrivateIpAddresses"), 0);
	assert_int_equal(calls(&w, "DescribeNetworkInterfaces"), 1); /* all nodes of the account share these */
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

static void test_attach__tags_and_death_with_the_instance__rule_14(void **state)
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

static void test_attach__failure_leaves_nothing__aws_40_10__rule_14(void **state)
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

/* What could not be removed is said to be perhaps there, whatever the reason was: it has to be looked for. */
static void test_attach__failure_whose_cleaning_fails_too(void **state)
{
	struct cloud_nic nic;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	fault(&w, "ModifyNetworkInterfaceAttribute", FAULT_ERROR, FAULT_FOREVER, "UnauthorizedOperation", "no");
	fault(&w, "DetachNetworkInterface", FAULT_ERROR, FAULT_FOREVER, "UnauthorizedOperation", "no");
	assert_int_equal(attach_with(&w, "t1", 1, 0, &nic), -1);
	assert_int_equal(w.err.class, ERR_AMBIGUOUS);
	assert_string_equal(w.err.ident, "UnauthorizedOperation");
	assert_int_equal(nic_count(&w), 2);
	end(&w);
}

/* A subnet that cannot give all units gives fewer, and an interface as long as it has an address for that. */
static void test_attach__subnet_fills_up__aws_40_12(void **state)
{
	static const struct {
		unsigned units, creates;
	} rows[] = { { 6, 2 }, { 1, 3 }, { 0, 4 } };
	struct cloud_nic nic;
	struct world w;
	unsigned creates = 0;

	(void)state;
	/* 16 addresses, 5 of them the cloud's own, one the primary's: 10 are free. */
	start(&w, SEED("10.0.1.0/28", "m5.24xlarge", ""), false);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		char token[8];

		(void)snprintf(token, sizeof(token), "t%u", i);
		attached(&w, token, i + 1, 12, &nic);
		assert_int_equal(nic.block_count, rows[i].units);
		creates += rows[i].creates;
		assert_int_equal(calls(&w, "CreateNetworkInterface"), creates);
		cloud_nic_done(&nic);
	}
	assert_int_equal(attach_with(&w, "t9", 9, 12, &nic), -1);
	assert_int_equal(w.err.class, ERR_EXHAUSTED);
	assert_int_equal(nic_count(&w), 4);
	end(&w);
}

/* What a request for fewer units made is found again by the token of the attach, though all could be had by now. */
static void test_attach__repeated_token_after_fewer_units(void **state)
{
	struct cloud_nic first, again;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	fault(&w, "CreateNetworkInterface", FAULT_ERROR, 1, "InsufficientFreeAddressesInSubnet", "full");
	attached(&w, "t1", 1, 9, &first);
	attached(&w, "t1", 1, 9, &again);
	assert_string_equal(first.id, again.id);
	assert_int_equal(again.slot, 1);
	assert_int_equal(again.block_count, 4);
	assert_int_equal(nic_count(&w), 2);
	cloud_nic_done(&first);
	cloud_nic_done(&again);
	end(&w);
}

/* The interface is there, attached to nothing: another request of the same attach finds it. */
static void test_attach__repeated_token_finds_what_is_not_attached(void **state)
{
	struct cloud_nic nic;
	struct world w;

	(void)state;
	start(&w, SEED("10.0.1.0/28", "m5.24xlarge", ""), false);
	fault(&w, "AttachNetworkInterface", FAULT_ERROR, FAULT_FOREVER, "UnauthorizedOperation", "no");
	fault(&w, "DeleteNetworkInterface", FAULT_ERROR, FAULT_FOREVER, "UnauthorizedOperation", "no");
	assert_int_equal(attach_with(&w, "t1", 1, 12, &nic), -1);
	assert_int_equal(nic_count(&w), 2);
	aws_mock_faults_clear(w.mock);
	attached(&w, "t1", 1, 12, &nic);
	assert_int_equal(nic.block_count, 6);
	assert_int_equal(nic_count(&w), 2);
	cloud_nic_done(&nic);
	end(&w);
}

/* The account may have no more interfaces: asking for smaller ones does not help. */
static void test_attach__quota_is_not_asked_again(void **state)
{
	struct cloud_nic nic;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	fault(&w, "CreateNetworkInterface", FAULT_ERROR, FAULT_FOREVER, "NetworkInterfaceLimitExceeded", "quota");
	assert_int_equal(attach_with(&w, "t1", 1, 9, &nic), -1);
	assert_int_equal(w.err.class, ERR_EXHAUSTED);
	assert_int_equal(calls(&w, "CreateNetworkInterface"), 1);
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

/* On its way, or gone: nobody may believe that it is as it was, pods would get its addresses. */
static void test_detach__failed_half_way(void **state)
{
	static const struct {
		int timeout_s;
		const char *fails;
	} cases[] = { { 1, "" }, { 20, "DeleteNetworkInterface" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cloud_nic nic;
		struct world w;

		start(&w, SEED("10.0.1.0/24", "m5.large", ",\"timings\":{\"detach_ms\":1500}"), false);
		attached(&w, "t1", 1, 0, &nic);
		if (cases[i].fails[0])
			fault(&w, cases[i].fails, FAULT_ERROR, 1, "UnauthorizedOperation", "no");
		assert_int_equal(w.cloud->ops->detach(w.cloud, nic.id, in_seconds(cases[i].timeout_s), &w.err), -1);
		assert_string_equal(err_class_name(w.err.class), err_class_name(ERR_CONFLICT));
		cloud_nic_done(&nic);
		end(&w);
	}
}

static void test_sweep__only_our_leftovers__aws_40_2(void **state)
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_attach__then_detach),
		check_unit_test(test_attach__tags_and_death_with_the_instance__rule_14),
		check_unit_test(test_attach__slot_taken_by_one_that_we_cannot_see),
		check_unit_test(test_attach__slot_taken_by_one_that_we_see),
		check_unit_test(test_attach__answers_lost),
		check_unit_test(test_attach__new_interface_not_known_yet),
		check_unit_test(test_attach__stale_reads),
		check_unit_test(test_attach__failure_leaves_nothing__aws_40_10__rule_14),
		check_unit_test(test_attach__failure_after_attaching_leaves_nothing),
		check_unit_test(test_attach__failure_whose_cleaning_fails_too),
		check_unit_test(test_attach__subnet_fills_up__aws_40_12),
		check_unit_test(test_attach__repeated_token_after_fewer_units),
		check_unit_test(test_attach__repeated_token_finds_what_is_not_attached),
		check_unit_test(test_attach__quota_is_not_asked_again),
		check_unit_test(test_attach__repeated_token_makes_no_second_one),
		check_unit_test(test_detach__not_ours),
		check_unit_test(test_detach__answers_lost),
		check_unit_test(test_detach__failed_half_way),
		check_unit_test(test_sweep__only_our_leftovers__aws_40_2),
		check_unit_test(test_sweep__beside_an_attach),
	};

	return cmocka_run_group_tests_name("aws_nics", tests, NULL, NULL);
}
