/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/proto/codec.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "berth/json.h"

char *line_encode(const struct json_t *object, size_t max_size, size_t *ret_size)
{
	_cleanup_free_ char *text = object ? json_print(object) : NULL;
	size_t len;
	char *line;

	if (!text)
		return NULL;
	len = strlen(text);
	if (len + 1 > max_size)
		return NULL;
	line = realloc(text, len + 2);
	if (!line)
		return NULL;
	text = NULL;
	line[len] = '\n';
	line[len + 1] = '\0';
	if (ret_size)
		*ret_size = len + 1;
	return line;
}

int line_decode(const char *line, size_t size, size_t max_size, struct json_t **ret, struct err *err)
{
	json_auto_t *object = NULL;
	int64_t version;

	assert(ret);
	assert(line || size == 0);
	if (size > max_size)
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "message of %zu bytes, more than %zu", size, max_size);
	if (json_parse(line, size, PROTO_DOMAIN, &object, err) < 0)
		return -1;
	if (!json_is_object(object))
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN, "message is no JSON object");
	if (json_get_int(object, PROTO_DOMAIN, "v", INT64_MIN, INT64_MAX, &version, err) < 0)
		return -1;
	if (version != PROTO_VERSION)
		return err_set(err, ERR_PROTOCOL, PROTO_DOMAIN,
			       "protocol version %" PRId64 " is not spoken here, only %d", version, PROTO_VERSION);
	*ret = take_ptr(object);
	return 0;
}
