/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"
#include "cni/versions.h"
#include "ipamd/config.h"
#include "tests/check.h"

/* ---- the environment of a test: {name, value, ..., NULL} ---- */

static const char *const *env;

static const char *get_env(const char *name)
{
	for (size_t i = 0; env && env[i]; i += 2)
		if (str_equal(env[i], name))
			return env[i + 1];
	return NULL;
}

static int load_text(const char *text, struct config *ret, struct err *err)
{
	char path[512];

	check_path(path, sizeof(path), check_tmpdir(), "ipamd.json");
	assert_int_equal(fs_write_atomic(path, text, strlen(text), 0600), 0);
	return config_load(path, get_env, NULL, ret, err);
}

static int load_env(const char *const *pairs, struct config *ret, struct err *err)
{
	int r;

	env = pairs;
	r = config_load(NULL, get_env, NULL, ret, err);
	env = NULL;
	return r;
}

static void assert_says(const struct err *err, const char *word)
{
	if (!strstr(err->msg, word))
		fail_msg("\"%s\" is not in: %s", word, err->msg);
}

#define ENV(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* ---- tests ---- */

static void test_config_defaults__are_what_the_header_says(void **state)
{
	struct config c;

	(void)state;
	config_defaults(&c);
	assert_string_equal(c.cloud, "aws");
	assert_string_equal(c.cluster, "");
	assert_string_equal(c.run_dir, "/run/berth");
	assert_string_equal(c.conflist_dir, "/etc/cni/net.d");
	assert_string_equal(c.conflist_name, "10-berth.conflist");
	assert_string_equal(c.network, "berth");
	assert_int_equal(c.cni_versions.count, 1);
	assert_string_equal(c.cni_versions.list[0], "1.0.0");
	assert_int_equal(c.veth_name, CONFIG_NAMES_AUTO);
	assert_string_equal(config_veth_prefix(&c), "");
	assert_string_equal(c.metrics_address, "127.0.0.1:9479");
	assert_int_equal(c.log_level, LOG_INFO_);
	assert_true(c.warm_ips == CONFIG_WARM_AUTO);
	assert_int_equal(c.warm_blocks, 0);
	assert_int_equal(c.warm_nics, 0);
	assert_int_equal(c.min_ips, 0);
	assert_int_equal(c.max_nics, 0);
	assert_int_equal(c.max_pods, 110);
	assert_true(c.families.serves[0]);
	assert_false(c.families.serves[1]);
	assert_false(c.prefixes);
	assert_int_equal(c.access, CLOUD_ACCESS_FULL);
	assert_true(c.subnet_discovery);
	assert_int_equal(c.pod_subnets.count + c.pod_groups.count + c.nic_tags.count, 0);
	assert_true(c.source_check && c.metadata_guard && c.forward_accept);
	assert_int_equal(c.metadata_allow.count, 0);
	assert_int_equal(c.pause, PAUSE_NONE);
	assert_int_equal(c.cooldown_us, 30 * USEC_PER_SEC);
	assert_int_equal(c.release_delay_us, 600 * USEC_PER_SEC);
	assert_int_equal(c.list_period_us, 30 * 60 * USEC_PER_SEC);
	assert_int_equal(c.add_timeout_us, 60 * USEC_PER_SEC);
	assert_int_equal(c.unconfirmed_us, 120 * USEC_PER_SEC);
	assert_int_equal(c.reclaim_period_us, 30 * USEC_PER_SEC);
	assert_false(c.external_snat);
	assert_int_equal(c.snat_exclude.count, 0);
	assert_int_equal(c.mark_mask, 0x7e);
	assert_int_equal(c.rule_priority, 1024);
	assert_int_equal(c.table_base, 48640);
	assert_int_equal(c.mtu, 0);
}

static void test_config_load__nothing_given(void **state)
{
	struct config c, defaults;
	struct err err;

	(void)state;
	memset(&c, 0xff, sizeof(c));
	memset(&defaults, 0xff, sizeof(defaults));
	config_defaults(&defaults);
	assert_int_equal(config_load("", get_env, NULL, &c, &err), 0);
	assert_memory_equal(&c, &defaults, sizeof(c));
}

static void test_config_load__file_with_each_kind(void **state)
{
	struct config c;
	struct err err;

	(void)state;
	assert_int_equal(
		load_text("{\"cluster\": \"blue\", \"logLevel\": \"debug\", \"warmIPs\": 3, \"cooldown\": \"500ms\","
			  " \"listPeriod\": 60, \"externalSNAT\": true, \"markMask\": \"0xff00\", \"mtu\": null,"
			  " \"snatExclude\": [\"10.0.0.0/8\", \"192.0.2.1\"]}",
			  &c, &err),
		0);
	assert_string_equal(c.cluster, "blue");
	assert_int_equal(c.log_level, LOG_DEBUG_);
	assert_int_equal(c.warm_ips, 3);
	assert_int_equal(c.cooldown_us, 500 * USEC_PER_MSEC);
	assert_int_equal(c.list_period_us, 60 * USEC_PER_SEC);
	assert_true(c.external_snat);
	assert_int_equal(c.mark_mask, 0xff00);
	assert_int_equal(c.snat_exclude.count, 2);
	assert_int_equal(c.snat_exclude.list[1].len, 32);
}

/* Each that the plugin speaks, and no other. */
static void test_config_load__cni_versions(void **state)
{
	static const char *const wrong[] = { "0.2.0", "2.0.0", "1.0", "1.0.0,1.0.0", "" };
	struct config c;
	struct err err;
	char text[64];

	(void)state;
	for (unsigned v = 0; v < CNI_VERSION_COUNT; v++) {
		(void)snprintf(text, sizeof(text), "{\"cniVersions\": [\"%s\"]}",
			       cni_version_name((enum cni_version)v));
		assert_int_equal(load_text(text, &c, &err), 0);
		assert_int_equal(c.cni_versions.count, 1);
		assert_string_equal(c.cni_versions.list[0], cni_version_name((enum cni_version)v));
	}
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		(void)snprintf(text, sizeof(text), "{\"cniVersions\": \"%s\"}", wrong[i]);
		if (load_text(text, &c, &err) == 0)
			fail_msg("%s was accepted", wrong[i]);
		assert_non_null(strstr(err.msg, "cniVersions"));
	}
}

static void test_config_load__names_of_host_ends(void **state)
{
	static const struct {
		const char *text, *prefix;
	} cases[] = { { "{\"vethName\": \"container\"}", "" },
		      { "{\"vethName\": \"pod\"}", "cali" },
		      { "{\"vethName\": \"pod\", \"vethPrefix\": \"eni\"}", "eni" },
		      { "{\"vethPrefix\": \"x-1\"}", "x-1" } };
	static const char *const wrong[] = { "{\"vethName\": \"node\"}",
					     "{\"vethPrefix\": \"calic\"}",
					     "{\"vethPrefix\": \"a*\"}",
					     "{\"vethPrefix\": \"eth\"}",
					     "{\"vethPrefix\": \"bth\"}",
					     "{\"vethName\": \"pod\", \"vethPrefix\": \"bthx\"}",
					     "{\"vethName\": \"container\", \"vethPrefix\": \"eni\"}" };
	struct config c;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (load_text(cases[i].text, &c, &err) < 0)
			fail_msg("%s", err.msg);
		assert_string_equal(config_veth_prefix(&c), cases[i].prefix);
	}
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		if (load_text(wrong[i], &c, &err) == 0)
			fail_msg("%s was accepted", wrong[i]);
		assert_int_equal(err.class, ERR_INVALID);
		assert_non_null(strstr(err.msg, "veth"));
	}
}

static void test_config_load__warm_pool(void **state)
{
	struct config c;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(load_text("{\"warmIPs\": \"auto\", \"warmPrefixes\": 1, \"warmNICs\": 2}", &c, &err), 0);
	assert_true(c.warm_ips == CONFIG_WARM_AUTO);
	assert_int_equal(c.warm_blocks, 1);
	assert_int_equal(c.warm_nics, 2);
	assert_int_equal(load_text("{\"warmIPs\": \"automatic\"}", &c, &err), -1);
	assert_says(&err, "auto or a number, 0 to 4096");
}

static void test_config_load__environment_wins(void **state)
{
	struct config c;
	struct err err;

	(void)state;
	env = ENV("BERTH_WARM_IPS", "5", "BERTH_SNAT_EXCLUDE", "10.0.0.0/8, 192.0.2.0/24");
	assert_int_equal(load_text("{\"warmIPs\": 3, \"minIPs\": 4}", &c, &err), 0);
	env = NULL;
	assert_int_equal(c.warm_ips, 5);
	assert_int_equal(c.min_ips, 4);
	assert_int_equal(c.snat_exclude.count, 2);
}

static void test_config_load__pause(void **state)
{
	struct config c;
	struct err err;

	(void)state;
	assert_int_equal(load_text("{\"pause\": \"releases\"}", &c, &err), 0);
	assert_int_equal(c.pause, PAUSE_RELEASES);
	assert_int_equal(load_env(ENV("BERTH_PAUSE", "all"), &c, &err), 0);
	assert_int_equal(c.pause, PAUSE_ALL);
	assert_int_equal(load_env(ENV("BERTH_PAUSE", "yes"), &c, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
	assert_says(&err, "BERTH_PAUSE is \"yes\", not none, releases or all");
	assert_int_equal(load_text("{\"pause\": true}", &c, &err), -1);
}

static void test_config_load__families(void **state)
{
	static const struct {
		const char *text;
		int v4, v6; /* -1: refused */
	} cases[] = { { "ipv4", 1, 0 }, { "ipv6", 0, 1 },       { "ipv4,ipv6", 1, 1 }, { "ipv6, ipv4", 1, 1 },
		      { "", -1, 0 },    { "ipv4,ipv4", -1, 0 }, { "IPv4", -1, 0 },     { "ipv", -1, 0 },
		      { "v4", -1, 0 },  { "ipv46", -1, 0 } };
	struct config c;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = load_env(ENV("BERTH_FAMILIES", cases[i].text), &c, &err);

		if ((r == 0) != (cases[i].v4 >= 0))
			fail_msg("%s: %s", cases[i].text, r ? err.msg : "accepted");
		if (r == 0) {
			assert_int_equal(c.families.serves[ip_index(IP_V4)], cases[i].v4);
			assert_int_equal(c.families.serves[ip_index(IP_V6)], cases[i].v6);
		}
	}
	assert_int_equal(load_text("{\"families\": [\"ipv4\", \"ipv6\"]}", &c, &err), 0);
	assert_true(c.families.serves[0] && c.families.serves[1]);
}

static void test_config_load__modes_of_the_cloud(void **state)
{
	struct config c;
	struct err err;

	(void)state;
	assert_int_equal(load_env(ENV("BERTH_PREFIXES", "true", "BERTH_ACCESS", "read", "BERTH_SUBNET_DISCOVERY",
				      "false", "BERTH_POD_SUBNETS", "subnet-1, subnet-2,subnet-1",
				      "BERTH_POD_SECURITY_GROUPS", "sg-1"),
				  &c, &err),
			 0);
	assert_true(c.prefixes);
	assert_int_equal(c.access, CLOUD_ACCESS_READ);
	assert_false(c.subnet_discovery);
	assert_int_equal(c.pod_subnets.count, 2); /* one of them was there twice */
	assert_string_equal(c.pod_subnets.list[1], "subnet-2");
	assert_int_equal(c.pod_groups.count, 1);
	assert_string_equal(c.pod_groups.list[0], "sg-1");
	assert_int_equal(load_text("{\"access\": \"metadata\", \"podSubnets\": [\"a/b\", \"c:d\"]}", &c, &err), 0);
	assert_int_equal(c.access, CLOUD_ACCESS_METADATA);
	assert_int_equal(c.pod_subnets.count, 2);
	for (enum cloud_access a = 0; a < CLOUD_ACCESS_COUNT; a++) {
		assert_int_equal(load_env(ENV("BERTH_ACCESS", config_access_name(a)), &c, &err), 0);
		assert_int_equal(c.access, a);
	}
}

static void test_config_load__guards(void **state)
{
	struct config c;
	struct err err;

	(void)state;
	assert_int_equal(load_text("{\"sourceCheck\": false, \"metadataGuard\": false, \"forwardAccept\": false, "
				   "\"metadataAllow\": [\"kube-system\", \"ci\"]}",
				   &c, &err),
			 0);
	assert_false(c.source_check || c.metadata_guard || c.forward_accept);
	assert_int_equal(c.metadata_allow.count, 2);
	assert_string_equal(c.metadata_allow.list[1], "ci");
	assert_int_equal(load_env(ENV("BERTH_METADATA_ALLOW", "kube-system, ci"), &c, &err), 0);
	assert_int_equal(c.metadata_allow.count, 2);
	assert_int_equal(load_env(ENV("BERTH_METADATA_ALLOW", "\"x\""), &c, &err), -1);
}

static void test_config_load__ids_that_are_too_many(void **state)
{
	char text[64 * 8] = "", long_id[CLOUD_ID_SIZE + 1];
	struct config c;
	struct err err;

	(void)state;
	for (unsigned i = 0; i <= CONFIG_IDS_MAX; i++) {
		size_t len = strlen(text);

		if (i == CONFIG_IDS_MAX) {
			assert_int_equal(load_env(ENV("BERTH_POD_SUBNETS", text), &c, &err), 0);
			assert_int_equal(c.pod_subnets.count, CONFIG_IDS_MAX);
		}
		(void)snprintf(text + len, sizeof(text) - len, "%ssubnet-%u", i ? "," : "", i);
	}
	assert_int_equal(load_env(ENV("BERTH_POD_SUBNETS", text), &c, &err), -1);
	memset(long_id, 'a', sizeof(long_id));
	long_id[CLOUD_ID_SIZE] = '\0';
	assert_int_equal(load_env(ENV("BERTH_POD_SUBNETS", long_id), &c, &err), -1);
	assert_int_equal(load_env(ENV("BERTH_POD_SUBNETS", long_id + 1), &c, &err), 0);
}

static void test_config_load__tags(void **state)
{
	struct config c;
	struct err err;

	(void)state;
	assert_int_equal(load_env(ENV("BERTH_NIC_TAGS", "team=blue, cost=a=b,empty="), &c, &err), 0);
	assert_int_equal(c.nic_tags.count, 3);
	assert_string_equal(c.nic_tags.list[0].key, "team");
	assert_string_equal(c.nic_tags.list[1].key, "cost");
	assert_string_equal(c.nic_tags.list[1].value, "a=b");
	assert_string_equal(c.nic_tags.list[2].value, "");
	assert_int_equal(load_env(ENV("BERTH_NIC_TAGS", "{\"a b\": \"x,y\"}"), &c, &err), 0);
	assert_int_equal(c.nic_tags.count, 1);
	assert_string_equal(c.nic_tags.list[0].key, "a b");
	assert_string_equal(c.nic_tags.list[0].value, "x,y");
	assert_int_equal(load_text("{\"nicTags\": {\"team\": \"blue\", \"Name\": \"n\"}}", &c, &err), 0);
	assert_int_equal(c.nic_tags.count, 2);
	assert_int_equal(load_env(ENV("BERTH_NIC_TAGS", "{}"), &c, &err), 0);
	assert_int_equal(load_env(ENV("BERTH_NIC_TAGS", ""), &c, &err), 0);
	assert_int_equal(c.nic_tags.count, 0);
}

/* @count tags whose keys have @key_size bytes and whose values @value_size. */
static int load_tags(unsigned count, unsigned key_size, unsigned value_size, struct config *ret, struct err *err)
{
	static char text[64 << 10];
	size_t len = 0;

	for (unsigned i = 0; i < count; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%0*u=%0*u", i ? "," : "", (int)key_size, i,
					(int)value_size, i);
	return load_env(ENV("BERTH_NIC_TAGS", text), ret, err);
}

static void test_config_load__tags_at_their_limits(void **state)
{
	struct config c;
	struct err err;

	(void)state;
	assert_int_equal(load_tags(40, 127, 255, &c, &err), 0);
	assert_int_equal(c.nic_tags.count, 40);
	assert_int_equal(strlen(c.nic_tags.list[39].key), 127);
	assert_int_equal(strlen(c.nic_tags.list[39].value), 255);
	assert_int_equal(load_tags(41, 4, 4, &c, &err), -1);
	assert_int_equal(load_tags(1, 128, 4, &c, &err), -1);
	assert_int_equal(load_tags(1, 4, 256, &c, &err), -1);
}

static void test_config_load__durations(void **state)
{
	static const struct {
		const char *text;
		int64_t us; /* -1: refused */
	} cases[] = {
		{ "30", 30 * USEC_PER_SEC },
		{ "30s", 30 * USEC_PER_SEC },
		{ "1500ms", 1500 * USEC_PER_MSEC },
		{ "5m", 300 * USEC_PER_SEC },
		{ "1h", 3600 * USEC_PER_SEC },
		{ "0", 0 },
		{ "", -1 },
		{ "s", -1 },
		{ "-1s", -1 },
		{ "1.5s", -1 },
		{ "1d", -1 },
		{ "30 s", -1 },
		{ "2h", -1 },
		{ "99999999999999999999s", -1 },
		{ "9999999999999999999h", -1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config c;
		struct err err;
		int r = load_env(ENV("BERTH_COOLDOWN", cases[i].text), &c, &err);

		if ((r == 0) != (cases[i].us >= 0))
			fail_msg("%s: %s", cases[i].text, r ? err.msg : "accepted");
		if (r == 0)
			assert_int_equal(c.cooldown_us, cases[i].us);
	}
}

/* Each of these is refused with class INVALID, and the message holds both words. */
static void test_config_load__values_that_are_refused(void **state)
{
	static const struct {
		const char *name, *value, *also;
	} cases[] = {
		{ "BERTH_WARM_IPS", "many", "environment" },
		{ "BERTH_WARM_IPS", "-1", "0 to 4096" },
		{ "BERTH_WARM_IPS", "4097", "4097" },
		{ "BERTH_LOG_LEVEL", "loud", "error, warn, info or debug" },
		{ "BERTH_EXTERNAL_SNAT", "maybe", "true or false" },
		{ "BERTH_SNAT_EXCLUDE", "10.0.0.1/8", "host bits" },
		{ "BERTH_SNAT_EXCLUDE", "10.0.0.0/8;10.1.0.0/16", "prefixes" },
		{ "BERTH_MARK_MASK", "0x", "0x" },
		{ "BERTH_MARK_MASK", "0x1ffffffff", "number" },
		{ "BERTH_MARK_MASK", "0xzz", "number" },
		{ "BERTH_RULE_PRIORITY", "32766", "32702" },
		{ "BERTH_TABLE_BASE", "255", "256" },
		{ "BERTH_MTU", "70000", "65535" },
		{ "BERTH_LIST_PERIOD", "500ms", "1s" },
		{ "BERTH_FAMILIES", "ipx", "ipv4, ipv6 or ipv4,ipv6" },
		{ "BERTH_ACCESS", "none", "full, read or metadata" },
		{ "BERTH_POD_SUBNETS", "subnet-1;subnet-2", "IDs" },
		{ "BERTH_NIC_TAGS", "team", "key=value" },
		{ "BERTH_NIC_TAGS", "=blue", "key=value" },
		{ "BERTH_NIC_TAGS", "a=1,a=2", "key=value" },
		{ "BERTH_NIC_TAGS", "aws:x=1", "aws:" },
		{ "BERTH_NIC_TAGS", "AWS:x=1", "aws:" },
		{ "BERTH_NIC_TAGS", "node.berth.io/instance_id=i-1", "node.berth.io/" },
		{ "BERTH_NIC_TAGS", "node.k8s.amazonaws.com/no_manage=true", "cluster.k8s.amazonaws.com/" },
		{ "BERTH_NIC_TAGS", "{\"a\": 1}", "key=value" },
		{ "BERTH_NIC_TAGS", "{\"a\": \"1\"", "key=value" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config c;
		struct err err;

		if (load_env(ENV(cases[i].name, cases[i].value), &c, &err) == 0)
			fail_msg("%s=%s was accepted", cases[i].name, cases[i].value);
		assert_int_equal(err.class, ERR_INVALID);
		assert_says(&err, cases[i].name);
		assert_says(&err, cases[i].also);
	}
}

static void test_config_load__checks_over_several_settings(void **state)
{
	static const struct {
		const char *pairs[5];
		const char *says;
	} cases[] = {
		{ { "BERTH_MARK_MASK", "0" }, "BERTH_MARK_MASK" },
		{ { "BERTH_MARK_MASK", "0x5" }, "one run" },
		{ { "BERTH_MARK_MASK", "0x3", "BERTH_MAX_NICS", "4" }, "tells 3 NICs apart" },
		{ { "BERTH_MIN_IPS", "111" }, "minIPs 111 is above maxPods 110" },
		{ { "BERTH_MTU", "100" }, "576" },
		{ { "BERTH_RUN_DIR", "run" }, "start with /" },
		{ { "BERTH_CONFLIST_NAME", "../x.conflist" }, "conflistName" },
		{ { "BERTH_CONFLIST_NAME", "10-berth.conf" }, "conflistName" },
		{ { "BERTH_NETWORK", "-x" }, "network" },
		{ { "BERTH_NETWORK", "" }, "network" },
		{ { "BERTH_CLOUD", "" }, "cloud" },
		{ { "BERTH_METRICS_ADDRESS", "localhost:9479" }, "metricsAddress" },
		{ { "BERTH_METRICS_ADDRESS", "127.0.0.1:0" }, "metricsAddress" },
		{ { "BERTH_METRICS_ADDRESS", "::1:9479" }, "metricsAddress" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config c;
		struct err err;

		if (load_env(cases[i].pairs, &c, &err) == 0)
			fail_msg("%s=%s was accepted", cases[i].pairs[0], cases[i].pairs[1]);
		assert_int_equal(err.class, ERR_INVALID);
		assert_says(&err, cases[i].says);
	}
}

static void test_config_load__masks_and_addresses_that_are_fine(void **state)
{
	struct config c;
	struct err err;

	(void)state;
	assert_int_equal(load_env(ENV("BERTH_MARK_MASK", "0x80000000"), &c, &err), 0);
	assert_int_equal(c.mark_mask, 0x80000000);
	assert_int_equal(load_env(ENV("BERTH_MARK_MASK", "0xFFFFFFFF"), &c, &err), 0);
	assert_int_equal(load_env(ENV("BERTH_METRICS_ADDRESS", ""), &c, &err), 0);
	assert_int_equal(load_env(ENV("BERTH_METRICS_ADDRESS", "[::]:9479"), &c, &err), 0);
}

static void test_config_load__unknown_key_names_the_nearest(void **state)
{
	struct config c;
	struct err err;

	(void)state;
	assert_int_equal(load_text("{\"warmIps\": 3}", &c, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
	assert_says(&err, "warmIps");
	assert_says(&err, "nearest one is warmIPs");
	assert_int_equal(load_text("{\"coolDownTime\": 3}", &c, &err), -1);
	assert_says(&err, "nearest one is cooldown");
}

static void test_config_load__unknown_variable(void **state)
{
	char *names[] = { (char[]){ "PATH=/bin" }, (char[]){ "BERTH_WARM_IP=3" }, NULL };
	char *fine[] = { (char[]){ "BERTH_WARM_IPS=3" }, (char[]){ "BERTH_IPAMD_SERVICE_HOST=10.0.0.1" },
			 (char[]){ "BERTH_IPAMD_PORT=tcp://10.0.0.1:9479" },
			 (char[]){ "BERTH_IPAMD_PORT_9479_TCP_ADDR=10.0.0.1" }, NULL };
	struct config c;
	struct err err;

	(void)state;
	assert_int_equal(config_load(NULL, get_env, names, &c, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
	assert_says(&err, "BERTH_WARM_IP is no setting");
	assert_says(&err, "BERTH_WARM_IPS");
	assert_int_equal(config_load(NULL, get_env, fine, &c, &err), 0);
}

static void test_config_load__bad_files(void **state)
{
	static const char *const texts[] = { "",
					     "{",
					     "[]",
					     "{\"warmIPs\": 3.5}",
					     "{\"warmIPs\": true}",
					     "{\"cluster\": 3}",
					     "{\"snatExclude\": [3]}",
					     "{\"snatExclude\": [\"1.2.3.4,1.2.3.5\"]}",
					     "{\"warmIPs\": 1, \"warmIPs\": 2}",
					     "{\"nicTags\": [\"a=b\"]}",
					     "{\"podSubnets\": {\"a\": \"b\"}}",
					     "{\"families\": []}",
					     "{\"externalSNAT\": 1}" };
	struct config c;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (load_text(texts[i], &c, &err) == 0)
			fail_msg("accepted: %s", texts[i]);
		assert_int_equal(err.class, ERR_INVALID);
		assert_says(&err, "ipamd.json");
	}
	assert_int_equal(config_load("/nonexistent/ipamd.json", get_env, NULL, &c, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
}

static void test_config_load__untouched_on_failure(void **state)
{
	struct config c, before;
	struct err err;

	(void)state;
	memset(&c, 0x5a, sizeof(c));
	before = c;
	assert_int_equal(load_env(ENV("BERTH_MTU", "x"), &c, &err), -1);
	assert_memory_equal(&c, &before, sizeof(c));
}

/* docs/config.md holds exactly the table that the program prints. */
static void test_config_help__is_what_the_docs_say(void **state)
{
	_cleanup_free_ char *page = check_golden("docs/config.md", NULL);
	_cleanup_free_ char *table = NULL;
	size_t size;
	FILE *out = open_memstream(&table, &size);

	(void)state;
	assert_non_null(out);
	config_help(out, true);
	assert_int_equal(fclose(out), 0);
	assert_non_null(strstr(table, "`BERTH_WARM_IPS`"));
	if (!strstr(page, table))
		fail_msg("docs/config.md is out of date: its table is not what berth-ipamd --help-markdown prints");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_config_defaults__are_what_the_header_says),
		check_unit_test(test_config_load__nothing_given),
		check_unit_test(test_config_load__file_with_each_kind),
		check_unit_test(test_config_load__cni_versions),
		check_unit_test(test_config_load__names_of_host_ends),
		check_unit_test(test_config_load__warm_pool),
		check_unit_test(test_config_load__environment_wins),
		check_unit_test(test_config_load__pause),
		check_unit_test(test_config_load__families),
		check_unit_test(test_config_load__modes_of_the_cloud),
		check_unit_test(test_config_load__guards),
		check_unit_test(test_config_load__ids_that_are_too_many),
		check_unit_test(test_config_load__tags),
		check_unit_test(test_config_load__tags_at_their_limits),
		check_unit_test(test_config_load__durations),
		check_unit_test(test_config_load__values_that_are_refused),
		check_unit_test(test_config_load__checks_over_several_settings),
		check_unit_test(test_config_load__masks_and_addresses_that_are_fine),
		check_unit_test(test_config_load__unknown_key_names_the_nearest),
		check_unit_test(test_config_load__unknown_variable),
		check_unit_test(test_config_load__bad_files),
		check_unit_test(test_config_load__untouched_on_failure),
		check_unit_test(test_config_help__is_what_the_docs_say),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
