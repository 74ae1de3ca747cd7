/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/runner.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "berth/str.h"
#include "tests/sim/world_impl.h"

static uint64_t running_steps;

static void tell(FILE *out, const struct world *w, uint64_t steps)
{
	world_dump(w, out);
	(void)fprintf(out, "repeat: build/sim --seed %" PRIu64 " --steps %" PRIu64 "\n", w->scenario.seed, steps);
	(void)fflush(out);
}

/* A CHECK() of the daemon: it aborts at once, nothing asynchronous about it. */
static void on_abort(int signal_number)
{
	(void)signal_number;
	if (sim_world) {
		(void)fprintf(stdout, "the daemon aborted\n");
		tell(stdout, sim_world, running_steps);
	}
}

static void catch_abort(void)
{
	const struct sigaction action = { .sa_handler = on_abort, .sa_flags = (int)SA_RESETHAND };

	(void)sigaction(SIGABRT, &action, NULL);
}

void runner_run(uint64_t seed, const struct runner_how *how, struct runner_result *ret)
{
	struct scenario scenario;
	struct world *w;

	*ret = (struct runner_result){ .failed = true };
	scenario_draw(seed, &scenario);
	w = world_new(&scenario);
	if (!w) {
		(void)str_copy(ret->failure, sizeof(ret->failure), "no world");
		return;
	}
	running_steps = how->steps;
	catch_abort();
	world_set_verbose(w, how->verbose);
	world_plant(w, how->plant);
	world_daemon_start(w);
	while (w->counters.steps < how->steps && world_step(w))
		;
	if (!world_failure(w))
		(void)world_settle(w);
	ret->hash = world_trace_hash(w);
	ret->steps = w->counters.steps;
	ret->failed = world_failure(w) != NULL;
	if (ret->failed) {
		(void)str_copy(ret->failure, sizeof(ret->failure), world_failure(w));
		if (how->out)
			tell(how->out, w, how->steps);
	}
	world_free(w);
}

bool runner_one(uint64_t seed, uint64_t steps, bool verbose, FILE *out)
{
	const struct runner_how how = { .steps = steps, .verbose = verbose, .out = out };
	struct runner_result result;

	runner_run(seed, &how, &result);
	if (!result.failed)
		(void)fprintf(out, "seed %" PRIu64 ": %" PRIu64 " steps, trace %016" PRIx64 ", all holds\n", seed,
			      result.steps, result.hash);
	return !result.failed;
}

unsigned runner_range(const struct runner_range *range, FILE *out)
{
	const struct runner_how how = { .steps = range->steps, .out = range->keep_going ? NULL : out };
	unsigned failed = 0;

	for (uint64_t seed = range->first; seed <= range->last && (!failed || range->keep_going);
	     seed += range->stride) {
		struct runner_result result;

		runner_run(seed, &how, &result);
		failed += result.failed;
		if (result.failed && range->keep_going)
			(void)fprintf(out, "seed %" PRIu64 ": %s\n", seed, result.failure);
	}
	return failed;
}
