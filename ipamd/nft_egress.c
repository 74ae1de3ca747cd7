/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: egress addresses in the nft table
 *
 * Only this node knows the addresses of those ranges, so nothing with one of them may be on a wire, in either direction,
 * and no pod is reached by one:
 *
 *   early   what comes from the network under one is dropped.
 *   pre     a pod's packet under one leaves by the primary NIC, whatever its flow's mark or the map of blocks say: there
 *           alone is the address that it leaves under.
 *   egress  forward -150: what is for one and no answer to a pod is dropped, from the network and from pods, also where
 *           somebody's DNAT led it there.
 *   post    such a flow leaves as the node's primary address, for whatever destination and by whatever link: also inside
 *           the cloud's network, also to a pod of this node, and also where SNAT of pods is done elsewhere.
 *   leak    postrouting 110, behind every SNAT (100): what still is under one is dropped: connection tracking calls it
 *           INVALID, or knew its flow before the table was there, and does not translate it.
 *
 * The node itself talks with its pods by any address that they have.
 */
#include <stdio.h>

#include "ipamd/hostnet.h"
#include "ipamd/nft_impl.h"

static const char *word_of(const struct nft_egress *egress)
{
	return egress->range.addr.family == IP_V6 ? "ip6" : "ip";
}

/* One line for each range: "BEFORE ip HALF RANGE AFTER". */
static void each_range(const struct nft_input *input, const char *before, const char *half, const char *after,
		       struct strbuf *out)
{
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		const struct nft_egress *egress = &input->egress[i];
		char text[PREFIX_STRLEN];

		if (egress->range.addr.family != IP_NONE)
			strbuf_printf(out, "\t\t%s%s %s %s %s\n", before, word_of(egress), half,
				      prefix_str(&egress->range, text), after);
	}
}

static bool has_ranges(const struct nft_input *input)
{
	return input->egress[0].range.addr.family != IP_NONE || input->egress[1].range.addr.family != IP_NONE;
}

void nft_egress_early(const struct nft_input *input, const struct hostnet_nic *nic, struct strbuf *out)
{
	char before[NET_IFNAME_SIZE + sizeof("iifname \"\" ")];

	(void)snprintf(before, sizeof(before), "iifname \"%s\" ", nic->ifname);
	each_range(input, before, "saddr", "drop", out);
}

void nft_egress_pin(const struct nft_input *input, const struct hostnet_nic *primary, struct strbuf *out)
{
	char pin[32];

	if (!primary)
		return;
	(void)snprintf(pin, sizeof(pin), "goto nic%u", primary->slot);
	each_range(input, "", "saddr", pin, out);
}

void nft_egress_post(const struct nft_input *input, struct strbuf *out)
{
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		const struct nft_egress *egress = &input->egress[i];
		char range[PREFIX_STRLEN], to[IPADDR_STRLEN];

		if (egress->range.addr.family != IP_NONE && egress->to.family != IP_NONE)
			strbuf_printf(out, "\t\t%s saddr %s snat %s to %s fully-random\n", word_of(egress),
				      prefix_str(&egress->range, range), word_of(egress), ipaddr_str(&egress->to, to));
	}
}

void nft_egress_chains(const struct nft_input *input, struct strbuf *out)
{
	if (!has_ranges(input))
		return;
	strbuf_add(out, "\tchain egress {\n\t\ttype filter hook forward priority -150; policy accept;\n");
	each_range(input, "ct direction reply ", "daddr", "accept", out);
	each_range(input, "", "daddr", "drop", out);
	strbuf_add(out, "\t}\n\tchain leak {\n\t\ttype filter hook postrouting priority 110; policy accept;\n");
	each_range(input, "", "saddr", "drop", out);
	strbuf_add(out, "\t}\n");
}
