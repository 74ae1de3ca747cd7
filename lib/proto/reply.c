/* SPDX-License-Identifier: Apache-2.0 */
#include "berth/proto.h"

#include <assert.h>
#include <string.h>

#include <jansson.h>

#include "berth/json.h"
#include "berth/str.h"
#include "lib/proto/codec.h"

#define MTU_MAX 65535 /* bytes; the kernel's for veth */

void proto_reply_done(struct proto_reply *reply)
{
	if (!reply)
		return;
	json_decref(reply->state);
	*reply = (struct proto_reply){ 0 };
}

/* Error texts quote what others sent, which need not be UTF-8; a message that is a little damaged beats none. */
static json_t *string_of(const char *text)
{
	char ascii[sizeof(((struct err *)NULL)->msg)];
	json_t *string = json_string(text);

	if (string)
		return string;
	(void)str_copy(ascii, sizeof(ascii), text);
	for (char *at = ascii; *at; at++)
		if ((unsigned char)*at >= 0x80)
			*at = '?';
	return json_string(ascii);
}

static bool put_text(json_t *object, const char *name, const char *text)
{
	return !*text || json_object_set_new(object, name, string_of(text)) == 0;
}

static bool put_address(json_t *object, const struct proto_address *address)
{
	char text[PREFIX_STRLEN], gateway[IPADDR_STRLEN];

	return put_text(object, "address", prefix_str(&address->address, text)) &&
	       put_text(object, "gateway", ipaddr_str(&address->gateway, gateway));
}

static json_t *addresses_of(const struct proto_reply *reply)
{
	json_auto_t *array = json_array();

	for (unsigned i = 0; i < reply->address_count; i++) {
		json_auto_t *object = json_object();

		if (!put_address(object, &reply->addresses[i]) || json_array_append(array, object) < 0)
			return NULL;
	}
	return json_incref(array);
}

static bool put_addresses(json_t *object, const struct proto_reply *reply)
{
	if (reply->address_count == 0)
		return true;
	return put_address(object, &reply->addresses[0]) &&
	       json_object_set_new(object, "mtu", json_integer(reply->mtu)) == 0 &&
	       put_text(object, "host_ifname", reply->host_ifname) &&
	       json_object_set_new(object, "addresses", addresses_of(reply)) == 0;
}

static bool put_error(json_t *object, const struct proto_reply *reply)
{
	json_auto_t *error = json_object();
	const struct err *e = &reply->error;
	bool ok;

	ok = put_text(error, "class", err_class_name(e->class)) && put_text(error, "msg", e->msg) &&
	     put_text(error, "ident", e->ident);
	if (ok && reply->reason != FAIL_NONE)
		ok = put_text(error, "reason", fail_reason_name(reply->reason)) &&
		     put_text(error, "hint", fail_reason_hint(reply->reason));
	if (ok && e->retry_after_ms > 0)
		ok = json_object_set_new(error, "retry_after_ms", json_integer(e->retry_after_ms)) == 0;
	return ok && json_object_set(object, "error", error) == 0;
}

char *proto_reply_encode(const struct proto_reply *reply, size_t *ret_size)
{
	json_auto_t *object = json_object();
	bool ok;

	assert(reply);
	assert(reply->address_count <= IP_FAMILIES);
	assert(reply->ok || (reply->error.class > ERR_NONE && reply->error.class < ERR_CLASS_COUNT));
	ok = json_object_set_new(object, "v", json_integer(PROTO_VERSION)) == 0 &&
	     json_object_set_new(object, "ok", json_boolean(reply->ok)) == 0;
	if (ok)
		ok = reply->ok ? put_addresses(object, reply) : put_error(object, reply);
	if (ok && reply->ok && reply->state)
		ok = json_object_set(object, "state", reply->state) == 0;
	return ok ? line_encode(object, PROTO_REPLY_MAX, ret_size) : NULL;
}

/* The rules of the kernel's dev_valid_name(); the name becomes part of a path in /proc/sys. */
static int get_host_ifname(const json_t *object, struct proto_reply *reply, struct err *err)
{
	const char *name = "";

	if (json_get_str_opt(object, PROTO_DOMAIN, "host_ifname", &name, err) < 0)
		return -1;
	if (str_copy(reply->host_ifname, sizeof(reply->host_ifname), name) < 0 || strpbrk(name, "/: \t\r\n\v\f") ||
	    str_equal(name, ".") || str_equal(name, ".."))
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "'host_ifname' '%s' is no interface name", name);
	return 0;
}

/* Appends an address, which must be whole and of a family that is not there yet. */
static int get_address(const json_t *object, struct proto_reply *reply, struct err *err)
{
	const char *address, *gateway;
	struct proto_address got;

	if (json_get_str(object, PROTO_DOMAIN, "address", &address, err) < 0 ||
	    json_get_str(object, PROTO_DOMAIN, "gateway", &gateway, err) < 0)
		return -1;
	if (prefix_parse(address, &got.address) < 0 || got.address.len != ipaddr_bits(&got.address.addr))
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "'address' '%s' is no whole address", address);
	if (ipaddr_parse(gateway, &got.gateway) < 0 || got.gateway.family != got.address.addr.family)
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "'gateway' '%s' is no address of the family of %s",
			       gateway, address);
	for (unsigned i = 0; i < reply->address_count; i++)
		if (reply->addresses[i].address.addr.family == got.address.addr.family)
			return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "'addresses' has two of the family of %s",
				       address);
	/* There are as many families as places. */
	reply->addresses[reply->address_count++] = got;
	return 0;
}

/* From "addresses", or from a daemon that does not know it yet. */
static int get_addresses(const json_t *object, struct proto_reply *reply, struct err *err)
{
	const char *address = NULL;
	json_t *array = NULL, *one;
	size_t i;

	if (json_get_arr_opt(object, PROTO_DOMAIN, "addresses", &array, err) < 0)
		return -1;
	if (!array && json_get_str_opt(object, PROTO_DOMAIN, "address", &address, err) < 0)
		return -1;
	if (!array)
		return address ? get_address(object, reply, err) : 0;
	json_array_foreach (array, i, one) {
		if (!json_is_object(one))
			return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "'addresses' holds what is no object");
		if (get_address(one, reply, err) < 0)
			return -1;
	}
	return 0;
}

static int get_lease(const json_t *object, struct proto_reply *reply, struct err *err)
{
	int64_t mtu = 0;

	if (get_addresses(object, reply, err) < 0)
		return -1;
	if (reply->address_count == 0)
		return 0;
	if (json_get_int_opt(object, PROTO_DOMAIN, "mtu", 0, MTU_MAX, &mtu, err) < 0)
		return -1;
	reply->mtu = (unsigned)mtu;
	return get_host_ifname(object, reply, err);
}

static enum err_class class_of(const char *name)
{
	enum err_class class;

	return err_class_parse(name, &class) == 0 && class != ERR_NONE ? class : ERR_RETRY;
}

static int get_error(const json_t *object, struct proto_reply *reply, struct err *err)
{
	const char *class, *msg = "", *reason = "", *ident = "";
	json_t *error = NULL;
	int64_t retry_after_ms = 0;

	if (json_get_obj_opt(object, PROTO_DOMAIN, "error", &error, err) < 0)
		return -1;
	if (!error)
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "not ok, but 'error' is missing");
	if (json_get_str(error, PROTO_DOMAIN, "class", &class, err) < 0 ||
	    json_get_str_opt(error, PROTO_DOMAIN, "msg", &msg, err) < 0 ||
	    json_get_str_opt(error, PROTO_DOMAIN, "reason", &reason, err) < 0 ||
	    json_get_str_opt(error, PROTO_DOMAIN, "ident", &ident, err) < 0 ||
	    json_get_int_opt(error, PROTO_DOMAIN, "retry_after_ms", 0, INT64_MAX, &retry_after_ms, err) < 0)
		return -1;
	(void)err_set(&reply->error, class_of(class), "ipamd", "%s", msg);
	err_set_ident(&reply->error, ident);
	reply->error.retry_after_ms = retry_after_ms;
	if (fail_reason_parse(reason, &reply->reason) < 0)
		reply->reason = FAIL_NONE;
	return 0;
}

int proto_reply_decode(const char *line, size_t size, struct proto_reply *ret, struct err *err)
{
	json_auto_t *object = NULL;
	struct proto_reply reply = { 0 };
	json_t *ok, *state = NULL;

	assert(ret);
	if (line_decode(line, size, PROTO_REPLY_MAX, &object, err) < 0)
		return -1;
	ok = json_object_get(object, "ok");
	if (!json_is_boolean(ok))
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "'ok' is missing or not true or false");
	reply.ok = json_is_true(ok);
	if ((reply.ok ? get_lease(object, &reply, err) : get_error(object, &reply, err)) < 0)
		return -1;
	if (reply.ok && json_get_obj_opt(object, PROTO_DOMAIN, "state", &state, err) < 0)
		return -1;
	reply.state = json_incref(state);
	*ret = reply;
	return 0;
}
