/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: errors
 *
 * One value type says what went wrong and, by its class, what to DO about it. It lives in the caller's frame, so that
 * reporting needs no memory. A function that takes a struct err * returns 0 or -1; it leaves the error untouched on
 * success and sets all of it on failure. Leaf helpers of lib/base return 0 or -errno instead.
 *
 * Class is the only thing policy looks at; `ident` is the cloud's own word and is for people and for the table of the
 * provider that made it.
 */
#ifndef BERTH_ERR_H
#define BERTH_ERR_H

#include <stdbool.h>
#include <stdint.h>

#include "berth/attr.h"

enum err_class {
	ERR_NONE,      /* no error */
	ERR_RETRY,     /* nothing happened: the same call may be made again after a delay */
	ERR_AMBIGUOUS, /* sent, no answer, not idempotent: read back before anything else is done to the object */
	ERR_THROTTLED, /* slow the whole provider down; retry_after_ms may say for how long */
	ERR_EXHAUSTED, /* another subnet, NIC or unit, or wait; never retried at once */
	ERR_AUTH,      /* refresh credentials once, then tell the operator which permission is missing */
	ERR_NOTFOUND,  /* the object does not exist; for a delete this is success */
	ERR_CONFLICT,  /* our view is stale: read again, then decide again */
	ERR_INVALID,   /* the request or the configuration is wrong: never retried */
	ERR_PROTOCOL,  /* the other side speaks something that we do not understand */
	ERR_BUG,       /* we are wrong */
	ERR_CLASS_COUNT
};

struct err {
	enum err_class class;
	const char *domain;     /* who noticed: "netlink", "ec2", "store"; a string literal, never freed */
	int code;               /* errno, HTTP status or library code, by domain; 0 = none */
	int64_t retry_after_ms; /* THROTTLED: what the other side asked for; 0 = it did not say */
	char ident[64];         /* the other side's own word, e.g. "RequestLimitExceeded"; "" = none */
	char msg[256];          /* for people; outermost context first; cut to size, never overflowing */
};

/**
 * err_set() - describe a failure
 * @err: filled in; may be NULL when the caller does not want to know
 * @class: what to do about it, not ERR_NONE
 * @domain: string literal
 * Return: -1, always, so that `return err_set(...)` works.
 */
_printf_(4, 5) int err_set(struct err *err, enum err_class class, const char *domain, const char *fmt, ...);

/** err_set_errno() - err_set() with ": strerror(errnum)" appended and @errnum (positive) as code. Return: -1. */
_printf_(5, 6) int err_set_errno(struct err *err, enum err_class class, const char *domain, int errnum, const char *fmt,
				 ...);

/** err_set_ident() - remember the other side's own word for it (cut to size). @err may be NULL. */
void err_set_ident(struct err *err, const char *ident);

/** err_wrap() - put "context: " in front of the message; class, domain, code and ident stay. Return: -1. */
_printf_(2, 3) int err_wrap(struct err *err, const char *fmt, ...);

/** err_class_name() - "RETRY", "AMBIGUOUS", ...; "?" for a value that is no class. */
const char *err_class_name(enum err_class class);

/** err_class_parse() - the class of that name. Return: 0 or -EINVAL. */
int err_class_parse(const char *name, enum err_class *ret);

/** errno_str() - thread-safe text for a positive errno; never NULL. The only place that may call strerror_r(). */
const char *errno_str(int errnum);

/* clang's analyzer sees one file at a time: tell it what these return, or every out parameter looks unset. */
#ifdef __clang_analyzer__
#define err_set(...)       (err_set(__VA_ARGS__), -1)
#define err_set_errno(...) (err_set_errno(__VA_ARGS__), -1)
#define err_wrap(...)      (err_wrap(__VA_ARGS__), -1)
#endif

#endif
