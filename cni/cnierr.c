/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/cnierr.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "berth/json.h"
#include "berth/str.h"

#define READ_THE_LOG "Read the log of berth-ipamd on this node."

struct advice {
	enum cni_code code;
	const char *details;
};

/* The daemon said no without a reason that is in the list below. */
static const struct advice by_class[] = {
	[ERR_NONE] = { CNI_INTERNAL, "This is a defect of berth: please report it. " READ_THE_LOG },
	[ERR_RETRY] = { CNI_TRY_AGAIN, "It is tried again by itself. " READ_THE_LOG },
	[ERR_AMBIGUOUS] = { CNI_TRY_AGAIN, "It is tried again by itself. " READ_THE_LOG },
	[ERR_THROTTLED] = { CNI_TRY_AGAIN, "The cloud's API is slowing this account down: wait, it is tried again." },
	[ERR_EXHAUSTED] = { CNI_TRY_AGAIN, "No address is free now: wait, or free some. " READ_THE_LOG },
	[ERR_AUTH] = { CNI_CLOUD_PERMISSION, "Grant the node's role what the message names. " READ_THE_LOG },
	[ERR_NOTFOUND] = { CNI_UNKNOWN_CONTAINER,
			   "The daemon holds no lease for this container: delete the pod sandbox." },
	[ERR_CONFLICT] = { CNI_TRY_AGAIN, "It is tried again by itself. " READ_THE_LOG },
	[ERR_INVALID] = { CNI_DAEMON_PROTOCOL, "Install plugin and daemon of the same release. " READ_THE_LOG },
	[ERR_PROTOCOL] = { CNI_DAEMON_PROTOCOL, "Install plugin and daemon of the same release. " READ_THE_LOG },
	[ERR_BUG] = { CNI_INTERNAL, "This is a defect of berth: please report it. " READ_THE_LOG },
};
static_assert(ARRAY_SIZE(by_class) == ERR_CLASS_COUNT, "every class has a CNI code");

/* The details are the reason's hint. */
static const enum cni_code by_reason[] = {
	[FAIL_NONE] = CNI_OK, /* by_class decides */
	[FAIL_SUBNET_FULL] = CNI_SUBNET_EXHAUSTED,
	[FAIL_SUBNET_FRAGMENTED] = CNI_SUBNET_EXHAUSTED,
	[FAIL_NIC_LIMIT] = CNI_NODE_LIMIT,
	[FAIL_THROTTLED] = CNI_TRY_AGAIN,
	[FAIL_PERMISSION] = CNI_CLOUD_PERMISSION,
	[FAIL_METADATA] = CNI_TRY_AGAIN,
	[FAIL_COOLING] = CNI_TRY_AGAIN,
	[FAIL_STARTING] = CNI_TRY_AGAIN,
	[FAIL_PENDING] = CNI_TRY_AGAIN,
	[FAIL_STATE] = CNI_TRY_AGAIN,
	[FAIL_PAUSED] = CNI_TRY_AGAIN,
};
static_assert(ARRAY_SIZE(by_reason) == FAIL_REASON_COUNT, "every reason has a CNI code");

int cnierr_set(struct cnierr *ret, enum cni_code code, const char *details, const char *fmt, ...)
{
	va_list ap;

	assert(ret && details && fmt);
	assert(code != CNI_OK);
	ret->code = code;
	(void)str_copy(ret->details, sizeof(ret->details), details);
	va_start(ap, fmt);
	(void)vsnprintf(ret->msg, sizeof(ret->msg), fmt, ap);
	va_end(ap);
	return -1;
}

int cnierr_set_err(struct cnierr *ret, enum cni_code code, const char *details, const char *context,
		   const struct err *err)
{
	const char *open = err->ident[0] ? " (" : "", *close = err->ident[0] ? ")" : "";

	return cnierr_set(ret, code, details, "%s: %s%s%s%s", context, err->msg, open, err->ident, close);
}

int cnierr_daemon(struct cnierr *ret, const char *context, const struct err *err)
{
	switch (err->class) {
	case ERR_NOTFOUND:
		return cnierr_set_err(
			ret, CNI_TRY_AGAIN,
			"berth-ipamd is not running on this node, or listens elsewhere than 'socket' of the "
			"network configuration says: look at its pod or unit. It is tried again by itself.",
			context, err);
	case ERR_AUTH:
		return cnierr_set_err(ret, CNI_IO_FAILURE, "The container runtime must run CNI plugins as root.",
				      context, err);
	case ERR_INVALID:
		return cnierr_set_err(ret, CNI_INVALID_CONFIG, "Correct 'socket' in the network configuration.",
				      context, err);
	case ERR_PROTOCOL:
		return cnierr_set_err(ret, CNI_DAEMON_PROTOCOL,
				      "Install plugin and daemon of the same release; is 'socket' of the network "
				      "configuration the one of berth-ipamd?",
				      context, err);
	case ERR_NONE:
	case ERR_RETRY:
	case ERR_AMBIGUOUS:
	case ERR_THROTTLED:
	case ERR_EXHAUSTED:
	case ERR_CONFLICT:
	case ERR_BUG:
	case ERR_CLASS_COUNT:
		break;
	}
	return cnierr_set_err(
		ret, CNI_TRY_AGAIN,
		"berth-ipamd does not answer: look at its pod or unit and at its log. It is tried again by "
		"itself.",
		context, err);
}

int cnierr_reply(struct cnierr *ret, const char *context, const struct proto_reply *reply)
{
	const struct advice *advice = &by_class[reply->error.class];

	assert(!reply->ok);
	if (reply->reason != FAIL_NONE)
		return cnierr_set_err(ret, by_reason[reply->reason], fail_reason_hint(reply->reason), context,
				      &reply->error);
	return cnierr_set_err(ret, advice->code, advice->details, context, &reply->error);
}

int cnierr_kernel(struct cnierr *ret, const char *context, const struct err *err)
{
	bool passes = err->class == ERR_RETRY || err->class == ERR_EXHAUSTED;

	return cnierr_set_err(ret, passes ? CNI_TRY_AGAIN : CNI_KERNEL,
			      passes ? "The kernel is short of memory or busy: it is tried again by itself."
				     : "Plugins must run as root with CAP_NET_ADMIN, on a kernel with veth links.",
			      context, err);
}

/* A name or path from outside need not be UTF-8; a message that is a little damaged beats none. */
static json_t *string_of(const char *text)
{
	char ascii[sizeof(((struct cnierr *)NULL)->msg)];
	json_t *string = json_string(text);

	if (string)
		return string;
	(void)str_copy(ascii, sizeof(ascii), text);
	for (char *at = ascii; *at; at++)
		if ((unsigned char)*at >= 0x80)
			*at = '?';
	return json_string(ascii);
}

char *cnierr_print(const struct cnierr *cnierr, const char *version)
{
	json_auto_t *object = json_object();

	assert(cnierr->code != CNI_OK);
	if (json_object_set_new(object, "cniVersion", string_of(version)) < 0 ||
	    json_object_set_new(object, "code", json_integer((json_int_t)cnierr->code)) < 0 ||
	    json_object_set_new(object, "msg", string_of(cnierr->msg)) < 0 ||
	    json_object_set_new(object, "details", string_of(cnierr->details)) < 0)
		return NULL;
	return json_print(object);
}
