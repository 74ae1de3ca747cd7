/* SPDX-License-Identifier: Apache-2.0 */
/* What request.c and reply.c share: the line around a JSON object. Private to lib/proto. */
#ifndef LIB_PROTO_CODEC_H
#define LIB_PROTO_CODEC_H

#include <stddef.h>

#include "berth/proto.h"

struct err;
struct json_t;

#define PROTO_DOMAIN "proto"

/** runtime_json() - the object of runtime_print(). Return: owned; NULL without memory. */
struct json_t *runtime_json(const struct runtime_config *runtime);
/** runtime_read() - the reverse; what it lacks is not asked for. Errors: PROTOCOL. */
int runtime_read(const struct json_t *object, struct runtime_config *ret, struct err *err);

/** proto_op_parse() - the operation of that name. Return: 0 or -EINVAL. */
int proto_op_parse(const char *name, enum proto_op *ret);

/**
 * line_encode() - an object as a line of text with its newline
 * @object: NULL (an encoder ran out of memory) is passed on
 * @max_size: bytes with the newline
 * @ret_size: may be NULL
 * Return: owned text; NULL without memory or when it is longer than @max_size.
 */
char *line_encode(const struct json_t *object, size_t max_size, size_t *ret_size);

/**
 * line_decode() - the object of a line, of the one version that is spoken here
 * Return: 0 with an owned reference or -1. Errors: PROTOCOL.
 */
int line_decode(const char *line, size_t size, size_t max_size, struct json_t **ret, struct err *err);

#endif
