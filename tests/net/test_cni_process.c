/* SPDX-License-Identifier: Apache-2.0 */
/* The process contract that all verbs of the plugin's binary keep, and how runtimes call it. */
#include "tests/net/plugin_world.h"

#include <elf.h>

/* ---- D1: the process ---- */

static void test_process__unknown_command__cni_d1_1(void **state)
{
	struct world *world = *state;

	run_fails(world, "FLY", 4, "CNI_COMMAND");
	run_fails(world, "add", 4, "CNI_COMMAND");
}

static void test_process__streams_and_exit_status__cni_d1_2(void **state)
{
	struct world *world = *state;
	_cleanup_output_ struct output good = run_verb(world, "ADD");
	_cleanup_output_ struct output bad = run_verb(world, "ADD");

	assert_int_equal(good.status, 0);
	assert_non_null(good.json);
	assert_string_equal(good.err, "");
	assert_int_equal(bad.status, 1);
	assert_string_equal(bad.err, "");
}

static void test_process__one_error_document__cni_d1_3(void **state)
{
	struct world *world = *state;
	_cleanup_output_ struct output output = run_verb(world, "FLY");

	/* json_loads() takes one document and nothing behind it. */
	assert_non_null(output.json);
	assert_int_equal(json_object_size(output.json), 4);
	assert_true(json_is_string(json_object_get(output.json, "cniVersion")));
	assert_true(json_is_integer(json_object_get(output.json, "code")));
	assert_true(json_is_string(json_object_get(output.json, "msg")));
	assert_true(json_is_string(json_object_get(output.json, "details")));
	assert_string_equal(output.err, "");
}

static void test_process__typed_by_a_person__cni_d1_4(void **state)
{
	const struct run how = { .command = "", .conf = "", .without = "CNI_COMMAND" };
	_cleanup_output_ struct output output = run(*state, &how);

	assert_int_equal(output.status, 0);
	assert_string_equal(output.out, "");
	assert_non_null(strstr(output.err, "0.3.0"));
	assert_non_null(strstr(output.err, "1.1.0"));
}

static void test_process__all_missing_variables__cni_d1_5(void **state)
{
	static const struct {
		const char *command;
		const char *missing; /* empty: it runs */
	} cases[] = {
		{ "ADD", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME" },
		{ "CHECK", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME" },
		{ "DEL", "CNI_CONTAINERID,CNI_IFNAME" },
		{ "GC", "" },
		{ "STATUS", "" },
		{ "VERSION", "" },
	};
	struct world *world = *state;
	char conf[512];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct run how = { .command = cases[i].command,
					 .conf = conf_of(world, "1.1.0", conf),
					 .container = "",
					 .netns = "",
					 .ifname = "" };
		_cleanup_output_ struct output output = run(world, &how);

		if (*cases[i].missing)
			check_error(&output, 4, cases[i].missing);
		else
			assert_int_equal(output.status, 0);
	}
}

static void test_process__without_a_plugin_path__cni_d1_6(void **state)
{
	static const char *const commands[] = { "ADD", "STATUS", "GC", "DEL", "VERSION" };
	struct world *world = *state;
	char conf[512];

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct run how = { .command = commands[i],
					 .conf = conf_of(world, "1.1.0", conf),
					 .without = "CNI_PATH" };
		_cleanup_output_ struct output output = run(world, &how);

		assert_int_equal(output.status, 0);
	}
}

static void test_process__names_that_are_none__cni_d1_7(void **state)
{
	static const char *const containers[] = { "-a", ".a", "a/b", "a b", "a:b" };
	static const char *const ifnames[] = { ".", "..", "a/b", "a:b", "a b", "sixteen-letters-" };
	struct world *world = *state;
	char conf[512], ops[256];

	for (size_t i = 0; i < ARRAY_SIZE(containers); i++) {
		const struct run how = { .command = "ADD",
					 .conf = conf_of(world, "1.1.0", conf),
					 .container = containers[i] };
		_cleanup_output_ struct output output = run(world, &how);

		check_error(&output, 4, "CNI_CONTAINERID");
	}
	for (size_t i = 0; i < ARRAY_SIZE(ifnames); i++) {
		const struct run how = { .command = "ADD", .conf = conf, .ifname = ifnames[i] };
		_cleanup_output_ struct output output = run(world, &how);

		check_error(&output, 4, "CNI_IFNAME");
	}
	const struct run how = { .command = "ADD", .conf = "{\"cniVersion\":\"1.1.0\",\"name\":\"-x\"}" };
	_cleanup_output_ struct output output = run(world, &how);

	check_error(&output, 7, "'name'");
	assert_string_equal(fake_saw(&world->fake, ops), "");
}

static void test_process__namespace_own_or_gone__cni_d1_8(void **state)
{
	static const char *const commands[] = { "ADD", "CHECK" };
	struct world *world = *state;
	char conf[CONF_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const char *prev = ",\"prevResult\":{\"interfaces\":[{\"name\":\"eth0\",\"sandbox\":\"x\"}],"
				   "\"ips\":[{\"address\":\"" POD_ADDR "/32\"}]}";
		const struct run own = { .command = commands[i],
					 .conf = conf_with(world, "1.1.0", i ? prev : "", conf),
					 .netns = "/proc/self/ns/net" };
		const struct run gone = { .command = commands[i], .conf = conf, .netns = "/run/netns/berth-no-such" };
		_cleanup_output_ struct output first = run(world, &own);
		_cleanup_output_ struct output second = run(world, &gone);

		check_error(&first, 8, "CNI_NETNS");
		check_error(&second, 8, "CNI_NETNS");
	}
	const struct run del = { .command = "DEL", .conf = conf, .netns = "/run/netns/berth-no-such" };
	_cleanup_output_ struct output output = run(world, &del);

	assert_int_equal(output.status, 0);
}

static void test_process__codes_of_what_is_wrong__cni_d1_9(void **state)
{
	static const struct {
		const char *conf;
		int code;
		const char *part;
	} cases[] = {
		{ "nonsense", 6, "stdin" },
		{ "{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"timeoutMs\":1}", 7, "'timeoutMs'" },
		{ "{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"vethName\":\"moon\"}", 7, "'vethName'" },
		{ "{\"cniVersion\":\"9.9.9\",\"name\":\"n\"}", 1, "9.9.9" },
		{ "{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"socket\":\"/run/berth-no-such/s\"}", 11,
		  "/run/berth-no-such" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct run how = { .command = "ADD", .conf = cases[i].conf };
		_cleanup_output_ struct output output = run(*state, &how);

		check_error(&output, cases[i].code, cases[i].part);
		if (cases[i].code == 1)
			assert_true(output_says(&output, "0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"));
	}
}

static void test_process__verbs_by_version__cni_d1_10(void **state)
{
	static const struct {
		const char *command, *version;
	} cases[] = { { "CHECK", "0.3.1" }, { "GC", "1.0.0" }, { "STATUS", "1.0.0" }, { "STATUS", "0.4.0" } };
	struct world *world = *state;
	char conf[512], ops[256];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct run how = { .command = cases[i].command, .conf = conf_of(world, cases[i].version, conf) };
		_cleanup_output_ struct output output = run(world, &how);

		assert_int_equal(output.status, 1);
		assert_int_equal(json_integer_value(json_object_get(output.json, "code")), 1);
	}
	const struct run how = { .command = "ADD", .conf = "{\"name\":\"n\",\"type\":\"berth\"}" };
	_cleanup_output_ struct output output = run(world, &how);

	check_error(&output, 1, "0.1.0");
	assert_string_equal(fake_saw(&world->fake, ops), "");
}

static void test_process__keys_of_others__cni_d1_11(void **state)
{
	static const char keys[] = ",\"cni.dev/valid-attachments\":[],\"cni.dev/attachments\":[],\"cni.dev/next\":{},"
				   "\"runtimeConfig\":{\"portMappings\":[]},\"args\":{\"cni\":{}},\"ipMasq\":true,"
				   "\"dns\":{},\"disableGC\":true,\"unheard\":7";
	struct world *world = *state;
	_cleanup_output_ struct output output = run_more(world, "ADD", keys);

	assert_int_equal(output.status, 0);
}

/* Statements on delegates hold since there are none: no plugin that "ipam" names is run by any verb, and who names one
 * hears of it before an address is taken. */
static void test_process__runs_no_delegate__cni_d2_19_d3_25_d4_33_d5_37_d6_42(void **state)
{
	static const char *const verbs[] = { "ADD", "CHECK", "GC", "STATUS", "DEL" };
	struct world *world = *state;
	char plugin[512], mark[512], script[1100], more[256], ops[256];

	(void)check_path(plugin, sizeof(plugin), world->dir, "host-local");
	(void)check_path(mark, sizeof(mark), world->dir, "was-run");
	(void)snprintf(script, sizeof(script), "#!/bin/sh\n: >%s\n", mark);
	assert_int_equal(fs_write_atomic(plugin, script, strlen(script), 0755), 0);
	(void)snprintf(more, sizeof(more),
		       ",\"ipam\":{\"type\":\"host-local\"},\"cni.dev/valid-attachments\":[],\"prevResult\":{}");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		_cleanup_output_ struct output output = run_more(world, verbs[i], more);

		if (str_equal(verbs[i], "ADD")) {
			check_error(&output, 7, "'host-local'");
			assert_string_equal(fake_saw(&world->fake, ops), "");
		}
		if (str_equal(verbs[i], "DEL"))
			assert_int_equal(output.status, 0);
		assert_false(fs_exists(mark));
	}
	nothing_is_left(world);
}

static void test_process__configuration_changed_before_del__cni_d1_13(void **state)
{
	struct world *world = *state;
	struct proto_request add, del;
	char conf[CONF_SIZE], ops[256];

	run_ok(world, "ADD");
	add = fake_saw_first(&world->fake);
	(void)fake_saw(&world->fake, ops);
	(void)snprintf(conf, sizeof(conf), "{\"cniVersion\":\"0.3.0\",\"name\":\"berth\",\"socket\":\"%s\"}",
		       world->fake.path);
	const struct run how = { .command = "DEL", .conf = conf, .args = "" };
	_cleanup_output_ struct output output = run(world, &how);

	assert_int_equal(output.status, 0);
	del = fake_saw_first(&world->fake);
	assert_memory_equal(&del.key, &add.key, sizeof(add.key));
}

/* Nothing of the host's distribution is needed: no program header asks for a loader. */
static void test_process__is_static__cni_d1_14(void **state)
{
	const char *build = getenv("BUILD");
	_cleanup_free_ char *bytes = NULL;
	char path[512];
	Elf64_Ehdr head;
	size_t size;

	(void)state;
#if defined(__SANITIZE_ADDRESS__)
	print_message("# no static programs under AddressSanitizer\n");
	return;
#endif
	(void)check_path(path, sizeof(path), build ? build : "build", "berth");
	assert_int_equal(fs_read(path, 64U << 20, &bytes, &size), 0);
	assert_true(size > sizeof(head));
	memcpy(&head, bytes, sizeof(head));
	for (unsigned i = 0; i < head.e_phnum; i++) {
		Elf64_Phdr segment;

		memcpy(&segment, bytes + head.e_phoff + i * sizeof(segment), sizeof(segment));
		assert_int_not_equal(segment.p_type, PT_INTERP);
	}
}

/* A DEL that finds no daemon has something to log. */
static void test_process__trace_of_the_runtime__cni_d1_14(void **state)
{
	static const struct {
		const char *variable, *part;
	} cases[] = {
		{ "TRACEPARENT=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		  " trace=4bf92f3577b34da6a3ce929d0e0e4736 " },
		{ "TRACEPARENT=00-x", NULL },
		{ NULL, NULL },
	};
	struct world *world = *state;
	char conf[512];

	fake_stop(&world->fake);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct run how = { .command = "DEL",
					 .conf = conf_of(world, "1.1.0", conf),
					 .extra = cases[i].variable };
		_cleanup_output_ struct output output = run(world, &how);

		assert_int_equal(output.status, 0);
		assert_non_null(strstr(output.err, "DEL without daemon"));
		if (cases[i].part)
			assert_non_null(strstr(output.err, cases[i].part));
		else
			assert_null(strstr(output.err, "trace="));
	}
}

/* ---- D10: who calls, and how ---- */

/* nerdctl names no pod; Multus sends GC and STATUS without CNI_ARGS, and DEL without prevResult. */
static void test_callers__without_arguments__cni_d10(void **state)
{
	static const char *const commands[] = { "ADD", "STATUS", "GC", "DEL" };
	struct world *world = *state;
	char conf[512];

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct run how = { .command = commands[i],
					 .conf = conf_of(world, "1.1.0", conf),
					 .without = "CNI_ARGS" };
		_cleanup_output_ struct output output = run(world, &how);

		assert_int_equal(output.status, 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		plugin_test(test_process__unknown_command__cni_d1_1),
		plugin_test(test_process__streams_and_exit_status__cni_d1_2),
		plugin_test(test_process__one_error_document__cni_d1_3),
		plugin_test(test_process__typed_by_a_person__cni_d1_4),
		plugin_test(test_process__all_missing_variables__cni_d1_5),
		plugin_test(test_process__without_a_plugin_path__cni_d1_6),
		plugin_test(test_process__names_that_are_none__cni_d1_7),
		plugin_test(test_process__namespace_own_or_gone__cni_d1_8),
		plugin_test(test_process__codes_of_what_is_wrong__cni_d1_9),
		plugin_test(test_process__verbs_by_version__cni_d1_10),
		plugin_test(test_process__keys_of_others__cni_d1_11),
		plugin_test(test_process__configuration_changed_before_del__cni_d1_13),
		plugin_test(test_process__runs_no_delegate__cni_d2_19_d3_25_d4_33_d5_37_d6_42),
		plugin_test(test_process__is_static__cni_d1_14),
		plugin_test(test_process__trace_of_the_runtime__cni_d1_14),
		plugin_test(test_callers__without_arguments__cni_d10),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
