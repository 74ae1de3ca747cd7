/* SPDX-License-Identifier: Apache-2.0 */
/* What each cloud's folder offers to the registry: a constructor, whose @config has no member left NULL but lists that are
 * empty, and its table of other pod networks' variables. */
#ifndef BERTH_CLOUD_PROVIDERS_H
#define BERTH_CLOUD_PROVIDERS_H

struct cloud;
struct cloud_config;
struct cloud_var;
struct err;

/** aws_open() - Amazon EC2. No I/O. Errors: INVALID (bad endpoint), RETRY (no memory). */
int aws_open(const struct cloud_config *config, struct cloud **ret, struct err *err);

/** aws_vars() - the variables of amazon-vpc-cni-k8s. */
const struct cloud_var *aws_vars(unsigned *ret_count);

#endif
