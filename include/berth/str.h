/* SPDX-License-Identifier: Apache-2.0 */
/* Strings: bounded copies, strict numbers, and a buffer that grows to a limit. */
#ifndef BERTH_STR_H
#define BERTH_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "berth/attr.h"

/** str_copy() - copy with the terminator. Return: 0, or -ENAMETOOLONG with @dst cut but terminated. */
int str_copy(char *dst, size_t dst_size, const char *src);
/** str_u64() - decimal digits only, the whole string, within [min, max]. Return: 0, -EINVAL or -ERANGE. */
int str_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret);
/** str_bool() - true/false, 1/0, yes/no, on/off, any case. Return: 0 or -EINVAL. */
int str_bool(const char *text, bool *ret);
bool str_equal(const char *a, const char *b);
bool str_starts(const char *text, const char *start);
/** str_hex() - lower-case hex of @size bytes; @dst holds 2 * size + 1. Return: @dst. */
char *str_hex(char *dst, const uint8_t *bytes, size_t size);

/**
 * struct strbuf - text under construction
 *
 * Appends to a full or failed buffer do nothing and set `failed`, so that a long build is checked once at its end.
 * `text` is always terminated once something was appended and may be NULL before.
 */
struct strbuf {
	char *text; /* owned */
	size_t len; /* without the terminator */
	size_t alloc;
	size_t max_len; /* 0: STRBUF_MAX_LEN */
	bool failed;    /* out of memory or over max_len */
};

#define STRBUF_MAX_LEN (64U << 20) /* bytes; nothing we build or receive comes near */

void strbuf_add(struct strbuf *buf, const char *text);
void strbuf_add_bytes(struct strbuf *buf, const void *bytes, size_t size);
_printf_(2, 3) void strbuf_printf(struct strbuf *buf, const char *fmt, ...);
/** strbuf_reserve() - make room for @size more bytes, so that appending them moves nothing: a buffer that grows leaves
 *  copies of what was in it. Return: false sets `failed`. */
bool strbuf_reserve(struct strbuf *buf, size_t size);
/** strbuf_clear() - forget the text, keep the memory, clear `failed`. */
void strbuf_clear(struct strbuf *buf);
/** strbuf_take() - give the text away ("" if nothing was appended). Return: owned, or NULL when `failed` or OOM. */
char *strbuf_take(struct strbuf *buf);
void strbuf_done(struct strbuf *buf);

#define _cleanup_strbuf_ _cleanup_(strbuf_done)

#endif
