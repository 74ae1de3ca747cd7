/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/sha1.h"

#include <string.h>

#define BLOCK      64 /* bytes that are mixed in at once */
#define LENGTH_AT  56 /* where the last block holds the length in bits */
#define WORDS      80 /* steps of a block */
#define STATE_SIZE 5

static uint32_t rotate(uint32_t word, unsigned bits)
{
	return word << bits | word >> (32 - bits);
}

/* Function and constant of a step, RFC 3174 section 5. */
static uint32_t mix(unsigned step, uint32_t b, uint32_t c, uint32_t d)
{
	if (step < 20)
		return ((b & c) | (~b & d)) + 0x5a827999U;
	if (step < 40)
		return (b ^ c ^ d) + 0x6ed9eba1U;
	if (step < 60)
		return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdcU;
	return (b ^ c ^ d) + 0xca62c1d6U;
}

static void add_block(uint32_t state[static STATE_SIZE], const uint8_t block[static BLOCK])
{
	uint32_t words[WORDS], s[STATE_SIZE];

	for (unsigned i = 0; i < 16; i++)
		words[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
			   (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
	for (unsigned i = 16; i < WORDS; i++)
		words[i] = rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
	memcpy(s, state, sizeof(s));
	for (unsigned i = 0; i < WORDS; i++) {
		uint32_t next = rotate(s[0], 5) + mix(i, s[1], s[2], s[3]) + s[4] + words[i];

		s[4] = s[3];
		s[3] = s[2];
		s[2] = rotate(s[1], 30);
		s[1] = s[0];
		s[0] = next;
	}
	for (unsigned i = 0; i < STATE_SIZE; i++)
		state[i] += s[i];
}

void sha1(const void *data, size_t size, uint8_t ret[static SHA1_SIZE])
{
	uint32_t state[STATE_SIZE] = { 0x67452301U, 0xefcdab89U, 0x98badcfeU, 0x10325476U, 0xc3d2e1f0U };
	const uint8_t *bytes = data;
	uint8_t last[BLOCK] = { 0 };
	uint64_t bits = (uint64_t)size * 8;

	for (; size >= BLOCK; size -= BLOCK, bytes += BLOCK)
		add_block(state, bytes);
	if (size)
		memcpy(last, bytes, size);
	last[size] = 0x80;
	if (size >= LENGTH_AT) {
		add_block(state, last);
		memset(last, 0, sizeof(last));
	}
	for (unsigned i = 0; i < 8; i++)
		last[LENGTH_AT + i] = (uint8_t)(bits >> (56 - 8 * i));
	add_block(state, last);
	for (unsigned i = 0; i < SHA1_SIZE; i++)
		ret[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}
