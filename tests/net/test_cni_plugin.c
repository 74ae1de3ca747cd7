/* SPDX-License-Identifier: Apache-2.0 */
/* The real binary, run as a container runtime runs it, against a daemon of a few lines that does what a test wants. */
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

#define CONTAINER   "3f00aa"
#define POD_ADDR    "10.9.1.17"
#define POD_ADDR6   "2001:db8:9::17"
#define RUN_MS      30000 /* until a run must have ended; the slowest waits 2.1 s */
#define OPS_MAX     16
#define OUTPUT_MAX  65536
#define SPOOL_LIMIT 4096

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
	bool dual; /* an address of each family is given */
	enum fail_reason reason;
	enum err_class class;
	struct proto_request seen[OPS_MAX];
	size_t seen_count;
	const struct net_veth *take_name; /* made before the next ADD is answered; NULL: nothing */
	struct net *take_net;
};

static char *answer_text(struct fake *fake, const struct proto_request *request)
{
	struct proto_reply reply = { .ok = true };
	enum answer answer = fake->answer[request->op];

	if (answer == ANSWER_GARBAGE)
		return strdup("HTTP/1.1 400 Bad Request\r\n\r\n");
	if (answer == ANSWER_CLOSE)
		return strdup("");
	if (answer == ANSWER_REFUSE) {
		reply.ok = false;
		reply.reason = fake->reason;
		(void)err_set(&reply.error, fake->class, "fake", "told to refuse");
	} else if (request->op == PROTO_ADD && answer == ANSWER_OK) {
		reply.address_count = fake->dual ? 2 : 1;
		(void)prefix_parse(POD_ADDR "/32", &reply.addresses[0].address);
		(void)ipaddr_parse("169.254.1.1", &reply.addresses[0].gateway);
		(void)prefix_parse(POD_ADDR6 "/128", &reply.addresses[1].address);
		(void)ipaddr_parse("fe80::1", &reply.addresses[1].gateway);
		reply.mtu = 1400;
		proto_host_ifname(&request->key, reply.host_ifname);
	}
	return proto_reply_encode(&reply, NULL);
}

/* Return: whether the connection is to be kept open and silent. */
static bool serve(struct fake *fake, int fd)
{
	char line[PROTO_REQUEST_MAX];
	struct proto_request request;
	_cleanup_free_ char *text = NULL;
	ssize_t n = recv(fd, line, sizeof(line), 0);
	bool hang;

	if (n <= 0 || line[n - 1] != '\n' || proto_request_decode(line, (size_t)n, &request, NULL) < 0)
		return false;
	(void)pthread_mutex_lock(&fake->lock);
	if (fake->seen_count < OPS_MAX)
		fake->seen[fake->seen_count++] = request;
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

static void *fake_loop(void *arg)
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

static void fake_start(struct fake *fake)
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
static void fake_stop(struct fake *fake)
{
	if (!fake->running)
		return;
	assert_int_equal(eventfd_write(fake->stop_fd, 1), 0);
	assert_int_equal(pthread_join(fake->thread, NULL), 0);
	(void)close(fake->listen_fd);
	(void)close(fake->stop_fd);
	fake->running = false;
}

static void fake_answers(struct fake *fake, enum proto_op op, enum answer answer)
{
	(void)pthread_mutex_lock(&fake->lock);
	fake->answer[op] = answer;
	(void)pthread_mutex_unlock(&fake->lock);
}

static void fake_refuses(struct fake *fake, enum proto_op op, enum err_class class, enum fail_reason reason)
{
	(void)pthread_mutex_lock(&fake->lock);
	fake->answer[op] = ANSWER_REFUSE;
	fake->class = class;
	fake->reason = reason;
	(void)pthread_mutex_unlock(&fake->lock);
}

static struct proto_request fake_saw_first(struct fake *fake)
{
	struct proto_request request;

	(void)pthread_mutex_lock(&fake->lock);
	assert_true(fake->seen_count > 0);
	request = fake->seen[0];
	(void)pthread_mutex_unlock(&fake->lock);
	return request;
}

/* "add confirm" */
static const char *fake_saw(struct fake *fake, char buf[static 256])
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

struct output {
	int status;
	char *out;    /* owned */
	char *err;    /* owned */
	json_t *json; /* owned; NULL when there is none */
};

static void output_done(struct output *output)
{
	free(output->out);
	free(output->err);
	json_decref(output->json);
}
#define _cleanup_output_ _cleanup_(output_done)

static int temp_fd(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fs_write_all(fd, text, strlen(text)), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static char *read_back(int fd)
{
	char *text = NULL;

	if (lseek(fd, 0, SEEK_SET) == 0)
		assert_int_equal(fs_read_fd(fd, OUTPUT_MAX, &text, NULL), 0);
	(void)close(fd);
	return text;
}

static int wait_for(pid_t pid)
{
	int fd = pidfd_open(pid, 0);
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	int status = -1;

	assert_true(fd >= 0);
	if (poll(&pollfd, 1, RUN_MS) != 1)
		(void)kill(pid, SIGKILL);
	(void)close(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int spawn_and_wait(char **env, int in_fd, int out_fd, int err_fd)
{
	const char *build = getenv("BUILD");
	posix_spawn_file_actions_t actions;
	char path[512], name[] = "berth";
	char *argv[] = { name, NULL };
	pid_t pid;

	(void)check_path(path, sizeof(path), build ? build : "build", "berth");
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, in_fd, 0), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, out_fd, 1), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, err_fd, 2), 0);
	if (posix_spawn(&pid, path, &actions, NULL, argv, env) != 0)
		fail_msg("cannot run %s: BUILD must name the folder that it was built in", path);
	(void)posix_spawn_file_actions_destroy(&actions);
	return wait_for(pid);
}

struct run {
	const char *command;
	const char *netns; /* NULL: the pod's */
	const char *conf;
	const char *stdout_path; /* NULL: kept for the test */
};

static struct output run(struct world *world, const struct run *how)
{
	char command[64], netns[256];
	char container[] = "CNI_CONTAINERID=" CONTAINER, ifname[] = "CNI_IFNAME=eth0";
	char args[] = "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=web-0;K8S_POD_NAMESPACE=default;K8S_POD_UID=u-1";
	char cni_path[] = "CNI_PATH=/opt/cni/bin", leaks[] = "ASAN_OPTIONS=detect_leaks=1";
	char *env[] = { command, netns, container, ifname, args, cni_path, leaks, NULL };
	struct output output = { 0 };
	int in_fd = temp_fd(how->conf), err_fd = temp_fd("");
	int out_fd = how->stdout_path ? open(how->stdout_path, O_WRONLY | O_CLOEXEC) : temp_fd("");

	(void)snprintf(command, sizeof(command), "CNI_COMMAND=%s", how->command);
	(void)snprintf(netns, sizeof(netns), "CNI_NETNS=%s", how->netns ? how->netns : world->netns_path);
	output.status = spawn_and_wait(env, in_fd, out_fd, err_fd);
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

static const char *conf_of(struct world *world, const char *version, char buf[static 512])
{
	(void)snprintf(
		buf, 512,
		"{\"cniVersion\":\"%s\",\"name\":\"berth\",\"type\":\"berth\",\"socket\":\"%s\",\"timeoutMs\":100,"
		"\"moon\":{\"x\":[1]},\"capabilities\":{\"portMappings\":true},\"cni.dev/x\":1}",
		version, world->fake.path);
	return buf;
}

static struct output run_verb(struct world *world, const char *command)
{
	char conf[512];
	const struct run how = { .command = command, .conf = conf_of(world, "1.1.0", conf) };

	return run(world, &how);
}

static void check_error(const struct output *output, int code, const char *part)
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

static void run_fails(struct world *world, const char *command, int code, const char *part)
{
	_cleanup_output_ struct output output = run_verb(world, command);

	check_error(&output, code, part);
}

static void run_ok(struct world *world, const char *command)
{
	_cleanup_output_ struct output output = run_verb(world, command);

	if (output.status != 0)
		fail_msg("%s: %s %s", command, output.out, output.err);
}

static int setup(void **state)
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

static int teardown(void **state)
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

static int count_links(const struct net_link *link, void *arg)
{
	(void)link;
	(*(int *)arg)++;
	return 0;
}

/* Only lo on both sides, no route of ours. */
static int any_of_ours(const struct net_route *route, void *arg)
{
	(void)arg;
	return route->protocol == BERTH_RTPROT;
}

static void nothing_is_left(struct world *world)
{
	int count = 0;

	assert_int_equal(net_links(world->host, count_links, &count, NULL), 0);
	assert_int_equal(net_links(world->pod, count_links, &count, NULL), 0);
	assert_int_equal(count, 2);
	assert_int_equal(net_routes(world->host, IP_V4, 0, any_of_ours, NULL, NULL), 0);
}

static bool is_wired(struct world *world)
{
	struct net_link link;

	return net_link_by_name(world->host, world->host_ifname, &link, NULL) == 0 &&
	       net_link_by_name(world->pod, "eth0", &link, NULL) == 0 &&
	       net_routes(world->host, IP_V4, NET_TABLE_LOCAL, any_of_ours, NULL, NULL) == 1;
}

/* ---- ADD ---- */

static void test_add__of_each_family(void **state)
{
	struct world *world = *state;
	_cleanup_output_ struct output output = { 0 };
	json_t *ips;
	char ops[256];

	(void)pthread_mutex_lock(&world->fake.lock);
	world->fake.dual = true;
	(void)pthread_mutex_unlock(&world->fake.lock);
	output = run_verb(world, "ADD");
	if (output.status != 0)
		fail_msg("%s %s", output.out, output.err);
	assert_string_equal(fake_saw(&world->fake, ops), "add confirm");
	assert_true(is_wired(world));
	assert_int_equal(net_routes(world->host, IP_V6, NET_TABLE_LOCAL, any_of_ours, NULL, NULL), 1);
	assert_int_equal(net_routes(world->pod, IP_V6, 0, any_of_ours, NULL, NULL), 1);
	ips = json_object_get(output.json, "ips");
	assert_int_equal(json_array_size(ips), 2);
	assert_string_equal(json_string_value(json_object_get(json_array_get(ips, 0), "address")), POD_ADDR "/32");
	assert_string_equal(json_string_value(json_object_get(json_array_get(ips, 1), "address")), POD_ADDR6 "/128");
	assert_string_equal(json_string_value(json_object_get(json_array_get(ips, 1), "gateway")), "fe80::1");
}

static void test_add__wires_and_confirms(void **state)
{
	struct world *world = *state;
	_cleanup_output_ struct output output = run_verb(world, "ADD");
	const struct proto_request add = fake_saw_first(&world->fake);
	json_t *host, *pod, *ip;
	struct net_link link;
	char mac[MACADDR_STRLEN], ops[256];

	assert_int_equal(output.status, 0);
	assert_string_equal(output.err, "");
	assert_true(is_wired(world));
	assert_int_equal(add.op, PROTO_ADD);
	assert_string_equal(add.key.network, "berth");
	assert_string_equal(add.key.container, CONTAINER);
	assert_string_equal(add.netns, world->netns_path);
	assert_string_equal(add.pod.namespace, "default");
	assert_string_equal(add.pod.name, "web-0");
	assert_string_equal(add.pod.uid, "u-1");
	assert_int_equal(add.timeout_ms, 100);
	assert_string_equal(fake_saw(&world->fake, ops), "add confirm");
	host = json_array_get(json_object_get(output.json, "interfaces"), 0);
	pod = json_array_get(json_object_get(output.json, "interfaces"), 1);
	ip = json_array_get(json_object_get(output.json, "ips"), 0);
	assert_string_equal(json_string_value(json_object_get(host, "name")), world->host_ifname);
	assert_string_equal(json_string_value(json_object_get(host, "sandbox")), "");
	assert_string_equal(json_string_value(json_object_get(pod, "sandbox")), world->netns_path);
	assert_int_equal(json_integer_value(json_object_get(pod, "mtu")), 1400);
	assert_int_equal(net_link_by_name(world->pod, "eth0", &link, NULL), 0);
	assert_string_equal(json_string_value(json_object_get(pod, "mac")), macaddr_str(&link.mac, mac));
	assert_int_equal(net_link_by_name(world->host, world->host_ifname, &link, NULL), 0);
	assert_string_equal(json_string_value(json_object_get(host, "mac")), macaddr_str(&link.mac, mac));
	assert_string_equal(json_string_value(json_object_get(ip, "address")), POD_ADDR "/32");
	assert_int_equal(json_integer_value(json_object_get(ip, "interface")), 1);
}

static void test_add__every_version(void **state)
{
	static const char *const versions[] = { "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0" };
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		char conf[512];
		const struct run how = { .command = "ADD", .conf = conf_of(world, versions[i], conf) };
		_cleanup_output_ struct output output = run(world, &how);
		struct net_link link;

		assert_int_equal(output.status, 0);
		assert_string_equal(json_string_value(json_object_get(output.json, "cniVersion")), versions[i]);
		assert_int_equal(net_link_by_name(world->host, world->host_ifname, &link, NULL), 0);
		assert_int_equal(net_link_del(world->host, link.index, NULL), 0);
	}
}

static void test_add__twice_touches_nothing(void **state)
{
	struct world *world = *state;
	char ops[256];

	run_ok(world, "ADD");
	(void)fake_saw(&world->fake, ops);
	run_fails(world, "ADD", 4, "CNI_IFNAME");
	/* The lease of a living pod must not even be asked about. */
	assert_string_equal(fake_saw(&world->fake, ops), "");
	assert_true(is_wired(world));
}

static void test_add__name_taken_meanwhile(void **state)
{
	struct net_veth veth = { .name = "eth0", .peer_name = "other", .peer_netns_fd = -1 };
	struct world *world = *state;
	char ops[256];

	/* The fake makes the interface between its answer and the plugin's wiring. */
	(void)pthread_mutex_lock(&world->fake.lock);
	world->fake.take_name = &veth;
	world->fake.take_net = world->pod;
	(void)pthread_mutex_unlock(&world->fake.lock);
	run_fails(world, "ADD", 4, "CNI_IFNAME");
	assert_string_equal(fake_saw(&world->fake, ops), "add");
}

static void test_add__every_reason(void **state)
{
	static const int codes[FAIL_REASON_COUNT] = {
		[FAIL_NONE] = 11,       [FAIL_SUBNET_FULL] = 110, [FAIL_SUBNET_FRAGMENTED] = 110,
		[FAIL_NIC_LIMIT] = 111, [FAIL_THROTTLED] = 11,    [FAIL_PERMISSION] = 112,
		[FAIL_METADATA] = 11,   [FAIL_COOLING] = 11,      [FAIL_STARTING] = 11,
		[FAIL_PENDING] = 11,    [FAIL_STATE] = 11,        [FAIL_PAUSED] = 11,
	};
	struct world *world = *state;
	char ops[256];

	for (unsigned r = 0; r < FAIL_REASON_COUNT; r++) {
		fake_refuses(&world->fake, PROTO_ADD, ERR_EXHAUSTED, (enum fail_reason)r);
		_cleanup_output_ struct output output = run_verb(world, "ADD");

		check_error(&output, codes[r], "told to refuse");
		if (r != FAIL_NONE)
			assert_string_equal(json_string_value(json_object_get(output.json, "details")),
					    fail_reason_hint((enum fail_reason)r));
		assert_string_equal(fake_saw(&world->fake, ops), "add");
		nothing_is_left(world);
	}
}

static void test_add__daemon_down(void **state)
{
	struct world *world = *state;

	fake_stop(&world->fake);
	run_fails(world, "ADD", 11, "refused");
	assert_int_equal(unlink(world->fake.path), 0);
	run_fails(world, "ADD", 11, "No such file");
	nothing_is_left(world);
}

static void test_add__daemon_hangs__aws_40_32(void **state)
{
	struct world *world = *state;
	int64_t start_us = clock_now(&clock_boot);
	char ops[256];

	fake_answers(&world->fake, PROTO_ADD, ANSWER_HANG);
	run_fails(world, "ADD", 11, "did not answer");
	assert_true(clock_now(&clock_boot) - start_us < 5 * USEC_PER_SEC);
	assert_string_equal(fake_saw(&world->fake, ops), "add del");
	nothing_is_left(world);
}

static void test_add__daemon_talks_nonsense(void **state)
{
	struct world *world = *state;
	char ops[256];

	fake_answers(&world->fake, PROTO_ADD, ANSWER_GARBAGE);
	run_fails(world, "ADD", 101, "answer of daemon");
	assert_string_equal(fake_saw(&world->fake, ops), "add del");
	fake_answers(&world->fake, PROTO_ADD, ANSWER_NO_ADDRESS);
	run_fails(world, "ADD", 101, "holds none");
	assert_string_equal(fake_saw(&world->fake, ops), "add del");
	fake_answers(&world->fake, PROTO_ADD, ANSWER_CLOSE);
	run_fails(world, "ADD", 11, "closed");
	assert_string_equal(fake_saw(&world->fake, ops), "add del");
	nothing_is_left(world);
}

static void test_add__confirm_fails(void **state)
{
	struct world *world = *state;
	char ops[256];

	fake_refuses(&world->fake, PROTO_CONFIRM, ERR_CONFLICT, FAIL_NONE);
	run_fails(world, "ADD", 11, "confirm");
	assert_string_equal(fake_saw(&world->fake, ops), "add confirm del");
	nothing_is_left(world);
	fake_answers(&world->fake, PROTO_CONFIRM, ANSWER_HANG);
	run_fails(world, "ADD", 11, "confirm");
	assert_string_equal(fake_saw(&world->fake, ops), "add confirm del");
	nothing_is_left(world);
}

static void test_add__stdout_is_full(void **state)
{
	struct world *world = *state;
	char conf[512], ops[256];
	const struct run how = { .command = "ADD", .conf = conf_of(world, "1.1.0", conf), .stdout_path = "/dev/full" };
	_cleanup_output_ struct output output = run(world, &how);

	assert_int_equal(output.status, 1);
	assert_non_null(strstr(output.err, "code=5"));
	assert_string_equal(fake_saw(&world->fake, ops), "add confirm del");
	nothing_is_left(world);
}

static void test_add__netns_gone_or_own(void **state)
{
	static const char *const paths[] = { "/run/netns/berth-no-such-thing", "/proc/self/ns/net", "/etc/passwd" };
	struct world *world = *state;
	char conf[512], ops[256];

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		const struct run how = {
			.command = "ADD",
			.conf = conf_of(world, "1.1.0", conf),
			.netns = paths[i],
		};
		_cleanup_output_ struct output output = run(world, &how);

		check_error(&output, 8, "CNI_NETNS");
	}
	assert_string_equal(fake_saw(&world->fake, ops), "");
}

static void conf_fails(struct world *world, const char *conf, int code, const char *part)
{
	const struct run how = { .command = "ADD", .conf = conf };
	_cleanup_output_ struct output output = run(world, &how);

	check_error(&output, code, part);
}

static void test_add__bad_configurations(void **state)
{
	struct world *world = *state;

	conf_fails(world, "", 6, "stdin");
	conf_fails(world, "{\"cniVersion\":", 6, "stdin");
	conf_fails(world, "{\"name\":\"n\",\"type\":\"berth\"}", 1, "0.1.0");
	conf_fails(world, "{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"socket\":[]}", 7, "'socket'");
	conf_fails(world, "{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"prevResult\":{}}", 7, "'prevResult'");
	/* None of our keys: the default socket, which no test serves. */
	if (!fs_exists(PROTO_RUN_DIR "/" PROTO_SOCKET))
		conf_fails(world, "{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"type\":\"berth\"}", 11,
			   PROTO_RUN_DIR "/" PROTO_SOCKET);
}

/* ---- DEL ---- */

static void test_del__again_unknown_and_without_netns__aws_40_25(void **state)
{
	struct world *world = *state;
	char conf[512], ops[256];
	const struct run gone = {
		.command = "DEL",
		.conf = conf_of(world, "1.1.0", conf),
		.netns = "/run/netns/berth-no-such-thing",
	};
	const struct run empty = { .command = "DEL", .conf = conf, .netns = "" };

	run_ok(world, "ADD");
	run_ok(world, "DEL");
	run_ok(world, "DEL");
	assert_string_equal(fake_saw(&world->fake, ops), "add confirm del del");
	_cleanup_output_ struct output first = run(world, &gone);
	_cleanup_output_ struct output second = run(world, &empty);

	assert_int_equal(first.status, 0);
	assert_int_equal(second.status, 0);
	assert_string_equal(second.out, "");
	fake_refuses(&world->fake, PROTO_DEL, ERR_NOTFOUND, FAIL_NONE);
	run_ok(world, "DEL");
	assert_false(fs_exists(world->spool));
}

static void test_del__refused(void **state)
{
	struct world *world = *state;

	fake_refuses(&world->fake, PROTO_DEL, ERR_RETRY, FAIL_STATE);
	run_fails(world, "DEL", 11, "told to refuse");
	assert_false(fs_exists(world->spool));
}

static void check_spooled(struct world *world)
{
	struct lease_key key = { .network = "berth", .container = CONTAINER, .ifname = "eth0" };
	_cleanup_free_ char *line = NULL;
	struct proto_request request;
	char name[32], path[192];
	size_t size;

	(void)snprintf(name, sizeof(name), "%016llx", (unsigned long long)proto_key_hash(&key));
	assert_int_equal(fs_read(check_path(path, sizeof(path), world->spool, name), PROTO_REQUEST_MAX, &line, &size),
			 0);
	assert_int_equal(proto_request_decode(line, size, &request, NULL), 0);
	assert_int_equal(request.op, PROTO_DEL);
	assert_memory_equal(&request.key, &key, sizeof(key));
}

static void test_del__daemon_down(void **state)
{
	struct world *world = *state;

	run_ok(world, "ADD");
	fake_stop(&world->fake);
	for (int i = 0; i < 2; i++) {
		_cleanup_output_ struct output output = run_verb(world, "DEL");

		assert_int_equal(output.status, 0);
		assert_string_equal(output.out, "");
		assert_true(output.err && strstr(output.err, "lvl=warn"));
		nothing_is_left(world);
		check_spooled(world);
	}
}

static void test_del__daemon_hangs(void **state)
{
	struct world *world = *state;

	run_ok(world, "ADD");
	fake_answers(&world->fake, PROTO_DEL, ANSWER_HANG);
	run_ok(world, "DEL");
	nothing_is_left(world);
	check_spooled(world);
}

static void test_del__spool_cannot_be_written(void **state)
{
	struct world *world = *state;

	fake_stop(&world->fake);
	assert_int_equal(fs_write_atomic(world->spool, "x", 1, 0600), 0);
	run_fails(world, "DEL", 11, "spool");
}

static void test_del__spool_is_full(void **state)
{
	struct world *world = *state;
	char path[192];

	fake_stop(&world->fake);
	assert_int_equal(fs_mkdir_p(world->spool, 0700), 0);
	for (int i = 0; i < SPOOL_LIMIT; i++) {
		int fd;

		(void)snprintf(path, sizeof(path), "%s/%d", world->spool, i);
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		assert_true(fd >= 0);
		(void)close(fd);
	}
	run_fails(world, "DEL", 11, "holds 4096 files");
	assert_int_equal(unlink(path), 0);
	run_ok(world, "DEL");
	check_spooled(world);
	/* It is full again, but this one is there already. */
	run_ok(world, "DEL");
}

#define plugin_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		plugin_test(test_add__of_each_family),
		plugin_test(test_add__wires_and_confirms),
		plugin_test(test_add__every_version),
		plugin_test(test_add__twice_touches_nothing),
		plugin_test(test_add__name_taken_meanwhile),
		plugin_test(test_add__every_reason),
		plugin_test(test_add__daemon_down),
		plugin_test(test_add__daemon_hangs__aws_40_32),
		plugin_test(test_add__daemon_talks_nonsense),
		plugin_test(test_add__confirm_fails),
		plugin_test(test_add__stdout_is_full),
		plugin_test(test_add__netns_gone_or_own),
		plugin_test(test_add__bad_configurations),
		plugin_test(test_del__again_unknown_and_without_netns__aws_40_25),
		plugin_test(test_del__refused),
		plugin_test(test_del__daemon_down),
		plugin_test(test_del__daemon_hangs),
		plugin_test(test_del__spool_cannot_be_written),
		plugin_test(test_del__spool_is_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
