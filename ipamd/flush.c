/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses whose cooldown is over: connection tracking forgets them before anybody gets them again, or the next pod
 * would inherit flows of the last one. One batch at a time, on an executor; an address is COOLING until its batch is
 * done. A kernel that keeps refusing must not starve the pods: after TRIES_MAX the batch is free all the same, loudly.
 */
#include "ipamd/ipamd.h"

#include <stdlib.h>
#include <string.h>

#include "berth/clock.h"
#include "berth/log.h"

#define TRIES_MAX 3
#define FLUSH_US  (10 * USEC_PER_SEC) /* a walk over a full table of 262,144 entries takes a fraction of a second */

static int submit(struct ipamd *d, int64_t now_us, struct err *err)
{
	struct job job = { .kind = JOB_CT_FLUSH, .deadline_us = now_us + FLUSH_US, .count = d->flush_count };

	job.addrs = calloc(d->flush_count, sizeof(*job.addrs));
	if (!job.addrs)
		return err_set(err, ERR_RETRY, "ipamd", "no memory for a flush");
	memcpy(job.addrs, d->flush_addrs, d->flush_count * sizeof(*job.addrs));
	if (ipamd_submit(d, &job, err) < 0) {
		job_done(&job);
		return -1;
	}
	return 0;
}

static void begin_batch(struct ipamd *d, int64_t now_us)
{
	unsigned n = pool_flush_begin(d->pool, now_us, d->flush_addrs, IPAMD_FLUSH_MAX);

	d->flush_count = n + egress_flush_begin(&d->egress, now_us, &d->flush_addrs[n], IPAMD_FLUSH_MAX - n);
}

static void end_batch(struct ipamd *d, int64_t now_us)
{
	for (unsigned i = 0; i < d->flush_count; i++) {
		pool_flush_end(d->pool, &d->flush_addrs[i], now_us);
		egress_flush_end(&d->egress, &d->flush_addrs[i]);
	}
	d->flush_count = 0;
	backoff_ok(&d->flush);
}

static void failed(struct ipamd *d, const struct err *err, int64_t now_us)
{
	backoff_fail(d, &d->flush, err, now_us);
	if (d->flush.failures < TRIES_MAX)
		return;
	log_error("cannot flush connection tracking; addresses are leased again without it",
		  "addresses=%u " LOG_ERR_FMT, d->flush_count, LOG_ERR_ARGS(err));
	end_batch(d, now_us);
}

int64_t flush_due(struct ipamd *d, int64_t now_us)
{
	struct err err;

	if (d->running[JOB_CT_FLUSH])
		return INT64_MAX;
	if (!d->flush_count)
		begin_batch(d, now_us);
	if (!d->flush_count)
		return clock_earlier(pool_next_rested(d->pool), egress_next_rested(&d->egress));
	if (d->flush.not_before_us > now_us)
		return d->flush.not_before_us;
	if (submit(d, now_us, &err) == 0)
		return INT64_MAX;
	failed(d, &err, now_us);
	return d->flush_count ? d->flush.not_before_us : now_us;
}

void flush_finish(struct ipamd *d, const struct job *job, int64_t now_us)
{
	if (job->rc < 0)
		failed(d, &job->err, now_us);
	else
		end_batch(d, now_us);
}
