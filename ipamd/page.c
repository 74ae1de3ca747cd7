/* SPDX-License-Identifier: Apache-2.0 */
/* The /metrics page. Names and labels are documented in docs/metrics.md. */
#include "ipamd/ipamd.h"

#include <stdio.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/str.h"
#include "berth/version.h"
#include "ipamd/forward.h"

static void gauge(struct strbuf *out, const char *name, const char *help, uint64_t value)
{
	metrics_family(out, name, "gauge", help);
	metrics_u64(out, name, "", value);
}

static void counter(struct strbuf *out, const char *name, const char *help, uint64_t value)
{
	metrics_family(out, name, "counter", help);
	metrics_u64(out, name, "", value);
}

static const char *const family_names[IP_FAMILIES] = { "ipv4", "ipv6" };

/* One sample for each family that is served. */
static void planned(const struct ipamd *d, struct strbuf *out, const char *name,
		    const unsigned values[static IP_FAMILIES])
{
	char label[32];

	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		if (!pool_serves(d->pool, ip_family_at(i)))
			continue;
		(void)snprintf(label, sizeof(label), "family=\"%s\"", family_names[i]);
		metrics_u64(out, name, label, values[i]);
	}
}

/* Also of a family that is not served while pods have addresses of it. */
static void held(const struct ipamd *d, struct strbuf *out, enum ip_family family)
{
	static const char *const states[] = { "free", "leased", "cooling", "pending", "lost" };
	unsigned counts[ARRAY_SIZE(states)];
	struct pool_counts c;
	char label[64];

	pool_count(d->pool, family, &c);
	if (!pool_serves(d->pool, family) && c.leased == 0)
		return;
	memcpy(counts, (unsigned[]){ c.free, c.leased, c.cooling, c.pending, c.lost }, sizeof(counts));
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		(void)snprintf(label, sizeof(label), "family=\"%s\",state=\"%s\"", family_names[ip_index(family)],
			       states[i]);
		metrics_u64(out, "berth_addresses", label, counts[i]);
	}
}

/* Of a family that new pods lack, or pods that run. */
static void egress(const struct ipamd *d, struct strbuf *out)
{
	struct prefix ranges[IP_FAMILIES];
	char label[32];

	egress_wanted(d, ranges);
	metrics_family(out, "berth_egress_pods", "gauge",
		       "Pods that reach that family with an address that only this node knows.");
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		(void)snprintf(label, sizeof(label), "family=\"%s\"", family_names[i]);
		if (ranges[i].addr.family != IP_NONE)
			metrics_u64(out, "berth_egress_pods", label, egress_count(d->pool, ip_family_at(i)));
	}
	metrics_family(out, "berth_egress_refused_total", "counter",
		       "Pods that got none of those because all were taken or at rest.");
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		(void)snprintf(label, sizeof(label), "family=\"%s\"", family_names[i]);
		if (ranges[i].addr.family != IP_NONE)
			metrics_u64(out, "berth_egress_refused_total", label, d->egress.exhausted[i]);
	}
}

static void addresses(const struct ipamd *d, struct strbuf *out)
{
	char label[32];

	metrics_family(out, "berth_addresses", "gauge", "Addresses of this node by family and state.");
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		held(d, out, ip_family_at(i));
	metrics_family(out, "berth_addresses_wanted", "gauge",
		       "Addresses that the last plan wanted to have leased, waited for or warm.");
	planned(d, out, "berth_addresses_wanted", d->plan.wanted);
	metrics_family(out, "berth_addresses_supply", "gauge",
		       "Addresses that the last plan counted on: free, leased, pending, incoming.");
	planned(d, out, "berth_addresses_supply", d->plan.supply);
	metrics_family(out, "berth_paused", "gauge", "1 for what an operator has paused.");
	for (unsigned i = PAUSE_NONE + 1; i < PAUSE_COUNT; i++) {
		(void)snprintf(label, sizeof(label), "what=\"%s\"", pause_name((enum pause)i));
		metrics_u64(out, "berth_paused", label, d->pause == i);
	}
	egress(d, out);
	gauge(out, "berth_pods_waiting", "ADD requests that wait for an address.", d->waiting);
}

static void nics(const struct ipamd *d, struct strbuf *out)
{
	const struct pool_nic *nic = NULL;
	unsigned counts[NIC_STATE_COUNT] = { 0 };
	char label[64];

	while ((nic = pool_nic_next(d->pool, nic)))
		counts[nic->state]++;
	metrics_family(out, "berth_nics", "gauge", "Network interfaces of this node by state.");
	for (unsigned i = 0; i < NIC_STATE_COUNT; i++) {
		(void)snprintf(label, sizeof(label), "state=\"%s\"", nic_state_name((enum nic_state)i));
		metrics_u64(out, "berth_nics", label, counts[i]);
	}
}

static void requests(const struct ipamd *d, struct strbuf *out)
{
	char label[64];

	metrics_family(out, "berth_add_duration_seconds", "histogram", "ADD inside the daemon, waiting included.");
	metrics_histogram(out, "berth_add_duration_seconds", "result=\"ok\"", &d->stats.add_ok);
	metrics_histogram(out, "berth_add_duration_seconds", "result=\"failed\"", &d->stats.add_failed);
	metrics_family(out, "berth_del_duration_seconds", "histogram", "DEL inside the daemon.");
	metrics_histogram(out, "berth_del_duration_seconds", "", &d->stats.del);
	metrics_family(out, "berth_add_failures_total", "counter", "ADDs without an address by reason.");
	for (unsigned i = FAIL_NONE + 1; i < FAIL_REASON_COUNT; i++) {
		(void)snprintf(label, sizeof(label), "reason=\"%s\"", fail_reason_name((enum fail_reason)i));
		metrics_u64(out, "berth_add_failures_total", label, d->stats.add_failures[i]);
	}
	counter(out, "berth_requests_refused_total", "Connections refused: wrong user, too many, not understood.",
		server_refused(d->server));
}

static void jobs(const struct ipamd *d, struct strbuf *out)
{
	char label[96];

	metrics_family(out, "berth_jobs_total", "counter",
		       "Finished cloud calls and host jobs by operation and result.");
	for (unsigned k = 0; k < JOB_KIND_COUNT; k++)
		for (unsigned c = 0; c < ERR_CLASS_COUNT; c++) {
			if (!d->stats.jobs[k][c] && c != ERR_NONE)
				continue;
			(void)snprintf(label, sizeof(label), "op=\"%s\",result=\"%s\"", job_kind_name((enum job_kind)k),
				       c == ERR_NONE ? "ok" : err_class_name((enum err_class)c));
			metrics_u64(out, "berth_jobs_total", label, d->stats.jobs[k][c]);
		}
	metrics_family(out, "berth_job_duration_seconds", "histogram", "Cloud calls and host jobs, queueing included.");
	for (unsigned k = 0; k < JOB_KIND_COUNT; k++) {
		(void)snprintf(label, sizeof(label), "op=\"%s\"", job_kind_name((enum job_kind)k));
		metrics_histogram(out, "berth_job_duration_seconds", label, &d->stats.job_seconds[k]);
	}
}

static void cloud(const struct ipamd *d, struct strbuf *out)
{
	struct cloud_stats stats = { 0 };

	d->cloud->ops->stats(d->cloud, &stats);
	metrics_family(out, "berth_cloud_requests_total", "counter", "HTTP requests to the cloud, retries included.");
	metrics_u64(out, "berth_cloud_requests_total", "kind=\"read\"", stats.reads);
	metrics_u64(out, "berth_cloud_requests_total", "kind=\"mutate\"", stats.mutations);
	metrics_u64(out, "berth_cloud_requests_total", "kind=\"metadata\"", stats.metadata);
	metrics_family(out, "berth_cloud_throttled_seconds_total", "counter",
		       "Time cloud calls waited for the budget.");
	metrics_seconds(out, "berth_cloud_throttled_seconds_total", "", (int64_t)stats.throttle_wait_us);
}

void page_render(void *ctx, struct strbuf *out)
{
	const struct ipamd *d = ctx;

	metrics_family(out, "berth_build_info", "gauge", "Version of the daemon.");
	metrics_u64(out, "berth_build_info", "version=\"" BERTH_VERSION "\"", 1);
	gauge(out, "berth_ready", "1 once the conflist is written.", d->conflist_written);
	metrics_family(out, "berth_start_duration_seconds", "gauge", "From start to conflist; 0 until then.");
	metrics_seconds(out, "berth_start_duration_seconds", "",
			d->stats.ready_us ? d->stats.ready_us - d->stats.started_us : 0);
	addresses(d, out);
	nics(d, out);
	requests(d, out);
	jobs(d, out);
	cloud(d, out);
	counter(out, "berth_host_repairs_total", "Routes and rules added or removed to make the kernel match.",
		d->stats.repairs);
	gauge(out, "berth_forward_closed", "Chains of other firewalls that cut pods off.",
	      d->forward ? d->forward->problem_count : 0);
	counter(out, "berth_leases_reclaimed_total", "Leases taken back without a DEL.", d->stats.reclaimed);
	counter(out, "berth_leases_adopted_total", "Pods that only the kernel knew at start.", d->stats.adopted);
}

bool page_healthy(void *ctx)
{
	const struct ipamd *d = ctx;

	/* Alive is enough: a daemon that waits for the cloud must not be restarted by a probe. */
	return !d->stop;
}
