/* SPDX-License-Identifier: Apache-2.0 */
#include "berth/proto.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

#include "berth/clock.h"
#include "berth/str.h"
#include "tests/unit/proto_samples.h"

#define HUNG_US   (100 * USEC_PER_MSEC) /* deadline of calls that must run into it */
#define ANSWER_US (20 * USEC_PER_SEC)   /* deadline of calls that must not */

static struct proto_reply dual_reply(void)
{
	struct proto_reply reply = sample_reply();

	append_address(&reply, "2600::1/128", "fe80::1");
	return reply;
}

static void has_address(const struct proto_reply *reply, unsigned i, const char *address, const char *gateway)
{
	char text[PREFIX_STRLEN];

	assert_true(i < reply->address_count);
	assert_string_equal(prefix_str(&reply->addresses[i].address, text), address);
	assert_string_equal(ipaddr_str(&reply->addresses[i].gateway, text), gateway);
}

/* ---- requests ---- */

static void test_proto_request_encode__golden(void **state)
{
	struct proto_request request = sample_request(PROTO_ADD);
	_cleanup_free_ char *text = NULL;
	size_t size = 0;

	(void)state;
	text = proto_request_encode(&request, &size);
	assert_string_equal(text, "{\"v\":1,\"op\":\"add\",\"network\":\"berth\",\"container\":\"3f00aa\","
				  "\"ifname\":\"eth0\",\"netns\":\"/run/netns/cni-1\",\"pod_namespace\":\"default\","
				  "\"pod_name\":\"web-0\",\"pod_uid\":\"11-22\",\"timeout_ms\":60000}\n");
	assert_int_equal(size, strlen(text));
}

static void test_proto_request_encode__round_trip_of_every_op(void **state)
{
	(void)state;
	for (unsigned op = 0; op < PROTO_OP_COUNT; op++) {
		struct proto_request request = sample_request((enum proto_op)op), back;
		_cleanup_free_ char *text = NULL;
		struct err err;
		size_t size;

		text = proto_request_encode(&request, &size);
		assert_non_null(text);
		assert_int_equal(proto_request_decode(text, size, &back, &err), 0);
		assert_int_equal(back.op, op);
		assert_int_equal(back.timeout_ms, 60000);
		assert_string_equal(back.pod.name, op == PROTO_ADD ? "web-0" : "");
		bool has_key = op != PROTO_STATUS && op != PROTO_STATE && op != PROTO_PAUSE && op != PROTO_GC;

		assert_string_equal(back.key.ifname, has_key ? "eth0" : "");
		assert_string_equal(back.netns, has_key ? "/run/netns/cni-1" : "");
		assert_int_equal(back.pause, op == PROTO_PAUSE ? PAUSE_RELEASES : PAUSE_NONE);
	}
}

static void fill(char *text, size_t size, char c)
{
	memset(text, c, size - 1);
	text[size - 1] = '\0';
}

static void test_proto_request_encode__longest_fits(void **state)
{
	struct proto_request request = { .op = PROTO_ADD, .timeout_ms = 86400000 }, back;
	_cleanup_free_ char *text = NULL;
	struct err err;
	size_t size;

	(void)state;
	fill(request.key.network, sizeof(request.key.network), 'n');
	fill(request.key.container, sizeof(request.key.container), 'c');
	fill(request.key.ifname, sizeof(request.key.ifname), '"');
	/* Control characters are what JSON makes longest. */
	fill(request.netns, sizeof(request.netns), '\1');
	fill(request.pod.namespace, sizeof(request.pod.namespace), '\1');
	fill(request.pod.name, sizeof(request.pod.name), '\1');
	fill(request.pod.uid, sizeof(request.pod.uid), '\1');
	text = proto_request_encode(&request, &size);
	assert_non_null(text);
	assert_int_equal(proto_request_decode(text, size, &back, &err), 0);
	assert_memory_equal(&request, &back, sizeof(back));
}

static void test_proto_request_encode__not_utf8(void **state)
{
	struct proto_request request = sample_request(PROTO_ADD);

	(void)state;
	request.netns[3] = (char)0xff;
	assert_null(proto_request_encode(&request, NULL));
}

static void test_proto_request_decode__every_truncation_is_refused(void **state)
{
	struct proto_request request = sample_request(PROTO_ADD), back;
	_cleanup_free_ char *text = NULL;
	size_t size;

	(void)state;
	text = proto_request_encode(&request, &size);
	assert_non_null(text);
	/* The newline belongs to the transport: the line is whole from its last brace on. */
	for (size_t len = 0; len < size - 1; len++) {
		/* An own block of the exact size, so that a read beyond it is seen by the sanitizer. */
		_cleanup_free_ char *cut = malloc(len + !len);
		struct err err = { 0 };

		assert_non_null(cut);
		memcpy(cut, text, len);
		assert_int_equal(proto_request_decode(cut, len, &back, &err), -1);
		assert_int_equal(err.class, ERR_PROTOCOL);
	}
	assert_int_equal(proto_request_decode(text, size - 1, &back, NULL), 0);
}

static void test_proto_request_decode__oversize(void **state)
{
	char line[PROTO_REQUEST_MAX + 2];
	const char text[] = { "{\"v\":1,\"op\":\"status\"}" };
	struct proto_request request;
	struct err err = { 0 };

	(void)state;
	memset(line, ' ', sizeof(line));
	memcpy(line, text, sizeof(text) - 1);
	assert_int_equal(proto_request_decode(line, PROTO_REQUEST_MAX, &request, &err), 0);
	assert_int_equal(proto_request_decode(line, PROTO_REQUEST_MAX + 1, &request, &err), -1);
	assert_int_equal(err.class, ERR_PROTOCOL);
}

static void test_proto_request_decode__unknown_version(void **state)
{
	(void)state;
	decode_request_fails("{\"v\":2,\"op\":\"status\"}", ERR_PROTOCOL, "version 2");
	decode_request_fails("{\"v\":\"1\",\"op\":\"status\"}", ERR_PROTOCOL, "'v'");
	decode_request_fails("{\"op\":\"status\"}", ERR_PROTOCOL, "'v'");
}

static void test_proto_request_decode__unknown_op(void **state)
{
	(void)state;
	decode_request_fails("{\"v\":1,\"op\":\"fly\"}", ERR_PROTOCOL, "'fly'");
	decode_request_fails("{\"v\":1,\"op\":7}", ERR_PROTOCOL, "'op'");
	decode_request_fails("{\"v\":1}", ERR_PROTOCOL, "'op'");
}

static void test_proto_request_decode__unknown_fields_are_ignored(void **state)
{
	const char *line =
		"{\"v\":1,\"op\":\"del\",\"network\":\"n\",\"container\":\"c\",\"ifname\":\"e\",\"color\":[1,{}]}";
	struct proto_request request;
	struct err err;

	(void)state;
	assert_int_equal(proto_request_decode(line, strlen(line), &request, &err), 0);
	assert_int_equal(request.op, PROTO_DEL);
	assert_string_equal(request.key.network, "n");
	assert_string_equal(request.key.container, "c");
	assert_string_equal(request.key.ifname, "e");
	assert_string_equal(request.netns, "");
}

static void test_proto_request_decode__bad_fields(void **state)
{
	_cleanup_strbuf_ struct strbuf line = { 0 };

	(void)state;
	decode_request_fails("[]", ERR_PROTOCOL, "no JSON object");
	decode_request_fails("{\"v\":1,\"op\":\"del\",\"network\":\"n\",\"container\":\"c\"}", ERR_PROTOCOL,
			     "'ifname'");
	decode_request_fails("{\"v\":1,\"op\":\"del\",\"network\":\"n\",\"container\":3,\"ifname\":\"e\"}",
			     ERR_PROTOCOL, "'container'");
	decode_request_fails("{\"v\":1,\"op\":\"del\",\"network\":\"n\",\"container\":\"../c\",\"ifname\":\"e\"}",
			     ERR_INVALID, "'../c'");
	decode_request_fails("{\"v\":1,\"op\":\"add\",\"network\":\"n\",\"container\":\"c\",\"ifname\":\"e\","
			     "\"timeout_ms\":-1}",
			     ERR_PROTOCOL, "'timeout_ms'");
	decode_request_fails("{\"v\":1,\"op\":\"status\"} x", ERR_PROTOCOL, "JSON");
	decode_request_fails(
		"{\"v\":1,\"op\":\"del\",\"network\":\"n\",\"container\":\"c\",\"ifname\":\"e456789012345678\"}",
		ERR_INVALID, "'ifname'");
	strbuf_printf(&line, "{\"v\":1,\"op\":\"del\",\"network\":\"n\",\"container\":\"%0128d\",\"ifname\":\"e\"}", 0);
	decode_request_fails(line.text, ERR_INVALID, "'container'");
}

/* ---- replies ---- */

static void test_proto_reply_encode__golden(void **state)
{
	struct proto_reply reply = sample_reply();
	_cleanup_free_ char *text = NULL;

	(void)state;
	text = proto_reply_encode(&reply, NULL);
	assert_string_equal(text, "{\"v\":1,\"ok\":true,\"address\":\"10.0.1.17/32\",\"gateway\":\"169.254.1.1\","
				  "\"mtu\":9001,\"host_ifname\":\"bth0a1b2c3d4e5\"}\n");
}

static void test_proto_reply_encode__two_families(void **state)
{
	struct proto_reply reply = dual_reply(), back = { 0 };
	_cleanup_free_ char *text = NULL;
	struct err err;
	size_t size;

	(void)state;
	text = proto_reply_encode(&reply, &size);
	assert_string_equal(text, "{\"v\":1,\"ok\":true,\"address\":\"10.0.1.17/32\",\"gateway\":\"169.254.1.1\","
				  "\"mtu\":9001,\"host_ifname\":\"bth0a1b2c3d4e5\",\"addresses\":["
				  "{\"address\":\"10.0.1.17/32\",\"gateway\":\"169.254.1.1\"},"
				  "{\"address\":\"2600::1/128\",\"gateway\":\"fe80::1\"}]}\n");
	assert_int_equal(proto_reply_decode(text, size, &back, &err), 0);
	assert_int_equal(back.address_count, 2);
	has_address(&back, 0, "10.0.1.17/32", "169.254.1.1");
	has_address(&back, 1, "2600::1/128", "fe80::1");
	assert_int_equal(back.mtu, 9001);
	assert_string_equal(back.host_ifname, "bth0a1b2c3d4e5");
}

/* "addresses" counts when it is there, whatever "address" is. */
static void test_proto_reply_decode__one_address(void **state)
{
	static const char old[] =
		"{\"v\":1,\"ok\":true,\"address\":\"2600::1/128\",\"gateway\":\"fe80::1\",\"mtu\":1500}";
	static const char new[] = "{\"v\":1,\"ok\":true,\"address\":{\"of\":\"the moon\"},\"mtu\":1500,\"addresses\":["
				  "{\"address\":\"2600::1/128\",\"gateway\":\"fe80::1\",\"moon\":1}]}";
	struct proto_reply reply = { 0 };
	struct err err;

	(void)state;
	assert_int_equal(proto_reply_decode(old, sizeof(old) - 1, &reply, &err), 0);
	assert_int_equal(reply.address_count, 1);
	has_address(&reply, 0, "2600::1/128", "fe80::1");
	assert_int_equal(reply.mtu, 1500);
	reply = (struct proto_reply){ 0 };
	assert_int_equal(proto_reply_decode(new, sizeof(new) - 1, &reply, &err), 0);
	assert_int_equal(reply.address_count, 1);
	has_address(&reply, 0, "2600::1/128", "fe80::1");
	assert_int_equal(reply.mtu, 1500);
}

static void decode_addresses_fails(const char *addresses, const char *part)
{
	char line[512];

	(void)snprintf(line, sizeof(line),
		       "{\"v\":1,\"ok\":true,\"address\":\"10.0.0.1/32\",\"gateway\":\"169.254.1.1\",\"addresses\":%s}",
		       addresses);
	decode_reply_fails(line, part);
}

static void test_proto_reply_decode__bad_addresses(void **state)
{
	(void)state;
	decode_addresses_fails("{}", "'addresses'");
	decode_addresses_fails("[1]", "'addresses'");
	decode_addresses_fails("[{}]", "'address'");
	decode_addresses_fails("[{\"address\":\"10.0.0.1/32\"}]", "'gateway'");
	decode_addresses_fails("[{\"address\":\"10.0.0.0/24\",\"gateway\":\"169.254.1.1\"}]", "'10.0.0.0/24'");
	decode_addresses_fails("[{\"address\":\"2600::1/128\",\"gateway\":\"169.254.1.1\"}]", "'169.254.1.1'");
	decode_addresses_fails("[{\"address\":\"10.0.0.1/32\",\"gateway\":\"169.254.1.1\"},"
			       "{\"address\":\"2600::1/128\",\"gateway\":\"fe80::1\"},"
			       "{\"address\":\"2600::2/128\",\"gateway\":\"fe80::1\"}]",
			       "two of the family of 2600::2");
}

static void test_proto_reply_encode__plain_ok(void **state)
{
	struct proto_reply reply = { .ok = true }, back = { 0 };
	_cleanup_free_ char *text = NULL;
	struct err err;
	size_t size;

	(void)state;
	text = proto_reply_encode(&reply, &size);
	assert_string_equal(text, "{\"v\":1,\"ok\":true}\n");
	assert_int_equal(proto_reply_decode(text, size, &back, &err), 0);
	assert_true(back.ok);
	assert_int_equal(back.address_count, 0);
	proto_reply_done(&back);
}

static void test_proto_reply_encode__every_reason(void **state)
{
	(void)state;
	for (unsigned r = 0; r < FAIL_REASON_COUNT; r++) {
		struct proto_reply reply = { .ok = false, .reason = (enum fail_reason)r }, back = { 0 };
		_cleanup_free_ char *text = NULL;
		struct err err;
		size_t size;

		(void)err_set(&reply.error, ERR_EXHAUSTED, "test", "no address \"now\"");
		err_set_ident(&reply.error, "InsufficientFreeAddressesInSubnet");
		reply.error.retry_after_ms = 1500;
		text = proto_reply_encode(&reply, &size);
		assert_non_null(text);
		assert_true(r == FAIL_NONE || strstr(text, fail_reason_hint(reply.reason)));
		assert_int_equal(proto_reply_decode(text, size, &back, &err), 0);
		assert_false(back.ok);
		assert_int_equal(back.reason, r);
		assert_int_equal(back.error.class, ERR_EXHAUSTED);
		assert_string_equal(back.error.msg, "no address \"now\"");
		assert_string_equal(back.error.ident, "InsufficientFreeAddressesInSubnet");
		assert_int_equal(back.error.retry_after_ms, 1500);
		proto_reply_done(&back);
	}
}

static void test_proto_reply_encode__error_text_not_utf8(void **state)
{
	struct proto_reply reply = { .ok = false };
	_cleanup_free_ char *text = NULL;

	(void)state;
	(void)err_set(&reply.error, ERR_RETRY, "test", "said \xff\xfe.");
	text = proto_reply_encode(&reply, NULL);
	assert_non_null(text);
	assert_non_null(strstr(text, "said ??."));
}

static void test_proto_reply_encode__state(void **state)
{
	struct proto_reply reply = { .ok = true }, back = { 0 };
	_cleanup_free_ char *text = NULL;
	struct err err;
	size_t size;

	(void)state;
	reply.state = json_pack("{s:i,s:[s]}", "leased", 3, "nics", "eth0");
	assert_non_null(reply.state);
	text = proto_reply_encode(&reply, &size);
	assert_int_equal(proto_reply_decode(text, size, &back, &err), 0);
	assert_true(json_equal(reply.state, back.state));
	proto_reply_done(&reply);
	proto_reply_done(&back);
	assert_null(back.state);
	proto_reply_done(&back);
	proto_reply_done(NULL);
}

static void test_proto_reply_decode__every_truncation_is_refused(void **state)
{
	struct proto_reply replies[2] = { dual_reply(), { .ok = false, .reason = FAIL_SUBNET_FULL } };

	(void)state;
	(void)err_set(&replies[1].error, ERR_EXHAUSTED, "test", "none left");
	for (size_t i = 0; i < ARRAY_SIZE(replies); i++) {
		_cleanup_free_ char *text = NULL;
		size_t size;

		text = proto_reply_encode(&replies[i], &size);
		assert_non_null(text);
		for (size_t len = 0; len < size - 1; len++) {
			_cleanup_free_ char *cut = malloc(len + !len);
			struct proto_reply back = { 0 };
			struct err err = { 0 };

			assert_non_null(cut);
			memcpy(cut, text, len);
			assert_int_equal(proto_reply_decode(cut, len, &back, &err), -1);
			assert_int_equal(err.class, ERR_PROTOCOL);
		}
	}
}

static void test_proto_reply_decode__what_a_newer_daemon_may_say__aws_40_31(void **state)
{
	const char *line = "{\"v\":1,\"ok\":false,\"moon\":1,\"error\":{\"class\":\"TIRED\",\"reason\":\"moon\","
			   "\"msg\":\"full moon\",\"hint\":\"wait\"}}";
	struct proto_reply reply = { 0 };
	struct err err;

	(void)state;
	assert_int_equal(proto_reply_decode(line, strlen(line), &reply, &err), 0);
	assert_false(reply.ok);
	assert_int_equal(reply.error.class, ERR_RETRY);
	assert_int_equal(reply.reason, FAIL_NONE);
	assert_string_equal(reply.error.msg, "full moon");
}

static void test_proto_reply_decode__bad_fields(void **state)
{
	(void)state;
	decode_reply_fails("{\"v\":3,\"ok\":true}", "version 3");
	decode_reply_fails("{\"v\":1}", "'ok'");
	decode_reply_fails("{\"v\":1,\"ok\":1}", "'ok'");
	decode_reply_fails("{\"v\":1,\"ok\":false}", "'error'");
	decode_reply_fails("{\"v\":1,\"ok\":false,\"error\":{}}", "'class'");
	decode_reply_fails("{\"v\":1,\"ok\":true,\"state\":[]}", "'state'");
	decode_reply_fails("{\"v\":1,\"ok\":true,\"address\":\"10.0.0.0/24\",\"gateway\":\"169.254.1.1\"}",
			   "'10.0.0.0/24'");
	decode_reply_fails("{\"v\":1,\"ok\":true,\"address\":\"10.0.0.1/32\"}", "'gateway'");
	decode_reply_fails("{\"v\":1,\"ok\":true,\"address\":\"10.0.0.1/32\",\"gateway\":\"fe80::1\"}", "'fe80::1'");
	decode_reply_fails(
		"{\"v\":1,\"ok\":true,\"address\":\"10.0.0.1/32\",\"gateway\":\"169.254.1.1\",\"mtu\":65536}", "'mtu'");
	decode_reply_fails("{\"v\":1,\"ok\":true,\"address\":\"10.0.0.1/32\",\"gateway\":\"169.254.1.1\","
			   "\"host_ifname\":\"../all\"}",
			   "'../all'");
	decode_reply_fails("{\"v\":1,\"ok\":true,\"address\":\"10.0.0.1/32\",\"gateway\":\"169.254.1.1\","
			   "\"host_ifname\":\"b234567890123456\"}",
			   "'host_ifname'");
}

/* ---- pause ---- */

static void test_pause__each_word_there_and_back(void **state)
{
	(void)state;
	for (unsigned p = 0; p < PAUSE_COUNT; p++) {
		struct proto_request request = { .op = PROTO_PAUSE, .pause = (enum pause)p }, back;
		_cleanup_free_ char *text = NULL;
		struct err err;
		size_t size;

		text = proto_request_encode(&request, &size);
		assert_non_null(text);
		assert_int_equal(proto_request_decode(text, size, &back, &err), 0);
		assert_int_equal(back.pause, p);
	}
	assert_string_equal(pause_name((enum pause)99), "?");
}

static void test_pause__what_is_meant_must_be_said(void **state)
{
	static const struct {
		const char *line;
		enum err_class class;
	} rows[] = {
		{ "{\"v\":1,\"op\":\"pause\"}", ERR_PROTOCOL },
		{ "{\"v\":1,\"op\":\"pause\",\"what\":1}", ERR_PROTOCOL },
		{ "{\"v\":1,\"op\":\"pause\",\"what\":\"\"}", ERR_INVALID },
		{ "{\"v\":1,\"op\":\"pause\",\"what\":\"release\"}", ERR_INVALID },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct proto_request request;
		struct err err = { 0 };

		assert_int_equal(proto_request_decode(rows[i].line, strlen(rows[i].line), &request, &err), -1);
		assert_int_equal(err.class, rows[i].class);
	}
}

/* ---- names and keys ---- */

static void test_fail_reason_parse__every_name(void **state)
{
	(void)state;
	for (unsigned r = 0; r < FAIL_REASON_COUNT; r++) {
		enum fail_reason back;

		assert_int_equal(fail_reason_parse(fail_reason_name((enum fail_reason)r), &back), 0);
		assert_int_equal(back, r);
		assert_true((r == FAIL_NONE) == (*fail_reason_hint((enum fail_reason)r) == '\0'));
	}
	assert_int_equal(fail_reason_parse("moon", &(enum fail_reason){ 0 }), -EINVAL);
	assert_string_equal(fail_reason_name((enum fail_reason)99), "?");
	assert_string_equal(proto_op_name((enum proto_op)99), "?");
}

static void test_proto_host_ifname__known_values(void **state)
{
	struct lease_key key = { .network = "n", .container = "3f00aa", .ifname = "eth0" };
	char name[LEASE_IFNAME_SIZE], other[LEASE_IFNAME_SIZE];

	(void)state;
	/* FNV-1a-64 of "3f00aa/eth0", computed apart from this code. */
	proto_host_ifname(&key, name);
	assert_string_equal(name, "bth246e9722a23");
	/* Neither the network nor where the slash falls may matter or collide. */
	(void)str_copy(key.network, sizeof(key.network), "other");
	proto_host_ifname(&key, other);
	assert_string_equal(name, other);
	(void)str_copy(key.ifname, sizeof(key.ifname), "eth1");
	proto_host_ifname(&key, other);
	assert_string_not_equal(name, other);
}

static void test_proto_key_check__cases(void **state)
{
	static const struct {
		struct lease_key key;
		const char *bad; /* NULL: allowed */
	} cases[] = {
		{ { "berth", "3f", "eth0" }, NULL },     { { "b.e_r-th", "3f.a_-", "net1@x" }, NULL },
		{ { "", "3f", "eth0" }, "network" },     { { "-b", "3f", "eth0" }, "network" },
		{ { "b/r", "3f", "eth0" }, "network" },  { { "b", "", "eth0" }, "container" },
		{ { "b", ".3f", "eth0" }, "container" }, { { "b", "3f\xc3\xa9", "eth0" }, "container" },
		{ { "b", "3f", "" }, "interface" },      { { "b", "3f", "." }, "interface" },
		{ { "b", "3f", ".." }, "interface" },    { { "b", "3f", "a/b" }, "interface" },
		{ { "b", "3f", "a:b" }, "interface" },   { { "b", "3f", "a b" }, "interface" },
		{ { "b", "3f", "a\tb" }, "interface" },  { { "b", "3f", "a\xff" }, "interface" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = { 0 };
		int rc = proto_key_check(&cases[i].key, &err);

		assert_int_equal(rc, cases[i].bad ? -1 : 0);
		assert_int_equal(err.class, cases[i].bad ? ERR_INVALID : ERR_NONE);
		assert_true(!cases[i].bad || strstr(err.msg, cases[i].bad));
	}
}

/* ---- calls ---- */

enum answer { ANSWER_TEXT, CLOSE_AT_ONCE, REFUSE_UNREAD };

/* A listener that serves one connection the way a test wants it. */
struct listener {
	char path[108];
	int fd;
	enum answer how;
	const char *text; /* ANSWER_TEXT: sent in two parts; borrowed */
	char request[PROTO_REQUEST_MAX];
	pthread_t thread;
};

static void listener_open(struct listener *l, const char *dir)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	(void)check_path(l->path, sizeof(l->path), dir, PROTO_SOCKET);
	assert_int_equal(str_copy(addr.sun_path, sizeof(addr.sun_path), l->path), 0);
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(l->fd >= 0);
	assert_int_equal(bind(l->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(l->fd, 0), 0);
}

static void *serve_one(void *arg)
{
	struct listener *l = arg;
	int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
	size_t len, half;

	if (fd < 0)
		return NULL;
	if (l->how == ANSWER_TEXT) {
		ssize_t n = recv(fd, l->request, sizeof(l->request) - 1, 0);

		l->request[n > 0 ? n : 0] = '\0';
	}
	if (l->how != CLOSE_AT_ONCE) {
		len = strlen(l->text);
		half = len / 2;
		(void)send(fd, l->text, half, MSG_NOSIGNAL);
		(void)send(fd, l->text + half, len - half, MSG_NOSIGNAL);
	}
	(void)close(fd);
	return NULL;
}

static int call_served(enum answer how, const char *text, struct proto_reply *reply, struct err *err)
{
	struct proto_request request = sample_request(PROTO_ADD);
	struct listener l = { .how = how, .text = text };
	const char *dir = check_tmpdir();
	int rc;

	listener_open(&l, dir);
	assert_int_equal(pthread_create(&l.thread, NULL, serve_one, &l), 0);
	rc = proto_call(l.path, &request, clock_now(&clock_boot) + ANSWER_US, reply, err);
	assert_int_equal(pthread_join(l.thread, NULL), 0);
	(void)close(l.fd);
	check_tmpdir_remove(dir);
	if (how == ANSWER_TEXT)
		assert_non_null(strstr(l.request, "\"op\":\"add\""));
	return rc;
}

static void test_proto_call__answered(void **state)
{
	struct proto_reply reply = { 0 };
	struct err err = { 0 };

	(void)state;
	assert_int_equal(call_served(ANSWER_TEXT,
				     "{\"v\":1,\"ok\":true,\"address\":\"10.0.1.17/32\","
				     "\"gateway\":\"169.254.1.1\",\"mtu\":1500}\nmore",
				     &reply, &err),
			 0);
	assert_true(reply.ok);
	assert_int_equal(reply.mtu, 1500);
	assert_string_equal(reply.host_ifname, "");
	proto_reply_done(&reply);
}

static void test_proto_call__refusal_without_reading(void **state)
{
	struct proto_reply reply = { 0 };
	struct err err = { 0 };

	(void)state;
	assert_int_equal(call_served(REFUSE_UNREAD,
				     "{\"v\":1,\"ok\":false,\"error\":{\"class\":\"RETRY\",\"msg\":\"busy\"}}\n",
				     &reply, &err),
			 0);
	assert_false(reply.ok);
	assert_string_equal(reply.error.msg, "busy");
}

static void test_proto_call__long_answer(void **state)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	struct proto_reply reply = { 0 };
	struct err err = { 0 };

	(void)state;
	strbuf_add(&text, "{\"v\":1,\"ok\":true,\"state\":{\"x\":\"");
	for (int i = 0; i < 20000; i++)
		strbuf_add(&text, "0123456789");
	strbuf_add(&text, "\"}}\n");
	assert_int_equal(call_served(ANSWER_TEXT, text.text, &reply, &err), 0);
	assert_int_equal(json_string_length(json_object_get(reply.state, "x")), 200000);
	proto_reply_done(&reply);
}

static void test_proto_call__closed_at_once(void **state)
{
	struct proto_reply reply = { 0 };
	struct err err = { 0 };

	(void)state;
	assert_int_equal(call_served(CLOSE_AT_ONCE, "", &reply, &err), -1);
	assert_int_equal(err.class, ERR_RETRY);
	assert_int_equal(err.code, ECONNRESET);
}

static void test_proto_call__half_a_line(void **state)
{
	struct proto_reply reply = { 0 };
	struct err err = { 0 };

	(void)state;
	assert_int_equal(call_served(ANSWER_TEXT, "{\"v\":1,\"ok\":true}", &reply, &err), -1);
	assert_int_equal(err.class, ERR_RETRY);
	assert_non_null(strstr(err.msg, "middle"));
}

static void test_proto_call__garbage(void **state)
{
	struct proto_reply reply = { 0 };
	struct err err = { 0 };

	(void)state;
	assert_int_equal(call_served(ANSWER_TEXT, "HTTP/1.1 400 Bad Request\r\n", &reply, &err), -1);
	assert_int_equal(err.class, ERR_PROTOCOL);
	assert_non_null(strstr(err.msg, "answer of daemon"));
}

static void test_proto_call__hung(void **state)
{
	struct proto_request request = sample_request(PROTO_ADD);
	struct listener l = { 0 };
	const char *dir = check_tmpdir();
	struct proto_reply reply = { 0 };
	struct err err = { 0 };
	int64_t start_us;

	(void)state;
	/* Backlog 0 takes one connection that is not accepted; the next one waits in connect(). */
	listener_open(&l, dir);
	for (int i = 0; i < 3; i++) {
		int first = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		struct sockaddr_un addr = { .sun_family = AF_UNIX };

		assert_int_equal(str_copy(addr.sun_path, sizeof(addr.sun_path), l.path), 0);
		if (i > 0)
			(void)connect(first, (struct sockaddr *)&addr, sizeof(addr));
		start_us = clock_now(&clock_boot);
		assert_int_equal(proto_call(l.path, &request, start_us + HUNG_US, &reply, &err), -1);
		assert_int_equal(err.class, ERR_RETRY);
		assert_int_equal(err.code, ETIMEDOUT);
		assert_true(clock_now(&clock_boot) - start_us >= HUNG_US);
		assert_true(clock_now(&clock_boot) - start_us < ANSWER_US);
		(void)close(first);
	}
	(void)close(l.fd);
	check_tmpdir_remove(dir);
}

static void test_proto_call__no_daemon(void **state)
{
	struct proto_request request = sample_request(PROTO_ADD);
	struct listener l = { 0 };
	const char *dir = check_tmpdir();
	char path[200];
	struct proto_reply reply = { 0 };
	struct err err = { 0 };
	int64_t deadline_us = clock_now(&clock_boot) + ANSWER_US;

	(void)state;
	(void)check_path(path, 108, dir, PROTO_SOCKET);
	assert_int_equal(proto_call(path, &request, deadline_us, &reply, &err), -1);
	assert_int_equal(err.class, ERR_NOTFOUND);
	assert_int_equal(err.code, ENOENT);
	/* A socket file that a dead daemon left. */
	listener_open(&l, dir);
	(void)close(l.fd);
	assert_int_equal(proto_call(path, &request, deadline_us, &reply, &err), -1);
	assert_int_equal(err.class, ERR_RETRY);
	assert_int_equal(err.code, ECONNREFUSED);
	check_tmpdir_remove(dir);
	fill(path, sizeof(path), 'a');
	assert_int_equal(proto_call(path, &request, deadline_us, &reply, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
	assert_int_equal(proto_call("", &request, deadline_us, &reply, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		check_unit_test(test_proto_request_encode__golden),
		check_unit_test(test_proto_request_encode__round_trip_of_every_op),
		check_unit_test(test_proto_request_encode__longest_fits),
		check_unit_test(test_proto_request_encode__not_utf8),
		check_unit_test(test_proto_request_decode__every_truncation_is_refused),
		check_unit_test(test_proto_request_decode__oversize),
		check_unit_test(test_proto_request_decode__unknown_version),
		check_unit_test(test_proto_request_decode__unknown_op),
		check_unit_test(test_proto_request_decode__unknown_fields_are_ignored),
		check_unit_test(test_proto_request_decode__bad_fields),
		check_unit_test(test_proto_reply_encode__golden),
		check_unit_test(test_proto_reply_encode__two_families),
		check_unit_test(test_proto_reply_encode__plain_ok),
		check_unit_test(test_proto_reply_encode__every_reason),
		check_unit_test(test_proto_reply_encode__error_text_not_utf8),
		check_unit_test(test_proto_reply_encode__state),
		check_unit_test(test_proto_reply_decode__every_truncation_is_refused),
		check_unit_test(test_proto_reply_decode__what_a_newer_daemon_may_say__aws_40_31),
		check_unit_test(test_proto_reply_decode__bad_fields),
		check_unit_test(test_proto_reply_decode__one_address),
		check_unit_test(test_proto_reply_decode__bad_addresses),
		check_unit_test(test_pause__each_word_there_and_back),
		check_unit_test(test_pause__what_is_meant_must_be_said),
		check_unit_test(test_fail_reason_parse__every_name),
		check_unit_test(test_proto_host_ifname__known_values),
		check_unit_test(test_proto_key_check__cases),
		check_unit_test(test_proto_call__answered),
		check_unit_test(test_proto_call__refusal_without_reading),
		check_unit_test(test_proto_call__long_answer),
		check_unit_test(test_proto_call__closed_at_once),
		check_unit_test(test_proto_call__half_a_line),
		check_unit_test(test_proto_call__garbage),
		check_unit_test(test_proto_call__hung),
		check_unit_test(test_proto_call__no_daemon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
