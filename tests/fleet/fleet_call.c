/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: one call and its client
 *
 * berth: a token of the node's own budget, the request, and on RETRY and THROTTLED another attempt after full jitter;
 * budget.c and retry.c decide, this file only waits for them in virtual time. An answer that was lost is AMBIGUOUS
 * unless the action may be repeated.
 *
 * Others: the AWS SDK's standard mode as amazon-vpc-cni-k8s leaves it (reference section 4.1): 3 attempts, delay
 * rand * 2^n up to 20 s, a quota of 500 tokens of which a retry takes 5 (10 after a time-out) and a success gives back
 * what the last retry took, or 1 (reference of the wire, section 4). It repeats also what is not idempotent.
 */
#include "tests/fleet/fleet_impl.h"

#include <stdlib.h>

#include "cloud/aws/api.h"
#include "cloud/budget.h"
#include "cloud/retry.h"

#define SDK_ATTEMPTS     3
#define SDK_CAP_US       (20 * USEC_PER_SEC)
#define SDK_COST         5.0
#define SDK_COST_TIMEOUT 10.0
#define SDK_QUOTA        500.0

struct fleet_op *op_new(struct fleet *f, struct fleet_node *node, fleet_step *step)
{
	struct fleet_op *op = calloc(1, sizeof(*op));

	if (!op) {
		f->failed = true;
		return NULL;
	}
	op->node = node;
	op->step = step;
	f->ops++;
	return op;
}

static enum budget_class class_of(enum fleet_action action)
{
	return action_mutates(action) ? BUDGET_MUTATE : BUDGET_READ;
}

static bool is_berth(const struct fleet_op *op)
{
	return op->node->berth != NULL;
}

/* ---- berth ---- */

static void berth_attempt(struct fleet *f, struct fleet_op *op)
{
	struct budget *budget = berth_budget(op->node);
	int64_t wait_us = budget_reserve(budget, class_of(op->action), f->now_us);

	if (wait_us > 0 && f->now_us + wait_us >= op->deadline_us) {
		budget_return(budget, class_of(op->action));
		berth_count(op->node, ERR_THROTTLED);
		op->step(f, op, ERR_THROTTLED);
		return;
	}
	queue_push(&f->queue, f->now_us + wait_us, EVENT_SEND, 0, op);
}

static int64_t berth_delay(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	const struct retry_policy *policy = &ec2_retry_policy;
	int64_t limit;

	if (!f->options->no_jitter)
		return retry_delay(policy, op->attempts - 1, class, 0, berth_random(op->node));
	limit = (class == ERR_THROTTLED ? policy->throttled_us : policy->transient_us) << (op->attempts - 1);
	return limit < policy->cap_us ? limit : policy->cap_us;
}

/* retry_again() without the thread that sleeps. */
static void berth_failed(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	int64_t delay_us;

	berth_count(op->node, class);
	if ((class == ERR_RETRY || class == ERR_THROTTLED) && ++op->attempts < ec2_retry_policy.attempts_max) {
		delay_us = berth_delay(f, op, class);
		if (f->now_us + delay_us < op->deadline_us) {
			queue_push(&f->queue, f->now_us + delay_us, EVENT_WAITED, 0, op);
			return;
		}
	}
	op->step(f, op, class);
}

static void berth_answer(struct fleet *f, struct fleet_op *op)
{
	struct budget *budget = berth_budget(op->node);

	switch (op->verdict) {
	case VERDICT_OK:
		budget_ok(budget, class_of(op->action), f->now_us);
		op->step(f, op, op->error);
		return;
	case VERDICT_THROTTLED:
		budget_throttled(budget, class_of(op->action), f->now_us, 0);
		berth_failed(f, op, ERR_THROTTLED);
		return;
	case VERDICT_REFUSED:
		berth_failed(f, op, ERR_RETRY);
		return;
	case VERDICT_LOST:
	case VERDICT_LOST_DONE:
		berth_failed(f, op, action_idempotent(op->action) ? ERR_RETRY : ERR_AMBIGUOUS);
		return;
	}
}

/* ---- the SDK ---- */

static void sdk_answer(struct fleet *f, struct fleet_op *op)
{
	bool timeout = op->verdict == VERDICT_LOST || op->verdict == VERDICT_LOST_DONE;
	double cost = timeout ? SDK_COST_TIMEOUT : SDK_COST;
	struct fleet_node *node = op->node;

	if (op->verdict == VERDICT_OK) {
		node->sdk_quota += op->attempts > 0 ? cost : 1;
		if (node->sdk_quota > SDK_QUOTA)
			node->sdk_quota = SDK_QUOTA;
		op->step(f, op, op->error);
		return;
	}
	if (++op->attempts < SDK_ATTEMPTS && node->sdk_quota >= cost) {
		double delay = dice_unit(&node->dice) * (double)(USEC_PER_SEC << (op->attempts - 1));

		node->sdk_quota -= cost;
		if (delay > (double)SDK_CAP_US)
			delay = (double)SDK_CAP_US;
		queue_push(&f->queue, f->now_us + (int64_t)delay, EVENT_WAITED, 0, op);
		return;
	}
	op->step(f, op, op->verdict == VERDICT_THROTTLED ? ERR_THROTTLED : timeout ? ERR_AMBIGUOUS : ERR_RETRY);
}

/* ---- both ---- */

static void call_attempt(struct fleet *f, struct fleet_op *op)
{
	if (!op->node->alive)
		op_free(f, op);
	else if (is_berth(op))
		berth_attempt(f, op);
	else
		call_send(f, op);
}

void call_start(struct fleet *f, struct fleet_op *op, enum fleet_action action)
{
	op->action = action;
	op->attempts = 0;
	call_attempt(f, op);
}

void call_after(struct fleet *f, struct fleet_op *op, enum fleet_action action, int64_t delay_us)
{
	op->action = action;
	op->attempts = 0;
	queue_push(&f->queue, f->now_us + delay_us, EVENT_WAITED, 0, op);
}

void call_resume(struct fleet *f, struct fleet_op *op)
{
	if (op->action == ACTION_COUNT && op->node->alive)
		op->step(f, op, ERR_NONE);
	else
		call_attempt(f, op);
}

void call_send(struct fleet *f, struct fleet_op *op)
{
	int64_t took_us = 0;

	if (!op->node->alive) {
		op_free(f, op);
		return;
	}
	op->verdict = cloud_request(f, op->action, &took_us);
	queue_push(&f->queue, f->now_us + took_us, EVENT_ANSWER, 0, op);
}

void call_answer(struct fleet *f, struct fleet_op *op)
{
	if (op->verdict == VERDICT_OK || op->verdict == VERDICT_LOST_DONE)
		cloud_apply(f, op);
	if (!op->node->alive)
		op_free(f, op);
	else if (is_berth(op))
		berth_answer(f, op);
	else
		sdk_answer(f, op);
}
