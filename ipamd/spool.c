/* SPDX-License-Identifier: Apache-2.0 */
/* DELs that found no daemon, or one that hung: the plugin left each as a file, and its pod is gone already. */
#include "ipamd/ipamd.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "berth/clock.h"
#include "berth/fs.h"
#include "berth/log.h"

#define SPOOL_FILES_MAX 4096 /* the plugin keeps the same limit */
#define SPOOL_US        (15 * USEC_PER_SEC)
#define DIR_SIZE        (CONFIG_TEXT_SIZE + 16) /* of a path below the run directory */
/* A plugin writes its file in milliseconds. Should a slower one live yet, its DEL fails and is repeated. */
#define UNFINISHED_US (10 * USEC_PER_SEC)

/* Errors: those of the store and of the file, which stays. */
static int replay_file(struct ipamd *d, const char *path, int64_t now_us, struct err *err)
{
	_cleanup_free_ char *line = NULL;
	_cleanup_request_ struct proto_request request = { 0 };
	size_t size = 0;
	struct err why;
	int r = fs_read(path, PROTO_REQUEST_MAX, &line, &size);

	if (r == -ENOENT)
		return 0;
	if (r < 0 && r != -EFBIG) {
		log_warn("cannot read a spooled DEL", "file=\"%s\" err=\"%s\"", path, errno_str(-r));
		return err_set_errno(err, ERR_RETRY, "spool", -r, "read the DEL that was spooled");
	}
	if (r < 0 || proto_request_decode(line, size, &request, &why) < 0 || request.op != PROTO_DEL)
		log_warn("a spooled file is no DEL; dropped", "file=\"%s\"", path);
	else if (requests_del(d, &request.key, now_us, err) < 0)
		return err_wrap(err, "a DEL that was spooled");
	r = fs_unlink(path);
	return r < 0 ? err_set_errno(err, ERR_RETRY, "spool", -r, "remove a DEL that was spooled") : 0;
}

/* A file that a plugin began and, killed, never finished: it would count against the plugins' limit for ever. */
static void drop_unfinished(const char *path)
{
	struct stat st;
	int64_t age_us;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	age_us = clock_now(&clock_wall) - st.st_mtim.tv_sec * USEC_PER_SEC;
	if (age_us < UNFINISHED_US)
		return;
	log_info("dropped a spooled DEL that was never finished", "file=\"%s\"", path);
	(void)fs_unlink(path);
}

static void replay_all(struct ipamd *d, int64_t now_us)
{
	char dir_path[DIR_SIZE], path[DIR_SIZE + NAME_MAX + 1];
	struct dirent *entry;
	unsigned count = 0;
	DIR *dir;

	(void)snprintf(dir_path, sizeof(dir_path), "%s/%s", d->config.run_dir, PROTO_SPOOL_DIR);
	dir = opendir(dir_path);
	if (!dir)
		return; /* no plugin ever missed us */
	while (count < SPOOL_FILES_MAX && (entry = readdir(dir))) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir_path, entry->d_name);
		if (entry->d_name[0] == '.') {
			drop_unfinished(path);
			continue;
		}
		(void)replay_file(d, path, now_us, NULL); /* what fails is tried again with the next round */
		count++;
	}
	(void)closedir(dir);
	if (count)
		log_info("replayed spooled DELs", "files=%u", count);
}

int spool_replay(struct ipamd *d, const struct lease_key *key, int64_t now_us, struct err *err)
{
	char path[DIR_SIZE + NAME_MAX + 1];

	(void)snprintf(path, sizeof(path), "%s/%s/%016" PRIx64, d->config.run_dir, PROTO_SPOOL_DIR,
		       proto_key_hash(key));
	return replay_file(d, path, now_us, err);
}

int64_t spool_replay_due(struct ipamd *d, int64_t now_us)
{
	if (!d->listed)
		return INT64_MAX;
	if (d->spool_due_us <= now_us) {
		d->spool_due_us = now_us + SPOOL_US;
		replay_all(d, now_us);
	}
	return d->spool_due_us;
}
