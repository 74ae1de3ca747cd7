/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: CONFIRM
 *
 * The plugin has wired the pod: the lease is bound, in the store first. Where the pod needs more than its routes, ports of
 * the node say, the answer waits until the kernel has it: an ADD that succeeds means that all of it works. Several that
 * wait share one nft batch. Limits of bandwidth are set at once. What cannot be had in time fails the ADD, and the plugin takes
 * the lease back.
 */
#include "ipamd/ipamd.h"

#include <stdlib.h>

#include "berth/clock.h"
#include "berth/log.h"

#define CONFIRM_US (4 * USEC_PER_SEC) /* below the 5 s that a plugin waits; a batch takes 12-30 ms */

/** struct confirm - a CONFIRM whose lease is bound and whose pod waits for nft; FIFO. There are as many as connections. */
struct confirm {
	struct confirm *next;
	struct server_conn *conn;
	int64_t deadline_us;
};

static void pop(struct confirm **at)
{
	struct confirm *c = *at;

	*at = c->next;
	free(c);
}

static void bind_lease(struct ipamd *d, const struct lease_key *key, int64_t now_us)
{
	struct lease *early = requests_early_lease(d, key);

	if (early) {
		early->state = LEASE_BOUND;
		early->since_us = now_us;
	} else
		(void)pool_lease_confirm(d->pool, key, now_us);
}

/* Behind those that wait already. Return: -1 without memory. */
static int await_nft(struct ipamd *d, struct server_conn *conn, int64_t now_us, struct err *err)
{
	struct confirm **at = &d->confirms, *c = calloc(1, sizeof(*c));

	if (!c)
		return err_set(err, ERR_RETRY, "ipamd", "no memory to wait for the nft table");
	*c = (struct confirm){ .conn = conn, .deadline_us = now_us + CONFIRM_US };
	while (*at)
		at = &(*at)->next;
	*at = c;
	d->host_dirty = true;
	return 0;
}

static void warn_taken(const struct ipamd *d, const struct lease *lease)
{
	struct net_port port;
	const struct lease *other = ports_rival(d->pool, lease, INT64_MIN, &port);

	if (other)
		log_warn("two pods have one port of the node; the newer one gets it",
			 "port=%u/%s pod=\"%s/%s\" container=%s other_pod=\"%s/%s\" other_container=%s", port.host_port,
			 runtime_protocol_name(port.protocol), lease->pod.namespace, lease->pod.name,
			 lease->key.container, other->pod.namespace, other->pod.name, other->key.container);
}

/* Return: 1 when the answer waits for the kernel, 0 when all is there. */
static int complete(struct ipamd *d, struct server_conn *conn, const struct lease *lease, int64_t now_us,
		    struct err *err)
{
	char host_ifname[LEASE_IFNAME_SIZE];

	lease_host_ifname(lease, host_ifname);
	if (hostnet_shape_wants(&lease->runtime.bandwidth) &&
	    hostnet_shape(d->hostnet, host_ifname, &lease->runtime.bandwidth, err) < 0)
		return -1;
	if (lease->runtime.port_count > 0) {
		warn_taken(d, lease);
		return await_nft(d, conn, now_us, err) < 0 ? -1 : 1;
	}
	return 0;
}

void confirm_serve(struct ipamd *d, struct server_conn *conn, const struct proto_request *request, int64_t now_us)
{
	const struct lease *lease = requests_lease(d, &request->key);
	struct err err;
	int r;

	if (!lease) {
		err_set(&err, ERR_NOTFOUND, "ipamd", "no lease of container %s interface %s: deleted or reclaimed",
			request->key.container, request->key.ifname);
		requests_reply_error(conn, &err, FAIL_NONE);
		return;
	}
	if (store_lease_bind(d->store, &lease->key, now_us, &err) < 0) {
		requests_reply_error(conn, &err, FAIL_STATE);
		return;
	}
	bind_lease(d, &lease->key, now_us);
	r = complete(d, conn, lease, now_us, &err);
	if (r < 0)
		requests_reply_error(conn, &err, FAIL_NONE);
	else if (r == 0)
		requests_reply_ok(conn);
}

void confirm_done(struct ipamd *d)
{
	while (d->confirms) {
		requests_reply_ok(d->confirms->conn);
		pop(&d->confirms);
	}
}

void confirm_fail(struct ipamd *d, const struct err *err)
{
	while (d->confirms) {
		requests_reply_error(d->confirms->conn, err, FAIL_NONE);
		pop(&d->confirms);
	}
}

int64_t confirm_due(struct ipamd *d, int64_t now_us)
{
	struct err err;

	while (d->confirms && d->confirms->deadline_us <= now_us) {
		err_set(&err, ERR_RETRY, "ipamd", "the nft table was not loaded in time%s%s",
			d->nft.err.class == ERR_NONE ? "" : ": ", d->nft.err.class == ERR_NONE ? "" : d->nft.err.msg);
		log_warn("a pod's ports cannot be opened", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
		requests_reply_error(d->confirms->conn, &err, FAIL_NONE);
		pop(&d->confirms);
	}
	return d->confirms ? d->confirms->deadline_us : INT64_MAX;
}

void confirm_gone(struct ipamd *d, const struct server_conn *conn)
{
	for (struct confirm **at = &d->confirms; *at; at = &(*at)->next)
		if ((*at)->conn == conn) {
			pop(at);
			return;
		}
}
