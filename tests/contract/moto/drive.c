/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DOC: the AWS provider against moto
 *
 * moto is a mock of EC2 that others wrote; tests/contract/moto/run starts it, makes a VPC, a node and one left-over NIC
 * in it, and runs this. Moto's metadata service knows no network interfaces, so our own mock serves metadata from a
 * seed with moto's ids (MOTO_SEED); what it says of interfaces is never looked at again.
 *
 * The tests are one walk: each starts where the one before ended, and the cloud they all see is one. What moto does
 * otherwise than EC2 is tolerated where the name of the helper says so, and nowhere else.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "berth/cloud.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/str.h"
#include "mocks/aws/aws_mock.h"
#include "tests/check.h"

#define SEED_MAX (1U << 20) /* bytes */
#define LIMIT_S  30         /* one call to a server on this machine; attaching waits for two of them */

static struct walk {
	struct aws_mock *metadata;
	struct cloud *cloud;
	json_t *seed;
	struct cloud_identity self;
	char second[CLOUD_ID_SIZE]; /* the NIC that was attached */
} walk;

static int64_t limit(void)
{
	return clock_now(&clock_boot) + LIMIT_S * USEC_PER_SEC;
}

static void must(int r, const char *what, const struct err *err)
{
	if (r < 0)
		fail_msg("%s: %s %s", what, err_class_name(err->class), err->msg);
}

/* Of the seed's first @list member. */
static const char *seeded(const char *list, const char *key)
{
	return json_string_value(json_object_get(json_array_get(json_object_get(walk.seed, list), 0), key));
}

static struct cloud_view view_now(void)
{
	struct cloud_view view = { 0 };
	struct err err = { 0 };

	must(walk.cloud->ops->list(walk.cloud, limit(), &view, &err), "list", &err);
	return view;
}

static const struct cloud_nic *nic_in(const struct cloud_view *view, const char *id)
{
	unsigned i = 0;

	while (view->nics && i < view->nic_count && !str_equal(view->nics[i].id, id))
		i++;
	if (!view->nics || i == view->nic_count)
		fail_msg("the list lacks %s", id);
	return &view->nics[i];
}

static unsigned blocks_of(const char *id)
{
	struct cloud_view view = view_now();
	unsigned count = nic_in(&view, id)->block_count;

	cloud_view_done(&view);
	return count;
}

/*
 * moto answers Assign with all addresses of the NIC, the primary among them: more than were asked for, which the
 * provider must not believe. It says AMBIGUOUS, and the list tells, as for the daemon.
 */
static void grow_and_read_back(const char *id, unsigned count)
{
	const struct cloud_want wants[IP_FAMILIES] = { { count, 32 } };
	unsigned before = blocks_of(id);
	struct cloud_nic got = { 0 };
	struct err err = { 0 };

	if (walk.cloud->ops->assign(walk.cloud, id, wants, limit(), &got, &err) < 0 && err.class != ERR_AMBIGUOUS)
		fail_msg("assign: %s %s", err_class_name(err.class), err.msg);
	cloud_nic_done(&got);
	assert_int_equal(blocks_of(id), before + count);
}

/* ---- the walk ---- */

static void test_identify__moto(void **state)
{
	struct err err = { 0 };
	char text[IPADDR_STRLEN];

	(void)state;
	must(walk.cloud->ops->identify(walk.cloud, limit(), &walk.self, &err), "identify", &err);
	assert_string_equal(walk.self.instance, seeded("instances", "id"));
	assert_string_equal(walk.self.type, seeded("instances", "type"));
	assert_string_equal(walk.self.nic, seeded("instances", "nic"));
	assert_string_equal(ipaddr_str(&walk.self.primary_addr, text), seeded("instances", "primary"));
}

static void test_limits__moto(void **state)
{
	struct cloud_limits limits;
	struct err err = { 0 };

	(void)state;
	must(walk.cloud->ops->limits(walk.cloud, limit(), &limits, &err), "limits", &err);
	assert_int_equal(limits.nics_max, 3); /* m5.large */
	assert_int_equal(limits.units[0].per_nic_max, 9);
	assert_true(limits.can_attach_nic);
}

static void test_list__moto(void **state)
{
	struct cloud_view view = view_now();
	const struct cloud_nic *nic = nic_in(&view, walk.self.nic);
	char text[PREFIX_STRLEN];

	(void)state;
	assert_int_equal(view.nic_count, 1);
	assert_true(nic->primary && nic->attached && !nic->foreign);
	assert_true(macaddr_equal(&nic->mac, &walk.self.primary_mac));
	assert_true(ipaddr_equal(&nic->primary_addr, &walk.self.primary_addr));
	assert_string_equal(prefix_str(&nic->subnet, text), seeded("subnets", "cidr"));
	assert_int_equal(nic->block_count, 0);
	cloud_view_done(&view);
}

static void test_assign__moto(void **state)
{
	(void)state;
	grow_and_read_back(walk.self.nic, 3);
	grow_and_read_back(walk.self.nic, 1);
}

static void test_release__moto(void **state)
{
	struct cloud_view view = view_now();
	const struct cloud_nic *nic = nic_in(&view, walk.self.nic);
	struct prefix gone[2];
	struct err err = { 0 };

	(void)state;
	assert_int_equal(nic->block_count, 4);
	gone[0] = nic->blocks[0].prefix;
	gone[1] = nic->blocks[2].prefix;
	cloud_view_done(&view);
	must(walk.cloud->ops->release(walk.cloud, walk.self.nic, gone, 2, limit(), &err), "release", &err);
	assert_int_equal(blocks_of(walk.self.nic), 2);
	must(walk.cloud->ops->release(walk.cloud, walk.self.nic, gone, 2, limit(), &err), "release again", &err);
	assert_int_equal(blocks_of(walk.self.nic), 2);
}

static void test_attach__moto(void **state)
{
	const struct cloud_attach want = { .slot = 1, .wants = { { 2, 32 } }, .token = "moto-attach-1" };
	struct cloud_nic made = { 0 };
	struct err err = { 0 };

	(void)state;
	must(walk.cloud->ops->attach(walk.cloud, &want, limit(), &made, &err), "attach", &err);
	assert_int_equal(made.slot, 1);
	assert_int_equal(made.block_count, 2);
	assert_true(!made.foreign && !made.primary);
	(void)str_copy(walk.second, sizeof(walk.second), made.id);
	cloud_nic_done(&made);

	struct cloud_view view = view_now();
	const struct cloud_nic *nic = nic_in(&view, walk.second);

	assert_int_equal(view.nic_count, 2);
	assert_true(nic->attached && !nic->foreign);
	assert_int_equal(nic->block_count, 2);
	cloud_view_done(&view);
	grow_and_read_back(walk.second, 2);
}

/* The leftover that run has made goes; what is attached stays. */
static void test_sweep__moto(void **state)
{
	unsigned swept = 99;
	struct err err = { 0 };

	(void)state;
	must(walk.cloud->ops->sweep(walk.cloud, limit(), &swept, &err), "sweep", &err);
	assert_int_equal(swept, 1);
	must(walk.cloud->ops->sweep(walk.cloud, limit(), &swept, &err), "sweep again", &err);
	assert_int_equal(swept, 0);
	assert_int_equal(blocks_of(walk.second), 4);
}

static void test_detach__moto(void **state)
{
	struct cloud_view view;
	struct err err = { 0 };

	(void)state;
	must(walk.cloud->ops->detach(walk.cloud, walk.second, limit(), &err), "detach", &err);
	view = view_now();
	assert_int_equal(view.nic_count, 1);
	(void)nic_in(&view, walk.self.nic);
	cloud_view_done(&view);
	if (walk.cloud->ops->detach(walk.cloud, walk.second, limit(), &err) < 0)
		assert_int_equal(err.class, ERR_NOTFOUND);
}

/* ---- start ---- */

static int start_metadata(struct err *err)
{
	const char *path = getenv("MOTO_SEED");
	_cleanup_free_ char *text = NULL;

	if (!path || fs_read(path, SEED_MAX, &text, NULL) < 0)
		return err_set(err, ERR_INVALID, "moto", "MOTO_SEED names no file: use tests/contract/moto/run");
	walk.seed = json_loads(text, 0, NULL);
	if (!walk.seed || aws_mock_start(text, NULL, &walk.metadata, err) < 0)
		return -1;
	return setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws_mock_metadata_url(walk.metadata, NULL), 1);
}

static int walk_start(void **state)
{
	const struct cloud_config config = { .cluster = "moto" };
	struct err err = { 0 };

	if (check_fds_setup(state) < 0)
		return -1;
	if (start_metadata(&err) == 0 && cloud_open("aws", &config, &walk.cloud, &err) == 0)
		return 0;
	print_error("%s\n", err.msg);
	return -1;
}

static int walk_end(void **state)
{
	cloud_free(walk.cloud);
	aws_mock_stop(walk.metadata);
	json_decref(walk.seed);
	return check_fds_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identify__moto), cmocka_unit_test(test_limits__moto),
		cmocka_unit_test(test_list__moto),     cmocka_unit_test(test_assign__moto),
		cmocka_unit_test(test_release__moto),  cmocka_unit_test(test_attach__moto),
		cmocka_unit_test(test_sweep__moto),    cmocka_unit_test(test_detach__moto),
	};

	return cmocka_run_group_tests(tests, walk_start, walk_end);
}
