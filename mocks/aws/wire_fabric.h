/* SPDX-License-Identifier: Apache-2.0 */
/* The mock's network operations on the namespaces of a VPC in a box. */
#ifndef MOCKS_AWS_WIRE_FABRIC_H
#define MOCKS_AWS_WIRE_FABRIC_H

struct aws_mock_net_ops;
struct err;

/** aws_wire_fabric_open() - the operations of the fabric of that prefix. Errors: as fabric_open(). */
int aws_wire_fabric_open(const char *prefix, struct aws_mock_net_ops *ret, struct err *err);
void aws_wire_fabric_close(struct aws_mock_net_ops *ops);

#endif
