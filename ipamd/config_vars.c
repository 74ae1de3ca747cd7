/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: variables of another pod network
 *
 * Who comes from another pod network has set it up by its variables. The cloud's folder has a table of them (cloud_vars())
 * which says of each what becomes of it here; this file applies any such table and knows no name in it.
 *
 * They stand between the file and BERTH_*: a setting that the environment has under its own name is left alone, and what
 * the other's variable says of it is not even looked at. A value that the setting's own parser refuses is an error that
 * names the variable, as if it were one of ours.
 */
#include "ipamd/config_impl.h"

#include <string.h>
#include <strings.h>

#include "berth/attr.h"
#include "berth/check.h"
#include "berth/err.h"
#include "berth/str.h"

#define LIST_MAX 512 /* bytes of a list that several variables make: the families */

struct table {
	const struct cloud_var *vars;
	unsigned count;
	const struct config *config; /* as far as it is */
	const char *(*get_env)(const char *name);
};

static struct table table_of(const struct config *config, const char *(*get_env)(const char *name))
{
	struct table table = { .config = config, .get_env = get_env };

	table.vars = cloud_vars(config->cloud, &table.count);
	return table;
}

/* Manifests set variables to nothing where they mean the default. */
static const char *value_of(const struct table *table, const char *name)
{
	const char *value = table->get_env(name);

	return value && *value ? value : NULL;
}

static bool is_true(const char *text)
{
	bool value;

	return str_bool(text, &value) == 0 && value;
}

static bool is_count(const char *text)
{
	uint64_t number;

	return str_u64(text, 1, UINT64_MAX, &number) == 0;
}

static bool is_in_effect(const struct table *table, const char *name)
{
	const struct setting *setting = config_setting_by_key(name);
	const char *value = value_of(table, name);

	if (setting)
		return config_is_on(table->config, setting);
	return value && (is_true(value) || is_count(value));
}

/* Does one of these words, which @ends part, equal @word in any case? */
static bool has_word(const char *words, const char *ends, const char *word)
{
	for (size_t len; *words; words += len + (words[len] != '\0')) {
		len = strcspn(words, ends);
		if (len == strlen(word) && strncasecmp(words, word, len) == 0)
			return true;
	}
	return false;
}

static bool any_in_effect(const struct table *table, const char *names)
{
	for (size_t len; *names; names += len + (names[len] != '\0')) {
		char name[CONFIG_NAME_MAX + 1];

		len = strcspn(names, " ");
		if (len >= sizeof(name))
			continue;
		memcpy(name, names, len);
		name[len] = '\0';
		if (is_in_effect(table, name))
			return true;
	}
	return false;
}

/* The value of a variable that is set, and not put out of force by others; else NULL. */
static const char *value_in_force(const struct table *table, const struct cloud_var *var)
{
	const char *value = var->rule == CLOUD_VAR_STEM ? NULL : value_of(table, var->name);

	if (!value || (var->unless && any_in_effect(table, var->unless)) ||
	    (var->requires && !is_in_effect(table, var->requires)))
		return NULL;
	return value;
}

/* ---- settings ---- */

/* "A=a,B=b": what @value is called here, itself if it is not among them. */
static const char *renamed(const char *names, const char *value, char *buf, size_t buf_size)
{
	for (size_t len; names && *names; names += len + (names[len] != '\0')) {
		size_t name_len = strcspn(names, "=");

		len = strcspn(names, ",");
		if (name_len != strlen(value) || strncasecmp(names, value, name_len) != 0 || len - name_len > buf_size)
			continue;
		memcpy(buf, names + name_len + 1, len - name_len - 1);
		buf[len - name_len - 1] = '\0';
		return buf;
	}
	return value;
}

/* All that is in the list when @last and those before it have been added. Return: false if it is longer than any. */
static bool members(const struct table *table, const struct cloud_var *last, char *buf, size_t buf_size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (const struct cloud_var *var = table->vars; var <= last && len < buf_size; var++) {
		const char *value = value_in_force(table, var);

		if (var->rule != CLOUD_VAR_MEMBER || !str_equal(var->setting, last->setting) || !value ||
		    !is_true(value))
			continue;
		if (str_copy(buf + len, buf_size - len, len ? "," : "") < 0)
			return false;
		len = strlen(buf);
		if (str_copy(buf + len, buf_size - len, var->value) < 0)
			return false;
		len = strlen(buf);
	}
	return true;
}

/* What the setting's parser is given; NULL: it stays as it is. *@ret_bad: the value is none that the rule can read. */
static const char *text_for(const struct table *table, const struct cloud_var *var, const char *value,
			    char buf[static LIST_MAX], bool *ret_bad)
{
	bool on;

	*ret_bad = false;
	switch (var->rule) {
	case CLOUD_VAR_SETTING:
		return renamed(var->value, value, buf, LIST_MAX);
	case CLOUD_VAR_COUNT:
		return is_count(value) ? value : NULL;
	case CLOUD_VAR_VALUE:
	case CLOUD_VAR_MEMBER:
		*ret_bad = str_bool(value, &on) < 0;
		if (*ret_bad || !on)
			return NULL;
		if (var->rule == CLOUD_VAR_VALUE)
			return var->value;
		return members(table, var, buf, LIST_MAX) ? buf : NULL;
	case CLOUD_VAR_PASSED:
	case CLOUD_VAR_WARNED:
	case CLOUD_VAR_REFUSED:
	case CLOUD_VAR_STEM:
	case CLOUD_VAR_RULE_COUNT:
		break;
	}
	return NULL;
}

static int apply(const struct table *table, const struct cloud_var *var, struct loading *l, struct err *err)
{
	const struct setting *setting = config_setting_by_key(var->setting);
	const char *value = value_in_force(table, var), *by;
	struct config_text from = { .source = "environment", .name = var->name, .shown = value };
	char buf[LIST_MAX];
	bool bad;

	CHECK(setting);
	by = loading_by(l, setting);
	if (!value || (by && str_equal(by, setting->env)))
		return 0;
	from.text = text_for(table, var, value, buf, &bad);
	if (bad)
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "environment: %s is \"%.64s\", not true or false",
			       var->name, value);
	return from.text ? loading_set(l, setting, &from, err) : 0;
}

int config_vars_apply(struct loading *l, const char *(*get_env)(const char *name), struct err *err)
{
	struct table table = table_of(&l->config, get_env);

	for (unsigned i = 0; i < table.count; i++) {
		const struct cloud_var *var = &table.vars[i];

		if (var->setting && var->rule != CLOUD_VAR_REFUSED && apply(&table, var, l, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- what is not supported ---- */

static bool is_harmless(const struct cloud_var *var, const char *value)
{
	bool on = true;

	return var->value ? has_word(var->value, ",", value) : str_bool(value, &on) == 0 && !on;
}

int config_vars_check(const struct loading *l, const char *(*get_env)(const char *name), struct err *err)
{
	struct table table = table_of(&l->config, get_env);

	for (unsigned i = 0; i < table.count; i++) {
		const struct cloud_var *var = &table.vars[i];
		const char *value = value_in_force(&table, var);

		if (var->rule != CLOUD_VAR_REFUSED || !value || is_harmless(var, value) ||
		    (var->setting && loading_by(l, config_setting_by_key(var->setting))))
			continue;
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "environment: %s is \"%.64s\": %s", var->name, value,
			       var->note);
	}
	return 0;
}

/* ---- warnings ---- */

/* Says something of a variable. */
struct sayer {
	void (*say)(const char *name, const char *note, void *arg);
	void *arg;
};

static void warn_of_value(const struct table *table, const struct cloud_var *var, const struct sayer *to)
{
	const char *value = value_in_force(table, var);
	uint64_t number;

	if (value && var->rule == CLOUD_VAR_WARNED && !is_harmless(var, value))
		to->say(var->name, var->note, to->arg);
	else if (value && var->rule == CLOUD_VAR_COUNT && str_u64(value, 0, UINT64_MAX, &number) < 0)
		to->say(var->name, "is no number: as if it were not set", to->arg);
}

static const struct cloud_var *nearest_var(const struct table *table, const char *name)
{
	const struct cloud_var *nearest = NULL;
	unsigned least = UINT32_MAX;

	for (unsigned i = 0; i < table->count; i++) {
		unsigned far = config_name_distance(name, table->vars[i].name);

		if (table->vars[i].rule == CLOUD_VAR_STEM || far >= least)
			continue;
		least = far;
		nearest = &table->vars[i];
	}
	return nearest;
}

static bool is_strange(const struct table *table, const char *name)
{
	bool has_stem = false;

	for (unsigned i = 0; i < table->count; i++) {
		const struct cloud_var *var = &table->vars[i];

		if (var->rule != CLOUD_VAR_STEM && str_equal(var->name, name))
			return false;
		has_stem = has_stem || (var->rule == CLOUD_VAR_STEM && str_starts(name, var->name));
	}
	return has_stem && !config_is_service_link(name);
}

static void warn_of_name(const struct table *table, const char *entry, const struct sayer *to)
{
	char name[CONFIG_NAME_MAX + 1], note[CONFIG_NAME_MAX + 64];
	const struct cloud_var *nearest;
	size_t len = strcspn(entry, "=");

	if (len >= sizeof(name))
		len = sizeof(name) - 1;
	memcpy(name, entry, len);
	name[len] = '\0';
	nearest = is_strange(table, name) ? nearest_var(table, name) : NULL;
	if (!nearest)
		return;
	(void)str_copy(note, sizeof(note), "is not known; the nearest one is ");
	(void)str_copy(note + strlen(note), sizeof(note) - strlen(note), nearest->name);
	to->say(name, note, to->arg);
}

void config_warnings(const struct config *config, const char *(*get_env)(const char *name), char *const *environ_names,
		     void (*say)(const char *name, const char *note, void *arg), void *arg)
{
	struct table table = table_of(config, get_env ? get_env : config_process_env);
	const struct sayer to = { say, arg };

	for (unsigned i = 0; i < table.count; i++)
		warn_of_value(&table, &table.vars[i], &to);
	for (size_t i = 0; table.count > 0 && environ_names && environ_names[i]; i++)
		warn_of_name(&table, environ_names[i], &to);
}

/* ---- the table for people ---- */

/* "A B" as `A`, `B`. */
static void print_names(FILE *out, const char *before, const char *names, const char *ends)
{
	const char *between = before;

	for (size_t len; *names; names += len + (names[len] != '\0')) {
		len = strcspn(names, ends);
		(void)fprintf(out, "%s`%.*s`", between, (int)len, names);
		between = ", ";
	}
}

static void print_rule(FILE *out, const struct cloud_var *var)
{
	switch (var->rule) {
	case CLOUD_VAR_SETTING:
		(void)fprintf(out, "`%s`", var->setting);
		if (var->value)
			print_names(out, ": ", var->value, ",");
		return;
	case CLOUD_VAR_COUNT:
		(void)fprintf(out, "`%s`, if it is a number above 0", var->setting);
		return;
	case CLOUD_VAR_VALUE:
		(void)fprintf(out, "true: `%s` is `%s`", var->setting, *var->value ? var->value : "\"\"");
		return;
	case CLOUD_VAR_MEMBER:
		(void)fprintf(out, "true: `%s` is one of `%s`", var->value, var->setting);
		return;
	case CLOUD_VAR_PASSED:
		(void)fputs("nothing", out);
		return;
	case CLOUD_VAR_WARNED:
	case CLOUD_VAR_REFUSED:
		(void)fputs(var->rule == CLOUD_VAR_WARNED ? "**a warning**" : "**refused**", out);
		if (var->value && *var->value)
			print_names(out, ", but for ", var->value, ",");
		else if (!var->value)
			(void)fputs(" if true", out);
		if (var->setting)
			(void)fprintf(out, ", unless `%s` is set", var->setting);
		return;
	case CLOUD_VAR_STEM:
	case CLOUD_VAR_RULE_COUNT:
		return;
	}
}

void config_vars_help(FILE *out, const char *cloud)
{
	unsigned count;
	const struct cloud_var *vars = cloud_vars(cloud, &count);

	(void)fputs("| variable | what it does here | note |\n|---|---|---|\n", out);
	for (unsigned i = 0; i < count; i++) {
		const struct cloud_var *var = &vars[i];

		if (var->rule == CLOUD_VAR_STEM)
			continue;
		(void)fprintf(out, "| `%s` | ", var->name);
		print_rule(out, var);
		if (var->unless)
			print_names(out, "; not with ", var->unless, " ");
		if (var->requires)
			(void)fprintf(out, "; only with `%s`", var->requires);
		(void)fprintf(out, " | %s |\n", var->note ? var->note : "");
	}
}
