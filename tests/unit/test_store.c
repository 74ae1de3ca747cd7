/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/check.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"
#include "ipamd/store.h"

#define LEASES_MAX 8192U
#define SKIPPED    77 /* exit code of a child that may not do what its test needs */

/* ---- helpers ---- */

static struct ipaddr ip(const char *text)
{
	struct ipaddr addr = { 0 };

	assert_int_equal(ipaddr_parse(text, &addr), 0);
	return addr;
}

static struct lease lease_of(unsigned number)
{
	struct lease lease = { .key = { .network = "berth", .ifname = "eth0" },
			       .pod = { .namespace = "default", .uid = "6b4a2c3e-0000-4000-8000-000000000001" },
			       .addr = ipaddr_v4(0x0a000000U + number),
			       .state = LEASE_RESERVED,
			       .since_us = 1000 + number };

	(void)snprintf(lease.key.container, sizeof(lease.key.container), "%064x", number);
	(void)snprintf(lease.pod.name, sizeof(lease.pod.name), "web-%u", number);
	(void)snprintf(lease.netns, sizeof(lease.netns), "/var/run/netns/cni-%u", number);
	return lease;
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
	assert_true(ipaddr_equal(&a->addr, &b->addr));
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

/* What a store holds. */
struct contents {
	unsigned lease_count, cooldown_count, intent_count;
	struct lease last_lease;
	struct ipaddr last_addr;
	int64_t last_until_us;
	struct intent last_intent;
};

static int see_lease(const struct lease *lease, void *arg)
{
	struct contents *seen = arg;

	seen->last_lease = *lease;
	seen->lease_count++;
	return 0;
}

static int see_cooldown(const struct ipaddr *addr, int64_t until_us, void *arg)
{
	struct contents *seen = arg;

	seen->last_addr = *addr;
	seen->last_until_us = until_us;
	seen->cooldown_count++;
	return 0;
}

static int see_intent(const struct intent *intent, void *arg)
{
	struct contents *seen = arg;

	seen->last_intent = *intent;
	seen->intent_count++;
	return 0;
}

static int look(struct store *store, struct contents *ret, struct err *err)
{
	*ret = (struct contents){ 0 };
	return store_leases(store, see_lease, ret, err) || store_cooldowns(store, see_cooldown, ret, err) ||
	       store_intents(store, see_intent, ret, err);
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
	new_path(path);
	store = open_store(path);
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	lease.addr = ip("10.9.9.9");
	lease.state = LEASE_BOUND;
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	seen = contents_of(store);
	assert_int_equal(seen.lease_count, 1);
	assert_same_lease(&seen.last_lease, &lease);
	/* The pool decides who holds an address: a row that it has outlived gives way. */
	other.addr = lease.addr;
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
	new_path(path);
	store = open_store(path);
	memset(lease.key.network, 'n', sizeof(lease.key.network) - 1);
	memset(lease.key.container, 'c', sizeof(lease.key.container) - 1);
	memset(lease.key.ifname, 'i', sizeof(lease.key.ifname) - 1);
	memset(lease.pod.namespace, 's', sizeof(lease.pod.namespace) - 1);
	memset(lease.pod.name, 'p', sizeof(lease.pod.name) - 1);
	memset(lease.pod.uid, 'u', sizeof(lease.pod.uid) - 1);
	memset(lease.netns, 'x', sizeof(lease.netns) - 1);
	lease.addr = ip("2001:db8::ffff:1");
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
	new_path(path);
	store = open_store(path);
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
	new_path(path);
	store = open_store(path);
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	assert_int_equal(store_lease_put(store, &other, NULL), 0);
	assert_int_equal(store_lease_release(store, &lease.key, &lease.addr, 5000, NULL), 0);
	store_close(store);
	store = open_store(path);
	seen = contents_of(store);
	assert_int_equal(seen.lease_count, 1);
	assert_same_lease(&seen.last_lease, &other);
	assert_int_equal(seen.cooldown_count, 1);
	assert_true(ipaddr_equal(&seen.last_addr, &lease.addr));
	assert_int_equal(seen.last_until_us, 5000);
	/* Again, without a lease: the later end counts. */
	assert_int_equal(store_lease_release(store, &lease.key, &lease.addr, 6000, NULL), 0);
	seen = contents_of(store);
	assert_int_equal(seen.cooldown_count, 1);
	assert_int_equal(seen.last_until_us, 6000);
	assert_int_equal(store_cooldown_trim(store, 6000, NULL), 0);
	assert_int_equal(contents_of(store).cooldown_count, 1);
	assert_int_equal(store_cooldown_trim(store, 6001, NULL), 0);
	assert_int_equal(contents_of(store).cooldown_count, 0);
	store_close(store);
}

static struct store *deleting; /* the walk's argument is the counter */

static int delete_shown(const struct intent *intent, void *arg)
{
	unsigned *n = arg;

	(*n)++;
	return store_intent_del(deleting, intent->id, NULL);
}

static void test_store_intents__put_walk_delete(void **state)
{
	struct intent attach = { .kind = "attach", .nic = "", .token = "0123456789abcdef", .slot = 3, .count = 9 };
	struct intent release = { .kind = "release", .nic = "nic-1", .slot = 1, .count = UINT32_MAX };
	struct store *store;
	struct contents seen;
	unsigned n = 0;
	int64_t last_id;
	char path[PATH_MAX];

	(void)state;
	new_path(path);
	store = open_store(path);
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
	deleting = store;
	assert_int_equal(store_intents(store, delete_shown, &n, NULL), 0);
	assert_int_equal(n, 2);
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
	new_path(path);
	store = open_store(path);
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
static void assert_set_aside(const char *path)
{
	_cleanup_free_ char *before = NULL, *after = NULL;
	const struct lease lease = lease_of(1);
	struct store *store = NULL;
	struct err err = { 0 };
	char aside[256], start[PATH_MAX + 8];
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

static void test_store_open__not_a_database(void **state)
{
	char path[PATH_MAX], text[8192];

	(void)state;
	new_path(path);
	memset(text, 'x', sizeof(text));
	write_file(path, text, sizeof(text));
	assert_set_aside(path);
	/* And once more at the same second: the first one is not overwritten. */
	write_file(path, text, sizeof(text) / 2);
	assert_set_aside(path);
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

static void test_store_open__a_damaged_page(void **state)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	size_t size;

	(void)state;
	new_path(path);
	make_store_with(path, 400);
	assert_int_equal(fs_read(path, 16U << 20, &text, &size), 0);
	assert_true(size > 20 * 4096);
	memset(text + 8 * 4096, 0x5a, 4 * 4096);
	write_file(path, text, size);
	assert_set_aside(path);
}

static void test_store_open__a_cut_file(void **state)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	size_t size;

	(void)state;
	new_path(path);
	make_store_with(path, 400);
	assert_int_equal(fs_read(path, 16U << 20, &text, &size), 0);
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
	new_path(path);
	store = open_store(path);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(store_lease_put(store, &lease, &err), -1);
	assert_int_equal(err.class, ERR_RETRY);
	assert_int_equal(store_lease_release(store, &lease.key, &lease.addr, 1, &err), -1);
	assert_int_equal(err.class, ERR_RETRY);
	assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	assert_int_equal(contents_of(store).lease_count, 1);
	store_close(store);
}

/* ---- disks that are full or read-only: in a child with its own mounts ---- */

/* In the child: cmocka's own assertions would continue the parent's run there. */
#define EXPECT(condition)                                                                          \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			(void)fprintf(stderr, "# %s:%d: %s\n", __FILE__, __LINE__, #condition); \
			return 1;                                                                  \
		}                                                                                  \
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
	struct store *store = NULL;
	struct contents seen;
	struct err err = { 0 };
	struct lease lease;
	unsigned stored = 0;
	char path[PATH_MAX], aside[256];
	int rc = mount_tmpfs(dir, "size=512k");

	if (rc != 0)
		return rc;
	(void)snprintf(path, sizeof(path), "%s/leases.db", dir);
	EXPECT(store_open(path, &store, aside, &err) == 0);
	do
		lease = lease_of(stored);
	while ((rc = store_lease_put(store, &lease, &err)) == 0 && ++stored < LEASES_MAX);
	if (rc == -1 && err.class != ERR_EXHAUSTED)
		(void)fprintf(stderr, "# %s\n", err.msg);
	EXPECT(rc == -1 && err.class == ERR_EXHAUSTED && stored > 20);
	EXPECT(look(store, &seen, NULL) == 0 && seen.lease_count == stored);
	/* A release is whole or not at all. */
	lease = lease_of(0);
	rc = store_lease_release(store, &lease.key, &lease.addr, 1, &err);
	EXPECT(rc == 0 || err.class == ERR_EXHAUSTED);
	EXPECT(look(store, &seen, NULL) == 0 && seen.lease_count + seen.cooldown_count == stored);
	EXPECT(seen.cooldown_count == (rc == 0 ? 1 : 0));
	EXPECT(mount("tmpfs", dir, "tmpfs", MS_REMOUNT, "size=8m") == 0);
	lease = lease_of(stored);
	EXPECT(store_lease_put(store, &lease, &err) == 0);
	store_close(store);
	EXPECT(store_open(path, &store, aside, &err) == 0 && aside[0] == '\0');
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
	struct store *store = NULL;
	struct err err = { 0 };
	char path[PATH_MAX], filler[PATH_MAX], aside[256], zeros[4096] = { 0 };
	int rc = mount_tmpfs(dir, "size=64k"), fd;

	if (rc != 0)
		return rc;
	(void)snprintf(path, sizeof(path), "%s/leases.db", dir);
	(void)snprintf(filler, sizeof(filler), "%s/filler", dir);
	fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	EXPECT(fd >= 0);
	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	(void)close(fd);
	EXPECT(store_open(path, &store, aside, &err) == -1);
	EXPECT(err.class == ERR_EXHAUSTED);
	EXPECT(aside[0] == '\0');
	EXPECT(unlink(filler) == 0);
	EXPECT(store_open(path, &store, aside, &err) == 0 && aside[0] == '\0');
	store_close(store);
	return 0;
}

static void test_store_open__disk_full(void **state)
{
	(void)state;
	run_in_child(opened_on_a_full_disk);
}

static int opened_read_only(const char *dir)
{
	const struct lease lease = lease_of(1);
	struct store *store = NULL;
	struct err err = { 0 };
	char path[PATH_MAX], other[PATH_MAX], aside[256];
	int rc = mount_tmpfs(dir, "size=1m");

	if (rc != 0)
		return rc;
	(void)snprintf(path, sizeof(path), "%s/leases.db", dir);
	(void)snprintf(other, sizeof(other), "%s/other.db", dir);
	EXPECT(store_open(path, &store, aside, &err) == 0);
	EXPECT(store_lease_put(store, &lease, &err) == 0);
	store_close(store);
	EXPECT(mount("tmpfs", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL) == 0);
	EXPECT(store_open(path, &store, aside, &err) == -1);
	EXPECT(err.class == ERR_INVALID && aside[0] == '\0');
	EXPECT(store_open(other, &store, aside, &err) == -1);
	EXPECT(err.class == ERR_INVALID && aside[0] == '\0');
	EXPECT(mount("tmpfs", dir, "tmpfs", MS_REMOUNT, NULL) == 0);
	EXPECT(store_open(path, &store, aside, &err) == 0 && aside[0] == '\0');
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
	struct store *store = NULL;
	int64_t start_us, took_us;
	char path[PATH_MAX], aside[256];
	int rc = mount_tmpfs(dir, "size=64m");

	if (rc != 0)
		return rc;
	(void)snprintf(path, sizeof(path), "%s/leases.db", dir);
	EXPECT(store_open(path, &store, aside, NULL) == 0);
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
		check_unit_test(test_store_lease_put__survives_a_close),
		check_unit_test(test_store_lease_put__updates_by_key),
		check_unit_test(test_store_lease_put__the_longest_of_everything),
		check_unit_test(test_store_lease_bind__a_missing_lease_is_notfound),
		check_unit_test(test_store_lease_release__lease_goes_and_address_cools),
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
		check_unit_test(test_store_lease_put__disk_full),
		check_unit_test(test_store_open__disk_full),
		check_unit_test(test_store_open__read_only),
		check_unit_test(test_store_lease_put__rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
