/* SPDX-License-Identifier: Apache-2.0 */
/* Small files, written whole or not at all. */
#ifndef BERTH_FS_H
#define BERTH_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/** fs_read() - a whole file of at most @max_size bytes, terminated. @ret_size may be NULL. Return: 0 or -errno (-EFBIG). */
int fs_read(const char *path, size_t max_size, char **ret_text, size_t *ret_size);
/** fs_read_fd() - the same from an open descriptor (stdin, a pipe) up to its end. Return: 0 or -errno (-EFBIG). */
int fs_read_fd(int fd, size_t max_size, char **ret_text, size_t *ret_size);
/** fs_write_all() - all of it, across short writes and EINTR. Return: 0 or -errno. */
int fs_write_all(int fd, const void *bytes, size_t size);
/** fs_write_atomic() - temp file in the same directory, fsync, rename; mode as given. Return: 0 or -errno. */
int fs_write_atomic(const char *path, const void *bytes, size_t size, mode_t mode);
/** fs_mkdir_p() - make the directory and its parents with @mode; an existing one is left as it is. Return: 0 or -errno. */
int fs_mkdir_p(const char *path, mode_t mode);
/** fs_unlink() - remove; a missing file is success. Return: 0 or -errno. */
int fs_unlink(const char *path);
bool fs_exists(const char *path);
/** fs_sysctl_write() - @value to /proc/sys/@key (slashes) of the calling thread's namespaces. Return: 0 or -errno. */
int fs_sysctl_write(const char *key, const char *value);

#endif
