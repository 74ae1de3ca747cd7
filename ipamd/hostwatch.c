/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: what others do to our part of the host
 *
 * The kernel announces nearly all of it, and every announcement only makes us look again, REPAIR_US later, so that a
 * flush of a thousand objects is one look. What it does not announce (accept_ra, the IPv4 routes of a link that went
 * down and up again without us) is found by the slow sweep of hostwork.c.
 *
 * The nft table is watched by who touched it last: what our own nft program loaded is right; after anybody else it is
 * loaded again, whole.
 */
#include <stdlib.h>

#include "berth/clock.h"
#include "berth/log.h"
#include "berth/str.h"
#include "ipamd/ipamd.h"

#define REPAIR_US (200 * USEC_PER_MSEC) /* after a foreign change: collects a flush of many objects into one look */

static void look_soon(struct ipamd *d, int64_t now_us)
{
	if (now_us + REPAIR_US < d->host_due_us)
		d->host_due_us = now_us + REPAIR_US;
}

/* ---- rtnetlink ---- */

static int is_bound_at(const struct lease *lease, void *arg)
{
	char name[LEASE_IFNAME_SIZE];

	if (lease->state != LEASE_BOUND)
		return 0;
	lease_host_ifname(lease, name);
	return str_equal(name, arg);
}

/* Births and deaths of pods are told by their requests. A pod that lives has a link that is up, under its own MAC. */
static bool is_harm_to_pod(struct ipamd *d, const struct net_event *event)
{
	const struct macaddr mac = net_named_mac(event->link.name);
	char name[NET_IFNAME_SIZE];

	if (event->born || (event->kind == NET_EVENT_LINK && event->link.up && macaddr_equal(&event->link.mac, &mac)))
		return false;
	(void)str_copy(name, sizeof(name), event->link.name);
	return pool_leases(d->pool, is_bound_at, name) != 0;
}

/* Links of others come and go all the time where containers run beside Kubernetes. */
static bool is_of_nic(const struct ipamd *d, const struct net_link *link)
{
	const struct pool_nic *nic = NULL;

	while ((nic = pool_nic_next(d->pool, nic))) {
		if (macaddr_equal(&nic->mac, &link->mac) || str_equal(d->host_nics[nic->slot].ifname, link->name))
			return true;
	}
	return false;
}

/* kube-proxy's link of Services comes, or one of its addresses: no port of a pod is led from there. */
static bool is_service(const struct ipamd *d, const struct net_event *event)
{
	if (event->kind == NET_EVENT_ADDR)
		return d->services.link && event->addr.index == d->services.link;
	return d->has_ports && !d->services.link && str_equal(event->link.name, HOSTNET_SERVICES_LINK);
}

/* Links of others are shaped too, and a shaper is told by its link alone. */
static int is_limited(const struct lease *lease, void *arg)
{
	(void)arg;
	return hostnet_shape_wants(&lease->runtime.bandwidth);
}

static int has_shape(const struct lease *lease, void *arg)
{
	char host_ifname[LEASE_IFNAME_SIZE], name[LEASE_IFNAME_SIZE];

	if (lease->runtime.bandwidth.egress_rate == 0)
		return 0;
	lease_host_ifname(lease, host_ifname);
	hostnet_shape_ifname(host_ifname, name);
	return str_equal(name, arg);
}

/* Of a pod that lives. Ours of pods that end are not in the pool any more. */
static bool is_harm_to_shape(struct ipamd *d, const struct net_event *event)
{
	char name[NET_IFNAME_SIZE];

	if (!str_starts(event->link.name, HOSTNET_SHAPE_LINKS) || (event->kind == NET_EVENT_LINK && event->link.up) ||
	    event->born)
		return false;
	(void)str_copy(name, sizeof(name), event->link.name);
	return pool_leases(d->pool, has_shape, name) != 0;
}

static void on_event(const struct net_event *event, void *arg)
{
	int64_t now_us = clock_now(&clock_boot);
	struct ipamd *d = arg;

	switch (event->kind) {
	case NET_EVENT_LINK:
	case NET_EVENT_LINK_GONE:
		if (is_of_nic(d, &event->link))
			d->host_dirty = true; /* no pod waits longer for a new NIC than it must */
		else if (is_harm_to_pod(d, event) || is_harm_to_shape(d, event) || is_service(d, event))
			look_soon(d, now_us);
		return;
	case NET_EVENT_ADDR:
		if (is_service(d, event))
			look_soon(d, now_us);
		return;
	case NET_EVENT_TC_GONE:
		if (pool_leases(d->pool, is_limited, NULL))
			look_soon(d, now_us);
		return;
	case NET_EVENT_ROUTE_GONE:
	case NET_EVENT_RULE_GONE:
	case NET_EVENT_ADDR_GONE:
	case NET_EVENT_SYSCTL:
	case NET_EVENT_OVERFLOW:
		look_soon(d, now_us);
		return;
	}
}

void hostwork_netlink(struct ipamd *d)
{
	struct err err;

	if (net_monitor_read(d->monitor, on_event, d, &err) < 0) {
		log_warn("cannot read netlink events", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
		d->host_dirty = true;
	}
}

/* ---- nft ---- */

/* Nothing is known yet while a load runs: it may be behind what somebody did, or before it. */
void hostwork_nft_check(struct ipamd *d, int64_t now_us)
{
	if (d->running[JOB_NFT] || !d->nft_applied || !d->nft_toucher || d->nft_toucher == (uint32_t)d->nft_pid)
		return;
	log_warn("somebody changed the nft table; it is loaded again", "by=%u", d->nft_toucher);
	d->nft_toucher = 0;
	d->stats.repairs++;
	free(take_ptr(d->nft_applied));
	look_soon(d, now_us);
}
