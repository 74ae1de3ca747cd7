/* SPDX-License-Identifier: Apache-2.0 */
/* The AWS provider against the mock: one that may change nothing, and one that may ask EC2 of nothing. */
#include "tests/contract/aws_units.h"

static const struct served full = { .v4 = true, .v6 = true, .prefixes = true };
static const struct served modes[] = {
	{ .v4 = true, .v6 = true, .prefixes = true, .access = CLOUD_ACCESS_READ },
	{ .v4 = true, .v6 = true, .prefixes = true, .access = CLOUD_ACCESS_METADATA },
};
static const struct served *const reading = &modes[0], *const metadata = &modes[1];
static const char *const names[] = { "access=read", "access=metadata" };

static unsigned requests(struct world *w)
{
	struct cloud_stats stats;

	w->cloud->ops->stats(w->cloud, &stats);
	return (unsigned)(stats.reads + stats.mutations);
}

static void no_credentials(void)
{
	env("AWS_ACCESS_KEY_ID", NULL);
	env("AWS_SECRET_ACCESS_KEY", NULL);
}

/* A node that a daemon with all rights has equipped: two NICs with units of both families. */
static void equipped(struct world *w, const char *seed)
{
	struct cloud_nic got;

	start_as(w, seed, full);
	assigned(w, w->self.nic, (struct cloud_want){ 2, 28 }, (struct cloud_want){ 1, 80 }, &got);
	cloud_nic_done(&got);
	assert_int_equal(attach_units(w, "t1", (struct cloud_want){ 3, 28 }, (struct cloud_want){ 1, 80 }, &got), 0);
	cloud_nic_done(&got);
}

static void assert_refused(struct world *w, int rc, const char *name)
{
	assert_int_equal(rc, -1);
	assert_int_equal(w->err.class, ERR_INVALID);
	if (!strstr(w->err.msg, "changes are switched off by ") || !strstr(w->err.msg, name))
		fail_msg("%s", w->err.msg);
}

static void test_changes__refused_without_a_call(void **state)
{
	const struct cloud_want want[IP_FAMILIES] = { { 1, 28 }, { 1, 80 } };
	const struct cloud_attach attach = { .slot = 1, .wants = { { 1, 28 } }, .token = "t1" };
	struct prefix block;

	(void)state;
	assert_int_equal(prefix_parse("10.0.1.16/28", &block), 0);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct cloud_nic nic = { 0 };
		const struct cloud_ops *ops;
		struct world w;

		start_as(&w, DUAL, modes[i]);
		ops = w.cloud->ops;
		assert_refused(&w, ops->assign(w.cloud, w.self.nic, want, in_seconds(20), &nic, &w.err), names[i]);
		assert_refused(&w, ops->recover(w.cloud, w.self.nic, &block, 1, in_seconds(20), &nic, &w.err),
			       names[i]);
		assert_refused(&w, ops->release(w.cloud, w.self.nic, &block, 1, in_seconds(20), &w.err), names[i]);
		assert_refused(&w, ops->attach(w.cloud, &attach, in_seconds(20), &nic, &w.err), names[i]);
		assert_refused(&w, ops->detach(w.cloud, w.self.nic, in_seconds(20), &w.err), names[i]);
		assert_int_equal(sweep(&w), 0);
		assert_int_equal(requests(&w), 0);
		end(&w);
	}
}

static void test_limits__no_new_nics(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct cloud_limits limits;
		struct world w;

		start_as(&w, DUAL, modes[i]);
		assert_int_equal(w.cloud->ops->limits(w.cloud, in_seconds(20), &limits, &w.err), 0);
		assert_false(limits.can_attach_nic);
		assert_int_equal(limits.nics_max, 3);
		assert_int_equal(limits.units[0].per_nic_max, 9);
		assert_int_equal(limits.units[0].len, 28);
		assert_int_equal(requests(&w), 0);
		end(&w);
	}
}

/* Whoever made a NIC, pods get what is on it; what an operator or AWS keeps for itself they do not. */
static void test_list__nics_of_others_serve_who_may_only_read(void **state)
{
	struct cloud_view view;
	struct world w;

	(void)state;
	start_as(&w, SEED6("10.0.1.0/24", HAS6, "m5.xlarge", ""), full);
	control(&w, "foreign", "{\"instance\":\"n1\",\"device_index\":1,\"secondary\":2}");
	control(&w, "foreign", "{\"instance\":\"n1\",\"device_index\":2,\"managed\":true}");
	control(&w, "foreign",
		"{\"instance\":\"n1\",\"device_index\":3,\"tags\":{\"node.k8s.amazonaws.com/no_manage\":\"true\"}}");
	list(&w, &view);
	assert_true(nic_at(&view, 1)->foreign);
	cloud_view_done(&view);
	restart_as(&w, *reading);
	list(&w, &view);
	assert_false(nic_at(&view, 1)->foreign);
	assert_int_equal(blocks_of(nic_at(&view, 1), 32), 2);
	assert_int_equal(nic_at(&view, 1)->gateway.family, IP_V4);
	assert_true(nic_at(&view, 2)->foreign);
	assert_true(nic_at(&view, 3)->foreign);
	cloud_view_done(&view);
	end(&w);
}

static void assert_same_nic(const struct cloud_nic *a, const struct cloud_nic *b)
{
	assert_string_equal(a->id, b->id);
	assert_true(macaddr_equal(&a->mac, &b->mac));
	assert_int_equal(a->slot, b->slot);
	assert_int_equal(a->primary, b->primary);
	assert_int_equal(a->attached, b->attached);
	assert_int_equal(a->foreign, b->foreign);
	assert_true(ipaddr_equal(&a->primary_addr, &b->primary_addr));
	assert_true(ipaddr_equal(&a->primary_addr6, &b->primary_addr6));
	assert_true(ipaddr_equal(&a->gateway, &b->gateway));
	assert_true(ipaddr_equal(&a->gateway6, &b->gateway6));
	assert_int_equal(prefix_cmp(&a->subnet, &b->subnet), 0);
	assert_int_equal(prefix_cmp(&a->subnet6, &b->subnet6), 0);
	assert_int_equal(a->block_count, b->block_count);
	for (unsigned i = 0; i < a->block_count; i++)
		assert_int_equal(prefix_cmp(&a->blocks[i].prefix, &b->blocks[i].prefix), 0);
}

/* Without a word to EC2 the list is as complete as with it. */
static void test_list__by_metadata_alone(void **state)
{
	struct cloud_view by_ec2, view;
	struct world w;

	(void)state;
	equipped(&w, DUAL);
	list(&w, &by_ec2);
	no_credentials();
	restart_as(&w, *metadata);
	list(&w, &view);
	assert_int_equal(view.nic_count, 2);
	for (unsigned slot = 0; slot < 2; slot++)
		assert_same_nic(nic_at(&view, slot), nic_at(&by_ec2, slot));
	assert_int_equal(requests(&w), 0);
	cloud_view_done(&view);
	cloud_view_done(&by_ec2);
	end(&w);
}

/* Room for what is there and no more, for nobody may be asked. */
static void test_limits__of_an_unknown_type_by_metadata_alone(void **state)
{
	static const char unknown[] = ",\"instance_types\":[{\"name\":\"x99.large\",\"nics\":5,\"addresses\":7}]";
	struct cloud_limits limits;
	struct world w;
	char seed[2048];

	(void)state;
	(void)snprintf(seed, sizeof(seed), SEED6("10.0.1.0/24", HAS6, "x99.large", "%s"), unknown);
	equipped(&w, seed);
	no_credentials();
	restart_as(&w, *metadata);
	if (w.cloud->ops->limits(w.cloud, in_seconds(20), &limits, &w.err) < 0)
		fail_msg("%s", w.err.msg);
	assert_int_equal(limits.nics_max, 2);
	assert_false(limits.can_attach_nic);
	assert_int_equal(limits.units[0].per_nic_max, 3);
	assert_int_equal(limits.units[0].len, 28);
	assert_int_equal(limits.units[1].per_nic_max, 1);
	assert_int_equal(limits.units[1].len, 80);
	assert_int_equal(requests(&w), 0);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_changes__refused_without_a_call),
		check_unit_test(test_limits__no_new_nics),
		check_unit_test(test_list__nics_of_others_serve_who_may_only_read),
		check_unit_test(test_list__by_metadata_alone),
		check_unit_test(test_limits__of_an_unknown_type_by_metadata_alone),
	};

	return cmocka_run_group_tests_name("aws_access", tests, NULL, NULL);
}
