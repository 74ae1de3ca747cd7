/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/json.h"
#include "berth/net.h"
#include "berth/str.h"
#include "box_runtime.h"
#include "fabric/child.h"

#define DOMAIN       "runtime"
#define CONF_MAX     65536U /* bytes of a conflist; usual ones are under 2 KiB */
#define RECORD_MAX   65536U /* bytes of a pod's record */
#define ENV_VAR_SIZE 512U

/* ---- configuration ---- */

static int plugin_of(json_t *list, const char *path, struct runtime_conf *ret, struct err *err)
{
	const char *name = NULL, *version = NULL, *type = NULL;
	json_t *plugins = NULL;

	if (json_get_str(list, DOMAIN, "name", &name, err) < 0 ||
	    json_get_str(list, DOMAIN, "cniVersion", &version, err) < 0 ||
	    json_get_arr_opt(list, DOMAIN, "plugins", &plugins, err) < 0)
		return err_wrap(err, "%s", path);
	json_t *first = json_array_get(plugins, 0);

	if (!json_is_object(first))
		return err_set(err, ERR_PROTOCOL, DOMAIN, "%s: no plugin in it", path);
	if (json_get_str(first, DOMAIN, "type", &type, err) < 0)
		return err_wrap(err, "%s", path);
	struct runtime_conf conf = { 0 };

	if (str_copy(conf.type, sizeof(conf.type), type) < 0 || strchr(type, '/'))
		return err_set(err, ERR_PROTOCOL, DOMAIN, "%s: plugin type \"%.64s\" is no file name", path, type);
	if (json_object_set_new(first, "name", json_string(name)) < 0 ||
	    json_object_set_new(first, "cniVersion", json_string(version)) < 0)
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, ENOMEM, "%s", path);
	conf.plugin = json_incref(first);
	*ret = conf;
	return 0;
}

static int load_json(const char *path, size_t max_size, json_t **ret, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	int r = fs_read(path, max_size, &text, &size);

	if (r < 0)
		return err_set_errno(err, r == -ENOENT ? ERR_NOTFOUND : ERR_INVALID, DOMAIN, -r, "%s", path);
	if (json_parse(text, size, DOMAIN, ret, err) < 0)
		return err_wrap(err, "%s", path);
	return 0;
}

int runtime_conf_load(const char *path, struct runtime_conf *ret, struct err *err)
{
	json_auto_t *list = NULL;

	if (load_json(path, CONF_MAX, &list, err) < 0)
		return -1;
	return plugin_of(list, path, ret, err);
}

void runtime_conf_done(struct runtime_conf *conf)
{
	json_decref(conf->plugin);
	conf->plugin = NULL;
}

/* ---- pods ---- */

int runtime_pod_init(struct runtime_pod *pod, const char *name, struct err *err)
{
	uint8_t bytes[(RUNTIME_ID_SIZE - 1) / 2];
	struct runtime_pod made = { 0 };

	if (str_copy(made.name, sizeof(made.name), name) < 0 || strchr(name, '/'))
		return err_set(err, ERR_INVALID, DOMAIN, "pod name \"%.64s\"", name);
	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, errno, "random");
	(void)str_hex(made.container, bytes, sizeof(bytes));
	*pod = made;
	return 0;
}

void runtime_pod_done(struct runtime_pod *pod)
{
	free(pod->result);
	pod->result = NULL;
}

int runtime_pod_save(const struct runtime_pod *pod, const char *path, struct err *err)
{
	char address[PREFIX_STRLEN], second[PREFIX_STRLEN];
	bool has_second = pod->second.addr.family != IP_NONE;
	json_auto_t *record = json_pack("{s:s, s:s, s:s, s:s*, s:s*}", "name", pod->name, "container", pod->container,
					"address", prefix_str(&pod->address, address), "second",
					has_second ? prefix_str(&pod->second, second) : NULL, "result", pod->result);
	_cleanup_free_ char *text = record ? json_print(record) : NULL;

	if (!text)
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, ENOMEM, "record of pod %s", pod->name);
	int r = fs_write_atomic(path, text, strlen(text), 0600);

	return r < 0 ? err_set_errno(err, ERR_EXHAUSTED, DOMAIN, -r, "%s", path) : 0;
}

int runtime_pod_load(const char *path, struct runtime_pod *ret, struct err *err)
{
	const char *name = NULL, *container = NULL, *address = NULL, *second = NULL, *result = NULL;
	json_auto_t *record = NULL;
	struct runtime_pod pod = { 0 };

	if (load_json(path, RECORD_MAX, &record, err) < 0)
		return -1;
	if (json_get_str(record, DOMAIN, "name", &name, err) < 0 ||
	    json_get_str(record, DOMAIN, "container", &container, err) < 0 ||
	    json_get_str(record, DOMAIN, "address", &address, err) < 0 ||
	    json_get_str_opt(record, DOMAIN, "second", &second, err) < 0 ||
	    json_get_str_opt(record, DOMAIN, "result", &result, err) < 0)
		return err_wrap(err, "%s", path);
	if (str_copy(pod.name, sizeof(pod.name), name) < 0 ||
	    str_copy(pod.container, sizeof(pod.container), container) < 0 || prefix_parse(address, &pod.address) < 0 ||
	    (second && prefix_parse(second, &pod.second) < 0))
		return err_set(err, ERR_PROTOCOL, DOMAIN, "%s: not a pod's record", path);
	if (result && !(pod.result = strdup(result)))
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, ENOMEM, "%s", path);
	*ret = pod;
	return 0;
}

/* ---- calling the plugin ---- */

static char *plugin_input(const struct runtime_conf *conf, const struct runtime_pod *pod)
{
	/* Not a deep copy: other threads read the same plugin object, and its parts are not changed. */
	json_auto_t *input = json_object();
	const char *key;
	json_t *value;

	json_object_foreach (conf->plugin, key, value) {
		_cleanup_free_ char *text = json_dumps(value, JSON_ENCODE_ANY);

		if (!text || json_object_set_new(input, key, json_loads(text, JSON_DECODE_ANY, NULL)) < 0)
			return NULL;
	}
	if (pod->result && json_object_set_new(input, "prevResult", json_loads(pod->result, 0, NULL)) < 0)
		return NULL;
	return json_print(input);
}

static int call_plugin(const struct runtime *runtime, const struct runtime_pod *pod, const char *command,
		       struct child_result *ret, struct err *err)
{
	_cleanup_free_ char *input = plugin_input(runtime->conf, pod);
	char vars[5][ENV_VAR_SIZE];
	const char *const argv[] = { runtime->conf->type, NULL };
	const char *sanitizer = getenv("ASAN_OPTIONS");
	char sanitizer_var[ENV_VAR_SIZE] = "ASAN_OPTIONS=";
	const char *const env[] = { vars[0],       vars[1],
				    vars[2],       vars[3],
				    vars[4],       "CNI_IFNAME=" RUNTIME_IFNAME,
				    sanitizer_var, "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
				    NULL };
	struct child_spec spec = { .path = runtime->plugin,
				   .argv = argv,
				   .env = env,
				   .input = input,
				   .netns_fd = runtime->node_fd,
				   .timeout_us = runtime->timeout_us ? runtime->timeout_us : RUNTIME_TIMEOUT_US };

	if (!input)
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, ENOMEM, "configuration for %s", pod->name);
	(void)snprintf(vars[0], ENV_VAR_SIZE, "CNI_COMMAND=%s", command);
	(void)snprintf(vars[1], ENV_VAR_SIZE, "CNI_CONTAINERID=%s", pod->container);
	(void)snprintf(vars[2], ENV_VAR_SIZE, "CNI_NETNS=/run/netns/%s", pod->name);
	(void)snprintf(vars[3], ENV_VAR_SIZE,
		       "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=%s;"
		       "K8S_POD_INFRA_CONTAINER_ID=%s;K8S_POD_UID=%.8s-0000-4000-8000-%.12s",
		       pod->name, pod->container, pod->container, pod->container + 8);
	(void)snprintf(vars[4], ENV_VAR_SIZE, "CNI_PATH=%.*s",
		       (int)(strrchr(runtime->plugin, '/') ? strrchr(runtime->plugin, '/') - runtime->plugin : 0),
		       runtime->plugin);
	if (sanitizer)
		(void)snprintf(sanitizer_var, sizeof(sanitizer_var), "ASAN_OPTIONS=%s", sanitizer);
	return child_run(&spec, ret, err);
}

/* One line for people: white space of the plugin's pretty printing goes. */
static void one_line(const char *text, char *ret, size_t ret_size)
{
	size_t len = 0;
	bool blank = true;

	for (; *text != '\0' && len + 1 < ret_size; text++) {
		bool is_blank = *text == ' ' || *text == '\n' || *text == '\t' || *text == '\r';

		if (!is_blank)
			ret[len++] = *text;
		else if (!blank)
			ret[len++] = ' ';
		blank = is_blank;
	}
	while (len > 0 && ret[len - 1] == ' ')
		len--;
	ret[len] = '\0';
}

static int plugin_failed(const struct child_result *result, const char *command, const struct runtime_pod *pod,
			 struct runtime_outcome *outcome, struct err *err)
{
	json_auto_t *said = NULL;

	one_line(result->out, outcome->plugin_error, sizeof(outcome->plugin_error));
	if (json_parse(result->out, strlen(result->out), DOMAIN, &said, NULL) < 0 ||
	    !json_is_integer(json_object_get(said, "code")))
		return err_set(err, ERR_PROTOCOL, DOMAIN, "%s of %s: exit code %d without a CNI error: %.120s", command,
			       pod->name, result->exit_code, result->out[0] ? result->out : result->err_text);
	return err_set(err, ERR_INVALID, DOMAIN, "%s of %s: %.180s", command, pod->name, outcome->plugin_error);
}

static int take_address(const struct runtime_pod *pod, const json_t *item, struct prefix *ret, struct err *err)
{
	const char *address = NULL;
	char *slash, text[PREFIX_STRLEN];
	struct ipaddr addr;

	if (!json_is_object(item) || json_get_str(item, DOMAIN, "address", &address, err) < 0 ||
	    str_copy(text, sizeof(text), address) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "result of ADD of %s: no address", pod->name);
	slash = strchr(text, '/');
	if (slash)
		*slash = '\0';
	if (!slash || ipaddr_parse(text, &addr) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "result of ADD of %s: address \"%s\"", pod->name, address);
	*ret = prefix_host(&addr);
	return 0;
}

/* Results of CNI 0.3 and later have ips[].address; 0.2 and older ones are refused as the wrong shape. */
static int take_result(struct runtime_pod *pod, struct child_result *result, struct err *err)
{
	struct prefix first = { 0 }, second = { 0 };
	json_auto_t *root = NULL;
	json_t *ips = NULL;

	if (json_parse(result->out, strlen(result->out), DOMAIN, &root, err) < 0 ||
	    json_get_arr_opt(root, DOMAIN, "ips", &ips, err) < 0)
		return err_wrap(err, "result of ADD of %s", pod->name);
	if (take_address(pod, json_array_get(ips, 0), &first, err) < 0 ||
	    (json_array_size(ips) > 1 && take_address(pod, json_array_get(ips, 1), &second, err) < 0))
		return -1;
	if (json_array_size(ips) > IP_FAMILIES || first.addr.family == second.addr.family)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "result of ADD of %s: more than one address of a family",
			       pod->name);
	pod->address = first;
	pod->second = second;
	pod->result = take_ptr(result->out);
	return 0;
}

static int add(const struct runtime *runtime, struct runtime_pod *pod, struct runtime_outcome *outcome, struct err *err)
{
	_cleanup_(child_result_done) struct child_result result = { 0 };

	if (call_plugin(runtime, pod, "ADD", &result, err) < 0)
		return -1;
	outcome->plugin_us = result.time_us;
	if (result.exit_code != 0)
		return plugin_failed(&result, "ADD", pod, outcome, err);
	return take_result(pod, &result, err);
}

static int del(const struct runtime *runtime, const struct runtime_pod *pod, struct runtime_outcome *outcome,
	       struct err *err)
{
	_cleanup_(child_result_done) struct child_result result = { 0 };

	if (call_plugin(runtime, pod, "DEL", &result, err) < 0)
		return -1;
	outcome->plugin_us = result.time_us;
	if (result.exit_code != 0)
		return plugin_failed(&result, "DEL", pod, outcome, err);
	return 0;
}

int runtime_run(const struct runtime *runtime, struct runtime_pod *pod, struct runtime_outcome *outcome,
		struct err *err)
{
	struct runtime_outcome ignored = { 0 };

	*outcome = (struct runtime_outcome){ 0 };
	if (netns_add(pod->name, err) < 0)
		return err_wrap(err, "pod %s", pod->name);
	if (add(runtime, pod, outcome, err) == 0)
		return 0;
	(void)del(runtime, pod, &ignored, NULL);
	(void)netns_del(pod->name, NULL);
	return -1;
}

int runtime_stop(const struct runtime *runtime, struct runtime_pod *pod, struct runtime_outcome *outcome,
		 struct err *err)
{
	*outcome = (struct runtime_outcome){ 0 };
	if (del(runtime, pod, outcome, err) < 0)
		return -1;
	return netns_del(pod->name, err);
}
