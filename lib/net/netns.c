/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: network namespaces
 *
 * A namespace is a file: /run/netns/NAME, /proc/PID/ns/net, or what a container runtime bind-mounted. A mount point
 * whose namespace was unmounted is left behind as an ordinary empty file; that is "gone", not "wrong".
 *
 * Entering one concerns the calling thread alone. Whoever cannot come back would go on with every later call in a
 * pod's namespace, silently and for all pods: netns_run() then ends the process. A daemon that is started again finds
 * everything in its store and in the kernel; one in the wrong place destroys both.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <linux/sockios.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "berth/str.h"

#include "net_internal.h"

#define NETNS_DIR        "/run/netns" /* where `ip netns` keeps its names (/var/run/netns) */
#define NETNS_SELF       "/proc/thread-self/ns/net"
#define NETNS_PATH_SIZE  (sizeof(NETNS_DIR) + 1 + NAME_MAX)
#define NETNS_LOCK_TRIES 200 /* of NETNS_LOCK_MS: 1 s; the holder makes two mount calls */
#define NETNS_LOCK_MS    5

int netns_open(const char *path, int *ret_fd, struct err *err)
{
	struct statfs fs;
	/* O_NONBLOCK: a path from outside may be a FIFO that nobody writes to. */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 && errno == ENOENT)
		return err_set_errno(err, ERR_NOTFOUND, NET_DOMAIN, ENOENT, "network namespace %s is gone", path);
	if (fd < 0 || fstatfs(fd, &fs) < 0)
		return net_fail(err, -errno, NULL, "open network namespace %s", path);
	if (fs.f_type != NSFS_MAGIC)
		return err_set_errno(err, ERR_NOTFOUND, NET_DOMAIN, ENOENT, "no network namespace is mounted at %s",
				     path);
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return err_set_errno(err, ERR_INVALID, NET_DOMAIN, EINVAL, "%s is a namespace of another kind", path);
	*ret_fd = take_fd(fd);
	return 0;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool netns_is_current(int netns_fd)
{
	struct stat a, b;

	return fstat(netns_fd, &a) == 0 && stat(NETNS_SELF, &b) == 0 && is_same(&a, &b);
}

uint64_t netns_cookie(int netns_fd)
{
	struct stat st;

	return fstat(netns_fd, &st) == 0 ? st.st_ino : 0;
}

static int home_open(int *ret_fd, struct err *err)
{
	int fd = open(NETNS_SELF, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return net_fail(err, -errno, NULL, "open own network namespace %s", NETNS_SELF);
	*ret_fd = fd;
	return 0;
}

static void go_home(int home_fd)
{
	if (setns(home_fd, CLONE_NEWNET) == 0)
		return;
	(void)dprintf(STDERR_FILENO, "fatal: cannot return to own network namespace: %s; ending the process\n",
		      errno_str(errno));
	abort();
}

static int run_from(int home_fd, int netns_fd, int (*fn)(void *arg, struct err *err), void *arg, struct err *err)
{
	int rc;

	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return net_fail(err, -errno, NULL, "enter network namespace");
	rc = fn(arg, err);
	go_home(home_fd);
	return rc;
}

int netns_run(int netns_fd, int (*fn)(void *arg, struct err *err), void *arg, struct err *err)
{
	_cleanup_close_ int home_fd = -1;

	if (home_open(&home_fd, err) < 0)
		return -1;
	return run_from(home_fd, netns_fd, fn, arg, err);
}

static int open_here(void *arg, struct err *err)
{
	return net_open(arg, err);
}

int net_open_ns(int netns_fd, struct net **ret, struct err *err)
{
	return netns_run(netns_fd, open_here, ret, err);
}

int net_open_beside(const struct net *here, int netns_fd, bool *ret_same, struct net **ret, struct err *err)
{
	/* Asks for CAP_NET_ADMIN, and a kernel since 4.10. */
	_cleanup_close_ int home_fd = ioctl(here->fd, SIOCGSKNS);
	struct stat a, b;

	if (home_fd < 0 && home_open(&home_fd, err) < 0)
		return -1;
	if (fstat(netns_fd, &a) < 0 || fstat(home_fd, &b) < 0)
		return net_fail(err, -errno, NULL, "look at a network namespace");
	*ret_same = is_same(&a, &b);
	return run_from(home_fd, netns_fd, open_here, ret, err);
}

/* ---- names ---- */

static int name_path(const char *name, char path[static NETNS_PATH_SIZE], struct err *err)
{
	size_t len = strlen(name);

	if (len == 0 || len > NAME_MAX || strchr(name, '/') || str_equal(name, ".") || str_equal(name, ".."))
		return err_set(err, ERR_INVALID, NET_DOMAIN, "\"%s\" cannot be the name of a network namespace", name);
	(void)snprintf(path, NETNS_PATH_SIZE, NETNS_DIR "/%s", name);
	return 0;
}

static int lock_dir(int dir_fd)
{
	for (int i = 0; i < NETNS_LOCK_TRIES; i++) {
		if (flock(dir_fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		(void)poll(NULL, 0, NETNS_LOCK_MS);
	}
	return -EBUSY;
}

/* Mounts below the directory must reach every mount namespace, so it has to be a shared mount point of its own. `ip
 * netns add` takes the same lock, so that two first users do not stack two mounts. */
static int share_dir(void)
{
	_cleanup_close_ int dir_fd = -1;
	int rc;

	if (mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) == 0)
		return 0;
	dir_fd = open(NETNS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return -errno;
	rc = lock_dir(dir_fd);
	if (rc < 0)
		return rc;
	if (mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) == 0)
		return 0;
	if (errno != EINVAL || mount(NETNS_DIR, NETNS_DIR, "none", MS_BIND | MS_REC, NULL) < 0 ||
	    mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) < 0)
		return -errno;
	return 0;
}

static int lo_up(struct err *err)
{
	_cleanup_net_ struct net *net = NULL;

	if (net_open(&net, err) < 0)
		return -1;
	return net_link_set_up(net, NET_LO_INDEX, true, err);
}

static int mount_new(const char *path, struct err *err)
{
	_cleanup_close_ int home_fd = -1;
	int rc;

	if (home_open(&home_fd, err) < 0)
		return -1;
	if (unshare(CLONE_NEWNET) < 0)
		return net_fail(err, -errno, NULL, "make network namespace");
	if (mount(NETNS_SELF, path, "none", MS_BIND, NULL) < 0)
		rc = net_fail(err, -errno, NULL, "mount network namespace at %s", path);
	else
		rc = lo_up(err);
	go_home(home_fd);
	return rc;
}

int netns_add(const char *name, struct err *err)
{
	_cleanup_close_ int fd = -1;
	char path[NETNS_PATH_SIZE];
	int rc;

	if (name_path(name, path, err) < 0)
		return -1;
	if (mkdir(NETNS_DIR, 0755) < 0 && errno != EEXIST)
		return net_fail(err, -errno, NULL, "make %s", NETNS_DIR);
	rc = share_dir();
	if (rc < 0)
		return net_fail(err, rc, NULL, "share mounts of %s", NETNS_DIR);
	fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);
	if (fd < 0)
		return net_fail(err, -errno, NULL, "make %s", path);
	if (mount_new(path, err) < 0) {
		(void)netns_del(name, NULL);
		return -1;
	}
	return 0;
}

int netns_del(const char *name, struct err *err)
{
	char path[NETNS_PATH_SIZE];

	if (name_path(name, path, err) < 0)
		return -1;
	/* EINVAL: a leftover file on which nothing is mounted. */
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
		return net_fail(err, -errno, NULL, "unmount %s", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return net_fail(err, -errno, NULL, "remove %s", path);
	return 0;
}
