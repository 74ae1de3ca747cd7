/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container runtime asks of a pod's wiring, as the socket and the store have it. A port is one word,
 * PROTOCOL:HOSTPORT:PORT[@HOSTADDRESS]: 64 of them fit a request, which 64 objects would not.
 */
#include "berth/proto.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "berth/attr.h"
#include "berth/json.h"
#include "berth/str.h"
#include "lib/proto/codec.h"

#define PORT_STRLEN (sizeof("sctp:65535:65535@") + IPADDR_STRLEN)

static const struct protocol {
	uint8_t number;
	const char *name;
} protocols[] = { { IPPROTO_TCP, "tcp" }, { IPPROTO_UDP, "udp" }, { IPPROTO_SCTP, "sctp" } };

const char *runtime_protocol_name(uint8_t protocol)
{
	for (unsigned i = 0; i < ARRAY_SIZE(protocols); i++)
		if (protocols[i].number == protocol)
			return protocols[i].name;
	return NULL;
}

int runtime_protocol_parse(const char *name, uint8_t *ret)
{
	for (unsigned i = 0; i < ARRAY_SIZE(protocols); i++) {
		if (strcasecmp(protocols[i].name, name) == 0) {
			*ret = protocols[i].number;
			return 0;
		}
	}
	return -EINVAL;
}

/* ---- bandwidth ---- */

static const struct limit {
	const char *name;
	size_t at;
} limits[] = {
	{ "ingress_rate", offsetof(struct bandwidth, ingress_rate) },
	{ "ingress_burst", offsetof(struct bandwidth, ingress_burst) },
	{ "egress_rate", offsetof(struct bandwidth, egress_rate) },
	{ "egress_burst", offsetof(struct bandwidth, egress_burst) },
};

static uint64_t *limit_of(struct bandwidth *bandwidth, const struct limit *limit)
{
	return (uint64_t *)(void *)((char *)bandwidth + limit->at);
}

static bool is_limited(const struct bandwidth *bandwidth)
{
	return bandwidth->ingress_rate || bandwidth->ingress_burst || bandwidth->egress_rate || bandwidth->egress_burst;
}

static bool put_bandwidth(json_t *object, const struct bandwidth *bandwidth)
{
	struct bandwidth values = *bandwidth;
	json_t *put = json_object();
	bool ok = put != NULL;

	for (unsigned i = 0; ok && i < ARRAY_SIZE(limits); i++) {
		uint64_t value = *limit_of(&values, &limits[i]);

		ok = !value || json_object_set_new(put, limits[i].name, json_integer((json_int_t)value)) == 0;
	}
	return json_object_set_new(object, "bandwidth", put) == 0 && ok;
}

static int get_bandwidth(const json_t *object, struct bandwidth *ret, struct err *err)
{
	json_t *put = NULL;

	if (json_get_obj_opt(object, PROTO_DOMAIN, "bandwidth", &put, err) < 0)
		return -1;
	for (unsigned i = 0; put && i < ARRAY_SIZE(limits); i++) {
		int64_t value = 0;

		if (json_get_int_opt(put, PROTO_DOMAIN, limits[i].name, 0, INT64_MAX, &value, err) < 0)
			return -1;
		*limit_of(ret, &limits[i]) = (uint64_t)value;
	}
	return 0;
}

/* ---- ports ---- */

static void print_port(const struct port_map *map, char ret[static PORT_STRLEN])
{
	const char *protocol = runtime_protocol_name(map->protocol);
	char addr[IPADDR_STRLEN];

	assert(protocol);
	(void)snprintf(ret, PORT_STRLEN, "%s:%u:%u%s%s", protocol, map->host_port, map->port,
		       map->host_addr.family == IP_NONE ? "" : "@",
		       map->host_addr.family == IP_NONE ? "" : ipaddr_str(&map->host_addr, addr));
}

static bool put_ports(json_t *object, const struct runtime_config *runtime)
{
	json_t *ports = json_array();
	bool ok = ports != NULL;
	char text[PORT_STRLEN];

	for (unsigned i = 0; ok && i < runtime->port_count; i++) {
		print_port(&runtime->ports[i], text);
		ok = json_array_append_new(ports, json_string(text)) == 0;
	}
	return json_object_set_new(object, "ports", ports) == 0 && ok;
}

/* A number from 1 to 65535 up to @end. Return: behind @end, or NULL. */
static const char *read_number(const char *text, char end, uint16_t *ret)
{
	uint32_t number = 0;

	if (*text == '0')
		return NULL;
	for (; *text >= '0' && *text <= '9' && number <= UINT16_MAX; text++)
		number = number * 10 + (uint32_t)(*text - '0');
	if (number == 0 || number > UINT16_MAX || *text != end)
		return NULL;
	*ret = (uint16_t)number;
	return end ? text + 1 : text;
}

static bool parse_port(const char *text, struct port_map *ret)
{
	size_t len = strcspn(text, ":");
	const char *at = strchr(text, '@'), *rest;
	char protocol[8] = "";

	if (text[len] != ':' || len >= sizeof(protocol))
		return false;
	memcpy(protocol, text, len);
	if (runtime_protocol_parse(protocol, &ret->protocol) < 0)
		return false;
	rest = read_number(text + len + 1, ':', &ret->host_port);
	rest = rest ? read_number(rest, at ? '@' : '\0', &ret->port) : NULL;
	return rest && (!at || ipaddr_parse(rest, &ret->host_addr) == 0);
}

static int get_ports(const json_t *object, struct runtime_config *ret, struct err *err)
{
	json_t *ports = NULL, *one;
	size_t i;

	if (json_get_arr_opt(object, PROTO_DOMAIN, "ports", &ports, err) < 0)
		return -1;
	if (json_array_size(ports) > RUNTIME_PORTS_MAX)
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "'ports' has %zu, more than %d", json_array_size(ports),
			       RUNTIME_PORTS_MAX);
	json_array_foreach (ports, i, one) {
		const char *text = json_string_value(one);

		if (!text || !parse_port(text, &ret->ports[i]))
			return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN,
				       "'ports' holds '%.64s', not PROTOCOL:HOSTPORT:PORT[@ADDRESS]",
				       text ? text : "?");
		ret->port_count++;
	}
	return 0;
}

/* ---- both ---- */

bool runtime_is_empty(const struct runtime_config *runtime)
{
	return runtime->port_count == 0 && !is_limited(&runtime->bandwidth);
}

struct json_t *runtime_json(const struct runtime_config *runtime)
{
	json_t *object = json_object();

	assert(runtime->port_count <= RUNTIME_PORTS_MAX);
	if (object && (runtime->port_count == 0 || put_ports(object, runtime)) &&
	    (!is_limited(&runtime->bandwidth) || put_bandwidth(object, &runtime->bandwidth)))
		return object;
	json_decref(object);
	return NULL;
}

int runtime_read(const struct json_t *object, struct runtime_config *ret, struct err *err)
{
	struct runtime_config runtime = { 0 };

	if (get_ports(object, &runtime, err) < 0 || get_bandwidth(object, &runtime.bandwidth, err) < 0)
		return -1;
	*ret = runtime;
	return 0;
}

char *runtime_print(const struct runtime_config *runtime)
{
	json_auto_t *object = NULL;

	if (runtime_is_empty(runtime))
		return strdup("");
	object = runtime_json(runtime);
	return object ? json_print(object) : NULL;
}

int runtime_parse(const char *text, struct runtime_config *ret, struct err *err)
{
	json_auto_t *object = NULL;

	assert(text && ret);
	if (!*text) {
		*ret = (struct runtime_config){ 0 };
		return 0;
	}
	if (json_parse(text, strlen(text), PROTO_DOMAIN, &object, err) < 0)
		return -1;
	if (!json_is_object(object))
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "what the runtime asked for is no JSON object");
	return runtime_read(object, ret, err);
}
