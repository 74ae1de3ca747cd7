/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of answers that more than one action has. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "ec2.h"

void ec2_put_return(struct ec2_call *call)
{
	xml_bool(call->xml, "return", true);
}

void ec2_put_tags(struct xml *xml, const json_t *tags)
{
	json_t *value;
	const char *key;

	if (!json_object_size(tags)) {
		xml_empty(xml, "tagSet");
		return;
	}
	xml_open(xml, "tagSet", NULL);
	/* jansson's loop wants a json_t * that it could change. */
	void *iter = json_object_iter((json_t *)(uintptr_t)tags);

	for (; iter; iter = json_object_iter_next((json_t *)(uintptr_t)tags, iter)) {
		key = json_object_iter_key(iter);
		value = json_object_iter_value(iter);
		xml_open(xml, "item", NULL);
		xml_text(xml, "key", key);
		xml_text(xml, "value", json_string_value(value));
		xml_close(xml, "item");
	}
	xml_close(xml, "tagSet");
}

void ec2_private_name(const struct aws_model *model, const struct ipaddr *addr, char *ret, size_t size)
{
	const char *domain = str_equal(model->region, "us-east-1") ? "ec2" : model->region;

	(void)snprintf(ret, size, "ip-%u-%u-%u-%u.%s%s.internal", addr->bytes[0], addr->bytes[1], addr->bytes[2],
		       addr->bytes[3], domain, str_equal(domain, "ec2") ? "" : ".compute");
}

static void put_groups(struct xml *xml, const struct aws_face *face)
{
	if (!face->group_count) {
		xml_empty(xml, "groupSet");
		return;
	}
	xml_open(xml, "groupSet", NULL);
	for (unsigned i = 0; i < face->group_count; i++) {
		xml_open(xml, "item", NULL);
		xml_text(xml, "groupId", face->groups[i]->id);
		xml_text(xml, "groupName", face->groups[i]->name);
		xml_close(xml, "item");
	}
	xml_close(xml, "groupSet");
}

static void put_attachment(struct ec2_call *call, const struct aws_nic *nic, const struct aws_face *face,
			   bool in_instance)
{
	const char *status = face->status == AWS_NIC_ATTACHING   ? "attaching"
			     : face->status == AWS_NIC_DETACHING ? "detaching"
								 : "attached";

	xml_open(call->xml, "attachment", NULL);
	xml_text(call->xml, "attachmentId", face->attachment);
	if (!in_instance) {
		xml_text(call->xml, "instanceId", face->instance->id);
		xml_text(call->xml, "instanceOwnerId", nic->managed ? "amazon-aws" : call->model->account);
	}
	xml_uint(call->xml, "deviceIndex", face->device);
	xml_uint(call->xml, "networkCardIndex", face->card);
	xml_text(call->xml, "status", status);
	xml_time(call->xml, "attachTime", face->attach_wall_us);
	xml_bool(call->xml, "deleteOnTermination", face->delete_on_termination);
	xml_close(call->xml, "attachment");
}

static void put_association(struct ec2_call *call, const struct aws_face *face)
{
	char text[IPADDR_STRLEN];

	if (!face->instance || face->device != 0 || !face->instance->public)
		return;
	(void)ipaddr_str(&face->instance->public_ip, text);
	xml_open(call->xml, "association", NULL);
	xml_text(call->xml, "publicIp", text);
	xml_text(call->xml, "publicDnsName", "");
	xml_text(call->xml, "ipOwnerId", "amazon");
	xml_close(call->xml, "association");
}

static void put_addresses(struct ec2_call *call, const struct aws_face *face)
{
	char text[IPADDR_STRLEN], name[AWS_NAME_LEN];

	xml_open(call->xml, "privateIpAddressesSet", NULL);
	for (unsigned i = 0; i < face->v4.addr_count; i++) {
		ec2_private_name(call->model, &face->v4.addrs[i], name, sizeof(name));
		xml_open(call->xml, "item", NULL);
		xml_text(call->xml, "privateIpAddress", ipaddr_str(&face->v4.addrs[i], text));
		xml_text(call->xml, "privateDnsName", name);
		xml_bool(call->xml, "primary", i == 0);
		if (i == 0)
			put_association(call, face);
		xml_close(call->xml, "item");
	}
	xml_close(call->xml, "privateIpAddressesSet");
}

static void put_prefixes(struct xml *xml, const struct aws_units *units, const char *set, const char *name)
{
	char text[PREFIX_STRLEN];

	if (!units->prefix_count)
		return;
	xml_open(xml, set, NULL);
	for (unsigned i = 0; i < units->prefix_count; i++) {
		xml_open(xml, "item", NULL);
		xml_text(xml, name, prefix_str(&units->prefixes[i], text));
		xml_close(xml, "item");
	}
	xml_close(xml, set);
}

static void put_addresses6(struct xml *xml, const struct aws_units *units)
{
	char text[IPADDR_STRLEN];

	if (!units->addr_count) {
		xml_empty(xml, "ipv6AddressesSet");
		return;
	}
	xml_open(xml, "ipv6AddressesSet", NULL);
	for (unsigned i = 0; i < units->addr_count; i++) {
		xml_open(xml, "item", NULL);
		xml_text(xml, "ipv6Address", ipaddr_str(&units->addrs[i], text));
		xml_bool(xml, "isPrimaryIpv6", false);
		xml_close(xml, "item");
	}
	xml_close(xml, "ipv6AddressesSet");
}

static void put_tracking(struct xml *xml, const struct aws_tracking *tracking)
{
	const struct {
		const char *name;
		unsigned s;
	} rows[] = { { "tcpEstablishedTimeout", tracking->tcp_established_s },
		     { "udpStreamTimeout", tracking->udp_stream_s },
		     { "udpTimeout", tracking->udp_s } };

	if (!tracking->tcp_established_s && !tracking->udp_s && !tracking->udp_stream_s)
		return;
	xml_open(xml, "connectionTrackingConfiguration", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].s)
			xml_uint(xml, rows[i].name, rows[i].s);
	xml_close(xml, "connectionTrackingConfiguration");
}

void ec2_put_nic(struct ec2_call *call, const struct aws_nic *nic, const struct aws_face *face, bool in_instance)
{
	struct xml *xml = call->xml;
	char text[IPADDR_STRLEN], name[AWS_NAME_LEN];

	ec2_private_name(call->model, &face->v4.addrs[0], name, sizeof(name));
	xml_text(xml, "networkInterfaceId", nic->id);
	xml_text(xml, "subnetId", nic->subnet->id);
	xml_text(xml, "vpcId", call->model->vpc.id);
	if (!in_instance) {
		xml_text(xml, "availabilityZone", nic->subnet->az);
		xml_text(xml, "availabilityZoneId", nic->subnet->az_id);
		xml_text(xml, "requesterId", nic->managed ? "amazon-aws" : "AIDAMOCK");
		xml_bool(xml, "requesterManaged", nic->managed);
	}
	xml_text(xml, "description", face->description);
	xml_text(xml, "ownerId", call->model->account);
	xml_text(xml, "status", aws_nic_status_name(face->status));
	xml_text(xml, "macAddress", macaddr_str(&nic->mac, text));
	xml_text(xml, "privateIpAddress", ipaddr_str(&face->v4.addrs[0], text));
	xml_text(xml, "privateDnsName", name);
	xml_bool(xml, "sourceDestCheck", face->source_dest_check);
	xml_text(xml, "interfaceType", nic->type);
	put_groups(xml, face);
	if (face->instance)
		put_attachment(call, nic, face, in_instance);
	put_association(call, face);
	if (!in_instance)
		ec2_put_tags(xml, face->tags);
	put_addresses(call, face);
	put_prefixes(xml, &face->v4, "ipv4PrefixSet", "ipv4Prefix");
	put_addresses6(xml, &face->v6);
	put_prefixes(xml, &face->v6, "ipv6PrefixSet", "ipv6Prefix");
	put_tracking(xml, &face->tracking);
	xml_open(xml, "operator", NULL);
	xml_bool(xml, "managed", nic->operator_[0] != '\0');
	if (nic->operator_[0]) {
		xml_text(xml, "principal", nic->operator_);
		xml_bool(xml, "hiddenByDefault", nic->hidden);
	}
	xml_close(xml, "operator");
}
