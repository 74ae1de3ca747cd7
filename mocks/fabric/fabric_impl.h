/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the fabric share; for them only. */
#ifndef MOCKS_FABRIC_IMPL_H
#define MOCKS_FABRIC_IMPL_H

#include <pthread.h>
#include <stdbool.h>

#include "fabric.h"

struct err;
struct net;

#define FABRIC_DOMAIN    "fabric"
#define FABRIC_INET_LINK "inet" /* in the fabric: towards the internet */

struct fabric {
	char prefix[FABRIC_PREFIX_MAX + 1];
	int vpc_fd;
	struct net *vpc;
	pthread_mutex_t lock; /* of vpc: a netlink socket speaks with one thread at a time */
};

struct sysctl {
	const char *key, *value;
};

/** fabric_sysctls() - write @rows in that namespace; IPv6's are passed over where the kernel has none. */
int fabric_sysctls(int netns_fd, const struct sysctl *rows, unsigned count, struct err *err);
/** fabric_nft() - run a batch in that namespace. Errors: INVALID with nft's own words. */
int fabric_nft(int netns_fd, const char *batch, struct err *err);
/** fabric_ip() - an address of the source text. */
struct ipaddr fabric_ip(const char *text);

/* ---- the IPv6 side, fabric6.c ---- */

/** fabric6_available() - does the kernel have IPv6? */
bool fabric6_available(void);
/** fabric6_build() - the parts that every fabric has: source check, darkness, the way to the internet. */
int fabric6_build(int vpc_fd, struct net *vpc, int inet_fd, struct net *inet, struct err *err);
/** fabric6_sysctls() - of the fabric's end of a NIC, while that is down. */
int fabric6_sysctls(const struct fabric *fabric, const char *link_name, struct err *err);
/** fabric6_wire() - the fabric's end, which is up: gateway, the guest's link-local neighbour, its own address. */
int fabric6_wire(struct fabric *fabric, const struct fabric_nic *nic, int link_index, const char *link_name,
		 struct err *err);
/** fabric6_configure() - the node's end of a primary NIC, as a distribution does it. */
int fabric6_configure(struct net *node, const struct fabric_nic *nic, int link_index, struct err *err);
/** fabric6_link_local() - the address that a guest makes from the MAC of its end. */
struct ipaddr fabric6_link_local(const struct macaddr *mac);

#endif
