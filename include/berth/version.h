/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_VERSION_H
#define BERTH_VERSION_H

#define BERTH_VERSION "0.1.0"

/** Our rtm_protocol number: every route and rule that berth makes carries it, and berth touches no other.
 *  Not in use by others in iproute2's etc/iproute2/rt_protos (1-18, 42, 186-192). */
#define BERTH_RTPROT 98

#endif
