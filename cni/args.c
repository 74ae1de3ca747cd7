/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/args.h"

#include <assert.h>
#include <string.h>

#include <jansson.h>

#include "berth/str.h"
#include "cni/cnierr.h"

#define RUNTIME_IS_WRONG "The container runtime sets these variables: look at its version and log."

static int check_missing(const struct cni_env *env, unsigned needs, struct cnierr *cnierr)
{
	static const struct {
		enum cni_need need;
		const char *name;
	} vars[] = {
		{ NEED_CONTAINERID, "CNI_CONTAINERID" },
		{ NEED_NETNS, "CNI_NETNS" },
		{ NEED_IFNAME, "CNI_IFNAME" },
	};
	char names[64] = "";
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(vars); i++) {
		if (!(needs & vars[i].need) || *cni_env_get(env, vars[i].name))
			continue;
		if (len > 0)
			len += (size_t)!str_copy(names + len, sizeof(names) - len, ",");
		(void)str_copy(names + len, sizeof(names) - len, vars[i].name);
		len = strlen(names);
	}
	if (len == 0)
		return 0;
	return cnierr_set(cnierr, CNI_INVALID_ENVIRONMENT, RUNTIME_IS_WRONG, "required variables are missing: %s",
			  names);
}

/* Everything here travels in JSON, to the daemon and back to the runtime. */
static bool is_utf8(const char *text)
{
	json_auto_t *string = json_string(text);

	return string;
}

static int take(const struct cni_env *env, const char *name, char *dst, size_t dst_size, struct cnierr *cnierr)
{
	if (str_copy(dst, dst_size, cni_env_get(env, name)) < 0)
		return cnierr_set(cnierr, CNI_INVALID_ENVIRONMENT, RUNTIME_IS_WRONG, "%s is longer than %zu bytes",
				  name, dst_size - 1);
	if (!is_utf8(dst))
		return cnierr_set(cnierr, CNI_INVALID_ENVIRONMENT, RUNTIME_IS_WRONG, "%s is not UTF-8", name);
	return 0;
}

/* A name that does not fit is no Kubernetes name: it is left empty, since it is for people and metrics only. */
static void take_part(const char *part, size_t part_len, const char *name, char *dst, size_t dst_size)
{
	size_t name_len = strlen(name);

	if (part_len <= name_len || strncmp(part, name, name_len) != 0 || part[name_len] != '=')
		return;
	part += name_len + 1;
	part_len -= name_len + 1;
	if (part_len >= dst_size)
		return;
	memcpy(dst, part, part_len);
	dst[part_len] = '\0';
	if (!is_utf8(dst))
		dst[0] = '\0';
}

/* "K=V;K=V" in any order; what is not known or malformed is passed over, as IgnoreUnknown=1 asks. */
static void read_pod(const char *text, struct pod_name *pod)
{
	while (*text) {
		size_t len = strcspn(text, ";");

		take_part(text, len, "K8S_POD_NAMESPACE", pod->namespace, sizeof(pod->namespace));
		take_part(text, len, "K8S_POD_NAME", pod->name, sizeof(pod->name));
		take_part(text, len, "K8S_POD_UID", pod->uid, sizeof(pod->uid));
		text += len;
		text += *text == ';';
	}
}

/* The key's rules are checked here with a network name that passes, so that the blame falls on the variables. */
static int check_key(const struct cni_args *args, unsigned needs, struct cnierr *cnierr)
{
	struct lease_key key = { .network = "n", .container = "c", .ifname = "i" };
	struct err err;

	if (needs & NEED_CONTAINERID)
		(void)str_copy(key.container, sizeof(key.container), args->container);
	if (needs & NEED_IFNAME)
		(void)str_copy(key.ifname, sizeof(key.ifname), args->ifname);
	if (proto_key_check(&key, &err) == 0)
		return 0;
	return cnierr_set_err(cnierr, CNI_INVALID_ENVIRONMENT, RUNTIME_IS_WRONG, "CNI_CONTAINERID or CNI_IFNAME", &err);
}

int cni_args_read(const struct cni_env *env, unsigned needs, struct cni_args *ret, struct cnierr *cnierr)
{
	struct cni_args args = { 0 };

	assert(env && ret && cnierr);
	if (check_missing(env, needs, cnierr) < 0 ||
	    take(env, "CNI_CONTAINERID", args.container, sizeof(args.container), cnierr) < 0 ||
	    take(env, "CNI_IFNAME", args.ifname, sizeof(args.ifname), cnierr) < 0 ||
	    take(env, "CNI_NETNS", args.netns, sizeof(args.netns), cnierr) < 0 || check_key(&args, needs, cnierr) < 0)
		return -1;
	read_pod(cni_env_get(env, "CNI_ARGS"), &args.pod);
	/* Nobody but us reads it, and what is no boolean means no. */
	(void)str_bool(cni_env_get(env, "CNI_NETNS_OVERRIDE"), &args.netns_override);
	*ret = args;
	return 0;
}
