/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: watching
 *
 * One non-blocking socket in the groups of links, addresses, routes, rules and sysctls. Only what somebody may have to
 * repair is passed on: links and sysctls as they change, and the other things when they go. What comes new of those is
 * dropped by the kernel (a filter), or each pod that is wired would wake the loop five times for nothing. What the socket
 * could not hold is reported as OVERFLOW, after which only a fresh look at everything is worth anything.
 *
 * The kernel does not announce IPv4 routes and addresses that die with their link, nor does it announce the route that
 * a replacement took the place of; the link's own event, or the next look at everything, has to do.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "net_internal.h"

#define MONITOR_RECV_BUF                                                                                               \
	(1 << 20)            /* bytes in the kernel: about 1,000 link events, a burst of 100 pods tearing down   \
				    */
#define MONITOR_READ_MAX 256 /* datagrams of one read: at most 1 ms of the loop */

struct net_monitor {
	int fd; /* owned */
	_Alignas(NLMSG_ALIGNTO) uint8_t buf[NET_RECV_SIZE];
};

static const int groups[] = {
	RTNLGRP_LINK,      RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,  RTNLGRP_IPV4_ROUTE,   RTNLGRP_IPV6_ROUTE,
	RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE,   RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF,
};

/* A datagram of these groups holds one message. A kernel without filters shows everything, which event_from() passes over. */
static void drop_what_is_new(int fd)
{
	struct sock_filter code[] = {
		/* Loads are big-endian, a netlink header is not. */
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWROUTE), 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWADDR), 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWRULE), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	const struct sock_fprog filter = { .len = ARRAY_SIZE(code), .filter = code };

	(void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter));
}

static int monitor_join(struct net_monitor *monitor, struct err *err)
{
	int size = MONITOR_RECV_BUF;

	/* Beyond net.core.rmem_max only CAP_NET_ADMIN may go; without it overflow comes sooner and is reported as ever.
	 */
	if (setsockopt(monitor->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(monitor->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	drop_what_is_new(monitor->fd);
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		if (setsockopt(monitor->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(groups[i])) < 0)
			return net_fail(err, -errno, NULL, "watch rtnetlink group %d", groups[i]);
	return 0;
}

int net_monitor_open(struct net_monitor **ret, struct err *err)
{
	struct net_monitor *monitor = malloc(sizeof(*monitor));
	int rc;

	if (!monitor)
		return net_fail(err, -ENOMEM, NULL, "open netlink monitor");
	monitor->fd = net_sock_new(NETLINK_ROUTE, SOCK_NONBLOCK);
	if (monitor->fd < 0) {
		rc = monitor->fd;
		free(monitor);
		return net_fail(err, rc, NULL, "open netlink monitor");
	}
	if (monitor_join(monitor, err) < 0) {
		net_monitor_close(monitor);
		return -1;
	}
	*ret = monitor;
	return 0;
}

void net_monitor_close(struct net_monitor *monitor)
{
	if (!monitor)
		return;
	(void)close(monitor->fd);
	free(monitor);
}

int net_monitor_fd(const struct net_monitor *monitor)
{
	return monitor->fd;
}

static int event_link(struct nlmsghdr *hdr, enum net_event_kind kind, struct net_event *event)
{
	struct net_link_info info;
	int rc = net_parse_link(hdr, &info);

	if (rc == 0) {
		event->kind = kind;
		event->link = info.link;
		/* of a new link all flags are said to have changed */
		event->born = ((const struct ifinfomsg *)nlmsg_data(hdr))->ifi_change == ~0U;
	}
	return rc;
}

/* A write of one value is announced with that value alone, the birth of a link with all of them. */
static int event_sysctl(struct nlmsghdr *hdr, struct net_event *event)
{
	struct nlattr *attrs[NETCONFA_MAX + 1];

	if (nlmsg_parse(hdr, sizeof(struct netconfmsg), attrs, NETCONFA_MAX, NULL) < 0)
		return -EBADMSG;
	if (attrs[NETCONFA_MC_FORWARDING] || (!attrs[NETCONFA_RP_FILTER] && !attrs[NETCONFA_FORWARDING]))
		return 1;
	event->kind = NET_EVENT_SYSCTL;
	return 0;
}

/* Return: 0, 1 = nothing to report, -EBADMSG. */
static int event_from(struct nlmsghdr *hdr, struct net_event *event)
{
	switch (hdr->nlmsg_type) {
	case RTM_NEWLINK:
		return event_link(hdr, NET_EVENT_LINK, event);
	case RTM_DELLINK:
		return event_link(hdr, NET_EVENT_LINK_GONE, event);
	case RTM_DELROUTE:
		event->kind = NET_EVENT_ROUTE_GONE;
		return net_parse_route(hdr, &event->route);
	case RTM_DELRULE:
		event->kind = NET_EVENT_RULE_GONE;
		return net_parse_rule(hdr, &event->rule);
	case RTM_DELADDR:
		event->kind = NET_EVENT_ADDR_GONE;
		return net_parse_addr(hdr, &event->addr);
	case RTM_NEWNETCONF:
		return event_sysctl(hdr, event);
	default:
		return 1;
	}
}

static void emit(struct nlmsghdr *hdr, void (*fn)(const struct net_event *event, void *arg), void *arg)
{
	struct net_event event = { 0 };
	int rc = event_from(hdr, &event);

	if (rc > 0)
		return;
	if (rc < 0) /* something happened that we cannot read: as good as lost */
		event = (struct net_event){ .kind = NET_EVENT_OVERFLOW };
	fn(&event, arg);
}

int net_monitor_read(struct net_monitor *monitor, void (*fn)(const struct net_event *event, void *arg), void *arg,
		     struct err *err)
{
	static const struct net_event overflow = { .kind = NET_EVENT_OVERFLOW };

	for (int i = 0; i < MONITOR_READ_MAX; i++) {
		ssize_t n = net_receive(monitor->fd, monitor->buf, sizeof(monitor->buf));
		int left = (int)n;

		if (n == -EAGAIN)
			return 0;
		if (n == -ENOBUFS || n == -EMSGSIZE)
			fn(&overflow, arg);
		else if (n < 0 && n != -EINTR)
			return net_fail(err, (int)n, NULL, "read netlink events");
		for (struct nlmsghdr *hdr = (void *)monitor->buf; nlmsg_ok(hdr, left); hdr = nlmsg_next(hdr, &left))
			emit(hdr, fn, arg);
	}
	return 0;
}
