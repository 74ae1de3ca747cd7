/* SPDX-License-Identifier: Apache-2.0 */
/* ADD and DEL of the plugin's binary: each way that they end. */
#include "tests/net/plugin_world.h"

/* ---- ADD ---- */

static void test_add__of_each_family(void **state)
{
	struct world *world = *state;
	_cleanup_output_ struct output output = { 0 };
	json_t *ips;
	char ops[256];

	(void)pthread_mutex_lock(&world->fake.lock);
	world->fake.dual = true;
	(void)pthread_mutex_unlock(&world->fake.lock);
	output = run_verb(world, "ADD");
	if (output.status != 0)
		fail_msg("%s %s", output.out, output.err);
	assert_string_equal(fake_saw(&world->fake, ops), "add confirm");
	assert_true(is_wired(world));
	assert_int_equal(net_routes(world->host, IP_V6, NET_TABLE_LOCAL, any_of_ours, NULL, NULL), 1);
	assert_int_equal(net_routes(world->pod, IP_V6, 0, any_of_ours, NULL, NULL), 1);
	ips = json_object_get(output.json, "ips");
	assert_int_equal(json_array_size(ips), 2);
	assert_string_equal(json_string_value(json_object_get(json_array_get(ips, 0), "address")), POD_ADDR "/32");
	assert_string_equal(json_string_value(json_object_get(json_array_get(ips, 1), "address")), POD_ADDR6 "/128");
	assert_string_equal(json_string_value(json_object_get(json_array_get(ips, 1), "gateway")), "fe80::1");
}

static void test_add__wires_and_confirms__cni_d2_17(void **state)
{
	struct world *world = *state;
	_cleanup_output_ struct output output = run_verb(world, "ADD");
	const struct proto_request add = fake_saw_first(&world->fake);
	json_t *host, *pod, *ip;
	struct net_link link;
	char mac[MACADDR_STRLEN], ops[256];

	assert_int_equal(output.status, 0);
	assert_string_equal(output.err, "");
	assert_true(is_wired(world));
	assert_int_equal(add.op, PROTO_ADD);
	assert_string_equal(add.key.network, "berth");
	assert_string_equal(add.key.container, CONTAINER);
	assert_string_equal(add.netns, world->netns_path);
	assert_string_equal(add.pod.namespace, "default");
	assert_string_equal(add.pod.name, "web-0");
	assert_string_equal(add.pod.uid, "u-1");
	assert_int_equal(add.timeout_ms, 100);
	assert_string_equal(fake_saw(&world->fake, ops), "add confirm");
	host = json_array_get(json_object_get(output.json, "interfaces"), 0);
	pod = json_array_get(json_object_get(output.json, "interfaces"), 1);
	ip = json_array_get(json_object_get(output.json, "ips"), 0);
	assert_string_equal(json_string_value(json_object_get(host, "name")), world->host_ifname);
	assert_string_equal(json_string_value(json_object_get(host, "sandbox")), "");
	assert_string_equal(json_string_value(json_object_get(pod, "sandbox")), world->netns_path);
	assert_int_equal(json_integer_value(json_object_get(pod, "mtu")), 1400);
	assert_int_equal(net_link_by_name(world->pod, "eth0", &link, NULL), 0);
	assert_string_equal(json_string_value(json_object_get(pod, "mac")), macaddr_str(&link.mac, mac));
	assert_int_equal(net_link_by_name(world->host, world->host_ifname, &link, NULL), 0);
	assert_string_equal(json_string_value(json_object_get(host, "mac")), macaddr_str(&link.mac, mac));
	assert_string_equal(json_string_value(json_object_get(ip, "address")), POD_ADDR "/32");
	assert_int_equal(json_integer_value(json_object_get(ip, "interface")), 1);
}

static void test_add__every_version__cni_d2_16(void **state)
{
	static const char *const versions[] = { "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0" };
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		char conf[512];
		const struct run how = { .command = "ADD", .conf = conf_of(world, versions[i], conf) };
		_cleanup_output_ struct output output = run(world, &how);
		struct net_link link;

		assert_int_equal(output.status, 0);
		assert_string_equal(json_string_value(json_object_get(output.json, "cniVersion")), versions[i]);
		assert_int_equal(net_link_by_name(world->host, world->host_ifname, &link, NULL), 0);
		assert_int_equal(net_link_del(world->host, link.index, NULL), 0);
	}
}

static void test_add__twice_touches_nothing__cni_d2_15(void **state)
{
	struct world *world = *state;
	char ops[256];

	run_ok(world, "ADD");
	(void)fake_saw(&world->fake, ops);
	run_fails(world, "ADD", 4, "CNI_IFNAME");
	/* The lease of a living pod must not even be asked about. */
	assert_string_equal(fake_saw(&world->fake, ops), "");
	assert_true(is_wired(world));
}

static void test_add__name_taken_meanwhile(void **state)
{
	struct net_veth veth = { .name = "eth0", .peer_name = "other", .peer_netns_fd = -1 };
	struct world *world = *state;
	char ops[256];

	/* The fake makes the interface between its answer and the plugin's wiring. */
	(void)pthread_mutex_lock(&world->fake.lock);
	world->fake.take_name = &veth;
	world->fake.take_net = world->pod;
	(void)pthread_mutex_unlock(&world->fake.lock);
	run_fails(world, "ADD", 4, "CNI_IFNAME");
	assert_string_equal(fake_saw(&world->fake, ops), "add");
}

static void test_add__every_reason__cni_d1_9(void **state)
{
	static const int codes[FAIL_REASON_COUNT] = {
		[FAIL_NONE] = 11,       [FAIL_SUBNET_FULL] = 110, [FAIL_SUBNET_FRAGMENTED] = 110,
		[FAIL_NIC_LIMIT] = 111, [FAIL_THROTTLED] = 11,    [FAIL_PERMISSION] = 112,
		[FAIL_METADATA] = 11,   [FAIL_COOLING] = 11,      [FAIL_STARTING] = 11,
		[FAIL_PENDING] = 11,    [FAIL_STATE] = 11,        [FAIL_PAUSED] = 11,
	};
	struct world *world = *state;
	char ops[256];

	for (unsigned r = 0; r < FAIL_REASON_COUNT; r++) {
		fake_refuses(&world->fake, PROTO_ADD, ERR_EXHAUSTED, (enum fail_reason)r);
		_cleanup_output_ struct output output = run_verb(world, "ADD");

		check_error(&output, codes[r], "told to refuse");
		if (r != FAIL_NONE)
			assert_string_equal(json_string_value(json_object_get(output.json, "details")),
					    fail_reason_hint((enum fail_reason)r));
		assert_string_equal(fake_saw(&world->fake, ops), "add");
		nothing_is_left(world);
	}
}

static void test_add__daemon_down(void **state)
{
	struct world *world = *state;

	fake_stop(&world->fake);
	run_fails(world, "ADD", 11, "refused");
	assert_int_equal(unlink(world->fake.path), 0);
	run_fails(world, "ADD", 11, "No such file");
	nothing_is_left(world);
}

static void test_add__daemon_hangs__aws_40_32__cni_d2_21(void **state)
{
	struct world *world = *state;
	int64_t start_us = clock_now(&clock_boot);
	char ops[256];

	fake_answers(&world->fake, PROTO_ADD, ANSWER_HANG);
	run_fails(world, "ADD", 11, "did not answer");
	assert_true(clock_now(&clock_boot) - start_us < 5 * USEC_PER_SEC);
	assert_string_equal(fake_saw(&world->fake, ops), "add del");
	nothing_is_left(world);
}

static void test_add__daemon_talks_nonsense(void **state)
{
	struct world *world = *state;
	char ops[256];

	fake_answers(&world->fake, PROTO_ADD, ANSWER_GARBAGE);
	run_fails(world, "ADD", 101, "answer of daemon");
	assert_string_equal(fake_saw(&world->fake, ops), "add del");
	fake_answers(&world->fake, PROTO_ADD, ANSWER_NO_ADDRESS);
	run_fails(world, "ADD", 101, "holds none");
	assert_string_equal(fake_saw(&world->fake, ops), "add del");
	fake_answers(&world->fake, PROTO_ADD, ANSWER_CLOSE);
	run_fails(world, "ADD", 11, "closed");
	assert_string_equal(fake_saw(&world->fake, ops), "add del");
	nothing_is_left(world);
}

static void test_add__confirm_fails__cni_d2_18(void **state)
{
	struct world *world = *state;
	char ops[256];

	fake_refuses(&world->fake, PROTO_CONFIRM, ERR_CONFLICT, FAIL_NONE);
	run_fails(world, "ADD", 11, "confirm");
	assert_string_equal(fake_saw(&world->fake, ops), "add confirm del");
	nothing_is_left(world);
	/* what the kernel of the node lacks: no release of ours cures that */
	fake_refuses(&world->fake, PROTO_CONFIRM, ERR_INVALID, FAIL_NONE);
	run_fails(world, "ADD", 102, "told to refuse");
	assert_string_equal(fake_saw(&world->fake, ops), "add confirm del");
	nothing_is_left(world);
	fake_answers(&world->fake, PROTO_CONFIRM, ANSWER_HANG);
	run_fails(world, "ADD", 11, "confirm");
	assert_string_equal(fake_saw(&world->fake, ops), "add confirm del");
	nothing_is_left(world);
}

static void test_add__stdout_is_full(void **state)
{
	struct world *world = *state;
	char conf[512], ops[256];
	const struct run how = { .command = "ADD", .conf = conf_of(world, "1.1.0", conf), .stdout_path = "/dev/full" };
	_cleanup_output_ struct output output = run(world, &how);

	assert_int_equal(output.status, 1);
	assert_non_null(strstr(output.err, "code=5"));
	assert_string_equal(fake_saw(&world->fake, ops), "add confirm del");
	nothing_is_left(world);
}

static void test_add__netns_gone_or_own(void **state)
{
	static const char *const paths[] = { "/run/netns/berth-no-such-thing", "/proc/self/ns/net", "/etc/passwd" };
	struct world *world = *state;
	char conf[512], ops[256];

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		const struct run how = {
			.command = "ADD",
			.conf = conf_of(world, "1.1.0", conf),
			.netns = paths[i],
		};
		_cleanup_output_ struct output output = run(world, &how);

		check_error(&output, 8, "CNI_NETNS");
	}
	assert_string_equal(fake_saw(&world->fake, ops), "");
}

static void conf_fails(struct world *world, const char *conf, int code, const char *part)
{
	const struct run how = { .command = "ADD", .conf = conf };
	_cleanup_output_ struct output output = run(world, &how);

	check_error(&output, code, part);
}

static void test_add__bad_configurations(void **state)
{
	struct world *world = *state;

	conf_fails(world, "", 6, "stdin");
	conf_fails(world, "{\"cniVersion\":", 6, "stdin");
	conf_fails(world, "{\"name\":\"n\",\"type\":\"berth\"}", 1, "0.1.0");
	conf_fails(world, "{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"socket\":[]}", 7, "'socket'");
	conf_fails(world, "{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"prevResult\":[]}", 7, "'prevResult'");
	/* None of our keys: the default socket, which no test serves. */
	if (!fs_exists(PROTO_RUN_DIR "/" PROTO_SOCKET))
		conf_fails(world, "{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"type\":\"berth\"}", 11,
			   PROTO_RUN_DIR "/" PROTO_SOCKET);
}

/* ---- DEL ---- */

static void test_del__again_unknown_and_without_netns__aws_40_25__cni_d3_23(void **state)
{
	struct world *world = *state;
	char conf[512], ops[256];
	const struct run gone = {
		.command = "DEL",
		.conf = conf_of(world, "1.1.0", conf),
		.netns = "/run/netns/berth-no-such-thing",
	};
	const struct run empty = { .command = "DEL", .conf = conf, .netns = "" };

	run_ok(world, "ADD");
	run_ok(world, "DEL");
	run_ok(world, "DEL");
	assert_string_equal(fake_saw(&world->fake, ops), "add confirm del del");
	_cleanup_output_ struct output first = run(world, &gone);
	_cleanup_output_ struct output second = run(world, &empty);

	assert_int_equal(first.status, 0);
	assert_int_equal(second.status, 0);
	assert_string_equal(second.out, "");
	fake_refuses(&world->fake, PROTO_DEL, ERR_NOTFOUND, FAIL_NONE);
	run_ok(world, "DEL");
	assert_false(fs_exists(world->spool));
}

static void test_del__refused(void **state)
{
	struct world *world = *state;

	fake_refuses(&world->fake, PROTO_DEL, ERR_RETRY, FAIL_STATE);
	run_fails(world, "DEL", 11, "told to refuse");
	assert_false(fs_exists(world->spool));
}

static void check_spooled(struct world *world)
{
	struct lease_key key = { .network = "berth", .container = CONTAINER, .ifname = "eth0" };
	_cleanup_free_ char *line = NULL;
	struct proto_request request;
	char name[32], path[192];
	size_t size;

	(void)snprintf(name, sizeof(name), "%016llx", (unsigned long long)proto_key_hash(&key));
	assert_int_equal(fs_read(check_path(path, sizeof(path), world->spool, name), PROTO_REQUEST_MAX, &line, &size),
			 0);
	assert_int_equal(proto_request_decode(line, size, &request, NULL), 0);
	assert_int_equal(request.op, PROTO_DEL);
	assert_memory_equal(&request.key, &key, sizeof(key));
}

static void test_del__daemon_down__cni_d3_24(void **state)
{
	struct world *world = *state;

	run_ok(world, "ADD");
	fake_stop(&world->fake);
	for (int i = 0; i < 2; i++) {
		_cleanup_output_ struct output output = run_verb(world, "DEL");

		assert_int_equal(output.status, 0);
		assert_string_equal(output.out, "");
		assert_true(output.err && strstr(output.err, "lvl=warn"));
		nothing_is_left(world);
		check_spooled(world);
	}
}

static void test_del__daemon_hangs(void **state)
{
	struct world *world = *state;

	run_ok(world, "ADD");
	fake_answers(&world->fake, PROTO_DEL, ANSWER_HANG);
	run_ok(world, "DEL");
	nothing_is_left(world);
	check_spooled(world);
}

static void test_del__spool_cannot_be_written(void **state)
{
	struct world *world = *state;

	fake_stop(&world->fake);
	assert_int_equal(fs_write_atomic(world->spool, "x", 1, 0600), 0);
	run_fails(world, "DEL", 11, "spool");
}

static void test_del__spool_is_full(void **state)
{
	struct world *world = *state;
	char path[192];

	fake_stop(&world->fake);
	assert_int_equal(fs_mkdir_p(world->spool, 0700), 0);
	for (int i = 0; i < SPOOL_LIMIT; i++) {
		int fd;

		(void)snprintf(path, sizeof(path), "%s/%d", world->spool, i);
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		assert_true(fd >= 0);
		(void)close(fd);
	}
	run_fails(world, "DEL", 11, "holds 4096 files");
	assert_int_equal(unlink(path), 0);
	run_ok(world, "DEL");
	check_spooled(world);
	/* It is full again, but this one is there already. */
	run_ok(world, "DEL");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		plugin_test(test_add__of_each_family),
		plugin_test(test_add__wires_and_confirms__cni_d2_17),
		plugin_test(test_add__every_version__cni_d2_16),
		plugin_test(test_add__twice_touches_nothing__cni_d2_15),
		plugin_test(test_add__name_taken_meanwhile),
		plugin_test(test_add__every_reason__cni_d1_9),
		plugin_test(test_add__daemon_down),
		plugin_test(test_add__daemon_hangs__aws_40_32__cni_d2_21),
		plugin_test(test_add__daemon_talks_nonsense),
		plugin_test(test_add__confirm_fails__cni_d2_18),
		plugin_test(test_add__stdout_is_full),
		plugin_test(test_add__netns_gone_or_own),
		plugin_test(test_add__bad_configurations),
		plugin_test(test_del__again_unknown_and_without_netns__aws_40_25__cni_d3_23),
		plugin_test(test_del__refused),
		plugin_test(test_del__daemon_down__cni_d3_24),
		plugin_test(test_del__daemon_hangs),
		plugin_test(test_del__spool_cannot_be_written),
		plugin_test(test_del__spool_is_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
