/* SPDX-License-Identifier: Apache-2.0 */
/* Leases by key: a hash table with chains that doubles when it holds more leases than buckets. Private to the pool. */
#ifndef IPAMD_LEASE_TABLE_H
#define IPAMD_LEASE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "ipamd/pool.h"

struct pool_addr;

struct lease_entry {
	struct lease lease;
	struct pool_addr *addr; /* borrowed: the address that it holds */
	uint64_t hash;
	struct lease_entry *next; /* of the same bucket */
};

struct lease_table {
	struct lease_entry **buckets;
	size_t bucket_count; /* a power of two */
	size_t count;
};

/** lease_table_init() - Return: 0 or -ENOMEM. */
int lease_table_init(struct lease_table *table);
/** lease_table_done() - frees every entry too. */
void lease_table_done(struct lease_table *table);
/** lease_table_find() - Return: borrowed, or NULL. */
struct lease_entry *lease_table_find(const struct lease_table *table, const struct lease_key *key);
/** lease_table_add_take() - @entry, whose key is not in the table yet, is owned by the table from here on. */
void lease_table_add_take(struct lease_table *table, struct lease_entry *entry);
/** lease_table_remove() - out of the table; the caller owns it again. */
void lease_table_remove(struct lease_table *table, struct lease_entry *entry);

#endif
