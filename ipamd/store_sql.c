/* SPDX-License-Identifier: Apache-2.0 */
/* SQLite's answers as ours, statements that are run once, and the functions that our texts call. */
#include "ipamd/store_impl.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/check.h"
#include "berth/err.h"
#include "berth/str.h"

#define FNV_OFFSET UINT64_C(0xcbf29ce484222325) /* FNV-1a, 64 bits: draft-eastlake-fnv, section 5 */
#define FNV_PRIME  UINT64_C(0x100000001b3)

/* ---- errors ---- */

static enum err_class class_of(int code, int errnum)
{
	/* The system's word first: a full disk also shows as "cannot open" and as a failed I/O of the log. */
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
	case SQLITE_ERROR: /* a table or column that its version has is not there */
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

/* ---- functions ---- */

static uint64_t add_bytes(uint64_t sum, const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		sum = (sum ^ ((const uint8_t *)bytes)[i]) * FNV_PRIME;
	return sum;
}

/* Type and bytes of one value; integers as 8 bytes, lowest first. Nothing of ours is a float. */
static uint64_t add_value(uint64_t sum, sqlite3_value *value)
{
	uint8_t type = (uint8_t)sqlite3_value_type(value), bytes[8];
	uint64_t number;

	sum = add_bytes(sum, &type, 1);
	if (type == SQLITE_INTEGER) {
		number = (uint64_t)sqlite3_value_int64(value);
		for (unsigned i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)(number >> 8 * i);
		return add_bytes(sum, bytes, sizeof(bytes));
	}
	if (type != SQLITE_TEXT && type != SQLITE_BLOB)
		return sum;
	/* The pointer first: it settles the encoding that the size is of. */
	const void *data = type == SQLITE_TEXT ? sqlite3_value_text(value) : sqlite3_value_blob(value);

	return add_bytes(sum, data, data ? (size_t)sqlite3_value_bytes(value) : 0);
}

/* row_sum(...): FNV-1a-64 over all arguments. Any single change of a row changes it. */
static void row_sum(sqlite3_context *ctx, int count, sqlite3_value **values)
{
	uint64_t sum = FNV_OFFSET;

	for (int i = 0; i < count; i++)
		sum = add_value(sum, values[i]);
	sqlite3_result_int64(ctx, (int64_t)sum);
}

/* addr_bytes(text): the 4 or 16 bytes of an address; NULL when it is none. */
static void addr_bytes(sqlite3_context *ctx, int count, sqlite3_value **values)
{
	const char *text = (const char *)sqlite3_value_text(values[0]);
	struct ipaddr addr;

	(void)count;
	if (text && ipaddr_parse(text, &addr) == 0)
		sqlite3_result_blob(ctx, addr.bytes, (int)ipaddr_len(&addr), SQLITE_TRANSIENT);
	else
		sqlite3_result_null(ctx);
}

/* ---- databases ---- */

int store_open_db(struct store *store, const char *path, struct err *err)
{
	const int file_flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
			       SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
	const int function_flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
	int code;

	/* No counting of memory: a lock per allocation, 2 of 12 µs a commit. Only the first database of a process can say so,
	 * to every other one this is refused. */
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	code = sqlite3_open_v2(path, &store->db, file_flags, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_create_function_v2(store->db, "row_sum", -1, function_flags, NULL, row_sum, NULL, NULL,
						  NULL);
	if (code == SQLITE_OK)
		code = sqlite3_create_function_v2(store->db, "addr_bytes", 1, function_flags, NULL, addr_bytes, NULL,
						  NULL, NULL);
	return code == SQLITE_OK ? 0 : store_fail(store->db, code, err, "open");
}

void store_close_db(struct store *store)
{
	for (unsigned i = 0; i < ST_COUNT; i++) {
		(void)sqlite3_finalize(store->prepared[i]);
		store->prepared[i] = NULL;
	}
	if (store->db)
		CHECK(sqlite3_close(store->db) == SQLITE_OK);
	store->db = NULL;
}

int store_exec(struct store *store, const char *sql, struct err *err, const char *doing)
{
	int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);

	return code == SQLITE_OK ? 0 : store_fail(store->db, code, err, doing);
}

int store_query_dup(struct store *store, const char *sql, char **ret, struct err *err)
{
	sqlite3_stmt *st = NULL;
	int code = sqlite3_prepare_v2(store->db, sql, -1, &st, NULL);
	const char *text;
	int rc = -1;

	if (code == SQLITE_OK)
		code = sqlite3_step(st);
	if (code == SQLITE_ROW) {
		text = (const char *)sqlite3_column_text(st, 0);
		*ret = strdup(text ? text : "");
		rc = *ret ? 0 : err_set(err, ERR_RETRY, STORE_DOMAIN, "no memory");
	} else {
		(void)store_fail(store->db, code, err, sql);
	}
	(void)sqlite3_finalize(st);
	return rc;
}

int store_query_number(struct store *store, const char *sql, uint64_t *ret, struct err *err)
{
	_cleanup_free_ char *text = NULL;

	if (store_query_dup(store, sql, &text, err) < 0)
		return -1;
	if (str_u64(text, 0, UINT64_MAX, ret) < 0)
		return err_set(err, ERR_PROTOCOL, STORE_DOMAIN, "%s: \"%s\"", sql, text);
	return 0;
}
