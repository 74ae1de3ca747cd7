/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/ipamd.h"

#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/log.h"
#include "berth/str.h"
#include "ipamd/wanted.h"

#define SWEEP_US     (60 * USEC_PER_SEC)   /* slow look at everything, for what netlink did not tell */
#define RETRY_US     (5 * USEC_PER_SEC)    /* after a sync that something kept from being complete */
#define AGAIN_US     (100 * USEC_PER_MSEC) /* after one that met a change ... */
#define AGAIN_MAX    10U                   /* ... in a row: who changes links all the time costs RETRY_US */
#define LINK_LATE_US (30 * USEC_PER_SEC)   /* attach to link: a few seconds; the other CNIs give up after 30 s */
#define NFT_US       (10 * USEC_PER_SEC)   /* a batch takes 12-30 ms; a loaded node is given time */

/* ---- the kernel and nft ---- */

static void keep_nics(struct ipamd *d, const struct hostnet_want *want)
{
	memset(d->host_nics, 0, sizeof(d->host_nics));
	for (unsigned i = 0; i < want->nic_count; i++)
		d->host_nics[want->nics[i].slot] = want->nics[i];
}

static void submit_nft(struct ipamd *d, const char *text, int64_t now_us)
{
	struct job job = { .kind = JOB_NFT, .deadline_us = now_us + NFT_US, .batch = strdup(text) };
	char *running = strdup(text);
	struct err err;

	if (!job.batch || !running)
		err_set(&err, ERR_RETRY, "ipamd", "no memory for the nft batch");
	if (!job.batch || !running || ipamd_submit(d, &job, &err) < 0) {
		backoff_fail(d, &d->nft, &err, now_us);
		free(running);
		job_done(&job);
		return;
	}
	free(d->nft_running);
	d->nft_running = running;
	d->nft_toucher = 0;
}

void hostwork_nft_finish(struct ipamd *d, struct job *job, int64_t now_us)
{
	d->host_dirty = true;
	if (job->rc < 0) {
		log_error("cannot load the nft table: secondary NICs, SNAT and ports of the node do not work",
			  LOG_ERR_FMT, LOG_ERR_ARGS(&job->err));
		backoff_fail(d, &d->nft, &job->err, now_us);
		free(take_ptr(d->nft_running));
		/* One that was killed may have been behind its commit: which table stands is not known. */
		if (job->err.class == ERR_RETRY)
			free(take_ptr(d->nft_applied));
		confirm_fail(d, &job->err);
		return;
	}
	backoff_ok(&d->nft);
	free(d->nft_applied);
	d->nft_applied = take_ptr(d->nft_running);
	d->nft_pid = job->nft_pid;
	hostwork_nft_check(d, now_us);
}

/* ---- READY is earned here ---- */

struct promote {
	struct ipamd *d;
	struct prefix list[CLOUD_BLOCKS_MAX];
	unsigned count;
};

static int find_pending(const struct pool_block_view *block, void *arg)
{
	struct promote *p = arg;
	const struct pool_nic *nic = pool_nic_by_slot(p->d->pool, block->nic_slot);

	if (block->state == BLOCK_PENDING && nic && nic->state == NIC_READY)
		p->list[p->count++] = block->prefix;
	return p->count == CLOUD_BLOCKS_MAX;
}

static void promote_nic(struct ipamd *d, const struct pool_nic *nic, int64_t now_us)
{
	const struct hostnet_nic *host = &d->host_nics[nic->slot];

	if (nic->state != NIC_CONFIGURING)
		return;
	if (host->ready) {
		log_info("NIC ready", "nic=%s slot=%u link=%s", nic->id, nic->slot, host->ifname);
		pool_nic_set_state(d->pool, nic->slot, NIC_READY, now_us);
	} else if (now_us - nic->since_us > LINK_LATE_US) {
		char mac[MACADDR_STRLEN];

		log_error("the cloud says attached, but the kernel has no such link", "nic=%s slot=%u mac=%s", nic->id,
			  nic->slot, macaddr_str(&nic->mac, mac));
	}
}

static void promote_block(struct ipamd *d, const struct prefix *prefix, int64_t now_us)
{
	struct pool_block_view block;

	pool_block_set_state(d->pool, prefix, BLOCK_READY, now_us);
	if (pool_block_get(d->pool, prefix, &block))
		mutations_grown(d, block.nic_slot, now_us);
}

/* Kernel and nft know everything that the pool holds at this moment. */
static void promote(struct ipamd *d, int64_t now_us)
{
	struct promote p = { .d = d };
	const struct pool_nic *nic = NULL;

	while ((nic = pool_nic_next(d->pool, nic)))
		promote_nic(d, nic, now_us);
	do {
		p.count = 0;
		(void)pool_blocks(d->pool, find_pending, &p);
		for (unsigned i = 0; i < p.count; i++)
			promote_block(d, &p.list[i], now_us);
	} while (p.count == CLOUD_BLOCKS_MAX);
}

/* The nft table is there; of a look that was cut short the next one makes the rest. */
static void kernel_has_it(struct ipamd *d, const struct wanted *w, const struct hostnet_report *report, int64_t now_us)
{
	if (!report->whole)
		return;
	ports_loaded(d, &w->ports, now_us);
	promote(d, now_us);
	confirm_done(d);
}

/* ---- links that go ---- */

static int submit_delete(struct ipamd *d, const char *ifname, int index, struct err *err)
{
	struct job job = { .kind = JOB_LINK_DEL, .ifindex = index };

	(void)str_copy(job.ifname, sizeof(job.ifname), ifname);
	return ipamd_submit(d, &job, err);
}

/* The one that has the name at this moment, not the one that will have it when the job runs: an ADD may come at once, of
 * the same sandbox or, where names follow from pods, of the next one. */
static void delete_now_there(struct ipamd *d, const char *ifname, const char *kind)
{
	struct err err;
	int index;

	if (hostnet_link_index(d->hostnet, ifname, kind, &index, &err) < 0 ||
	    (index && submit_delete(d, ifname, index, &err) < 0))
		log_warn("a pod's link stays until its namespace goes", "link=%s " LOG_ERR_FMT, ifname,
			 LOG_ERR_ARGS(&err));
}

static void delete_orphan(const struct net_link *ifb, void *arg)
{
	struct err err;

	if (submit_delete(arg, ifb->name, ifb->index, &err) == 0)
		log_info("the limit of a pod that is gone goes too", "link=%s", ifb->name);
}

/* One object in the way (a foreign route, say) must not keep the others from serving: nics[].ready tells. */
static void sync_failed(struct ipamd *d, const struct err *err, int64_t now_us)
{
	bool changed = err->class == ERR_RETRY || err->class == ERR_NOTFOUND; /* a link that went meanwhile */
	bool again = changed && d->host_retries < AGAIN_MAX;

	if (again)
		log_debug("the host changed under our look at it", LOG_ERR_FMT, LOG_ERR_ARGS(err));
	else
		log_error("cannot make the kernel match in full", LOG_ERR_FMT, LOG_ERR_ARGS(err));
	d->host_due_us = now_us + (again ? AGAIN_US : RETRY_US);
	d->host_retries++;
}

static void sync_all(struct ipamd *d, struct wanted *w, struct strbuf *text, int64_t now_us)
{
	struct hostnet_report report = { 0 };
	struct err err;

	if (wanted_collect(w) < 0) {
		log_error("no memory to look at the host", "");
		return;
	}
	w->want.thorough = d->host_thorough;
	w->want.orphan = delete_orphan;
	w->want.orphan_arg = d;
	d->host_dirty = d->host_thorough = false;
	if (hostnet_sync(d->hostnet, &w->want, &report, &err) < 0)
		sync_failed(d, &err, now_us);
	else
		d->host_retries = 0;
	if (!w->services_seen && d->host_due_us > now_us + RETRY_US)
		d->host_due_us = now_us + RETRY_US;
	keep_nics(d, &w->want);
	hostwork_learn_prefix(d);
	d->stats.repairs += report.added + report.removed;
	if (!wanted_is_seen(w))
		return; /* of a NIC that nobody has seen yet the table would say that it is not there */
	if (wanted_render(w, text) < 0)
		log_error("no memory to render the nft table", "");
	else if (d->nft_applied && str_equal(d->nft_applied, text->text))
		kernel_has_it(d, w, &report, now_us);
	else if (!d->running[JOB_NFT] && d->nft.not_before_us <= now_us)
		submit_nft(d, text->text, now_us);
	else
		d->host_dirty = d->nft.not_before_us > now_us; /* its result looks again */
}

static void sync_host(struct ipamd *d, int64_t now_us)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	struct wanted w = { .d = d };

	sync_all(d, &w, &text, now_us);
	wanted_done(&w);
}

int64_t hostwork_reconcile(struct ipamd *d, int64_t now_us)
{
	if (!d->listed)
		return INT64_MAX; /* what a daemon before us left is right until we know better */
	if (d->host_sweep_us <= now_us) {
		d->host_sweep_us = now_us + SWEEP_US;
		d->host_dirty = d->host_thorough = true;
	}
	if (d->host_due_us <= now_us)
		d->host_dirty = true;
	if (d->host_dirty && d->nft.not_before_us <= now_us) {
		d->host_due_us = d->host_sweep_us;
		sync_host(d, now_us);
	}
	return d->host_dirty && d->nft.not_before_us > now_us ? d->nft.not_before_us : d->host_due_us;
}

/* ---- pods ---- */

/* Blocks that hold the addresses, or the range that only this node knows. Nobody's address any more: a block of its own,
 * which the next sync takes away. */
static void blocks_of(const struct ipamd *d, const struct ipaddr addrs[static IP_FAMILIES],
		      struct prefix ret[static IP_FAMILIES])
{
	struct pool_block_view block;

	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		ret[i] = (struct prefix){ 0 };
		if (egress_has(&addrs[i]))
			ret[i] = egress_range(addrs[i].family);
		else if (addrs[i].family != IP_NONE)
			ret[i] = pool_block_of(d->pool, &addrs[i], &block) ? block.prefix : prefix_host(&addrs[i]);
	}
}

void hostwork_pod_down(struct ipamd *d, const struct ipaddr addrs[static IP_FAMILIES], const char *host_ifname)
{
	struct prefix blocks[IP_FAMILIES];
	char shape[LEASE_IFNAME_SIZE];
	struct err err;

	blocks_of(d, addrs, blocks);
	if (hostnet_pod_down(d->hostnet, host_ifname, addrs, blocks, &err) < 0) {
		log_warn("cannot take a pod's route away", "link=%s " LOG_ERR_FMT, host_ifname, LOG_ERR_ARGS(&err));
		d->host_dirty = true;
	}
	hostnet_shape_ifname(host_ifname, shape);
	delete_now_there(d, host_ifname, "veth");
	delete_now_there(d, shape, "ifb");
}

/* ---- leases ---- */

/* A pod whose sandbox was made anew has the name of its predecessor, whose DEL comes late. */
static int has_same_name(const struct lease *lease, void *arg)
{
	return str_equal(lease->host_ifname, arg);
}

/* Before the first list the leases are not in the pool yet. */
static bool is_name_of_another(const struct ipamd *d, char *ifname)
{
	for (unsigned i = 0; i < d->early_count; i++)
		if (has_same_name(&d->early[i], ifname))
			return true;
	return pool_leases(d->pool, has_same_name, ifname) != 0;
}

void hostwork_lease_down(struct ipamd *d, const struct lease *lease)
{
	struct ipaddr addrs[IP_FAMILIES];
	struct prefix blocks[IP_FAMILIES];
	char ifname[LEASE_IFNAME_SIZE];
	struct err err;

	guards_changed(d, lease);
	lease_host_ifname(lease, ifname);
	egress_addrs(lease, addrs);
	blocks_of(d, addrs, blocks);
	d->host_dirty = d->host_dirty || lease->runtime.port_count > 0;
	if (!lease->delegated && !(lease->host_ifname[0] && is_name_of_another(d, ifname))) {
		hostwork_pod_down(d, addrs, ifname);
		return;
	}
	/* The link is another's, or there is none of ours. */
	if ((lease->delegated ? hostnet_delegated_down(d->hostnet, addrs, blocks, &err)
			      : hostnet_pod_down(d->hostnet, ifname, addrs, blocks, &err)) < 0) {
		log_warn("cannot take a pod's route away", "container=%s " LOG_ERR_FMT, lease->key.container,
			 LOG_ERR_ARGS(&err));
		d->host_dirty = true;
	}
}
