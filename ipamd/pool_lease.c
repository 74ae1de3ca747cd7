/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "berth/check.h"
#include "berth/str.h"
#include "ipamd/pool_impl.h"

static struct lease_entry *find_entry(const struct pool *pool, const struct lease_key *key)
{
	struct table_entry *at = table_first(&pool->leases, proto_key_hash(key));

	for (; at; at = table_same(at)) {
		struct lease_entry *entry = table_of(at, struct lease_entry, by_key);
		const struct lease_key *its = &entry->lease.key;

		/* The container first: it is what differs. */
		if (str_equal(its->container, key->container) && str_equal(its->ifname, key->ifname) &&
		    str_equal(its->network, key->network))
			return entry;
	}
	return NULL;
}

/* ---- making and ending ---- */

static void count_reserved(struct pool *pool, const struct lease_entry *entry, bool add)
{
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		if (entry->addrs[i])
			pool->reserved[i] += add ? 1 : UINT32_MAX; /* unsigned: minus one */
}

/* Its addresses are LEASED already; the entry is the table's from here on. */
static void join_take(struct pool *pool, struct lease_entry *entry)
{
	table_add(&pool->leases, &entry->by_key, proto_key_hash(&entry->lease.key));
	if (entry->lease.state == LEASE_RESERVED)
		count_reserved(pool, entry, true);
}

/* Out of the table; the caller moves the addresses on and frees the entry. */
static void leave(struct pool *pool, struct lease_entry *entry)
{
	if (entry->lease.state == LEASE_RESERVED)
		count_reserved(pool, entry, false);
	table_remove(&pool->leases, &entry->by_key);
}

/* A free address of every family that is served, all or none: v6 from the NIC of the v4 one if it can be. Nothing is to be
 * undone when there is none: v4, which is never a range, comes first, and picking it changes nothing. */
static bool pick_all(struct pool *pool, struct pool_addr *ret[IP_FAMILIES])
{
	struct pool_addr *addrs[IP_FAMILIES] = { NULL };
	const struct held_nic *near = NULL;

	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		if (!pool_serves(pool, ip_family_at(i)))
			continue;
		addrs[i] = addr_pick(pool, i, near);
		if (!addrs[i])
			return false;
		near = addrs[i]->block->nic;
	}
	memcpy(ret, addrs, sizeof(addrs));
	return true;
}

const struct lease *pool_lease(struct pool *pool, const struct lease_key *key, const struct pod_name *pod,
			       const char *netns, int64_t now_us, bool *ret_new)
{
	struct lease_entry *entry = find_entry(pool, key);
	struct pool_addr *addrs[IP_FAMILIES];

	if (entry) {
		*ret_new = false;
		return &entry->lease;
	}
	entry = calloc(1, sizeof(*entry));
	if (!entry || !pick_all(pool, addrs)) {
		free(entry);
		return NULL;
	}
	entry->lease = (struct lease){ .key = *key, .pod = *pod, .state = LEASE_RESERVED, .since_us = now_us };
	CHECK(str_copy(entry->lease.netns, sizeof(entry->lease.netns), netns) == 0);
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		if (addrs[i])
			addr_lease(pool, addrs[i], entry, now_us);
	join_take(pool, entry);
	*ret_new = true;
	return &entry->lease;
}

void pool_lease_label(struct pool *pool, const struct lease_key *key, const struct lease_label *label)
{
	struct lease_entry *entry = find_entry(pool, key);
	struct lease *lease;

	CHECK(entry);
	lease = &entry->lease;
	CHECK(str_copy(lease->host_ifname, sizeof(lease->host_ifname), label->host_ifname ? label->host_ifname : "") ==
	      0);
	lease->delegated = label->delegated;
	lease->egress = label->egress;
	if (label->runtime)
		lease->runtime = *label->runtime;
}

bool pool_lease_confirm(struct pool *pool, const struct lease_key *key, int64_t now_us)
{
	struct lease_entry *entry = find_entry(pool, key);

	if (!entry)
		return false;
	if (entry->lease.state == LEASE_RESERVED) {
		entry->lease.state = LEASE_BOUND;
		entry->lease.since_us = now_us;
		count_reserved(pool, entry, false);
	}
	return true;
}

bool pool_lease_release(struct pool *pool, const struct lease_key *key, int64_t now_us, int64_t *ret_until_us)
{
	struct lease_entry *entry = find_entry(pool, key);
	int64_t until_us = now_us + pool->cooldown_us;

	if (!entry)
		return false;
	leave(pool, entry);
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		if (entry->addrs[i])
			addr_cool(pool, entry->addrs[i], until_us, now_us);
	free(entry);
	if (ret_until_us)
		*ret_until_us = until_us;
	return true;
}

void pool_lease_undo(struct pool *pool, const struct lease_key *key, int64_t now_us)
{
	struct lease_entry *entry = find_entry(pool, key);

	CHECK(entry && entry->lease.state == LEASE_RESERVED);
	leave(pool, entry);
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		if (entry->addrs[i])
			addr_free(pool, entry->addrs[i], true, now_us);
	free(entry);
}

/* ---- looking ---- */

const struct lease *pool_lease_find(const struct pool *pool, const struct lease_key *key)
{
	const struct lease_entry *entry = find_entry(pool, key);

	return entry ? &entry->lease : NULL;
}

const struct lease *pool_lease_by_addr(const struct pool *pool, const struct ipaddr *addr)
{
	struct pool_block *block = pool_find_block(pool, addr);
	const struct pool_addr *found = block ? addr_find(pool, block, addr) : NULL;

	return found && found->lease ? &found->lease->lease : NULL;
}

int pool_leases(const struct pool *pool, int (*fn)(const struct lease *lease, void *arg), void *arg)
{
	struct table_entry *at = NULL;

	while ((at = table_next(&pool->leases, at))) {
		int rc = fn(&table_of(at, struct lease_entry, by_key)->lease, arg);

		if (rc != 0)
			return rc;
	}
	return 0;
}

/* ---- what the store brings back ---- */

/* The blocks of its addresses. Return: 0, -ENOENT, or -EEXIST when one is leased. */
static int find_blocks(const struct pool *pool, const struct lease *lease, struct pool_block *ret[IP_FAMILIES])
{
	unsigned found = 0;

	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		const struct ipaddr *addr = &lease->addrs[i];
		const struct pool_addr *held;

		ret[i] = NULL;
		if (addr->family == IP_NONE)
			continue;
		if (addr->family != ip_family_at(i) || !(ret[i] = pool_find_block(pool, addr)))
			return -ENOENT;
		held = addr_find(pool, ret[i], addr);
		if (held && held->state == ADDR_LEASED)
			return -EEXIST;
		found++;
	}
	return found ? 0 : -ENOENT;
}

/* All or none, as in pick_all(). */
static int hold_all(struct pool *pool, const struct lease *lease, struct pool_block *const blocks[IP_FAMILIES],
		    struct pool_addr *ret[IP_FAMILIES])
{
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		ret[i] = blocks[i] ? addr_hold(pool, blocks[i], &lease->addrs[i]) : NULL;
		if (blocks[i] && !ret[i])
			return -ENOMEM;
	}
	return 0;
}

int pool_lease_restore(struct pool *pool, const struct lease *lease)
{
	struct pool_block *blocks[IP_FAMILIES];
	struct pool_addr *addrs[IP_FAMILIES];
	struct lease_entry *entry;
	int r = find_blocks(pool, lease, blocks);

	if (r < 0)
		return r;
	if (find_entry(pool, &lease->key))
		return -EEXIST;
	entry = calloc(1, sizeof(*entry));
	if (!entry || hold_all(pool, lease, blocks, addrs) < 0) {
		free(entry);
		return -ENOMEM;
	}
	entry->lease = *lease;
	/* When its addresses changed is not known: the blocks keep their time. */
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		if (addrs[i])
			addr_lease(pool, addrs[i], entry, blocks[i]->changed_us);
	join_take(pool, entry);
	return 0;
}

int pool_cooldown_restore(struct pool *pool, const struct ipaddr *addr, int64_t until_us)
{
	struct pool_block *block = pool_find_block(pool, addr);
	struct pool_addr *held = block ? addr_hold(pool, block, addr) : NULL;

	if (!held)
		return block ? -ENOMEM : -ENOENT;
	switch (held->state) {
	case ADDR_LEASED:
		return -EBUSY;
	case ADDR_COOLING:
		cool_extend(pool, held, until_us);
		return 0;
	case ADDR_FREE:
		addr_cool(pool, held, until_us, block->changed_us);
		return 0;
	case ADDR_STATE_COUNT:
		break;
	}
	CHECK_NEVER("no address state");
}
