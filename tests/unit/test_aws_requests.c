/* SPDX-License-Identifier: Apache-2.0 */
/* What EC2 is asked for, to the letter: units of both families, and the tokens of one attach. */
#include "berth/cloud.h"
#include "berth/err.h"
#include "cloud/aws/provider.h"
#include "stub.h"

#define PRIMARY "02:11:22:33:44:55"
#define MACS    "network/interfaces/macs/" PRIMARY "/"
#define BODIES  16
#define TOKEN   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde" /* as long as one can be: 63 */

#define OWN                                                                                                            \
	"<DescribeNetworkInterfacesResponse><networkInterfaceSet><item><networkInterfaceId>eni-0a</"                   \
	"networkInterfaceId>"                                                                                          \
	"<subnetId>subnet-0a</subnetId><attachment><instanceId>i-0a</instanceId><deviceIndex>0</deviceIndex>"          \
	"</attachment></item></networkInterfaceSet></DescribeNetworkInterfacesResponse>"
#define SHORT                                                                                                          \
	"<Response><Errors><Error><Code>InsufficientFreeAddressesInSubnet</Code><Message>full</Message></Error>"       \
	"</Errors><RequestID>r</RequestID></Response>"

static const struct {
	const char *path, *body;
} items[] = {
	{ "instance-id", "i-0a" },
	{ "instance-type", "m5.large" },
	{ "placement/availability-zone", "us-west-2a" },
	{ "mac", PRIMARY },
	{ "local-ipv4", "10.0.1.10" },
	{ MACS, "subnet-ipv6-cidr-blocks" },
	{ MACS "interface-id", "eni-0a" },
	{ MACS "subnet-id", "subnet-0a" },
	{ MACS "subnet-ipv4-cidr-block", "10.0.1.0/24" },
	{ MACS "subnet-ipv6-cidr-blocks", "2600:1f14:aa:bb00::/64" },
	{ MACS "vpc-ipv4-cidr-blocks", "10.0.0.0/16" },
};

struct world {
	struct stub stub;
	unsigned body_count;
	char *bodies[BODIES]; /* owned; of what EC2 was asked for, but for lists */
	struct cloud *cloud;
	char url[64];
	struct err err;
};

static void metadata(const char *request, struct stub_answer *answer)
{
	char line[256];

	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		(void)snprintf(line, sizeof(line), "GET /latest/meta-data/%s HTTP/1.1\r\n", items[i].path);
		if (str_starts(request, line)) {
			stub_reply(answer, "200 OK", "Content-Type: text/plain\r\n", items[i].body);
			return;
		}
	}
	stub_reply(answer, "404 Not Found", "", "");
}

static void answer_all(struct stub *stub, unsigned number, const char *request, struct stub_answer *answer)
{
	const char *body = strstr(request, "\r\n\r\n") + 4;
	struct world *w = stub->ctx;

	(void)number;
	if (str_starts(request, "PUT ")) {
		stub_reply(answer, "200 OK", "Content-Type: text/plain\r\n", "TOKEN==");
	} else if (str_starts(request, "GET ")) {
		metadata(request, answer);
	} else if (strstr(body, "Action=DescribeNetworkInterfaces")) {
		stub_reply(answer, "200 OK", "Content-Type: text/xml\r\n", OWN);
	} else {
		if (w->body_count < BODIES)
			w->bodies[w->body_count++] = strdup(body);
		stub_reply(answer, "400 Bad Request", "Content-Type: text/xml\r\n", SHORT);
	}
}

static struct world *current;

static const char *fake_env(const char *name)
{
	if (str_equal(name, "AWS_ENDPOINT_URL_EC2") || str_equal(name, "AWS_EC2_METADATA_SERVICE_ENDPOINT"))
		return current->url;
	if (str_equal(name, "AWS_REGION"))
		return "us-west-2";
	return str_equal(name, "AWS_ACCESS_KEY_ID") || str_equal(name, "AWS_SECRET_ACCESS_KEY") ? "x" : NULL;
}

static int setup(void **state)
{
	const struct cloud_config config = {
		.getenv = fake_env, .serves = { true, true }, .prefixes = true, .no_discovery = true
	};
	struct world *w = calloc(1, sizeof(*w));

	if (!w || check_fds_setup(state) != 0)
		return -1;
	current = w;
	stub_start(&w->stub, answer_all, w);
	(void)snprintf(w->url, sizeof(w->url), "http://127.0.0.1:%u", w->stub.port);
	assert_int_equal(cloud_open("aws", &config, &w->cloud, NULL), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	cloud_free(w->cloud);
	stub_stop(&w->stub);
	for (unsigned i = 0; i < w->body_count; i++)
		free(w->bodies[i]);
	free(w);
	return check_fds_teardown(state);
}

static int64_t soon(void)
{
	return clock_now(&clock_boot) + 20 * USEC_PER_SEC;
}

#define ASKED(action) "Action=" action "&Version=2016-11-15&NetworkInterfaceId=eni-0a&"

static void test_assign__parameters(void **state)
{
	static const struct {
		struct cloud_want wants[IP_FAMILIES];
		const char *body;
	} rows[] = {
		{ { { 1, 32 } }, ASKED("AssignPrivateIpAddresses") "SecondaryPrivateIpAddressCount=1" },
		{ { { 1, 28 } }, ASKED("AssignPrivateIpAddresses") "Ipv4PrefixCount=1" },
		{ { { 0, 0 }, { 1, 128 } }, ASKED("AssignIpv6Addresses") "Ipv6AddressCount=1" },
		{ { { 0, 0 }, { 1, 80 } }, ASKED("AssignIpv6Addresses") "Ipv6PrefixCount=1" },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cloud_nic nic;

		assert_int_equal(w->cloud->ops->assign(w->cloud, "eni-0a", rows[i].wants, soon(), &nic, &w->err), -1);
		assert_int_equal(w->err.class, ERR_EXHAUSTED);
		assert_int_equal(w->body_count, i + 1);
		assert_string_equal(w->bodies[i], rows[i].body);
	}
}

/* Addresses and prefixes of a family go in one call, and are named in different calls when they are asked back. */
static void test_release_and_recover__parameters(void **state)
{
	static const char *const texts[] = { "2600::7/128", "10.0.1.16/28", "10.0.1.7/32",
					     "2600:1f14:aa:bb00:1768::/80", "10.0.1.8/32" };
	struct prefix blocks[ARRAY_SIZE(texts)];
	struct world *w = *state;
	struct cloud_nic nic;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_int_equal(prefix_parse(texts[i], &blocks[i]), 0);
	assert_int_equal(w->cloud->ops->release(w->cloud, "eni-0a", blocks, 5, soon(), &w->err), -1);
	assert_int_equal(w->cloud->ops->release(w->cloud, "eni-0a", &blocks[3], 1, soon(), &w->err), -1);
	assert_int_equal(w->cloud->ops->recover(w->cloud, "eni-0a", blocks, 5, soon(), &nic, &w->err), -1);
	assert_int_equal(w->cloud->ops->recover(w->cloud, "eni-0a", &blocks[3], 1, soon(), &nic, &w->err), -1);
	assert_int_equal(w->body_count, 4);
	assert_string_equal(w->bodies[0],
			    ASKED("UnassignPrivateIpAddresses") "Ipv4Prefix.1=10.0.1.16%2F28&PrivateIpAddress.1=10.0.1."
								"7&PrivateIpAddress.2=10.0.1.8");
	assert_string_equal(w->bodies[1],
			    ASKED("UnassignIpv6Addresses") "Ipv6Prefix.1=2600%3A1f14%3Aaa%3Abb00%3A1768%3A%3A%2F80");
	assert_string_equal(
		w->bodies[2],
		ASKED("AssignPrivateIpAddresses") "PrivateIpAddress.1=10.0.1.7&PrivateIpAddress.2=10.0.1.8");
	assert_string_equal(w->bodies[3],
			    ASKED("AssignIpv6Addresses") "Ipv6Prefix.1=2600%3A1f14%3Aaa%3Abb00%3A1768%3A%3A%2F80");
}

/* One parameter of @body, to be freed. */
static char *parameter(const char *body, const char *name)
{
	const char *at = strstr(body, name);

	if (!at)
		return strdup("none");
	at += strlen(name);
	return strndup(at, strcspn(at, "&"));
}

static void assert_parameter(const char *body, const char *name, const char *value)
{
	_cleanup_free_ char *text = parameter(body, name);

	assert_string_equal(text, value);
}

/* Each request of an attach differs from the one before, and so does its token; the tag that finds it again stays. */
static void test_attach__every_try_has_its_own_token(void **state)
{
	static const char *const counts[] = { "4", "2", "1", "none" };
	struct cloud_attach want = { .slot = 1, .wants = { { 4, 28 }, { 1, 80 } }, .token = TOKEN };
	struct world *w = *state;
	struct cloud_nic nic;

	assert_int_equal(w->cloud->ops->attach(w->cloud, &want, soon(), &nic, &w->err), -1);
	assert_int_equal(w->err.class, ERR_EXHAUSTED);
	assert_int_equal(w->body_count, ARRAY_SIZE(counts));
	for (unsigned i = 0; i < w->body_count; i++) {
		_cleanup_free_ char *token = parameter(w->bodies[i], "&ClientToken=");

		assert_true(strlen(token) <= 64);
		for (unsigned j = 0; j < i; j++) {
			_cleanup_free_ char *before = parameter(w->bodies[j], "&ClientToken=");

			assert_string_not_equal(token, before);
		}
		assert_parameter(w->bodies[i], "Tag.3.Value=", TOKEN);
		assert_parameter(w->bodies[i], "&Ipv4PrefixCount=", counts[i]);
		assert_parameter(w->bodies[i], "&Ipv6PrefixCount=", "1");
		assert_null(strstr(w->bodies[i], "AddressCount"));
	}
	assert_parameter(w->bodies[0], "&ClientToken=", TOKEN);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_assign__parameters),
		T(test_release_and_recover__parameters),
		T(test_attach__every_try_has_its_own_token),
	};

	return cmocka_run_group_tests_name("aws_requests", tests, NULL, NULL);
}
