/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: asking the network itself
 *
 * Every probe has a socket that was born in the namespace it speaks from; one thread polls all of them. A probe holds
 * only if the right answer came from the right address: ICMP echo with a cookie in its payload, or UDP to a listener
 * that tells the source as it sees it. Namespaces are given as descriptors and stay the caller's. Each probe is of the
 * family of its destination; a listener, and so all probes of one ping_udp(), have one family.
 */
#ifndef MOCKS_BOX_PING_H
#define MOCKS_BOX_PING_H

#include <stdbool.h>
#include <stdint.h>

#include "berth/clock.h"
#include "berth/ipaddr.h"

struct err;

#define PING_TRIES  3
#define PING_TRY_US USEC_PER_SEC /* per try; a reply inside one machine takes under 1 ms */

struct ping_probe {
	int netns_fd; /* where it is sent from */
	struct ipaddr dst;
	unsigned tries; /* 0: PING_TRIES */
	/* Filled in: */
	bool ok;            /* answered, by dst */
	bool wrong_source;  /* answered by somebody else */
	struct ipaddr seen; /* ping_udp(): our address as the other side sees it; ping_echo(): none */
};

/** ping_echo() - ICMP echo, all probes in parallel. Return: 0 with the probes filled in, whatever they found.
 *  Errors: AUTH, EXHAUSTED, NOTFOUND (namespace). Context: blocks up to tries * PING_TRY_US per 128 probes. */
int ping_echo(struct ping_probe *probes, unsigned count, struct err *err);

/** ping_udp() - the same with a datagram to a listener that it opens in @server_netns_fd on every probe's dst. */
int ping_udp(struct ping_probe *probes, unsigned count, int server_netns_fd, struct err *err);

struct ping_forgery {
	int from_netns_fd;
	int to_netns_fd;
	struct ipaddr honest; /* a source that must get through: without it "nothing came" proves nothing */
	struct ipaddr forged;
	struct ipaddr dst; /* an address of to_netns_fd */
	/* Filled in: */
	bool honest_came;
	bool forged_came;
};

/** ping_forge() - send one packet with each source and look at what arrives at the other end. Errors: as ping_echo().
 */
int ping_forge(struct ping_forgery *forgery, struct err *err);

#endif
