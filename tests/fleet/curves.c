/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fleet/curves.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "berth/clock.h"
#include "tests/fleet/dice.h"

#define MINUTE_US    (60 * USEC_PER_SEC)
#define HOUR_US      (60 * MINUTE_US)
#define FOREVER_US   (1000 * HOUR_US)
#define NODE_PODS    110.0 /* kubelet's default; the figures below are for such a node */
#define PODS_FIRST   256U  /* room before the array grows; it doubles */
#define DAY_STEP_US  (30 * USEC_PER_SEC)
#define DAY_NOISE    0.08 /* of the node, either way */
#define DAY_FLOOR    0.03 /* of the node: the DaemonSets that never leave */
#define MEAN_LIFE_US (30 * MINUTE_US)

static int add(struct curve *curve, int64_t at_us, int64_t life_us)
{
	if (curve->count == curve->alloc) {
		unsigned alloc = curve->alloc ? curve->alloc * 2 : PODS_FIRST;
		struct curve_pod *pods = reallocarray(curve->pods, alloc, sizeof(*pods));

		if (!pods)
			return -ENOMEM;
		curve->pods = pods;
		curve->alloc = alloc;
	}
	curve->pods[curve->count++] = (struct curve_pod){ at_us, life_us };
	return 0;
}

static unsigned part(unsigned pods_max, unsigned of_110)
{
	return (unsigned)lround(pods_max * of_110 / NODE_PODS);
}

static int steady(struct curve *curve, unsigned pods_max, struct dice *dice)
{
	unsigned pods = part(pods_max, 55);
	int64_t life = (int64_t)pods * 20 * USEC_PER_SEC;
	int r = 0;

	curve->duration_us = HOUR_US;
	/* Those that are there first end one after the other, each followed by its replacement. */
	for (unsigned i = 0; r == 0 && i < pods; i++)
		r = add(curve, 0, (int64_t)(i + 1) * 20 * USEC_PER_SEC);
	for (int64_t at = 20 * USEC_PER_SEC; r == 0 && at < HOUR_US; at += 20 * USEC_PER_SEC)
		r = add(curve, at + dice_between(dice, 0, 4 * USEC_PER_SEC),
			dice_between(dice, life * 9 / 10, life * 11 / 10));
	return r;
}

static int burst(struct curve *curve, unsigned pods_max, struct dice *dice)
{
	int r = 0;

	curve->duration_us = HOUR_US;
	for (unsigned i = 0; r == 0 && i < part(pods_max, 60); i++)
		r = add(curve, 0, FOREVER_US);
	for (int64_t at = 5 * MINUTE_US; at < HOUR_US; at += 5 * MINUTE_US)
		for (unsigned i = 0; r == 0 && i < part(pods_max, 20); i++)
			r = add(curve, at, dice_between(dice, 30 * USEC_PER_SEC, 90 * USEC_PER_SEC));
	return r;
}

static int churn(struct curve *curve, unsigned pods_max, struct dice *dice)
{
	double scale = pods_max / NODE_PODS;
	int64_t at = 0;
	int r = 0;

	curve->duration_us = 30 * MINUTE_US;
	while (r == 0) {
		bool busy = at % (2 * MINUTE_US) >= 100 * USEC_PER_SEC;
		double rate = (busy ? 2.0 : 1.0) * scale;

		/* Arrivals of independent jobs: exponential gaps. */
		at += (int64_t)(-log(1.0 - dice_unit(dice)) / rate * (double)USEC_PER_SEC);
		if (at >= curve->duration_us)
			break;
		r = add(curve, at, dice_between(dice, 20 * USEC_PER_SEC, 60 * USEC_PER_SEC));
	}
	return r;
}

/* How many pods there shall be at that time of the day. */
static double day_level(int64_t at_us, double noise)
{
	double phase = 2 * M_PI * ((double)at_us / (double)(24 * HOUR_US) - 10.0 / 24.0);
	double level = 0.5 + 0.5 * sin(phase) + noise;

	return level < DAY_FLOOR ? DAY_FLOOR : level > 1.0 ? 1.0 : level;
}

static int daily(struct curve *curve, unsigned pods_max, struct dice *dice)
{
	int64_t *ends = calloc(pods_max, sizeof(*ends));
	double noise = 0;
	int r = ends ? 0 : -ENOMEM;

	curve->duration_us = 24 * HOUR_US;
	for (int64_t at = 0; r == 0 && at < curve->duration_us; at += DAY_STEP_US) {
		unsigned running = 0, wanted;

		/* Slow noise: it forgets half of itself in about 10 min. */
		noise = noise * 0.965 + (dice_unit(dice) - 0.5) * DAY_NOISE;
		wanted = (unsigned)lround(day_level(at, noise) * pods_max);
		for (unsigned i = 0; i < pods_max; i++)
			running += ends[i] > at;
		for (unsigned i = 0; r == 0 && i < pods_max && running < wanted; i++) {
			int64_t start, life;

			if (ends[i] > at)
				continue;
			start = at + dice_between(dice, 0, DAY_STEP_US);
			life = dice_between(dice, MEAN_LIFE_US / 3, MEAN_LIFE_US * 5 / 3);
			ends[i] = start + life;
			running++;
			r = add(curve, start, life);
		}
	}
	free(ends);
	return r;
}

static int by_time(const void *a, const void *b)
{
	const struct curve_pod *left = a, *right = b;

	return (left->at_us > right->at_us) - (left->at_us < right->at_us);
}

const char *curve_name(enum curve_kind kind)
{
	static const char *const names[] = { "steady", "burst", "churn", "daily" };

	return (unsigned)kind < CURVE_COUNT ? names[kind] : "?";
}

int curve_make(enum curve_kind kind, unsigned pods_max, uint64_t seed, struct curve *ret)
{
	static int (*const makers[])(struct curve *, unsigned, struct dice *) = { steady, burst, churn, daily };
	struct curve curve = { 0 };
	struct dice dice = { seed };
	int r = makers[kind](&curve, pods_max, &dice);

	if (r < 0) {
		curve_done(&curve);
		return r;
	}
	qsort(curve.pods, curve.count, sizeof(*curve.pods), by_time);
	*ret = curve;
	return 0;
}

void curve_done(struct curve *curve)
{
	free(curve->pods);
	memset(curve, 0, sizeof(*curve));
}
