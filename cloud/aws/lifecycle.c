/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: making and removing an interface
 *
 *   attach:  describe own    a free index; groups of the primary
 *            Create          with token, tags and first units, in one subnet after the other, then for fewer addresses. Token
 *                            known with other parameters: an earlier attempt made it; it is found by its tag
 *            Attach          index and card 0 explicit. Index taken, perhaps by one that we cannot see: the next. No
 *                            answer: read back; attached: go on; available: again
 *            Modify          delete on termination
 *
 * That it says "attached" by and by is not waited for: the node sees its own devices.
 *
 * Create brings the first units. When no subnet has as many, the one with most room is asked again: for half, one, none, so
 * that an interface is had; its units are then bought as on any other. Each of these is another request to EC2 and has a
 * ClientToken of its own, derived from ours, but only once the one before was refused: while it is open whether that made
 * something, the same one has EC2 say so. The tag is the same on all, so that what any of them made is found again.
 *
 * Any failure after Create: detach if attached, wait until available, delete, within a part of the deadline that is
 * kept back for it. What even that leaves behind carries our owner tag, is available, and is found by a sweep.
 *
 *   detach:  describe, Detach (never by force), describe until available, Delete, again while EC2 still sees it in use
 *            What fails behind Detach is a CONFLICT: the interface is on its way, or gone
 *
 * EC2 is eventually consistent: a new interface may be unknown to the next call for some seconds, an answer may be
 * older than our last change. So nothing is concluded from one reading that lacks something.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "berth/err.h"
#include "berth/str.h"
#include "errors.h"
#include "provider.h"

#define DOMAIN "aws"

#define POLL_FIRST_US     (150 * USEC_PER_MSEC) /* "not found" right after Create, reading back */
#define DETACHING_US      (2 * USEC_PER_SEC)    /* detaching takes 2-3 s: not looked at before */
#define POLL_MAX_US       (2 * USEC_PER_SEC)
#define POLLS_MAX         256                 /* the deadline ends it earlier */
#define ATTACHES_MAX      16                  /* attempts: taken slots, lost answers, "not found" right after Create */
#define READ_BACKS        3                   /* that must agree before a lost Attach is taken for not done */
#define CLEANUP_MAX_US    (20 * USEC_PER_SEC) /* kept back of an attach's deadline; detach and delete take 3-10 s */
#define CLIENT_TOKEN_SIZE 65                  /* EC2 takes 64 bytes */
#define CREATED_SIZE      24                  /* "2026-01-01T00:00:00Z" */

/* ---- waiting ---- */

struct poll {
	struct aws *aws;
	int64_t deadline_us;
	int64_t delay_us;
	unsigned rounds;
};

static struct poll poll_start(struct aws *aws, int64_t deadline_us)
{
	return (struct poll){ .aws = aws, .deadline_us = deadline_us, .delay_us = POLL_FIRST_US };
}

/* Waits between two readings: growing, with a quarter of jitter. */
static int poll_wait(struct poll *poll, const char *what, struct err *err)
{
	const struct aws_base *base = &poll->aws->base;
	int64_t delay = poll->delay_us + random_below(base->random, poll->delay_us / 4);

	if (++poll->rounds > POLLS_MAX || clock_now(base->boot) + delay >= poll->deadline_us)
		return err_set(err, ERR_RETRY, DOMAIN, "deadline passed while waiting until %s", what);
	if (stop_wait(base->stop, delay) < 0)
		return err_set(err, ERR_RETRY, DOMAIN, "stopped while waiting until %s", what);
	poll->delay_us = poll->delay_us * 3 / 2 < POLL_MAX_US ? poll->delay_us * 3 / 2 : POLL_MAX_US;
	return 0;
}

/* One interface by its ID; *found tells whether EC2 shows it. A filter, not an ID list: unknown is no error. */
static int describe_one(struct aws *aws, const char *filter_name, const char *value, int64_t deadline_us,
			struct ec2_nic *ret, bool *found, struct err *err)
{
	const struct ec2_filter filter = { filter_name, value };
	struct ec2_nics nics;

	if (ec2_nics_describe(&aws->ec2, &filter, 1, deadline_us, &nics, err) < 0)
		return -1;
	*found = nics.count > 0;
	if (*found) {
		*ret = nics.nics[0];
		memset(&nics.nics[0], 0, sizeof(nics.nics[0]));
	}
	ec2_nics_done(&nics);
	return 0;
}

static int describe_id(struct aws *aws, const char *id, int64_t deadline_us, struct ec2_nic *ret, bool *found,
		       struct err *err)
{
	return describe_one(aws, "network-interface-id", id, deadline_us, ret, found, err);
}

/* ---- removing ---- */

static int until_available(struct aws *aws, const char *id, int64_t deadline_us, struct err *err)
{
	struct poll poll = poll_start(aws, deadline_us);

	poll.delay_us = DETACHING_US;
	for (;;) {
		struct ec2_nic nic = { 0 };
		bool found, done;

		if (poll_wait(&poll, "it is detached", err) < 0 ||
		    describe_id(aws, id, deadline_us, &nic, &found, err) < 0)
			return -1;
		done = !found || (!nic.attachment_status[0] && str_equal(nic.status, "available")) ||
		       str_equal(nic.attachment_status, "detached");
		ec2_nic_done(&nic);
		if (done)
			return 0;
	}
}

int aws_remove_nic(struct aws *aws, const char *id, int64_t deadline_us, struct err *err)
{
	struct poll poll = poll_start(aws, deadline_us);
	struct err why;

	while (ec2_nic_delete(&aws->ec2, id, deadline_us, &why) < 0) {
		if (why.class == ERR_NOTFOUND)
			return 0;
		if (!ec2_is_in_use(&why) || poll_wait(&poll, "it is no longer in use", err) < 0) {
			*err = why;
			return -1;
		}
	}
	return 0;
}

static int detach_and_delete(struct aws *aws, const char *id, const char *attachment, int64_t deadline_us,
			     struct err *err)
{
	if (attachment[0] && ec2_nic_detach(&aws->ec2, attachment, deadline_us, err) < 0 &&
	    err->class != ERR_NOTFOUND &&
	    err->class != ERR_CONFLICT) /* already detaching: the reading that follows tells */
		return err_wrap(err, "detach");
	if ((!attachment[0] || until_available(aws, id, deadline_us, err) == 0) &&
	    aws_remove_nic(aws, id, deadline_us, err) == 0)
		return 0;
	/* Of an interface that is said to be kept, pods get addresses again. */
	if (err->class != ERR_AMBIGUOUS && err->class != ERR_NOTFOUND)
		err->class = ERR_CONFLICT;
	return -1;
}

static int remove_known(struct aws *aws, const struct ec2_nic *nic, int64_t deadline_us, struct err *err)
{
	struct cloud_identity self;

	if (aws_identity(aws, deadline_us, &self, err) < 0)
		return -1;
	if (!str_equal(nic->owner, self.instance) || aws_is_hands_off(nic) ||
	    (nic->instance[0] && (nic->nic.slot == 0 || !str_equal(nic->instance, self.instance))))
		return err_set(err, ERR_INVALID, DOMAIN, "not made by berth for this instance");
	return detach_and_delete(aws, nic->nic.id,
				 str_equal(nic->attachment_status, "detaching") ? "" : nic->nic.handle, deadline_us,
				 err);
}

int aws_detach(struct cloud *cloud, const char *id, int64_t deadline_us, struct err *err)
{
	struct aws *aws = aws_of(cloud);
	struct ec2_nic nic = { 0 };
	struct err why;
	bool found;
	int r;

	r = describe_id(aws, id, deadline_us, &nic, &found, &why);
	if (r == 0 && found)
		r = remove_known(aws, &nic, deadline_us, &why);
	ec2_nic_done(&nic);
	if (r == 0)
		return 0;
	if (err)
		*err = why;
	return err_wrap(err, "detach %s", id);
}

/* ---- making ---- */

struct attaching {
	struct aws *aws;
	const struct cloud_attach *want;
	int64_t deadline_us; /* of the way forward */
	struct cloud_identity self;
	struct ec2_nics own; /* before */
	const struct ec2_nic *primary;
	struct ec2_nic made;
	char attachment[EC2_ID_SIZE]; /* "" = not attached yet */
	unsigned slot;
	bool creating; /* a Create was sent with this token */
	bool lost;     /* the answer to an Attach */
	bool again;    /* an earlier attach with this token got as far as attaching one */
};

static bool slot_used(const struct attaching *a, unsigned slot)
{
	for (unsigned i = 0; i < a->own.count; i++) {
		if (a->own.nics[i].nic.slot == slot)
			return true;
	}
	return false;
}

static unsigned slot_free(const struct attaching *a, unsigned from)
{
	unsigned slot = from > 0 ? from : 1;

	while (slot_used(a, slot))
		slot++;
	return slot;
}

static int look(struct attaching *a, struct err *err)
{
	if (aws_identity(a->aws, a->deadline_us, &a->self, err) < 0 ||
	    aws_describe_own(a->aws, a->self.instance, a->deadline_us, &a->own, err) < 0)
		return -1;
	for (unsigned i = 0; i < a->own.count; i++) {
		if (a->own.nics[i].nic.slot == 0)
			a->primary = &a->own.nics[i];
		a->again = a->again || str_equal(a->own.nics[i].token, a->want->token);
	}
	a->slot = slot_free(a, a->want->slot);
	return 0;
}

static void created_at(const struct aws *aws, char ret[static CREATED_SIZE])
{
	time_t now = (time_t)(clock_now(aws->base.wall) / USEC_PER_SEC);
	struct tm tm = { 0 };

	ret[0] = '\0';
	if (gmtime_r(&now, &tm))
		(void)strftime(ret, CREATED_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* An earlier attach with this token came as far as Create: go on with what it made. */
static int adopt(struct attaching *a, struct err *err)
{
	bool found = false;

	if (describe_one(a->aws, "tag:" EC2_TAG_TOKEN, a->want->token, a->deadline_us, &a->made, &found, err) < 0)
		return -1;
	if (!found || !str_equal(a->made.owner, a->self.instance)) {
		ec2_nic_done(&a->made);
		return err_set(err, ERR_CONFLICT, DOMAIN, "token %s was used before and nothing is left of it",
			       a->want->token);
	}
	if (str_equal(a->made.instance, a->self.instance)) {
		memcpy(a->attachment, a->made.nic.handle, sizeof(a->attachment));
		a->slot = a->made.nic.slot;
	}
	return 0;
}

/* What is remembered of this attach, by its token; the oldest makes room for a new one. Under the lock. */
static struct aws_attempt *attempt_of(struct aws *aws, const char *token)
{
	struct aws_attempt *oldest = &aws->attempts[0];

	for (unsigned i = 0; i < ATTEMPTS_MAX; i++) {
		if (str_equal(aws->attempts[i].token, token))
			return &aws->attempts[i];
		if (aws->attempts[i].used < oldest->used)
			oldest = &aws->attempts[i];
	}
	*oldest = (struct aws_attempt){ 0 };
	(void)str_copy(oldest->token, sizeof(oldest->token), token);
	return oldest;
}

/* The ClientToken of the next Create. */
static void attempt_begin(struct attaching *a, char ret[static CLIENT_TOKEN_SIZE])
{
	struct aws *aws = a->aws;
	struct aws_attempt *attempt;

	pthread_mutex_lock(&aws->lock);
	attempt = attempt_of(aws, a->want->token);
	attempt->used = ++aws->attempts_made;
	if (attempt->number == 0)
		(void)str_copy(ret, CLIENT_TOKEN_SIZE, a->want->token);
	else
		(void)snprintf(ret, CLIENT_TOKEN_SIZE, "%.50s-%u", a->want->token, attempt->number);
	pthread_mutex_unlock(&aws->lock);
}

/* Nothing was made of it, or nothing is left: the next request is another one. */
static void attempt_refused(struct attaching *a)
{
	pthread_mutex_lock(&a->aws->lock);
	attempt_of(a->aws, a->want->token)->number++;
	pthread_mutex_unlock(&a->aws->lock);
	a->creating = false;
}

/* A pod has its addresses of all families from one interface: one that cannot give IPv6 would serve nobody. */
static int has_families(struct attaching *a, const char *subnet, struct err *err)
{
	struct ec2_subnet is;

	if (a->want->wants[ip_index(IP_V6)].count == 0)
		return 0;
	if (aws_subnet_get(a->aws, subnet, a->deadline_us, &is, err) < 0)
		return err_wrap(err, "subnet of the new interface");
	if (is.prefix6.addr.family == IP_V6)
		return 0;
	return err_set(err, ERR_INVALID, DOMAIN, "subnet %s has no IPv6 range: add one, or serve IPv4 alone", subnet);
}

static int create_in(struct attaching *a, const char *subnet, unsigned count4, struct err *err)
{
	const struct aws_settings *settings = &a->aws->settings;
	char when[CREATED_SIZE], client_token[CLIENT_TOKEN_SIZE];
	struct ec2_create want = {
		.subnet = subnet,
		.like = a->primary,
		.group_count = settings->group_count,
		.groups = settings->groups,
		.instance = a->self.instance,
		.cluster = settings->cluster,
		.created_at = when,
		.token = a->want->token,
		.client_token = client_token,
		.tag_count = settings->tag_count,
		.tags = settings->tags,
	};

	memcpy(want.wants, a->want->wants, sizeof(want.wants));
	want.wants[ip_index(IP_V4)].count = count4;
	if (has_families(a, subnet, err) < 0)
		return -1;
	created_at(a->aws, when);
	attempt_begin(a, client_token);
	a->creating = true;
	if (ec2_nic_create(&a->aws->ec2, &want, a->deadline_us, &a->made, err) == 0)
		return 0;
	if (str_equal(err->ident, "IdempotentParameterMismatch"))
		return adopt(a, err);
	/* Had an earlier request of that ClientToken made one, EC2 would have shown it instead of refusing. */
	if (err->class == ERR_EXHAUSTED || err->class == ERR_INVALID || err->class == ERR_NOTFOUND)
		attempt_refused(a);
	if (ec2_is_denied(err->ident))
		return err_wrap(err, "allow ec2:CreateNetworkInterface and, with it, ec2:CreateTags");
	return -1;
}

static int places(struct attaching *a, struct aws_places *ret, struct err *err)
{
	const struct aws_here here = { .vpc = a->primary->vpc,
				       .zone = a->self.zone,
				       .subnet = a->primary->subnet,
				       .v6 = a->want->wants[ip_index(IP_V6)].count > 0 };

	return aws_subnets_places(&a->aws->subnets, &here, a->deadline_us, ret, err);
}

static int no_room(const struct aws_places *places, struct err *err)
{
	_cleanup_strbuf_ struct strbuf names = { 0 };

	for (unsigned i = 0; i < places->count; i++)
		strbuf_printf(&names, "%s%s", i > 0 ? ", " : "", places->ids[i]);
	return err_wrap(err, "no room in %s; a subnet tagged " EC2_TAG_SUBNET "=1, or in `subnets`, would give some",
			names.text ? names.text : "any subnet");
}

/* All that is wanted, wherever there is room for it. */
static int create_anywhere(struct attaching *a, const struct aws_places *where, unsigned count4, struct err *err)
{
	for (unsigned i = 0; i < where->count; i++) {
		if (create_in(a, where->ids[i], count4, err) == 0)
			return 0;
		if (!ec2_is_subnet_short(err))
			return -1;
		aws_subnets_full(&a->aws->subnets, where->ids[i]);
	}
	return -1;
}

/* Less and less of IPv4 where there was most room; IPv6 is never short. */
static int create(struct attaching *a, struct err *err)
{
	unsigned count4 = a->want->wants[ip_index(IP_V4)].count;
	const unsigned fewer[] = { aws_fewer(count4), 1, 0 };
	struct aws_places where = { 0 };
	int r;

	if (a->again) {
		a->creating = true; /* by an attach before this one */
		return adopt(a, err);
	}
	if (places(a, &where, err) < 0)
		return -1;
	r = create_anywhere(a, &where, count4, err);
	for (unsigned i = 0; i < ARRAY_SIZE(fewer) && r < 0 && ec2_is_subnet_short(err); i++) {
		if (fewer[i] >= count4)
			continue;
		count4 = fewer[i];
		r = create_in(a, where.ids[0], count4, err);
	}
	return r < 0 && ec2_is_subnet_short(err) ? no_room(&where, err) : r;
}

/* After a lost answer. Sets the attachment when there is one; several readings must agree that there is none. */
static int read_back(struct attaching *a, struct err *err)
{
	struct poll poll = poll_start(a->aws, a->deadline_us);

	for (unsigned i = 0; i < READ_BACKS; i++) {
		struct ec2_nic nic = { 0 };
		bool found;

		if (poll_wait(&poll, "the attachment can be read back", err) < 0 ||
		    describe_id(a->aws, a->made.nic.id, a->deadline_us, &nic, &found, err) < 0)
			return -1;
		if (found && str_equal(nic.instance, a->self.instance)) {
			memcpy(a->attachment, nic.nic.handle, sizeof(a->attachment));
			a->slot = nic.nic.slot;
		}
		ec2_nic_done(&nic);
		if (a->attachment[0])
			return 0;
	}
	return 0;
}

/* What to do about a failed Attach: 0 = try again (or it turned out to be done), -1 = give up. */
static int attach_failed(struct attaching *a, struct poll *poll, struct err *err)
{
	if (ec2_is_slot_taken(err)) {
		/* It may be ourselves, by an attempt whose answer was lost. */
		if (a->lost && read_back(a, err) < 0)
			return -1;
		if (!a->attachment[0])
			a->slot = slot_free(a, a->slot + 1);
		return 0;
	}
	a->lost = a->lost || err->class == ERR_AMBIGUOUS;
	if (err->class == ERR_AMBIGUOUS || str_equal(err->ident, "InvalidNetworkInterface.InUse"))
		return read_back(a, err);
	/* The new interface is not known everywhere yet. */
	if (str_equal(err->ident, "InvalidNetworkInterfaceID.NotFound"))
		return poll_wait(poll, "the new interface is known", err);
	return -1;
}

static int attach(struct attaching *a, struct err *err)
{
	struct poll poll = poll_start(a->aws, a->deadline_us);

	for (unsigned i = 0; !a->attachment[0] && i < ATTACHES_MAX; i++) {
		if (ec2_nic_attach(&a->aws->ec2, a->made.nic.id, a->self.instance, a->slot, a->deadline_us,
				   a->attachment, err) < 0 &&
		    attach_failed(a, &poll, err) < 0)
			return -1;
	}
	if (!a->attachment[0])
		return err_set(err, ERR_RETRY, DOMAIN, "not attached after %d attempts", ATTACHES_MAX);
	return ec2_die_with_instance(&a->aws->ec2, a->made.nic.id, a->attachment, a->deadline_us, err);
}

/* EC2 took it; the device appears in a few seconds. Nothing is asked about that: the node sees its own devices, and reads
 * are what all nodes of an account share. */
static void set_attached(struct attaching *a)
{
	(void)str_copy(a->made.instance, sizeof(a->made.instance), a->self.instance);
	(void)str_copy(a->made.attachment_status, sizeof(a->made.attachment_status), "attaching");
	(void)str_copy(a->made.nic.handle, sizeof(a->made.nic.handle), a->attachment);
	a->made.nic.slot = a->slot;
}

static int forward(struct attaching *a, struct err *err)
{
	if (look(a, err) < 0 || create(a, err) < 0 || attach(a, err) < 0)
		return -1;
	set_attached(a);
	return aws_nic_finish(a->aws, &a->made, a->deadline_us, err);
}

/* What cannot be removed now is left to a sweep. Return: false when something may be left; @why: the failure. */
static bool clean_up(struct attaching *a, int64_t deadline_us, const struct err *why)
{
	struct ec2_nic nic = { 0 };
	bool found = false;
	struct err err;

	/* A Create without an answer was repeated under its token, and may have been done each time. */
	if (!a->made.nic.id[0])
		return !a->creating ||
		       (why->class != ERR_RETRY && why->class != ERR_AMBIGUOUS && why->class != ERR_PROTOCOL);
	/* An Attach whose answer was lost is seen here only. */
	if (!a->attachment[0] && describe_id(a->aws, a->made.nic.id, deadline_us, &nic, &found, &err) == 0 && found)
		memcpy(a->attachment, nic.nic.handle, sizeof(a->attachment));
	ec2_nic_done(&nic);
	/* Nothing is left of it, and its ClientToken would be refused from now on. */
	if (detach_and_delete(a->aws, a->made.nic.id, a->attachment, deadline_us, &err) < 0)
		return false;
	attempt_refused(a);
	return true;
}

static int64_t forward_deadline(const struct aws *aws, int64_t deadline_us)
{
	int64_t kept = (deadline_us - clock_now(aws->base.boot)) / 3;

	return deadline_us - (kept < CLEANUP_MAX_US ? kept : CLEANUP_MAX_US);
}

int aws_attach(struct cloud *cloud, const struct cloud_attach *want, int64_t deadline_us, struct cloud_nic *ret,
	       struct err *err)
{
	struct aws *aws = aws_of(cloud);
	struct attaching a = { .aws = aws, .want = want, .deadline_us = forward_deadline(aws, deadline_us) };
	struct err why;
	int r;

	if (!want->token[0])
		return err_set(err, ERR_BUG, DOMAIN, "attach without a token");
	aws->attaches_started++;
	r = forward(&a, &why);
	if (r == 0) {
		*ret = a.made.nic;
		memset(&a.made.nic, 0, sizeof(a.made.nic));
	} else if (!clean_up(&a, deadline_us, &why)) {
		why.class = ERR_AMBIGUOUS;
	}
	aws->attaches_ended++;
	ec2_nic_done(&a.made);
	ec2_nics_done(&a.own);
	if (r == 0)
		return 0;
	if (err)
		*err = why;
	return err_wrap(err, "attach");
}
