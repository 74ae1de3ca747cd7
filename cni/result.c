/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/result.h"

#include <assert.h>
#include <stdint.h>

#include <jansson.h>

#include "berth/json.h"
#include "berth/proto.h"
#include "cni/podroutes.h"

#define CONTAINER_INDEX 1 /* of the pod's end behind the host's in `interfaces`, and behind those of who came before */

static json_t *interface_of(const struct cni_result *result, const char *name, const struct macaddr *mac,
			    const char *sandbox)
{
	char text[MACADDR_STRLEN];
	json_auto_t *interface = json_pack("{s:s,s:s}", "name", name, "mac", macaddr_str(mac, text));

	if (result->version >= CNI_1_1_0 && result->mtu > 0 &&
	    json_object_set_new(interface, "mtu", json_integer(result->mtu)) < 0)
		return NULL;
	if (json_object_set_new(interface, "sandbox", json_string(sandbox)) < 0)
		return NULL;
	return json_incref(interface);
}

/* A list of the result before ours, to which ours is added. */
static json_t *prev_list(const struct cni_result *result, const char *name)
{
	const json_t *prev = result->prev ? json_object_get(result->prev, name) : NULL;

	return json_is_array(prev) ? json_copy((json_t *)(uintptr_t)prev) : json_array();
}

static json_t *interfaces_of(const struct cni_result *result)
{
	json_auto_t *interfaces = prev_list(result, "interfaces");

	if (json_array_append_new(interfaces, interface_of(result, result->host_ifname, &result->host_mac, "")) < 0 ||
	    json_array_append_new(interfaces, interface_of(result, result->ifname, &result->mac, result->sandbox)) < 0)
		return NULL;
	return json_incref(interfaces);
}

static json_t *ip_of(const struct cni_result *result, const struct proto_address *of)
{
	json_int_t before = result->prev ? (json_int_t)json_array_size(json_object_get(result->prev, "interfaces")) : 0;
	char address[PREFIX_STRLEN], gateway[IPADDR_STRLEN];
	json_auto_t *ip = json_object();

	if (result->version < CNI_1_0_0 &&
	    json_object_set_new(ip, "version", json_string(of->address.addr.family == IP_V6 ? "6" : "4")) < 0)
		return NULL;
	if (json_object_set_new(ip, "interface", json_integer(before + CONTAINER_INDEX)) < 0 ||
	    json_object_set_new(ip, "address", json_string(prefix_str(&of->address, address))) < 0 ||
	    json_object_set_new(ip, "gateway", json_string(ipaddr_str(&of->gateway, gateway))) < 0)
		return NULL;
	return json_incref(ip);
}

static json_t *ips_of(const struct cni_result *result)
{
	json_auto_t *ips = prev_list(result, "ips");

	for (unsigned i = 0; i < result->address_count; i++)
		if (json_array_append_new(ips, ip_of(result, &result->addresses[i])) < 0)
			return NULL;
	return json_incref(ips);
}

static int append_routes(const struct cni_result *result, const struct ipaddr *via, json_t *routes)
{
	struct prefix dsts[POD_ROUTES_MAX + 1];
	unsigned count = pod_routes_of(result->routes, (enum ip_family)via->family, dsts);
	char dst[PREFIX_STRLEN], gateway[IPADDR_STRLEN];

	for (unsigned i = 0; i < count; i++)
		if (json_array_append_new(routes, json_pack("{s:s,s:s}", "dst", prefix_str(&dsts[i], dst), "gw",
							    ipaddr_str(via, gateway))) < 0)
			return -1;
	return 0;
}

static json_t *routes_of(const struct cni_result *result)
{
	json_auto_t *routes = prev_list(result, "routes");

	for (unsigned i = 0; i < result->address_count; i++)
		if (append_routes(result, &result->addresses[i].gateway, routes) < 0)
			return NULL;
	return json_incref(routes);
}

char *cni_result_print(const struct cni_result *result)
{
	json_auto_t *object = NULL;
	json_t *dns = result->prev ? json_object_get(result->prev, "dns") : NULL;

	assert(result->address_count > 0);
	/* "o" takes all references, also when packing fails. */
	object = json_pack("{s:s,s:o,s:o,s:o}", "cniVersion", cni_version_name(result->version), "interfaces",
			   interfaces_of(result), "ips", ips_of(result), "routes", routes_of(result));
	if (dns && json_object_set(object, "dns", dns) < 0)
		return NULL;
	return object ? json_print(object) : NULL;
}

/* ---- addresses alone ---- */

/* With the length of the subnet where it is known: plugins make the routes of the network from it. */
static json_t *ipam_ip_of(const struct ipam_result *result, const struct proto_address *of)
{
	const struct ipaddr *gateway = result->subnet_router ? &of->router : &of->gateway;
	struct prefix address = of->address;
	char text[PREFIX_STRLEN];
	json_auto_t *ip = json_object();

	if (of->subnet.addr.family != IP_NONE)
		address.len = of->subnet.len;
	if (result->version < CNI_1_0_0 &&
	    json_object_set_new(ip, "version", json_string(address.addr.family == IP_V6 ? "6" : "4")) < 0)
		return NULL;
	if (json_object_set_new(ip, "address", json_string(prefix_str(&address, text))) < 0)
		return NULL;
	if (gateway->family != IP_NONE &&
	    json_object_set_new(ip, "gateway", json_string(ipaddr_str(gateway, text))) < 0)
		return NULL;
	return json_incref(ip);
}

/* No gateway in a route: that of the address of its family is meant. */
static json_t *default_routes(const struct ipam_result *result)
{
	json_auto_t *routes = json_array();

	for (unsigned i = 0; i < result->address_count; i++) {
		const struct proto_address *of = &result->addresses[i];
		bool is_v6 = of->address.addr.family == IP_V6;

		/* The router of an IPv6 subnet announces itself. */
		if (result->subnet_router && of->router.family == IP_NONE)
			continue;
		if (json_array_append_new(routes, json_pack("{s:s}", "dst", is_v6 ? "::/0" : "0.0.0.0/0")) < 0)
			return NULL;
	}
	return json_incref(routes);
}

char *ipam_result_print(const struct ipam_result *result)
{
	json_auto_t *object = NULL, *ips = json_array(), *routes = NULL;

	assert(result->address_count > 0);
	for (unsigned i = 0; i < result->address_count; i++)
		if (json_array_append_new(ips, ipam_ip_of(result, &result->addresses[i])) < 0)
			return NULL;
	routes = result->routes ? json_copy((json_t *)(uintptr_t)result->routes) : default_routes(result);
	object = json_pack("{s:s,s:O,s:O}", "cniVersion", cni_version_name(result->version), "ips", ips, "routes",
			   routes);
	return object ? json_print(object) : NULL;
}
