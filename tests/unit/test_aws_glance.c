/* SPDX-License-Identifier: Apache-2.0 */
/* What metadata tells of the interfaces, from a service that plays a table: keys that are not there yet, and nonsense. */
#include "berth/cloud.h"
#include "berth/err.h"
#include "stub.h"

#define PRIMARY "02:11:22:33:44:55"
#define SECOND  "02:aa:bb:cc:dd:ee"
#define BASE    "network/interfaces/macs/"

struct item {
	const char *path; /* below /latest/meta-data/ */
	const char *body; /* NULL: 404 */
};

/* Who the instance is, and a primary interface with all its keys. */
static const struct item plain[] = {
	{ "instance-id", "i-0abc1234567890def" },
	{ "instance-type", "m5.large" },
	{ "placement/availability-zone", "us-west-2a" },
	{ "placement/region", "us-west-2" },
	{ "mac", PRIMARY },
	{ "local-ipv4", "10.0.1.10" },
	{ BASE, PRIMARY "/" },
	{ BASE PRIMARY "/", "device-number\ninterface-id\nipv4-associations/\nipv4-prefix\nipv6s\nlocal-hostname\n"
			    "local-ipv4s\nmac\nsubnet-id\nsubnet-ipv4-cidr-block\nvpc-ipv4-cidr-blocks" },
	{ BASE PRIMARY "/device-number", "0" },
	{ BASE PRIMARY "/interface-id", "eni-0cc11111111111111" },
	{ BASE PRIMARY "/subnet-id", "subnet-0aa11111111111111" },
	{ BASE PRIMARY "/subnet-ipv4-cidr-block", "10.0.1.0/24" },
	{ BASE PRIMARY "/vpc-ipv4-cidr-blocks", "10.0.0.0/16" },
	{ BASE PRIMARY "/local-ipv4s", "10.0.1.10\n10.0.1.20\n10.0.1.21" },
	{ BASE PRIMARY "/ipv4-prefix", "10.0.1.64/28\n10.0.1.80/28" },
	{ BASE PRIMARY "/ipv6s", "2600:1f14::1" },
};

struct world {
	struct stub stub;
	const struct item *more; /* wins over plain[] */
	size_t more_count;
	unsigned missing; /* answers of 404 */
	struct cloud *cloud;
	char url[64];
	struct cloud_view view;
	struct err err;
};

static const struct item *item_find(const struct item *items, size_t count, const char *request)
{
	char line[256];

	for (size_t i = 0; i < count; i++) {
		(void)snprintf(line, sizeof(line), "GET /latest/meta-data/%s HTTP/1.1\r\n", items[i].path);
		if (str_starts(request, line))
			return &items[i];
	}
	return NULL;
}

/* Any number of interfaces of another network card. */
static const struct item *other_card(const char *request)
{
	static const struct item names = { "", "network-card" }, card = { "", "1" };

	if (!strstr(request, "/macs/02:00:00:"))
		return NULL;
	return strstr(request, "/network-card HTTP/1.1") ? &card : &names;
}

static void imds(struct stub *stub, unsigned number, const char *request, struct stub_answer *answer)
{
	struct world *w = stub->ctx;
	const struct item *item = item_find(w->more, w->more_count, request);

	(void)number;
	if (!item)
		item = item_find(plain, ARRAY_SIZE(plain), request);
	if (!item)
		item = other_card(request);
	if (str_starts(request, "PUT ")) {
		stub_reply(answer, "200 OK", "Content-Type: text/plain\r\n", "TOKEN==");
	} else if (item && item->body) {
		stub_reply(answer, "200 OK", "Content-Type: text/plain\r\n", item->body);
	} else {
		w->missing++;
		stub_reply(answer, "404 Not Found", "Content-Type: text/html\r\n", "<html>404 - Not Found</html>");
	}
}

static struct world *current;

static const char *fake_env(const char *name)
{
	return str_equal(name, "AWS_EC2_METADATA_SERVICE_ENDPOINT") ? current->url : NULL;
}

static int setup(void **state)
{
	const struct cloud_config config = { .getenv = fake_env };
	struct world *w = calloc(1, sizeof(*w));

	if (!w || check_fds_setup(state) != 0)
		return -1;
	current = w;
	stub_start(&w->stub, imds, w);
	(void)snprintf(w->url, sizeof(w->url), "http://127.0.0.1:%u", w->stub.port);
	assert_int_equal(cloud_open("aws", &config, &w->cloud, &w->err), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	cloud_view_done(&w->view);
	cloud_free(w->cloud);
	stub_stop(&w->stub);
	free(w);
	return check_fds_teardown(state);
}

static int glance(struct world *w, const struct item *more, size_t count)
{
	w->more = more;
	w->more_count = count;
	cloud_view_done(&w->view);
	return w->cloud->ops->glance(w->cloud, clock_now(&clock_boot) + 20 * USEC_PER_SEC, &w->view, &w->err);
}

static void glanced(struct world *w, const struct item *more, size_t count)
{
	if (glance(w, more, count) < 0)
		fail_msg("%s", w->err.msg);
}

static void test_glance__primary_with_everything(void **state)
{
	/* Its own IPv6 address is none of them. */
	static const char *const blocks[] = { "10.0.1.20/32", "10.0.1.21/32", "10.0.1.64/28", "10.0.1.80/28" };
	struct world *w = *state;
	const struct cloud_nic *nic;
	char text[PREFIX_STRLEN];

	glanced(w, NULL, 0);
	assert_int_equal(w->view.nic_count, 1);
	nic = &w->view.nics[0];
	assert_string_equal(nic->id, "eni-0cc11111111111111");
	assert_true(nic->primary && nic->attached);
	assert_int_equal(nic->slot, 0);
	assert_string_equal(ipaddr_str(&nic->primary_addr, text), "10.0.1.10");
	assert_string_equal(ipaddr_str(&nic->primary_addr6, text), "2600:1f14::1");
	assert_int_equal(nic->block_count, ARRAY_SIZE(blocks));
	for (unsigned i = 0; i < nic->block_count; i++)
		assert_string_equal(prefix_str(&nic->blocks[i].prefix, text), blocks[i]);
	assert_int_equal(w->missing, 0);
}

/* What the VPC gets later is seen; half of what it has is not taken for the whole. */
static void test_glance__ranges_of_the_vpc__aws_40_22(void **state)
{
	const struct item more[] = { { BASE PRIMARY "/vpc-ipv4-cidr-blocks", "10.0.0.0/16\n100.64.0.0/16" } };
	const struct item half[] = { { BASE PRIMARY "/vpc-ipv4-cidr-blocks", NULL } };
	struct world *w = *state;
	char text[PREFIX_STRLEN];
	unsigned before;

	glanced(w, NULL, 0);
	before = w->view.vpc_prefix_count;
	assert_true(before > 0);
	assert_string_equal(prefix_str(&w->view.vpc_prefixes[0], text), "10.0.0.0/16");
	glanced(w, more, ARRAY_SIZE(more));
	assert_int_equal(w->view.vpc_prefix_count, before + 1);
	assert_string_equal(prefix_str(&w->view.vpc_prefixes[1], text), "100.64.0.0/16");
	glanced(w, half, ARRAY_SIZE(half));
	assert_int_equal(w->view.vpc_prefix_count, 0);
}

/* 30 s of a new interface's life: its MAC, then an ID with a device number that is wrong, then the whole. */
static void test_glance__new_interface(void **state)
{
	const struct item only_mac[] = { { BASE, PRIMARY "/\n" SECOND "/" } };
	const struct item wrong_number[] = {
		{ BASE, PRIMARY "/\n" SECOND "/" },
		{ BASE SECOND "/", "device-number\ninterface-id" },
		{ BASE SECOND "/device-number", "0" },
		{ BASE SECOND "/interface-id", "eni-0dd" },
	};
	const struct item whole[] = {
		{ BASE, SECOND "/\n" PRIMARY "/" },
		{ BASE SECOND "/", "device-number\ninterface-id\nlocal-ipv4s\nnetwork-card" },
		{ BASE SECOND "/device-number", "2" },
		{ BASE SECOND "/interface-id", "eni-0dd" },
		{ BASE SECOND "/local-ipv4s", "10.0.1.30" },
		{ BASE SECOND "/network-card", "0" },
	};
	struct world *w = *state;
	char text[MACADDR_STRLEN];

	glanced(w, only_mac, ARRAY_SIZE(only_mac));
	assert_int_equal(w->view.nic_count, 2);
	assert_string_equal(macaddr_str(&w->view.nics[1].mac, text), SECOND);
	assert_string_equal(w->view.nics[1].id, "");
	assert_false(w->view.nics[1].attached || w->view.nics[1].primary);
	glanced(w, wrong_number, ARRAY_SIZE(wrong_number));
	assert_string_equal(w->view.nics[1].id, "eni-0dd");
	assert_false(w->view.nics[1].attached || w->view.nics[1].primary);
	glanced(w, whole, ARRAY_SIZE(whole));
	assert_string_equal(w->view.nics[0].id, "eni-0dd");
	assert_true(w->view.nics[0].attached && !w->view.nics[0].primary);
	assert_int_equal(w->view.nics[0].slot, 2);
	assert_int_equal(w->view.nics[0].block_count, 0);
	assert_true(w->view.nics[1].primary);
}

/* Named a moment ago, and not there when it is asked for. */
static void test_glance__key_that_vanishes__aws_40_8(void **state)
{
	const struct item items[] = { { BASE PRIMARY "/ipv4-prefix", NULL }, { BASE PRIMARY "/interface-id", NULL } };
	struct world *w = *state;

	glanced(w, NULL, 0); /* knows the instance from here on */
	glanced(w, items, ARRAY_SIZE(items));
	assert_int_equal(w->view.nics[0].block_count, 2);
	assert_string_equal(w->view.nics[0].id, "");
	assert_false(w->view.nics[0].attached);
	assert_int_equal(w->missing, 2);
}

/* "ipv6" or "local-ipv4" in the list is not "ipv6s" or "local-ipv4s". */
static void test_glance__keys_by_their_whole_name(void **state)
{
	const struct item items[] = { { BASE PRIMARY "/",
					"device-number\ninterface-id\nipv6s-x\nlocal-ipv4\nxipv4-prefix" } };
	struct world *w = *state;

	glanced(w, items, ARRAY_SIZE(items));
	assert_int_equal(w->view.nics[0].block_count, 0);
	assert_true(w->view.nics[0].attached);
	assert_int_equal(w->missing, 0);
}

static void test_glance__other_network_cards_are_not_shown(void **state)
{
	const struct item items[] = {
		{ BASE, PRIMARY "/\n" SECOND "/" },    { BASE SECOND "/", "device-number\ninterface-id\nnetwork-card" },
		{ BASE SECOND "/device-number", "1" }, { BASE SECOND "/interface-id", "eni-0dd" },
		{ BASE SECOND "/network-card", "3" },
	};
	struct world *w = *state;

	glanced(w, items, ARRAY_SIZE(items));
	assert_int_equal(w->view.nic_count, 1);
	assert_true(w->view.nics[0].primary);
}

static void test_glance__nonsense(void **state)
{
	static const struct item rows[] = {
		{ BASE, "not a mac/" },
		{ BASE PRIMARY "/device-number", "one" },
		{ BASE PRIMARY "/local-ipv4s", "10.0.1.10\n10.0.1.300" },
		{ BASE PRIMARY "/local-ipv4s", "" },
		{ BASE PRIMARY "/ipv4-prefix", "10.0.1.65/28" },
		{ BASE PRIMARY "/", "<html>a captive portal</html>" },
	};
	struct world *w = *state;

	glanced(w, NULL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (glance(w, &rows[i], 1) == 0)
			fail_msg("row %zu was believed", i);
		if (w->err.class != ERR_PROTOCOL)
			fail_msg("row %zu: %s %s", i, err_class_name(w->err.class), w->err.msg);
		assert_null(w->view.nics);
	}
}

/* A primary interface is always there: a list without any is a service that is just starting. */
static void test_glance__no_list(void **state)
{
	static const struct item none = { BASE, NULL };
	struct world *w = *state;

	assert_int_equal(glance(w, &none, 1), -1);
	assert_int_equal(w->err.class, ERR_RETRY);
}

static void test_glance__endless_list(void **state)
{
	_cleanup_strbuf_ struct strbuf macs = { 0 };
	struct item item = { BASE, NULL };
	struct world *w = *state;

	for (unsigned i = 0; i < 1000; i++)
		strbuf_printf(&macs, "02:00:00:00:%02x:%02x/\n", i / 256, i % 256);
	item.body = macs.text;
	assert_int_equal(glance(w, &item, 1), -1);
	assert_int_equal(w->err.class, ERR_PROTOCOL);
	assert_true(w->stub.requests < 400);
}

/* ---- the list of a provider that may ask EC2 of nothing ---- */

static int list_by_metadata(struct world *w, const struct item *more, size_t count, struct cloud_view *ret)
{
	const struct cloud_config config = { .getenv = fake_env, .access = CLOUD_ACCESS_METADATA };
	struct cloud *cloud;
	int rc;

	w->more = more;
	w->more_count = count;
	memset(ret, 0, sizeof(*ret));
	assert_int_equal(cloud_open("aws", &config, &cloud, &w->err), 0);
	rc = cloud->ops->list(cloud, clock_now(&clock_boot) + 20 * USEC_PER_SEC, ret, &w->err);
	cloud_free(cloud);
	return rc;
}

/* One that is not known completely is not there yet: without its ID, its number, its address or its subnet. */
static void test_list__new_interface_by_metadata(void **state)
{
	const struct item whole[] = {
		{ BASE, PRIMARY "/\n" SECOND "/" },
		{ BASE SECOND "/", "device-number\ninterface-id\nlocal-ipv4s\nsubnet-ipv4-cidr-block" },
		{ BASE SECOND "/device-number", "2" },
		{ BASE SECOND "/interface-id", "eni-0dd" },
		{ BASE SECOND "/local-ipv4s", "10.0.2.30\n10.0.2.31" },
		{ BASE SECOND "/subnet-ipv4-cidr-block", "10.0.2.0/24" },
	};
	struct world *w = *state;
	struct cloud_view view;
	char text[PREFIX_STRLEN];

	for (size_t lacks = 2; lacks <= ARRAY_SIZE(whole); lacks++) {
		struct item items[ARRAY_SIZE(whole)];

		memcpy(items, whole, sizeof(items));
		if (lacks < ARRAY_SIZE(whole))
			items[lacks].body = NULL;
		assert_int_equal(list_by_metadata(w, items, ARRAY_SIZE(items), &view), 0);
		if (view.nic_count != (lacks < ARRAY_SIZE(whole) ? 1 : 2))
			fail_msg("without %s: %u", whole[lacks].path, view.nic_count);
		assert_true(view.nics[0].primary);
		if (view.nic_count == 2) {
			assert_string_equal(prefix_str(&view.nics[1].subnet, text), "10.0.2.0/24");
			assert_string_equal(ipaddr_str(&view.nics[1].gateway, text), "10.0.2.1");
			assert_int_equal(view.nics[1].block_count, 1);
		}
		cloud_view_done(&view);
	}
}

/* Believing it would declare every pod's address lost. */
static void test_list__no_primary_by_metadata(void **state)
{
	static const struct item gone[] = {
		{ BASE PRIMARY "/local-ipv4s", NULL },
		{ BASE, PRIMARY "/\n" SECOND "/" },
		{ BASE SECOND "/", "device-number\ninterface-id\nlocal-ipv4s\nsubnet-ipv4-cidr-block" },
		{ BASE SECOND "/device-number", "2" },
		{ BASE SECOND "/interface-id", "eni-0dd" },
		{ BASE SECOND "/local-ipv4s", "10.0.2.30" },
		{ BASE SECOND "/subnet-ipv4-cidr-block", "10.0.2.0/24" },
	};
	struct world *w = *state;
	struct cloud_view view;

	assert_int_equal(list_by_metadata(w, gone, ARRAY_SIZE(gone), &view), -1);
	assert_int_equal(w->err.class, ERR_RETRY);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_glance__primary_with_everything),
		T(test_glance__ranges_of_the_vpc__aws_40_22),
		T(test_glance__new_interface),
		T(test_glance__key_that_vanishes__aws_40_8),
		T(test_glance__keys_by_their_whole_name),
		T(test_glance__other_network_cards_are_not_shown),
		T(test_glance__nonsense),
		T(test_glance__no_list),
		T(test_glance__endless_list),
		T(test_list__new_interface_by_metadata),
		T(test_list__no_primary_by_metadata),
	};

	return cmocka_run_group_tests_name("aws_glance", tests, NULL, NULL);
}
