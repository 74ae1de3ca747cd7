/* SPDX-License-Identifier: Apache-2.0 */
/* Links. One link is asked for by index or name, never found by looking through all of them. */
#include <errno.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <string.h>
#include <sys/socket.h>

#include "berth/str.h"

#include "net_internal.h"

#define LINK_SAME_MAC_MAX 64 /* links of one MAC that are told apart: a NIC with its VLANs; more is CONFLICT */

/* ---- reading ---- */

static const struct nla_policy link_policy[IFLA_MAX + 1] = {
	[IFLA_IFNAME] = { .type = NLA_STRING }, [IFLA_MTU] = { .type = NLA_U32 },
	[IFLA_LINK] = { .type = NLA_U32 },      [IFLA_LINK_NETNSID] = { .type = NLA_S32 },
	[IFLA_MASTER] = { .type = NLA_U32 },    [IFLA_LINKINFO] = { .type = NLA_NESTED },
};

static void parse_kind(struct nlattr *info, struct net_link *link)
{
	static const struct nla_policy policy[IFLA_INFO_MAX + 1] = { [IFLA_INFO_KIND] = { .type = NLA_STRING } };
	struct nlattr *tb[IFLA_INFO_MAX + 1];

	if (info && nla_parse_nested(tb, IFLA_INFO_MAX, info, policy) == 0 && tb[IFLA_INFO_KIND])
		(void)nla_strlcpy(link->kind, tb[IFLA_INFO_KIND], sizeof(link->kind));
}

/* IFLA_LINK is the other end of a veth, and of a VLAN or macvlan the link below; the latter in this namespace only when
 * no namespace is named beside it. */
static void parse_relations(struct nlattr **tb, struct net_link_info *info)
{
	int other = tb[IFLA_LINK] ? (int)nla_get_u32(tb[IFLA_LINK]) : 0;

	if (str_equal(info->link.kind, "veth"))
		info->link.peer_index = other;
	else if (!tb[IFLA_LINK_NETNSID] && other != info->link.index)
		info->lower_index = other;
	if (tb[IFLA_MASTER])
		info->master_index = (int)nla_get_u32(tb[IFLA_MASTER]);
}

int net_parse_link(struct nlmsghdr *hdr, void *item)
{
	struct nlattr *tb[IFLA_MAX + 1];
	struct net_link_info info = { 0 };
	const struct ifinfomsg *ifi;

	if (hdr->nlmsg_type != RTM_NEWLINK && hdr->nlmsg_type != RTM_DELLINK)
		return 1;
	if (nlmsg_parse(hdr, sizeof(*ifi), tb, IFLA_MAX, link_policy) < 0 || !tb[IFLA_IFNAME])
		return -EBADMSG;
	ifi = nlmsg_data(hdr);
	if (ifi->ifi_family == AF_BRIDGE)
		return 1; /* a port of a bridge: its DELLINK is about the port, the link lives on */
	info.link.index = ifi->ifi_index;
	info.link.up = ifi->ifi_flags & IFF_UP;
	info.link.mtu = tb[IFLA_MTU] ? nla_get_u32(tb[IFLA_MTU]) : 0;
	(void)nla_strlcpy(info.link.name, tb[IFLA_IFNAME], sizeof(info.link.name));
	if (tb[IFLA_ADDRESS] && nla_len(tb[IFLA_ADDRESS]) == MACADDR_LEN)
		memcpy(info.link.mac.bytes, nla_data(tb[IFLA_ADDRESS]), MACADDR_LEN);
	parse_kind(tb[IFLA_LINKINFO], &info.link);
	parse_relations(tb, &info);
	memcpy(item, &info, sizeof(info));
	return 0;
}

static void ask_links(struct net_msg *msg, int index, const char *name)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = index };

	net_msg_init(msg, RTM_GETLINK, 0, &ifi, sizeof(ifi));
	if (name)
		net_msg_str(msg, IFLA_IFNAME, name);
	net_msg_u32(msg, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

static bool name_is_valid(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len < NET_IFNAME_SIZE;
}

int net_link_by_name(struct net *net, const char *name, struct net_link *ret, struct err *err)
{
	struct net_link_info info;
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	if (!name_is_valid(name))
		return err_set(err, ERR_INVALID, NET_DOMAIN, "\"%s\" cannot be the name of a link", name);
	ask_links(&msg, 0, name);
	rc = net_get(net, &msg, net_parse_link, &info, &ack);
	if (rc < 0)
		return net_fail(err, rc, &ack, "look up link %s", name);
	*ret = info.link;
	return 0;
}

int net_link_by_index(struct net *net, int index, struct net_link *ret, struct err *err)
{
	struct net_link_info info;
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	ask_links(&msg, index, NULL);
	rc = net_get(net, &msg, net_parse_link, &info, &ack);
	if (rc < 0)
		return net_fail(err, rc, &ack, "look up link %d", index);
	*ret = info.link;
	return 0;
}

static int dump_links(struct net *net, struct net_list *list, struct err *err)
{
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	ask_links(&msg, 0, NULL);
	rc = net_dump(net, &msg, net_parse_link, list, &ack);
	return rc < 0 ? net_fail(err, rc, &ack, "list links") : 0;
}

int net_links(struct net *net, int (*fn)(const struct net_link *link, void *arg), void *arg, struct err *err)
{
	_cleanup_list_ struct net_list list = { .item_size = sizeof(struct net_link_info) };
	int rc = dump_links(net, &list, err);

	for (size_t i = 0; rc == 0 && i < list.count; i++)
		rc = fn(&((const struct net_link_info *)list.items)[i].link, arg);
	return rc;
}

/* Does @info carry the traffic of another of these links, or another the traffic of @info? The VF below netvsc and the
 * slave of a bond have a master of the same MAC, a VLAN a link below of the same MAC; the one with neither is the NIC.
 */
static bool is_part_of_another(const struct net_link_info *info, const struct net_link_info **same, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int index = same[i]->link.index;

		if (index == info->master_index || index == info->lower_index)
			return true;
	}
	return false;
}

static size_t find_same_mac(const struct net_list *list, const struct macaddr *mac, const char *skip_prefix,
			    const struct net_link_info *same[static LINK_SAME_MAC_MAX])
{
	const struct net_link_info *infos = list->items;
	size_t count = 0;

	for (size_t i = 0; i < list->count && count < LINK_SAME_MAC_MAX; i++) {
		if (!macaddr_equal(&infos[i].link.mac, mac))
			continue;
		if (skip_prefix && skip_prefix[0] && str_starts(infos[i].link.name, skip_prefix))
			continue;
		same[count++] = &infos[i];
	}
	return count;
}

int net_link_by_mac(struct net *net, const struct macaddr *mac, const char *skip_prefix, struct net_link *ret,
		    struct err *err)
{
	_cleanup_list_ struct net_list list = { .item_size = sizeof(struct net_link_info) };
	const struct net_link_info *same[LINK_SAME_MAC_MAX], *found = NULL;
	char text[MACADDR_STRLEN];
	size_t count;

	if (dump_links(net, &list, err) < 0)
		return -1;
	count = find_same_mac(&list, mac, skip_prefix, same);
	for (size_t i = 0; i < count; i++) {
		if (is_part_of_another(same[i], same, count))
			continue;
		if (found)
			return err_set(err, ERR_CONFLICT, NET_DOMAIN, "links %s and %s both have MAC %s",
				       found->link.name, same[i]->link.name, macaddr_str(mac, text));
		found = same[i];
	}
	if (!found)
		return err_set(err, ERR_NOTFOUND, NET_DOMAIN, "no link has MAC %s", macaddr_str(mac, text));
	*ret = found->link;
	return 0;
}

/* ---- changing ---- */

int net_link_set_up(struct net *net, int index, bool up, struct err *err)
{
	struct ifinfomsg ifi = {
		.ifi_family = AF_UNSPEC,
		.ifi_index = index,
		.ifi_flags = up ? IFF_UP : 0,
		.ifi_change = IFF_UP,
	};
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	net_msg_init(&msg, RTM_SETLINK, 0, &ifi, sizeof(ifi));
	rc = net_call(net, &msg, &ack);
	return rc < 0 ? net_fail(err, rc, &ack, "set link %d %s", index, up ? "up" : "down") : 0;
}

int net_link_set_mtu(struct net *net, int index, unsigned mtu, struct err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = index };
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	net_msg_init(&msg, RTM_SETLINK, 0, &ifi, sizeof(ifi));
	net_msg_u32(&msg, IFLA_MTU, mtu);
	rc = net_call(net, &msg, &ack);
	return rc < 0 ? net_fail(err, rc, &ack, "set MTU of link %d to %u", index, mtu) : 0;
}

int net_link_set_mac(struct net *net, int index, const struct macaddr *mac, struct err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = index };
	char text[MACADDR_STRLEN];
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	net_msg_init(&msg, RTM_SETLINK, 0, &ifi, sizeof(ifi));
	net_msg_put(&msg, IFLA_ADDRESS, mac->bytes, MACADDR_LEN);
	rc = net_call(net, &msg, &ack);
	return rc < 0 ? net_fail(err, rc, &ack, "set MAC of link %d to %s", index, macaddr_str(mac, text)) : 0;
}

int net_link_make_no_addrs(struct net *net, int index, struct err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = index };
	const uint8_t mode = IN6_ADDR_GEN_MODE_NONE;
	struct nlattr *families, *v6;
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	net_msg_init(&msg, RTM_SETLINK, 0, &ifi, sizeof(ifi));
	families = net_msg_nest(&msg, IFLA_AF_SPEC);
	v6 = net_msg_nest(&msg, AF_INET6);
	net_msg_put(&msg, IFLA_INET6_ADDR_GEN_MODE, &mode, sizeof(mode));
	net_msg_nest_end(&msg, v6);
	net_msg_nest_end(&msg, families);
	rc = net_call(net, &msg, &ack);
	return rc < 0 ? net_fail(err, rc, &ack, "keep link %d without IPv6 addresses of its own", index) : 0;
}

int net_link_rename(struct net *net, int index, const char *name, struct err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = index };
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	if (!name_is_valid(name))
		return err_set(err, ERR_INVALID, NET_DOMAIN, "\"%s\" cannot be the name of a link", name);
	net_msg_init(&msg, RTM_SETLINK, 0, &ifi, sizeof(ifi));
	net_msg_str(&msg, IFLA_IFNAME, name);
	rc = net_call(net, &msg, &ack);
	return rc < 0 ? net_fail(err, rc, &ack, "rename link %d to %s", index, name) : 0;
}

int net_link_del(struct net *net, int index, struct err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = index };
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	net_msg_init(&msg, RTM_DELLINK, 0, &ifi, sizeof(ifi));
	rc = net_call(net, &msg, &ack);
	return rc < 0 ? net_fail(err, rc, &ack, "delete link %d", index) : 0;
}

/* ---- veth ---- */

static void put_end(struct net_msg *msg, const char *name, const struct macaddr *mac, unsigned mtu)
{
	net_msg_str(msg, IFLA_IFNAME, name);
	if (mac)
		net_msg_put(msg, IFLA_ADDRESS, mac->bytes, MACADDR_LEN);
	if (mtu)
		net_msg_u32(msg, IFLA_MTU, mtu);
	net_msg_u32(msg, IFLA_NUM_TX_QUEUES, 1);
	net_msg_u32(msg, IFLA_NUM_RX_QUEUES, 1);
}

static void put_veth(struct net_msg *msg, const struct net_veth *veth)
{
	struct ifinfomsg peer = { .ifi_family = AF_UNSPEC };
	struct nlattr *info, *data, *peer_nest;

	put_end(msg, veth->name, veth->mac, veth->mtu);
	info = net_msg_nest(msg, IFLA_LINKINFO);
	net_msg_str(msg, IFLA_INFO_KIND, "veth");
	data = net_msg_nest(msg, IFLA_INFO_DATA);
	peer_nest = net_msg_nest(msg, VETH_INFO_PEER);
	net_msg_raw(msg, &peer, sizeof(peer));
	put_end(msg, veth->peer_name, veth->peer_mac, veth->mtu);
	if (veth->peer_netns_fd >= 0)
		net_msg_u32(msg, IFLA_NET_NS_FD, (uint32_t)veth->peer_netns_fd);
	net_msg_nest_end(msg, peer_nest);
	net_msg_nest_end(msg, data);
	net_msg_nest_end(msg, info);
}

/* The kernel does not say whose name was taken. */
static int veth_fail(struct net *net, const struct net_veth *veth, int rc, const struct net_ack *ack, struct err *err)
{
	struct net_link link;

	if (rc != -EEXIST)
		return net_fail(err, rc, ack, "make veth %s, peer %s", veth->name, veth->peer_name);
	if (net_link_by_name(net, veth->name, &link, NULL) == 0)
		return net_fail(err, rc, ack, "make veth %s: name is taken", veth->name);
	return net_fail(err, rc, ack, "make veth %s: peer's name %s is taken", veth->name, veth->peer_name);
}

int net_veth_add(struct net *net, const struct net_veth *veth, struct err *err)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC,
				 .ifi_change = veth->up ? IFF_UP : 0,
				 .ifi_flags = veth->up ? IFF_UP : 0 };
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	if (!name_is_valid(veth->name) || !name_is_valid(veth->peer_name))
		return err_set(err, ERR_INVALID, NET_DOMAIN, "\"%s\" or \"%s\" cannot be the name of a link",
			       veth->name, veth->peer_name);
	net_msg_init(&msg, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifi, sizeof(ifi));
	put_veth(&msg, veth);
	rc = net_call(net, &msg, &ack);
	return rc < 0 ? veth_fail(net, veth, rc, &ack, err) : 0;
}
