/* SPDX-License-Identifier: Apache-2.0 */
/* The text of the table against golden files; what nft and the kernel say to that text, in a namespace; nft_run(). */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/net.h"
#include "ipamd/hostnet.h"
#include "tests/check.h"

#define RUN_US (10 * USEC_PER_SEC)

static struct ipaddr ip(const char *text)
{
	struct ipaddr addr;

	assert_int_equal(ipaddr_parse(text, &addr), 0);
	return addr;
}

static struct prefix net_of(const char *text)
{
	struct prefix prefix;

	assert_int_equal(prefix_parse(text, &prefix), 0);
	return prefix;
}

static struct hostnet_nic nic(unsigned slot, const char *ifname)
{
	struct hostnet_nic n = { .slot = slot, .primary = slot == 0 };

	assert_true(snprintf(n.ifname, sizeof(n.ifname), "%s", ifname) < (int)sizeof(n.ifname));
	return n;
}

/* ---- inputs ---- */

struct input {
	struct nft_input nft;
	struct hostnet_nic nics[4];
	struct pool_block_ref blocks[8];
	struct prefix local[4];
	struct net_port ports[8];
	struct ipaddr services[4];
};

static void add_nic(struct input *in, unsigned slot, const char *ifname)
{
	in->nics[in->nft.nic_count++] = nic(slot, ifname);
}

static void add_block(struct input *in, const char *prefix, unsigned slot)
{
	in->blocks[in->nft.block_count++] = (struct pool_block_ref){ net_of(prefix), slot };
}

static void add_local(struct input *in, const char *prefix)
{
	in->local[in->nft.local_count++] = net_of(prefix);
}

static void add_port(struct input *in, const char *host, uint16_t host_port, const char *to, uint16_t to_port)
{
	in->ports[in->nft.port_count++] = (struct net_port){
		.host_addr = ip(host), .to = ip(to), .host_port = host_port, .to_port = to_port, .protocol = IPPROTO_TCP
	};
}

static void init(struct input *in)
{
	*in = (struct input){ .nft = { .mark_mask = 0x7e } };
	in->nft.nics = in->nics;
	in->nft.blocks = in->blocks;
	in->nft.local_prefixes = in->local;
	in->nft.ports = in->ports;
	in->nft.snat_to = ip("10.0.0.10");
}

static void one_nic(struct input *in)
{
	init(in);
	add_nic(in, 0, "eth0");
	add_block(in, "10.0.0.11", 0);
	add_local(in, "10.0.0.0/16");
}

static void two_nics(struct input *in)
{
	one_nic(in);
	add_nic(in, 1, "eth1");
	in->nics[0].primary_addr = ip("10.0.0.10");
	in->nics[1].primary_addr = ip("10.0.0.20");
	add_block(in, "10.0.0.21", 1);
	add_block(in, "10.0.0.23", 1);
}

/* Pods whose host ends have names that were asked for. */
static void named_pods(struct input *in)
{
	static const char names[][LEASE_IFNAME_SIZE] = { "cali", "eni" };

	two_nics(in);
	in->nft.pod_links = names;
	in->nft.pod_link_count = 2;
}

static void prefix_blocks(struct input *in)
{
	init(in);
	add_nic(in, 0, "ens5");
	add_nic(in, 1, "ens6");
	add_nic(in, 2, "ens7");
	add_block(in, "10.0.1.16/28", 0);
	add_block(in, "10.0.1.32/28", 1);
	add_block(in, "10.0.1.48/28", 1);
	add_block(in, "10.0.1.64/28", 2);
	add_block(in, "2001:db8:0:1:2::/80", 2);
	add_local(in, "10.0.0.0/16");
	add_local(in, "172.16.0.0/12");
	add_local(in, "2001:db8::/56");
}

static void ipv6_only(struct input *in)
{
	init(in);
	add_nic(in, 0, "eth0");
	add_nic(in, 1, "eth1");
	add_block(in, "2001:db8:0:1:a::/80", 0);
	add_block(in, "2001:db8:0:1:b::/80", 1);
	add_block(in, "2001:db8:0:1::77", 1);
	add_local(in, "2001:db8::/56");
	in->nics[0].primary_addr6 = ip("2001:db8:0:1::10");
	in->nics[1].primary_addr6 = ip("2001:db8:0:1::20");
	in->nft.snat_to = (struct ipaddr){ 0 };
}

/* What of one family does not get into the other's map, and IPv6 is not pinned where IPv4 is. */
static void dual_stack(struct input *in)
{
	two_nics(in);
	in->nics[0].primary_addr6 = ip("2001:db8:0:1::10");
	in->nics[1].primary_addr6 = ip("2001:db8:0:1::20");
	add_block(in, "2001:db8:0:1:a::/80", 0);
	add_block(in, "2001:db8:0:1:b::/80", 1);
	add_local(in, "2001:db8::/56");
}

static void external_snat(struct input *in)
{
	two_nics(in);
	in->nft.snat_to = (struct ipaddr){ 0 };
}

/* Pods of IPv6 alone, on two NICs, that reach IPv4. */
static void egress_v4(struct input *in)
{
	ipv6_only(in);
	in->nft.egress[0] = (struct nft_egress){ net_of("169.254.172.0/22"), ip("10.0.0.10") };
}

/* SNAT of what has an address of the cloud is done elsewhere; of this it is not. */
static void egress_v6(struct input *in)
{
	external_snat(in);
	in->nft.egress[1] = (struct nft_egress){ net_of("fd00::ac:0/118"), ip("2001:db8:0:1::10") };
}

/* Pods have such addresses, and the node has lost its own: nothing leaves. */
static void egress_without_source(struct input *in)
{
	init(in);
	add_nic(in, 0, "");
	in->nft.egress[1] = (struct nft_egress){ net_of("fd00::ac:0/118"), { 0 } };
}

static void other_mask(struct input *in)
{
	two_nics(in);
	in->nft.mark_mask = 0xff000000;
}

/* As a provider's table may be: whole addresses, ports, prefixes, both families. */
static void guards(struct input *in)
{
	static const struct cloud_guarded guarded[] = { { "169.254.169.254", 0 }, { "fd00:ec2::254", 0 },
							{ "168.63.129.16", 80 },  { "168.63.129.16", 32526 },
							{ "169.254.0.0/24", 0 },  { NULL, 0 } };

	named_pods(in);
	in->nft.source_check = true;
	in->nft.guarded = guarded;
}

static void guards_allowed(struct input *in)
{
	static struct ipaddr allowed[4];
	static const char *const texts[] = { "10.0.0.21", "2001:db8:0:1::21", "10.0.0.11", "2001:db8:0:1:a::11" };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		allowed[i] = ip(texts[i]);
	guards(in);
	in->nft.source_check = false;
	in->nft.metadata_allowed = allowed;
	in->nft.metadata_allowed_count = ARRAY_SIZE(allowed);
}

/* One family has no pod that may ask. */
static void guards_allowed_v4(struct input *in)
{
	guards_allowed(in);
	in->nft.metadata_allowed_count = 1;
}

/* Every protocol, two ports of one pod, both shapes. */
static void host_ports(struct input *in)
{
	two_nics(in);
	add_port(in, "0.0.0.0", 8080, "10.0.0.21", 80);
	add_port(in, "0.0.0.0", 8443, "10.0.0.21", 443);
	add_port(in, "0.0.0.0", 53, "10.0.0.11", 5353);
	add_port(in, "0.0.0.0", 5000, "10.0.0.23", 5000);
	add_port(in, "127.0.0.1", 9000, "10.0.0.11", 9000);
	in->ports[2].protocol = IPPROTO_UDP;
	in->ports[3].protocol = IPPROTO_SCTP;
}

static void host_ports_dual(struct input *in)
{
	dual_stack(in);
	add_port(in, "0.0.0.0", 8080, "10.0.0.21", 80);
	add_port(in, "::", 8080, "2001:db8:0:1:b::21", 80);
	add_port(in, "2001:db8:0:1::20", 8080, "2001:db8:0:1:a::11", 8080);
	in->services[0] = ip("172.20.0.10");
	in->services[1] = ip("fd00:20::10");
	in->services[2] = ip("172.20.0.1");
	in->nft.services = in->services;
	in->nft.service_count = 3;
}

/* No node address to give a pod that calls itself. */
static void host_ports_v6(struct input *in)
{
	ipv6_only(in);
	add_port(in, "::", 8080, "2001:db8:0:1:b::21", 80);
	in->nics[0].primary_addr6 = (struct ipaddr){ 0 };
}

static void nothing_yet(struct input *in)
{
	init(in);
	add_nic(in, 0, "");
}

static const struct {
	const char *name;
	void (*fill)(struct input *in);
} cases[] = {
	{ "one-nic", one_nic },
	{ "two-nics", two_nics },
	{ "named-pods", named_pods },
	{ "prefix-blocks", prefix_blocks },
	{ "ipv6-only", ipv6_only },
	{ "dual-stack", dual_stack },
	{ "external-snat", external_snat },
	{ "egress-v4", egress_v4 },
	{ "egress-v6", egress_v6 },
	{ "egress-without-source", egress_without_source },
	{ "other-mask", other_mask },
	{ "guards", guards },
	{ "guards-allowed", guards_allowed },
	{ "guards-allowed-v4", guards_allowed_v4 },
	{ "host-ports", host_ports },
	{ "host-ports-dual", host_ports_dual },
	{ "host-ports-v6", host_ports_v6 },
	{ "nothing-yet", nothing_yet },
};

static char *render(const struct input *in)
{
	_cleanup_strbuf_ struct strbuf out = { 0 };
	char *text;

	nft_render(&in->nft, &out);
	assert_false(out.failed);
	text = strbuf_take(&out);
	assert_non_null(text);
	return text;
}

/* ---- rendering ---- */

static void test_nft_render__golden(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = NULL, *golden = NULL;
		struct input in;
		char path[128];

		cases[i].fill(&in);
		text = render(&in);
		(void)snprintf(path, sizeof(path), "tests/golden/nft/%s.nft", cases[i].name);
		golden = check_golden(path, NULL);
		if (strcmp(text, golden) != 0)
			fail_msg("%s is not what was rendered:\n%s", path, text);
	}
}

static void test_nft_render__order_does_not_matter(void **state)
{
	_cleanup_free_ char *a = NULL, *b = NULL;
	struct input in;
	struct pool_block_ref block;

	(void)state;
	prefix_blocks(&in);
	a = render(&in);
	block = in.blocks[0];
	in.blocks[0] = in.blocks[3];
	in.blocks[3] = block;
	in.nics[1] = nic(2, "ens7");
	in.nics[2] = nic(1, "ens6");
	in.local[0] = net_of("172.16.0.0/12");
	in.local[1] = net_of("10.0.0.0/16");
	b = render(&in);
	assert_string_equal(a, b);
}

static void test_nft_render__what_overlaps_appears_once(void **state)
{
	_cleanup_free_ char *a = NULL, *b = NULL;
	struct input in;

	(void)state;
	one_nic(&in);
	a = render(&in);
	add_local(&in, "10.0.3.0/24");
	add_local(&in, "10.0.0.0/16");
	b = render(&in);
	assert_string_equal(a, b);
}

static void test_nft_render__order_of_allowed_pods_does_not_matter(void **state)
{
	_cleanup_free_ char *a = NULL, *b = NULL;
	struct ipaddr turned[4];
	struct input in;

	(void)state;
	guards_allowed(&in);
	a = render(&in);
	for (unsigned i = 0; i < ARRAY_SIZE(turned); i++)
		turned[i] = in.nft.metadata_allowed[ARRAY_SIZE(turned) - 1 - i];
	in.nft.metadata_allowed = turned;
	b = render(&in);
	assert_string_equal(a, b);
}

static void test_nft_render__names_that_would_be_syntax(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct input in;

	(void)state;
	two_nics(&in);
	in.nics[1] = nic(1, "e\" drop");
	text = render(&in);
	assert_null(strstr(text, "e\" drop"));
	assert_null(strstr(text, "nic1"));
	in.nics[1] = nic(1, "eth*");
	free(text);
	text = render(&in);
	assert_null(strstr(text, "nic1"));
}

static void test_nft_render__slot_without_a_mark(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct input in;

	(void)state;
	two_nics(&in);
	in.nft.mark_mask = 0x2; /* tells one NIC from none */
	text = render(&in);
	assert_non_null(strstr(text, "nic0"));
	assert_null(strstr(text, "nic1"));
}

static void test_hostnet_mark__fills_the_mask(void **state)
{
	(void)state;
	assert_int_equal(hostnet_slots_max(0x7e), 63);
	assert_int_equal(hostnet_mark(0x7e, 0), 0x2);
	assert_int_equal(hostnet_mark(0x7e, 1), 0x4);
	assert_int_equal(hostnet_mark(0x7e, 62), 0x7e);
	assert_int_equal(hostnet_slots_max(0x80000000), 1);
	assert_int_equal(hostnet_mark(0x80000000, 0), 0x80000000);
	assert_int_equal(hostnet_slots_max(0xff00), 255);
	assert_int_equal(hostnet_mark(0xff00, 254), 0xff00);
}

/* ---- what nft and the kernel say ---- */

struct world {
	char ns[64];
	int fd;
};

static int setup_ns(void **state)
{
	struct world *w;
	struct err err;

	if (geteuid() != 0 || check_fds_setup(state) < 0)
		return -1;
	w = calloc(1, sizeof(*w));
	assert_non_null(w);
	(void)snprintf(w->ns, sizeof(w->ns), "berth-nft-%d", (int)getpid());
	if (netns_add(w->ns, &err) < 0)
		fail_msg("%s", err.msg);
	char path[128];
	(void)snprintf(path, sizeof(path), "/run/netns/%s", w->ns);
	if (netns_open(path, &w->fd, &err) < 0)
		fail_msg("%s", err.msg);
	*state = w;
	return 0;
}

static int teardown_ns(void **state)
{
	struct world *w = *state;
	struct err err;

	(void)close(w->fd);
	if (netns_del(w->ns, &err) < 0)
		print_error("%s\n", err.msg);
	free(w);
	return check_fds_teardown(state);
}

static int run_batch(void *arg, struct err *err)
{
	return nft_run(arg, clock_now(&clock_boot) + RUN_US, NULL, err);
}

static int run_in(const struct world *w, const char *batch, struct err *err)
{
	union {
		const char *in;
		void *out;
	} arg = { .in = batch }; /* nft_run() does not write to it */

	return netns_run(w->fd, run_batch, arg.out, err);
}

static void test_nft_run__the_kernel_takes_every_golden_table_twice(void **state)
{
	const struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = NULL;
		struct input in;
		struct err err;

		cases[i].fill(&in);
		text = render(&in);
		for (int turn = 0; turn < 2; turn++)
			if (run_in(w, text, &err) < 0)
				fail_msg("%s: %s", cases[i].name, err.msg);
	}
}

static void test_nft_run__says_what_nft_says(void **state)
{
	const struct world *w = *state;
	struct err err;

	assert_int_equal(run_in(w, "table inet berth {\n\tchain x { no such thing }\n}\n", &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
	assert_string_equal(err.domain, "nft");
	assert_non_null(strstr(err.msg, "syntax error"));
	/* refused by the kernel and not by the parser; the batch as a whole did nothing */
	assert_int_equal(run_in(w, "table inet berth { chain y { } }\ndelete table inet nosuch\n", &err), -1);
	assert_int_equal(err.class, ERR_INVALID);
	assert_int_equal(run_in(w, "delete table inet berth\n", &err), -1);
}

/* A batch beyond any pipe's capacity: 1 MiB. */
static void test_nft_run__big_batch(void **state)
{
	const struct world *w = *state;
	_cleanup_strbuf_ struct strbuf batch = { 0 };
	struct err err;

	for (unsigned i = 0; i < 16384; i++)
		strbuf_printf(&batch, "# %060u\n", i);
	strbuf_add(&batch, "table inet berth { }\n");
	assert_false(batch.failed);
	if (run_in(w, batch.text, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(run_in(w, "delete table inet berth\n", &err), 0);
}

/* ---- programs that misbehave ---- */

struct fake {
	char dir[256];
	char *path; /* of the environment before */
};

static void fake_nft(struct fake *fake, const char *script)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	const char *old = getenv("PATH");
	char path[512];

	assert_true(snprintf(fake->dir, sizeof(fake->dir), "%s", check_tmpdir()) < (int)sizeof(fake->dir));
	strbuf_printf(&text, "#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n%s\n", script);
	assert_int_equal(fs_write_atomic(check_path(path, sizeof(path), fake->dir, "nft"), text.text, text.len, 0755),
			 0);
	fake->path = old ? strdup(old) : NULL;
	assert_int_equal(setenv("PATH", fake->dir, 1), 0);
}

static void unfake(struct fake *fake)
{
	assert_int_equal(fake->path ? setenv("PATH", fake->path, 1) : unsetenv("PATH"), 0);
	free(fake->path);
	check_tmpdir_remove(fake->dir);
}

/* No child is left, dead or alive. */
static void assert_no_child(void)
{
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void test_nft_run__hangs(void **state)
{
	int64_t start_us = clock_now(&clock_boot);
	struct fake fake;
	struct err err;

	(void)state;
	fake_nft(&fake, "exec sleep 60");
	assert_int_equal(nft_run("table inet x {}\n", start_us + 100 * USEC_PER_MSEC, NULL, &err), -1);
	unfake(&fake);
	assert_int_equal(err.class, ERR_RETRY);
	assert_true(clock_now(&clock_boot) - start_us < 5 * USEC_PER_SEC);
	assert_no_child();
}

static void test_nft_run__talks_without_end_and_fails(void **state)
{
	struct fake fake;
	struct err err;

	(void)state;
	fake_nft(
		&fake,
		"cat >/dev/null; echo '/dev/stdin:1:1-2: Error: first line' >&2; head -c 300000 /dev/zero >&2; exit 3");
	assert_int_equal(nft_run("x\n", clock_now(&clock_boot) + RUN_US, NULL, &err), -1);
	unfake(&fake);
	assert_int_equal(err.class, ERR_INVALID);
	assert_int_equal(err.code, 3);
	assert_string_equal(err.msg, "nft refused the batch: first line");
	assert_no_child();
}

static void test_nft_run__does_not_read(void **state)
{
	_cleanup_strbuf_ struct strbuf batch = { 0 };
	struct fake fake;
	struct err err;

	(void)state;
	for (unsigned i = 0; i < 16384; i++)
		strbuf_printf(&batch, "# %060u\n", i);
	fake_nft(&fake, "exec <&-; exit 0");
	assert_int_equal(nft_run(batch.text, clock_now(&clock_boot) + RUN_US, NULL, &err), 0);
	unfake(&fake);
	assert_no_child();
}

static void test_nft_run__is_killed(void **state)
{
	struct fake fake;
	struct err err;

	(void)state;
	fake_nft(&fake, "kill -9 $$");
	assert_int_equal(nft_run("x\n", clock_now(&clock_boot) + RUN_US, NULL, &err), -1);
	unfake(&fake);
	assert_int_equal(err.class, ERR_RETRY);
	assert_non_null(strstr(err.msg, "signal 9"));
	assert_no_child();
}

/* A grandchild that keeps stderr open does not keep us. */
static void test_nft_run__leaves_somebody_behind(void **state)
{
	int64_t start_us = clock_now(&clock_boot);
	struct fake fake;
	struct err err;

	(void)state;
	fake_nft(&fake, "sleep 2 & exit 0");
	assert_int_equal(nft_run("x\n", start_us + RUN_US, NULL, &err), 0);
	unfake(&fake);
	assert_true(clock_now(&clock_boot) - start_us < USEC_PER_SEC + USEC_PER_SEC / 2);
}

static void test_nft_run__arguments_and_input(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct fake fake;
	struct err err;
	char path[512];

	(void)state;
	fake_nft(&fake,
		 "exec >$(dirname $0)/seen; echo \"$#:$1:$2\"; cat; ls -l /proc/self/fd | grep -c memfd:berth-nft");
	assert_int_equal(nft_run("the; `batch` $(id)\n", clock_now(&clock_boot) + RUN_US, NULL, &err), 0);
	check_path(path, sizeof(path), fake.dir, "seen");
	assert_int_equal(fs_read(path, 4096, &text, NULL), 0);
	unfake(&fake);
	/* the batch is there as standard input, and by no descriptor of ours beside it */
	assert_string_equal(text, "2:-f:-\nthe; `batch` $(id)\n1\n");
	assert_no_child();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_nft_render__golden),
		check_unit_test(test_nft_render__order_does_not_matter),
		check_unit_test(test_nft_render__what_overlaps_appears_once),
		check_unit_test(test_nft_render__order_of_allowed_pods_does_not_matter),
		check_unit_test(test_nft_render__names_that_would_be_syntax),
		check_unit_test(test_nft_render__slot_without_a_mark),
		check_unit_test(test_hostnet_mark__fills_the_mask),
		cmocka_unit_test_setup_teardown(test_nft_run__the_kernel_takes_every_golden_table_twice, setup_ns,
						teardown_ns),
		cmocka_unit_test_setup_teardown(test_nft_run__says_what_nft_says, setup_ns, teardown_ns),
		cmocka_unit_test_setup_teardown(test_nft_run__big_batch, setup_ns, teardown_ns),
		check_unit_test(test_nft_run__hangs),
		check_unit_test(test_nft_run__talks_without_end_and_fails),
		check_unit_test(test_nft_run__does_not_read),
		check_unit_test(test_nft_run__is_killed),
		check_unit_test(test_nft_run__leaves_somebody_behind),
		check_unit_test(test_nft_run__arguments_and_input),
	};

	return cmocka_run_group_tests_name("nft", tests, NULL, NULL);
}
