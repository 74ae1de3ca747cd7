/* SPDX-License-Identifier: Apache-2.0 */
#include "auth.h"

#include <string.h>
#include <time.h>

#include "../retry.h"
#include "auth_role.h"
#include "aws.h"
#include "berth/err.h"
#include "endpoint.h"
#include "meta.h"

#define DOMAIN "credentials"

#define AHEAD_US        (INT64_C(15) * 60 * USEC_PER_SEC) /* botocore's advisory refresh */
#define AHEAD_JITTER_US (INT64_C(2) * 60 * USEC_PER_SEC)  /* so that a cluster does not ask at once */
#define AGAIN_US        (INT64_C(5) * 60 * USEC_PER_SEC)  /* after a failure, or when an expired set was handed out */
#define AGAIN_JITTER_US (INT64_C(60) * USEC_PER_SEC)
#define AGAIN_MIN_US    (30 * USEC_PER_SEC) /* however little is left */
#define SPARE_US        (5 * USEC_PER_SEC)  /* how long a caller whose set is still good waits for the next one */
#define WAIT_SLICE_US   (USEC_PER_SEC / 2)  /* how soon a waiter sees its deadline or a stop */

/* ---- the sources, in the order in which they are looked for ---- */

struct aws_source {
	const char *name;
	/* Is it configured? *ret says so. 0 or -1 with @err. */
	int (*init)(struct aws_auth *auth, struct aws_endpoints *endpoints, const struct cloud_config *config,
		    bool *ret, struct err *err);
	/* NULL: what init found is all there is. */
	int (*fetch)(const struct aws_auth *auth, int64_t deadline_us, struct aws_creds *ret, struct err *err);
	bool stays_after_end;
};

static int env_init(struct aws_auth *auth, _unused_ struct aws_endpoints *endpoints, const struct cloud_config *config,
		    bool *ret, struct err *err)
{
	const char *access_key = aws_env(config, "AWS_ACCESS_KEY_ID");
	const char *secret_key = aws_env(config, "AWS_SECRET_ACCESS_KEY");

	if (!access_key != !secret_key)
		return err_set(err, ERR_INVALID, DOMAIN, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together");
	*ret = access_key != NULL;
	if (access_key && aws_creds_set(&auth->creds, access_key, secret_key, aws_env(config, "AWS_SESSION_TOKEN")) < 0)
		return err_set(err, ERR_RETRY, DOMAIN, "no memory");
	return 0;
}

static int web_init(struct aws_auth *auth, struct aws_endpoints *endpoints, const struct cloud_config *config,
		    bool *ret, struct err *err)
{
	if (aws_web_init(&auth->web, auth->base, endpoints, config, err) < 0)
		return -1;
	*ret = auth->web.token_file != NULL;
	return 0;
}

static int web_fetch(const struct aws_auth *auth, int64_t deadline_us, struct aws_creds *ret, struct err *err)
{
	return aws_web_fetch(&auth->web, deadline_us, ret, err);
}

static int container_init(struct aws_auth *auth, _unused_ struct aws_endpoints *endpoints,
			  const struct cloud_config *config, bool *ret, struct err *err)
{
	if (aws_container_init(&auth->container, auth->base, config, err) < 0)
		return -1;
	*ret = auth->container.url != NULL;
	return 0;
}

static int container_fetch(const struct aws_auth *auth, int64_t deadline_us, struct aws_creds *ret, struct err *err)
{
	return aws_container_fetch(&auth->container, deadline_us, ret, err);
}

/* What is left when nothing is configured. */
static int role_init(_unused_ struct aws_auth *auth, _unused_ struct aws_endpoints *endpoints,
		     _unused_ const struct cloud_config *config, bool *ret, _unused_ struct err *err)
{
	*ret = true;
	return 0;
}

static int role_fetch(const struct aws_auth *auth, int64_t deadline_us, struct aws_creds *ret, struct err *err)
{
	return aws_role_fetch(auth->meta, deadline_us, ret, err);
}

static const struct aws_source sources[] = {
	{ "environment", env_init, NULL, true },
	{ "web identity", web_init, web_fetch, false },
	{ "container credentials", container_init, container_fetch, false },
	{ "instance role", role_init, role_fetch, true },
};

static int source_choose(struct aws_auth *auth, struct aws_endpoints *endpoints, const struct cloud_config *config,
			 struct err *err)
{
	bool configured = false;

	for (size_t i = 0; !configured; i++) {
		auth->source = &sources[i];
		if (auth->source->init(auth, endpoints, config, &configured, err) < 0)
			return err_wrap(err, "%s", auth->source->name);
	}
	return 0;
}

static void source_done(struct aws_auth *auth)
{
	aws_web_done(&auth->web);
	aws_container_done(&auth->container);
	aws_creds_done(&auth->creds);
}

static int locks_init(struct aws_auth *auth)
{
	pthread_condattr_t attr;
	bool done;

	if (pthread_condattr_init(&attr) != 0)
		return -1;
	done = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 && pthread_cond_init(&auth->changed, &attr) == 0;
	(void)pthread_condattr_destroy(&attr);
	if (done && pthread_mutex_init(&auth->lock, NULL) != 0) {
		(void)pthread_cond_destroy(&auth->changed);
		done = false;
	}
	return done ? 0 : -1;
}

int aws_auth_init(struct aws_auth *auth, struct aws_base *base, struct aws_meta *meta, struct aws_endpoints *endpoints,
		  const struct cloud_config *config, struct err *err)
{
	memset(auth, 0, sizeof(*auth));
	auth->base = base;
	auth->meta = meta;
	if (source_choose(auth, endpoints, config, err) < 0) {
		source_done(auth);
		return -1;
	}
	if (locks_init(auth) < 0) {
		source_done(auth);
		return err_set(err, ERR_RETRY, DOMAIN, "no mutex");
	}
	auth->creds.generation = 1;
	return 0;
}

void aws_auth_done(struct aws_auth *auth)
{
	(void)pthread_cond_destroy(&auth->changed);
	(void)pthread_mutex_destroy(&auth->lock);
	source_done(auth);
}

const char *aws_auth_source(const struct aws_auth *auth)
{
	return auth->source->name;
}

/* ---- the present set; everything below with the lock held ---- */

/* When to ask again after a set that ends at @expires_us has not been replaced. */
static int64_t again_us(const struct aws_auth *auth, int64_t now, int64_t expires_us)
{
	int64_t again = AGAIN_US + random_below(auth->base->random, AGAIN_JITTER_US);
	int64_t left = expires_us - now;

	if (left > 0 && again > left / 2)
		again = left / 2 > AGAIN_MIN_US ? left / 2 : AGAIN_MIN_US;
	return now + again;
}

static int64_t next_refresh(const struct aws_auth *auth, int64_t now, int64_t expires_us)
{
	int64_t at = expires_us - AHEAD_US - random_below(auth->base->random, AHEAD_JITTER_US);
	int64_t soonest = again_us(auth, now, expires_us);

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
		auth->refresh_us = again_us(auth, now, auth->creds.expires_us);
	}
	pthread_cond_broadcast(&auth->changed);
}

/* Waits for the caller that refreshes. */
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

static bool is_usable(const struct aws_auth *auth)
{
	const struct aws_creds *creds = &auth->creds;

	if (!creds->access_key.text || auth->refused)
		return false;
	return auth->source->stays_after_end || creds->expires_us == 0 ||
	       clock_now(auth->base->wall) < creds->expires_us;
}

static bool is_due(const struct aws_auth *auth)
{
	if (!auth->source->fetch)
		return false;
	return !is_usable(auth) || clock_now(auth->base->wall) >= auth->refresh_us;
}

/* The lock is given up meanwhile. */
static int refresh(struct aws_auth *auth, int64_t deadline_us, struct err *err)
{
	struct aws_creds fetched = { 0 };
	int r;

	/* A source that does not answer must not cost a caller its deadline while there is something to go on with. */
	if (is_usable(auth))
		deadline_us = clock_earlier(deadline_us, clock_now(auth->base->boot) + SPARE_US);
	auth->refreshing = true;
	pthread_mutex_unlock(&auth->lock);
	r = auth->source->fetch(auth, deadline_us, &fetched, err);
	pthread_mutex_lock(&auth->lock);
	refreshed(auth, r, &fetched);
	return r < 0 ? err_wrap(err, "%s", auth->source->name) : 0;
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
	if (r == 0 && aws_creds_copy(&auth->creds, ret) < 0)
		r = err_set(&why, ERR_RETRY, DOMAIN, "no memory");
	pthread_mutex_unlock(&auth->lock);
	if (r < 0 && err)
		*err = why;
	return r;
}

bool aws_auth_refused(struct aws_auth *auth, uint64_t generation)
{
	bool other = auth->source->fetch != NULL;

	pthread_mutex_lock(&auth->lock);
	if (auth->creds.generation == generation && other)
		auth->refused = true;
	pthread_mutex_unlock(&auth->lock);
	return other;
}
