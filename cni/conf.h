/* SPDX-License-Identifier: Apache-2.0 */
/* The network configuration that the runtime sends on stdin. Keys that are not ours are tolerated. */
#ifndef CNI_CONF_H
#define CNI_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "berth/proto.h"
#include "cni/versions.h"

struct cnierr;

#define CONF_MAX_SIZE       (1U << 20) /* bytes; a configuration with all that runtimes add is under 10 KiB */
#define CONF_SOCKET_SIZE    108        /* bytes of sun_path */
#define CONF_TIMEOUT_MS     60000      /* default; kubelet gives a sandbox 2 min, containerd as much */
#define CONF_TIMEOUT_MIN_MS 100        /* shorter than a cloud call: nothing is gained */
#define CONF_TIMEOUT_MAX_MS 600000     /* longer than any runtime waits */

struct cni_conf {
	enum cni_version version;
	char network[LEASE_NETWORK_SIZE];
	char socket[CONF_SOCKET_SIZE];
	int64_t timeout_ms; /* how long an ADD may wait for an address */
	bool has_prev_result;
};

/**
 * cni_conf_parse() - read and check it
 * Return: 0 or -1 with code 6 (not JSON), 1 (version) or 7 (the key is named).
 */
int cni_conf_parse(const char *text, size_t size, struct cni_conf *ret, struct cnierr *cnierr);

/** cni_conf_version() - only "cniVersion", from whatever was sent; @buf is "1.1.0" when there is none. */
void cni_conf_version(const char *text, size_t size, char *buf, size_t buf_size);

#endif
