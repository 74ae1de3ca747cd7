/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: a node of another system
 *
 * The loop of amazon-vpc-cni-k8s (reference of aws-vpc-cni, sections 3.4 to 3.8, 4.3): every 5 s one decision, whose calls
 * are made one after the other in the loop's only goroutine; a failed call ends the step and the next loop decides
 * anew, 5 s after this one ended, without back-off or jitter of its own beyond the SDK's. Charitable: what a lost answer
 * did is known at once (in truth a reconcile finds it within 60 s).
 *
 *   start   DescribeNetworkInterfaces (12 tries, then the process dies), CreateTags, DescribeSubnets, one growth
 *           ("pre-scaling"): if that fails for another reason than a full subnet the process dies too. A container
 *           that dies is started again after 10 s, 20 s, ... 300 s (kubelet's crash loop back-off).
 *   grow    Assign n, on error Assign 1; or DescribeSubnets, Create, DescribeInstances, Attach, Modify, wait for the
 *           metadata service, DescribeSubnets
 *   free    Detach (12 tries, 200 ms doubling to 60 s), 2 s, Delete (12 tries, 500 ms doubling to 60 s)
 *   leaks   first after 0-300 s, then hourly: all available NICs of the account that are 5 min old are deleted
 *
 * Azure's and metis' nodes: no start and no leak sweep of the node's own, the same growth and shrinking, the next step at
 * once while a wish is not fulfilled.
 */
#include "tests/fleet/fleet_impl.h"

#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"

#define TRIES_MAX       12
#define INIT_TRY_US     (10 * USEC_PER_MSEC) /* times the number of the try */
#define DETACH_FIRST_US (200 * USEC_PER_MSEC)
#define DELETE_FIRST_US (500 * USEC_PER_MSEC)
#define BACKOFF_MAX_US  (60 * USEC_PER_SEC)
#define DETACHED_US     (2 * USEC_PER_SEC)
#define CRASH_FIRST_US  (10 * USEC_PER_SEC)
#define CRASH_MAX_US    (300 * USEC_PER_SEC)
#define IMDS_FIRST_US   (100 * USEC_PER_MSEC)
#define LEAK_FIRST_US   (300 * USEC_PER_SEC)
#define LEAK_PERIOD_US  (3600 * USEC_PER_SEC)
#define LEAK_AGE_US     (300 * USEC_PER_SEC)
#define METADATA_US     (50 * USEC_PER_MSEC)

enum phase {
	PHASE_START, /* metadata */
	PHASE_INIT,
	PHASE_TAG,
	PHASE_INIT_SUBNETS,
	PHASE_ASSIGN,
	PHASE_ASSIGN_ONE,
	PHASE_SUBNETS,
	PHASE_CREATE,
	PHASE_INSTANCES,
	PHASE_ATTACH,
	PHASE_MODIFY,
	PHASE_IMDS,
	PHASE_SETUP,
	PHASE_UNASSIGN,
	PHASE_DETACH,
	PHASE_DETACHED,
	PHASE_DELETE,
	PHASE_LEAKS,
	PHASE_LEAK_DELETE,
	PHASE_COUNT
};

struct peer_node {
	struct rule_memory memory;
	struct rule_step todo; /* of this loop; what is done is taken out of it */
	bool busy;             /* an operation of the loop is under way */
	bool started;          /* its start is over */
	bool starting;
	unsigned crashes;
	int64_t loop_us;  /* the next decision */
	int64_t leaks_us; /* the next sweep for leaks */
	bool sweeping;
	unsigned seen_missing;
};

static void loop_step(struct fleet *f, struct fleet_op *op, enum err_class class);
static void leak_step(struct fleet *f, struct fleet_op *op, enum err_class class);

static const struct rule *rule_of(const struct fleet *f)
{
	return f->policy->rule;
}

static bool is_aws(const struct fleet *f)
{
	return rule_of(f)->kind == RULE_AWS;
}

static unsigned unit_size(const struct fleet *f)
{
	return 1U << (32U - f->options->instance.unit_len);
}

/* ---- addresses ---- */

bool peer_lease(struct fleet *f, struct fleet_node *node, unsigned pod)
{
	unsigned size = unit_size(f);

	for (unsigned slot = 0; slot < f->options->instance.nics_max; slot++) {
		struct cnic *nic = cloud_nic(node, slot);

		if (!nic || nic->unknown || nic->state != CNIC_ATTACHED)
			continue;
		for (unsigned i = 0; i < nic->unit_count; i++) {
			if (nic->assigned[i] + nic->cooling[i] >= size)
				continue;
			nic->assigned[i]++;
			f->pods[pod].slot = slot;
			f->pods[pod].unit = nic->units[i];
			return true;
		}
	}
	return false;
}

/* Its block in @ret_index. Return: NULL if it is not there any more. */
static struct cnic *nic_of(struct fleet *f, struct fleet_node *node, unsigned pod, unsigned *ret_index)
{
	struct cnic *nic = cloud_nic(node, f->pods[pod].slot);

	for (unsigned i = 0; nic && i < nic->unit_count; i++) {
		if (nic->units[i] != f->pods[pod].unit)
			continue;
		*ret_index = i;
		return nic;
	}
	return NULL;
}

void peer_release(struct fleet *f, struct fleet_node *node, unsigned pod)
{
	int64_t cooldown_us = rule_of(f)->cooldown_us;
	unsigned i;
	struct cnic *nic = nic_of(f, node, pod, &i);

	if (!nic)
		return;
	nic->assigned[i]--;
	if (cooldown_us == 0)
		return;
	nic->cooling[i]++;
	queue_push(&f->queue, f->now_us + cooldown_us, EVENT_END, pod, NULL);
}

void peer_cooled(struct fleet *f, struct fleet_node *node, unsigned pod)
{
	unsigned i;
	struct cnic *nic = nic_of(f, node, pod, &i);

	if (nic && nic->cooling[i] > 0)
		nic->cooling[i]--;
	/* metis wakes those who wait. */
	if (node->waiting > 0)
		node_wake(f, node, f->now_us);
}

/* ---- decisions ---- */

static void look(struct fleet *f, struct fleet_node *node, struct rule_state *ret)
{
	const struct fleet_instance *instance = &f->options->instance;

	memset(ret, 0, sizeof(*ret));
	ret->now_us = f->now_us;
	ret->unit_size = unit_size(f);
	ret->units_per_nic = instance->units_per_nic;
	ret->nics_max = instance->nics_max;
	ret->max_pods = instance->max_pods;
	ret->waiting = node->missing;
	for (unsigned slot = 0; slot < instance->nics_max; slot++) {
		struct cnic *nic = cloud_nic(node, slot);
		struct rule_nic *seen;

		if (!nic || nic->state != CNIC_ATTACHED)
			continue;
		seen = &ret->nics[ret->nic_count++];
		seen->slot = slot;
		seen->units = nic->unit_count;
		seen->total = nic->unit_count * ret->unit_size;
		seen->age_us = f->now_us - nic->created_us;
		for (unsigned i = 0; i < nic->unit_count; i++) {
			seen->assigned += nic->assigned[i];
			seen->cooling += nic->cooling[i];
			seen->unused_units += nic->assigned[i] == 0;
		}
	}
}

static struct fleet_op *begin(struct fleet *f, struct fleet_node *node)
{
	struct fleet_op *op = op_new(f, node, loop_step);

	if (op)
		node->peer->busy = true;
	return op;
}

static void go(struct fleet *f, struct fleet_op *op, enum phase phase, enum fleet_action action)
{
	op->phase = phase;
	op->polls = 0;
	call_start(f, op, action);
}

/* Blocks of one NIC without a pod, those that do not cool either first; the rest of the step stays for other NICs. */
static bool begin_unassign(struct fleet *f, struct fleet_node *node)
{
	struct rule_step *todo = &node->peer->todo;

	for (unsigned slot = f->options->instance.nics_max; slot-- > 0;) {
		struct cnic *nic = cloud_nic(node, slot);
		struct fleet_op *op;
		unsigned count = 0;

		for (unsigned i = 0; nic && i < nic->unit_count; i++)
			count += nic->assigned[i] == 0;
		if (count == 0)
			continue;
		op = begin(f, node);
		if (op)
			op->units = calloc(count, sizeof(*op->units));
		if (!op || !op->units) {
			f->failed = true;
			break;
		}
		for (unsigned round = 0; round < 2; round++)
			for (unsigned i = 0; i < nic->unit_count && op->count < todo->units && op->count < count; i++)
				if (nic->assigned[i] == 0 && (nic->cooling[i] != 0) == (round == 1))
					op->units[op->count++] = nic->units[i];
		todo->units -= op->count;
		if (todo->units == 0)
			todo->what = RULE_HOLD;
		/* "Delete from datastore", then the call: nothing is leased from them meanwhile. */
		for (unsigned i = 0; i < nic->unit_count; i++)
			for (unsigned n = 0; n < op->count; n++)
				if (nic->units[i] == op->units[n])
					nic->cooling[i] = (uint8_t)unit_size(f);
		cloud_claim(op, nic);
		go(f, op, PHASE_UNASSIGN, ACTION_UNASSIGN);
		return true;
	}
	todo->what = RULE_HOLD;
	return false;
}

/* The next part of this loop's step. Return: false when there is none. */
static bool begin_next(struct fleet *f, struct fleet_node *node)
{
	struct rule_step *todo = &node->peer->todo;
	struct rule_step step = *todo;
	struct cnic *nic;
	struct fleet_op *op;

	switch (step.what) {
	case RULE_UNASSIGN:
		return begin_unassign(f, node) || begin_next(f, node);
	case RULE_ASSIGN:
	case RULE_ATTACH:
		todo->what = RULE_HOLD;
		nic = step.what == RULE_ASSIGN ? cloud_nic(node, step.slot) : NULL;
		if (step.units == 0 || !(op = begin(f, node)))
			return false;
		op->count = step.units;
		if (nic)
			cloud_claim(op, nic);
		if (nic)
			go(f, op, PHASE_ASSIGN, ACTION_ASSIGN);
		else if (is_aws(f))
			go(f, op, PHASE_SUBNETS, ACTION_DESCRIBE_SUBNETS);
		else
			go(f, op, PHASE_CREATE, ACTION_CREATE);
		return true;
	case RULE_HOLD:
		break;
	}
	if (step.free_slot == 0)
		return false;
	todo->free_slot = 0;
	nic = cloud_nic(node, step.free_slot);
	if (!nic || !(op = begin(f, node)))
		return false;
	cloud_claim(op, nic);
	nic->unknown = true; /* out of the datastore first */
	go(f, op, PHASE_DETACH, ACTION_DETACH);
	return true;
}

static void crash(struct fleet *f, struct fleet_node *node)
{
	struct peer_node *peer = node->peer;
	int64_t delay_us = CRASH_FIRST_US << (peer->crashes < 5 ? peer->crashes : 5);

	peer->crashes++;
	peer->starting = false;
	peer->loop_us = f->now_us + (delay_us < CRASH_MAX_US ? delay_us : CRASH_MAX_US);
}

static void loop_ended(struct fleet *f, struct fleet_node *node, enum err_class class)
{
	struct peer_node *peer = node->peer;

	if (!peer->started && is_aws(f) && class != ERR_NONE) {
		crash(f, node);
		node_wake(f, node, peer->loop_us);
		return;
	}
	peer->started = true;
	peer->loop_us = f->now_us + (peer->todo.again && class == ERR_NONE ? 0 : rule_of(f)->loop_us);
	if (!node->ready && cloud_addresses(f, node) > 0)
		node_ready(f, node);
	(void)pods_serve(f, node);
	node_wake(f, node, peer->loop_us);
}

/* An operation is over. */
static void finish(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	struct fleet_node *node = op->node;

	node->peer->busy = false;
	if (op->cnic)
		op->cnic->unknown = false;
	op_free(f, op);
	if (class == ERR_NONE && begin_next(f, node))
		return;
	if (class != ERR_NONE && node->peer->todo.free_slot != 0) {
		node->peer->todo.what = RULE_HOLD;
		if (begin_next(f, node))
			return;
	}
	loop_ended(f, node, class);
	node_account(f, node);
}

static void decide(struct fleet *f, struct fleet_node *node)
{
	struct rule_state state;

	look(f, node, &state);
	rule_decide(rule_of(f), &state, &node->peer->memory, &node->peer->todo);
	if (!begin_next(f, node))
		loop_ended(f, node, ERR_NONE);
}

/* ---- operations ---- */

static int64_t doubled(int64_t first_us, unsigned tries)
{
	int64_t delay_us = first_us << (tries < 16 ? tries : 16);

	return delay_us < BACKOFF_MAX_US ? delay_us : BACKOFF_MAX_US;
}

/* One more of 12 tries. Return: false when they are used up. */
static bool once_more(struct fleet *f, struct fleet_op *op, int64_t first_us)
{
	if (++op->polls >= TRIES_MAX)
		return false;
	call_after(f, op, op->action, doubled(first_us, op->polls - 1));
	return true;
}

/* ---- start ---- */

static void after_metadata(struct fleet *f, struct fleet_op *op, _unused_ enum err_class class)
{
	go(f, op, PHASE_INIT, ACTION_DESCRIBE_NICS);
}

static void after_init(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	if (class == ERR_NONE)
		go(f, op, PHASE_TAG, ACTION_TAG);
	else if (++op->polls < TRIES_MAX)
		call_after(f, op, ACTION_DESCRIBE_NICS, op->polls * INIT_TRY_US);
	else
		finish(f, op, class);
}

/* A tag that cannot be written is only logged. */
static void after_tag(struct fleet *f, struct fleet_op *op, _unused_ enum err_class class)
{
	go(f, op, PHASE_INIT_SUBNETS, ACTION_DESCRIBE_SUBNETS);
}

/* "Pre-scaling": the first decision belongs to the start. */
static void after_init_subnets(struct fleet *f, struct fleet_op *op, _unused_ enum err_class class)
{
	struct fleet_node *node = op->node;

	node->peer->busy = false;
	op_free(f, op);
	decide(f, node);
}

/* ---- growing ---- */

static void after_assign(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	if (class == ERR_NONE || !is_aws(f)) {
		finish(f, op, class);
		return;
	}
	op->count = 1;
	go(f, op, PHASE_ASSIGN_ONE, ACTION_ASSIGN);
}

/* An error means the primary NIC's subnet. */
static void after_subnets(struct fleet *f, struct fleet_op *op, _unused_ enum err_class class)
{
	go(f, op, PHASE_CREATE, ACTION_CREATE);
}

/* What goes wrong from here on is only logged: the node must not become unready by it. */
static void after_create(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	if (op->cnic)
		op->cnic->unknown = true;
	if (class != ERR_NONE)
		finish(f, op, ERR_NONE);
	else if (is_aws(f))
		go(f, op, PHASE_INSTANCES, ACTION_DESCRIBE_INSTANCES);
	else
		go(f, op, PHASE_ATTACH, ACTION_ATTACH);
}

static void after_instances(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	if (class == ERR_NONE)
		go(f, op, PHASE_ATTACH, ACTION_ATTACH);
	else
		go(f, op, PHASE_DELETE, ACTION_DELETE);
}

static void after_attach(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	if (class == ERR_NONE)
		go(f, op, PHASE_MODIFY, ACTION_MODIFY);
	else if (op->cnic->state == CNIC_ATTACHED)
		finish(f, op, ERR_NONE); /* its answer was lost; a reconcile adopts it */
	else
		go(f, op, PHASE_DELETE, ACTION_DELETE);
}

static void after_modify(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	if (class != ERR_NONE) {
		go(f, op, PHASE_DETACH, ACTION_DETACH);
		return;
	}
	op->phase = PHASE_IMDS;
	op->polls = 0;
	call_after(f, op, ACTION_COUNT, IMDS_FIRST_US);
}

static void after_imds(struct fleet *f, struct fleet_op *op, _unused_ enum err_class class)
{
	if (!cloud_settle(f, op->cnic) && once_more(f, op, IMDS_FIRST_US * 2))
		return;
	if (is_aws(f))
		go(f, op, PHASE_SETUP, ACTION_DESCRIBE_SUBNETS);
	else
		finish(f, op, ERR_NONE);
}

static void after_last(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	finish(f, op, op->phase == PHASE_ASSIGN_ONE ? class : ERR_NONE);
}

/* ---- shrinking ---- */

/* What could not be given back is put back by a reconcile after 60 s (section 3.6); here at once. */
static void after_unassign(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	struct cnic *nic = op->cnic;

	for (unsigned i = 0; class != ERR_NONE && i < nic->unit_count; i++)
		for (unsigned n = 0; n < op->count; n++)
			if (nic->units[i] == op->units[n])
				nic->cooling[i] = 0;
	finish(f, op, ERR_NONE);
}

static void after_detach(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	if (class == ERR_NONE) {
		op->phase = PHASE_DETACHED;
		op->polls = 0;
		call_after(f, op, ACTION_COUNT, DETACHED_US);
	} else if (!once_more(f, op, DETACH_FIRST_US))
		finish(f, op, ERR_NONE);
}

static void after_detached(struct fleet *f, struct fleet_op *op, _unused_ enum err_class class)
{
	(void)cloud_settle(f, op->cnic);
	go(f, op, PHASE_DELETE, ACTION_DELETE);
}

static void after_delete(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	if (class == ERR_NONE || class == ERR_NOTFOUND || !once_more(f, op, DELETE_FIRST_US))
		finish(f, op, ERR_NONE);
}

static void loop_step(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	static fleet_step *const after[PHASE_COUNT] = {
		[PHASE_START] = after_metadata,
		[PHASE_INIT] = after_init,
		[PHASE_TAG] = after_tag,
		[PHASE_INIT_SUBNETS] = after_init_subnets,
		[PHASE_ASSIGN] = after_assign,
		[PHASE_ASSIGN_ONE] = after_last,
		[PHASE_SUBNETS] = after_subnets,
		[PHASE_CREATE] = after_create,
		[PHASE_INSTANCES] = after_instances,
		[PHASE_ATTACH] = after_attach,
		[PHASE_MODIFY] = after_modify,
		[PHASE_IMDS] = after_imds,
		[PHASE_SETUP] = after_last,
		[PHASE_UNASSIGN] = after_unassign,
		[PHASE_DETACH] = after_detach,
		[PHASE_DETACHED] = after_detached,
		[PHASE_DELETE] = after_delete,
	};

	after[op->phase](f, op, class);
}

/* ---- leaks ---- */

static struct cnic *leaked(struct fleet *f)
{
	for (struct cnic *nic = f->cloud.available; nic; nic = nic->next)
		if (nic->claims == 0 && f->now_us - nic->created_us >= LEAK_AGE_US)
			return nic;
	return NULL;
}

static void leak_step(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	struct fleet_node *node = op->node;
	struct cnic *nic = leaked(f);

	if (op->phase == PHASE_LEAK_DELETE && class != ERR_NONE && once_more(f, op, DELETE_FIRST_US))
		return;
	cloud_unclaim(f, op);
	if (class == ERR_NONE && nic) {
		cloud_claim(op, nic);
		go(f, op, PHASE_LEAK_DELETE, ACTION_DELETE);
		return;
	}
	op_free(f, op);
	node->peer->sweeping = false;
	node->peer->leaks_us = f->now_us + LEAK_PERIOD_US;
	node_wake(f, node, node->peer->leaks_us);
}

/* ---- turns ---- */

static void begin_start(struct fleet *f, struct fleet_node *node)
{
	struct fleet_op *op = begin(f, node);

	if (!op)
		return;
	node->peer->starting = true;
	op->phase = PHASE_START;
	call_after(f, op, ACTION_COUNT, METADATA_US);
}

void peer_turn(struct fleet *f, struct fleet_node *node)
{
	struct peer_node *peer = node->peer;
	int64_t wake = INT64_MAX;

	wake = pods_serve(f, node);
	/* metis: whoever waits wakes the monitor. */
	if (rule_of(f)->add_wait_us > 0 && node->waiting > 0 && node->ready && peer->started &&
	    peer->loop_us > f->now_us && node->missing > peer->seen_missing)
		peer->loop_us = f->now_us;
	peer->seen_missing = node->missing;
	if (!peer->busy && f->now_us >= peer->loop_us) {
		if (!peer->started && is_aws(f))
			begin_start(f, node);
		else
			decide(f, node);
	}
	if (is_aws(f) && peer->started && !peer->sweeping && f->now_us >= peer->leaks_us) {
		struct fleet_op *op = op_new(f, node, leak_step);

		if (op) {
			peer->sweeping = true;
			go(f, op, PHASE_LEAKS, ACTION_DESCRIBE_NICS);
		}
	}
	if (!peer->busy)
		wake = clock_earlier(wake, peer->loop_us);
	if (is_aws(f) && peer->started && !peer->sweeping)
		wake = clock_earlier(wake, peer->leaks_us);
	node_wake(f, node, wake);
}

void peer_boot(struct fleet *f, struct fleet_node *node)
{
	node->peer = calloc(1, sizeof(*node->peer));
	if (!node->peer) {
		f->failed = true;
		return;
	}
	node->sdk_quota = 500;
	node->peer->loop_us = f->now_us;
	node->peer->leaks_us = f->now_us + dice_between(&node->dice, 0, LEAK_FIRST_US);
	peer_turn(f, node);
}

void peer_die(struct fleet_node *node)
{
	free(node->peer);
	node->peer = NULL;
}
