/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets credentials by a token: service accounts at STS, containers at the agent of the node. */
#ifndef MOCKS_AWS_IDENTITY_H
#define MOCKS_AWS_IDENTITY_H

#include <stdint.h>

struct aws_model;
struct err;
struct json_t;

/** aws_identity_set() - {"role_arn","token","expires_in_s"?,"max_session_s"?}: from now on this is the token that the
 *  role trusts, and the only one. Errors: PROTOCOL, EXHAUSTED. */
int aws_identity_set(struct aws_model *model, const struct json_t *item, int64_t wall_us, struct err *err);
/** aws_agent_set() - {"path"?,"authorization"?,"lifetime_s"?}: those that are there. Errors: PROTOCOL. */
int aws_agent_set(struct aws_model *model, const struct json_t *item, struct err *err);

#endif
