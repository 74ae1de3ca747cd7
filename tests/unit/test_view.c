/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of the cloud against a pool that a test has filled; store and kernel are real, the rest of the daemon is not there. */
#include "tests/unit/stores.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "berth/net.h"
#include "berth/str.h"
#include "berth/version.h"
#include "ipamd/ipamd.h"
#include "tests/unit/pools.h"

#define PRIMARY 0U
#define SECOND  1U
#define LIST_US (START_US + USEC_PER_SEC) /* when the first list of a test is asked for */

struct world {
	struct ipamd d;
	int64_t now_us; /* of the last list */
};

#define must(call)                                                                                                     \
	do {                                                                                                           \
		struct err err = { 0 };                                                                                \
		if ((call) < 0)                                                                                        \
			fail_msg("%s: %s", #call, err.msg);                                                            \
	} while (0)

static int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct store_aside aside;
	char path[PATH_MAX];

	if (!w || check_fds_setup(state) < 0 || unshare(CLONE_NEWNET) < 0)
		return -1;
	*state = w;
	(void)str_copy(w->d.config.network, sizeof(w->d.config.network), "berth");
	w->now_us = LIST_US;
	w->d.pool = pool_new(COOLDOWN_US, POOL_SERVES_V4);
	if (!w->d.pool || store_open(check_path(path, sizeof(path), check_tmpdir(), "leases.db"), BOOT, &w->d.store,
				     &aside, NULL) < 0)
		return -1;
	return net_open(&w->d.net, NULL);
}

static int world_teardown(void **state)
{
	struct world *w = *state;
	struct err err = { 0 };
	int rc = pool_check(w->d.pool, &err);

	if (rc < 0)
		print_error("pool_check: %s\n", err.msg);
	net_close(w->d.net);
	store_close(w->d.store);
	pool_free(w->d.pool);
	free(w->d.early);
	free(w);
	*state = NULL;
	return check_fds_teardown(state) < 0 ? -1 : rc;
}

#define view_test(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

/* ---- lists ---- */

static struct cloud_nic *show_nic(struct cloud_view *view, unsigned slot)
{
	struct cloud_nic *nic = cloud_view_add_nic(view);

	assert_non_null(nic);
	*nic = cloud_nic_of(slot);
	return nic;
}

static void show_block(struct cloud_nic *nic, const char *text)
{
	struct prefix prefix = pfx(text);

	assert_int_equal(cloud_nic_add_block(nic, &prefix), 0);
}

/* A list, asked for a second after the last one and answered half a second later. Takes @view. */
static void list(struct world *w, struct cloud_view *view)
{
	w->now_us += USEC_PER_SEC;
	view_merge(&w->d, view, w->now_us, w->now_us + USEC_PER_SEC / 2);
	cloud_view_done(view);
	assert_sound(w->d.pool);
}

/* A list of the primary with these blocks, and of the second NIC with those; NULL: the NIC is not in it. */
static void list_of(struct world *w, const char *const *blocks, const char *const *second)
{
	struct cloud_view view = { 0 };
	struct cloud_nic *nic = show_nic(&view, PRIMARY);

	for (; blocks && *blocks; blocks++)
		show_block(nic, *blocks);
	if (second)
		nic = show_nic(&view, SECOND);
	for (; second && *second; second++)
		show_block(nic, *second);
	list(w, &view);
}

#define BLOCKS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define NO_BLOCKS   ((const char *const[]){ NULL })

static const char *state_of(const struct world *w, const char *text)
{
	struct prefix prefix = pfx(text);
	struct pool_block_view block;

	return pool_block_get(w->d.pool, &prefix, &block) ? block_state_name(block.state) : "gone";
}

static void make_node(struct world *w, const char *block)
{
	add_nic(w->d.pool, PRIMARY);
	add_block(w->d.pool, PRIMARY, block);
}

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

static void test_view_differs__changes_nothing__aws_3887(void **state)
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

/* ---- after a start ---- */

static void remember(struct world *w, const struct lease *lease)
{
	struct lease *grown = realloc(w->d.early, (w->d.early_count + 1) * sizeof(*grown));

	assert_non_null(grown);
	w->d.early = grown;
	grown[w->d.early_count++] = *lease;
	must(store_lease_put(w->d.store, lease, &err));
}

static void test_restore__leases_and_cooldowns(void **state)
{
	struct lease lease = lease_of(1);
	const struct ipaddr cooling[IP_FAMILIES] = { ip("10.0.1.22") };
	struct world *w = *state;

	lease.addrs[0] = ip("10.0.1.21");
	remember(w, &lease);
	must(store_lease_release(w->d.store, &(struct lease_key){ .container = "gone" }, cooling,
				 LIST_US + 5 * COOLDOWN_US, &err));
	list_of(w, BLOCKS("10.0.1.21/32", "10.0.1.22/32"), NULL);
	view_restore(&w->d, w->now_us);
	view_adopt(&w->d, w->now_us);
	assert_int_equal(w->d.early_count, 0);
	assert_non_null(pool_lease_find(w->d.pool, &lease.key));
	assert_int_equal(count(w->d.pool).leased, 1);
	assert_int_equal(count(w->d.pool).cooling, 1);
	assert_true(pool_tick(w->d.pool, w->now_us) == LIST_US + 5 * COOLDOWN_US);
}

static void restore_lost_lease(struct world *w, struct lease *lease)
{
	*lease = lease_of(1);
	lease->addrs[0] = ip("10.0.1.31");
	remember(w, lease);
	list_of(w, BLOCKS("10.0.1.21/32"), NULL);
	view_restore(&w->d, w->now_us);
	assert_string_equal(state_of(w, "10.0.1.31/32"), "lost");
	assert_non_null(pool_lease_find(w->d.pool, &lease->key));
	assert_int_equal(count(w->d.pool).lost, 1);
	assert_sound(w->d.pool);
}

static void test_restore__lease_on_a_block_that_nobody_shows(void **state)
{
	struct world *w = *state;
	struct lease lease;

	restore_lost_lease(w, &lease);
	list_of(w, BLOCKS("10.0.1.21/32", "10.0.1.31/32"), NULL);
	assert_string_equal(state_of(w, "10.0.1.31/32"), "pending");
	assert_non_null(pool_lease_find(w->d.pool, &lease.key));
}

/* The first list was older than that NIC: the pod leaves by the NIC that the next one shows. */
static void test_restore__lost_block_turns_up_on_another_nic(void **state)
{
	struct pool_block_view block;
	struct world *w = *state;
	struct lease lease;

	restore_lost_lease(w, &lease);
	list_of(w, BLOCKS("10.0.1.21/32"), BLOCKS("10.0.1.31/32"));
	assert_string_equal(state_of(w, "10.0.1.31/32"), "pending");
	assert_true(pool_block_of(w->d.pool, &lease.addrs[0], &block));
	assert_int_equal(block.nic_slot, SECOND);
	assert_non_null(pool_lease_find(w->d.pool, &lease.key));
	assert_int_equal(count(w->d.pool).lost, 0);
	assert_int_equal(count(w->d.pool).leased, 1);
}

static void test_restore__lost_block_turns_up_inside_a_larger_one(void **state)
{
	struct world *w = *state;
	struct lease lease;

	restore_lost_lease(w, &lease);
	list_of(w, BLOCKS("10.0.1.21/32"), BLOCKS("10.0.1.16/28"));
	assert_string_equal(state_of(w, "10.0.1.16/28"), "gone"); /* .21 is ours on the primary, and live */
	list_of(w, NO_BLOCKS, BLOCKS("10.0.1.16/28"));
	list_of(w, NO_BLOCKS, BLOCKS("10.0.1.16/28"));
	list_of(w, NO_BLOCKS, BLOCKS("10.0.1.16/28"));
	assert_string_equal(state_of(w, "10.0.1.16/28"), "pending");
	assert_non_null(pool_lease_find(w->d.pool, &lease.key));
	assert_int_equal(count(w->d.pool).lost, 0);
}

static void make_route(struct world *w, const char *link_name, const char *address, uint8_t protocol)
{
	struct net_veth veth = { .name = link_name, .peer_netns_fd = -1, .up = true };
	struct net_route route = {
		.dst = pfx(address), .type = NET_ROUTE_UNICAST, .table = NET_TABLE_LOCAL, .protocol = protocol
	};
	struct net_link link;
	char peer[NET_IFNAME_SIZE];

	(void)snprintf(peer, sizeof(peer), "p-%s", link_name);
	veth.peer_name = peer;
	must(net_veth_add(w->d.net, &veth, &err));
	must(net_link_by_name(w->d.net, link_name, &link, &err));
	must(net_link_set_up(w->d.net, link.index, true, &err));
	route.oif = link.index;
	must(net_route_replace(w->d.net, &route, &err));
}

static void test_restore__pods_that_only_the_kernel_knows(void **state)
{
	struct lease known = lease_of(1);
	char ifname[LEASE_IFNAME_SIZE];
	const struct lease *lease;
	struct world *w = *state;
	struct lease_key key;
	struct contents seen;

	known.addrs[0] = ip("10.0.1.21");
	remember(w, &known);
	make_route(w, "bth00000001", "10.0.1.21/32", BERTH_RTPROT);
	make_route(w, "bth00000002", "10.0.1.22/32", BERTH_RTPROT);
	make_route(w, "other", "10.0.1.23/32", BERTH_RTPROT); /* no pod's link */
	make_route(w, "bth00000004", "10.0.1.24/32", 4);      /* not our route */
	list_of(w, BLOCKS("10.0.1.21/32", "10.0.1.22/32", "10.0.1.23/32", "10.0.1.24/32"), NULL);
	view_restore(&w->d, w->now_us);
	view_adopt(&w->d, w->now_us);
	assert_int_equal(count(w->d.pool).leased, 2);
	assert_int_equal(w->d.stats.adopted, 1);
	adopted_key(&w->d, "bth00000002", &key);
	lease = pool_lease_find(w->d.pool, &key);
	assert_non_null(lease);
	assert_int_equal(lease->state, LEASE_BOUND);
	lease_host_ifname(lease, ifname);
	assert_string_equal(ifname, "bth00000002");
	must(look(w->d.store, &seen, &err));
	assert_int_equal(seen.lease_count, 2);
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
		view_test(test_view_differs__changes_nothing__aws_3887),
		view_test(test_restore__leases_and_cooldowns),
		view_test(test_restore__lease_on_a_block_that_nobody_shows),
		view_test(test_restore__lost_block_turns_up_on_another_nic),
		view_test(test_restore__lost_block_turns_up_inside_a_larger_one),
		view_test(test_restore__pods_that_only_the_kernel_knows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
