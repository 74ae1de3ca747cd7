/* SPDX-License-Identifier: Apache-2.0 */
/* CHECK, GC, STATUS and VERSION of the plugin's binary, and what ADD and DEL do beside other plugins. */
#include <limits.h>

#include "tests/net/plugin_world.h"

#define SLOW_MS 200 /* a STATUS may take, docs/cni.md; the process and one round trip take a hundredth */

static void more_ok(struct world *world, const char *command, const char *more)
{
	_cleanup_output_ struct output output = run_more(world, command, more);

	if (output.status != 0)
		fail_msg("%s: %s %s", command, output.out, output.err);
	assert_string_equal(output.out, "");
}

static void more_fails(struct world *world, const char *command, const char *more, int code, const char *part)
{
	_cleanup_output_ struct output output = run_more(world, command, more);

	check_error(&output, code, part);
}

/* ---- D2: ADD ---- */

static void test_add__behind_another_plugin__cni_d2_16(void **state)
{
	struct world *world = *state;
	_cleanup_output_ struct output output = run_more(
		world, "ADD",
		",\"prevResult\":{\"cniVersion\":\"1.1.0\",\"interfaces\":[{\"name\":\"lo\",\"sandbox\":\"/x\"}],"
		"\"ips\":[{\"interface\":0,\"address\":\"127.0.0.1/8\"}],\"routes\":[{\"dst\":\"10.0.0.0/8\"}],"
		"\"dns\":{\"nameservers\":[\"10.0.0.2\"]}}");
	json_t *interfaces = json_object_get(output.json, "interfaces"), *ips = json_object_get(output.json, "ips");

	if (output.status != 0)
		fail_msg("%s", output.out);
	assert_true(is_wired(world));
	assert_int_equal(json_array_size(interfaces), 3);
	assert_string_equal(json_string_value(json_object_get(json_array_get(interfaces, 0), "name")), "lo");
	assert_string_equal(json_string_value(json_object_get(json_array_get(interfaces, 2), "name")), "eth0");
	assert_int_equal(json_array_size(ips), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(ips, 0), "interface")), 0);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(ips, 1), "interface")), 2);
	assert_int_equal(json_array_size(json_object_get(output.json, "routes")), 2);
	assert_non_null(json_object_get(json_object_get(output.json, "dns"), "nameservers"));
}

/* Made by the plugin before us in the list: then it is not ours to make. */
static void test_add__interface_of_a_plugin_before__cni_d2_15(void **state)
{
	struct net_veth veth = { .name = "eth0", .peer_name = "other", .peer_netns_fd = -1 };
	struct world *world = *state;
	struct net_link before, after;
	char ops[256];

	assert_int_equal(net_veth_add(world->pod, &veth, NULL), 0);
	assert_int_equal(net_link_by_name(world->pod, "eth0", &before, NULL), 0);
	more_fails(world, "ADD", ",\"prevResult\":{\"interfaces\":[{\"name\":\"eth0\",\"sandbox\":\"/x\"}]}", 4,
		   "CNI_IFNAME");
	assert_int_equal(net_link_by_name(world->pod, "eth0", &after, NULL), 0);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_string_equal(fake_saw(&world->fake, ops), "");
}

static void test_add__two_interfaces_of_a_container__cni_d2_20(void **state)
{
	struct world *world = *state;
	char conf[512];
	const struct run second = { .command = "ADD", .conf = conf_of(world, "1.1.0", conf), .ifname = "net1" };
	const struct run del = { .command = "DEL", .conf = conf, .ifname = "net1" };
	_cleanup_output_ struct output one = run_verb(world, "ADD"), two = run(world, &second), gone = run(world, &del);
	const char *first_host, *second_host;
	struct net_link link;

	assert_int_equal(one.status, 0);
	assert_int_equal(two.status, 0);
	assert_int_equal(gone.status, 0);
	first_host =
		json_string_value(json_object_get(json_array_get(json_object_get(one.json, "interfaces"), 0), "name"));
	second_host =
		json_string_value(json_object_get(json_array_get(json_object_get(two.json, "interfaces"), 0), "name"));
	assert_string_not_equal(first_host, second_host);
	assert_int_equal(net_link_by_name(world->pod, "eth0", &link, NULL), 0);
	assert_int_equal(net_link_by_name(world->pod, "net1", &link, NULL), 0);
}

/* "cali" and 11 digits of SHA-1 of "default.web-0", as Calico names it; the daemon is told, CHECK finds it. */
#define POD_VETH "cali0d7763386da"

static void test_add__host_end_by_pod__cni_c1_1__cni_d3_26(void **state)
{
	static const char by_pod[] = ",\"vethName\":\"pod\"";
	struct world *world = *state;
	_cleanup_output_ struct output output = run_more(world, "ADD", by_pod);
	struct proto_request add = fake_saw_first(&world->fake);
	static char buf[CONF_SIZE];
	const char *conf;
	char more[MORE_SIZE];
	struct net_link link;

	if (output.status != 0)
		fail_msg("%s", output.out);
	assert_string_equal(add.host_ifname, POD_VETH);
	assert_string_equal(json_string_value(
				    json_object_get(json_array_get(json_object_get(output.json, "interfaces"), 0),
						    "name")),
			    POD_VETH);
	assert_int_equal(net_link_by_name(world->host, POD_VETH, &link, NULL), 0);
	world->fake.host_ifname = POD_VETH;
	(void)snprintf(more, sizeof(more), "%s,\"prevResult\":%s", by_pod, output.out);
	more_ok(world, "CHECK", more);
	/* Without the daemon DEL finds it too, and the late DEL of another sandbox of the pod leaves it alone. */
	fake_stop(&world->fake);
	conf = conf_with(world, "1.1.0", by_pod, buf);
	const struct run late = {
		.command = "DEL", .conf = conf, .container = "old", .netns = "/run/netns/berth-no-such"
	};
	_cleanup_output_ struct output late_del = run(world, &late);

	assert_int_equal(late_del.status, 0);
	assert_int_equal(net_link_by_name(world->host, POD_VETH, &link, NULL), 0);
	_cleanup_output_ struct output del = run_more(world, "DEL", by_pod);

	assert_int_equal(del.status, 0);
	assert_int_equal(net_link_by_name(world->host, POD_VETH, &link, NULL), -1);
	nothing_is_left(world);
}

/* ---- D3: DEL ---- */

static void test_del__after_an_add_that_failed__cni_d3_27(void **state)
{
	struct world *world = *state;

	fake_refuses(&world->fake, PROTO_ADD, ERR_EXHAUSTED, FAIL_SUBNET_FULL);
	run_fails(world, "ADD", 110, "told to refuse");
	more_ok(world, "DEL", ",\"prevResult\":{\"interfaces\":[],\"ips\":[]}");
	nothing_is_left(world);
}

/* ---- D4: CHECK ---- */

/* The result of an ADD as the runtime hands it on: ",\"prevResult\":…". */
static const char *add_for_check(struct world *world, char more[static MORE_SIZE])
{
	_cleanup_output_ struct output output = run_verb(world, "ADD");

	if (output.status != 0)
		fail_msg("%s", output.out);
	(void)snprintf(more, MORE_SIZE, ",\"prevResult\":%s", output.out);
	return more;
}

static struct net_link link_of(struct net *net, const char *name)
{
	struct net_link link;

	assert_int_equal(net_link_by_name(net, name, &link, NULL), 0);
	return link;
}

static void dual(struct world *world)
{
	(void)pthread_mutex_lock(&world->fake.lock);
	world->fake.dual = true;
	(void)pthread_mutex_unlock(&world->fake.lock);
}

static void test_check__is_silent_when_all_is_well(void **state)
{
	struct world *world = *state;
	char more[MORE_SIZE], ops[256];

	dual(world);
	(void)add_for_check(world, more);
	(void)fake_saw(&world->fake, ops);
	more_ok(world, "CHECK", more);
	assert_string_equal(fake_saw(&world->fake, ops), "check");
}

static void test_check__without_a_result__cni_d4_28(void **state)
{
	struct world *world = *state;

	run_ok(world, "ADD");
	run_fails(world, "CHECK", 7, "'prevResult'");
}

static struct ipaddr addr_of(const char *text)
{
	struct ipaddr addr;

	assert_int_equal(ipaddr_parse(text, &addr), 0);
	return addr;
}

static void break_address(struct world *world)
{
	const struct ipaddr addr = addr_of(POD_ADDR);

	assert_int_equal(net_addr_del(world->pod, link_of(world->pod, "eth0").index, &addr, 32, NULL), 0);
}

static void break_pod_link(struct world *world)
{
	assert_int_equal(net_link_set_up(world->pod, link_of(world->pod, "eth0").index, false, NULL), 0);
}

static void break_mtu(struct world *world)
{
	assert_int_equal(net_link_set_mtu(world->pod, link_of(world->pod, "eth0").index, 1300, NULL), 0);
}

static void break_default(struct world *world)
{
	struct net_route route = { .dst = { .addr = { .family = IP_V4 } },
				   .oif = link_of(world->pod, "eth0").index,
				   .gateway = addr_of("169.254.1.1"),
				   .onlink = true,
				   .protocol = BERTH_RTPROT };

	assert_int_equal(net_route_del(world->pod, &route, NULL), 0);
}

static void break_interface(struct world *world)
{
	assert_int_equal(net_link_del(world->pod, link_of(world->pod, "eth0").index, NULL), 0);
}

static void break_neighbour(struct world *world)
{
	const struct macaddr mac = { { 2, 2, 2, 2, 2, 2 } };
	const struct ipaddr gateway = addr_of("169.254.1.1");

	assert_int_equal(net_neigh_set_permanent(world->pod, link_of(world->pod, "eth0").index, &gateway, &mac, NULL),
			 0);
}

static void break_host_link(struct world *world)
{
	assert_int_equal(net_link_set_up(world->host, link_of(world->host, world->host_ifname).index, false, NULL), 0);
}

static void break_host_route(struct world *world)
{
	const struct ipaddr addr = addr_of(POD_ADDR);
	struct net_route route = {
		.dst = prefix_host(&addr), .type = NET_ROUTE_UNICAST, .table = NET_TABLE_LOCAL, .protocol = BERTH_RTPROT
	};

	assert_int_equal(net_route_del(world->host, &route, NULL), 0);
}

static void break_host_route6(struct world *world)
{
	const struct ipaddr addr = addr_of(POD_ADDR6);
	struct net_route route = { .dst = prefix_host(&addr),
				   .type = NET_ROUTE_UNICAST,
				   .table = NET_TABLE_LOCAL,
				   .protocol = BERTH_RTPROT,
				   .oif = link_of(world->host, world->host_ifname).index };

	assert_int_equal(net_route_del(world->host, &route, NULL), 0);
}

static void break_host_neighbour6(struct world *world)
{
	const struct macaddr mac = { { 2, 2, 2, 2, 2, 2 } };
	const struct ipaddr addr = addr_of(POD_ADDR6);

	assert_int_equal(net_neigh_set_permanent(world->host, link_of(world->host, world->host_ifname).index, &addr,
						 &mac, NULL),
			 0);
}

/* Another container's link under our name: what the pod is attached to is not this. */
static void break_pairing(struct world *world)
{
	struct net_veth veth = { .name = world->host_ifname, .peer_name = "elsewhere", .peer_netns_fd = -1 };
	const struct net_link host = link_of(world->host, world->host_ifname);

	assert_int_equal(net_link_set_up(world->host, host.index, false, NULL), 0);
	assert_int_equal(net_link_rename(world->host, host.index, "moved", NULL), 0);
	assert_int_equal(net_veth_add(world->host, &veth, NULL), 0);
}

struct breakage {
	void (*fn)(struct world *world);
	const char *part;
};

static void each_is_found(struct world *world, const struct breakage *cases, size_t count)
{
	static char more[MORE_SIZE];

	dual(world);
	for (size_t i = 0; i < count; i++) {
		struct net_link link;

		(void)add_for_check(world, more);
		more_ok(world, "CHECK", more);
		cases[i].fn(world);
		more_fails(world, "CHECK", more, 103, cases[i].part);
		if (net_link_by_name(world->host, "moved", &link, NULL) == 0)
			assert_int_equal(net_link_del(world->host, link.index, NULL), 0);
		if (net_link_by_name(world->host, world->host_ifname, &link, NULL) == 0)
			assert_int_equal(net_link_del(world->host, link.index, NULL), 0);
	}
}

static void test_check__each_thing_in_the_pod__cni_d4_29(void **state)
{
	static const struct breakage cases[] = {
		{ break_address, "pod interface eth0 lacks address " POD_ADDR },
		{ break_pod_link, "pod interface eth0 is down" },
		{ break_mtu, "pod interface eth0 has MTU 1300 instead of 1400" },
		{ break_default, "pod lacks the default route via 169.254.1.1 dev eth0" },
		{ break_interface, "pod interface eth0 is missing" },
		{ break_neighbour, "pod lacks the permanent neighbour 169.254.1.1 dev eth0" },
	};

	each_is_found(*state, cases, ARRAY_SIZE(cases));
}

static void test_check__each_thing_on_the_host__cni_d4_30(void **state)
{
	static const struct breakage cases[] = {
		{ break_host_link, "is down" },
		{ break_host_route, "host lacks the route to " POD_ADDR " dev" },
		{ break_host_route6, "host lacks the route to " POD_ADDR6 " dev" },
		{ break_host_neighbour6, "host lacks the permanent neighbour " POD_ADDR6 },
		{ break_pairing, "is not the other end of host interface" },
	};

	each_is_found(*state, cases, ARRAY_SIZE(cases));
}

static void test_check__lease_and_daemon__cni_d4_30(void **state)
{
	struct world *world = *state;
	char more[MORE_SIZE];

	(void)add_for_check(world, more);
	fake_refuses(&world->fake, PROTO_CHECK, ERR_NOTFOUND, FAIL_NONE);
	more_fails(world, "CHECK", more, 3, "told to refuse");
	fake_answers(&world->fake, PROTO_CHECK, ANSWER_OK);
	/* The daemon has another address for it. */
	more_fails(world, "CHECK",
		   ",\"prevResult\":{\"interfaces\":[{\"name\":\"eth0\",\"sandbox\":\"/x\"}],"
		   "\"ips\":[{\"address\":\"10.9.1.18/32\"}]}",
		   103, "does not list the leased address " POD_ADDR);
	more_fails(world, "CHECK", ",\"prevResult\":{\"ips\":[{\"address\":\"" POD_ADDR "/32\"}]}", 103,
		   "does not list interface eth0");
	fake_stop(&world->fake);
	more_fails(world, "CHECK", more, 11, "refused");
}

/* tuning says what it made of MAC and MTU in its result; others add addresses and routes, or take our default. */
static void test_check__changes_of_later_plugins__cni_d4_31(void **state)
{
	struct world *world = *state;
	const struct ipaddr more_addr = addr_of("192.0.2.7");
	_cleanup_output_ struct output output = { 0 };
	_cleanup_free_ char *prev = NULL;
	char more[MORE_SIZE];
	struct net_link pod;
	json_t *entry;

	output = run_verb(world, "ADD");
	assert_int_equal(output.status, 0);
	pod = link_of(world->pod, "eth0");
	break_mtu(world);
	break_default(world);
	assert_int_equal(net_addr_add(world->pod, pod.index, &more_addr, 24, 0, NULL), 0);
	entry = json_array_get(json_object_get(output.json, "interfaces"), 1);
	(void)json_object_set_new(entry, "mtu", json_integer(1300));
	(void)json_object_set_new(output.json, "routes", json_array());
	(void)json_array_append_new(json_object_get(output.json, "ips"), json_pack("{s:s}", "address", "192.0.2.7/24"));
	prev = json_dumps(output.json, 0);
	(void)snprintf(more, sizeof(more), ",\"prevResult\":%s", prev);
	more_ok(world, "CHECK", more);
	/* Before 1.1.0 no result has an MTU: nobody can say what it should be. */
	(void)json_object_del(entry, "mtu");
	free(prev);
	prev = json_dumps(output.json, 0);
	(void)snprintf(more, sizeof(more), ",\"prevResult\":%s", prev);
	more_ok(world, "CHECK", more);
}

struct late {
	struct world *world;
	struct net_route route;
};

static void *put_back(void *arg)
{
	const struct late *late = arg;

	(void)poll(NULL, 0, 300);
	return net_route_replace(late->world->host, &late->route, NULL) == 0 ? arg : NULL;
}

static void test_check__waits_for_what_is_put_back__cni_d4_32(void **state)
{
	struct world *world = *state;
	const struct ipaddr addr = addr_of(POD_ADDR);
	struct late late = { .world = world };
	char more[MORE_SIZE];
	pthread_t thread;
	void *done;

	(void)add_for_check(world, more);
	late.route = (struct net_route){ .dst = prefix_host(&addr),
					 .type = NET_ROUTE_UNICAST,
					 .table = NET_TABLE_LOCAL,
					 .protocol = BERTH_RTPROT,
					 .oif = link_of(world->host, world->host_ifname).index };
	break_host_route(world);
	assert_int_equal(pthread_create(&thread, NULL, put_back, &late), 0);
	more_ok(world, "CHECK", more);
	assert_int_equal(pthread_join(thread, &done), 0);
	assert_non_null(done);
}

static void lack(struct world *world, unsigned checks)
{
	(void)pthread_mutex_lock(&world->fake.lock);
	world->fake.lacking = checks;
	(void)pthread_mutex_unlock(&world->fake.lock);
}

/* Ports and limits, which only the daemon sees: it is asked again before it is believed. */
static void test_check__what_the_daemon_lacks__cni_d4_32(void **state)
{
	struct world *world = *state;
	char more[MORE_SIZE], ops[256];

	(void)add_for_check(world, more);
	(void)fake_saw(&world->fake, ops);
	lack(world, 2);
	more_ok(world, "CHECK", more);
	assert_string_equal(fake_saw(&world->fake, ops), "check check check");
	lack(world, UINT_MAX);
	more_fails(world, "CHECK", more, 103, "told to lack");
	break_host_route(world);
	more_fails(world, "CHECK", more, 103, "; told to lack");
}

/* ---- D5: GC ---- */

static uint64_t hash_of(const char *container, const char *ifname)
{
	struct lease_key key = { .network = "berth" };

	(void)str_copy(key.container, sizeof(key.container), container);
	(void)str_copy(key.ifname, sizeof(key.ifname), ifname);
	return proto_key_hash(&key);
}

static void test_gc__both_keys_of_the_list__cni_d5_34(void **state)
{
	static const char a[] = "[{\"containerID\":\"aa\",\"ifname\":\"eth0\"}]",
			  b[] = "[{\"containerID\":\"bb\",\"ifname\":\"net1\"}]";
	struct world *world = *state;
	char more[256];

	(void)snprintf(more, sizeof(more), ",\"cni.dev/valid-attachments\":%s", a);
	more_ok(world, "GC", more);
	assert_int_equal(world->fake.valid_count, 1);
	assert_true(world->fake.valid[0] == hash_of("aa", "eth0"));
	(void)snprintf(more, sizeof(more), ",\"cni.dev/attachments\":%s", b);
	more_ok(world, "GC", more);
	assert_int_equal(world->fake.valid_count, 1);
	assert_true(world->fake.valid[0] == hash_of("bb", "net1"));
	(void)snprintf(more, sizeof(more), ",\"cni.dev/attachments\":%s,\"cni.dev/valid-attachments\":%s", b, a);
	more_ok(world, "GC", more);
	assert_true(world->fake.valid[0] == hash_of("aa", "eth0"));
}

static void test_gc__absent_null_and_empty__cni_d5_38(void **state)
{
	struct world *world = *state;
	char ops[256];

	more_ok(world, "GC", "");
	more_ok(world, "GC", ",\"cni.dev/valid-attachments\":null");
	assert_string_equal(fake_saw(&world->fake, ops), "");
	more_ok(world, "GC", ",\"cni.dev/valid-attachments\":[]");
	assert_string_equal(fake_saw(&world->fake, ops), "gc");
	assert_int_equal(world->fake.valid_count, 0);
}

static void test_gc__a_list_that_is_wrong_frees_nothing(void **state)
{
	static const char *const lists[] = {
		"{}",
		"7",
		"[7]",
		"[{\"containerID\":\"aa\"}]",
		"[{\"containerID\":\"aa\",\"ifname\":7}]",
		"[{\"containerID\":\"aa\",\"ifname\":\"eth0\"},{\"ifname\":\"eth0\"}]",
	};
	struct world *world = *state;
	char more[256], ops[256];

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		(void)snprintf(more, sizeof(more), ",\"cni.dev/valid-attachments\":%s", lists[i]);
		more_fails(world, "GC", more, 7, "valid-attachments");
	}
	assert_string_equal(fake_saw(&world->fake, ops), "");
}

static void list_of(unsigned count, struct strbuf *more)
{
	strbuf_add(more, ",\"cni.dev/valid-attachments\":[");
	for (unsigned i = 0; i < count; i++)
		strbuf_printf(more, "%s{\"containerID\":\"%064x\",\"ifname\":\"eth0\"}", i ? "," : "", i);
	strbuf_add(more, "]");
}

static struct output gc_of(struct world *world, unsigned count)
{
	_cleanup_strbuf_ struct strbuf more = { 0 }, conf = { 0 };

	list_of(count, &more);
	strbuf_printf(&conf, "{\"cniVersion\":\"1.1.0\",\"name\":\"berth\",\"socket\":\"%s\"%s}", world->fake.path,
		      more.text);
	const struct run how = { .command = "GC", .conf = conf.text };

	return run(world, &how);
}

static void test_gc__as_many_as_a_node_can_have(void **state)
{
	struct world *world = *state;
	_cleanup_output_ struct output most = gc_of(world, PROTO_GC_KEYS_MAX);
	char container[65], ops[256];

	assert_int_equal(most.status, 0);
	assert_int_equal(world->fake.valid_count, PROTO_GC_KEYS_MAX);
	for (unsigned i = 0; i < PROTO_GC_KEYS_MAX; i += 1000) {
		(void)snprintf(container, sizeof(container), "%064x", i);
		assert_true(world->fake.valid[i] == hash_of(container, "eth0"));
	}
	(void)fake_saw(&world->fake, ops);
	_cleanup_output_ struct output over = gc_of(world, PROTO_GC_KEYS_MAX + 1);

	check_error(&over, 7, "more than 4096");
	assert_string_equal(fake_saw(&world->fake, ops), "");
}

static void test_gc__goes_on_until_nothing_is_left__cni_d5_36(void **state)
{
	struct world *world = *state;
	_cleanup_output_ struct output output = { 0 };

	(void)pthread_mutex_lock(&world->fake.lock);
	world->fake.gc_rounds = 5;
	(void)pthread_mutex_unlock(&world->fake.lock);
	/* Each round says that something could not be freed, and that there is more. */
	fake_refuses(&world->fake, PROTO_GC, ERR_RETRY, FAIL_STATE);
	output = run_more(world, "GC", ",\"cni.dev/valid-attachments\":[]");
	assert_int_equal(output.status, 1);
	assert_int_equal(json_integer_value(json_object_get(output.json, "code")), 11);
	assert_int_equal(world->fake.gc_seen, 5);
	assert_non_null(strstr(output.err, "freed=10"));
}

static void test_gc__daemon_down(void **state)
{
	struct world *world = *state;

	fake_stop(&world->fake);
	more_fails(world, "GC", ",\"cni.dev/valid-attachments\":[]", 11, "refused");
}

/* ---- D6: STATUS ---- */

static void test_status__ready(void **state)
{
	struct world *world = *state;
	char ops[256];

	more_ok(world, "STATUS", "");
	assert_string_equal(fake_saw(&world->fake, ops), "status");
}

static void test_status__not_ready_and_limited__cni_d6_41(void **state)
{
	struct world *world = *state;

	fake_refuses(&world->fake, PROTO_STATUS, ERR_RETRY, FAIL_SUBNET_FULL);
	_cleanup_output_ struct output output = run_verb(world, "STATUS");

	check_error(&output, 50, "told to refuse");
	assert_string_equal(json_string_value(json_object_get(output.json, "details")),
			    fail_reason_hint(FAIL_SUBNET_FULL));
	world->fake.limited = true;
	run_fails(world, "STATUS", 51, "told to refuse");
	fake_answers(&world->fake, PROTO_STATUS, ANSWER_GARBAGE);
	run_fails(world, "STATUS", 50, "answer of daemon");
	fake_answers(&world->fake, PROTO_STATUS, ANSWER_HANG);
	run_fails(world, "STATUS", 50, "did not answer");
	fake_stop(&world->fake);
	run_fails(world, "STATUS", 50, "refused");
	assert_int_equal(unlink(world->fake.path), 0);
	run_fails(world, "STATUS", 50, "No such file");
}

static void test_status__at_once__cni_d6_43(void **state)
{
	int64_t start_us = clock_now(&clock_boot);

	more_ok(*state, "STATUS", "");
	assert_true(clock_now(&clock_boot) - start_us < SLOW_MS * USEC_PER_MSEC);
}

/* ---- D7: VERSION ---- */

static void test_version__echoes_and_lists__cni_d7_44(void **state)
{
	static const struct {
		const char *conf, *version;
	} cases[] = { { "", "1.1.0" },
		      { "{\"cniVersion\":\"0.4.0\"}", "0.4.0" },
		      { "nonsense", "1.1.0" },
		      { "{\"cniVersion\":\"9.0.0\"}", "9.0.0" } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct run how = { .command = "VERSION", .conf = cases[i].conf, .container = "", .netns = "" };
		_cleanup_output_ struct output output = run(*state, &how);
		json_t *versions = json_object_get(output.json, "supportedVersions");

		assert_int_equal(output.status, 0);
		assert_string_equal(json_string_value(json_object_get(output.json, "cniVersion")), cases[i].version);
		assert_int_equal(json_array_size(versions), 5);
		assert_string_equal(json_string_value(json_array_get(versions, 0)), "0.3.0");
		assert_string_equal(json_string_value(json_array_get(versions, 4)), "1.1.0");
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		plugin_test(test_add__behind_another_plugin__cni_d2_16),
		plugin_test(test_add__interface_of_a_plugin_before__cni_d2_15),
		plugin_test(test_add__two_interfaces_of_a_container__cni_d2_20),
		plugin_test(test_add__host_end_by_pod__cni_c1_1__cni_d3_26),
		plugin_test(test_del__after_an_add_that_failed__cni_d3_27),
		plugin_test(test_check__is_silent_when_all_is_well),
		plugin_test(test_check__without_a_result__cni_d4_28),
		plugin_test(test_check__each_thing_in_the_pod__cni_d4_29),
		plugin_test(test_check__each_thing_on_the_host__cni_d4_30),
		plugin_test(test_check__lease_and_daemon__cni_d4_30),
		plugin_test(test_check__changes_of_later_plugins__cni_d4_31),
		plugin_test(test_check__waits_for_what_is_put_back__cni_d4_32),
		plugin_test(test_check__what_the_daemon_lacks__cni_d4_32),
		plugin_test(test_gc__both_keys_of_the_list__cni_d5_34),
		plugin_test(test_gc__absent_null_and_empty__cni_d5_38),
		plugin_test(test_gc__a_list_that_is_wrong_frees_nothing),
		plugin_test(test_gc__as_many_as_a_node_can_have),
		plugin_test(test_gc__goes_on_until_nothing_is_left__cni_d5_36),
		plugin_test(test_gc__daemon_down),
		plugin_test(test_status__ready),
		plugin_test(test_status__not_ready_and_limited__cni_d6_41),
		plugin_test(test_status__at_once__cni_d6_43),
		plugin_test(test_version__echoes_and_lists__cni_d7_44),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
