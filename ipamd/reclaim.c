/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: leases that nobody will give back
 *
 * A runtime that crashed, a chained plugin that failed or a plugin that was killed leaves a lease for which no DEL comes.
 * Two kinds are found:
 *
 *   reserved, never confirmed   after unconfirmedTimeout: the runtime was never told that the pod has an address
 *   bound, sandbox gone         the host end is gone (it dies with the pod's namespace) and so is the namespace's path,
 *                               seen in two looks reclaimPeriod apart: one look can fall into the wiring of a pod
 *
 * A path counts as gone only where its folder can be seen: a daemon that was started without the host's /run/netns must
 * not take every pod for dead. A process in the path (/proc/PID/ns/net) counts as gone only where all of the machine's can
 * be seen. A lease that has no host end of ours (delegated IPAM), or one whose name the pod's next sandbox has too, is judged
 * by its path alone, a pod that was adopted from the kernel by its host end alone.
 */
#include "ipamd/ipamd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "berth/clock.h"
#include "berth/fs.h"
#include "berth/log.h"
#include "berth/str.h"

#define BATCH    128  /* leases given up in one turn: each is a store commit of some 20 µs */
#define PODS_MAX 4096 /* host ends that are looked at; no node runs more pods */

#define PID_NS_FIRST 0xeffffffcU /* inode of the machine's first PID namespace: PROC_PID_INIT_INO of linux/proc_ns.h */

/* Leases of one kind that are to go. */
struct batch {
	struct lease_key keys[BATCH];
	unsigned count;
};

static void give_up(struct ipamd *d, const struct batch *batch, const char *why, int64_t now_us)
{
	struct err err;

	for (unsigned i = 0; i < batch->count; i++) {
		if (requests_del(d, &batch->keys[i], now_us, &err) < 0) {
			log_error("cannot reclaim a lease", "container=%s " LOG_ERR_FMT, batch->keys[i].container,
				  LOG_ERR_ARGS(&err));
			return;
		}
		d->stats.reclaimed++;
		log_warn("reclaimed a lease", "container=%s ifname=%s why=\"%s\"", batch->keys[i].container,
			 batch->keys[i].ifname, why);
	}
}

/* ---- reserved, never confirmed ---- */

struct unconfirmed {
	struct batch batch;
	int64_t before_us, next_us;
};

static int find_unconfirmed(const struct lease *lease, void *arg)
{
	struct unconfirmed *u = arg;

	if (lease->state != LEASE_RESERVED)
		return 0;
	if (lease->since_us > u->before_us) {
		u->next_us = clock_earlier(u->next_us, lease->since_us);
		return 0;
	}
	u->batch.keys[u->batch.count++] = lease->key;
	return u->batch.count == BATCH;
}

static int64_t reclaim_unconfirmed(struct ipamd *d, int64_t now_us)
{
	struct unconfirmed u; /* 34 KiB that each turn would zero: only the count of the batch says what is in it */
	struct pool_counts v4, v6;

	pool_count(d->pool, IP_V4, &v4);
	pool_count(d->pool, IP_V6, &v6);
	if (!v4.reserved && !v6.reserved)
		return INT64_MAX;
	u.batch.count = 0;
	u.before_us = now_us - d->config.unconfirmed_us;
	u.next_us = INT64_MAX;
	(void)pool_leases(d->pool, find_unconfirmed, &u);
	give_up(d, &u.batch, "reserved and never confirmed", now_us);
	if (u.batch.count)
		return now_us + USEC_PER_SEC; /* more of them, or one that could not be stored */
	return u.next_us == INT64_MAX ? INT64_MAX : u.next_us + d->config.unconfirmed_us;
}

/* ---- bound, sandbox gone ---- */

struct look {
	struct ipamd *d;
	char (*links)[LEASE_IFNAME_SIZE]; /* host ends that exist, sorted; owned */
	unsigned link_count;
	uint64_t *suspects; /* of this look; owned */
	unsigned suspect_count;
	struct batch batch;
};

static int keep_link(const char *ifname, void *arg)
{
	struct look *look = arg;

	if (look->link_count == PODS_MAX)
		return 1;
	return str_copy(look->links[look->link_count++], LEASE_IFNAME_SIZE, ifname) < 0;
}

static int compare_links(const void *a, const void *b)
{
	return strcmp(a, b);
}

bool link_is_gone(const struct ipamd *d, const char *ifname)
{
	struct net_link link;
	struct err err;

	return net_link_by_name(d->net, ifname, &link, &err) < 0 && err.class == ERR_NOTFOUND;
}

/* A name that was asked for is the pod's next sandbox's too: it says nothing of this one, and the path decides. */
static bool has_link(const struct look *look, const struct lease *lease)
{
	char ifname[LEASE_IFNAME_SIZE];

	if (lease->host_ifname[0])
		return false;
	lease_host_ifname(lease, ifname);
	if (!str_starts(ifname, HOSTNET_POD_LINKS)) /* adopted, and not in the list */
		return !link_is_gone(look->d, ifname);
	return bsearch(ifname, look->links, look->link_count, LEASE_IFNAME_SIZE, compare_links);
}

/* Whether our /proc has every process of the machine. */
static bool sees_processes(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 && st.st_ino == PID_NS_FIRST;
}

bool sandbox_is_gone(const char *netns)
{
	char folder[LEASE_NETNS_SIZE];
	char *slash;

	if (fs_exists(netns) || str_copy(folder, sizeof(folder), netns) < 0)
		return false;
	slash = strrchr(folder, '/');
	if (!slash || slash == folder)
		return false;
	*slash = '\0';
	/* Some runtimes name /proc/PID/ns/net: the folder goes with the process. */
	return fs_exists(folder) || (str_starts(folder, "/proc/") && sees_processes());
}

static bool was_suspect(const struct ipamd *d, uint64_t hash)
{
	for (unsigned i = 0; i < d->suspect_count; i++)
		if (d->suspects[i] == hash)
			return true;
	return false;
}

static int find_dead(const struct lease *lease, void *arg)
{
	struct look *look = arg;
	uint64_t hash = proto_key_hash(&lease->key);

	if (lease->state != LEASE_BOUND || has_link(look, lease) ||
	    !(lease_is_adopted(lease) || sandbox_is_gone(lease->netns)))
		return 0;
	if (!was_suspect(look->d, hash) || look->batch.count == BATCH) {
		look->suspects[look->suspect_count++] = hash;
		return look->suspect_count == PODS_MAX;
	}
	look->batch.keys[look->batch.count++] = lease->key;
	return 0;
}

static void look_for_dead(struct look *look, int64_t now_us)
{
	struct ipamd *d = look->d;
	struct err err;

	look->links = calloc(PODS_MAX, LEASE_IFNAME_SIZE);
	look->suspects = calloc(PODS_MAX, sizeof(*look->suspects));
	if (!look->links || !look->suspects)
		return; /* no memory: the next look will do */
	if (hostnet_pod_links(d->hostnet, keep_link, look, &err) != 0) {
		log_warn("cannot look for pods that are gone", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
		return;
	}
	qsort(look->links, look->link_count, LEASE_IFNAME_SIZE, compare_links);
	(void)pool_leases(d->pool, find_dead, look);
	free(d->suspects);
	d->suspects = take_ptr(look->suspects);
	d->suspect_count = look->suspect_count;
	give_up(d, &look->batch, "its network namespace is gone", now_us);
}

static int64_t reclaim_dead(struct ipamd *d, int64_t now_us)
{
	struct look look;

	if (d->look_due_us > now_us)
		return d->look_due_us;
	look = (struct look){ .d = d };
	d->look_due_us = now_us + d->config.reclaim_period_us;
	look_for_dead(&look, now_us);
	free(look.links);
	free(look.suspects);
	return d->look_due_us;
}

int64_t reclaim_due(struct ipamd *d, int64_t now_us)
{
	if (!d->listed)
		return INT64_MAX;
	return clock_earlier(reclaim_unconfirmed(d, now_us), reclaim_dead(d, now_us));
}
