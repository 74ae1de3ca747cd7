/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of Services that kube-proxy gave to the node. */
#include <assert.h>
#include <stdlib.h>

#include "berth/err.h"
#include "ipamd/hostnet_impl.h"

static int keep(const struct net_addr *addr, void *arg)
{
	struct hostnet_services *to = arg;

	if (addr->index != to->link)
		return 0;
	if (to->count == to->alloc) {
		unsigned alloc = to->alloc ? to->alloc * 2 : 64;
		struct ipaddr *addrs =
			to->count < HOSTNET_ADDRS_MAX ? reallocarray(to->addrs, alloc, sizeof(*addrs)) : NULL;

		if (!addrs)
			return 1;
		to->addrs = addrs;
		to->alloc = alloc;
	}
	to->addrs[to->count++] = addr->addr;
	return 0;
}

int hostnet_services(struct hostnet *hostnet, struct hostnet_services *ret, struct err *err)
{
	struct net_link link;
	struct err why;
	int r;

	assert(hostnet && ret);
	if (net_link_by_name(hostnet->net, HOSTNET_SERVICES_LINK, &link, &why) < 0) {
		if (why.class != ERR_NOTFOUND && err)
			*err = why;
		return why.class == ERR_NOTFOUND ? 0 : -1;
	}
	ret->link = link.index;
	r = net_addrs(hostnet->net, keep, ret, err);
	if (r > 0)
		return err_set(err, ERR_EXHAUSTED, HOSTNET_DOMAIN, "no memory, or more addresses than there may be");
	return r;
}
