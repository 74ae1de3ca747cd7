/* SPDX-License-Identifier: Apache-2.0 */
/* Seeded randomness of the simulated world: the same seed rolls the same world. */
#ifndef TESTS_SIM_DICE_H
#define TESTS_SIM_DICE_H

#include <stdint.h>

struct dice {
	uint64_t state;
};

/** dice_next() - 64 random bits (splitmix64: any state is good, neighbouring seeds are unrelated). */
static inline uint64_t dice_next(struct dice *dice)
{
	uint64_t z = (dice->state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/** dice_unit() - uniform in [0, 1). */
static inline double dice_unit(struct dice *dice)
{
	return (double)(dice_next(dice) >> 11) / (double)(UINT64_C(1) << 53);
}

/** dice_between() - uniform in [@low, @high). */
static inline int64_t dice_between(struct dice *dice, int64_t low, int64_t high)
{
	return low + (int64_t)(dice_unit(dice) * (double)(high - low));
}

#endif
