/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/store_impl.h"

#include <assert.h>
#include <sqlite3.h>
#include <string.h>

#include "berth/check.h"
#include "berth/err.h"
#include "berth/str.h"

/* The columns that a row's sum is over, in the order of the functions that bind and read them. The ID of an intent is
 * not among them: SQLite gives it, and nobody else knows the intent by it. */
#define LEASE_COLUMNS                                                                                                  \
	"container, ifname, network, addr, addr6, state, since_us, pod_namespace, pod_name, pod_uid, netns, "          \
	"host_ifname, delegated, egress, runtime"
#define LEASE_VALUES      "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15"
#define COOLDOWN_COLUMNS  "addr, until_us"
#define INTENT_COLUMNS    "kind, nic, token, slot, count, want_count, want_len, want6_count, want6_len"
#define INTENT_VALUES     "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9"
#define FACT_COLUMNS      "key, value"
#define BY_KEY            " WHERE container = ?1 AND ifname = ?2 AND network = ?3"
#define IS_WHOLE(columns) "sum = row_sum(" columns ") AS sum"

static const char *const statements[] = {
	[ST_BEGIN] = "BEGIN IMMEDIATE",
	[ST_COMMIT] = "COMMIT",
	[ST_ROLLBACK] = "ROLLBACK",
	[ST_LEASE_PUT] = "INSERT OR REPLACE INTO lease (" LEASE_COLUMNS ", sum)"
			 " VALUES (" LEASE_VALUES ", row_sum(" LEASE_VALUES "))",
	[ST_LEASE_BIND] = "UPDATE lease SET state = ?4, since_us = ?5, sum = row_sum(container, ifname, network, addr,"
			  " addr6, ?4, ?5, pod_namespace, pod_name, pod_uid, netns, host_ifname, delegated, egress, "
			  "runtime)" BY_KEY,
	[ST_LEASE_DEL] = "DELETE FROM lease" BY_KEY,
	[ST_COOLDOWN_PUT] = "INSERT OR REPLACE INTO cooldown (" COOLDOWN_COLUMNS ", sum)"
			    " VALUES (?1, ?2, row_sum(?1, ?2))",
	[ST_COOLDOWN_TRIM] = "DELETE FROM cooldown WHERE until_us < ?1",
	[ST_INTENT_PUT] = "INSERT INTO intent (" INTENT_COLUMNS ", sum)"
			  " VALUES (" INTENT_VALUES ", row_sum(" INTENT_VALUES "))",
	[ST_INTENT_DEL] = "DELETE FROM intent WHERE id = ?1",
	[ST_FACT_PUT] = "INSERT OR REPLACE INTO fact (" FACT_COLUMNS ", sum) VALUES (?1, ?2, row_sum(?1, ?2))",
	[ST_FACT_GET] = "SELECT " FACT_COLUMNS ", " IS_WHOLE(FACT_COLUMNS) " FROM fact WHERE key = ?1",
	[ST_LEASES] = "SELECT " LEASE_COLUMNS ", " IS_WHOLE(LEASE_COLUMNS) " FROM lease",
	[ST_COOLDOWNS] = "SELECT " COOLDOWN_COLUMNS ", " IS_WHOLE(COOLDOWN_COLUMNS) " FROM cooldown",
	[ST_INTENTS] = "SELECT " INTENT_COLUMNS ", " IS_WHOLE(INTENT_COLUMNS) ", id FROM intent ORDER BY id",
	[ST_FACTS] = "SELECT " FACT_COLUMNS ", " IS_WHOLE(FACT_COLUMNS) " FROM fact",
};
static_assert(ARRAY_SIZE(statements) == ST_COUNT, "a text per statement");

int store_prepare(struct store *store, struct err *err)
{
	for (unsigned i = 0; i < ST_COUNT; i++) {
		int code = sqlite3_prepare_v3(store->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
					      &store->prepared[i], NULL);

		if (code != SQLITE_OK)
			return store_fail(store->db, code, err, statements[i]);
	}
	return 0;
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

/* No address: NULL, which is what is bound when nothing is. The bytes outlive the step as texts do. */
static void bind_addr(sqlite3_stmt *st, int at, const struct ipaddr *addr)
{
	if (addr->family != IP_NONE)
		CHECK(sqlite3_bind_blob(st, at, addr->bytes, (int)ipaddr_len(addr), SQLITE_STATIC) == SQLITE_OK);
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
static int run(struct store *store, enum store_statement which, struct err *err, const char *doing)
{
	sqlite3_stmt *st = store->prepared[which];
	int code = sqlite3_step(st);
	int rc = code == SQLITE_DONE ? 0 : store_fail(store->db, code, err, doing);

	finish(st);
	return rc;
}

/* ---- leases and cooldowns ---- */

int store_lease_put(struct store *store, const struct lease *lease, struct err *err)
{
	sqlite3_stmt *st = store->prepared[ST_LEASE_PUT];
	_cleanup_free_ char *runtime = runtime_print(&lease->runtime);

	if (!runtime)
		return err_set(err, ERR_RETRY, STORE_DOMAIN, "no memory for what a runtime asked for");
	bind_key(st, &lease->key);
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		bind_addr(st, 4 + (int)i, &lease->addrs[i]);
	bind_text(st, 6, lease_state_name(lease->state));
	bind_int(st, 7, lease->since_us);
	bind_text(st, 8, lease->pod.namespace);
	bind_text(st, 9, lease->pod.name);
	bind_text(st, 10, lease->pod.uid);
	bind_text(st, 11, lease->netns);
	bind_text(st, 12, lease->host_ifname);
	bind_int(st, 13, lease->delegated);
	bind_addr(st, 14, &lease->egress);
	bind_text(st, 15, runtime);
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
		return err_set(err, ERR_NOTFOUND, STORE_DOMAIN, "no lease of container %s, %s", key->container,
			       key->ifname);
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

	bind_addr(st, 1, addr);
	bind_int(st, 2, until_us);
	return run(store, ST_COOLDOWN_PUT, err, "put cooldown");
}

static int drop_and_cool(struct store *store, const struct lease_key *key, const struct ipaddr *addrs, int64_t until_us,
			 struct err *err)
{
	if (store_lease_drop(store, key, err) < 0)
		return -1;
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		if (addrs[i].family != IP_NONE && put_cooldown(store, &addrs[i], until_us, err) < 0)
			return -1;
	return 0;
}

int store_lease_release(struct store *store, const struct lease_key *key, const struct ipaddr *addrs, int64_t until_us,
			struct err *err)
{
	if (run(store, ST_BEGIN, err, "release lease") < 0)
		return -1;
	if (drop_and_cool(store, key, addrs, until_us, err) == 0 && run(store, ST_COMMIT, err, "release lease") == 0)
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
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		bind_int(st, 6 + 2 * (int)i, intent->wants[i].count);
		bind_int(st, 7 + 2 * (int)i, intent->wants[i].len);
	}
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

/* ---- facts ---- */

int store_fact_put(struct store *store, const char *key, const char *value, struct err *err)
{
	sqlite3_stmt *st = store->prepared[ST_FACT_PUT];

	if (strlen(key) >= STORE_FACT_KEY_SIZE || strlen(value) >= STORE_FACT_VALUE_SIZE)
		return err_set(err, ERR_INVALID, STORE_DOMAIN, "fact %s is too long", key);
	bind_text(st, 1, key);
	bind_text(st, 2, value);
	return run(store, ST_FACT_PUT, err, "put fact");
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

/* NULL is no address. */
static void read_addr(struct row *row, int at, enum ip_family family, struct ipaddr *ret)
{
	struct ipaddr addr = { .family = (uint8_t)family };

	if (sqlite3_column_type(row->st, at) == SQLITE_NULL)
		return;
	const void *bytes = sqlite3_column_blob(row->st, at);

	if (!bytes || sqlite3_column_bytes(row->st, at) != (int)ipaddr_len(&addr)) {
		row->bad = sqlite3_column_name(row->st, at);
		return;
	}
	memcpy(addr.bytes, bytes, ipaddr_len(&addr));
	*ret = addr;
}

/* The family is told by the length. */
static void read_addr_of_any(struct row *row, int at, struct ipaddr *ret)
{
	int v6_len = (int)ipaddr_len(&(struct ipaddr){ .family = IP_V6 });

	read_addr(row, at, sqlite3_column_bytes(row->st, at) == v6_len ? IP_V6 : IP_V4, ret);
}

static void read_runtime(struct row *row, int at, struct runtime_config *ret)
{
	const char *text = (const char *)sqlite3_column_text(row->st, at);

	if (!text || runtime_parse(text, ret, NULL) < 0)
		row->bad = sqlite3_column_name(row->st, at);
}

/* The column that says whether the row's sum is right. */
static void read_sum(struct row *row, int at)
{
	if (sqlite3_column_int(row->st, at) != 1)
		row->bad = sqlite3_column_name(row->st, at);
}

static unsigned read_unsigned(struct row *row, int at, unsigned max)
{
	int64_t value = sqlite3_column_int64(row->st, at);

	if (value < 0 || value > max)
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

/* One of the kinds of callback, NULL to look only, and what reads a row for it. */
struct reader {
	int (*read)(struct row *row, const struct reader *reader);
	union {
		int (*lease)(const struct lease *lease, void *arg);
		int (*cooldown)(const struct ipaddr *addr, int64_t until_us, void *arg);
		int (*intent)(const struct intent *intent, void *arg);
	} fn;
	void *arg;
};

static int load(struct store *store, enum store_statement which, const struct reader *reader, struct err *err)
{
	struct row row = { .st = store->prepared[which] };
	int code, rc = 0;

	while ((code = sqlite3_step(row.st)) == SQLITE_ROW) {
		rc = reader->read(&row, reader);
		if (row.bad)
			rc = err_set(err, ERR_PROTOCOL, STORE_DOMAIN, "column %s holds what it cannot hold", row.bad);
		if (rc != 0)
			break;
	}
	if (rc == 0 && code != SQLITE_DONE)
		rc = store_fail(store->db, code, err, "load");
	finish(row.st);
	return rc;
}

static int read_lease(struct row *row, const struct reader *reader)
{
	struct lease lease = { .since_us = sqlite3_column_int64(row->st, 6) };

	read_text(row, 0, lease.key.container, sizeof(lease.key.container));
	read_text(row, 1, lease.key.ifname, sizeof(lease.key.ifname));
	read_text(row, 2, lease.key.network, sizeof(lease.key.network));
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		read_addr(row, 3 + (int)i, ip_family_at(i), &lease.addrs[i]);
	read_state(row, 5, &lease.state);
	read_text(row, 7, lease.pod.namespace, sizeof(lease.pod.namespace));
	read_text(row, 8, lease.pod.name, sizeof(lease.pod.name));
	read_text(row, 9, lease.pod.uid, sizeof(lease.pod.uid));
	read_text(row, 10, lease.netns, sizeof(lease.netns));
	read_text(row, 11, lease.host_ifname, sizeof(lease.host_ifname));
	lease.delegated = read_unsigned(row, 12, 1);
	read_addr_of_any(row, 13, &lease.egress);
	read_runtime(row, 14, &lease.runtime);
	read_sum(row, 15);
	return !row->bad && reader->fn.lease ? reader->fn.lease(&lease, reader->arg) : 0;
}

static int read_cooldown(struct row *row, const struct reader *reader)
{
	struct ipaddr addr = { 0 };

	read_addr_of_any(row, 0, &addr);
	read_sum(row, 2);
	return !row->bad && reader->fn.cooldown
		       ? reader->fn.cooldown(&addr, sqlite3_column_int64(row->st, 1), reader->arg)
		       : 0;
}

static int read_intent(struct row *row, const struct reader *reader)
{
	struct intent intent = { .id = sqlite3_column_int64(row->st, 10) };

	read_text(row, 0, intent.kind, sizeof(intent.kind));
	read_text(row, 1, intent.nic, sizeof(intent.nic));
	read_text(row, 2, intent.token, sizeof(intent.token));
	intent.slot = read_unsigned(row, 3, UINT32_MAX);
	intent.count = read_unsigned(row, 4, UINT32_MAX);
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		intent.wants[i].count = read_unsigned(row, 5 + 2 * (int)i, UINT32_MAX);
		intent.wants[i].len = (uint8_t)read_unsigned(row, 6 + 2 * (int)i, UINT8_MAX);
	}
	read_sum(row, 9);
	return !row->bad && reader->fn.intent ? reader->fn.intent(&intent, reader->arg) : 0;
}

struct fact {
	char key[STORE_FACT_KEY_SIZE];
	char value[STORE_FACT_VALUE_SIZE];
	bool found;
};

static int read_fact(struct row *row, const struct reader *reader)
{
	struct fact fact = { .found = true };

	read_text(row, 0, fact.key, sizeof(fact.key));
	read_text(row, 1, fact.value, sizeof(fact.value));
	read_sum(row, 2);
	if (!row->bad && reader->arg)
		*(struct fact *)reader->arg = fact;
	return 0;
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

int store_fact_get(struct store *store, const char *key, char ret[static STORE_FACT_VALUE_SIZE], struct err *err)
{
	struct fact fact = { .found = false };
	struct reader reader = { .read = read_fact, .arg = &fact };

	bind_text(store->prepared[ST_FACT_GET], 1, key);
	if (load(store, ST_FACT_GET, &reader, err) < 0)
		return -1;
	if (!fact.found)
		return err_set(err, ERR_NOTFOUND, STORE_DOMAIN, "no fact %s", key);
	(void)str_copy(ret, STORE_FACT_VALUE_SIZE, fact.value);
	return 0;
}

int store_verify(struct store *store, struct err *err)
{
	struct reader reader = { .read = read_fact };

	if (store_leases(store, NULL, NULL, err) < 0 || store_cooldowns(store, NULL, NULL, err) < 0 ||
	    store_intents(store, NULL, NULL, err) < 0)
		return -1;
	return load(store, ST_FACTS, &reader, err);
}
