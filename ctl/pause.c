/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/ctl.h"

#include "berth/err.h"
#include "berth/proto.h"

static const char *const effects[] = {
	[PAUSE_NONE] = "the daemon buys and gives back addresses by itself",
	[PAUSE_RELEASES] = "nothing is given back to the cloud; addresses are still bought",
	[PAUSE_ALL] = "nothing changes in the cloud; pods are served from what the node has",
};

int ctl_pause(const struct ctl *ctl, struct err *err)
{
	struct proto_request request = { .op = PROTO_PAUSE };
	struct proto_reply reply;

	if (pause_parse(ctl->arg, &request.pause) < 0)
		return err_set(err, ERR_INVALID, "ctl", "'%s' is not none, releases or all", ctl->arg);
	if (ctl_call(ctl, &request, &reply, err) < 0)
		return -1;
	proto_reply_done(&reply);
	if (ctl->json)
		(void)fprintf(ctl->out, "{\"pause\":\"%s\"}\n", pause_name(request.pause));
	else
		(void)fprintf(ctl->out,
			      "pause: %s: %s\nuntil the daemon starts again; the setting `pause` is for longer\n",
			      pause_name(request.pause), effects[request.pause]);
	return 0;
}
