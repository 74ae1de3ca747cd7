/* SPDX-License-Identifier: Apache-2.0 */
#include "seed.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "berth/clock.h"
#include "berth/err.h"
#include "berth/json.h"
#include "berth/str.h"
#include "identity.h"
#include "model.h"
#include "others.h"
#include "throttle.h"

#define DOMAIN    "seed"
#define MS_MAX    3600000 /* ms of any delay */
#define COUNT_MAX 100000  /* calls of a token bucket */

static int get_text(const json_t *obj, const char *key, char *dst, size_t size, struct err *err)
{
	const char *text = NULL;

	if (json_get_str_opt(obj, DOMAIN, key, &text, err) < 0)
		return -1;
	if (text && str_copy(dst, size, text) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "%s is longer than %zu bytes", key, size - 1);
	return 0;
}

static int get_id(struct aws_model *model, const json_t *obj, const char *kind, char dst[static AWS_ID_LEN],
		  struct err *err)
{
	dst[0] = '\0';
	if (get_text(obj, "id", dst, AWS_ID_LEN, err) < 0)
		return -1;
	if (!dst[0])
		aws_id_new(model, kind, dst);
	return 0;
}

static int get_tags(const json_t *obj, json_t **ret, struct err *err)
{
	json_t *tags = NULL, *value;
	const char *key;

	if (json_get_obj_opt(obj, DOMAIN, "tags", &tags, err) < 0)
		return -1;
	json_object_foreach (tags, key, value)
		if (!json_is_string(value))
			return err_set(err, ERR_PROTOCOL, DOMAIN, "tag %s is no string", key);
	*ret = tags ? json_deep_copy(tags) : json_object();
	return *ret ? 0 : err_set_errno(err, ERR_RETRY, DOMAIN, ENOMEM, "tags");
}

static int parse_range(const char *text, unsigned family, struct prefix *ret, struct err *err)
{
	struct prefix range;

	if (!text || prefix_parse(text, &range) < 0 || range.addr.family != family)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "%s is no IPv%u range", text ? text : "null", family);
	*ret = range;
	return 0;
}

static int get_range_opt(const json_t *obj, const char *key, unsigned family, struct prefix *ret, struct err *err)
{
	const char *text = NULL;

	if (json_get_str_opt(obj, DOMAIN, key, &text, err) < 0)
		return -1;
	return text ? parse_range(text, family, ret, err) : 0;
}

static int get_ms(const json_t *obj, const char *key, int64_t *ret, struct err *err)
{
	return json_get_int_opt(obj, DOMAIN, key, 0, MS_MAX, ret, err);
}

/* ---- parts ---- */

static int load_vpc(struct aws_model *model, const json_t *seed, struct err *err)
{
	json_t *vpc = NULL, *cidrs = NULL, *cidr;
	size_t i;

	if (json_get_obj_opt(seed, DOMAIN, "vpc", &vpc, err) < 0)
		return -1;
	if (!vpc)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "vpc is missing");
	if (get_id(model, vpc, "vpc", model->vpc.id, err) < 0 || get_tags(vpc, &model->vpc.tags, err) < 0 ||
	    get_range_opt(vpc, "cidr6", IP_V6, &model->vpc.cidr6, err) < 0 ||
	    json_get_arr_opt(vpc, DOMAIN, "cidrs", &cidrs, err) < 0)
		return -1;
	json_array_foreach (cidrs, i, cidr) {
		if (i == AWS_CIDRS_MAX)
			return err_set(err, ERR_PROTOCOL, DOMAIN, "more than %d cidrs", AWS_CIDRS_MAX);
		if (parse_range(json_string_value(cidr), IP_V4, &model->vpc.cidrs[i], err) < 0)
			return -1;
		model->vpc.cidr_count++;
	}
	if (!model->vpc.cidr_count)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "vpc.cidrs is empty");
	return 0;
}

static int load_used(struct aws_subnet *subnet, const json_t *used, struct err *err)
{
	struct prefix range;
	json_t *item;
	size_t i;

	json_array_foreach (used, i, item) {
		if (parse_range(json_string_value(item), IP_V4, &range, err) < 0)
			return -1;
		if (addrpool_take(&subnet->pool, &range) < 0)
			return err_set(err, ERR_PROTOCOL, DOMAIN, "used %s is not free in %s", json_string_value(item),
				       subnet->id);
	}
	return 0;
}

static int load_reservations(struct aws_model *model, struct aws_subnet *subnet, const json_t *list, struct err *err)
{
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		struct aws_reservation *held = &subnet->reservations[i];
		const char *cidr, *type;

		if (i == AWS_RESERVATIONS_MAX)
			return err_set(err, ERR_PROTOCOL, DOMAIN, "more than %d reservations", AWS_RESERVATIONS_MAX);
		if (json_get_str(item, DOMAIN, "cidr", &cidr, err) < 0 ||
		    json_get_str(item, DOMAIN, "type", &type, err) < 0 ||
		    get_id(model, item, "scr", held->id, err) < 0 || parse_range(cidr, IP_V4, &held->cidr, err) < 0)
			return -1;
		held->for_prefixes = str_equal(type, "prefix");
		if (addrpool_hold(&subnet->pool, &held->cidr,
				  held->for_prefixes ? ADDRPOOL_HOLD_BLOCKS : ADDRPOOL_HOLD_EXPLICIT) < 0)
			return err_set(err, ERR_PROTOCOL, DOMAIN, "reservation %s is not inside %s", cidr, subnet->id);
		subnet->reservation_count++;
	}
	return 0;
}

static int load_subnet(struct aws_model *model, const json_t *item, struct err *err)
{
	struct aws_subnet *subnet = calloc(1, sizeof(*subnet));
	json_t *used = NULL, *reservations = NULL;
	const char *cidr;

	if (!subnet || model->subnet_count == AWS_SUBNETS_MAX) {
		free(subnet);
		return err_set(err, ERR_PROTOCOL, DOMAIN, "more than %d subnets", AWS_SUBNETS_MAX);
	}
	model->subnets[model->subnet_count++] = subnet;
	(void)str_copy(subnet->az_id, sizeof(subnet->az_id), "usw2-az1");
	if (get_id(model, item, "subnet", subnet->id, err) < 0 || json_get_str(item, DOMAIN, "cidr", &cidr, err) < 0 ||
	    parse_range(cidr, IP_V4, &subnet->cidr, err) < 0 ||
	    get_text(item, "az", subnet->az, sizeof(subnet->az), err) < 0 ||
	    get_text(item, "az_id", subnet->az_id, sizeof(subnet->az_id), err) < 0 ||
	    get_range_opt(item, "cidr6", IP_V6, &subnet->cidr6, err) < 0 || get_tags(item, &subnet->tags, err) < 0 ||
	    json_get_arr_opt(item, DOMAIN, "used", &used, err) < 0 ||
	    json_get_arr_opt(item, DOMAIN, "reservations", &reservations, err) < 0)
		return -1;
	if (!subnet->az[0])
		return err_set(err, ERR_PROTOCOL, DOMAIN, "subnet %s has no az", subnet->id);
	if (subnet->cidr6.addr.family == IP_V6 && subnet->cidr6.len != 64)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "cidr6 of subnet %s is no /64", subnet->id);
	if (addrpool_init(&subnet->pool, &subnet->cidr, AWS_SUBNET_HEAD, AWS_SUBNET_TAIL) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "%s is no size for a subnet", cidr);
	if (load_used(subnet, used, err) < 0)
		return -1;
	return load_reservations(model, subnet, reservations, err);
}

static int load_group(struct aws_model *model, const json_t *item, struct err *err)
{
	struct aws_group *group = calloc(1, sizeof(*group));

	if (!group || model->group_count == AWS_GROUPS_MAX) {
		free(group);
		return err_set(err, ERR_PROTOCOL, DOMAIN, "more than %d security groups", AWS_GROUPS_MAX);
	}
	model->groups[model->group_count++] = group;
	(void)str_copy(group->name, sizeof(group->name), "default");
	(void)str_copy(group->vpc, sizeof(group->vpc), model->vpc.id);
	if (get_id(model, item, "sg", group->id, err) < 0 ||
	    get_text(item, "name", group->name, sizeof(group->name), err) < 0)
		return -1;
	return get_tags(item, &group->tags, err);
}

static int load_creds_item(struct aws_model *model, const json_t *item, int64_t wall_us, struct err *err)
{
	struct aws_creds creds = { .made_us = wall_us };
	const char *access_key, *secret, *token = NULL;
	int64_t expires_s = 0;

	if (model->cred_count == AWS_CREDS_MAX)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "more than %d credentials", AWS_CREDS_MAX);
	if (json_get_str(item, DOMAIN, "access_key", &access_key, err) < 0 ||
	    json_get_str(item, DOMAIN, "secret", &secret, err) < 0 ||
	    json_get_str_opt(item, DOMAIN, "session_token", &token, err) < 0 ||
	    json_get_int_opt(item, DOMAIN, "expires_in_s", INT32_MIN, INT32_MAX, &expires_s, err) < 0)
		return -1;
	if (str_copy(creds.access_key, sizeof(creds.access_key), access_key) < 0 ||
	    str_copy(creds.secret, sizeof(creds.secret), secret) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "a credential is longer than %d bytes", AWS_NAME_LEN - 1);
	if (expires_s)
		creds.expiry_us = wall_us + expires_s * USEC_PER_SEC;
	if (token && !(creds.token = strdup(token)))
		return err_set_errno(err, ERR_RETRY, DOMAIN, ENOMEM, "credentials");
	model->creds[model->cred_count++] = creds;
	return 0;
}

static int load_role(struct aws_model *model, const json_t *seed, int64_t wall_us, struct err *err)
{
	int64_t lifetime_s = model->role_lifetime_us / USEC_PER_SEC;
	json_t *role = NULL;

	if (json_get_obj_opt(seed, DOMAIN, "role", &role, err) < 0)
		return -1;
	if (!role)
		return 0;
	if (get_text(role, "name", model->role, sizeof(model->role), err) < 0 ||
	    json_get_int_opt(role, DOMAIN, "lifetime_s", 1, 43200, &lifetime_s, err) < 0)
		return -1;
	model->role_lifetime_us = lifetime_s * USEC_PER_SEC;
	if (!json_object_get(role, "access_key"))
		return 0;
	if (load_creds_item(model, role, wall_us, err) < 0)
		return -1;
	struct aws_creds *creds = &model->creds[model->cred_count - 1];

	creds->expiry_us = wall_us + model->role_lifetime_us;
	return str_copy(model->role_key, sizeof(model->role_key), creds->access_key);
}

static int load_identities(struct aws_model *model, const json_t *seed, int64_t wall_us, struct err *err)
{
	json_t *list = NULL, *agent = NULL, *item;
	size_t i;

	if (json_get_arr_opt(seed, DOMAIN, "web_identities", &list, err) < 0 ||
	    json_get_obj_opt(seed, DOMAIN, "agent", &agent, err) < 0)
		return -1;
	json_array_foreach (list, i, item)
		if (aws_identity_set(model, item, wall_us, err) < 0)
			return err_wrap(err, "web_identities[%zu]", i);
	return agent ? aws_agent_set(model, agent, err) : 0;
}

static int load_type(struct aws_model *model, const json_t *item, struct err *err)
{
	int64_t nics, units, cards = 1, vcpus = 2;
	struct aws_type type = { .hypervisor = "nitro", .arch = "x86_64" };
	const char *name;

	if (json_get_str(item, DOMAIN, "name", &name, err) < 0 ||
	    json_get_int(item, DOMAIN, "nics", 1, AWS_DEVICE_MAX, &nics, err) < 0 ||
	    json_get_int(item, DOMAIN, "addresses", 1, AWS_NIC_UNITS_MAX, &units, err) < 0 ||
	    json_get_int_opt(item, DOMAIN, "cards", 1, AWS_CARDS_MAX, &cards, err) < 0 ||
	    json_get_int_opt(item, DOMAIN, "vcpus", 1, 1024, &vcpus, err) < 0 ||
	    get_text(item, "name", type.name, sizeof(type.name), err) < 0 ||
	    get_text(item, "hypervisor", type.hypervisor, sizeof(type.hypervisor), err) < 0 ||
	    get_text(item, "arch", type.arch, sizeof(type.arch), err) < 0)
		return -1;
	type.nics = (unsigned)nics;
	type.nic_units = (unsigned)units;
	type.cards = (unsigned)cards;
	type.vcpus = (unsigned)vcpus;
	type.bare_metal = !type.hypervisor[0];
	for (unsigned i = 0; i < model->type_count; i++)
		if (str_equal(model->types[i].name, name)) {
			model->types[i] = type;
			return 0;
		}
	if (model->type_count == AWS_TYPES_MAX)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "more than %d instance types", AWS_TYPES_MAX);
	model->types[model->type_count++] = type;
	return 0;
}

/* ---- instances ---- */

static int find_subnet(const struct aws_model *model, const json_t *item, struct aws_subnet **ret, struct err *err)
{
	const json_t *which = json_object_get(item, "subnet");
	json_int_t index = json_is_integer(which) ? json_integer_value(which) : 0;

	*ret = NULL;
	if (json_is_string(which))
		*ret = aws_subnet_find(model, json_string_value(which));
	else if ((!which || json_is_integer(which)) && index >= 0 && index < (json_int_t)model->subnet_count)
		*ret = model->subnets[index];
	return *ret ? 0 : err_set(err, ERR_PROTOCOL, DOMAIN, "an instance is in no subnet of the seed");
}

static int load_addresses(const json_t *item, struct prefix *more, unsigned *ret_count, struct err *err)
{
	json_t *list = NULL, *text;
	size_t i;

	if (json_get_arr_opt(item, DOMAIN, "addresses", &list, err) < 0)
		return -1;
	json_array_foreach (list, i, text) {
		if (i == AWS_NIC_UNITS_MAX - 1)
			return err_set(err, ERR_PROTOCOL, DOMAIN, "too many addresses on one instance");
		if (parse_range(json_string_value(text), IP_V4, &more[i], err) < 0)
			return -1;
		(*ret_count)++;
	}
	return 0;
}

static int boot(struct aws_model *model, struct aws_instance *instance, const json_t *item, struct err *err)
{
	const char *mac_text = NULL, *primary_text = NULL;
	struct prefix more[AWS_NIC_UNITS_MAX];
	struct ipaddr primary = { 0 };
	struct macaddr mac = { 0 };
	struct ec2_err refused;
	unsigned more_count = 0;

	if (json_get_str_opt(item, DOMAIN, "mac", &mac_text, err) < 0 ||
	    json_get_str_opt(item, DOMAIN, "primary", &primary_text, err) < 0 ||
	    load_addresses(item, more, &more_count, err) < 0)
		return -1;
	if (mac_text && macaddr_parse(mac_text, &mac) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "%s is no MAC address", mac_text);
	if (primary_text && ipaddr_parse(primary_text, &primary) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "%s is no address", primary_text);
	if (aws_model_boot(model, instance, &mac, &primary, more, more_count, &refused) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "instance %s: %s: %s", instance->name, refused.code,
			       refused.message);
	return get_text(item, "nic", aws_nic_at(model, instance, 0, 0)->id, AWS_ID_LEN, err);
}

static int load_instance(struct aws_model *model, const json_t *item, struct err *err)
{
	struct aws_instance *instance = calloc(1, sizeof(*instance));
	const char *name, *type, *az = NULL;

	if (!instance || model->instance_count == AWS_INSTANCES_MAX) {
		free(instance);
		return err_set(err, ERR_PROTOCOL, DOMAIN, "more than %d instances", AWS_INSTANCES_MAX);
	}
	model->instances[model->instance_count++] = instance;
	if (json_get_str(item, DOMAIN, "name", &name, err) < 0 || json_get_str(item, DOMAIN, "type", &type, err) < 0 ||
	    json_get_str_opt(item, DOMAIN, "az", &az, err) < 0 || get_id(model, item, "i", instance->id, err) < 0 ||
	    get_text(item, "name", instance->name, sizeof(instance->name), err) < 0 ||
	    find_subnet(model, item, &instance->subnet, err) < 0 || get_tags(item, &instance->tags, err) < 0 ||
	    json_get_bool_opt(item, DOMAIN, "public", &instance->public, err) < 0)
		return -1;
	instance->type = aws_type_find(model, type);
	if (!instance->type)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "instance %s: unknown type %s", name, type);
	if (az && !str_equal(az, instance->subnet->az))
		return err_set(err, ERR_PROTOCOL, DOMAIN, "instance %s: its subnet is in %s", name,
			       instance->subnet->az);
	(void)str_copy(instance->state, sizeof(instance->state), "running");
	aws_id_new(model, "ami", instance->image);
	/* TEST-NET-3: public addresses that nobody has. */
	if (instance->public)
		instance->public_ip = ipaddr_v4(UINT32_C(0xcb007100) + model->instance_count % 255);
	return boot(model, instance, item, err);
}

static int load_nic(struct aws_model *model, const json_t *item, struct err *err)
{
	struct aws_timings timings = model->timings;
	struct aws_nic *nic;
	int rc;

	/* Without a lag nothing is filed of how it came to be. */
	model->timings.imds_lag_ms = model->timings.describe_lag_ms = 0;
	rc = aws_other_nic(model, item, 0, &nic, err);
	model->timings.imds_lag_ms = timings.imds_lag_ms;
	model->timings.describe_lag_ms = timings.describe_lag_ms;
	if (rc == 0)
		nic->created_us = INT64_MIN / 2; /* older than any lag */
	return rc;
}

/* ---- knobs ---- */

int aws_seed_timings(struct aws_model *model, const json_t *timings, struct err *err)
{
	struct aws_timings next = model->timings;
	const json_t *call = json_object_get(timings, "call_ms");

	if (get_ms(timings, "create_ms", &next.create_ms, err) < 0 ||
	    get_ms(timings, "attach_ms", &next.attach_ms, err) < 0 ||
	    get_ms(timings, "detach_ms", &next.detach_ms, err) < 0 ||
	    get_ms(timings, "imds_lag_ms", &next.imds_lag_ms, err) < 0 ||
	    get_ms(timings, "describe_lag_ms", &next.describe_lag_ms, err) < 0)
		return -1;
	if (call && !json_is_integer(call) && !json_is_object(call))
		return err_set(err, ERR_PROTOCOL, DOMAIN, "call_ms is no number and no object");
	if (call) {
		next.call_ms =
			json_is_object(call) ? json_deep_copy(call) : json_pack("{s:I}", "*", json_integer_value(call));
		json_decref(model->timings.call_ms);
	}
	model->timings = next;
	return 0;
}

static int load_bucket(struct throttle *throttle, const char *action, const json_t *bucket, struct err *err)
{
	int64_t burst, per_s;

	if (json_get_int(bucket, DOMAIN, "burst", 0, COUNT_MAX, &burst, err) < 0 ||
	    json_get_int(bucket, DOMAIN, "per_s", 0, COUNT_MAX, &per_s, err) < 0)
		return -1;
	if (throttle_set(throttle, action,
			 (struct throttle_rate){ .burst = (unsigned)burst, .per_s = (unsigned)per_s }) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "more than %d buckets", THROTTLE_ACTIONS_MAX);
	return 0;
}

static int load_knobs(struct aws_model *model, struct throttle *knob, const json_t *seed, struct err *err)
{
	json_t *throttle = NULL, *buckets = NULL, *paging = NULL, *timings = NULL, *bucket;
	const char *skew = NULL, *action;
	int64_t quota = AWS_NICS_MAX;

	knob->enabled = true;
	if (json_get_obj_opt(seed, DOMAIN, "throttle", &throttle, err) < 0 ||
	    json_get_obj_opt(seed, DOMAIN, "paging", &paging, err) < 0 ||
	    json_get_obj_opt(seed, DOMAIN, "timings", &timings, err) < 0 ||
	    json_get_str_opt(seed, DOMAIN, "skew", &skew, err) < 0 ||
	    json_get_int_opt(seed, DOMAIN, "nic_quota", 1, AWS_NICS_MAX, &quota, err) < 0)
		return -1;
	model->nic_quota = (unsigned)quota;
	model->skew_is_auth_failure = skew && str_equal(skew, "AuthFailure");
	if (timings && aws_seed_timings(model, timings, err) < 0)
		return -1;
	if (paging && json_get_bool_opt(paging, DOMAIN, "short", &model->short_pages, err) < 0)
		return -1;
	if (!throttle)
		return 0;
	if (json_get_bool_opt(throttle, DOMAIN, "enabled", &knob->enabled, err) < 0 ||
	    json_get_obj_opt(throttle, DOMAIN, "buckets", &buckets, err) < 0)
		return -1;
	json_object_foreach (buckets, action, bucket)
		if (load_bucket(knob, action, bucket, err) < 0)
			return -1;
	return 0;
}

/* ---- the whole ---- */

static int load_each(struct aws_model *model, const json_t *seed, const char *key,
		     int (*load)(struct aws_model *, const json_t *, struct err *), struct err *err)
{
	json_t *list = NULL, *item;
	size_t i;

	if (json_get_arr_opt(seed, DOMAIN, key, &list, err) < 0)
		return -1;
	json_array_foreach (list, i, item)
		if (load(model, item, err) < 0)
			return err_wrap(err, "%s[%zu]", key, i);
	return 0;
}

int aws_seed_load(struct aws_model *model, struct throttle *throttle, const json_t *seed, int64_t wall_us,
		  struct err *err)
{
	json_t *creds = NULL, *item;
	int64_t random = 1;
	size_t i;

	(void)str_copy(model->account, sizeof(model->account), "111122223333");
	(void)str_copy(model->region, sizeof(model->region), "us-west-2");
	if (get_text(seed, "account", model->account, sizeof(model->account), err) < 0 ||
	    get_text(seed, "region", model->region, sizeof(model->region), err) < 0 ||
	    json_get_int_opt(seed, DOMAIN, "random", 0, INT64_MAX, &random, err) < 0)
		return -1;
	model->prng.state = (uint64_t)random;
	if (load_vpc(model, seed, err) < 0 || load_each(model, seed, "subnets", load_subnet, err) < 0 ||
	    load_each(model, seed, "security_groups", load_group, err) < 0)
		return -1;
	if (!model->group_count) {
		json_t *none = json_object();
		int rc = load_group(model, none, err);

		json_decref(none);
		if (rc < 0)
			return -1;
	}
	if (json_get_arr_opt(seed, DOMAIN, "credentials", &creds, err) < 0)
		return -1;
	json_array_foreach (creds, i, item)
		if (load_creds_item(model, item, wall_us, err) < 0)
			return err_wrap(err, "credentials[%zu]", i);
	if (load_identities(model, seed, wall_us, err) < 0)
		return -1;
	if (load_role(model, seed, wall_us, err) < 0 || load_knobs(model, throttle, seed, err) < 0 ||
	    load_each(model, seed, "instance_types", load_type, err) < 0)
		return -1;
	if (load_each(model, seed, "instances", load_instance, err) < 0)
		return -1;
	return load_each(model, seed, "nics", load_nic, err);
}
