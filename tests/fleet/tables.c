/* SPDX-License-Identifier: Apache-2.0 */
/* sim-fleet: the tables of docs/planner.md. */
#include <stddef.h>
#include <stdio.h>

#include "berth/attr.h"
#include "berth/log.h"
#include "berth/str.h"
#include "tests/fleet/fleet.h"

#define NODES_MAX 100000U /* some 100 KiB each */

/* Every number that may be set; all are whole numbers. */
struct numbers {
	uint64_t nodes, pods, seed, read_burst, read_rate, burst, rate, shared;
};

static const struct {
	const char *name;
	size_t offset;
	uint64_t min, max;
	const char *doc;
} settings[] = {
	{ "--nodes", offsetof(struct numbers, nodes), 1, NODES_MAX, "how many (5000)" },
	{ "--pods", offsetof(struct numbers, pods), 1, 40, "that come to each node (10)" },
	{ "--seed", offsetof(struct numbers, seed), 1, UINT64_MAX, "of everything random (1)" },
	{ "--read-burst", offsetof(struct numbers, read_burst), 1, 1000000, "reads at once, of each action (100)" },
	{ "--read-rate", offsetof(struct numbers, read_rate), 1, 1000000, "reads a second (20)" },
	{ "--burst", offsetof(struct numbers, burst), 1, 1000000, "mutations at once, of each action (50)" },
	{ "--rate", offsetof(struct numbers, rate), 1, 1000000, "mutations a second (5)" },
	{ "--shared", offsetof(struct numbers, shared), 0, 1, "1: all mutations share one bucket (0)" },
};

static int usage(void)
{
	(void)fputs("usage: sim-fleet --compare | --fleet, with any of\n", stderr);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		(void)fprintf(stderr, "  %-12s N  %s\n", settings[i].name, settings[i].doc);
	return 2;
}

static bool parse_one(const char *name, const char *text, struct numbers *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		uint64_t *number = (uint64_t *)(void *)((char *)ret + settings[i].offset);

		if (str_equal(name, settings[i].name))
			return str_u64(text, settings[i].min, settings[i].max, number) == 0;
	}
	return false;
}

static void apply(const struct numbers *numbers, struct fleet_options *options)
{
	options->nodes = (unsigned)numbers->nodes;
	options->pods_per_node = (unsigned)numbers->pods;
	options->seed = numbers->seed;
	options->account.reads = (struct fleet_bucket_limit){ (double)numbers->read_burst, (double)numbers->read_rate };
	options->account.mutations = (struct fleet_bucket_limit){ (double)numbers->burst, (double)numbers->rate };
	options->account.shared = numbers->shared != 0;
}

int main(int argc, char **argv)
{
	struct numbers numbers = { 5000, 10, 1, 100, 20, 50, 5, 0 };
	struct fleet_options options;
	bool compare = argc > 1 && str_equal(argv[1], "--compare");
	int at;

	fleet_options_default(&options);
	log_init("sim-fleet", -1, LOG_ERROR_); /* what thousands of daemons would say; the tables count it */
	if (argc < 2 || (!compare && !str_equal(argv[1], "--fleet")))
		return usage();
	for (at = 2; at + 1 < argc; at += 2)
		if (!parse_one(argv[at], argv[at + 1], &numbers))
			return usage();
	if (at != argc)
		return usage();
	apply(&numbers, &options);
	return (compare ? compare_run(stdout, options.seed) : fleet_run(&options)) < 0;
}
