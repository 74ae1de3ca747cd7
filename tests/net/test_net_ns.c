/* SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "tests/net/world.h"

#define NS_PATH_SIZE 64

static int open_self(void)
{
	int fd = -1;

	must(netns_open("/proc/thread-self/ns/net", &fd, &err));
	return fd;
}

static void name_path(char path[static NS_PATH_SIZE], const char *name)
{
	(void)snprintf(path, NS_PATH_SIZE, "/run/netns/%s", name);
}

/* ---- add, del ---- */

static void test_netns_add__new_with_lo_up(void **state)
{
	const struct world *w = *state;
	_cleanup_close_ int self = open_self();
	struct net_link lo;

	must(net_link_by_name(w->a, "lo", &lo, &err));
	assert_true(lo.up);
	assert_true(netns_is_current(self));
	assert_false(netns_is_current(w->a_fd));
	assert_true(netns_cookie(w->a_fd) != 0);
	assert_true(netns_cookie(w->a_fd) != netns_cookie(w->b_fd));
	assert_true(netns_cookie(w->a_fd) != netns_cookie(self));
	assert_int_equal(netns_cookie(-1), 0);
	assert_false(netns_is_current(-1));
	world_ip_do(w->a_name, "link show"); /* iproute2 finds it by its name */
}

static void test_netns_add__name_in_use(void **state)
{
	const struct world *w = *state;
	uint64_t before = netns_cookie(w->a_fd);
	_cleanup_close_ int fd = -1;
	char path[NS_PATH_SIZE];
	struct err e;

	must_fail(netns_add(w->a_name, &e), e, ERR_CONFLICT);
	name_path(path, w->a_name);
	must(netns_open(path, &fd, &err));
	assert_int_equal(netns_cookie(fd), before);
}

static void test_netns_add__names_that_cannot_be(void **state)
{
	static const char *const names[] = { "", ".", "..", "a/b", "../x" };
	char long_name[300] = { 0 };
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		must_fail(netns_add(names[i], &e), e, ERR_INVALID);
		must_fail(netns_del(names[i], &e), e, ERR_INVALID);
	}
	memset(long_name, 'x', sizeof(long_name) - 1);
	must_fail(netns_add(long_name, &e), e, ERR_INVALID);
}

static void test_netns_del__twice_and_a_leftover_file(void **state)
{
	const struct world *w = *state;
	char name[32], path[NS_PATH_SIZE];
	int fd;

	must(netns_del(w->b_name, &err));
	must(netns_del(w->b_name, &err));
	name_path(path, w->b_name);
	assert_false(fs_exists(path));

	world_ns_name(name, "b"); /* the fixture removes it if this test fails */
	name_path(path, name);
	fd = open(path, O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	(void)close(fd);
	must(netns_del(name, &err));
	assert_false(fs_exists(path));
}

/* ---- open ---- */

static void test_netns_open__gone(void **state)
{
	const struct world *w = *state;
	char path[NS_PATH_SIZE];
	int fd = -7;
	struct err e;

	must(netns_del(w->b_name, &err));
	name_path(path, w->b_name);
	must_fail(netns_open(path, &fd, &e), e, ERR_NOTFOUND);
	assert_contains(e.msg, "is gone");
	assert_contains(e.msg, path);
	must_fail(netns_open("/proc/4194305/ns/net", &fd, &e), e, ERR_NOTFOUND); /* beyond the largest pid */
	assert_int_equal(fd, -7);
}

static void test_netns_open__not_a_namespace(void **state)
{
	char path[256];
	const char *dir = check_tmpdir();
	int fd = -7, file;
	struct err e;

	(void)state;
	file = open(check_path(path, sizeof(path), dir, "plain"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(file >= 0);
	(void)close(file);
	must_fail(netns_open(path, &fd, &e), e, ERR_NOTFOUND);
	assert_contains(e.msg, "no network namespace is mounted at");
	must_fail(netns_open(dir, &fd, &e), e, ERR_NOTFOUND);
	assert_int_equal(mkfifo(check_path(path, sizeof(path), dir, "fifo"), 0600), 0);
	must_fail(netns_open(path, &fd, &e), e, ERR_NOTFOUND); /* and does not wait for a writer */
	must_fail(netns_open("/proc/self/ns/mnt", &fd, &e), e, ERR_INVALID);
	assert_int_equal(fd, -7);
	check_tmpdir_remove(dir);
}

static void test_netns_open__close_on_exec(void **state)
{
	const struct world *w = *state;

	assert_true(fcntl(w->a_fd, F_GETFD) & FD_CLOEXEC);
}

/* ---- run ---- */

struct visit {
	int wanted_fd;
	int rc;
	bool was_there;
};

static int visit(void *arg, struct err *err)
{
	struct visit *v = arg;

	v->was_there = netns_is_current(v->wanted_fd);
	return v->rc < 0 ? err_set(err, ERR_EXHAUSTED, "test", "as told") : v->rc;
}

static void test_netns_run__there_and_back(void **state)
{
	const struct world *w = *state;
	struct visit v = { .wanted_fd = w->a_fd, .rc = 3 };
	_cleanup_close_ int self = open_self();
	struct err e = { 0 };

	assert_int_equal(netns_run(w->a_fd, visit, &v, &e), 3);
	assert_true(v.was_there);
	assert_true(netns_is_current(self));
	assert_int_equal(e.class, ERR_NONE);
}

static void test_netns_run__back_also_when_fn_fails(void **state)
{
	const struct world *w = *state;
	struct visit v = { .wanted_fd = w->a_fd, .rc = -1 };
	_cleanup_close_ int self = open_self();
	struct err e;

	must_fail(netns_run(w->a_fd, visit, &v, &e), e, ERR_EXHAUSTED);
	assert_string_equal(e.msg, "as told");
	assert_true(v.was_there);
	assert_true(netns_is_current(self));
}

static void test_net_open_beside__there_and_back(void **state)
{
	const struct world *w = *state;
	_cleanup_net_ struct net *here = NULL, *there = NULL, *again = NULL;
	_cleanup_close_ int self = open_self();
	struct net_link link;
	bool same = true;

	(void)world_pair(w->a, "eth7", "p7");
	must(net_open(&here, &err));
	must(net_open_beside(here, w->a_fd, &same, &there, &err));
	assert_false(same);
	assert_true(netns_is_current(self));
	must(net_link_by_name(there, "eth7", &link, &err));
	must(net_open_beside(here, self, &same, &again, &err));
	assert_true(same);
	assert_int_equal(net_link_by_name(again, "eth7", &link, NULL), -1);
}

static void test_netns_run__not_a_namespace(void **state)
{
	struct visit v = { .wanted_fd = -1 };
	_cleanup_close_ int self = open_self();
	struct err e;

	(void)state;
	must_fail(netns_run(STDERR_FILENO, visit, &v, &e), e, ERR_INVALID);
	must_fail(netns_run(-1, visit, &v, &e), e, ERR_INVALID);
	assert_true(netns_is_current(self));
}

static int strand(void *arg, struct err *err)
{
	(void)arg;
	(void)err;
	/* The way back is one of these. */
	for (int fd = STDERR_FILENO + 1; fd < 256; fd++)
		(void)close(fd);
	return 0;
}

/* A thread in the wrong namespace would be worse than none: the process ends and says why. */
static void test_netns_run__no_way_back_ends_the_process(void **state)
{
	const struct world *w = *state;
	_cleanup_free_ char *said = NULL;
	int pipe_fds[2], status = 0;
	pid_t pid;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		const struct rlimit no_core = { 0 };
		const struct sigaction plain = { .sa_handler = SIG_DFL };

		(void)setrlimit(RLIMIT_CORE, &no_core);
		(void)sigaction(SIGABRT, &plain, NULL);
		(void)dup2(pipe_fds[1], STDERR_FILENO);
		(void)netns_run(w->a_fd, strand, NULL, NULL);
		_exit(0);
	}
	(void)close(pipe_fds[1]);
	assert_true(pid > 0);
	assert_int_equal(fs_read_fd(pipe_fds[0], 4096, &said, NULL), 0);
	(void)close(pipe_fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_contains(said, "fatal: cannot return to own network namespace");
}

/* ---- sockets of a namespace ---- */

static void test_net_open_ns__speaks_for_its_namespace_from_outside(void **state)
{
	const struct world *w = *state;
	_cleanup_close_ int self = open_self();
	_cleanup_net_ struct net *here = NULL;
	struct net_link link;
	char name[NET_IFNAME_SIZE];
	struct err e;

	(void)snprintf(name, sizeof(name), "v%d", (int)getpid());
	(void)world_pair(w->a, name, "peer");
	assert_true(netns_is_current(self));
	must(net_open(&here, &err));
	must_fail(net_link_by_name(here, name, &link, &e), e, ERR_NOTFOUND);
	must_fail(net_link_by_name(w->b, name, &link, &e), e, ERR_NOTFOUND);
	must(net_link_by_name(w->a, name, &link, &err));
	must_fail(net_open_ns(-1, &here, &e), e, ERR_INVALID);
}

/* A namespace lives as long as a socket of it, whatever became of its name. */
static void test_net_open_ns__outlives_the_name(void **state)
{
	const struct world *w = *state;
	struct net_link lo;

	must(netns_del(w->a_name, &err));
	must(net_link_by_index(w->a, 1, &lo, &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_netns_add__new_with_lo_up),
		world_test(test_netns_add__name_in_use),
		world_test(test_netns_add__names_that_cannot_be),
		world_test(test_netns_del__twice_and_a_leftover_file),
		world_test(test_netns_open__gone),
		world_test(test_netns_open__not_a_namespace),
		world_test(test_netns_open__close_on_exec),
		world_test(test_netns_run__there_and_back),
		world_test(test_netns_run__back_also_when_fn_fails),
		world_test(test_net_open_beside__there_and_back),
		world_test(test_netns_run__not_a_namespace),
		world_test(test_netns_run__no_way_back_ends_the_process),
		world_test(test_net_open_ns__speaks_for_its_namespace_from_outside),
		world_test(test_net_open_ns__outlives_the_name),
	};

	return cmocka_run_group_tests_name("net_ns", tests, NULL, NULL);
}
