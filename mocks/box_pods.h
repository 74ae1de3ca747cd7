/* SPDX-License-Identifier: Apache-2.0 */
/* The records of the pods of a box. */
#ifndef MOCKS_BOX_PODS_H
#define MOCKS_BOX_PODS_H

#include "box_runtime.h"
#include "box_state.h"

/** box_pod_path() - of the record of a node's pod, into @ret. Return: @ret. */
const char *box_pod_path(char ret[static BOX_PATH_SIZE], const struct box *box, const char *node, unsigned index);
/** box_pod_indexes() - of all pods that a node has, ascending. Errors: NOTFOUND. */
int box_pod_indexes(const struct box *box, const char *node, unsigned ret[static BOX_PODS_MAX], unsigned *ret_count,
		    struct err *err);

#endif
