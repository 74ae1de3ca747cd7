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

#define EVENTS_PER_TURN 64           /* epoll events handled before reconcile runs again */
#define CONFLICTS_US    USEC_PER_SEC /* to read the nft rules of others: 50,000 take a tenth of it */

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

static int open_cloud(struct ipamd *d, struct err *err)
{
	const struct config *c = &d->config;
	const char *subnets[CONFIG_IDS_MAX], *groups[CONFIG_IDS_MAX];
	struct cloud_tag tags[CLOUD_TAGS_MAX];
	const struct cloud_config config = {
		.cluster = c->cluster,
		.access = c->access,
		.serves = { c->families.serves[0], c->families.serves[1] },
		.tells_own6 = c->egress[ip_index(IP_V6)],
		.prefixes = c->prefixes,
		.no_discovery = !c->subnet_discovery,
		.subnet_count = c->pod_subnets.count,
		.subnets = subnets,
		.group_count = c->pod_groups.count,
		.groups = groups,
		.tag_count = c->nic_tags.count,
		.tags = tags,
	};

	for (unsigned i = 0; i < CONFIG_IDS_MAX; i++) {
		subnets[i] = c->pod_subnets.list[i];
		groups[i] = c->pod_groups.list[i];
	}
	for (unsigned i = 0; i < CLOUD_TAGS_MAX; i++)
		tags[i] = (struct cloud_tag){ c->nic_tags.list[i].key, c->nic_tags.list[i].value };
	if (cloud_open(d->config.cloud, &config, &d->cloud, err) < 0 || executor_new(d->cloud, &d->executor, err) < 0)
		return -1;
	return watch(d, &d->executor_item, LOOP_EXECUTOR, executor_fd(d->executor), err);
}

static void report_conflict(const struct hostnet_conflict *conflict, void *arg)
{
	static const char *const families[] = { [IP_NONE] = "any", [IP_V4] = "IPv4", [IP_V6] = "IPv6" };

	(void)arg;
	log_warn("somebody else uses a number of ours: pods may be cut off",
		 "family=%s what=\"%s\" protocol=%u setting=%s", families[conflict->family], conflict->what,
		 conflict->protocol, conflict->setting);
}

static int open_host(struct ipamd *d, struct err *err)
{
	const struct prefix none = { 0 };
	const struct hostnet_config config = {
		.mark_mask = d->config.mark_mask,
		.rule_priority = d->config.rule_priority,
		.table_base = d->config.table_base,
		.mtu = d->config.mtu,
		.egress = { d->config.egress[0] && !pool_serves(d->pool, IP_V4) ? egress_range(IP_V4) : none,
			    d->config.egress[1] && !pool_serves(d->pool, IP_V6) ? egress_range(IP_V6) : none },
	};
	struct err why;

	if (net_open(&d->net, err) < 0 || hostnet_open(&config, &d->hostnet, err) < 0 ||
	    net_monitor_open(HOSTNET_POD_LINKS, &d->monitor, err) < 0)
		return -1;
	if (hostnet_conflicts(d->hostnet, report_conflict, NULL, &why) < 0 ||
	    hostnet_mark_conflicts(d->config.mark_mask, clock_now(&clock_boot) + CONFLICTS_US, report_conflict, NULL,
				   &why) < 0)
		log_warn("cannot see who else uses our marks and tables", LOG_ERR_FMT, LOG_ERR_ARGS(&why));
	if (watch(d, &d->netlink_item, LOOP_NETLINK, net_monitor_fd(d->monitor), err) < 0)
		return -1;
	if (net_nft_watch_open("berth", &d->nft_watch, &why) == 0)
		return watch(d, &d->nft_item, LOOP_NFT, net_nft_watch_fd(d->nft_watch), err);
	log_warn("nobody will tell when the nft table is flushed", LOG_ERR_FMT, LOG_ERR_ARGS(&why));
	return 0;
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
	char store_path[CONFIG_TEXT_SIZE + 16];
	int r;

	(void)snprintf(store_path, sizeof(store_path), "%s/leases.db", d->config.run_dir);
	d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (d->epoll_fd < 0)
		return err_set_errno(err, ERR_RETRY, "ipamd", errno, "epoll");
	r = fs_mkdir_p(d->config.run_dir, 0700);
	if (r < 0)
		return err_set_errno(err, ERR_INVALID, "ipamd", -r, "make run directory %s", d->config.run_dir);
	/* The socket first: it refuses a second daemon before anything of the first one's is touched. */
	if (open_doors(d, err) < 0 || open_signals(d, err) < 0 || open_timer(d, err) < 0 ||
	    ipamd_open_store(d, store_path, err) < 0 || open_host(d, err) < 0 || open_cloud(d, err) < 0)
		return -1;
	return 0;
}

int ipamd_open(const struct config *config, struct ipamd **ret, struct err *err)
{
	int64_t now_us = clock_now(&clock_boot);
	uint64_t random;
	struct ipamd *d;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		random = (uint64_t)now_us;
	d = ipamd_new(config, random, now_us);
	if (!d)
		return err_set(err, ERR_RETRY, "ipamd", "no memory");
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
	net_nft_watch_close(d->nft_watch);
	hostnet_close(d->hostnet);
	net_close(d->net);
	cleanup_close(&d->signal_item.fd);
	cleanup_close(&d->timer_item.fd);
	cleanup_close(&d->epoll_fd);
	ipamd_free(d);
}

/* ---- the loop ---- */

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

	d->armed_us = 0;
	if (read(d->timer_item.fd, &expirations, sizeof(expirations)) < 0)
		return; /* already drained */
}

static void on_nft(struct ipamd *d, int64_t now_us)
{
	struct net_nft_touch touch;
	struct err err;

	if (net_nft_watch_read(d->nft_watch, &touch, &err) < 0) {
		log_warn("cannot read nft events", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
		return;
	}
	if (touch.forward || touch.lost)
		forwardwork_soon(d, now_us);
	if (touch.touched)
		d->nft_toucher = touch.by;
	/* Our own load may be what was too much, so only what came beside it counts. */
	if (touch.lost && !d->running[JOB_NFT])
		d->nft_toucher = UINT32_MAX;
	hostwork_nft_check(d, now_us);
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
		ipamd_take_results(d, now_us);
		break;
	case LOOP_NETLINK:
		hostwork_netlink(d);
		break;
	case LOOP_NFT:
		on_nft(d, now_us);
		break;
	case LOOP_LISTEN:
		server_accept(d->server, now_us);
		break;
	case LOOP_CONN:
		server_conn_event(d->server, item, events, now_us);
		break;
	case LOOP_METRICS:
		d->metrics_due_us = now_us;
		break;
	case LOOP_KIND_COUNT:
		break;
	}
}

/* A change of a NIC's link is not about pods. */
static bool is_of_pods(const struct ipamd *d, const struct loop_item *item)
{
	return item->kind == LOOP_LISTEN || item->kind == LOOP_CONN || (item->kind == LOOP_NETLINK && !d->host_dirty);
}

static void arm_timer(struct ipamd *d, int64_t wake_us)
{
	struct itimerspec spec = { 0 };

	if (wake_us < 1)
		wake_us = 1; /* zero would disarm it */
	if (wake_us == d->armed_us)
		return;
	d->armed_us = wake_us;
	if (wake_us != INT64_MAX) {
		spec.it_value.tv_sec = wake_us / USEC_PER_SEC;
		spec.it_value.tv_nsec = (wake_us % USEC_PER_SEC) * 1000;
	}
	(void)timerfd_settime(d->timer_item.fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void run_metrics(struct ipamd *d, int64_t now_us)
{
	int64_t left_us;

	if (now_us < d->metrics_due_us)
		return;
	left_us = d->metrics ? metrics_run(d->metrics) : INT64_MAX;
	d->metrics_due_us = left_us == INT64_MAX ? INT64_MAX : now_us + left_us;
}

int ipamd_run(struct ipamd *d, struct err *err)
{
	struct epoll_event events[EVENTS_PER_TURN];
	int n;

	log_info("serving", "socket=\"%s\" cloud=%s", d->socket_path, d->config.cloud);
	while (!d->stop) {
		int64_t now_us = clock_now(&clock_boot);
		int64_t wake_us = ipamd_reconcile(d, now_us);

		run_metrics(d, now_us);
		arm_timer(d, clock_earlier(wake_us, d->metrics_due_us));
		n = epoll_wait(d->epoll_fd, events, EVENTS_PER_TURN, -1);
		if (n < 0 && errno != EINTR)
			return err_set_errno(err, ERR_BUG, "ipamd", errno, "epoll_wait");
		now_us = clock_now(&clock_boot);
		d->only_pods = true;
		for (int i = 0; i < n; i++) {
			dispatch(d, events[i].data.ptr, events[i].events, now_us);
			d->only_pods = d->only_pods && is_of_pods(d, events[i].data.ptr);
		}
	}
	return 0;
}
