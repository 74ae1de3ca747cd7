/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the matrix
 *
 * A row is a path that a pod network promises, a column is what else is on the node: kube-proxy with one of three sets
 * of rules, and rp_filter of a distribution that likes 0, 1 or 2 for all links. A cell is held by TCP connections of
 * both families; the server says whom it sees, so that it shows too whose address the path keeps and whose it changes.
 *
 * p1 is a pod on the primary NIC, p2 one on the secondary NIC, p3 one of the other node (node_world.h, matrix_proxy.h).
 * The fabric drops a source on every NIC but its own, so what comes through has left by the right one. Beside ext, the
 * internet, there is a peered network, 192.0.2.0/24, which takes pods under their own addresses (snatExclude); both may
 * call the VPC, as a load balancer does. "By the primary NIC": the fabric brings PORT_DETOUR of p2 to the wrong one.
 */
#include "tests/net/matrix_probe.h"
#include "tests/net/matrix_proxy.h"

#define COLUMNS      (PROXIES * 3U)
#define PROBES       (ARRAY_SIZE(paths) * IP_FAMILIES)
#define LOST_US      (400 * USEC_PER_MSEC) /* for what shall be lost; all that passes takes a tenth of it */
#define PEER4        "192.0.2.9"
#define PEER6        "2001:db8:fffe::9"
#define DETOUR_TABLE 100U
#define DETOUR_MARK  0x100U
#define SOME_NODE    "*" /* seen under an address of the node: which one does not matter */

struct path {
	const char *name;
	enum place from;
	const char *addrs[IP_FAMILIES];
	uint16_t port;
	enum place at;                 /* who shall answer */
	const char *seen[IP_FAMILIES]; /* whom it shall see */
};

#define TO(x)                                                                                                          \
	{                                                                                                              \
		x##_4, x##_6                                                                                           \
	}
#define SEES(x)                                                                                                        \
	{                                                                                                              \
		x##_4, x##_6                                                                                           \
	}
#define A_NODE                                                                                                         \
	{                                                                                                              \
		SOME_NODE, SOME_NODE                                                                                   \
	}
#define SVC(n)                                                                                                         \
	{                                                                                                              \
		"172.20.0.1" #n, "fd00:20::1" #n                                                                       \
	}
#define PEER                                                                                                           \
	{                                                                                                              \
		PEER4, PEER6                                                                                           \
	}

/* Rows of one name are one row of the table. */
static const struct path paths[] = {
	{ "pod -> primary pod, same node", P2, TO(P1), PORT, P1, SEES(P2) },
	{ "pod -> secondary pod, same node", P1, TO(P2), PORT, P2, SEES(P1) },
	{ "pod of another node -> primary pod", P3, TO(P1), PORT, P1, SEES(P3) },
	{ "pod of another node -> secondary pod", P3, TO(P2), PORT, P2, SEES(P3) },
	{ "primary pod -> pod of another node", P1, TO(P3), PORT, P3, SEES(P1) },
	{ "secondary pod -> pod of another node", P2, TO(P3), PORT, P3, SEES(P2) },

	{ "node (kubelet) -> primary pod", NA, TO(P1), PORT, P1, A_NODE },
	{ "node (kubelet) -> secondary pod", NA, TO(P2), PORT, P2, A_NODE },
	{ "other node -> primary pod", NB, TO(P1), PORT, P1, SEES(NB) },
	{ "other node -> secondary pod", NB, TO(P2), PORT, P2, SEES(NB) },
	{ "primary pod -> nodes", P1, TO(NA), PORT, NA, SEES(P1) },
	{ "primary pod -> nodes", P1, TO(NB), PORT, NB, SEES(P1) },
	{ "secondary pod -> nodes", P2, TO(NA), PORT, NA, SEES(P2) },
	{ "secondary pod -> nodes", P2, TO(NS), PORT, NA, SEES(P2) },
	{ "secondary pod -> nodes", P2, TO(NB), PORT, NB, SEES(P2) },

	{ "NodePort Local, VPC -> primary pod", NB, TO(NA), 30091, P1, SEES(NB) },
	{ "NodePort Local, VPC -> primary pod", P3, TO(NA), 30091, P1, SEES(P3) },
	{ "NodePort Local, VPC -> secondary pod", NB, TO(NA), 30092, P2, SEES(NB) },
	{ "NodePort Local, VPC -> secondary pod", P3, TO(NA), 30092, P2, SEES(P3) },
	{ "NodePort Local, outside -> primary pod", EXT, TO(NA), 30091, P1, SEES(EX) },
	{ "NodePort Local, outside -> secondary pod", EXT, TO(NA), 30092, P2, SEES(EX) },
	{ "NodePort Cluster, VPC -> primary pod", NB, TO(NA), 30081, P1, A_NODE },
	{ "NodePort Cluster, VPC -> secondary pod", NB, TO(NA), 30082, P2, A_NODE },
	{ "NodePort Cluster, outside -> primary pod", EXT, TO(NA), 30081, P1, A_NODE },
	{ "NodePort Cluster, outside -> secondary pod", EXT, TO(NA), 30082, P2, A_NODE },
	{ "NodePort Cluster -> pod of another node", NB, TO(NA), 30084, P3, A_NODE },
	{ "NodePort Cluster -> pod of another node", EXT, TO(NA), 30084, P3, A_NODE },
	{ "NodePort Local of eth1 -> primary pod", NB, TO(NS), 30091, P1, SEES(NB) },
	{ "NodePort Local of eth1 -> primary pod", EXT, TO(NS), 30091, P1, SEES(EX) },
	{ "NodePort Local of eth1 -> secondary pod", NB, TO(NS), 30092, P2, SEES(NB) },
	{ "NodePort Local of eth1 -> secondary pod", EXT, TO(NS), 30092, P2, SEES(EX) },
	{ "NodePort Cluster of eth1 -> primary pod", NB, TO(NS), 30081, P1, A_NODE },
	{ "NodePort Cluster of eth1 -> secondary pod", NB, TO(NS), 30082, P2, A_NODE },
	{ "NodePort Cluster of eth1 -> another node", NB, TO(NS), 30084, P3, A_NODE },
	{ "NodePort Cluster of eth1 -> another node", EXT, TO(NS), 30084, P3, A_NODE },
	{ "NodePort -> hostNetwork pod", NB, TO(NA), 30083, NA, SEES(NB) },
	{ "NodePort -> hostNetwork pod", EXT, TO(NA), 30093, NA, SEES(EX) },
	{ "NodePort of eth1 -> hostNetwork pod", NB, TO(NS), 30083, NA, SEES(NB) },
	{ "NodePort of eth1 -> hostNetwork pod", EXT, TO(NS), 30093, NA, SEES(EX) },
	{ "NodePort of the own node, from a pod", P1, TO(NA), 30082, P2, A_NODE },
	{ "NodePort of the own node, from a pod", P2, TO(NA), 30081, P1, A_NODE },
	{ "NodePort of the own node, from a pod", P2, TO(NA), 30092, P2, A_NODE },
	{ "NodePort of the own node, from a pod", P2, TO(NA), 30084, P3, A_NODE },

	{ "ClusterIP -> primary pod", P2, SVC(1), 80, P1, SEES(P2) },
	{ "ClusterIP -> primary pod", P3, SVC(1), 80, P1, SEES(P3) },
	{ "ClusterIP -> secondary pod", P1, SVC(2), 80, P2, SEES(P1) },
	{ "ClusterIP -> secondary pod", P3, SVC(2), 80, P2, SEES(P3) },
	{ "ClusterIP, primary pod -> another node", P1, SVC(4), 80, P3, SEES(P1) },
	{ "ClusterIP, secondary pod -> another node", P2, SVC(4), 80, P3, SEES(P2) },
	{ "ClusterIP -> the pod itself", P1, SVC(1), 80, P1, A_NODE },
	{ "ClusterIP -> the pod itself", P2, SVC(2), 80, P2, A_NODE },
	{ "ClusterIP -> hostNetwork pod", P1, SVC(3), 80, NA, SEES(P1) },
	{ "ClusterIP -> hostNetwork pod", P2, SVC(3), 80, NA, SEES(P2) },
	{ "ClusterIP -> hostNetwork pod", P3, SVC(3), 80, NA, SEES(P3) },
	{ "ClusterIP from the node", NA, SVC(1), 80, P1, A_NODE },
	{ "ClusterIP from the node", NA, SVC(2), 80, P2, A_NODE },
	{ "ClusterIP from the node", NA, SVC(4), 80, P3, A_NODE },

	{ "load balancer -> primary pod", EXT, TO(P1), PORT, P1, SEES(EX) },
	{ "load balancer -> secondary pod, by its NIC", EXT, TO(P2), PORT, P2, SEES(EX) },
	{ "load balancer -> secondary pod, by primary", EXT, TO(P2), PORT_DETOUR, P2, SEES(EX) },
	{ "load balancer -> secondary pod, by primary", NB, TO(P2), PORT_DETOUR, P2, SEES(NB) },
	{ "primary pod -> peered network, no SNAT", P1, PEER, PORT, EXT, SEES(P1) },
	{ "secondary pod -> peered network, no SNAT", P2, PEER, PORT, EXT, SEES(P2) },
	{ "primary pod -> internet, as the node", P1, TO(EX), PORT, EXT, { "198.51.100.77", P1_6 } },
	{ "secondary pod -> internet, as the node", P2, TO(EX), PORT, EXT, { "198.51.100.77", P2_6 } },
};

enum cell { CELL_OK, CELL_FAIL, CELL_SKIP };
static const char *const cell_names[] = { "ok", "FAIL", "skip" };
static const char *const family_names[IP_FAMILIES] = { "IPv4", "IPv6" };

static enum cell table[ARRAY_SIZE(paths)][COLUMNS];
static char skip_reasons[PROXIES][160];

/* Behind the last of the paths that are one row. */
static unsigned row_end(unsigned i)
{
	const char *name = paths[i].name;

	while (i < ARRAY_SIZE(paths) && strcmp(paths[i].name, name) == 0)
		i++;
	return i;
}

/* ---- the fabric ---- */

/* What the node_world has not: a peered network, callers from outside, and the detour. */
static void extend_fabric(void)
{
	static const char *const nics[IP_FAMILIES] = { NA_4, NA_6 }, *const pods[IP_FAMILIES] = { P2_4, P2_6 };

	add_addr(EXT, "lo", PEER4, 32); /* not on eth0, where it would be a source like the other one */
	add_addr(EXT, "lo", PEER6, 128);
	add_route(VPC, "192.0.2.0/24", EX_4, "x1", 0, false);
	add_route(VPC, PEER6 "/128", EX_6, "x1", 0, false);
	add_route(EXT, "10.0.0.0/16", "198.51.100.1", "eth0", 0, false);
	nft(VPC, "flush chain ip igw f\nflush chain ip igw p\n"
		 "add rule ip igw f ct state established,related accept\n"
		 "add rule ip igw f oifname \"x1\" ip daddr 192.0.2.0/24 accept\n"
		 "add rule ip igw f oifname \"x1\" ip saddr != 10.0.0.10 drop\n"
		 "add rule ip igw p oifname \"x1\" ip daddr != 192.0.2.0/24 snat ip to 198.51.100.77\n"
		 "table inet detour {\n chain p { type filter hook prerouting priority -150;\n"
		 "  iifname { \"x1\", \"b1\" } tcp dport 8081 meta mark set 0x100\n }\n}\n");
	for (unsigned f = 0; f < IP_FAMILIES; f++) {
		struct net_rule rule = { .family = ip_family_at(f),
					 .priority = 100,
					 .fwmark = DETOUR_MARK,
					 .fwmask = DETOUR_MARK,
					 .table = DETOUR_TABLE,
					 .protocol = RTPROT_STATIC };

		must(net_rule_add(world.net[VPC], &rule, &oops));
		add_route(VPC, pods[f], nics[f], "a1", DETOUR_TABLE, true);
	}
}

static int setup_matrix(void **state)
{
	if (setup_world(state) < 0)
		return -1;
	extend_fabric();
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		for (unsigned c = 0; c < COLUMNS; c++)
			table[i][c] = CELL_SKIP;
	}
	return 0;
}

/* ---- a column ---- */

/* As a distribution sets it before berth starts: for all links and for each. */
static void set_rp_filter(const char *value)
{
	static const char *const links[] = { "all", "default", "eth0", "eth1", "bth00000000001", "bth00000000002" };
	char key[96];

	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		(void)snprintf(key, sizeof(key), "net/ipv4/conf/%s/rp_filter", links[i]);
		sysctl(NA, key, value);
	}
}

static bool holds(const struct path *path, unsigned f, const char *said)
{
	const char *who = place_names[path->at];
	size_t len = strlen(who);

	if (strncmp(said, who, len) != 0 || said[len] != ' ')
		return false;
	said += len + 1;
	if (strcmp(path->seen[f], SOME_NODE) != 0)
		return strcmp(said, path->seen[f]) == 0;
	return strcmp(said, f ? NA_6 : NA_4) == 0 || strcmp(said, f ? NS_6 : NS_4) == 0;
}

static void note(unsigned column, const struct probe *probes)
{
	unsigned failures = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
		table[i][column] = CELL_OK;
		for (unsigned f = 0; f < IP_FAMILIES; f++) {
			const struct probe *p = &probes[i * IP_FAMILIES + f];

			if (holds(&paths[i], f, p->said))
				continue;
			print_message("# %s: %s, %s:%u from %s: \"%s\" instead of \"%s %s\"\n", family_names[f],
				      paths[i].name, p->addr, p->port, place_names[p->from], p->said,
				      place_names[paths[i].at], paths[i].seen[f]);
			table[i][column] = CELL_FAIL;
			failures++;
		}
	}
	if (failures > 0)
		fail_msg("%u connections are not as they shall be", failures);
}

static void fill_probes(struct probe probes[static PROBES])
{
	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
		for (unsigned f = 0; f < IP_FAMILIES; f++)
			probes[i * IP_FAMILIES + f] = (struct probe){ .from = paths[i].from,
								      .addr = paths[i].addrs[f],
								      .port = paths[i].port };
	}
}

static void test_matrix(void **state)
{
	static const char *const rp_filters[] = { "0", "1", "2" };
	unsigned column = *(const unsigned *)*state;
	enum proxy proxy = (enum proxy)(column / 3);
	struct probe probes[PROBES];
	struct err err;

	if (set_proxy(NA, proxy, &err) < 0 || set_proxy(NB, proxy, &err) < 0) {
		(void)str_copy(skip_reasons[proxy], sizeof(skip_reasons[proxy]), err.msg);
		skip();
	}
	set_rp_filter(rp_filters[column % 3]);
	restore(NULL);
	fill_probes(probes);
	run_probes(probes, PROBES, 2, PROBE_US);
	note(column, probes);
}

/* ---- every part is needed, and by what ---- */

struct part {
	const char *without;   /* a batch that takes the part away */
	const char *rp_filter; /* of all links from then on; NULL: as sync made it */
	const char *rows[16];  /* of the table; those that then do not hold */
};

static const struct part early_chain = {
	.without = "flush chain inet berth early\n",
	.rows = { "NodePort Local, VPC -> secondary pod", "NodePort Local, outside -> secondary pod",
		  "NodePort Cluster, VPC -> secondary pod", "NodePort Cluster, outside -> secondary pod",
		  "NodePort Local of eth1 -> primary pod", "NodePort Cluster of eth1 -> primary pod",
		  "NodePort Cluster of eth1 -> another node", "NodePort of eth1 -> hostNetwork pod" },
};
static const struct part answers_of_others = {
	.without = "flush chain inet berth pre\nadd rule inet berth pre iifname \"bth*\" goto frompod\n",
	.rows = { "NodePort Cluster of eth1 -> another node" },
};
static const struct part own_chain = {
	.without = "flush chain inet berth own\n",
	.rows = { "NodePort of eth1 -> hostNetwork pod" },
};
static const struct part frompod_chain = {
	.without = "flush chain inet berth frompod\n",
	.rows = { "pod of another node -> secondary pod", "secondary pod -> pod of another node",
		  "other node -> secondary pod", "secondary pod -> nodes", "NodePort Local of eth1 -> primary pod",
		  "NodePort Local of eth1 -> secondary pod", "NodePort Cluster of eth1 -> primary pod",
		  "NodePort Cluster of eth1 -> secondary pod", "ClusterIP -> secondary pod",
		  "ClusterIP, secondary pod -> another node", "load balancer -> secondary pod, by its NIC",
		  "load balancer -> secondary pod, by primary", "secondary pod -> peered network, no SNAT",
		  "secondary pod -> internet, as the node" },
};
static const struct part masquerade = {
	.without = "flush chain inet berth post\n",
	.rows = { "primary pod -> internet, as the node", "secondary pod -> internet, as the node" },
};
static const struct part loose_rp_filter = {
	.without = "",
	.rp_filter = "1",
	.rows = { "pod of another node -> secondary pod", "secondary pod -> pod of another node",
		  "other node -> secondary pod", "secondary pod -> nodes", "NodePort Local of eth1 -> primary pod",
		  "NodePort Local of eth1 -> secondary pod", "NodePort Cluster of eth1 -> primary pod",
		  "NodePort Cluster of eth1 -> secondary pod", "NodePort Cluster of eth1 -> another node",
		  "NodePort of eth1 -> hostNetwork pod", "NodePort of the own node, from a pod",
		  "ClusterIP -> secondary pod", "ClusterIP, secondary pod -> another node",
		  "load balancer -> secondary pod, by its NIC", "secondary pod -> peered network, no SNAT" },
};

static bool is_named(const struct part *part, const char *row)
{
	for (size_t i = 0; i < ARRAY_SIZE(part->rows) && part->rows[i]; i++) {
		if (strcmp(part->rows[i], row) == 0)
			return true;
	}
	return false;
}

static bool row_holds(unsigned from, unsigned to, const struct probe *probes)
{
	for (unsigned i = from; i < to; i++) {
		if (!holds(&paths[i], 0, probes[i * IP_FAMILIES].said) ||
		    !holds(&paths[i], 1, probes[i * IP_FAMILIES + 1].said))
			return false;
	}
	return true;
}

static void test_matrix_without(void **state)
{
	const struct part *part = *state;
	struct probe probes[PROBES];
	unsigned wrong = 0;

	must(set_proxy(NA, NFTABLES, &oops));
	must(set_proxy(NB, NFTABLES, &oops));
	restore(NULL);
	nft(NA, part->without);
	if (part->rp_filter)
		set_rp_filter(part->rp_filter);
	fill_probes(probes);
	run_probes(probes, PROBES, 1, LOST_US);
	for (unsigned i = 0, next; i < ARRAY_SIZE(paths); i = next) {
		bool ok;

		next = row_end(i);
		ok = row_holds(i, next, probes);
		if (ok != is_named(part, paths[i].name))
			continue;
		print_message("# %s: %s\n", ok ? "holds" : "does not hold", paths[i].name);
		wrong++;
	}
	if (wrong > 0)
		fail_msg("%u rows are not as they shall be", wrong);
}

/* ---- the table ---- */

static enum cell worst(unsigned from, unsigned to, unsigned column)
{
	enum cell cell = table[from][column];

	for (unsigned i = from; i < to; i++)
		cell = table[i][column] == CELL_FAIL ? CELL_FAIL : cell;
	return cell;
}

static void print_table(void)
{
	print_message("# %-44s", "rp_filter 0, 1, 2 beside");
	for (unsigned p = 0; p < PROXIES; p++)
		print_message(" %-15s", proxy_names[p]);
	print_message("\n");
	for (unsigned i = 0, next; i < ARRAY_SIZE(paths); i = next) {
		next = row_end(i);
		print_message("# %-44s", paths[i].name);
		for (unsigned c = 0; c < COLUMNS; c++)
			print_message(" %-4s%s", cell_names[worst(i, next, c)], c % 3 == 2 ? " " : "");
		print_message("\n");
	}
	for (unsigned p = 0; p < PROXIES; p++) {
		if (skip_reasons[p][0])
			print_message("# %s skipped: %s\n", proxy_names[p], skip_reasons[p]);
	}
}

static int teardown_matrix(void **state)
{
	print_table();
	return teardown_world(state);
}

#define WITHOUT(part, rule)                                                                                            \
	{                                                                                                              \
		"test_matrix__without_the_" #part rule, test_matrix_without, NULL, NULL, (void *)(uintptr_t) & (part)  \
	}
#define COLUMN(n, title)                                                                                               \
	{                                                                                                              \
		"test_matrix__" title "__aws_40_36__aws_40_38__aws_40_40__rule_9", test_matrix, NULL, NULL,            \
			&columns[n]                                                                                    \
	}

int main(void)
{
	static unsigned columns[COLUMNS] = { 0, 1, 2, 3, 4, 5, 6, 7, 8 };
	const struct CMUnitTest tests[] = {
		COLUMN(0, "iptables_legacy_rp_filter_0"), COLUMN(1, "iptables_legacy_rp_filter_1"),
		COLUMN(2, "iptables_legacy_rp_filter_2"), COLUMN(3, "iptables_nft_rp_filter_0"),
		COLUMN(4, "iptables_nft_rp_filter_1"),    COLUMN(5, "iptables_nft_rp_filter_2"),
		COLUMN(6, "nftables_rp_filter_0"),        COLUMN(7, "nftables_rp_filter_1"),
		COLUMN(8, "nftables_rp_filter_2"),        WITHOUT(early_chain, "__rule_9"),
		WITHOUT(answers_of_others, "__rule_9"),   WITHOUT(own_chain, "__rule_9"),
		WITHOUT(frompod_chain, "__rule_9"),       WITHOUT(masquerade, "__rule_8"),
		WITHOUT(loose_rp_filter, "__rule_4"),
	};

	return cmocka_run_group_tests_name("matrix", tests, setup_matrix, teardown_matrix);
}
