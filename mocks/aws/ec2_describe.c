/* SPDX-License-Identifier: Apache-2.0 */
/* The Describe actions: for each kind of thing what it is called, what filters see of it and how it is written. */
#include <stdio.h>
#include <string.h>

#include "berth/clock.h"
#include "ec2.h"

static uint64_t seq_by_index(const void *item, unsigned index)
{
	(void)item;
	return index + 1;
}

static bool offer_bool(struct ec2_match *match, bool value)
{
	ec2_offer(match, value ? "true" : "false");
	return true;
}

static bool offer(struct ec2_match *match, const char *value)
{
	ec2_offer(match, value);
	return true;
}

static int missing(struct ec2_call *call, const char *kind, const char *code, const char *what, const char *ids,
		   bool many)
{
	char full[64];

	if (!many)
		return ec2_not_found(call, kind, code, what, ids);
	(void)snprintf(full, sizeof(full), "%s.NotFound", code);
	return ec2_refuse(call->err, 400, full, "The %s IDs '%.400s' do not exist", what, ids);
}

/* ---- network interfaces ---- */

static const struct aws_face *seen(const struct ec2_call *call, const struct aws_nic *nic)
{
	return aws_view(nic, call->now_us, call->model->timings.describe_lag_ms * USEC_PER_MSEC);
}

/* What a service operates may be left out of lists, so that its device index looks free and is not. */
static bool veiled(const struct ec2_call *call, const struct aws_nic *nic)
{
	const char *all = query_get(call->query, "IncludeManagedResources");

	return nic->hidden && !(all && str_equal(all, "true"));
}

static unsigned nic_count(struct ec2_call *call)
{
	return call->model->nic_count;
}

static const void *nic_item(struct ec2_call *call, unsigned index)
{
	const struct aws_nic *nic = call->model->nics[index];

	return seen(call, nic) && !veiled(call, nic) ? nic : NULL;
}

static uint64_t nic_seq(const void *item, unsigned index)
{
	(void)index;
	return ((const struct aws_nic *)item)->seq;
}

static const char *nic_id(const void *item)
{
	return ((const struct aws_nic *)item)->id;
}

static bool nic_attachment_field(const struct aws_face *face, const char *name, struct ec2_match *match)
{
	char number[16];

	if (!str_starts(name, "attachment."))
		return false;
	name += strlen("attachment.");
	(void)snprintf(number, sizeof(number), "%u", face->device);
	const char *status = face->status == AWS_NIC_ATTACHING   ? "attaching"
			     : face->status == AWS_NIC_DETACHING ? "detaching"
								 : "attached";
	const struct {
		const char *name, *value;
	} fields[] = {
		{ "instance-id", face->instance ? face->instance->id : "" },
		{ "attachment-id", face->attachment },
		{ "device-index", number },
		{ "status", status },
		{ "delete-on-termination", face->delete_on_termination ? "true" : "false" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (str_equal(name, fields[i].name)) {
			if (face->instance)
				ec2_offer(match, fields[i].value);
			return true;
		}
	return false;
}

static bool nic_address_field(const struct aws_face *face, const char *name, struct ec2_match *match)
{
	bool v6 = str_equal(name, "ipv6-addresses.ipv6-address");
	const struct aws_units *units = v6 ? &face->v6 : &face->v4;
	char text[IPADDR_STRLEN];

	if (!v6 && !str_equal(name, "private-ip-address") && !str_equal(name, "addresses.private-ip-address"))
		return false;
	for (unsigned i = 0; i < units->addr_count; i++)
		ec2_offer(match, ipaddr_str(&units->addrs[i], text));
	return true;
}

static bool nic_field(struct ec2_call *call, const void *item, const char *name, struct ec2_match *match)
{
	const struct aws_nic *nic = item;
	const struct aws_face *face = seen(call, nic);
	char text[MACADDR_STRLEN];

	if (ec2_offer_tags(match, name, face->tags) || nic_attachment_field(face, name, match) ||
	    nic_address_field(face, name, match))
		return true;
	if (str_equal(name, "network-interface-id"))
		return offer(match, nic->id);
	if (str_equal(name, "subnet-id"))
		return offer(match, nic->subnet->id);
	if (str_equal(name, "vpc-id"))
		return offer(match, call->model->vpc.id);
	if (str_equal(name, "status"))
		return offer(match, aws_nic_status_name(face->status));
	if (str_equal(name, "availability-zone"))
		return offer(match, nic->subnet->az);
	if (str_equal(name, "availability-zone-id"))
		return offer(match, nic->subnet->az_id);
	if (str_equal(name, "description"))
		return offer(match, face->description);
	if (str_equal(name, "mac-address"))
		return offer(match, macaddr_str(&nic->mac, text));
	if (str_equal(name, "interface-type"))
		return offer(match, nic->type);
	if (str_equal(name, "requester-managed"))
		return offer_bool(match, nic->managed);
	if (str_equal(name, "operator.managed"))
		return offer_bool(match, nic->operator_[0] != '\0');
	if (str_equal(name, "operator.principal"))
		return offer(match, nic->operator_);
	if (str_equal(name, "source-dest-check"))
		return offer_bool(match, face->source_dest_check);
	if (!str_equal(name, "group-id"))
		return false;
	for (unsigned i = 0; i < face->group_count; i++)
		ec2_offer(match, face->groups[i]->id);
	return true;
}

static void nic_put(struct ec2_call *call, const void *item)
{
	const struct aws_nic *nic = item;

	ec2_put_nic(call, nic, seen(call, nic), false);
}

static int nic_missing(struct ec2_call *call, const char *ids, bool many)
{
	return missing(call, "eni", "InvalidNetworkInterfaceID", "networkInterface", ids, many);
}

int ec2_describe_nics(struct ec2_call *call)
{
	static const struct ec2_lister lister = {
		.id_param = "NetworkInterfaceId",
		.set = "networkInterfaceSet",
		.page_min = 5,
		.page_max = 1000,
		.ids_or_pages = true,
		.item = nic_item,
		.count = nic_count,
		.seq = nic_seq,
		.id = nic_id,
		.field = nic_field,
		.put = nic_put,
		.missing = nic_missing,
	};

	return ec2_list(call, &lister);
}

/* ---- instances ---- */

static unsigned instance_count(struct ec2_call *call)
{
	return call->model->instance_count;
}

static const void *instance_item(struct ec2_call *call, unsigned index)
{
	return call->model->instances[index];
}

static const char *instance_id(const void *item)
{
	return ((const struct aws_instance *)item)->id;
}

static bool instance_field(struct ec2_call *call, const void *item, const char *name, struct ec2_match *match)
{
	const struct aws_instance *instance = item;

	if (ec2_offer_tags(match, name, instance->tags))
		return true;
	if (str_equal(name, "instance-id"))
		return offer(match, instance->id);
	if (str_equal(name, "instance-type"))
		return offer(match, instance->type->name);
	if (str_equal(name, "instance-state-name"))
		return offer(match, instance->state);
	if (str_equal(name, "availability-zone"))
		return offer(match, instance->subnet->az);
	if (str_equal(name, "subnet-id"))
		return offer(match, instance->subnet->id);
	if (str_equal(name, "vpc-id"))
		return offer(match, call->model->vpc.id);
	return false;
}

static void put_primary(struct ec2_call *call, const struct aws_instance *instance)
{
	const struct aws_nic *nic = aws_nic_at(call->model, instance, 0, 0);
	char text[IPADDR_STRLEN], name[AWS_NAME_LEN];

	if (!nic)
		return;
	ec2_private_name(call->model, &nic->face.v4.addrs[0], name, sizeof(name));
	xml_text(call->xml, "privateIpAddress", ipaddr_str(&nic->face.v4.addrs[0], text));
	xml_text(call->xml, "privateDnsName", name);
	if (instance->public)
		xml_text(call->xml, "ipAddress", ipaddr_str(&instance->public_ip, text));
}

static void put_metadata_options(struct xml *xml)
{
	xml_open(xml, "metadataOptions", NULL);
	xml_text(xml, "state", "applied");
	xml_text(xml, "httpTokens", "required");
	xml_uint(xml, "httpPutResponseHopLimit", 1);
	xml_text(xml, "httpEndpoint", "enabled");
	xml_close(xml, "metadataOptions");
}

static void put_instance_nics(struct ec2_call *call, const struct aws_instance *instance)
{
	xml_open(call->xml, "networkInterfaceSet", NULL);
	for (unsigned i = 0; i < call->model->nic_count; i++) {
		const struct aws_nic *nic = call->model->nics[i];
		const struct aws_face *face = seen(call, nic);

		if (!face || face->instance != instance || veiled(call, nic))
			continue;
		xml_open(call->xml, "item", NULL);
		ec2_put_nic(call, nic, face, true);
		xml_close(call->xml, "item");
	}
	xml_close(call->xml, "networkInterfaceSet");
}

static void instance_put(struct ec2_call *call, const void *item)
{
	const struct aws_instance *instance = item;
	bool running = str_equal(instance->state, "running");
	struct xml *xml = call->xml;

	xml_textf(xml, "reservationId", "r-%s", instance->id + 2);
	xml_text(xml, "ownerId", call->model->account);
	xml_empty(xml, "groupSet");
	xml_open(xml, "instancesSet", NULL);
	xml_open(xml, "item", NULL);
	xml_text(xml, "instanceId", instance->id);
	xml_text(xml, "imageId", instance->image);
	xml_open(xml, "instanceState", NULL);
	xml_uint(xml, "code", running ? 16 : 80);
	xml_text(xml, "name", instance->state);
	xml_close(xml, "instanceState");
	put_primary(call, instance);
	xml_text(xml, "instanceType", instance->type->name);
	xml_open(xml, "placement", NULL);
	xml_text(xml, "availabilityZone", instance->subnet->az);
	xml_text(xml, "tenancy", "default");
	xml_close(xml, "placement");
	xml_text(xml, "subnetId", instance->subnet->id);
	xml_text(xml, "vpcId", call->model->vpc.id);
	xml_text(xml, "architecture", instance->type->arch);
	xml_text(xml, "hypervisor", "xen"); /* EC2 says so for Nitro too */
	ec2_put_tags(xml, instance->tags);
	put_instance_nics(call, instance);
	put_metadata_options(xml);
	xml_close(xml, "item");
	xml_close(xml, "instancesSet");
}

static int instance_missing(struct ec2_call *call, const char *ids, bool many)
{
	return missing(call, "i", "InvalidInstanceID", "instance", ids, many);
}

int ec2_describe_instances(struct ec2_call *call)
{
	static const struct ec2_lister lister = {
		.id_param = "InstanceId",
		.set = "reservationSet",
		.page_min = 5,
		.page_max = 1000,
		.ids_or_pages = true,
		.item = instance_item,
		.count = instance_count,
		.seq = seq_by_index,
		.id = instance_id,
		.field = instance_field,
		.put = instance_put,
		.missing = instance_missing,
	};

	return ec2_list(call, &lister);
}

/* ---- instance types ---- */

static unsigned type_count(struct ec2_call *call)
{
	return call->model->type_count;
}

static const void *type_item(struct ec2_call *call, unsigned index)
{
	return &call->model->types[index];
}

static const char *type_id(const void *item)
{
	return ((const struct aws_type *)item)->name;
}

static bool type_field(struct ec2_call *call, const void *item, const char *name, struct ec2_match *match)
{
	const struct aws_type *type = item;

	(void)call;
	if (str_equal(name, "instance-type"))
		return offer(match, type->name);
	if (str_equal(name, "hypervisor"))
		return offer(match, type->hypervisor);
	if (str_equal(name, "bare-metal"))
		return offer_bool(match, type->bare_metal);
	return false;
}

static void put_network_info(struct xml *xml, const struct aws_type *type)
{
	xml_open(xml, "networkInfo", NULL);
	xml_text(xml, "networkPerformance", "Up to 10 Gigabit");
	xml_uint(xml, "maximumNetworkInterfaces", type->nics * type->cards);
	xml_uint(xml, "maximumNetworkCards", type->cards);
	xml_uint(xml, "defaultNetworkCardIndex", 0);
	xml_open(xml, "networkCards", NULL);
	for (unsigned i = 0; i < type->cards; i++) {
		xml_open(xml, "item", NULL);
		xml_uint(xml, "networkCardIndex", i);
		xml_text(xml, "networkPerformance", "Up to 10 Gigabit");
		xml_uint(xml, "maximumNetworkInterfaces", type->nics);
		xml_close(xml, "item");
	}
	xml_close(xml, "networkCards");
	xml_uint(xml, "ipv4AddressesPerInterface", type->nic_units);
	xml_uint(xml, "ipv6AddressesPerInterface", type->nic_units);
	xml_bool(xml, "ipv6Supported", true);
	xml_text(xml, "enaSupport", str_equal(type->hypervisor, "xen") ? "unsupported" : "required");
	xml_bool(xml, "efaSupported", false);
	xml_close(xml, "networkInfo");
}

static void type_put(struct ec2_call *call, const void *item)
{
	const struct aws_type *type = item;
	struct xml *xml = call->xml;

	xml_text(xml, "instanceType", type->name);
	xml_bool(xml, "currentGeneration", true);
	xml_bool(xml, "bareMetal", type->bare_metal);
	if (type->hypervisor[0])
		xml_text(xml, "hypervisor", type->hypervisor);
	xml_open(xml, "processorInfo", NULL);
	xml_open(xml, "supportedArchitectures", NULL);
	xml_text(xml, "item", type->arch);
	xml_close(xml, "supportedArchitectures");
	xml_close(xml, "processorInfo");
	xml_open(xml, "vCpuInfo", NULL);
	xml_uint(xml, "defaultVCpus", type->vcpus);
	xml_close(xml, "vCpuInfo");
	put_network_info(xml, type);
}

static int type_missing(struct ec2_call *call, const char *ids, bool many)
{
	(void)many;
	return ec2_refuse(call->err, 400, "InvalidInstanceType",
			  "The following supplied instance types do not exist: [%.400s]", ids);
}

int ec2_describe_instance_types(struct ec2_call *call)
{
	static const struct ec2_lister lister = {
		.id_param = "InstanceType",
		.set = "instanceTypeSet",
		.page_min = 5,
		.page_max = 100,
		.item = type_item,
		.count = type_count,
		.seq = seq_by_index,
		.id = type_id,
		.field = type_field,
		.put = type_put,
		.missing = type_missing,
	};

	return ec2_list(call, &lister);
}

/* ---- subnets ---- */

static unsigned subnet_count(struct ec2_call *call)
{
	return call->model->subnet_count;
}

static const void *subnet_item(struct ec2_call *call, unsigned index)
{
	return call->model->subnets[index];
}

static const char *subnet_id(const void *item)
{
	return ((const struct aws_subnet *)item)->id;
}

static bool subnet_field(struct ec2_call *call, const void *item, const char *name, struct ec2_match *match)
{
	const struct aws_subnet *subnet = item;
	char text[PREFIX_STRLEN];

	if (ec2_offer_tags(match, name, subnet->tags))
		return true;
	if (str_equal(name, "subnet-id"))
		return offer(match, subnet->id);
	if (str_equal(name, "vpc-id"))
		return offer(match, call->model->vpc.id);
	if (str_equal(name, "availability-zone"))
		return offer(match, subnet->az);
	if (str_equal(name, "availability-zone-id"))
		return offer(match, subnet->az_id);
	if (str_equal(name, "cidr-block"))
		return offer(match, prefix_str(&subnet->cidr, text));
	if (str_equal(name, "state"))
		return offer(match, "available");
	if (str_equal(name, "ipv6-native"))
		return offer_bool(match, false);
	if (!str_equal(name, "ipv6-cidr-block-association.ipv6-cidr-block"))
		return false;
	if (subnet->cidr6.addr.family == IP_V6)
		ec2_offer(match, prefix_str(&subnet->cidr6, text));
	return true;
}

static void put_cidr6(struct xml *xml, const char *id, const struct prefix *cidr)
{
	char text[PREFIX_STRLEN];

	if (cidr->addr.family != IP_V6) {
		xml_empty(xml, "ipv6CidrBlockAssociationSet");
		return;
	}
	xml_open(xml, "ipv6CidrBlockAssociationSet", NULL);
	xml_open(xml, "item", NULL);
	xml_textf(xml, "associationId", "%s-cidr-assoc-6", id);
	xml_text(xml, "ipv6CidrBlock", prefix_str(cidr, text));
	xml_open(xml, "ipv6CidrBlockState", NULL);
	xml_text(xml, "state", "associated");
	xml_close(xml, "ipv6CidrBlockState");
	xml_close(xml, "item");
	xml_close(xml, "ipv6CidrBlockAssociationSet");
}

static void subnet_put(struct ec2_call *call, const void *item)
{
	const struct aws_subnet *subnet = item;
	struct xml *xml = call->xml;
	char text[PREFIX_STRLEN];

	xml_text(xml, "subnetId", subnet->id);
	xml_textf(xml, "subnetArn", "arn:aws:ec2:%s:%s:subnet/%s", call->model->region, call->model->account,
		  subnet->id);
	xml_text(xml, "state", "available");
	xml_text(xml, "vpcId", call->model->vpc.id);
	xml_text(xml, "cidrBlock", prefix_str(&subnet->cidr, text));
	xml_uint(xml, "availableIpAddressCount", subnet->pool.free_count);
	xml_text(xml, "availabilityZone", subnet->az);
	xml_text(xml, "availabilityZoneId", subnet->az_id);
	xml_text(xml, "ownerId", call->model->account);
	xml_bool(xml, "defaultForAz", false);
	xml_bool(xml, "mapPublicIpOnLaunch", false);
	xml_bool(xml, "assignIpv6AddressOnCreation", false);
	xml_bool(xml, "ipv6Native", false);
	put_cidr6(xml, subnet->id, &subnet->cidr6);
	ec2_put_tags(xml, subnet->tags);
}

static int subnet_missing(struct ec2_call *call, const char *ids, bool many)
{
	return missing(call, "subnet", "InvalidSubnetID", "subnet", ids, many);
}

int ec2_describe_subnets(struct ec2_call *call)
{
	static const struct ec2_lister lister = {
		.id_param = "SubnetId",
		.set = "subnetSet",
		.page_min = 5,
		.page_max = 1000,
		.item = subnet_item,
		.count = subnet_count,
		.seq = seq_by_index,
		.id = subnet_id,
		.field = subnet_field,
		.put = subnet_put,
		.missing = subnet_missing,
	};

	return ec2_list(call, &lister);
}

/* ---- the VPC ---- */

static unsigned vpc_count(struct ec2_call *call)
{
	(void)call;
	return 1;
}

static const void *vpc_item(struct ec2_call *call, unsigned index)
{
	(void)index;
	return &call->model->vpc;
}

static const char *vpc_id(const void *item)
{
	return ((const struct aws_vpc *)item)->id;
}

static bool vpc_field(struct ec2_call *call, const void *item, const char *name, struct ec2_match *match)
{
	const struct aws_vpc *vpc = item;
	char text[PREFIX_STRLEN];

	(void)call;
	if (ec2_offer_tags(match, name, vpc->tags))
		return true;
	if (str_equal(name, "vpc-id"))
		return offer(match, vpc->id);
	if (str_equal(name, "state"))
		return offer(match, "available");
	if (str_equal(name, "cidr"))
		return offer(match, prefix_str(&vpc->cidrs[0], text));
	return false;
}

static void vpc_put(struct ec2_call *call, const void *item)
{
	const struct aws_vpc *vpc = item;
	struct xml *xml = call->xml;
	char text[PREFIX_STRLEN];

	xml_text(xml, "vpcId", vpc->id);
	xml_text(xml, "state", "available");
	xml_text(xml, "cidrBlock", prefix_str(&vpc->cidrs[0], text));
	xml_text(xml, "ownerId", call->model->account);
	xml_bool(xml, "isDefault", false);
	xml_open(xml, "cidrBlockAssociationSet", NULL);
	for (unsigned i = 0; i < vpc->cidr_count; i++) {
		xml_open(xml, "item", NULL);
		xml_textf(xml, "associationId", "vpc-cidr-assoc-%u", i);
		xml_text(xml, "cidrBlock", prefix_str(&vpc->cidrs[i], text));
		xml_open(xml, "cidrBlockState", NULL);
		xml_text(xml, "state", "associated");
		xml_close(xml, "cidrBlockState");
		xml_close(xml, "item");
	}
	xml_close(xml, "cidrBlockAssociationSet");
	put_cidr6(xml, vpc->id, &vpc->cidr6);
	ec2_put_tags(xml, vpc->tags);
}

static int vpc_missing(struct ec2_call *call, const char *ids, bool many)
{
	return missing(call, "vpc", "InvalidVpcID", "vpc", ids, many);
}

int ec2_describe_vpcs(struct ec2_call *call)
{
	static const struct ec2_lister lister = {
		.id_param = "VpcId",
		.set = "vpcSet",
		.page_min = 5,
		.page_max = 1000,
		.item = vpc_item,
		.count = vpc_count,
		.seq = seq_by_index,
		.id = vpc_id,
		.field = vpc_field,
		.put = vpc_put,
		.missing = vpc_missing,
	};

	return ec2_list(call, &lister);
}

/* ---- security groups ---- */

static unsigned group_count(struct ec2_call *call)
{
	return call->model->group_count;
}

static const void *group_item(struct ec2_call *call, unsigned index)
{
	return call->model->groups[index];
}

static const char *group_id(const void *item)
{
	return ((const struct aws_group *)item)->id;
}

static bool group_field(struct ec2_call *call, const void *item, const char *name, struct ec2_match *match)
{
	const struct aws_group *group = item;

	(void)call;
	if (ec2_offer_tags(match, name, group->tags))
		return true;
	if (str_equal(name, "group-id"))
		return offer(match, group->id);
	if (str_equal(name, "group-name"))
		return offer(match, group->name);
	if (str_equal(name, "vpc-id"))
		return offer(match, group->vpc);
	return false;
}

static void group_put(struct ec2_call *call, const void *item)
{
	const struct aws_group *group = item;
	struct xml *xml = call->xml;

	xml_text(xml, "ownerId", call->model->account);
	xml_text(xml, "groupId", group->id);
	xml_text(xml, "groupName", group->name);
	xml_text(xml, "groupDescription", group->name);
	xml_text(xml, "vpcId", group->vpc);
	xml_empty(xml, "ipPermissions");
	xml_open(xml, "ipPermissionsEgress", NULL);
	xml_open(xml, "item", NULL);
	xml_text(xml, "ipProtocol", "-1");
	xml_empty(xml, "groups");
	xml_open(xml, "ipRanges", NULL);
	xml_open(xml, "item", NULL);
	xml_text(xml, "cidrIp", "0.0.0.0/0");
	xml_close(xml, "item");
	xml_close(xml, "ipRanges");
	xml_empty(xml, "ipv6Ranges");
	xml_empty(xml, "prefixListIds");
	xml_close(xml, "item");
	xml_close(xml, "ipPermissionsEgress");
	ec2_put_tags(xml, group->tags);
}

static int group_missing(struct ec2_call *call, const char *ids, bool many)
{
	(void)many;
	return ec2_refuse(call->err, 400, "InvalidGroup.NotFound", "The security group '%.400s' does not exist", ids);
}

int ec2_describe_groups(struct ec2_call *call)
{
	static const struct ec2_lister lister = {
		.id_param = "GroupId",
		.set = "securityGroupInfo",
		.page_min = 5,
		.page_max = 1000,
		.item = group_item,
		.count = group_count,
		.seq = seq_by_index,
		.id = group_id,
		.field = group_field,
		.put = group_put,
		.missing = group_missing,
	};

	return ec2_list(call, &lister);
}
