/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/conf.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "berth/json.h"
#include "berth/str.h"
#include "cni/cnierr.h"
#include "cni/runtime.h"

#define CONF_DOMAIN      "conf"
#define CONF_VETH_PREFIX "cali" /* of Calico, and of what is made to work beside it */
#define OUR_TYPE         "berth"
#define CONF_NO_VERSION  "0.1.0" /* what a configuration without cniVersion means */
#define CORRECT_IT       "Correct the network configuration in the CNI configuration directory (/etc/cni/net.d)."

static int wrong(struct cnierr *cnierr, const struct err *err)
{
	return cnierr_set_err(cnierr, CNI_INVALID_CONFIG, CORRECT_IT, "network configuration", err);
}

static int read_version(const json_t *conf, struct cni_conf *ret, struct cnierr *cnierr)
{
	const char *text = CONF_NO_VERSION;
	struct err err;

	if (json_get_str_opt(conf, CONF_DOMAIN, "cniVersion", &text, &err) < 0)
		return wrong(cnierr, &err);
	if (cni_version_parse(text, &ret->version) < 0)
		return cnierr_set(cnierr, CNI_INCOMPATIBLE_VERSION, "Supported versions: " CNI_VERSIONS_TEXT ".",
				  "CNI version %.32s is not supported", text);
	return 0;
}

static int read_name(const json_t *conf, struct cni_conf *ret, struct cnierr *cnierr)
{
	struct lease_key key = { .container = "c", .ifname = "i" };
	const char *name;
	struct err err;

	if (json_get_str(conf, CONF_DOMAIN, "name", &name, &err) < 0)
		return wrong(cnierr, &err);
	if (str_copy(key.network, sizeof(key.network), name) < 0)
		return cnierr_set(cnierr, CNI_INVALID_CONFIG, CORRECT_IT,
				  "network configuration: 'name' is longer than %zu bytes", sizeof(key.network) - 1);
	if (proto_key_check(&key, &err) < 0)
		return cnierr_set_err(cnierr, CNI_INVALID_CONFIG, CORRECT_IT, "network configuration: 'name'", &err);
	(void)str_copy(ret->network, sizeof(ret->network), name);
	return 0;
}

static bool has_ours(const json_t *ipam)
{
	return json_object_get(ipam, "socket") || json_object_get(ipam, "timeoutMs");
}

/* @conf: what holds our keys: of a delegated configuration its "ipam", if there are any in it. */
static int read_ours(const json_t *conf, struct cni_conf *ret, struct cnierr *cnierr)
{
	const char *socket_path = PROTO_RUN_DIR "/" PROTO_SOCKET;
	struct err err;

	ret->timeout_ms = CONF_TIMEOUT_MS;
	if (json_get_str_opt(conf, CONF_DOMAIN, "socket", &socket_path, &err) < 0 ||
	    json_get_int_opt(conf, CONF_DOMAIN, "timeoutMs", CONF_TIMEOUT_MIN_MS, CONF_TIMEOUT_MAX_MS, &ret->timeout_ms,
			     &err) < 0)
		return wrong(cnierr, &err);
	if (socket_path[0] != '/' || str_copy(ret->socket, sizeof(ret->socket), socket_path) < 0)
		return cnierr_set(cnierr, CNI_INVALID_CONFIG, CORRECT_IT,
				  "network configuration: 'socket' '%.128s' is no absolute path of up to %zu bytes",
				  socket_path, sizeof(ret->socket) - 1);
	return 0;
}

/* The names that Calico gives, which policy engines find pods by: the first of a list as Felix takes it. */
static int read_veth_name(const json_t *conf, struct cni_conf *ret, struct cnierr *cnierr)
{
	const char *by = "container", *prefix = NULL;
	struct err err;
	size_t len;

	if (json_get_str_opt(conf, CONF_DOMAIN, "vethName", &by, &err) < 0 ||
	    json_get_str_opt(conf, CONF_DOMAIN, "vethPrefix", &prefix, &err) < 0)
		return wrong(cnierr, &err);
	if (!str_equal(by, "container") && !str_equal(by, "pod"))
		return cnierr_set(cnierr, CNI_INVALID_CONFIG, CORRECT_IT,
				  "network configuration: 'vethName' is '%.32s', not container or pod", by);
	if (str_equal(by, "container") && prefix)
		return cnierr_set(cnierr, CNI_INVALID_CONFIG, CORRECT_IT,
				  "network configuration: 'vethPrefix' needs 'vethName' \"pod\"");
	if (str_equal(by, "container"))
		return 0;
	prefix = prefix ? prefix : CONF_VETH_PREFIX;
	len = strcspn(prefix, ",");
	if (len < sizeof(ret->veth_prefix)) {
		memcpy(ret->veth_prefix, prefix, len);
		ret->veth_prefix[len] = '\0';
	}
	if (!len || len >= sizeof(ret->veth_prefix) || !proto_ifname_check(ret->veth_prefix))
		return cnierr_set(
			cnierr, CNI_INVALID_CONFIG, CORRECT_IT,
			"network configuration: 'vethPrefix' '%.32s' does not begin with 1 to %zu characters of "
			"a link's name",
			prefix, sizeof(ret->veth_prefix) - 1);
	return 0;
}

/* ptp gives the gateway to its host ends, which the cloud's router must never be; pods of others are in its network. */
static int read_gateway(const json_t *conf, const json_t *ipam, struct cni_conf *ret, struct cnierr *cnierr)
{
	const char *type = "", *gateway;
	struct err err;

	if (json_get_str_opt(conf, CONF_DOMAIN, "type", &type, &err) < 0)
		return wrong(cnierr, &err);
	gateway = str_equal(type, "ptp") ? "node" : "subnet";
	if (json_get_str_opt(ipam, CONF_DOMAIN, "gateway", &gateway, &err) < 0)
		return wrong(cnierr, &err);
	if (!str_equal(gateway, "node") && !str_equal(gateway, "subnet"))
		return cnierr_set(cnierr, CNI_INVALID_CONFIG, CORRECT_IT,
				  "network configuration: 'gateway' of 'ipam' is '%.32s', not node or subnet", gateway);
	ret->subnet_router = str_equal(gateway, "subnet");
	return 0;
}

/* With "ipam" of our type and another "type", that other plugin runs us with its own configuration. */
static int read_mode(const json_t *conf, struct cni_conf *ret, struct cnierr *cnierr)
{
	const char *type = OUR_TYPE, *ipam_type = "";
	json_t *ipam = NULL;
	struct err err;

	if (json_get_str_opt(conf, CONF_DOMAIN, "type", &type, &err) < 0 ||
	    json_get_obj_opt(conf, CONF_DOMAIN, "ipam", &ipam, &err) < 0 ||
	    (ipam && json_get_str_opt(ipam, CONF_DOMAIN, "type", &ipam_type, &err) < 0))
		return wrong(cnierr, &err);
	ret->delegated = str_equal(ipam_type, OUR_TYPE) && !str_equal(type, OUR_TYPE);
	if (!str_equal(ipam_type, OUR_TYPE))
		(void)snprintf(ret->others_ipam, sizeof(ret->others_ipam), "%s", ipam_type);
	if (read_ours(ret->delegated && has_ours(ipam) ? ipam : conf, ret, cnierr) < 0)
		return -1;
	if (ret->delegated)
		return read_gateway(conf, ipam, ret, cnierr);
	if (pod_routes_parse(conf, &ret->routes, &err) < 0)
		return wrong(cnierr, &err);
	return read_veth_name(conf, ret, cnierr);
}

static int read_prev_result(const json_t *conf, struct cni_conf *ret, struct cnierr *cnierr)
{
	json_t *prev = NULL;
	struct err err;

	if (json_get_obj_opt(conf, CONF_DOMAIN, "prevResult", &prev, &err) < 0)
		return wrong(cnierr, &err);
	ret->has_prev_result = prev;
	return 0;
}

static int read_runtime(const json_t *conf, struct cni_conf *ret, struct cnierr *cnierr)
{
	struct err err;

	if (!ret->delegated && cni_runtime_read(conf, &ret->runtime, &err) < 0)
		return wrong(cnierr, &err);
	return 0;
}

int cni_conf_parse(const char *text, size_t size, struct cni_conf *ret, struct cnierr *cnierr)
{
	json_auto_t *json = NULL;
	struct cni_conf conf = { 0 };
	struct err err;

	assert(ret && cnierr);
	if (json_parse(text, size, CONF_DOMAIN, &json, &err) < 0)
		return cnierr_set_err(cnierr, CNI_DECODE_FAILURE, CORRECT_IT, "network configuration on stdin", &err);
	if (!json_is_object(json))
		return cnierr_set(cnierr, CNI_DECODE_FAILURE, CORRECT_IT,
				  "network configuration on stdin: no JSON object");
	if (read_version(json, &conf, cnierr) < 0 || read_name(json, &conf, cnierr) < 0 ||
	    read_mode(json, &conf, cnierr) < 0 || read_prev_result(json, &conf, cnierr) < 0 ||
	    read_runtime(json, &conf, cnierr) < 0)
		return -1;
	*ret = conf;
	return 0;
}

struct json_t *cni_conf_json(const char *text, size_t size)
{
	json_t *json = NULL;
	struct err err;

	return json_parse(text, size, CONF_DOMAIN, &json, &err) == 0 ? json : NULL;
}

void cni_conf_version(const char *text, size_t size, char *buf, size_t buf_size)
{
	json_auto_t *json = NULL;
	const char *version = NULL;

	if (json_parse(text, size, CONF_DOMAIN, &json, NULL) == 0)
		(void)json_get_str_opt(json, CONF_DOMAIN, "cniVersion", &version, NULL);
	if (!version || !*version || str_copy(buf, buf_size, version) < 0)
		(void)str_copy(buf, buf_size, cni_version_name(CNI_VERSION_NEWEST));
}
