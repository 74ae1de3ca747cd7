/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: what the runtime is told
 *
 * A CNI error has a code that the runtime acts on, a message that says the cause and details that say what to do next.
 * Codes up to 99 are the specification's, those from 100 on are ours; docs/cni.md lists them all. Two tables in
 * cnierr.c are the only place where an error class or a reason becomes a code.
 */
#ifndef CNI_CNIERR_H
#define CNI_CNIERR_H

#include "berth/attr.h"
#include "berth/proto.h"

struct err;

enum cni_code {
	CNI_OK = 0,
	CNI_INCOMPATIBLE_VERSION = 1,
	CNI_UNSUPPORTED_FIELD = 2,
	CNI_UNKNOWN_CONTAINER = 3,
	CNI_INVALID_ENVIRONMENT = 4,
	CNI_IO_FAILURE = 5,
	CNI_DECODE_FAILURE = 6,
	CNI_INVALID_CONFIG = 7,
	CNI_INVALID_NETNS = 8, /* libcni's, not in the text of the specification */
	CNI_TRY_AGAIN = 11,
	CNI_NOT_AVAILABLE = 50,    /* STATUS: no ADD can be served */
	CNI_LIMITED = 51,          /* STATUS: and pods that run may be cut off */
	CNI_INTERNAL = 100,        /* we are wrong */
	CNI_DAEMON_PROTOCOL = 101, /* the daemon speaks something that we do not understand, or refuses what we said */
	CNI_KERNEL = 102,          /* the kernel refused to build the pod's network */
	CNI_CHECK_FAILED = 103,    /* CHECK: the pod's network is not as ADD left it */
	CNI_SUBNET_EXHAUSTED = 110,
	CNI_NODE_LIMIT = 111,
	CNI_CLOUD_PERMISSION = 112,
};

/** struct cnierr - one failure, ready to be printed. */
struct cnierr {
	enum cni_code code;
	char msg[512];
	char details[512];
};

/** cnierr_set() - describe a failure. @details: what to do next, copied. Return: -1. */
_printf_(4, 5) int cnierr_set(struct cnierr *ret, enum cni_code code, const char *details, const char *fmt, ...);

/** cnierr_set_err() - code and details as given, the message is @context, ": " and what @err says. Return: -1. */
int cnierr_set_err(struct cnierr *ret, enum cni_code code, const char *details, const char *context,
		   const struct err *err);

/** cnierr_daemon() - no reply came: proto_call() failed with @err. Return: -1. */
int cnierr_daemon(struct cnierr *ret, const char *context, const struct err *err);

/** cnierr_reply() - the daemon said no. Return: -1. */
int cnierr_reply(struct cnierr *ret, const char *context, const struct proto_reply *reply);

/** cnierr_kernel() - the kernel said no. Return: -1. */
int cnierr_kernel(struct cnierr *ret, const char *context, const struct err *err);

/** cnierr_print() - the error as one line of JSON. @version: "1.1.0" and the like. Return: owned, or NULL without
 * memory. */
char *cnierr_print(const struct cnierr *cnierr, const char *version);

#endif
