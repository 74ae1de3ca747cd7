/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses that only the node knows: which one a pod gets, and when it is given again. */
#include "tests/unit/pools.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "berth/attr.h"
#include "ipamd/ipamd.h"

#define USABLE (EGRESS_SIZE - 2)
#define BLOCK6 "2600:0:0:0:5::/80"

static struct egress egress; /* zeroed by the set-up of a test */

static int setup_egress(void **state)
{
	memset(&egress, 0, sizeof(egress));
	if (setup_v6(state) < 0)
		return -1;
	add_nic(*state, 0);
	add_block(*state, 0, BLOCK6);
	return 0;
}

#define egress_test(f) cmocka_unit_test_setup_teardown(f, setup_egress, teardown)

static const char *text_of(const struct ipaddr *addr)
{
	static char text[IPADDR_STRLEN];

	return ipaddr_str(addr, text);
}

/* A pod with an egress address; "-" when there is none. */
static const char *pod(struct pool *pool, unsigned number, enum ip_family family, int64_t now_us)
{
	const struct lease_key key = key_of(number);
	struct lease_label label = { .host_ifname = "" };

	(void)take6(pool, number, now_us);
	(void)egress_pick(&egress, pool, family, &label.egress);
	pool_lease_label(pool, &key, &label);
	return text_of(&label.egress);
}

/* Its end, as the daemon has it. */
static void end(struct pool *pool, unsigned number, int64_t now_us)
{
	const struct lease_key key = key_of(number);
	const struct ipaddr addr = pool_lease_find(pool, &key)->egress;

	(void)give(pool, number, now_us);
	egress_rest(&egress, &addr, now_us + COOLDOWN_US);
}

static void flush(struct pool *pool, int64_t now_us)
{
	struct ipaddr addrs[64];
	unsigned n;

	(void)pool_tick(pool, now_us);
	while ((n = egress_flush_begin(&egress, now_us, addrs, ARRAY_SIZE(addrs))))
		for (unsigned i = 0; i < n; i++)
			egress_flush_end(&egress, &addrs[i]);
}

/* ---- ranges ---- */

static void test_egress_range__as_the_egress_plugin_has_them(void **state)
{
	const struct prefix v4 = egress_range(IP_V4), v6 = egress_range(IP_V6);
	char text[PREFIX_STRLEN];

	(void)state;
	assert_string_equal(prefix_str(&v4, text), "169.254.172.0/22");
	assert_string_equal(prefix_str(&v6, text), "fd00::ac:0/118");
}

static void test_egress_has(void **state)
{
	static const struct {
		const char *addr;
		bool has;
	} cases[] = { { "169.254.171.255", false }, { "169.254.172.0", true }, { "169.254.175.255", true },
		      { "169.254.176.0", false },   { "169.254.1.1", false },  { "169.254.169.254", false },
		      { "fd00::ab:ffff", false },   { "fd00::ac:0", true },    { "fd00::ac:3ff", true },
		      { "fd00::ac:400", false } };
	const struct ipaddr none = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct ipaddr addr = ip(cases[i].addr);

		if (egress_has(&addr) != cases[i].has)
			fail_msg("%s", cases[i].addr);
	}
	assert_false(egress_has(&none));
}

/* ---- what leads to a pod ---- */

static void test_egress_addrs__in_the_place_of_the_family_that_lacks(void **state)
{
	struct lease lease = { .addrs = { [1] = ip("2600::1") }, .egress = ip("169.254.172.9") };
	struct ipaddr addrs[IP_FAMILIES];

	(void)state;
	egress_addrs(&lease, addrs);
	assert_string_equal(text_of(&addrs[0]), "169.254.172.9");
	assert_string_equal(text_of(&addrs[1]), "2600::1");
	lease.addrs[0] = ip("10.0.0.1"); /* what the cloud gave goes before */
	egress_addrs(&lease, addrs);
	assert_string_equal(text_of(&addrs[0]), "10.0.0.1");
}

static void test_egress_split__of_what_a_kernel_knew(void **state)
{
	struct lease both = { .addrs = { ip("169.254.172.9"), ip("2600::1") } },
		     v6 = { .addrs = { ip("10.0.0.1"), ip("fd00::ac:9") } },
		     alone = { .addrs = { ip("169.254.172.9") } },
		     plain = { .addrs = { ip("10.0.0.1"), ip("2600::1") } };

	(void)state;
	assert_true(egress_split(&both));
	assert_string_equal(text_of(&both.egress), "169.254.172.9");
	assert_int_equal(both.addrs[0].family, IP_NONE);
	assert_string_equal(text_of(&both.addrs[1]), "2600::1");
	assert_true(egress_split(&v6));
	assert_string_equal(text_of(&v6.egress), "fd00::ac:9");
	assert_false(egress_split(&alone));
	assert_true(egress_split(&plain));
	assert_int_equal(plain.egress.family, IP_NONE);
	assert_string_equal(text_of(&plain.addrs[0]), "10.0.0.1");
}

/* ---- which one ---- */

static void test_egress_pick__in_turn(void **state)
{
	struct pool *pool = *state;
	const struct ipaddr second = ip("169.254.172.2"), nobodys = ip("169.254.172.7");
	const struct lease_key key = key_of(2);

	assert_string_equal(pod(pool, 1, IP_V4, START_US), "169.254.172.1");
	assert_string_equal(pod(pool, 2, IP_V4, START_US), "169.254.172.2");
	assert_string_equal(pod(pool, 3, IP_V6, START_US), "fd00::ac:1");
	assert_ptr_equal(egress_of(pool, &second), pool_lease_find(pool, &key));
	assert_null(egress_of(pool, &nobodys));
	assert_int_equal(egress_count(pool, IP_V4), 2);
	assert_int_equal(egress_count(pool, IP_V6), 1);
	/* One that was given back is behind all others, whether it rests or not. */
	end(pool, 1, START_US);
	flush(pool, START_US + COOLDOWN_US);
	assert_string_equal(pod(pool, 4, IP_V4, START_US), "169.254.172.3");
	assert_int_equal(egress.exhausted[0], 0);
}

/* A daemon that starts knows who has one by the leases, and what rests by the store. */
static void test_egress_pick__after_a_restart(void **state)
{
	struct pool *pool = *state;
	const struct ipaddr rests = ip("169.254.172.3");

	(void)pod(pool, 1, IP_V4, START_US);
	(void)pod(pool, 2, IP_V4, START_US);
	memset(&egress, 0, sizeof(egress));
	egress_rest(&egress, &rests, START_US + COOLDOWN_US);
	assert_true(egress_next_rested(&egress) == START_US + COOLDOWN_US);
	assert_string_equal(pod(pool, 3, IP_V4, START_US), "169.254.172.4");
}

static void test_egress_pick__all_taken(void **state)
{
	struct pool *pool = *state;
	struct ipaddr addr = { 0 };

	for (unsigned i = 0; i < USABLE; i++)
		assert_string_not_equal(pod(pool, i, IP_V4, START_US), "-");
	assert_false(egress_pick(&egress, pool, IP_V4, &addr));
	assert_int_equal(addr.family, IP_NONE);
	assert_int_equal(egress.exhausted[0], 1);
	assert_true(egress_pick(&egress, pool, IP_V6, &addr)); /* that range is another */
	/* What is given back comes in its time, not before. */
	end(pool, 500, START_US);
	assert_false(egress_pick(&egress, pool, IP_V4, &addr));
	flush(pool, START_US + COOLDOWN_US - 1);
	assert_false(egress_pick(&egress, pool, IP_V4, &addr));
	flush(pool, START_US + COOLDOWN_US);
	assert_true(egress_pick(&egress, pool, IP_V4, &addr));
	assert_string_equal(text_of(&addr), "169.254.173.245");
}

/* ---- rest ---- */

static void test_egress_rest__until_its_flows_are_forgotten(void **state)
{
	const struct ipaddr addr = ip("169.254.172.1"), v6 = ip("fd00::ac:7"), cloud = ip("10.0.0.1");
	struct pool *pool = *state;
	struct ipaddr out[4], got;

	assert_true(egress_next_rested(&egress) == INT64_MAX);
	egress_rest(&egress, &cloud, START_US); /* not ours to keep */
	assert_true(egress_next_rested(&egress) == INT64_MAX);
	egress_rest(&egress, &addr, START_US + 5);
	egress_rest(&egress, &addr, START_US + 3); /* the longer one counts */
	egress_rest(&egress, &v6, START_US + 4);
	assert_true(egress_next_rested(&egress) == START_US + 4);
	assert_int_equal(egress_flush_begin(&egress, START_US + 3, out, 4), 0);
	assert_int_equal(egress_flush_begin(&egress, START_US + 5, out, 1), 1);
	assert_string_equal(text_of(&out[0]), "169.254.172.1");
	assert_true(egress_next_rested(&egress) == START_US + 4);
	assert_true(egress_pick(&egress, pool, IP_V4, &got)); /* that one not: it is being flushed */
	assert_string_equal(text_of(&got), "169.254.172.2");
	egress_flush_end(&egress, &v6); /* not begun */
	assert_true(egress_next_rested(&egress) == START_US + 4);
	egress_flush_end(&egress, &addr);
	egress_flush_end(&egress, &addr);
	assert_int_equal(egress.rests[0].count, 0);
	assert_int_equal(egress.rests[1].count, 1);
}

/* ---- many ---- */

#define TURNS 5000U
#define LIVE  700U /* pods that there are at most: with the 200 that rest fewer than the range has */

/* No two pods have one address, none has one that rests, and when all are gone all may be given again. */
static void test_egress__5000_pods_come_and_go(void **state)
{
	static int64_t rested_us[EGRESS_SIZE];
	static bool live[LIVE], taken[EGRESS_SIZE];
	const struct prefix range = egress_range(IP_V4);
	struct pool *pool = *state;
	uint32_t dice = 1;
	int64_t now_us = START_US;
	unsigned refused = 0;

	memset(rested_us, 0, sizeof(rested_us));
	for (unsigned i = 0; i < TURNS; i++) {
		unsigned number = (dice = dice * 1664525 + 1013904223) / 65536 % LIVE;
		const struct lease_key key = key_of(number);

		now_us += COOLDOWN_US / 400;
		flush(pool, now_us);
		if (!live[number]) {
			(void)pod(pool, number, IP_V4, now_us);
			live[number] = true;
		}
		const struct ipaddr addr = pool_lease_find(pool, &key)->egress;

		if (addr.family == IP_NONE) {
			refused++;
		} else if (!taken[prefix_offset(&range, &addr)]) {
			assert_true(rested_us[prefix_offset(&range, &addr)] <= now_us);
			taken[prefix_offset(&range, &addr)] = true;
			continue;
		} else {
			assert_ptr_equal(egress_of(pool, &addr), pool_lease_find(pool, &key));
			taken[prefix_offset(&range, &addr)] = false;
			rested_us[prefix_offset(&range, &addr)] = now_us + COOLDOWN_US;
		}
		end(pool, number, now_us);
		live[number] = false;
	}
	for (unsigned i = 0; i < LIVE; i++)
		if (live[i])
			end(pool, i, now_us);
	flush(pool, now_us + COOLDOWN_US);
	assert_int_equal(egress.rests[0].count, 0);
	assert_int_equal(egress_count(pool, IP_V4), 0);
	assert_int_equal(egress.exhausted[0], refused);
	assert_int_equal(refused, 0);
	for (unsigned i = 0; i < USABLE; i++)
		assert_string_not_equal(pod(pool, i, IP_V4, now_us), "-");
}

/* ---- the daemon ---- */

static struct ipamd *daemon_of(struct pool *pool)
{
	struct ipamd *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	config_defaults(&d->config);
	d->pool = pool;
	d->listed = true;
	d->identity = calloc(1, sizeof(*d->identity));
	assert_non_null(d->identity);
	return d;
}

static void daemon_done(struct ipamd *d)
{
	free(d->identity);
	free(d);
}

static void assert_said_of_state(const struct ipamd *d, const char *want)
{
	json_auto_t *said = egress_json(d);
	_cleanup_free_ char *text = json_dumps(said, JSON_COMPACT);

	assert_string_equal(text, want);
}

static void test_egress_give__a_node_without_that_family(void **state)
{
	const struct lease lease = { .key = key_of(1), .addrs = { [1] = ip("2600::5:0:0:1") } };
	struct ipamd *d = daemon_of(*state);
	struct prefix ranges[IP_FAMILIES];
	struct ipaddr addr = egress_give(d, &lease);

	assert_int_equal(addr.family, IP_NONE);
	assert_true(d->egress.said[0]);
	assert_int_equal(d->egress.exhausted[0], 0);
	assert_false(egress_serves(d, IP_V4));
	egress_wanted(d, ranges);
	assert_int_equal(ranges[0].addr.family, IP_NONE);
	assert_said_of_state(d, "[{\"family\":\"ipv4\",\"as\":\"\",\"pods\":0,\"refused\":0}]");
	d->identity->primary_addr = ip("10.0.0.1");
	addr = egress_give(d, &lease);
	assert_string_equal(text_of(&addr), "169.254.172.1");
	assert_true(egress_serves(d, IP_V4));
	assert_said_of_state(d, "[{\"family\":\"ipv4\",\"as\":\"10.0.0.1\",\"pods\":0,\"refused\":0}]");
	egress_wanted(d, ranges);
	assert_int_equal(ranges[0].len, 22);
	assert_int_equal(ranges[1].addr.family, IP_NONE);
	d->listed = false;
	assert_said_of_state(d, "[]");
	daemon_done(d);
}

/* Below it the kernel has no IPv6 on a link, and the pod would not start. */
static void test_egress_give__an_mtu_too_small_for_ipv6(void **state)
{
	const struct lease lease = { .key = key_of(1), .addrs = { ip("10.0.1.21") } };
	struct cloud_nic nic = cloud_nic_of(0);
	struct ipamd *d = daemon_of(*state);
	struct ipaddr addr;

	nic.primary_addr6 = ip("2600::10");
	assert_non_null(pool_nic_add(d->pool, &nic, START_US));
	d->config.egress[1] = true;
	d->config.mtu = 1279;
	assert_int_equal(egress_give(d, &lease).family, IP_NONE);
	d->config.mtu = 1280;
	addr = egress_give(d, &lease);
	assert_string_equal(text_of(&addr), "fd00::ac:1");
	daemon_done(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_egress_range__as_the_egress_plugin_has_them),
		cmocka_unit_test(test_egress_has),
		cmocka_unit_test(test_egress_addrs__in_the_place_of_the_family_that_lacks),
		cmocka_unit_test(test_egress_split__of_what_a_kernel_knew),
		egress_test(test_egress_pick__in_turn),
		egress_test(test_egress_pick__after_a_restart),
		egress_test(test_egress_pick__all_taken),
		egress_test(test_egress_rest__until_its_flows_are_forgotten),
		egress_test(test_egress__5000_pods_come_and_go),
		egress_test(test_egress_give__a_node_without_that_family),
		pool_test(test_egress_give__an_mtu_too_small_for_ipv6),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
