/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: versions of the store's tables
 *
 * steps[N] takes a file from version N - 1 to version N, and an empty file is one of version 0: a new file goes through
 * all of them. So there is one text per version, and a file that was migrated has the same tables as a new one to the
 * letter, which schema_check() insists on. Once released, a text is never edited: files of it are out there.
 *
 * All steps that a file needs run inside one transaction, their number (PRAGMA user_version) with them: whoever dies in
 * between leaves the old version, with all its rows. There is no way back: to a program that is older than the file, the
 * file is unknown.
 *
 * Since version 2 every row carries a sum over its other columns (row_sum() of store_sql.c, whose values are part of the
 * format). SQLite finds damage to the shape of its tree, not to what the rows say: an end of a cooldown in the year 3000
 * or another pod's name would be believed. Addresses are their 4 or 16 bytes: 2 of 17 µs a put faster than text.
 */
#include "ipamd/store_impl.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>

#include "berth/attr.h"
#include "berth/check.h"
#include "berth/err.h"
#include "berth/str.h"

static const char *const steps[] = {
	[1] = "CREATE TABLE lease ("
	      " network TEXT NOT NULL, container TEXT NOT NULL, ifname TEXT NOT NULL,"
	      " addr TEXT NOT NULL UNIQUE, state TEXT NOT NULL, since_us INTEGER NOT NULL,"
	      " pod_namespace TEXT NOT NULL, pod_name TEXT NOT NULL, pod_uid TEXT NOT NULL,"
	      " netns TEXT NOT NULL,"
	      " PRIMARY KEY (container, ifname, network)) WITHOUT ROWID;"
	      "CREATE TABLE cooldown ("
	      " addr TEXT NOT NULL PRIMARY KEY, until_us INTEGER NOT NULL) WITHOUT ROWID;"
	      "CREATE TABLE intent ("
	      " id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, nic TEXT NOT NULL,"
	      " token TEXT NOT NULL, slot INTEGER NOT NULL, count INTEGER NOT NULL);",

	/* An address per family, and partial indexes so that a family that a lease lacks costs nothing. What version 1
	 * counted for an assign or attach were units of IPv4 of a length that it did not note: 0. IDs of intents go on where
	 * they were. */
	[2] = "ALTER TABLE lease RENAME TO lease_1;"
	      "CREATE TABLE lease ("
	      " network TEXT NOT NULL, container TEXT NOT NULL, ifname TEXT NOT NULL,"
	      " addr BLOB, addr6 BLOB, state TEXT NOT NULL, since_us INTEGER NOT NULL,"
	      " pod_namespace TEXT NOT NULL, pod_name TEXT NOT NULL, pod_uid TEXT NOT NULL,"
	      " netns TEXT NOT NULL, sum INTEGER NOT NULL,"
	      " PRIMARY KEY (container, ifname, network),"
	      " CHECK (addr IS NOT NULL OR addr6 IS NOT NULL)) WITHOUT ROWID;"
	      "CREATE UNIQUE INDEX lease_addr ON lease (addr) WHERE addr IS NOT NULL;"
	      "CREATE UNIQUE INDEX lease_addr6 ON lease (addr6) WHERE addr6 IS NOT NULL;"
	      "INSERT INTO lease SELECT network, container, ifname,"
	      " iif(instr(addr, ':'), NULL, addr_bytes(addr)), iif(instr(addr, ':'), addr_bytes(addr), NULL),"
	      " state, since_us, pod_namespace, pod_name, pod_uid, netns, 0 FROM lease_1;"
	      "UPDATE lease SET sum = row_sum(container, ifname, network, addr, addr6, state, since_us,"
	      " pod_namespace, pod_name, pod_uid, netns);"
	      "DROP TABLE lease_1;"

	      "ALTER TABLE cooldown RENAME TO cooldown_1;"
	      "CREATE TABLE cooldown ("
	      " addr BLOB NOT NULL PRIMARY KEY, until_us INTEGER NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;"
	      "INSERT INTO cooldown SELECT addr_bytes(addr), until_us, row_sum(addr_bytes(addr), until_us)"
	      " FROM cooldown_1;"
	      "DROP TABLE cooldown_1;"

	      "ALTER TABLE intent RENAME TO intent_1;"
	      "CREATE TABLE intent ("
	      " id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, nic TEXT NOT NULL, token TEXT NOT NULL,"
	      " slot INTEGER NOT NULL, count INTEGER NOT NULL, want_count INTEGER NOT NULL,"
	      " want_len INTEGER NOT NULL, want6_count INTEGER NOT NULL, want6_len INTEGER NOT NULL,"
	      " sum INTEGER NOT NULL);"
	      "INSERT INTO intent SELECT id, kind, nic, token, slot,"
	      " iif(kind IN ('assign', 'attach'), 0, count), iif(kind IN ('assign', 'attach'), count, 0), 0, 0, 0, 0"
	      " FROM intent_1;"
	      "UPDATE intent SET sum = row_sum(kind, nic, token, slot, count, want_count, want_len, want6_count,"
	      " want6_len);"
	      "DELETE FROM sqlite_sequence WHERE name = 'intent';"
	      "UPDATE sqlite_sequence SET name = 'intent' WHERE name = 'intent_1';"
	      "DROP TABLE intent_1;"

	      "CREATE TABLE fact ("
	      " key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;",

	/* Leases of version 2 have the host end that their key names, and are wired by us. */
	[3] = "ALTER TABLE lease ADD COLUMN host_ifname TEXT NOT NULL DEFAULT '';"
	      "ALTER TABLE lease ADD COLUMN delegated INTEGER NOT NULL DEFAULT 0;"
	      "UPDATE lease SET sum = row_sum(container, ifname, network, addr, addr6, state, since_us,"
	      " pod_namespace, pod_name, pod_uid, netns, host_ifname, delegated);",

	/* Nothing was asked for but addresses, and all of them were the cloud's. */
	[4] = "ALTER TABLE lease ADD COLUMN egress BLOB;"
	      "ALTER TABLE lease ADD COLUMN runtime TEXT NOT NULL DEFAULT '';"
	      "UPDATE lease SET sum = row_sum(container, ifname, network, addr, addr6, state, since_us,"
	      " pod_namespace, pod_name, pod_uid, netns, host_ifname, delegated, egress, runtime);",
};
static_assert(ARRAY_SIZE(steps) == STORE_VERSION + 1, "a text per version");

int schema_upgrade(struct store *store, unsigned from, unsigned to, struct err *err)
{
	char set_version[64];

	CHECK(to <= STORE_VERSION);
	for (unsigned version = from + 1; version <= to; version++) {
		int code = sqlite3_exec(store->db, steps[version], NULL, NULL, NULL);

		if ((code & 0xff) == SQLITE_CONSTRAINT)
			return err_set(err, ERR_PROTOCOL, STORE_DOMAIN,
				       "a row of version %u has no place in version %u: %s", version - 1, version,
				       sqlite3_errmsg(store->db));
		if (code != SQLITE_OK)
			return store_fail(store->db, code, err, "make tables");
	}
	(void)snprintf(set_version, sizeof(set_version), "PRAGMA user_version = %u", to);
	return store_exec(store, set_version, err, set_version);
}

/* What a file's tables are, as one text; of SQLite's own ones those that ANALYZE makes say nothing about ours. */
static int tables_of(struct store *store, char **ret, struct err *err)
{
	return store_query_dup(
		store,
		"SELECT group_concat(type || ' ' || name || ' ' || tbl_name || ' ' || ifnull(sql, ''), ';')"
		" FROM (SELECT * FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%' ORDER BY name)",
		ret, err);
}

/* The same of a file that has just been made. */
static int tables_of_version(unsigned version, char **ret, struct err *err)
{
	struct store fresh = { 0 };
	int rc = store_open_db(&fresh, ":memory:", err);

	if (rc == 0)
		rc = schema_upgrade(&fresh, 0, version, err);
	if (rc == 0)
		rc = tables_of(&fresh, ret, err);
	store_close_db(&fresh);
	return rc;
}

int schema_check(struct store *store, unsigned version, struct err *err)
{
	_cleanup_free_ char *have = NULL, *want = NULL;

	if (tables_of_version(version, &want, err) < 0 || tables_of(store, &have, err) < 0)
		return -1;
	if (!str_equal(have, want))
		return err_set(err, ERR_PROTOCOL, STORE_DOMAIN, "its tables are not those of version %u", version);
	return 0;
}
