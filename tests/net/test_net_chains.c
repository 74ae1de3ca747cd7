/* SPDX-License-Identifier: Apache-2.0 */
/* Chains that close forwarding, as iptables (both kinds), nft, Docker, firewalld and RHEL make them; read by our own words
 * and without iptables. */
#include "tests/net/world.h"

#define WORDS_MAX 24

struct command {
	const char *words;
};

/* Words of the shell, split at blanks; an underscore stands for a blank inside a word. */
static int run_words(void *arg, struct err *err)
{
	const struct command *command = arg;
	char *const env[] = { (char[]){ "PATH=/usr/sbin:/usr/bin:/sbin:/bin" }, NULL };
	char copy[512], *argv[WORDS_MAX + 1], *save = NULL;
	int status = -1, count = 0, r;
	pid_t pid;

	assert_int_equal(str_copy(copy, sizeof(copy), command->words), 0);
	for (char *w = strtok_r(copy, " ", &save); w && count < WORDS_MAX; w = strtok_r(NULL, " ", &save)) {
		argv[count++] = w;
		for (char *at = strchr(w, '_'); at; at = strchr(at, '_'))
			*at = ' ';
	}
	assert_true(count > 0);
	argv[count] = NULL;
	r = posix_spawnp(&pid, copy, NULL, NULL, argv, env);
	if (r != 0)
		return err_set_errno(err, ERR_NOTFOUND, "test", r, "%s", argv[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status == 0 ? 0 : err_set(err, ERR_INVALID, "test", "%s: status %d", command->words, status);
}

static void run(const struct world *w, const char *words)
{
	struct command command = { words };

	must(netns_run(w->a_fd, run_words, &command, &err));
}

static int look_here(void *arg, struct err *err)
{
	const struct net_forward_ask ask = {
		.own_table = "berth", .mark = "berth", .link_count = 2, .links = { "bth", "cali" }
	};
	struct net_closed_chains *chains = arg;

	chains->count = 0;
	return net_nft_closed(&ask, chains, err) < 0 || net_legacy_closed(&ask, chains, err) < 0 ? -1 : 0;
}

static struct net_closed_chains look(const struct world *w)
{
	struct net_closed_chains chains;

	must(netns_run(w->a_fd, look_here, &chains, &err));
	return chains;
}

/* The one chain that is closed. */
static struct net_closed_chain look_one(const struct world *w)
{
	struct net_closed_chains chains = look(w);

	if (chains.count != 1)
		fail_msg("%u chains are closed", chains.count);
	return chains.list[0];
}

static void assert_chain(const struct net_closed_chain *chain, bool legacy, unsigned family, const char *table,
			 const char *name)
{
	assert_int_equal(chain->legacy, legacy);
	assert_int_equal(chain->family, family);
	assert_string_equal(chain->table, table);
	assert_string_equal(chain->name, name);
}

/* ---- iptables, either kind ---- */

struct tools {
	const char *iptables, *ip6tables;
	bool legacy;
};

static const struct tools nft_tools = { "iptables-nft", "ip6tables-nft", false };
static const struct tools legacy_tools = { "iptables-legacy --wait=10", "ip6tables-legacy --wait=10", true };

static void iptables(const struct world *w, const struct tools *tools, unsigned family, const char *rest)
{
	char words[256];

	(void)snprintf(words, sizeof(words), "%s %s", family == IP_V6 ? tools->ip6tables : tools->iptables, rest);
	run(w, words);
}

static void check_policy(const struct world *w, const struct tools *tools)
{
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		unsigned f = ip_family_at(i);
		struct net_closed_chain chain;

		iptables(w, tools, f, "-A FORWARD -i docker0 -j DROP");
		assert_int_equal(look(w).count, 0);
		iptables(w, tools, f, "-P FORWARD DROP");
		chain = look_one(w);
		assert_chain(&chain, tools->legacy, f, "filter", "FORWARD");
		assert_int_equal(chain.last, 0);
		assert_false(chain.named);
		assert_int_equal(chain.from | chain.to, 0);
		iptables(w, tools, f, "-A FORWARD -j ACCEPT");
		assert_int_equal(look(w).count, 0);
		iptables(w, tools, f, "-P FORWARD ACCEPT");
		assert_int_equal(look(w).count, 0);
		iptables(w, tools, f, "-P INPUT DROP");
		assert_int_equal(look(w).count, 0);
	}
}

static void check_last_rule(const struct world *w, const struct tools *tools)
{
	static const char *const closing[] = { "-j REJECT", "-j DROP", "-m comment --comment no -j REJECT" };
	static const char *const other[] = { "-j RETURN", "-j LOG", "-i eth0 -j DROP", "-d 192.0.2.1 -j REJECT",
					     "-m mark --mark 1 -j DROP" };
	char rule[128];

	iptables(w, tools, IP_V4, "-A FORWARD -i docker0 -j ACCEPT");
	for (size_t i = 0; i < ARRAY_SIZE(other); i++) {
		(void)snprintf(rule, sizeof(rule), "-A FORWARD %s", other[i]);
		iptables(w, tools, IP_V4, rule);
		assert_int_equal(look(w).count, 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(closing); i++) {
		struct net_closed_chain chain;

		(void)snprintf(rule, sizeof(rule), "-A FORWARD %s", closing[i]);
		iptables(w, tools, IP_V4, rule);
		chain = look_one(w);
		assert_chain(&chain, tools->legacy, IP_V4, "filter", "FORWARD");
		assert_true(chain.last > 0);
		if (tools->legacy)
			assert_int_equal(chain.last, 2 + ARRAY_SIZE(other));
		(void)snprintf(rule, sizeof(rule), "-D FORWARD %s", closing[i]);
		iptables(w, tools, IP_V4, rule);
		assert_int_equal(look(w).count, 0);
	}
}

static void check_links(const struct world *w, const struct tools *tools)
{
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		unsigned f = ip_family_at(i);
		struct net_closed_chain chain;

		iptables(w, tools, f, "-P FORWARD DROP");
		iptables(w, tools, f, "-A FORWARD -i bth0 -j ACCEPT"); /* one link, not all */
		iptables(w, tools, f, "-A FORWARD -i bth -j ACCEPT");
		iptables(w, tools, f, "-A FORWARD -i b+ -j ACCEPT");
		iptables(w, tools, f, "-A FORWARD -i bth+ -m comment --comment berth -j ACCEPT");
		chain = look_one(w);
		assert_false(chain.named);
		assert_int_equal(chain.from, 1);
		assert_int_equal(chain.to, 0);
		iptables(w, tools, f, "-A FORWARD -o cali+ -m comment --comment berth -j ACCEPT");
		iptables(w, tools, f, "-A FORWARD -o bth+ -m comment --comment berths -j ACCEPT");
		chain = look_one(w);
		assert_true(chain.named);
		assert_int_equal(chain.from, 1);
		assert_int_equal(chain.to, 2);
		iptables(w, tools, f, "-F FORWARD");
		iptables(w, tools, f, "-P FORWARD ACCEPT");
	}
}

static void test_nft_closed__policy_of_iptables(void **state)
{
	check_policy(*state, &nft_tools);
}

static void test_nft_closed__last_rule_of_iptables(void **state)
{
	check_last_rule(*state, &nft_tools);
}

static void test_nft_closed__links_in_rules_of_iptables(void **state)
{
	check_links(*state, &nft_tools);
}

static void test_legacy_closed__policy(void **state)
{
	check_policy(*state, &legacy_tools);
}

static void test_legacy_closed__last_rule(void **state)
{
	check_last_rule(*state, &legacy_tools);
}

static void test_legacy_closed__links_in_rules(void **state)
{
	check_links(*state, &legacy_tools);
}

/* ---- nft ---- */

static void test_nft_closed__as_firewalld_does_it(void **state)
{
	const struct world *w = *state;
	struct net_closed_chain chain;

	run(w, "nft add_table_inet_firewalld;add_chain_inet_firewalld_toF_{type_filter_hook_forward_priority_10;};"
	       "add_chain_inet_firewalld_policies;add_rule_inet_firewalld_toF_ct_state_established_accept;"
	       "add_rule_inet_firewalld_toF_jump_policies;add_rule_inet_firewalld_toF_ct_state_invalid_drop");
	assert_int_equal(look(w).count, 0);
	run(w, "nft add_rule_inet_firewalld_toF_reject_with_icmpx_type_admin-prohibited");
	chain = look_one(w);
	assert_chain(&chain, false, IP_NONE, "firewalld", "toF");
	assert_true(chain.last > 0);
	assert_false(chain.named);
	/* an administrator has put our links into a zone */
	run(w, "nft add_rule_inet_firewalld_policies_iifname_\"bth*\"_oifname_\"eth0\"_accept");
	assert_true(look_one(w).named);
}

static void test_nft_closed__policies_of_each_family(void **state)
{
	const struct world *w = *state;

	run(w, "nft add_table_inet_x;add_chain_inet_x_a_{type_filter_hook_forward_priority_0;policy_drop;};"
	       "add_table_ip_x;add_chain_ip_x_b_{type_filter_hook_forward_priority_0;policy_drop;};"
	       "add_table_ip6_x;add_chain_ip6_x_c_{type_filter_hook_forward_priority_0;policy_drop;};"
	       "add_chain_ip6_x_d_{type_filter_hook_input_priority_0;policy_drop;};add_chain_ip6_x_e;"
	       "add_rule_ip6_x_e_drop;add_table_bridge_x;"
	       "add_chain_bridge_x_f_{type_filter_hook_forward_priority_0;policy_drop;}");
	assert_int_equal(look(w).count, 3);
	run(w, "nft add_rule_inet_x_a_accept;add_rule_ip_x_b_log;add_rule_ip_x_b_counter_accept");
	assert_int_equal(look(w).count, 1);
	run(w, "nft add_rule_inet_x_a_counter_log_drop");
	assert_int_equal(look(w).count, 2);
}

static void test_nft_closed__our_own_table_is_passed_over(void **state)
{
	const struct world *w = *state;

	run(w, "nft add_table_inet_berth;add_chain_inet_berth_a_{type_filter_hook_forward_priority_0;policy_drop;}");
	assert_int_equal(look(w).count, 0);
}

static void test_nft_closed__marked_rules_of_nft(void **state)
{
	const struct world *w = *state;
	struct net_closed_chain chain;

	run(w, "iptables-nft -P FORWARD DROP");
	run(w, "nft add_rule_ip_filter_FORWARD_iifname_\"bth*\"_counter_accept_comment_\"berth\";"
	       "add_rule_ip_filter_FORWARD_oifname_\"bth*\"_accept_comment_\"berth\"");
	chain = look_one(w);
	assert_int_equal(chain.from, 1);
	assert_int_equal(chain.to, 1);
	assert_false(chain.named);
}

/* More than are kept are passed over, not written behind the end. */
static void test_nft_closed__too_many(void **state)
{
	const struct world *w = *state;
	char words[160];

	for (unsigned i = 0; i < NET_CHAINS_MAX + 2; i++) {
		(void)snprintf(words, sizeof(words),
			       "nft add_table_ip_x%u;add_chain_ip_x%u_a_{type_filter_hook_forward_priority_0;"
			       "policy_drop;}",
			       i, i);
		run(w, words);
	}
	assert_int_equal(look(w).count, NET_CHAINS_MAX);
}

static int read_names(void *arg, struct err *err)
{
	(void)err;
	return fs_read("/proc/thread-self/net/ip_tables_names", 4096, arg, NULL) < 0 ? -1 : 0;
}

/* Looking changes nothing: in a namespace without legacy tables there are none afterwards. */
static void test_legacy_closed__loads_no_table(void **state)
{
	const struct world *w = *state;
	_cleanup_free_ char *names = NULL;

	if (!fs_exists("/proc/thread-self/net/ip_tables_names"))
		skip();
	assert_int_equal(look(w).count, 0);
	must(netns_run(w->a_fd, read_names, &names, &err));
	assert_string_equal(names, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_nft_closed__policy_of_iptables),
		world_test(test_nft_closed__last_rule_of_iptables),
		world_test(test_nft_closed__links_in_rules_of_iptables),
		world_test(test_legacy_closed__policy),
		world_test(test_legacy_closed__last_rule),
		world_test(test_legacy_closed__links_in_rules),
		world_test(test_legacy_closed__loads_no_table),
		world_test(test_nft_closed__as_firewalld_does_it),
		world_test(test_nft_closed__policies_of_each_family),
		world_test(test_nft_closed__our_own_table_is_passed_over),
		world_test(test_nft_closed__marked_rules_of_nft),
		world_test(test_nft_closed__too_many),
	};

	return cmocka_run_group_tests_name("net_chains", tests, NULL, NULL);
}
