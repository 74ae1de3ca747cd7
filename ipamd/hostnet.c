/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: sync
 *
 * Links are read once; NICs (hostnet_nic.c), then pods and blocks (hostnet_pod.c) say what they want, and routes and
 * rules (hostnet_route.c) are made so. A step that fails does not keep the others from being done; the first error is
 * returned.
 */
#include "ipamd/hostnet.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "ipamd/hostnet_impl.h"

/* ---- what the steps share ---- */

void sync_list_done(struct sync_list *list)
{
	free(list->items);
}

void *sync_list_add(struct sync_list *list, size_t item_size, unsigned max)
{
	void *item;

	if (list->count == list->alloc) {
		unsigned alloc = list->alloc ? list->alloc * 2 : 64;
		void *items = list->count < max ? realloc(list->items, alloc * item_size) : NULL;

		if (!items)
			return NULL;
		list->items = items;
		list->alloc = alloc;
	}
	item = (char *)list->items + list->count++ * item_size;
	memset(item, 0, item_size);
	return item;
}

void sync_note(struct sync *sync, const struct err *err)
{
	if (!sync->failed)
		sync->err = *err;
	sync->failed = true;
}

void sync_note_memory(struct sync *sync)
{
	struct err err;

	(void)err_set(&err, ERR_EXHAUSTED, HOSTNET_DOMAIN, "no memory, or more links or routes than there may be");
	sync_note(sync, &err);
	sync->is_short = true;
}

static void sync_done(struct sync *sync)
{
	sync_list_done(&sync->links);
	sync_list_done(&sync->addrs);
	sync_list_done(&sync->wants);
	sync_list_done(&sync->removals);
	sync_list_done(&sync->rules);
	sync_list_done(&sync->neighs);
	sync_list_done(&sync->qdiscs);
}

bool sync_wants_ipv6(const struct sync *sync)
{
	const struct hostnet_want *want = sync->want;

	for (unsigned i = 0; i < want->nic_count; i++) {
		if (want->nics[i].primary_addr6.family || want->nics[i].gateway6.family)
			return true;
	}
	for (unsigned i = 0; i < want->block_count; i++) {
		if (want->blocks[i].addr.family == IP_V6)
			return true;
	}
	for (unsigned i = 0; i < want->pod_count; i++) {
		if (want->pods[i].addr.family == IP_V6)
			return true;
	}
	return false;
}

/* ---- doors ---- */

int hostnet_open(const struct hostnet_config *config, struct hostnet **ret, struct err *err)
{
	struct hostnet *hostnet;

	assert(config && ret);
	assert(hostnet_slots_max(config->mark_mask) > 0);
	hostnet = calloc(1, sizeof(*hostnet));
	if (!hostnet)
		return err_set(err, ERR_EXHAUSTED, HOSTNET_DOMAIN, "no memory");
	hostnet->config = *config;
	if (net_open(&hostnet->net, err) < 0) {
		free(hostnet);
		return -1;
	}
	*ret = hostnet;
	return 0;
}

void hostnet_close(struct hostnet *hostnet)
{
	if (!hostnet)
		return;
	net_close(hostnet->net);
	free(hostnet);
}

static int sync_all(struct sync *sync, struct err *err)
{
	if (sync_read_links(sync, err) < 0)
		return -1;
	sync_nics(sync);
	sync_forwarding(sync);
	sync_want_pods(sync);
	/* Half a list of what is wanted would remove the other half from the kernel. */
	if (sync->is_short) {
		if (err)
			*err = sync->err;
		return -1;
	}
	if (sync_routes(sync, err) < 0 || sync_rules(sync, err) < 0)
		return -1;
	sync->report.whole = true;
	sync_neighs(sync);
	sync_shapes(sync);
	if (sync->failed && err)
		*err = sync->err;
	return sync->failed ? -1 : 0;
}

int hostnet_sync(struct hostnet *hostnet, struct hostnet_want *want, struct hostnet_report *ret, struct err *err)
{
	_cleanup_(sync_done) struct sync sync = { .hostnet = hostnet, .want = want };
	int r;

	assert(hostnet && want);
	r = sync_all(&sync, err);
	if (r < 0)
		(void)err_wrap(err, "host network");
	if (ret)
		*ret = sync.report;
	return r;
}
