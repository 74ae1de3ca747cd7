/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim --seed N [--steps M] [--verbose]         one run; prints the trace's hash
 * sim --seeds A..B [--steps M] [--jobs J]      many, in J processes; --keep-going: a line for each that fails
 *
 * sim --fleet [NODES] | --compare               many nodes on one account, rules side by side: sim-fleet, beside this program
 *
 * A run that fails prints what does not hold, the last events and the command that repeats it; exit 1.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "berth/err.h"
#include "berth/str.h"
#include "tests/sim/runner.h"

#define JOBS_MAX 64

static const char usage[] = "usage: sim --seed N [--steps M] [--verbose]\n"
			    "       sim --seeds A..B [--steps M] [--jobs J] [--keep-going]\n"
			    "       sim --fleet [NODES] [--seed N]\n"
			    "       sim --compare [--seed N]\n";

struct options {
	uint64_t first, last, steps, jobs;
	bool one, verbose, keep_going;
};

static int parse_range(char *text, struct options *ret)
{
	char *dots = strstr(text, "..");

	if (!dots)
		return -EINVAL;
	*dots = '\0';
	if (str_u64(text, 0, UINT64_MAX, &ret->first) < 0 || str_u64(dots + 2, 0, UINT64_MAX, &ret->last) < 0)
		return -EINVAL;
	return ret->last < ret->first ? -EINVAL : 0;
}

static int parse(int argc, char **argv, struct options *ret)
{
	static const struct option names[] = { { "seed", required_argument, NULL, 's' },
					       { "seeds", required_argument, NULL, 'r' },
					       { "steps", required_argument, NULL, 'n' },
					       { "jobs", required_argument, NULL, 'j' },
					       { "keep-going", no_argument, NULL, 'k' },
					       { "verbose", no_argument, NULL, 'v' },
					       { 0 } };
	int c, r = 0;

	*ret = (struct options){ .last = 1000, .first = 1, .steps = RUNNER_STEPS, .jobs = 2 };
	while (r == 0 && (c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (c == 's') {
			r = str_u64(optarg, 0, UINT64_MAX, &ret->first);
			ret->last = ret->first;
			ret->one = true;
		} else if (c == 'r') {
			r = parse_range(optarg, ret);
		} else if (c == 'n') {
			r = str_u64(optarg, 0, UINT64_MAX, &ret->steps);
		} else if (c == 'j') {
			r = str_u64(optarg, 1, JOBS_MAX, &ret->jobs);
		} else if (c == 'k') {
			ret->keep_going = true;
		} else if (c == 'v') {
			ret->verbose = true;
		} else {
			r = -EINVAL;
		}
	}
	return optind == argc ? r : -EINVAL;
}

static double seconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Every J-th seed of the range in a process of its own. Return: how many processes saw a failure. */
static unsigned run_many(const struct options *options)
{
	pid_t pids[JOBS_MAX];
	unsigned bad = 0;

	for (uint64_t job = 0; job < options->jobs; job++) {
		const struct runner_range range = { options->first + job, options->last, options->jobs, options->steps,
						    options->keep_going };

		pids[job] = fork();
		if (pids[job] == 0)
			_exit(runner_range(&range, stdout) ? 1 : 0);
	}
	for (uint64_t job = 0; job < options->jobs; job++) {
		int status = 0;

		bad += pids[job] < 0 || waitpid(pids[job], &status, 0) < 0 || status != 0;
	}
	return bad;
}

/* Another program, because its stand-ins for store and kernel would be in the way of the ones here. */
static int run_fleet(char **argv)
{
	char path[PATH_MAX];
	const char *slash = strrchr(argv[0], '/');

	(void)snprintf(path, sizeof(path), "%.*ssim-fleet", slash ? (int)(slash - argv[0] + 1) : 0, argv[0]);
	(void)execvp(path, argv);
	(void)fprintf(stderr, "sim: cannot run %s: %s\n", path, errno_str(errno));
	return 2;
}

int main(int argc, char **argv)
{
	struct options options;
	double start = seconds();
	unsigned bad;

	if (argc > 1 && (str_equal(argv[1], "--fleet") || str_equal(argv[1], "--compare")))
		return run_fleet(argv);
	if (parse(argc, argv, &options) < 0) {
		(void)fputs(usage, stderr);
		return 2;
	}
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	if (options.one)
		return runner_one(options.first, options.steps, options.verbose, stdout) ? 0 : 1;
	bad = run_many(&options);
	(void)printf("sim: seeds %" PRIu64 "..%" PRIu64 ", %" PRIu64 " steps each, %.1f s: %s\n", options.first,
		     options.last, options.steps, seconds() - start, bad ? "FAILED" : "all hold");
	return bad ? 1 : 0;
}
