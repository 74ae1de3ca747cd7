/* SPDX-License-Identifier: Apache-2.0 */
/* NICs: found by their MAC, brought up, given their MTU and address; the sysctls of the node and of its links. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"
#include "ipamd/hostnet_impl.h"

#define SYSCTL_KEY_MAX   96 /* bytes: "net/ipv6/conf/IFNAME/accept_ra" and to spare */
#define SYSCTL_VALUE_MAX 64 /* bytes of a value that is compared */

/* ---- links ---- */

static int keep_link(const struct net_link *link, void *arg)
{
	struct sync *sync = arg;
	struct net_link *kept = sync_list_add(&sync->links, sizeof(*kept), HOSTNET_LINKS_MAX);

	if (!kept)
		return -ENOMEM;
	*kept = *link;
	return 0;
}

static int keep_addr(const struct net_addr *addr, void *arg)
{
	struct sync *sync = arg;
	struct net_addr *kept = sync_list_add(&sync->addrs, sizeof(*kept), HOSTNET_ADDRS_MAX);

	if (!kept)
		return -ENOMEM;
	*kept = *addr;
	return 0;
}

static int compare_links(const void *a, const void *b)
{
	return strcmp(((const struct net_link *)a)->name, ((const struct net_link *)b)->name);
}

struct net_link *sync_link_by_name(const struct sync *sync, const char *name)
{
	struct net_link key = { 0 };

	if (!sync->links.count || str_copy(key.name, sizeof(key.name), name) < 0)
		return NULL;
	return bsearch(&key, sync->links.items, sync->links.count, sizeof(key), compare_links);
}

static bool is_hardware(const struct net_link *link)
{
	return !link->kind[0];
}

/* The NIC's link: by MAC, no host end of a pod. A VLAN, bridge or bond over a NIC carries its MAC too: hardware wins.
 */
static const struct net_link *link_by_mac(struct sync *sync, const struct macaddr *mac)
{
	const struct net_link *links = sync->links.items, *found = NULL;
	char text[MACADDR_STRLEN];
	struct err err;

	for (unsigned i = 0; i < sync->links.count; i++) {
		if (!macaddr_equal(&links[i].mac, mac) || str_starts(links[i].name, HOSTNET_POD_LINKS))
			continue;
		if (!found || is_hardware(&links[i]) > is_hardware(found)) {
			found = &links[i];
			continue;
		}
		if (is_hardware(&links[i]) < is_hardware(found))
			continue;
		(void)err_set(&err, ERR_CONFLICT, HOSTNET_DOMAIN, "links %s and %s both have MAC %s", found->name,
			      links[i].name, macaddr_str(mac, text));
		sync_note(sync, &err);
		return NULL;
	}
	return found;
}

int sync_read_links(struct sync *sync, struct err *err)
{
	int r = net_links(sync->hostnet->net, keep_link, sync, err);

	if (r == -ENOMEM)
		return err_set(err, ERR_EXHAUSTED, HOSTNET_DOMAIN, "no memory for links, or more than %u of them",
			       HOSTNET_LINKS_MAX);
	if (r < 0)
		return -1;
	r = net_addrs(sync->hostnet->net, keep_addr, sync, err);
	if (r == -ENOMEM)
		return err_set(err, ERR_EXHAUSTED, HOSTNET_DOMAIN, "no memory for addresses, or more than %u of them",
			       HOSTNET_ADDRS_MAX);
	if (r < 0)
		return -1;
	if (sync->links.count)
		qsort(sync->links.items, sync->links.count, sizeof(struct net_link), compare_links);
	return 0;
}

/* ---- sysctls ---- */

static bool sysctl_is(const char *key, const char *value)
{
	char path[SYSCTL_KEY_MAX + sizeof("/proc/sys/")], *now = NULL;
	bool same;

	(void)snprintf(path, sizeof(path), "/proc/sys/%s", key);
	if (fs_read(path, SYSCTL_VALUE_MAX, &now, NULL) < 0)
		return false;
	now[strcspn(now, "\n")] = '\0';
	same = str_equal(now, value);
	free(now);
	return same;
}

/* Writes only what differs: a read-only /proc/sys with the right values is fine. @optional: may be missing (no IPv6). */
static void set_sysctl(struct sync *sync, const char *key, const char *value, bool optional)
{
	struct err err;
	int r;

	if (sysctl_is(key, value))
		return;
	r = fs_sysctl_write(key, value);
	if (r == 0 || (optional && r == -ENOENT))
		return;
	(void)err_set_errno(&err, ERR_INVALID, HOSTNET_DOMAIN, -r, "set %s to %s", key, value);
	sync_note(sync, &err);
}

void sync_set_link_sysctl(struct sync *sync, const char *ip, const char *ifname, const char *name, const char *value)
{
	char key[SYSCTL_KEY_MAX];

	(void)snprintf(key, sizeof(key), "net/%s/conf/%s/%s", ip, ifname, name);
	set_sysctl(sync, key, value, str_equal(ip, "ipv6"));
}

/* @from to @to; every other value is somebody's choice and stays. */
static void change_ipv6_sysctl(struct sync *sync, const char *ifname, const char *name, const char *from,
			       const char *to)
{
	char key[SYSCTL_KEY_MAX];

	(void)snprintf(key, sizeof(key), "net/ipv6/conf/%s/%s", ifname, name);
	if (sysctl_is(key, from))
		set_sysctl(sync, key, to, false);
}

/* Switching forwarding on makes the kernel forget the default routes that routers announced on links with accept_ra 1,
 * and read no more announcements there; with 2 it goes on as before. 0 means that somebody else reads them
 * (systemd-networkd) or nobody shall. */
void sync_forwarding(struct sync *sync)
{
	const struct hostnet_want *want = sync->want;

	set_sysctl(sync, "net/ipv4/ip_forward", "1", false);
	if (!sync_wants_ipv6(sync))
		return;
	for (unsigned i = 0; i < want->nic_count; i++) {
		if (want->nics[i].primary && want->nics[i].ifname[0])
			change_ipv6_sysctl(sync, want->nics[i].ifname, "accept_ra", "1", "2");
	}
	set_sysctl(sync, "net/ipv6/conf/all/forwarding", "1", false);
}

/* ---- NICs ---- */

static bool has_ipv6(const struct hostnet_nic *nic)
{
	return nic->primary_addr6.family != IP_NONE || nic->gateway6.family != IP_NONE;
}

/* The NIC's own table: the gateway on link, the default through it. */
static void want_table(struct sync *sync, const struct hostnet_nic *nic, const struct net_link *link,
		       const struct ipaddr *via)
{
	uint32_t table = sync->hostnet->config.table_base + nic->slot;
	struct net_route gateway = {
		.dst = prefix_host(via), .type = NET_ROUTE_UNICAST, .table = table, .oif = link->index
	};
	struct net_route all = { .type = NET_ROUTE_UNICAST, .table = table, .oif = link->index, .gateway = *via };

	all.dst.addr.family = via->family;
	if (via->family == IP_NONE)
		return;
	sync_want_route(sync, WANT_PRESENT, 0, &gateway);
	sync_want_route(sync, WANT_PRESENT, 0, &all);
}

static void want_rules(struct sync *sync, const struct hostnet_nic *nic)
{
	sync_want_rule(sync, nic, IP_V4);
	if (has_ipv6(nic))
		sync_want_rule(sync, nic, IP_V6);
}

static bool has_addr(const struct sync *sync, int index, const struct ipaddr *addr)
{
	const struct net_addr *addrs = sync->addrs.items;

	for (unsigned i = 0; i < sync->addrs.count; i++) {
		if (addrs[i].index == index && ipaddr_equal(&addrs[i].addr, addr))
			return true;
	}
	return false;
}

/* With whatever length: what DHCP put there serves as well. */
static int ensure_addrs(struct sync *sync, const struct hostnet_nic *nic, int index, struct err *err)
{
	const struct ipaddr *const addrs[IP_FAMILIES] = { &nic->primary_addr, &nic->primary_addr6 };

	for (unsigned i = 0; i < IP_FAMILIES; i++) {
		const struct ipaddr *addr = addrs[i];

		if (addr->family == IP_NONE || has_addr(sync, index, addr))
			continue;
		if (net_addr_add(sync->hostnet->net, index, addr, ipaddr_bits(addr),
				 NET_ADDR_NOPREFIXROUTE | NET_ADDR_NODAD, err) < 0)
			return -1;
		sync->report.added++;
	}
	return 0;
}

/* Before the link is up. Router advertisements are for the primary NIC alone: a default route of another one would be a
 * second one in main. The gateway is asked for from the link-local address, so there has to be one; the cloud hands
 * out MACs, and looking for duplicates of what is made from one would keep the NIC waiting for a second. */
static void ensure_ipv6_sysctls(struct sync *sync, const struct hostnet_nic *nic, const char *ifname)
{
	sync_set_link_sysctl(sync, "ipv6", ifname, "accept_ra", "0");
	sync_set_link_sysctl(sync, "ipv6", ifname, "autoconf", "0");
	if (!has_ipv6(nic))
		return;
	sync_set_link_sysctl(sync, "ipv6", ifname, "accept_dad", "0");
	change_ipv6_sysctl(sync, ifname, "disable_ipv6", "1", "0");
	change_ipv6_sysctl(sync, ifname, "addr_gen_mode", "1", "0");
}

/* MTU, addresses, up. */
static int ensure_link(struct sync *sync, struct hostnet_nic *nic, const struct net_link *link, unsigned mtu,
		       struct err *err)
{
	struct net *net = sync->hostnet->net;
	struct err mtu_err;

	nic->mtu = link->mtu;
	if (mtu && link->mtu != mtu) {
		/* a NIC with its own MTU works; nobody is told of packets that are too big, so it is an error */
		if (net_link_set_mtu(net, link->index, mtu, &mtu_err) < 0) {
			(void)err_wrap(&mtu_err, "MTU %u of %s", mtu, link->name);
			sync_note(sync, &mtu_err);
		} else {
			nic->mtu = mtu;
			sync->report.added++;
		}
	}
	ensure_ipv6_sysctls(sync, nic, link->name);
	if (ensure_addrs(sync, nic, link->index, err) < 0)
		return -1;
	if (link->up)
		return 0;
	if (net_link_set_up(net, link->index, true, err) < 0)
		return -1;
	sync->report.added++;
	return 0;
}

static void sync_nic(struct sync *sync, struct hostnet_nic *nic, unsigned mtu)
{
	const struct net_link *link = link_by_mac(sync, &nic->mac);
	struct err err;

	nic->looked = true;
	nic->ready = false;
	nic->ifname[0] = '\0';
	nic->mtu = 0;
	if (!link)
		return;
	if (nic->slot >= hostnet_slots_max(sync->hostnet->config.mark_mask) || nic->slot >= CLOUD_NICS_MAX) {
		(void)err_set(&err, ERR_INVALID, HOSTNET_DOMAIN, "slot %u of %s has no mark under mask 0x%x", nic->slot,
			      link->name, sync->hostnet->config.mark_mask);
		sync_note(sync, &err);
		return;
	}
	(void)str_copy(nic->ifname, sizeof(nic->ifname), link->name);
	sync_set_link_sysctl(sync, "ipv4", link->name, "rp_filter", "2");
	nic->mtu = link->mtu;
	want_rules(sync, nic);
	if (nic->primary) {
		nic->ready = link->up;
		return;
	}
	if (sync->secondary_count < CLOUD_NICS_MAX)
		sync->secondary[sync->secondary_count++] = link->index;
	want_table(sync, nic, link, &nic->gateway);
	want_table(sync, nic, link, &nic->gateway6);
	nic->ready = true; /* until a step below fails */
	if (ensure_link(sync, nic, link, mtu, &err) < 0) {
		nic->ready = false;
		(void)err_wrap(&err, "NIC %s", link->name);
		sync_note(sync, &err);
	}
}

/* The MTU that secondary NICs get: as configured, else the primary link's; 0: none is known. */
static unsigned wanted_mtu(struct sync *sync)
{
	if (sync->hostnet->config.mtu)
		return sync->hostnet->config.mtu;
	for (unsigned i = 0; i < sync->want->nic_count; i++) {
		const struct net_link *link =
			sync->want->nics[i].primary ? link_by_mac(sync, &sync->want->nics[i].mac) : NULL;

		if (link)
			return link->mtu;
	}
	return 0;
}

void sync_nics(struct sync *sync)
{
	unsigned mtu = wanted_mtu(sync);

	for (unsigned i = 0; i < sync->want->nic_count; i++)
		sync_nic(sync, &sync->want->nics[i], mtu);
}
