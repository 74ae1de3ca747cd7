/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: host ports
 *
 * A map for each family and shape says where a port of the node leads: (protocol, port) for any of its addresses, (address,
 * protocol, port) for one of them, which is looked at first.
 *
 *   ports_in   prerouting -95, behind kube-proxy's DNAT (-100, -110): a Service's port stays the Service's; before `pre`
 *              (-90), which then sees the pod. All chains of type nat run at -100 in this order, whatever hook they name.
 *   ports_out  output -95: the node itself, by its own addresses and 127.0.0.1.
 *   ports_back postrouting 105, behind whoever masquerades at 100: a pod that reaches itself would drop its own address
 *              as a source, and 127.0.0.1 is none that leaves the node. Both become the primary address of the node; all
 *              others keep theirs.
 *
 * Only what is bound for an address of the node is looked up: what passes through it to a port of the same number
 * elsewhere is none of ours (CVE-2025-67499), nor is what is for a Service whose address kube-proxy in IPVS mode has given
 * to the node. ::1 stays the node's: the kernel lets nothing from it out of `lo`.
 *
 * 127.0.0.1 works by the sysctl route_localnet of the pod's host end (hostnet_pod.c), and that would let the pod reach
 * what the node serves on 127.0.0.0/8 alone (CVE-2020-8558). So no pod may send to there, whether one has ports or not:
 * kube-proxy sets that sysctl for all links. Answers are not meant: their destination is the node's address until the
 * NAT of their flow is undone, behind the guard. What comes from 127.0.0.0/8 the kernel drops itself.
 */
#include <stdlib.h>

#include "berth/attr.h"
#include "ipamd/hostnet.h"
#include "ipamd/nft_impl.h"

#define LOOPBACK4 "127.0.0.1"

static bool is_any(const struct ipaddr *addr)
{
	struct ipaddr any = { .family = addr->family };

	return ipaddr_cmp(addr, &any) == 0;
}

static const char *suffix(enum ip_family family)
{
	return family == IP_V6 ? "_v6" : "";
}

static const char *type_name(enum ip_family family)
{
	return family == IP_V6 ? "ipv6_addr" : "ipv4_addr";
}

static bool has_ports(const struct nft_input *input, enum ip_family family)
{
	for (unsigned i = 0; i < input->port_count; i++) {
		if (input->ports[i].host_addr.family == family)
			return true;
	}
	return false;
}

static bool has_services(const struct nft_input *input, enum ip_family family)
{
	for (unsigned i = 0; i < input->service_count; i++) {
		if (input->services[i].family == family)
			return true;
	}
	return false;
}

/* ---- maps ---- */

static void element(const struct net_port *port, bool at, struct strbuf *out)
{
	char text[IPADDR_STRLEN];

	if (at)
		strbuf_printf(out, "%s . ", ipaddr_str(&port->host_addr, text));
	strbuf_printf(out, "%s . %u : %s . %u", runtime_protocol_name(port->protocol), port->host_port,
		      ipaddr_str(&port->to, text), port->to_port);
}

/* @at: of single addresses. */
static void render_map(const struct nft_input *input, enum ip_family family, bool at, struct strbuf *out)
{
	const char *type = type_name(family);
	bool open = false;

	strbuf_printf(out, "\tmap hostport%s%s {\n\t\ttype %s%sinet_proto . inet_service : %s . inet_service\n",
		      at ? "_at" : "", suffix(family), at ? type : "", at ? " . " : "", type);
	for (unsigned i = 0; i < input->port_count; i++) {
		const struct net_port *port = &input->ports[i];

		if (port->host_addr.family != family || is_any(&port->host_addr) == at)
			continue;
		strbuf_add(out, open ? ",\n\t\t\t" : "\t\telements = {\n\t\t\t");
		element(port, at, out);
		open = true;
	}
	strbuf_add(out, open ? "\n\t\t}\n\t}\n" : "\t}\n");
}

/* ---- whose source changes ---- */

static int compare_addrs(const void *a, const void *b)
{
	return ipaddr_cmp(a, b);
}

/* Of that family, once each. Return: owned, sorted; NULL without memory. */
static struct ipaddr *sorted_addrs(const struct ipaddr *addrs, unsigned count, size_t stride, enum ip_family family,
				   unsigned *ret_count)
{
	struct ipaddr *sorted = calloc((size_t)count + 1, sizeof(*sorted));
	unsigned found = 0, kept = 0;

	if (!sorted)
		return NULL;
	for (unsigned i = 0; i < count; i++) {
		const struct ipaddr *addr = (const struct ipaddr *)(const void *)((const char *)addrs + i * stride);

		if (addr->family == family)
			sorted[found++] = *addr;
	}
	qsort(sorted, found, sizeof(*sorted), compare_addrs);
	for (unsigned i = 0; i < found; i++) {
		if (i == 0 || !ipaddr_equal(&sorted[i], &sorted[kept - 1]))
			sorted[kept++] = sorted[i];
	}
	*ret_count = kept;
	return sorted;
}

static void render_services(const struct nft_input *input, enum ip_family family, struct strbuf *out)
{
	unsigned count = 0;
	_cleanup_free_ struct ipaddr *addrs =
		sorted_addrs(input->services, input->service_count, sizeof(*addrs), family, &count);
	char text[IPADDR_STRLEN];

	out->failed = out->failed || !addrs;
	if (!count)
		return;
	strbuf_printf(out, "\tset services%s {\n\t\ttype %s\n\t\telements = {", suffix(family), type_name(family));
	for (unsigned i = 0; i < count; i++)
		strbuf_printf(out, "%s\n\t\t\t%s", i ? "," : "", ipaddr_str(&addrs[i], text));
	strbuf_add(out, "\n\t\t}\n\t}\n");
}

static void render_sources(const struct nft_input *input, enum ip_family family, struct strbuf *out)
{
	unsigned count = 0;
	_cleanup_free_ struct ipaddr *pods = input->port_count ? sorted_addrs(&input->ports->to, input->port_count,
									      sizeof(*input->ports), family, &count)
							       : NULL;
	char text[IPADDR_STRLEN];

	if (!pods) {
		out->failed = true;
		return;
	}
	strbuf_printf(out, "\tset hostport_back%s {\n\t\ttype %s . %s\n\t\telements = {", suffix(family),
		      type_name(family), type_name(family));
	for (unsigned i = 0; i < count; i++) {
		(void)ipaddr_str(&pods[i], text);
		strbuf_printf(out, "%s\n\t\t\t%s . %s", i ? "," : "", text, text);
		if (family == IP_V4)
			strbuf_printf(out, ", " LOOPBACK4 " . %s", text);
	}
	strbuf_add(out, "\n\t\t}\n\t}\n");
}

static struct ipaddr node_addr(const struct nft_input *input, enum ip_family family)
{
	for (unsigned i = 0; i < input->nic_count; i++) {
		if (input->nics[i].primary)
			return family == IP_V6 ? input->nics[i].primary_addr6 : input->nics[i].primary_addr;
	}
	return (struct ipaddr){ 0 };
}

static void render_back(const struct nft_input *input, enum ip_family family, struct strbuf *out)
{
	const char *ip = family == IP_V6 ? "ip6" : "ip";
	struct ipaddr node = node_addr(input, family);
	char text[IPADDR_STRLEN];

	if (has_ports(input, family) && node.family == family)
		strbuf_printf(out, "\t\tct status dnat %s saddr . %s daddr @hostport_back%s snat %s to %s\n", ip, ip,
			      suffix(family), ip, ipaddr_str(&node, text));
}

/* ---- chains ---- */

static void render_dnat(const struct nft_input *input, enum ip_family family, struct strbuf *out)
{
	const char *ip = family == IP_V6 ? "ip6" : "ip";

	if (!has_ports(input, family))
		return;
	if (has_services(input, family))
		strbuf_printf(out, "\t\t%s daddr @services%s return\n", ip, suffix(family));
	strbuf_printf(out, "\t\tmeta nfproto ip%s dnat %s to %s daddr . meta l4proto . th dport map @hostport_at%s\n",
		      family == IP_V6 ? "v6" : "v4", ip, ip, suffix(family));
	strbuf_printf(out, "\t\tmeta nfproto ip%s dnat %s to meta l4proto . th dport map @hostport%s\n",
		      family == IP_V6 ? "v6" : "v4", ip, suffix(family));
}

static void render_chains(const struct nft_input *input, struct strbuf *out)
{
	strbuf_add(out, "\tchain hostport {\n");
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		render_dnat(input, ip_family_at(i), out);
	strbuf_add(out, "\t}\n"
			"\tchain ports_in {\n\t\ttype nat hook prerouting priority -95; policy accept;\n"
			"\t\tfib daddr type local jump hostport\n\t}\n"
			"\tchain ports_out {\n\t\ttype nat hook output priority -95; policy accept;\n"
			"\t\tip6 daddr ::1 return\n\t\tfib daddr type local jump hostport\n\t}\n"
			"\tchain ports_back {\n\t\ttype nat hook postrouting priority 105; policy accept;\n");
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		render_back(input, ip_family_at(i), out);
	strbuf_add(out, "\t}\n");
}

void nft_ports_guard(const struct nft_input *input, struct strbuf *out)
{
	nft_from_pods(input, "ip daddr 127.0.0.0/8 drop", out);
}

void nft_ports(const struct nft_input *input, struct strbuf *out)
{
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		enum ip_family family = ip_family_at(i);

		if (!has_ports(input, family))
			continue;
		render_map(input, family, true, out);
		render_map(input, family, false, out);
		render_sources(input, family, out);
		render_services(input, family, out);
	}
	if (input->port_count > 0)
		render_chains(input, out);
}
