/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: what a bucket holds
 *
 * Runtimes send bursts that are no bursts: containerd 2^32 - 1 bits (0.5 GiB), CRI-O 4 GiB, which a pod at 100 Mbit/s
 * would have at line rate before it is limited at all. A bucket holds what was asked for within [BURST_LEAST_MS,
 * BURST_MOST_MS] of the rate, and a frame at least; a rate without a burst gets the most.
 *
 * What may wait for the bucket is QUEUE_MS of the rate, but never less than QUEUE_LEAST: TCP on the same node hands over up
 * to two GSO packets of 64 KiB whatever the rate (tcp_small_queue_check()), and whose frames do not fit is stopped for
 * hundreds of ms by the loss. It costs delay only where somebody sends more than the limit: 118 ms at 10 Mbit/s.
 */
#include <linux/if_ether.h>
#include <string.h>

#include "berth/str.h"
#include "ipamd/hostnet.h"

#define BURST_LEAST_MS 10U          /* of the rate: a kernel of 100 Hz without exact timers looks that often (tbf(8)) */
#define BURST_MOST_MS  25U          /* of the rate: the first second is 2.5 % above it at most */
#define QUEUE_MS       25U          /* at the rate: `latency` of the reference plugin */
#define QUEUE_LEAST    (144U << 10) /* bytes: two GSO packets of 45 frames of 1,514 */
#define BYTES_MOST     (UINT32_MAX / 2) /* of bucket and of queue each: the kernel's limit is 32 bits for both together */

/* What passes in so many ms, which divide 1,000; no rate overflows it. */
#define PART(bytes, ms) ((bytes) / (1000U / (ms)))

static uint64_t within(uint64_t value, uint64_t least, uint64_t most)
{
	if (value > most)
		value = most;
	return value < least ? least : value;
}

struct net_tbf hostnet_shape_tbf(uint64_t rate, uint64_t burst, unsigned mtu)
{
	const uint64_t bytes = rate < 8 ? 1 : rate / 8, frame = mtu + ETH_HLEN;
	struct net_tbf tbf = { .rate = bytes };

	burst = within(burst ? burst / 8 : UINT64_MAX, PART(bytes, BURST_LEAST_MS), PART(bytes, BURST_MOST_MS));
	tbf.burst = (uint32_t)within(burst, frame, BYTES_MOST);
	tbf.limit = tbf.burst + (uint32_t)within(PART(bytes, QUEUE_MS), QUEUE_LEAST, BYTES_MOST);
	return tbf;
}

void hostnet_shape_ifname(const char *host_ifname, char ret[static LEASE_IFNAME_SIZE])
{
	size_t len = strlen(host_ifname);

	(void)str_copy(ret, LEASE_IFNAME_SIZE, HOSTNET_SHAPE_LINKS);
	(void)str_copy(ret + strlen(HOSTNET_SHAPE_LINKS), LEASE_IFNAME_SIZE - strlen(HOSTNET_SHAPE_LINKS),
		       len > PROTO_IFNAME_DIGITS ? host_ifname + len - PROTO_IFNAME_DIGITS : host_ifname);
}
