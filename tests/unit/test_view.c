/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of the cloud, and what metadata says, against a pool that a test has filled. */
#include "tests/unit/view_world.h"

/* ---- blocks ---- */

static void test_merge__takes_in_what_is_new(void **state)
{
	struct world *w = *state;

	list_of(w, BLOCKS("10.0.1.21/32"), BLOCKS("10.0.1.31/32", "10.0.1.32/32"));
	assert_string_equal(state_of(w, "10.0.1.21/32"), "pending");
	assert_string_equal(state_of(w, "10.0.1.32/32"), "pending");
	assert_int_equal(pool_nic_by_slot(w->d.pool, SECOND)->block_count[0], 2);
	assert_int_equal(pool_nic_by_slot(w->d.pool, SECOND)->state, NIC_CONFIGURING);
	assert_true(w->d.host_dirty);
}

static void test_merge__two_lists_lack_a_block__aws_1967(void **state)
{
	struct world *w = *state;

	make_node(w, "10.0.1.21/32");
	list_of(w, NO_BLOCKS, NULL);
	assert_string_equal(state_of(w, "10.0.1.21/32"), "ready");
	assert_int_equal(w->d.missing_count, 1);
	list_of(w, BLOCKS("10.0.1.21/32"), NULL);
	list_of(w, NO_BLOCKS, NULL); /* not in a row */
	assert_string_equal(state_of(w, "10.0.1.21/32"), "ready");
	list_of(w, NO_BLOCKS, NULL);
	assert_string_equal(state_of(w, "10.0.1.21/32"), "gone");
}

/* As many as before, and others: it is which that counts. */
static void test_merge__as_many_but_others__aws_40_9(void **state)
{
	struct world *w = *state;

	make_node(w, "10.0.1.21/32");
	list_of(w, BLOCKS("10.0.1.22/32"), NULL);
	list_of(w, BLOCKS("10.0.1.22/32"), NULL);
	assert_string_equal(state_of(w, "10.0.1.21/32"), "gone");
	assert_string_equal(state_of(w, "10.0.1.22/32"), "pending");
}

static void test_merge__cooling_block_goes(void **state)
{
	struct world *w = *state;

	make_node(w, "10.0.1.21/32");
	(void)take(w->d.pool, 1, START_US);
	(void)give(w->d.pool, 1, START_US);
	list_of(w, NO_BLOCKS, NULL);
	list_of(w, NO_BLOCKS, NULL);
	assert_string_equal(state_of(w, "10.0.1.21/32"), "gone");
}

static void lose_under_a_pod(struct world *w)
{
	make_node(w, "10.0.1.21/32");
	assert_string_equal(take(w->d.pool, 1, START_US), "10.0.1.21");
	list_of(w, NO_BLOCKS, NULL);
	assert_string_equal(state_of(w, "10.0.1.21/32"), "ready");
	list_of(w, NO_BLOCKS, NULL);
	assert_string_equal(state_of(w, "10.0.1.21/32"), "lost");
	assert_int_equal(count(w->d.pool).lost, 1);
}

static void test_merge__block_with_a_pod_is_lost_and_comes_back(void **state)
{
	struct world *w = *state;

	lose_under_a_pod(w);
	list_of(w, NO_BLOCKS, NULL);
	assert_string_equal(state_of(w, "10.0.1.21/32"), "lost");
	list_of(w, BLOCKS("10.0.1.21/32"), NULL);
	assert_string_equal(state_of(w, "10.0.1.21/32"), "pending");
	assert_int_equal(count(w->d.pool).lost, 0);
}

/* Its cover would keep this node from whoever gets the address next. */
/* What rested in a block that was given up rests on when the block is back. */
static void test_merge__block_that_is_back_rests_on(void **state)
{
	const struct ipaddr addrs[IP_FAMILIES] = { ip("10.0.1.21") };
	struct world *w = *state;

	w->d.listed = true;
	must(store_lease_release(w->d.store, &(struct lease_key){ .container = "gone" }, addrs,
				 LIST_US + 5 * COOLDOWN_US, &err));
	list_of(w, BLOCKS("10.0.1.21/32", "10.0.1.22/32"), NULL);
	assert_int_equal(count(w->d.pool).cooling, 1);
	assert_true(pool_tick(w->d.pool, w->now_us) == LIST_US + 5 * COOLDOWN_US);
}

static void test_merge__lost_block_goes_after_its_pod(void **state)
{
	struct world *w = *state;

	lose_under_a_pod(w);
	(void)give(w->d.pool, 1, w->now_us);
	list_of(w, NO_BLOCKS, NULL);
	assert_string_equal(state_of(w, "10.0.1.21/32"), "gone");
	list_of(w, NO_BLOCKS, NULL);
	assert_int_equal(w->d.missing_count, 0);
}

static void test_merge__lost_block_with_a_pod_is_no_reason_to_list_again(void **state)
{
	struct world *w = *state;

	lose_under_a_pod(w);
	list_of(w, NO_BLOCKS, NULL);
	assert_int_equal(w->d.missing_count, 0);
}

static void test_merge__block_moves_to_another_nic(void **state)
{
	struct pool_block_view block;
	const struct ipaddr addr = ip("10.0.1.21");
	struct world *w = *state;

	make_node(w, "10.0.1.21/32");
	(void)take(w->d.pool, 1, START_US);
	list_of(w, NO_BLOCKS, BLOCKS("10.0.1.21/32"));
	list_of(w, NO_BLOCKS, BLOCKS("10.0.1.21/32")); /* lost here and held there in one list */
	assert_true(pool_block_of(w->d.pool, &addr, &block));
	assert_int_equal(block.nic_slot, SECOND);
	assert_int_equal(block.leased_count, 1);
	assert_int_equal(block.state, BLOCK_PENDING);
}

static void test_merge__list_older_than_the_last_mutation(void **state)
{
	struct world *w = *state;

	make_node(w, "10.0.1.21/32");
	w->d.mutated_us[PRIMARY] = w->now_us + 2 * USEC_PER_SEC;
	list_of(w, BLOCKS("10.0.1.99/32"), NULL);
	list_of(w, BLOCKS("10.0.1.99/32"), NULL); /* asked for in the moment that the mutation ended */
	assert_string_equal(state_of(w, "10.0.1.21/32"), "ready");
	assert_string_equal(state_of(w, "10.0.1.99/32"), "gone");
	assert_int_equal(w->d.missing_count, 0);
	list_of(w, BLOCKS("10.0.1.99/32"), NULL);
	list_of(w, BLOCKS("10.0.1.99/32"), NULL);
	assert_string_equal(state_of(w, "10.0.1.21/32"), "gone");
	assert_string_equal(state_of(w, "10.0.1.99/32"), "pending");
}

/* A NIC that was detached a moment ago may be shown for a while yet. */
static void test_merge__nic_in_a_slot_that_was_left(void **state)
{
	struct world *w = *state;

	make_node(w, "10.0.1.21/32");
	w->d.mutated_us[SECOND] = w->now_us + 2 * USEC_PER_SEC;
	list_of(w, BLOCKS("10.0.1.21/32"), BLOCKS("10.0.1.31/32"));
	list_of(w, BLOCKS("10.0.1.21/32"), BLOCKS("10.0.1.31/32"));
	assert_null(pool_nic_by_slot(w->d.pool, SECOND));
	list_of(w, BLOCKS("10.0.1.21/32"), BLOCKS("10.0.1.31/32"));
	assert_non_null(pool_nic_by_slot(w->d.pool, SECOND));
	assert_string_equal(state_of(w, "10.0.1.31/32"), "pending");
}

static void test_merge__mutation_in_flight(void **state)
{
	struct world *w = *state;

	make_node(w, "10.0.1.21/32");
	pool_nic_set_busy(w->d.pool, PRIMARY, NIC_BUSY_ASSIGN, (const struct cloud_want[IP_FAMILIES]){ { 1, 32 } });
	list_of(w, BLOCKS("10.0.1.99/32"), NULL);
	list_of(w, BLOCKS("10.0.1.99/32"), NULL);
	assert_string_equal(state_of(w, "10.0.1.21/32"), "ready");
	assert_string_equal(state_of(w, "10.0.1.99/32"), "gone");
}

/* A list that says so counts at once, also for a NIC with a call in flight; what is leased stays. */
static void test_merge__closed_nic(void **state)
{
	struct world *w = *state;
	struct cloud_view view = { 0 };
	struct cloud_nic *nic;

	make_node(w, "10.0.1.16/30");
	assert_string_not_equal(take(w->d.pool, 1, START_US), "-");
	pool_nic_set_busy(w->d.pool, PRIMARY, NIC_BUSY_RELEASE, NULL);
	nic = show_nic(&view, PRIMARY);
	nic->closed = true;
	show_block(nic, "10.0.1.16/30");
	list(w, &view);
	assert_true(pool_nic_by_slot(w->d.pool, PRIMARY)->closed);
	assert_string_equal(take(w->d.pool, 2, START_US), "-");
	assert_int_equal(count(w->d.pool).leased, 1);
	list_of(w, BLOCKS("10.0.1.16/30"), NULL);
	assert_false(pool_nic_by_slot(w->d.pool, PRIMARY)->closed);
	assert_string_not_equal(take(w->d.pool, 2, START_US), "-");
}

static void test_merge__primary_beside_subnets_for_pods(void **state)
{
	struct world *w = *state;

	w->d.config.pod_subnets.count = 1;
	list_of(w, BLOCKS("10.0.1.16/30"), BLOCKS("10.0.2.16/30"));
	assert_true(pool_nic_by_slot(w->d.pool, PRIMARY)->closed);
	assert_false(pool_nic_by_slot(w->d.pool, SECOND)->closed);
	w->d.config.pod_subnets.count = 0;
	list_of(w, BLOCKS("10.0.1.16/30"), BLOCKS("10.0.2.16/30"));
	assert_false(pool_nic_by_slot(w->d.pool, PRIMARY)->closed);
}

/* It may come later than the NIC: the host is looked at again then. */
static void test_merge__ipv6_side_of_a_nic(void **state)
{
	struct world *w = *state;
	struct cloud_view view = { 0 };
	struct cloud_nic *nic;

	list_of(w, NO_BLOCKS, NULL);
	w->d.host_dirty = false;
	list_of(w, NO_BLOCKS, NULL);
	assert_false(w->d.host_dirty);
	nic = show_nic(&view, PRIMARY);
	nic->primary_addr6 = ip("2600::10");
	nic->subnet6 = pfx("2600::/64");
	nic->gateway6 = ip("fe80::1");
	list(w, &view);
	assert_true(w->d.host_dirty);
	assert_int_equal(pool_nic_by_slot(w->d.pool, PRIMARY)->gateway6.family, IP_V6);
}

static void test_merge__stale_nic_has_been_read_back(void **state)
{
	struct world *w = *state;

	make_node(w, "10.0.1.21/32");
	pool_nic_set_stale(w->d.pool, PRIMARY, true);
	w->d.mutated_us[PRIMARY] = w->now_us + 2 * USEC_PER_SEC;
	list_of(w, BLOCKS("10.0.1.21/32"), NULL);
	assert_true(pool_nic_by_slot(w->d.pool, PRIMARY)->stale);
	list_of(w, BLOCKS("10.0.1.21/32"), NULL);
	list_of(w, BLOCKS("10.0.1.21/32"), NULL);
	assert_false(pool_nic_by_slot(w->d.pool, PRIMARY)->stale);
}

static void make_releasing(struct world *w, const char *text)
{
	struct prefix prefix = pfx(text);

	make_node(w, text);
	pool_block_set_state(w->d.pool, &prefix, BLOCK_DRAINING, START_US);
	pool_block_set_state(w->d.pool, &prefix, BLOCK_RELEASING, START_US);
}

static void test_merge__unclear_release_was_not_done(void **state)
{
	struct world *w = *state;

	make_releasing(w, "10.0.1.21/32");
	list_of(w, BLOCKS("10.0.1.21/32"), NULL);
	assert_string_equal(state_of(w, "10.0.1.21/32"), "pending");
}

static void test_merge__unclear_release_was_done(void **state)
{
	struct world *w = *state;

	make_releasing(w, "10.0.1.21/32");
	list_of(w, NO_BLOCKS, NULL);
	assert_string_equal(state_of(w, "10.0.1.21/32"), "releasing");
	list_of(w, NO_BLOCKS, NULL);
	assert_string_equal(state_of(w, "10.0.1.21/32"), "gone");
}

#define PER_NIC 200U

static void test_merge__list_that_cannot_be_true(void **state)
{
	struct world *w = *state;
	char text[PREFIX_STRLEN];

	for (unsigned slot = PRIMARY; slot <= SECOND; slot++) {
		add_nic(w->d.pool, slot);
		for (unsigned i = 0; i < PER_NIC; i++) {
			(void)snprintf(text, sizeof(text), "10.0.%u.%u/32", slot, i);
			add_block(w->d.pool, slot, text);
		}
	}
	for (int i = 0; i < 3; i++)
		list_of(w, NO_BLOCKS, NULL);
	assert_int_equal(count(w->d.pool).free, 2 * PER_NIC);
}

/* ---- NICs ---- */

static void show_foreign(struct world *w)
{
	struct cloud_view view = { 0 };
	struct cloud_nic *nic;

	(void)show_nic(&view, PRIMARY);
	nic = show_nic(&view, SECOND);
	nic->foreign = true;
	show_block(nic, "10.0.1.31/32");
	list(w, &view);
}

static void test_merge__foreign_nic__azure_15(void **state)
{
	struct world *w = *state;

	add_nic(w->d.pool, PRIMARY);
	show_foreign(w);
	show_foreign(w);
	assert_int_equal(pool_nic_by_slot(w->d.pool, SECOND)->state, NIC_FOREIGN);
	assert_int_equal(pool_nic_by_slot(w->d.pool, SECOND)->block_count[0], 0);
	assert_string_equal(state_of(w, "10.0.1.31/32"), "gone");
	list_of(w, NO_BLOCKS, NULL);
	list_of(w, NO_BLOCKS, NULL);
	assert_null(pool_nic_by_slot(w->d.pool, SECOND));
}

static void test_merge__nic_that_is_not_attached_yet(void **state)
{
	struct cloud_view view = { 0 };
	struct world *w = *state;

	add_nic(w->d.pool, PRIMARY);
	(void)show_nic(&view, PRIMARY);
	show_nic(&view, SECOND)->attached = false;
	list(w, &view);
	assert_null(pool_nic_by_slot(w->d.pool, SECOND));
}

/* The attach has a placeholder at another slot, and may yet take back what it made. */
static void test_merge__nic_beside_an_attach_in_flight(void **state)
{
	struct world *w = *state;

	make_node(w, "10.0.1.21/32");
	w->d.running[JOB_ATTACH] = 1;
	list_of(w, BLOCKS("10.0.1.21/32"), BLOCKS("10.0.1.31/32"));
	assert_null(pool_nic_by_slot(w->d.pool, SECOND));
	w->d.running[JOB_ATTACH] = 0;
	list_of(w, BLOCKS("10.0.1.21/32"), BLOCKS("10.0.1.31/32"));
	assert_non_null(pool_nic_by_slot(w->d.pool, SECOND));
}

static void test_merge__empty_nic_is_gone(void **state)
{
	struct world *w = *state;

	add_nic(w->d.pool, PRIMARY);
	add_nic(w->d.pool, SECOND);
	add_block(w->d.pool, SECOND, "10.0.1.31/32");
	list_of(w, NO_BLOCKS, NULL);
	assert_non_null(pool_nic_by_slot(w->d.pool, SECOND));
	list_of(w, NO_BLOCKS, NULL);
	assert_null(pool_nic_by_slot(w->d.pool, SECOND));
}

static void test_merge__primary_stays(void **state)
{
	struct cloud_view view = { 0 };
	struct world *w = *state;

	add_nic(w->d.pool, PRIMARY);
	list(w, &view);
	list(w, &view);
	assert_non_null(pool_nic_by_slot(w->d.pool, PRIMARY));
}

/* Or the planner would go on to buy addresses on it, and wait for its room for ever. */
static void test_merge__nic_with_pods_is_lost_and_comes_back__aws_40_4(void **state)
{
	const struct pool_nic *nic;
	struct world *w = *state;

	add_nic(w->d.pool, PRIMARY);
	add_nic(w->d.pool, SECOND);
	add_block(w->d.pool, SECOND, "10.0.1.31/32");
	assert_string_equal(take(w->d.pool, 1, START_US), "10.0.1.31");
	list_of(w, NO_BLOCKS, NULL);
	nic = pool_nic_by_slot(w->d.pool, SECOND);
	assert_int_equal(nic->state, NIC_READY);
	list_of(w, NO_BLOCKS, NULL);
	assert_int_equal(nic->state, NIC_LOST);
	assert_int_equal(count(w->d.pool).lost, 1);
	list_of(w, NO_BLOCKS, BLOCKS("10.0.1.31/32"));
	assert_int_equal(nic->state, NIC_CONFIGURING);
	assert_string_equal(state_of(w, "10.0.1.31/32"), "pending");
	list_of(w, NO_BLOCKS, NULL);
	list_of(w, NO_BLOCKS, NULL);
	(void)give(w->d.pool, 1, w->now_us);
	list_of(w, NO_BLOCKS, NULL);
	list_of(w, NO_BLOCKS, NULL);
	assert_null(pool_nic_by_slot(w->d.pool, SECOND));
}

/* ---- metadata ---- */

/* What metadata shows a minute after the last mutation: the primary with these blocks, the second NIC with those. */
static bool differs(struct world *w, const char *const *blocks, const char *const *second)
{
	struct cloud_view view = { 0 };
	struct cloud_nic *nic = show_nic(&view, PRIMARY);
	bool result;

	for (; *blocks; blocks++)
		show_block(nic, *blocks);
	if (second)
		nic = show_nic(&view, SECOND);
	for (; second && *second; second++)
		show_block(nic, *second);
	result = view_differs(&w->d, &view, w->now_us);
	cloud_view_done(&view);
	return result;
}

static void test_view_differs__what_metadata_shows_and_we_lack(void **state)
{
	struct world *w = *state;

	make_node(w, "10.0.1.21/32");
	w->now_us += 60 * USEC_PER_SEC;
	assert_false(differs(w, BLOCKS("10.0.1.21/32"), NULL));
	assert_true(differs(w, BLOCKS("10.0.1.21/32", "10.0.1.22/32"), NULL));
	assert_true(differs(w, BLOCKS("10.0.1.21/32"), BLOCKS("10.0.1.31/32")));
	assert_false(differs(w, BLOCKS("10.0.1.21/32", "2600:1f14::1/128"), NULL)); /* nobody leases IPv6 here */
	w->d.running[JOB_ATTACH] = 1; /* that NIC is what the attach will return */
	assert_false(differs(w, BLOCKS("10.0.1.21/32"), BLOCKS("10.0.1.31/32")));
}

static void test_view_differs__what_we_hold_and_metadata_lacks(void **state)
{
	struct world *w = *state;

	make_node(w, "10.0.1.21/32");
	w->now_us += 60 * USEC_PER_SEC;
	assert_true(differs(w, NO_BLOCKS, NULL));
	w->d.mutated_us[PRIMARY] = w->now_us - USEC_PER_SEC; /* metadata is late */
	assert_false(differs(w, NO_BLOCKS, NULL));
	w->now_us += 60 * USEC_PER_SEC;
	assert_true(differs(w, NO_BLOCKS, NULL));
}

static void test_view_differs__changes_nothing__aws_40_5(void **state)
{
	struct world *w = *state;

	make_node(w, "10.0.1.21/32");
	w->now_us += 60 * USEC_PER_SEC;
	for (unsigned i = 0; i < 3; i++)
		assert_true(differs(w, BLOCKS("10.0.1.22/32"), BLOCKS("10.0.1.31/32")));
	assert_string_equal(state_of(w, "10.0.1.21/32"), "ready");
	assert_string_equal(state_of(w, "10.0.1.22/32"), "gone");
	assert_null(pool_nic_by_slot(w->d.pool, SECOND));
	assert_int_equal(w->d.missing_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		view_test(test_merge__takes_in_what_is_new),
		view_test(test_merge__two_lists_lack_a_block__aws_1967),
		view_test(test_merge__as_many_but_others__aws_40_9),
		view_test(test_merge__cooling_block_goes),
		view_test(test_merge__block_with_a_pod_is_lost_and_comes_back),
		view_test(test_merge__block_that_is_back_rests_on),
		view_test(test_merge__lost_block_goes_after_its_pod),
		view_test(test_merge__lost_block_with_a_pod_is_no_reason_to_list_again),
		view_test(test_merge__block_moves_to_another_nic),
		view_test(test_merge__list_older_than_the_last_mutation),
		view_test(test_merge__nic_in_a_slot_that_was_left),
		view_test(test_merge__mutation_in_flight),
		view_test(test_merge__stale_nic_has_been_read_back),
		view_test(test_merge__unclear_release_was_not_done),
		view_test(test_merge__unclear_release_was_done),
		view_test(test_merge__list_that_cannot_be_true),
		view_test(test_merge__foreign_nic__azure_15),
		view_test(test_merge__nic_that_is_not_attached_yet),
		view_test(test_merge__nic_beside_an_attach_in_flight),
		view_test(test_merge__empty_nic_is_gone),
		view_test(test_merge__primary_stays),
		view_test(test_merge__nic_with_pods_is_lost_and_comes_back__aws_40_4),
		view_test(test_view_differs__what_metadata_shows_and_we_lack),
		view_test(test_view_differs__what_we_hold_and_metadata_lacks),
		view_test(test_view_differs__changes_nothing__aws_40_5),
		view_test(test_merge__closed_nic),
		view_test(test_merge__primary_beside_subnets_for_pods),
		view_test(test_merge__ipv6_side_of_a_nic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
