/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "berth/version.h"
#include "ipamd/ipamd.h"

static void usage(FILE *out)
{
	(void)fputs("usage: berth-ipamd [--config FILE] [--help] [--help-markdown]\n"
		    "                   [--help-variables CLOUD] [--version]\n\n"
		    "The per-node daemon of berth: keeps a warm pool of cloud addresses and hands them to the CNI\n"
		    "plugin over a Unix socket. Settings, from FILE (JSON) and the environment, which wins:\n\n",
		    out);
	config_help(out, false);
}

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static void warn(const char *name, const char *note, void *arg)
{
	(void)arg;
	log_warn("a variable of another pod network has no effect", "name=%s note=\"%s\"", name, note);
}

static int serve(const char *config_path)
{
	struct config config;
	struct ipamd *daemon;
	struct err err;
	int r;

	log_init("berth-ipamd", STDERR_FILENO, LOG_INFO_);
	if (config_load(config_path, NULL, environ, &config, &err) < 0) {
		log_error("bad configuration", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
		return EXIT_USAGE;
	}
	log_init("berth-ipamd", STDERR_FILENO, config.log_level);
	config_warnings(&config, NULL, environ, warn, NULL);
	if (ipamd_open(&config, &daemon, &err) < 0) {
		log_error("cannot start", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
		return EXIT_FAILED;
	}
	r = ipamd_run(daemon, &err);
	if (r < 0)
		log_error("cannot go on", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
	ipamd_close(daemon);
	return r < 0 ? EXIT_FAILED : EXIT_OK;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },  { "help", no_argument, NULL, 'h' },
		{ "help-markdown", no_argument, NULL, 'm' }, { "help-variables", required_argument, NULL, 'V' },
		{ "version", no_argument, NULL, 'v' },       { 0 },
	};
	const char *config_path = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "c:hv", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			config_path = optarg;
			break;
		case 'h':
			usage(stdout);
			return EXIT_OK;
		case 'm':
			config_help(stdout, true);
			return EXIT_OK;
		case 'V':
			config_vars_help(stdout, optarg);
			return EXIT_OK;
		case 'v':
			(void)puts(BERTH_VERSION);
			return EXIT_OK;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	return serve(config_path);
}
