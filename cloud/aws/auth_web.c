/* SPDX-License-Identifier: Apache-2.0 */
#include "auth_web.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../http.h"
#include "../retry.h"
#include "aws.h"
#include "berth/err.h"
#include "berth/str.h"
#include "codec.h"
#include "creds.h"
#include "endpoint.h"
#include "errors.h"
#include "form.h"

#define DOMAIN "sts"

#define ACTION       "AssumeRoleWithWebIdentity"
#define CONTENT_TYPE "Content-Type: application/x-www-form-urlencoded; charset=utf-8"
#define ARN_LEN_MIN  20U /* arnType of the model of STS */
#define ARN_LEN_MAX  2048U
#define BODY_MAX     (64U << 10) /* bytes of an answer; about 2 KiB with a long session token */
#define CONNECT_US   (3 * USEC_PER_SEC)
#define TIMEOUT_US   (10 * USEC_PER_SEC) /* of one attempt, as for EC2 */
#define ESCAPED      3U                  /* bytes that one byte becomes in a form at worst */
#define FORM_REST    512U                /* bytes of a form beside token and role */

#define SESSION_LEN_MIN 2U
#define SESSION_CHARS   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+=,.@-"

static const struct retry_policy policy = {
	.attempts_max = 3, /* as the SDKs' standard mode */
	.transient_us = 100 * USEC_PER_MSEC,
	.throttled_us = 1 * USEC_PER_SEC,
	.cap_us = 5 * USEC_PER_SEC,
};

/* ---- the environment ---- */

static int session_set(struct aws_web *web, const char *wanted, struct err *err)
{
	char host[AWS_SESSION_SIZE] = "";
	size_t len;

	if (wanted) {
		len = strlen(wanted);
		if (len < SESSION_LEN_MIN || len >= AWS_SESSION_SIZE || strspn(wanted, SESSION_CHARS) != len)
			return err_set(err, ERR_INVALID, DOMAIN,
				       "AWS_ROLE_SESSION_NAME: not 2-64 of [A-Za-z0-9_+=,.@-]");
		(void)str_copy(web->session, sizeof(web->session), wanted);
		return 0;
	}
	/* Too long a name is cut, and then may lack its end. */
	(void)gethostname(host, sizeof(host) - 1);
	(void)snprintf(web->session, sizeof(web->session), "berth-%.*s", (int)(sizeof(host) - sizeof("berth-")), host);
	for (char *c = web->session; *c; c++) {
		if (!strchr(SESSION_CHARS, *c))
			*c = '-';
	}
	return 0;
}

int aws_web_init(struct aws_web *web, struct aws_base *base, struct aws_endpoints *endpoints,
		 const struct cloud_config *config, struct err *err)
{
	const char *token_file = aws_env(config, "AWS_WEB_IDENTITY_TOKEN_FILE");
	const char *role = aws_env(config, "AWS_ROLE_ARN");
	size_t len = role ? strlen(role) : 0;

	memset(web, 0, sizeof(*web));
	web->base = base;
	web->endpoints = endpoints;
	/* A role alone means nothing: it may be there for other programs. */
	if (!token_file)
		return 0;
	if (len < ARN_LEN_MIN || len > ARN_LEN_MAX || !str_starts(role, "arn:"))
		return err_set(err, ERR_INVALID, DOMAIN, "AWS_WEB_IDENTITY_TOKEN_FILE needs AWS_ROLE_ARN: %s",
			       role ? "not an ARN" : "not set");
	if (session_set(web, aws_env(config, "AWS_ROLE_SESSION_NAME"), err) < 0)
		return -1;
	web->token_file = strdup(token_file);
	web->role = strdup(role);
	if (web->token_file && web->role)
		return 0;
	aws_web_done(web);
	return err_set(err, ERR_RETRY, DOMAIN, "no memory");
}

void aws_web_done(struct aws_web *web)
{
	free(web->token_file);
	free(web->role);
	web->token_file = web->role = NULL;
}

/* ---- one request ---- */

static void form_make(const struct aws_web *web, const struct secret *token, struct strbuf *form)
{
	/* Now, so that growing later leaves no piece of the token behind. */
	(void)strbuf_reserve(form, ESCAPED * (token->size + strlen(web->role)) + FORM_REST);
	sts_form_begin(form, ACTION);
	ec2_form_add(form, "RoleArn", web->role);
	ec2_form_add(form, "RoleSessionName", web->session);
	ec2_form_add(form, "WebIdentityToken", token->text);
}

static int transmit(const struct aws_web *web, const struct strbuf *form, int64_t deadline_us,
		    struct http_response *ret, struct err *err)
{
	static const char *const headers[] = { CONTENT_TYPE };
	char url[AWS_URL_SIZE];
	const struct http_request request = {
		.method = HTTP_POST,
		.url = url,
		.headers = headers,
		.header_count = ARRAY_SIZE(headers),
		.body = form->text,
		.body_size = form->len,
		.idempotent = true,
		.body_max = BODY_MAX,
		.connect_us = CONNECT_US,
		.timeout_us = TIMEOUT_US,
		.deadline_us = deadline_us,
	};

	if (form->failed)
		return err_set(err, ERR_RETRY, DOMAIN, "no memory");
	if (aws_endpoint(web->endpoints, AWS_STS, deadline_us, url, err) < 0)
		return -1;
	web->base->counters.reads++;
	return http_send(web->base->http, &request, ret, err);
}

static int refused(const struct http_response *response, struct err *err)
{
	struct ec2_error error = { 0 };
	enum err_class class;

	(void)ec2_decode_error(response->body, response->body_size, &error);
	class = ec2_classify(response->status, error.code, error.message);
	/* Asking twice does no harm. */
	if (class == ERR_AMBIGUOUS)
		class = ERR_RETRY;
	err_set(err, class, DOMAIN, ACTION ": %s", error.code[0] ? error.message : "not an answer of STS");
	err_set_ident(err, error.code);
	err->code = (int)response->status;
	err->retry_after_ms = response->retry_after_ms;
	return -1;
}

static int try_fetch(const struct aws_web *web, int64_t deadline_us, struct aws_creds *ret, struct err *err)
{
	_cleanup_http_ struct http_response response = { 0 };
	_cleanup_wiped_strbuf_ struct strbuf form = { 0 };
	_cleanup_secret_ struct secret token = { 0 };
	int r;

	if (aws_token_read(web->token_file, &token, err) < 0)
		return -1;
	form_make(web, &token, &form);
	if (transmit(web, &form, deadline_us, &response, err) < 0)
		return -1;
	if (response.status == 200)
		r = sts_decode_creds(response.body, response.body_size, ret, err);
	else
		r = refused(&response, err);
	if (r < 0)
		aws_err_withhold(err, &token);
	else if (response.date_us > 0)
		/* Told by their clock: by a wrong one of ours the set might look spent when it is new. */
		ret->expires_us += clock_now(web->base->wall) - response.date_us;
	return r;
}

int aws_web_fetch(const struct aws_web *web, int64_t deadline_us, struct aws_creds *ret, struct err *err)
{
	struct aws_base *base = web->base;
	struct retry retry = {
		.policy = &policy,
		.random = base->random,
		.clock = base->boot,
		.stop = base->stop,
		.deadline_us = deadline_us,
	};
	struct err why;

	do {
		if (try_fetch(web, deadline_us, ret, &why) == 0)
			return 0;
		base->counters.errors[why.class]++;
	} while (retry_again(&retry, &why));
	if (err)
		*err = why;
	return -1;
}
