/* SPDX-License-Identifier: Apache-2.0 */
/* The store's file over the releases of berth: migration, and whoever dies in the middle of it. */
#include "tests/unit/stores.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Rows as the statements of version 1 left them. */
static const char v1_rows[] =
	"INSERT INTO lease VALUES"
	" ('berth', 'c1', 'eth0', '10.0.1.17', 'bound', 9223372036854775807, 'default', 'web-0', 'u-1', "
	"'/run/netns/a'),"
	" ('berth', 'c2', 'net1', '10.0.1.18', 'reserved', 12, '', '', '', ''),"
	" ('other', 'c2', 'net1', '2001:db8::ffff:1', 'bound', 13, 'kube-system', 'dns', 'u-2', '/run/netns/b');"
	"INSERT INTO cooldown VALUES ('10.0.1.19', 5000), ('10.0.1.20', 9223372036854775807);"
	"INSERT INTO intent (kind, nic, token, slot, count) VALUES"
	" ('assign', 'eni-1', '', 1, 14), ('attach', '', '0123456789abcdef', 2, 3), ('release', 'eni-1', '', 1, 2),"
	" ('detach', 'eni-2', '', 3, 0), ('assign', 'eni-9', '', 9, 9);"
	"DELETE FROM intent WHERE nic = 'eni-9';";

static const struct lease v1_leases[] = {
	{ .key = { "berth", "c1", "eth0" },
	  .pod = { "default", "web-0", "u-1" },
	  .netns = "/run/netns/a",
	  .addrs = { { IP_V4, { 10, 0, 1, 17 } } },
	  .state = LEASE_BOUND,
	  .since_us = INT64_MAX },
	{ .key = { "berth", "c2", "net1" },
	  .addrs = { { IP_V4, { 10, 0, 1, 18 } } },
	  .state = LEASE_RESERVED,
	  .since_us = 12 },
	{ .key = { "other", "c2", "net1" },
	  .pod = { "kube-system", "dns", "u-2" },
	  .netns = "/run/netns/b",
	  .addrs = { { 0 }, { IP_V6, { 0x20, 0x01, 0x0d, 0xb8, [12] = 0xff, 0xff, 0, 1 } } },
	  .state = LEASE_BOUND,
	  .since_us = 13 },
};

static const struct intent v1_intents[] = {
	{ .id = 1, .kind = "assign", .nic = "eni-1", .slot = 1, .wants = { { 14, 0 } } },
	{ .id = 2, .kind = "attach", .token = "0123456789abcdef", .slot = 2, .wants = { { 3, 0 } } },
	{ .id = 3, .kind = "release", .nic = "eni-1", .slot = 1, .count = 2 },
	{ .id = 4, .kind = "detach", .nic = "eni-2", .slot = 3 },
};

static void make_v1(char path[static PATH_MAX])
{
	new_path(path);
	sql(path, V1_TABLES);
	sql(path, v1_rows);
}

/* ---- are all rows there? Also for a child: nothing here fails a test. ---- */

struct rows {
	unsigned leases, cooldowns, intents, wrong;
};

static int match_lease(const struct lease *lease, void *arg)
{
	struct rows *rows = arg;

	for (unsigned i = 0; i < ARRAY_SIZE(v1_leases); i++)
		if (same_lease(lease, &v1_leases[i])) {
			rows->leases++;
			return 0;
		}
	rows->wrong++;
	return 0;
}

static int match_cooldown(const struct ipaddr *addr, int64_t until_us, void *arg)
{
	const struct ipaddr first = { IP_V4, { 10, 0, 1, 19 } }, second = { IP_V4, { 10, 0, 1, 20 } };
	struct rows *rows = arg;

	if ((ipaddr_equal(addr, &first) && until_us == 5000) || (ipaddr_equal(addr, &second) && until_us == INT64_MAX))
		rows->cooldowns++;
	else
		rows->wrong++;
	return 0;
}

static int match_intent(const struct intent *intent, void *arg)
{
	struct rows *rows = arg;
	const struct intent *want = &v1_intents[rows->intents];

	if (rows->intents < ARRAY_SIZE(v1_intents) && intent->id == want->id && same_intent(intent, want))
		rows->intents++;
	else
		rows->wrong++;
	return 0;
}

static bool has_all_rows(struct store *store)
{
	struct rows rows = { 0 };

	return store_leases(store, match_lease, &rows, NULL) == 0 &&
	       store_cooldowns(store, match_cooldown, &rows, NULL) == 0 &&
	       store_intents(store, match_intent, &rows, NULL) == 0 && rows.wrong == 0 &&
	       rows.leases == ARRAY_SIZE(v1_leases) && rows.cooldowns == 2 && rows.intents == ARRAY_SIZE(v1_intents);
}

static int read_number(void *arg, int count, char **values, char **names)
{
	uint64_t number = 0;

	(void)count;
	(void)names;
	assert_int_equal(str_u64(values[0], 0, INT_MAX, &number), 0);
	*(int *)arg = (int)number;
	return 0;
}

#define NEWEST 4 /* what a file is of that the program made or migrated */

static int version_of(const char *path)
{
	sqlite3 *db = NULL;
	int version = -1;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version", read_number, &version, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	return version;
}

/* The version of a file with a log that nobody has looked at yet, and nobody has afterwards. */
static int version_of_crashed(const char *path)
{
	char copy[PATH_MAX];

	new_path(copy);
	copy_with_log(path, copy);
	return version_of(copy);
}

/* ---- from version 1 ---- */

static void test_store_open__migrates_version_1(void **state)
{
	struct intent intent = { .kind = "assign" };
	const struct lease lease = dual_lease_of(7);
	char path[PATH_MAX], boot_id[STORE_FACT_VALUE_SIZE];
	struct store *store;

	(void)state;
	make_v1(path);
	assert_int_equal(version_of(path), 1);
	store = open_store(path);
	assert_true(has_all_rows(store));
	/* Once more, as a file of the newest version now, with every check of one. */
	store_close(store);
	assert_int_equal(version_of(path), NEWEST);
	store = open_store(path);
	assert_true(has_all_rows(store));
	assert_int_equal(store_fact_get(store, STORE_BOOT_ID, boot_id, NULL), 0);
	assert_string_equal(boot_id, BOOT);
	/* ID 5 was given and its row deleted under version 1. */
	assert_int_equal(store_intent_put(store, &intent, NULL), 0);
	assert_int_equal(intent.id, 6);
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	assert_int_equal(store_lease_release(store, &v1_leases[2].key, v1_leases[2].addrs, 1, NULL), 0);
	assert_int_equal(store_fact_put(store, "key", "value", NULL), 0);
	assert_int_equal(contents_of(store).lease_count, 3);
	assert_int_equal(contents_of(store).cooldown_count, 3);
	store_close(store);
}

static void test_store_open__migrates_an_empty_version_1(void **state)
{
	struct intent intent = { .kind = "assign" };
	struct store *store;
	char path[PATH_MAX];

	(void)state;
	new_path(path);
	sql(path, V1_TABLES);
	store = open_store(path);
	assert_int_equal(contents_of(store).lease_count, 0);
	assert_int_equal(store_intent_put(store, &intent, NULL), 0);
	assert_int_equal(intent.id, 1);
	store_close(store);
}

/* What version 2 has no place for is put aside as it was, not half migrated. */
static void test_store_open__a_version_1_that_does_not_fit(void **state)
{
	static const char *const damage[] = {
		"UPDATE lease SET addr = '10.0.0' WHERE container = 'c1'",
		"UPDATE lease SET state = 'free' WHERE container = 'c1'",
		"UPDATE lease SET container = printf('%.*c', 128, 'x') WHERE container = 'c1'",
		"UPDATE lease SET addr = '2001:db8:0::ffff:1' WHERE container = 'c1'", /* twice, in two spellings */
		"UPDATE cooldown SET addr = 'x' WHERE until_us = 5000",
		"UPDATE intent SET slot = -1",
		"DROP TABLE cooldown",
		"CREATE TABLE recipe (name TEXT)",
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(damage); i++) {
		char path[PATH_MAX];
		struct store_aside aside;

		make_v1(path);
		sql(path, damage[i]);
		aside = put_aside(path);
		if (aside.why != STORE_ASIDE_DAMAGED)
			fail_msg("%s: %s", damage[i], aside.cause);
		assert_int_equal(version_of(aside.path), 1);
	}
}

/* ---- from version 2 ---- */

/* As version 2 left it: what was added since taken away, and the sums as they were. */
static const char to_v2[] =
	"ALTER TABLE lease DROP COLUMN runtime; ALTER TABLE lease DROP COLUMN egress;"
	"ALTER TABLE lease DROP COLUMN delegated; ALTER TABLE lease DROP COLUMN host_ifname;"
	"UPDATE lease SET sum = row_sum(container, ifname, network, addr, addr6, state, since_us, pod_namespace,"
	" pod_name, pod_uid, netns); PRAGMA user_version = 2";

static void test_store_open__migrates_version_2(void **state)
{
	struct lease lease = dual_lease_of(7), old = dual_lease_of(8);
	struct contents seen;
	char path[PATH_MAX];
	struct store *store;

	(void)state;
	new_path(path);
	store = open_store(path);
	assert_int_equal(store_lease_put(store, &old, NULL), 0);
	store_close(store);
	sql(path, to_v2);
	assert_int_equal(version_of(path), 2);
	store = open_store(path);
	old.host_ifname[0] = '\0';
	old.egress = (struct ipaddr){ 0 };
	old.runtime = (struct runtime_config){ 0 };
	seen = contents_of(store);
	assert_true(same_lease(&seen.last_lease, &old));
	assert_int_equal(store_lease_release(store, &old.key, old.addrs, 1, NULL), 0);
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	/* Once more, as a file of the newest version now, with every check of one. */
	store_close(store);
	assert_int_equal(version_of(path), NEWEST);
	store = open_store(path);
	seen = contents_of(store);
	assert_true(same_lease(&seen.last_lease, &lease));
	store_close(store);
}

/* ---- to a version that is not known ---- */

static void test_store_open__a_newer_version(void **state)
{
	struct store_aside aside;
	struct store *store;
	char path[PATH_MAX];

	(void)state;
	new_path(path);
	make_store_with(path, 3);
	sql(path, "ALTER TABLE lease ADD COLUMN moon TEXT; PRAGMA user_version = 5");
	aside = put_aside(path);
	assert_int_equal(aside.why, STORE_ASIDE_UNKNOWN);
	assert_non_null(strstr(aside.cause, "version 5"));
	/* The newer program comes back for it: nothing is lost. */
	sql(aside.path, "ALTER TABLE lease DROP COLUMN moon; PRAGMA user_version = 4");
	store = open_store(aside.path);
	assert_int_equal(contents_of(store).lease_count, 3);
	store_close(store);
}

static void test_store_open__a_newer_version_with_its_log(void **state)
{
	struct store_aside aside;
	char path[PATH_MAX];
	sqlite3 *db = NULL;
	struct store *store = NULL;

	(void)state;
	new_path(path);
	make_store_with(path, 3);
	/* What the newer program wrote last is in the log only. */
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 5", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_int_equal(store_open(path, BOOT, &store, &aside, NULL), 0);
	assert_int_equal(aside.why, STORE_ASIDE_UNKNOWN);
	assert_int_equal(contents_of(store).lease_count, 0);
	store_close(store);
	assert_int_equal(version_of(aside.path), 5);
}

/* ---- a process that dies between two writes ---- */

/* What SQLite writes with; calls are counted down, and the last one does half of its work. */
static int writes_left;

static ssize_t dying_pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
	if (--writes_left > 0)
		return pwrite(fd, bytes, size, offset);
	(void)!pwrite(fd, bytes, size / 2, offset);
	(void)kill(getpid(), SIGKILL);
	return -1;
}

static void die_at_write(int number)
{
	static const char *const names[] = { "pwrite", "pwrite64" };
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

	writes_left = number;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (vfs->xSetSystemCall(vfs, names[i], (sqlite3_syscall_ptr)dying_pwrite) != SQLITE_OK)
			_exit(3);
}

/* Runs @fn in a child that is killed at its @number-th write. Return: was it? */
static bool killed_at_write(int number, int (*fn)(const char *path), const char *path)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		die_at_write(number);
		_exit(fn(path));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return true;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	return false;
}

static int open_and_close(const char *path)
{
	struct store_aside aside;
	struct store *store;

	if (store_open(path, BOOT, &store, &aside, NULL) < 0 || aside.why != STORE_KEPT)
		return 1;
	store_close(store);
	return 0;
}

static void test_store_open__killed_while_it_migrates(void **state)
{
	char path[PATH_MAX];
	_cleanup_free_ char *v1 = NULL;
	size_t size;
	unsigned old = 0, new = 0;
	int number = 1;

	(void)state;
	make_v1(path);
	assert_int_equal(fs_read(path, FILE_MAX, &v1, &size), 0);
	for (; killed_at_write(number, open_and_close, path); number++) {
		struct store *store;
		int version = version_of_crashed(path);

		assert_true(version == 1 || version == NEWEST);
		old += version == 1;
		new += version == NEWEST;
		store = open_store(path);
		assert_true(has_all_rows(store));
		store_close(store);
		write_file(path, v1, size);
	}
	/* Both sides of the commit were seen: the log before it, and folding the log into the file behind it. */
	print_message("# %u of version 1, %u of the newest\n", old, new);
	assert_true(old > 10 && new > 2);
}

static int release_some(const char *path)
{
	struct store_aside aside;
	struct store *store;

	if (store_open(path, BOOT, &store, &aside, NULL) < 0)
		return 1;
	for (unsigned i = 0; i < 4; i++) {
		const struct lease lease = dual_lease_of(i);

		if (store_lease_release(store, &lease.key, lease.addrs, 5, NULL) < 0)
			return 2;
	}
	store_close(store);
	return 0;
}

static void test_store_lease_release__killed_at_any_write__azure_28(void **state)
{
	char path[PATH_MAX];
	_cleanup_free_ char *full = NULL;
	unsigned seen[5] = { 0 };
	struct store *store;
	size_t size;
	int number = 1;

	(void)state;
	new_path(path);
	store = open_store(path);
	for (unsigned i = 0; i < 4; i++) {
		const struct lease lease = dual_lease_of(i);

		assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	}
	store_close(store);
	assert_int_equal(fs_read(path, FILE_MAX, &full, &size), 0);
	for (; killed_at_write(number, release_some, path); number++) {
		struct contents have;

		store = open_store(path);
		have = contents_of(store);
		assert_int_equal(2 * have.lease_count + have.cooldown_count, 8);
		seen[have.lease_count]++;
		store_close(store);
		write_file(path, full, size);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(seen); i++)
		assert_true(seen[i] > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_store_open__migrates_version_1),
		check_unit_test(test_store_open__migrates_an_empty_version_1),
		check_unit_test(test_store_open__a_version_1_that_does_not_fit),
		check_unit_test(test_store_open__migrates_version_2),
		check_unit_test(test_store_open__a_newer_version),
		check_unit_test(test_store_open__a_newer_version_with_its_log),
		check_unit_test(test_store_open__killed_while_it_migrates),
		check_unit_test(test_store_lease_release__killed_at_any_write__azure_28),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
