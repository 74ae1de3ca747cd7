/* SPDX-License-Identifier: Apache-2.0 */
/* The closed lists of the protocol: operations, pauses, and reasons why no address came. */
#include "berth/proto.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/proto/codec.h"

static const char *const op_names[] = {
	[PROTO_ADD] = "add",       [PROTO_CONFIRM] = "confirm", [PROTO_DEL] = "del",     [PROTO_CHECK] = "check",
	[PROTO_STATUS] = "status", [PROTO_STATE] = "state",     [PROTO_PAUSE] = "pause", [PROTO_GC] = "gc",
};
static_assert(ARRAY_SIZE(op_names) == PROTO_OP_COUNT, "every operation has a name");

const char *proto_op_name(enum proto_op op)
{
	return (unsigned)op < PROTO_OP_COUNT ? op_names[op] : "?";
}

int proto_op_parse(const char *name, enum proto_op *ret)
{
	assert(name && ret);
	for (unsigned i = 0; i < PROTO_OP_COUNT; i++) {
		if (strcmp(name, op_names[i]) != 0)
			continue;
		*ret = (enum proto_op)i;
		return 0;
	}
	return -EINVAL;
}

static const char *const pause_names[] = {
	[PAUSE_NONE] = "none",
	[PAUSE_RELEASES] = "releases",
	[PAUSE_ALL] = "all",
};
static_assert(ARRAY_SIZE(pause_names) == PAUSE_COUNT, "every pause has a name");

const char *pause_name(enum pause pause)
{
	return (unsigned)pause < PAUSE_COUNT ? pause_names[pause] : "?";
}

int pause_parse(const char *name, enum pause *ret)
{
	assert(name && ret);
	for (unsigned i = 0; i < PAUSE_COUNT; i++) {
		if (strcmp(name, pause_names[i]) != 0)
			continue;
		*ret = (enum pause)i;
		return 0;
	}
	return -EINVAL;
}

static const struct {
	const char *name;
	const char *hint;
} reasons[] = {
	[FAIL_NONE] = { "none", "" },
	[FAIL_SUBNET_FULL] = { "subnet_full",
			       "The subnet has no free address: free some in it, add a larger or a second "
			       "pod subnet, or schedule fewer pods here." },
	[FAIL_SUBNET_FRAGMENTED] = { "subnet_fragmented", "The subnet has free addresses but no free range of the size "
							  "asked for: reserve ranges "
							  "in the subnet, or let this node take single addresses." },
	[FAIL_NIC_LIMIT] = { "nic_limit",
			     "Every network interface that this instance may have is full: lower the node's "
			     "max pods, use address ranges instead of single addresses, or a larger "
			     "instance." },
	[FAIL_THROTTLED] = { "throttled",
			     "The cloud's API is slowing this account down: wait, it is retried by itself; if "
			     "it stays, raise the API quota or the warm pool." },
	[FAIL_PERMISSION] = { "permission",
			      "The cloud denied an action: grant it to this node's role; the message names "
			      "the action." },
	[FAIL_METADATA] = { "metadata",
			    "The metadata service or the cloud's API does not answer: check the node's route, "
			    "DNS and security rules to them." },
	[FAIL_COOLING] = { "cooling",
			   "All free addresses were used a moment ago and are cooling down: wait half a minute; "
			   "if it recurs, raise the warm pool." },
	[FAIL_STARTING] = { "starting", "The daemon is still learning what its node has: wait; if it stays, read "
					"berth-ipamd's log." },
	[FAIL_PENDING] = { "pending",
			   "An address was asked for and did not come in time: it is retried by itself; if it "
			   "recurs, raise the warm pool and read berth-ipamd's log." },
	[FAIL_STATE] = { "state",
			 "The daemon cannot write its own state: check space and rights of its run directory." },
	[FAIL_PAUSED] = { "paused",
			  "Changes in the cloud are paused: `berthctl pause none` ends it, and so does the "
			  "setting `pause` with the next start; not where the setting `access` forbids them." },
};
static_assert(ARRAY_SIZE(reasons) == FAIL_REASON_COUNT, "every reason has a name and a hint");

const char *fail_reason_name(enum fail_reason reason)
{
	return (unsigned)reason < FAIL_REASON_COUNT ? reasons[reason].name : "?";
}

int fail_reason_parse(const char *name, enum fail_reason *ret)
{
	assert(name && ret);
	for (unsigned i = 0; i < FAIL_REASON_COUNT; i++) {
		if (strcmp(name, reasons[i].name) != 0)
			continue;
		*ret = (enum fail_reason)i;
		return 0;
	}
	return -EINVAL;
}

const char *fail_reason_hint(enum fail_reason reason)
{
	return (unsigned)reason < FAIL_REASON_COUNT ? reasons[reason].hint : "";
}
