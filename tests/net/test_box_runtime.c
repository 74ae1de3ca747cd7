/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime's half of CNI, against a plugin that writes down how it was called and then does as it is told. */
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/json.h"
#include "berth/net.h"
#include "berth/str.h"
#include "mocks/box_runtime.h"
#include "mocks/fabric/child.h"
#include "tests/check.h"

#define FILE_MAX     65536U
#define THREADS      6U
#define RESULT       "{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.0.1.17/32\"}]}"
#define PLUGIN_ERROR "{\"cniVersion\":\"1.0.0\",\"code\":11,\"msg\":\"subnet full\"}"

/* $0.d holds what was seen per verb, and "say-VERB", a script that is run for that verb. */
static const char plugin_text[] = "#!/bin/sh\n"
				  "d=\"$0.d\"\n"
				  "cat >\"$d/stdin-$CNI_COMMAND\"\n"
				  "env >\"$d/env-$CNI_COMMAND\"\n"
				  "readlink /proc/self/ns/net >\"$d/ns-$CNI_COMMAND\"\n"
				  "if [ -e \"$d/say-$CNI_COMMAND\" ]; then . \"$d/say-$CNI_COMMAND\"; fi\n"
				  "[ $CNI_COMMAND = DEL ] || echo '" RESULT "'\n";

static const char conflist_text[] = "{\"cniVersion\":\"1.0.0\",\"name\":\"berth\",\"plugins\":["
				    "{\"type\":\"berth\",\"socket\":\"/run/x.sock\"},{\"type\":\"portmap\"}]}";

struct setup {
	const char *dir;
	char plugin[256], conflist[256], node[32], pod[32];
	int node_fd;
	struct runtime_conf conf;
	struct runtime runtime;
};

static void must(int r, const struct err *err)
{
	if (r != 0)
		fail_msg("%s: %s", err_class_name(err->class), err->msg);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	assert_int_equal(fs_write_atomic(path, text, strlen(text), mode), 0);
}

static int setup_up(void **state)
{
	static struct setup setup;
	char folder[300];
	struct err err = { 0 };

	check_fds_setup(state);
	setup = (struct setup){ .dir = check_tmpdir(), .node_fd = -1 };
	(void)snprintf(setup.plugin, sizeof(setup.plugin), "%s/berth", setup.dir);
	(void)snprintf(setup.conflist, sizeof(setup.conflist), "%s/10-berth.conflist", setup.dir);
	(void)snprintf(folder, sizeof(folder), "%s.d", setup.plugin);
	(void)snprintf(setup.node, sizeof(setup.node), "tbr%d-node", (int)getpid());
	(void)snprintf(setup.pod, sizeof(setup.pod), "tbr%d-pod", (int)getpid());
	write_file(setup.plugin, plugin_text, 0755);
	write_file(setup.conflist, conflist_text, 0600);
	assert_int_equal(mkdir(folder, 0700), 0);
	if (netns_add(setup.node, &err) < 0)
		must(-1, &err);
	(void)snprintf(folder, sizeof(folder), "/run/netns/%s", setup.node);
	if (netns_open(folder, &setup.node_fd, &err) < 0 || runtime_conf_load(setup.conflist, &setup.conf, &err) < 0) {
		(void)netns_del(setup.node, NULL);
		must(-1, &err);
	}
	setup.runtime = (struct runtime){ .conf = &setup.conf, .plugin = setup.plugin, .node_fd = setup.node_fd };
	*state = &setup;
	return 0;
}

static int setup_down(void **state)
{
	struct setup *setup = *state;
	struct err err = { 0 };

	runtime_conf_done(&setup->conf);
	(void)close(setup->node_fd);
	(void)netns_del(setup->pod, NULL);
	check_tmpdir_remove(setup->dir);
	must(netns_del(setup->node, &err), &err);
	return check_fds_teardown(state);
}

/* Return: owned text of what the plugin wrote down. */
static char *seen(const struct setup *setup, const char *name)
{
	char path[400];
	char *text = NULL;

	(void)snprintf(path, sizeof(path), "%s.d/%s", setup->plugin, name);
	if (fs_read(path, FILE_MAX, &text, NULL) < 0)
		fail_msg("the plugin was not called: no %s", name);
	return text;
}

static bool was_called(const struct setup *setup, const char *verb)
{
	char path[400];

	(void)snprintf(path, sizeof(path), "%s.d/stdin-%s", setup->plugin, verb);
	return fs_exists(path);
}

static void tell_plugin(const struct setup *setup, const char *verb, const char *script)
{
	char path[400];

	(void)snprintf(path, sizeof(path), "%s.d/say-%s", setup->plugin, verb);
	write_file(path, script, 0600);
}

static bool pod_netns_exists(const struct setup *setup)
{
	char path[400];

	(void)snprintf(path, sizeof(path), "/run/netns/%s", setup->pod);
	return fs_exists(path);
}

static void make_pod(const struct setup *setup, struct runtime_pod *ret)
{
	struct err err = { 0 };

	must(runtime_pod_init(ret, setup->pod, &err), &err);
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no \"%s\" in: %s", part, text);
}

/* ---- configuration ---- */

static void test_runtime_conf_load__first_plugin_with_name_and_version(void **state)
{
	struct setup *setup = *state;
	const char *name = NULL, *version = NULL, *socket_path = NULL;
	struct err err = { 0 };

	assert_string_equal(setup->conf.type, "berth");
	must(json_get_str(setup->conf.plugin, "test", "name", &name, &err), &err);
	must(json_get_str(setup->conf.plugin, "test", "cniVersion", &version, &err), &err);
	must(json_get_str(setup->conf.plugin, "test", "socket", &socket_path, &err), &err);
	assert_string_equal(name, "berth");
	assert_string_equal(version, "1.0.0");
	assert_string_equal(socket_path, "/run/x.sock");
}

static void test_runtime_conf_load__errors(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"cniVersion\":\"1.0.0\",\"name\":\"x\"}",
		"{\"cniVersion\":\"1.0.0\",\"name\":\"x\",\"plugins\":[]}",
		"{\"cniVersion\":\"1.0.0\",\"name\":\"x\",\"plugins\":[{}]}",
		"{\"cniVersion\":\"1.0.0\",\"name\":\"x\",\"plugins\":[{\"type\":\"../sh\"}]}",
		"{\"cniVersion\":\"1.0.0\",\"plugins\":[{\"type\":\"x\"}]}",
	};
	struct setup *setup = *state;
	struct runtime_conf conf;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = { 0 };

		write_file(setup->conflist, bad[i], 0600);
		assert_int_equal(runtime_conf_load(setup->conflist, &conf, &err), -1);
		assert_int_equal(err.class, ERR_PROTOCOL);
	}
	struct err err = { 0 };

	assert_int_equal(runtime_conf_load("/nonexistent/x.conflist", &conf, &err), -1);
	assert_int_equal(err.class, ERR_NOTFOUND);
}

/* ---- ADD ---- */

static void test_runtime_run__calls_as_a_runtime(void **state)
{
	struct setup *setup = *state;
	_cleanup_(runtime_pod_done) struct runtime_pod pod;
	struct runtime_outcome outcome;
	char address[PREFIX_STRLEN], want[400], inode[64];
	struct err err = { 0 };

	make_pod(setup, &pod);
	must(runtime_run(&setup->runtime, &pod, &outcome, &err), &err);
	assert_string_equal(prefix_str(&pod.address, address), "10.0.1.17/32");
	assert_true(pod_netns_exists(setup));
	assert_true(outcome.plugin_us > 0);
	assert_string_equal(outcome.plugin_error, "");
	_cleanup_free_ char *env = seen(setup, "env-ADD");
	_cleanup_free_ char *in = seen(setup, "stdin-ADD");
	_cleanup_free_ char *ns = seen(setup, "ns-ADD");

	assert_has(env, "CNI_COMMAND=ADD\n");
	assert_has(env, "CNI_IFNAME=eth0\n");
	(void)snprintf(want, sizeof(want), "CNI_NETNS=/run/netns/%s\n", setup->pod);
	assert_has(env, want);
	(void)snprintf(want, sizeof(want), "CNI_CONTAINERID=%s\n", pod.container);
	assert_has(env, want);
	(void)snprintf(want, sizeof(want), "CNI_PATH=%s\n", setup->dir);
	assert_has(env, want);
	(void)snprintf(want, sizeof(want), "K8S_POD_NAMESPACE=default;K8S_POD_NAME=%s;", setup->pod);
	assert_has(env, want);
	assert_has(in, "\"name\":\"berth\"");
	assert_has(in, "\"cniVersion\":\"1.0.0\"");
	assert_null(strstr(in, "prevResult"));
	/* In the node's namespace, not in ours and not in the pod's. */
	(void)snprintf(inode, sizeof(inode), "net:[%llu]\n", (unsigned long long)netns_cookie(setup->node_fd));
	assert_string_equal(ns, inode);
}

static void test_runtime_run__plugin_error_leaves_nothing(void **state)
{
	struct setup *setup = *state;
	_cleanup_(runtime_pod_done) struct runtime_pod pod;
	struct runtime_outcome outcome;
	struct err err = { 0 };

	tell_plugin(setup, "ADD", "echo '" PLUGIN_ERROR "'\nexit 1\n");
	make_pod(setup, &pod);
	assert_int_equal(runtime_run(&setup->runtime, &pod, &outcome, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
	assert_string_equal(outcome.plugin_error, PLUGIN_ERROR);
	assert_true(was_called(setup, "DEL"));
	assert_false(pod_netns_exists(setup));
	assert_null(pod.result);
}

static void test_runtime_run__output_that_is_no_cni(void **state)
{
	static const char *const scripts[] = {
		"exit 3\n",                               /* fails without a word */
		"echo oops >&2; exit 1\n",                /* with words in the wrong place */
		"echo '{\"msg\":\"no code\"}'; exit 1\n", /* not an error of CNI */
		"exit 0\n",                               /* succeeds without a result */
		"echo '{}'; exit 0\n",                    /* result without an address */
		"echo '{\"ips\":[{\"address\":\"10.0.1.17\"}]}'; exit 0\n",
	};
	struct setup *setup = *state;

	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		_cleanup_(runtime_pod_done) struct runtime_pod pod;
		struct runtime_outcome outcome;
		struct err err = { 0 };

		tell_plugin(setup, "ADD", scripts[i]);
		make_pod(setup, &pod);
		assert_int_equal(runtime_run(&setup->runtime, &pod, &outcome, &err), -1);
		assert_int_equal(err.class, ERR_PROTOCOL);
		assert_false(pod_netns_exists(setup));
	}
}

static void test_runtime_run__hanging_plugin_is_killed(void **state)
{
	struct setup *setup = *state;
	_cleanup_(runtime_pod_done) struct runtime_pod pod;
	struct runtime_outcome outcome;
	int64_t start_us = clock_now(&clock_boot);
	struct err err = { 0 };

	tell_plugin(setup, "ADD", "exec sleep 600\n");
	setup->runtime.timeout_us = 300 * USEC_PER_MSEC;
	make_pod(setup, &pod);
	assert_int_equal(runtime_run(&setup->runtime, &pod, &outcome, &err), -1);
	assert_int_equal(err.class, ERR_RETRY);
	assert_true(clock_now(&clock_boot) - start_us < 30 * USEC_PER_SEC);
	assert_true(was_called(setup, "DEL"));
	assert_false(pod_netns_exists(setup));
}

static void test_runtime_run__missing_plugin(void **state)
{
	struct setup *setup = *state;
	_cleanup_(runtime_pod_done) struct runtime_pod pod;
	struct runtime_outcome outcome;
	struct err err = { 0 };

	setup->runtime.plugin = "/nonexistent/berth";
	make_pod(setup, &pod);
	assert_int_equal(runtime_run(&setup->runtime, &pod, &outcome, &err), -1);
	assert_int_equal(err.class, ERR_NOTFOUND);
	assert_false(pod_netns_exists(setup));
}

static void test_runtime_run__namespace_in_use(void **state)
{
	struct setup *setup = *state;
	_cleanup_(runtime_pod_done) struct runtime_pod pod;
	struct runtime_outcome outcome;
	struct err err = { 0 };

	must(netns_add(setup->pod, &err), &err);
	make_pod(setup, &pod);
	assert_int_equal(runtime_run(&setup->runtime, &pod, &outcome, &err), -1);
	assert_int_equal(err.class, ERR_CONFLICT);
	assert_false(was_called(setup, "ADD"));
	assert_true(pod_netns_exists(setup));
}

#define TWO(a, b)                                                                                                      \
	"echo '{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"" a "\"},{\"address\":\"" b "\"}]}'\nexit 0\n"

static void test_runtime_run__both_families(void **state)
{
	struct setup *setup = *state;
	_cleanup_(runtime_pod_done) struct runtime_pod pod, again = { 0 };
	struct runtime_outcome outcome;
	char record[400], text[PREFIX_STRLEN];
	struct err err = { 0 };

	make_pod(setup, &pod);
	tell_plugin(setup, "ADD", TWO("10.0.1.17/32", "2600::17/128"));
	must(runtime_run(&setup->runtime, &pod, &outcome, &err), &err);
	(void)snprintf(record, sizeof(record), "%s/0.json", setup->dir);
	must(runtime_pod_save(&pod, record, &err), &err);
	must(runtime_pod_load(record, &again, &err), &err);
	assert_string_equal(prefix_str(&again.address, text), "10.0.1.17/32");
	assert_string_equal(prefix_str(&again.second, text), "2600::17/128");
}

static void test_runtime_run__two_addresses_of_one_family(void **state)
{
	struct setup *setup = *state;
	_cleanup_(runtime_pod_done) struct runtime_pod pod;
	struct runtime_outcome outcome;
	struct err err = { 0 };

	make_pod(setup, &pod);
	tell_plugin(setup, "ADD", TWO("10.0.1.17/32", "10.0.1.18/32"));
	assert_int_equal(runtime_run(&setup->runtime, &pod, &outcome, &err), -1);
	assert_int_equal(err.class, ERR_PROTOCOL);
	assert_false(pod_netns_exists(setup));
}

/* ---- DEL ---- */

static void test_runtime_stop__brings_previous_result(void **state)
{
	struct setup *setup = *state;
	_cleanup_(runtime_pod_done) struct runtime_pod pod, again = { 0 };
	struct runtime_outcome outcome;
	char record[400];
	struct err err = { 0 };

	make_pod(setup, &pod);
	must(runtime_run(&setup->runtime, &pod, &outcome, &err), &err);
	/* As another process: from the record alone. */
	(void)snprintf(record, sizeof(record), "%s/0.json", setup->dir);
	must(runtime_pod_save(&pod, record, &err), &err);
	must(runtime_pod_load(record, &again, &err), &err);
	assert_string_equal(again.container, pod.container);
	assert_int_equal(prefix_cmp(&again.address, &pod.address), 0);
	must(runtime_stop(&setup->runtime, &again, &outcome, &err), &err);
	_cleanup_free_ char *in = seen(setup, "stdin-DEL");
	_cleanup_free_ char *env = seen(setup, "env-DEL");

	assert_has(in, "\"prevResult\":{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.0.1.17/32\"}]}");
	assert_has(env, "CNI_COMMAND=DEL\n");
	assert_has(env, pod.container);
	assert_false(pod_netns_exists(setup));
}

static void test_runtime_stop__failed_del_can_be_repeated(void **state)
{
	struct setup *setup = *state;
	_cleanup_(runtime_pod_done) struct runtime_pod pod;
	struct runtime_outcome outcome;
	struct err err = { 0 };

	make_pod(setup, &pod);
	must(runtime_run(&setup->runtime, &pod, &outcome, &err), &err);
	tell_plugin(setup, "DEL", "echo '" PLUGIN_ERROR "'\nexit 1\n");
	assert_int_equal(runtime_stop(&setup->runtime, &pod, &outcome, &err), -1);
	assert_true(pod_netns_exists(setup));
	tell_plugin(setup, "DEL", "exit 0\n");
	must(runtime_stop(&setup->runtime, &pod, &outcome, &err), &err);
	assert_false(pod_netns_exists(setup));
}

/* ---- several at a time ---- */

struct worker {
	const struct setup *setup;
	unsigned index;
	int rc;
	struct err err;
};

static void *add_and_delete(void *arg)
{
	struct worker *worker = arg;
	_cleanup_(runtime_pod_done) struct runtime_pod pod = { 0 };
	struct runtime_outcome outcome;
	char name[RUNTIME_NAME_SIZE];

	(void)snprintf(name, sizeof(name), "%s%u", worker->setup->pod, worker->index);
	worker->rc = runtime_pod_init(&pod, name, &worker->err);
	if (worker->rc == 0)
		worker->rc = runtime_run(&worker->setup->runtime, &pod, &outcome, &worker->err);
	if (worker->rc == 0)
		worker->rc = runtime_stop(&worker->setup->runtime, &pod, &outcome, &worker->err);
	return NULL;
}

static void test_runtime_run__in_parallel(void **state)
{
	struct worker workers[THREADS];
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .setup = *state, .index = i };
		assert_int_equal(pthread_create(&threads[i], NULL, add_and_delete, &workers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		must(workers[i].rc, &workers[i].err);
}

/* ---- the runner below it ---- */

static void test_child_run__input_output_and_exit_code(void **state)
{
	static const char *const argv[] = { "sh", "-c", "cat; echo bad >&2; exit 7", NULL };
	struct child_spec spec = {
		.path = "sh", .argv = argv, .input = "hello", .netns_fd = -1, .timeout_us = 30 * USEC_PER_SEC
	};
	_cleanup_(child_result_done) struct child_result result = { 0 };
	struct err err = { 0 };

	(void)state;
	must(child_run(&spec, &result, &err), &err);
	assert_int_equal(result.exit_code, 7);
	assert_string_equal(result.out, "hello");
	assert_string_equal(result.err_text, "bad\n");
}

static void test_child_run__ended_by_a_signal(void **state)
{
	static const char *const argv[] = { "sh", "-c", "kill -9 $$", NULL };
	struct child_spec spec = { .path = "sh", .argv = argv, .netns_fd = -1, .timeout_us = 30 * USEC_PER_SEC };
	_cleanup_(child_result_done) struct child_result result = { 0 };
	struct err err = { 0 };

	(void)state;
	must(child_run(&spec, &result, &err), &err);
	assert_int_equal(result.exit_code, 128 + 9);
}

static void test_child_run__too_much_output(void **state)
{
	static const char *const argv[] = { "head", "-c", "2000000", "/dev/zero", NULL };
	struct child_spec spec = { .path = "head", .argv = argv, .netns_fd = -1, .timeout_us = 30 * USEC_PER_SEC };
	struct child_result result = { 0 };
	struct err err = { 0 };

	(void)state;
	assert_int_equal(child_run(&spec, &result, &err), -1);
	assert_int_equal(err.class, ERR_PROTOCOL);
	assert_null(result.out);
}

#define runtime_test(f) cmocka_unit_test_setup_teardown(f, setup_up, setup_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		runtime_test(test_runtime_conf_load__first_plugin_with_name_and_version),
		runtime_test(test_runtime_conf_load__errors),
		runtime_test(test_runtime_run__calls_as_a_runtime),
		runtime_test(test_runtime_run__plugin_error_leaves_nothing),
		runtime_test(test_runtime_run__output_that_is_no_cni),
		runtime_test(test_runtime_run__hanging_plugin_is_killed),
		runtime_test(test_runtime_run__missing_plugin),
		runtime_test(test_runtime_run__namespace_in_use),
		runtime_test(test_runtime_stop__brings_previous_result),
		runtime_test(test_runtime_stop__failed_del_can_be_repeated),
		runtime_test(test_runtime_run__both_families),
		runtime_test(test_runtime_run__two_addresses_of_one_family),
		runtime_test(test_runtime_run__in_parallel),
		check_unit_test(test_child_run__input_output_and_exit_code),
		check_unit_test(test_child_run__ended_by_a_signal),
		check_unit_test(test_child_run__too_much_output),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
