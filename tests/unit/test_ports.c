/* SPDX-License-Identifier: Apache-2.0 */
/* What the leases of a node ask of its ports, and who gets one that two ask for. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "ipamd/ipamd.h"
#include "tests/unit/pools.h"

static int setup_node(void **state)
{
	if (setup_dual(state) < 0)
		return -1;
	add_nic(*state, 0);
	add_block(*state, 0, "10.0.1.16/28");
	add_block(*state, 0, "2001:db8::/80");
	return 0;
}

static struct port_map map_of(const char *host, uint16_t host_port, uint16_t port)
{
	struct port_map map = { .host_port = host_port, .port = port, .protocol = IPPROTO_TCP };

	if (host)
		map.host_addr = ip(host);
	return map;
}

static void ask(struct pool *pool, unsigned number, int64_t now_us, const struct runtime_config *runtime)
{
	const struct lease_label label = { .runtime = runtime };
	const struct lease_key key = key_of(number);

	(void)take_both(pool, number, now_us);
	pool_lease_label(pool, &key, &label);
}

/* A pod whose ADD and CONFIRM came at that moment. */
static void bind_pod(struct pool *pool, unsigned number, int64_t now_us, const struct runtime_config *runtime)
{
	const struct lease_key key = key_of(number);

	ask(pool, number, now_us, runtime);
	assert_true(pool_lease_confirm(pool, &key, now_us));
}

static struct runtime_config one_port(struct port_map map)
{
	return (struct runtime_config){ .port_count = 1, .ports = { map } };
}

static void release(struct pool *pool, unsigned number)
{
	const struct lease_key key = key_of(number);

	assert_true(pool_lease_release(pool, &key, START_US + 100, NULL));
}

/* "0.0.0.0 tcp 8080 10.0.1.16 80\n" for each of them. */
static void assert_ports(const struct pool *pool, const char *wanted)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	struct port_list list = { 0 };
	char host[IPADDR_STRLEN], to[IPADDR_STRLEN];

	assert_int_equal(ports_collect(pool, &list), 0);
	strbuf_add(&text, "");
	for (unsigned i = 0; i < list.count; i++)
		strbuf_printf(&text, "%s %s %u %s %u\n", ipaddr_str(&list.items[i].host_addr, host),
			      runtime_protocol_name(list.items[i].protocol), list.items[i].host_port,
			      ipaddr_str(&list.items[i].to, to), list.items[i].to_port);
	port_list_done(&list);
	assert_string_equal(text.text ? text.text : "", wanted);
}

static void test_ports_collect__by_family_and_address(void **state)
{
	const struct runtime_config runtime = {
		.port_count = 5,
		.ports = { map_of(NULL, 8080, 80), map_of("0.0.0.0", 8081, 81), map_of("::", 8082, 82),
			   map_of("127.0.0.1", 8083, 83), map_of("2001:db8:9::1", 8084, 84) },
	};
	struct pool *pool = *state;

	assert_ports(pool, "");
	bind_pod(pool, 1, START_US, &runtime);
	assert_ports(pool, "0.0.0.0 tcp 8080 10.0.1.16 80\n"
			   "0.0.0.0 tcp 8081 10.0.1.16 81\n"
			   "127.0.0.1 tcp 8083 10.0.1.16 83\n"
			   ":: tcp 8080 2001:db8::1 80\n"
			   ":: tcp 8082 2001:db8::1 82\n"
			   "2001:db8:9::1 tcp 8084 2001:db8::1 84\n");
}

/* One that is not wired yet would be led into nothing. */
static void test_ports_collect__of_bound_leases_alone(void **state)
{
	const struct runtime_config runtime = one_port(map_of("0.0.0.0", 8080, 80));
	struct pool *pool = *state;

	ask(pool, 1, START_US, &runtime);
	assert_ports(pool, "");
}

static void test_ports_collect__the_newest_lease_has_it(void **state)
{
	const struct runtime_config runtime = one_port(map_of("0.0.0.0", 8080, 80));
	struct pool *pool = *state;

	bind_pod(pool, 1, START_US, &runtime);
	bind_pod(pool, 2, START_US + 2, &runtime);
	bind_pod(pool, 3, START_US + 1, &runtime);
	assert_ports(pool, "0.0.0.0 tcp 8080 10.0.1.17 80\n");
	release(pool, 2);
	assert_ports(pool, "0.0.0.0 tcp 8080 10.0.1.18 80\n");
	release(pool, 3);
	assert_ports(pool, "0.0.0.0 tcp 8080 10.0.1.16 80\n");
	release(pool, 1);
	assert_ports(pool, "");
}

static void assert_no_rival(const struct pool *pool, unsigned number, int64_t since_us)
{
	const struct lease_key key = key_of(number);
	struct net_port port;

	assert_null(ports_rival(pool, pool_lease_find(pool, &key), since_us, &port));
}

/* Bound later, and for the same port at the same address. */
static void test_ports_rival__newer_ones(void **state)
{
	const struct runtime_config any = one_port(map_of(NULL, 8080, 80)), other = one_port(map_of(NULL, 8081, 80)),
				    home = one_port(map_of("127.0.0.1", 8080, 80));
	const struct lease_key key = key_of(1), newer = key_of(2);
	const struct lease *rival;
	struct pool *pool = *state;
	struct net_port port;

	bind_pod(pool, 1, START_US, &any);
	bind_pod(pool, 3, START_US + 3, &other);
	bind_pod(pool, 4, START_US + 3, &home);
	ask(pool, 5, START_US + 3, &any);
	assert_no_rival(pool, 1, START_US);
	bind_pod(pool, 2, START_US + 2, &any);
	rival = ports_rival(pool, pool_lease_find(pool, &key), START_US, &port);
	assert_ptr_equal(rival, pool_lease_find(pool, &newer));
	assert_int_equal(port.host_port, 8080);
	assert_no_rival(pool, 1, START_US + 2);
	assert_no_rival(pool, 2, START_US + 2);
	assert_ptr_equal(ports_rival(pool, rival, INT64_MIN, &port), pool_lease_find(pool, &key));
}

/* The same instant: still one of them, whatever the order in which they are seen. */
static void test_ports_collect__two_of_one_moment(void **state)
{
	const struct runtime_config runtime = one_port(map_of("0.0.0.0", 8080, 80));
	struct pool *pool = *state;

	bind_pod(pool, 1, START_US, &runtime);
	bind_pod(pool, 2, START_US, &runtime);
	assert_ports(pool, "0.0.0.0 tcp 8080 10.0.1.16 80\n");
}

/* As the reference plugin, whose first rule matches. */
static void test_ports_collect__the_first_mention_of_a_pod(void **state)
{
	const struct runtime_config runtime = {
		.port_count = 4,
		.ports = { map_of("0.0.0.0", 8080, 81), map_of("0.0.0.0", 8080, 80), map_of("0.0.0.0", 8080, 83),
			   map_of("10.0.1.10", 8080, 82) },
	};
	struct pool *pool = *state;

	bind_pod(pool, 1, START_US, &runtime);
	assert_ports(pool, "0.0.0.0 tcp 8080 10.0.1.16 81\n10.0.1.10 tcp 8080 10.0.1.16 82\n");
}

static void test_ports_collect__protocols_are_apart(void **state)
{
	struct runtime_config runtime = { .port_count = 3,
					  .ports = { map_of("0.0.0.0", 53, 1), map_of("0.0.0.0", 53, 2),
						     map_of("0.0.0.0", 53, 3) } };
	struct pool *pool = *state;

	runtime.ports[0].protocol = IPPROTO_SCTP;
	runtime.ports[1].protocol = IPPROTO_UDP;
	bind_pod(pool, 1, START_US, &runtime);
	assert_ports(pool, "0.0.0.0 tcp 53 10.0.1.16 3\n0.0.0.0 udp 53 10.0.1.16 2\n0.0.0.0 sctp 53 10.0.1.16 1\n");
}

static void test_ports_collect__not_of_delegated_leases(void **state)
{
	const struct runtime_config runtime = one_port(map_of(NULL, 8080, 80));
	const struct lease_label label = { .runtime = &runtime, .delegated = true };
	const struct lease_key key = key_of(1);
	struct pool *pool = *state;

	(void)take_both(pool, 1, START_US);
	pool_lease_label(pool, &key, &label);
	assert_true(pool_lease_confirm(pool, &key, START_US));
	assert_ports(pool, "");
	assert_false(ports_by_loopback(pool_lease_find(pool, &key)));
}

static void test_ports_by_loopback__any_address_or_it(void **state)
{
	static const struct {
		const char *host;
		bool yes;
	} cases[] = { { NULL, true },         { "0.0.0.0", true }, { "127.0.0.1", true }, { "127.9.9.9", true },
		      { "10.0.1.10", false }, { "::", false },     { "::1", false } };
	struct lease lease = { .state = LEASE_BOUND, .addrs = { ip("10.0.1.16"), ip("2001:db8::1") } };

	(void)state;
	assert_false(ports_by_loopback(&lease));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		lease.runtime = one_port(map_of(cases[i].host, 8080, 80));
		if (ports_by_loopback(&lease) != cases[i].yes)
			fail_msg("%s", cases[i].host);
	}
	lease.runtime = one_port(map_of(NULL, 8080, 80));
	lease.addrs[0] = (struct ipaddr){ 0 };
	assert_false(ports_by_loopback(&lease));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup_node, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_ports_collect__by_family_and_address),
		T(test_ports_collect__of_bound_leases_alone),
		T(test_ports_collect__the_newest_lease_has_it),
		T(test_ports_rival__newer_ones),
		T(test_ports_collect__two_of_one_moment),
		T(test_ports_collect__the_first_mention_of_a_pod),
		T(test_ports_collect__protocols_are_apart),
		T(test_ports_collect__not_of_delegated_leases),
		check_unit_test(test_ports_by_loopback__any_address_or_it),
	};

	return cmocka_run_group_tests_name("ports", tests, NULL, NULL);
}
