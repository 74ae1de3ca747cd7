/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: who else decides about what pods send through the node
 *
 * Every base chain of hook forward decides, whatever table it is in: an accept of ours says nothing to Docker's FORWARD
 * with its policy drop, nor to firewalld's last reject. So an accept for pods must stand in the other's chain. It is put
 * there for the chains of iptables (FORWARD of filter, either kind): at the end, or right in front of the last rule where
 * that one says no. What their owners decide about pods' packets (DOCKER-USER, a policy engine's rules) is decided as
 * before; only what would fall through to the no is let pass. All rules have the comment FORWARD_MARK, and nothing else
 * is changed or deleted, ever. Chains of others (firewalld, a ruleset of the administrator) are told of, with what to do.
 */
#ifndef IPAMD_FORWARD_H
#define IPAMD_FORWARD_H

#include <stdbool.h>
#include <stdint.h>

#include "berth/ipaddr.h"
#include "berth/net.h"
#include "berth/proto.h"
#include "ipamd/hostnet.h"

struct err;

#define FORWARD_MARK      "berth"
#define FORWARD_LINKS_MAX (1U + HOSTNET_NAMES_MAX)

/** struct forward_problem - a chain that pods' packets do not get through. */
struct forward_problem {
	char what[2 * NET_CHAIN_NAME_SIZE + 64];
	char hint[2 * NET_CHAIN_NAME_SIZE + 160]; /* what an administrator does about it */
	char error[128];                          /* why we did not; "" = nothing was tried */
};

/** struct forward - one look: what is asked, and what was found. */
struct forward {
	bool accept; /* put rules into chains that are closed */
	bool serves[IP_FAMILIES];
	unsigned link_count;
	char links[FORWARD_LINKS_MAX][LEASE_IFNAME_SIZE]; /* how names of host ends begin */
	/* the result: */
	unsigned added; /* rules */
	bool blind;     /* rules that were put somewhere are not seen there: not to be repeated without end */
	unsigned problem_count;
	struct forward_problem problems[NET_CHAINS_MAX];
};

/** forward_look() - look, put rules where that is asked for, look again. Errors: those of reading chains; what a program
 *  refuses is part of a problem. Blocks: not on the loop thread. */
int forward_look(struct forward *forward, int64_t deadline_us, struct err *err);

#endif
