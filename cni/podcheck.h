/* SPDX-License-Identifier: Apache-2.0 */
/* Is a pod's network in the kernel as podnet_wire() built it? Reads alone. */
#ifndef CNI_PODCHECK_H
#define CNI_PODCHECK_H

#include <stdbool.h>

#include "cni/podnet.h"
#include "cni/podroutes.h"

struct strbuf;

/** struct podcheck_want - what must be there; texts are borrowed. What else is there is not looked at. */
struct podcheck_want {
	const char *ifname;
	const char *host_ifname;
	unsigned addr_count;
	struct podnet_addr addrs[IP_FAMILIES];
	struct podcheck_routes {
		unsigned count;
		struct prefix dsts[POD_ROUTES_MAX + 1];
	} routes[IP_FAMILIES];   /* that must be there through addrs[i].gateway */
	unsigned mtu;            /* of the pod's end; 0: any */
	struct macaddr mac;      /* of the pod's end; zero: any */
	struct macaddr host_mac; /* zero: any */
};

/**
 * podcheck() - look
 * @findings: what is not as wanted, one after the other with "; " between them; empty when all is well
 * Return: 0, or -1 when the kernel could not be asked.
 */
int podcheck(struct podnet *podnet, const struct podcheck_want *want, struct strbuf *findings, struct err *err);

#endif
