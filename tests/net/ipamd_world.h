/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon in this process, whole: its loop on a thread of a network namespace that is made for the test, a mock AWS on
 * 127.0.0.1 of that namespace, eth0 with the MAC of the seeded instance, private run and conflist directories. The
 * namespace has no name: it goes with the last thread and socket in it.
 */
#ifndef TESTS_NET_IPAMD_WORLD_H
#define TESTS_NET_IPAMD_WORLD_H

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/net.h"
#include "berth/str.h"
#include "berth/version.h"
#include "ipamd/ipamd.h"
#include "mocks/aws/aws_mock.h"
#include "mocks/faults.h"
#include "tests/check.h"

#define NODE_MAC     "0a:58:0a:00:01:0a"
#define NODE_PRIMARY "10.0.1.10"
#define SECRET       "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define PATIENCE_US  (10 * USEC_PER_SEC) /* no condition of these tests takes two seconds */
#define LOOK_MS      2                   /* between two looks at a condition */
#define HOUR_US      (3600 * USEC_PER_SEC)
#define PODS_MAX     64

/* What the node holds at the start. */
#define FOUR "[\"10.0.1.21\",\"10.0.1.22\",\"10.0.1.23\",\"10.0.1.24\"]"
#define ONE  "[\"10.0.1.21\"]"
#define NONE "[]"

#define SOON_MS 300 /* an ADD that shall fail waits this long */
#define LATE_MS 600 /* an answer of the cloud that comes late; the same without the fault takes a tenth */

struct world {
	struct aws_mock *mock;
	struct config config;
	char socket[CONFIG_TEXT_SIZE + 16];
	pthread_t thread;
	bool running;
	sem_t opened;
	int open_rc, run_rc;
	struct err err;
	const char *mounted; /* file system of this test's own; NULL = none */
};

/* ---- small words ---- */

#define until(condition)                                                                                               \
	do {                                                                                                           \
		int64_t end_us_ = clock_now(&clock_boot) + PATIENCE_US;                                                \
		while (!(condition)) {                                                                                 \
			if (clock_now(&clock_boot) > end_us_)                                                          \
				fail_msg("not within %d s: %s", (int)(PATIENCE_US / USEC_PER_SEC), #condition);        \
			(void)poll(NULL, 0, LOOK_MS);                                                                  \
		}                                                                                                      \
	} while (0)

#define must(call)                                                                                                     \
	do {                                                                                                           \
		struct err err = { 0 };                                                                                \
		if ((call) < 0)                                                                                        \
			fail_msg("%s: %s", #call, err.msg);                                                            \
	} while (0)

/* ---- the node ---- */

static inline void make_eth0(void)
{
	_cleanup_net_ struct net *net = NULL;
	struct net_veth veth = { .name = "eth0", .peer_netns_fd = -1, .peer_name = "fabric", .up = true };
	struct ipaddr addr;
	struct macaddr mac;
	struct net_link link;

	assert_int_equal(macaddr_parse(NODE_MAC, &mac), 0);
	assert_int_equal(ipaddr_parse(NODE_PRIMARY, &addr), 0);
	veth.mac = &mac;
	must(net_open(&net, &err));
	must(net_link_by_name(net, "lo", &link, &err));
	must(net_link_set_up(net, link.index, true, &err));
	must(net_veth_add(net, &veth, &err));
	must(net_link_by_name(net, "fabric", &link, &err));
	must(net_link_set_up(net, link.index, true, &err));
	must(net_link_by_name(net, "eth0", &link, &err));
	must(net_link_set_up(net, link.index, true, &err));
	must(net_addr_add(net, link.index, &addr, 24, 0, &err));
}

/* As `ip link` by name: is a link there? */
static inline bool has_link(const char *name)
{
	_cleanup_net_ struct net *net = NULL;
	struct net_link link;

	must(net_open(&net, &err));
	return net_link_by_name(net, name, &link, NULL) == 0;
}

/* A pod of that key as the plugin left it: link and route, known to the kernel alone. */
static inline void make_pod(const struct lease_key *key, const char *address)
{
	_cleanup_net_ struct net *net = NULL;
	char name[LEASE_IFNAME_SIZE];
	struct net_veth veth = { .name = name, .peer_netns_fd = -1, .peer_name = "pod", .up = true };
	struct net_route route = { .type = NET_ROUTE_UNICAST, .table = NET_TABLE_LOCAL, .protocol = BERTH_RTPROT };
	struct net_link link;

	proto_host_ifname(key, name);
	assert_int_equal(prefix_parse(address, &route.dst), 0);
	must(net_open(&net, &err));
	must(net_veth_add(net, &veth, &err));
	must(net_link_by_name(net, name, &link, &err));
	must(net_link_set_up(net, link.index, true, &err));
	route.oif = link.index;
	must(net_route_replace(net, &route, &err));
}

static inline void defaults(struct world *w)
{
	const char *dir = check_tmpdir();

	config_defaults(&w->config);
	(void)check_path(w->config.run_dir, sizeof(w->config.run_dir), dir, "run");
	(void)check_path(w->config.conflist_dir, sizeof(w->config.conflist_dir), dir, "cni");
	(void)check_path(w->socket, sizeof(w->socket), w->config.run_dir, PROTO_SOCKET);
	w->config.metrics_address[0] = '\0';
	w->config.warm_ips = 0; /* what is bought is bought for somebody */
	w->config.max_nics = 1;
	w->config.cooldown_us = USEC_PER_MSEC;
	w->config.release_delay_us = w->config.list_period_us = w->config.unconfirmed_us = HOUR_US;
}

static inline int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	if (!w || check_fds_setup(state) < 0)
		return -1;
	*state = w;
	if (sem_init(&w->opened, 0, 0) < 0 || unshare(CLONE_NEWNET) < 0)
		return -1;
	make_eth0();
	defaults(w);
	return 0;
}

/* A node whose one NIC takes @units addresses beside its primary and holds @have, a JSON list, at the start. */
static inline void make_cloud(struct world *w, unsigned units, const char *have)
{
	char seed[4096];

	(void)snprintf(seed, sizeof(seed),
		       "{\"region\":\"us-west-2\",\"vpc\":{\"cidrs\":[\"10.0.0.0/16\"]},"
		       "\"subnets\":[{\"cidr\":\"10.0.1.0/24\",\"az\":\"us-west-2a\"}],"
		       "\"instance_types\":[{\"name\":\"t.test\",\"nics\":2,\"addresses\":%u}],"
		       "\"credentials\":[{\"access_key\":\"AKIDEXAMPLE\",\"secret\":\"" SECRET "\"}],"
		       "\"instances\":[{\"name\":\"n1\",\"type\":\"t.test\",\"subnet\":0,\"mac\":\"" NODE_MAC "\","
		       "\"primary\":\"" NODE_PRIMARY "\",\"addresses\":%s}]}",
		       units + 1, have);
	must(aws_mock_start(seed, NULL, &w->mock, &err));
	assert_int_equal(setenv("AWS_ENDPOINT_URL_EC2", aws_mock_api_url(w->mock), 1), 0);
	assert_int_equal(setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws_mock_metadata_url(w->mock, NULL), 1), 0);
	assert_int_equal(setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", 1), 0);
	assert_int_equal(setenv("AWS_SECRET_ACCESS_KEY", SECRET, 1), 0);
}

/* ---- the daemon ---- */

static inline void *daemon_main(void *arg)
{
	struct world *w = arg;
	struct ipamd *d = NULL;

	w->open_rc = ipamd_open(&w->config, &d, &w->err);
	(void)sem_post(&w->opened);
	if (w->open_rc < 0)
		return NULL;
	w->run_rc = ipamd_run(d, &w->err);
	ipamd_close(d);
	return NULL;
}

static inline void start(struct world *w)
{
	struct timespec end;

	assert_false(w->running);
	assert_int_equal(pthread_create(&w->thread, NULL, daemon_main, w), 0);
	w->running = true;
	(void)clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += PATIENCE_US / USEC_PER_SEC;
	assert_int_equal(sem_timedwait(&w->opened, &end), 0);
	if (w->open_rc < 0)
		fail_msg("open: %s", w->err.msg);
}

/* As a supervisor does: the signal is read by the loop's signalfd. */
static inline void stop(struct world *w)
{
	w->running = false;
	if (w->open_rc == 0)
		(void)pthread_kill(w->thread, SIGTERM);
	(void)pthread_join(w->thread, NULL);
}

static inline int world_teardown(void **state)
{
	struct world *w = *state;
	int rc = 0;

	if (w->running)
		stop(w);
	if (w->run_rc < 0) {
		print_error("ipamd_run: %s\n", w->err.msg);
		rc = -1;
	}
	aws_mock_stop(w->mock);
	if (w->mounted)
		(void)umount2(w->mounted, MNT_DETACH);
	(void)sem_destroy(&w->opened);
	free(w);
	*state = NULL;
	return check_fds_teardown(state) < 0 ? -1 : rc;
}

#define world_test(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

/* Mounts and the signals of these tests are this process's own. */
static inline int world_group_setup(void **state)
{
	sigset_t set;

	(void)state;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGPIPE);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0 || unshare(CLONE_NEWNS) < 0)
		return -1;
	return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

/* ---- the cloud's side ---- */

static inline void fault(struct world *w, const char *action, struct fault fault)
{
	(void)str_copy(fault.action, sizeof(fault.action), action);
	assert_int_equal(aws_mock_fault(w->mock, &fault), 0);
}

static inline void refuse(struct world *w, const char *action, int status, const char *code)
{
	struct fault f = { .kind = FAULT_ERROR, .count = FAULT_FOREVER, .status = status };

	(void)str_copy(f.code, sizeof(f.code), code);
	(void)str_copy(f.message, sizeof(f.message), "the mock says no");
	fault(w, action, f);
}

static inline void heal(struct world *w)
{
	aws_mock_faults_clear(w->mock);
}

/* Whoever asks metadata waits, and gets nothing. */
static const struct fault metadata_hangs = { .kind = FAULT_HANG, .count = FAULT_FOREVER, .ms = SOON_MS };

/* How often the cloud was asked for @action. */
static inline long long calls(struct world *w, const char *action)
{
	_cleanup_free_ char *text = aws_mock_control(w->mock, "state", NULL, NULL);
	json_auto_t *state = json_loads(text, 0, NULL);
	const json_t *counter = json_object_get(json_object_get(state, "counters"), action);

	return (long long)json_integer_value(json_object_get(counter, "calls"));
}

/* ---- the plugin's side ---- */

static inline struct proto_request request_of(enum proto_op op, const char *container)
{
	struct proto_request request = { .op = op, .key = { .network = "berth", .ifname = "eth0" } };

	(void)str_copy(request.key.container, sizeof(request.key.container), container);
	if (op == PROTO_ADD) {
		(void)str_copy(request.pod.namespace, sizeof(request.pod.namespace), "default");
		(void)str_copy(request.pod.name, sizeof(request.pod.name), "web");
		(void)str_copy(request.netns, sizeof(request.netns), "/run/netns/none");
		request.timeout_ms = PATIENCE_US / USEC_PER_MSEC;
	}
	return request;
}

static inline void send_request(struct world *w, const struct proto_request *request, struct proto_reply *ret)
{
	memset(ret, 0, sizeof(*ret));
	must(proto_call(w->socket, request, clock_now(&clock_boot) + PATIENCE_US, ret, &err));
}

static inline void call(struct world *w, enum proto_op op, const char *container, struct proto_reply *ret)
{
	struct proto_request request = request_of(op, container);

	send_request(w, &request, ret);
}

static inline void must_call(struct world *w, enum proto_op op, const char *container)
{
	_cleanup_reply_ struct proto_reply reply;

	call(w, op, container, &reply);
	if (!reply.ok)
		fail_msg("%s %s: %s", proto_op_name(op), container, reply.error.msg);
}

/* ADD that must come through. Return: @text, the address. */
static inline const char *add(struct world *w, const char *container, char text[static PREFIX_STRLEN])
{
	_cleanup_reply_ struct proto_reply reply;

	call(w, PROTO_ADD, container, &reply);
	if (!reply.ok)
		fail_msg("add %s: %s (%s)", container, reply.error.msg, fail_reason_name(reply.reason));
	return prefix_str(&reply.addresses[0].address, text);
}

static inline void del(struct world *w, const char *container)
{
	must_call(w, PROTO_DEL, container);
}

/* ADD that must fail within @timeout_ms, and why. */
static inline void add_fails(struct world *w, const char *container, int timeout_ms, const char *reason)
{
	struct proto_request request = request_of(PROTO_ADD, container);
	_cleanup_reply_ struct proto_reply reply;

	request.timeout_ms = timeout_ms;
	send_request(w, &request, &reply);
	assert_false(reply.ok);
	if (!str_equal(fail_reason_name(reply.reason), reason))
		fail_msg("%s instead of %s: %s", fail_reason_name(reply.reason), reason, reply.error.msg);
}

/* A plugin that has asked and waits. Return: its socket. */
static inline int ask(struct world *w, const char *container)
{
	struct proto_request request = request_of(PROTO_ADD, container);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_free_ char *line = NULL;
	size_t size;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	line = proto_request_encode(&request, &size);
	assert_non_null(line);
	assert_int_equal(str_copy(addr.sun_path, sizeof(addr.sun_path), w->socket), 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(fs_write_all(fd, line, size), 0);
	return fd;
}

static inline bool is_answered(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* What came of ask(); closes @fd. */
static inline void answer(int fd, struct proto_reply *ret)
{
	_cleanup_free_ char *line = NULL;
	size_t size;

	memset(ret, 0, sizeof(*ret));
	until(is_answered(fd));
	assert_int_equal(fs_read_fd(fd, PROTO_REPLY_MAX, &line, &size), 0);
	(void)close(fd);
	must(proto_reply_decode(line, size, ret, &err));
}

static inline void answer_ok(int fd, char text[static PREFIX_STRLEN])
{
	_cleanup_reply_ struct proto_reply reply;

	answer(fd, &reply);
	if (!reply.ok)
		fail_msg("no address: %s", reply.error.msg);
	(void)prefix_str(&reply.addresses[0].address, text);
}

static inline void assert_not_found(struct world *w, enum proto_op op, const char *container)
{
	_cleanup_reply_ struct proto_reply reply;

	call(w, op, container, &reply);
	assert_false(reply.ok);
	assert_int_equal(reply.error.class, ERR_NOTFOUND);
}

/* ---- what berthctl sees ---- */

static inline json_t *state_of(struct world *w)
{
	_cleanup_reply_ struct proto_reply reply;

	call(w, PROTO_STATE, "any", &reply);
	assert_true(reply.ok);
	assert_non_null(reply.state);
	return json_incref(reply.state);
}

static inline long long count_of(struct world *w, const char *key)
{
	json_auto_t *state = state_of(w);

	return (long long)json_integer_value(json_object_get(json_object_get(state, "addresses"), key));
}

static inline bool is_counted(struct world *w, long long total, long long leased, long long waiting)
{
	return count_of(w, "total") == total && count_of(w, "leased") == leased && count_of(w, "waiting") == waiting;
}

/* Does the cloud work on the primary NIC for us? @what: "assign", "release", ... */
static inline bool is_busy(struct world *w, const char *what)
{
	json_auto_t *state = state_of(w);
	const json_t *nic = json_array_get(json_object_get(state, "nics"), 0);
	const char *busy = json_string_value(json_object_get(nic, "busy"));

	return busy && str_equal(busy, what);
}

static inline bool is_blocked(struct world *w, const char *reason)
{
	json_auto_t *state = state_of(w);
	const char *text = json_string_value(json_object_get(json_object_get(state, "blocked"), "reason"));

	return text && str_equal(text, reason);
}

static inline bool has_conflist(struct world *w)
{
	char path[PATH_MAX];

	return fs_exists(check_path(path, sizeof(path), w->config.conflist_dir, w->config.conflist_name));
}

/* ---- what Prometheus sees ---- */

#define METRICS_PORT 9479
#define PAGE_MAX     (1U << 20)

/* Return: the body, owned. */
static inline char *metrics_page(void)
{
	static const char get[] = "GET /metrics HTTP/1.0\r\n\r\n";
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(METRICS_PORT),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char *page = NULL, *body;

	assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(fs_write_all(fd, get, sizeof(get) - 1), 0);
	assert_int_equal(fs_read_fd(fd, PAGE_MAX, &page, NULL), 0);
	(void)close(fd);
	assert_true(str_starts(page, "HTTP/1."));
	body = strstr(page, "\r\n\r\n");
	assert_non_null(body);
	memmove(page, body + 4, strlen(body + 4) + 1);
	return page;
}

static inline void assert_sample(const char *page, const char *series, long long value)
{
	char line[192];

	(void)snprintf(line, sizeof(line), "\n%s %lld\n", series, value);
	if (!strstr(page, line))
		fail_msg("no '%s %lld' in %s", series, value, page);
}

/* What @series stands at. */
static inline long long sample_of(const char *series)
{
	_cleanup_free_ char *page = metrics_page();
	const char *line = page;
	char *end;
	long long value;

	while (line && (!str_starts(line, series) || line[strlen(series)] != ' '))
		line = (line = strchr(line, '\n')) ? line + 1 : NULL;
	if (!line) {
		fail_msg("no '%s' in %s", series, page);
		return -1;
	}
	value = strtoll(line + strlen(series) + 1, &end, 10);
	assert_true(*end == '\n');
	return value;
}

#endif
