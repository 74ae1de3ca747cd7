/* SPDX-License-Identifier: Apache-2.0 */
#include "berth/ipaddr.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "berth/str.h"

#define V4_BITS   32U
#define V6_BITS   128U
#define BYTE_BITS 8U

int ipaddr_parse(const char *text, struct ipaddr *ret)
{
	struct ipaddr addr = { .family = IP_V4 };

	assert(text && ret);
	/* inet_pton() takes neither zones, blanks, leading zeros nor short forms of a dotted quad. */
	if (inet_pton(AF_INET, text, addr.bytes) != 1) {
		addr = (struct ipaddr){ .family = IP_V6 };
		if (inet_pton(AF_INET6, text, addr.bytes) != 1)
			return -EINVAL;
	}
	*ret = addr;
	return 0;
}

struct ipaddr ipaddr_v4(uint32_t host_order)
{
	struct ipaddr addr = { .family = IP_V4 };
	uint32_t net = htonl(host_order);

	memcpy(addr.bytes, &net, sizeof(net));
	return addr;
}

unsigned ipaddr_bits(const struct ipaddr *addr)
{
	assert(addr);
	return addr->family == IP_V4 ? V4_BITS : addr->family == IP_V6 ? V6_BITS : 0;
}

unsigned ipaddr_len(const struct ipaddr *addr)
{
	return ipaddr_bits(addr) / BYTE_BITS;
}

const char *ipaddr_str(const struct ipaddr *addr, char buf[static IPADDR_STRLEN])
{
	static_assert(IPADDR_STRLEN == INET6_ADDRSTRLEN, "inet_ntop() never lacks room");
	assert(addr);
	if (ipaddr_bits(addr) == 0 ||
	    !inet_ntop(addr->family == IP_V4 ? AF_INET : AF_INET6, addr->bytes, buf, IPADDR_STRLEN))
		memcpy(buf, "-", sizeof("-"));
	return buf;
}

int ipaddr_cmp(const struct ipaddr *a, const struct ipaddr *b)
{
	assert(a && b);
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->bytes, b->bytes, ipaddr_len(a));
}

struct ipaddr ipaddr_add(const struct ipaddr *addr, uint64_t offset)
{
	struct ipaddr sum = *addr;
	uint64_t carry = 0;

	assert(ipaddr_bits(addr) > 0);
	for (unsigned i = ipaddr_len(addr); i-- > 0;) {
		carry += (offset & 0xff) + sum.bytes[i];
		sum.bytes[i] = (uint8_t)carry;
		carry >>= BYTE_BITS;
		offset >>= BYTE_BITS;
	}
	return sum;
}

/* The bits of byte @index that belong to the network part of a prefix of @len bits. */
static uint8_t byte_mask(unsigned len, unsigned index)
{
	unsigned start = index * BYTE_BITS;

	if (len <= start)
		return 0;
	if (len >= start + BYTE_BITS)
		return 0xff;
	return (uint8_t)(0xff00U >> (len - start));
}

/* Are the first @len bits of both addresses the same? */
static bool same_start(const struct ipaddr *a, const struct ipaddr *b, unsigned len)
{
	if (a->family != b->family || ipaddr_bits(a) == 0)
		return false;
	for (unsigned i = 0; i < ipaddr_len(a); i++)
		if ((a->bytes[i] ^ b->bytes[i]) & byte_mask(len, i))
			return false;
	return true;
}

struct prefix prefix_of(const struct ipaddr *addr, unsigned len)
{
	struct prefix prefix = { .addr = *addr, .len = (uint8_t)len };

	assert(len <= ipaddr_bits(addr));
	for (unsigned i = 0; i < ipaddr_len(addr); i++)
		prefix.addr.bytes[i] &= byte_mask(len, i);
	return prefix;
}

struct prefix prefix_host(const struct ipaddr *addr)
{
	return prefix_of(addr, ipaddr_bits(addr));
}

int prefix_parse(const char *text, struct prefix *ret)
{
	char head[IPADDR_STRLEN];
	struct ipaddr addr;
	struct prefix prefix;
	const char *slash;
	uint64_t len;

	assert(text && ret);
	slash = strchr(text, '/');
	if (slash && (size_t)(slash - text) >= sizeof(head))
		return -EINVAL;
	if (slash) {
		memcpy(head, text, (size_t)(slash - text));
		head[slash - text] = '\0';
		text = head;
	}
	if (ipaddr_parse(text, &addr) < 0)
		return -EINVAL;
	len = ipaddr_bits(&addr);
	/* "/08" is refused as inet_pton() refuses "010": other programs read it as octal. */
	if (slash && (str_u64(slash + 1, 0, len, &len) < 0 || (slash[1] == '0' && slash[2] != '\0')))
		return -EINVAL;
	prefix = prefix_of(&addr, (unsigned)len);
	if (!ipaddr_equal(&prefix.addr, &addr))
		return -EINVAL;
	*ret = prefix;
	return 0;
}

const char *prefix_str(const struct prefix *prefix, char buf[static PREFIX_STRLEN])
{
	size_t len;

	assert(prefix);
	len = strlen(ipaddr_str(&prefix->addr, buf));
	if (ipaddr_bits(&prefix->addr) > 0)
		(void)snprintf(buf + len, PREFIX_STRLEN - len, "/%u", prefix->len);
	return buf;
}

int prefix_cmp(const struct prefix *a, const struct prefix *b)
{
	int order = ipaddr_cmp(&a->addr, &b->addr);

	return order ? order : (int)a->len - (int)b->len;
}

bool prefix_contains(const struct prefix *prefix, const struct ipaddr *addr)
{
	assert(prefix && addr);
	return same_start(&prefix->addr, addr, prefix->len);
}

bool prefix_covers(const struct prefix *outer, const struct prefix *inner)
{
	assert(outer && inner);
	return outer->len <= inner->len && prefix_contains(outer, &inner->addr);
}

bool prefix_overlaps(const struct prefix *a, const struct prefix *b)
{
	return prefix_covers(a, b) || prefix_covers(b, a);
}

uint64_t prefix_size(const struct prefix *prefix)
{
	unsigned bits = ipaddr_bits(&prefix->addr);

	if (bits == 0)
		return 0;
	assert(prefix->len <= bits);
	return bits - prefix->len >= 64 ? UINT64_MAX : UINT64_C(1) << (bits - prefix->len);
}

uint64_t prefix_offset(const struct prefix *prefix, const struct ipaddr *addr)
{
	uint64_t offset = 0;

	assert(prefix_contains(prefix, addr));
	for (unsigned i = 0; i < ipaddr_len(addr); i++) {
		if (offset >> (64 - BYTE_BITS))
			return UINT64_MAX;
		offset = offset << BYTE_BITS | (addr->bytes[i] & (uint8_t)~byte_mask(prefix->len, i));
	}
	return offset;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int macaddr_parse(const char *text, struct macaddr *ret)
{
	struct macaddr mac;

	assert(text && ret);
	if (strnlen(text, MACADDR_STRLEN) != MACADDR_STRLEN - 1)
		return -EINVAL;
	for (unsigned i = 0; i < MACADDR_LEN; i++) {
		int high = hex_digit(text[3 * i]), low = hex_digit(text[3 * i + 1]);

		if (high < 0 || low < 0 || text[3 * i + 2] != (i + 1 < MACADDR_LEN ? ':' : '\0'))
			return -EINVAL;
		mac.bytes[i] = (uint8_t)(high << 4 | low);
	}
	*ret = mac;
	return 0;
}

const char *macaddr_str(const struct macaddr *mac, char buf[static MACADDR_STRLEN])
{
	for (unsigned i = 0; i < MACADDR_LEN; i++) {
		(void)str_hex(buf + 3 * i, &mac->bytes[i], 1);
		if (i + 1 < MACADDR_LEN)
			buf[3 * i + 2] = ':';
	}
	return buf;
}

bool macaddr_equal(const struct macaddr *a, const struct macaddr *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}
