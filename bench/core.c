/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the core alone
 *
 * What a lease costs the daemon between the request that was read and the reply that is written, without socket, kernel
 * and cloud: the pool takes an address, the store commits it, the reply is encoded; the confirm is committed; a release
 * is committed and the address cools. As on a node, PODS of them live at any time, and time goes on for the pool.
 *
 * The store is the real one, in a fresh directory of a tmpfs, as the run directory is one. Every figure is the median of
 * ROUNDS rounds. CPU time stands beside what the clock says, and is what is told of the pool alone: on a machine that does
 * something else too they differ.
 */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <time.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/proto.h"
#include "ipamd/pool.h"
#include "ipamd/store.h"

#define ROUNDS      7U
#define PODS        250U   /* alive at a time */
#define CYCLES      10000U /* leases a round, about half a second */
#define POOL_CYCLES 200000U
#define KEYS        16384U /* pods that exist; a power of two, more than are ever alive */
#define ADDRESSES   1000U
#define COOLDOWN_US 30000 /* of the pool's time, which goes on TURN_US a lease: 300 addresses cool at a time */
#define TURN_US     100
#define NSEC        1e9

static _noreturn_ void die(const char *what, const char *why)
{
	(void)fprintf(stderr, "bench: %s: %s\n", what, why);
	exit(1);
}

/* ---- measuring ---- */

struct sample {
	double wall_ns, cpu_ns; /* an operation */
};

static double seconds_of(clockid_t clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / NSEC;
}

struct watch {
	double wall, cpu;
};

static struct watch watch_start(void)
{
	return (struct watch){ seconds_of(CLOCK_MONOTONIC), seconds_of(CLOCK_PROCESS_CPUTIME_ID) };
}

static struct sample watch_stop(const struct watch *watch, unsigned operations)
{
	double per = NSEC / operations;

	return (struct sample){ (seconds_of(CLOCK_MONOTONIC) - watch->wall) * per,
				(seconds_of(CLOCK_PROCESS_CPUTIME_ID) - watch->cpu) * per };
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static struct sample median(const struct sample *samples)
{
	double wall[ROUNDS], cpu[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		wall[i] = samples[i].wall_ns;
		cpu[i] = samples[i].cpu_ns;
	}
	qsort(wall, ROUNDS, sizeof(wall[0]), compare);
	qsort(cpu, ROUNDS, sizeof(cpu[0]), compare);
	return (struct sample){ wall[ROUNDS / 2], cpu[ROUNDS / 2] };
}

/* ---- pods and their pool ---- */

static const struct pod_name pod_name = { "default", "web-5d9c8b7f6-x2x4z", "6b4a2c3e-0000-4000-8000-000000000001" };

struct core {
	struct pool *pool;
	struct store *store;
	struct lease_key *keys; /* KEYS of them; those alive are from `oldest` up to `next` */
	unsigned oldest, next;
	int64_t now_us;
};

static const struct lease_key *key_at(const struct core *core, unsigned number)
{
	return &core->keys[number % KEYS];
}

/* 64 hex digits, as containerd's, without any order. */
static void fill_keys(struct lease_key *keys)
{
	uint64_t random = 1;

	for (unsigned i = 0; i < KEYS; i++) {
		struct lease_key *key = &keys[i];
		size_t len = 0;

		(void)snprintf(key->network, sizeof(key->network), "berth");
		(void)snprintf(key->ifname, sizeof(key->ifname), "eth0");
		while (len < 64) {
			random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			len += (size_t)snprintf(key->container + len, sizeof(key->container) - len, "%08x",
						(unsigned)(random >> 32));
		}
	}
}

/* Blocks of 16, as EC2 gives them, on as many NICs as that takes. */
static struct pool *pool_of(unsigned addresses)
{
	struct pool *pool = pool_new(COOLDOWN_US, POOL_SERVES_V4);

	for (unsigned i = 0; pool && i < (addresses + 15) / 16; i++) {
		struct ipaddr first = ipaddr_v4(0x0a000000U + 16 * i);
		struct prefix block = prefix_of(&first, 28);
		unsigned slot = i / CLOUD_BLOCKS_MAX;
		struct cloud_nic nic = { .slot = slot, .primary = slot == 0, .attached = true };

		(void)snprintf(nic.id, sizeof(nic.id), "nic-%u", slot);
		if (!pool_nic_by_slot(pool, slot) && !pool_nic_add(pool, &nic, 0))
			return NULL;
		pool_nic_set_state(pool, slot, NIC_READY, 0);
		if (pool_block_add(pool, slot, &block, 0) < 0)
			return NULL;
		pool_block_set_state(pool, &block, BLOCK_READY, 0);
	}
	return pool;
}

static void core_open(struct core *core, unsigned addresses)
{
	*core = (struct core){ .pool = pool_of(addresses), .keys = calloc(KEYS, sizeof(*core->keys)) };
	if (!core->pool || !core->keys)
		die("pool", "no memory");
	fill_keys(core->keys);
}

static void core_close(struct core *core)
{
	store_close(core->store);
	pool_free(core->pool);
	free(core->keys);
}

static const struct lease *take(struct core *core)
{
	const struct lease *lease;
	bool is_new;

	core->now_us += TURN_US;
	(void)pool_tick(core->pool, core->now_us);
	lease = pool_lease(core->pool, key_at(core, core->next++), &pod_name,
			   "/var/run/netns/cni-7d9bd4d5-0c2f-6a4e-1b9a-2f6e5d4c3b2a", core->now_us, &is_new);
	if (!lease || !is_new)
		die("lease", "the pool gave none");
	return lease;
}

/* ---- a whole lease ---- */

static void encode(const struct lease *lease)
{
	struct proto_reply reply = { .ok = true, .mtu = 9001, .address_count = 1 };
	_cleanup_free_ char *text = NULL;

	reply.addresses[0].address = prefix_host(&lease->addrs[0]);
	reply.addresses[0].gateway = ipaddr_v4(0xa9fe0101U);
	proto_host_ifname(&lease->key, reply.host_ifname);
	text = proto_reply_encode(&reply, NULL);
	if (!text)
		die("reply", "not encoded");
}

static void add(struct core *core)
{
	const struct lease *lease = take(core);
	struct err err;

	if (store_lease_put(core->store, lease, &err) < 0)
		die("store", err.msg);
	encode(lease);
	if (store_lease_bind(core->store, &lease->key, core->now_us, &err) < 0)
		die("store", err.msg);
	(void)pool_lease_confirm(core->pool, &lease->key, core->now_us);
}

static void del(struct core *core)
{
	const struct lease_key *key = key_at(core, core->oldest++);
	const struct lease *lease = pool_lease_find(core->pool, key);
	struct err err;

	if (!lease || store_lease_release(core->store, key, lease->addrs, core->now_us + COOLDOWN_US, &err) < 0)
		die("release", lease ? err.msg : "no lease");
	(void)pool_lease_release(core->pool, key, core->now_us, NULL);
}

static struct sample run_leases(const char *path)
{
	struct sample samples[ROUNDS];
	struct store_aside aside;
	struct core core;
	struct err err;

	core_open(&core, ADDRESSES);
	if (store_open(path, "bench", &core.store, &aside, &err) < 0)
		die("store", err.msg);
	while (core.next < PODS)
		add(&core);
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct watch watch = watch_start();

		for (unsigned i = 0; i < CYCLES; i++) {
			add(&core);
			del(&core);
		}
		samples[round] = watch_stop(&watch, CYCLES);
	}
	core_close(&core);
	return median(samples);
}

/* ---- the pool alone ---- */

/* Half of the addresses are leased at any time. */
static struct sample run_pool(unsigned addresses)
{
	struct sample samples[ROUNDS];
	struct core core;

	core_open(&core, addresses);
	while (core.next < addresses / 2)
		(void)take(&core);
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct watch watch = watch_start();

		for (unsigned i = 0; i < POOL_CYCLES; i++) {
			(void)take(&core);
			(void)pool_lease_release(core.pool, key_at(&core, core.oldest++), core.now_us, NULL);
		}
		samples[round] = watch_stop(&watch, POOL_CYCLES);
	}
	core_close(&core);
	return median(samples);
}

/* ---- where ---- */

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *at)
{
	(void)stat;
	(void)type;
	(void)at;
	return remove(path);
}

/* A fresh directory of a tmpfs. */
static const char *make_dir(char path[static 64])
{
	static const char *const roots[] = { "/dev/shm", "/run" };
	struct statfs fs;

	for (unsigned i = 0; i < ARRAY_SIZE(roots); i++) {
		if (statfs(roots[i], &fs) < 0 || fs.f_type != TMPFS_MAGIC)
			continue;
		(void)snprintf(path, 64, "%s/berth-bench-XXXXXX", roots[i]);
		if (mkdtemp(path))
			return path;
	}
	die("no directory", "neither /dev/shm nor /run is a tmpfs that can be written");
}

int main(void)
{
	struct sample lease, small, large;
	char dir[64], path[96];

	(void)snprintf(path, sizeof(path), "%s/leases.db", make_dir(dir));
	lease = run_leases(path);
	(void)nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	small = run_pool(1000);
	large = run_pool(10000);
	(void)printf("bench: lease_per_s %.0f 1/s\n", NSEC / lease.wall_ns);
	(void)printf("bench: lease_cpu %.1f us\n", lease.cpu_ns / 1000);
	(void)printf("bench: pool_lease_ns_1000 %.0f ns\n", small.cpu_ns);
	(void)printf("bench: pool_lease_ns_10000 %.0f ns\n", large.cpu_ns);
	(void)printf("bench: pool_lease_ratio_10000_1000 %.2f x\n", large.cpu_ns / small.cpu_ns);
	return 0;
}
