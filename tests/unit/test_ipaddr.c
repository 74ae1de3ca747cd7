/* SPDX-License-Identifier: Apache-2.0 */
#include "berth/ipaddr.h"

#include <errno.h>
#include <string.h>

#include "berth/attr.h"
#include "tests/check.h"

static struct ipaddr ip(const char *text)
{
	struct ipaddr addr = { 0 };

	if (ipaddr_parse(text, &addr) < 0)
		fail_msg("no address: %s", text);
	return addr;
}

static struct prefix pfx(const char *text)
{
	struct prefix prefix = { 0 };

	if (prefix_parse(text, &prefix) < 0)
		fail_msg("no prefix: %s", text);
	return prefix;
}

static void test_ipaddr_parse__canonical_text_comes_back(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "10.0.1.16", "10.0.1.16" },
		{ "0.0.0.0", "0.0.0.0" },
		{ "255.255.255.255", "255.255.255.255" },
		{ "::", "::" },
		{ "::1", "::1" },
		{ "2001:DB8::A", "2001:db8::a" },
		{ "2001:0db8:0:0:1:0:0:1", "2001:db8::1:0:0:1" },
		{ "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1" },
		{ "2600:1f13:1:2:3:4:5:6", "2600:1f13:1:2:3:4:5:6" },
		{ "::ffff:10.0.0.1", "::ffff:10.0.0.1" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
	};
	char buf[IPADDR_STRLEN];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ipaddr addr = ip(cases[i].text);

		assert_int_equal(addr.family, strchr(cases[i].text, ':') ? IP_V6 : IP_V4);
		assert_string_equal(ipaddr_str(&addr, buf), cases[i].want);
	}
}

static void test_ipaddr_parse__refused_leaves_ret_alone(void **state)
{
	static const char *const bad[] = {
		"",           " 10.0.0.1",  "10.0.0.1 ",    "10.0.0",   "10.0.0.256", "10.0.0.01", "10.0.0.1/32",
		"0x0a.0.0.1", "1.2.3.4.5",  "fe80::1%eth0", "2001:db8", "::1::",      "[::1]",     "2001:db8::10000",
		"-",          "10.0.0.1\n",
	};
	struct ipaddr addr = ipaddr_v4(0x01020304), before = addr;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(ipaddr_parse(bad[i], &addr), -EINVAL);
		assert_memory_equal(&addr, &before, sizeof(addr));
	}
}

static void test_ipaddr_str__no_address(void **state)
{
	struct ipaddr none = { 0 };
	struct prefix no_prefix = { 0 };
	char buf[PREFIX_STRLEN];

	(void)state;
	assert_string_equal(ipaddr_str(&none, buf), "-");
	assert_string_equal(prefix_str(&no_prefix, buf), "-");
	assert_int_equal(ipaddr_bits(&none), 0);
	assert_int_equal(ipaddr_len(&none), 0);
}

static void test_ipaddr_v4__is_network_order_and_zero_behind(void **state)
{
	struct ipaddr addr = ipaddr_v4(0x0a000110), parsed = ip("10.0.1.16");

	(void)state;
	assert_memory_equal(&addr, &parsed, sizeof(addr));
	assert_int_equal(ipaddr_bits(&addr), 32);
	assert_int_equal(ipaddr_len(&addr), 4);
}

static void test_ipaddr_cmp__family_then_bytes(void **state)
{
	static const char *const sorted[] = { "0.0.0.0", "9.255.255.255", "10.0.0.1",   "10.0.0.2",
					      "::",      "::1",           "2001:db8::1" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sorted); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(sorted); j++) {
			struct ipaddr a = ip(sorted[i]), b = ip(sorted[j]);
			int order = ipaddr_cmp(&a, &b);

			assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
			assert_int_equal(ipaddr_equal(&a, &b), i == j);
		}
	}
}

static void test_ipaddr_add__carries_and_wraps(void **state)
{
	static const struct {
		const char *addr;
		uint64_t offset;
		const char *want;
	} cases[] = {
		{ "10.0.1.16", 0, "10.0.1.16" },
		{ "10.0.0.255", 1, "10.0.1.0" },
		{ "10.255.255.255", 1, "11.0.0.0" },
		{ "255.255.255.255", 2, "0.0.0.1" },
		{ "10.0.0.0", UINT64_C(1) << 32, "10.0.0.0" },
		{ "2001:db8::ffff", 1, "2001:db8::1:0" },
		{ "2001:db8::ffff:ffff:ffff:ffff", 1, "2001:db8:0:1::" },
		{ "2001:db8::1", UINT64_MAX, "2001:db8:0:1::" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1, "::" },
	};
	char buf[IPADDR_STRLEN];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ipaddr addr = ip(cases[i].addr), sum = ipaddr_add(&addr, cases[i].offset);

		assert_string_equal(ipaddr_str(&sum, buf), cases[i].want);
	}
}

static void test_prefix_parse__text_comes_back(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "10.0.1.16/28", "10.0.1.16/28" },
		{ "10.0.1.16", "10.0.1.16/32" },
		{ "0.0.0.0/0", "0.0.0.0/0" },
		{ "2001:db8::/80", "2001:db8::/80" },
		{ "2001:db8::1", "2001:db8::1/128" },
		{ "::/0", "::/0" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128" },
	};
	char buf[PREFIX_STRLEN];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct prefix prefix = pfx(cases[i].text);

		assert_string_equal(prefix_str(&prefix, buf), cases[i].want);
	}
}

static void test_prefix_parse__refused_leaves_ret_alone(void **state)
{
	static const char *const bad[] = {
		"",
		"/",
		"/24",
		"10.0.0.0/",
		"10.0.0.0/33",
		"10.0.0.0/-1",
		"10.0.0.0/+8",
		"10.0.0.0/08",
		"10.0.0.0/00",
		"10.0.0.0/8/8",
		"10.0.0.0/8 ",
		"10.0.0.0/256",
		"10.0.0.0/18446744073709551640",
		"10.0.1.17/28",
		"10.0.0.1/0",
		"::1/127",
		"::/129",
		"10.0.0.0/255.0.0.0",
		"00000000000000000000000000000000000000000000000000000000000000::/8",
	};
	struct prefix prefix = pfx("192.0.2.0/24"), before = prefix;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (prefix_parse(bad[i], &prefix) != -EINVAL)
			fail_msg("%s is a prefix", bad[i]);
		assert_memory_equal(&prefix, &before, sizeof(prefix));
	}
}

static void test_prefix_of__clears_host_bits(void **state)
{
	static const struct {
		const char *addr;
		unsigned len;
		const char *want;
	} cases[] = {
		{ "10.0.1.31", 28, "10.0.1.16/28" },      { "10.0.1.31", 32, "10.0.1.31/32" },
		{ "10.0.1.31", 24, "10.0.1.0/24" },       { "255.255.255.255", 1, "128.0.0.0/1" },
		{ "10.0.1.31", 0, "0.0.0.0/0" },          { "2001:db8::1:2:3:4", 80, "2001:db8:0:0:1::/80" },
		{ "2001:db8::1", 127, "2001:db8::/127" },
	};
	char got[PREFIX_STRLEN], want[PREFIX_STRLEN];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ipaddr addr = ip(cases[i].addr);
		struct prefix prefix = prefix_of(&addr, cases[i].len), parsed = pfx(cases[i].want);

		assert_string_equal(prefix_str(&prefix, got), prefix_str(&parsed, want));
	}
}

static void test_prefix_host__full_length(void **state)
{
	struct ipaddr v4 = ip("10.0.0.1"), v6 = ip("::1");

	(void)state;
	assert_int_equal(prefix_host(&v4).len, 32);
	assert_int_equal(prefix_host(&v6).len, 128);
}

static void test_prefix_contains__edges_and_families(void **state)
{
	static const struct {
		const char *prefix, *addr;
		bool want;
	} cases[] = {
		{ "10.0.1.16/28", "10.0.1.16", true },
		{ "10.0.1.16/28", "10.0.1.31", true },
		{ "10.0.1.16/28", "10.0.1.15", false },
		{ "10.0.1.16/28", "10.0.1.32", false },
		{ "0.0.0.0/0", "255.1.2.3", true },
		{ "0.0.0.0/0", "::", false },
		{ "::/0", "10.0.0.1", false },
		{ "2001:db8::/80", "2001:db8::ffff:ffff:ffff", true },
		{ "2001:db8::/80", "2001:db8::1:0:0:0", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct prefix prefix = pfx(cases[i].prefix);
		struct ipaddr addr = ip(cases[i].addr);

		assert_int_equal(prefix_contains(&prefix, &addr), cases[i].want);
	}
}

static void test_prefix_contains__no_address(void **state)
{
	struct prefix none = { 0 }, all = pfx("0.0.0.0/0");
	struct ipaddr no_addr = { 0 };

	(void)state;
	assert_false(prefix_contains(&none, &no_addr));
	assert_false(prefix_contains(&all, &no_addr));
}

static void test_prefix_covers__and_overlaps(void **state)
{
	static const struct {
		const char *a, *b;
		bool covers, overlaps;
	} cases[] = {
		{ "10.0.0.0/16", "10.0.1.0/24", true, true },  { "10.0.1.0/24", "10.0.0.0/16", false, true },
		{ "10.0.1.0/24", "10.0.1.0/24", true, true },  { "10.0.1.0/24", "10.0.2.0/24", false, false },
		{ "10.0.0.0/24", "10.0.0.0/16", false, true }, { "0.0.0.0/0", "::/0", false, false },
		{ "::/0", "2001:db8::/32", true, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct prefix a = pfx(cases[i].a), b = pfx(cases[i].b);

		assert_int_equal(prefix_covers(&a, &b), cases[i].covers);
		assert_int_equal(prefix_overlaps(&a, &b), cases[i].overlaps);
		assert_int_equal(prefix_overlaps(&b, &a), cases[i].overlaps);
	}
}

static void test_prefix_cmp__address_then_length(void **state)
{
	struct prefix wide = pfx("10.0.0.0/8"), narrow = pfx("10.0.0.0/16"), next = pfx("10.1.0.0/16");

	(void)state;
	assert_true(prefix_cmp(&wide, &narrow) < 0);
	assert_true(prefix_cmp(&narrow, &wide) > 0);
	assert_true(prefix_cmp(&narrow, &next) < 0);
	assert_int_equal(prefix_cmp(&next, &next), 0);
}

static void test_prefix_size__saturates(void **state)
{
	static const struct {
		const char *prefix;
		uint64_t want;
	} cases[] = {
		{ "10.0.0.1", 1 },
		{ "10.0.1.16/28", 16 },
		{ "0.0.0.0/0", UINT64_C(1) << 32 },
		{ "2001:db8::/80", UINT64_C(1) << 48 },
		{ "2001:db8::/65", UINT64_C(1) << 63 },
		{ "2001:db8::/64", UINT64_MAX },
		{ "::/0", UINT64_MAX },
	};
	struct prefix none = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct prefix prefix = pfx(cases[i].prefix);

		assert_true(prefix_size(&prefix) == cases[i].want);
	}
	assert_true(prefix_size(&none) == 0);
}

static void test_prefix_offset__undoes_ipaddr_add(void **state)
{
	static const struct {
		const char *prefix, *addr;
		uint64_t want;
	} cases[] = {
		{ "10.0.1.16/28", "10.0.1.16", 0 },
		{ "10.0.1.16/28", "10.0.1.31", 15 },
		{ "10.0.0.0/8", "10.1.0.3", 65539 },
		{ "0.0.0.0/0", "255.255.255.255", UINT32_MAX },
		{ "2001:db8::/80", "2001:db8::1:0:5", (UINT64_C(1) << 32) + 5 },
		{ "2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff", UINT64_MAX },
		{ "2001:db8::/56", "2001:db8:0:1::", UINT64_MAX },
		{ "2001:db8::/56", "2001:db8::8000:0:0:0", UINT64_C(1) << 63 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct prefix prefix = pfx(cases[i].prefix);
		struct ipaddr addr = ip(cases[i].addr);

		assert_true(prefix_offset(&prefix, &addr) == cases[i].want);
		if (cases[i].want != UINT64_MAX) {
			struct ipaddr back = ipaddr_add(&prefix.addr, cases[i].want);

			assert_true(ipaddr_equal(&back, &addr));
		}
	}
}

static void test_macaddr_parse__any_case_there_and_back(void **state)
{
	struct macaddr mac = { 0 }, same = { 0 };
	char buf[MACADDR_STRLEN];

	(void)state;
	assert_int_equal(macaddr_parse("02:aB:33:4f:Ff:00", &mac), 0);
	assert_string_equal(macaddr_str(&mac, buf), "02:ab:33:4f:ff:00");
	assert_int_equal(macaddr_parse(buf, &same), 0);
	assert_true(macaddr_equal(&mac, &same));
	same.bytes[5] = 1;
	assert_false(macaddr_equal(&mac, &same));
}

static void test_macaddr_parse__refused_leaves_ret_alone(void **state)
{
	static const char *const bad[] = {
		"",
		"02:11:22:33:44",
		"02:11:22:33:44:5",
		"02:11:22:33:44:555",
		"02:11:22:33:44:55:",
		"02-11-22-33-44-55",
		"02:11:22:33:44:5g",
		"2:11:22:33:44:555",
		"02:11:22:33:44: 5",
		"02:11:22:33:44:55\n",
	};
	struct macaddr mac = { { 1, 2, 3, 4, 5, 6 } }, before = mac;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(macaddr_parse(bad[i], &mac), -EINVAL);
		assert_memory_equal(&mac, &before, sizeof(mac));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_ipaddr_parse__canonical_text_comes_back),
		check_unit_test(test_ipaddr_parse__refused_leaves_ret_alone),
		check_unit_test(test_ipaddr_str__no_address),
		check_unit_test(test_ipaddr_v4__is_network_order_and_zero_behind),
		check_unit_test(test_ipaddr_cmp__family_then_bytes),
		check_unit_test(test_ipaddr_add__carries_and_wraps),
		check_unit_test(test_prefix_parse__text_comes_back),
		check_unit_test(test_prefix_parse__refused_leaves_ret_alone),
		check_unit_test(test_prefix_of__clears_host_bits),
		check_unit_test(test_prefix_host__full_length),
		check_unit_test(test_prefix_contains__edges_and_families),
		check_unit_test(test_prefix_contains__no_address),
		check_unit_test(test_prefix_covers__and_overlaps),
		check_unit_test(test_prefix_cmp__address_then_length),
		check_unit_test(test_prefix_size__saturates),
		check_unit_test(test_prefix_offset__undoes_ipaddr_add),
		check_unit_test(test_macaddr_parse__any_case_there_and_back),
		check_unit_test(test_macaddr_parse__refused_leaves_ret_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
