/* SPDX-License-Identifier: Apache-2.0 */
#include "box_icmp.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <linux/icmp.h>
#include <string.h>

#define TTL 64

struct echo {
	struct icmphdr header; /* ICMPv6 has the same one */
	struct icmp_cookie cookie;
} __attribute__((packed));

struct packet4 {
	struct iphdr ip;
	struct echo echo;
} __attribute__((packed));

struct packet6 {
	struct ip6_hdr ip;
	struct echo echo;
} __attribute__((packed));

/* What the checksum of ICMPv6 covers beside the message, RFC 8200 section 8.1. */
struct pseudo6 {
	struct in6_addr src, dst;
	uint32_t len;
	uint8_t zero[3], next;
	struct echo echo;
} __attribute__((packed));

static_assert(sizeof(struct packet6) <= ICMP_BYTES_MAX, "a packet fits");

static uint16_t checksum(const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	uint32_t sum = 0;

	assert(size % 2 == 0);
	for (size_t i = 0; i < size; i += 2) {
		uint16_t word;

		memcpy(&word, at + i, sizeof(word));
		sum += ntohs(word);
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

socklen_t icmp_sockaddr(const struct ipaddr *addr, uint16_t port, struct sockaddr_storage *ret)
{
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in to4 = { .sin_family = AF_INET, .sin_port = htons(port) };

	*ret = (struct sockaddr_storage){ 0 };
	if (addr->family == IP_V6) {
		memcpy(&to6.sin6_addr, addr->bytes, sizeof(to6.sin6_addr));
		memcpy(ret, &to6, sizeof(to6));
		return sizeof(to6);
	}
	memcpy(&to4.sin_addr, addr->bytes, sizeof(to4.sin_addr));
	memcpy(ret, &to4, sizeof(to4));
	return sizeof(to4);
}

struct ipaddr icmp_sockaddr_addr(const struct sockaddr_storage *from)
{
	struct ipaddr addr = { 0 };
	struct sockaddr_in6 from6;
	struct sockaddr_in from4;

	if (from->ss_family == AF_INET6) {
		memcpy(&from6, from, sizeof(from6));
		addr.family = IP_V6;
		memcpy(addr.bytes, &from6.sin6_addr, sizeof(from6.sin6_addr));
	} else if (from->ss_family == AF_INET) {
		memcpy(&from4, from, sizeof(from4));
		addr.family = IP_V4;
		memcpy(addr.bytes, &from4.sin_addr, sizeof(from4.sin_addr));
	}
	return addr;
}

static uint8_t type_of(enum ip_family family, enum icmp_kind kind)
{
	if (family == IP_V6)
		return kind == ICMP_KIND_ASK ? ICMP6_ECHO_REQUEST : ICMP6_ECHO_REPLY;
	return kind == ICMP_KIND_ASK ? ICMP_ECHO : ICMP_ECHOREPLY;
}

int icmp_filter(int fd, enum ip_family family, enum icmp_kind kind)
{
	struct icmp_filter only4 = { .data = ~(1U << type_of(IP_V4, kind)) };
	struct icmp6_filter only6;

	ICMP6_FILTER_SETBLOCKALL(&only6);
	ICMP6_FILTER_SETPASS(type_of(IP_V6, kind), &only6);
	int r = family == IP_V6 ? setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &only6, sizeof(only6))
				: setsockopt(fd, SOL_RAW, ICMP_FILTER, &only4, sizeof(only4));

	return r < 0 ? -errno : 0;
}

static struct echo ask(enum ip_family family, uint16_t id, uint16_t sequence, const struct icmp_cookie *cookie)
{
	struct echo echo = { .header = { .type = type_of(family, ICMP_KIND_ASK) }, .cookie = *cookie };

	echo.header.un.echo.id = htons(id);
	echo.header.un.echo.sequence = htons(sequence);
	return echo;
}

size_t icmp_ask(enum ip_family family, uint16_t id, uint16_t sequence, const struct icmp_cookie *cookie,
		uint8_t ret[static ICMP_BYTES_MAX])
{
	struct echo echo = ask(family, id, sequence, cookie);

	if (family == IP_V4)
		echo.header.checksum = checksum(&echo, sizeof(echo));
	memcpy(ret, &echo, sizeof(echo));
	return sizeof(echo);
}

static size_t packet6(const struct ipaddr *src, const struct ipaddr *dst, const struct echo *echo, uint8_t *ret)
{
	struct packet6 packet = { .echo = *echo };
	struct pseudo6 pseudo = { .len = htonl(sizeof(*echo)), .next = IPPROTO_ICMPV6, .echo = *echo };

	packet.ip.ip6_vfc = 6 << 4;
	packet.ip.ip6_plen = htons(sizeof(*echo));
	packet.ip.ip6_nxt = IPPROTO_ICMPV6;
	packet.ip.ip6_hlim = TTL;
	memcpy(&packet.ip.ip6_src, src->bytes, sizeof(packet.ip.ip6_src));
	memcpy(&packet.ip.ip6_dst, dst->bytes, sizeof(packet.ip.ip6_dst));
	pseudo.src = packet.ip.ip6_src;
	pseudo.dst = packet.ip.ip6_dst;
	packet.echo.header.checksum = checksum(&pseudo, sizeof(pseudo));
	memcpy(ret, &packet, sizeof(packet));
	return sizeof(packet);
}

size_t icmp_packet(const struct ipaddr *src, const struct ipaddr *dst, const struct icmp_cookie *cookie,
		   uint8_t ret[static ICMP_BYTES_MAX])
{
	struct echo echo = ask(src->family, (uint16_t)(cookie->run + cookie->index), 0, cookie);
	/* Length and checksum of the IPv4 header are the kernel's work, raw(7). */
	struct packet4 packet = { .ip = { .version = 4, .ihl = 5, .ttl = TTL, .protocol = IPPROTO_ICMP } };

	if (src->family == IP_V6)
		return packet6(src, dst, &echo, ret);
	memcpy(&packet.ip.saddr, src->bytes, sizeof(packet.ip.saddr));
	memcpy(&packet.ip.daddr, dst->bytes, sizeof(packet.ip.daddr));
	echo.header.checksum = checksum(&echo, sizeof(echo));
	packet.echo = echo;
	memcpy(ret, &packet, sizeof(packet));
	return sizeof(packet);
}

bool icmp_read(enum ip_family family, enum icmp_kind kind, const uint8_t *bytes, size_t size, struct icmp_cookie *ret)
{
	struct echo echo;
	size_t header = 0;

	/* The kernel hands out IPv4 with its header, IPv6 without. */
	if (family == IP_V4) {
		header = size >= sizeof(struct iphdr) ? (size_t)(bytes[0] & 0x0f) * 4 : 0;
		if (header < sizeof(struct iphdr))
			return false;
	}
	if (size < header + sizeof(echo))
		return false;
	memcpy(&echo, bytes + header, sizeof(echo));
	if (echo.header.type != type_of(family, kind))
		return false;
	memcpy(ret, &echo.cookie, sizeof(*ret));
	return true;
}
