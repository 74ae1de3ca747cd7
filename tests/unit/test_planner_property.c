/* SPDX-License-Identifier: Apache-2.0 */
/* The planner over every pod count, seeded random lives and seeded random states; BERTH_TEST_SEED replays one. */
#include "tests/unit/world.h"

static const struct cloud_limits *const all_limits[] = {
	&m5_large,   &t3_nano,       &m5_4xlarge, &m5_large_prefixes,      &t3_nano_prefixes, &azure_blocks,
	&gcp_ranges, &m5_large_dual, &azure_dual, &m5_large_prefixes_dual, &m5_large_v6,      &azure_v6,
};

static unsigned min_u(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static unsigned max_u(unsigned a, unsigned b)
{
	return a > b ? a : b;
}

static unsigned round_up(unsigned n, unsigned by)
{
	return (n + by - 1) / by * by;
}

/* Addresses of a family that the instance can have; a range is more than anybody asks for. */
static unsigned capacity_of(const struct world *w, unsigned family)
{
	unsigned nics = w->limits.can_attach_nic ? w->limits.nics_max : 1;

	return nics * w->limits.units[family].per_nic_max * unit_size_of(w, family);
}

static unsigned capacity(const struct world *w)
{
	unsigned least = UINT32_MAX;

	for (unsigned f = 0; f < IP_FAMILIES; f++)
		if (serves(&w->limits, f))
			least = min_u(least, capacity_of(w, f));
	return least;
}

static int find_surplus(const struct pool_block_view *block, void *arg)
{
	const struct world *w = arg;
	unsigned f = ip_index(block->prefix.addr.family), surplus = w->plan.supply[f] - w->plan.wanted[f];

	if (w->plan.supply[f] > w->plan.wanted[f] && !in_ranges(w, f) &&
	    block->leased_count + block->cooling_count == 0 && block->supply_count <= surplus)
		fail_msg("an idle block of %u addresses is kept, surplus %u", block->size, surplus);
	return 0;
}

/* IPv6 ranges of a NIC that pods may get addresses from. */
static int count_range(const struct pool_block_view *block, void *arg)
{
	struct on_nic *on = arg;

	if (block->nic_slot == on->slot && block->size > POOL_BLOCK_SIZE_MAX && block->supply_count > 0)
		on->shown_count++;
	return 0;
}

static void assert_one_range_each(const struct world *w)
{
	const struct pool_nic *nic = NULL;

	while (in_ranges(w, V6) && serves(&w->limits, V6) && (nic = pool_nic_next(w->pool, nic))) {
		struct on_nic ranges = { .slot = nic->slot };

		(void)pool_blocks(w->pool, count_range, &ranges);
		if (serves(&w->limits, V4) ? blocks_on(w, nic->slot).shown_count > 0 : nic->primary)
			assert_int_equal(ranges.shown_count, 1);
		else
			assert_true(ranges.shown_count <= 1);
	}
}

/* At rest: enough, and nothing that could go. */
static void assert_settled(struct world *w)
{
	const struct pool_nic *nic = NULL;

	settle(w);
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		assert_true(w->plan.supply[f] >= w->plan.wanted[f] || w->plan.short_because == FAIL_NIC_LIMIT);
		assert_true(w->plan.supply[f] >= min_u(w->plan.wanted[f], capacity_of(w, f)));
	}
	(void)pool_blocks(w->pool, find_surplus, w);
	while ((nic = pool_nic_next(w->pool, nic)))
		assert_true(nic->primary || nic->block_count[V4] + nic->block_count[V6] > 0);
	assert_one_range_each(w);
}

static void test_planner_decide__every_pod_count_on_every_instance(void **state)
{
	(void)state;
	for (unsigned t = 0; t < ARRAY_SIZE(all_limits); t++) {
		for (unsigned pods = 0; pods <= 110; pods++) {
			_cleanup_world_ struct world *w = world_new(all_limits[t], 8);

			set_pods(w, pods);
			for (unsigned f = 0; f < IP_FAMILIES; f++)
				assert_int_equal(counts_in(w, f).leased,
						 serves(&w->limits, f) ? min_u(pods, capacity(w)) : 0);
			assert_settled(w);
		}
	}
}

static void test_planner_decide__down_from_every_pod_count(void **state)
{
	(void)state;
	for (unsigned t = 0; t < ARRAY_SIZE(all_limits); t++) {
		for (unsigned pods = 0; pods <= 110; pods += 5) {
			_cleanup_world_ struct world *w = world_new(all_limits[t], 8);

			set_pods(w, 110);
			set_pods(w, pods);
			w->growths = 0;
			assert_settled(w);
			assert_int_equal(w->growths, 0);
			for (unsigned f = 0; f < IP_FAMILIES && pods == 0; f++)
				if (serves(&w->limits, f))
					assert_int_equal(counts_in(w, f).total,
							 min_u(capacity_of(w, f), round_up(8, unit_size_of(w, f))));
		}
	}
}

/* ---- targets, to the unit ---- */

static const struct plan_targets all_targets[] = {
	{ .warm_ips = 1 },
	{ .warm_ips = 8 },
	{ .warm_ips = 20 },
	{ .min_ips = 30 },
	{ .warm_ips = 2, .min_ips = 10 },
	{ .warm_blocks = 1 },
	{ .warm_blocks = 2, .warm_ips = 3 },
	{ .warm_nics = 1 },
	{ 0 },
	{ .warm_auto = true, .warm_ips = 1 },
	{ .warm_auto = true, .warm_ips = 5 },
	{ .warm_auto = true, .warm_ips = 8 },
	{ .warm_auto = true, .warm_ips = 16 },
};

static unsigned expected_warm(const struct world *w, unsigned family)
{
	const struct plan_targets *targets = &w->targets;
	unsigned unit = unit_size_of(w, family), nic = w->limits.units[family].per_nic_max * unit;

	return max_u(targets->warm_ips, max_u(targets->warm_blocks * unit, targets->warm_nics * nic));
}

/* What the node owns of a family with @pods pods, at rest: from the words of the targets, not from the planner's. */
static unsigned expected_total(const struct world *w, unsigned family, unsigned pods)
{
	const struct plan_targets *targets = &w->targets;
	unsigned unit = unit_size_of(w, family), warm = expected_warm(w, family), total;

	total = pods + (targets->warm_auto ? min_u(warm, max_u(8, unit)) : warm);
	total = min_u(max_u(total, targets->min_ips), targets->max_pods);
	total = round_up(total, unit);
	if (targets->warm_auto && total > pods && total - pods > max_u(8, unit))
		total -= unit;
	return min_u(total, capacity_of(w, family) / unit * unit);
}

static void assert_targets_met(struct world *w, unsigned pods)
{
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		struct pool_counts counts = counts_in(w, f);
		unsigned unit = serves(&w->limits, f) ? unit_size_of(w, f) : 1;

		if (!serves(&w->limits, f) || in_ranges(w, f))
			continue;
		if (counts.total != expected_total(w, f, pods))
			fail_msg("%u pods, unit %u, warm %u min %u auto %d: %u owned, %u expected", pods, unit,
				 expected_warm(w, f), w->targets.min_ips, w->targets.warm_auto, counts.total,
				 expected_total(w, f, pods));
		/* At least one is there for whoever comes next, unless nothing warm was asked for or can be had. */
		assert_true(counts.free > 0 || expected_warm(w, f) == 0 || pods >= w->targets.max_pods ||
			    counts.total + unit > capacity_of(w, f));
		assert_true(counts.total < w->targets.max_pods + unit);
		if (w->targets.warm_auto)
			assert_true(counts.total - counts.leased <= max_u(8, unit));
	}
}

static void test_planner_decide__targets_are_met_to_the_unit(void **state)
{
	(void)state;
	for (unsigned t = 0; t < ARRAY_SIZE(all_limits); t++) {
		for (unsigned i = 0; i < ARRAY_SIZE(all_targets); i++) {
			_cleanup_world_ struct world *w = world_new(all_limits[t], 0);

			w->targets = all_targets[i];
			w->targets.max_pods = 110;
			w->targets.release_delay_us = DELAY_US;
			for (unsigned pods = 0; pods <= min_u(110, capacity(w)); pods++) {
				set_pods(w, pods);
				assert_settled(w);
				assert_targets_met(w, pods);
			}
			/* And down again; the last that came are the first to go, so that blocks become idle. */
			for (unsigned pods = min_u(110, capacity(w)); pods-- > 0;) {
				set_pods(w, pods);
				assert_settled(w);
				assert_targets_met(w, pods);
			}
		}
	}
}

/* ---- random lives ---- */

/* Random arrivals and ends; at each step what step() asserts, and a cloud call only where demand moved. */
static void random_life(struct world *w, unsigned steps)
{
	for (unsigned i = 0; i < steps; i++) {
		unsigned pod = roll(w, 100);

		if (w->up[pod]) {
			pod_down(w, pod);
		} else if (!pod_up(w, pod)) {
			w->waiting = 1 + roll(w, 5);
			(void)step(w);
			w->waiting = 0;
			(void)pod_up(w, pod);
		}
		if (roll(w, 10) == 0)
			set_pods(w, roll(w, 110));
		w->now_us += roll(w, 20) * USEC_PER_SEC;
		(void)pool_tick(w->pool, w->now_us);
		(void)step(w);
		for (unsigned f = 0; f < IP_FAMILIES; f++)
			assert_true(!serves(&w->limits, f) || in_ranges(w, f) ||
				    counts_in(w, f).total < w->targets.max_pods + unit_size_of(w, f));
	}
}

static void test_planner_decide__random_lives(void **state)
{
	uint64_t seed = test_seed();
	unsigned drains = 0;

	(void)state;
	for (unsigned i = 0; i < 120; i++) {
		_cleanup_world_ struct world *w = world_new(all_limits[i % ARRAY_SIZE(all_limits)], i % 17);

		w->random = seed + i * 7919;
		w->targets.min_ips = roll(w, 3) ? 0 : roll(w, 30);
		w->targets.warm_auto = roll(w, 2);
		random_life(w, 300);
		assert_settled(w);
		drains += w->drains;
		w->mutations = 0;
		settle(w);
		assert_int_equal(w->mutations, 0);
	}
	assert_true(drains > 50);
}

/* ---- any state whatever ---- */

static enum nic_state random_nic_state(struct world *w)
{
	static const enum nic_state states[] = { NIC_READY, NIC_READY,    NIC_READY, NIC_CONFIGURING,
						 NIC_READY, NIC_DRAINING, NIC_LOST };

	return states[roll(w, ARRAY_SIZE(states))];
}

/* Some units of each family. */
static struct wants random_wants(struct world *w)
{
	struct wants wants = { 0 };

	for (unsigned f = 0; f < IP_FAMILIES; f++)
		if (serves(&w->limits, f))
			wants.units[f] =
				(struct cloud_want){ roll(w, in_ranges(w, f) ? 2 : 4), w->limits.units[f].len };
	return wants;
}

static void random_nic(struct world *w, unsigned slot)
{
	struct cloud_nic from = { .slot = slot, .primary = slot == 0, .foreign = slot > 0 && roll(w, 8) == 0 };
	enum nic_state want;

	(void)snprintf(from.id, sizeof(from.id), "nic-%u", slot);
	if (slot > 0 && roll(w, 8) == 0) {
		assert_non_null(pool_nic_attaching(w->pool, slot, random_wants(w).units, w->now_us));
		return;
	}
	from.closed = roll(w, 8) == 0;
	assert_non_null(pool_nic_add(w->pool, &from, w->now_us - roll(w, 200) * USEC_PER_SEC));
	if (from.foreign)
		return;
	want = slot == 0 ? NIC_READY : random_nic_state(w);
	if (want != NIC_CONFIGURING)
		pool_nic_set_state(w->pool, slot, NIC_READY, w->now_us - roll(w, 200) * USEC_PER_SEC);
	if (want != NIC_READY && want != NIC_CONFIGURING)
		pool_nic_set_state(w->pool, slot, want, w->now_us - roll(w, 200) * USEC_PER_SEC);
}

static void random_addresses(struct world *w, const struct prefix *prefix)
{
	unsigned density = 1 + roll(w, 12), size = view_of(w, prefix).size;

	/* What is beyond the first 20 addresses of a range is like them; its very first is nobody's. */
	for (unsigned i = size > POOL_BLOCK_SIZE_MAX; i < min_u(size, 20); i++) {
		struct lease lease = { .state = LEASE_BOUND };
		struct ipaddr addr = ipaddr_add(&prefix->addr, i);

		lease.addrs[ip_index(addr.family)] = addr;
		(void)snprintf(lease.key.container, sizeof(lease.key.container), "%u.%x.%x", addr.family,
			       w->next_addr + i, w->next_range);
		if (roll(w, density) == 0)
			assert_int_equal(pool_lease_restore(w->pool, &lease), 0);
		else if (roll(w, 6) == 0)
			assert_int_equal(pool_cooldown_restore(w->pool, &addr, w->now_us + roll(w, 30)), 0);
	}
}

static void random_block(struct world *w, unsigned family, unsigned slot, bool has_pods)
{
	const struct cloud_units *units = &w->limits.units[family];
	int64_t now_us = w->now_us;
	struct prefix prefix;

	w->now_us -= roll(w, 150) * USEC_PER_SEC;
	prefix = add_block_of(w, family, slot, roll(w, 6) ? units->len : units->single_len);
	if (roll(w, 8) == 0)
		pool_block_set_state(w->pool, &prefix, BLOCK_LOST, w->now_us);
	if (roll(w, 3) == 0 && view_of(w, &prefix).state == BLOCK_LOST)
		pool_block_set_state(w->pool, &prefix, BLOCK_PENDING, w->now_us);
	else if (view_of(w, &prefix).state == BLOCK_READY && roll(w, 12) == 0)
		pool_block_set_state(w->pool, &prefix, BLOCK_DRAINING, w->now_us);
	w->now_us = now_us;
	if (has_pods && roll(w, 3))
		random_addresses(w, &prefix);
}

static void random_targets(struct world *w)
{
	w->targets = (struct plan_targets){ .warm_ips = roll(w, 20),
					    .min_ips = roll(w, 3) ? 0 : roll(w, 60),
					    .warm_blocks = roll(w, 3) ? 0 : roll(w, 3),
					    .warm_nics = roll(w, 5) ? 0 : roll(w, 2),
					    .warm_auto = roll(w, 2),
					    .primary_unused = roll(w, 5) == 0,
					    .max_nics = roll(w, 3) ? 0 : roll(w, 9),
					    .max_pods = 1 + roll(w, 120),
					    .release_delay_us = (1 + roll(w, 90)) * USEC_PER_SEC };
	w->waiting = roll(w, 3) ? 0 : roll(w, 40);
	w->grow_us = roll(w, 6) ? 0 : w->now_us + 1 + roll(w, 60) * USEC_PER_SEC;
	w->shrink_us = roll(w, 6) ? 0 : w->now_us + 1 + roll(w, 60) * USEC_PER_SEC;
	w->recover_us = roll(w, 4) ? 0 : w->now_us + 1 + roll(w, 60) * USEC_PER_SEC;
	for (unsigned f = 0; f < IP_FAMILIES; f++)
		w->single_until_us[f] = roll(w, 6) ? 0 : w->now_us + 1 + roll(w, 60) * USEC_PER_SEC;
}

static int release_if_idle(const struct pool_block_view *block, void *arg)
{
	struct world *w = arg;

	if (w->plan.block_count < 4 && block->nic_slot == w->plan.actions[0].slot && block->state == BLOCK_DRAINING &&
	    block->leased_count + block->cooling_count == 0)
		w->plan.blocks[w->plan.block_count++] = block->prefix;
	return 0;
}

/* A few idle blocks that drain are on their way out. */
static void random_releases(struct world *w, unsigned slot)
{
	w->plan.block_count = 0;
	w->plan.actions[0].slot = slot;
	(void)pool_blocks(w->pool, release_if_idle, w);
	for (unsigned i = 0; i < w->plan.block_count; i++)
		pool_block_set_state(w->pool, &w->plan.blocks[i], BLOCK_RELEASING, w->now_us);
	pool_nic_set_busy(w->pool, slot, NIC_BUSY_RELEASE, NULL);
}

/* A NIC that was in service with all that it has is not any more, or is about to be again. */
static void random_change(struct world *w, unsigned slot)
{
	if (slot == 0 || pool_nic_by_slot(w->pool, slot)->state != NIC_READY || roll(w, 4))
		return;
	pool_nic_set_state(w->pool, slot, NIC_DRAINING, w->now_us - roll(w, 100) * USEC_PER_SEC);
	if (roll(w, 2))
		pool_nic_set_state(w->pool, slot, NIC_CONFIGURING, w->now_us - roll(w, 100) * USEC_PER_SEC);
}

static void random_flight(struct world *w, unsigned slot)
{
	if (roll(w, 8) == 0)
		random_releases(w, slot);
	else if (roll(w, 5) == 0)
		pool_nic_set_busy(w->pool, slot, NIC_BUSY_ASSIGN, random_wants(w).units);
	else if (roll(w, 8) == 0)
		pool_nic_set_busy(w->pool, slot, NIC_BUSY_RECOVER, NULL);
	if (roll(w, 8) == 0)
		pool_nic_set_stale(w->pool, slot, true);
}

static struct world *random_world(uint64_t seed)
{
	struct world *w = world_new(all_limits[seed % ARRAY_SIZE(all_limits)], 0);

	w->random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	pool_nic_remove(w->pool, 0);
	random_targets(w);
	for (unsigned slot = 0; slot < w->limits.nics_max; slot++) {
		const struct pool_nic *nic;
		bool has_pods = roll(w, 3) > 0;

		if (slot > 0 && roll(w, 2))
			continue;
		random_nic(w, slot);
		nic = pool_nic_by_slot(w->pool, slot);
		if (nic->state == NIC_FOREIGN || nic->state == NIC_ATTACHING)
			continue;
		for (unsigned f = 0; f < IP_FAMILIES; f++) {
			/* Not more than there is room for, but sometimes many; of ranges one, two or none. */
			unsigned most = in_ranges(w, f) ? 2 : w->limits.units[f].per_nic_max;

			for (unsigned i = serves(&w->limits, f) ? roll(w, most + 1) : 0; i > 0; i--)
				random_block(w, f, slot, has_pods);
		}
		random_change(w, slot);
		random_flight(w, slot);
	}
	return w;
}

static bool something_in_flight(const struct world *w)
{
	const struct pool_nic *nic = NULL;

	while ((nic = pool_nic_next(w->pool, nic)))
		if (nic->busy != NIC_IDLE || nic->stale)
			return true;
	return false;
}

/* The NICs of a plan's mutations, by bit. */
static uint64_t mutated_slots(const struct world *w)
{
	uint64_t slots = 0;

	for (unsigned i = 0; i < w->plan.action_count; i++)
		if (is_mutation(w->plan.actions[i].kind))
			slots |= UINT64_C(1) << w->plan.actions[i].slot;
	return slots;
}

/* A range that comes makes everything else of its family surplus, but not before it is there. */
static bool brings_range(const struct world *w)
{
	struct plan_sums sums = sums_of(w, V6);

	return sums.bought + sums.back > POOL_BLOCK_SIZE_MAX;
}

/* A NIC that goes while addresses are short leaves its place and its share of max pods to another. */
static bool makes_place(const struct world *w)
{
	bool is_short = w->plan.supply[V4] < w->plan.wanted[V4] || w->plan.supply[V6] < w->plan.wanted[V6];

	return is_short && count_actions(w, PLAN_DETACH) > 0;
}

/* Obeys until nothing is left. Only what one NIC could not do in one mutation is left for another decision. */
static void converge(struct world *w)
{
	for (unsigned round = 0; round < 4; round++) {
		uint64_t slots = mutated_slots(w);
		bool may_follow = something_in_flight(w) || brings_range(w) || makes_place(w);
		/* What is back may be surplus, or nothing that pods may get. */
		bool may_drain = count_actions(w, PLAN_RECOVER) > 0;

		obey(w);
		decide(w);
		if (w->plan.action_count == 0)
			return;
		/* What drains does so with what makes it surplus. */
		may_drain = may_drain || count_mutations(w) > 0;
		if (!may_follow && ((mutated_slots(w) & ~slots) || !may_drain)) {
			print_plan(w);
			fail_msg("more than what had to wait is left");
		}
	}
	fail_msg("does not converge");
}

/* ---- lives in a subnet that is fragmented now and then, on a node whose mode is changed now and then ---- */

/* An operator excludes the subnet of one of the NICs, or takes that back. */
static void change_closed(struct world *w)
{
	const struct pool_nic *nic = pool_nic_by_slot(w->pool, roll(w, w->limits.nics_max));
	struct cloud_nic now = { .closed = nic && !nic->closed };

	if (nic)
		(void)pool_nic_update(w->pool, nic->slot, &now);
}

static void change_mode(struct world *w)
{
	struct cloud_units *units = &w->limits.units[V4];

	if (roll(w, 15) == 0)
		w->single_until_us[roll(w, 2)] = w->now_us + roll(w, 300) * USEC_PER_SEC;
	if (roll(w, 40) == 0 && units->single_len != units->len)
		units->len = units->len == 28 ? 32 : 28;
	else if (roll(w, 40) == 0)
		units->len = 28;
	if (roll(w, 40) == 0)
		w->targets.primary_unused = !w->targets.primary_unused;
	if (roll(w, 30) == 0)
		change_closed(w);
}

static void change_pods(struct world *w)
{
	unsigned pod = roll(w, 100);

	if (w->up[pod]) {
		pod_down(w, pod);
		return;
	}
	w->waiting = roll(w, 12);
	decide(w);
	converge(w);
	for (w->waiting++; w->waiting > 0; w->waiting--)
		if (!w->up[(pod + w->waiting) % 100])
			(void)pod_up(w, (pod + w->waiting) % 100);
}

/* Comes to rest from wherever it is: as settle(), but for what takes a NIC two mutations. */
static void come_to_rest(struct world *w)
{
	for (unsigned i = 0; i < SETTLE_STEPS; i++) {
		int64_t next_us = pool_tick(w->pool, w->now_us);

		decide(w);
		converge(w);
		next_us = next_us < w->plan.wake_us ? next_us : w->plan.wake_us;
		if (next_us == INT64_MAX)
			return;
		w->now_us = next_us;
	}
	fail_msg("does not come to rest");
}

static int find_leftover(const struct pool_block_view *block, void *arg)
{
	const struct world *w = arg;
	unsigned f = ip_index(block->prefix.addr.family);

	/* A prefix goes when it is surplus as a whole; until then it serves. */
	if (block->size == 1 && block->leased_count == 0 && block->prefix.len != w->limits.units[f].len)
		assert_true(block->supply_count > w->plan.supply[f] - w->plan.wanted[f] ||
			    w->plan.supply[f] < w->plan.wanted[f]);
	return 0;
}

static void test_planner_decide__lives_with_two_lengths(void **state)
{
	uint64_t seed = test_seed();

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		_cleanup_world_ struct world *w =
			world_new(i % 2 ? &m5_large_prefixes_dual : &m5_large_prefixes, i % 13);

		w->random = seed + i * 6361;
		w->targets.warm_auto = roll(w, 2);
		for (unsigned turn = 0; turn < 200; turn++) {
			change_mode(w);
			change_pods(w);
			w->now_us += roll(w, 30) * USEC_PER_SEC;
			(void)pool_tick(w->pool, w->now_us);
			decide(w);
			converge(w);
		}
		come_to_rest(w);
		(void)pool_blocks(w->pool, find_leftover, w);
		w->mutations = 0;
		w->now_us += 86400 * USEC_PER_SEC;
		come_to_rest(w);
		assert_int_equal(w->mutations, 0);
	}
}

/* ---- any state whatever: the walk ---- */

static void count_kinds(const struct world *w, unsigned *kinds)
{
	for (unsigned kind = 0; kind < PLAN_KIND_COUNT; kind++)
		kinds[kind] += count_actions(w, (enum plan_kind)kind) > 0;
}

static void test_planner_decide__from_any_state(void **state)
{
	uint64_t seed = test_seed();
	unsigned kinds[PLAN_KIND_COUNT] = { 0 };

	(void)state;
	for (uint64_t i = 0; i < 30000; i++) {
		_cleanup_world_ struct world *w = random_world(seed + i);
		struct err err = { 0 };

		if (pool_check(w->pool, &err) < 0)
			fail_msg("state %" PRIu64 ": %s", seed + i, err.msg);
		if (getenv("BERTH_TEST_TRACE"))
			print_message("# state %" PRIu64 "\n", seed + i);
		decide(w);
		count_kinds(w, kinds);
		converge(w);
		w->now_us = w->plan.wake_us == INT64_MAX ? w->now_us + 86400 * USEC_PER_SEC : w->plan.wake_us - 1;
		decide(w);
		assert_int_equal(w->plan.action_count, 0);
	}
	/* The states are worth their time only if everything happens often. */
	for (unsigned kind = 0; kind < PLAN_KIND_COUNT; kind++) {
		print_message("# kind %u in %u plans\n", kind, kinds[kind]);
		assert_true(kinds[kind] > 500);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_planner_decide__every_pod_count_on_every_instance),
		check_unit_test(test_planner_decide__down_from_every_pod_count),
		check_unit_test(test_planner_decide__targets_are_met_to_the_unit),
		check_unit_test(test_planner_decide__random_lives),
		check_unit_test(test_planner_decide__lives_with_two_lengths),
		check_unit_test(test_planner_decide__from_any_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
