/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of DescribeSubnets. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "berth/str.h"
#include "codec.h"
#include "xml.h"

struct subnets_out {
	struct ec2_subnets *subnets;
	char *next; /* owned */
};

/* Members of the list entry that is being read, and whose tags are ours. */
struct entry {
	const char *cluster;
	char key[EC2_TEXT_SIZE], value[EC2_TEXT_SIZE];
	struct prefix range;
	bool associated;
};

static void entry_reset(struct entry *entry)
{
	*entry = (struct entry){ .cluster = entry->cluster };
}

static int entry_key(struct xml_decoder *d, const char *text)
{
	struct entry *entry = d->scratch;

	return str_copy(entry->key, sizeof(entry->key), text) < 0 ? -EINVAL : 0;
}

/* Cut when it is long: of the tags that are read the value is short, or does not matter. */
static int entry_value(struct xml_decoder *d, const char *text)
{
	struct entry *entry = d->scratch;

	(void)str_copy(entry->value, sizeof(entry->value), text);
	return 0;
}

static int entry_tag_end(struct xml_decoder *d, _unused_ const char *text)
{
	struct entry *entry = d->scratch;
	struct ec2_subnet *subnet = d->item;

	if (str_equal(entry->key, EC2_TAG_SUBNET)) {
		subnet->tagged = true;
		subnet->excluded = str_equal(entry->value, "0");
	} else if (str_starts(entry->key, EC2_TAG_SUBNET_CLUSTER)) {
		subnet->of_clusters = true;
		subnet->of_ours |=
			*entry->cluster && str_equal(entry->key + strlen(EC2_TAG_SUBNET_CLUSTER), entry->cluster);
	}
	entry_reset(entry);
	return 0;
}

static int entry_range6(struct xml_decoder *d, const char *text)
{
	struct entry *entry = d->scratch;

	return prefix_parse(text, &entry->range);
}

static int entry_state6(struct xml_decoder *d, const char *text)
{
	struct entry *entry = d->scratch;

	entry->associated = str_equal(text, "associated");
	return 0;
}

/* A subnet has one at most; an older one may still be on its way out. */
static int entry_range6_end(struct xml_decoder *d, _unused_ const char *text)
{
	struct entry *entry = d->scratch;
	struct ec2_subnet *subnet = d->item;

	if (entry->associated && entry->range.addr.family == IP_V6)
		subnet->prefix6 = entry->range;
	entry_reset(entry);
	return 0;
}

/* Those without IPv4 carry an empty element, or none. */
static int range(struct xml_decoder *d, const char *text)
{
	struct ec2_subnet *subnet = d->item;

	return *text ? prefix_parse(text, &subnet->prefix) : 0;
}

static int subnet_begin(struct xml_decoder *d)
{
	struct ec2_subnets *subnets = ((struct subnets_out *)d->out)->subnets;
	struct ec2_subnet *longer;

	if (subnets->count >= EC2_SUBNETS_MAX)
		return -ENOSPC;
	longer = reallocarray(subnets->subnets, subnets->count + 1, sizeof(*longer));
	if (!longer)
		return -ENOMEM;
	subnets->subnets = longer;
	d->item = &longer[subnets->count++];
	memset(d->item, 0, sizeof(struct ec2_subnet));
	entry_reset(d->scratch);
	return 0;
}

static int subnet_end(struct xml_decoder *d)
{
	const struct ec2_subnet *subnet = d->item;

	return subnet && subnet->id[0] ? 0 : -EINVAL;
}

void ec2_subnets_done(struct ec2_subnets *subnets)
{
	free(subnets->subnets);
	memset(subnets, 0, sizeof(*subnets));
}

#define SUBNET(path_, kind_, member_)                                                                                  \
	{                                                                                                              \
		.path = (path_), .kind = (kind_), .offset = offsetof(struct ec2_subnet, member_),                      \
		.size = sizeof(((struct ec2_subnet *)0)->member_)                                                      \
	}

int ec2_decode_subnets(const char *xml, size_t size, const char *cluster, struct ec2_subnets *ret, char **ret_next,
		       struct err *err)
{
	static const struct xml_field root[] = {
		{ .path = "nextToken", .kind = FIELD_STR_DUP, .offset = offsetof(struct subnets_out, next) },
		FIELD_END,
	};
	static const struct xml_field fields[] = {
		SUBNET("subnetId", FIELD_STR, id),
		SUBNET("vpcId", FIELD_STR, vpc),
		SUBNET("availabilityZone", FIELD_STR, zone),
		SUBNET("availableIpAddressCount", FIELD_UINT, free),
		FIELD_CALLS("cidrBlock", range),
		FIELD_CALLS("ipv6CidrBlockAssociationSet/item/ipv6CidrBlock", entry_range6),
		FIELD_CALLS("ipv6CidrBlockAssociationSet/item/ipv6CidrBlockState/state", entry_state6),
		FIELD_CALLS("ipv6CidrBlockAssociationSet/item", entry_range6_end),
		FIELD_CALLS("tagSet/item/key", entry_key),
		FIELD_CALLS("tagSet/item/value", entry_value),
		FIELD_CALLS("tagSet/item", entry_tag_end),
		FIELD_END,
	};
	static const struct xml_shape shape = {
		.action = "DescribeSubnets",
		.item = "subnetSet/item",
		.root_fields = root,
		.item_fields = fields,
		.begin = subnet_begin,
		.end = subnet_end,
	};
	struct subnets_out out = { .subnets = ret };
	struct entry entry = { .cluster = cluster };
	struct xml_decoder d = { .out = &out, .scratch = &entry };
	unsigned before = ret->count;

	if (xml_decode(&d, &shape, xml, size, err) < 0) {
		free(out.next);
		ret->count = before;
		return -1;
	}
	if (out.next && !*out.next) {
		free(out.next);
		out.next = NULL;
	}
	*ret_next = out.next;
	return 0;
}
