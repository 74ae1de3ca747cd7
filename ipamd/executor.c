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
#include "berth/str.h"
#include "ipamd/hostnet.h"

enum lane { LANE_CLOUD, LANE_NFT, LANE_LINK, LANE_COUNT };

/* Threads per lane. Cloud: one mutation for each of three NICs and a list beside them. nft: batches replace the whole
 * table, so two at once gain nothing. Links: a deletion waits for an RCU grace period outside the rtnl lock, so four
 * at once take as long as one. */
static const unsigned lane_threads[LANE_COUNT] = { [LANE_CLOUD] = 4, [LANE_NFT] = 1, [LANE_LINK] = 4 };

#define THREADS_MAX 9
#define THREAD_STACK                                                                                                   \
	(256U                                                                                                          \
	 << 10) /* bytes: libcurl with OpenSSL needs about 100 KiB; the default 8 MiB is only virtual but counted by some limits */

struct queued {
	struct queued *next;
	struct job job;
};

struct fifo {
	struct queued *head, **tail;
	unsigned count;
};

struct executor {
	struct cloud *cloud;
	int event_fd;
	pthread_mutex_t lock; /* of everything below; held for list operations only */
	pthread_cond_t work[LANE_COUNT];
	struct fifo in[LANE_COUNT];
	struct fifo out;
	bool stop;
	unsigned thread_count;
	pthread_t threads[THREADS_MAX];
};

struct worker {
	struct executor *executor;
	enum lane lane;
};

static const char *const job_names[] = {
	[JOB_IDENTIFY] = "identify", [JOB_LIMITS] = "limits",    [JOB_LIST] = "list",     [JOB_SWEEP] = "sweep",
	[JOB_ASSIGN] = "assign",     [JOB_RELEASE] = "release",  [JOB_ATTACH] = "attach", [JOB_DETACH] = "detach",
	[JOB_NFT] = "nft",           [JOB_LINK_DEL] = "linkdel",
};
static_assert(ARRAY_SIZE(job_names) == JOB_KIND_COUNT, "a name per job kind");

const char *job_kind_name(enum job_kind kind)
{
	return kind < JOB_KIND_COUNT ? job_names[kind] : "?";
}

void job_done(struct job *job)
{
	if (job->kind == JOB_IDENTIFY)
		free(job->identity);
	else if (job->kind == JOB_LIST)
		cloud_view_done(&job->view);
	else if (job->kind == JOB_ASSIGN || job->kind == JOB_ATTACH)
		cloud_nic_done(&job->nic_result);
	free(job->blocks);
	free(job->batch);
	memset(job, 0, sizeof(*job));
}

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
	if (kind == JOB_NFT)
		return LANE_NFT;
	return kind == JOB_LINK_DEL ? LANE_LINK : LANE_CLOUD;
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
		return nft_run(job->batch, job->deadline_us, &job->err);
	case JOB_LINK_DEL:
		return hostnet_pod_link_del(job->ifname, &job->err);
	case JOB_KIND_COUNT:
		break;
	}
	return err_set(&job->err, ERR_BUG, "executor", "unknown job kind %u", (unsigned)job->kind);
}

/* Wait for a job of the lane. Return: NULL when the executor ends. */
static struct queued *worker_wait(const struct worker *worker)
{
	struct executor *ex = worker->executor;
	struct queued *q = NULL;

	(void)pthread_mutex_lock(&ex->lock);
	while (!ex->stop && !(q = fifo_pop(&ex->in[worker->lane])))
		(void)pthread_cond_wait(&ex->work[worker->lane], &ex->lock);
	(void)pthread_mutex_unlock(&ex->lock);
	return q;
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
		(void)pthread_mutex_lock(&ex->lock);
		fifo_push(&ex->out, q);
		(void)pthread_mutex_unlock(&ex->lock);
		/* Fails only if the counter overflows, and then the loop is awake anyway. */
		if (write(ex->event_fd, &one, sizeof(one)) < 0)
			continue;
	}
	free(worker);
	return NULL;
}

static int spawn(struct executor *ex, enum lane lane, const pthread_attr_t *attr, struct err *err)
{
	struct worker *worker = malloc(sizeof(*worker));
	int r;

	if (!worker)
		return err_set(err, ERR_RETRY, "executor", "no memory for a worker");
	*worker = (struct worker){ ex, lane };
	r = pthread_create(&ex->threads[ex->thread_count], attr, worker_main, worker);
	if (r) {
		free(worker);
		return err_set_errno(err, ERR_RETRY, "executor", r, "start a worker thread");
	}
	ex->thread_count++;
	return 0;
}

static int spawn_all(struct executor *ex, struct err *err)
{
	pthread_attr_t attr;
	int r = pthread_attr_init(&attr);

	if (r)
		return err_set_errno(err, ERR_RETRY, "executor", r, "thread attributes");
	(void)pthread_attr_setstacksize(&attr, THREAD_STACK);
	for (unsigned lane = 0; !r && lane < LANE_COUNT; lane++)
		for (unsigned i = 0; !r && i < lane_threads[lane]; i++)
			r = spawn(ex, (enum lane)lane, &attr, err);
	(void)pthread_attr_destroy(&attr);
	return r;
}

int executor_new(struct cloud *cloud, struct executor **ret, struct err *err)
{
	struct executor *ex = calloc(1, sizeof(*ex));

	if (!ex)
		return err_set(err, ERR_RETRY, "executor", "no memory");
	ex->cloud = cloud;
	(void)pthread_mutex_init(&ex->lock, NULL);
	ex->out.tail = &ex->out.head;
	for (unsigned lane = 0; lane < LANE_COUNT; lane++) {
		ex->in[lane].tail = &ex->in[lane].head;
		(void)pthread_cond_init(&ex->work[lane], NULL);
	}
	ex->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ex->event_fd < 0)
		err_set_errno(err, ERR_RETRY, "executor", errno, "eventfd");
	if (ex->event_fd < 0 || spawn_all(ex, err) < 0) {
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
		(void)pthread_cond_broadcast(&ex->work[lane]);
	(void)pthread_mutex_unlock(&ex->lock);
	for (unsigned i = 0; i < ex->thread_count; i++)
		(void)pthread_join(ex->threads[i], NULL);
	for (unsigned lane = 0; lane < LANE_COUNT; lane++) {
		fifo_clear(&ex->in[lane]);
		(void)pthread_cond_destroy(&ex->work[lane]);
	}
	fifo_clear(&ex->out);
	(void)pthread_mutex_destroy(&ex->lock);
	if (ex->event_fd >= 0)
		(void)close(ex->event_fd);
	free(ex);
}

int executor_fd(const struct executor *ex)
{
	return ex->event_fd;
}

int executor_submit_take(struct executor *ex, struct job *job, struct err *err)
{
	enum lane lane = lane_of(job->kind);
	struct queued *q = malloc(sizeof(*q));
	bool full;

	if (!q)
		return err_set(err, ERR_RETRY, "executor", "no memory for a %s job", job_kind_name(job->kind));
	q->job = *job;
	q->job.submitted_us = clock_now(&clock_boot);
	(void)pthread_mutex_lock(&ex->lock);
	full = ex->in[lane].count >= JOB_QUEUE_MAX;
	if (!full) {
		fifo_push(&ex->in[lane], q);
		(void)pthread_cond_signal(&ex->work[lane]);
	}
	(void)pthread_mutex_unlock(&ex->lock);
	if (full) {
		free(q);
		return err_set(err, ERR_EXHAUSTED, "executor", "%d %s jobs wait already", JOB_QUEUE_MAX,
			       job_kind_name(job->kind));
	}
	memset(job, 0, sizeof(*job));
	return 0;
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
