/* SPDX-License-Identifier: Apache-2.0 */
/* The AWS provider against the mock: where new interfaces go, with what, which are ours, and what others left behind. */
#include "cloud/aws/form.h"
#include "cloud/aws/provider.h"
#include "cloud/http.h"
#include "tests/contract/aws_world.h"

#define OTHER "i-0a000000000000002"
#define HOME  "subnet-0a000000000000001" /* of n1's primary interface */
#define WIDE  "subnet-0a000000000000002" /* tagged for pods, most free addresses */
#define SMALL "subnet-0a000000000000003" /* tagged for pods */
#define FAR   "subnet-0a000000000000004" /* tagged for pods, another zone */
#define PLACE "subnet-0a000000000000005" /* untagged; n2's */

#define TAG_FOR "\"kubernetes.io/role/cni\":\"1\""
#define TAG_NOT "\"kubernetes.io/role/cni\":\"0\""

#define RANGE6 "2600:1f14:aa:bb03::/64" /* of SMALL */

#define SUBNET "{\"id\":\"%s\",\"cidr\":\"%s\",\"az\":\"us-west-2%s\",\"tags\":{%s}%s}"
#define GROUP  "{\"id\":\"%s\",\"name\":\"%s\"}"
#define NODE   "{\"name\":\"%s\",\"id\":\"%s\",\"type\":\"m5.4xlarge\",\"subnet\":%u}"

/* A seed with these tags of the subnets, and @more keys. Return: static. */
static const char *many(const char *home, const char *wide, const char *small, const char *more)
{
	static char text[4096];
	int len = snprintf(text, sizeof(text),
			   "{\"region\":\"us-west-2\",\"vpc\":{\"id\":\"vpc-0a1\",\"cidrs\":[\"10.0.0.0/16\"]},"
			   "\"subnets\":[" SUBNET "," SUBNET "," SUBNET "," SUBNET "," SUBNET "],"
			   "\"security_groups\":[" GROUP "," GROUP "," GROUP "],"
			   "\"credentials\":[{\"access_key\":\"AKIDEXAMPLE\",\"secret\":\"" SECRET "\"}],"
			   "\"instances\":[" NODE "," NODE "]%s}",
			   HOME, "10.0.1.0/24", "a", home, "", WIDE, "10.0.16.0/20", "a", wide, "", SMALL,
			   "10.0.3.0/26", "a", small, ",\"cidr6\":\"" RANGE6 "\"", FAR, "10.0.128.0/17", "b", TAG_FOR,
			   "", PLACE, "10.0.5.0/24", "a", "", "", "sg-0a1", "nodes", "sg-0a2", "more", "sg-0a3", "pods",
			   "n1", INSTANCE, 0U, "n2", OTHER, 4U, more);

	assert_in_range(len, 1, sizeof(text) - 1);
	return text;
}

/* The ordinary one. */
static const char *tagged(void)
{
	return many("", TAG_FOR, TAG_FOR, "");
}

/* One provider whose clocks a test moves: waits pass in no time, and a leftover is old at once. */
struct node {
	struct world *w;
	struct cloud *cloud;
	int64_t shift_us, wall_shift_us;
	struct clock boot, wall;
};

static int64_t shifted_boot(void *ctx)
{
	return clock_now(&clock_boot) + ((const struct node *)ctx)->shift_us;
}

static int64_t shifted_wall(void *ctx)
{
	return clock_now(&clock_wall) + ((const struct node *)ctx)->wall_shift_us;
}

static void start_two(struct world *w, const char *seed)
{
	struct aws_mock_options options = { .metadata_for = { { "n2", "127.0.0.1:0" } }, .metadata_for_count = 1 };

	memset(w, 0, sizeof(*w));
	if (aws_mock_start(seed, &options, &w->mock, &w->err) < 0)
		fail_msg("mock: %s", w->err.msg);
	env("AWS_ENDPOINT_URL_EC2", aws_mock_api_url(w->mock));
	env("AWS_REGION", NULL);
	env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
	env("AWS_SECRET_ACCESS_KEY", SECRET);
}

static void open_node(struct world *w, struct node *node, const char *name, const struct cloud_config *want)
{
	struct cloud_config config = *want;

	memset(node, 0, sizeof(*node));
	node->w = w;
	node->boot = (struct clock){ shifted_boot, node };
	node->wall = (struct clock){ shifted_wall, node };
	config.boot = &node->boot;
	config.wall = &node->wall;
	env("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws_mock_metadata_url(w->mock, str_equal(name, "n1") ? NULL : name));
	if (cloud_open("aws", &config, &node->cloud, &w->err) < 0)
		fail_msg("open: %s", w->err.msg);
}

static const struct cloud_config plain = { .cluster = "kube" };

static void one_node(struct world *w, struct node *node, const char *seed, const struct cloud_config *config)
{
	start_two(w, seed);
	open_node(w, node, "n1", config);
}

static void done(struct world *w, struct node *node)
{
	cloud_free(node->cloud);
	aws_mock_stop(w->mock);
}

static int64_t until(const struct node *node)
{
	return clock_now(&node->boot) + 20 * USEC_PER_SEC;
}

static void pass(struct node *node, int64_t seconds)
{
	node->shift_us += seconds * USEC_PER_SEC;
}

static int try_attach(struct node *node, const char *token, unsigned slot, unsigned units, struct cloud_nic *ret)
{
	struct cloud_attach want = { .slot = slot, .wants = { { units, 32 } } };

	memset(ret, 0, sizeof(*ret));
	memset(&node->w->err, 0, sizeof(node->w->err));
	(void)str_copy(want.token, sizeof(want.token), token);
	return node->cloud->ops->attach(node->cloud, &want, until(node), ret, &node->w->err);
}

/* A new interface; the caller releases nothing: only where it went matters. Its id into @id, which may be NULL. */
static const char *subnet_of_new(struct node *node, const char *token, unsigned slot, char *id)
{
	static char subnet[64];
	struct cloud_nic nic;
	json_t *state, *item;
	size_t i;

	if (try_attach(node, token, slot, 2, &nic) < 0)
		fail_msg("attach: %s %s", err_class_name(node->w->err.class), node->w->err.msg);
	subnet[0] = '\0';
	state = state_of(node->w);
	json_array_foreach (json_object_get(state, "nics"), i, item) {
		if (str_equal(json_string_value(json_object_get(item, "id")), nic.id))
			(void)str_copy(subnet, sizeof(subnet), json_string_value(json_object_get(item, "subnet")));
	}
	json_decref(state);
	if (id)
		(void)str_copy(id, 64, nic.id);
	cloud_nic_done(&nic);
	return subnet;
}

static void list_of(struct node *node, struct cloud_view *view)
{
	memset(view, 0, sizeof(*view));
	if (node->cloud->ops->list(node->cloud, until(node), view, &node->w->err) < 0)
		fail_msg("list: %s", node->w->err.msg);
}

static void list_only(struct node *node)
{
	struct cloud_view view;

	list_of(node, &view);
	cloud_view_done(&view);
}

static bool is_closed(struct node *node, unsigned slot)
{
	struct cloud_view view;
	bool closed;

	list_of(node, &view);
	closed = nic_at(&view, slot)->closed;
	cloud_view_done(&view);
	return closed;
}

/* Somebody with a console. */
static void tag(struct node *node, const char *id, const char *key, const char *value)
{
	_cleanup_strbuf_ struct strbuf form = { 0 };
	_cleanup_http_ struct http_response response = { 0 };
	const struct ec2_call call = { "CreateTags", &form, BUDGET_MUTATE, true };

	ec2_form_begin(&form, "CreateTags");
	ec2_form_add(&form, "ResourceId.1", id);
	ec2_form_add(&form, "Tag.1.Key", key);
	ec2_form_add(&form, "Tag.1.Value", value);
	assert_int_equal(ec2_call(&aws_of(node->cloud)->ec2, &call, until(node), &response, &node->w->err), 0);
}

static void deny(struct world *w, const char *action, int64_t count)
{
	fault(w, action, FAULT_ERROR, count, "UnauthorizedOperation",
	      "You are not authorized to perform this operation.");
}

static void says(const struct world *w, const char *text)
{
	if (!strstr(w->err.msg, text))
		fail_msg("\"%s\" lacks \"%s\"", w->err.msg, text);
}

/* ---- discovery ---- */

static void test_attach__most_free_tagged_subnet(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	/* Of the zone, not the far one, which has most of all. */
	assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), WIDE);
	assert_string_equal(subnet_of_new(&node, "t2", 2, NULL), WIDE);
	done(&w, &node);
}

static void test_attach__untagged_stays_at_home(void **state)
{
	static const struct cloud_config no_discovery = { .cluster = "kube", .no_discovery = true };
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, many("", "", "", ""), &plain);
	assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), HOME);
	done(&w, &node);
	one_node(&w, &node, many(TAG_NOT, TAG_FOR, "", ""), &no_discovery);
	assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), HOME);
	assert_false(is_closed(&node, 0));
	assert_int_equal(calls(&w, "DescribeSubnets"), 0);
	done(&w, &node);
}

static void test_attach__subnets_of_other_clusters(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node,
		 many("", TAG_FOR ",\"cni.networking.k8s.aws/cluster/other\":\"shared\"",
		      TAG_FOR ",\"cni.networking.k8s.aws/cluster/other\":\"\","
			      "\"cni.networking.k8s.aws/cluster/kube\":\"shared\"",
		      ""),
		 &plain);
	assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), HOME);
	tag(&node, HOME, "kubernetes.io/role/cni", "0");
	pass(&node, 61);
	assert_string_equal(subnet_of_new(&node, "t2", 2, NULL), SMALL);
	done(&w, &node);
}

static void test_attach__nowhere_to_go(void **state)
{
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, many(TAG_NOT, "", "", ""), &plain);
	assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
	assert_int_equal(w.err.class, ERR_INVALID);
	says(&w, "kubernetes.io/role/cni=1");
	says(&w, "us-west-2a");
	assert_int_equal(calls(&w, "CreateNetworkInterface"), 0);
	done(&w, &node);
}

/* One without IPv6 has more room, and is of no use to pods of both families. */
static void test_attach__subnet_with_ipv6(void **state)
{
	static const struct cloud_config both = { .cluster = "kube", .serves = { true, true } };
	struct cloud_attach want = { .slot = 1, .wants = { { 1, 32 }, { 1, 80 } }, .token = "t1" };
	struct cloud_nic nic = { 0 };
	struct node node;
	struct world w;
	char text[PREFIX_STRLEN];

	(void)state;
	one_node(&w, &node, tagged(), &both);
	if (node.cloud->ops->attach(node.cloud, &want, until(&node), &nic, &w.err) < 0)
		fail_msg("attach: %s", w.err.msg);
	assert_string_equal(prefix_str(&nic.subnet6, text), RANGE6);
	assert_int_equal(nic.block_count, 2);
	cloud_nic_done(&nic);
	done(&w, &node);
}

/* ---- what it costs ---- */

static void test_places__one_question_for_a_burst(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	list_only(&node);
	assert_int_equal(calls(&w, "DescribeSubnets"), 1);
	(void)subnet_of_new(&node, "t1", 1, NULL);
	(void)subnet_of_new(&node, "t2", 2, NULL);
	list_only(&node);
	assert_int_equal(calls(&w, "DescribeSubnets"), 1);
	pass(&node, 61);
	(void)subnet_of_new(&node, "t3", 3, NULL);
	assert_int_equal(calls(&w, "DescribeSubnets"), 2);
	done(&w, &node);
}

static void identify_node(struct node *node)
{
	struct cloud_identity self;

	if (node->cloud->ops->identify(node->cloud, until(node), &self, &node->w->err) < 0)
		fail_msg("identify: %s", node->w->err.msg);
}

struct attacher {
	struct node *node;
	char token[8];
	unsigned slot;
	int r;
};

static void *attach_one(void *ctx)
{
	struct attacher *a = ctx;
	struct cloud_attach want = { .slot = a->slot };
	struct cloud_nic nic = { 0 };

	(void)str_copy(want.token, sizeof(want.token), a->token);
	a->r = a->node->cloud->ops->attach(a->node->cloud, &want, until(a->node), &nic, NULL);
	cloud_nic_done(&nic);
	return NULL;
}

static void attach_at_once(struct node *node, unsigned count, int r)
{
	struct attacher attachers[4];
	pthread_t threads[4];

	for (unsigned i = 0; i < count; i++) {
		attachers[i] = (struct attacher){ .node = node, .slot = i + 1 };
		(void)snprintf(attachers[i].token, sizeof(attachers[i].token), "b%u", i);
		assert_int_equal(pthread_create(&threads[i], NULL, attach_one, &attachers[i]), 0);
	}
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(attachers[i].r, r);
	}
}

static void test_places__one_question_for_all_at_once(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, many("", TAG_FOR, "", ",\"timings\":{\"call_ms\":{\"DescribeSubnets\":300}}"), &plain);
	attach_at_once(&node, 4, 0);
	assert_int_equal(nic_count(&w), 6);
	assert_int_equal(calls(&w, "DescribeSubnets"), 1);
	done(&w, &node);
}

/* Those who waited for an answer that failed do not ask each once more. */
static void test_places__one_failure_for_all_at_once(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	identify_node(&node);
	/* Eight attempts, with waits between them. */
	fault(&w, "DescribeSubnets", FAULT_ERROR, FAULT_FOREVER, "InternalError", "no");
	attach_at_once(&node, 4, -1);
	assert_int_equal(calls(&w, "DescribeSubnets"), 8);
	assert_int_equal(calls(&w, "CreateNetworkInterface"), 0);
	done(&w, &node);
}

/* Marks are read each half hour, give or take a fifth. */
static void test_list__asks_for_marks_seldom(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	for (unsigned i = 0; i < 4; i++) {
		list_only(&node);
		pass(&node, 300);
	}
	assert_int_equal(calls(&w, "DescribeSubnets"), 1);
	pass(&node, 36 * 60 - 4 * 300);
	list_only(&node);
	assert_int_equal(calls(&w, "DescribeSubnets"), 2);
	done(&w, &node);
}

/* ---- what may not be asked ---- */

static void test_attach__may_not_see_subnets(void **state)
{
	static const char *const words[] = { "UnauthorizedOperation", "AuthFailure" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		struct node node;
		struct world w;
		unsigned asked;

		one_node(&w, &node, tagged(), &plain);
		fault(&w, "DescribeSubnets", FAULT_ERROR, FAULT_FOREVER, words[i], "no");
		list_only(&node);
		asked = calls(&w, "DescribeSubnets");
		assert_in_range(asked, 1, 2); /* one more with other credentials */
		assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), HOME);
		list_only(&node);
		pass(&node, 20 * 60);
		list_only(&node);
		assert_string_equal(subnet_of_new(&node, "t2", 2, NULL), HOME);
		assert_int_equal(calls(&w, "DescribeSubnets"), asked);
		/* Somebody has allowed it since. */
		aws_mock_faults_clear(w.mock);
		pass(&node, 20 * 60);
		assert_string_equal(subnet_of_new(&node, "t3", 3, NULL), WIDE);
		done(&w, &node);
	}
}

static void test_list__does_not_fail_with_subnets(void **state)
{
	struct node node;
	struct world w;
	unsigned asked;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	fault(&w, "DescribeSubnets", FAULT_GARBAGE, FAULT_FOREVER, "", "");
	list_only(&node);
	asked = calls(&w, "DescribeSubnets");
	list_only(&node);
	assert_int_equal(calls(&w, "DescribeSubnets"), asked);
	done(&w, &node);
}

static void test_attach__older_knowledge_while_ec2_fails(void **state)
{
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	fault(&w, "DescribeSubnets", FAULT_GARBAGE, FAULT_FOREVER, "", "");
	/* Nothing is known of tags that may forbid it. */
	assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
	assert_int_equal(w.err.class, ERR_PROTOCOL);
	aws_mock_faults_clear(w.mock);
	assert_string_equal(subnet_of_new(&node, "t2", 1, NULL), WIDE);
	fault(&w, "DescribeSubnets", FAULT_GARBAGE, FAULT_FOREVER, "", "");
	pass(&node, 3600);
	assert_string_equal(subnet_of_new(&node, "t3", 2, NULL), WIDE);
	done(&w, &node);
}

/* ---- exhaustion ---- */

static void test_attach__next_subnet_when_one_is_full__aws_12(void **state)
{
	static const struct {
		const char *code, *message;
	} rows[] = {
		{ "InsufficientFreeAddressesInSubnet", "The specified subnet does not have enough free addresses." },
		{ "InsufficientCidrBlocks", "The specified subnet does not have enough free cidr blocks." },
		{ "InvalidParameterValue", "There aren't sufficient free Ipv4 addresses or prefixes in subnet " WIDE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct node node;
		struct world w;

		one_node(&w, &node, tagged(), &plain);
		fault(&w, "CreateNetworkInterface", FAULT_ERROR, 1, rows[i].code, rows[i].message);
		assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), HOME);
		assert_int_equal(nic_count(&w), 3);
		/* It is remembered, but not for ever. */
		assert_string_equal(subnet_of_new(&node, "t2", 2, NULL), HOME);
		assert_int_equal(calls(&w, "CreateNetworkInterface"), 3);
		pass(&node, 119);
		assert_string_equal(subnet_of_new(&node, "t3", 3, NULL), HOME);
		pass(&node, 2);
		assert_string_equal(subnet_of_new(&node, "t4", 4, NULL), WIDE);
		done(&w, &node);
	}
}

static void test_attach__all_subnets_full__aws_12(void **state)
{
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	fault(&w, "CreateNetworkInterface", FAULT_ERROR, FAULT_FOREVER, "InsufficientFreeAddressesInSubnet", "no");
	assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
	assert_int_equal(w.err.class, ERR_EXHAUSTED);
	says(&w, WIDE ", " HOME ", " SMALL);
	says(&w, "kubernetes.io/role/cni=1");
	assert_int_equal(calls(&w, "CreateNetworkInterface"), 3);
	assert_int_equal(nic_count(&w), 2);
	done(&w, &node);
}

/* The quota of the account is the same in each of them. */
static void test_attach__another_limit_is_no_reason_to_move(void **state)
{
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	fault(&w, "CreateNetworkInterface", FAULT_ERROR, FAULT_FOREVER, "NetworkInterfaceLimitExceeded", "no");
	assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
	assert_int_equal(w.err.class, ERR_EXHAUSTED);
	assert_int_equal(calls(&w, "CreateNetworkInterface"), 1);
	done(&w, &node);
}

/* Nobody knows whether it was made: a second try, which would go elsewhere, finds it. */
static void test_attach__open_create_is_found_again(void **state)
{
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	fault(&w, "CreateNetworkInterface", FAULT_ERROR, 1, "InsufficientFreeAddressesInSubnet", "no");
	fault(&w, "CreateNetworkInterface", FAULT_LOST_ANSWER, FAULT_FOREVER, "", "");
	assert_int_equal(try_attach(&node, "t1", 1, 2, &nic), -1);
	assert_int_equal(w.err.class, ERR_RETRY);
	assert_int_equal(nic_count(&w), 3);
	aws_mock_faults_clear(w.mock);
	pass(&node, 121); /* the first one is the best again */
	assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), HOME);
	assert_int_equal(nic_count(&w), 3);
	/* One that ended well, asked for again. */
	assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), HOME);
	assert_int_equal(nic_count(&w), 3);
	assert_string_equal(subnet_of_new(&node, "t2", 2, NULL), WIDE);
	done(&w, &node);
}

/* What was made and deleted again is no obstacle for the next try of the same attach. */
static void test_attach__again_after_cleaning_up(void **state)
{
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	fault(&w, "AttachNetworkInterface", FAULT_ERROR, 1, "AttachmentLimitExceeded", "no");
	assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
	assert_int_equal(nic_count(&w), 2);
	assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), WIDE);
	assert_int_equal(nic_count(&w), 3);
	done(&w, &node);
}

static void test_attach__denied_says_what_to_allow(void **state)
{
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	deny(&w, "CreateNetworkInterface", FAULT_FOREVER);
	assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
	assert_int_equal(w.err.class, ERR_AUTH);
	says(&w, "ec2:CreateNetworkInterface");
	says(&w, "ec2:CreateTags");
	done(&w, &node);
}

/* ---- subnets and groups of the operator ---- */

static const char *const two_zones[] = { SMALL, FAR };
static const char *const far_only[] = { FAR };
static const char *const pods_group[] = { "sg-0a3" };

/* The groups of an interface, each after a blank. */
static const char *groups_of(struct node *node, const char *id)
{
	const struct ec2_filter filter = { "network-interface-id", id };
	static char text[256];
	struct ec2_nics nics;

	assert_int_equal(ec2_nics_describe(&aws_of(node->cloud)->ec2, &filter, 1, until(node), &nics, &node->w->err),
			 0);
	assert_int_equal(nics.count, 1);
	text[0] = '\0';
	for (unsigned i = 0; i < nics.nics[0].group_count; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), " %s", nics.nics[0].groups[i]);
	ec2_nics_done(&nics);
	return text;
}

static void test_attach__configured_subnet_of_the_zone__aws_19(void **state)
{
	static const struct cloud_config config = {
		.cluster = "kube", .subnet_count = 2, .subnets = two_zones, .group_count = 1, .groups = pods_group
	};
	static const struct cloud_config no_groups = { .cluster = "kube", .subnet_count = 2, .subnets = two_zones };
	struct node node;
	struct world w;
	char id[64];

	(void)state;
	/* The tag would forbid it: the operator's word stands above it. */
	one_node(&w, &node, many("", TAG_FOR, TAG_NOT, ""), &config);
	list_only(&node);
	assert_int_equal(calls(&w, "DescribeSubnets"), 0);
	assert_string_equal(subnet_of_new(&node, "t1", 1, id), SMALL);
	assert_string_equal(groups_of(&node, id), " sg-0a3");
	assert_true(is_closed(&node, 0));
	assert_false(is_closed(&node, 1));
	done(&w, &node);
	one_node(&w, &node, many("", TAG_FOR, "", ""), &no_groups);
	assert_string_equal(subnet_of_new(&node, "t1", 1, id), SMALL);
	assert_string_equal(groups_of(&node, id), " sg-0a1");
	done(&w, &node);
}

static void test_attach__no_configured_subnet_in_the_zone__aws_19(void **state)
{
	static const struct cloud_config config = { .cluster = "kube", .subnet_count = 1, .subnets = far_only };
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &config);
	assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
	assert_int_equal(w.err.class, ERR_INVALID);
	says(&w, FAR);
	says(&w, "us-west-2a");
	assert_int_equal(calls(&w, "CreateNetworkInterface"), 0);
	/* The primary one is none of the places where pods may be, all the same. */
	assert_true(is_closed(&node, 0));
	done(&w, &node);
}

static void test_attach__may_not_see_configured_subnets__aws_19(void **state)
{
	static const struct cloud_config config = { .cluster = "kube", .subnet_count = 2, .subnets = two_zones };
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &config);
	deny(&w, "DescribeSubnets", FAULT_FOREVER);
	assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
	assert_int_equal(w.err.class, ERR_AUTH);
	says(&w, "ec2:DescribeSubnets");
	/* Not where the operator does not want pods. */
	assert_int_equal(calls(&w, "CreateNetworkInterface"), 0);
	done(&w, &node);
}

/* ---- closed ---- */

static void test_list__closed_by_tag(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	assert_string_equal(subnet_of_new(&node, "t1", 1, NULL), WIDE);
	assert_false(is_closed(&node, 0) || is_closed(&node, 1));
	tag(&node, WIDE, "kubernetes.io/role/cni", "0");
	assert_false(is_closed(&node, 1));
	pass(&node, 36 * 60);
	assert_true(is_closed(&node, 1));
	assert_false(is_closed(&node, 0));
	tag(&node, HOME, "kubernetes.io/role/cni", "0");
	tag(&node, WIDE, "kubernetes.io/role/cni", "1");
	pass(&node, 36 * 60);
	assert_true(is_closed(&node, 0));
	assert_false(is_closed(&node, 1));
	done(&w, &node);
}

/* From the first list on: pods must not get what they are not to have. */
static void test_list__closed_at_once(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, many(TAG_NOT, TAG_FOR, "", ""), &plain);
	assert_true(is_closed(&node, 0));
	done(&w, &node);
}

static void test_list__closed_by_metadata_alone__aws_19(void **state)
{
	static const struct cloud_config config = {
		.cluster = "kube", .access = CLOUD_ACCESS_METADATA, .subnet_count = 2, .subnets = two_zones
	};
	static const struct cloud_config all = { .cluster = "kube", .access = CLOUD_ACCESS_METADATA };
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &config);
	control(&w, "foreign", "{\"instance\":\"n1\",\"device_index\":1}");
	assert_true(is_closed(&node, 0));
	assert_false(is_closed(&node, 1));
	cloud_free(node.cloud);
	open_node(&w, &node, "n1", &all);
	assert_false(is_closed(&node, 0));
	assert_int_equal(calls(&w, "DescribeSubnets"), 0);
	done(&w, &node);
}

/* ---- whose they are ---- */

static void test_list__foreign_counts_once__aws_17(void **state)
{
	struct cloud_view view;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, many("", "", "", ",\"paging\":{\"short\":true}"), &plain);
	control(&w, "foreign", "{\"instance\":\"n1\",\"device_index\":1}");
	control(&w, "foreign", "{\"instance\":\"n1\",\"device_index\":2,\"managed\":true}");
	control(&w, "foreign",
		"{\"instance\":\"n1\",\"device_index\":3,\"tags\":{\"node.berth.io/instance_id\":\"" INSTANCE
		"\",\"node.k8s.amazonaws.com/no_manage\":\"true\"}}");
	assert_string_equal(subnet_of_new(&node, "t1", 4, NULL), HOME);
	for (unsigned i = 0; i < 3; i++) {
		list_of(&node, &view);
		assert_int_equal(view.nic_count, 5);
		for (unsigned slot = 0; slot < 5; slot++)
			assert_int_equal(nic_at(&view, slot)->foreign, slot >= 1 && slot <= 3);
		cloud_view_done(&view);
	}
	done(&w, &node);
}

static void test_list__read_only_serves_what_is_there__aws_17(void **state)
{
	static const struct cloud_config config = { .cluster = "kube", .access = CLOUD_ACCESS_READ };
	struct cloud_view view;
	struct node node;
	struct world w;
	unsigned swept = 99;

	(void)state;
	one_node(&w, &node, tagged(), &config);
	control(&w, "foreign", "{\"instance\":\"n1\",\"device_index\":1}");
	control(&w, "foreign", "{\"instance\":\"n1\",\"device_index\":2,\"managed\":true}");
	control(&w, "foreign",
		"{\"instance\":\"n1\",\"device_index\":3,\"tags\":{\"node.berth.io/no_manage\":\"true\"}}");
	list_of(&node, &view);
	assert_false(nic_at(&view, 0)->foreign || nic_at(&view, 1)->foreign);
	assert_true(nic_at(&view, 2)->foreign && nic_at(&view, 3)->foreign);
	cloud_view_done(&view);
	assert_int_equal(node.cloud->ops->sweep(node.cloud, until(&node), &swept, &w.err), 0);
	assert_int_equal(swept, 0);
	assert_int_equal(calls(&w, "DescribeNetworkInterfaces"), 1);
	done(&w, &node);
}

static void test_detach__marked_since__aws_17(void **state)
{
	struct node node;
	struct world w;
	char id[64];

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	(void)subnet_of_new(&node, "t1", 1, id);
	tag(&node, id, "node.berth.io/no_manage", "true");
	assert_int_equal(node.cloud->ops->detach(node.cloud, id, until(&node), &w.err), -1);
	assert_int_equal(w.err.class, ERR_INVALID);
	assert_int_equal(nic_count(&w), 3);
	done(&w, &node);
}

/* ---- security groups ---- */

static void set_groups(struct node *node, const char *nic, const char *first, const char *second)
{
	char groups[2][EC2_ID_SIZE] = { "", "" };

	(void)str_copy(groups[0], EC2_ID_SIZE, first);
	(void)str_copy(groups[1], EC2_ID_SIZE, second ? second : "");
	assert_int_equal(ec2_groups_set(&aws_of(node->cloud)->ec2, nic, second ? 2 : 1, groups, until(node),
					&node->w->err),
			 0);
}

/* Two interfaces of ours and one of somebody else; Modify calls so far. */
static unsigned three_nics(struct world *w, struct node *node, const struct cloud_config *config, char ids[3][64])
{
	struct cloud_view view;

	one_node(w, node, tagged(), config);
	(void)subnet_of_new(node, "t1", 1, ids[1]);
	(void)subnet_of_new(node, "t2", 2, ids[2]);
	control(w, "foreign", "{\"instance\":\"n1\",\"device_index\":3}");
	list_of(node, &view);
	(void)str_copy(ids[0], 64, nic_at(&view, 0)->id);
	cloud_view_done(&view);
	return calls(w, "ModifyNetworkInterfaceAttribute");
}

static const char *groups_of_foreign(struct node *node)
{
	struct cloud_view view;
	char id[64];

	list_of(node, &view);
	(void)str_copy(id, sizeof(id), nic_at(&view, 3)->id);
	cloud_view_done(&view);
	return groups_of(node, id);
}

static void test_groups__follow_the_primary__aws_20(void **state)
{
	char ids[3][64];
	struct node node;
	struct world w;
	unsigned modified;

	(void)state;
	modified = three_nics(&w, &node, &plain, ids);
	assert_int_equal(modified, 2); /* both die with the instance; nothing else changed */
	set_groups(&node, ids[0], "sg-0a2", "sg-0a1");
	list_only(&node);
	assert_int_equal(calls(&w, "ModifyNetworkInterfaceAttribute"), modified + 1 + 2);
	assert_string_equal(groups_of(&node, ids[1]), " sg-0a2 sg-0a1");
	assert_string_equal(groups_of(&node, ids[2]), " sg-0a2 sg-0a1");
	assert_string_equal(groups_of_foreign(&node), " sg-0a1");
	/* Nothing has changed, and the order means nothing. */
	set_groups(&node, ids[1], "sg-0a1", "sg-0a2");
	for (unsigned i = 0; i < 3; i++) {
		pass(&node, 301);
		list_only(&node);
	}
	assert_int_equal(calls(&w, "ModifyNetworkInterfaceAttribute"), modified + 1 + 2 + 1);
	/* One only differs. */
	set_groups(&node, ids[2], "sg-0a3", NULL);
	list_only(&node);
	assert_int_equal(calls(&w, "ModifyNetworkInterfaceAttribute"), modified + 1 + 2 + 1 + 2);
	assert_string_equal(groups_of(&node, ids[2]), " sg-0a2 sg-0a1");
	done(&w, &node);
}

/* A reading older than our own change has nothing done twice. */
static void test_groups__not_again_by_a_stale_list__aws_20(void **state)
{
	char ids[3][64];
	struct node node;
	struct world w;
	unsigned modified;

	(void)state;
	modified = three_nics(&w, &node, &plain, ids);
	set_groups(&node, ids[0], "sg-0a2", NULL);
	list_only(&node);
	set_groups(&node, ids[1], "sg-0a1", NULL); /* as an old reading would show it */
	list_only(&node);
	assert_int_equal(calls(&w, "ModifyNetworkInterfaceAttribute"), modified + 1 + 2 + 1);
	pass(&node, 61);
	list_only(&node);
	assert_string_equal(groups_of(&node, ids[1]), " sg-0a2");
	done(&w, &node);
}

static void test_groups__configured_or_read_only__aws_20(void **state)
{
	static const struct cloud_config named = { .cluster = "kube", .group_count = 1, .groups = pods_group };
	static const struct cloud_config read_only = { .cluster = "kube", .access = CLOUD_ACCESS_READ };
	struct node node, reader;
	char ids[3][64];
	struct world w;
	unsigned modified;

	(void)state;
	modified = three_nics(&w, &node, &named, ids);
	set_groups(&node, ids[0], "sg-0a2", NULL);
	list_only(&node);
	assert_int_equal(calls(&w, "ModifyNetworkInterfaceAttribute"), modified + 1);
	open_node(&w, &reader, "n1", &read_only);
	list_only(&reader);
	assert_int_equal(calls(&w, "ModifyNetworkInterfaceAttribute"), modified + 1);
	assert_string_equal(groups_of(&node, ids[1]), " sg-0a3");
	cloud_free(reader.cloud);
	done(&w, &node);
}

static void test_groups__failure_is_no_matter_to_the_list__aws_20(void **state)
{
	char ids[3][64];
	struct node node;
	struct world w;
	unsigned modified;

	(void)state;
	modified = three_nics(&w, &node, &plain, ids);
	set_groups(&node, ids[0], "sg-0a2", NULL);
	deny(&w, "ModifyNetworkInterfaceAttribute", FAULT_FOREVER);
	for (unsigned i = 0; i < 3; i++) {
		list_only(&node);
		pass(&node, 60);
	}
	/* One try, and none in the lists that followed closely. */
	assert_int_equal(calls(&w, "ModifyNetworkInterfaceAttribute"), modified + 1 + 1);
	aws_mock_faults_clear(w.mock);
	pass(&node, 301);
	list_only(&node);
	assert_string_equal(groups_of(&node, ids[1]), " sg-0a2");
	assert_string_equal(groups_of(&node, ids[2]), " sg-0a2");
	done(&w, &node);
}

/* Calls that hang hold the list up for a few seconds in all, whatever its own deadline. */
static void test_groups__bounded__aws_20(void **state)
{
	char ids[3][64];
	struct node node;
	struct world w;
	int64_t began;

	(void)state;
	(void)three_nics(&w, &node, &plain, ids);
	set_groups(&node, ids[0], "sg-0a2", NULL);
	{
		struct fault hang = { .kind = FAULT_HANG, .count = FAULT_FOREVER, .ms = 15000 };

		(void)str_copy(hang.action, sizeof(hang.action), "ModifyNetworkInterfaceAttribute");
		assert_int_equal(aws_mock_fault(w.mock, &hang), 0);
	}
	began = clock_now(&clock_boot);
	list_only(&node);
	assert_in_range(clock_now(&clock_boot) - began, 1 * USEC_PER_SEC, 5 * USEC_PER_SEC);
	done(&w, &node);
}

/* ---- what an interface carries ---- */

static const json_t *nic_in(const json_t *all, const char *id)
{
	const json_t *item, *found = NULL;
	size_t i;

	json_array_foreach (json_object_get(all, "nics"), i, item) {
		if (str_equal(json_string_value(json_object_get(item, "id")), id))
			found = item;
	}
	assert_non_null(found);
	return found;
}

static void test_attach__tags_of_the_operator(void **state)
{
	static const struct cloud_tag tags[] = { { "team", "net" },
						 { "node.berth.io/instance_id", "i-evil" },
						 { "node.berth.io/no_manage", "true" } };
	static const struct cloud_config config = { .cluster = "kube", .tag_count = ARRAY_SIZE(tags), .tags = tags };
	struct cloud_view view;
	struct node node;
	struct world w;
	json_t *all, *has;
	char id[64];

	(void)state;
	one_node(&w, &node, tagged(), &config);
	(void)subnet_of_new(&node, "t1", 1, id);
	all = state_of(&w);
	has = json_object_get(nic_in(all, id), "tags");
	assert_string_equal(json_string_value(json_object_get(has, "team")), "net");
	assert_string_equal(json_string_value(json_object_get(has, "node.berth.io/instance_id")), INSTANCE);
	assert_string_equal(json_string_value(json_object_get(has, "node.berth.io/cluster")), "kube");
	assert_string_equal(json_string_value(json_object_get(has, "node.berth.io/token")), "t1");
	assert_null(json_object_get(has, "node.berth.io/no_manage"));
	json_decref(all);
	assert_int_equal(calls(&w, "CreateTags"), 0);
	list_of(&node, &view);
	assert_false(nic_at(&view, 1)->foreign);
	cloud_view_done(&view);
	done(&w, &node);
}

static void test_attach__card_0_and_dies_with_the_instance__aws_18(void **state)
{
	struct node node;
	struct world w;
	const json_t *nic;
	json_t *all;
	char id[64];

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	(void)subnet_of_new(&node, "t1", 2, id);
	all = state_of(&w);
	nic = nic_in(all, id);
	assert_int_equal(json_integer_value(json_object_get(nic, "device_index")), 2);
	assert_int_equal(json_integer_value(json_object_get(nic, "card")), 0);
	assert_true(json_is_true(json_object_get(nic, "delete_on_termination")));
	json_decref(all);
	done(&w, &node);
}

/* One that would outlive its instance is not used. */
static void test_attach__not_without_death__aws_18(void **state)
{
	struct cloud_nic nic;
	struct node node;
	struct world w;

	(void)state;
	one_node(&w, &node, tagged(), &plain);
	deny(&w, "ModifyNetworkInterfaceAttribute", FAULT_FOREVER);
	assert_int_equal(try_attach(&node, "t1", 1, 0, &nic), -1);
	assert_int_equal(nic_count(&w), 2);
	done(&w, &node);
}

/* ---- leftovers of others ---- */

/* n2 dies between Create and Attach, @age_s seconds ago. */
static void leave_one(struct world *w, const struct cloud_config *config, int64_t age_s, const char *token)
{
	struct cloud_nic nic;
	struct node dying;

	open_node(w, &dying, "n2", config);
	dying.wall_shift_us = -age_s * USEC_PER_SEC;
	fault(w, "AttachNetworkInterface", FAULT_ERROR, FAULT_FOREVER, "UnauthorizedOperation", "no");
	fault(w, "DeleteNetworkInterface", FAULT_ERROR, FAULT_FOREVER, "UnauthorizedOperation", "no");
	assert_int_equal(try_attach(&dying, token, 1, 0, &nic), -1);
	aws_mock_faults_clear(w->mock);
	cloud_free(dying.cloud);
}

static unsigned sweep_of(struct node *node)
{
	unsigned n = 99;

	if (node->cloud->ops->sweep(node->cloud, until(node), &n, &node->w->err) < 0)
		fail_msg("sweep: %s", node->w->err.msg);
	return n;
}

/* The second one of a node that knows its subnet and holds all of it: it draws, and wins. */
static unsigned sweep_with_luck(struct node *node)
{
	list_only(node);
	assert_int_equal(sweep_of(node), 0);
	pass(node, 3601);
	return sweep_of(node);
}

/* Of the next period. */
static unsigned sweep_again(struct node *node)
{
	pass(node, 3600 * 6 / 5 + 1);
	list_only(node);
	return sweep_of(node);
}

static void test_sweep__of_dead_instances__aws_1(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	start_two(&w, many("", "", "", ""));
	leave_one(&w, &plain, 2 * 3600, "old");
	assert_int_equal(nic_count(&w), 3);
	open_node(&w, &node, "n1", &plain);
	assert_int_equal(sweep_with_luck(&node), 1);
	assert_int_equal(nic_count(&w), 2);
	assert_int_equal(sweep_again(&node), 0);
	done(&w, &node);
}

static void test_sweep__nothing_young__aws_2(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	start_two(&w, many("", "", "", ""));
	leave_one(&w, &plain, 3600 - 60, "young");
	leave_one(&w, &plain, -3600, "from the future");
	open_node(&w, &node, "n1", &plain);
	assert_int_equal(sweep_with_luck(&node), 0);
	assert_int_equal(calls(&w, "DeleteNetworkInterface"), 2); /* n2's own, which were refused */
	/* Their time comes. */
	node.wall_shift_us = 3 * 3600 * USEC_PER_SEC;
	assert_int_equal(sweep_again(&node), 2);
	done(&w, &node);
}

static void test_sweep__nothing_without_a_stamp__aws_2(void **state)
{
	struct node node;
	struct world w;
	char id[64] = "";
	json_t *all, *item;
	size_t i;

	(void)state;
	start_two(&w, many("", "", "", ""));
	leave_one(&w, &plain, 2 * 3600, "old");
	open_node(&w, &node, "n1", &plain);
	all = state_of(&w);
	json_array_foreach (json_object_get(all, "nics"), i, item) {
		if (str_equal(json_string_value(json_object_get(item, "status")), "available"))
			(void)str_copy(id, sizeof(id), json_string_value(json_object_get(item, "id")));
	}
	json_decref(all);
	tag(&node, id, "node.berth.io/created_at", "long ago");
	assert_int_equal(sweep_with_luck(&node), 0);
	assert_int_equal(nic_count(&w), 3);
	done(&w, &node);
}

/* The list said "available"; EC2 knows better by now. It is neither an error nor waited for. */
static void test_sweep__attached_meanwhile__aws_2(void **state)
{
	struct node node;
	struct world w;

	(void)state;
	start_two(&w, many("", "", "", ""));
	leave_one(&w, &plain, 2 * 3600, "old");
	open_node(&w, &node, "n1", &plain);
	fault(&w, "DeleteNetworkInterface", FAULT_ERROR, 1, "InvalidParameterValue",
	      "Network interface 'eni-0' is currently in use.");
	assert_int_equal(sweep_with_luck(&node), 0);
	assert_int_equal(nic_count(&w), 3);
	assert_int_equal(calls(&w, "DeleteNetworkInterface"), 2);
	done(&w, &node);
}

/* A NIC on an instance is nobody's leftover, however old. */
static void test_sweep__nothing_that_is_attached__aws_2(void **state)
{
	struct node node, other;
	struct world w;

	(void)state;
	start_two(&w, many("", "", "", ""));
	open_node(&w, &other, "n2", &plain);
	other.wall_shift_us = -5 * 3600 * USEC_PER_SEC;
	(void)subnet_of_new(&other, "t1", 1, NULL);
	open_node(&w, &node, "n1", &plain);
	assert_int_equal(sweep_with_luck(&node), 0);
	assert_int_equal(nic_count(&w), 3);
	cloud_free(other.cloud);
	done(&w, &node);
}

static void test_sweep__of_this_cluster_only__aws_3(void **state)
{
	static const struct cloud_config other = { .cluster = "other" }, nameless = { .cluster = "" };
	struct node node;
	struct world w;

	(void)state;
	start_two(&w, many("", "", "", ""));
	leave_one(&w, &other, 2 * 3600, "other");
	leave_one(&w, &nameless, 2 * 3600, "nameless");
	open_node(&w, &node, "n1", &plain);
	assert_int_equal(sweep_with_luck(&node), 0);
	assert_int_equal(nic_count(&w), 4);
	cloud_free(node.cloud);
	open_node(&w, &node, "n1", &nameless);
	assert_int_equal(sweep_with_luck(&node), 0);
	assert_int_equal(nic_count(&w), 4);
	done(&w, &node);
}

/* However often a sweep is asked for, the cluster is listed once a period at most. */
static void test_sweep__one_draw_a_period__aws_3(void **state)
{
	struct node node;
	struct world w;
	unsigned before;

	(void)state;
	start_two(&w, many("", "", "", ""));
	open_node(&w, &node, "n1", &plain);
	assert_int_equal(sweep_with_luck(&node), 0);
	before = calls(&w, "DescribeNetworkInterfaces");
	for (unsigned i = 0; i < 9; i++) {
		pass(&node, 300);
		assert_int_equal(sweep_of(&node), 0);
	}
	assert_int_equal(calls(&w, "DescribeNetworkInterfaces"), before + 9); /* those of this instance */
	pass(&node, 3600 * 6 / 5 - 9 * 300 + 1);
	list_only(&node);
	assert_int_equal(sweep_of(&node), 0);
	assert_int_equal(calls(&w, "DescribeNetworkInterfaces"), before + 9 + 1 + 2);
	done(&w, &node);
}

/* Many at once: a part in each period, so that one node's changes are not used up. */
static void test_sweep__a_part_at_a_time(void **state)
{
	struct node node;
	struct world w;
	unsigned first;

	(void)state;
	start_two(&w, many("", "", "", ",\"throttle\":{\"enabled\":false}"));
	for (unsigned i = 0; i < 23; i++) {
		char token[16];

		(void)snprintf(token, sizeof(token), "old%u", i);
		leave_one(&w, &plain, 2 * 3600, token);
	}
	open_node(&w, &node, "n1", &plain);
	first = sweep_with_luck(&node);
	assert_int_equal(first, 20);
	assert_int_equal(sweep_again(&node), 3);
	assert_int_equal(nic_count(&w), 2);
	done(&w, &node);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_unit_test(test_attach__most_free_tagged_subnet),
		check_unit_test(test_attach__untagged_stays_at_home),
		check_unit_test(test_attach__subnets_of_other_clusters),
		check_unit_test(test_attach__nowhere_to_go),
		check_unit_test(test_attach__subnet_with_ipv6),
		check_unit_test(test_places__one_question_for_a_burst),
		check_unit_test(test_places__one_question_for_all_at_once),
		check_unit_test(test_places__one_failure_for_all_at_once),
		check_unit_test(test_list__asks_for_marks_seldom),
		check_unit_test(test_attach__may_not_see_subnets),
		check_unit_test(test_list__does_not_fail_with_subnets),
		check_unit_test(test_attach__older_knowledge_while_ec2_fails),
		check_unit_test(test_attach__next_subnet_when_one_is_full__aws_12),
		check_unit_test(test_attach__all_subnets_full__aws_12),
		check_unit_test(test_attach__another_limit_is_no_reason_to_move),
		check_unit_test(test_attach__open_create_is_found_again),
		check_unit_test(test_attach__again_after_cleaning_up),
		check_unit_test(test_attach__denied_says_what_to_allow),
		check_unit_test(test_attach__configured_subnet_of_the_zone__aws_19),
		check_unit_test(test_attach__no_configured_subnet_in_the_zone__aws_19),
		check_unit_test(test_attach__may_not_see_configured_subnets__aws_19),
		check_unit_test(test_list__closed_by_tag),
		check_unit_test(test_list__closed_at_once),
		check_unit_test(test_list__closed_by_metadata_alone__aws_19),
		check_unit_test(test_list__foreign_counts_once__aws_17),
		check_unit_test(test_list__read_only_serves_what_is_there__aws_17),
		check_unit_test(test_detach__marked_since__aws_17),
		check_unit_test(test_groups__follow_the_primary__aws_20),
		check_unit_test(test_groups__not_again_by_a_stale_list__aws_20),
		check_unit_test(test_groups__configured_or_read_only__aws_20),
		check_unit_test(test_groups__failure_is_no_matter_to_the_list__aws_20),
		check_unit_test(test_groups__bounded__aws_20),
		check_unit_test(test_attach__tags_of_the_operator),
		check_unit_test(test_attach__card_0_and_dies_with_the_instance__aws_18),
		check_unit_test(test_attach__not_without_death__aws_18),
		check_unit_test(test_sweep__of_dead_instances__aws_1),
		check_unit_test(test_sweep__nothing_young__aws_2),
		check_unit_test(test_sweep__nothing_without_a_stamp__aws_2),
		check_unit_test(test_sweep__attached_meanwhile__aws_2),
		check_unit_test(test_sweep__nothing_that_is_attached__aws_2),
		check_unit_test(test_sweep__of_this_cluster_only__aws_3),
		check_unit_test(test_sweep__one_draw_a_period__aws_3),
		check_unit_test(test_sweep__a_part_at_a_time),
	};

	return cmocka_run_group_tests_name("aws_subnets", tests, NULL, NULL);
}
