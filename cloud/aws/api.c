/* SPDX-License-Identifier: Apache-2.0 */
#include "api.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../http.h"
#include "berth/err.h"
#include "berth/str.h"
#include "form.h"

#define DOMAIN "ec2"

#define PAGE_SIZE_TEXT "100" /* interfaces; EC2 allows 5-1000; an answer of 100 is below 2 MiB */
#define PAGES_MAX      64    /* pages may be short or empty */

/* What the two families call the same things. */
static const struct {
	const char *assign, *unassign;
	const char *addr_count, *prefix_count; /* when creating, too */
	const char *addr, *prefix;
} words[IP_FAMILIES] = {
	{ "AssignPrivateIpAddresses", "UnassignPrivateIpAddresses", "SecondaryPrivateIpAddressCount", "Ipv4PrefixCount",
	  "PrivateIpAddress", "Ipv4Prefix" },
	{ "AssignIpv6Addresses", "UnassignIpv6Addresses", "Ipv6AddressCount", "Ipv6PrefixCount", "Ipv6Addresses",
	  "Ipv6Prefix" },
};

static void add_numbered(struct strbuf *form, const char *before, unsigned number, const char *after, const char *value)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "%s.%u%s", before, number, after);
	ec2_form_add(form, name, value);
}

/* The answer says "done" but cannot be read: for a call that is not idempotent that leaves open what was done. */
static int unreadable(const struct ec2_call *call, struct err *err)
{
	if (err && !call->idempotent)
		err->class = ERR_AMBIGUOUS;
	return -1;
}

/* Actions whose answer says nothing but "done"; all of them may be repeated. */
static int mutate(struct ec2 *ec2, const char *action, const struct strbuf *form, int64_t deadline_us, struct err *err)
{
	_cleanup_http_ struct http_response response = { 0 };
	const struct ec2_call call = { .action = action, .form = form, .class = BUDGET_MUTATE, .idempotent = true };

	if (ec2_call(ec2, &call, deadline_us, &response, err) < 0)
		return -1;
	return ec2_decode_ack(response.body, response.body_size, action, err);
}

/* Filters, the page that @token names (taken, may be NULL). The rest is the caller's. */
static void list_form(struct strbuf *form, const char *action, const struct ec2_filter *filters, unsigned filter_count,
		      char *token)
{
	ec2_form_begin(form, action);
	for (unsigned i = 0; i < filter_count; i++) {
		add_numbered(form, "Filter", i + 1, ".Name", filters[i].name);
		add_numbered(form, "Filter", i + 1, ".Value.1", filters[i].value);
	}
	ec2_form_add(form, "MaxResults", PAGE_SIZE_TEXT);
	if (token)
		ec2_form_add(form, "NextToken", token);
	free(token);
}

static int nics_page(struct ec2 *ec2, const struct ec2_filter *filters, unsigned filter_count, int64_t deadline_us,
		     struct ec2_nics *nics, char **next, struct err *err)
{
	_cleanup_strbuf_ struct strbuf form = { 0 };
	_cleanup_http_ struct http_response response = { 0 };
	const struct ec2_call call = {
		.action = "DescribeNetworkInterfaces", .form = &form, .class = BUDGET_READ, .idempotent = true
	};

	list_form(&form, call.action, filters, filter_count, *next);
	*next = NULL;
	if (ec2_call(ec2, &call, deadline_us, &response, err) < 0)
		return -1;
	return ec2_decode_nics(response.body, response.body_size, nics, next, err);
}

int ec2_nics_describe_some(struct ec2 *ec2, const struct ec2_filter *filters, unsigned filter_count, unsigned enough,
			   int64_t deadline_us, struct ec2_nics *ret, struct err *err)
{
	struct ec2_nics nics = { 0 };
	char *next = NULL;
	unsigned page = 0;
	int r;

	do {
		r = nics_page(ec2, filters, filter_count, deadline_us, &nics, &next, err);
	} while (r == 0 && next && nics.count < enough && ++page < PAGES_MAX);
	if (r == 0 && next && nics.count < enough)
		r = err_set(err, ERR_PROTOCOL, DOMAIN, "DescribeNetworkInterfaces: more than %d pages", PAGES_MAX);
	free(next);
	if (r < 0) {
		ec2_nics_done(&nics);
		return -1;
	}
	*ret = nics;
	return 0;
}

int ec2_nics_describe(struct ec2 *ec2, const struct ec2_filter *filters, unsigned filter_count, int64_t deadline_us,
		      struct ec2_nics *ret, struct err *err)
{
	return ec2_nics_describe_some(ec2, filters, filter_count, UINT_MAX, deadline_us, ret, err);
}

int ec2_type_describe(struct ec2 *ec2, const char *type, int64_t deadline_us, struct ec2_type *ret, struct err *err)
{
	_cleanup_strbuf_ struct strbuf form = { 0 };
	_cleanup_http_ struct http_response response = { 0 };
	const struct ec2_call call = {
		.action = "DescribeInstanceTypes", .form = &form, .class = BUDGET_READ, .idempotent = true
	};

	ec2_form_begin(&form, call.action);
	ec2_form_add(&form, "InstanceType.1", type);
	if (ec2_call(ec2, &call, deadline_us, &response, err) < 0)
		return -1;
	return ec2_decode_type(response.body, response.body_size, type, ret, err);
}

static int subnets_page(struct ec2 *ec2, const struct ec2_filter *filters, unsigned filter_count, const char *cluster,
			int64_t deadline_us, struct ec2_subnets *subnets, char **next, struct err *err)
{
	_cleanup_strbuf_ struct strbuf form = { 0 };
	_cleanup_http_ struct http_response response = { 0 };
	const struct ec2_call call = {
		.action = "DescribeSubnets", .form = &form, .class = BUDGET_READ, .idempotent = true
	};

	list_form(&form, call.action, filters, filter_count, *next);
	*next = NULL;
	if (ec2_call(ec2, &call, deadline_us, &response, err) < 0)
		return -1;
	return ec2_decode_subnets(response.body, response.body_size, cluster, subnets, next, err);
}

int ec2_subnets_describe(struct ec2 *ec2, const struct ec2_filter *filters, unsigned filter_count, const char *cluster,
			 int64_t deadline_us, struct ec2_subnets *ret, struct err *err)
{
	struct ec2_subnets subnets = { 0 };
	char *next = NULL;
	unsigned page = 0;
	int r;

	do {
		r = subnets_page(ec2, filters, filter_count, cluster, deadline_us, &subnets, &next, err);
	} while (r == 0 && next && ++page < PAGES_MAX);
	if (r == 0 && next)
		r = err_set(err, ERR_PROTOCOL, DOMAIN, "DescribeSubnets: more than %d pages", PAGES_MAX);
	free(next);
	if (r < 0) {
		ec2_subnets_done(&subnets);
		return -1;
	}
	*ret = subnets;
	return 0;
}

static void add_tag(struct strbuf *form, unsigned number, const char *key, const char *value)
{
	add_numbered(form, "TagSpecification.1.Tag", number, ".Key", key);
	add_numbered(form, "TagSpecification.1.Tag", number, ".Value", value);
}

static void add_tags(struct strbuf *form, const struct ec2_create *want)
{
	unsigned number = 3;

	ec2_form_add(form, "TagSpecification.1.ResourceType", "network-interface");
	add_tag(form, 1, EC2_TAG_OWNER, want->instance);
	add_tag(form, 2, EC2_TAG_CREATED, want->created_at);
	add_tag(form, 3, EC2_TAG_TOKEN, want->token);
	if (*want->cluster)
		add_tag(form, ++number, EC2_TAG_CLUSTER, want->cluster);
	for (unsigned i = 0; i < want->tag_count; i++)
		add_tag(form, ++number, want->tags[i].key, want->tags[i].value);
}

static void add_groups(struct strbuf *form, const struct ec2_create *want)
{
	for (unsigned i = 0; i < want->group_count; i++)
		add_numbered(form, "SecurityGroupId", i + 1, "", want->groups[i]);
	for (unsigned i = 0; want->group_count == 0 && i < want->like->group_count; i++)
		add_numbered(form, "SecurityGroupId", i + 1, "", want->like->groups[i]);
}

static void add_tracking(struct strbuf *form, const struct ec2_tracking *tracking)
{
	const struct {
		const char *name;
		unsigned seconds;
	} rows[] = {
		{ "ConnectionTrackingSpecification.TcpEstablishedTimeout", tracking->tcp_established_s },
		{ "ConnectionTrackingSpecification.UdpStreamTimeout", tracking->udp_stream_s },
		{ "ConnectionTrackingSpecification.UdpTimeout", tracking->udp_s },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].seconds > 0)
			ec2_form_add_uint(form, rows[i].name, rows[i].seconds);
	}
}

/* One parameter: EC2 takes addresses and prefixes of one family in one call for a contradiction. */
static void add_want(struct strbuf *form, unsigned family, const struct cloud_want *want)
{
	bool single = want->len == (ip_family_at(family) == IP_V6 ? 128 : 32);

	if (want->count > 0)
		ec2_form_add_uint(form, single ? words[family].addr_count : words[family].prefix_count, want->count);
}

static void create_form(struct strbuf *form, const struct ec2_create *want)
{
	char text[EC2_TEXT_SIZE];

	ec2_form_add(form, "SubnetId", want->subnet);
	(void)snprintf(text, sizeof(text), EC2_DESCRIPTION "%s", want->instance);
	ec2_form_add(form, "Description", text);
	add_groups(form, want);
	for (unsigned i = 0; i < IP_FAMILIES; i++)
		add_want(form, i, &want->wants[i]);
	add_tracking(form, &want->like->tracking);
	add_tags(form, want);
	ec2_form_add(form, "ClientToken", want->client_token);
}

int ec2_nic_create(struct ec2 *ec2, const struct ec2_create *want, int64_t deadline_us, struct ec2_nic *ret,
		   struct err *err)
{
	_cleanup_strbuf_ struct strbuf form = { 0 };
	_cleanup_http_ struct http_response response = { 0 };
	const struct ec2_call call = { /* Idempotent by its ClientToken. */
				       .action = "CreateNetworkInterface",
				       .form = &form,
				       .class = BUDGET_MUTATE,
				       .idempotent = true
	};

	ec2_form_begin(&form, call.action);
	create_form(&form, want);
	if (ec2_call(ec2, &call, deadline_us, &response, err) < 0)
		return -1;
	return ec2_decode_create(response.body, response.body_size, ret, err);
}

int ec2_nic_attach(struct ec2 *ec2, const char *nic, const char *instance, unsigned slot, int64_t deadline_us,
		   char ret[static EC2_ID_SIZE], struct err *err)
{
	_cleanup_strbuf_ struct strbuf form = { 0 };
	_cleanup_http_ struct http_response response = { 0 };
	const struct ec2_call call = {
		.action = "AttachNetworkInterface", .form = &form, .class = BUDGET_MUTATE, .idempotent = false
	};

	ec2_form_begin(&form, call.action);
	ec2_form_add(&form, "NetworkInterfaceId", nic);
	ec2_form_add(&form, "InstanceId", instance);
	ec2_form_add_uint(&form, "DeviceIndex", slot);
	/* Always said: EC2 once validated slots wrongly without it. https://github.com/cilium/cilium/issues/42512 */
	ec2_form_add(&form, "NetworkCardIndex", "0");
	if (ec2_call(ec2, &call, deadline_us, &response, err) < 0)
		return -1;
	if (ec2_decode_attach(response.body, response.body_size, ret, err) < 0)
		return unreadable(&call, err);
	return 0;
}

int ec2_die_with_instance(struct ec2 *ec2, const char *nic, const char *attachment, int64_t deadline_us,
			  struct err *err)
{
	_cleanup_strbuf_ struct strbuf form = { 0 };

	ec2_form_begin(&form, "ModifyNetworkInterfaceAttribute");
	ec2_form_add(&form, "NetworkInterfaceId", nic);
	ec2_form_add(&form, "Attachment.AttachmentId", attachment);
	ec2_form_add(&form, "Attachment.DeleteOnTermination", "true");
	return mutate(ec2, "ModifyNetworkInterfaceAttribute", &form, deadline_us, err);
}

int ec2_groups_set(struct ec2 *ec2, const char *nic, unsigned count, const char groups[][EC2_ID_SIZE],
		   int64_t deadline_us, struct err *err)
{
	_cleanup_strbuf_ struct strbuf form = { 0 };

	ec2_form_begin(&form, "ModifyNetworkInterfaceAttribute");
	ec2_form_add(&form, "NetworkInterfaceId", nic);
	for (unsigned i = 0; i < count; i++)
		add_numbered(&form, "SecurityGroupId", i + 1, "", groups[i]);
	return mutate(ec2, "ModifyNetworkInterfaceAttribute", &form, deadline_us, err);
}

int ec2_nic_detach(struct ec2 *ec2, const char *attachment, int64_t deadline_us, struct err *err)
{
	_cleanup_strbuf_ struct strbuf form = { 0 };

	/* Never with Force: it leaves the device index unusable until the instance stops. */
	ec2_form_begin(&form, "DetachNetworkInterface");
	ec2_form_add(&form, "AttachmentId", attachment);
	return mutate(ec2, "DetachNetworkInterface", &form, deadline_us, err);
}

int ec2_nic_delete(struct ec2 *ec2, const char *nic, int64_t deadline_us, struct err *err)
{
	_cleanup_strbuf_ struct strbuf form = { 0 };

	ec2_form_begin(&form, "DeleteNetworkInterface");
	ec2_form_add(&form, "NetworkInterfaceId", nic);
	return mutate(ec2, "DeleteNetworkInterface", &form, deadline_us, err);
}

static int assign(struct ec2 *ec2, unsigned family, const struct strbuf *form, int64_t deadline_us,
		  struct cloud_nic *ret, struct err *err)
{
	_cleanup_http_ struct http_response response = { 0 };
	const struct ec2_call call = {
		.action = words[family].assign, .form = form, .class = BUDGET_MUTATE, .idempotent = false
	};

	if (ec2_call(ec2, &call, deadline_us, &response, err) < 0)
		return -1;
	if (ec2_decode_assign(response.body, response.body_size, ip_family_at(family), ret, err) < 0)
		return unreadable(&call, err);
	return 0;
}

static void nic_form(struct strbuf *form, const char *action, const char *nic)
{
	ec2_form_begin(form, action);
	ec2_form_add(form, "NetworkInterfaceId", nic);
}

static void add_blocks(struct strbuf *form, unsigned family, const struct prefix *blocks, unsigned count)
{
	unsigned addrs = 0, prefixes = 0;
	char text[PREFIX_STRLEN];

	for (unsigned i = 0; i < count; i++) {
		if (blocks[i].len == ipaddr_bits(&blocks[i].addr))
			add_numbered(form, words[family].addr, ++addrs, "", ipaddr_str(&blocks[i].addr, text));
		else
			add_numbered(form, words[family].prefix, ++prefixes, "", prefix_str(&blocks[i], text));
	}
}

int ec2_assign(struct ec2 *ec2, const char *nic, enum ip_family family, const struct cloud_want *want,
	       int64_t deadline_us, struct cloud_nic *ret, struct err *err)
{
	_cleanup_strbuf_ struct strbuf form = { 0 };
	unsigned index = ip_index(family);

	nic_form(&form, words[index].assign, nic);
	add_want(&form, index, want);
	return assign(ec2, index, &form, deadline_us, ret, err);
}

int ec2_assign_these(struct ec2 *ec2, const char *nic, const struct prefix *blocks, unsigned count, int64_t deadline_us,
		     struct cloud_nic *ret, struct err *err)
{
	_cleanup_strbuf_ struct strbuf form = { 0 };
	unsigned index = ip_index(blocks[0].addr.family);

	nic_form(&form, words[index].assign, nic);
	add_blocks(&form, index, blocks, count);
	return assign(ec2, index, &form, deadline_us, ret, err);
}

int ec2_unassign(struct ec2 *ec2, const char *nic, const struct prefix *blocks, unsigned count, int64_t deadline_us,
		 struct err *err)
{
	_cleanup_strbuf_ struct strbuf form = { 0 };
	unsigned index = ip_index(blocks[0].addr.family);

	nic_form(&form, words[index].unassign, nic);
	add_blocks(&form, index, blocks, count);
	return mutate(ec2, words[index].unassign, &form, deadline_us, err);
}
