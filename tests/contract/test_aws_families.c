/* SPDX-License-Identifier: Apache-2.0 */
/* The AWS provider against the mock: both families as they are shown, given back and taken back. */
#include "tests/contract/aws_units.h"

static const struct served v4_only = { .v4 = true }, v6_only = { .v6 = true }, dual = { .v4 = true, .v6 = true },
			   dual_prefixes = { .v4 = true, .v6 = true, .prefixes = true };
static const struct cloud_want none = { 0, 0 };

static bool has(const struct cloud_nic *nic, const struct prefix *block)
{
	for (unsigned i = 0; i < nic->block_count; i++)
		if (prefix_cmp(&nic->blocks[i].prefix, block) == 0)
			return true;
	return false;
}

/* Two prefixes, an address and a range on the primary NIC. */
static void buy_all_kinds(struct world *w, struct prefix ret[static 4])
{
	struct cloud_nic got;

	assigned(w, w->self.nic, (struct cloud_want){ 2, 28 }, (struct cloud_want){ 1, 80 }, &got);
	for (unsigned i = 0; i < 3; i++)
		ret[i] = got.blocks[i].prefix;
	cloud_nic_done(&got);
	assigned(w, w->self.nic, (struct cloud_want){ 1, 32 }, none, &got);
	ret[3] = got.blocks[0].prefix;
	cloud_nic_done(&got);
}

/* ---- list, glance ---- */

static void assert_same(const struct cloud_nic *a, const struct cloud_nic *b)
{
	assert_string_equal(a->id, b->id);
	assert_int_equal(a->block_count, b->block_count);
	for (unsigned i = 0; i < a->block_count; i++)
		assert_true(has(b, &a->blocks[i].prefix));
}

/* What metadata shows is what EC2 shows: a lasting difference would be looked into each minute. */
static void test_glance__agrees_with_the_list(void **state)
{
	static const char *const seeds[] = { DUAL, SEED6("10.0.1.0/24", HAS6, "m4.large", "") };
	static const struct served *const modes[] = { &v4_only, &dual, &dual_prefixes, &v6_only };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(seeds) * ARRAY_SIZE(modes); i++) {
		bool nitro = i / ARRAY_SIZE(modes) == 0;
		struct cloud_view seen, view = { 0 };
		struct cloud_nic got;
		struct world w;

		start_as(&w, seeds[i / ARRAY_SIZE(modes)], *modes[i % ARRAY_SIZE(modes)]);
		assigned(&w, w.self.nic, nitro ? (struct cloud_want){ 2, 28 } : (struct cloud_want){ 2, 32 },
			 nitro ? (struct cloud_want){ 1, 80 } : (struct cloud_want){ 2, 128 }, &got);
		list(&w, &view);
		assert_int_equal(w.cloud->ops->glance(w.cloud, in_seconds(20), &seen, &w.err), 0);
		assert_int_equal(seen.nic_count, 1);
		assert_same(&seen.nics[0], nic_at(&view, 0));
		assert_same(&got, nic_at(&view, 0));
		cloud_view_done(&view);
		cloud_view_done(&seen);
		cloud_nic_done(&got);
		end(&w);
	}
}

static void test_list__ipv6_side(void **state)
{
	char text[PREFIX_STRLEN];
	const struct cloud_nic *nic;
	struct cloud_view view;
	struct cloud_nic made;
	struct world w;

	(void)state;
	start_as(&w, DUAL, dual);
	assert_int_equal(attach_units(&w, "t1", (struct cloud_want){ 1, 32 }, (struct cloud_want){ 1, 80 }, &made), 0);
	list(&w, &view);
	nic = nic_at(&view, 0);
	/* The primary's own address came with the instance, and is no block. */
	assert_int_equal(nic->primary_addr6.family, IP_V6);
	assert_int_equal(nic->block_count, 0);
	assert_string_equal(prefix_str(&nic->subnet6, text), RANGE6);
	assert_string_equal(ipaddr_str(&nic->gateway6, text), GATEWAY);
	nic = nic_at(&view, 1);
	assert_int_equal(nic->primary_addr6.family, IP_NONE);
	assert_int_equal(nic->block_count, 2);
	assert_string_equal(ipaddr_str(&nic->gateway6, text), GATEWAY);
	assert_int_equal(calls(&w, "DescribeSubnets"), 0);
	cloud_view_done(&view);
	cloud_nic_done(&made);
	end(&w);
}

/* Where pods get no IPv6 nothing of it is told; what is left of it from before still is. */
static void test_list__families_that_are_not_served(void **state)
{
	struct cloud_view view;
	struct cloud_nic got;
	struct world w;

	(void)state;
	start_as(&w, DUAL, v4_only);
	list(&w, &view);
	assert_int_equal(nic_at(&view, 0)->primary_addr6.family, IP_NONE);
	assert_int_equal(nic_at(&view, 0)->gateway6.family, IP_NONE);
	assert_int_equal(nic_at(&view, 0)->block_count, 0);
	cloud_view_done(&view);
	restart_as(&w, dual);
	assigned(&w, w.self.nic, (struct cloud_want){ 1, 32 }, (struct cloud_want){ 1, 80 }, &got);
	cloud_nic_done(&got);
	restart_as(&w, v4_only);
	list(&w, &view);
	assert_int_equal(blocks_of(nic_at(&view, 0), 80), 1);
	assert_int_equal(nic_at(&view, 0)->gateway6.family, IP_V6);
	cloud_view_done(&view);
	restart_as(&w, v6_only);
	list(&w, &view);
	assert_int_equal(blocks_of(nic_at(&view, 0), 32), 1);
	assert_int_equal(blocks_of(nic_at(&view, 0), 80), 1);
	cloud_view_done(&view);
	end(&w);
}

/* The node's own address of a family that pods get none of, by the API as by metadata, and nothing else of it. */
static void test_list__own_ipv6_of_a_node_whose_pods_get_none(void **state)
{
	static const struct served modes[] = { { .v4 = true, .own6 = true },
					       { .v4 = true, .own6 = true, .access = CLOUD_ACCESS_METADATA } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct cloud_view view;
		struct world w;

		start_as(&w, DUAL, modes[i]);
		list(&w, &view);
		assert_int_equal(nic_at(&view, 0)->primary_addr6.family, IP_V6);
		assert_int_equal(nic_at(&view, 0)->gateway6.family, IP_NONE);
		assert_int_equal(nic_at(&view, 0)->subnet6.addr.family, IP_NONE);
		assert_int_equal(nic_at(&view, 0)->block_count, 0);
		cloud_view_done(&view);
		end(&w);
	}
}

/* Units of the other mode stay, in either direction, and can be given back. */
static void test_list__units_of_the_other_mode(void **state)
{
	struct cloud_view view;
	struct prefix blocks[4];
	struct world w;

	(void)state;
	start_as(&w, DUAL, dual_prefixes);
	buy_all_kinds(&w, blocks);
	for (unsigned i = 0; i < 2; i++) {
		restart_as(&w, i ? dual_prefixes : dual);
		list(&w, &view);
		assert_int_equal(nic_at(&view, 0)->block_count, 4);
		for (unsigned b = 0; b < 4; b++)
			assert_true(has(nic_at(&view, 0), &blocks[b]));
		cloud_view_done(&view);
	}
	end(&w);
}

/* An older type has single addresses: those are blocks, but for the one that the node had before. */
static void test_list__single_ipv6_addresses(void **state)
{
	struct cloud_view view;
	struct cloud_nic got;
	struct ipaddr own;
	struct world w;

	(void)state;
	start_as(&w, SEED6("10.0.1.0/24", HAS6, "m4.large", ""), dual);
	list(&w, &view);
	own = nic_at(&view, 0)->primary_addr6;
	assert_int_equal(own.family, IP_V6);
	assert_int_equal(nic_at(&view, 0)->block_count, 0);
	cloud_view_done(&view);
	assigned(&w, w.self.nic, none, (struct cloud_want){ 3, 128 }, &got);
	restart_as(&w, dual);
	list(&w, &view);
	assert_true(ipaddr_equal(&nic_at(&view, 0)->primary_addr6, &own));
	assert_same(&got, nic_at(&view, 0));
	cloud_view_done(&view);
	cloud_nic_done(&got);
	end(&w);
}

/* Where ranges are bought, single addresses are the node's: nobody bought them for pods, nobody gives them away. */
static void test_list__single_ipv6_addresses_beside_ranges(void **state)
{
	struct cloud_view view;
	struct cloud_nic got;
	struct world w;

	(void)state;
	start_as(&w, DUAL, dual);
	assigned(&w, w.self.nic, none, (struct cloud_want){ 2, 128 }, &got);
	cloud_nic_done(&got);
	list(&w, &view);
	assert_int_equal(nic_at(&view, 0)->block_count, 0);
	assert_int_equal(nic_at(&view, 0)->primary_addr6.family, IP_V6);
	cloud_view_done(&view);
	end(&w);
}

/* ---- release ---- */

static int release(struct world *w, const struct prefix *blocks, unsigned count)
{
	memset(&w->err, 0, sizeof(w->err));
	return w->cloud->ops->release(w->cloud, w->self.nic, blocks, count, in_seconds(20), &w->err);
}

static void assert_left(struct world *w, unsigned count)
{
	struct cloud_view view;

	list(w, &view);
	assert_int_equal(nic_at(&view, 0)->block_count, count);
	cloud_view_done(&view);
}

static void test_release__all_kinds_at_once(void **state)
{
	struct prefix blocks[4];
	struct world w;

	(void)state;
	start_as(&w, DUAL, dual_prefixes);
	buy_all_kinds(&w, blocks);
	assert_int_equal(release(&w, blocks, 4), 0);
	assert_int_equal(calls(&w, "UnassignPrivateIpAddresses"), 1);
	assert_int_equal(calls(&w, "UnassignIpv6Addresses"), 1);
	assert_left(&w, 0);
	/* None of them is there any more. */
	assert_int_equal(release(&w, blocks, 4), 0);
	end(&w);
}

static void test_release__some_are_gone(void **state)
{
	struct prefix blocks[4];
	struct world w;

	(void)state;
	start_as(&w, DUAL, dual_prefixes);
	buy_all_kinds(&w, blocks);
	assert_int_equal(release(&w, blocks, 1), 0);
	assert_int_equal(release(&w, blocks, 4), 0);
	assert_left(&w, 0);
	end(&w);
}

/* One family is gone, the other may be there or not: nobody may take all for kept. */
static void test_release__second_family_fails(void **state)
{
	struct prefix blocks[4];
	struct world w;

	(void)state;
	start_as(&w, DUAL, dual_prefixes);
	buy_all_kinds(&w, blocks);
	fault(&w, "UnassignIpv6Addresses", FAULT_ERROR, FAULT_FOREVER, "UnauthorizedOperation", "no");
	assert_int_equal(release(&w, blocks, 4), -1);
	assert_int_equal(w.err.class, ERR_CONFLICT);
	assert_left(&w, 1);
	/* With nothing else, it is what it is. */
	assert_int_equal(release(&w, blocks + 2, 1), -1);
	assert_int_equal(w.err.class, ERR_AUTH);
	end(&w);
}

/* Of two that were to go one went already, and the other cannot: they are not both kept. */
static void test_release__gone_and_refused(void **state)
{
	struct prefix blocks[4];
	struct world w;

	(void)state;
	start_as(&w, DUAL, dual_prefixes);
	buy_all_kinds(&w, blocks);
	assert_int_equal(release(&w, blocks, 1), 0);
	fault(&w, "UnassignPrivateIpAddresses", FAULT_ERROR, 1, "InvalidParameterValue", "Some are not assigned");
	fault(&w, "UnassignPrivateIpAddresses", FAULT_ERROR, FAULT_FOREVER, "UnauthorizedOperation", "no");
	assert_int_equal(release(&w, blocks, 2), -1);
	assert_int_equal(w.err.class, ERR_CONFLICT);
	assert_left(&w, 3);
	end(&w);
}

/* Done, and nobody said so: asked again, EC2 does not know them, which is the same. */
static void test_release__answers_lost(void **state)
{
	static const char *const actions[] = { "UnassignPrivateIpAddresses", "UnassignIpv6Addresses" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		struct prefix blocks[4];
		struct world w;

		start_as(&w, DUAL, dual_prefixes);
		buy_all_kinds(&w, blocks);
		fault(&w, actions[i], FAULT_LOST_ANSWER, 1, "", "");
		if (release(&w, blocks, 4) < 0)
			fail_msg("%s: %s %s", actions[i], err_class_name(w.err.class), w.err.msg);
		assert_left(&w, 0);
		end(&w);
	}
}

static void test_release__the_nic_is_gone(void **state)
{
	struct prefix blocks[4];
	struct world w;

	(void)state;
	start_as(&w, DUAL, dual_prefixes);
	buy_all_kinds(&w, blocks);
	assert_int_equal(w.cloud->ops->release(w.cloud, "eni-0ffffffffffffffff", blocks, 4, in_seconds(20), &w.err), 0);
	assert_int_equal(calls(&w, "DescribeNetworkInterfaces"), 0);
	assert_left(&w, 4);
	end(&w);
}

/* ---- recover ---- */

static void test_recover__all_kinds_at_once(void **state)
{
	struct prefix blocks[4];
	struct cloud_nic got = { 0 };
	struct world w;

	(void)state;
	start_as(&w, DUAL, dual_prefixes);
	buy_all_kinds(&w, blocks);
	assert_int_equal(release(&w, blocks, 4), 0);
	if (w.cloud->ops->recover(w.cloud, w.self.nic, blocks, 4, in_seconds(20), &got, &w.err) < 0)
		fail_msg("%s", w.err.msg);
	assert_int_equal(got.block_count, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_true(has(&got, &blocks[i]));
	assert_left(&w, 4);
	cloud_nic_done(&got);
	end(&w);
}

/* A range that another NIC has by now stays there; what else was asked for comes back. */
static void test_recover__a_range_is_held_by_another(void **state)
{
	struct cloud_nic other, got = { 0 };
	struct prefix blocks[4];
	struct world w;

	(void)state;
	start_as(&w, DUAL, dual_prefixes);
	buy_all_kinds(&w, blocks);
	assert_int_equal(release(&w, blocks, 4), 0);
	assert_int_equal(attach_units(&w, "t1", none, none, &other), 0);
	assert_int_equal(w.cloud->ops->recover(w.cloud, other.id, blocks + 2, 1, in_seconds(20), &got, &w.err), 0);
	cloud_nic_done(&got);
	if (w.cloud->ops->recover(w.cloud, w.self.nic, blocks, 4, in_seconds(20), &got, &w.err) < 0)
		fail_msg("%s", w.err.msg);
	assert_int_equal(got.block_count, 3);
	assert_false(has(&got, &blocks[2]));
	cloud_nic_done(&got);
	memset(&got, 0, sizeof(got));
	assert_int_equal(w.cloud->ops->recover(w.cloud, w.self.nic, blocks + 2, 1, in_seconds(20), &got, &w.err), -1);
	assert_int_equal(w.err.class, ERR_CONFLICT);
	cloud_nic_done(&other);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_glance__agrees_with_the_list),
		check_unit_test(test_list__ipv6_side),
		check_unit_test(test_list__families_that_are_not_served),
		check_unit_test(test_list__own_ipv6_of_a_node_whose_pods_get_none),
		check_unit_test(test_list__units_of_the_other_mode),
		check_unit_test(test_list__single_ipv6_addresses),
		check_unit_test(test_list__single_ipv6_addresses_beside_ranges),
		check_unit_test(test_release__all_kinds_at_once),
		check_unit_test(test_release__some_are_gone),
		check_unit_test(test_release__second_family_fails),
		check_unit_test(test_release__gone_and_refused),
		check_unit_test(test_release__answers_lost),
		check_unit_test(test_release__the_nic_is_gone),
		check_unit_test(test_recover__all_kinds_at_once),
		check_unit_test(test_recover__a_range_is_held_by_another),
	};

	return cmocka_run_group_tests_name("aws_families", tests, NULL, NULL);
}
