/* SPDX-License-Identifier: Apache-2.0 */
#include "berth/proto.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "berth/json.h"
#include "berth/str.h"
#include "lib/proto/codec.h"

#define TIMEOUT_MAX_MS INT64_C(86400000) /* a day: nothing waits longer, and µs of it fit anywhere */

#define HASH_DIGITS 16

void proto_request_done(struct proto_request *request)
{
	if (!request)
		return;
	free(request->valid);
	*request = (struct proto_request){ 0 };
}

static bool op_has_key(enum proto_op op)
{
	return op != PROTO_STATUS && op != PROTO_STATE && op != PROTO_PAUSE && op != PROTO_GC;
}

/* Empty texts are left out; false on failure. */
static bool put_text(json_t *object, const char *name, const char *text)
{
	return !*text || json_object_set_new(object, name, json_string(text)) == 0;
}

/* What only an ADD says; false on failure. */
static bool put_add(json_t *object, const struct proto_request *request)
{
	return put_text(object, "pod_namespace", request->pod.namespace) &&
	       put_text(object, "pod_name", request->pod.name) && put_text(object, "pod_uid", request->pod.uid) &&
	       put_text(object, "host_ifname", request->host_ifname) &&
	       (!request->delegated || json_object_set_new(object, "delegated", json_true()) == 0) &&
	       (runtime_is_empty(&request->runtime) ||
		json_object_set_new(object, "runtime", runtime_json(&request->runtime)) == 0);
}

/* What only a GC says; false on failure. */
static bool put_gc(json_t *object, const struct proto_request *request)
{
	json_t *valid = json_array();
	char text[HASH_DIGITS + 1];
	bool ok = put_text(object, "network", request->key.network) &&
		  json_object_set_new(object, "since_us", json_integer(request->since_us)) == 0 &&
		  json_object_set_new(object, "count", json_integer(request->valid_count)) == 0;

	for (unsigned i = 0; ok && i < request->valid_count; i++) {
		(void)snprintf(text, sizeof(text), "%016" PRIx64, request->valid[i]);
		ok = json_array_append_new(valid, json_string(text)) == 0;
	}
	/* Takes the array, also when it fails. */
	return json_object_set_new(object, "valid", valid) == 0 && ok;
}

char *proto_request_encode(const struct proto_request *request, size_t *ret_size)
{
	json_auto_t *object = json_object();
	bool ok;

	assert(request);
	assert((unsigned)request->op < PROTO_OP_COUNT);
	ok = json_object_set_new(object, "v", json_integer(PROTO_VERSION)) == 0 &&
	     put_text(object, "op", proto_op_name(request->op));
	if (ok && op_has_key(request->op))
		ok = put_text(object, "network", request->key.network) &&
		     put_text(object, "container", request->key.container) &&
		     put_text(object, "ifname", request->key.ifname) && put_text(object, "netns", request->netns);
	if (ok && request->op == PROTO_ADD)
		ok = put_add(object, request);
	if (ok && request->op == PROTO_GC)
		ok = put_gc(object, request);
	if (ok && request->op == PROTO_PAUSE)
		ok = put_text(object, "what", pause_name(request->pause));
	if (ok && request->timeout_ms > 0)
		ok = json_object_set_new(object, "timeout_ms", json_integer(request->timeout_ms)) == 0;
	return ok ? line_encode(object, request->op == PROTO_GC ? PROTO_GC_MAX : PROTO_REQUEST_MAX, ret_size) : NULL;
}

enum presence { MUST_EXIST, MAY_BE_ABSENT };

static int get_text(const json_t *object, const char *name, enum presence presence, char *dst, size_t dst_size,
		    struct err *err)
{
	const char *text = "";

	if (presence == MUST_EXIST && json_get_str(object, PROTO_DOMAIN, name, &text, err) < 0)
		return -1;
	if (presence == MAY_BE_ABSENT && json_get_str_opt(object, PROTO_DOMAIN, name, &text, err) < 0)
		return -1;
	if (str_copy(dst, dst_size, text) < 0)
		return err_set(err, ERR_INVALID, PROTO_DOMAIN, "'%s' is longer than %zu bytes", name, dst_size - 1);
	return 0;
}

static int get_key(const json_t *object, struct lease_key *key, struct err *err)
{
	if (get_text(object, "network", MUST_EXIST, key->network, sizeof(key->network), err) < 0 ||
	    get_text(object, "container", MUST_EXIST, key->container, sizeof(key->container), err) < 0 ||
	    get_text(object, "ifname", MUST_EXIST, key->ifname, sizeof(key->ifname), err) < 0)
		return -1;
	return proto_key_check(key, err);
}

static int get_pod(const json_t *object, struct pod_name *pod, struct err *err)
{
	if (get_text(object, "pod_namespace", MAY_BE_ABSENT, pod->namespace, sizeof(pod->namespace), err) < 0 ||
	    get_text(object, "pod_name", MAY_BE_ABSENT, pod->name, sizeof(pod->name), err) < 0)
		return -1;
	return get_text(object, "pod_uid", MAY_BE_ABSENT, pod->uid, sizeof(pod->uid), err);
}

/* Nothing else is meant by a word that is not known: an operator who asks for more than there is must hear of it. */
static int get_pause(const json_t *object, enum pause *ret, struct err *err)
{
	const char *what;

	if (json_get_str(object, PROTO_DOMAIN, "what", &what, err) < 0)
		return -1;
	if (pause_parse(what, ret) < 0)
		return err_set(err, ERR_INVALID, PROTO_DOMAIN, "pause is '%.32s', not none, releases or all", what);
	return 0;
}

static int get_wiring(const json_t *object, struct proto_request *request, struct err *err)
{
	json_t *runtime = NULL;
	const char *name = "";

	if (json_get_str_opt(object, PROTO_DOMAIN, "host_ifname", &name, err) < 0 ||
	    json_get_bool_opt(object, PROTO_DOMAIN, "delegated", &request->delegated, err) < 0)
		return -1;
	if (*name && !proto_ifname_check(name))
		return err_set(err, ERR_INVALID, PROTO_DOMAIN, "'host_ifname' '%.32s' is no interface name", name);
	(void)str_copy(request->host_ifname, sizeof(request->host_ifname), name);
	if (json_get_obj_opt(object, PROTO_DOMAIN, "runtime", &runtime, err) < 0)
		return -1;
	return runtime ? runtime_read(runtime, &request->runtime, err) : 0;
}

static int get_hash(const json_t *item, uint64_t *ret, struct err *err)
{
	const char *text = json_string_value(item);

	*ret = 0;
	if (!text || strlen(text) != HASH_DIGITS)
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "'valid' holds what is no key's hash");
	for (; *text; text++) {
		const char *digits = "0123456789abcdef", *digit = strchr(digits, *text);

		if (!digit)
			return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "'valid' holds what is no key's hash");
		*ret = *ret << 4 | (uint64_t)(digit - digits);
	}
	return 0;
}

/* "count" says how many there were when the list was made: one that lost its end frees nothing. */
static int get_valid(const json_t *object, struct proto_request *request, struct err *err)
{
	json_t *array = NULL, *item;
	int64_t count;
	size_t i;

	if (json_get_arr_opt(object, PROTO_DOMAIN, "valid", &array, err) < 0 ||
	    json_get_int(object, PROTO_DOMAIN, "count", 0, PROTO_GC_KEYS_MAX, &count, err) < 0)
		return -1;
	if ((size_t)count != json_array_size(array))
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "'valid' has %zu entries, 'count' says %" PRId64,
			       json_array_size(array), count);
	if (count == 0)
		return 0;
	request->valid = calloc((size_t)count, sizeof(*request->valid));
	if (!request->valid)
		return err_set(err, ERR_RETRY, PROTO_DOMAIN, "no memory for %" PRId64 " attachments", count);
	request->valid_count = (unsigned)count;
	json_array_foreach (array, i, item) {
		if (get_hash(item, &request->valid[i], err) < 0)
			return -1;
	}
	return 0;
}

static int get_gc(const json_t *object, struct proto_request *request, struct err *err)
{
	struct lease_key any = { .container = "c", .ifname = "i" };

	if (get_text(object, "network", MUST_EXIST, any.network, sizeof(any.network), err) < 0 ||
	    proto_key_check(&any, err) < 0 ||
	    json_get_int_opt(object, PROTO_DOMAIN, "since_us", 0, INT64_MAX, &request->since_us, err) < 0)
		return -1;
	(void)str_copy(request->key.network, sizeof(request->key.network), any.network);
	return get_valid(object, request, err);
}

int proto_request_decode(const char *line, size_t size, struct proto_request *ret, struct err *err)
{
	json_auto_t *object = NULL;
	_cleanup_request_ struct proto_request request = { 0 };
	const char *op;

	assert(ret);
	if (line_decode(line, size, PROTO_GC_MAX, &object, err) < 0 ||
	    json_get_str(object, PROTO_DOMAIN, "op", &op, err) < 0)
		return -1;
	if (proto_op_parse(op, &request.op) < 0)
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "unknown op '%s'", op);
	if (size > PROTO_REQUEST_MAX && request.op != PROTO_GC)
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "request of %zu bytes, more than %d", size,
			       PROTO_REQUEST_MAX);
	if (op_has_key(request.op) &&
	    (get_key(object, &request.key, err) < 0 ||
	     get_text(object, "netns", MAY_BE_ABSENT, request.netns, sizeof(request.netns), err) < 0))
		return -1;
	if (request.op == PROTO_ADD &&
	    (get_pod(object, &request.pod, err) < 0 || get_wiring(object, &request, err) < 0))
		return -1;
	if (request.op == PROTO_GC && get_gc(object, &request, err) < 0)
		return -1;
	if (request.op == PROTO_PAUSE && get_pause(object, &request.pause, err) < 0)
		return -1;
	if (json_get_int_opt(object, PROTO_DOMAIN, "timeout_ms", 0, TIMEOUT_MAX_MS, &request.timeout_ms, err) < 0)
		return -1;
	*ret = request;
	request.valid = NULL;
	return 0;
}
