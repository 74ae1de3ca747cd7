/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: who and where this instance is, and what it may have
 *
 * Who and where comes from metadata and is asked for once. Keys of IPv6 are read only where the list of the primary
 * interface's keys names them. A subnet or network without IPv6 does not have them.
 *
 * What it may have comes from the type: the table of those that were known when berth was built, else EC2. A prefix takes
 * one of an interface's slots for addresses, so that units are counted alike whatever they are:
 *
 *                 Nitro or bare metal                     older
 *   IPv4          /28 when prefixes are wanted, else /32  /32
 *   IPv6          one /80: more than a node ever uses     /128
 */
#include <stdio.h>
#include <string.h>

#include "../crypto.h"
#include "berth/err.h"
#include "berth/str.h"
#include "limits.h"
#include "provider.h"

#define DOMAIN "aws"

#define MACS           "network/interfaces/macs/"
#define ITEM_PATH_SIZE 128U /* MACS, MAC, "/" and the longest key */

/* ---- metadata ---- */

bool aws_has_line(const char *text, const char *line)
{
	size_t len = strlen(line);

	for (const char *at = text; at; at = strchr(at, '\n')) {
		at += *at == '\n';
		if (strncmp(at, line, len) == 0 && strcspn(at, "\r\n") == len)
			return true;
	}
	return false;
}

int aws_meta_item(struct aws *aws, const char *mac, const char *key, int64_t deadline_us, char **ret, struct err *err)
{
	char path[ITEM_PATH_SIZE];
	struct err why;

	(void)snprintf(path, sizeof(path), "%s%s%s%s", mac ? MACS : "", mac ? mac : "", mac && *mac ? "/" : "", key);
	if (aws_meta_get(&aws->meta, path, deadline_us, ret, &why) == 0 || why.class == ERR_NOTFOUND)
		return 0;
	if (err)
		*err = why;
	return err_wrap(err, "%s", path);
}

static int item_str(struct aws *aws, const char *path, int64_t deadline_us, char *ret, size_t size, struct err *err)
{
	_cleanup_wiped_ char *text = NULL;

	if (aws_meta_get(&aws->meta, path, deadline_us, &text, err) < 0)
		return err_wrap(err, "%s", path);
	if (!*text || strpbrk(text, "\r\n") || str_copy(ret, size, text) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "metadata %s: not one short line", path);
	return 0;
}

static int item_of_mac(struct aws *aws, const char *mac, const char *key, int64_t deadline_us, char *ret, size_t size,
		       struct err *err)
{
	char path[ITEM_PATH_SIZE];

	(void)snprintf(path, sizeof(path), MACS "%s/%s", mac, key);
	return item_str(aws, path, deadline_us, ret, size, err);
}

/* ---- the primary interface ---- */

struct primary {
	struct aws *aws;
	int64_t deadline_us;
	char mac[MACADDR_STRLEN];
	char *names; /* owned; of the keys that it has; NULL: nobody knows */
	struct cloud_identity *identity;
	struct ec2_subnet subnet;
	struct ipaddr own6;
};

/* One range a line; ones beyond the limit would silently be masqueraded, so they are an error. */
static int add_vpc_prefixes(struct cloud_identity *identity, char *text)
{
	char *rest = NULL;

	for (char *line = strtok_r(text, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
		if (identity->vpc_prefix_count >= CLOUD_VPC_PREFIXES ||
		    prefix_parse(line, &identity->vpc_prefixes[identity->vpc_prefix_count]) < 0)
			return -1;
		identity->vpc_prefix_count++;
	}
	return 0;
}

static int set_vpc4(struct primary *p, char *text)
{
	return add_vpc_prefixes(p->identity, text) < 0 || p->identity->vpc_prefix_count == 0 ? -1 : 0;
}

static int set_vpc6(struct primary *p, char *text)
{
	return add_vpc_prefixes(p->identity, text);
}

static int set_subnet4(struct primary *p, char *text)
{
	return prefix_parse(text, &p->subnet.prefix);
}

/* The first line: a subnet has one range. */
static int set_subnet6(struct primary *p, char *text)
{
	text[strcspn(text, "\r\n")] = '\0';
	return prefix_parse(text, &p->subnet.prefix6);
}

/* The first line is the address that was assigned first, as the instance's own "ipv6" is described. */
static int set_own6(struct primary *p, char *text)
{
	text[strcspn(text, "\r\n")] = '\0';
	return ipaddr_parse(text, &p->own6);
}

static const struct {
	const char *name;
	bool needed;
	int (*read)(struct primary *p, char *text);
} keys[] = {
	{ "subnet-ipv4-cidr-block", true, set_subnet4 },
	{ "vpc-ipv4-cidr-blocks", true, set_vpc4 },
	{ "subnet-ipv6-cidr-blocks", false, set_subnet6 },
	{ "vpc-ipv6-cidr-blocks", false, set_vpc6 },
	{ "ipv6s", false, set_own6 },
};

static int read_key(struct primary *p, size_t key, struct err *err)
{
	_cleanup_wiped_ char *text = NULL;

	if (aws_meta_item(p->aws, p->mac, keys[key].name, p->deadline_us, &text, err) < 0)
		return -1;
	if (!text && !keys[key].needed)
		return 0;
	if (!text)
		return err_set(err, ERR_RETRY, DOMAIN, "metadata %s of %s: not there", keys[key].name, p->mac);
	if (keys[key].read(p, text) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "metadata %s of %s: too many or bad ranges", keys[key].name,
			       p->mac);
	return 0;
}

static int read_keys(struct primary *p, struct err *err)
{
	int rc = aws_meta_item(p->aws, p->mac, "", p->deadline_us, &p->names, err);

	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(keys); i++)
		if (keys[i].needed || (p->names && aws_has_line(p->names, keys[i].name)))
			rc = read_key(p, i, err);
	wiped_free(take_ptr(p->names));
	return rc;
}

static int primary_read(struct primary *p, struct err *err)
{
	struct cloud_identity *identity = p->identity;
	char addr[IPADDR_STRLEN];

	if (item_str(p->aws, "mac", p->deadline_us, p->mac, sizeof(p->mac), err) < 0 ||
	    item_str(p->aws, "local-ipv4", p->deadline_us, addr, sizeof(addr), err) < 0)
		return -1;
	if (macaddr_parse(p->mac, &identity->primary_mac) < 0 || ipaddr_parse(addr, &identity->primary_addr) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "metadata: bad MAC or address of the primary interface");
	if (item_of_mac(p->aws, p->mac, "interface-id", p->deadline_us, identity->nic, sizeof(identity->nic), err) <
		    0 ||
	    item_of_mac(p->aws, p->mac, "subnet-id", p->deadline_us, p->subnet.id, sizeof(p->subnet.id), err) < 0)
		return -1;
	return read_keys(p, err);
}

static int identity_fetch(struct primary *p, struct err *err)
{
	struct cloud_identity *identity = p->identity;
	struct aws *aws = p->aws;

	if (item_str(aws, "instance-id", p->deadline_us, identity->instance, EC2_ID_SIZE, err) < 0 ||
	    item_str(aws, "instance-type", p->deadline_us, identity->type, sizeof(identity->type), err) < 0 ||
	    item_str(aws, "placement/availability-zone", p->deadline_us, identity->zone, sizeof(identity->zone), err) <
		    0 ||
	    aws_region(&aws->endpoints, p->deadline_us, identity->region, err) < 0)
		return -1;
	return primary_read(p, err);
}

int aws_identity(struct aws *aws, int64_t deadline_us, struct cloud_identity *ret, struct err *err)
{
	struct cloud_identity fetched = { 0 };
	struct primary primary = { .aws = aws, .deadline_us = deadline_us, .identity = &fetched };
	bool known;

	pthread_mutex_lock(&aws->lock);
	known = aws->identity_known;
	if (known)
		*ret = aws->identity;
	pthread_mutex_unlock(&aws->lock);
	if (known)
		return 0;
	if (identity_fetch(&primary, err) < 0)
		return err_wrap(err, "identity of this instance");
	aws_subnet_remember(aws, &primary.subnet);
	pthread_mutex_lock(&aws->lock);
	/* Another thread may have been as fast; what was the own address then is so from then on. */
	if (!aws->identity_known) {
		aws->identity = fetched;
		aws->own6 = primary.own6;
	}
	aws->identity_known = true;
	pthread_mutex_unlock(&aws->lock);
	*ret = fetched;
	return 0;
}

int aws_identify(struct cloud *cloud, int64_t deadline_us, struct cloud_identity *ret, struct err *err)
{
	return aws_identity(aws_of(cloud), deadline_us, ret, err);
}

/* ---- what it may have ---- */

/* By memory alone; false of a type that EC2 has to be asked of first. */
static bool type_known(struct aws *aws, struct ec2_type *ret)
{
	char name[sizeof(ret->name)];
	bool known;

	pthread_mutex_lock(&aws->lock);
	known = aws->type_known;
	if (known)
		*ret = aws->type;
	memcpy(name, aws->identity.type, sizeof(name));
	pthread_mutex_unlock(&aws->lock);
	return known || aws_limits_find(name, ret);
}

bool aws_has_prefixes(struct aws *aws)
{
	struct ec2_type type;

	return !type_known(aws, &type) || type.nitro;
}

/* A type that is newer than we are is asked for. */
static int type_get(struct aws *aws, const char *name, int64_t deadline_us, struct ec2_type *ret, struct err *err)
{
	if (type_known(aws, ret))
		return 0;
	if (ec2_type_describe(&aws->ec2, name, deadline_us, ret, err) < 0)
		return -1;
	pthread_mutex_lock(&aws->lock);
	aws->type = *ret;
	aws->type_known = true;
	pthread_mutex_unlock(&aws->lock);
	return 0;
}

static unsigned at_most(uint64_t count, unsigned max)
{
	return count < max ? (unsigned)count : max;
}

static struct cloud_units units4(const struct aws *aws, const struct ec2_type *type)
{
	bool prefixes = aws->prefixes && type->nitro;

	return (struct cloud_units){ at_most(type->ipv4_per_nic - 1, CLOUD_BLOCKS_MAX),
				     prefixes ? AWS_PREFIX_LEN : AWS_SINGLE_LEN, AWS_SINGLE_LEN };
}

static struct cloud_units units6(struct aws *aws, const struct ec2_type *type)
{
	unsigned per_nic = at_most(type->ipv6_per_nic, CLOUD_BLOCKS_MAX);

	if (type->nitro)
		return (struct cloud_units){ per_nic > 0, AWS_PREFIX6_LEN, AWS_PREFIX6_LEN };
	pthread_mutex_lock(&aws->lock);
	per_nic -= per_nic > 0 && aws->own6.family == IP_V6;
	pthread_mutex_unlock(&aws->lock);
	return (struct cloud_units){ per_nic, AWS_SINGLE6_LEN, AWS_SINGLE6_LEN };
}

static void limits_by_type(struct aws *aws, const struct ec2_type *type, struct cloud_limits *ret)
{
	/* The total is over all network cards; berth uses card 0. */
	uint64_t nics = type->nics_card0 > 0 ? type->nics_card0 : type->nics_total;

	*ret = (struct cloud_limits){
		.nics_max = at_most(nics, CLOUD_NICS_MAX),
		.can_attach_nic = nics > 1 && aws->access == CLOUD_ACCESS_FULL,
	};
	if (aws->serves[ip_index(IP_V4)])
		ret->units[ip_index(IP_V4)] = units4(aws, type);
	if (aws->serves[ip_index(IP_V6)])
		ret->units[ip_index(IP_V6)] = units6(aws, type);
}

/* Room for what there is and nothing more, where EC2 may not be asked of a type that is newer than we are. */
static int limits_by_nics(struct cloud *cloud, int64_t deadline_us, struct cloud_limits *ret, struct err *err)
{
	struct aws *aws = aws_of(cloud);
	struct ec2_type type = { .nitro = true, .ipv4_per_nic = 1 };
	struct cloud_view view = { 0 };

	if (cloud->ops->list(cloud, deadline_us, &view, err) < 0)
		return -1;
	type.nics_total = view.nic_count;
	for (unsigned i = 0; i < view.nic_count; i++) {
		unsigned counts[IP_FAMILIES] = { 0 };

		for (unsigned b = 0; b < view.nics[i].block_count; b++)
			counts[ip_index(view.nics[i].blocks[b].prefix.addr.family)]++;
		if (counts[0] + 1 > type.ipv4_per_nic)
			type.ipv4_per_nic = counts[0] + 1;
		if (counts[1] > type.ipv6_per_nic)
			type.ipv6_per_nic = counts[1];
	}
	cloud_view_done(&view);
	limits_by_type(aws, &type, ret);
	return 0;
}

int aws_limits(struct cloud *cloud, int64_t deadline_us, struct cloud_limits *ret, struct err *err)
{
	struct aws *aws = aws_of(cloud);
	struct cloud_identity self;
	struct ec2_type type;

	if (aws_identity(aws, deadline_us, &self, err) < 0)
		return -1;
	if (aws->access == CLOUD_ACCESS_METADATA && !type_known(aws, &type))
		return limits_by_nics(cloud, deadline_us, ret, err);
	if (type_get(aws, self.type, deadline_us, &type, err) < 0)
		return -1;
	limits_by_type(aws, &type, ret);
	return 0;
}
