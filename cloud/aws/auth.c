/* SPDX-License-Identifier: Apache-2.0 */
#include "auth.h"

#include <string.h>
#include <time.h>

#include "../retry.h"
#include "aws.h"
#include "berth/err.h"
#include "berth/str.h"
#include "meta.h"

#define DOMAIN "credentials"

#define ROLE_PATH       "iam/security-credentials/"
#define ROLE_LEN_MAX    128U                              /* IAM: role names have at most 64 characters */
#define AHEAD_US        (INT64_C(15) * 60 * USEC_PER_SEC) /* botocore's advisory refresh */
#define AHEAD_JITTER_US (INT64_C(2) * 60 * USEC_PER_SEC)  /* so that a cluster does not ask at once */
#define AGAIN_US        (INT64_C(5) * 60 * USEC_PER_SEC)  /* after a failure, or when an expired set was handed out */
#define AGAIN_JITTER_US (INT64_C(60) * USEC_PER_SEC)
#define WAIT_SLICE_US   (USEC_PER_SEC / 2) /* how soon a waiter sees its deadline or a stop */

static int creds_copy(const struct aws_creds *from, struct aws_creds *ret, struct err *err)
{
	if (aws_creds_set(ret, from->access_key.text, from->secret_key.text, from->token.text) < 0)
		return err_set(err, ERR_RETRY, DOMAIN, "no memory");
	ret->expires_us = from->expires_us;
	ret->generation = from->generation;
	return 0;
}

int aws_auth_init(struct aws_auth *auth, struct aws_base *base, struct aws_meta *meta, const char *access_key,
		  const char *secret_key, const char *token, struct err *err)
{
	bool has_key = access_key && *access_key;
	bool has_secret = secret_key && *secret_key;
	pthread_condattr_t attr;

	memset(auth, 0, sizeof(*auth));
	if (has_key != has_secret)
		return err_set(err, ERR_INVALID, DOMAIN, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together");
	auth->base = base;
	auth->meta = meta;
	auth->from_env = has_key;
	if (has_key && aws_creds_set(&auth->creds, access_key, secret_key, token) < 0)
		return err_set(err, ERR_RETRY, DOMAIN, "no memory");
	auth->creds.generation = 1;
	if (pthread_condattr_init(&attr) != 0 || pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) != 0 ||
	    pthread_mutex_init(&auth->lock, NULL) != 0 || pthread_cond_init(&auth->changed, &attr) != 0) {
		aws_creds_done(&auth->creds);
		return err_set(err, ERR_RETRY, DOMAIN, "no mutex");
	}
	(void)pthread_condattr_destroy(&attr);
	return 0;
}

void aws_auth_done(struct aws_auth *auth)
{
	(void)pthread_cond_destroy(&auth->changed);
	(void)pthread_mutex_destroy(&auth->lock);
	aws_creds_done(&auth->creds);
}

static int role_path(struct aws_auth *auth, int64_t deadline_us, struct strbuf *ret, struct err *err)
{
	_cleanup_wiped_ char *role = NULL;
	size_t len;

	if (aws_meta_get(auth->meta, ROLE_PATH, deadline_us, &role, err) < 0) {
		if (err->class == ERR_NOTFOUND)
			return err_set(err, ERR_AUTH, DOMAIN, "the instance has no role and no keys are configured");
		return -1;
	}
	len = strcspn(role, "\r\n");
	if (len == 0 || len > ROLE_LEN_MAX ||
	    strspn(role, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			 "0123456789_+=,.@-") < len)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "not a role name");
	strbuf_add(ret, ROLE_PATH);
	strbuf_add_bytes(ret, role, len);
	return ret->failed ? err_set(err, ERR_RETRY, DOMAIN, "no memory") : 0;
}

static int role_fetch(struct aws_auth *auth, int64_t deadline_us, struct aws_creds *ret, struct err *err)
{
	_cleanup_strbuf_ struct strbuf path = { 0 };
	_cleanup_wiped_ char *text = NULL;

	if (role_path(auth, deadline_us, &path, err) < 0 ||
	    aws_meta_get(auth->meta, path.text, deadline_us, &text, err) < 0 || aws_creds_decode(text, ret, err) < 0)
		return err_wrap(err, "credentials of the instance role");
	return 0;
}

/* Both with the lock held. */
static int64_t next_refresh(const struct aws_auth *auth, int64_t now, int64_t expires_us)
{
	int64_t at = expires_us - AHEAD_US - random_below(auth->base->random, AHEAD_JITTER_US);
	int64_t soonest = now + AGAIN_US + random_below(auth->base->random, AGAIN_JITTER_US);

	if (expires_us == 0)
		return INT64_MAX;
	return at > soonest ? at : soonest;
}

static void refreshed(struct aws_auth *auth, int r, struct aws_creds *fetched)
{
	int64_t now = clock_now(auth->base->wall);
	uint64_t generation = auth->creds.generation;

	auth->refreshing = false;
	if (r == 0) {
		aws_creds_done(&auth->creds);
		auth->creds = *fetched;
		auth->creds.generation = generation + 1;
		auth->refresh_us = next_refresh(auth, now, auth->creds.expires_us);
		auth->refused = false;
		memset(fetched, 0, sizeof(*fetched));
	} else {
		auth->refresh_us = now + AGAIN_US + random_below(auth->base->random, AGAIN_JITTER_US);
	}
	pthread_cond_broadcast(&auth->changed);
}

/* Waits for the caller that refreshes; entered and left with the lock held. */
static int wait_turn(struct aws_auth *auth, int64_t deadline_us, struct err *err)
{
	struct timespec until;

	if (clock_now(auth->base->boot) >= deadline_us)
		return err_set(err, ERR_RETRY, DOMAIN, "deadline passed while credentials were fetched");
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += WAIT_SLICE_US * 1000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	(void)pthread_cond_timedwait(&auth->changed, &auth->lock, &until);
	return 0;
}

static bool is_due(const struct aws_auth *auth)
{
	if (auth->from_env)
		return false;
	return !auth->creds.access_key.text || auth->refused || clock_now(auth->base->wall) >= auth->refresh_us;
}

static bool is_usable(const struct aws_auth *auth)
{
	return auth->creds.access_key.text && !auth->refused;
}

/* Entered and left with the lock held. */
static int refresh(struct aws_auth *auth, int64_t deadline_us, struct err *err)
{
	struct aws_creds fetched = { 0 };
	int r;

	auth->refreshing = true;
	pthread_mutex_unlock(&auth->lock);
	r = role_fetch(auth, deadline_us, &fetched, err);
	pthread_mutex_lock(&auth->lock);
	refreshed(auth, r, &fetched);
	return r;
}

int aws_auth_get(struct aws_auth *auth, int64_t deadline_us, struct aws_creds *ret, struct err *err)
{
	struct err why;
	int r = 0;

	pthread_mutex_lock(&auth->lock);
	while (r == 0 && auth->refreshing && !is_usable(auth))
		r = wait_turn(auth, deadline_us, &why);
	if (r == 0 && is_due(auth) && !auth->refreshing && refresh(auth, deadline_us, &why) < 0 && !is_usable(auth))
		r = -1;
	if (r == 0)
		r = creds_copy(&auth->creds, ret, &why);
	pthread_mutex_unlock(&auth->lock);
	if (r < 0 && err)
		*err = why;
	return r;
}

bool aws_auth_refused(struct aws_auth *auth, uint64_t generation)
{
	bool other;

	pthread_mutex_lock(&auth->lock);
	if (auth->creds.generation == generation && !auth->from_env)
		auth->refused = true;
	other = !auth->from_env;
	pthread_mutex_unlock(&auth->lock);
	return other;
}
