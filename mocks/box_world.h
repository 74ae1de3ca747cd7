/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: who lives where in a box, in one address family
 *
 * Read from the kernel at the moment of asking: a node's primary address from its eth0, a pod's address of that family
 * from its record (one without is not there), and the NIC of either from the fabric's routes, which is where a packet for it really goes. No cloud is
 * asked, so the answer does not depend on the program under test.
 */
#ifndef MOCKS_BOX_WORLD_H
#define MOCKS_BOX_WORLD_H

#include <stdbool.h>

#include "box_runtime.h"
#include "box_state.h"

struct err;

/** struct box_place - a node or a pod: something with an address that can speak. */
struct box_place {
	char name[RUNTIME_NAME_SIZE];
	int netns_fd;
	struct ipaddr addr;
	unsigned node; /* index in box->nodes */
	int nic;       /* the fabric's link index of its NIC; 0: the fabric has no route to it */
};

/** struct box_route - an address range that the cloud assigned to a NIC. */
struct box_route {
	struct prefix prefix;
	int nic;
	bool is_primary;
};

struct box_world {
	const struct box *box;
	enum ip_family family;
	int vpc_fd, inet_fd;
	unsigned node_count, pod_count, route_count, own_count;
	struct box_place nodes[BOX_NODES_MAX];
	struct prefix subnets[BOX_NODES_MAX]; /* of the nodes' primary NICs */
	struct box_place *pods;               /* owned */
	struct box_route *routes;             /* owned */
	struct ipaddr *own;                   /* owned: what the nodes have on their links themselves */
};

/** box_world_read() - all of it; no nodes where no pod has an address of that family. Errors: NOTFOUND (a node without an address), EXHAUSTED. */
int box_world_read(const struct box *box, enum ip_family family, struct box_world *ret, struct err *err);
void box_world_done(struct box_world *world);
/** box_world_dark() - an address of that node's subnet that the cloud gave to nobody. False: there is none. */
bool box_world_dark(const struct box_world *world, unsigned node, struct ipaddr *ret);
/** box_world_free() - the @nth address that is assigned to a NIC of that node and that no pod has. False: no more. */
bool box_world_free(const struct box_world *world, unsigned node, unsigned nth, struct ipaddr *ret);

#endif
