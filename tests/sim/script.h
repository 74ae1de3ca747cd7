/* SPDX-License-Identifier: Apache-2.0 */
/* Short words for scripted worlds: open, add and delete pods, wait, come to rest. */
#ifndef TESTS_SIM_SCRIPT_H
#define TESTS_SIM_SCRIPT_H

#include "tests/check.h"

#include <inttypes.h>
#include <string.h>

#include "berth/attr.h"
#include "ipamd/ipamd.h"
#include "tests/sim/world.h"

#define MS USEC_PER_MSEC
#define S  USEC_PER_SEC
#define MN (60 * USEC_PER_SEC)

#define must_hold(w)                                                                                                   \
	do {                                                                                                           \
		if (world_failure(w)) {                                                                                \
			world_dump((w), stderr);                                                                       \
			fail_msg("%s", world_failure(w));                                                              \
		}                                                                                                      \
	} while (0)

static _unused_ struct world *opened; /* freed by the teardown of a test that failed */

static inline struct world *open_world(const struct scenario *scenario)
{
	opened = world_new(scenario);
	assert_non_null(opened);
	world_daemon_start(opened);
	return opened;
}

static inline void close_world(struct world *w)
{
	must_hold(w);
	world_free(w);
	opened = NULL;
}

static inline int teardown(void **state)
{
	world_free(opened);
	opened = NULL;
	return check_fds_teardown(state);
}

#define world_test(f) cmocka_unit_test_setup_teardown(f, check_fds_setup, teardown)

static inline void run(struct world *w, int64_t duration_us)
{
	(void)world_run(w, duration_us);
	must_hold(w);
}

static inline void settle(struct world *w)
{
	(void)world_settle(w);
	must_hold(w);
	assert_int_equal(world_cloud_nics(w, false), 0);
}

static inline bool all_live(struct world *w, void *arg)
{
	return world_pods_in(w, POD_LIVE) >= *(const unsigned *)arg;
}

static inline void add_pods(struct world *w, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		assert_true(world_pod_add(w) != UINT32_MAX);
}

static inline void wait_live(struct world *w, unsigned count, int64_t timeout_us)
{
	if (!world_run_until(w, all_live, &count, timeout_us)) {
		world_dump(w, stderr);
		fail_msg("%u of %u pods live: %s", world_pods_in(w, POD_LIVE), count,
			 world_failure(w) ? world_failure(w) : "no failure");
	}
}

static inline void delete_pods(struct world *w, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		world_pod_del(w, i);
}

static inline struct pool_counts counts_of(const struct world *w)
{
	struct pool_counts counts;

	pool_count(world_daemon(w)->pool, IP_V4, &counts);
	return counts;
}

static inline struct sim_range exactly(int64_t us)
{
	return (struct sim_range){ us, us };
}

#endif
