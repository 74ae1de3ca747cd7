/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: what the runtime says is all there is
 *
 * A GC names every attachment of a network that lives. What we hold of that network beside it is freed, as a DEL would,
 * with three exceptions: what is younger than the list (an ADD may have raced it), what is not bound yet (its plugin is at
 * work, or unconfirmedTimeout will have it), and what a pod still holds: two runtimes may share a node and know nothing
 * of each other's pods, and no address is taken from under a living one. That is said in the log and counted.
 *
 * The list is of hashes (proto.h): a collision keeps a lease, none is ever freed for one. The whole list comes in one
 * message, so nothing is kept between calls, and the same call again finds less to do: a call frees GC_BATCH leases and
 * says that there are more, so that a thousand dead pods do not hold up the living.
 */
#include "ipamd/ipamd.h"

#include <inttypes.h>
#include <stdlib.h>

#include "berth/fs.h"
#include "berth/log.h"
#include "berth/str.h"

#define GC_BATCH 32 /* leases of a call: each is a store commit of some 20 µs and as much of netlink, 2 ms together */

struct sweep {
	struct ipamd *d;
	const struct proto_request *request; /* its list is sorted */
	int64_t before_us;
	struct lease_key keys[GC_BATCH]; /* to be freed */
	unsigned count, kept;
	bool more;
};

static int compare_hashes(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static bool is_listed(const struct proto_request *request, const struct lease_key *key)
{
	uint64_t hash = proto_key_hash(key);

	return request->valid_count > 0 &&
	       bsearch(&hash, request->valid, request->valid_count, sizeof(hash), compare_hashes);
}

/* Is a namespace mounted there? Where we cannot see the folder, or look at what is there, we cannot know, and say yes. */
static bool has_sandbox(const struct lease *lease)
{
	_cleanup_close_ int fd = -1;
	struct err err;

	if (sandbox_is_gone(lease->netns))
		return false;
	return netns_open(lease->netns, &fd, &err) == 0 || !fs_exists(lease->netns) || err.class != ERR_NOTFOUND;
}

/* The host's end dies with the pod's namespace; a pod that was adopted is known by that end alone. */
static bool is_held(const struct ipamd *d, const struct lease *lease)
{
	char ifname[LEASE_IFNAME_SIZE];

	if (lease->delegated)
		return lease->netns[0] && has_sandbox(lease);
	lease_host_ifname(lease, ifname);
	return !link_is_gone(d, ifname) && (lease_is_adopted(lease) || has_sandbox(lease));
}

static int find_stale(const struct lease *lease, void *arg)
{
	struct sweep *sweep = arg;

	if (!str_equal(lease->key.network, sweep->request->key.network) || lease->state != LEASE_BOUND ||
	    lease->since_us >= sweep->before_us || is_listed(sweep->request, &lease->key))
		return 0;
	if (is_held(sweep->d, lease)) {
		sweep->kept++;
		log_warn("GC: not listed, but its pod is there: kept", "container=%s ifname=%s netns=\"%s\"",
			 lease->key.container, lease->key.ifname, lease->netns);
		return 0;
	}
	if (sweep->count == GC_BATCH) {
		sweep->more = true;
		return 1;
	}
	sweep->keys[sweep->count++] = lease->key;
	return 0;
}

/* All of them, whatever happens to one. The first failure is what is told. */
static void free_stale(struct sweep *sweep, struct proto_reply *reply, int64_t now_us)
{
	struct err err;

	for (unsigned i = 0; i < sweep->count; i++) {
		const struct lease_key *key = &sweep->keys[i];

		if (requests_del(sweep->d, key, now_us, &err) == 0) {
			reply->freed++;
			sweep->d->stats.reclaimed++;
			log_warn("reclaimed a lease", "container=%s ifname=%s why=\"the runtime does not list it\"",
				 key->container, key->ifname);
			continue;
		}
		log_error("GC: cannot free a lease", "container=%s " LOG_ERR_FMT, key->container, LOG_ERR_ARGS(&err));
		if (reply->ok) {
			reply->ok = false;
			reply->error = err;
			reply->reason = FAIL_STATE;
			(void)err_wrap(&reply->error, "free container %s interface %s", key->container, key->ifname);
		}
	}
}

void gc_serve(struct ipamd *d, struct server_conn *conn, const struct proto_request *request, int64_t now_us)
{
	struct proto_reply reply = { .ok = true, .swept = true };
	struct sweep *sweep = calloc(1, sizeof(*sweep));

	if (!sweep || !d->listed) {
		reply = (struct proto_reply){ .reason = sweep ? FAIL_STARTING : FAIL_NONE };
		(void)err_set(&reply.error, ERR_RETRY, "ipamd", "%s",
			      sweep ? "what this node has is not known yet" : "no memory");
	} else {
		*sweep = (struct sweep){ .d = d, .request = request, .before_us = now_us };
		if (request->since_us > 0 && request->since_us < now_us)
			sweep->before_us = request->since_us;
		if (request->valid_count > 0)
			qsort(request->valid, request->valid_count, sizeof(*request->valid), compare_hashes);
		(void)pool_leases(d->pool, find_stale, sweep);
		free_stale(sweep, &reply, now_us);
		reply.kept = sweep->kept;
		reply.more = sweep->more;
	}
	free(sweep);
	server_reply(conn, &reply);
}
