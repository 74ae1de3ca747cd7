/* SPDX-License-Identifier: Apache-2.0 */
/* The pool where it must refuse, and under a long random life that a plain table of what is so goes along with. */
#include "tests/unit/pool_model.h"

#include <errno.h>
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

/* ---- random walks: the pool against a plain table ---- */

#define WALK_STEPS 20000U

struct walk {
	struct pool *pool;
	struct model *m;
	uint64_t random;
	int64_t now_us;
};

static unsigned roll(struct walk *w, unsigned below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return below ? (unsigned)(w->random % below) : 0;
}

/* ---- pods ---- */

/* What the pod must get; false when it must get nothing. */
static bool expected_addrs(struct walk *w, unsigned ret[IP_FAMILIES])
{
	unsigned near = NONE;

	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		ret[i] = NONE;
		if (!is_served(w->m, i))
			continue;
		if (near != NONE)
			ret[i] = next_of(w->m, i, near);
		if (ret[i] == NONE)
			ret[i] = next_of(w->m, i, NONE);
		if (ret[i] == NONE)
			return false;
		near = block_of(w->m, ret[i])->nic;
	}
	return true;
}

static void assert_has(const struct walk *w, const struct lease *lease, const unsigned addrs[IP_FAMILIES])
{
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		if (addrs[i] == NONE)
			assert_int_equal(lease->addrs[i].family, IP_NONE);
		else
			assert_true(ipaddr_equal(&lease->addrs[i], &w->m->addrs[addrs[i]].value));
	}
}

static void walk_add(struct walk *w, unsigned pod)
{
	const struct lease_key key = key_of(pod);
	const struct pod_name name = { .name = "p" };
	unsigned addrs[IP_FAMILIES];
	bool is_new = false, expected = !w->m->pods[pod].up && expected_addrs(w, addrs);
	const struct lease *lease = pool_lease(w->pool, &key, &name, "", w->now_us, &is_new);

	assert_int_equal(is_new, expected);
	if (w->m->pods[pod].up)
		assert_has(w, lease, w->m->pods[pod].addrs);
	if (!expected) {
		assert_int_equal(lease != NULL, w->m->pods[pod].up);
		return;
	}
	assert_has(w, lease, addrs);
	w->m->pods[pod] = (struct model_pod){ .reserved = true, .addrs = { NONE, NONE } };
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		if (addrs[i] != NONE) {
			assert_int_equal(w->m->addrs[addrs[i]].state, ADDR_FREE);
			model_lease(w->m, addrs[i], pod, false);
		}
}

static void walk_del(struct walk *w, unsigned pod)
{
	const struct lease_key key = key_of(pod);
	int64_t until_us = 0;
	bool had = pool_lease_release(w->pool, &key, w->now_us, &until_us);

	assert_int_equal(had, w->m->pods[pod].up);
	if (!had)
		return;
	assert_int_equal(until_us, w->now_us + COOLDOWN_US);
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		if (w->m->pods[pod].addrs[i] != NONE)
			model_cool(w->m, w->m->pods[pod].addrs[i], until_us);
	w->m->pods[pod].up = false;
}

static void walk_confirm_or_undo(struct walk *w, unsigned pod)
{
	const struct lease_key key = key_of(pod);
	struct model_pod *its = &w->m->pods[pod];

	if (!its->up || !its->reserved || roll(w, 2)) {
		assert_int_equal(pool_lease_confirm(w->pool, &key, w->now_us), its->up);
		its->reserved = false;
		return;
	}
	pool_lease_undo(w->pool, &key, w->now_us);
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		if (its->addrs[i] != NONE)
			model_free(w->m, its->addrs[i], true);
	its->up = false;
}

/* ---- what the store says ---- */

/* An address of a family, used or not, of a block that is not on its way back to the cloud; NONE. */
static unsigned some_addr(struct walk *w, unsigned family)
{
	unsigned at = roll(w, w->m->addr_count);
	const struct model_block *block = block_of(w->m, at);

	return block->family == family && block->state != BLOCK_RELEASING ? at : NONE;
}

static int expected_restore(struct walk *w, unsigned pod, const unsigned addrs[IP_FAMILIES])
{
	if (addrs[0] == NONE && addrs[1] == NONE)
		return -ENOENT;
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		if (addrs[i] == NONE)
			continue;
		if (!block_of(w->m, addrs[i])->held)
			return -ENOENT;
		if (w->m->addrs[addrs[i]].state == ADDR_LEASED)
			return -EEXIST;
	}
	return w->m->pods[pod].up ? -EEXIST : 0;
}

static void walk_restore(struct walk *w, unsigned pod)
{
	const unsigned addrs[IP_FAMILIES] = { some_addr(w, 0), some_addr(w, 1) };
	struct lease lease = { .key = key_of(pod), .state = roll(w, 2) ? LEASE_BOUND : LEASE_RESERVED };
	int expected = expected_restore(w, pod, addrs);

	for (unsigned i = 0; i < IP_FAMILIES; i++)
		if (addrs[i] != NONE)
			lease.addrs[i] = w->m->addrs[addrs[i]].value;
	assert_int_equal(pool_lease_restore(w->pool, &lease), expected);
	if (expected < 0)
		return;
	w->m->pods[pod] = (struct model_pod){ .reserved = lease.state == LEASE_RESERVED, .addrs = { NONE, NONE } };
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		if (addrs[i] != NONE)
			model_lease(w->m, addrs[i], pod, true);
}

static void walk_restore_cooldown(struct walk *w)
{
	unsigned at = some_addr(w, roll(w, IP_FAMILIES));
	int64_t until_us = w->now_us + roll(w, 40) * USEC_PER_SEC;
	struct model_addr *addr = &w->m->addrs[at == NONE ? 0 : at];
	int r;

	if (at == NONE)
		return;
	r = pool_cooldown_restore(w->pool, &addr->value, until_us);
	if (!block_of(w->m, at)->held)
		assert_int_equal(r, -ENOENT);
	else if (addr->state == ADDR_LEASED)
		assert_int_equal(r, -EBUSY);
	else
		assert_int_equal(r, 0);
	if (r == 0 && (addr->state == ADDR_FREE || until_us > addr->until_us))
		model_cool(w->m, at, until_us);
}

/* ---- time ---- */

static void walk_tick(struct walk *w)
{
	unsigned at;

	(void)pool_tick(w->pool, w->now_us);
	while ((at = next_rested(w->m)) != NONE && w->m->addrs[at].until_us <= w->now_us)
		model_free(w->m, at, false);
}

static void walk_flush_begin(struct walk *w)
{
	struct ipaddr addrs[3];
	unsigned count = pool_flush_begin(w->pool, w->now_us, addrs, 1 + roll(w, ARRAY_SIZE(addrs)));

	for (unsigned i = 0; i < count; i++) {
		unsigned at = next_rested(w->m);

		assert_int_not_equal(at, NONE);
		assert_true(w->m->addrs[at].until_us <= w->now_us);
		assert_true(ipaddr_equal(&addrs[i], &w->m->addrs[at].value));
		w->m->addrs[at].flushing = true;
	}
}

/* Of one that is flushed, or of any other, which must change nothing. */
static void walk_flush_end(struct walk *w)
{
	unsigned from = roll(w, w->m->addr_count), at = from;

	do
		at = (at + 1) % w->m->addr_count;
	while (at != from && roll(w, 50) && !(w->m->addrs[at].state == ADDR_COOLING && w->m->addrs[at].flushing));
	pool_flush_end(w->pool, &w->m->addrs[at].value, w->now_us);
	if (w->m->addrs[at].state == ADDR_COOLING && w->m->addrs[at].flushing)
		model_free(w->m, at, false);
}

/* ---- blocks and NICs ---- */

static void set_block(struct walk *w, struct model_block *block, enum block_state state)
{
	bool was = is_leasable(w->m, block);

	pool_block_set_state(w->pool, &block->prefix, state, w->now_us);
	block->state = state;
	line_up(w->m, block, was);
}

static void add_block_again(struct walk *w, struct model_block *block)
{
	assert_int_equal(pool_block_add(w->pool, block->nic, &block->prefix, w->now_us), 0);
	block->held = true;
	block->state = BLOCK_PENDING;
}

static void walk_block(struct walk *w)
{
	struct model_block *block = &w->m->blocks[roll(w, w->m->block_count)];
	bool idle = free_in(w->m, block) == size_of(block);

	if (!block->held) {
		add_block_again(w, block);
		return;
	}
	if (roll(w, 8) == 0 && in_state(w->m, block, ADDR_LEASED) == 0) {
		pool_block_remove(w->pool, &block->prefix);
		model_forget_block(w->m, block);
		return;
	}
	switch (block->state) {
	case BLOCK_PENDING:
		set_block(w, block, BLOCK_READY);
		return;
	case BLOCK_READY:
		set_block(w, block, roll(w, 4) ? BLOCK_DRAINING : BLOCK_LOST);
		return;
	case BLOCK_DRAINING:
		set_block(w, block, idle && roll(w, 2) ? BLOCK_RELEASING : BLOCK_READY);
		return;
	case BLOCK_RELEASING:
		set_block(w, block, roll(w, 2) ? BLOCK_PENDING : BLOCK_READY);
		return;
	case BLOCK_LOST:
		set_block(w, block, BLOCK_PENDING);
		return;
	case BLOCK_STATE_COUNT:
		fail();
	}
}

static void walk_nic(struct walk *w)
{
	unsigned nic = roll(w, MODEL_NICS);
	enum nic_state was = w->m->nics[nic], to = NIC_READY;
	bool were[MODEL_BLOCKS];

	if (was == NIC_READY)
		to = roll(w, 3) ? NIC_DRAINING : NIC_LOST;
	else if (was == NIC_LOST)
		to = NIC_CONFIGURING;
	for (unsigned b = 0; b < w->m->block_count; b++)
		were[b] = is_leasable(w->m, &w->m->blocks[b]);
	pool_nic_set_state(w->pool, nic, to, w->now_us);
	w->m->nics[nic] = to;
	for (unsigned b = 0; b < w->m->block_count; b++)
		line_up(w->m, &w->m->blocks[b], were[b]);
}

static void walk_closed(struct walk *w)
{
	unsigned nic = roll(w, MODEL_NICS);
	struct cloud_nic now = cloud_nic_of(nic);
	bool were[MODEL_BLOCKS];

	for (unsigned b = 0; b < w->m->block_count; b++)
		were[b] = is_leasable(w->m, &w->m->blocks[b]);
	now.closed = roll(w, 2);
	assert_int_equal(pool_nic_update(w->pool, nic, &now), now.closed != w->m->closed[nic]);
	w->m->closed[nic] = now.closed;
	for (unsigned b = 0; b < w->m->block_count; b++)
		line_up(w->m, &w->m->blocks[b], were[b]);
}

/* ---- walking ---- */

static void walk_step(struct walk *w)
{
	unsigned what = roll(w, 100);

	if (what < 45)
		walk_add(w, roll(w, MODEL_PODS));
	else if (what < 73)
		walk_del(w, roll(w, MODEL_PODS));
	else if (what < 79)
		w->now_us += roll(w, 5) * USEC_PER_SEC;
	else if (what < 82)
		walk_confirm_or_undo(w, roll(w, MODEL_PODS));
	else if (what < 84)
		walk_restore(w, roll(w, MODEL_PODS));
	else if (what < 86)
		walk_restore_cooldown(w);
	else if (what < 91)
		walk_flush_begin(w);
	else if (what < 97)
		walk_flush_end(w);
	else if (what < 99)
		walk_block(w);
	else if (roll(w, 3))
		walk_nic(w);
	else
		walk_closed(w);
	if (roll(w, 3) == 0)
		walk_tick(w);
}

/* Nothing that the cloud shows as ours is in two counters or in none. */
static void assert_sums(const struct walk *w)
{
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		struct pool_counts c = count_of(w->pool, ip_family_at(i));
		unsigned lost_cooling = 0;

		for (unsigned b = 0; b < w->m->block_count; b++) {
			const struct model_block *block = &w->m->blocks[b];

			if (block->family == i && (block->state == BLOCK_LOST || w->m->nics[block->nic] == NIC_LOST))
				lost_cooling += in_state(w->m, block, ADDR_COOLING);
		}
		assert_int_equal(c.total,
				 c.free + c.pending + c.unleasable + (c.leased - c.lost) + (c.cooling - lost_cooling));
	}
}

static void assert_same(struct walk *w)
{
	unsigned rested = next_rested(w->m);

	assert_sound(w->pool);
	assert_same_counts(w->m, w->pool);
	assert_same_addresses(w->m, w->pool);
	assert_sums(w);
	assert_true(pool_next_rested(w->pool) == (rested == NONE ? INT64_MAX : w->m->addrs[rested].until_us));
}

static uint64_t walk_seed(void)
{
	const char *given = getenv("BERTH_TEST_SEED");
	uint64_t seed = 20260923;

	if (given && str_u64(given, 1, UINT64_MAX, &seed) < 0)
		fail_msg("BERTH_TEST_SEED is no number");
	print_message("# seed %" PRIu64 " (BERTH_TEST_SEED)\n", seed);
	return seed;
}

static void walk(struct pool *pool, unsigned serves)
{
	struct walk w = { .pool = pool, .now_us = START_US, .random = walk_seed() };

	w.m = calloc(1, sizeof(*w.m));
	assert_non_null(w.m);
	w.m->serves = serves;
	for (unsigned i = 0; i < MODEL_NICS; i++) {
		add_nic(pool, i);
		w.m->nics[i] = NIC_READY;
	}
	model_add_block(w.m, 0, "10.0.0.0/28");
	model_add_block(w.m, 1, "10.0.0.16/28");
	model_add_block(w.m, 1, "10.0.0.33/32");
	model_add_block(w.m, 0, "10.0.0.36/30");
	model_add_block(w.m, 0, "2001:db8::/119");
	model_add_block(w.m, 1, "2001:db8:1::/119");
	model_add_block(w.m, 0, "2001:db8:2::8/125");
	model_add_block(w.m, 1, "2001:db8:2::33/128");
	for (unsigned b = 0; b < w.m->block_count; b++) {
		add_block_again(&w, &w.m->blocks[b]);
		set_block(&w, &w.m->blocks[b], BLOCK_READY);
	}
	for (unsigned i = 0; i < WALK_STEPS; i++) {
		walk_step(&w);
		assert_same(&w);
	}
	free(w.m);
}

static void test_pool__random_walk_v4__aws_711__azure_25(void **state)
{
	walk(*state, POOL_SERVES_V4);
}

static void test_pool__random_walk_v6__aws_711__azure_25(void **state)
{
	walk(*state, POOL_SERVES_V6);
}

static void test_pool__random_walk_dual_stack__aws_711__azure_25(void **state)
{
	walk(*state, POOL_SERVES_V4 | POOL_SERVES_V6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		pool_test(test_pool__random_walk_v4__aws_711__azure_25),
		pool_test_v6(test_pool__random_walk_v6__aws_711__azure_25),
		pool_test_dual(test_pool__random_walk_dual_stack__aws_711__azure_25),
		check_unit_test(test_pool__illegal_edges_abort),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
