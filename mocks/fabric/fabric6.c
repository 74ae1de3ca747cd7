/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: IPv6 in the fabric
 *
 * A NIC in a subnet with an IPv6 range has on the fabric's end the gateway that EC2 shows on every NIC, fe80:ec2::1.
 * Its own address is a route on link; what else is assigned, single addresses and /80 prefixes, is routed via the
 * link-local address that the guest makes from its MAC, with a permanent neighbour entry: the fabric delivers to a
 * NIC, and who inside the guest answers for an address is the guest's business.
 *
 * Linux has no rp_filter for IPv6; nft asks the routes whether the source is assigned to the NIC by which a packet
 * comes. Addresses of a cloud's network are good outside of it too: no translation, and only NICs that may are let out
 * and reached from outside.
 */
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "berth/err.h"
#include "berth/fs.h"
#include "berth/net.h"
#include "berth/str.h"
#include "fabric_impl.h"

#define LINK_LOCAL_LEN 64U
#define INET_LEN       64U

static const char rules[] = "table ip6 fabric {\n"
			    " set public { type ifname; }\n"
			    " chain sources { type filter hook prerouting priority raw;"
			    " ip6 saddr { ::, fe80::/10 } accept;"
			    " iifname \"" FABRIC_NICS_LINK "*\" fib saddr . iif oif missing drop; }\n"
			    " chain leave { type filter hook forward priority filter;"
			    " oifname \"" FABRIC_INET_LINK "\" iifname != @public drop;"
			    " iifname \"" FABRIC_INET_LINK "\" oifname != @public drop; }\n"
			    " chain dark { type filter hook output priority filter;"
			    " icmpv6 type destination-unreachable drop; }\n"
			    "}\n";

bool fabric6_available(void)
{
	return fs_exists("/proc/sys/net/ipv6");
}

struct ipaddr fabric6_link_local(const struct macaddr *mac)
{
	struct ipaddr addr = { .family = IP_V6, .bytes = { 0xfe, 0x80 } };

	addr.bytes[8] = mac->bytes[0] ^ 0x02;
	addr.bytes[9] = mac->bytes[1];
	addr.bytes[10] = mac->bytes[2];
	addr.bytes[11] = 0xff;
	addr.bytes[12] = 0xfe;
	addr.bytes[13] = mac->bytes[3];
	addr.bytes[14] = mac->bytes[4];
	addr.bytes[15] = mac->bytes[5];
	return addr;
}

/* ---- the whole fabric ---- */

static int address(struct net *net, const char *link_name, const char *text, struct net_link *ret, struct err *err)
{
	struct ipaddr addr = fabric_ip(text);

	if (net_link_by_name(net, link_name, ret, err) < 0 ||
	    net_addr_add(net, ret->index, &addr, INET_LEN, NET_ADDR_NODAD, err) < 0)
		return err_wrap(err, "link %s", link_name);
	return 0;
}

int fabric6_build(int vpc_fd, struct net *vpc, int inet_fd, struct net *inet, struct err *err)
{
	static const struct sysctl vpc_rows[] = {
		{ "net/ipv6/conf/all/forwarding", "1" },
		{ "net/ipv6/conf/" FABRIC_INET_LINK "/accept_dad", "0" },
		{ "net/ipv6/conf/" FABRIC_INET_LINK "/disable_ipv6", "0" },
	};
	static const struct sysctl inet_rows[] = { { "net/ipv6/conf/eth0/accept_dad", "0" },
						   { "net/ipv6/conf/eth0/accept_ra", "0" } };
	struct net_route dark = { .dst = { .addr.family = IP_V6 },
				  .type = NET_ROUTE_BLACKHOLE,
				  .protocol = RTPROT_STATIC };
	struct net_route back = { .dst = { .addr.family = IP_V6 },
				  .gateway = fabric_ip(FABRIC_INTERNET_GW6),
				  .protocol = RTPROT_STATIC };
	struct net_link link;

	if (!fabric6_available())
		return 0;
	if (fabric_sysctls(vpc_fd, vpc_rows, ARRAY_SIZE(vpc_rows), err) < 0 ||
	    fabric_sysctls(inet_fd, inet_rows, ARRAY_SIZE(inet_rows), err) < 0 ||
	    net_route_replace(vpc, &dark, err) < 0 ||
	    address(vpc, FABRIC_INET_LINK, FABRIC_INTERNET_GW6, &link, err) < 0 ||
	    address(inet, "eth0", FABRIC_INTERNET_ADDR6, &link, err) < 0)
		return -1;
	back.oif = link.index;
	if (net_route_replace(inet, &back, err) < 0)
		return -1;
	return fabric_nft(vpc_fd, rules, err);
}

/* ---- one NIC ---- */

int fabric6_sysctls(const struct fabric *fabric, const char *link_name, struct err *err)
{
	static const char *const names[][2] = { { "accept_dad", "0" }, { "accept_ra", "0" }, { "disable_ipv6", "0" } };
	char keys[ARRAY_SIZE(names)][64];
	struct sysctl rows[ARRAY_SIZE(names)];

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(keys[i], sizeof(keys[i]), "net/ipv6/conf/%s/%s", link_name, names[i][0]);
		rows[i] = (struct sysctl){ keys[i], names[i][1] };
	}
	return fabric_sysctls(fabric->vpc_fd, rows, ARRAY_SIZE(rows), err);
}

/* Deleting what is not there fails, so it is added first: nft applies the batch as one. A link of that name may have
 * been public before. */
static int set_public(const struct fabric *fabric, const char *link_name, bool allowed, struct err *err)
{
	char batch[192];

	(void)snprintf(batch, sizeof(batch), "add element ip6 fabric public { \"%s\" }\n", link_name);
	if (!allowed) {
		size_t len = strlen(batch);

		(void)snprintf(batch + len, sizeof(batch) - len, "delete element ip6 fabric public { \"%s\" }\n",
			       link_name);
	}
	return fabric_nft(fabric->vpc_fd, batch, err);
}

int fabric6_wire(struct fabric *fabric, const struct fabric_nic *nic, int link_index, const char *link_name,
		 struct err *err)
{
	struct ipaddr gateway = fabric_ip(FABRIC_GATEWAY6), guest = fabric6_link_local(&nic->mac);
	struct net_route own = { .dst = prefix_host(&nic->primary6), .oif = link_index, .protocol = RTPROT_STATIC };

	if (net_addr_add(fabric->vpc, link_index, &gateway, LINK_LOCAL_LEN, NET_ADDR_NODAD, err) < 0 ||
	    net_neigh_set_permanent(fabric->vpc, link_index, &guest, &nic->mac, err) < 0)
		return -1;
	if (nic->primary6.family == IP_V6 && net_route_replace(fabric->vpc, &own, err) < 0)
		return -1;
	return set_public(fabric, link_name, nic->public6, err);
}

int fabric6_configure(struct net *node, const struct fabric_nic *nic, int link_index, struct err *err)
{
	struct net_route all = { .dst = { .addr.family = IP_V6 },
				 .gateway = fabric_ip(FABRIC_GATEWAY6),
				 .onlink = true,
				 .oif = link_index,
				 .protocol = RTPROT_RA };

	/* DHCPv6 gives a host address; the router's announcement the default route. */
	if (nic->primary6.family == IP_V6 &&
	    net_addr_add(node, link_index, &nic->primary6, ipaddr_bits(&nic->primary6), NET_ADDR_NODAD, err) < 0)
		return -1;
	return net_route_replace(node, &all, err);
}
