/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/table.h"

#include <errno.h>
#include <stdlib.h>

#include "berth/check.h"

#define BUCKETS_FIRST 64U        /* 512 bytes; a node of 110 pods doubles once */
#define BUCKETS_MAX   (1U << 20) /* more addresses than any instance can hold; chains grow from there on */

static struct table_entry **bucket_of(const struct table *table, uint64_t hash)
{
	/* The high bits of a multiplicative hash mix best. */
	return &table->buckets[(hash ^ hash >> 32) & (table->bucket_count - 1)];
}

int table_init(struct table *table)
{
	struct table_entry **buckets = calloc(BUCKETS_FIRST, sizeof(struct table_entry *));

	if (!buckets)
		return -ENOMEM;
	*table = (struct table){ .buckets = buckets, .bucket_count = BUCKETS_FIRST };
	return 0;
}

void table_done(struct table *table)
{
	free(table->buckets);
	*table = (struct table){ 0 };
}

static void put(struct table *table, struct table_entry *entry)
{
	struct table_entry **bucket = bucket_of(table, entry->hash);

	entry->next = *bucket;
	*bucket = entry;
	table->count++;
}

static void grow(struct table *table)
{
	struct table grown = { .bucket_count = table->bucket_count * 2 };

	if (grown.bucket_count > BUCKETS_MAX)
		return;
	grown.buckets = calloc(grown.bucket_count, sizeof(struct table_entry *));
	if (!grown.buckets)
		return;
	for (size_t i = 0; i < table->bucket_count; i++) {
		for (struct table_entry *entry = table->buckets[i], *next; entry; entry = next) {
			next = entry->next;
			put(&grown, entry);
		}
	}
	free(table->buckets);
	*table = grown;
}

void table_add(struct table *table, struct table_entry *entry, uint64_t hash)
{
	if (table->count >= table->bucket_count)
		grow(table);
	entry->hash = hash;
	put(table, entry);
}

void table_remove(struct table *table, struct table_entry *entry)
{
	struct table_entry **link = bucket_of(table, entry->hash);

	while (*link && *link != entry)
		link = &(*link)->next;
	CHECK(*link == entry);
	*link = entry->next;
	entry->next = NULL;
	table->count--;
}

static struct table_entry *same_from(struct table_entry *entry, uint64_t hash)
{
	while (entry && entry->hash != hash)
		entry = entry->next;
	return entry;
}

struct table_entry *table_first(const struct table *table, uint64_t hash)
{
	return same_from(*bucket_of(table, hash), hash);
}

struct table_entry *table_same(const struct table_entry *entry)
{
	return same_from(entry->next, entry->hash);
}

struct table_entry *table_next(const struct table *table, const struct table_entry *after)
{
	struct table_entry **bucket = after ? bucket_of(table, after->hash) + 1 : table->buckets;

	if (after && after->next)
		return after->next;
	while (bucket < table->buckets + table->bucket_count && !*bucket)
		bucket++;
	return bucket < table->buckets + table->bucket_count ? *bucket : NULL;
}
