/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon with 500 pods on ten NICs, and what other programs of a node do to its routes, rules, tables and links:
 * everything of ours is back within a second, without a restart, and nothing of theirs is touched.
 *
 * The pods have host ends and routes as the plugin leaves them; their other ends stay in the node's namespace.
 */
#include "tests/net/ipamd_world.h"
#include "tests/net/said.h"

#include "ipamd/hostnet.h"

#define PODS      500U
#define NICS      10U
#define PER_NIC   50U                 /* addresses that a NIC of the largest instances takes beside its own */
#define BACK_US   USEC_PER_SEC        /* design.md section 6 */
#define NICS_US   (60 * USEC_PER_SEC) /* until nine NICs are attached, at the pace that the budget allows */
#define LAST      19U                 /* of the pods that end together: a link takes 14 to 60 ms */
#define NIC_TABLE "48641"
#define A_ROUTE   "198.51.100.0/24"

static struct world *node; /* of the whole group */
static char *nft_before;   /* owned: our table as it shall be */
static unsigned plugged;   /* secondary NICs whose link is there */
static long long repairs;  /* how many the daemon had made when the last harm was done */

/* ---- other programs ---- */

static void run(const char *words)
{
	free(said(words));
}

/* ---- the node ---- */

static void make_cloud_of_ten(struct world *w)
{
	char seed[4096], have[2048] = "[";

	for (unsigned i = 0; i < PER_NIC; i++) {
		size_t len = strlen(have);

		(void)snprintf(have + len, sizeof(have) - len, "%s\"10.0.2.%u\"", i ? "," : "", 1 + i);
	}
	(void)snprintf(seed, sizeof(seed),
		       "{\"region\":\"us-west-2\",\"vpc\":{\"cidrs\":[\"10.0.0.0/16\"]},"
		       "\"subnets\":[{\"cidr\":\"10.0.0.0/20\",\"az\":\"us-west-2a\"}],"
		       "\"instance_types\":[{\"name\":\"t.test\",\"nics\":%u,\"addresses\":%u}],"
		       "\"credentials\":[{\"access_key\":\"AKIDEXAMPLE\",\"secret\":\"" SECRET "\"}],"
		       "\"instances\":[{\"name\":\"n1\",\"type\":\"t.test\",\"subnet\":0,\"mac\":\"" NODE_MAC "\","
		       "\"primary\":\"" NODE_PRIMARY "\",\"addresses\":%s]}]}",
		       NICS, PER_NIC + 1, have);
	must(aws_mock_start(seed, NULL, &w->mock, &err));
	assert_int_equal(setenv("AWS_ENDPOINT_URL_EC2", aws_mock_api_url(w->mock), 1), 0);
	assert_int_equal(setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws_mock_metadata_url(w->mock, NULL), 1), 0);
	assert_int_equal(setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", 1), 0);
	assert_int_equal(setenv("AWS_SECRET_ACCESS_KEY", SECRET, 1), 0);
}

static bool has_mac_anywhere(const char *text)
{
	_cleanup_net_ struct net *net = NULL;
	struct macaddr mac;
	struct net_link link;

	assert_int_equal(macaddr_parse(text, &mac), 0);
	must(net_open(&net, &err));
	return net_link_by_mac(net, &mac, HOSTNET_POD_LINKS, &link, NULL) == 0;
}

/* What the hypervisor does: the link of each NIC that the cloud attached appears. */
static void plug_in(struct world *w)
{
	_cleanup_free_ char *text = aws_mock_control(w->mock, "state", NULL, NULL);
	json_auto_t *state = json_loads(text, 0, NULL);
	const json_t *nic;
	size_t i;

	json_array_foreach (json_object_get(state, "nics"), i, nic) {
		const char *mac = json_string_value(json_object_get(nic, "mac"));
		char words[128];

		if (!mac || has_mac_anywhere(mac) ||
		    !str_equal(json_string_value(json_object_get(nic, "status")), "in-use"))
			continue;
		plugged++;
		(void)snprintf(words, sizeof(words), "ip link add eth%u address %s type veth peer name fabric%u",
			       plugged, mac, plugged);
		run(words);
		(void)snprintf(words, sizeof(words), "ip link set fabric%u up", plugged);
		run(words);
	}
}

static void make_nics(struct world *w)
{
	int64_t end_us = clock_now(&clock_boot) + NICS_US;

	while (count_of(w, "free") < PODS) {
		if (clock_now(&clock_boot) > end_us)
			fail_msg("%u NICs, %lld addresses", plugged + 1, count_of(w, "free"));
		plug_in(w);
		(void)poll(NULL, 0, 5 * LOOK_MS);
	}
}

static void pod_key(unsigned i, char name[static 16])
{
	(void)snprintf(name, 16, "pod%u", i);
}

/* As the plugin does it. */
static void wire(struct net *net, const char *container, unsigned i, const struct prefix *address)
{
	const struct lease_key key = request_of(PROTO_ADD, container).key;
	char name[LEASE_IFNAME_SIZE], peer[16];
	struct macaddr mac;
	struct net_veth veth = { .name = name, .mac = &mac, .peer_netns_fd = -1, .peer_name = peer, .up = true };
	struct net_route route = {
		.dst = *address, .type = NET_ROUTE_UNICAST, .table = NET_TABLE_LOCAL, .protocol = BERTH_RTPROT
	};
	struct net_link link;

	(void)snprintf(peer, sizeof(peer), "p%u", i);
	proto_host_ifname(&key, name);
	mac = net_named_mac(name);
	must(net_veth_add(net, &veth, &err));
	must(net_link_by_name(net, peer, &link, &err));
	must(net_link_set_up(net, link.index, true, &err));
	must(net_link_by_name(net, name, &link, &err));
	must(net_link_set_up(net, link.index, true, &err));
	route.oif = link.index;
	must(net_route_replace(net, &route, &err));
}

static void make_pods(struct world *w)
{
	_cleanup_net_ struct net *net = NULL;

	must(net_open(&net, &err));
	for (unsigned i = 0; i < PODS; i++) {
		_cleanup_reply_ struct proto_reply reply;
		char name[16];

		pod_key(i, name);
		call(w, PROTO_ADD, name, &reply);
		if (!reply.ok)
			fail_msg("%s: %s", name, reply.error.msg);
		wire(net, name, i, &reply.addresses[0].address);
		must_call(w, PROTO_CONFIRM, name);
	}
}

static int count_ours(const struct net_route *route, void *arg)
{
	*(unsigned *)arg += route->protocol == BERTH_RTPROT;
	return 0;
}

static int count_our_rule(const struct net_rule *rule, void *arg)
{
	*(unsigned *)arg += rule->protocol == BERTH_RTPROT;
	return 0;
}

struct counts {
	unsigned routes, rules;
};

static struct counts count_all(void)
{
	_cleanup_net_ struct net *net = NULL;
	struct counts counts = { 0 };

	must(net_open(&net, &err));
	must(net_routes(net, IP_V4, 0, count_ours, &counts.routes, &err));
	must(net_rules(net, IP_V4, count_our_rule, &counts.rules, &err));
	return counts;
}

static bool is_whole(void)
{
	struct counts counts = count_all();

	/* a pod each, since every block is one address; a gateway and a default of each secondary NIC; a rule for each */
	return counts.routes == PODS + 2 * (NICS - 1) && counts.rules == NICS;
}

static bool is_table_whole(void)
{
	_cleanup_free_ char *text = said("nft list ruleset");

	return nft_before && strstr(text, nft_before) != NULL;
}

static int setup_node(void **state)
{
	if (world_group_setup(state) < 0 || world_setup(state) < 0)
		return -1;
	node = *state;
	node->config.max_nics = NICS;
	make_cloud_of_ten(node);
	node->config.min_ips = node->config.max_pods = PODS;
	(void)str_copy(node->config.metrics_address, sizeof(node->config.metrics_address), "127.0.0.1:9479");
	start(node);
	make_nics(node);
	make_pods(node);
	until(is_whole());
	until(count_of(node, "leased") == PODS);
	nft_before = said("nft list table inet berth");
	/* what others have on a node */
	run("ip rule add pref 2000 fwmark 0x200/0xf00 lookup 77 proto static");
	run("ip route add " A_ROUTE " via 10.0.1.1 dev eth0 table 77 proto static");
	run("ip route add unreachable 192.0.2.0/24 table local proto static");
	run("nft add table inet others");
	return 0;
}

static int teardown_node(void **state)
{
	*state = node;
	free(nft_before);
	return world_teardown(state);
}

/* ---- what is done to it, and that it comes back ---- */

#define until_back(condition)                                                                                          \
	do {                                                                                                           \
		int64_t since_us_ = clock_now(&clock_boot);                                                            \
		while (!(condition)) {                                                                                 \
			if (clock_now(&clock_boot) > since_us_ + BACK_US)                                              \
				fail_msg("not back within a second: %s", #condition);                                  \
			(void)poll(NULL, 0, LOOK_MS);                                                                  \
		}                                                                                                      \
	} while (0)

/* To see the harm itself we would have to be faster than the daemon: what it counts is seen whenever we come to look. */
static void harm(const char *words)
{
	repairs = sample_of("berth_host_repairs_total");
	run(words);
}

static bool has_repaired(unsigned objects)
{
	return sample_of("berth_host_repairs_total") >= repairs + objects;
}

static void assert_others_untouched(void)
{
	assert_true(says("ip rule show pref 2000", "lookup 77"));
	assert_true(says("ip route show table 77", A_ROUTE));
	assert_true(says("ip route show table local", "unreachable 192.0.2.0/24 proto static"));
}

static void test_repair__rules_flushed__aws_40_34__rule_11(void **state)
{
	(void)state;
	harm("ip rule flush");
	until_back(is_whole() && has_repaired(NICS));
	run("ip rule add pref 32766 lookup main");
	run("ip rule add pref 2000 fwmark 0x200/0xf00 lookup 77 proto static");
	assert_others_untouched();
}

static void test_repair__routes_of_pods_flushed__aws_40_34(void **state)
{
	(void)state;
	harm("ip route flush table local proto 98");
	until_back(is_whole() && has_repaired(PODS));
	assert_others_untouched();
}

static void test_repair__table_of_a_nic_flushed__aws_40_34(void **state)
{
	(void)state;
	harm("ip route flush table " NIC_TABLE);
	until_back(is_whole() && has_repaired(2));
	assert_true(says("ip route show table " NIC_TABLE, "default via 10.0.0.1 dev eth"));
	assert_others_untouched();
}

static void test_repair__ruleset_flushed__aws_40_34(void **state)
{
	(void)state;
	harm("nft flush ruleset");
	until_back(is_table_whole() && has_repaired(1));
	run("nft add table inet others");
}

static void test_repair__parts_of_the_table_taken__aws_40_34(void **state)
{
	static const char *const harms[] = {
		"nft flush chain inet berth post", "nft flush chain inet berth early",  "nft flush map inet berth nic",
		"nft delete table inet berth",     "nft add rule inet berth post drop",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(harms); i++) {
		harm(harms[i]);
		until_back(is_table_whole() && has_repaired(1));
	}
	assert_true(says("nft list tables", "table inet others"));
}

/* kube-proxy's own table changes all the time: that is no reason to load ours. */
static void test_repair__tables_of_others_are_theirs(void **state)
{
	_cleanup_free_ char *before = said("nft -a list table inet berth"), *after = NULL;

	(void)state;
	for (int i = 0; i < 3; i++) {
		run("nft add table ip kube-proxy");
		run("nft delete table ip kube-proxy");
	}
	run("ip rule del pref 2000");
	until_back(is_whole());
	(void)poll(NULL, 0, 400); /* twice as long as a repair takes */
	after = said("nft -a list table inet berth");
	assert_string_equal(before, after);
	run("ip rule add pref 2000 fwmark 0x200/0xf00 lookup 77 proto static");
}

static void host_end(unsigned i, char name[static LEASE_IFNAME_SIZE])
{
	struct lease_key key;
	char container[16];

	pod_key(i, container);
	key = request_of(PROTO_ADD, container).key;
	proto_host_ifname(&key, name);
}

static struct net_link link_of(const char *name)
{
	_cleanup_net_ struct net *net = NULL;
	struct net_link link = { 0 };

	must(net_open(&net, &err));
	must(net_link_by_name(net, name, &link, &err));
	return link;
}

static bool has_mac(const char *name, const struct macaddr *mac)
{
	const struct net_link link = link_of(name);

	return macaddr_equal(&link.mac, mac);
}

/* What udev does under MACAddressPolicy=persistent. */
static void test_repair__mac_of_a_host_end__aws_40_33(void **state)
{
	char name[LEASE_IFNAME_SIZE], words[96];
	struct macaddr mac;

	(void)state;
	host_end(PODS - 1, name);
	mac = link_of(name).mac;
	(void)snprintf(words, sizeof(words), "ip link set %s address 02:11:22:33:44:55", name);
	run(words);
	until_back(has_mac(name, &mac));
	assert_true(is_whole());
}

static void test_repair__host_end_taken_down__aws_40_34(void **state)
{
	char name[LEASE_IFNAME_SIZE], words[96];

	(void)state;
	host_end(7, name);
	(void)snprintf(words, sizeof(words), "ip link set %s down", name);
	harm(words); /* the route goes with it */
	until_back(link_of(name).up && is_whole() && has_repaired(1));
}

static void test_repair__nic_taken_down__aws_40_34__rule_5(void **state)
{
	(void)state;
	harm("ip link set eth1 down"); /* the gateway and the default of its table go with it */
	until_back(link_of("eth1").up && is_whole() && has_repaired(2));
	run("ip addr flush dev eth1");
	until_back(says("ip -4 addr show dev eth1", "inet 10.0."));
	run("ip link set eth1 mtu 1400");
	until_back(link_of("eth1").mtu == 1500);
}

static bool sysctl_reads(const char *key, const char *value)
{
	char words[128];

	(void)snprintf(words, sizeof(words), "sysctl -n %s", key);
	return says(words, value);
}

static void test_repair__sysctls__aws_40_34__rule_4(void **state)
{
	static const char *const harms[][2] = { { "net.ipv4.conf.eth1.rp_filter", "1" },
						{ "net.ipv4.conf.eth0.rp_filter", "0" },
						{ "net.ipv4.conf.eth1.rp_filter", "0" } };
	char words[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(harms); i++) {
		(void)snprintf(words, sizeof(words), "sysctl -qw %s=%s", harms[i][0], harms[i][1]);
		run(words);
		until_back(sysctl_reads(harms[i][0], "2"));
	}
	run("sysctl -qw net.ipv4.ip_forward=0");
	until_back(sysctl_reads("net.ipv4.ip_forward", "1"));
}

/* Pods that come and go leave nothing, whichever of their steps is missing. */
static void test_cycles__leave_no_routes_and_links__aws_40_35(void **state)
{
	_cleanup_net_ struct net *net = NULL;
	char name[16], host[LEASE_IFNAME_SIZE];

	(void)state;
	must(net_open(&net, &err));
	for (unsigned i = 0; i < 60; i++) {
		_cleanup_reply_ struct proto_reply reply;

		pod_key(i, name);
		host_end(i, host);
		if (i % 3 == 0) /* the sandbox died with its link */
			must(net_link_del(net, link_of(host).index, &err));
		del(node, name);
		until(!has_link(host));
		call(node, PROTO_ADD, name, &reply);
		assert_true(reply.ok);
		if (i % 4 == 0) { /* the plugin died before it wired, and the runtime tries again */
			del(node, name);
			proto_reply_done(&reply);
			call(node, PROTO_ADD, name, &reply);
			assert_true(reply.ok);
		}
		wire(net, name, i, &reply.addresses[0].address);
		must_call(node, PROTO_CONFIRM, name);
	}
	until(is_whole());
	assert_others_untouched();
}

/* Links are deleted in the background, one behind the other: what takes a name again meanwhile is not meant. */
static void test_del__and_add_of_the_same_at_once(void **state)
{
	static const char deleted[] = "berth_jobs_total{op=\"linkdel\",result=\"ok\"}";
	long long before = sample_of(deleted);
	_cleanup_net_ struct net *net = NULL;
	_cleanup_reply_ struct proto_reply reply;
	char name[16], host[LEASE_IFNAME_SIZE];

	(void)state;
	must(net_open(&net, &err));
	for (unsigned i = 0; i <= LAST; i++) {
		pod_key(i, name);
		del(node, name);
	}
	call(node, PROTO_ADD, name, &reply);
	assert_true(reply.ok);
	host_end(LAST, host);
	if (has_link(host)) /* as the plugin does */
		(void)net_link_del(net, link_of(host).index, NULL);
	wire(net, name, LAST, &reply.addresses[0].address);
	must_call(node, PROTO_CONFIRM, name);
	until(sample_of(deleted) > before + LAST);
	assert_true(has_link(host));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_repair__rules_flushed__aws_40_34__rule_11),
		cmocka_unit_test(test_repair__routes_of_pods_flushed__aws_40_34),
		cmocka_unit_test(test_repair__table_of_a_nic_flushed__aws_40_34),
		cmocka_unit_test(test_repair__ruleset_flushed__aws_40_34),
		cmocka_unit_test(test_repair__parts_of_the_table_taken__aws_40_34),
		cmocka_unit_test(test_repair__tables_of_others_are_theirs),
		cmocka_unit_test(test_repair__mac_of_a_host_end__aws_40_33),
		cmocka_unit_test(test_repair__host_end_taken_down__aws_40_34),
		cmocka_unit_test(test_repair__nic_taken_down__aws_40_34__rule_5),
		cmocka_unit_test(test_repair__sysctls__aws_40_34__rule_4),
		cmocka_unit_test(test_cycles__leave_no_routes_and_links__aws_40_35),
		cmocka_unit_test(test_del__and_add_of_the_same_at_once),
	};

	return cmocka_run_group_tests_name("repair", tests, setup_node, teardown_node);
}
