/* SPDX-License-Identifier: Apache-2.0 */
#include "berth/fs.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "berth/attr.h"
#include "berth/str.h"

#define FS_EINTR_MAX  100   /* tries of one call that signals interrupt; far more than any process of ours gets */
#define FS_READ_FIRST 4096U /* bytes of the first buffer: nearly every file that we read is smaller */
#define FS_TEMP_END   ".tmp"

/* read(2) or -errno, across signals. */
static ssize_t read_some(int fd, char *buf, size_t size)
{
	for (int i = 0; i < FS_EINTR_MAX; i++) {
		ssize_t n = read(fd, buf, size);

		if (n >= 0)
			return n;
		if (errno != EINTR)
			return -errno;
	}
	return -EINTR;
}

/* write(2) or -errno, across signals. */
static ssize_t write_some(int fd, const char *buf, size_t size)
{
	for (int i = 0; i < FS_EINTR_MAX; i++) {
		ssize_t n = write(fd, buf, size);

		if (n >= 0)
			return n;
		if (errno != EINTR)
			return -errno;
	}
	return -EINTR;
}

/* Doubles @*buf up to @max bytes. */
static int grow(char **buf, size_t *alloc, size_t max)
{
	size_t want = *alloc == 0 ? FS_READ_FIRST : *alloc > max / 2 ? max : *alloc * 2;
	char *bigger;

	if (want > max)
		want = max;
	bigger = realloc(*buf, want);
	if (!bigger)
		return -ENOMEM;
	*buf = bigger;
	*alloc = want;
	return 0;
}

int fs_read_fd(int fd, size_t max_size, char **ret_text, size_t *ret_size)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0, alloc = 0;

	assert(fd >= 0 && ret_text);
	assert(max_size < SIZE_MAX - 1);
	for (;;) {
		/* One byte beyond the limit tells a full file from one that is too big. */
		if (size == alloc && grow(&text, &alloc, max_size + 1) < 0)
			return -ENOMEM;
		ssize_t n = read_some(fd, text + size, alloc - size);

		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		size += (size_t)n;
		if (size > max_size)
			return -EFBIG;
	}
	/* size <= max_size here, and a buffer that is full was grown before the last read. */
	text[size] = '\0';
	*ret_text = take_ptr(text);
	if (ret_size)
		*ret_size = size;
	return 0;
}

int fs_read(const char *path, size_t max_size, char **ret_text, size_t *ret_size)
{
	_cleanup_close_ int fd = -1;

	assert(path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	return fs_read_fd(fd, max_size, ret_text, ret_size);
}

int fs_write_all(int fd, const void *bytes, size_t size)
{
	const char *at = bytes;

	assert(fd >= 0);
	assert(bytes || size == 0);
	while (size > 0) {
		ssize_t n = write_some(fd, at, size);

		if (n < 0)
			return (int)n;
		if (n == 0)
			return -EIO;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

/* The length of the directory part of @path with its slash; 0 for a bare name. */
static size_t dir_len(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) + 1 : 0;
}

/* Fills the file behind @fd and closes it, also on failure. */
static int fill_and_close(int fd, const void *bytes, size_t size, mode_t mode)
{
	int rc = fs_write_all(fd, bytes, size);

	if (rc == 0 && fchmod(fd, mode) < 0)
		rc = -errno;
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	return rc;
}

/* Best effort: file systems without it (and there are some) still have the rename. */
static void sync_dir(const char *path)
{
	_cleanup_close_ int fd = -1;
	_cleanup_strbuf_ struct strbuf dir = { 0 };

	strbuf_add_bytes(&dir, path, dir_len(path));
	if (dir.failed)
		return;
	fd = open(dir.len ? dir.text : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		(void)fsync(fd);
}

int fs_write_atomic(const char *path, const void *bytes, size_t size, mode_t mode)
{
	_cleanup_strbuf_ struct strbuf temp = { .max_len = PATH_MAX };
	size_t dir;
	int fd, rc;

	assert(path);
	dir = dir_len(path);
	assert(path[dir] != '\0');
	strbuf_add_bytes(&temp, path, dir);
	/*
	 * Random and not only our pid, which is 1 in every container: what a crash left behind must not stop the next
	 * try. The suffix keeps it from being taken for a finished file by programs that read all *.conf of a
	 * directory.
	 */
	strbuf_printf(&temp, ".%s.%d.XXXXXX" FS_TEMP_END, path + dir, (int)getpid());
	if (temp.failed)
		return -ENAMETOOLONG;
	fd = mkostemps(temp.text, (int)strlen(FS_TEMP_END), O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = fill_and_close(fd, bytes, size, mode);
	if (rc == 0 && rename(temp.text, path) < 0)
		rc = -errno;
	if (rc < 0) {
		(void)unlink(temp.text);
		return rc;
	}
	sync_dir(path);
	return 0;
}

static int mkdir_one(const char *path, mode_t mode)
{
	struct stat st;

	if (mkdir(path, mode) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int fs_mkdir_p(const char *path, mode_t mode)
{
	char part[PATH_MAX];

	assert(path);
	if (!*path)
		return -ENOENT;
	if (str_copy(part, sizeof(part), path) < 0)
		return -ENAMETOOLONG;
	for (char *at = part + 1; *at; at++) {
		int rc;

		if (*at != '/' || at[-1] == '/')
			continue;
		*at = '\0';
		rc = mkdir_one(part, mode);
		*at = '/';
		if (rc < 0)
			return rc;
	}
	return mkdir_one(part, mode);
}

int fs_unlink(const char *path)
{
	assert(path);
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

bool fs_exists(const char *path)
{
	assert(path);
	return access(path, F_OK) == 0;
}

/* Keys hold interface names that others chose: none of them may lead out of /proc/sys. */
static bool key_is_safe(const char *key)
{
	while (*key) {
		size_t len = strcspn(key, "/");

		if (len == 0 || (len == 1 && key[0] == '.') || (len == 2 && key[0] == '.' && key[1] == '.'))
			return false;
		key += len;
		if (*key == '/' && !*++key)
			return false;
	}
	return true;
}

int fs_sysctl_write(const char *key, const char *value)
{
	_cleanup_close_ int fd = -1;
	_cleanup_strbuf_ struct strbuf path = { .max_len = PATH_MAX };
	ssize_t n;

	assert(key && value);
	if (!*key || !key_is_safe(key))
		return -EINVAL;
	strbuf_printf(&path, "/proc/sys/%s", key);
	if (path.failed)
		return -ENAMETOOLONG;
	fd = open(path.text, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* The kernel takes a value from one write only. */
	n = write_some(fd, value, strlen(value));
	if (n < 0)
		return (int)n;
	return (size_t)n == strlen(value) ? 0 : -EIO;
}
