/* SPDX-License-Identifier: Apache-2.0 */
/* The marks of NICs. On its own, so that who renders the nft table needs nothing that speaks to the kernel. */
#include <assert.h>

#include "ipamd/hostnet.h"

uint32_t hostnet_mark(uint32_t mask, unsigned slot)
{
	assert(slot < hostnet_slots_max(mask));
	return (slot + 1) * (mask & -mask);
}

unsigned hostnet_slots_max(uint32_t mask)
{
	return mask ? mask / (mask & -mask) : 0;
}
