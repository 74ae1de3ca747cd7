/* SPDX-License-Identifier: Apache-2.0 */
/* A store's file: made, checked, opened, set aside. */
#include "ipamd/store_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "berth/check.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"

#define SCHEMA_VERSION  1
#define BUSY_MS         50  /* the loop thread waits here; only a person with sqlite3 writes beside us */
#define SET_ASIDE_TRIES 100 /* names that are tried: one second apart, so more means that something loops */

/* Cache 512 KiB instead of 2 MB (the tables of 1,000 pods are 400 KiB); checkpoint at 256 pages so that the log, which
 * lives on tmpfs, stays near 1 MiB. */
static const char pragmas[] = "PRAGMA journal_mode = WAL;"
			      "PRAGMA synchronous = NORMAL;"
			      "PRAGMA cache_size = -512;"
			      "PRAGMA wal_autocheckpoint = 256;"
			      "PRAGMA trusted_schema = OFF;";

/* Version 1. Another version gets another text and a step from this one; a text is never edited once released. */
static const char schema[] = "BEGIN IMMEDIATE;"
			     "CREATE TABLE lease ("
			     " network TEXT NOT NULL, container TEXT NOT NULL, ifname TEXT NOT NULL,"
			     " addr TEXT NOT NULL UNIQUE, state TEXT NOT NULL, since_us INTEGER NOT NULL,"
			     " pod_namespace TEXT NOT NULL, pod_name TEXT NOT NULL, pod_uid TEXT NOT NULL,"
			     " netns TEXT NOT NULL,"
			     " PRIMARY KEY (container, ifname, network)) WITHOUT ROWID;"
			     "CREATE TABLE cooldown ("
			     " addr TEXT NOT NULL PRIMARY KEY, until_us INTEGER NOT NULL) WITHOUT ROWID;"
			     "CREATE TABLE intent ("
			     " id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, nic TEXT NOT NULL,"
			     " token TEXT NOT NULL, slot INTEGER NOT NULL, count INTEGER NOT NULL);"
			     "PRAGMA user_version = 1;"
			     "COMMIT;";

static void close_db(struct store *store)
{
	for (unsigned i = 0; i < ST_COUNT; i++) {
		(void)sqlite3_finalize(store->prepared[i]);
		store->prepared[i] = NULL;
	}
	if (store->db)
		CHECK(sqlite3_close(store->db) == SQLITE_OK);
	store->db = NULL;
}

/* A file of ours or an empty one? Changes nothing, so that what is put aside is what was found. */
static int check(struct store *store, bool *ret_empty, struct err *err)
{
	uint64_t version, tables;
	char verdict[128] = "";

	if (store_query_number(store, "PRAGMA user_version", &version, err) < 0 ||
	    store_query_number(store, "SELECT count(*) FROM sqlite_schema", &tables, err) < 0)
		return -1;
	*ret_empty = version == 0 && tables == 0;
	if (*ret_empty)
		return 0;
	if (version != SCHEMA_VERSION)
		return err_set(err, ERR_PROTOCOL, STORE_DOMAIN, "schema version %" PRIu64 ", expected %d", version,
			       SCHEMA_VERSION);
	if (store_query(store, "PRAGMA integrity_check(1)", verdict, sizeof(verdict), err) < 0)
		return -1;
	if (!str_equal(verdict, "ok"))
		return err_set(err, ERR_PROTOCOL, STORE_DOMAIN, "integrity check: %s", verdict);
	return 0;
}

static int open_db(struct store *store, const char *path, struct err *err)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
		    SQLITE_OPEN_EXRESCODE;
	int code = sqlite3_open_v2(path, &store->db, flags, NULL);
	bool empty;

	if (code != SQLITE_OK)
		return store_fail(store->db, code, err, "open");
	(void)sqlite3_busy_timeout(store->db, BUSY_MS);
	/* A close would else fold the log of a file that is none of ours into it and delete it. */
	(void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	/* SQLite opens a file that it may not write as a read-only one and says so only here. */
	if (sqlite3_db_readonly(store->db, "main") == 1)
		return err_set(err, ERR_INVALID, STORE_DOMAIN, "the file or its directory is read-only");
	if (check(store, &empty, err) < 0 || store_exec(store, pragmas, err, "pragmas") < 0 ||
	    (empty && store_exec(store, schema, err, "make tables") < 0) || store_prepare(store, err) < 0)
		return -1;
	(void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	return 0;
}

static int move(const char *path, const char *suffix, const char *aside, struct err *err)
{
	char from[PATH_MAX], to[PATH_MAX];
	int from_len = snprintf(from, sizeof(from), "%s%s", path, suffix);
	int to_len = snprintf(to, sizeof(to), "%s%s", aside, suffix);

	if (from_len < 0 || (size_t)from_len >= sizeof(from) || to_len < 0 || (size_t)to_len >= sizeof(to))
		return err_set(err, ERR_INVALID, STORE_DOMAIN, "path too long");
	if (rename(from, to) < 0 && errno != ENOENT)
		return err_set_errno(err, errno == ENOSPC ? ERR_EXHAUSTED : ERR_INVALID, STORE_DOMAIN, errno,
				     "rename %s", from);
	return 0;
}

/* The log moves first: a crash in between then leaves a damaged file that is set aside at the next start, never a log
 * of another file beside a fresh one. */
static int set_aside(const char *path, char *aside, size_t size, struct err *err)
{
	int64_t seconds = clock_now(&clock_wall) / USEC_PER_SEC;

	for (int try = 0; try < SET_ASIDE_TRIES; try++) {
		int len = snprintf(aside, size, "%s.bad-%" PRId64, path, seconds + try);

		if (len < 0 || (size_t)len >= size)
			return err_set(err, ERR_INVALID, STORE_DOMAIN, "path too long");
		if (fs_exists(aside))
			continue;
		if (move(path, "-wal", aside, err) < 0 || move(path, "-shm", aside, err) < 0)
			return -1;
		return move(path, "", aside, err);
	}
	return err_set(err, ERR_INVALID, STORE_DOMAIN, "%s: too many files set aside", path);
}

int store_open(const char *path, struct store **ret, char ret_set_aside[static 256], struct err *err)
{
	struct err first = { 0 };
	char aside[PATH_MAX];
	struct store *store = calloc(1, sizeof(*store));

	ret_set_aside[0] = '\0';
	if (!store)
		return err_set(err, ERR_RETRY, STORE_DOMAIN, "no memory");
	if (open_db(store, path, &first) == 0) {
		*ret = store;
		return 0;
	}
	close_db(store);
	if (first.class != ERR_PROTOCOL) {
		if (err)
			*err = first;
		goto failed;
	}
	if (set_aside(path, aside, sizeof(aside), err) < 0)
		goto failed;
	(void)str_copy(ret_set_aside, 256, aside);
	if (open_db(store, path, err) == 0) {
		*ret = store;
		return 0;
	}
	close_db(store);
failed:
	free(store);
	return err_wrap(err, "%s", path);
}

void store_close(struct store *store)
{
	if (!store)
		return;
	close_db(store);
	free(store);
}
