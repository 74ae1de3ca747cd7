/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the door to the store
 *
 * The store is the daemon's own, on a database in memory that outlives the daemon because a second connection keeps it.
 * Each call that changes it comes by here first (the linker's --wrap): it may fail, the daemon may be killed before or
 * behind it, and the ledger learns which pod has which address and until when an address rests. The ledger outlives
 * crashes: what it says holds across them.
 */
#include "tests/sim/world_impl.h"

#include <inttypes.h>
#include <sqlite3.h>

#include "berth/check.h"
#include "berth/str.h"

int __real_store_lease_put(struct store *store, const struct lease *lease, struct err *err);
int __real_store_lease_bind(struct store *store, const struct lease_key *key, int64_t now_us, struct err *err);
int __real_store_lease_release(struct store *store, const struct lease_key *key, const struct ipaddr *addrs,
			       int64_t until_us, struct err *err);
int __real_store_intent_put(struct store *store, struct intent *intent, struct err *err);
int __real_store_intents(struct store *store, int (*fn)(const struct intent *intent, void *arg), void *arg,
			 struct err *err);
int __real_store_intent_del(struct store *store, int64_t id, struct err *err);
int __wrap_store_lease_put(struct store *store, const struct lease *lease, struct err *err);
int __wrap_store_lease_bind(struct store *store, const struct lease_key *key, int64_t now_us, struct err *err);
int __wrap_store_lease_release(struct store *store, const struct lease_key *key, const struct ipaddr *addrs,
			       int64_t until_us, struct err *err);
int __wrap_store_intent_put(struct store *store, struct intent *intent, struct err *err);
int __wrap_store_intents(struct store *store, int (*fn)(const struct intent *intent, void *arg), void *arg,
			 struct err *err);
int __wrap_store_intent_del(struct store *store, int64_t id, struct err *err);

/* ---- the database ---- */

/* One name per life of the file: nothing of an older one is found. */
static int keep(struct world *w, struct err *err)
{
	(void)snprintf(w->store_name, sizeof(w->store_name), "file:/seed-%" PRIu64 "-%u?vfs=memdb", w->scenario.seed,
		       ++w->store_serial);
	if (sqlite3_open_v2(w->store_name, &w->keeper,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK)
		return err_set(err, ERR_RETRY, "model", "no database in memory: %s", sqlite3_errmsg(w->keeper));
	return 0;
}

int store_door_open(struct world *w, struct err *err)
{
	/* Before SQLite starts; later calls are refused and change nothing. */
	(void)sqlite3_config(SQLITE_CONFIG_URI, 1);
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	return keep(w, err);
}

void store_door_close(struct world *w)
{
	(void)sqlite3_close(w->keeper);
	w->keeper = NULL;
}

void store_door_lose(struct world *w)
{
	struct err err = { 0 };

	store_door_close(w);
	CHECK(keep(w, &err) == 0);
	world_note(w, "the store is lost");
	w->store_lost = true;
	w->stores_lost++;
}

static void forget(struct world *w, struct ledger *ledger, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct pod *pod = ledger[i].pod ? pods_find(w, ledger[i].pod) : NULL;
		const struct kpod *have = pod ? kernel_pod(w, pod->host_ifname) : NULL;

		ledger[i].free_at_us = 0;
		if (!have || !have->route)
			ledger[i].pod = 0;
	}
}

/* What a daemon without its store can know: pods that the kernel shows, and no cooldowns. */
void store_door_forget(struct world *w)
{
	if (!w->store_lost)
		return;
	forget(w, w->ledger, MODEL_SUBNET);
	forget(w, w->egress, EGRESS_SIZE);
}

/* ---- faults and crashes ---- */

static int refuse(struct world *w, struct err *err)
{
	if (w->dying)
		return err_set(err, ERR_RETRY, "store", "the daemon is dead");
	if (!world_chance(w, w->scenario.faults.store))
		return 0;
	world_note(w, "the store fails");
	return err_set(err, ERR_EXHAUSTED, "store", "a planted failure");
}

static int before(struct world *w, enum crash_point point, struct err *err)
{
	(void)world_crash_at(w, point);
	return refuse(w, err);
}

/* ---- the ledger ---- */

struct ledger *ledger_of(struct world *w, const struct ipaddr *addr)
{
	const struct prefix range = egress_range(addr->family);

	return egress_has(addr) ? &w->egress[prefix_offset(&range, addr)] : &w->ledger[subnet_offset(addr)];
}

static void ledger_lease(struct world *w, const struct lease *lease, const struct ipaddr *addr)
{
	struct ledger *at = ledger_of(w, addr);
	uint32_t serial = pods_serial(&lease->key);
	char text[IPADDR_STRLEN];

	/* An adopted pod: its key is its link's name. */
	if (!serial) {
		const struct pod *pod = at->pod ? pods_find(w, at->pod) : NULL;

		if (pod && !str_equal(pod->host_ifname, lease->key.container))
			world_fail(w, "no address is leased twice", "%s adopted for %s, but %s has it",
				   ipaddr_str(addr, text), lease->key.container, pod->host_ifname);
		return;
	}
	if (at->pod && at->pod != serial)
		world_fail(w, "no address is leased twice", "%s to %08" PRIx32 " and %08" PRIx32,
			   ipaddr_str(addr, text), at->pod, serial);
	if (!at->pod && at->free_at_us > w->now_us)
		world_fail(w, "an address rests before it is leased again", "%s for %" PRId64 " ms more",
			   ipaddr_str(addr, text), (at->free_at_us - w->now_us) / USEC_PER_MSEC);
	at->pod = serial;
}

static void ledger_release(struct world *w, const struct lease_key *key, const struct ipaddr *addr)
{
	struct ledger *at = ledger_of(w, addr);
	struct pod *pod = at->pod ? pods_find(w, at->pod) : NULL;
	char text[IPADDR_STRLEN];

	if (pod && pod->state == POD_LIVE && !pod->del_said)
		world_fail(w, "a running pod keeps its address", "%s of %s", ipaddr_str(addr, text), key->container);
	if (pod && (pod->state == POD_LEFT || pod->state == POD_VANISHED)) {
		w->counters.reclaimed++;
		pods_forget(w, pod);
	}
	at->pod = 0;
	at->free_at_us = at->stolen ? 0 : w->now_us + w->scenario.config.cooldown_us;
}

/* ---- calls ---- */

/* A list that the daemon has taken in said that pods get nothing of that NIC. */
static void check_open(struct world *w, const struct lease *lease)
{
	const struct pool_nic *nic;
	struct pool_block_view block;

	if (lease->state != LEASE_RESERVED || !pool_block_of(w->d->pool, &lease->addrs[0], &block))
		return;
	nic = pool_nic_by_slot(w->d->pool, block.nic_slot);
	if (nic->closed)
		world_fail(w, "nothing new of a closed NIC", "%s of %s", lease->key.container, nic->id);
}

int __wrap_store_lease_put(struct store *store, const struct lease *lease, struct err *err)
{
	struct world *w = sim_world;

	if (before(w, CRASH_LEASE_PUT_BEFORE, err) < 0) {
		w->adoptions_unstored += lease_is_adopted(lease);
		return -1;
	}
	if (__real_store_lease_put(store, lease, err) < 0)
		return -1;
	ledger_lease(w, lease, lease_addr4(lease));
	if (lease->egress.family != IP_NONE)
		ledger_lease(w, lease, &lease->egress);
	check_open(w, lease);
	(void)world_crash_at(w, CRASH_LEASE_PUT_AFTER);
	return 0;
}

int __wrap_store_lease_bind(struct store *store, const struct lease_key *key, int64_t now_us, struct err *err)
{
	struct world *w = sim_world;

	if (before(w, CRASH_BIND_BEFORE, err) < 0 || __real_store_lease_bind(store, key, now_us, err) < 0)
		return -1;
	(void)world_crash_at(w, CRASH_BIND_AFTER);
	return 0;
}

int __wrap_store_lease_release(struct store *store, const struct lease_key *key, const struct ipaddr *addrs,
			       int64_t until_us, struct err *err)
{
	struct world *w = sim_world;

	if (before(w, CRASH_RELEASE_BEFORE, err) < 0 ||
	    __real_store_lease_release(store, key, addrs, until_us, err) < 0)
		return -1;
	ledger_release(w, key, &addrs[0]);
	if (addrs[1].family != IP_NONE)
		ledger_release(w, key, &addrs[1]);
	(void)world_crash_at(w, CRASH_RELEASE_AFTER);
	return 0;
}

int __wrap_store_intent_put(struct store *store, struct intent *intent, struct err *err)
{
	struct world *w = sim_world;

	if (before(w, CRASH_INTENT_PUT_BEFORE, err) < 0 || __real_store_intent_put(store, intent, err) < 0)
		return -1;
	(void)world_crash_at(w, CRASH_INTENT_PUT_AFTER);
	return 0;
}

static int count_intent(const struct intent *intent, void *arg)
{
	(void)intent;
	(*(unsigned *)arg)++;
	return 0;
}

int __wrap_store_intents(struct store *store, int (*fn)(const struct intent *intent, void *arg), void *arg,
			 struct err *err)
{
	struct world *w = sim_world;

	if (world_planted() == PLANT_FORGOTTEN_INTENT)
		return 0;
	if (!world_chance(w, w->scenario.faults.intents))
		return __real_store_intents(store, fn, arg, err);
	(void)__real_store_intents(store, count_intent, &w->intents_kept, err);
	return err_set(err, ERR_EXHAUSTED, "store", "a planted failure");
}

int __wrap_store_intent_del(struct store *store, int64_t id, struct err *err)
{
	struct world *w = sim_world;

	if (before(w, CRASH_INTENT_DEL_BEFORE, err) < 0) {
		w->intents_kept++;
		return -1;
	}
	if (__real_store_intent_del(store, id, err) < 0)
		return -1;
	(void)world_crash_at(w, CRASH_INTENT_DEL_AFTER);
	return 0;
}
