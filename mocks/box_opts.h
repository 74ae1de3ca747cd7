/* SPDX-License-Identifier: Apache-2.0 */
/* vpcbox's command line: one table row per option; defaults, parsing and --help come from it. */
#ifndef MOCKS_BOX_OPTS_H
#define MOCKS_BOX_OPTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct err;

#define BOX_ENV_MAX  32 /* --env given */
#define BOX_ARGS_MAX 4  /* words behind the verb */

/* Which verbs an option belongs to. */
enum box_verb_bit {
	BOX_UP = 1 << 0,
	BOX_DOWN = 1 << 1,
	BOX_PODS = 1 << 2,
	BOX_MATRIX = 1 << 3,
	BOX_KILL = 1 << 4,
	BOX_START = 1 << 5,
	BOX_EXEC = 1 << 6,
};
#define BOX_EVERY_VERB ((1U << 7) - 1)

/** struct box_opts - what was asked for; strings are borrowed from argv. */
struct box_opts {
	const char *name; /* prefix of the box */
	const char *cloud;
	const char *type;     /* instance type */
	const char *families; /* "ipv4", "ipv6", "ipv4,ipv6" */
	const char *ipamd;    /* NULL: beside vpcbox; so the next two */
	const char *plugin;
	const char *mockcloud;
	const char *delete; /* pods: "all" or a number; NULL: add */
	uint64_t nodes;
	uint64_t attach_ms;
	uint64_t parallel;
	uint64_t signal;
	bool no_ipamd;
	bool quiet;
	bool all;
	unsigned env_count;
	const char *env[BOX_ENV_MAX]; /* K=V */
	unsigned arg_count;
	const char *args[BOX_ARGS_MAX];
	char **command; /* exec: what stands behind "--", NULL-terminated; NULL: nothing */
};

/** box_opts_parse() - @argv without program and verb. Errors: INVALID. */
int box_opts_parse(int argc, char **argv, enum box_verb_bit verb, struct box_opts *ret, struct err *err);
/** box_opts_help() - one line per option of that verb. */
void box_opts_help(FILE *to, enum box_verb_bit verb);

#endif
