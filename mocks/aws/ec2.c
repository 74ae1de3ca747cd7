/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: one call
 *
 * In the order in which EC2 says no: signature, action and version, bucket, unknown and missing parameters, dry run,
 * then the action's own checks. Nothing has changed unless the action itself succeeds.
 */
#include "ec2.h"

#include <ctype.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../httpd.h"
#include "sigv4.h"

#define LISTING "Filter.N.Name Filter.N.Value.N MaxResults NextToken "
#define COMMON  "Action Version "

static const struct ec2_action actions[] = {
	{ "DescribeInstances", ec2_describe_instances, LISTING "InstanceId.N IncludeManagedResources", "", EC2_READ,
	  false },
	{ "DescribeInstanceTypes", ec2_describe_instance_types, LISTING "InstanceType.N IncludeUnsupportedInRegion", "",
	  EC2_READ, false },
	{ "DescribeNetworkInterfaces", ec2_describe_nics, LISTING "NetworkInterfaceId.N IncludeManagedResources", "",
	  EC2_READ, false },
	{ "DescribeSubnets", ec2_describe_subnets, LISTING "SubnetId.N", "", EC2_READ, false },
	{ "DescribeVpcs", ec2_describe_vpcs, LISTING "VpcId.N", "", EC2_READ, false },
	{ "DescribeSecurityGroups", ec2_describe_groups, LISTING "GroupId.N", "", EC2_READ, false },
	{ "CreateNetworkInterface", ec2_create_nic,
	  "SubnetId Description SecurityGroupId.N PrivateIpAddress PrivateIpAddresses.N.PrivateIpAddress "
	  "PrivateIpAddresses.N.Primary SecondaryPrivateIpAddressCount Ipv4PrefixCount Ipv4Prefix.N.Ipv4Prefix "
	  "Ipv6AddressCount Ipv6Addresses.N.Ipv6Address Ipv6PrefixCount Ipv6Prefix.N.Ipv6Prefix InterfaceType "
	  "TagSpecification.N.ResourceType TagSpecification.N.Tag.N.Key TagSpecification.N.Tag.N.Value ClientToken",
	  "SubnetId", EC2_MUTATE, false },
	{ "AttachNetworkInterface", ec2_attach_nic, "NetworkInterfaceId InstanceId DeviceIndex NetworkCardIndex",
	  "NetworkInterfaceId InstanceId DeviceIndex", EC2_MUTATE, false },
	{ "DetachNetworkInterface", ec2_detach_nic, "AttachmentId Force", "AttachmentId", EC2_MUTATE, false },
	{ "DeleteNetworkInterface", ec2_delete_nic, "NetworkInterfaceId", "NetworkInterfaceId", EC2_MUTATE, false },
	{ "ModifyNetworkInterfaceAttribute", ec2_modify_nic,
	  "NetworkInterfaceId Attachment.AttachmentId Attachment.DeleteOnTermination SourceDestCheck.Value "
	  "Description.Value SecurityGroupId.N ConnectionTrackingSpecification.TcpEstablishedTimeout "
	  "ConnectionTrackingSpecification.UdpStreamTimeout ConnectionTrackingSpecification.UdpTimeout",
	  "NetworkInterfaceId", EC2_MUTATE, false },
	{ "AssignPrivateIpAddresses", ec2_assign4,
	  "NetworkInterfaceId SecondaryPrivateIpAddressCount PrivateIpAddress.N Ipv4PrefixCount Ipv4Prefix.N "
	  "AllowReassignment",
	  "NetworkInterfaceId", EC2_MUTATE, true },
	{ "UnassignPrivateIpAddresses", ec2_unassign4, "NetworkInterfaceId PrivateIpAddress.N Ipv4Prefix.N",
	  "NetworkInterfaceId", EC2_MUTATE, true },
	{ "AssignIpv6Addresses", ec2_assign6,
	  "NetworkInterfaceId Ipv6AddressCount Ipv6Addresses.N Ipv6PrefixCount Ipv6Prefix.N", "NetworkInterfaceId",
	  EC2_MUTATE, true },
	{ "UnassignIpv6Addresses", ec2_unassign6, "NetworkInterfaceId Ipv6Addresses.N Ipv6Prefix.N",
	  "NetworkInterfaceId", EC2_MUTATE, true },
	{ "CreateSubnetCidrReservation", ec2_create_reservation, "SubnetId Cidr ReservationType Description",
	  "SubnetId Cidr ReservationType", EC2_MUTATE, false },
	{ "GetSubnetCidrReservations", ec2_get_reservations, LISTING "SubnetId", "SubnetId", EC2_READ, false },
	{ "DeleteSubnetCidrReservation", ec2_delete_reservation, "SubnetCidrReservationId", "SubnetCidrReservationId",
	  EC2_MUTATE, false },
	{ "CreateTags", ec2_create_tags, "ResourceId.N Tag.N.Key Tag.N.Value", "ResourceId Tag", EC2_TAG, false },
	{ "DeleteTags", ec2_delete_tags, "ResourceId.N Tag.N.Key Tag.N.Value", "ResourceId", EC2_TAG, false },
};

const struct ec2_action *ec2_action_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		if (str_equal(actions[i].name, name))
			return &actions[i];
	return NULL;
}

/* ---- who is it ---- */

static int auth_failure(struct ec2_err *err)
{
	return ec2_refuse(err, 401, "AuthFailure", "AWS was not able to validate the provided access credentials");
}

static int check_time(const struct aws_model *model, const struct sigv4 *sig, const struct aws_creds *creds,
		      int64_t wall_us, struct ec2_err *err)
{
	int64_t skew_us = wall_us - sig->time_us;

	if (creds->expiry_us && creds->expiry_us <= wall_us)
		return ec2_refuse(err, 400, "RequestExpired", "Request has expired.");
	if (skew_us <= EC2_SKEW_US && skew_us >= -EC2_SKEW_US)
		return 0;
	if (model->skew_is_auth_failure)
		return auth_failure(err);
	return ec2_refuse(err, 400, "RequestExpired", "Request has expired.");
}

int ec2_authenticate(struct aws_model *model, const struct httpd_request *request, int64_t wall_us, struct ec2_err *err)
{
	const char *token = httpd_header(request, "X-Amz-Security-Token");
	enum sigv4_result result;
	struct sigv4 sig;

	result = sigv4_parse(request, &sig);
	if (result == SIGV4_MISSING)
		return ec2_refuse(err, 403, "MissingAuthenticationToken", "Request is missing Authentication Token");
	if (result != SIGV4_OK)
		return ec2_refuse(err, 400, "IncompleteSignature",
				  "The request signature does not conform to AWS standards.");
	const struct aws_creds *creds = aws_creds_find(model, sig.access_key);

	if (!creds || !str_equal(sig.region, model->region) || !str_equal(sig.service, "ec2"))
		return auth_failure(err);
	if (creds->token ? !token || !str_equal(token, creds->token) : token != NULL)
		return auth_failure(err);
	result = sigv4_verify(request, &sig, creds->secret);
	if (result == SIGV4_INCOMPLETE)
		return ec2_refuse(
			err, 400, "IncompleteSignature",
			"The request signature does not conform to AWS standards: a header that is signed was "
			"not sent, or one that must be signed is not.");
	if (result != SIGV4_OK)
		return ec2_refuse(err, 403, "SignatureDoesNotMatch",
				  "The request signature we calculated does not match the signature you provided. "
				  "Check your AWS Secret Access Key and signing method.");
	return check_time(model, &sig, creds, wall_us, err);
}

/* ---- is it a call ---- */

static void first_lower(const char *name, char *ret, size_t size)
{
	(void)str_copy(ret, size, name);
	ret[0] = (char)tolower((unsigned char)ret[0]);
}

static int check_required(const struct ec2_action *action, const struct query *query, struct ec2_err *err)
{
	char words[QUERY_NAME_MAX], name[QUERY_NAME_MAX];
	char *rest = words;

	(void)str_copy(words, sizeof(words), action->required);
	while (rest && *rest) {
		const char *word = strsep(&rest, " ");

		if (query_has(query, word))
			continue;
		first_lower(word, name, sizeof(name));
		return ec2_refuse(err, 400, "MissingParameter", "The request must contain the parameter %s", name);
	}
	return 0;
}

static int check_params(const struct ec2_action *action, const struct query *query, struct ec2_err *err)
{
	char allowed[1024];

	(void)snprintf(allowed, sizeof(allowed), COMMON "%s%s", action->no_dry_run ? "" : "DryRun ", action->params);
	const char *unknown = query_unknown(query, allowed);

	if (unknown)
		return ec2_refuse(err, 400, "UnknownParameter", "The parameter %s is not recognized", unknown);
	return check_required(action, query, err);
}

static struct throttle_rate rate_of(const struct ec2_action *action, const struct query *query)
{
	switch (action->class) {
	case EC2_READ:
		for (unsigned i = 0; i < query->count; i++)
			if (!str_equal(query->params[i].name, "Action") && !str_equal(query->params[i].name, "Version"))
				return (struct throttle_rate){ .burst = 100, .per_s = 20 };
		return (struct throttle_rate){ .burst = 50, .per_s = 10 };
	case EC2_TAG:
		return (struct throttle_rate){ .burst = 100, .per_s = 10 };
	case EC2_MUTATE:
		break;
	}
	return (struct throttle_rate){ .burst = 50, .per_s = 5 };
}

_printf_(4, 5) static const
	struct ec2_action *refused(struct ec2_call *call, unsigned status, const char *code, const char *fmt, ...)
{
	char message[sizeof(call->err->message)];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	(void)ec2_refuse(call->err, status, code, "%s", message);
	return NULL;
}

/* The action, or NULL with call->err. */
static const struct ec2_action *check(struct ec2_call *call, struct throttle *throttle,
				      const struct httpd_request *request)
{
	const char *name = query_get(call->query, "Action"), *version = query_get(call->query, "Version");
	const struct ec2_action *action;
	bool dry_run = false;

	if (ec2_authenticate(call->model, request, call->wall_us, call->err) < 0)
		return NULL;
	if (!name)
		return refused(call, 400, "MissingParameter", "The request must contain the parameter Action");
	if (!version || !str_equal(version, EC2_VERSION))
		return refused(call, 400, "NoSuchVersion",
			       "The requested version (%s) of service AmazonEC2 does not exist",
			       version ? version : "");
	action = ec2_action_find(name);
	if (!action)
		return refused(call, 400, "InvalidAction", "The action %s is not valid for this web service.", name);
	if (!throttle_take(throttle, action->name, rate_of(action, call->query), call->now_us))
		return refused(call, 503, "RequestLimitExceeded", "Request limit exceeded.");
	if (check_params(action, call->query, call->err) < 0 || ec2_param_bool(call, "DryRun", &dry_run) < 0)
		return NULL;
	if (dry_run)
		return refused(call, 412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.");
	return action;
}

/* ---- the frame ---- */

static void uuid_new(struct aws_model *model, char ret[static 37])
{
	prng_chars(&model->prng, "0123456789abcdef", 16, ret, 36);
	ret[8] = ret[13] = ret[18] = ret[23] = '-';
}

void ec2_error_body(struct aws_model *model, const struct ec2_err *err, struct strbuf *out)
{
	struct xml xml = { .out = out };
	char id[37];

	uuid_new(model, id);
	strbuf_add(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error>");
	xml_text(&xml, "Code", err->code);
	xml_text(&xml, "Message", err->message);
	strbuf_printf(out, "</Error></Errors><RequestID>%s</RequestID></Response>", id);
}

unsigned ec2_execute(struct aws_model *model, struct throttle *throttle, const struct httpd_request *request,
		     const struct query *query, int64_t now_us, int64_t wall_us, struct strbuf *out,
		     struct ec2_err *ret_err)
{
	struct xml xml = { .out = out };
	struct ec2_call call = {
		.model = model, .query = query, .xml = &xml, .err = ret_err, .now_us = now_us, .wall_us = wall_us
	};
	const struct ec2_action *action;
	char root[QUERY_NAME_MAX], id[37];

	*ret_err = (struct ec2_err){ 0 };
	action = check(&call, throttle, request);
	if (action) {
		(void)snprintf(root, sizeof(root), "%sResponse", action->name);
		uuid_new(model, id);
		strbuf_add(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
		xml_open(&xml, root, "xmlns=\"" EC2_XMLNS "\"");
		xml_text(&xml, "requestId", id);
		if (action->run(&call) == 0) {
			xml_close(&xml, root);
			return 200;
		}
	}
	strbuf_clear(out);
	ec2_error_body(model, ret_err, out);
	return ret_err->status;
}

/* ---- parameters ---- */

int ec2_param_uint(struct ec2_call *call, const char *name, unsigned max, unsigned *ret)
{
	const char *text = query_get(call->query, name);
	char shown[QUERY_NAME_MAX];
	uint64_t value;

	if (!text)
		return 0;
	first_lower(name, shown, sizeof(shown));
	if (str_u64(text, 0, max, &value) < 0)
		return ec2_refuse(call->err, 400, "InvalidParameterValue", "Value (%.64s) for parameter %s is invalid.",
				  text, shown);
	*ret = (unsigned)value;
	return 0;
}

int ec2_param_bool(struct ec2_call *call, const char *name, bool *ret)
{
	const char *text = query_get(call->query, name);
	bool yes = text && str_equal(text, "true");

	if (!text)
		return 0;
	if (!yes && !str_equal(text, "false"))
		return ec2_refuse(call->err, 400, "InvalidParameterValue",
				  "The parameter %s must be 'true' or 'false', not %.64s", name, text);
	*ret = yes;
	return 0;
}

/* KIND-, then 8 or 17 hex digits */
static bool id_well_formed(const char *kind, const char *id)
{
	size_t len = strlen(kind);
	size_t hex = str_starts(id, kind) && id[len] == '-' ? strspn(id + len + 1, "0123456789abcdef") : 0;

	return (hex == 8 || hex == 17) && id[len + 1 + hex] == '\0';
}

int ec2_not_found(struct ec2_call *call, const char *kind, const char *code, const char *what, const char *id)
{
	char full[64];

	if (!id_well_formed(kind, id)) {
		(void)snprintf(full, sizeof(full), "%s.Malformed", code);
		return ec2_refuse(call->err, 400, full, "Invalid id: \"%.64s\" (expecting \"%s-...\")", id, kind);
	}
	(void)snprintf(full, sizeof(full), "%s.NotFound", code);
	return ec2_refuse(call->err, 400, full, "The %s ID '%s' does not exist", what, id);
}

int ec2_param_nic(struct ec2_call *call, struct aws_nic **ret)
{
	const char *id = query_get(call->query, "NetworkInterfaceId");
	struct aws_nic *nic = id ? aws_nic_find(call->model, id) : NULL;

	if (!nic)
		return ec2_not_found(call, "eni", "InvalidNetworkInterfaceID", "networkInterface", id ? id : "");
	*ret = nic;
	return 0;
}

static int check_tag(struct ec2_call *call, const char *key, const char *value)
{
	if (strlen(key) > 128 || strlen(value) > 256)
		return ec2_refuse(call->err, 400, "InvalidParameterValue",
				  "Tag key or value exceeds the maximum length");
	if (!*key || str_starts(key, "aws:"))
		return ec2_refuse(call->err, 400, "InvalidParameterValue",
				  "Tag keys starting with 'aws:' are reserved for internal use");
	return 0;
}

int ec2_param_tags(struct ec2_call *call, const char *prefix, struct json_t **ret)
{
	json_t *tags = json_object();

	for (unsigned i = 1; tags && i <= AWS_TAGS_MAX + 1; i++) {
		const char *key = query_getf(call->query, "%sTag.%u.Key", prefix, i);
		const char *value = query_getf(call->query, "%sTag.%u.Value", prefix, i);

		if (!key)
			break;
		if (check_tag(call, key, value ? value : "") < 0) {
			json_decref(tags);
			return -1;
		}
		(void)json_object_set_new(tags, key, json_string(value ? value : ""));
	}
	if (!tags)
		return ec2_refuse(call->err, 500, "InternalError", "An internal error has occurred");
	if (json_object_size(tags) > AWS_TAGS_MAX) {
		json_decref(tags);
		return ec2_refuse(call->err, 400, "TagLimitExceeded",
				  "The maximum number of Tags for a resource has been reached.");
	}
	*ret = tags;
	return 0;
}
