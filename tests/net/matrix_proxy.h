/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of kube-proxy for four Services of node_world.h, as it writes them: with iptables (either of its backends)
 * and with nft. Every Service has one endpoint, port 8080 of a pod
 * or of the node itself.
 *
 *   service   endpoint        ClusterIP, port 80            NodePort, Cluster   NodePort, Local
 *   1         p1, primary     172.20.0.11, fd00:20::11      30081               30091
 *   2         p2, secondary   172.20.0.12, fd00:20::12      30082               30092
 *   3         na, hostNetwork 172.20.0.13, fd00:20::13      30083               30093
 *   4         p3, other node  172.20.0.14, fd00:20::14      30084               -
 *
 * externalTrafficPolicy Cluster masquerades whatever comes from outside, Local keeps the source; a pod that reaches
 * itself is masqueraded too. Pods are known by the name of their host end (detectLocalMode InterfaceNamePrefix).
 */
#ifndef TESTS_NET_MATRIX_PROXY_H
#define TESTS_NET_MATRIX_PROXY_H

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "berth/str.h"
#include "tests/net/node_world.h"

#define SERVICES       4U
#define LOCAL_SERVICES 3U /* the first ones have a NodePort with externalTrafficPolicy Local, too */
#define TOOL_OUT_MAX   4096

enum proxy { IPTABLES_LEGACY, IPTABLES_NFT, NFTABLES, PROXIES };
static const char *const proxy_names[PROXIES] = { "iptables-legacy", "iptables-nft", "nftables" };

static const char *const endpoints[IP_FAMILIES][SERVICES] = {
	{ "10.0.0.11", "10.0.0.21", "10.0.0.10", "10.0.0.31" },
	{ "2001:db8:0:1:a::11", "2001:db8:0:1::21", "2001:db8:0:1::10", "2001:db8:0:1::31" },
};
static const char *const cluster_ips[IP_FAMILIES][SERVICES] = {
	{ "172.20.0.11", "172.20.0.12", "172.20.0.13", "172.20.0.14" },
	{ "fd00:20::11", "fd00:20::12", "fd00:20::13", "fd00:20::14" },
};

/* ---- programs ---- */

struct tool {
	const char *name, *input;
	char output[TOOL_OUT_MAX]; /* what it said */
};

/* In the calling thread's namespace: `@name` reads @input and says nothing, or why not. */
static inline int run_tool(void *arg, struct err *err)
{
	struct tool *tool = arg;
	char name[64], wait[] = "--wait=10"; /* seconds: the lock is one for all namespaces */
	char *const argv[] = { name, strstr(tool->name, "-nft") ? NULL : wait, NULL };
	char *const env[] = { (char[]){ "PATH=/usr/sbin:/usr/bin:/sbin:/bin" }, NULL };
	_cleanup_close_ int in = memfd_create("rules", MFD_CLOEXEC), out = memfd_create("said", MFD_CLOEXEC);
	posix_spawn_file_actions_t actions;
	int status = -1, r;
	pid_t pid;

	assert_true(in >= 0 && out >= 0);
	assert_int_equal(str_copy(name, sizeof(name), tool->name), 0);
	assert_int_equal(fs_write_all(in, tool->input, strlen(tool->input)), 0);
	assert_int_equal(lseek(in, 0, SEEK_SET), 0);
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, out, STDERR_FILENO), 0);
	r = posix_spawnp(&pid, name, &actions, NULL, argv, env);
	(void)posix_spawn_file_actions_destroy(&actions);
	if (r != 0)
		return err_set_errno(err, ERR_NOTFOUND, "test", r, "%s", name);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	r = (int)pread(out, tool->output, sizeof(tool->output) - 1, 0);
	tool->output[r > 0 ? r : 0] = '\0';
	tool->output[strcspn(tool->output, "\n")] = '\0';
	return status == 0 ? 0 : err_set(err, ERR_INVALID, "test", "%s: %s", name, tool->output);
}

/* ---- iptables ---- */

static inline void iptables_service(struct strbuf *out, unsigned f, unsigned i)
{
	const char *end = endpoints[f][i];
	unsigned n = i + 1;

	strbuf_printf(out,
		      "-A KUBE-SERVICES -d %s/%u -p tcp -m comment --comment \"test/svc%u cluster IP\" "
		      "-m tcp --dport 80 -j KUBE-SVC-%u\n",
		      cluster_ips[f][i], f ? 128U : 32U, n, n);
	strbuf_printf(out, "-A KUBE-NODEPORTS -p tcp -m tcp --dport %u -j KUBE-EXT-%u\n", 30080 + n, n);
	strbuf_printf(out, "-A KUBE-EXT-%u -j KUBE-MARK-MASQ\n-A KUBE-EXT-%u -j KUBE-SVC-%u\n", n, n, n);
	strbuf_printf(out, "-A KUBE-SVC-%u -j KUBE-SEP-%u\n-A KUBE-SEP-%u -s %s/%u -j KUBE-MARK-MASQ\n", n, n, n, end,
		      f ? 128U : 32U);
	strbuf_printf(out, "-A KUBE-SEP-%u -p tcp -m tcp -j DNAT --to-destination %s%s%s:8080\n", n, f ? "[" : "", end,
		      f ? "]" : "");
	if (i >= LOCAL_SERVICES)
		return;
	strbuf_printf(out, "-A KUBE-NODEPORTS -p tcp -m tcp --dport %u -j KUBE-EXL-%u\n", 30090 + n, n);
	strbuf_printf(out, "-A KUBE-EXL-%u -i bth+ -j KUBE-SVC-%u\n", n, n);
	strbuf_printf(out,
		      "-A KUBE-EXL-%u -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ\n"
		      "-A KUBE-EXL-%u -m addrtype --src-type LOCAL -j KUBE-SVC-%u\n"
		      "-A KUBE-EXL-%u -j KUBE-SEP-%u\n",
		      n, n, n, n, n);
}

static inline void iptables_rules(struct strbuf *out, unsigned f)
{
	strbuf_add(out, "*filter\n:KUBE-FORWARD - [0:0]\n-A FORWARD -j KUBE-FORWARD\n"
			"-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n"
			"-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT\n"
			"-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n"
			"*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-NODEPORTS - [0:0]\n:KUBE-POSTROUTING - [0:0]\n"
			":KUBE-MARK-MASQ - [0:0]\n");
	for (unsigned n = 1; n <= SERVICES; n++)
		strbuf_printf(out,
			      ":KUBE-SVC-%u - [0:0]\n:KUBE-SEP-%u - [0:0]\n:KUBE-EXT-%u - [0:0]\n"
			      ":KUBE-EXL-%u - [0:0]\n",
			      n, n, n, n);
	strbuf_add(out, "-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n"
			"-A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n"
			"-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING\n"
			"-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000\n"
			"-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n"
			"-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000\n"
			"-A KUBE-POSTROUTING -j MASQUERADE --random-fully\n");
	for (unsigned i = 0; i < SERVICES; i++)
		iptables_service(out, f, i);
	strbuf_add(out, "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\nCOMMIT\n");
}

/* ---- nft ---- */

static inline void nft_service(struct strbuf *out, unsigned f, unsigned i)
{
	const char *ip = f ? "ip6" : "ip", *end = endpoints[f][i];
	unsigned n = i + 1;

	strbuf_printf(
		out,
		" chain endpoint-%u { %s saddr %s jump mark-for-masquerade; meta l4proto tcp dnat to %s%s%s:8080; }\n",
		n, ip, end, f ? "[" : "", end, f ? "]" : "");
	strbuf_printf(out, " chain service-%u { goto endpoint-%u; }\n", n, n);
	strbuf_printf(out, " chain external-%u { jump mark-for-masquerade; goto service-%u; }\n", n, n);
	strbuf_printf(
		out,
		" chain local-%u { iifname \"bth*\" goto service-%u; fib saddr type local jump mark-for-masquerade; "
		"fib saddr type local goto service-%u; goto endpoint-%u; }\n",
		n, n, n, n);
}

static inline void nft_rules(struct strbuf *out, unsigned f)
{
	const char *ip = f ? "ip6" : "ip";

	strbuf_printf(out, "table %s kube-proxy {\n chain mark-for-masquerade { meta mark set meta mark or 0x4000; }\n",
		      ip);
	strbuf_add(out, " chain masquerading { meta mark and 0x4000 == 0 return; meta mark set meta mark xor 0x4000; "
			"masquerade fully-random; }\n");
	for (unsigned i = 0; i < SERVICES; i++)
		nft_service(out, f, i);
	strbuf_printf(out, " map service-ips { type ipv%s_addr . inet_proto . inet_service : verdict; elements = {",
		      f ? "6" : "4");
	for (unsigned i = 0; i < SERVICES; i++)
		strbuf_printf(out, " %s . tcp . 80 : goto service-%u,", cluster_ips[f][i], i + 1);
	strbuf_add(out, " } }\n map service-nodeports { type inet_proto . inet_service : verdict; elements = {");
	for (unsigned n = 1; n <= SERVICES; n++)
		strbuf_printf(out, " tcp . %u : goto external-%u,", 30080 + n, n);
	for (unsigned n = 1; n <= LOCAL_SERVICES; n++)
		strbuf_printf(out, " tcp . %u : goto local-%u,", 30090 + n, n);
	strbuf_printf(out,
		      " } }\n chain services { %s daddr . meta l4proto . th dport vmap @service-ips; "
		      "fib daddr type local meta l4proto . th dport vmap @service-nodeports; }\n",
		      ip);
	strbuf_add(out,
		   " chain filter-forward { type filter hook forward priority -110; ct state invalid drop; }\n"
		   " chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }\n"
		   " chain nat-output { type nat hook output priority -100; jump services; }\n"
		   " chain nat-postrouting { type nat hook postrouting priority srcnat; jump masquerading; }\n}\n");
}

/* ---- on a node ---- */

#define NO_NFT_RULES                                                                                                   \
	"table ip kube-proxy {}\ndelete table ip kube-proxy\ntable ip6 kube-proxy {}\ndelete table ip6 kube-proxy\n"   \
	"table ip kp {}\ndelete table ip kp\ntable ip6 kp {}\ndelete table ip6 kp\n"
#define NO_IPTABLES_RULES "*filter\nCOMMIT\n*nat\nCOMMIT\n"

static const char *const restore_programs[2][IP_FAMILIES] = {
	{ "iptables-legacy-restore", "ip6tables-legacy-restore" },
	{ "iptables-nft-restore", "ip6tables-nft-restore" },
};

/* The rules of @proxy and of no other one. Return: 0, or -1 with what this machine lacks. */
static inline int set_proxy(enum place node, enum proxy proxy, struct err *err)
{
	_cleanup_strbuf_ struct strbuf batch = { 0 };

	strbuf_add(&batch, NO_NFT_RULES);
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		for (unsigned p = IPTABLES_LEGACY; p <= IPTABLES_NFT; p++) {
			_cleanup_strbuf_ struct strbuf rules = { 0 };
			struct tool tool = { .name = restore_programs[p][f], .input = NO_IPTABLES_RULES };
			struct err why;

			if (p == (unsigned)proxy) {
				iptables_rules(&rules, f);
				tool.input = rules.text;
			}
			/* what is not there has no rules either */
			if (netns_run(world.fd[node], run_tool, &tool, &why) < 0 && p == (unsigned)proxy) {
				*err = why;
				return -1;
			}
		}
		if (proxy == NFTABLES)
			nft_rules(&batch, f);
	}
	nft(node, batch.text);
	return 0;
}

#endif
