/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: watching one nft table
 *
 * The kernel announces what a batch changed when it commits it, in one go and in the order of the commits, under the
 * netlink address of the socket that sent the batch: of the nft program that is its process ID. So who touched the
 * table last is enough to know whether it still is what we loaded. Of other tables it is kept whether it was a base chain or a rule of a
 * chain FORWARD; kube-proxy's changes are read and dropped.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h> /* before the kernel's own */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "berth/str.h"
#include "net_internal.h"

#define WATCH_RECV_BUF  (1 << 20) /* bytes in the kernel: our own table with 4,000 blocks, twice over */
#define WATCH_READ_MAX  256       /* datagrams of one read */
#define WATCH_NAME_SIZE 64

struct net_nft_watch {
	int fd; /* owned */
	char table[WATCH_NAME_SIZE];
	_Alignas(NLMSG_ALIGNTO) uint8_t buf[NET_RECV_SIZE];
};

static int watch_join(struct net_nft_watch *watch, struct err *err)
{
	const int size = WATCH_RECV_BUF, group = NFNLGRP_NFTABLES;

	if (setsockopt(watch->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(watch->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (setsockopt(watch->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return net_fail(err, -errno, NULL, "watch nft tables");
	return 0;
}

int net_nft_watch_open(const char *table, struct net_nft_watch **ret, struct err *err)
{
	struct net_nft_watch *watch = malloc(sizeof(*watch));
	int rc;

	if (!watch)
		return net_fail(err, -ENOMEM, NULL, "watch nft tables");
	if (str_copy(watch->table, sizeof(watch->table), table) < 0) {
		free(watch);
		return net_fail(err, -EINVAL, NULL, "watch nft table %s", table);
	}
	watch->fd = net_sock_new(NETLINK_NETFILTER, SOCK_NONBLOCK);
	if (watch->fd < 0) {
		rc = watch->fd;
		free(watch);
		return net_fail(err, rc, NULL, "watch nft tables");
	}
	if (watch_join(watch, err) < 0) {
		net_nft_watch_close(watch);
		return -1;
	}
	*ret = watch;
	return 0;
}

void net_nft_watch_close(struct net_nft_watch *watch)
{
	if (!watch)
		return;
	(void)close(watch->fd);
	free(watch);
}

int net_nft_watch_fd(const struct net_nft_watch *watch)
{
	return watch->fd;
}

/* Every kind of object names its table in its first attribute; only the generation has none. */
static bool is_of_table(struct nlmsghdr *hdr, const char *table)
{
	const struct nfgenmsg *head = nlmsg_data(hdr);
	struct nlattr *attr;

	if (NFNL_SUBSYS_ID(hdr->nlmsg_type) != NFNL_SUBSYS_NFTABLES ||
	    NFNL_MSG_TYPE(hdr->nlmsg_type) == NFT_MSG_NEWGEN || !nlmsg_valid_hdr(hdr, sizeof(*head)) ||
	    head->nfgen_family != NFPROTO_INET)
		return false;
	attr = nlmsg_find_attr(hdr, sizeof(*head), NFTA_TABLE_NAME);
	return attr && nla_strcmp(attr, table) == 0;
}

/* A base chain of whatever hook, or a rule of the chain that iptables keeps for what is forwarded. When a chain goes, Linux
 * says no more whether it was a base chain: only whole tables are heard. */
static bool is_of_forward(struct nlmsghdr *hdr)
{
	struct nlattr *attr;

	if (NFNL_SUBSYS_ID(hdr->nlmsg_type) != NFNL_SUBSYS_NFTABLES || !nlmsg_valid_hdr(hdr, sizeof(struct nfgenmsg)))
		return false;
	switch (NFNL_MSG_TYPE(hdr->nlmsg_type)) {
	case NFT_MSG_DELTABLE:
		return true;
	case NFT_MSG_NEWCHAIN:
		return nlmsg_find_attr(hdr, sizeof(struct nfgenmsg), NFTA_CHAIN_HOOK) != NULL;
	case NFT_MSG_NEWRULE:
	case NFT_MSG_DELRULE:
		attr = nlmsg_find_attr(hdr, sizeof(struct nfgenmsg), NFTA_RULE_CHAIN);
		return attr && nla_strcmp(attr, "FORWARD") == 0;
	default:
		return false;
	}
}

static_assert(NFTA_TABLE_NAME == 1 && NFTA_CHAIN_TABLE == 1 && NFTA_RULE_TABLE == 1 && NFTA_SET_TABLE == 1 &&
		      NFTA_SET_ELEM_LIST_TABLE == 1 && NFTA_OBJ_TABLE == 1,
	      "one attribute for the table's name");

int net_nft_watch_read(struct net_nft_watch *watch, struct net_nft_touch *ret, struct err *err)
{
	struct net_nft_touch touch = { 0 };

	for (int i = 0; i < WATCH_READ_MAX; i++) {
		ssize_t n = net_receive(watch->fd, watch->buf, sizeof(watch->buf));
		int left = (int)n;

		if (n == -EAGAIN)
			break;
		if (n == -ENOBUFS || n == -EMSGSIZE)
			touch.lost = true;
		else if (n < 0 && n != -EINTR)
			return net_fail(err, (int)n, NULL, "read nft events");
		for (struct nlmsghdr *hdr = (void *)watch->buf; nlmsg_ok(hdr, left); hdr = nlmsg_next(hdr, &left)) {
			if (!is_of_table(hdr, watch->table)) {
				touch.forward = touch.forward || is_of_forward(hdr);
				continue;
			}
			touch.touched = true;
			touch.by = hdr->nlmsg_pid;
		}
	}
	*ret = touch;
	return 0;
}
