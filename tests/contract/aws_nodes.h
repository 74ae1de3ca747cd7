/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes of one mock AWS with several subnets; shared by the contract tests of where interfaces go and what becomes of
 * them. */
#ifndef TESTS_CONTRACT_AWS_NODES_H
#define TESTS_CONTRACT_AWS_NODES_H

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
static inline const char *many(const char *home, const char *wide, const char *small, const char *more)
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
static inline const char *tagged(void)
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

static inline int64_t shifted_boot(void *ctx)
{
	return clock_now(&clock_boot) + ((const struct node *)ctx)->shift_us;
}

static inline int64_t shifted_wall(void *ctx)
{
	return clock_now(&clock_wall) + ((const struct node *)ctx)->wall_shift_us;
}

static inline void start_two(struct world *w, const char *seed)
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

static inline void open_node(struct world *w, struct node *node, const char *name, const struct cloud_config *want)
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

static inline void one_node(struct world *w, struct node *node, const char *seed, const struct cloud_config *config)
{
	start_two(w, seed);
	open_node(w, node, "n1", config);
}

static inline void done(struct world *w, struct node *node)
{
	cloud_free(node->cloud);
	aws_mock_stop(w->mock);
}

static inline int64_t until(const struct node *node)
{
	return clock_now(&node->boot) + 20 * USEC_PER_SEC;
}

static inline void pass(struct node *node, int64_t seconds)
{
	node->shift_us += seconds * USEC_PER_SEC;
}

static inline int try_attach(struct node *node, const char *token, unsigned slot, unsigned units, struct cloud_nic *ret)
{
	struct cloud_attach want = { .slot = slot, .wants = { { units, 32 } } };

	memset(ret, 0, sizeof(*ret));
	memset(&node->w->err, 0, sizeof(node->w->err));
	(void)str_copy(want.token, sizeof(want.token), token);
	return node->cloud->ops->attach(node->cloud, &want, until(node), ret, &node->w->err);
}

/* A new interface; the caller releases nothing: only where it went matters. Its id into @id, which may be NULL. */
static inline const char *subnet_of_new(struct node *node, const char *token, unsigned slot, char *id)
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

static inline void list_of(struct node *node, struct cloud_view *view)
{
	memset(view, 0, sizeof(*view));
	if (node->cloud->ops->list(node->cloud, until(node), view, &node->w->err) < 0)
		fail_msg("list: %s", node->w->err.msg);
}

static inline void list_only(struct node *node)
{
	struct cloud_view view;

	list_of(node, &view);
	cloud_view_done(&view);
}

static inline bool is_closed(struct node *node, unsigned slot)
{
	struct cloud_view view;
	bool closed;

	list_of(node, &view);
	closed = nic_at(&view, slot)->closed;
	cloud_view_done(&view);
	return closed;
}

/* Somebody with a console. */
static inline void tag(struct node *node, const char *id, const char *key, const char *value)
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

static inline void deny(struct world *w, const char *action, int64_t count)
{
	fault(w, action, FAULT_ERROR, count, "UnauthorizedOperation",
	      "You are not authorized to perform this operation.");
}

static inline void says(const struct world *w, const char *text)
{
	if (!strstr(w->err.msg, text))
		fail_msg("\"%s\" lacks \"%s\"", w->err.msg, text);
}

static const char *const pods_group[] = { "sg-0a3" };

/* The groups of an interface, each after a blank. */
static inline const char *groups_of(struct node *node, const char *id)
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

#endif
