/* SPDX-License-Identifier: Apache-2.0 */
/* sim-fleet --compare | --fleet [NODES] [--seed N]: the tables of docs/planner.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "berth/log.h"
#include "tests/fleet/fleet.h"

static int usage(void)
{
	(void)fputs("usage: sim-fleet --compare | --fleet [NODES] [--seed N]\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	struct fleet_options options;
	bool compare = argc > 1 && strcmp(argv[1], "--compare") == 0;
	int at = 2;

	fleet_options_default(&options);
	log_init("sim-fleet", -1, LOG_ERROR_); /* what thousands of daemons would say; the tables count it */
	if (argc < 2 || (!compare && strcmp(argv[1], "--fleet") != 0))
		return usage();
	if (!compare && at < argc && argv[at][0] != '-')
		options.nodes = (unsigned)strtoul(argv[at++], NULL, 10);
	if (at + 1 < argc && strcmp(argv[at], "--seed") == 0) {
		options.seed = strtoull(argv[at + 1], NULL, 10);
		at += 2;
	}
	if (at != argc || options.nodes == 0)
		return usage();
	return (compare ? compare_run(stdout, options.seed) : fleet_run(&options)) < 0;
}
