/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/spool.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "berth/err.h"
#include "berth/fs.h"
#include "berth/proto.h"
#include "berth/str.h"

#define SPOOL_DOMAIN    "spool"
#define SPOOL_DIR_MODE  0700
#define SPOOL_FILE_MODE 0600

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

/* Return: entries of the directory, counted up to the limit, or -errno. */
static int count_entries(const char *path)
{
	_cleanup_(cleanup_dir) DIR *dir = opendir(path);
	int count = 0;

	if (!dir)
		return -errno;
	while (count < SPOOL_FILES_MAX) {
		const struct dirent *entry = readdir(dir);

		if (!entry)
			break;
		count += !str_equal(entry->d_name, ".") && !str_equal(entry->d_name, "..");
	}
	return count;
}

static int make_room(const char *dir, struct err *err)
{
	int count, rc = fs_mkdir_p(dir, SPOOL_DIR_MODE);

	if (rc < 0)
		return err_set_errno(err, ERR_RETRY, SPOOL_DOMAIN, -rc, "make %s", dir);
	count = count_entries(dir);
	if (count < 0)
		return err_set_errno(err, ERR_RETRY, SPOOL_DOMAIN, -count, "read %s", dir);
	if (count >= SPOOL_FILES_MAX)
		return err_set_errno(err, ERR_EXHAUSTED, SPOOL_DOMAIN, ENOSPC, "%s holds %d files", dir, count);
	return 0;
}

int spool_del(const char *socket_path, const struct proto_request *request, struct err *err)
{
	_cleanup_strbuf_ struct strbuf dir = { .max_len = PATH_MAX }, path = { .max_len = PATH_MAX };
	_cleanup_free_ char *line = NULL;
	const char *slash = strrchr(socket_path, '/');
	size_t size;
	int rc;

	assert(slash);
	assert(request->op == PROTO_DEL);
	strbuf_add_bytes(&dir, socket_path, (size_t)(slash - socket_path) + 1);
	strbuf_add(&dir, PROTO_SPOOL_DIR);
	if (!dir.failed)
		strbuf_printf(&path, "%s/%016" PRIx64, dir.text, proto_key_hash(&request->key));
	line = proto_request_encode(request, &size);
	if (dir.failed || path.failed || !line)
		return err_set_errno(err, ERR_RETRY, SPOOL_DOMAIN, ENOMEM, "spool a DEL");
	/* The same DEL once more needs no room. */
	if (!fs_exists(path.text) && make_room(dir.text, err) < 0)
		return -1;
	rc = fs_write_atomic(path.text, line, size, SPOOL_FILE_MODE);
	return rc < 0 ? err_set_errno(err, ERR_RETRY, SPOOL_DOMAIN, -rc, "write %s", path.text) : 0;
}
