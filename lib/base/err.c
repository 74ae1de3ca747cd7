/* SPDX-License-Identifier: Apache-2.0 */
#include "berth/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "utf8.h"

/* What err.h tells clang's analyzer about these functions is for their callers. */
#undef err_set
#undef err_set_errno
#undef err_wrap

static const char *const class_names[] = {
	[ERR_NONE] = "NONE",
	[ERR_RETRY] = "RETRY",
	[ERR_AMBIGUOUS] = "AMBIGUOUS",
	[ERR_THROTTLED] = "THROTTLED",
	[ERR_EXHAUSTED] = "EXHAUSTED",
	[ERR_AUTH] = "AUTH",
	[ERR_NOTFOUND] = "NOTFOUND",
	[ERR_CONFLICT] = "CONFLICT",
	[ERR_INVALID] = "INVALID",
	[ERR_PROTOCOL] = "PROTOCOL",
	[ERR_BUG] = "BUG",
};
static_assert(ARRAY_SIZE(class_names) == ERR_CLASS_COUNT, "every class has a name");

/* Appends what fits of @text at @len of a buffer of @size; returns the new length. */
static size_t append_cut(char *buf, size_t size, size_t len, const char *text)
{
	size_t room = size - 1 - len;
	size_t want = strnlen(text, room + 1);
	size_t take = want > room ? utf8_cut(text, room) : want;

	memcpy(buf + len, text, take);
	buf[len + take] = '\0';
	return len + take;
}

_printf_(3, 0) static void format_cut(char *buf, size_t size, const char *fmt, va_list ap)
{
	int want = vsnprintf(buf, size, fmt, ap);

	if (want < 0)
		buf[0] = '\0';
	else if ((size_t)want >= size)
		buf[utf8_cut(buf, size - 1)] = '\0';
}

/* @msg is never inside @err: arguments of the caller's format may point into the error that is replaced. */
static void fill(struct err *err, enum err_class class, const char *domain, int code, const char *msg)
{
	err->class = class;
	err->domain = domain;
	err->code = code;
	err->retry_after_ms = 0;
	err->ident[0] = '\0';
	(void)append_cut(err->msg, sizeof(err->msg), 0, msg);
}

int err_set(struct err *err, enum err_class class, const char *domain, const char *fmt, ...)
{
	char msg[sizeof(err->msg)];
	va_list ap;

	assert(class > ERR_NONE && class < ERR_CLASS_COUNT);
	assert(fmt);
	if (!err)
		return -1;
	va_start(ap, fmt);
	format_cut(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	fill(err, class, domain, 0, msg);
	return -1;
}

int err_set_errno(struct err *err, enum err_class class, const char *domain, int errnum, const char *fmt, ...)
{
	char msg[sizeof(err->msg)];
	const char *why = errno_str(errnum);
	size_t len;
	va_list ap;

	assert(class > ERR_NONE && class < ERR_CLASS_COUNT);
	assert(fmt);
	if (!err)
		return -1;
	/* The reason says more than the end of a long message: room for it is kept. */
	va_start(ap, fmt);
	format_cut(msg, sizeof(msg) - strlen(": ") - strlen(why), fmt, ap);
	va_end(ap);
	len = append_cut(msg, sizeof(msg), strlen(msg), ": ");
	(void)append_cut(msg, sizeof(msg), len, why);
	fill(err, class, domain, errnum, msg);
	return -1;
}

void err_set_ident(struct err *err, const char *ident)
{
	char copy[sizeof(err->ident)];

	assert(ident);
	if (!err)
		return;
	(void)append_cut(copy, sizeof(copy), 0, ident);
	memcpy(err->ident, copy, sizeof(copy));
}

int err_wrap(struct err *err, const char *fmt, ...)
{
	char msg[sizeof(err->msg)];
	size_t len;
	va_list ap;

	assert(fmt);
	if (!err)
		return -1;
	assert(err->class != ERR_NONE);
	va_start(ap, fmt);
	format_cut(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	len = append_cut(msg, sizeof(msg), strlen(msg), ": ");
	(void)append_cut(msg, sizeof(msg), len, err->msg);
	memcpy(err->msg, msg, sizeof(msg));
	return -1;
}

const char *err_class_name(enum err_class class)
{
	return (unsigned)class < ERR_CLASS_COUNT ? class_names[class] : "?";
}

int err_class_parse(const char *name, enum err_class *ret)
{
	assert(name);
	assert(ret);
	for (unsigned i = 0; i < ERR_CLASS_COUNT; i++) {
		if (strcmp(name, class_names[i]) != 0)
			continue;
		*ret = (enum err_class)i;
		return 0;
	}
	return -EINVAL;
}

const char *errno_str(int errnum)
{
	const char *text = strerrordesc_np(errnum);

	return text ? text : "Unknown error";
}
