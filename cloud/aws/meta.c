/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: IMDSv2
 *
 * Every item needs a session token, fetched by PUT. One token is shared and replaced at 80 % of its life; a 401 means
 * that it is no good any more (the instance was restored from a snapshot, the service restarted): a new one, once. From
 * behind a hop limit the PUT is never answered, so a time-out is an ordinary outcome here. A missing item is a 404 with
 * an HTML page: no body is looked at before the status.
 */
#include "meta.h"

#include <string.h>

#include "../http.h"
#include "../retry.h"
#include "aws.h"
#include "berth/err.h"
#include "berth/str.h"

#define DOMAIN "imds"

#define TOKEN_TTL_S       21600 /* the longest that the service grants */
#define TOKEN_TTL_TEXT    "21600"
#define TOKEN_USE_PERCENT 80          /* of its life */
#define TOKEN_LEN_MAX     1024U       /* bytes; about 56 in the field */
#define ITEM_MAX          (64U << 10) /* bytes; credentials are about 1.5 KiB, 64 addresses 1 KiB */
#define CONNECT_US        (1 * USEC_PER_SEC)
#define TIMEOUT_US        (2 * USEC_PER_SEC) /* the SDKs allow 1 s */
#define TOKENS_MAX        2                  /* per item: the shared one, and one new one after a 401 */

static const struct retry_policy policy = {
	.attempts_max = 3, /* as the SDKs' guides propose */
	.transient_us = 100 * USEC_PER_MSEC,
	.throttled_us = 500 * USEC_PER_MSEC,
	.cap_us = 2 * USEC_PER_SEC,
};

int aws_meta_init(struct aws_meta *meta, struct aws_base *base, const char *endpoint, struct err *err)
{
	size_t len;

	memset(meta, 0, sizeof(*meta));
	if (!endpoint || !*endpoint)
		endpoint = META_DEFAULT_ENDPOINT;
	if (!http_url_is_base(endpoint))
		return err_set(err, ERR_INVALID, DOMAIN, "bad metadata endpoint: %s", endpoint);
	meta->base = base;
	meta->endpoint = strdup(endpoint);
	if (!meta->endpoint)
		return err_set(err, ERR_RETRY, DOMAIN, "no memory");
	len = strlen(meta->endpoint);
	while (len > 0 && meta->endpoint[len - 1] == '/')
		meta->endpoint[--len] = '\0';
	if (pthread_mutex_init(&meta->lock, NULL) != 0) {
		free(meta->endpoint);
		return err_set(err, ERR_RETRY, DOMAIN, "no mutex");
	}
	return 0;
}

void aws_meta_done(struct aws_meta *meta)
{
	(void)pthread_mutex_destroy(&meta->lock);
	secret_done(&meta->token);
	free(meta->endpoint);
	meta->endpoint = NULL;
}

static enum err_class by_status(unsigned status)
{
	if (status == 404)
		return ERR_NOTFOUND;
	if (status == 401 || status == 403)
		return ERR_AUTH;
	if (status == 429 || status == 503)
		return ERR_THROTTLED;
	if (status >= 500 && status <= 599)
		return ERR_RETRY;
	return ERR_PROTOCOL;
}

static int refused(const struct http_response *response, const char *what, struct err *err)
{
	err_set(err, by_status(response->status), DOMAIN, "%s: HTTP status %u", what, response->status);
	err->code = (int)response->status;
	err->retry_after_ms = response->retry_after_ms;
	return -1;
}

/* Something else may answer on that address: a captive portal, a proxy. */
static bool is_page(const struct http_response *response)
{
	return str_starts(response->content_type, "text/html") || response->body[0] == '<' ||
	       strlen(response->body) != response->body_size;
}

static int request(struct aws_meta *meta, enum http_method method, const char *path, const char *header,
		   size_t body_max, int64_t deadline_us, struct http_response *ret, struct err *err)
{
	_cleanup_strbuf_ struct strbuf url = { 0 };
	const struct http_request req = {
		.method = method,
		.headers = &header,
		.header_count = 1,
		.idempotent = true,
		.no_proxy = true,
		.body_max = body_max,
		.connect_us = CONNECT_US,
		.timeout_us = TIMEOUT_US,
		.deadline_us = deadline_us,
	};
	struct http_request filled = req;
	int r;

	strbuf_add(&url, meta->endpoint);
	strbuf_add(&url, path);
	if (url.failed)
		return err_set(err, ERR_RETRY, DOMAIN, "no memory");
	filled.url = url.text;
	meta->base->counters.metadata++;
	r = http_send(meta->base->http, &filled, ret, err);
	return r < 0 ? err_wrap(err, "metadata service") : 0;
}

static int token_fetch(struct aws_meta *meta, int64_t deadline_us, struct secret *ret, struct err *err)
{
	_cleanup_http_ struct http_response response = { 0 };
	int64_t now;

	if (request(meta, HTTP_PUT, "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: " TOKEN_TTL_TEXT,
		    TOKEN_LEN_MAX, deadline_us, &response, err) < 0)
		return -1;
	if (response.status != 200)
		return refused(&response, "session token", err);
	if (response.body_size == 0 || is_page(&response) || strpbrk(response.body, "\r\n"))
		return err_set(err, ERR_PROTOCOL, DOMAIN, "session token: not a token");
	if (secret_set(ret, response.body, response.body_size) < 0)
		return err_set(err, ERR_RETRY, DOMAIN, "no memory");
	now = clock_now(meta->base->boot);
	pthread_mutex_lock(&meta->lock);
	if (secret_set(&meta->token, ret->text, ret->size) == 0)
		meta->refresh_us = now + TOKEN_TTL_S * USEC_PER_SEC * TOKEN_USE_PERCENT / 100;
	pthread_mutex_unlock(&meta->lock);
	return 0;
}

/* The shared token, or a new one when there is none, when it is old, or when it is the one that was @refused_token. */
static int token_get(struct aws_meta *meta, const struct secret *refused_token, int64_t deadline_us, struct secret *ret,
		     struct err *err)
{
	int64_t now = clock_now(meta->base->boot);
	bool usable;
	int r = 0;

	pthread_mutex_lock(&meta->lock);
	usable = meta->token.text && now < meta->refresh_us &&
		 !(refused_token->text && str_equal(refused_token->text, meta->token.text));
	if (usable)
		r = secret_set(ret, meta->token.text, meta->token.size);
	pthread_mutex_unlock(&meta->lock);
	if (r < 0)
		return err_set(err, ERR_RETRY, DOMAIN, "no memory");
	return usable ? 0 : token_fetch(meta, deadline_us, ret, err);
}

static int item_fetch(struct aws_meta *meta, const char *path, const struct secret *token, int64_t deadline_us,
		      struct http_response *ret, struct err *err)
{
	_cleanup_strbuf_ struct strbuf header = { 0 };
	int r;

	strbuf_add(&header, "X-aws-ec2-metadata-token: ");
	strbuf_add(&header, token->text);
	if (header.failed)
		return err_set(err, ERR_RETRY, DOMAIN, "no memory");
	r = request(meta, HTTP_GET, path, header.text, ITEM_MAX, deadline_us, ret, err);
	crypto_wipe(header.text, header.len);
	return r;
}

static int try_get(struct aws_meta *meta, const char *path, int64_t deadline_us, char **ret, struct err *err)
{
	_cleanup_http_ struct http_response response = { 0 };
	_cleanup_secret_ struct secret bad = { 0 };

	for (unsigned i = 0; i < TOKENS_MAX; i++) {
		_cleanup_secret_ struct secret token = { 0 };

		http_response_done(&response);
		if (token_get(meta, &bad, deadline_us, &token, err) < 0 ||
		    item_fetch(meta, path, &token, deadline_us, &response, err) < 0)
			return -1;
		if (response.status != 401)
			break;
		secret_done(&bad);
		bad = token;
		token = (struct secret){ 0 };
	}
	if (response.status != 200)
		return refused(&response, path, err);
	if (is_page(&response))
		return err_set(err, ERR_PROTOCOL, DOMAIN, "%s: not an answer of the metadata service", path);
	*ret = take_ptr(response.body);
	return 0;
}

int aws_meta_get(struct aws_meta *meta, const char *path, int64_t deadline_us, char **ret, struct err *err)
{
	_cleanup_strbuf_ struct strbuf full = { 0 };
	struct retry retry = {
		.policy = &policy,
		.random = meta->base->random,
		.clock = meta->base->boot,
		.stop = meta->base->stop,
		.deadline_us = deadline_us,
	};
	struct err why;

	strbuf_add(&full, "/latest/meta-data/");
	strbuf_add(&full, path);
	if (full.failed)
		return err_set(err, ERR_RETRY, DOMAIN, "no memory");
	do {
		if (try_get(meta, full.text, deadline_us, ret, &why) == 0)
			return 0;
		meta->base->counters.errors[why.class]++;
	} while (retry_again(&retry, &why));
	if (err)
		*err = why;
	return -1;
}
