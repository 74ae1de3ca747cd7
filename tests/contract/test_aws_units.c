/* SPDX-License-Identifier: Apache-2.0 */
/* The AWS provider against the mock: prefixes and IPv6. */
#include "ipamd/planner.h"
#include "ipamd/pool.h"
#include "tests/contract/aws_units.h"

static const struct served v4_only = { .v4 = true }, v4_prefixes = { .v4 = true, .prefixes = true },
			   v6_only = { .v6 = true }, dual = { .v4 = true, .v6 = true },
			   dual_prefixes = { .v4 = true, .v6 = true, .prefixes = true };
static const struct cloud_want none = { 0, 0 };

/* ---- limits ---- */

static void test_limits__units_of_the_type(void **state)
{
	static const struct {
		const char *type;
		const struct served *served;
		struct cloud_units v4, v6;
	} rows[] = {
		{ "m5.large", &v4_only, { 9, 32, 32 }, { 0 } },
		{ "m5.large", &v4_prefixes, { 9, 28, 32 }, { 0 } },
		{ "m5.metal", &v4_prefixes, { 49, 28, 32 }, { 0 } },
		{ "m4.large", &v4_prefixes, { 9, 32, 32 }, { 0 } },
		{ "m5.large", &dual, { 9, 32, 32 }, { 1, 80, 80 } },
		{ "m5.large", &dual_prefixes, { 9, 28, 32 }, { 1, 80, 80 } },
		{ "m5.large", &v6_only, { 0 }, { 1, 80, 80 } },
		{ "m4.large", &dual_prefixes, { 9, 32, 32 }, { 9, 128, 128 } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cloud_limits limits;
		struct world w;
		char seed[2048];

		(void)snprintf(seed, sizeof(seed), SEED6("10.0.1.0/24", HAS6, "%s", ""), rows[i].type);
		start_as(&w, seed, *rows[i].served);
		assert_int_equal(w.cloud->ops->limits(w.cloud, in_seconds(20), &limits, &w.err), 0);
		assert_true(limits.can_attach_nic);
		for (unsigned f = 0; f < IP_FAMILIES; f++) {
			const struct cloud_units *units = f ? &rows[i].v6 : &rows[i].v4;

			assert_int_equal(limits.units[f].per_nic_max, units->per_nic_max);
			assert_int_equal(limits.units[f].len, units->len);
			assert_int_equal(limits.units[f].single_len, units->single_len);
		}
		assert_int_equal(calls(&w, "DescribeInstanceTypes"), 0);
		end(&w);
	}
}

/* Without an address of its own, as many are for pods as the type allows. */
static void test_limits__no_own_ipv6_address(void **state)
{
	struct cloud_limits limits;
	struct world w;

	(void)state;
	start_as(&w, SEED6("10.0.1.0/24", "", "m4.large", ""), dual);
	assert_int_equal(w.cloud->ops->limits(w.cloud, in_seconds(20), &limits, &w.err), 0);
	assert_int_equal(limits.units[1].per_nic_max, 10);
	end(&w);
}

static void test_identify__ranges_of_both_families(void **state)
{
	char text[PREFIX_STRLEN];
	struct world w;

	(void)state;
	start_as(&w, DUAL, dual);
	assert_int_equal(w.self.vpc_prefix_count, 2);
	assert_string_equal(prefix_str(&w.self.vpc_prefixes[0], text), "10.0.0.0/16");
	assert_string_equal(prefix_str(&w.self.vpc_prefixes[1], text), "2600:1f14:aa:bb00::/56");
	end(&w);
}

/* ---- assign ---- */

/* What the planner asks for is what is asked of EC2. */
static void test_assign__first_16_pods_cost_one_mutation(void **state)
{
	struct pool *pool = pool_new(30 * USEC_PER_SEC, POOL_SERVES_V4);
	struct plan *plan = calloc(1, sizeof(*plan));
	struct plan_input input = { .pool = pool, .waiting = 16, .now_us = 1, .targets = { .max_pods = 110 } };
	struct cloud_view view;
	struct cloud_nic got;
	struct world w;

	(void)state;
	start_as(&w, DUAL, v4_prefixes);
	list(&w, &view);
	assert_non_null(pool_nic_add(pool, nic_at(&view, 0), 0));
	cloud_view_done(&view);
	pool_nic_set_state(pool, 0, NIC_READY, 0);
	assert_int_equal(w.cloud->ops->limits(w.cloud, in_seconds(20), &input.limits, &w.err), 0);
	planner_decide(&input, plan);
	assert_int_equal(plan->action_count, 1);
	assert_int_equal(plan->actions[0].kind, PLAN_ASSIGN);
	assigned(&w, w.self.nic, plan->actions[0].wants[0], plan->actions[0].wants[1], &got);
	assert_int_equal(got.block_count, 1);
	assert_int_equal(prefix_size(&got.blocks[0].prefix), 16);
	assert_int_equal(mutations(&w), 1);
	cloud_nic_done(&got);
	free(plan);
	pool_free(pool);
	end(&w);
}

static void test_assign__both_families(void **state)
{
	struct cloud_view view;
	struct cloud_nic got;
	struct world w;

	(void)state;
	start_as(&w, DUAL, dual_prefixes);
	assigned(&w, w.self.nic, (struct cloud_want){ 2, 28 }, (struct cloud_want){ 1, 80 }, &got);
	assert_string_equal(got.id, w.self.nic);
	assert_int_equal(got.block_count, 3);
	assert_int_equal(blocks_of(&got, 28), 2);
	assert_int_equal(blocks_of(&got, 80), 1);
	assert_int_equal(mutations(&w), 2);
	list(&w, &view);
	assert_int_equal(nic_at(&view, 0)->block_count, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(prefix_cmp(&nic_at(&view, 0)->blocks[i].prefix, &got.blocks[i].prefix), 0);
	cloud_view_done(&view);
	cloud_nic_done(&got);
	end(&w);
}

static void test_assign__ipv6_alone(void **state)
{
	struct cloud_nic got;
	struct world w;

	(void)state;
	start_as(&w, DUAL, v6_only);
	assigned(&w, w.self.nic, none, (struct cloud_want){ 1, 80 }, &got);
	assert_int_equal(blocks_of(&got, 80), 1);
	assert_int_equal(calls(&w, "AssignPrivateIpAddresses"), 0);
	assert_int_equal(calls(&w, "AssignIpv6Addresses"), 1);
	cloud_nic_done(&got);
	end(&w);
}

/* Whatever way EC2 says that there is none, it is EXHAUSTED: single addresses are to be had at once. */
static void test_assign__no_free_prefix__aws_40_12(void **state)
{
	static const struct {
		const char *code, *message;
	} rows[] = {
		{ "", "" }, /* the mock's own words */
		{ "InsufficientCidrBlocks",
		  "The specified subnet does not have enough free cidr blocks to satisfy the request." },
		{ "InvalidParameterValue", "There aren't sufficient free Ipv4 addresses or prefixes" },
		{ "InsufficientFreeAddressesInSubnet",
		  "The specified subnet does not have enough free addresses to satisfy the request." },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cloud_nic got;
		struct world w;

		start_as(&w, FRAGMENTED, dual_prefixes);
		if (rows[i].code[0])
			fault(&w, "AssignPrivateIpAddresses", FAULT_ERROR, 3, rows[i].code, rows[i].message);
		assert_int_equal(assign_units(&w, w.self.nic, (struct cloud_want){ 4, 28 },
					      (struct cloud_want){ 1, 80 }, &got),
				 -1);
		assert_int_equal(w.err.class, ERR_EXHAUSTED);
		/* All, half, one; the other family is for the next call. */
		assert_int_equal(calls(&w, "AssignPrivateIpAddresses"), 3);
		assert_int_equal(calls(&w, "AssignIpv6Addresses"), 0);
		assigned(&w, w.self.nic, (struct cloud_want){ 8, 32 }, (struct cloud_want){ 1, 80 }, &got);
		assert_int_equal(blocks_of(&got, 32), 8);
		assert_int_equal(blocks_of(&got, 80), 1);
		cloud_nic_done(&got);
		end(&w);
	}
}

static void test_assign__fewer_prefixes__aws_40_12(void **state)
{
	struct cloud_nic got;
	struct world w;

	(void)state;
	/* 250 addresses are free, in 13 or 14 free prefixes. */
	start_as(&w, SEED6("10.0.1.0/24", "", "m5.24xlarge", ""), v4_prefixes);
	assigned(&w, w.self.nic, (struct cloud_want){ 24, 28 }, none, &got);
	assert_int_equal(blocks_of(&got, 28), 12);
	assert_int_equal(calls(&w, "AssignPrivateIpAddresses"), 2);
	cloud_nic_done(&got);
	end(&w);
}

/* What came before the other part failed is a success; not if nobody knows how that ended. */
static void test_assign__second_family_fails(void **state)
{
	static const struct {
		const char *code;
		enum fault_kind kind;
		bool is_success;
	} rows[] = {
		{ "UnauthorizedOperation", FAULT_ERROR, true },
		{ "InsufficientFreeAddressesInSubnet", FAULT_ERROR, true },
		{ "", FAULT_LOST_ANSWER, false },
		{ "", FAULT_HALF, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cloud_nic got;
		struct world w;
		int rc;

		start_as(&w, DUAL, dual_prefixes);
		fault(&w, "AssignIpv6Addresses", rows[i].kind, FAULT_FOREVER, rows[i].code, "no");
		rc = assign_units(&w, w.self.nic, (struct cloud_want){ 1, 28 }, (struct cloud_want){ 1, 80 }, &got);
		assert_int_equal(rc, rows[i].is_success ? 0 : -1);
		assert_int_equal(calls(&w, "AssignIpv6Addresses"), 1);
		if (rows[i].is_success)
			assert_int_equal(blocks_of(&got, 28), 1);
		else
			assert_int_equal(w.err.class, ERR_AMBIGUOUS);
		cloud_nic_done(&got);
		end(&w);
	}
}

static void test_assign__ipv6_in_a_subnet_without(void **state)
{
	struct cloud_nic got;
	struct world w;

	(void)state;
	start_as(&w, SEED6("10.0.1.0/24", "", "m5.large", ""), dual);
	assert_int_equal(assign_units(&w, w.self.nic, none, (struct cloud_want){ 1, 80 }, &got), -1);
	assert_int_equal(w.err.class, ERR_INVALID);
	if (!strstr(w.err.msg, "subnet " SUBNET " has no IPv6 range"))
		fail_msg("%s", w.err.msg);
	end(&w);
}

static void test_assign__what_is_no_unit(void **state)
{
	static const struct cloud_want rows[][IP_FAMILIES] = {
		{ { 1, 24 }, { 0, 0 } }, { { 1, 80 }, { 0, 0 } },   { { 0, 0 }, { 1, 64 } },
		{ { 0, 0 }, { 1, 32 } }, { { 999, 32 }, { 0, 0 } }, { { 0, 32 }, { 0, 80 } },
	};
	struct world w;

	(void)state;
	start_as(&w, DUAL, dual_prefixes);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cloud_nic got;

		assert_int_equal(assign_units(&w, w.self.nic, rows[i][0], rows[i][1], &got), -1);
		assert_int_equal(w.err.class, ERR_BUG);
	}
	assert_int_equal(mutations(&w), 0);
	end(&w);
}

/* ---- attach ---- */

static void test_attach__first_units_of_both_families(void **state)
{
	char text[PREFIX_STRLEN];
	struct cloud_nic nic;
	struct world w;

	(void)state;
	start_as(&w, DUAL, dual_prefixes);
	if (attach_units(&w, "t1", (struct cloud_want){ 3, 28 }, (struct cloud_want){ 1, 80 }, &nic) < 0)
		fail_msg("%s", w.err.msg);
	assert_int_equal(nic.block_count, 4);
	assert_int_equal(blocks_of(&nic, 28), 3);
	assert_int_equal(blocks_of(&nic, 80), 1);
	assert_string_equal(prefix_str(&nic.subnet6, text), RANGE6);
	assert_string_equal(ipaddr_str(&nic.gateway6, text), GATEWAY);
	/* Create, Attach, Modify. */
	assert_int_equal(mutations(&w), 3);
	cloud_nic_done(&nic);
	end(&w);
}

/* A NIC is had with whatever comes, in the end with the range alone. */
static void test_attach__no_free_prefix__aws_40_12(void **state)
{
	struct cloud_nic nic;
	struct world w;

	(void)state;
	start_as(&w, FRAGMENTED, dual_prefixes);
	if (attach_units(&w, "t1", (struct cloud_want){ 4, 28 }, (struct cloud_want){ 1, 80 }, &nic) < 0)
		fail_msg("%s", w.err.msg);
	assert_int_equal(nic.block_count, 1);
	assert_int_equal(blocks_of(&nic, 80), 1);
	assert_int_equal(calls(&w, "CreateNetworkInterface"), 4);
	assert_int_equal(nic_count(&w), 2);
	cloud_nic_done(&nic);
	end(&w);
}

static void test_attach__ipv6_in_a_subnet_without(void **state)
{
	struct cloud_nic nic;
	struct world w;

	(void)state;
	start_as(&w, SEED6("10.0.1.0/24", "", "m5.large", ""), dual);
	assert_int_equal(attach_units(&w, "t1", none, (struct cloud_want){ 1, 80 }, &nic), -1);
	assert_int_equal(w.err.class, ERR_INVALID);
	assert_non_null(strstr(w.err.msg, "subnet " SUBNET " has no IPv6 range"));
	assert_int_equal(calls(&w, "CreateNetworkInterface"), 0);
	assert_int_equal(attach_units(&w, "t2", (struct cloud_want){ 2, 32 }, (struct cloud_want){ 1, 80 }, &nic), -1);
	assert_int_equal(w.err.class, ERR_INVALID);
	assert_int_equal(nic_count(&w), 1);
	end(&w);
}

/* A NIC that has no IPv6 to give is of no use to pods that get both: none is to wait for what it holds. */
static void test_list__nic_without_ipv6_is_closed(void **state)
{
	struct cloud_view view;
	struct world w;

	(void)state;
	start_as(&w, SEED6("10.0.1.0/24", "", "m5.large", ""), dual);
	list(&w, &view);
	assert_true(nic_at(&view, 0)->closed);
	cloud_view_done(&view);
	end(&w);
	start_as(&w, SEED6("10.0.1.0/24", HAS6, "m5.large", ""), dual);
	list(&w, &view);
	assert_false(nic_at(&view, 0)->closed);
	cloud_view_done(&view);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_limits__units_of_the_type),
		check_unit_test(test_limits__no_own_ipv6_address),
		check_unit_test(test_identify__ranges_of_both_families),
		check_unit_test(test_assign__first_16_pods_cost_one_mutation),
		check_unit_test(test_assign__both_families),
		check_unit_test(test_assign__ipv6_alone),
		check_unit_test(test_assign__no_free_prefix__aws_40_12),
		check_unit_test(test_assign__fewer_prefixes__aws_40_12),
		check_unit_test(test_assign__second_family_fails),
		check_unit_test(test_assign__ipv6_in_a_subnet_without),
		check_unit_test(test_assign__what_is_no_unit),
		check_unit_test(test_attach__first_units_of_both_families),
		check_unit_test(test_attach__no_free_prefix__aws_40_12),
		check_unit_test(test_attach__ipv6_in_a_subnet_without),
		check_unit_test(test_list__nic_without_ipv6_is_closed),
	};

	return cmocka_run_group_tests_name("aws_units", tests, NULL, NULL);
}
