/* SPDX-License-Identifier: Apache-2.0 */
/* Reservations of ranges inside a subnet: for prefixes, which use them first, or for who names an address. IPv4. */
#include <string.h>

#include "ec2.h"

#define PAGE_MIN 5U
#define PAGE_MAX 1000U

static void put_reservation(struct ec2_call *call, const struct aws_subnet *subnet, const struct aws_reservation *held)
{
	struct xml *xml = call->xml;
	char text[PREFIX_STRLEN];

	xml_text(xml, "subnetCidrReservationId", held->id);
	xml_text(xml, "subnetId", subnet->id);
	xml_text(xml, "cidr", prefix_str(&held->cidr, text));
	xml_text(xml, "reservationType", held->for_prefixes ? "prefix" : "explicit");
	xml_text(xml, "ownerId", call->model->account);
	xml_text(xml, "description", held->description);
	xml_empty(xml, "tagSet");
}

static int find_subnet(struct ec2_call *call, struct aws_subnet **ret)
{
	const char *id = query_get(call->query, "SubnetId");

	*ret = aws_subnet_find(call->model, id ? id : "");
	return *ret ? 0 : ec2_not_found(call, "subnet", "InvalidSubnetID", "subnet", id ? id : "");
}

static int read_reservation(struct ec2_call *call, const struct aws_subnet *subnet, struct aws_reservation *ret)
{
	const char *cidr = query_get(call->query, "Cidr"), *type = query_get(call->query, "ReservationType");
	const char *description = query_get(call->query, "Description");

	if (!cidr || prefix_parse(cidr, &ret->cidr) < 0 || !prefix_covers(&subnet->cidr, &ret->cidr))
		return ec2_refuse(call->err, 400, "InvalidParameterValue",
				  "Reservation CIDR %.64s is not within the subnet %s", cidr ? cidr : "", subnet->id);
	for (unsigned i = 0; i < subnet->reservation_count; i++)
		if (prefix_overlaps(&subnet->reservations[i].cidr, &ret->cidr))
			return ec2_refuse(call->err, 400, "InvalidParameterValue",
					  "Reservation CIDR %.64s has overlap with existing reserved CIDR block", cidr);
	ret->for_prefixes = type && str_equal(type, "prefix");
	if (!ret->for_prefixes && !(type && str_equal(type, "explicit")))
		return ec2_refuse(call->err, 400, "InvalidParameterValue",
				  "Value (%.64s) for parameter reservationType is invalid.", type ? type : "");
	if (description && str_copy(ret->description, sizeof(ret->description), description) < 0)
		return ec2_refuse(call->err, 400, "InvalidParameterValue", "The description is longer than %d bytes.",
				  AWS_TEXT_LEN - 1);
	return 0;
}

int ec2_create_reservation(struct ec2_call *call)
{
	struct aws_reservation held = { 0 };
	struct aws_subnet *subnet;

	if (find_subnet(call, &subnet) < 0 || read_reservation(call, subnet, &held) < 0)
		return -1;
	if (subnet->reservation_count == AWS_RESERVATIONS_MAX)
		return ec2_refuse(call->err, 400, "ResourceLimitExceeded",
				  "You have reached the maximum number of reservations of subnet %s.", subnet->id);
	aws_id_new(call->model, "scr", held.id);
	(void)addrpool_hold(&subnet->pool, &held.cidr,
			    held.for_prefixes ? ADDRPOOL_HOLD_BLOCKS : ADDRPOOL_HOLD_EXPLICIT);
	subnet->reservations[subnet->reservation_count++] = held;
	xml_open(call->xml, "subnetCidrReservation", NULL);
	put_reservation(call, subnet, &held);
	xml_close(call->xml, "subnetCidrReservation");
	return 0;
}

/* ---- the list; it has another frame than the Describe actions ---- */

static bool shown(struct ec2_call *call, const struct aws_subnet *subnet, const struct aws_reservation *held)
{
	const char *name;
	bool all = true;

	for (unsigned i = 1; (name = query_getf(call->query, "Filter.%u.Name", i)); i++) {
		struct ec2_match match = { .query = call->query, .filter = i };

		if (str_equal(name, "reservationType"))
			ec2_offer(&match, held->for_prefixes ? "prefix" : "explicit");
		else if (str_equal(name, "subnet-id"))
			ec2_offer(&match, subnet->id);
		all &= match.hit;
	}
	return all;
}

/* Where the page begins: the token is the number of those that came before. */
static int read_page(struct ec2_call *call, unsigned *ret_start, unsigned *ret_max)
{
	*ret_start = 0;
	*ret_max = PAGE_MAX;
	if (ec2_param_uint(call, "MaxResults", PAGE_MAX, ret_max) < 0 ||
	    ec2_param_uint(call, "NextToken", AWS_RESERVATIONS_MAX, ret_start) < 0)
		return -1;
	if (*ret_max < PAGE_MIN)
		return ec2_refuse(call->err, 400, "InvalidParameterValue",
				  "Value ( %u ) for parameter maxResults is invalid. Expecting a value greater than or "
				  "equal to %u.",
				  *ret_max, PAGE_MIN);
	return 0;
}

int ec2_get_reservations(struct ec2_call *call)
{
	unsigned start, max, next = 0;
	struct aws_subnet *subnet;

	if (find_subnet(call, &subnet) < 0 || read_page(call, &start, &max) < 0)
		return -1;
	xml_open(call->xml, "subnetIpv4CidrReservationSet", NULL);
	for (unsigned i = start; i < subnet->reservation_count; i++) {
		if (!shown(call, subnet, &subnet->reservations[i]))
			continue;
		if (max-- == 0) {
			next = i;
			break;
		}
		xml_open(call->xml, "item", NULL);
		put_reservation(call, subnet, &subnet->reservations[i]);
		xml_close(call->xml, "item");
	}
	xml_close(call->xml, "subnetIpv4CidrReservationSet");
	xml_empty(call->xml, "subnetIpv6CidrReservationSet");
	if (next)
		xml_uint(call->xml, "nextToken", next);
	return 0;
}

/* ---- delete ---- */

static void forget(struct ec2_call *call, struct aws_subnet *subnet, unsigned index)
{
	struct aws_reservation gone = subnet->reservations[index];

	(void)addrpool_unhold(&subnet->pool, &gone.cidr);
	subnet->reservation_count--;
	memmove(&subnet->reservations[index], &subnet->reservations[index + 1],
		(subnet->reservation_count - index) * sizeof(gone));
	xml_open(call->xml, "deletedSubnetCidrReservation", NULL);
	put_reservation(call, subnet, &gone);
	xml_close(call->xml, "deletedSubnetCidrReservation");
}

int ec2_delete_reservation(struct ec2_call *call)
{
	const char *id = query_get(call->query, "SubnetCidrReservationId");

	for (unsigned i = 0; id && i < call->model->subnet_count; i++) {
		struct aws_subnet *subnet = call->model->subnets[i];

		for (unsigned k = 0; k < subnet->reservation_count; k++)
			if (str_equal(subnet->reservations[k].id, id)) {
				forget(call, subnet, k);
				return 0;
			}
	}
	return ec2_not_found(call, "scr", "InvalidSubnetCidrReservationId", "subnet CIDR reservation", id ? id : "");
}
