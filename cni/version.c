/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>

#include "berth/json.h"
#include "cni/cnierr.h"
#include "cni/plugin.h"

#define VERSION_TEXT_SIZE 32 /* bytes of a cniVersion that is echoed */

int cni_version_verb(const struct cni_run *run, struct cnierr *cnierr)
{
	_cleanup_free_ char *text = NULL;
	json_auto_t *object = json_object();
	json_auto_t *versions = json_array();
	char asked[VERSION_TEXT_SIZE];
	bool ok = true;

	for (unsigned i = 0; ok && i < CNI_VERSION_COUNT; i++)
		ok = json_array_append_new(versions, json_string(cni_version_name((enum cni_version)i))) == 0;
	cni_conf_version(run->stdin_text, run->stdin_size, asked, sizeof(asked));
	ok = ok && json_object_set_new(object, "cniVersion", json_string(asked)) == 0 &&
	     json_object_set(object, "supportedVersions", versions) == 0;
	text = ok ? json_print(object) : NULL;
	return cni_print(run, text, cnierr);
}
