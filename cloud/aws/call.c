/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: one signed call
 *
 *   budget token ── credentials ── sign ── send ── answer
 *       ▲                            ▲               │
 *       │                            │               ├── 200: done
 *       │                            ├── AUTH: our clock is more than a minute off: sign again with the API's, once
 *       │                            ├── AUTH: temporary credentials: fetch others, once
 *       └── back-off ────────────────┴── RETRY, THROTTLED: while attempts and deadline last
 *                                                    └── everything else goes to the caller
 *
 * EC2 answers a wrong clock with a plain AuthFailure, so the Date header of each answer is remembered.
 */
#include <string.h>

#include "../http.h"
#include "../retry.h"
#include "api.h"
#include "auth.h"
#include "berth/err.h"
#include "berth/str.h"
#include "endpoint.h"
#include "errors.h"
#include "sigv4.h"

#define DOMAIN "ec2"

#define CONTENT_TYPE "application/x-www-form-urlencoded; charset=utf-8"
#define SERVICE      "ec2"
#define CONNECT_US   (3 * USEC_PER_SEC)
#define TIMEOUT_US   (10 * USEC_PER_SEC) /* of one attempt, as amazon-vpc-cni-k8s */
#define SKEW_MIN_US  (60 * USEC_PER_SEC) /* below this the clock is not why a signature was refused */
#define HEADERS      5

const struct retry_policy ec2_retry_policy = {
	.attempts_max = 8, /* with full jitter about 20 s of waiting after throttles, 3 s after transient failures */
	.transient_us = 50 * USEC_PER_MSEC, /* the AWS SDKs' base, revision of 2026 */
	.throttled_us = 1 * USEC_PER_SEC,
	.cap_us = 20 * USEC_PER_SEC,
};

/*
 * EC2 allows an account, per action and region, a bucket of 100 describes refilled at 20/s and one of 50 changes at 5/s:
 * https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html (the numbers of the changes of interfaces are
 * not documented; these are the ordinary ones). One node gets a part: the burst covers a cold start that fills four
 * NICs (about five changes each), and the rate is what a busy node needs. A fleet that takes more than there is is told
 * so, and each node then comes down to a share by itself.
 */
const struct budget_limit ec2_budget_limits[BUDGET_CLASS_COUNT] = {
	[BUDGET_READ] = { .burst = 40, .rate_max = 5, .rate_min = 0.2 },
	[BUDGET_MUTATE] = { .burst = 24, .rate_max = 2, .rate_min = 0.1 },
};

int ec2_init(struct ec2 *ec2, struct aws_base *base, struct aws_endpoints *endpoints, struct aws_auth *auth,
	     struct err *err)
{
	memset(ec2, 0, sizeof(*ec2));
	ec2->base = base;
	ec2->endpoints = endpoints;
	ec2->auth = auth;
	if (budget_init(&ec2->budget, ec2_budget_limits, base->boot, base->random, base->stop) < 0)
		return err_set(err, ERR_RETRY, DOMAIN, "no mutex");
	return 0;
}

void ec2_done(struct ec2 *ec2)
{
	budget_done(&ec2->budget);
}

/* One attempt under way. */
struct attempt {
	struct ec2 *ec2;
	const struct ec2_call *call;
	int64_t deadline_us;
	int64_t offset_us; /* of this answer's clock */
	bool has_offset;
	int64_t signed_skew_us;
	struct aws_creds creds;
	char region[AWS_REGION_SIZE];
	char url[AWS_URL_SIZE];
	char host[AWS_URL_SIZE];
};

static int prepare(struct attempt *a, struct err *err)
{
	const char *host;
	size_t len;

	/* A configured URL is signed for the region all the same. */
	if (aws_region(a->ec2->endpoints, a->deadline_us, a->region, err) < 0 ||
	    aws_endpoint(a->ec2->endpoints, AWS_EC2, a->deadline_us, a->url, err) < 0)
		return -1;
	len = http_url_host(a->url, &host);
	memcpy(a->host, host, len);
	a->host[len] = '\0';
	aws_creds_done(&a->creds);
	return aws_auth_get(a->ec2->auth, a->deadline_us, &a->creds, err);
}

static int sign(struct attempt *a, struct strbuf lines[static HEADERS], struct err *err)
{
	struct ec2 *ec2 = a->ec2;
	const struct sigv4_request request = {
		.path = http_url_path(a->url),
		.host = a->host,
		.content_type = CONTENT_TYPE,
		.body = a->call->form->text,
		.body_size = a->call->form->len,
		.region = a->region,
		.service = SERVICE,
		.access_key = a->creds.access_key.text,
		.secret_key = a->creds.secret_key.text,
		.token = a->creds.token.text,
		.time_us = clock_now(ec2->base->wall) + a->signed_skew_us,
	};
	char date[SIGV4_DATE_SIZE];
	int r = sigv4_date(request.time_us, date);

	strbuf_add(&lines[0], "Content-Type: " CONTENT_TYPE);
	strbuf_printf(&lines[1], "Host: %s", a->host);
	strbuf_printf(&lines[2], "X-Amz-Date: %s", date);
	strbuf_add(&lines[3], "Authorization: ");
	if (r == 0)
		r = sigv4_authorization(&request, &lines[3]);
	if (request.token) {
		strbuf_add(&lines[4], "X-Amz-Security-Token: ");
		strbuf_add(&lines[4], request.token);
	}
	if (r < 0)
		return err_set(err, ERR_BUG, DOMAIN, "cannot sign: %s", errno_str(-r));
	return 0;
}

static void count(struct attempt *a)
{
	if (a->call->class == BUDGET_READ)
		a->ec2->base->counters.reads++;
	else
		a->ec2->base->counters.mutations++;
}

static int transmit(struct attempt *a, struct http_response *ret, struct err *err)
{
	struct strbuf lines[HEADERS] = { 0 };
	const char *headers[HEADERS];
	bool failed = false;
	struct http_request request = {
		.method = HTTP_POST,
		.url = a->url,
		.headers = headers,
		.body = a->call->form->text,
		.body_size = a->call->form->len,
		.idempotent = a->call->idempotent,
		.connect_us = CONNECT_US,
		.timeout_us = TIMEOUT_US,
		.deadline_us = a->deadline_us,
	};
	int r = sign(a, lines, err);

	for (unsigned i = 0; i < HEADERS; i++) {
		failed = failed || lines[i].failed;
		if (lines[i].text)
			headers[request.header_count++] = lines[i].text;
	}
	if (r == 0 && failed)
		r = err_set(err, ERR_RETRY, DOMAIN, "no memory");
	if (r == 0) {
		count(a);
		r = http_send(a->ec2->base->http, &request, ret, err);
	}
	for (unsigned i = 0; i < HEADERS; i++) {
		crypto_wipe(lines[i].text, lines[i].len);
		strbuf_done(&lines[i]);
	}
	return r;
}

static void note_date(struct attempt *a, const struct http_response *response)
{
	if (response->date_us == 0)
		return;
	a->has_offset = true;
	a->offset_us = response->date_us - clock_now(a->ec2->base->wall);
	a->ec2->offset_us = a->offset_us;
}

/* What the answer means; the budget learns of it. */
static int judge(struct attempt *a, const struct http_response *response, struct err *err)
{
	int64_t now = clock_now(a->ec2->base->boot);
	struct ec2_error error = { 0 };
	enum err_class class;

	if (response->status == 200) {
		budget_ok(&a->ec2->budget, a->call->class, now);
		return 0;
	}
	(void)ec2_decode_error(response->body, response->body_size, &error);
	class = ec2_classify(response->status, error.code, error.message);
	/* "Not before N seconds" is said to all of us, whatever the word beside it. */
	if (class == ERR_THROTTLED || response->retry_after_ms > 0)
		budget_throttled(&a->ec2->budget, a->call->class, now, response->retry_after_ms);
	else
		budget_ok(&a->ec2->budget, a->call->class, now);
	if (class == ERR_AMBIGUOUS && a->call->idempotent)
		class = ERR_RETRY;
	err_set(err, class, DOMAIN, "%s", error.code[0] ? error.message : "not an EC2 answer");
	err_set_ident(err, error.code);
	err->code = (int)response->status;
	err->retry_after_ms = response->retry_after_ms;
	/* AWS explains a wrong signature by the text that should have been signed, session token included. */
	aws_err_withhold(err, &a->creds.token);
	aws_err_withhold(err, &a->creds.secret_key);
	return -1;
}

static int attempt(struct attempt *a, struct http_response *ret, struct err *err)
{
	struct ec2 *ec2 = a->ec2;
	int64_t waited = 0;
	int r;

	a->has_offset = false;
	a->signed_skew_us = ec2->skew_us;
	http_response_done(ret);
	if (prepare(a, err) < 0)
		return -1;
	r = budget_take(&ec2->budget, a->call->class, a->deadline_us, &waited, err);
	ec2->base->counters.throttle_wait_us += (uint64_t)(waited > 0 ? waited : 0);
	if (r < 0 || transmit(a, ret, err) < 0)
		return -1;
	note_date(a, ret);
	return judge(a, ret, err);
}

struct repairs {
	bool clock, creds;
};

/* Did something change that makes a refused signature worth another one? */
static bool repair(struct attempt *a, struct repairs *done, const struct err *err)
{
	int64_t off = a->offset_us - a->signed_skew_us;

	if (err->class != ERR_AUTH || ec2_is_denied(err->ident))
		return false;
	if (!done->clock && a->has_offset && ec2_is_clock_word(err->ident) &&
	    (off > SKEW_MIN_US || off < -SKEW_MIN_US)) {
		done->clock = true;
		a->ec2->skew_us = a->offset_us;
		return true;
	}
	if (done->creds || !a->creds.access_key.text)
		return false;
	done->creds = true;
	return aws_auth_refused(a->ec2->auth, a->creds.generation);
}

int ec2_call(struct ec2 *ec2, const struct ec2_call *call, int64_t deadline_us, struct http_response *ret,
	     struct err *err)
{
	struct attempt a = { .ec2 = ec2, .call = call, .deadline_us = deadline_us };
	struct retry retry = {
		.policy = &ec2_retry_policy,
		.random = ec2->base->random,
		.clock = ec2->base->boot,
		.stop = ec2->base->stop,
		.deadline_us = deadline_us,
	};
	struct http_response response = { 0 };
	struct repairs done = { 0 };
	struct err why;
	int r;

	if (call->form->failed)
		return err_set(err, ERR_RETRY, DOMAIN, "%s: no memory", call->action);
	do {
		r = attempt(&a, &response, &why);
		if (r < 0)
			ec2->base->counters.errors[why.class]++;
		/* Who deletes what is in use waits until it is not, or leaves it to its user: not here. */
	} while (r < 0 && (repair(&a, &done, &why) || (!ec2_is_in_use(&why) && retry_again(&retry, &why))));
	aws_creds_done(&a.creds);
	if (r == 0) {
		*ret = response;
		return 0;
	}
	http_response_done(&response);
	err_wrap(&why, "%s", call->action);
	if (err)
		*err = why;
	return -1;
}
