/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "berth/check.h"
#include "berth/str.h"
#include "ipamd/pool_impl.h"

const struct lease *pool_lease(struct pool *pool, const struct lease_key *key, const struct pod_name *pod,
			       const char *netns, int64_t now_us, bool *ret_new)
{
	struct lease_entry *entry = lease_table_find(&pool->leases, key);
	struct pool_addr *addr;

	if (entry) {
		*ret_new = false;
		return &entry->lease;
	}
	addr = addr_least_recent(pool);
	if (!addr || !(entry = calloc(1, sizeof(*entry))))
		return NULL;
	entry->lease = (struct lease){ .key = *key, .pod = *pod, .state = LEASE_RESERVED, .since_us = now_us };
	CHECK(str_copy(entry->lease.netns, sizeof(entry->lease.netns), netns) == 0);
	entry->lease.addrs[0] = addr_value(addr);
	addr_lease(pool, addr, entry, now_us);
	lease_table_add_take(&pool->leases, entry);
	pool->reserved_count++;
	*ret_new = true;
	return &entry->lease;
}

const struct lease *pool_lease_find(const struct pool *pool, const struct lease_key *key)
{
	const struct lease_entry *entry = lease_table_find(&pool->leases, key);

	return entry ? &entry->lease : NULL;
}

const struct lease *pool_lease_by_addr(const struct pool *pool, const struct ipaddr *addr)
{
	struct pool_block *block = pool_find_block(pool, addr);
	const struct pool_addr *found = block ? addr_in(block, addr) : NULL;

	return found && found->lease ? &found->lease->lease : NULL;
}

bool pool_lease_confirm(struct pool *pool, const struct lease_key *key, int64_t now_us)
{
	struct lease_entry *entry = lease_table_find(&pool->leases, key);

	if (!entry)
		return false;
	if (entry->lease.state == LEASE_RESERVED) {
		entry->lease.state = LEASE_BOUND;
		entry->lease.since_us = now_us;
		pool->reserved_count--;
	}
	return true;
}

/* Out of the table; the caller moves the address on and frees the entry. Return: that address. */
static struct pool_addr *drop_lease(struct pool *pool, struct lease_entry *entry)
{
	struct pool_addr *addr = entry->addr;

	CHECK(addr->lease == entry);
	if (entry->lease.state == LEASE_RESERVED)
		pool->reserved_count--;
	lease_table_remove(&pool->leases, entry);
	return addr;
}

bool pool_lease_release(struct pool *pool, const struct lease_key *key, int64_t now_us, struct ipaddr *ret_addr,
			int64_t *ret_until_us)
{
	struct lease_entry *entry = lease_table_find(&pool->leases, key);
	int64_t until_us = now_us + pool->cooldown_us;
	struct pool_addr *addr;

	if (!entry)
		return false;
	addr = drop_lease(pool, entry);
	addr_cool(pool, addr, until_us, now_us);
	free(entry);
	if (ret_addr)
		*ret_addr = addr_value(addr);
	if (ret_until_us)
		*ret_until_us = until_us;
	return true;
}

void pool_lease_undo(struct pool *pool, const struct lease_key *key, int64_t now_us)
{
	struct lease_entry *entry = lease_table_find(&pool->leases, key);

	CHECK(entry && entry->lease.state == LEASE_RESERVED);
	addr_free(pool, drop_lease(pool, entry), true, now_us);
	free(entry);
}

int pool_lease_restore(struct pool *pool, const struct lease *lease)
{
	struct pool_block *block = pool_find_block(pool, &lease->addrs[0]);
	struct lease_entry *entry;
	struct pool_addr *addr;

	if (!block)
		return -ENOENT;
	addr = addr_in(block, &lease->addrs[0]);
	if (addr->state == ADDR_LEASED || lease_table_find(&pool->leases, &lease->key))
		return -EEXIST;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	entry->lease = *lease;
	if (addr->state == ADDR_COOLING)
		addr_free(pool, addr, false, block->changed_us);
	addr_lease(pool, addr, entry, block->changed_us);
	lease_table_add_take(&pool->leases, entry);
	if (lease->state == LEASE_RESERVED)
		pool->reserved_count++;
	return 0;
}

int pool_cooldown_restore(struct pool *pool, const struct ipaddr *addr, int64_t until_us)
{
	struct pool_block *block = pool_find_block(pool, addr);
	struct pool_addr *found = block ? addr_in(block, addr) : NULL;

	if (!found)
		return -ENOENT;
	switch (found->state) {
	case ADDR_LEASED:
		return -EBUSY;
	case ADDR_COOLING:
		addr_extend(pool, found, until_us);
		return 0;
	case ADDR_FREE:
		addr_cool(pool, found, until_us, block->changed_us);
		return 0;
	case ADDR_STATE_COUNT:
		break;
	}
	CHECK_NEVER("no address state");
}

int pool_leases(const struct pool *pool, int (*fn)(const struct lease *lease, void *arg), void *arg)
{
	for (size_t i = 0; i < pool->leases.bucket_count; i++) {
		for (const struct lease_entry *entry = pool->leases.buckets[i]; entry; entry = entry->next) {
			int rc = fn(&entry->lease, arg);

			if (rc != 0)
				return rc;
		}
	}
	return 0;
}
