/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/result.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "berth/attr.h"
#include "berth/proto.h"
#include "cni/cnierr.h"
#include "cni/podroutes.h"
#include "tests/check.h"

static struct proto_address address_of(const char *address, const char *gateway)
{
	struct proto_address ret = { 0 };

	assert_int_equal(prefix_parse(address, &ret.address), 0);
	assert_int_equal(ipaddr_parse(gateway, &ret.gateway), 0);
	return ret;
}

static struct cni_result sample(enum cni_version version, const struct proto_address *addresses, unsigned count)
{
	struct cni_result result = {
		.version = version,
		.host_ifname = "bth0a1b2c3d4e5",
		.host_mac = { { 0x02, 0x11, 0x22, 0x33, 0x44, 0x55 } },
		.ifname = "eth0",
		.mac = { { 0x06, 0xaa, 0xbb, 0xcc, 0xdd, 0xee } },
		.sandbox = "/run/netns/cni-1",
		.mtu = 9001,
		.address_count = count,
		.addresses = addresses,
	};

	return result;
}

static void equals_golden(const struct cni_result *result, const char *name)
{
	_cleanup_free_ char *text = cni_result_print(result);
	_cleanup_free_ char *golden = NULL;
	char path[128];

	assert_non_null(text);
	golden = check_golden(check_path(path, sizeof(path), "tests/golden/cni", name), NULL);
	golden[strcspn(golden, "\n")] = '\0';
	assert_string_equal(text, golden);
}

static void test_cni_result_print__every_version__cni_d8(void **state)
{
	const struct proto_address v4 = address_of("10.0.1.17/32", "169.254.1.1");

	(void)state;
	for (unsigned v = 0; v < CNI_VERSION_COUNT; v++) {
		struct cni_result result = sample((enum cni_version)v, &v4, 1);
		char name[64];

		(void)snprintf(name, sizeof(name), "result-%s.json", cni_version_name((enum cni_version)v));
		equals_golden(&result, name);
	}
}

static void test_cni_result_print__ipv6(void **state)
{
	const struct proto_address v6 = address_of("2001:db8::17/128", "fe80::1");
	struct cni_result old = sample(CNI_0_4_0, &v6, 1);
	struct cni_result new = sample(CNI_1_1_0, &v6, 1);

	(void)state;
	equals_golden(&old, "result-0.4.0-ipv6.json");
	equals_golden(&new, "result-1.1.0-ipv6.json");
}

static void test_cni_result_print__two_families(void **state)
{
	const struct proto_address both[] = { address_of("10.0.1.17/32", "169.254.1.1"),
					      address_of("2001:db8::17/128", "fe80::1") };
	struct cni_result old = sample(CNI_0_4_0, both, 2);
	struct cni_result new = sample(CNI_1_1_0, both, 2);

	(void)state;
	equals_golden(&old, "result-0.4.0-dual.json");
	equals_golden(&new, "result-1.1.0-dual.json");
}

static void test_cni_result_print__no_mtu_known(void **state)
{
	const struct proto_address v4 = address_of("10.0.1.17/32", "169.254.1.1");
	struct cni_result result = sample(CNI_1_1_0, &v4, 1);
	_cleanup_free_ char *text = NULL;

	(void)state;
	result.mtu = 0;
	text = cni_result_print(&result);
	assert_non_null(text);
	assert_null(strstr(text, "mtu"));
}

static void test_cni_result_print__routes_as_configured(void **state)
{
	const struct proto_address both[] = { address_of("10.0.1.17/32", "169.254.1.1"),
					      address_of("2001:db8::17/128", "fe80::1") };
	struct pod_routes routes = { .no_default = true };
	struct cni_result result = sample(CNI_1_0_0, both, 2);
	_cleanup_free_ char *none = NULL, *two = NULL;

	(void)state;
	result.routes = &routes;
	none = cni_result_print(&result);
	assert_non_null(strstr(none, "\"routes\":[]"));
	assert_int_equal(prefix_parse("2001:db8::/32", &routes.list[routes.count++]), 0);
	assert_int_equal(prefix_parse("10.0.0.0/8", &routes.list[routes.count++]), 0);
	two = cni_result_print(&result);
	assert_non_null(strstr(two, "\"routes\":[{\"dst\":\"10.0.0.0/8\",\"gw\":\"169.254.1.1\"},"
				    "{\"dst\":\"2001:db8::/32\",\"gw\":\"fe80::1\"}]"));
}

/* What came before stays in front, and our index counts on behind it. */
static void test_cni_result_print__behind_another__cni_d2_16(void **state)
{
	const struct proto_address v4 = address_of("10.0.1.17/32", "169.254.1.1");
	struct cni_result result = sample(CNI_1_1_0, &v4, 1);
	json_auto_t *prev =
		json_loads("{\"cniVersion\":\"1.1.0\",\"interfaces\":[{\"name\":\"dummy0\",\"sandbox\":\"\"}],"
			   "\"ips\":[{\"interface\":0,\"address\":\"192.0.2.1/24\"}],"
			   "\"routes\":[{\"dst\":\"192.0.2.0/24\"}],\"dns\":{\"nameservers\":[\"192.0.2.2\"]}}",
			   0, NULL);

	(void)state;
	result.prev = prev;
	equals_golden(&result, "result-1.1.0-chained.json");
	assert_int_equal(json_array_size(json_object_get(prev, "interfaces")), 1);
}

/* Addresses alone, in the shape of each version. */
static void ipam_is(enum cni_version version, bool subnet_router, unsigned count, const char *want)
{
	struct proto_address addresses[] = { address_of("10.0.1.17/32", "10.0.1.10"),
					     address_of("2001:db8::17/128", "fe80::1") };
	const struct ipam_result result = {
		.version = version, .subnet_router = subnet_router, .address_count = count, .addresses = addresses
	};
	_cleanup_free_ char *text = NULL;

	assert_int_equal(prefix_parse("10.0.1.0/24", &addresses[0].subnet), 0);
	assert_int_equal(ipaddr_parse("10.0.1.1", &addresses[0].router), 0);
	assert_int_equal(prefix_parse("2001:db8::/64", &addresses[1].subnet), 0);
	text = ipam_result_print(&result);
	assert_string_equal(text, want);
}

static void test_ipam_result_print__every_version__cni_d8(void **state)
{
	(void)state;
	for (unsigned v = 0; v < CNI_VERSION_COUNT; v++) {
		char want[256];

		(void)snprintf(
			want, sizeof(want),
			"{\"cniVersion\":\"%s\",\"ips\":[{%s\"address\":\"10.0.1.17/24\",\"gateway\":\"10.0.1.1\"}],"
			"\"routes\":[{\"dst\":\"0.0.0.0/0\"}]}",
			cni_version_name((enum cni_version)v), v < CNI_1_0_0 ? "\"version\":\"4\"," : "");
		ipam_is((enum cni_version)v, true, 1, want);
	}
	ipam_is(CNI_1_1_0, false, 2,
		"{\"cniVersion\":\"1.1.0\",\"ips\":[{\"address\":\"10.0.1.17/24\",\"gateway\":\"10.0.1.10\"},"
		"{\"address\":\"2001:db8::17/64\",\"gateway\":\"fe80::1\"}],"
		"\"routes\":[{\"dst\":\"0.0.0.0/0\"},{\"dst\":\"::/0\"}]}");
	/* The router of an IPv6 subnet announces itself. */
	ipam_is(CNI_1_1_0, true, 2,
		"{\"cniVersion\":\"1.1.0\",\"ips\":[{\"address\":\"10.0.1.17/24\",\"gateway\":\"10.0.1.1\"},"
		"{\"address\":\"2001:db8::17/64\"}],\"routes\":[{\"dst\":\"0.0.0.0/0\"}]}");
}

static void test_cni_result_print__not_utf8(void **state)
{
	const struct proto_address v4 = address_of("10.0.1.17/32", "169.254.1.1");
	struct cni_result result = sample(CNI_1_1_0, &v4, 1);

	(void)state;
	result.sandbox = "/run/\xff";
	assert_null(cni_result_print(&result));
}

static void test_cnierr_print__shape(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct cnierr cnierr;

	(void)state;
	assert_int_equal(cnierr_set(&cnierr, CNI_INVALID_CONFIG, "do it right", "'%s' is \xff", "x"), -1);
	text = cnierr_print(&cnierr, "1.0.0");
	assert_string_equal(text,
			    "{\"cniVersion\":\"1.0.0\",\"code\":7,\"msg\":\"'x' is ?\",\"details\":\"do it right\"}");
}

static void test_cnierr_reply__every_reason_and_class(void **state)
{
	static const enum cni_code want[FAIL_REASON_COUNT] = {
		[FAIL_NONE] = CNI_TRY_AGAIN,
		[FAIL_SUBNET_FULL] = CNI_SUBNET_EXHAUSTED,
		[FAIL_SUBNET_FRAGMENTED] = CNI_SUBNET_EXHAUSTED,
		[FAIL_NIC_LIMIT] = CNI_NODE_LIMIT,
		[FAIL_THROTTLED] = CNI_TRY_AGAIN,
		[FAIL_PERMISSION] = CNI_CLOUD_PERMISSION,
		[FAIL_METADATA] = CNI_TRY_AGAIN,
		[FAIL_COOLING] = CNI_TRY_AGAIN,
		[FAIL_STARTING] = CNI_TRY_AGAIN,
		[FAIL_PENDING] = CNI_TRY_AGAIN,
		[FAIL_STATE] = CNI_TRY_AGAIN,
		[FAIL_PAUSED] = CNI_TRY_AGAIN,
	};

	(void)state;
	for (unsigned r = 0; r < FAIL_REASON_COUNT; r++) {
		struct proto_reply reply = { .reason = (enum fail_reason)r };
		struct cnierr cnierr = { 0 };

		(void)err_set(&reply.error, ERR_EXHAUSTED, "ipamd", "none");
		err_set_ident(&reply.error, "CloudWord");
		assert_int_equal(cnierr_reply(&cnierr, "no address", &reply), -1);
		assert_int_equal(cnierr.code, want[r]);
		assert_string_equal(cnierr.msg, "no address: none (CloudWord)");
		assert_true(cnierr.details[0]);
	}
	for (unsigned c = ERR_NONE + 1; c < ERR_CLASS_COUNT; c++) {
		struct proto_reply reply = { .ok = false };
		struct cnierr cnierr = { 0 };

		(void)err_set(&reply.error, (enum err_class)c, "ipamd", "no");
		(void)cnierr_reply(&cnierr, "x", &reply);
		assert_true(cnierr.code != CNI_OK && cnierr.details[0]);
		(void)cnierr_daemon(&cnierr, "x", &reply.error);
		assert_true(cnierr.code != CNI_OK && cnierr.details[0]);
		(void)cnierr_kernel(&cnierr, "x", &reply.error);
		assert_int_equal(cnierr.code, c == ERR_RETRY || c == ERR_EXHAUSTED ? CNI_TRY_AGAIN : CNI_KERNEL);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		check_unit_test(test_cni_result_print__every_version__cni_d8),
		check_unit_test(test_cni_result_print__ipv6),
		check_unit_test(test_cni_result_print__two_families),
		check_unit_test(test_cni_result_print__no_mtu_known),
		check_unit_test(test_cni_result_print__routes_as_configured),
		check_unit_test(test_cni_result_print__behind_another__cni_d2_16),
		check_unit_test(test_ipam_result_print__every_version__cni_d8),
		check_unit_test(test_cni_result_print__not_utf8),
		check_unit_test(test_cnierr_print__shape),
		check_unit_test(test_cnierr_reply__every_reason_and_class),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
