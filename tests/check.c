/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"

#define CHECK_DEPTH_MAX  4          /* nested fixtures: a group, its test, and two to spare */
#define CHECK_FD_MAX     1024       /* descriptors that are told apart; tests use dozens */
#define CHECK_TMPDIR_MAX 64         /* directories of one test program */
#define CHECK_WALK_FDS   16         /* descriptors that the removal of a tree may use */
#define CHECK_GOLDEN_MAX (4U << 20) /* bytes; golden files are read by people */

/* Fixtures cannot hand a value to their partner without taking *state from the test: hence state of this file. */
static struct fd_set_seen {
	bool open[CHECK_FD_MAX];
	size_t count;
} seen[CHECK_DEPTH_MAX];
static size_t seen_depth;

static struct {
	char *path[CHECK_TMPDIR_MAX];
	size_t count;
	pid_t owner;
} tmpdirs;

/* Fills @ret with what is open now, apart from the descriptor that is used to look. */
static void look_at_fds(struct fd_set_seen *ret)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	*ret = (struct fd_set_seen){ 0 };
	if (!dir) {
		fail_msg("/proc/self/fd: %s", errno_str(errno));
		return;
	}
	while ((entry = readdir(dir))) {
		uint64_t fd;

		if (str_u64(entry->d_name, 0, INT_MAX, &fd) < 0 || (int)fd == dirfd(dir))
			continue;
		ret->count++;
		if (fd < CHECK_FD_MAX)
			ret->open[fd] = true;
	}
	(void)closedir(dir);
}

size_t check_open_fds(void)
{
	struct fd_set_seen now;

	look_at_fds(&now);
	return now.count;
}

int check_fds_setup(void **state)
{
	(void)state;
	if (seen_depth == CHECK_DEPTH_MAX)
		return -1;
	look_at_fds(&seen[seen_depth++]);
	return 0;
}

static void print_fd(int fd, const char *what)
{
	char link[32], target[128];
	ssize_t len;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, target, sizeof(target) - 1);
	target[len > 0 ? len : 0] = '\0';
	print_error("descriptor %d %s: %s\n", fd, what, target);
}

int check_fds_teardown(void **state)
{
	const struct fd_set_seen *before;
	struct fd_set_seen now;
	bool same;

	(void)state;
	if (seen_depth == 0)
		return -1;
	before = &seen[--seen_depth];
	look_at_fds(&now);
	same = before->count == now.count;
	for (int fd = 0; fd < CHECK_FD_MAX; fd++) {
		if (before->open[fd] == now.open[fd])
			continue;
		print_fd(fd, now.open[fd] ? "was left open" : "of an outer frame was closed");
		same = false;
	}
	return same ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	if (remove(path) < 0)
		print_error("%s: %s\n", path, errno_str(errno));
	return 0;
}

static void remove_tree(const char *path)
{
	(void)nftw(path, remove_one, CHECK_WALK_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void remove_all_tmpdirs(void)
{
	if (getpid() != tmpdirs.owner)
		return;
	while (tmpdirs.count > 0) {
		char *path = tmpdirs.path[--tmpdirs.count];

		remove_tree(path);
		free(path);
	}
}

const char *check_tmpdir(void)
{
	const char *root = getenv("TMPDIR");
	char *path = NULL;

	if (tmpdirs.owner == 0 && atexit(remove_all_tmpdirs) == 0)
		tmpdirs.owner = getpid();
	assert_int_equal(tmpdirs.owner, getpid());
	assert_true(tmpdirs.count < CHECK_TMPDIR_MAX);
	assert_true(asprintf(&path, "%s/berth-test.XXXXXX", root && *root ? root : "/tmp") > 0);
	if (!mkdtemp(path)) {
		free(path);
		fail_msg("mkdtemp: %s", errno_str(errno));
	}
	tmpdirs.path[tmpdirs.count++] = path;
	return path;
}

void check_tmpdir_remove(const char *path)
{
	for (size_t i = 0; i < tmpdirs.count; i++) {
		char *found = tmpdirs.path[i];

		if (strcmp(found, path) != 0)
			continue;
		tmpdirs.path[i] = tmpdirs.path[--tmpdirs.count];
		remove_tree(found);
		free(found);
		return;
	}
	fail_msg("%s is no directory of check_tmpdir()", path);
}

const char *check_path(char *buf, size_t buf_size, const char *dir, const char *name)
{
	int len = snprintf(buf, buf_size, "%s/%s", dir, name);

	assert_true(len > 0 && (size_t)len < buf_size);
	return buf;
}

char *check_golden(const char *path, size_t *ret_size)
{
	char *text = NULL;
	int rc = fs_read(path, CHECK_GOLDEN_MAX, &text, ret_size);

	if (rc < 0)
		fail_msg("golden file %s: %s", path, errno_str(-rc));
	return text;
}
