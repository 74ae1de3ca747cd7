/* SPDX-License-Identifier: Apache-2.0 */
/* SQLite's answers as ours, and statements that are run once. */
#include "ipamd/store_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>

#include "berth/err.h"
#include "berth/str.h"

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

int store_fail(sqlite3 *db, int code, struct err *err, const char *doing)
{
	bool system = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN;
	int errnum = db && system ? sqlite3_system_errno(db) : 0;

	(void)err_set(err, class_of(code, errnum), STORE_DOMAIN, "%s: %s%s%s", doing,
		      db ? sqlite3_errmsg(db) : "no memory", errnum ? ": " : "", errnum ? errno_str(errnum) : "");
	if (err)
		err->code = code;
	return -1;
}

int store_exec(struct store *store, const char *sql, struct err *err, const char *doing)
{
	int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);

	return code == SQLITE_OK ? 0 : store_fail(store->db, code, err, doing);
}

/* The first column of the first row of a query, as text of at most @size bytes. */
int store_query(struct store *store, const char *sql, char *ret, size_t size, struct err *err)
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
		(void)store_fail(store->db, code, err, sql);
	(void)sqlite3_finalize(st);
	return text ? 0 : -1;
}

int store_query_number(struct store *store, const char *sql, uint64_t *ret, struct err *err)
{
	char text[32] = "";

	if (store_query(store, sql, text, sizeof(text), err) < 0)
		return -1;
	if (str_u64(text, 0, UINT64_MAX, ret) < 0)
		return err_set(err, ERR_PROTOCOL, STORE_DOMAIN, "%s: \"%s\"", sql, text);
	return 0;
}
