/* SPDX-License-Identifier: Apache-2.0 */
/* A server on a real socket in a private directory, driven by its own small epoll loop; clients are plain sockets. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"
#include "ipamd/loop.h"
#include "ipamd/server.h"
#include "tests/check.h"

#define DEADLINE_US (10 * USEC_PER_SEC) /* no condition of these tests takes a second */
#define CLIENTS_MAX (SERVER_CONNS_MAX + 8)
#define ADD_LINE                                                                                                       \
	"{\"v\":1,\"op\":\"add\",\"network\":\"berth\",\"container\":\"c1\",\"ifname\":\"eth0\",\"netns\":\"/n\"}\n"
#define STATUS_LINE "{\"v\":1,\"op\":\"status\"}\n"

/* What the handler of this test does with a request. */
enum manner { ANSWER, KEEP, ANSWER_BIG };

struct world {
	int epoll_fd;
	struct server *server;
	char dir[256], path[512];
	enum manner manner;
	unsigned requests, gone;
	struct server_conn *kept[CLIENTS_MAX];
	unsigned kept_count;
	enum proto_op last_op;
	int64_t now_us; /* the clock that the server sees */
};

static void answer(struct server_conn *conn, size_t extra)
{
	struct proto_reply reply = { .ok = true };

	if (extra) {
		char *text = malloc(extra + 1);

		assert_non_null(text);
		memset(text, 'x', extra);
		text[extra] = '\0';
		reply.state = json_pack("{s:s}", "pad", text);
		free(text);
		assert_non_null(reply.state);
	}
	server_reply(conn, &reply);
}

static void on_request(void *ctx, struct server_conn *conn, const struct proto_request *request)
{
	struct world *w = ctx;

	w->requests++;
	w->last_op = request->op;
	if (w->manner == KEEP) {
		assert_true(w->kept_count < CLIENTS_MAX);
		w->kept[w->kept_count++] = conn;
		return;
	}
	answer(conn, w->manner == ANSWER_BIG ? 3U << 20 : 0);
}

static void on_gone(void *ctx, struct server_conn *conn)
{
	struct world *w = ctx;

	w->gone++;
	for (unsigned i = 0; i < w->kept_count; i++) {
		if (w->kept[i] == conn) {
			w->kept[i] = w->kept[--w->kept_count];
			return;
		}
	}
	fail_msg("a connection that was not waiting is gone");
}

static const struct server_ops ops = { on_request, on_gone };

/* ---- the loop ---- */

/* One turn: the events that are there, then the tick. Return: how many there were. */
static int turn(struct world *w, int wait_ms)
{
	struct epoll_event events[64];
	int n = epoll_wait(w->epoll_fd, events, ARRAY_SIZE(events), wait_ms);

	for (int i = 0; i < n; i++) {
		struct loop_item *item = events[i].data.ptr;

		if (item->kind == LOOP_LISTEN)
			server_accept(w->server, w->now_us);
		else
			server_conn_event(w->server, item, events[i].events, w->now_us);
	}
	(void)server_tick(w->server, w->now_us);
	return n;
}

#define turn_until(w, condition)                                                                                       \
	do {                                                                                                           \
		int64_t end_us_ = clock_now(&clock_boot) + DEADLINE_US;                                                \
		while (!(condition)) {                                                                                 \
			(void)turn((w), 10);                                                                           \
			if (clock_now(&clock_boot) > end_us_)                                                          \
				fail_msg("never came true: %s", #condition);                                           \
		}                                                                                                      \
	} while (0)

static int start(struct world *w, struct err *err)
{
	return server_open(w->dir, w->epoll_fd, &ops, w, &w->server, err);
}

static int setup(void **state)
{
	struct world *w;
	struct err err;

	if (check_fds_setup(state) < 0)
		return -1;
	w = calloc(1, sizeof(*w));
	assert_non_null(w);
	check_path(w->dir, sizeof(w->dir), check_tmpdir(), "run");
	check_path(w->path, sizeof(w->path), w->dir, PROTO_SOCKET);
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	w->now_us = 1000;
	if (start(w, &err) < 0)
		fail_msg("%s", err.msg);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	server_close(w->server);
	(void)close(w->epoll_fd);
	free(w);
	return check_fds_teardown(state);
}

/* ---- clients ---- */

static int dial(const struct world *w)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(str_copy(addr.sun_path, sizeof(addr.sun_path), w->path), 0);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		fail_msg("connect: %s", errno_str(errno));
	return fd;
}

static void say(int fd, const char *bytes, size_t size)
{
	assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

static bool readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

/* The reply and the end of the connection; closes @fd. */
static void expect_reply(struct world *w, int fd, struct proto_reply *ret)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	struct err err;

	for (;;) {
		char chunk[65536];
		ssize_t n;

		turn_until(w, readable(fd));
		n = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == ECONNRESET)) /* reset: the server did not read all that we sent */
			break;
		assert_true(n > 0);
		strbuf_add_bytes(&text, chunk, (size_t)n);
	}
	(void)close(fd);
	assert_true(text.len > 0);
	if (proto_reply_decode(text.text, text.len, ret, &err) < 0)
		fail_msg("%s", err.msg);
}

static void expect_refusal(struct world *w, int fd, enum err_class class, const char *word)
{
	struct proto_reply reply;

	expect_reply(w, fd, &reply);
	assert_false(reply.ok);
	assert_int_equal(reply.error.class, class);
	if (!strstr(reply.error.msg, word))
		fail_msg("\"%s\" is not in: %s", word, reply.error.msg);
	assert_int_equal(w->requests, 0);
	assert_int_equal(server_refused(w->server), 1);
	proto_reply_done(&reply);
}

static void expect_ok(struct world *w, int fd)
{
	struct proto_reply reply;

	expect_reply(w, fd, &reply);
	assert_true(reply.ok);
	proto_reply_done(&reply);
}

/* ---- requests ---- */

static void test_server__answers_at_once(void **state)
{
	struct world *w = *state;
	int fd = dial(w);

	say(fd, STATUS_LINE, strlen(STATUS_LINE));
	expect_ok(w, fd);
	assert_int_equal(w->requests, 1);
	assert_int_equal(w->last_op, PROTO_STATUS);
	assert_int_equal(server_refused(w->server), 0);
}

static void test_server__request_in_single_bytes(void **state)
{
	struct world *w = *state;
	int fd = dial(w);

	for (size_t i = 0; i < strlen(ADD_LINE); i++) {
		say(fd, &ADD_LINE[i], 1);
		(void)turn(w, 0);
	}
	expect_ok(w, fd);
	assert_int_equal(w->last_op, PROTO_ADD);
}

static void test_server__longest_request_that_is_taken(void **state)
{
	struct world *w = *state;
	char line[PROTO_REQUEST_MAX];
	int fd = dial(w);

	memset(line, ' ', sizeof(line));
	for (size_t i = 0; STATUS_LINE[i] != '\n'; i++)
		line[i] = STATUS_LINE[i];
	line[sizeof(line) - 1] = '\n';
	say(fd, line, sizeof(line));
	expect_ok(w, fd);
}

static void test_server__peer_that_shut_its_sending_half(void **state)
{
	struct world *w = *state;
	int fd = dial(w);

	w->manner = KEEP;
	say(fd, ADD_LINE, strlen(ADD_LINE));
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	turn_until(w, w->kept_count == 1);
	/* it waits, and is not spun on */
	assert_int_equal(turn(w, 50), 0);
	assert_int_equal(w->gone, 0);
	answer(w->kept[0], 0);
	expect_ok(w, fd);
}

/* ---- bad input ---- */

static void test_server__oversize(void **state)
{
	struct world *w = *state;
	static char junk[PROTO_GC_MAX];
	int fd = dial(w);

	memset(junk, ' ', sizeof(junk));
	say(fd, junk, sizeof(junk));
	expect_refusal(w, fd, ERR_PROTOCOL, "longer than");
}

static void test_server__half_a_line(void **state)
{
	struct world *w = *state;
	int fd = dial(w);

	say(fd, ADD_LINE, strlen(ADD_LINE) - 1);
	turn_until(w, turn(w, 0) == 0);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	expect_refusal(w, fd, ERR_PROTOCOL, "before the newline");
}

static void test_server__half_a_line_and_then_nothing(void **state)
{
	struct world *w = *state;
	int fd = dial(w);

	say(fd, ADD_LINE, 10);
	turn_until(w, turn(w, 0) == 0);
	assert_int_equal(server_tick(w->server, w->now_us), w->now_us + SERVER_READ_US);
	w->now_us += SERVER_READ_US - 1;
	(void)turn(w, 0);
	assert_false(readable(fd));
	w->now_us++;
	expect_refusal(w, fd, ERR_PROTOCOL, "in time");
	assert_int_equal(server_tick(w->server, w->now_us), INT64_MAX);
}

static void test_server__garbage(void **state)
{
	struct world *w = *state;
	int fd = dial(w);

	say(fd, "\x00\xff{]\n", 5);
	expect_refusal(w, fd, ERR_PROTOCOL, "JSON");
}

static void test_server__wrong_version(void **state)
{
	static const char line[] = "{\"v\":2,\"op\":\"status\"}\n";
	struct world *w = *state;
	int fd = dial(w);

	say(fd, line, strlen(line));
	expect_refusal(w, fd, ERR_PROTOCOL, "version 2");
}

static void test_server__unknown_op(void **state)
{
	static const char line[] = "{\"v\":1,\"op\":\"dance\"}\n";
	struct world *w = *state;
	int fd = dial(w);

	say(fd, line, strlen(line));
	expect_refusal(w, fd, ERR_PROTOCOL, "dance");
}

/* Peer credentials are those of the moment of connect(); the modes would keep such a process out before that. */
static void dial_as_nobody(const struct world *w)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char text[1024];
	ssize_t n;
	int fd;

	/* relative: what lies above the directory may be closed to others */
	(void)str_copy(addr.sun_path, sizeof(addr.sun_path), PROTO_SOCKET);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (chdir(w->dir) < 0 || setresuid(65534, 65534, 65534) < 0 ||
	    connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		_exit(2);
	n = recv(fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		_exit(3);
	text[n] = '\0';
	_exit(strstr(text, "AUTH") && strstr(text, "uid 65534") ? 0 : 4);
}

static void test_server__another_uid(void **state)
{
	struct world *w = *state;
	int status = 0;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(w->dir, 0711) | chmod(w->path, 0666), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		dial_as_nobody(w);
	turn_until(w, server_refused(w->server) == 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(w->requests, 0);
}

/* ---- waiting ---- */

static void test_server__peer_goes_away_while_it_waits(void **state)
{
	struct world *w = *state;
	int fd = dial(w), other = dial(w);

	w->manner = KEEP;
	say(fd, ADD_LINE, strlen(ADD_LINE));
	say(other, ADD_LINE, strlen(ADD_LINE));
	turn_until(w, w->kept_count == 2);
	(void)close(fd);
	turn_until(w, w->gone == 1);
	assert_int_equal(w->kept_count, 1);
	answer(w->kept[0], 0);
	expect_ok(w, other);
}

static void test_server__peer_went_away_and_is_answered(void **state)
{
	struct world *w = *state;
	int fd = dial(w);

	w->manner = KEEP;
	say(fd, ADD_LINE, strlen(ADD_LINE));
	turn_until(w, w->kept_count == 1);
	(void)close(fd);
	answer(w->kept[0], 0); /* before the loop saw it; must not raise SIGPIPE, and gone must not follow */
	assert_int_equal(turn(w, 50), 0);
	assert_int_equal(w->gone, 0);
}

/* Two events of one batch: the handler of the first ends the connection of the second. */
static void test_server__event_of_a_connection_that_was_closed_meanwhile(void **state)
{
	struct world *w = *state;
	struct epoll_event event;
	int fd = dial(w), next;

	w->manner = KEEP;
	say(fd, ADD_LINE, strlen(ADD_LINE));
	turn_until(w, w->kept_count == 1);
	(void)close(fd);
	assert_int_equal(epoll_wait(w->epoll_fd, &event, 1, 1000), 1);
	answer(w->kept[0], 0);
	w->kept_count = 0;
	server_conn_event(w->server, event.data.ptr, event.events, w->now_us);
	assert_int_equal(w->gone, 0);
	/* and when its slot is in use again */
	for (unsigned i = 0; i < SERVER_CONNS_MAX; i++) {
		next = dial(w);
		w->manner = i == SERVER_CONNS_MAX - 1 ? KEEP : ANSWER;
		say(next, ADD_LINE, strlen(ADD_LINE));
		if (w->manner == ANSWER)
			expect_ok(w, next);
	}
	turn_until(w, w->kept_count == 1);
	assert_ptr_equal(event.data.ptr, (struct loop_item *)(void *)w->kept[0]);
	server_conn_event(w->server, event.data.ptr, EPOLLHUP, w->now_us);
	assert_int_equal(w->gone, 0);
	answer(w->kept[0], 0);
	expect_ok(w, next);
}

/* ---- replies that do not fit ---- */

static void test_server__big_reply_to_a_slow_reader(void **state)
{
	struct world *w = *state;
	struct proto_reply reply;
	int fd = dial(w);

	w->manner = ANSWER_BIG;
	say(fd, STATUS_LINE, strlen(STATUS_LINE));
	turn_until(w, w->requests == 1);
	expect_reply(w, fd, &reply);
	assert_true(reply.ok);
	assert_int_equal(json_string_length(json_object_get(reply.state, "pad")), 3U << 20);
	proto_reply_done(&reply);
	assert_int_equal(server_tick(w->server, w->now_us), INT64_MAX);
}

static void test_server__big_reply_to_nobody(void **state)
{
	struct world *w = *state;
	size_t fds;
	int fd = dial(w);

	w->manner = ANSWER_BIG;
	say(fd, STATUS_LINE, strlen(STATUS_LINE));
	turn_until(w, w->requests == 1);
	fds = check_open_fds();
	assert_int_equal(server_tick(w->server, w->now_us), w->now_us + SERVER_WRITE_US);
	assert_int_equal(check_open_fds(), fds);
	w->now_us += SERVER_WRITE_US;
	assert_int_equal(server_tick(w->server, w->now_us), INT64_MAX);
	assert_int_equal(check_open_fds(), fds - 1);
	(void)close(fd);
}

/* ---- many ---- */

static void raise_limit(void)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_cur < 4096) {
		limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	}
}

static void test_server__more_connections_than_there_may_be(void **state)
{
	struct world *w = *state;
	int fds[SERVER_CONNS_MAX], over[3];
	struct proto_reply reply;

	raise_limit();
	w->manner = KEEP;
	for (unsigned i = 0; i < SERVER_CONNS_MAX; i++) {
		fds[i] = dial(w);
		say(fds[i], ADD_LINE, strlen(ADD_LINE));
		if (i % 64 == 0)
			(void)turn(w, 0);
	}
	turn_until(w, w->kept_count == SERVER_CONNS_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(over); i++)
		over[i] = dial(w);
	for (size_t i = 0; i < ARRAY_SIZE(over); i++) {
		expect_reply(w, over[i], &reply);
		assert_false(reply.ok);
		assert_int_equal(reply.error.class, ERR_EXHAUSTED);
		proto_reply_done(&reply);
	}
	assert_int_equal(server_refused(w->server), ARRAY_SIZE(over));
	/* one leaves: there is room for one */
	(void)close(fds[7]);
	turn_until(w, w->gone == 1);
	fds[7] = dial(w);
	say(fds[7], ADD_LINE, strlen(ADD_LINE));
	turn_until(w, w->kept_count == SERVER_CONNS_MAX);
	while (w->kept_count > 0)
		answer(w->kept[--w->kept_count], 0);
	for (unsigned i = 0; i < SERVER_CONNS_MAX; i++)
		expect_ok(w, fds[i]);
}

static void test_server__out_of_descriptors(void **state)
{
	struct world *w = *state;
	struct rlimit limit, low;
	char byte;
	int fd = dial(w), first, refused;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	first = fcntl(0, F_DUPFD_CLOEXEC, 0); /* the lowest number that is free */
	assert_true(first >= 0);
	(void)close(first);
	low = limit;
	low.rlim_cur = (rlim_t)first;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	(void)turn(w, 100);
	refused = (int)server_refused(w->server);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(refused, 1);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	(void)close(fd);
	fd = dial(w);
	say(fd, STATUS_LINE, strlen(STATUS_LINE));
	expect_ok(w, fd);
}

/* ---- start and end ---- */

static void test_server_open__modes(void **state)
{
	struct world *w = *state;
	struct stat st;

	assert_int_equal(stat(w->dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat(w->path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_server_open__narrows_a_wide_directory(void **state)
{
	struct world *w = *state;
	struct stat st;
	struct err err;

	server_close(w->server);
	w->server = NULL;
	assert_int_equal(chmod(w->dir, 0755), 0);
	assert_int_equal(start(w, &err), 0);
	assert_int_equal(stat(w->dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

static void test_server_open__second_daemon(void **state)
{
	struct world *w = *state;
	struct server *second = NULL;
	struct err err;
	int fd;

	assert_int_equal(server_open(w->dir, w->epoll_fd, &ops, w, &second, &err), -1);
	assert_int_equal(err.class, ERR_CONFLICT);
	assert_null(second);
	/* the first one is not disturbed */
	fd = dial(w);
	say(fd, STATUS_LINE, strlen(STATUS_LINE));
	expect_ok(w, fd);
}

/* Its socket was removed under it: nobody answers, but the daemon lives and holds the lock. */
static void test_server_open__second_daemon_finds_no_socket(void **state)
{
	struct world *w = *state;
	struct server *second = NULL;
	struct err err;

	assert_int_equal(unlink(w->path), 0);
	assert_int_equal(server_open(w->dir, w->epoll_fd, &ops, w, &second, &err), -1);
	assert_int_equal(err.class, ERR_CONFLICT);
	assert_non_null(strstr(err.msg, "another daemon runs"));
}

/* One that holds no lock of ours but answers. */
static void test_server_open__somebody_answers(void **state)
{
	struct world *w = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct err err;

	server_close(w->server);
	w->server = NULL;
	assert_int_equal(str_copy(addr.sun_path, sizeof(addr.sun_path), w->path), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(start(w, &err), -1);
	assert_int_equal(err.class, ERR_CONFLICT);
	assert_true(fs_exists(w->path)); /* not removed by the one that was refused */
	/* and when its process has died, the socket file is stale */
	(void)close(fd);
	assert_true(fs_exists(w->path));
	assert_int_equal(start(w, &err), 0);
	fd = dial(w);
	say(fd, STATUS_LINE, strlen(STATUS_LINE));
	expect_ok(w, fd);
}

static void test_server_open__path_too_long(void **state)
{
	struct world *w = *state;
	struct server *server = NULL;
	struct err err;
	char dir[200];

	memset(dir, 'a', sizeof(dir));
	dir[0] = '/';
	dir[sizeof(dir) - 1] = '\0';
	assert_int_equal(server_open(dir, w->epoll_fd, &ops, w, &server, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
}

static void test_server_close__with_connections(void **state)
{
	struct world *w = *state;
	char byte;
	int fd = dial(w), half = dial(w);

	w->manner = KEEP;
	say(fd, ADD_LINE, strlen(ADD_LINE));
	say(half, "{", 1);
	turn_until(w, w->kept_count == 1);
	server_close(w->server);
	w->server = NULL;
	assert_int_equal(w->gone, 0);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	assert_false(fs_exists(w->path));
	(void)close(fd);
	(void)close(half);
}

#define server_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		server_test(test_server__answers_at_once),
		server_test(test_server__request_in_single_bytes),
		server_test(test_server__longest_request_that_is_taken),
		server_test(test_server__peer_that_shut_its_sending_half),
		server_test(test_server__oversize),
		server_test(test_server__half_a_line),
		server_test(test_server__half_a_line_and_then_nothing),
		server_test(test_server__garbage),
		server_test(test_server__wrong_version),
		server_test(test_server__unknown_op),
		server_test(test_server__another_uid),
		server_test(test_server__peer_goes_away_while_it_waits),
		server_test(test_server__peer_went_away_and_is_answered),
		server_test(test_server__event_of_a_connection_that_was_closed_meanwhile),
		server_test(test_server__big_reply_to_a_slow_reader),
		server_test(test_server__big_reply_to_nobody),
		server_test(test_server__more_connections_than_there_may_be),
		server_test(test_server__out_of_descriptors),
		server_test(test_server_open__modes),
		server_test(test_server_open__narrows_a_wide_directory),
		server_test(test_server_open__second_daemon),
		server_test(test_server_open__second_daemon_finds_no_socket),
		server_test(test_server_open__somebody_answers),
		server_test(test_server_open__path_too_long),
		server_test(test_server_close__with_connections),
	};

	return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
