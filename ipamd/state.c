/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the state document
 *
 * What the `state` request answers and berthctl draws. Keys may be added, never renamed:
 *
 *   version, ready, uptime_ms, cloud, instance, type, zone
 *   limits     {nics, units_per_nic, unit_len}                    absent until known
 *   families[] "ipv4", "ipv6": what pods get
 *   access     "full", "read" or "metadata"
 *   pause      "none", "releases" or "all"
 *   targets    {warm_ips, warm_auto, min_ips, max_nics, max_pods}
 *   addresses  {total, free, leased, cooling, pending, lost, waiting}
 *   plan       {wanted, supply}
 *   addresses6, plan6                                             the same of IPv6 where pods get both families
 *   egress[]   {family, as, pods, refused}                        of families that new pods or pods that run lack
 *   nics[]     {slot, id, mac, link, state, closed, primary_addr, primary_addr6, mtu, busy, blocks[]}
 *   blocks[]   {prefix, state, addresses[]}
 *   addresses[] {addr, state} and when leased {pod, container, ifname, lease, age_ms}, and where a runtime asked for more
 *              {runtime}: host ports and bandwidth, as an ADD has them on the socket
 *   blocked    {reason, hint, error}                              only while something keeps the pool from growing
 *   problems[] {what, hint, error}                                only while others of this node cut pods off
 */
#include "ipamd/ipamd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/version.h"
#include "ipamd/forward.h"

static const char *const busy_names[] = { [NIC_IDLE] = "",
					  [NIC_BUSY_ASSIGN] = "assign",
					  [NIC_BUSY_RELEASE] = "release",
					  [NIC_BUSY_ATTACH] = "attach",
					  [NIC_BUSY_DETACH] = "detach",
					  [NIC_BUSY_RECOVER] = "recover" };

struct builder {
	struct ipamd *d;
	int64_t now_us;
	unsigned slot;
	json_t *array; /* borrowed: what is being filled */
};

static void set_pod(json_t *obj, const struct lease *lease, int64_t now_us)
{
	char pod[2 * LEASE_POD_SIZE + 1];

	(void)snprintf(pod, sizeof(pod), "%s%s%s", lease->pod.namespace, lease->pod.name[0] ? "/" : "",
		       lease->pod.name);
	(void)json_object_set_new(obj, "pod", json_string(pod));
	(void)json_object_set_new(obj, "container", json_string(lease->key.container));
	(void)json_object_set_new(obj, "ifname", json_string(lease->key.ifname));
	(void)json_object_set_new(obj, "lease", json_string(lease_state_name(lease->state)));
	(void)json_object_set_new(obj, "age_ms", json_integer((now_us - lease->since_us) / USEC_PER_MSEC));
}

static void set_runtime(json_t *obj, const struct lease *lease)
{
	_cleanup_free_ char *text = runtime_print(&lease->runtime);

	if (text && text[0])
		(void)json_object_set_new(obj, "runtime", json_loads(text, 0, NULL));
}

static int add_address(const struct ipaddr *addr, enum addr_state state, const struct lease *lease, void *arg)
{
	struct builder *b = arg;
	char text[IPADDR_STRLEN];
	json_t *obj = json_pack("{s:s,s:s}", "addr", ipaddr_str(addr, text), "state", addr_state_name(state));

	if (obj && lease) {
		set_pod(obj, lease, b->now_us);
		set_runtime(obj, lease);
	}
	return json_array_append_new(b->array, obj) ? -ENOMEM : 0;
}

static int add_block(const struct pool_block_view *block, void *arg)
{
	struct builder *b = arg;
	struct builder inner = { b->d, b->now_us, b->slot, json_array() };
	char text[PREFIX_STRLEN];

	if (block->nic_slot != b->slot) {
		json_decref(inner.array);
		return 0;
	}
	(void)pool_addresses(b->d->pool, &block->prefix, add_address, &inner);
	return json_array_append_new(b->array,
				     json_pack("{s:s,s:s,s:o}", "prefix", prefix_str(&block->prefix, text), "state",
					       block_state_name(block->state), "addresses", inner.array))
		       ? -ENOMEM
		       : 0;
}

static json_t *nic_json(struct builder *b, const struct pool_nic *nic)
{
	const struct hostnet_nic *host = &b->d->host_nics[nic->slot];
	struct builder blocks = { b->d, b->now_us, nic->slot, json_array() };
	char mac[MACADDR_STRLEN], addr[IPADDR_STRLEN], addr6[IPADDR_STRLEN] = "";

	(void)pool_blocks(b->d->pool, add_block, &blocks);
	if (nic->primary_addr6.family != IP_NONE)
		(void)ipaddr_str(&nic->primary_addr6, addr6);
	return json_pack("{s:i,s:s,s:s,s:s,s:s,s:b,s:s,s:s,s:i,s:s,s:o}", "slot", (int)nic->slot, "id", nic->id, "mac",
			 macaddr_str(&nic->mac, mac), "link", host->ifname, "state", nic_state_name(nic->state),
			 "closed", nic->closed, "primary_addr", ipaddr_str(&nic->primary_addr, addr), "primary_addr6",
			 addr6, "mtu", (int)host->mtu, "busy", busy_names[nic->busy], "blocks", blocks.array);
}

static json_t *nics_json(struct builder *b)
{
	const struct pool_nic *nic = NULL;
	json_t *array = json_array();

	while ((nic = pool_nic_next(b->d->pool, nic)))
		(void)json_array_append_new(array, nic_json(b, nic));
	return array;
}

static json_t *addresses_json(const struct ipamd *d, enum ip_family family)
{
	struct pool_counts c;

	pool_count(d->pool, family, &c);
	return json_pack("{s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "total", (int)c.total, "free", (int)c.free, "leased",
			 (int)c.leased, "cooling", (int)c.cooling, "pending", (int)c.pending, "lost", (int)c.lost,
			 "waiting", (int)d->waiting);
}

static json_t *plan_json(const struct ipamd *d, enum ip_family family)
{
	return json_pack("{s:i,s:i}", "wanted", (int)d->plan.wanted[ip_index(family)], "supply",
			 (int)d->plan.supply[ip_index(family)]);
}

static void set_families(const struct ipamd *d, json_t *obj)
{
	enum ip_family first = pool_first_family(d->pool);
	json_t *names = json_array();

	(void)json_object_set_new(obj, "addresses", addresses_json(d, first));
	(void)json_object_set_new(obj, "plan", plan_json(d, first));
	(void)json_array_append_new(names, json_string(first == IP_V4 ? "ipv4" : "ipv6"));
	if (first == IP_V4 && pool_serves(d->pool, IP_V6)) {
		(void)json_array_append_new(names, json_string("ipv6"));
		(void)json_object_set_new(obj, "addresses6", addresses_json(d, IP_V6));
		(void)json_object_set_new(obj, "plan6", plan_json(d, IP_V6));
	}
	(void)json_object_set_new(obj, "families", names);
}

static void set_node(const struct ipamd *d, json_t *obj)
{
	const struct cloud_units *units = &d->limits.units[ip_index(pool_first_family(d->pool))];
	const struct cloud_identity *id = d->identity;

	(void)json_object_set_new(obj, "cloud", json_string(d->config.cloud));
	if (!id)
		return;
	(void)json_object_set_new(obj, "instance", json_string(id->instance));
	(void)json_object_set_new(obj, "type", json_string(id->type));
	(void)json_object_set_new(obj, "zone", json_string(id->zone));
	if (d->limits_known)
		(void)json_object_set_new(obj, "limits",
					  json_pack("{s:i,s:i,s:i}", "nics", (int)d->limits.nics_max, "units_per_nic",
						    (int)units->per_nic_max, "unit_len", (int)units->len));
}

/* Is less here than is wanted? What a call in flight may bring is not here: while the last one failed, the next may too. */
static bool is_short(const struct ipamd *d)
{
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		struct pool_counts counts;

		pool_count(d->pool, ip_family_at(i), &counts);
		if (pool_serves(d->pool, ip_family_at(i)) &&
		    counts.free + counts.leased + counts.pending < d->plan.wanted[i])
			return true;
	}
	return false;
}

static void set_blocked(const struct ipamd *d, json_t *obj)
{
	const struct err *why;
	enum fail_reason reason = requests_why(d, &why);

	if ((d->listed && !is_short(d)) || (!why && reason == FAIL_PENDING))
		return;
	(void)json_object_set_new(obj, "blocked",
				  json_pack("{s:s,s:s,s:s}", "reason", fail_reason_name(reason), "hint",
					    fail_reason_hint(reason), "error", why ? why->msg : ""));
}

static void set_problems(const struct ipamd *d, json_t *obj)
{
	json_t *problems;

	if (!d->forward || !d->forward->problem_count)
		return;
	problems = json_array();
	for (unsigned i = 0; i < d->forward->problem_count; i++) {
		const struct forward_problem *problem = &d->forward->problems[i];

		(void)json_array_append_new(problems, json_pack("{s:s,s:s,s:s}", "what", problem->what, "hint",
								problem->hint, "error", problem->error));
	}
	(void)json_object_set_new(obj, "problems", problems);
}

struct json_t *state_json(struct ipamd *d, int64_t now_us)
{
	struct builder b = { d, now_us, 0, NULL };
	const struct config *c = &d->config;
	json_t *obj = json_pack("{s:s,s:b,s:I}", "version", BERTH_VERSION, "ready", d->conflist_written, "uptime_ms",
				(json_int_t)((now_us - d->stats.started_us) / USEC_PER_MSEC));

	if (!obj)
		return NULL;
	set_node(d, obj);
	(void)json_object_set_new(obj, "access", json_string(config_access_name(c->access)));
	(void)json_object_set_new(obj, "pause", json_string(pause_name(d->pause)));
	(void)json_object_set_new(obj, "targets",
				  json_pack("{s:i,s:b,s:i,s:i,s:i}", "warm_ips", (int)d->warm_ips, "warm_auto",
					    c->warm_ips == CONFIG_WARM_AUTO, "min_ips", (int)c->min_ips, "max_nics",
					    (int)c->max_nics, "max_pods", (int)c->max_pods));
	set_families(d, obj);
	(void)json_object_set_new(obj, "egress", egress_json(d));
	(void)json_object_set_new(obj, "nics", nics_json(&b));
	set_blocked(d, obj);
	set_problems(d, obj);
	return obj;
}
