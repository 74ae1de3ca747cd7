/* SPDX-License-Identifier: Apache-2.0 */
#include "berth/json.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include <jansson.h>

#include "berth/err.h"

int json_parse(const char *text, size_t size, const char *domain, struct json_t **ret, struct err *err)
{
	json_error_t why;
	json_t *json;
	char *near;

	assert(text || size == 0);
	assert(domain && ret);
	json = json_loadb(text ? text : "", size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
	if (!json) {
		/* jansson quotes what stood there, and that may be half of a secret. */
		near = strstr(why.text, " near '");
		if (near)
			*near = '\0';
		return err_set(err, ERR_PROTOCOL, domain, "JSON at %d:%d: %s", why.line, why.column, why.text);
	}
	*ret = json;
	return 0;
}

char *json_print(const struct json_t *json)
{
	assert(json);
	return json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
}

enum presence { MUST_EXIST, MAY_BE_ABSENT };

/*
 * Finds @key. *ret is NULL where it may be absent and is: missing, or null, which is how Go programs write "not set".
 * Only a JSON object has keys: anything else is an error even for an optional one.
 */
static int find(const json_t *obj, const char *domain, const char *key, enum presence presence, json_t **ret,
		struct err *err)
{
	json_t *value = NULL;

	assert(domain && key);
	if (!json_is_object(obj))
		return err_set(err, ERR_PROTOCOL, domain, "'%s' wanted from what is no JSON object", key);
	value = json_object_get(obj, key);
	if (json_is_null(value) && presence == MAY_BE_ABSENT)
		value = NULL;
	if (!value && presence == MUST_EXIST)
		return err_set(err, ERR_PROTOCOL, domain, "'%s' is missing", key);
	*ret = value;
	return 0;
}

static int wrong_type(const char *domain, const char *key, const char *wanted, struct err *err)
{
	return err_set(err, ERR_PROTOCOL, domain, "'%s' is not %s", key, wanted);
}

static int get_str(const json_t *obj, const char *domain, const char *key, enum presence presence, const char **ret,
		   struct err *err)
{
	json_t *value = NULL;

	assert(ret);
	if (find(obj, domain, key, presence, &value, err) < 0)
		return -1;
	if (!value)
		return 0;
	if (!json_is_string(value))
		return wrong_type(domain, key, "a string", err);
	*ret = json_string_value(value);
	return 0;
}

int json_get_str(const struct json_t *obj, const char *domain, const char *key, const char **ret, struct err *err)
{
	return get_str(obj, domain, key, MUST_EXIST, ret, err);
}

int json_get_str_opt(const struct json_t *obj, const char *domain, const char *key, const char **ret, struct err *err)
{
	return get_str(obj, domain, key, MAY_BE_ABSENT, ret, err);
}

static int get_int(const json_t *obj, const char *domain, const char *key, enum presence presence,
		   const int64_t range[static 2], int64_t *ret, struct err *err)
{
	json_t *value = NULL;
	int64_t number;

	assert(ret);
	assert(range[0] <= range[1]);
	if (find(obj, domain, key, presence, &value, err) < 0)
		return -1;
	if (!value)
		return 0;
	if (!json_is_integer(value))
		return wrong_type(domain, key, "an integer", err);
	number = json_integer_value(value);
	if (number < range[0] || number > range[1])
		return err_set(err, ERR_PROTOCOL, domain, "'%s' is %" PRId64 ", not within %" PRId64 " and %" PRId64,
			       key, number, range[0], range[1]);
	*ret = number;
	return 0;
}

int json_get_int(const struct json_t *obj, const char *domain, const char *key, int64_t min, int64_t max, int64_t *ret,
		 struct err *err)
{
	return get_int(obj, domain, key, MUST_EXIST, (const int64_t[]){ min, max }, ret, err);
}

int json_get_int_opt(const struct json_t *obj, const char *domain, const char *key, int64_t min, int64_t max,
		     int64_t *ret, struct err *err)
{
	return get_int(obj, domain, key, MAY_BE_ABSENT, (const int64_t[]){ min, max }, ret, err);
}

int json_get_bool_opt(const struct json_t *obj, const char *domain, const char *key, bool *ret, struct err *err)
{
	json_t *value = NULL;

	assert(ret);
	if (find(obj, domain, key, MAY_BE_ABSENT, &value, err) < 0)
		return -1;
	if (!value)
		return 0;
	if (!json_is_boolean(value))
		return wrong_type(domain, key, "true or false", err);
	*ret = json_is_true(value);
	return 0;
}

int json_get_obj_opt(const struct json_t *obj, const char *domain, const char *key, struct json_t **ret,
		     struct err *err)
{
	json_t *value = NULL;

	assert(ret);
	if (find(obj, domain, key, MAY_BE_ABSENT, &value, err) < 0)
		return -1;
	if (value && !json_is_object(value))
		return wrong_type(domain, key, "an object", err);
	*ret = value;
	return 0;
}

int json_get_arr_opt(const struct json_t *obj, const char *domain, const char *key, struct json_t **ret,
		     struct err *err)
{
	json_t *value = NULL;

	assert(ret);
	if (find(obj, domain, key, MAY_BE_ABSENT, &value, err) < 0)
		return -1;
	if (value && !json_is_array(value))
		return wrong_type(domain, key, "an array", err);
	*ret = value;
	return 0;
}
