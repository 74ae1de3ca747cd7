/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the socket as the tests of its codec take them, and the refusals that they expect. */
#ifndef TESTS_UNIT_PROTO_SAMPLES_H
#define TESTS_UNIT_PROTO_SAMPLES_H

#include <string.h>

#include "berth/err.h"
#include "berth/proto.h"
#include "tests/check.h"

static inline struct proto_request sample_request(enum proto_op op)
{
	return (struct proto_request){
		.op = op,
		.key = { .network = "berth", .container = "3f00aa", .ifname = "eth0" },
		.pod = { .namespace = "default", .name = "web-0", .uid = "11-22" },
		.netns = "/run/netns/cni-1",
		.timeout_ms = 60000,
		.pause = PAUSE_RELEASES,
	};
}

static inline void append_address(struct proto_reply *reply, const char *address, const char *gateway)
{
	struct proto_address *to = &reply->addresses[reply->address_count++];

	assert_int_equal(prefix_parse(address, &to->address), 0);
	assert_int_equal(ipaddr_parse(gateway, &to->gateway), 0);
}

static inline struct proto_reply sample_reply(void)
{
	struct proto_reply reply = { .ok = true, .mtu = 9001, .host_ifname = "bth0a1b2c3d4e5" };

	append_address(&reply, "10.0.1.17/32", "169.254.1.1");
	return reply;
}

static inline void decode_request_fails(const char *line, enum err_class class, const char *part)
{
	struct proto_request request;
	struct err err = { 0 };

	memset(&request, 0x5a, sizeof(request));
	assert_int_equal(proto_request_decode(line, strlen(line), &request, &err), -1);
	assert_int_equal(err.class, class);
	if (!strstr(err.msg, part))
		fail_msg("'%s' does not tell '%s'", err.msg, part);
	assert_int_equal(((const uint8_t *)&request)[0], 0x5a);
}

static inline void decode_reply_fails(const char *line, const char *part)
{
	struct proto_reply reply = { 0 };
	struct err err = { 0 };

	assert_int_equal(proto_reply_decode(line, strlen(line), &reply, &err), -1);
	assert_int_equal(err.class, ERR_PROTOCOL);
	if (!strstr(err.msg, part))
		fail_msg("'%s' does not tell '%s'", err.msg, part);
}

#endif
