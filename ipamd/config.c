/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: settings
 *
 * config_settings[] is all there is to know about a setting. Every source gives text - the default, the file (numbers and
 * booleans are printed back), the environment - and one parser per kind turns it into the field. So each value has one
 * grammar wherever it stands, and help and documentation cannot disagree with the code.
 */
#include "ipamd/config_impl.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "berth/attr.h"
#include "berth/check.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/json.h"
#include "berth/str.h"

#define CONFIG_FILE_MAX  (64U << 10) /* bytes; tags, the longest setting, are 16 KiB at most, IDs 8 */
#define CONFIG_VALUE_MAX (32U << 10) /* bytes of one value's text: all tags at their longest are 16 KiB */
#define CONFIG_ENV       "BERTH_"

static void *field(struct config *config, const struct setting *setting)
{
	return (char *)config + setting->offset;
}

bool config_is_on(const struct config *config, const struct setting *setting)
{
	return setting->kind == &kind_bool && *(const bool *)((const char *)config + setting->offset);
}

/* ---- messages ---- */

static int bad_value(const struct setting *setting, const char *name, const char *text, const char *source,
		     struct err *err)
{
	_cleanup_strbuf_ struct strbuf wanted = { 0 };

	config_print_wanted(&wanted, setting);
	return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "%s: %s is \"%.64s\", not %s", source, name, text,
		       wanted.text ? wanted.text : "valid");
}

const char *loading_by(const struct loading *l, const struct setting *setting)
{
	return l->by[setting - config_settings];
}

int loading_set(struct loading *l, const struct setting *setting, const struct config_text *from, struct err *err)
{
	if (setting->kind->parse(setting, from->text, field(&l->config, setting)) < 0)
		return bad_value(setting, from->name, from->shown, from->source, err);
	l->by[setting - config_settings] = from->name;
	return 0;
}

/* Levenshtein's. */
unsigned config_name_distance(const char *a, const char *b)
{
	unsigned row[CONFIG_NAME_MAX + 1];
	size_t b_len = strlen(b);

	assert(b_len <= CONFIG_NAME_MAX);
	for (unsigned j = 0; j <= b_len; j++)
		row[j] = j;
	for (unsigned i = 1; a[i - 1]; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned best = diagonal + (strncasecmp(&a[i - 1], &b[j - 1], 1) != 0);

			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = row[j];
			row[j] = best;
		}
	}
	return row[b_len];
}

static const char *setting_name(const struct setting *setting, bool env)
{
	return env ? setting->env : setting->key;
}

static int unknown_name(const char *name, bool env, const char *source, struct err *err)
{
	const struct setting *nearest = &config_settings[0];
	unsigned least = UINT_MAX;

	for (size_t i = 0; i < config_setting_count; i++) {
		unsigned far = strnlen(name, CONFIG_NAME_MAX) < CONFIG_NAME_MAX
				       ? config_name_distance(name, setting_name(&config_settings[i], env))
				       : UINT_MAX;

		if (far < least) {
			least = far;
			nearest = &config_settings[i];
		}
	}
	return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "%s: %.64s is no setting; the nearest one is %s", source, name,
		       setting_name(nearest, env));
}

/* ---- the file ---- */

const struct setting *config_setting_by_key(const char *key)
{
	for (size_t i = 0; i < config_setting_count; i++) {
		if (str_equal(key, config_settings[i].key))
			return &config_settings[i];
	}
	return NULL;
}

/* An array of strings becomes a list with commas. */
static int print_array(const json_t *array, struct strbuf *out)
{
	const json_t *item;
	size_t i;

	json_array_foreach (array, i, item) {
		if (!json_is_string(item) || strpbrk(json_string_value(item), ", "))
			return -EINVAL;
		strbuf_printf(out, "%s%s", i ? "," : "", json_string_value(item));
	}
	return 0;
}

static int print_object(const json_t *object, struct strbuf *out)
{
	_cleanup_free_ char *text = json_print(object);

	if (!text)
		return -ENOMEM;
	strbuf_add(out, text);
	return 0;
}

/* The value as its parser reads it. Each kind takes a string; numbers, booleans and arrays only where they make sense.
 */
static int print_value(const struct setting *setting, const json_t *value, struct strbuf *out)
{
	enum kind_form form = setting->kind->form;

	if (json_is_string(value))
		strbuf_add(out, json_string_value(value));
	else if (json_is_integer(value) && form == FORM_NUMBER)
		strbuf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_boolean(value) && form == FORM_BOOL)
		strbuf_add(out, json_is_true(value) ? "true" : "false");
	else if (json_is_array(value) && form == FORM_ARRAY)
		return print_array(value, out);
	else if (json_is_object(value) && form == FORM_OBJECT)
		return print_object(value, out);
	else
		return -EINVAL;
	return 0;
}

static int apply_json(const char *path, const char *key, const json_t *value, struct loading *l, struct err *err)
{
	const struct setting *setting = config_setting_by_key(key);
	_cleanup_strbuf_ struct strbuf text = { .max_len = CONFIG_VALUE_MAX };
	_cleanup_free_ char *raw = NULL;
	struct config_text from = { .source = path };

	if (!setting)
		return unknown_name(key, false, path, err);
	if (json_is_null(value))
		return 0;
	raw = json_print(value);
	from.name = setting->key;
	from.shown = json_is_string(value) ? json_string_value(value) : raw ? raw : "?";
	if (print_value(setting, value, &text) < 0 || text.failed)
		return bad_value(setting, from.name, from.shown, path, err);
	from.text = text.text ? text.text : "";
	return loading_set(l, setting, &from, err);
}

static int load_file(const char *path, struct loading *l, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	json_auto_t *json = NULL;
	const char *key;
	json_t *value;
	size_t size;
	int r = fs_read(path, CONFIG_FILE_MAX, &text, &size);

	if (r < 0)
		return err_set_errno(err, ERR_INVALID, CONFIG_DOMAIN, -r, "read %s", path);
	if (json_parse(text, size, CONFIG_DOMAIN, &json, err) < 0) {
		if (err)
			err->class = ERR_INVALID;
		return err_wrap(err, "%s", path);
	}
	if (!json_is_object(json))
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "%s: no JSON object", path);
	json_object_foreach (json, key, value) {
		if (apply_json(path, key, value, l, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- the environment ---- */

const char *config_process_env(const char *name)
{
	return getenv(name);
}

static int load_env(const char *(*get_env)(const char *name), struct loading *l, struct err *err)
{
	for (size_t i = 0; i < config_setting_count; i++) {
		const struct setting *setting = &config_settings[i];
		const char *text = get_env(setting->env);
		const struct config_text from = { "environment", setting->env, text, text };

		if (text && loading_set(l, setting, &from, err) < 0)
			return -1;
	}
	return 0;
}

/*
 * Kubernetes tells every pod about the Services of its namespace: one that is called berth-ipamd gives
 * BERTH_IPAMD_SERVICE_HOST, BERTH_IPAMD_PORT, BERTH_IPAMD_PORT_9479_TCP_ADDR and more. No setting is named like that.
 * https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 */
bool config_is_service_link(const char *name)
{
	static const char port[] = "_PORT";
	size_t len = strlen(name);

	return strstr(name, "_SERVICE_HOST") || strstr(name, "_SERVICE_PORT") || strstr(name, "_PORT_") ||
	       (len > strlen(port) && str_equal(name + len - strlen(port), port));
}

static bool is_known_env(const char *name)
{
	for (size_t i = 0; i < config_setting_count; i++) {
		if (str_equal(name, config_settings[i].env))
			return true;
	}
	return config_is_service_link(name);
}

static int check_env_names(char *const *names, struct err *err)
{
	for (size_t i = 0; names && names[i]; i++) {
		char name[CONFIG_NAME_MAX + 1];
		size_t len = strcspn(names[i], "=");

		if (!str_starts(names[i], CONFIG_ENV))
			continue;
		if (len >= sizeof(name))
			len = sizeof(name) - 1;
		memcpy(name, names[i], len);
		name[len] = '\0';
		if (!is_known_env(name))
			return unknown_name(name, true, "environment", err);
	}
	return 0;
}

/* ---- doors ---- */

void config_defaults(struct config *ret)
{
	struct config config = { 0 };

	for (size_t i = 0; i < config_setting_count; i++) {
		int r = config_settings[i].kind->parse(&config_settings[i], config_settings[i].def,
						       field(&config, &config_settings[i]));

		assert(r == 0);
		(void)r;
	}
	*ret = config;
}

/* More than maxPods is no mistake in the variables of every other pod network. */
static void cut_min(struct loading *l)
{
	const struct setting *setting = config_setting_by_key("minIPs");
	const char *by;

	CHECK(setting);
	by = loading_by(l, setting);
	if (by && !str_equal(by, setting->key) && !str_equal(by, setting->env) &&
	    l->config.min_ips > l->config.max_pods)
		l->config.min_ips = l->config.max_pods;
}

int config_load(const char *path, const char *(*get_env)(const char *name), char *const *environ_names,
		struct config *ret, struct err *err)
{
	struct loading l = { 0 };

	assert(ret);
	if (!get_env)
		get_env = config_process_env;
	config_defaults(&l.config);
	if (path && *path && load_file(path, &l, err) < 0)
		return -1;
	if (check_env_names(environ_names, err) < 0 || load_env(get_env, &l, err) < 0 ||
	    config_vars_apply(&l, get_env, err) < 0 || config_vars_check(&l, get_env, err) < 0)
		return -1;
	cut_min(&l);
	if (config_check(&l.config, err) < 0)
		return -1;
	*ret = l.config;
	return 0;
}
