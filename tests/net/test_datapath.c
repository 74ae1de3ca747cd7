/* SPDX-License-Identifier: Apache-2.0 */
/* The data path as a whole: every flow passes, and each part of it is needed by exactly the flows that it is for. */
#include <time.h>

#include <linux/errqueue.h> /* relies on time.h */
#include <netinet/ip_icmp.h>

#include "tests/net/node_world.h"

/* What a packet to a free address is answered with: ICMP type << 8 | code, and by whom. */
static int answer_of(enum place from, const char *addr, char by[static INET_ADDRSTRLEN])
{
	struct open_socket client = { .addr = addr, .port = 9000 };
	struct pollfd pfd = { .events = 0 };
	char control[512], byte;
	struct sockaddr_in offender = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	int answer = -1;

	by[0] = '\0';
	must(netns_run(world.fd[from], open_udp, &client, &oops));
	assert_int_equal(send(client.fd, "?", 1, 0), 1);
	pfd.fd = client.fd;
	if (poll(&pfd, 1, 2000) == 1 && recvmsg(client.fd, &msg, MSG_ERRQUEUE) >= 0) {
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
			struct sock_extended_err ee;

			if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_RECVERR)
				continue;
			memcpy(&ee, CMSG_DATA(c), sizeof(ee));
			memcpy(&offender, CMSG_DATA(c) + sizeof(ee), sizeof(offender));
			answer = ee.ee_type << 8 | ee.ee_code;
			(void)inet_ntop(AF_INET, &offender.sin_addr, by, INET_ADDRSTRLEN);
		}
	}
	(void)close(client.fd);
	return answer;
}

#define HOST_UNREACHABLE (ICMP_DEST_UNREACH << 8 | ICMP_HOST_UNREACH)

static void test_datapath__every_flow_passes(void **state)
{
	(void)state;
	each(plain_flows, passes);
	each(secondary_flows, passes);
	each(internet_flows, passes);
	each(nodeport_flows, passes);
	passes(&nodeport_eth1);
}

static void test_datapath__without_the_element_of_the_nic_map(void **state)
{
	(void)state;
	nft(NA, "delete element inet berth nic { 10.0.0.21 }\n");
	each(secondary_flows, does_not_pass);
	each(plain_flows, passes);
	each(internet_flows, passes);
	each(nodeport_flows, passes);
	passes(&nodeport_eth1);
}

static void test_datapath__without_the_snat_rule(void **state)
{
	(void)state;
	nft(NA, "flush chain inet berth post\n");
	each(internet_flows, does_not_pass);
	each(plain_flows, passes);
	each(secondary_flows, passes);
	each(nodeport_flows, passes);
}

/* Without the pin the first packet of the secondary pod's flow would leave by its own NIC, where no SNAT is done. */
static void test_datapath__without_the_pin(void **state)
{
	(void)state;
	nft(NA, "flush chain inet berth frompod\n"
		"add rule inet berth frompod ct mark and 0x7e vmap { 0x2 : goto nic0, 0x4 : goto nic1 }\n"
		"add rule inet berth frompod ip saddr vmap @nic\n");
	does_not_pass(&internet_flows[1]);
	passes(&internet_flows[0]);
	each(plain_flows, passes);
	each(secondary_flows, passes);
	each(nodeport_flows, passes);
}

/* Without the note of the NIC a flow came by, the answer leaves by the pod's own NIC under the node's address. */
static void test_datapath__without_the_early_chain(void **state)
{
	(void)state;
	nft(NA, "flush chain inet berth early\n");
	each(nodeport_flows, does_not_pass);
	passes(&nodeport_eth1); /* came by the pod's own NIC: that one is right by luck */
	each(plain_flows, passes);
	each(secondary_flows, passes);
	each(internet_flows, passes);
}

static void test_datapath__nodeport_under_every_rp_filter(void **state)
{
	static const char *const values[] = { "0", "1", "2" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		sysctl(NA, "net/ipv4/conf/eth0/rp_filter", values[i]);
		sysctl(NA, "net/ipv4/conf/eth1/rp_filter", values[i]);
		each(nodeport_flows, passes);
		each(plain_flows, passes);
		each(internet_flows, passes);
		/* strict mode drops what comes by a secondary NIC: that is why sync sets 2 */
		if (strcmp(values[i], "1") == 0) {
			does_not_pass(&nodeport_eth1);
			does_not_pass(&secondary_flows[0]);
		} else {
			passes(&nodeport_eth1);
			each(secondary_flows, passes);
		}
	}
	restore(NULL);
	each(secondary_flows, passes);
}

static void test_datapath__free_address_is_unreachable(void **state)
{
	static const char *const free_addrs[] = { "10.0.0.12", "10.0.0.70" };
	char by[INET_ADDRSTRLEN];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(free_addrs); i++) {
		assert_int_equal(answer_of(P3, free_addrs[i], by), HOST_UNREACHABLE);
		assert_true(strncmp(by, "10.0.0.", 7) == 0);
	}
}

static void test_datapath__without_the_cover(void **state)
{
	struct net_route cover = { .dst = pfx("10.0.0.12"),
				   .type = NET_ROUTE_UNREACHABLE,
				   .table = NET_TABLE_LOCAL,
				   .protocol = BERTH_RTPROT };
	char by[INET_ADDRSTRLEN];

	(void)state;
	must(net_route_del(world.net[NA], &cover, &oops));
	/* round and round between node and fabric until its time to live is over, or dropped on the way */
	assert_int_not_equal(answer_of(P3, "10.0.0.12", by), HOST_UNREACHABLE);
	assert_int_equal(answer_of(P3, "10.0.0.70", by), HOST_UNREACHABLE);
	each(plain_flows, passes);
	each(secondary_flows, passes);
	each(internet_flows, passes);
	each(nodeport_flows, passes);
}

/* Bits of others, in packets and connections, come through; ours have the value they shall have. */
static void test_datapath__bits_of_others_are_kept(void **state)
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
		"  iifname \"bth*\" ip daddr 198.51.100.9 ct mark != 0x5a004502 drop\n }\n}\n");
	each(plain_flows, passes);
	each(secondary_flows, passes);
	each(internet_flows, passes);
	each(nodeport_flows, passes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		path_test(test_datapath__every_flow_passes),
		path_test(test_datapath__without_the_element_of_the_nic_map),
		path_test(test_datapath__without_the_snat_rule),
		path_test(test_datapath__without_the_pin),
		path_test(test_datapath__without_the_early_chain),
		path_test(test_datapath__nodeport_under_every_rp_filter),
		path_test(test_datapath__free_address_is_unreachable),
		path_test(test_datapath__without_the_cover),
		path_test(test_datapath__bits_of_others_are_kept),
	};

	return cmocka_run_group_tests_name("datapath", tests, setup_world, teardown_world);
}
