/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: GC
 *
 * The runtime lists what lives; the daemon frees what it holds of this network beside that. libcni sends the list under
 * two names: "cni.dev/valid-attachments" is the specification's, "cni.dev/attachments" an older one that it still adds.
 *
 * No list, or null, is a runtime that has nothing to say: nothing is done. An empty list says that nothing lives. A list
 * in which anything is not what it should be is refused whole: what was meant by it is not guessed at.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include <jansson.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/log.h"
#include "berth/str.h"
#include "cni/client.h"
#include "cni/cnierr.h"
#include "cni/plugin.h"

#define GC_ROUNDS_MAX 256 /* of 32 leases: twice what a node can hold */
#define LIST_HINT     "The container runtime makes this list: look at its version and log. Nothing was freed."
#define DAEMON_HINT                                                                                                    \
	"What berth-ipamd could not free is told in its log; the next GC tries it again, and what no pod holds is "    \
	"reclaimed without one."

static int bad_list(struct cnierr *cnierr, const char *what)
{
	return cnierr_set(cnierr, CNI_INVALID_CONFIG, LIST_HINT,
			  "network configuration: 'cni.dev/valid-attachments' %s", what);
}

/* Return: borrowed; NULL when there is none. */
static const json_t *find_list(const json_t *conf)
{
	const json_t *list = json_object_get(conf, "cni.dev/valid-attachments");

	if (!list)
		list = json_object_get(conf, "cni.dev/attachments");
	return list && !json_is_null(list) ? list : NULL;
}

/* What is longer than our keys may be is no attachment of ours: its hash, of what fits, is as good as any. */
static int read_attachment(const struct cni_run *run, const json_t *item, uint64_t *ret, struct cnierr *cnierr)
{
	const char *container = json_string_value(json_object_get(item, "containerID"));
	const char *ifname = json_string_value(json_object_get(item, "ifname"));
	struct lease_key key = { 0 };

	if (!container || !ifname)
		return bad_list(cnierr, "holds what has no containerID and ifname");
	(void)str_copy(key.network, sizeof(key.network), run->conf.network);
	(void)str_copy(key.container, sizeof(key.container), container);
	(void)str_copy(key.ifname, sizeof(key.ifname), ifname);
	*ret = proto_key_hash(&key);
	return 0;
}

static int read_list(const struct cni_run *run, const json_t *list, struct proto_request *request,
		     struct cnierr *cnierr)
{
	const json_t *item;
	size_t i, count = json_array_size(list);

	if (!json_is_array(list))
		return bad_list(cnierr, "is no list");
	if (count > PROTO_GC_KEYS_MAX)
		return bad_list(cnierr, "has more than 4096 entries, which no node's pods need");
	static_assert(PROTO_GC_KEYS_MAX == 4096, "named in a message");
	request->valid = calloc(count + 1, sizeof(*request->valid));
	if (!request->valid)
		return cnierr_set(cnierr, CNI_INTERNAL, "The node is short of memory.", "no memory for %zu attachments",
				  count);
	request->valid_count = (unsigned)count;
	json_array_foreach (list, i, item)
		if (read_attachment(run, item, &request->valid[i], cnierr) < 0)
			return -1;
	return 0;
}

/* Round by round until nothing is left; what one round could not free does not stop the next. */
static int sweep(const struct cni_run *run, const struct proto_request *request, struct cnierr *cnierr)
{
	unsigned freed = 0, kept = 0;
	bool more = true;
	int rc = 0;

	for (int round = 0; more && round < GC_ROUNDS_MAX; round++) {
		_cleanup_reply_ struct proto_reply reply = { 0 };
		struct err err;

		if (client_gc(run, request, &reply, &err) < 0)
			return cnierr_daemon(cnierr, "collect garbage", &err);
		if (!reply.ok && rc == 0) {
			rc = cnierr_reply(cnierr, "collect garbage", &reply);
			(void)str_copy(cnierr->details, sizeof(cnierr->details), DAEMON_HINT);
		}
		freed += reply.freed;
		kept = reply.kept;
		more = reply.swept && reply.more;
	}
	if (freed || kept)
		log_warn("GC", "network=%s freed=%u kept=%u", run->conf.network, freed, kept);
	return rc;
}

int cni_gc(const struct cni_run *run, struct cnierr *cnierr)
{
	json_auto_t *conf = cni_conf_json(run->stdin_text, run->stdin_size);
	_cleanup_request_ struct proto_request request = { .op = PROTO_GC, .since_us = run->started_us };
	const json_t *list = find_list(conf);

	if (!list)
		return 0;
	(void)str_copy(request.key.network, sizeof(request.key.network), run->conf.network);
	if (read_list(run, list, &request, cnierr) < 0)
		return -1;
	return sweep(run, &request, cnierr);
}
