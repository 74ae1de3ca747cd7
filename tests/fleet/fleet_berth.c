/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: a node of berth
 *
 * struct ipamd as the daemon has it, driven by the daemon's own cloudwork.c and mutations.c: what is
 * listed, planned, backed off and given up is decided there. Stand-ins: the executor starts a job as a sequence of calls
 * (fleet_jobs.c) at once (the real one has a thread for each that may be under way), the store forgets and the kernel
 * knows nothing (fleet_standins.c) but takes its time.
 *
 * A turn is ipamd_reconcile()'s: rest addresses, host, waiters, cloud.
 */
#include "tests/fleet/fleet_impl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "berth/str.h"
#include "cloud/aws/api.h"
#include "cloud/budget.h"
#include "cloud/retry.h"
#include "ipamd/ipamd.h"

#define HOST_US  (25 * USEC_PER_MSEC) /* links, routes and an nft batch of 12-30 ms before a block is READY */
#define UNITS_AT 0x0a000000U          /* 10.0.0.0: block number n of a node begins n blocks behind it */

static_assert(FLEET_WARM_AUTO == CONFIG_WARM_AUTO, "one word for it");

struct executor {
	struct fleet *f;
	struct fleet_node *node;
};

struct berth_node {
	struct ipamd *d;
	struct cloud cloud; /* only stats() is asked of it, and whether it can glance */
	struct cloud_stats stats;
	struct executor executor;
	struct budget budget;
	struct random random;
	int64_t host_us; /* when the kernel and nft will know what the pool holds; 0: they do */
};

/* ---- stand-ins: the executor ---- */

static bool claim_nic(struct fleet *f, struct fleet_op *op, const struct job *job);

static void begin(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	(void)class;
	berth_op_start(f, op);
}

int executor_submit_take(struct executor *ex, struct job *job, struct err *err)
{
	struct fleet_op *op = op_new(ex->f, ex->node, NULL);
	struct job *copy = op ? malloc(sizeof(*copy)) : NULL;

	if (!copy || !claim_nic(ex->f, op, job)) {
		free(copy);
		if (op)
			op_free(ex->f, op);
		return err_set(err, ERR_RETRY, "sim", "no memory for a job");
	}
	*copy = *job;
	copy->submitted_us = ex->f->now_us;
	memset(job, 0, sizeof(*job));
	op->job = copy;
	op->step = begin;
	call_after(ex->f, op, ACTION_COUNT, 0); /* its result never comes within the turn that submits it */
	return 0;
}

/* As in ipamd/reconcile.c, which knows all of the daemon. */
int ipamd_submit(struct ipamd *d, struct job *job, struct err *err)
{
	enum job_kind kind = job->kind;

	if (executor_submit_take(d->executor, job, err) < 0)
		return -1;
	d->running[kind]++;
	return 0;
}

/* ---- what the cloud answers, in the daemon's words ---- */

static struct prefix block_of(const struct fleet *f, uint32_t unit)
{
	unsigned len = f->options->instance.unit_len;
	struct ipaddr addr = ipaddr_v4(UNITS_AT + (unit << (32U - len)));

	return prefix_of(&addr, len);
}

static uint32_t unit_of(const struct fleet *f, const struct prefix *block)
{
	const struct prefix base = { .addr = ipaddr_v4(UNITS_AT), .len = 8 };

	return (uint32_t)(prefix_offset(&base, &block->addr) >> (32U - f->options->instance.unit_len));
}

static void nic_id(const struct cnic *nic, char ret[static CLOUD_ID_SIZE])
{
	(void)snprintf(ret, CLOUD_ID_SIZE, "eni-%08x", nic->id);
}

/* Blocks from @first on. */
static bool describe(struct fleet *f, const struct cnic *nic, unsigned first, struct cloud_nic *ret)
{
	nic_id(nic, ret->id);
	ret->slot = nic->slot;
	ret->primary = nic->slot == 0;
	ret->attached = nic->state == CNIC_ATTACHED && f->now_us >= nic->settled_us;
	for (unsigned i = first; i < nic->unit_count; i++) {
		const struct prefix block = block_of(f, nic->units[i]);

		if (cloud_nic_add_block(ret, &block) < 0)
			return false;
	}
	return true;
}

static bool fill_view(struct fleet *f, struct fleet_node *node, struct cloud_view *ret)
{
	for (struct cnic *nic = node->nics; nic; nic = nic->of_node) {
		struct cloud_nic *added;

		(void)cloud_settle(f, nic);
		if (nic->state == CNIC_AVAILABLE)
			continue;
		added = cloud_view_add_nic(ret);
		if (!added || !describe(f, nic, 0, added))
			return false;
	}
	return true;
}

static struct cloud_limits limits_of(const struct fleet_instance *instance)
{
	return (struct cloud_limits){
		.nics_max = instance->nics_max,
		.can_attach_nic = instance->nics_max > 1,
		.units[0] = { instance->units_per_nic, instance->unit_len, instance->unit_len },
	};
}

static bool fill_result(struct fleet *f, struct fleet_op *op, struct job *job)
{
	switch (job->kind) {
	case JOB_IDENTIFY:
		job->identity = calloc(1, sizeof(*job->identity));
		return job->identity != NULL;
	case JOB_LIMITS:
		job->limits = limits_of(&f->options->instance);
		return true;
	case JOB_LIST:
	case JOB_GLANCE:
		return fill_view(f, op->node, &job->view);
	case JOB_ASSIGN:
		return describe(f, op->cnic, op->first_unit, &job->nic_result);
	case JOB_ATTACH:
		return describe(f, op->cnic, 0, &job->nic_result);
	case JOB_SWEEP:
		job->swept = op->count;
		return true;
	case JOB_RELEASE:
	case JOB_DETACH:
	case JOB_RECOVER:
	case JOB_NFT:
	case JOB_LINK_DEL:
	case JOB_CT_FLUSH:
	case JOB_FORWARD:
	case JOB_KIND_COUNT:
		break;
	}
	return true;
}

/* What a job is about, in the cloud's words. */
static bool claim_nic(struct fleet *f, struct fleet_op *op, const struct job *job)
{
	struct fleet_node *node = op->node;

	op->slot = job->slot;
	op->count = job->kind == JOB_ASSIGN || job->kind == JOB_ATTACH ? job->wants[0].count : 0;
	if (job->kind == JOB_ASSIGN || job->kind == JOB_RELEASE || job->kind == JOB_DETACH) {
		struct cnic *nic = cloud_nic(node, job->slot);

		if (nic)
			cloud_claim(op, nic);
	}
	if (job->kind != JOB_RELEASE)
		return true;
	op->units = calloc(job->count, sizeof(*op->units));
	if (!op->units)
		return false;
	for (unsigned i = 0; i < job->count; i++)
		op->units[i] = unit_of(f, &job->blocks[i]);
	op->count = job->count;
	return true;
}

void op_free(struct fleet *f, struct fleet_op *op)
{
	if (op->job)
		job_done(op->job);
	free(op->job);
	free(op->units);
	cloud_unclaim(f, op);
	f->ops--;
	free(op);
}

static void finish(struct ipamd *d, struct job *job, int64_t now_us)
{
	bool changes = job->kind == JOB_ASSIGN || job->kind == JOB_RECOVER || job->kind == JOB_RELEASE ||
		       job->kind == JOB_ATTACH || job->kind == JOB_DETACH;

	if (changes)
		mutations_finish(d, job, now_us);
	else
		cloudwork_finish(d, job, now_us);
}

void berth_op_done(struct fleet *f, struct fleet_op *op, enum err_class class)
{
	struct fleet_node *node = op->node;
	struct berth_node *berth = node->berth;
	struct ipamd *d = berth->d;
	struct job *job = op->job;

	job->done_us = f->now_us;
	if (class == ERR_NONE && !fill_result(f, op, job)) {
		f->failed = true;
		class = ERR_RETRY;
	}
	job->rc = class == ERR_NONE ? 0 : err_set(&job->err, class, "sim", "%s", err_class_name(class));
	cloud_unclaim(f, op);
	d->running[job->kind]--;
	finish(d, job, f->now_us);
	op_free(f, op);
	berth_turn(f, node);
	node_account(f, node);
}

/* ---- turns ---- */

struct pending {
	struct prefix list[CLOUD_BLOCKS_MAX];
	unsigned slots[CLOUD_BLOCKS_MAX];
	unsigned count;
};

static int find_pending(const struct pool_block_view *block, void *arg)
{
	struct pending *pending = arg;

	if (block->state != BLOCK_PENDING || pending->count == ARRAY_SIZE(pending->list))
		return 0;
	pending->slots[pending->count] = block->nic_slot;
	pending->list[pending->count++] = block->prefix;
	return 0;
}

static void promote(struct ipamd *d, int64_t now_us)
{
	struct pending pending = { .count = 0 };

	for (const struct pool_nic *nic = pool_nic_next(d->pool, NULL); nic; nic = pool_nic_next(d->pool, nic))
		if (nic->state == NIC_CONFIGURING)
			pool_nic_set_state(d->pool, nic->slot, NIC_READY, now_us);
	(void)pool_blocks(d->pool, find_pending, &pending);
	for (unsigned i = 0; i < pending.count; i++) {
		pool_block_set_state(d->pool, &pending.list[i], BLOCK_READY, now_us);
		mutations_grown(d, pending.slots[i], now_us);
	}
}

/* hostwork_reconcile(): what is new reaches kernel and nft in one batch, and a batch takes its time. */
static int64_t host(struct berth_node *berth, int64_t now_us)
{
	if (berth->host_us != 0 && now_us >= berth->host_us) {
		berth->host_us = 0;
		promote(berth->d, now_us);
	}
	if (berth->host_us == 0 && berth->d->host_dirty) {
		berth->d->host_dirty = false;
		berth->host_us = now_us + HOST_US;
	}
	return berth->host_us ? berth->host_us : INT64_MAX;
}

static bool has_address(const struct ipamd *d)
{
	struct pool_counts counts;

	pool_count(d->pool, IP_V4, &counts);
	return counts.free > 0 || counts.leased > 0;
}

void berth_arrived(struct fleet *f, struct fleet_node *node)
{
	demand_arrived(&node->berth->d->demand, f->now_us);
}

void berth_turn(struct fleet *f, struct fleet_node *node)
{
	struct berth_node *berth = node->berth;
	struct ipamd *d = berth->d;
	int64_t wake = pool_tick(d->pool, f->now_us);

	wake = clock_earlier(wake, host(berth, f->now_us));
	if (!node->ready && d->listed && has_address(d))
		node_ready(f, node);
	wake = clock_earlier(wake, pods_serve(f, node));
	d->waiting = node->ready ? node->waiting : 0;
	wake = clock_earlier(wake, cloudwork_reconcile(d, f->now_us));
	node_wake(f, node, wake);
}

static struct lease_key key_of(unsigned pod)
{
	struct lease_key key = { .network = "berth", .ifname = "eth0" };

	(void)snprintf(key.container, sizeof(key.container), "pod%u", pod);
	return key;
}

bool berth_lease(struct fleet *f, struct fleet_node *node, unsigned pod)
{
	static const struct pod_name name = { .namespace = "sim" };
	struct ipamd *d = node->berth->d;
	const struct lease_key key = key_of(pod);
	bool is_new;

	if (!d->listed || !pool_lease(d->pool, &key, &name, "", f->now_us, &is_new))
		return false;
	(void)pool_lease_confirm(d->pool, &key, f->now_us);
	return true;
}

void berth_release(struct fleet *f, struct fleet_node *node, unsigned pod)
{
	const struct lease_key key = key_of(pod);

	(void)pool_lease_release(node->berth->d->pool, &key, f->now_us, NULL);
}

/* ---- life ---- */

static void read_stats(struct cloud *cloud, struct cloud_stats *ret)
{
	const struct berth_node *berth = (const void *)((const char *)cloud - offsetof(struct berth_node, cloud));

	*ret = berth->stats;
}

/* Only that it is there is asked: the executor answers. */
static int glance(struct cloud *cloud, int64_t deadline_us, struct cloud_view *ret, struct err *err)
{
	(void)cloud;
	(void)deadline_us;
	(void)ret;
	return err_set(err, ERR_BUG, "sim", "the executor answers");
}

static const struct cloud_ops two_ops = { .name = "sim", .stats = read_stats, .glance = glance };

static uint64_t node_random(void *ctx)
{
	return dice_next(ctx);
}

struct budget *berth_budget(struct fleet_node *node)
{
	return &node->berth->budget;
}

const struct random *berth_random(struct fleet_node *node)
{
	return &node->berth->random;
}

void berth_count(struct fleet_node *node, enum err_class class)
{
	node->berth->stats.errors[class]++;
}

static struct ipamd *new_daemon(struct fleet *f, struct fleet_node *node)
{
	struct config config;
	struct ipamd *d;

	config_defaults(&config);
	config.max_pods = f->options->instance.max_pods;
	config.min_ips = f->policy->min_ips;
	if (f->policy->release_delay_us)
		config.release_delay_us = f->policy->release_delay_us;
	config.warm_ips = f->policy->warm_ips;
	d = ipamd_new(&config, f->options->no_jitter ? 1 : dice_next(&node->dice), f->now_us);
	if (d) {
		d->cloud = &node->berth->cloud;
		d->executor = &node->berth->executor;
	}
	return d;
}

void berth_boot(struct fleet *f, struct fleet_node *node)
{
	struct berth_node *berth = calloc(1, sizeof(*berth));

	if (!berth) {
		f->failed = true;
		return;
	}
	node->berth = berth;
	berth->cloud.ops = &two_ops;
	berth->random = (struct random){ node_random, &node->dice };
	berth->executor = (struct executor){ .f = f, .node = node };
	berth->d = new_daemon(f, node);
	if (!berth->d || budget_init(&berth->budget, ec2_budget_limits, &f->clock, &berth->random, NULL) < 0) {
		f->failed = true;
		return;
	}
	berth_turn(f, node);
}

unsigned berth_cut_off(const struct fleet_node *node)
{
	struct pool_counts counts;

	pool_count(node->berth->d->pool, IP_V4, &counts);
	return counts.lost;
}

void berth_die(struct fleet_node *node)
{
	struct berth_node *berth = node->berth;

	budget_done(&berth->budget);
	ipamd_free(berth->d);
	free(berth);
	node->berth = NULL;
}
