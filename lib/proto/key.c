/* SPDX-License-Identifier: Apache-2.0 */
/* Lease keys: what CNI allows in them, and the name of the link that belongs to one. */
#include "berth/proto.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/proto/codec.h"

#define FNV64_OFFSET UINT64_C(0xcbf29ce484222325) /* FNV-1a, 64 bit, offset basis */
#define FNV64_PRIME  UINT64_C(0x00000100000001b3)

#define HOST_IFNAME_PREFIX     "bth"
#define HOST_IFNAME_HASH_SHIFT 20 /* bits; 11 of the 16 hex digits fill the name to 14 of 15 characters */

static uint64_t fnv1a(uint64_t hash, const char *text)
{
	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * FNV64_PRIME;
	return hash;
}

void proto_host_ifname(const struct lease_key *key, char ret[static LEASE_IFNAME_SIZE])
{
	uint64_t hash = fnv1a(fnv1a(fnv1a(FNV64_OFFSET, key->container), "/"), key->ifname);

	(void)snprintf(ret, LEASE_IFNAME_SIZE, HOST_IFNAME_PREFIX "%011" PRIx64, hash >> HOST_IFNAME_HASH_SHIFT);
}

uint64_t proto_key_hash(const struct lease_key *key)
{
	uint64_t hash = fnv1a(fnv1a(FNV64_OFFSET, key->network), "/");

	return fnv1a(fnv1a(fnv1a(hash, key->container), "/"), key->ifname);
}

static bool is_ascii_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_cni_id(const char *text)
{
	if (!is_ascii_alnum(*text))
		return false;
	for (; *text; text++)
		if (!is_ascii_alnum(*text) && *text != '_' && *text != '.' && *text != '-')
			return false;
	return true;
}

/* The rules of CNI's utils.ValidateInterfaceName, which are the kernel's dev_valid_name(), and ASCII: the name travels
 * in JSON. */
bool proto_ifname_check(const char *name)
{
	const char *text = name;

	assert(name);
	if (!*text || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
		return false;
	for (; *text; text++)
		if (*text == '/' || *text == ':' || *text <= ' ' || *text > '~')
			return false;
	return text - name < LEASE_IFNAME_SIZE;
}

int proto_key_check(const struct lease_key *key, struct err *err)
{
	assert(key);
	if (!is_cni_id(key->network))
		return err_set(
			err, ERR_INVALID, PROTO_DOMAIN,
			"network name '%s' must start with a letter or digit and go on with these, '_', '.' and '-'",
			key->network);
	if (!is_cni_id(key->container))
		return err_set(
			err, ERR_INVALID, PROTO_DOMAIN,
			"container ID '%s' must start with a letter or digit and go on with these, '_', '.' and '-'",
			key->container);
	if (!proto_ifname_check(key->ifname))
		return err_set(
			err, ERR_INVALID, PROTO_DOMAIN,
			"interface name '%s' must be 1-15 characters without '/', ':' and blanks, not '.' or '..'",
			key->ifname);
	return 0;
}
