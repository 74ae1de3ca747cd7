/* SPDX-License-Identifier: Apache-2.0 */
#include "box_daemon.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/net.h"
#include "berth/proto.h"
#include "berth/str.h"
#include "box_proc.h"
#include "box_state.h"

#define DOMAIN       "vpcbox"
#define STOP_WAIT_US (10 * USEC_PER_SEC) /* a daemon finishes the calls in flight after SIGTERM; then SIGKILL */
#define ASK_WAIT_US  (USEC_PER_SEC)      /* one question on the socket */
#define ENV_MAX      48U                 /* ours, what passes through, and --env */
#define ENV_TEXT_MAX 4096U               /* bytes of one variable */

struct env {
	unsigned count;
	char *vars[ENV_MAX + 1]; /* owned, NULL-terminated */
	bool failed;
};

static void env_done(struct env *env)
{
	for (unsigned i = 0; i < env->count; i++)
		free(env->vars[i]);
}

static void env_add(struct env *env, const char *key, const char *value)
{
	struct strbuf text = { .max_len = ENV_TEXT_MAX };

	strbuf_printf(&text, "%s=%s", key, value);
	char *var = strbuf_take(&text);

	strbuf_done(&text);
	if (!var || env->count == ENV_MAX) {
		free(var);
		env->failed = true;
		return;
	}
	env->vars[env->count++] = var;
}

/* Nothing of the caller's environment but this: a real cloud's endpoint or credentials must not reach a box. */
static void env_pass_through(struct env *env)
{
	static const char *const keys[] = { "PATH",          "LD_LIBRARY_PATH", "ASAN_OPTIONS",
					    "UBSAN_OPTIONS", "LSAN_OPTIONS",    "TSAN_OPTIONS" };

	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *value = getenv(keys[i]);

		if (value)
			env_add(env, keys[i], value);
	}
}

static void env_of_ipamd(struct env *env, const struct box *box, const char *node)
{
	char path[BOX_PATH_SIZE];

	env_pass_through(env);
	env_add(env, "BERTH_CLOUD", box->cloud);
	env_add(env, "BERTH_RUN_DIR", box_path(path, box->prefix, node, "run"));
	env_add(env, "BERTH_CONFLIST_DIR", box_path(path, box->prefix, node, "net.d"));
	env_add(env, "BERTH_METRICS_ADDRESS", "127.0.0.1:9479");
	env_add(env, "AWS_ENDPOINT_URL_EC2", "http://" FABRIC_API_ADDR);
	env_add(env, "AWS_REGION", "us-west-2");
	for (unsigned i = 0; i < box->env_count; i++) {
		char *equals = strchr(box->env[i], '=');
		char key[128];

		if (!equals || (size_t)(equals - box->env[i]) >= sizeof(key)) {
			env->failed = true;
			return;
		}
		(void)snprintf(key, sizeof(key), "%.*s", (int)(equals - box->env[i]), box->env[i]);
		env_add(env, key, equals + 1);
	}
}

/* A later K=V wins: getenv() finds the first one, so earlier ones of the same key go. */
static void env_last_wins(struct env *env)
{
	for (unsigned i = 0; i < env->count; i++) {
		size_t key_len = strcspn(env->vars[i], "=") + 1;

		for (unsigned j = i + 1; j < env->count; j++)
			if (strncmp(env->vars[i], env->vars[j], key_len) == 0) {
				char *older = env->vars[i];

				env->vars[i] = env->vars[j];
				env->vars[j] = older;
			}
	}
}

static bool file_is_there(void *arg)
{
	return fs_exists(arg);
}

int box_mockcloud_start(const struct box *box, const char *path, struct err *err)
{
	char seed[BOX_PATH_SIZE], ready[BOX_PATH_SIZE], log[BOX_PATH_SIZE], record[BOX_PATH_SIZE];
	char calls[BOX_PATH_SIZE];
	_cleanup_(env_done) struct env env = { 0 };
	_cleanup_close_ int vpc_fd = -1;
	const char *const argv[] = { "berth-mockcloud",
				     box->cloud,
				     "--seed",
				     box_path(seed, box->prefix, NULL, "seed.json"),
				     "--api",
				     FABRIC_API_ADDR ":80",
				     "--metadata",
				     FABRIC_METADATA_ADDR ":80",
				     "--fabric",
				     box->prefix,
				     "--log",
				     box_path(calls, box->prefix, NULL, "calls.jsonl"),
				     "--ready",
				     box_path(ready, box->prefix, NULL, "mockcloud.ready"),
				     NULL };
	struct proc_spec spec = { .path = path,
				  .argv = argv,
				  .log_path = box_path(log, box->prefix, NULL, "mockcloud.log"),
				  .record_path = box_path(record, box->prefix, NULL, "mockcloud.pid") };

	env_pass_through(&env);
	if (env.failed)
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, ENOMEM, "environment of the mock cloud");
	spec.env = (const char *const *)env.vars;
	if (fabric_netns_open(box->prefix, "vpc", &vpc_fd, err) < 0)
		return -1;
	spec.netns_fd = vpc_fd;
	if (proc_start(&spec, err) < 0 ||
	    proc_await(&spec, file_is_there, ready, clock_now(&clock_boot) + BOX_START_TIMEOUT_US, err) < 0)
		return err_wrap(err, "mock cloud (%s)", log);
	return 0;
}

int box_ipamd_start(const struct box *box, const char *node, struct err *err)
{
	char log[BOX_PATH_SIZE], record[BOX_PATH_SIZE];
	static const char *const argv[] = { "berth-ipamd", NULL };
	_cleanup_(env_done) struct env env = { 0 };
	_cleanup_close_ int node_fd = -1;
	struct proc_spec spec = { .path = box->ipamd,
				  .argv = argv,
				  .log_path = box_path(log, box->prefix, node, "log/ipamd.log"),
				  .record_path = box_path(record, box->prefix, node, "ipamd.pid") };

	env_of_ipamd(&env, box, node);
	if (env.failed)
		return err_set(err, ERR_INVALID, DOMAIN, "environment of the daemon: too many or too long variables");
	env_last_wins(&env);
	spec.env = (const char *const *)env.vars;
	if (fabric_netns_open(box->prefix, node, &node_fd, err) < 0)
		return -1;
	spec.netns_fd = node_fd;
	return proc_start(&spec, err) < 0 ? err_wrap(err, "daemon of %s", node) : 0;
}

struct readiness {
	char conflist[BOX_PATH_SIZE];
	char socket[BOX_PATH_SIZE];
};

static bool ipamd_is_ready(void *arg)
{
	const struct readiness *want = arg;
	struct proto_request request = { .op = PROTO_STATUS };
	struct proto_reply reply = { 0 };

	if (!fs_exists(want->conflist) ||
	    proto_call(want->socket, &request, clock_now(&clock_boot) + ASK_WAIT_US, &reply, NULL) < 0)
		return false;
	bool ok = reply.ok;

	proto_reply_done(&reply);
	return ok;
}

int box_ipamd_await(const struct box *box, const char *node, int64_t deadline_us, struct err *err)
{
	char log[BOX_PATH_SIZE], record[BOX_PATH_SIZE];
	static const char *const argv[] = { "berth-ipamd", NULL };
	struct proc_spec spec = { .argv = argv,
				  .log_path = box_path(log, box->prefix, node, "log/ipamd.log"),
				  .record_path = box_path(record, box->prefix, node, "ipamd.pid") };
	struct readiness want;

	(void)box_path(want.conflist, box->prefix, node, BOX_CONFLIST);
	(void)box_path(want.socket, box->prefix, node, BOX_SOCKET);
	if (proc_await(&spec, ipamd_is_ready, &want, deadline_us, err) < 0)
		return err_wrap(err, "daemon of %s (%s)", node, log);
	return 0;
}

/* Daemons first: without their cloud they would only write errors into their logs. */
int box_stop_all(const char *prefix, struct err *err)
{
	char path[BOX_PATH_SIZE];
	const struct dirent *entry;
	DIR *dir = opendir(box_path(path, prefix, NULL, ""));
	int rc = 0;

	if (!dir)
		return errno == ENOENT ? 0 : err_set_errno(err, ERR_INVALID, DOMAIN, errno, "%s", path);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || entry->d_type != DT_DIR)
			continue;
		if (proc_end(box_path(path, prefix, entry->d_name, "ipamd.pid"), SIGTERM, STOP_WAIT_US, err) < 0)
			rc = -1;
	}
	(void)closedir(dir);
	if (proc_end(box_path(path, prefix, NULL, "mockcloud.pid"), SIGTERM, STOP_WAIT_US, err) < 0)
		rc = -1;
	return rc;
}
