/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, prefixes and MACs: what is taken comes back the same from its canonical text. */
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/ipaddr.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	_cleanup_free_ char *text = strndup((const char *)bytes, size);
	char buf[PREFIX_STRLEN];
	struct prefix prefix, prefix_back;
	struct ipaddr addr, addr_back;
	struct macaddr mac, mac_back;

	require(text);
	if (ipaddr_parse(text, &addr) == 0) {
		require(ipaddr_parse(ipaddr_str(&addr, buf), &addr_back) == 0 && ipaddr_equal(&addr, &addr_back));
		require(prefix_parse(text, &prefix) == 0 && prefix_size(&prefix) == 1);
	}
	if (prefix_parse(text, &prefix) == 0) {
		require(prefix_parse(prefix_str(&prefix, buf), &prefix_back) == 0);
		require(prefix_cmp(&prefix, &prefix_back) == 0 && prefix_covers(&prefix, &prefix_back));
		require(prefix_offset(&prefix, &prefix.addr) == 0);
		addr = ipaddr_add(&prefix.addr, prefix_size(&prefix) - 1);
		require(prefix_contains(&prefix, &addr));
	}
	if (macaddr_parse(text, &mac) == 0)
		require(macaddr_parse(macaddr_str(&mac, buf), &mac_back) == 0 && macaddr_equal(&mac, &mac_back));
	return 0;
}
