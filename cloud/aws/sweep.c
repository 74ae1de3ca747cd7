/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: leftovers
 *
 * What a crash leaves between Create and Attach carries our owner tag, hangs on nothing, and dies with no instance.
 *
 * Those of this instance are deleted at each sweep. Those of others outlive their instance only when it is gone, so any
 * node of the cluster may delete them: available, tagged for this cluster, by its creation tag older than an hour (an
 * attach takes minutes at most). One without that tag is left alone. So is one that turns out to be in use: EC2 itself
 * refuses to delete what somebody has just attached, and here a refusal is the end of it.
 *
 * That takes a list of the whole cluster, which 5,000 nodes must not make each. Who makes it is drawn by lot once an hour.
 * A node's tickets are the addresses that it holds in the primary interface's subnet, among all that anybody holds there:
 * the chances of all nodes of a subnet add up to one at most, however many they are, and nobody needs to know how many. So
 * there is about one list an hour and subnet of nodes; fewer where others use the subnet too.
 */
#include <string.h>

#include "berth/err.h"
#include "berth/str.h"
#include "errors.h"
#include "provider.h"

#define PERIOD_US                                                                                                      \
	(3600 * USEC_PER_SEC) /* between two draws, 80 to 120 %; as often as amazon-vpc-cni-k8s lists on each node */
#define GRACE_US                                                                                                       \
	(3600 * USEC_PER_SEC) /* the longest attach takes three minutes; the rest is for clocks that are wrong */
#define DELETES_MAX 20U       /* of one list: ten seconds of this node's changes; the next one goes on */

static bool is_leftover(const struct ec2_nic *nic)
{
	return str_equal(nic->status, "available") && !nic->instance[0] && !aws_is_hands_off(nic) &&
	       str_starts(nic->description, EC2_DESCRIPTION);
}

/* ---- of this instance ---- */

static int delete_own(struct aws *aws, const struct ec2_nics *nics, const char *instance, int64_t deadline_us,
		      unsigned *ret, struct err *err)
{
	unsigned deleted = 0;

	for (unsigned i = 0; i < nics->count; i++) {
		const struct ec2_nic *nic = &nics->nics[i];

		if (!is_leftover(nic) || !str_equal(nic->owner, instance))
			continue;
		if (aws_remove_nic(aws, nic->nic.id, deadline_us, err) < 0)
			return err_wrap(err, "sweep %s", nic->nic.id);
		deleted++;
	}
	*ret = deleted;
	return 0;
}

static int sweep_own(struct aws *aws, const char *instance, int64_t deadline_us, unsigned *ret, struct err *err)
{
	const struct ec2_filter filters[] = { { "tag:" EC2_TAG_OWNER, instance }, { "status", "available" } };
	uint64_t started = aws->attaches_started;
	struct ec2_nics nics;
	int r;

	if (ec2_nics_describe(&aws->ec2, filters, ARRAY_SIZE(filters), deadline_us, &nics, err) < 0)
		return -1;
	/* What an attach has just made looks like a leftover: next time. One that starts now makes what we have not
	 * read. */
	if (started != aws->attaches_started || started != aws->attaches_ended) {
		*ret = 0;
		ec2_nics_done(&nics);
		return 0;
	}
	r = delete_own(aws, &nics, instance, deadline_us, ret, err);
	ec2_nics_done(&nics);
	return r;
}

/* ---- of instances that are gone ---- */

/* Deleted by now is as good; in use means that somebody attached it: then it is no leftover. */
static int delete_other(struct aws *aws, const struct ec2_nic *nic, int64_t deadline_us, unsigned *deleted,
			struct err *err)
{
	if (ec2_nic_delete(&aws->ec2, nic->nic.id, deadline_us, err) == 0)
		(*deleted)++;
	else if (err->class != ERR_NOTFOUND && !ec2_is_in_use(err))
		return err_wrap(err, "sweep %s of %s", nic->nic.id, nic->owner);
	return 0;
}

static bool is_abandoned(const struct ec2_nic *nic, const char *instance, int64_t wall_us)
{
	return is_leftover(nic) && nic->owner[0] && !str_equal(nic->owner, instance) && nic->created_us > 0 &&
	       wall_us - nic->created_us > GRACE_US;
}

static int sweep_cluster(struct aws *aws, const char *instance, const char *vpc, int64_t deadline_us, unsigned *deleted,
			 struct err *err)
{
	const struct ec2_filter filters[] = { { "tag:" EC2_TAG_CLUSTER, aws->settings.cluster },
					      { "status", "available" },
					      { "vpc-id", vpc },
					      { "tag-key", EC2_TAG_CREATED } };
	int64_t wall_us = clock_now(aws->base.wall);
	struct ec2_nics nics;
	unsigned tried = 0;
	int r = 0;

	if (ec2_nics_describe_some(&aws->ec2, filters, ARRAY_SIZE(filters), DELETES_MAX, deadline_us, &nics, err) < 0)
		return err_wrap(err, "left-over interfaces of the cluster");
	for (unsigned i = 0; r == 0 && i < nics.count && tried < DELETES_MAX; i++) {
		if (!is_abandoned(&nics.nics[i], instance, wall_us))
			continue;
		tried++;
		r = delete_other(aws, &nics.nics[i], deadline_us, deleted, err);
	}
	ec2_nics_done(&nics);
	return r;
}

bool aws_sweep_drawn(const struct random *random, uint64_t tickets, uint64_t all)
{
	if (all > INT64_MAX)
		return false;
	return tickets > 0 && (tickets >= all || (uint64_t)random_below(random, (int64_t)all) < tickets);
}

/* Is it us who looks for those of others this time? One draw a period, however often a sweep is asked for. */
static bool is_our_turn(struct aws *aws, char vpc[static EC2_ID_SIZE])
{
	int64_t now_us = clock_now(aws->base.boot);
	char subnet[EC2_ID_SIZE];
	uint64_t tickets;
	bool due;

	pthread_mutex_lock(&aws->lock);
	due = aws->cluster_due_us != 0 && now_us >= aws->cluster_due_us && aws->vpc[0];
	/* A daemon that starts again and again draws no more often. */
	if (aws->cluster_due_us == 0)
		aws->cluster_due_us = now_us + 1 + random_below(aws->base.random, PERIOD_US);
	else if (due)
		aws->cluster_due_us =
			now_us + PERIOD_US - PERIOD_US / 5 + random_below(aws->base.random, PERIOD_US / 5 * 2);
	memcpy(vpc, aws->vpc, EC2_ID_SIZE);
	memcpy(subnet, aws->subnet, sizeof(subnet));
	tickets = aws->addresses;
	pthread_mutex_unlock(&aws->lock);
	return due && aws_sweep_drawn(aws->base.random, tickets, aws_subnets_used(&aws->subnets, subnet));
}

int aws_sweep(struct cloud *cloud, int64_t deadline_us, unsigned *ret, struct err *err)
{
	struct aws *aws = aws_of(cloud);
	struct cloud_identity self;
	char vpc[EC2_ID_SIZE];
	unsigned deleted = 0;
	struct err why;
	int r = 0;

	if (aws_identity(aws, deadline_us, &self, err) < 0)
		return -1;
	r = sweep_own(aws, self.instance, deadline_us, &deleted, &why);
	if (r == 0 && *aws->settings.cluster && is_our_turn(aws, vpc))
		r = sweep_cluster(aws, self.instance, vpc, deadline_us, &deleted, &why);
	if (r == 0)
		*ret = deleted;
	else if (err)
		*err = why;
	return r;
}
