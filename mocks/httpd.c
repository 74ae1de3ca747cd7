/* SPDX-License-Identifier: Apache-2.0 */
#include "httpd.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#include "berth/attr.h"
#include "berth/err.h"

#define LISTEN_BACKLOG 256 /* a node's burst of calls arrives within one scheduler tick */

struct httpd {
	struct MHD_Daemon *daemon;
	httpd_handler *handler;
	void *ctx;
	char url[HTTPD_URL_LEN];
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping;
};

struct exchange {
	struct httpd_request request;
	struct strbuf body;
	bool started;
};

const char *httpd_header(const struct httpd_request *request, const char *name)
{
	for (unsigned i = 0; i < request->header_count; i++)
		if (strcasecmp(request->headers[i].name, name) == 0)
			return request->headers[i].value;
	return NULL;
}

void httpd_reply_header(struct httpd_reply *reply, const char *name, const char *value)
{
	assert(reply->header_count < HTTPD_REPLY_HEADERS_MAX);
	reply->headers[reply->header_count++] = (struct httpd_header){ .name = name, .value = value };
}

const char *httpd_url(const struct httpd *httpd)
{
	return httpd->url;
}

bool httpd_wait(struct httpd *httpd, int64_t ms)
{
	struct timespec until;
	bool stopping;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000) * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&httpd->lock);
	while (!httpd->stopping && pthread_cond_timedwait(&httpd->wake, &httpd->lock, &until) != ETIMEDOUT)
		;
	stopping = httpd->stopping;
	pthread_mutex_unlock(&httpd->lock);
	return !stopping;
}

/* ---- one exchange ---- */

/* libmicrohttpd decodes the path that it hands to the handler; signatures are over what was really sent. */
static void *exchange_new(void *cls, const char *uri, struct MHD_Connection *connection)
{
	struct exchange *exchange = calloc(1, sizeof(*exchange));
	char *query;

	(void)cls;
	(void)connection;
	if (!exchange)
		return NULL;
	exchange->body.max_len = HTTPD_BODY_MAX;
	exchange->request.path = strdup(uri);
	exchange->request.query = "";
	query = exchange->request.path ? strchr(exchange->request.path, '?') : NULL;
	if (query) {
		*query = '\0';
		exchange->request.query = query + 1;
	}
	return exchange;
}

static void exchange_done(void *cls, struct MHD_Connection *connection, void **con_cls,
			  enum MHD_RequestTerminationCode why)
{
	struct exchange *exchange = *con_cls;

	(void)cls;
	(void)connection;
	(void)why;
	if (!exchange)
		return;
	free(exchange->request.path);
	strbuf_done(&exchange->body);
	free(exchange);
	*con_cls = NULL;
}

static enum MHD_Result collect_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct httpd_request *request = cls;

	(void)kind;
	if (request->header_count == HTTPD_HEADERS_MAX)
		return MHD_NO;
	request->headers[request->header_count++] = (struct httpd_header){ .name = name, .value = value ? value : "" };
	return MHD_YES;
}

static struct ipaddr client_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	struct ipaddr addr = { 0 };
	struct sockaddr_storage from = { 0 };

	if (!info || !info->client_addr)
		return addr;
	if (info->client_addr->sa_family == AF_INET) {
		memcpy(&from, info->client_addr, sizeof(struct sockaddr_in));
		addr.family = IP_V4;
		memcpy(addr.bytes, &((struct sockaddr_in *)&from)->sin_addr, 4);
	} else if (info->client_addr->sa_family == AF_INET6) {
		memcpy(&from, info->client_addr, sizeof(struct sockaddr_in6));
		addr.family = IP_V6;
		memcpy(addr.bytes, &((struct sockaddr_in6 *)&from)->sin6_addr, 16);
	}
	return addr;
}

struct half {
	char *bytes; /* owned */
	size_t size; /* bytes that are sent before the connection breaks */
};

static ssize_t half_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	const struct half *half = cls;

	if (pos >= half->size)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	size_t left = half->size - (size_t)pos, size = left < max ? left : max;

	memcpy(buf, half->bytes + pos, size);
	return (ssize_t)size;
}

static void half_free(void *cls)
{
	struct half *half = cls;

	free(half->bytes);
	free(half);
}

static struct MHD_Response *half_response(char *text, size_t size)
{
	struct half *half = calloc(1, sizeof(*half));
	struct MHD_Response *response;

	if (!half)
		return NULL;
	*half = (struct half){ .bytes = text, .size = size / 2 };
	response = MHD_create_response_from_callback(size, size / 2 + 1, half_read, half, half_free);
	if (!response)
		free(half);
	return response;
}

static enum MHD_Result reply_send(struct MHD_Connection *connection, struct httpd_reply *reply)
{
	size_t size = reply->body.len;
	_cleanup_free_ char *text = strbuf_take(&reply->body);
	struct MHD_Response *response;
	enum MHD_Result result;

	if (!text)
		return MHD_NO;
	if (reply->end == HTTPD_HALF)
		response = half_response(text, size);
	else
		response = MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
	if (!response)
		return MHD_NO;
	text = NULL;
	for (unsigned i = 0; i < reply->header_count; i++)
		(void)MHD_add_response_header(response, reply->headers[i].name, reply->headers[i].value);
	result = MHD_queue_response(connection, reply->status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result answer(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
			      const char *version, const char *upload, size_t *upload_size, void **con_cls)
{
	struct httpd *httpd = cls;
	struct exchange *exchange = *con_cls;
	struct httpd_reply reply = { .status = 200 };
	enum MHD_Result result = MHD_NO;

	(void)url;
	(void)version;
	if (!exchange || !exchange->request.path)
		return MHD_NO;
	if (!exchange->started) {
		exchange->started = true;
		return MHD_YES;
	}
	if (*upload_size > 0) {
		strbuf_add_bytes(&exchange->body, upload, *upload_size);
		*upload_size = 0;
		return MHD_YES;
	}
	if (exchange->body.failed)
		return MHD_NO;
	exchange->request.method = method;
	exchange->request.body = exchange->body.text ? exchange->body.text : "";
	exchange->request.body_size = exchange->body.len;
	exchange->request.client = client_of(connection);
	(void)MHD_get_connection_values(connection, MHD_HEADER_KIND, collect_header, &exchange->request);
	httpd->handler(httpd->ctx, &exchange->request, &reply);
	if (reply.end != HTTPD_CLOSE)
		result = reply_send(connection, &reply);
	strbuf_done(&reply.body);
	return result;
}

/* ---- listening ---- */

static int address_parse(const char *listen, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	const char *colon = strrchr(listen, ':');
	char host[IPADDR_STRLEN + 2];
	struct ipaddr addr;
	uint64_t port;
	size_t len;

	if (!colon || (size_t)(colon - listen) >= sizeof(host) || str_u64(colon + 1, 0, UINT16_MAX, &port) < 0)
		return -EINVAL;
	len = (size_t)(colon - listen);
	if (len > 2 && listen[0] == '[' && listen[len - 1] == ']') {
		listen++;
		len -= 2;
	}
	memcpy(host, listen, len);
	host[len] = '\0';
	if (ipaddr_parse(host, &addr) < 0)
		return -EINVAL;
	*ret = (struct sockaddr_storage){ 0 };
	if (addr.family == IP_V4) {
		struct sockaddr_in *in = (struct sockaddr_in *)ret;

		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)port);
		memcpy(&in->sin_addr, addr.bytes, 4);
		*ret_len = sizeof(*in);
	} else {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)port);
		memcpy(&in6->sin6_addr, addr.bytes, 16);
		*ret_len = sizeof(*in6);
	}
	return 0;
}

static void url_set(struct httpd *httpd, int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} self = { 0 };
	socklen_t len = sizeof(self);
	char host[INET6_ADDRSTRLEN] = "?";

	(void)getsockname(fd, &self.any, &len);
	if (self.any.sa_family == AF_INET) {
		(void)inet_ntop(AF_INET, &self.in.sin_addr, host, sizeof(host));
		(void)snprintf(httpd->url, sizeof(httpd->url), "http://%s:%u", host, ntohs(self.in.sin_port));
	} else {
		(void)inet_ntop(AF_INET6, &self.in6.sin6_addr, host, sizeof(host));
		(void)snprintf(httpd->url, sizeof(httpd->url), "http://[%s]:%u", host, ntohs(self.in6.sin6_port));
	}
}

static int listen_on(const struct httpd_options *options, int *ret, struct err *err)
{
	struct sockaddr_storage addr;
	socklen_t len;
	int one = 1, ttl = (int)options->ttl;

	if (address_parse(options->listen, &addr, &len) < 0)
		return err_set(err, ERR_INVALID, "httpd", "%s is not ADDR:PORT", options->listen);
	_cleanup_close_ int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_set_errno(err, ERR_RETRY, "httpd", errno, "socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* Accepted sockets inherit it, and so does the SYN-ACK: a client behind a router never gets a connection. */
	if (ttl && (addr.ss_family == AF_INET ? setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl))
					      : setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &ttl, sizeof(ttl))) < 0)
		return err_set_errno(err, ERR_INVALID, "httpd", errno, "set TTL %d", ttl);
	if (bind(fd, (const struct sockaddr *)&addr, len) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
		return err_set_errno(err, ERR_RETRY, "httpd", errno, "listen on %s", options->listen);
	*ret = take_fd(fd);
	return 0;
}

static void wait_init(struct httpd *httpd)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&httpd->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&httpd->wake, &attr);
	pthread_condattr_destroy(&attr);
}

static void wait_done(struct httpd *httpd)
{
	pthread_cond_destroy(&httpd->wake);
	pthread_mutex_destroy(&httpd->lock);
}

int httpd_start(const struct httpd_options *options, struct httpd **ret, struct err *err)
{
	_cleanup_free_ struct httpd *httpd = calloc(1, sizeof(*httpd));
	_cleanup_close_ int fd = -1;

	if (!httpd)
		return err_set_errno(err, ERR_RETRY, "httpd", ENOMEM, "start");
	if (listen_on(options, &fd, err) < 0)
		return -1;
	httpd->handler = options->handler;
	httpd->ctx = options->ctx;
	url_set(httpd, fd);
	wait_init(httpd);
	httpd->daemon =
		MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, 0,
				 NULL, NULL, answer, httpd, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK,
				 exchange_new, NULL, MHD_OPTION_NOTIFY_COMPLETED, exchange_done, NULL, MHD_OPTION_END);
	if (!httpd->daemon) {
		wait_done(httpd);
		return err_set(err, ERR_RETRY, "httpd", "cannot start a daemon on %s", options->listen);
	}
	(void)take_fd(fd); /* the daemon closes it */
	*ret = take_ptr(httpd);
	return 0;
}

void httpd_interrupt(struct httpd *httpd)
{
	pthread_mutex_lock(&httpd->lock);
	httpd->stopping = true;
	pthread_cond_broadcast(&httpd->wake);
	pthread_mutex_unlock(&httpd->lock);
}

void httpd_stop(struct httpd *httpd)
{
	if (!httpd)
		return;
	httpd_interrupt(httpd);
	MHD_stop_daemon(httpd->daemon);
	wait_done(httpd);
	free(httpd);
}
