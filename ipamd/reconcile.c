/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One turn of the daemon: take in what the executors finished, then compare wanted with actual. Knows no descriptor and
 * no clock of its own, so that the simulator runs these very turns under its own time.
 */
#include "ipamd/ipamd.h"

#include "berth/clock.h"
#include "berth/log.h"
#include "ipamd/conflist.h"

#define RESULTS_PER_TURN 64 /* jobs taken in before reconcile runs again */

static void write_conflist(struct ipamd *d, int64_t now_us)
{
	struct pool_counts counts;
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
	if (conflist_write(d->config.conflist_dir, d->config.conflist_name, d->config.network, d->socket_path, &err) <
	    0) {
		log_error("cannot write the conflist: the runtime will not call us", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
		return;
	}
	d->conflist_written = true;
	d->stats.ready_us = now_us;
	log_info("ready", "conflist=\"%s/%s\" free=%u leased=%u start_ms=%lld", d->config.conflist_dir,
		 d->config.conflist_name, counts.free, counts.leased,
		 (long long)((now_us - d->stats.started_us) / USEC_PER_MSEC));
}

int64_t ipamd_reconcile(struct ipamd *d, int64_t now_us)
{
	int64_t wake = pool_tick(d->pool, now_us);

	wake = clock_earlier(wake, hostwork_reconcile(d, now_us));
	wake = clock_earlier(wake, requests_replay_spool(d, now_us));
	wake = clock_earlier(wake, requests_reclaim(d, now_us));
	wake = clock_earlier(wake, requests_serve_waiters(d, now_us));
	wake = clock_earlier(wake, cloudwork_reconcile(d, now_us));
	write_conflist(d, now_us);
	return clock_earlier(wake, server_tick(d->server, now_us));
}

void ipamd_take_results(struct ipamd *d, int64_t now_us)
{
	struct job job;

	for (unsigned i = 0; i < RESULTS_PER_TURN && executor_next(d->executor, &job); i++) {
		enum err_class class = job.rc < 0 ? job.err.class : ERR_NONE;

		d->running[job.kind]--;
		d->stats.jobs[job.kind][class]++;
		histogram_add(&d->stats.job_seconds[job.kind], job.done_us - job.submitted_us);
		if (job.kind == JOB_NFT)
			hostwork_nft_finish(d, &job, now_us);
		else if (job.kind != JOB_LINK_DEL)
			cloudwork_finish(d, &job, now_us);
		else if (job.rc < 0)
			log_warn("cannot delete a pod's link", "link=%s " LOG_ERR_FMT, job.ifname,
				 LOG_ERR_ARGS(&job.err));
		job_done(&job);
	}
}
