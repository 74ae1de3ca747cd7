/* SPDX-License-Identifier: Apache-2.0 */
/* Where new interfaces go, which are ours, who sweeps: what is decided without asking anybody. */
#include <stdio.h>
#include <string.h>

#include "berth/err.h"
#include "berth/str.h"
#include "cloud/aws/provider.h"
#include "tests/check.h"

#define VPC  "vpc-0b1"
#define ZONE "us-west-2a"

static const struct aws_here here = { .vpc = VPC, .zone = ZONE, .subnet = "subnet-p" };

/* ---- settings ---- */

static void test_settings__are_kept(void **state)
{
	char subnet[] = "subnet-1", group[] = "sg-1", key[] = "team", value[] = "net";
	const char *subnets[] = { subnet }, *groups[] = { group };
	const struct cloud_tag tags[] = { { key, value } };
	const struct cloud_config config = { .cluster = "kube",
					     .no_discovery = true,
					     .subnet_count = 1,
					     .subnets = subnets,
					     .group_count = 1,
					     .groups = groups,
					     .tag_count = 1,
					     .tags = tags };
	struct aws_settings settings;

	(void)state;
	assert_int_equal(aws_settings_init(&settings, &config, NULL), 0);
	subnet[0] = group[0] = key[0] = value[0] = 'X';
	assert_string_equal(settings.cluster, "kube");
	assert_true(settings.no_discovery);
	assert_string_equal(settings.groups[0], "sg-1");
	assert_int_equal(settings.tag_count, 1);
	assert_string_equal(settings.tags[0].key, "team");
	assert_string_equal(settings.tags[0].value, "net");
	assert_true(aws_settings_has_subnet(&settings, "subnet-1"));
	assert_false(aws_settings_has_subnet(&settings, "subnet-2"));
	aws_settings_done(&settings);
}

/* With them, berth or amazon-vpc-cni-k8s would take the interface for something else. */
static void test_settings__keys_that_are_ours(void **state)
{
	const struct cloud_tag tags[] = { { "node.berth.io/instance_id", "i-1" },
					  { "node.berth.io/no_manage", "true" },
					  { "team", "net" },
					  { "node.k8s.amazonaws.com/no_manage", "true" },
					  { "cluster.k8s.amazonaws.com/name", "x" },
					  { "empty", "" } };
	const struct cloud_config config = { .cluster = "", .tag_count = ARRAY_SIZE(tags), .tags = tags };
	struct aws_settings settings;

	(void)state;
	assert_int_equal(aws_settings_init(&settings, &config, NULL), 0);
	assert_int_equal(settings.tag_count, 2);
	assert_string_equal(settings.tags[0].key, "team");
	assert_string_equal(settings.tags[1].key, "empty");
	aws_settings_done(&settings);
}

static void refused(const struct cloud_config *config, const char *word)
{
	struct aws_settings settings;
	struct err err = { 0 };

	assert_int_equal(aws_settings_init(&settings, config, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
	if (!strstr(err.msg, word))
		fail_msg("\"%s\" lacks %s", err.msg, word);
}

static void test_settings__refused(void **state)
{
	static char key[130], value[257];
	const char *ids[EC2_GROUPS_MAX + 1] = { "sg-1" }, *bad[] = { "sg-1", "default" };
	struct cloud_tag tags[SETTINGS_TAGS_MAX + 1];
	char names[SETTINGS_TAGS_MAX + 1][8];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		ids[i] = "sg-1";
	refused(&(struct cloud_config){ .cluster = "", .group_count = ARRAY_SIZE(ids), .groups = ids }, "16");
	refused(&(struct cloud_config){ .cluster = "", .group_count = 2, .groups = bad }, "default");
	refused(&(struct cloud_config){ .cluster = "", .subnet_count = 1, .subnets = bad }, "subnet-");
	for (size_t i = 0; i < ARRAY_SIZE(tags); i++) {
		(void)snprintf(names[i], sizeof(names[i]), "t%zu", i);
		tags[i] = (struct cloud_tag){ names[i], "" };
	}
	refused(&(struct cloud_config){ .cluster = "", .tag_count = ARRAY_SIZE(tags), .tags = tags }, "46");
	tags[0] = (struct cloud_tag){ "aws:team", "" };
	refused(&(struct cloud_config){ .cluster = "", .tag_count = 1, .tags = tags }, "aws:");
	memset(key, 'k', sizeof(key) - 1);
	tags[0] = (struct cloud_tag){ key, "" };
	refused(&(struct cloud_config){ .cluster = "", .tag_count = 1, .tags = tags }, "128");
	memset(value, 'v', sizeof(value) - 1);
	tags[0] = (struct cloud_tag){ "k", value };
	refused(&(struct cloud_config){ .cluster = "", .tag_count = 1, .tags = tags }, "255");
}

/* ---- choosing ---- */

enum mark { PLAIN, FOR_PODS, NOT_FOR_PODS };
enum clusters { ANY, OURS, OTHERS };

static struct aws_subnet subnet_of(const char *id, const char *zone, uint64_t free, enum mark mark,
				   enum clusters clusters)
{
	struct aws_subnet subnet = { .is = { .free = free,
					     .tagged = mark != PLAIN,
					     .excluded = mark == NOT_FOR_PODS,
					     .of_clusters = clusters != ANY,
					     .of_ours = clusters == OURS } };

	(void)str_copy(subnet.is.id, sizeof(subnet.is.id), id);
	(void)str_copy(subnet.is.vpc, sizeof(subnet.is.vpc), VPC);
	(void)str_copy(subnet.is.zone, sizeof(subnet.is.zone), zone);
	return subnet;
}

/* The chosen ones, each after a blank, or why there is none. */
static const char *chosen(const struct aws_subnet *known, unsigned count, const struct aws_settings *settings,
			  int64_t now_us)
{
	static char text[512];
	struct aws_places places;
	struct err err;

	if (aws_subnets_choose(known, count, settings, &here, now_us, &places, &err) < 0) {
		assert_int_equal(err.class, ERR_INVALID);
		(void)str_copy(text, sizeof(text), err.msg);
		return text;
	}
	text[0] = '\0';
	for (unsigned i = 0; i < places.count; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), " %s", places.ids[i]);
	return text;
}

static struct aws_settings named(const char *cluster)
{
	return (struct aws_settings){ .cluster = (char *)(uintptr_t)cluster };
}

static void test_choose__primary_and_tagged(void **state)
{
	const struct aws_settings settings = named("kube");
	const struct aws_subnet known[] = {
		subnet_of("subnet-p", ZONE, 10, PLAIN, ANY),
		subnet_of("subnet-more", ZONE, 200, FOR_PODS, ANY),
		subnet_of("subnet-less", ZONE, 5, FOR_PODS, OURS),
		subnet_of("subnet-plain", ZONE, 900, PLAIN, ANY),
		subnet_of("subnet-plain-ours", ZONE, 900, PLAIN, OURS),
		subnet_of("subnet-no", ZONE, 900, NOT_FOR_PODS, OURS),
		subnet_of("subnet-others", ZONE, 900, FOR_PODS, OTHERS),
		subnet_of("subnet-far", "us-west-2b", 900, FOR_PODS, ANY),
	};

	(void)state;
	assert_string_equal(chosen(known, ARRAY_SIZE(known), &settings, 0), " subnet-more subnet-p subnet-less");
}

static void test_choose__another_vpc(void **state)
{
	const struct aws_settings settings = named("kube");
	struct aws_subnet known[] = { subnet_of("subnet-p", ZONE, 1, PLAIN, ANY),
				      subnet_of("subnet-x", ZONE, 9, FOR_PODS, ANY) };

	(void)state;
	(void)str_copy(known[1].is.vpc, sizeof(known[1].is.vpc), "vpc-other");
	assert_string_equal(chosen(known, 2, &settings, 0), " subnet-p");
}

/* Of the primary's no more than metadata tells. */
static void test_choose__nothing_was_read(void **state)
{
	const struct aws_settings settings = named("kube");
	struct aws_subnet known = { 0 };

	(void)state;
	(void)str_copy(known.is.id, sizeof(known.is.id), "subnet-p");
	assert_string_equal(chosen(&known, 1, &settings, 0), " subnet-p");
}

static void test_choose__primary_excluded(void **state)
{
	const struct aws_settings settings = named("kube");
	const struct aws_subnet known[] = { subnet_of("subnet-p", ZONE, 10, NOT_FOR_PODS, ANY),
					    subnet_of("subnet-1", ZONE, 1, FOR_PODS, ANY) };
	const char *why;

	(void)state;
	assert_string_equal(chosen(known, 2, &settings, 0), " subnet-1");
	why = chosen(known, 1, &settings, 0);
	if (!strstr(why, "kubernetes.io/role/cni=1") || !strstr(why, "subnet-p") || !strstr(why, ZONE) ||
	    !strstr(why, VPC))
		fail_msg("%s", why);
}

static void test_choose__cluster_without_a_name(void **state)
{
	const struct aws_settings settings = named("");
	const struct aws_subnet known[] = { subnet_of("subnet-p", ZONE, 1, PLAIN, OTHERS),
					    subnet_of("subnet-1", ZONE, 9, FOR_PODS, OTHERS),
					    subnet_of("subnet-2", ZONE, 8, FOR_PODS, ANY) };
	const struct aws_settings other = named("kube");

	(void)state;
	assert_string_equal(chosen(known, 3, &settings, 0), " subnet-2 subnet-p");
	assert_string_equal(chosen(known, 3, &other, 0), " subnet-2");
}

static void test_choose__no_discovery(void **state)
{
	struct aws_settings settings = named("kube");
	const struct aws_subnet known[] = { subnet_of("subnet-p", ZONE, 1, NOT_FOR_PODS, OTHERS),
					    subnet_of("subnet-1", ZONE, 9, FOR_PODS, ANY) };

	(void)state;
	settings.no_discovery = true;
	assert_string_equal(chosen(known, 2, &settings, 0), " subnet-p");
}

static void test_choose__full_last(void **state)
{
	const struct aws_settings settings = named("kube");
	struct aws_subnet known[] = { subnet_of("subnet-p", ZONE, 10, PLAIN, ANY),
				      subnet_of("subnet-1", ZONE, 200, FOR_PODS, ANY),
				      subnet_of("subnet-2", ZONE, 100, FOR_PODS, ANY) };

	(void)state;
	known[1].full_until_us = 50;
	assert_string_equal(chosen(known, 3, &settings, 49), " subnet-2 subnet-p subnet-1");
	assert_string_equal(chosen(known, 3, &settings, 50), " subnet-1 subnet-2 subnet-p");
}

static void test_choose__ipv6_first_where_it_is_wanted(void **state)
{
	const struct aws_settings settings = named("kube");
	struct aws_subnet known[] = { subnet_of("subnet-p", ZONE, 10, PLAIN, ANY),
				      subnet_of("subnet-1", ZONE, 200, FOR_PODS, ANY) };
	struct aws_here both = here;
	struct aws_places places;

	(void)state;
	assert_int_equal(prefix_parse("2600:1f14:aa:bb00::/64", &known[0].is.prefix6), 0);
	assert_string_equal(chosen(known, 2, &settings, 0), " subnet-1 subnet-p");
	both.v6 = true;
	assert_int_equal(aws_subnets_choose(known, 2, &settings, &both, 0, &places, NULL), 0);
	assert_string_equal(places.ids[0], "subnet-p");
	assert_int_equal(places.count, 2);
}

static void test_choose__the_best_few(void **state)
{
	const struct aws_settings settings = named("kube");
	struct aws_subnet known[8];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
		char id[] = "subnet-0";

		id[7] = (char)('0' + i);
		known[i] = subnet_of(id, ZONE, 10 + i * 3 % 8, FOR_PODS, ANY);
	}
	/* Free: 10 13 16 11 14 17 12 15. */
	assert_string_equal(chosen(known, 8, &settings, 0), " subnet-5 subnet-2 subnet-7 subnet-4");
}

static void test_choose__configured__aws_40_19(void **state)
{
	const char *subnets[] = { "subnet-1", "subnet-far", "subnet-2" };
	struct aws_settings settings = named("kube");
	/* Tags do not matter: the operator has said which. */
	const struct aws_subnet known[] = { subnet_of("subnet-p", ZONE, 900, FOR_PODS, OURS),
					    subnet_of("subnet-1", ZONE, 5, NOT_FOR_PODS, OTHERS),
					    subnet_of("subnet-2", ZONE, 9, PLAIN, ANY),
					    subnet_of("subnet-far", "us-west-2b", 99, PLAIN, ANY) };
	const char *why;

	(void)state;
	settings.subnets = subnets;
	settings.subnet_count = 3;
	assert_string_equal(chosen(known, 4, &settings, 0), " subnet-2 subnet-1");
	/* None of them here. */
	settings.subnets = &subnets[1];
	settings.subnet_count = 1;
	why = chosen(known, 4, &settings, 0);
	if (!strstr(why, "subnet-far") || !strstr(why, ZONE))
		fail_msg("%s", why);
}

/* ---- closed ---- */

static void test_closed__by_tag(void **state)
{
	struct aws_settings settings = named("kube");
	struct aws_subnets subnets;

	(void)state;
	assert_int_equal(aws_subnets_init(&subnets, NULL, &settings, NULL), 0);
	subnets.known[0] = subnet_of("subnet-no", ZONE, 9, NOT_FOR_PODS, ANY);
	subnets.known[1] = subnet_of("subnet-1", ZONE, 9, FOR_PODS, ANY);
	subnets.count = 2;
	assert_true(aws_subnets_closed(&subnets, "subnet-no", true));
	assert_true(aws_subnets_closed(&subnets, "subnet-no", false));
	assert_false(aws_subnets_closed(&subnets, "subnet-1", false));
	assert_false(aws_subnets_closed(&subnets, "subnet-unknown", false));
	settings.no_discovery = true;
	assert_false(aws_subnets_closed(&subnets, "subnet-no", true));
	aws_subnets_done(&subnets);
}

static void test_closed__configured__aws_40_19(void **state)
{
	const char *list[] = { "subnet-no" };
	struct aws_settings settings = named("kube");
	struct aws_subnets subnets;

	(void)state;
	settings.subnets = list;
	settings.subnet_count = 1;
	assert_int_equal(aws_subnets_init(&subnets, NULL, &settings, NULL), 0);
	subnets.known[0] = subnet_of("subnet-no", ZONE, 9, NOT_FOR_PODS, ANY);
	subnets.count = 1;
	/* Pods get nothing of the primary one, wherever it is. */
	assert_true(aws_subnets_closed(&subnets, "subnet-no", true));
	assert_true(aws_subnets_closed(&subnets, "subnet-p", true));
	assert_false(aws_subnets_closed(&subnets, "subnet-no", false));
	/* Made before the operator wanted others. */
	assert_true(aws_subnets_closed(&subnets, "subnet-p", false));
	aws_subnets_done(&subnets);
}

/* ---- whose it is ---- */

#define SELF "i-1"

static void test_foreign__every_row__aws_40_17(void **state)
{
	static const struct {
		const char *what;
		struct ec2_nic nic;
		bool full, read; /* foreign where we may change something, where we may only look */
	} rows[] = {
		{ "primary", { .type = "interface" }, false, false },
		{ "primary, efa", { .type = "efa" }, false, false },
		{ "primary, no type", { .type = "" }, false, false },
		{ "primary, hands off", { .type = "interface", .no_manage = true }, true, true },
		{ "ours", { .nic.slot = 1, .type = "interface", .owner = SELF }, false, false },
		{ "ours, no type", { .nic.slot = 1, .owner = SELF }, false, false },
		{ "no owner", { .nic.slot = 1, .type = "interface" }, true, false },
		{ "another's", { .nic.slot = 1, .type = "interface", .owner = "i-2" }, true, false },
		{ "trunk", { .nic.slot = 1, .type = "trunk", .owner = SELF }, true, true },
		{ "branch", { .nic.slot = 1, .type = "branch", .owner = SELF }, true, true },
		{ "efa-only", { .nic.slot = 1, .type = "efa-only", .owner = SELF }, true, true },
		{ "lambda", { .nic.slot = 1, .type = "lambda", .owner = SELF }, true, true },
		{ "efa of others", { .nic.slot = 1, .type = "efa" }, true, true },
		{ "efa of ours", { .nic.slot = 1, .type = "efa", .owner = SELF }, false, false },
		{ "requester", { .nic.slot = 1, .owner = SELF, .requester_managed = true }, true, true },
		{ "operator", { .nic.slot = 1, .owner = SELF, .operator_managed = true }, true, true },
		{ "hidden", { .nic.slot = 1, .owner = SELF, .operator_hidden = true }, true, true },
		{ "hands off", { .nic.slot = 1, .owner = SELF, .no_manage = true }, true, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct ec2_nic *nic = &rows[i].nic;

		if (aws_is_foreign(nic, SELF, CLOUD_ACCESS_FULL) != rows[i].full ||
		    aws_is_foreign(nic, SELF, CLOUD_ACCESS_READ) != rows[i].read ||
		    aws_is_foreign(nic, SELF, CLOUD_ACCESS_METADATA) != rows[i].read)
			fail_msg("%s", rows[i].what);
		/* What is changed is never foreign, and never the primary. */
		if (aws_is_ours(nic, SELF))
			assert_true(!rows[i].full && nic->nic.slot > 0 && str_equal(nic->owner, SELF));
		else
			assert_true(rows[i].full || nic->nic.slot == 0);
	}
}

/* ---- lots ---- */

static uint64_t next_of(void *ctx)
{
	return (*(uint64_t *)ctx)++;
}

/* However the addresses of a subnet are spread over nodes, and however many nodes there are: one list a draw. */
static void test_sweep_drawn__once_for_all_nodes__aws_40_3(void **state)
{
	static const uint64_t nodes[] = { 1, 7, 50, 500, 5000 };
	const unsigned rounds = 4000;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		const uint64_t all = nodes[i] * 4; /* addresses, four a node */
		uint64_t counter = 1, drawn = 0, draws = 0;
		const struct random random = { next_of, &counter };

		/* Each node draws once in each round; a random source that gives every number once shows the average. */
		for (; draws < rounds * nodes[i] && draws < 2000000; draws++)
			drawn += aws_sweep_drawn(&random, 4, all);
		assert_in_range(drawn * nodes[i], draws - draws / 50, draws + draws / 50);
	}
}

static void test_sweep_drawn__edges__aws_40_3(void **state)
{
	uint64_t counter = 0;
	const struct random random = { next_of, &counter };

	(void)state;
	assert_false(aws_sweep_drawn(&random, 0, 10));
	assert_false(aws_sweep_drawn(&random, 5, UINT64_MAX)); /* nobody knows how many there are */
	for (unsigned i = 0; i < 100; i++) {
		assert_true(aws_sweep_drawn(&random, 10, 10));
		assert_true(aws_sweep_drawn(&random, 11, 10)); /* an older reading */
	}
}

static int64_t fake_now(void *ctx)
{
	return *(int64_t *)ctx;
}

static void test_used__of_a_subnet(void **state)
{
	struct aws_settings settings = named("kube");
	int64_t now_us = 9000 * USEC_PER_SEC;
	const struct clock boot = { fake_now, &now_us };
	struct aws_base base = { .boot = &boot };
	struct ec2 client = { .base = &base };
	struct aws_subnets subnets;
	struct ec2_subnet told = { .id = "subnet-1" };

	(void)state;
	assert_int_equal(aws_subnets_init(&subnets, &client, &settings, NULL), 0);
	assert_int_equal(prefix_parse("10.0.1.0/24", &told.prefix), 0);
	assert_true(aws_subnets_used(&subnets, "subnet-1") == UINT64_MAX);
	aws_subnets_remember(&subnets, &told);
	assert_int_equal(aws_subnets_used(&subnets, "subnet-1"),
			 251); /* all, as long as nobody says how many are free */
	subnets.known[0] = subnet_of("subnet-1", ZONE, 240, PLAIN, ANY);
	subnets.known[0].is.prefix = told.prefix;
	subnets.known[0].read_us = now_us - 7200 * USEC_PER_SEC;
	assert_int_equal(aws_subnets_used(&subnets, "subnet-1"), 11);
	/* What metadata tells takes nothing away. */
	aws_subnets_remember(&subnets, &told);
	assert_int_equal(aws_subnets_used(&subnets, "subnet-1"), 11);
	subnets.known[0].read_us--;
	assert_int_equal(aws_subnets_used(&subnets, "subnet-1"), 251);
	aws_subnets_done(&subnets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_settings__are_kept),
		check_unit_test(test_settings__keys_that_are_ours),
		check_unit_test(test_settings__refused),
		check_unit_test(test_choose__primary_and_tagged),
		check_unit_test(test_choose__another_vpc),
		check_unit_test(test_choose__nothing_was_read),
		check_unit_test(test_choose__primary_excluded),
		check_unit_test(test_choose__cluster_without_a_name),
		check_unit_test(test_choose__no_discovery),
		check_unit_test(test_choose__full_last),
		check_unit_test(test_choose__ipv6_first_where_it_is_wanted),
		check_unit_test(test_choose__the_best_few),
		check_unit_test(test_choose__configured__aws_40_19),
		check_unit_test(test_closed__by_tag),
		check_unit_test(test_closed__configured__aws_40_19),
		check_unit_test(test_foreign__every_row__aws_40_17),
		check_unit_test(test_sweep_drawn__once_for_all_nodes__aws_40_3),
		check_unit_test(test_sweep_drawn__edges__aws_40_3),
		check_unit_test(test_used__of_a_subnet),
	};

	return cmocka_run_group_tests_name("aws_subnets", tests, NULL, NULL);
}
