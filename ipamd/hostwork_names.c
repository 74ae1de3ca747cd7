/* SPDX-License-Identifier: Apache-2.0 */
/* How names of host ends begin: the nft table tells pods' packets by that. */
#include <string.h>

#include "berth/attr.h"
#include "berth/log.h"
#include "berth/str.h"
#include "ipamd/ipamd.h"

/* What would be syntax in the nft table, or stand for one of the node's own interfaces, is no prefix of pods. */
static bool is_pods_alone(const struct ipamd *d, const char *prefix)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

	for (unsigned i = 0; i < ARRAY_SIZE(d->host_nics); i++)
		if (d->host_nics[i].ifname[0] && str_starts(d->host_nics[i].ifname, prefix))
			return false;
	return strspn(prefix, letters) == strlen(prefix);
}

/* Return: is it known from now on? @host_ifname: for the log. */
static bool learn_prefix(struct ipamd *d, const char *prefix, const char *host_ifname)
{
	for (unsigned i = 0; i < d->pod_link_count; i++)
		if (str_equal(d->pod_links[i], prefix))
			return true;
	if (d->pod_link_count == HOSTNET_NAMES_MAX || !is_pods_alone(d, prefix)) {
		log_error("host ends of this name cannot be told from other interfaces", "link=%s kinds=%u",
			  host_ifname, d->pod_link_count);
		return false;
	}
	(void)str_copy(d->pod_links[d->pod_link_count++], LEASE_IFNAME_SIZE, prefix);
	d->forward_due_us = 0;
	return true;
}

void hostwork_learn_prefix(struct ipamd *d)
{
	const char *prefix = config_veth_prefix(&d->config);

	if (*prefix)
		(void)learn_prefix(d, prefix, prefix);
}

bool hostwork_learn_name(struct ipamd *d, const char *host_ifname)
{
	char prefix[LEASE_IFNAME_SIZE] = "";
	size_t len = strlen(host_ifname);
	unsigned known;

	if (!len || str_starts(host_ifname, HOSTNET_POD_LINKS))
		return true;
	if (len <= PROTO_IFNAME_DIGITS || str_copy(prefix, sizeof(prefix), host_ifname) < 0)
		return false;
	/* What is before the digits is the same for many pods. */
	prefix[len - PROTO_IFNAME_DIGITS] = '\0';
	known = d->pod_link_count;
	if (!learn_prefix(d, prefix, host_ifname))
		return false;
	d->host_dirty = d->host_dirty || d->pod_link_count != known;
	return true;
}
