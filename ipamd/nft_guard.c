/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: what pods are kept from
 *
 *   sources   prerouting -300, before conntrack (-200): what comes from a pod's host end under an address that does not
 *             lead back to that host end is dropped and counted. The address of a pod is the route `ADDR dev bthX` in
 *             table local, so that a lookup bound to the link finds it there and nothing else anywhere: a strict check
 *             in both families, whatever rp_filter says, and without anything per pod. A pod that may set its own
 *             addresses (NET_ADMIN) gains nothing by it.
 *   guard     forward 0: behind every DNAT, so that a metadata proxy on this node, which is reached under the metadata
 *             service's address, goes on working. What is bound for a guarded address of the cloud's is refused, unless
 *             it comes from a pod of a namespace that may ask.
 *
 * A TCP connection is refused by a reset: ICMP errors are limited to one a second for each pod (icmp_ratelimit), and
 * SDKs, which try a chain of sources for credentials, would then wait for timeouts.
 */
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "ipamd/hostnet.h"
#include "ipamd/nft_impl.h"

/* ---- sources ---- */

/* The lookup finds 0.0.0.0 good where the destination is broadcast or multicast, as a DHCP client's must be. */
static void render_sources(const struct nft_input *input, struct strbuf *out)
{
	strbuf_add(out, "\tcounter spoofed {\n\t}\n\tchain source {\n"
			"\t\tfib saddr . iif oif missing counter name \"spoofed\" drop\n"
			"\t\tip saddr 0.0.0.0 counter name \"spoofed\" drop\n\t}\n"
			"\tchain sources {\n\t\ttype filter hook prerouting priority -300; policy accept;\n");
	nft_from_pods(input, "goto source", out);
	strbuf_add(out, "\t}\n");
}

/* ---- metadata ---- */

static int compare_addrs(const void *a, const void *b)
{
	return ipaddr_cmp(a, b);
}

static void render_allowed(const struct nft_input *input, enum ip_family family, struct strbuf *out)
{
	_cleanup_free_ struct ipaddr *addrs = calloc((size_t)input->metadata_allowed_count + 1, sizeof(*addrs));
	const char *before = "\t\telements = {\n";
	char text[IPADDR_STRLEN];

	if (!addrs) {
		out->failed = true;
		return;
	}
	memcpy(addrs, input->metadata_allowed, input->metadata_allowed_count * sizeof(*addrs));
	qsort(addrs, input->metadata_allowed_count, sizeof(*addrs), compare_addrs);
	strbuf_printf(out, "\tset metadata%s {\n\t\ttype %s\n", family == IP_V6 ? "_v6" : "",
		      family == IP_V6 ? "ipv6_addr" : "ipv4_addr");
	for (unsigned i = 0; i < input->metadata_allowed_count; i++) {
		if (addrs[i].family != family)
			continue;
		strbuf_printf(out, "%s\t\t\t%s", before, ipaddr_str(&addrs[i], text));
		before = ",\n";
	}
	strbuf_add(out, *before == ',' ? "\n\t\t}\n\t}\n" : "\t}\n");
}

static void render_guarded(const struct cloud_guarded *guarded, struct strbuf *out)
{
	const char *ip = strchr(guarded->prefix, ':') ? "ip6" : "ip";

	strbuf_printf(out, "\t\t%s daddr %s", ip, guarded->prefix);
	if (guarded->port)
		strbuf_printf(out, " tcp dport %u goto refuse\n", guarded->port);
	else
		strbuf_add(out, " goto refuse_but_dns\n");
}

/* One comparison for each address; all else is for packets that are bound for one. */
static void render_metadata(const struct nft_input *input, struct strbuf *out)
{
	if (input->metadata_allowed_count) {
		render_allowed(input, IP_V4, out);
		render_allowed(input, IP_V6, out);
	}
	strbuf_add(out, "\tchain refuse {\n");
	if (input->metadata_allowed_count)
		strbuf_add(out, "\t\tip saddr @metadata return\n\t\tip6 saddr @metadata_v6 return\n");
	strbuf_add(out, "\t\tmeta l4proto tcp reject with tcp reset\n\t\treject with icmpx admin-prohibited\n\t}\n"
			"\tchain refuse_but_dns {\n\t\tmeta l4proto { tcp, udp } th dport 53 return\n"
			"\t\tgoto refuse\n\t}\n\tchain guarded {\n");
	for (const struct cloud_guarded *guarded = input->guarded; guarded->prefix; guarded++)
		render_guarded(guarded, out);
	strbuf_add(out, "\t}\n\tchain guard {\n\t\ttype filter hook forward priority 0; policy accept;\n");
	nft_from_pods(input, "goto guarded", out);
	strbuf_add(out, "\t}\n");
}

void nft_render_guards(const struct nft_input *input, struct strbuf *out)
{
	if (input->source_check)
		render_sources(input, out);
	if (input->guarded && input->guarded->prefix)
		render_metadata(input, out);
}
