/* SPDX-License-Identifier: Apache-2.0 */
/* What hands out credentials to containers on a node: the agent of EKS Pod Identity, or that of ECS. */
#ifndef MOCKS_AWS_AGENT_H
#define MOCKS_AWS_AGENT_H

#include <stdbool.h>
#include <stdint.h>

struct aws_model;
struct ec2_err;
struct httpd_reply;
struct httpd_request;

/** agent_is_call() - it shares a listener with the metadata service; its path tells them apart. */
bool agent_is_call(const struct aws_model *model, const struct httpd_request *request);
/** agent_serve() - answer one request. Context: the model's lock is held. */
void agent_serve(struct aws_model *model, const struct httpd_request *request, int64_t wall_us,
		 struct httpd_reply *reply);
/** agent_error() - a refusal in the agent's envelope. */
void agent_error(const struct ec2_err *err, struct httpd_reply *reply);

#endif
