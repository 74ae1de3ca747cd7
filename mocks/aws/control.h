/* SPDX-License-Identifier: Apache-2.0 */
/* The control endpoint: what tests ask of the mock behind the cloud's back. mocks/aws/aws_mock.h lists the calls. */
#ifndef MOCKS_AWS_CONTROL_H
#define MOCKS_AWS_CONTROL_H

#include <stddef.h>

struct aws_counter;
struct aws_mock;
struct httpd_reply;

/** aws_control() - run /_mock/@path. Context: the mock's lock is held. */
void aws_control(struct aws_mock *mock, const char *path, const char *body, size_t size, struct httpd_reply *reply);
/** aws_counter_of() - the counters of @action, new ones when it has none; NULL when there are too many. */
struct aws_counter *aws_counter_of(struct aws_mock *mock, const char *action);

#endif
