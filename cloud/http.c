/* SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#include "berth/err.h"
#include "berth/str.h"
#include "berth/version.h"
#include "crypto.h"
#include "retry.h"

#define DOMAIN "http"

#define POOL_MAX          24          /* idle handles: more than threads that call one provider at once */
#define HEADER_LINES_MAX  128         /* of an answer; EC2 sends about 10 */
#define HEADER_BYTES_MAX  (64U << 10) /* of an answer, all lines */
#define BODY_FIRST_ALLOC  (4U << 10)
#define CONNECTIONS_MAX   2L     /* kept open by one idle handle: API and metadata */
#define RETRY_AFTER_MAX_S 86400U /* longer ones are cut to a day */

struct http {
	pthread_mutex_t lock; /* of idle and idle_count; never held during I/O */
	CURL *idle[POOL_MAX];
	unsigned idle_count;
	char *ca_bundle;
	const struct clock *boot;
	const struct clock *wall;
	struct stop *stop;
};

/* One request under way. */
struct transfer {
	struct http *http;
	const struct http_request *request;
	struct http_response response;
	size_t body_alloc;
	size_t body_max;
	unsigned header_lines;
	size_t header_bytes;
	const char *refused; /* why we broke it off; NULL = we did not */
};

struct http *http_new(const char *ca_bundle, const struct clock *boot, const struct clock *wall, struct stop *stop)
{
	struct http *http = calloc(1, sizeof(*http));

	if (!http)
		return NULL;
	http->boot = boot;
	http->wall = wall;
	http->stop = stop;
	if (ca_bundle && *ca_bundle && !(http->ca_bundle = strdup(ca_bundle)))
		goto fail;
	/* Counted by libcurl and thread-safe since 7.84, so that each client may do it. */
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		goto fail;
	if (pthread_mutex_init(&http->lock, NULL) != 0) {
		curl_global_cleanup();
		goto fail;
	}
	return http;
fail:
	free(http->ca_bundle);
	free(http);
	return NULL;
}

void http_free(struct http *http)
{
	if (!http)
		return;
	while (http->idle_count > 0)
		curl_easy_cleanup(http->idle[--http->idle_count]);
	(void)pthread_mutex_destroy(&http->lock);
	curl_global_cleanup();
	free(http->ca_bundle);
	free(http);
}

static CURL *handle_get(struct http *http)
{
	CURL *curl = NULL;

	pthread_mutex_lock(&http->lock);
	if (http->idle_count > 0)
		curl = http->idle[--http->idle_count];
	pthread_mutex_unlock(&http->lock);
	return curl ? curl : curl_easy_init();
}

static void handle_put(struct http *http, CURL *curl)
{
	/* Options and with them every borrowed pointer and header go; connections and sessions stay. */
	curl_easy_reset(curl);
	pthread_mutex_lock(&http->lock);
	if (http->idle_count < POOL_MAX) {
		http->idle[http->idle_count++] = curl;
		curl = NULL;
	}
	pthread_mutex_unlock(&http->lock);
	if (curl)
		curl_easy_cleanup(curl);
}

void http_response_done(struct http_response *response)
{
	crypto_wipe(response->body, response->body_size);
	free(response->body);
	memset(response, 0, sizeof(*response));
}

/* realloc() would leave unwiped copies of credentials behind. */
static bool body_grow(struct transfer *t, size_t need)
{
	size_t alloc = t->body_alloc ? t->body_alloc : BODY_FIRST_ALLOC;
	char *body;

	while (alloc < need)
		alloc *= 2;
	if (alloc == t->body_alloc)
		return true;
	body = malloc(alloc);
	if (!body)
		return false;
	if (t->response.body) {
		memcpy(body, t->response.body, t->response.body_size);
		crypto_wipe(t->response.body, t->response.body_size);
		free(t->response.body);
	}
	t->response.body = body;
	t->body_alloc = alloc;
	return true;
}

static size_t on_body(char *bytes, size_t unit, size_t count, void *ctx)
{
	struct transfer *t = ctx;
	size_t size = unit * count;

	if (size > t->body_max - t->response.body_size) {
		t->refused = "answer is larger than the limit";
		return 0;
	}
	if (!body_grow(t, t->response.body_size + size + 1)) {
		t->refused = "no memory for the answer";
		return 0;
	}
	memcpy(t->response.body + t->response.body_size, bytes, size);
	t->response.body_size += size;
	return size;
}

static bool header_value(const char *line, const char *name, char *value, size_t value_size)
{
	size_t len = strlen(name);
	size_t n;

	if (strncasecmp(line, name, len) != 0 || line[len] != ':')
		return false;
	line += len + 1;
	line += strspn(line, " \t");
	n = strcspn(line, "\r\n");
	while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t'))
		n--;
	if (n >= value_size)
		n = value_size - 1;
	memcpy(value, line, n);
	value[n] = '\0';
	return true;
}

static int64_t http_date_us(const char *text)
{
	time_t seconds = curl_getdate(text, NULL);

	return seconds > 0 ? (int64_t)seconds * USEC_PER_SEC : 0;
}

/* RFC 9110 10.2.3: seconds or a date. */
static int64_t retry_after_ms(const struct http *http, const char *text)
{
	uint64_t seconds;
	int64_t date;

	if (str_u64(text, 0, UINT32_MAX, &seconds) == 0)
		return (int64_t)(seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * 1000;
	date = http_date_us(text);
	if (date == 0 || date <= clock_now(http->wall))
		return 0;
	date = (date - clock_now(http->wall)) / USEC_PER_MSEC;
	return date < (int64_t)RETRY_AFTER_MAX_S * 1000 ? date : (int64_t)RETRY_AFTER_MAX_S * 1000;
}

static size_t on_header(char *bytes, size_t unit, size_t count, void *ctx)
{
	struct transfer *t = ctx;
	size_t size = unit * count;
	char line[512], value[256];

	t->header_bytes += size;
	if (++t->header_lines > HEADER_LINES_MAX || t->header_bytes > HEADER_BYTES_MAX) {
		t->refused = "answer has too many headers";
		return 0;
	}
	/* The lines that we read are short; a longer one is none of them. */
	if (size >= sizeof(line))
		return size;
	memcpy(line, bytes, size);
	line[size] = '\0';
	if (header_value(line, "Content-Type", value, sizeof(value)))
		(void)str_copy(t->response.content_type, sizeof(t->response.content_type), value);
	else if (header_value(line, "Date", value, sizeof(value)))
		t->response.date_us = http_date_us(value);
	else if (header_value(line, "Retry-After", value, sizeof(value)))
		t->response.retry_after_ms = retry_after_ms(t->http, value);
	return size;
}

static int on_progress(void *ctx, _unused_ curl_off_t a, _unused_ curl_off_t b, _unused_ curl_off_t c,
		       _unused_ curl_off_t d)
{
	struct transfer *t = ctx;

	return stop_is_set(t->http->stop) ? 1 : 0;
}

static long to_ms(int64_t us)
{
	int64_t ms = us / USEC_PER_MSEC;

	/* 0 would mean "no limit" to libcurl. */
	return ms < 1 ? 1 : ms > INT32_MAX ? INT32_MAX : (long)ms;
}

static bool list_add(struct curl_slist **list, const char *line)
{
	struct curl_slist *longer;

	if (strpbrk(line, "\r\n"))
		return false;
	longer = curl_slist_append(*list, line);
	if (!longer)
		return false;
	*list = longer;
	return true;
}

static struct curl_slist *headers_make(const struct http_request *request)
{
	struct curl_slist *list = NULL;
	/* Expect would cost a round trip; Accept says nothing here. */
	bool ok = request->header_count <= HTTP_HEADERS_MAX && list_add(&list, "Expect:") && list_add(&list, "Accept:");

	for (unsigned i = 0; ok && i < request->header_count; i++)
		ok = list_add(&list, request->headers[i]);
	if (!ok) {
		curl_slist_free_all(list);
		return NULL;
	}
	return list;
}

static void method_apply(CURL *curl, const struct http_request *request)
{
	switch (request->method) {
	case HTTP_GET:
		curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
		break;
	case HTTP_PUT:
	case HTTP_POST:
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body ? request->body : "");
		if (request->method == HTTP_PUT)
			curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, "PUT");
		break;
	case HTTP_METHOD_COUNT:
		break;
	}
}

static void options_apply(CURL *curl, struct transfer *t, struct curl_slist *headers, int64_t left_us)
{
	const struct http_request *request = t->request;
	int64_t total = request->timeout_us < left_us ? request->timeout_us : left_us;

	curl_easy_setopt(curl, CURLOPT_URL, request->url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (t->http->ca_bundle)
		curl_easy_setopt(curl, CURLOPT_CAINFO, t->http->ca_bundle);
	if (request->no_proxy)
		curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "berth/" BERTH_VERSION);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
			 to_ms(request->connect_us < total ? request->connect_us : total));
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, to_ms(total));
	curl_easy_setopt(curl, CURLOPT_MAXCONNECTS, CONNECTIONS_MAX);
	curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, request->idempotent ? 0L : 1L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
	method_apply(curl, request);
}

static int fail(CURL *curl, const struct transfer *t, CURLcode code, struct err *err)
{
	const char *why = t->refused                          ? t->refused
			  : code == CURLE_ABORTED_BY_CALLBACK ? "stopped"
							      : curl_easy_strerror(code);
	const char *host;
	int host_len = (int)http_url_host(t->request->url, &host);
	enum err_class class = ERR_RETRY;
	long sent = 0;

	(void)curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &sent);
	if (sent > 0 && !t->request->idempotent)
		class = ERR_AMBIGUOUS;
	else if (t->refused)
		class = ERR_PROTOCOL;
	else if (code == CURLE_SSL_CACERT_BADFILE || code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT)
		class = ERR_INVALID;
	err_set(err, class, DOMAIN, "%.*s: %s", host_len, host, why);
	if (err)
		err->code = (int)code;
	return -1;
}

static int perform(CURL *curl, struct transfer *t, struct http_response *ret, struct err *err)
{
	CURLcode code = curl_easy_perform(curl);
	long status = 0;

	if (code != CURLE_OK)
		return fail(curl, t, code, err);
	(void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (!body_grow(t, t->response.body_size + 1)) {
		t->refused = "no memory for the answer";
		return fail(curl, t, CURLE_OUT_OF_MEMORY, err);
	}
	t->response.body[t->response.body_size] = '\0';
	t->response.status = (unsigned)status;
	*ret = t->response;
	memset(&t->response, 0, sizeof(t->response));
	return 0;
}

static void headers_free(struct curl_slist *list)
{
	/* Tokens and signatures were copied into the list. */
	for (struct curl_slist *i = list; i; i = i->next)
		crypto_wipe(i->data, strlen(i->data));
	curl_slist_free_all(list);
}

int http_send(struct http *http, const struct http_request *request, struct http_response *ret, struct err *err)
{
	struct transfer t = {
		.http = http,
		.request = request,
		.body_max = request->body_max ? request->body_max : HTTP_BODY_MAX_DEFAULT,
	};
	int64_t left = request->deadline_us - clock_now(http->boot);
	struct curl_slist *headers;
	CURL *curl;
	int r;

	if (!http_url_valid(request->url))
		return err_set(err, ERR_INVALID, DOMAIN, "not a usable URL: %s", request->url);
	if (left <= 0 || stop_is_set(http->stop))
		return err_set(err, ERR_RETRY, DOMAIN, "%s before the request was sent",
			       left <= 0 ? "deadline passed" : "stopped");
	headers = headers_make(request);
	curl = headers ? handle_get(http) : NULL;
	if (!curl) {
		headers_free(headers);
		return err_set(err, ERR_RETRY, DOMAIN, "no memory for a request");
	}
	options_apply(curl, &t, headers, left);
	r = perform(curl, &t, ret, err);
	handle_put(http, curl);
	headers_free(headers);
	http_response_done(&t.response);
	return r;
}

static const char *after_scheme(const char *url)
{
	if (str_starts(url, "https://"))
		return url + strlen("https://");
	if (str_starts(url, "http://"))
		return url + strlen("http://");
	return NULL;
}

bool http_url_valid(const char *url)
{
	const char *host = after_scheme(url);
	size_t len;

	if (!host)
		return false;
	len = strcspn(host, "/?");
	if (len == 0 || memchr(host, '@', len))
		return false;
	for (const char *c = url; *c; c++) {
		if (!isgraph((unsigned char)*c) || strchr("#\\\"<>", *c))
			return false;
	}
	return true;
}

bool http_url_is_base(const char *url)
{
	return http_url_valid(url) && !strchr(url, '?');
}

size_t http_url_host(const char *url, const char **ret)
{
	const char *host = after_scheme(url);

	*ret = host ? host : "";
	return strcspn(*ret, "/?");
}

const char *http_url_path(const char *url)
{
	const char *host = after_scheme(url);
	const char *path = host ? strchr(host, '/') : NULL;

	return path ? path : "/";
}
