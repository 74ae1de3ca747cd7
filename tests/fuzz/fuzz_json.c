/* SPDX-License-Identifier: Apache-2.0 */
/* JSON: what is taken prints and is taken again; getters cope with any document. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	_cleanup_free_ char *text = NULL;
	json_auto_t *json = NULL, *again = NULL;
	json_t *part = NULL;
	const char *name = NULL;
	int64_t number = 0;
	struct err err = { 0 };

	if (json_parse((const char *)bytes, size, "fuzz", &json, &err) < 0) {
		require(!json && err.class == ERR_PROTOCOL && memchr(err.msg, '\0', sizeof(err.msg)));
		return 0;
	}
	(void)json_get_str(json, "fuzz", "a", &name, &err);
	(void)json_get_int_opt(json, "fuzz", "a", -1, 1, &number, &err);
	require(number >= -1 && number <= 1);
	(void)json_get_arr_opt(json, "fuzz", "a", &part, &err);
	(void)json_get_obj_opt(json, "fuzz", "a", &part, &err);
	text = json_print(json);
	require(text && json_parse(text, strlen(text), "fuzz", &again, &err) == 0);
	require(json_equal(json, again));
	return 0;
}
