/* SPDX-License-Identifier: Apache-2.0 */
/* D11: the reference plugins behind ours, in a list as libcni runs it. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "tests/net/plugin_world.h"
#include "tests/net/said.h"

#define PLUGINS   "/usr/lib/cni/" /* containernetworking-plugins */
#define STEPS_MAX 4
#define NODE_ADDR "192.0.2.1"
#define FAR_ADDR  "192.0.2.2" /* outside the node */
#define HOST_PORT 8080
#define POD_PORT  80
#define TRY_MS    300
#define PASS_US   (10 * USEC_PER_SEC) /* a flow that shall pass, with new tries */
#define FLOOD_US  (500 * USEC_PER_MSEC)
#define DATAGRAM  1000U    /* bytes */
#define INGRESS   8000000U /* bits a second, here and below */
#define EGRESS    4000000U
#define BURST     256000U /* bits */
#define TEXT(n)   TEXT_(n)
#define TEXT_(n)  #n

static struct net_link link_of(struct net *net, const char *name)
{
	struct net_link link;

	assert_int_equal(net_link_by_name(net, name, &link, NULL), 0);
	return link;
}

#define TUNING PLUGINS "tuning"

/* The next plugin of the list: our result goes in, its own comes out, and is what CHECK is shown. @how: its keys. */
static struct output check_behind_tuning(struct world *world, const char *how)
{
	char first[512], command[] = "CNI_COMMAND=ADD", container[] = "CNI_CONTAINERID=" CONTAINER;
	char ifname[] = "CNI_IFNAME=eth0", netns[256], path[] = "CNI_PATH=/usr/lib/cni", more[MORE_SIZE];
	static char conf[CONF_SIZE];
	char *env[] = { command, container, ifname, netns, path, NULL };
	const struct run add = { .command = "ADD", .conf = conf_of(world, "1.0.0", first) };
	const struct run check = { .command = "CHECK", .conf = conf };
	_cleanup_output_ struct output ours = run(world, &add), last = { 0 };
	int in_fd, out_fd = temp_fd(""), err_fd = temp_fd("");

	assert_int_equal(ours.status, 0);
	(void)snprintf(netns, sizeof(netns), "CNI_NETNS=%s", world->netns_path);
	(void)snprintf(conf, sizeof(conf),
		       "{\"cniVersion\":\"1.0.0\",\"name\":\"berth\",\"type\":\"tuning\",%s,\"dataDir\":\"%s\","
		       "\"prevResult\":%s}",
		       how, world->dir, ours.out);
	in_fd = temp_fd(conf);
	last.status = spawn_and_wait(TUNING, env, in_fd, out_fd, err_fd);
	(void)close(in_fd);
	last.out = read_back(out_fd);
	last.err = read_back(err_fd);
	if (last.status != 0)
		fail_msg("%s %s", last.out, last.err);
	(void)snprintf(more, sizeof(more), ",\"prevResult\":%s", last.out);
	(void)conf_with(world, "1.0.0", more, conf);
	return run(world, &check);
}

static void test_chain__tuning__cni_d11(void **state)
{
	struct world *world = *state;
	_cleanup_output_ struct output output = { 0 };

	if (!have_plugin(TUNING))
		return;
	output = check_behind_tuning(world, "\"mtu\":1300,\"promisc\":true,"
					    "\"sysctl\":{\"net.ipv4.conf.IFNAME.arp_filter\":\"1\"}");
	if (output.status != 0)
		fail_msg("%s", output.out);
	assert_int_equal(link_of(world->pod, "eth0").mtu, 1300);
}

/* A new MAC is in the result and no finding. But the kernel forgets permanent neighbours with the old one, and nobody
 * answers ARP for the gateway: the pod is cut off, and CHECK says by what. */
static void test_chain__tuning_of_the_mac__cni_d11(void **state)
{
	struct world *world = *state;
	_cleanup_output_ struct output output = { 0 };

	if (!have_plugin(TUNING))
		return;
	output = check_behind_tuning(world, "\"mac\":\"02:00:00:00:00:77\"");
	assert_int_equal(json_integer_value(json_object_get(output.json, "code")), 103);
	assert_true(output_says(&output, "pod lacks the permanent neighbour 169.254.1.1"));
	assert_false(output_says(&output, "has MAC"));
}

/* ---- a list, in libcni's order ---- */

/** struct step - a plugin of the list and its own keys: ",\"key\":value". */
struct step {
	const char *type;
	const char *keys;
};

struct chain {
	size_t count;
	struct step steps[STEPS_MAX];
};

static bool have_all(const struct chain *chain)
{
	char path[128];

	for (size_t i = 0; i < chain->count; i++) {
		(void)snprintf(path, sizeof(path), PLUGINS "%s", chain->steps[i].type);
		if (!str_equal(chain->steps[i].type, "berth") && !have_plugin(path))
			return false;
	}
	return true;
}

/* Their programs without ip6tables: where that is there, CHECK of portmap 1.1.1 looks for the rules of a pod's one family in
 * both (checkPorts() in portmap.go), and fails behind whatever plugin. */
static void link_programs(const struct world *world)
{
	static const char *const names[] = { "iptables", "iptables-save", "iptables-restore" };
	char path[512], target[128];

	assert_int_equal(fs_mkdir_p(check_path(path, sizeof(path), world->dir, "bin"), 0700), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/bin/%s", world->dir, names[i]);
		(void)snprintf(target, sizeof(target), "/usr/sbin/%s", names[i]);
		if (symlink(target, path) < 0)
			assert_int_equal(errno, EEXIST);
	}
}

static struct output run_theirs(struct world *world, const char *type, const char *command, const char *conf)
{
	char path[128], verb[64], netns[256], container[] = "CNI_CONTAINERID=" CONTAINER, ifname[] = "CNI_IFNAME=eth0";
	char cni_path[] = "CNI_PATH=" PLUGINS, programs[256];
	char *env[] = { verb, container, ifname, netns, cni_path, programs, NULL };
	int in_fd = temp_fd(conf), out_fd = temp_fd(""), err_fd = temp_fd("");
	struct output output = { 0 };

	(void)snprintf(path, sizeof(path), PLUGINS "%s", type);
	(void)snprintf(verb, sizeof(verb), "CNI_COMMAND=%s", command);
	(void)snprintf(netns, sizeof(netns), "CNI_NETNS=%s", world->netns_path);
	(void)snprintf(programs, sizeof(programs), "PATH=%s/bin", world->dir);
	output.status = spawn_and_wait(path, env, in_fd, out_fd, err_fd);
	(void)close(in_fd);
	output.out = read_back(out_fd);
	output.err = read_back(err_fd);
	return output;
}

/* Return: what it printed, owned. */
static char *run_step(struct world *world, const struct step *step, const char *command, const char *prev)
{
	static char conf[CONF_SIZE];
	const struct run how = { .command = command, .conf = conf };
	_cleanup_output_ struct output output = { 0 };

	(void)snprintf(conf, sizeof(conf), "{\"cniVersion\":\"1.0.0\",\"name\":\"berth\",\"type\":\"%s\"%s%s%s%s%s%s}",
		       step->type, step->keys, str_equal(step->type, "berth") ? ",\"socket\":\"" : "",
		       str_equal(step->type, "berth") ? world->fake.path : "",
		       str_equal(step->type, "berth") ? "\"" : "", prev ? ",\"prevResult\":" : "", prev ? prev : "");
	output = str_equal(step->type, "berth") ? run(world, &how) : run_theirs(world, step->type, command, conf);
	if (output.status != 0)
		fail_msg("%s %s: %s %s", step->type, command, output.out, output.err);
	return take_ptr(output.out);
}

/* Return: the list's result, owned. */
static char *chain_add(struct world *world, const struct chain *chain)
{
	char *result = NULL;

	link_programs(world);
	for (size_t i = 0; i < chain->count; i++) {
		char *next = run_step(world, &chain->steps[i], "ADD", result);

		free(result);
		result = next;
	}
	return result;
}

static void chain_check(struct world *world, const struct chain *chain, const char *result)
{
	for (size_t i = 0; i < chain->count; i++)
		free(run_step(world, &chain->steps[i], "CHECK", result));
}

static void chain_del(struct world *world, const struct chain *chain, const char *result)
{
	for (size_t i = chain->count; i > 0; i--)
		free(run_step(world, &chain->steps[i - 1], "DEL", result));
}

/* ---- the node's neighbourhood ---- */

static void far_name(char ret[static 64])
{
	(void)snprintf(ret, 64, "berth-far-%d", (int)getpid());
}

static void obey(const char *words)
{
	free(said(words));
}

/* Return: the namespace of somebody outside, on the same wire as the node. */
static int make_far(void)
{
	char name[64], words[128];
	int fd = -1;

	far_name(name);
	assert_int_equal(netns_add(name, NULL), 0);
	(void)snprintf(words, sizeof(words), "/run/netns/%s", name);
	assert_int_equal(netns_open(words, &fd, NULL), 0);
	(void)snprintf(words, sizeof(words), "ip link add wire type veth peer name eth0 netns %s", name);
	obey(words);
	obey("ip addr add " NODE_ADDR "/24 dev wire");
	obey("ip link set wire up");
	obey("ip link set lo up");
	(void)snprintf(words, sizeof(words), "ip -n %s addr add " FAR_ADDR "/24 dev eth0", name);
	obey(words);
	(void)snprintf(words, sizeof(words), "ip -n %s link set eth0 up", name);
	obey(words);
	assert_int_equal(fs_sysctl_write("net/ipv4/ip_forward", "1"), 0);
	return fd;
}

static int teardown_far(void **state)
{
	char name[64];

	far_name(name);
	(void)netns_del(name, NULL);
	return teardown(state);
}

#define far_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown_far)

struct udp {
	const char *addr; /* NULL: a server */
	uint16_t port;
	int fd;
};

static int open_udp(void *arg, struct err *err)
{
	struct udp *udp = arg;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(udp->port) };

	if (udp->addr)
		(void)inet_pton(AF_INET, udp->addr, &to.sin_addr);
	udp->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if ((udp->addr ? connect(udp->fd, (struct sockaddr *)&to, sizeof(to))
		       : bind(udp->fd, (struct sockaddr *)&to, sizeof(to))) < 0)
		return err_set_errno(err, ERR_BUG, "test", errno, "udp");
	return 0;
}

/* @netns_fd: -1: the node's. */
static void open_at(int netns_fd, struct udp *udp)
{
	struct err err;

	if ((netns_fd < 0 ? open_udp(udp, &err) : netns_run(netns_fd, open_udp, udp, &err)) < 0)
		fail_msg("%s", err.msg);
}

static bool is_readable(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	return poll(&pollfd, 1, TRY_MS) == 1 && (pollfd.revents & POLLIN);
}

/* A question to the node's port and its answer from the pod, by a new flow. */
static bool asks_once(int client_netns, int pod_netns)
{
	struct udp server = { .port = POD_PORT }, client = { .addr = NODE_ADDR, .port = HOST_PORT };
	struct sockaddr_in from;
	socklen_t size = sizeof(from);
	char byte = '?';
	bool answered = false;

	open_at(pod_netns, &server);
	open_at(client_netns, &client);
	if (send(client.fd, &byte, 1, 0) == 1 && is_readable(server.fd) &&
	    recvfrom(server.fd, &byte, 1, 0, (struct sockaddr *)&from, &size) == 1 &&
	    sendto(server.fd, &byte, 1, 0, (struct sockaddr *)&from, size) == 1)
		answered = is_readable(client.fd) && recv(client.fd, &byte, 1, 0) == 1;
	(void)close(client.fd);
	(void)close(server.fd);
	return answered;
}

static bool reaches(int client_netns, int pod_netns)
{
	int64_t end_us = clock_now(&clock_boot) + PASS_US;

	do {
		if (asks_once(client_netns, pod_netns))
			return true;
	} while (clock_now(&clock_boot) < end_us);
	return false;
}

/* ---- portmap ---- */

#define MAPPING                                                                                                        \
	",\"capabilities\":{\"portMappings\":true},\"snat\":true,\"runtimeConfig\":{\"portMappings\":[{"               \
	"\"hostPort\":" TEXT(HOST_PORT) ",\"containerPort\":" TEXT(POD_PORT) ",\"protocol\":\"udp\"}]}"

/* Whichever of the kernel's two tables the iptables program writes into. */
static bool any_rule_says(const char *part)
{
	return says("iptables-save -t nat", part) || says("nft list ruleset", part);
}

static void test_chain__portmap__cni_d11(void **state)
{
	static const struct chain chain = { 2, { { "berth", "" }, { "portmap", MAPPING } } };
	struct world *world = *state;
	_cleanup_free_ char *result = NULL;
	_cleanup_close_ int far = -1, pod = -1;

	if (!have_all(&chain))
		return;
	far = make_far();
	assert_int_equal(netns_open(world->netns_path, &pod, NULL), 0);
	assert_false(asks_once(far, pod));
	result = chain_add(world, &chain);
	chain_check(world, &chain, result);
	assert_true(reaches(far, pod));
	assert_true(reaches(-1, pod));
	assert_true(any_rule_says(POD_ADDR));
	chain_del(world, &chain, result);
	assert_false(any_rule_says(POD_ADDR));
	assert_false(any_rule_says(CONTAINER));
	/* the link is the daemon's to delete, so a rule that was left would still find the pod */
	assert_true(is_wired(world));
	assert_false(asks_once(far, pod));
	assert_false(asks_once(-1, pod));
}

/* ---- bandwidth ---- */

#define RATES                                                                                                          \
	",\"capabilities\":{\"bandwidth\":true},\"runtimeConfig\":{\"bandwidth\":{\"ingressRate\":8000000,"            \
	"\"ingressBurst\":256000,\"egressRate\":4000000,\"egressBurst\":256000}}"

/* The node's and the pod's datagrams as fast as they go. Return: how many bits a second arrive. */
static double flood(int from_netns, const char *addr, int at_netns)
{
	static char bytes[DATAGRAM];
	struct udp server = { .port = POD_PORT }, client = { .addr = addr, .port = POD_PORT };
	int64_t start_us, now_us;
	double got = 0;

	open_at(at_netns, &server);
	open_at(from_netns, &client);
	start_us = clock_now(&clock_boot);
	do {
		ssize_t n;

		(void)send(client.fd, bytes, sizeof(bytes), 0);
		while ((n = recv(server.fd, bytes, sizeof(bytes), 0)) > 0)
			got += (double)n;
		now_us = clock_now(&clock_boot);
	} while (now_us - start_us < FLOOD_US);
	(void)close(client.fd);
	(void)close(server.fd);
	return got * 8 * USEC_PER_SEC / (double)(now_us - start_us);
}

/* Headers and a loaded machine make it less, the burst makes it more. */
static void holds(double seen, double rate)
{
	double most = 2 * rate + (double)BURST * USEC_PER_SEC / FLOOD_US;

	if (seen > most || seen < rate / 10)
		fail_msg("%.0f bits a second instead of %.0f", seen, rate);
}

static void test_chain__bandwidth__cni_d11(void **state)
{
	static const struct chain chain = { 2, { { "berth", "" }, { "bandwidth", RATES } } };
	struct world *world = *state;
	_cleanup_free_ char *result = NULL;
	_cleanup_close_ int far = -1, pod = -1;
	char words[128];

	if (!have_all(&chain))
		return;
	far = make_far();
	assert_int_equal(netns_open(world->netns_path, &pod, NULL), 0);
	result = chain_add(world, &chain);
	chain_check(world, &chain, result);
	(void)snprintf(words, sizeof(words), "tc qdisc show dev %s", world->host_ifname);
	assert_true(says(words, "tbf"));
	assert_true(says(words, "rate 8Mbit"));
	assert_true(says(words, "ingress"));
	assert_true(says("ip -o link show type ifb", "bwp"));
	holds(flood(-1, POD_ADDR, pod), INGRESS);
	holds(flood(pod, NODE_ADDR, -1), EGRESS);
	chain_del(world, &chain, result);
	assert_false(says("ip -o link show type ifb", "bwp"));
}

/* ---- all of them ---- */

static void test_chain__all_of_them__cni_d11(void **state)
{
	static const struct chain chain = {
		4,
		{ { "berth", "" },
		  { "bandwidth", RATES },
		  { "portmap", MAPPING },
		  { "tuning", ",\"mtu\":1300,\"sysctl\":{\"net.ipv4.conf.eth0.arp_filter\":\"1\"}" } }
	};
	struct world *world = *state;
	_cleanup_free_ char *result = NULL;
	_cleanup_close_ int far = -1, pod = -1;

	if (!have_all(&chain))
		return;
	far = make_far();
	assert_int_equal(netns_open(world->netns_path, &pod, NULL), 0);
	result = chain_add(world, &chain);
	chain_check(world, &chain, result);
	assert_true(reaches(far, pod));
	assert_int_equal(link_of(world->pod, "eth0").mtu, 1300);
	chain_del(world, &chain, result);
	assert_false(any_rule_says(POD_ADDR));
	assert_false(says("ip -o link show type ifb", "bwp"));
	/* a runtime that calls DEL once more, with nothing left */
	chain_del(world, &chain, result);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		plugin_test(test_chain__tuning__cni_d11),   plugin_test(test_chain__tuning_of_the_mac__cni_d11),
		far_test(test_chain__portmap__cni_d11),     far_test(test_chain__bandwidth__cni_d11),
		far_test(test_chain__all_of_them__cni_d11),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
