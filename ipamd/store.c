/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/store.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "berth/check.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"

#define DOMAIN "store"

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

enum statement {
	ST_BEGIN,
	ST_COMMIT,
	ST_ROLLBACK,
	ST_LEASE_PUT,
	ST_LEASE_BIND,
	ST_LEASE_DEL,
	ST_COOLDOWN_PUT,
	ST_COOLDOWN_TRIM,
	ST_INTENT_PUT,
	ST_INTENT_DEL,
	ST_LEASES,
	ST_COOLDOWNS,
	ST_INTENTS,
	ST_COUNT
};

static const char *const statements[] = {
	[ST_BEGIN] = "BEGIN IMMEDIATE",
	[ST_COMMIT] = "COMMIT",
	[ST_ROLLBACK] = "ROLLBACK",
	[ST_LEASE_PUT] = "INSERT OR REPLACE INTO lease (container, ifname, network, addr, state, since_us,"
			 " pod_namespace, pod_name, pod_uid, netns)"
			 " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
	[ST_LEASE_BIND] = "UPDATE lease SET state = ?4, since_us = ?5"
			  " WHERE container = ?1 AND ifname = ?2 AND network = ?3",
	[ST_LEASE_DEL] = "DELETE FROM lease WHERE container = ?1 AND ifname = ?2 AND network = ?3",
	[ST_COOLDOWN_PUT] = "INSERT OR REPLACE INTO cooldown (addr, until_us) VALUES (?1, ?2)",
	[ST_COOLDOWN_TRIM] = "DELETE FROM cooldown WHERE until_us < ?1",
	[ST_INTENT_PUT] = "INSERT INTO intent (kind, nic, token, slot, count) VALUES (?1, ?2, ?3, ?4, ?5)",
	[ST_INTENT_DEL] = "DELETE FROM intent WHERE id = ?1",
	[ST_LEASES] =
		"SELECT container, ifname, network, addr, state, since_us, pod_namespace, pod_name, pod_uid, netns"
		" FROM lease",
	[ST_COOLDOWNS] = "SELECT addr, until_us FROM cooldown",
	[ST_INTENTS] = "SELECT id, kind, nic, token, slot, count FROM intent ORDER BY id",
};
static_assert(ARRAY_SIZE(statements) == ST_COUNT, "a text per statement");

struct store {
	sqlite3 *db;
	sqlite3_stmt *prepared[ST_COUNT];
};

/* ---- errors ---- */

static enum err_class class_of(int code, int errnum)
{
	/* The system's word first: a full disk also shows as "cannot open" and as a failed I/O of the WAL index. */
	if (errnum == ENOSPC || errnum == EDQUOT)
		return ERR_EXHAUSTED;
	switch (code & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_NOMEM:
	case SQLITE_IOERR:
	case SQLITE_INTERRUPT:
	case SQLITE_PROTOCOL: /* lost a race for the locks of the WAL index */
		return ERR_RETRY;
	case SQLITE_FULL:
		return ERR_EXHAUSTED;
	case SQLITE_READONLY:
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return ERR_INVALID;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_ERROR: /* a table or column that version 1 has is not there */
	case SQLITE_SCHEMA:
		return ERR_PROTOCOL;
	default: /* not our enum: what is left is a wrong call or a broken constraint */
		return ERR_BUG;
	}
}

static int fail(sqlite3 *db, int code, struct err *err, const char *doing)
{
	bool system = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN;
	int errnum = db && system ? sqlite3_system_errno(db) : 0;

	(void)err_set(err, class_of(code, errnum), DOMAIN, "%s: %s%s%s", doing, db ? sqlite3_errmsg(db) : "no memory",
		      errnum ? ": " : "", errnum ? errno_str(errnum) : "");
	if (err)
		err->code = code;
	return -1;
}

/* ---- one statement ---- */

static void bind_text(sqlite3_stmt *st, int at, const char *text)
{
	/* Static: every caller's text outlives the step, and the reset behind it drops the binding. */
	CHECK(sqlite3_bind_text(st, at, text, -1, SQLITE_STATIC) == SQLITE_OK);
}

static void bind_int(sqlite3_stmt *st, int at, int64_t value)
{
	CHECK(sqlite3_bind_int64(st, at, value) == SQLITE_OK);
}

static void bind_key(sqlite3_stmt *st, const struct lease_key *key)
{
	bind_text(st, 1, key->container);
	bind_text(st, 2, key->ifname);
	bind_text(st, 3, key->network);
}

static void finish(sqlite3_stmt *st)
{
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
}

/* Runs a bound statement that returns no rows. */
static int run(struct store *store, enum statement which, struct err *err, const char *doing)
{
	sqlite3_stmt *st = store->prepared[which];
	int code = sqlite3_step(st);
	int rc = code == SQLITE_DONE ? 0 : fail(store->db, code, err, doing);

	finish(st);
	return rc;
}

/* ---- opening ---- */

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

static int exec(struct store *store, const char *sql, struct err *err, const char *doing)
{
	int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);

	return code == SQLITE_OK ? 0 : fail(store->db, code, err, doing);
}

/* The first column of the first row of a query, as text of at most @size bytes. */
static int query(struct store *store, const char *sql, char *ret, size_t size, struct err *err)
{
	sqlite3_stmt *st = NULL;
	int code = sqlite3_prepare_v2(store->db, sql, -1, &st, NULL);
	const char *text;

	if (code == SQLITE_OK)
		code = sqlite3_step(st);
	text = code == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : NULL;
	if (text)
		(void)str_copy(ret, size, text);
	else
		(void)fail(store->db, code, err, sql);
	(void)sqlite3_finalize(st);
	return text ? 0 : -1;
}

static int query_number(struct store *store, const char *sql, uint64_t *ret, struct err *err)
{
	char text[32] = "";

	if (query(store, sql, text, sizeof(text), err) < 0)
		return -1;
	if (str_u64(text, 0, UINT64_MAX, ret) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "%s: \"%s\"", sql, text);
	return 0;
}

/* A file of ours or an empty one? Changes nothing, so that what is put aside is what was found. */
static int check(struct store *store, bool *ret_empty, struct err *err)
{
	uint64_t version, tables;
	char verdict[128] = "";

	if (query_number(store, "PRAGMA user_version", &version, err) < 0 ||
	    query_number(store, "SELECT count(*) FROM sqlite_schema", &tables, err) < 0)
		return -1;
	*ret_empty = version == 0 && tables == 0;
	if (*ret_empty)
		return 0;
	if (version != SCHEMA_VERSION)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "schema version %" PRIu64 ", expected %d", version,
			       SCHEMA_VERSION);
	if (query(store, "PRAGMA integrity_check(1)", verdict, sizeof(verdict), err) < 0)
		return -1;
	if (!str_equal(verdict, "ok"))
		return err_set(err, ERR_PROTOCOL, DOMAIN, "integrity check: %s", verdict);
	return 0;
}

static int prepare_all(struct store *store, struct err *err)
{
	for (unsigned i = 0; i < ST_COUNT; i++) {
		int code = sqlite3_prepare_v3(store->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
					      &store->prepared[i], NULL);

		if (code != SQLITE_OK)
			return fail(store->db, code, err, statements[i]);
	}
	return 0;
}

static int open_db(struct store *store, const char *path, struct err *err)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
		    SQLITE_OPEN_EXRESCODE;
	int code = sqlite3_open_v2(path, &store->db, flags, NULL);
	bool empty;

	if (code != SQLITE_OK)
		return fail(store->db, code, err, "open");
	(void)sqlite3_busy_timeout(store->db, BUSY_MS);
	/* A close would else fold the log of a file that is none of ours into it and delete it. */
	(void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	/* SQLite opens a file that it may not write as a read-only one and says so only here. */
	if (sqlite3_db_readonly(store->db, "main") == 1)
		return err_set(err, ERR_INVALID, DOMAIN, "the file or its directory is read-only");
	if (check(store, &empty, err) < 0 || exec(store, pragmas, err, "pragmas") < 0 ||
	    (empty && exec(store, schema, err, "make tables") < 0) || prepare_all(store, err) < 0)
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
		return err_set(err, ERR_INVALID, DOMAIN, "path too long");
	if (rename(from, to) < 0 && errno != ENOENT)
		return err_set_errno(err, errno == ENOSPC ? ERR_EXHAUSTED : ERR_INVALID, DOMAIN, errno, "rename %s",
				     from);
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
			return err_set(err, ERR_INVALID, DOMAIN, "path too long");
		if (fs_exists(aside))
			continue;
		if (move(path, "-wal", aside, err) < 0 || move(path, "-shm", aside, err) < 0)
			return -1;
		return move(path, "", aside, err);
	}
	return err_set(err, ERR_INVALID, DOMAIN, "%s: too many files set aside", path);
}

int store_open(const char *path, struct store **ret, char ret_set_aside[static 256], struct err *err)
{
	struct err first = { 0 };
	char aside[PATH_MAX];
	struct store *store = calloc(1, sizeof(*store));

	ret_set_aside[0] = '\0';
	if (!store)
		return err_set(err, ERR_RETRY, DOMAIN, "no memory");
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

/* ---- leases and cooldowns ---- */

int store_lease_put(struct store *store, const struct lease *lease, struct err *err)
{
	sqlite3_stmt *st = store->prepared[ST_LEASE_PUT];
	char addr[IPADDR_STRLEN];

	bind_key(st, &lease->key);
	bind_text(st, 4, ipaddr_str(&lease->addrs[0], addr));
	bind_text(st, 5, lease_state_name(lease->state));
	bind_int(st, 6, lease->since_us);
	bind_text(st, 7, lease->pod.namespace);
	bind_text(st, 8, lease->pod.name);
	bind_text(st, 9, lease->pod.uid);
	bind_text(st, 10, lease->netns);
	return run(store, ST_LEASE_PUT, err, "put lease");
}

int store_lease_bind(struct store *store, const struct lease_key *key, int64_t now_us, struct err *err)
{
	sqlite3_stmt *st = store->prepared[ST_LEASE_BIND];

	bind_key(st, key);
	bind_text(st, 4, lease_state_name(LEASE_BOUND));
	bind_int(st, 5, now_us);
	if (run(store, ST_LEASE_BIND, err, "bind lease") < 0)
		return -1;
	if (sqlite3_changes(store->db) == 0)
		return err_set(err, ERR_NOTFOUND, DOMAIN, "no lease of container %s, %s", key->container, key->ifname);
	return 0;
}

int store_lease_drop(struct store *store, const struct lease_key *key, struct err *err)
{
	bind_key(store->prepared[ST_LEASE_DEL], key);
	return run(store, ST_LEASE_DEL, err, "drop lease");
}

static int put_cooldown(struct store *store, const struct ipaddr *addr, int64_t until_us, struct err *err)
{
	sqlite3_stmt *st = store->prepared[ST_COOLDOWN_PUT];
	char text[IPADDR_STRLEN];

	bind_text(st, 1, ipaddr_str(addr, text));
	bind_int(st, 2, until_us);
	return run(store, ST_COOLDOWN_PUT, err, "put cooldown");
}

int store_lease_release(struct store *store, const struct lease_key *key, const struct ipaddr *addr, int64_t until_us,
			struct err *err)
{
	if (run(store, ST_BEGIN, err, "release lease") < 0)
		return -1;
	if (store_lease_drop(store, key, err) == 0 && put_cooldown(store, addr, until_us, err) == 0 &&
	    run(store, ST_COMMIT, err, "release lease") == 0)
		return 0;
	/* Some failures end the transaction by themselves. */
	if (!sqlite3_get_autocommit(store->db))
		(void)run(store, ST_ROLLBACK, NULL, "roll back");
	return -1;
}

int store_cooldown_trim(struct store *store, int64_t now_us, struct err *err)
{
	bind_int(store->prepared[ST_COOLDOWN_TRIM], 1, now_us);
	return run(store, ST_COOLDOWN_TRIM, err, "trim cooldowns");
}

/* ---- intents ---- */

int store_intent_put(struct store *store, struct intent *intent, struct err *err)
{
	sqlite3_stmt *st = store->prepared[ST_INTENT_PUT];

	bind_text(st, 1, intent->kind);
	bind_text(st, 2, intent->nic);
	bind_text(st, 3, intent->token);
	bind_int(st, 4, intent->slot);
	bind_int(st, 5, intent->count);
	if (run(store, ST_INTENT_PUT, err, "put intent") < 0)
		return -1;
	intent->id = sqlite3_last_insert_rowid(store->db);
	return 0;
}

int store_intent_del(struct store *store, int64_t id, struct err *err)
{
	bind_int(store->prepared[ST_INTENT_DEL], 1, id);
	return run(store, ST_INTENT_DEL, err, "delete intent");
}

/* ---- loading ---- */

/* A row as it is read; the first column that does not fit is remembered. */
struct row {
	sqlite3_stmt *st;
	const char *bad;
};

static void read_text(struct row *row, int at, char *ret, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(row->st, at);

	if (!text || str_copy(ret, size, text) < 0)
		row->bad = sqlite3_column_name(row->st, at);
}

static void read_addr(struct row *row, int at, struct ipaddr *ret)
{
	const char *text = (const char *)sqlite3_column_text(row->st, at);

	if (!text || ipaddr_parse(text, ret) < 0)
		row->bad = sqlite3_column_name(row->st, at);
}

static unsigned read_unsigned(struct row *row, int at)
{
	int64_t value = sqlite3_column_int64(row->st, at);

	if (value < 0 || value > UINT32_MAX)
		row->bad = sqlite3_column_name(row->st, at);
	return (unsigned)value;
}

static void read_state(struct row *row, int at, enum lease_state *ret)
{
	const char *text = (const char *)sqlite3_column_text(row->st, at);

	for (unsigned i = 0; text && i < LEASE_STATE_COUNT; i++) {
		if (str_equal(text, lease_state_name((enum lease_state)i))) {
			*ret = (enum lease_state)i;
			return;
		}
	}
	row->bad = sqlite3_column_name(row->st, at);
}

/* One of the three kinds of callback, and what reads a row for it. */
struct reader {
	int (*read)(struct row *row, const struct reader *reader);
	union {
		int (*lease)(const struct lease *lease, void *arg);
		int (*cooldown)(const struct ipaddr *addr, int64_t until_us, void *arg);
		int (*intent)(const struct intent *intent, void *arg);
	} fn;
	void *arg;
};

static int load(struct store *store, enum statement which, const struct reader *reader, struct err *err)
{
	struct row row = { .st = store->prepared[which] };
	int code, rc = 0;

	while ((code = sqlite3_step(row.st)) == SQLITE_ROW) {
		rc = reader->read(&row, reader);
		if (row.bad)
			rc = err_set(err, ERR_PROTOCOL, DOMAIN, "column %s holds what it cannot hold", row.bad);
		if (rc != 0)
			break;
	}
	if (rc == 0 && code != SQLITE_DONE)
		rc = fail(store->db, code, err, "load");
	finish(row.st);
	return rc;
}

static int read_lease(struct row *row, const struct reader *reader)
{
	struct lease lease = { .since_us = sqlite3_column_int64(row->st, 5) };

	read_text(row, 0, lease.key.container, sizeof(lease.key.container));
	read_text(row, 1, lease.key.ifname, sizeof(lease.key.ifname));
	read_text(row, 2, lease.key.network, sizeof(lease.key.network));
	read_addr(row, 3, &lease.addrs[0]);
	read_state(row, 4, &lease.state);
	read_text(row, 6, lease.pod.namespace, sizeof(lease.pod.namespace));
	read_text(row, 7, lease.pod.name, sizeof(lease.pod.name));
	read_text(row, 8, lease.pod.uid, sizeof(lease.pod.uid));
	read_text(row, 9, lease.netns, sizeof(lease.netns));
	return row->bad ? -1 : reader->fn.lease(&lease, reader->arg);
}

static int read_cooldown(struct row *row, const struct reader *reader)
{
	struct ipaddr addr = { 0 };

	read_addr(row, 0, &addr);
	return row->bad ? -1 : reader->fn.cooldown(&addr, sqlite3_column_int64(row->st, 1), reader->arg);
}

static int read_intent(struct row *row, const struct reader *reader)
{
	struct intent intent = { .id = sqlite3_column_int64(row->st, 0) };

	read_text(row, 1, intent.kind, sizeof(intent.kind));
	read_text(row, 2, intent.nic, sizeof(intent.nic));
	read_text(row, 3, intent.token, sizeof(intent.token));
	intent.slot = read_unsigned(row, 4);
	intent.count = read_unsigned(row, 5);
	return row->bad ? -1 : reader->fn.intent(&intent, reader->arg);
}

int store_leases(struct store *store, int (*fn)(const struct lease *lease, void *arg), void *arg, struct err *err)
{
	struct reader reader = { .read = read_lease, .fn.lease = fn, .arg = arg };

	return load(store, ST_LEASES, &reader, err);
}

int store_cooldowns(struct store *store, int (*fn)(const struct ipaddr *addr, int64_t until_us, void *arg), void *arg,
		    struct err *err)
{
	struct reader reader = { .read = read_cooldown, .fn.cooldown = fn, .arg = arg };

	return load(store, ST_COOLDOWNS, &reader, err);
}

int store_intents(struct store *store, int (*fn)(const struct intent *intent, void *arg), void *arg, struct err *err)
{
	struct reader reader = { .read = read_intent, .fn.intent = fn, .arg = arg };

	return load(store, ST_INTENTS, &reader, err);
}
