/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the lease store
 *
 * SQLite, WAL, in the run directory (tmpfs: a reboot ends pods and leases together). Holds leases, cooldowns and intents
 * of cloud mutations in flight; a call returns after its commit (11-26 µs on tmpfs). Schema version in PRAGMA
 * user_version; PRAGMA integrity_check at open. A file that does not open is set aside as NAME.bad-<seconds> and the
 * caller is told, so that it rebuilds from kernel and cloud: live pods are never forgotten silently.
 *
 * Errors, domain "store": RETRY (busy, no memory, I/O), EXHAUSTED (disk full), INVALID (read-only, path), PROTOCOL
 * (corrupt), NOTFOUND where said, BUG. After a failure nothing of the call is stored.
 *
 * The pool is the judge of who holds an address: a lease that is put for an address replaces whatever row had it, so that
 * a release which could not be stored (disk full) never makes that address unusable.
 */
#ifndef IPAMD_STORE_H
#define IPAMD_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "berth/ipaddr.h"
#include "ipamd/pool.h"

struct err;
struct store;

/** struct intent - a cloud mutation that was sent and whose result is not recorded yet. */
struct intent {
	int64_t id;    /* given by store_intent_put(); never given twice by one file */
	char kind[16]; /* "assign", "attach", "release", "detach" */
	char nic[CLOUD_ID_SIZE];
	char token[64]; /* idempotency token of an attach */
	unsigned slot, count;
};

/**
 * store_open() - open or make
 * @ret_set_aside: 256 bytes; path, cut to size, of the file that was put away because it is corrupt, no database or of an
 * unknown version; "" when all was well. Written on failure too: the file may be aside and the fresh one not possible.
 * Errors: INVALID (no such directory, read-only), EXHAUSTED, RETRY; PROTOCOL only if the fresh file is broken too.
 */
int store_open(const char *path, struct store **ret, char ret_set_aside[static 256], struct err *err);
/** store_close() - NULL is fine. */
void store_close(struct store *store);

/** store_lease_put() - insert or update by key. */
int store_lease_put(struct store *store, const struct lease *lease, struct err *err);
/** store_lease_bind() - state BOUND since @now_us; a missing lease is NOTFOUND. */
int store_lease_bind(struct store *store, const struct lease_key *key, int64_t now_us, struct err *err);
/** store_lease_release() - one transaction: the lease goes (a missing one is fine), its address cools until @until_us. */
int store_lease_release(struct store *store, const struct lease_key *key, const struct ipaddr *addr, int64_t until_us,
			struct err *err);
/** store_lease_drop() - the lease goes without a cooldown (it was never used). */
int store_lease_drop(struct store *store, const struct lease_key *key, struct err *err);
/** store_cooldown_trim() - forget cooldowns that ended before @now_us. */
int store_cooldown_trim(struct store *store, int64_t now_us, struct err *err);
/** store_intent_put() - a new row; @intent->id is written on success. */
int store_intent_put(struct store *store, struct intent *intent, struct err *err);
/** store_intent_del() - a missing one is success. */
int store_intent_del(struct store *store, int64_t id, struct err *err);

/* Loading: callbacks return 0 to go on; a non-zero return ends the walk and is returned, @err is then the callback's
 * business. A row that does not read back as what it was is PROTOCOL. Callbacks may
 * delete the row that they are shown and nothing else. */
int store_leases(struct store *store, int (*fn)(const struct lease *lease, void *arg), void *arg, struct err *err);
int store_cooldowns(struct store *store, int (*fn)(const struct ipaddr *addr, int64_t until_us, void *arg), void *arg,
		    struct err *err);
int store_intents(struct store *store, int (*fn)(const struct intent *intent, void *arg), void *arg, struct err *err);

#endif
