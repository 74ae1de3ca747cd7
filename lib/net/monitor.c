/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: watching
 *
 * One non-blocking socket in the groups of links, addresses, routes, rules, traffic control and sysctls. Only what somebody
 * may have to repair or follow is passed on: links, addresses and sysctls as they change, and the other things when they go.
 * What the socket could not hold is reported as OVERFLOW, after which only a fresh look at everything is worth anything.
 *
 * What nobody will look at is dropped by the kernel, by a filter on the socket, or each pod that is wired would wake the
 * loop up to nine times for nothing, often on the very CPU that wires it: new routes, rules, shapers and link-local addresses; what a
 * new link is born with; that a pod's host end is there and up, of which only the carrier's coming is left.
 *
 * The kernel does not announce IPv4 routes and addresses that die with their link, nor does it announce the route that
 * a replacement took the place of; the link's own event, or the next look at everything, has to do.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "berth/str.h"

#include "net_internal.h"

#define MONITOR_RECV_BUF                                                                                               \
	(1 << 20)            /* bytes in the kernel: about 1,000 link events, a burst of 100 pods tearing down   \
				    */
#define MONITOR_READ_MAX 256 /* datagrams of one read: at most 1 ms of the loop */
#define FILTER_MAX       64  /* instructions; 27 and two for each letter of a name */

struct net_monitor {
	int fd; /* owned */
	_Alignas(NLMSG_ALIGNTO) uint8_t buf[NET_RECV_SIZE];
};

static const int groups[] = {
	RTNLGRP_LINK,      RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,  RTNLGRP_IPV4_ROUTE,   RTNLGRP_IPV6_ROUTE,
	RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE,   RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF, RTNLGRP_TC,
};

/* ---- what the kernel does not tell us ---- */

/* Where a jump of the filter leads; real offsets are smaller. */
enum label { NEXT = 0, NETCONF = 200, ADDR, LINK, NAME, DROP, KEEP };

struct filter {
	struct sock_filter code[FILTER_MAX];
	unsigned short len;
	uint8_t at[KEEP + 1]; /* by label: index of its first instruction */
};

static void add(struct filter *f, unsigned code, uint32_t k, enum label yes, enum label no)
{
	assert(f->len < FILTER_MAX);
	f->code[f->len++] = (struct sock_filter){ (uint16_t)code, (uint8_t)yes, (uint8_t)no, k };
}

static void load(struct filter *f, unsigned size, size_t offset)
{
	add(f, BPF_LD | BPF_ABS | size, (uint32_t)offset, NEXT, NEXT);
}

static void jump(struct filter *f, unsigned test, uint32_t k, enum label yes, enum label no)
{
	add(f, BPF_JMP | BPF_K | test, k, yes, no);
}

static void mark(struct filter *f, enum label label)
{
	f->at[label] = (uint8_t)f->len;
}

/* Where the attribute stands in the message whose attributes begin at @from; 0 when there is none. */
static void load_attr(struct filter *f, uint32_t from, uint32_t attr)
{
	add(f, BPF_LD | BPF_IMM, from, NEXT, NEXT);
	add(f, BPF_LDX | BPF_IMM, attr, NEXT, NEXT);
	add(f, BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_NLATTR), NEXT, NEXT);
}

/* The values that a new link is born with are no change: event_sysctl() knows them by the same mark. */
static void filter_netconf(struct filter *f)
{
	static_assert(sizeof(struct netconfmsg) <= NLMSG_ALIGNTO, "attributes stand behind one unit");
	mark(f, NETCONF);
	load_attr(f, sizeof(struct nlmsghdr) + NLMSG_ALIGNTO, NETCONFA_MC_FORWARDING);
	jump(f, BPF_JEQ, 0, KEEP, DROP);
}

/* An address that every link with IPv6 gives itself. */
static void filter_addr(struct filter *f)
{
	mark(f, ADDR);
	load(f, BPF_B, sizeof(struct nlmsghdr) + offsetof(struct ifaddrmsg, ifa_scope));
	jump(f, BPF_JEQ, RT_SCOPE_LINK, DROP, KEEP);
}

/* Born, or up now and not before; and of such a name. */
static void filter_link(struct filter *f, const char *quiet)
{
	mark(f, LINK);
	load(f, BPF_W, sizeof(struct nlmsghdr) + offsetof(struct ifinfomsg, ifi_change));
	jump(f, BPF_JEQ, UINT32_MAX, NAME, NEXT);
	jump(f, BPF_JSET, htonl(IFF_UP), NEXT, KEEP);
	load(f, BPF_W, sizeof(struct nlmsghdr) + offsetof(struct ifinfomsg, ifi_flags));
	jump(f, BPF_JSET, htonl(IFF_UP), NAME, KEEP);
	mark(f, NAME);
	load_attr(f, sizeof(struct nlmsghdr) + sizeof(struct ifinfomsg), IFLA_IFNAME);
	jump(f, BPF_JEQ, 0, KEEP, NEXT);
	add(f, BPF_MISC | BPF_TAX, 0, NEXT, NEXT);
	for (uint32_t i = 0; quiet[i]; i++) {
		add(f, BPF_LD | BPF_B | BPF_IND, (uint32_t)sizeof(struct nlattr) + i, NEXT, NEXT);
		jump(f, BPF_JEQ, (uint8_t)quiet[i], NEXT, KEEP);
	}
}

static void resolve(struct filter *f)
{
	for (unsigned i = 0; i < f->len; i++) {
		struct sock_filter *at = &f->code[i];

		at->jt = at->jt >= NETCONF ? (uint8_t)(f->at[at->jt] - i - 1) : at->jt;
		at->jf = at->jf >= NETCONF ? (uint8_t)(f->at[at->jf] - i - 1) : at->jf;
	}
}

/* A datagram of these groups holds one message, or what went and what came in its place, in this order. A kernel without filters tells everything, and the reader passes it over.
 * Loads are big-endian, a netlink header is not. */
static void filter_attach(int fd, const char *quiet)
{
	struct filter f = { .len = 0 };
	struct sock_fprog program = { .filter = f.code };

	load(&f, BPF_H, offsetof(struct nlmsghdr, nlmsg_type));
	jump(&f, BPF_JEQ, htons(RTM_NEWROUTE), DROP, NEXT);
	jump(&f, BPF_JEQ, htons(RTM_NEWADDR), ADDR, NEXT);
	jump(&f, BPF_JEQ, htons(RTM_NEWRULE), DROP, NEXT);
	jump(&f, BPF_JEQ, htons(RTM_NEWQDISC), DROP, NEXT);
	jump(&f, BPF_JEQ, htons(RTM_NEWTFILTER), DROP, NEXT);
	jump(&f, BPF_JEQ, htons(RTM_NEWCHAIN), DROP, NEXT);
	jump(&f, BPF_JEQ, htons(RTM_NEWNETCONF), NETCONF, NEXT);
	jump(&f, BPF_JEQ, htons(RTM_NEWLINK), quiet ? LINK : KEEP, KEEP);
	filter_netconf(&f);
	filter_addr(&f);
	if (quiet)
		filter_link(&f, quiet);
	mark(&f, DROP);
	add(&f, BPF_RET | BPF_K, 0, NEXT, NEXT);
	mark(&f, KEEP);
	add(&f, BPF_RET | BPF_K, UINT32_MAX, NEXT, NEXT);
	resolve(&f);
	program.len = f.len;
	(void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

/* ---- the socket ---- */

static int monitor_join(struct net_monitor *monitor, const char *quiet, struct err *err)
{
	int size = MONITOR_RECV_BUF;

	/* Beyond net.core.rmem_max only CAP_NET_ADMIN may go; without it overflow comes sooner and is reported as ever.
	 */
	if (setsockopt(monitor->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(monitor->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	filter_attach(monitor->fd, quiet);
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		if (setsockopt(monitor->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(groups[i])) < 0)
			return net_fail(err, -errno, NULL, "watch rtnetlink group %d", groups[i]);
	return 0;
}

int net_monitor_open(const char *quiet, struct net_monitor **ret, struct err *err)
{
	struct net_monitor *monitor = malloc(sizeof(*monitor));
	int rc;

	assert(!quiet || strlen(quiet) < NET_IFNAME_SIZE);
	if (!monitor)
		return net_fail(err, -ENOMEM, NULL, "open netlink monitor");
	monitor->fd = net_sock_new(NETLINK_ROUTE, SOCK_NONBLOCK);
	if (monitor->fd < 0) {
		rc = monitor->fd;
		free(monitor);
		return net_fail(err, rc, NULL, "open netlink monitor");
	}
	if (monitor_join(monitor, quiet, err) < 0) {
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

/* Every link has some discipline that goes when it gets another: only those that somebody chose are told. */
static int event_qdisc(struct nlmsghdr *hdr, struct net_event *event)
{
	struct net_qdisc qdisc;
	int rc = net_parse_qdisc(hdr, &qdisc);

	if (rc != 0)
		return rc;
	event->kind = NET_EVENT_TC_GONE;
	event->tc_index = qdisc.index;
	return qdisc.ingress || str_equal(qdisc.kind, "tbf") ? 0 : 1;
}

static int event_filter(struct nlmsghdr *hdr, struct net_event *event)
{
	if (nlmsg_datalen(hdr) < (int)sizeof(struct tcmsg))
		return -EBADMSG;
	event->kind = NET_EVENT_TC_GONE;
	event->tc_index = ((const struct tcmsg *)nlmsg_data(hdr))->tcm_ifindex;
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
	case RTM_NEWADDR:
		event->kind = NET_EVENT_ADDR;
		return net_parse_addr(hdr, &event->addr);
	case RTM_DELADDR:
		event->kind = NET_EVENT_ADDR_GONE;
		return net_parse_addr(hdr, &event->addr);
	case RTM_DELQDISC:
		return event_qdisc(hdr, event);
	case RTM_DELTFILTER:
		return event_filter(hdr, event);
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
