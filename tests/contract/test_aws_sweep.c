/* SPDX-License-Identifier: Apache-2.0 */
/* The AWS provider against the mock: what instances that are gone left behind. */
#include "tests/contract/aws_nodes.h"

/* ---- leftovers of others ---- */

/* n2 dies between Create and Attach, @age_s seconds ago. */
static void leave_one(struct world *w, const struct cloud_config *config, int64_t age_s, const char *token)
{
	struct cloud_nic nic;
	struct node dying;

	open_node(w, &dying, "n2", config);
	dying.wall_shift_us = -age_s * USEC_PER_SEC;
	fault(w, "AttachNetworkInterface", FAULT_ERROR, FAULT_FOREVER, "UnauthorizedOperation", "no");
	fault(w, "DeleteNetworkInterface", FAULT_ERROR, FAULT_FOREVER, "UnauthorizedOperation", "no");
	assert_int_equal(try_attach(&dying, token, 1, 0, &nic), -1);
	aws_mock_faults_clear(w->mock);
	cloud_free(dying.cloud);
}

static unsigned sweep_of(struct node *node)
{
	unsigned n = 99;

	if (node->cloud->ops->sweep(node->cloud, until(node), &n, &node->w->err) < 0)
		fail_msg("sweep: %s", node->w->err.msg);
	return n;
}

/* The second one of a node that knows its subnet and holds all of it: it draws, and wins. */
static unsigned sweep_with_luck(struct node *node)
{
	list_only(node);
	assert_int_equal(sweep_of(node), 0);
	pass(node, 3601);
	return sweep_of(node);
}

/* Of the next period. */
static unsigned sweep_again(struct node *node)
{
	pass(node, 3600 * 6 / 5 + 1);
	list_only(node);
	return sweep_of(node);
}

/* The instance is full, as only EC2 knew: what was just made is deleted by the attach itself, not left to a sweep. */
static void test_attach__limit_leaves_nothing__aws_40_10(void **state)
{
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	fault(&w, "AttachNetworkInterface", FAULT_ERROR, FAULT_FOREVER, "AttachmentLimitExceeded",
	      "Interface count 9 exceeds the limit for m5.4xlarge");
	for (unsigned i = 1; i <= 2; i++) {
		assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
		assert_int_equal(w.err.class, ERR_EXHAUSTED);
		assert_int_equal(nic_count(&w), 2);
		assert_int_equal(calls(&w, "CreateNetworkInterface"), i);
		assert_int_equal(calls(&w, "DeleteNetworkInterface"), i);
	}
	assert_int_equal(sweep_of(&node), 0);
	done(&w, &node);
}

static void test_sweep__of_dead_instances__aws_40_1(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	start_two(&w, many("", "", "", ""));
	leave_one(&w, &plain, 2 * 3600, "old");
	assert_int_equal(nic_count(&w), 3);
	open_node(&w, &node, "n1", &plain);
	assert_int_equal(sweep_with_luck(&node), 1);
	assert_int_equal(nic_count(&w), 2);
	assert_int_equal(sweep_again(&node), 0);
	done(&w, &node);
}

static void test_sweep__nothing_young__aws_40_2__rule_13(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	start_two(&w, many("", "", "", ""));
	leave_one(&w, &plain, 3600 - 60, "young");
	leave_one(&w, &plain, -3600, "from the future");
	open_node(&w, &node, "n1", &plain);
	assert_int_equal(sweep_with_luck(&node), 0);
	assert_int_equal(calls(&w, "DeleteNetworkInterface"), 2); /* n2's own, which were refused */
	/* Their time comes. */
	node.wall_shift_us = 3 * 3600 * USEC_PER_SEC;
	assert_int_equal(sweep_again(&node), 2);
	done(&w, &node);
}

/* The one that hangs on nothing. */
static void id_of_leftover(struct world *w, char ret[static 64])
{
	json_t *all = state_of(w), *item;
	size_t i;

	ret[0] = '\0';
	json_array_foreach (json_object_get(all, "nics"), i, item) {
		if (str_equal(json_string_value(json_object_get(item, "status")), "available"))
			(void)str_copy(ret, 64, json_string_value(json_object_get(item, "id")));
	}
	json_decref(all);
	assert_true(ret[0]);
}

static void test_sweep__nothing_without_a_stamp__aws_40_2(void **state)
{
	struct node node;
	struct world w;
	char id[64];

	(void)state;
	start_two(&w, many("", "", "", ""));
	leave_one(&w, &plain, 2 * 3600, "old");
	open_node(&w, &node, "n1", &plain);
	id_of_leftover(&w, id);
	tag(&node, id, "node.berth.io/created_at", "long ago");
	assert_int_equal(sweep_with_luck(&node), 0);
	assert_int_equal(nic_count(&w), 3);
	done(&w, &node);
}

/* Somebody wants to look at it, or keeps its address. */
static void test_sweep__nothing_that_is_marked__aws_40_17(void **state)
{
	struct node node;
	struct world w;
	char id[64];

	(void)state;
	start_two(&w, many("", "", "", ""));
	leave_one(&w, &plain, 2 * 3600, "old");
	open_node(&w, &node, "n1", &plain);
	id_of_leftover(&w, id);
	tag(&node, id, "node.berth.io/no_manage", "true");
	assert_int_equal(sweep_with_luck(&node), 0);
	assert_int_equal(nic_count(&w), 3);
	/* Not by its own node either. */
	tag(&node, id, "node.berth.io/instance_id", INSTANCE);
	assert_int_equal(sweep_of(&node), 0);
	assert_int_equal(nic_count(&w), 3);
	tag(&node, id, "node.berth.io/no_manage", "false");
	assert_int_equal(sweep_of(&node), 1);
	done(&w, &node);
}

/* The list said "available"; EC2 knows better by now. It is neither an error nor waited for. */
static void test_sweep__attached_meanwhile__aws_40_2__rule_13(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	start_two(&w, many("", "", "", ""));
	leave_one(&w, &plain, 2 * 3600, "old");
	open_node(&w, &node, "n1", &plain);
	fault(&w, "DeleteNetworkInterface", FAULT_ERROR, 1, "InvalidParameterValue",
	      "Network interface 'eni-0' is currently in use.");
	assert_int_equal(sweep_with_luck(&node), 0);
	assert_int_equal(nic_count(&w), 3);
	assert_int_equal(calls(&w, "DeleteNetworkInterface"), 2);
	done(&w, &node);
}

/* A NIC on an instance is nobody's leftover, however old. */
static void test_sweep__nothing_that_is_attached__aws_40_2(void **state)
{
	struct node node, other;
	struct world w;

	(void)state;
	start_two(&w, many("", "", "", ""));
	open_node(&w, &other, "n2", &plain);
	other.wall_shift_us = -5 * 3600 * USEC_PER_SEC;
	(void)subnet_of_new(&other, "t1", 1, NULL);
	open_node(&w, &node, "n1", &plain);
	assert_int_equal(sweep_with_luck(&node), 0);
	assert_int_equal(nic_count(&w), 3);
	assert_int_equal(calls(&w, "DeleteNetworkInterface"), 0);
	cloud_free(other.cloud);
	done(&w, &node);
}

static void test_sweep__of_this_cluster_only__aws_40_3(void **state)
{
	static const struct cloud_config other = { .cluster = "other" }, nameless = { .cluster = "" };
	struct node node;
	struct world w;
	unsigned asked;

	(void)state;
	start_two(&w, many("", "", "", ""));
	leave_one(&w, &other, 2 * 3600, "other");
	leave_one(&w, &nameless, 2 * 3600, "nameless");
	open_node(&w, &node, "n1", &plain);
	assert_int_equal(sweep_with_luck(&node), 0);
	assert_int_equal(nic_count(&w), 4);
	cloud_free(node.cloud);
	open_node(&w, &node, "n1", &nameless);
	asked = calls(&w, "DescribeNetworkInterfaces");
	assert_int_equal(sweep_with_luck(&node), 0);
	assert_int_equal(nic_count(&w), 4);
	/* A list and two sweeps of this instance; nothing to ask of a cluster that has no name. */
	assert_int_equal(calls(&w, "DescribeNetworkInterfaces"), asked + 3);
	done(&w, &node);
}

/* However often a sweep is asked for, the cluster is listed once a period at most. */
static void test_sweep__one_draw_a_period__aws_40_3(void **state)
{
	struct node node;
	struct world w;
	unsigned before;

	(void)state;
	start_two(&w, many("", "", "", ""));
	open_node(&w, &node, "n1", &plain);
	/* Not at once: a daemon that starts again and again would list the cluster each time. */
	list_only(&node);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(sweep_of(&node), 0);
	assert_int_equal(calls(&w, "DescribeNetworkInterfaces"), 1 + 3);
	assert_int_equal(sweep_with_luck(&node), 0);
	before = calls(&w, "DescribeNetworkInterfaces");
	for (unsigned i = 0; i < 9; i++) {
		pass(&node, 300);
		assert_int_equal(sweep_of(&node), 0);
	}
	assert_int_equal(calls(&w, "DescribeNetworkInterfaces"), before + 9); /* those of this instance */
	pass(&node, 3600 * 6 / 5 - 9 * 300 + 1);
	list_only(&node);
	assert_int_equal(sweep_of(&node), 0);
	assert_int_equal(calls(&w, "DescribeNetworkInterfaces"), before + 9 + 1 + 2);
	done(&w, &node);
}

/* Many at once: a part in each period, so that one node's changes are not used up. */
static void test_sweep__a_part_at_a_time(void **state)
{
	struct node node;
	struct world w;
	unsigned first;

	(void)state;
	start_two(&w, many("", "", "", ",\"throttle\":{\"enabled\":false}"));
	for (unsigned i = 0; i < 23; i++) {
		char token[16];

		(void)snprintf(token, sizeof(token), "old%u", i);
		leave_one(&w, &plain, 2 * 3600, token);
	}
	open_node(&w, &node, "n1", &plain);
	first = sweep_with_luck(&node);
	assert_int_equal(first, 20);
	assert_int_equal(sweep_again(&node), 3);
	assert_int_equal(nic_count(&w), 2);
	done(&w, &node);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_attach__limit_leaves_nothing__aws_40_10),
		check_unit_test(test_sweep__of_dead_instances__aws_40_1),
		check_unit_test(test_sweep__nothing_young__aws_40_2__rule_13),
		check_unit_test(test_sweep__nothing_without_a_stamp__aws_40_2),
		check_unit_test(test_sweep__nothing_that_is_marked__aws_40_17),
		check_unit_test(test_sweep__attached_meanwhile__aws_40_2__rule_13),
		check_unit_test(test_sweep__nothing_that_is_attached__aws_40_2),
		check_unit_test(test_sweep__of_this_cluster_only__aws_40_3),
		check_unit_test(test_sweep__one_draw_a_period__aws_40_3),
		check_unit_test(test_sweep__a_part_at_a_time),
	};

	return cmocka_run_group_tests_name("aws_sweep", tests, NULL, NULL);
}
