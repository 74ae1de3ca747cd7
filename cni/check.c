/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: CHECK
 *
 * Three must agree: what the runtime was told (prevResult, of the whole list of plugins), what the daemon has leased,
 * and the kernel; the daemon answers for what it alone makes: ports of the node and limits. What the specification lets
 * later plugins change is taken as they say: tuning's MAC and MTU are in prevResult, a default route that is not in
 * prevResult any more was taken away by somebody, and what is there beside ours is not looked at. Something that is
 * just being put back (the daemon repairs routes 0.2 s after they went) is waited for, up to a second.
 *
 * Of a delegated lease only the addresses are ours.
 */
#include <poll.h>
#include <string.h>

#include <jansson.h>

#include "berth/clock.h"
#include "berth/err.h"
#include "berth/str.h"
#include "cni/client.h"
#include "cni/cnierr.h"
#include "cni/plugin.h"
#include "cni/podcheck.h"

#define SETTLE_US USEC_PER_SEC /* for what is being put right; the specification gives no number */
#define LOOK_MS   100          /* between two looks */
#define FINDINGS  400          /* bytes, so that all of the message fits */
#define CHECK_HINT                                                                                                     \
	"The pod's network is not as ADD left it: berth-ipamd puts host routes back by itself, anything else needs a " \
	"new "                                                                                                         \
	"sandbox. Who changed it? Other plugins of the list, agents and people with `ip` come to mind."

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

/* ---- what the runtime was told ---- */

/* An entry of `interfaces` by name; those of the host have no sandbox. */
static const json_t *find_interface(const json_t *prev, const char *name, bool of_host)
{
	const json_t *item;
	size_t i;

	json_array_foreach (json_object_get(prev, "interfaces"), i, item)
		if (str_equal(text_of(item, "name"), name) && of_host == !*text_of(item, "sandbox"))
			return item;
	return NULL;
}

static bool lists_address(const json_t *prev, const struct ipaddr *addr)
{
	const json_t *item;
	size_t i;

	json_array_foreach (json_object_get(prev, "ips"), i, item) {
		char text[PREFIX_STRLEN];
		struct ipaddr listed;

		if (str_copy(text, sizeof(text), text_of(item, "address")) < 0)
			continue;
		text[strcspn(text, "/")] = '\0';
		if (ipaddr_parse(text, &listed) == 0 && ipaddr_equal(&listed, addr))
			return true;
	}
	return false;
}

static bool lists_route(const json_t *prev, const struct prefix *dst, const struct ipaddr *gateway)
{
	const json_t *item;
	size_t i;

	json_array_foreach (json_object_get(prev, "routes"), i, item) {
		struct prefix listed;
		struct ipaddr gw;

		if (prefix_parse(text_of(item, "dst"), &listed) == 0 && prefix_cmp(&listed, dst) == 0 &&
		    ipaddr_parse(text_of(item, "gw"), &gw) == 0 && ipaddr_equal(&gw, gateway))
			return true;
	}
	return false;
}

/* Those of ours that nobody behind us took away. */
static void take_routes(const struct cni_run *run, const json_t *prev, const struct ipaddr *gateway,
			struct podcheck_routes *ret)
{
	struct prefix ours[POD_ROUTES_MAX + 1];
	unsigned count = pod_routes_of(&run->conf.routes, (enum ip_family)gateway->family, ours);

	for (unsigned i = 0; i < count; i++)
		if (lists_route(prev, &ours[i], gateway))
			ret->dsts[ret->count++] = ours[i];
}

/* ---- against the lease ---- */

static void compare_lease(const struct cni_run *run, const json_t *prev, const struct proto_reply *reply,
			  struct strbuf *findings)
{
	char text[IPADDR_STRLEN];

	if (!reply->delegated && !find_interface(prev, run->args.ifname, false))
		strbuf_printf(findings, "prevResult does not list interface %s", run->args.ifname);
	for (unsigned i = 0; i < reply->address_count; i++) {
		const struct ipaddr *addr = &reply->addresses[i].address.addr;

		if (!lists_address(prev, addr))
			strbuf_printf(findings, "%sprevResult does not list the leased address %s",
				      findings->len ? "; " : "", ipaddr_str(addr, text));
	}
}

static void take_mac(const json_t *interface, struct macaddr *ret)
{
	if (interface && macaddr_parse(text_of(interface, "mac"), ret) < 0)
		*ret = (struct macaddr){ 0 };
}

/* No result lists its routes, so none says that somebody took them away. */
static void want_egress(const struct cni_run *run, const struct proto_address *egress, struct podcheck_want *want)
{
	struct podcheck_routes *routes = &want->routes[want->addr_count];

	want->addrs[want->addr_count++] = (struct podnet_addr){ egress->address.addr, egress->gateway };
	routes->count = pod_routes_of(&run->conf.routes, (enum ip_family)egress->gateway.family, routes->dsts);
}

static struct podcheck_want want_of(const struct cni_run *run, const json_t *prev, const struct proto_reply *reply)
{
	struct podcheck_want want = {
		.ifname = run->args.ifname,
		.host_ifname = reply->host_ifname,
		.addr_count = reply->address_count,
	};
	const json_t *pod = find_interface(prev, want.ifname, false);

	for (unsigned i = 0; i < want.addr_count; i++) {
		want.addrs[i].addr = reply->addresses[i].address.addr;
		want.addrs[i].gateway = reply->addresses[i].gateway;
		take_routes(run, prev, &want.addrs[i].gateway, &want.routes[i]);
	}
	if (reply->egress.address.addr.family != IP_NONE && want.addr_count < IP_FAMILIES)
		want_egress(run, &reply->egress, &want);
	/* Told since 1.1.0. Without it nobody says what a later plugin made of ours. */
	want.mtu = (unsigned)json_integer_value(json_object_get(pod, "mtu"));
	take_mac(pod, &want.mac);
	take_mac(find_interface(prev, want.host_ifname, true), &want.host_mac);
	return want;
}

static int fail(const struct strbuf *findings, struct cnierr *cnierr)
{
	return cnierr_set(cnierr, CNI_CHECK_FAILED, CHECK_HINT, "%s",
			  findings->text ? findings->text : "more is wrong than fits a message");
}

/* ---- against the kernel ---- */

/* @reply: the daemon's, asked again with each look. @want points into it. */
static int look_until_settled(const struct cni_run *run, struct podnet *podnet, const struct podcheck_want *want,
			      struct proto_reply *reply, struct strbuf *findings, struct cnierr *cnierr)
{
	int64_t end_us = clock_now(&clock_boot) + SETTLE_US;
	struct err err;

	for (;;) {
		strbuf_clear(findings);
		if (podcheck(podnet, want, findings, &err) < 0)
			return cnierr_kernel(cnierr, "look at the pod's network", &err);
		if (*reply->missing)
			strbuf_printf(findings, "%s%s", findings->len ? "; " : "", reply->missing);
		if (!findings->len)
			return 0;
		if (clock_now(&clock_boot) >= end_us)
			return fail(findings, cnierr);
		(void)poll(NULL, 0, LOOK_MS);
		if (client_check(run, reply, cnierr) < 0)
			return -1;
	}
}

static int check_kernel(const struct cni_run *run, const json_t *prev, struct proto_reply *reply,
			struct strbuf *findings, struct cnierr *cnierr)
{
	_cleanup_(podnet_done) struct podnet podnet = { .netns_fd = -1 };
	const struct podcheck_want want = want_of(run, prev, reply);
	struct err err;

	if (podnet_open(run->args.netns, run->args.netns_override, &podnet, &err) < 0)
		return cnierr_set_err(cnierr, CNI_INVALID_NETNS,
				      "The pod sandbox is gone or its runtime gave a wrong path (CNI_NETNS): the "
				      "runtime must make a new sandbox.",
				      "CNI_NETNS", &err);
	return look_until_settled(run, &podnet, &want, reply, findings, cnierr);
}

int cni_check(const struct cni_run *run, struct cnierr *cnierr)
{
	json_auto_t *conf = cni_conf_json(run->stdin_text, run->stdin_size);
	_cleanup_reply_ struct proto_reply reply = { 0 };
	_cleanup_strbuf_ struct strbuf findings = { .max_len = FINDINGS };
	const json_t *prev = json_object_get(conf, "prevResult");

	if (!run->conf.has_prev_result)
		return cnierr_set(cnierr, CNI_INVALID_CONFIG,
				  "The container runtime must send the result of the ADD: look at its version and log.",
				  "network configuration: 'prevResult' is missing");
	if (client_check(run, &reply, cnierr) < 0)
		return -1;
	compare_lease(run, prev, &reply, &findings);
	if (findings.len)
		return fail(&findings, cnierr);
	return reply.delegated ? 0 : check_kernel(run, prev, &reply, &findings, cnierr);
}
