/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/stores.h"

#include <limits.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"

/* ---- helpers ---- */

static struct ipaddr ip(const char *text)
{
	struct ipaddr addr = { 0 };

	assert_int_equal(ipaddr_parse(text, &addr), 0);
	return addr;
}

static void assert_same_lease(const struct lease *a, const struct lease *b)
{
	assert_string_equal(a->key.network, b->key.network);
	assert_string_equal(a->key.container, b->key.container);
	assert_string_equal(a->key.ifname, b->key.ifname);
	assert_string_equal(a->pod.namespace, b->pod.namespace);
	assert_string_equal(a->pod.name, b->pod.name);
	assert_string_equal(a->pod.uid, b->pod.uid);
	assert_string_equal(a->netns, b->netns);
	assert_true(ipaddr_equal(&a->addrs[0], &b->addrs[0]));
	assert_int_equal(a->state, b->state);
	assert_int_equal(a->since_us, b->since_us);
}

static struct store *open_store(const char *path)
{
	struct store *store = NULL;
	struct err err = { 0 };
	char aside[256];

	if (store_open(path, &store, aside, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(aside, "");
	return store;
}

static struct store *new_store(char ret_path[static PATH_MAX])
{
	(void)check_path(ret_path, PATH_MAX, check_tmpdir(), "leases.db");
	return open_store(ret_path);
}

static struct contents contents_of(struct store *store)
{
	struct contents seen;
	struct err err = { 0 };

	if (look(store, &seen, &err) != 0)
		fail_msg("%s", err.msg);
	return seen;
}

/* Does something to a file that berth itself would never do. */
static void sql(const char *path, const char *text)
{
	sqlite3 *db = NULL;
	char *message = NULL;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", text, message);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void new_path(char ret[static PATH_MAX])
{
	(void)check_path(ret, PATH_MAX, check_tmpdir(), "leases.db");
}

/* ---- what goes in comes out ---- */

static void test_store_lease_put__survives_a_close(void **state)
{
	struct lease lease = lease_of(1), quoted = lease_of(2);
	struct contents seen;
	struct store *store;
	char path[PATH_MAX];

	(void)state;
	new_path(path);
	(void)str_copy(quoted.netns, sizeof(quoted.netns), "/x'); DROP TABLE lease; --\" \xc3\xa9 %s");
	store = open_store(path);
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	seen = contents_of(store);
	assert_int_equal(seen.lease_count, 1);
	assert_same_lease(&seen.last_lease, &lease);
	store_close(store);
	store = open_store(path);
	seen = contents_of(store);
	assert_same_lease(&seen.last_lease, &lease);
	assert_int_equal(store_lease_drop(store, &lease.key, NULL), 0);
	assert_int_equal(store_lease_drop(store, &lease.key, NULL), 0);
	assert_int_equal(store_lease_put(store, &quoted, NULL), 0);
	seen = contents_of(store);
	assert_int_equal(seen.lease_count, 1);
	assert_int_equal(seen.cooldown_count, 0);
	assert_same_lease(&seen.last_lease, &quoted);
	store_close(store);
}

static void test_store_lease_put__updates_by_key(void **state)
{
	struct lease lease = lease_of(1), other = lease_of(2);
	struct contents seen;
	struct store *store;
	char path[PATH_MAX];

	(void)state;
	store = new_store(path);
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	lease.addrs[0] = ip("10.9.9.9");
	lease.state = LEASE_BOUND;
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	seen = contents_of(store);
	assert_int_equal(seen.lease_count, 1);
	assert_same_lease(&seen.last_lease, &lease);
	/* The pool decides who holds an address: a row that it has outlived gives way. */
	other.addrs[0] = lease.addrs[0];
	assert_int_equal(store_lease_put(store, &other, NULL), 0);
	seen = contents_of(store);
	assert_int_equal(seen.lease_count, 1);
	assert_same_lease(&seen.last_lease, &other);
	store_close(store);
}

static void test_store_lease_put__the_longest_of_everything(void **state)
{
	struct lease lease = lease_of(1);
	struct contents seen;
	struct store *store;
	char path[PATH_MAX];

	(void)state;
	store = new_store(path);
	memset(lease.key.network, 'n', sizeof(lease.key.network) - 1);
	memset(lease.key.container, 'c', sizeof(lease.key.container) - 1);
	memset(lease.key.ifname, 'i', sizeof(lease.key.ifname) - 1);
	memset(lease.pod.namespace, 's', sizeof(lease.pod.namespace) - 1);
	memset(lease.pod.name, 'p', sizeof(lease.pod.name) - 1);
	memset(lease.pod.uid, 'u', sizeof(lease.pod.uid) - 1);
	memset(lease.netns, 'x', sizeof(lease.netns) - 1);
	lease.addrs[0] = ip("2001:db8::ffff:1");
	lease.since_us = INT64_MAX;
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	seen = contents_of(store);
	assert_same_lease(&seen.last_lease, &lease);
	store_close(store);
}

static void test_store_lease_bind__a_missing_lease_is_notfound(void **state)
{
	struct lease lease = lease_of(1), missing = lease_of(2);
	struct err err = { 0 };
	struct store *store;
	struct contents seen;
	char path[PATH_MAX];

	(void)state;
	store = new_store(path);
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	assert_int_equal(store_lease_bind(store, &lease.key, 777, NULL), 0);
	seen = contents_of(store);
	assert_int_equal(seen.last_lease.state, LEASE_BOUND);
	assert_int_equal(seen.last_lease.since_us, 777);
	assert_int_equal(store_lease_bind(store, &missing.key, 777, &err), -1);
	assert_int_equal(err.class, ERR_NOTFOUND);
	assert_string_equal(err.domain, "store");
	(void)str_copy(missing.key.container, sizeof(missing.key.container), lease.key.container);
	(void)str_copy(missing.key.ifname, sizeof(missing.key.ifname), "net1");
	assert_int_equal(store_lease_bind(store, &missing.key, 777, &err), -1);
	store_close(store);
}

static void test_store_lease_release__lease_goes_and_address_cools(void **state)
{
	struct lease lease = lease_of(1), other = lease_of(2);
	struct store *store;
	struct contents seen;
	char path[PATH_MAX];

	(void)state;
	store = new_store(path);
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	assert_int_equal(store_lease_put(store, &other, NULL), 0);
	assert_int_equal(store_lease_release(store, &lease.key, &lease.addrs[0], 5000, NULL), 0);
	store_close(store);
	store = open_store(path);
	seen = contents_of(store);
	assert_int_equal(seen.lease_count, 1);
	assert_same_lease(&seen.last_lease, &other);
	assert_int_equal(seen.cooldown_count, 1);
	assert_true(ipaddr_equal(&seen.last_addr, &lease.addrs[0]));
	assert_int_equal(seen.last_until_us, 5000);
	/* Again, without a lease: the later end counts. */
	assert_int_equal(store_lease_release(store, &lease.key, &lease.addrs[0], 6000, NULL), 0);
	seen = contents_of(store);
	assert_int_equal(seen.cooldown_count, 1);
	assert_int_equal(seen.last_until_us, 6000);
	assert_int_equal(store_cooldown_trim(store, 6000, NULL), 0);
	assert_int_equal(contents_of(store).cooldown_count, 1);
	assert_int_equal(store_cooldown_trim(store, 6001, NULL), 0);
	assert_int_equal(contents_of(store).cooldown_count, 0);
	store_close(store);
}

/* The second half of a release fails: the first half is undone, and no transaction stays open. */
static void test_store_lease_release__whole_or_not_at_all(void **state)
{
	const struct lease lease = lease_of(1), other = lease_of(2);
	struct err err = { 0 };
	struct store *store;
	struct contents seen;
	char path[PATH_MAX];

	(void)state;
	store = new_store(path);
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	sql(path, "CREATE TRIGGER no BEFORE INSERT ON cooldown BEGIN SELECT RAISE(FAIL, 'no'); END");
	assert_int_equal(store_lease_release(store, &lease.key, &lease.addrs[0], 5, &err), -1);
	assert_int_equal(err.class, ERR_BUG);
	sql(path, "DROP TRIGGER no");
	assert_int_equal(store_lease_put(store, &other, NULL), 0);
	store_close(store);
	store = open_store(path);
	seen = contents_of(store);
	assert_int_equal(seen.lease_count, 2);
	assert_int_equal(seen.cooldown_count, 0);
	store_close(store);
}

struct deleting {
	struct store *store;
	unsigned count;
};

static int delete_shown(const struct intent *intent, void *arg)
{
	struct deleting *d = arg;

	d->count++;
	return store_intent_del(d->store, intent->id, NULL);
}

static void test_store_intents__put_walk_delete(void **state)
{
	struct intent attach = { .kind = "attach", .nic = "", .token = "0123456789abcdef", .slot = 3, .count = 9 };
	struct intent release = { .kind = "release", .nic = "nic-1", .slot = 1, .count = UINT32_MAX };
	struct store *store;
	struct contents seen;
	struct deleting d;
	int64_t last_id;
	char path[PATH_MAX];

	(void)state;
	store = new_store(path);
	assert_int_equal(store_intent_put(store, &attach, NULL), 0);
	assert_int_equal(store_intent_put(store, &release, NULL), 0);
	assert_true(release.id > attach.id && attach.id > 0);
	store_close(store);
	store = open_store(path);
	seen = contents_of(store);
	assert_int_equal(seen.intent_count, 2);
	assert_int_equal(seen.last_intent.id, release.id);
	assert_string_equal(seen.last_intent.kind, "release");
	assert_string_equal(seen.last_intent.nic, "nic-1");
	assert_int_equal(seen.last_intent.count, UINT32_MAX);
	assert_int_equal(store_intent_del(store, release.id, NULL), 0);
	seen = contents_of(store);
	assert_string_equal(seen.last_intent.token, "0123456789abcdef");
	assert_int_equal(seen.last_intent.slot, 3);
	last_id = release.id;
	assert_int_equal(store_intent_put(store, &release, NULL), 0);
	assert_true(release.id > last_id);
	d = (struct deleting){ .store = store };
	assert_int_equal(store_intents(store, delete_shown, &d, NULL), 0);
	assert_int_equal(d.count, 2);
	assert_int_equal(contents_of(store).intent_count, 0);
	store_close(store);
}

static int stop(const struct lease *lease, void *arg)
{
	unsigned *n = arg;

	(void)lease;
	(*n)++;
	return 42;
}

static void test_store_leases__a_callback_ends_the_walk(void **state)
{
	struct store *store;
	unsigned n = 0;
	char path[PATH_MAX];

	(void)state;
	store = new_store(path);
	for (unsigned i = 0; i < 3; i++) {
		const struct lease lease = lease_of(i);

		assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	}
	assert_int_equal(store_leases(store, stop, &n, NULL), 42);
	assert_int_equal(n, 1);
	assert_int_equal(contents_of(store).lease_count, 3);
	store_close(store);
}

static void test_store_leases__a_row_that_is_none(void **state)
{
	static const char *const damage[] = { "UPDATE lease SET addr = '10.0.0'", "UPDATE lease SET state = 'free'",
					      "UPDATE lease SET container = printf('%.*c', 128, 'x')" };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(damage); i++) {
		const struct lease lease = lease_of(1);
		struct store *store;
		struct contents seen;
		struct err err = { 0 };
		char path[PATH_MAX];

		new_path(path);
		store = open_store(path);
		assert_int_equal(store_lease_put(store, &lease, NULL), 0);
		store_close(store);
		sql(path, damage[i]);
		store = open_store(path);
		assert_int_equal(look(store, &seen, &err), 1);
		assert_int_equal(err.class, ERR_PROTOCOL);
		assert_int_equal(seen.lease_count, 0);
		store_close(store);
	}
}

/* ---- a process that dies ---- */

static void die_after_writing(const char *path, unsigned count)
{
	struct store *store;
	char aside[256];

	if (store_open(path, &store, aside, NULL) < 0)
		_exit(1);
	for (unsigned i = 0; i < count; i++) {
		const struct lease lease = lease_of(i);

		if (store_lease_put(store, &lease, NULL) < 0)
			_exit(2);
	}
	(void)kill(getpid(), SIGKILL);
}

static void test_store_open__after_a_kill_everything_is_there(void **state)
{
	struct store *store;
	char path[PATH_MAX];
	int status;
	pid_t pid;

	(void)state;
	new_path(path);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		die_after_writing(path, 500);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	store = open_store(path);
	assert_int_equal(contents_of(store).lease_count, 500);
	store_close(store);
}

/* ---- files that are none of ours ---- */

static void write_file(const char *path, const char *text, size_t size)
{
	assert_int_equal(fs_write_atomic(path, text, size, 0600), 0);
}

/* Opens @path, which must be put aside with all its bytes, and finds an empty store that works. */
static void assert_set_aside_as(const char *path, char aside[static 256])
{
	_cleanup_free_ char *before = NULL, *after = NULL;
	const struct lease lease = lease_of(1);
	struct store *store = NULL;
	struct err err = { 0 };
	char start[PATH_MAX + 8];
	size_t before_size, after_size;

	assert_int_equal(fs_read(path, 16U << 20, &before, &before_size), 0);
	if (store_open(path, &store, aside, &err) < 0)
		fail_msg("%s", err.msg);
	(void)snprintf(start, sizeof(start), "%s.bad-", path);
	assert_true(str_starts(aside, start));
	assert_int_equal(fs_read(aside, 16U << 20, &after, &after_size), 0);
	assert_int_equal(before_size, after_size);
	assert_memory_equal(before, after, before_size);
	assert_int_equal(contents_of(store).lease_count, 0);
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	store_close(store);
	store = open_store(path);
	assert_int_equal(contents_of(store).lease_count, 1);
	store_close(store);
}

static void assert_set_aside(const char *path)
{
	char aside[256];

	assert_set_aside_as(path, aside);
}

static void test_store_open__not_a_database(void **state)
{
	char path[PATH_MAX], text[8192], first[256], second[256];

	(void)state;
	new_path(path);
	memset(text, 'x', sizeof(text));
	write_file(path, text, sizeof(text));
	assert_set_aside_as(path, first);
	/* And once more, nearly always in the same second: the first one is not overwritten. */
	write_file(path, text, sizeof(text) / 2);
	assert_set_aside_as(path, second);
	assert_string_not_equal(first, second);
	assert_true(fs_exists(first) && fs_exists(second));
}

static void test_store_open__an_empty_file_is_a_new_one(void **state)
{
	char path[PATH_MAX];

	(void)state;
	new_path(path);
	write_file(path, "", 0);
	store_close(open_store(path));
}

static void make_store_with(const char *path, unsigned leases)
{
	struct store *store = open_store(path);

	for (unsigned i = 0; i < leases; i++) {
		const struct lease lease = lease_of(i);

		assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	}
	store_close(store);
}

static void test_store_open__a_newer_version(void **state)
{
	char path[PATH_MAX];

	(void)state;
	new_path(path);
	make_store_with(path, 3);
	sql(path, "PRAGMA user_version = 2");
	assert_set_aside(path);
}

static void test_store_open__somebody_elses_database(void **state)
{
	char path[PATH_MAX];

	(void)state;
	new_path(path);
	sql(path, "CREATE TABLE recipe (name TEXT)");
	assert_set_aside(path);
	new_path(path);
	make_store_with(path, 3);
	sql(path, "DROP TABLE cooldown");
	assert_set_aside(path);
}

/* A good file of some size, to be spoilt. */
static char *make_file(char path[static PATH_MAX], size_t *ret_size)
{
	char *text = NULL;

	new_path(path);
	make_store_with(path, 400);
	assert_int_equal(fs_read(path, 16U << 20, &text, ret_size), 0);
	assert_true(*ret_size > (size_t)20 * 4096);
	return text;
}

static void test_store_open__a_damaged_page(void **state)
{
	char path[PATH_MAX];
	size_t size;
	_cleanup_free_ char *text = make_file(path, &size);

	(void)state;
	memset(text + 8 * 4096, 0x5a, (size_t)4 * 4096);
	write_file(path, text, size);
	assert_set_aside(path);
}

static void test_store_open__a_cut_file(void **state)
{
	char path[PATH_MAX];
	size_t size;
	_cleanup_free_ char *text = make_file(path, &size);

	(void)state;
	write_file(path, text, size / 2);
	assert_set_aside(path);
}

static void test_store_open__the_log_of_a_bad_file_goes_with_it(void **state)
{
	struct store *store = NULL;
	struct contents seen;
	char path[PATH_MAX], wal[PATH_MAX + 8], text[8192], aside[256], aside_wal[300];

	(void)state;
	new_path(path);
	memset(text, 'x', sizeof(text));
	write_file(path, text, sizeof(text));
	(void)snprintf(wal, sizeof(wal), "%s-wal", path);
	write_file(wal, text, 100);
	assert_int_equal(store_open(path, &store, aside, NULL), 0);
	(void)snprintf(aside_wal, sizeof(aside_wal), "%s-wal", aside);
	assert_true(fs_exists(aside_wal));
	seen = contents_of(store);
	assert_int_equal(seen.lease_count, 0);
	store_close(store);
}

static void test_store_open__where_nothing_can_be(void **state)
{
	struct store *store = NULL;
	struct err err = { 0 };
	char path[PATH_MAX], aside[256] = "unset";

	(void)state;
	(void)check_path(path, sizeof(path), check_tmpdir(), "no/such/dir/leases.db");
	assert_int_equal(store_open(path, &store, aside, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
	assert_string_equal(err.domain, "store");
	assert_non_null(strstr(err.msg, path));
	assert_string_equal(aside, "");
	assert_null(store);
	store_close(NULL);
}

static void test_store_lease_put__while_somebody_else_writes(void **state)
{
	const struct lease lease = lease_of(1);
	struct err err = { 0 };
	struct store *store;
	sqlite3 *db = NULL;
	char path[PATH_MAX];

	(void)state;
	store = new_store(path);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(store_lease_put(store, &lease, &err), -1);
	assert_int_equal(err.class, ERR_RETRY);
	assert_int_equal(store_lease_release(store, &lease.key, &lease.addrs[0], 1, &err), -1);
	assert_int_equal(err.class, ERR_RETRY);
	assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	assert_int_equal(contents_of(store).lease_count, 1);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_store_lease_put__survives_a_close),
		check_unit_test(test_store_lease_put__updates_by_key),
		check_unit_test(test_store_lease_put__the_longest_of_everything),
		check_unit_test(test_store_lease_bind__a_missing_lease_is_notfound),
		check_unit_test(test_store_lease_release__lease_goes_and_address_cools),
		check_unit_test(test_store_lease_release__whole_or_not_at_all),
		check_unit_test(test_store_intents__put_walk_delete),
		check_unit_test(test_store_leases__a_callback_ends_the_walk),
		check_unit_test(test_store_leases__a_row_that_is_none),
		check_unit_test(test_store_open__after_a_kill_everything_is_there),
		check_unit_test(test_store_open__not_a_database),
		check_unit_test(test_store_open__an_empty_file_is_a_new_one),
		check_unit_test(test_store_open__a_newer_version),
		check_unit_test(test_store_open__somebody_elses_database),
		check_unit_test(test_store_open__a_damaged_page),
		check_unit_test(test_store_open__a_cut_file),
		check_unit_test(test_store_open__the_log_of_a_bad_file_goes_with_it),
		check_unit_test(test_store_open__where_nothing_can_be),
		check_unit_test(test_store_lease_put__while_somebody_else_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
