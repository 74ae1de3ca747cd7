/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/result.h"

#include <assert.h>

#include <jansson.h>

#include "berth/json.h"

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

static json_t *ip_of(const struct cni_result *result)
{
	char address[PREFIX_STRLEN], gateway[IPADDR_STRLEN];
	json_auto_t *ip = json_object();

	if (result->version < CNI_1_0_0 &&
	    json_object_set_new(ip, "version", json_string(result->address.addr.family == IP_V6 ? "6" : "4")) < 0)
		return NULL;
	if (json_object_set_new(ip, "interface", json_integer(CONTAINER_INDEX)) < 0 ||
	    json_object_set_new(ip, "address", json_string(prefix_str(&result->address, address))) < 0 ||
	    json_object_set_new(ip, "gateway", json_string(ipaddr_str(&result->gateway, gateway))) < 0)
		return NULL;
	return json_incref(ip);
}

char *cni_result_print(const struct cni_result *result)
{
	char gateway[IPADDR_STRLEN];
	json_auto_t *object = NULL;
	json_t *interfaces, *ip;

	assert(result->address.addr.family != IP_NONE);
	assert(result->gateway.family == result->address.addr.family);
	interfaces = interfaces_of(result);
	ip = ip_of(result);
	/* "o" takes both references, also when packing fails. */
	object = json_pack("{s:s,s:o,s:[o],s:[{s:s,s:s}]}", "cniVersion", cni_version_name(result->version),
			   "interfaces", interfaces, "ips", ip, "routes", "dst",
			   result->address.addr.family == IP_V6 ? "::/0" : "0.0.0.0/0", "gw",
			   ipaddr_str(&result->gateway, gateway));
	return object ? json_print(object) : NULL;
}
