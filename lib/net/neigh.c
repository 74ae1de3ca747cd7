/* SPDX-License-Identifier: Apache-2.0 */
/* Neighbours that never age, and who is a neighbour. */
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "net_internal.h"

int net_neigh_set_permanent(struct net *net, int index, const struct ipaddr *addr, const struct macaddr *mac,
			    struct err *err)
{
	char addr_text[IPADDR_STRLEN], mac_text[MACADDR_STRLEN];
	struct ndmsg ndm = { .ndm_family = net_af(addr->family), .ndm_ifindex = index, .ndm_state = NUD_PERMANENT };
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	if (ndm.ndm_family == AF_UNSPEC)
		return err_set(err, ERR_INVALID, NET_DOMAIN, "neighbour without an address");
	net_msg_init(&msg, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &ndm, sizeof(ndm));
	net_msg_addr(&msg, NDA_DST, addr);
	net_msg_put(&msg, NDA_LLADDR, mac->bytes, MACADDR_LEN);
	rc = net_call(net, &msg, &ack);
	if (rc < 0)
		return net_fail(err, rc, &ack, "set neighbour %s %s on link %d", ipaddr_str(addr, addr_text),
				macaddr_str(mac, mac_text), index);
	return 0;
}

/* Return: 1 for what has no IP address (a bridge's table). */
static int parse_neigh(struct nlmsghdr *hdr, void *item)
{
	struct nlattr *tb[NDA_MAX + 1];
	struct net_neigh neigh = { 0 };
	const struct ndmsg *ndm;

	if (hdr->nlmsg_type != RTM_NEWNEIGH)
		return 1;
	if (nlmsg_parse(hdr, sizeof(*ndm), tb, NDA_MAX, NULL) < 0)
		return -EBADMSG;
	ndm = nlmsg_data(hdr);
	if (net_family(ndm->ndm_family) == IP_NONE || !tb[NDA_DST])
		return 1;
	if (net_addr_from(ndm->ndm_family, tb[NDA_DST], &neigh.addr) < 0)
		return -EBADMSG;
	neigh.index = ndm->ndm_ifindex;
	neigh.permanent = ndm->ndm_state & NUD_PERMANENT;
	if (tb[NDA_LLADDR] && nla_len(tb[NDA_LLADDR]) == MACADDR_LEN)
		memcpy(neigh.mac.bytes, nla_data(tb[NDA_LLADDR]), MACADDR_LEN);
	memcpy(item, &neigh, sizeof(neigh));
	return 0;
}

int net_neighs(struct net *net, enum ip_family family, int (*fn)(const struct net_neigh *neigh, void *arg), void *arg,
	       struct err *err)
{
	_cleanup_list_ struct net_list list = { .item_size = sizeof(struct net_neigh) };
	struct ndmsg ndm = { .ndm_family = net_af(family) };
	struct net_ack ack;
	_cleanup_msg_ struct net_msg msg = { 0 };
	int rc;

	if (ndm.ndm_family == AF_UNSPEC)
		return err_set(err, ERR_INVALID, NET_DOMAIN, "neighbours of no family");
	net_msg_init(&msg, RTM_GETNEIGH, 0, &ndm, sizeof(ndm));
	rc = net_dump(net, &msg, parse_neigh, &list, &ack);
	if (rc < 0)
		return net_fail(err, rc, &ack, "list neighbours");
	for (size_t i = 0; rc == 0 && i < list.count; i++)
		rc = fn(&((const struct net_neigh *)list.items)[i], arg);
	return rc;
}
