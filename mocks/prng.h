/* SPDX-License-Identifier: Apache-2.0 */
/* Deterministic "randomness" of the mock clouds: the same seed file gives the same ids and addresses in every run. */
#ifndef MOCKS_PRNG_H
#define MOCKS_PRNG_H

#include <stddef.h>
#include <stdint.h>

/** struct prng - SplitMix64 (Steele, Lea, Flood 2014): one word of state, every seed is good, no cryptographic claim. */
struct prng {
	uint64_t state;
};

/** prng_next() - 64 evenly distributed bits. */
static inline uint64_t prng_next(struct prng *prng)
{
	uint64_t z = (prng->state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/** prng_below() - a number in [0, @limit); 0 when @limit is 0. */
static inline uint32_t prng_below(struct prng *prng, uint32_t limit)
{
	return limit ? (uint32_t)(prng_next(prng) % limit) : 0;
}

/** prng_chars() - @count characters out of @alphabet of @size and a terminator into @dst. */
static inline void prng_chars(struct prng *prng, const char *alphabet, uint32_t size, char *dst, size_t count)
{
	for (size_t i = 0; i < count; i++)
		dst[i] = alphabet[prng_below(prng, size)];
	dst[count] = '\0';
}

#endif
