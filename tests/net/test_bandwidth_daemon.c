/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of bandwidth over a pod's life: asked for by an ADD, there when it is confirmed, kept by the daemon, gone with the pod. */
#include "tests/net/ipamd_world.h"

#include "tests/net/said.h"

#define CONTAINER "3f00aa"
#define BACK_US   USEC_PER_SEC       /* until what others removed is there again */
#define GONE_US   (5 * USEC_PER_SEC) /* until nothing of a pod is left */
#define QUIET_MS  300                /* the daemon looks 200 ms after an event */
#define NAMED     "cali0123456789a"
#define OTHERS    20 /* pods that end together: a link takes 14 to 60 ms */

static const struct bandwidth limits = {
	/* what containerd makes of an annotation: 2^32 - 1 bits of burst */
	.ingress_rate = 10000000,
	.ingress_burst = UINT32_MAX,
	.egress_rate = 20000000,
	.egress_burst = UINT32_MAX,
};

static void run(const char *words)
{
	free(said(words));
}

struct names {
	char host[LEASE_IFNAME_SIZE], ifb[LEASE_IFNAME_SIZE];
};

static struct names names_of(const char *container)
{
	const struct proto_request request = request_of(PROTO_DEL, container);
	struct names names;

	proto_host_ifname(&request.key, names.host);
	hostnet_shape_ifname(names.host, names.ifb);
	return names;
}

static void up(struct world *w)
{
	make_cloud(w, 4, FOUR);
	start(w);
	until(has_conflist(w));
}

/* What the plugin does before its CONFIRM. */
static void wire(const char *container, const char *named, const struct bandwidth *bandwidth, struct world *w)
{
	struct proto_request request = request_of(PROTO_ADD, container);
	_cleanup_reply_ struct proto_reply reply;
	char text[PREFIX_STRLEN], words[128];

	request.runtime.bandwidth = *bandwidth;
	(void)str_copy(request.host_ifname, sizeof(request.host_ifname), named);
	send_request(w, &request, &reply);
	assert_true(reply.ok);
	if (!*named) {
		make_pod(&request.key, prefix_str(&reply.addresses[0].address, text));
		return;
	}
	(void)snprintf(words, sizeof(words), "ip link add %s up type veth peer name pod", named);
	run(words);
}

static bool has_rate(const char *link, const char *rate)
{
	char words[64], part[64];

	if (!has_link(link))
		return false;
	(void)snprintf(words, sizeof(words), "tc qdisc show dev %s root", link);
	(void)snprintf(part, sizeof(part), " rate %s burst ", rate);
	return says(words, "qdisc tbf") && says(words, part);
}

static bool is_redirected(const char *link, const char *to)
{
	char words[64], part[64];

	(void)snprintf(words, sizeof(words), "tc filter show dev %s ingress", link);
	(void)snprintf(part, sizeof(part), "Egress Redirect to device %s)", to);
	return says(words, part);
}

static bool is_limited(const struct names *names)
{
	return has_rate(names->host, "10Mbit") && has_rate(names->ifb, "20Mbit") &&
	       is_redirected(names->host, names->ifb);
}

static void is_gone_soon(const struct names *names)
{
	int64_t end_us = clock_now(&clock_boot) + GONE_US;

	while (has_link(names->host) || has_link(names->ifb)) {
		if (clock_now(&clock_boot) > end_us)
			fail_msg("%s or %s stays", names->host, names->ifb);
		(void)poll(NULL, 0, LOOK_MS);
	}
}

static void limit_pod(struct world *w, const char *container)
{
	wire(container, "", &limits, w);
	must_call(w, PROTO_CONFIRM, container);
}

static void test_confirm__limits_are_there(void **state)
{
	const struct names names = names_of(CONTAINER);
	struct world *w = *state;

	up(w);
	limit_pod(w, CONTAINER);
	assert_true(is_limited(&names));
	assert_true(says("tc qdisc show", "burst 31250b")); /* 25 ms of 10 Mbit/s, whatever the runtime said */
	must_call(w, PROTO_CHECK, CONTAINER);
	del(w, CONTAINER);
	is_gone_soon(&names);
	assert_false(says("tc qdisc show", "tbf"));
}

static bool check_says(struct world *w, const char *missing)
{
	_cleanup_reply_ struct proto_reply reply;

	call(w, PROTO_CHECK, CONTAINER, &reply);
	assert_true(reply.ok);
	return str_equal(reply.missing, missing);
}

static void slow_down(const char *link)
{
	char words[128];

	(void)snprintf(words, sizeof(words), "tc qdisc change dev %s root tbf rate 1mbit burst 10k latency 50ms", link);
	run(words);
}

/* A look that was due anyway may put it right at once; after that it is the sweep's, of every minute. */
static bool is_told(struct world *w, const char *link, const char *missing)
{
	slow_down(link);
	return check_says(w, missing);
}

/* A rate that somebody changed is not announced: until the sweep finds it CHECK tells. */
static void test_check__names_what_is_not_limited(void **state)
{
	const struct names names = names_of(CONTAINER);
	struct world *w = *state;
	char in[80], out[80];

	up(w);
	limit_pod(w, CONTAINER);
	assert_true(check_says(w, ""));
	(void)snprintf(in, sizeof(in), "%s does not limit what goes to the pod", names.host);
	until(is_told(w, names.host, in));
	del(w, CONTAINER);
	is_gone_soon(&names);
	limit_pod(w, CONTAINER);
	(void)snprintf(out, sizeof(out), "%s does not limit what comes from the pod", names.host);
	until(is_told(w, names.ifb, out));
}

static void test_confirm__without_limits(void **state)
{
	static const struct bandwidth none;
	const struct names names = names_of(CONTAINER);
	struct world *w = *state;

	up(w);
	wire(CONTAINER, "", &none, w);
	must_call(w, PROTO_CONFIRM, CONTAINER);
	assert_true(has_link(names.host));
	assert_false(has_link(names.ifb));
	assert_false(says("tc qdisc show", "tbf"));
	assert_false(says("tc qdisc show", "clsact"));
}

/* The pod does not run without its limits, and its plugin hears why. */
static void test_confirm__cannot_be_limited(void **state)
{
	const struct names names = names_of(CONTAINER);
	_cleanup_reply_ struct proto_reply reply;
	struct world *w = *state;
	char words[128];

	up(w);
	(void)snprintf(words, sizeof(words), "ip link add %s type veth peer name other", names.ifb);
	run(words);
	wire(CONTAINER, "", &limits, w);
	call(w, PROTO_CONFIRM, CONTAINER, &reply);
	assert_false(reply.ok);
	if (!strstr(reply.error.msg, "limit the bandwidth of") || !strstr(reply.error.msg, names.ifb))
		fail_msg("%s", reply.error.msg);
	del(w, CONTAINER);
	until(!has_link(names.host));
	assert_true(has_link(names.ifb)); /* that one is not ours */
	assert_not_found(w, PROTO_CHECK, CONTAINER);
}

static void test_restart__limits_stay_as_they_are(void **state)
{
	const struct names names = names_of(CONTAINER);
	_cleanup_free_ char *before = NULL, *after = NULL;
	struct world *w = *state;

	up(w);
	limit_pod(w, CONTAINER);
	before = said("tc -j qdisc show");
	stop(w);
	start(w);
	until(count_of(w, "leased") == 1);
	after = said("tc -j qdisc show");
	assert_string_equal(before, after);
	assert_true(is_limited(&names));
}

/* @before and @after: what is done to @link. */
static void comes_back(const struct names *names, const char *before, const char *link, const char *after)
{
	int64_t since_us;
	char words[128];

	(void)snprintf(words, sizeof(words), "%s %s %s", before, link, after);
	/* else the look that the last repair brought about would see this too */
	(void)poll(NULL, 0, QUIET_MS);
	since_us = clock_now(&clock_boot);
	run(words);
	while (!is_limited(names)) {
		if (clock_now(&clock_boot) > since_us + BACK_US)
			fail_msg("not undone: %s", words);
		(void)poll(NULL, 0, LOOK_MS);
	}
}

/* Without IPv6, whose routes go with a link and would tell of it. */
static void test_repair__within_a_second(void **state)
{
	const struct names names = names_of(CONTAINER);
	struct world *w = *state;

	run("sysctl -q -w net.ipv6.conf.default.disable_ipv6=1");
	up(w);
	limit_pod(w, CONTAINER);
	stop(w);
	start(w); /* what is repaired is known from the store */
	until(count_of(w, "leased") == 1);
	comes_back(&names, "tc qdisc del dev", names.host, "root");
	comes_back(&names, "tc qdisc del dev", names.host, "clsact");
	comes_back(&names, "tc filter del dev", names.host, "ingress");
	comes_back(&names, "tc qdisc replace dev", names.ifb, "root pfifo limit 7");
	comes_back(&names, "ip link set", names.ifb, "down");
	comes_back(&names, "ip link del", names.ifb, "");
}

/* A plugin that finds no daemon deletes what it knows of: the host end. */
static void test_sweep__ifb_whose_host_end_is_gone(void **state)
{
	const struct names names = names_of(CONTAINER);
	struct world *w = *state;
	char words[128];

	up(w);
	limit_pod(w, CONTAINER);
	stop(w);
	(void)snprintf(words, sizeof(words), "ip link del %s", names.host);
	run(words);
	assert_true(has_link(names.ifb));
	start(w);
	is_gone_soon(&names);
}

/* So does a runtime that takes the namespace away first. */
static void test_del__host_end_that_is_gone(void **state)
{
	const struct names names = names_of(CONTAINER);
	struct world *w = *state;
	char words[128];

	up(w);
	limit_pod(w, CONTAINER);
	(void)snprintf(words, sizeof(words), "ip link del %s", names.host);
	run(words);
	del(w, CONTAINER);
	is_gone_soon(&names);
}

/* Host ends that were asked for are told by their name at the moment of the DEL. */
static void test_del__named_host_end(void **state)
{
	const struct names names = { .host = NAMED, .ifb = "bti0123456789a" };
	struct world *w = *state;

	up(w);
	wire(CONTAINER, NAMED, &limits, w);
	must_call(w, PROTO_CONFIRM, CONTAINER);
	assert_true(is_limited(&names));
	del(w, CONTAINER);
	is_gone_soon(&names);
	/* the next sandbox of the same pod came before the DEL of the last one */
	wire(CONTAINER, NAMED, &limits, w);
	must_call(w, PROTO_CONFIRM, CONTAINER);
	run("ip link del " NAMED);
	wire("3f00bb", NAMED, &limits, w);
	must_call(w, PROTO_CONFIRM, "3f00bb");
	del(w, CONTAINER);
	assert_true(is_limited(&names));
	del(w, "3f00bb");
	is_gone_soon(&names);
}

static int index_of(const char *name)
{
	_cleanup_net_ struct net *net = NULL;
	struct net_link link;

	must(net_open(&net, &err));
	must(net_link_by_name(net, name, &link, &err));
	return link.index;
}

/* The ifb that its predecessor left is on its way out, behind the links of others: it carries no limit of the new one. */
static void test_del__and_add_of_the_same_at_once(void **state)
{
	static const char deleted[] = "berth_jobs_total{op=\"linkdel\",result=\"ok\"}";
	const struct names names = names_of(CONTAINER);
	struct world *w = *state;
	char other[OTHERS][16], words[128];
	int ifb;

	(void)str_copy(w->config.metrics_address, sizeof(w->config.metrics_address), "127.0.0.1:9479");
	make_cloud(w, OTHERS + 1, NONE);
	start(w);
	for (unsigned i = 0; i < OTHERS; i++) {
		char text[PREFIX_STRLEN];

		(void)snprintf(other[i], sizeof(other[i]), "other%u", i);
		(void)add(w, other[i], text);
		(void)snprintf(words, sizeof(words), "ip link add %s type veth peer name p%u", names_of(other[i]).host,
			       i);
		run(words);
	}
	limit_pod(w, CONTAINER);
	for (unsigned i = 0; i < OTHERS; i++)
		del(w, other[i]);
	del(w, CONTAINER);
	(void)snprintf(words, sizeof(words), "ip link del %s", names.host); /* as the plugin does */
	run(words);
	limit_pod(w, CONTAINER);
	ifb = index_of(names.ifb);
	until(sample_of(deleted) >= OTHERS + 2);
	assert_int_equal(index_of(names.ifb), ifb);
	assert_true(is_limited(&names));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_confirm__limits_are_there),
		world_test(test_check__names_what_is_not_limited),
		world_test(test_confirm__without_limits),
		world_test(test_confirm__cannot_be_limited),
		world_test(test_restart__limits_stay_as_they_are),
		world_test(test_repair__within_a_second),
		world_test(test_sweep__ifb_whose_host_end_is_gone),
		world_test(test_del__host_end_that_is_gone),
		world_test(test_del__named_host_end),
		world_test(test_del__and_add_of_the_same_at_once),
	};

	return cmocka_run_group_tests_name("bandwidth_daemon", tests, world_group_setup, NULL);
}
