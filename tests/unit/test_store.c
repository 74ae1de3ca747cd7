/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/stores.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- helpers ---- */

static void assert_same_lease(const struct lease *a, const struct lease *b)
{
	assert_true(same_lease(a, b));
}

static struct store *new_store(char ret_path[static PATH_MAX])
{
	new_path(ret_path);
	return open_store(ret_path);
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
	lease.addrs[0] = addr_of("10.9.9.9");
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
	lease.addrs[1] = addr_of("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	lease.since_us = INT64_MAX;
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	seen = contents_of(store);
	assert_same_lease(&seen.last_lease, &lease);
	store_close(store);
}

static void test_store_lease_put__an_address_of_either_family(void **state)
{
	const struct lease dual = dual_lease_of(1);
	struct lease six = dual_lease_of(2), none = lease_of(3);
	struct err err = { 0 };
	struct contents seen;
	struct store *store;
	char path[PATH_MAX];

	(void)state;
	store = new_store(path);
	assert_int_equal(store_lease_put(store, &dual, NULL), 0);
	store_close(store);
	store = open_store(path);
	seen = contents_of(store);
	assert_same_lease(&seen.last_lease, &dual);
	assert_int_equal(store_lease_drop(store, &dual.key, NULL), 0);
	six.addrs[0] = (struct ipaddr){ 0 };
	assert_int_equal(store_lease_put(store, &six, NULL), 0);
	seen = contents_of(store);
	assert_same_lease(&seen.last_lease, &six);
	/* Two leases that both lack a family do not stand in each other's way; one that lacks both is none. */
	none.addrs[0] = (struct ipaddr){ 0 };
	none.addrs[1] = addr_of("2600::3");
	assert_int_equal(store_lease_put(store, &none, NULL), 0);
	assert_int_equal(contents_of(store).lease_count, 2);
	none.addrs[1] = (struct ipaddr){ 0 };
	assert_int_equal(store_lease_put(store, &none, &err), -1);
	assert_int_equal(err.class, ERR_BUG);
	assert_int_equal(contents_of(store).lease_count, 2);
	store_close(store);
}

static void test_store_lease_put__replaces_who_had_either_address(void **state)
{
	const struct lease four = lease_of(1), other = lease_of(9);
	struct lease six = dual_lease_of(2), both = dual_lease_of(3);
	struct contents seen;
	struct store *store;
	char path[PATH_MAX];

	(void)state;
	store = new_store(path);
	assert_int_equal(store_lease_put(store, &other, NULL), 0);
	assert_int_equal(store_lease_put(store, &four, NULL), 0);
	assert_int_equal(store_lease_put(store, &six, NULL), 0);
	both.addrs[0] = four.addrs[0];
	both.addrs[1] = six.addrs[1];
	assert_int_equal(store_lease_put(store, &both, NULL), 0);
	assert_int_equal(contents_of(store).lease_count, 2);
	assert_int_equal(store_lease_drop(store, &other.key, NULL), 0);
	seen = contents_of(store);
	assert_same_lease(&seen.last_lease, &both);
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
	assert_int_equal(store_lease_release(store, &lease.key, lease.addrs, 5000, NULL), 0);
	store_close(store);
	store = open_store(path);
	seen = contents_of(store);
	assert_int_equal(seen.lease_count, 1);
	assert_same_lease(&seen.last_lease, &other);
	assert_int_equal(seen.cooldown_count, 1);
	assert_true(ipaddr_equal(&seen.last_addr, &lease.addrs[0]));
	assert_int_equal(seen.last_until_us, 5000);
	/* Again, without a lease: the later end counts. */
	assert_int_equal(store_lease_release(store, &lease.key, lease.addrs, 6000, NULL), 0);
	seen = contents_of(store);
	assert_int_equal(seen.cooldown_count, 1);
	assert_int_equal(seen.last_until_us, 6000);
	assert_int_equal(store_cooldown_trim(store, 6000, NULL), 0);
	assert_int_equal(contents_of(store).cooldown_count, 1);
	assert_int_equal(store_cooldown_trim(store, 6001, NULL), 0);
	assert_int_equal(contents_of(store).cooldown_count, 0);
	store_close(store);
}

static void test_store_lease_release__both_addresses_cool(void **state)
{
	const struct lease lease = dual_lease_of(1);
	struct store *store;
	struct contents seen;
	char path[PATH_MAX];

	(void)state;
	store = new_store(path);
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	assert_int_equal(store_lease_release(store, &lease.key, lease.addrs, 5000, NULL), 0);
	store_close(store);
	store = open_store(path);
	seen = contents_of(store);
	assert_int_equal(seen.lease_count, 0);
	assert_int_equal(seen.cooldown_count, 2);
	/* In address order, the shorter ones first. */
	assert_true(ipaddr_equal(&seen.last_addr, &lease.addrs[1]));
	store_close(store);
}

/* The store's own connection: it lets no other one near its file. */
static sqlite3 *connection;

static int catch_connection(sqlite3 *db, char **ret_error, const struct sqlite3_api_routines *routines)
{
	(void)ret_error;
	(void)routines;
	if (!connection)
		connection = db;
	return SQLITE_OK;
}

static struct store *open_and_catch(const char *path)
{
	struct store *store;

	connection = NULL;
	assert_int_equal(sqlite3_auto_extension((void (*)(void))catch_connection), SQLITE_OK);
	store = open_store(path);
	sqlite3_reset_auto_extension();
	assert_non_null(connection);
	return store;
}

/* The second half of a release fails: the first half is undone, and no transaction stays open. */
static void test_store_lease_release__whole_or_not_at_all(void **state)
{
	const struct lease lease = dual_lease_of(1), other = lease_of(2);
	struct err err = { 0 };
	struct store *store;
	struct contents seen;
	char path[PATH_MAX];

	(void)state;
	new_path(path);
	store = open_and_catch(path);
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	assert_int_equal(sqlite3_exec(connection,
				      "CREATE TEMP TRIGGER no BEFORE INSERT ON main.cooldown WHEN length(new.addr) = 16"
				      " BEGIN SELECT RAISE(FAIL, 'no'); END",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(store_lease_release(store, &lease.key, lease.addrs, 5, &err), -1);
	assert_int_equal(err.class, ERR_BUG);
	assert_int_equal(sqlite3_exec(connection, "DROP TRIGGER no", NULL, NULL, NULL), SQLITE_OK);
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
	struct intent attach = { .kind = "attach",
				 .nic = "",
				 .token = "0123456789abcdef",
				 .slot = 3,
				 .wants = { { 9, 28 }, { UINT32_MAX, 128 } } };
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
	assert_int_equal(seen.last_intent.count, 0);
	assert_memory_equal(seen.last_intent.wants, attach.wants, sizeof(attach.wants));
	last_id = release.id;
	assert_int_equal(store_intent_put(store, &release, NULL), 0);
	assert_true(release.id > last_id);
	d = (struct deleting){ .store = store };
	assert_int_equal(store_intents(store, delete_shown, &d, NULL), 0);
	assert_int_equal(d.count, 2);
	assert_int_equal(contents_of(store).intent_count, 0);
	store_close(store);
}

static void test_store_fact__put_get_replace(void **state)
{
	char long_text[STORE_FACT_VALUE_SIZE + 1], value[STORE_FACT_VALUE_SIZE] = "unset", path[PATH_MAX];
	struct err err = { 0 };
	struct store *store;

	(void)state;
	memset(long_text, 'x', sizeof(long_text));
	long_text[STORE_FACT_VALUE_SIZE] = '\0';
	store = new_store(path);
	assert_int_equal(store_fact_get(store, "limits", value, &err), -1);
	assert_int_equal(err.class, ERR_NOTFOUND);
	assert_string_equal(value, "unset");
	assert_int_equal(store_fact_put(store, "limits", "{\"m5.large\":3}", NULL), 0);
	assert_int_equal(store_fact_put(store, "other", "", NULL), 0);
	assert_int_equal(store_fact_put(store, "limits", long_text + 1, NULL), 0);
	assert_int_equal(store_fact_put(store, "limits", long_text, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
	store_close(store);
	store = open_store(path);
	assert_int_equal(store_fact_get(store, "limits", value, NULL), 0);
	assert_string_equal(value, long_text + 1);
	assert_int_equal(store_fact_get(store, "other", value, NULL), 0);
	assert_string_equal(value, "");
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

/* ---- a process that dies ---- */

static void die_after_writing(const char *path, unsigned count)
{
	struct store_aside aside;
	struct store *store;

	if (store_open(path, BOOT, &store, &aside, NULL) < 0)
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

/* ---- another boot ---- */

#define NEXT_BOOT "00000000-0000-4000-8000-000000000002"

static const char *aside_name(const char *path)
{
	static char name[PATH_MAX + 16];

	(void)snprintf(name, sizeof(name), "%s.other-boot", path);
	return name;
}

/* Opens @path in a boot that it is not of: it must be put aside as what it is, and an empty store stands in its place. */
static struct store *open_in_boot(const char *path, const char *boot_id, struct store_aside *ret_aside)
{
	struct store *store = NULL;
	struct err err = { 0 };

	if (store_open(path, boot_id, &store, ret_aside, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(ret_aside->why, STORE_ASIDE_BOOT);
	assert_string_equal(ret_aside->path, aside_name(path));
	assert_int_equal(contents_of(store).lease_count, 0);
	return store;
}

static void test_store_open__of_another_boot(void **state)
{
	const struct lease lease = lease_of(1);
	struct store_aside aside;
	struct store *store;
	char path[PATH_MAX];

	(void)state;
	new_path(path);
	make_store_with(path, 3);
	store = open_in_boot(path, NEXT_BOOT, &aside);
	assert_non_null(strstr(aside.cause, BOOT));
	assert_non_null(strstr(aside.cause, NEXT_BOOT));
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	store_close(store);
	/* It is of that boot from now on, and the one put aside is whole. */
	assert_int_equal(store_open(path, NEXT_BOOT, &store, &aside, NULL), 0);
	assert_int_equal(aside.why, STORE_KEPT);
	assert_int_equal(contents_of(store).lease_count, 1);
	store_close(store);
	store = open_store(aside_name(path));
	assert_int_equal(contents_of(store).lease_count, 3);
	store_close(store);
	/* The boot after that: one is kept, the last. */
	store = open_in_boot(path, BOOT, &aside);
	store_close(store);
	assert_int_equal(store_open(aside_name(path), NEXT_BOOT, &store, &aside, NULL), 0);
	assert_int_equal(aside.why, STORE_KEPT);
	assert_int_equal(contents_of(store).lease_count, 1);
	store_close(store);
}

/* How many leases a file with its log holds; looked at in a copy, so that the log stays. */
static unsigned leases_of_copy(const char *path)
{
	struct store *store;
	char copy[PATH_MAX];
	unsigned count;

	new_path(copy);
	copy_with_log(path, copy);
	store = open_store(copy);
	count = contents_of(store).lease_count;
	store_close(store);
	return count;
}

/* A daemon that was killed by the reboot left its log. */
static void test_store_open__of_another_boot_with_its_log(void **state)
{
	struct store_aside aside;
	struct store *store;
	char path[PATH_MAX], log[PATH_MAX + 32];
	int status;
	pid_t pid;

	(void)state;
	new_path(path);
	for (unsigned i = 1; i <= 2; i++) {
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			die_after_writing(path, 5 * i);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		store = open_in_boot(path, NEXT_BOOT, &aside);
		store_close(store);
		(void)snprintf(log, sizeof(log), "%s-wal", aside.path);
		assert_true(fs_exists(log));
		assert_int_equal(leases_of_copy(aside_name(path)), 5 * i);
		assert_int_equal(fs_unlink(path), 0);
	}
	/* Nothing of that log gets into a file that was closed. */
	make_store_with(path, 3);
	store_close(open_in_boot(path, NEXT_BOOT, &aside));
	store = open_store(aside_name(path));
	assert_int_equal(contents_of(store).lease_count, 3);
	store_close(store);
}

static void test_store_open__of_no_boot(void **state)
{
	struct store_aside aside;
	char path[PATH_MAX];

	(void)state;
	new_path(path);
	make_store_with(path, 3);
	sql(path, "DELETE FROM fact WHERE key = 'boot_id'");
	store_close(open_in_boot(path, BOOT, &aside));
}

/* ---- where it cannot be ---- */

static void test_store_open__where_nothing_can_be(void **state)
{
	struct store *store = NULL;
	struct err err = { 0 };
	struct store_aside aside = { .path = "unset" };
	char path[PATH_MAX];

	(void)state;
	(void)check_path(path, sizeof(path), check_tmpdir(), "no/such/dir/leases.db");
	assert_int_equal(store_open(path, BOOT, &store, &aside, &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
	assert_string_equal(err.domain, "store");
	assert_non_null(strstr(err.msg, path));
	assert_int_equal(aside.why, STORE_KEPT);
	assert_string_equal(aside.path, "");
	assert_null(store);
	store_close(NULL);
}

/* One at a time: who comes second is told so and moves nothing. */
static void test_store_open__while_somebody_else_has_it(void **state)
{
	struct store *store, *second = NULL;
	struct store_aside aside;
	struct err err = { 0 };
	sqlite3 *db = NULL;
	char path[PATH_MAX];

	(void)state;
	new_path(path);
	make_store_with(path, 3);
	store = open_store(path);
	assert_int_equal(store_open(path, BOOT, &second, &aside, &err), -1);
	assert_int_equal(err.class, ERR_RETRY);
	assert_int_equal(aside.why, STORE_KEPT);
	assert_null(second);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "SELECT * FROM lease", NULL, NULL, NULL), SQLITE_BUSY);
	assert_int_equal(contents_of(store).lease_count, 3);
	store_close(store);
	assert_int_equal(sqlite3_exec(db, "BEGIN; SELECT * FROM lease", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(store_open(path, BOOT, &store, &aside, &err), -1);
	assert_int_equal(err.class, ERR_RETRY);
	assert_int_equal(aside.why, STORE_KEPT);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	store = open_store(path);
	assert_int_equal(contents_of(store).lease_count, 3);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_store_lease_put__survives_a_close),
		check_unit_test(test_store_lease_put__updates_by_key),
		check_unit_test(test_store_lease_put__the_longest_of_everything),
		check_unit_test(test_store_lease_put__an_address_of_either_family),
		check_unit_test(test_store_lease_put__replaces_who_had_either_address),
		check_unit_test(test_store_lease_bind__a_missing_lease_is_notfound),
		check_unit_test(test_store_lease_release__lease_goes_and_address_cools),
		check_unit_test(test_store_lease_release__both_addresses_cool),
		check_unit_test(test_store_lease_release__whole_or_not_at_all),
		check_unit_test(test_store_intents__put_walk_delete),
		check_unit_test(test_store_fact__put_get_replace),
		check_unit_test(test_store_leases__a_callback_ends_the_walk),
		check_unit_test(test_store_open__after_a_kill_everything_is_there),
		check_unit_test(test_store_open__of_another_boot),
		check_unit_test(test_store_open__of_another_boot_with_its_log),
		check_unit_test(test_store_open__of_no_boot),
		check_unit_test(test_store_open__where_nothing_can_be),
		check_unit_test(test_store_open__while_somebody_else_has_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
