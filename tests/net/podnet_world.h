/* SPDX-License-Identifier: Apache-2.0 */
/* Wiring in real namespaces: "the host" is a namespace of this process, the pod a named one. */
#ifndef TESTS_NET_PODNET_WORLD_H
#define TESTS_NET_PODNET_WORLD_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"
#include "berth/version.h"
#include "cni/podnet.h"
#include "tests/check.h"

#define HOST_IFNAME "bth00000000001"
#define POD_ADDR    "10.9.1.17"
#define POD_ADDR6   "2001:db8:0:1::17"
#define HOST_ADDR   "10.9.0.1"
#define HOST_ADDR6  "2001:db8:9::1"
#define GATEWAY     "169.254.1.1"
#define GATEWAY6    "fe80::1"
#define LO_INDEX    1
#define PING_MS     3000 /* until an echo must be back; it takes microseconds */
#define ECHO_MS     100  /* of one try */
#define SOFT_MTU    1400
#define FILE_MAX    16384 /* bytes of a file of /proc */

struct world {
	char netns[64];
	char path[128];
	struct podnet podnet;
};

static inline void fail_err(const char *what, const struct err *err)
{
	fail_msg("%s: %s %s", what, err_class_name(err->class), err->msg);
}

#define check_ok(call)                                                                                                 \
	do {                                                                                                           \
		struct err err_ = { 0 };                                                                               \
		struct err *err = &err_;                                                                               \
		if ((call) < 0)                                                                                        \
			fail_err(#call, err);                                                                          \
	} while (0)

static inline struct ipaddr addr_of(const char *text)
{
	struct ipaddr addr;

	assert_int_equal(ipaddr_parse(text, &addr), 0);
	return addr;
}

static inline struct podnet_addr pod_addr_of(const char *text)
{
	struct podnet_addr addr = { .addr = addr_of(text) };

	addr.gateway = addr_of(addr.addr.family == IP_V6 ? GATEWAY6 : GATEWAY);
	return addr;
}

/* @second: NULL or of the other family. */
static inline struct podnet_wish wish_for(const char *first, const char *second)
{
	struct podnet_wish wish = {
		.ifname = "eth0",
		.host_ifname = HOST_IFNAME,
		.addr_count = second ? 2 : 1,
		.addrs = { pod_addr_of(first) },
		.mtu = SOFT_MTU,
	};

	if (second)
		wish.addrs[1] = pod_addr_of(second);
	return wish;
}

static inline struct podnet_wish wish_of(const char *addr)
{
	return wish_for(addr, NULL);
}

/* A host of its own for each test: a new namespace for this thread, which ends with it. */
static inline int setup(void **state)
{
	static struct world world;
	struct ipaddr host_addr = addr_of(HOST_ADDR), host_addr6 = addr_of(HOST_ADDR6);
	struct net *net = NULL;

	if (check_fds_setup(state) < 0 || unshare(CLONE_NEWNET) < 0)
		return -1;
	memset(&world, 0, sizeof(world));
	(void)snprintf(world.netns, sizeof(world.netns), "berth-podnet-%d", (int)getpid());
	(void)snprintf(world.path, sizeof(world.path), "/run/netns/%s", world.netns);
	check_ok(netns_add(world.netns, err));
	check_ok(net_open(&net, err));
	check_ok(net_link_set_up(net, LO_INDEX, true, err));
	check_ok(net_addr_add(net, LO_INDEX, &host_addr, 32, 0, err));
	check_ok(net_addr_add(net, LO_INDEX, &host_addr6, 128, NET_ADDR_NODAD, err));
	net_close(net);
	check_ok(podnet_open(world.path, false, &world.podnet, err));
	*state = &world;
	return 0;
}

static inline int teardown(void **state)
{
	struct world *world = *state;

	podnet_done(&world->podnet);
	check_ok(netns_del(world->netns, err));
	return check_fds_teardown(state);
}

/* ---- looking ---- */

static inline bool has_link(struct net *net, const char *name)
{
	struct net_link link;

	return net_link_by_name(net, name, &link, NULL) == 0;
}

static inline int count_ours(const struct net_route *route, void *arg)
{
	*(int *)arg += route->protocol == BERTH_RTPROT;
	return 0;
}

static inline int our_routes(struct net *net, enum ip_family family, uint32_t table)
{
	int count = 0;

	check_ok(net_routes(net, family, table, count_ours, &count, err));
	return count;
}

static inline int count_links(const struct net_link *link, void *arg)
{
	(void)link;
	(*(int *)arg)++;
	return 0;
}

static inline int links(struct net *net)
{
	int count = 0;

	check_ok(net_links(net, count_links, &count, err));
	return count;
}

struct ping {
	const char *addr;
	bool once;
};

static inline int send_echo(int fd, const struct ipaddr *addr)
{
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct icmphdr echo = { .type = ICMP_ECHO, .un.echo = { .id = 0xb0, .sequence = 1 } };
	uint32_t sum = echo.type + (uint32_t)echo.un.echo.id + echo.un.echo.sequence;

	memcpy(&to6.sin6_addr, addr->bytes, sizeof(to6.sin6_addr));
	memcpy(&to.sin_addr, addr->bytes, sizeof(to.sin_addr));
	if (addr->family == IP_V6) {
		echo.type = ICMP6_ECHO_REQUEST; /* the same header; the kernel does the checksum */
		return (int)sendto(fd, &echo, sizeof(echo), 0, (struct sockaddr *)&to6, sizeof(to6));
	}
	echo.checksum = (uint16_t)~sum;
	return (int)sendto(fd, &echo, sizeof(echo), 0, (struct sockaddr *)&to, sizeof(to));
}

/* IPv4 shows its own header in front, IPv6 does not. */
static inline bool is_reply(const uint8_t *packet, ssize_t size, const struct ipaddr *addr)
{
	size_t at = addr->family == IP_V6 ? 0 : sizeof(struct iphdr);

	return size > (ssize_t)(at + sizeof(struct icmphdr)) - 1 &&
	       packet[at] == (addr->family == IP_V6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY);
}

static inline bool has_reply(int fd, const struct ipaddr *addr)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	uint8_t packet[256];

	while (poll(&pollfd, 1, ECHO_MS) > 0) {
		if (is_reply(packet, recv(fd, packet, sizeof(packet), 0), addr))
			return true;
	}
	return false;
}

/* An echo from the thread's namespace, with new tries: the kernel starts the queue of the host's end from a work queue
 * of its own once the pod's end is up. Return: 0 when one came back. */
static inline int ping(void *arg, struct err *err)
{
	const struct ping *ping = arg;
	struct ipaddr addr = addr_of(ping->addr);
	_cleanup_close_ int fd = socket(addr.family == IP_V6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC,
					addr.family == IP_V6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	int64_t end_us = clock_now(&clock_boot) + PING_MS * USEC_PER_MSEC;

	do {
		if (fd < 0 || send_echo(fd, &addr) < 0)
			return err_set_errno(err, ERR_RETRY, "ping", errno, "send to %s", ping->addr);
		if (has_reply(fd, &addr))
			return 0;
	} while (!ping->once && clock_now(&clock_boot) < end_us);
	return err_set(err, ERR_RETRY, "ping", "no echo from %s", ping->addr);
}

static inline int ping_pod(const char *addr, struct err *err)
{
	struct ping arg = { .addr = addr };

	return ping(&arg, err);
}

static inline int ping_from_pod(const struct world *world, const char *addr, struct err *err)
{
	struct ping arg = { .addr = addr };

	return netns_run(world->podnet.netns_fd, ping, &arg, err);
}

static inline void pings_both_ways(const struct world *world)
{
	check_ok(ping_pod(POD_ADDR, err));
	check_ok(ping_from_pod(world, HOST_ADDR, err));
}

static inline void pings_both_ways6(const struct world *world)
{
	check_ok(ping_pod(POD_ADDR6, err));
	check_ok(ping_from_pod(world, HOST_ADDR6, err));
	check_ok(ping_from_pod(world, POD_ADDR6, err));
}

struct file {
	const char *path;
	char *text; /* owned by who asked */
};

static inline int read_file(void *arg, struct err *err)
{
	struct file *file = arg;
	int rc = fs_read(file->path, FILE_MAX, &file->text, NULL);

	return rc < 0 ? err_set_errno(err, ERR_INVALID, "test", -rc, "%s", file->path) : 0;
}

/* A file of /proc as the pod's namespace shows it; owned. */
static inline char *pods_file(const struct world *world, const char *path)
{
	struct file file = { .path = path };

	check_ok(netns_run(world->podnet.netns_fd, read_file, &file, err));
	return file.text;
}

static inline char *hosts_file(const char *path)
{
	struct file file = { .path = path };

	check_ok(read_file(&file, err));
	return file.text;
}

struct sysctl {
	const char *key, *value;
};

static inline int write_sysctl(void *arg, struct err *err)
{
	const struct sysctl *sysctl = arg;
	int rc = fs_sysctl_write(sysctl->key, sysctl->value);

	return rc < 0 ? err_set_errno(err, ERR_INVALID, "test", -rc, "%s", sysctl->key) : 0;
}

static inline void pods_sysctl(const struct world *world, const char *key, const char *value)
{
	struct sysctl sysctl = { key, value };

	check_ok(netns_run(world->podnet.netns_fd, write_sysctl, &sysctl, err));
}

static inline void claim_conflicts(struct world *world, const char *part)
{
	struct net_link before, after;
	struct err why = { 0 };

	check_ok(net_link_by_name(world->podnet.pod, "eth0", &before, err));
	assert_int_equal(podnet_claim(&world->podnet, "eth0", HOST_IFNAME, &why), -1);
	assert_int_equal(why.class, ERR_CONFLICT);
	assert_non_null(strstr(why.msg, part));
	check_ok(net_link_by_name(world->podnet.pod, "eth0", &after, err));
	assert_memory_equal(&before, &after, sizeof(before));
}

#define net_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
