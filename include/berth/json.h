/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict reading of JSON objects over jansson. A getter that fails names the key and what it wanted; a missing key is an
 * error unless the getter says _opt, which then leaves *ret alone. Callers that walk arrays include jansson themselves.
 */
#ifndef BERTH_JSON_H
#define BERTH_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct json_t;

/** json_parse() - one document of any kind, nothing after it, duplicate keys refused. @domain names the source.
 *  Return: 0 with an owned reference (json_decref) or -1. Errors: PROTOCOL with line and column. */
int json_parse(const char *text, size_t size, const char *domain, struct json_t **ret, struct err *err);
/** json_print() - compact text, keys in insertion order. Return: owned (free), or NULL without memory. */
char *json_print(const struct json_t *json);

/* Errors of all getters: PROTOCOL, domain @domain. Strings are borrowed from the object. */
int json_get_str(const struct json_t *obj, const char *domain, const char *key, const char **ret, struct err *err);
int json_get_str_opt(const struct json_t *obj, const char *domain, const char *key, const char **ret, struct err *err);
int json_get_int(const struct json_t *obj, const char *domain, const char *key, int64_t min, int64_t max, int64_t *ret,
		 struct err *err);
int json_get_int_opt(const struct json_t *obj, const char *domain, const char *key, int64_t min, int64_t max,
		     int64_t *ret, struct err *err);
int json_get_bool_opt(const struct json_t *obj, const char *domain, const char *key, bool *ret, struct err *err);
/** json_get_obj_opt() - *ret borrowed; NULL when the key is absent or null. */
int json_get_obj_opt(const struct json_t *obj, const char *domain, const char *key, struct json_t **ret,
		     struct err *err);
/** json_get_arr_opt() - the same for an array. */
int json_get_arr_opt(const struct json_t *obj, const char *domain, const char *key, struct json_t **ret,
		     struct err *err);

#endif
