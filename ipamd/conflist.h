/* SPDX-License-Identifier: Apache-2.0 */
/* The CNI configuration list that tells the runtime to call us. */
#ifndef IPAMD_CONFLIST_H
#define IPAMD_CONFLIST_H

struct config_versions;
struct err;

#define CONFLIST_CNI_VERSION "1.0.0" /* the oldest runtimes in use (containerd 1.6) know it */

/** struct conflist - what stands in it; texts are borrowed. */
struct conflist {
	const char *network;
	const char *socket_path;
	const struct config_versions *versions; /* the lowest for runtimes that know of one alone; NULL: 1.0.0 */
	const char *veth_prefix;                /* of host ends that are named by their pod; NULL or "": by container */
};

/** conflist_write() - DIR/NAME, by a temp file in the same directory and a rename; does nothing when the file already
 * has exactly this content. Errors: domain "conflist": INVALID (no directory and it cannot be made, read-only). */
int conflist_write(const char *dir, const char *name, const struct conflist *conflist, struct err *err);
/** conflist_remove() - on uninstall only: with no conflist a runtime cannot stop pods. A missing file is success. */
int conflist_remove(const char *dir, const char *name, struct err *err);

#endif
