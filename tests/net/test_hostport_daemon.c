/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host ports over their life: the plugin's binary against a whole daemon, pods with servers, and clients on the node. What
 * the table does for everybody else, test_hostport.c shows.
 */
#include "tests/net/ipamd_world.h"

#include "tests/net/plugin_run.h"
#include "tests/net/said.h"

#define HOST_PORT 8080
#define UDP_PORT  5353
#define POD_PORT  80
#define HANDED_MS 100 /* the client's end of a connection is there first; one that another pod has costs all of this */
#define SAID_MS   500 /* a connection on the node takes well below 1 ms; a lost one is given up */

struct pod {
	char name[48], path[96], container[32];
	int tcp, udp; /* servers of it; -1 = not there */
	int fd;       /* its namespace */
};

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
};

/* ---- sockets ---- */

static union address address_of(const char *text, uint16_t port)
{
	union address address = { .v4 = { .sin_family = AF_INET, .sin_port = htons(port) } };
	struct ipaddr addr = { 0 };

	assert_int_equal(ipaddr_parse(text, &addr), 0);
	memcpy(&address.v4.sin_addr, addr.bytes, sizeof(address.v4.sin_addr));
	return address;
}

static int open_servers(void *arg, struct err *err)
{
	const union address tcp = address_of("0.0.0.0", POD_PORT), udp = address_of("0.0.0.0", UDP_PORT);
	struct pod *pod = arg;

	(void)err;
	pod->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	pod->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(pod->tcp >= 0 && pod->udp >= 0);
	assert_int_equal(bind(pod->tcp, &tcp.any, sizeof(tcp.v4)), 0);
	assert_int_equal(bind(pod->udp, &udp.any, sizeof(udp.v4)), 0);
	assert_int_equal(listen(pod->tcp, 64), 0);
	return 0;
}

static bool is_readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1 && (p.revents & POLLIN);
}

/* A new connection to the node. Return: did it come to that pod? */
static bool leads(const char *to, const struct pod *pod)
{
	const union address address = address_of(to, HOST_PORT);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), peer = -1;
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	assert_true(fd >= 0);
	(void)connect(fd, &address.any, sizeof(address.v4));
	if (poll(&p, 1, SAID_MS) == 1 && !(p.revents & (POLLERR | POLLHUP)) && is_readable(pod->tcp, HANDED_MS))
		peer = accept4(pod->tcp, NULL, NULL, SOCK_CLOEXEC);
	(void)close(fd);
	if (peer >= 0)
		(void)close(peer);
	return peer >= 0;
}

/* The port answers with a reset, as one that nobody has. */
static bool is_closed(void)
{
	const union address address = address_of(NODE_PRIMARY, HOST_PORT);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error = 0;
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t size = sizeof(error);

	assert_true(fd >= 0);
	if (connect(fd, &address.any, sizeof(address.v4)) < 0 && errno != EINPROGRESS)
		error = errno;
	else if (poll(&p, 1, SAID_MS) == 1)
		(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	(void)close(fd);
	return error == ECONNREFUSED;
}

/* ---- pods ---- */

static void make_sandbox(struct pod *pod, unsigned number)
{
	*pod = (struct pod){ .tcp = -1, .udp = -1, .fd = -1 };
	(void)snprintf(pod->name, sizeof(pod->name), "berth-hostport-%d-%u", (int)getpid(), number);
	(void)snprintf(pod->path, sizeof(pod->path), "/run/netns/%s", pod->name);
	(void)snprintf(pod->container, sizeof(pod->container), "c%u", number);
	must(netns_add(pod->name, &err));
	must(netns_open(pod->path, &pod->fd, &err));
	must(netns_run(pod->fd, open_servers, pod, &err));
}

static void remove_sandbox(struct pod *pod)
{
	(void)close(pod->tcp);
	(void)close(pod->udp);
	(void)close(pod->fd);
	must(netns_del(pod->name, &err));
}

static struct output run_plugin(const struct world *w, const struct pod *pod, const char *verb)
{
	char command[64], netns[128], container[64], ifname[] = "CNI_IFNAME=eth0", path[512], conf[1024];
	char args[] = "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0";
	char cni_path[] = "CNI_PATH=/opt/cni/bin";
	char *env[] = { command, netns, container, ifname, args, cni_path, NULL };
	struct output output = { 0 };
	int in_fd, out_fd = temp_fd(""), err_fd = temp_fd("");

	(void)snprintf(command, sizeof(command), "CNI_COMMAND=%s", verb);
	(void)snprintf(netns, sizeof(netns), "CNI_NETNS=%s", pod->path);
	(void)snprintf(container, sizeof(container), "CNI_CONTAINERID=%s", pod->container);
	(void)snprintf(conf, sizeof(conf),
		       "{\"cniVersion\":\"1.0.0\",\"name\":\"berth\",\"type\":\"berth\",\"socket\":\"%s\","
		       "\"capabilities\":{\"portMappings\":true},\"runtimeConfig\":{\"portMappings\":["
		       "{\"hostPort\":%d,\"containerPort\":%d,\"protocol\":\"tcp\"},"
		       "{\"hostPort\":%d,\"containerPort\":%d,\"protocol\":\"udp\",\"hostIP\":\"\"}]}}",
		       w->socket, HOST_PORT, POD_PORT, UDP_PORT, UDP_PORT);
	in_fd = temp_fd(conf);
	(void)check_path(path, sizeof(path), build_dir(), "berth");
	output.status = spawn_and_wait(path, env, in_fd, out_fd, err_fd);
	(void)close(in_fd);
	output.out = read_back(out_fd);
	output.err = read_back(err_fd);
	return output;
}

static void plug(const struct world *w, const struct pod *pod, const char *verb)
{
	_cleanup_output_ struct output output = run_plugin(w, pod, verb);

	if (output.status != 0)
		fail_msg("%s: %s %s", verb, output.out, output.err);
}

/* ---- the world ---- */

struct node {
	struct world *w;
	struct pod pods[2];
};

static int setup_node(void **state)
{
	static struct node node;
	void *inner = NULL;

	if (world_setup(&inner) < 0)
		return -1;
	node.w = inner;
	for (unsigned i = 0; i < ARRAY_SIZE(node.pods); i++)
		make_sandbox(&node.pods[i], i + 1);
	make_cloud(node.w, 8, FOUR);
	assert_int_equal(fs_sysctl_write("net/ipv4/conf/all/rp_filter", "0"), 0);
	node.w->config.cooldown_us = HOUR_US; /* its end would have flows forgotten, too */
	start(node.w);
	until(has_conflist(node.w));
	*state = &node;
	return 0;
}

static int teardown_node(void **state)
{
	struct node *node = *state;
	void *inner = node->w;

	for (unsigned i = 0; i < ARRAY_SIZE(node->pods); i++)
		remove_sandbox(&node->pods[i]);
	return world_teardown(&inner);
}

#define node_test(f) cmocka_unit_test_setup_teardown(f, setup_node, teardown_node)

static void flush_ruleset(void)
{
	must(nft_run("flush ruleset\n", clock_now(&clock_boot) + PATIENCE_US, NULL, &err));
}

/* ---- tests ---- */

static void test_hostport_add__works_when_it_returns(void **state)
{
	struct node *node = *state;
	const struct pod *pod = &node->pods[0];

	assert_true(is_closed());
	plug(node->w, pod, "ADD");
	assert_true(leads(NODE_PRIMARY, pod));
	assert_true(leads("127.0.0.1", pod));
	plug(node->w, pod, "DEL");
	until(is_closed());
	plug(node->w, pod, "DEL");
}

/* The sandbox of a pod is made anew before the old one's DEL has come, and that comes late. */
static void test_hostport_add__the_newer_sandbox_has_it_and_keeps_it(void **state)
{
	struct node *node = *state;
	const struct pod *old = &node->pods[0], *new = &node->pods[1];

	plug(node->w, old, "ADD");
	plug(node->w, new, "ADD");
	assert_true(leads(NODE_PRIMARY, new));
	plug(node->w, old, "DEL");
	for (unsigned i = 0; i < 20; i++)
		assert_true(leads(NODE_PRIMARY, new));
}

static void test_hostport_del__of_the_newer_gives_it_back(void **state)
{
	struct node *node = *state;

	plug(node->w, &node->pods[0], "ADD");
	plug(node->w, &node->pods[1], "ADD");
	plug(node->w, &node->pods[1], "DEL");
	until(leads(NODE_PRIMARY, &node->pods[0]));
}

static void test_hostport_gc__closes(void **state)
{
	struct proto_request request = request_of(PROTO_GC, "");
	_cleanup_reply_ struct proto_reply reply;
	struct node *node = *state;

	plug(node->w, &node->pods[0], "ADD");
	assert_true(leads(NODE_PRIMARY, &node->pods[0]));
	must(netns_del(node->pods[0].name, &err)); /* a GC frees no pod that is there */
	send_request(node->w, &request, &reply);
	assert_true(reply.ok);
	assert_int_equal(reply.freed, 1);
	until(is_closed());
}

static void test_hostport_restart__keeps(void **state)
{
	struct node *node = *state;

	plug(node->w, &node->pods[0], "ADD");
	stop(node->w);
	assert_true(leads(NODE_PRIMARY, &node->pods[0]));
	flush_ruleset();
	assert_true(is_closed());
	start(node->w);
	until(leads(NODE_PRIMARY, &node->pods[0]));
	plug(node->w, &node->pods[0], "DEL");
	until(is_closed());
}

/* How soon, test_repair.c shows. */
static void test_hostport_flush_ruleset__is_repaired(void **state)
{
	struct node *node = *state;

	plug(node->w, &node->pods[0], "ADD");
	flush_ruleset();
	until(leads(NODE_PRIMARY, &node->pods[0]));
}

/* From now on no table can be loaded. */
static void break_nft(const struct node *node)
{
	char nft[512];

	(void)check_path(nft, sizeof(nft), node->w->config.conflist_dir, "nft");
	assert_int_equal(fs_write_atomic(nft, "#!/bin/sh\nexit 1\n", 17, 0755), 0);
	assert_int_equal(setenv("PATH", node->w->config.conflist_dir, 1), 0);
}

/* One that cannot be had is no success; nothing of the pod stays. */
static void test_hostport_add__fails_with_the_table(void **state)
{
	struct node *node = *state;
	const char *was = getenv("PATH");
	_cleanup_free_ char *path = strdup(was ? was : "/usr/sbin:/usr/bin:/sbin:/bin");

	break_nft(node);
	{
		_cleanup_output_ struct output output = run_plugin(node->w, &node->pods[0], "ADD");

		assert_int_equal(setenv("PATH", path, 1), 0);
		assert_int_not_equal(output.status, 0);
		assert_true(output_says(&output, "nft"));
	}
	until(is_counted(node->w, 4, 0, 0));
	plug(node->w, &node->pods[0], "ADD");
	assert_true(leads(NODE_PRIMARY, &node->pods[0]));
}

static bool check_says(const struct node *node, const struct pod *pod, const char *part)
{
	_cleanup_reply_ struct proto_reply reply;

	call(node->w, PROTO_CHECK, pod->container, &reply);
	assert_true(reply.ok);
	return *part ? strstr(reply.missing, part) != NULL : !*reply.missing;
}

static void test_hostport_check__port_of_a_newer_pod(void **state)
{
	struct node *node = *state;

	plug(node->w, &node->pods[0], "ADD");
	assert_true(check_says(node, &node->pods[0], ""));
	plug(node->w, &node->pods[1], "ADD");
	assert_true(check_says(node, &node->pods[0], "port 8080/tcp of the node leads to the newer pod default/web-0"));
	assert_true(check_says(node, &node->pods[1], ""));
	plug(node->w, &node->pods[1], "DEL");
	assert_true(check_says(node, &node->pods[0], ""));
}

static void test_hostport_check__table_that_cannot_be_loaded(void **state)
{
	struct node *node = *state;
	const char *was = getenv("PATH");
	_cleanup_free_ char *path = strdup(was ? was : "/usr/sbin:/usr/bin:/sbin:/bin");

	plug(node->w, &node->pods[0], "ADD");
	break_nft(node);
	free(said("/usr/sbin/nft flush ruleset"));
	until(check_says(node, &node->pods[0], "the nft table is not loaded"));
	assert_int_equal(setenv("PATH", path, 1), 0);
	until(check_says(node, &node->pods[0], ""));
	assert_true(leads(NODE_PRIMARY, &node->pods[0]));
}

/* Sends until it comes. */
static bool udp_leads(int client, const struct pod *pod)
{
	char byte = 0;

	(void)send(client, "?", 1, 0);
	if (!is_readable(pod->udp, LOOK_MS))
		return false;
	return recv(pod->udp, &byte, 1, 0) == 1;
}

static bool udp_is_refused(int client)
{
	char byte;

	(void)recv(client, &byte, 1, 0);
	(void)send(client, "?", 1, 0);
	(void)poll(NULL, 0, LOOK_MS);
	return recv(client, &byte, 1, 0) < 0 && errno == ECONNREFUSED;
}

/* One client that never stops sending from one port. */
static void test_hostport_udp__follows_the_port(void **state)
{
	const union address address = address_of(NODE_PRIMARY, UDP_PORT);
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct node *node = *state;

	assert_true(client >= 0);
	assert_int_equal(connect(client, &address.any, sizeof(address.v4)), 0);
	until(udp_is_refused(client));
	plug(node->w, &node->pods[0], "ADD");
	until(udp_leads(client, &node->pods[0]));
	plug(node->w, &node->pods[1], "ADD");
	until(udp_leads(client, &node->pods[1]));
	plug(node->w, &node->pods[1], "DEL");
	until(udp_leads(client, &node->pods[0]));
	plug(node->w, &node->pods[0], "DEL");
	until(udp_is_refused(client));
	(void)close(client);
}

static void add_service(struct net *net, const char *text)
{
	struct net_link link = { 0 };
	struct ipaddr addr = { 0 };

	assert_int_equal(ipaddr_parse(text, &addr), 0);
	must(net_link_by_name(net, HOSTNET_SERVICES_LINK, &link, &err));
	must(net_addr_add(net, link.index, &addr, 32, 0, &err));
}

/* kube-proxy in IPVS mode makes its link, and gives it an address for each Service that comes; an external one may be the
 * node's own. */
static void test_hostport_services__are_followed(void **state)
{
	const struct net_veth veth = { .name = HOSTNET_SERVICES_LINK, .peer_netns_fd = -1, .peer_name = "other" };
	_cleanup_net_ struct net *net = NULL;
	struct node *node = *state;

	plug(node->w, &node->pods[0], "ADD");
	must(net_open(&net, &err));
	must(net_veth_add(net, &veth, &err));
	add_service(net, "10.96.0.10");
	until(!leads("10.96.0.10", &node->pods[0]));
	assert_true(leads(NODE_PRIMARY, &node->pods[0]));
	plug(node->w, &node->pods[1], "ADD"); /* nothing is left to do when that returns */
	add_service(net, NODE_PRIMARY);
	add_service(net, "10.96.0.11");
	until(!leads("10.96.0.11", &node->pods[1]));
	assert_true(leads(NODE_PRIMARY, &node->pods[1]));
}

static void test_hostport_state__names_them(void **state)
{
	struct node *node = *state;
	json_auto_t *json = NULL;
	_cleanup_free_ char *text = NULL;

	plug(node->w, &node->pods[0], "ADD");
	json = state_of(node->w);
	text = json_dumps(json, JSON_COMPACT);
	assert_non_null(text);
	assert_non_null(strstr(text, "\"runtime\":{\"ports\":[\"tcp:8080:80\",\"udp:5353:5353\"]}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		node_test(test_hostport_add__works_when_it_returns),
		node_test(test_hostport_add__the_newer_sandbox_has_it_and_keeps_it),
		node_test(test_hostport_del__of_the_newer_gives_it_back),
		node_test(test_hostport_gc__closes),
		node_test(test_hostport_restart__keeps),
		node_test(test_hostport_flush_ruleset__is_repaired),
		node_test(test_hostport_add__fails_with_the_table),
		node_test(test_hostport_check__port_of_a_newer_pod),
		node_test(test_hostport_check__table_that_cannot_be_loaded),
		node_test(test_hostport_udp__follows_the_port),
		node_test(test_hostport_services__are_followed),
		node_test(test_hostport_state__names_them),
	};

	return cmocka_run_group_tests_name("hostport_daemon", tests, world_group_setup, NULL);
}
