/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits of the instance types that were known when berth was built, so that a node starts without asking EC2. A type
 * that is not here is asked for. Context of all: any thread.
 */
#ifndef BERTH_AWS_LIMITS_H
#define BERTH_AWS_LIMITS_H

#include <stdbool.h>
#include <stddef.h>

struct ec2_type;

/** aws_limits_find() - of the type of that name. Return: is it known? Only then @ret is filled in. */
bool aws_limits_find(const char *type, struct ec2_type *ret);
/** aws_limits_at() - number @index of the table, in the order of the names. Return: is there one? */
bool aws_limits_at(size_t index, struct ec2_type *ret);

#endif
