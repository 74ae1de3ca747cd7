/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: what a box remembers between two calls of vpcbox
 *
 *   /run/vpcbox/PREFIX/box.json       how it was made
 *                     /seed.json      what the mock cloud began with
 *                     /mockcloud.pid  .log .ready
 *                     /calls.jsonl      a line per call to the mock cloud
 *                     /NODE/run/      BERTH_RUN_DIR of that node's daemon
 *                          /net.d/    its conflist
 *                          /log/      ipamd.log
 *                          /pods/     one record per pod, INDEX.json
 *                          /ipamd.pid
 *
 * Addresses and NICs are not in it: the kernel knows them.
 */
#ifndef MOCKS_BOX_STATE_H
#define MOCKS_BOX_STATE_H

#include <limits.h>
#include <stdbool.h>

#include "fabric/fabric.h"

struct box_opts;
struct err;

#define BOX_DIR       "/run/vpcbox"
#define BOX_NODES_MAX 16   /* nodes of one box: a machine runs that many daemons without noticing */
#define BOX_PODS_MAX  1024 /* pods of one node, ever: indexes are not used twice while a pod has one */
#define BOX_ENVS_MAX  33   /* --env, and the families */
#define BOX_PATH_SIZE PATH_MAX

struct box {
	char prefix[FABRIC_PREFIX_MAX + 1];
	char cloud[16];
	char type[64];
	char ipamd[BOX_PATH_SIZE];
	char plugin[BOX_PATH_SIZE]; /* "": what the conflist names, beside vpcbox */
	unsigned node_count;
	char nodes[BOX_NODES_MAX][FABRIC_NODE_MAX + 1];
	unsigned env_count;
	char *env[BOX_ENVS_MAX]; /* owned */
};

void box_done(struct box *box);
/** box_save() - box.json; makes the directories of the box and its nodes. Errors: EXHAUSTED. */
int box_save(const struct box *box, struct err *err);
/** box_load() - Errors: NOTFOUND (no box of that name), PROTOCOL. */
int box_load(const char *prefix, struct box *ret, struct err *err);
/** box_has_node() - Errors: NOTFOUND, with the nodes that there are. */
int box_has_node(const struct box *box, const char *node, struct err *err);
bool box_exists(const char *prefix);
/** box_remove() - its directory with all that is in it; success when there is none. */
int box_remove(const char *prefix, struct err *err);
/** box_names() - call @fn for every box of this machine that has a directory, at most 256. */
int box_names(int (*fn)(const char *prefix, void *arg, struct err *err), void *arg, struct err *err);

/** box_path() - BOX_DIR/PREFIX/NODE/FILE into @ret; @node NULL: BOX_DIR/PREFIX/FILE. Return: @ret. */
const char *box_path(char ret[static BOX_PATH_SIZE], const char *prefix, const char *node, const char *file);
/** box_beside() - path of a program in the directory of this one. Errors: EXHAUSTED, INVALID (too long). */
int box_beside(const char *program, char ret[static BOX_PATH_SIZE], struct err *err);

#define BOX_CONFLIST "net.d/10-berth.conflist"
#define BOX_SOCKET   "run/ipamd.sock"

#endif
