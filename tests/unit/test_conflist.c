/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "cni/cnierr.h"
#include "cni/conf.h"
#include "ipamd/config.h"
#include "ipamd/conflist.h"
#include "tests/check.h"

#define NAME "10-berth.conflist"

static const struct conflist usual = { .network = "berth", .socket_path = "/run/berth/ipamd.sock" };
static const struct conflist other = { .network = "berth", .socket_path = "/run/other/ipamd.sock" };

static unsigned count_entries(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned count = 0;

	assert_non_null(d);
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		count += e->d_name[0] != '.' || strlen(e->d_name) > 2;
	(void)closedir(d);
	return count;
}

static void test_conflist_write__is_what_a_runtime_reads(void **state)
{
	const char *dir = check_tmpdir();
	_cleanup_free_ char *text = NULL;
	json_auto_t *json = NULL;
	char path[512];
	struct stat st;
	struct err err;
	json_t *plugin;

	(void)state;
	assert_int_equal(conflist_write(dir, NAME, &usual, &err), 0);
	assert_int_equal(fs_read(check_path(path, sizeof(path), dir, NAME), 4096, &text, NULL), 0);
	json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	assert_string_equal(json_string_value(json_object_get(json, "cniVersion")), "1.0.0");
	assert_string_equal(json_string_value(json_object_get(json, "name")), "berth");
	assert_int_equal(json_array_size(json_object_get(json, "plugins")), 1);
	plugin = json_array_get(json_object_get(json, "plugins"), 0);
	assert_string_equal(json_string_value(json_object_get(plugin, "type")), "berth");
	assert_string_equal(json_string_value(json_object_get(plugin, "socket")), "/run/berth/ipamd.sock");
	/* libcni hands on only what is declared */
	assert_true(json_is_true(json_object_get(json_object_get(plugin, "capabilities"), "portMappings")));
	assert_true(json_is_true(json_object_get(json_object_get(plugin, "capabilities"), "bandwidth")));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(count_entries(dir), 1); /* no temp file stays */
}

/* As libcni does it: name and version go into the plugin's own object, which is what it gets on stdin. */
static struct cni_conf as_plugin(const struct conflist *conflist)
{
	const char *dir = check_tmpdir();
	_cleanup_free_ char *text = NULL, *input = NULL;
	json_auto_t *json = NULL;
	struct cni_conf conf;
	struct cnierr cnierr;
	char path[512];
	struct err err;
	json_t *plugin;

	assert_int_equal(conflist_write(dir, NAME, conflist, &err), 0);
	assert_int_equal(fs_read(check_path(path, sizeof(path), dir, NAME), 4096, &text, NULL), 0);
	json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	plugin = json_array_get(json_object_get(json, "plugins"), 0);
	assert_int_equal(json_object_set(plugin, "name", json_object_get(json, "name")), 0);
	assert_int_equal(json_object_set(plugin, "cniVersion", json_object_get(json, "cniVersion")), 0);
	input = json_dumps(plugin, 0);
	assert_non_null(input);
	if (cni_conf_parse(input, strlen(input), &conf, &cnierr) < 0)
		fail_msg("%s", cnierr.msg);
	return conf;
}

static void test_conflist_write__versions(void **state)
{
	static const struct {
		const char *setting, *want;
	} cases[] = { { "1.0.0", "{\"cniVersion\":\"1.0.0\",\"name\"" },
		      { "1.1.0", "{\"cniVersion\":\"1.1.0\",\"name\"" },
		      { "1.1.0,1.0.0", "{\"cniVersion\":\"1.0.0\",\"cniVersions\":[\"1.0.0\",\"1.1.0\"],\"name\"" } };
	const char *dir = check_tmpdir();
	char path[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = NULL, *compact = NULL;
		struct conflist conflist = usual;
		struct config config;
		json_auto_t *json = NULL;
		struct err err;

		config_defaults(&config);
		assert_int_equal(setenv("BERTH_CNI_VERSIONS", cases[i].setting, 1), 0);
		assert_int_equal(config_load(NULL, NULL, NULL, &config, &err), 0);
		assert_int_equal(unsetenv("BERTH_CNI_VERSIONS"), 0);
		conflist.versions = &config.cni_versions;
		assert_int_equal(conflist_write(dir, NAME, &conflist, &err), 0);
		assert_int_equal(fs_read(check_path(path, sizeof(path), dir, NAME), 4096, &text, NULL), 0);
		json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
		compact = json_dumps(json, JSON_COMPACT);
		if (!compact || strncmp(compact, cases[i].want, strlen(cases[i].want)) != 0)
			fail_msg("%s: %s", cases[i].setting, compact);
	}
}

static void test_conflist_write__names_of_host_ends(void **state)
{
	struct conflist by_pod = usual;

	(void)state;
	assert_string_equal(as_plugin(&usual).veth_prefix, "");
	by_pod.veth_prefix = "";
	assert_string_equal(as_plugin(&by_pod).veth_prefix, "");
	by_pod.veth_prefix = "eni";
	assert_string_equal(as_plugin(&by_pod).veth_prefix, "eni");
	assert_string_equal(as_plugin(&by_pod).socket, "/run/berth/ipamd.sock");
}

static void test_conflist_write__again_leaves_the_file_alone(void **state)
{
	const char *dir = check_tmpdir();
	struct stat before, after;
	char path[512];
	struct err err;

	(void)state;
	assert_int_equal(conflist_write(dir, NAME, &usual, &err), 0);
	assert_int_equal(stat(check_path(path, sizeof(path), dir, NAME), &before), 0);
	assert_int_equal(conflist_write(dir, NAME, &usual, &err), 0);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino); /* a rename would bring another inode */
	assert_int_equal(conflist_write(dir, NAME, &other, &err), 0);
	assert_int_equal(stat(path, &after), 0);
	assert_int_not_equal(before.st_ino, after.st_ino);
}

static void test_conflist_write__makes_its_directory(void **state)
{
	char dir[512], path[600];
	struct err err;

	(void)state;
	check_path(dir, sizeof(dir), check_tmpdir(), "cni/net.d");
	assert_int_equal(conflist_write(dir, NAME, &usual, &err), 0);
	assert_true(fs_exists(check_path(path, sizeof(path), dir, NAME)));
}

static void test_conflist_write__with_a_file_for_a_directory(void **state)
{
	char dir[512];
	struct err err;

	(void)state;
	check_path(dir, sizeof(dir), check_tmpdir(), "file");
	assert_int_equal(fs_write_atomic(dir, "x", 1, 0600), 0);
	assert_int_equal(conflist_write(dir, NAME, &usual, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
	assert_string_equal(err.domain, "conflist");
}

static void test_conflist_remove__twice(void **state)
{
	const char *dir = check_tmpdir();
	struct err err;

	(void)state;
	assert_int_equal(conflist_write(dir, NAME, &usual, &err), 0);
	assert_int_equal(conflist_remove(dir, NAME, &err), 0);
	assert_int_equal(count_entries(dir), 0);
	assert_int_equal(conflist_remove(dir, NAME, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_conflist_write__is_what_a_runtime_reads),
		check_unit_test(test_conflist_write__versions),
		check_unit_test(test_conflist_write__names_of_host_ends),
		check_unit_test(test_conflist_write__again_leaves_the_file_alone),
		check_unit_test(test_conflist_write__makes_its_directory),
		check_unit_test(test_conflist_write__with_a_file_for_a_directory),
		check_unit_test(test_conflist_remove__twice),
	};

	return cmocka_run_group_tests_name("conflist", tests, NULL, NULL);
}
