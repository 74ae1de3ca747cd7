/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/runtime.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <strings.h>

#include <jansson.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/ipaddr.h"
#include "berth/json.h"
#include "berth/proto.h"

#define RUNTIME_DOMAIN "conf"
#define PORT_MAX       65535

/* Bits per second: what Kubernetes takes in kubernetes.io/ingress-bandwidth and egress-bandwidth. */
#define RATE_MIN 1000
#define RATE_MAX INT64_C(1000000000000000)

/* The key of that name in any case of letters: Go reads it so, and containerd writes HostPort and IngressRate where
 * CRI-O writes hostPort and ingressRate. Return: as @object has it; @key where it has none. */
static const char *spelled(json_t *object, const char *key)
{
	const char *own;
	json_t *value;

	json_object_foreach (object, own, value) {
		if (strcasecmp(own, key) == 0)
			return own;
	}
	return key;
}

/* ---- portMappings ---- */

static int read_protocol(json_t *mapping, uint8_t *ret, struct err *err)
{
	const char *name = "tcp";

	if (json_get_str_opt(mapping, RUNTIME_DOMAIN, spelled(mapping, "protocol"), &name, err) < 0)
		return -1;
	if (runtime_protocol_parse(*name ? name : "tcp", ret) < 0)
		return err_set(err, ERR_INVALID, RUNTIME_DOMAIN,
			       "'protocol' of 'portMappings' is '%.32s', not tcp, udp or sctp", name);
	return 0;
}

static int read_host_addr(json_t *mapping, struct ipaddr *ret, struct err *err)
{
	const char *text = "";

	if (json_get_str_opt(mapping, RUNTIME_DOMAIN, spelled(mapping, "hostIP"), &text, err) < 0)
		return -1;
	if (*text && ipaddr_parse(text, ret) < 0)
		return err_set(err, ERR_INVALID, RUNTIME_DOMAIN, "'hostIP' of 'portMappings' is '%.64s', no address",
			       text);
	return 0;
}

static int read_mapping(json_t *mapping, struct runtime_config *runtime, struct err *err)
{
	struct port_map map = { 0 };
	int64_t host_port = 0, port;

	if (!json_is_object(mapping))
		return err_set(err, ERR_PROTOCOL, RUNTIME_DOMAIN, "'portMappings' holds what is no object");
	if (json_get_int_opt(mapping, RUNTIME_DOMAIN, spelled(mapping, "hostPort"), 0, PORT_MAX, &host_port, err) < 0)
		return -1;
	if (host_port == 0)
		return 0;
	if (json_get_int(mapping, RUNTIME_DOMAIN, spelled(mapping, "containerPort"), 1, PORT_MAX, &port, err) < 0 ||
	    read_protocol(mapping, &map.protocol, err) < 0 || read_host_addr(mapping, &map.host_addr, err) < 0)
		return -1;
	if (runtime->port_count == RUNTIME_PORTS_MAX)
		return err_set(err, ERR_INVALID, RUNTIME_DOMAIN, "'portMappings' has more than %d with a 'hostPort'",
			       RUNTIME_PORTS_MAX);
	map.host_port = (uint16_t)host_port;
	map.port = (uint16_t)port;
	runtime->ports[runtime->port_count++] = map;
	return 0;
}

static int read_mappings(const json_t *config, struct runtime_config *runtime, struct err *err)
{
	json_t *mappings = NULL, *one;
	size_t i;

	if (json_get_arr_opt(config, RUNTIME_DOMAIN, "portMappings", &mappings, err) < 0)
		return -1;
	json_array_foreach (mappings, i, one) {
		if (read_mapping(one, runtime, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- bandwidth ---- */

/* @names: of rate and burst. A burst of any size will do: berth-ipamd holds it against the rate. A rate without one gets a burst
 * of ours. */
static int read_limit(json_t *bandwidth, const char *const names[static 2], uint64_t *ret_rate, uint64_t *ret_burst,
		      struct err *err)
{
	int64_t rate = 0, burst = 0;

	if (json_get_int_opt(bandwidth, RUNTIME_DOMAIN, spelled(bandwidth, names[0]), 0, INT64_MAX, &rate, err) < 0 ||
	    json_get_int_opt(bandwidth, RUNTIME_DOMAIN, spelled(bandwidth, names[1]), 0, INT64_MAX, &burst, err) < 0)
		return -1;
	if (rate == 0 && burst != 0)
		return err_set(err, ERR_INVALID, RUNTIME_DOMAIN, "'%s' of 'bandwidth' is without '%s'", names[1],
			       names[0]);
	if (rate != 0 && (rate < RATE_MIN || rate > RATE_MAX))
		return err_set(err, ERR_INVALID, RUNTIME_DOMAIN,
			       "'%s' of 'bandwidth' is %" PRId64 " bits per second, not 1 k to 1 P", names[0], rate);
	*ret_rate = (uint64_t)rate;
	*ret_burst = (uint64_t)burst;
	return 0;
}

static int read_bandwidth(const json_t *config, struct bandwidth *ret, struct err *err)
{
	static const char *const ingress[] = { "ingressRate", "ingressBurst" }, *const egress[] = { "egressRate",
												    "egressBurst" };
	json_t *bandwidth = NULL;

	if (json_get_obj_opt(config, RUNTIME_DOMAIN, "bandwidth", &bandwidth, err) < 0)
		return -1;
	if (!bandwidth)
		return 0;
	if (read_limit(bandwidth, ingress, &ret->ingress_rate, &ret->ingress_burst, err) < 0)
		return -1;
	return read_limit(bandwidth, egress, &ret->egress_rate, &ret->egress_burst, err);
}

int cni_runtime_read(const struct json_t *conf, struct runtime_config *ret, struct err *err)
{
	struct runtime_config runtime = { 0 };
	json_t *config = NULL;

	assert(conf && ret);
	if (json_get_obj_opt(conf, RUNTIME_DOMAIN, "runtimeConfig", &config, err) < 0)
		return -1;
	if (config && (read_mappings(config, &runtime, err) < 0 || read_bandwidth(config, &runtime.bandwidth, err) < 0))
		return -1;
	*ret = runtime;
	return 0;
}
