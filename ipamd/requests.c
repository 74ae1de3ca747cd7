/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/ipamd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "berth/clock.h"
#include "berth/log.h"
#include "berth/str.h"

#define WAITERS_MAX SERVER_CONNS_MAX /* an ADD needs a connection, so there cannot be more */

void requests_reply_error(struct server_conn *conn, const struct err *err, enum fail_reason reason)
{
	struct proto_reply reply = { .error = *err, .reason = reason };

	server_reply(conn, &reply);
}

void requests_reply_ok(struct server_conn *conn)
{
	struct proto_reply reply = { .ok = true };

	server_reply(conn, &reply);
}

/* ---- why there is no address ---- */

static enum fail_reason reason_of(const struct err *err)
{
	if (err->class != ERR_NONE && str_equal(err->domain, "store"))
		return FAIL_STATE; /* an intent that cannot be kept: the cloud was not even asked */
	switch (err->class) {
	case ERR_EXHAUSTED:
		return FAIL_SUBNET_FULL;
	case ERR_THROTTLED:
		return FAIL_THROTTLED;
	case ERR_AUTH:
		return FAIL_PERMISSION;
	case ERR_RETRY:
	case ERR_AMBIGUOUS:
	case ERR_NOTFOUND:
	case ERR_CONFLICT:
	case ERR_INVALID:
	case ERR_PROTOCOL:
	case ERR_BUG:
		return FAIL_METADATA;
	case ERR_NONE:
	case ERR_CLASS_COUNT:
		break;
	}
	return FAIL_STARTING;
}

/* The provider tries for tens of seconds before it gives a call back: longer than many a pod waits. */
static bool is_throttled(const struct ipamd *d)
{
	struct cloud_stats stats = { 0 };

	if (!d->running[JOB_ASSIGN] && !d->running[JOB_ATTACH])
		return false;
	d->cloud->ops->stats(d->cloud, &stats);
	return stats.errors[ERR_THROTTLED] > d->throttled_before;
}

static bool is_cooling(const struct ipamd *d)
{
	struct pool_counts counts;
	unsigned cooling = 0;

	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		pool_count(d->pool, ip_family_at(i), &counts);
		cooling += counts.cooling;
	}
	return cooling > 0;
}

enum fail_reason requests_why(const struct ipamd *d, const struct err **ret_err)
{
	*ret_err = NULL;
	if (!d->listed) {
		const struct err *err = d->start.err.class != ERR_NONE ? &d->start.err : &d->list.err;

		*ret_err = err->class == ERR_NONE ? NULL : err;
		return reason_of(err);
	}
	if (d->access.class != ERR_NONE)
		*ret_err = &d->access;
	if (d->pause == PAUSE_ALL)
		return FAIL_PAUSED;
	if (is_throttled(d))
		return FAIL_THROTTLED;
	/* Said only by a decision that was free to grow: what failed before that is over. */
	if (d->plan.short_because != FAIL_NONE)
		return is_cooling(d) ? FAIL_COOLING : d->plan.short_because;
	if (d->grow.err.class != ERR_NONE) {
		*ret_err = &d->grow.err;
		return reason_of(&d->grow.err);
	}
	if (d->nft.err.class != ERR_NONE)
		*ret_err = &d->nft.err;
	return FAIL_PENDING;
}

/* ---- whose lease it is ---- */

static bool key_equal(const struct lease_key *a, const struct lease_key *b)
{
	return str_equal(a->network, b->network) && str_equal(a->container, b->container) &&
	       str_equal(a->ifname, b->ifname);
}

/* A lease of the store that waits for the first list, under its own key or, if only the kernel knew the pod, its link's. */
static struct lease *find_early(struct ipamd *d, const struct lease_key *key)
{
	struct lease_key adopted;
	char ifname[LEASE_IFNAME_SIZE];

	proto_host_ifname(key, ifname);
	adopted_key(d, ifname, &adopted);
	for (unsigned i = 0; i < d->early_count; i++)
		if (key_equal(&d->early[i].key, key) || key_equal(&d->early[i].key, &adopted))
			return &d->early[i];
	return NULL;
}

struct lease *requests_early_lease(struct ipamd *d, const struct lease_key *key)
{
	return d->listed ? NULL : find_early(d, key);
}

const struct lease *requests_lease(struct ipamd *d, const struct lease_key *key)
{
	const struct lease *lease;
	struct lease_key adopted;
	char ifname[LEASE_IFNAME_SIZE];

	if (!d->listed)
		return find_early(d, key);
	lease = pool_lease_find(d->pool, key);
	if (lease)
		return lease;
	proto_host_ifname(key, ifname);
	adopted_key(d, ifname, &adopted);
	return pool_lease_find(d->pool, &adopted);
}

/* ---- ADD ---- */

static unsigned nic_mtu(const struct ipamd *d, const struct ipaddr *addr)
{
	struct pool_block_view block;

	if (!pool_block_of(d->pool, addr, &block))
		return 0;
	return d->host_nics[block.nic_slot].mtu;
}

/* What the plugin that wires a delegated address needs beside it. Pods of others do not take a gateway outside their network,
 * so it is this node's own address there, which ptp then gives to the host's ends too. Of IPv6 the pool knows no subnet; /64 is what all of
 * them are in every cloud, and routers there announce themselves. */
#define SUBNET6_LEN 64

static void fill_subnets(const struct ipamd *d, const struct lease *lease, struct proto_reply *ret)
{
	struct pool_block_view block;

	for (unsigned i = 0; i < ret->address_count; i++) {
		struct proto_address *to = &ret->addresses[i];
		const struct pool_nic *nic = NULL;

		if (to->address.addr.family == IP_V6) {
			to->subnet = prefix_of(&to->address.addr, SUBNET6_LEN);
			continue;
		}
		if (pool_block_of(d->pool, &lease->addrs[ip_index(IP_V4)], &block))
			nic = pool_nic_by_slot(d->pool, block.nic_slot);
		if (!nic)
			continue;
		to->gateway = nic->primary_addr;
		to->subnet = nic->subnet;
		to->router = nic->gateway;
	}
}

/* What goes through both NICs of a pod whose addresses are on two. */
void requests_lease_reply(const struct ipamd *d, const struct lease *lease, struct proto_reply *ret)
{
	static const char *const gateways[IP_FAMILIES] = { IPAMD_POD_GATEWAY, IPAMD_POD_GATEWAY6 };

	*ret = (struct proto_reply){ .ok = true };
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		struct proto_address *to = &ret->addresses[ret->address_count];
		unsigned mtu;

		if (lease->addrs[i].family == IP_NONE)
			continue;
		to->address = prefix_host(&lease->addrs[i]);
		(void)ipaddr_parse(gateways[i], &to->gateway);
		ret->address_count++;
		mtu = nic_mtu(d, &lease->addrs[i]);
		if (mtu && (!ret->mtu || mtu < ret->mtu))
			ret->mtu = mtu;
	}
	if (lease->egress.family != IP_NONE) {
		ret->egress.address = prefix_host(&lease->egress);
		(void)ipaddr_parse(gateways[ip_index(lease->egress.family)], &ret->egress.gateway);
	}
	ret->delegated = lease->delegated;
	if (lease->delegated)
		fill_subnets(d, lease, ret);
	else
		lease_host_ifname(lease, ret->host_ifname);
}

static void add_succeed(struct ipamd *d, struct server_conn *conn, const struct lease *lease, int64_t since_us,
			int64_t now_us)
{
	struct proto_reply reply;

	requests_lease_reply(d, lease, &reply);
	histogram_add(&d->stats.add_ok, now_us - since_us);
	server_reply(conn, &reply);
}

static void add_fail(struct ipamd *d, struct server_conn *conn, const struct err *err, enum fail_reason reason,
		     int64_t since_us, int64_t now_us)
{
	histogram_add(&d->stats.add_failed, now_us - since_us);
	d->stats.add_failures[reason]++;
	requests_reply_error(conn, err, reason);
}

/* A delegated lease is bound at once: its plugin has no later word for us. */
static int keep_lease(struct ipamd *d, const struct proto_request *request, const struct lease *lease, int64_t now_us,
		      struct err *err)
{
	struct lease_label label = { .host_ifname = request->host_ifname, .delegated = request->delegated };
	struct lease kept;

	if (!hostwork_learn_name(d, request->host_ifname))
		return err_set(err, ERR_INVALID, "ipamd",
			       "a host end %s cannot be told from this node's own interfaces", request->host_ifname);
	if (!request->delegated) {
		label.egress = egress_give(d, lease);
		label.runtime = &request->runtime;
	}
	pool_lease_label(d->pool, &request->key, &label);
	kept = *lease;
	if (lease->delegated)
		kept.state = LEASE_BOUND;
	if (store_lease_put(d->store, &kept, err) < 0)
		return -1;
	if (!lease->delegated)
		return 0;
	if (hostnet_delegated_up(d->hostnet, lease->addrs, err) < 0) {
		(void)store_lease_drop(d->store, &request->key, NULL);
		return -1;
	}
	(void)pool_lease_confirm(d->pool, &request->key, now_us);
	return 0;
}

/* Nothing but the store has a reason of its own. */
static enum fail_reason unkept_because(const struct err *err)
{
	return str_equal(err->domain, "store") ? FAIL_STATE : FAIL_NONE;
}

/* Take an address and make it durable before anybody hears of it. Return: 1 served, 0 nothing free, -1 cannot be kept. */
static int try_lease(struct ipamd *d, const struct proto_request *request, int64_t now_us, const struct lease **ret,
		     struct err *err)
{
	bool is_new;
	const struct lease *lease = pool_lease(d->pool, &request->key, &request->pod, request->netns, now_us, &is_new);

	if (!lease)
		return 0;
	if (is_new && keep_lease(d, request, lease, now_us, err) < 0) {
		pool_lease_undo(d->pool, &request->key, now_us);
		return -1;
	}
	if (is_new)
		guards_changed(d, lease);
	*ret = lease;
	return 1;
}

static void enqueue(struct ipamd *d, struct server_conn *conn, const struct proto_request *request, int64_t now_us)
{
	struct waiter *w = calloc(1, sizeof(*w));
	int64_t timeout_us = request->timeout_ms * USEC_PER_MSEC;
	struct err err;

	if (!w || d->waiting >= WAITERS_MAX) {
		free(w);
		err_set(&err, ERR_RETRY, "ipamd", "%u pods wait for an address already", d->waiting);
		add_fail(d, conn, &err, FAIL_PENDING, now_us, now_us);
		return;
	}
	if (timeout_us <= 0 || timeout_us > d->config.add_timeout_us)
		timeout_us = d->config.add_timeout_us;
	w->conn = conn;
	w->request = *request;
	w->since_us = now_us;
	w->deadline_us = now_us + timeout_us;
	*d->waiters_tail = w;
	d->waiters_tail = &w->next;
	d->waiting++;
}

/* A container that ended without a DEL and was started again has another sandbox: by the path of the former, which is gone,
 * its lease would be taken for a dead pod's, and with the ports of the former its own would not work. */
static int end_former(struct ipamd *d, const struct proto_request *request, int64_t now_us, struct err *err)
{
	const struct lease *lease = requests_lease(d, &request->key);

	if (!lease || !lease->netns[0] || str_equal(lease->netns, request->netns))
		return 0;
	log_info("a container has another sandbox and no DEL came for the former",
		 "container=%s netns=\"%s\" was=\"%s\"", request->key.container, request->netns, lease->netns);
	return requests_del(d, &request->key, now_us, err);
}

static void on_add(struct ipamd *d, struct server_conn *conn, const struct proto_request *request, int64_t now_us)
{
	const struct lease *lease = NULL;
	struct err err;
	int r = 0;

	if (spool_replay(d, &request->key, now_us, &err) < 0 || end_former(d, request, now_us, &err) < 0) {
		add_fail(d, conn, &err, FAIL_STATE, now_us, now_us);
		return;
	}
	if (!requests_lease(d, &request->key))
		demand_arrived(&d->demand, now_us);
	/* Others wait: only somebody who holds an address already may pass them. */
	if (d->listed && (!d->waiters || pool_lease_find(d->pool, &request->key)))
		r = try_lease(d, request, now_us, &lease, &err);
	if (r > 0)
		add_succeed(d, conn, lease, now_us, now_us);
	else if (r < 0)
		add_fail(d, conn, &err, unkept_because(&err), now_us, now_us);
	else
		enqueue(d, conn, request, now_us);
}

static void waiter_pop(struct ipamd *d, struct waiter **at)
{
	struct waiter *w = *at;

	*at = w->next;
	if (!*at)
		d->waiters_tail = at;
	d->waiting--;
	free(w);
}

static void waiter_expire(struct ipamd *d, struct waiter **at, int64_t now_us)
{
	struct waiter *w = *at;
	const struct err *why;
	enum fail_reason reason = requests_why(d, &why);
	struct err err;

	err_set(&err, ERR_RETRY, "ipamd", "no address within %" PRId64 " s: %s",
		(w->deadline_us - w->since_us) / USEC_PER_SEC, why ? why->msg : fail_reason_name(reason));
	log_warn("a pod got no address", "pod=\"%s/%s\" container=%s reason=%s err=\"%s\"", w->request.pod.namespace,
		 w->request.pod.name, w->request.key.container, fail_reason_name(reason), err.msg);
	d->gave_up_us = now_us;
	d->gave_up_because = reason;
	add_fail(d, w->conn, &err, reason, w->since_us, now_us);
	waiter_pop(d, at);
}

int64_t requests_serve_waiters(struct ipamd *d, int64_t now_us)
{
	struct waiter **at = &d->waiters;
	int64_t next = INT64_MAX;
	bool dry = !d->listed;

	while (*at) {
		struct waiter *w = *at;
		const struct lease *lease;
		struct err err;
		int r = dry ? 0 : try_lease(d, &w->request, now_us, &lease, &err);

		if (r > 0) {
			add_succeed(d, w->conn, lease, w->since_us, now_us);
			waiter_pop(d, at);
		} else if (r < 0) {
			add_fail(d, w->conn, &err, unkept_because(&err), w->since_us, now_us);
			waiter_pop(d, at);
		} else if (w->deadline_us <= now_us) {
			waiter_expire(d, at, now_us);
		} else {
			dry = true;
			next = w->deadline_us < next ? w->deadline_us : next;
			at = &w->next;
		}
	}
	return next;
}

void requests_drop_waiters(struct ipamd *d)
{
	struct err err;

	err_set(&err, ERR_RETRY, "ipamd", "the daemon is ending; the next one will serve the pod");
	while (d->waiters) {
		requests_reply_error(d->waiters->conn, &err, FAIL_STARTING);
		waiter_pop(d, &d->waiters);
	}
	confirm_fail(d, &err);
}

static void on_gone(void *ctx, struct server_conn *conn)
{
	struct ipamd *d = ctx;

	confirm_gone(d, conn);
	for (struct waiter **at = &d->waiters; *at; at = &(*at)->next)
		if ((*at)->conn == conn) {
			waiter_pop(d, at);
			return;
		}
}

/* ---- DEL ---- */

/* A DEL overtakes the ADD it belongs to: that ADD must not get an address afterwards. */
static void cancel_waiter(struct ipamd *d, const struct lease_key *key)
{
	struct waiter **at = &d->waiters;
	struct err err;

	while (*at) {
		if (!key_equal(&(*at)->request.key, key)) {
			at = &(*at)->next;
			continue;
		}
		err_set(&err, ERR_CONFLICT, "ipamd", "the pod was deleted while it waited for an address");
		requests_reply_error((*at)->conn, &err, FAIL_NONE);
		waiter_pop(d, at);
	}
}

static int del_early(struct ipamd *d, const struct lease_key *key, int64_t now_us, struct err *err)
{
	struct lease *lease = find_early(d, key), gone;
	struct ipaddr addrs[IP_FAMILIES];

	if (!lease)
		return 0;
	egress_addrs(lease, addrs);
	if (store_lease_release(d->store, &lease->key, addrs, now_us + d->config.cooldown_us, err) < 0)
		return -1;
	gone = *lease;
	*lease = d->early[--d->early_count];
	hostwork_lease_down(d, &gone);
	return 0;
}

/* The store first: a lease that only memory forgot would come back with the next start. */
static int release(struct ipamd *d, const struct lease *lease, int64_t now_us, struct err *err)
{
	const struct lease gone = *lease;
	struct ipaddr addrs[IP_FAMILIES];

	egress_addrs(&gone, addrs);
	if (store_lease_release(d->store, &gone.key, addrs, now_us + d->config.cooldown_us, err) < 0)
		return -1;
	(void)pool_lease_release(d->pool, &gone.key, now_us, NULL);
	egress_rest(&d->egress, &gone.egress, now_us + d->config.cooldown_us);
	hostwork_lease_down(d, &gone);
	return 0;
}

int requests_del(struct ipamd *d, const struct lease_key *key, int64_t now_us, struct err *err)
{
	const struct lease *lease;

	cancel_waiter(d, key);
	if (!d->listed)
		return del_early(d, key, now_us, err);
	lease = requests_lease(d, key);
	return lease ? release(d, lease, now_us, err) : 0;
}

static void on_del(struct ipamd *d, struct server_conn *conn, const struct proto_request *request, int64_t now_us)
{
	struct err err;

	if (requests_del(d, &request->key, now_us, &err) < 0) {
		log_error("cannot record a DEL", "container=%s " LOG_ERR_FMT, request->key.container,
			  LOG_ERR_ARGS(&err));
		requests_reply_error(conn, &err, FAIL_STATE);
		return;
	}
	requests_reply_ok(conn);
	histogram_add(&d->stats.del, clock_now(&clock_boot) - now_us);
}

/* ---- the other requests ---- */

static void on_state(struct ipamd *d, struct server_conn *conn, int64_t now_us)
{
	struct proto_reply reply = { .ok = true, .state = state_json(d, now_us) };
	struct err err;

	if (!reply.state) {
		err_set(&err, ERR_RETRY, "ipamd", "no memory for the state");
		requests_reply_error(conn, &err, FAIL_NONE);
		return;
	}
	server_reply(conn, &reply);
}

static void on_pause(struct ipamd *d, struct server_conn *conn, enum pause pause)
{
	struct err err;

	if (d->access.class != ERR_NONE && pause != PAUSE_ALL) {
		err_set(&err, ERR_INVALID, "ipamd",
			"the setting access is \"%s\": nothing is changed in the cloud, and "
			"no pause ends that",
			config_access_name(d->config.access));
		requests_reply_error(conn, &err, FAIL_NONE);
		return;
	}
	if (pause != d->pause)
		log_warn("an operator changed what is paused", "pause=%s was=%s", pause_name(pause),
			 pause_name(d->pause));
	d->pause = pause;
	requests_reply_ok(conn);
}

static void on_request(void *ctx, struct server_conn *conn, const struct proto_request *request)
{
	struct ipamd *d = ctx;
	int64_t now_us = clock_now(&clock_boot);
	struct err err;

	switch (request->op) {
	case PROTO_ADD:
		on_add(d, conn, request, now_us);
		return;
	case PROTO_CONFIRM:
		confirm_serve(d, conn, request, now_us);
		return;
	case PROTO_DEL:
		on_del(d, conn, request, now_us);
		return;
	case PROTO_CHECK:
		check_serve(d, conn, request);
		return;
	case PROTO_STATUS:
		ready_serve(d, conn, now_us);
		return;
	case PROTO_STATE:
		on_state(d, conn, now_us);
		return;
	case PROTO_PAUSE:
		on_pause(d, conn, request->pause);
		return;
	case PROTO_GC:
		gc_serve(d, conn, request, now_us);
		return;
	case PROTO_OP_COUNT:
		break;
	}
	err_set(&err, ERR_BUG, "ipamd", "request %u is not handled", (unsigned)request->op);
	requests_reply_error(conn, &err, FAIL_NONE);
}

const struct server_ops ipamd_server_ops = { on_request, on_gone };
