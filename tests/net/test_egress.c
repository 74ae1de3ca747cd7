/* SPDX-License-Identifier: Apache-2.0 */
/* Pods of one family reach the world of the other one, and nobody outside ever learns under which address. */
#include "tests/net/egress_world.h"

#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>

/* ---- the way out ---- */

static void test_egress__v6_pod_reaches_v4(void **state)
{
	static const char *const filters[] = { "0", "1", "2" };
	struct world *w = *state;

	make_node(w, IP_V6);
	up(w);
	add_pod(w, 0);
	add_pod(w, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(filters); i++) {
		sysctl(NODE, "net/ipv4/conf/all/rp_filter", filters[i]);
		sysctl(NODE, "net/ipv4/conf/default/rp_filter", filters[i]);
		passes(0, OUTSIDE, WORLD_V4, NODE_PRIMARY);
		passes(0, OUTSIDE, HOST_V4, NODE_PRIMARY);
		passes(1, OUTSIDE, WORLD_V4, NODE_PRIMARY);
		passes(0, NODE, NODE_PRIMARY, NULL);
	}
	passes(0, OUTSIDE, WORLD_V6, "2600:1f14::5:0:0:1"); /* its own family goes as ever */
	assert_int_equal(leaked(), 0);
}

static void test_egress__v4_pod_reaches_v6(void **state)
{
	struct world *w = *state;

	make_node(w, IP_V4);
	w->config.egress[ip_index(IP_V6)] = true;
	up(w);
	add_pod(w, 0);
	passes(0, OUTSIDE, WORLD_V6, NODE_V6);
	passes(0, OUTSIDE, HOST_V6, NODE_V6);
	passes(0, NODE, NODE_V6, NULL);
	passes(0, OUTSIDE, WORLD_V4, NODE_PRIMARY);
	passes(0, OUTSIDE, HOST_V4, "10.0.1.21");
	assert_int_equal(leaked(), 0);
}

/* It would take a pod for its node: what pods of IPv6 could not reach before, they do not reach now. */
static void test_egress__not_the_metadata_service(void **state)
{
	struct world *w = *state;

	make_node(w, IP_V6);
	up(w);
	add_pod(w, 0);
	passes(NODE, OUTSIDE, METADATA, NULL);
	does_not_pass(&(struct flow){ .from = 0, .to = OUTSIDE, .addr = METADATA });
	passes(0, OUTSIDE, WORLD_V4, NODE_PRIMARY);
}

/* What is said of pods' own addresses does not hold for one that nobody else knows. */
static void test_egress__whatever_snat_is_set_to(void **state)
{
	struct world *w = *state;

	make_node(w, IP_V6);
	w->config.external_snat = true;
	w->config.snat_exclude = (struct config_prefixes){ 1, { stub_prefix("198.51.100.0/24") } };
	up(w);
	add_pod(w, 0);
	passes(0, OUTSIDE, WORLD_V4, NODE_PRIMARY);
	passes(0, OUTSIDE, HOST_V4, NODE_PRIMARY);
	assert_int_equal(leaked(), 0);
}

/* ---- who gets one ---- */

static void test_egress__off(void **state)
{
	struct world *w = *state;
	struct addrs addrs;

	make_node(w, IP_V4);
	up(w);
	add_pod(w, 0);
	addrs = addrs_of(0);
	assert_int_equal(addrs.count[ip_index(IP_V4)], 1);
	assert_int_equal(addrs.count[ip_index(IP_V6)], 0);
	assert_false(has_route(RANGE_V4, NET_ROUTE_UNREACHABLE));
	assert_false(has_route(RANGE_V6, NET_ROUTE_UNREACHABLE));
	del_pod(w, 0);
	stop(w);
	make_node(w, IP_V6);
	w->config.egress[ip_index(IP_V4)] = false;
	up(w);
	add_pod(w, 1);
	addrs = addrs_of(1);
	assert_int_equal(addrs.count[ip_index(IP_V4)], 0);
	assert_int_equal(addrs.count[ip_index(IP_V6)], 1);
	assert_false(has_route(RANGE_V4, NET_ROUTE_UNREACHABLE));
}

/* Pods with an address of each family, further interfaces of pods, and what other plugins wire. */
static void test_egress__not_for_everybody(void **state)
{
	_cleanup_reply_ struct proto_reply reply = { 0 }, second = { 0 }, delegated = { 0 };
	struct proto_request request = request_of(PROTO_ADD, "b");
	struct world *w = *state;

	make_node(w, IP_V6);
	up(w);
	(void)str_copy(request.key.ifname, sizeof(request.key.ifname), "net1");
	send_request(w, &request, &second);
	assert_true(second.ok);
	assert_int_equal(second.egress.address.addr.family, IP_NONE);
	request = request_of(PROTO_ADD, "c");
	request.delegated = true;
	send_request(w, &request, &delegated);
	assert_true(delegated.ok);
	assert_int_equal(delegated.egress.address.addr.family, IP_NONE);
	stop(w);
	w->config.families = (struct config_families){ { true, true } };
	make_stub(w, 4, 4, 80, BLOCKS("10.0.1.21/32", BLOCK_V6));
	w->config.egress[0] = w->config.egress[1] = true;
	up(w);
	call(w, PROTO_ADD, "d", &reply);
	assert_true(reply.ok);
	assert_int_equal(reply.address_count, 2);
	assert_int_equal(reply.egress.address.addr.family, IP_NONE);
}

/* Kubernetes takes for the pod's what the result lists. */
static void test_add__no_result_lists_it(void **state)
{
	_cleanup_output_ struct output output = { 0 };
	struct world *w = *state;
	char text[IPADDR_STRLEN];

	make_node(w, IP_V6);
	up(w);
	output = must_berth(w, "ADD", 0, NULL);
	assert_string_equal(egress_addr(0, IP_V4, text), "169.254.172.1");
	assert_int_equal(json_array_size(json_object_get(output.json, "ips")), 1);
	assert_int_equal(json_array_size(json_object_get(output.json, "routes")), 1);
	assert_false(output_says(&output, "169.254."));
	assert_true(has_route("169.254.172.1/32", NET_ROUTE_UNICAST));
	assert_true(has_route(RANGE_V4, NET_ROUTE_UNREACHABLE));
}

static void test_check__looks_at_it(void **state)
{
	_cleanup_output_ struct output added = { 0 }, good = { 0 }, bad = { 0 };
	_cleanup_net_ struct net *pod = NULL;
	const struct ipaddr addr = ip("169.254.172.1");
	struct world *w = *state;

	make_node(w, IP_V6);
	up(w);
	added = must_berth(w, "ADD", 0, NULL);
	good = must_berth(w, "CHECK", 0, added.json);
	must(net_open_ns(places.fd[0], &pod, &err));
	must(net_addr_del(pod, index_of(pod, "eth0"), &addr, 32, &err));
	bad = run_berth(w, "CHECK", 0, added.json);
	assert_int_not_equal(bad.status, 0);
	if (!output_says(&bad, "lacks address 169.254.172.1"))
		fail_msg("%s", bad.out);
}

/* ---- nobody comes in, nothing gets out ---- */

/* A reset of a connection that nobody knows: connection tracking calls it INVALID, and translates nothing of that. */
struct reset {
	const char *from, *to;
};

static int send_reset4(void *arg, struct err *err)
{
	const struct reset *reset = arg;
	const struct ipaddr from = ip(reset->from), to = ip(reset->to);
	struct {
		struct iphdr ip;
		struct tcphdr tcp;
	} packet = { .ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP },
		     .tcp = { .source = htons(4242), .dest = htons(80), .doff = 5, .rst = 1 } };
	struct sockaddr_in dest = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	ssize_t n;

	memcpy(&packet.ip.saddr, from.bytes, 4);
	memcpy(&packet.ip.daddr, to.bytes, 4);
	memcpy(&dest.sin_addr, to.bytes, 4);
	n = sendto(fd, &packet, sizeof(packet), 0, (struct sockaddr *)&dest, sizeof(dest));
	(void)close(fd);
	return n == (ssize_t)sizeof(packet) ? 0 : err_set_errno(err, ERR_BUG, "test", errno, "reset");
}

static int send_reset6(void *arg, struct err *err)
{
	const struct reset *reset = arg;
	const struct ipaddr from = ip(reset->from), to = ip(reset->to);
	struct {
		struct ip6_hdr ip;
		struct tcphdr tcp;
	} packet = { .ip = { .ip6_flow = htonl(6U << 28), .ip6_nxt = IPPROTO_TCP, .ip6_hlim = 64 },
		     .tcp = { .source = htons(4242), .dest = htons(80), .doff = 5, .rst = 1 } };
	struct sockaddr_in6 dest = { .sin6_family = AF_INET6 };
	int fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	ssize_t n;

	packet.ip.ip6_plen = htons(sizeof(packet.tcp));
	memcpy(&packet.ip.ip6_src, from.bytes, 16);
	memcpy(&packet.ip.ip6_dst, to.bytes, 16);
	memcpy(&dest.sin6_addr, to.bytes, 16);
	n = sendto(fd, &packet, sizeof(packet), 0, (struct sockaddr *)&dest, sizeof(dest));
	(void)close(fd);
	return n == (ssize_t)sizeof(packet) ? 0 : err_set_errno(err, ERR_BUG, "test", errno, "reset");
}

struct raw {
	bool v6;
	int fd;
};

static int open_raw(void *arg, struct err *err)
{
	struct raw *raw = arg;

	raw->fd = socket(raw->v6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	return raw->fd < 0 ? err_set_errno(err, ERR_BUG, "test", errno, "raw socket") : 0;
}

/* Also what connection tracking does not know. */
static void no_reset_comes_in(enum ip_family family, const char *to)
{
	struct reset reset = { family == IP_V4 ? HOST_V4 : HOST_V6, to };
	struct raw raw = { .v6 = family == IP_V6 };
	char packet[FRAME_SIZE];

	in_place(0, open_raw, &raw);
	in_place(OUTSIDE, raw.v6 ? send_reset6 : send_reset4, &reset);
	passes(0, OUTSIDE, raw.v6 ? WORLD_V6 : WORLD_V4, NULL); /* behind it */
	assert_true(recv(raw.fd, packet, sizeof(packet), 0) < 0);
	(void)close(raw.fd);
}

static void nobody_comes_in(struct world *w, enum ip_family family)
{
	const char *node = family == IP_V4 ? NODE_PRIMARY : NODE_V6;
	char one[IPADDR_STRLEN], two[IPADDR_STRLEN];

	make_node(w, family == IP_V4 ? IP_V6 : IP_V4);
	w->config.egress[ip_index(IP_V6)] = true;
	up(w);
	add_pod(w, 0);
	add_pod(w, 1);
	(void)egress_addr(0, family, one);
	(void)egress_addr(1, family, two);
	assert_string_not_equal(one, two);
	does_not_pass(&(struct flow){ .from = OUTSIDE, .to = 0, .addr = one });
	does_not_pass(&(struct flow){ .from = 1, .to = 0, .addr = one });
	does_not_pass(&(struct flow){ .from = 0, .to = 1, .addr = two });
	no_reset_comes_in(family, one);
	passes(NODE, 0, one, NULL);
	/* Nobody outside has one of these, whose answer a pod would get. */
	does_not_pass(&(struct flow){ .from = OUTSIDE, .to = NODE, .addr = node, .source = one });
	passes(OUTSIDE, NODE, node, NULL);
	/* By way of a port of the node either. */
	nft(family == IP_V4 ? "table ip kp { chain d { type nat hook prerouting priority -100;\n"
			      " fib daddr type local udp dport 30080 dnat to 169.254.172.1:9000\n }\n}\n"
			    : "table ip6 kp { chain d { type nat hook prerouting priority -100;\n"
			      " fib daddr type local udp dport 30080 dnat to [fd00::ac:1]:9000\n }\n}\n");
	does_not_pass(&(struct flow){ .from = OUTSIDE, .to = 0, .addr = node, .port = 30080 });
	passes(0, OUTSIDE, family == IP_V4 ? WORLD_V4 : WORLD_V6, NULL);
	assert_int_equal(leaked(), 0);
}

static void test_egress__nobody_comes_in_by_v4(void **state)
{
	nobody_comes_in(*state, IP_V4);
}

static void test_egress__nobody_comes_in_by_v6(void **state)
{
	nobody_comes_in(*state, IP_V6);
}

static void test_egress__what_is_not_translated_does_not_leave(void **state)
{
	struct reset v4 = { "169.254.172.1", WORLD_V4 }, v6 = { "fd00::ac:1", WORLD_V6 };
	struct world *w = *state;

	make_node(w, IP_V6);
	up(w);
	add_pod(w, 0);
	in_place(0, send_reset4, &v4);
	passes(0, OUTSIDE, WORLD_V4, NODE_PRIMARY); /* behind it */
	assert_int_equal(leaked(), 0);
	del_pod(w, 0);
	stop(w);
	make_node(w, IP_V4);
	w->config.egress[ip_index(IP_V6)] = true;
	up(w);
	add_pod(w, 0);
	in_place(0, send_reset6, &v6);
	passes(0, OUTSIDE, WORLD_V6, NODE_V6);
	assert_int_equal(leaked(), 0);
}

/* ---- the end of a pod, of a daemon, of a store ---- */

static bool has_anything_of(const char *addr)
{
	char dst[PREFIX_STRLEN];

	(void)snprintf(dst, sizeof(dst), "%s/%s", addr, strchr(addr, ':') ? "128" : "32");
	return has_route(dst, NET_ROUTE_UNICAST) || has_route(dst, NET_ROUTE_UNREACHABLE) || has_flow(addr);
}

static void test_del__leaves_nothing__aws_25(void **state)
{
	struct world *w = *state;

	make_node(w, IP_V6);
	up(w);
	add_pod(w, 0);
	passes(0, OUTSIDE, WORLD_V4, NULL);
	assert_true(has_flow("169.254.172.1"));
	/* As a sandbox that is gone before its DEL comes. */
	must(netns_del(places.name[0], &err));
	del_pod(w, 0);
	until(!has_anything_of("169.254.172.1"));
	assert_true(has_route(RANGE_V4, NET_ROUTE_UNREACHABLE));
	stop(w);
	make_node(w, IP_V4);
	w->config.egress[ip_index(IP_V6)] = true;
	up(w);
	add_pod(w, 1);
	passes(1, OUTSIDE, WORLD_V6, NULL);
	assert_true(has_flow("fd00:0000:0000:0000:0000:0000:00ac:0001"));
	del_pod(w, 1);
	until(!has_flow("fd00:0000:0000:0000:0000:0000:00ac:0001"));
	assert_false(has_anything_of("fd00::ac:1"));
	assert_true(has_route(RANGE_V6, NET_ROUTE_UNREACHABLE));
	assert_false(has_route(RANGE_V4, NET_ROUTE_UNREACHABLE)); /* nobody has one of it any more */
}

/* One that was given back is nobody's until its flows are forgotten, also for the next daemon. */
static void test_del__it_rests_as_all_do(void **state)
{
	struct world *w = *state;
	char text[IPADDR_STRLEN];

	make_node(w, IP_V6);
	w->config.cooldown_us = LATER_US;
	up(w);
	add_pod(w, 0);
	assert_string_equal(egress_addr(0, IP_V4, text), "169.254.172.1");
	del_pod(w, 0);
	stop(w);
	up(w);
	add_pod(w, 1);
	assert_string_equal(egress_addr(1, IP_V4, text), "169.254.172.2");
}

static void test_restart__keeps_it(void **state)
{
	struct world *w = *state;
	struct flow flow = { .from = 0, .to = OUTSIDE, .addr = WORLD_V4 };
	char text[IPADDR_STRLEN];

	make_node(w, IP_V6);
	up(w);
	add_pod(w, 0);
	flow_open(&flow);
	until(flow_try(&flow));
	stop(w);
	assert_true(flow_try(&flow));
	w->config.egress[ip_index(IP_V4)] = false; /* who has one keeps it */
	up(w);
	add_pod(w, 1); /* when the kernel has all */
	assert_true(flow_try(&flow));
	flow_close(&flow);
	passes(0, OUTSIDE, WORLD_V4, NODE_PRIMARY);
	assert_true(has_route(RANGE_V4, NET_ROUTE_UNREACHABLE));
	assert_int_equal(addrs_of(1).count[ip_index(IP_V4)], 0);
	stop(w);
	w->config.egress[ip_index(IP_V4)] = true;
	up(w);
	del_pod(w, 1);
	add_pod(w, 1);
	assert_string_equal(egress_addr(1, IP_V4, text), "169.254.172.2");
	assert_int_equal(leaked(), 0);
}

/* Has this daemon had flows forgotten? */
static bool has_flushed(void)
{
	_cleanup_free_ char *page = metrics_page();

	return strstr(page, "berth_jobs_total{op=\"ctflush\",result=\"ok\"} 1\n") != NULL;
}

/* The store knows that somebody before the pod gave it back. */
static void test_restart__of_one_that_had_rested(void **state)
{
	struct world *w = *state;
	char text[IPADDR_STRLEN];

	make_node(w, IP_V6);
	(void)str_copy(w->config.metrics_address, sizeof(w->config.metrics_address), "127.0.0.1:9479");
	up(w);
	add_pod(w, 0);
	del_pod(w, 0);
	stop(w);
	up(w);
	until(has_flushed());
	add_pod(w, 1);
	assert_string_equal(egress_addr(1, IP_V4, text), "169.254.172.1");
	stop(w);
	up(w);
	add_pod(w, 0); /* when the kernel has all */
	assert_string_equal(egress_addr(0, IP_V4, text), "169.254.172.2");
	passes(1, OUTSIDE, WORLD_V4, NODE_PRIMARY);
}

/* The store is gone, the pod is not: what leads to its link is its own. */
static void test_restart__without_a_store(void **state)
{
	struct world *w = *state;
	char path[PATH_MAX], text[IPADDR_STRLEN];

	make_node(w, IP_V6);
	up(w);
	add_pod(w, 0);
	stop(w);
	assert_int_equal(fs_unlink(check_path(path, sizeof(path), w->config.run_dir, "leases.db")), 0);
	up(w);
	add_pod(w, 1);
	assert_string_equal(egress_addr(1, IP_V4, text), "169.254.172.2");
	assert_int_equal(count_of(w, "leased"), 2);
	assert_int_equal(count_of(w, "lost"), 0);
	assert_true(has_route("169.254.172.1/32", NET_ROUTE_UNICAST));
	passes(0, OUTSIDE, WORLD_V4, NODE_PRIMARY);
	passes(1, OUTSIDE, WORLD_V4, NODE_PRIMARY);
	del_pod(w, 0);
	until(!has_anything_of("169.254.172.1"));
}

/* ---- repair ---- */

static void test_repair__route_and_cover(void **state)
{
	struct net_route route = { .dst = stub_prefix("169.254.172.1/32"),
				   .type = NET_ROUTE_UNICAST,
				   .table = NET_TABLE_LOCAL,
				   .protocol = BERTH_RTPROT };
	struct net_route cover = { .dst = stub_prefix(RANGE_V4),
				   .type = NET_ROUTE_UNREACHABLE,
				   .table = NET_TABLE_LOCAL,
				   .protocol = BERTH_RTPROT };
	_cleanup_net_ struct net *net = NULL;
	struct world *w = *state;

	make_node(w, IP_V6);
	up(w);
	add_pod(w, 0);
	must(net_open(&net, &err));
	must(net_route_del(net, &route, &err));
	must(net_route_del(net, &cover, &err));
	until(has_route("169.254.172.1/32", NET_ROUTE_UNICAST) && has_route(RANGE_V4, NET_ROUTE_UNREACHABLE));
	passes(0, OUTSIDE, WORLD_V4, NODE_PRIMARY);
}

/* ---- what is said ---- */

static const json_t *egress_of_state(const json_t *state, const char *key)
{
	const json_t *first = json_array_get(json_object_get(state, "egress"), 0);

	return json_object_get(first, key);
}

static void test_state__who_leaves_as_whom(void **state)
{
	struct world *w = *state;
	char *page;

	make_node(w, IP_V6);
	(void)str_copy(w->config.metrics_address, sizeof(w->config.metrics_address), "127.0.0.1:9479");
	up(w);
	add_pod(w, 0);
	{
		json_auto_t *seen = state_of(w);

		assert_int_equal(json_array_size(json_object_get(seen, "egress")), 1);
		assert_string_equal(json_string_value(egress_of_state(seen, "family")), "ipv4");
		assert_string_equal(json_string_value(egress_of_state(seen, "as")), NODE_PRIMARY);
		assert_int_equal(json_integer_value(egress_of_state(seen, "pods")), 1);
		assert_int_equal(json_integer_value(egress_of_state(seen, "refused")), 0);
	}
	page = metrics_page();
	assert_sample(page, "berth_egress_pods{family=\"ipv4\"}", 1);
	assert_sample(page, "berth_egress_refused_total{family=\"ipv4\"}", 0);
	assert_null(strstr(page, "berth_egress_pods{family=\"ipv6\"}"));
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		egress_test(test_egress__v6_pod_reaches_v4),
		egress_test(test_egress__v4_pod_reaches_v6),
		egress_test(test_egress__not_the_metadata_service),
		egress_test(test_egress__whatever_snat_is_set_to),
		egress_test(test_egress__off),
		egress_test(test_egress__not_for_everybody),
		egress_test(test_add__no_result_lists_it),
		egress_test(test_check__looks_at_it),
		egress_test(test_egress__nobody_comes_in_by_v4),
		egress_test(test_egress__nobody_comes_in_by_v6),
		egress_test(test_egress__what_is_not_translated_does_not_leave),
		egress_test(test_del__leaves_nothing__aws_25),
		egress_test(test_del__it_rests_as_all_do),
		egress_test(test_restart__keeps_it),
		egress_test(test_restart__of_one_that_had_rested),
		egress_test(test_restart__without_a_store),
		egress_test(test_repair__route_and_cover),
		egress_test(test_state__who_leaves_as_whom),
	};

	return cmocka_run_group_tests(tests, world_group_setup, NULL);
}
