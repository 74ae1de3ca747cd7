/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include <jansson.h>

#include "cni/plugin.h"

static const char *get_env(void *ctx, const char *name)
{
	(void)ctx;
	return getenv(name);
}

/* Or jansson opens and reads /dev/urandom: 10 µs. Where there is no randomness yet, it still does that. */
static void seed_json(void)
{
	size_t seed;

	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) == (ssize_t)sizeof(seed))
		json_object_seed(seed);
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
	seed_json();
	return cni_main(&io);
}
