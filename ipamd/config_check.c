/* SPDX-License-Identifier: Apache-2.0 */
/* What no setting can be judged by alone, or not by its kind. */
#include "ipamd/config_impl.h"

#include <string.h>
#include <sys/un.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/net.h"
#include "berth/str.h"
#include "ipamd/hostnet.h"
#include "ipamd/metrics.h"

static bool is_contiguous(uint32_t mask)
{
	uint32_t lowest = mask & -mask;

	return mask && ((mask + lowest) & mask) == 0;
}

static int check_paths(const struct config *config, struct err *err)
{
	const size_t socket_max = sizeof(((struct sockaddr_un *)NULL)->sun_path);
	const char *end = strrchr(config->conflist_name, '.');

	if (config->run_dir[0] != '/' || config->conflist_dir[0] != '/')
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "runDir and conflistDir must start with /");
	if (strlen(config->run_dir) + strlen("/" PROTO_SOCKET) >= socket_max)
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "runDir is too long for a socket below it (%zu bytes)",
			       socket_max - sizeof("/" PROTO_SOCKET));
	if (strchr(config->conflist_name, '/') || config->conflist_name[0] == '.' || !end ||
	    !str_equal(end, ".conflist"))
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN,
			       "conflistName is \"%.64s\", not a file name that ends in .conflist",
			       config->conflist_name);
	return 0;
}

static int check_names(const struct config *config, struct err *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	static const char behind[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

	if (!config->cloud[0])
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "cloud is empty");
	if (!config->network[0] || !strchr(letters, config->network[0]) ||
	    config->network[strspn(config->network, behind)] || strlen(config->network) >= LEASE_NETWORK_SIZE)
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN,
			       "network is \"%.64s\", not up to %d letters, digits, _ . - with a letter or digit first",
			       config->network, LEASE_NETWORK_SIZE - 1);
	return 0;
}

#define VETH_PREFIX     "cali" /* of Calico, and of what is made to work beside it */
#define VETH_PREFIX_MAX (NET_IFNAME_SIZE - 1 - PROTO_IFNAME_DIGITS)

const char *config_veth_prefix(const struct config *config)
{
	if (config->veth_name == CONFIG_NAMES_CONTAINER ||
	    (config->veth_name == CONFIG_NAMES_AUTO && !config->veth_prefix[0]))
		return "";
	return config->veth_prefix[0] ? config->veth_prefix : VETH_PREFIX;
}

/* What begins as names by container do could not be told from them. Which prefixes the node's own interfaces have is known
 * when they are there. */
static int check_veth_names(const struct config *config, struct err *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	static const char *const taken[] = { "lo", "eth", "vlan" };
	const char *prefix = config->veth_prefix;

	if (!prefix[0])
		return 0;
	if (config->veth_name == CONFIG_NAMES_CONTAINER)
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "vethPrefix needs vethName pod");
	if (prefix[strspn(prefix, letters)] || strlen(prefix) > VETH_PREFIX_MAX)
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN,
			       "vethPrefix is \"%.64s\", not up to %u letters, digits, _ -", prefix,
			       (unsigned)VETH_PREFIX_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		if (str_equal(prefix, taken[i]))
			return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "vethPrefix %s is that of other interfaces",
				       prefix);
	return str_starts(prefix, HOSTNET_POD_LINKS)
		       ? err_set(err, ERR_INVALID, CONFIG_DOMAIN, "vethPrefix %s is that of names by container", prefix)
		       : 0;
}

static int check_numbers(const struct config *config, struct err *err)
{
	if (!is_contiguous(config->mark_mask))
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "markMask 0x%x is not one run of bits",
			       config->mark_mask);
	if (config->max_nics > hostnet_slots_max(config->mark_mask))
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "markMask 0x%x tells %u NICs apart, maxNICs is %u",
			       config->mark_mask, hostnet_slots_max(config->mark_mask), config->max_nics);
	if (config->min_ips > config->max_pods)
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "minIPs %u is above maxPods %u", config->min_ips,
			       config->max_pods);
	return 0;
}

int config_check(const struct config *config, struct err *err)
{
	if (check_paths(config, err) < 0 || check_names(config, err) < 0 || check_veth_names(config, err) < 0 ||
	    check_numbers(config, err) < 0)
		return -1;
	if (config->metrics_address[0] && metrics_address_parse(config->metrics_address, NULL, NULL) < 0)
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "metricsAddress is \"%.64s\", not IP:PORT",
			       config->metrics_address);
	return 0;
}
