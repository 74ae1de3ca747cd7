/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and prefixes as values. Never text inside; text only at the edges. */
#ifndef BERTH_IPADDR_H
#define BERTH_IPADDR_H

#include <stdbool.h>
#include <stdint.h>

enum ip_family { IP_NONE = 0, IP_V4 = 4, IP_V6 = 6 };

/* Arrays with one element per family are indexed by ip_index(): 0 is v4, 1 is v6. */
#define IP_FAMILIES 2
/** ip_index() - of IP_V4 or IP_V6, nothing else. */
static inline unsigned ip_index(unsigned family)
{
	return family == IP_V6;
}
/** ip_family_at() - the reverse. */
static inline enum ip_family ip_family_at(unsigned index)
{
	return index ? IP_V6 : IP_V4;
}

/** struct ipaddr - bytes in network order; v4 uses the first four, the others are zero; {0} is "no address". */
struct ipaddr {
	uint8_t family; /* enum ip_family */
	uint8_t bytes[16];
};

/** struct prefix - an address range; host bits are zero in every prefix that prefix_parse() or prefix_of() made. */
struct prefix {
	struct ipaddr addr;
	uint8_t len;
};

#define IPADDR_STRLEN 46 /* INET6_ADDRSTRLEN */
#define PREFIX_STRLEN 50 /* the same and "/128" */

/** ipaddr_parse() - dotted quad or RFC 4291 text, nothing around it. Return: 0 or -EINVAL. */
int ipaddr_parse(const char *text, struct ipaddr *ret);
/** ipaddr_v4() - from a host-order number. */
struct ipaddr ipaddr_v4(uint32_t host_order);
/** ipaddr_str() - canonical text (RFC 5952) into @buf. Return: @buf. "-" for no address. */
const char *ipaddr_str(const struct ipaddr *addr, char buf[static IPADDR_STRLEN]);
/** ipaddr_cmp() - by family, then by bytes; <0, 0, >0. */
int ipaddr_cmp(const struct ipaddr *a, const struct ipaddr *b);
static inline bool ipaddr_equal(const struct ipaddr *a, const struct ipaddr *b)
{
	return ipaddr_cmp(a, b) == 0;
}
/** ipaddr_bits() - 32, 128 or 0. */
unsigned ipaddr_bits(const struct ipaddr *addr);
/** ipaddr_len() - 4, 16 or 0 bytes. */
unsigned ipaddr_len(const struct ipaddr *addr);
/** ipaddr_add() - @addr + @offset; wraps inside the family's width. */
struct ipaddr ipaddr_add(const struct ipaddr *addr, uint64_t offset);

/** prefix_parse() - "ADDR/LEN" or a bare address (full length); host bits must be zero. Return: 0 or -EINVAL. */
int prefix_parse(const char *text, struct prefix *ret);
/** prefix_of() - the range of length @len that holds @addr: host bits are cleared. */
struct prefix prefix_of(const struct ipaddr *addr, unsigned len);
/** prefix_host() - the /32 or /128 of one address. */
struct prefix prefix_host(const struct ipaddr *addr);
/** prefix_str() - "10.0.1.16/28" into @buf. Return: @buf. */
const char *prefix_str(const struct prefix *prefix, char buf[static PREFIX_STRLEN]);
int prefix_cmp(const struct prefix *a, const struct prefix *b);
bool prefix_contains(const struct prefix *prefix, const struct ipaddr *addr);
/** prefix_covers() - is every address of @inner in @outer? */
bool prefix_covers(const struct prefix *outer, const struct prefix *inner);
bool prefix_overlaps(const struct prefix *a, const struct prefix *b);
/** prefix_size() - how many addresses; saturates at UINT64_MAX. */
uint64_t prefix_size(const struct prefix *prefix);
/** prefix_offset() - index of @addr in @prefix, which must contain it; saturates at UINT64_MAX. */
uint64_t prefix_offset(const struct prefix *prefix, const struct ipaddr *addr);

#define MACADDR_LEN    6
#define MACADDR_STRLEN 18

struct macaddr {
	uint8_t bytes[MACADDR_LEN];
};

/** macaddr_parse() - "02:11:22:33:44:55", any case. Return: 0 or -EINVAL. */
int macaddr_parse(const char *text, struct macaddr *ret);
/** macaddr_str() - lower case into @buf. Return: @buf. */
const char *macaddr_str(const struct macaddr *mac, char buf[static MACADDR_STRLEN]);
bool macaddr_equal(const struct macaddr *a, const struct macaddr *b);

#endif
