/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon of which there are a pool, a real store and a real kernel, and lists of the cloud for it. */
#ifndef TESTS_UNIT_VIEW_WORLD_H
#define TESTS_UNIT_VIEW_WORLD_H

#include "tests/unit/stores.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "berth/net.h"
#include "berth/str.h"
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

static inline int world_setup(void **state)
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

static inline int world_teardown(void **state)
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

static inline struct cloud_nic *show_nic(struct cloud_view *view, unsigned slot)
{
	struct cloud_nic *nic = cloud_view_add_nic(view);

	assert_non_null(nic);
	*nic = cloud_nic_of(slot);
	return nic;
}

static inline void show_block(struct cloud_nic *nic, const char *text)
{
	struct prefix prefix = pfx(text);

	assert_int_equal(cloud_nic_add_block(nic, &prefix), 0);
}

/* A list, asked for a second after the last one and answered half a second later. Takes @view. */
static inline void list(struct world *w, struct cloud_view *view)
{
	w->now_us += USEC_PER_SEC;
	view_merge(&w->d, view, w->now_us, w->now_us + USEC_PER_SEC / 2);
	cloud_view_done(view);
	assert_sound(w->d.pool);
}

/* A list of the primary with these blocks, and of the second NIC with those; NULL: the NIC is not in it. */
static inline void list_of(struct world *w, const char *const *blocks, const char *const *second)
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

static inline const char *state_of(const struct world *w, const char *text)
{
	struct prefix prefix = pfx(text);
	struct pool_block_view block;

	return pool_block_get(w->d.pool, &prefix, &block) ? block_state_name(block.state) : "gone";
}

static inline void make_node(struct world *w, const char *block)
{
	add_nic(w->d.pool, PRIMARY);
	add_block(w->d.pool, PRIMARY, block);
}

#endif
