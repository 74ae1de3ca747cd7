/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "berth/str.h"
#include "cloud/aws/codec.h"
#include "cloud/aws/limits.h"
#include "mocks/aws/model.h"
#include "mocks/aws/types.h"
#include "tests/check.h"

/* Numbers of vpc_ip_resource_limit.go of amazon-vpc-cni-k8s, which is made from the API by other means. */
static void test_find__known_rows(void **state)
{
	static const struct {
		const char *name;
		unsigned nics_card0, nics_total, ipv4, ipv6, cards;
		bool nitro;
	} rows[] = {
		{ "m5.large", 3, 3, 10, 10, 1, true },        { "t3.nano", 2, 2, 2, 2, 1, true },
		{ "m5.24xlarge", 15, 15, 50, 50, 1, true },   { "m5.metal", 15, 15, 50, 50, 1, true },
		{ "t2.micro", 2, 2, 2, 2, 1, false },         { "t1.micro", 2, 2, 2, 0, 1, false },
		{ "m4.large", 2, 2, 10, 10, 1, false },       { "p4d.24xlarge", 15, 60, 50, 50, 4, true },
		{ "p5.48xlarge", 2, 64, 50, 50, 32, true },   { "p5en.48xlarge", 4, 64, 50, 50, 16, true },
		{ "trn1.32xlarge", 5, 40, 50, 50, 8, true },  { "m6in.32xlarge", 8, 16, 50, 50, 2, true },
		{ "g6e.48xlarge", 10, 40, 50, 50, 4, true },  { "hpc7g.16xlarge", 4, 4, 50, 50, 1, true },
		{ "c8ib.96xlarge", 12, 24, 64, 64, 2, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ec2_type type;

		if (!aws_limits_find(rows[i].name, &type))
			fail_msg("%s is missing", rows[i].name);
		assert_string_equal(type.name, rows[i].name);
		if (type.nics_card0 != rows[i].nics_card0 || type.nics_total != rows[i].nics_total ||
		    type.ipv4_per_nic != rows[i].ipv4 || type.ipv6_per_nic != rows[i].ipv6 ||
		    type.cards != rows[i].cards || type.nitro != rows[i].nitro)
			fail_msg("%s: %u/%u NICs, %u and %u addresses, %u cards, %d", type.name,
				 (unsigned)type.nics_card0, (unsigned)type.nics_total, (unsigned)type.ipv4_per_nic,
				 (unsigned)type.ipv6_per_nic, (unsigned)type.cards, type.nitro);
	}
}

static void test_find__unknown(void **state)
{
	static const char *const names[] = { "", "m5", "m5.larg", "m5.largex", "zzz.large", "M5.LARGE", "m99.large" };
	struct ec2_type type = { .name = "kept" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_false(aws_limits_find(names[i], &type));
	assert_string_equal(type.name, "kept");
}

static bool same(const struct ec2_type *a, const struct ec2_type *b)
{
	return str_equal(a->name, b->name) && a->nics_total == b->nics_total && a->nics_card0 == b->nics_card0 &&
	       a->ipv4_per_nic == b->ipv4_per_nic && a->ipv6_per_nic == b->ipv6_per_nic && a->cards == b->cards &&
	       a->nitro == b->nitro;
}

static void test_table__sorted_and_sound(void **state)
{
	struct ec2_type type, found;
	char before[sizeof(type.name)] = "";
	size_t count = 0;

	(void)state;
	for (; aws_limits_at(count, &type); count++) {
		if (strcmp(before, type.name) >= 0)
			fail_msg("%s before %s", before, type.name);
		(void)str_copy(before, sizeof(before), type.name);
		/* A name that fills its field would run into the numbers. */
		if (!strchr(type.name, '.') || strlen(type.name) > 19)
			fail_msg("%s is no type", type.name);
		if (!aws_limits_find(type.name, &found) || !same(&type, &found))
			fail_msg("%s is not found", type.name);
		if (type.nics_card0 == 0 || type.nics_card0 > type.nics_total || type.ipv4_per_nic < 2 ||
		    type.cards == 0 || (type.cards == 1 && type.nics_card0 != type.nics_total) ||
		    (type.ipv6_per_nic != 0 && type.ipv6_per_nic != type.ipv4_per_nic))
			fail_msg("%s has strange limits", type.name);
	}
	assert_true(count > 1000);
	assert_false(aws_limits_at(count + 1, &type));
}

/* The mock has its numbers from another source. */
static void test_table__agrees_with_the_mock(void **state)
{
	struct aws_type types[AWS_TYPES_MAX];
	unsigned count = aws_types_builtin(types, AWS_TYPES_MAX);

	(void)state;
	assert_true(count > 20);
	for (unsigned i = 0; i < count; i++) {
		struct ec2_type type;

		if (!aws_limits_find(types[i].name, &type))
			fail_msg("%s is missing", types[i].name);
		if (type.nics_card0 != types[i].nics || type.cards != types[i].cards ||
		    type.ipv4_per_nic != types[i].nic_units || type.nitro == str_equal(types[i].hypervisor, "xen"))
			fail_msg("%s differs", types[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_find__known_rows),
		check_unit_test(test_find__unknown),
		check_unit_test(test_table__sorted_and_sound),
		check_unit_test(test_table__agrees_with_the_mock),
	};

	return cmocka_run_group_tests_name("aws_limits", tests, NULL, NULL);
}
