/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fleet/fleet_impl.h"

#include <stdlib.h>
#include <string.h>

#define EVENTS_FIRST 1024U /* room before the heap grows; it doubles */

static bool before(const struct fleet_event *a, const struct fleet_event *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static bool make_room(struct fleet_queue *queue)
{
	size_t alloc = queue->alloc ? queue->alloc * 2 : EVENTS_FIRST;
	struct fleet_event *heap;

	if (queue->count < queue->alloc)
		return true;
	heap = reallocarray(queue->heap, alloc, sizeof(*heap));
	if (!heap) {
		queue->failed = true;
		return false;
	}
	queue->heap = heap;
	queue->alloc = alloc;
	return true;
}

void queue_push(struct fleet_queue *queue, int64_t at_us, enum fleet_event_kind kind, unsigned index,
		struct fleet_op *op)
{
	const struct fleet_event event = { at_us, queue->order++, kind, index, op };
	size_t at = queue->count;

	if (!make_room(queue))
		return;
	queue->count++;
	while (at > 0 && before(&event, &queue->heap[(at - 1) / 2])) {
		queue->heap[at] = queue->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	queue->heap[at] = event;
}

bool queue_pop(struct fleet_queue *queue, struct fleet_event *ret)
{
	struct fleet_event last;
	size_t at = 0;

	if (queue->count == 0)
		return false;
	*ret = queue->heap[0];
	last = queue->heap[--queue->count];
	for (;;) {
		size_t child = at * 2 + 1;

		if (child >= queue->count)
			break;
		if (child + 1 < queue->count && before(&queue->heap[child + 1], &queue->heap[child]))
			child++;
		if (!before(&queue->heap[child], &last))
			break;
		queue->heap[at] = queue->heap[child];
		at = child;
	}
	queue->heap[at] = last;
	return true;
}

void queue_done(struct fleet_queue *queue)
{
	free(queue->heap);
	memset(queue, 0, sizeof(*queue));
}
