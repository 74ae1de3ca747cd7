/* SPDX-License-Identifier: Apache-2.0 */
/* A program of the host, run without a shell and watched until it ends. */
#ifndef IPAMD_PROGRAM_H
#define IPAMD_PROGRAM_H

#include <stdint.h>

struct err;

/** struct program - what to run; everything is borrowed. */
struct program {
	const char *name;        /* searched in $PATH, then where such programs are; also the domain of its errors */
	const char *const *args; /* behind the name, NULL at the end; up to PROGRAM_ARGS_MAX */
	const char *input;       /* its standard input */
};

#define PROGRAM_ARGS_MAX 16

/** program_run() - run it, wait until @deadline_us, kill it after. What it prints is thrown away. @ret_pid: of the program,
 *  also when it failed, 0 when none was started; NULL: not wanted. Errors: INVALID with its own words (first line of
 *  stderr) and its exit status as code, NOTFOUND (no such program), RETRY (deadline). Blocks: not on the loop thread. */
int program_run(const struct program *program, int64_t deadline_us, int *ret_pid, struct err *err);

#endif
