/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of bandwidth in the kernel: what `tc` shows of them, what they let through, and that they are put back. */
#include "ipamd/hostnet.h"

#include <inttypes.h>
#include <sys/wait.h>

#include <jansson.h>

#include "tests/net/flows.h"

#define HOST       "bth00000000001" /* the first pod's host end */
#define IFB        "bti00000000001"
#define PODS       8
#define TRIES      4 /* of a measurement: a machine that others load too gets through less in some of them */
#define MEGABIT    1000000U
#define MAX_OVER   1.05 /* of what was asked for */
#define MIN_OF     0.95
#define BUSY_SHARE 10 /* a machine that is idle for less than this part of the time is busy */

static struct hostnet *hostnet;

/* ---- the node ---- */

static void host_ifname(unsigned pod, char ret[static NET_IFNAME_SIZE])
{
	(void)snprintf(ret, NET_IFNAME_SIZE, "bth%011x", pod + 1);
}

static void pod_addr(unsigned pod, bool v6, bool of_pod, char ret[static 32])
{
	(void)snprintf(ret, 32, v6 ? "fd07:%x::%x" : "10.7.%u.%u", pod + 1, of_pod ? 2U : 1U);
}

static void address(const struct world *w, unsigned pod, bool of_pod, const char *link)
{
	struct net *net = of_pod ? w->b : w->a;
	struct net_link there;
	struct ipaddr addr;
	char text[32];

	must(net_link_by_name(net, link, &there, &err));
	must(net_link_set_up(net, there.index, true, &err));
	for (unsigned v6 = 0; v6 < 2; v6++) {
		pod_addr(pod, v6, of_pod, text);
		addr = addr_of(text);
		must(net_addr_add(net, there.index, &addr, v6 ? 64 : 24, NET_ADDR_NODAD, &err));
	}
}

/* Without routes of ours: what is measured here is the link. */
static void make_pod(const struct world *w, unsigned pod)
{
	char host[NET_IFNAME_SIZE], peer[NET_IFNAME_SIZE];
	const struct net_veth veth = {
		.name = host, .peer_name = peer, .peer_netns_fd = w->b_fd, .mtu = FLOW_MTU, .up = true
	};

	host_ifname(pod, host);
	(void)snprintf(peer, sizeof(peer), "net%u", pod);
	must(net_veth_add(w->a, &veth, &err));
	address(w, pod, false, host);
	address(w, pod, true, peer);
}

static int open_hostnet(void *arg, struct err *err)
{
	const struct hostnet_config config = { .mark_mask = 0x7e, .rule_priority = 10000, .table_base = 1000 };

	(void)arg;
	return hostnet_open(&config, &hostnet, err);
}

static int setup(void **state)
{
	struct world *w;

	if (world_setup(state) < 0)
		return -1;
	w = *state;
	must(netns_run(w->a_fd, open_hostnet, NULL, &err));
	make_pod(w, 0);
	return 0;
}

static int teardown(void **state)
{
	hostnet_close(hostnet);
	hostnet = NULL;
	return world_teardown(state);
}

static void shape(const char *link, uint64_t ingress, uint64_t egress)
{
	const struct bandwidth bandwidth = { .ingress_rate = ingress, .egress_rate = egress };

	must(hostnet_shape(hostnet, link, &bandwidth, &err));
}

/* ---- a sync ---- */

struct look {
	struct hostnet_pod pods[2];
	struct bandwidth bandwidth;
	struct hostnet_want want;
	struct hostnet_report report;
	unsigned orphans;
	char orphan[NET_IFNAME_SIZE];
};

static void see_orphan(const struct net_link *ifb, void *arg)
{
	struct look *look = arg;

	look->orphans++;
	(void)str_copy(look->orphan, sizeof(look->orphan), ifb->name);
}

static int do_look(void *arg, struct err *err)
{
	struct look *look = arg;

	return hostnet_sync(hostnet, &look->want, &look->report, err);
}

/* One pod of both families. Return: what had to be put back. */
static unsigned look_again(const struct world *w, uint64_t ingress, uint64_t egress, struct look *look)
{
	char text[32];

	*look = (struct look){ .bandwidth = { .ingress_rate = ingress, .egress_rate = egress } };
	for (unsigned v6 = 0; v6 < 2; v6++) {
		pod_addr(0, v6, true, text);
		look->pods[v6] =
			(struct hostnet_pod){ .addr = addr_of(text), .bound = true, .bandwidth = &look->bandwidth };
		(void)str_copy(look->pods[v6].host_ifname, sizeof(look->pods[v6].host_ifname), HOST);
	}
	look->want =
		(struct hostnet_want){ .pod_count = 2, .pods = look->pods, .orphan = see_orphan, .orphan_arg = look };
	must(netns_run(w->a_fd, do_look, look, &err));
	return look->report.added;
}

/* ---- what `tc` says ---- */

static void tc(const struct world *w, const char *words)
{
	free(world_run("tc", w->a_name, words));
}

static json_t *tc_list(const struct world *w, const char *words)
{
	_cleanup_free_ char *text = world_run("tc", w->a_name, words);
	json_t *list = json_loads(text, 0, NULL);

	assert_non_null(list);
	return list;
}

/* The root of @link, with its statistics. Return: owned by @list. */
static const json_t *root_of(const json_t *list, const char *link)
{
	const json_t *item;
	size_t i;

	json_array_foreach (list, i, item)
		if (str_equal(json_string_value(json_object_get(item, "dev")), link) &&
		    json_is_true(json_object_get(item, "root")))
			return item;
	fail_msg("%s has no root", link);
	return NULL;
}

static json_int_t number(const json_t *item, const char *key)
{
	return json_integer_value(json_object_get(item, key));
}

static json_int_t rate_of(const struct world *w, const char *link)
{
	json_auto_t *list = tc_list(w, "-j qdisc show");

	return number(json_object_get(root_of(list, link), "options"), "rate");
}

static bool is_whole(const struct world *w, uint64_t ingress, uint64_t egress)
{
	_cleanup_free_ char *filters = world_run("tc", w->a_name, "filter show dev " HOST " ingress"),
			    *link = world_ip(w->a_name, "link show " IFB);

	return rate_of(w, HOST) == (json_int_t)(ingress / 8) && rate_of(w, IFB) == (json_int_t)(egress / 8) &&
	       strstr(filters, "Egress Redirect to device " IFB) && strstr(link, ",UP");
}

static int find_root(const struct net_qdisc *qdisc, void *arg)
{
	struct net_qdisc *ret = arg;

	if (qdisc->index != ret->index || qdisc->ingress)
		return 0;
	*ret = *qdisc;
	return 1;
}

/* What we read of it is what `tc` reads of it: rate, bucket and queue, at rates beyond 32 bits too. */
static void test_net_tbf_set__as_tc_shows_it(void **state)
{
	static const struct net_tbf buckets[] = {
		{ 125, 1514, 150000 },                           /* a bucket that takes 12 s to fill */
		{ 125000, 3125, 150581 },                        /* 1 Mbit/s */
		{ 62500000, 1562500, 3125000 },                  /* 500 Mbit/s */
		{ UINT32_MAX - 1, 100000000, 200000000 },        /* 34.3 Gbit/s, the last rate of 32 bits */
		{ UINT32_MAX, 100000000, 200000000 },            /* the first one that needs 64 */
		{ 12500000000, 312500000, 625000000 },           /* 100 Gbit/s */
		{ 125000000000000, UINT32_MAX / 2, 4000000000 }, /* 1 Pbit/s */
	};
	const struct world *w = *state;
	struct net_qdisc qdisc;
	struct net_link link;

	must(net_link_by_name(w->a, HOST, &link, &err));
	for (size_t i = 0; i < ARRAY_SIZE(buckets); i++) {
		const struct net_tbf *want = &buckets[i];
		/* bytes: the kernel rounds to ns, and those to ticks of 64; `tc` to us */
		const double tick = 66e-9 * (double)want->rate + 1, us = tick + 1e-6 * (double)want->rate;
		json_auto_t *list = NULL;
		const json_t *options;

		must(net_tbf_set(w->a, link.index, want, &err));
		list = tc_list(w, "-s -j qdisc show");
		assert_string_equal(json_string_value(json_object_get(root_of(list, HOST), "kind")), "tbf");
		options = json_object_get(root_of(list, HOST), "options");
		assert_int_equal(number(options, "rate"), want->rate);
		assert_true(number(options, "burst") <= want->burst);
		assert_true((double)number(options, "burst") >= want->burst - us);
		qdisc = (struct net_qdisc){ .index = link.index };
		assert_int_equal(net_qdiscs(w->a, find_root, &qdisc, NULL), 1);
		assert_string_equal(qdisc.kind, "tbf");
		assert_true(qdisc.tbf.rate == want->rate);
		assert_true(qdisc.tbf.limit == want->limit);
		assert_true(qdisc.tbf.burst <= want->burst && (double)qdisc.tbf.burst >= want->burst - tick);
	}
}

static void test_hostnet_shape__twice_is_once(void **state)
{
	const struct world *w = *state;
	json_auto_t *filters = NULL;
	_cleanup_free_ char *link = NULL;

	shape(HOST, 10 * MEGABIT, 20 * MEGABIT);
	shape(HOST, 30 * MEGABIT, 40 * MEGABIT);
	assert_true(is_whole(w, 30 * MEGABIT, 40 * MEGABIT));
	filters = tc_list(w, "-j filter show dev " HOST " ingress");
	assert_int_equal(json_array_size(filters), 3); /* u32 shows one filter in three parts */
	link = world_ip(w->a_name, "-d addr show " IFB);
	assert_contains(link, "mtu 1500");
	assert_contains(link, "qlen 1000");
	assert_lacks(link, "inet6");
}

/* The pod's limit in one direction costs nothing in the other. */
static void test_hostnet_shape__one_direction(void **state)
{
	const struct world *w = *state;
	_cleanup_free_ char *links = NULL;

	shape(HOST, 10 * MEGABIT, 0);
	links = world_ip(w->a_name, "-o link show");
	assert_lacks(links, IFB);
	assert_int_equal(rate_of(w, HOST), 10 * MEGABIT / 8);
	tc(w, "qdisc del dev " HOST " root");
	shape(HOST, 0, 10 * MEGABIT);
	assert_int_equal(rate_of(w, IFB), 10 * MEGABIT / 8);
	assert_int_equal(rate_of(w, HOST), 0);
}

/* Who hangs there already is asked first, and stays. */
static void test_hostnet_shape__beside_filters_of_others(void **state)
{
	const struct world *w = *state;
	_cleanup_free_ char *filters = NULL;

	tc(w, "qdisc add dev " HOST " ingress");
	tc(w, "filter add dev " HOST " ingress prio 7 protocol ip u32 match u32 0x01020304 0xffffffff at 12 "
	      "action mirred egress redirect dev lo");
	shape(HOST, 0, 10 * MEGABIT);
	filters = world_run("tc", w->a_name, "filter show dev " HOST " ingress");
	assert_contains(filters, "pref 7 ");
	assert_contains(filters, "Egress Redirect to device " IFB);
	assert_true(strstr(filters, "pref 7 ") < strstr(filters, IFB));
}

static void test_hostnet_shape__name_is_taken(void **state)
{
	const struct bandwidth bandwidth = { .egress_rate = MEGABIT };
	const struct world *w = *state;
	struct err err;

	world_ip_do(w->a_name, "link add " IFB " type veth peer name other");
	must_fail(hostnet_shape(hostnet, HOST, &bandwidth, &err), err, ERR_CONFLICT);
	assert_contains(err.msg, IFB);
	must_fail(hostnet_shape(hostnet, "bth0000000dead", &bandwidth, &err), err, ERR_NOTFOUND);
}

/* ---- repair ---- */

static void test_hostnet_sync__leaves_what_is_right(void **state)
{
	const struct world *w = *state;
	json_auto_t *before = NULL, *after = NULL;
	struct look look;

	shape(HOST, 10 * MEGABIT, 20 * MEGABIT);
	(void)look_again(w, 10 * MEGABIT, 20 * MEGABIT, &look); /* routes and forwarding */
	before = tc_list(w, "-j qdisc show");
	assert_int_equal(look_again(w, 10 * MEGABIT, 20 * MEGABIT, &look), 0);
	assert_int_equal(look.orphans, 0);
	after = tc_list(w, "-j qdisc show");
	assert_true(json_equal(before, after)); /* handles too: nothing was made anew */
}

static void test_hostnet_sync__puts_limits_back(void **state)
{
	/* program and words */
	static const char *const harm[][2] = {
		{ "tc", "qdisc del dev " HOST " root" },
		{ "tc", "qdisc replace dev " HOST " root tbf rate 1gbit burst 1mb latency 25ms" },
		{ "tc", "qdisc replace dev " HOST " root pfifo limit 10" },
		{ "tc", "qdisc del dev " HOST " clsact" },
		{ "tc", "filter del dev " HOST " ingress" },
		{ "tc", "qdisc del dev " IFB " root" },
		{ "ip", "link set " IFB " down" },
		{ "ip", "link del " IFB },
	};
	const struct world *w = *state;
	struct look look;

	shape(HOST, 10 * MEGABIT, 20 * MEGABIT);
	(void)look_again(w, 10 * MEGABIT, 20 * MEGABIT, &look);
	for (size_t i = 0; i < ARRAY_SIZE(harm); i++) {
		free(world_run(harm[i][0], w->a_name, harm[i][1]));
		if (look_again(w, 10 * MEGABIT, 20 * MEGABIT, &look) == 0)
			fail_msg("not seen: %s", harm[i][1]);
		if (!is_whole(w, 10 * MEGABIT, 20 * MEGABIT))
			fail_msg("not repaired: %s", harm[i][1]);
		assert_int_equal(look_again(w, 10 * MEGABIT, 20 * MEGABIT, &look), 0);
	}
}

/* A pod that nobody limits, or that somebody else limits, is no business of ours. */
static void test_hostnet_sync__others_limits_stay(void **state)
{
	const struct world *w = *state;
	struct look look;

	tc(w, "qdisc add dev " HOST " root tbf rate 8mbit burst 10kb latency 25ms");
	world_ip_do(w->a_name, "link add bwp0123456789a type ifb");
	(void)look_again(w, 0, 0, &look);
	assert_int_equal(look_again(w, 0, 0, &look), 0);
	assert_int_equal(look.orphans, 0);
	assert_int_equal(rate_of(w, HOST), 1000000);
}

/* An ifb whose host end is there limits a pod that only the kernel knows. */
static void test_hostnet_sync__orphans(void **state)
{
	const struct world *w = *state;
	struct look look;

	shape(HOST, 0, 10 * MEGABIT);
	(void)look_again(w, 0, 0, &look);
	assert_int_equal(look.orphans, 0);
	world_ip_do(w->a_name, "link set " HOST " down");
	world_ip_do(w->a_name, "link set " HOST " name cali00000000001");
	(void)look_again(w, 0, 0, &look);
	assert_int_equal(look.orphans, 0);
	world_ip_do(w->a_name, "link del cali00000000001");
	(void)look_again(w, 0, 0, &look);
	assert_int_equal(look.orphans, 1);
	assert_string_equal(look.orphan, IFB);
}

/* ---- rates ---- */

struct measured {
	struct flow flow;
	char link[NET_IFNAME_SIZE]; /* whose root limits it */
	char to[32];
	double bytes;    /* per second, as asked for */
	json_int_t sent; /* bytes that it had let through */
	/* bytes per second that it lets through at least and at most: when `tc` looked is known to some ms */
	double least, most;
};

/* When `tc` was asked, and when it had answered. */
struct moment {
	int64_t from_us, to_us;
};

static double per_second(json_int_t bytes, int64_t us)
{
	return us > 0 ? (double)bytes * USEC_PER_SEC / (double)us : 0;
}

/* @since: of the count before; NULL: this is the first. */
static struct moment count(const struct world *w, struct measured *all, unsigned n, const struct moment *since)
{
	struct moment now = { .from_us = clock_now(&clock_boot) };
	json_auto_t *list = tc_list(w, "-s -j qdisc show");

	now.to_us = clock_now(&clock_boot);
	for (unsigned i = 0; i < n; i++) {
		json_int_t sent = number(root_of(list, all[i].link), "bytes");

		if (since) {
			all[i].least = per_second(sent - all[i].sent, now.to_us - since->from_us);
			all[i].most = per_second(sent - all[i].sent, now.from_us - since->to_us);
		}
		all[i].sent = sent;
	}
	return now;
}

/* Ticks that all processors together were idle, and all ticks of the first four columns. */
static void processor_time(uint64_t *ret_idle, uint64_t *ret_all)
{
	_cleanup_free_ char *text = NULL;
	uint64_t column[4] = { 0 }; /* user, nice, system, idle */
	char *save = NULL;

	assert_int_equal(fs_read("/proc/stat", 1 << 20, &text, NULL), 0);
	assert_string_equal(strtok_r(text, " ", &save), "cpu");
	*ret_all = 0;
	for (size_t i = 0; i < ARRAY_SIZE(column); i++) {
		assert_int_equal(str_u64(strtok_r(NULL, " ", &save), 0, UINT64_MAX, &column[i]), 0);
		*ret_all += column[i];
	}
	*ret_idle = column[3];
}

/* The bit of @i: family, protocol and direction, each on a pod of its own. */
static void plan(const struct world *w, unsigned i, int64_t window_us, struct measured *ret)
{
	const bool v6 = i & 1, tcp = i & 2, to_pod = i & 4;
	char host[NET_IFNAME_SIZE];

	host_ifname(i, host);
	if (to_pod)
		(void)str_copy(ret->link, sizeof(ret->link), host);
	else
		hostnet_shape_ifname(host, ret->link);
	pod_addr(i, v6, to_pod, ret->to);
	ret->flow = (struct flow){ .tcp = tcp,
				   .v6 = v6,
				   .from_fd = to_pod ? w->a_fd : w->b_fd,
				   .to_fd = to_pod ? w->b_fd : w->a_fd,
				   .port = 5001,
				   .window_us = window_us };
}

static bool is_never_above(const struct measured *m)
{
	const double most = m->bytes * MAX_OVER;

	return m->flow.first <= most && m->flow.steady <= most && m->least <= most;
}

static bool is_kept(const struct measured *m)
{
	/* At 1 Mbit/s the first GSO packets of TCP take longer than its first timeout: what it sends twice is no goodput. */
	const double least = m->flow.tcp && m->bytes < 1e6 ? 0.5 : MIN_OF;

	return is_never_above(m) && m->flow.steady >= m->bytes * least && m->most >= m->bytes * MIN_OF;
}

static void pass_until(int64_t until_us)
{
	int64_t now_us;

	while ((now_us = clock_now(&clock_boot)) < until_us)
		(void)poll(NULL, 0, (int)((until_us - now_us) / USEC_PER_MSEC) + 1);
}

/* All flows are at their limit from the end of the burst to the end of the window. */
static void measure(const struct world *w, struct measured *all, unsigned n)
{
	const int64_t since_us = clock_now(&clock_boot);
	struct moment first;

	for (unsigned i = 0; i < n; i++) {
		all[i].flow.to_addr = all[i].to;
		flow_start(&all[i].flow);
	}
	pass_until(since_us + FLOW_BURST_US);
	first = count(w, all, n, NULL);
	pass_until(since_us + all[0].flow.window_us);
	(void)count(w, all, n, &first);
	for (unsigned i = 0; i < n; i++)
		flow_join(&all[i].flow);
}

static void print(const struct measured *m)
{
	const double bytes = m->bytes;

	print_message("# %4.0f Mbit/s %s the pod, %s v%c: link %.3f-%.3f, received %.3f, first second %.3f\n",
		      bytes * 8 / MEGABIT, m->flow.from_fd > m->flow.to_fd ? "from" : "to  ",
		      m->flow.tcp ? "TCP" : "UDP", m->flow.v6 ? '6' : '4', m->least / bytes, m->most / bytes,
		      m->flow.steady / bytes, m->flow.first / bytes);
}

/* All of them, so many at once. Return: how many did not keep to the rate; those come first. *@ret_busy: the machine had no
 * time left, so that too little says nothing. */
static unsigned measure_all(const struct world *w, struct measured *all, unsigned n, unsigned at_once, bool *ret_busy)
{
	uint64_t idle[2], ticks[2];
	unsigned bad = 0;

	processor_time(&idle[0], &ticks[0]);
	for (unsigned i = 0; i < n; i += at_once)
		measure(w, &all[i], n - i < at_once ? n - i : at_once);
	processor_time(&idle[1], &ticks[1]);
	*ret_busy = (idle[1] - idle[0]) * BUSY_SHARE < ticks[1] - ticks[0];
	for (unsigned i = 0; i < n; i++) {
		print(&all[i]);
		if (!is_kept(&all[i]))
			all[bad++] = all[i];
	}
	return bad;
}

/* Those that were not kept are measured again, at once as before. */
static void keeps_rate(const struct world *w, uint64_t rate, unsigned at_once, int64_t window_us)
{
	struct measured all[PODS];
	unsigned left = PODS;
	bool busy = false;

	for (unsigned i = 0; i < PODS; i++) {
		char host[NET_IFNAME_SIZE];

		host_ifname(i, host);
		shape(host, rate, rate);
		plan(w, i, window_us, &all[i]);
		all[i].bytes = (double)rate / 8;
	}
	for (unsigned try = 0; try < TRIES && left > 0; try++)
		left = measure_all(w, all, left, at_once, &busy);
	for (unsigned i = 0; i < left; i++)
		if (!busy || !is_never_above(&all[i]))
			fail_msg("flow %u of %u did not keep to %" PRIu64 " bit/s", i, left, rate);
	if (left > 0)
		print_message("# the machine is busy: that %u flows do not exceed the rate is all that was seen\n",
			      left);
}

/* Both directions, families and protocols, with GSO of TCP and, of IPv6, of UDP. */
static void test_hostnet_shape__rates_are_kept(void **state)
{
	const struct world *w = *state;

	for (unsigned i = 1; i < PODS; i++)
		make_pod(w, i);
	keeps_rate(w, 1 * MEGABIT, PODS, 2 * USEC_PER_SEC);
	keeps_rate(w, 10 * MEGABIT, PODS, 2 * USEC_PER_SEC);
	keeps_rate(w, 100 * MEGABIT, PODS / 2, USEC_PER_SEC);
	keeps_rate(w, 500 * MEGABIT, 2, USEC_PER_SEC);
}

#define bandwidth_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		bandwidth_test(test_net_tbf_set__as_tc_shows_it),
		bandwidth_test(test_hostnet_shape__twice_is_once),
		bandwidth_test(test_hostnet_shape__one_direction),
		bandwidth_test(test_hostnet_shape__beside_filters_of_others),
		bandwidth_test(test_hostnet_shape__name_is_taken),
		bandwidth_test(test_hostnet_sync__leaves_what_is_right),
		bandwidth_test(test_hostnet_sync__puts_limits_back),
		bandwidth_test(test_hostnet_sync__others_limits_stay),
		bandwidth_test(test_hostnet_sync__orphans),
		bandwidth_test(test_hostnet_shape__rates_are_kept),
	};

	return cmocka_run_group_tests_name("bandwidth", tests, NULL, NULL);
}
