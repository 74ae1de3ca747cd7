/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fleet/fleet_impl.h"

#include <stdlib.h>
#include <string.h>

#include "ipamd/config.h"

static int64_t virtual_now(void *ctx)
{
	const struct fleet *f = ctx;

	return f->now_us;
}

bool fleet_setup(struct fleet *f, const struct fleet_options *options, const struct fleet_policy *policy,
		 unsigned node_count, unsigned pod_count)
{
	struct config config;

	memset(f, 0, sizeof(*f));
	config_defaults(&config);
	f->options = options;
	f->policy = policy;
	f->add_timeout_us = config.add_timeout_us;
	f->dice.state = options->seed;
	f->now_us = USEC_PER_SEC; /* 0 is "never" in many places */
	f->clock = (struct clock){ virtual_now, f };
	f->node_count = node_count;
	f->pod_count = f->pods_open = pod_count;
	f->nodes = calloc(node_count, sizeof(*f->nodes));
	f->pods = calloc(pod_count ? pod_count : 1, sizeof(*f->pods));
	f->result.per_second = calloc(FLEET_SECONDS_MAX, sizeof(*f->result.per_second));
	f->result.per_tenth = calloc(FLEET_TENTHS_MAX, sizeof(*f->result.per_tenth));
	for (unsigned i = 0; f->nodes && i < node_count; i++) {
		f->nodes[i].index = i;
		f->nodes[i].wake_us = INT64_MAX;
		f->nodes[i].dice.state = dice_next(&f->dice);
	}
	return f->nodes && f->pods && f->result.per_second && f->result.per_tenth;
}

void node_wake(struct fleet *f, struct fleet_node *node, int64_t at_us)
{
	if (at_us >= node->wake_us || !node->alive)
		return;
	node->wake_us = at_us > f->now_us ? at_us : f->now_us;
	queue_push(&f->queue, node->wake_us, EVENT_NODE, node->index, NULL);
}

void node_account(struct fleet *f, struct fleet_node *node)
{
	unsigned held = cloud_addresses(f, node);
	int64_t from_us = node->accounted_us > f->count_from_us ? node->accounted_us : f->count_from_us;

	if (f->now_us > from_us)
		node->unused_integral += (double)node->unused * (double)(f->now_us - from_us);
	node->accounted_us = f->now_us;
	node->unused = held > node->pods ? held - node->pods : 0;
	if (f->now_us >= f->count_from_us && node->unused > f->result.unused_max)
		f->result.unused_max = node->unused;
}

static void boot(struct fleet *f, struct fleet_node *node)
{
	node->alive = true;
	node->boot_us = node->accounted_us = f->now_us;
	if (!cloud_boot(f, node))
		return;
	if (f->policy->rule)
		peer_boot(f, node);
	else
		berth_boot(f, node);
}

static void die(struct fleet *f, struct fleet_node *node)
{
	if (!node->alive)
		return;
	node_account(f, node);
	node->unused = 0;
	for (unsigned i = node->first_pod; i < node->first_pod + node->pod_count; i++) {
		struct fleet_pod *pod = &f->pods[i];

		if (pod->state == POD_COMING || pod->state == POD_WAITING || pod->state == POD_UNPLACED) {
			pod->state = POD_GONE;
			f->pods_open--;
		}
	}
	node->alive = false;
	if (node->berth)
		berth_die(node);
	else
		peer_die(node);
	cloud_node_dies(f, node);
}

static void turn(struct fleet *f, struct fleet_node *node, int64_t at_us)
{
	/* Another turn was asked for since, an earlier one. */
	if (!node->alive || at_us != node->wake_us)
		return;
	node->wake_us = INT64_MAX;
	if (node->berth)
		berth_turn(f, node);
	else
		peer_turn(f, node);
	node_account(f, node);
}

static void dispatch(struct fleet *f, const struct fleet_event *event)
{
	switch (event->kind) {
	case EVENT_BOOT:
		boot(f, &f->nodes[event->index]);
		return;
	case EVENT_DIE:
		die(f, &f->nodes[event->index]);
		return;
	case EVENT_POD:
		pod_arrive(f, event->index);
		return;
	case EVENT_END:
		pod_end(f, event->index);
		return;
	case EVENT_NODE:
		turn(f, &f->nodes[event->index], event->at_us);
		return;
	case EVENT_SEND:
		call_send(f, event->op);
		return;
	case EVENT_ANSWER:
		call_answer(f, event->op);
		return;
	case EVENT_WAITED:
		call_resume(f, event->op);
		return;
	}
}

void fleet_go(struct fleet *f, int64_t until_us, bool stop_when_served)
{
	struct fleet_event event;

	while (!f->failed && !f->queue.failed && !(stop_when_served && f->pods_open == 0)) {
		if (f->queue.count == 0 || f->queue.heap[0].at_us > until_us)
			break;
		(void)queue_pop(&f->queue, &event);
		f->now_us = event.at_us;
		dispatch(f, &event);
	}
	if (!(stop_when_served && f->pods_open == 0) && f->now_us < until_us)
		f->now_us = until_us;
}

static int by_value(const void *a, const void *b)
{
	const int64_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

/* The smallest value that at least @percent of them do not exceed. */
static int64_t percentile(const int64_t *sorted, unsigned count, unsigned percent)
{
	uint64_t rank = ((uint64_t)count * percent + 99) / 100;

	return count == 0 ? 0 : sorted[rank > 0 ? rank - 1 : 0];
}

static void sum_up_pods(struct fleet *f)
{
	struct fleet_result *result = &f->result;
	int64_t *waits = calloc(f->pod_count + 1, sizeof(*waits));
	unsigned count = 0;

	if (!waits) {
		f->failed = true;
		return;
	}
	for (unsigned i = 0; i < f->pod_count; i++) {
		const struct fleet_pod *pod = &f->pods[i];
		bool has_come = pod->arrive_us >= f->count_from_us && pod->arrive_us <= f->now_us;

		if (!has_come || pod->state == POD_GONE)
			continue;
		if (pod->state == POD_UNPLACED) {
			result->unplaced++;
			continue;
		}
		result->pods++;
		/* Whoever still waits has waited until now at least. */
		waits[count] = (pod->served_us ? pod->served_us : f->now_us) - pod->arrive_us;
		result->served += pod->served_us != 0;
		result->waited += waits[count++] > 0;
	}
	qsort(waits, count, sizeof(*waits), by_value);
	result->p50_us = percentile(waits, count, 50);
	result->p99_us = percentile(waits, count, 99);
	result->max_us = percentile(waits, count, 100);
	free(waits);
}

void fleet_sum_up(struct fleet *f)
{
	double integral = 0, time_us = 0;

	sum_up_pods(f);
	f->result.last_served_us = f->last_served_us - f->count_from_us;
	for (unsigned i = 0; i < f->node_count; i++) {
		struct fleet_node *node = &f->nodes[i];

		if (node->alive)
			node_account(f, node);
		if (node->berth)
			f->result.cut_off += berth_cut_off(node);
		if (node->accounted_us <= f->count_from_us)
			continue;
		integral += node->unused_integral;
		time_us += (double)(node->accounted_us -
				    (node->boot_us > f->count_from_us ? node->boot_us : f->count_from_us));
	}
	f->result.unused_mean = time_us > 0 ? integral / time_us : 0;
}

void fleet_count_leaks(struct fleet *f)
{
	for (const struct cnic *nic = f->cloud.available; nic; nic = nic->next) {
		f->result.leaked += nic->claims == 0;
		f->result.leaked_dead += nic->claims == 0 && !nic->owner->alive;
	}
}

void fleet_done(struct fleet *f)
{
	struct fleet_event event;

	for (unsigned i = 0; i < f->node_count; i++)
		die(f, &f->nodes[i]);
	while (queue_pop(&f->queue, &event))
		if (event.op)
			op_free(f, event.op);
	for (unsigned i = 0; i < f->node_count; i++)
		cloud_node_done(&f->nodes[i]);
	queue_done(&f->queue);
	free(f->nodes);
	free(f->pods);
}

void fleet_result_done(struct fleet_result *result)
{
	free(result->per_second);
	free(result->per_tenth);
	memset(result, 0, sizeof(*result));
}
