/* SPDX-License-Identifier: Apache-2.0 */
/* Egress across families in the daemon: who gets an address of it, and what is said of it. */
#include "ipamd/ipamd.h"

#include <jansson.h>

#include "berth/attr.h"
#include "berth/log.h"
#include "berth/str.h"

#define IPV6_MTU_MIN 1280   /* bytes, RFC 8200 section 5 */
#define POD_IFNAME   "eth0" /* a pod's way to the world; further interfaces lead to the networks that they are for */

static const char *const names[IP_FAMILIES] = { "ipv4", "ipv6" };

struct ipaddr egress_source(const struct ipamd *d, enum ip_family family)
{
	const struct pool_nic *nic = NULL;

	if (family == IP_V4)
		return d->identity ? d->identity->primary_addr : (struct ipaddr){ 0 };
	while ((nic = pool_nic_next(d->pool, nic)))
		if (nic->primary)
			return nic->primary_addr6;
	return (struct ipaddr){ 0 };
}

/* Is it configured, and of use: new pods get no address of that family from the cloud? The kernel has no IPv6 on links with
 * a smaller MTU, and the pod's own family must not fail for it. */
static bool is_meant(const struct ipamd *d, enum ip_family family)
{
	if (family == IP_V6 && d->config.mtu > 0 && d->config.mtu < IPV6_MTU_MIN)
		return false;
	return d->config.egress[ip_index(family)] && !pool_serves(d->pool, family);
}

bool egress_serves(const struct ipamd *d, enum ip_family family)
{
	return is_meant(d, family) && egress_source(d, family).family != IP_NONE;
}

void egress_wanted(const struct ipamd *d, struct prefix ret[static IP_FAMILIES])
{
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		enum ip_family family = ip_family_at(i);
		bool is_wanted = egress_serves(d, family) || egress_count(d->pool, family) > 0;

		ret[i] = is_wanted ? egress_range(family) : (struct prefix){ 0 };
	}
}

static void give(struct ipamd *d, const struct lease *lease, enum ip_family family, struct ipaddr *ret)
{
	unsigned i = ip_index(family);

	if (egress_source(d, family).family == IP_NONE) {
		if (!d->egress.said[i])
			log_warn("the node has no address of that family: pods without one do not reach it",
				 "family=%s", names[i]);
		d->egress.said[i] = true;
		return;
	}
	if (!egress_pick(&d->egress, d->pool, family, ret))
		log_warn("a pod got no egress address: all are taken or rest", "family=%s container=%s", names[i],
			 lease->key.container);
}

struct ipaddr egress_give(struct ipamd *d, const struct lease *lease)
{
	struct ipaddr addr = { 0 };

	if (!str_equal(lease->key.ifname, POD_IFNAME))
		return addr;
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		if (is_meant(d, ip_family_at(i)) && lease->addrs[i].family == IP_NONE)
			give(d, lease, ip_family_at(i), &addr);
	return addr;
}

struct json_t *egress_json(const struct ipamd *d)
{
	json_t *array = json_array();

	/* What the node has is not known before the first list. */
	for (unsigned i = 0; d->listed && i < IP_FAMILIES; i++) {
		const struct ipaddr source = egress_source(d, ip_family_at(i));
		unsigned count = egress_count(d->pool, ip_family_at(i));
		char text[IPADDR_STRLEN] = "";

		if (!is_meant(d, ip_family_at(i)) && !count)
			continue;
		if (source.family != IP_NONE)
			(void)ipaddr_str(&source, text);
		(void)json_array_append_new(array,
					    json_pack("{s:s,s:s,s:i,s:I}", "family", names[i], "as", text, "pods",
						      (int)count, "refused", (json_int_t)d->egress.exhausted[i]));
	}
	return array;
}
