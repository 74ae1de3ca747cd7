/* SPDX-License-Identifier: Apache-2.0 */
/* hostnet_sync(): repairs, foreign things, NICs that come and go, what others use; test_hostnet_pods.c has the pods. */
#include <netinet/icmp6.h>

#include "tests/net/node_world.h"

/* ---- sync ---- */

static void test_sync__a_second_time_changes_nothing(void **state)
{
	struct wish wish;

	(void)state;
	usual(&wish);
	sync_ok(&wish);
	sync_ok(&wish);
	assert_int_equal(wish.report.added, 0);
	assert_int_equal(wish.report.removed, 0);
	assert_int_equal(wish.report.pods_without_link, 0);
	assert_true(wish.report.whole);
	assert_true(wish.nics[0].ready && wish.nics[1].ready);
	assert_string_equal(wish.nics[0].ifname, "eth0");
	assert_string_equal(wish.nics[1].ifname, "eth1");
}

struct found {
	uint32_t table;
	int oif;
	bool ours_only;
	unsigned count;
};

static int count_route(const struct net_route *route, void *arg)
{
	struct found *found = arg;

	found->count += (!found->table || route->table == found->table) && (!found->oif || route->oif == found->oif) &&
			(!found->ours_only || route->protocol == BERTH_RTPROT);
	return 0;
}

/* @f: by ip_index(), here and below. */
static unsigned count_routes(unsigned f, uint32_t table, const char *dev, bool ours_only)
{
	struct found found = { .table = table, .oif = dev ? link_index(NA, dev) : 0, .ours_only = ours_only };

	must(net_routes(world.net[NA], ip_family_at(f), 0, count_route, &found, &oops));
	return found.count;
}

static int count_rule(const struct net_rule *rule, void *arg)
{
	*(unsigned *)arg += rule->protocol == BERTH_RTPROT;
	return 0;
}

static unsigned count_rules(unsigned f)
{
	unsigned count = 0;

	must(net_rules(world.net[NA], ip_family_at(f), count_rule, &count, &oops));
	return count;
}

static int delete_rule(const struct net_rule *rule, void *arg)
{
	(void)arg;
	if (rule->protocol == BERTH_RTPROT)
		must(net_rule_del(world.net[NA], rule, &oops));
	return 0;
}

static int delete_route(const struct net_route *route, void *arg)
{
	(void)arg;
	if (route->protocol == BERTH_RTPROT)
		must(net_route_del(world.net[NA], route, &oops));
	return 0;
}

static void test_sync__repairs_what_others_flush__aws_40_34__rule_11(void **state)
{
	/* of IPv4 two covers, of IPv6 three, because one of its pods is in a range; two pods, a gateway and a default */
	static const unsigned routes[IP_FAMILIES] = { 6, 7 };
	struct wish wish;

	(void)state;
	each_family(f)
	{
		assert_int_equal(count_rules(f), 2);
		assert_int_equal(count_routes(f, 0, NULL, true), routes[f]);
		must(net_rules(world.net[NA], ip_family_at(f), delete_rule, NULL, &oops));
		must(net_routes(world.net[NA], ip_family_at(f), 0, delete_route, NULL, &oops));
		assert_int_equal(count_rules(f) + count_routes(f, 0, NULL, true), 0);
		does_not_pass(&secondary_flows[f][0]);
		usual(&wish);
		sync_ok(&wish);
		assert_int_equal(wish.report.added, routes[f] + 2);
		assert_int_equal(wish.report.removed, 0);
	}
	everything_passes();
}

static void test_sync__repairs_a_link_that_was_taken_down(void **state)
{
	const struct ipaddr addr = ip("10.0.0.20");
	struct wish wish;

	(void)state;
	must(net_link_set_up(world.net[NA], link_index(NA, "eth1"), false, &oops)); /* takes IPv6 addresses along */
	must(net_addr_del(world.net[NA], link_index(NA, "eth1"), &addr, 32, &oops));
	sysctl(NA, "net/ipv4/conf/eth1/rp_filter", "1");
	sysctl(NA, "net/ipv4/ip_forward", "0");
	sysctl(NA, "net/ipv6/conf/all/forwarding", "0");
	usual(&wish);
	sync_ok(&wish);
	assert_int_equal(wish.report.added, 7); /* up; an address, a gateway and a default of each family */
	assert_int_equal(wish.report.removed, 0);
	each_family(f) each(secondary_flows[f], passes);
}

/* Whoever looks after links may switch IPv6 off on those that nobody told them of. */
static void test_sync__repairs_a_link_without_ipv6(void **state)
{
	struct wish wish;

	(void)state;
	must(net_link_set_up(world.net[NA], link_index(NA, "eth1"), false, &oops));
	sysctl(NA, "net/ipv6/conf/eth1/disable_ipv6", "1");
	sysctl(NA, "net/ipv6/conf/eth1/addr_gen_mode", "1");
	sysctl(NA, "net/ipv6/conf/eth1/accept_ra", "2");
	sysctl(NA, "net/ipv6/conf/eth1/autoconf", "1");
	sysctl(NA, "net/ipv6/conf/eth1/accept_dad", "1");
	usual(&wish);
	sync_ok(&wish);
	assert_true(wish.nics[1].ready);
	assert_sysctl("net/ipv6/conf/eth1/accept_ra", "0");
	assert_sysctl("net/ipv6/conf/eth1/autoconf", "0");
	assert_sysctl("net/ipv6/conf/eth1/accept_dad", "0");
	each(secondary_flows[ip_index(IP_V6)], passes);
}

static void test_sync__follows_the_mtu_of_the_primary__rule_4(void **state)
{
	struct net_link link = { 0 };
	struct wish wish;

	(void)state;
	must(net_link_set_mtu(world.net[NA], link_index(NA, "eth0"), 1400, &oops));
	usual(&wish);
	sync_ok(&wish);
	must(net_link_by_name(world.net[NA], "eth1", &link, &oops));
	assert_int_equal(link.mtu, 1400);
	assert_int_equal(wish.nics[0].mtu, 1400);
	assert_int_equal(wish.nics[1].mtu, 1400);
	must(net_link_set_mtu(world.net[NA], link_index(NA, "eth0"), JUMBO, &oops));
}

static struct net_rule foreign_rule(unsigned f)
{
	return (struct net_rule){ .family = ip_family_at(f),
				  .priority = RULE_PRIORITY + 1,
				  .fwmark = 0x1000,
				  .fwmask = 0x1000,
				  .table = TABLE_BASE + 1,
				  .protocol = RTPROT_STATIC };
}

static int find_foreign_rule(const struct net_rule *rule, void *arg)
{
	const struct net_rule wanted = foreign_rule(ip_index(rule->family));

	(void)arg;
	return rule->protocol == wanted.protocol && rule->fwmark == wanted.fwmark;
}

/* Foreign things in our own places: our table, our priority, table local, main; also when the NIC goes. */
static void test_sync__leaves_what_others_made__rule_11(void **state)
{
	static const char *const dsts[IP_FAMILIES][3] = {
		{ "192.0.2.0/24", "192.0.2.1/32", "192.0.2.2/32" },
		{ "2001:db8:2::/64", "2001:db8:2::1/128", "2001:db8:2::2/128" },
	};
	struct wish wish;
	struct err err;

	(void)state;
	each_family(f)
	{
		struct net_rule rule = foreign_rule(f);
		struct net_route routes[] = {
			{ .type = NET_ROUTE_UNREACHABLE, .table = TABLE_BASE + 1 },
			{ .type = NET_ROUTE_UNREACHABLE, .table = NET_TABLE_LOCAL },
			{ .type = NET_ROUTE_UNICAST, .table = NET_TABLE_MAIN, .oif = link_index(NA, "eth1") },
		};

		must(net_rule_add(world.net[NA], &rule, &oops));
		for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
			routes[i].dst = pfx(dsts[f][i]);
			routes[i].protocol = RTPROT_STATIC;
			must(net_route_replace(world.net[NA], &routes[i], &oops));
		}
		usual(&wish);
		sync_ok(&wish);
		wish.want.nic_count = 1;
		wish.want.pod_count = wish.want.block_count = 0;
		sync_ok(&wish);
		assert_int_equal(net_rules(world.net[NA], ip_family_at(f), find_foreign_rule, NULL, &err), 1);
		for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
			assert_true(has_route(&routes[i]));
		must(net_rule_del(world.net[NA], &rule, &oops));
		for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
			must(net_route_del(world.net[NA], &routes[i], &oops));
	}
}

static void test_sync__a_nic_that_goes(void **state)
{
	struct wish wish;

	(void)state;
	usual(&wish);
	wish.want.nic_count = 1;
	sync_ok(&wish);
	assert_int_equal(wish.report.removed, 6); /* rule, gateway, default of each family */
	each_family(f)
	{
		assert_int_equal(count_routes(f, TABLE_BASE + 1, NULL, true), 0);
		assert_int_equal(count_rules(f), 1);
		each(plain_flows[f], passes);
	}
}

static void test_sync__a_nic_whose_link_is_not_there_yet__rule_4(void **state)
{
	struct wish wish;

	(void)state;
	usual(&wish);
	wish.nics[2] = wish.nics[1];
	wish.nics[2].slot = 2;
	assert_int_equal(macaddr_parse("02:00:00:00:00:99", &wish.nics[2].mac), 0);
	wish.want.nic_count = 3;
	sync_ok(&wish);
	assert_false(wish.nics[2].ready);
	assert_string_equal(wish.nics[2].ifname, "");
	assert_int_equal(wish.report.added + wish.report.removed, 0);
}

/* The link of a NIC under another name and index, as after it was attached anew or udev has renamed it: what it has
 * follows from its slot. */
static void test_sync__a_nic_by_its_mac_and_slot__rule_3__rule_4(void **state)
{
	static const char *const names[] = { "eth9", "ens9" };
	struct macaddr mac;
	struct wish wish;

	(void)state;
	assert_int_equal(macaddr_parse("02:00:00:00:00:99", &mac), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct net_veth veth = { .name = names[i], .mac = &mac, .peer_netns_fd = -1, .peer_name = "fabric9" };

		must(net_veth_add(world.net[NA], &veth, &oops));
		must(net_link_set_up(world.net[NA], link_index(NA, "fabric9"), true, &oops));
		usual(&wish);
		wish.nics[2] = wish.nics[1];
		wish.nics[2].slot = 2;
		wish.nics[2].mac = mac;
		wish.nics[2].primary_addr = ip("10.0.0.90");
		wish.nics[2].primary_addr6 = ip("2001:db8:0:1::90");
		wish.want.nic_count = 3;
		sync_ok(&wish);
		assert_true(wish.nics[2].ready);
		assert_string_equal(wish.nics[2].ifname, names[i]);
		each_family(f)
		{
			assert_int_equal(count_routes(f, TABLE_BASE + 2, names[i], true), 2);
			assert_int_equal(count_rules(f), 3);
		}
		must(net_link_del(world.net[NA], link_index(NA, names[i]), &oops));
	}
}

/* A host end never is a NIC, even under a NIC's MAC. */
static void test_sync__a_pods_link_under_the_mac_of_a_nic(void **state)
{
	struct net_link pod = { 0 };
	struct wish wish;

	(void)state;
	must(net_link_by_name(world.net[NA], "bth00000000001", &pod, &oops));
	usual(&wish);
	wish.nics[2] = wish.nics[1];
	wish.nics[2].slot = 2;
	wish.nics[2].mac = pod.mac;
	wish.want.nic_count = 3;
	sync_ok(&wish);
	assert_false(wish.nics[2].ready);
	assert_int_equal(wish.report.added, 0);
}

/* What DHCP does to a NIC that appears: an address with its subnet's length, so a route in main. */
static void test_sync__address_with_a_prefix_route__rule_5(void **state)
{
	static const struct {
		const char *addr;
		unsigned ours, theirs; /* prefix lengths */
	} addrs[IP_FAMILIES] = { { "10.0.0.20", 32, 20 }, { "2001:db8:0:1::20", 128, 64 } };
	/* the way to the link-local addresses of eth1 is of the kernel's making and stays */
	static const unsigned eth1_routes[IP_FAMILIES] = { 0, 1 }, eth0_routes[IP_FAMILIES] = { 2, 3 };
	int index = link_index(NA, "eth1");
	struct wish wish;

	(void)state;
	each_family(f)
	{
		const struct ipaddr addr = ip(addrs[f].addr);

		must(net_addr_del(world.net[NA], index, &addr, addrs[f].ours, &oops));
		must(net_addr_add(world.net[NA], index, &addr, addrs[f].theirs, 0, &oops));
		assert_int_equal(count_routes(f, NET_TABLE_MAIN, "eth1", false), eth1_routes[f] + 1);
		usual(&wish);
		sync_ok(&wish);
		assert_int_equal(count_routes(f, NET_TABLE_MAIN, "eth1", false), eth1_routes[f]);
		assert_int_equal(count_routes(f, NET_TABLE_MAIN, "eth0", false), eth0_routes[f]);
		sync_ok(&wish);
		assert_int_equal(wish.report.added + wish.report.removed, 0);
		each(secondary_flows[f], passes);
		must(net_addr_del(world.net[NA], index, &addr, addrs[f].theirs, &oops));
	}
}

/* The kernel makes its route for an address of IPv6 later than it says so. */
static void wait_for_route(const struct net_route *route)
{
	int64_t end_us = clock_now(&clock_boot) + PASS_US;

	while (!has_route(route) && clock_now(&clock_boot) < end_us)
		(void)poll(NULL, 0, 1);
	assert_true(has_route(route));
}

/* An agent of the cloud's image that assigns the node's addresses to its interface, before the pod comes. */
static void test_sync__address_of_a_block_on_an_interface(void **state)
{
	static const char *const addrs[IP_FAMILIES] = { "10.0.0.70", "2001:db8:0:1:b::70" };
	int index = link_index(NA, "eth1");
	struct wish wish;
	struct err err;

	(void)state;
	each_family(f)
	{
		const struct ipaddr addr = ip(addrs[f]);
		struct net_route kernels = { .dst = prefix_host(&addr),
					     .type = NET_ROUTE_LOCAL,
					     .table = NET_TABLE_LOCAL,
					     .protocol = RTPROT_KERNEL };

		must(net_addr_add(world.net[NA], index, &addr, ipaddr_bits(&addr), NET_ADDR_NODAD, &oops));
		wait_for_route(&kernels);
		usual(&wish);
		add_pod(&wish, addrs[f], "bth00000000001", true);
		assert_int_equal(try_sync(&wish, &err), -1);
		assert_int_equal(err.class, ERR_CONFLICT);
		assert_non_null(strstr(err.msg, addrs[f]));
		assert_true(has_route(&kernels));
		assert_true(wish.report.whole && wish.nics[1].ready); /* the rest was done */
		must(net_addr_del(world.net[NA], index, &addr, ipaddr_bits(&addr), &oops));
		sync_ok(&wish);
		/* the pod's route, and of IPv6 its neighbour was there already */
		assert_int_equal(wish.report.added, 1);
		restore(state);
	}
}

/* The same when the pod was first. IPv4 goes on to the pod, IPv6 to whoever has the address: that must be told. */
static void test_sync__address_of_a_pod_on_an_interface(void **state)
{
	const struct ipaddr addr = ip("2001:db8:0:1::21");
	struct net_route kernels = {
		.dst = prefix_host(&addr), .type = NET_ROUTE_LOCAL, .table = NET_TABLE_LOCAL, .protocol = RTPROT_KERNEL
	};
	int index = link_index(NA, "eth1");
	struct wish wish;
	struct err err;

	(void)state;
	must(net_addr_add(world.net[NA], index, &addr, 128, NET_ADDR_NODAD, &oops));
	wait_for_route(&kernels);
	usual(&wish);
	assert_int_equal(try_sync(&wish, &err), -1);
	assert_int_equal(err.class, ERR_CONFLICT);
	assert_non_null(strstr(err.msg, "2001:db8:0:1::21"));
	must(net_addr_del(world.net[NA], index, &addr, 128, &oops));
	sync_ok(&wish);
	assert_int_equal(wish.report.added + wish.report.removed, 0);
}

/* ---- numbers that others use ---- */

struct seen_conflicts {
	char text[2048];
	unsigned count;
};

static void keep_conflict(const struct hostnet_conflict *conflict, void *arg)
{
	struct seen_conflicts *seen = arg;
	size_t len = strlen(seen->text);

	(void)snprintf(seen->text + len, sizeof(seen->text) - len, "IPv%u %s (%u): %s\n",
		       conflict->family == IP_V6 ? 6U : 4U, conflict->what, conflict->protocol, conflict->setting);
	seen->count++;
}

static void assert_conflicts(unsigned count, const char *text)
{
	struct seen_conflicts seen = { .count = 0 };

	must(hostnet_conflicts(world.hostnet, keep_conflict, &seen, &oops));
	if (seen.count != count || !strstr(seen.text, text))
		fail_msg("\"%s\" is not among %u of %u:\n%s", text, count, seen.count, seen.text);
}

/* Marks of kube-proxy, Felix and Cilium are no conflict; ours are none with ourselves. */
static void test_hostnet_conflicts__named__rule_10(void **state)
{
	static const struct net_rule harmless[] = {
		{ .priority = 9, .fwmark = 0x200, .fwmask = 0xf00, .table = 2004 },
		{ .priority = 5210, .fwmark = 0x80000, .fwmask = 0xff0000, .table = 52 },
		{ .priority = 2000, .fwmark = 0x4000, .fwmask = 0x4000, .table = NET_TABLE_MAIN },
	};
	static const struct {
		struct net_rule rule;
		const char *text;
	} harms[] = {
		{ { .priority = 5000, .fwmark = 0x10, .fwmask = 0x10, .table = 77 },
		  "rule 5000: fwmark 0x10/0x10 lookup 77 (4): markMask" },
		{ { .priority = 5000, .fwmark = 0x80, .fwmask = 0x80, .table = TABLE_BASE + 1 },
		  "rule 5000: fwmark 0x80/0x80 lookup 48641 (4): tableBase" },
		{ { .priority = RULE_PRIORITY, .fwmark = 0x80, .fwmask = 0x80, .table = NET_TABLE_MAIN },
		  "rule 1024: fwmark 0x80/0x80 lookup 254 (4): rulePriority" },
	};

	(void)state;
	assert_conflicts(0, "");
	each_family(f)
	{
		struct net_route route = { .dst = pfx(f ? "2001:db8:2::/64" : "192.0.2.0/24"),
					   .type = NET_ROUTE_UNREACHABLE,
					   .table = TABLE_BASE + 3,
					   .protocol = RTPROT_STATIC };

		for (size_t i = 0; i < ARRAY_SIZE(harmless); i++) {
			struct net_rule rule = harmless[i];

			rule.family = ip_family_at(f);
			rule.protocol = RTPROT_STATIC;
			must(net_rule_add(world.net[NA], &rule, &oops));
			assert_conflicts(0, "");
			must(net_rule_del(world.net[NA], &rule, &oops));
		}
		for (size_t i = 0; i < ARRAY_SIZE(harms); i++) {
			struct net_rule rule = harms[i].rule;

			rule.family = ip_family_at(f);
			rule.protocol = RTPROT_STATIC;
			must(net_rule_add(world.net[NA], &rule, &oops));
			assert_conflicts(1, harms[i].text);
			must(net_rule_del(world.net[NA], &rule, &oops));
		}
		must(net_route_replace(world.net[NA], &route, &oops));
		assert_conflicts(1, "in table 48643 (4): tableBase");
		must(net_route_del(world.net[NA], &route, &oops));
	}
}

/* ---- the router's advertisements ---- */

/* From the fabric to all nodes of eth0: a default route for half an hour. */
static int advertise(void *arg, struct err *err)
{
	struct nd_router_advert advert = { .nd_ra_type = ND_ROUTER_ADVERT };
	const int hops = 255, link = *(int *)arg;
	_cleanup_close_ int fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);
	union address all;

	advert.nd_ra_curhoplimit = 64;
	advert.nd_ra_router_lifetime = htons(1800);
	(void)fill_address(&all, true, "ff02::1", 0);
	all.v6.sin6_scope_id = (uint32_t)link;
	if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops)) < 0 ||
	    sendto(fd, &advert, sizeof(advert), 0, &all.any, sizeof(all.v6)) != sizeof(advert))
		return err_set_errno(err, ERR_BUG, "test", errno, "advertise");
	return 0;
}

static int find_learnt_default(const struct net_route *route, void *arg)
{
	return route->dst.len == 0 && route->protocol == RTPROT_RA && route->oif == *(int *)arg;
}

static bool has_learnt_default(int index)
{
	struct err err;

	return net_routes(world.net[NA], IP_V6, NET_TABLE_MAIN, find_learnt_default, &index, &err) == 1;
}

static void learn_default(int index)
{
	int64_t end_us = clock_now(&clock_boot) + PASS_US;
	int from = link_index(VPC, "a1");

	do {
		must(netns_run(world.fd[VPC], advertise, &from, &oops));
		(void)poll(NULL, 0, 10);
	} while (!has_learnt_default(index) && clock_now(&clock_boot) < end_us);
	assert_true(has_learnt_default(index));
}

/* A node as it boots: no router itself, and the way out learnt. It stays, and goes on being learnt. */
static void test_sync__keeps_the_default_route_that_was_learnt(void **state)
{
	int index = link_index(NA, "eth0");
	struct net_route fixed = { .dst = pfx("::/0"),
				   .type = NET_ROUTE_UNICAST,
				   .oif = index,
				   .gateway = ip(GATEWAY6),
				   .protocol = RTPROT_STATIC };
	struct wish wish;

	(void)state;
	must(net_route_del(world.net[NA], &fixed, &oops));
	sysctl(NA, "net/ipv6/conf/all/forwarding", "0");
	sysctl(NA, "net/ipv6/conf/eth0/accept_ra", "1");
	learn_default(index);
	usual(&wish);
	sync_ok(&wish);
	assert_sysctl("net/ipv6/conf/all/forwarding", "1");
	assert_sysctl("net/ipv6/conf/eth0/accept_ra", "2");
	assert_true(has_learnt_default(index));
	each(plain_flows[ip_index(IP_V6)], passes);
	passes(&internet_flows[ip_index(IP_V6)][0]);
	/* who reads them in its own way keeps doing so */
	sysctl(NA, "net/ipv6/conf/eth0/accept_ra", "0");
	sync_ok(&wish);
	assert_sysctl("net/ipv6/conf/eth0/accept_ra", "0");
	must(net_route_replace(world.net[NA], &fixed, &oops));
}

static void forget_ipv6(struct wish *wish)
{
	for (unsigned i = 0; i < wish->want.nic_count; i++) {
		wish->nics[i].primary_addr6 = wish->nics[i].gateway6 = (struct ipaddr){ 0 };
		wish->nics[i].subnet6 = (struct prefix){ 0 };
	}
	wish->want.block_count = 4;
	wish->want.pod_count = 2;
}

static int open_with_ranges(void *arg, struct err *err)
{
	const struct hostnet_config config = {
		.mark_mask = MASK,
		.rule_priority = RULE_PRIORITY,
		.table_base = TABLE_BASE,
		.egress = { pfx("169.254.172.0/22"), pfx("fd00::ac:0/118") },
	};

	return hostnet_open(&config, arg, err);
}

/* Of addresses that only the node knows, as those of another pod network's plugin. */
static void test_hostnet_conflicts__routes_in_ranges_of_ours(void **state)
{
	static const struct {
		const char *dst, *text; /* NULL: harmless */
	} cases[IP_FAMILIES][3] = {
		{ { "169.254.173.9/32", "route to 169.254.173.9/32 (4): v4Egress" },
		  { "169.254.0.0/16", NULL },
		  { "169.254.169.254/32", NULL } },
		{ { "fd00::ac:0/120", "route to fd00::ac:0/120 (4): v6Egress" },
		  { "fd00::/64", NULL },
		  { "fd00::ad:0/118", NULL } },
	};
	struct hostnet *plain = world.hostnet;

	(void)state;
	must(netns_run(world.fd[NA], open_with_ranges, &world.hostnet, &oops));
	each_family(f)
	{
		for (size_t i = 0; i < ARRAY_SIZE(cases[f]); i++) {
			const struct net_route route = { .dst = pfx(cases[f][i].dst),
							 .type = NET_ROUTE_UNREACHABLE,
							 .table = NET_TABLE_MAIN,
							 .protocol = RTPROT_STATIC };

			must(net_route_replace(world.net[NA], &route, &oops));
			assert_conflicts(cases[f][i].text != NULL, cases[f][i].text ? cases[f][i].text : "");
			must(net_route_del(world.net[NA], &route, &oops));
		}
	}
	hostnet_close(world.hostnet);
	world.hostnet = plain;
}

/* A node of an IPv4 cluster keeps its IPv6 as it was, with or without. */
static void test_sync__leaves_ipv6_alone_where_nobody_wants_it(void **state)
{
	struct wish wish;

	(void)state;
	usual(&wish);
	forget_ipv6(&wish);
	sysctl(NA, "net/ipv6/conf/all/forwarding", "0");
	sysctl(NA, "net/ipv6/conf/eth0/accept_ra", "1");
	sync_ok(&wish);
	assert_sysctl("net/ipv6/conf/all/forwarding", "0");
	assert_sysctl("net/ipv6/conf/eth0/accept_ra", "1");
	assert_int_equal(count_rules(ip_index(IP_V6)), 0);
	assert_int_equal(count_routes(ip_index(IP_V6), 0, NULL, true), 0);
	each(plain_flows[0], passes);
	each(secondary_flows[0], passes);
}

/* And the reverse: nothing of IPv4 beside the rules, which cost nothing. */
static void test_sync__ipv6_alone(void **state)
{
	struct wish wish;

	(void)state;
	usual(&wish);
	for (unsigned i = 0; i < wish.want.nic_count; i++) {
		wish.nics[i].primary_addr = wish.nics[i].gateway = (struct ipaddr){ 0 };
		wish.nics[i].subnet = (struct prefix){ 0 };
	}
	wish.want.blocks += 4;
	wish.want.block_count -= 4;
	wish.want.pods += 2;
	wish.want.pod_count -= 2;
	sync_ok(&wish);
	assert_true(wish.nics[0].ready && wish.nics[1].ready);
	assert_int_equal(count_routes(ip_index(IP_V4), 0, NULL, true), 0);
	each(plain_flows[1], passes);
	each(secondary_flows[1], passes);
	each(internet_flows[1], passes);
	each(nodeport_flows[1], passes);
}

/* Half of what is wanted would take the other half away, whatever else went wrong before. */
static void test_sync__more_than_there_may_be(void **state)
{
	const unsigned count = 65537, before = (unsigned)count_routes(0, NET_TABLE_LOCAL, NULL, true);
	struct prefix *blocks = calloc(count, sizeof(*blocks));
	struct wish wish;
	struct err err;

	(void)state;
	assert_non_null(blocks);
	usual(&wish);
	for (unsigned i = 0; i < count; i++)
		blocks[i] = (struct prefix){ .addr = ipaddr_v4(0x0a800000U + i), .len = 32 };
	wish.want.blocks = blocks;
	wish.want.block_count = count;
	wish.nics[1].slot = CLOUD_NICS_MAX; /* has no mark, which is told first */
	assert_int_equal(try_sync(&wish, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
	assert_false(wish.report.whole);
	assert_int_equal(count_routes(0, NET_TABLE_LOCAL, NULL, true), before);
	free(blocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		path_test(test_sync__a_second_time_changes_nothing),
		path_test(test_sync__repairs_what_others_flush__aws_40_34__rule_11),
		path_test(test_sync__repairs_a_link_that_was_taken_down),
		path_test(test_sync__repairs_a_link_without_ipv6),
		path_test(test_sync__follows_the_mtu_of_the_primary__rule_4),
		path_test(test_sync__leaves_what_others_made__rule_11),
		path_test(test_sync__a_nic_that_goes),
		path_test(test_sync__a_nic_whose_link_is_not_there_yet__rule_4),
		path_test(test_sync__a_nic_by_its_mac_and_slot__rule_3__rule_4),
		path_test(test_sync__a_pods_link_under_the_mac_of_a_nic),
		path_test(test_sync__address_with_a_prefix_route__rule_5),
		path_test(test_sync__address_of_a_block_on_an_interface),
		path_test(test_sync__address_of_a_pod_on_an_interface),
		path_test(test_sync__keeps_the_default_route_that_was_learnt),
		path_test(test_sync__more_than_there_may_be),
		path_test(test_sync__leaves_ipv6_alone_where_nobody_wants_it),
		path_test(test_sync__ipv6_alone),
		path_test(test_hostnet_conflicts__named__rule_10),
		path_test(test_hostnet_conflicts__routes_in_ranges_of_ours),
	};

	return cmocka_run_group_tests_name("hostnet", tests, setup_world, teardown_world);
}
