/* SPDX-License-Identifier: Apache-2.0 */
/* A VPC in a box: nodes, a fabric and a mock cloud in the network namespaces of one machine. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/str.h"
#include "berth/version.h"
#include "box_opts.h"
#include "box_verbs.h"

#define EXIT_FAILED 1
#define EXIT_USAGE  2

struct verb {
	const char *name;
	enum box_verb_bit bit;
	unsigned args_min, args_max;
	const char *words;
	const char *doc;
	int (*run)(const struct box_opts *opts, struct err *err);
};

static const struct verb verbs[] = {
	{ "up", BOX_UP, 0, 0, "", "make a box: fabric, nodes, mock cloud, daemons", box_up },
	{ "pods", BOX_PODS, 1, 2, "NODE [N]", "run N more pods on a node, as a container runtime does; or delete some",
	  box_pods },
	{ "matrix", BOX_MATRIX, 0, 0, "", "ask the network who reaches whom; exit 0 only if all holds", box_matrix },
	{ "kill", BOX_KILL, 1, 1, "NODE", "end a node's daemon", box_kill },
	{ "start", BOX_START, 1, 1, "NODE", "start a node's daemon again", box_start },
	{ "exec", BOX_EXEC, 1, 1, "NODE|POD -- COMMAND...", "run a command inside", box_exec },
	{ "down", BOX_DOWN, 0, 0, "", "remove all of it, also after a crash", box_down },
};

static void help(FILE *to, const struct verb *only)
{
	(void)fprintf(to, "vpcbox %s: a VPC in a box\n\n", BERTH_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (only && only != &verbs[i])
			continue;
		(void)fprintf(to, "  vpcbox %s %s\n      %s\n", verbs[i].name, verbs[i].words, verbs[i].doc);
		box_opts_help(to, verbs[i].bit);
	}
}

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (str_equal(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

static bool wants_help(int argc, char **argv)
{
	for (int i = 1; i < argc && !str_equal(argv[i], "--"); i++)
		if (str_equal(argv[i], "--help") || str_equal(argv[i], "-h") || (i == 1 && str_equal(argv[i], "help")))
			return true;
	return false;
}

static int run(const struct verb *verb, int argc, char **argv)
{
	struct box_opts opts;
	struct err err = { 0 };

	if (box_opts_parse(argc, argv, verb->bit, &opts, &err) < 0) {
		(void)fprintf(stderr, "vpcbox %s: %s\n", verb->name, err.msg);
		return EXIT_USAGE;
	}
	if (opts.arg_count < verb->args_min || opts.arg_count > verb->args_max) {
		(void)fprintf(stderr, "usage: vpcbox %s %s; see vpcbox %s --help\n", verb->name, verb->words,
			      verb->name);
		return EXIT_USAGE;
	}
	if (geteuid() != 0) {
		(void)fprintf(stderr, "vpcbox: network namespaces need root\n");
		return EXIT_FAILED;
	}
	if (verb->run(&opts, &err) < 0) {
		(void)fflush(stdout);
		(void)fprintf(stderr, "vpcbox %s: %s\n", verb->name, err.msg);
		return EXIT_FAILED;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct verb *verb = argc > 1 ? find_verb(argv[1]) : NULL;

	if (argc > 1 && wants_help(argc, argv)) {
		help(stdout, verb);
		return 0;
	}
	if (argc > 1 && str_equal(argv[1], "--version")) {
		(void)printf("vpcbox %s\n", BERTH_VERSION);
		return 0;
	}
	if (!verb) {
		help(stderr, NULL);
		return EXIT_USAGE;
	}
	return run(verb, argc - 2, argv + 2);
}
