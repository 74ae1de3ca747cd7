/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An intrusive hash table with chains that doubles when it holds more entries than buckets. It knows hashes only: the
 * caller embeds the entry, compares keys and owns the memory.
 */
#ifndef IPAMD_TABLE_H
#define IPAMD_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct table_entry {
	uint64_t hash;
	struct table_entry *next; /* of the same bucket */
};

struct table {
	struct table_entry **buckets;
	size_t bucket_count; /* a power of two */
	size_t count;
};

/** table_of() - the struct of @type whose @member this entry is. */
#define table_of(entry, type, member) ((type *)(void *)((char *)(entry)-offsetof(type, member)))

/** table_init() - Return: 0 or -ENOMEM. */
int table_init(struct table *table);
/** table_done() - the entries are the caller's. */
void table_done(struct table *table);
/** table_add() - @entry joins under @hash; never fails: without memory the chains grow longer. */
void table_add(struct table *table, struct table_entry *entry, uint64_t hash);
/** table_remove() - asserts that it is in the table. */
void table_remove(struct table *table, struct table_entry *entry);
/** table_first() - an entry of that hash, or NULL; the others follow by table_same(). */
struct table_entry *table_first(const struct table *table, uint64_t hash);
/** table_same() - the next entry of the same hash, or NULL. */
struct table_entry *table_same(const struct table_entry *entry);
/** table_next() - every entry in no order; @after NULL: the first. Return: NULL at the end. */
struct table_entry *table_next(const struct table *table, const struct table_entry *after);

#endif
