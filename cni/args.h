/* SPDX-License-Identifier: Apache-2.0 */
/* What the runtime says in the environment. */
#ifndef CNI_ARGS_H
#define CNI_ARGS_H

#include <stdbool.h>

#include "berth/proto.h"

struct cnierr;

/** struct cni_env - where variables come from. */
struct cni_env {
	const char *(*get)(void *ctx, const char *name); /* borrowed; NULL: not set */
	void *ctx;
};

/** cni_env_get() - the variable; "" when it is not set. */
static inline const char *cni_env_get(const struct cni_env *env, const char *name)
{
	const char *value = env->get(env->ctx, name);

	return value ? value : "";
}

/* Variables that a verb cannot do without. */
enum cni_need {
	NEED_CONTAINERID = 1 << 0,
	NEED_NETNS = 1 << 1,
	NEED_IFNAME = 1 << 2,
};

struct cni_args {
	char container[LEASE_CONTAINER_SIZE];
	char ifname[LEASE_IFNAME_SIZE];
	char netns[LEASE_NETNS_SIZE]; /* path; may be empty where it is not needed */
	struct pod_name pod;          /* empty where the runtime is not Kubernetes' */
	bool netns_override;          /* CNI_NETNS_OVERRIDE: the plugin's own namespace is allowed */
};

/**
 * cni_args_read() - take and check the variables
 * @needs: bits of enum cni_need
 * Return: 0 or -1 with code 4; the message lists all variables that are missing.
 */
int cni_args_read(const struct cni_env *env, unsigned needs, struct cni_args *ret, struct cnierr *cnierr);

#endif
