/* SPDX-License-Identifier: Apache-2.0 */
/* How EC2 is asked for new interfaces and for subnets, and what is made of its answers. */
#include <stdio.h>
#include <string.h>

#include "berth/err.h"
#include "berth/str.h"
#include "cloud/aws/provider.h"
#include "tests/unit/aws_stub.h"

#define VPC  "vpc-0b1"
#define ZONE "us-west-2a"

static const struct aws_here here = { .vpc = VPC, .zone = ZONE, .subnet = "subnet-p" };

struct world {
	struct aws_stub aws;
	char body[4096]; /* of the last request */
	const char *answer;
};

static void ec2(struct stub *stub, unsigned number, const char *request, struct stub_answer *answer)
{
	struct world *w = stub->ctx;
	const char *body = strstr(request, "\r\n\r\n");

	(void)number;
	(void)str_copy(w->body, sizeof(w->body), body ? body + 4 : "");
	stub_reply(answer, "200 OK", "Content-Type: text/xml\r\n", w->answer);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	if (!w || check_fds_setup(state) != 0)
		return -1;
	aws_stub_open(&w->aws, ec2, w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	aws_stub_close(&w->aws);
	free(w);
	return check_fds_teardown(state);
}

static int64_t soon(void)
{
	return clock_now(&clock_boot) + 20 * USEC_PER_SEC;
}

static void says(const struct world *w, const char *text)
{
	if (!strstr(w->body, text))
		fail_msg("%s lacks %s", w->body, text);
}

static void says_not(const struct world *w, const char *text)
{
	if (strstr(w->body, text))
		fail_msg("%s has %s", w->body, text);
}

#define CREATED                                                                                                        \
	"<CreateNetworkInterfaceResponse><networkInterface><networkInterfaceId>eni-1</networkInterfaceId>"             \
	"</networkInterface></CreateNetworkInterfaceResponse>"

static void create(struct world *w, const struct ec2_create *want)
{
	struct ec2_nic nic;

	w->answer = CREATED;
	assert_int_equal(ec2_nic_create(&aws_of(w->aws.cloud)->ec2, want, soon(), &nic, NULL), 0);
	ec2_nic_done(&nic);
}

static void test_create__tags_in_the_same_call(void **state)
{
	const struct ec2_nic like = { .group_count = 2, .groups = { "sg-1", "sg-2" } };
	const struct cloud_tag tags[] = { { "team", "net & more" }, { "empty", "" } };
	struct world *w = *state;

	create(w, &(struct ec2_create){ .subnet = "subnet-1",
					.like = &like,
					.instance = "i-1",
					.cluster = "kube",
					.created_at = "2026-01-01T00:00:00Z",
					.token = "t1",
					.client_token = "t1-2",
					.tag_count = 2,
					.tags = tags });
	says(w, "&SubnetId=subnet-1&");
	says(w, "&TagSpecification.1.ResourceType=network-interface&");
	says(w, "Tag.1.Key=node.berth.io%2Finstance_id&TagSpecification.1.Tag.1.Value=i-1&");
	says(w, "Tag.2.Key=node.berth.io%2Fcreated_at&TagSpecification.1.Tag.2.Value=2026-01-01T00%3A00%3A00Z&");
	says(w, "Tag.3.Key=node.berth.io%2Ftoken&TagSpecification.1.Tag.3.Value=t1&");
	says(w, "Tag.4.Key=node.berth.io%2Fcluster&TagSpecification.1.Tag.4.Value=kube&");
	says(w, "Tag.5.Key=team&TagSpecification.1.Tag.5.Value=net%20%26%20more&");
	says(w, "Tag.6.Key=empty&TagSpecification.1.Tag.6.Value=&");
	says(w, "&ClientToken=t1-2");
	/* The primary's, in the absence of others; EC2's own timeouts. */
	says(w, "&SecurityGroupId.1=sg-1&SecurityGroupId.2=sg-2&");
	says_not(w, "ConnectionTracking");
}

static void test_create__groups_that_an_operator_names__aws_40_19(void **state)
{
	const struct ec2_nic like = { .group_count = 2, .groups = { "sg-1", "sg-2" } };
	const char *groups[] = { "sg-9" };
	struct world *w = *state;

	create(w, &(struct ec2_create){ .subnet = "subnet-1",
					.like = &like,
					.group_count = 1,
					.groups = groups,
					.instance = "i-1",
					.cluster = "",
					.created_at = "",
					.token = "t1",
					.client_token = "t1" });
	says(w, "&SecurityGroupId.1=sg-9&");
	says_not(w, "SecurityGroupId.2");
	says_not(w, "sg-1");
	says_not(w, "cluster");
}

/* Those of the primary, and no others. */
static void test_create__timeouts_of_connections(void **state)
{
	const struct ec2_nic like = { .tracking = { .tcp_established_s = 600, .udp_s = 45 } };
	struct world *w = *state;

	create(w, &(struct ec2_create){ .subnet = "subnet-1",
					.like = &like,
					.instance = "i-1",
					.cluster = "",
					.created_at = "",
					.token = "t1",
					.client_token = "t1" });
	says(w, "&ConnectionTrackingSpecification.TcpEstablishedTimeout=600&");
	says(w, "&ConnectionTrackingSpecification.UdpTimeout=45&");
	says_not(w, "UdpStreamTimeout");
}

static void test_attach__slot_and_card_are_explicit__aws_40_18(void **state)
{
	struct world *w = *state;
	char id[EC2_ID_SIZE];

	w->answer = "<AttachNetworkInterfaceResponse><attachmentId>eni-attach-1</attachmentId>"
		    "</AttachNetworkInterfaceResponse>";
	assert_int_equal(ec2_nic_attach(&aws_of(w->aws.cloud)->ec2, "eni-1", "i-1", 3, soon(), id, NULL), 0);
	says(w, "&DeviceIndex=3&NetworkCardIndex=0");
	assert_string_equal(id, "eni-attach-1");
}

static void test_groups_set__the_whole_set__aws_40_20(void **state)
{
	const char groups[][EC2_ID_SIZE] = { "sg-1", "sg-2" };
	struct world *w = *state;

	w->answer = "<ModifyNetworkInterfaceAttributeResponse><return>true</return>"
		    "</ModifyNetworkInterfaceAttributeResponse>";
	assert_int_equal(ec2_groups_set(&aws_of(w->aws.cloud)->ec2, "eni-1", 2, groups, soon(), NULL), 0);
	says(w, "Action=ModifyNetworkInterfaceAttribute&");
	says(w, "&NetworkInterfaceId=eni-1&SecurityGroupId.1=sg-1&SecurityGroupId.2=sg-2");
	says_not(w, "Attachment");
}

#define SUBNET1(more)                                                                                                  \
	"<DescribeSubnetsResponse><subnetSet><item><subnetId>subnet-1</subnetId><cidrBlock>10.0.1.0/24</cidrBlock>"    \
	"<vpcId>vpc-1</vpcId>" more "</item></subnetSet></DescribeSubnetsResponse>"

/* Its IPv4 range never changes; one of IPv6 may come, and is asked for once a minute at most. */
static void test_find__asks_for_what_may_have_come(void **state)
{
	struct world *w = *state;
	struct aws_subnets *subnets = &aws_of(w->aws.cloud)->subnets;
	struct ec2_subnet told = { .id = "subnet-1" }, got;

	assert_int_equal(prefix_parse("10.0.1.0/24", &told.prefix), 0);
	aws_subnets_remember(subnets, &told);
	w->answer = SUBNET1("");
	assert_int_equal(aws_subnets_find(subnets, "subnet-1", false, soon(), &got, NULL), 0);
	assert_int_equal(w->aws.stub.requests, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(aws_subnets_find(subnets, "subnet-1", true, soon(), &got, NULL), 0);
	assert_int_equal(w->aws.stub.requests, 1);
	says(w, "&Filter.1.Name=subnet-id&Filter.1.Value.1=subnet-1&");
	assert_int_equal(got.prefix6.addr.family, IP_NONE);
	w->answer = SUBNET1("<ipv6CidrBlockAssociationSet><item><ipv6CidrBlock>2600:1f14:aa:bb00::/64</ipv6CidrBlock>"
			    "<ipv6CidrBlockState><state>associated</state></ipv6CidrBlockState></item>"
			    "</ipv6CidrBlockAssociationSet>");
	subnets->known[0].read_us -= 60 * USEC_PER_SEC;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(aws_subnets_find(subnets, "subnet-1", true, soon(), &got, NULL), 0);
	assert_int_equal(w->aws.stub.requests, 2);
	assert_int_equal(got.prefix6.addr.family, IP_V6);
}

#define TAGGED(id, free)                                                                                               \
	"<item><subnetId>" id "</subnetId><vpcId>" VPC "</vpcId><availabilityZone>" ZONE "</availabilityZone>"         \
	"<cidrBlock>10.0.1.0/24</cidrBlock><availableIpAddressCount>" free "</availableIpAddressCount><tagSet><item>"  \
	"<key>kubernetes.io/role/cni</key><value>1</value></item></tagSet></item>"
#define SUBNETS(items) "<DescribeSubnetsResponse><subnetSet>" items "</subnetSet></DescribeSubnetsResponse>"

/* One that EC2 does not show any more is no place for anything, however free it was. */
static void test_places__deleted_since(void **state)
{
	struct world *w = *state;
	struct aws_subnets *subnets = &aws_of(w->aws.cloud)->subnets;
	struct aws_places places;

	w->answer = SUBNETS(TAGGED("subnet-1", "9") TAGGED("subnet-2", "200"));
	assert_int_equal(aws_subnets_places(subnets, &here, soon(), &places, NULL), 0);
	assert_int_equal(places.count, 2);
	assert_string_equal(places.ids[0], "subnet-2");
	says(w,
	     "&Filter.1.Name=vpc-id&Filter.1.Value.1=" VPC "&Filter.2.Name=availability-zone&Filter.2.Value.1=" ZONE);
	w->answer = SUBNETS(TAGGED("subnet-1", "9"));
	subnets->read_us -= 60 * USEC_PER_SEC;
	assert_int_equal(aws_subnets_places(subnets, &here, soon(), &places, NULL), 0);
	assert_int_equal(places.count, 1);
	assert_string_equal(places.ids[0], "subnet-1");
	/* An answer may have been an old one. */
	w->answer = SUBNETS(TAGGED("subnet-1", "9") TAGGED("subnet-2", "200"));
	subnets->read_us -= 60 * USEC_PER_SEC;
	assert_int_equal(aws_subnets_places(subnets, &here, soon(), &places, NULL), 0);
	assert_int_equal(places.count, 2);
}

static void test_find__of_nobody(void **state)
{
	struct world *w = *state;
	struct ec2_subnet got;
	struct err err;

	w->answer = "<DescribeSubnetsResponse><subnetSet/></DescribeSubnetsResponse>";
	assert_int_equal(aws_subnets_find(&aws_of(w->aws.cloud)->subnets, "subnet-1", false, soon(), &got, &err), -1);
	assert_int_equal(err.class, ERR_NOTFOUND);
}

#define ATTACHED(id, slot)                                                                                             \
	"<item><networkInterfaceId>" id                                                                                \
	"</networkInterfaceId><attachment><instanceId>i-1</instanceId><deviceIndex>" slot                              \
	"</deviceIndex><status>attached</status></attachment></item>"

/* A page may show what an earlier one has shown: it counts once against the limits. */
static void test_describe_own__shown_twice__aws_40_17(void **state)
{
	struct world *w = *state;
	struct ec2_nics nics;

	w->answer = "<DescribeNetworkInterfacesResponse><networkInterfaceSet>" ATTACHED("eni-0", "0")
		ATTACHED("eni-1", "1") ATTACHED("eni-0", "0")
			ATTACHED("eni-1", "1") "</networkInterfaceSet></DescribeNetworkInterfacesResponse>";
	assert_int_equal(aws_describe_own(aws_of(w->aws.cloud), "i-1", soon(), &nics, NULL), 0);
	assert_int_equal(nics.count, 2);
	assert_string_equal(nics.nics[1].nic.id, "eni-1");
	ec2_nics_done(&nics);
}

/* There are more pages; nobody needs them. */
static void test_describe_some__no_page_more_than_needed(void **state)
{
	const struct ec2_filter filter = { "status", "available" };
	struct world *w = *state;
	struct ec2_nics nics;

	w->answer = "<DescribeNetworkInterfacesResponse><networkInterfaceSet>" ATTACHED("eni-0", "0")
		ATTACHED("eni-1", "1") "</networkInterfaceSet><nextToken>more</nextToken>"
				       "</DescribeNetworkInterfacesResponse>";
	assert_int_equal(ec2_nics_describe_some(&aws_of(w->aws.cloud)->ec2, &filter, 1, 3, soon(), &nics, NULL), 0);
	assert_int_equal(w->aws.stub.requests, 2);
	assert_int_equal(nics.count, 4);
	says(w, "&NextToken=more");
	ec2_nics_done(&nics);
}

#define on_wire(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_wire(test_create__tags_in_the_same_call),
		on_wire(test_create__groups_that_an_operator_names__aws_40_19),
		on_wire(test_create__timeouts_of_connections),
		on_wire(test_attach__slot_and_card_are_explicit__aws_40_18),
		on_wire(test_groups_set__the_whole_set__aws_40_20),
		on_wire(test_describe_own__shown_twice__aws_40_17),
		on_wire(test_find__asks_for_what_may_have_come),
		on_wire(test_places__deleted_since),
		on_wire(test_find__of_nobody),
		on_wire(test_describe_some__no_page_more_than_needed),
	};

	return cmocka_run_group_tests_name("aws_places", tests, NULL, NULL);
}
