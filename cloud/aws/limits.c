/* SPDX-License-Identifier: Apache-2.0 */
#include "limits.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/str.h"
#include "codec.h"

#define LIMITS_NAME_SIZE 20 /* bytes; the longest name has 19. limits_table.py refuses longer ones */

/* No pointer and no gap: 26 bytes a row, nothing to relocate at start. */
struct row {
	char name[LIMITS_NAME_SIZE];
	uint8_t nics_card0, nics_total, ipv4_per_nic, ipv6_per_nic, cards, nitro;
};

static const struct row rows[] = {
#include "limits_table.inc"
};

static int row_cmp(const void *key, const void *row)
{
	return strcmp(key, ((const struct row *)row)->name);
}

static void row_give(const struct row *row, struct ec2_type *ret)
{
	*ret = (struct ec2_type){
		.nics_total = row->nics_total,
		.nics_card0 = row->nics_card0,
		.ipv4_per_nic = row->ipv4_per_nic,
		.ipv6_per_nic = row->ipv6_per_nic,
		.cards = row->cards,
		.nitro = row->nitro,
	};
	(void)str_copy(ret->name, sizeof(ret->name), row->name);
}

bool aws_limits_find(const char *type, struct ec2_type *ret)
{
	const struct row *row = bsearch(type, rows, ARRAY_SIZE(rows), sizeof(rows[0]), row_cmp);

	if (row)
		row_give(row, ret);
	return row != NULL;
}

bool aws_limits_at(size_t index, struct ec2_type *ret)
{
	if (index >= ARRAY_SIZE(rows))
		return false;
	row_give(&rows[index], ret);
	return true;
}
