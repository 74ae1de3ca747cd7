/* SPDX-License-Identifier: Apache-2.0 */
/* Leases for the store, what a store holds, and hands that do to its file what berth itself never would. */
#ifndef TESTS_UNIT_STORES_H
#define TESTS_UNIT_STORES_H

#include "tests/check.h"

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"
#include "ipamd/store.h"

static inline struct lease lease_of(unsigned number)
{
	struct lease lease = { .key = { .network = "berth", .ifname = "eth0" },
			       .pod = { .namespace = "default", .uid = "6b4a2c3e-0000-4000-8000-000000000001" },
			       .addrs = { ipaddr_v4(0x0a000000U + number) },
			       .state = LEASE_RESERVED,
			       .since_us = 1000 + number };

	(void)snprintf(lease.key.container, sizeof(lease.key.container), "%064x", number);
	(void)snprintf(lease.pod.name, sizeof(lease.pod.name), "web-%u", number);
	(void)snprintf(lease.netns, sizeof(lease.netns), "/var/run/netns/cni-%u", number);
	return lease;
}

static inline struct ipaddr addr_of(const char *text)
{
	struct ipaddr addr = { 0 };

	assert_int_equal(ipaddr_parse(text, &addr), 0);
	return addr;
}

/* The same with an address of each family. */
static inline struct lease dual_lease_of(unsigned number)
{
	struct lease lease = lease_of(number);
	struct ipaddr base = addr_of("2600:1f14:e:9300::");

	lease.addrs[1] = ipaddr_add(&base, number);
	lease.delegated = number % 2;
	if (lease.delegated)
		return lease;
	(void)snprintf(lease.host_ifname, sizeof(lease.host_ifname), "cali%011x", number);
	lease.egress = addr_of(number % 4 ? "169.254.172.9" : "fd00::ac:9");
	lease.runtime = (struct runtime_config){
		.bandwidth = { .ingress_rate = 1000000 + number, .egress_burst = number },
		.port_count = 2,
		.ports = { { .host_port = 80, .port = 8080, .protocol = IPPROTO_TCP },
			   { .host_addr = addr_of("::1"), .host_port = 53, .port = 53, .protocol = IPPROTO_UDP } },
	};
	return lease;
}

/* ---- what a store holds ---- */

struct contents {
	unsigned lease_count, cooldown_count, intent_count;
	struct lease last_lease;
	struct ipaddr last_addr;
	int64_t last_until_us;
	struct intent last_intent;
};

static inline int see_lease(const struct lease *lease, void *arg)
{
	struct contents *seen = arg;

	seen->last_lease = *lease;
	seen->lease_count++;
	return 0;
}

static inline int see_cooldown(const struct ipaddr *addr, int64_t until_us, void *arg)
{
	struct contents *seen = arg;

	seen->last_addr = *addr;
	seen->last_until_us = until_us;
	seen->cooldown_count++;
	return 0;
}

/* All but the ID, which the file gives. */
static inline bool same_intent(const struct intent *a, const struct intent *b)
{
	for (unsigned f = 0; f < IP_FAMILIES; f++)
		if (a->wants[f].count != b->wants[f].count || a->wants[f].len != b->wants[f].len)
			return false;
	return str_equal(a->kind, b->kind) && str_equal(a->nic, b->nic) && str_equal(a->token, b->token) &&
	       a->slot == b->slot && a->count == b->count;
}

static inline int see_intent(const struct intent *intent, void *arg)
{
	struct contents *seen = arg;

	seen->last_intent = *intent;
	seen->intent_count++;
	return 0;
}

static inline int look(struct store *store, struct contents *ret, struct err *err)
{
	*ret = (struct contents){ 0 };
	return store_leases(store, see_lease, ret, err) || store_cooldowns(store, see_cooldown, ret, err) ||
	       store_intents(store, see_intent, ret, err);
}

static inline struct contents contents_of(struct store *store)
{
	struct contents seen;
	struct err err = { 0 };

	if (look(store, &seen, &err) != 0)
		fail_msg("%s", err.msg);
	return seen;
}

static inline bool same_lease(const struct lease *a, const struct lease *b)
{
	_cleanup_free_ char *runtime_a = runtime_print(&a->runtime), *runtime_b = runtime_print(&b->runtime);

	for (unsigned i = 0; i < IP_FAMILIES; i++)
		if (!ipaddr_equal(&a->addrs[i], &b->addrs[i]))
			return false;
	if (!ipaddr_equal(&a->egress, &b->egress) || !str_equal(runtime_a, runtime_b))
		return false;
	return str_equal(a->key.network, b->key.network) && str_equal(a->key.container, b->key.container) &&
	       str_equal(a->key.ifname, b->key.ifname) && str_equal(a->pod.namespace, b->pod.namespace) &&
	       str_equal(a->pod.name, b->pod.name) && str_equal(a->pod.uid, b->pod.uid) &&
	       str_equal(a->netns, b->netns) && str_equal(a->host_ifname, b->host_ifname) &&
	       a->delegated == b->delegated && a->state == b->state && a->since_us == b->since_us;
}

/* ---- stores and their files ---- */

/* A file as the program of version 1 made it, from its own text. */
#define V1_TABLES                                                                                                      \
	"PRAGMA journal_mode = WAL;"                                                                                   \
	"BEGIN IMMEDIATE;"                                                                                             \
	"CREATE TABLE lease ("                                                                                         \
	" network TEXT NOT NULL, container TEXT NOT NULL, ifname TEXT NOT NULL,"                                       \
	" addr TEXT NOT NULL UNIQUE, state TEXT NOT NULL, since_us INTEGER NOT NULL,"                                  \
	" pod_namespace TEXT NOT NULL, pod_name TEXT NOT NULL, pod_uid TEXT NOT NULL,"                                 \
	" netns TEXT NOT NULL,"                                                                                        \
	" PRIMARY KEY (container, ifname, network)) WITHOUT ROWID;"                                                    \
	"CREATE TABLE cooldown ("                                                                                      \
	" addr TEXT NOT NULL PRIMARY KEY, until_us INTEGER NOT NULL) WITHOUT ROWID;"                                   \
	"CREATE TABLE intent ("                                                                                        \
	" id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, nic TEXT NOT NULL,"                                \
	" token TEXT NOT NULL, slot INTEGER NOT NULL, count INTEGER NOT NULL);"                                        \
	"PRAGMA user_version = 1;"                                                                                     \
	"COMMIT;"

#define FILE_MAX (16U << 20) /* bytes */
#define BOOT     "df818038-ee0c-4854-a48f-0f1dc33f0424"

static inline void new_path(char ret[static PATH_MAX])
{
	(void)check_path(ret, PATH_MAX, check_tmpdir(), "leases.db");
}

static inline struct store *open_store(const char *path)
{
	struct store_aside aside;
	struct store *store = NULL;
	struct err err = { 0 };

	if (store_open(path, BOOT, &store, &aside, &err) < 0)
		fail_msg("%s", err.msg);
	if (aside.why != STORE_KEPT)
		fail_msg("set aside: %s", aside.cause);
	assert_string_equal(aside.path, "");
	return store;
}

static inline void make_store_with(const char *path, unsigned leases)
{
	struct store *store = open_store(path);

	for (unsigned i = 0; i < leases; i++) {
		const struct lease lease = lease_of(i);

		assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	}
	store_close(store);
}

/* Not synced to the disk: this is done a thousand times. */
static inline void write_file(const char *path, const char *bytes, size_t size)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fs_write_all(fd, bytes, size), 0);
}

/* What a crash left, for a look that changes nothing of it. */
static inline void copy_with_log(const char *path, const char *copy)
{
	static const char *const suffixes[] = { "", "-wal" };

	for (unsigned i = 0; i < ARRAY_SIZE(suffixes); i++) {
		_cleanup_free_ char *bytes = NULL;
		char from[PATH_MAX + 32], to[PATH_MAX + 32];
		size_t size;

		(void)snprintf(from, sizeof(from), "%s%s", path, suffixes[i]);
		(void)snprintf(to, sizeof(to), "%s%s", copy, suffixes[i]);
		if (fs_exists(from)) {
			assert_int_equal(fs_read(from, FILE_MAX, &bytes, &size), 0);
			write_file(to, bytes, size);
		}
	}
}

/* The sum of a row as store_schema.c says, in other words than store_sql.c has for it. */
static inline void test_row_sum(sqlite3_context *ctx, int count, sqlite3_value **values)
{
	uint64_t hash = 14695981039346656037U;

	for (int i = 0; i < count; i++) {
		unsigned char bytes[5000] = { (unsigned char)sqlite3_value_type(values[i]) };
		int64_t number = sqlite3_value_int64(values[i]);
		size_t size = 1;

		if (bytes[0] == SQLITE_INTEGER)
			for (; size < 9; number >>= 8)
				bytes[size++] = (unsigned char)(number & 0xff);
		if (bytes[0] == SQLITE_TEXT || bytes[0] == SQLITE_BLOB) {
			const void *data = sqlite3_value_blob(values[i]);

			size += (size_t)sqlite3_value_bytes(values[i]);
			if (size > 1) /* an empty one has no pointer */
				memcpy(bytes + 1, data, size - 1);
		}
		for (size_t at = 0; at < size; at++)
			hash = (hash ^ bytes[at]) * 1099511628211U;
	}
	sqlite3_result_int64(ctx, (int64_t)hash);
}

/* SQL on a file; row_sum() may be used. */
static inline void sql(const char *path, const char *text)
{
	sqlite3 *db = NULL;
	char *message = NULL;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_create_function(db, "row_sum", -1, SQLITE_UTF8, NULL, test_row_sum, NULL, NULL),
			 SQLITE_OK);
	if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", text, message);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Opens @path, which must be put aside with all its bytes, and finds an empty store that works. */
static inline struct store_aside put_aside(const char *path)
{
	_cleanup_free_ char *before = NULL, *after = NULL;
	const struct lease lease = lease_of(1);
	struct store *store = NULL;
	struct err err = { 0 };
	struct store_aside aside;
	size_t before_size, after_size;

	assert_int_equal(fs_read(path, FILE_MAX, &before, &before_size), 0);
	if (store_open(path, BOOT, &store, &aside, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(aside.why != STORE_KEPT && aside.cause[0]);
	assert_true(str_starts(aside.path, path));
	assert_int_equal(fs_read(aside.path, FILE_MAX, &after, &after_size), 0);
	assert_int_equal(before_size, after_size);
	assert_memory_equal(before, after, before_size);
	assert_int_equal(contents_of(store).lease_count, 0);
	assert_int_equal(store_lease_put(store, &lease, NULL), 0);
	store_close(store);
	store = open_store(path);
	assert_int_equal(contents_of(store).lease_count, 1);
	store_close(store);
	return aside;
}

#endif
