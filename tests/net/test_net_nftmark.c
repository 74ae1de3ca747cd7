/* SPDX-License-Identifier: Apache-2.0 */
/* Rules as nft and iptables-nft load them, and which bits of the marks they may change. */
#include <sched.h>
#include <stdio.h>

#include "berth/clock.h"
#include "berth/err.h"
#include "berth/net.h"
#include "ipamd/hostnet.h"
#include "tests/net/said.h"

#define READ_US (5 * USEC_PER_SEC)

#define must(call)                                                                                                     \
	do {                                                                                                           \
		struct err err = { 0 };                                                                                \
		if ((call) < 0)                                                                                        \
			fail_msg("%s: %s", #call, err.msg);                                                            \
	} while (0)

/* A namespace of its own for each test, which ends with it. */
static int setup(void **state)
{
	return check_fds_setup(state) < 0 ? -1 : unshare(CLONE_NEWNET);
}

#define mark_test(f) cmocka_unit_test_setup_teardown(f, setup, check_fds_teardown)

struct seen {
	unsigned count;
	struct net_nft_mark last;
};

static int see(const struct net_nft_mark *mark, void *arg)
{
	struct seen *seen = arg;

	seen->count++;
	seen->last = *mark;
	return 0;
}

static struct seen marks(void)
{
	struct seen seen = { 0 };

	must(net_nft_marks("berth", clock_now(&clock_boot) + READ_US, see, &seen, &err));
	return seen;
}

static void load(const char *rule)
{
	char batch[512];

	(void)snprintf(batch, sizeof(batch),
		       "table ip others {}\ndelete table ip others\n"
		       "table ip others {\n chain c {\n  type filter hook prerouting priority -150;\n  %s\n }\n}\n",
		       rule);
	must(nft_run(batch, clock_now(&clock_boot) + READ_US, NULL, &err));
}

static void test_net_nft_marks__of_nft(void **state)
{
	static const struct {
		const char *rule;
		uint32_t bits; /* 0: none */
		bool ct;
	} cases[] = {
		{ "meta mark set 0x10", 0xffffffff, false },
		{ "meta mark set meta mark or 0x4000", 0x4000, false },
		{ "meta mark set meta mark and 0xffffff81 or 0x4", 0x7e, false },
		{ "meta mark set meta mark xor 0x3", 0x3, false },
		{ "meta mark set ct mark", 0xffffffff, false },
		{ "meta mark set ct mark and 0xf", 0xffffffff, false },
		{ "meta mark set ip saddr map { 10.0.0.1 : 0x4 }", 0xffffffff, false },
		{ "ct mark set ct mark or 0x80", 0x80, true },
		{ "ct mark set meta mark", 0xffffffff, true },
		{ "meta mark 0x10 accept", 0, false },
		{ "meta mark and 0x7e == 0x4 counter", 0, false },
		{ "meta priority set 7", 0, false },
		{ "ip saddr 10.0.0.1 meta mark and 0x10 == 0 meta mark set meta mark or 0x10 accept", 0x10, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct seen seen;

		load(cases[i].rule);
		seen = marks();
		if (seen.count != (cases[i].bits != 0) || seen.last.bits != cases[i].bits ||
		    seen.last.ct != cases[i].ct)
			fail_msg("%s: %u of them, %s0x%x", cases[i].rule, seen.count, seen.last.ct ? "ct " : "",
				 seen.last.bits);
		if (!seen.count)
			continue;
		assert_string_equal(seen.last.family, "ip");
		assert_string_equal(seen.last.table, "others");
		assert_string_equal(seen.last.chain, "c");
	}
	load("");
}

static void test_net_nft_marks__of_iptables(void **state)
{
	static const struct {
		const char *words;
		uint32_t bits;
		bool ct;
	} cases[] = {
		{ "MARK --set-xmark 0x10/0x30", 0x30, false },
		{ "MARK --or-mark 0x4000", 0x4000, false },
		{ "CONNMARK --set-xmark 0x80/0x80", 0x80, true },
		{ "CONNMARK --restore-mark --nfmask 0xf --ctmask 0xf", 0xf, false },
		{ "CONNMARK --save-mark --nfmask 0xf0 --ctmask 0xf0", 0xf0, true },
	};
	char words[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct seen seen;

		(void)snprintf(words, sizeof(words), "iptables-nft -t mangle -A PREROUTING -j %s", cases[i].words);
		free(said(words));
		seen = marks();
		if (seen.count != 1 || seen.last.bits != cases[i].bits || seen.last.ct != cases[i].ct)
			fail_msg("%s: %u of them, %s0x%x", cases[i].words, seen.count, seen.last.ct ? "ct " : "",
				 seen.last.bits);
		assert_string_equal(seen.last.table, "mangle");
		assert_string_equal(seen.last.chain, "PREROUTING");
		free(said("iptables-nft -t mangle -F"));
	}
}

static int stop(const struct net_nft_mark *mark, void *arg)
{
	++*(unsigned *)arg;
	return str_equal(mark->table, "others") ? 7 : 0;
}

static void test_net_nft_marks__ends_and_passes_over_ours(void **state)
{
	unsigned count = 0;

	(void)state;
	must(nft_run("table inet berth {\n chain c {\n  meta mark set 0x2\n }\n}\n", clock_now(&clock_boot) + READ_US,
		     NULL, &err));
	assert_int_equal(marks().count, 0);
	load("meta mark set 0x10; meta mark set 0x20");
	assert_int_equal(marks().count, 2);
	assert_int_equal(net_nft_marks(NULL, clock_now(&clock_boot) + READ_US, stop, &count, NULL), 7);
	assert_in_range(count, 1, 2);
	must(nft_run("delete table inet berth\ndelete table ip others\n", clock_now(&clock_boot) + READ_US, NULL,
		     &err));
	assert_int_equal(marks().count, 0);
}

/* What kube-proxy, Felix and Docker write is no conflict; two rules of a chain are named once. */
static void keep(const struct hostnet_conflict *conflict, void *arg)
{
	struct strbuf *text = arg;

	strbuf_printf(text, "%s (%s)\n", conflict->what, conflict->setting);
}

static void test_hostnet_mark_conflicts__named__rule_10(void **state)
{
	_cleanup_strbuf_ struct strbuf none = { 0 }, some = { 0 };

	(void)state;
	load("meta mark set meta mark or 0x4000; ct mark set ct mark and 0xffff or 0x10000");
	must(hostnet_mark_conflicts(0x7e, clock_now(&clock_boot) + READ_US, keep, &none, &err));
	assert_int_equal(none.len, 0);
	load("meta mark set meta mark or 0x8; meta mark set meta mark or 0x18; ct mark set ct mark or 0x10000");
	must(hostnet_mark_conflicts(0x7e, clock_now(&clock_boot) + READ_US, keep, &some, &err));
	assert_string_equal(some.text, "nft table ip others chain c: mark bits 0x8 (markMask)\n");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		mark_test(test_net_nft_marks__of_nft),
		mark_test(test_net_nft_marks__of_iptables),
		mark_test(test_net_nft_marks__ends_and_passes_over_ours),
		mark_test(test_hostnet_mark_conflicts__named__rule_10),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
