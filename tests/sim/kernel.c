/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the model kernel
 *
 * Devices of NICs as the cloud hot-plugs them, host ends of pods with their route, covers, and the nft table as text. A
 * sync replaces the covers, removes routes that nobody has a lease for and puts back those of bound pods, as hostnet.c
 * does. The daemon's own nft.c renders the table.
 */
#include "tests/sim/world_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "berth/check.h"
#include "berth/str.h"
#include "berth/version.h"

#define NIC_MTU     9001U
#define FIRST_INDEX 100 /* of the first pod's link */

/* ---- pods' links and routes ---- */

struct kpod *kernel_pod(struct world *w, const char *ifname)
{
	for (unsigned i = 0; i < w->kernel.pod_top; i++)
		if (w->kernel.pods[i].link && str_equal(w->kernel.pods[i].ifname, ifname))
			return &w->kernel.pods[i];
	return NULL;
}

static struct kpod *by_addr(struct world *w, const struct ipaddr *addr)
{
	for (unsigned i = 0; i < w->kernel.pod_top; i++)
		if (w->kernel.pods[i].route && ipaddr_equal(&w->kernel.pods[i].addr, addr))
			return &w->kernel.pods[i];
	return NULL;
}

static struct kpod *by_egress(struct world *w, const struct ipaddr *addr)
{
	for (unsigned i = 0; addr->family != IP_NONE && i < w->kernel.pod_top; i++)
		if (ipaddr_equal(&w->kernel.pods[i].egress, addr))
			return &w->kernel.pods[i];
	return NULL;
}

void kernel_wire(struct world *w, const struct pod *made)
{
	struct kpod *pod = kernel_pod(w, made->host_ifname), *old = by_addr(w, &made->addr),
		    *old_egress = by_egress(w, &made->egress);
	unsigned i = 0;

	while (!pod && w->kernel.pods[i].link)
		CHECK(++i < MODEL_PODS);
	if (!pod) {
		pod = &w->kernel.pods[i];
		w->kernel.pod_top = i >= w->kernel.pod_top ? i + 1 : w->kernel.pod_top;
	}
	if (old)
		old->route = false; /* replaced: the kernel has one of that destination */
	if (old_egress)
		old_egress->egress = (struct ipaddr){ 0 };
	*pod = (struct kpod){ .link = true,
			      .route = true,
			      .index = FIRST_INDEX + w->kernel.next_index++,
			      .addr = made->addr,
			      .egress = made->egress };
	(void)str_copy(pod->ifname, sizeof(pod->ifname), made->host_ifname);
}

void kernel_link_del(struct world *w, int index)
{
	for (unsigned i = 0; i < w->kernel.pod_top; i++)
		if (w->kernel.pods[i].link && w->kernel.pods[i].index == index)
			w->kernel.pods[i] = (struct kpod){ 0 };
}

/* ---- NICs and nft ---- */

void kernel_link_event(struct world *w, uint64_t arg)
{
	(void)arg;
	w->kernel.events++;
	world_look(w);
}

/* Others change what is listed. Nothing of it was shown. */
static int interrupt(struct world *w, struct err *err)
{
	if (!world_chance(w, w->scenario.faults.read))
		return 0;
	world_note(w, "a reading of the kernel fails");
	return err_set(err, ERR_RETRY, "model", "the list changed while it was read");
}

static const struct mnic *by_mac(const struct world *w, const struct macaddr *mac)
{
	for (unsigned i = 0; i < MODEL_NICS; i++) {
		const struct mnic *nic = &w->cloud.now.nics[i];

		if (nic->state > MNIC_AVAILABLE && macaddr_equal(&nic->mac, mac))
			return nic;
	}
	return NULL;
}

bool kernel_has_nic(const struct world *w, const struct macaddr *mac)
{
	const struct mnic *nic = by_mac(w, mac);

	return nic && nic->link_us <= w->now_us;
}

void kernel_nft_load(struct world *w, const char *batch)
{
	char *text = strdup(batch);

	CHECK(text);
	free(w->kernel.nft);
	w->kernel.nft = text;
}

bool kernel_covers(const struct world *w, const struct prefix *block)
{
	for (unsigned i = 0; i < w->kernel.cover_count; i++)
		if (prefix_cmp(&w->kernel.covers[i], block) == 0)
			return true;
	return false;
}

void kernel_done(struct world *w)
{
	free(w->kernel.covers);
	free(w->kernel.nft);
}

/* ---- hostnet.h ---- */

static void sync_nics(struct world *w, struct hostnet_want *want)
{
	for (unsigned i = 0; i < want->nic_count; i++) {
		struct hostnet_nic *to = &want->nics[i];

		to->looked = true;
		to->ready = kernel_has_nic(w, &to->mac);
		to->mtu = to->ready ? NIC_MTU : 0;
		to->ifname[0] = '\0';
		if (to->ready)
			(void)snprintf(to->ifname, sizeof(to->ifname), "eth%u", to->slot);
	}
}

static void sync_covers(struct world *w, const struct hostnet_want *want)
{
	free(w->kernel.covers);
	w->kernel.covers = calloc(want->block_count + 1, sizeof(*w->kernel.covers));
	CHECK(w->kernel.covers);
	w->kernel.cover_count = 0;
	w->kernel.egress_cover = false;
	for (unsigned i = 0; i < want->block_count; i++) {
		if (egress_has(&want->blocks[i].addr))
			w->kernel.egress_cover = true;
		else
			w->kernel.covers[w->kernel.cover_count++] = want->blocks[i];
	}
}

/* As those of the subnet: what nobody has a lease for goes, what a bound pod lacks is put back. */
static void sync_egress(struct world *w, const struct hostnet_want *want, struct hostnet_report *report)
{
	const struct prefix range = egress_range(IP_V6);
	bool leased[EGRESS_SIZE] = { false };

	for (unsigned i = 0; i < want->pod_count; i++) {
		const struct hostnet_pod *pod = &want->pods[i];
		struct kpod *have = pod->bound ? kernel_pod(w, pod->host_ifname) : NULL;

		if (!egress_has(&pod->addr))
			continue;
		leased[prefix_offset(&range, &pod->addr)] = true;
		if (!have || ipaddr_equal(&have->egress, &pod->addr))
			continue;
		have->egress = pod->addr;
		report->added++;
	}
	for (unsigned i = 0; i < w->kernel.pod_top; i++) {
		struct kpod *have = &w->kernel.pods[i];

		if (have->egress.family != IP_NONE && !leased[prefix_offset(&range, &have->egress)]) {
			have->egress = (struct ipaddr){ 0 };
			report->removed++;
		}
	}
}

static void sync_pods(struct world *w, const struct hostnet_want *want, struct hostnet_report *report)
{
	bool leased[MODEL_SUBNET] = { false };

	for (unsigned i = 0; i < want->pod_count; i++) {
		const struct hostnet_pod *pod = &want->pods[i];
		struct kpod *have = pod->bound ? kernel_pod(w, pod->host_ifname) : NULL;

		if (egress_has(&pod->addr))
			continue;
		leased[subnet_offset(&pod->addr)] = true;
		if (pod->bound && !have)
			report->pods_without_link++;
		if (!have || (have->route && ipaddr_equal(&have->addr, &pod->addr)))
			continue;
		have->addr = pod->addr;
		have->route = true;
		report->added++;
	}
	for (unsigned i = 0; i < w->kernel.pod_top; i++) {
		struct kpod *have = &w->kernel.pods[i];

		if (have->route && !leased[subnet_offset(&have->addr)]) {
			have->route = false;
			report->removed++;
		}
	}
}

/* The other things are made all the same. */
static int plant_in_the_way(struct world *w, struct hostnet_want *want, struct err *err)
{
	if (!world_chance(w, w->scenario.faults.sync))
		return 0;
	if (want->nic_count)
		want->nics[rng_below(&w->rng, want->nic_count)].ready = false;
	return err_set(err, ERR_CONFLICT, "model", "a planted object in the way");
}

static int change_under_look(struct world *w, struct err *err)
{
	return world_chance(w, w->scenario.faults.look)
		       ? err_set(err, ERR_RETRY, "model", "the host changes under the look")
		       : 0;
}

int hostnet_sync(struct hostnet *hostnet, struct hostnet_want *want, struct hostnet_report *ret, struct err *err)
{
	struct world *w = sim_world;
	int r;

	(void)hostnet;
	if (w->dying)
		return err_set(err, ERR_RETRY, "model", "the daemon is dead");
	if (change_under_look(w, err) < 0)
		return -1;
	sync_nics(w, want);
	r = plant_in_the_way(w, want, err);
	if (change_under_look(w, err) < 0)
		return -1;
	sync_covers(w, want);
	sync_pods(w, want, ret);
	sync_egress(w, want, ret);
	ret->whole = true;
	return r;
}

int hostnet_pod_down(struct hostnet *hostnet, const char *host_ifname, const struct ipaddr addrs[static IP_FAMILIES],
		     const struct prefix blocks[static IP_FAMILIES], struct err *err)
{
	(void)hostnet;
	(void)host_ifname;
	(void)blocks;
	if (sim_world->dying)
		return err_set(err, ERR_RETRY, "model", "the daemon is dead");
	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		struct kpod *pod = addrs[i].family == IP_V4 ? by_addr(sim_world, &addrs[i]) : NULL,
			    *old = by_egress(sim_world, &addrs[i]);

		if (pod)
			pod->route = false;
		if (old)
			old->egress = (struct ipaddr){ 0 };
	}
	return 0;
}

/* No pod of these runs is another plugin's, and none asks for a name. */
int hostnet_delegated_up(struct hostnet *hostnet, const struct ipaddr addrs[static IP_FAMILIES], struct err *err)
{
	(void)hostnet;
	(void)addrs;
	return err_set(err, ERR_BUG, "model", "no delegated pods here");
}

int hostnet_delegated_down(struct hostnet *hostnet, const struct ipaddr addrs[static IP_FAMILIES],
			   const struct prefix blocks[static IP_FAMILIES], struct err *err)
{
	(void)hostnet;
	(void)addrs;
	(void)blocks;
	return err_set(err, ERR_BUG, "model", "no delegated pods here");
}

int hostnet_services(struct hostnet *hostnet, struct hostnet_services *ret, struct err *err)
{
	(void)hostnet;
	(void)ret;
	(void)err;
	return 0; /* the model has no kube-proxy */
}

int hostnet_shape(struct hostnet *hostnet, const char *host_ifname, const struct bandwidth *bandwidth, struct err *err)
{
	(void)hostnet;
	(void)bandwidth;
	return err_set(err, ERR_BUG, "model", "nobody asked to limit %s", host_ifname);
}

int hostnet_shape_look(struct hostnet *hostnet, const char *host_ifname, const struct bandwidth *bandwidth,
		       struct hostnet_shape_view *ret, struct err *err)
{
	(void)hostnet;
	(void)bandwidth;
	(void)ret;
	return err_set(err, ERR_BUG, "model", "nobody asked to limit %s", host_ifname);
}

int hostnet_link_index(struct hostnet *hostnet, const char *ifname, const char *kind, int *ret_index, struct err *err)
{
	const struct kpod *pod = kernel_pod(sim_world, ifname);

	(void)hostnet;
	if (sim_world->dying)
		return err_set(err, ERR_RETRY, "model", "the daemon is dead");
	*ret_index = pod && str_equal(kind, "veth") ? pod->index : 0;
	return 0;
}

int hostnet_pod_links(struct hostnet *hostnet, int (*fn)(const char *ifname, void *arg), void *arg, struct err *err)
{
	struct model_kernel *k = &sim_world->kernel;
	int r = 0;

	(void)hostnet;
	if (interrupt(sim_world, err) < 0)
		return -1;
	for (unsigned i = 0; !r && i < k->pod_top; i++)
		if (k->pods[i].link)
			r = fn(k->pods[i].ifname, arg);
	return r;
}

/* ---- berth/net.h: what view.c and hostwork.c need of it ---- */

static struct net_route route_of(const struct kpod *pod, const struct ipaddr *addr)
{
	return (struct net_route){ .dst = prefix_host(addr),
				   .type = NET_ROUTE_UNICAST,
				   .table = NET_TABLE_LOCAL,
				   .oif = pod->index,
				   .protocol = BERTH_RTPROT };
}

int net_routes(struct net *net, enum ip_family family, uint32_t table,
	       int (*fn)(const struct net_route *route, void *arg), void *arg, struct err *err)
{
	struct model_kernel *k = &sim_world->kernel;
	int r = 0;

	(void)net;
	(void)table;
	if (sim_world->dying)
		return err_set(err, ERR_RETRY, "model", "the daemon is dead");
	if (interrupt(sim_world, err) < 0)
		return -1;
	for (unsigned i = 0; family == IP_V4 && !r && i < k->cover_count; i++) {
		struct net_route route = { .dst = k->covers[i],
					   .type = NET_ROUTE_UNREACHABLE,
					   .table = NET_TABLE_LOCAL,
					   .protocol = BERTH_RTPROT };

		r = fn(&route, arg);
	}
	for (unsigned i = 0; family == IP_V4 && !r && i < k->pod_top; i++) {
		struct net_route route = route_of(&k->pods[i], &k->pods[i].addr);

		r = k->pods[i].route ? fn(&route, arg) : 0;
	}
	for (unsigned i = 0; family == IP_V6 && !r && i < k->pod_top; i++) {
		struct net_route route = route_of(&k->pods[i], &k->pods[i].egress);

		r = k->pods[i].egress.family != IP_NONE ? fn(&route, arg) : 0;
	}
	return r;
}

int net_link_by_index(struct net *net, int index, struct net_link *ret, struct err *err)
{
	struct model_kernel *k = &sim_world->kernel;

	(void)net;
	if (interrupt(sim_world, err) < 0)
		return -1;
	for (unsigned i = 0; i < k->pod_top; i++) {
		if (!k->pods[i].link || k->pods[i].index != index)
			continue;
		*ret = (struct net_link){ .index = index, .kind = "veth", .up = true, .mtu = NIC_MTU };
		(void)str_copy(ret->name, sizeof(ret->name), k->pods[i].ifname);
		return 0;
	}
	return err_set(err, ERR_NOTFOUND, "model", "no link %d", index);
}

int net_link_by_name(struct net *net, const char *name, struct net_link *ret, struct err *err)
{
	struct model_kernel *k = &sim_world->kernel;

	for (unsigned i = 0; i < k->pod_top; i++)
		if (k->pods[i].link && str_equal(k->pods[i].ifname, name))
			return net_link_by_index(net, k->pods[i].index, ret, err);
	return err_set(err, ERR_NOTFOUND, "model", "no link %s", name);
}

int netns_open(const char *path, int *ret_fd, struct err *err)
{
	(void)ret_fd;
	return err_set(err, ERR_NOTFOUND, "model", "no namespace %s", path);
}

int net_monitor_read(struct net_monitor *monitor, void (*fn)(const struct net_event *event, void *arg), void *arg,
		     struct err *err)
{
	struct net_event event = { .kind = NET_EVENT_LINK, .link = { .name = "eth" } };

	(void)monitor;
	(void)err;
	if (!sim_world->kernel.events)
		return 0;
	/* which one it was does not matter to who looks at all of them */
	sim_world->kernel.events = 0;
	for (unsigned i = 0; i < MODEL_NICS; i++) {
		event.link.mac = sim_world->cloud.now.nics[i].mac;
		if (sim_world->cloud.now.nics[i].state > MNIC_AVAILABLE)
			fn(&event, arg);
	}
	return 0;
}
