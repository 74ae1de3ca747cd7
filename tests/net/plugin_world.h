/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plugin's real binary, run as a container runtime runs it, in a network namespace that is made for the test, with a pod
 * namespace beside it and a daemon of a few lines that does what a test wants.
 */
#ifndef TESTS_NET_PLUGIN_WORLD_H
#define TESTS_NET_PLUGIN_WORLD_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/net.h"
#include "berth/proto.h"
#include "berth/str.h"
#include "berth/version.h"
#include "tests/check.h"
#include "tests/net/plugin_run.h"

#define CONTAINER   "3f00aa"
#define POD_ADDR    "10.9.1.17"
#define POD_ADDR6   "2001:db8:9::17"
#define POD_SUBNET  "10.9.1.0/24"
#define POD_SUBNET6 "2001:db8:9::/64"
#define POD_ROUTER  "10.9.1.1"
#define POD_ARGS    "IgnoreUnknown=1;K8S_POD_NAME=web-0;K8S_POD_NAMESPACE=default;K8S_POD_UID=u-1"
#define OPS_MAX     16
#define SPOOL_LIMIT 4096
#define CONF_SIZE   65536 /* of a configuration with what MORE_SIZE holds */
#define MORE_SIZE   32768

/* ---- the daemon ---- */

enum answer { ANSWER_OK, ANSWER_REFUSE, ANSWER_NO_ADDRESS, ANSWER_GARBAGE, ANSWER_CLOSE, ANSWER_HANG };

struct fake {
	char path[108];
	int listen_fd;
	int stop_fd;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	/* under the lock: */
	enum answer answer[PROTO_OP_COUNT];
	bool dual;               /* an address of each family is given */
	bool delegated;          /* the last ADD was */
	bool limited;            /* a STATUS that is refused says so */
	const char *host_ifname; /* of CHECK; NULL: by the key */
	unsigned lacking;        /* so many CHECKs are told that something is missing */
	unsigned gc_rounds;      /* a GC has more until as many came */
	unsigned gc_seen, valid_count;
	uint64_t valid[PROTO_GC_KEYS_MAX]; /* of the last GC */
	enum fail_reason reason;
	enum err_class class;
	struct proto_request seen[OPS_MAX];
	size_t seen_count;
	const struct net_veth *take_name; /* made before the next ADD is answered; NULL: nothing */
	struct net *take_net;
};

static inline void add_subnets(struct proto_reply *reply)
{
	(void)prefix_parse(POD_SUBNET, &reply->addresses[0].subnet);
	(void)ipaddr_parse(POD_ROUTER, &reply->addresses[0].router);
	(void)prefix_parse(POD_SUBNET6, &reply->addresses[1].subnet);
}

static inline char *answer_text(struct fake *fake, const struct proto_request *request)
{
	struct proto_reply reply = { .ok = true };
	enum answer answer = fake->answer[request->op];

	if (answer == ANSWER_GARBAGE)
		return strdup("HTTP/1.1 400 Bad Request\r\n\r\n");
	if (answer == ANSWER_CLOSE)
		return strdup("");
	if (request->op == PROTO_GC) {
		fake->gc_seen++;
		fake->valid_count = request->valid_count;
		if (request->valid_count)
			memcpy(fake->valid, request->valid, request->valid_count * sizeof(*request->valid));
		reply.swept = true;
		reply.freed = 2;
		reply.more = fake->gc_seen < fake->gc_rounds;
	}
	if (answer == ANSWER_REFUSE) {
		reply.ok = false;
		reply.limited = fake->limited;
		reply.reason = fake->reason;
		(void)err_set(&reply.error, fake->class, "fake", "told to refuse");
	} else if ((request->op == PROTO_ADD || request->op == PROTO_CHECK) && answer == ANSWER_OK) {
		reply.address_count = fake->dual ? 2 : 1;
		(void)prefix_parse(POD_ADDR "/32", &reply.addresses[0].address);
		(void)ipaddr_parse("169.254.1.1", &reply.addresses[0].gateway);
		(void)prefix_parse(POD_ADDR6 "/128", &reply.addresses[1].address);
		(void)ipaddr_parse("fe80::1", &reply.addresses[1].gateway);
		reply.mtu = 1400;
		if (request->op == PROTO_ADD)
			fake->delegated = request->delegated;
		reply.delegated = fake->delegated;
		if (request->op == PROTO_CHECK && fake->lacking > 0) {
			fake->lacking--;
			(void)str_copy(reply.missing, sizeof(reply.missing), "told to lack");
		}
		if (reply.delegated)
			add_subnets(&reply);
		else if (request->host_ifname[0] || fake->host_ifname)
			(void)str_copy(reply.host_ifname, sizeof(reply.host_ifname),
				       request->host_ifname[0] ? request->host_ifname : fake->host_ifname);
		else
			proto_host_ifname(&request->key, reply.host_ifname);
	}
	return proto_reply_encode(&reply, NULL);
}

/* Return: whether the connection is to be kept open and silent. */
static inline bool serve(struct fake *fake, int fd)
{
	static char line[PROTO_GC_MAX];
	_cleanup_request_ struct proto_request request = { 0 };
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	ssize_t n;
	bool hang;

	while ((n = recv(fd, line + size, sizeof(line) - size, 0)) > 0) {
		size += (size_t)n;
		if (line[size - 1] == '\n')
			break;
	}
	if (n <= 0 || proto_request_decode(line, size, &request, NULL) < 0)
		return false;
	(void)pthread_mutex_lock(&fake->lock);
	if (fake->seen_count < OPS_MAX)
		fake->seen[fake->seen_count++] = request; /* of a GC without its list */
	hang = fake->answer[request.op] == ANSWER_HANG;
	if (fake->take_name)
		(void)net_veth_add(fake->take_net, fake->take_name, NULL);
	fake->take_name = NULL;
	text = answer_text(fake, &request);
	(void)pthread_mutex_unlock(&fake->lock);
	if (!hang && text)
		(void)send(fd, text, strlen(text), MSG_NOSIGNAL);
	return hang;
}

static inline void *fake_loop(void *arg)
{
	struct fake *fake = arg;
	int silent[OPS_MAX];
	size_t silent_count = 0;

	for (;;) {
		struct pollfd fds[] = { { .fd = fake->listen_fd, .events = POLLIN },
					{ .fd = fake->stop_fd, .events = POLLIN } };
		int fd;

		if (poll(fds, 2, -1) < 0 || fds[1].revents)
			break;
		fd = accept4(fake->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		if (serve(fake, fd) && silent_count < OPS_MAX)
			silent[silent_count++] = fd;
		else
			(void)close(fd);
	}
	while (silent_count > 0)
		(void)close(silent[--silent_count]);
	return NULL;
}

static inline void fake_start(struct fake *fake)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	assert_int_equal(str_copy(addr.sun_path, sizeof(addr.sun_path), fake->path), 0);
	fake->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fake->stop_fd = eventfd(0, EFD_CLOEXEC);
	assert_true(fake->listen_fd >= 0 && fake->stop_fd >= 0);
	assert_int_equal(bind(fake->listen_fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fake->listen_fd, 16), 0);
	assert_int_equal(pthread_create(&fake->thread, NULL, fake_loop, fake), 0);
	fake->running = true;
}

/* The socket's file stays behind, as it does after a crash. */
static inline void fake_stop(struct fake *fake)
{
	if (!fake->running)
		return;
	assert_int_equal(eventfd_write(fake->stop_fd, 1), 0);
	assert_int_equal(pthread_join(fake->thread, NULL), 0);
	(void)close(fake->listen_fd);
	(void)close(fake->stop_fd);
	fake->running = false;
}

static inline void fake_answers(struct fake *fake, enum proto_op op, enum answer answer)
{
	(void)pthread_mutex_lock(&fake->lock);
	fake->answer[op] = answer;
	(void)pthread_mutex_unlock(&fake->lock);
}

static inline void fake_refuses(struct fake *fake, enum proto_op op, enum err_class class, enum fail_reason reason)
{
	(void)pthread_mutex_lock(&fake->lock);
	fake->answer[op] = ANSWER_REFUSE;
	fake->class = class;
	fake->reason = reason;
	(void)pthread_mutex_unlock(&fake->lock);
}

static inline struct proto_request fake_saw_first(struct fake *fake)
{
	struct proto_request request;

	(void)pthread_mutex_lock(&fake->lock);
	assert_true(fake->seen_count > 0);
	request = fake->seen[0];
	(void)pthread_mutex_unlock(&fake->lock);
	return request;
}

/* "add confirm" */
static inline const char *fake_saw(struct fake *fake, char buf[static 256])
{
	_cleanup_strbuf_ struct strbuf text = { 0 };

	(void)pthread_mutex_lock(&fake->lock);
	for (size_t i = 0; i < fake->seen_count; i++)
		strbuf_printf(&text, "%s%s", i > 0 ? " " : "", proto_op_name(fake->seen[i].op));
	fake->seen_count = 0;
	(void)pthread_mutex_unlock(&fake->lock);
	assert_int_equal(str_copy(buf, 256, text.text ? text.text : ""), 0);
	return buf;
}

/* ---- a run of the binary ---- */

struct world {
	const char *dir;
	char netns[64];
	char netns_path[128];
	char spool[128];
	char host_ifname[LEASE_IFNAME_SIZE];
	struct fake fake;
	struct net *host;
	struct net *pod;
};

struct run {
	const char *command;
	const char *netns; /* NULL: the pod's */
	const char *conf;
	const char *stdout_path; /* NULL: kept for the test */
	const char *container;   /* NULL: CONTAINER */
	const char *ifname;      /* NULL: eth0 */
	const char *args;        /* NULL: of a pod */
	const char *extra;       /* one more variable, NAME=value; NULL: none */
	const char *without;     /* a variable that is not set; NULL: all are */
};

static inline struct output run(struct world *world, const struct run *how)
{
	char command[64], netns[256], container[256], ifname[64], args[512], path[512], extra[256];
	char cni_path[256], leaks[] = "ASAN_OPTIONS=detect_leaks=1";
	char *env[] = { command, netns, container, ifname, args, cni_path, leaks, extra, NULL };
	struct output output = { 0 };
	int in_fd = temp_fd(how->conf), err_fd = temp_fd("");
	int out_fd = how->stdout_path ? open(how->stdout_path, O_WRONLY | O_CLOEXEC) : temp_fd("");

	(void)snprintf(cni_path, sizeof(cni_path), "CNI_PATH=%s", world->dir);
	(void)snprintf(command, sizeof(command), "CNI_COMMAND=%s", how->command);
	(void)snprintf(container, sizeof(container), "CNI_CONTAINERID=%s", how->container ? how->container : CONTAINER);
	(void)snprintf(ifname, sizeof(ifname), "CNI_IFNAME=%s", how->ifname ? how->ifname : "eth0");
	(void)snprintf(args, sizeof(args), "CNI_ARGS=%s", how->args ? how->args : POD_ARGS);
	(void)snprintf(netns, sizeof(netns), "CNI_NETNS=%s", how->netns ? how->netns : world->netns_path);
	(void)snprintf(extra, sizeof(extra), "%s", how->extra ? how->extra : "BERTH_TEST=1");
	drop_var(env, how->without);
	(void)check_path(path, sizeof(path), build_dir(), "berth");
	output.status = spawn_and_wait(path, env, in_fd, out_fd, err_fd);
	(void)close(in_fd);
	if (how->stdout_path)
		(void)close(out_fd);
	else
		output.out = read_back(out_fd);
	output.err = read_back(err_fd);
	if (output.out)
		output.json = json_loads(output.out, 0, NULL);
	return output;
}

static inline const char *conf_of(struct world *world, const char *version, char buf[static 512])
{
	(void)snprintf(
		buf, 512,
		"{\"cniVersion\":\"%s\",\"name\":\"berth\",\"type\":\"berth\",\"socket\":\"%s\",\"timeoutMs\":100,"
		"\"moon\":{\"x\":[1]},\"capabilities\":{\"portMappings\":true},\"cni.dev/x\":1}",
		version, world->fake.path);
	return buf;
}

static inline struct output run_verb(struct world *world, const char *command)
{
	char conf[512];
	const struct run how = { .command = command, .conf = conf_of(world, "1.1.0", conf) };

	return run(world, &how);
}

static inline void check_error(const struct output *output, int code, const char *part)
{
	const char *msg;

	if (output->status != 1 || !output->json)
		fail_msg("status %d, stdout '%s', stderr '%s'", output->status, output->out, output->err);
	msg = json_string_value(json_object_get(output->json, "msg"));
	assert_non_null(msg);
	if (json_integer_value(json_object_get(output->json, "code")) != code || !strstr(msg, part))
		fail_msg("wanted code %d and '%s': %s", code, part, output->out);
	assert_true(json_string_length(json_object_get(output->json, "details")) > 0);
	assert_string_equal(json_string_value(json_object_get(output->json, "cniVersion")), "1.1.0");
	assert_string_equal(output->err, "");
}

static inline void run_fails(struct world *world, const char *command, int code, const char *part)
{
	_cleanup_output_ struct output output = run_verb(world, command);

	check_error(&output, code, part);
}

static inline void run_ok(struct world *world, const char *command)
{
	_cleanup_output_ struct output output = run_verb(world, command);

	if (output.status != 0)
		fail_msg("%s: %s %s", command, output.out, output.err);
}

static inline int setup(void **state)
{
	static struct world world;
	struct lease_key key = { .network = "berth", .container = CONTAINER, .ifname = "eth0" };
	_cleanup_close_ int netns_fd = -1;

	if (check_fds_setup(state) < 0 || unshare(CLONE_NEWNET) < 0)
		return -1;
	memset(&world, 0, sizeof(world));
	world.dir = check_tmpdir();
	(void)check_path(world.fake.path, sizeof(world.fake.path), world.dir, PROTO_SOCKET);
	(void)check_path(world.spool, sizeof(world.spool), world.dir, PROTO_SPOOL_DIR);
	(void)snprintf(world.netns, sizeof(world.netns), "berth-plugin-%d", (int)getpid());
	(void)snprintf(world.netns_path, sizeof(world.netns_path), "/run/netns/%s", world.netns);
	proto_host_ifname(&key, world.host_ifname);
	assert_int_equal(pthread_mutex_init(&world.fake.lock, NULL), 0);
	assert_int_equal(netns_add(world.netns, NULL), 0);
	assert_int_equal(netns_open(world.netns_path, &netns_fd, NULL), 0);
	assert_int_equal(net_open(&world.host, NULL), 0);
	assert_int_equal(net_open_ns(netns_fd, &world.pod, NULL), 0);
	fake_start(&world.fake);
	*state = &world;
	return 0;
}

static inline int teardown(void **state)
{
	struct world *world = *state;

	fake_stop(&world->fake);
	net_close(world->host);
	net_close(world->pod);
	(void)pthread_mutex_destroy(&world->fake.lock);
	assert_int_equal(netns_del(world->netns, NULL), 0);
	check_tmpdir_remove(world->dir);
	return check_fds_teardown(state);
}

static inline int count_links(const struct net_link *link, void *arg)
{
	(void)link;
	(*(int *)arg)++;
	return 0;
}

/* Only lo on both sides, no route of ours. */
static inline int any_of_ours(const struct net_route *route, void *arg)
{
	(void)arg;
	return route->protocol == BERTH_RTPROT;
}

static inline void nothing_is_left(struct world *world)
{
	int count = 0;

	assert_int_equal(net_links(world->host, count_links, &count, NULL), 0);
	assert_int_equal(net_links(world->pod, count_links, &count, NULL), 0);
	assert_int_equal(count, 2);
	assert_int_equal(net_routes(world->host, IP_V4, 0, any_of_ours, NULL, NULL), 0);
}

static inline bool is_wired(struct world *world)
{
	struct net_link link;

	return net_link_by_name(world->host, world->host_ifname, &link, NULL) == 0 &&
	       net_link_by_name(world->pod, "eth0", &link, NULL) == 0 &&
	       net_routes(world->host, IP_V4, NET_TABLE_LOCAL, any_of_ours, NULL, NULL) == 1;
}

/* The configuration with more keys: ",\"key\":value". */
static inline const char *conf_with(struct world *world, const char *version, const char *more,
				    char buf[static CONF_SIZE])
{
	(void)snprintf(buf, CONF_SIZE,
		       "{\"cniVersion\":\"%s\",\"name\":\"berth\",\"type\":\"berth\",\"socket\":\"%s\","
		       "\"timeoutMs\":100%s}",
		       version, world->fake.path, more);
	return buf;
}

static inline struct output run_more(struct world *world, const char *command, const char *more)
{
	static char conf[CONF_SIZE];
	const struct run how = { .command = command, .conf = conf_with(world, "1.1.0", more, conf) };

	return run(world, &how);
}

#define plugin_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
