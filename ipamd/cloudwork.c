/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads of the cloud: who we are, what we may have, what there is, what metadata says, what was left over. Each is one
 * job at a time, when it is due and its back-off is over. mutations.c has what changes the cloud.
 */
#include "ipamd/ipamd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "berth/check.h"
#include "berth/clock.h"
#include "berth/log.h"
#include "berth/str.h"

#define READ_US        (30 * USEC_PER_SEC)   /* a read with its retries */
#define GLANCE_US      (60 * USEC_PER_SEC)   /* metadata is on the host and costs nothing that is shared */
#define UNSEEN_LIST_US (300 * USEC_PER_SEC)  /* at most this far apart where metadata does not tell */
#define RELIST_US      (5 * USEC_PER_SEC)    /* second look when something seems to be missing */
#define MOVING_US      (1 * USEC_PER_SEC)    /* second look at a NIC that is attaching or detaching without us */
#define SWEEP_AGAIN_US (3600 * USEC_PER_SEC) /* hourly as amazon-vpc-cni-k8s does */
#define SWEEP_SOON_US  (300 * USEC_PER_SEC)  /* at random within this, also as there */

/* An ended cooldown stays in the store for so long: its address's flows may not have been forgotten yet, and after a restart
 * the row is why they are. */
#define COOLDOWN_KEPT_US (600 * USEC_PER_SEC)

/* One at a time, after its back-off. Return: when it may be tried, INT64_MAX while it runs. */
static int64_t start_read(struct ipamd *d, enum job_kind kind, struct backoff *backoff, int64_t due_us, int64_t now_us)
{
	struct job job = { .kind = kind, .deadline_us = now_us + READ_US };
	int64_t at_us = due_us > backoff->not_before_us ? due_us : backoff->not_before_us;
	struct err err;

	if (d->running[kind])
		return INT64_MAX;
	if (at_us > now_us)
		return at_us;
	if (ipamd_submit(d, &job, &err) < 0) {
		backoff_fail(d, backoff, &err, now_us);
		return backoff->not_before_us;
	}
	return INT64_MAX;
}

/* 80 to 120 %: nodes that started together must not ask together. */
static int64_t jittered(struct ipamd *d, int64_t period)
{
	return period - period / 5 + (int64_t)ipamd_random(d, (uint64_t)(period / 5 * 2 + 1));
}

/* While metadata is looked at and agrees, the list is only the audit: what it costs is shared by all nodes of an account
 * (5,000 nodes each 5 min would be 17 of the 20 reads a second that EC2 allows). */
static int64_t list_period(const struct ipamd *d)
{
	bool looked_at = d->cloud->ops->glance && d->glance.err.class == ERR_NONE;

	if (d->config.access == CLOUD_ACCESS_METADATA)
		return clock_earlier(d->config.list_period_us, GLANCE_US);
	return looked_at ? d->config.list_period_us : clock_earlier(d->config.list_period_us, UNSEEN_LIST_US);
}

void cloudwork_list_soon(struct ipamd *d, int64_t at_us)
{
	d->list_due_us = clock_earlier(d->list_due_us, at_us);
	if (at_us > d->list_after_us)
		d->list_after_us = at_us;
}

void cloudwork_sweep_soon(struct ipamd *d, int64_t now_us)
{
	d->sweep_due_us = clock_earlier(d->sweep_due_us, now_us + (int64_t)ipamd_random(d, SWEEP_SOON_US));
}

static void finish_identify(struct ipamd *d, struct job *job, int64_t now_us)
{
	if (job->rc < 0) {
		log_warn("cannot learn who this node is", LOG_ERR_FMT, LOG_ERR_ARGS(&job->err));
		backoff_fail(d, &d->start, &job->err, now_us);
		return;
	}
	backoff_ok(&d->start);
	free(d->identity);
	d->identity = take_ptr(job->identity);
	log_info("this node", "instance=%s type=%s region=%s zone=%s", d->identity->instance, d->identity->type,
		 d->identity->region, d->identity->zone);
}

/* Pods would wait for ever: no back-off and no plan brings what the instance cannot have. */
static void check_families(const struct ipamd *d)
{
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		if (pool_serves(d->pool, ip_family_at(i)) && d->limits.units[i].per_nic_max == 0)
			log_error("this node can have no addresses of a family that pods are to get", "family=ipv%u",
				  (unsigned)ip_family_at(i));
}

static void finish_limits(struct ipamd *d, struct job *job, int64_t now_us)
{
	if (job->rc == 0)
		limits_remember(d, &job->limits);
	else
		log_warn("cannot learn what this node may have", LOG_ERR_FMT, LOG_ERR_ARGS(&job->err));
	if (job->rc < 0 && !limits_recall(d, &job->limits)) {
		backoff_fail(d, &d->start, &job->err, now_us);
		return;
	}
	backoff_ok(&d->start);
	d->limits = job->limits;
	d->limits_known = true;
	if (d->limits.nics_max > hostnet_slots_max(d->config.mark_mask))
		d->limits.nics_max = hostnet_slots_max(d->config.mark_mask);
	log_info("limits", "nics=%u units_per_nic=%u unit_len=%u units6_per_nic=%u unit6_len=%u", d->limits.nics_max,
		 d->limits.units[0].per_nic_max, d->limits.units[0].len, d->limits.units[1].per_nic_max,
		 d->limits.units[1].len);
	check_families(d);
}

static void first_list(struct ipamd *d, struct restore_found *found, int64_t now_us)
{
	bool was_empty = d->early_count == 0;

	view_restore(d, found, now_us);
	d->sweep_due_us = INT64_MAX;
	cloudwork_sweep_soon(d, now_us);
	if (!intents_settle(d) || (was_empty && d->stats.adopted))
		intents_unknown(d);
	view_rest(d);
	d->listed = true;
	d->host_dirty = true;
}

/* A NIC on its way that no attach of ours brought: a daemon before us started it, or somebody else. It takes a slot
 * already. */
static bool is_moving(const struct ipamd *d, const struct cloud_view *view)
{
	if (d->running[JOB_ATTACH] || d->running[JOB_DETACH])
		return false;
	for (unsigned i = 0; i < view->nic_count; i++) {
		const struct pool_nic *nic = pool_nic_by_id(d->pool, view->nics[i].id);

		if (!view->nics[i].attached && (!nic || nic->state == NIC_DETACHING))
			return true;
	}
	return false;
}

/* Addresses of an IPv6 range come round so seldom that nothing else would ever replace their rows. */
static void trim_cooldowns(struct ipamd *d, int64_t now_us)
{
	struct err err;

	if (store_cooldown_trim(d->store, now_us - COOLDOWN_KEPT_US, &err) < 0)
		log_warn("cannot forget ended cooldowns", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
}

static bool are_same(const struct prefix *a, unsigned a_count, const struct prefix *b, unsigned b_count)
{
	if (a_count != b_count)
		return false;
	for (unsigned i = 0; i < a_count; i++)
		if (prefix_cmp(&a[i], &b[i]) != 0)
			return false;
	return true;
}

/* The network may get more ranges, and lose some: what is inside it is not masqueraded. */
static void take_ranges(struct ipamd *d, const struct cloud_view *view)
{
	struct cloud_identity *self = d->identity;

	if (view->vpc_prefix_count == 0 ||
	    are_same(view->vpc_prefixes, view->vpc_prefix_count, self->vpc_prefixes, self->vpc_prefix_count))
		return;
	log_info("the network's ranges changed", "before=%u now=%u", self->vpc_prefix_count, view->vpc_prefix_count);
	memcpy(self->vpc_prefixes, view->vpc_prefixes, sizeof(self->vpc_prefixes));
	self->vpc_prefix_count = view->vpc_prefix_count;
	d->host_dirty = true;
}

/* An address of a pod that the cloud shows nowhere. Return: borrowed, NULL: there is none. */
static const struct lease *find_unseen(const struct ipamd *d, const struct ipaddr **ret_addr)
{
	struct pool_block_view block;

	for (unsigned i = 0; i < d->early_count; i++) {
		for (unsigned f = 0; f < IP_FAMILIES; f++) {
			*ret_addr = &d->early[i].addrs[f];
			if ((*ret_addr)->family != IP_NONE && !pool_block_of(d->pool, *ret_addr, &block))
				return &d->early[i];
		}
	}
	return NULL;
}

/* The first list may be older than the daemon before us, and a NIC that it does not show would be taken out of the kernel,
 * pods and all. As at any other time two readings are needed for that; until then the kernel stays as it is. */
static bool is_first_doubted(struct ipamd *d, int64_t now_us)
{
	const struct ipaddr *addr;
	const struct lease *lease = d->first_doubted ? NULL : find_unseen(d, &addr);
	char text[IPADDR_STRLEN];

	if (!lease)
		return false;
	log_warn("the cloud does not show a pod's address: it is asked once more before anything is changed",
		 "addr=%s container=%s", ipaddr_str(addr, text), lease->key.container);
	d->first_doubted = true;
	d->list_due_us = now_us + RELIST_US;
	return true;
}

/* Pods that only the kernel knows, and that were not seen, would lose their routes and addresses. Return: false when they
 * could not be looked for: with the next list. */
static bool take_first(struct ipamd *d, int64_t now_us)
{
	struct restore_found *found;
	struct err err;

	if (restore_look(d, &found, &err) < 0) {
		log_warn("nothing is changed before the kernel can be read", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
		d->list_due_us = now_us + RELIST_US;
		return false;
	}
	first_list(d, found, now_us);
	free(found);
	return true;
}

static void finish_list(struct ipamd *d, struct job *job, int64_t now_us)
{
	if (job->rc < 0) {
		log_warn("cannot list this node's NICs", LOG_ERR_FMT, LOG_ERR_ARGS(&job->err));
		backoff_fail(d, &d->list, &job->err, now_us);
		return;
	}
	backoff_ok(&d->list);
	if (job->submitted_us >= d->attach_failed_us)
		d->attach_failed_us = 0;
	view_merge(d, &job->view, job->submitted_us, now_us);
	take_ranges(d, &job->view);
	d->stats.last_list_us = now_us;
	d->list_due_us = now_us + (d->missing_count ? RELIST_US : jittered(d, list_period(d)));
	if (is_moving(d, &job->view))
		d->list_due_us = now_us + MOVING_US;
	if (job->submitted_us < d->list_after_us)
		cloudwork_list_soon(d, d->list_after_us);
	if (!d->listed && is_first_doubted(d, now_us))
		return;
	if (!d->listed && !take_first(d, now_us))
		return;
	trim_cooldowns(d, now_us);
}

static void finish_glance(struct ipamd *d, struct job *job, int64_t now_us)
{
	d->glance_due_us = now_us + jittered(d, GLANCE_US);
	if (job->rc < 0) {
		log_warn("cannot look at the metadata", LOG_ERR_FMT, LOG_ERR_ARGS(&job->err));
		backoff_fail(d, &d->glance, &job->err, now_us);
		return;
	}
	backoff_ok(&d->glance);
	take_ranges(d, &job->view);
	if (!view_differs(d, &job->view, now_us))
		return;
	log_info("metadata shows something else than we hold: asking the cloud", "");
	cloudwork_list_soon(d, now_us);
}

static void finish_sweep(struct ipamd *d, struct job *job, int64_t now_us)
{
	/* Nodes that started together must not sweep together: those that are refused would come together in an hour. */
	d->sweep_due_us = now_us + jittered(d, SWEEP_AGAIN_US);
	if (job->rc < 0)
		cloudwork_sweep_soon(d, now_us);
	if (job->rc < 0)
		log_warn("cannot sweep left-over NICs", LOG_ERR_FMT, LOG_ERR_ARGS(&job->err));
	else if (job->swept)
		log_info("deleted left-over NICs", "nics=%u", job->swept);
}

int64_t cloudwork_reconcile(struct ipamd *d, int64_t now_us)
{
	int64_t wake;

	if (!d->identity)
		return start_read(d, JOB_IDENTIFY, &d->start, 0, now_us);
	wake = d->limits_known ? INT64_MAX : start_read(d, JOB_LIMITS, &d->start, 0, now_us);
	wake = clock_earlier(wake, start_read(d, JOB_LIST, &d->list, d->list_due_us, now_us));
	if (!d->listed || !d->limits_known)
		return wake;
	/* Where the list is what metadata says, a look at it says nothing else. */
	if (d->cloud->ops->glance && d->config.access != CLOUD_ACCESS_METADATA)
		wake = clock_earlier(wake, start_read(d, JOB_GLANCE, &d->glance, d->glance_due_us, now_us));
	if (!d->running[JOB_ATTACH] && d->pause != PAUSE_ALL)
		wake = clock_earlier(wake, start_read(d, JOB_SWEEP, &d->list, d->sweep_due_us, now_us));
	wake = clock_earlier(wake, intents_due(d, now_us));
	return clock_earlier(wake, mutations_reconcile(d, now_us));
}

void cloudwork_finish(struct ipamd *d, struct job *job, int64_t now_us)
{
	switch (job->kind) {
	case JOB_IDENTIFY:
		finish_identify(d, job, now_us);
		return;
	case JOB_LIMITS:
		finish_limits(d, job, now_us);
		return;
	case JOB_LIST:
		finish_list(d, job, now_us);
		return;
	case JOB_GLANCE:
		finish_glance(d, job, now_us);
		return;
	case JOB_SWEEP:
		finish_sweep(d, job, now_us);
		return;
	case JOB_ASSIGN:
	case JOB_RECOVER:
	case JOB_ATTACH:
	case JOB_RELEASE:
	case JOB_DETACH:
	case JOB_NFT:
	case JOB_LINK_DEL:
	case JOB_CT_FLUSH:
	case JOB_FORWARD:
	case JOB_KIND_COUNT:
		break;
	}
	CHECK_NEVER("no read");
}
