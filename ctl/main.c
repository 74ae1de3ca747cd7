/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/ctl.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/proto.h"
#include "berth/str.h"
#include "berth/version.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const struct command {
	const char *name, *help;
	int (*run)(const struct ctl *ctl, struct err *err);
} commands[] = {
	{ "status", "the node on one screen: NICs, one square per address, what is short and why", ctl_status },
};

static void usage(FILE *out)
{
	(void)fprintf(out, "usage: berthctl [--socket PATH] [--json] [--colour|--plain] COMMAND\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		(void)fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
	(void)fprintf(out, "\nThe socket is %s/%s unless --socket or BERTH_RUN_DIR says otherwise.\n", PROTO_RUN_DIR,
		      PROTO_SOCKET);
}

static int run(const struct ctl *ctl, const char *name)
{
	struct err err = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!str_equal(commands[i].name, name))
			continue;
		if (commands[i].run(ctl, &err) == 0)
			return EXIT_OK;
		(void)fprintf(stderr, "berthctl %s: %s\n", name, err.msg);
		return EXIT_FAILED;
	}
	(void)fprintf(stderr, "berthctl: no command '%s'\n", name);
	usage(stderr);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ "colour", no_argument, NULL, 'C' },
		{ "plain", no_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ 0 },
	};
	const char *run_dir = getenv("BERTH_RUN_DIR");
	char path[512];
	struct ctl ctl = { .socket_path = path, .colour = isatty(STDOUT_FILENO), .out = stdout };
	int option;

	(void)snprintf(path, sizeof(path), "%s/%s", run_dir && *run_dir ? run_dir : PROTO_RUN_DIR, PROTO_SOCKET);
	while ((option = getopt_long(argc, argv, "s:jhv", options, NULL)) != -1) {
		switch (option) {
		case 's':
			ctl.socket_path = optarg;
			break;
		case 'j':
			ctl.json = true;
			break;
		case 'C':
			ctl.colour = true;
			break;
		case 'p':
			ctl.colour = false;
			break;
		case 'h':
			usage(stdout);
			return EXIT_OK;
		case 'v':
			(void)puts(BERTH_VERSION);
			return EXIT_OK;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (optind + 1 != argc) {
		usage(stderr);
		return EXIT_USAGE;
	}
	return run(&ctl, argv[optind]);
}
