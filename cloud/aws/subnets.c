/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: where new interfaces go
 *
 *   subnets configured      those of them in this VPC and zone; the operator's word stands above every tag
 *   else, no discovery      the primary interface's
 *   else                    the primary interface's unless tagged kubernetes.io/role/cni=0, and all of this VPC and zone
 *                           that carry that tag with anything but 0; of those that are tagged for clusters only ours
 *
 * Where IPv6 is wanted, those that have it first; the one with most free addresses first; one that had no room lately last.
 *
 * All of it is one question (DescribeSubnets of VPC and zone), asked by the whole account within 20 a second. An attach
 * wants an answer of the last minute, because of the free addresses; all attaches of a burst share one. A list wants the
 * marks only, which people change: it asks each half hour, so that 5,000 idle nodes come to 3 a second, and it neither
 * waits long nor fails for it. Whoever may not ask does as if there were no tags, and does not ask again for half an hour.
 */
#include "subnets.h"

#include <stdlib.h>
#include <string.h>

#include "../retry.h"
#include "api.h"
#include "berth/err.h"
#include "berth/str.h"
#include "settings.h"

#define DOMAIN "aws"

#define FRESH_US  (60 * USEC_PER_SEC)   /* age at which free addresses are read again; a burst of attaches is over */
#define MARKS_US  (1800 * USEC_PER_SEC) /* between two looks of lists, 80 to 120 % */
#define AGAIN_US  (300 * USEC_PER_SEC)  /* after a look that failed, also jittered */
#define DENIED_US (1800 * USEC_PER_SEC) /* after a refusal; permissions are given by people */
#define USED_US   (7200 * USEC_PER_SEC) /* age at which the number of free addresses says nothing any more */
#define LOOK_US   (2 * USEC_PER_SEC)    /* that a list waits; pods wait for the first one */
#define READ_US   (10 * USEC_PER_SEC)   /* that an attach waits, and all others behind it */
/* amazon-vpc-cni-k8s leaves a subnet alone for as long after InsufficientCidrBlocks (pkg/ipamd/ipamd.go). */
#define FULL_US        (120 * USEC_PER_SEC)
#define SUBNET_LEN_MAX 28
#define RESERVED_ADDR  5U /* of each subnet: network, router, DNS, future use, broadcast */

int aws_subnets_init(struct aws_subnets *subnets, struct ec2 *ec2, const struct aws_settings *settings, struct err *err)
{
	memset(subnets, 0, sizeof(*subnets));
	subnets->ec2 = ec2;
	subnets->settings = settings;
	if (pthread_mutex_init(&subnets->lock, NULL) != 0)
		return err_set(err, ERR_RETRY, DOMAIN, "no mutex");
	if (pthread_mutex_init(&subnets->reading, NULL) != 0) {
		(void)pthread_mutex_destroy(&subnets->lock);
		return err_set(err, ERR_RETRY, DOMAIN, "no mutex");
	}
	return 0;
}

void aws_subnets_done(struct aws_subnets *subnets)
{
	(void)pthread_mutex_destroy(&subnets->reading);
	(void)pthread_mutex_destroy(&subnets->lock);
}

static int64_t now_us(const struct aws_subnets *subnets)
{
	return clock_now(subnets->ec2->base->boot);
}

/* 80 to 120 %: nodes that started together must not ask together. */
static int64_t jittered(const struct aws_subnets *subnets, int64_t period)
{
	return period - period / 5 + random_below(subnets->ec2->base->random, period / 5 * 2);
}

/* ---- remembering; under the lock ---- */

static struct aws_subnet *find(struct aws_subnets *subnets, const char *id)
{
	for (unsigned i = 0; i < subnets->count; i++) {
		if (str_equal(subnets->known[i].is.id, id))
			return &subnets->known[i];
	}
	return NULL;
}

/* Beyond the limit nothing new is remembered: it is asked for again each time. */
static void put(struct aws_subnets *subnets, const struct ec2_subnet *subnet, int64_t read_us)
{
	struct aws_subnet *known = find(subnets, subnet->id);

	if (!known && subnets->count < SUBNETS_MAX)
		known = &subnets->known[subnets->count++];
	if (!known)
		return;
	known->is = *subnet;
	known->read_us = read_us;
}

static bool is_near(const struct ec2_subnet *subnet, const struct aws_here *here)
{
	return str_equal(subnet->vpc, here->vpc) && str_equal(subnet->zone, here->zone);
}

static bool is_of_use(struct aws_subnets *subnets, const struct ec2_subnet *subnet)
{
	return subnet->tagged || aws_settings_has_subnet(subnets->settings, subnet->id) || find(subnets, subnet->id);
}

void aws_subnets_remember(struct aws_subnets *subnets, const struct ec2_subnet *subnet)
{
	pthread_mutex_lock(&subnets->lock);
	if (!find(subnets, subnet->id))
		put(subnets, subnet, 0);
	pthread_mutex_unlock(&subnets->lock);
}

static bool known(struct aws_subnets *subnets, const char *id, struct aws_subnet *ret)
{
	const struct aws_subnet *subnet;

	pthread_mutex_lock(&subnets->lock);
	subnet = find(subnets, id);
	if (subnet)
		*ret = *subnet;
	pthread_mutex_unlock(&subnets->lock);
	return subnet;
}

/* A range never changes. One of IPv6 may be added while we run. */
static bool is_enough(const struct aws_subnet *subnet, bool v6, int64_t now)
{
	return !v6 || subnet->is.prefix6.addr.family == IP_V6 ||
	       (subnet->read_us != 0 && now - subnet->read_us < FRESH_US);
}

int aws_subnets_find(struct aws_subnets *subnets, const char *id, bool v6, int64_t deadline_us, struct ec2_subnet *ret,
		     struct err *err)
{
	const struct ec2_filter filter = { "subnet-id", id };
	struct aws_subnet subnet;
	struct ec2_subnets got;

	if (known(subnets, id, &subnet) && is_enough(&subnet, v6, now_us(subnets))) {
		*ret = subnet.is;
		return 0;
	}
	if (ec2_subnets_describe(subnets->ec2, &filter, 1, subnets->settings->cluster, deadline_us, &got, err) < 0)
		return -1;
	if (got.count == 0 || !str_equal(got.subnets[0].id, id)) {
		ec2_subnets_done(&got);
		return err_set(err, ERR_NOTFOUND, DOMAIN, "EC2 does not show %s", id);
	}
	pthread_mutex_lock(&subnets->lock);
	put(subnets, &got.subnets[0], now_us(subnets));
	pthread_mutex_unlock(&subnets->lock);
	*ret = got.subnets[0];
	ec2_subnets_done(&got);
	return 0;
}

/* ---- asking ---- */

static void note_failure(struct aws_subnets *subnets, const struct err *err)
{
	bool denied = err->class == ERR_AUTH;

	pthread_mutex_lock(&subnets->lock);
	subnets->failed_us = now_us(subnets);
	subnets->failure = *err;
	subnets->next_us = subnets->failed_us + jittered(subnets, denied ? DENIED_US : AGAIN_US);
	if (denied)
		subnets->denied_us = subnets->next_us;
	pthread_mutex_unlock(&subnets->lock);
}

/* What an answer for all of VPC and zone lacks is gone: nothing is made there any more. Under the lock. */
static void forget_others(struct aws_subnets *subnets, const struct aws_here *here)
{
	for (unsigned i = 0; i < subnets->count; i++) {
		struct aws_subnet *subnet = &subnets->known[i];

		if (subnet->read_us != subnets->read_us && is_near(&subnet->is, here))
			subnet->is.vpc[0] = '\0';
	}
}

static void note_answer(struct aws_subnets *subnets, const struct aws_here *here, const struct ec2_subnets *got)
{
	pthread_mutex_lock(&subnets->lock);
	subnets->read_us = now_us(subnets);
	for (unsigned i = 0; i < got->count; i++) {
		if (is_of_use(subnets, &got->subnets[i]))
			put(subnets, &got->subnets[i], subnets->read_us);
	}
	forget_others(subnets, here);
	subnets->next_us = subnets->read_us + jittered(subnets, MARKS_US);
	pthread_mutex_unlock(&subnets->lock);
}

/* The caller holds the right to read. */
static int ask(struct aws_subnets *subnets, const struct aws_here *here, int64_t wait_us, int64_t deadline_us,
	       struct err *err)
{
	const struct ec2_filter filters[] = { { "vpc-id", here->vpc }, { "availability-zone", here->zone } };
	int64_t until_us = clock_earlier(deadline_us, now_us(subnets) + wait_us);
	struct ec2_subnets got;
	struct err why;

	if (ec2_subnets_describe(subnets->ec2, filters, ARRAY_SIZE(filters), subnets->settings->cluster, until_us, &got,
				 &why) < 0) {
		note_failure(subnets, &why);
		if (err)
			*err = why;
		return -1;
	}
	note_answer(subnets, here, &got);
	ec2_subnets_done(&got);
	return 0;
}

void aws_subnets_look(struct aws_subnets *subnets, const struct aws_here *here, int64_t deadline_us)
{
	bool due;

	if (!aws_settings_discovers(subnets->settings))
		return;
	pthread_mutex_lock(&subnets->lock);
	due = now_us(subnets) >= subnets->next_us;
	pthread_mutex_unlock(&subnets->lock);
	/* Somebody who is asking already asks for us too. */
	if (!due || pthread_mutex_trylock(&subnets->reading) != 0)
		return;
	(void)ask(subnets, here, LOOK_US, deadline_us, NULL);
	pthread_mutex_unlock(&subnets->reading);
}

/* Must EC2 be asked by who came at @since_us? 0 = no, -1 = no, for it has just failed, 1 = yes. */
static int must_ask(struct aws_subnets *subnets, int64_t since_us, struct err *err)
{
	int64_t now = now_us(subnets);
	bool known_enough;
	int r = 0;

	pthread_mutex_lock(&subnets->lock);
	known_enough = (subnets->read_us != 0 && now - subnets->read_us < FRESH_US) ||
		       (now < subnets->denied_us && aws_settings_discovers(subnets->settings));
	if (!known_enough && subnets->failed_us > since_us) {
		*err = subnets->failure;
		r = -1;
	} else if (!known_enough) {
		r = 1;
	}
	pthread_mutex_unlock(&subnets->lock);
	return r;
}

static bool is_read(struct aws_subnets *subnets)
{
	bool read;

	pthread_mutex_lock(&subnets->lock);
	read = subnets->read_us != 0;
	pthread_mutex_unlock(&subnets->lock);
	return read;
}

/* Free addresses as they were within the last minute. Without the permission tags do not count; what was read before is
 * better than nothing while EC2 has too much to do. */
static int refresh(struct aws_subnets *subnets, const struct aws_here *here, int64_t deadline_us, struct err *err)
{
	int64_t since_us = now_us(subnets);
	int r;

	/* Who holds it is done in READ_US, and fails or succeeds for all who waited. */
	pthread_mutex_lock(&subnets->reading);
	r = must_ask(subnets, since_us, err);
	if (r > 0)
		r = ask(subnets, here, READ_US, deadline_us, err);
	pthread_mutex_unlock(&subnets->reading);
	if (r == 0 || is_read(subnets))
		return 0;
	if (err->class != ERR_AUTH)
		return -1;
	if (aws_settings_discovers(subnets->settings))
		return 0;
	return err_wrap(err, "to see which of `subnets` are here, allow ec2:DescribeSubnets");
}

/* ---- choosing ---- */

static bool is_for_cluster(const struct ec2_subnet *subnet, const struct aws_settings *settings, bool primary)
{
	/* A cluster without a name cannot be told apart; its nodes are where somebody put them. */
	return !subnet->of_clusters || subnet->of_ours || (primary && !*settings->cluster);
}

static bool is_candidate(const struct ec2_subnet *subnet, const struct aws_settings *settings,
			 const struct aws_here *here)
{
	bool primary = str_equal(subnet->id, here->subnet);

	if (settings->subnet_count > 0)
		return is_near(subnet, here) && aws_settings_has_subnet(settings, subnet->id);
	if (!aws_settings_discovers(settings))
		return primary;
	if (subnet->excluded || !is_for_cluster(subnet, settings, primary))
		return false;
	return primary || (subnet->tagged && is_near(subnet, here));
}

static bool is_better(const struct aws_subnet *a, const struct aws_subnet *b, bool v6, int64_t now)
{
	bool a_full = now < a->full_until_us, b_full = now < b->full_until_us;
	bool a_v6 = a->is.prefix6.addr.family == IP_V6, b_v6 = b->is.prefix6.addr.family == IP_V6;

	if (v6 && a_v6 != b_v6)
		return a_v6;
	if (a_full != b_full)
		return b_full;
	if (a->is.free != b->is.free)
		return a->is.free > b->is.free;
	return strcmp(a->is.id, b->is.id) < 0;
}

/* Keeps the best of them, in order. */
static void insert(const struct aws_subnet *best[static SUBNET_TRIES_MAX], unsigned *count,
		   const struct aws_subnet *subnet, bool v6, int64_t now)
{
	unsigned at = *count;

	while (at > 0 && is_better(subnet, best[at - 1], v6, now))
		at--;
	if (at == SUBNET_TRIES_MAX)
		return;
	if (*count < SUBNET_TRIES_MAX)
		(*count)++;
	memmove(&best[at + 1], &best[at], (*count - 1 - at) * sizeof(*best));
	best[at] = subnet;
}

static int nowhere(const struct aws_settings *settings, const struct aws_here *here, struct err *err)
{
	_cleanup_strbuf_ struct strbuf names = { 0 };

	if (settings->subnet_count == 0)
		return err_set(err, ERR_INVALID, DOMAIN,
			       "no subnet for a new interface: tag one of %s in %s with " EC2_TAG_SUBNET
			       "=1; %s, where the node is, is tagged against it",
			       here->vpc, here->zone, here->subnet);
	for (unsigned i = 0; i < settings->subnet_count; i++)
		strbuf_printf(&names, "%s%s", i > 0 ? ", " : "", settings->subnets[i]);
	return err_set(err, ERR_INVALID, DOMAIN, "none of `subnets` is in %s of %s, where the node is: add one to %s",
		       here->zone, here->vpc, names.text && !names.failed ? names.text : "them");
}

int aws_subnets_choose(const struct aws_subnet *known_, unsigned count, const struct aws_settings *settings,
		       const struct aws_here *here, int64_t now, struct aws_places *ret, struct err *err)
{
	const struct aws_subnet *best[SUBNET_TRIES_MAX] = { NULL };
	struct aws_places places = { 0 };
	unsigned found = 0;

	for (unsigned i = 0; i < count; i++) {
		if (is_candidate(&known_[i].is, settings, here))
			insert(best, &found, &known_[i], here->v6, now);
	}
	if (found == 0)
		return nowhere(settings, here, err);
	for (unsigned i = 0; i < found; i++)
		memcpy(places.ids[i], best[i]->is.id, sizeof(places.ids[i]));
	places.count = found;
	*ret = places;
	return 0;
}

int aws_subnets_places(struct aws_subnets *subnets, const struct aws_here *here, int64_t deadline_us,
		       struct aws_places *ret, struct err *err)
{
	const struct aws_settings *settings = subnets->settings;
	struct err why;
	int r = 0;

	if (settings->subnet_count > 0 || aws_settings_discovers(settings))
		r = refresh(subnets, here, deadline_us, &why);
	if (r == 0) {
		pthread_mutex_lock(&subnets->lock);
		r = aws_subnets_choose(subnets->known, subnets->count, settings, here, now_us(subnets), ret, &why);
		pthread_mutex_unlock(&subnets->lock);
	}
	if (r < 0 && err)
		*err = why;
	return r;
}

void aws_subnets_full(struct aws_subnets *subnets, const char *id)
{
	struct aws_subnet *subnet;

	pthread_mutex_lock(&subnets->lock);
	subnet = find(subnets, id);
	if (subnet)
		subnet->full_until_us = now_us(subnets) + FULL_US;
	pthread_mutex_unlock(&subnets->lock);
}

bool aws_subnets_closed(struct aws_subnets *subnets, const char *id, bool primary)
{
	const struct aws_settings *settings = subnets->settings;
	struct aws_subnet subnet;

	if (settings->subnet_count > 0)
		return primary || !aws_settings_has_subnet(settings, id);
	return aws_settings_discovers(settings) && known(subnets, id, &subnet) && subnet.is.excluded;
}

uint64_t aws_subnets_used(struct aws_subnets *subnets, const char *id)
{
	struct aws_subnet subnet;
	uint64_t all;

	if (!known(subnets, id, &subnet) || subnet.is.prefix.addr.family != IP_V4 ||
	    subnet.is.prefix.len > SUBNET_LEN_MAX)
		return UINT64_MAX;
	all = (UINT64_C(1) << (ipaddr_bits(&subnet.is.prefix.addr) - subnet.is.prefix.len)) - RESERVED_ADDR;
	/* Of what only metadata told none is free. */
	if (now_us(subnets) - subnet.read_us > USED_US || subnet.is.free >= all)
		return all;
	return all - subnet.is.free;
}
