/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fleet/rules.h"

#include <string.h>

#include "berth/clock.h"

static unsigned min_u(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static unsigned max_u(unsigned a, unsigned b)
{
	return a > b ? a : b;
}

/* a - b, never below nothing. */
static unsigned over(unsigned a, unsigned b)
{
	return a > b ? a - b : 0;
}

static unsigned round_up_div(unsigned n, unsigned by)
{
	return (n + by - 1) / by;
}

/* Sums over the NICs, in addresses and in units. */
struct sums {
	unsigned total, assigned, cooling, units, unused_units;
};

static struct sums sum(const struct rule_state *s)
{
	struct sums sums = { 0 };

	for (unsigned i = 0; i < s->nic_count; i++) {
		sums.total += s->nics[i].total;
		sums.assigned += s->nics[i].assigned;
		sums.cooling += s->nics[i].cooling;
		sums.units += s->nics[i].units;
		sums.unused_units += s->nics[i].unused_units;
	}
	return sums;
}

/* ---- amazon-vpc-cni-k8s 1.23.1 ---- */

#define AWS_DECREASE_US  (30 * USEC_PER_SEC)  /* decreaseIPPoolInterval, pkg/ipamd/ipamd.go */
#define AWS_EXHAUSTED_US (120 * USEC_PER_SEC) /* insufficientCidrErrorCooldown, pkg/ipamd/ipamd.go */
#define AWS_NIC_AGE_US   (60 * USEC_PER_SEC)  /* minENILifeTime, pkg/ipamd/datastore */

void rule_exhausted(struct rule_memory *memory, int64_t now_us)
{
	memory->paused_until_us = now_us + AWS_EXHAUSTED_US;
}

struct aws {
	const struct rule *rule;
	const struct rule_state *s;
	struct sums sums;
	unsigned available;   /* Total - Assigned: what cools counts as available (reference section 3.2; issue 2896) */
	unsigned per_nic_max; /* maxIPsPerENI */
	bool targets;         /* WARM_IP_TARGET or MINIMUM_IP_TARGET set */
	unsigned short_ips, over_ips, short_units, over_units;
};

/* datastoreTargetState(), ipamd.go:2177. */
static void aws_targets(struct aws *a)
{
	const struct rule *rule = a->rule;
	unsigned need_warm, need_min, size = a->s->unit_size;

	if (!a->targets)
		return;
	a->short_ips = max_u(over(rule->warm_ips, a->available), over(rule->min_ips, a->sums.total));
	a->over_ips = min_u(over(a->available, rule->warm_ips), over(a->sums.total, rule->min_ips));
	if (size == 1) {
		a->over_units = a->over_ips;
		return;
	}
	a->short_units = round_up_div(a->short_ips, size);
	need_warm = round_up_div(a->sums.assigned + rule->warm_ips, size);
	need_min = round_up_div(rule->min_ips, size);
	a->over_units = min_u(a->sums.unused_units, over(a->sums.units, max_u(need_warm, need_min)));
}

/* isDatastorePoolTooLow(), ipamd.go:2623. */
static bool aws_too_low(const struct aws *a)
{
	unsigned target = a->rule->prefix ? a->rule->warm_blocks : a->rule->warm_nics;
	unsigned unit = a->rule->prefix ? a->s->unit_size : a->per_nic_max;

	if (a->sums.total >= a->s->max_pods)
		return false;
	if (a->targets)
		return a->short_ips > 0;
	return a->available < target * unit || (target == 0 && a->available == 0);
}

/* increaseDatastorePool(), ipamd.go:968: the first NIC with room, else a new NIC; one of them a loop. */
static void aws_increase(const struct aws *a, struct rule_step *ret)
{
	unsigned wanted;

	if (a->rule->prefix)
		wanted = a->targets ? a->short_units : max_u(over(a->rule->warm_blocks, a->sums.unused_units), 1);
	else
		wanted = a->targets ? a->short_ips : a->s->units_per_nic;
	for (unsigned i = 0; i < a->s->nic_count; i++) {
		unsigned room = over(a->s->units_per_nic, a->s->nics[i].units);

		if (room == 0)
			continue;
		ret->what = RULE_ASSIGN;
		ret->slot = a->s->nics[i].slot;
		ret->units = min_u(room, wanted);
		return;
	}
	if (a->s->nic_count >= a->s->nics_max)
		return;
	ret->what = RULE_ATTACH;
	ret->units = min_u(wanted, a->s->units_per_nic);
}

/* isDatastorePoolTooHigh(), ipamd.go:2659: without targets single addresses never go one by one. */
static unsigned aws_surplus_units(const struct aws *a)
{
	if (a->targets)
		return a->over_units;
	return a->rule->prefix ? over(a->sums.unused_units, a->rule->warm_blocks) : 0;
}

/* getDeletableENI(), data_store.go:1042. */
static bool aws_deletable(const struct aws *a, const struct rule_nic *nic)
{
	unsigned others_total = a->sums.total - nic->total;
	unsigned others_available = others_total - (a->sums.assigned - nic->assigned);
	unsigned others_unused = a->sums.unused_units - nic->unused_units;
	unsigned size = a->s->unit_size;

	if (nic->slot == 0 || nic->age_us < AWS_NIC_AGE_US || nic->cooling > 0 || nic->assigned > 0)
		return false;
	if (a->targets)
		return others_available >= round_up_div(a->rule->warm_ips, size) * size &&
		       others_total >= round_up_div(a->rule->min_ips, size) * size;
	return !a->rule->prefix || others_unused >= a->rule->warm_blocks;
}

/* shouldRemoveExtraENIs() and tryFreeENI(): one NIC a loop at most. */
static unsigned aws_free_nic(const struct aws *a)
{
	unsigned target = a->rule->prefix ? a->rule->warm_blocks : a->rule->warm_nics;

	/* In prefix mode CheckFreeableENIexists asks the same as getDeletableENI. */
	if (!a->targets && !a->rule->prefix && a->available < (target + 1) * a->per_nic_max)
		return 0;
	for (unsigned i = 0; i < a->s->nic_count; i++)
		if (aws_deletable(a, &a->s->nics[i]))
			return a->s->nics[i].slot;
	return 0;
}

static void aws_decide(const struct rule *rule, const struct rule_state *s, struct rule_memory *memory,
		       struct rule_step *ret)
{
	struct aws a = { .rule = rule, .s = s, .sums = sum(s) };
	unsigned surplus;

	a.available = over(a.sums.total, a.sums.assigned);
	a.per_nic_max = s->units_per_nic * s->unit_size;
	a.targets = rule->warm_ips > 0 || rule->min_ips > 0;
	aws_targets(&a);
	surplus = aws_surplus_units(&a);
	if (aws_too_low(&a)) {
		if (s->now_us >= memory->paused_until_us)
			aws_increase(&a, ret);
	} else if (surplus > 0 && s->now_us - memory->last_decrease_us >= AWS_DECREASE_US) {
		/* tryUnassignCidrsFromAll(), ipamd.go:892: cooling is not looked at. */
		ret->what = RULE_UNASSIGN;
		ret->units = surplus;
		memory->last_decrease_us = s->now_us;
	}
	ret->free_slot = aws_free_nic(&a);
}

/* ---- a wish that is fulfilled step by step: Azure, metis ---- */

static unsigned capacity(const struct rule_state *s)
{
	return s->nics_max * s->units_per_nic * s->unit_size;
}

static void fulfil(const struct rule_state *s, unsigned wish, struct rule_step *ret)
{
	struct sums sums = sum(s);
	unsigned units;

	if (wish < sums.total) {
		units = (sums.total - wish) / s->unit_size;
		ret->units = min_u(units, sums.unused_units);
		ret->what = ret->units > 0 ? RULE_UNASSIGN : RULE_HOLD;
		return;
	}
	units = round_up_div(wish - sums.total, s->unit_size);
	for (unsigned i = 0; i < s->nic_count && units > 0; i++) {
		unsigned room = over(s->units_per_nic, s->nics[i].units);

		if (room == 0)
			continue;
		*ret = (struct rule_step){ RULE_ASSIGN, s->nics[i].slot, min_u(room, units), 0, units > room };
		return;
	}
	if (units > 0 && s->nic_count < s->nics_max)
		*ret = (struct rule_step){ RULE_ATTACH, 0, min_u(units, s->units_per_nic), 0,
					   units > s->units_per_nic };
}

/* ---- Azure CNS ---- */

#define AZURE_BATCH    16U  /* NNC.status.scaler defaults: batch 16, request 50 %, release 150 % */
#define AZURE_FREE_MIN 8U   /* floor(16 * 50 / 100 + .5) */
#define AZURE_FREE_MAX 24U  /* floor(16 * 150 / 100 + .5) */
#define AZURE_MAX      250U /* pods of a node */

static unsigned azure_max(const struct rule_state *s)
{
	return min_u(AZURE_MAX, capacity(s));
}

/* cns/ipampool/monitor.go: one batch a pass. */
static void azure_v1(const struct rule_state *s, struct rule_memory *memory, struct rule_step *ret)
{
	struct sums sums = sum(s);
	unsigned *requested = &memory->requested;

	if (*requested == 0)
		*requested = min_u(AZURE_BATCH, azure_max(s));
	if (over(*requested, sums.assigned) < AZURE_FREE_MIN)
		*requested = min_u(*requested + AZURE_BATCH - *requested % AZURE_BATCH, azure_max(s));
	else if (sums.total <= *requested && over(sums.total, sums.assigned) >= AZURE_FREE_MAX)
		*requested -= *requested % AZURE_BATCH ? *requested % AZURE_BATCH : AZURE_BATCH;
	fulfil(s, *requested, ret);
}

/* cns/ipampool/v2/monitor.go: B * ceil(buffer + demand / B), the buffer being half a batch. */
static void azure_v2(const struct rule_state *s, struct rule_memory *memory, struct rule_step *ret)
{
	struct sums sums = sum(s);
	unsigned demand = sums.assigned + s->waiting;

	memory->requested = min_u(AZURE_BATCH * round_up_div(demand * 2 + AZURE_BATCH, AZURE_BATCH * 2), azure_max(s));
	fulfil(s, memory->requested, ret);
}

/* ---- metis ---- */

#define METIS_STEP       16U                       /* the controller adds /28 ranges */
#define METIS_COOLING    10U                       /* more than that many cooling: hold, they are about to be free */
#define METIS_LOW_US     (8 * 3600 * USEC_PER_SEC) /* use below 50 % that long: drain ... */
#define METIS_DRAINED_US (5 * 3600 * USEC_PER_SEC) /* ... and give back what is still unused after that */

static void metis_low(const struct rule_state *s, const struct sums *sums, struct rule_memory *memory)
{
	unsigned kept = max_u(round_up_div((sums->assigned + s->waiting) * 2, METIS_STEP), 1) * METIS_STEP;

	if ((sums->assigned + s->waiting) * 2 >= sums->total)
		memory->low_since_us = 0;
	else if (memory->low_since_us == 0)
		memory->low_since_us = s->now_us;
	else if (s->now_us - memory->low_since_us >= METIS_LOW_US + METIS_DRAINED_US && kept < memory->requested)
		memory->requested = kept;
}

static void metis(const struct rule_state *s, struct rule_memory *memory, struct rule_step *ret)
{
	struct sums sums = sum(s);
	unsigned used = sums.assigned + s->waiting, wish;

	if (memory->requested == 0)
		memory->requested = METIS_STEP;
	metis_low(s, &sums, memory);
	/* "If cooling > 10: hold, re-check in 2 s." */
	if (sums.cooling <= METIS_COOLING) {
		/* ceil(used / 0.75) */
		wish = max_u(round_up_div(used * 4, 3), s->waiting > 0 ? sums.total + s->waiting : 0);
		if (wish > memory->requested)
			memory->requested += round_up_div(wish - memory->requested, METIS_STEP) * METIS_STEP;
	}
	memory->requested = min_u(memory->requested, capacity(s));
	fulfil(s, memory->requested, ret);
}

void rule_decide(const struct rule *rule, const struct rule_state *state, struct rule_memory *memory,
		 struct rule_step *ret)
{
	memset(ret, 0, sizeof(*ret));
	switch (rule->kind) {
	case RULE_AWS:
		aws_decide(rule, state, memory, ret);
		return;
	case RULE_AZURE_V1:
		azure_v1(state, memory, ret);
		return;
	case RULE_AZURE_V2:
		azure_v2(state, memory, ret);
		return;
	case RULE_METIS:
		metis(state, memory, ret);
		return;
	case RULE_KIND_COUNT:
		return;
	}
}
