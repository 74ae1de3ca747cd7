/* SPDX-License-Identifier: Apache-2.0 */
/* What no setting can be judged by alone, or not by its kind. */
#include "ipamd/config_impl.h"

#include <string.h>
#include <sys/un.h>

#include "berth/err.h"
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
	if (check_paths(config, err) < 0 || check_names(config, err) < 0 || check_numbers(config, err) < 0)
		return -1;
	if (config->metrics_address[0] && metrics_address_parse(config->metrics_address, NULL, NULL) < 0)
		return err_set(err, ERR_INVALID, CONFIG_DOMAIN, "metricsAddress is \"%.64s\", not IP:PORT",
			       config->metrics_address);
	return 0;
}
