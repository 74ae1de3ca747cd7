/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP side of the mock clouds over libmicrohttpd: one thread per connection, so that an answer may be late, lost
 * or cut without holding up others.
 */
#ifndef MOCKS_HTTPD_H
#define MOCKS_HTTPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "berth/ipaddr.h"
#include "berth/str.h"

struct err;
struct httpd;

#define HTTPD_HEADERS_MAX       64 /* of one request; an SDK sends about ten */
#define HTTPD_REPLY_HEADERS_MAX 8
#define HTTPD_BODY_MAX          (1U << 20) /* bytes of a request; the largest real one is a few KiB */
#define HTTPD_URL_LEN           64         /* "http://[v6]:port" and a terminator */

struct httpd_header {
	const char *name;
	const char *value;
};

/** struct httpd_request - borrowed for the time of the handler. */
struct httpd_request {
	const char *method;
	char *path;        /* as on the wire: not decoded, without the query */
	const char *query; /* as on the wire, "" when there is none */
	struct httpd_header headers[HTTPD_HEADERS_MAX];
	unsigned header_count;
	const char *body; /* terminated */
	size_t body_size; /* bytes */
	struct ipaddr client;
};

enum httpd_end {
	HTTPD_SEND,  /* the whole answer */
	HTTPD_HALF,  /* headers and half of the body, then close */
	HTTPD_CLOSE, /* no answer: close the connection */
};

struct httpd_reply {
	unsigned status;
	struct strbuf body;
	struct httpd_header headers[HTTPD_REPLY_HEADERS_MAX]; /* string literals or owned by who lives longer */
	unsigned header_count;
	enum httpd_end end;
};

/** httpd_handler - fill in @reply, which comes as an empty 200. Context: a thread of the connection. */
typedef void httpd_handler(void *ctx, const struct httpd_request *request, struct httpd_reply *reply);

struct httpd_options {
	const char *listen; /* "ADDR:PORT" or "[V6]:PORT"; port 0 = any */
	unsigned ttl;       /* IP TTL of everything sent, 0 = the system's */
	httpd_handler *handler;
	void *ctx;
};

/** httpd_start() - listen and answer. Errors: INVALID (address), RETRY (port in use). */
int httpd_start(const struct httpd_options *options, struct httpd **ret, struct err *err);
/** httpd_stop() - end all waits and connections, join the threads. NULL is fine. */
void httpd_stop(struct httpd *httpd);
/** httpd_url() - "http://ADDR:PORT" with the real port; borrowed. */
const char *httpd_url(const struct httpd *httpd);
/** httpd_wait() - hold this connection's thread for @ms. Return: false when the listener is being stopped. */
bool httpd_wait(struct httpd *httpd, int64_t ms);
/** httpd_interrupt() - end every httpd_wait() of this listener now and for good. */
void httpd_interrupt(struct httpd *httpd);

/** httpd_header() - the value of the first header of that name, any case; NULL when absent. */
const char *httpd_header(const struct httpd_request *request, const char *name);
/** httpd_reply_header() - add one header; both strings must outlive the reply. */
void httpd_reply_header(struct httpd_reply *reply, const char *name, const char *value);

#endif
