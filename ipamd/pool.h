/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the pool: what this node holds
 *
 *   node -- nic[] -- block[] -- address[]      and leases, found by key and by address
 *
 * Pure: no I/O, no clock, no randomness; time is an argument (clock_boot µs). Each state has one setter that asserts the
 * edge. Free addresses of READY blocks on READY NICs form one queue, least recently used first: taking and giving back
 * is O(1), finding a lease O(1), finding the block of an address O(log n).
 *
 * NIC        ATTACHING --> CONFIGURING <--> DRAINING --> DETACHING --> (gone)
 *                             +--> READY <----+             +--> CONFIGURING READY DRAINING (the call failed)
 *            any of ours --> LOST --> CONFIGURING (seen again)      FOREIGN: never leaves
 * Block      PENDING --> READY <--> DRAINING --> RELEASING --> (gone)
 *                                                   +--> PENDING READY DRAINING (the call failed)
 *            any --> LOST --> PENDING (seen again)
 * Address    FREE --> LEASED --> COOLING --> FREE; FREE --> COOLING and COOLING --> LEASED only from the store,
 *            LEASED --> FREE only by undo
 *
 * Both families are one model. A block of up to POOL_BLOCK_SIZE_MAX addresses keeps one struct for each; a larger one (an
 * IPv6 /80) is a range: it keeps only the addresses that are LEASED or COOLING and a cursor to the next one that nobody
 * had, so it costs the same whatever its size, and an address of it comes round again only after all the others. The
 * first address of a range (the subnet-router anycast address, RFC 4291 section 2.6.1) is never leased. Counters hold a
 * range's size without it, cut to POOL_RANGE_COUNT_MAX so that no sum wraps; no more than that are in use at once.
 *
 * A lease holds one address of each family that the pool serves, all or none: the least recently used v4 address, and a
 * v6 address of the same NIC where that NIC has one, else of any.
 *
 * A NIC may be closed, in any state: its free addresses are not leased from the moment that this is known.
 *
 * The end of a cooldown has two steps, so that connection tracking can be flushed in between: pool_flush_begin() takes
 * what has cooled out of the queue (it stays COOLING), pool_flush_end() makes it FREE.
 *
 * Setting the state that something is in already is no change. Addresses of a block that becomes READY join the queue at
 * its end: who held them a moment ago is not known, and what cools here has cooled longer.
 */
#ifndef IPAMD_POOL_H
#define IPAMD_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "berth/cloud.h"
#include "berth/ipaddr.h"
#include "berth/proto.h"

struct err;

enum nic_state {
	NIC_ATTACHING,   /* asked for, no ID yet; left by the attach result: CONFIGURING, or removed on failure */
	NIC_CONFIGURING, /* the cloud has it, the host does not route by it yet; left when hostnet says so */
	NIC_READY,       /* addresses of its READY blocks may be leased */
	NIC_DRAINING,    /* nothing new is leased from it; back to READY while nothing was sent to the cloud */
	NIC_DETACHING,   /* detach is in flight; removed by its result */
	NIC_FOREIGN,     /* not ours: never touched, counts against limits */
	NIC_LOST,        /* the cloud does not show it any more; live pods on it are reported, never cut off */
	NIC_STATE_COUNT
};
enum block_state {
	BLOCK_PENDING,   /* the cloud gave it, cover route and NIC map do not know it yet */
	BLOCK_READY,     /* its free addresses may be leased */
	BLOCK_DRAINING,  /* nothing new is leased; no address leased or cooling is needed before RELEASING */
	BLOCK_RELEASING, /* release is in flight */
	BLOCK_LOST,      /* the cloud does not show it any more */
	BLOCK_STATE_COUNT
};
enum addr_state { ADDR_FREE, ADDR_LEASED, ADDR_COOLING, ADDR_STATE_COUNT };
enum lease_state {
	LEASE_RESERVED, /* given to a plugin that has not confirmed yet */
	LEASE_BOUND,    /* the pod is wired */
	LEASE_STATE_COUNT
};
const char *nic_state_name(enum nic_state state);
const char *block_state_name(enum block_state state);
const char *addr_state_name(enum addr_state state);
const char *lease_state_name(enum lease_state state);

struct lease {
	struct lease_key key;
	struct pod_name pod;
	char netns[LEASE_NETNS_SIZE];
	struct ipaddr addrs[IP_FAMILIES];    /* by ip_index(); family 0: none of it */
	char host_ifname[LEASE_IFNAME_SIZE]; /* of the host end; empty: proto_host_ifname() of the key */
	bool delegated;                      /* somebody else's plugin wires it: no host end and no route of ours */
	struct ipaddr egress;          /* known to this node alone, of a family that addrs lacks; family 0: none */
	struct runtime_config runtime; /* what the runtime asked for beside addresses */
	enum lease_state state;
	int64_t since_us; /* of the present state */
};

struct pool; /* opaque; read through the views below */

#define POOL_BLOCK_SIZE_MAX                                                                                            \
	256 /* addresses: a /24, GCP's default alias range and the largest that is kept one by one */
#define POOL_RANGE_COUNT_MAX                                                                                           \
	(1U << 16) /* addresses as which a range counts at most: more than a node has pods, and all blocks make 2^30 */

/** enum nic_busy - the one mutation that is in flight on a NIC, if any. */
enum nic_busy {
	NIC_IDLE,
	NIC_BUSY_ASSIGN,
	NIC_BUSY_RELEASE,
	NIC_BUSY_ATTACH,
	NIC_BUSY_DETACH,
	NIC_BUSY_RECOVER,
	NIC_BUSY_COUNT
};

/** struct pool_nic - a NIC; fields are read-only outside pool.c. */
struct pool_nic {
	char id[CLOUD_ID_SIZE]; /* "" while ATTACHING */
	struct macaddr mac;
	unsigned slot;
	bool primary;
	bool closed; /* nothing new is leased from it; what is leased stays */
	struct ipaddr primary_addr;
	struct prefix subnet;
	struct ipaddr gateway;
	struct ipaddr primary_addr6; /* IP_NONE where it has none */
	struct prefix subnet6;
	struct ipaddr gateway6;
	enum nic_state state;
	int64_t since_us; /* of the present state */
	enum nic_busy busy;
	unsigned incoming[IP_FAMILIES];       /* addresses that the mutation in flight may bring */
	unsigned incoming_units[IP_FAMILIES]; /* the same in blocks: the room they will take */
	bool stale;                           /* its last mutation ended AMBIGUOUS: not mutated again before a list */
	unsigned block_count[IP_FAMILIES];
	unsigned leased_count, cooling_count; /* addresses over all its blocks, both families, any block state */
};

/** struct pool_block_view - a block, by value. */
struct pool_block_view {
	struct prefix prefix;
	enum block_state state;
	unsigned nic_slot;
	unsigned size, free_count, leased_count, cooling_count; /* addresses */
	unsigned supply_count; /* of the free: may be leased now, or as soon as the block and its NIC are READY */
	int64_t changed_us;    /* when one of its addresses or the block itself last changed its state */
	int64_t idle_since_us; /* when its last lease or cooldown ended (or it became READY); INT64_MAX while in use */
};

/** struct pool_counts - addresses of one family, over all NICs that are ours. */
struct pool_counts {
	unsigned total; /* in blocks that are PENDING, READY or DRAINING, of NICs that are not DETACHING or LOST */
	unsigned free;  /* may be leased this moment */
	unsigned leased;
	unsigned cooling;
	unsigned pending;    /* FREE, in PENDING blocks or on NICs not READY yet */
	unsigned incoming;   /* in flight from the cloud */
	unsigned unleasable; /* FREE, in DRAINING blocks or on DRAINING or closed NICs, or of a family not served */
	unsigned reserved;   /* of the leased: not confirmed */
	unsigned lost;       /* leased addresses in LOST blocks or NICs */
};

#define POOL_SERVES_V4 1U
#define POOL_SERVES_V6 2U

/** pool_new() - @cooldown_us: how long a released address rests; @serves: POOL_SERVES_* of which a lease needs an address
 *  each. Blocks of a family that is not served are held and never leased from. Return: NULL without memory. */
struct pool *pool_new(int64_t cooldown_us, unsigned serves);
/** pool_block_size() - addresses as which a block of that prefix length counts. */
unsigned pool_block_size(enum ip_family family, unsigned len);
/** pool_serves() - does a lease need an address of that family? */
bool pool_serves(const struct pool *pool, enum ip_family family);
/** pool_first_family() - whose addresses are meant where one figure has to do: IPv4, or IPv6 where that is served alone. */
enum ip_family pool_first_family(const struct pool *pool);
void pool_free(struct pool *pool);

/* ---- NICs and blocks ---- */

/** pool_nic_add() - a NIC as the cloud shows it, without its blocks; state CONFIGURING (READY must be earned) or FOREIGN.
 *  Return: borrowed, valid until removed; NULL without memory or above CLOUD_NICS_MAX. The slot must be free. */
const struct pool_nic *pool_nic_add(struct pool *pool, const struct cloud_nic *nic, int64_t now_us);
/** pool_nic_update() - what a later list says of a NIC: is it closed, and its IPv6 side. Return: did anything change? */
bool pool_nic_update(struct pool *pool, unsigned slot, const struct cloud_nic *nic);
/** pool_nic_attaching() - a placeholder for a NIC that is being attached at @slot with @wants[IP_FAMILIES] first units. */
const struct pool_nic *pool_nic_attaching(struct pool *pool, unsigned slot, const struct cloud_want *wants,
					  int64_t now_us);
/** pool_nic_attached() - the placeholder becomes the NIC the cloud gave (CONFIGURING, not busy), perhaps at another slot.
 *  Return: 0, or -EEXIST if that slot is taken (then call pool_nic_remove and list). */
int pool_nic_attached(struct pool *pool, unsigned placeholder_slot, const struct cloud_nic *nic, int64_t now_us);
/** pool_nic_remove() - forget a NIC and its blocks; asserts that nothing on it is leased. */
void pool_nic_remove(struct pool *pool, unsigned slot);
/** pool_nic_set_state() - asserts the edge; DETACHING also that nothing on it is leased or cooling. */
void pool_nic_set_state(struct pool *pool, unsigned slot, enum nic_state state, int64_t now_us);
/** pool_nic_set_busy() - NIC_IDLE ends it, anything else asserts that it was idle; @wants[IP_FAMILIES]: what may come
 *  (ASSIGN), else NULL. */
void pool_nic_set_busy(struct pool *pool, unsigned slot, enum nic_busy busy, const struct cloud_want *wants);
void pool_nic_set_stale(struct pool *pool, unsigned slot, bool stale);
const struct pool_nic *pool_nic_by_slot(const struct pool *pool, unsigned slot);
const struct pool_nic *pool_nic_by_id(const struct pool *pool, const char *id);
/** pool_nic_next() - in slot order; @after NULL: the first. Return: NULL at the end. */
const struct pool_nic *pool_nic_next(const struct pool *pool, const struct pool_nic *after);

/** pool_block_add() - state PENDING. Return: 0, -ENOMEM, -EEXIST (overlaps a block we hold), -ENOENT (no such NIC of
 *  ours), -ENOSPC (CLOUD_BLOCKS_MAX on it), -EINVAL (IPv4 and larger than POOL_BLOCK_SIZE_MAX, IPv6
 *  and larger than a /64). */
int pool_block_add(struct pool *pool, unsigned slot, const struct prefix *prefix, int64_t now_us);
/** pool_block_set_state() - asserts the edge; RELEASING also that nothing in it is leased or cooling. */
void pool_block_set_state(struct pool *pool, const struct prefix *prefix, enum block_state state, int64_t now_us);
/** pool_block_remove() - forget it; asserts that nothing in it is leased. */
void pool_block_remove(struct pool *pool, const struct prefix *prefix);
/** pool_block_get() - Return: false if we hold no such block. */
bool pool_block_get(const struct pool *pool, const struct prefix *prefix, struct pool_block_view *ret);
/** pool_block_of() - the block that holds @addr. */
bool pool_block_of(const struct pool *pool, const struct ipaddr *addr, struct pool_block_view *ret);
/** pool_blocks() - every block in address order; a non-zero return of @fn ends the walk and is returned. */
int pool_blocks(const struct pool *pool, int (*fn)(const struct pool_block_view *block, void *arg), void *arg);
/** pool_addresses() - every address of a block in order, with its state and lease (NULL unless LEASED); of a range those
 *  that are not FREE. Return: what @fn returned if that is not 0, or -ENOMEM. */
int pool_addresses(const struct pool *pool, const struct prefix *block,
		   int (*fn)(const struct ipaddr *addr, enum addr_state state, const struct lease *lease, void *arg),
		   void *arg);

/* ---- leases ---- */

/** pool_lease() - the lease of @key: the one it has, or a new one, RESERVED, with a free address of each served family.
 *  @ret_new: was it made now? Return: borrowed until released; NULL when nothing is free or without memory. */
const struct lease *pool_lease(struct pool *pool, const struct lease_key *key, const struct pod_name *pod,
			       const char *netns, int64_t now_us, bool *ret_new);
/** struct lease_label - what a lease is told beside its addresses when it is made; all of it may be zero. */
struct lease_label {
	const char *host_ifname; /* NULL or "": proto_host_ifname() */
	bool delegated;
	struct ipaddr egress;
	const struct runtime_config *runtime; /* NULL: nothing is asked for; copied */
};
/** pool_lease_label() - of a lease that was just made. */
void pool_lease_label(struct pool *pool, const struct lease_key *key, const struct lease_label *label);
const struct lease *pool_lease_find(const struct pool *pool, const struct lease_key *key);
const struct lease *pool_lease_by_addr(const struct pool *pool, const struct ipaddr *addr);
/** pool_lease_confirm() - RESERVED -> BOUND; again is fine. Return: false if there is no such lease. */
bool pool_lease_confirm(struct pool *pool, const struct lease_key *key, int64_t now_us);
/** pool_lease_release() - its addresses start to cool. @ret_until_us may be NULL. Return: false if no such lease. */
bool pool_lease_release(struct pool *pool, const struct lease_key *key, int64_t now_us, int64_t *ret_until_us);
/** pool_lease_undo() - a lease that was made but could not be stored: FREE again at once, at the front. */
void pool_lease_undo(struct pool *pool, const struct lease_key *key, int64_t now_us);
/** pool_lease_restore() - from the store; ends a cooldown of its addresses. Families that the pool does not serve are
 *  kept too. Return: 0, -ENOMEM (also a range that counts as full), -ENOENT (no block holds one of its addresses, or it
 *  has none), -EEXIST (an address or the key has a lease); then nothing was done. */
int pool_lease_restore(struct pool *pool, const struct lease *lease);
/** pool_cooldown_restore() - from the store: @addr rests until @until_us at least. Return: 0, -ENOENT, -EBUSY (leased), -ENOMEM. */
int pool_cooldown_restore(struct pool *pool, const struct ipaddr *addr, int64_t until_us);
/** pool_leases() - every lease; the callback must not change the pool. */
int pool_leases(const struct pool *pool, int (*fn)(const struct lease *lease, void *arg), void *arg);

/** pool_next_rested() - when the next cooldown ends, INT64_MAX if none does (those being flushed are not asked). */
int64_t pool_next_rested(const struct pool *pool);
/** pool_flush_begin() - up to @max addresses whose cooldown is over at @now_us, what ended first first: still COOLING, to
 *  be given to pool_flush_end(). Return: how many. */
unsigned pool_flush_begin(struct pool *pool, int64_t now_us, struct ipaddr *ret, unsigned max);
/** pool_flush_end() - FREE, at the end of the queue; an address that is not being flushed any more is passed over. */
void pool_flush_end(struct pool *pool, const struct ipaddr *addr, int64_t now_us);
/** pool_tick() - both steps at once, where nothing is to be flushed (planner tests). Return: pool_next_rested(). */
int64_t pool_tick(struct pool *pool, int64_t now_us);
void pool_count(const struct pool *pool, enum ip_family family, struct pool_counts *ret);
/** pool_check() - walk everything and compare with the counters and queues (tests, simulator, asserts). Return: 0, or -1
 *  with what does not hold. */
int pool_check(const struct pool *pool, struct err *err);

#endif
