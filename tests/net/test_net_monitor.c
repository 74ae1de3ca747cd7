/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>

#include "berth/clock.h"
#include "berth/clock.h"
#include "ipamd/hostnet.h"
#include "tests/net/world.h"

#define WAIT_US (5 * USEC_PER_SEC) /* for an event that must come */
#define STORM   20000              /* route changes that no buffer of 1 MiB holds */

struct seen {
	enum net_event_kind kind;
	char name[NET_IFNAME_SIZE]; /* of a link; "" = any */
	int count;
	int total;
	int other_gone; /* LINK_GONE that was not asked for */
	struct net_event last;
};

static void see(const struct net_event *event, void *arg)
{
	struct seen *seen = arg;

	seen->total++;
	if (event->kind == NET_EVENT_LINK_GONE && seen->kind != NET_EVENT_LINK_GONE)
		seen->other_gone++;
	if (event->kind != seen->kind || (seen->name[0] && !str_equal(seen->name, event->link.name)))
		return;
	seen->last = *event;
	seen->count++;
}

/* Reads until the event has come; that it never comes fails the test. */
static struct seen wait_for(struct net_monitor *monitor, enum net_event_kind kind, const char *name)
{
	const int64_t deadline_us = clock_now(&clock_boot) + WAIT_US;
	struct seen seen = { .kind = kind };

	assert_int_equal(str_copy(seen.name, sizeof(seen.name), name), 0);
	while (seen.count == 0) {
		struct pollfd pfd = { .fd = net_monitor_fd(monitor), .events = POLLIN };
		int64_t left_us = deadline_us - clock_now(&clock_boot);

		if (left_us <= 0)
			fail_msg("no event of kind %d for %s", (int)kind, name);
		assert_true(poll(&pfd, 1, (int)(left_us / USEC_PER_MSEC) + 1) >= 0);
		must(net_monitor_read(monitor, see, &seen, &err));
	}
	return seen;
}

static int open_monitor(void *arg, struct err *err)
{
	return net_monitor_open("bth", arg, err);
}

static struct net_monitor *monitor_of(int netns_fd)
{
	struct net_monitor *monitor = NULL;

	must(netns_run(netns_fd, open_monitor, &monitor, &err));
	return monitor;
}

static void closep(struct net_monitor **monitor)
{
	net_monitor_close(*monitor);
}
#define _cleanup_monitor_ _cleanup_(closep)

static void test_net_monitor__link_comes_and_goes(void **state)
{
	const struct world *w = *state;
	_cleanup_monitor_ struct net_monitor *monitor = monitor_of(w->a_fd);
	struct seen seen;
	int index;

	assert_true(fcntl(net_monitor_fd(monitor), F_GETFD) & FD_CLOEXEC);
	index = world_pair(w->a, "eth7", "p7");
	seen = wait_for(monitor, NET_EVENT_LINK, "eth7");
	assert_int_equal(seen.last.link.index, index);
	assert_string_equal(seen.last.link.kind, "veth");
	must(net_link_del(w->a, index, &err));
	seen = wait_for(monitor, NET_EVENT_LINK_GONE, "eth7");
	assert_int_equal(seen.last.link.index, index);
}

static void test_net_monitor__route_rule_and_address_vanish(void **state)
{
	const struct world *w = *state;
	int oif = world_pair(w->a, "eth0", "p0");
	const struct ipaddr addr = addr_of("10.0.1.5");
	const struct net_route v4 = {
		.dst = prefix_from("10.0.1.17/32"), .table = NET_TABLE_LOCAL, .oif = oif, .protocol = BERTH_RTPROT
	};
	const struct net_route v6 = { .dst = prefix_from("2001:db8::/80"),
				      .type = NET_ROUTE_UNREACHABLE,
				      .table = NET_TABLE_LOCAL,
				      .protocol = BERTH_RTPROT };
	const struct net_rule rule = {
		.family = IP_V4, .priority = 1024, .fwmark = 4, .fwmask = 0x7e, .table = 4002, .protocol = BERTH_RTPROT
	};
	_cleanup_monitor_ struct net_monitor *monitor = NULL;
	struct seen seen;

	must(net_route_replace(w->a, &v4, &err));
	must(net_route_replace(w->a, &v6, &err));
	must(net_rule_add(w->a, &rule, &err));
	must(net_addr_add(w->a, oif, &addr, 32, NET_ADDR_NOPREFIXROUTE, &err));
	monitor = monitor_of(w->a_fd);

	world_ip_do(w->a_name, "route del 10.0.1.17/32 table local");
	seen = wait_for(monitor, NET_EVENT_ROUTE_GONE, "");
	assert_int_equal(prefix_cmp(&seen.last.route.dst, &v4.dst), 0);
	assert_int_equal(seen.last.route.protocol, BERTH_RTPROT);
	assert_int_equal(seen.last.route.table, NET_TABLE_LOCAL);
	assert_int_equal(seen.last.route.oif, oif);
	world_ip_do(w->a_name, "-6 route flush table local proto 98");
	seen = wait_for(monitor, NET_EVENT_ROUTE_GONE, "");
	assert_int_equal(prefix_cmp(&seen.last.route.dst, &v6.dst), 0);
	assert_int_equal(seen.last.route.type, NET_ROUTE_UNREACHABLE);
	world_ip_do(w->a_name, "rule del pref 1024");
	seen = wait_for(monitor, NET_EVENT_RULE_GONE, "");
	assert_int_equal(seen.last.rule.priority, 1024);
	assert_int_equal(seen.last.rule.fwmask, 0x7e);
	assert_int_equal(seen.last.rule.protocol, BERTH_RTPROT);
	world_ip_do(w->a_name, "addr del 10.0.1.5/32 dev eth0");
	seen = wait_for(monitor, NET_EVENT_ADDR_GONE, "");
	assert_true(ipaddr_equal(&seen.last.addr.addr, &addr));
	assert_int_equal(seen.last.addr.index, oif);
}

/* Nobody is woken for it. */
static void test_net_monitor__what_comes_new_is_not_heard(void **state)
{
	const struct world *w = *state;
	const int oif = 1; /* lo, about which the kernel has no word of its own */
	const struct ipaddr addr = addr_of("10.0.1.5"), own = addr_of("fe80::5");
	const struct net_route v4 = { .dst = prefix_from("10.0.1.17/32"), .oif = oif, .protocol = BERTH_RTPROT };
	const struct net_route v6 = { .dst = prefix_from("2001:db8::6/128"), .oif = oif, .protocol = BERTH_RTPROT };
	const struct net_rule rule = {
		.family = IP_V4, .priority = 1024, .fwmark = 4, .fwmask = 0x7e, .table = 4002, .protocol = BERTH_RTPROT
	};
	_cleanup_monitor_ struct net_monitor *monitor = monitor_of(w->a_fd);
	struct pollfd pfd = { .fd = net_monitor_fd(monitor), .events = POLLIN };
	struct seen seen;

	must(net_addr_add(w->a, oif, &own, 64, NET_ADDR_NODAD, &err));
	must(net_route_replace(w->a, &v4, &err));
	must(net_route_replace(w->a, &v6, &err));
	must(net_rule_add(w->a, &rule, &err));
	assert_int_equal(poll(&pfd, 1, 0), 0);
	must(net_rule_del(w->a, &rule, &err));
	assert_int_equal(poll(&pfd, 1, 0), 1);
	(void)wait_for(monitor, NET_EVENT_RULE_GONE, "");
	must(net_addr_add(w->a, oif, &addr, 32, NET_ADDR_NODAD, &err));
	seen = wait_for(monitor, NET_EVENT_ADDR, "");
	assert_true(ipaddr_equal(&seen.last.addr.addr, &addr));
}

/* Links come with a discipline that nobody chose, which goes when they get another: that is no news. */
static void test_net_monitor__shapers_that_go(void **state)
{
	static const char *const harm[] = {
		"qdisc del dev eth0 root",
		"qdisc replace dev eth0 root pfifo limit 7",
		"filter del dev eth0 ingress",
		"qdisc del dev eth0 clsact",
	};
	const struct net_tbf tbf = { .rate = 125000, .burst = 3125, .limit = 150000 };
	const struct world *w = *state;
	int index = world_pair(w->a, "eth0", "peer0");
	_cleanup_monitor_ struct net_monitor *monitor = monitor_of(w->a_fd);

	for (size_t i = 0; i < ARRAY_SIZE(harm); i++) {
		struct seen seen = { .kind = NET_EVENT_TC_GONE };

		must(net_tbf_set(w->a, index, &tbf, &err));
		if (i < 3)
			must(net_redirect_set(w->a, index, index, &err));
		must(net_monitor_read(monitor, see, &seen, &err));
		if (seen.count > (i == 1 || i == 2)) /* the redirect that is set again replaces one */
			fail_msg("%u went when they came before %s", seen.count, harm[i]);
		free(world_run("tc", w->a_name, harm[i]));
		seen = wait_for(monitor, NET_EVENT_TC_GONE, "");
		assert_int_equal(seen.last.tc_index, index);
	}
}

/* So that who watches need not look at every pod that is born. */
static void test_net_monitor__birth_of_a_link_is_told_from_a_change(void **state)
{
	const struct world *w = *state;
	const struct net_veth veth = { .name = "eth7", .peer_name = "p7", .peer_netns_fd = -1 };
	_cleanup_monitor_ struct net_monitor *monitor = monitor_of(w->a_fd);
	struct seen seen;

	must(net_veth_add(w->a, &veth, &err));
	seen = wait_for(monitor, NET_EVENT_LINK, "eth7");
	assert_true(seen.last.born);
	world_ip_do(w->a_name, "link set eth7 up");
	seen = wait_for(monitor, NET_EVENT_LINK, "eth7");
	assert_false(seen.last.born);
}

/* A VXLAN has a carrier for ever: the kernel has no word of its own about it, at whatever time. */
static void test_net_monitor__quiet_links_are_born_and_come_up_without_a_word(void **state)
{
	const struct world *w = *state;
	_cleanup_monitor_ struct net_monitor *monitor = monitor_of(w->a_fd);
	struct seen seen = { .kind = NET_EVENT_LINK };

	world_ip_do(w->a_name, "link add bth0 type vxlan id 7 dstport 4789");
	world_ip_do(w->a_name, "link set bth0 up");
	must(net_monitor_read(monitor, see, &seen, &err));
	assert_int_equal(seen.total, 0);
	world_ip_do(w->a_name, "link set bth0 address 02:00:00:00:00:77");
	seen = wait_for(monitor, NET_EVENT_LINK, "bth0");
	assert_int_equal(seen.last.link.mac.bytes[5], 0x77);
	world_ip_do(w->a_name, "link set bth0 down");
	seen = wait_for(monitor, NET_EVENT_LINK, "bth0");
	assert_false(seen.last.link.up);
	world_ip_do(w->a_name, "link del bth0");
	(void)wait_for(monitor, NET_EVENT_LINK_GONE, "bth0");
}

/* Only those that begin so. */
static void test_net_monitor__other_links_are_heard(void **state)
{
	static const char *const names[] = { "bt", "bti0", "eth7", "xbth0", "btH0" };
	const struct world *w = *state;
	_cleanup_monitor_ struct net_monitor *monitor = monitor_of(w->a_fd);
	char words[64];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(words, sizeof(words), "link add %s type vxlan id %zu dstport 4789", names[i], i + 1);
		world_ip_do(w->a_name, words);
		assert_true(wait_for(monitor, NET_EVENT_LINK, names[i]).last.born);
		(void)snprintf(words, sizeof(words), "link set %s up", names[i]);
		world_ip_do(w->a_name, words);
		assert_true(wait_for(monitor, NET_EVENT_LINK, names[i]).last.link.up);
	}
}

static int write_sysctl(void *arg, struct err *err)
{
	(void)err;
	return fs_sysctl_write(arg, "1");
}

static void test_net_monitor__sysctls_that_change(void **state)
{
	const struct world *w = *state;
	_cleanup_monitor_ struct net_monitor *monitor = NULL;
	struct seen seen = { .kind = NET_EVENT_SYSCTL };
	struct pollfd pfd = { .events = POLLIN };
	char rp_filter[] = "net/ipv4/conf/eth7/rp_filter", forwarding[] = "net/ipv6/conf/all/forwarding";

	monitor = monitor_of(w->a_fd);
	pfd.fd = net_monitor_fd(monitor);
	world_ip_do(w->a_name, "link add bth0 type vxlan id 7 dstport 4789");
	assert_int_equal(poll(&pfd, 1, 0), 0); /* the values that a new link is born with are no change */
	(void)world_pair(w->a, "eth7", "p7");
	must(net_monitor_read(monitor, see, &seen, &err));
	assert_int_equal(seen.count, 0);
	must(netns_run(w->a_fd, write_sysctl, rp_filter, &err));
	(void)wait_for(monitor, NET_EVENT_SYSCTL, "");
	must(netns_run(w->a_fd, write_sysctl, forwarding, &err));
	(void)wait_for(monitor, NET_EVENT_SYSCTL, "");
}

/* ---- nft ---- */

static int open_watch(void *arg, struct err *err)
{
	return net_nft_watch_open("berth", arg, err);
}

static int load(void *arg, struct err *err)
{
	int pid = 0;

	if (nft_run(arg, clock_now(&clock_boot) + 10 * USEC_PER_SEC, &pid, err) < 0)
		return -1;
	return pid;
}

static struct net_nft_touch touch_of(struct net_nft_watch *watch)
{
	struct net_nft_touch touch = { 0 };

	must(net_nft_watch_read(watch, &touch, &err));
	return touch;
}

/* Each change by a program of its own, so by another one than before. */
static void test_net_nft_watch__who_touched_the_table_last(void **state)
{
	static const char *const changes[] = {
		"table inet berth { map m { type ipv4_addr : mark; elements = { 10.0.0.1 : 2 } }\nchain c { }\n }\n",
		"add rule inet berth c drop\n",
		"flush chain inet berth c\n",
		"delete element inet berth m { 10.0.0.1 }\n",
		"table inet berth {}\ndelete table inet berth\ntable inet berth {}\n",
		"flush ruleset\n",
	};
	const struct world *w = *state;
	struct net_nft_watch *watch = NULL;
	struct net_nft_touch touch;
	char other[] = "table ip berth {}\ntable inet other {}\n";
	int pid;

	must(netns_run(w->a_fd, open_watch, &watch, &err));
	assert_true(fcntl(net_nft_watch_fd(watch), F_GETFD) & FD_CLOEXEC);
	assert_false(touch_of(watch).touched);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		char batch[256];

		assert_int_equal(str_copy(batch, sizeof(batch), changes[i]), 0);
		pid = netns_run(w->a_fd, load, batch, NULL);
		assert_true(pid > 0);
		touch = touch_of(watch);
		assert_true(touch.touched && !touch.lost);
		assert_int_equal(touch.by, pid);
	}
	assert_true(netns_run(w->a_fd, load, other, NULL) > 0);
	assert_false(touch_of(watch).touched);
	net_nft_watch_close(watch);
}

/* What others' base chains and the FORWARD of iptables tell, and what the many changes beside that do not. */
static void test_net_nft_watch__changes_of_forwarding(void **state)
{
	static const struct {
		const char *batch;
		bool forward;
	} changes[] = {
		{ "table ip filter { chain FORWARD { type filter hook forward priority 0; }\nchain x { }\n }\n", true },
		{ "add rule ip filter FORWARD counter\n", true },
		{ "add rule ip filter x counter\n", false },
		{ "add chain ip filter FORWARD { policy drop; }\n", true },
		{ "add set ip filter s { type ipv4_addr; }\nadd element ip filter s { 10.0.0.1 }\n", false },
		{ "add chain ip filter y\n", false },
		{ "flush chain ip filter FORWARD\n", true },
		{ "table inet berth { chain c { type filter hook forward priority 0; }\n }\n", false },
		{ "delete table ip filter\n", true },
	};
	const struct world *w = *state;
	struct net_nft_watch *watch = NULL;

	must(netns_run(w->a_fd, open_watch, &watch, &err));
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		char batch[256];

		assert_int_equal(str_copy(batch, sizeof(batch), changes[i].batch), 0);
		assert_true(netns_run(w->a_fd, load, batch, NULL) > 0);
		if (touch_of(watch).forward != changes[i].forward)
			fail_msg("%s", changes[i].batch);
	}
	net_nft_watch_close(watch);
}

static void test_net_monitor_read__nothing_there(void **state)
{
	const struct world *w = *state;
	_cleanup_monitor_ struct net_monitor *monitor = monitor_of(w->a_fd);
	struct seen seen = { 0 };

	must(net_monitor_read(monitor, see, &seen, &err));
	(void)world_pair(w->b, "eth0", "p0"); /* another namespace is none of its business */
	must(net_monitor_read(monitor, see, &seen, &err));
	assert_int_equal(seen.total, 0);
}

/* The kernel says DELLINK, of another family, when a link leaves a bridge. The link is still there. */
static void test_net_monitor__leaving_a_bridge_is_not_gone(void **state)
{
	const struct world *w = *state;
	_cleanup_monitor_ struct net_monitor *monitor = NULL;
	struct seen seen;

	(void)world_pair(w->a, "eth7", "p7");
	world_ip_do(w->a_name, "link add br0 type bridge");
	world_ip_do(w->a_name, "link set eth7 master br0");
	monitor = monitor_of(w->a_fd);
	world_ip_do(w->a_name, "link set eth7 nomaster");
	(void)world_pair(w->a, "last", "p-last");
	seen = wait_for(monitor, NET_EVENT_LINK, "last");
	assert_int_equal(seen.other_gone, 0);
}

/* Without any link, so that the kernel says nothing else of its own accord. */
static void change_routes(struct net *net, int times)
{
	const struct net_route route = { .dst = prefix_from("10.0.1.17/32"),
					 .type = NET_ROUTE_UNREACHABLE,
					 .table = NET_TABLE_LOCAL,
					 .protocol = BERTH_RTPROT };

	for (int i = 0; i < times; i++) {
		must(net_route_replace(net, &route, &err));
		must(net_route_del(net, &route, &err));
	}
}

static void test_net_monitor_read__a_bounded_number_at_a_time(void **state)
{
	const struct world *w = *state;
	_cleanup_monitor_ struct net_monitor *monitor = monitor_of(w->a_fd);
	struct seen seen = { .kind = NET_EVENT_ROUTE_GONE };

	change_routes(w->a, 300);
	must(net_monitor_read(monitor, see, &seen, &err));
	assert_int_equal(seen.count, 256);
	must(net_monitor_read(monitor, see, &seen, &err));
	assert_int_equal(seen.count, 300);
}

static void test_net_monitor_read__overflow_is_said_and_survived(void **state)
{
	const struct world *w = *state;
	_cleanup_monitor_ struct net_monitor *monitor = monitor_of(w->a_fd);

	change_routes(w->a, STORM / 2);
	(void)wait_for(monitor, NET_EVENT_OVERFLOW, "");
	/* What the buffer still holds comes first, and then the present. */
	for (int i = 0; i < STORM; i++) {
		struct seen seen = { .kind = NET_EVENT_ROUTE_GONE };

		must(net_monitor_read(monitor, see, &seen, &err));
		if (seen.total == 0)
			break;
	}
	(void)world_pair(w->a, "eth7", "p7");
	(void)wait_for(monitor, NET_EVENT_LINK, "eth7");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_net_monitor__link_comes_and_goes),
		world_test(test_net_monitor__route_rule_and_address_vanish),
		world_test(test_net_monitor__what_comes_new_is_not_heard),
		world_test(test_net_monitor__shapers_that_go),
		world_test(test_net_monitor__birth_of_a_link_is_told_from_a_change),
		world_test(test_net_monitor__quiet_links_are_born_and_come_up_without_a_word),
		world_test(test_net_monitor__other_links_are_heard),
		world_test(test_net_monitor__sysctls_that_change),
		world_test(test_net_nft_watch__who_touched_the_table_last),
		world_test(test_net_nft_watch__changes_of_forwarding),
		world_test(test_net_monitor_read__nothing_there),
		world_test(test_net_monitor__leaving_a_bridge_is_not_gone),
		world_test(test_net_monitor_read__a_bounded_number_at_a_time),
		world_test(test_net_monitor_read__overflow_is_said_and_survived),
	};

	return cmocka_run_group_tests_name("net_monitor", tests, NULL, NULL);
}
