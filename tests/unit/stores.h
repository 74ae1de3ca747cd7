/* SPDX-License-Identifier: Apache-2.0 */
/* Leases for the store, and what a store holds. */
#ifndef TESTS_UNIT_STORES_H
#define TESTS_UNIT_STORES_H

#include "tests/check.h"

#include <stdio.h>

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

/* What a store holds. */
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

#endif
