/* SPDX-License-Identifier: Apache-2.0 */
/* What comes in: configuration, variables, the verb table; no kernel, no daemon. */
#include "cni/conf.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <jansson.h>

#include "berth/fs.h"
#include "berth/str.h"
#include "cni/args.h"
#include "cni/cnierr.h"
#include "cni/plugin.h"
#include "tests/check.h"

#define OUTPUT_MAX 65536 /* bytes of a run's output */

struct var {
	const char *name;
	const char *value;
};

static const char *get_var(void *ctx, const char *name)
{
	for (const struct var *var = ctx; var->name; var++)
		if (str_equal(var->name, name))
			return var->value;
	return NULL;
}

static int parse(const char *text, struct cni_conf *conf, struct cnierr *cnierr)
{
	memset(cnierr, 0, sizeof(*cnierr));
	return cni_conf_parse(text, strlen(text), conf, cnierr);
}

static void refused(const char *text, enum cni_code code, const char *part)
{
	struct cni_conf conf;
	struct cnierr cnierr;

	assert_int_equal(parse(text, &conf, &cnierr), -1);
	if ((int)cnierr.code != (int)code || !strstr(cnierr.msg, part))
		fail_msg("%s: code %d, '%s' does not tell '%s'", text, (int)cnierr.code, cnierr.msg, part);
	assert_true(cnierr.details[0]);
}

static void test_cni_conf_parse__without_our_keys(void **state)
{
	struct cni_conf conf;
	struct cnierr cnierr;

	(void)state;
	assert_int_equal(parse("{\"cniVersion\":\"1.0.0\",\"name\":\"berth\",\"type\":\"berth\"}", &conf, &cnierr), 0);
	assert_int_equal(conf.version, CNI_1_0_0);
	assert_string_equal(conf.network, "berth");
	assert_string_equal(conf.socket, "/run/berth/ipamd.sock");
	assert_int_equal(conf.timeout_ms, 60000);
	assert_false(conf.has_prev_result);
}

static void test_cni_conf_parse__with_our_keys_and_others(void **state)
{
	struct cni_conf conf;
	struct cnierr cnierr;

	(void)state;
	assert_int_equal(parse("{\"cniVersion\":\"0.3.1\",\"name\":\"n\",\"type\":\"berth\",\"socket\":\"/x/y\","
			       "\"timeoutMs\":1500,\"capabilities\":{\"portMappings\":true},\"runtimeConfig\":{},"
			       "\"cni.dev/attachments\":[],\"args\":{},\"moon\":[1,2],\"prevResult\":null}",
			       &conf, &cnierr),
			 0);
	assert_int_equal(conf.version, CNI_0_3_1);
	assert_string_equal(conf.socket, "/x/y");
	assert_int_equal(conf.timeout_ms, 1500);
	assert_false(conf.has_prev_result);
}

static void test_cni_conf_parse__prev_result(void **state)
{
	struct cni_conf conf;
	struct cnierr cnierr;

	(void)state;
	assert_int_equal(parse("{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"prevResult\":{\"ips\":[]}}", &conf, &cnierr),
			 0);
	assert_true(conf.has_prev_result);
}

static void parses(const char *text, struct cni_conf *conf)
{
	struct cnierr cnierr;

	if (parse(text, conf, &cnierr) < 0)
		fail_msg("%s: %s", text, cnierr.msg);
}

#define HEAD "{\"cniVersion\":\"1.0.0\",\"name\":\"n\","

static void test_cni_conf_parse__names_of_host_ends__cni_c1_1(void **state)
{
	struct cni_conf conf;

	(void)state;
	parses(HEAD "\"type\":\"berth\",\"vethName\":\"container\"}", &conf);
	assert_string_equal(conf.veth_prefix, "");
	parses(HEAD "\"type\":\"berth\",\"vethName\":\"pod\"}", &conf);
	assert_string_equal(conf.veth_prefix, "cali");
	parses(HEAD "\"type\":\"berth\",\"vethName\":\"pod\",\"vethPrefix\":\"eni,cali,tap\"}", &conf);
	assert_string_equal(conf.veth_prefix, "eni");
	refused(HEAD "\"vethName\":\"node\"}", CNI_INVALID_CONFIG, "'vethName'");
	refused(HEAD "\"vethName\":7}", CNI_INVALID_CONFIG, "'vethName'");
	refused(HEAD "\"vethPrefix\":\"cali\"}", CNI_INVALID_CONFIG, "'vethPrefix'");
	refused(HEAD "\"vethName\":\"pod\",\"vethPrefix\":\"\"}", CNI_INVALID_CONFIG, "'vethPrefix'");
	refused(HEAD "\"vethName\":\"pod\",\"vethPrefix\":\",cali\"}", CNI_INVALID_CONFIG, "'vethPrefix'");
	refused(HEAD "\"vethName\":\"pod\",\"vethPrefix\":\"calico\"}", CNI_INVALID_CONFIG, "'vethPrefix'");
	refused(HEAD "\"vethName\":\"pod\",\"vethPrefix\":\"a/b\"}", CNI_INVALID_CONFIG, "'vethPrefix'");
}

static void test_cni_conf_parse__of_another_plugin(void **state)
{
	struct cni_conf conf;

	(void)state;
	parses(HEAD "\"type\":\"ptp\",\"ipam\":{\"type\":\"berth\"}}", &conf);
	assert_true(conf.delegated && !conf.subnet_router);
	parses(HEAD "\"type\":\"macvlan\",\"ipam\":{\"type\":\"berth\",\"socket\":\"/x\",\"timeoutMs\":200}}", &conf);
	assert_true(conf.delegated && conf.subnet_router);
	assert_string_equal(conf.socket, "/x");
	assert_int_equal(conf.timeout_ms, 200);
	parses(HEAD "\"type\":\"macvlan\",\"socket\":\"/y\",\"ipam\":{\"type\":\"berth\",\"gateway\":\"node\"}}",
	       &conf);
	assert_true(conf.delegated && !conf.subnet_router);
	assert_string_equal(conf.socket, "/y");
	/* Ours, with what is no business of ours. */
	parses(HEAD "\"type\":\"berth\",\"ipam\":{\"type\":\"berth\"}}", &conf);
	assert_false(conf.delegated);
	parses(HEAD "\"type\":\"ptp\",\"ipam\":{\"type\":\"host-local\",\"gateway\":\"10.0.0.1\"}}", &conf);
	assert_false(conf.delegated);
	refused(HEAD "\"type\":\"ptp\",\"ipam\":{\"type\":\"berth\",\"gateway\":\"10.0.0.1\"}}", CNI_INVALID_CONFIG,
		"'gateway'");
	refused(HEAD "\"type\":\"ptp\",\"ipam\":[]}", CNI_INVALID_CONFIG, "'ipam'");
}

static void test_cni_conf_parse__routes(void **state)
{
	struct prefix dsts[POD_ROUTES_MAX + 1];
	struct cni_conf conf;
	char text[PREFIX_STRLEN];

	(void)state;
	parses(HEAD "\"type\":\"berth\"}", &conf);
	assert_int_equal(pod_routes_of(&conf.routes, IP_V6, dsts), 1);
	assert_string_equal(prefix_str(&dsts[0], text), "::/0");
	parses(HEAD "\"type\":\"berth\",\"defaultRoute\":false}", &conf);
	assert_int_equal(pod_routes_of(&conf.routes, IP_V4, dsts), 0);
	parses(HEAD "\"type\":\"berth\",\"defaultRoute\":false,"
		    "\"routes\":[{\"dst\":\"10.0.0.0/8\"},{\"dst\":\"2001:db8::/32\"},{\"dst\":\"192.0.2.9\"}]}",
	       &conf);
	assert_int_equal(pod_routes_of(&conf.routes, IP_V4, dsts), 2);
	assert_string_equal(prefix_str(&dsts[1], text), "192.0.2.9/32");
	assert_int_equal(pod_routes_of(&conf.routes, IP_V6, dsts), 1);
	parses(HEAD "\"type\":\"berth\",\"defaultRoute\":true,\"routes\":[{\"dst\":\"10.0.0.0/8\"}]}", &conf);
	assert_int_equal(pod_routes_of(&conf.routes, IP_V4, dsts), 2);
	assert_int_equal(dsts[0].len, 0);
}

static void test_cni_conf_parse__routes_that_are_none(void **state)
{
	_cleanup_strbuf_ struct strbuf many = { 0 };

	(void)state;
	refused(HEAD "\"defaultRoute\":\"no\"}", CNI_INVALID_CONFIG, "'defaultRoute'");
	refused(HEAD "\"routes\":{}}", CNI_INVALID_CONFIG, "'routes'");
	refused(HEAD "\"routes\":[\"10.0.0.0/8\"]}", CNI_INVALID_CONFIG, "'routes'");
	refused(HEAD "\"routes\":[{}]}", CNI_INVALID_CONFIG, "'dst'");
	refused(HEAD "\"routes\":[{\"dst\":\"10.0.0.1/8\"}]}", CNI_INVALID_CONFIG, "10.0.0.1/8");
	refused(HEAD "\"routes\":[{\"dst\":\"0.0.0.0/0\"}]}", CNI_INVALID_CONFIG, "'defaultRoute'");
	refused(HEAD "\"routes\":[{\"dst\":\"10.0.0.0/8\",\"gw\":\"10.0.0.1\"}]}", CNI_INVALID_CONFIG, "'gw'");
	strbuf_add(&many, HEAD "\"routes\":[{\"dst\":\"10.0.0.0/8\"}");
	for (unsigned i = 0; i < POD_ROUTES_MAX; i++)
		strbuf_add(&many, ",{\"dst\":\"10.0.0.0/8\"}");
	strbuf_add(&many, "]}");
	refused(many.text, CNI_INVALID_CONFIG, "more than 32");
}

static void test_cni_conf_parse__refusals(void **state)
{
	(void)state;
	refused("", CNI_DECODE_FAILURE, "stdin");
	refused("{", CNI_DECODE_FAILURE, "stdin");
	refused("[]", CNI_DECODE_FAILURE, "no JSON object");
	refused("{\"cniVersion\":\"1.0.0\",\"name\":\"n\"} x", CNI_DECODE_FAILURE, "stdin");
	refused("{\"name\":\"n\"}", CNI_INCOMPATIBLE_VERSION, "0.1.0");
	refused("{\"cniVersion\":\"0.1.0\",\"name\":\"n\"}", CNI_INCOMPATIBLE_VERSION, "0.1.0");
	refused("{\"cniVersion\":\"0.2.0\",\"name\":\"n\"}", CNI_INCOMPATIBLE_VERSION, "0.2.0");
	refused("{\"cniVersion\":\"9.0.0\",\"name\":\"n\"}", CNI_INCOMPATIBLE_VERSION, "9.0.0");
	refused("{\"cniVersion\":1,\"name\":\"n\"}", CNI_INVALID_CONFIG, "'cniVersion'");
	refused("{\"cniVersion\":\"1.0.0\"}", CNI_INVALID_CONFIG, "'name'");
	refused("{\"cniVersion\":\"1.0.0\",\"name\":\"\"}", CNI_INVALID_CONFIG, "'name'");
	refused("{\"cniVersion\":\"1.0.0\",\"name\":\"a/b\"}", CNI_INVALID_CONFIG, "'name'");
	refused("{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"socket\":7}", CNI_INVALID_CONFIG, "'socket'");
	refused("{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"socket\":\"x.sock\"}", CNI_INVALID_CONFIG, "'socket'");
	refused("{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"timeoutMs\":\"5\"}", CNI_INVALID_CONFIG, "'timeoutMs'");
	refused("{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"timeoutMs\":99}", CNI_INVALID_CONFIG, "'timeoutMs'");
	refused("{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"prevResult\":[]}", CNI_INVALID_CONFIG, "'prevResult'");
}

static void test_cni_conf_parse__version_list_in_details(void **state)
{
	struct cni_conf conf;
	struct cnierr cnierr;

	(void)state;
	assert_int_equal(parse("{\"cniVersion\":\"0.2.0\",\"name\":\"n\"}", &conf, &cnierr), -1);
	for (unsigned v = 0; v < CNI_VERSION_COUNT; v++)
		assert_non_null(strstr(cnierr.details, cni_version_name((enum cni_version)v)));
}

/* ---- variables ---- */

static int read_args(struct var *vars, unsigned needs, struct cni_args *args, struct cnierr *cnierr)
{
	const struct cni_env env = { .get = get_var, .ctx = vars };

	memset(cnierr, 0, sizeof(*cnierr));
	return cni_args_read(&env, needs, args, cnierr);
}

static void test_cni_args_read__all_missing_names_are_listed(void **state)
{
	struct var none[] = { { NULL, NULL } };
	struct var some[] = { { "CNI_NETNS", "/n" }, { "CNI_IFNAME", "" }, { NULL, NULL } };
	struct cni_args args;
	struct cnierr cnierr;

	(void)state;
	assert_int_equal(read_args(none, NEED_CONTAINERID | NEED_NETNS | NEED_IFNAME, &args, &cnierr), -1);
	assert_int_equal(cnierr.code, CNI_INVALID_ENVIRONMENT);
	assert_non_null(strstr(cnierr.msg, ": CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME"));
	assert_int_equal(read_args(some, NEED_CONTAINERID | NEED_IFNAME, &args, &cnierr), -1);
	assert_non_null(strstr(cnierr.msg, ": CNI_CONTAINERID,CNI_IFNAME"));
	assert_int_equal(read_args(none, 0, &args, &cnierr), 0);
}

static void test_cni_args_read__pod_in_any_order(void **state)
{
	struct var vars[] = { { "CNI_CONTAINERID", "3f" },
			      { "CNI_NETNS", "/n" },
			      { "CNI_IFNAME", "eth0" },
			      { "CNI_ARGS",
				"K8S_POD_UID=u-1;IgnoreUnknown=1;junk;=;K8S_POD_NAME=web-0;"
				"K8S_POD_NAMESPACE=default;K8S_POD_NAMEX=no;K8S_POD_INFRA_CONTAINER_ID=3f;" },
			      { "CNI_NETNS_OVERRIDE", "1" },
			      { NULL, NULL } };
	struct cni_args args;
	struct cnierr cnierr;

	(void)state;
	assert_int_equal(read_args(vars, NEED_CONTAINERID | NEED_NETNS | NEED_IFNAME, &args, &cnierr), 0);
	assert_string_equal(args.container, "3f");
	assert_string_equal(args.netns, "/n");
	assert_string_equal(args.ifname, "eth0");
	assert_string_equal(args.pod.namespace, "default");
	assert_string_equal(args.pod.name, "web-0");
	assert_string_equal(args.pod.uid, "u-1");
	assert_true(args.netns_override);
}

static void test_cni_args_read__bad_values(void **state)
{
	static const struct {
		const char *container, *ifname, *netns, *part;
	} cases[] = {
		{ "-3f", "eth0", "/n", "CNI_CONTAINERID" },
		{ "3f/..", "eth0", "/n", "CNI_CONTAINERID" },
		{ "3f", "..", "/n", "CNI_IFNAME" },
		{ "3f", "e:0", "/n", "CNI_IFNAME" },
		{ "3f", "eth0123456789012", "/n", "CNI_IFNAME" },
		{ "3f", "eth0", "/n\xff", "CNI_NETNS" },
	};
	char long_id[LEASE_CONTAINER_SIZE + 1];
	struct cnierr cnierr;
	struct cni_args args;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct var vars[] = { { "CNI_CONTAINERID", cases[i].container },
				      { "CNI_IFNAME", cases[i].ifname },
				      { "CNI_NETNS", cases[i].netns },
				      { NULL, NULL } };

		assert_int_equal(read_args(vars, NEED_CONTAINERID | NEED_NETNS | NEED_IFNAME, &args, &cnierr), -1);
		assert_int_equal(cnierr.code, CNI_INVALID_ENVIRONMENT);
		assert_non_null(strstr(cnierr.msg, cases[i].part));
	}
	memset(long_id, 'a', sizeof(long_id) - 1);
	long_id[sizeof(long_id) - 1] = '\0';
	struct var vars[] = { { "CNI_CONTAINERID", long_id }, { "CNI_IFNAME", "eth0" }, { NULL, NULL } };

	assert_int_equal(read_args(vars, NEED_CONTAINERID | NEED_IFNAME, &args, &cnierr), -1);
	assert_non_null(strstr(cnierr.msg, "CNI_CONTAINERID is longer than 127 bytes"));
}

/* ---- a run ---- */

struct output {
	int status;
	char *out; /* owned */
	char *err; /* owned */
};

static void output_done(struct output *output)
{
	free(output->out);
	free(output->err);
}

static char *read_back(int fd)
{
	char *text = NULL;

	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(fs_read_fd(fd, OUTPUT_MAX, &text, NULL), 0);
	assert_int_equal(close(fd), 0);
	return text;
}

static int temp_fd(const char *text, size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fs_write_all(fd, text, size), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static struct output run(struct var *vars, const char *text, size_t size)
{
	struct cni_io io = { .env = { .get = get_var, .ctx = vars } };
	struct output output;

	io.in_fd = temp_fd(text, size);
	io.out_fd = temp_fd("", 0);
	io.err_fd = temp_fd("", 0);
	output.status = cni_main(&io);
	assert_int_equal(close(io.in_fd), 0);
	output.out = read_back(io.out_fd);
	output.err = read_back(io.err_fd);
	return output;
}

static void run_fails(struct var *vars, const char *text, size_t size, enum cni_code code, const char *part)
{
	_cleanup_(output_done) struct output output = run(vars, text, size);
	json_auto_t *json = json_loads(output.out, 0, NULL);

	assert_int_equal(output.status, 1);
	assert_non_null(json);
	assert_int_equal(json_integer_value(json_object_get(json, "code")), code);
	assert_true(json_string_length(json_object_get(json, "details")) > 0);
	assert_true(json_string_length(json_object_get(json, "cniVersion")) > 0);
	if (!strstr(json_string_value(json_object_get(json, "msg")), part))
		fail_msg("%s does not tell '%s'", output.out, part);
	/* One document and its newline. */
	assert_ptr_equal(strchr(output.out, '\n'), output.out + strlen(output.out) - 1);
}

static void test_cni_main__typed_by_a_person(void **state)
{
	struct var none[] = { { NULL, NULL } };
	_cleanup_(output_done) struct output output = run(none, "", 0);

	(void)state;
	assert_int_equal(output.status, 0);
	assert_string_equal(output.out, "");
	assert_non_null(strstr(output.err, "1.1.0"));
}

static void version_says(const char *input, const char *version)
{
	struct var vars[] = { { "CNI_COMMAND", "VERSION" }, { NULL, NULL } };
	_cleanup_(output_done) struct output output = run(vars, input, strlen(input));
	char want[256];

	(void)snprintf(want, sizeof(want),
		       "{\"cniVersion\":\"%s\",\"supportedVersions\":"
		       "[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n",
		       version);
	assert_int_equal(output.status, 0);
	assert_string_equal(output.out, want);
}

static void test_cni_main__version(void **state)
{
	(void)state;
	version_says("{\"cniVersion\":\"0.4.0\"}", "0.4.0");
	version_says("{\"cniVersion\":\"0.2.0\"}", "0.2.0");
	version_says("", "1.1.0");
	version_says("{}", "1.1.0");
	version_says("nonsense", "1.1.0");
	version_says("{\"cniVersion\":7}", "1.1.0");
}

static void test_cni_main__verbs(void **state)
{
	static const struct {
		const char *verb, *version;
		enum cni_code code;
		const char *part;
	} cases[] = {
		{ "FLY", "1.1.0", CNI_INVALID_ENVIRONMENT, "'FLY'" },
		{ "add", "1.1.0", CNI_INVALID_ENVIRONMENT, "CNI_COMMAND" },
		{ "CHECK", "0.3.1", CNI_INCOMPATIBLE_VERSION, "CHECK" },
		{ "CHECK", "0.4.0", CNI_INVALID_CONFIG, "'prevResult'" },
		{ "GC", "1.0.0", CNI_INCOMPATIBLE_VERSION, "GC" },
		{ "STATUS", "1.0.0", CNI_INCOMPATIBLE_VERSION, "STATUS" },
		{ "ADD", "0.2.0", CNI_INCOMPATIBLE_VERSION, "0.2.0" },
		{ "DEL", "0.2.0", CNI_INCOMPATIBLE_VERSION, "0.2.0" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct var vars[] = { { "CNI_COMMAND", cases[i].verb },
				      { "CNI_CONTAINERID", "3f" },
				      { "CNI_NETNS", "/n" },
				      { "CNI_IFNAME", "eth0" },
				      { NULL, NULL } };
		char text[128];

		(void)snprintf(text, sizeof(text), "{\"cniVersion\":\"%s\",\"name\":\"n\",\"type\":\"berth\"}",
			       cases[i].version);
		run_fails(vars, text, strlen(text), cases[i].code, cases[i].part);
	}
}

static void test_cni_main__too_long(void **state)
{
	struct var vars[] = {
		{ "CNI_COMMAND", "DEL" }, { "CNI_CONTAINERID", "3f" }, { "CNI_IFNAME", "eth0" }, { NULL, NULL }
	};
	_cleanup_free_ char *text = malloc(CONF_MAX_SIZE + 1);

	(void)state;
	assert_non_null(text);
	memset(text, ' ', CONF_MAX_SIZE + 1);
	run_fails(vars, text, CONF_MAX_SIZE + 1, CNI_DECODE_FAILURE, "longer");
}

static void test_cni_main__stdin_closed(void **state)
{
	struct var vars[] = {
		{ "CNI_COMMAND", "DEL" }, { "CNI_CONTAINERID", "3f" }, { "CNI_IFNAME", "eth0" }, { NULL, NULL }
	};
	struct cni_io io = { .env = { .get = get_var, .ctx = vars } };
	_cleanup_free_ char *out = NULL;

	(void)state;
	io.out_fd = temp_fd("", 0);
	io.err_fd = temp_fd("", 0);
	/* A directory cannot be read. */
	io.in_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(cni_main(&io), 1);
	(void)close(io.in_fd);
	(void)close(io.err_fd);
	out = read_back(io.out_fd);
	assert_non_null(strstr(out, "\"code\":5,"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		check_unit_test(test_cni_conf_parse__without_our_keys),
		check_unit_test(test_cni_conf_parse__with_our_keys_and_others),
		check_unit_test(test_cni_conf_parse__prev_result),
		check_unit_test(test_cni_conf_parse__names_of_host_ends__cni_c1_1),
		check_unit_test(test_cni_conf_parse__of_another_plugin),
		check_unit_test(test_cni_conf_parse__routes),
		check_unit_test(test_cni_conf_parse__routes_that_are_none),
		check_unit_test(test_cni_conf_parse__refusals),
		check_unit_test(test_cni_conf_parse__version_list_in_details),
		check_unit_test(test_cni_args_read__all_missing_names_are_listed),
		check_unit_test(test_cni_args_read__pod_in_any_order),
		check_unit_test(test_cni_args_read__bad_values),
		check_unit_test(test_cni_main__typed_by_a_person),
		check_unit_test(test_cni_main__version),
		check_unit_test(test_cni_main__verbs),
		check_unit_test(test_cni_main__too_long),
		check_unit_test(test_cni_main__stdin_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
