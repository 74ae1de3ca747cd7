/* SPDX-License-Identifier: Apache-2.0 */
/* Who and where this instance is, from metadata, and what its type may have. */
#include <stdio.h>
#include <string.h>

#include "berth/err.h"
#include "berth/str.h"
#include "limits.h"
#include "provider.h"

#define DOMAIN  "aws"
#define V4_BITS 32

#define ITEM_PATH_SIZE 128U /* "network/interfaces/macs/" MAC "/" and the longest key */

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

	(void)snprintf(path, sizeof(path), "network/interfaces/macs/%s/%s", mac, key);
	return item_str(aws, path, deadline_us, ret, size, err);
}

/* One range a line; ones beyond the limit would silently be masqueraded, so they are an error. */
static int vpc_prefixes(struct aws *aws, const char *mac, int64_t deadline_us, struct cloud_identity *identity,
			struct err *err)
{
	_cleanup_wiped_ char *text = NULL;
	char path[ITEM_PATH_SIZE];
	char *rest = NULL;

	(void)snprintf(path, sizeof(path), "network/interfaces/macs/%s/vpc-ipv4-cidr-blocks", mac);
	if (aws_meta_get(&aws->meta, path, deadline_us, &text, err) < 0)
		return err_wrap(err, "%s", path);
	for (char *line = strtok_r(text, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
		if (identity->vpc_prefix_count >= CLOUD_VPC_PREFIXES ||
		    prefix_parse(line, &identity->vpc_prefixes[identity->vpc_prefix_count]) < 0)
			return err_set(err, ERR_PROTOCOL, DOMAIN, "metadata %s: too many or bad ranges", path);
		identity->vpc_prefix_count++;
	}
	return identity->vpc_prefix_count > 0 ? 0 : err_set(err, ERR_PROTOCOL, DOMAIN, "metadata %s: empty", path);
}

static int primary_nic(struct aws *aws, int64_t deadline_us, struct cloud_identity *identity, struct err *err)
{
	char mac[MACADDR_STRLEN], addr[IPADDR_STRLEN], cidr[PREFIX_STRLEN], subnet[EC2_ID_SIZE];
	struct prefix prefix;

	if (item_str(aws, "mac", deadline_us, mac, sizeof(mac), err) < 0 ||
	    item_str(aws, "local-ipv4", deadline_us, addr, sizeof(addr), err) < 0)
		return -1;
	if (macaddr_parse(mac, &identity->primary_mac) < 0 || ipaddr_parse(addr, &identity->primary_addr) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "metadata: bad MAC or address of the primary interface");
	if (item_of_mac(aws, mac, "interface-id", deadline_us, identity->nic, sizeof(identity->nic), err) < 0 ||
	    item_of_mac(aws, mac, "subnet-id", deadline_us, subnet, sizeof(subnet), err) < 0 ||
	    item_of_mac(aws, mac, "subnet-ipv4-cidr-block", deadline_us, cidr, sizeof(cidr), err) < 0)
		return -1;
	if (prefix_parse(cidr, &prefix) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "metadata: bad subnet range");
	aws_subnet_remember(aws, subnet, &prefix);
	return vpc_prefixes(aws, mac, deadline_us, identity, err);
}

static int identity_fetch(struct aws *aws, int64_t deadline_us, struct cloud_identity *ret, struct err *err)
{
	if (item_str(aws, "instance-id", deadline_us, ret->instance, EC2_ID_SIZE, err) < 0 ||
	    item_str(aws, "instance-type", deadline_us, ret->type, sizeof(ret->type), err) < 0 ||
	    item_str(aws, "placement/availability-zone", deadline_us, ret->zone, sizeof(ret->zone), err) < 0 ||
	    aws_region(&aws->endpoints, deadline_us, ret->region, err) < 0)
		return -1;
	return primary_nic(aws, deadline_us, ret, err);
}

int aws_identity(struct aws *aws, int64_t deadline_us, struct cloud_identity *ret, struct err *err)
{
	struct cloud_identity fetched = { 0 };
	bool known;

	pthread_mutex_lock(&aws->lock);
	known = aws->identity_known;
	if (known)
		*ret = aws->identity;
	pthread_mutex_unlock(&aws->lock);
	if (known)
		return 0;
	if (identity_fetch(aws, deadline_us, &fetched, err) < 0)
		return err_wrap(err, "identity of this instance");
	pthread_mutex_lock(&aws->lock);
	aws->identity = fetched;
	aws->identity_known = true;
	pthread_mutex_unlock(&aws->lock);
	*ret = fetched;
	return 0;
}

int aws_identify(struct cloud *cloud, int64_t deadline_us, struct cloud_identity *ret, struct err *err)
{
	return aws_identity(aws_of(cloud), deadline_us, ret, err);
}

int aws_limits(struct cloud *cloud, int64_t deadline_us, struct cloud_limits *ret, struct err *err)
{
	struct aws *aws = aws_of(cloud);
	struct cloud_identity self;
	struct ec2_type type;
	uint64_t nics, units;

	if (aws_identity(aws, deadline_us, &self, err) < 0)
		return -1;
	/* A type that is newer than we are is asked for. */
	if (!aws_limits_find(self.type, &type) && ec2_type_describe(&aws->ec2, self.type, deadline_us, &type, err) < 0)
		return -1;
	/* The total is over all network cards; berth uses card 0. */
	nics = type.nics_card0 > 0 ? type.nics_card0 : type.nics_total;
	units = type.ipv4_per_nic - 1;
	*ret = (struct cloud_limits){
		.nics_max = (unsigned)(nics < CLOUD_NICS_MAX ? nics : CLOUD_NICS_MAX),
		.can_attach_nic = nics > 1,
		.units[0] = { (unsigned)(units < CLOUD_BLOCKS_MAX ? units : CLOUD_BLOCKS_MAX), V4_BITS, V4_BITS },
	};
	return 0;
}
