/* SPDX-License-Identifier: Apache-2.0 */
/* The programs of a box: its mock cloud and the daemon of each node. */
#ifndef MOCKS_BOX_DAEMON_H
#define MOCKS_BOX_DAEMON_H

#include <stdint.h>

struct box;
struct err;

/** box_mockcloud_start() - and wait until it listens: by then the nodes have their primary NICs. */
int box_mockcloud_start(const struct box *box, const char *path, struct err *err);
/** box_ipamd_start() - does not wait. Errors: CONFLICT (it runs). */
int box_ipamd_start(const struct box *box, const char *node, struct err *err);
/** box_ipamd_await() - until its conflist is there and it answers on its socket. Errors: RETRY, NOTFOUND (it ended). */
int box_ipamd_await(const struct box *box, const char *node, int64_t deadline_us, struct err *err);
/** box_stop_all() - every recorded process of a box, by its record alone; works without box.json. */
int box_stop_all(const char *prefix, struct err *err);

#define BOX_START_TIMEOUT_US (30 * INT64_C(1000000)) /* a daemon starts within 1 s; faulty clouds take longer */

#endif
