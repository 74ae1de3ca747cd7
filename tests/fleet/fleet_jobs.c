/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the daemon's jobs as calls
 *
 * Each job makes the calls of cloud/aws/provider.c and lifecycle.c in their order, with their deadlines, polls and
 * cleaning up; a thread that waits there is a phase here. What the account decides meanwhile is in op->cnic.
 */
#include "tests/fleet/fleet_impl.h"

#include "ipamd/executor.h"

/* As in cloud/aws/lifecycle.c. */
#define POLL_FIRST_US  (150 * USEC_PER_MSEC)
#define DETACHING_US   (2 * USEC_PER_SEC)
#define POLL_MAX_US    (2 * USEC_PER_SEC)
#define READ_BACKS     3
#define CLEANUP_MAX_US (20 * USEC_PER_SEC)

#define METADATA_US (20 * USEC_PER_MSEC) /* ten GETs on link, of 1-3 ms each */

enum phase {
	PHASE_ONLY, /* the job is one call */
	PHASE_LOOK,
	PHASE_CREATE,
	PHASE_ATTACH,
	PHASE_READ_BACK,
	PHASE_MODIFY,
	PHASE_SETTLE, /* no call: until the device is there */
	PHASE_DETACH,
	PHASE_GONE, /* until it is available */
	PHASE_DELETE,
	PHASE_SWEEP
};

static void poll_reset(struct fleet_op *op)
{
	op->poll_us = POLL_FIRST_US;
	op->polls = 0;
}

/* poll_wait() of lifecycle.c. Return: false when the deadline comes first. */
static bool poll_again(struct fleet *f, struct fleet_op *op, enum fleet_action action)
{
	int64_t delay_us = op->poll_us + dice_between(&op->node->dice, 0, op->poll_us / 4);

	if (f->now_us + delay_us >= op->deadline_us)
		return false;
	op->poll_us = op->poll_us * 3 / 2 < POLL_MAX_US ? op->poll_us * 3 / 2 : POLL_MAX_US;
	op->polls++;
	call_after(f, op, action, delay_us);
	return true;
}

static void finish(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	berth_op_done(f, op, class);
}

static void go(struct fleet *f, struct fleet_op *op, enum phase phase, enum fleet_action action)
{
	op->phase = phase;
	call_start(f, op, action);
}

/* ---- detach, and cleaning up behind an attach ---- */

/* The end of a detach, or of cleaning up: what may be left has to be looked for. */
static void removed(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	bool is_left = class != ERR_NONE && class != ERR_NOTFOUND;

	if (op->failed == ERR_NONE)
		finish(f, op, class);
	else
		finish(f, op, is_left ? ERR_AMBIGUOUS : op->failed);
}

static void until_gone(struct fleet *f, struct fleet_op *op)
{
	poll_reset(op);
	op->poll_us = DETACHING_US;
	op->phase = PHASE_GONE;
	if (!poll_again(f, op, ACTION_DESCRIBE_NICS))
		removed(f, op, ERR_RETRY);
}

/* until_available(), then delete_nic(); @class: of the call that ended. */
static void removing(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	switch ((enum phase)op->phase) {
	case PHASE_DETACH:
		if (class != ERR_NONE && class != ERR_NOTFOUND && class != ERR_CONFLICT)
			break;
		until_gone(f, op);
		return;
	case PHASE_GONE:
		if (class != ERR_NONE)
			break;
		(void)cloud_settle(f, op->cnic);
		if (op->cnic->state == CNIC_GONE)
			break;
		if (op->cnic->state == CNIC_AVAILABLE) {
			poll_reset(op);
			go(f, op, PHASE_DELETE, ACTION_DELETE);
			return;
		}
		if (poll_again(f, op, ACTION_DESCRIBE_NICS))
			return;
		class = ERR_RETRY;
		break;
	case PHASE_DELETE:
		if (class == ERR_CONFLICT && poll_again(f, op, ACTION_DELETE))
			return;
		break;
	case PHASE_ONLY:
	case PHASE_LOOK:
	case PHASE_CREATE:
	case PHASE_ATTACH:
	case PHASE_READ_BACK:
	case PHASE_MODIFY:
	case PHASE_SETTLE:
	case PHASE_SWEEP:
		break;
	}
	removed(f, op, class);
}

static void detach_step(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	if (op->phase != PHASE_LOOK)
		removing(f, op, class);
	else if (class != ERR_NONE || !op->cnic || op->cnic->state == CNIC_GONE)
		removed(f, op, class);
	else if (op->cnic->state == CNIC_ATTACHED)
		go(f, op, PHASE_DETACH, ACTION_DETACH);
	else
		until_gone(f, op);
}

static void clean_up(struct fleet *f, struct fleet_op *op, enum err_class why)
{
	op->failed = why;
	op->deadline_us = op->end_us;
	op->step = detach_step;
	if (!op->cnic)
		removed(f, op, ERR_NONE);
	else if (op->cnic->state == CNIC_ATTACHED && op->phase != PHASE_ATTACH && op->phase != PHASE_READ_BACK)
		go(f, op, PHASE_DETACH, ACTION_DETACH); /* the attachment is known */
	else
		go(f, op, PHASE_LOOK, ACTION_DESCRIBE_NICS);
}

/* ---- attach ---- */

static void attached_answer(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	if (class == ERR_NONE) {
		go(f, op, PHASE_MODIFY, ACTION_MODIFY);
		return;
	}
	if (class != ERR_AMBIGUOUS && class != ERR_CONFLICT) {
		clean_up(f, op, class);
		return;
	}
	poll_reset(op);
	op->phase = PHASE_READ_BACK;
	if (!poll_again(f, op, ACTION_DESCRIBE_NICS))
		clean_up(f, op, class);
}

static void read_back(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	if (class != ERR_NONE)
		clean_up(f, op, class);
	else if (op->cnic->state == CNIC_ATTACHED)
		go(f, op, PHASE_MODIFY, ACTION_MODIFY);
	else if (op->polls >= READ_BACKS)
		go(f, op, PHASE_ATTACH, ACTION_ATTACH);
	else if (!poll_again(f, op, ACTION_DESCRIBE_NICS))
		clean_up(f, op, ERR_RETRY);
}

static void attach_step(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	switch ((enum phase)op->phase) {
	case PHASE_LOOK:
		if (class != ERR_NONE)
			break;
		go(f, op, PHASE_CREATE, ACTION_CREATE);
		return;
	case PHASE_CREATE:
		if (class == ERR_RETRY)
			class = ERR_AMBIGUOUS; /* repeated without an answer: what was made all the same is a leftover */
		if (class != ERR_NONE)
			break;
		go(f, op, PHASE_ATTACH, ACTION_ATTACH);
		return;
	case PHASE_ATTACH:
		attached_answer(f, op, class);
		return;
	case PHASE_READ_BACK:
		read_back(f, op, class);
		return;
	case PHASE_MODIFY:
		if (class != ERR_NONE) {
			clean_up(f, op, class);
			return;
		}
		op->phase = PHASE_SETTLE;
		call_after(f, op, ACTION_COUNT,
			   op->cnic->settled_us > f->now_us ? op->cnic->settled_us - f->now_us : 0);
		return;
	case PHASE_SETTLE:
		(void)cloud_settle(f, op->cnic);
		finish(f, op, ERR_NONE);
		return;
	case PHASE_ONLY:
	case PHASE_DETACH:
	case PHASE_GONE:
	case PHASE_DELETE:
	case PHASE_SWEEP:
		break;
	}
	finish(f, op, class);
}

/* ---- the rest ---- */

static void one_step(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	finish(f, op, class);
}

static void sweep_step(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	if (class != ERR_NONE && class != ERR_NOTFOUND) {
		finish(f, op, class);
		return;
	}
	cloud_unclaim(f, op);
	for (struct cnic *nic = op->node->nics; nic; nic = nic->of_node) {
		if (nic->state != CNIC_AVAILABLE || nic->claims > 0)
			continue;
		cloud_claim(op, nic);
		op->count++;
		go(f, op, PHASE_SWEEP, ACTION_DELETE);
		return;
	}
	finish(f, op, ERR_NONE);
}

static void start_attach(struct fleet *f, struct fleet_op *op)
{
	int64_t kept_us = (op->end_us - f->now_us) / 3;

	op->step = attach_step;
	op->deadline_us = op->end_us - (kept_us < CLEANUP_MAX_US ? kept_us : CLEANUP_MAX_US);
	go(f, op, PHASE_LOOK, ACTION_DESCRIBE_NICS);
}

void berth_op_start(struct fleet *f, struct fleet_op *op)
{
	const struct job *job = op->job;

	op->step = one_step;
	op->end_us = op->deadline_us = job->deadline_us;
	switch (job->kind) {
	case JOB_IDENTIFY:
	case JOB_GLANCE:
		call_after(f, op, ACTION_COUNT, METADATA_US);
		return;
	case JOB_LIMITS:
		call_after(f, op, ACTION_COUNT, 0); /* the provider has them in a table */
		return;
	case JOB_LIST:
		go(f, op, PHASE_ONLY, ACTION_DESCRIBE_NICS);
		return;
	case JOB_SWEEP:
		op->step = sweep_step;
		go(f, op, PHASE_SWEEP, ACTION_DESCRIBE_NICS);
		return;
	case JOB_ASSIGN:
		go(f, op, PHASE_ONLY, ACTION_ASSIGN);
		return;
	case JOB_RELEASE:
		go(f, op, PHASE_ONLY, ACTION_UNASSIGN);
		return;
	case JOB_ATTACH:
		start_attach(f, op);
		return;
	case JOB_DETACH:
		op->step = detach_step;
		go(f, op, PHASE_LOOK, ACTION_DESCRIBE_NICS);
		return;
	case JOB_RECOVER:
		finish(f, op, ERR_CONFLICT); /* nothing is lost here that could be had back by name */
		return;
	case JOB_NFT:
	case JOB_LINK_DEL:
	case JOB_CT_FLUSH:
	case JOB_FORWARD:
	case JOB_KIND_COUNT:
		break;
	}
	finish(f, op, ERR_BUG);
}
