/* SPDX-License-Identifier: Apache-2.0 */
#include "codec.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "berth/err.h"
#include "berth/str.h"
#include "creds.h"
#include "xml.h"

#define DOMAIN "ec2"

/* ---- network interfaces ---- */

#define NIC(path_, kind_, member_)                                                                                     \
	{                                                                                                              \
		.path = (path_), .kind = (kind_), .offset = offsetof(struct ec2_nic, member_),                         \
		.size = sizeof(((struct ec2_nic *)0)->member_)                                                         \
	}
/* Members of the list entry that is being read. */
struct entry {
	struct prefix addr;
	bool has_addr, primary;
	char key[EC2_TEXT_SIZE], value[EC2_TEXT_SIZE];
};

static int entry_addr(struct xml_decoder *d, const char *text)
{
	struct entry *entry = d->scratch;

	entry->has_addr = true;
	return prefix_parse(text, &entry->addr);
}

static int entry_primary(struct xml_decoder *d, const char *text)
{
	struct entry *entry = d->scratch;

	return str_bool(text, &entry->primary);
}

static void entry_reset(struct xml_decoder *d)
{
	struct entry *entry = d->scratch;

	entry->has_addr = entry->primary = false;
	entry->key[0] = entry->value[0] = '\0';
}

static int entry_end(struct xml_decoder *d, enum ip_family family)
{
	const struct entry *entry = d->scratch;
	struct ec2_nic *n = d->item;
	int r = 0;

	if (!entry->has_addr || entry->addr.addr.family != family)
		r = -EINVAL;
	else if (!entry->primary)
		r = cloud_nic_add_block(&n->nic, &entry->addr);
	entry_reset(d);
	return r;
}

static int entry_addr_end(struct xml_decoder *d, _unused_ const char *text)
{
	return entry_end(d, IP_V4);
}

/* The one that EC2 calls primary is the interface's own. */
static int entry_addr6_end(struct xml_decoder *d, _unused_ const char *text)
{
	const struct entry *entry = d->scratch;
	struct ec2_nic *n = d->item;

	if (entry->has_addr && entry->primary)
		n->nic.primary_addr6 = entry->addr.addr;
	return entry_end(d, IP_V6);
}

static int entry_prefix_end(struct xml_decoder *d, _unused_ const char *text)
{
	struct entry *entry = d->scratch;

	entry->primary = false;
	return entry_end(d, IP_V4);
}

static int entry_prefix6_end(struct xml_decoder *d, _unused_ const char *text)
{
	struct entry *entry = d->scratch;

	entry->primary = false;
	return entry_end(d, IP_V6);
}

static int entry_key(struct xml_decoder *d, const char *text)
{
	struct entry *entry = d->scratch;

	return str_copy(entry->key, sizeof(entry->key), text) < 0 ? -EINVAL : 0;
}

/* Values of other people's tags may be long in bytes; we only need those of ours, which are not. */
static int entry_value(struct xml_decoder *d, const char *text)
{
	struct entry *entry = d->scratch;

	(void)str_copy(entry->value, sizeof(entry->value), text);
	return 0;
}

/* Whatever does not say no: who tagged it so wanted something to be left alone. */
static bool hands_off(const char *text)
{
	bool value;

	return str_bool(text, &value) < 0 || value;
}

static int entry_tag_end(struct xml_decoder *d, _unused_ const char *text)
{
	const struct entry *entry = d->scratch;
	struct ec2_nic *n = d->item;

	if (str_equal(entry->key, EC2_TAG_OWNER))
		(void)str_copy(n->owner, sizeof(n->owner), entry->value);
	else if (str_equal(entry->key, EC2_TAG_TOKEN))
		(void)str_copy(n->token, sizeof(n->token), entry->value);
	else if (str_equal(entry->key, "node.berth.io/no_manage") ||
		 str_equal(entry->key, "node.k8s.amazonaws.com/no_manage"))
		n->no_manage = hands_off(entry->value);
	else if (str_equal(entry->key, EC2_TAG_CREATED) && aws_time_parse(entry->value, &n->created_us) < 0)
		n->created_us = 0;
	entry_reset(d);
	return 0;
}

static int group_id(struct xml_decoder *d, const char *text)
{
	struct ec2_nic *n = d->item;

	if (n->group_count >= EC2_GROUPS_MAX)
		return -ENOSPC;
	return str_copy(n->groups[n->group_count++], EC2_ID_SIZE, text) < 0 ? -EINVAL : 0;
}

static int description(struct xml_decoder *d, const char *text)
{
	struct ec2_nic *n = d->item;

	/* For people only: cutting it is fine. */
	(void)str_copy(n->description, sizeof(n->description), text);
	return 0;
}

/* IPv6-only interfaces may carry an empty element. */
static int primary_addr(struct xml_decoder *d, const char *text)
{
	struct ec2_nic *n = d->item;

	return *text ? ipaddr_parse(text, &n->nic.primary_addr) : 0;
}

static const struct xml_field nic_fields[] = {
	NIC("networkInterfaceId", FIELD_STR, nic.id),
	NIC("macAddress", FIELD_MAC, nic.mac),
	NIC("vpcId", FIELD_STR, vpc),
	NIC("subnetId", FIELD_STR, subnet),
	NIC("interfaceType", FIELD_STR, type),
	NIC("status", FIELD_STR, status),
	NIC("requesterManaged", FIELD_BOOL, requester_managed),
	NIC("operator/managed", FIELD_BOOL, operator_managed),
	NIC("operator/hiddenByDefault", FIELD_BOOL, operator_hidden),
	NIC("connectionTrackingConfiguration/tcpEstablishedTimeout", FIELD_UINT, tracking.tcp_established_s),
	NIC("connectionTrackingConfiguration/udpStreamTimeout", FIELD_UINT, tracking.udp_stream_s),
	NIC("connectionTrackingConfiguration/udpTimeout", FIELD_UINT, tracking.udp_s),
	NIC("attachment/attachmentId", FIELD_STR, nic.handle),
	NIC("attachment/instanceId", FIELD_STR, instance),
	NIC("attachment/status", FIELD_STR, attachment_status),
	NIC("attachment/deviceIndex", FIELD_UINT, nic.slot),
	NIC("attachment/networkCardIndex", FIELD_UINT, card),
	NIC("attachment/deleteOnTermination", FIELD_BOOL, delete_on_termination),
	FIELD_CALLS("description", description),
	FIELD_CALLS("privateIpAddress", primary_addr),
	FIELD_CALLS("groupSet/item/groupId", group_id),
	FIELD_CALLS("privateIpAddressesSet/item/privateIpAddress", entry_addr),
	FIELD_CALLS("privateIpAddressesSet/item/primary", entry_primary),
	FIELD_CALLS("privateIpAddressesSet/item", entry_addr_end),
	FIELD_CALLS("ipv4PrefixSet/item/ipv4Prefix", entry_addr),
	FIELD_CALLS("ipv4PrefixSet/item", entry_prefix_end),
	FIELD_CALLS("ipv6AddressesSet/item/ipv6Address", entry_addr),
	FIELD_CALLS("ipv6AddressesSet/item/isPrimaryIpv6", entry_primary),
	FIELD_CALLS("ipv6AddressesSet/item", entry_addr6_end),
	FIELD_CALLS("ipv6PrefixSet/item/ipv6Prefix", entry_addr),
	FIELD_CALLS("ipv6PrefixSet/item", entry_prefix6_end),
	FIELD_CALLS("tagSet/item/key", entry_key),
	FIELD_CALLS("tagSet/item/value", entry_value),
	FIELD_CALLS("tagSet/item", entry_tag_end),
	FIELD_END,
};

void ec2_nic_done(struct ec2_nic *nic)
{
	cloud_nic_done(&nic->nic);
	memset(nic, 0, sizeof(*nic));
}

void ec2_nics_done(struct ec2_nics *nics)
{
	for (unsigned i = 0; i < nics->count; i++)
		ec2_nic_done(&nics->nics[i]);
	free(nics->nics);
	memset(nics, 0, sizeof(*nics));
}

struct nics_out {
	struct ec2_nics *nics;
	char *next; /* owned */
};

static int nics_begin(struct xml_decoder *d)
{
	struct ec2_nics *nics = ((struct nics_out *)d->out)->nics;
	struct ec2_nic *longer;

	if (nics->count >= EC2_NICS_MAX)
		return -ENOSPC;
	longer = reallocarray(nics->nics, nics->count + 1, sizeof(*longer));
	if (!longer)
		return -ENOMEM;
	nics->nics = longer;
	d->item = &longer[nics->count++];
	memset(d->item, 0, sizeof(struct ec2_nic));
	entry_reset(d);
	return 0;
}

static int nic_complete(struct xml_decoder *d)
{
	const struct ec2_nic *n = d->item;

	return n && n->nic.id[0] ? 0 : -EINVAL;
}

static const struct xml_field nics_root[] = {
	{ .path = "nextToken", .kind = FIELD_STR_DUP, .offset = offsetof(struct nics_out, next) },
	FIELD_END,
};

static const struct xml_shape nics_shape = {
	.action = "DescribeNetworkInterfaces",
	.item = "networkInterfaceSet/item",
	.root_fields = nics_root,
	.item_fields = nic_fields,
	.begin = nics_begin,
	.end = nic_complete,
};

int ec2_decode_nics(const char *xml, size_t size, struct ec2_nics *ret, char **ret_next, struct err *err)
{
	struct nics_out out = { .nics = ret };
	struct entry entry = { 0 };
	struct xml_decoder d = { .out = &out, .scratch = &entry };
	unsigned before = ret->count;

	if (xml_decode(&d, &nics_shape, xml, size, err) < 0) {
		free(out.next);
		while (ret->count > before)
			ec2_nic_done(&ret->nics[--ret->count]);
		return -1;
	}
	if (out.next && !*out.next) {
		free(out.next);
		out.next = NULL;
	}
	*ret_next = out.next;
	return 0;
}

static int create_begin(struct xml_decoder *d)
{
	/* A second one would be appended to the first. */
	if (((struct ec2_nic *)d->out)->nic.id[0])
		return -EINVAL;
	d->item = d->out;
	return 0;
}

static const struct xml_shape create_shape = {
	.action = "CreateNetworkInterface",
	.item = "networkInterface",
	.item_fields = nic_fields,
	.begin = create_begin,
	.end = nic_complete,
};

int ec2_decode_create(const char *xml, size_t size, struct ec2_nic *ret, struct err *err)
{
	struct ec2_nic nic = { 0 };
	struct entry entry = { 0 };
	struct xml_decoder d = { .out = &nic, .scratch = &entry };

	if (xml_decode(&d, &create_shape, xml, size, err) == 0 && nic.nic.id[0]) {
		*ret = nic;
		return 0;
	}
	ec2_nic_done(&nic);
	return d.failed ? -1 : err_set(err, ERR_PROTOCOL, DOMAIN, "CreateNetworkInterface answer: no interface");
}

/* ---- the small answers ---------------------------------------------------------------------------------------------
 */

int ec2_decode_attach(const char *xml, size_t size, char ret[static EC2_ID_SIZE], struct err *err)
{
	static const struct xml_field fields[] = {
		{ .path = "attachmentId", .kind = FIELD_STR, .offset = 0, .size = EC2_ID_SIZE },
		FIELD_END,
	};
	static const struct xml_shape shape = { .action = "AttachNetworkInterface", .item = "", .root_fields = fields };
	char id[EC2_ID_SIZE] = "";
	struct xml_decoder d = { .out = id };

	if (xml_decode(&d, &shape, xml, size, err) < 0)
		return -1;
	if (!id[0])
		return err_set(err, ERR_PROTOCOL, DOMAIN, "AttachNetworkInterface answer: no attachment");
	memcpy(ret, id, sizeof(id));
	return 0;
}

static int assigned(struct xml_decoder *d, const char *text)
{
	struct prefix prefix;

	if (prefix_parse(text, &prefix) < 0)
		return -EINVAL;
	return cloud_nic_add_block(d->out, &prefix);
}

int ec2_decode_assign(const char *xml, size_t size, enum ip_family family, struct cloud_nic *ret, struct err *err)
{
	static const struct xml_field fields[] = {
		{ .path = "networkInterfaceId",
		  .kind = FIELD_STR,
		  .offset = offsetof(struct cloud_nic, id),
		  .size = EC2_ID_SIZE },
		FIELD_CALLS("assignedPrivateIpAddressesSet/item/privateIpAddress", assigned),
		FIELD_CALLS("assignedIpv4PrefixSet/item/ipv4Prefix", assigned),
		FIELD_CALLS("assignedIpv6Addresses/item", assigned),
		FIELD_CALLS("assignedIpv6PrefixSet/item", assigned),
		FIELD_END,
	};
	static const struct xml_shape shapes[IP_FAMILIES] = {
		{ .action = "AssignPrivateIpAddresses", .item = "", .root_fields = fields },
		{ .action = "AssignIpv6Addresses", .item = "", .root_fields = fields },
	};
	struct cloud_nic nic = { 0 };
	struct xml_decoder d = { .out = &nic };

	if (xml_decode(&d, &shapes[ip_index(family)], xml, size, err) < 0) {
		cloud_nic_done(&nic);
		return -1;
	}
	*ret = nic;
	return 0;
}

struct type_out {
	const char *name;
	struct ec2_type item;
	struct ec2_type wanted; /* zero until it was found */
};

/* The network card that is being read. */
struct card {
	uint64_t index, nics;
};

static int type_begin(struct xml_decoder *d)
{
	d->item = &((struct type_out *)d->out)->item;
	memset(d->item, 0, sizeof(struct ec2_type));
	return 0;
}

static int card_index(struct xml_decoder *d, const char *text)
{
	struct card *card = d->scratch;

	return str_u64(text, 0, UINT_MAX, &card->index);
}

static int card_nics(struct xml_decoder *d, const char *text)
{
	struct card *card = d->scratch;

	return str_u64(text, 0, UINT_MAX, &card->nics);
}

static int card_end(struct xml_decoder *d, _unused_ const char *text)
{
	struct ec2_type *type = d->item;
	struct card *card = d->scratch;

	if (card->index == 0)
		type->nics_card0 = card->nics;
	*card = (struct card){ 0 };
	return 0;
}

static int hypervisor(struct xml_decoder *d, const char *text)
{
	struct ec2_type *type = d->item;

	type->nitro = type->nitro || str_equal(text, "nitro");
	return 0;
}

/* Bare metal has no hypervisor, and takes prefixes too. */
static int bare_metal(struct xml_decoder *d, const char *text)
{
	struct ec2_type *type = d->item;

	type->nitro = type->nitro || str_equal(text, "true");
	return 0;
}

static int type_end(struct xml_decoder *d)
{
	struct type_out *out = d->out;

	if (str_equal(out->item.name, out->name))
		out->wanted = out->item;
	return 0;
}

#define TYPE(path_, kind_, member_)                                                                                    \
	{                                                                                                              \
		.path = (path_), .kind = (kind_), .offset = offsetof(struct ec2_type, member_),                        \
		.size = sizeof(((struct ec2_type *)0)->member_)                                                        \
	}

int ec2_decode_type(const char *xml, size_t size, const char *name, struct ec2_type *ret, struct err *err)
{
	static const struct xml_field fields[] = {
		TYPE("instanceType", FIELD_STR, name),
		TYPE("networkInfo/maximumNetworkInterfaces", FIELD_UINT, nics_total),
		TYPE("networkInfo/ipv4AddressesPerInterface", FIELD_UINT, ipv4_per_nic),
		TYPE("networkInfo/ipv6AddressesPerInterface", FIELD_UINT, ipv6_per_nic),
		TYPE("networkInfo/maximumNetworkCards", FIELD_UINT, cards),
		FIELD_CALLS("hypervisor", hypervisor),
		FIELD_CALLS("bareMetal", bare_metal),
		FIELD_CALLS("networkInfo/networkCards/item/networkCardIndex", card_index),
		FIELD_CALLS("networkInfo/networkCards/item/maximumNetworkInterfaces", card_nics),
		FIELD_CALLS("networkInfo/networkCards/item", card_end),
		FIELD_END,
	};
	static const struct xml_shape shape = {
		.action = "DescribeInstanceTypes",
		.item = "instanceTypeSet/item",
		.item_fields = fields,
		.begin = type_begin,
		.end = type_end,
	};
	struct type_out out = { .name = name };
	struct card card = { 0 };
	struct xml_decoder d = { .out = &out, .scratch = &card };

	if (xml_decode(&d, &shape, xml, size, err) < 0)
		return -1;
	if (out.wanted.ipv4_per_nic == 0 || (out.wanted.nics_total == 0 && out.wanted.nics_card0 == 0))
		return err_set(err, ERR_PROTOCOL, DOMAIN, "DescribeInstanceTypes answer: no limits of %s", name);
	*ret = out.wanted;
	return 0;
}

int ec2_decode_ack(const char *xml, size_t size, const char *action, struct err *err)
{
	static const struct xml_field fields[] = {
		{ .path = "return", .kind = FIELD_BOOL, .offset = 0, .size = sizeof(bool) },
		FIELD_END,
	};
	const struct xml_shape shape = { .action = action, .item = "", .root_fields = fields };
	bool done = true;
	struct xml_decoder d = { .out = &done };

	if (xml_decode(&d, &shape, xml, size, err) < 0)
		return -1;
	return done ? 0 : err_set(err, ERR_PROTOCOL, DOMAIN, "%s answer: not done", action);
}

static int expiration(struct xml_decoder *d, const char *text)
{
	return aws_time_parse(text, &((struct aws_creds *)d->out)->expires_us);
}

#define STS_CREDS "AssumeRoleWithWebIdentityResult/Credentials/"

int sts_decode_creds(const char *xml, size_t size, struct aws_creds *ret, struct err *err)
{
	static const struct xml_field fields[] = {
		{ .path = STS_CREDS "AccessKeyId",
		  .kind = FIELD_SECRET,
		  .offset = offsetof(struct aws_creds, access_key) },
		{ .path = STS_CREDS "SecretAccessKey",
		  .kind = FIELD_SECRET,
		  .offset = offsetof(struct aws_creds, secret_key) },
		{ .path = STS_CREDS "SessionToken", .kind = FIELD_SECRET, .offset = offsetof(struct aws_creds, token) },
		FIELD_CALLS(STS_CREDS "Expiration", expiration),
		FIELD_END,
	};
	static const struct xml_shape shape = { .action = "AssumeRoleWithWebIdentity",
						.item = "",
						.root_fields = fields };
	struct aws_creds creds = { 0 };
	struct xml_decoder d = { .out = &creds, .secret = true };

	if (xml_decode(&d, &shape, xml, size, err) == 0 && creds.access_key.size > 0 && creds.secret_key.size > 0 &&
	    creds.token.size > 0 && creds.expires_us > 0) {
		*ret = creds;
		return 0;
	}
	aws_creds_done(&creds);
	return d.failed ? -1 : err_set(err, ERR_PROTOCOL, DOMAIN, "%s answer: no credentials", shape.action);
}

/* The first one counts. */
static int error_code(struct xml_decoder *d, const char *text)
{
	struct ec2_error *out = d->out;

	if (!out->code[0])
		(void)str_copy(out->code, sizeof(out->code), text);
	return 0;
}

static int error_message(struct xml_decoder *d, const char *text)
{
	struct ec2_error *out = d->out;

	if (!out->message[0])
		(void)str_copy(out->message, sizeof(out->message), text);
	return 0;
}

int ec2_decode_error(const char *xml, size_t size, struct ec2_error *ret)
{
	static const struct xml_field fields[] = {
		FIELD_CALLS("Errors/Error/Code", error_code),
		FIELD_CALLS("Errors/Error/Message", error_message),
		FIELD_CALLS("Error/Code", error_code),
		FIELD_CALLS("Error/Message", error_message),
		FIELD_END,
	};
	static const struct xml_shape shape = { .action = "", .item = "", .root_fields = fields };
	struct ec2_error out = { 0 };
	struct xml_decoder d = { .out = &out };
	struct err err;

	if (xml_decode(&d, &shape, xml, size, &err) < 0 || !out.code[0])
		return -1;
	*ret = out;
	return 0;
}
