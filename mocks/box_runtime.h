/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: a container runtime's half of CNI
 *
 * What libcni does for containerd and CRI-O, as far as a plugin can tell: the first plugin of the conflist gets its own
 * object with the list's cniVersion and name put into it, on stdin; the rest comes by environment; the result of ADD is
 * kept and comes back as prevResult with DEL. A failed ADD is followed by a DEL, as runtimes do.
 */
#ifndef MOCKS_BOX_RUNTIME_H
#define MOCKS_BOX_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>

#include "berth/ipaddr.h"

struct err;
struct json_t;

#define RUNTIME_ID_SIZE    65 /* 64 hex digits, as containerd makes them */
#define RUNTIME_NAME_SIZE  64
#define RUNTIME_ERROR_SIZE 512 /* of the plugin's error JSON: enough for code, msg and details of one error */
#define RUNTIME_IFNAME     "eth0"

/** struct runtime_conf - what a conflist says, ready to be used for many pods; read-only afterwards. */
struct runtime_conf {
	struct json_t *plugin; /* owned: plugins[0] with cniVersion and name */
	char type[RUNTIME_NAME_SIZE];
};
/** runtime_conf_load() - Errors: NOTFOUND (no such file), PROTOCOL (not a conflist). */
int runtime_conf_load(const char *path, struct runtime_conf *ret, struct err *err);
void runtime_conf_done(struct runtime_conf *conf);

/** struct runtime_pod - one sandbox. */
struct runtime_pod {
	char name[RUNTIME_NAME_SIZE]; /* of the pod and of its namespace in /run/netns */
	char container[RUNTIME_ID_SIZE];
	struct prefix address; /* of a pod that is up; the first of its result */
	struct prefix second;  /* and the second one, of the other family; family 0: it has one only */
	char *result;          /* owned: what ADD printed; NULL: none */
};
/** runtime_pod_init() - a pod of that name with a new container ID. Errors: INVALID (name), EXHAUSTED. */
int runtime_pod_init(struct runtime_pod *pod, const char *name, struct err *err);
void runtime_pod_done(struct runtime_pod *pod);
/** runtime_pod_save() - to @path, whole or not at all. */
int runtime_pod_save(const struct runtime_pod *pod, const char *path, struct err *err);
/** runtime_pod_load() - Errors: NOTFOUND, PROTOCOL. */
int runtime_pod_load(const char *path, struct runtime_pod *ret, struct err *err);

struct runtime {
	const struct runtime_conf *conf;
	const char *plugin; /* path of the binary */
	int node_fd;        /* namespace that the plugin runs in */
	int64_t timeout_us; /* of one call; 0: RUNTIME_TIMEOUT_US */
};
#define RUNTIME_TIMEOUT_US (130 * INT64_C(1000000)) /* kubelet gives a sandbox 2 min; the plugin must have given up */

struct runtime_outcome {
	int64_t plugin_us;                     /* of the plugin, exec to end */
	char plugin_error[RUNTIME_ERROR_SIZE]; /* the plugin's error JSON on one line, or "" */
};

/**
 * runtime_run() - make the pod's namespace and ADD it; a pod that fails leaves nothing behind
 * Return: 0 with its addresses and pod->result set. Errors: CONFLICT (namespace exists), PROTOCOL (exit code and output
 * do not fit), RETRY (deadline), INVALID (the plugin reported an error: outcome->plugin_error). Context: any thread,
 * several at a time with different pods.
 */
int runtime_run(const struct runtime *runtime, struct runtime_pod *pod, struct runtime_outcome *outcome,
		struct err *err);
/** runtime_stop() - DEL, then remove the namespace. When DEL fails the namespace stays, so that it can be repeated. */
int runtime_stop(const struct runtime *runtime, struct runtime_pod *pod, struct runtime_outcome *outcome,
		 struct err *err);

#endif
