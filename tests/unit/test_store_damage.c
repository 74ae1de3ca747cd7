/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are none of the store's, or were once: what is believed is right, everything else is put aside. */
#include "tests/unit/stores.h"

#include <inttypes.h>

#define SEEDS     500U
#define PAGE_SIZE 4096U

static void assert_set_aside(const char *path)
{
	assert_int_equal(put_aside(path).why, STORE_ASIDE_DAMAGED);
}

/* ---- what is no store at all ---- */

static void test_store_open__not_a_database(void **state)
{
	struct store_aside first, second;
	char path[PATH_MAX], text[2 * PAGE_SIZE];

	(void)state;
	new_path(path);
	memset(text, 'x', sizeof(text));
	write_file(path, text, sizeof(text));
	first = put_aside(path);
	assert_int_equal(first.why, STORE_ASIDE_DAMAGED);
	/* And once more, nearly always in the same second: the first one is not overwritten. */
	write_file(path, text, sizeof(text) / 2);
	second = put_aside(path);
	assert_string_not_equal(first.path, second.path);
	assert_true(fs_exists(first.path) && fs_exists(second.path));
}

static void test_store_open__an_empty_file_is_a_new_one(void **state)
{
	char path[PATH_MAX];

	(void)state;
	new_path(path);
	write_file(path, "", 0);
	store_close(open_store(path));
}

static void test_store_open__somebody_elses_database(void **state)
{
	char path[PATH_MAX];

	(void)state;
	new_path(path);
	sql(path, "CREATE TABLE recipe (name TEXT)");
	assert_int_equal(put_aside(path).why, STORE_ASIDE_UNKNOWN);
}

/* Tables that are not those of its version to the letter: who made them meant something else by a row. */
static void test_store_open__other_tables(void **state)
{
	static const char *const changes[] = {
		"DROP TABLE cooldown",
		"CREATE TABLE recipe (name TEXT)",
		"DROP INDEX lease_addr6",
		"ALTER TABLE cooldown ADD COLUMN moon TEXT",
		"CREATE TRIGGER no BEFORE INSERT ON cooldown BEGIN SELECT RAISE(FAIL, 'no'); END",
		("PRAGMA writable_schema = ON;"
		 "UPDATE sqlite_schema SET sql = replace(sql, 'ifname TEXT', 'ifname UEXT')"),
	};
	char path[PATH_MAX];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(changes); i++) {
		struct store_aside aside;

		new_path(path);
		make_store_with(path, 3);
		sql(path, changes[i]);
		aside = put_aside(path);
		if (aside.why != STORE_ASIDE_DAMAGED || !strstr(aside.cause, "tables"))
			fail_msg("%s: %s", changes[i], aside.cause);
	}
	/* Statistics are SQLite's own business. */
	new_path(path);
	make_store_with(path, 3);
	sql(path, "ANALYZE");
	store_close(open_store(path));
}

/* ---- rows ---- */

#define LEASE_SUM                                                                                                      \
	"row_sum(container, ifname, network, addr, addr6, state, since_us, pod_namespace, pod_name, pod_uid, netns, "  \
	"host_ifname, delegated, egress, runtime)"
#define INTENT_SUM "row_sum(kind, nic, token, slot, count, want_count, want_len, want6_count, want6_len)"

static void make_one_of_each(char path[static PATH_MAX])
{
	const struct lease lease = dual_lease_of(1), gone = dual_lease_of(2);
	struct intent intent = { .kind = "attach", .token = "t", .slot = 1, .wants = { { 1, 28 }, { 1, 80 } } };
	struct store *store;

	new_path(path);
	store = open_store(path);
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	assert_int_equal(store_lease_bind(store, &lease.key, 7, NULL), 0);
	assert_int_equal(store_lease_release(store, &gone.key, gone.addrs, 9, NULL), 0);
	assert_int_equal(store_intent_put(store, &intent, NULL), 0);
	assert_int_equal(store_fact_put(store, "key", "value", NULL), 0);
	store_close(store);
}

/* A row that says something else than what was put: its sum tells. */
static void test_store_open__a_row_that_was_changed__azure_2(void **state)
{
	static const char *const changes[] = {
		"UPDATE lease SET container = 'c'",
		"UPDATE lease SET ifname = 'eth1'",
		"UPDATE lease SET network = 'n'",
		"UPDATE lease SET addr = x'0a000009'",
		"UPDATE lease SET addr = NULL",
		"UPDATE lease SET addr6 = x'26001f14000e93000000000000000009'",
		"UPDATE lease SET state = 'reserved'",
		"UPDATE lease SET since_us = 8",
		"UPDATE lease SET pod_namespace = 'n'",
		"UPDATE lease SET pod_name = 'n'",
		"UPDATE lease SET pod_uid = 'n'",
		"UPDATE lease SET netns = 'n'",
		"UPDATE lease SET sum = 0",
		"UPDATE cooldown SET addr = x'0a000009' WHERE length(addr) = 4",
		"UPDATE cooldown SET until_us = 10 WHERE length(addr) = 16",
		"UPDATE intent SET kind = 'assign'",
		"UPDATE intent SET nic = 'n'",
		"UPDATE intent SET token = 'n'",
		"UPDATE intent SET slot = 2",
		"UPDATE intent SET count = 2",
		"UPDATE intent SET want_count = 2",
		"UPDATE intent SET want_len = 32",
		"UPDATE intent SET want6_count = 2",
		"UPDATE intent SET want6_len = 128",
		"UPDATE fact SET key = 'k' WHERE key = 'key'",
		"UPDATE fact SET value = 'v' WHERE key = 'key'",
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(changes); i++) {
		struct store_aside aside;
		char path[PATH_MAX];

		make_one_of_each(path);
		sql(path, changes[i]);
		aside = put_aside(path);
		if (aside.why != STORE_ASIDE_DAMAGED || !strstr(aside.cause, "column sum"))
			fail_msg("%s: %s", changes[i], aside.cause);
	}
}

/* A row whose sum is right and that no store of this version can have put. */
static void test_store_open__a_row_that_is_none(void **state)
{
	static const struct {
		const char *change, *sum, *column;
	} cases[] = {
		{ "UPDATE lease SET addr = x'0a0000'", "UPDATE lease SET sum = " LEASE_SUM, "addr" },
		{ "UPDATE lease SET addr6 = x'0a000001'", "UPDATE lease SET sum = " LEASE_SUM, "addr6" },
		{ "UPDATE lease SET state = 'free'", "UPDATE lease SET sum = " LEASE_SUM, "state" },
		{ "UPDATE lease SET container = printf('%.*c', 128, 'x')", "UPDATE lease SET sum = " LEASE_SUM,
		  "container" },
		{ "UPDATE lease SET egress = x'0a00'", "UPDATE lease SET sum = " LEASE_SUM, "egress" },
		{ "UPDATE lease SET runtime = '{\"ports\":[\"tcp\"]}'", "UPDATE lease SET sum = " LEASE_SUM,
		  "runtime" },
		{ "UPDATE cooldown SET addr = x'0a' WHERE length(addr) = 4",
		  "UPDATE cooldown SET sum = row_sum(addr, until_us)", "addr" },
		{ "UPDATE intent SET slot = -1", "UPDATE intent SET sum = " INTENT_SUM, "slot" },
		{ "UPDATE intent SET want6_len = 256", "UPDATE intent SET sum = " INTENT_SUM, "want6_len" },
		{ "UPDATE fact SET value = printf('%.*c', 4096, 'x') WHERE key = 'key'",
		  "UPDATE fact SET sum = row_sum(key, value)", "value" },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		char path[PATH_MAX], column[64];
		struct store_aside aside;

		make_one_of_each(path);
		sql(path, cases[i].change);
		sql(path, cases[i].sum);
		aside = put_aside(path);
		(void)snprintf(column, sizeof(column), "column %s ", cases[i].column);
		if (aside.why != STORE_ASIDE_DAMAGED || !strstr(aside.cause, column))
			fail_msg("%s: %s", cases[i].change, aside.cause);
	}
	/* And the sums are what this file says they are, or nothing above was of any worth. */
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		char path[PATH_MAX];

		make_one_of_each(path);
		sql(path, cases[i].sum);
		store_close(open_store(path));
	}
}

/* ---- bytes ---- */

/* A good file of some size, to be spoilt. */
static char *make_file(char path[static PATH_MAX], size_t *ret_size)
{
	char *bytes = NULL;

	new_path(path);
	make_store_with(path, 400);
	assert_int_equal(fs_read(path, FILE_MAX, &bytes, ret_size), 0);
	assert_true(*ret_size > (size_t)20 * PAGE_SIZE);
	return bytes;
}

static void test_store_open__a_damaged_page(void **state)
{
	char path[PATH_MAX];
	size_t size;
	_cleanup_free_ char *bytes = make_file(path, &size);

	(void)state;
	memset(bytes + (size_t)8 * PAGE_SIZE, 0x5a, (size_t)4 * PAGE_SIZE);
	write_file(path, bytes, size);
	assert_set_aside(path);
}

/* Byte 18 is the version of the format that a writer must know: what is larger than 2 SQLite opens to be read only. */
static void test_store_open__a_format_that_is_only_read(void **state)
{
	char path[PATH_MAX];
	size_t size;
	_cleanup_free_ char *bytes = make_file(path, &size);

	(void)state;
	bytes[18] = 3;
	write_file(path, bytes, size);
	assert_set_aside(path);
}

static void test_store_open__a_cut_file(void **state)
{
	char path[PATH_MAX];
	size_t size;
	_cleanup_free_ char *bytes = make_file(path, &size);

	(void)state;
	write_file(path, bytes, size / 2);
	assert_set_aside(path);
}

static void test_store_open__the_log_of_a_bad_file_goes_with_it(void **state)
{
	struct store *store = NULL;
	struct store_aside aside;
	char path[PATH_MAX], wal[PATH_MAX + 8], text[2 * PAGE_SIZE], aside_wal[300];

	(void)state;
	new_path(path);
	memset(text, 'x', sizeof(text));
	write_file(path, text, sizeof(text));
	(void)snprintf(wal, sizeof(wal), "%s-wal", path);
	write_file(wal, text, 100);
	assert_int_equal(store_open(path, BOOT, &store, &aside, NULL), 0);
	(void)snprintf(aside_wal, sizeof(aside_wal), "%s-wal", aside.path);
	assert_true(fs_exists(aside_wal));
	assert_int_equal(contents_of(store).lease_count, 0);
	store_close(store);
}

/* ---- bytes, by dice ---- */

#define MIX_LEASES    30U
#define MIX_COOLDOWNS 10U

static uint64_t dice(uint64_t *seed)
{
	/* xorshift64*: Vigna, An experimental exploration of Marsaglia's xorshift generators. */
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * UINT64_C(0x2545f4914f6cdd1d);
}

static struct lease mixed_lease(unsigned i)
{
	struct lease lease = i % 2 ? dual_lease_of(i) : lease_of(i);

	lease.state = i % 3 ? LEASE_BOUND : LEASE_RESERVED;
	return lease;
}

static const struct intent mixed_intents[] = {
	{ .kind = "attach", .token = "0123456789abcdef", .slot = 3, .wants = { { 9, 28 }, { 1, 80 } } },
	{ .kind = "release", .nic = "nic-1", .slot = 1, .count = 7 },
};

/* Every table with rows; some leases were there and went, so that there are free pages and cells. */
static void put_mixed(struct store *store)
{
	struct lease lease;

	for (unsigned i = 0; i < MIX_LEASES + MIX_COOLDOWNS; i++) {
		lease = mixed_lease(i);
		assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	}
	for (unsigned i = MIX_LEASES; i < MIX_LEASES + MIX_COOLDOWNS; i++) {
		lease = lease_of(i);
		assert_int_equal(store_lease_release(store, &lease.key, lease.addrs, 100 + i, NULL), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(mixed_intents); i++) {
		struct intent intent = mixed_intents[i];

		assert_int_equal(store_intent_put(store, &intent, NULL), 0);
	}
	assert_int_equal(store_fact_put(store, "limits", "{\"m5.large\":[3,10]}", NULL), 0);
}

/* Counts rows that were put; any other fails the test. */
static int know_lease(const struct lease *lease, void *arg)
{
	for (unsigned i = 0; i < MIX_LEASES + MIX_COOLDOWNS; i++) {
		const struct lease put = mixed_lease(i);

		if (same_lease(lease, &put)) {
			(*(unsigned *)arg)++;
			return 0;
		}
	}
	fail_msg("a lease that was never put: %s %s", lease->key.container, lease->pod.name);
	return -1;
}

static int know_cooldown(const struct ipaddr *addr, int64_t until_us, void *arg)
{
	for (unsigned i = MIX_LEASES; i < MIX_LEASES + MIX_COOLDOWNS; i++) {
		const struct lease put = lease_of(i);

		if (ipaddr_equal(addr, &put.addrs[0]) && until_us == 100 + i) {
			(*(unsigned *)arg)++;
			return 0;
		}
	}
	fail_msg("a cooldown that was never put, until %" PRId64, until_us);
	return -1;
}

static int know_intent(const struct intent *intent, void *arg)
{
	for (unsigned i = 0; i < ARRAY_SIZE(mixed_intents); i++) {
		if (same_intent(intent, &mixed_intents[i])) {
			(*(unsigned *)arg)++;
			return 0;
		}
	}
	fail_msg("an intent that was never put: %s %s", intent->kind, intent->nic);
	return -1;
}

struct counts {
	unsigned leases, cooldowns, intents, facts;
};

static struct counts know_all(struct store *store)
{
	char value[STORE_FACT_VALUE_SIZE];
	struct counts counts = { 0 };
	struct err err = { 0 };

	if (store_leases(store, know_lease, &counts.leases, &err) != 0 ||
	    store_cooldowns(store, know_cooldown, &counts.cooldowns, &err) != 0 ||
	    store_intents(store, know_intent, &counts.intents, &err) != 0)
		fail_msg("%s", err.msg);
	if (store_fact_get(store, "limits", value, NULL) == 0) {
		assert_string_equal(value, "{\"m5.large\":[3,10]}");
		counts.facts++;
	}
	return counts;
}

/* There may not be more than so many in one second. */
static void forget(const struct store_aside *aside)
{
	char wal[sizeof(aside->path) + 8];

	(void)snprintf(wal, sizeof(wal), "%s-wal", aside->path);
	assert_int_equal(fs_unlink(wal), 0);
	assert_int_equal(fs_unlink(aside->path), 0);
}

/* Opens a file with some bad bytes. Return: is it believed? Then all of it is right, and a row can be put. */
static bool believed(const char *path, uint64_t seed)
{
	const struct lease lease = lease_of(MIX_LEASES);
	struct store *store = NULL;
	struct store_aside aside;
	struct counts have;
	struct err err = { 0 };

	if (store_open(path, BOOT, &store, &aside, &err) < 0)
		fail_msg("seed %" PRIu64 ": %s", seed, err.msg);
	have = know_all(store);
	if (aside.why != STORE_KEPT) {
		assert_int_equal(have.leases + have.cooldowns + have.intents + have.facts, 0);
		forget(&aside);
	} else if (have.leases != MIX_LEASES || have.cooldowns != MIX_COOLDOWNS ||
		   have.intents != ARRAY_SIZE(mixed_intents) || have.facts != 1) {
		fail_msg("seed %" PRIu64 ": rows are missing", seed);
	}
	if (store_lease_put(store, &lease, &err) < 0)
		fail_msg("seed %" PRIu64 ": %s", seed, err.msg);
	store_close(store);
	return aside.why == STORE_KEPT;
}

/* Any byte may be bad. Half of the seeds spoil the first page, in which every byte has a meaning. */
static void test_store_open__bytes_flipped(void **state)
{
	_cleanup_free_ char *good = NULL, *bad = NULL;
	char path[PATH_MAX];
	struct store *store;
	unsigned kept = 0;
	size_t size;

	(void)state;
	new_path(path);
	store = open_store(path);
	put_mixed(store);
	store_close(store);
	assert_int_equal(fs_read(path, FILE_MAX, &good, &size), 0);
	bad = malloc(size);
	assert_non_null(bad);
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15);
		uint64_t flips = 1 + dice(&random) % 4;

		memcpy(bad, good, size);
		for (uint64_t i = 0; i < flips; i++) {
			size_t range = seed % 4 == 0 ? 100 : seed % 4 == 1 ? PAGE_SIZE : size;

			bad[dice(&random) % range] ^= (char)(1 + dice(&random) % 255);
		}
		write_file(path, bad, size);
		kept += believed(path, seed);
	}
	/* Both happen: bytes of free space do not matter. */
	assert_true(kept > SEEDS / 20 && kept < SEEDS / 2);
}

/* SQLite takes a log whose end is bad for one that was being written: what is before it counts, and is right. */
static void test_store_open__bytes_of_the_log_flipped(void **state)
{
	char path[PATH_MAX], wal[PATH_MAX + 8], copy[PATH_MAX], copy_wal[PATH_MAX + 8];
	_cleanup_free_ char *file = NULL, *log = NULL;
	struct store *store;
	size_t size, log_size;
	unsigned less = 0;

	(void)state;
	new_path(path);
	(void)snprintf(wal, sizeof(wal), "%s-wal", path);
	store = open_store(path);
	put_mixed(store);
	assert_int_equal(fs_read(path, FILE_MAX, &file, &size), 0);
	assert_int_equal(fs_read(wal, FILE_MAX, &log, &log_size), 0);
	store_close(store);
	assert_true(log_size > (size_t)10 * PAGE_SIZE);
	new_path(copy);
	(void)snprintf(copy_wal, sizeof(copy_wal), "%s-wal", copy);
	for (uint64_t seed = 1; seed <= SEEDS / 5; seed++) {
		uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15);
		size_t at = dice(&random) % log_size;
		struct store_aside aside;

		write_file(copy, file, size);
		log[at] ^= 1;
		write_file(copy_wal, log, log_size);
		log[at] ^= 1;
		assert_int_equal(store_open(copy, BOOT, &store, &aside, NULL), 0);
		less += know_all(store).leases < MIX_LEASES;
		store_close(store);
	}
	assert_true(less > 0);
}

/* Cut anywhere; a last page that was free is not missed. */
static void test_store_open__truncated(void **state)
{
	_cleanup_free_ char *good = NULL;
	char path[PATH_MAX];
	struct store *store;
	unsigned kept = 0;
	size_t size;

	(void)state;
	new_path(path);
	store = open_store(path);
	put_mixed(store);
	store_close(store);
	assert_int_equal(fs_read(path, FILE_MAX, &good, &size), 0);
	for (uint64_t seed = 1; seed <= SEEDS / 5; seed++) {
		uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15);
		size_t cut = 1 + dice(&random) % (seed % 2 ? size - 1 : 2 * PAGE_SIZE);

		write_file(path, good, cut);
		if (believed(path, seed)) {
			assert_true(cut > size - PAGE_SIZE);
			kept++;
		}
	}
	assert_true(kept < SEEDS / 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_store_open__not_a_database),
		check_unit_test(test_store_open__an_empty_file_is_a_new_one),
		check_unit_test(test_store_open__somebody_elses_database),
		check_unit_test(test_store_open__other_tables),
		check_unit_test(test_store_open__a_row_that_was_changed__azure_2),
		check_unit_test(test_store_open__a_row_that_is_none),
		check_unit_test(test_store_open__a_damaged_page),
		check_unit_test(test_store_open__a_format_that_is_only_read),
		check_unit_test(test_store_open__a_cut_file),
		check_unit_test(test_store_open__the_log_of_a_bad_file_goes_with_it),
		check_unit_test(test_store_open__bytes_flipped),
		check_unit_test(test_store_open__bytes_of_the_log_flipped),
		check_unit_test(test_store_open__truncated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
