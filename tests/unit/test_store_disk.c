/* SPDX-License-Identifier: Apache-2.0 */
/* The store on file systems that are full, read-only or fast. */
#include "tests/unit/stores.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "berth/clock.h"

#define LEASES_MAX 8192U
#define SKIPPED    77 /* exit code of a child that may not do what its test needs */

/* ---- disks that are full or read-only: in a child with its own mounts ---- */

/* In the child: cmocka's own assertions would continue the parent's run there. */
#define EXPECT(condition)                                                                                              \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			(void)fprintf(stderr, "# %s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
			return 1;                                                                                      \
		}                                                                                                      \
	} while (0)

static int mount_tmpfs(const char *dir, const char *options)
{
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, options) < 0)
		return SKIPPED;
	return 0;
}

static void run_in_child(int (*fn)(const char *dir))
{
	const char *dir = check_tmpdir();
	int status;
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fn(dir));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == SKIPPED) {
		print_message("# skipped: no private mount namespace here\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int on_a_full_disk(const char *dir)
{
	struct store_aside aside;
	struct store *store = NULL;
	struct contents seen;
	struct err err = { 0 };
	struct lease lease;
	unsigned stored = 0;
	char path[PATH_MAX];
	int rc = mount_tmpfs(dir, "size=512k");

	if (rc != 0)
		return rc;
	(void)snprintf(path, sizeof(path), "%s/leases.db", dir);
	EXPECT(store_open(path, BOOT, &store, &aside, &err) == 0);
	do
		lease = lease_of(stored);
	while ((rc = store_lease_put(store, &lease, &err)) == 0 && ++stored < LEASES_MAX);
	if (rc == -1 && err.class != ERR_EXHAUSTED)
		(void)fprintf(stderr, "# %s\n", err.msg);
	EXPECT(rc == -1 && err.class == ERR_EXHAUSTED && stored > 20);
	EXPECT(look(store, &seen, NULL) == 0 && seen.lease_count == stored);
	/* A release is whole or not at all. */
	lease = lease_of(0);
	rc = store_lease_release(store, &lease.key, lease.addrs, 1, &err);
	EXPECT(rc == 0 || err.class == ERR_EXHAUSTED);
	EXPECT(look(store, &seen, NULL) == 0 && seen.lease_count + seen.cooldown_count == stored);
	EXPECT(seen.cooldown_count == (rc == 0 ? 1 : 0));
	EXPECT(mount("tmpfs", dir, "tmpfs", MS_REMOUNT, "size=8m") == 0);
	lease = lease_of(stored);
	EXPECT(store_lease_put(store, &lease, &err) == 0);
	store_close(store);
	EXPECT(store_open(path, BOOT, &store, &aside, &err) == 0 && aside.why == STORE_KEPT);
	EXPECT(look(store, &seen, NULL) == 0 && seen.lease_count + seen.cooldown_count == stored + 1);
	store_close(store);
	return 0;
}

static void test_store_lease_put__disk_full(void **state)
{
	(void)state;
	run_in_child(on_a_full_disk);
}

static int opened_on_a_full_disk(const char *dir)
{
	struct store_aside aside;
	struct store *store = NULL;
	struct err err = { 0 };
	char path[PATH_MAX], filler[PATH_MAX], zeros[4096] = { 0 };
	int rc = mount_tmpfs(dir, "size=256k"), fd;

	if (rc != 0)
		return rc;
	(void)snprintf(path, sizeof(path), "%s/leases.db", dir);
	(void)snprintf(filler, sizeof(filler), "%s/filler", dir);
	fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	EXPECT(fd >= 0);
	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	(void)close(fd);
	EXPECT(store_open(path, BOOT, &store, &aside, &err) == -1);
	EXPECT(err.class == ERR_EXHAUSTED && strstr(err.msg, path));
	EXPECT(strstr(err.msg, "full") || strstr(err.msg, "No space left"));
	EXPECT(aside.why == STORE_KEPT);
	EXPECT(unlink(filler) == 0);
	EXPECT(store_open(path, BOOT, &store, &aside, &err) == 0 && aside.why == STORE_KEPT);
	store_close(store);
	return 0;
}

static void test_store_open__disk_full(void **state)
{
	(void)state;
	run_in_child(opened_on_a_full_disk);
}

/* A file of version 1 in which leases take many pages. */
static bool made_v1(const char *path, unsigned leases)
{
	char rows[256];
	sqlite3 *db = NULL;
	bool ok;

	(void)snprintf(rows, sizeof(rows),
		       "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %u) INSERT INTO lease"
		       " SELECT 'berth', i, 'eth0', '10.0.1.' || i, 'bound', i, '', '', '', printf('%%.*c', 200, 'x')"
		       " FROM n",
		       leases);
	ok = sqlite3_open(path, &db) == SQLITE_OK && sqlite3_exec(db, V1_TABLES, NULL, NULL, NULL) == SQLITE_OK &&
	     sqlite3_exec(db, rows, NULL, NULL, NULL) == SQLITE_OK;
	return sqlite3_close(db) == SQLITE_OK && ok;
}

static int migrated_on_a_full_disk(const char *dir)
{
	char path[PATH_MAX], filler[PATH_MAX], zeros[4096] = { 0 };
	struct store_aside aside;
	struct store *store = NULL;
	struct contents seen;
	struct err err = { 0 };
	int rc = mount_tmpfs(dir, "size=512k"), fd;

	if (rc != 0)
		return rc;
	(void)snprintf(path, sizeof(path), "%s/leases.db", dir);
	(void)snprintf(filler, sizeof(filler), "%s/filler", dir);
	EXPECT(made_v1(path, 200));
	fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	EXPECT(fd >= 0);
	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	/* Enough to begin with. */
	EXPECT(ftruncate(fd, lseek(fd, 0, SEEK_CUR) - 12 * (off_t)sizeof(zeros)) == 0);
	(void)close(fd);
	EXPECT(store_open(path, BOOT, &store, &aside, &err) == -1);
	EXPECT(err.class == ERR_EXHAUSTED && strstr(err.msg, path) && strstr(err.msg, "full"));
	EXPECT(aside.why == STORE_KEPT);
	EXPECT(unlink(filler) == 0);
	EXPECT(store_open(path, BOOT, &store, &aside, &err) == 0 && aside.why == STORE_KEPT);
	EXPECT(look(store, &seen, NULL) == 0 && seen.lease_count == 200);
	store_close(store);
	return 0;
}

static void test_store_open__disk_full_while_it_migrates(void **state)
{
	(void)state;
	run_in_child(migrated_on_a_full_disk);
}

static int opened_read_only(const char *dir)
{
	const struct lease lease = lease_of(1);
	struct store_aside aside;
	struct store *store = NULL;
	struct err err = { 0 };
	char path[PATH_MAX], other[PATH_MAX];
	int rc = mount_tmpfs(dir, "size=1m");

	if (rc != 0)
		return rc;
	(void)snprintf(path, sizeof(path), "%s/leases.db", dir);
	(void)snprintf(other, sizeof(other), "%s/other.db", dir);
	EXPECT(store_open(path, BOOT, &store, &aside, &err) == 0);
	EXPECT(store_lease_put(store, &lease, &err) == 0);
	store_close(store);
	EXPECT(mount("tmpfs", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL) == 0);
	EXPECT(store_open(path, BOOT, &store, &aside, &err) == -1);
	EXPECT(err.class == ERR_INVALID && aside.why == STORE_KEPT);
	EXPECT(strstr(err.msg, path) && strstr(err.msg, "read-only"));
	EXPECT(store_open(other, BOOT, &store, &aside, &err) == -1);
	EXPECT(err.class == ERR_INVALID && aside.why == STORE_KEPT);
	EXPECT(mount("tmpfs", dir, "tmpfs", MS_REMOUNT, NULL) == 0);
	EXPECT(store_open(path, BOOT, &store, &aside, &err) == 0 && aside.why == STORE_KEPT);
	store_close(store);
	return 0;
}

static void test_store_open__read_only(void **state)
{
	(void)state;
	run_in_child(opened_read_only);
}

/* ---- how fast ---- */

#define RATE_LEASES 5000U

static int put_many(const char *dir)
{
	struct store_aside aside;
	struct store *store = NULL;
	int64_t start_us, took_us;
	char path[PATH_MAX];
	int rc = mount_tmpfs(dir, "size=64m");

	if (rc != 0)
		return rc;
	(void)snprintf(path, sizeof(path), "%s/leases.db", dir);
	EXPECT(store_open(path, BOOT, &store, &aside, NULL) == 0);
	start_us = clock_now(&clock_boot);
	for (unsigned i = 0; i < RATE_LEASES; i++) {
		/* As on a node: pods come and go, the table stays small. */
		const struct lease lease = lease_of(i % 250);

		EXPECT(store_lease_put(store, &lease, NULL) == 0);
	}
	took_us = clock_now(&clock_boot) - start_us;
	(void)printf("# %" PRId64 " lease puts a second on tmpfs\n",
		     (int64_t)RATE_LEASES * USEC_PER_SEC / (took_us ? took_us : 1));
	(void)fflush(stdout);
	store_close(store);
	return 0;
}

/* Printed, not judged: sanitizers and a busy machine would fail it for no reason of ours. */
static void test_store_lease_put__rate(void **state)
{
	(void)state;
	run_in_child(put_many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_store_lease_put__disk_full),
		check_unit_test(test_store_open__disk_full),
		check_unit_test(test_store_open__disk_full_while_it_migrates),
		check_unit_test(test_store_open__read_only),
		check_unit_test(test_store_lease_put__rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
