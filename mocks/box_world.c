/* SPDX-License-Identifier: Apache-2.0 */
#include "box_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/net.h"
#include "berth/str.h"
#include "box_pods.h"

#define DOMAIN     "vpcbox"
#define ROUTES_MAX 16384U /* of one fabric: 16 nodes with 1024 single addresses each */
#define RESERVED   4U     /* the first addresses of a subnet are the cloud's own */
#define OWN_MAX    4096U  /* addresses on links of all nodes */
#define SUBNET6    64U    /* length of every IPv6 subnet; a node's address says nothing of it */

/* ---- the fabric's routes ---- */

static int take_route(const struct net_route *route, void *arg, struct err *err)
{
	struct box_world *world = arg;

	if (route->type != NET_ROUTE_UNICAST || route->oif == 0 || route->dst.len < 8)
		return 0;
	if (world->route_count == ROUTES_MAX)
		return err_set(err, ERR_EXHAUSTED, DOMAIN, "more than %u routes in the fabric", ROUTES_MAX);
	world->routes[world->route_count++] = (struct box_route){ .prefix = route->dst,
								  .nic = route->oif,
								  .is_primary = route->gateway.family == IP_NONE };
	return 0;
}

struct route_walk {
	struct box_world *world;
	struct err *err;
};

static int take_route_cb(const struct net_route *route, void *arg)
{
	struct route_walk *walk = arg;

	return take_route(route, walk->world, walk->err);
}

static int read_routes(struct box_world *world, struct err *err)
{
	_cleanup_net_ struct net *net = NULL;
	struct route_walk walk = { .world = world, .err = err };

	world->routes = calloc(ROUTES_MAX, sizeof(world->routes[0]));
	if (!world->routes)
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, ENOMEM, "routes of the fabric");
	if (net_open_ns(world->vpc_fd, &net, err) < 0)
		return -1;
	return net_routes(net, world->family, NET_TABLE_MAIN, take_route_cb, &walk, err) != 0 ? -1 : 0;
}

static int nic_of(const struct box_world *world, const struct ipaddr *addr)
{
	const struct box_route *best = NULL;

	for (unsigned i = 0; i < world->route_count; i++)
		if (prefix_contains(&world->routes[i].prefix, addr) &&
		    (!best || world->routes[i].prefix.len > best->prefix.len))
			best = &world->routes[i];
	return best ? best->nic : 0;
}

/* ---- nodes and pods ---- */

struct addr_search {
	struct box_world *world;
	int index;
	struct net_addr found;
};

static bool is_link_local6(const struct ipaddr *addr)
{
	return addr->family == IP_V6 && addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0x80;
}

/* Keeps all, and the first one of the link that is looked for. Return: not 0 when there are too many. */
static int take_addr(const struct net_addr *addr, void *arg)
{
	struct addr_search *search = arg;
	struct box_world *world = search->world;

	if (addr->addr.family != world->family || is_link_local6(&addr->addr))
		return 0;
	if (addr->index == search->index && search->found.addr.family == IP_NONE)
		search->found = *addr;
	if (world->own_count == OWN_MAX)
		return -ENOSPC;
	world->own[world->own_count++] = addr->addr;
	return 0;
}

static int read_node(struct box_world *world, unsigned i, struct err *err)
{
	_cleanup_net_ struct net *net = NULL;
	struct box_place *node = &world->nodes[i];
	struct addr_search search = { .world = world };
	struct net_link link;

	(void)str_copy(node->name, sizeof(node->name), world->box->nodes[i]);
	node->node = i;
	node->netns_fd = -1;
	world->node_count++;
	if (fabric_netns_open(world->box->prefix, node->name, &node->netns_fd, err) < 0 ||
	    net_open_ns(node->netns_fd, &net, err) < 0 || net_link_by_name(net, "eth0", &link, err) < 0)
		return err_wrap(err, "node %s", node->name);
	search.index = link.index;
	int r = net_addrs(net, take_addr, &search, err);

	if (r == -ENOSPC)
		return err_set(err, ERR_EXHAUSTED, DOMAIN, "more than %u addresses on the nodes", OWN_MAX);
	if (r < 0)
		return err_wrap(err, "node %s", node->name);
	if (search.found.addr.family == IP_NONE)
		return err_set(err, ERR_NOTFOUND, DOMAIN, "node %s: eth0 has no IPv%u address", node->name,
			       (unsigned)world->family);
	node->addr = search.found.addr;
	node->nic = nic_of(world, &node->addr);
	world->subnets[i] =
		prefix_of(&node->addr, world->family == IP_V6 ? SUBNET6 : (unsigned)search.found.prefix_len);
	return 0;
}

static int read_pod(struct box_world *world, unsigned node, unsigned index, struct err *err)
{
	_cleanup_(runtime_pod_done) struct runtime_pod pod = { 0 };
	struct box_place *place = &world->pods[world->pod_count];
	const struct box *box = world->box;
	char path[BOX_PATH_SIZE], start[FABRIC_NETNS_SIZE];

	if (runtime_pod_load(box_pod_path(path, box, box->nodes[node], index), &pod, err) < 0)
		return -1;
	fabric_netns_name(box->prefix, "", start);
	const char *what = str_starts(pod.name, start) ? pod.name + strlen(start) : pod.name;
	const struct ipaddr *addr = &pod.address.addr;

	if (addr->family != world->family)
		addr = &pod.second.addr;
	if (addr->family != world->family)
		return 0;
	*place = (struct box_place){ .addr = *addr, .node = node, .nic = nic_of(world, addr) };
	(void)str_copy(place->name, sizeof(place->name), what);
	if (fabric_netns_open(box->prefix, what, &place->netns_fd, err) < 0)
		return err_wrap(err, "pod %s", what);
	world->pod_count++;
	return 0;
}

static int read_pods_of(struct box_world *world, unsigned node, struct err *err)
{
	unsigned indexes[BOX_PODS_MAX], count;

	if (box_pod_indexes(world->box, world->box->nodes[node], indexes, &count, err) < 0)
		return -1;
	if (count == 0)
		return 0;
	struct box_place *more = realloc(world->pods, (world->pod_count + count) * sizeof(world->pods[0]));

	if (!more)
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, ENOMEM, "pods of %s", world->box->nodes[node]);
	world->pods = more;
	for (unsigned i = 0; i < count; i++)
		if (read_pod(world, node, indexes[i], err) < 0)
			return -1;
	return 0;
}

/* One descriptor per namespace: more than the usual limit of 1024 for large boxes. */
static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

int box_world_read(const struct box *box, enum ip_family family, struct box_world *ret, struct err *err)
{
	_cleanup_(
		box_world_done) struct box_world world = { .box = box, .family = family, .vpc_fd = -1, .inet_fd = -1 };

	raise_fd_limit();
	world.own = calloc(OWN_MAX, sizeof(world.own[0]));
	if (!world.own)
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, ENOMEM, "addresses of the nodes");
	if (fabric_netns_open(box->prefix, "vpc", &world.vpc_fd, err) < 0 ||
	    fabric_netns_open(box->prefix, "inet", &world.inet_fd, err) < 0 || read_routes(&world, err) < 0)
		return -1;
	for (unsigned i = 0; i < box->node_count; i++)
		if (read_pods_of(&world, i, err) < 0)
			return -1;
	for (unsigned i = 0; world.pod_count > 0 && i < box->node_count; i++)
		if (read_node(&world, i, err) < 0)
			return -1;
	*ret = world;
	world = (struct box_world){ .vpc_fd = -1, .inet_fd = -1 };
	return 0;
}

void box_world_done(struct box_world *world)
{
	for (unsigned i = 0; i < world->node_count; i++)
		if (world->nodes[i].netns_fd >= 0)
			(void)close(world->nodes[i].netns_fd);
	for (unsigned i = 0; i < world->pod_count; i++)
		(void)close(world->pods[i].netns_fd);
	if (world->vpc_fd >= 0)
		(void)close(world->vpc_fd);
	if (world->inet_fd >= 0)
		(void)close(world->inet_fd);
	free(world->pods);
	free(world->routes);
	free(world->own);
	*world = (struct box_world){ .vpc_fd = -1, .inet_fd = -1 };
}

/* ---- addresses that must not answer ---- */

bool box_world_dark(const struct box_world *world, unsigned node, struct ipaddr *ret)
{
	const struct prefix *subnet = &world->subnets[node];
	uint64_t size = prefix_size(subnet);

	/* From the top: clouds hand out from below or at random. The last one is the broadcast address. */
	for (uint64_t offset = size - 2; offset > RESERVED && offset < size; offset--) {
		struct ipaddr addr = ipaddr_add(&subnet->addr, offset);

		if (nic_of(world, &addr) != 0)
			continue;
		*ret = addr;
		return true;
	}
	return false;
}

static bool is_nic_of_node(const struct box_world *world, const struct box_route *route, unsigned node)
{
	/* A NIC belongs to the node whose pods or whose primary address it carries; one without both is told by nobody.
	 */
	if (route->nic == world->nodes[node].nic)
		return true;
	for (unsigned i = 0; i < world->pod_count; i++)
		if (world->pods[i].node == node && world->pods[i].nic == route->nic)
			return true;
	return false;
}

/* A pod, or a node that keeps the address for itself. */
static bool is_used(const struct box_world *world, const struct ipaddr *addr)
{
	for (unsigned i = 0; i < world->own_count; i++)
		if (ipaddr_equal(&world->own[i], addr))
			return true;
	for (unsigned i = 0; i < world->pod_count; i++)
		if (ipaddr_equal(&world->pods[i].addr, addr))
			return true;
	return false;
}

bool box_world_free(const struct box_world *world, unsigned node, unsigned nth, struct ipaddr *ret)
{
	for (unsigned i = 0; i < world->route_count; i++) {
		const struct box_route *route = &world->routes[i];

		if (route->is_primary || !is_nic_of_node(world, route, node))
			continue;
		for (uint64_t offset = 0; offset < prefix_size(&route->prefix); offset++) {
			struct ipaddr addr = ipaddr_add(&route->prefix.addr, offset);

			if (is_used(world, &addr) || nth-- > 0)
				continue;
			*ret = addr;
			return true;
		}
	}
	return false;
}
