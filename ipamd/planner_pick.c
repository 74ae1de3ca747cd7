/* SPDX-License-Identifier: Apache-2.0 */
/* Which blocks an action names: collected by rank, chosen one by one, put into the plan NIC by NIC. */
#include "ipamd/planner_impl.h"

#include <string.h>

#include "berth/check.h"

struct collect {
	struct decision *d;
	bool (*rank)(const struct decision *d, const struct nic_sum *sum, const struct pool_block_view *block,
		     uint64_t *ret_rank);
	struct picks *picks;
};

static void fill_pick(const struct decision *d, struct nic_sum *sum, const struct pool_block_view *block, uint64_t rank,
		      struct pick *ret)
{
	*ret = (struct pick){
		.prefix = block->prefix,
		.family = ip_index(block->prefix.addr.family),
		.sum = sum,
		.size = block->size,
		.free_count = block->free_count,
		.gives = plan_gives(sum, block),
		.leased_count = block->leased_count,
		.is_quiet = plan_is_quiet(d, block->changed_us),
		.rank = rank,
	};
}

static bool is_named(const struct plan *plan, const struct prefix *prefix)
{
	for (unsigned i = 0; i < plan->block_count; i++)
		if (prefix_cmp(&plan->blocks[i], prefix) == 0)
			return true;
	return false;
}

/* Sorted as they come; equal ranks stay in address order. */
static int collect_block(const struct pool_block_view *block, void *arg)
{
	struct collect *c = arg;
	struct picks *picks = c->picks;
	struct nic_sum *sum = plan_nic(c->d, block->nic_slot);
	unsigned at = picks->count;
	uint64_t rank;

	if (!c->rank(c->d, sum, block, &rank) || is_named(c->d->plan, &block->prefix))
		return 0;
	while (at > 0 && picks->list[at - 1].rank > rank)
		at--;
	picks->is_cut = picks->is_cut || picks->count == CLOUD_BLOCKS_MAX;
	if (at == CLOUD_BLOCKS_MAX)
		return 0;
	picks->count = min_u(picks->count + 1, CLOUD_BLOCKS_MAX);
	memmove(&picks->list[at + 1], &picks->list[at], (picks->count - at - 1) * sizeof(picks->list[0]));
	fill_pick(c->d, sum, block, rank, &picks->list[at]);
	return 0;
}

void plan_collect(struct decision *d,
		  bool (*rank)(const struct decision *d, const struct nic_sum *sum, const struct pool_block_view *block,
			       uint64_t *ret_rank),
		  struct picks *ret)
{
	struct collect c = { .d = d, .rank = rank, .picks = ret };

	ret->count = 0;
	ret->chosen_count = 0;
	ret->is_cut = false;
	(void)pool_blocks(d->input->pool, collect_block, &c);
}

bool plan_choose(const struct decision *d, struct picks *picks, struct pick *pick)
{
	if (d->plan->block_count + picks->chosen_count == CLOUD_BLOCKS_MAX)
		return false;
	pick->is_chosen = true;
	picks->chosen_count++;
	return true;
}

static void emit_nic(struct plan *plan, enum plan_kind kind, const struct nic_sum *sum, const struct picks *picks)
{
	struct plan_action *action = NULL;

	for (unsigned i = 0; i < picks->count; i++) {
		const struct pick *pick = &picks->list[i];

		if (!pick->is_chosen || pick->sum != sum)
			continue;
		if (!action)
			action = plan_add(plan, kind, sum->nic->slot);
		CHECK(plan->block_count < CLOUD_BLOCKS_MAX);
		plan->blocks[plan->block_count++] = pick->prefix;
		action->block_count++;
	}
}

void plan_emit(struct decision *d, enum plan_kind kind, const struct picks *picks)
{
	if (picks->chosen_count == 0)
		return;
	for (unsigned i = d->nic_count; i-- > 0;)
		emit_nic(d->plan, kind, &d->nics[i], picks);
}
