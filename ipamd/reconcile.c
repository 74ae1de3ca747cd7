/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One turn of the daemon: take in what the executors finished, then compare wanted with actual. Knows no descriptor and
 * no clock of its own, so that the simulator runs these very turns under its own time.
 */
#include "ipamd/ipamd.h"

#include "berth/check.h"
#include "berth/clock.h"
#include "berth/log.h"
#include "ipamd/conflist.h"

#define RESULTS_PER_TURN 64 /* jobs taken in before reconcile runs again */
/* How long pods that came or went may wait to be looked at for the cloud: a burst of them is one decision then, of 60 µs
 * with 200 blocks, and not two for each pod. The quickest cloud call takes ten times as long. */
#define CLOUD_LATE_US (10 * USEC_PER_MSEC)

static void write_conflist(struct ipamd *d, int64_t now_us)
{
	const struct conflist conflist = { .network = d->config.network,
					   .socket_path = d->socket_path,
					   .versions = &d->config.cni_versions,
					   .veth_prefix = config_veth_prefix(&d->config) };
	struct pool_counts counts = { 0 };
	struct err err;
	bool serves = true;

	if (d->conflist_written || !d->listed)
		return;
	for (unsigned i = 0; i < IP_FAMILIES && serves; i++) {
		if (!pool_serves(d->pool, ip_family_at(i)))
			continue;
		pool_count(d->pool, ip_family_at(i), &counts);
		serves = counts.free || counts.leased;
	}
	if (!serves)
		return;
	if (conflist_write(d->config.conflist_dir, d->config.conflist_name, &conflist, &err) < 0) {
		log_error("cannot write the conflist: the runtime will not call us", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
		return;
	}
	d->conflist_written = true;
	d->stats.ready_us = now_us;
	log_info("ready", "conflist=\"%s/%s\" free=%u leased=%u start_ms=%lld", d->config.conflist_dir,
		 d->config.conflist_name, counts.free, counts.leased,
		 (long long)((now_us - d->stats.started_us) / USEC_PER_MSEC));
}

/* Who waits for an address waits for the cloud: then nothing is put off. */
static bool may_put_off(const struct ipamd *d, int64_t now_us)
{
	return d->only_pods && !d->waiters && now_us < d->cloud_wake_us;
}

static int64_t reconcile_cloud(struct ipamd *d, int64_t now_us)
{
	if (may_put_off(d, now_us)) {
		d->cloud_wake_us = clock_earlier(d->cloud_wake_us, now_us + CLOUD_LATE_US);
		return d->cloud_wake_us;
	}
	d->cloud_wake_us = cloudwork_reconcile(d, now_us);
	return d->cloud_wake_us;
}

int64_t ipamd_reconcile(struct ipamd *d, int64_t now_us)
{
	int64_t wake = flush_due(d, now_us);

	wake = clock_earlier(wake, hostwork_reconcile(d, now_us));
	wake = clock_earlier(wake, forwardwork_reconcile(d, now_us));
	wake = clock_earlier(wake, spool_replay_due(d, now_us));
	wake = clock_earlier(wake, reclaim_due(d, now_us));
	wake = clock_earlier(wake, requests_serve_waiters(d, now_us));
	wake = clock_earlier(wake, confirm_due(d, now_us));
	wake = clock_earlier(wake, reconcile_cloud(d, now_us));
	write_conflist(d, now_us);
	return clock_earlier(wake, server_tick(d->server, now_us));
}

int ipamd_submit(struct ipamd *d, struct job *job, struct err *err)
{
	enum job_kind kind = job->kind;

	if (executor_submit_take(d->executor, job, err) < 0)
		return -1;
	d->running[kind]++;
	return 0;
}

static void finish(struct ipamd *d, struct job *job, int64_t now_us)
{
	switch (job->kind) {
	case JOB_NFT:
		hostwork_nft_finish(d, job, now_us);
		return;
	case JOB_CT_FLUSH:
		if (job->ports)
			ports_flush_finish(d, job);
		else
			flush_finish(d, job, now_us);
		return;
	case JOB_LINK_DEL:
		if (job->rc < 0)
			log_warn("cannot delete a pod's link", "link=%s " LOG_ERR_FMT, job->ifname,
				 LOG_ERR_ARGS(&job->err));
		return;
	case JOB_FORWARD:
		forwardwork_finish(d, job);
		return;
	case JOB_IDENTIFY:
	case JOB_LIMITS:
	case JOB_LIST:
	case JOB_GLANCE:
	case JOB_SWEEP:
		cloudwork_finish(d, job, now_us);
		return;
	case JOB_ASSIGN:
	case JOB_RECOVER:
	case JOB_ATTACH:
	case JOB_RELEASE:
	case JOB_DETACH:
		mutations_finish(d, job, now_us);
		return;
	case JOB_KIND_COUNT:
		break;
	}
	CHECK_NEVER("no job kind");
}

void ipamd_take_results(struct ipamd *d, int64_t now_us)
{
	struct job job;

	for (unsigned i = 0; i < RESULTS_PER_TURN && executor_next(d->executor, &job); i++) {
		d->running[job.kind]--;
		d->stats.jobs[job.kind][job.rc < 0 ? job.err.class : ERR_NONE]++;
		histogram_add(&d->stats.job_seconds[job.kind], job.done_us - job.submitted_us);
		finish(d, &job, now_us);
		job_done(&job);
	}
}
