/* SPDX-License-Identifier: Apache-2.0 */
/* Pods of one IPv4 address, and what is the same for all. */
#include "tests/net/podnet_world.h"

#include <pthread.h>

#include "cni/podroutes.h"

#define VANISH_ROUNDS 50 /* each 1 µs later than the one before: some fall between two steps */

static void test_podnet_wire__pings_with_every_rp_filter(void **state)
{
	static const char *const values[] = { "0", "1", "2" };
	struct podnet_wish wish = wish_of(POD_ADDR);
	struct world *world = *state;
	struct podnet_made made;

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		assert_int_equal(fs_sysctl_write("net/ipv4/conf/all/rp_filter", values[i]), 0);
		assert_int_equal(fs_sysctl_write("net/ipv4/conf/default/rp_filter", values[i]), 0);
		check_ok(podnet_claim(&world->podnet, "eth0", HOST_IFNAME, err));
		check_ok(podnet_wire(&world->podnet, &wish, &made, err));
		pings_both_ways(world);
		check_ok(podnet_unwire(world->podnet.host, HOST_IFNAME, err));
		assert_int_equal(our_routes(world->podnet.host, IP_V4, NET_TABLE_LOCAL), 0);
		assert_false(has_link(world->podnet.pod, "eth0"));
	}
}

static void test_podnet_wire__what_it_makes(void **state)
{
	struct podnet_wish wish = wish_of(POD_ADDR);
	struct world *world = *state;
	struct net_link host, pod;
	struct podnet_made made;
	_cleanup_free_ char *accept_ra = NULL;

	check_ok(podnet_wire(&world->podnet, &wish, &made, err));
	check_ok(net_link_by_name(world->podnet.host, HOST_IFNAME, &host, err));
	check_ok(net_link_by_name(world->podnet.pod, "eth0", &pod, err));
	assert_true(host.up && pod.up);
	assert_int_equal(host.mtu, SOFT_MTU);
	assert_int_equal(pod.mtu, SOFT_MTU);
	assert_int_equal(made.mtu, SOFT_MTU);
	assert_int_equal(made.host_index, host.index);
	assert_int_equal(host.peer_index, pod.index);
	assert_true(macaddr_equal(&made.host_mac, &host.mac));
	assert_true(macaddr_equal(&made.pod_mac, &pod.mac));
	assert_false(macaddr_equal(&host.mac, &pod.mac));
	made.host_mac = net_twin_mac(&host.mac);
	assert_true(macaddr_equal(&made.host_mac, &pod.mac));
	assert_int_equal(host.mac.bytes[0] & 3, 2);
	assert_int_equal(pod.mac.bytes[0] & 3, 2);
	/* One route on the host, two in the pod. */
	assert_int_equal(our_routes(world->podnet.host, IP_V4, 0), 1);
	assert_int_equal(our_routes(world->podnet.host, IP_V4, NET_TABLE_LOCAL), 1);
	assert_int_equal(our_routes(world->podnet.pod, IP_V4, 0), 2);
	if (fs_read("/proc/sys/net/ipv6/conf/" HOST_IFNAME "/accept_ra", 16, &accept_ra, NULL) == 0)
		assert_string_equal(accept_ra, "0\n");
}

/* The pod's packets go to the host's MAC though nobody ever answered an ARP for the gateway. */
static void test_podnet_wire__neighbour_is_permanent__rule_6(void **state)
{
	struct podnet_wish wish = wish_of(POD_ADDR);
	_cleanup_free_ char *arp = NULL;
	struct world *world = *state;
	struct podnet_made made;
	char mac[MACADDR_STRLEN];

	check_ok(podnet_wire(&world->podnet, &wish, &made, err));
	/* Flags 0x6 are ATF_COM | ATF_PERM. */
	arp = pods_file(world, "/proc/net/arp");
	assert_non_null(strstr(arp, GATEWAY));
	assert_non_null(strstr(arp, "0x6"));
	assert_non_null(strstr(arp, macaddr_str(&made.host_mac, mac)));
}

static void test_podnet_wire__through_covers(void **state)
{
	struct podnet_wish wish = wish_of(POD_ADDR);
	struct net_route cover = { .type = NET_ROUTE_UNREACHABLE, .table = NET_TABLE_LOCAL, .protocol = BERTH_RTPROT };
	struct world *world = *state;
	struct podnet_made made;

	assert_int_equal(prefix_parse("10.9.1.16/28", &cover.dst), 0);
	check_ok(net_route_replace(world->podnet.host, &cover, err));
	assert_int_equal(prefix_parse(POD_ADDR, &cover.dst), 0);
	check_ok(net_route_replace(world->podnet.host, &cover, err));
	assert_int_equal(ping_pod(POD_ADDR, NULL), -1);
	check_ok(podnet_wire(&world->podnet, &wish, &made, err));
	pings_both_ways(world);
	/* The /32 was replaced, the /28 stays. */
	assert_int_equal(our_routes(world->podnet.host, IP_V4, NET_TABLE_LOCAL), 2);
}

static void add_veth(struct net *net, const char *name, const char *peer, int peer_netns_fd)
{
	struct net_veth veth = { .name = name, .peer_name = peer, .peer_netns_fd = peer_netns_fd };

	check_ok(net_veth_add(net, &veth, err));
}

static void test_podnet_wire__leftover_of_another_netns__rule_7(void **state)
{
	struct podnet_wish wish = wish_of(POD_ADDR);
	struct world *world = *state;
	struct podnet_made made;

	add_veth(world->podnet.host, HOST_IFNAME, "old", -1);
	check_ok(podnet_claim(&world->podnet, "eth0", HOST_IFNAME, err));
	check_ok(podnet_wire(&world->podnet, &wish, &made, err));
	assert_false(has_link(world->podnet.host, "old"));
	pings_both_ways(world);
}

static void test_podnet_claim__leftover_half_wired__rule_7(void **state)
{
	struct podnet_wish wish = wish_of(POD_ADDR);
	struct world *world = *state;
	struct podnet_made made;

	/* Born, but the route was never made. */
	add_veth(world->podnet.host, HOST_IFNAME, "eth0", world->podnet.netns_fd);
	check_ok(podnet_claim(&world->podnet, "eth0", HOST_IFNAME, err));
	assert_false(has_link(world->podnet.pod, "eth0"));
	check_ok(podnet_wire(&world->podnet, &wish, &made, err));
	pings_both_ways(world);
}

static void test_podnet_claim__name_of_a_stranger(void **state)
{
	struct world *world = *state;

	add_veth(world->podnet.pod, "eth0", "other", -1);
	claim_conflicts(world, "not ours");
	/* A host link of our name that belongs elsewhere changes nothing. */
	add_veth(world->podnet.host, HOST_IFNAME, "else", -1);
	claim_conflicts(world, "not ours");
	assert_true(has_link(world->podnet.host, HOST_IFNAME));
}

static void test_podnet_claim__name_of_a_living_pod(void **state)
{
	struct podnet_wish wish = wish_of(POD_ADDR);
	struct world *world = *state;
	struct podnet_made made;

	check_ok(podnet_wire(&world->podnet, &wish, &made, err));
	claim_conflicts(world, "wired already");
	pings_both_ways(world);
}

struct vanish {
	pthread_barrier_t start;
	int64_t after_us;
	int index;
};

static void *delete_host_end(void *arg)
{
	_cleanup_net_ struct net *net = NULL;
	struct vanish *vanish = arg;
	int64_t start_us;

	check_ok(net_open(&net, err));
	(void)pthread_barrier_wait(&vanish->start);
	start_us = clock_now(&clock_boot);
	while (clock_now(&clock_boot) - start_us < vanish->after_us)
		continue;
	(void)net_link_del(net, vanish->index, NULL); /* who wires may have been faster */
	return NULL;
}

static pthread_t begin_to_vanish(struct vanish *vanish, int index, int64_t after_us)
{
	pthread_t thread;

	vanish->index = index;
	vanish->after_us = after_us;
	assert_int_equal(pthread_barrier_init(&vanish->start, NULL, 2), 0);
	assert_int_equal(pthread_create(&thread, NULL, delete_host_end, vanish), 0);
	(void)pthread_barrier_wait(&vanish->start);
	return thread;
}

static void end_vanishing(struct vanish *vanish, pthread_t thread)
{
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(pthread_barrier_destroy(&vanish->start), 0);
}

/* What a DEL has deleted in the background goes at any moment, also between two looks: it is there or it is gone. */
static void test_podnet_claim__goes_meanwhile(void **state)
{
	struct podnet_wish wish = wish_of(POD_ADDR);
	struct world *world = *state;

	for (unsigned i = 0; i < VANISH_ROUNDS; i++) {
		struct podnet_made made;
		struct err why = { 0 };
		struct vanish vanish;
		pthread_t thread;

		check_ok(podnet_wire(&world->podnet, &wish, &made, err));
		thread = begin_to_vanish(&vanish, made.host_index, i);
		while (podnet_claim(&world->podnet, "eth0", HOST_IFNAME, &why) < 0 && strstr(why.msg, "wired already"))
			why = (struct err){ 0 };
		end_vanishing(&vanish, thread);
		assert_string_equal(why.msg, "");
	}
}

/* The name of a host end may be on its way out when the next one is to have it. */
static void test_podnet_wire__leftover_goes_meanwhile(void **state)
{
	struct podnet_wish wish = wish_of(POD_ADDR);
	struct world *world = *state;

	for (unsigned i = 0; i < VANISH_ROUNDS; i++) {
		struct podnet_made made;
		struct net_link link;
		struct vanish vanish;
		pthread_t thread;

		add_veth(world->podnet.host, HOST_IFNAME, "old", -1);
		check_ok(net_link_by_name(world->podnet.host, HOST_IFNAME, &link, err));
		thread = begin_to_vanish(&vanish, link.index, i);
		check_ok(podnet_wire(&world->podnet, &wish, &made, err));
		end_vanishing(&vanish, thread);
		check_ok(podnet_unwire(world->podnet.host, HOST_IFNAME, err));
	}
}

static void test_podnet_wire__name_taken_meanwhile(void **state)
{
	struct podnet_wish wish = wish_of(POD_ADDR);
	struct world *world = *state;
	struct podnet_made made;
	struct err why = { 0 };

	add_veth(world->podnet.pod, "eth0", "other", -1);
	assert_int_equal(podnet_wire(&world->podnet, &wish, &made, &why), -1);
	assert_int_equal(why.class, ERR_CONFLICT);
	assert_true(has_link(world->podnet.pod, "eth0"));
	assert_false(has_link(world->podnet.host, HOST_IFNAME));
}

static void test_podnet_wire__bad_mtu(void **state)
{
	struct podnet_wish wish = wish_of(POD_ADDR);
	struct world *world = *state;
	struct podnet_made made;
	struct err why = { 0 };

	wish.mtu = 7; /* under the kernel's 68 */
	assert_int_equal(podnet_wire(&world->podnet, &wish, &made, &why), -1);
	assert_false(has_link(world->podnet.host, HOST_IFNAME));
	assert_false(has_link(world->podnet.pod, "eth0"));
}

static void test_podnet_open__gone_or_own(void **state)
{
	struct podnet podnet;
	struct err why = { 0 };

	(void)state;
	assert_int_equal(podnet_open("/run/netns/berth-no-such-thing", false, &podnet, &why), -1);
	assert_int_equal(why.class, ERR_NOTFOUND);
	assert_int_equal(podnet_open("/proc/thread-self/ns/net", false, &podnet, &why), -1);
	assert_int_equal(why.class, ERR_INVALID);
	check_ok(podnet_open("/proc/thread-self/ns/net", true, &podnet, err));
	podnet_done(&podnet);
	podnet_done(&podnet);
}

static void wire_second(struct world *world, const char *first, const char *second)
{
	struct podnet_wish wish = wish_for(first, second);
	struct podnet_made made;

	wish.ifname = "net1";
	wish.host_ifname = "bth00000000002";
	check_ok(podnet_claim(&world->podnet, wish.ifname, wish.host_ifname, err));
	check_ok(podnet_wire(&world->podnet, &wish, &made, err));
}

/* Multus: another network of the same pod must not take the pod's way to the world, neither as it comes nor as it goes. */
static void test_podnet_wire__second_interface(void **state)
{
	struct podnet_wish wish = wish_for(POD_ADDR, POD_ADDR6);
	struct world *world = *state;
	struct podnet_made made;

	check_ok(podnet_wire(&world->podnet, &wish, &made, err));
	wire_second(world, "10.9.1.18", "2001:db8:0:1::18");
	assert_int_equal(our_routes(world->podnet.pod, IP_V4, NET_TABLE_MAIN), 4);
	assert_int_equal(our_routes(world->podnet.pod, IP_V6, NET_TABLE_MAIN), 4);
	pings_both_ways(world);
	assert_int_equal(ping_pod("10.9.1.18", NULL), 0);
	assert_int_equal(ping_pod("2001:db8:0:1::18", NULL), 0);
	check_ok(podnet_unwire(world->podnet.host, "bth00000000002", err));
	assert_int_equal(our_routes(world->podnet.pod, IP_V4, NET_TABLE_MAIN), 2);
	assert_int_equal(our_routes(world->podnet.pod, IP_V6, NET_TABLE_MAIN), 2);
	pings_both_ways(world);
	assert_int_equal(ping_pod(POD_ADDR6, NULL), 0);
}

/* Return: 0, or why the pod cannot even send to it. */
static int pod_sends_to(const struct world *world, const char *addr)
{
	struct err why = { 0 };

	return ping_from_pod(world, addr, &why) == 0 ? 0 : why.code;
}

/* What an interface is for that is not the way to the world: the listed destinations alone. */
static void test_podnet_wire__without_a_default_route(void **state)
{
	struct podnet_wish wish = wish_for(POD_ADDR, POD_ADDR6);
	struct pod_routes routes = { .no_default = true };
	struct world *world = *state;
	struct podnet_made made;

	wish.ifname = "net1";
	wish.routes = &routes;
	check_ok(podnet_wire(&world->podnet, &wish, &made, err));
	assert_int_equal(our_routes(world->podnet.pod, IP_V4, NET_TABLE_MAIN), 1);
	assert_int_equal(our_routes(world->podnet.pod, IP_V6, NET_TABLE_MAIN), 1);
	assert_int_equal(pod_sends_to(world, HOST_ADDR), ENETUNREACH);
	assert_int_equal(pod_sends_to(world, HOST_ADDR6), ENETUNREACH);
	check_ok(podnet_unwire(world->podnet.host, HOST_IFNAME, err));
	assert_int_equal(prefix_parse("10.9.0.0/24", &routes.list[routes.count++]), 0);
	assert_int_equal(prefix_parse("2001:db8:9::/64", &routes.list[routes.count++]), 0);
	check_ok(podnet_wire(&world->podnet, &wish, &made, err));
	assert_int_equal(our_routes(world->podnet.pod, IP_V4, NET_TABLE_MAIN), 2);
	assert_int_equal(our_routes(world->podnet.pod, IP_V6, NET_TABLE_MAIN), 2);
	pings_both_ways(world);
	pings_both_ways6(world);
	assert_int_equal(pod_sends_to(world, "192.0.2.1"), ENETUNREACH);
}

/* ---- an address that is leased again ---- */

struct entries {
	const char *addr;
	int all, on_link, index; /* how many links know who has it; how many of them are the link @index */
	struct macaddr mac;      /* as that link knows it */
};

static int see_neigh(const struct net_neigh *neigh, void *arg)
{
	struct entries *entries = arg;
	const struct ipaddr addr = addr_of(entries->addr);

	if (!ipaddr_equal(&neigh->addr, &addr))
		return 0;
	entries->all++;
	if (neigh->index == entries->index) {
		entries->on_link++;
		entries->mac = neigh->mac;
	}
	return 0;
}

/* The host knows @addr by the MAC of that pod's end; @all: on how many links it knows it at all. */
static void host_knows(const struct world *world, const char *addr, const struct podnet_made *made, int all)
{
	struct entries entries = { .addr = addr, .index = made->host_index };

	check_ok(net_neighs(world->podnet.host, (enum ip_family)addr_of(addr).family, see_neigh, &entries, err));
	assert_int_equal(entries.all, all);
	assert_int_equal(entries.on_link, 1);
	assert_true(macaddr_equal(&entries.mac, &made->pod_mac));
}

static int teardown_next(void **state)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "berth-podnet-%d-next", (int)getpid());
	(void)netns_del(name, NULL);
	return teardown(state);
}

/* The daemon frees the address before the link of the pod that had it is gone. The host has learnt that one's MAC, which
 * is a matter of that link alone: the next pod is reached by its own, from its first packet. With the link it is gone. */
static void test_podnet_wire__address_leased_again__rule_12(void **state)
{
	static const char *const addrs[] = { POD_ADDR, POD_ADDR6 };
	struct podnet_wish wish = wish_for(POD_ADDR, POD_ADDR6);
	struct world *world = *state, next = *world;
	struct podnet_made old, made;
	struct net_link link;

	(void)snprintf(next.netns, sizeof(next.netns), "berth-podnet-%d-next", (int)getpid());
	(void)snprintf(next.path, sizeof(next.path), "/run/netns/berth-podnet-%d-next", (int)getpid());
	check_ok(netns_add(next.netns, err));
	check_ok(podnet_open(next.path, false, &next.podnet, err));
	check_ok(podnet_wire(&world->podnet, &wish, &old, err));
	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++) {
		check_ok(ping_pod(addrs[i], err));
		host_knows(world, addrs[i], &old, 1);
	}
	wish.host_ifname = "bth00000000002";
	check_ok(podnet_wire(&next.podnet, &wish, &made, err));
	/* whoever still asks the old one hears nothing */
	check_ok(net_link_by_name(world->podnet.pod, "eth0", &link, err));
	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++) {
		const struct ipaddr addr = addr_of(addrs[i]);

		check_ok(net_addr_del(world->podnet.pod, link.index, &addr, ipaddr_bits(&addr), err));
	}
	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++) {
		check_ok(ping_pod(addrs[i], err));
		host_knows(world, addrs[i], &made, 2);
	}
	check_ok(podnet_unwire(world->podnet.host, HOST_IFNAME, err));
	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++)
		host_knows(world, addrs[i], &made, 1);
	podnet_done(&next.podnet);
}

static void test_podnet_unwire__missing_or_strange(void **state)
{
	struct world *world = *state;
	struct err why = { 0 };

	check_ok(podnet_unwire(world->podnet.host, HOST_IFNAME, err));
	assert_int_equal(podnet_unwire(world->podnet.host, "lo", &why), -1);
	assert_int_equal(why.class, ERR_CONFLICT);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		net_test(test_podnet_wire__pings_with_every_rp_filter),
		net_test(test_podnet_wire__what_it_makes),
		net_test(test_podnet_wire__neighbour_is_permanent__rule_6),
		net_test(test_podnet_wire__through_covers),
		net_test(test_podnet_wire__leftover_of_another_netns__rule_7),
		net_test(test_podnet_claim__leftover_half_wired__rule_7),
		net_test(test_podnet_claim__name_of_a_stranger),
		net_test(test_podnet_claim__name_of_a_living_pod),
		net_test(test_podnet_claim__goes_meanwhile),
		net_test(test_podnet_wire__leftover_goes_meanwhile),
		net_test(test_podnet_wire__name_taken_meanwhile),
		net_test(test_podnet_wire__bad_mtu),
		net_test(test_podnet_open__gone_or_own),
		net_test(test_podnet_wire__second_interface),
		net_test(test_podnet_wire__without_a_default_route),
		cmocka_unit_test_setup_teardown(test_podnet_wire__address_leased_again__rule_12, setup, teardown_next),
		net_test(test_podnet_unwire__missing_or_strange),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
