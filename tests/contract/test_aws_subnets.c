/* SPDX-License-Identifier: Apache-2.0 */
/* The AWS provider against the mock: where new interfaces go, and which pods get nothing of. */
#include "tests/contract/aws_nodes.h"

/* ---- discovery ---- */

static void test_attach__most_free_tagged_subnet(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	/* Of the zone, not the far one, which has most of all. */
	assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), WIDE);
	assert_string_equal(subnet_of_new(&node, "t2", 2, NULL), WIDE);
	done(&w, &node);
}

static void test_attach__untagged_stays_at_home(void **state)
{
	static const struct cloud_config no_discovery = { .cluster = "kube", .no_discovery = true };
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, many("", "", "", ""), &plain);
	assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), HOME);
	done(&w, &node);
	one_node(&w, &node, many(TAG_NOT, TAG_FOR, "", ""), &no_discovery);
	assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), HOME);
	assert_false(is_closed(&node, 0));
	assert_int_equal(calls(&w, "DescribeSubnets"), 0);
	done(&w, &node);
}

static void test_attach__subnets_of_other_clusters(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node,
		 many("", TAG_FOR ",\"cni.networking.k8s.aws/cluster/other\":\"shared\"",
		      TAG_FOR ",\"cni.networking.k8s.aws/cluster/other\":\"\","
			      "\"cni.networking.k8s.aws/cluster/kube\":\"shared\"",
		      ""),
		 &plain);
	assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), HOME);
	tag(&node, HOME, "kubernetes.io/role/cni", "0");
	pass(&node, 61);
	assert_string_equal(subnet_of_new(&node, "t2", 2, NULL), SMALL);
	done(&w, &node);
}

static void test_attach__nowhere_to_go(void **state)
{
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, many(TAG_NOT, "", "", ""), &plain);
	assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
	assert_int_equal(w.err.class, ERR_INVALID);
	says(&w, "kubernetes.io/role/cni=1");
	says(&w, "us-west-2a");
	assert_int_equal(calls(&w, "CreateNetworkInterface"), 0);
	done(&w, &node);
}

/* One without IPv6 has more room, and is of no use to pods of both families. */
static void test_attach__subnet_with_ipv6(void **state)
{
	static const struct cloud_config both = { .cluster = "kube", .serves = { true, true } };
	struct cloud_attach want = { .slot = 1, .wants = { { 1, 32 }, { 1, 80 } }, .token = "t1" };
	struct cloud_nic nic = { 0 };
	struct node node;
	struct world w;
	char text[PREFIX_STRLEN];

	(void)state;
	one_node(&w, &node, tagged(), &both);
	if (node.cloud->ops->attach(node.cloud, &want, until(&node), &nic, &w.err) < 0)
		fail_msg("attach: %s", w.err.msg);
	assert_string_equal(prefix_str(&nic.subnet6, text), RANGE6);
	assert_int_equal(nic.block_count, 2);
	cloud_nic_done(&nic);
	done(&w, &node);
}

/* ---- what it costs ---- */

static void test_places__one_question_for_a_burst(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	list_only(&node);
	assert_int_equal(calls(&w, "DescribeSubnets"), 1);
	(void)subnet_of_new(&node, "t1", 1, NULL);
	(void)subnet_of_new(&node, "t2", 2, NULL);
	list_only(&node);
	assert_int_equal(calls(&w, "DescribeSubnets"), 1);
	pass(&node, 61);
	(void)subnet_of_new(&node, "t3", 3, NULL);
	assert_int_equal(calls(&w, "DescribeSubnets"), 2);
	done(&w, &node);
}

static void identify_node(struct node *node)
{
	struct cloud_identity self;

	if (node->cloud->ops->identify(node->cloud, until(node), &self, &node->w->err) < 0)
		fail_msg("identify: %s", node->w->err.msg);
}

struct attacher {
	struct node *node;
	char token[8];
	unsigned slot;
	int r;
};

static void *attach_one(void *ctx)
{
	struct attacher *a = ctx;
	struct cloud_attach want = { .slot = a->slot };
	struct cloud_nic nic = { 0 };

	(void)str_copy(want.token, sizeof(want.token), a->token);
	a->r = a->node->cloud->ops->attach(a->node->cloud, &want, until(a->node), &nic, NULL);
	cloud_nic_done(&nic);
	return NULL;
}

static void attach_at_once(struct node *node, unsigned count, int r)
{
	struct attacher attachers[4];
	pthread_t threads[4];

	for (unsigned i = 0; i < count; i++) {
		attachers[i] = (struct attacher){ .node = node, .slot = i + 1 };
		(void)snprintf(attachers[i].token, sizeof(attachers[i].token), "b%u", i);
		assert_int_equal(pthread_create(&threads[i], NULL, attach_one, &attachers[i]), 0);
	}
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(attachers[i].r, r);
	}
}

static void test_places__one_question_for_all_at_once(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, many("", TAG_FOR, "", ",\"timings\":{\"call_ms\":{\"DescribeSubnets\":300}}"), &plain);
	attach_at_once(&node, 4, 0);
	assert_int_equal(nic_count(&w), 6);
	assert_int_equal(calls(&w, "DescribeSubnets"), 1);
	done(&w, &node);
}

/* Those who waited for an answer that failed do not ask each once more. */
static void test_places__one_failure_for_all_at_once(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	identify_node(&node);
	/* Eight attempts, with waits between them. */
	fault(&w, "DescribeSubnets", FAULT_ERROR, FAULT_FOREVER, "InternalError", "no");
	attach_at_once(&node, 4, -1);
	assert_int_equal(calls(&w, "DescribeSubnets"), 8);
	assert_int_equal(calls(&w, "CreateNetworkInterface"), 0);
	done(&w, &node);
}

/* Marks are read each half hour, give or take a fifth. */
static void test_list__asks_for_marks_seldom(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	for (unsigned i = 0; i < 4; i++) {
		list_only(&node);
		pass(&node, 300);
	}
	assert_int_equal(calls(&w, "DescribeSubnets"), 1);
	pass(&node, 36 * 60 - 4 * 300);
	list_only(&node);
	assert_int_equal(calls(&w, "DescribeSubnets"), 2);
	done(&w, &node);
}

/* ---- what may not be asked ---- */

static void test_attach__may_not_see_subnets(void **state)
{
	static const char *const words[] = { "UnauthorizedOperation", "AuthFailure" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		struct node node;
		struct world w;
		unsigned asked;

		one_node(&w, &node, tagged(), &plain);
		fault(&w, "DescribeSubnets", FAULT_ERROR, FAULT_FOREVER, words[i], "no");
		list_only(&node);
		asked = calls(&w, "DescribeSubnets");
		assert_in_range(asked, 1, 2); /* one more with other credentials */
		assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), HOME);
		list_only(&node);
		pass(&node, 20 * 60);
		list_only(&node);
		assert_string_equal(subnet_of_new(&node, "t2", 2, NULL), HOME);
		assert_int_equal(calls(&w, "DescribeSubnets"), asked);
		/* Somebody has allowed it since. */
		aws_mock_faults_clear(w.mock);
		pass(&node, 20 * 60);
		assert_string_equal(subnet_of_new(&node, "t3", 3, NULL), WIDE);
		done(&w, &node);
	}
}

static void test_list__does_not_fail_with_subnets(void **state)
{
	struct node node;
	struct world w;
	unsigned asked;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	fault(&w, "DescribeSubnets", FAULT_GARBAGE, FAULT_FOREVER, "", "");
	list_only(&node);
	asked = calls(&w, "DescribeSubnets");
	list_only(&node);
	assert_int_equal(calls(&w, "DescribeSubnets"), asked);
	done(&w, &node);
}

static void test_attach__older_knowledge_while_ec2_fails(void **state)
{
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	fault(&w, "DescribeSubnets", FAULT_GARBAGE, FAULT_FOREVER, "", "");
	/* Nothing is known of tags that may forbid it. */
	assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
	assert_int_equal(w.err.class, ERR_PROTOCOL);
	aws_mock_faults_clear(w.mock);
	assert_string_equal(subnet_of_new(&node, "t2", 1, NULL), WIDE);
	fault(&w, "DescribeSubnets", FAULT_GARBAGE, FAULT_FOREVER, "", "");
	pass(&node, 3600);
	assert_string_equal(subnet_of_new(&node, "t3", 2, NULL), WIDE);
	done(&w, &node);
}

/* ---- exhaustion ---- */

static void test_attach__next_subnet_when_one_is_full__aws_40_12(void **state)
{
	static const struct {
		const char *code, *message;
	} rows[] = {
		{ "InsufficientFreeAddressesInSubnet", "The specified subnet does not have enough free addresses." },
		{ "InsufficientCidrBlocks", "The specified subnet does not have enough free cidr blocks." },
		{ "InvalidParameterValue", "There aren't sufficient free Ipv4 addresses or prefixes in subnet " WIDE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct node node;
		struct world w;

		one_node(&w, &node, tagged(), &plain);
		fault(&w, "CreateNetworkInterface", FAULT_ERROR, 1, rows[i].code, rows[i].message);
		assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), HOME);
		assert_int_equal(nic_count(&w), 3);
		/* It is remembered, but not for ever. */
		assert_string_equal(subnet_of_new(&node, "t2", 2, NULL), HOME);
		assert_int_equal(calls(&w, "CreateNetworkInterface"), 3);
		pass(&node, 119);
		assert_string_equal(subnet_of_new(&node, "t3", 3, NULL), HOME);
		pass(&node, 2);
		assert_string_equal(subnet_of_new(&node, "t4", 4, NULL), WIDE);
		done(&w, &node);
	}
}

static void test_attach__all_subnets_full__aws_40_12(void **state)
{
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	fault(&w, "CreateNetworkInterface", FAULT_ERROR, FAULT_FOREVER, "InsufficientFreeAddressesInSubnet", "no");
	assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
	assert_int_equal(w.err.class, ERR_EXHAUSTED);
	says(&w, WIDE ", " HOME ", " SMALL);
	says(&w, "kubernetes.io/role/cni=1");
	assert_int_equal(calls(&w, "CreateNetworkInterface"), 3);
	assert_int_equal(nic_count(&w), 2);
	done(&w, &node);
}

/* The quota of the account is the same in each of them. */
static void test_attach__another_limit_is_no_reason_to_move(void **state)
{
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	fault(&w, "CreateNetworkInterface", FAULT_ERROR, FAULT_FOREVER, "NetworkInterfaceLimitExceeded", "no");
	assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
	assert_int_equal(w.err.class, ERR_EXHAUSTED);
	assert_int_equal(calls(&w, "CreateNetworkInterface"), 1);
	done(&w, &node);
}

/* Nobody knows whether it was made: a second try, which would go elsewhere, finds it. */
static void test_attach__open_create_is_found_again(void **state)
{
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	fault(&w, "CreateNetworkInterface", FAULT_ERROR, 1, "InsufficientFreeAddressesInSubnet", "no");
	fault(&w, "CreateNetworkInterface", FAULT_LOST_ANSWER, FAULT_FOREVER, "", "");
	assert_int_equal(try_attach(&node, "t1", 1, 2, &nic), -1);
	assert_int_equal(w.err.class, ERR_AMBIGUOUS);
	assert_int_equal(nic_count(&w), 3);
	aws_mock_faults_clear(w.mock);
	pass(&node, 121); /* the first one is the best again */
	assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), HOME);
	assert_int_equal(nic_count(&w), 3);
	/* One that ended well, asked for again. */
	assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), HOME);
	assert_int_equal(nic_count(&w), 3);
	assert_string_equal(subnet_of_new(&node, "t2", 2, NULL), WIDE);
	done(&w, &node);
}

/* What was made and deleted again is no obstacle for the next try of the same attach. */
static void test_attach__again_after_cleaning_up(void **state)
{
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	fault(&w, "AttachNetworkInterface", FAULT_ERROR, 1, "AttachmentLimitExceeded", "no");
	assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
	assert_int_equal(nic_count(&w), 2);
	assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), WIDE);
	assert_int_equal(nic_count(&w), 3);
	done(&w, &node);
}

static void test_attach__denied_says_what_to_allow(void **state)
{
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	deny(&w, "CreateNetworkInterface", FAULT_FOREVER);
	assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
	assert_int_equal(w.err.class, ERR_AUTH);
	says(&w, "ec2:CreateNetworkInterface");
	says(&w, "ec2:CreateTags");
	done(&w, &node);
}

/* ---- subnets and groups of the operator ---- */

static const char *const two_zones[] = { SMALL, FAR };
static const char *const far_only[] = { FAR };

static void test_attach__configured_subnet_of_the_zone__aws_40_19(void **state)
{
	static const struct cloud_config config = {
		.cluster = "kube", .subnet_count = 2, .subnets = two_zones, .group_count = 1, .groups = pods_group
	};
	static const struct cloud_config no_groups = { .cluster = "kube", .subnet_count = 2, .subnets = two_zones };
	struct node node;
	struct world w;
	char id[64];

	(void)state;
	/* The tag would forbid it: the operator's word stands above it. */
	one_node(&w, &node, many("", TAG_FOR, TAG_NOT, ""), &config);
	list_only(&node);
	assert_int_equal(calls(&w, "DescribeSubnets"), 0);
	assert_string_equal(subnet_of_new(&node, "t1", 1, id), SMALL);
	assert_string_equal(groups_of(&node, id), " sg-0a3");
	assert_true(is_closed(&node, 0));
	assert_false(is_closed(&node, 1));
	done(&w, &node);
	one_node(&w, &node, many("", TAG_FOR, "", ""), &no_groups);
	assert_string_equal(subnet_of_new(&node, "t1", 1, id), SMALL);
	assert_string_equal(groups_of(&node, id), " sg-0a1");
	done(&w, &node);
}

static void test_attach__no_configured_subnet_in_the_zone__aws_40_19(void **state)
{
	static const struct cloud_config config = { .cluster = "kube", .subnet_count = 1, .subnets = far_only };
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &config);
	assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
	assert_int_equal(w.err.class, ERR_INVALID);
	says(&w, FAR);
	says(&w, "us-west-2a");
	assert_int_equal(calls(&w, "CreateNetworkInterface"), 0);
	/* The primary one is none of the places where pods may be, all the same. */
	assert_true(is_closed(&node, 0));
	done(&w, &node);
}

static void test_attach__may_not_see_configured_subnets__aws_40_19(void **state)
{
	static const struct cloud_config config = { .cluster = "kube", .subnet_count = 2, .subnets = two_zones };
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &config);
	deny(&w, "DescribeSubnets", FAULT_FOREVER);
	assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
	assert_int_equal(w.err.class, ERR_AUTH);
	says(&w, "ec2:DescribeSubnets");
	/* Not where the operator does not want pods. */
	assert_int_equal(calls(&w, "CreateNetworkInterface"), 0);
	done(&w, &node);
}

/* ---- closed ---- */

static void test_list__closed_by_tag(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), WIDE);
	assert_false(is_closed(&node, 0) || is_closed(&node, 1));
	tag(&node, WIDE, "kubernetes.io/role/cni", "0");
	assert_false(is_closed(&node, 1));
	pass(&node, 36 * 60);
	assert_true(is_closed(&node, 1));
	assert_false(is_closed(&node, 0));
	tag(&node, HOME, "kubernetes.io/role/cni", "0");
	tag(&node, WIDE, "kubernetes.io/role/cni", "1");
	pass(&node, 36 * 60);
	assert_true(is_closed(&node, 0));
	assert_false(is_closed(&node, 1));
	done(&w, &node);
}

/* From the first list on: pods must not get what they are not to have. */
static void test_list__closed_at_once(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, many(TAG_NOT, TAG_FOR, "", ""), &plain);
	assert_true(is_closed(&node, 0));
	done(&w, &node);
}

static void test_list__closed_by_metadata_alone__aws_40_19(void **state)
{
	static const struct cloud_config config = {
		.cluster = "kube", .access = CLOUD_ACCESS_METADATA, .subnet_count = 2, .subnets = two_zones
	};
	static const struct cloud_config all = { .cluster = "kube", .access = CLOUD_ACCESS_METADATA };
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &config);
	control(&w, "foreign", "{\"instance\":\"n1\",\"device_index\":1}");
	assert_true(is_closed(&node, 0));
	assert_false(is_closed(&node, 1));
	cloud_free(node.cloud);
	open_node(&w, &node, "n1", &all);
	assert_false(is_closed(&node, 0));
	assert_int_equal(calls(&w, "DescribeSubnets"), 0);
	done(&w, &node);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_attach__most_free_tagged_subnet),
		check_unit_test(test_attach__untagged_stays_at_home),
		check_unit_test(test_attach__subnets_of_other_clusters),
		check_unit_test(test_attach__nowhere_to_go),
		check_unit_test(test_attach__subnet_with_ipv6),
		check_unit_test(test_places__one_question_for_a_burst),
		check_unit_test(test_places__one_question_for_all_at_once),
		check_unit_test(test_places__one_failure_for_all_at_once),
		check_unit_test(test_list__asks_for_marks_seldom),
		check_unit_test(test_attach__may_not_see_subnets),
		check_unit_test(test_list__does_not_fail_with_subnets),
		check_unit_test(test_attach__older_knowledge_while_ec2_fails),
		check_unit_test(test_attach__next_subnet_when_one_is_full__aws_40_12),
		check_unit_test(test_attach__all_subnets_full__aws_40_12),
		check_unit_test(test_attach__another_limit_is_no_reason_to_move),
		check_unit_test(test_attach__open_create_is_found_again),
		check_unit_test(test_attach__again_after_cleaning_up),
		check_unit_test(test_attach__denied_says_what_to_allow),
		check_unit_test(test_attach__configured_subnet_of_the_zone__aws_40_19),
		check_unit_test(test_attach__no_configured_subnet_in_the_zone__aws_40_19),
		check_unit_test(test_attach__may_not_see_configured_subnets__aws_40_19),
		check_unit_test(test_list__closed_by_tag),
		check_unit_test(test_list__closed_at_once),
		check_unit_test(test_list__closed_by_metadata_alone__aws_40_19),
	};

	return cmocka_run_group_tests_name("aws_subnets", tests, NULL, NULL);
}
