/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the account
 *
 * Token buckets per action as EC2 has them, per account and region (reference of the wire, section 4). A request that
 * finds a token is done when its answer comes; one that finds none is refused in tens of milliseconds.
 *
 * In an outage no call succeeds: half are refused at once (nothing happened), half end after the client's own 10 s
 * without an answer, and of those one in four was done all the same.
 */
#include "tests/fleet/fleet_impl.h"

#include <stdlib.h>
#include <string.h>

#include "berth/check.h"

#define MS USEC_PER_MSEC

#define CALL_TIMEOUT_US   (10 * USEC_PER_SEC) /* HTTP_TIMEOUT of amazon-vpc-cni-k8s, and berth's */
#define LOST_DONE_PERCENT 25                  /* of calls without an answer: done nevertheless */
#define REFUSED_PERCENT   50                  /* of calls in an outage: refused at once */

/* How long a call takes, and how long the attachment after it; uniform. Sources: reference of the wire, section 10
 * (create 0.2-1 s, attach to complete 1-5 s, detach 2-3 s); one AssignPrivateIpAddresses of a user took 510 ms; what has
 * no figure is set beside those. Create and attach together: 2-7 s, "up to 10 seconds" in AWS's own words. */
static const struct {
	bool mutates, idempotent;
	int64_t low_us, high_us;
} actions[ACTION_COUNT] = {
	[ACTION_DESCRIBE_NICS] = { false, true, 60 * MS, 250 * MS },
	[ACTION_DESCRIBE_TYPES] = { false, true, 60 * MS, 250 * MS },
	[ACTION_DESCRIBE_SUBNETS] = { false, true, 60 * MS, 250 * MS },
	[ACTION_DESCRIBE_INSTANCES] = { false, true, 60 * MS, 250 * MS },
	[ACTION_TAG] = { true, true, 100 * MS, 400 * MS },
	[ACTION_CREATE] = { true, true, 200 * MS, 1000 * MS }, /* by its ClientToken */
	[ACTION_ATTACH] = { true, false, 300 * MS, 1000 * MS },
	[ACTION_MODIFY] = { true, true, 100 * MS, 400 * MS },
	[ACTION_DETACH] = { true, true, 200 * MS, 600 * MS },
	[ACTION_DELETE] = { true, true, 200 * MS, 600 * MS },
	[ACTION_ASSIGN] = { true, false, 250 * MS, 800 * MS },
	[ACTION_UNASSIGN] = { true, true, 250 * MS, 800 * MS },
};

#define ATTACHED_LOW_US  (1 * USEC_PER_SEC)
#define ATTACHED_HIGH_US (5 * USEC_PER_SEC)
#define DETACHED_LOW_US  (2 * USEC_PER_SEC)
#define DETACHED_HIGH_US (3 * USEC_PER_SEC)
#define REFUSAL_LOW_US   (20 * MS) /* of a throttled or refused call */
#define REFUSAL_HIGH_US  (80 * MS)

const struct fleet_account fleet_account_ec2 = {
	.reads = { 100, 20 },   /* non-mutating, filtered */
	.mutations = { 50, 5 }, /* "design for 50/5" */
	.tags = { 100, 10 },
};

bool action_mutates(enum fleet_action action)
{
	return actions[action].mutates;
}

bool action_idempotent(enum fleet_action action)
{
	return actions[action].idempotent;
}

/* ---- requests ---- */

static const struct fleet_bucket_limit *limit_of(const struct fleet_account *account, enum fleet_action action)
{
	if (action == ACTION_TAG && !account->shared)
		return &account->tags;
	return action_mutates(action) ? &account->mutations : &account->reads;
}

static bool take_token(struct fleet *f, enum fleet_action action)
{
	const struct fleet_account *account = &f->options->account;
	const struct fleet_bucket_limit *limit = limit_of(account, action);
	enum fleet_action which = account->shared && action_mutates(action) ? ACTION_ASSIGN : action;
	struct fleet_bucket *bucket = &f->cloud.buckets[which];

	/* tokens counts what was used, so that a zeroed bucket is a full one */
	bucket->tokens -= limit->rate * (double)(f->now_us - bucket->filled_us) / (double)USEC_PER_SEC;
	if (bucket->tokens < 0)
		bucket->tokens = 0;
	bucket->filled_us = f->now_us;
	if (bucket->tokens + 1 > limit->burst)
		return false;
	bucket->tokens += 1;
	return true;
}

static void count_request(struct fleet *f, enum fleet_action action, bool throttled)
{
	enum fleet_class class = action_mutates(action) ? FLEET_MUTATE : FLEET_READ;
	int64_t since_us = f->now_us - f->count_from_us;

	if (since_us < 0)
		return;
	if (since_us / USEC_PER_SEC < FLEET_SECONDS_MAX)
		f->result.per_second[since_us / USEC_PER_SEC]++;
	if (since_us / (100 * MS) < FLEET_TENTHS_MAX)
		f->result.per_tenth[since_us / (100 * MS)]++;
	if (f->pods_open == 0)
		return;
	f->result.calls[class]++;
	f->result.throttled[class] += throttled;
}

static enum verdict judge(struct fleet *f, enum fleet_action action)
{
	if (f->now_us < f->count_from_us)
		return VERDICT_OK;
	if (f->now_us >= f->outage_from_us && f->now_us < f->outage_until_us) {
		if (dice_between(&f->dice, 0, 100) < REFUSED_PERCENT)
			return VERDICT_REFUSED;
		return dice_between(&f->dice, 0, 100) < LOST_DONE_PERCENT ? VERDICT_LOST_DONE : VERDICT_LOST;
	}
	return take_token(f, action) ? VERDICT_OK : VERDICT_THROTTLED;
}

enum verdict cloud_request(struct fleet *f, enum fleet_action action, int64_t *ret_took_us)
{
	enum verdict verdict = judge(f, action);

	count_request(f, action, verdict == VERDICT_THROTTLED);
	switch (verdict) {
	case VERDICT_OK:
		*ret_took_us = dice_between(&f->dice, actions[action].low_us, actions[action].high_us);
		break;
	case VERDICT_THROTTLED:
	case VERDICT_REFUSED:
		*ret_took_us = dice_between(&f->dice, REFUSAL_LOW_US, REFUSAL_HIGH_US);
		break;
	case VERDICT_LOST:
	case VERDICT_LOST_DONE:
		*ret_took_us = CALL_TIMEOUT_US;
		break;
	}
	return verdict;
}

/* ---- NICs ---- */

static void list_available(struct fleet *f, struct cnic *nic)
{
	nic->prev = NULL;
	nic->next = f->cloud.available;
	if (nic->next)
		nic->next->prev = nic;
	f->cloud.available = nic;
}

static void unlist_available(struct fleet *f, struct cnic *nic)
{
	if (nic->prev)
		nic->prev->next = nic->next;
	else
		f->cloud.available = nic->next;
	if (nic->next)
		nic->next->prev = nic->prev;
	nic->prev = nic->next = NULL;
}

static struct cnic *new_nic(struct fleet *f, struct fleet_node *node)
{
	struct cnic *nic = calloc(1, sizeof(*nic));

	if (!nic) {
		f->failed = true;
		return NULL;
	}
	nic->id = ++f->cloud.next_id;
	nic->owner = node;
	nic->created_us = f->now_us;
	nic->of_node = node->nics;
	node->nics = nic;
	return nic;
}

static void free_nic(struct cnic *nic)
{
	free(nic->units);
	free(nic->assigned);
	free(nic->cooling);
	free(nic);
}

static void drop_nic(struct fleet *f, struct cnic *nic)
{
	struct cnic **at = &nic->owner->nics;

	if (nic->state == CNIC_AVAILABLE)
		unlist_available(f, nic);
	while (*at != nic)
		at = &(*at)->of_node;
	*at = nic->of_node;
	nic->state = CNIC_GONE;
	if (nic->claims == 0)
		free_nic(nic);
}

static void add_units(struct fleet *f, struct cnic *nic, unsigned count)
{
	unsigned limit = f->options->instance.units_per_nic;

	if (!nic->units) {
		nic->units = calloc(limit, sizeof(*nic->units));
		nic->assigned = calloc(limit, 1);
		nic->cooling = calloc(limit, 1);
	}
	if (!nic->units || !nic->assigned || !nic->cooling) {
		f->failed = true;
		return;
	}
	while (count-- > 0 && nic->unit_count < limit) {
		nic->assigned[nic->unit_count] = nic->cooling[nic->unit_count] = 0;
		nic->units[nic->unit_count++] = nic->owner->next_unit++;
	}
}

static void drop_unit(struct cnic *nic, uint32_t unit)
{
	for (unsigned i = 0; i < nic->unit_count; i++) {
		if (nic->units[i] != unit)
			continue;
		nic->unit_count--;
		memmove(&nic->units[i], &nic->units[i + 1], (nic->unit_count - i) * sizeof(*nic->units));
		memmove(&nic->assigned[i], &nic->assigned[i + 1], nic->unit_count - i);
		memmove(&nic->cooling[i], &nic->cooling[i + 1], nic->unit_count - i);
		return;
	}
}

bool cloud_boot(struct fleet *f, struct fleet_node *node)
{
	struct cnic *nic = new_nic(f, node);

	if (!nic)
		return false;
	nic->state = CNIC_ATTACHED;
	nic->dies = true;
	return true;
}

struct cnic *cloud_nic(const struct fleet_node *node, unsigned slot)
{
	for (struct cnic *nic = node->nics; nic; nic = nic->of_node)
		if (nic->state != CNIC_AVAILABLE && nic->slot == slot)
			return nic;
	return NULL;
}

bool cloud_settle(struct fleet *f, struct cnic *nic)
{
	if (f->now_us < nic->settled_us)
		return false;
	if (nic->state == CNIC_DETACHING) {
		nic->state = CNIC_AVAILABLE;
		list_available(f, nic);
	}
	return true;
}

static void apply_create(struct fleet *f, struct fleet_op *op)
{
	/* Said again with the same token: the one that there is. */
	if (op->cnic)
		return;
	op->cnic = new_nic(f, op->node);
	if (!op->cnic)
		return;
	op->cnic->claims = 1;
	list_available(f, op->cnic);
	add_units(f, op->cnic, op->count);
}

static void apply_attach(struct fleet *f, struct fleet_op *op)
{
	struct cnic *nic = op->cnic;
	unsigned slot = op->slot > 0 ? op->slot : 1;

	if (!op->node->alive || nic->state != CNIC_AVAILABLE) {
		op->error = nic->state == CNIC_AVAILABLE ? ERR_NOTFOUND : ERR_CONFLICT;
		return;
	}
	while (cloud_nic(op->node, slot))
		slot++;
	unlist_available(f, nic);
	nic->slot = slot;
	nic->state = CNIC_ATTACHED;
	nic->settled_us = f->now_us + dice_between(&f->dice, ATTACHED_LOW_US, ATTACHED_HIGH_US);
}

static void apply_detach(struct fleet *f, struct cnic *nic)
{
	if (nic->state != CNIC_ATTACHED)
		return;
	nic->state = CNIC_DETACHING;
	nic->dies = false;
	nic->settled_us = f->now_us + dice_between(&f->dice, DETACHED_LOW_US, DETACHED_HIGH_US);
}

static void apply_delete(struct fleet *f, struct fleet_op *op)
{
	if (!cloud_settle(f, op->cnic) || op->cnic->state != CNIC_AVAILABLE) {
		op->error = ERR_CONFLICT;
		return;
	}
	drop_nic(f, op->cnic);
}

static bool needs_nic(enum fleet_action action)
{
	return action_mutates(action) && action != ACTION_CREATE && action != ACTION_TAG;
}

void cloud_apply(struct fleet *f, struct fleet_op *op)
{
	op->error = ERR_NONE;
	if (needs_nic(op->action) && (!op->cnic || op->cnic->state == CNIC_GONE)) {
		op->error = ERR_NOTFOUND;
		return;
	}
	switch (op->action) {
	case ACTION_CREATE:
		apply_create(f, op);
		return;
	case ACTION_ATTACH:
		apply_attach(f, op);
		return;
	case ACTION_MODIFY:
		op->cnic->dies = true;
		return;
	case ACTION_DETACH:
		apply_detach(f, op->cnic);
		return;
	case ACTION_DELETE:
		apply_delete(f, op);
		return;
	case ACTION_ASSIGN:
		op->first_unit = op->cnic->unit_count;
		add_units(f, op->cnic, op->count);
		return;
	case ACTION_UNASSIGN:
		for (unsigned i = 0; i < op->count; i++)
			drop_unit(op->cnic, op->units[i]);
		return;
	case ACTION_DESCRIBE_NICS:
	case ACTION_DESCRIBE_TYPES:
	case ACTION_DESCRIBE_SUBNETS:
	case ACTION_DESCRIBE_INSTANCES:
	case ACTION_TAG:
	case ACTION_COUNT:
		return;
	}
}

void cloud_node_dies(struct fleet *f, struct fleet_node *node)
{
	struct cnic *next;

	for (struct cnic *nic = node->nics; nic; nic = next) {
		next = nic->of_node;
		if (nic->state == CNIC_AVAILABLE)
			continue;
		if (nic->dies && nic->claims == 0) {
			drop_nic(f, nic);
			continue;
		}
		/* An operation may still point at it: it goes when that ends. */
		nic->state = CNIC_AVAILABLE;
		nic->settled_us = 0;
		list_available(f, nic);
	}
}

void cloud_claim(struct fleet_op *op, struct cnic *nic)
{
	op->cnic = nic;
	nic->claims++;
}

void cloud_unclaim(struct fleet *f, struct fleet_op *op)
{
	struct cnic *nic = op->cnic;

	op->cnic = NULL;
	if (!nic)
		return;
	CHECK(nic->claims > 0);
	nic->claims--;
	if (nic->state == CNIC_GONE) {
		if (nic->claims == 0)
			free_nic(nic);
	} else if (!op->node->alive && nic->dies && nic->claims == 0)
		drop_nic(f, nic);
}

unsigned cloud_addresses(const struct fleet *f, const struct fleet_node *node)
{
	unsigned units = 0;

	for (const struct cnic *nic = node->nics; nic; nic = nic->of_node)
		units += nic->unit_count;
	return units << (32U - f->options->instance.unit_len);
}

void cloud_node_done(struct fleet_node *node)
{
	struct cnic *next;

	for (struct cnic *nic = node->nics; nic; nic = next) {
		next = nic->of_node;
		free_nic(nic);
	}
	node->nics = NULL;
}
