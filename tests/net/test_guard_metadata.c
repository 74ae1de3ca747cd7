/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata guard, with the real nft and the real kernel (node_world.h): a metadata service on 169.254.169.254 and
 * fd00:ec2::254 in the fabric's namespace, port 80 and DNS, and proxies on the node to which others lead its address.
 */
#include "tests/net/node_world.h"

#define META4     "169.254.169.254"
#define META6     "fd00:ec2::254"
#define PROXY     8181U /* port of a proxy on the node or in a pod */
#define SERVED_US (5 * USEC_PER_SEC)
#define QUICK_US  (500 * USEC_PER_MSEC) /* for all tries together; a lost SYN alone takes a second */
#define TRIES     12U                   /* more than the six ICMP errors that Linux sends at once */

static const struct cloud_guarded aws_like[] = { { META4, 0 }, { META6, 0 }, { NULL, 0 } };
static const char *const metas[IP_FAMILIES] = { META4, META6 };

/* ---- servers ---- */

struct server {
	enum place at;
	int type;
	uint16_t port;
	int fd;
};

static int open_server(void *arg, struct err *err)
{
	struct server *s = arg;
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(s->port) };
	const int on = 1;

	s->fd = socket(AF_INET6, s->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void)setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	(void)setsockopt(s->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
	if (s->fd < 0 || bind(s->fd, (const struct sockaddr *)&any, sizeof(any)) < 0 ||
	    (s->type == SOCK_STREAM && listen(s->fd, 64) < 0))
		return err_set_errno(err, ERR_BUG, "test", errno, "server");
	return 0;
}

/* The metadata service, its DNS, a proxy on the node and one in a pod. */
static struct server servers[] = {
	{ VPC, SOCK_STREAM, 80, -1 }, { VPC, SOCK_STREAM, 53, -1 },   { VPC, SOCK_DGRAM, 53, -1 },
	{ VPC, SOCK_DGRAM, 80, -1 },  { NA, SOCK_STREAM, PROXY, -1 }, { P3, SOCK_STREAM, PROXY, -1 },
};

/* ---- clients ---- */

enum outcome { SERVED, REFUSED, LOST };

struct client {
	const char *addr;
	uint16_t port;
	int type, fd, error; /* error: of connect() */
};

static int open_client(void *arg, struct err *err)
{
	struct client *c = arg;
	union address to;
	socklen_t size = fill_address(&to, is_v6(c->addr), c->addr, c->port);
	const int on = 1;

	c->fd = socket(to.any.sa_family, c->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return err_set_errno(err, ERR_BUG, "test", errno, "socket");
	(void)setsockopt(c->fd, is_v6(c->addr) ? IPPROTO_IPV6 : IPPROTO_IP, is_v6(c->addr) ? IPV6_RECVERR : IP_RECVERR,
			 &on, sizeof(on));
	c->error = connect(c->fd, &to.any, size) < 0 && errno != EINPROGRESS ? errno : 0;
	return 0;
}

/* Whoever of the servers is asked answers. */
static void serve(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
		_Alignas(struct cmsghdr) char control[128];
		union address from;
		char byte;
		struct iovec iov = { &byte, 1 };
		struct msghdr msg = { .msg_name = &from,
				      .msg_namelen = sizeof(from),
				      .msg_iov = &iov,
				      .msg_iovlen = 1,
				      .msg_control = control,
				      .msg_controllen = sizeof(control) };
		int fd;

		if (servers[i].type == SOCK_DGRAM && recvmsg(servers[i].fd, &msg, 0) > 0) {
			forget_link(&msg);
			(void)sendmsg(servers[i].fd, &msg, 0);
		}
		if (servers[i].type != SOCK_STREAM || (fd = accept(servers[i].fd, NULL, NULL)) < 0)
			continue;
		(void)send(fd, "!", 1, MSG_NOSIGNAL);
		(void)close(fd);
	}
}

static enum outcome wait_outcome(struct client *c, int64_t end_us)
{
	char byte;

	while (clock_now(&clock_boot) < end_us) {
		ssize_t n = recv(c->fd, &byte, 1, 0);

		if (n == 1)
			return SERVED;
		if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOTCONN) {
			c->error = errno;
			return REFUSED;
		}
		serve();
		(void)poll(&(struct pollfd){ .fd = c->fd, .events = POLLIN }, 1, 1);
	}
	return LOST;
}

static enum outcome ask(enum place from, const char *addr, uint16_t port, int type, int64_t for_us)
{
	struct client c = { addr, port, type, -1, 0 };
	int64_t end_us = clock_now(&clock_boot) + for_us;
	enum outcome outcome = REFUSED;

	must(netns_run(world.fd[from], open_client, &c, &oops));
	if (!c.error && (type == SOCK_STREAM || send(c.fd, "?", 1, 0) == 1))
		outcome = wait_outcome(&c, end_us);
	(void)close(c.fd);
	return outcome;
}

static void is_served(enum place from, const char *addr, uint16_t port, int type)
{
	enum outcome outcome = ask(from, addr, port, type, SERVED_US);

	if (outcome != SERVED)
		fail_msg("%s to %s:%u is %s", place_names[from], addr, port, outcome == LOST ? "lost" : "refused");
}

/* As often as it is asked, and at once. */
static void is_refused(enum place from, const char *addr, uint16_t port)
{
	int64_t since_us = clock_now(&clock_boot);

	for (unsigned i = 0; i < TRIES; i++) {
		enum outcome outcome = ask(from, addr, port, SOCK_STREAM, SERVED_US);

		if (outcome != REFUSED)
			fail_msg("%s to %s:%u is %s", place_names[from], addr, port,
				 outcome == LOST ? "lost" : "served");
	}
	if (clock_now(&clock_boot) - since_us > QUICK_US)
		fail_msg("%s to %s:%u: %u refusals take %lld ms", place_names[from], addr, port, TRIES,
			 (long long)((clock_now(&clock_boot) - since_us) / USEC_PER_MSEC));
}

/* ---- the world ---- */

static void load(const struct cloud_guarded *guarded, const char *const *allowed)
{
	struct wish wish;

	restore(NULL);
	usual(&wish);
	sync_ok(&wish);
	wish.guarded = guarded;
	for (; allowed && *allowed; allowed++)
		wish.allowed[wish.allowed_count++] = ip(*allowed);
	nft_table(&wish);
}

static int setup_meta(void **state)
{
	if (setup_world(state) < 0)
		return -1;
	add_addr(VPC, "lo", META4, 32);
	add_addr(VPC, "lo", META6, 128);
	must(net_link_set_up(world.net[VPC], link_index(VPC, "lo"), true, &oops));
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++)
		must(netns_run(world.fd[servers[i].at], open_server, &servers[i], &oops));
	return 0;
}

static int teardown_meta(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++)
		(void)close(servers[i].fd);
	return teardown_world(state);
}

/* ---- tests ---- */

static const enum place both[] = { P1, P2 };

static void test_metadata__pods_are_refused_at_once(void **state)
{
	(void)state;
	load(aws_like, NULL);
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
			is_refused(both[i], metas[f], 80);
			is_refused(both[i], metas[f], 8080);
			assert_int_equal(ask(both[i], metas[f], 80, SOCK_DGRAM, SERVED_US), REFUSED);
		}
	}
}

static void test_metadata__dns_is_served(void **state)
{
	(void)state;
	load(aws_like, NULL);
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
			is_served(both[i], metas[f], 53, SOCK_STREAM);
			is_served(both[i], metas[f], 53, SOCK_DGRAM);
		}
	}
}

static void test_metadata__the_node_is_served(void **state)
{
	(void)state;
	load(aws_like, NULL);
	for (unsigned f = 0; f < IP_FAMILIES; f++)
		is_served(NA, metas[f], 80, SOCK_STREAM);
}

static void test_metadata__allowed_pods_are_served(void **state)
{
	static const char *const allowed[] = { "10.0.0.21", "2001:db8:0:1::21", NULL };

	(void)state;
	load(aws_like, allowed);
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		is_served(P2, metas[f], 80, SOCK_STREAM);
		is_refused(P1, metas[f], 80);
	}
}

/* As kube2iam, kiam and GKE's do it: the address leads to the node itself, or to a pod. */
static void test_metadata__proxies_are_served(void **state)
{
	static const char *const batches[] = {
		"table inet others { chain p { type nat hook prerouting priority -100; iifname \"bth*\" jump d; }\n"
		" chain d { ip daddr " META4 " tcp dport 80 dnat ip to 10.0.0.10:8181\n"
		"  ip6 daddr " META6 " tcp dport 80 dnat ip6 to [2001:db8:0:1::10]:8181\n }\n}\n",
		"table inet others { chain p { type nat hook prerouting priority -100; iifname \"bth*\" jump d; }\n"
		" chain d { ip daddr " META4 " tcp dport 80 dnat ip to 10.0.0.31:8181\n"
		"  ip6 daddr " META6 " tcp dport 80 dnat ip6 to [2001:db8:0:1::31]:8181\n }\n}\n",
	};

	(void)state;
	for (size_t b = 0; b < ARRAY_SIZE(batches); b++) {
		load(aws_like, NULL);
		nft(NA, batches[b]);
		for (unsigned f = 0; f < IP_FAMILIES; f++) {
			is_served(P1, metas[f], 80, SOCK_STREAM);
			is_served(P2, metas[f], 80, SOCK_STREAM);
		}
	}
}

/* Somebody may make a Service whose endpoint is the metadata service. */
static void test_metadata__by_another_address(void **state)
{
	(void)state;
	load(aws_like, NULL);
	nft(NA, "table inet others { chain p { type nat hook prerouting priority -100;\n"
		"  ip daddr 172.20.0.9 tcp dport 80 dnat ip to " META4 ":80\n"
		"  ip6 daddr fd00:20::9 tcp dport 80 dnat ip6 to [" META6 "]:80\n }\n}\n");
	is_refused(P1, "172.20.0.9", 80);
	is_refused(P2, "fd00:20::9", 80);
}

/* Ports of TCP, as Azure's has them: the rest of the address is free. */
static void test_metadata__single_ports(void **state)
{
	static const struct cloud_guarded ports[] = { { META4, 80 }, { META6, 80 }, { NULL, 0 } };

	(void)state;
	load(ports, NULL);
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		is_refused(P1, metas[f], 80);
		is_served(P1, metas[f], 53, SOCK_STREAM);
		is_served(P1, metas[f], 80, SOCK_DGRAM);
	}
}

static void test_metadata__without_the_guard(void **state)
{
	(void)state;
	load(NULL, NULL);
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		is_served(P1, metas[f], 80, SOCK_STREAM);
		is_served(P2, metas[f], 80, SOCK_STREAM);
	}
}

static void test_metadata__all_else_passes(void **state)
{
	(void)state;
	load(aws_like, NULL);
	everything_passes();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_metadata__pods_are_refused_at_once),
		cmocka_unit_test(test_metadata__dns_is_served),
		cmocka_unit_test(test_metadata__the_node_is_served),
		cmocka_unit_test(test_metadata__allowed_pods_are_served),
		cmocka_unit_test(test_metadata__proxies_are_served),
		cmocka_unit_test(test_metadata__by_another_address),
		cmocka_unit_test(test_metadata__single_ports),
		cmocka_unit_test(test_metadata__without_the_guard),
		cmocka_unit_test(test_metadata__all_else_passes),
	};

	return cmocka_run_group_tests_name("guard_metadata", tests, setup_meta, teardown_meta);
}
