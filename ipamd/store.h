/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the lease store
 *
 * SQLite, WAL, in the run directory (tmpfs: a reboot ends pods and leases together). Holds leases, cooldowns, intents of
 * cloud mutations in flight, and facts. A call returns after its commit. While it is open nobody else can read or write the
 * file (a copy of it and its -wal can be looked at). What a file's tables are is versioned
 * (store_schema.c): an older file is migrated in one transaction.
 *
 * At open everything is checked, down to a sum that each row carries. What does not hold is set aside as
 * NAME.bad-<seconds>, whole and with its log, and the caller is told why, so that it rebuilds from kernel and cloud: live
 * pods are never forgotten silently. The same happens to a file of a version that is not known here: the program that
 * made it may come back for it. Not noticed is a log whose end is damaged: SQLite takes it for the end of a commit that
 * never was, so the newest rows are missing.
 *
 * A file belongs to one boot of the kernel, which it notes: leases die with their pods. One of another boot (a run
 * directory that is no tmpfs) is set aside as NAME.other-boot, in place of the one before it.
 *
 * Errors, domain "store": RETRY (busy, no memory, I/O), EXHAUSTED (disk full), INVALID (read-only, path), PROTOCOL
 * (corrupt), NOTFOUND where said, BUG. After a failure nothing of the call is stored.
 *
 * The pool is the judge of who holds an address: a lease that is put for an address replaces whatever row had it, so that
 * a release which could not be stored (disk full) never makes that address unusable. For two addresses that may be two
 * rows.
 */
#ifndef IPAMD_STORE_H
#define IPAMD_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "berth/ipaddr.h"
#include "ipamd/pool.h"

struct err;
struct store;

/**
 * struct intent - a cloud mutation that was sent and whose result is not recorded yet
 *
 * Which blocks were to be recovered or released is not kept. Nothing is ever done again because of an intent: after a
 * crash a list shows which blocks are there, and what is still wanted is decided from that. An intent only says that the
 * list before this one cannot be trusted, and on which NIC.
 */
struct intent {
	int64_t id;    /* given by store_intent_put(); never given twice by one file */
	char kind[16]; /* "assign", "attach", "recover", "release", "detach" */
	char nic[CLOUD_ID_SIZE];
	char token[64]; /* idempotency token of an attach */
	unsigned slot;
	struct cloud_want
		wants[IP_FAMILIES]; /* assign, attach: by ip_index(); len 0 in a row of version 1: not known */
	unsigned count;             /* recover, release: blocks */
};

#define STORE_FACT_KEY_SIZE 64
#define STORE_FACT_VALUE_SIZE                                                                                          \
	4096 /* bytes with the terminator; an answer of the cloud's that is worth keeping is less */

#define STORE_BOOT_ID "boot_id"

/** enum store_aside_why - why a file is not used. */
enum store_aside_why {
	STORE_KEPT,          /* it is, or there was none */
	STORE_ASIDE_DAMAGED, /* or no database at all */
	STORE_ASIDE_UNKNOWN, /* of a newer version, or somebody else's database */
	STORE_ASIDE_BOOT,    /* of another boot: nothing is wrong with it, its pods are no more */
	STORE_ASIDE_COUNT
};

/** struct store_aside - what store_open() put away. */
struct store_aside {
	enum store_aside_why why;
	char path[256];  /* where it is now, cut to size; "" when nothing was put away */
	char cause[256]; /* for people */
};

/**
 * store_open() - open or make
 * @boot_id: of the boot that we live in, any text that differs between two of them; a file that is made or migrated
 * notes it as fact STORE_BOOT_ID
 * @ret_aside: written on failure too: the file may be aside and the fresh one not possible
 * Errors: INVALID (no such directory, read-only), EXHAUSTED, RETRY; PROTOCOL only if the fresh file is broken too.
 */
int store_open(const char *path, const char *boot_id, struct store **ret, struct store_aside *ret_aside,
	       struct err *err);
/** store_close() - NULL is fine. */
void store_close(struct store *store);

/** store_lease_put() - insert or update by key; BUG when it has no address at all. */
int store_lease_put(struct store *store, const struct lease *lease, struct err *err);
/** store_lease_bind() - state BOUND since @now_us; a missing lease is NOTFOUND. */
int store_lease_bind(struct store *store, const struct lease_key *key, int64_t now_us, struct err *err);
/** store_lease_release() - one transaction: the lease goes (a missing one is fine), its addresses cool until @until_us.
 *  @addrs: [IP_FAMILIES], those of the lease. */
int store_lease_release(struct store *store, const struct lease_key *key, const struct ipaddr *addrs, int64_t until_us,
			struct err *err);
/** store_lease_drop() - the lease goes without a cooldown (it was never used). */
int store_lease_drop(struct store *store, const struct lease_key *key, struct err *err);
/** store_cooldown_trim() - forget cooldowns that ended before @now_us. */
int store_cooldown_trim(struct store *store, int64_t now_us, struct err *err);
/** store_intent_put() - a new row; @intent->id is written on success. */
int store_intent_put(struct store *store, struct intent *intent, struct err *err);
/** store_intent_del() - a missing one is success. */
int store_intent_del(struct store *store, int64_t id, struct err *err);

/** store_fact_put() - remember @value under @key, which is not STORE_BOOT_ID, instead of what was there. Errors: INVALID
 *  (too long). */
int store_fact_put(struct store *store, const char *key, const char *value, struct err *err);
/** store_fact_get() - @ret: STORE_FACT_VALUE_SIZE bytes. Errors: NOTFOUND; PROTOCOL. */
int store_fact_get(struct store *store, const char *key, char ret[static STORE_FACT_VALUE_SIZE], struct err *err);

/* Loading: callbacks return 0 to go on; a non-zero return ends the walk and is returned, @err is then the callback's
 * business. A row that does not read back as what it was is PROTOCOL. Callbacks may
 * delete the row that they are shown and nothing else. */
int store_leases(struct store *store, int (*fn)(const struct lease *lease, void *arg), void *arg, struct err *err);
int store_cooldowns(struct store *store, int (*fn)(const struct ipaddr *addr, int64_t until_us, void *arg), void *arg,
		    struct err *err);
int store_intents(struct store *store, int (*fn)(const struct intent *intent, void *arg), void *arg, struct err *err);

#endif
