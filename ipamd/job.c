/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs as values; whoever runs them, the executors or a simulator in their place. */
#include "ipamd/executor.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char *const job_names[] = {
	[JOB_IDENTIFY] = "identify", [JOB_LIMITS] = "limits",    [JOB_LIST] = "list",        [JOB_SWEEP] = "sweep",
	[JOB_ASSIGN] = "assign",     [JOB_RELEASE] = "release",  [JOB_ATTACH] = "attach",    [JOB_DETACH] = "detach",
	[JOB_NFT] = "nft",           [JOB_LINK_DEL] = "linkdel", [JOB_CT_FLUSH] = "ctflush", [JOB_RECOVER] = "recover",
	[JOB_GLANCE] = "glance",     [JOB_FORWARD] = "forward",
};
static_assert(ARRAY_SIZE(job_names) == JOB_KIND_COUNT, "a name per job kind");

const char *job_kind_name(enum job_kind kind)
{
	return kind < JOB_KIND_COUNT ? job_names[kind] : "?";
}

void job_done(struct job *job)
{
	if (job->kind == JOB_IDENTIFY)
		free(job->identity);
	else if (job->kind == JOB_LIST || job->kind == JOB_GLANCE)
		cloud_view_done(&job->view);
	else if (job->kind == JOB_ASSIGN || job->kind == JOB_RECOVER || job->kind == JOB_ATTACH)
		cloud_nic_done(&job->nic_result);
	free(job->blocks);
	free(job->addrs);
	free(job->ports);
	free(job->batch);
	free(job->forward);
	memset(job, 0, sizeof(*job));
}
