/* SPDX-License-Identifier: Apache-2.0 */
/* Instance types that the mock AWS knows without being told. */
#ifndef MOCKS_AWS_TYPES_H
#define MOCKS_AWS_TYPES_H

struct aws_type;

/** aws_types_builtin() - fill in at most @max rows. Return: how many. */
unsigned aws_types_builtin(struct aws_type *types, unsigned max);

#endif
