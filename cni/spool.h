/* SPDX-License-Identifier: Apache-2.0 */
/* DELs that found no daemon: one file each, beside the daemon's socket, replayed by the daemon when it starts. */
#ifndef CNI_SPOOL_H
#define CNI_SPOOL_H

struct err;
struct proto_request;

#define SPOOL_FILES_MAX                                                                                                \
	4096 /* of one directory; 16 times the pods of a full node, and few enough to replay in a second */

/**
 * spool_del() - keep a DEL for the daemon
 * @socket_path: of the daemon; the file goes to "spool" beside it, made with mode 0700 if it is missing
 *
 * The file appears whole or not at all; its name is the hash of the key, so that repeating a DEL adds nothing. Names
 * that start with a dot are files in the making.
 * Errors: EXHAUSTED when the directory is full, RETRY when it cannot be written; code = errno.
 */
int spool_del(const char *socket_path, const struct proto_request *request, struct err *err);

#endif
