/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: what metadata tells about the interfaces
 *
 * One request for the MACs, then per MAC one for the names of its keys and one for each key that is there and that we
 * read: nothing is asked for only to be told that it does not exist. About seven requests an interface, two more for the primary one (the VPC's ranges), to the link-local
 * service, none to EC2.
 *
 * A new interface shows up key by key, up to 30 s late, and an old one stays as long after it has gone. Its device number
 * reads 0 until it is known, so that 0 is believed of the primary's MAC only. What is not known yet is left empty and
 * the interface counts as not attached; that a key vanishes between two requests is no error.
 *
 * A provider that may ask EC2 of nothing has its list from here: then with subnets, and without what is not complete.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../crypto.h"
#include "berth/err.h"
#include "berth/str.h"
#include "provider.h"

#define DOMAIN "aws"

#define MACS     "network/interfaces/macs/"
#define MACS_MAX 128 /* listed by one instance: the largest type has 68, and those that have gone stay for a while */

struct glance {
	struct aws *aws;
	int64_t deadline_us;
	struct cloud_identity self;
	struct cloud_view view; /* owned */
	bool routes;            /* subnets are wanted too, and only interfaces that are known completely */
};

/** struct half - an interface while its keys are being read. */
struct half {
	struct cloud_nic nic;     /* owned */
	struct ec2_subnet subnet; /* ranges alone */
	uint64_t device, card;
	bool has_device, has_vpc4;
	unsigned vpc_count;
	struct prefix vpc[CLOUD_VPC_PREFIXES];
};

/* ---- keys: each reads its text, which it may cut up; 0 or -errno ---- */

static int set_id(struct half *h, char *text)
{
	return str_copy(h->nic.id, sizeof(h->nic.id), text) < 0 ? -EINVAL : 0;
}

static int set_device(struct half *h, char *text)
{
	h->has_device = true;
	return str_u64(text, 0, UINT16_MAX, &h->device);
}

static int set_card(struct half *h, char *text)
{
	return str_u64(text, 0, UINT16_MAX, &h->card);
}

static int add_blocks(struct half *h, char *text)
{
	struct prefix prefix;
	char *rest = NULL;
	int r = 0;

	for (char *line = strtok_r(text, "\r\n", &rest); r == 0 && line; line = strtok_r(NULL, "\r\n", &rest)) {
		r = prefix_parse(line, &prefix);
		if (r == 0)
			r = cloud_nic_add_block(&h->nic, &prefix);
	}
	return r;
}

/* The first is the primary one. */
static int add_ipv4s(struct half *h, char *text)
{
	char *end = text + strcspn(text, "\r\n");
	char *others = end + strspn(end, "\r\n");

	*end = '\0';
	if (ipaddr_parse(text, &h->nic.primary_addr) < 0)
		return -EINVAL;
	return add_blocks(h, others);
}

static int set_subnet4(struct half *h, char *text)
{
	return prefix_parse(text, &h->subnet.prefix);
}

static int set_subnet6(struct half *h, char *text)
{
	text[strcspn(text, "\r\n")] = '\0';
	return prefix_parse(text, &h->subnet.prefix6);
}

static int add_vpc(struct half *h, char *text)
{
	char *rest = NULL;

	for (char *line = strtok_r(text, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
		if (h->vpc_count >= CLOUD_VPC_PREFIXES || prefix_parse(line, &h->vpc[h->vpc_count]) < 0)
			return -EINVAL;
		h->vpc_count++;
	}
	return 0;
}

/* Without those of IPv4 the list is not whole: traffic inside the VPC would be masqueraded. */
static int set_vpc4(struct half *h, char *text)
{
	h->has_vpc4 = true;
	return add_vpc(h, text);
}

/* enum whose - of which interfaces a key is read. */
enum whose { EACH, FOR_ROUTES, PRIMARYS };

static const struct {
	const char *name;
	int (*read)(struct half *h, char *text);
	enum whose whose;
} keys[] = {
	{ "network-card", set_card, EACH },
	{ "interface-id", set_id, EACH },
	{ "device-number", set_device, EACH },
	{ "local-ipv4s", add_ipv4s, EACH },
	{ "ipv4-prefix", add_blocks, EACH },
	{ "ipv6s", add_blocks, EACH },
	{ "ipv6-prefix", add_blocks, EACH },
	{ "subnet-ipv4-cidr-block", set_subnet4, FOR_ROUTES },
	{ "subnet-ipv6-cidr-blocks", set_subnet6, FOR_ROUTES },
	{ "vpc-ipv4-cidr-blocks", set_vpc4, PRIMARYS },
	{ "vpc-ipv6-cidr-blocks", add_vpc, PRIMARYS },
};

static bool is_read(const struct glance *g, const struct half *h, enum whose whose)
{
	if (whose == PRIMARYS)
		return macaddr_equal(&h->nic.mac, &g->self.primary_mac);
	return whose == EACH || g->routes;
}

static int read_key(struct glance *g, const char *mac, size_t key, struct half *h, struct err *err)
{
	_cleanup_wiped_ char *text = NULL;
	int r;

	if (aws_meta_item(g->aws, mac, keys[key].name, g->deadline_us, &text, err) < 0)
		return -1;
	r = text ? keys[key].read(h, text) : 0;
	if (r == -ENOMEM)
		return err_set(err, ERR_RETRY, DOMAIN, "no memory");
	return r < 0 ? err_set(err, ERR_PROTOCOL, DOMAIN, "metadata %s of %s: not what it should be", keys[key].name,
			       mac)
		     : 0;
}

static int read_keys(struct glance *g, const char *mac, struct half *h, struct err *err)
{
	_cleanup_wiped_ char *names = NULL;
	int r = aws_meta_item(g->aws, mac, "", g->deadline_us, &names, err);

	for (size_t i = 0; r == 0 && names && i < ARRAY_SIZE(keys); i++)
		if (is_read(g, h, keys[i].whose) && aws_has_line(names, keys[i].name))
			r = read_key(g, mac, i, h, err);
	return r;
}

/* ---- interfaces ---- */

static void settle(struct glance *g, struct half *h)
{
	bool primary = macaddr_equal(&h->nic.mac, &g->self.primary_mac);

	h->nic.primary = primary;
	h->nic.slot = (unsigned)h->device;
	h->nic.attached = h->nic.id[0] && h->has_device && (h->device != 0) == !primary;
	aws_nic_settle6(g->aws, &h->nic);
	/* Where the operator names subnets pods get nothing of it; of the others they get what is there. */
	h->nic.closed = g->routes && primary && g->aws->settings.subnet_count > 0;
	if (g->routes && h->subnet.prefix.addr.family == IP_V4)
		aws_nic_route(g->aws, &h->subnet, &h->nic);
}

static bool is_complete(const struct half *h)
{
	return h->nic.attached && h->nic.primary_addr.family == IP_V4 && h->nic.subnet.addr.family == IP_V4;
}

/* Card 0 only, as in the list. */
static int keep_take(struct glance *g, struct half *h, struct err *err)
{
	struct cloud_nic *added;

	if (h->card != 0)
		return 0;
	settle(g, h);
	if (g->routes && !is_complete(h))
		return 0;
	added = cloud_view_add_nic(&g->view);
	if (!added)
		return err_set(err, ERR_RETRY, DOMAIN, "no memory, or more than %d interfaces", CLOUD_NICS_MAX);
	*added = h->nic;
	memset(&h->nic, 0, sizeof(h->nic));
	return 0;
}

static int read_nic(struct glance *g, const char *mac, struct err *err)
{
	struct half h = { 0 };
	int r;

	if (macaddr_parse(mac, &h.nic.mac) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "metadata " MACS ": not a list of MACs");
	r = read_keys(g, mac, &h, err);
	if (r == 0 && h.has_vpc4) {
		g->view.vpc_prefix_count = h.vpc_count;
		memcpy(g->view.vpc_prefixes, h.vpc, sizeof(h.vpc));
	}
	if (r == 0)
		r = keep_take(g, &h, err);
	cloud_nic_done(&h.nic);
	return r;
}

static int read_nics(struct glance *g, struct err *err)
{
	_cleanup_wiped_ char *macs = NULL;
	char *rest = NULL;
	unsigned count = 0;
	int r = aws_meta_item(g->aws, "", "", g->deadline_us, &macs, err);

	if (r == 0 && !macs)
		return err_set(err, ERR_RETRY, DOMAIN, "metadata " MACS ": nothing there");
	for (char *line = r == 0 ? strtok_r(macs, "/\r\n", &rest) : NULL; r == 0 && line;
	     line = strtok_r(NULL, "/\r\n", &rest)) {
		if (++count > MACS_MAX)
			return err_set(err, ERR_PROTOCOL, DOMAIN, "metadata " MACS ": more than %d", MACS_MAX);
		r = read_nic(g, line, err);
	}
	return r;
}

static int look(struct glance *g, struct cloud_view *ret, struct err *err)
{
	if (aws_identity(g->aws, g->deadline_us, &g->self, err) < 0)
		return -1;
	if (read_nics(g, err) < 0) {
		cloud_view_done(&g->view);
		return err_wrap(err, "glance");
	}
	*ret = g->view;
	return 0;
}

int aws_glance(struct cloud *cloud, int64_t deadline_us, struct cloud_view *ret, struct err *err)
{
	struct glance g = { .aws = aws_of(cloud), .deadline_us = deadline_us };

	return look(&g, ret, err);
}

int aws_list_metadata(struct cloud *cloud, int64_t deadline_us, struct cloud_view *ret, struct err *err)
{
	struct glance g = { .aws = aws_of(cloud), .deadline_us = deadline_us, .routes = true };
	struct cloud_view view;

	if (look(&g, &view, err) < 0)
		return -1;
	for (unsigned i = 0; i < view.nic_count; i++) {
		if (!view.nics[i].primary)
			continue;
		*ret = view;
		return 0;
	}
	/* As from EC2: believing this would declare every pod's address lost. */
	cloud_view_done(&view);
	return err_set(err, ERR_RETRY, DOMAIN, "metadata does not show the primary interface of %s completely",
		       g.self.instance);
}
