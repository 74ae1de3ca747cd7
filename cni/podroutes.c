/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/podroutes.h"

#include <jansson.h>

#include "berth/err.h"
#include "berth/json.h"

#define ROUTES_DOMAIN "conf"

/* The gateway is always the pod's own: one that is named would not be used, and nobody would notice. */
static int parse_route(const json_t *item, struct pod_routes *routes, struct err *err)
{
	struct prefix *dst = &routes->list[routes->count];
	const char *text;

	if (!json_is_object(item))
		return err_set(err, ERR_INVALID, ROUTES_DOMAIN, "'routes' is no list of objects");
	if (json_get_str(item, ROUTES_DOMAIN, "dst", &text, err) < 0)
		return err_wrap(err, "'routes'");
	if (json_object_get(item, "gw"))
		return err_set(err, ERR_INVALID, ROUTES_DOMAIN, "'gw' in 'routes': the gateway is the pod's own");
	if (prefix_parse(text, dst) < 0)
		return err_set(err, ERR_INVALID, ROUTES_DOMAIN,
			       "'dst' '%.64s' in 'routes' is no prefix like 10.0.0.0/8, host bits zero", text);
	if (dst->len == 0)
		return err_set(err, ERR_INVALID, ROUTES_DOMAIN,
			       "'dst' '%.64s' in 'routes' is what 'defaultRoute' is for", text);
	routes->count++;
	return 0;
}

int pod_routes_parse(const struct json_t *conf, struct pod_routes *ret, struct err *err)
{
	struct pod_routes routes = { 0 };
	bool has_default = true;
	json_t *list = NULL, *item;
	size_t i;

	if (json_get_bool_opt(conf, ROUTES_DOMAIN, "defaultRoute", &has_default, err) < 0 ||
	    json_get_arr_opt(conf, ROUTES_DOMAIN, "routes", &list, err) < 0)
		return -1;
	routes.no_default = !has_default;
	if (json_array_size(list) > POD_ROUTES_MAX)
		return err_set(err, ERR_INVALID, ROUTES_DOMAIN, "'routes' has more than %d entries", POD_ROUTES_MAX);
	json_array_foreach (list, i, item)
		if (parse_route(item, &routes, err) < 0)
			return -1;
	*ret = routes;
	return 0;
}

unsigned pod_routes_of(const struct pod_routes *routes, enum ip_family family,
		       struct prefix ret[static POD_ROUTES_MAX + 1])
{
	unsigned count = 0;

	if (!routes || !routes->no_default)
		ret[count++] = (struct prefix){ .addr = { .family = (uint8_t)family } };
	for (unsigned i = 0; routes && i < routes->count; i++)
		if (routes->list[i].addr.family == family)
			ret[count++] = routes->list[i];
	return count;
}
