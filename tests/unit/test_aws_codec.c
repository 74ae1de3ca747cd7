/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "berth/err.h"
#include "berth/str.h"
#include "cloud/aws/codec.h"
#include "cloud/aws/creds.h"
#include "cloud/aws/form.h"
#include "tests/check.h"

#define ROOT "tests/golden/aws/codec/"

static void assert_prefix(const struct cloud_nic *nic, unsigned i, const char *text)
{
	char buf[PREFIX_STRLEN];

	assert_true(i < nic->block_count);
	assert_string_equal(prefix_str(&nic->blocks[i].prefix, buf), text);
}

static void assert_addr(const struct ipaddr *addr, const char *text)
{
	char buf[IPADDR_STRLEN];

	assert_string_equal(ipaddr_str(addr, buf), text);
}

static void load_nics(struct ec2_nics *nics, char **next)
{
	struct err err = { 0 };
	size_t size;
	char *xml = check_golden(ROOT "nics.xml", &size);

	memset(nics, 0, sizeof(*nics));
	if (ec2_decode_nics(xml, size, nics, next, &err) < 0)
		fail_msg("%s", err.msg);
	free(xml);
}

static void test_nics__pretty_printed_primary(void **state)
{
	struct ec2_nics nics;
	const struct ec2_nic *n;
	char mac[MACADDR_STRLEN];
	char *next = NULL;

	(void)state;
	load_nics(&nics, &next);
	assert_int_equal(nics.count, 3);
	assert_string_equal(next, "eyJ2Ijoi+/==");
	n = &nics.nics[0];
	assert_string_equal(n->nic.id, "eni-0aa11111111111111");
	assert_string_equal(n->nic.handle, "eni-attach-0aa11111111111111");
	assert_string_equal(n->instance, "i-0abc1234567890def");
	assert_string_equal(n->attachment_status, "attached");
	assert_string_equal(n->status, "in-use");
	assert_string_equal(macaddr_str(&n->nic.mac, mac), "02:11:22:33:44:55");
	assert_addr(&n->nic.primary_addr, "10.0.1.10");
	assert_int_equal(n->nic.slot, 0);
	assert_true(n->delete_on_termination);
	assert_int_equal(n->nic.block_count, 0);
	assert_int_equal(n->group_count, 2);
	assert_string_equal(n->groups[0], "sg-0dd11111111111111");
	assert_string_equal(n->groups[1], "sg-0dd22222222222222");
	assert_string_equal(n->owner, "");
	free(next);
	ec2_nics_done(&nics);
}

static void test_nics__by_path_not_by_name(void **state)
{
	struct ec2_nics nics;
	const struct ec2_nic *n;
	char mac[MACADDR_STRLEN];
	char *next = NULL;

	(void)state;
	load_nics(&nics, &next);
	n = &nics.nics[1];
	assert_string_equal(n->nic.id, "eni-0cc11111111111111");
	/* An unknown subtree holds elements of the same names. */
	assert_string_equal(n->status, "in-use");
	assert_string_equal(n->attachment_status, "attaching");
	assert_false(n->delete_on_termination);
	assert_int_equal(n->nic.slot, 1);
	assert_string_equal(n->description, "berth-i-0abc1234567890def & <more> caf\xc3\xa9");
	assert_string_equal(n->owner, "i-0abc1234567890def");
	assert_string_equal(macaddr_str(&n->nic.mac, mac), "02:aa:bb:cc:dd:ee");
	assert_int_equal(n->nic.block_count, 5);
	assert_prefix(&n->nic, 0, "10.0.1.21/32");
	assert_prefix(&n->nic, 1, "10.0.1.22/32");
	assert_prefix(&n->nic, 2, "10.0.1.64/28");
	assert_prefix(&n->nic, 3, "2600:1f14:aa:bb00::20/128");
	assert_prefix(&n->nic, 4, "2600:1f14:aa:bb00:1768::/80");
	assert_int_equal(n->nic.primary_addr6.family, IP_NONE);
	assert_false(n->requester_managed || n->operator_managed || n->no_manage);
	free(next);
	ec2_nics_done(&nics);
}

/* The one that is called primary is none of the blocks. */
static void test_nics__blocks_of_both_families(void **state)
{
	char *xml = check_golden(ROOT "nic6.xml", NULL), *next = NULL;
	struct ec2_nics nics = { 0 };
	const struct cloud_nic *nic;

	(void)state;
	assert_int_equal(ec2_decode_nics(xml, strlen(xml), &nics, &next, NULL), 0);
	assert_int_equal(nics.count, 1);
	nic = &nics.nics[0].nic;
	assert_string_equal(nics.nics[0].token, "t1");
	assert_addr(&nic->primary_addr6, "2600:1f14:aa:bb00::21");
	assert_int_equal(nic->block_count, 5);
	assert_prefix(nic, 0, "10.0.1.64/28");
	assert_prefix(nic, 1, "10.0.1.96/28");
	assert_prefix(nic, 2, "2600:1f14:aa:bb00::20/128");
	assert_prefix(nic, 3, "2600:1f14:aa:bb00::22/128");
	assert_prefix(nic, 4, "2600:1f14:aa:bb00:1768::/80");
	ec2_nics_done(&nics);
	free(xml);
}

static void test_nics__managed_by_others(void **state)
{
	struct ec2_nics nics;
	char *next = NULL;

	(void)state;
	load_nics(&nics, &next);
	assert_true(nics.nics[2].requester_managed);
	assert_true(nics.nics[2].operator_managed);
	assert_true(nics.nics[2].no_manage);
	assert_string_equal(nics.nics[2].type, "trunk");
	assert_string_equal(nics.nics[2].nic.handle, "");
	assert_int_equal(nics.nics[2].nic.primary_addr.family, IP_NONE);
	free(next);
	ec2_nics_done(&nics);
}

/* What must be refused, and the document around it. */
static void refuse(const char *xml, const char *because)
{
	struct ec2_nics nics = { 0 };
	struct err err = { 0 };
	char *next = NULL;

	if (ec2_decode_nics(xml, strlen(xml), &nics, &next, &err) == 0)
		fail_msg("accepted: %.200s", xml);
	assert_int_equal(err.class, ERR_PROTOCOL);
	if (!strstr(err.msg, because))
		fail_msg("\"%s\" instead of \"%s\"", err.msg, because);
	assert_null(next);
	assert_int_equal(nics.count, 0);
	ec2_nics_done(&nics);
}

#define R            "DescribeNetworkInterfacesResponse"
#define ITEM(inside) "<" R "><networkInterfaceSet><item>" inside "</item></networkInterfaceSet></" R ">"

static void test_nics__refused(void **state)
{
	char *html = check_golden(ROOT "gateway.html", NULL);
	char *laughs = check_golden(ROOT "billion-laughs.xml", NULL);

	(void)state;
	refuse(html, "not the answer");
	refuse(laughs, "document type");
	refuse("", "well-formed");
	refuse("plain text", "well-formed");
	refuse("<" R ">", "well-formed");
	refuse("<" R "/><" R "/>", "well-formed");
	refuse("<" R "Other/>", "not the answer");
	refuse("<DescribeSubnetsResponse/>", "not the answer");
	refuse(ITEM(""), "value");
	refuse(ITEM("<networkInterfaceId>e</networkInterfaceId><macAddress>02:zz</macAddress>"), "value");
	refuse(ITEM("<networkInterfaceId>e</networkInterfaceId><attachment><deviceIndex>-1</deviceIndex></attachment>"),
	       "value");
	refuse(ITEM("<networkInterfaceId>e</"
		    "networkInterfaceId><privateIpAddressesSet><item><privateIpAddress>10.0.0.300"
		    "</privateIpAddress></item></privateIpAddressesSet>"),
	       "value");
	refuse(ITEM("<networkInterfaceId>e</networkInterfaceId><privateIpAddressesSet><item><primary>false</primary>"
		    "</item></privateIpAddressesSet>"),
	       "value");
	refuse(ITEM("<networkInterfaceId>e</networkInterfaceId><ipv6AddressesSet><item><isPrimaryIpv6>false"
		    "</isPrimaryIpv6></item></ipv6AddressesSet>"),
	       "value");
	/* A family under the other's name. */
	refuse(ITEM("<networkInterfaceId>e</networkInterfaceId><ipv6PrefixSet><item><ipv6Prefix>10.0.0.0/28"
		    "</ipv6Prefix></item></ipv6PrefixSet>"),
	       "value");
	refuse(ITEM("<networkInterfaceId>e</networkInterfaceId><ipv4PrefixSet><item><ipv4Prefix>2600::/80"
		    "</ipv4Prefix></item></ipv4PrefixSet>"),
	       "value");
	/* The first item is whole; nothing of a document that is cut is kept. */
	refuse("<" R "><networkInterfaceSet><item><networkInterfaceId>e</networkInterfaceId></item><item>",
	       "well-formed");
	free(html);
	free(laughs);
}

static void repeat(struct strbuf *buf, const char *text, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		strbuf_add(buf, text);
}

static void test_nics__limits(void **state)
{
	_cleanup_strbuf_ struct strbuf deep = { 0 }, items = { 0 }, text = { 0 }, name = { 0 }, blocks = { 0 };

	(void)state;
	strbuf_add(&deep, "<" R ">");
	repeat(&deep, "<a>", 40);
	repeat(&deep, "</a>", 40);
	strbuf_add(&deep, "</" R ">");
	refuse(deep.text, "deeply");

	strbuf_add(&items, "<" R "><networkInterfaceSet>");
	repeat(&items, "<item><networkInterfaceId>e</networkInterfaceId></item>", EC2_NICS_MAX + 1);
	strbuf_add(&items, "</networkInterfaceSet></" R ">");
	refuse(items.text, "too many");

	strbuf_add(&text, "<" R "><nextToken>");
	repeat(&text, "0123456789", 1000);
	strbuf_add(&text, "</nextToken></" R ">");
	refuse(text.text, "too long");

	strbuf_add(&name, "<" R "><");
	repeat(&name, "abcdefghij", 200);
	strbuf_add(&name, "/></" R ">");
	refuse(name.text, "too long");

	strbuf_add(&blocks,
		   "<" R "><networkInterfaceSet><item><networkInterfaceId>e</networkInterfaceId><ipv4PrefixSet>");
	repeat(&blocks, "<item><ipv4Prefix>10.0.0.0/28</ipv4Prefix></item>", CLOUD_BLOCKS_MAX + 1);
	strbuf_add(&blocks, "</ipv4PrefixSet></item></networkInterfaceSet></" R ">");
	refuse(blocks.text, "too many");
}

static void test_nics__empty_and_last_page(void **state)
{
	static const char *const pages[] = { "<" R "><networkInterfaceSet/></" R ">", "<" R "/>",
					     "<" R "><networkInterfaceSet/><nextToken/></" R ">",
					     "<x:" R " xmlns:x='u'><x:networkInterfaceSet/></x:" R ">" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		struct ec2_nics nics = { 0 };
		char *next = NULL;

		assert_int_equal(ec2_decode_nics(pages[i], strlen(pages[i]), &nics, &next, NULL), 0);
		assert_int_equal(nics.count, 0);
		assert_null(next);
		ec2_nics_done(&nics);
	}
}

static void test_create__golden(void **state)
{
	char *xml = check_golden(ROOT "create.xml", NULL);
	struct ec2_nic nic;

	(void)state;
	assert_int_equal(ec2_decode_create(xml, strlen(xml), &nic, NULL), 0);
	assert_string_equal(nic.nic.id, "eni-0cc");
	assert_string_equal(nic.status, "pending");
	assert_int_equal(nic.nic.block_count, 1);
	assert_prefix(&nic.nic, 0, "10.0.1.21/32");
	ec2_nic_done(&nic);
	free(xml);
}

static void test_create__no_interface(void **state)
{
	static const char xml[] = "<CreateNetworkInterfaceResponse/>";
	struct err err = { 0 };
	struct ec2_nic nic;

	(void)state;
	assert_int_equal(ec2_decode_create(xml, strlen(xml), &nic, &err), -1);
	assert_int_equal(err.class, ERR_PROTOCOL);
}

static void test_attach__golden(void **state)
{
	char *xml = check_golden(ROOT "attach.xml", NULL);
	char id[EC2_ID_SIZE];

	(void)state;
	assert_int_equal(ec2_decode_attach(xml, strlen(xml), id, NULL), 0);
	assert_string_equal(id, "eni-attach-0ee11111111111111");
	assert_int_equal(ec2_decode_attach("<AttachNetworkInterfaceResponse/>", 33, id, NULL), -1);
	free(xml);
}

static void test_assign__golden(void **state)
{
	char *xml = check_golden(ROOT "assign.xml", NULL);
	struct cloud_nic nic;

	(void)state;
	assert_int_equal(ec2_decode_assign(xml, strlen(xml), IP_V4, &nic, NULL), 0);
	assert_string_equal(nic.id, "eni-0cc11111111111111");
	assert_int_equal(nic.block_count, 3);
	assert_prefix(&nic, 0, "10.0.1.30/32");
	assert_prefix(&nic, 1, "10.0.1.31/32");
	assert_prefix(&nic, 2, "10.0.1.64/28");
	cloud_nic_done(&nic);
	/* An answer to another question. */
	assert_int_equal(ec2_decode_assign(xml, strlen(xml), IP_V6, &nic, NULL), -1);
	free(xml);
}

static void test_assign__ipv6_golden(void **state)
{
	char *xml = check_golden(ROOT "assign6.xml", NULL);
	struct cloud_nic nic;

	(void)state;
	assert_int_equal(ec2_decode_assign(xml, strlen(xml), IP_V6, &nic, NULL), 0);
	assert_string_equal(nic.id, "eni-0cc11111111111111");
	assert_int_equal(nic.block_count, 2);
	assert_prefix(&nic, 0, "2600:1f14:aa:bb00::31/128");
	assert_prefix(&nic, 1, "2600:1f14:aa:bb00:1768::/80");
	cloud_nic_done(&nic);
	free(xml);
}

static void test_type__limits_of_card_0(void **state)
{
	char *xml = check_golden(ROOT "type-p5.xml", NULL);
	struct ec2_type type;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(ec2_decode_type(xml, strlen(xml), "p5.48xlarge", &type, NULL), 0);
	assert_int_equal(type.nics_total, 64);
	assert_int_equal(type.nics_card0, 2);
	assert_int_equal(type.ipv4_per_nic, 50);
	assert_int_equal(type.ipv6_per_nic, 49);
	assert_int_equal(type.cards, 32);
	assert_true(type.nitro);
	assert_int_equal(ec2_decode_type(xml, strlen(xml), "p5e.48xlarge", &type, NULL), 0);
	assert_int_equal(type.nics_card0, 0);
	assert_int_equal(type.nics_total, 9);
	assert_int_equal(type.ipv6_per_nic, 0);
	assert_false(type.nitro);
	assert_int_equal(ec2_decode_type(xml, strlen(xml), "m5.metal", &type, NULL), 0);
	assert_true(type.nitro);
	assert_int_equal(ec2_decode_type(xml, strlen(xml), "t2.micro", &type, NULL), 0);
	assert_false(type.nitro);
	assert_int_equal(ec2_decode_type(xml, strlen(xml), "m5.large", &type, &err), -1);
	assert_int_equal(err.class, ERR_PROTOCOL);
	free(xml);
}

static void test_subnets__golden(void **state)
{
	char *xml = check_golden(ROOT "subnets.xml", NULL);
	struct ec2_subnets subnets = { 0 };
	char *next = NULL;
	char buf[PREFIX_STRLEN];

	(void)state;
	assert_int_equal(ec2_decode_subnets(xml, strlen(xml), "kube", &subnets, &next, NULL), 0);
	assert_int_equal(subnets.count, 5);
	assert_string_equal(next, "more");
	assert_string_equal(subnets.subnets[0].id, "subnet-0aa11111111111111");
	assert_string_equal(subnets.subnets[0].vpc, "vpc-0bb11111111111111");
	assert_string_equal(subnets.subnets[0].zone, "us-west-2a");
	assert_string_equal(prefix_str(&subnets.subnets[0].prefix, buf), "10.0.1.0/24");
	/* Not the one that is on its way out. */
	assert_string_equal(prefix_str(&subnets.subnets[0].prefix6, buf), "2600:1f14:aa:bb00::/64");
	assert_int_equal(subnets.subnets[0].free, 245);
	assert_false(subnets.subnets[0].tagged || subnets.subnets[0].of_clusters);
	/* For pods, and for us among others. */
	assert_true(subnets.subnets[1].tagged && !subnets.subnets[1].excluded);
	assert_true(subnets.subnets[1].of_clusters && subnets.subnets[1].of_ours);
	assert_int_equal(subnets.subnets[1].prefix6.addr.family, IP_NONE);
	/* Not for pods. */
	assert_true(subnets.subnets[2].tagged && subnets.subnets[2].excluded);
	/* For others, one of whom is called nearly as we are. */
	assert_true(subnets.subnets[3].of_clusters && !subnets.subnets[3].of_ours && !subnets.subnets[3].tagged);
	/* IPv6 only. */
	assert_int_equal(subnets.subnets[4].prefix.addr.family, IP_NONE);
	ec2_subnets_done(&subnets);
	free(next);
	free(xml);
}

static void test_subnets__ipv6_range_that_was_taken_back(void **state)
{
	char *xml = check_golden(ROOT "subnet6.xml", NULL), *only, *next = NULL;
	struct ec2_subnets subnets = { 0 };
	char buf[PREFIX_STRLEN];

	(void)state;
	assert_int_equal(ec2_decode_subnets(xml, strlen(xml), "", &subnets, &next, NULL), 0);
	assert_string_equal(prefix_str(&subnets.subnets[0].prefix6, buf), "2600:1f14:aa:bb00::/64");
	only = strstr(xml, ">associated");
	only[1] = 'd'; /* some other state */
	assert_int_equal(ec2_decode_subnets(xml, strlen(xml), "", &subnets, &next, NULL), 0);
	assert_int_equal(subnets.subnets[1].prefix6.addr.family, IP_NONE);
	ec2_subnets_done(&subnets);
	free(xml);
}

/* A cluster without a name has no tags of its own, not even that of a cluster called "". */
static void test_subnets__without_a_cluster(void **state)
{
	static const char xml[] =
		"<DescribeSubnetsResponse><subnetSet><item><subnetId>subnet-1</subnetId><tagSet><item>"
		"<key>cni.networking.k8s.aws/cluster/</key><value/></item></tagSet></item></subnetSet>"
		"</DescribeSubnetsResponse>";
	struct ec2_subnets subnets = { 0 };
	char *next = NULL;

	(void)state;
	assert_int_equal(ec2_decode_subnets(xml, strlen(xml), "", &subnets, &next, NULL), 0);
	assert_true(subnets.subnets[0].of_clusters && !subnets.subnets[0].of_ours);
	assert_null(next);
	ec2_subnets_done(&subnets);
}

static void test_subnets__refused_whole(void **state)
{
	static const char *const rows[] = {
		"<subnetSet><item><subnetId>subnet-1</subnetId></item><item><cidrBlock>10.0.1.0/24</cidrBlock></item>"
		"</subnetSet>",
		"<subnetSet><item><subnetId>subnet-1</subnetId><cidrBlock>10.0.1.0/33</cidrBlock></item></subnetSet>",
		"<subnetSet><item><subnetId>subnet-1</subnetId><availableIpAddressCount>-1</availableIpAddressCount>"
		"</item></subnetSet>",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ec2_subnets subnets = { 0 };
		struct err err = { 0 };
		char *next = NULL, xml[512];

		(void)snprintf(xml, sizeof(xml), "<DescribeSubnetsResponse>%s</DescribeSubnetsResponse>", rows[i]);
		assert_int_equal(ec2_decode_subnets(xml, strlen(xml), "", &subnets, &next, &err), -1);
		assert_int_equal(err.class, ERR_PROTOCOL);
		assert_int_equal(subnets.count, 0);
		assert_null(next);
		ec2_subnets_done(&subnets);
	}
}

/* What is asked of an interface beside its addresses. */
static void test_nic__marks(void **state)
{
	static const char xml[] =
		"<DescribeNetworkInterfacesResponse><networkInterfaceSet><item><networkInterfaceId>eni-1</"
		"networkInterfaceId>"
		"<vpcId>vpc-1</vpcId><operator><managed>false</managed><hiddenByDefault>true</hiddenByDefault></"
		"operator>"
		"<connectionTrackingConfiguration><tcpEstablishedTimeout>600</tcpEstablishedTimeout>"
		"<udpTimeout>45</udpTimeout></connectionTrackingConfiguration>"
		"<tagSet><item><key>node.berth.io/created_at</key><value>2026-01-01T00:00:00Z</value></item></tagSet></"
		"item>"
		"<item><networkInterfaceId>eni-2</networkInterfaceId><tagSet><item><key>node.berth.io/created_at</key>"
		"<value>yesterday</value></item></tagSet></item></networkInterfaceSet></"
		"DescribeNetworkInterfacesResponse>";
	struct ec2_nics nics = { 0 };
	char *next = NULL;

	(void)state;
	assert_int_equal(ec2_decode_nics(xml, strlen(xml), &nics, &next, NULL), 0);
	assert_string_equal(nics.nics[0].vpc, "vpc-1");
	assert_true(nics.nics[0].operator_hidden && !nics.nics[0].operator_managed);
	assert_int_equal(nics.nics[0].tracking.tcp_established_s, 600);
	assert_int_equal(nics.nics[0].tracking.udp_stream_s, 0);
	assert_int_equal(nics.nics[0].tracking.udp_s, 45);
	assert_int_equal(nics.nics[0].created_us, INT64_C(1767225600) * 1000000);
	assert_int_equal(nics.nics[1].created_us, 0);
	ec2_nics_done(&nics);
}

static void test_nic__no_manage(void **state)
{
	static const struct {
		const char *key, *value;
		bool no_manage;
	} rows[] = {
		{ "node.k8s.amazonaws.com/no_manage", "true", true },
		{ "node.berth.io/no_manage", "true", true },
		{ "node.berth.io/no_manage", "", true },
		{ "node.berth.io/no_manage", "please", true },
		{ "node.berth.io/no_manage", "false", false },
		{ "node.k8s.amazonaws.com/no_manage", "False", false },
		{ "node.k8s.amazonaws.com/createdAt", "true", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ec2_nics nics = { 0 };
		char *next = NULL, xml[512];

		(void)snprintf(
			xml, sizeof(xml),
			"<DescribeNetworkInterfacesResponse><networkInterfaceSet><item><networkInterfaceId>eni-1"
			"</networkInterfaceId><tagSet><item><key>%s</key><value>%s</value></item></tagSet></item>"
			"</networkInterfaceSet></DescribeNetworkInterfacesResponse>",
			rows[i].key, rows[i].value);
		assert_int_equal(ec2_decode_nics(xml, strlen(xml), &nics, &next, NULL), 0);
		assert_int_equal(nics.nics[0].no_manage, rows[i].no_manage);
		ec2_nics_done(&nics);
	}
}

static void test_ack__with_and_without_return(void **state)
{
	static const struct {
		const char *xml;
		int r;
	} rows[] = {
		{ "<DeleteNetworkInterfaceResponse><requestId>r</requestId><return>true</return></"
		  "DeleteNetworkInterfaceResponse>",
		  0 },
		{ "<DeleteNetworkInterfaceResponse><requestId>r</requestId></DeleteNetworkInterfaceResponse>", 0 },
		{ "<DeleteNetworkInterfaceResponse><return>false</return></DeleteNetworkInterfaceResponse>", -1 },
		{ "<DetachNetworkInterfaceResponse><return>true</return></DetachNetworkInterfaceResponse>", -1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(ec2_decode_ack(rows[i].xml, strlen(rows[i].xml), "DeleteNetworkInterface", NULL),
				 rows[i].r);
}

static void test_sts__golden(void **state)
{
	char *xml = check_golden(ROOT "assume-role.xml", NULL);
	struct aws_creds creds;
	struct err err = { 0 };
	int64_t expires_us;

	(void)state;
	if (sts_decode_creds(xml, strlen(xml), &creds, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(creds.access_key.text, "ASIAEXAMPLEEXAMPLE01");
	assert_string_equal(creds.secret_key.text, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
	assert_string_equal(creds.token.text, "IQoJb3JpZ2luX2VjEKX//////////wEaCXVzLWVhc3QtMSJHMEUCIQD+/==");
	assert_int_equal(aws_time_parse("2026-01-01T01:00:00Z", &expires_us), 0);
	assert_int_equal(creds.expires_us, expires_us);
	aws_creds_done(&creds);
	free(xml);
}

#define STS(inner)                                                                                                     \
	"<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>" inner                      \
	"</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"

static void test_sts__refused_without_a_word_of_the_secret(void **state)
{
	static const char *const rows[] = {
		STS("<AccessKeyId>A</AccessKeyId><SecretAccessKey>very-secret</SecretAccessKey>"
		    "<SessionToken>very-secret</SessionToken>"),
		STS("<AccessKeyId>A</AccessKeyId><SecretAccessKey>very-secret</SecretAccessKey>"
		    "<Expiration>2026-01-01T01:00:00Z</Expiration>"),
		STS("<AccessKeyId>A</AccessKeyId><SecretAccessKey/><SessionToken>very-secret</SessionToken>"
		    "<Expiration>2026-01-01T01:00:00Z</Expiration>"),
		STS("<AccessKeyId/><SecretAccessKey>very-secret</SecretAccessKey><SessionToken>t</SessionToken>"
		    "<Expiration>2026-01-01T01:00:00Z</Expiration>"),
		STS("<AccessKeyId>A</AccessKeyId><SecretAccessKey>very-secret</SecretAccessKey>"
		    "<SessionToken>t</SessionToken><Expiration>very-secret</Expiration>"),
		STS("<AccessKeyId>A</AccessKeyId><SecretAccessKey>very-secret</SecretAccessKey>"
		    "<SessionToken>t</SessionToken><Expiration>2026-01-01T01:00:00Z</Expiration><very-secret>"),
		"<DescribeSubnetsResponse/>",
		"very-secret",
		"",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct aws_creds creds = { 0 };
		struct err err = { 0 };

		if (sts_decode_creds(rows[i], strlen(rows[i]), &creds, &err) == 0)
			fail_msg("row %zu went well", i);
		assert_int_equal(err.class, ERR_PROTOCOL);
		assert_null(strstr(err.msg, "very-secret"));
		assert_null(creds.secret_key.text);
	}
}

static void test_error__golden(void **state)
{
	char *xml = check_golden(ROOT "error.xml", NULL);
	char *sts = check_golden(ROOT "error-sts.xml", NULL);
	char *html = check_golden(ROOT "gateway.html", NULL);
	struct ec2_error error;

	(void)state;
	assert_int_equal(ec2_decode_error(xml, strlen(xml), &error), 0);
	assert_string_equal(error.code, "InvalidNetworkInterfaceID.NotFound");
	assert_string_equal(error.message, "The networkInterface ID 'eni-0' does not exist");
	assert_int_equal(ec2_decode_error(sts, strlen(sts), &error), 0);
	assert_string_equal(error.code, "ExpiredTokenException");
	assert_int_equal(ec2_decode_error(html, strlen(html), &error), -1);
	assert_int_equal(ec2_decode_error("", 0, &error), -1);
	assert_int_equal(ec2_decode_error("<Response/>", 11, &error), -1);
	free(xml);
	free(sts);
	free(html);
}

static void test_form__encoding(void **state)
{
	_cleanup_strbuf_ struct strbuf form = { 0 };

	(void)state;
	ec2_form_begin(&form, "DescribeSubnets");
	ec2_form_add(&form, "Filter.1.Name", "tag:a/b");
	ec2_form_add(&form, "X", "caf\xc3\xa9 *-_.~+&=%");
	ec2_form_add(&form, "Empty", "");
	ec2_form_add_uint(&form, "N", 42);
	assert_string_equal(form.text, "Action=DescribeSubnets&Version=2016-11-15&Filter.1.Name=tag%3Aa%2Fb"
				       "&X=caf%C3%A9%20%2A-_.~%2B%26%3D%25&Empty=&N=42");
	strbuf_clear(&form);
	sts_form_begin(&form, "AssumeRoleWithWebIdentity");
	assert_string_equal(form.text, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_nics__pretty_printed_primary),
		check_unit_test(test_nics__by_path_not_by_name),
		check_unit_test(test_nics__blocks_of_both_families),
		check_unit_test(test_nics__managed_by_others),
		check_unit_test(test_nics__refused),
		check_unit_test(test_nics__limits),
		check_unit_test(test_nics__empty_and_last_page),
		check_unit_test(test_create__golden),
		check_unit_test(test_create__no_interface),
		check_unit_test(test_attach__golden),
		check_unit_test(test_assign__golden),
		check_unit_test(test_assign__ipv6_golden),
		check_unit_test(test_type__limits_of_card_0),
		check_unit_test(test_subnets__golden),
		check_unit_test(test_subnets__ipv6_range_that_was_taken_back),
		check_unit_test(test_subnets__without_a_cluster),
		check_unit_test(test_subnets__refused_whole),
		check_unit_test(test_nic__marks),
		check_unit_test(test_nic__no_manage),
		check_unit_test(test_ack__with_and_without_return),
		check_unit_test(test_sts__golden),
		check_unit_test(test_sts__refused_without_a_word_of_the_secret),
		check_unit_test(test_error__golden),
		check_unit_test(test_form__encoding),
	};

	return cmocka_run_group_tests_name("aws_codec", tests, NULL, NULL);
}
