/* SPDX-License-Identifier: Apache-2.0 */
/* "runtimeConfig" of the network configuration: what the runtime asks for by CNI's capabilities. */
#ifndef CNI_RUNTIME_H
#define CNI_RUNTIME_H

struct err;
struct json_t;
struct runtime_config;

/**
 * cni_runtime_read() - portMappings and bandwidth of @conf; other capabilities are other plugins'
 * @ret: zeroed where nothing is asked for. Mappings without a host port, which runtimes send for ports that a container just
 * names, are left out.
 * Return: 0 or -1. Errors: PROTOCOL (a wrong type or number), INVALID; the key is named.
 */
int cni_runtime_read(const struct json_t *conf, struct runtime_config *ret, struct err *err);

#endif
