/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials of the role that the instance has, from the metadata service. */
#ifndef BERTH_AWS_AUTH_ROLE_H
#define BERTH_AWS_AUTH_ROLE_H

#include <stdint.h>

#include "berth/attr.h"

struct aws_creds;
struct aws_meta;
struct err;

/** aws_role_fetch() - Errors: AUTH (no role, or it hands out nothing), RETRY, THROTTLED, PROTOCOL. Context: any. */
_must_check_ int aws_role_fetch(struct aws_meta *meta, int64_t deadline_us, struct aws_creds *ret, struct err *err);

#endif
