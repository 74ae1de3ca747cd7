/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the instance may have, remembered in the store: a daemon that starts while its cloud does not answer goes on with
 * what the one before it was told. The row is of one instance type and of the settings that limits depend on.
 */
#include "ipamd/ipamd.h"

#include <stdio.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/log.h"
#include "berth/str.h"

#define NUMBERS     8U /* in a row: see print_limits() */
#define NUMBER_SIZE 12

static void print_key(const struct ipamd *d, char ret[static STORE_FACT_KEY_SIZE])
{
	const struct config *c = &d->config;

	/* A type's name is cut where it is too long for the key: EC2's longest has 19 bytes. */
	(void)snprintf(ret, STORE_FACT_KEY_SIZE, "limits %.40s %d%d%d%d", d->identity->type, c->families.serves[0],
		       c->families.serves[1], c->prefixes, (int)c->access);
}

static void print_limits(const struct cloud_limits *limits, char ret[static STORE_FACT_VALUE_SIZE])
{
	const struct cloud_units *v4 = &limits->units[0], *v6 = &limits->units[1];

	(void)snprintf(ret, STORE_FACT_VALUE_SIZE, "%u %d %u %u %u %u %u %u", limits->nics_max, limits->can_attach_nic,
		       v4->per_nic_max, v4->len, v4->single_len, v6->per_nic_max, v6->len, v6->single_len);
}

static int parse_numbers(const char *text, uint64_t ret[static NUMBERS])
{
	for (unsigned i = 0; i < NUMBERS; i++) {
		size_t len = strcspn(text, " ");
		char number[NUMBER_SIZE];

		if (len >= sizeof(number))
			return -1;
		memcpy(number, text, len);
		number[len] = '\0';
		if (str_u64(number, 0, CLOUD_BLOCKS_MAX, &ret[i]) < 0)
			return -1;
		text += len + (text[len] == ' ');
	}
	return *text ? -1 : 0;
}

static struct cloud_units units_of(const uint64_t *numbers)
{
	return (struct cloud_units){ (unsigned)numbers[0], (uint8_t)numbers[1], (uint8_t)numbers[2] };
}

void limits_remember(struct ipamd *d, const struct cloud_limits *limits)
{
	char key[STORE_FACT_KEY_SIZE], value[STORE_FACT_VALUE_SIZE], before[STORE_FACT_VALUE_SIZE];
	struct err err;

	print_key(d, key);
	print_limits(limits, value);
	if (store_fact_get(d->store, key, before, &err) == 0 && str_equal(before, value))
		return;
	if (store_fact_put(d->store, key, value, &err) < 0)
		log_warn("cannot remember what this node may have", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
}

bool limits_recall(struct ipamd *d, struct cloud_limits *ret)
{
	char key[STORE_FACT_KEY_SIZE], value[STORE_FACT_VALUE_SIZE];
	uint64_t n[NUMBERS];
	struct err err;

	print_key(d, key);
	if (store_fact_get(d->store, key, value, &err) < 0 || parse_numbers(value, n) < 0)
		return false;
	*ret = (struct cloud_limits){ .nics_max = (unsigned)n[0],
				      .can_attach_nic = n[1] != 0,
				      .units = { units_of(&n[2]), units_of(&n[5]) } };
	return true;
}
