/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: cloud mutations
 *
 * An intent is stored before a mutation is sent and removed when its result was recorded, so that a crash in between is
 * settled by the first list (blocks) and the sweep (NICs) of the next start. A result says by its class what happens:
 *
 *   AMBIGUOUS                  the NIC is stale: read back before anything else is done to it
 *   CONFLICT                   our view is old: the same, by a list at once
 *   THROTTLED, EXHAUSTED, AUTH back off growing (or shrinking), say why to whoever waits
 *   NOTFOUND on release/detach success
 */
#include "ipamd/ipamd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "berth/clock.h"
#include "berth/log.h"
#include "berth/str.h"

#define READ_US   (30 * USEC_PER_SEC) /* a read with its retries */
#define ASSIGN_US (60 * USEC_PER_SEC) /* one sub-second call; the rest is for back-off under throttling */
#define ATTACH_US                                                                                                      \
	(180 * USEC_PER_SEC) /* create, attach, wait: up to 10 s by AWS's own words, 30 s seen, plus throttling */
#define GLANCE_US      (60 * USEC_PER_SEC)   /* metadata is on the host and costs nothing that is shared */
#define RELIST_US      (5 * USEC_PER_SEC)    /* second look when something seems to be missing */
#define MOVING_US      (1 * USEC_PER_SEC)    /* second look at a NIC that is attaching or detaching without us */
#define SWEEP_AGAIN_US (3600 * USEC_PER_SEC) /* crash leftovers are swept at start; hourly as amazon-vpc-cni-k8s does */

static int submit(struct ipamd *d, struct job *job, struct err *err)
{
	enum job_kind kind = job->kind;

	if (executor_submit_take(d->executor, job, err) < 0)
		return -1;
	d->running[kind]++;
	return 0;
}

/* ---- reads ---- */

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
	if (submit(d, &job, &err) < 0) {
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

static void list_soon(struct ipamd *d, int64_t at_us)
{
	if (at_us < d->list_due_us)
		d->list_due_us = at_us;
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

static void finish_limits(struct ipamd *d, struct job *job, int64_t now_us)
{
	if (job->rc < 0) {
		log_warn("cannot learn what this node may have", LOG_ERR_FMT, LOG_ERR_ARGS(&job->err));
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
}

static int drop_intent(const struct intent *intent, void *arg)
{
	struct ipamd *d = arg;
	struct err err;

	log_warn("a cloud call was in flight when the last daemon ended; settled by this list", "kind=%s nic=%s",
		 intent->kind, intent->nic);
	if (store_intent_del(d->store, intent->id, &err) < 0)
		log_warn("cannot forget an intent", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
	return 0;
}

static void first_list(struct ipamd *d, int64_t now_us)
{
	struct err err;

	view_restore(d, now_us);
	d->listed = true;
	d->host_dirty = true;
	if (store_intents(d->store, drop_intent, d, &err) < 0)
		log_warn("cannot read intents", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
}

/* A NIC on its way without a job of ours: a daemon before us started it, or somebody else. It takes a slot already. */
static bool is_moving(const struct ipamd *d, const struct cloud_view *view)
{
	for (unsigned i = 0; i < view->nic_count; i++)
		if (!view->nics[i].attached && !d->running[JOB_ATTACH] && !d->running[JOB_DETACH])
			return true;
	return false;
}

static void finish_list(struct ipamd *d, struct job *job, int64_t now_us)
{
	if (job->rc < 0) {
		log_warn("cannot list this node's NICs", LOG_ERR_FMT, LOG_ERR_ARGS(&job->err));
		backoff_fail(d, &d->list, &job->err, now_us);
		return;
	}
	backoff_ok(&d->list);
	view_merge(d, &job->view, job->submitted_us, now_us);
	d->stats.last_list_us = now_us;
	d->list_due_us = now_us + (d->missing_count ? RELIST_US : jittered(d, d->config.list_period_us));
	if (is_moving(d, &job->view))
		d->list_due_us = now_us + MOVING_US;
	if (!d->listed)
		first_list(d, now_us);
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
	if (!view_differs(d, &job->view, now_us))
		return;
	log_info("metadata shows something else than we hold: asking the cloud", "");
	list_soon(d, now_us);
}

static void finish_sweep(struct ipamd *d, struct job *job, int64_t now_us)
{
	d->sweep_due_us = now_us + SWEEP_AGAIN_US;
	if (job->rc < 0)
		log_warn("cannot sweep left-over NICs", LOG_ERR_FMT, LOG_ERR_ARGS(&job->err));
	else if (job->swept)
		log_info("deleted left-over NICs of this node", "nics=%u", job->swept);
}

/* ---- mutations: sending ---- */

static const char *plan_kind_name(enum plan_kind kind)
{
	static const char *const names[] = {
		[PLAN_ASSIGN] = "assign", [PLAN_ATTACH] = "attach", [PLAN_RELEASE] = "release", [PLAN_DETACH] = "detach"
	};

	return kind < PLAN_KIND_COUNT ? names[kind] : "?";
}

static bool is_growth(enum plan_kind kind)
{
	return kind == PLAN_ASSIGN || kind == PLAN_ATTACH;
}

static void new_token(char ret[static 64])
{
	uint8_t bytes[16];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		memset(bytes, 0, sizeof(bytes)); /* an empty token below: the provider makes its own */
	(void)str_hex(ret, bytes, sizeof(bytes));
}

static int fill_job(struct ipamd *d, const struct plan_action *action, int64_t now_us, struct job *ret, struct err *err)
{
	static const enum job_kind kinds[] = { [PLAN_ASSIGN] = JOB_ASSIGN,
					       [PLAN_ATTACH] = JOB_ATTACH,
					       [PLAN_RELEASE] = JOB_RELEASE,
					       [PLAN_DETACH] = JOB_DETACH };
	const struct pool_nic *nic = pool_nic_by_slot(d->pool, action->slot);

	*ret = (struct job){ .kind = kinds[action->kind], .slot = action->slot, .count = action->count };
	ret->deadline_us =
		now_us + (action->kind == PLAN_ATTACH || action->kind == PLAN_DETACH ? ATTACH_US : ASSIGN_US);
	if (is_growth(action->kind))
		ret->wants[0] = (struct cloud_want){ action->count, d->limits.units[0].len };
	if (action->kind == PLAN_ATTACH)
		new_token(ret->token);
	else if (nic)
		(void)str_copy(ret->nic, sizeof(ret->nic), nic->id);
	if (action->kind != PLAN_RELEASE)
		return 0;
	ret->blocks = calloc(action->count, sizeof(*ret->blocks));
	if (!ret->blocks)
		return err_set(err, ERR_RETRY, "ipamd", "no memory for a release");
	memcpy(ret->blocks, &d->plan.blocks[action->first_block], action->count * sizeof(*ret->blocks));
	return 0;
}

static int put_intent(struct ipamd *d, const struct plan_action *action, struct job *job, struct err *err)
{
	struct intent intent = { .slot = action->slot };

	if (is_growth(action->kind))
		memcpy(intent.wants, job->wants, sizeof(intent.wants));
	else
		intent.count = action->count;
	(void)str_copy(intent.kind, sizeof(intent.kind), plan_kind_name(action->kind));
	(void)str_copy(intent.nic, sizeof(intent.nic), job->nic);
	(void)str_copy(intent.token, sizeof(intent.token), job->token);
	if (store_intent_put(d->store, &intent, err) < 0)
		return -1;
	job->intent = intent.id;
	return 0;
}

static void mark_started(struct ipamd *d, const struct plan_action *action, const struct cloud_want *wants,
			 int64_t now_us)
{
	switch (action->kind) {
	case PLAN_ASSIGN:
		pool_nic_set_busy(d->pool, action->slot, NIC_BUSY_ASSIGN, wants);
		return;
	case PLAN_ATTACH:
		return; /* the placeholder says it */
	case PLAN_RELEASE:
		for (unsigned i = 0; i < action->count; i++) {
			const struct prefix *block = &d->plan.blocks[action->first_block + i];

			pool_block_set_state(d->pool, block, BLOCK_DRAINING, now_us);
			pool_block_set_state(d->pool, block, BLOCK_RELEASING, now_us);
		}
		pool_nic_set_busy(d->pool, action->slot, NIC_BUSY_RELEASE, NULL);
		return;
	case PLAN_DETACH:
		pool_nic_set_state(d->pool, action->slot, NIC_DRAINING, now_us);
		pool_nic_set_state(d->pool, action->slot, NIC_DETACHING, now_us);
		pool_nic_set_busy(d->pool, action->slot, NIC_BUSY_DETACH, NULL);
		return;
	case PLAN_KIND_COUNT:
		return;
	}
}

/* From here on a throttle answer is news to whoever waits. */
static void note_throttles(struct ipamd *d)
{
	struct cloud_stats stats = { 0 };

	if (d->running[JOB_ASSIGN] || d->running[JOB_ATTACH])
		return;
	d->cloud->ops->stats(d->cloud, &stats);
	d->throttled_before = stats.errors[ERR_THROTTLED];
}

static int start_action(struct ipamd *d, const struct plan_action *action, int64_t now_us, struct err *err)
{
	struct cloud_want wants[IP_FAMILIES];
	struct job job;

	if (is_growth(action->kind))
		note_throttles(d);
	if (fill_job(d, action, now_us, &job, err) < 0 || put_intent(d, action, &job, err) < 0) {
		job_done(&job);
		return -1;
	}
	memcpy(wants, job.wants, sizeof(wants)); /* the job is the executor's once it is sent */
	if (action->kind == PLAN_ATTACH && !pool_nic_attaching(d->pool, action->slot, wants, now_us))
		err_set(err, ERR_RETRY, "ipamd", "no memory for a NIC");
	else if (submit(d, &job, err) == 0) {
		mark_started(d, action, wants, now_us);
		log_info("cloud call", "op=%s slot=%u count=%u wanted=%u supply=%u", plan_kind_name(action->kind),
			 action->slot, action->count, d->plan.wanted, d->plan.supply);
		return 0;
	} else if (action->kind == PLAN_ATTACH)
		pool_nic_remove(d->pool, action->slot);
	(void)store_intent_del(d->store, job.intent, NULL);
	job_done(&job);
	return -1;
}

static int64_t run_plan(struct ipamd *d, int64_t now_us)
{
	const struct plan_input input = {
		.pool = d->pool,
		.limits = d->limits,
		.targets = { .warm_ips = d->config.warm_ips,
			     .min_ips = d->config.min_ips,
			     .max_nics = d->config.max_nics,
			     .max_pods = d->config.max_pods,
			     .release_delay_us = d->config.release_delay_us },
		.waiting = d->waiting,
		.now_us = now_us,
		.grow_not_before_us = d->pause == PAUSE_ALL ? INT64_MAX : d->grow.not_before_us,
		.shrink_not_before_us = d->pause == PAUSE_NONE ? d->shrink.not_before_us : INT64_MAX,
	};
	struct err err;

	planner_decide(&input, &d->plan);
	for (unsigned i = 0; i < d->plan.action_count; i++) {
		const struct plan_action *action = &d->plan.actions[i];

		/* A sweep would take the NIC of an attach between its creation and its attachment for a left-over. */
		if (action->kind == PLAN_ATTACH && d->running[JOB_SWEEP])
			continue;
		if (start_action(d, action, now_us, &err) == 0)
			continue;
		log_error("cannot start a cloud call", "op=%s " LOG_ERR_FMT, plan_kind_name(action->kind),
			  LOG_ERR_ARGS(&err));
		backoff_fail(d, is_growth(action->kind) ? &d->grow : &d->shrink, &err, now_us);
		return is_growth(action->kind) ? d->grow.not_before_us : d->shrink.not_before_us;
	}
	return d->plan.wake_us;
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
	if (d->cloud->ops->glance)
		wake = clock_earlier(wake, start_read(d, JOB_GLANCE, &d->glance, d->glance_due_us, now_us));
	if (!d->running[JOB_ATTACH] && d->pause != PAUSE_ALL)
		wake = clock_earlier(wake, start_read(d, JOB_SWEEP, &d->list, d->sweep_due_us, now_us));
	return clock_earlier(wake, run_plan(d, now_us));
}

/* ---- mutations: results ---- */

static void add_blocks(struct ipamd *d, unsigned slot, const struct cloud_nic *came, int64_t now_us)
{
	char text[PREFIX_STRLEN];

	for (unsigned i = 0; i < came->block_count; i++) {
		int r = pool_block_add(d->pool, slot, &came->blocks[i].prefix, now_us);

		if (r < 0)
			log_warn("cannot hold a block that came", "block=%s err=\"%s\"",
				 prefix_str(&came->blocks[i].prefix, text), errno_str(-r));
	}
	d->host_dirty = true;
}

/* What every failed mutation means, whatever it was. */
static void mutation_failed(struct ipamd *d, const struct job *job, struct backoff *backoff, int64_t now_us)
{
	const struct pool_nic *nic = pool_nic_by_slot(d->pool, job->slot);

	log_warn("cloud call failed", "op=%s nic=%s slot=%u count=%u " LOG_ERR_FMT, job_kind_name(job->kind), job->nic,
		 job->slot, job->count, LOG_ERR_ARGS(&job->err));
	backoff_fail(d, backoff, &job->err, now_us);
	if (job->err.class != ERR_AMBIGUOUS && job->err.class != ERR_CONFLICT && job->err.class != ERR_NOTFOUND)
		return;
	if (nic)
		pool_nic_set_stale(d->pool, job->slot, true);
	else
		d->sweep_due_us = 0; /* an attach that may have left a NIC behind */
	list_soon(d, now_us);
}

static void finish_assign(struct ipamd *d, struct job *job, int64_t now_us)
{
	pool_nic_set_busy(d->pool, job->slot, NIC_IDLE, NULL);
	if (job->rc < 0) {
		mutation_failed(d, job, &d->grow, now_us);
		return;
	}
	add_blocks(d, job->slot, &job->nic_result, now_us);
	if (job->nic_result.block_count < job->count) {
		/* The cloud gave what it had: wait before asking for the rest, or every turn asks again. */
		struct err err;

		err_set(&err, ERR_EXHAUSTED, "ipamd", "%u of %u addresses came: the subnet is nearly full",
			job->nic_result.block_count, job->count);
		backoff_fail(d, &d->grow, &err, now_us);
		return;
	}
	backoff_ok(&d->grow);
}

static void finish_attach(struct ipamd *d, struct job *job, int64_t now_us)
{
	if (job->rc < 0) {
		pool_nic_remove(d->pool, job->slot);
		mutation_failed(d, job, &d->grow, now_us);
		return;
	}
	backoff_ok(&d->grow);
	if (pool_nic_attached(d->pool, job->slot, &job->nic_result, now_us) < 0) {
		pool_nic_remove(d->pool, job->slot);
		list_soon(d, now_us);
		return;
	}
	d->mutated_us[job->nic_result.slot] = now_us;
	add_blocks(d, job->nic_result.slot, &job->nic_result, now_us);
	log_info("NIC attached", "nic=%s slot=%u took_ms=%" PRId64, job->nic_result.id, job->nic_result.slot,
		 (now_us - job->submitted_us) / USEC_PER_MSEC);
}

/* What came of taking something away. UNKNOWN: it stays RELEASING or DETACHING, and so unleased, until a list tells. */
enum taken { TAKEN_GONE, TAKEN_KEPT, TAKEN_UNKNOWN };

static enum taken taken(const struct job *job)
{
	if (job->rc == 0 || job->err.class == ERR_NOTFOUND)
		return TAKEN_GONE;
	return job->err.class == ERR_AMBIGUOUS || job->err.class == ERR_CONFLICT ? TAKEN_UNKNOWN : TAKEN_KEPT;
}

static void finish_release(struct ipamd *d, struct job *job, int64_t now_us)
{
	enum taken what = taken(job);

	pool_nic_set_busy(d->pool, job->slot, NIC_IDLE, NULL);
	for (unsigned i = 0; i < job->count; i++) {
		if (what == TAKEN_GONE)
			pool_block_remove(d->pool, &job->blocks[i]);
		else if (what == TAKEN_KEPT)
			pool_block_set_state(d->pool, &job->blocks[i], BLOCK_READY, now_us);
	}
	d->host_dirty = true;
	if (what == TAKEN_GONE)
		backoff_ok(&d->shrink);
	else
		mutation_failed(d, job, &d->shrink, now_us);
}

static void finish_detach(struct ipamd *d, struct job *job, int64_t now_us)
{
	enum taken what = taken(job);

	pool_nic_set_busy(d->pool, job->slot, NIC_IDLE, NULL);
	d->host_dirty = true;
	if (what == TAKEN_GONE) {
		log_info("NIC detached", "nic=%s slot=%u", job->nic, job->slot);
		pool_nic_remove(d->pool, job->slot);
		backoff_ok(&d->shrink);
		return;
	}
	if (what == TAKEN_KEPT)
		pool_nic_set_state(d->pool, job->slot, NIC_CONFIGURING, now_us);
	mutation_failed(d, job, &d->shrink, now_us);
}

void cloudwork_finish(struct ipamd *d, struct job *job, int64_t now_us)
{
	struct err err;

	if (job->slot < CLOUD_NICS_MAX)
		d->mutated_us[job->slot] = job->intent ? now_us : d->mutated_us[job->slot];
	switch (job->kind) {
	case JOB_IDENTIFY:
		finish_identify(d, job, now_us);
		break;
	case JOB_LIMITS:
		finish_limits(d, job, now_us);
		break;
	case JOB_LIST:
		finish_list(d, job, now_us);
		break;
	case JOB_GLANCE:
		finish_glance(d, job, now_us);
		break;
	case JOB_SWEEP:
		finish_sweep(d, job, now_us);
		break;
	case JOB_ASSIGN:
		finish_assign(d, job, now_us);
		break;
	case JOB_ATTACH:
		finish_attach(d, job, now_us);
		break;
	case JOB_RELEASE:
		finish_release(d, job, now_us);
		break;
	case JOB_DETACH:
		finish_detach(d, job, now_us);
		break;
	case JOB_NFT:
	case JOB_LINK_DEL:
	case JOB_CT_FLUSH:
	case JOB_RECOVER:
	case JOB_KIND_COUNT:
		break;
	}
	if (job->intent && store_intent_del(d->store, job->intent, &err) < 0)
		log_warn("cannot forget an intent", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
}
