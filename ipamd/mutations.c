/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: cloud mutations
 *
 * An intent is stored before a mutation is sent and removed when its result was recorded; intents.c settles what a crash
 * in between left. A result says by its class what happens:
 *
 *   AMBIGUOUS                  the NIC is stale: read back before anything else is done to it
 *   CONFLICT                   our view is old: the same, by a list at once
 *   THROTTLED, EXHAUSTED, AUTH back off growing (or shrinking), say why to whoever waits
 *   NOTFOUND on release/detach success
 *
 * EXHAUSTED for a unit that is no single address may mean no more than that the subnet is fragmented. Single addresses
 * are then asked for in the same turn, and the wanted unit again FRAGMENTED_US later.
 */
#include "ipamd/ipamd.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "berth/check.h"
#include "berth/clock.h"
#include "berth/log.h"
#include "berth/str.h"

#define ASSIGN_US (60 * USEC_PER_SEC) /* one sub-second call; the rest is for back-off under throttling */
#define ATTACH_US                                                                                                      \
	(180 * USEC_PER_SEC) /* create, attach, wait: up to 10 s by AWS's own words, 30 s seen, plus throttling */

/* Refusals after which the other who has a lost block is taken to keep it, and how seldom it is asked for then. */
#define RECOVER_TRIES    8U
#define RECOVER_AGAIN_US (600 * USEC_PER_SEC)

#define FRAGMENTED_US (600 * USEC_PER_SEC) /* fragments go as pods do; each try that fails is one call */

/* ---- sending ---- */

static bool is_growth(enum plan_kind kind)
{
	return kind == PLAN_ASSIGN || kind == PLAN_ATTACH;
}

static struct backoff *backoff_of(struct ipamd *d, enum plan_kind kind)
{
	if (kind == PLAN_RECOVER)
		return &d->recover;
	return is_growth(kind) ? &d->grow : &d->shrink;
}

/* Units that are asked for, or blocks that are named. */
static unsigned action_size(const struct plan_action *action)
{
	return is_growth(action->kind) ? action->wants[0].count + action->wants[1].count : action->block_count;
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
					       [PLAN_RECOVER] = JOB_RECOVER,
					       [PLAN_RELEASE] = JOB_RELEASE,
					       [PLAN_DETACH] = JOB_DETACH };
	const struct pool_nic *nic = pool_nic_by_slot(d->pool, action->slot);

	*ret = (struct job){ .kind = kinds[action->kind], .slot = action->slot, .count = action_size(action) };
	memcpy(ret->wants, action->wants, sizeof(ret->wants));
	ret->deadline_us =
		now_us + (action->kind == PLAN_ATTACH || action->kind == PLAN_DETACH ? ATTACH_US : ASSIGN_US);
	if (action->kind == PLAN_ATTACH) {
		if (!d->attach_tokens[action->slot][0])
			new_token(d->attach_tokens[action->slot]);
		(void)str_copy(ret->token, sizeof(ret->token), d->attach_tokens[action->slot]);
	}
	if (nic)
		(void)str_copy(ret->nic, sizeof(ret->nic), nic->id);
	if (action->block_count == 0)
		return 0;
	ret->blocks = calloc(action->block_count, sizeof(*ret->blocks));
	if (!ret->blocks)
		return err_set(err, ERR_RETRY, "ipamd", "no memory for the blocks of a call");
	memcpy(ret->blocks, &d->plan.blocks[action->first_block], action->block_count * sizeof(*ret->blocks));
	return 0;
}

static int put_intent(struct ipamd *d, const struct plan_action *action, struct job *job, struct err *err)
{
	struct intent intent = { .slot = action->slot, .count = action->block_count };

	memcpy(intent.wants, action->wants, sizeof(intent.wants));
	(void)str_copy(intent.kind, sizeof(intent.kind), plan_kind_name(action->kind));
	(void)str_copy(intent.nic, sizeof(intent.nic), job->nic);
	(void)str_copy(intent.token, sizeof(intent.token), job->token);
	if (store_intent_put(d->store, &intent, err) < 0)
		return -1;
	job->intent = intent.id;
	return 0;
}

static void set_blocks(struct ipamd *d, const struct plan_action *action, enum block_state state, int64_t now_us)
{
	for (unsigned i = 0; i < action->block_count; i++)
		pool_block_set_state(d->pool, &d->plan.blocks[action->first_block + i], state, now_us);
}

static void mark_started(struct ipamd *d, const struct plan_action *action, int64_t now_us)
{
	switch (action->kind) {
	case PLAN_ASSIGN:
		pool_nic_set_busy(d->pool, action->slot, NIC_BUSY_ASSIGN, action->wants);
		return;
	case PLAN_RECOVER:
		pool_nic_set_busy(d->pool, action->slot, NIC_BUSY_RECOVER, NULL);
		return;
	case PLAN_RELEASE:
		set_blocks(d, action, BLOCK_DRAINING, now_us);
		set_blocks(d, action, BLOCK_RELEASING, now_us);
		pool_nic_set_busy(d->pool, action->slot, NIC_BUSY_RELEASE, NULL);
		return;
	case PLAN_DETACH:
		pool_nic_set_state(d->pool, action->slot, NIC_DRAINING, now_us);
		pool_nic_set_state(d->pool, action->slot, NIC_DETACHING, now_us);
		pool_nic_set_busy(d->pool, action->slot, NIC_BUSY_DETACH, NULL);
		return;
	case PLAN_ATTACH: /* the placeholder says it */
	case PLAN_DRAIN:
	case PLAN_UNDRAIN:
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
	struct job job;

	if (is_growth(action->kind))
		note_throttles(d);
	if (fill_job(d, action, now_us, &job, err) < 0 || put_intent(d, action, &job, err) < 0) {
		job_done(&job);
		return -1;
	}
	if (action->kind == PLAN_ATTACH && !pool_nic_attaching(d->pool, action->slot, action->wants, now_us))
		err_set(err, ERR_RETRY, "ipamd", "no memory for a NIC");
	else if (ipamd_submit(d, &job, err) == 0) {
		mark_started(d, action, now_us);
		if (is_growth(action->kind))
			d->grown_since_us[action->slot] = now_us;
		log_info("cloud call", "op=%s slot=%u count=%u wanted=%u supply=%u wanted6=%u supply6=%u",
			 plan_kind_name(action->kind), action->slot, action_size(action), d->plan.wanted[0],
			 d->plan.supply[0], d->plan.wanted[1], d->plan.supply[1]);
		return 0;
	} else if (action->kind == PLAN_ATTACH)
		pool_nic_remove(d->pool, action->slot);
	(void)store_intent_del(d->store, job.intent, NULL);
	job_done(&job);
	return -1;
}

/* Addresses of one unit of the family that is counted; a range is no question of count. */
static unsigned unit_size(const struct ipamd *d)
{
	enum ip_family family = pool_first_family(d->pool);
	const struct cloud_units *units = &d->limits.units[ip_index(family)];
	unsigned bits = family == IP_V4 ? 32 : 128;

	return bits - units->len > 8 ? 1 : 1U << (bits - units->len);
}

/* Return: when time alone makes another decision. */
static int64_t decide(struct ipamd *d, int64_t now_us)
{
	int64_t wake_us = INT64_MAX;
	bool is_auto = d->config.warm_ips == CONFIG_WARM_AUTO;
	unsigned warm_ips = is_auto ? demand_warm(&d->demand, now_us, unit_size(d), &wake_us) : d->config.warm_ips;
	const struct plan_input input = {
		.pool = d->pool,
		.limits = d->limits,
		.targets = { .warm_ips = warm_ips,
			     .warm_auto = is_auto,
			     .primary_unused = d->config.pod_subnets.count > 0,
			     .warm_blocks = d->config.warm_blocks,
			     .warm_nics = d->config.warm_nics,
			     .min_ips = d->config.min_ips,
			     .max_nics = d->config.max_nics,
			     .max_pods = d->config.max_pods,
			     .release_delay_us = d->config.release_delay_us },
		.waiting = d->waiting,
		.now_us = now_us,
		/* What was lost is not asked back either while nothing may grow. */
		.grow_not_before_us = d->pause == PAUSE_ALL ? INT64_MAX : d->grow.not_before_us,
		.shrink_not_before_us = d->pause == PAUSE_NONE ? d->shrink.not_before_us : INT64_MAX,
		.recover_not_before_us = d->cloud->ops->recover ? d->recover.not_before_us : INT64_MAX,
		.single_until_us = { d->single_until_us[0], d->single_until_us[1] },
	};

	d->warm_ips = warm_ips;
	planner_decide(&input, &d->plan);
	return clock_earlier(wake_us, d->plan.wake_us);
}

/* Return: false if it cannot be started. *@wake_us: when to look again, if that is earlier. */
static bool run_action(struct ipamd *d, const struct plan_action *action, int64_t now_us, int64_t *wake_us)
{
	struct backoff *backoff = backoff_of(d, action->kind);
	struct err err;

	if (action->kind == PLAN_DRAIN || action->kind == PLAN_UNDRAIN) {
		log_debug("no cloud call", "op=%s slot=%u count=%u", plan_kind_name(action->kind), action->slot,
			  action->block_count);
		set_blocks(d, action, action->kind == PLAN_DRAIN ? BLOCK_DRAINING : BLOCK_READY, now_us);
		/* Who waits may be served with what was taken back. */
		if (action->kind == PLAN_UNDRAIN)
			*wake_us = now_us;
		return true;
	}
	/* A sweep would take the NIC of an attach between its creation and its attachment for a left-over. And what a
	 * failed attach left attached takes a slot that only a list shows. */
	if (action->kind == PLAN_ATTACH && (d->running[JOB_SWEEP] || d->attach_failed_us))
		return true;
	if (start_action(d, action, now_us, &err) == 0)
		return true;
	log_error("cannot start a cloud call", "op=%s " LOG_ERR_FMT, plan_kind_name(action->kind), LOG_ERR_ARGS(&err));
	backoff_fail(d, backoff, &err, now_us);
	*wake_us = clock_earlier(*wake_us, backoff->not_before_us);
	return false;
}

int64_t mutations_reconcile(struct ipamd *d, int64_t now_us)
{
	int64_t wake_us = decide(d, now_us);

	for (unsigned i = 0; i < d->plan.action_count; i++)
		if (!run_action(d, &d->plan.actions[i], now_us, &wake_us))
			break;
	return wake_us;
}

/* ---- results ---- */

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
	cloudwork_list_soon(d, d->mutated_us[job->slot] + 1);
	if (d->taken_us[job->slot] > now_us)
		cloudwork_list_soon(d, d->taken_us[job->slot] + 1);
}

/* A list that was asked for before @until_us says nothing of that slot. */
static void note_mutation(struct ipamd *d, unsigned slot, int64_t until_us)
{
	if (slot < CLOUD_NICS_MAX && d->mutated_us[slot] < until_us)
		d->mutated_us[slot] = until_us;
}

/* Did units larger than the smallest not come? Return: true if single ones are asked for instead, at once. */
static bool fall_back(struct ipamd *d, const struct job *job, int64_t now_us)
{
	bool fallen = false;

	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		const struct cloud_want *want = &job->wants[f];

		if (!want->count || want->len == d->limits.units[f].single_len || d->single_until_us[f] > now_us)
			continue;
		d->single_until_us[f] = now_us + FRAGMENTED_US;
		fallen = true;
		log_warn("the subnet has no free range of the wanted length: single addresses for now",
			 "wanted_len=%u single_len=%u again_s=%" PRId64, want->len, d->limits.units[f].single_len,
			 FRAGMENTED_US / USEC_PER_SEC);
	}
	return fallen;
}

static void growth_failed(struct ipamd *d, const struct job *job, int64_t now_us)
{
	d->grown_since_us[job->slot] = 0;
	if (job->err.class != ERR_EXHAUSTED || !fall_back(d, job, now_us))
		mutation_failed(d, job, &d->grow, now_us);
}

void mutations_grown(struct ipamd *d, unsigned slot, int64_t now_us)
{
	if (!d->grown_since_us[slot])
		return;
	demand_provisioned(&d->demand, now_us - d->grown_since_us[slot]);
	d->grown_since_us[slot] = 0;
}

static void finish_assign(struct ipamd *d, struct job *job, int64_t now_us)
{
	pool_nic_set_busy(d->pool, job->slot, NIC_IDLE, NULL);
	if (job->rc < 0) {
		growth_failed(d, job, now_us);
		return;
	}
	add_blocks(d, job->slot, &job->nic_result, now_us);
	if (job->nic_result.block_count < job->count && fall_back(d, job, now_us))
		return;
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

/* Who has our block now is another machine's pod: asking each minute costs calls and changes nothing. */
static void recover_refused(struct ipamd *d, const struct job *job, int64_t now_us)
{
	mutation_failed(d, job, &d->recover, now_us);
	if (d->recover.failures >= RECOVER_TRIES &&
	    (job->err.class == ERR_CONFLICT || job->err.class == ERR_EXHAUSTED || job->err.class == ERR_INVALID))
		d->recover.not_before_us += RECOVER_AGAIN_US;
}

static void finish_recover(struct ipamd *d, struct job *job, int64_t now_us)
{
	const struct cloud_nic *came = &job->nic_result;
	struct pool_block_view block;
	struct err err;

	pool_nic_set_busy(d->pool, job->slot, NIC_IDLE, NULL);
	if (job->rc < 0) {
		recover_refused(d, job, now_us);
		return;
	}
	for (unsigned i = 0; i < came->block_count; i++)
		if (pool_block_get(d->pool, &came->blocks[i].prefix, &block) && block.state == BLOCK_LOST)
			pool_block_set_state(d->pool, &block.prefix, BLOCK_PENDING, now_us);
	d->host_dirty = true;
	log_info("blocks recovered", "nic=%s slot=%u count=%u of=%u", job->nic, job->slot, came->block_count,
		 job->count);
	if (came->block_count == job->count) {
		backoff_ok(&d->recover);
		return;
	}
	err_set(&err, ERR_EXHAUSTED, "ipamd", "%u of %u lost blocks came back", came->block_count, job->count);
	backoff_fail(d, &d->recover, &err, now_us);
}

/* Something of it may be there: attached, which takes a slot that only a list shows, or left over. */
static void attach_unsettled(struct ipamd *d, int64_t now_us)
{
	d->attach_failed_us = now_us;
	cloudwork_list_soon(d, now_us);
	cloudwork_sweep_soon(d, now_us);
}

static void finish_attach(struct ipamd *d, struct job *job, int64_t now_us)
{
	bool is_unclear = job->rc < 0 && job->err.class == ERR_AMBIGUOUS;

	/* The next try with the same token finds what was made, instead of making another. */
	if (!is_unclear)
		d->attach_tokens[job->slot][0] = '\0';
	if (job->rc < 0) {
		pool_nic_remove(d->pool, job->slot);
		growth_failed(d, job, now_us);
		if (is_unclear)
			attach_unsettled(d, now_us);
		else if (job->err.class == ERR_EXHAUSTED) /* perhaps by NICs of others, which a list shows */
			cloudwork_list_soon(d, now_us);
		return;
	}
	backoff_ok(&d->grow);
	if (job->nic_result.slot != job->slot) {
		d->grown_since_us[job->nic_result.slot] = d->grown_since_us[job->slot];
		d->grown_since_us[job->slot] = 0;
	}
	if (pool_nic_attached(d->pool, job->slot, &job->nic_result, now_us) < 0) {
		pool_nic_remove(d->pool, job->slot);
		cloudwork_list_soon(d, now_us);
		return;
	}
	note_mutation(d, job->nic_result.slot, now_us);
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

static void finish(struct ipamd *d, struct job *job, int64_t now_us)
{
	switch (job->kind) {
	case JOB_ASSIGN:
		finish_assign(d, job, now_us);
		return;
	case JOB_RECOVER:
		finish_recover(d, job, now_us);
		return;
	case JOB_ATTACH:
		finish_attach(d, job, now_us);
		return;
	case JOB_RELEASE:
		finish_release(d, job, now_us);
		return;
	case JOB_DETACH:
		finish_detach(d, job, now_us);
		return;
	case JOB_IDENTIFY:
	case JOB_LIMITS:
	case JOB_LIST:
	case JOB_GLANCE:
	case JOB_SWEEP:
	case JOB_NFT:
	case JOB_LINK_DEL:
	case JOB_CT_FLUSH:
	case JOB_FORWARD:
	case JOB_KIND_COUNT:
		break;
	}
	CHECK_NEVER("no mutation");
}

void mutations_finish(struct ipamd *d, struct job *job, int64_t now_us)
{
	bool took = job->kind == JOB_RELEASE || job->kind == JOB_DETACH;

	note_mutation(d, job->slot, now_us);
	/* What was added and is not shown yet does no harm. */
	if (took)
		d->taken_us[job->slot] = now_us + IPAMD_READ_LAG_US;
	finish(d, job, now_us);
	if (took)
		intents_keep(d, job->slot, job->intent);
	else
		intents_forget(d, job->intent);
}
