/* SPDX-License-Identifier: Apache-2.0 */
#include "others.h"

#include <jansson.h>
#include <string.h>

#include "berth/err.h"
#include "berth/json.h"
#include "berth/str.h"
#include "model.h"

#define DOMAIN "nic"

/** struct other - what is asked for beside what every creation has. */
struct other {
	struct aws_create create;
	struct aws_instance *instance; /* NULL = it hangs on nothing */
	int64_t device, card;
	const char *operator_;
	bool hidden;
};

static int read_count(const json_t *item, const char *key, unsigned *ret, struct err *err)
{
	int64_t count = 0;

	if (json_get_int_opt(item, DOMAIN, key, 0, AWS_NIC_UNITS_MAX - 1, &count, err) < 0)
		return -1;
	*ret = (unsigned)count;
	return 0;
}

static int read_place(const struct aws_model *model, const json_t *item, struct other *other, struct err *err)
{
	const char *instance = NULL, *subnet = NULL;

	if (json_get_str_opt(item, DOMAIN, "instance", &instance, err) < 0 ||
	    json_get_str_opt(item, DOMAIN, "subnet", &subnet, err) < 0 ||
	    json_get_int_opt(item, DOMAIN, "device_index", 1, AWS_DEVICE_MAX, &other->device, err) < 0 ||
	    json_get_int_opt(item, DOMAIN, "card", 0, AWS_CARDS_MAX - 1, &other->card, err) < 0)
		return -1;
	other->instance = instance ? aws_instance_find(model, instance) : NULL;
	if (instance && !other->instance)
		return err_set(err, ERR_NOTFOUND, DOMAIN, "no instance %s", instance);
	other->create.subnet = subnet            ? aws_subnet_find(model, subnet)
			       : other->instance ? other->instance->subnet
						 : model->subnets[0];
	return other->create.subnet ? 0 : err_set(err, ERR_NOTFOUND, DOMAIN, "no subnet %s", subnet ? subnet : "");
}

static int read_other(const struct aws_model *model, const json_t *item, struct other *other, struct err *err)
{
	struct aws_create *create = &other->create;
	const char *primary = NULL;
	json_t *tags = NULL;

	if (read_place(model, item, other, err) < 0 || json_get_str_opt(item, DOMAIN, "primary", &primary, err) < 0 ||
	    json_get_str_opt(item, DOMAIN, "type", &create->type, err) < 0 ||
	    json_get_str_opt(item, DOMAIN, "description", &create->description, err) < 0 ||
	    json_get_str_opt(item, DOMAIN, "operator", &other->operator_, err) < 0 ||
	    json_get_bool_opt(item, DOMAIN, "managed", &create->managed, err) < 0 ||
	    json_get_bool_opt(item, DOMAIN, "hidden", &other->hidden, err) < 0 ||
	    json_get_obj_opt(item, DOMAIN, "tags", &tags, err) < 0 ||
	    read_count(item, "secondary", &create->v4.addr_count, err) < 0 ||
	    read_count(item, "prefixes", &create->v4.prefix_count, err) < 0 ||
	    read_count(item, "secondary6", &create->v6.addr_count, err) < 0 ||
	    read_count(item, "prefixes6", &create->v6.prefix_count, err) < 0)
		return -1;
	create->tags = tags;
	if (primary && ipaddr_parse(primary, &create->primary) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "%s is no address", primary);
	return 0;
}

static int free_device(const struct aws_model *model, struct other *other, struct err *err)
{
	for (int64_t i = 1; other->device < 0 && i <= AWS_DEVICE_MAX; i++)
		if (!aws_nic_at(model, other->instance, (unsigned)other->card, (unsigned)i))
			other->device = i;
	return other->device < 0
		       ? err_set(err, ERR_CONFLICT, DOMAIN, "no free device index on %s", other->instance->name)
		       : 0;
}

static int make(struct aws_model *model, const struct other *other, int64_t now_us, struct aws_nic **ret,
		struct err *err)
{
	struct ec2_err refused;
	struct aws_nic *nic;

	if (aws_nic_create(model, &other->create, now_us, &nic, &refused) < 0)
		return err_set(err, ERR_CONFLICT, DOMAIN, "%s: %s", refused.code, refused.message);
	if (other->instance && aws_nic_attach(model, nic, other->instance, (unsigned)other->card,
					      (unsigned)other->device, now_us, &refused) < 0) {
		struct ec2_err ignored;

		nic->managed = false;
		(void)aws_nic_delete(model, nic, now_us, &ignored);
		return err_set(err, ERR_CONFLICT, DOMAIN, "%s: %s", refused.code, refused.message);
	}
	(void)str_copy(nic->operator_, sizeof(nic->operator_), other->operator_ ? other->operator_ : "");
	nic->hidden = other->hidden;
	*ret = nic;
	return 0;
}

int aws_other_nic(struct aws_model *model, const struct json_t *item, int64_t now_us, struct aws_nic **ret,
		  struct err *err)
{
	struct other other = { .create = { .v4 = { .family = IP_V4 },
					   .v6 = { .family = IP_V6 },
					   .description = "foreign",
					   .groups = { model->groups[0] },
					   .group_count = 1 },
			       .device = -1 };
	int64_t attach_ms = model->timings.attach_ms, create_ms = model->timings.create_ms;
	int rc;

	if (read_other(model, item, &other, err) < 0 || (other.instance && free_device(model, &other, err) < 0))
		return -1;
	/* It is there, and how long that took is nobody's business. */
	model->timings.attach_ms = model->timings.create_ms = 0;
	rc = make(model, &other, now_us, ret, err);
	model->timings.attach_ms = attach_ms;
	model->timings.create_ms = create_ms;
	return rc;
}
