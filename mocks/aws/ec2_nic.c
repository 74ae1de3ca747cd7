/* SPDX-License-Identifier: Apache-2.0 */
/* The actions that change network interfaces, their addresses and tags. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "ec2.h"

static int internal(struct ec2_call *call)
{
	return ec2_refuse(call->err, 500, "InternalError", "An internal error has occurred");
}

/* ---- reading what is wanted ---- */

static int bad_address(struct ec2_call *call, const char *text)
{
	return ec2_refuse(call->err, 400, "InvalidParameterValue", "invalid value for parameter address: %.64s", text);
}

/* NAME.N, or NAME.N.MEMBER when @member is given */
static const char *list_item(const struct ec2_call *call, const char *name, const char *member, unsigned n)
{
	if (member)
		return query_getf(call->query, "%s.%u.%s", name, n, member);
	return query_getf(call->query, "%s.%u", name, n);
}

static int read_addrs(struct ec2_call *call, const char *name, const char *member, struct aws_units *units)
{
	const char *text;

	for (unsigned i = 1; (text = list_item(call, name, member, i)); i++) {
		if (units->addr_count == AWS_NIC_UNITS_MAX)
			return ec2_refuse(call->err, 400, "PrivateIpAddressLimitExceeded",
					  "Number of private addresses will exceed limit.");
		if (ipaddr_parse(text, &units->addrs[units->addr_count]) < 0)
			return bad_address(call, text);
		units->addr_count++;
	}
	return 0;
}

static int read_prefixes(struct ec2_call *call, const char *name, const char *member, struct aws_units *units)
{
	const char *text;

	for (unsigned i = 1; (text = list_item(call, name, member, i)); i++) {
		if (units->prefix_count == AWS_NIC_UNITS_MAX)
			return ec2_refuse(call->err, 400, "PrivateIpAddressLimitExceeded",
					  "Number of private addresses will exceed limit.");
		if (prefix_parse(text, &units->prefixes[units->prefix_count]) < 0)
			return bad_address(call, text);
		units->prefix_count++;
	}
	return 0;
}

struct want_names {
	enum ip_family family;
	const char *count, *addrs, *addrs_member, *prefix_count, *prefixes, *prefixes_member;
};

/* Of the four ways to say what is wanted one at most may be used; @ret_ways says how many were. */
static int read_want(struct ec2_call *call, const struct want_names *names, struct aws_want *want, unsigned *ret_ways)
{
	const char *ways[] = { names->count, names->addrs, names->prefix_count, names->prefixes };
	unsigned used = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		used += query_has(call->query, ways[i]);
	if (used > 1)
		return ec2_refuse(call->err, 400, "InvalidParameterCombination",
				  "The parameters %s, %s, %s and %s cannot be used together.", ways[0], ways[1],
				  ways[2], ways[3]);
	want->family = names->family;
	if (ec2_param_uint(call, names->count, INT32_MAX, &want->addr_count) < 0 ||
	    ec2_param_uint(call, names->prefix_count, INT32_MAX, &want->prefix_count) < 0 ||
	    read_addrs(call, names->addrs, names->addrs_member, &want->explicit_) < 0 ||
	    read_prefixes(call, names->prefixes, names->prefixes_member, &want->explicit_) < 0)
		return -1;
	if (want->addr_count > AWS_NIC_UNITS_MAX || want->prefix_count > AWS_NIC_UNITS_MAX)
		return ec2_refuse(call->err, 400, "PrivateIpAddressLimitExceeded",
				  "Number of private addresses will exceed limit.");
	*ret_ways = used;
	return 0;
}

static int read_groups(struct ec2_call *call, struct aws_group *groups[static AWS_NIC_GROUPS_MAX], unsigned *ret_count)
{
	unsigned count = 0;
	const char *id;

	for (unsigned i = 1; (id = query_getf(call->query, "SecurityGroupId.%u", i)); i++) {
		struct aws_group *group = aws_group_find(call->model, id);

		if (!group)
			return ec2_refuse(call->err, 400, "InvalidGroup.NotFound",
					  "The security group '%.64s' does not exist", id);
		if (count == AWS_NIC_GROUPS)
			return ec2_refuse(call->err, 400, "SecurityGroupsPerInterfaceLimitExceeded",
					  "You have exceeded the maximum number of security groups allowed per network "
					  "interface.");
		groups[count++] = group;
	}
	*ret_count = count;
	return 0;
}

/* ---- create ---- */

static const struct want_names create4 = { IP_V4,
					   "SecondaryPrivateIpAddressCount",
					   "PrivateIpAddresses",
					   "PrivateIpAddress",
					   "Ipv4PrefixCount",
					   "Ipv4Prefix",
					   "Ipv4Prefix" };
static const struct want_names create6 = { IP_V6,         "Ipv6AddressCount", "Ipv6Addresses",
					   "Ipv6Address", "Ipv6PrefixCount",  "Ipv6Prefix",
					   "Ipv6Prefix" };

/* PrivateIpAddress, or the one of PrivateIpAddresses that says Primary=true: it leaves the list of secondaries. */
static int read_primary(struct ec2_call *call, struct aws_create *want)
{
	const char *text = query_get(call->query, "PrivateIpAddress");
	struct aws_units *list = &want->v4.explicit_;

	if (text && ipaddr_parse(text, &want->primary) < 0)
		return bad_address(call, text);
	for (unsigned i = 0; i < list->addr_count; i++) {
		const char *primary = query_getf(call->query, "PrivateIpAddresses.%u.Primary", i + 1);

		if (!primary || !str_equal(primary, "true"))
			continue;
		if (want->primary.family != IP_NONE)
			return ec2_refuse(call->err, 400, "InvalidParameterCombination",
					  "Only one primary private IP address can be specified.");
		want->primary = list->addrs[i];
		list->addr_count--;
		memmove(&list->addrs[i], &list->addrs[i + 1], (list->addr_count - i) * sizeof(list->addrs[0]));
		break;
	}
	return 0;
}

static int read_tag_specification(struct ec2_call *call, json_t **ret)
{
	json_t *tags = NULL;
	const char *type;

	for (unsigned i = 1; (type = query_getf(call->query, "TagSpecification.%u.ResourceType", i)); i++) {
		char prefix[64];

		if (tags || !str_equal(type, "network-interface")) {
			json_decref(tags);
			return ec2_refuse(call->err, 400, "InvalidParameterValue",
					  "'%.64s' is not a valid taggable resource type for this operation.", type);
		}
		(void)snprintf(prefix, sizeof(prefix), "TagSpecification.%u.", i);
		if (ec2_param_tags(call, prefix, &tags) < 0)
			return -1;
	}
	*ret = tags;
	return 0;
}

/* Those that CreateNetworkInterface makes; the services of AWS have more. */
static int read_type(struct ec2_call *call, struct aws_create *want)
{
	static const char *const types[] = { "interface", "efa", "efa-only", "trunk" };

	want->type = query_get(call->query, "InterfaceType");
	for (size_t i = 0; want->type && i < ARRAY_SIZE(types); i++)
		if (str_equal(want->type, types[i]))
			return 0;
	return want->type
		       ? ec2_refuse(call->err, 400, "InvalidParameterValue", "Invalid interface type %.64s", want->type)
		       : 0;
}

static int read_create(struct ec2_call *call, struct aws_create *want)
{
	const char *subnet = query_get(call->query, "SubnetId");
	unsigned ways;

	want->subnet = aws_subnet_find(call->model, subnet ? subnet : "");
	if (!want->subnet)
		return ec2_not_found(call, "subnet", "InvalidSubnetID", "subnet", subnet ? subnet : "");
	if (read_type(call, want) < 0)
		return -1;
	if (read_want(call, &create4, &want->v4, &ways) < 0 || read_want(call, &create6, &want->v6, &ways) < 0 ||
	    read_primary(call, want) < 0 || read_groups(call, want->groups, &want->group_count) < 0)
		return -1;
	if (!want->group_count) {
		want->groups[0] = call->model->groups[0];
		want->group_count = 1;
	}
	want->description = query_get(call->query, "Description");
	if (want->description && strlen(want->description) >= AWS_TEXT_LEN)
		return ec2_refuse(call->err, 400, "InvalidParameterValue", "The description is longer than %d bytes.",
				  AWS_TEXT_LEN - 1);
	return 0;
}

static void put_created(struct ec2_call *call, const struct aws_nic *nic, const char *token)
{
	xml_open(call->xml, "networkInterface", NULL);
	ec2_put_nic(call, nic, &nic->face, false);
	xml_close(call->xml, "networkInterface");
	if (token)
		xml_text(call->xml, "clientToken", token);
}

static const struct aws_token *token_find(const struct aws_model *model, const char *token)
{
	for (unsigned i = 0; i < model->token_count; i++)
		if (str_equal(model->tokens[i].token, token))
			return &model->tokens[i];
	return NULL;
}

static int token_remember(struct ec2_call *call, const char *token, const char *request, const struct aws_nic *nic)
{
	struct aws_model *model = call->model;
	struct aws_token entry = { .token = strdup(token), .request = strdup(request) };

	if (!entry.token || !entry.request || model->token_count == AWS_TOKENS_MAX) {
		free(entry.token);
		free(entry.request);
		return internal(call);
	}
	(void)str_copy(entry.nic, sizeof(entry.nic), nic->id);
	model->tokens[model->token_count++] = entry;
	return 0;
}

/* The same question again gets the same answer, as far as the NIC is still there. */
static int replay(struct ec2_call *call, const struct aws_token *known, const char *request)
{
	struct aws_nic *nic;

	if (!str_equal(known->request, request))
		return ec2_refuse(call->err, 400, "IdempotentParameterMismatch",
				  "The specified client token was used in a prior request with different parameters.");
	nic = aws_nic_find(call->model, known->nic);
	if (!nic)
		return ec2_not_found(call, "eni", "InvalidNetworkInterfaceID", "networkInterface", known->nic);
	put_created(call, nic, known->token);
	return 0;
}

int ec2_create_nic(struct ec2_call *call)
{
	const char *token = query_get(call->query, "ClientToken");
	_cleanup_free_ char *request = query_canonical(call->query, "ClientToken");
	const struct aws_token *known = token ? token_find(call->model, token) : NULL;
	struct aws_create want = { .v4 = { .family = IP_V4 }, .v6 = { .family = IP_V6 } };
	struct aws_nic *nic = NULL;
	json_t *tags = NULL;
	int rc;

	if (!request)
		return internal(call);
	if (token && strlen(token) > 64)
		return ec2_refuse(call->err, 400, "InvalidParameterValue",
				  "The client token is longer than 64 characters");
	if (known)
		return replay(call, known, request);
	if (read_create(call, &want) < 0 || read_tag_specification(call, &tags) < 0)
		return -1;
	want.tags = tags;
	rc = aws_nic_create(call->model, &want, call->now_us, &nic, call->err);
	json_decref(tags);
	if (rc < 0 || (token && token_remember(call, token, request, nic) < 0))
		return -1;
	put_created(call, nic, token);
	return 0;
}

/* ---- attach, detach, delete, modify ---- */

int ec2_attach_nic(struct ec2_call *call)
{
	const char *id = query_get(call->query, "InstanceId");
	struct aws_instance *instance = id ? aws_instance_find(call->model, id) : NULL;
	unsigned device = 0, card = 0;
	struct aws_nic *nic;

	if (ec2_param_nic(call, &nic) < 0)
		return -1;
	if (!instance || !str_equal(instance->id, id))
		return ec2_not_found(call, "i", "InvalidInstanceID", "instance", id ? id : "");
	if (ec2_param_uint(call, "DeviceIndex", AWS_DEVICE_MAX, &device) < 0 ||
	    ec2_param_uint(call, "NetworkCardIndex", AWS_CARDS_MAX, &card) < 0 ||
	    aws_nic_attach(call->model, nic, instance, card, device, call->now_us, call->err) < 0)
		return -1;
	xml_text(call->xml, "attachmentId", nic->face.attachment);
	xml_uint(call->xml, "networkCardIndex", card);
	return 0;
}

static int attachment_not_found(struct ec2_call *call, const char *id)
{
	return ec2_refuse(call->err, 400, "InvalidAttachmentID.NotFound", "The attachment ID '%.64s' does not exist",
			  id);
}

int ec2_detach_nic(struct ec2_call *call)
{
	const char *id = query_get(call->query, "AttachmentId");
	struct aws_nic *nic = id ? aws_nic_find_attachment(call->model, id) : NULL;
	bool force = false;

	if (ec2_param_bool(call, "Force", &force) < 0)
		return -1;
	if (!nic)
		return attachment_not_found(call, id ? id : "");
	if (aws_nic_detach(call->model, nic, call->now_us, call->err) < 0)
		return -1;
	ec2_put_return(call);
	return 0;
}

int ec2_delete_nic(struct ec2_call *call)
{
	struct aws_nic *nic;

	if (ec2_param_nic(call, &nic) < 0 || aws_nic_delete(call->model, nic, call->now_us, call->err) < 0)
		return -1;
	ec2_put_return(call);
	return 0;
}

static int modify_attachment(struct ec2_call *call, const struct aws_nic *nic, struct aws_face *next)
{
	const char *id = query_get(call->query, "Attachment.AttachmentId");

	if (!id)
		return ec2_refuse(call->err, 400, "MissingParameter",
				  "The request must contain the parameter attachment.attachmentId");
	if (!nic->face.instance || !str_equal(nic->face.attachment, id))
		return attachment_not_found(call, id);
	return ec2_param_bool(call, "Attachment.DeleteOnTermination", &next->delete_on_termination);
}

/* Each is optional, and stays as it was when it is not named; the ranges are EC2's. */
static int modify_tracking(struct ec2_call *call, struct aws_tracking *tracking)
{
	const struct {
		const char *name;
		unsigned min_s, max_s, *ret;
	} rows[] = {
		{ "ConnectionTrackingSpecification.TcpEstablishedTimeout", 60, 432000, &tracking->tcp_established_s },
		{ "ConnectionTrackingSpecification.UdpStreamTimeout", 60, 180, &tracking->udp_stream_s },
		{ "ConnectionTrackingSpecification.UdpTimeout", 30, 60, &tracking->udp_s },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (ec2_param_uint(call, rows[i].name, rows[i].max_s, rows[i].ret) < 0)
			return -1;
		if (query_get(call->query, rows[i].name) && *rows[i].ret < rows[i].min_s)
			return ec2_refuse(call->err, 400, "InvalidParameterValue",
					  "Value (%u) for parameter %s is invalid.", *rows[i].ret, rows[i].name);
	}
	return 0;
}

static int modify_one(struct ec2_call *call, const struct aws_nic *nic, struct aws_face *next)
{
	const char *text = query_get(call->query, "Description.Value");

	if (query_has(call->query, "Attachment"))
		return modify_attachment(call, nic, next);
	if (query_has(call->query, "SourceDestCheck"))
		return ec2_param_bool(call, "SourceDestCheck.Value", &next->source_dest_check);
	if (query_has(call->query, "ConnectionTrackingSpecification"))
		return modify_tracking(call, &next->tracking);
	if (query_has(call->query, "SecurityGroupId"))
		return read_groups(call, next->groups, &next->group_count);
	if (text && str_copy(next->description, sizeof(next->description), text) < 0)
		return ec2_refuse(call->err, 400, "InvalidParameterValue", "The description is longer than %d bytes.",
				  AWS_TEXT_LEN - 1);
	return 0;
}

int ec2_modify_nic(struct ec2_call *call)
{
	static const char *const attributes[] = { "Attachment", "SourceDestCheck", "Description", "SecurityGroupId",
						  "ConnectionTrackingSpecification" };
	struct aws_face next;
	struct aws_nic *nic;
	unsigned used = 0;

	if (ec2_param_nic(call, &nic) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++)
		used += query_has(call->query, attributes[i]);
	if (used == 0)
		return ec2_refuse(call->err, 400, "MissingParameter",
				  "Either 'attachment', 'sourceDestCheck', 'description' or 'groupSet' should be "
				  "provided.");
	if (used > 1)
		return ec2_refuse(call->err, 400, "InvalidParameterCombination",
				  "Fields for multiple attribute types specified");
	next = nic->face;
	if (modify_one(call, nic, &next) < 0)
		return -1;
	if (aws_nic_not_ours(nic))
		return ec2_refuse(call->err, 403, "UnauthorizedOperation",
				  "You do not have permission to access the specified resource.");
	if (aws_change(call->model, nic, call->now_us) < 0)
		return internal(call);
	nic->face = next;
	ec2_put_return(call);
	return 0;
}

/* ---- assign, unassign ---- */

static const struct want_names assign4 = {
	IP_V4, "SecondaryPrivateIpAddressCount", "PrivateIpAddress", NULL, "Ipv4PrefixCount", "Ipv4Prefix", NULL
};
static const struct want_names assign6 = { IP_V6, "Ipv6AddressCount", "Ipv6Addresses",
					   NULL,  "Ipv6PrefixCount",  "Ipv6Prefix",
					   NULL };

/* @inner NULL: the values are the items themselves. */
static void put_list(struct xml *xml, const char *set, const char *inner, const struct aws_units *units, bool prefixes)
{
	unsigned count = prefixes ? units->prefix_count : units->addr_count;
	char text[PREFIX_STRLEN];

	if (!count) {
		xml_empty(xml, set);
		return;
	}
	xml_open(xml, set, NULL);
	for (unsigned i = 0; i < count; i++) {
		if (prefixes)
			(void)prefix_str(&units->prefixes[i], text);
		else
			(void)ipaddr_str(&units->addrs[i], text);
		if (!inner) {
			xml_text(xml, "item", text);
			continue;
		}
		xml_open(xml, "item", NULL);
		xml_text(xml, inner, text);
		xml_close(xml, "item");
	}
	xml_close(xml, set);
}

static int assign(struct ec2_call *call, const struct want_names *names, struct aws_nic **ret_nic,
		  struct aws_units *ret_got)
{
	struct aws_want want = { 0 };
	unsigned ways;

	if (ec2_param_nic(call, ret_nic) < 0 || read_want(call, names, &want, &ways) < 0 ||
	    ec2_param_bool(call, "AllowReassignment", &want.reassign) < 0)
		return -1;
	if (!ways)
		return ec2_refuse(call->err, 400, "MissingParameter",
				  "The request must contain one of the parameters %s, %s, %s or %s", names->count,
				  names->addrs, names->prefix_count, names->prefixes);
	if (!aws_want_count(&want))
		return ec2_refuse(call->err, 400, "InvalidParameterValue", "The number of addresses must be positive.");
	return aws_nic_assign(call->model, *ret_nic, &want, call->now_us, ret_got, call->err);
}

int ec2_assign4(struct ec2_call *call)
{
	struct aws_units got;
	struct aws_nic *nic;

	if (assign(call, &assign4, &nic, &got) < 0)
		return -1;
	xml_text(call->xml, "networkInterfaceId", nic->id);
	put_list(call->xml, "assignedPrivateIpAddressesSet", "privateIpAddress", &got, false);
	put_list(call->xml, "assignedIpv4PrefixSet", "ipv4Prefix", &got, true);
	ec2_put_return(call);
	return 0;
}

int ec2_assign6(struct ec2_call *call)
{
	struct aws_units got;
	struct aws_nic *nic;

	if (assign(call, &assign6, &nic, &got) < 0)
		return -1;
	xml_text(call->xml, "networkInterfaceId", nic->id);
	put_list(call->xml, "assignedIpv6Addresses", NULL, &got, false);
	put_list(call->xml, "assignedIpv6PrefixSet", NULL, &got, true);
	return 0;
}

static int unassign(struct ec2_call *call, enum ip_family family, const char *addrs, const char *prefixes,
		    struct aws_nic **ret_nic, struct aws_units *ret_units)
{
	struct aws_units units = { 0 };

	if (ec2_param_nic(call, ret_nic) < 0 || read_addrs(call, addrs, NULL, &units) < 0 ||
	    read_prefixes(call, prefixes, NULL, &units) < 0)
		return -1;
	if (!units.addr_count && !units.prefix_count)
		return ec2_refuse(call->err, 400, "MissingParameter",
				  "The request must contain one of the parameters %s or %s", addrs, prefixes);
	if (aws_nic_not_ours(*ret_nic))
		return ec2_refuse(call->err, 403, "UnauthorizedOperation",
				  "You do not have permission to access the specified resource.");
	*ret_units = units;
	return aws_nic_unassign(call->model, *ret_nic, family, &units, call->now_us, call->err);
}

int ec2_unassign4(struct ec2_call *call)
{
	struct aws_units units = { 0 };
	struct aws_nic *nic;

	if (unassign(call, IP_V4, "PrivateIpAddress", "Ipv4Prefix", &nic, &units) < 0)
		return -1;
	ec2_put_return(call);
	return 0;
}

int ec2_unassign6(struct ec2_call *call)
{
	struct aws_units units = { 0 };
	struct aws_nic *nic;

	if (unassign(call, IP_V6, "Ipv6Addresses", "Ipv6Prefix", &nic, &units) < 0)
		return -1;
	xml_text(call->xml, "networkInterfaceId", nic->id);
	put_list(call->xml, "unassignedIpv6Addresses", NULL, &units, false);
	put_list(call->xml, "unassignedIpv6PrefixSet", NULL, &units, true);
	return 0;
}

/* ---- tags ---- */

/* The tags of a resource of any kind. Return: 0 with *ret borrowed, and *ret_nic when it is a NIC. */
static int find_tags(struct ec2_call *call, const char *id, json_t **ret, struct aws_nic **ret_nic)
{
	struct aws_model *model = call->model;
	struct aws_nic *nic = aws_nic_find(model, id);
	struct aws_instance *instance = aws_instance_find(model, id);
	struct aws_subnet *subnet = aws_subnet_find(model, id);
	struct aws_group *group = aws_group_find(model, id);

	*ret_nic = nic;
	*ret = nic                            ? nic->face.tags
	       : instance                     ? instance->tags
	       : subnet                       ? subnet->tags
	       : group                        ? group->tags
	       : str_equal(id, model->vpc.id) ? model->vpc.tags
					      : NULL;
	if (*ret)
		return 0;
	if (str_starts(id, "eni-"))
		return ec2_not_found(call, "eni", "InvalidNetworkInterfaceID", "networkInterface", id);
	return ec2_refuse(call->err, 400, "InvalidID", "The ID '%.64s' is not valid", id);
}

/*
 * @remove: these keys, with these values where a value was given; else set them. @test: only see whether it would
 * do.
 */
static int tag_one(struct ec2_call *call, const char *id, json_t *change, bool remove, bool test)
{
	struct aws_nic *nic;
	json_t *tags, *value;
	const char *key;
	size_t size;

	if (find_tags(call, id, &tags, &nic) < 0)
		return -1;
	size = json_object_size(tags);
	json_object_foreach (change, key, value)
		size += !json_object_get(tags, key);
	if (!remove && size > AWS_TAGS_MAX)
		return ec2_refuse(call->err, 400, "TagLimitExceeded",
				  "The maximum number of Tags for a resource has been reached.");
	if (test)
		return 0;
	if (nic && aws_change(call->model, nic, call->now_us) < 0)
		return internal(call);
	if (!remove)
		return json_object_update(tags, change) < 0 ? internal(call) : 0;
	if (!json_object_size(change))
		return json_object_clear(tags) < 0 ? internal(call) : 0;
	json_object_foreach (change, key, value)
		if (!*json_string_value(value) || json_equal(json_object_get(tags, key), value))
			(void)json_object_del(tags, key);
	return 0;
}

static int tag_all(struct ec2_call *call, bool remove)
{
	json_t *change;
	const char *id;
	int rc = 0;

	if (ec2_param_tags(call, "", &change) < 0)
		return -1;
	for (int test = 1; test >= 0 && rc == 0; test--)
		for (unsigned i = 1; rc == 0 && (id = query_getf(call->query, "ResourceId.%u", i)); i++)
			rc = tag_one(call, id, change, remove, test);
	json_decref(change);
	if (rc == 0)
		ec2_put_return(call);
	return rc;
}

int ec2_create_tags(struct ec2_call *call)
{
	return tag_all(call, false);
}

int ec2_delete_tags(struct ec2_call *call)
{
	return tag_all(call, true);
}
