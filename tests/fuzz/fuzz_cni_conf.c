/* SPDX-License-Identifier: Apache-2.0 */
/* What the runtime sends on stdin: refused with a code, a cause and a next step, or taken within its limits. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cni/cnierr.h"
#include "cni/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct cni_conf conf;
	struct cnierr cnierr;
	_cleanup_free_ char *text = NULL;
	char version[32];

	cni_conf_version((const char *)bytes, size, version, sizeof(version));
	assert(strlen(version) > 0);
	if (cni_conf_parse((const char *)bytes, size, &conf, &cnierr) == 0) {
		assert(conf.network[0] && conf.socket[0] == '/');
		assert(conf.timeout_ms >= CONF_TIMEOUT_MIN_MS && conf.timeout_ms <= CONF_TIMEOUT_MAX_MS);
		return 0;
	}
	assert(cnierr.code != CNI_OK && cnierr.msg[0] && cnierr.details[0]);
	text = cnierr_print(&cnierr, version);
	assert(text);
	return 0;
}
