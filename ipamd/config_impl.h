/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by config.c (where values come from), config_table.c (the settings), config_parse.c (the kinds of values),
 * config_vars.c (other pod networks' variables) and config_check.c, and by nobody else. */
#ifndef IPAMD_CONFIG_IMPL_H
#define IPAMD_CONFIG_IMPL_H

#include <stddef.h>
#include <stdint.h>

#include "berth/clock.h"
#include "ipamd/config.h"

#define CONFIG_DOMAIN "config"

#define HOUR_US (3600 * USEC_PER_SEC)
#define DAY_US  (24 * HOUR_US)

struct setting;
struct strbuf;

/** struct kind - how text becomes a value. @parse: 0 or -EINVAL; writes @dst only on success. */
/** enum kind_form - what a value may be in the file beside a string. */
enum kind_form { FORM_STRING, FORM_NUMBER, FORM_BOOL, FORM_ARRAY, FORM_OBJECT };

struct kind {
	int (*parse)(const struct setting *setting, const char *text, void *dst);
	enum kind_form form;
	const char *wanted; /* "a number", for messages */
};

struct setting {
	const char *key, *env;
	const struct kind *kind;
	size_t offset;
	const char *def;
	int64_t min, max; /* numbers; durations in µs */
	const char *doc;
};

#define CONFIG_NAME_MAX     64 /* bytes of a key or variable that is compared with ours */
#define CONFIG_SETTINGS_MAX 64

/** struct loading - a configuration on its way. */
struct loading {
	struct config config;
	const char *by[CONFIG_SETTINGS_MAX]; /* by setting: the key or variable that set it last; NULL: the default */
};

/** struct config_text - a value and where it comes from. */
struct config_text {
	const char *source, *name; /* @name outlives the loading */
	const char *text;          /* what is parsed */
	const char *shown;         /* what a message shows of it */
};

/* ---- config.c ---- */

/** loading_by() - the key or variable that set it; NULL: it has its default. */
const char *loading_by(const struct loading *l, const struct setting *setting);
/** loading_set() - parse a value. Errors: INVALID, names the source, the name, the value and what was wanted. */
int loading_set(struct loading *l, const struct setting *setting, const struct config_text *from, struct err *err);
/** config_setting_by_key() - NULL: there is none. */
const struct setting *config_setting_by_key(const char *key);
/** config_is_on() - is it a setting that is true or false, and true? */
bool config_is_on(const struct config *config, const struct setting *setting);
/** config_name_distance() - edits from one name to the other, without case; @b of up to CONFIG_NAME_MAX bytes. */
unsigned config_name_distance(const char *a, const char *b);
/** config_is_service_link() - is it a variable that Kubernetes makes for Services? */
bool config_is_service_link(const char *name);
/** config_process_env() - a variable of this process. */
const char *config_process_env(const char *name);

/* ---- config_vars.c ---- */

/** config_vars_apply() - what another pod network's variables say, where the environment does not under our names. */
int config_vars_apply(struct loading *l, const char *(*get_env)(const char *name), struct err *err);
/** config_vars_check() - Errors: INVALID, names a variable without whose effect pods would be wrong. */
int config_vars_check(const struct loading *l, const char *(*get_env)(const char *name), struct err *err);

/* ---- config_table.c ---- */

extern const struct setting config_settings[];
extern const size_t config_setting_count;

/** config_print_wanted() - what a setting wants: its kind and its range. */
void config_print_wanted(struct strbuf *out, const struct setting *setting);

/* ---- config_parse.c ---- */

extern const struct kind kind_text, kind_level, kind_pause, kind_bool, kind_number, kind_warm, kind_mask, kind_duration,
	kind_prefixes, kind_mtu, kind_names, kind_versions, kind_families, kind_access, kind_ids, kind_tags,
	kind_namespaces;

/* ---- config_check.c ---- */

/** config_check() - what no value can be judged by alone. Errors: INVALID. */
int config_check(const struct config *config, struct err *err);

#endif
