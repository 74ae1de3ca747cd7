/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/clock.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/json.h"
#include "berth/str.h"
#include "box_daemon.h"
#include "box_opts.h"
#include "box_state.h"
#include "box_verbs.h"

#define DOMAIN      "vpcbox"
#define CIDR6_START "2600:1f14:aa:bb" /* + two digits: a range of the size that AWS gives to a VPC */
#define ZONE_EACH   3U /* every third node is in the second subnet: neighbours and routed peers in one box */

/* ---- up ---- */

static json_t *seed_instance(const struct box *box, unsigned i)
{
	return json_pack("{s:s, s:s, s:i, s:b}", "name", box->nodes[i], "type", box->type, "subnet",
			 i % ZONE_EACH == ZONE_EACH - 1 ? 1 : 0, "public", 1);
}

/* The VPC's range is a /56, as AWS gives them; each subnet has a /64 of it. */
static int seed_ipv6(json_t *seed)
{
	json_t *subnets = json_object_get(seed, "subnets"), *subnet;
	char text[64];
	size_t i;

	if (json_object_set_new(json_object_get(seed, "vpc"), "cidr6", json_string(CIDR6_START "00::/56")) < 0)
		return -1;
	json_array_foreach (subnets, i, subnet) {
		(void)snprintf(text, sizeof(text), CIDR6_START "%02zx::/64", i);
		if (json_object_set_new(subnet, "cidr6", json_string(text)) < 0)
			return -1;
	}
	return 0;
}

static json_t *seed_aws(const struct box *box, uint64_t attach_ms, bool has_ipv6)
{
	json_t *instances = json_array();

	for (unsigned i = 0; i < box->node_count; i++)
		if (json_array_append_new(instances, seed_instance(box, i)) < 0) {
			json_decref(instances);
			return NULL;
		}
	json_t *seed = json_pack("{s:s, s:{s:[s]}, s:{s:s}, s:[{s:s, s:s}, {s:s, s:s}], s:{s:I}, s:o}", "region",
				 "us-west-2", "vpc", "cidrs", "10.0.0.0/16", "role", "name", "berth-node", "subnets",
				 "cidr", "10.0.0.0/20", "az", "us-west-2a", "cidr", "10.0.16.0/20", "az", "us-west-2b",
				 "timings", "attach_ms", (json_int_t)attach_ms, "instances", instances);
	if (seed && has_ipv6 && seed_ipv6(seed) < 0) {
		json_decref(seed);
		return NULL;
	}
	return seed;
}

static int write_seed(const struct box *box, const struct box_opts *opts, struct err *err)
{
	char path[BOX_PATH_SIZE];
	json_auto_t *seed = seed_aws(box, opts->attach_ms, strstr(opts->families, "ipv6") != NULL);
	_cleanup_free_ char *text = seed ? json_print(seed) : NULL;

	if (!text)
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, ENOMEM, "seed");
	int r = fs_write_atomic(box_path(path, box->prefix, NULL, "seed.json"), text, strlen(text), 0600);

	return r < 0 ? err_set_errno(err, ERR_EXHAUSTED, DOMAIN, -r, "%s", path) : 0;
}

/* A path that was given is kept as given; start and pods may run from another directory, so it has to be absolute. */
static int program_path(const char *given, const char *name, char ret[static BOX_PATH_SIZE], struct err *err)
{
	_cleanup_free_ char *full = NULL;

	if (!given)
		return box_beside(name, ret, err);
	full = realpath(given, NULL);
	if (!full)
		return err_set_errno(err, ERR_NOTFOUND, DOMAIN, errno, "%s", given);
	return str_copy(ret, BOX_PATH_SIZE, full) < 0 ? err_set(err, ERR_INVALID, DOMAIN, "%s is too long", given) : 0;
}

/* "K=V" as given when @value is NULL. */
static int add_env(struct box *box, const char *key, const char *value, struct err *err)
{
	struct strbuf text = { 0 };

	strbuf_printf(&text, "%s%s%s", key, value ? "=" : "", value ? value : "");
	char *var = strbuf_take(&text);

	strbuf_done(&text);
	if (!var || box->env_count == BOX_ENVS_MAX) {
		free(var);
		return err_set_errno(err, ERR_EXHAUSTED, DOMAIN, ENOMEM, "--env");
	}
	box->env[box->env_count++] = var;
	return 0;
}

static int check_families(const char *families, struct err *err)
{
	static const char *const known[] = { "ipv4", "ipv6", "ipv4,ipv6" };

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (str_equal(families, known[i]))
			return 0;
	return err_set(err, ERR_INVALID, DOMAIN, "--families %s: ipv4, ipv6 or ipv4,ipv6", families);
}

static int describe(const struct box_opts *opts, struct box *box, struct err *err)
{
	if (!str_equal(opts->cloud, "aws"))
		return err_set(err, ERR_INVALID, DOMAIN, "--cloud %s: aws is what it can play", opts->cloud);
	if (fabric_prefix_check(opts->name, err) < 0 || check_families(opts->families, err) < 0)
		return -1;
	(void)str_copy(box->prefix, sizeof(box->prefix), opts->name);
	if (str_copy(box->type, sizeof(box->type), opts->type) < 0)
		return err_set(err, ERR_INVALID, DOMAIN, "--type %s is too long", opts->type);
	(void)str_copy(box->cloud, sizeof(box->cloud), opts->cloud);
	if (program_path(opts->ipamd, "berth-ipamd", box->ipamd, err) < 0 ||
	    (opts->plugin && program_path(opts->plugin, "", box->plugin, err) < 0))
		return -1;
	for (; box->node_count < opts->nodes; box->node_count++)
		(void)snprintf(box->nodes[box->node_count], sizeof(box->nodes[0]), "n%u", box->node_count + 1);
	/* First, so that an --env of that name wins. */
	if (!str_equal(opts->families, "ipv4") && add_env(box, "BERTH_FAMILIES", opts->families, err) < 0)
		return -1;
	for (unsigned i = 0; i < opts->env_count; i++)
		if (add_env(box, opts->env[i], NULL, err) < 0)
			return -1;
	return 0;
}

static int make_network(const struct box *box, struct err *err)
{
	struct fabric *fabric = NULL;
	int r;

	if (fabric_create(box->prefix, err) < 0)
		return -1;
	r = fabric_open(box->prefix, &fabric, err);
	for (unsigned i = 0; r == 0 && i < box->node_count; i++)
		r = fabric_node_add(fabric, box->nodes[i], err);
	fabric_close(fabric);
	return r;
}

static int start_daemons(const struct box *box, struct err *err)
{
	int64_t deadline_us = clock_now(&clock_boot) + BOX_START_TIMEOUT_US;

	for (unsigned i = 0; i < box->node_count; i++)
		if (box_ipamd_start(box, box->nodes[i], err) < 0)
			return -1;
	for (unsigned i = 0; i < box->node_count; i++)
		if (box_ipamd_await(box, box->nodes[i], deadline_us, err) < 0)
			return -1;
	return 0;
}

static void tell(const struct box *box, const struct box_opts *opts)
{
	char path[BOX_PATH_SIZE];

	(void)printf("box %s: %s, %u nodes of %s\n", box->prefix, box->cloud, box->node_count, box->type);
	(void)printf("  fabric    namespace %s-vpc: API http://%s, metadata http://%s, control http://%s/_mock/state\n",
		     box->prefix, FABRIC_API_ADDR, FABRIC_METADATA_ADDR, FABRIC_API_ADDR);
	(void)printf("  internet  namespace %s-inet: %s\n", box->prefix, FABRIC_INTERNET_ADDR);
	(void)printf("  calls     %s, one line per call to the cloud\n",
		     box_path(path, box->prefix, NULL, "calls.jsonl"));
	for (unsigned i = 0; i < box->node_count; i++) {
		(void)printf("  %-9s namespace %s-%s", box->nodes[i], box->prefix, box->nodes[i]);
		if (!opts->no_ipamd)
			(void)printf(", socket %s", box_path(path, box->prefix, box->nodes[i], BOX_SOCKET));
		(void)printf("\n");
	}
}

int box_up(const struct box_opts *opts, struct err *err)
{
	_cleanup_(box_done) struct box box = { 0 };
	char mockcloud[BOX_PATH_SIZE];

	if (describe(opts, &box, err) < 0 || program_path(opts->mockcloud, "berth-mockcloud", mockcloud, err) < 0)
		return -1;
	if (box_exists(opts->name))
		return err_set(err, ERR_CONFLICT, DOMAIN, "box %s is there: vpcbox down --name %s", opts->name,
			       opts->name);
	if (make_network(&box, err) < 0)
		return -1;
	if (box_save(&box, err) < 0 || write_seed(&box, opts, err) < 0 ||
	    box_mockcloud_start(&box, mockcloud, err) < 0 || (!opts->no_ipamd && start_daemons(&box, err) < 0))
		return err_wrap(err, "left for inspection, vpcbox down --name %s removes it", box.prefix);
	tell(&box, opts);
	return 0;
}

/* ---- down ---- */

static int down_one(const char *prefix, void *arg, struct err *err)
{
	int rc = 0;

	(void)arg;
	/* It becomes part of a path that is removed. */
	if (fabric_prefix_check(prefix, err) < 0)
		return -1;
	/* Each step whatever became of the one before: half a box is what this is for. The records go last. */
	if (box_stop_all(prefix, err) < 0)
		rc = -1;
	if (fabric_destroy(prefix, err) < 0)
		rc = -1;
	if (rc == 0 && box_remove(prefix, err) < 0)
		rc = -1;
	return rc < 0 ? err_wrap(err, "box %s", prefix) : 0;
}

int box_down(const struct box_opts *opts, struct err *err)
{
	return opts->all ? box_names(down_one, NULL, err) : down_one(opts->name, NULL, err);
}
