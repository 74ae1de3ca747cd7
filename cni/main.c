/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "cni/plugin.h"

static const char *get_env(void *ctx, const char *name)
{
	(void)ctx;
	return getenv(name);
}

int main(void)
{
	const struct cni_io io = {
		.env = { .get = get_env },
		.in_fd = STDIN_FILENO,
		.out_fd = STDOUT_FILENO,
		.err_fd = STDERR_FILENO,
	};
	const struct sigaction ignore = { .sa_handler = SIG_IGN };

	/* A runtime that is gone must not stop an ADD half way: the failed write undoes it. */
	(void)sigaction(SIGPIPE, &ignore, NULL);
	return cni_main(&io);
}
