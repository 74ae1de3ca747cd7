/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/str.h"
#include "box_opts.h"

#define DOMAIN "usage"

enum option_kind { OPTION_TEXT, OPTION_NUMBER, OPTION_FLAG, OPTION_ENV };

struct option_row {
	const char *name;
	enum option_kind kind;
	unsigned verbs;
	size_t offset;
	uint64_t min, max;    /* OPTION_NUMBER */
	const char *fallback; /* parsed as if it had been given; NULL: none */
	const char *metavar;
	const char *doc;
};

#define AT(field) offsetof(struct box_opts, field)

static const struct option_row rows[] = {
	{ "name", OPTION_TEXT, BOX_EVERY_VERB, AT(name), 0, 0, "vb", "PREFIX", "which box; namespaces carry it" },
	{ "cloud", OPTION_TEXT, BOX_UP, AT(cloud), 0, 0, "aws", "CLOUD", "which cloud it plays: aws" },
	{ "nodes", OPTION_NUMBER, BOX_UP, AT(nodes), 1, 16, "2", "N", "how many nodes" },
	{ "type", OPTION_TEXT, BOX_UP, AT(type), 0, 0, "m5.large", "TYPE", "instance type of the nodes" },
	{ "families", OPTION_TEXT, BOX_UP, AT(families), 0, 0, "ipv4", "LIST",
	  "of the network and of pods: ipv4, ipv6 or ipv4,ipv6" },
	{ "attach-ms", OPTION_NUMBER, BOX_UP, AT(attach_ms), 0, 60000, "300", "MS", "how long attaching a NIC takes" },
	{ "env", OPTION_ENV, BOX_UP, AT(env), 0, 0, NULL, "K=V", "environment of the daemons; may be repeated" },
	{ "no-ipamd", OPTION_FLAG, BOX_UP, AT(no_ipamd), 0, 0, NULL, NULL, "leave the daemons out" },
	{ "ipamd", OPTION_TEXT, BOX_UP | BOX_START, AT(ipamd), 0, 0, NULL, "PATH",
	  "the daemon (default: berth-ipamd beside vpcbox)" },
	{ "mockcloud", OPTION_TEXT, BOX_UP, AT(mockcloud), 0, 0, NULL, "PATH",
	  "the mock cloud (default: berth-mockcloud beside vpcbox)" },
	{ "plugin", OPTION_TEXT, BOX_UP | BOX_PODS, AT(plugin), 0, 0, NULL, "PATH",
	  "the CNI plugin (default: what the conflist names, beside vpcbox)" },
	{ "delete", OPTION_TEXT, BOX_PODS, AT(delete), 0, 0, NULL, "all|K", "delete the pods, or the K latest ones" },
	{ "parallel", OPTION_NUMBER, BOX_PODS, AT(parallel), 1, 64, "8", "K", "plugin calls at a time" },
	{ "quiet", OPTION_FLAG, BOX_PODS, AT(quiet), 0, 0, NULL, NULL, "only the count, not a line per pod (-q)" },
	{ "signal", OPTION_NUMBER, BOX_KILL, AT(signal), 1, 64, "9", "N", "what to send" },
	{ "all", OPTION_FLAG, BOX_DOWN, AT(all), 0, 0, NULL, NULL, "every box of this machine" },
};

static int set_option(struct box_opts *opts, const struct option_row *row, const char *value, struct err *err)
{
	void *field = (char *)opts + row->offset;

	switch (row->kind) {
	case OPTION_TEXT:
		*(const char **)field = value;
		return 0;
	case OPTION_NUMBER:
		if (str_u64(value, row->min, row->max, field) < 0)
			return err_set(err, ERR_INVALID, DOMAIN, "--%s %s: a number from %llu to %llu", row->name,
				       value, (unsigned long long)row->min, (unsigned long long)row->max);
		return 0;
	case OPTION_FLAG:
		*(bool *)field = true;
		return 0;
	case OPTION_ENV:
		if (!strchr(value, '='))
			return err_set(err, ERR_INVALID, DOMAIN, "--%s %s: K=V is wanted", row->name, value);
		if (opts->env_count == BOX_ENV_MAX)
			return err_set(err, ERR_INVALID, DOMAIN, "--%s: more than %d", row->name, BOX_ENV_MAX);
		opts->env[opts->env_count++] = value;
		return 0;
	}
	return err_set(err, ERR_BUG, DOMAIN, "option kind of --%s", row->name);
}

static const struct option_row *find_option(const char *name, size_t len, enum box_verb_bit verb)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if ((rows[i].verbs & (unsigned)verb) && strlen(rows[i].name) == len &&
		    strncmp(rows[i].name, name, len) == 0)
			return &rows[i];
	return NULL;
}

/* "--name value" and "--name=value". Return: how many words were used, or -1. */
static int parse_option(struct box_opts *opts, int left, char **argv, enum box_verb_bit verb, struct err *err)
{
	const char *name = str_equal(argv[0], "-q") ? "quiet" : argv[0] + 2;
	const char *equals = strchr(name, '=');
	size_t len = equals ? (size_t)(equals - name) : strlen(name);
	const struct option_row *row = find_option(name, len, verb);
	int used = 1;
	const char *value = equals ? equals + 1 : NULL;

	if (!row)
		return err_set(err, ERR_INVALID, DOMAIN, "unknown option %s; see --help", argv[0]);
	if (row->kind == OPTION_FLAG && value)
		return err_set(err, ERR_INVALID, DOMAIN, "--%s takes no value", row->name);
	if (row->kind != OPTION_FLAG && !value) {
		if (left < 2)
			return err_set(err, ERR_INVALID, DOMAIN, "--%s wants %s", row->name, row->metavar);
		value = argv[1];
		used = 2;
	}
	return set_option(opts, row, value, err) < 0 ? -1 : used;
}

int box_opts_parse(int argc, char **argv, enum box_verb_bit verb, struct box_opts *ret, struct err *err)
{
	struct box_opts opts = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].fallback && set_option(&opts, &rows[i], rows[i].fallback, err) < 0)
			return -1;
	for (int i = 0; i < argc;) {
		int used = 1;

		if (str_equal(argv[i], "--")) {
			opts.command = i + 1 < argc ? argv + i + 1 : NULL;
			break;
		}
		if (str_starts(argv[i], "--") || str_equal(argv[i], "-q"))
			used = parse_option(&opts, argc - i, argv + i, verb, err);
		else if (opts.arg_count < BOX_ARGS_MAX)
			opts.args[opts.arg_count++] = argv[i];
		else
			return err_set(err, ERR_INVALID, DOMAIN, "too many words: %s", argv[i]);
		if (used < 0)
			return -1;
		i += used;
	}
	*ret = opts;
	return 0;
}

void box_opts_help(FILE *to, enum box_verb_bit verb)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char left[64];

		if (!(rows[i].verbs & (unsigned)verb))
			continue;
		(void)snprintf(left, sizeof(left), "--%s %s", rows[i].name, rows[i].metavar ? rows[i].metavar : "");
		(void)fprintf(to, "      %-20s %s", left, rows[i].doc);
		if (rows[i].fallback)
			(void)fprintf(to, " (default %s)", rows[i].fallback);
		(void)fprintf(to, "\n");
	}
}
