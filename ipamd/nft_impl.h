/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of `table inet berth` share; nft_render.c has the table, each other nft_*.c a part of it. */
#ifndef BERTH_IPAMD_NFT_IMPL_H
#define BERTH_IPAMD_NFT_IMPL_H

#include <stdbool.h>

struct hostnet_nic;
struct nft_input;
struct prefix;
struct strbuf;

/** nft_from_pods() - a rule `iifname "bth*" REST` for each kind of name that host ends have. */
void nft_from_pods(const struct nft_input *input, const char *rest, struct strbuf *out);

/** nft_open_element() - begin one element of an interval set or map of elements that are sorted.
 *  @last: the element before, zeroed at first; what it covers is left out, since nft refuses overlaps.
 *  Return: was it begun? */
bool nft_open_element(struct strbuf *out, const struct prefix *prefix, struct prefix *last);
/** nft_close_elements() - end the set or map, with or without elements. */
void nft_close_elements(struct strbuf *out, const struct prefix *last);

/** nft_render_guards() - what pods are kept from: sources that are not theirs, the metadata service. nft_guard.c */
void nft_render_guards(const struct nft_input *input, struct strbuf *out);

/* ---- nft_egress.c: addresses that only this node knows ---- */

/** nft_egress_early() - rules of chain early for what comes by a NIC, before all others. */
void nft_egress_early(const struct nft_input *input, const struct hostnet_nic *nic, struct strbuf *out);
/** nft_egress_pin() - rules of chain frompod, before all others; @primary: NULL where its link is not there. */
void nft_egress_pin(const struct nft_input *input, const struct hostnet_nic *primary, struct strbuf *out);
/** nft_egress_post() - rules of chain post, before all others. */
void nft_egress_post(const struct nft_input *input, struct strbuf *out);
/** nft_egress_chains() - chains of its own; none where no range is in use. */
void nft_egress_chains(const struct nft_input *input, struct strbuf *out);

/* ---- host ports: nft_ports.c ---- */

/** nft_ports_guard() - rules of a chain of prerouting before any DNAT: no pod speaks with the node's loopback. */
void nft_ports_guard(const struct nft_input *input, struct strbuf *out);
/** nft_ports() - maps, sets and chains of host ports; nothing where there are none. */
void nft_ports(const struct nft_input *input, struct strbuf *out);

#endif
