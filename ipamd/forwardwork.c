/* SPDX-License-Identifier: Apache-2.0 */
/* When to look whether others close forwarding (forward.h), and what is said about it. */
#include <stdlib.h>

#include "berth/clock.h"
#include "berth/log.h"
#include "berth/str.h"
#include "ipamd/forward.h"
#include "ipamd/ipamd.h"

#define LOOK_US  (60 * USEC_PER_SEC)   /* of what nobody tells: changes of iptables-legacy */
#define SOON_US  (200 * USEC_PER_MSEC) /* behind a change: collects those of a program that starts into one look */
#define APART_US (500 * USEC_PER_MSEC) /* between two looks, whatever is told */
#define LIMIT_US (20 * USEC_PER_SEC)   /* for one look: a few ms, or the lock of iptables-legacy */

#define BLIND_MAX                                                                                                      \
	3U /* looks that put rules somewhere and did not find them there: somebody else takes them away at once */

static struct forward *ask(const struct ipamd *d)
{
	struct forward *forward = calloc(1, sizeof(*forward));

	if (!forward)
		return NULL;
	forward->accept = d->config.forward_accept && d->forward_blind < BLIND_MAX;
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		forward->serves[i] = d->config.families.serves[i];
	(void)str_copy(forward->links[forward->link_count++], LEASE_IFNAME_SIZE, HOSTNET_POD_LINKS);
	for (unsigned i = 0; i < d->pod_link_count; i++)
		(void)str_copy(forward->links[forward->link_count++], LEASE_IFNAME_SIZE, d->pod_links[i]);
	return forward;
}

void forwardwork_soon(struct ipamd *d, int64_t now_us)
{
	int64_t at_us = now_us + SOON_US;

	if (at_us < d->forward_last_us + APART_US)
		at_us = d->forward_last_us + APART_US;
	if (at_us < d->forward_due_us)
		d->forward_due_us = at_us;
}

int64_t forwardwork_reconcile(struct ipamd *d, int64_t now_us)
{
	struct job job = { .kind = JOB_FORWARD, .deadline_us = now_us + LIMIT_US };
	struct err err;

	if (d->running[JOB_FORWARD])
		return INT64_MAX; /* its result looks again */
	if (d->forward_due_us > now_us)
		return d->forward_due_us;
	d->forward_last_us = now_us;
	d->forward_due_us = now_us + LOOK_US;
	job.forward = ask(d);
	if (!job.forward)
		(void)err_set(&err, ERR_RETRY, "ipamd", "no memory");
	if (!job.forward || ipamd_submit(d, &job, &err) < 0) {
		log_warn("cannot look at who else forwards", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
		job_done(&job);
	}
	return d->forward_due_us;
}

static bool was_told(const struct ipamd *d, const struct forward_problem *problem)
{
	for (unsigned i = 0; d->forward && i < d->forward->problem_count; i++)
		if (str_equal(d->forward->problems[i].what, problem->what) &&
		    str_equal(d->forward->problems[i].error, problem->error))
			return true;
	return false;
}

void forwardwork_finish(struct ipamd *d, struct job *job)
{
	const struct forward *forward = job->forward;

	if (job->rc < 0) {
		if (!d->forward_unread)
			log_warn("cannot see who else decides about what pods send through the node", LOG_ERR_FMT,
				 LOG_ERR_ARGS(&job->err));
		d->forward_unread = true;
		return;
	}
	d->forward_unread = false;
	d->forward_blind += forward->blind;
	if (forward->added)
		log_warn("others drop what pods send through the node; rules that let it pass stand in their chains",
			 "rules=%u comment=" FORWARD_MARK, forward->added);
	for (unsigned i = 0; i < forward->problem_count; i++) {
		const struct forward_problem *problem = &forward->problems[i];

		if (!was_told(d, problem))
			log_error("pods are cut off by a firewall of this node", "what=\"%s\" hint=\"%s\" err=\"%s\"",
				  problem->what, problem->hint, problem->error);
	}
	if (d->forward && d->forward->problem_count && !forward->problem_count)
		log_info("no firewall of this node cuts pods off any more", "");
	free(d->forward);
	d->forward = take_ptr(job->forward);
}
