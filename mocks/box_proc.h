/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: daemons that outlive the program that started them
 *
 * A started process is remembered in a record file: its pid and its start time from /proc. Pids come round again; the
 * pair does not. Ending one means: take a pidfd of that pid, then compare the start time, then signal through the
 * pidfd, so that no other process can ever be hit.
 */
#ifndef MOCKS_BOX_PROC_H
#define MOCKS_BOX_PROC_H

#include <stdbool.h>
#include <stdint.h>

struct err;

struct proc_spec {
	const char *path;
	const char *const *argv;
	const char *const *env; /* the whole environment */
	int netns_fd;
	const char *log_path; /* stdout and stderr are appended to it */
	const char *record_path;
};

/** proc_start() - in its own session, inside the namespace; the record is written before it returns.
 *  Errors: CONFLICT (the recorded process lives), NOTFOUND (program), EXHAUSTED. */
int proc_start(const struct proc_spec *spec, struct err *err);
/** proc_alive() - does the recorded process live? A missing or foreign record: no. */
bool proc_alive(const char *record_path);
/** proc_end() - signal it and wait for its end; SIGTERM becomes SIGKILL after @wait_us; the record goes with the
 * process. Success when it is gone already. Errors: RETRY (it lives on after @wait_us; the record stays). */
int proc_end(const char *record_path, int signal_number, int64_t wait_us, struct err *err);
/** proc_await() - until @is_ready says so, at most to @deadline_us. Errors: NOTFOUND (the process ended first, with the
 *  end of its log), RETRY (deadline). */
int proc_await(const struct proc_spec *spec, bool (*is_ready)(void *arg), void *arg, int64_t deadline_us,
	       struct err *err);

#endif
