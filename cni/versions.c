/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/versions.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "berth/attr.h"

static const char *const names[] = {
	[CNI_0_3_0] = "0.3.0", [CNI_0_3_1] = "0.3.1", [CNI_0_4_0] = "0.4.0",
	[CNI_1_0_0] = "1.0.0", [CNI_1_1_0] = "1.1.0",
};
static_assert(ARRAY_SIZE(names) == CNI_VERSION_COUNT, "every version has a name");

const char *cni_version_name(enum cni_version version)
{
	assert((unsigned)version < CNI_VERSION_COUNT);
	return names[version];
}

int cni_version_parse(const char *text, enum cni_version *ret)
{
	assert(text && ret);
	for (unsigned i = 0; i < CNI_VERSION_COUNT; i++) {
		if (strcmp(text, names[i]) != 0)
			continue;
		*ret = (enum cni_version)i;
		return 0;
	}
	return -EINVAL;
}
