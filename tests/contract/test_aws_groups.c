/* SPDX-License-Identifier: Apache-2.0 */
/* The AWS provider against the mock: which interfaces are ours, what they carry, and their security groups. */
#include "tests/contract/aws_nodes.h"

/* ---- whose they are ---- */

static void test_list__foreign_counts_once__aws_40_17(void **state)
{
	struct cloud_view view;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, many("", "", "", ",\"paging\":{\"short\":true}"), &plain);
	control(&w, "foreign", "{\"instance\":\"n1\",\"device_index\":1}");
	control(&w, "foreign", "{\"instance\":\"n1\",\"device_index\":2,\"managed\":true}");
	control(&w, "foreign",
		"{\"instance\":\"n1\",\"device_index\":3,\"tags\":{\"node.berth.io/instance_id\":\"" INSTANCE
		"\",\"node.k8s.amazonaws.com/no_manage\":\"true\"}}");
	assert_string_equal(subnet_of_new(&node, "t1", 4, NULL), HOME);
	for (unsigned i = 0; i < 3; i++) {
		list_of(&node, &view);
		assert_int_equal(view.nic_count, 5);
		for (unsigned slot = 0; slot < 5; slot++)
			assert_int_equal(nic_at(&view, slot)->foreign, slot >= 1 && slot <= 3);
		cloud_view_done(&view);
	}
	done(&w, &node);
}

static void test_list__read_only_serves_what_is_there__aws_40_17(void **state)
{
	static const struct cloud_config config = { .cluster = "kube", .access = CLOUD_ACCESS_READ };
	struct cloud_view view;
	struct node node;
	struct world w;
	unsigned swept = 99;

	(void)state;
	one_node(&w, &node, tagged(), &config);
	control(&w, "foreign", "{\"instance\":\"n1\",\"device_index\":1}");
	control(&w, "foreign", "{\"instance\":\"n1\",\"device_index\":2,\"managed\":true}");
	control(&w, "foreign",
		"{\"instance\":\"n1\",\"device_index\":3,\"tags\":{\"node.berth.io/no_manage\":\"true\"}}");
	list_of(&node, &view);
	assert_false(nic_at(&view, 0)->foreign || nic_at(&view, 1)->foreign);
	assert_true(nic_at(&view, 2)->foreign && nic_at(&view, 3)->foreign);
	cloud_view_done(&view);
	assert_int_equal(node.cloud->ops->sweep(node.cloud, until(&node), &swept, &w.err), 0);
	assert_int_equal(swept, 0);
	assert_int_equal(calls(&w, "DescribeNetworkInterfaces"), 1);
	done(&w, &node);
}

static void test_detach__marked_since__aws_40_17(void **state)
{
	struct node node;
	struct world w;
	char id[64];

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	(void)subnet_of_new(&node, "t1", 1, id);
	tag(&node, id, "node.berth.io/no_manage", "true");
	assert_int_equal(node.cloud->ops->detach(node.cloud, id, until(&node), &w.err), -1);
	assert_int_equal(w.err.class, ERR_INVALID);
	assert_int_equal(nic_count(&w), 3);
	done(&w, &node);
}

/* ---- security groups ---- */

static void set_groups(struct node *node, const char *nic, const char *first, const char *second)
{
	char groups[2][EC2_ID_SIZE] = { "", "" };

	(void)str_copy(groups[0], EC2_ID_SIZE, first);
	(void)str_copy(groups[1], EC2_ID_SIZE, second ? second : "");
	assert_int_equal(ec2_groups_set(&aws_of(node->cloud)->ec2, nic, second ? 2 : 1, groups, until(node),
					&node->w->err),
			 0);
}

/* Two interfaces of ours and one of somebody else; Modify calls so far. */
static unsigned three_nics(struct world *w, struct node *node, const struct cloud_config *config, char ids[3][64])
{
	struct cloud_view view;

	one_node(w, node, tagged(), config);
	(void)subnet_of_new(node, "t1", 1, ids[1]);
	(void)subnet_of_new(node, "t2", 2, ids[2]);
	control(w, "foreign", "{\"instance\":\"n1\",\"device_index\":3}");
	list_of(node, &view);
	(void)str_copy(ids[0], 64, nic_at(&view, 0)->id);
	cloud_view_done(&view);
	return calls(w, "ModifyNetworkInterfaceAttribute");
}

static const char *groups_of_foreign(struct node *node)
{
	struct cloud_view view;
	char id[64];

	list_of(node, &view);
	(void)str_copy(id, sizeof(id), nic_at(&view, 3)->id);
	cloud_view_done(&view);
	return groups_of(node, id);
}

static void test_groups__follow_the_primary__aws_40_20(void **state)
{
	char ids[3][64];
	struct node node;
	struct world w;
	unsigned modified;

	(void)state;
	modified = three_nics(&w, &node, &plain, ids);
	assert_int_equal(modified, 2); /* both die with the instance; nothing else changed */
	set_groups(&node, ids[0], "sg-0a2", "sg-0a1");
	list_only(&node);
	assert_int_equal(calls(&w, "ModifyNetworkInterfaceAttribute"), modified + 1 + 2);
	assert_string_equal(groups_of(&node, ids[1]), " sg-0a2 sg-0a1");
	assert_string_equal(groups_of(&node, ids[2]), " sg-0a2 sg-0a1");
	assert_string_equal(groups_of_foreign(&node), " sg-0a1");
	/* Nothing has changed, and the order means nothing. */
	set_groups(&node, ids[1], "sg-0a1", "sg-0a2");
	for (unsigned i = 0; i < 3; i++) {
		pass(&node, 301);
		list_only(&node);
	}
	assert_int_equal(calls(&w, "ModifyNetworkInterfaceAttribute"), modified + 1 + 2 + 1);
	/* One only differs. */
	set_groups(&node, ids[2], "sg-0a3", NULL);
	list_only(&node);
	assert_int_equal(calls(&w, "ModifyNetworkInterfaceAttribute"), modified + 1 + 2 + 1 + 2);
	assert_string_equal(groups_of(&node, ids[2]), " sg-0a2 sg-0a1");
	done(&w, &node);
}

/* A reading older than our own change has nothing done twice. */
static void test_groups__not_again_by_a_stale_list__aws_40_20(void **state)
{
	char ids[3][64];
	struct node node;
	struct world w;
	unsigned modified;

	(void)state;
	modified = three_nics(&w, &node, &plain, ids);
	set_groups(&node, ids[0], "sg-0a2", NULL);
	list_only(&node);
	set_groups(&node, ids[1], "sg-0a1", NULL); /* as an old reading would show it */
	list_only(&node);
	assert_int_equal(calls(&w, "ModifyNetworkInterfaceAttribute"), modified + 1 + 2 + 1);
	pass(&node, 61);
	list_only(&node);
	assert_string_equal(groups_of(&node, ids[1]), " sg-0a2");
	done(&w, &node);
}

static void test_groups__configured_or_read_only__aws_40_20(void **state)
{
	static const struct cloud_config named = { .cluster = "kube", .group_count = 1, .groups = pods_group };
	static const struct cloud_config read_only = { .cluster = "kube", .access = CLOUD_ACCESS_READ };
	struct node node, reader;
	char ids[3][64];
	struct world w;
	unsigned modified;

	(void)state;
	modified = three_nics(&w, &node, &named, ids);
	set_groups(&node, ids[0], "sg-0a2", NULL);
	list_only(&node);
	assert_int_equal(calls(&w, "ModifyNetworkInterfaceAttribute"), modified + 1);
	open_node(&w, &reader, "n1", &read_only);
	list_only(&reader);
	assert_int_equal(calls(&w, "ModifyNetworkInterfaceAttribute"), modified + 1);
	assert_string_equal(groups_of(&node, ids[1]), " sg-0a3");
	cloud_free(reader.cloud);
	done(&w, &node);
}

static void test_groups__failure_is_no_matter_to_the_list__aws_40_20(void **state)
{
	char ids[3][64];
	struct node node;
	struct world w;
	unsigned modified;

	(void)state;
	modified = three_nics(&w, &node, &plain, ids);
	set_groups(&node, ids[0], "sg-0a2", NULL);
	deny(&w, "ModifyNetworkInterfaceAttribute", FAULT_FOREVER);
	for (unsigned i = 0; i < 3; i++) {
		list_only(&node);
		pass(&node, 60);
	}
	/* One try, and none in the lists that followed closely. */
	assert_int_equal(calls(&w, "ModifyNetworkInterfaceAttribute"), modified + 1 + 1);
	aws_mock_faults_clear(w.mock);
	pass(&node, 301);
	list_only(&node);
	assert_string_equal(groups_of(&node, ids[1]), " sg-0a2");
	assert_string_equal(groups_of(&node, ids[2]), " sg-0a2");
	done(&w, &node);
}

/* Calls that hang hold the list up for a few seconds in all, whatever its own deadline. */
static void test_groups__bounded__aws_40_20(void **state)
{
	char ids[3][64];
	struct node node;
	struct world w;
	int64_t began;

	(void)state;
	(void)three_nics(&w, &node, &plain, ids);
	set_groups(&node, ids[0], "sg-0a2", NULL);
	{
		struct fault hang = { .kind = FAULT_HANG, .count = FAULT_FOREVER, .ms = 15000 };

		(void)str_copy(hang.action, sizeof(hang.action), "ModifyNetworkInterfaceAttribute");
		assert_int_equal(aws_mock_fault(w.mock, &hang), 0);
	}
	began = clock_now(&clock_boot);
	list_only(&node);
	assert_in_range(clock_now(&clock_boot) - began, 1 * USEC_PER_SEC, 5 * USEC_PER_SEC);
	done(&w, &node);
}

/* ---- what an interface carries ---- */

static const json_t *nic_in(const json_t *all, const char *id)
{
	const json_t *item, *found = NULL;
	size_t i;

	json_array_foreach (json_object_get(all, "nics"), i, item) {
		if (str_equal(json_string_value(json_object_get(item, "id")), id))
			found = item;
	}
	assert_non_null(found);
	return found;
}

static void test_attach__tags_of_the_operator(void **state)
{
	static const struct cloud_tag tags[] = { { "team", "net" },
						 { "node.berth.io/instance_id", "i-evil" },
						 { "node.berth.io/no_manage", "true" } };
	static const struct cloud_config config = { .cluster = "kube", .tag_count = ARRAY_SIZE(tags), .tags = tags };
	struct cloud_view view;
	struct node node;
	struct world w;
	json_t *all, *has;
	char id[64];

	(void)state;
	one_node(&w, &node, tagged(), &config);
	(void)subnet_of_new(&node, "t1", 1, id);
	all = state_of(&w);
	has = json_object_get(nic_in(all, id), "tags");
	assert_string_equal(json_string_value(json_object_get(has, "team")), "net");
	assert_string_equal(json_string_value(json_object_get(has, "node.berth.io/instance_id")), INSTANCE);
	assert_string_equal(json_string_value(json_object_get(has, "node.berth.io/cluster")), "kube");
	assert_string_equal(json_string_value(json_object_get(has, "node.berth.io/token")), "t1");
	assert_null(json_object_get(has, "node.berth.io/no_manage"));
	json_decref(all);
	assert_int_equal(calls(&w, "CreateTags"), 0);
	list_of(&node, &view);
	assert_false(nic_at(&view, 1)->foreign);
	cloud_view_done(&view);
	done(&w, &node);
}

static void test_attach__card_0_and_dies_with_the_instance__aws_40_18(void **state)
{
	struct node node;
	struct world w;
	const json_t *nic;
	json_t *all;
	char id[64];

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	(void)subnet_of_new(&node, "t1", 2, id);
	all = state_of(&w);
	nic = nic_in(all, id);
	assert_int_equal(json_integer_value(json_object_get(nic, "device_index")), 2);
	assert_int_equal(json_integer_value(json_object_get(nic, "card")), 0);
	assert_true(json_is_true(json_object_get(nic, "delete_on_termination")));
	json_decref(all);
	done(&w, &node);
}

/* One that would outlive its instance is not used. */
static void test_attach__not_without_death__aws_40_18(void **state)
{
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	deny(&w, "ModifyNetworkInterfaceAttribute", FAULT_FOREVER);
	assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
	assert_int_equal(nic_count(&w), 2);
	done(&w, &node);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_list__foreign_counts_once__aws_40_17),
		check_unit_test(test_list__read_only_serves_what_is_there__aws_40_17),
		check_unit_test(test_detach__marked_since__aws_40_17),
		check_unit_test(test_groups__follow_the_primary__aws_40_20),
		check_unit_test(test_groups__not_again_by_a_stale_list__aws_40_20),
		check_unit_test(test_groups__configured_or_read_only__aws_40_20),
		check_unit_test(test_groups__failure_is_no_matter_to_the_list__aws_40_20),
		check_unit_test(test_groups__bounded__aws_40_20),
		check_unit_test(test_attach__tags_of_the_operator),
		check_unit_test(test_attach__card_0_and_dies_with_the_instance__aws_40_18),
		check_unit_test(test_attach__not_without_death__aws_40_18),
	};

	return cmocka_run_group_tests_name("aws_groups", tests, NULL, NULL);
}
