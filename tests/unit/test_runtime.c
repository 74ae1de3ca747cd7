/* SPDX-License-Identifier: Apache-2.0 */
/* Ports and bandwidth that a runtime asks for: from its configuration, through the socket, as the store keeps them. */
#include "cni/runtime.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "berth/json.h"
#include "berth/str.h"
#include "tests/check.h"
#include "tests/unit/proto_samples.h"

static struct ipaddr addr_of(const char *text)
{
	struct ipaddr addr = { 0 };

	assert_int_equal(ipaddr_parse(text, &addr), 0);
	return addr;
}

/* ---- runtimeConfig ---- */

static int read_conf(const char *runtime_config, struct runtime_config *ret, struct err *err)
{
	json_auto_t *conf = NULL;
	char text[32768];

	(void)snprintf(text, sizeof(text), "{\"type\":\"berth\",\"runtimeConfig\":%s}", runtime_config);
	assert_int_equal(json_parse(text, strlen(text), "test", &conf, NULL), 0);
	return cni_runtime_read(conf, ret, err);
}

static void conf_fails(const char *runtime_config, const char *part)
{
	struct runtime_config runtime;
	struct err err = { 0 };

	assert_int_equal(read_conf(runtime_config, &runtime, &err), -1);
	if (!strstr(err.msg, part))
		fail_msg("'%s' does not tell '%s'", err.msg, part);
}

static void test_cni_runtime_read__what_runtimes_send(void **state)
{
	struct runtime_config runtime;

	(void)state;
	/* CRI-O and podman in turn: upper case, no protocol, a port that a container only names. */
	assert_int_equal(read_conf("{\"portMappings\":["
				   "{\"hostPort\":8080,\"containerPort\":80,\"protocol\":\"TCP\",\"hostIP\":\"\"},"
				   "{\"hostPort\":53,\"containerPort\":5353,\"protocol\":\"udp\",\"hostIP\":\"::1\"},"
				   "{\"hostPort\":0,\"containerPort\":9},"
				   "{\"hostPort\":9000,\"containerPort\":9001}],"
				   "\"bandwidth\":{\"ingressRate\":1000000,\"ingressBurst\":2147483647,"
				   "\"egressRate\":2000000,\"egressBurst\":80000},\"ips\":[7]}",
				   &runtime, NULL),
			 0);
	assert_int_equal(runtime.port_count, 3);
	assert_int_equal(runtime.ports[0].host_port, 8080);
	assert_int_equal(runtime.ports[0].port, 80);
	assert_int_equal(runtime.ports[0].protocol, IPPROTO_TCP);
	assert_int_equal(runtime.ports[0].host_addr.family, IP_NONE);
	assert_int_equal(runtime.ports[1].protocol, IPPROTO_UDP);
	assert_int_equal(runtime.ports[1].host_addr.family, IP_V6);
	assert_int_equal(runtime.ports[2].protocol, IPPROTO_TCP);
	assert_int_equal(runtime.bandwidth.ingress_rate, 1000000);
	assert_int_equal(runtime.bandwidth.egress_burst, 80000);
	assert_int_equal(read_conf("{\"portMappings\":null,\"bandwidth\":null}", &runtime, NULL), 0);
	assert_true(runtime_is_empty(&runtime));
	assert_int_equal(read_conf("null", &runtime, NULL), 0);
	assert_true(runtime_is_empty(&runtime));
}

/* Word by word what containerd 1.6 passes on for a pod's hostPort; its bandwidth has the same spelling. */
static void test_cni_runtime_read__containerd_writes_capitals(void **state)
{
	struct runtime_config runtime;

	(void)state;
	assert_int_equal(
		read_conf(
			"{\"portMappings\":["
			"{\"HostPort\":8080,\"ContainerPort\":80,\"Protocol\":\"tcp\",\"HostIP\":\"\"},"
			"{\"HostPort\":53,\"ContainerPort\":5353,\"Protocol\":\"udp\",\"HostIP\":\"127.0.0.1\"}],"
			"\"bandwidth\":{\"IngressRate\":1000000,\"IngressBurst\":2,\"EgressRate\":3000,\"EgressBurst\":"
			"4}}",
			&runtime, NULL),
		0);
	assert_int_equal(runtime.port_count, 2);
	assert_int_equal(runtime.ports[1].host_port, 53);
	assert_int_equal(runtime.ports[1].port, 5353);
	assert_int_equal(runtime.ports[1].protocol, IPPROTO_UDP);
	assert_int_equal(runtime.ports[1].host_addr.family, IP_V4);
	assert_int_equal(runtime.bandwidth.ingress_rate, 1000000);
	assert_int_equal(runtime.bandwidth.ingress_burst, 2);
	assert_int_equal(runtime.bandwidth.egress_rate, 3000);
	assert_int_equal(runtime.bandwidth.egress_burst, 4);
}

/* The least and the most that Kubernetes takes, and the bursts that containerd and CRI-O make of them. */
static void test_cni_runtime_read__bandwidth(void **state)
{
	struct runtime_config runtime;

	(void)state;
	assert_int_equal(read_conf("{\"bandwidth\":{\"ingressRate\":1000,\"ingressBurst\":4294967295,"
				   "\"egressRate\":1000000000000000,\"egressBurst\":34359738359}}",
				   &runtime, NULL),
			 0);
	assert_true(runtime.bandwidth.ingress_rate == 1000 && runtime.bandwidth.ingress_burst == UINT32_MAX);
	assert_true(runtime.bandwidth.egress_rate == 1000000000000000 && runtime.bandwidth.egress_burst == 34359738359);
	/* what one that has no limit sends */
	assert_int_equal(read_conf("{\"bandwidth\":{\"ingressRate\":0,\"ingressBurst\":0,"
				   "\"egressRate\":0,\"egressBurst\":0}}",
				   &runtime, NULL),
			 0);
	assert_true(runtime_is_empty(&runtime));
	assert_int_equal(read_conf("{\"bandwidth\":{\"egressRate\":2000}}", &runtime, NULL), 0);
	assert_true(runtime.bandwidth.egress_rate == 2000 && runtime.bandwidth.egress_burst == 0);
}

static void test_cni_runtime_read__refusals(void **state)
{
	_cleanup_strbuf_ struct strbuf many = { 0 };

	(void)state;
	conf_fails("7", "'runtimeConfig'");
	conf_fails("{\"portMappings\":{}}", "'portMappings'");
	conf_fails("{\"portMappings\":[7]}", "'portMappings'");
	conf_fails("{\"portMappings\":[{\"hostPort\":65536,\"containerPort\":1}]}", "'hostPort'");
	conf_fails("{\"portMappings\":[{\"hostPort\":1}]}", "'containerPort'");
	conf_fails("{\"portMappings\":[{\"hostPort\":1,\"containerPort\":0}]}", "'containerPort'");
	conf_fails("{\"portMappings\":[{\"hostPort\":1,\"containerPort\":1,\"protocol\":\"dccp\"}]}", "'dccp'");
	conf_fails("{\"portMappings\":[{\"hostPort\":1,\"containerPort\":1,\"hostIP\":\"here\"}]}", "'here'");
	conf_fails("{\"bandwidth\":7}", "'bandwidth'");
	conf_fails("{\"bandwidth\":{\"egressRate\":-1}}", "'egressRate'");
	conf_fails("{\"bandwidth\":{\"egressRate\":999,\"egressBurst\":999}}", "'egressRate'");
	conf_fails("{\"bandwidth\":{\"ingressRate\":1000000000000001}}", "'ingressRate'");
	conf_fails("{\"bandwidth\":{\"ingressRate\":1000,\"ingressBurst\":-1}}", "'ingressBurst'");
	conf_fails("{\"bandwidth\":{\"ingressRate\":1000,\"egressBurst\":1000}}", "'egressBurst'");
	conf_fails("{\"bandwidth\":{\"ingressBurst\":1000}}", "'ingressBurst' of 'bandwidth' is without 'ingressRate'");
	conf_fails("{\"bandwidth\":{\"ingressRate\":\"1M\"}}", "'ingressRate'");
	strbuf_add(&many, "{\"portMappings\":[");
	for (unsigned i = 1; i <= RUNTIME_PORTS_MAX + 1; i++)
		strbuf_printf(&many, "%s{\"hostPort\":%u,\"containerPort\":1}", i > 1 ? "," : "", i);
	strbuf_add(&many, "]}");
	conf_fails(many.text, "more than 64");
}

/* ---- as text, and through the socket ---- */

static struct runtime_config the_most(void)
{
	struct runtime_config runtime = { .bandwidth = { INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX },
					  .port_count = RUNTIME_PORTS_MAX };

	for (unsigned i = 0; i < RUNTIME_PORTS_MAX; i++)
		runtime.ports[i] = (struct port_map){ .host_addr = addr_of("2001:db8:1111:2222:3333:4444:5555:6666"),
						      .host_port = (uint16_t)(65535 - i),
						      .port = 65535,
						      .protocol = IPPROTO_SCTP };
	return runtime;
}

static bool same_runtime(const struct runtime_config *a, const struct runtime_config *b)
{
	if (a->port_count != b->port_count || memcmp(&a->bandwidth, &b->bandwidth, sizeof(a->bandwidth)) != 0)
		return false;
	for (unsigned i = 0; i < a->port_count; i++)
		if (!ipaddr_equal(&a->ports[i].host_addr, &b->ports[i].host_addr) ||
		    a->ports[i].host_port != b->ports[i].host_port || a->ports[i].port != b->ports[i].port ||
		    a->ports[i].protocol != b->ports[i].protocol)
			return false;
	return true;
}

static void test_runtime_print__and_back(void **state)
{
	const struct runtime_config most = the_most(),
				    few = { .bandwidth = { .egress_rate = 7 },
					    .port_count = 2,
					    .ports = { { addr_of("10.0.0.1"), 8080, 80, IPPROTO_TCP },
						       { { 0 }, 53, 5353, IPPROTO_UDP } } },
				    none = { 0 };
	_cleanup_free_ char *most_text = runtime_print(&most), *few_text = runtime_print(&few),
			    *none_text = runtime_print(&none);
	struct runtime_config back;

	(void)state;
	assert_string_equal(few_text, "{\"ports\":[\"tcp:8080:80@10.0.0.1\",\"udp:53:5353\"],"
				      "\"bandwidth\":{\"egress_rate\":7}}");
	assert_string_equal(none_text, "");
	assert_int_equal(runtime_parse(few_text, &back, NULL), 0);
	assert_true(same_runtime(&back, &few));
	assert_int_equal(runtime_parse(most_text, &back, NULL), 0);
	assert_true(same_runtime(&back, &most));
	assert_int_equal(runtime_parse("", &back, NULL), 0);
	assert_true(runtime_is_empty(&back));
}

static void test_runtime_parse__refusals(void **state)
{
	static const char *const wrong[] = {
		"7",
		"{",
		"{\"ports\":7}",
		"{\"ports\":[7]}",
		"{\"ports\":[\"\"]}",
		"{\"ports\":[\"tcp\"]}",
		"{\"ports\":[\"tcp:80\"]}",
		"{\"ports\":[\"tcp:80:\"]}",
		"{\"ports\":[\"tcp:080:80\"]}",
		"{\"ports\":[\"tcp:0:80\"]}",
		"{\"ports\":[\"tcp:80:65536\"]}",
		"{\"ports\":[\"tcp:80:80@\"]}",
		"{\"ports\":[\"tcp:80:80@10.0.0\"]}",
		"{\"ports\":[\"tcp:80:80 \"]}",
		"{\"ports\":[\"icmp:80:80\"]}",
		"{\"ports\":[\"averylongprotocol:80:80\"]}",
		"{\"bandwidth\":[]}",
		"{\"bandwidth\":{\"egress_rate\":-1}}",
		"{\"bandwidth\":{\"egress_rate\":\"7\"}}",
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct runtime_config runtime;
		struct err err = { 0 };

		if (runtime_parse(wrong[i], &runtime, &err) != -1 || err.class != ERR_PROTOCOL)
			fail_msg("%s was taken, or refused as %s", wrong[i], err_class_name(err.class));
	}
}

static void test_proto_request_encode__the_most_that_a_runtime_asks(void **state)
{
	struct proto_request request = sample_request(PROTO_ADD), back;
	_cleanup_free_ char *text = NULL;
	size_t size;

	(void)state;
	memset(request.key.container, 'c', sizeof(request.key.container) - 1);
	memset(request.pod.name, 'n', sizeof(request.pod.name) - 1);
	memset(request.pod.namespace, 'n', sizeof(request.pod.namespace) - 1);
	memset(request.netns, '/', sizeof(request.netns) - 1);
	request.runtime = the_most();
	text = proto_request_encode(&request, &size);
	assert_non_null(text);
	assert_int_equal(proto_request_decode(text, size, &back, NULL), 0);
	assert_true(same_runtime(&back.runtime, &request.runtime));
	decode_request_fails("{\"v\":1,\"op\":\"add\",\"network\":\"n\",\"container\":\"c\",\"ifname\":\"e\","
			     "\"runtime\":{\"ports\":[\"tcp\"]}}",
			     ERR_PROTOCOL, "'ports'");
}

static void test_proto_reply_encode__egress(void **state)
{
	struct proto_reply reply = { .ok = true, .mtu = 9001, .host_ifname = "bth0a1b2c3d4e5" }, back;
	_cleanup_free_ char *text = NULL;
	size_t size;

	(void)state;
	append_address(&reply, "2600::17/128", "fe80::1");
	assert_int_equal(prefix_parse("169.254.172.9/32", &reply.egress.address), 0);
	assert_int_equal(ipaddr_parse("169.254.1.1", &reply.egress.gateway), 0);
	text = proto_reply_encode(&reply, &size);
	assert_non_null(strstr(text, "\"egress\":{\"address\":\"169.254.172.9/32\",\"gateway\":\"169.254.1.1\"}"));
	assert_int_equal(proto_reply_decode(text, size, &back, NULL), 0);
	assert_int_equal(back.address_count, 1);
	assert_true(ipaddr_equal(&back.egress.address.addr, &reply.egress.address.addr));
	decode_reply_fails("{\"v\":1,\"ok\":true,\"address\":\"10.0.0.1/32\",\"gateway\":\"169.254.1.1\","
			   "\"egress\":{\"address\":\"169.254.172.9/32\",\"gateway\":\"169.254.1.1\"}}",
			   "two of the family");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		check_unit_test(test_cni_runtime_read__what_runtimes_send),
		check_unit_test(test_cni_runtime_read__containerd_writes_capitals),
		check_unit_test(test_cni_runtime_read__bandwidth),
		check_unit_test(test_cni_runtime_read__refusals),
		check_unit_test(test_runtime_print__and_back),
		check_unit_test(test_runtime_parse__refusals),
		check_unit_test(test_proto_request_encode__the_most_that_a_runtime_asks),
		check_unit_test(test_proto_reply_encode__egress),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
