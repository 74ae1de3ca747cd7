/* SPDX-License-Identifier: Apache-2.0 */
/* The data path as a whole: every flow passes, and each part of it is needed by exactly the flows that it is for. */
#include <time.h>

#include <linux/errqueue.h> /* relies on time.h */
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>

#include "berth/str.h"
#include "tests/net/node_world.h"

#define COUNTERS_MAX 16384 /* bytes of a link's counters in /proc */

/* What a packet to a free address is answered with: ICMP type << 8 | code, and by whom. */
static void take_error(struct msghdr *msg, int *ret_answer, char by[static IPADDR_STRLEN])
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
		bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;
		struct sock_extended_err ee;
		union address offender;

		if (!v4 && !v6)
			continue;
		memcpy(&ee, CMSG_DATA(c), sizeof(ee));
		memcpy(&offender, CMSG_DATA(c) + sizeof(ee), v4 ? sizeof(offender.v4) : sizeof(offender.v6));
		*ret_answer = ee.ee_type << 8 | ee.ee_code;
		address_text(&offender, by);
	}
}

static int answer_of(enum place from, const char *addr, char by[static IPADDR_STRLEN])
{
	struct open_socket client = { .v6 = is_v6(addr), .addr = addr, .port = 9000 };
	struct pollfd pfd = { .events = 0 };
	char control[512], byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	int answer = -1;

	by[0] = '\0';
	must(netns_run(world.fd[from], open_udp, &client, &oops));
	assert_int_equal(send(client.fd, "?", 1, 0), 1);
	pfd.fd = client.fd;
	if (poll(&pfd, 1, 2000) == 1 && recvmsg(client.fd, &msg, MSG_ERRQUEUE) >= 0)
		take_error(&msg, &answer, by);
	(void)close(client.fd);
	return answer;
}

static const int unreachable[IP_FAMILIES] = {
	ICMP_DEST_UNREACH << 8 | ICMP_HOST_UNREACH,
	ICMP6_DST_UNREACH << 8 | ICMP6_DST_UNREACH_NOROUTE,
};
static const char *const free_addrs[IP_FAMILIES][2] = {
	{ "10.0.0.12", "10.0.0.70" },
	{ "2001:db8:0:1::12", "2001:db8:0:1:b::70" },
};
static const char *const subnet_text[IP_FAMILIES] = { "10.0.0.", "2001:db8:0:1:" };

static void test_datapath__every_flow_passes(void **state)
{
	(void)state;
	everything_passes();
}

/* All that is not of @family. */
static void others_pass(unsigned family)
{
	unsigned f = !family;

	each(plain_flows[f], passes);
	each(secondary_flows[f], passes);
	each(internet_flows[f], passes);
	each(nodeport_flows[f], passes);
	each(nodeport_eth1[f], passes);
	each(own_flows[f], passes);
}

static void test_datapath__without_the_element_of_the_nic_map(void **state)
{
	static const char *const batches[IP_FAMILIES] = {
		"delete element inet berth nic { 10.0.0.21 }\n",
		"delete element inet berth nic_v6 { 2001:db8:0:1::21 }\n",
	};

	each_family(f)
	{
		(void)restore(state);
		nft(NA, batches[f]);
		each(secondary_flows[f], does_not_pass);
		each(plain_flows[f], passes);
		each(nodeport_flows[f], passes);
		each(nodeport_eth1[f], passes);
		passes(&internet_flows[f][0]);
		/* IPv4 leaves by the primary NIC anyway, IPv6 by the pod's own or not at all. */
		if (f == ip_index(IP_V4))
			passes(&internet_flows[f][1]);
		else
			does_not_pass(&internet_flows[f][1]);
		others_pass(f);
	}
}

static void test_datapath__without_the_snat_rule__rule_8(void **state)
{
	(void)state;
	nft(NA, "flush chain inet berth post\n");
	each(internet_flows[0], does_not_pass);
	each(plain_flows[0], passes);
	each(secondary_flows[0], passes);
	each(nodeport_flows[0], passes);
	others_pass(ip_index(IP_V4));
}

/* Without the pin the first packet of the secondary pod's flow would leave by its own NIC, where no SNAT is done. */
static void test_datapath__without_the_pin(void **state)
{
	(void)state;
	nft(NA, "flush chain inet berth frompod\n"
		"add rule inet berth frompod ct mark and 0x7e vmap { 0x2 : goto nic0, 0x4 : goto nic1 }\n"
		"add rule inet berth frompod ip saddr vmap @nic\n"
		"add rule inet berth frompod ip6 saddr vmap @nic_v6\n");
	does_not_pass(&internet_flows[0][1]);
	passes(&internet_flows[0][0]);
	each(plain_flows[0], passes);
	each(secondary_flows[0], passes);
	each(nodeport_flows[0], passes);
	others_pass(ip_index(IP_V4));
}

/* Without the note of the NIC a flow came by, the answer leaves by the pod's own NIC under the node's address. */
static void test_datapath__without_the_early_chain__aws_40_36__rule_9(void **state)
{
	(void)state;
	nft(NA, "flush chain inet berth early\n");
	each_family(f)
	{
		each(nodeport_flows[f], does_not_pass);
		each(nodeport_eth1[f], passes); /* came by the pod's own NIC: that one is right by luck */
		each(plain_flows[f], passes);
		each(secondary_flows[f], passes);
		each(internet_flows[f], passes);
	}
}

static void test_datapath__without_the_own_chain(void **state)
{
	(void)state;
	nft(NA, "flush chain inet berth own\n");
	each_family(f)
	{
		each(own_flows[f], does_not_pass);
		each(plain_flows[f], passes);
		each(secondary_flows[f], passes);
		each(internet_flows[f], passes);
		each(nodeport_flows[f], passes);
	}
}

static int delete_rule(const struct net_rule *rule, void *arg)
{
	(void)arg;
	if (rule->protocol == BERTH_RTPROT)
		must(net_rule_del(world.net[NA], rule, &oops));
	return 0;
}

/* Marks that no rule looks at: what is bound to a NIC goes wherever main says. */
static void test_datapath__without_the_rules(void **state)
{
	each_family(f)
	{
		(void)restore(state);
		must(net_rules(world.net[NA], ip_family_at(f), delete_rule, NULL, &oops));
		each(secondary_flows[f], does_not_pass);
		each(plain_flows[f], passes);
		others_pass(f);
	}
}

static void test_datapath__nodeport_under_every_rp_filter__aws_40_36(void **state)
{
	static const char *const values[] = { "0", "1", "2" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		sysctl(NA, "net/ipv4/conf/eth0/rp_filter", values[i]);
		sysctl(NA, "net/ipv4/conf/eth1/rp_filter", values[i]);
		each(nodeport_flows[0], passes);
		each(plain_flows[0], passes);
		each(internet_flows[0], passes);
		/* strict mode drops what comes by a secondary NIC: that is why sync sets 2 */
		if (strcmp(values[i], "1") == 0) {
			each(nodeport_eth1[0], does_not_pass);
			does_not_pass(&secondary_flows[0][0]);
		} else {
			each(nodeport_eth1[0], passes);
			each(secondary_flows[0], passes);
		}
	}
	restore(NULL);
	each(secondary_flows[0], passes);
}

static void test_datapath__free_address_is_unreachable(void **state)
{
	char by[IPADDR_STRLEN];

	(void)state;
	each_family(f)
	{
		for (size_t i = 0; i < ARRAY_SIZE(free_addrs[f]); i++) {
			assert_int_equal(answer_of(P3, free_addrs[f][i], by), unreachable[f]);
			assert_true(str_starts(by, subnet_text[f]));
		}
	}
}

static void test_datapath__without_the_cover(void **state)
{
	char by[IPADDR_STRLEN];

	(void)state;
	each_family(f)
	{
		struct net_route cover = { .dst = pfx(free_addrs[f][0]),
					   .type = NET_ROUTE_UNREACHABLE,
					   .table = NET_TABLE_LOCAL,
					   .protocol = BERTH_RTPROT };

		must(net_route_del(world.net[NA], &cover, &oops));
		/* round and round between node and fabric until its time to live is over, or dropped on the way */
		assert_int_not_equal(answer_of(P3, free_addrs[f][0], by), unreachable[f]);
		assert_int_equal(answer_of(P3, free_addrs[f][1], by), unreachable[f]);
	}
	everything_passes();
}

/* The fabric would bring them home too, if it were asked: it drops what pods of one node say to each other. */
static void test_datapath__pods_of_a_node_do_not_use_the_fabric__rule_1(void **state)
{
	(void)state;
	nft(VPC,
	    "table inet inside {\n chain p { type filter hook prerouting priority -300;\n"
	    "  ip saddr { 10.0.0.11, 10.0.0.21 } ip daddr { 10.0.0.11, 10.0.0.21 } drop\n"
	    "  ip6 saddr { 2001:db8:0:1:a::11, 2001:db8:0:1::21 } ip6 daddr { 2001:db8:0:1:a::11, 2001:db8:0:1::21 }"
	    " drop\n }\n}\n");
	each_family(f)
	{
		passes(&plain_flows[f][2]);
		passes(&plain_flows[f][3]);
	}
	nft(VPC, "delete table inet inside\n");
}

/* Bits of others, in packets and connections, come through; ours have the value they shall have. */
static void test_datapath__bits_of_others_are_kept__aws_40_37__rule_10(void **state)
{
	(void)state;
	nft(NA, "table inet others {\n"
		" chain a { type filter hook prerouting priority -120;\n"
		"  iifname \"bth*\" meta mark set 0xa5004a01\n"
		"  ct state new ct mark set ct mark and 0x7e or 0x5a004500\n }\n"
		" chain b { type filter hook prerouting priority -80;\n"
		"  ct direction original ct mark and 0xffffff81 != 0x5a004500 drop\n"
		"  iifname \"bth*\" meta mark and 0xffffff81 != 0xa5004a01 drop\n"
		"  iifname \"bth00000000002\" ct direction original ip daddr 10.0.0.31 meta mark != 0xa5004a05 drop\n"
		"  iifname \"bth*\" ip daddr 198.51.100.9 meta mark != 0xa5004a03 drop\n"
		"  iifname \"bth*\" ip daddr 198.51.100.9 ct mark != 0x5a004502 drop\n"
		"  iifname \"bth00000000002\" ct direction original ip6 daddr { 2001:db8:0:1::31, 2001:db8:ffff::9 }"
		" meta mark != 0xa5004a05 drop\n"
		"  iifname \"bth*\" ip6 daddr 2001:db8:ffff::9 ct mark != 0x5a004500 drop\n }\n}\n");
	everything_passes();
}

/* ---- what is never said ---- */

struct file {
	const char *path;
	char *text; /* owned by who asked */
};

static int read_file(void *arg, struct err *err)
{
	struct file *file = arg;
	int r = fs_read(file->path, COUNTERS_MAX, &file->text, NULL);

	return r < 0 ? err_set_errno(err, ERR_INVALID, "test", -r, "%s", file->path) : 0;
}

static void assert_zero(const char *counters, const char *name)
{
	const char *line = strstr(counters, name);
	const char *value = line ? line + strlen(name) : "";

	value += strspn(value, " \t");
	if (line && *value != '0')
		fail_msg("%.60s", line);
}

/* The counters of one link of the node or a pod: it spoke IPv6, and solicited nobody. */
static void assert_silent(enum place place, const char *path)
{
	struct file file = { .path = path };
	_cleanup_free_ char *text = NULL;

	must(netns_run(world.fd[place], read_file, &file, &oops));
	text = file.text;
	assert_non_null(strstr(text, "Ip6OutRequests"));
	assert_zero(text, "Icmp6OutNeighborSolicits");
	assert_zero(text, "Icmp6OutNeighborAdvertisements");
	assert_zero(text, "Icmp6OutRouterSolicits");
	assert_zero(text, "Icmp6InNeighborSolicits");
}

/* Since the pods were wired, over all the flows of all the tests before. */
static void test_datapath__no_neighbour_discovery_between_pod_and_node__rule_6(void **state)
{
	(void)state;
	each(plain_flows[ip_index(IP_V6)], passes);
	assert_silent(NA, "/proc/net/dev_snmp6/bth00000000001");
	assert_silent(NA, "/proc/net/dev_snmp6/bth00000000002");
	assert_silent(P1, "/proc/net/dev_snmp6/eth0");
	assert_silent(P2, "/proc/net/dev_snmp6/eth0");
}

/* ---- sizes ---- */

/* Don't fragment, and don't believe what was learnt about the path: only the link's MTU is asked. */
static int send_whole(enum place from, const char *addr, unsigned size)
{
	static const uint8_t bytes[JUMBO];
	const int probe = IP_PMTUDISC_PROBE; /* the same number as IPV6_PMTUDISC_PROBE */
	struct open_socket client = { .v6 = is_v6(addr), .addr = addr, .port = 9000 };
	ssize_t n;
	int r;

	must(netns_run(world.fd[from], open_udp, &client, &oops));
	assert_int_equal(setsockopt(client.fd, client.v6 ? IPPROTO_IPV6 : IPPROTO_IP,
				    client.v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &probe, sizeof(probe)),
			 0);
	n = send(client.fd, bytes, size, 0);
	r = n < 0 ? -errno : (int)n;
	(void)close(client.fd);
	return r;
}

/* Did a datagram of @size bytes come in one piece? New tries, as for flows. */
static bool arrives(enum place from, const char *addr, unsigned size, enum place at)
{
	struct open_socket server = { .v6 = is_v6(addr), .port = 9000 };
	int64_t end_us = clock_now(&clock_boot) + PASS_US;
	uint8_t bytes[JUMBO];
	ssize_t n = -1;

	must(netns_run(world.fd[at], open_udp, &server, &oops));
	do {
		assert_int_equal(send_whole(from, addr, size), size);
		if (wait_readable(server.fd))
			n = recv(server.fd, bytes, sizeof(bytes), 0);
	} while (n < 0 && clock_now(&clock_boot) < end_us);
	(void)close(server.fd);
	return n == (ssize_t)size;
}

static const unsigned headers[IP_FAMILIES] = { 20 + 8, 40 + 8 }; /* IP and UDP, bytes */

/* To another node by either NIC, to another pod of the node, and not a byte more. */
static void test_datapath__jumbo_frames(void **state)
{
	static const struct {
		enum place from, at;
		const char *addrs[IP_FAMILIES];
	} ways[] = {
		{ P1, P3, { "10.0.0.31", "2001:db8:0:1::31" } },
		{ P2, P3, { "10.0.0.31", "2001:db8:0:1::31" } },
		{ P3, P2, { "10.0.0.21", "2001:db8:0:1::21" } },
		{ P1, P2, { "10.0.0.21", "2001:db8:0:1::21" } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		each_family(f)
		{
			assert_true(arrives(ways[i].from, ways[i].addrs[f], JUMBO - headers[f], ways[i].at));
			assert_int_equal(send_whole(ways[i].from, ways[i].addrs[f], JUMBO - headers[f] + 1), -EMSGSIZE);
		}
	}
}

/* The way out takes 1500: the fabric says so, and the pod hears it through the node and its SNAT. */
static void test_datapath__pods_hear_of_a_smaller_path(void **state)
{
	static const uint8_t bytes[4000];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(internet_flows[0]); i++) {
		each_family(f)
		{
			const struct flow *flow = &internet_flows[f][i];
			struct open_socket client = { .v6 = is_v6(flow->addr), .addr = flow->addr, .port = 9000 };
			const int discover = IP_PMTUDISC_DO;
			int64_t end_us = clock_now(&clock_boot) + PASS_US;
			int mtu = 0;

			passes(flow);
			must(netns_run(world.fd[flow->from], open_udp, &client, &oops));
			assert_int_equal(setsockopt(client.fd, f ? IPPROTO_IPV6 : IPPROTO_IP,
						    f ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &discover,
						    sizeof(discover)),
					 0);
			while (mtu != 1500 && clock_now(&clock_boot) < end_us) {
				struct pollfd pfd = { .fd = client.fd };
				socklen_t size = sizeof(mtu);

				if (send(client.fd, bytes, sizeof(bytes), 0) >= 0)
					(void)poll(&pfd, 1, TRY_MS);
				assert_int_equal(getsockopt(client.fd, f ? IPPROTO_IPV6 : IPPROTO_IP,
							    f ? IPV6_MTU : IP_MTU, &mtu, &size),
						 0);
			}
			(void)close(client.fd);
			assert_int_equal(mtu, 1500);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		path_test(test_datapath__every_flow_passes),
		path_test(test_datapath__without_the_element_of_the_nic_map),
		path_test(test_datapath__without_the_snat_rule__rule_8),
		path_test(test_datapath__without_the_pin),
		path_test(test_datapath__without_the_early_chain__aws_40_36__rule_9),
		path_test(test_datapath__without_the_own_chain),
		path_test(test_datapath__without_the_rules),
		path_test(test_datapath__nodeport_under_every_rp_filter__aws_40_36),
		path_test(test_datapath__free_address_is_unreachable),
		path_test(test_datapath__without_the_cover),
		path_test(test_datapath__pods_of_a_node_do_not_use_the_fabric__rule_1),
		path_test(test_datapath__bits_of_others_are_kept__aws_40_37__rule_10),
		path_test(test_datapath__no_neighbour_discovery_between_pod_and_node__rule_6),
		path_test(test_datapath__jumbo_frames),
		path_test(test_datapath__pods_hear_of_a_smaller_path),
	};

	return cmocka_run_group_tests_name("datapath", tests, setup_world, teardown_world);
}
