/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/hostname.h"

#include <string.h>

#include "berth/str.h"
#include "cni/plugin.h"
#include "cni/sha1.h"
#include "tests/check.h"

static void hash_is(const char *text, const char *digest)
{
	uint8_t bytes[SHA1_SIZE];
	char hex[2 * SHA1_SIZE + 1];

	sha1(text, strlen(text), bytes);
	assert_string_equal(str_hex(hex, bytes, sizeof(bytes)), digest);
}

/* RFC 3174 section 7.3, and texts that end at each edge of a block, by sha1sum. */
static void test_sha1__known_digests(void **state)
{
	char text[130] = "";

	(void)state;
	hash_is("", "da39a3ee5e6b4b0d3255bfef95601890afd80709");
	hash_is("abc", "a9993e364706816aba3e25717850c26c9cd0d89d");
	hash_is("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
	static const struct {
		size_t len;
		const char *digest;
	} edges[] = {
		{ 55, "c1c8bbdc22796e28c0e15163d20899b65621d65a" },
		{ 56, "c2db330f6083854c99d4b5bfb6e8f29f201be699" },
		{ 63, "03f09f5b158a7a8cdad920bddc29b81c18a551f5" },
		{ 64, "0098ba824b5c16427bd7a1122a5a442a25ec644d" },
		{ 65, "11655326c708d70319be2610e8a57d9a5b959d3b" },
		{ 119, "ee971065aaa017e0632a8ca6c77bb3bf8b1dfc56" },
		{ 120, "f34c1488385346a55709ba056ddd08280dd4c6d6" },
		{ 128, "ad5b3fdbcb526778c2839d2f151ea753995e26a0" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(edges); i++) {
		memset(text, 'a', edges[i].len);
		text[edges[i].len] = '\0';
		hash_is(text, edges[i].digest);
	}
}

static void name_is(const char *prefix, const char *namespace, const char *pod, const char *ifname, const char *name)
{
	struct cni_run run = { .conf = { .network = "berth" }, .args = { .container = "3f00aa" } };
	char got[LEASE_IFNAME_SIZE];

	(void)str_copy(run.conf.veth_prefix, sizeof(run.conf.veth_prefix), prefix);
	(void)str_copy(run.args.pod.namespace, sizeof(run.args.pod.namespace), namespace);
	(void)str_copy(run.args.pod.name, sizeof(run.args.pod.name), pod);
	(void)str_copy(run.args.ifname, sizeof(run.args.ifname), ifname);
	cni_host_ifname(&run, got);
	assert_string_equal(got, name);
}

/* As libcalico's VethNameForWorkload(): the prefix and 11 digits of SHA-1 of "namespace.pod". */
static void test_cni_host_ifname__by_pod__cni_c1_1(void **state)
{
	char pod[LEASE_POD_SIZE] = "";

	(void)state;
	name_is("cali", "default", "web-0", "eth0", "cali0d7763386da");
	name_is("eni", "default", "web-0", "eth0", "eni0d7763386da");
	name_is("cali", "kube-system", "coredns-5d78c9869d-abcde", "eth0", "cali4d5f75c480c");
	memset(pod, 'p', sizeof(pod) - 1);
	name_is("cali", "ns", pod, "eth0", "calie03b7a461d1");
}

static void test_cni_host_ifname__of_other_interfaces__cni_c4_3(void **state)
{
	(void)state;
	name_is("cali", "default", "web-0", "net1", "calide80847183d");
}

static void test_cni_host_ifname__by_container(void **state)
{
	const struct lease_key key = { .network = "berth", .container = "3f00aa", .ifname = "eth0" };
	char want[LEASE_IFNAME_SIZE];

	(void)state;
	proto_host_ifname(&key, want);
	name_is("", "default", "web-0", "eth0", want);
	/* A runtime that names no pod. */
	name_is("cali", "", "", "eth0", want);
	name_is("cali", "default", "", "eth0", want);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		check_unit_test(test_sha1__known_digests),
		check_unit_test(test_cni_host_ifname__by_pod__cni_c1_1),
		check_unit_test(test_cni_host_ifname__of_other_interfaces__cni_c4_3),
		check_unit_test(test_cni_host_ifname__by_container),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
