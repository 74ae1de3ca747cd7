/* SPDX-License-Identifier: Apache-2.0 */
/* What the host should have, drawn from pool, identity and settings at one moment: for hostnet_sync() and for the nft
 * table. */
#ifndef IPAMD_WANTED_H
#define IPAMD_WANTED_H

#include "ipamd/ipamd.h"

struct strbuf;

/** struct wanted - begun as { .d = daemon }; borrows from its pool, which must not change meanwhile. */
struct wanted {
	struct ipamd *d;
	struct hostnet_want want;
	struct hostnet_nic nics[CLOUD_NICS_MAX];
	struct prefix *blocks;
	struct pool_block_ref *refs; /* the same blocks with their NIC, for nft */
	struct hostnet_pod *pods;
	struct ipaddr *allowed; /* of pods that may ask the metadata service */
	unsigned blocks_alloc, pods_alloc, ref_count, allowed_count, allowed_alloc;
	struct prefix egress[IP_FAMILIES]; /* ranges that are in use */
	struct port_list ports;
	bool services_seen; /* ports_look() */
};

/** wanted_collect() - fill it. Return: 0, or -ENOMEM; then it is not whole. */
int wanted_collect(struct wanted *w);
/** wanted_is_seen() - has each NIC been looked at, by this sync or one before? */
bool wanted_is_seen(const struct wanted *w);
/** wanted_render() - the nft table of what was collected, behind a sync, which names the links of NICs. Return: 0 or -ENOMEM. */
int wanted_render(const struct wanted *w, struct strbuf *out);
/** wanted_done() - free what it owns, also when it is not whole. */
void wanted_done(struct wanted *w);

#endif
