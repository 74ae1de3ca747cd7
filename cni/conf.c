/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/conf.h"

#include <assert.h>

#include <jansson.h>

#include "berth/json.h"
#include "berth/str.h"
#include "cni/cnierr.h"

#define CONF_DOMAIN     "conf"
#define CONF_NO_VERSION "0.1.0" /* what a configuration without cniVersion means */
#define CORRECT_IT      "Correct the network configuration in the CNI configuration directory (/etc/cni/net.d)."

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

static int read_prev_result(const json_t *conf, struct cni_conf *ret, struct cnierr *cnierr)
{
	json_t *prev = NULL;
	struct err err;

	if (json_get_obj_opt(conf, CONF_DOMAIN, "prevResult", &prev, &err) < 0)
		return wrong(cnierr, &err);
	ret->has_prev_result = prev;
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
	    read_ours(json, &conf, cnierr) < 0 || read_prev_result(json, &conf, cnierr) < 0)
		return -1;
	*ret = conf;
	return 0;
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
