/* SPDX-License-Identifier: Apache-2.0 */
/* Randomness of the simulator: splitmix64, so that one number is a whole run. */
#ifndef TESTS_SIM_RNG_H
#define TESTS_SIM_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *rng)
{
	uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/** rng_below() - 0 up to @bound (not 0), without it. */
static inline uint64_t rng_below(struct rng *rng, uint64_t bound)
{
	return rng_next(rng) % bound;
}

/** rng_u() - @low up to @high, both included. */
static inline unsigned rng_u(struct rng *rng, unsigned low, unsigned high)
{
	return low + (unsigned)rng_below(rng, (uint64_t)high - low + 1);
}

/** rng_us() - a time from @low to @high, both included. */
static inline int64_t rng_us(struct rng *rng, int64_t low, int64_t high)
{
	return low + (int64_t)rng_below(rng, (uint64_t)(high - low) + 1);
}

/** rng_chance() - true @ppm times in a million. */
static inline bool rng_chance(struct rng *rng, unsigned ppm)
{
	/* Nothing is drawn for what never happens: switching a fault off leaves the rest of a run as it was. */
	return ppm > 0 && rng_below(rng, 1000000) < ppm;
}

#endif
