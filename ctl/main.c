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
	const char *name;
	const char *arg; /* NULL: takes none */
	const char *help;
	int (*run)(const struct ctl *ctl, struct err *err);
} commands[] = {
	{ "status", NULL, "the node on one screen: NICs, one square per address, what is short and why", ctl_status },
	{ "pause", "WHAT", "leave changes in the cloud undone until the daemon starts again: none, releases, all",
	  ctl_pause },
};

static void usage(FILE *out)
{
	(void)fprintf(out, "usage: berthctl [--socket PATH] [--json] [--colour|--plain] COMMAND [WHAT]\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		(void)fprintf(out, "  %-6s %-5s %s\n", commands[i].name, commands[i].arg ? commands[i].arg : "",
			      commands[i].help);
	(void)fprintf(out, "\nThe socket is %s/%s unless --socket or BERTH_RUN_DIR says otherwise.\n", PROTO_RUN_DIR,
		      PROTO_SOCKET);
}

static int run(const struct ctl *ctl, const struct command *command)
{
	struct err err = { 0 };

	if (!command->arg != !ctl->arg) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (command->run(ctl, &err) == 0)
		return EXIT_OK;
	(void)fprintf(stderr, "berthctl %s: %s\n", command->name, err.msg);
	return EXIT_FAILED;
}

static int run_named(const struct ctl *ctl, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (str_equal(commands[i].name, name))
			return run(ctl, &commands[i]);
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
	if (optind >= argc || argc - optind > 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	ctl.arg = argv[optind + 1];
	return run_named(&ctl, argv[optind]);
}
