/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the nft table
 *
 * One batch makes an empty table, deletes it and makes the whole: nft commits a batch as one transaction, so that
 * packets see the old table or the new one, whether there was an old one or not.
 *
 *   early  prerouting -150, behind conntrack (-200), before every DNAT (-100, kube-proxy's -110): a new flow from the
 *          network to an address of this node writes its NIC into ct mark. After a DNAT that address is gone.
 *          Before that: no pod reaches the node's 127.0.0.0/8 (nft_ports.c, which has the host ports).
 *   pre    prerouting -90, behind every DNAT: packets of pods (bth*) go to `frompod`:
 *            1. a flow that has a NIC in its ct mark stays there;
 *            2. a new flow that SNAT will give the primary address is pinned to the primary NIC, so that its later
 *               packets meet rule 1;
 *            3. else the NIC of the block that the pod's address is in.
 *          What others answer to a flow that came by a secondary NIC goes back by it: the pod of another node behind a
 *          NodePort that was asked there, whose answer comes by the primary NIC.
 *   own    output -150: the same for what the node itself answers, a hostNetwork pod behind a NodePort say, whose
 *          source is still the primary address here; and what it sends under the address of a secondary NIC leaves by
 *          that NIC: new flows, and ICMPv6 errors, which Linux 6.18 sends under the address of the NIC that a packet
 *          came by. The primary NIC is where all else goes anyway, so nothing is marked, and routed twice, for it.
 *   guards nft_guard.c: sources that are not the pod's own, the metadata service.
 *   post   postrouting 100: SNAT of pods' flows that leave by the primary NIC for addresses outside `local`.
 *
 * nft_egress.c has what there is beside that for addresses that only this node knows.
 *
 * IPv6 is the same without SNAT: an address of the cloud's network is good outside it too, and only by the NIC that it
 * is assigned to. So there is nothing to pin in rule 2, and no set of what is local.
 *
 * Chain nicN puts the NIC's number into the packet's mark. A mark cannot be copied from the connection under a mask
 * (only constants can be or-ed before kernel 6.13 and nft 1.1.2), so both lookups end in verdicts: one chain per NIC,
 * whose one rule changes our bits and no others. Marks are written the same way in ct. Needs Linux 5.7 (iifname in
 * postrouting).
 */
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "ipamd/hostnet.h"
#include "ipamd/nft_impl.h"

/* Names that nft takes literally: a quote would end the string, an asterisk at the end is a wildcard. */
static bool is_plain_name(const char *name)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.@+-";

	return name[0] && !name[strspn(name, plain)];
}

/* The NIC of @slot if it is to be rendered. */
static const struct hostnet_nic *nic_of(const struct nft_input *input, unsigned slot)
{
	for (unsigned i = 0; i < input->nic_count; i++) {
		const struct hostnet_nic *nic = &input->nics[i];

		if (nic->slot == slot && slot < hostnet_slots_max(input->mark_mask) && is_plain_name(nic->ifname))
			return nic;
	}
	return NULL;
}

static const struct hostnet_nic *primary_of(const struct nft_input *input)
{
	for (unsigned i = 0; i < input->nic_count; i++) {
		if (input->nics[i].primary)
			return nic_of(input, input->nics[i].slot);
	}
	return NULL;
}

static int compare_refs(const void *a, const void *b)
{
	return prefix_cmp(&((const struct pool_block_ref *)a)->prefix, &((const struct pool_block_ref *)b)->prefix);
}

bool nft_open_element(struct strbuf *out, const struct prefix *prefix, struct prefix *last)
{
	char text[PREFIX_STRLEN];

	if (last->addr.family && prefix_covers(last, prefix))
		return false;
	strbuf_add(out, last->addr.family ? ",\n" : "\t\telements = {\n");
	strbuf_printf(out, "\t\t\t%s", prefix_str(prefix, text));
	*last = *prefix;
	return true;
}

void nft_close_elements(struct strbuf *out, const struct prefix *last)
{
	if (last->addr.family)
		strbuf_add(out, "\n\t\t}\n");
	strbuf_add(out, "\t}\n");
}

/* Sorts copies of what is rendered, so that equal input in another order is equal text. Return: owned; NULL = no
 * memory. */
static struct pool_block_ref *sorted_refs(const struct pool_block_ref *refs, unsigned count)
{
	struct pool_block_ref *copy = calloc((size_t)count + 1, sizeof(*copy));

	if (!copy)
		return NULL;
	if (count > 0) {
		memcpy(copy, refs, count * sizeof(*copy));
		qsort(copy, count, sizeof(*copy), compare_refs);
	}
	return copy;
}

/* Maps and sets have one type: one map for each family. */
static void render_nic_map(const struct nft_input *input, enum ip_family family, struct strbuf *out)
{
	_cleanup_free_ struct pool_block_ref *refs = sorted_refs(input->blocks, input->block_count);
	struct prefix last = { 0 };

	if (!refs) {
		out->failed = true;
		return;
	}
	strbuf_printf(out, "\tmap nic%s {\n\t\ttype %s : verdict\n\t\tflags interval\n", family == IP_V6 ? "_v6" : "",
		      family == IP_V6 ? "ipv6_addr" : "ipv4_addr");
	for (unsigned i = 0; i < input->block_count; i++) {
		const struct hostnet_nic *nic = nic_of(input, refs[i].slot);

		if (nic && !nic->primary && refs[i].prefix.addr.family == family &&
		    nft_open_element(out, &refs[i].prefix, &last))
			strbuf_printf(out, " : goto nic%u", nic->slot);
	}
	nft_close_elements(out, &last);
}

static void render_local_set(const struct nft_input *input, struct strbuf *out)
{
	_cleanup_free_ struct pool_block_ref *refs = calloc((size_t)input->local_count + 1, sizeof(*refs));
	struct prefix last = { 0 };

	if (!refs) {
		out->failed = true;
		return;
	}
	for (unsigned i = 0; i < input->local_count; i++)
		refs[i].prefix = input->local_prefixes[i];
	qsort(refs, input->local_count, sizeof(*refs), compare_refs);
	strbuf_add(out, "\tset local {\n\t\ttype ipv4_addr\n\t\tflags interval\n");
	for (unsigned i = 0; i < input->local_count; i++) {
		if (refs[i].prefix.addr.family == IP_V4)
			(void)nft_open_element(out, &refs[i].prefix, &last);
	}
	nft_close_elements(out, &last);
}

/* fn for each NIC that is rendered, in slot order. */
static void each_nic(const struct nft_input *input, struct strbuf *out,
		     void (*fn)(const struct nft_input *input, const struct hostnet_nic *nic, struct strbuf *out))
{
	for (unsigned slot = 0; slot < hostnet_slots_max(input->mark_mask) && slot < CLOUD_NICS_MAX; slot++) {
		const struct hostnet_nic *nic = nic_of(input, slot);

		if (nic)
			fn(input, nic, out);
	}
}

static void render_nic_chain(const struct nft_input *input, const struct hostnet_nic *nic, struct strbuf *out)
{
	strbuf_printf(out, "\tchain nic%u {\n\t\tmeta mark set meta mark and 0x%08x or 0x%08x\n\t}\n", nic->slot,
		      ~input->mark_mask, hostnet_mark(input->mark_mask, nic->slot));
}

static void render_early(const struct nft_input *input, const struct hostnet_nic *nic, struct strbuf *out)
{
	nft_egress_early(input, nic, out);
	strbuf_printf(out,
		      "\t\tiifname \"%s\" ct state new fib daddr type local ct mark set ct mark and 0x%08x or 0x%08x\n",
		      nic->ifname, ~input->mark_mask, hostnet_mark(input->mark_mask, nic->slot));
}

static void render_vmap_entry(const struct nft_input *input, const struct hostnet_nic *nic, struct strbuf *out)
{
	strbuf_printf(out, " 0x%08x : goto nic%u,", hostnet_mark(input->mark_mask, nic->slot), nic->slot);
}

static bool has_secondary(const struct nft_input *input)
{
	for (unsigned i = 0; i < input->nic_count; i++) {
		if (!input->nics[i].primary && nic_of(input, input->nics[i].slot))
			return true;
	}
	return false;
}

static void render_secondary_entry(const struct nft_input *input, const struct hostnet_nic *nic, struct strbuf *out)
{
	if (!nic->primary)
		render_vmap_entry(input, nic, out);
}

/* Answers to a flow that came by a secondary NIC, whoever gives them. */
static void render_answers(const struct nft_input *input, struct strbuf *out)
{
	if (!has_secondary(input))
		return;
	strbuf_printf(out, "\t\tct direction reply ct mark and 0x%08x vmap {", input->mark_mask);
	each_nic(input, out, render_secondary_entry);
	strbuf_add(out, " }\n");
}

static void render_frompod(const struct nft_input *input, const struct hostnet_nic *primary, struct strbuf *out)
{
	strbuf_add(out, "\tchain frompod {\n");
	nft_egress_pin(input, primary, out);
	/* nft takes a comma behind the last entry, and refuses a map without any. */
	if (primary) {
		strbuf_printf(out, "\t\tct mark and 0x%08x vmap {", input->mark_mask);
		each_nic(input, out, render_vmap_entry);
		strbuf_add(out, " }\n");
	}
	if (primary && input->snat_to.family == IP_V4)
		strbuf_printf(out,
			      "\t\tct state new ct direction original ip daddr != @local "
			      "ct mark set ct mark and 0x%08x or 0x%08x goto nic%u\n",
			      ~input->mark_mask, hostnet_mark(input->mark_mask, primary->slot), primary->slot);
	strbuf_add(out, "\t\tip saddr vmap @nic\n\t\tip6 saddr vmap @nic_v6\n\t}\n");
}

static void render_own_entry(const struct nft_input *input, const struct hostnet_nic *nic, struct strbuf *out)
{
	char text[IPADDR_STRLEN];

	(void)input;
	if (!nic->primary && nic->primary_addr.family == IP_V4)
		strbuf_printf(out, "\t\tip saddr %s goto nic%u\n", ipaddr_str(&nic->primary_addr, text), nic->slot);
	if (!nic->primary && nic->primary_addr6.family == IP_V6)
		strbuf_printf(out, "\t\tip6 saddr %s goto nic%u\n", ipaddr_str(&nic->primary_addr6, text), nic->slot);
}

void nft_from_pods(const struct nft_input *input, const char *rest, struct strbuf *out)
{
	strbuf_printf(out, "\t\tiifname \"" HOSTNET_POD_LINKS "*\" %s\n", rest);
	for (unsigned i = 0; i < input->pod_link_count; i++)
		strbuf_printf(out, "\t\tiifname \"%s*\" %s\n", input->pod_links[i], rest);
}

static void render_post(const struct nft_input *input, const struct hostnet_nic *primary, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf snat = { 0 };
	char text[IPADDR_STRLEN];

	strbuf_add(out, "\tchain post {\n\t\ttype nat hook postrouting priority 100; policy accept;\n");
	nft_egress_post(input, out);
	if (primary && input->snat_to.family == IP_V4)
		strbuf_printf(&snat, "oifname \"%s\" ip daddr != @local snat ip to %s fully-random", primary->ifname,
			      ipaddr_str(&input->snat_to, text));
	out->failed = out->failed || snat.failed;
	if (snat.len)
		nft_from_pods(input, snat.text, out);
	strbuf_add(out, "\t}\n");
}

void nft_render(const struct nft_input *input, struct strbuf *out)
{
	const struct hostnet_nic *primary = primary_of(input);

	strbuf_add(out, "table inet berth {}\ndelete table inet berth\ntable inet berth {\n");
	render_nic_map(input, IP_V4, out);
	render_nic_map(input, IP_V6, out);
	render_local_set(input, out);
	each_nic(input, out, render_nic_chain);
	nft_render_guards(input, out);
	strbuf_add(out, "\tchain early {\n\t\ttype filter hook prerouting priority -150; policy accept;\n");
	nft_ports_guard(input, out);
	each_nic(input, out, render_early);
	strbuf_add(out, "\t}\n\tchain pre {\n\t\ttype filter hook prerouting priority -90; policy accept;\n");
	nft_from_pods(input, "goto frompod", out);
	render_answers(input, out);
	strbuf_add(out, "\t}\n");
	render_frompod(input, primary, out);
	strbuf_add(out, "\tchain own {\n\t\ttype route hook output priority -150; policy accept;\n");
	render_answers(input, out);
	each_nic(input, out, render_own_entry);
	strbuf_add(out, "\t}\n");
	render_post(input, primary, out);
	nft_egress_chains(input, out);
	nft_ports(input, out);
	strbuf_add(out, "}\n");
}
