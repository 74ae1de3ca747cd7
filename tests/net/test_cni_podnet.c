/* SPDX-License-Identifier: Apache-2.0 */
/* The wiring in real namespaces: "the host" is a namespace of this process, each pod a named one. */
#include "cni/podnet.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"
#include "berth/version.h"
#include "tests/check.h"

#define HOST_IFNAME "bth00000000001"
#define POD_ADDR    "10.9.1.17"
#define HOST_ADDR   "10.9.0.1"
#define GATEWAY     "169.254.1.1"
#define LO_INDEX    1
#define PING_MS     3000 /* until an echo must be back; it takes microseconds */
#define SOFT_MTU    1400

struct world {
	char netns[64];
	char path[128];
	struct podnet podnet;
};

static void fail_err(const char *what, const struct err *err)
{
	fail_msg("%s: %s %s", what, err_class_name(err->class), err->msg);
}

#define check_ok(call)                                                                                                 \
	do {                                                                                                           \
		struct err err_ = { 0 };                                                                               \
		struct err *err = &err_;                                                                               \
		if ((call) < 0)                                                                                        \
			fail_err(#call, err);                                                                          \
	} while (0)

static struct ipaddr addr_of(const char *text)
{
	struct ipaddr addr;

	assert_int_equal(ipaddr_parse(text, &addr), 0);
	return addr;
}

static struct podnet_wish wish_of(const char *addr)
{
	return (struct podnet_wish){
		.ifname = "eth0",
		.host_ifname = HOST_IFNAME,
		.addr = addr_of(addr),
		.gateway = addr_of(GATEWAY),
		.mtu = SOFT_MTU,
	};
}

/* A host of its own for each test: a new namespace for this thread, which ends with it. */
static int setup(void **state)
{
	static struct world world;
	struct ipaddr host_addr = addr_of(HOST_ADDR);
	struct net *net = NULL;

	if (check_fds_setup(state) < 0 || unshare(CLONE_NEWNET) < 0)
		return -1;
	memset(&world, 0, sizeof(world));
	(void)snprintf(world.netns, sizeof(world.netns), "berth-podnet-%d", (int)getpid());
	(void)snprintf(world.path, sizeof(world.path), "/run/netns/%s", world.netns);
	check_ok(netns_add(world.netns, err));
	check_ok(net_open(&net, err));
	check_ok(net_link_set_up(net, LO_INDEX, true, err));
	check_ok(net_addr_add(net, LO_INDEX, &host_addr, 32, 0, err));
	net_close(net);
	check_ok(podnet_open(world.path, false, &world.podnet, err));
	*state = &world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;

	podnet_done(&world->podnet);
	check_ok(netns_del(world->netns, err));
	return check_fds_teardown(state);
}

/* ---- looking ---- */

static bool has_link(struct net *net, const char *name)
{
	struct net_link link;

	return net_link_by_name(net, name, &link, NULL) == 0;
}

static int count_ours(const struct net_route *route, void *arg)
{
	*(int *)arg += route->protocol == BERTH_RTPROT;
	return 0;
}

static int our_routes(struct net *net, enum ip_family family, uint32_t table)
{
	int count = 0;

	check_ok(net_routes(net, family, table, count_ours, &count, err));
	return count;
}

static int count_links(const struct net_link *link, void *arg)
{
	(void)link;
	(*(int *)arg)++;
	return 0;
}

static int links(struct net *net)
{
	int count = 0;

	check_ok(net_links(net, count_links, &count, err));
	return count;
}

/* One ICMP echo from the thread's namespace. Return: 0 when it came back. */
static int ping(void *arg, struct err *err)
{
	struct ipaddr addr = addr_of(arg);
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct icmphdr echo = { .type = ICMP_ECHO, .un.echo = { .id = 0xb0, .sequence = 1 } };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	int64_t end_us = clock_now(&clock_boot) + PING_MS * USEC_PER_MSEC;
	uint32_t sum;

	memcpy(&to.sin_addr, addr.bytes, 4);
	sum = echo.type + (uint32_t)echo.un.echo.id + echo.un.echo.sequence;
	echo.checksum = (uint16_t)~sum;
	if (fd < 0 || sendto(fd, &echo, sizeof(echo), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		return err_set_errno(err, ERR_RETRY, "ping", errno, "send to %s", (const char *)arg);
	while (clock_now(&clock_boot) < end_us) {
		struct pollfd pollfd = { .fd = fd, .events = POLLIN };
		uint8_t packet[256];
		const struct icmphdr *icmp = (const void *)(packet + sizeof(struct iphdr));
		ssize_t n;

		if (poll(&pollfd, 1, PING_MS) <= 0)
			continue;
		n = recv(fd, packet, sizeof(packet), 0);
		if (n >= (ssize_t)(sizeof(struct iphdr) + sizeof(*icmp)) && icmp->type == ICMP_ECHOREPLY)
			return 0;
	}
	return err_set(err, ERR_RETRY, "ping", "no echo from %s", (const char *)arg);
}

static void pings_both_ways(struct world *world)
{
	char pod[] = POD_ADDR, host[] = HOST_ADDR;

	check_ok(ping(pod, err));
	check_ok(netns_run(world->podnet.netns_fd, ping, host, err));
}

/* ---- tests ---- */

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
static int neigh_of_gateway(void *arg, struct err *err)
{
	char *text = NULL;

	(void)err;
	if (fs_read("/proc/net/arp", 4096, &text, NULL) < 0)
		return -1;
	*(char **)arg = text;
	return 0;
}

static void test_podnet_wire__neighbour_is_permanent(void **state)
{
	struct podnet_wish wish = wish_of(POD_ADDR);
	_cleanup_free_ char *arp = NULL;
	struct world *world = *state;
	struct podnet_made made;
	char mac[MACADDR_STRLEN];

	check_ok(podnet_wire(&world->podnet, &wish, &made, err));
	/* Flags 0x6 are ATF_COM | ATF_PERM. */
	check_ok(netns_run(world->podnet.netns_fd, neigh_of_gateway, &arp, err));
	assert_non_null(strstr(arp, GATEWAY));
	assert_non_null(strstr(arp, "0x6"));
	assert_non_null(strstr(arp, macaddr_str(&made.host_mac, mac)));
}

static void test_podnet_wire__through_covers(void **state)
{
	struct podnet_wish wish = wish_of(POD_ADDR);
	struct net_route cover = { .type = NET_ROUTE_UNREACHABLE, .table = NET_TABLE_LOCAL, .protocol = BERTH_RTPROT };
	char pod[] = POD_ADDR;
	struct world *world = *state;
	struct podnet_made made;

	assert_int_equal(prefix_parse("10.9.1.16/28", &cover.dst), 0);
	check_ok(net_route_replace(world->podnet.host, &cover, err));
	assert_int_equal(prefix_parse(POD_ADDR, &cover.dst), 0);
	check_ok(net_route_replace(world->podnet.host, &cover, err));
	assert_int_equal(ping(pod, NULL), -1);
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

static void test_podnet_wire__leftover_of_another_netns(void **state)
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

static void test_podnet_claim__leftover_half_wired(void **state)
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

static void claim_conflicts(struct world *world, const char *part)
{
	struct net_link before, after;
	struct err why = { 0 };

	check_ok(net_link_by_name(world->podnet.pod, "eth0", &before, err));
	assert_int_equal(podnet_claim(&world->podnet, "eth0", HOST_IFNAME, &why), -1);
	assert_int_equal(why.class, ERR_CONFLICT);
	assert_non_null(strstr(why.msg, part));
	check_ok(net_link_by_name(world->podnet.pod, "eth0", &after, err));
	assert_memory_equal(&before, &after, sizeof(before));
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

static void test_podnet_wire__rollback_leaves_nothing(void **state)
{
	struct podnet_wish wish = wish_of("2001:db8::17");
	struct world *world = *state;
	struct podnet_made made = { .host_index = -7 };
	struct err why = { 0 };
	int host_links = links(world->podnet.host), pod_links = links(world->podnet.pod);

	/* Without IPv6 on the host's end, the last step of all fails. */
	wish.gateway = addr_of("fe80::1");
	if (fs_sysctl_write("net/ipv6/conf/default/disable_ipv6", "1") < 0)
		skip();
	assert_int_equal(podnet_wire(&world->podnet, &wish, &made, &why), -1);
	assert_true(why.class != ERR_NONE);
	assert_int_equal(made.host_index, -7);
	assert_int_equal(links(world->podnet.host), host_links);
	assert_int_equal(links(world->podnet.pod), pod_links);
	assert_int_equal(our_routes(world->podnet.host, IP_V6, 0), 0);
	assert_int_equal(our_routes(world->podnet.pod, IP_V6, 0), 0);
}

static void test_podnet_wire__ipv6(void **state)
{
	struct podnet_wish wish = wish_of("2001:db8::17");
	struct world *world = *state;
	struct podnet_made made;

	wish.gateway = addr_of("fe80::1");
	if (!fs_exists("/proc/sys/net/ipv6"))
		skip();
	check_ok(podnet_wire(&world->podnet, &wish, &made, err));
	assert_int_equal(our_routes(world->podnet.host, IP_V6, NET_TABLE_LOCAL), 1);
	assert_int_equal(our_routes(world->podnet.pod, IP_V6, 0), 2);
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

static void test_podnet_unwire__missing_or_strange(void **state)
{
	struct world *world = *state;
	struct err why = { 0 };

	check_ok(podnet_unwire(world->podnet.host, HOST_IFNAME, err));
	assert_int_equal(podnet_unwire(world->podnet.host, "lo", &why), -1);
	assert_int_equal(why.class, ERR_CONFLICT);
}

#define net_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		net_test(test_podnet_wire__pings_with_every_rp_filter),
		net_test(test_podnet_wire__what_it_makes),
		net_test(test_podnet_wire__neighbour_is_permanent),
		net_test(test_podnet_wire__through_covers),
		net_test(test_podnet_wire__leftover_of_another_netns),
		net_test(test_podnet_claim__leftover_half_wired),
		net_test(test_podnet_claim__name_of_a_stranger),
		net_test(test_podnet_claim__name_of_a_living_pod),
		net_test(test_podnet_wire__name_taken_meanwhile),
		net_test(test_podnet_wire__rollback_leaves_nothing),
		net_test(test_podnet_wire__ipv6),
		net_test(test_podnet_wire__bad_mtu),
		net_test(test_podnet_open__gone_or_own),
		net_test(test_podnet_unwire__missing_or_strange),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
