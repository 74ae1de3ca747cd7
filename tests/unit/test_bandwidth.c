/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets: what they hold for a rate and a burst, what they are called, and how the kernel is told. */
#include "ipamd/hostnet.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/pkt_sched.h>
#include <string.h>

#include "lib/net/net_internal.h"
#include "tests/check.h"

#define MTU   1500U
#define JUMBO 9001U
#define QUEUE 147456U /* bytes: what may wait at least */

static void bucket_is(uint64_t rate, uint64_t burst, unsigned mtu, uint64_t bytes, uint32_t holds, uint32_t waits)
{
	const struct net_tbf tbf = hostnet_shape_tbf(rate, burst, mtu);

	if (tbf.rate != bytes || tbf.burst != holds || tbf.limit != holds + waits)
		fail_msg("%" PRIu64 " bit/s, burst %" PRIu64 ": %" PRIu64 " B/s, burst %u, limit %u", rate, burst,
			 tbf.rate, tbf.burst, tbf.limit);
}

/* 25 ms of the rate, so that the first second is within 5 %, whatever the runtime calls a burst. */
static void test_hostnet_shape_tbf__bursts_of_runtimes(void **state)
{
	static const uint64_t bursts[] = {
		0,                            /* none */
		INT32_MAX,                    /* kubelet's dockershim */
		UINT32_MAX,                   /* containerd */
		UINT64_C(8) * UINT32_MAX - 1, /* CRI-O */
		100000000,                    /* as large as the rate */
		INT64_MAX,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bursts); i++)
		bucket_is(100000000, bursts[i], MTU, 12500000, 312500, 312500);
}

/* What is asked for counts where it can work. */
static void test_hostnet_shape_tbf__asked_for(void **state)
{
	(void)state;
	bucket_is(100000000, 1600000, MTU, 12500000, 200000, 312500);
	bucket_is(100000000, 8000, MTU, 12500000, 125000, 312500); /* 10 ms: a coarse timer's turn */
	bucket_is(10000000, 0, MTU, 1250000, 31250, QUEUE);
}

/* A frame must fit whatever the rate, or nothing gets through. */
static void test_hostnet_shape_tbf__extremes(void **state)
{
	(void)state;
	bucket_is(1000, UINT32_MAX, MTU, 125, MTU + 14, QUEUE);
	bucket_is(1000000, 0, JUMBO, 125000, JUMBO + 14, QUEUE);
	bucket_is(1, 1, MTU, 1, MTU + 14, QUEUE);
	bucket_is(1000000000000000, UINT32_MAX, MTU, 125000000000000, UINT32_MAX / 2, UINT32_MAX / 2);
	bucket_is(UINT64_MAX, UINT64_MAX, MTU, UINT64_MAX / 8, UINT32_MAX / 2, UINT32_MAX / 2);
}

static void test_hostnet_shape_ifname__digits_of_the_host_end(void **state)
{
	char name[LEASE_IFNAME_SIZE];

	(void)state;
	hostnet_shape_ifname("bth0a1b2c3d4e5", name);
	assert_string_equal(name, "bti0a1b2c3d4e5");
	hostnet_shape_ifname("cali0a1b2c3d4e5", name);
	assert_string_equal(name, "bti0a1b2c3d4e5");
	hostnet_shape_ifname("eth0", name);
	assert_string_equal(name, "btieth0");
}

/* ---- to the kernel ---- */

/* As the kernel reads it (net/sched/sch_tbf.c, tbf_change()). */
static void encodes(uint64_t rate, uint32_t rate32, bool has_rate64)
{
	const struct net_tbf tbf = { .rate = rate, .burst = 3125, .limit = 150581 };
	const struct tcmsg tcm = { 0 };
	struct nlattr *outer[TCA_MAX + 1], *tb[TCA_TBF_MAX + 1];
	_cleanup_msg_ struct net_msg msg = { 0 };
	struct tc_tbf_qopt qopt;

	net_msg_init(&msg, RTM_NEWQDISC, 0, &tcm, sizeof(tcm));
	net_tbf_put(&msg, &tbf);
	assert_false(msg.failed);
	assert_int_equal(nlmsg_parse(nlmsg_hdr(msg.nl), sizeof(tcm), outer, TCA_MAX, NULL), 0);
	assert_int_equal(nla_parse_nested(tb, TCA_TBF_MAX, outer[TCA_OPTIONS], NULL), 0);
	memcpy(&qopt, nla_data(tb[TCA_TBF_PARMS]), sizeof(qopt));
	assert_int_equal(qopt.rate.rate, rate32);
	assert_int_equal(qopt.rate.linklayer, TC_LINKLAYER_ETHERNET);
	assert_int_equal(qopt.limit, 150581);
	assert_null(tb[TCA_TBF_RTAB]);
	assert_int_equal(nla_get_u32(tb[TCA_TBF_BURST]), 3125);
	assert_int_equal(tb[TCA_TBF_RATE64] != NULL, has_rate64);
	if (has_rate64)
		assert_true(nla_get_u64(tb[TCA_TBF_RATE64]) == rate);
}

static void test_net_tbf_put__rates_beyond_32_bits(void **state)
{
	(void)state;
	encodes(125000, 125000, false);
	encodes(UINT32_MAX - 1, UINT32_MAX - 1, false);
	encodes(UINT32_MAX, UINT32_MAX, true);
	encodes(125000000000000, UINT32_MAX, true);
}

static void test_net_tc_fail__names_what_the_kernel_lacks(void **state)
{
	const struct net_ack ack = { "Specified qdisc kind is unknown" };
	struct err err = { 0 };

	(void)state;
	assert_int_equal(net_tc_fail(&err, -ENOENT, &ack, "shape link 7", "token bucket filter (sch_tbf)"), -1);
	assert_int_equal(err.class, ERR_INVALID);
	assert_int_equal(err.code, ENOENT);
	assert_non_null(strstr(err.msg, "shape link 7: the kernel has no token bucket filter (sch_tbf)"));
	assert_int_equal(net_tc_fail(&err, -EOPNOTSUPP, &ack, "make link", "ifb"), -1);
	assert_int_equal(err.class, ERR_INVALID);
	assert_int_equal(net_tc_fail(&err, -ENODEV, &ack, "shape link 7", "sch_tbf"), -1);
	assert_int_equal(err.class, ERR_NOTFOUND);
	assert_null(strstr(err.msg, "sch_tbf"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_hostnet_shape_tbf__bursts_of_runtimes),
		check_unit_test(test_hostnet_shape_tbf__asked_for),
		check_unit_test(test_hostnet_shape_tbf__extremes),
		check_unit_test(test_hostnet_shape_ifname__digits_of_the_host_end),
		check_unit_test(test_net_tbf_put__rates_beyond_32_bits),
		check_unit_test(test_net_tc_fail__names_what_the_kernel_lacks),
	};

	return cmocka_run_group_tests_name("bandwidth", tests, NULL, NULL);
}
