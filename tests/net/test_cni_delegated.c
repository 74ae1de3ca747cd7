/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses for the plugins of others: ptp and macvlan of the reference set as main plugin, berth as their IPAM, the whole
 * daemon behind it. What these plugins are, and not what we think of them, decides whether our answers are right.
 */
#include "tests/net/ipamd_world.h"
#include "tests/net/plugin_run.h"

#include <arpa/inet.h>

#define PLUGINS   "/usr/lib/cni" /* containernetworking-plugins */
#define CONTAINER "3f00aa"
#define PORT      7777
#define CONF_SIZE 16384
#define SANDBOX   "/run/netns/"
#define TRIES     50 /* of 20 ms: a veth needs a moment until its carrier is up */

struct pod {
	char name[64];
	char path[128];
	int fd;
};

static void pod_make(struct pod *pod)
{
	(void)snprintf(pod->name, sizeof(pod->name), "berth-ipam-%d", (int)getpid());
	(void)snprintf(pod->path, sizeof(pod->path), SANDBOX "%s", pod->name);
	pod->fd = -1;
	(void)netns_del(pod->name, NULL);
	must(netns_add(pod->name, &err));
	must(netns_open(pod->path, &pod->fd, &err));
}

static void pod_done(struct pod *pod)
{
	if (pod->fd >= 0)
		(void)close(pod->fd);
	if (pod->name[0])
		(void)netns_del(pod->name, NULL);
}
#define _cleanup_pod_ _cleanup_(pod_done)

struct call {
	const char *program; /* path */
	const char *command, *container, *netns, *conf;
};

static struct output run_plugin(const struct call *call)
{
	char command[64], container[128], netns[256], path[512], ifname[] = "CNI_IFNAME=eth0";
	char leaks[] = "ASAN_OPTIONS=detect_leaks=1", bin[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	char *env[] = { command, container, netns, ifname, path, leaks, bin, NULL };
	int in_fd = temp_fd(call->conf), out_fd = temp_fd(""), err_fd = temp_fd("");
	struct output output = { 0 };

	(void)snprintf(command, sizeof(command), "CNI_COMMAND=%s", call->command);
	(void)snprintf(container, sizeof(container), "CNI_CONTAINERID=%s",
		       call->container ? call->container : CONTAINER);
	(void)snprintf(netns, sizeof(netns), "CNI_NETNS=%s", call->netns ? call->netns : "");
	(void)snprintf(path, sizeof(path), "CNI_PATH=" PLUGINS ":%s", build_dir());
	output.status = spawn_and_wait(call->program, env, in_fd, out_fd, err_fd);
	(void)close(in_fd);
	output.out = read_back(out_fd);
	output.err = read_back(err_fd);
	output.json = json_loads(output.out, 0, NULL);
	return output;
}

static const char *berth_path(char path[static 512])
{
	return check_path(path, 512, build_dir(), "berth");
}

/* The configuration of a main plugin, @more: ",\"key\":value" before "ipam". */
static const char *conf_of(struct world *w, const char *type, const char *more, char conf[static CONF_SIZE])
{
	(void)snprintf(conf, CONF_SIZE,
		       "{\"cniVersion\":\"1.0.0\",\"name\":\"berth\",\"type\":\"%s\"%s,"
		       "\"ipam\":{\"type\":\"berth\",\"socket\":\"%s\",\"timeoutMs\":5000}}",
		       type, more, w->socket);
	return conf;
}

static void up(struct world *w, const char *have)
{
	make_cloud(w, 4, have);
	start(w);
	until(has_conflist(w));
}

/* ---- what the pod and the host see of each other ---- */

struct echo {
	int fd; /* a socket of the pod's namespace */
};

static int open_echo(void *arg, struct err *err)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct echo *echo = arg;

	echo->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (echo->fd < 0 || bind(echo->fd, (struct sockaddr *)&any, sizeof(any)) < 0)
		return err_set_errno(err, ERR_RETRY, "test", errno, "echo");
	return 0;
}

static bool wait_for_packet(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 20) == 1;
}

/* Host to pod and back, as a kubelet's probe goes. */
static bool reaches(const struct pod *pod, const char *address)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT) }, from;
	int host = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(from);
	struct echo echo = { -1 };
	bool came = false;
	char text[16];

	assert_true(host >= 0);
	must(netns_run(pod->fd, open_echo, &echo, &err));
	assert_int_equal(inet_pton(AF_INET, address, &to.sin_addr), 1);
	for (int i = 0; i < TRIES && !came; i++) {
		if (sendto(host, "ping", 4, 0, (struct sockaddr *)&to, sizeof(to)) != 4 || !wait_for_packet(echo.fd)) {
			(void)poll(NULL, 0, LOOK_MS);
			continue;
		}
		size = sizeof(from);
		if (recvfrom(echo.fd, text, sizeof(text), 0, (struct sockaddr *)&from, &size) == 4 &&
		    sendto(echo.fd, "pong", 4, 0, (struct sockaddr *)&from, size) == 4)
			came = wait_for_packet(host);
	}
	(void)close(echo.fd);
	(void)close(host);
	return came;
}

struct find {
	const char *dst;
	enum net_route_type type;
	bool found;
};

static int find_route(const struct net_route *route, void *arg)
{
	struct find *find = arg;
	struct prefix dst;

	assert_int_equal(prefix_parse(find->dst, &dst), 0);
	find->found = find->found || (prefix_cmp(&route->dst, &dst) == 0 && route->type == find->type &&
				      route->protocol == BERTH_RTPROT);
	return 0;
}

/* Is that route of ours in table local? */
static bool has_route(const char *address, enum net_route_type type)
{
	_cleanup_net_ struct net *net = NULL;
	struct find find = { address, type, false };

	must(net_open(&net, &err));
	must(net_routes(net, strchr(address, ':') ? IP_V6 : IP_V4, NET_TABLE_LOCAL, find_route, &find, &err));
	return find.found;
}

static const char *address_of(const struct output *output, char address[static 32])
{
	const json_t *ip = json_array_get(json_object_get(output->json, "ips"), 0);

	(void)str_copy(address, 32, json_string_value(json_object_get(ip, "address")));
	address[strcspn(address, "/")] = '\0';
	return address;
}

static void must_run(const struct call *call, struct output *ret)
{
	*ret = run_plugin(call);
	if (ret->status != 0)
		fail_msg("%s: %s %s", call->command, ret->out, ret->err);
}

/* ---- ptp ---- */

static void check_ptp_result(const struct output *output)
{
	const json_t *ip = json_array_get(json_object_get(output->json, "ips"), 0);

	assert_int_equal(json_array_size(json_object_get(output->json, "ips")), 1);
	assert_non_null(strstr(json_string_value(json_object_get(ip, "address")), "/24"));
	assert_string_equal(json_string_value(json_object_get(ip, "gateway")), NODE_PRIMARY);
}

static void test_delegated__ptp(void **state)
{
	_cleanup_output_ struct output add = { 0 }, check = { 0 }, del = { 0 }, again = { 0 };
	_cleanup_pod_ struct pod pod = { .fd = -1 };
	struct world *w = *state;
	char conf[CONF_SIZE], with_prev[CONF_SIZE], more[CONF_SIZE / 2], address[32];
	struct call call = { .program = PLUGINS "/ptp", .command = "ADD", .conf = conf };

	if (!have_plugin(call.program))
		return;
	up(w, FOUR);
	pod_make(&pod);
	call.netns = pod.path;
	(void)conf_of(w, "ptp", "", conf);
	must_run(&call, &add);
	check_ptp_result(&add);
	(void)address_of(&add, address);
	assert_int_equal(count_of(w, "leased"), 1);
	assert_true(has_route(address, NET_ROUTE_THROW));
	assert_true(reaches(&pod, address));
	/* A daemon that starts anew puts the kernel right: the way past the cover is part of that. */
	stop(w);
	start(w);
	until(count_of(w, "leased") == 1);
	until(has_route(address, NET_ROUTE_THROW) && !has_route(address, NET_ROUTE_UNREACHABLE));
	assert_true(reaches(&pod, address));
	(void)snprintf(more, sizeof(more), ",\"prevResult\":%s", add.out);
	call.command = "CHECK";
	call.conf = conf_of(w, "ptp", more, with_prev);
	must_run(&call, &check);
	call.command = "DEL";
	must_run(&call, &del);
	assert_int_equal(count_of(w, "leased"), 0);
	assert_true(has_route(address, NET_ROUTE_UNREACHABLE));
	assert_false(has_route(address, NET_ROUTE_THROW));
	must_run(&call, &again);
}

/* The address of a block that is larger than it: the cover stays, and more special is the way past it. */
static void test_delegated__lost_route_is_put_back(void **state)
{
	_cleanup_output_ struct output add = { 0 };
	_cleanup_net_ struct net *net = NULL;
	struct world *w = *state;
	struct net_route route = { .type = NET_ROUTE_THROW, .table = NET_TABLE_LOCAL, .protocol = BERTH_RTPROT };
	char conf[CONF_SIZE], program[512], address[32];
	const struct call call = {
		.program = berth_path(program), .command = "ADD", .netns = SANDBOX "berth-no-such", .conf = conf
	};

	up(w, ONE);
	(void)conf_of(w, "moon", "", conf);
	must_run(&call, &add);
	(void)address_of(&add, address);
	assert_int_equal(prefix_parse(address, &route.dst), 0);
	must(net_open(&net, &err));
	must(net_route_del(net, &route, &err));
	assert_false(has_route(address, NET_ROUTE_THROW));
	until(has_route(address, NET_ROUTE_THROW));
}

/* Both families, below a cover that is larger than the address: it goes as it came, and a sync finds nothing to do. */
static void test_hostnet_delegated__in_ranges(void **state)
{
	static const char *const texts[IP_FAMILIES] = { "10.0.1.17", "2001:db8:0:1::17" };
	const struct hostnet_config config = { .mark_mask = 0xf0, .rule_priority = 1000, .table_base = 1000 };
	struct prefix blocks[IP_FAMILIES];
	struct ipaddr addrs[IP_FAMILIES];
	struct hostnet_pod pods[IP_FAMILIES] = { 0 };
	struct hostnet_want want = {
		.blocks = blocks, .block_count = IP_FAMILIES, .pods = pods, .pod_count = IP_FAMILIES
	};
	struct hostnet_report report;
	struct hostnet *hostnet = NULL;

	(void)state;
	assert_int_equal(prefix_parse("10.0.1.16/28", &blocks[0]), 0);
	assert_int_equal(prefix_parse("2001:db8:0:1::/80", &blocks[1]), 0);
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		assert_int_equal(ipaddr_parse(texts[i], &addrs[i]), 0);
		pods[i] = (struct hostnet_pod){ .addr = addrs[i], .bound = true, .delegated = true };
	}
	must(hostnet_open(&config, &hostnet, &err));
	want.pod_count = 0;
	must(hostnet_sync(hostnet, &want, &report, &err));
	must(hostnet_delegated_up(hostnet, addrs, &err));
	assert_true(has_route("10.0.1.17/32", NET_ROUTE_THROW));
	assert_true(has_route("2001:db8:0:1::17/128", NET_ROUTE_THROW));
	want.pod_count = IP_FAMILIES;
	must(hostnet_sync(hostnet, &want, &report, &err));
	assert_int_equal(report.added + report.removed + report.pods_without_link, 0);
	must(hostnet_delegated_down(hostnet, addrs, blocks, &err));
	assert_false(has_route("10.0.1.17/32", NET_ROUTE_THROW));
	assert_false(has_route("2001:db8:0:1::17/128", NET_ROUTE_THROW));
	assert_true(has_route("10.0.1.16/28", NET_ROUTE_UNREACHABLE));
	assert_true(has_route("2001:db8:0:1::/80", NET_ROUTE_UNREACHABLE));
	want.pod_count = 0;
	must(hostnet_sync(hostnet, &want, &report, &err));
	assert_int_equal(report.added + report.removed, 0);
	/* What a DEL could not take away is not there for ever. */
	must(hostnet_delegated_up(hostnet, addrs, &err));
	must(hostnet_sync(hostnet, &want, &report, &err));
	assert_int_equal(report.removed, 2);
	hostnet_close(hostnet);
}

/* ---- macvlan ---- */

static void test_delegated__macvlan(void **state)
{
	_cleanup_output_ struct output add = { 0 }, del = { 0 };
	_cleanup_pod_ struct pod pod = { .fd = -1 };
	struct world *w = *state;
	const json_t *ip, *route;
	char conf[CONF_SIZE];
	struct call call = { .program = PLUGINS "/macvlan", .command = "ADD", .conf = conf };

	if (!have_plugin(call.program))
		return;
	up(w, FOUR);
	pod_make(&pod);
	call.netns = pod.path;
	(void)conf_of(w, "macvlan", ",\"master\":\"eth0\",\"mode\":\"bridge\"", conf);
	add = run_plugin(&call);
	if (add.status != 0 && output_says(&add, "not supported")) {
		print_message("# no macvlan in this kernel: %s\n", add.out);
		return;
	}
	if (add.status != 0)
		fail_msg("%s %s", add.out, add.err);
	ip = json_array_get(json_object_get(add.json, "ips"), 0);
	route = json_array_get(json_object_get(add.json, "routes"), 0);
	assert_non_null(strstr(json_string_value(json_object_get(ip, "address")), "/24"));
	assert_string_equal(json_string_value(json_object_get(ip, "gateway")), "10.0.1.1");
	assert_string_equal(json_string_value(json_object_get(route, "dst")), "0.0.0.0/0");
	call.command = "DEL";
	must_run(&call, &del);
	assert_int_equal(count_of(w, "leased"), 0);
}

/* ---- Cilium ---- */

/* cilium-cni 1.16 with --ipam=delegated-plugin: what it writes, and what it hands on to the IPAM plugin as it is. */
static void test_delegated__cilium(void **state)
{
	static const char recorded[] = "{\"cniVersion\":\"0.3.1\",\"name\":\"cilium\",\"type\":\"cilium-cni\","
				       "\"enable-debug\":false,\"log-file\":\"/var/run/cilium/cilium-cni.log\","
				       "\"ipam\":{\"type\":\"berth\",\"socket\":\"%s\"}}";
	_cleanup_output_ struct output add = { 0 }, again = { 0 }, del = { 0 };
	struct world *w = *state;
	char conf[CONF_SIZE], program[512], first[32], second[32];
	struct call call = { .program = berth_path(program), .command = "ADD", .netns = SANDBOX "x", .conf = conf };
	const json_t *ip;

	up(w, FOUR);
	(void)snprintf(conf, sizeof(conf), recorded, w->socket);
	must_run(&call, &add);
	assert_string_equal(json_string_value(json_object_get(add.json, "cniVersion")), "0.3.1");
	assert_null(json_object_get(add.json, "interfaces"));
	ip = json_array_get(json_object_get(add.json, "ips"), 0);
	assert_string_equal(json_string_value(json_object_get(ip, "version")), "4");
	assert_null(json_object_get(ip, "interface"));
	/* Once more after a crash of the main plugin: the same address. */
	must_run(&call, &again);
	assert_string_equal(address_of(&add, first), address_of(&again, second));
	call.command = "DEL";
	must_run(&call, &del);
	assert_string_equal(del.out, "");
	assert_int_equal(count_of(w, "leased"), 0);
}

/* ---- the other verbs ---- */

static void test_delegated__check(void **state)
{
	_cleanup_output_ struct output add = { 0 }, good = { 0 }, bare = { 0 }, other = { 0 }, gone = { 0 };
	struct world *w = *state;
	char conf[CONF_SIZE], more[CONF_SIZE / 2], program[512];
	struct call call = { .program = berth_path(program), .command = "ADD", .netns = SANDBOX "x", .conf = conf };

	up(w, FOUR);
	(void)conf_of(w, "moon", "", conf);
	must_run(&call, &add);
	call.command = "CHECK";
	bare = run_plugin(&call);
	assert_int_equal(json_integer_value(json_object_get(bare.json, "code")), 7);
	(void)snprintf(more, sizeof(more), ",\"prevResult\":%s", add.out);
	(void)conf_of(w, "moon", more, conf);
	must_run(&call, &good);
	(void)conf_of(w, "moon", ",\"prevResult\":{\"ips\":[{\"address\":\"10.0.1.99/24\"}]}", conf);
	other = run_plugin(&call);
	assert_int_equal(json_integer_value(json_object_get(other.json, "code")), 103);
	del(w, CONTAINER);
	(void)conf_of(w, "moon", more, conf);
	gone = run_plugin(&call);
	assert_int_equal(json_integer_value(json_object_get(gone.json, "code")), 3);
}

static void test_delegated__routes_and_gateway_as_configured(void **state)
{
	_cleanup_output_ struct output output = { 0 };
	struct world *w = *state;
	char conf[CONF_SIZE], program[512];
	const struct call call = {
		.program = berth_path(program), .command = "ADD", .netns = SANDBOX "x", .conf = conf
	};
	const json_t *ip;

	up(w, FOUR);
	(void)snprintf(conf, sizeof(conf),
		       "{\"cniVersion\":\"1.1.0\",\"name\":\"berth\",\"type\":\"ipvlan\",\"ipam\":{\"type\":\"berth\","
		       "\"socket\":\"%s\",\"gateway\":\"node\",\"routes\":[{\"dst\":\"10.0.0.0/8\"}]}}",
		       w->socket);
	must_run(&call, &output);
	ip = json_array_get(json_object_get(output.json, "ips"), 0);
	assert_string_equal(json_string_value(json_object_get(ip, "gateway")), NODE_PRIMARY);
	assert_int_equal(json_array_size(json_object_get(output.json, "routes")), 1);
	assert_true(output_says(&output, "10.0.0.0/8"));
}

static void test_delegated__at_the_same_time__cni_d1_12(void **state)
{
	struct world *w = *state;
	char conf[CONF_SIZE], program[512], seen[4][32];
	struct call calls[4];
	pid_t pids[4];
	int outs[4];

	up(w, FOUR);
	(void)conf_of(w, "moon", "", conf);
	(void)berth_path(program);
	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		outs[i] = temp_fd("");
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0) {
			static char container[32];

			(void)snprintf(container, sizeof(container), "c%u", i);
			calls[i] = (struct call){ .program = program,
						  .command = "ADD",
						  .container = container,
						  .netns = SANDBOX "x",
						  .conf = conf };
			struct output output = run_plugin(&calls[i]);

			_exit(output.status != 0 ||
			      (output.out && fs_write_all(outs[i], output.out, strlen(output.out)) < 0));
		}
	}
	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		struct output output = { 0 };

		assert_int_equal(wait_for(pids[i]), 0);
		output.out = read_back(outs[i]);
		output.json = json_loads(output.out, 0, NULL);
		(void)address_of(&output, seen[i]);
		output_done(&output);
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(seen[i], seen[j]);
	}
	assert_int_equal(count_of(w, "leased"), 4);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		world_test(test_delegated__ptp),
		world_test(test_delegated__lost_route_is_put_back),
		world_test(test_hostnet_delegated__in_ranges),
		world_test(test_delegated__macvlan),
		world_test(test_delegated__cilium),
		world_test(test_delegated__check),
		world_test(test_delegated__routes_and_gateway_as_configured),
		world_test(test_delegated__at_the_same_time__cni_d1_12),
	};

	return cmocka_run_group_tests(tests, world_group_setup, NULL);
}
