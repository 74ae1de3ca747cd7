/* SPDX-License-Identifier: Apache-2.0 */
/* One program run to its end: text in, text out, never a shell. */
#ifndef MOCKS_FABRIC_CHILD_H
#define MOCKS_FABRIC_CHILD_H

#include <stddef.h>
#include <stdint.h>

struct err;

#define CHILD_OUTPUT_MAX (1U << 20) /* bytes of stdout or stderr; a CNI result is under 4 KiB */

struct child_spec {
	const char *path;        /* absolute, or a name that is looked up in PATH and then in /usr/sbin */
	const char *const *argv; /* NULL-terminated, argv[0] included */
	const char *const *env;  /* NULL-terminated; NULL: ours */
	const char *input;       /* stdin; NULL: empty */
	int netns_fd;            /* network namespace to run in; -1: ours */
	int64_t timeout_us;      /* then it is killed */
};

struct child_result {
	int exit_code;   /* 128 + signal when a signal ended it, as a shell says it */
	char *out;       /* owned, terminated */
	char *err_text;  /* owned, terminated */
	int64_t time_us; /* from before the start to its end */
};

/**
 * child_run() - run a program and wait for its end
 * Return: 0 with @ret filled whatever its exit code was, -1 when it could not be run.
 * Errors: NOTFOUND (no such program), RETRY (killed at its deadline), PROTOCOL (over CHILD_OUTPUT_MAX), EXHAUSTED.
 * Context: any thread; blocks up to the timeout.
 */
int child_run(const struct child_spec *spec, struct child_result *ret, struct err *err);
/** child_result_done() - free what it owns; a zeroed result is fine. */
void child_result_done(struct child_result *result);

#endif
