/* SPDX-License-Identifier: Apache-2.0 */
/* Leases after a start: those of the store, and pods that only the kernel knows. */
#include "tests/unit/view_world.h"

#include "berth/version.h"

static void remember(struct world *w, const struct lease *lease)
{
	struct lease *grown = realloc(w->d.early, (w->d.early_count + 1) * sizeof(*grown));

	assert_non_null(grown);
	w->d.early = grown;
	grown[w->d.early_count++] = *lease;
	must(store_lease_put(w->d.store, lease, &err));
}

static void restore(struct world *w)
{
	struct restore_found *found;

	must(restore_look(&w->d, &found, &err));
	view_restore(&w->d, found, w->now_us);
	view_rest(&w->d);
	free(found);
}

static void test_restore__leases_and_cooldowns(void **state)
{
	struct lease lease = lease_of(1);
	const struct ipaddr cooling[IP_FAMILIES] = { ip("10.0.1.22") };
	struct world *w = *state;

	lease.addrs[0] = ip("10.0.1.21");
	remember(w, &lease);
	must(store_lease_release(w->d.store, &(struct lease_key){ .container = "gone" }, cooling,
				 LIST_US + 5 * COOLDOWN_US, &err));
	list_of(w, BLOCKS("10.0.1.21/32", "10.0.1.22/32"), NULL);
	restore(w);
	assert_int_equal(w->d.early_count, 0);
	assert_non_null(pool_lease_find(w->d.pool, &lease.key));
	assert_int_equal(count(w->d.pool).leased, 1);
	assert_int_equal(count(w->d.pool).cooling, 1);
	assert_true(pool_tick(w->d.pool, w->now_us) == LIST_US + 5 * COOLDOWN_US);
}

static void restore_lost_lease(struct world *w, struct lease *lease)
{
	*lease = lease_of(1);
	lease->addrs[0] = ip("10.0.1.31");
	remember(w, lease);
	list_of(w, BLOCKS("10.0.1.21/32"), NULL);
	restore(w);
	assert_string_equal(state_of(w, "10.0.1.31/32"), "lost");
	assert_non_null(pool_lease_find(w->d.pool, &lease->key));
	assert_int_equal(count(w->d.pool).lost, 1);
	assert_sound(w->d.pool);
}

static void test_restore__lease_on_a_block_that_nobody_shows(void **state)
{
	struct world *w = *state;
	struct lease lease;

	restore_lost_lease(w, &lease);
	list_of(w, BLOCKS("10.0.1.21/32", "10.0.1.31/32"), NULL);
	assert_string_equal(state_of(w, "10.0.1.31/32"), "pending");
	assert_non_null(pool_lease_find(w->d.pool, &lease.key));
}

/* The first list was older than that NIC: the pod leaves by the NIC that the next one shows. */
static void test_restore__lost_block_turns_up_on_another_nic(void **state)
{
	struct pool_block_view block;
	struct world *w = *state;
	struct lease lease;

	restore_lost_lease(w, &lease);
	list_of(w, BLOCKS("10.0.1.21/32"), BLOCKS("10.0.1.31/32"));
	assert_string_equal(state_of(w, "10.0.1.31/32"), "pending");
	assert_true(pool_block_of(w->d.pool, &lease.addrs[0], &block));
	assert_int_equal(block.nic_slot, SECOND);
	assert_non_null(pool_lease_find(w->d.pool, &lease.key));
	assert_int_equal(count(w->d.pool).lost, 0);
	assert_int_equal(count(w->d.pool).leased, 1);
}

static void test_restore__lost_block_turns_up_inside_a_larger_one(void **state)
{
	struct world *w = *state;
	struct lease lease;

	restore_lost_lease(w, &lease);
	list_of(w, BLOCKS("10.0.1.21/32"), BLOCKS("10.0.1.16/28"));
	assert_string_equal(state_of(w, "10.0.1.16/28"), "gone"); /* .21 is ours on the primary, and live */
	list_of(w, NO_BLOCKS, BLOCKS("10.0.1.16/28"));
	list_of(w, NO_BLOCKS, BLOCKS("10.0.1.16/28"));
	list_of(w, NO_BLOCKS, BLOCKS("10.0.1.16/28"));
	assert_string_equal(state_of(w, "10.0.1.16/28"), "pending");
	assert_non_null(pool_lease_find(w->d.pool, &lease.key));
	assert_int_equal(count(w->d.pool).lost, 0);
}

static void add_route(struct world *w, const char *link_name, const char *address, uint8_t protocol)
{
	struct net_route route = {
		.dst = pfx(address), .type = NET_ROUTE_UNICAST, .table = NET_TABLE_LOCAL, .protocol = protocol
	};
	struct net_link link;

	must(net_link_by_name(w->d.net, link_name, &link, &err));
	route.oif = link.index;
	must(net_route_replace(w->d.net, &route, &err));
}

static void make_route(struct world *w, const char *link_name, const char *address, uint8_t protocol)
{
	struct net_veth veth = { .name = link_name, .peer_netns_fd = -1, .up = true };
	struct net_link link;
	char peer[NET_IFNAME_SIZE];

	(void)snprintf(peer, sizeof(peer), "p-%s", link_name);
	veth.peer_name = peer;
	must(net_veth_add(w->d.net, &veth, &err));
	must(net_link_by_name(w->d.net, link_name, &link, &err));
	must(net_link_set_up(w->d.net, link.index, true, &err));
	add_route(w, link_name, address, protocol);
}

static void test_restore__pods_that_only_the_kernel_knows(void **state)
{
	struct lease known = lease_of(1);
	char ifname[LEASE_IFNAME_SIZE];
	const struct lease *lease;
	struct world *w = *state;
	struct lease_key key;
	struct contents seen;

	known.addrs[0] = ip("10.0.1.21");
	remember(w, &known);
	make_route(w, "bth00000001", "10.0.1.21/32", BERTH_RTPROT);
	make_route(w, "bth00000002", "10.0.1.22/32", BERTH_RTPROT);
	make_route(w, "other", "10.0.1.23/32", BERTH_RTPROT); /* no pod's link */
	make_route(w, "bth00000004", "10.0.1.24/32", 4);      /* not our route */
	list_of(w, BLOCKS("10.0.1.21/32", "10.0.1.22/32", "10.0.1.23/32", "10.0.1.24/32"), NULL);
	restore(w);
	assert_int_equal(count(w->d.pool).leased, 2);
	assert_int_equal(w->d.stats.adopted, 1);
	adopted_key(&w->d, "bth00000002", &key);
	lease = pool_lease_find(w->d.pool, &key);
	assert_non_null(lease);
	assert_int_equal(lease->state, LEASE_BOUND);
	lease_host_ifname(lease, ifname);
	assert_string_equal(ifname, "bth00000002");
	must(look(w->d.store, &seen, &err));
	assert_int_equal(seen.lease_count, 2);
}

/* The routes of a pod with an address of each family are one lease, in whatever order they come. */
static void test_restore__pods_of_both_families(void **state)
{
	struct world *w = *state;
	const struct lease *lease;
	struct lease_key key;

	pool_free(w->d.pool);
	w->d.pool = pool_new(COOLDOWN_US, POOL_SERVES_V4 | POOL_SERVES_V6);
	assert_non_null(w->d.pool);
	make_route(w, "bth00000001", "10.0.1.21/32", BERTH_RTPROT);
	make_route(w, "bth00000002", "10.0.1.22/32", BERTH_RTPROT);
	add_route(w, "bth00000001", "2600::5:0:0:7/128", BERTH_RTPROT);
	make_route(w, "bth00000003", "2600::5:0:0:8/128", BERTH_RTPROT);
	list_of(w, BLOCKS("10.0.1.21/32", "10.0.1.22/32", "2600:0:0:0:5::/80"), NULL);
	restore(w);
	assert_int_equal(w->d.stats.adopted, 3);
	assert_int_equal(count(w->d.pool).leased, 2);
	assert_int_equal(count_of(w->d.pool, IP_V6).leased, 2);
	adopted_key(&w->d, "bth00000001", &key);
	lease = pool_lease_find(w->d.pool, &key);
	assert_non_null(lease);
	assert_true(ipaddr_equal(&lease->addrs[0], &(struct ipaddr[]){ ip("10.0.1.21") }[0]));
	assert_true(ipaddr_equal(&lease->addrs[1], &(struct ipaddr[]){ ip("2600::5:0:0:7") }[0]));
	adopted_key(&w->d, "bth00000003", &key);
	lease = pool_lease_find(w->d.pool, &key);
	assert_non_null(lease);
	assert_int_equal(lease->addrs[0].family, IP_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		view_test(test_restore__leases_and_cooldowns),
		view_test(test_restore__lease_on_a_block_that_nobody_shows),
		view_test(test_restore__lost_block_turns_up_on_another_nic),
		view_test(test_restore__lost_block_turns_up_inside_a_larger_one),
		view_test(test_restore__pods_that_only_the_kernel_knows),
		view_test(test_restore__pods_of_both_families),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
