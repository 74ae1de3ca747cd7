/* SPDX-License-Identifier: Apache-2.0 */
/* The one action of STS that a node needs: AssumeRoleWithWebIdentity. Unsigned, as AWS has it. */
#ifndef MOCKS_AWS_STS_H
#define MOCKS_AWS_STS_H

#include <stdbool.h>
#include <stdint.h>

struct aws_model;
struct ec2_err;
struct query;
struct strbuf;

#define STS_VERSION "2011-06-15"
#define STS_XMLNS   "https://sts.amazonaws.com/doc/2011-06-15/"

/** sts_is_call() - is it one of STS? EC2 and STS share a listener; their versions tell them apart. */
bool sts_is_call(const struct query *query);
/** sts_action_find() - the name if there is such an action, else NULL. */
const char *sts_action_find(const char *name);
/** sts_execute() - run one call, answer or error into @out. Context: the model's lock is held. @ret_err: code "" when it
 *  went well. Return: HTTP status. */
unsigned sts_execute(struct aws_model *model, const struct query *query, int64_t wall_us, struct strbuf *out,
		     struct ec2_err *ret_err);
/** sts_error_body() - STS's envelope of an error. */
void sts_error_body(struct aws_model *model, const struct ec2_err *err, struct strbuf *out);

#endif
