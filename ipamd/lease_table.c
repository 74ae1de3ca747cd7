/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/lease_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "berth/check.h"

#define BUCKETS_FIRST 64U        /* 512 bytes; a node of 110 pods doubles once */
#define BUCKETS_MAX   (1U << 20) /* more addresses than any instance can hold; chains grow from there on */

#define FNV_OFFSET UINT64_C(0xcbf29ce484222325) /* FNV-1a, 64 bits: draft-eastlake-fnv, section 5 */
#define FNV_PRIME  UINT64_C(0x100000001b3)

/* With its terminator, so that "a","bc" and "ab","c" differ. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
	do
		hash = (hash ^ (uint8_t)*text) * FNV_PRIME;
	while (*text++);
	return hash;
}

static uint64_t hash_key(const struct lease_key *key)
{
	return hash_text(hash_text(hash_text(FNV_OFFSET, key->network), key->container), key->ifname);
}

static bool same_key(const struct lease_key *a, const struct lease_key *b)
{
	/* The container first: it is what differs. */
	return strcmp(a->container, b->container) == 0 && strcmp(a->ifname, b->ifname) == 0 &&
	       strcmp(a->network, b->network) == 0;
}

static struct lease_entry **bucket_of(struct lease_entry **buckets, size_t bucket_count, uint64_t hash)
{
	/* FNV's high bits mix best. */
	return &buckets[(hash ^ hash >> 32) & (bucket_count - 1)];
}

int lease_table_init(struct lease_table *table)
{
	struct lease_entry **buckets = calloc(BUCKETS_FIRST, sizeof(struct lease_entry *));

	if (!buckets)
		return -ENOMEM;
	*table = (struct lease_table){ .buckets = buckets, .bucket_count = BUCKETS_FIRST };
	return 0;
}

void lease_table_done(struct lease_table *table)
{
	for (size_t i = 0; i < table->bucket_count; i++) {
		for (struct lease_entry *entry = table->buckets[i], *next; entry; entry = next) {
			next = entry->next;
			free(entry);
		}
	}
	free(table->buckets);
	*table = (struct lease_table){ 0 };
}

struct lease_entry *lease_table_find(const struct lease_table *table, const struct lease_key *key)
{
	uint64_t hash = hash_key(key);

	for (struct lease_entry *entry = *bucket_of(table->buckets, table->bucket_count, hash); entry;
	     entry = entry->next)
		if (entry->hash == hash && same_key(&entry->lease.key, key))
			return entry;
	return NULL;
}

/* Without memory the chains just stay longer. */
static void grow(struct lease_table *table)
{
	size_t bucket_count = table->bucket_count * 2;
	struct lease_entry **buckets;

	if (bucket_count > BUCKETS_MAX || !(buckets = calloc(bucket_count, sizeof(struct lease_entry *))))
		return;
	for (size_t i = 0; i < table->bucket_count; i++) {
		for (struct lease_entry *entry = table->buckets[i], *next; entry; entry = next) {
			struct lease_entry **bucket = bucket_of(buckets, bucket_count, entry->hash);

			next = entry->next;
			entry->next = *bucket;
			*bucket = entry;
		}
	}
	free(table->buckets);
	table->buckets = buckets;
	table->bucket_count = bucket_count;
}

void lease_table_add_take(struct lease_table *table, struct lease_entry *entry)
{
	struct lease_entry **bucket;

	CHECK(!lease_table_find(table, &entry->lease.key));
	if (table->count >= table->bucket_count)
		grow(table);
	entry->hash = hash_key(&entry->lease.key);
	bucket = bucket_of(table->buckets, table->bucket_count, entry->hash);
	entry->next = *bucket;
	*bucket = entry;
	table->count++;
}

void lease_table_remove(struct lease_table *table, struct lease_entry *entry)
{
	struct lease_entry **link = bucket_of(table->buckets, table->bucket_count, entry->hash);

	while (*link && *link != entry)
		link = &(*link)->next;
	CHECK(*link == entry);
	*link = entry->next;
	entry->next = NULL;
	table->count--;
}
