/* SPDX-License-Identifier: Apache-2.0 */
/* Only the recorded process is ever ended, whoever has its pid by now. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"
#include "mocks/box_proc.h"
#include "tests/check.h"

#define WAIT_US (20 * USEC_PER_SEC)

struct setup {
	const char *dir;
	char log[256], record[256], flag[256];
	int netns_fd;
};

static void must(int r, const struct err *err)
{
	if (r != 0)
		fail_msg("%s: %s", err_class_name(err->class), err->msg);
}

static int setup_up(void **state)
{
	static struct setup setup;

	check_fds_setup(state);
	setup = (struct setup){ .dir = check_tmpdir(), .netns_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC) };
	assert_true(setup.netns_fd >= 0);
	(void)snprintf(setup.log, sizeof(setup.log), "%s/log", setup.dir);
	(void)snprintf(setup.record, sizeof(setup.record), "%s/pid", setup.dir);
	(void)snprintf(setup.flag, sizeof(setup.flag), "%s/flag", setup.dir);
	*state = &setup;
	return 0;
}

static int setup_down(void **state)
{
	struct setup *setup = *state;
	struct err err = { 0 };

	must(proc_end(setup->record, SIGKILL, WAIT_US, &err), &err);
	(void)close(setup->netns_fd);
	check_tmpdir_remove(setup->dir);
	return check_fds_teardown(state);
}

static struct proc_spec shell(const struct setup *setup, const char *const *argv)
{
	static const char *const env[] = { "PATH=/usr/bin:/bin", NULL };

	return (struct proc_spec){ .path = "/bin/sh",
				   .argv = argv,
				   .env = env,
				   .netns_fd = setup->netns_fd,
				   .log_path = setup->log,
				   .record_path = setup->record };
}

static pid_t recorded_pid(const struct setup *setup)
{
	_cleanup_free_ char *text = NULL;

	assert_int_equal(fs_read(setup->record, 256, &text, NULL), 0);
	text[strcspn(text, " ")] = '\0';
	uint64_t pid;

	assert_int_equal(str_u64(text, 1, INT32_MAX, &pid), 0);
	return (pid_t)pid;
}

static bool flag_is_there(void *arg)
{
	const struct setup *setup = arg;

	return fs_exists(setup->flag);
}

static bool never(void *arg)
{
	(void)arg;
	return false;
}

static void test_proc_start__own_session_and_log(void **state)
{
	struct setup *setup = *state;
	const char *argv[] = { "sh", "-c", "echo hello; echo bad >&2; : >\"$0\"; exec sleep 600", setup->flag, NULL };
	struct proc_spec spec = shell(setup, argv);
	_cleanup_free_ char *log = NULL;
	struct err err = { 0 };

	must(proc_start(&spec, &err), &err);
	must(proc_await(&spec, flag_is_there, setup, clock_now(&clock_boot) + WAIT_US, &err), &err);
	pid_t pid = recorded_pid(setup);

	assert_true(proc_alive(setup->record));
	assert_int_equal(getsid(pid), pid);
	assert_int_equal(fs_read(setup->log, 256, &log, NULL), 0);
	assert_string_equal(log, "hello\nbad\n");
	assert_int_equal(proc_start(&spec, &err), -1);
	assert_int_equal(err.class, ERR_CONFLICT);
	must(proc_end(setup->record, SIGTERM, WAIT_US, &err), &err);
	assert_int_equal(kill(pid, 0), -1);
	assert_false(proc_alive(setup->record));
	assert_false(fs_exists(setup->record));
	must(proc_end(setup->record, SIGTERM, WAIT_US, &err), &err);
}

static void test_proc_end__stubborn_process_is_killed(void **state)
{
	struct setup *setup = *state;
	const char *argv[] = { "sh", "-c", "trap '' TERM; : >\"$0\"; while :; do read x </dev/null; done", setup->flag,
			       NULL };
	struct proc_spec spec = shell(setup, argv);
	struct err err = { 0 };

	must(proc_start(&spec, &err), &err);
	must(proc_await(&spec, flag_is_there, setup, clock_now(&clock_boot) + WAIT_US, &err), &err);
	pid_t pid = recorded_pid(setup);

	must(proc_end(setup->record, SIGTERM, 100 * USEC_PER_MSEC, &err), &err);
	assert_int_equal(kill(pid, 0), -1);
}

/* The pid came round: somebody else has it now. */
static void test_proc_end__foreign_process_is_left_alone(void **state)
{
	struct setup *setup = *state;
	pid_t other = fork();
	char record[64];
	struct err err = { 0 };

	assert_true(other >= 0);
	if (other == 0) {
		(void)pause();
		_exit(0);
	}
	(void)snprintf(record, sizeof(record), "%d 1\n", (int)other);
	assert_int_equal(fs_write_atomic(setup->record, record, strlen(record), 0600), 0);
	bool alive = proc_alive(setup->record);
	int rc = proc_end(setup->record, SIGKILL, WAIT_US, &err);
	int was_killed = waitpid(other, NULL, WNOHANG);

	(void)kill(other, SIGKILL);
	(void)waitpid(other, NULL, 0);
	assert_false(alive);
	assert_int_equal(rc, 0);
	assert_int_equal(was_killed, 0);
	assert_false(fs_exists(setup->record));
}

static void test_proc_end__broken_record(void **state)
{
	static const char *const records[] = { "", "x", "1 1\n", "-1 5\n", "12", "12 \n", "\n 5" };
	struct setup *setup = *state;

	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		struct err err = { 0 };

		assert_int_equal(fs_write_atomic(setup->record, records[i], strlen(records[i]), 0600), 0);
		assert_false(proc_alive(setup->record));
		must(proc_end(setup->record, SIGKILL, WAIT_US, &err), &err);
	}
}

static void test_proc_await__tells_how_it_ended(void **state)
{
	struct setup *setup = *state;
	static const char *const argv[] = { "sh", "-c", "echo first; echo cannot open >&2; exit 1", NULL };
	struct proc_spec spec = shell(setup, argv);
	struct err err = { 0 };

	must(proc_start(&spec, &err), &err);
	assert_int_equal(proc_await(&spec, never, NULL, clock_now(&clock_boot) + WAIT_US, &err), -1);
	assert_int_equal(err.class, ERR_NOTFOUND);
	assert_non_null(strstr(err.msg, "cannot open"));
}

static void test_proc_await__deadline(void **state)
{
	struct setup *setup = *state;
	static const char *const argv[] = { "sh", "-c", "exec sleep 600", NULL };
	struct proc_spec spec = shell(setup, argv);
	struct err err = { 0 };

	must(proc_start(&spec, &err), &err);
	assert_int_equal(proc_await(&spec, never, NULL, clock_now(&clock_boot) + 100 * USEC_PER_MSEC, &err), -1);
	assert_int_equal(err.class, ERR_RETRY);
}

static void test_proc_start__missing_program(void **state)
{
	struct setup *setup = *state;
	static const char *const argv[] = { "nothing", NULL };
	struct proc_spec spec = shell(setup, argv);
	struct err err = { 0 };

	spec.path = "/nonexistent/nothing";
	assert_int_equal(proc_start(&spec, &err), -1);
	assert_int_equal(err.class, ERR_NOTFOUND);
	assert_false(fs_exists(setup->record));
}

#define proc_test(f) cmocka_unit_test_setup_teardown(f, setup_up, setup_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		proc_test(test_proc_start__own_session_and_log),
		proc_test(test_proc_end__stubborn_process_is_killed),
		proc_test(test_proc_end__foreign_process_is_left_alone),
		proc_test(test_proc_end__broken_record),
		proc_test(test_proc_await__tells_how_it_ended),
		proc_test(test_proc_await__deadline),
		proc_test(test_proc_start__missing_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
