/* SPDX-License-Identifier: Apache-2.0 */
/* What a probe looks like on the wire, of both families: ICMP echo with a cookie behind its header. */
#ifndef MOCKS_BOX_ICMP_H
#define MOCKS_BOX_ICMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "berth/ipaddr.h"

#define ICMP_BYTES_MAX 256U /* bytes of any packet that is made or read here */

/** struct icmp_cookie - finds its probe again; it is unguessable, so that no other ping on the machine is taken for it. */
struct icmp_cookie {
	uint64_t run;
	uint32_t index;
	uint32_t seen_family; /* in an answer: who was seen to ask */
	uint8_t seen[16];
};

enum icmp_kind { ICMP_KIND_ASK, ICMP_KIND_ANSWER };

/** icmp_sockaddr() - @addr as the kernel wants it. Return: its size. */
socklen_t icmp_sockaddr(const struct ipaddr *addr, uint16_t port, struct sockaddr_storage *ret);
/** icmp_sockaddr_addr() - and back; family 0 when it is of neither. */
struct ipaddr icmp_sockaddr_addr(const struct sockaddr_storage *from);
/** icmp_filter() - let a raw socket of that family have this kind alone. Return: 0 or -errno. */
int icmp_filter(int fd, enum ip_family family, enum icmp_kind kind);
/** icmp_ask() - an echo request. The kernel fills in the checksum of IPv6. Return: its size. */
size_t icmp_ask(enum ip_family family, uint16_t id, uint16_t sequence, const struct icmp_cookie *cookie,
		uint8_t ret[static ICMP_BYTES_MAX]);
/** icmp_packet() - an echo request in a whole packet, for a source of one's own choice. Return: its size. */
size_t icmp_packet(const struct ipaddr *src, const struct ipaddr *dst, const struct icmp_cookie *cookie,
		   uint8_t ret[static ICMP_BYTES_MAX]);
/** icmp_read() - what a raw socket of that family gave. Return: is it an echo of that kind, and whole? Then *ret. */
bool icmp_read(enum ip_family family, enum icmp_kind kind, const uint8_t *bytes, size_t size, struct icmp_cookie *ret);

#endif
