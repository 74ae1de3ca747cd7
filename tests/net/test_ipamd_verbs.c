/* SPDX-License-Identifier: Apache-2.0 */
/* GC, STATUS and named host ends: the daemon's side. */
#include "tests/net/ipamd_world.h"

#define SANDBOX_DIR "/run/netns"

static void up(struct world *w, const char *have)
{
	make_cloud(w, 4, have);
	start(w);
	until(has_conflist(w));
}

/* ---- GC ---- */

static uint64_t hash_of(const char *container)
{
	const struct proto_request request = request_of(PROTO_DEL, container);

	return proto_key_hash(&request.key);
}

static void gc(struct world *w, const struct proto_request *how, struct proto_reply *ret)
{
	send_request(w, how, ret);
	if (!ret->ok)
		fail_msg("gc: %s", ret->error.msg);
	assert_true(ret->swept);
}

/* A pod that was bound; its sandbox is gone, as /run/netns/none never was. */
static void bind_pod(struct world *w, const char *container)
{
	char text[PREFIX_STRLEN];

	(void)add(w, container, text);
	must_call(w, PROTO_CONFIRM, container);
}

static struct proto_request gc_request(uint64_t *valid, unsigned count)
{
	struct proto_request request = { .op = PROTO_GC, .valid = valid, .valid_count = count };

	(void)str_copy(request.key.network, sizeof(request.key.network), "berth");
	return request;
}

static void test_gc__frees_what_is_not_listed__cni_d5_35(void **state)
{
	uint64_t valid[] = { 7, hash_of("bb"), 9 };
	const struct proto_request request = gc_request(valid, ARRAY_SIZE(valid));
	struct proto_request other = request;
	struct proto_reply reply;
	struct world *w = *state;

	up(w, FOUR);
	(void)fs_mkdir_p(SANDBOX_DIR, 0755);
	bind_pod(w, "aa");
	bind_pod(w, "bb");
	bind_pod(w, "cc");
	/* Another network's GC knows nothing of ours. */
	(void)str_copy(other.key.network, sizeof(other.key.network), "moon");
	gc(w, &other, &reply);
	assert_int_equal(reply.freed, 0);
	gc(w, &request, &reply);
	assert_int_equal(reply.freed, 2);
	assert_int_equal(reply.kept, 0);
	assert_false(reply.more);
	assert_not_found(w, PROTO_CHECK, "aa");
	must_call(w, PROTO_CHECK, "bb");
	assert_not_found(w, PROTO_CHECK, "cc");
	/* Again there is nothing to do. */
	gc(w, &request, &reply);
	assert_int_equal(reply.freed, 0);
}

static void test_gc__empty_list__cni_d5_38(void **state)
{
	const struct proto_request request = gc_request(NULL, 0);
	struct proto_reply reply;
	struct world *w = *state;

	up(w, FOUR);
	(void)fs_mkdir_p(SANDBOX_DIR, 0755);
	bind_pod(w, "aa");
	bind_pod(w, "bb");
	gc(w, &request, &reply);
	assert_int_equal(reply.freed, 2);
	assert_int_equal(count_of(w, "leased"), 0);
}

static void test_gc__after_each_was_deleted__cni_d5_40(void **state)
{
	const struct proto_request request = gc_request(NULL, 0);
	struct proto_reply reply;
	struct world *w = *state;

	up(w, FOUR);
	bind_pod(w, "aa");
	del(w, "aa");
	gc(w, &request, &reply);
	assert_int_equal(reply.freed, 0);
}

static void test_gc__spares_what_is_younger_or_not_bound(void **state)
{
	struct proto_request request = gc_request(NULL, 0);
	struct proto_reply reply;
	char text[PREFIX_STRLEN];
	struct world *w = *state;

	up(w, FOUR);
	(void)fs_mkdir_p(SANDBOX_DIR, 0755);
	/* The runtime made its list before these came. */
	request.since_us = clock_now(&clock_boot);
	bind_pod(w, "aa");
	(void)add(w, "bb", text);
	gc(w, &request, &reply);
	assert_int_equal(reply.freed, 0);
	request.since_us = 0;
	gc(w, &request, &reply);
	assert_int_equal(reply.freed, 1);
	must_call(w, PROTO_CHECK, "bb");
}

struct pod {
	char name[64];
};

static void pod_done(struct pod *pod)
{
	(void)netns_del(pod->name, NULL);
}

/* A runtime that shares the node with the one that collects. */
static void test_gc__spares_a_pod_that_lives__cni_d5_39(void **state)
{
	_cleanup_(pod_done) struct pod pod;
	struct proto_request add_request = request_of(PROTO_ADD, "aa");
	const struct proto_request request = gc_request(NULL, 0);
	struct proto_reply reply, reply2;
	struct world *w = *state;
	char text[PREFIX_STRLEN];

	(void)snprintf(pod.name, sizeof(pod.name), "berth-gc-%d", (int)getpid());
	must(netns_add(pod.name, &err));
	up(w, FOUR);
	(void)snprintf(add_request.netns, sizeof(add_request.netns), SANDBOX_DIR "/%s", pod.name);
	send_request(w, &add_request, &reply);
	assert_true(reply.ok);
	must_call(w, PROTO_CONFIRM, "aa");
	make_pod(&add_request.key, prefix_str(&reply.addresses[0].address, text));
	/* One whose lease is another plugin's is held by its namespace alone. */
	(void)str_copy(add_request.key.container, sizeof(add_request.key.container), "bb");
	add_request.delegated = true;
	send_request(w, &add_request, &reply2);
	assert_true(reply2.ok && reply2.delegated);
	gc(w, &request, &reply);
	assert_int_equal(reply.freed, 0);
	assert_int_equal(reply.kept, 2);
	must(netns_del(pod.name, &err));
	gc(w, &request, &reply);
	assert_int_equal(reply.freed, 2);
	assert_int_equal(reply.kept, 0);
	until(!has_link("bth-none"));
}

/* A path that is there and cannot be opened, as any cannot when no descriptor is left: sysfs lets not even root read this. */
static void test_gc__spares_what_cannot_be_looked_at(void **state)
{
	struct proto_request add_request = request_of(PROTO_ADD, "aa");
	const struct proto_request request = gc_request(NULL, 0);
	struct proto_reply reply;
	struct world *w = *state;

	up(w, FOUR);
	(void)str_copy(add_request.netns, sizeof(add_request.netns), "/sys/bus/platform/drivers_probe");
	add_request.delegated = true;
	send_request(w, &add_request, &reply);
	assert_true(reply.ok);
	gc(w, &request, &reply);
	assert_int_equal(reply.freed, 0);
	assert_int_equal(reply.kept, 1);
}

/* More than one call frees: the next one finds the rest. */
static void test_gc__many__cni_d5_36(void **state)
{
	const struct proto_request request = gc_request(NULL, 0);
	_cleanup_strbuf_ struct strbuf have = { 0 };
	struct proto_reply reply;
	struct world *w = *state;
	char container[16];

	for (unsigned i = 0; i < 40; i++)
		strbuf_printf(&have, "%s\"10.0.1.%u\"", i ? "," : "[", 100 + i);
	strbuf_add(&have, "]");
	make_cloud(w, 40, have.text);
	start(w);
	until(has_conflist(w));
	(void)fs_mkdir_p(SANDBOX_DIR, 0755);
	for (unsigned i = 0; i < 40; i++) {
		(void)snprintf(container, sizeof(container), "c%u", i);
		bind_pod(w, container);
	}
	gc(w, &request, &reply);
	assert_int_equal(reply.freed, 32);
	assert_true(reply.more);
	gc(w, &request, &reply);
	assert_int_equal(reply.freed, 8);
	assert_false(reply.more);
	assert_int_equal(count_of(w, "leased"), 0);
}

static void test_gc__before_anything_is_known(void **state)
{
	const struct proto_request request = gc_request(NULL, 0);
	struct proto_reply reply;
	struct world *w = *state;

	make_cloud(w, 4, FOUR);
	refuse(w, "DescribeNetworkInterfaces", 503, "ServiceUnavailable");
	start(w);
	send_request(w, &request, &reply);
	assert_false(reply.ok);
	assert_int_equal(reply.reason, FAIL_STARTING);
}

/* ---- STATUS ---- */

static void status(struct world *w, struct proto_reply *ret)
{
	call(w, PROTO_STATUS, "any", ret);
}

static void test_status__before_and_behind_the_first_list__cni_d6_41(void **state)
{
	struct proto_reply reply;
	struct world *w = *state;

	make_cloud(w, 4, FOUR);
	refuse(w, "DescribeNetworkInterfaces", 503, "ServiceUnavailable");
	start(w);
	status(w, &reply);
	assert_false(reply.ok);
	assert_non_null(strstr(reply.error.msg, "not ready"));
	assert_false(reply.limited);
	heal(w);
	until(has_conflist(w));
	status(w, &reply);
	assert_true(reply.ok);
}

/* A node that is full and left alone is well; one that turns pods away says so, and goes on to say so between two tries. */
static void test_status__full_and_no_growth__cni_d6_41(void **state)
{
	struct proto_reply reply;
	struct world *w = *state;

	make_cloud(w, 2, "[\"10.0.1.21\",\"10.0.1.22\"]");
	start(w);
	until(has_conflist(w));
	bind_pod(w, "aa");
	bind_pod(w, "bb");
	status(w, &reply);
	assert_true(reply.ok);
	add_fails(w, "cc", SOON_MS, "nic_limit");
	status(w, &reply);
	assert_false(reply.ok);
	assert_int_equal(reply.reason, FAIL_NIC_LIMIT);
	assert_false(reply.limited);
	/* An address that cools is one that comes. */
	del(w, "aa");
	status(w, &reply);
	assert_true(reply.ok);
}

/* The cloud took the address of a pod that runs, and gives no other one. */
static void test_status__limited__cni_d6_41(void **state)
{
	_cleanup_free_ char *done = NULL;
	json_auto_t *node = NULL;
	struct proto_reply reply;
	struct world *w = *state;
	char body[128];
	unsigned code = 0;

	w->config.list_period_us = 100 * USEC_PER_MSEC;
	make_cloud(w, 1, ONE);
	start(w);
	until(has_conflist(w));
	bind_pod(w, "aa");
	node = state_of(w);
	(void)snprintf(body, sizeof(body), "{\"nic\":\"%s\",\"units\":[\"10.0.1.21\"]}",
		       json_string_value(json_object_get(json_array_get(json_object_get(node, "nics"), 0), "id")));
	refuse(w, "AssignPrivateIpAddresses", 403, "UnauthorizedOperation");
	done = aws_mock_control(w->mock, "remove", body, &code);
	assert_int_equal(code, 200);
	until(count_of(w, "lost") == 1);
	/* It runs on, and nobody else wants one. */
	status(w, &reply);
	assert_true(reply.ok);
	add_fails(w, "bb", SOON_MS, "permission");
	status(w, &reply);
	assert_false(reply.ok);
	assert_true(reply.limited);
	assert_int_equal(reply.reason, FAIL_PERMISSION);
}

/* A subnet that is refused for a moment, with an address that is on its way, is no reason to leave the node. */
static void test_status__empty_but_growing__cni_d6_43(void **state)
{
	struct fault late = { .kind = FAULT_LATENCY, .count = 1, .ms = LATE_MS };
	struct proto_reply reply;
	char text[PREFIX_STRLEN];
	struct world *w = *state;
	int fd;

	up(w, ONE);
	bind_pod(w, "aa");
	fault(w, "AssignPrivateIpAddresses", late);
	fd = ask(w, "bb");
	until(count_of(w, "waiting") == 1);
	status(w, &reply);
	assert_true(reply.ok);
	answer_ok(fd, text);
}

/* ---- host ends by name ---- */

static void make_named(const char *name, const char *address)
{
	_cleanup_net_ struct net *net = NULL;
	struct net_veth veth = { .name = name, .peer_netns_fd = -1, .peer_name = "named", .up = true };
	struct net_route route = { .type = NET_ROUTE_UNICAST, .table = NET_TABLE_LOCAL, .protocol = BERTH_RTPROT };
	struct net_link link;

	must(net_open(&net, &err));
	if (net_link_by_name(net, name, &link, NULL) == 0)
		must(net_link_del(net, link.index, &err));
	must(net_veth_add(net, &veth, &err));
	must(net_link_by_name(net, name, &link, &err));
	must(net_link_set_up(net, link.index, true, &err));
	assert_int_equal(prefix_parse(address, &route.dst), 0);
	route.oif = link.index;
	must(net_route_replace(net, &route, &err));
}

#define NAME "cali0a1b2c3d4e5"

static void add_named(struct world *w, const char *container, char text[static PREFIX_STRLEN])
{
	struct proto_request request = request_of(PROTO_ADD, container);
	struct proto_reply reply;

	(void)str_copy(request.host_ifname, sizeof(request.host_ifname), NAME);
	send_request(w, &request, &reply);
	assert_true(reply.ok);
	assert_string_equal(reply.host_ifname, NAME);
	make_named(NAME, prefix_str(&reply.addresses[0].address, text));
	must_call(w, PROTO_CONFIRM, container);
}

struct find {
	const char *dst;
	bool found;
};

static int find_route(const struct net_route *route, void *arg)
{
	struct find *find = arg;
	char text[PREFIX_STRLEN];

	find->found = find->found ||
		      (route->type == NET_ROUTE_UNICAST && str_equal(prefix_str(&route->dst, text), find->dst));
	return 0;
}

static bool has_route(const char *dst)
{
	_cleanup_net_ struct net *net = NULL;
	struct find find = { dst, false };

	must(net_open(&net, &err));
	must(net_routes(net, IP_V4, NET_TABLE_LOCAL, find_route, &find, &err));
	return find.found;
}

/* The new sandbox of a StatefulSet's pod has the name of the old one, whose DEL comes late. */
static void test_del__late_and_of_another_sandbox__cni_d3_26__rule_2(void **state)
{
	char first[PREFIX_STRLEN], second[PREFIX_STRLEN];
	struct world *w = *state;

	up(w, FOUR);
	add_named(w, "aa", first);
	add_named(w, "bb", second);
	assert_string_not_equal(first, second);
	del(w, "aa");
	assert_not_found(w, PROTO_CHECK, "aa");
	must_call(w, PROTO_CHECK, "bb");
	assert_true(has_link(NAME));
	assert_true(has_route(second));
	assert_false(has_route(first));
	del(w, "bb");
	until(!has_link(NAME));
	assert_false(has_route(second));
}

/* So it is before the first list, when the pool does not have the leases yet. */
static void test_restart__late_del_of_another_sandbox__cni_d3_26(void **state)
{
	const struct lease_key other = request_of(PROTO_DEL, "other").key;
	char text[PREFIX_STRLEN], name[LEASE_IFNAME_SIZE];
	struct world *w = *state;

	up(w, FOUR);
	add_named(w, "aa", text);
	add_named(w, "bb", text);
	make_pod(&other, add(w, "other", text));
	proto_host_ifname(&other, name);
	stop(w);
	fault(w, "imds", metadata_hangs);
	start(w);
	del(w, "aa");
	del(w, "other");
	until(!has_link(name)); /* the first one's, if it were to go, was told before */
	heal(w);
	until(count_of(w, "leased") == 1);
	must_call(w, PROTO_CHECK, "bb");
	assert_true(has_link(NAME));
	del(w, "bb");
	until(!has_link(NAME));
}

static void add_delegated(struct world *w, const char *container, const char *netns)
{
	struct proto_request request = request_of(PROTO_ADD, container);
	_cleanup_reply_ struct proto_reply reply;

	request.delegated = true;
	(void)str_copy(request.netns, sizeof(request.netns), netns);
	send_request(w, &request, &reply);
	assert_true(reply.ok);
}

static bool has_lease(struct world *w, const char *container)
{
	_cleanup_reply_ struct proto_reply reply;

	call(w, PROTO_CHECK, container, &reply);
	return reply.ok;
}

/* A container that ended without a DEL and was started again: its lease is not the former sandbox's, which is gone. */
static void test_add__another_sandbox_of_the_container(void **state)
{
	char here[PATH_MAX], gone[PATH_MAX];
	struct world *w = *state;

	w->config.reclaim_period_us = 20 * USEC_PER_MSEC;
	up(w, FOUR);
	(void)check_path(gone, sizeof(gone), check_tmpdir(), "netns-1");
	(void)check_path(here, sizeof(here), check_tmpdir(), "netns-2");
	assert_int_equal(fs_write_atomic(here, "", 0, 0600), 0);
	assert_int_equal(fs_write_atomic(gone, "", 0, 0600), 0);
	add_delegated(w, "aa", gone);
	add_delegated(w, "aa", here);
	add_delegated(w, "bb", gone);
	assert_int_equal(unlink(gone), 0);
	until(!has_lease(w, "bb"));
	assert_true(has_lease(w, "aa"));
}

/* A restart knows the name from the store: the route is put back where it belongs. */
static void test_restart__host_end_by_name__cni_c1_1(void **state)
{
	_cleanup_net_ struct net *net = NULL;
	struct net_route route = { .type = NET_ROUTE_UNICAST, .table = NET_TABLE_LOCAL, .protocol = BERTH_RTPROT };
	char text[PREFIX_STRLEN];
	struct world *w = *state;

	up(w, FOUR);
	add_named(w, "aa", text);
	stop(w);
	assert_int_equal(prefix_parse(text, &route.dst), 0);
	must(net_open(&net, &err));
	must(net_route_del(net, &route, &err));
	assert_false(has_route(text));
	start(w);
	until(has_route(text));
	must_call(w, PROTO_CHECK, "aa");
	del(w, "aa");
	until(!has_link(NAME));
}

/* A prefix that stands for the node's own interfaces too, or that nft would not read as a name. */
static void test_add__host_end_that_is_no_pods(void **state)
{
	static const char *const names[] = { "eth0a1b2c3d4e5", "a\"b0a1b2c3d4e5", "short" };
	struct proto_request request = request_of(PROTO_ADD, "aa");
	struct proto_reply reply;
	struct world *w = *state;
	char text[PREFIX_STRLEN];

	up(w, ONE);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)str_copy(request.host_ifname, sizeof(request.host_ifname), names[i]);
		send_request(w, &request, &reply);
		assert_false(reply.ok);
		assert_int_equal(reply.error.class, ERR_INVALID);
		assert_non_null(strstr(reply.error.msg, names[i]));
	}
	/* Nothing of it is left: the one address is there for the next. */
	(void)add(w, "bb", text);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		world_test(test_gc__frees_what_is_not_listed__cni_d5_35),
		world_test(test_gc__empty_list__cni_d5_38),
		world_test(test_gc__after_each_was_deleted__cni_d5_40),
		world_test(test_gc__spares_what_is_younger_or_not_bound),
		world_test(test_gc__spares_a_pod_that_lives__cni_d5_39),
		world_test(test_gc__spares_what_cannot_be_looked_at),
		world_test(test_gc__many__cni_d5_36),
		world_test(test_gc__before_anything_is_known),
		world_test(test_status__before_and_behind_the_first_list__cni_d6_41),
		world_test(test_status__full_and_no_growth__cni_d6_41),
		world_test(test_status__limited__cni_d6_41),
		world_test(test_status__empty_but_growing__cni_d6_43),
		world_test(test_del__late_and_of_another_sandbox__cni_d3_26__rule_2),
		world_test(test_add__host_end_that_is_no_pods),
		world_test(test_add__another_sandbox_of_the_container),
		world_test(test_restart__late_del_of_another_sandbox__cni_d3_26),
		world_test(test_restart__host_end_by_name__cni_c1_1),
	};

	return cmocka_run_group_tests(tests, world_group_setup, NULL);
}
