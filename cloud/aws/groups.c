/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: security groups
 *
 * What the list shows anyway tells whether the primary interface's groups have changed; our secondary ones then get the
 * same. That is a change of the cloud inside a reading call, so it is kept small: behind the complete list, one call for
 * each interface that differs, all of them within GROUPS_US, none for a while after a round of them. The first failure
 * ends a round. It fails no list; what is left to do, the list after the pause shows again.
 *
 * Where an operator names groups, new interfaces have those, and nothing follows anything.
 */
#include <string.h>

#include "berth/str.h"
#include "provider.h"

#define GROUPS_US (3 * USEC_PER_SEC)   /* of all calls of one list */
#define PAUSE_US  (60 * USEC_PER_SEC)  /* a reading older than our own change would have it made again */
#define AGAIN_US  (300 * USEC_PER_SEC) /* after a failure: once per ordinary list */

static bool has_group(const struct ec2_nic *nic, const char *group)
{
	for (unsigned i = 0; i < nic->group_count; i++) {
		if (str_equal(nic->groups[i], group))
			return true;
	}
	return false;
}

/* As sets: EC2 keeps no order. */
static bool has_same_groups(const struct ec2_nic *a, const struct ec2_nic *b)
{
	bool same = a->group_count == b->group_count;

	for (unsigned i = 0; same && i < a->group_count; i++)
		same = has_group(b, a->groups[i]);
	return same;
}

/* Return: 1 when it had to be changed and was, 0 when there was nothing to do, -1. */
static int follow(struct aws *aws, const struct ec2_nic *primary, const struct ec2_nic *nic,
		  const struct cloud_nic *seen, int64_t deadline_us)
{
	struct err err;

	if (seen->foreign || seen->primary || !seen->attached || has_same_groups(primary, nic))
		return 0;
	if (ec2_groups_set(&aws->ec2, seen->id, primary->group_count, primary->groups, deadline_us, &err) == 0)
		return 1;
	return err.class == ERR_NOTFOUND ? 0 : -1;
}

static bool is_due(struct aws *aws, int64_t now_us)
{
	bool due;

	pthread_mutex_lock(&aws->lock);
	due = now_us >= aws->groups_due_us;
	pthread_mutex_unlock(&aws->lock);
	return due;
}

void aws_groups_follow(struct aws *aws, const struct ec2_nics *nics, const struct cloud_view *view, int64_t deadline_us)
{
	int64_t now_us = clock_now(aws->base.boot);
	int64_t until_us = clock_earlier(deadline_us, now_us + GROUPS_US);
	const struct ec2_nic *primary = NULL;
	unsigned changed = 0;
	int r = 0;

	if (aws->access != CLOUD_ACCESS_FULL || aws->settings.group_count > 0 || !is_due(aws, now_us))
		return;
	/* The list was made of these, one by one. */
	for (unsigned i = 0; i < view->nic_count; i++) {
		if (view->nics[i].primary)
			primary = &nics->nics[i];
	}
	if (!primary || primary->group_count == 0)
		return;
	for (unsigned i = 0; r >= 0 && i < view->nic_count; i++) {
		r = follow(aws, primary, &nics->nics[i], &view->nics[i], until_us);
		changed += r > 0;
	}
	pthread_mutex_lock(&aws->lock);
	if (r < 0)
		aws->groups_due_us = now_us + AGAIN_US;
	else if (changed > 0)
		aws->groups_due_us = now_us + PAUSE_US;
	pthread_mutex_unlock(&aws->lock);
}
