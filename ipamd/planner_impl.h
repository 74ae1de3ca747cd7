/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the planner: planner.c (what there is, what is wanted), planner_grow.c and planner_range.c (more),
 * planner_shrink.c (less), planner_pick.c (which blocks).
 */
#ifndef IPAMD_PLANNER_IMPL_H
#define IPAMD_PLANNER_IMPL_H

#include <stdbool.h>
#include <stdint.h>

#include "ipamd/planner.h"
#include "ipamd/pool.h"

/* By ip_index(). Ranges are an IPv6 matter: IPv4 blocks are kept address by address. */
#define V4 0U
#define V6 1U

/* One NIC's share of a family. */
struct nic_family {
	unsigned supply_count;  /* addresses that pods get from it, now or soon */
	unsigned settled_count; /* of them now */
	unsigned live_count;    /* blocks that pods get addresses from, now or soon */
	unsigned lost_count;    /* blocks that the cloud does not show: they take no room there */
	unsigned recover_count; /* of the lost: asked back, by this plan or already */
	unsigned assign_count;  /* units that this plan buys */
};

struct nic_sum {
	const struct pool_nic *nic;
	struct nic_family families[IP_FAMILIES];
	struct prefix range; /* the one that stays: the most leased; family 0: none */
	unsigned range_leased_count;
	bool range_missing;
	int64_t changed_us;   /* the latest change of one of its blocks; without blocks its own */
	bool usable;          /* pods may get its addresses */
	bool mutated;         /* by this plan */
	bool kept_for_detach; /* idle and surplus as a whole: its blocks are not released one by one */
};

struct plan_family {
	bool served;
	bool ranges;        /* the wanted units are ranges */
	uint8_t wanted_len; /* of the units that are wanted */
	uint8_t len;        /* of the units that are bought now */
	unsigned unit_size; /* addresses of one that is bought now */
	struct pool_counts counts;
	unsigned unusable_count; /* of what the pool counts as supply: on NICs that pods get nothing of */
	unsigned parting_count;  /* free on such NICs: owned, but on their way out */
	unsigned settled_count;  /* of the supply: may be leased this moment, or is */
	unsigned coming_count;   /* added to the supply by this plan, or asked back already */
	unsigned recover_size;   /* addresses of blocks that are asked back */
	unsigned unplaced_count; /* units that are needed, and no NIC has or may have room for */
	unsigned quiet_count;    /* free addresses of blocks that did not change within release_delay */
	unsigned draining_count, draining_leased_count; /* blocks, and what pods hold of them */
	/* while shrinking; signed because what waits for its time is set aside from both */
	int64_t surplus, proven;
	/* what goes, or will when its time has come */
	unsigned going_count, going_settled_count;
	int64_t drain_total, drain_now; /* what draining may take yet */
};

struct decision {
	const struct plan_input *input;
	struct plan *plan;
	struct plan_family families[IP_FAMILIES];
	struct nic_sum nics[CLOUD_NICS_MAX]; /* in slot order */
	unsigned nic_count;
	int64_t next_quiet_us; /* when the next block counts as quiet */
	bool growth_held;      /* addresses would be bought if only time passed */
	bool is_cut;           /* more blocks are idle than a list holds */
	bool any_unusable;     /* pods get nothing of one of the NICs */
	bool may_shrink_later; /* something would go if only time passed */
};

static inline unsigned min_u(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static inline unsigned max_u(unsigned a, unsigned b)
{
	return a > b ? a : b;
}

/* Sums and products must not wrap, whatever an operator writes into the settings: they stop at an end. */
static inline unsigned add_sat(unsigned a, unsigned b)
{
	return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

static inline unsigned mul_sat(unsigned a, unsigned b)
{
	uint64_t product = (uint64_t)a * b;

	return product > UINT32_MAX ? UINT32_MAX : (unsigned)product;
}

static inline unsigned sub_sat(unsigned a, unsigned b)
{
	return a > b ? a - b : 0;
}

static inline unsigned round_up_div(unsigned n, unsigned by)
{
	return n / by + (n % by != 0);
}

/* ---- planner.c ---- */

/** plan_in_service() - addresses on it are, or will be, leased to pods. */
bool plan_in_service(const struct nic_sum *sum);
/** plan_may_mutate() - nothing is in flight on it, its state is known, and this plan does nothing else to it. */
bool plan_may_mutate(const struct nic_sum *sum);
/** plan_nic() - the NIC at @slot, which must be there. */
struct nic_sum *plan_nic(struct decision *d, unsigned slot);
/** plan_is_quiet() - has what changed at @since_us been left alone for release_delay? */
bool plan_is_quiet(const struct decision *d, int64_t since_us);
/** plan_gives() - addresses of the block that are supply. */
unsigned plan_gives(const struct nic_sum *sum, const struct pool_block_view *block);
/** plan_is_wanted_len() - is it of the length that is wanted, rather than left over from another mode? */
bool plan_is_wanted_len(const struct decision *d, const struct prefix *prefix);
/** plan_is_range() - is the block a range? */
bool plan_is_range(const struct pool_block_view *block);
/** plan_wake_at() - the decision changes then, if not before. */
void plan_wake_at(struct plan *plan, int64_t at_us);
/** plan_add() - append an action. Return: borrowed, to be completed. */
struct plan_action *plan_add(struct plan *plan, enum plan_kind kind, unsigned slot);

/* ---- planner_pick.c ---- */

/** struct pick - a block that an action may name. */
struct pick {
	struct prefix prefix;
	unsigned family; /* by ip_index() */
	struct nic_sum *sum;
	unsigned size, free_count, leased_count, gives;
	bool is_quiet, is_chosen;
	uint64_t rank;
};

/** struct picks - the first ones by rank, at most as many as a plan can name. */
struct picks {
	unsigned count, chosen_count;
	bool is_cut; /* there were more */
	struct pick list[CLOUD_BLOCKS_MAX];
};

/** plan_collect() - the blocks that @rank accepts and this plan does not name yet, least *ret_rank first, then in address
 *  order. */
void plan_collect(struct decision *d,
		  bool (*rank)(const struct decision *d, const struct nic_sum *sum, const struct pool_block_view *block,
			       uint64_t *ret_rank),
		  struct picks *ret);
/** plan_choose() - Return: false if the plan cannot name another block. */
bool plan_choose(const struct decision *d, struct picks *picks, struct pick *pick);
/** plan_emit() - one action per NIC for the chosen ones, from the highest slot down. */
void plan_emit(struct decision *d, enum plan_kind kind, const struct picks *picks);

/* ---- planner_grow.c ---- */

/** plan_may_grow() - else says when it may be. */
bool plan_may_grow(struct decision *d);
/** plan_room() - blocks that still fit on a NIC. */
unsigned plan_room(const struct decision *d, const struct nic_sum *sum, unsigned family);
/** plan_take_back() - a DRAINING block is leased from again. */
void plan_take_back(struct decision *d, struct pick *pick);
/** plan_grow() - UNDRAIN, RECOVER, ASSIGN, ATTACH; between them plan_detach(), for a NIC that goes needs no range. */
void plan_grow(struct decision *d);

/* ---- planner_range.c ---- */

/** plan_buys_ranges() - are ranges what this family buys now? */
bool plan_buys_ranges(const struct plan_family *family);
/** plan_ranges_short() - ranges are bought, and there is not even one for all. */
bool plan_ranges_short(const struct decision *d);
/** plan_keeps_range() - is the block the one range that its NIC has to have? */
bool plan_keeps_range(const struct decision *d, const struct nic_sum *sum, const struct prefix *prefix);
/** plan_place_ranges() - one on each NIC that needs one: taken back, or in nic_family.assign_count. Return: ranges that
 *  no NIC of ours can hold. */
unsigned plan_place_ranges(struct decision *d);

/* ---- planner_shrink.c ---- */

/** plan_detach() - NICs that are idle and surplus as a whole. */
void plan_detach(struct decision *d);
/** plan_make_room() - for units that no NIC has room for, where idle smaller blocks take it. */
void plan_make_room(struct decision *d);
/** plan_shrink() - RELEASE and DRAIN. */
void plan_shrink(struct decision *d);

#endif
