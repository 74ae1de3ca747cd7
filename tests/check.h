/* SPDX-License-Identifier: Apache-2.0 */
/* What all tests share: cmocka with what it needs in front of it, leaked descriptors, private directories, golden
 * files. */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h relies on the headers above. */
#include <cmocka.h>

/** check_open_fds() - how many descriptors this process has open. */
size_t check_open_fds(void);

/**
 * check_fds_setup() - cmocka fixture of a test or a group: remember which descriptors are open
 * @state: not touched
 *
 * Its partner check_fds_teardown() fails the test or the group when one more or another one is open, and says which.
 * A group fixture and test fixtures may be used together. Own fixtures may call both as their first and last step.
 */
int check_fds_setup(void **state);
int check_fds_teardown(void **state);

/** check_unit_test() - a test of its own leak check; shorthand for the table of a group. */
#define check_unit_test(f) cmocka_unit_test_setup_teardown(f, check_fds_setup, check_fds_teardown)

/**
 * check_tmpdir() - make a private empty directory (0700) below $TMPDIR or /tmp
 *
 * It is removed with all that is in it when the process ends, also when an assertion failed, or by
 * check_tmpdir_remove(). A child that was forked removes nothing.
 * Return: borrowed path; a failure fails the test.
 */
const char *check_tmpdir(void);
/** check_tmpdir_remove() - remove a directory of check_tmpdir() now; other file systems mounted below it are left. */
void check_tmpdir_remove(const char *path);

/** check_path() - "DIR/NAME" into @buf; what does not fit fails the test. Return: @buf. */
const char *check_path(char *buf, size_t buf_size, const char *dir, const char *name);

/**
 * check_golden() - the whole text of a file, @path from the root of the repository, which is the cwd of every test
 * @ret_size: bytes without the terminator; may be NULL
 * Return: owned (free), terminated; a file that cannot be read fails the test.
 */
char *check_golden(const char *path, size_t *ret_size);

#endif
