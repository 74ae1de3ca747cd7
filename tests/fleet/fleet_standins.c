/* SPDX-License-Identifier: Apache-2.0 */
/* A store that keeps nothing and a kernel without pods: what the daemon's cloud side asks of both. Linked in front of the
 * daemon's archive, whose own stay out. */
#include <string.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/net.h"
#include "ipamd/ipamd.h"
#include "ipamd/store.h"

int store_open(_unused_ const char *path, _unused_ const char *boot_id, struct store **ret,
	       struct store_aside *ret_aside, _unused_ struct err *err)
{
	*ret = NULL;
	memset(ret_aside, 0, sizeof(*ret_aside));
	return 0;
}

void store_close(_unused_ struct store *store)
{
}

int store_lease_put(_unused_ struct store *store, _unused_ const struct lease *lease, _unused_ struct err *err)
{
	return 0;
}

int store_intent_put(_unused_ struct store *store, struct intent *intent, _unused_ struct err *err)
{
	intent->id = 1;
	return 0;
}

int store_intent_del(_unused_ struct store *store, _unused_ int64_t id, _unused_ struct err *err)
{
	return 0;
}

int store_leases(_unused_ struct store *store, _unused_ int (*fn)(const struct lease *lease, void *arg),
		 _unused_ void *arg, _unused_ struct err *err)
{
	return 0;
}

int store_cooldowns(_unused_ struct store *store,
		    _unused_ int (*fn)(const struct ipaddr *addr, int64_t until_us, void *arg), _unused_ void *arg,
		    _unused_ struct err *err)
{
	return 0;
}

int store_cooldown_trim(_unused_ struct store *store, _unused_ int64_t now_us, _unused_ struct err *err)
{
	return 0;
}

int store_intents(_unused_ struct store *store, _unused_ int (*fn)(const struct intent *intent, void *arg),
		  _unused_ void *arg, _unused_ struct err *err)
{
	return 0;
}

int net_routes(_unused_ struct net *net, _unused_ enum ip_family family, _unused_ uint32_t table,
	       _unused_ int (*fn)(const struct net_route *route, void *arg), _unused_ void *arg,
	       _unused_ struct err *err)
{
	return 0;
}

int net_link_by_index(_unused_ struct net *net, _unused_ int index, _unused_ struct net_link *ret, struct err *err)
{
	return err_set(err, ERR_NOTFOUND, "sim", "no links here");
}

int store_fact_put(_unused_ struct store *store, _unused_ const char *key, _unused_ const char *value,
		   _unused_ struct err *err)
{
	return 0;
}

int store_fact_get(_unused_ struct store *store, _unused_ const char *key,
		   _unused_ char ret[static STORE_FACT_VALUE_SIZE], struct err *err)
{
	return err_set(err, ERR_NOTFOUND, "sim", "nothing is kept here");
}

void hostwork_pod_down(_unused_ struct ipamd *d, _unused_ const struct ipaddr addrs[static IP_FAMILIES],
		       _unused_ const char *host_ifname)
{
}

void hostwork_lease_down(_unused_ struct ipamd *d, _unused_ const struct lease *lease)
{
}

bool hostwork_learn_name(_unused_ struct ipamd *d, _unused_ const char *host_ifname)
{
	return true;
}

int net_link_by_name(_unused_ struct net *net, _unused_ const char *name, _unused_ struct net_link *ret,
		     struct err *err)
{
	return err_set(err, ERR_NOTFOUND, "sim", "no links here");
}

int netns_open(_unused_ const char *path, _unused_ int *ret_fd, struct err *err)
{
	return err_set(err, ERR_NOTFOUND, "sim", "no namespaces here");
}

int hostnet_shape(_unused_ struct hostnet *hostnet, _unused_ const char *host_ifname,
		  _unused_ const struct bandwidth *bandwidth, _unused_ struct err *err)
{
	return 0;
}

int hostnet_delegated_up(_unused_ struct hostnet *hostnet, _unused_ const struct ipaddr addrs[static IP_FAMILIES],
			 _unused_ struct err *err)
{
	return 0;
}
