/* SPDX-License-Identifier: Apache-2.0 */
/* How the host's end of a pod is called. */
#ifndef CNI_HOSTNAME_H
#define CNI_HOSTNAME_H

#include "berth/proto.h"

struct cni_run;

/**
 * cni_host_ifname() - of the interface that this run is for
 *
 * By container (proto_host_ifname()), or with a configured prefix by pod, as Calico names it: so that who finds pods by
 * their links finds ours. A runtime that names no pod gets the first. Other interfaces than eth0 have their name in the
 * hash: a pod may have several.
 */
void cni_host_ifname(const struct cni_run *run, char ret[static LEASE_IFNAME_SIZE]);

#endif
