/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of GC, STATUS, delegated leases and named host ends. */
#include "berth/proto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "berth/str.h"
#include "tests/unit/proto_samples.h"

static void test_proto_request_encode__gc(void **state)
{
	uint64_t valid[] = { 0x0a1b2c3d4e5f6071, UINT64_MAX };
	struct proto_request request = { .op = PROTO_GC, .since_us = 12, .valid = valid, .valid_count = 2 };
	_cleanup_request_ struct proto_request back = { 0 };
	_cleanup_free_ char *text = NULL;
	size_t size;

	(void)state;
	(void)str_copy(request.key.network, sizeof(request.key.network), "berth");
	text = proto_request_encode(&request, &size);
	assert_string_equal(text, "{\"v\":1,\"op\":\"gc\",\"network\":\"berth\",\"since_us\":12,\"count\":2,"
				  "\"valid\":[\"0a1b2c3d4e5f6071\",\"ffffffffffffffff\"]}\n");
	assert_int_equal(proto_request_decode(text, size, &back, NULL), 0);
	assert_string_equal(back.key.network, "berth");
	assert_int_equal(back.since_us, 12);
	assert_int_equal(back.valid_count, 2);
	assert_memory_equal(back.valid, valid, sizeof(valid));
}

/* As many as there may be fit the line; one more is refused. */
static void test_proto_request_encode__gc_of_the_most(void **state)
{
	static uint64_t valid[PROTO_GC_KEYS_MAX + 1];
	struct proto_request request = { .op = PROTO_GC, .since_us = INT64_MAX, .valid = valid };
	_cleanup_request_ struct proto_request back = { 0 };
	_cleanup_free_ char *text = NULL, *over = NULL;
	struct err err;
	size_t size;

	(void)state;
	memset(request.key.network, 'n', sizeof(request.key.network) - 1);
	memset(valid, 0xff, sizeof(valid));
	request.valid_count = PROTO_GC_KEYS_MAX;
	text = proto_request_encode(&request, &size);
	assert_non_null(text);
	assert_int_equal(proto_request_decode(text, size, &back, NULL), 0);
	assert_int_equal(back.valid_count, PROTO_GC_KEYS_MAX);
	request.valid_count++;
	over = proto_request_encode(&request, &size);
	assert_true(!over || proto_request_decode(over, size, &back, &err) < 0);
}

/* A list that lost a part of itself must not free what that part named. */
static void test_proto_request_decode__gc_that_was_cut(void **state)
{
	(void)state;
#define GC "{\"v\":1,\"op\":\"gc\",\"network\":\"n\","
	decode_request_fails(GC "\"count\":2,\"valid\":[\"0a1b2c3d4e5f6071\"]}", ERR_PROTOCOL, "'count' says 2");
	decode_request_fails(GC "\"count\":1,\"valid\":[]}", ERR_PROTOCOL, "'count' says 1");
	decode_request_fails(GC "\"valid\":[]}", ERR_PROTOCOL, "'count'");
	decode_request_fails(GC "\"count\":1}", ERR_PROTOCOL, "'count' says 1");
	decode_request_fails(GC "\"count\":1,\"valid\":[\"0a1b2c3d4e5f607\"]}", ERR_PROTOCOL, "hash");
	decode_request_fails(GC "\"count\":1,\"valid\":[\"0a1b2c3d4e5f607g\"]}", ERR_PROTOCOL, "hash");
	decode_request_fails(GC "\"count\":1,\"valid\":[7]}", ERR_PROTOCOL, "hash");
	decode_request_fails("{\"v\":1,\"op\":\"gc\",\"network\":\"-\",\"count\":0,\"valid\":[]}", ERR_INVALID, "-");
#undef GC
}

static void test_proto_request_encode__wiring_of_an_add(void **state)
{
	struct proto_request request = sample_request(PROTO_ADD), back;
	_cleanup_free_ char *text = NULL;
	size_t size;

	(void)state;
	(void)str_copy(request.host_ifname, sizeof(request.host_ifname), "cali0a1b2c3d4e5");
	request.delegated = true;
	text = proto_request_encode(&request, &size);
	assert_int_equal(proto_request_decode(text, size, &back, NULL), 0);
	assert_string_equal(back.host_ifname, "cali0a1b2c3d4e5");
	assert_true(back.delegated);
	decode_request_fails("{\"v\":1,\"op\":\"add\",\"network\":\"n\",\"container\":\"c\",\"ifname\":\"e\","
			     "\"host_ifname\":\"a/b\"}",
			     ERR_INVALID, "'host_ifname'");
	decode_request_fails("{\"v\":1,\"op\":\"add\",\"network\":\"n\",\"container\":\"c\",\"ifname\":\"e\","
			     "\"host_ifname\":\"sixteen-letters-\"}",
			     ERR_INVALID, "'host_ifname'");
}

static void test_proto_reply_encode__delegated(void **state)
{
	struct proto_reply reply = sample_reply(), back;
	_cleanup_free_ char *text = NULL;
	char buf[PREFIX_STRLEN];
	size_t size;

	(void)state;
	reply.delegated = true;
	assert_int_equal(prefix_parse("10.0.1.0/24", &reply.addresses[0].subnet), 0);
	assert_int_equal(ipaddr_parse("10.0.1.1", &reply.addresses[0].router), 0);
	text = proto_reply_encode(&reply, &size);
	assert_int_equal(proto_reply_decode(text, size, &back, NULL), 0);
	assert_true(back.delegated);
	assert_string_equal(prefix_str(&back.addresses[0].subnet, buf), "10.0.1.0/24");
	assert_string_equal(ipaddr_str(&back.addresses[0].router, buf), "10.0.1.1");
	decode_reply_fails("{\"v\":1,\"ok\":true,\"addresses\":[{\"address\":\"10.0.1.2/32\",\"gateway\":\"10.0.1.1\","
			   "\"subnet\":\"fe80::/64\"}]}",
			   "'subnet'");
	decode_reply_fails("{\"v\":1,\"ok\":true,\"addresses\":[{\"address\":\"10.0.1.2/32\",\"gateway\":\"10.0.1.1\","
			   "\"router\":\"fe80::1\"}]}",
			   "'router'");
}

static void test_proto_reply_encode__missing(void **state)
{
	struct proto_reply reply = sample_reply(), back;
	_cleanup_free_ char *text = NULL;
	char line[PROTO_MISSING_SIZE + 128], longer[PROTO_MISSING_SIZE + 1];
	size_t size;

	(void)state;
	(void)str_copy(reply.missing, sizeof(reply.missing), "port 80/tcp of the node");
	text = proto_reply_encode(&reply, &size);
	assert_non_null(strstr(text, ",\"missing\":\"port 80/tcp of the node\""));
	assert_int_equal(proto_reply_decode(text, size, &back, NULL), 0);
	assert_string_equal(back.missing, reply.missing);
	/* A later release may have more to tell. */
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	(void)snprintf(line, sizeof(line),
		       "{\"v\":1,\"ok\":true,\"address\":\"10.0.1.2/32\",\"gateway\":\"10.0.1.1\",\"missing\":\"%s\"}",
		       longer);
	assert_int_equal(proto_reply_decode(line, strlen(line), &back, NULL), 0);
	assert_int_equal(strlen(back.missing), PROTO_MISSING_SIZE - 1);
	decode_reply_fails("{\"v\":1,\"ok\":true,\"address\":\"10.0.1.2/32\",\"gateway\":\"10.0.1.1\",\"missing\":7}",
			   "'missing'");
}

static void test_proto_reply_encode__gc_and_status(void **state)
{
	struct proto_reply gc = { .ok = true, .swept = true, .freed = 3, .kept = 1, .more = true }, back;
	struct proto_reply failed = { .swept = true, .freed = 2, .limited = true };
	_cleanup_free_ char *text = NULL, *failed_text = NULL;
	size_t size;

	(void)state;
	text = proto_reply_encode(&gc, &size);
	assert_string_equal(text, "{\"v\":1,\"ok\":true,\"freed\":3,\"kept\":1,\"more\":true}\n");
	assert_int_equal(proto_reply_decode(text, size, &back, NULL), 0);
	assert_true(back.swept && back.more && !back.limited);
	assert_int_equal(back.freed, 3);
	assert_int_equal(back.kept, 1);
	(void)err_set(&failed.error, ERR_RETRY, "x", "y");
	failed_text = proto_reply_encode(&failed, &size);
	assert_int_equal(proto_reply_decode(failed_text, size, &back, NULL), 0);
	assert_true(!back.ok && back.swept && !back.more && back.limited);
	assert_int_equal(back.freed, 2);
	decode_reply_fails("{\"v\":1,\"ok\":true,\"freed\":-1}", "'freed'");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		check_unit_test(test_proto_request_encode__gc),
		check_unit_test(test_proto_request_encode__gc_of_the_most),
		check_unit_test(test_proto_request_decode__gc_that_was_cut),
		check_unit_test(test_proto_request_encode__wiring_of_an_add),
		check_unit_test(test_proto_reply_encode__delegated),
		check_unit_test(test_proto_reply_encode__missing),
		check_unit_test(test_proto_reply_encode__gc_and_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
