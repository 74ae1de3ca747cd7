/* SPDX-License-Identifier: Apache-2.0 */
/* The AWS provider against the mock: taking back blocks, and what metadata tells of the interfaces. */
#include "tests/contract/aws_world.h"

/* ---- recover ---- */

static int recover(struct world *w, const char *nic, const struct prefix *blocks, unsigned count, struct cloud_nic *ret)
{
	memset(ret, 0, sizeof(*ret));
	memset(&w->err, 0, sizeof(w->err));
	return w->cloud->ops->recover(w->cloud, nic, blocks, count, in_seconds(20), ret, &w->err);
}

static struct prefix block_of(const char *text)
{
	struct prefix prefix;

	assert_int_equal(prefix_parse(text, &prefix), 0);
	return prefix;
}

static bool has(const struct cloud_nic *nic, const struct prefix *block)
{
	for (unsigned i = 0; i < nic->block_count; i++)
		if (prefix_cmp(&nic->blocks[i].prefix, block) == 0)
			return true;
	return false;
}

static bool is_used(const struct cloud_view *view, const struct prefix *range)
{
	for (unsigned i = 0; i < view->nic_count; i++) {
		if (prefix_contains(range, &view->nics[i].primary_addr))
			return true;
		for (unsigned j = 0; j < view->nics[i].block_count; j++)
			if (prefix_overlaps(range, &view->nics[i].blocks[j].prefix))
				return true;
	}
	return false;
}

/* The @nth /28 of the subnet in which nobody has an address: where the mock puts those is up to it. */
static struct prefix free_block(struct world *w, unsigned nth)
{
	struct prefix range = block_of("10.0.1.16/28");
	struct cloud_view view;
	unsigned found = 0;

	list(w, &view);
	for (unsigned i = 0; i < 14 && found <= nth; i++) {
		range.addr.bytes[3] = (uint8_t)(16 * (i + 1));
		found += !is_used(&view, &range);
	}
	assert_int_equal(found, nth + 1);
	cloud_view_done(&view);
	return range;
}

/* @blocks[count] of the NIC as somebody else's script would do it: behind our back. */
static void take_away(struct world *w, const char *nic, const struct prefix *blocks, unsigned count)
{
	_cleanup_strbuf_ struct strbuf body = { 0 };
	char text[PREFIX_STRLEN];

	strbuf_printf(&body, "{\"nic\":\"%s\",\"units\":[", nic);
	for (unsigned i = 0; i < count; i++)
		strbuf_printf(&body, "%s\"%s\"", i ? "," : "", prefix_str(&blocks[i], text));
	strbuf_add(&body, "]}");
	control(w, "remove", body.text);
}

/* A node with @count addresses on its primary NIC, in @blocks, all of which were taken away again. */
static void bereft(struct world *w, struct prefix *blocks, unsigned count)
{
	struct cloud_nic got;

	start(w, PLAIN, false);
	identify(w);
	if (assign(w, w->self.nic, count, &got) < 0)
		fail_msg("%s", w->err.msg);
	for (unsigned i = 0; i < count; i++)
		blocks[i] = got.blocks[i].prefix;
	cloud_nic_done(&got);
	take_away(w, w->self.nic, blocks, count);
}

static void test_recover__what_was_taken_away(void **state)
{
	struct prefix blocks[4];
	struct cloud_view view;
	struct cloud_nic got;
	struct world w;

	(void)state;
	bereft(&w, blocks, 4);
	if (recover(&w, w.self.nic, blocks + 1, 3, &got) < 0)
		fail_msg("%s", w.err.msg);
	assert_string_equal(got.id, w.self.nic);
	assert_int_equal(got.block_count, 3);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(has(&got, &blocks[i]), i > 0);
	assert_int_equal(calls(&w, "AssignPrivateIpAddresses"), 2);
	assert_int_equal(calls(&w, "DescribeNetworkInterfaces"), 0);
	list(&w, &view);
	assert_int_equal(nic_at(&view, 0)->block_count, 3);
	cloud_view_done(&view);
	cloud_nic_done(&got);
	end(&w);
}

/* Another interface got some of them meanwhile: those stay where they are, the others come back. */
static void test_recover__some_are_held_by_another(void **state)
{
	struct prefix blocks[6];
	struct cloud_nic other, got;
	struct cloud_view view;
	struct world w;

	(void)state;
	bereft(&w, blocks, 6);
	attached(&w, "t1", 1, 0, &other);
	assert_int_equal(recover(&w, other.id, blocks + 4, 1, &got), 0);
	cloud_nic_done(&got);
	if (recover(&w, w.self.nic, blocks, 6, &got) < 0)
		fail_msg("%s", w.err.msg);
	assert_int_equal(got.block_count, 5);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(has(&got, &blocks[i]), i != 4);
	cloud_nic_done(&got);
	list(&w, &view);
	assert_true(has(nic_at(&view, 1), &blocks[4]));
	assert_int_equal(nic_at(&view, 0)->block_count, 5);
	cloud_view_done(&view);
	cloud_nic_done(&other);
	end(&w);
}

static void test_recover__held_by_another(void **state)
{
	struct prefix blocks[2];
	struct cloud_nic other, got;
	struct world w;

	(void)state;
	bereft(&w, blocks, 2);
	attached(&w, "t1", 1, 0, &other);
	assert_int_equal(recover(&w, other.id, blocks, 2, &got), 0);
	cloud_nic_done(&got);
	for (unsigned count = 1; count <= 2; count++) {
		assert_int_equal(recover(&w, w.self.nic, blocks, count, &got), -1);
		assert_int_equal(w.err.class, ERR_CONFLICT);
		assert_string_equal(w.err.ident, "InvalidIPAddress.InUse");
		assert_null(got.blocks);
	}
	cloud_nic_done(&other);
	end(&w);
}

/* An earlier call brought them, and nobody heard of it. */
static void test_recover__some_are_there(void **state)
{
	struct prefix blocks[4];
	struct cloud_nic got;
	struct world w;

	(void)state;
	bereft(&w, blocks, 4);
	assert_int_equal(recover(&w, w.self.nic, blocks, 2, &got), 0);
	cloud_nic_done(&got);
	if (recover(&w, w.self.nic, blocks, 4, &got) < 0)
		fail_msg("%s", w.err.msg);
	assert_int_equal(got.block_count, 4);
	cloud_nic_done(&got);
	/* Nothing is missing: nothing is assigned. */
	assert_int_equal(recover(&w, w.self.nic, blocks, 4, &got), 0);
	assert_int_equal(got.block_count, 4);
	cloud_nic_done(&got);
	end(&w);
}

static void test_recover__prefixes_and_addresses(void **state)
{
	struct prefix blocks[3];
	struct cloud_nic got;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	identify(&w);
	for (unsigned i = 0; i < 3; i++)
		blocks[i] = free_block(&w, i);
	blocks[1].len = 32;
	if (recover(&w, w.self.nic, blocks, 3, &got) < 0)
		fail_msg("%s", w.err.msg);
	assert_int_equal(got.block_count, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_true(has(&got, &blocks[i]));
	/* EC2 takes one kind a call. */
	assert_int_equal(calls(&w, "AssignPrivateIpAddresses"), 2);
	cloud_nic_done(&got);
	end(&w);
}

/* Addresses go first: they have come when the prefixes fail. */
static void test_recover__a_later_part_fails(void **state)
{
	static const struct {
		const char *code;
		enum err_class class;
	} rows[] = {
		{ "InsufficientCidrBlocks", ERR_EXHAUSTED },
		{ "UnauthorizedOperation", ERR_AUTH },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct prefix blocks[2], taken;
		struct cloud_nic got;
		struct world w;

		start(&w, PLAIN, false);
		identify(&w);
		blocks[0] = taken = free_block(&w, 0);
		blocks[1] = free_block(&w, 1);
		taken.len = blocks[1].len = 32;
		/* An address inside the prefix makes EC2 refuse the prefix; then the reading fails. */
		assert_int_equal(recover(&w, w.self.nic, &taken, 1, &got), 0);
		cloud_nic_done(&got);
		fault(&w, "DescribeNetworkInterfaces", FAULT_ERROR, 1, rows[i].code, "no");
		assert_int_equal(recover(&w, w.self.nic, blocks, 2, &got), 0);
		assert_int_equal(got.block_count, 1);
		assert_true(has(&got, &blocks[1]));
		cloud_nic_done(&got);
		/* Nothing came: the failure is told. */
		fault(&w, "AssignPrivateIpAddresses", FAULT_ERROR, 1, rows[i].code, "no");
		assert_int_equal(recover(&w, w.self.nic, blocks, 1, &got), -1);
		assert_int_equal(w.err.class, rows[i].class);
		end(&w);
	}
}

static void test_recover__answer_lost(void **state)
{
	struct prefix blocks[3];
	struct cloud_nic got;
	struct world w;

	(void)state;
	bereft(&w, blocks, 3);
	fault(&w, "AssignPrivateIpAddresses", FAULT_LOST_ANSWER, 1, "", "");
	assert_int_equal(recover(&w, w.self.nic, blocks, 3, &got), -1);
	assert_int_equal(w.err.class, ERR_AMBIGUOUS);
	assert_int_equal(calls(&w, "AssignPrivateIpAddresses"), 2);
	end(&w);
}

/* What came is not worth hiding that nobody knows how the rest ended: read back first. */
static void test_recover__answer_of_a_later_part_lost(void **state)
{
	struct prefix blocks[2];
	struct cloud_nic got;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	identify(&w);
	blocks[0] = free_block(&w, 0);
	blocks[1] = free_block(&w, 1);
	blocks[1].len = 32;
	fault(&w, "AssignPrivateIpAddresses", FAULT_LATENCY, 1, "", "");
	fault(&w, "AssignPrivateIpAddresses", FAULT_LOST_ANSWER, 1, "", "");
	assert_int_equal(recover(&w, w.self.nic, blocks, 2, &got), -1);
	assert_int_equal(w.err.class, ERR_AMBIGUOUS);
	assert_int_equal(calls(&w, "AssignPrivateIpAddresses"), 2);
	end(&w);
}

static void test_recover__refused(void **state)
{
	const struct prefix elsewhere = block_of("10.0.9.9/32"), v6 = block_of("fd00::1/128");
	struct prefix blocks[9];
	struct cloud_nic got;
	struct world w;

	(void)state;
	bereft(&w, blocks, 9);
	assert_int_equal(recover(&w, w.self.nic, &elsewhere, 1, &got), -1);
	assert_int_equal(w.err.class, ERR_INVALID);
	assert_int_equal(recover(&w, w.self.nic, &v6, 1, &got), -1);
	assert_int_equal(w.err.class, ERR_INVALID);
	assert_int_equal(recover(&w, w.self.nic, blocks, 0, &got), -1);
	assert_int_equal(w.err.class, ERR_BUG);
	assert_int_equal(recover(&w, "eni-0123456789abcdef0", blocks, 1, &got), -1);
	assert_int_equal(w.err.class, ERR_NOTFOUND);
	/* The interface was filled up meanwhile: not asked for again one by one. */
	assert_int_equal(assign(&w, w.self.nic, 8, &got), 0);
	cloud_nic_done(&got);
	unsigned before = calls(&w, "AssignPrivateIpAddresses");

	assert_int_equal(recover(&w, w.self.nic, blocks, 9, &got), -1);
	assert_int_equal(w.err.class, ERR_CONFLICT);
	assert_string_equal(w.err.ident, "PrivateIpAddressLimitExceeded");
	assert_int_equal(calls(&w, "AssignPrivateIpAddresses"), before + 1);
	end(&w);
}

/* ---- glance ---- */

static void glance(struct world *w, struct cloud_view *view)
{
	memset(view, 0, sizeof(*view));
	if (w->cloud->ops->glance(w->cloud, in_seconds(20), view, &w->err) < 0)
		fail_msg("glance: %s", w->err.msg);
}

static const struct cloud_nic *nic_with(const struct cloud_view *view, const struct macaddr *mac)
{
	for (unsigned i = 0; i < view->nic_count; i++)
		if (macaddr_equal(&view->nics[i].mac, mac))
			return &view->nics[i];
	return NULL;
}

static void assert_same(const struct cloud_nic *seen, const struct cloud_nic *real)
{
	assert_string_equal(seen->id, real->id);
	assert_int_equal(seen->slot, real->slot);
	assert_int_equal(seen->primary, real->primary);
	assert_true(seen->attached);
	assert_true(ipaddr_equal(&seen->primary_addr, &real->primary_addr));
	assert_int_equal(seen->block_count, real->block_count);
	for (unsigned i = 0; i < real->block_count; i++)
		assert_true(has(seen, &real->blocks[i].prefix));
}

static void test_glance__as_the_list(void **state)
{
	struct cloud_stats before, after;
	struct cloud_view seen, real;
	struct prefix block;
	struct cloud_nic nic;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	identify(&w);
	assert_int_equal(assign(&w, w.self.nic, 3, &nic), 0);
	cloud_nic_done(&nic);
	attached(&w, "t1", 1, 2, &nic);
	cloud_nic_done(&nic);
	block = free_block(&w, 0);
	list(&w, &real);
	assert_int_equal(recover(&w, nic_at(&real, 1)->id, &block, 1, &nic), 0);
	cloud_nic_done(&nic);
	cloud_view_done(&real);
	list(&w, &real);
	w.cloud->ops->stats(w.cloud, &before);
	glance(&w, &seen);
	w.cloud->ops->stats(w.cloud, &after);
	assert_int_equal(seen.nic_count, 2);
	for (unsigned slot = 0; slot < 2; slot++)
		assert_same(nic_at(&seen, slot), nic_at(&real, slot));
	assert_int_equal(nic_at(&seen, 1)->block_count, 3);
	/* Nothing is asked of EC2, and nothing of metadata that is not there. */
	assert_int_equal(after.reads + after.mutations, before.reads + before.mutations);
	assert_int_equal(after.errors[ERR_NOTFOUND], before.errors[ERR_NOTFOUND]);
	assert_in_range(after.metadata - before.metadata, 1, 16);
	cloud_view_done(&seen);
	cloud_view_done(&real);
	end(&w);
}

static void test_glance__sees_what_was_taken_away(void **state)
{
	struct prefix blocks[3];
	struct cloud_view seen;
	struct cloud_nic nic;
	struct world w;

	(void)state;
	bereft(&w, blocks, 3);
	assert_int_equal(recover(&w, w.self.nic, blocks, 1, &nic), 0);
	cloud_nic_done(&nic);
	glance(&w, &seen);
	assert_int_equal(nic_at(&seen, 0)->block_count, 1);
	assert_true(has(nic_at(&seen, 0), &blocks[0]));
	cloud_view_done(&seen);
	end(&w);
}

/* Metadata that is an hour late shows what was; the list shows what is. */
static void test_glance__late__aws_40_7(void **state)
{
	struct cloud_view seen, real;
	struct cloud_nic nic;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	identify(&w);
	control(&w, "timings", "{\"imds_lag_ms\":3600000}");
	assert_int_equal(assign(&w, w.self.nic, 3, &nic), 0);
	cloud_nic_done(&nic);
	attached(&w, "t1", 1, 2, &nic);
	glance(&w, &seen);
	assert_null(nic_with(&seen, &nic.mac));
	cloud_view_done(&seen);
	control(&w, "timings", "{\"imds_lag_ms\":0}");
	glance(&w, &seen);
	list(&w, &real);
	assert_same(nic_with(&seen, &nic.mac), nic_at(&real, 1));
	assert_int_equal(nic_at(&seen, 0)->block_count, 3);
	cloud_view_done(&seen);
	cloud_view_done(&real);
	/* And one that has gone stays. */
	control(&w, "timings", "{\"imds_lag_ms\":3600000}");
	assert_int_equal(w.cloud->ops->detach(w.cloud, nic.id, in_seconds(20), &w.err), 0);
	list(&w, &real);
	assert_int_equal(real.nic_count, 1);
	cloud_view_done(&real);
	cloud_nic_done(&nic);
	end(&w);
}

/* Key by key: whatever is shown of a new interface before all is there does not count as attached. */
static void test_glance__new_interface_key_by_key(void **state)
{
	int64_t until_us = in_seconds(20);
	struct cloud_view seen, real;
	struct cloud_nic nic;
	bool whole = false;
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	identify(&w);
	control(&w, "timings", "{\"imds_lag_ms\":400}");
	attached(&w, "t1", 1, 2, &nic);
	list(&w, &real);
	while (!whole) {
		const struct cloud_nic *fresh;

		assert_true(clock_now(&clock_boot) < until_us);
		glance(&w, &seen);
		fresh = nic_with(&seen, &nic.mac);
		whole = fresh && fresh->attached;
		if (whole)
			assert_same(fresh, nic_at(&real, 1));
		assert_false(fresh && fresh->primary);
		assert_true(nic_at(&seen, 0)->primary || fresh);
		cloud_view_done(&seen);
	}
	cloud_view_done(&real);
	cloud_nic_done(&nic);
	end(&w);
}

static void test_glance__metadata_hangs(void **state)
{
	struct cloud_view seen = { 0 };
	struct world w;

	(void)state;
	start(&w, PLAIN, false);
	identify(&w);
	fault(&w, "imds", FAULT_HANG, FAULT_FOREVER, "", "");
	assert_int_equal(w.cloud->ops->glance(w.cloud, clock_now(&clock_boot) + USEC_PER_SEC / 2, &seen, &w.err), -1);
	assert_int_equal(w.err.class, ERR_RETRY);
	assert_null(seen.nics);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_recover__what_was_taken_away),
		check_unit_test(test_recover__some_are_held_by_another),
		check_unit_test(test_recover__held_by_another),
		check_unit_test(test_recover__some_are_there),
		check_unit_test(test_recover__prefixes_and_addresses),
		check_unit_test(test_recover__a_later_part_fails),
		check_unit_test(test_recover__answer_lost),
		check_unit_test(test_recover__answer_of_a_later_part_lost),
		check_unit_test(test_recover__refused),
		check_unit_test(test_glance__as_the_list),
		check_unit_test(test_glance__sees_what_was_taken_away),
		check_unit_test(test_glance__late__aws_40_7),
		check_unit_test(test_glance__new_interface_key_by_key),
		check_unit_test(test_glance__metadata_hangs),
	};

	return cmocka_run_group_tests_name("aws_recover", tests, NULL, NULL);
}
