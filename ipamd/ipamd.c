/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/ipamd.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "berth/clock.h"
#include "berth/fs.h"
#include "berth/log.h"
#include "berth/str.h"
#include "ipamd/conflist.h"

#define EVENTS_PER_TURN 64 /* epoll events handled before reconcile runs again */

#define BACKOFF_FIRST_US  (500 * USEC_PER_MSEC) /* ceiling of the first delay; doubles, full jitter below it */
#define BACKOFF_MAX_US    (60 * USEC_PER_SEC)   /* as amazon-vpc-cni-k8s caps its own */
#define BACKOFF_DOUBLINGS 7

uint64_t ipamd_random(struct ipamd *d, uint64_t bound)
{
	/* xorshift64: spreads retries; nothing secret hangs on it */
	d->random ^= d->random << 13;
	d->random ^= d->random >> 7;
	d->random ^= d->random << 17;
	return d->random % bound;
}

void backoff_fail(struct ipamd *d, struct backoff *backoff, const struct err *err, int64_t now_us)
{
	unsigned doublings = backoff->failures < BACKOFF_DOUBLINGS ? backoff->failures : BACKOFF_DOUBLINGS;
	int64_t ceiling = BACKOFF_FIRST_US << doublings;
	int64_t delay;

	if (ceiling > BACKOFF_MAX_US)
		ceiling = BACKOFF_MAX_US;
	delay = (int64_t)ipamd_random(d, (uint64_t)ceiling) + 1;
	if (err->retry_after_ms * USEC_PER_MSEC > delay)
		delay = err->retry_after_ms * USEC_PER_MSEC;
	backoff->failures++;
	backoff->not_before_us = now_us + delay;
	backoff->err = *err;
}

void backoff_ok(struct backoff *backoff)
{
	memset(backoff, 0, sizeof(*backoff));
}

/* ---- start and end ---- */

static int watch(struct ipamd *d, struct loop_item *item, enum loop_kind kind, int fd, struct err *err)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = item };

	*item = (struct loop_item){ kind, fd };
	if (epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return err_set_errno(err, ERR_BUG, "ipamd", errno, "watch descriptor %d", fd);
	return 0;
}

static int open_signals(struct ipamd *d, struct err *err)
{
	sigset_t set, blocked;
	int fd;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	blocked = set;
	(void)sigaddset(&blocked, SIGPIPE); /* of a pipe to nft or a socket: the write says EPIPE */
	if (pthread_sigmask(SIG_BLOCK, &blocked, NULL) != 0)
		return err_set(err, ERR_BUG, "ipamd", "block signals");
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return err_set_errno(err, ERR_RETRY, "ipamd", errno, "signalfd");
	return watch(d, &d->signal_item, LOOP_SIGNAL, fd, err);
}

static int open_timer(struct ipamd *d, struct err *err)
{
	int fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0)
		return err_set_errno(err, ERR_RETRY, "ipamd", errno, "timerfd");
	return watch(d, &d->timer_item, LOOP_TIMER, fd, err);
}

static int load_lease(const struct lease *lease, void *arg)
{
	struct ipamd *d = arg;
	struct lease *grown = realloc(d->early, (d->early_count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	d->early = grown;
	d->early[d->early_count++] = *lease;
	return 0;
}

static int open_store(struct ipamd *d, struct err *err)
{
	char path[CONFIG_TEXT_SIZE + 16], set_aside[256];

	(void)snprintf(path, sizeof(path), "%s/leases.db", d->config.run_dir);
	if (store_open(path, &d->store, set_aside, err) < 0)
		return -1;
	if (set_aside[0])
		log_error("lease store was damaged; set aside, leases are rebuilt from the kernel",
			  "store=\"%s\" kept_as=\"%s\"", path, set_aside);
	if (store_leases(d->store, load_lease, d, err) < 0)
		return err_wrap(err, "load leases of %s", path);
	log_info("lease store open", "store=\"%s\" leases=%u", path, d->early_count);
	return 0;
}

static int open_cloud(struct ipamd *d, struct err *err)
{
	const struct cloud_config config = { .cluster = d->config.cluster };

	if (cloud_open(d->config.cloud, &config, &d->cloud, err) < 0 || executor_new(d->cloud, &d->executor, err) < 0)
		return -1;
	return watch(d, &d->executor_item, LOOP_EXECUTOR, executor_fd(d->executor), err);
}

static int open_host(struct ipamd *d, struct err *err)
{
	const struct hostnet_config config = {
		.mark_mask = d->config.mark_mask,
		.rule_priority = d->config.rule_priority,
		.table_base = d->config.table_base,
		.mtu = d->config.mtu,
	};

	if (net_open(&d->net, err) < 0 || hostnet_open(&config, &d->hostnet, err) < 0 ||
	    net_monitor_open(&d->monitor, err) < 0)
		return -1;
	return watch(d, &d->netlink_item, LOOP_NETLINK, net_monitor_fd(d->monitor), err);
}

static int open_doors(struct ipamd *d, struct err *err)
{
	if (server_open(d->config.run_dir, d->epoll_fd, &ipamd_server_ops, d, &d->server, err) < 0)
		return -1;
	if (!d->config.metrics_address[0])
		return 0;
	if (metrics_open(d->config.metrics_address, page_render, page_healthy, d, &d->metrics, err) < 0)
		return -1;
	return watch(d, &d->metrics_item, LOOP_METRICS, metrics_fd(d->metrics), err);
}

static int open_all(struct ipamd *d, struct err *err)
{
	int r;

	d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (d->epoll_fd < 0)
		return err_set_errno(err, ERR_RETRY, "ipamd", errno, "epoll");
	r = fs_mkdir_p(d->config.run_dir, 0700);
	if (r < 0)
		return err_set_errno(err, ERR_INVALID, "ipamd", -r, "make run directory %s", d->config.run_dir);
	d->pool = pool_new(d->config.cooldown_us);
	if (!d->pool)
		return err_set(err, ERR_RETRY, "ipamd", "no memory for the pool");
	/* The socket first: it refuses a second daemon before anything of the first one's is touched. */
	if (open_doors(d, err) < 0 || open_signals(d, err) < 0 || open_timer(d, err) < 0 || open_store(d, err) < 0 ||
	    open_host(d, err) < 0 || open_cloud(d, err) < 0)
		return -1;
	return 0;
}

int ipamd_open(const struct config *config, struct ipamd **ret, struct err *err)
{
	struct ipamd *d = calloc(1, sizeof(*d));

	if (!d)
		return err_set(err, ERR_RETRY, "ipamd", "no memory");
	d->config = *config;
	d->epoll_fd = d->signal_item.fd = d->timer_item.fd = -1;
	d->waiters_tail = &d->waiters;
	d->host_dirty = true;
	d->stats.started_us = clock_now(&clock_boot);
	if (getrandom(&d->random, sizeof(d->random), 0) != (ssize_t)sizeof(d->random) || !d->random)
		d->random = (uint64_t)d->stats.started_us | 1;
	(void)snprintf(d->socket_path, sizeof(d->socket_path), "%s/%s", config->run_dir, PROTO_SOCKET);
	if (open_all(d, err) < 0) {
		ipamd_close(d);
		return -1;
	}
	*ret = d;
	return 0;
}

void ipamd_close(struct ipamd *d)
{
	if (!d)
		return;
	if (d->server)
		requests_drop_waiters(d);
	server_close(d->server);
	metrics_close(d->metrics);
	if (d->cloud)
		d->cloud->ops->stop(d->cloud); /* or a call that waits would hold up the end for its whole deadline */
	executor_free(d->executor);
	cloud_free(d->cloud);
	net_monitor_close(d->monitor);
	hostnet_close(d->hostnet);
	net_close(d->net);
	store_close(d->store);
	pool_free(d->pool);
	free(d->identity);
	free(d->early);
	free(d->nft_applied);
	free(d->nft_running);
	cleanup_close(&d->signal_item.fd);
	cleanup_close(&d->timer_item.fd);
	cleanup_close(&d->epoll_fd);
	free(d);
}

/* ---- the loop ---- */

static void write_conflist(struct ipamd *d, int64_t now_us)
{
	struct pool_counts counts;
	struct err err;

	pool_count(d->pool, &counts);
	if (d->conflist_written || !d->listed || (!counts.free && !counts.leased))
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

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Compare wanted with actual, emit bounded work. Return: when time alone makes another look necessary. */
static int64_t reconcile(struct ipamd *d, int64_t now_us)
{
	int64_t wake = pool_tick(d->pool, now_us);

	wake = earlier(wake, hostwork_reconcile(d, now_us));
	wake = earlier(wake, requests_replay_spool(d, now_us));
	wake = earlier(wake, requests_reclaim(d, now_us));
	wake = earlier(wake, requests_serve_waiters(d, now_us));
	wake = earlier(wake, cloudwork_reconcile(d, now_us));
	write_conflist(d, now_us);
	return earlier(wake, server_tick(d->server, now_us));
}

static void drain_results(struct ipamd *d, int64_t now_us)
{
	struct job job;

	for (unsigned i = 0; i < EVENTS_PER_TURN && executor_next(d->executor, &job); i++) {
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

static void on_signal(struct ipamd *d)
{
	struct signalfd_siginfo info;

	if (read(d->signal_item.fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	log_info("ending", "signal=%u", info.ssi_signo);
	d->stop = true;
}

static void on_timer(struct ipamd *d)
{
	uint64_t expirations;

	if (read(d->timer_item.fd, &expirations, sizeof(expirations)) < 0)
		return; /* already drained */
}

static void dispatch(struct ipamd *d, struct loop_item *item, uint32_t events, int64_t now_us)
{
	switch (item->kind) {
	case LOOP_SIGNAL:
		on_signal(d);
		break;
	case LOOP_TIMER:
		on_timer(d);
		break;
	case LOOP_EXECUTOR:
		drain_results(d, now_us);
		break;
	case LOOP_NETLINK:
		hostwork_netlink(d);
		break;
	case LOOP_LISTEN:
		server_accept(d->server, now_us);
		break;
	case LOOP_CONN:
		server_conn_event(d->server, item, events, now_us);
		break;
	case LOOP_METRICS: /* run in every turn */
	case LOOP_KIND_COUNT:
		break;
	}
}

static void arm_timer(struct ipamd *d, int64_t wake_us)
{
	struct itimerspec spec = { 0 };

	if (wake_us < 1)
		wake_us = 1; /* zero would disarm it */
	if (wake_us != INT64_MAX) {
		spec.it_value.tv_sec = wake_us / USEC_PER_SEC;
		spec.it_value.tv_nsec = (wake_us % USEC_PER_SEC) * 1000;
	}
	(void)timerfd_settime(d->timer_item.fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

int ipamd_run(struct ipamd *d, struct err *err)
{
	struct epoll_event events[EVENTS_PER_TURN];
	int n;

	log_info("serving", "socket=\"%s\" cloud=%s", d->socket_path, d->config.cloud);
	while (!d->stop) {
		int64_t now_us = clock_now(&clock_boot);
		int64_t wake_us = reconcile(d, now_us);
		int64_t metrics_us = d->metrics ? metrics_run(d->metrics) : INT64_MAX;

		arm_timer(d, metrics_us == INT64_MAX ? wake_us : earlier(wake_us, now_us + metrics_us));
		n = epoll_wait(d->epoll_fd, events, EVENTS_PER_TURN, -1);
		if (n < 0 && errno != EINTR)
			return err_set_errno(err, ERR_BUG, "ipamd", errno, "epoll_wait");
		now_us = clock_now(&clock_boot);
		for (int i = 0; i < n; i++)
			dispatch(d, events[i].data.ptr, events[i].events, now_us);
	}
	return 0;
}
