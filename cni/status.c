/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: STATUS
 *
 * Whether an ADD could be served now, as the daemon knows it without a look at anything. A daemon that does not answer
 * serves none. Pods that run do not need it, so that this alone is 50 and not 51.
 */
#include "berth/err.h"
#include "berth/proto.h"
#include "cni/client.h"
#include "cni/cnierr.h"
#include "cni/plugin.h"

#define DAEMON_HINT                                                                                                    \
	"berth-ipamd does not answer on this node: look at its pod or unit and at its log. Pods that run are not "     \
	"touched."

int cni_status(const struct cni_run *run, struct cnierr *cnierr)
{
	_cleanup_reply_ struct proto_reply reply = { 0 };
	struct err err;

	if (client_status(run, &reply, &err) < 0)
		return cnierr_set_err(cnierr, CNI_NOT_AVAILABLE, DAEMON_HINT, "no pod can get an address", &err);
	if (reply.ok)
		return 0;
	return cnierr_set_err(cnierr, reply.limited ? CNI_LIMITED : CNI_NOT_AVAILABLE,
			      reply.reason != FAIL_NONE ? fail_reason_hint(reply.reason)
							: "Read the log of berth-ipamd on this node.",
			      reply.limited ? "no pod can get an address, and some that run may be cut off"
					    : "no pod can get an address",
			      &reply.error);
}
