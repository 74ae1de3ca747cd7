/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of other systems against the examples that their own documents and tests give. */
#include "tests/check.h"

#include "berth/attr.h"
#include "berth/clock.h"
#include "tests/fleet/rules.h"

#define NOW_US (1000 * USEC_PER_SEC)

/* m5.large: 3 NICs, 9 secondary addresses each. */
static struct rule_state large(void)
{
	return (struct rule_state){
		.now_us = NOW_US, .unit_size = 1, .units_per_nic = 9, .nics_max = 3, .max_pods = 29
	};
}

static void add_nic(struct rule_state *state, unsigned units, unsigned assigned)
{
	unsigned size = state->unit_size;
	unsigned used_units = (assigned + size - 1) / size;

	state->nics[state->nic_count] = (struct rule_nic){ .slot = state->nic_count,
							   .units = units,
							   .total = units * size,
							   .assigned = assigned,
							   .unused_units = units - used_units,
							   .age_us = 3600 * USEC_PER_SEC };
	state->nic_count++;
}

static struct rule_step decide(const struct rule *rule, const struct rule_state *state)
{
	struct rule_memory memory = { 0 };
	struct rule_step step;

	rule_decide(rule, state, &memory, &step);
	return step;
}

/* "WARM_ENI_TARGET=1, 0 pods: primary 9 (avail 9 >= 9: not low). 1st pod: 8 < 9: attach ENI 2 with 9." */
static void test_aws__warm_nic(_unused_ void **state)
{
	static const struct rule rule = { .kind = RULE_AWS, .warm_nics = 1 };
	struct rule_state s = large();
	struct rule_step step;

	add_nic(&s, 0, 0);
	step = decide(&rule, &s);
	assert_int_equal(step.what, RULE_ASSIGN);
	assert_int_equal(step.units, 9);
	s = large();
	add_nic(&s, 9, 0);
	assert_int_equal(decide(&rule, &s).what, RULE_HOLD);
	s = large();
	add_nic(&s, 9, 1);
	step = decide(&rule, &s);
	assert_int_equal(step.what, RULE_ATTACH);
	assert_int_equal(step.units, 9);
}

/* "WARM_IP_TARGET=2, MIN=10: primary full 9, then ENI 2 with 1." */
static void test_aws__warm_ips_and_minimum(_unused_ void **state)
{
	static const struct rule rule = { .kind = RULE_AWS, .warm_ips = 2, .min_ips = 10 };
	struct rule_state s = large();
	struct rule_step step;

	add_nic(&s, 0, 0);
	step = decide(&rule, &s);
	assert_int_equal(step.what, RULE_ASSIGN);
	assert_int_equal(step.units, 9);
	s = large();
	add_nic(&s, 9, 0);
	step = decide(&rule, &s);
	assert_int_equal(step.what, RULE_ATTACH);
	assert_int_equal(step.units, 1);
}

/* "PD WARM_PREFIX_TARGET=1: 1 prefix at start; first pod: avail 15 < 16: 2nd prefix." */
static void test_aws__warm_prefix(_unused_ void **state)
{
	static const struct rule rule = { .kind = RULE_AWS, .warm_blocks = 1, .prefix = true };
	struct rule_state s = large();

	s.unit_size = 16;
	s.max_pods = 110;
	add_nic(&s, 0, 0);
	assert_int_equal(decide(&rule, &s).units, 1);
	s.nic_count = 0;
	add_nic(&s, 1, 0);
	assert_int_equal(decide(&rule, &s).what, RULE_HOLD);
	s.nic_count = 0;
	add_nic(&s, 1, 1);
	assert_int_equal(decide(&rule, &s).what, RULE_ASSIGN);
	assert_int_equal(decide(&rule, &s).units, 1);
}

/* Issue 2896: eight that cool down are available, so nothing is bought while nothing can be given. */
static void test_aws__cooling_counts_as_available(_unused_ void **state)
{
	static const struct rule rule = { .kind = RULE_AWS, .warm_ips = 8 };
	struct rule_state s = large();

	add_nic(&s, 9, 1);
	s.nics[0].cooling = 8;
	assert_int_equal(decide(&rule, &s).what, RULE_HOLD);
}

static void test_aws__pause_after_a_full_subnet(_unused_ void **state)
{
	static const struct rule rule = { .kind = RULE_AWS, .warm_nics = 1 };
	struct rule_memory memory = { 0 };
	struct rule_state s = large();
	struct rule_step step;

	add_nic(&s, 0, 0);
	rule_exhausted(&memory, NOW_US);
	s.now_us = NOW_US + 119 * USEC_PER_SEC;
	rule_decide(&rule, &s, &memory, &step);
	assert_int_equal(step.what, RULE_HOLD);
	s.now_us = NOW_US + 120 * USEC_PER_SEC;
	rule_decide(&rule, &s, &memory, &step);
	assert_int_equal(step.what, RULE_ASSIGN);
}

/* minENILifeTime: a NIC of less than a minute is not freed; an idle older one beyond the target is. */
static void test_aws__frees_a_nic(_unused_ void **state)
{
	static const struct rule rule = { .kind = RULE_AWS, .warm_nics = 1 };
	struct rule_state s = large();

	add_nic(&s, 9, 0);
	add_nic(&s, 9, 0);
	assert_int_equal(decide(&rule, &s).free_slot, 1);
	s.nics[1].age_us = 59 * USEC_PER_SEC;
	assert_int_equal(decide(&rule, &s).free_slot, 0);
	s.nics[1].age_us = 60 * USEC_PER_SEC;
	s.nics[1].cooling = 1;
	assert_int_equal(decide(&rule, &s).free_slot, 0);
}

/* The state of a node that holds @total with @assigned in use, in 8 NICs of 29. */
static struct rule_state holds(unsigned total, unsigned assigned)
{
	struct rule_state s = { .now_us = NOW_US, .unit_size = 1, .units_per_nic = 29, .nics_max = 8, .max_pods = 110 };

	while (total > 0) {
		unsigned units = total < 29 ? total : 29;
		unsigned used = assigned < units ? assigned : units;

		add_nic(&s, units, used);
		total -= units;
		assigned -= used;
	}
	return s;
}

/* "B=16, .5, demand 25 -> 48." */
static void test_azure_v2__target(_unused_ void **state)
{
	static const struct rule rule = { .kind = RULE_AZURE_V2 };
	struct rule_memory memory = { 0 };
	struct rule_state s = holds(16, 16);
	struct rule_step step;

	s.waiting = 9;
	rule_decide(&rule, &s, &memory, &step);
	assert_int_equal(memory.requested, 48);
}

/* Below 8 free one batch more; from 24 free on one batch less; in between nothing. */
static void test_azure_v1__batches(_unused_ void **state)
{
	static const struct rule rule = { .kind = RULE_AZURE_V1 };
	struct rule_memory memory = { .requested = 32 };
	struct rule_state s = holds(32, 25);
	struct rule_step step;

	rule_decide(&rule, &s, &memory, &step);
	assert_int_equal(memory.requested, 48);
	memory.requested = 48;
	s = holds(48, 24);
	rule_decide(&rule, &s, &memory, &step);
	assert_int_equal(memory.requested, 32);
	assert_int_equal(step.what, RULE_UNASSIGN);
	memory.requested = 48;
	s = holds(48, 30);
	rule_decide(&rule, &s, &memory, &step);
	assert_int_equal(memory.requested, 48);
	assert_int_equal(step.what, RULE_HOLD);
}

/* "total 256, used 254, 1 pending -> ceil(255/.75) = 340 -> 6 x /28." Here 112, 110 and 1: 148 -> 3. */
static void test_metis__grows_by_28s(_unused_ void **state)
{
	static const struct rule rule = { .kind = RULE_METIS };
	struct rule_memory memory = { .requested = 112 };
	struct rule_state s = holds(112, 110);
	struct rule_step step;

	s.waiting = 1;
	rule_decide(&rule, &s, &memory, &step);
	assert_int_equal(memory.requested, 112 + 3 * 16);
	memory.requested = 112;
	s.nics[0].cooling = 11; /* more than 10: hold */
	rule_decide(&rule, &s, &memory, &step);
	assert_int_equal(memory.requested, 112);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_aws__warm_nic),
		check_unit_test(test_aws__warm_ips_and_minimum),
		check_unit_test(test_aws__warm_prefix),
		check_unit_test(test_aws__cooling_counts_as_available),
		check_unit_test(test_aws__pause_after_a_full_subnet),
		check_unit_test(test_aws__frees_a_nic),
		check_unit_test(test_azure_v2__target),
		check_unit_test(test_azure_v1__batches),
		check_unit_test(test_metis__grows_by_28s),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
