/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by config.c (where values come from), config_table.c (the settings), config_parse.c (the kinds of values) and
 * config_check.c, and by nobody else. */
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
struct kind {
	int (*parse)(const struct setting *setting, const char *text, void *dst);
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

/* ---- config_table.c ---- */

extern const struct setting config_settings[];
extern const size_t config_setting_count;

/** config_print_wanted() - what a setting wants: its kind and its range. */
void config_print_wanted(struct strbuf *out, const struct setting *setting);

/* ---- config_parse.c ---- */

extern const struct kind kind_text, kind_level, kind_pause, kind_bool, kind_number, kind_warm, kind_mask, kind_duration,
	kind_prefixes, kind_families, kind_access, kind_ids, kind_tags;

/* ---- config_check.c ---- */

/** config_check() - what no value can be judged by alone. Errors: INVALID. */
int config_check(const struct config *config, struct err *err);

#endif
