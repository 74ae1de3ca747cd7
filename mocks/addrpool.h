/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the IPv4 addresses of one subnet
 *
 * One byte of flags per address. Single addresses are taken from a random place, as clouds do, so that a subnet in use
 * becomes fragmented: many free addresses and no free aligned block. Ranges set aside for blocks are used first for
 * blocks and never for single addresses; ranges set aside for explicit use are only given to who names the address.
 */
#ifndef MOCKS_ADDRPOOL_H
#define MOCKS_ADDRPOOL_H

#include <stdint.h>

#include "berth/ipaddr.h"

struct prng;

#define ADDRPOOL_LEN_MIN 16 /* shortest IPv4 prefix of a subnet that a pool manages: 65536 flags */

enum addrpool_hold { ADDRPOOL_HOLD_BLOCKS, ADDRPOOL_HOLD_EXPLICIT };

struct addrpool {
	struct prefix range;
	uint32_t size;       /* addresses */
	uint32_t free_count; /* neither used nor kept by the cloud */
	uint8_t *flags;      /* owned, one byte per address */
};

/** addrpool_init() - all free but the first @head and the last @tail addresses. Return: 0, -EINVAL or -ENOMEM. */
int addrpool_init(struct addrpool *pool, const struct prefix *range, uint32_t head, uint32_t tail);
void addrpool_done(struct addrpool *pool);
/** addrpool_hold() - set @range aside. Return: 0, or -ERANGE when it is not inside the pool. */
int addrpool_hold(struct addrpool *pool, const struct prefix *range, enum addrpool_hold what);
/** addrpool_unhold() - the contrary; what is taken stays taken. Return: 0, or -ERANGE. */
int addrpool_unhold(struct addrpool *pool, const struct prefix *range);
/** addrpool_take() - exactly this range. Return: 0, -ERANGE (not inside), -EPERM (kept by the
 *  cloud), -EBUSY (in use). */
int addrpool_take(struct addrpool *pool, const struct prefix *range);
/** addrpool_take_any() - one free address. Return: 0 or -ENOSPC. */
int addrpool_take_any(struct addrpool *pool, struct prng *prng, struct ipaddr *ret);
/** addrpool_take_block() - a free aligned range of length @len. Return: 0 or -ENOSPC. */
int addrpool_take_block(struct addrpool *pool, struct prng *prng, unsigned len, struct prefix *ret);
/** addrpool_give() - back; only what was taken. */
void addrpool_give(struct addrpool *pool, const struct prefix *range);

#endif
