/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/result.h"

#include <assert.h>

#include <jansson.h>

#include "berth/json.h"
#include "berth/proto.h"

#define CONTAINER_INDEX 1 /* of the pod's end in `interfaces`; the host's end is first */

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

static json_t *interfaces_of(const struct cni_result *result)
{
	json_auto_t *interfaces = json_array();

	if (json_array_append_new(interfaces, interface_of(result, result->host_ifname, &result->host_mac, "")) < 0 ||
	    json_array_append_new(interfaces, interface_of(result, result->ifname, &result->mac, result->sandbox)) < 0)
		return NULL;
	return json_incref(interfaces);
}

static json_t *ip_of(const struct cni_result *result, const struct proto_address *of)
{
	char address[PREFIX_STRLEN], gateway[IPADDR_STRLEN];
	json_auto_t *ip = json_object();

	if (result->version < CNI_1_0_0 &&
	    json_object_set_new(ip, "version", json_string(of->address.addr.family == IP_V6 ? "6" : "4")) < 0)
		return NULL;
	if (json_object_set_new(ip, "interface", json_integer(CONTAINER_INDEX)) < 0 ||
	    json_object_set_new(ip, "address", json_string(prefix_str(&of->address, address))) < 0 ||
	    json_object_set_new(ip, "gateway", json_string(ipaddr_str(&of->gateway, gateway))) < 0)
		return NULL;
	return json_incref(ip);
}

static json_t *ips_of(const struct cni_result *result)
{
	json_auto_t *ips = json_array();

	for (unsigned i = 0; i < result->address_count; i++)
		if (json_array_append_new(ips, ip_of(result, &result->addresses[i])) < 0)
			return NULL;
	return json_incref(ips);
}

/* One default route per family. */
static json_t *routes_of(const struct cni_result *result)
{
	json_auto_t *routes = json_array();
	char gateway[IPADDR_STRLEN];

	for (unsigned i = 0; i < result->address_count; i++) {
		const struct ipaddr *via = &result->addresses[i].gateway;

		if (json_array_append_new(routes,
					  json_pack("{s:s,s:s}", "dst", via->family == IP_V6 ? "::/0" : "0.0.0.0/0",
						    "gw", ipaddr_str(via, gateway))) < 0)
			return NULL;
	}
	return json_incref(routes);
}

char *cni_result_print(const struct cni_result *result)
{
	json_auto_t *object = NULL;

	assert(result->address_count > 0);
	/* "o" takes all references, also when packing fails. */
	object = json_pack("{s:s,s:o,s:o,s:o}", "cniVersion", cni_version_name(result->version), "interfaces",
			   interfaces_of(result), "ips", ips_of(result), "routes", routes_of(result));
	return object ? json_print(object) : NULL;
}
