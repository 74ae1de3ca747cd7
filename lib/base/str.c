/* SPDX-License-Identifier: Apache-2.0 */
#include "berth/str.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "utf8.h"

#define STRBUF_FIRST 64U /* bytes of the first allocation: a short line */

int str_copy(char *dst, size_t dst_size, const char *src)
{
	size_t len;

	assert(dst && src);
	assert(dst_size > 0);
	len = strnlen(src, dst_size);
	if (len < dst_size) {
		memmove(dst, src, len + 1);
		return 0;
	}
	len = utf8_cut(src, dst_size - 1);
	memmove(dst, src, len);
	dst[len] = '\0';
	return -ENAMETOOLONG;
}

int str_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;
	bool over = false;

	assert(text && ret);
	assert(min <= max);
	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		over |= __builtin_mul_overflow(value, UINT64_C(10), &value);
		over |= __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value);
	}
	if (over || value < min || value > max)
		return -ERANGE;
	*ret = value;
	return 0;
}

int str_bool(const char *text, bool *ret)
{
	static const char *const words[][2] = { { "false", "true" }, { "0", "1" }, { "no", "yes" }, { "off", "on" } };

	assert(text && ret);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		for (int value = 0; value < 2; value++) {
			if (strcasecmp(text, words[i][value]) != 0)
				continue;
			*ret = value;
			return 0;
		}
	}
	return -EINVAL;
}

bool str_equal(const char *a, const char *b)
{
	if (!a || !b)
		return a == b;
	return strcmp(a, b) == 0;
}

bool str_starts(const char *text, const char *start)
{
	assert(text && start);
	return strncmp(text, start, strlen(start)) == 0;
}

char *str_hex(char *dst, const uint8_t *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";

	assert(dst);
	assert(bytes || size == 0);
	for (size_t i = 0; i < size; i++) {
		dst[2 * i] = digits[bytes[i] >> 4];
		dst[2 * i + 1] = digits[bytes[i] & 0xf];
	}
	dst[2 * size] = '\0';
	return dst;
}

static size_t strbuf_limit(const struct strbuf *buf)
{
	return buf->max_len ? buf->max_len : STRBUF_MAX_LEN;
}

bool strbuf_reserve(struct strbuf *buf, size_t size)
{
	size_t limit = strbuf_limit(buf);
	size_t alloc = buf->alloc ? buf->alloc : STRBUF_FIRST;
	char *text;

	if (buf->failed || buf->len > limit || size > limit - buf->len || limit == SIZE_MAX)
		goto fail;
	if (buf->text && buf->len + size < buf->alloc)
		return true;
	while (alloc <= buf->len + size)
		alloc = alloc > SIZE_MAX / 2 ? SIZE_MAX : alloc * 2;
	/* Never more than the limit needs, or the last doubling would hold twice of it. */
	if (alloc > limit + 1)
		alloc = limit + 1;
	text = realloc(buf->text, alloc);
	if (!text)
		goto fail;
	buf->text = text;
	buf->alloc = alloc;
	return true;
fail:
	buf->failed = true;
	return false;
}

void strbuf_add_bytes(struct strbuf *buf, const void *bytes, size_t size)
{
	assert(buf);
	assert(bytes || size == 0);
	if (!strbuf_reserve(buf, size))
		return;
	if (size)
		memcpy(buf->text + buf->len, bytes, size);
	buf->len += size;
	buf->text[buf->len] = '\0';
}

void strbuf_add(struct strbuf *buf, const char *text)
{
	assert(text);
	strbuf_add_bytes(buf, text, strlen(text));
}

void strbuf_printf(struct strbuf *buf, const char *fmt, ...)
{
	va_list ap, again;
	int want;

	assert(buf && fmt);
	if (!strbuf_reserve(buf, 0))
		return;
	va_start(ap, fmt);
	va_copy(again, ap);
	want = vsnprintf(buf->text + buf->len, buf->alloc - buf->len, fmt, ap);
	if (want < 0)
		buf->failed = true;
	else if ((size_t)want >= buf->alloc - buf->len && strbuf_reserve(buf, (size_t)want))
		want = vsnprintf(buf->text + buf->len, buf->alloc - buf->len, fmt, again);
	va_end(again);
	va_end(ap);
	if (!buf->failed)
		buf->len += (size_t)want;
	buf->text[buf->len] = '\0';
}

void strbuf_clear(struct strbuf *buf)
{
	assert(buf);
	buf->len = 0;
	buf->failed = false;
	if (buf->text)
		buf->text[0] = '\0';
}

char *strbuf_take(struct strbuf *buf)
{
	char *text;

	assert(buf);
	if (!strbuf_reserve(buf, 0))
		return NULL;
	buf->text[buf->len] = '\0';
	text = take_ptr(buf->text);
	buf->len = 0;
	buf->alloc = 0;
	return text;
}

void strbuf_done(struct strbuf *buf)
{
	assert(buf);
	free(buf->text);
	*buf = (struct strbuf){ .max_len = buf->max_len };
}
