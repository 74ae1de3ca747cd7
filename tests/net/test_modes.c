/* SPDX-License-Identifier: Apache-2.0 */
/* What the settings of the cloud's modes make of a whole daemon: families, access, closed NICs, subnets for pods. */
#include <spawn.h>
#include <sys/wait.h>

#include "ctl/ctl.h"
#include "tests/net/stub_cloud.h"

#define OFTEN_US (50 * USEC_PER_MSEC) /* between two lists, where a test waits for one */

static void set_families(struct world *w, bool v4, bool v6)
{
	w->config.families = (struct config_families){ { v4, v6 } };
}

/* The pod's addresses, IPv4 first. */
static void add_both(struct world *w, const char *container, char *v4, char *v6)
{
	_cleanup_reply_ struct proto_reply reply;

	call(w, PROTO_ADD, container, &reply);
	if (!reply.ok)
		fail_msg("add %s: %s (%s)", container, reply.error.msg, fail_reason_name(reply.reason));
	v4[0] = v6[0] = '\0';
	for (unsigned i = 0; i < reply.address_count; i++)
		(void)prefix_str(&reply.addresses[i].address,
				 reply.addresses[i].address.addr.family == IP_V6 ? v6 : v4);
}

static void assert_gets(struct world *w, const char *container, const char *v4, const char *v6)
{
	char is4[PREFIX_STRLEN], is6[PREFIX_STRLEN];

	add_both(w, container, is4, is6);
	assert_string_equal(is4, v4);
	assert_string_equal(is6, v6);
}

static long long state_number(struct world *w, const char *object, const char *key)
{
	json_auto_t *state = state_of(w);

	return (long long)json_integer_value(json_object_get(json_object_get(state, object), key));
}

/* ---- what the provider is told ---- */

static void test_open__the_cloud_is_told_all(void **state)
{
	struct world *w = *state;
	struct config *c = &w->config;

	make_stub(w, 4, 4, 80, NULL);
	set_families(w, true, true);
	c->prefixes = true;
	c->subnet_discovery = false;
	c->egress[1] = true;
	c->access = CLOUD_ACCESS_READ;
	(void)str_copy(c->cluster, sizeof(c->cluster), "blue");
	c->pod_subnets.count = 2;
	(void)str_copy(c->pod_subnets.list[0], CLOUD_ID_SIZE, "subnet-1");
	(void)str_copy(c->pod_subnets.list[1], CLOUD_ID_SIZE, "subnet-2");
	c->pod_groups.count = 1;
	(void)str_copy(c->pod_groups.list[0], CLOUD_ID_SIZE, "sg-1");
	c->nic_tags.count = 2;
	c->nic_tags.list[0] = (struct config_tag){ "team", "blue" };
	c->nic_tags.list[1] = (struct config_tag){ "cost", "" };
	start(w);
	assert_true(stub.told.serves[0] && stub.told.serves[1]);
	assert_true(stub.told.prefixes && stub.told.no_discovery && stub.told.tells_own6);
	assert_int_equal(stub.told.access, CLOUD_ACCESS_READ);
	assert_string_equal(stub.cluster, "blue");
	assert_string_equal(stub.subnets, "subnet-1,subnet-2");
	assert_string_equal(stub.groups, "sg-1");
	assert_string_equal(stub.tags, "team=blue,cost=");
}

static void test_open__the_cloud_is_told_the_defaults(void **state)
{
	struct world *w = *state;

	make_stub(w, 4, 0, 0, NULL);
	start(w);
	assert_true(stub.told.serves[0]);
	assert_false(stub.told.serves[1] || stub.told.prefixes || stub.told.no_discovery || stub.told.tells_own6);
	assert_int_equal(stub.told.access, CLOUD_ACCESS_FULL);
	assert_int_equal(stub.told.subnet_count + stub.told.group_count + stub.told.tag_count, 0);
}

/* ---- families ---- */

static void test_families__ipv6_alone(void **state)
{
	struct world *w = *state;
	char v4[PREFIX_STRLEN], v6[PREFIX_STRLEN];
	json_t *names;

	make_stub(w, 4, 4, 80, BLOCKS("2600:1f14:0:0:5::/80"));
	set_families(w, false, true);
	start(w);
	until(has_conflist(w));
	assert_gets(w, "a", "", "2600:1f14::5:0:0:1/128");
	add_both(w, "b", v4, v6);
	assert_string_equal(v6, "2600:1f14::5:0:0:2/128");
	assert_int_equal(count_of(w, "leased"), 2);
	assert_int_equal(stub_count(&stub.mutations), 0);
	{
		json_auto_t *seen = state_of(w);

		names = json_object_get(seen, "families");
		assert_int_equal(json_array_size(names), 1);
		assert_string_equal(json_string_value(json_array_get(names, 0)), "ipv6");
		assert_null(json_object_get(seen, "addresses6"));
	}
	assert_int_equal(state_number(w, "limits", "unit_len"), 80);
	stop(w);
	start(w);
	assert_gets(w, "a", "", "2600:1f14::5:0:0:1/128");
}

/* The range is bought when there is none, and one does for all. */
static void test_families__ipv6_alone_from_nothing(void **state)
{
	struct world *w = *state;
	char v4[PREFIX_STRLEN], v6[PREFIX_STRLEN];

	make_stub(w, 4, 4, 80, NULL);
	set_families(w, false, true);
	start(w);
	add_both(w, "a", v4, v6);
	assert_string_equal(v4, "");
	assert_true(*v6);
	add_both(w, "b", v4, v6);
	assert_int_equal(stub_count(&stub.mutations), 1);
	assert_int_equal(stub.block_count, 1);
	assert_int_equal(stub.blocks[0].len, 80);
}

static void test_families__both(void **state)
{
	struct world *w = *state;

	make_stub(w, 4, 4, 80, BLOCKS("10.0.1.21/32", "10.0.1.22/32", "2600:1f14:0:0:5::/80"));
	set_families(w, true, true);
	start(w);
	assert_gets(w, "a", "10.0.1.21/32", "2600:1f14::5:0:0:1/128");
	assert_gets(w, "b", "10.0.1.22/32", "2600:1f14::5:0:0:2/128");
	assert_int_equal(state_number(w, "addresses", "leased"), 2);
	assert_int_equal(state_number(w, "addresses6", "leased"), 2);
	until(state_number(w, "plan6", "wanted") == 2);
	must_call(w, PROTO_CONFIRM, "a");
	stop(w);
	start(w);
	assert_gets(w, "a", "10.0.1.21/32", "2600:1f14::5:0:0:1/128");
	del(w, "a");
	until(state_number(w, "addresses", "leased") == 1);
	assert_int_equal(state_number(w, "addresses6", "leased"), 1);
	/* Flows of both are forgotten, and both are free again. */
	until(state_number(w, "addresses", "cooling") == 0 && state_number(w, "addresses6", "cooling") == 0);
	until(state_number(w, "addresses", "free") == 1);
}

/* A family that is not served is there while pods have addresses of it. */
static void test_families__in_the_metrics(void **state)
{
	struct world *w = *state;
	char v4[PREFIX_STRLEN], v6[PREFIX_STRLEN], *page;

	make_stub(w, 4, 4, 80, BLOCKS("10.0.1.21/32", "10.0.1.22/32", "2600:1f14:0:0:5::/80"));
	(void)str_copy(w->config.metrics_address, sizeof(w->config.metrics_address), "127.0.0.1:9479");
	start(w);
	add_both(w, "a", v4, v6);
	until(state_number(w, "plan", "wanted") == 1);
	page = metrics_page();
	assert_sample(page, "berth_addresses{family=\"ipv4\",state=\"leased\"}", 1);
	assert_sample(page, "berth_addresses_wanted{family=\"ipv4\"}", 1);
	assert_null(strstr(page, "ipv6"));
	free(page);
	stop(w);
	set_families(w, false, true);
	start(w);
	add_both(w, "b", v4, v6);
	until(state_number(w, "plan", "wanted") == 1);
	page = metrics_page();
	assert_sample(page, "berth_addresses{family=\"ipv4\",state=\"leased\"}", 1);
	assert_sample(page, "berth_addresses{family=\"ipv4\",state=\"free\"}", 0);
	assert_sample(page, "berth_addresses{family=\"ipv6\",state=\"leased\"}", 1);
	assert_sample(page, "berth_addresses_wanted{family=\"ipv6\"}", 1);
	assert_null(strstr(page, "berth_addresses_wanted{family=\"ipv4\"}"));
	free(page);
}

/* Whoever has addresses keeps them, whatever is configured now; nobody new gets what is not served. */
static void test_families__changed_on_a_node_with_pods(void **state)
{
	static const struct {
		bool v4, v6;
		const char *pod, *pod_v4, *pod_v6;
	} turns[] = { { true, false, "a", "10.0.1.21/32", "" },
		      { false, true, "b", "", "2600:1f14::5:0:0:1/128" },
		      { true, true, "c", "10.0.1.22/32", "2600:1f14::5:0:0:2/128" },
		      { true, false, "d", "10.0.1.23/32", "" },
		      { false, true, "e", "", "2600:1f14::5:0:0:3/128" } };
	struct world *w = *state;

	make_stub(w, 8, 4, 80, BLOCKS("10.0.1.21/32", "10.0.1.22/32", "10.0.1.23/32", "2600:1f14:0:0:5::/80"));
	for (unsigned i = 0; i < ARRAY_SIZE(turns); i++) {
		set_families(w, turns[i].v4, turns[i].v6);
		start(w);
		assert_gets(w, turns[i].pod, turns[i].pod_v4, turns[i].pod_v6);
		must_call(w, PROTO_CONFIRM, turns[i].pod);
		for (unsigned j = 0; j < i; j++) {
			must_call(w, PROTO_CHECK, turns[j].pod);
			assert_gets(w, turns[j].pod, turns[j].pod_v4, turns[j].pod_v6);
		}
		stop(w);
	}
	/* One that is given back while its family is not served is gone from the store too. */
	start(w);
	del(w, "a");
	del(w, "c");
	stop(w);
	set_families(w, true, false);
	start(w);
	until(count_of(w, "leased") == 1);
	assert_not_found(w, PROTO_CHECK, "a");
	assert_not_found(w, PROTO_CHECK, "c");
	must_call(w, PROTO_CHECK, "d");
	must_call(w, PROTO_CHECK, "e");
	assert_int_equal(stub_count(&stub.mutations), 0);
}

/* Nothing to be had of a family: said as what it is, and nobody gets half of what is wanted. */
static void test_families__one_that_the_node_cannot_have(void **state)
{
	struct world *w = *state;
	int fd;

	make_stub(w, 4, 0, 0, BLOCKS("10.0.1.21/32"));
	set_families(w, true, true);
	start(w);
	fd = ask(w, "a");
	until(count_of(w, "free") == 1);
	until(is_blocked(w, "nic_limit")); /* for want of IPv6: there is an IPv4 address */
	(void)close(fd);
	add_fails(w, "b", SOON_MS, "nic_limit");
	assert_int_equal(count_of(w, "leased"), 0);
	assert_false(has_conflist(w));
}

/* ---- access ---- */

static void set_access(struct world *w, enum cloud_access access)
{
	w->config.access = access;
	w->config.warm_ips = 2;
}

static void refuse_pause(struct world *w, enum pause pause, const char *access)
{
	struct proto_request request = { .op = PROTO_PAUSE, .pause = pause };
	_cleanup_reply_ struct proto_reply reply;

	send_request(w, &request, &reply);
	assert_false(reply.ok);
	assert_int_equal(reply.error.class, ERR_INVALID);
	if (!strstr(reply.error.msg, "setting access") || !strstr(reply.error.msg, access))
		fail_msg("%s", reply.error.msg);
}

static void test_access__without_changes(void **state)
{
	static const enum cloud_access modes[] = { CLOUD_ACCESS_READ, CLOUD_ACCESS_METADATA };
	struct world *w = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
		const char *name = config_access_name(modes[i]);
		struct proto_request request = request_of(PROTO_ADD, "b"),
				     pause = { .op = PROTO_PAUSE, .pause = PAUSE_ALL };
		_cleanup_reply_ struct proto_reply reply = { 0 }, paused = { 0 };
		char v4[PREFIX_STRLEN], v6[PREFIX_STRLEN], want[32];

		make_stub(w, 4, 0, 0, BLOCKS("10.0.1.21/32"));
		set_access(w, modes[i]);
		start(w);
		add_both(w, "a", v4, v6);
		assert_string_equal(v4, "10.0.1.21/32");
		/* The node has no more, and may not have more: who waits is told why. */
		request.timeout_ms = SOON_MS;
		send_request(w, &request, &reply);
		assert_false(reply.ok);
		assert_int_equal(reply.reason, FAIL_PAUSED);
		(void)snprintf(want, sizeof(want), "access=%s", name);
		assert_non_null(strstr(reply.error.msg, want));
		refuse_pause(w, PAUSE_NONE, name);
		refuse_pause(w, PAUSE_RELEASES, name);
		send_request(w, &pause, &paused);
		assert_true(paused.ok); /* it is */
		assert_true(is_blocked(w, "paused"));
		del(w, "a");
		stop(w);
		assert_int_equal(stub_count(&stub.mutations), 0);
	}
}

static void test_access__is_shown(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *text = NULL;
	size_t size;
	struct ctl ctl = { .socket_path = w->socket, .out = open_memstream(&text, &size) };

	make_stub(w, 4, 0, 0, NULL);
	set_access(w, CLOUD_ACCESS_READ);
	start(w);
	until(stub_count(&stub.lists) > 0);
	must(ctl_status(&ctl, &err));
	assert_int_equal(fclose(ctl.out), 0);
	if (!strstr(text, "access: read") || strstr(text, "berthctl pause none ends it)"))
		fail_msg("%s", text);
}

/* A list is a look at metadata there: a second look would say nothing else. */
static void test_access__metadata_is_listed(void **state)
{
	struct world *w = *state;

	make_stub(w, 4, 0, 0, BLOCKS("10.0.1.21/32"));
	set_access(w, CLOUD_ACCESS_METADATA);
	w->config.list_period_us = OFTEN_US;
	start(w);
	until(stub_count(&stub.lists) >= 4);
	assert_int_equal(stub_count(&stub.glances), 0);
	stop(w);
	set_access(w, CLOUD_ACCESS_READ);
	start(w);
	until(stub_count(&stub.glances) >= 1);
}

/* ---- limits ---- */

/* A daemon whose cloud does not say what the node may have goes on with what the last one was told; of other settings
 * nothing was. */
static void test_limits__remembered(void **state)
{
	struct world *w = *state;
	char text[PREFIX_STRLEN];

	make_stub(w, 4, 0, 0, BLOCKS("10.0.1.21/32"));
	start(w);
	(void)add(w, "a", text);
	stop(w);
	stub.limits_fail = true;
	start(w);
	assert_non_null(add(w, "b", text)); /* which has to be bought */
	stop(w);
	w->config.prefixes = true;
	start(w);
	add_fails(w, "c", SOON_MS, "pending");
}

/* ---- ranges of the network ---- */

/* Where pods go by their own address; owned. */
static char *local_set(void)
{
	char *const argv[] = { (char[]){ "nft" },
			       (char[]){ "list" },
			       (char[]){ "set" },
			       (char[]){ "inet" },
			       (char[]){ "berth" },
			       (char[]){ "local" },
			       NULL };
	char *const env[] = { (char[]){ "PATH=/usr/sbin:/usr/bin:/sbin:/bin" }, NULL };
	posix_spawn_file_actions_t actions;
	int pipe_fds[2], status = -1;
	char *out = NULL;
	pid_t pid;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDOUT_FILENO), 0);
	assert_int_equal(posix_spawnp(&pid, "nft", &actions, NULL, argv, env), 0);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(pipe_fds[1]);
	assert_int_equal(fs_read_fd(pipe_fds[0], 1U << 16, &out, NULL), 0);
	(void)close(pipe_fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return out;
}

static bool is_local(const char *range)
{
	_cleanup_free_ char *text = local_set();

	return strstr(text, range) != NULL;
}

/* A range that the VPC gets is not masqueraded towards from the next look on; one that it loses is. */
static void test_ranges__follow_the_network__aws_40_22(void **state)
{
	struct world *w = *state;

	make_stub(w, 4, 0, 0, BLOCKS("10.0.1.21/32"));
	w->config.list_period_us = OFTEN_US;
	start(w);
	until(stub_count(&stub.lists) >= 2);
	until(is_local("10.0.0.0/16"));
	assert_false(is_local("100.64.0.0/16"));
	(void)pthread_mutex_lock(&stub.lock);
	stub.vpc[0] = stub_prefix("10.0.0.0/16");
	stub.vpc[1] = stub_prefix("100.64.0.0/16");
	stub.vpc_count = 2;
	(void)pthread_mutex_unlock(&stub.lock);
	until(is_local("100.64.0.0/16"));
	assert_true(is_local("10.0.0.0/16"));
	(void)pthread_mutex_lock(&stub.lock);
	stub.vpc_count = 1;
	(void)pthread_mutex_unlock(&stub.lock);
	until(!is_local("100.64.0.0/16"));
}

/* ---- NICs that are closed to pods ---- */

static void test_closed__pods_get_nothing_more(void **state)
{
	struct world *w = *state;
	char text[PREFIX_STRLEN];

	make_stub(w, 4, 0, 0, BLOCKS("10.0.1.21/32", "10.0.1.22/32", "10.0.1.23/32"));
	w->config.list_period_us = OFTEN_US;
	start(w);
	(void)add(w, "a", text);
	stub_close(true);
	until(count_of(w, "free") == 0);
	add_fails(w, "b", SOON_MS, "nic_limit");
	must_call(w, PROTO_CHECK, "a");
	assert_int_equal(count_of(w, "leased"), 1);
	stub_close(false);
	assert_non_null(add(w, "b", text));
}

static void test_closed__what_is_free_goes_back(void **state)
{
	struct world *w = *state;
	char text[PREFIX_STRLEN];

	make_stub(w, 4, 0, 0, BLOCKS("10.0.1.21/32", "10.0.1.22/32", "10.0.1.23/32"));
	w->config.list_period_us = OFTEN_US;
	w->config.release_delay_us = 0;
	w->config.warm_ips = 3;
	start(w);
	(void)add(w, "a", text);
	until(count_of(w, "free") >= 1);
	stub_close(true);
	until(stub_count(&stub.block_count) == 1);
	must_call(w, PROTO_CHECK, "a");
	del(w, "a");
	until(stub_count(&stub.block_count) == 0);
}

/* Not even what the primary NIC has at the start, before anything was planned. */
static void test_pod_subnets__nothing_of_the_primary(void **state)
{
	struct world *w = *state;
	int fd;

	make_stub(w, 4, 0, 0, BLOCKS("10.0.1.21/32", "10.0.1.22/32"));
	stub.limits.nics_max = 2;
	stub.limits.can_attach_nic = true;
	w->config.max_nics = 2;
	w->config.pod_subnets.count = 1;
	(void)str_copy(w->config.pod_subnets.list[0], CLOUD_ID_SIZE, "subnet-1");
	start(w);
	fd = ask(w, "a");
	until(stub_count(&stub.mutations) >= 1);
	assert_int_equal(stub.attach.wants[ip_index(IP_V4)].count, 1);
	assert_false(is_answered(fd));
	assert_int_equal(count_of(w, "leased"), 0);
	assert_int_equal(count_of(w, "free"), 0);
	(void)close(fd);
}

/* ---- the IPv6 side of a NIC ---- */

static void test_list__brings_the_ipv6_side_to_the_host(void **state)
{
	struct world *w = *state;

	make_stub(w, 4, 4, 80, BLOCKS("2600:1f14:0:0:5::/80"));
	set_families(w, false, true);
	start(w);
	until(has_conflist(w));
	{
		json_auto_t *seen = state_of(w);
		const json_t *nic = json_array_get(json_object_get(seen, "nics"), 0);

		assert_string_equal(json_string_value(json_object_get(nic, "primary_addr6")), "2600:1f14::10");
		assert_true(json_is_false(json_object_get(nic, "closed")));
	}
}

struct rule_wanted {
	unsigned priority;
	bool found;
};

static int find_rule(const struct net_rule *rule, void *arg)
{
	struct rule_wanted *wanted = arg;

	wanted->found = wanted->found || (rule->priority == wanted->priority && rule->protocol == BERTH_RTPROT);
	return 0;
}

static bool has_rule6(const struct world *w, unsigned slot)
{
	_cleanup_net_ struct net *net = NULL;
	struct rule_wanted wanted = { w->config.rule_priority + slot, false };

	must(net_open(&net, &err));
	must(net_rules(net, IP_V6, find_rule, &wanted, &err));
	return wanted.found;
}

struct route_wanted {
	uint32_t table;
	int oif;
	bool found;
};

static int find_default(const struct net_route *route, void *arg)
{
	struct route_wanted *wanted = arg;

	wanted->found = wanted->found || (route->dst.len == 0 && route->oif == wanted->oif);
	return 0;
}

static bool has_default6(const struct world *w, unsigned slot, int oif)
{
	_cleanup_net_ struct net *net = NULL;
	struct route_wanted wanted = { w->config.table_base + slot, oif, false };

	must(net_open(&net, &err));
	must(net_routes(net, IP_V6, wanted.table, find_default, &wanted, &err));
	return wanted.found;
}

struct addr_wanted {
	struct ipaddr addr;
	int index;
	bool found;
};

static int find_addr(const struct net_addr *addr, void *arg)
{
	struct addr_wanted *wanted = arg;

	wanted->found = wanted->found || (addr->index == wanted->index && ipaddr_equal(&addr->addr, &wanted->addr));
	return 0;
}

static bool has_addr(int index, const char *text)
{
	_cleanup_net_ struct net *net = NULL;
	struct addr_wanted wanted = { .index = index };

	assert_int_equal(ipaddr_parse(text, &wanted.addr), 0);
	must(net_open(&net, &err));
	must(net_addrs(net, find_addr, &wanted, &err));
	return wanted.found;
}

/* Rule and table of a secondary NIC exist in IPv6 where the list says that it has that. */
static void test_list__brings_a_second_nics_ipv6_to_the_kernel(void **state)
{
	struct world *w = *state;
	_cleanup_net_ struct net *net = NULL;
	struct net_veth veth = { .name = "eth1", .peer_netns_fd = -1, .peer_name = "fabric1", .up = true };
	struct macaddr mac;
	struct net_link link;

	assert_int_equal(macaddr_parse(STUB_SECOND_MAC, &mac), 0);
	veth.mac = &mac;
	must(net_open(&net, &err));
	must(net_veth_add(net, &veth, &err));
	must(net_link_by_name(net, "fabric1", &link, &err));
	must(net_link_set_up(net, link.index, true, &err));
	must(net_link_by_name(net, "eth1", &link, &err));
	make_stub(w, 4, 4, 80, BLOCKS("2600:1f14:0:0:5::/80"));
	stub.has_second = true;
	set_families(w, false, true);
	start(w);
	until(has_rule6(w, 1));
	until(has_default6(w, 1, link.index));
	until(has_addr(link.index, "2600:1f14:0:2::10"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(test_open__the_cloud_is_told_all),
		world_test(test_open__the_cloud_is_told_the_defaults),
		world_test(test_families__ipv6_alone),
		world_test(test_families__ipv6_alone_from_nothing),
		world_test(test_families__both),
		world_test(test_families__in_the_metrics),
		world_test(test_families__changed_on_a_node_with_pods),
		world_test(test_families__one_that_the_node_cannot_have),
		world_test(test_access__without_changes),
		world_test(test_access__is_shown),
		world_test(test_access__metadata_is_listed),
		world_test(test_limits__remembered),
		world_test(test_ranges__follow_the_network__aws_40_22),
		world_test(test_closed__pods_get_nothing_more),
		world_test(test_closed__what_is_free_goes_back),
		world_test(test_pod_subnets__nothing_of_the_primary),
		world_test(test_list__brings_the_ipv6_side_to_the_host),
		world_test(test_list__brings_a_second_nics_ipv6_to_the_kernel),
	};

	return cmocka_run_group_tests_name("modes", tests, world_group_setup, NULL);
}
