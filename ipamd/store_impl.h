/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the store: shared by store.c (what is kept), store_open.c (the file) and store_sql.c (SQLite's words), and by
 * nobody else.
 */
#ifndef IPAMD_STORE_IMPL_H
#define IPAMD_STORE_IMPL_H

#include <stddef.h>
#include <stdint.h>

#include "ipamd/store.h"

struct sqlite3;
struct sqlite3_stmt;

#define STORE_DOMAIN "store"

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
	ST_LEASES,
	ST_COOLDOWNS,
	ST_INTENTS,
	ST_COUNT
};

struct store {
	struct sqlite3 *db;
	struct sqlite3_stmt *prepared[ST_COUNT];
};

/* ---- store_sql.c ---- */

/** store_fail() - what SQLite said as ours; @db may be NULL (no memory). Return: -1. */
int store_fail(struct sqlite3 *db, int code, struct err *err, const char *doing);
/** store_exec() - run a text of statements that return nothing. */
int store_exec(struct store *store, const char *sql, struct err *err, const char *doing);
/** store_query() - the first column of the first row of a query, as text cut to @size bytes. */
int store_query(struct store *store, const char *sql, char *ret, size_t size, struct err *err);
/** store_query_number() - the same as a number. Errors: PROTOCOL if it is none. */
int store_query_number(struct store *store, const char *sql, uint64_t *ret, struct err *err);

/* ---- store.c ---- */

/** store_prepare() - every statement, over tables that are there. */
int store_prepare(struct store *store, struct err *err);

#endif
