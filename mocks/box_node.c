/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/net.h"
#include "berth/str.h"
#include "box_daemon.h"
#include "box_opts.h"
#include "box_proc.h"
#include "box_state.h"
#include "box_verbs.h"

#define DOMAIN       "vpcbox"
#define KILL_WAIT_US (10 * USEC_PER_SEC) /* for its end after the signal */

static int load_with_node(const struct box_opts *opts, struct box *ret, struct err *err)
{
	if (box_load(opts->name, ret, err) < 0)
		return -1;
	if (box_has_node(ret, opts->args[0], err) == 0)
		return 0;
	box_done(ret);
	return -1;
}

int box_kill(const struct box_opts *opts, struct err *err)
{
	_cleanup_(box_done) struct box box = { 0 };
	char record[BOX_PATH_SIZE];

	if (load_with_node(opts, &box, err) < 0)
		return -1;
	(void)box_path(record, box.prefix, opts->args[0], "ipamd.pid");
	if (!proc_alive(record))
		return err_set(err, ERR_NOTFOUND, DOMAIN, "the daemon of %s does not run", opts->args[0]);
	return proc_end(record, (int)opts->signal, KILL_WAIT_US, err);
}

int box_start(const struct box_opts *opts, struct err *err)
{
	_cleanup_(box_done) struct box box = { 0 };
	int64_t start_us = clock_now(&clock_boot);

	if (load_with_node(opts, &box, err) < 0)
		return -1;
	if (opts->ipamd && str_copy(box.ipamd, sizeof(box.ipamd), opts->ipamd) < 0)
		return err_set(err, ERR_INVALID, DOMAIN, "--ipamd is too long");
	if (box_ipamd_start(&box, opts->args[0], err) < 0 ||
	    box_ipamd_await(&box, opts->args[0], start_us + BOX_START_TIMEOUT_US, err) < 0)
		return -1;
	(void)printf("daemon of %s: answers after %lld ms\n", opts->args[0],
		     (long long)((clock_now(&clock_boot) - start_us) / USEC_PER_MSEC));
	return 0;
}

static int run_command(void *arg, struct err *err)
{
	char **command = arg;

	(void)execvp(command[0], command);
	return err_set_errno(err, ERR_NOTFOUND, DOMAIN, errno, "%s", command[0]);
}

/* NODE, POD, "vpc" and "inet" are all names behind the box's prefix; a whole namespace name is taken too. */
int box_exec(const struct box_opts *opts, struct err *err)
{
	_cleanup_close_ int fd = -1;
	char start[FABRIC_NETNS_SIZE];
	const char *what = opts->args[0];

	if (!opts->command)
		return err_set(err, ERR_INVALID, DOMAIN, "a command is wanted behind --");
	fabric_netns_name(opts->name, "", start);
	if (str_starts(what, start))
		what += strlen(start);
	if (fabric_netns_open(opts->name, what, &fd, err) < 0)
		return -1;
	return netns_run(fd, run_command, opts->command, err);
}
