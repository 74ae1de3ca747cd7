/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the plugin
 *
 * A run is one verb (CNI_COMMAND) for one pod interface: variables and a configuration come in, one JSON document goes
 * out on stdout, and the exit status is 0 or 1. Verbs are rows of a table in plugin.c, each in a file of its own. No
 * state survives a run but what the kernel and the daemon hold, and a spooled DEL when the daemon is away.
 */
#ifndef CNI_PLUGIN_H
#define CNI_PLUGIN_H

#include "cni/args.h"
#include "cni/conf.h"

struct cnierr;

/** struct cni_io - everything that a run reads and writes, apart from kernel and daemon. Descriptors are borrowed. */
struct cni_io {
	struct cni_env env;
	int in_fd;
	int out_fd;
	int err_fd;
};

/** struct cni_run - what a verb works with. */
struct cni_run {
	const struct cni_io *io;
	const char *stdin_text;
	size_t stdin_size;
	int64_t started_us; /* clock_boot */
	struct cni_args args;
	struct cni_conf conf;
};

/** cni_main() - one run. Return: the exit status, 0 or 1. */
int cni_main(const struct cni_io *io);

/** cni_print() - one line of JSON on stdout. @text: NULL (no memory) is a failure. Return: 0 or -1 with code 5 or 100.
 */
int cni_print(const struct cni_run *run, const char *text, struct cnierr *cnierr);

/** cni_ipam_add() - the part of ADD that another plugin asks for: addresses, and nothing in the kernel. */
int cni_ipam_add(const struct cni_run *run, struct cnierr *cnierr);

/* The verbs. Return: 0, or -1 with @cnierr set and everything undone. */
int cni_add(const struct cni_run *run, struct cnierr *cnierr);
int cni_del(const struct cni_run *run, struct cnierr *cnierr);
int cni_check(const struct cni_run *run, struct cnierr *cnierr);
int cni_gc(const struct cni_run *run, struct cnierr *cnierr);
int cni_status(const struct cni_run *run, struct cnierr *cnierr);
int cni_version_verb(const struct cni_run *run, struct cnierr *cnierr);

#endif
