/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/executor.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "berth/clock.h"
#include "berth/net.h"
#include "berth/str.h"
#include "ipamd/forward.h"
#include "ipamd/hostnet.h"

enum lane { LANE_CHANGE, LANE_READ, LANE_NFT, LANE_LINK, LANE_FLOWS, LANE_COUNT };

/* At most so many threads per lane. Change: one mutation per NIC, on every NIC of the largest instances (EC2 and Azure: 15
 * or 16) at once. Read: the list, a sweep and a glance; identify and limits come before those. nft: batches replace the
 * whole table, so two at once gain nothing. Link: a deletion waits for an RCU grace period outside the rtnl lock, so four
 * at once take as long as one. Flows: each job reads the whole table. */
static const unsigned lane_threads[LANE_COUNT] = {
	[LANE_CHANGE] = 16, [LANE_READ] = 3, [LANE_NFT] = 1, [LANE_LINK] = 4, [LANE_FLOWS] = 1,
};

#define THREADS_MAX 25 /* the sum */
/* Bytes: libcurl with OpenSSL needs about 100 KiB; the default of 8 MiB is only virtual but counted by some limits. */
#define THREAD_STACK (256U << 10)

struct queued {
	struct queued *next;
	struct job job;
};

struct fifo {
	struct queued *head, **tail;
	unsigned count;
};

struct lane_state {
	pthread_cond_t work;
	struct fifo in;
	unsigned threads; /* started; only the submitting thread looks at it */
	unsigned busy;    /* of them, running a job */
};

struct executor {
	struct cloud *cloud;
	int event_fd;
	pthread_mutex_t lock; /* of what follows; held for list operations and the start of a thread */
	struct lane_state lanes[LANE_COUNT];
	struct fifo out;
	bool stop;
	/* of the submitting thread: */
	pthread_attr_t attr;
	unsigned thread_count;
	pthread_t threads[THREADS_MAX];
};

struct worker {
	struct executor *executor;
	enum lane lane;
};

static void fifo_push(struct fifo *fifo, struct queued *q)
{
	q->next = NULL;
	*fifo->tail = q;
	fifo->tail = &q->next;
	fifo->count++;
}

static struct queued *fifo_pop(struct fifo *fifo)
{
	struct queued *q = fifo->head;

	if (!q)
		return NULL;
	fifo->head = q->next;
	if (!fifo->head)
		fifo->tail = &fifo->head;
	fifo->count--;
	return q;
}

static void fifo_clear(struct fifo *fifo)
{
	struct queued *q;

	while ((q = fifo_pop(fifo))) {
		job_done(&q->job);
		free(q);
	}
}

static enum lane lane_of(enum job_kind kind)
{
	static const enum lane lanes[] = {
		[JOB_IDENTIFY] = LANE_READ,  [JOB_LIMITS] = LANE_READ,    [JOB_LIST] = LANE_READ,
		[JOB_SWEEP] = LANE_READ,     [JOB_GLANCE] = LANE_READ,    [JOB_ASSIGN] = LANE_CHANGE,
		[JOB_RECOVER] = LANE_CHANGE, [JOB_RELEASE] = LANE_CHANGE, [JOB_ATTACH] = LANE_CHANGE,
		[JOB_DETACH] = LANE_CHANGE,  [JOB_NFT] = LANE_NFT,        [JOB_LINK_DEL] = LANE_LINK,
		[JOB_CT_FLUSH] = LANE_FLOWS, [JOB_FORWARD] = LANE_LINK,
	};

	static_assert(ARRAY_SIZE(lanes) == JOB_KIND_COUNT, "a lane per job kind");
	assert(kind < JOB_KIND_COUNT);
	return lanes[kind];
}

static int run_identify(struct cloud *cloud, struct job *job)
{
	job->identity = calloc(1, sizeof(*job->identity));
	if (!job->identity)
		return err_set(&job->err, ERR_RETRY, "executor", "no memory for the identity");
	return cloud->ops->identify(cloud, job->deadline_us, job->identity, &job->err);
}

static int job_run(struct cloud *cloud, struct job *job)
{
	const struct cloud_ops *ops = cloud->ops;
	struct cloud_attach want = { .slot = job->slot, .wants = { job->wants[0], job->wants[1] } };

	switch (job->kind) {
	case JOB_IDENTIFY:
		return run_identify(cloud, job);
	case JOB_LIMITS:
		return ops->limits(cloud, job->deadline_us, &job->limits, &job->err);
	case JOB_LIST:
		return ops->list(cloud, job->deadline_us, &job->view, &job->err);
	case JOB_SWEEP:
		return ops->sweep(cloud, job->deadline_us, &job->swept, &job->err);
	case JOB_ASSIGN:
		return ops->assign(cloud, job->nic, job->wants, job->deadline_us, &job->nic_result, &job->err);
	case JOB_RELEASE:
		return ops->release(cloud, job->nic, job->blocks, job->count, job->deadline_us, &job->err);
	case JOB_ATTACH:
		(void)str_copy(want.token, sizeof(want.token), job->token);
		return ops->attach(cloud, &want, job->deadline_us, &job->nic_result, &job->err);
	case JOB_DETACH:
		return ops->detach(cloud, job->nic, job->deadline_us, &job->err);
	case JOB_NFT:
		return nft_run(job->batch, job->deadline_us, &job->nft_pid, &job->err);
	case JOB_LINK_DEL:
		return hostnet_link_del(job->ifindex, &job->err);
	case JOB_CT_FLUSH:
		if (job->ports)
			return net_conntrack_flush_ports(job->ports, job->count, HOSTNET_SERVICES_LINK,
							 job->deadline_us, &job->flushed, &job->err);
		return net_conntrack_flush(job->addrs, job->count, job->deadline_us, &job->flushed, &job->err);
	case JOB_RECOVER:
		return ops->recover(cloud, job->nic, job->blocks, job->count, job->deadline_us, &job->nic_result,
				    &job->err);
	case JOB_GLANCE:
		return ops->glance(cloud, job->deadline_us, &job->view, &job->err);
	case JOB_FORWARD:
		return forward_look(job->forward, job->deadline_us, &job->err);
	case JOB_KIND_COUNT:
		break;
	}
	return err_set(&job->err, ERR_BUG, "executor", "unknown job kind %u", (unsigned)job->kind);
}

/* Under the lock. What waits when the executor ends is nothing that the next daemon would not see and do, but for links: a DEL was
 * answered, and no lease names them any more. Four at once take some 20 ms. */
static struct queued *next_job(struct executor *ex, enum lane lane)
{
	return ex->stop && lane != LANE_LINK ? NULL : fifo_pop(&ex->lanes[lane].in);
}

/* Wait for a job of the lane; whoever gets one is busy. Return: NULL when the executor ends. */
static struct queued *worker_wait(const struct worker *worker)
{
	struct executor *ex = worker->executor;
	struct lane_state *lane = &ex->lanes[worker->lane];
	struct queued *q = NULL;

	(void)pthread_mutex_lock(&ex->lock);
	while (!(q = next_job(ex, worker->lane)) && !ex->stop)
		(void)pthread_cond_wait(&lane->work, &ex->lock);
	if (q)
		lane->busy++;
	(void)pthread_mutex_unlock(&ex->lock);
	return q;
}

/* Whoever sees the result sees the thread free too. */
static void worker_deliver(const struct worker *worker, struct queued *q)
{
	struct executor *ex = worker->executor;

	(void)pthread_mutex_lock(&ex->lock);
	fifo_push(&ex->out, q);
	ex->lanes[worker->lane].busy--;
	(void)pthread_mutex_unlock(&ex->lock);
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	struct executor *ex = worker->executor;
	const uint64_t one = 1;
	struct queued *q;

	while ((q = worker_wait(worker))) {
		q->job.rc = job_run(ex->cloud, &q->job);
		q->job.done_us = clock_now(&clock_boot);
		worker_deliver(worker, q);
		/* Fails only if the counter overflows, and then the loop is awake anyway. */
		if (write(ex->event_fd, &one, sizeof(one)) < 0)
			continue;
	}
	free(worker);
	return NULL;
}

static int spawn(struct executor *ex, enum lane lane)
{
	struct worker *worker = malloc(sizeof(*worker));
	int r;

	if (!worker)
		return -ENOMEM;
	*worker = (struct worker){ ex, lane };
	assert(ex->thread_count < THREADS_MAX);
	r = pthread_create(&ex->threads[ex->thread_count], &ex->attr, worker_main, worker);
	if (r) {
		free(worker);
		return -r;
	}
	ex->thread_count++;
	ex->lanes[lane].threads++;
	return 0;
}

static void init(struct executor *ex, struct cloud *cloud)
{
	ex->cloud = cloud;
	(void)pthread_mutex_init(&ex->lock, NULL);
	(void)pthread_attr_init(&ex->attr);
	(void)pthread_attr_setstacksize(&ex->attr, THREAD_STACK);
	ex->out.tail = &ex->out.head;
	for (unsigned lane = 0; lane < LANE_COUNT; lane++) {
		ex->lanes[lane].in.tail = &ex->lanes[lane].in.head;
		(void)pthread_cond_init(&ex->lanes[lane].work, NULL);
	}
}

int executor_new(struct cloud *cloud, struct executor **ret, struct err *err)
{
	struct executor *ex = calloc(1, sizeof(*ex));

	if (!ex)
		return err_set(err, ERR_RETRY, "executor", "no memory");
	init(ex, cloud);
	ex->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ex->event_fd < 0) {
		err_set_errno(err, ERR_RETRY, "executor", errno, "eventfd");
		executor_free(ex);
		return -1;
	}
	*ret = ex;
	return 0;
}

void executor_free(struct executor *ex)
{
	if (!ex)
		return;
	(void)pthread_mutex_lock(&ex->lock);
	ex->stop = true;
	for (unsigned lane = 0; lane < LANE_COUNT; lane++)
		(void)pthread_cond_broadcast(&ex->lanes[lane].work);
	(void)pthread_mutex_unlock(&ex->lock);
	for (unsigned i = 0; i < ex->thread_count; i++)
		(void)pthread_join(ex->threads[i], NULL);
	for (unsigned lane = 0; lane < LANE_COUNT; lane++) {
		fifo_clear(&ex->lanes[lane].in);
		(void)pthread_cond_destroy(&ex->lanes[lane].work);
	}
	fifo_clear(&ex->out);
	(void)pthread_attr_destroy(&ex->attr);
	(void)pthread_mutex_destroy(&ex->lock);
	if (ex->event_fd >= 0)
		(void)close(ex->event_fd);
	free(ex);
}

int executor_fd(const struct executor *ex)
{
	return ex->event_fd;
}

unsigned executor_threads(const struct executor *ex)
{
	return ex->thread_count;
}

/* Have a thread for one more job; that the lane's others will come to it one day is good enough when there can be no
 * more. Return: 0 or -errno. */
static int have_thread(struct executor *ex, enum lane lane)
{
	const struct lane_state *state = &ex->lanes[lane];
	int r;

	if (state->in.count < state->threads - state->busy || state->threads == lane_threads[lane])
		return 0;
	r = spawn(ex, lane);
	return state->threads > 0 ? 0 : r;
}

/* Under the lock. Return: 0, -ENOSPC, or why there is no thread. */
static int enqueue(struct executor *ex, struct queued *q)
{
	enum lane lane = lane_of(q->job.kind);
	int r;

	if (ex->lanes[lane].in.count >= JOB_QUEUE_MAX)
		return -ENOSPC;
	r = have_thread(ex, lane);
	if (r < 0)
		return r;
	fifo_push(&ex->lanes[lane].in, q);
	(void)pthread_cond_signal(&ex->lanes[lane].work);
	return 0;
}

int executor_submit_take(struct executor *ex, struct job *job, struct err *err)
{
	struct queued *q = malloc(sizeof(*q));
	int r;

	if (!q)
		return err_set(err, ERR_RETRY, "executor", "no memory for a %s job", job_kind_name(job->kind));
	q->job = *job;
	q->job.submitted_us = clock_now(&clock_boot);
	(void)pthread_mutex_lock(&ex->lock);
	r = enqueue(ex, q);
	(void)pthread_mutex_unlock(&ex->lock);
	if (r == 0) {
		memset(job, 0, sizeof(*job));
		return 0;
	}
	free(q);
	if (r == -ENOSPC)
		return err_set(err, ERR_EXHAUSTED, "executor", "%d %s jobs wait already", JOB_QUEUE_MAX,
			       job_kind_name(job->kind));
	return err_set_errno(err, ERR_RETRY, "executor", -r, "start a worker thread");
}

bool executor_next(struct executor *ex, struct job *ret)
{
	struct queued *q;
	uint64_t drained;

	(void)pthread_mutex_lock(&ex->lock);
	q = fifo_pop(&ex->out);
	if (!q) /* under the lock: a result pushed after this writes the eventfd again */
		drained = read(ex->event_fd, &drained, sizeof(drained)) > 0;
	(void)pthread_mutex_unlock(&ex->lock);
	if (!q)
		return false;
	*ret = q->job;
	free(q);
	return true;
}
