/* SPDX-License-Identifier: Apache-2.0 */
/* Pods of one IPv6 address, and of both. */
#include "tests/net/podnet_world.h"

static const struct podnet_wish *v6_wishes(unsigned *ret_count)
{
	static struct podnet_wish wishes[3];

	wishes[0] = wish_of(POD_ADDR6);
	wishes[1] = wish_for(POD_ADDR, POD_ADDR6);
	wishes[2] = wish_for(POD_ADDR6, POD_ADDR);
	*ret_count = ARRAY_SIZE(wishes);
	return wishes;
}

static void test_podnet_wire__ipv6_and_both_ping(void **state)
{
	struct world *world = *state;
	struct podnet_made made;
	unsigned count;
	const struct podnet_wish *wishes = v6_wishes(&count);

	for (unsigned i = 0; i < count; i++) {
		check_ok(podnet_claim(&world->podnet, "eth0", HOST_IFNAME, err));
		check_ok(podnet_wire(&world->podnet, &wishes[i], &made, err));
		pings_both_ways6(world);
		if (wishes[i].addr_count == 2)
			pings_both_ways(world);
		check_ok(podnet_unwire(world->podnet.host, HOST_IFNAME, err));
		assert_int_equal(our_routes(world->podnet.host, IP_V4, 0), 0);
		assert_int_equal(our_routes(world->podnet.host, IP_V6, 0), 0);
		assert_false(has_link(world->podnet.pod, "eth0"));
	}
}

struct addr_count {
	int index;
	unsigned v4, v6, link_local;
};

static int count_addr(const struct net_addr *addr, void *arg)
{
	struct addr_count *count = arg;

	if (addr->index != count->index)
		return 0;
	count->v4 += addr->addr.family == IP_V4;
	count->v6 += addr->addr.family == IP_V6;
	count->link_local += addr->addr.family == IP_V6 && addr->addr.bytes[0] == 0xfe;
	return 0;
}

static struct addr_count addrs_of(struct net *net, int index)
{
	struct addr_count count = { .index = index };

	check_ok(net_addrs(net, count_addr, &count, err));
	return count;
}

static void test_podnet_wire__both_what_it_makes(void **state)
{
	struct podnet_wish wish = wish_for(POD_ADDR, POD_ADDR6);
	struct world *world = *state;
	_cleanup_free_ char *accept_ra = NULL;
	struct net_link host, pod;
	struct podnet_made made;
	struct addr_count on_host, in_pod;

	check_ok(podnet_wire(&world->podnet, &wish, &made, err));
	check_ok(net_link_by_name(world->podnet.host, HOST_IFNAME, &host, err));
	check_ok(net_link_by_name(world->podnet.pod, "eth0", &pod, err));
	assert_true(host.up && pod.up);
	/* A route on the host for each, gateway and default in the pod for each. */
	assert_int_equal(our_routes(world->podnet.host, IP_V4, 0), 1);
	assert_int_equal(our_routes(world->podnet.host, IP_V4, NET_TABLE_LOCAL), 1);
	assert_int_equal(our_routes(world->podnet.host, IP_V6, 0), 1);
	assert_int_equal(our_routes(world->podnet.host, IP_V6, NET_TABLE_LOCAL), 1);
	assert_int_equal(our_routes(world->podnet.pod, IP_V4, 0), 2);
	assert_int_equal(our_routes(world->podnet.pod, IP_V6, NET_TABLE_MAIN), 2);
	assert_int_equal(our_routes(world->podnet.pod, IP_V6, 0), 3); /* and the pod's own address */
	/* What was asked for and nothing of the kernel's own making. */
	on_host = addrs_of(world->podnet.host, host.index);
	in_pod = addrs_of(world->podnet.pod, pod.index);
	assert_int_equal(on_host.v4 + on_host.v6, 0);
	assert_int_equal(in_pod.v4, 1);
	assert_int_equal(in_pod.v6, 1);
	assert_int_equal(in_pod.link_local, 0);
	accept_ra = hosts_file("/proc/sys/net/ipv6/conf/" HOST_IFNAME "/accept_ra");
	assert_string_equal(accept_ra, "0\n");
}

struct neigh_count {
	int index;
	unsigned permanent, other;
	struct net_neigh last; /* a permanent one */
};

static int count_neigh(const struct net_neigh *neigh, void *arg)
{
	struct neigh_count *count = arg;

	/* Groups that the kernel itself reports to have entries of their own, which no discovery is behind. */
	if (neigh->index != count->index || neigh->addr.bytes[0] == 0xff)
		return 0;
	count->permanent += neigh->permanent;
	count->other += !neigh->permanent;
	if (neigh->permanent)
		count->last = *neigh;
	return 0;
}

static struct neigh_count neighs_of(struct net *net, int index)
{
	struct neigh_count count = { .index = index };

	check_ok(net_neighs(net, IP_V6, count_neigh, &count, err));
	return count;
}

/* The counters of a link: a line "Icmp6OutNeighborSolicits 0" each; a type that was never sent may have none. */
static void assert_never_sent(const char *counters, const char *name)
{
	const char *line = strstr(counters, name);

	if (line && line[strlen(name) + strspn(line + strlen(name), " \t")] != '0')
		fail_msg("%.60s", line);
}

/* Both directions, and the pod to itself: no solicitation was sent, by whichever end, and none is needed. */
static void test_podnet_wire__no_neighbour_discovery(void **state)
{
	static const char *const types[] = { "Icmp6OutNeighborSolicits", "Icmp6OutNeighborAdvertisements",
					     "Icmp6OutRouterSolicits" };
	struct podnet_wish wish = wish_for(POD_ADDR, POD_ADDR6);
	struct ipaddr gateway = addr_of(GATEWAY6), addr = addr_of(POD_ADDR6);
	struct world *world = *state;
	_cleanup_free_ char *host = NULL, *pod = NULL;
	struct neigh_count on_host, in_pod;
	struct podnet_made made;
	struct net_link link;

	check_ok(podnet_wire(&world->podnet, &wish, &made, err));
	pings_both_ways6(world);
	host = hosts_file("/proc/net/dev_snmp6/" HOST_IFNAME);
	pod = pods_file(world, "/proc/net/dev_snmp6/eth0");
	assert_non_null(strstr(host, "Icmp6OutEchos")); /* it does count */
	assert_non_null(strstr(pod, "Icmp6OutEchos"));
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		assert_never_sent(host, types[i]);
		assert_never_sent(pod, types[i]);
	}
	check_ok(net_link_by_name(world->podnet.host, HOST_IFNAME, &link, err));
	on_host = neighs_of(world->podnet.host, link.index);
	in_pod = neighs_of(world->podnet.pod, link.peer_index);
	assert_int_equal(on_host.permanent, 1);
	assert_int_equal(in_pod.permanent, 1);
	assert_int_equal(on_host.other + in_pod.other, 0);
	assert_true(ipaddr_equal(&on_host.last.addr, &addr) && macaddr_equal(&on_host.last.mac, &made.pod_mac));
	assert_true(ipaddr_equal(&in_pod.last.addr, &gateway) && macaddr_equal(&in_pod.last.mac, &made.host_mac));
}

/* The kernel makes its route for an address of IPv6 later than it says so. */
static void test_podnet_wire__ipv6_is_there_at_once__cni_d2_22(void **state)
{
	struct ping self = { .addr = POD_ADDR6, .once = true };
	struct podnet_wish wish = wish_of(POD_ADDR6);
	struct world *world = *state;
	struct podnet_made made;

	for (int i = 0; i < 20; i++) {
		check_ok(podnet_wire(&world->podnet, &wish, &made, err));
		check_ok(netns_run(world->podnet.netns_fd, ping, &self, err));
		check_ok(podnet_unwire(world->podnet.host, HOST_IFNAME, err));
	}
}

static void test_podnet_wire__ipv6_through_covers(void **state)
{
	struct podnet_wish wish = wish_of(POD_ADDR6);
	struct net_route cover = { .type = NET_ROUTE_UNREACHABLE, .table = NET_TABLE_LOCAL, .protocol = BERTH_RTPROT };
	struct world *world = *state;
	struct podnet_made made;

	assert_int_equal(prefix_parse("2001:db8:0:1::/80", &cover.dst), 0);
	check_ok(net_route_replace(world->podnet.host, &cover, err));
	assert_int_equal(prefix_parse(POD_ADDR6, &cover.dst), 0);
	check_ok(net_route_replace(world->podnet.host, &cover, err));
	assert_int_equal(ping_pod(POD_ADDR6, NULL), -1);
	check_ok(podnet_wire(&world->podnet, &wish, &made, err));
	pings_both_ways6(world);
	/* The /128 was replaced, the /80 stays. */
	assert_int_equal(our_routes(world->podnet.host, IP_V6, NET_TABLE_LOCAL), 2);
}

static void test_podnet_claim__living_pod_of_ipv6(void **state)
{
	struct podnet_wish wish = wish_of(POD_ADDR6);
	struct world *world = *state;
	struct podnet_made made;

	check_ok(podnet_wire(&world->podnet, &wish, &made, err));
	claim_conflicts(world, "wired already");
	pings_both_ways6(world);
}

static void assert_pods_file(const struct world *world, const char *path, const char *text)
{
	_cleanup_free_ char *now = pods_file(world, path);

	assert_string_equal(now, text);
}

/* As Docker and some runtimes leave a pod of an IPv4 cluster. */
static void test_podnet_wire__ipv6_switched_off_in_the_pod(void **state)
{
	struct podnet_wish v4 = wish_of(POD_ADDR), both = wish_for(POD_ADDR, POD_ADDR6);
	struct world *world = *state;
	struct podnet_made made;

	pods_sysctl(world, "net/ipv6/conf/all/disable_ipv6", "1");
	check_ok(podnet_wire(&world->podnet, &v4, &made, err));
	pings_both_ways(world);
	assert_pods_file(world, "/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1\n");
	check_ok(podnet_unwire(world->podnet.host, HOST_IFNAME, err));

	check_ok(podnet_wire(&world->podnet, &both, &made, err));
	pings_both_ways(world);
	pings_both_ways6(world);
	assert_pods_file(world, "/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "0\n");
	assert_pods_file(world, "/proc/sys/net/ipv6/conf/lo/disable_ipv6", "0\n");
	assert_pods_file(world, "/proc/sys/net/ipv6/conf/default/disable_ipv6", "1\n");
	assert_int_equal(addrs_of(world->podnet.pod, made.host_index).link_local, 0);
}

static void test_podnet_wire__ipv6_switched_off_on_the_host(void **state)
{
	struct podnet_wish v4 = wish_of(POD_ADDR), v6 = wish_of(POD_ADDR6);
	struct world *world = *state;
	_cleanup_free_ char *others = NULL;
	struct podnet_made made;

	assert_int_equal(fs_sysctl_write("net/ipv6/conf/default/disable_ipv6", "1"), 0);
	check_ok(podnet_wire(&world->podnet, &v4, &made, err));
	pings_both_ways(world);
	check_ok(podnet_unwire(world->podnet.host, HOST_IFNAME, err));
	check_ok(podnet_wire(&world->podnet, &v6, &made, err));
	pings_both_ways6(world);
	others = hosts_file("/proc/sys/net/ipv6/conf/default/disable_ipv6");
	assert_string_equal(others, "1\n");
}

/* In a child whose /proc/sys is empty. Return: did it fail as it should, with nothing left? */
static bool fails_clean(struct world *world, const struct podnet_wish *wish)
{
	int host_links = links(world->podnet.host), pod_links = links(world->podnet.pod);
	struct podnet_made made = { .host_index = -7 };
	struct err why = { 0 };

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/proc/sys", "tmpfs", 0, NULL) < 0)
		return false;
	return podnet_wire(&world->podnet, wish, &made, &why) == -1 && strstr(why.msg, "IPv6 is") &&
	       made.host_index == -7 && links(world->podnet.host) == host_links &&
	       links(world->podnet.pod) == pod_links && our_routes(world->podnet.host, IP_V6, 0) == 0 &&
	       our_routes(world->podnet.pod, IP_V6, 0) == 0 && our_routes(world->podnet.host, IP_V4, 0) == 0;
}

static void assert_fails_clean(struct world *world)
{
	struct podnet_wish wish = wish_for(POD_ADDR, POD_ADDR6);
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fails_clean(world, &wish) ? 0 : 1);
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Off and not to be had: the pod's side is the first to find out, or the host's last step is. */
static void test_podnet_wire__rollback_leaves_nothing(void **state)
{
	struct world *world = *state;

	pods_sysctl(world, "net/ipv6/conf/all/disable_ipv6", "1");
	assert_fails_clean(world);
	pods_sysctl(world, "net/ipv6/conf/all/disable_ipv6", "0");
	assert_int_equal(fs_sysctl_write("net/ipv6/conf/default/disable_ipv6", "1"), 0);
	assert_fails_clean(world);
}

static void test_podnet_wire__mtu_that_ipv6_cannot_have(void **state)
{
	struct podnet_wish wish = wish_for(POD_ADDR, POD_ADDR6);
	struct world *world = *state;
	struct podnet_made made;
	struct err why = { 0 };

	wish.mtu = 1279;
	assert_int_equal(podnet_wire(&world->podnet, &wish, &made, &why), -1);
	assert_int_equal(why.class, ERR_INVALID);
	assert_non_null(strstr(why.msg, "1279"));
	assert_false(has_link(world->podnet.host, HOST_IFNAME));
	wish.mtu = 1280;
	check_ok(podnet_wire(&world->podnet, &wish, &made, err));
	pings_both_ways6(world);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		net_test(test_podnet_wire__rollback_leaves_nothing),
		net_test(test_podnet_wire__ipv6_and_both_ping),
		net_test(test_podnet_wire__both_what_it_makes),
		net_test(test_podnet_wire__no_neighbour_discovery),
		net_test(test_podnet_wire__ipv6_is_there_at_once__cni_d2_22),
		net_test(test_podnet_wire__ipv6_through_covers),
		net_test(test_podnet_claim__living_pod_of_ipv6),
		net_test(test_podnet_wire__ipv6_switched_off_in_the_pod),
		net_test(test_podnet_wire__ipv6_switched_off_on_the_host),
		net_test(test_podnet_wire__mtu_that_ipv6_cannot_have),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
