/* SPDX-License-Identifier: Apache-2.0 */
/* What the variables of amazon-vpc-cni-k8s do to the configuration: each rule of cloud.h, each row, each interplay. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"
#include "ipamd/config.h"
#include "tests/check.h"

#define NAMES_MAX 16

static const char *const *env; /* {name, value, ..., NULL} */

static const char *get_env(const char *name)
{
	for (size_t i = 0; env && env[i]; i += 2)
		if (str_equal(env[i], name))
			return env[i + 1];
	return NULL;
}

/* @file: text of a configuration file, NULL for none. */
static int load(const char *file, const char *const *pairs, struct config *ret, struct err *err)
{
	char path[512] = "";
	int r;

	if (file) {
		check_path(path, sizeof(path), check_tmpdir(), "ipamd.json");
		assert_int_equal(fs_write_atomic(path, file, strlen(file), 0600), 0);
	}
	env = pairs;
	r = config_load(path, get_env, NULL, ret, err);
	env = NULL;
	return r;
}

static struct config must_load(const char *const *pairs)
{
	struct config c;
	struct err err;

	if (load(NULL, pairs, &c, &err) < 0)
		fail_msg("%s=%s: %s", pairs[0], pairs[1], err.msg);
	return c;
}

/* Refused, and the message holds both words. */
static void must_refuse(const char *const *pairs, const char *word, const char *also)
{
	struct config c;
	struct err err;

	if (load(NULL, pairs, &c, &err) == 0)
		fail_msg("%s=%s was accepted", pairs[0], pairs[1]);
	assert_int_equal(err.class, ERR_INVALID);
	if (!strstr(err.msg, word) || !strstr(err.msg, also))
		fail_msg("\"%s\" and \"%s\" are not in: %s", word, also, err.msg);
}

#define ENV(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* ---- what is said ---- */

struct said {
	unsigned count;
	char names[NAMES_MAX][128];
	char notes[NAMES_MAX][256];
};

static void keep(const char *name, const char *note, void *arg)
{
	struct said *said = arg;

	assert_true(said->count < NAMES_MAX);
	(void)str_copy(said->names[said->count], sizeof(said->names[0]), name);
	(void)str_copy(said->notes[said->count++], sizeof(said->notes[0]), note);
}

static struct said warnings(const char *const *pairs, char *const *names)
{
	struct said said = { 0 };
	struct config c;

	config_defaults(&c);
	env = pairs;
	config_warnings(&c, get_env, names, keep, &said);
	env = NULL;
	return said;
}

static void assert_said(const struct said *said, const char *name, const char *word)
{
	for (unsigned i = 0; i < said->count; i++)
		if (str_equal(said->names[i], name) && strstr(said->notes[i], word))
			return;
	fail_msg("%s, %s: not said", name, word);
}

/* ---- values that are taken as they are ---- */

static void test_config_vars__settings(void **state)
{
	struct config c;

	(void)state;
	assert_int_equal(must_load(ENV("IP_COOLDOWN_PERIOD", "45")).cooldown_us, 45 * USEC_PER_SEC);
	assert_int_equal(must_load(ENV("IP_COOLDOWN_PERIOD", "0")).cooldown_us, 0);
	assert_int_equal(must_load(ENV("AWS_VPC_ENI_MTU", "1500")).mtu, 1500);
	assert_int_equal(must_load(ENV("POD_MTU", "1400", "AWS_VPC_ENI_MTU", "9001")).mtu, 1400);
	assert_true(must_load(ENV("AWS_VPC_K8S_CNI_EXTERNALSNAT", "true")).external_snat);
	assert_false(must_load(ENV("AWS_VPC_K8S_CNI_EXTERNALSNAT", "false")).external_snat);
	assert_false(must_load(ENV("ENABLE_SUBNET_DISCOVERY", "false")).subnet_discovery);
	assert_true(must_load(ENV("CLUSTER_NAME", "x")).egress[ip_index(IP_V4)]);
	assert_false(must_load(ENV("CLUSTER_NAME", "x")).egress[ip_index(IP_V6)]);
	assert_false(must_load(ENV("ENABLE_V4_EGRESS", "false")).egress[ip_index(IP_V4)]);
	assert_true(must_load(ENV("ENABLE_V6_EGRESS", "true")).egress[ip_index(IP_V6)]);
	c = must_load(ENV("CLUSTER_NAME", "blue"));
	assert_string_equal(c.cluster, "blue");
	c = must_load(ENV("AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS", "10.1.0.0/16,10.2.0.0/16"));
	assert_int_equal(c.snat_exclude.count, 2);
	c = must_load(ENV("ADDITIONAL_ENI_TAGS", "{\"team\":\"blue\"}"));
	assert_int_equal(c.nic_tags.count, 1);
	assert_string_equal(c.nic_tags.list[0].value, "blue");
}

static void test_config_vars__levels_are_called_otherwise(void **state)
{
	static const struct {
		const char *there;
		enum log_level here;
	} cases[] = { { "DEBUG", LOG_DEBUG_ }, { "INFO", LOG_INFO_ },   { "WARN", LOG_WARN_ },
		      { "ERROR", LOG_ERROR_ }, { "FATAL", LOG_ERROR_ }, { "debug", LOG_DEBUG_ } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(must_load(ENV("AWS_VPC_K8S_CNI_LOGLEVEL", cases[i].there)).log_level, cases[i].here);
	must_refuse(ENV("AWS_VPC_K8S_CNI_LOGLEVEL", "LOUD"), "AWS_VPC_K8S_CNI_LOGLEVEL is \"LOUD\"", "debug");
}

static void test_config_vars__switches(void **state)
{
	struct config c;

	(void)state;
	assert_true(must_load(ENV("ENABLE_PREFIX_DELEGATION", "true")).prefixes);
	assert_false(must_load(ENV("ENABLE_PREFIX_DELEGATION", "false")).prefixes);
	assert_int_equal(must_load(ENV("DISABLE_NETWORK_RESOURCE_PROVISIONING", "true")).access, CLOUD_ACCESS_READ);
	assert_int_equal(must_load(ENV("DISABLE_NETWORK_RESOURCE_PROVISIONING", "false")).access, CLOUD_ACCESS_FULL);
	assert_int_equal(must_load(ENV("ENABLE_IMDS_ONLY_MODE", "true")).access, CLOUD_ACCESS_METADATA);
	assert_int_equal(
		must_load(ENV("ENABLE_IMDS_ONLY_MODE", "true", "DISABLE_NETWORK_RESOURCE_PROVISIONING", "true")).access,
		CLOUD_ACCESS_METADATA);
	c = must_load(ENV("DISABLE_METRICS", "true"));
	assert_string_equal(c.metrics_address, "");
	must_refuse(ENV("ENABLE_PREFIX_DELEGATION", "maybe"), "ENABLE_PREFIX_DELEGATION is \"maybe\"", "true or false");
}

static void test_config_vars__families(void **state)
{
	static const struct {
		const char *pairs[5];
		bool v4, v6;
	} cases[] = {
		{ { "ENABLE_IPv4", "true", "ENABLE_IPv6", "false" }, true, false },
		{ { "ENABLE_IPv4", "false", "ENABLE_IPv6", "true" }, false, true },
		{ { "ENABLE_IPv6", "true" }, false, true },
		{ { "ENABLE_IPv4", "true", "ENABLE_IPv6", "true" }, true, true },
		{ { "ENABLE_IPv4", "false" }, true, false },
		{ { "ENABLE_IPv6", "true", "BERTH_FAMILIES", "ipv4" }, true, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config c = must_load(cases[i].pairs);

		assert_int_equal(c.families.serves[ip_index(IP_V4)], cases[i].v4);
		assert_int_equal(c.families.serves[ip_index(IP_V6)], cases[i].v6);
	}
	must_refuse(ENV("ENABLE_IPv6", "both"), "ENABLE_IPv6 is \"both\"", "true or false");
}

/* ---- the warm pool ---- */

static void test_config_vars__warm_targets(void **state)
{
	static const struct {
		const char *pairs[9];
		unsigned warm_ips, min_ips, warm_nics, warm_blocks;
	} cases[] = {
		{ { "WARM_IP_TARGET", "5" }, 5, 0, 0, 0 },
		{ { "WARM_ENI_TARGET", "2" }, CONFIG_WARM_AUTO, 0, 2, 0 },
		{ { "WARM_ENI_TARGET", "0" }, CONFIG_WARM_AUTO, 0, 0, 0 },
		/* Prefixes are warm only where there are prefixes, and then instead of NICs. */
		{ { "WARM_PREFIX_TARGET", "1" }, CONFIG_WARM_AUTO, 0, 0, 0 },
		{ { "WARM_ENI_TARGET", "1", "WARM_PREFIX_TARGET", "3", "ENABLE_PREFIX_DELEGATION", "false" },
		  CONFIG_WARM_AUTO,
		  0,
		  1,
		  0 },
		{ { "WARM_ENI_TARGET", "1", "WARM_PREFIX_TARGET", "3", "ENABLE_PREFIX_DELEGATION", "true" },
		  CONFIG_WARM_AUTO,
		  0,
		  0,
		  3 },
		{ { "WARM_ENI_TARGET", "1", "WARM_PREFIX_TARGET", "3", "BERTH_PREFIXES", "true" },
		  CONFIG_WARM_AUTO,
		  0,
		  0,
		  3 },
		{ { "WARM_ENI_TARGET", "1", "ENABLE_PREFIX_DELEGATION", "true", "BERTH_PREFIXES", "false" },
		  CONFIG_WARM_AUTO,
		  0,
		  1,
		  0 },
		/* A target of addresses goes before both. */
		{ { "WARM_IP_TARGET", "5", "WARM_ENI_TARGET", "1" }, 5, 0, 0, 0 },
		{ { "MINIMUM_IP_TARGET", "20", "WARM_ENI_TARGET", "1" }, CONFIG_WARM_AUTO, 20, 0, 0 },
		{ { "WARM_IP_TARGET", "5", "WARM_PREFIX_TARGET", "1", "ENABLE_PREFIX_DELEGATION", "true" },
		  5,
		  0,
		  0,
		  0 },
		{ { "MINIMUM_IP_TARGET", "7", "WARM_PREFIX_TARGET", "1", "ENABLE_PREFIX_DELEGATION", "true" },
		  CONFIG_WARM_AUTO,
		  7,
		  0,
		  0 },
		/* Zero is none, and what is no number is the default: neither goes before anything. */
		{ { "WARM_IP_TARGET", "0", "MINIMUM_IP_TARGET", "0", "WARM_ENI_TARGET", "1" },
		  CONFIG_WARM_AUTO,
		  0,
		  1,
		  0 },
		{ { "WARM_IP_TARGET", "-1", "WARM_ENI_TARGET", "1" }, CONFIG_WARM_AUTO, 0, 1, 0 },
		{ { "WARM_IP_TARGET", "many", "WARM_ENI_TARGET", "few" }, CONFIG_WARM_AUTO, 0, 0, 0 },
		{ { "WARM_IP_TARGET", "" }, CONFIG_WARM_AUTO, 0, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config c = must_load(cases[i].pairs);

		if (c.warm_ips != cases[i].warm_ips || c.min_ips != cases[i].min_ips ||
		    c.warm_nics != cases[i].warm_nics || c.warm_blocks != cases[i].warm_blocks)
			fail_msg("case %zu, %s=%s: warmIPs %u minIPs %u warmNICs %u warmPrefixes %u", i,
				 cases[i].pairs[0], cases[i].pairs[1], c.warm_ips, c.min_ips, c.warm_nics,
				 c.warm_blocks);
	}
	must_refuse(ENV("WARM_IP_TARGET", "5000"), "WARM_IP_TARGET is \"5000\"", "0 to 4096");
}

static void test_config_vars__max_eni(void **state)
{
	(void)state;
	assert_int_equal(must_load(ENV("MAX_ENI", "3")).max_nics, 3);
	assert_int_equal(must_load(ENV("MAX_ENI", "0")).max_nics, 0);
	assert_int_equal(must_load(ENV("MAX_ENI", "-1")).max_nics, 0);
	must_refuse(ENV("MAX_ENI", "100"), "MAX_ENI is \"100\"", "0 to 64");
}

/* There it is no mistake: the total just ends at max pods. Under our own name it is. */
static void test_config_vars__minimum_above_max_pods(void **state)
{
	struct config c;
	struct err err;

	(void)state;
	assert_int_equal(must_load(ENV("MINIMUM_IP_TARGET", "200")).min_ips, 110);
	assert_int_equal(must_load(ENV("MINIMUM_IP_TARGET", "200", "BERTH_MAX_PODS", "250")).min_ips, 200);
	must_refuse(ENV("BERTH_MIN_IPS", "200"), "minIPs 200", "maxPods 110");
	assert_int_equal(load("{\"minIPs\": 200}", ENV("PATH", "/bin"), &c, &err), -1);
}

/* ---- who wins ---- */

static void test_config_vars__between_file_and_environment(void **state)
{
	struct config c;
	struct err err;

	(void)state;
	assert_int_equal(load("{\"warmIPs\": 3, \"minIPs\": 4}", ENV("WARM_IP_TARGET", "5"), &c, &err), 0);
	assert_int_equal(c.warm_ips, 5);
	assert_int_equal(c.min_ips, 4);
	assert_int_equal(load("{\"warmIPs\": 3}", ENV("WARM_IP_TARGET", "5", "BERTH_WARM_IPS", "7"), &c, &err), 0);
	assert_int_equal(c.warm_ips, 7);
	/* What is not used is not judged. */
	assert_int_equal(load(NULL, ENV("WARM_IP_TARGET", "5000", "BERTH_WARM_IPS", "7"), &c, &err), 0);
	assert_int_equal(c.warm_ips, 7);
}

static void test_config_vars__of_the_configured_cloud_alone(void **state)
{
	(void)state;
	assert_true(must_load(ENV("WARM_IP_TARGET", "5", "BERTH_CLOUD", "other")).warm_ips == CONFIG_WARM_AUTO);
	assert_int_equal(must_load(ENV("WARM_IP_TARGET", "5", "BERTH_CLOUD", "aws")).warm_ips, 5);
}

static void test_config_vars__values_that_are_refused(void **state)
{
	static const char *const cases[][3] = {
		{ "IP_COOLDOWN_PERIOD", "-1", "duration" },
		{ "IP_COOLDOWN_PERIOD", "soon", "duration" },
		{ "AWS_VPC_ENI_MTU", "100", "576" },
		{ "POD_MTU", "70000", "65535" },
		{ "AWS_VPC_K8S_CNI_EXTERNALSNAT", "perhaps", "true or false" },
		{ "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS", "10.1.0.0/33", "prefixes" },
		{ "ADDITIONAL_ENI_TAGS", "{\"a\"", "tags" },
		{ "ADDITIONAL_ENI_TAGS", "{\"aws:a\":\"b\"}", "aws:" },
		{ "ENABLE_SUBNET_DISCOVERY", "perhaps", "true or false" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		must_refuse(ENV(cases[i][0], cases[i][1]), cases[i][0], cases[i][2]);
}

/* ---- what is not supported ---- */

static void test_config_vars__refused(void **state)
{
	(void)state;
	must_refuse(ENV("ENABLE_POD_ENI", "true"), "ENABLE_POD_ENI is \"true\"", "security groups for pods");
	must_refuse(ENV("ENABLE_MULTI_NIC", "true"), "ENABLE_MULTI_NIC", "not supported");
	must_refuse(ENV("ENABLE_MULTI_NIC", "perhaps"), "ENABLE_MULTI_NIC", "not supported");
	must_refuse(ENV("NETWORK_POLICY_ENFORCING_MODE", "strict"), "NETWORK_POLICY_ENFORCING_MODE", "isolated");
	must_refuse(ENV("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true"), "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG",
		    "podSubnets");
	(void)must_load(ENV("ENABLE_POD_ENI", "false", "ENABLE_MULTI_NIC", "0", "NETWORK_POLICY_ENFORCING_MODE",
			    "standard", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "false"));
	(void)must_load(ENV("ENABLE_POD_ENI", "", "NETWORK_POLICY_ENFORCING_MODE", "none"));
}

/* What does the same here is set, wherever: then nothing is missing. */
static void test_config_vars__refused_unless_set_here(void **state)
{
	struct config c;
	struct err err;

	(void)state;
	(void)must_load(ENV("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true", "BERTH_POD_SUBNETS", "subnet-1"));
	assert_int_equal(load("{\"podSubnets\": [\"subnet-1\"]}", ENV("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true"), &c,
			      &err),
			 0);
}

static void test_config_warnings__by_name(void **state)
{
	struct said said = warnings(ENV("ANNOTATE_POD_IP", "true", "DISABLE_POD_V6", "true", "AWS_EC2_ENDPOINT",
					"http://x", "AWS_VPC_K8S_CNI_CONNMARK", "0x40", "WARM_IP_TARGET", "-3"),
				    NULL);

	(void)state;
	assert_int_equal(said.count, 5);
	assert_said(&said, "ANNOTATE_POD_IP", "Kubernetes API");
	assert_said(&said, "DISABLE_POD_V6", "tuning");
	assert_said(&said, "AWS_EC2_ENDPOINT", "AWS_ENDPOINT_URL_EC2");
	assert_said(&said, "AWS_VPC_K8S_CNI_CONNMARK", "markMask");
	assert_said(&said, "WARM_IP_TARGET", "is no number");
}

static void test_config_warnings__not_where_nothing_is_missed(void **state)
{
	(void)state;
	assert_int_equal(warnings(ENV("ENABLE_V6_EGRESS", "true", "ANNOTATE_POD_IP", "false", "AWS_EC2_ENDPOINT", "",
				      "AWS_VPC_K8S_CNI_VETHPREFIX", "eni", "AWS_VPC_K8S_CNI_CONNMARK", "0x80",
				      "WARM_ENI_TARGET", "x", "WARM_IP_TARGET", "5", "MAX_ENI", "0",
				      "INTROSPECTION_BIND_ADDRESS", "127.0.0.1:1"),
				  NULL)
				 .count,
			 0);
}

static void test_config_warnings__unknown_names(void **state)
{
	char *names[] = { (char[]){ "PATH=/bin" },
			  (char[]){ "WARM_IPS_TARGET=3" },
			  (char[]){ "AWS_VPC_K8S_CNI_EXTERNAL_SNAT=true" },
			  (char[]){ "ENABLE_PREFIX=true" },
			  (char[]){ "WARM_IP_TARGET=3" },
			  (char[]){ "AWS_REGION=x" },
			  (char[]){ "AWS_PROFILE=x" },
			  (char[]){ "ENABLE_ME_SERVICE_HOST=10.0.0.1" },
			  NULL };
	struct said said = warnings(NULL, names);

	(void)state;
	assert_int_equal(said.count, 3);
	assert_said(&said, "WARM_IPS_TARGET", "nearest one is WARM_IP_TARGET");
	assert_said(&said, "AWS_VPC_K8S_CNI_EXTERNAL_SNAT", "nearest one is AWS_VPC_K8S_CNI_EXTERNALSNAT");
	assert_said(&said, "ENABLE_PREFIX", "nearest one is ENABLE_");
}

/* ---- whole sets ---- */

/* What config/master/aws-k8s-cni.yaml has in its container: a node that is moved as it is starts, without a warning. */
static void test_config_vars__of_the_manifest(void **state)
{
	static const char *const manifest[] = { "ADDITIONAL_ENI_TAGS",
						"{}",
						"AWS_VPC_CNI_NODE_PORT_SUPPORT",
						"true",
						"AWS_VPC_ENI_MTU",
						"9001",
						"AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG",
						"false",
						"AWS_VPC_K8S_CNI_EXTERNALSNAT",
						"false",
						"AWS_VPC_K8S_CNI_LOGLEVEL",
						"DEBUG",
						"AWS_VPC_K8S_CNI_LOG_FILE",
						"/host/var/log/aws-routed-eni/ipamd.log",
						"AWS_VPC_K8S_CNI_RANDOMIZESNAT",
						"prng",
						"AWS_VPC_K8S_CNI_VETHPREFIX",
						"eni",
						"AWS_VPC_K8S_PLUGIN_LOG_FILE",
						"/var/log/aws-routed-eni/plugin.log",
						"AWS_VPC_K8S_PLUGIN_LOG_LEVEL",
						"DEBUG",
						"CLUSTER_ENDPOINT",
						"",
						"DISABLE_INTROSPECTION",
						"false",
						"DISABLE_METRICS",
						"false",
						"DISABLE_NETWORK_RESOURCE_PROVISIONING",
						"false",
						"ENABLE_IMDS_ONLY_MODE",
						"false",
						"ENABLE_IPv4",
						"true",
						"ENABLE_IPv6",
						"false",
						"ENABLE_MULTI_NIC",
						"false",
						"ENABLE_POD_ENI",
						"false",
						"ENABLE_PREFIX_DELEGATION",
						"false",
						"ENABLE_SUBNET_DISCOVERY",
						"true",
						"NETWORK_POLICY_ENFORCING_MODE",
						"standard",
						"VPC_CNI_VERSION",
						"v1.22.3",
						"WARM_ENI_TARGET",
						"1",
						"WARM_PREFIX_TARGET",
						"1",
						NULL };
	struct config c = must_load(manifest), like;

	(void)state;
	config_defaults(&like);
	like.mtu = 9001;
	like.log_level = LOG_DEBUG_;
	like.warm_nics = 1;
	(void)str_copy(like.veth_prefix, sizeof(like.veth_prefix), "eni");
	assert_string_equal(config_veth_prefix(&c), "eni");
	assert_memory_equal(&c, &like, sizeof(c));
	/* Nobody is to find out later that policies are not enforced. */
	assert_int_equal(warnings(manifest, NULL).count, 1);
}

/* docs/aws.md holds exactly the table that the program prints. */
static void test_config_vars_help__is_what_the_docs_say(void **state)
{
	_cleanup_free_ char *page = check_golden("docs/aws.md", NULL);
	_cleanup_free_ char *table = NULL;
	size_t size;
	FILE *out = open_memstream(&table, &size);

	(void)state;
	assert_non_null(out);
	config_vars_help(out, "aws");
	assert_int_equal(fclose(out), 0);
	if (!strstr(page, table))
		fail_msg("docs/aws.md is out of date: its table is not what berth-ipamd --help-variables aws prints");
}

/* Every variable of its README, main.go and ipamd.go has a row, and each row names settings that there are. */
static void test_cloud_vars__know_every_variable(void **state)
{
	static const char *const names[] = { "AWS_MANAGE_ENIS_NON_SCHEDULABLE",
					     "AWS_VPC_CNI_NODE_PORT_SUPPORT",
					     "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG",
					     "ENI_CONFIG_ANNOTATION_DEF",
					     "ENI_CONFIG_LABEL_DEF",
					     "HOST_CNI_BIN_PATH",
					     "HOST_CNI_CONFDIR_PATH",
					     "AWS_VPC_ENI_MTU",
					     "POD_MTU",
					     "AWS_VPC_K8S_CNI_EXTERNALSNAT",
					     "AWS_VPC_K8S_CNI_RANDOMIZESNAT",
					     "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS",
					     "AWS_VPC_K8S_CNI_CONNMARK",
					     "AWS_EXTERNAL_SERVICE_CIDRS",
					     "WARM_ENI_TARGET",
					     "WARM_IP_TARGET",
					     "MINIMUM_IP_TARGET",
					     "WARM_PREFIX_TARGET",
					     "MAX_ENI",
					     "IP_COOLDOWN_PERIOD",
					     "AWS_VPC_K8S_CNI_LOGLEVEL",
					     "AWS_VPC_K8S_CNI_LOG_FILE",
					     "AWS_VPC_K8S_PLUGIN_LOG_FILE",
					     "AWS_VPC_K8S_PLUGIN_LOG_LEVEL",
					     "AWS_VPC_K8S_EGRESS_V4_PLUGIN_LOG_FILE",
					     "AWS_VPC_K8S_EGRESS_V6_PLUGIN_LOG_FILE",
					     "INTROSPECTION_BIND_ADDRESS",
					     "DISABLE_INTROSPECTION",
					     "DISABLE_METRICS",
					     "AWS_VPC_K8S_CNI_VETHPREFIX",
					     "ADDITIONAL_ENI_TAGS",
					     "AWS_VPC_K8S_CNI_CONFIGURE_RPFILTER",
					     "CLUSTER_NAME",
					     "CLUSTER_ENDPOINT",
					     "ENABLE_POD_ENI",
					     "POD_SECURITY_GROUP_ENFORCING_MODE",
					     "DISABLE_TCP_EARLY_DEMUX",
					     "ENABLE_SUBNET_DISCOVERY",
					     "ENABLE_PREFIX_DELEGATION",
					     "DISABLE_NETWORK_RESOURCE_PROVISIONING",
					     "DISABLE_LEAKED_ENI_CLEANUP",
					     "ENABLE_BANDWIDTH_PLUGIN",
					     "ANNOTATE_POD_IP",
					     "ENABLE_IPv4",
					     "ENABLE_IPv6",
					     "ENABLE_NFTABLES",
					     "AWS_EC2_ENDPOINT",
					     "ENABLE_V6_EGRESS",
					     "ENABLE_V4_EGRESS",
					     "DISABLE_POD_V6",
					     "NETWORK_POLICY_ENFORCING_MODE",
					     "ENABLE_IMDS_ONLY_MODE",
					     "ENABLE_MULTI_NIC",
					     "MANAGE_UNTAGGED_ENI",
					     "AWS_VPC_K8S_CNI_BACKING_STORE",
					     "HTTP_TIMEOUT",
					     "VPC_CNI_VERSION",
					     "MY_NODE_NAME",
					     "MY_POD_NAME",
					     "AWS_REGION",
					     "USE_CLOUDWATCH",
					     "USE_PROMETHEUS",
					     "METRIC_UPDATE_INTERVAL",
					     "AWS_CLUSTER_ID" };
	unsigned count, found = 0;
	const struct cloud_var *vars = cloud_vars("aws", &count);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		bool there = false;

		for (unsigned v = 0; v < count; v++)
			there = there || str_equal(vars[v].name, names[i]);
		if (!there)
			fail_msg("%s has no row", names[i]);
	}
	for (unsigned v = 0; v < count; v++) {
		found += vars[v].rule != CLOUD_VAR_STEM;
		assert_true(!vars[v].setting || vars[v].rule != CLOUD_VAR_PASSED);
		/* What refuses or warns says what to do. */
		assert_true(vars[v].note || (vars[v].rule != CLOUD_VAR_WARNED && vars[v].rule != CLOUD_VAR_REFUSED));
	}
	assert_int_equal(found, ARRAY_SIZE(names) + 1); /* NETWORK_POLICY_ENFORCING_MODE has two */
	assert_null(cloud_vars("other", &count));
	assert_int_equal(count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_config_vars__settings),
		check_unit_test(test_config_vars__levels_are_called_otherwise),
		check_unit_test(test_config_vars__switches),
		check_unit_test(test_config_vars__families),
		check_unit_test(test_config_vars__warm_targets),
		check_unit_test(test_config_vars__max_eni),
		check_unit_test(test_config_vars__minimum_above_max_pods),
		check_unit_test(test_config_vars__between_file_and_environment),
		check_unit_test(test_config_vars__of_the_configured_cloud_alone),
		check_unit_test(test_config_vars__values_that_are_refused),
		check_unit_test(test_config_vars__refused),
		check_unit_test(test_config_vars__refused_unless_set_here),
		check_unit_test(test_config_warnings__by_name),
		check_unit_test(test_config_warnings__not_where_nothing_is_missed),
		check_unit_test(test_config_warnings__unknown_names),
		check_unit_test(test_config_vars__of_the_manifest),
		check_unit_test(test_config_vars_help__is_what_the_docs_say),
		check_unit_test(test_cloud_vars__know_every_variable),
	};

	return cmocka_run_group_tests_name("config_vars", tests, NULL, NULL);
}
