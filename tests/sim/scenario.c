/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/scenario.h"

#include <string.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "tests/sim/rng.h"

#define MS USEC_PER_MSEC
#define S  USEC_PER_SEC
#define MN (60 * USEC_PER_SEC)

/* EC2: create 0.2-1 s, attach 1-5 s with tails, detach 2-3 s, a link a few seconds after "attached", assign sub-second;
 * see docs of amazon-vpc-cni-k8s and the issues of terraform and amazon-ecs-agent for the same figures. nft: 12-30 ms. */
static const struct sim_latency ec2 = {
	.metadata = { 2 * MS, 20 * MS },
	.read = { 30 * MS, 150 * MS },
	.assign = { 300 * MS, 700 * MS },
	.create = { 500 * MS, 1000 * MS },
	.attach = { 300 * MS, 600 * MS },
	.attaching = { 2 * S, 5 * S },
	.link = { 10 * MS, 2 * S },
	.detach = { 200 * MS, 500 * MS },
	.detaching = { 2 * S, 6 * S },
	.remove = { 200 * MS, 500 * MS },
	.nft = { 12 * MS, 30 * MS },
	.poll = { 150 * MS, 1000 * MS },
};

void scenario_quiet(struct scenario *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->seed = 1;
	config_defaults(&ret->config);
	ret->shape = (struct sim_shape){
		.nics_max = 4, .units_per_nic = 15, .unit_len = 32, .single_len = 32, .subnet_len = 22
	};
	ret->latency = ec2;
	ret->faults.restart = (struct sim_range){ 200 * MS, 2 * S };
	ret->load.wire = (struct sim_range){ 1 * MS, 5 * MS };
	ret->load.pods_max = 1;
}

static unsigned pick(struct rng *rng, const unsigned *list, size_t count)
{
	return list[rng_below(rng, count)];
}
#define PICK(rng, ...)                                                                                                 \
	pick((rng), (const unsigned[]){ __VA_ARGS__ }, sizeof((const unsigned[]){ __VA_ARGS__ }) / sizeof(unsigned))

static void draw_shape(struct rng *rng, struct sim_shape *shape)
{
	bool blocks = rng_chance(rng, 400000);

	shape->nics_max = rng_u(rng, 1, 4);
	shape->units_per_nic = blocks ? rng_u(rng, 1, 4) : rng_u(rng, 2, 15);
	shape->unit_len = blocks ? 28 : 32;
	shape->single_len = shape->unit_len;
	shape->subnet_len = (uint8_t)PICK(rng, 22, 23, 24, 25, 26, 27);
	shape->blocks_at_start = rng_chance(rng, 300000) ? rng_u(rng, 1, shape->units_per_nic) : 0;
	shape->taken_ppm = PICK(rng, 0, 0, 300000, 600000, 900000);
	shape->scattered = rng_chance(rng, 300000);
}

/* Most runs have a few kinds of trouble, not all at once: a run where everything fails shows nothing else. */
static unsigned maybe(struct rng *rng, unsigned chance_ppm, unsigned most_ppm)
{
	return rng_chance(rng, chance_ppm) ? rng_u(rng, most_ppm / 10, most_ppm) : 0;
}

static int64_t maybe_us(struct rng *rng, unsigned chance_ppm, int64_t low_us, int64_t high_us)
{
	return rng_chance(rng, chance_ppm) ? rng_us(rng, low_us, high_us) : 0;
}

static void draw_faults(struct rng *rng, struct sim_faults *faults)
{
	*faults = (struct sim_faults){
		.lost_request = maybe(rng, 300000, 100000),
		.lost_answer = maybe(rng, 300000, 100000),
		.unavailable = maybe(rng, 300000, 200000),
		.denied = maybe(rng, 100000, 300000),
		.partial = maybe(rng, 200000, 300000),
		.no_effect = maybe(rng, 150000, 200000),
		.stale_read = maybe(rng, 300000, 500000),
		.stale_max_us = rng_us(rng, 1 * S, 5 * S),
		.link_never = maybe(rng, 100000, 200000),
		.nft = maybe(rng, 150000, 200000),
		.look = maybe(rng, 150000, 200000),
		.sync = maybe(rng, 150000, 100000),
		.store = maybe(rng, 150000, 20000),
		.crash = maybe(rng, 400000, 30000),
		.crash_mean_us = maybe_us(rng, 300000, 30 * S, 20 * MN),
		.store_lost = maybe(rng, 200000, 300000),
		.restart = { 100 * MS, rng_us(rng, 200 * MS, 20 * S) },
		.mutations_per_minute = rng_chance(rng, 250000) ? rng_u(rng, 3, 60) : 0,
		.mutation_burst = rng_u(rng, 1, 10),
		.read = maybe(rng, 200000, 300000),
		.intents = maybe(rng, 100000, 500000),
	};
}

static void draw_others(struct rng *rng, struct sim_others *others)
{
	*others = (struct sim_others){
		.attach_nic_us = maybe_us(rng, 150000, 2 * MN, 30 * MN),
		.steal_block_us = maybe_us(rng, 200000, 2 * MN, 30 * MN),
		.add_block_us = maybe_us(rng, 150000, 2 * MN, 30 * MN),
		.subnet_us = maybe_us(rng, 300000, 5 * S, 2 * MN),
	};
}

static void draw_load(struct rng *rng, const struct scenario *s, struct sim_load *load)
{
	unsigned most = s->config.max_pods < 60 ? s->config.max_pods : 60;
	bool fits = rng_chance(rng, 700000);
	unsigned room = s->shape.nics_max * s->shape.units_per_nic * (s->shape.unit_len == 28 ? 16 : 1);

	load->pods_max = fits && room < most ? room : most;
	load->at_start = rng_chance(rng, 300000) ? rng_u(rng, 1, load->pods_max) : 0;
	load->arrival_us = rng_us(rng, 200 * MS, 60 * S);
	load->burst_ppm = maybe(rng, 300000, 200000);
	load->burst_max = rng_u(rng, 2, 20);
	load->lifetime = (struct sim_range){ 1 * S, rng_us(rng, 10 * S, 20 * MN) };
	load->mass_delete_ppm = maybe(rng, 200000, 20000);
	load->wire = (struct sim_range){ 1 * MS, rng_us(rng, 3 * MS, 500 * MS) };
	load->killed_waiting = maybe(rng, 300000, 50000);
	load->killed_unwired = maybe(rng, 300000, 30000);
	load->killed_wired = maybe(rng, 300000, 30000);
	load->no_del = rng_u(rng, 0, 300000);
	load->del_early = maybe(rng, 300000, 100000);
	load->del_twice = maybe(rng, 300000, 300000);
	load->vanish = maybe(rng, 150000, 50000);
	load->del_unheard = maybe(rng, 200000, 200000);
	load->same_again = maybe(rng, 300000, 500000);
}

static void draw_config(struct rng *rng, struct config *config)
{
	config->warm_ips = rng_chance(rng, 500000) ? config->warm_ips : rng_u(rng, 0, 16);
	config->min_ips = rng_chance(rng, 200000) ? rng_u(rng, 1, 30) : 0;
	config->max_nics = rng_chance(rng, 200000) ? rng_u(rng, 1, 4) : 0;
	config->max_pods = PICK(rng, 8, 17, 29, 58, 110, 110, 250);
	config->cooldown_us = rng_chance(rng, 600000) ? config->cooldown_us : rng_us(rng, 1 * S, 60 * S);
	config->release_delay_us = rng_chance(rng, 600000) ? config->release_delay_us : rng_us(rng, 1 * S, 300 * S);
	config->list_period_us = rng_chance(rng, 600000) ? config->list_period_us : rng_us(rng, 30 * S, 600 * S);
	config->add_timeout_us = rng_us(rng, 5 * S, 60 * S);
	config->unconfirmed_us = rng_us(rng, 10 * S, 120 * S);
}

void scenario_draw(uint64_t seed, struct scenario *ret)
{
	struct rng rng = { seed * UINT64_C(0x2545f4914f6cdd1d) + 1 };
	bool calm;

	scenario_quiet(ret);
	ret->seed = seed;
	ret->config.egress[ip_index(IP_V6)] = seed % 2 != 0;
	draw_config(&rng, &ret->config);
	draw_shape(&rng, &ret->shape);
	/* One run in eight without any trouble: what must hold there is stricter. */
	calm = rng_chance(&rng, 125000);
	if (!calm) {
		draw_faults(&rng, &ret->faults);
		draw_others(&rng, &ret->others);
	}
	draw_load(&rng, ret, &ret->load);
	if (!calm)
		ret->others.close_nic_us = maybe_us(&rng, 200000, 2 * MN, 30 * MN);
	ret->load.ports = maybe(&rng, 300000, 500000);
}
