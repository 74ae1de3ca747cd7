/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the daemon's executors under the virtual clock
 *
 * A job is a series of calls to the cloud, as a provider makes them: attach is create, attach; detach is detach, read until
 * available, delete; what fails behind a create is cleaned up. Each call is sent, takes effect
 * somewhere on its way and is answered, or not. A throttled call is tried again by the provider until the job's deadline.
 *
 * When the daemon is killed, a call that was sent still takes effect, nothing behind it is sent any more.
 *
 *   job -> waits for a thread of its lane -> send -> (effect) -> answer -> next stage ... -> done -> executor_next()
 */
#include "tests/sim/world_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/check.h"
#include "berth/str.h"

#define RETRIES         2U                                      /* of a provider, after "unavailable" */
#define RETRY_WAIT      ((struct sim_range){ 100000, 1000000 }) /* µs */
#define THROTTLE_FIRST  (500 * USEC_PER_MSEC)                   /* full jitter below it, doubling */
#define THROTTLE_MAX    (20 * USEC_PER_SEC)
#define ANSWER_TIMEOUT  ((struct sim_range){ 1000000, 10000000 }) /* until a lost answer is given up */
#define LINK_DELETION   ((struct sim_range){ 14000, 60000 })      /* an RCU grace period */
#define FLOW_TABLE      ((struct sim_range){ 1000, 150000 })      /* read once, 100,000 flows at most */
#define SENT_PPM        900000U /* of calls in flight at a crash: the cloud has them */
#define EFFECT_LOW_PPM  200000U /* of a call's latency: when it takes effect */
#define EFFECT_HIGH_PPM 900000U

enum stage {
	STAGE_METADATA,
	STAGE_READ,
	STAGE_ASSIGN,
	STAGE_RELEASE,
	STAGE_CREATE,
	STAGE_ATTACH,
	STAGE_DETACH,
	STAGE_UNTIL_DETACHED,
	STAGE_DELETE,
	STAGE_RECOVER,
	STAGE_NFT,
	STAGE_LINK_DEL,
	STAGE_CT_FLUSH,
	STAGE_FORWARD,
	STAGE_END
};

enum phase { PHASE_SEND, PHASE_EFFECT, PHASE_ANSWER, PHASE_COUNT };

struct call {
	struct call *next;
	uint64_t id;
	struct job job;
	bool running, orphan;
	bool sent;      /* its first call */
	bool in_flight; /* sent, no effect yet */
	unsigned at;    /* index of the stage */
	enum stage stage;
	enum fate fate;
	unsigned tries;
	int rc; /* of the last effect */
	struct err err;
	bool failing; /* cleaning up; the job ends with job.err */
	char made[24];
	int64_t view_at_us;
	char leftovers[MODEL_NICS][24]; /* SWEEP */
	unsigned leftover_count;
};

static bool is_mutation(enum job_kind kind)
{
	return kind == JOB_ASSIGN || kind == JOB_RECOVER || kind == JOB_RELEASE || kind == JOB_ATTACH ||
	       kind == JOB_DETACH;
}

static bool is_local(enum job_kind kind)
{
	return kind == JOB_NFT || kind == JOB_LINK_DEL || kind == JOB_CT_FLUSH || kind == JOB_FORWARD;
}

/* ---- what a job is made of ---- */

static enum stage stage_at(const struct call *c)
{
	static const enum stage stages[JOB_KIND_COUNT][4] = {
		[JOB_IDENTIFY] = { STAGE_METADATA, STAGE_END },
		[JOB_LIMITS] = { STAGE_READ, STAGE_END },
		[JOB_LIST] = { STAGE_READ, STAGE_END },
		[JOB_SWEEP] = { STAGE_READ, STAGE_END },
		[JOB_ASSIGN] = { STAGE_ASSIGN, STAGE_END },
		[JOB_RELEASE] = { STAGE_RELEASE, STAGE_END },
		[JOB_ATTACH] = { STAGE_CREATE, STAGE_ATTACH, STAGE_END },
		[JOB_DETACH] = { STAGE_DETACH, STAGE_UNTIL_DETACHED, STAGE_DELETE, STAGE_END },
		[JOB_NFT] = { STAGE_NFT, STAGE_END },
		[JOB_LINK_DEL] = { STAGE_LINK_DEL, STAGE_END },
		[JOB_CT_FLUSH] = { STAGE_CT_FLUSH, STAGE_END },
		[JOB_RECOVER] = { STAGE_RECOVER, STAGE_END },
		[JOB_GLANCE] = { STAGE_METADATA, STAGE_END },
		[JOB_FORWARD] = { STAGE_FORWARD, STAGE_END },
	};

	if (c->job.kind == JOB_SWEEP && c->at > 0)
		return c->at <= c->leftover_count ? STAGE_DELETE : STAGE_END;
	return stages[c->job.kind][c->at];
}

static struct sim_range latency_of(const struct world *w, enum stage stage)
{
	const struct sim_latency *l = &w->scenario.latency;

	switch (stage) {
	case STAGE_METADATA:
		return l->metadata;
	case STAGE_READ:
	case STAGE_UNTIL_DETACHED:
		return l->read;
	case STAGE_ASSIGN:
	case STAGE_RECOVER:
	case STAGE_RELEASE:
		return l->assign;
	case STAGE_CREATE:
		return l->create;
	case STAGE_ATTACH:
		return l->attach;
	case STAGE_DETACH:
		return l->detach;
	case STAGE_DELETE:
		return l->remove;
	case STAGE_NFT:
		return l->nft;
	case STAGE_CT_FLUSH:
		return FLOW_TABLE;
	case STAGE_LINK_DEL:
	case STAGE_FORWARD:
	case STAGE_END:
		break;
	}
	return LINK_DELETION;
}

static bool stage_mutates(enum stage stage)
{
	return stage == STAGE_ASSIGN || stage == STAGE_RECOVER || stage == STAGE_RELEASE || stage == STAGE_CREATE ||
	       stage == STAGE_ATTACH || stage == STAGE_DETACH || stage == STAGE_DELETE;
}

static enum fate draw_fate(struct world *w, const struct call *c)
{
	const struct sim_faults *f = &w->scenario.faults;

	if (w->cloud.next_fate.armed && w->cloud.next_fate.kind == c->job.kind && w->cloud.next_fate.stage == c->at) {
		w->cloud.next_fate.armed = false;
		return w->cloud.next_fate.fate;
	}
	if (is_local(c->job.kind))
		return FATE_OK;
	if (stage_mutates(c->stage) && !cloud_take_token(w))
		return FATE_THROTTLED;
	if (world_chance(w, f->unavailable))
		return FATE_UNAVAILABLE;
	if (world_chance(w, f->lost_request))
		return FATE_LOST_REQUEST;
	if (world_chance(w, f->lost_answer))
		return FATE_LOST_ANSWER;
	if (c->stage == STAGE_METADATA)
		return FATE_OK;
	if (world_chance(w, f->denied))
		return FATE_DENIED;
	if ((c->stage == STAGE_RELEASE || c->stage == STAGE_DETACH) && world_chance(w, f->no_effect))
		return FATE_NO_EFFECT;
	return FATE_OK;
}

/* ---- the list of calls ---- */

static struct call *find(struct world *w, uint64_t id)
{
	for (struct call *c = w->executor.calls; c; c = c->next)
		if (c->id == id)
			return c;
	return NULL;
}

static void call_free(struct world *w, struct call *call)
{
	struct call **at = &w->executor.calls;

	while (*at != call)
		at = &(*at)->next;
	*at = call->next;
	job_done(&call->job);
	free(call);
}

static void on_call(struct world *w, uint64_t arg);

static void later(struct world *w, const struct call *c, int64_t us, enum phase phase)
{
	world_after(w, us, on_call, c->id * PHASE_COUNT + phase);
}

static void later_in(struct world *w, const struct call *c, struct sim_range range, enum phase phase)
{
	later(w, c, rng_us(&w->rng, range.low_us, range.high_us), phase);
}

enum lane { LANE_CHANGE, LANE_READ, LANE_NFT, LANE_LINK, LANE_FLOWS, LANE_COUNT };

/* As the daemon's executor has them. */
static const unsigned lane_threads[LANE_COUNT] = { 16, 3, 1, 4, 1 };

static enum lane lane_of(enum job_kind kind)
{
	if (kind == JOB_NFT)
		return LANE_NFT;
	if (kind == JOB_LINK_DEL || kind == JOB_FORWARD)
		return LANE_LINK;
	if (kind == JOB_CT_FLUSH)
		return LANE_FLOWS;
	return is_mutation(kind) ? LANE_CHANGE : LANE_READ;
}

static void start_waiting(struct world *w)
{
	unsigned busy[LANE_COUNT] = { 0 };

	for (struct call *c = w->executor.calls; c; c = c->next) {
		enum lane lane = lane_of(c->job.kind);

		if (c->orphan)
			continue;
		if (!c->running && busy[lane] < lane_threads[lane]) {
			c->running = true;
			later(w, c, 0, PHASE_SEND);
		}
		busy[lane] += c->running;
	}
}

/* ---- the end of a job ---- */

static void finish(struct world *w, struct call *c)
{
	struct executor *ex = &w->executor;

	if (ex->done_count == ex->done_alloc) {
		unsigned alloc = ex->done_alloc ? ex->done_alloc * 2 : 64;
		struct finished *grown = reallocarray(ex->done, alloc, sizeof(*grown));

		CHECK(grown);
		ex->done = grown;
		ex->done_alloc = alloc;
	}
	c->job.done_us = w->now_us;
	world_note(w, "job %s of %s ends: %s", job_kind_name(c->job.kind), c->job.nic[0] ? c->job.nic : "-",
		   c->job.rc < 0 ? err_class_name(c->job.err.class) : "ok");
	ex->done[ex->done_count++] = (struct finished){ c->job, c->view_at_us };
	memset(&c->job, 0, sizeof(c->job));
	call_free(w, c);
	start_waiting(w);
	world_look(w);
}

static void succeed(struct world *w, struct call *c)
{
	c->job.rc = 0;
	finish(w, c);
}

/* Cleans up behind a create: what is attached by now is detached, then it is deleted. Tried once; a sweep does the rest. */
static bool clean_up(struct world *w, struct call *c)
{
	const struct mnic *made = c->made[0] ? cloud_nic(w, c->made) : NULL;

	if (c->failing || c->job.kind != JOB_ATTACH || !made)
		return false;
	c->failing = true;
	c->stage = made->state == MNIC_AVAILABLE ? STAGE_DELETE : STAGE_DETACH;
	later(w, c, 0, PHASE_SEND);
	return true;
}

static void give_up(struct world *w, struct call *c, const struct err *err)
{
	if (c->failing) {
		c->job.err.class = ERR_AMBIGUOUS; /* something may be left */
	} else {
		c->job.rc = -1;
		c->job.err = *err;
	}
	if (!clean_up(w, c))
		finish(w, c);
}

static void fail_as(struct world *w, struct call *c, enum err_class class, const char *what)
{
	struct err err;

	(void)err_set(&err, class, "model", "%s: %s", job_kind_name(c->job.kind), what);
	w->cloud.stats.errors[class]++;
	give_up(w, c, &err);
}

/* ---- effects ---- */

static int make_identity(struct world *w, struct job *job)
{
	const struct mnic *primary = &w->cloud.now.nics[0];
	struct ipaddr base = subnet_addr(0);

	free(job->identity); /* an answer that was lost is made again */
	job->identity = calloc(1, sizeof(*job->identity));
	CHECK(job->identity);
	(void)str_copy(job->identity->instance, sizeof(job->identity->instance), "instance-1");
	(void)str_copy(job->identity->nic, sizeof(job->identity->nic), primary->id);
	job->identity->primary_mac = primary->mac;
	job->identity->primary_addr = primary->addr;
	job->identity->vpc_prefix_count = 1;
	job->identity->vpc_prefixes[0] = prefix_of(&base, 16);
	return 0;
}

static int make_limits(const struct world *w, struct job *job)
{
	const struct sim_shape *shape = &w->scenario.shape;

	job->limits = (struct cloud_limits){ .nics_max = shape->nics_max, .can_attach_nic = shape->nics_max > 1 };
	job->limits.units[0] = (struct cloud_units){ shape->units_per_nic, shape->unit_len, shape->single_len };
	return 0;
}

static int make_view(struct world *w, struct call *c)
{
	const struct cloud_state *state = cloud_read(w, &c->view_at_us);

	cloud_view_done(&c->job.view); /* an answer that was lost is made again */
	for (unsigned i = 0; i < MODEL_NICS; i++) {
		struct cloud_nic *nic;

		if (state->nics[i].state <= MNIC_AVAILABLE)
			continue;
		nic = cloud_view_add_nic(&c->job.view);
		CHECK(nic && cloud_show(w, &state->nics[i], nic) == 0);
	}
	return 0;
}

static int find_leftovers(struct world *w, struct call *c)
{
	if (w->plant == PLANT_BLIND_SWEEP)
		return 0;
	/* What an attach has just made looks the same. */
	for (const struct call *other = w->executor.calls; other; other = other->next)
		if (other->job.kind == JOB_ATTACH && other->running && !other->orphan)
			return 0;
	for (unsigned i = 0; i < MODEL_NICS; i++) {
		const struct mnic *nic = &w->cloud.now.nics[i];

		if (nic->state == MNIC_AVAILABLE && !nic->foreign)
			(void)str_copy(c->leftovers[c->leftover_count++], sizeof(c->leftovers[0]), nic->id);
	}
	return 0;
}

static int effect_read(struct world *w, struct call *c)
{
	if (c->job.kind == JOB_LIMITS)
		return make_limits(w, &c->job);
	return c->job.kind == JOB_LIST ? make_view(w, c) : find_leftovers(w, c);
}

/* Or on its way: the cloud lets it have addresses from the moment that it has taken the attach. */
static bool is_attached(const struct mnic *nic)
{
	return nic && (nic->state == MNIC_ATTACHED || nic->state == MNIC_ATTACHING);
}

static int effect_assign(struct world *w, struct call *c)
{
	struct mnic *nic = cloud_nic(w, c->job.nic);
	const struct cloud_want *want = &c->job.wants[0];
	unsigned most = want->count;
	int came;

	if (!is_attached(nic))
		return err_set(&c->err, ERR_NOTFOUND, "cloud", "no NIC %s", c->job.nic);
	if (most > 1 && world_chance(w, w->scenario.faults.partial))
		most = rng_u(&w->rng, 1, most - 1);
	came = cloud_assign_units(w, nic, most, want->len, &c->err);
	for (unsigned i = nic->block_count - (came > 0 ? (unsigned)came : 0); i < nic->block_count && !c->orphan; i++)
		CHECK(cloud_nic_add_block(&c->job.nic_result, &nic->blocks[i]) == 0);
	(void)str_copy(c->job.nic_result.id, sizeof(c->job.nic_result.id), c->job.nic);
	return came < 0 ? -1 : 0;
}

static int effect_recover(struct world *w, struct call *c)
{
	struct mnic *nic = cloud_nic(w, c->job.nic);

	if (!is_attached(nic))
		return err_set(&c->err, ERR_NOTFOUND, "cloud", "no NIC %s", c->job.nic);
	for (unsigned i = 0; i < c->job.count; i++)
		if (cloud_recover_block(w, nic, &c->job.blocks[i], &c->err) == 0 && !c->orphan)
			CHECK(cloud_nic_add_block(&c->job.nic_result, &c->job.blocks[i]) == 0);
	(void)str_copy(c->job.nic_result.id, sizeof(c->job.nic_result.id), c->job.nic);
	return c->job.nic_result.block_count ? 0 : -1;
}

static int effect_create(struct world *w, struct call *c)
{
	const struct mnic *nic = cloud_create(w, &c->job.wants[0], c->job.token, &c->err);

	if (!nic)
		return -1;
	(void)str_copy(c->made, sizeof(c->made), nic->id);
	return 0;
}

static int effect_attach(struct world *w, struct call *c, struct mnic *nic)
{
	if (cloud_attach_nic(w, nic, c->job.slot, &c->err) < 0)
		return -1;
	if (!c->orphan)
		CHECK(cloud_show(w, nic, &c->job.nic_result) == 0);
	return 0;
}

static int effect_nic(struct world *w, struct call *c)
{
	const char *id = c->made[0] ? c->made : c->job.nic;
	struct mnic *nic;

	if (c->job.kind == JOB_SWEEP)
		id = c->leftovers[c->at - 1];
	nic = cloud_nic(w, id);
	if (!nic)
		return c->stage == STAGE_ATTACH ? err_set(&c->err, ERR_NOTFOUND, "cloud", "no NIC %s", id) : 0;
	if (c->stage == STAGE_ATTACH)
		return effect_attach(w, c, nic);
	if (c->stage == STAGE_DETACH)
		return cloud_detach_nic(w, nic, &c->err);
	if (c->stage == STAGE_RELEASE)
		return cloud_release_blocks(w, nic, c->job.blocks, c->job.count, &c->err);
	return cloud_delete_nic(w, nic, &c->err);
}

static int effect_nft(struct world *w, struct call *c)
{
	if (world_chance(w, w->scenario.faults.nft))
		return err_set(&c->err, ERR_INVALID, "nft", "a planted failure");
	kernel_nft_load(w, c->job.batch);
	if (world_chance(w, w->scenario.faults.nft))
		return err_set(&c->err, ERR_RETRY, "nft", "killed behind its commit");
	return 0;
}

static int effect(struct world *w, struct call *c)
{
	switch (c->stage) {
	case STAGE_METADATA:
		return c->job.kind == JOB_GLANCE ? make_view(w, c) : make_identity(w, &c->job);
	case STAGE_READ:
		return effect_read(w, c);
	case STAGE_ASSIGN:
		return effect_assign(w, c);
	case STAGE_RECOVER:
		return effect_recover(w, c);
	case STAGE_CREATE:
		return effect_create(w, c);
	case STAGE_RELEASE:
	case STAGE_ATTACH:
	case STAGE_DETACH:
	case STAGE_DELETE:
		return effect_nic(w, c);
	case STAGE_NFT:
		return effect_nft(w, c);
	case STAGE_LINK_DEL:
		kernel_link_del(w, c->job.ifindex);
		return 0;
	case STAGE_CT_FLUSH: /* the model has no flows */
		return world_chance(w, w->scenario.faults.nft)
			       ? err_set(&c->err, ERR_RETRY, "conntrack", "a planted failure")
			       : 0;
	case STAGE_FORWARD: /* nor others' chains */
	case STAGE_UNTIL_DETACHED:
	case STAGE_END:
		break;
	}
	return 0;
}

static void on_effect(struct world *w, struct call *c)
{
	c->in_flight = false;
	if (c->fate == FATE_OK || c->fate == FATE_LOST_ANSWER)
		c->rc = effect(w, c);
	if (c->orphan)
		call_free(w, c);
}

/* ---- sending and answers ---- */

static void on_send(struct world *w, struct call *c)
{
	struct sim_range range;
	int64_t latency_us;

	if (c->job.deadline_us && w->now_us > c->job.deadline_us) {
		fail_as(w, c, stage_mutates(c->stage) || c->made[0] ? ERR_AMBIGUOUS : ERR_RETRY, "deadline passed");
		return;
	}
	if (!c->failing)
		c->stage = stage_at(c);
	c->fate = draw_fate(w, c);
	if (stage_mutates(c->stage))
		w->cloud.stats.mutations++;
	else
		w->cloud.stats.reads++;
	if (!is_local(c->job.kind))
		world_note(w, "call %s/%u %s fate=%u", job_kind_name(c->job.kind), c->at, c->job.nic,
			   (unsigned)c->fate);
	range = latency_of(w, c->stage);
	latency_us = rng_us(&w->rng, range.low_us, range.high_us);
	c->sent = c->in_flight = true;
	later(w, c, latency_us * rng_u(&w->rng, EFFECT_LOW_PPM, EFFECT_HIGH_PPM) / 1000000, PHASE_EFFECT);
	if (c->fate == FATE_LOST_ANSWER || c->fate == FATE_LOST_REQUEST)
		latency_us += rng_us(&w->rng, ANSWER_TIMEOUT.low_us, ANSWER_TIMEOUT.high_us);
	later(w, c, latency_us, PHASE_ANSWER);
}

static void throttled(struct world *w, struct call *c)
{
	int64_t ceiling = THROTTLE_FIRST << (c->tries < 6 ? c->tries : 6), wait_us;
	struct err err;

	w->cloud.stats.errors[ERR_THROTTLED]++;
	c->tries++;
	wait_us = rng_us(&w->rng, 1, ceiling < THROTTLE_MAX ? ceiling : THROTTLE_MAX);
	if (c->job.deadline_us && w->now_us + wait_us >= c->job.deadline_us) {
		(void)err_set(&err, ERR_THROTTLED, "model", "throttled until the deadline");
		err.retry_after_ms = rng_chance(&w->rng, 500000) ? 2000 : 0;
		give_up(w, c, &err);
		return;
	}
	later(w, c, wait_us, PHASE_SEND);
}

/* Nothing happened, or a read was lost: a provider tries again a few times. */
static void try_again(struct world *w, struct call *c, const char *what)
{
	if (c->tries++ < RETRIES) {
		later_in(w, c, RETRY_WAIT, PHASE_SEND);
		return;
	}
	fail_as(w, c, ERR_RETRY, what);
}

static void next_stage(struct world *w, struct call *c)
{
	if (c->failing && c->stage == STAGE_DETACH) {
		c->stage = STAGE_UNTIL_DETACHED;
		later(w, c, 0, PHASE_SEND);
		return;
	}
	if (c->failing && c->stage == STAGE_UNTIL_DETACHED) {
		c->stage = STAGE_DELETE;
		later(w, c, 0, PHASE_SEND);
		return;
	}
	if (c->failing) {
		finish(w, c);
		return;
	}
	c->at++;
	c->tries = 0;
	if (c->job.kind == JOB_SWEEP)
		c->job.swept = c->at - 1;
	if (stage_at(c) == STAGE_END)
		succeed(w, c);
	else
		later(w, c, 0, PHASE_SEND);
}

static void until_detached(struct world *w, struct call *c)
{
	const struct mnic *nic = cloud_nic(w, c->made[0] ? c->made : c->job.nic);

	if (!nic || nic->state == MNIC_AVAILABLE)
		next_stage(w, c);
	else if (nic->state == MNIC_ATTACHED && c->fate != FATE_OK)
		fail_as(w, c, ERR_RETRY, "still attached");
	else if (nic->state == MNIC_ATTACHED && c->failing)
		give_up(w, c, &c->job.err);
	else if (nic->state == MNIC_ATTACHED)
		succeed(w, c); /* the detach said yes and did nothing: nobody notices here */
	else
		later_in(w, c, w->scenario.latency.poll, PHASE_SEND);
}

static void answered_ok(struct world *w, struct call *c)
{
	if (c->stage == STAGE_UNTIL_DETACHED)
		until_detached(w, c);
	else if (c->fate == FATE_OK && c->rc < 0)
		give_up(w, c, &c->err);
	else
		next_stage(w, c);
}

static void on_answer(struct world *w, struct call *c)
{
	bool lost_matters = stage_mutates(c->stage) && !c->failing && c->job.kind != JOB_SWEEP;

	switch (c->fate) {
	case FATE_OK:
	case FATE_NO_EFFECT:
		answered_ok(w, c);
		return;
	case FATE_LOST_REQUEST:
	case FATE_LOST_ANSWER:
		if (lost_matters)
			fail_as(w, c, ERR_AMBIGUOUS, "no answer");
		else
			try_again(w, c, "no answer");
		return;
	case FATE_UNAVAILABLE:
		try_again(w, c, "unavailable");
		return;
	case FATE_DENIED:
		fail_as(w, c, ERR_AUTH, "denied");
		return;
	case FATE_THROTTLED:
		throttled(w, c);
		return;
	case FATE_COUNT:
		break;
	}
	CHECK_NEVER("fate");
}

static void on_call(struct world *w, uint64_t arg)
{
	struct call *c = find(w, arg / PHASE_COUNT);
	enum phase phase = (enum phase)(arg % PHASE_COUNT);

	if (!c)
		return;
	if (phase == PHASE_SEND)
		on_send(w, c);
	else if (phase == PHASE_EFFECT)
		on_effect(w, c);
	else
		on_answer(w, c);
}

/* ---- what the daemon sees ---- */

static void check_mutation(struct world *w, const struct job *job)
{
	struct mnic_watch *watch;

	if (!job->intent)
		world_fail(w, "a mutation has an intent", "%s of slot %u", job_kind_name(job->kind), job->slot);
	for (const struct call *c = w->executor.calls; c; c = c->next)
		if (!c->orphan && is_mutation(c->job.kind) && c->job.slot == job->slot)
			world_fail(w, "one mutation per NIC", "%s and %s of slot %u", job_kind_name(c->job.kind),
				   job_kind_name(job->kind), job->slot);
	if (job->kind == JOB_ATTACH)
		return;
	watch = cloud_watch(w, job->nic);
	if (watch->in_flight)
		world_fail(w, "one mutation per NIC", "%s of %s", job_kind_name(job->kind), job->nic);
	if (watch->unclear)
		world_fail(w, "no mutation before an unclear one was read back", "%s of %s", job_kind_name(job->kind),
			   job->nic);
	watch->in_flight++;
	invariants_taking(w, job);
}

int executor_submit_take(struct executor *ex, struct job *job, struct err *err)
{
	struct world *w = sim_world;
	struct call *c, **tail = &ex->calls;

	if (w->dying)
		return err_set(err, ERR_RETRY, "model", "the daemon is dead");
	if (is_mutation(job->kind))
		check_mutation(w, job);
	c = calloc(1, sizeof(*c));
	CHECK(c);
	c->id = ++ex->next_id;
	c->job = *job;
	c->job.submitted_us = w->now_us + 1; /* the clock goes on within a turn */
	c->view_at_us = w->now_us;
	memset(job, 0, sizeof(*job));
	while (*tail)
		tail = &(*tail)->next;
	*tail = c;
	w->counters.calls[c->job.kind]++;
	start_waiting(w);
	if (is_mutation(c->job.kind))
		(void)world_crash_at(w, CRASH_SUBMIT_AFTER);
	return 0;
}

/* What the rules remember of a result that the daemon takes in. */
static void watch_result(struct world *w, const struct finished *done)
{
	const struct job *job = &done->job;
	struct mnic_watch *watch;

	if (job->kind == JOB_LIST && job->rc == 0) { /* a glance is not authoritative */
		for (unsigned i = 0; i < ARRAY_SIZE(w->cloud.watch); i++)
			w->cloud.watch[i].unclear = false;
		for (unsigned i = 0; i < MODEL_STOLEN; i++)
			w->cloud.stolen[i].lists +=
				w->cloud.stolen[i].at_us && w->cloud.stolen[i].at_us < done->view_at_us;
	}
	if (!is_mutation(job->kind))
		return;
	w->cloud.answered_us = w->now_us;
	if (job->kind == JOB_ATTACH)
		return;
	watch = cloud_watch(w, job->nic);
	watch->in_flight = 0;
	watch->unclear = job->rc < 0 && job->err.class == ERR_AMBIGUOUS;
}

bool executor_next(struct executor *ex, struct job *ret)
{
	struct world *w = sim_world;
	struct finished first;

	if (w->dying || !ex->done_count)
		return false;
	first = ex->done[0];
	*ret = first.job;
	ex->done_count--;
	memmove(ex->done, ex->done + 1, ex->done_count * sizeof(*ex->done));
	if (is_mutation(ret->kind) && world_crash_at(w, CRASH_RESULT_TAKEN)) {
		job_done(ret);
		return false;
	}
	watch_result(w, &first);
	return true;
}

/* ---- life ---- */

void executor_init(struct world *w)
{
	w->executor.next_id = 1;
}

void executor_kill(struct world *w)
{
	struct call *next;

	for (struct call *c = w->executor.calls; c; c = next) {
		next = c->next;
		if (c->orphan)
			continue;
		c->orphan = true;
		/* A thread that has the job sends it, unless the kill comes before. */
		if ((c->sent ? !c->in_flight : !c->running) || !rng_chance(&w->rng, SENT_PPM))
			call_free(w, c);
	}
	for (unsigned i = 0; i < w->executor.done_count; i++)
		job_done(&w->executor.done[i].job);
	w->executor.done_count = 0;
	memset(w->cloud.watch, 0, sizeof(w->cloud.watch));
}

void executor_done(struct world *w)
{
	while (w->executor.calls)
		call_free(w, w->executor.calls);
	for (unsigned i = 0; i < w->executor.done_count; i++)
		job_done(&w->executor.done[i].job);
	free(w->executor.done);
}

unsigned executor_orphans(const struct world *w)
{
	unsigned count = 0;

	for (const struct call *c = w->executor.calls; c; c = c->next)
		count += c->orphan;
	return count;
}
