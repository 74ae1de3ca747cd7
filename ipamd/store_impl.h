/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the store: shared by store.c (what is kept), store_open.c (the file), store_schema.c (versions of its tables)
 * and store_sql.c (SQLite's words), and by nobody else.
 */
#ifndef IPAMD_STORE_IMPL_H
#define IPAMD_STORE_IMPL_H

#include <stddef.h>
#include <stdint.h>

#include "ipamd/store.h"

struct sqlite3;
struct sqlite3_stmt;

#define STORE_DOMAIN  "store"
#define STORE_VERSION 4 /* of the tables */

enum store_statement {
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
	ST_FACT_PUT,
	ST_FACT_GET,
	ST_LEASES,
	ST_COOLDOWNS,
	ST_INTENTS,
	ST_FACTS,
	ST_COUNT
};

struct store {
	struct sqlite3 *db;
	struct sqlite3_stmt *prepared[ST_COUNT];
};

/* ---- store_sql.c ---- */

/** store_open_db() - a database with our functions, nothing read of it yet; on failure too for store_close_db(). */
int store_open_db(struct store *store, const char *path, struct err *err);
/** store_close_db() - what is open of it; a zeroed one is fine. */
void store_close_db(struct store *store);
/** store_fail() - what SQLite said as ours; @db may be NULL (no memory). Return: -1. */
int store_fail(struct sqlite3 *db, int code, struct err *err, const char *doing);
/** store_exec() - run a text of statements that return nothing. */
int store_exec(struct store *store, const char *sql, struct err *err, const char *doing);
/** store_query_dup() - the first column of the first row of a query as text; "" for NULL. Return: 0 with owned text. */
int store_query_dup(struct store *store, const char *sql, char **ret, struct err *err);
/** store_query_number() - the same as a number. Errors: PROTOCOL if it is none. */
int store_query_number(struct store *store, const char *sql, uint64_t *ret, struct err *err);

/* ---- store_schema.c ---- */

/** schema_upgrade() - from version @from (0: empty) to @to; the caller has begun a transaction. Errors: PROTOCOL when
 *  what is there does not fit. */
int schema_upgrade(struct store *store, unsigned from, unsigned to, struct err *err);
/** schema_check() - are the tables those of @version to the letter? Errors: PROTOCOL. */
int schema_check(struct store *store, unsigned version, struct err *err);

/* ---- store.c ---- */

/** store_prepare() - every statement, over tables that are there. */
int store_prepare(struct store *store, struct err *err);
/** store_verify() - does every row read back as what it was? Errors: PROTOCOL. */
int store_verify(struct store *store, struct err *err);

#endif
