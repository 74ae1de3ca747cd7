/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mistakes, put between two units of the daemon by the linker (--wrap), in test_planted only: what the simulator does not
 * notice when it is planted, it would not notice when somebody makes it.
 */
#include "tests/sim/plants.h"

#include "ipamd/ipamd.h"
#include "tests/sim/world.h"

#define DOUBLE_EVERY 20U /* leases: the first pods come to live first */
#define LOSE_EVERY   3U  /* restored leases */

struct pool *__real_pool_new(int64_t cooldown_us, unsigned serves);
const struct lease *__real_pool_lease(struct pool *pool, const struct lease_key *key, const struct pod_name *pod,
				      const char *netns, int64_t now_us, bool *ret_new);
int __real_pool_lease_restore(struct pool *pool, const struct lease *lease);
void __real_pool_nic_set_stale(struct pool *pool, unsigned slot, bool stale);
int64_t __real_requests_serve_waiters(struct ipamd *d, int64_t now_us);
struct pool *__wrap_pool_new(int64_t cooldown_us, unsigned serves);
const struct lease *__wrap_pool_lease(struct pool *pool, const struct lease_key *key, const struct pod_name *pod,
				      const char *netns, int64_t now_us, bool *ret_new);
int __wrap_pool_lease_restore(struct pool *pool, const struct lease *lease);
void __wrap_pool_nic_set_stale(struct pool *pool, unsigned slot, bool stale);
int64_t __wrap_requests_serve_waiters(struct ipamd *d, int64_t now_us);

static unsigned leases, restored;
static struct lease twin;

void plants_reset(void)
{
	leases = restored = 0;
	twin = (struct lease){ 0 };
}

struct pool *__wrap_pool_new(int64_t cooldown_us, unsigned serves)
{
	return __real_pool_new(world_planted() == PLANT_NO_COOLDOWN ? 0 : cooldown_us, serves);
}

static int another(const struct lease *lease, void *arg)
{
	const struct lease *one = arg;

	if (ipaddr_equal(&lease->addrs[0], &one->addrs[0]) || lease->state != LEASE_BOUND)
		return 0;
	twin = *one;
	twin.addrs[0] = lease->addrs[0];
	return 1;
}

const struct lease *__wrap_pool_lease(struct pool *pool, const struct lease_key *key, const struct pod_name *pod,
				      const char *netns, int64_t now_us, bool *ret_new)
{
	const struct lease *lease = __real_pool_lease(pool, key, pod, netns, now_us, ret_new);
	struct lease copy;

	if (world_planted() != PLANT_DOUBLE_LEASE || !lease || !*ret_new || ++leases % DOUBLE_EVERY)
		return lease;
	copy = *lease;
	return pool_leases(pool, another, &copy) ? &twin : lease;
}

int __wrap_pool_lease_restore(struct pool *pool, const struct lease *lease)
{
	if (world_planted() == PLANT_LOST_LEASE && ++restored % LOSE_EVERY == 0)
		return 0;
	return __real_pool_lease_restore(pool, lease);
}

void __wrap_pool_nic_set_stale(struct pool *pool, unsigned slot, bool stale)
{
	__real_pool_nic_set_stale(pool, slot, stale && world_planted() != PLANT_UNCLEAR_IS_DONE);
}

int64_t __wrap_requests_serve_waiters(struct ipamd *d, int64_t now_us)
{
	struct pool_counts counts;

	pool_count(d->pool, IP_V4, &counts);
	return world_planted() == PLANT_NO_DEADLINE && !counts.free ? INT64_MAX
								    : __real_requests_serve_waiters(d, now_us);
}
