/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/wanted.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipamd/ipamd.h"

static void *grow(void *array, unsigned *alloc, unsigned need, size_t size)
{
	unsigned n = *alloc ? *alloc * 2 : 64;
	void *grown;

	if (need <= *alloc)
		return array;
	grown = reallocarray(array, n, size);
	if (grown)
		*alloc = n;
	return grown;
}

/* What was last seen of a NIC stands until it is seen anew: a look that was cut short takes no NIC out of the table. */
static void keep_seen(const struct ipamd *d, struct hostnet_nic *nic)
{
	const struct hostnet_nic *seen = &d->host_nics[nic->slot];

	if (!seen->looked || !macaddr_equal(&seen->mac, &nic->mac))
		return;
	nic->looked = true;
	nic->ready = seen->ready;
	nic->mtu = seen->mtu;
	memcpy(nic->ifname, seen->ifname, sizeof(nic->ifname));
}

static void want_nics(struct wanted *w)
{
	const struct pool_nic *nic = NULL;

	while ((nic = pool_nic_next(w->d->pool, nic))) {
		struct hostnet_nic *want = &w->nics[w->want.nic_count];

		if (nic->state == NIC_ATTACHING || nic->state == NIC_FOREIGN)
			continue;
		*want = (struct hostnet_nic){
			.mac = nic->mac,
			.slot = nic->slot,
			.primary = nic->primary,
			.primary_addr = nic->primary_addr,
			.subnet = nic->subnet,
			.gateway = nic->gateway,
			.primary_addr6 = nic->primary_addr6,
			.subnet6 = nic->subnet6,
			.gateway6 = nic->gateway6,
		};
		keep_seen(w->d, want);
		w->want.nic_count++;
	}
	w->want.nics = w->nics;
}

static int want_block(const struct pool_block_view *block, void *arg)
{
	struct wanted *w = arg;
	unsigned n = w->want.block_count, refs_alloc = w->blocks_alloc;
	struct prefix *blocks = grow(w->blocks, &w->blocks_alloc, n + 1, sizeof(*blocks));
	struct pool_block_ref *refs;

	if (!blocks)
		return -ENOMEM;
	w->blocks = blocks;
	refs = grow(w->refs, &refs_alloc, n + 1, sizeof(*refs));
	if (!refs)
		return -ENOMEM;
	w->refs = refs;
	w->blocks[n] = block->prefix;
	w->refs[n] = (struct pool_block_ref){ block->prefix, block->nic_slot };
	w->want.block_count++;
	return 0;
}

static int want_allowed(struct wanted *w, const struct lease *lease)
{
	struct ipaddr *allowed = grow(w->allowed, &w->allowed_alloc, w->allowed_count + IP_FAMILIES, sizeof(*allowed));
	struct ipaddr addrs[IP_FAMILIES];

	if (!allowed)
		return -ENOMEM;
	w->allowed = allowed;
	egress_addrs(lease, addrs);
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		if (addrs[i].family != IP_NONE)
			w->allowed[w->allowed_count++] = addrs[i];
	return 0;
}

static int want_pod(const struct lease *lease, void *arg)
{
	struct wanted *w = arg;
	struct hostnet_pod *pods = grow(w->pods, &w->pods_alloc, w->want.pod_count + IP_FAMILIES, sizeof(*pods));
	struct ipaddr addrs[IP_FAMILIES];

	if (!pods)
		return -ENOMEM;
	w->pods = pods;
	egress_addrs(lease, addrs);
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		struct hostnet_pod *pod = &w->pods[w->want.pod_count];

		if (addrs[i].family == IP_NONE)
			continue;
		*pod = (struct hostnet_pod){
			.addr = addrs[i],
			.bound = lease->state == LEASE_BOUND,
			.delegated = lease->delegated,
			.by_loopback = ports_by_loopback(lease),
			.bandwidth = &lease->runtime.bandwidth,
		};
		lease_host_ifname(lease, pod->host_ifname);
		w->want.pod_count++;
	}
	return guards_allow(w->d, lease) ? want_allowed(w, lease) : 0;
}

/* Covered as blocks are, and of no NIC. */
static int want_egress(struct wanted *w)
{
	w->ref_count = w->want.block_count;
	egress_wanted(w->d, w->egress);
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		struct prefix *blocks;

		if (w->egress[i].addr.family == IP_NONE)
			continue;
		blocks = grow(w->blocks, &w->blocks_alloc, w->want.block_count + 1, sizeof(*blocks));
		if (!blocks)
			return -ENOMEM;
		w->blocks = blocks;
		w->blocks[w->want.block_count++] = w->egress[i];
	}
	return 0;
}

int wanted_collect(struct wanted *w)
{
	want_nics(w);
	if (pool_blocks(w->d->pool, want_block, w) || want_egress(w) < 0 || pool_leases(w->d->pool, want_pod, w) ||
	    ports_collect(w->d->pool, &w->ports) < 0)
		return -ENOMEM;
	w->want.blocks = w->blocks;
	w->want.pods = w->pods;
	w->services_seen = ports_look(w->d, &w->ports);
	return 0;
}

bool wanted_is_seen(const struct wanted *w)
{
	for (unsigned i = 0; i < w->want.nic_count; i++)
		if (!w->nics[i].looked)
			return false;
	return true;
}

int wanted_render(const struct wanted *w, struct strbuf *out)
{
	const struct ipamd *d = w->d;
	struct prefix local[CLOUD_VPC_PREFIXES + CONFIG_PREFIXES_MAX];
	struct nft_input input = {
		.mark_mask = d->config.mark_mask,
		.nics = w->nics,
		.nic_count = w->want.nic_count,
		.blocks = w->refs,
		.block_count = w->ref_count,
		.local_prefixes = local,
		.pod_links = d->pod_links,
		.pod_link_count = d->pod_link_count,
		.metadata_allowed = w->allowed,
		.metadata_allowed_count = w->allowed_count,
		.ports = w->ports.items,
		.port_count = w->ports.count,
		.services = d->services.addrs,
		.service_count = d->services.count,
	};

	for (unsigned i = 0; i < d->identity->vpc_prefix_count; i++)
		local[input.local_count++] = d->identity->vpc_prefixes[i];
	for (unsigned i = 0; i < d->config.snat_exclude.count; i++)
		local[input.local_count++] = d->config.snat_exclude.list[i];
	if (!d->config.external_snat)
		input.snat_to = d->identity->primary_addr;
	guards_fill(d, &input);
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		input.egress[i] = (struct nft_egress){ w->egress[i], egress_source(d, ip_family_at(i)) };
	nft_render(&input, out);
	return out->failed ? -ENOMEM : 0;
}

void wanted_done(struct wanted *w)
{
	free(w->blocks);
	free(w->refs);
	free(w->pods);
	free(w->allowed);
	port_list_done(&w->ports);
}
