/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon reads from its socket and from spooled files: whatever is accepted must survive a round trip. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "berth/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	_cleanup_request_ struct proto_request first = { 0 }, second = { 0 };
	_cleanup_free_ char *text = NULL;
	struct err err;
	size_t text_size;

	if (proto_request_decode((const char *)bytes, size, &first, &err) < 0)
		return 0;
	text = proto_request_encode(&first, &text_size);
	assert(text && text_size <= PROTO_GC_MAX);
	assert(proto_request_decode(text, text_size, &second, &err) == 0);
	assert(second.valid_count == first.valid_count);
	assert(!first.valid || memcmp(first.valid, second.valid, first.valid_count * sizeof(*first.valid)) == 0);
	free(second.valid);
	second.valid = first.valid;
	assert(memcmp(&first, &second, sizeof(first)) == 0);
	second.valid = NULL;
	return 0;
}
