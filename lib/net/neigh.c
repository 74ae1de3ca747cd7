/* SPDX-License-Identifier: Apache-2.0 */
/* Neighbours that never age. */
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
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
