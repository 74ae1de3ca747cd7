/* SPDX-License-Identifier: Apache-2.0 */
#include "berth/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "berth/attr.h"
#include "tests/check.h"

#define READ_MAX 100000U

static const char *dir; /* of the test that runs */

static int dir_setup(void **state)
{
	dir = check_tmpdir();
	return check_fds_setup(state);
}

static int dir_teardown(void **state)
{
	int rc = check_fds_teardown(state);

	check_tmpdir_remove(dir);
	return rc;
}

static const char *in_dir(const char *name)
{
	static char buf[PATH_MAX];

	return check_path(buf, sizeof(buf), dir, name);
}

static int count_entries(const char *path)
{
	DIR *d = opendir(path);
	int count = -2; /* . and .. */

	assert_non_null(d);
	while (readdir(d))
		count++;
	assert_int_equal(closedir(d), 0);
	return count;
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void assert_content(const char *path, const char *want)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0;

	assert_int_equal(fs_read(path, READ_MAX, &text, &size), 0);
	assert_string_equal(text, want);
	assert_int_equal(size, strlen(want));
}

static void test_fs_write_atomic__makes_and_replaces(void **state)
{
	(void)state;
	assert_int_equal(fs_write_atomic(in_dir("10-berth.conflist"), "one", 3, 0640), 0);
	assert_content(in_dir("10-berth.conflist"), "one");
	assert_int_equal(mode_of(in_dir("10-berth.conflist")), 0640);
	assert_int_equal(fs_write_atomic(in_dir("10-berth.conflist"), "", 0, 0600), 0);
	assert_content(in_dir("10-berth.conflist"), "");
	assert_int_equal(mode_of(in_dir("10-berth.conflist")), 0600);
	assert_int_equal(count_entries(dir), 1);
}

static void test_fs_write_atomic__mode_is_exact_under_umask(void **state)
{
	mode_t before = umask(0077);
	int rc = fs_write_atomic(in_dir("f"), "x", 1, 0644);

	(void)state;
	(void)umask(before);
	assert_int_equal(rc, 0);
	assert_int_equal(mode_of(in_dir("f")), 0644);
}

static void test_fs_write_atomic__failed_rename_leaves_nothing(void **state)
{
	(void)state;
	assert_int_equal(mkdir(in_dir("target"), 0700), 0);
	assert_int_equal(fs_write_atomic(in_dir("target"), "x", 1, 0600), -EISDIR);
	assert_int_equal(count_entries(dir), 1);
}

static void test_fs_write_atomic__failed_write_leaves_old_file(void **state)
{
	int status = 0;
	pid_t child;

	(void)state;
	assert_int_equal(fs_write_atomic(in_dir("f"), "old", 3, 0600), 0);
	/* A child whose files may not grow: its write fails with EFBIG half way. */
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		static char big[8192];
		struct sigaction ignore = { .sa_handler = SIG_IGN };
		const struct rlimit limit = { .rlim_cur = 4096, .rlim_max = 4096 };

		if (sigaction(SIGXFSZ, &ignore, NULL) < 0 || setrlimit(RLIMIT_FSIZE, &limit) < 0)
			_exit(2);
		_exit(fs_write_atomic(in_dir("f"), big, sizeof(big), 0600) == -EFBIG ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_content(in_dir("f"), "old");
	assert_int_equal(count_entries(dir), 1);
}

static void test_fs_write_atomic__errors(void **state)
{
	char name[NAME_MAX + 1];

	(void)state;
	assert_int_equal(fs_write_atomic(in_dir("missing/f"), "x", 1, 0600), -ENOENT);
	memset(name, 'n', NAME_MAX);
	name[NAME_MAX] = '\0';
	assert_int_equal(fs_write_atomic(in_dir(name), "x", 1, 0600), -ENAMETOOLONG);
	assert_int_equal(count_entries(dir), 0);
}

static void test_fs_write_atomic__bare_name_goes_to_cwd(void **state)
{
	_cleanup_close_ int old = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	(void)state;
	assert_true(old >= 0);
	assert_int_equal(chdir(dir), 0);
	rc = fs_write_atomic("bare", "x", 1, 0600);
	assert_int_equal(fchdir(old), 0);
	assert_int_equal(rc, 0);
	assert_content(in_dir("bare"), "x");
}

static void test_fs_read__limit_is_exact(void **state)
{
	static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 8191, 8192, 8193, 50000 };
	static char bytes[50000];

	(void)state;
	memset(bytes, 'b', sizeof(bytes));
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		_cleanup_free_ char *text = NULL;
		size_t size = 1234;

		assert_int_equal(fs_write_atomic(in_dir("f"), bytes, sizes[i], 0600), 0);
		if (sizes[i] > 0)
			assert_int_equal(fs_read(in_dir("f"), sizes[i] - 1, &text, &size), -EFBIG);
		assert_null(text);
		assert_int_equal(size, 1234);
		assert_int_equal(fs_read(in_dir("f"), sizes[i], &text, &size), 0);
		assert_int_equal(size, sizes[i]);
		assert_int_equal(strlen(text), sizes[i]);
		assert_memory_equal(text, bytes, sizes[i]);
	}
}

static void test_fs_read__errors(void **state)
{
	char *text = NULL;

	(void)state;
	assert_int_equal(fs_read(in_dir("missing"), READ_MAX, &text, NULL), -ENOENT);
	assert_int_equal(fs_read(dir, READ_MAX, &text, NULL), -EISDIR);
	assert_null(text);
}

static void test_fs_read_fd__pipe_up_to_its_end(void **state)
{
	_cleanup_free_ char *text = NULL;
	int fds[2];
	size_t size = 0;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(fs_write_all(fds[1], "a\0b", 3), 0);
	/* Nothing there and not at its end: the caller's affair. */
	assert_int_equal(fs_read_fd(fds[0], READ_MAX, &text, &size), -EAGAIN);
	assert_null(text);
	assert_int_equal(fs_write_all(fds[1], "a\0b", 3), 0);
	assert_int_equal(close(fds[1]), 0);
	assert_int_equal(fs_read_fd(fds[0], READ_MAX, &text, &size), 0);
	assert_int_equal(close(fds[0]), 0);
	assert_int_equal(size, 3);
	assert_memory_equal(text, "a\0b", 4);
}

static void test_fs_write_all__full_pipe(void **state)
{
	static const char bytes[READ_MAX];
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(fs_write_all(fds[1], bytes, sizeof(bytes)), -EAGAIN);
	assert_int_equal(close(fds[0]), 0);
	assert_int_equal(close(fds[1]), 0);
}

static void test_fs_mkdir_p__makes_parents_with_mode(void **state)
{
	(void)state;
	assert_int_equal(fs_mkdir_p(in_dir("a/b//c/"), 0710), 0);
	assert_int_equal(mode_of(in_dir("a")), 0710);
	assert_int_equal(mode_of(in_dir("a/b")), 0710);
	assert_int_equal(mode_of(in_dir("a/b/c")), 0710);
	assert_int_equal(fs_mkdir_p("/", 0700), 0);
}

static void test_fs_mkdir_p__existing_is_left_as_it_is(void **state)
{
	(void)state;
	assert_int_equal(mkdir(in_dir("a"), 0755), 0);
	assert_int_equal(chmod(in_dir("a"), 0755), 0);
	assert_int_equal(fs_mkdir_p(in_dir("a"), 0700), 0);
	assert_int_equal(mode_of(in_dir("a")), 0755);
	assert_int_equal(symlink("a", in_dir("link")), 0);
	assert_int_equal(fs_mkdir_p(in_dir("link/b"), 0700), 0);
	assert_true(fs_exists(in_dir("a/b")));
}

static void test_fs_mkdir_p__file_in_the_way(void **state)
{
	(void)state;
	assert_int_equal(fs_write_atomic(in_dir("f"), "x", 1, 0600), 0);
	assert_int_equal(fs_mkdir_p(in_dir("f"), 0700), -ENOTDIR);
	assert_int_equal(fs_mkdir_p(in_dir("f/below"), 0700), -ENOTDIR);
	assert_int_equal(fs_mkdir_p("", 0700), -ENOENT);
}

static void test_fs_unlink__missing_is_success(void **state)
{
	(void)state;
	assert_int_equal(fs_write_atomic(in_dir("f"), "x", 1, 0600), 0);
	assert_true(fs_exists(in_dir("f")));
	assert_int_equal(fs_unlink(in_dir("f")), 0);
	assert_false(fs_exists(in_dir("f")));
	assert_int_equal(fs_unlink(in_dir("f")), 0);
	assert_int_equal(fs_unlink(dir), -EISDIR);
}

static void test_fs_sysctl_write__own_network_namespace(void **state)
{
	int status = 0;
	pid_t child;

	(void)state;
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		_cleanup_free_ char *text = NULL;

		if (unshare(CLONE_NEWNET) < 0)
			_exit(77);
		if (fs_sysctl_write("net/ipv4/conf/lo/rp_filter", "2") < 0)
			_exit(1);
		if (fs_read("/proc/sys/net/ipv4/conf/lo/rp_filter", 64, &text, NULL) < 0)
			_exit(2);
		_exit(strcmp(text, "2\n") == 0 ? 0 : 3);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_fs_sysctl_write__errors(void **state)
{
	static const char *const unsafe[] = {
		"", "/net", "net/../../self/oom_score_adj", "..", "net//ipv4", "net/./ipv4", "net/ipv4/",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(unsafe); i++)
		assert_int_equal(fs_sysctl_write(unsafe[i], "1"), -EINVAL);
	assert_int_equal(fs_sysctl_write("net/ipv4/conf/no-such-if/rp_filter", "1"), -ENOENT);
}

#define dir_test(f) cmocka_unit_test_setup_teardown(f, dir_setup, dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		dir_test(test_fs_write_atomic__makes_and_replaces),
		dir_test(test_fs_write_atomic__mode_is_exact_under_umask),
		dir_test(test_fs_write_atomic__failed_rename_leaves_nothing),
		dir_test(test_fs_write_atomic__failed_write_leaves_old_file),
		dir_test(test_fs_write_atomic__errors),
		dir_test(test_fs_write_atomic__bare_name_goes_to_cwd),
		dir_test(test_fs_read__limit_is_exact),
		dir_test(test_fs_read__errors),
		dir_test(test_fs_read_fd__pipe_up_to_its_end),
		dir_test(test_fs_write_all__full_pipe),
		dir_test(test_fs_mkdir_p__makes_parents_with_mode),
		dir_test(test_fs_mkdir_p__existing_is_left_as_it_is),
		dir_test(test_fs_mkdir_p__file_in_the_way),
		dir_test(test_fs_unlink__missing_is_success),
		dir_test(test_fs_sysctl_write__own_network_namespace),
		dir_test(test_fs_sysctl_write__errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
