/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of links. */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "net_internal.h"

uint8_t net_af(unsigned family)
{
	return family == IP_V4 ? AF_INET : family == IP_V6 ? AF_INET6 : AF_UNSPEC;
}

uint8_t net_family(unsigned af)
{
	return af == AF_INET ? IP_V4 : af == AF_INET6 ? IP_V6 : IP_NONE;
}

int net_addr_from(unsigned af, const struct nlattr *attr, struct ipaddr *ret)
{
	struct ipaddr addr = { .family = net_family(af) };
	unsigned len = ipaddr_len(&addr);

	if (len == 0 || nla_len(attr) != (int)len)
		return -EBADMSG;
	memcpy(addr.bytes, nla_data(attr), len);
	*ret = addr;
	return 0;
}

int net_parse_addr(struct nlmsghdr *hdr, void *item)
{
	struct nlattr *tb[IFA_MAX + 1], *attr;
	struct net_addr addr = { 0 };
	const struct ifaddrmsg *ifa;

	if (hdr->nlmsg_type != RTM_NEWADDR && hdr->nlmsg_type != RTM_DELADDR)
		return 1;
	if (nlmsg_parse(hdr, sizeof(*ifa), tb, IFA_MAX, NULL) < 0)
		return -EBADMSG;
	ifa = nlmsg_data(hdr);
	/* On a point-to-point link IFA_ADDRESS is the other side's. */
	attr = tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS];
	if (net_family(ifa->ifa_family) == IP_NONE || !attr)
		return 1;
	addr.index = (int)ifa->ifa_index;
	addr.prefix_len = ifa->ifa_prefixlen;
	if (net_addr_from(ifa->ifa_family, attr, &addr.addr) < 0)
		return -EBADMSG;
	memcpy(item, &addr, sizeof(addr));
	return 0;
}

static bool is_v6_link_local(const struct ipaddr *addr)
{
	return addr->family == IP_V6 && addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0x80;
}

static void addr_msg(struct net_msg *msg, int type, int flags, int index, const struct ipaddr *addr,
		     unsigned prefix_len)
{
	struct ifaddrmsg ifa = {
		.ifa_family = net_af(addr->family),
		.ifa_prefixlen = (uint8_t)prefix_len,
		.ifa_scope = is_v6_link_local(addr) ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
		.ifa_index = (uint32_t)index,
	};

	net_msg_init(msg, type, flags, &ifa, sizeof(ifa));
	net_msg_addr(msg, IFA_LOCAL, addr);
	net_msg_addr(msg, IFA_ADDRESS, addr);
}

static int check_len(const struct ipaddr *addr, unsigned prefix_len, struct err *err)
{
	char text[IPADDR_STRLEN];

	if (ipaddr_bits(addr) != 0 && prefix_len <= ipaddr_bits(addr))
		return 0;
	return err_set(err, ERR_INVALID, NET_DOMAIN, "%s/%u is no address of a link", ipaddr_str(addr, text),
		       prefix_len);
}

/* NLM_F_REPLACE would be idempotent too, but it makes an address of DHCP eternal; ours is to leave it as it is. */
int net_addr_add(struct net *net, int index, const struct ipaddr *addr, unsigned prefix_len, unsigned flags,
		 struct err *err)
{
	char text[IPADDR_STRLEN];
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	uint32_t ifa_flags = (flags & NET_ADDR_NOPREFIXROUTE ? IFA_F_NOPREFIXROUTE : 0U) |
			     (flags & NET_ADDR_NODAD ? IFA_F_NODAD : 0U);
	int rc;

	if (check_len(addr, prefix_len, err) < 0)
		return -1;
	addr_msg(&msg, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, addr, prefix_len);
	net_msg_u32(&msg, IFA_FLAGS, ifa_flags);
	rc = net_call(net, &msg, &ack);
	if (rc < 0 && rc != -EEXIST)
		return net_fail(err, rc, &ack, "add address %s/%u to link %d", ipaddr_str(addr, text), prefix_len,
				index);
	return 0;
}

int net_addr_del(struct net *net, int index, const struct ipaddr *addr, unsigned prefix_len, struct err *err)
{
	char text[IPADDR_STRLEN];
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	if (check_len(addr, prefix_len, err) < 0)
		return -1;
	addr_msg(&msg, RTM_DELADDR, 0, index, addr, prefix_len);
	rc = net_call(net, &msg, &ack);
	if (rc < 0 && net_err_class(-rc) != ERR_NOTFOUND)
		return net_fail(err, rc, &ack, "remove address %s/%u from link %d", ipaddr_str(addr, text), prefix_len,
				index);
	return 0;
}

int net_addrs(struct net *net, int (*fn)(const struct net_addr *addr, void *arg), void *arg, struct err *err)
{
	_cleanup_list_ struct net_list list = { .item_size = sizeof(struct net_addr) };
	struct ifaddrmsg ifa = { .ifa_family = AF_UNSPEC };
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	net_msg_init(&msg, RTM_GETADDR, 0, &ifa, sizeof(ifa));
	rc = net_dump(net, &msg, net_parse_addr, &list, &ack);
	if (rc < 0)
		return net_fail(err, rc, &ack, "list addresses");
	for (size_t i = 0; rc == 0 && i < list.count; i++)
		rc = fn(&((const struct net_addr *)list.items)[i], arg);
	return rc;
}
