/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: running a program to its end
 *
 * stdin, stdout and stderr are memory files, not pipes: nothing can block on a full pipe, nobody gets SIGPIPE, a
 * program that opens /dev/stdin (nft -f -) finds a file there, and the one thing to wait for is the pidfd, with a
 * deadline. A grandchild that keeps the descriptors open cannot hold us up either. The child inherits the namespace of
 * the thread that spawns it, which is how it comes to run in another one.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/net.h"
#include "berth/str.h"
#include "child.h"

#define DOMAIN "child"

struct child {
	const struct child_spec *spec;
	int fds[3]; /* what becomes its stdin, stdout, stderr */
	pid_t pid;
};

static void child_done(struct child *child)
{
	for (unsigned i = 0; i < ARRAY_SIZE(child->fds); i++)
		if (child->fds[i] >= 0)
			(void)close(child->fds[i]);
}

static int child_files(struct child *child, struct err *err)
{
	static const char *const names[] = { "child-stdin", "child-stdout", "child-stderr" };
	const char *input = child->spec->input ? child->spec->input : "";

	for (unsigned i = 0; i < ARRAY_SIZE(child->fds); i++) {
		child->fds[i] = memfd_create(names[i], MFD_CLOEXEC);
		if (child->fds[i] < 0)
			return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, errno, "memory file");
	}
	int r = fs_write_all(child->fds[0], input, strlen(input));

	if (r < 0)
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, -r, "input of %s", child->spec->path);
	if (lseek(child->fds[0], 0, SEEK_SET) < 0)
		return err_set_errno(err, ERR_BUG, DOMAIN, errno, "rewind input");
	return 0;
}

/* PATH of a daemon or a cron job often lacks the folders of system programs. */
static int spawn_in_path(pid_t *pid, const struct child_spec *spec, const posix_spawn_file_actions_t *actions,
			 char *const *argv, char *const *env)
{
	char path[PATH_MAX] = "/usr/sbin/";
	int r = posix_spawnp(pid, spec->path, actions, NULL, argv, env);

	if (r != ENOENT || strchr(spec->path, '/'))
		return r;
	size_t len = strlen(path);

	if (str_copy(path + len, sizeof(path) - len, spec->path) < 0)
		return ENAMETOOLONG;
	return posix_spawn(pid, path, actions, NULL, argv, env);
}

static int spawn_here(void *arg, struct err *err)
{
	struct child *child = arg;
	const struct child_spec *spec = child->spec;
	posix_spawn_file_actions_t actions;
	char *const *argv = (char *const *)(uintptr_t)spec->argv; /* exec's prototype lacks the const that it keeps */
	char *const *env = spec->env ? (char *const *)(uintptr_t)spec->env : environ;
	int r = posix_spawn_file_actions_init(&actions);

	if (r != 0)
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, r, "start %s", spec->path);
	for (int i = 0; r == 0 && i < (int)ARRAY_SIZE(child->fds); i++)
		r = posix_spawn_file_actions_adddup2(&actions, child->fds[i], i);
	if (r == 0)
		r = spawn_in_path(&child->pid, spec, &actions, argv, env);
	(void)posix_spawn_file_actions_destroy(&actions);
	if (r != 0)
		return err_set_errno(err, r == ENOENT || r == EACCES ? ERR_NOTFOUND : ERR_EXHAUSTED, DOMAIN, r,
				     "start %s", spec->path);
	return 0;
}

/* Return: 0 when it has ended by itself, -ETIMEDOUT when it had to be killed; reaped in both cases. */
static int child_wait(struct child *child, int64_t deadline_us, int *ret_code)
{
	_cleanup_close_ int pidfd = pidfd_open(child->pid, 0);
	struct pollfd poller = { .fd = pidfd, .events = POLLIN };
	siginfo_t info = { 0 };
	int ready = 0;

	while (ready <= 0 && pidfd >= 0) {
		int64_t left_us = deadline_us - clock_now(&clock_boot);

		if (left_us <= 0)
			break;
		ready = poll(&poller, 1, (int)(left_us / USEC_PER_MSEC) + 1);
		if (ready < 0 && errno != EINTR)
			break;
	}
	if (ready <= 0)
		(void)kill(child->pid, SIGKILL);
	while (waitid(P_PID, (id_t)child->pid, &info, WEXITED) < 0 && errno == EINTR)
		;
	*ret_code = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
	return ready > 0 ? 0 : -ETIMEDOUT;
}

static int read_back(int fd, const char *path, char **ret, struct err *err)
{
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_set_errno(err, ERR_BUG, DOMAIN, errno, "rewind output");
	int r = fs_read_fd(fd, CHILD_OUTPUT_MAX, ret, NULL);

	if (r < 0)
		return err_set_errno(err, r == -EFBIG ? ERR_PROTOCOL : ERR_EXHAUSTED, DOMAIN, -r, "output of %s", path);
	return 0;
}

int child_run(const struct child_spec *spec, struct child_result *ret, struct err *err)
{
	_cleanup_(child_done) struct child child = { .spec = spec, .fds = { -1, -1, -1 } };
	_cleanup_(child_result_done) struct child_result result = { 0 };
	int64_t start_us = clock_now(&clock_boot);

	if (child_files(&child, err) < 0)
		return -1;
	int r = spec->netns_fd < 0 ? spawn_here(&child, err) : netns_run(spec->netns_fd, spawn_here, &child, err);

	if (r < 0)
		return -1;
	r = child_wait(&child, start_us + spec->timeout_us, &result.exit_code);
	result.time_us = clock_now(&clock_boot) - start_us;
	if (read_back(child.fds[1], spec->path, &result.out, err) < 0 ||
	    read_back(child.fds[2], spec->path, &result.err_text, err) < 0)
		return -1;
	if (r < 0)
		return err_set(err, ERR_RETRY, DOMAIN, "%s did not end within %lld ms and was killed: %.120s",
			       spec->path, (long long)(spec->timeout_us / USEC_PER_MSEC), result.err_text);
	*ret = result;
	result = (struct child_result){ 0 };
	return 0;
}

void child_result_done(struct child_result *result)
{
	free(result->out);
	free(result->err_text);
	*result = (struct child_result){ 0 };
}
