/* SPDX-License-Identifier: Apache-2.0 */
#include "auth_container.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "../http.h"
#include "../retry.h"
#include "aws.h"
#include "berth/err.h"
#include "berth/ipaddr.h"
#include "berth/json.h"
#include "berth/str.h"
#include "creds.h"
#include "errors.h"

#define DOMAIN "container"

#define ECS_HOST     "http://169.254.170.2"
#define URL_LEN_MAX  2048U
#define BODY_MAX     (64U << 10) /* bytes of an answer; about 2 KiB */
#define CONNECT_US   (1 * USEC_PER_SEC)
#define TIMEOUT_US   (2 * USEC_PER_SEC) /* as botocore */
#define HEADER_START "Authorization: "

static const struct retry_policy policy = {
	.attempts_max = 3, /* as botocore, which waits 1 s in between */
	.transient_us = 1 * USEC_PER_SEC,
	.throttled_us = 1 * USEC_PER_SEC,
	.cap_us = 2 * USEC_PER_SEC,
};

/* ---- where they may come from ---- */

static bool is_loopback(const struct ipaddr *addr)
{
	static const struct ipaddr v6 = { .family = IP_V6, .bytes = { [15] = 1 } };

	return addr->family == IP_V4 ? addr->bytes[0] == 127 : ipaddr_equal(addr, &v6);
}

/* Agents of ECS, of EKS Pod Identity, and of the latter by IPv6. */
static bool is_agent(const struct ipaddr *addr)
{
	static const char *const agents[] = { "169.254.170.2", "169.254.170.23", "fd00:ec2::23" };
	struct ipaddr agent;

	for (size_t i = 0; i < ARRAY_SIZE(agents); i++) {
		if (ipaddr_parse(agents[i], &agent) == 0 && ipaddr_equal(&agent, addr))
			return true;
	}
	return false;
}

/* The host alone: no port, no brackets. */
static int host_copy(const char *url, char *ret, size_t size)
{
	const char *host;
	size_t len = http_url_host(url, &host);
	const char *end = len > 0 && host[0] == '[' ? memchr(host, ']', len) : NULL;

	if (end) {
		host++;
		len = (size_t)(end - host);
	} else if ((end = memchr(host, ':', len))) {
		len = (size_t)(end - host);
	}
	if (len >= size)
		return -1;
	memcpy(ret, host, len);
	ret[len] = '\0';
	return 0;
}

bool aws_container_url_allowed(const char *url)
{
	char host[IPADDR_STRLEN];
	struct ipaddr addr;

	if (!http_url_valid(url) || strlen(url) > URL_LEN_MAX)
		return false;
	if (str_starts(url, "https://"))
		return true;
	if (host_copy(url, host, sizeof(host)) < 0)
		return false;
	if (strcasecmp(host, "localhost") == 0)
		return true;
	return ipaddr_parse(host, &addr) == 0 && (is_loopback(&addr) || is_agent(&addr));
}

/* ---- the environment ---- */

static int url_make(struct aws_container *container, const char *relative, const char *full, struct err *err)
{
	_cleanup_strbuf_ struct strbuf url = { 0 };

	if (relative && relative[0] != '/')
		return err_set(err, ERR_INVALID, DOMAIN, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: not a path");
	strbuf_add(&url, relative ? ECS_HOST : full);
	strbuf_add(&url, relative ? relative : "");
	if (!url.failed && !aws_container_url_allowed(url.text))
		return err_set(err, ERR_INVALID, DOMAIN,
			       "AWS_CONTAINER_CREDENTIALS_%s_URI: only https, a loopback address, 169.254.170.2, "
			       "169.254.170.23 or fd00:ec2::23",
			       relative ? "RELATIVE" : "FULL");
	container->url = strbuf_take(&url);
	return container->url ? 0 : err_set(err, ERR_RETRY, DOMAIN, "no memory");
}

static int token_make(struct aws_container *container, const char *file, const char *token, struct err *err)
{
	if (file) {
		container->token_file = strdup(file);
		return container->token_file ? 0 : err_set(err, ERR_RETRY, DOMAIN, "no memory");
	}
	if (!token)
		return 0;
	if (!aws_token_usable(token))
		return err_set(err, ERR_INVALID, DOMAIN, "AWS_CONTAINER_AUTHORIZATION_TOKEN: not a token");
	return secret_set(&container->token, token, strlen(token)) == 0 ? 0
									: err_set(err, ERR_RETRY, DOMAIN, "no memory");
}

int aws_container_init(struct aws_container *container, struct aws_base *base, const struct cloud_config *config,
		       struct err *err)
{
	const char *relative = aws_env(config, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = aws_env(config, "AWS_CONTAINER_CREDENTIALS_FULL_URI");

	memset(container, 0, sizeof(*container));
	container->base = base;
	if (!relative && !full)
		return 0;
	if (url_make(container, relative, full, err) == 0 &&
	    token_make(container, aws_env(config, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
		       aws_env(config, "AWS_CONTAINER_AUTHORIZATION_TOKEN"), err) == 0)
		return 0;
	aws_container_done(container);
	return -1;
}

void aws_container_done(struct aws_container *container)
{
	free(container->url);
	free(container->token_file);
	secret_done(&container->token);
	container->url = container->token_file = NULL;
}

/* ---- one request ---- */

/* What the agent's own words mean, else its status. */
static enum err_class classify(unsigned status, const char *code)
{
	enum err_class class = ec2_classify(status, code, "");

	if (class == ERR_AMBIGUOUS)
		return ERR_RETRY;
	/* Whatever it does not like about the request is about who asks. */
	return status >= 400 && status <= 499 && class != ERR_THROTTLED && class != ERR_RETRY ? ERR_AUTH : class;
}

static int refused(unsigned status, const char *text, struct err *err)
{
	const char *code = "", *message = "";
	json_t *json = NULL;

	/* ECS writes them small, EKS too, others as they like; it may also be no JSON at all. */
	if (json_parse(text, strlen(text), DOMAIN, &json, NULL) == 0) {
		(void)json_get_str_opt(json, DOMAIN, "Code", &code, NULL);
		(void)json_get_str_opt(json, DOMAIN, "code", &code, NULL);
		(void)json_get_str_opt(json, DOMAIN, "Message", &message, NULL);
		(void)json_get_str_opt(json, DOMAIN, "message", &message, NULL);
	}
	err_set(err, classify(status, code), DOMAIN, "the agent answers with status %u: %s", status,
		*message ? message : code);
	err_set_ident(err, code);
	if (err)
		err->code = (int)status;
	json_decref(json);
	return -1;
}

int aws_container_decode(unsigned status, const char *text, struct aws_creds *ret, struct err *err)
{
	return status == 200 ? aws_creds_decode(text, ret, err) : refused(status, text, err);
}

static int transmit(const struct aws_container *container, const struct secret *token, int64_t deadline_us,
		    struct http_response *ret, struct err *err)
{
	_cleanup_wiped_strbuf_ struct strbuf header = { 0 };
	const char *headers[1];
	struct http_request request = {
		.method = HTTP_GET,
		.url = container->url,
		.headers = headers,
		.idempotent = true,
		/* What must not leave the node is not for a proxy either. */
		.no_proxy = str_starts(container->url, "http://"),
		.body_max = BODY_MAX,
		.connect_us = CONNECT_US,
		.timeout_us = TIMEOUT_US,
		.deadline_us = deadline_us,
	};

	if (token->text) {
		(void)strbuf_reserve(&header, strlen(HEADER_START) + token->size);
		strbuf_add(&header, HEADER_START);
		strbuf_add(&header, token->text);
		if (header.failed)
			return err_set(err, ERR_RETRY, DOMAIN, "no memory");
		headers[request.header_count++] = header.text;
	}
	container->base->counters.metadata++;
	return http_send(container->base->http, &request, ret, err);
}

static int token_get(const struct aws_container *container, struct secret *ret, struct err *err)
{
	if (container->token_file)
		return aws_token_read(container->token_file, ret, err);
	if (container->token.text && secret_set(ret, container->token.text, container->token.size) < 0)
		return err_set(err, ERR_RETRY, DOMAIN, "no memory");
	return 0;
}

static int try_fetch(const struct aws_container *container, int64_t deadline_us, struct aws_creds *ret, struct err *err)
{
	_cleanup_http_ struct http_response response = { 0 };
	_cleanup_secret_ struct secret token = { 0 };

	if (token_get(container, &token, err) < 0 || transmit(container, &token, deadline_us, &response, err) < 0)
		return -1;
	if (aws_container_decode(response.status, response.body, ret, err) == 0)
		return 0;
	if (response.status != 200)
		err->retry_after_ms = response.retry_after_ms;
	aws_err_withhold(err, &token);
	return -1;
}

int aws_container_fetch(const struct aws_container *container, int64_t deadline_us, struct aws_creds *ret,
			struct err *err)
{
	struct aws_base *base = container->base;
	struct retry retry = {
		.policy = &policy,
		.random = base->random,
		.clock = base->boot,
		.stop = base->stop,
		.deadline_us = deadline_us,
	};
	struct err why;

	do {
		if (try_fetch(container, deadline_us, ret, &why) == 0)
			return 0;
		base->counters.errors[why.class]++;
	} while (retry_again(&retry, &why));
	if (err)
		*err = why;
	return -1;
}
