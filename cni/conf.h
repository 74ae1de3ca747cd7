/* SPDX-License-Identifier: Apache-2.0 */
/* The network configuration that the runtime sends on stdin. Keys that are not ours are tolerated. */
#ifndef CNI_CONF_H
#define CNI_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "berth/proto.h"
#include "cni/podroutes.h"
#include "cni/versions.h"

struct cnierr;
struct json_t;

#define CONF_MAX_SIZE       (1U << 20) /* bytes; a configuration with all that runtimes add is under 10 KiB */
#define CONF_SOCKET_SIZE    108        /* bytes of sun_path */
#define CONF_TIMEOUT_MS     60000      /* default; kubelet gives a sandbox 2 min, containerd as much */
#define CONF_TIMEOUT_MIN_MS 100        /* shorter than a cloud call: nothing is gained */
#define CONF_TIMEOUT_MAX_MS 600000     /* longer than any runtime waits */
#define CONF_IPAM_SIZE      32         /* bytes of a plugin's name, cut to it */
#define CONF_VETH_PREFIX_SIZE                                                                                          \
	5 /* bytes with the terminator: 4, so that 11 digits of a hash fit a link's name behind it */

struct cni_conf {
	enum cni_version version;
	char network[LEASE_NETWORK_SIZE];
	char socket[CONF_SOCKET_SIZE];
	int64_t timeout_ms; /* how long an ADD may wait for an address */
	bool has_prev_result;
	bool delegated; /* another plugin's configuration, whose "ipam" names us: only addresses are wanted */
	char others_ipam[CONF_IPAM_SIZE]; /* our own configuration, with the "ipam" of another plugin; "": without */
	bool subnet_router;               /* delegated: the gateway is the cloud's router; else this node */
	struct runtime_config runtime;    /* what the runtime asks for beside addresses; nothing of a delegated one */
	struct pod_routes routes;
	char veth_prefix[CONF_VETH_PREFIX_SIZE]; /* of host ends that are named by their pod; "": by container */
};

/**
 * cni_conf_parse() - read and check it
 * Return: 0 or -1 with code 6 (not JSON), 1 (version) or 7 (the key is named).
 */
int cni_conf_parse(const char *text, size_t size, struct cni_conf *ret, struct cnierr *cnierr);

/** cni_conf_json() - the whole of what cni_conf_parse() took, for what only some verbs need. Return: owned, or NULL without
 *  memory. */
struct json_t *cni_conf_json(const char *text, size_t size);

/** cni_conf_version() - only "cniVersion", from whatever was sent; @buf is "1.1.0" when there is none. */
void cni_conf_version(const char *text, size_t size, char *buf, size_t buf_size);

#endif
