/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/program.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"

#define NAME_MAX_SIZE 32   /* bytes of a program's name */
#define STDERR_MAX    4096 /* bytes of what it says that are kept; the first line is what matters */
#define POLLS_MAX     1000 /* wake-ups for one run; each brings up to 4 KiB of stderr or the end */
#define PATH_BEHIND   "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin" /* searched after $PATH */

/* The first executable DIR/NAME of @dirs. */
static bool find_in(const char *dirs, const char *name, char ret[static PATH_MAX])
{
	while (dirs && *dirs) {
		size_t len = strcspn(dirs, ":");
		int n = snprintf(ret, PATH_MAX, "%.*s/%s", len < PATH_MAX ? (int)len : 0, dirs, name);

		if (len > 0 && n > 0 && n < PATH_MAX && access(ret, X_OK) == 0)
			return true;
		dirs += len + (dirs[len] == ':');
	}
	return false;
}

/* A file in memory, at its start: nothing has to be fed while the program runs, and no pipe can break. */
static int open_input(const struct program *program, struct err *err)
{
	char label[NAME_MAX_SIZE + 8];
	_cleanup_close_ int fd = -1;
	int r;

	(void)snprintf(label, sizeof(label), "berth-%s", program->name);
	fd = memfd_create(label, MFD_CLOEXEC);
	if (fd < 0)
		return err_set_errno(err, ERR_RETRY, program->name, errno, "memfd for the input");
	r = fs_write_all(fd, program->input, strlen(program->input));
	if (r < 0)
		return err_set_errno(err, ERR_RETRY, program->name, -r, "write the input");
	if (lseek(fd, 0, SEEK_SET) != 0)
		return err_set_errno(err, ERR_RETRY, program->name, errno, "rewind the input");
	return take_fd(fd);
}

/* The caller's threads block signals for a signalfd; a program shall have them as from a shell. */
static int init_attr(posix_spawnattr_t *attr)
{
	sigset_t none, pipe;
	int r = posix_spawnattr_init(attr);

	if (r != 0)
		return r;
	(void)sigemptyset(&none);
	(void)sigemptyset(&pipe);
	(void)sigaddset(&pipe, SIGPIPE);
	(void)posix_spawnattr_setsigmask(attr, &none);
	(void)posix_spawnattr_setsigdefault(attr, &pipe);
	(void)posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	return 0;
}

/* posix_spawn() changes no argument, but asks for them as if it did. @ret: with NULL at the end. */
static void fill_argv(const struct program *program, char *ret[static PROGRAM_ARGS_MAX + 2])
{
	unsigned count = 0;

	memcpy(&ret[count++], &program->name, sizeof(ret[0]));
	for (const char *const *arg = program->args; *arg; arg++) {
		assert(count <= PROGRAM_ARGS_MAX);
		memcpy(&ret[count++], arg, sizeof(ret[0]));
	}
	ret[count] = NULL;
}

/* Return: 0 or a positive errno. */
static int spawn(const char *path, char *const *argv, int in, int out, pid_t *ret)
{
	char locale[] = "LC_ALL=C";
	char *envp[] = { locale, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int r = init_attr(&attr);

	if (r != 0)
		return r;
	r = posix_spawn_file_actions_init(&actions);
	if (r == 0) {
		r = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
		if (r == 0)
			r = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
		if (r == 0)
			r = posix_spawn_file_actions_adddup2(&actions, out, STDERR_FILENO);
		if (r == 0)
			r = posix_spawn(ret, path, &actions, &attr, argv, envp);
		(void)posix_spawn_file_actions_destroy(&actions);
	}
	(void)posix_spawnattr_destroy(&attr);
	return r;
}

struct run {
	int pidfd;
	int errors; /* read end of its stderr, non-blocking; -1 at its end */
	char text[STDERR_MAX + 1];
	size_t len;
};

/* Takes what is there; what does not fit is read and dropped, so that nobody waits for us. */
static void take_errors(struct run *run)
{
	char chunk[STDERR_MAX];
	ssize_t n = read(run->errors, chunk, sizeof(chunk));
	size_t room = STDERR_MAX - run->len;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		cleanup_close(&run->errors);
		run->errors = -1;
		return;
	}
	memcpy(run->text + run->len, chunk, (size_t)n < room ? (size_t)n : room);
	run->len += (size_t)n < room ? (size_t)n : room;
}

/* Until it ends. Return: false when @deadline_us came first. */
static bool wait_end(struct run *run, int64_t deadline_us)
{
	for (int i = 0; i < POLLS_MAX; i++) {
		struct pollfd fds[] = { { .fd = run->pidfd, .events = POLLIN },
					{ .fd = run->errors, .events = POLLIN } };
		int64_t left_us = deadline_us - clock_now(&clock_boot);
		int n;

		if (left_us <= 0)
			return false;
		if (left_us > 3600 * USEC_PER_SEC)
			left_us = 3600 * USEC_PER_SEC;
		n = poll(fds, ARRAY_SIZE(fds), (int)((left_us + USEC_PER_MSEC - 1) / USEC_PER_MSEC));
		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0 && fds[1].revents)
			take_errors(run);
		else if (n > 0 && fds[0].revents)
			return true;
	}
	return false;
}

/* Reaps in every case: @pid is ours until then, so that the signal cannot meet another process. */
static int finish(struct run *run, pid_t pid, int64_t deadline_us, siginfo_t *ret_info)
{
	bool in_time = run->pidfd >= 0 && wait_end(run, deadline_us);
	int r;

	if (!in_time)
		(void)kill(pid, SIGKILL);
	do {
		r = waitid(P_PID, (id_t)pid, ret_info, WEXITED);
	} while (r < 0 && errno == EINTR);
	return in_time && r == 0 ? 0 : -1;
}

/* Its own words, without nft's "/dev/stdin:3:5-9: Error: " in front. */
static int failed(struct run *run, const struct program *program, const siginfo_t *info, struct err *err)
{
	char *line = run->text, *word;

	run->text[run->len] = '\0';
	line[strcspn(line, "\n")] = '\0';
	word = strstr(line, "Error: ");
	if (word)
		line = word + strlen("Error: ");
	if (info->si_code != CLD_EXITED)
		return err_set(err, ERR_RETRY, program->name, "%s was killed by signal %d", program->name,
			       info->si_status);
	(void)err_set(err, ERR_INVALID, program->name, "%s refused%s: %s", program->name,
		      *program->input ? " the batch" : "", *line ? line : "(it does not say why)");
	if (err)
		err->code = info->si_status;
	return -1;
}

static int watch_end(struct run *run, const struct program *program, pid_t pid, int64_t deadline_us, struct err *err)
{
	siginfo_t info = { 0 };

	run->pidfd = (int)syscall(SYS_pidfd_open, pid, 0U);
	if (finish(run, pid, deadline_us, &info) < 0)
		return err_set(err, ERR_RETRY, program->name, "%s did not end in time and was killed", program->name);
	if (run->errors >= 0)
		take_errors(run);
	if (info.si_code == CLD_EXITED && info.si_status == 0)
		return 0;
	return failed(run, program, &info, err);
}

int program_run(const struct program *program, int64_t deadline_us, int *ret_pid, struct err *err)
{
	_cleanup_close_ int in = -1, out = -1;
	struct run run = { .pidfd = -1, .errors = -1 };
	char path[PATH_MAX], *argv[PROGRAM_ARGS_MAX + 2];
	int pipe_fds[2], r;
	pid_t pid;

	assert(strlen(program->name) < NAME_MAX_SIZE && program->args && program->input);
	if (ret_pid)
		*ret_pid = 0;
	if (!find_in(getenv("PATH"), program->name, path) && !find_in(PATH_BEHIND, program->name, path))
		return err_set(err, ERR_NOTFOUND, program->name, "no %s program in PATH or in %s", program->name,
			       PATH_BEHIND);
	fill_argv(program, argv);
	in = open_input(program, err);
	if (in < 0)
		return -1;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_set_errno(err, ERR_RETRY, program->name, errno, "pipe");
	run.errors = pipe_fds[0];
	out = pipe_fds[1];
	(void)fcntl(run.errors, F_SETFL, O_NONBLOCK);
	r = spawn(path, argv, in, out, &pid);
	if (r == 0 && ret_pid)
		*ret_pid = (int)pid;
	cleanup_close(&out);
	out = -1;
	r = r != 0 ? err_set_errno(err, ERR_RETRY, program->name, r, "start %s", path)
		   : watch_end(&run, program, pid, deadline_us, err);
	cleanup_close(&run.errors);
	cleanup_close(&run.pidfd);
	return r;
}
