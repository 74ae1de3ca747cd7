/* SPDX-License-Identifier: Apache-2.0 */
/* A store's file: made, checked, migrated, opened, set aside. */
#include "ipamd/store_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"

#define BUSY_MS         50  /* the loop thread waits here at open; afterwards the file is ours alone */
#define SET_ASIDE_TRIES 100 /* names that are tried: one second apart, so more means that something loops */

/*
 * EXCLUSIVE, before anything is read: nobody else has the file while we do, so that no lock is taken per commit (4 of 14
 * µs), the index of the log is in our heap instead of a mapped file of 32 KiB, and the loop thread never waits for
 * somebody with sqlite3. A copy of the file and its -wal can be looked at.
 */
static const char lock[] = "PRAGMA locking_mode = EXCLUSIVE;";

/*
 * Synchronous OFF: what has been written survives our death by the kernel's cache; what a crash of the kernel leaves is of
 * another boot and not believed, torn or not. On a run directory that is no tmpfs, a sync would stall the loop.
 * Pages of 2 KiB: half as much of each goes into the log and its checksums; a row of usual length (300 bytes) stays
 * below the 489 at which it spills. A file of version 1 keeps its 4 KiB.
 * Cache 512 KiB instead of 2 MB (the tables of 1,000 pods are 400 KiB); checkpoint at 512 pages so that the log, which
 * lives on tmpfs, stays near 1 MiB.
 */
static const char pragmas[] = "PRAGMA page_size = 2048;"
			      "PRAGMA synchronous = OFF;" /* before WAL, which else begins with a sync */
			      "PRAGMA journal_mode = WAL;"
			      "PRAGMA cache_size = -512;"
			      "PRAGMA wal_autocheckpoint = 512;"
			      "PRAGMA trusted_schema = OFF;";

/* ---- what is in the file ---- */

/* A file that may not be written is opened as a read-only one, and so is one that says of itself that it may not. */
static bool is_read_only(const struct store *store)
{
	return sqlite3_db_readonly(store->db, "main") == 1;
}

static int check_whole(struct store *store, struct err *err)
{
	_cleanup_free_ char *verdict = NULL;

	if (store_query_dup(store, "PRAGMA integrity_check(1)", &verdict, err) < 0)
		return -1;
	if (!str_equal(verdict, "ok"))
		return err_set(err, ERR_PROTOCOL, STORE_DOMAIN, "integrity check: %s", verdict);
	return 0;
}

/* Which version is it, 0 for an empty file, and is it whole? Changes nothing: what is put aside is what was found. */
static int look(struct store *store, unsigned *ret_version, enum store_aside_why *ret_why, struct err *err)
{
	uint64_t version, tables;

	if (store_query_number(store, "PRAGMA user_version", &version, err) < 0 ||
	    store_query_number(store, "SELECT count(*) FROM sqlite_schema", &tables, err) < 0)
		return -1;
	*ret_version = (unsigned)version;
	if (version == 0 && tables == 0)
		return 0;
	if (version == 0 || version > STORE_VERSION) {
		*ret_why = STORE_ASIDE_UNKNOWN;
		return err_set(err, ERR_PROTOCOL, STORE_DOMAIN, "schema version %" PRIu64 ", known are 1 to %d",
			       version, STORE_VERSION);
	}
	if (check_whole(store, err) < 0)
		return -1;
	if (is_read_only(store))
		return err_set(err, ERR_PROTOCOL, STORE_DOMAIN, "of a file format that SQLite only reads");
	return schema_check(store, *ret_version, err);
}

/* Version 1 knew no boot: it is believed to be of this one, as it always was. */
static int upgrade_and_verify(struct store *store, unsigned from, const char *boot_id, struct err *err)
{
	if (schema_upgrade(store, from, STORE_VERSION, err) < 0 || store_prepare(store, err) < 0 ||
	    store_fact_put(store, STORE_BOOT_ID, boot_id, err) < 0)
		return -1;
	return store_verify(store, err);
}

static int migrate(struct store *store, unsigned from, const char *boot_id, struct err *err)
{
	if (store_exec(store, "BEGIN IMMEDIATE", err, "begin") < 0)
		return -1;
	if (upgrade_and_verify(store, from, boot_id, err) == 0 && store_exec(store, "COMMIT", err, "commit") == 0)
		return 0;
	/* Some failures end the transaction by themselves. */
	if (!sqlite3_get_autocommit(store->db))
		(void)store_exec(store, "ROLLBACK", NULL, "roll back");
	return -1;
}

static int check_boot(struct store *store, const char *boot_id, enum store_aside_why *ret_why, struct err *err)
{
	char noted[STORE_FACT_VALUE_SIZE] = "none";
	struct err why;

	if (store_fact_get(store, STORE_BOOT_ID, noted, &why) < 0 && why.class != ERR_NOTFOUND) {
		if (err)
			*err = why;
		return -1;
	}
	if (str_equal(noted, boot_id))
		return 0;
	*ret_why = STORE_ASIDE_BOOT;
	return err_set(err, ERR_PROTOCOL, STORE_DOMAIN, "of boot %.40s, this is %s", noted, boot_id);
}

static int open_file(struct store *store, const char *path, const char *boot_id, enum store_aside_why *ret_why,
		     struct err *err)
{
	unsigned version;

	if (store_open_db(store, path, err) < 0)
		return -1;
	(void)sqlite3_busy_timeout(store->db, BUSY_MS);
	/* A close would else fold the log of a file that is none of ours into it and delete it. */
	(void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (is_read_only(store))
		return err_set(err, ERR_INVALID, STORE_DOMAIN, "the file or its directory is read-only");
	if (store_exec(store, lock, err, "lock") < 0 || look(store, &version, ret_why, err) < 0 ||
	    store_exec(store, pragmas, err, "pragmas") < 0)
		return -1;
	if (version < STORE_VERSION) {
		if (migrate(store, version, boot_id, err) < 0)
			return -1;
	} else if (store_prepare(store, err) < 0 || store_verify(store, err) < 0 ||
		   check_boot(store, boot_id, ret_why, err) < 0) {
		return -1;
	}
	(void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	return 0;
}

/* ---- setting aside ---- */

static int join(char ret[static PATH_MAX], const char *path, const char *suffix, struct err *err)
{
	int len = snprintf(ret, PATH_MAX, "%s%s", path, suffix);

	if (len < 0 || len >= PATH_MAX)
		return err_set(err, ERR_INVALID, STORE_DOMAIN, "path too long");
	return 0;
}

static int move(const char *path, const char *suffix, const char *aside, struct err *err)
{
	char from[PATH_MAX], to[PATH_MAX];

	if (join(from, path, suffix, err) < 0 || join(to, aside, suffix, err) < 0)
		return -1;
	if (rename(from, to) < 0 && errno != ENOENT)
		return err_set_errno(err, errno == ENOSPC ? ERR_EXHAUSTED : ERR_INVALID, STORE_DOMAIN, errno,
				     "rename %s", from);
	return 0;
}

/* The log moves first: a crash in between then leaves a damaged file that is set aside at the next start, never a log
 * of another file beside a fresh one. */
static int move_all(const char *path, const char *aside, struct err *err)
{
	if (move(path, "-wal", aside, err) < 0 || move(path, "-shm", aside, err) < 0)
		return -1;
	return move(path, "", aside, err);
}

/* Under a name that no file or log was set aside as. */
static int find_name(const char *path, char ret[static PATH_MAX], struct err *err)
{
	int64_t seconds = clock_now(&clock_wall) / USEC_PER_SEC;
	char suffix[32], log[PATH_MAX];

	for (int try = 0; try < SET_ASIDE_TRIES; try++) {
		(void)snprintf(suffix, sizeof(suffix), ".bad-%" PRId64, seconds + try);
		if (join(ret, path, suffix, err) < 0 || join(log, ret, "-wal", err) < 0)
			return -1;
		if (!fs_exists(ret) && !fs_exists(log))
			return 0;
	}
	return err_set(err, ERR_INVALID, STORE_DOMAIN, "too many files set aside");
}

/* One such file is enough to look at afterwards; the one of the boot before that goes. Its log first of all: SQLite would
 * take it for that of any file beside it. */
static int replace_name(const char *path, char ret[static PATH_MAX], struct err *err)
{
	static const char *const suffixes[] = { "-wal", "-shm", "" };
	char old[PATH_MAX];

	if (join(ret, path, ".other-boot", err) < 0)
		return -1;
	for (unsigned i = 0; i < ARRAY_SIZE(suffixes); i++) {
		int rc = join(old, ret, suffixes[i], err);

		if (rc < 0)
			return -1;
		rc = fs_unlink(old);
		if (rc < 0)
			return err_set_errno(err, ERR_INVALID, STORE_DOMAIN, -rc, "remove %s", old);
	}
	return 0;
}

static int set_aside(const char *path, struct store_aside *aside, struct err *err)
{
	bool replace = aside->why == STORE_ASIDE_BOOT;
	char name[PATH_MAX];

	if ((replace ? replace_name(path, name, err) : find_name(path, name, err)) < 0 || move_all(path, name, err) < 0)
		return -1;
	(void)str_copy(aside->path, sizeof(aside->path), name);
	return 0;
}

/* Opens @path; puts what it finds there aside once if need be. */
static int open_or_replace(struct store *store, const char *path, const char *boot_id, struct store_aside *ret,
			   struct err *err)
{
	struct store_aside aside = { .why = STORE_ASIDE_DAMAGED };
	enum store_aside_why ignored;
	struct err first = { 0 };

	if (open_file(store, path, boot_id, &aside.why, &first) == 0)
		return 0;
	store_close_db(store);
	if (first.class != ERR_PROTOCOL) {
		if (err)
			*err = first;
		return -1;
	}
	(void)str_copy(aside.cause, sizeof(aside.cause), first.msg);
	if (set_aside(path, &aside, err) < 0)
		return -1;
	*ret = aside;
	if (open_file(store, path, boot_id, &ignored, err) == 0)
		return 0;
	store_close_db(store);
	return -1;
}

int store_open(const char *path, const char *boot_id, struct store **ret, struct store_aside *ret_aside,
	       struct err *err)
{
	struct store *store = calloc(1, sizeof(*store));

	*ret_aside = (struct store_aside){ .why = STORE_KEPT };
	if (!store)
		return err_set(err, ERR_RETRY, STORE_DOMAIN, "no memory");
	if (open_or_replace(store, path, boot_id, ret_aside, err) < 0) {
		free(store);
		return err_wrap(err, "%s", path);
	}
	*ret = store;
	return 0;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	store_close_db(store);
	free(store);
}
