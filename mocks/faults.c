/* SPDX-License-Identifier: Apache-2.0 */
#include "faults.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "berth/err.h"
#include "berth/json.h"
#include "berth/str.h"

static const char *const kind_names[] = {
	[FAULT_LATENCY] = "latency",
	[FAULT_THROTTLE] = "throttle",
	[FAULT_ERROR] = "error",
	[FAULT_LOST_ANSWER] = "lost_answer",
	[FAULT_LATE_ANSWER] = "late_answer",
	[FAULT_HTML502] = "html502",
	[FAULT_GARBAGE] = "garbage",
	[FAULT_HANG] = "hang",
	[FAULT_HALF] = "half",
};
static_assert(ARRAY_SIZE(kind_names) == FAULT_KIND_COUNT, "one name per kind");

const char *fault_kind_name(enum fault_kind kind)
{
	return kind < FAULT_KIND_COUNT ? kind_names[kind] : "?";
}

static int kind_parse(const char *name, enum fault_kind *ret)
{
	for (unsigned i = 0; i < FAULT_KIND_COUNT; i++)
		if (str_equal(name, kind_names[i])) {
			*ret = (enum fault_kind)i;
			return 0;
		}
	return -EINVAL;
}

static int copy_field(const struct json_t *json, const char *key, char *dst, size_t size, struct err *err)
{
	const char *text = NULL;

	if (json_get_str_opt(json, "fault", key, &text, err) < 0)
		return -1;
	if (text && str_copy(dst, size, text) < 0)
		return err_set(err, ERR_PROTOCOL, "fault", "%s is longer than %zu bytes", key, size - 1);
	return 0;
}

int fault_parse(const struct json_t *json, struct fault *ret, struct err *err)
{
	struct fault fault = { .count = 1, .ms = 1000 };
	const char *kind = NULL;
	int64_t status = 0;

	if (json_get_str(json, "fault", "kind", &kind, err) < 0)
		return -1;
	if (kind_parse(kind, &fault.kind) < 0)
		return err_set(err, ERR_PROTOCOL, "fault", "unknown kind %s", kind);
	if (copy_field(json, "action", fault.action, sizeof(fault.action), err) < 0 ||
	    copy_field(json, "match", fault.match, sizeof(fault.match), err) < 0 ||
	    copy_field(json, "code", fault.code, sizeof(fault.code), err) < 0 ||
	    copy_field(json, "message", fault.message, sizeof(fault.message), err) < 0 ||
	    json_get_int_opt(json, "fault", "count", FAULT_FOREVER, INT32_MAX, &fault.count, err) < 0 ||
	    json_get_int_opt(json, "fault", "ms", 0, FAULT_MS_MAX, &fault.ms, err) < 0 ||
	    json_get_int_opt(json, "fault", "status", 100, 599, &status, err) < 0)
		return -1;
	if (!fault.action[0])
		return err_set(err, ERR_PROTOCOL, "fault", "action is missing");
	fault.status = (int)status;
	*ret = fault;
	return 0;
}

int faults_add(struct faults *faults, const struct fault *fault)
{
	if (faults->count == FAULTS_MAX)
		return -ENOSPC;
	faults->items[faults->count++] = *fault;
	return 0;
}

static void remove_at(struct faults *faults, unsigned index)
{
	faults->count--;
	memmove(&faults->items[index], &faults->items[index + 1], (faults->count - index) * sizeof(faults->items[0]));
}

bool faults_take(struct faults *faults, const char *action, const char *detail, struct fault *ret)
{
	for (unsigned i = 0; i < faults->count; i++) {
		struct fault *fault = &faults->items[i];

		if (!str_equal(fault->action, "*") && !str_equal(fault->action, action))
			continue;
		if (fault->match[0] && !strstr(detail, fault->match))
			continue;
		*ret = *fault;
		if (fault->count != FAULT_FOREVER && --fault->count <= 0)
			remove_at(faults, i);
		return true;
	}
	return false;
}

void faults_clear(struct faults *faults)
{
	faults->count = 0;
}
