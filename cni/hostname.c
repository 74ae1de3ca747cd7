/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/hostname.h"

#include <stdint.h>
#include <string.h>

#include "berth/str.h"
#include "cni/client.h"
#include "cni/sha1.h"

#define HASH_BYTES 6 /* of the digest: 12 hex digits */

void cni_host_ifname(const struct cni_run *run, char ret[static LEASE_IFNAME_SIZE])
{
	const struct pod_name *pod = &run->args.pod;
	_cleanup_strbuf_ struct strbuf name = { 0 };
	struct proto_request request;
	uint8_t digest[SHA1_SIZE];
	char hex[2 * HASH_BYTES + 1];

	if (run->conf.veth_prefix[0] && pod->namespace[0] && pod->name[0]) {
		strbuf_printf(&name, "%s.%s", pod->namespace, pod->name);
		if (!str_equal(run->args.ifname, "eth0"))
			strbuf_printf(&name, ".%s", run->args.ifname);
	}
	if (!name.len || name.failed) {
		client_request(run, PROTO_DEL, &request);
		proto_host_ifname(&request.key, ret);
		return;
	}
	sha1(name.text, name.len, digest);
	(void)str_hex(hex, digest, HASH_BYTES);
	hex[PROTO_IFNAME_DIGITS] = '\0';
	(void)str_copy(ret, LEASE_IFNAME_SIZE, run->conf.veth_prefix);
	(void)str_copy(ret + strlen(ret), LEASE_IFNAME_SIZE - strlen(ret), hex);
}
