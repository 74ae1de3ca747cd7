/* SPDX-License-Identifier: Apache-2.0 */
/* What each cloud's folder offers to the registry: one constructor. Every member of @config is filled in, none NULL. */
#ifndef BERTH_CLOUD_PROVIDERS_H
#define BERTH_CLOUD_PROVIDERS_H

struct cloud;
struct cloud_config;
struct err;

/** aws_open() - Amazon EC2. No I/O. Errors: INVALID (bad endpoint), RETRY (no memory). */
int aws_open(const struct cloud_config *config, struct cloud **ret, struct err *err);

#endif
