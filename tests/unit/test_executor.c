/* SPDX-License-Identifier: Apache-2.0 */
/* The executor over a cloud whose calls wait at a gate: who runs beside whom is a matter of who has arrived, not of time. */
#include "ipamd/executor.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "berth/clock.h"
#include "berth/str.h"
#include "ipamd/forward.h"
#include "tests/check.h"

#define CHANGES 16 /* mutations at once, by executor.h */
#define LIMIT_S 60 /* a test that waits so long has failed */

struct stub {
	struct cloud cloud; /* first */
	pthread_mutex_t lock;
	pthread_cond_t moved; /* whatever changed */
	unsigned inside, inside_max, calls;
	unsigned passes;    /* how many may leave; UINT32_MAX: all */
	unsigned pass_slot; /* only the NIC of that slot may leave; 0: any */
	bool freed, recovered;
	pthread_key_t at_thread_end;
};

static struct stub *stub_of(struct cloud *cloud)
{
	return (struct stub *)(void *)cloud;
}

static void wait_moved(struct stub *stub)
{
	struct timespec until = { 0 };

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += LIMIT_S;
	/* Called with cmocka's thread only when it may fail; a worker that waits too long ends the process. */
	if (pthread_cond_timedwait(&stub->moved, &stub->lock, &until) == ETIMEDOUT) {
		print_error("waited %d s\n", LIMIT_S);
		abort();
	}
}

/* A call comes in and waits until it may leave. */
static void pass_gate(struct stub *stub, unsigned slot)
{
	(void)pthread_mutex_lock(&stub->lock);
	stub->calls++;
	stub->inside++;
	stub->inside_max = stub->inside > stub->inside_max ? stub->inside : stub->inside_max;
	(void)pthread_cond_broadcast(&stub->moved);
	while (stub->passes == 0 || (stub->pass_slot && stub->pass_slot != slot))
		wait_moved(stub);
	if (stub->passes != UINT32_MAX)
		stub->passes--;
	stub->inside--;
	(void)pthread_cond_broadcast(&stub->moved);
	(void)pthread_mutex_unlock(&stub->lock);
}

static void let_pass(struct stub *stub, unsigned passes, unsigned slot)
{
	(void)pthread_mutex_lock(&stub->lock);
	stub->passes = passes;
	stub->pass_slot = slot;
	(void)pthread_cond_broadcast(&stub->moved);
	(void)pthread_mutex_unlock(&stub->lock);
}

static void wait_inside(struct stub *stub, unsigned count)
{
	(void)pthread_mutex_lock(&stub->lock);
	while (stub->inside < count)
		wait_moved(stub);
	(void)pthread_mutex_unlock(&stub->lock);
}

static unsigned calls_of(struct stub *stub)
{
	unsigned calls;

	(void)pthread_mutex_lock(&stub->lock);
	calls = stub->calls;
	(void)pthread_mutex_unlock(&stub->lock);
	return calls;
}

/* ---- the cloud ---- */

static int stub_attach(struct cloud *cloud, const struct cloud_attach *want, int64_t deadline_us, struct cloud_nic *ret,
		       struct err *err)
{
	const struct prefix block = { .addr = ipaddr_v4(0x0a000100U + want->slot), .len = 32 };
	struct cloud_nic nic = { .slot = want->slot };

	(void)deadline_us;
	pass_gate(stub_of(cloud), want->slot);
	if (cloud_nic_add_block(&nic, &block) < 0)
		return err_set(err, ERR_RETRY, "stub", "no memory");
	*ret = nic;
	return 0;
}

static int stub_release(struct cloud *cloud, const char *nic, const struct prefix *blocks, unsigned count,
			int64_t deadline_us, struct err *err)
{
	(void)nic;
	(void)deadline_us;
	pass_gate(stub_of(cloud), 0);
	/* What was given belongs to this call alone until it ends. */
	for (unsigned i = 0; i < count; i++)
		if (blocks[i].len != 32)
			return err_set(err, ERR_BUG, "stub", "block %u", i);
	return 0;
}

static int stub_recover(_unused_ struct cloud *cloud, const char *nic, const struct prefix *blocks, unsigned count,
			_unused_ int64_t deadline_us, struct cloud_nic *ret, struct err *err)
{
	if (!str_equal(nic, "nic-7"))
		return err_set(err, ERR_NOTFOUND, "stub", "%s", nic);
	*ret = (struct cloud_nic){ .slot = 7 };
	for (unsigned i = 0; i < count; i++)
		if (cloud_nic_add_block(ret, &blocks[i]) < 0)
			return err_set(err, ERR_RETRY, "stub", "no memory");
	return 0;
}

static int add_nic(struct cloud_view *ret, unsigned slot, struct err *err)
{
	struct cloud_nic *nic = cloud_view_add_nic(ret);

	if (!nic)
		return err_set(err, ERR_RETRY, "stub", "no memory");
	nic->slot = slot;
	return 0;
}

/* Runs on a thread that is free afterwards; what it does at its end is the business of the test. */
static int stub_list(struct cloud *cloud, int64_t deadline_us, struct cloud_view *ret, struct err *err)
{
	(void)deadline_us;
	(void)pthread_setspecific(stub_of(cloud)->at_thread_end, cloud);
	return add_nic(ret, 1, err);
}

static int stub_glance(struct cloud *cloud, int64_t deadline_us, struct cloud_view *ret, struct err *err)
{
	(void)cloud;
	(void)deadline_us;
	return add_nic(ret, 2, err);
}

static int stub_sweep(struct cloud *cloud, int64_t deadline_us, unsigned *ret, struct err *err)
{
	(void)cloud;
	(void)deadline_us;
	(void)err;
	*ret = 3;
	return 0;
}

static const struct cloud_ops stub_ops = {
	.name = "stub",
	.list = stub_list,
	.glance = stub_glance,
	.sweep = stub_sweep,
	.attach = stub_attach,
	.release = stub_release,
	.recover = stub_recover,
};

/* ---- the world ---- */

struct world {
	struct stub stub;
	struct executor *ex;
};

/* The end of a thread of the read lane opens the gate: threads end only after executor_free() has begun. */
static void open_at_end(void *value)
{
	let_pass(value, UINT32_MAX, 0);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err err;

	if (check_fds_setup(state) != 0)
		return -1;
	assert_non_null(w);
	w->stub.cloud.ops = &stub_ops;
	assert_int_equal(pthread_mutex_init(&w->stub.lock, NULL), 0);
	assert_int_equal(pthread_cond_init(&w->stub.moved, NULL), 0);
	assert_int_equal(pthread_key_create(&w->stub.at_thread_end, open_at_end), 0);
	assert_int_equal(executor_new(&w->stub.cloud, &w->ex, &err), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	let_pass(&w->stub, UINT32_MAX, 0);
	executor_free(w->ex);
	(void)pthread_key_delete(w->stub.at_thread_end);
	(void)pthread_cond_destroy(&w->stub.moved);
	(void)pthread_mutex_destroy(&w->stub.lock);
	free(w);
	return check_fds_teardown(state);
}

static void submit(struct world *w, struct job *job)
{
	struct err err = { 0 };

	job->deadline_us = clock_now(&clock_boot) + LIMIT_S * USEC_PER_SEC;
	if (executor_submit_take(w->ex, job, &err) < 0)
		fail_msg("%s", err.msg);
}

static void submit_kind(struct world *w, enum job_kind kind, unsigned slot)
{
	struct job job = { .kind = kind, .slot = slot };

	submit(w, &job);
}

static struct job release_job(unsigned slot)
{
	struct job job = { .kind = JOB_RELEASE, .slot = slot, .count = 2 };

	job.blocks = calloc(2, sizeof(*job.blocks));
	assert_non_null(job.blocks);
	job.blocks[0].len = job.blocks[1].len = 32;
	return job;
}

/* The next result, waited for on the descriptor as the loop does. */
static void next(struct world *w, struct job *ret)
{
	struct pollfd pollfd = { .fd = executor_fd(w->ex), .events = POLLIN };

	while (!executor_next(w->ex, ret))
		assert_int_equal(poll(&pollfd, 1, LIMIT_S * 1000), 1);
}

/* ---- tests ---- */

static void test_submit__every_nic_at_once(void **state)
{
	struct world *w = *state;
	unsigned seen = 0;
	struct job job;

	for (unsigned i = 1; i <= CHANGES; i++)
		submit_kind(w, JOB_ATTACH, i);
	/* Nobody leaves before all are in: they run at once, or this never comes back. */
	wait_inside(&w->stub, CHANGES);
	let_pass(&w->stub, UINT32_MAX, 0);
	for (unsigned i = 0; i < CHANGES; i++) {
		next(w, &job);
		assert_int_equal(job.rc, 0);
		assert_int_equal(job.nic_result.slot, job.slot);
		assert_int_equal(job.nic_result.block_count, 1);
		assert_true(job.done_us >= job.submitted_us);
		seen |= 1U << job.slot;
		job_done(&job);
	}
	assert_int_equal(seen, ((1U << CHANGES) - 1) << 1);
	assert_false(executor_next(w->ex, &job));
}

static void test_submit__reads_do_not_wait_behind_changes(void **state)
{
	struct world *w = *state;
	struct job job;

	for (unsigned i = 1; i <= CHANGES; i++)
		submit_kind(w, JOB_ATTACH, i);
	wait_inside(&w->stub, CHANGES);
	submit_kind(w, JOB_LIST, 0);
	next(w, &job);
	assert_int_equal(job.kind, JOB_LIST);
	assert_int_equal(job.view.nic_count, 1);
	job_done(&job);
	submit_kind(w, JOB_SWEEP, 0);
	next(w, &job);
	assert_int_equal(job.kind, JOB_SWEEP);
	assert_int_equal(job.swept, 3);
	submit_kind(w, JOB_GLANCE, 0);
	next(w, &job);
	assert_int_equal(job.kind, JOB_GLANCE);
	assert_int_equal(job.view.nic_count, 1);
	assert_int_equal(job.view.nics[0].slot, 2);
	job_done(&job);
	submit_kind(w, JOB_CT_FLUSH, 0);
	next(w, &job);
	assert_int_equal(job.kind, JOB_CT_FLUSH);
	assert_int_equal(job.rc, 0);
	let_pass(&w->stub, UINT32_MAX, 0);
	for (unsigned i = 0; i < CHANGES; i++) {
		next(w, &job);
		job_done(&job);
	}
}

static void test_submit__never_more_threads_than_the_lane_has(void **state)
{
	struct world *w = *state;
	struct job job;

	for (unsigned i = 1; i <= 3 * CHANGES; i++)
		submit_kind(w, JOB_ATTACH, i);
	/* None has come back, so each submission found all threads busy. */
	assert_int_equal(executor_threads(w->ex), CHANGES);
	wait_inside(&w->stub, CHANGES);
	let_pass(&w->stub, UINT32_MAX, 0);
	for (unsigned i = 0; i < 3 * CHANGES; i++) {
		next(w, &job);
		job_done(&job);
	}
	assert_int_equal(calls_of(&w->stub), 3 * CHANGES);
	assert_int_equal(w->stub.inside_max, CHANGES);
}

/* A thread that has delivered is free: a chain of jobs needs one. */
static void test_submit__threads_are_used_again(void **state)
{
	struct world *w = *state;
	struct job job;

	let_pass(&w->stub, UINT32_MAX, 0);
	for (unsigned i = 1; i <= 100; i++) {
		submit_kind(w, JOB_ATTACH, i);
		next(w, &job);
		job_done(&job);
	}
	assert_int_equal(executor_threads(w->ex), 1);
}

static void test_next__results_as_the_jobs_end(void **state)
{
	static const unsigned order[] = { 3, 1, 4, 2 };
	struct world *w = *state;
	struct job job;

	for (unsigned i = 1; i <= ARRAY_SIZE(order); i++)
		submit_kind(w, JOB_ATTACH, i);
	wait_inside(&w->stub, ARRAY_SIZE(order));
	for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
		let_pass(&w->stub, 1, order[i]);
		next(w, &job);
		assert_int_equal(job.slot, order[i]);
		job_done(&job);
	}
}

static void test_next__one_thread_keeps_the_order(void **state)
{
	struct world *w = *state;
	struct job job;

	for (unsigned i = 0; i < 200; i++)
		submit_kind(w, JOB_CT_FLUSH, i);
	assert_int_equal(executor_threads(w->ex), 1);
	for (unsigned i = 0; i < 200; i++) {
		next(w, &job);
		assert_int_equal(job.slot, i);
		assert_int_equal(job.rc, 0);
	}
}

static void test_submit__queue_is_bounded(void **state)
{
	struct err err = { 0 };
	struct world *w = *state;
	struct prefix *blocks;
	struct job job;

	for (unsigned i = 0; i < CHANGES; i++)
		submit_kind(w, JOB_RELEASE, i);
	wait_inside(&w->stub, CHANGES);
	for (unsigned i = 0; i < JOB_QUEUE_MAX; i++)
		submit_kind(w, JOB_RELEASE, i);
	job = release_job(5);
	blocks = job.blocks;
	assert_int_equal(executor_submit_take(w->ex, &job, &err), -1);
	assert_int_equal(err.class, ERR_EXHAUSTED);
	/* Not taken: still ours. */
	assert_ptr_equal(job.blocks, blocks);
	assert_int_equal(job.slot, 5);
	/* Another lane has room. */
	submit_kind(w, JOB_SWEEP, 0);
	let_pass(&w->stub, UINT32_MAX, 0);
	for (unsigned i = 0; i < CHANGES + JOB_QUEUE_MAX + 1; i++) {
		struct job result;

		next(w, &result);
		job_done(&result);
	}
	submit(w, &job);
	assert_null(job.blocks);
	next(w, &job);
	assert_int_equal(job.rc, 0);
	assert_ptr_equal(job.blocks, blocks);
	job_done(&job);
}

static void test_free__while_jobs_run_and_wait(void **state)
{
	struct world *w = *state;
	struct job job;

	for (unsigned i = 0; i < CHANGES + 8; i++) {
		job = release_job(i);
		submit(w, &job);
	}
	wait_inside(&w->stub, CHANGES);
	/* Its thread is idle afterwards; when it ends, the gate opens, and those that run come back. */
	submit_kind(w, JOB_LIST, 0);
	next(w, &job);
	job_done(&job);
	/* Results that nobody fetched are dropped too. */
	submit_kind(w, JOB_GLANCE, 0);
	executor_free(w->ex);
	w->ex = NULL;
	assert_int_equal(calls_of(&w->stub), CHANGES);
}

static void test_recover__blocks_there_and_back(void **state)
{
	struct world *w = *state;
	struct job job = release_job(7);

	job.kind = JOB_RECOVER;
	assert_int_equal(str_copy(job.nic, sizeof(job.nic), "nic-7"), 0);
	submit(w, &job);
	next(w, &job);
	assert_int_equal(job.kind, JOB_RECOVER);
	assert_int_equal(job.rc, 0);
	assert_int_equal(job.nic_result.block_count, 2);
	assert_string_equal(job_kind_name(job.kind), "recover");
	job_done(&job);
	job = release_job(8);
	job.kind = JOB_RECOVER;
	submit(w, &job);
	next(w, &job);
	assert_int_equal(job.rc, -1);
	assert_int_equal(job.err.class, ERR_NOTFOUND);
	job_done(&job);
}

/* Addresses of a documentation range: whatever namespace this runs in, no flow of it is touched. */
static void test_ct_flush__owns_its_addresses(void **state)
{
	struct world *w = *state;
	struct job job = { .kind = JOB_CT_FLUSH, .count = 1 };

	job.addrs = calloc(1, sizeof(*job.addrs));
	assert_non_null(job.addrs);
	job.addrs[0] = ipaddr_v4(0xc0000201U);
	submit(w, &job);
	assert_null(job.addrs);
	next(w, &job);
	if (job.rc < 0)
		fail_msg("%s", job.err.msg);
	assert_int_equal(job.flushed, 0);
	job_done(&job);
	assert_null(job.addrs);
}

/* Asked to look only: nothing of the namespace that this runs in is touched. */
static void test_forward__owns_what_it_asks_and_finds(void **state)
{
	struct world *w = *state;
	struct job job = { .kind = JOB_FORWARD, .deadline_us = clock_now(&clock_boot) + 10 * USEC_PER_SEC };

	job.forward = calloc(1, sizeof(*job.forward));
	assert_non_null(job.forward);
	job.forward->link_count = 1;
	assert_int_equal(str_copy(job.forward->links[0], sizeof(job.forward->links[0]), "bth"), 0);
	submit(w, &job);
	assert_null(job.forward);
	next(w, &job);
	if (job.rc < 0)
		fail_msg("%s", job.err.msg);
	assert_string_equal(job_kind_name(job.kind), "forward");
	assert_int_equal(job.forward->added, 0);
	job_done(&job);
	assert_null(job.forward);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_submit__every_nic_at_once),
		T(test_submit__reads_do_not_wait_behind_changes),
		T(test_submit__never_more_threads_than_the_lane_has),
		T(test_submit__threads_are_used_again),
		T(test_next__results_as_the_jobs_end),
		T(test_next__one_thread_keeps_the_order),
		T(test_submit__queue_is_bounded),
		T(test_free__while_jobs_run_and_wait),
		T(test_recover__blocks_there_and_back),
		T(test_ct_flush__owns_its_addresses),
		T(test_forward__owns_what_it_asks_and_finds),
	};

	return cmocka_run_group_tests_name("executor", tests, NULL, NULL);
}
