/* SPDX-License-Identifier: Apache-2.0 */
/* Programs of the node (ip, nft, tc, ...), run in the thread's namespace for what they print. */
#ifndef TESTS_NET_SAID_H
#define TESTS_NET_SAID_H

#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/fs.h"
#include "berth/str.h"
#include "tests/check.h"

#define OUT_MAX (4U << 20) /* bytes of one program's output */

/* Runs a command (split at blanks) in this thread's namespace. Return: what it printed, owned. */
static inline char *said_with(const char *words, int *ret_status)
{
	char copy[256], *argv[24], *save = NULL, *out = NULL;
	char *const env[] = { (char[]){ "PATH=/usr/sbin:/usr/bin:/sbin:/bin" }, NULL };
	posix_spawn_file_actions_t actions;
	int pipe_fds[2];
	size_t count = 0;
	pid_t pid;

	assert_int_equal(str_copy(copy, sizeof(copy), words), 0);
	for (char *w = strtok_r(copy, " ", &save); w && count < ARRAY_SIZE(argv) - 1; w = strtok_r(NULL, " ", &save))
		argv[count++] = w;
	assert_true(count > 0);
	argv[count] = NULL;
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDOUT_FILENO), 0);
	assert_int_equal(posix_spawnp(&pid, copy, &actions, NULL, argv, env), 0);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(pipe_fds[1]);
	assert_int_equal(fs_read_fd(pipe_fds[0], OUT_MAX, &out, NULL), 0);
	(void)close(pipe_fds[0]);
	assert_int_equal(waitpid(pid, ret_status, 0), pid);
	return out;
}

/* The same of one that must succeed. */
static inline char *said(const char *words)
{
	int status = -1;
	char *out = said_with(words, &status);

	if (status != 0)
		fail_msg("%s: status %d", words, status);
	return out;
}

/* Is @part in what it prints? */
static inline bool says(const char *words, const char *part)
{
	_cleanup_free_ char *out = said(words);

	return strstr(out, part) != NULL;
}

#endif
