/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/client.h"

#include <assert.h>
#include <errno.h>

#include "berth/clock.h"
#include "berth/proto.h"
#include "berth/str.h"
#include "cni/cnierr.h"
#include "cni/hostname.h"

void client_request(const struct cni_run *run, enum proto_op op, struct proto_request *ret)
{
	struct proto_request request = { .op = op };

	/* All of these fit: they were checked against the same sizes when they were read. */
	(void)str_copy(request.key.network, sizeof(request.key.network), run->conf.network);
	(void)str_copy(request.key.container, sizeof(request.key.container), run->args.container);
	(void)str_copy(request.key.ifname, sizeof(request.key.ifname), run->args.ifname);
	(void)str_copy(request.netns, sizeof(request.netns), run->args.netns);
	if (op == PROTO_ADD) {
		if (!run->conf.delegated && run->conf.veth_prefix[0])
			cni_host_ifname(run, request.host_ifname);
		request.delegated = run->conf.delegated;
		request.pod = run->args.pod;
		request.runtime = run->conf.runtime;
		request.timeout_ms = run->conf.timeout_ms;
	}
	*ret = request;
}

static int64_t deadline_in(int64_t timeout_ms)
{
	return clock_now(&clock_boot) + timeout_ms * USEC_PER_MSEC;
}

static int call(const struct cni_run *run, enum proto_op op, int64_t timeout_ms, struct proto_reply *ret,
		struct err *err)
{
	struct proto_request request;

	client_request(run, op, &request);
	return proto_call(run->conf.socket, &request, deadline_in(timeout_ms), ret, err);
}

static int64_t at_most(const struct cni_run *run, int64_t most_ms)
{
	return run->conf.timeout_ms < most_ms ? run->conf.timeout_ms : most_ms;
}

/* Did the request get as far as the daemon? */
static bool may_have_acted(const struct err *err)
{
	return err->class != ERR_NOTFOUND && err->class != ERR_INVALID && err->class != ERR_AUTH &&
	       err->code != ECONNREFUSED;
}

int client_add(const struct cni_run *run, struct proto_reply *ret, bool *ret_undo, struct cnierr *cnierr)
{
	struct err err;

	assert(ret && ret_undo);
	*ret_undo = false;
	if (call(run, PROTO_ADD, run->conf.timeout_ms + CLIENT_GRACE_MS, ret, &err) < 0) {
		*ret_undo = may_have_acted(&err);
		return cnierr_daemon(cnierr, "ask for an address", &err);
	}
	if (!ret->ok)
		return cnierr_reply(cnierr, "no address", ret);
	*ret_undo = true;
	if (ret->address_count > 0)
		return 0;
	(void)err_set(&err, ERR_PROTOCOL, "proto", "the answer holds none");
	return cnierr_daemon(cnierr, "ask for an address", &err);
}

int client_confirm(const struct cni_run *run, struct proto_pending *ret, struct cnierr *cnierr)
{
	struct proto_request request;
	struct err err;

	client_request(run, PROTO_CONFIRM, &request);
	if (proto_send(run->conf.socket, &request, deadline_in(at_most(run, CLIENT_PROMPT_MS)), ret, &err) < 0)
		return cnierr_daemon(cnierr, "confirm the address", &err);
	return 0;
}

int client_confirmed(const struct proto_pending *pending, struct cnierr *cnierr)
{
	_cleanup_reply_ struct proto_reply reply = { 0 };
	struct err err;

	if (proto_receive(pending, &reply, &err) < 0)
		return cnierr_daemon(cnierr, "confirm the address", &err);
	if (reply.ok)
		return 0;
	/* Nothing of a CONFIRM is wrong in itself: what cannot be done is what the pod needs of the node's kernel. */
	if (reply.error.class == ERR_INVALID)
		return cnierr_set_err(cnierr, CNI_KERNEL,
				      "The node's kernel lacks what the message names, or its module cannot be loaded.",
				      "finish the pod's network", &reply.error);
	return cnierr_reply(cnierr, "confirm the address", &reply);
}

int client_check(const struct cni_run *run, struct proto_reply *ret, struct cnierr *cnierr)
{
	struct err err;

	if (call(run, PROTO_CHECK, at_most(run, CLIENT_PROMPT_MS), ret, &err) < 0)
		return cnierr_daemon(cnierr, "ask for the lease", &err);
	return ret->ok ? 0 : cnierr_reply(cnierr, "the lease", ret);
}

int client_status(const struct cni_run *run, struct proto_reply *ret, struct err *err)
{
	return call(run, PROTO_STATUS, at_most(run, CLIENT_STATUS_MS), ret, err);
}

int client_gc(const struct cni_run *run, const struct proto_request *request, struct proto_reply *ret, struct err *err)
{
	return proto_call(run->conf.socket, request, deadline_in(at_most(run, CLIENT_PROMPT_MS)), ret, err);
}

int client_del(const struct cni_run *run, int64_t most_ms, struct proto_reply *ret, struct err *err)
{
	return call(run, PROTO_DEL, at_most(run, most_ms), ret, err);
}
