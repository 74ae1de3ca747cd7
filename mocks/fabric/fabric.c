/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/net.h"
#include "berth/str.h"
#include "child.h"
#include "fabric_impl.h"

#define DOMAIN     FABRIC_DOMAIN
#define NETNS_DIR  "/run/netns"
#define INET_LINK  FABRIC_INET_LINK
#define PUBLIC_NET UINT32_C(0xc6120000) /* 198.18.0.0 */
#define PUBLIC_LEN 15U
#define NFT_TIMEOUT_US                                                                                                 \
	(10 * USEC_PER_SEC) /* a batch takes 12-30 ms on a CI machine; this is for a machine that swaps */
#define DESTROY_MAX 4096U   /* namespaces of one fabric: nodes and pods; ends a loop that finds new ones */

static_assert(sizeof(FABRIC_NICS_LINK) + 2U * (MACADDR_LEN - 1) <= NET_IFNAME_SIZE, "link names fit");

/* ---- names ---- */

static int check_name(const char *what, const char *name, size_t max_len, struct err *err)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");

	if (len == 0 || len > max_len || name[len] != '\0')
		return err_set(err, ERR_INVALID, DOMAIN, "%s \"%s\": 1-%zu characters of a-z and 0-9", what, name,
			       max_len);
	return 0;
}

int fabric_prefix_check(const char *prefix, struct err *err)
{
	return check_name("prefix", prefix, FABRIC_PREFIX_MAX, err);
}

void fabric_netns_name(const char *prefix, const char *what, char ret[static FABRIC_NETNS_SIZE])
{
	(void)snprintf(ret, FABRIC_NETNS_SIZE, "%s-%s", prefix, what);
}

int fabric_netns_open(const char *prefix, const char *what, int *ret_fd, struct err *err)
{
	char name[FABRIC_NETNS_SIZE], path[sizeof(NETNS_DIR) + FABRIC_NETNS_SIZE];

	fabric_netns_name(prefix, what, name);
	(void)snprintf(path, sizeof(path), NETNS_DIR "/%s", name);
	return netns_open(path, ret_fd, err);
}

void fabric_link_name(const struct macaddr *mac, char ret[static NET_IFNAME_SIZE])
{
	char hex[2 * MACADDR_LEN + 1];

	(void)snprintf(ret, NET_IFNAME_SIZE, FABRIC_NICS_LINK "%s", str_hex(hex, mac->bytes + 1, MACADDR_LEN - 1));
}

/* ---- the fabric's own namespace ---- */

struct sysctl_set {
	const struct sysctl *rows;
	unsigned count;
};

static int write_sysctls(void *arg, struct err *err)
{
	const struct sysctl_set *set = arg;

	for (unsigned i = 0; i < set->count; i++) {
		int r = fs_sysctl_write(set->rows[i].key, set->rows[i].value);

		/* Without IPv6 in the kernel there is nothing to switch off. */
		if (r == -ENOENT && str_starts(set->rows[i].key, "net/ipv6/"))
			continue;
		if (r < 0)
			return err_set_errno(err, ERR_INVALID, DOMAIN, -r, "sysctl %s", set->rows[i].key);
	}
	return 0;
}

int fabric_sysctls(int netns_fd, const struct sysctl *rows, unsigned count, struct err *err)
{
	struct sysctl_set set = { .rows = rows, .count = count };

	return netns_run(netns_fd, write_sysctls, &set, err);
}

int fabric_nft(int netns_fd, const char *batch, struct err *err)
{
	static const char *const argv[] = { "nft", "-f", "-", NULL };
	struct child_spec spec = {
		.path = argv[0], .argv = argv, .input = batch, .netns_fd = netns_fd, .timeout_us = NFT_TIMEOUT_US
	};
	_cleanup_(child_result_done) struct child_result result = { 0 };

	if (child_run(&spec, &result, err) < 0)
		return -1;
	if (result.exit_code != 0)
		return err_set(err, ERR_INVALID, DOMAIN, "nft: %.200s", result.err_text);
	return 0;
}

/* A source without a public address is dropped where an internet gateway drops it; an address that nobody has stays
 * dark, where the kernel as a router would say "unreachable". */
static const char gateway_rules[] = "table ip fabric {\n"
				    " map public { type ipv4_addr : ipv4_addr; }\n"
				    " map private { type ipv4_addr : ipv4_addr; }\n"
				    " set primaries { type ipv4_addr; }\n"
				    " chain inbound { type nat hook prerouting priority dstnat; iifname \"" INET_LINK
				    "\" dnat to ip daddr map @private; }\n"
				    " chain leave { type filter hook forward priority filter; oifname \"" INET_LINK
				    "\" ip saddr != @primaries drop; }\n"
				    " chain outbound { type nat hook postrouting priority srcnat; oifname \"" INET_LINK
				    "\" snat to ip saddr map @public; }\n"
				    " chain dark { type filter hook output priority filter;"
				    " icmp type destination-unreachable icmp code != frag-needed drop; }\n"
				    "}\n";

static const struct sysctl vpc_sysctls[] = {
	{ "net/ipv4/ip_forward", "1" },
	{ "net/ipv4/conf/all/rp_filter", "1" },
	{ "net/ipv4/conf/default/rp_filter", "1" },
	{ "net/ipv4/conf/all/send_redirects", "0" },
	{ "net/ipv4/conf/default/send_redirects", "0" },
	{ "net/ipv6/conf/default/disable_ipv6", "1" },
};

static const struct sysctl node_sysctls[] = {
	{ "net/ipv4/ip_forward", "1" },
	{ "net/ipv4/conf/all/rp_filter", "2" },
	{ "net/ipv4/conf/default/rp_filter", "2" },
	/* The cloud hands out addresses: a second of looking for duplicates would be a second of every test. */
	{ "net/ipv6/conf/default/accept_dad", "0" },
};

struct ipaddr fabric_ip(const char *text)
{
	struct ipaddr addr = { 0 };

	(void)ipaddr_parse(text, &addr);
	return addr;
}

static int add_service_addresses(struct net *vpc, struct err *err)
{
	static const char *const texts[] = { FABRIC_API_ADDR, FABRIC_METADATA_ADDR };
	struct net_link lo;

	if (net_link_by_name(vpc, "lo", &lo, err) < 0)
		return -1;
	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
		struct ipaddr addr = fabric_ip(texts[i]);

		if (net_addr_add(vpc, lo.index, &addr, 32, 0, err) < 0)
			return -1;
	}
	return 0;
}

static int address_and_up(struct net *net, const char *link_name, const char *text, unsigned len, struct net_link *ret,
			  struct err *err)
{
	struct ipaddr addr = fabric_ip(text);
	struct net_link link;

	if (net_link_by_name(net, link_name, &link, err) < 0 || net_addr_add(net, link.index, &addr, len, 0, err) < 0 ||
	    net_link_set_up(net, link.index, true, err) < 0)
		return err_wrap(err, "link %s", link_name);
	*ret = link;
	return 0;
}

static int connect_internet(struct net *vpc, int vpc_fd, int inet_fd, struct err *err)
{
	_cleanup_net_ struct net *inet = NULL;
	struct net_veth veth = { .name = INET_LINK, .peer_netns_fd = inet_fd, .peer_name = "eth0" };
	struct ipaddr public_net = ipaddr_v4(PUBLIC_NET);
	struct net_route back = { .dst = prefix_of(&public_net, PUBLIC_LEN),
				  .gateway = fabric_ip(FABRIC_INTERNET_GW),
				  .protocol = RTPROT_STATIC };
	struct net_link link;

	if (net_veth_add(vpc, &veth, err) < 0 ||
	    address_and_up(vpc, INET_LINK, FABRIC_INTERNET_GW, 24, &link, err) < 0 ||
	    net_open_ns(inet_fd, &inet, err) < 0 ||
	    address_and_up(inet, "eth0", FABRIC_INTERNET_ADDR, 24, &link, err) < 0)
		return -1;
	back.oif = link.index;
	if (net_route_replace(inet, &back, err) < 0)
		return -1;
	return fabric6_build(vpc_fd, vpc, inet_fd, inet, err);
}

static int build(const char *prefix, struct err *err)
{
	_cleanup_close_ int vpc_fd = -1, inet_fd = -1;
	_cleanup_net_ struct net *vpc = NULL;
	struct net_route dark = { .dst = { .addr = ipaddr_v4(0) },
				  .type = NET_ROUTE_BLACKHOLE,
				  .protocol = RTPROT_STATIC };
	char inet_name[FABRIC_NETNS_SIZE];

	fabric_netns_name(prefix, "inet", inet_name);
	dark.dst.addr.family = IP_V4;
	if (netns_add(inet_name, err) < 0 || fabric_netns_open(prefix, "vpc", &vpc_fd, err) < 0 ||
	    fabric_netns_open(prefix, "inet", &inet_fd, err) < 0 || net_open_ns(vpc_fd, &vpc, err) < 0)
		return -1;
	if (fabric_sysctls(vpc_fd, vpc_sysctls, ARRAY_SIZE(vpc_sysctls), err) < 0 ||
	    add_service_addresses(vpc, err) < 0 || net_route_replace(vpc, &dark, err) < 0 ||
	    connect_internet(vpc, vpc_fd, inet_fd, err) < 0)
		return -1;
	return fabric_nft(vpc_fd, gateway_rules, err);
}

int fabric_create(const char *prefix, struct err *err)
{
	char vpc_name[FABRIC_NETNS_SIZE];

	if (fabric_prefix_check(prefix, err) < 0)
		return -1;
	fabric_netns_name(prefix, "vpc", vpc_name);
	if (netns_add(vpc_name, err) < 0)
		return err_wrap(err, "fabric %s", prefix);
	if (build(prefix, err) < 0) {
		(void)fabric_destroy(prefix, NULL);
		return err_wrap(err, "fabric %s", prefix);
	}
	return 0;
}

/* Return: 1 when one was removed, 0 when none is left, -1 on failure. */
static int destroy_one(const char *start, struct err *err)
{
	char name[sizeof(((struct dirent *)NULL)->d_name)] = "";
	const struct dirent *entry;
	DIR *dir = opendir(NETNS_DIR);

	if (!dir)
		return errno == ENOENT ? 0 : err_set_errno(err, ERR_INVALID, DOMAIN, errno, "open " NETNS_DIR);
	while (name[0] == '\0' && (entry = readdir(dir)))
		if (str_starts(entry->d_name, start))
			(void)str_copy(name, sizeof(name), entry->d_name);
	(void)closedir(dir);
	if (name[0] == '\0')
		return 0;
	return netns_del(name, err) < 0 ? -1 : 1;
}

int fabric_destroy(const char *prefix, struct err *err)
{
	char start[FABRIC_NETNS_SIZE];
	int r = 1;

	if (fabric_prefix_check(prefix, err) < 0)
		return -1;
	fabric_netns_name(prefix, "", start);
	for (unsigned i = 0; r > 0 && i < DESTROY_MAX; i++)
		r = destroy_one(start, err);
	if (r > 0)
		return err_set(err, ERR_EXHAUSTED, DOMAIN, "more than %u namespaces begin with %s", DESTROY_MAX, start);
	return r < 0 ? err_wrap(err, "remove fabric %s", prefix) : 0;
}

int fabric_open(const char *prefix, struct fabric **ret, struct err *err)
{
	_cleanup_free_ struct fabric *fabric = NULL;
	_cleanup_close_ int vpc_fd = -1;

	if (fabric_prefix_check(prefix, err) < 0 || fabric_netns_open(prefix, "vpc", &vpc_fd, err) < 0)
		return err_wrap(err, "fabric %s", prefix);
	fabric = calloc(1, sizeof(*fabric));
	if (!fabric)
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, ENOMEM, "open fabric");
	(void)str_copy(fabric->prefix, sizeof(fabric->prefix), prefix);
	if (net_open_ns(vpc_fd, &fabric->vpc, err) < 0)
		return -1;
	(void)pthread_mutex_init(&fabric->lock, NULL);
	fabric->vpc_fd = take_fd(vpc_fd);
	*ret = take_ptr(fabric);
	return 0;
}

void fabric_close(struct fabric *fabric)
{
	if (!fabric)
		return;
	net_close(fabric->vpc);
	(void)close(fabric->vpc_fd);
	(void)pthread_mutex_destroy(&fabric->lock);
	free(fabric);
}

int fabric_node_add(struct fabric *fabric, const char *node, struct err *err)
{
	char name[FABRIC_NETNS_SIZE];
	_cleanup_close_ int fd = -1;

	if (check_name("node", node, FABRIC_NODE_MAX, err) < 0)
		return -1;
	fabric_netns_name(fabric->prefix, node, name);
	if (netns_add(name, err) < 0 || fabric_netns_open(fabric->prefix, node, &fd, err) < 0 ||
	    fabric_sysctls(fd, node_sysctls, ARRAY_SIZE(node_sysctls), err) < 0)
		return err_wrap(err, "node %s", node);
	return 0;
}

/* ---- NICs ---- */

static int check_nic(const struct fabric_nic *nic, struct err *err)
{
	if (check_name("node", nic->node, FABRIC_NODE_MAX, err) < 0)
		return -1;
	if (nic->primary.family != IP_V4 || nic->gateway.family != IP_V4 || nic->subnet.addr.family != IP_V4)
		return err_set(err, ERR_INVALID, DOMAIN, "NIC %s of %s: its own address is an IPv4 one", nic->ifname,
			       nic->node);
	if (nic->subnet6.addr.family == IP_NONE && nic->primary6.family != IP_NONE)
		return err_set(err, ERR_INVALID, DOMAIN, "NIC %s of %s: an IPv6 address in a subnet without",
			       nic->ifname, nic->node);
	if ((nic->mac.bytes[0] & 1) != 0)
		return err_set(err, ERR_INVALID, DOMAIN, "NIC %s of %s: multicast MAC", nic->ifname, nic->node);
	return 0;
}

static int source_check_on(const struct fabric *fabric, const char *link_name, struct err *err)
{
	char rp_filter[64], proxy_arp[64], proxy_delay[64];
	struct sysctl rows[] = { { rp_filter, "1" }, { proxy_arp, "1" }, { proxy_delay, "0" } };

	(void)snprintf(rp_filter, sizeof(rp_filter), "net/ipv4/conf/%s/rp_filter", link_name);
	(void)snprintf(proxy_arp, sizeof(proxy_arp), "net/ipv4/conf/%s/proxy_arp", link_name);
	(void)snprintf(proxy_delay, sizeof(proxy_delay), "net/ipv4/neigh/%s/proxy_delay", link_name);
	return fabric_sysctls(fabric->vpc_fd, rows, ARRAY_SIZE(rows), err);
}

static int route_to_nic(struct fabric *fabric, int link_index, const struct ipaddr *via, const struct prefix *prefix,
			struct err *err)
{
	struct net_route route = { .dst = *prefix, .oif = link_index, .protocol = RTPROT_STATIC };
	struct prefix own = prefix_host(via);

	if (prefix_cmp(&own, prefix) != 0) {
		route.gateway = *via;
		route.onlink = true;
	}
	return net_route_replace(fabric->vpc, &route, err);
}

static int wire_fabric_end(struct fabric *fabric, const struct fabric_nic *nic, int link_index, const char *link_name,
			   struct err *err)
{
	struct prefix own = prefix_host(&nic->primary);
	bool has6 = nic->subnet6.addr.family == IP_V6;

	if (source_check_on(fabric, link_name, err) < 0 || (has6 && fabric6_sysctls(fabric, link_name, err) < 0) ||
	    net_link_set_up(fabric->vpc, link_index, true, err) < 0 ||
	    net_addr_add(fabric->vpc, link_index, &nic->gateway, 32, 0, err) < 0)
		return -1;
	if (route_to_nic(fabric, link_index, &nic->primary, &own, err) < 0)
		return -1;
	return has6 ? fabric6_wire(fabric, nic, link_index, link_name, err) : 0;
}

static int configure_node_end(int node_fd, const struct fabric_nic *nic, struct err *err)
{
	_cleanup_net_ struct net *net = NULL;
	struct net_route route = { .gateway = nic->gateway, .src = nic->primary, .protocol = RTPROT_DHCP };
	struct net_link link;

	route.dst.addr.family = IP_V4;
	if (net_open_ns(node_fd, &net, err) < 0 || net_link_by_name(net, nic->ifname, &link, err) < 0 ||
	    net_link_set_up(net, link.index, true, err) < 0 ||
	    net_addr_add(net, link.index, &nic->primary, nic->subnet.len, 0, err) < 0)
		return -1;
	route.oif = link.index;
	if (net_route_replace(net, &route, err) < 0)
		return -1;
	return nic->subnet6.addr.family == IP_V6 ? fabric6_configure(net, nic, link.index, err) : 0;
}

static int attach(struct fabric *fabric, const struct fabric_nic *nic, struct err *err)
{
	char link_name[NET_IFNAME_SIZE];
	_cleanup_close_ int node_fd = -1;
	struct net_link link;

	fabric_link_name(&nic->mac, link_name);
	if (fabric_netns_open(fabric->prefix, nic->node, &node_fd, err) < 0)
		return -1;
	struct net_veth veth = { .name = link_name,
				 .peer_netns_fd = node_fd,
				 .peer_name = nic->ifname,
				 .peer_mac = &nic->mac,
				 .mtu = nic->mtu };

	if (net_veth_add(fabric->vpc, &veth, err) < 0)
		return -1;
	if (net_link_by_name(fabric->vpc, link_name, &link, err) < 0)
		return -1;
	if (wire_fabric_end(fabric, nic, link.index, link_name, err) == 0 &&
	    (!nic->configure || configure_node_end(node_fd, nic, err) == 0))
		return 0;
	(void)net_link_del(fabric->vpc, link.index, NULL);
	return -1;
}

int fabric_nic_attach(struct fabric *fabric, const struct fabric_nic *nic, struct err *err)
{
	char mac[MACADDR_STRLEN];

	if (check_nic(nic, err) < 0)
		return -1;
	(void)pthread_mutex_lock(&fabric->lock);
	int r = attach(fabric, nic, err);

	(void)pthread_mutex_unlock(&fabric->lock);
	return r < 0 ? err_wrap(err, "attach NIC %s to %s", macaddr_str(&nic->mac, mac), nic->node) : 0;
}

int fabric_nic_detach(struct fabric *fabric, const struct macaddr *mac, struct err *err)
{
	char link_name[NET_IFNAME_SIZE];
	struct err why = { 0 };
	struct net_link link;

	fabric_link_name(mac, link_name);
	(void)pthread_mutex_lock(&fabric->lock);
	int r = net_link_by_name(fabric->vpc, link_name, &link, &why);

	if (r == 0)
		r = net_link_del(fabric->vpc, link.index, &why);
	(void)pthread_mutex_unlock(&fabric->lock);
	if (r == 0 || why.class == ERR_NOTFOUND)
		return 0;
	if (err)
		*err = why;
	return err_wrap(err, "detach NIC %s", link_name);
}

/* ---- addresses ---- */

int fabric_addr_assign(struct fabric *fabric, const struct macaddr *nic, const struct ipaddr *primary,
		       const struct prefix *prefix, struct err *err)
{
	struct ipaddr via = prefix->addr.family == IP_V6 ? fabric6_link_local(nic) : *primary;
	char link_name[NET_IFNAME_SIZE], text[PREFIX_STRLEN];
	struct net_link link;

	fabric_link_name(nic, link_name);
	(void)pthread_mutex_lock(&fabric->lock);
	int r = net_link_by_name(fabric->vpc, link_name, &link, err);

	if (r == 0)
		r = route_to_nic(fabric, link.index, &via, prefix, err);
	(void)pthread_mutex_unlock(&fabric->lock);
	return r < 0 ? err_wrap(err, "assign %s to %s", prefix_str(prefix, text), link_name) : 0;
}

int fabric_addr_unassign(struct fabric *fabric, const struct macaddr *nic, const struct prefix *prefix, struct err *err)
{
	char link_name[NET_IFNAME_SIZE], text[PREFIX_STRLEN];
	struct net_route route = { .dst = *prefix, .protocol = RTPROT_STATIC };
	struct err why = { 0 };
	struct net_link link;

	fabric_link_name(nic, link_name);
	(void)pthread_mutex_lock(&fabric->lock);
	int r = net_link_by_name(fabric->vpc, link_name, &link, &why);

	if (r == 0) {
		route.oif = link.index;
		r = net_route_del(fabric->vpc, &route, &why);
	}
	(void)pthread_mutex_unlock(&fabric->lock);
	if (r == 0 || why.class == ERR_NOTFOUND)
		return 0;
	if (err)
		*err = why;
	return err_wrap(err, "unassign %s from %s", prefix_str(prefix, text), link_name);
}

struct ipaddr fabric_public_addr(const struct ipaddr *primary)
{
	struct ipaddr base = ipaddr_v4(PUBLIC_NET);
	struct prefix whole = prefix_of(primary, PUBLIC_LEN);

	return ipaddr_add(&base, prefix_offset(&whole, primary));
}

int fabric_public_set(struct fabric *fabric, const struct ipaddr *primary, bool allowed, struct err *err)
{
	char in[IPADDR_STRLEN], out[IPADDR_STRLEN];
	_cleanup_strbuf_ struct strbuf batch = { 0 };
	/* Deleting what is not there fails, so it is added first: nft applies the batch as one. */
	static const char *const verbs[] = { "add", "delete" };

	if (primary->family != IP_V4)
		return err_set(err, ERR_INVALID, DOMAIN, "public addresses are IPv4 ones");
	struct ipaddr public = fabric_public_addr(primary);

	(void)ipaddr_str(primary, in);
	(void)ipaddr_str(&public, out);
	for (unsigned i = 0; i < (allowed ? 1U : 2U); i++)
		strbuf_printf(&batch,
			      "%s element ip fabric public { %s : %s }\n"
			      "%s element ip fabric private { %s : %s }\n"
			      "%s element ip fabric primaries { %s }\n",
			      verbs[i], in, out, verbs[i], out, in, verbs[i], in);
	if (batch.failed)
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, ENOMEM, "public address of %s", in);
	if (fabric_nft(fabric->vpc_fd, batch.text, err) < 0)
		return err_wrap(err, "public address of %s", in);
	return 0;
}
