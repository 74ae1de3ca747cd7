/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/plugin.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "berth/clock.h"
#include "berth/fs.h"
#include "berth/log.h"
#include "berth/str.h"
#include "berth/version.h"
#include "cni/cnierr.h"
#include "cni/trace.h"

#define VERSION_TEXT_SIZE 32 /* bytes of a cniVersion that is echoed */

static const char about[] = "berth " BERTH_VERSION ": CNI plugin that gives pods addresses of the cloud's network.\n"
			    "CNI versions: " CNI_VERSIONS_TEXT ". It is run by a container runtime; see docs/cni.md.\n";

struct verb {
	const char *name;
	enum cni_version since; /* of the specification */
	unsigned needs;         /* bits of enum cni_need */
	bool needs_conf;
	int (*fn)(const struct cni_run *run, struct cnierr *cnierr);
};

static const struct verb verbs[] = {
	{ "ADD", CNI_0_3_0, NEED_CONTAINERID | NEED_NETNS | NEED_IFNAME, true, cni_add },
	{ "DEL", CNI_0_3_0, NEED_CONTAINERID | NEED_IFNAME, true, cni_del },
	{ "VERSION", CNI_0_3_0, 0, false, cni_version_verb },
	{ "CHECK", CNI_0_4_0, NEED_CONTAINERID | NEED_NETNS | NEED_IFNAME, true, cni_check },
	{ "GC", CNI_1_1_0, 0, true, cni_gc },
	{ "STATUS", CNI_1_1_0, 0, true, cni_status },
};

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (str_equal(name, verbs[i].name))
			return &verbs[i];
	return NULL;
}

int cni_print(const struct cni_run *run, const char *text, struct cnierr *cnierr)
{
	_cleanup_strbuf_ struct strbuf line = { 0 };
	int rc;

	if (text)
		strbuf_printf(&line, "%s\n", text);
	if (!text || line.failed)
		return cnierr_set(cnierr, CNI_INTERNAL, "The node is short of memory.", "cannot print the result");
	/* In one piece: whoever reads it then sees all or nothing. */
	rc = fs_write_all(run->io->out_fd, line.text, line.len);
	if (rc < 0)
		return cnierr_set(cnierr, CNI_IO_FAILURE, "The container runtime closed the plugin's stdout.",
				  "write the result: %s", errno_str(-rc));
	return 0;
}

static int read_stdin(struct cni_run *run, char **ret_text, struct cnierr *cnierr)
{
	int rc = fs_read_fd(run->io->in_fd, CONF_MAX_SIZE, ret_text, &run->stdin_size);

	if (rc == -EFBIG)
		return cnierr_set(cnierr, CNI_DECODE_FAILURE, "Shorten the network configuration.",
				  "network configuration on stdin is longer than %u bytes", CONF_MAX_SIZE);
	if (rc < 0)
		return cnierr_set(cnierr, CNI_IO_FAILURE, "The container runtime must send a configuration on stdin.",
				  "read the network configuration: %s", errno_str(-rc));
	run->stdin_text = *ret_text;
	return 0;
}

static int run_verb(struct cni_run *run, const char *command, char **stdin_text, struct cnierr *cnierr)
{
	const struct verb *verb = find_verb(command);

	if (!verb)
		return cnierr_set(cnierr, CNI_INVALID_ENVIRONMENT, "It must be ADD, DEL, CHECK, GC, STATUS or VERSION.",
				  "CNI_COMMAND '%.32s' is unknown", command);
	if (cni_args_read(&run->io->env, verb->needs, &run->args, cnierr) < 0)
		return -1;
	/* VERSION answers whatever is on stdin, or nothing. */
	if (read_stdin(run, stdin_text, cnierr) < 0 && verb->needs_conf)
		return -1;
	if (verb->needs_conf && cni_conf_parse(run->stdin_text, run->stdin_size, &run->conf, cnierr) < 0)
		return -1;
	if (verb->needs_conf && run->conf.version < verb->since)
		return cnierr_set(cnierr, CNI_INCOMPATIBLE_VERSION, "Raise 'cniVersion' of the network configuration.",
				  "CNI_COMMAND %s needs CNI version %s, the configuration says %s", command,
				  cni_version_name(verb->since), cni_version_name(run->conf.version));
	return verb->fn(run, cnierr);
}

/* An error in the version that was asked for, if it is one of ours. */
static void print_error(const struct cni_run *run, const struct cnierr *cnierr)
{
	_cleanup_free_ char *text = NULL;
	char asked[VERSION_TEXT_SIZE];
	enum cni_version version;
	struct cnierr ignored;

	cni_conf_version(run->stdin_text, run->stdin_size, asked, sizeof(asked));
	if (cni_version_parse(asked, &version) < 0)
		version = CNI_VERSION_NEWEST;
	text = cnierr_print(cnierr, cni_version_name(version));
	if (cni_print(run, text, &ignored) < 0)
		log_error("cannot print an error", "code=%d msg=\"%s\"", (int)cnierr->code, cnierr->msg);
}

int cni_main(const struct cni_io *io)
{
	_cleanup_free_ char *stdin_text = NULL;
	struct cni_run run = { .io = io, .started_us = clock_now(&clock_boot) };
	char trace[TRACE_ID_SIZE];
	const char *command;
	struct cnierr cnierr;

	assert(io && io->env.get);
	log_init("berth", io->err_fd, LOG_WARN_);
	log_set_trace(trace_id(cni_env_get(&io->env, "TRACEPARENT"), trace) ? trace : "");
	command = cni_env_get(&io->env, "CNI_COMMAND");
	/* Somebody typed it. */
	if (!*command) {
		(void)fs_write_all(io->err_fd, about, strlen(about));
		return 0;
	}
	if (run_verb(&run, command, &stdin_text, &cnierr) == 0)
		return 0;
	print_error(&run, &cnierr);
	return 1;
}
