/* SPDX-License-Identifier: Apache-2.0 */
/* What the plugin and berthctl read from the daemon: whatever is accepted must survive a round trip. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "berth/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	_cleanup_reply_ struct proto_reply first = { 0 }, second = { 0 };
	_cleanup_free_ char *text = NULL;
	struct err err;
	size_t text_size;

	if (proto_reply_decode((const char *)bytes, size, &first, &err) < 0)
		return 0;
	text = proto_reply_encode(&first, &text_size);
	assert(text);
	assert(proto_reply_decode(text, text_size, &second, &err) == 0);
	assert(first.ok == second.ok && first.reason == second.reason && first.mtu == second.mtu);
	assert(first.address_count == second.address_count && first.address_count <= IP_FAMILIES);
	for (unsigned i = 0; i < first.address_count; i++) {
		const struct proto_address *a = &first.addresses[i], *b = &second.addresses[i];

		assert(prefix_cmp(&a->address, &b->address) == 0 && ipaddr_equal(&a->gateway, &b->gateway));
		assert(a->address.len == ipaddr_bits(&a->address.addr) && a->gateway.family == a->address.addr.family);
	}
	assert(strcmp(first.host_ifname, second.host_ifname) == 0);
	assert(!*first.missing == !*second.missing);
	assert(first.error.class == second.error.class && strcmp(first.error.msg, second.error.msg) == 0);
	assert(!first.state == !second.state);
	return 0;
}
