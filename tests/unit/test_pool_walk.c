/* SPDX-License-Identifier: Apache-2.0 */
/* The pool where it must refuse, and under a long random life that a plain table of what is so goes along with. */
#include "tests/unit/pools.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "berth/str.h"

/* ---- edges that must not be taken ---- */

enum crime {
	CRIME_NIC_EDGE,
	CRIME_NIC_FOREIGN,
	CRIME_BLOCK_EDGE,
	CRIME_RELEASE_LEASED,
	CRIME_RELEASE_COOLING,
	CRIME_DETACH_LEASED,
	CRIME_REMOVE_LEASED,
	CRIME_REMOVE_NIC_LEASED,
	CRIME_BUSY_TWICE,
	CRIME_SLOT_TWICE,
	CRIME_UNDO_BOUND,
	CRIME_COUNT
};

static void commit_crime(struct pool *pool, enum crime crime)
{
	const struct prefix block = pfx("10.0.0.0/31");
	const struct lease_key key = key_of(1);
	struct cloud_nic nic = cloud_nic_of(2);

	add_nic(pool, 1);
	add_block(pool, 1, "10.0.0.0/31");
	(void)take(pool, 1, START_US);
	nic.foreign = true;
	(void)pool_nic_add(pool, &nic, START_US);
	switch (crime) {
	case CRIME_NIC_EDGE:
		pool_nic_set_state(pool, 1, NIC_ATTACHING, START_US);
		return;
	case CRIME_NIC_FOREIGN:
		pool_nic_set_state(pool, 2, NIC_READY, START_US);
		return;
	case CRIME_BLOCK_EDGE:
		pool_block_set_state(pool, &block, BLOCK_PENDING, START_US);
		return;
	case CRIME_RELEASE_COOLING:
	case CRIME_RELEASE_LEASED:
		if (crime == CRIME_RELEASE_COOLING)
			(void)give(pool, 1, START_US);
		pool_block_set_state(pool, &block, BLOCK_DRAINING, START_US);
		pool_block_set_state(pool, &block, BLOCK_RELEASING, START_US);
		return;
	case CRIME_DETACH_LEASED:
		pool_nic_set_state(pool, 1, NIC_DRAINING, START_US);
		pool_nic_set_state(pool, 1, NIC_DETACHING, START_US);
		return;
	case CRIME_REMOVE_LEASED:
		pool_block_remove(pool, &block);
		return;
	case CRIME_REMOVE_NIC_LEASED:
		pool_nic_remove(pool, 1);
		return;
	case CRIME_BUSY_TWICE:
		pool_nic_set_busy(pool, 1, NIC_BUSY_ASSIGN, units_v4(1, 32).units);
		pool_nic_set_busy(pool, 1, NIC_BUSY_RELEASE, NULL);
		return;
	case CRIME_SLOT_TWICE:
		(void)pool_nic_attaching(pool, 1, units_v4(1, 32).units, START_US);
		return;
	case CRIME_UNDO_BOUND:
		(void)pool_lease_confirm(pool, &key, START_US);
		pool_lease_undo(pool, &key, START_US);
		return;
	case CRIME_COUNT:
		return;
	}
}

/* How a child that commits it ends; its words go nowhere. */
static int status_after(enum crime crime)
{
	pid_t pid = fork();
	int status = 0;

	assert_true(pid >= 0);
	if (pid == 0) {
		struct rlimit none = { 0, 0 };

		(void)setrlimit(RLIMIT_CORE, &none);
		(void)close(STDERR_FILENO);
		commit_crime(pool_new(COOLDOWN_US, POOL_SERVES_V4), crime);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_pool__illegal_edges_abort(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CRIME_COUNT; i++) {
		int status = status_after((enum crime)i);

		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
			fail_msg("crime %u went unpunished: status %d", i, status);
	}
}

/* ---- random walks: the pool against a table of what is so ---- */

#define WALK_ADDRS 64U
#define WALK_PODS  80U
#define WALK_STEPS 20000U

struct walk {
	struct pool *pool;
	uint64_t random;
	int64_t now_us;
	unsigned pod_addr[WALK_PODS];       /* last byte of its address + 1; 0: no lease */
	int64_t rests_until_us[WALK_ADDRS]; /* 0: does not rest */
	bool leased[WALK_ADDRS];
};

static unsigned roll(struct walk *w, unsigned below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (unsigned)(w->random % below);
}

static void walk_add(struct walk *w, unsigned pod)
{
	const struct lease_key key = key_of(pod);
	const struct pod_name name = { .name = "p" };
	bool is_new = false;
	const struct lease *lease = pool_lease(w->pool, &key, &name, "", w->now_us, &is_new);
	struct pool_block_view view;
	unsigned addr;

	if (!lease) {
		assert_int_equal(count(w->pool).free, 0);
		return;
	}
	addr = lease->addrs[0].bytes[3];
	assert_int_equal(is_new, w->pod_addr[pod] == 0);
	if (!is_new) {
		assert_int_equal(addr + 1, w->pod_addr[pod]);
		return;
	}
	assert_false(w->leased[addr]);
	assert_true(w->rests_until_us[addr] <= w->now_us);
	assert_true(pool_block_of(w->pool, &lease->addrs[0], &view));
	assert_int_equal(view.state, BLOCK_READY);
	assert_int_equal(pool_nic_by_slot(w->pool, view.nic_slot)->state, NIC_READY);
	w->leased[addr] = true;
	w->pod_addr[pod] = addr + 1;
}

static void walk_del(struct walk *w, unsigned pod)
{
	const struct lease_key key = key_of(pod);
	int64_t until_us;
	bool had = pool_lease_release(w->pool, &key, w->now_us, &until_us);

	assert_int_equal(had, w->pod_addr[pod] != 0);
	if (!had)
		return;
	w->leased[w->pod_addr[pod] - 1] = false;
	w->rests_until_us[w->pod_addr[pod] - 1] = until_us;
	w->pod_addr[pod] = 0;
}

static void walk_block(struct walk *w)
{
	const struct ipaddr addr = ipaddr_v4(0x0a000000U + roll(w, 4) * 16);
	const struct prefix prefix = prefix_of(&addr, 28);
	struct pool_block_view view;

	assert_true(pool_block_get(w->pool, &prefix, &view));
	switch (view.state) {
	case BLOCK_PENDING:
	case BLOCK_DRAINING:
		pool_block_set_state(w->pool, &prefix, BLOCK_READY, w->now_us);
		return;
	case BLOCK_READY:
		pool_block_set_state(w->pool, &prefix, roll(w, 4) ? BLOCK_DRAINING : BLOCK_LOST, w->now_us);
		return;
	case BLOCK_LOST:
		pool_block_set_state(w->pool, &prefix, BLOCK_PENDING, w->now_us);
		return;
	case BLOCK_RELEASING:
	case BLOCK_STATE_COUNT:
		fail();
	}
}

static void walk_nic(struct walk *w)
{
	enum nic_state to = pool_nic_by_slot(w->pool, 1)->state == NIC_READY ? NIC_DRAINING : NIC_READY;

	pool_nic_set_state(w->pool, 1, to, w->now_us);
}

static void walk_step(struct walk *w)
{
	unsigned what = roll(w, 100);

	if (what < 45)
		walk_add(w, roll(w, WALK_PODS));
	else if (what < 85)
		walk_del(w, roll(w, WALK_PODS));
	else if (what < 97)
		w->now_us += roll(w, 5) * USEC_PER_SEC;
	else if (what < 99)
		walk_block(w);
	else
		walk_nic(w);
	(void)pool_tick(w->pool, w->now_us);
}

static void test_pool__random_walk(void **state)
{
	const char *given = getenv("BERTH_TEST_SEED");
	uint64_t seed = 20260923;
	struct walk w = { .pool = *state, .now_us = START_US };

	if (given && str_u64(given, 1, UINT64_MAX, &seed) < 0)
		fail_msg("BERTH_TEST_SEED is no number");
	print_message("# seed %" PRIu64 " (BERTH_TEST_SEED)\n", seed);
	w.random = seed;
	add_nic(w.pool, 0);
	add_nic(w.pool, 1);
	add_block(w.pool, 0, "10.0.0.0/28");
	add_block(w.pool, 1, "10.0.0.16/28");
	add_block(w.pool, 0, "10.0.0.32/28");
	add_block(w.pool, 1, "10.0.0.48/28");
	for (unsigned i = 0; i < WALK_STEPS; i++) {
		walk_step(&w);
		assert_sound(w.pool);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pool_test(test_pool__random_walk),
		check_unit_test(test_pool__illegal_edges_abort),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
