/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: ports of the node that lead to pods
 *
 * They follow from the leases each time the host is looked at, so that a DEL, a sandbox that was made anew and a restart are
 * no special cases. Where two pods ask for the same port, as the old and the new sandbox of one pod do until the old one's
 * DEL has come, the newer lease has it; when that goes, the other has it back. Within one pod the first mention counts.
 *
 * A UDP flow keeps the destination that its first packet got. When a port is opened, moved or closed, the flows that lead
 * elsewhere are forgotten, once the nft table leads the new way; TCP ends by itself.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/log.h"
#include "ipamd/ipamd.h"

#define FLUSH_US (10 * USEC_PER_SEC) /* as that of addresses: one walk over the table of flows */

/* ---- what the leases ask for ---- */

/** struct claim - a port that a lease asks for. */
struct claim {
	struct net_port port;
	int64_t since_us;
	unsigned order; /* among those of the lease */
};

struct claims {
	struct claim *items;
	unsigned count, alloc;
};

static bool is_any(const struct ipaddr *addr)
{
	struct ipaddr any = { .family = addr->family };

	return ipaddr_equal(addr, &any);
}

/* Is @map for pods' addresses of that family? */
static bool serves(const struct port_map *map, enum ip_family family)
{
	return map->host_addr.family == IP_NONE || map->host_addr.family == family;
}

static struct net_port port_of(const struct port_map *map, const struct ipaddr *pod)
{
	struct net_port port = { .host_addr = map->host_addr,
				 .to = *pod,
				 .host_port = map->host_port,
				 .to_port = map->port,
				 .protocol = map->protocol };

	if (port.host_addr.family == IP_NONE)
		port.host_addr.family = pod->family;
	return port;
}

static int claim(struct claims *claims, const struct lease *lease, unsigned i, const struct ipaddr *pod)
{
	if (claims->count == claims->alloc) {
		unsigned alloc = claims->alloc ? claims->alloc * 2 : 64;
		struct claim *items = reallocarray(claims->items, alloc, sizeof(*items));

		if (!items)
			return -ENOMEM;
		claims->items = items;
		claims->alloc = alloc;
	}
	claims->items[claims->count++] = (struct claim){ port_of(&lease->runtime.ports[i], pod), lease->since_us, i };
	return 0;
}

static int claim_all(const struct lease *lease, void *arg)
{
	int r = 0;

	if (lease->state != LEASE_BOUND || lease->delegated)
		return 0;
	for (unsigned i = 0; i < lease->runtime.port_count; i++) {
		for (unsigned f = 0; f < IP_FAMILIES && r == 0; f++) {
			if (lease->addrs[f].family != IP_NONE &&
			    serves(&lease->runtime.ports[i], lease->addrs[f].family))
				r = claim(arg, lease, i, &lease->addrs[f]);
		}
	}
	return r;
}

/* Of equal ports, the one that counts is first; two leases of one moment are told apart by their addresses. */
static int compare_claims(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int r = net_port_cmp(&x->port, &y->port);

	if (r == 0 && x->since_us != y->since_us)
		return x->since_us > y->since_us ? -1 : 1;
	if (r == 0)
		r = ipaddr_cmp(&x->port.to, &y->port.to);
	return r ? r : (int)x->order - (int)y->order;
}

int ports_collect(const struct pool *pool, struct port_list *ret)
{
	struct claims claims = { 0 };
	struct net_port *items = NULL;
	unsigned count = 0;
	int r = pool_leases(pool, claim_all, &claims);

	if (r == 0 && claims.count > 0) {
		items = calloc(claims.count, sizeof(*items));
		r = items ? 0 : -ENOMEM;
	}
	if (r == 0 && claims.count > 0) {
		qsort(claims.items, claims.count, sizeof(*claims.items), compare_claims);
		for (unsigned i = 0; i < claims.count; i++)
			if (i == 0 || net_port_cmp(&claims.items[i].port, &items[count - 1]) != 0)
				items[count++] = claims.items[i].port;
	}
	free(claims.items);
	if (r == 0)
		*ret = (struct port_list){ items, count };
	return r;
}

void port_list_done(struct port_list *list)
{
	free(list->items);
	*list = (struct port_list){ 0 };
}

static bool is_of_nic(const struct ipamd *d, const struct ipaddr *addr)
{
	for (unsigned i = 0; i < ARRAY_SIZE(d->host_nics); i++) {
		const struct hostnet_nic *nic = &d->host_nics[i];

		if (ipaddr_equal(&nic->primary_addr, addr) || ipaddr_equal(&nic->primary_addr6, addr))
			return true;
	}
	return false;
}

/* A Service may have the node's own address as an external one, for ports of its own. */
static void keep_nics_out(const struct ipamd *d, struct hostnet_services *services)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < services->count; i++) {
		if (!is_of_nic(d, &services->addrs[i]))
			services->addrs[kept++] = services->addrs[i];
	}
	services->count = kept;
}

bool ports_look(struct ipamd *d, const struct port_list *list)
{
	struct hostnet_services seen = { 0 };
	struct err err;

	d->has_ports = list->count > 0;
	if (d->has_ports && hostnet_services(d->hostnet, &seen, &err) < 0) {
		log_warn("ports of pods may take connections to new Services", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
		free(seen.addrs);
		return false;
	}
	keep_nics_out(d, &seen);
	free(d->services.addrs);
	d->services = seen;
	return true;
}

bool ports_by_loopback(const struct lease *lease)
{
	if (lease->addrs[ip_index(IP_V4)].family == IP_NONE || lease->delegated)
		return false;
	for (unsigned i = 0; i < lease->runtime.port_count; i++) {
		const struct ipaddr *host = &lease->runtime.ports[i].host_addr;

		if (serves(&lease->runtime.ports[i], IP_V4) && (is_any(host) || host->bytes[0] == IN_LOOPBACKNET))
			return true;
	}
	return false;
}

/* ---- two pods, one port ---- */

struct rivals {
	const struct lease *lease;
	int64_t since_us;          /* those that were bound later alone */
	const struct lease *other; /* that has a port of it */
	struct net_port port;
};

static bool asks_for(const struct lease *lease, const struct net_port *port)
{
	for (unsigned i = 0; i < lease->runtime.port_count; i++) {
		struct net_port own;

		if (!serves(&lease->runtime.ports[i], port->host_addr.family) ||
		    lease->addrs[ip_index(port->host_addr.family)].family == IP_NONE)
			continue;
		own = port_of(&lease->runtime.ports[i], &port->to);
		if (net_port_cmp(&own, port) == 0)
			return true;
	}
	return false;
}

static int find_rival(const struct lease *lease, void *arg)
{
	struct rivals *r = arg;

	if (lease == r->lease || lease->state != LEASE_BOUND || lease->delegated || lease->since_us <= r->since_us ||
	    !asks_for(lease, &r->port))
		return 0;
	r->other = lease;
	return 1;
}

const struct lease *ports_rival(const struct pool *pool, const struct lease *lease, int64_t since_us,
				struct net_port *ret_port)
{
	struct rivals r = { .lease = lease, .since_us = since_us };
	struct claims claims = { 0 };

	if (claim_all(lease, &claims) < 0)
		claims.count = 0;
	for (unsigned i = 0; i < claims.count && !r.other; i++) {
		r.port = claims.items[i].port;
		(void)pool_leases(pool, find_rival, &r);
	}
	free(claims.items);
	if (r.other)
		*ret_port = r.port;
	return r.other;
}

/* ---- flows that lead elsewhere ---- */

static bool is_udp_at(const struct ipamd *d, unsigned at, const struct net_port *port)
{
	const struct net_port *was;

	if (at >= d->udp_port_count)
		return false;
	was = &d->udp_ports[at];
	return net_port_cmp(was, port) == 0 && ipaddr_equal(&was->to, &port->to) && was->to_port == port->to_port;
}

/* Return: owned; @ret_changed: are they others than those of the last flush? NULL without memory. */
static struct net_port *udp_of(const struct ipamd *d, const struct port_list *list, unsigned *ret_count,
			       bool *ret_changed)
{
	struct net_port *udp = calloc((size_t)list->count + 1, sizeof(*udp));
	unsigned count = 0;
	bool changed = false;

	if (!udp)
		return NULL;
	for (unsigned i = 0; i < list->count; i++) {
		if (list->items[i].protocol != IPPROTO_UDP)
			continue;
		changed = changed || !is_udp_at(d, count, &list->items[i]);
		udp[count++] = list->items[i];
	}
	*ret_count = count;
	*ret_changed = changed || count != d->udp_port_count;
	return udp;
}

static int compare_ports(const void *a, const void *b)
{
	return net_port_cmp(a, b);
}

/* What is led now, and what is the node's own again. */
static int submit(struct ipamd *d, const struct net_port *udp, unsigned count, int64_t now_us, struct err *err)
{
	struct job job = { .kind = JOB_CT_FLUSH, .deadline_us = now_us + FLUSH_US, .count = count };

	job.ports = calloc((size_t)count + d->udp_port_count + 1, sizeof(*job.ports));
	if (!job.ports)
		return err_set(err, ERR_RETRY, "ipamd", "no memory for a flush");
	if (count > 0)
		memcpy(job.ports, udp, count * sizeof(*udp));
	for (unsigned i = 0; i < d->udp_port_count; i++) {
		if (bsearch(&d->udp_ports[i], udp, count, sizeof(*udp), compare_ports))
			continue;
		job.ports[job.count] = d->udp_ports[i];
		job.ports[job.count++].to = (struct ipaddr){ 0 };
	}
	if (ipamd_submit(d, &job, err) < 0) {
		job_done(&job);
		return -1;
	}
	return 0;
}

void ports_loaded(struct ipamd *d, const struct port_list *list, int64_t now_us)
{
	struct err err;
	unsigned count;
	bool changed;
	_cleanup_free_ struct net_port *udp = udp_of(d, list, &count, &changed);

	if (!udp || !changed)
		return;
	if (submit(d, udp, count, now_us, &err) < 0) {
		log_warn("UDP flows may miss a pod's port for a while", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
		return;
	}
	free(d->udp_ports);
	d->udp_ports = take_ptr(udp);
	d->udp_port_count = count;
}

/* All of them anew at the next look: what is right stays. */
void ports_flush_finish(struct ipamd *d, const struct job *job)
{
	if (job->rc == 0)
		return;
	log_warn("UDP flows may miss a pod's port for a while", LOG_ERR_FMT, LOG_ERR_ARGS(&job->err));
	free(take_ptr(d->udp_ports));
	d->udp_port_count = 0;
}
