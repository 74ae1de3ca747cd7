/* SPDX-License-Identifier: Apache-2.0 */
/* 100 pods wired at once, each by a process of its own, as a runtime does it when a node starts. */
#include <signal.h>
#include <sys/prctl.h>

#include "berth/clock.h"
#include "cni/podnet.h"
#include "tests/net/world.h"

#define PODS    100U
#define WIRE_US (1500 * USEC_PER_MSEC) /* in all: typically a tenth; a move between namespaces is 35 ms for each */

static char names[PODS][32]; /* of the pods' namespaces; they hold the ID of the test's own process */

static int setup(void **state)
{
	char suffix[8];

	if (world_setup(state) < 0)
		return -1;
	for (unsigned i = 0; i < PODS; i++) {
		(void)snprintf(suffix, sizeof(suffix), "p%u", i);
		world_ns_name(names[i], suffix);
		must(netns_add(names[i], &err));
	}
	return 0;
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < PODS; i++)
		(void)netns_del(names[i], NULL);
	return world_teardown(state);
}

static int wire(void *arg, struct err *err)
{
	unsigned i = *(const unsigned *)arg;
	char host[NET_IFNAME_SIZE], path[64], v6[40];
	struct podnet_wish wish = {
		.ifname = "eth0",
		.host_ifname = host,
		.addr_count = 2,
		.addrs = { { ipaddr_v4(UINT32_C(0x0a000100) + i), ipaddr_v4(UINT32_C(0xa9fe0101)) } },
		.mtu = 1500,
	};
	struct podnet podnet = { .netns_fd = -1 };
	struct podnet_made made;
	int r;

	(void)snprintf(v6, sizeof(v6), "2001:db8::%x", i + 1);
	wish.addrs[1].addr = addr_of(v6);
	wish.addrs[1].gateway = addr_of("fe80::1");
	(void)snprintf(host, sizeof(host), "bth%011x", i);
	(void)snprintf(path, sizeof(path), "/run/netns/%s", names[i]);
	if (podnet_open(path, false, &podnet, err) < 0)
		return -1;
	r = podnet_wire(&podnet, &wish, &made, err);
	podnet_done(&podnet);
	return r;
}

static pid_t start(const struct world *w, unsigned i, const int gate[static 2])
{
	pid_t pid = fork();
	struct err err = { 0 };
	char byte;

	if (pid != 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)close(gate[1]);
	(void)!read(gate[0], &byte, 1); /* until the parent closes the other end */
	if (netns_run(w->a_fd, wire, &i, &err) == 0)
		_exit(0);
	(void)fprintf(stderr, "pod %u: %s\n", i, err.msg);
	_exit(1);
}

static int count_pod(const struct net_route *route, void *arg)
{
	*(unsigned *)arg += route->protocol == BERTH_RTPROT && route->type == NET_ROUTE_UNICAST;
	return 0;
}

static void test_podnet_wire__a_hundred_at_once__aws_40_39(void **state)
{
	const struct world *w = *state;
	unsigned routes[2] = { 0, 0 };
	int gate[2], status;
	int64_t since_us;
	pid_t pids[PODS];

	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	for (unsigned i = 0; i < PODS; i++) {
		pids[i] = start(w, i, gate);
		assert_true(pids[i] > 0);
	}
	since_us = clock_now(&clock_boot);
	(void)close(gate[0]);
	(void)close(gate[1]);
	for (unsigned i = 0; i < PODS; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	since_us = clock_now(&clock_boot) - since_us;
	print_message("# %u pods in %lld ms\n", PODS, (long long)(since_us / USEC_PER_MSEC));
	assert_true(since_us < WIRE_US);
	must(net_routes(w->a, IP_V4, NET_TABLE_LOCAL, count_pod, &routes[0], &err));
	must(net_routes(w->a, IP_V6, NET_TABLE_LOCAL, count_pod, &routes[1], &err));
	assert_int_equal(routes[0], PODS);
	assert_int_equal(routes[1], PODS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_podnet_wire__a_hundred_at_once__aws_40_39, setup, teardown),
	};

	return cmocka_run_group_tests_name("births", tests, NULL, NULL);
}
