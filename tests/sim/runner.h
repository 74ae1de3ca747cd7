/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of the simulator by seed. */
#ifndef TESTS_SIM_RUNNER_H
#define TESTS_SIM_RUNNER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define RUNNER_STEPS 1000 /* events before a world is let come to rest: minutes to hours of a node */

/** struct runner_result - of one seed. */
struct runner_result {
	uint64_t hash, steps;
	bool failed;
	char failure[512];
};

/** runner_run() - one seed; @verbose: each event on stderr; @out: where a failure is told, NULL = nowhere. */
void runner_run(uint64_t seed, uint64_t steps, bool verbose, FILE *out, struct runner_result *ret);
/** runner_one() - the same for people. Return: false if all holds. */
bool runner_one(uint64_t seed, uint64_t steps, bool verbose, FILE *out);
/** runner_range() - every @stride-th seed; ends at the first failure. Return: false if all holds. */
bool runner_range(uint64_t first, uint64_t last, uint64_t stride, uint64_t steps, FILE *out);

#endif
