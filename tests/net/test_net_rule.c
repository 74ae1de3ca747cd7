/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/net/world.h"

static struct net_rule nic_rule(enum ip_family family)
{
	return (struct net_rule){ .family = family,
				  .priority = 1024,
				  .fwmark = 0x4,
				  .fwmask = 0x7e,
				  .table = 4002,
				  .protocol = BERTH_RTPROT };
}

struct found {
	uint32_t priority;
	struct net_rule rule; /* the last one of that priority */
	int count, total;
};

static int find(const struct net_rule *rule, void *arg)
{
	struct found *found = arg;

	found->total++;
	if (rule->priority == found->priority) {
		found->rule = *rule;
		found->count++;
	}
	return 0;
}

static struct found find_rule(struct net *net, enum ip_family family, uint32_t priority)
{
	struct found found = { .priority = priority };

	must(net_rules(net, family, find, &found, &err));
	return found;
}

static void check_add_and_del(struct net *net, enum ip_family family)
{
	const struct net_rule rule = nic_rule(family);
	int before = find_rule(net, family, 0).total;
	struct found found;

	must(net_rule_add(net, &rule, &err));
	must(net_rule_add(net, &rule, &err));
	found = find_rule(net, family, 1024);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.rule.family, family);
	assert_int_equal(found.rule.fwmark, 0x4);
	assert_int_equal(found.rule.fwmask, 0x7e);
	assert_int_equal(found.rule.table, 4002);
	assert_int_equal(found.rule.protocol, BERTH_RTPROT);
	must(net_rule_del(net, &rule, &err));
	must(net_rule_del(net, &rule, &err));
	assert_int_equal(find_rule(net, family, 1024).count, 0);
	assert_int_equal(find_rule(net, family, 0).total, before);
}

static void test_net_rule__added_and_removed_twice(void **state)
{
	const struct world *w = *state;

	check_add_and_del(w->a, IP_V4);
	check_add_and_del(w->a, IP_V6);
}

static void test_net_rule_add__as_iproute2_sees_it(void **state)
{
	const struct world *w = *state;
	const struct net_rule rule = nic_rule(IP_V4);
	_cleanup_free_ char *shown = NULL;

	must(net_rule_add(w->a, &rule, &err));
	shown = world_ip(w->a_name, "rule show pref 1024");
	assert_contains(shown, "from all fwmark 0x4/0x7e lookup 4002 proto 98");
}

static void test_net_rule_add__one_field_different_is_another_rule(void **state)
{
	const struct world *w = *state;
	struct net_rule rule = nic_rule(IP_V4);

	must(net_rule_add(w->a, &rule, &err));
	rule.fwmark = 0x6;
	must(net_rule_add(w->a, &rule, &err));
	rule.fwmask = 0xfe;
	must(net_rule_add(w->a, &rule, &err));
	rule.table = NET_TABLE_MAIN;
	must(net_rule_add(w->a, &rule, &err));
	assert_int_equal(find_rule(w->a, IP_V4, 1024).count, 4);
	must(net_rule_del(w->a, &rule, &err));
	assert_int_equal(find_rule(w->a, IP_V4, 1024).count, 3);
}

/* Somebody else's equal rule is neither taken for ours nor taken away. */
static void test_net_rule__only_ours(void **state)
{
	const struct world *w = *state;
	const struct net_rule rule = nic_rule(IP_V4);
	struct found found;

	world_ip_do(w->a_name, "rule add pref 1024 fwmark 0x4/0x7e lookup 4002 proto static");
	must(net_rule_add(w->a, &rule, &err));
	assert_int_equal(find_rule(w->a, IP_V4, 1024).count, 2);
	must(net_rule_del(w->a, &rule, &err));
	must(net_rule_del(w->a, &rule, &err));
	found = find_rule(w->a, IP_V4, 1024);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.rule.protocol, 4); /* RTPROT_STATIC */
}

static void test_net_rule__incomplete(void **state)
{
	const struct world *w = *state;
	struct net_rule rule = nic_rule(IP_V4);
	struct err e;

	rule.priority = 0;
	must_fail(net_rule_add(w->a, &rule, &e), e, ERR_INVALID);
	must_fail(net_rule_del(w->a, &rule, &e), e, ERR_INVALID);
	rule = nic_rule(IP_NONE);
	must_fail(net_rule_add(w->a, &rule, &e), e, ERR_INVALID);
	rule = nic_rule(IP_V4);
	rule.table = 0;
	must_fail(net_rule_add(w->a, &rule, &e), e, ERR_INVALID);
	must_fail(net_rules(w->a, IP_NONE, find, &rule, &e), e, ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_net_rule__added_and_removed_twice),
		world_test(test_net_rule_add__as_iproute2_sees_it),
		world_test(test_net_rule_add__one_field_different_is_another_rule),
		world_test(test_net_rule__only_ours),
		world_test(test_net_rule__incomplete),
	};

	return cmocka_run_group_tests_name("net_rule", tests, NULL, NULL);
}
