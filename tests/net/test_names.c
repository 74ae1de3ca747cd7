/* SPDX-License-Identifier: Apache-2.0 */
/* Names of host ends by the daemon's settings: told to the plugin, and known to the nft table before the first pod. */
#include "tests/net/ipamd_world.h"
#include "tests/net/said.h"

static void up(struct world *w, enum config_names names, const char *prefix)
{
	make_cloud(w, 4, ONE);
	w->config.veth_name = names;
	(void)str_copy(w->config.veth_prefix, sizeof(w->config.veth_prefix), prefix);
	start(w);
	until(has_conflist(w));
}

static char *conflist_of(struct world *w)
{
	char path[PATH_MAX], *text = NULL;

	assert_int_equal(fs_read(check_path(path, sizeof(path), w->config.conflist_dir, w->config.conflist_name), 4096,
				 &text, NULL),
			 0);
	return text;
}

static void test_names__by_pod_before_the_first(void **state)
{
	_cleanup_free_ char *conflist = NULL, *table = NULL;
	struct world *w = *state;

	up(w, CONFIG_NAMES_AUTO, "eni");
	conflist = conflist_of(w);
	assert_non_null(strstr(conflist, "\"vethName\": \"pod\""));
	assert_non_null(strstr(conflist, "\"vethPrefix\": \"eni\""));
	/* the conflist comes when an address can be leased, so behind the table */
	table = said("nft list table inet berth");
	assert_non_null(strstr(table, "iifname \"eni*\" goto frompod"));
	assert_non_null(strstr(table, "iifname \"bth*\" goto frompod"));
}

static void test_names__by_container(void **state)
{
	_cleanup_free_ char *conflist = NULL;
	struct world *w = *state;

	up(w, CONFIG_NAMES_AUTO, "");
	conflist = conflist_of(w);
	assert_null(strstr(conflist, "veth"));
	assert_false(says("nft list table inet berth", "cali"));
}

/* A prefix that the node's own interface has: pods of that name are refused, and the interface is not taken for a pod's. */
static void test_names__prefix_of_a_nic(void **state)
{
	struct proto_request request = request_of(PROTO_ADD, "aa");
	_cleanup_reply_ struct proto_reply reply = { 0 };
	struct world *w = *state;

	up(w, CONFIG_NAMES_POD, "et");
	assert_false(says("nft list table inet berth", "\"et*\""));
	(void)str_copy(request.host_ifname, sizeof(request.host_ifname), "et0a1b2c3d4e5");
	send_request(w, &request, &reply);
	assert_false(reply.ok);
	assert_int_equal(reply.error.class, ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_names__by_pod_before_the_first),
		world_test(test_names__by_container),
		world_test(test_names__prefix_of_a_nic),
	};

	return cmocka_run_group_tests(tests, world_group_setup, NULL);
}
