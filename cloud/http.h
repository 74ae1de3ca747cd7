/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the HTTP client
 *
 * The only door to libcurl. One client per provider, shared by its executor threads: each request takes an easy handle
 * from a small pool, so that connections are reused. No redirect is ever followed, certificates are always verified,
 * only http and https are spoken, bodies and headers are limited.
 *
 * What a failure means is decided by whether anything was sent:
 *
 *   nothing sent (no address, refused, TLS failed)   RETRY
 *   sent, no whole answer, request is idempotent     RETRY
 *   sent, no whole answer, not idempotent            AMBIGUOUS
 *   answer over a limit                              PROTOCOL (AMBIGUOUS when not idempotent)
 *
 * Trap: libcurl silently repeats a request, POST too, on a fresh connection when a reused one dies before the first
 * byte of the answer. A request that is not idempotent therefore always opens its own connection.
 */
#ifndef BERTH_CLOUD_HTTP_H
#define BERTH_CLOUD_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "berth/attr.h"
#include "berth/clock.h"

struct err;
struct stop;

#define HTTP_BODY_MAX_DEFAULT (16U << 20) /* bytes; a page of 1000 EC2 interfaces is about 3 MiB */
#define HTTP_HEADERS_MAX      32          /* header lines that one request may carry */

enum http_method { HTTP_GET, HTTP_PUT, HTTP_POST, HTTP_METHOD_COUNT };

/** struct http_request - all borrowed for the duration of the call. */
struct http_request {
	enum http_method method;
	const char *url;
	const char *const *headers; /* "Name: value"; no CR or LF */
	unsigned header_count;
	const char *body; /* POST and PUT; NULL = none */
	size_t body_size;
	bool idempotent;     /* may be repeated when the answer is lost */
	bool no_proxy;       /* metadata services: never through a proxy of the environment */
	size_t body_max;     /* bytes of the answer; 0: HTTP_BODY_MAX_DEFAULT */
	int64_t connect_us;  /* longest time to connect */
	int64_t timeout_us;  /* longest time for all of it */
	int64_t deadline_us; /* boot clock; the earlier of both counts */
};

/** struct http_response - zeroed before, filled on success; release with http_response_done(). */
struct http_response {
	unsigned status;
	char content_type[128];
	int64_t date_us;        /* Date header as wall clock; 0 = none */
	int64_t retry_after_ms; /* Retry-After header; 0 = none */
	char *body;             /* owned, terminated; wiped when released: it may hold credentials */
	size_t body_size;
};

struct http; /* thread-safe */

/**
 * http_new() - a client
 * @ca_bundle: file of trusted certificates, copied; NULL or "": the system's
 * @boot: boot clock of deadlines, borrowed; @wall: wall clock for Retry-After dates, borrowed
 * @stop: ends requests in flight within about a second, borrowed
 * Return: NULL without memory.
 */
struct http *http_new(const char *ca_bundle, const struct clock *boot, const struct clock *wall, struct stop *stop);
/** http_free() - no request may be in flight. @http may be NULL. */
void http_free(struct http *http);

/**
 * http_send() - one request, one answer of any status
 * Return: 0 with @ret filled, or -1. Errors: RETRY, AMBIGUOUS, PROTOCOL, INVALID (bad URL, unreadable CA bundle).
 * Context: any thread.
 */
_must_check_ int http_send(struct http *http, const struct http_request *request, struct http_response *ret,
			   struct err *err);

/** http_response_done() - wipe and release the body. */
void http_response_done(struct http_response *response);

#define _cleanup_http_ _cleanup_(http_response_done)

/** http_url_valid() - "http://" or "https://", a host, an optional port, path and query; no user or fragment. */
bool http_url_valid(const char *url);
/** http_url_is_base() - the same without a query: a path may be appended, and it is what a signature covers. */
bool http_url_is_base(const char *url);
/** http_url_host() - borrow "host[:port]" of a valid URL. Return: its length. */
size_t http_url_host(const char *url, const char **ret);
/** http_url_path() - borrow the path of a valid URL; "/" when there is none. */
const char *http_url_path(const char *url);

#endif
