/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/demand.h"

#include <string.h>

static unsigned min_u(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static unsigned max_u(unsigned a, unsigned b)
{
	return a > b ? a : b;
}

/* Where second @s is kept. Boot time is never negative. */
static uint16_t *at(struct demand *demand, int64_t s)
{
	return &demand->arrivals[(uint64_t)s % DEMAND_HORIZON_S];
}

/* Seconds that passed without an arrival take the places of those that left the horizon. */
static void advance(struct demand *demand, int64_t now_us)
{
	int64_t second = now_us / USEC_PER_SEC;

	if (second - demand->second >= DEMAND_HORIZON_S) {
		memset(demand->arrivals, 0, sizeof(demand->arrivals));
		demand->second = second;
	}
	while (demand->second < second)
		*at(demand, ++demand->second) = 0;
}

void demand_init(struct demand *demand, int64_t now_us)
{
	memset(demand, 0, sizeof(*demand));
	demand->second = now_us / USEC_PER_SEC;
}

void demand_arrived(struct demand *demand, int64_t now_us)
{
	uint16_t *count;

	advance(demand, now_us);
	count = at(demand, demand->second);
	*count = (uint16_t)min_u(*count + 1U, UINT16_MAX);
}

void demand_provisioned(struct demand *demand, int64_t took_us)
{
	demand->took_us[demand->took_count++ % DEMAND_SAMPLES] = took_us;
}

static int64_t worst_latency_us(const struct demand *demand)
{
	unsigned count = min_u(demand->took_count, DEMAND_SAMPLES);
	int64_t worst_us = 0;

	if (count == 0)
		return DEMAND_LATENCY_FIRST_US;
	for (unsigned i = 0; i < count; i++)
		if (demand->took_us[i] > worst_us)
			worst_us = demand->took_us[i];
	return worst_us;
}

/* What begins anywhere in a second touches one second more than it lasts. */
static unsigned window_seconds(const struct demand *demand)
{
	int64_t latency_us = worst_latency_us(demand);
	int64_t touched = latency_us / USEC_PER_SEC + (latency_us % USEC_PER_SEC != 0) + 1;

	return touched < DEMAND_HORIZON_S ? (unsigned)touched : DEMAND_HORIZON_S;
}

unsigned demand_warm(struct demand *demand, int64_t now_us, unsigned unit_size, int64_t *ret_wake_us)
{
	unsigned window = window_seconds(demand);
	unsigned warm_max = max_u(DEMAND_WARM_MAX, unit_size);
	unsigned worst = DEMAND_WARM_MIN, sum = 0;
	int64_t worst_s = -1;

	advance(demand, now_us);
	/* From the latest second back, so that what is left of the worst moment when its first second has gone is known. */
	for (unsigned age = 0; age < DEMAND_HORIZON_S && age <= demand->second; age++) {
		int64_t s = demand->second - age;

		sum += *at(demand, s);
		if (age >= window)
			sum -= *at(demand, s + window);
		if (min_u(sum, warm_max) > worst) {
			worst = min_u(sum, warm_max);
			worst_s = s;
		}
	}
	if (ret_wake_us)
		*ret_wake_us = worst_s < 0 ? INT64_MAX : (worst_s + DEMAND_HORIZON_S) * USEC_PER_SEC;
	return worst;
}
