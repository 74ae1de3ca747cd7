/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: rules side by side on one node
 *
 * The same node, the same pods, the same cloud without limits of an account; only the rule differs. The node is started
 * first and has three minutes; then the curve begins and what is counted begins.
 *
 * wait      from the moment a pod calls ADD to its address. What a rule does not have in its pool a pod waits for: with
 *           berth in the daemon's queue, with metis up to 9 s in its own, elsewhere until kubelet tries again
 * unused    addresses that the node holds and no pod has, those that rest after a pod included; a secondary NIC's own
 *           primary address is left out for all
 * calls     requests that change something, of the whole curve
 */
#include "tests/fleet/fleet_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "tests/fleet/curves.h"

#define WARM_UP_US  (180 * USEC_PER_SEC)
#define SECONDS(us) ((double)(us) / (double)USEC_PER_SEC)
#define S(n)        ((n)*USEC_PER_SEC)

/* Intervals: aws-vpc-cni reference 3.1 (ipPoolMonitorInterval, IP_COOLDOWN_PERIOD); azure 1.9 (tick 1 s; v2 runs on events
 * and each 60 s: here each second, charitable) and 1.7 (no cool-down); gcp 2.5 (ADD waits 9 s, release-cooldown 60 s)
 * and 2.6 (2 s). */
static const struct rule aws_nic = {
	"amazon-vpc-cni-k8s WARM_ENI_TARGET=1 (default)", RULE_AWS, 1, 0, 0, 0, S(5), S(30), 0, false
};
static const struct rule aws_ip = {
	"amazon-vpc-cni-k8s WARM_IP_TARGET=2 MINIMUM_IP_TARGET=10", RULE_AWS, 0, 2, 10, 0, S(5), S(30), 0, false
};
static const struct rule aws_ip8 = {
	"amazon-vpc-cni-k8s WARM_IP_TARGET=8", RULE_AWS, 0, 8, 0, 0, S(5), S(30), 0, false
};
static const struct rule aws_prefix = {
	"amazon-vpc-cni-k8s WARM_PREFIX_TARGET=1 (default)", RULE_AWS, 0, 0, 0, 1, S(5), S(30), 0, true
};
static const struct rule aws_prefix_ip = {
	"amazon-vpc-cni-k8s WARM_IP_TARGET=8, prefixes", RULE_AWS, 0, 8, 0, 1, S(5), S(30), 0, true
};
static const struct rule azure_v1 = { "Azure CNS v1", RULE_AZURE_V1, 0, 0, 0, 0, S(1), 0, 0, false };
static const struct rule azure_v2 = { "Azure CNS v2", RULE_AZURE_V2, 0, 0, 0, 0, S(1), 0, 0, false };
static const struct rule metis = { "metis (GKE)", RULE_METIS, 0, 0, 0, 0, S(2), S(60), S(9), false };

static const struct rule *const single_rules[] = { &aws_nic, &aws_ip, &aws_ip8, &azure_v1, &azure_v2, &metis };
static const struct rule *const prefix_rules[] = { &aws_prefix, &aws_prefix_ip, &azure_v1, &azure_v2, &metis };

static const struct fleet_policy berths[] = {
	{ .name = "**berth** (default)", .warm_ips = FLEET_WARM_AUTO },
	{ .name = "berth, releaseDelay=30m", .warm_ips = FLEET_WARM_AUTO, .release_delay_us = S(1800) },
	{ .name = "berth, warmIPs=8", .warm_ips = 8 },
	{ .name = "berth, warmIPs=20 releaseDelay=30m", .warm_ips = 20, .release_delay_us = S(1800) },
};

static const struct fleet_instance instances[] = {
	{ "m5.large: 3 NICs x 9 addresses, 29 pods", 3, 9, 32, 29 },
	{ "m5.4xlarge: 8 NICs x 29 addresses, 110 pods", 8, 29, 32, 110 },
	{ "m5.large with prefixes: 3 NICs x 9 units of 16, 110 pods", 3, 9, 28, 110 },
};

/* Pods that find room whatever rests: the node's addresses less what cools. */
static unsigned pods_max(const struct fleet_instance *instance)
{
	unsigned addresses = (instance->nics_max * instance->units_per_nic) << (32U - instance->unit_len);

	return addresses < instance->max_pods ? addresses - 2 : instance->max_pods;
}

static bool load(struct fleet *f, const struct curve *curve)
{
	f->count_from_us = f->now_us + WARM_UP_US;
	f->nodes[0].pod_count = curve->count;
	for (unsigned i = 0; i < curve->count; i++) {
		f->pods[i].arrive_us = f->count_from_us + curve->pods[i].at_us;
		f->pods[i].life_us = curve->pods[i].life_us;
		queue_push(&f->queue, f->pods[i].arrive_us, EVENT_POD, i, NULL);
	}
	queue_push(&f->queue, f->now_us, EVENT_BOOT, 0, NULL);
	return !f->queue.failed;
}

static int run_curve(const struct fleet_options *options, const struct fleet_policy *policy, const struct curve *curve,
		     struct fleet_result *ret)
{
	struct fleet f;
	bool ok = fleet_setup(&f, options, policy, 1, curve->count) && load(&f, curve);

	if (ok) {
		fleet_go(&f, f.count_from_us + curve->duration_us, false);
		fleet_sum_up(&f);
		ok = !f.failed && !f.queue.failed;
	}
	fleet_done(&f);
	*ret = f.result;
	if (ok)
		return 0;
	fleet_result_done(ret);
	return -1;
}

static double percent(unsigned part, unsigned of)
{
	return of ? 100.0 * part / of : 0;
}

static int row(const struct fleet_options *options, const struct fleet_policy *policy, const struct curve *curves)
{
	(void)fprintf(options->out, "| %s |", policy->name);
	for (unsigned i = 0; i < CURVE_COUNT; i++) {
		struct fleet_result result;

		if (run_curve(options, policy, &curves[i], &result) < 0)
			return -1;
		(void)fprintf(options->out, " %.1f %%", percent(result.waited, result.pods));
		if (result.unplaced)
			(void)fprintf(options->out, " of %.0f %%", percent(result.pods, result.pods + result.unplaced));
		(void)fprintf(options->out, " | %.1f / %.1f / %.1f | %.1f / %u | %" PRIu64 " |", SECONDS(result.p50_us),
			      SECONDS(result.p99_us), SECONDS(result.max_us), result.unused_mean, result.unused_max,
			      result.calls[FLEET_MUTATE]);
		fleet_result_done(&result);
	}
	(void)fprintf(options->out, "\n");
	return 0;
}

static void head(FILE *out, const struct fleet_instance *instance)
{
	(void)fprintf(out, "\n**%s**\n\n| rule |", instance->name);
	for (unsigned i = 0; i < CURVE_COUNT; i++)
		(void)fprintf(out, " %s: waited | p50 / p99 / max s | unused mean / max | calls |",
			      curve_name((enum curve_kind)i));
	(void)fprintf(out, "\n|---|");
	for (unsigned i = 0; i < CURVE_COUNT; i++)
		(void)fprintf(out, "---|---|---|---|");
	(void)fprintf(out, "\n");
}

static int table(FILE *out, uint64_t seed, const struct fleet_instance *instance)
{
	bool prefix = instance->unit_len != 32;
	const struct rule *const *rules = prefix ? prefix_rules : single_rules;
	unsigned rule_count = prefix ? ARRAY_SIZE(prefix_rules) : ARRAY_SIZE(single_rules);
	struct fleet_options options = { .nodes = 1, .seed = seed, .instance = *instance, .out = out };
	struct curve curves[CURVE_COUNT] = { 0 };
	int r = 0;

	options.account =
		(struct fleet_account){ .reads = { 1e9, 1e9 }, .mutations = { 1e9, 1e9 }, .tags = { 1e9, 1e9 } };
	head(out, instance);
	for (unsigned i = 0; r == 0 && i < CURVE_COUNT; i++)
		r = curve_make((enum curve_kind)i, pods_max(instance), seed, &curves[i]);
	for (unsigned i = 0; r == 0 && i < ARRAY_SIZE(berths); i++)
		r = row(&options, &berths[i], curves);
	for (unsigned i = 0; r == 0 && i < rule_count; i++) {
		const struct fleet_policy policy = { .name = rules[i]->name, .rule = rules[i] };

		r = row(&options, &policy, curves);
	}
	for (unsigned i = 0; i < CURVE_COUNT; i++)
		curve_done(&curves[i]);
	return r;
}

int compare_run(FILE *out, uint64_t seed)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < ARRAY_SIZE(instances); i++)
		r = table(out, seed, &instances[i]);
	return r;
}
