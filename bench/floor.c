/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the floor
 *
 * What is left of an ADD when all is left out that does not wire the pod: no configuration, no daemon, no lease, no look
 * at what is there, no result. A pair born in place, what podnet.c puts on either end of it for an IPv4 pod, in as few
 * datagrams as that takes: one that makes the pair and asks for its indices, then one on each side. DEL takes the host's
 * route away and leaves the pair to whoever removes the namespace.
 *
 * It is called as a plugin is (CNI_COMMAND, CNI_NETNS, CNI_IFNAME), by bench.c, which gives each pod a number (BENCH_POD)
 * that names its link and address. Messages are written by hand: no library stands between this and the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "berth/str.h"

#define BATCH_SIZE  1024U
#define ANSWER_SIZE 8192U /* bytes; a link's description is 1.2 KiB */
#define MTU         9001U
#define NET_FIRST   UINT32_C(0xc6120000) /* 198.18.0.0/15, for benchmarks (RFC 2544) */
#define GATEWAY     UINT32_C(0xa9fe0101)
#define PROTOCOL    RTPROT_STATIC /* not ours: the daemon would take the route of a pod that it does not know away */
#define PODS_MAX    65536U

static const unsigned char host_mac[6] = { 2, 0, 0, 0, 0, 0 }, pod_mac[6] = { 2, 0, 0, 0, 0, 1 };

static void die(const char *what)
{
	(void)fprintf(stderr, "floor: %s: errno %d\n", what, errno);
	_exit(1);
}

/* ---- messages: several in one datagram ---- */

struct batch {
	size_t size;
	struct nlmsghdr *last;
	_Alignas(NLMSG_ALIGNTO) unsigned char bytes[BATCH_SIZE];
};

static void *put(struct batch *batch, const void *bytes, size_t size)
{
	void *at = batch->bytes + batch->size;

	if (batch->size + NLMSG_ALIGN(size) > sizeof(batch->bytes))
		die("batch");
	if (bytes)
		memcpy(at, bytes, size);
	batch->size += NLMSG_ALIGN(size);
	if (batch->last)
		batch->last->nlmsg_len =
			(uint32_t)((size_t)(batch->bytes + batch->size - (unsigned char *)batch->last));
	return at;
}

static void message(struct batch *batch, uint16_t type, unsigned flags, const void *fixed, size_t size)
{
	const struct nlmsghdr hdr = { .nlmsg_type = type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags) };

	batch->last = NULL;
	batch->last = put(batch, &hdr, sizeof(hdr));
	(void)put(batch, fixed, size);
}

static struct rtattr *attr(struct batch *batch, uint16_t type, const void *bytes, size_t size)
{
	const struct rtattr head = { .rta_type = type, .rta_len = (uint16_t)(sizeof(head) + size) };
	struct rtattr *at = put(batch, &head, sizeof(head));

	(void)put(batch, bytes, size);
	return at;
}

static void attr_u32(struct batch *batch, uint16_t type, uint32_t value)
{
	(void)attr(batch, type, &value, sizeof(value));
}

static void attr_addr(struct batch *batch, uint16_t type, uint32_t addr)
{
	attr_u32(batch, type, __builtin_bswap32(addr));
}

static void attr_text(struct batch *batch, uint16_t type, const char *text)
{
	(void)attr(batch, type, text, strlen(text) + 1);
}

static void nest_end(struct batch *batch, struct rtattr *nest)
{
	nest->rta_len = (uint16_t)(batch->bytes + batch->size - (unsigned char *)nest);
}

/* ---- exchanges ---- */

static int open_socket(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		die("socket");
	return fd;
}

struct ends {
	int host, pod;
};

static void look_at_link(struct nlmsghdr *hdr, struct ends *ret)
{
	const struct ifinfomsg *ifi = NLMSG_DATA(hdr);
	const unsigned char *at = (const unsigned char *)ifi + NLMSG_ALIGN(sizeof(*ifi));
	const unsigned char *end = (const unsigned char *)hdr + hdr->nlmsg_len;
	struct rtattr head;

	ret->host = ifi->ifi_index;
	for (; at + sizeof(head) <= end; at += RTA_ALIGN(head.rta_len)) {
		memcpy(&head, at, sizeof(head));
		if (head.rta_type == IFLA_LINK)
			memcpy(&ret->pod, at + sizeof(head), sizeof(ret->pod));
	}
}

/* Up to the acknowledgement of the last message, which alone asks for one; an error of any is told. */
static void exchange(int fd, struct batch *batch, struct ends *ret)
{
	_Alignas(NLMSG_ALIGNTO) static unsigned char answer[ANSWER_SIZE];
	struct nlmsghdr *hdr = NULL;

	batch->last->nlmsg_flags |= NLM_F_ACK;
	if (send(fd, batch->bytes, batch->size, 0) < 0)
		die("send");
	do {
		ssize_t size = recv(fd, answer, sizeof(answer), 0);
		const struct nlmsgerr *error;

		hdr = (struct nlmsghdr *)answer;
		if (size < 0 || !NLMSG_OK(hdr, (size_t)size))
			die("recv");
		error = NLMSG_DATA(hdr);
		errno = hdr->nlmsg_type == NLMSG_ERROR ? -error->error : 0;
		if (errno != 0)
			die("the kernel refused");
		if (hdr->nlmsg_type == RTM_NEWLINK && ret)
			look_at_link(hdr, ret);
	} while (hdr->nlmsg_type != NLMSG_ERROR);
}

/* ---- the pod ---- */

static void put_end(struct batch *batch, const char *name, const unsigned char mac[static 6])
{
	attr_text(batch, IFLA_IFNAME, name);
	(void)attr(batch, IFLA_ADDRESS, mac, 6);
	attr_u32(batch, IFLA_MTU, MTU);
	attr_u32(batch, IFLA_NUM_TX_QUEUES, 1);
	attr_u32(batch, IFLA_NUM_RX_QUEUES, 1);
}

static void make_pair(int host_fd, int netns_fd, const char *host_name, const char *pod_name, struct ends *ret)
{
	const struct ifinfomsg none = { .ifi_family = AF_UNSPEC };
	struct batch batch = { 0 };
	struct rtattr *info, *data, *peer;

	message(&batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &none, sizeof(none));
	put_end(&batch, host_name, host_mac);
	info = attr(&batch, IFLA_LINKINFO, NULL, 0);
	attr_text(&batch, IFLA_INFO_KIND, "veth");
	data = attr(&batch, IFLA_INFO_DATA, NULL, 0);
	peer = attr(&batch, VETH_INFO_PEER, NULL, 0);
	(void)put(&batch, &none, sizeof(none));
	put_end(&batch, pod_name, pod_mac);
	attr_u32(&batch, IFLA_NET_NS_FD, (uint32_t)netns_fd);
	nest_end(&batch, peer);
	nest_end(&batch, data);
	nest_end(&batch, info);
	message(&batch, RTM_GETLINK, 0, &none, sizeof(none));
	attr_text(&batch, IFLA_IFNAME, host_name);
	attr_u32(&batch, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	exchange(host_fd, &batch, ret);
}

/* No router on the other end is listened to: as in podnet.c, before the link is up. */
static void accept_no_ra(const char *host_name)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_ra", host_name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 ? write(fd, "0", 1) != 1 : errno != ENOENT)
		die(path);
	if (fd >= 0)
		(void)close(fd);
}

static void put_up(struct batch *batch, int index)
{
	const struct ifinfomsg up = { .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };

	message(batch, RTM_NEWLINK, 0, &up, sizeof(up));
}

static void put_route(struct batch *batch, unsigned char table, uint32_t dst, uint32_t gateway, int index)
{
	const struct rtmsg route = {
		.rtm_family = AF_INET,
		.rtm_dst_len = dst ? 32 : 0,
		.rtm_table = table,
		.rtm_protocol = PROTOCOL,
		.rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
		.rtm_type = RTN_UNICAST,
		.rtm_flags = gateway ? RTNH_F_ONLINK : 0,
	};

	message(batch, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &route, sizeof(route));
	if (dst)
		attr_addr(batch, RTA_DST, dst);
	if (gateway)
		attr_addr(batch, RTA_GATEWAY, gateway);
	attr_u32(batch, RTA_OIF, (uint32_t)index);
}

static void wire_pod(int pod_fd, int index, uint32_t addr)
{
	const struct ifaddrmsg ifa = { .ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_index = (uint32_t)index };
	const struct ndmsg ndm = { .ndm_family = AF_INET, .ndm_ifindex = index, .ndm_state = NUD_PERMANENT };
	struct batch batch = { 0 };

	put_up(&batch, index);
	message(&batch, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &ifa, sizeof(ifa));
	attr_addr(&batch, IFA_LOCAL, addr);
	attr_addr(&batch, IFA_ADDRESS, addr);
	message(&batch, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &ndm, sizeof(ndm));
	attr_addr(&batch, NDA_DST, GATEWAY);
	(void)attr(&batch, NDA_LLADDR, host_mac, sizeof(host_mac));
	put_route(&batch, RT_TABLE_MAIN, GATEWAY, 0, index);
	put_route(&batch, RT_TABLE_MAIN, 0, GATEWAY, index);
	exchange(pod_fd, &batch, NULL);
}

static void add(const char *netns, const char *host_name, uint32_t addr)
{
	int netns_fd = open(netns, O_RDONLY | O_CLOEXEC), host_fd = open_socket();
	struct batch batch = { 0 };
	struct ends ends = { 0 };

	if (netns_fd < 0)
		die(netns);
	make_pair(host_fd, netns_fd, host_name, "eth0", &ends);
	accept_no_ra(host_name);
	if (setns(netns_fd, CLONE_NEWNET) < 0)
		die("setns");
	wire_pod(open_socket(), ends.pod, addr);
	put_up(&batch, ends.host);
	put_route(&batch, RT_TABLE_LOCAL, addr, 0, ends.host);
	exchange(host_fd, &batch, NULL);
}

static void del(uint32_t addr)
{
	const struct rtmsg route = {
		.rtm_family = AF_INET,
		.rtm_dst_len = 32,
		.rtm_table = RT_TABLE_LOCAL,
		.rtm_protocol = PROTOCOL,
		.rtm_scope = RT_SCOPE_NOWHERE,
		.rtm_type = RTN_UNICAST,
	};
	struct batch batch = { 0 };

	message(&batch, RTM_DELROUTE, 0, &route, sizeof(route));
	attr_addr(&batch, RTA_DST, addr);
	exchange(open_socket(), &batch, NULL);
}

int main(void)
{
	const char *command = getenv("CNI_COMMAND"), *netns = getenv("CNI_NETNS"), *number = getenv("BENCH_POD");
	char host_name[IFNAMSIZ];
	uint64_t pod;

	if (!command || !netns || !number)
		die("called without CNI_COMMAND, CNI_NETNS or BENCH_POD");
	if (str_u64(number, 0, PODS_MAX - 1, &pod) < 0)
		die("BENCH_POD");
	(void)snprintf(host_name, sizeof(host_name), "floor%u", (unsigned)pod);
	if (strcmp(command, "ADD") == 0)
		add(netns, host_name, NET_FIRST + (uint32_t)pod);
	else
		del(NET_FIRST + (uint32_t)pod);
	return 0;
}
