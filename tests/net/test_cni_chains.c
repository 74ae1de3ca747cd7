/* SPDX-License-Identifier: Apache-2.0 */
/* D11: the reference plugins behind ours, in a list as libcni runs it. */
#include "tests/net/plugin_world.h"

static struct net_link link_of(struct net *net, const char *name)
{
	struct net_link link;

	assert_int_equal(net_link_by_name(net, name, &link, NULL), 0);
	return link;
}

#define TUNING "/usr/lib/cni/tuning" /* containernetworking-plugins */

/* The next plugin of the list: our result goes in, its own comes out, and is what CHECK is shown. @how: its keys. */
static struct output check_behind_tuning(struct world *world, const char *how)
{
	char first[512], command[] = "CNI_COMMAND=ADD", container[] = "CNI_CONTAINERID=" CONTAINER;
	char ifname[] = "CNI_IFNAME=eth0", netns[256], path[] = "CNI_PATH=/usr/lib/cni", more[MORE_SIZE];
	static char conf[CONF_SIZE];
	char *env[] = { command, container, ifname, netns, path, NULL };
	const struct run add = { .command = "ADD", .conf = conf_of(world, "1.0.0", first) };
	const struct run check = { .command = "CHECK", .conf = conf };
	_cleanup_output_ struct output ours = run(world, &add), last = { 0 };
	int in_fd, out_fd = temp_fd(""), err_fd = temp_fd("");

	assert_int_equal(ours.status, 0);
	(void)snprintf(netns, sizeof(netns), "CNI_NETNS=%s", world->netns_path);
	(void)snprintf(conf, sizeof(conf),
		       "{\"cniVersion\":\"1.0.0\",\"name\":\"berth\",\"type\":\"tuning\",%s,\"dataDir\":\"%s\","
		       "\"prevResult\":%s}",
		       how, world->dir, ours.out);
	in_fd = temp_fd(conf);
	last.status = spawn_and_wait(TUNING, env, in_fd, out_fd, err_fd);
	(void)close(in_fd);
	last.out = read_back(out_fd);
	last.err = read_back(err_fd);
	if (last.status != 0)
		fail_msg("%s %s", last.out, last.err);
	(void)snprintf(more, sizeof(more), ",\"prevResult\":%s", last.out);
	(void)conf_with(world, "1.0.0", more, conf);
	return run(world, &check);
}

static void test_chain__tuning__cni_d11(void **state)
{
	struct world *world = *state;
	_cleanup_output_ struct output output = { 0 };

	if (!have_plugin(TUNING))
		return;
	output = check_behind_tuning(world, "\"mtu\":1300,\"promisc\":true,"
					    "\"sysctl\":{\"net.ipv4.conf.IFNAME.arp_filter\":\"1\"}");
	if (output.status != 0)
		fail_msg("%s", output.out);
	assert_int_equal(link_of(world->pod, "eth0").mtu, 1300);
}

/* A new MAC is in the result and no finding. But the kernel forgets permanent neighbours with the old one, and nobody
 * answers ARP for the gateway: the pod is cut off, and CHECK says by what. */
static void test_chain__tuning_of_the_mac__cni_d11(void **state)
{
	struct world *world = *state;
	_cleanup_output_ struct output output = { 0 };

	if (!have_plugin(TUNING))
		return;
	output = check_behind_tuning(world, "\"mac\":\"02:00:00:00:00:77\"");
	assert_int_equal(json_integer_value(json_object_get(output.json, "code")), 103);
	assert_true(output_says(&output, "pod lacks the permanent neighbour 169.254.1.1"));
	assert_false(output_says(&output, "has MAC"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		plugin_test(test_chain__tuning__cni_d11),
		plugin_test(test_chain__tuning_of_the_mac__cni_d11),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
