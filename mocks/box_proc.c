/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/net.h"
#include "berth/str.h"
#include "box_proc.h"

#define DOMAIN         "process"
#define STAT_MAX       4096U                /* bytes of /proc/PID/stat: 52 numbers and a name of 15 */
#define STAT_STARTTIME 22U                  /* field of proc(5), counted from 1 */
#define LOG_MAX        (64U << 20)          /* bytes of a log that we look at the end of */
#define LOOK_EVERY_US  (20 * USEC_PER_MSEC) /* a condition without a descriptor is looked at this often */
#define KILL_WAIT_US   (5 * USEC_PER_SEC)   /* SIGKILL needs no cooperation; only a stuck kernel takes longer */

struct record {
	pid_t pid;
	uint64_t start_time; /* clock ticks since boot */
};

static uint64_t start_time_of(pid_t pid)
{
	char path[64];
	_cleanup_free_ char *text = NULL;
	uint64_t start_time = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (fs_read(path, STAT_MAX, &text, NULL) < 0)
		return 0;
	/* The name is field 2, in brackets, and may itself hold brackets and blanks. */
	char *word = strrchr(text, ')');

	for (unsigned field = 2; word && field < STAT_STARTTIME; field++) {
		word = strchr(word, ' ');
		word = word ? word + 1 : NULL;
	}
	if (!word)
		return 0;
	word[strcspn(word, " \n")] = '\0';
	return str_u64(word, 1, UINT64_MAX, &start_time) < 0 ? 0 : start_time;
}

static int record_read(const char *path, struct record *ret)
{
	_cleanup_free_ char *text = NULL;
	uint64_t pid, start_time;
	char *blank, *newline;

	if (fs_read(path, STAT_MAX, &text, NULL) < 0)
		return -1;
	blank = strchr(text, ' ');
	newline = strchr(text, '\n');
	if (!blank || !newline || newline < blank)
		return -1;
	*blank = *newline = '\0';
	if (str_u64(text, 2, INT32_MAX, &pid) < 0 || str_u64(blank + 1, 1, UINT64_MAX, &start_time) < 0)
		return -1;
	*ret = (struct record){ .pid = (pid_t)pid, .start_time = start_time };
	return 0;
}

static int record_write(const char *path, pid_t pid, struct err *err)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "%d %llu\n", (int)pid, (unsigned long long)start_time_of(pid));
	int r = fs_write_atomic(path, text, strlen(text), 0600);

	return r < 0 ? err_set_errno(err, ERR_EXHAUSTED, DOMAIN, -r, "%s", path) : 0;
}

static bool has_ended(int pidfd, int64_t wait_us)
{
	struct pollfd poller = { .fd = pidfd, .events = POLLIN };
	int64_t deadline_us = clock_now(&clock_boot) + wait_us;
	int64_t left_us = wait_us;
	int r;

	do {
		r = poll(&poller, 1, (int)(left_us / USEC_PER_MSEC));
		left_us = deadline_us - clock_now(&clock_boot);
	} while (r < 0 && errno == EINTR && left_us > 0);
	return r > 0;
}

/* Return: a pidfd of exactly the recorded process, or -1 when that does not live. */
static int recorded_pidfd(const char *record_path, pid_t *ret_pid)
{
	_cleanup_close_ int pidfd = -1;
	struct record record;

	if (record_read(record_path, &record) < 0)
		return -1;
	pidfd = pidfd_open(record.pid, 0);
	if (pidfd < 0 || start_time_of(record.pid) != record.start_time || has_ended(pidfd, 0))
		return -1;
	*ret_pid = record.pid;
	return take_fd(pidfd);
}

bool proc_alive(const char *record_path)
{
	pid_t pid;
	_cleanup_close_ int pidfd = recorded_pidfd(record_path, &pid);

	return pidfd >= 0;
}

int proc_end(const char *record_path, int signal_number, int64_t wait_us, struct err *err)
{
	pid_t pid = -1;
	_cleanup_close_ int pidfd = recorded_pidfd(record_path, &pid);

	if (pidfd >= 0) {
		(void)pidfd_send_signal(pidfd, signal_number, NULL, 0);
		bool ended = has_ended(pidfd, wait_us);

		if (!ended && signal_number == SIGTERM) {
			(void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
			ended = has_ended(pidfd, KILL_WAIT_US);
		}
		if (!ended)
			return err_set(err, ERR_RETRY, DOMAIN, "process %d lives on after signal %d", (int)pid,
				       signal_number);
		(void)waitpid(pid, NULL, WNOHANG); /* ours only if this very program started it */
	}
	(void)fs_unlink(record_path);
	return 0;
}

struct start {
	const struct proc_spec *spec;
	pid_t pid;
};

static int spawn(const struct proc_spec *spec, posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes,
		 pid_t *ret_pid)
{
	char *const *argv = (char *const *)(uintptr_t)spec->argv; /* exec's prototype lacks the const that it keeps */
	char *const *env = (char *const *)(uintptr_t)spec->env;
	int r = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

	if (r == 0)
		r = posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, spec->log_path,
						     O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(actions, STDOUT_FILENO, STDERR_FILENO);
	if (r == 0)
		r = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID);
	if (r == 0)
		r = posix_spawn(ret_pid, spec->path, actions, attributes, argv, env);
	return r;
}

static int spawn_here(void *arg, struct err *err)
{
	struct start *start = arg;
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;

	if (posix_spawn_file_actions_init(&actions) != 0)
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, ENOMEM, "start %s", start->spec->path);
	if (posix_spawnattr_init(&attributes) != 0) {
		(void)posix_spawn_file_actions_destroy(&actions);
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, ENOMEM, "start %s", start->spec->path);
	}
	int r = spawn(start->spec, &actions, &attributes, &start->pid);

	(void)posix_spawn_file_actions_destroy(&actions);
	(void)posix_spawnattr_destroy(&attributes);
	if (r != 0)
		return err_set_errno(err, r == ENOENT || r == EACCES ? ERR_NOTFOUND : ERR_EXHAUSTED, DOMAIN, r,
				     "start %s", start->spec->path);
	return 0;
}

int proc_start(const struct proc_spec *spec, struct err *err)
{
	struct start start = { .spec = spec };

	if (proc_alive(spec->record_path))
		return err_set(err, ERR_CONFLICT, DOMAIN, "%s runs already", spec->argv[0]);
	if (netns_run(spec->netns_fd, spawn_here, &start, err) < 0)
		return -1;
	if (record_write(spec->record_path, start.pid, err) == 0)
		return 0;
	/* What is not recorded could never be ended. */
	(void)kill(start.pid, SIGKILL);
	(void)waitpid(start.pid, NULL, 0);
	return -1;
}

static void log_end(const char *log_path, char *ret, size_t ret_size)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	ret[0] = '\0';
	if (fs_read(log_path, LOG_MAX, &text, &len) < 0)
		return;
	while (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	char *line = strrchr(text, '\n');

	(void)str_copy(ret, ret_size, line ? line + 1 : text);
}

int proc_await(const struct proc_spec *spec, bool (*is_ready)(void *arg), void *arg, int64_t deadline_us,
	       struct err *err)
{
	pid_t pid;
	_cleanup_close_ int pidfd = recorded_pidfd(spec->record_path, &pid);
	bool ended = pidfd < 0;
	char end[160];

	while (!is_ready(arg)) {
		if (ended) {
			log_end(spec->log_path, end, sizeof(end));
			return err_set(err, ERR_NOTFOUND, DOMAIN, "%s ended: %s", spec->argv[0], end);
		}
		if (clock_now(&clock_boot) >= deadline_us) {
			log_end(spec->log_path, end, sizeof(end));
			return err_set(err, ERR_RETRY, DOMAIN, "%s is not ready in time: %s", spec->argv[0], end);
		}
		ended = has_ended(pidfd, LOOK_EVERY_US);
	}
	return 0;
}
