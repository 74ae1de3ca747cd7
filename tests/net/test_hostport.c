/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: ports of the node that lead to pods
 *
 * Connections to host ports of the node with two NICs (node_world.h), beside kube-proxy's rules by three programs and under
 * each rp_filter; the server says whom it sees. What must not be led anywhere is asked for in the same breath.
 *
 *   31001  p1, primary NIC        31003  p1 by eth1's address, p2 by all others
 *   31002  p2, secondary NIC      31004  p1 by 127.0.0.1 alone; of IPv6 nobody
 *   30081  p2 says the host port, p1 says a Service's NodePort
 *   8081   p1; every server listens there, so that what only passes the node shows where it went
 */
#include "tests/net/matrix_probe.h"
#include "tests/net/matrix_proxy.h"

#define LOST_US   (400 * USEC_PER_MSEC) /* for what shall be lost; all that passes takes a tenth of it */
#define SOME_NODE "*"                   /* seen under an address of the node: which one does not matter */
#define NOBODY    PLACES

#define LO_4 "127.0.0.1"
#define LO_6 "::1"

/* One connection, by ip_index(): whom it asks, and whom the server shall see. */
struct path {
	enum place from;
	const char *addrs[IP_FAMILIES]; /* NULL: not of this family */
	uint16_t port;
	enum place at; /* who shall answer */
	const char *seen[IP_FAMILIES];
};

#define TO(x)                                                                                                          \
	{                                                                                                              \
		x##_4, x##_6                                                                                           \
	}
#define TO4(x)                                                                                                         \
	{                                                                                                              \
		x##_4, NULL                                                                                            \
	}
#define TO6(x)                                                                                                         \
	{                                                                                                              \
		NULL, x##_6                                                                                            \
	}
#define A_NODE                                                                                                         \
	{                                                                                                              \
		SOME_NODE, SOME_NODE                                                                                   \
	}
#define REFUSED                                                                                                        \
	{                                                                                                              \
		NULL, NULL                                                                                             \
	}

/* From everywhere; the client's address is kept. */
static const struct path from_outside[] = {
	{ NB, TO(NA), 31001, P1, TO(NB) }, { NB, TO(NA), 31002, P2, TO(NB) },  { P3, TO(NA), 31001, P1, TO(P3) },
	{ P3, TO(NA), 31002, P2, TO(P3) }, { EXT, TO(NA), 31001, P1, TO(EX) }, { EXT, TO(NA), 31002, P2, TO(EX) },
	{ NB, TO(NA), 8081, P1, TO(NB) },
};
/* Answers leave by the NIC that the question came by: the fabric drops them on the other. */
static const struct path by_eth1[] = {
	{ NB, TO(NS), 31001, P1, TO(NB) },
	{ EXT, TO(NS), 31001, P1, TO(EX) },
};
static const struct path by_eth1_to_its_own[] = {
	{ NB, TO(NS), 31002, P2, TO(NB) },
	{ EXT, TO(NS), 31002, P2, TO(EX) },
};
static const struct path from_pods[] = {
	{ P2, TO(NA), 31001, P1, TO(P2) },
	{ P1, TO(NA), 31002, P2, TO(P1) },
	{ P2, TO(NS), 31001, P1, TO(P2) },
	{ P1, TO(NS), 31002, P2, TO(P1) },
};
static const struct path from_itself[] = {
	{ P1, TO(NA), 31001, P1, A_NODE },
	{ P2, TO(NA), 31002, P2, A_NODE },
	{ P2, TO(NS), 31002, P2, A_NODE },
};
static const struct path from_the_node[] = {
	{ NA, TO(NA), 31001, P1, A_NODE },
	{ NA, TO(NA), 31002, P2, A_NODE },
	{ NA, TO(NS), 31001, P1, A_NODE },
	{ NA, TO(NS), 31002, P2, A_NODE },
};
static const struct path by_loopback[] = {
	{ NA, TO4(LO), 31001, P1, A_NODE },
	{ NA, TO4(LO), 31002, P2, A_NODE },
	{ NA, TO4(LO), 31004, P1, A_NODE },
};
/* IPv6's loopback does not lead anywhere, and what listens there is still reached. */
static const struct path by_loopback6[] = {
	{ NA, TO6(LO), 31001, NOBODY, REFUSED },
	{ NA, TO6(LO), 8081, NA, TO(LO) },
};
static const struct path by_host_ip[] = {
	{ NB, TO(NS), 31003, P1, TO(NB) },
	{ NB, TO(NA), 31003, P2, TO(NB) },
	{ NB, TO(NA), 31004, NOBODY, REFUSED },
	{ P1, TO(NA), 31004, NOBODY, REFUSED },
};
/* A Service's port, whoever else says it is his. */
static const struct path of_services[] = {
	{ NB, TO(NA), 30081, P1, A_NODE },
	{ P2, TO(NA), 30081, P1, A_NODE },
};
/* To others' ports of the same number: from pods, from the node itself, through the node to a pod. */
static const struct path foreign[] = {
	{ P2, TO(P3), 8081, P3, TO(P2) },
	{ P2, TO(NB), 8081, NB, TO(P2) },
	{ P2, TO(EX), 8081, EXT, { "198.51.100.77", P2_6 } },
	{ P1, TO(P2), 8081, P2, TO(P1) },
	{ NA, TO(NB), 8081, NB, TO(NA) },
	{ NA, TO(P3), 8081, P3, TO(NA) },
	{ NA, TO(P2), 8081, P2, A_NODE },
	{ NB, TO(P2), 8081, P2, TO(NB) },
	{ P3, TO(P2), 8081, P2, TO(P3) },
	{ P2, { "10.0.0.31", P3_6 }, 31001, NOBODY, REFUSED },
	{ P1, TO(NB), 31002, NOBODY, REFUSED },
};

/* ---- the node ---- */

static int compare_ports(const void *a, const void *b)
{
	return net_port_cmp(a, b);
}

static void lead(struct wish *wish, const char *host, uint16_t host_port, const char *to, uint16_t to_port)
{
	assert_true(wish->port_count < ARRAY_SIZE(wish->ports));
	wish->ports[wish->port_count++] = (struct net_port){
		.host_addr = ip(host), .to = ip(to), .host_port = host_port, .to_port = to_port, .protocol = IPPROTO_TCP
	};
}

static void lead_both(struct wish *wish, uint16_t host_port, const char *to, const char *to6)
{
	lead(wish, "0.0.0.0", host_port, to, PORT);
	lead(wish, "::", host_port, to6, PORT);
}

static void wish_ports(struct wish *wish)
{
	usual(wish);
	lead_both(wish, 31001, P1_4, P1_6);
	lead_both(wish, 31002, P2_4, P2_6);
	lead_both(wish, 31003, P2_4, P2_6);
	lead(wish, NS_4, 31003, P1_4, PORT);
	lead(wish, NS_6, 31003, P1_6, PORT);
	lead(wish, LO_4, 31004, P1_4, PORT);
	lead_both(wish, 30081, P2_4, P2_6);
	lead_both(wish, PORT_DETOUR, P1_4, P1_6);
	qsort(wish->ports, wish->port_count, sizeof(wish->ports[0]), compare_ports);
	for (unsigned i = 0; i < wish->want.pod_count; i++)
		wish->pods[i].by_loopback = true;
}

static void set_rp_filter(const char *value)
{
	static const char *const links[] = { "all", "default", "eth0", "eth1", "bth00000000001", "bth00000000002" };
	char key[96];

	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		(void)snprintf(key, sizeof(key), "net/ipv4/conf/%s/rp_filter", links[i]);
		sysctl(NA, key, value);
	}
}

static void make_ports(void)
{
	struct wish wish;

	wish_ports(&wish);
	sync_ok(&wish);
	nft_table(&wish);
}

static int setup_ports(void **state)
{
	if (setup_world(state) < 0)
		return -1;
	add_route(EXT, "10.0.0.0/16", "198.51.100.1", "eth0", 0, false);
	nft(VPC, "flush chain ip igw f\nadd rule ip igw f ct state established,related accept\n"
		 "add rule ip igw f oifname \"x1\" ip saddr != 10.0.0.10 drop\n");
	must(set_proxy(NB, NFTABLES, &oops));
	return 0;
}

/* ---- connections ---- */

static bool holds(const struct path *path, unsigned f, const char *said)
{
	const char *who = path->at == NOBODY ? "" : place_names[path->at];
	size_t len = strlen(who);

	if (path->at == NOBODY)
		return !said[0];
	if (strncmp(said, who, len) != 0 || said[len] != ' ')
		return false;
	said += len + 1;
	if (strcmp(path->seen[f], SOME_NODE) != 0)
		return strcmp(said, path->seen[f]) == 0;
	return strcmp(said, f ? NA_6 : NA_4) == 0 || strcmp(said, f ? NS_6 : NS_4) == 0;
}

/* Return: how many connections are not as they shall be. */
static unsigned wrong_paths(const struct path *paths, size_t count, int64_t for_us, bool loud)
{
	struct probe probes[PROBES_MAX];
	unsigned n = 0, wrong = 0;

	for (size_t i = 0; i < count; i++) {
		for (unsigned f = 0; f < IP_FAMILIES; f++) {
			if (paths[i].addrs[f])
				probes[n++] = (struct probe){ .from = paths[i].from,
							      .addr = paths[i].addrs[f],
							      .port = paths[i].port };
		}
	}
	run_probes(probes, n, 1, for_us);
	n = 0;
	for (size_t i = 0; i < count; i++) {
		for (unsigned f = 0; f < IP_FAMILIES; f++) {
			const struct probe *p = &probes[n];

			if (!paths[i].addrs[f])
				continue;
			n++;
			if (holds(&paths[i], f, p->said))
				continue;
			wrong++;
			if (loud)
				print_message("# %s:%u from %s: \"%s\"\n", p->addr, p->port, place_names[p->from],
					      p->said);
		}
	}
	return wrong;
}

#define connections(paths) (ARRAY_SIZE(paths) * IP_FAMILIES - count_missing(paths, ARRAY_SIZE(paths)))
#define hold(paths)        assert_int_equal(wrong_paths(paths, ARRAY_SIZE(paths), PROBE_US, true), 0)
#define all_fail(paths)    assert_int_equal(wrong_paths(paths, ARRAY_SIZE(paths), LOST_US, false), connections(paths))

static size_t count_missing(const struct path *paths, size_t count)
{
	size_t missing = 0;

	for (size_t i = 0; i < count; i++)
		missing += (size_t)!paths[i].addrs[0] + (size_t)!paths[i].addrs[1];
	return missing;
}

struct column {
	enum proxy proxy;
	const char *rp_filter;
};

static void test_column(void **state)
{
	const struct column *column = *state;
	struct err err;

	if (set_proxy(NA, column->proxy, &err) < 0) {
		print_message("# %s\n", err.msg);
		skip();
	}
	set_rp_filter(column->rp_filter);
	make_ports();
	hold(from_outside);
	hold(by_eth1);
	hold(by_eth1_to_its_own);
	hold(from_pods);
	hold(from_itself);
	hold(from_the_node);
	hold(by_loopback);
	hold(by_loopback6);
	hold(by_host_ip);
	hold(of_services);
}

static void test_foreign(void **state)
{
	const struct column *column = *state;
	struct err err;

	if (set_proxy(NA, column->proxy, &err) < 0) {
		print_message("# %s\n", err.msg);
		skip();
	}
	make_ports();
	hold(foreign);
}

/* ---- every part is needed ---- */

static void fresh(void)
{
	must(set_proxy(NA, NFTABLES, &oops));
	make_ports();
}

/* As the reference plugin was before 1.9.0. */
static void test_hostport__without_local_alone_foreign_traffic_is_taken__cve_2025_67499(void **state)
{
	(void)state;
	fresh();
	nft(NA, "flush chain inet berth ports_in\nadd rule inet berth ports_in jump hostport\n"
		"flush chain inet berth ports_out\nadd rule inet berth ports_out jump hostport\n");
	all_fail(foreign);
}

static void test_hostport__closed(void **state)
{
	(void)state;
	fresh();
	assert_int_equal(restore(NULL), 0);
	assert_int_equal(wrong_paths(from_outside, 6, LOST_US, false), 12);
	assert_true(wrong_paths(from_itself, ARRAY_SIZE(from_itself), LOST_US, false) == connections(from_itself));
}

static void test_hostport__without_ports_out(void **state)
{
	(void)state;
	fresh();
	nft(NA, "flush chain inet berth ports_out\n");
	hold(from_outside);
	hold(from_pods);
	all_fail(from_the_node);
	all_fail(by_loopback);
}

static void test_hostport__without_ports_back(void **state)
{
	(void)state;
	fresh();
	nft(NA, "flush chain inet berth ports_back\n");
	hold(from_outside);
	hold(from_pods);
	hold(from_the_node);
	all_fail(from_itself);
	all_fail(by_loopback);
}

static void test_hostport__without_the_early_chain(void **state)
{
	(void)state;
	fresh();
	nft(NA, "flush chain inet berth early\n");
	hold(by_eth1_to_its_own);
	all_fail(by_eth1);
}

static void test_hostport__without_route_localnet(void **state)
{
	(void)state;
	fresh();
	sysctl(NA, "net/ipv4/conf/bth00000000001/route_localnet", "0");
	sysctl(NA, "net/ipv4/conf/bth00000000002/route_localnet", "0");
	hold(from_the_node);
	all_fail(by_loopback);
	make_ports(); /* a sync puts it back */
	hold(by_loopback);
}

static int look_at_services(void *arg, struct err *err)
{
	return hostnet_services(world.hostnet, arg, err);
}

/* The kernel takes a new address of IPv6 for the node's own a moment later. */
static void wait_local(const char *addr)
{
	const struct net_route route = {
		.dst = pfx(addr), .table = NET_TABLE_LOCAL, .type = NET_ROUTE_LOCAL, .protocol = RTPROT_KERNEL
	};
	int64_t end_us = clock_now(&clock_boot) + PASS_US;

	while (!has_route(&route)) {
		assert_true(clock_now(&clock_boot) < end_us);
		(void)poll(NULL, 0, 1);
	}
}

/* kube-proxy in IPVS mode makes the address of every Service one of the node's. */
static void test_hostport__addresses_of_services_are_left_alone(void **state)
{
	static const struct path of_ipvs[] = {
		{ P2, { "172.20.0.99", "fd00:20::99" }, 8081, NA, TO(P2) },
		{ NA, { "172.20.0.99", "fd00:20::99" }, 8081, NA, { "172.20.0.99", "fd00:20::99" } },
		{ P2, { "172.20.0.99", "fd00:20::99" }, 31001, NOBODY, REFUSED },
	};
	const struct net_veth veth = { .name = HOSTNET_SERVICES_LINK, .peer_netns_fd = -1, .peer_name = "other" };
	struct wish wish;

	(void)state;
	fresh();
	wish_ports(&wish);
	must(netns_run(world.fd[NA], look_at_services, &wish.services, &oops));
	assert_int_equal(wish.services.link, 0);
	must(net_veth_add(world.net[NA], &veth, &oops));
	add_addr(NA, HOSTNET_SERVICES_LINK, "172.20.0.99", 32);
	add_addr(NA, HOSTNET_SERVICES_LINK, "fd00:20::99", 128);
	wait_local("fd00:20::99");
	all_fail(of_ipvs);
	must(netns_run(world.fd[NA], look_at_services, &wish.services, &oops));
	assert_int_equal(wish.services.count, 2);
	nft_table(&wish);
	hold(of_ipvs);
	hold(from_outside);
	free(wish.services.addrs);
	must(net_link_del(world.net[NA], link_index(NA, HOSTNET_SERVICES_LINK), &oops));
}

/* Last: p1 has no loopback of its own any more. */
static void test_hostport__no_pod_reaches_the_nodes_loopback__cve_2020_8558(void **state)
{
	static const struct path guarded[] = { { P1, TO4(LO), 8080, NOBODY, REFUSED },
					       { P1, { "127.0.0.5", NULL }, 8080, NOBODY, REFUSED },
					       { P1, TO4(LO), 31002, NOBODY, REFUSED } };
	static const struct path open[] = { { P1, TO4(LO), 8080, NA, TO(P1) },
					    { P1, { "127.0.0.5", NULL }, 8080, NA, TO(P1) } };
	const struct ipaddr loopback = ip(LO_4);

	(void)state;
	fresh();
	must(net_addr_del(world.net[P1], link_index(P1, "lo"), &loopback, 8, &oops));
	sysctl(P1, "net/ipv4/conf/eth0/route_localnet", "1");
	add_route(P1, "127.0.0.0/8", "169.254.1.1", "eth0", 0, true);
	assert_int_equal(wrong_paths(guarded, ARRAY_SIZE(guarded), LOST_US, true), 0);
	nft(NA, "flush chain inet berth early\n"); /* it was the guard */
	hold(open);
	restore(NULL);
	assert_int_equal(wrong_paths(guarded, ARRAY_SIZE(guarded), LOST_US, true), 0);
}

#define COLUMN(p, rp, title)                                                                                           \
	{                                                                                                              \
		"test_hostport__beside_" title, test_column, NULL, NULL, (void *)(uintptr_t) & (const struct column)   \
		{                                                                                                      \
			p, rp                                                                                          \
		}                                                                                                      \
	}
#define FOREIGN(p, title)                                                                                              \
	{                                                                                                              \
		"test_hostport__foreign_traffic_is_left_alone_beside_" title "__cve_2025_67499", test_foreign, NULL,   \
			NULL, (void *)(uintptr_t) & (const struct column)                                              \
		{                                                                                                      \
			p, "2"                                                                                         \
		}                                                                                                      \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		COLUMN(IPTABLES_LEGACY, "0", "iptables_legacy_rp_filter_0"),
		COLUMN(IPTABLES_LEGACY, "1", "iptables_legacy_rp_filter_1"),
		COLUMN(IPTABLES_NFT, "1", "iptables_nft_rp_filter_1"),
		COLUMN(IPTABLES_NFT, "2", "iptables_nft_rp_filter_2"),
		COLUMN(NFTABLES, "0", "nftables_rp_filter_0"),
		COLUMN(NFTABLES, "1", "nftables_rp_filter_1"),
		COLUMN(NFTABLES, "2", "nftables_rp_filter_2"),
		FOREIGN(IPTABLES_LEGACY, "iptables_legacy"),
		FOREIGN(IPTABLES_NFT, "iptables_nft"),
		FOREIGN(NFTABLES, "nftables"),
		cmocka_unit_test(test_hostport__without_local_alone_foreign_traffic_is_taken__cve_2025_67499),
		cmocka_unit_test(test_hostport__closed),
		cmocka_unit_test(test_hostport__without_ports_out),
		cmocka_unit_test(test_hostport__without_ports_back),
		cmocka_unit_test(test_hostport__without_the_early_chain),
		cmocka_unit_test(test_hostport__without_route_localnet),
		cmocka_unit_test(test_hostport__addresses_of_services_are_left_alone),
		cmocka_unit_test(test_hostport__no_pod_reaches_the_nodes_loopback__cve_2020_8558),
	};

	return cmocka_run_group_tests_name("hostport", tests, setup_ports, teardown_world);
}
