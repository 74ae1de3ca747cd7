/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod reaches by its interface: everything, unless the configuration says otherwise. */
#ifndef CNI_PODROUTES_H
#define CNI_PODROUTES_H

#include <stdbool.h>

#include "berth/ipaddr.h"

struct err;
struct json_t;

#define POD_ROUTES_MAX 32 /* of one configuration; networks of a company and its peers are under ten */

/** struct pod_routes - through the gateway; zeroed: the default route alone. */
struct pod_routes {
	bool no_default;
	unsigned count;
	struct prefix list[POD_ROUTES_MAX]; /* destinations of both families, no default among them */
};

/**
 * pod_routes_parse() - keys `defaultRoute` and `routes` of a configuration
 * Errors: PROTOCOL and INVALID; the message names the key.
 */
int pod_routes_parse(const struct json_t *conf, struct pod_routes *ret, struct err *err);

/**
 * pod_routes_of() - the destinations of one family, the default route first if it is among them
 * @routes: NULL: the default route alone
 * Return: how many are in @ret.
 */
unsigned pod_routes_of(const struct pod_routes *routes, enum ip_family family,
		       struct prefix ret[static POD_ROUTES_MAX + 1]);

#endif
