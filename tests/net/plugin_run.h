/* SPDX-License-Identifier: Apache-2.0 */
/* A CNI plugin as a program: run with an environment and a text on stdin, and what came of it. */
#ifndef TESTS_NET_PLUGIN_RUN_H
#define TESTS_NET_PLUGIN_RUN_H

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "berth/attr.h"
#include "berth/fs.h"
#include "tests/check.h"

#define RUN_MS     30000 /* until a run must have ended; the slowest waits 2.1 s */
#define OUTPUT_MAX 65536

struct output {
	int status;
	char *out;    /* owned */
	char *err;    /* owned */
	json_t *json; /* owned; NULL when there is none */
};

static inline void output_done(struct output *output)
{
	free(output->out);
	free(output->err);
	json_decref(output->json);
}
#define _cleanup_output_ _cleanup_(output_done)

static inline int temp_fd(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fs_write_all(fd, text, strlen(text)), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static inline char *read_back(int fd)
{
	char *text = NULL;

	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(fs_read_fd(fd, OUTPUT_MAX, &text, NULL), 0);
	assert_non_null(text);
	(void)close(fd);
	return text;
}

static inline int wait_for(pid_t pid)
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

/* @path: the program. */
static inline int spawn_and_wait(const char *path, char **env, int in_fd, int out_fd, int err_fd)
{
	posix_spawn_file_actions_t actions;
	char name[] = "plugin";
	char *argv[] = { name, NULL };
	pid_t pid;

	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, in_fd, 0), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, out_fd, 1), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, err_fd, 2), 0);
	if (posix_spawn(&pid, path, &actions, NULL, argv, env) != 0)
		fail_msg("cannot run %s: BUILD must name the folder that it was built in", path);
	(void)posix_spawn_file_actions_destroy(&actions);
	return wait_for(pid);
}

/* Out of a list of variables. */
static inline void drop_var(char **env, const char *name)
{
	size_t len = name ? strlen(name) : 0;

	for (; name && *env; env++)
		while (*env && strncmp(*env, name, len) == 0 && (*env)[len] == '=')
			for (char **at = env; *at; at++)
				at[0] = at[1];
}

/* One of the reference plugins (containernetworking-plugins), which a test goes without where it is not installed. */
static inline bool have_plugin(const char *program)
{
	if (fs_exists(program))
		return true;
	print_message("# %s is not installed\n", program);
	return false;
}

/* Is @part on its stdout? */
static inline bool output_says(const struct output *output, const char *part)
{
	return output->out && strstr(output->out, part);
}

/* Where the programs of this build are. */
static inline const char *build_dir(void)
{
	const char *build = getenv("BUILD");

	return build ? build : "build";
}

#endif
