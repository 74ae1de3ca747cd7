/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: can an ADD be served?
 *
 * Asked by runtimes every few seconds (STATUS), and a "no" makes the node NotReady: pods are moved away from it. So it is
 * answered from what is known, without a look at anything, and said only for good reason:
 *
 *   before the conflist is written    nothing was ever leased: no
 *   no address is left, none comes    and a pod wants one, now or within HOLD_US: no. A node that is full and left alone is
 *                                     ready: its pods are well, and nobody is turned away
 *   no address is left, some come     ready: it lasts a cloud call, or a cooldown
 *
 * "Limited" is added to a "no" when pods that run may be cut off too: the cloud took their addresses, or the nft table
 * cannot be loaded.
 */
#include "ipamd/ipamd.h"

#include "berth/clock.h"

#define HOLD_US (60 * USEC_PER_SEC) /* kubelet tries a pod again after up to a minute: no flapping between two tries */

/* Would waiting help? Every reason that is not in the list passes by itself. */
static bool is_final(enum fail_reason reason)
{
	return reason == FAIL_SUBNET_FULL || reason == FAIL_SUBNET_FRAGMENTED || reason == FAIL_NIC_LIMIT ||
	       reason == FAIL_PERMISSION;
}

static bool is_dry(const struct ipamd *d)
{
	struct pool_counts counts;

	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		if (!pool_serves(d->pool, ip_family_at(i)))
			continue;
		pool_count(d->pool, ip_family_at(i), &counts);
		if (counts.free + counts.pending + counts.incoming + counts.cooling == 0)
			return true;
	}
	return false;
}

/* Is a pod turned away? *reason: why one that waits would be; of one that went, why it was. */
static bool is_refusing(const struct ipamd *d, int64_t now_us, enum fail_reason *reason)
{
	if (!is_dry(d))
		return false;
	if (d->waiting > 0 && is_final(*reason))
		return true;
	if (!d->gave_up_us || now_us - d->gave_up_us >= HOLD_US || !is_final(d->gave_up_because))
		return false;
	*reason = d->gave_up_because;
	return true;
}

static bool is_limited(const struct ipamd *d)
{
	struct pool_counts counts;
	unsigned lost = 0;

	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		pool_count(d->pool, ip_family_at(i), &counts);
		lost += counts.lost;
	}
	return lost > 0 || d->nft.err.class != ERR_NONE;
}

void ready_serve(struct ipamd *d, struct server_conn *conn, int64_t now_us)
{
	struct proto_reply reply = { .ok = true };
	const struct err *why;
	enum fail_reason reason = requests_why(d, &why);

	if (!d->conflist_written || is_refusing(d, now_us, &reason)) {
		reply = (struct proto_reply){ .reason = reason, .limited = d->listed && is_limited(d) };
		(void)err_set(&reply.error, ERR_RETRY, "ipamd", "%s: %s",
			      d->conflist_written ? "no address is left and none can be had" : "not ready",
			      why ? why->msg : fail_reason_name(reason));
	}
	server_reply(conn, &reply);
}
