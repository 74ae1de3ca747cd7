/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's small HTTP server; no thread of its own. */
#include "ipamd/metrics.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <microhttpd.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/ipaddr.h"

#define METRICS_DOMAIN      "metrics"
#define METRICS_CONNS_MAX   16U       /* a few scrapers and probes at once */
#define METRICS_TIMEOUT_S   10U       /* idle connections end: scrapers come every 15-60 s and connect anew */
#define METRICS_MEMORY_MAX  16384U    /* bytes of one connection: request line and headers */
#define METRICS_PAGE_MAX    (1 << 20) /* bytes; the page is about 20 KiB */
#define METRICS_RUNS        8         /* rounds per call, so that the loop gets its turn */
#define METRICS_TEXT_FORMAT "text/plain; version=0.0.4; charset=utf-8"

struct metrics {
	struct MHD_Daemon *daemon;
	int fd; /* borrowed from the daemon */
	void (*render)(void *ctx, struct strbuf *out);
	bool (*healthy)(void *ctx);
	void *ctx;
};

int metrics_address_parse(const char *address, struct ipaddr *ret_addr, uint16_t *ret_port)
{
	const char *colon = strrchr(address, ':');
	char host[IPADDR_STRLEN + 2];
	struct ipaddr addr;
	uint64_t port;
	size_t len;
	bool v6;

	if (!colon || colon - address >= (ptrdiff_t)sizeof(host) || str_u64(colon + 1, 1, UINT16_MAX, &port) < 0)
		return -EINVAL;
	v6 = address[0] == '[';
	len = (size_t)(colon - address);
	if (v6 && (len < 2 || address[len - 1] != ']'))
		return -EINVAL;
	memcpy(host, address + v6, len - 2 * (size_t)v6);
	host[len - 2 * (size_t)v6] = '\0';
	if (ipaddr_parse(host, &addr) < 0 || (addr.family == IP_V6) != v6)
		return -EINVAL;
	if (ret_addr)
		*ret_addr = addr;
	if (ret_port)
		*ret_port = (uint16_t)port;
	return 0;
}

/* ---- answering ---- */

/* Queues @text, which it takes (malloc); @type of content. */
static enum MHD_Result answer_take(struct MHD_Connection *connection, unsigned status, const char *type, char *text)
{
	struct MHD_Response *response;
	enum MHD_Result result;

	if (!text)
		return MHD_NO;
	response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(text);
		return MHD_NO;
	}
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		(void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *text)
{
	return answer_take(connection, status, "text/plain; charset=utf-8", strdup(text));
}

static enum MHD_Result answer_page(struct metrics *metrics, struct MHD_Connection *connection)
{
	_cleanup_strbuf_ struct strbuf page = { .max_len = METRICS_PAGE_MAX };

	metrics->render(metrics->ctx, &page);
	if (page.failed)
		return answer(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "no memory for the page\n");
	return answer_take(connection, MHD_HTTP_OK, METRICS_TEXT_FORMAT, strbuf_take(&page));
}

/* Signature of MHD_AccessHandlerCallback. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
				  const char *version, const char *upload, size_t *upload_size, void **request)
{
	struct metrics *metrics = cls;

	(void)version;
	(void)upload;
	(void)upload_size;
	if (!str_equal(method, MHD_HTTP_METHOD_GET) && !str_equal(method, MHD_HTTP_METHOD_HEAD))
		return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET or HEAD only\n");
	/* The first call comes with the headers; who answers in it ends the connection, and scrapers like to keep it.
	 */
	if (!*request) {
		*request = metrics;
		return MHD_YES;
	}
	if (str_equal(url, "/metrics"))
		return answer_page(metrics, connection);
	if (!str_equal(url, "/healthz"))
		return answer(connection, MHD_HTTP_NOT_FOUND, "there are /metrics and /healthz\n");
	if (metrics->healthy(metrics->ctx))
		return answer(connection, MHD_HTTP_OK, "ok\n");
	return answer(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "not ready\n");
}

/* ---- start and end ---- */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static void fill_address(union address *ret, const struct ipaddr *addr, uint16_t port)
{
	memset(ret, 0, sizeof(*ret));
	if (addr->family == IP_V6) {
		ret->v6.sin6_family = AF_INET6;
		ret->v6.sin6_port = htons(port);
		memcpy(&ret->v6.sin6_addr, addr->bytes, sizeof(ret->v6.sin6_addr));
		return;
	}
	ret->v4.sin_family = AF_INET;
	ret->v4.sin_port = htons(port);
	memcpy(&ret->v4.sin_addr, addr->bytes, sizeof(ret->v4.sin_addr));
}

static int start(struct metrics *metrics, const union address *address, uint16_t port)
{
	unsigned flags = MHD_USE_EPOLL | (address->any.sa_family == AF_INET6 ? MHD_USE_IPv6 : 0U);
	const union MHD_DaemonInfo *info;

	errno = 0;
	metrics->daemon =
		MHD_start_daemon(flags, port, NULL, NULL, on_request, metrics, MHD_OPTION_SOCK_ADDR, &address->any,
				 MHD_OPTION_CONNECTION_LIMIT, METRICS_CONNS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
				 METRICS_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)METRICS_MEMORY_MAX,
				 MHD_OPTION_END);
	if (!metrics->daemon)
		return -(errno ? errno : EINVAL);
	info = MHD_get_daemon_info(metrics->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info || info->epoll_fd < 0)
		return -ENOTSUP;
	metrics->fd = info->epoll_fd;
	return 0;
}

int metrics_open(const char *address, void (*render)(void *ctx, struct strbuf *out), bool (*healthy)(void *ctx),
		 void *ctx, struct metrics **ret, struct err *err)
{
	struct metrics *metrics;
	union address sock_address;
	struct ipaddr addr;
	uint16_t port;
	int r;

	assert(address && render && healthy && ret);
	if (metrics_address_parse(address, &addr, &port) < 0)
		return err_set(err, ERR_INVALID, METRICS_DOMAIN, "\"%.64s\" is not IP:PORT", address);
	metrics = calloc(1, sizeof(*metrics));
	if (!metrics)
		return err_set(err, ERR_RETRY, METRICS_DOMAIN, "no memory");
	metrics->render = render;
	metrics->healthy = healthy;
	metrics->ctx = ctx;
	fill_address(&sock_address, &addr, port);
	r = start(metrics, &sock_address, port);
	if (r < 0) {
		metrics_close(metrics);
		return err_set_errno(err, r == -EADDRINUSE ? ERR_CONFLICT : ERR_INVALID, METRICS_DOMAIN, -r,
				     "serve metrics on %s", address);
	}
	*ret = metrics;
	return 0;
}

void metrics_close(struct metrics *metrics)
{
	if (!metrics)
		return;
	if (metrics->daemon)
		MHD_stop_daemon(metrics->daemon);
	free(metrics);
}

int metrics_fd(const struct metrics *metrics)
{
	return metrics->fd;
}

int64_t metrics_run(struct metrics *metrics)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms = 0;

	/* A timeout of 0 is the library's word for "call again at once"; the last 0 goes to the caller. */
	for (int i = 0; i < METRICS_RUNS; i++) {
		if (MHD_run(metrics->daemon) != MHD_YES || MHD_get_timeout(metrics->daemon, &timeout_ms) != MHD_YES)
			return INT64_MAX;
		if (timeout_ms > 0)
			break;
	}
	return timeout_ms > INT32_MAX ? INT32_MAX * USEC_PER_MSEC : (int64_t)timeout_ms * USEC_PER_MSEC;
}
