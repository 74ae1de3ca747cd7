/* SPDX-License-Identifier: Apache-2.0 */
/* What a successful ADD tells the runtime, in the shape of the version that it speaks. */
#ifndef CNI_RESULT_H
#define CNI_RESULT_H

#include <stdbool.h>

#include "berth/ipaddr.h"
#include "cni/versions.h"

struct json_t;
struct pod_routes;
struct proto_address;

/** struct cni_result - one pod interface; all texts are borrowed. */
struct cni_result {
	enum cni_version version;
	const char *host_ifname;
	struct macaddr host_mac;
	const char *ifname;
	struct macaddr mac;
	const char *sandbox; /* CNI_NETNS as it was given */
	unsigned mtu;        /* as it was set; told since 1.1.0 */
	unsigned address_count;
	const struct proto_address *addresses; /* borrowed, at least one */
	const struct pod_routes *routes;       /* borrowed; NULL: the default route alone */
	const struct json_t *prev;             /* borrowed; result of the plugin before us in the list; NULL: none */
};

/** cni_result_print() - as JSON. Return: owned, or NULL without memory or when a text is not UTF-8. */
char *cni_result_print(const struct cni_result *result);

/** struct ipam_result - what another plugin that asked for addresses alone is told. */
struct ipam_result {
	enum cni_version version;
	bool subnet_router; /* the gateway is the cloud's router */
	unsigned address_count;
	const struct proto_address *addresses; /* borrowed, at least one */
	const struct json_t *routes;           /* borrowed; those that the configuration lists; NULL: a default each */
};

/** ipam_result_print() - as JSON, without interfaces: they are that plugin's. Return: as above. */
char *ipam_result_print(const struct ipam_result *result);

#endif
