/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of the simulator by seed. */
#ifndef TESTS_SIM_RUNNER_H
#define TESTS_SIM_RUNNER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/sim/world.h"

#define RUNNER_STEPS 1000 /* events before a world is let come to rest: minutes to hours of a node */

/** struct runner_result - of one seed. */
struct runner_result {
	uint64_t hash, steps;
	bool failed;
	char failure[512];
};

/** struct runner_how - of a run. */
struct runner_how {
	uint64_t steps;
	bool verbose; /* each event on stderr */
	FILE *out;    /* where a failure is told; NULL = nowhere */
	enum plant plant;
};
/** runner_run() - one seed. */
void runner_run(uint64_t seed, const struct runner_how *how, struct runner_result *ret);
/** runner_one() - the same for people. Return: does all hold? */
bool runner_one(uint64_t seed, uint64_t steps, bool verbose, FILE *out);
/** struct runner_range - every @stride-th seed. */
struct runner_range {
	uint64_t first, last, stride, steps;
	bool keep_going; /* behind a failure, with a line for each */
};
/** runner_range() - Return: how many failed; without keep_going at most one. */
unsigned runner_range(const struct runner_range *range, FILE *out);

#endif
