/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/ctl.h"

#include <jansson.h>

#include "berth/clock.h"
#include "berth/proto.h"

#define TIMEOUT_US (5 * USEC_PER_SEC) /* the daemon answers from memory; a person waits no longer */

int ctl_call(const struct ctl *ctl, const struct proto_request *request, struct proto_reply *ret, struct err *err)
{
	struct proto_reply reply;

	if (proto_call(ctl->socket_path, request, clock_now(&clock_boot) + TIMEOUT_US, &reply, err) < 0)
		return err_wrap(err, "ask the daemon on %s", ctl->socket_path);
	if (!reply.ok) {
		*err = reply.error;
		proto_reply_done(&reply);
		return err_wrap(err, "the daemon refused");
	}
	*ret = reply;
	return 0;
}

int ctl_state(const struct ctl *ctl, struct json_t **ret, struct err *err)
{
	const struct proto_request request = { .op = PROTO_STATE };
	struct proto_reply reply;

	if (ctl_call(ctl, &request, &reply, err) < 0)
		return -1;
	if (!reply.state) {
		proto_reply_done(&reply);
		return err_set(err, ERR_PROTOCOL, "ctl", "the daemon's answer has no state: is it of another release?");
	}
	*ret = json_incref(reply.state);
	proto_reply_done(&reply);
	return 0;
}
