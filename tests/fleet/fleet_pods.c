/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: pods
 *
 * A pod calls ADD when it arrives. berth lets the call wait (config addTimeout), metis 9 s, the others answer at once.
 * After a failure kubelet tries again with a new sandbox 10 to 15 s later: backOffPeriod 10 s with jitter 0.5 of its pod
 * workers (kubernetes pkg/kubelet/pod_workers.go). Before the network is ready no ADD is made, and all are made when it
 * is: kubelet looks about once a second then. The scheduler places no pod on a node that is full; it waits for a place, and
 * that wait is not the network's.
 */
#include "tests/fleet/fleet_impl.h"

#include "berth/check.h"
#include "ipamd/config.h"

#define TRY_LOW_US  (10 * USEC_PER_SEC)
#define TRY_HIGH_US (15 * USEC_PER_SEC)
#define LONG_US     (INT64_C(365) * 86400 * USEC_PER_SEC) /* a life that no run sees the end of */

static bool lease(struct fleet *f, struct fleet_node *node, unsigned pod)
{
	return node->berth ? berth_lease(f, node, pod) : peer_lease(f, node, pod);
}

static int64_t add_wait_us(const struct fleet *f)
{
	return f->policy->rule ? f->policy->rule->add_wait_us : f->add_timeout_us;
}

static void served(struct fleet *f, struct fleet_node *node, unsigned index)
{
	struct fleet_pod *pod = &f->pods[index];

	pod->state = POD_SERVED;
	pod->served_us = f->now_us;
	node->pods++;
	node->missing--;
	f->pods_open--;
	f->last_served_us = f->now_us;
	if (pod->life_us < LONG_US)
		queue_push(&f->queue, f->now_us + pod->life_us, EVENT_END, index, NULL);
}

static void push(struct fleet_node *node, struct fleet *f, unsigned index, int64_t deadline_us)
{
	struct fleet_pod *pod = &f->pods[index];

	pod->state = POD_WAITING;
	pod->deadline_us = deadline_us;
	pod->next = 0;
	if (node->last_waiter)
		f->pods[node->last_waiter - 1].next = index + 1;
	else
		node->first_waiter = index + 1;
	node->last_waiter = index + 1;
	node->waiting++;
}

static unsigned pop(struct fleet_node *node, struct fleet *f)
{
	unsigned index = node->first_waiter - 1;

	CHECK(node->waiting > 0);
	node->first_waiter = f->pods[index].next;
	if (!node->first_waiter)
		node->last_waiter = 0;
	node->waiting--;
	return index;
}

static void try_later(struct fleet *f, struct fleet_node *node, unsigned index)
{
	f->pods[index].state = POD_COMING;
	queue_push(&f->queue, f->now_us + dice_between(&node->dice, TRY_LOW_US, TRY_HIGH_US), EVENT_POD, index, NULL);
}

/* ---- the scheduler ---- */

/* No node gets more pods than it may have, nor more than it can have addresses for. */
static unsigned room(const struct fleet *f, const struct fleet_node *node)
{
	const struct fleet_instance *instance = &f->options->instance;
	unsigned most = (instance->nics_max * instance->units_per_nic) << (32U - instance->unit_len);
	unsigned here = node->pods + node->missing;

	most = instance->max_pods < most ? instance->max_pods : most;
	return here < most ? most - here : 0;
}

static void keep_back(struct fleet *f, struct fleet_node *node, unsigned index)
{
	f->pods[index].state = POD_UNPLACED;
	f->pods[index].next = 0;
	if (node->last_unplaced)
		f->pods[node->last_unplaced - 1].next = index + 1;
	else
		node->first_unplaced = index + 1;
	node->last_unplaced = index + 1;
}

static void place_next(struct fleet *f, struct fleet_node *node)
{
	unsigned index = node->first_unplaced - 1;

	if (!node->first_unplaced)
		return;
	node->first_unplaced = f->pods[index].next;
	if (!node->first_unplaced)
		node->last_unplaced = 0;
	f->pods[index].state = POD_COMING;
	f->pods[index].arrive_us = f->now_us;
	queue_push(&f->queue, f->now_us, EVENT_POD, index, NULL);
}

/* ---- events ---- */

void pod_arrive(struct fleet *f, unsigned index)
{
	struct fleet_pod *pod = &f->pods[index];
	struct fleet_node *node = &f->nodes[pod->node];

	/* Those that a node had or was to have went with it. */
	if (!node->alive || pod->state == POD_GONE)
		return;
	if (pod->arrive_us == f->now_us && room(f, node) == 0) {
		keep_back(f, node, index);
		return;
	}
	if (pod->arrive_us == f->now_us)
		node->missing++;
	if (node->berth && node->ready)
		berth_arrived(f, node);
	if (!node->ready)
		push(node, f, index, INT64_MAX);
	else if (node->waiting == 0 && lease(f, node, index))
		served(f, node, index);
	else if (add_wait_us(f) > 0)
		push(node, f, index, f->now_us + add_wait_us(f));
	else
		try_later(f, node, index);
	node_wake(f, node, f->now_us);
	node_account(f, node);
}

void node_ready(struct fleet *f, struct fleet_node *node)
{
	unsigned count = node->waiting;

	node->ready = true;
	while (count-- > 0) {
		unsigned index = pop(node, f);

		if (node->berth)
			berth_arrived(f, node);
		if (add_wait_us(f) > 0)
			push(node, f, index, f->now_us + add_wait_us(f));
		else if (lease(f, node, index))
			served(f, node, index);
		else
			try_later(f, node, index);
	}
}

int64_t pods_serve(struct fleet *f, struct fleet_node *node)
{
	while (node->ready && node->waiting > 0 && lease(f, node, node->first_waiter - 1))
		served(f, node, pop(node, f));
	while (node->ready && node->waiting > 0 && f->pods[node->first_waiter - 1].deadline_us <= f->now_us)
		try_later(f, node, pop(node, f));
	return node->ready && node->waiting > 0 ? f->pods[node->first_waiter - 1].deadline_us : INT64_MAX;
}

void pod_end(struct fleet *f, unsigned index)
{
	struct fleet_pod *pod = &f->pods[index];
	struct fleet_node *node = &f->nodes[pod->node];

	if (!node->alive)
		return;
	if (pod->state == POD_ENDED) {
		peer_cooled(f, node, index);
		return;
	}
	pod->state = POD_ENDED;
	node->pods--;
	if (node->berth)
		berth_release(f, node, index);
	else
		peer_release(f, node, index);
	place_next(f, node);
	node_wake(f, node, f->now_us);
	node_account(f, node);
}
