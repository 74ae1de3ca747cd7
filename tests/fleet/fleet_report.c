/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fleet/fleet_impl.h"

#include <inttypes.h>
#include <string.h>

#define SPARKS      72U /* columns of a sparkline */
#define SECONDS(us) ((double)(us) / (double)USEC_PER_SEC)

static const struct rule aws_warm_nic = {
	.name = "amazon-vpc-cni-k8s, default",
	.kind = RULE_AWS,
	.warm_nics = 1,
	.loop_us = 5 * USEC_PER_SEC,
	.cooldown_us = 30 * USEC_PER_SEC,
};
static const struct rule aws_warm_ips = {
	.name = "amazon-vpc-cni-k8s, WARM_IP_TARGET=2 MINIMUM_IP_TARGET=10",
	.kind = RULE_AWS,
	.warm_ips = 2,
	.min_ips = 10,
	.loop_us = 5 * USEC_PER_SEC,
	.cooldown_us = 30 * USEC_PER_SEC,
};

static const struct fleet_policy policies[] = {
	{ .name = "berth", .warm_ips = FLEET_WARM_AUTO },
	{ .name = "berth, minIPs=14", .warm_ips = FLEET_WARM_AUTO, .min_ips = 14 },
	{ .name = "amazon-vpc-cni-k8s, default", .rule = &aws_warm_nic },
	{ .name = "amazon-vpc-cni-k8s, WARM_IP_TARGET=2 MINIMUM_IP_TARGET=10", .rule = &aws_warm_ips },
};

void fleet_options_default(struct fleet_options *ret)
{
	*ret = (struct fleet_options){
		.nodes = 5000,
		.pods_per_node = 10,
		.boot_spread_us = 10 * USEC_PER_SEC,
		.deaths_one_in = 100,
		.seed = 1,
		.instance = { "m5.xlarge (4 x 15)", 4, 14, 32, 58 },
		.account = fleet_account_ec2,
		.out = stdout,
	};
}

static double percent(uint64_t part, uint64_t of)
{
	return of ? 100.0 * (double)part / (double)of : 0;
}

/* Calls a second from the start to the last pod, each column the peak of its seconds. */
static void sparkline(const struct fleet_result *result, FILE *out)
{
	static const char *const bars[] = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	unsigned seconds = (unsigned)(result->last_served_us / USEC_PER_SEC) + 1;
	unsigned columns = seconds < SPARKS ? seconds : SPARKS;
	uint32_t peaks[SPARKS] = { 0 }, top = 1;

	if (seconds > FLEET_SECONDS_MAX)
		seconds = FLEET_SECONDS_MAX;
	for (unsigned i = 0; i < seconds; i++) {
		uint32_t *peak = &peaks[(uint64_t)i * columns / seconds];

		*peak = result->per_second[i] > *peak ? result->per_second[i] : *peak;
		top = *peak > top ? *peak : top;
	}
	for (unsigned i = 0; i < columns; i++)
		(void)fputs(bars[((uint64_t)peaks[i] * 8 + top - 1) / top], out);
	(void)fprintf(out, " %u s, at most %u calls/s\n", seconds, top);
}

static void row(const struct fleet_policy *policy, const struct fleet_result *r, FILE *out)
{
	(void)fprintf(out,
		      "| %s | %.1f %% | %.0f s | %.1f s | %.1f s | %" PRIu64 " (%.0f %%) | %" PRIu64
		      " (%.0f %%) | %.1f | %u | %u (%u) |\n",
		      policy->name, percent(r->served, r->pods), SECONDS(r->last_served_us), SECONDS(r->p50_us),
		      SECONDS(r->p99_us), r->calls[FLEET_READ], percent(r->throttled[FLEET_READ], r->calls[FLEET_READ]),
		      r->calls[FLEET_MUTATE], percent(r->throttled[FLEET_MUTATE], r->calls[FLEET_MUTATE]),
		      r->unused_mean, r->cut_off, r->leaked, r->leaked_dead);
}

static int scenario(const struct fleet_options *options, enum fleet_scenario which)
{
	struct fleet_result results[sizeof(policies) / sizeof(policies[0])] = { 0 };
	int r = 0;

	(void)fprintf(options->out,
		      "\n**%s**\n\n| rule | served | last pod after | wait p50 | p99 | reads (throttled) | "
		      "mutations (throttled) | unused per node | pods cut off | leaked NICs (of dead nodes) |\n"
		      "|---|---|---|---|---|---|---|---|---|---|\n",
		      fleet_scenario_name(which));
	for (unsigned i = 0; r == 0 && i < sizeof(policies) / sizeof(policies[0]); i++) {
		r = fleet_scenario_run(options, which, &policies[i], &results[i]);
		if (r == 0)
			row(&policies[i], &results[i], options->out);
		(void)fflush(options->out);
	}
	(void)fprintf(options->out, "\nCalls a second from the start to the last pod:\n\n");
	for (unsigned i = 0; r == 0 && i < sizeof(policies) / sizeof(policies[0]); i++) {
		(void)fprintf(options->out, "    %s\n    ", policies[i].name);
		sparkline(&results[i], options->out);
	}
	for (unsigned i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
		fleet_result_done(&results[i]);
	return r;
}

int fleet_run(const struct fleet_options *options)
{
	const struct fleet_account *account = &options->account;
	int r = 0;

	(void)fprintf(
		options->out,
		"%u nodes %s, %u pods each; buckets %s: reads %.0f at %.0f/s, mutations %.0f at %.0f/s; seed %" PRIu64
		".\n",
		options->nodes, options->instance.name, options->pods_per_node,
		account->shared ? "of all mutations together" : "per action", account->reads.burst, account->reads.rate,
		account->mutations.burst, account->mutations.rate, options->seed);
	for (unsigned i = 0; r == 0 && i < FLEET_SCENARIO_COUNT; i++)
		r = scenario(options, (enum fleet_scenario)i);
	return r;
}
