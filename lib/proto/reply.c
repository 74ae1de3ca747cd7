/* SPDX-License-Identifier: Apache-2.0 */
#include "berth/proto.h"

#include <assert.h>
#include <inttypes.h>
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

/* Needs a text no escape in JSON? Nearly all of ours. */
static bool is_plain(const char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~' || *text == '"' || *text == '\\')
			return false;
	return true;
}

static void add_string(struct strbuf *line, const char *text)
{
	_cleanup_free_ char *quoted = NULL;
	json_auto_t *string = NULL;

	if (is_plain(text)) {
		strbuf_add(line, "\"");
		strbuf_add(line, text);
		strbuf_add(line, "\"");
		return;
	}
	string = string_of(text);
	quoted = string ? json_print(string) : NULL;
	if (quoted)
		strbuf_add(line, quoted);
	else
		line->failed = true;
}

/* Behind another member; an empty text is left out. */
static void add_member(struct strbuf *line, const char *name, const char *text)
{
	if (!*text)
		return;
	strbuf_add(line, ",\"");
	strbuf_add(line, name);
	strbuf_add(line, "\":");
	add_string(line, text);
}

static void add_address(struct strbuf *line, const struct proto_address *address)
{
	char text[PREFIX_STRLEN];

	strbuf_add(line, "{\"address\":");
	add_string(line, prefix_str(&address->address, text));
	add_member(line, "gateway", ipaddr_str(&address->gateway, text));
	if (address->subnet.addr.family != IP_NONE)
		add_member(line, "subnet", prefix_str(&address->subnet, text));
	if (address->router.family != IP_NONE)
		add_member(line, "router", ipaddr_str(&address->router, text));
	strbuf_add(line, "}");
}

static void add_addresses(struct strbuf *line, const struct proto_reply *reply)
{
	strbuf_add(line, ",\"addresses\":[");
	for (unsigned i = 0; i < reply->address_count; i++) {
		strbuf_add(line, i ? "," : "");
		add_address(line, &reply->addresses[i]);
	}
	strbuf_add(line, "]");
}

static void add_lease(struct strbuf *line, const struct proto_reply *reply)
{
	char text[PREFIX_STRLEN];

	add_member(line, "address", prefix_str(&reply->addresses[0].address, text));
	add_member(line, "gateway", ipaddr_str(&reply->addresses[0].gateway, text));
	strbuf_printf(line, ",\"mtu\":%u", reply->mtu);
	add_member(line, "host_ifname", reply->host_ifname);
	if (reply->delegated)
		strbuf_add(line, ",\"delegated\":true");
	if (reply->egress.address.addr.family != IP_NONE) {
		strbuf_add(line, ",\"egress\":");
		add_address(line, &reply->egress);
	}
	add_member(line, "missing", reply->missing);
	if (reply->address_count > 1 || reply->delegated)
		add_addresses(line, reply);
}

static void add_state(struct strbuf *line, const struct json_t *state)
{
	_cleanup_free_ char *text = json_print(state);

	strbuf_add(line, ",\"state\":");
	if (text)
		strbuf_add(line, text);
	else
		line->failed = true;
}

static void add_error(struct strbuf *line, const struct proto_reply *reply)
{
	const struct err *e = &reply->error;

	strbuf_add(line, ",\"error\":{\"class\":");
	add_string(line, err_class_name(e->class));
	add_member(line, "msg", e->msg);
	add_member(line, "ident", e->ident);
	if (reply->reason != FAIL_NONE) {
		add_member(line, "reason", fail_reason_name(reply->reason));
		add_member(line, "hint", fail_reason_hint(reply->reason));
	}
	if (e->retry_after_ms > 0)
		strbuf_printf(line, ",\"retry_after_ms\":%" PRId64, e->retry_after_ms);
	strbuf_add(line, "}");
}

/* Written as text: a lease as a tree of JSON values costs 6 µs more, a tenth of all that an ADD and DEL cost the core. */
char *proto_reply_encode(const struct proto_reply *reply, size_t *ret_size)
{
	_cleanup_strbuf_ struct strbuf line = { .max_len = PROTO_REPLY_MAX };

	assert(reply);
	assert(reply->address_count <= IP_FAMILIES);
	assert(reply->ok || (reply->error.class > ERR_NONE && reply->error.class < ERR_CLASS_COUNT));
	strbuf_printf(&line, "{\"v\":%d,\"ok\":%s", PROTO_VERSION, reply->ok ? "true" : "false");
	if (!reply->ok)
		add_error(&line, reply);
	if (reply->ok && reply->address_count > 0)
		add_lease(&line, reply);
	if (reply->swept)
		strbuf_printf(&line, ",\"freed\":%u,\"kept\":%u,\"more\":%s", reply->freed, reply->kept,
			      reply->more ? "true" : "false");
	if (reply->limited)
		strbuf_add(&line, ",\"limited\":true");
	if (reply->ok && reply->state)
		add_state(&line, reply->state);
	strbuf_add(&line, "}\n");
	if (!line.failed && ret_size)
		*ret_size = line.len;
	return strbuf_take(&line);
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

/* What only a delegated lease has. */
static int get_subnet(const json_t *object, struct proto_address *got, struct err *err)
{
	const char *subnet = NULL, *router = NULL;

	if (json_get_str_opt(object, PROTO_DOMAIN, "subnet", &subnet, err) < 0 ||
	    json_get_str_opt(object, PROTO_DOMAIN, "router", &router, err) < 0)
		return -1;
	if (subnet && (prefix_parse(subnet, &got->subnet) < 0 || got->subnet.addr.family != got->address.addr.family))
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "'subnet' '%s' is none of the address's family",
			       subnet);
	if (router && (ipaddr_parse(router, &got->router) < 0 || got->router.family != got->address.addr.family))
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "'router' '%s' is no address of the family", router);
	return 0;
}

static bool has_family(const struct proto_reply *reply, unsigned family)
{
	for (unsigned i = 0; i < reply->address_count; i++)
		if (reply->addresses[i].address.addr.family == family)
			return true;
	return false;
}

/* Of a family that is not there yet, and whole. */
static int read_address(const json_t *object, const struct proto_reply *reply, struct proto_address *ret,
			struct err *err)
{
	const char *address, *gateway;
	struct proto_address got = { 0 };

	if (json_get_str(object, PROTO_DOMAIN, "address", &address, err) < 0 ||
	    json_get_str(object, PROTO_DOMAIN, "gateway", &gateway, err) < 0)
		return -1;
	if (prefix_parse(address, &got.address) < 0 || got.address.len != ipaddr_bits(&got.address.addr))
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "'address' '%s' is no whole address", address);
	if (ipaddr_parse(gateway, &got.gateway) < 0 || got.gateway.family != got.address.addr.family)
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "'gateway' '%s' is no address of the family of %s",
			       gateway, address);
	if (get_subnet(object, &got, err) < 0)
		return -1;
	if (has_family(reply, got.address.addr.family))
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "'addresses' has two of the family of %s", address);
	*ret = got;
	return 0;
}

static int get_address(const json_t *object, struct proto_reply *reply, struct err *err)
{
	struct proto_address got = { 0 };

	if (read_address(object, reply, &got, err) < 0)
		return -1;
	/* There are as many families as places. */
	reply->addresses[reply->address_count++] = got;
	return 0;
}

/* From "addresses"; a lease of one address has none. */
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
	const char *missing = "";
	json_t *egress = NULL;
	int64_t mtu = 0;

	if (get_addresses(object, reply, err) < 0)
		return -1;
	if (reply->address_count == 0)
		return 0;
	if (json_get_int_opt(object, PROTO_DOMAIN, "mtu", 0, MTU_MAX, &mtu, err) < 0)
		return -1;
	reply->mtu = (unsigned)mtu;
	if (json_get_bool_opt(object, PROTO_DOMAIN, "delegated", &reply->delegated, err) < 0 ||
	    json_get_obj_opt(object, PROTO_DOMAIN, "egress", &egress, err) < 0 ||
	    (egress && read_address(egress, reply, &reply->egress, err) < 0) ||
	    json_get_str_opt(object, PROTO_DOMAIN, "missing", &missing, err) < 0)
		return -1;
	(void)str_copy(reply->missing, sizeof(reply->missing), missing); /* more than fits is as good cut */
	return get_host_ifname(object, reply, err);
}

static int get_swept(const json_t *object, struct proto_reply *reply, struct err *err)
{
	int64_t freed = 0, kept = 0;

	if (!json_object_get(object, "freed"))
		return 0;
	if (json_get_int(object, PROTO_DOMAIN, "freed", 0, UINT32_MAX, &freed, err) < 0 ||
	    json_get_int_opt(object, PROTO_DOMAIN, "kept", 0, UINT32_MAX, &kept, err) < 0 ||
	    json_get_bool_opt(object, PROTO_DOMAIN, "more", &reply->more, err) < 0)
		return -1;
	reply->swept = true;
	reply->freed = (unsigned)freed;
	reply->kept = (unsigned)kept;
	return 0;
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
	if (get_swept(object, &reply, err) < 0 ||
	    (reply.ok && json_get_obj_opt(object, PROTO_DOMAIN, "state", &state, err) < 0))
		return -1;
	if (json_get_bool_opt(object, PROTO_DOMAIN, "limited", &reply.limited, err) < 0)
		return -1;
	reply.state = json_incref(state);
	*ret = reply;
	return 0;
}
