/* SPDX-License-Identifier: Apache-2.0 */
#include "model.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "berth/clock.h"
#include "berth/str.h"
#include "types.h"

#define HEX "0123456789abcdef"

/* How long before its end metadata replaces a set of credentials: AWS publishes new ones 5 min before. */
#define ROTATE_BEFORE_US (300 * USEC_PER_SEC)

static const char *const status_names[] = { [AWS_NIC_PENDING] = "pending",
					    [AWS_NIC_AVAILABLE] = "available",
					    [AWS_NIC_ATTACHING] = "attaching",
					    [AWS_NIC_IN_USE] = "in-use",
					    [AWS_NIC_DETACHING] = "detaching" };
static_assert(ARRAY_SIZE(status_names) == AWS_NIC_STATUS_COUNT, "one name per status");

const char *aws_nic_status_name(enum aws_nic_status status)
{
	return status < AWS_NIC_STATUS_COUNT ? status_names[status] : "?";
}

int ec2_refuse(struct ec2_err *err, unsigned status, const char *code, const char *fmt, ...)
{
	va_list ap;

	*err = (struct ec2_err){ .status = status };
	(void)str_copy(err->code, sizeof(err->code), code);
	va_start(ap, fmt);
	(void)vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	return -1;
}

void aws_id_new(struct aws_model *model, const char *kind, char ret[static AWS_ID_LEN])
{
	char hex[17];

	prng_chars(&model->prng, HEX, 16, hex, 16);
	(void)snprintf(ret, AWS_ID_LEN, "%s-0%s", kind, hex);
}

/* ---- life ---- */

struct aws_model *aws_model_new(void)
{
	_cleanup_free_ struct aws_model *model = calloc(1, sizeof(*model));

	if (!model)
		return NULL;
	model->tokens = calloc(AWS_TOKENS_MAX, sizeof(*model->tokens));
	if (!model->tokens)
		return NULL;
	model->nic_quota = AWS_NICS_MAX;
	model->role_lifetime_us = INT64_C(6) * 3600 * USEC_PER_SEC;
	model->agent_lifetime_us = INT64_C(6) * 3600 * USEC_PER_SEC;
	model->type_count = aws_types_builtin(model->types, AWS_TYPES_MAX);
	return take_ptr(model);
}

static void face_done(struct aws_face *face)
{
	json_decref(face->tags);
}

static void nic_free(struct aws_nic *nic)
{
	for (unsigned i = 0; i < nic->history_count; i++) {
		face_done(&nic->history[i]->face);
		free(nic->history[i]);
	}
	face_done(&nic->face);
	free(nic);
}

void aws_model_free(struct aws_model *model)
{
	if (!model)
		return;
	for (unsigned i = 0; i < model->nic_count; i++)
		nic_free(model->nics[i]);
	for (unsigned i = 0; i < model->instance_count; i++) {
		json_decref(model->instances[i]->tags);
		free(model->instances[i]);
	}
	for (unsigned i = 0; i < model->group_count; i++) {
		json_decref(model->groups[i]->tags);
		free(model->groups[i]);
	}
	for (unsigned i = 0; i < model->subnet_count; i++) {
		addrpool_done(&model->subnets[i]->pool);
		json_decref(model->subnets[i]->tags);
		free(model->subnets[i]);
	}
	for (unsigned i = 0; i < model->cred_count; i++)
		free(model->creds[i].token);
	for (unsigned i = 0; i < model->identity_count; i++)
		free(model->identities[i].token);
	free(model->agent_token);
	for (unsigned i = 0; i < model->token_count; i++) {
		free(model->tokens[i].token);
		free(model->tokens[i].request);
	}
	free(model->tokens);
	json_decref(model->vpc.tags);
	json_decref(model->timings.call_ms);
	free(model);
}

/* ---- finding ---- */

struct aws_subnet *aws_subnet_find(const struct aws_model *model, const char *id)
{
	for (unsigned i = 0; i < model->subnet_count; i++)
		if (str_equal(model->subnets[i]->id, id))
			return model->subnets[i];
	return NULL;
}

struct aws_group *aws_group_find(const struct aws_model *model, const char *id)
{
	for (unsigned i = 0; i < model->group_count; i++)
		if (str_equal(model->groups[i]->id, id))
			return model->groups[i];
	return NULL;
}

struct aws_instance *aws_instance_find(const struct aws_model *model, const char *id_or_name)
{
	for (unsigned i = 0; i < model->instance_count; i++)
		if (str_equal(model->instances[i]->id, id_or_name) || str_equal(model->instances[i]->name, id_or_name))
			return model->instances[i];
	return NULL;
}

const struct aws_type *aws_type_find(const struct aws_model *model, const char *name)
{
	for (unsigned i = 0; i < model->type_count; i++)
		if (str_equal(model->types[i].name, name))
			return &model->types[i];
	return NULL;
}

struct aws_nic *aws_nic_find(const struct aws_model *model, const char *id)
{
	for (unsigned i = 0; i < model->nic_count; i++)
		if (!model->nics[i]->face.dead && str_equal(model->nics[i]->id, id))
			return model->nics[i];
	return NULL;
}

bool aws_nic_not_ours(const struct aws_nic *nic)
{
	return nic->managed || nic->operator_[0];
}

struct aws_nic *aws_nic_find_attachment(const struct aws_model *model, const char *attachment)
{
	for (unsigned i = 0; i < model->nic_count; i++)
		if (model->nics[i]->face.instance && str_equal(model->nics[i]->face.attachment, attachment))
			return model->nics[i];
	return NULL;
}

struct aws_nic *aws_nic_at(const struct aws_model *model, const struct aws_instance *instance, unsigned card,
			   unsigned device)
{
	for (unsigned i = 0; i < model->nic_count; i++) {
		const struct aws_face *face = &model->nics[i]->face;

		if (face->instance == instance && face->card == card && face->device == device)
			return model->nics[i];
	}
	return NULL;
}

/* ---- credentials ---- */

struct aws_creds *aws_creds_find(struct aws_model *model, const char *access_key)
{
	for (unsigned i = 0; i < model->cred_count; i++)
		if (str_equal(model->creds[i].access_key, access_key))
			return &model->creds[i];
	return NULL;
}

const struct aws_creds *aws_creds_mint(struct aws_model *model, int64_t lifetime_us, int64_t wall_us)
{
	static const char upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct aws_creds creds = { .made_us = wall_us, .expiry_us = wall_us + lifetime_us };

	creds.token = calloc(1, 345);
	if (!creds.token)
		return NULL;
	(void)str_copy(creds.access_key, sizeof(creds.access_key), "ASIA");
	prng_chars(&model->prng, upper, 32, creds.access_key + 4, 16);
	prng_chars(&model->prng, base64, 64, creds.secret, 40);
	(void)str_copy(creds.token, 345, "IQoJb3JpZ2luX2VjE");
	prng_chars(&model->prng, base64, 64, creds.token + 17, 325);
	(void)str_copy(creds.token + 342, 3, "==");
	if (model->cred_count == AWS_CREDS_MAX) {
		free(model->creds[0].token);
		model->cred_count--;
		memmove(&model->creds[0], &model->creds[1], model->cred_count * sizeof(creds));
	}
	model->creds[model->cred_count] = creds;
	return &model->creds[model->cred_count++];
}

/* Those of @key, or new ones, whose key is then in there, when they are about to end. */
static const struct aws_creds *creds_rotate(struct aws_model *model, char key[static AWS_NAME_LEN], int64_t lifetime_us,
					    int64_t wall_us)
{
	int64_t before = lifetime_us / 4 < ROTATE_BEFORE_US ? lifetime_us / 4 : ROTATE_BEFORE_US;
	const struct aws_creds *creds = key[0] ? aws_creds_find(model, key) : NULL;

	if (creds && (!creds->expiry_us || creds->expiry_us - before > wall_us))
		return creds;
	creds = aws_creds_mint(model, lifetime_us, wall_us);
	if (creds)
		(void)str_copy(key, AWS_NAME_LEN, creds->access_key);
	return creds;
}

const struct aws_creds *aws_creds_role(struct aws_model *model, int64_t wall_us)
{
	return creds_rotate(model, model->role_key, model->role_lifetime_us, wall_us);
}

const struct aws_creds *aws_creds_agent(struct aws_model *model, int64_t wall_us)
{
	return creds_rotate(model, model->agent_key, model->agent_lifetime_us, wall_us);
}

/* ---- faces ---- */

const struct aws_face *aws_view(const struct aws_nic *nic, int64_t now_us, int64_t lag_us)
{
	int64_t at_us = now_us - lag_us;
	const struct aws_face *face = &nic->face;

	if (lag_us > 0) {
		if (at_us < nic->created_us)
			return NULL;
		for (unsigned i = nic->history_count; i > 0 && nic->history[i - 1]->until_us > at_us; i--)
			face = &nic->history[i - 1]->face;
	}
	return face->dead ? NULL : face;
}

static int64_t max_lag_us(const struct aws_model *model)
{
	int64_t a = model->timings.imds_lag_ms, b = model->timings.describe_lag_ms;

	return (a > b ? a : b) * USEC_PER_MSEC;
}

static void history_drop_oldest(struct aws_nic *nic)
{
	face_done(&nic->history[0]->face);
	free(nic->history[0]);
	nic->history_count--;
	memmove(&nic->history[0], &nic->history[1], nic->history_count * sizeof(nic->history[0]));
}

int aws_change(struct aws_model *model, struct aws_nic *nic, int64_t now_us)
{
	int64_t lag_us = max_lag_us(model);
	struct aws_old_face *old;

	while (nic->history_count && nic->history[0]->until_us < now_us - lag_us)
		history_drop_oldest(nic);
	if (!lag_us)
		return 0;
	if (nic->history_count == AWS_HISTORY_MAX)
		history_drop_oldest(nic);
	old = malloc(sizeof(*old));
	if (!old)
		return -ENOMEM;
	*old = (struct aws_old_face){ .until_us = now_us, .face = nic->face };
	old->face.tags = json_deep_copy(nic->face.tags);
	nic->history[nic->history_count++] = old;
	return 0;
}

/* ---- transitions ---- */

static void become_due(struct aws_nic *nic, enum aws_due due, int64_t due_us)
{
	nic->due = due;
	nic->due_us = due_us;
}

static void transition(struct aws_model *model, struct aws_nic *nic)
{
	enum aws_due due = nic->due;

	(void)aws_change(model, nic, nic->due_us);
	become_due(nic, AWS_DUE_NOTHING, 0);
	switch (due) {
	case AWS_DUE_NOTHING:
		break;
	case AWS_DUE_CREATED:
		nic->face.status = AWS_NIC_AVAILABLE;
		break;
	case AWS_DUE_ATTACHED:
		nic->face.status = AWS_NIC_IN_USE;
		aws_net_attach(model, nic);
		break;
	case AWS_DUE_DETACHED:
		aws_net_detach(model, nic);
		nic->face.status = AWS_NIC_AVAILABLE;
		nic->face.instance = NULL;
		nic->face.attachment[0] = '\0';
		break;
	}
}

/* A deleted NIC stays as long as somebody with a lag may still be shown it. */
static void bury(struct aws_model *model, int64_t now_us)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < model->nic_count; i++) {
		struct aws_nic *nic = model->nics[i];
		int64_t died_us = nic->history_count ? nic->history[nic->history_count - 1]->until_us : INT64_MIN;

		if (nic->face.dead && (!nic->history_count || died_us < now_us - max_lag_us(model)))
			nic_free(nic);
		else
			model->nics[kept++] = nic;
	}
	model->nic_count = kept;
}

int64_t aws_model_advance(struct aws_model *model, int64_t now_us)
{
	int64_t next_us = INT64_MAX;

	for (unsigned i = 0; i < model->nic_count; i++) {
		struct aws_nic *nic = model->nics[i];

		if (nic->due != AWS_DUE_NOTHING && nic->due_us <= now_us)
			transition(model, nic);
		if (nic->due != AWS_DUE_NOTHING && nic->due_us < next_us)
			next_us = nic->due_us;
	}
	bury(model, now_us);
	return next_us;
}

/* ---- attach, detach, delete ---- */

static unsigned nics_of(const struct aws_model *model, const struct aws_instance *instance, unsigned card)
{
	unsigned count = 0;

	for (unsigned i = 0; i < model->nic_count; i++)
		if (model->nics[i]->face.instance == instance && model->nics[i]->face.card == card)
			count++;
	return count;
}

static int attach_check(const struct aws_model *model, const struct aws_nic *nic, const struct aws_instance *instance,
			unsigned card, unsigned device, struct ec2_err *err)
{
	const struct aws_type *type = instance->type;
	const struct aws_units *v4 = &nic->face.v4, *v6 = &nic->face.v6;
	unsigned count = nics_of(model, instance, card);

	if (nic->face.instance)
		return ec2_refuse(err, 400, "InvalidNetworkInterface.InUse", "Interface: [%s] in use.", nic->id);
	if (!str_equal(instance->state, "running") && !str_equal(instance->state, "stopped"))
		return ec2_refuse(err, 400, "IncorrectState", "Instance '%s' is not 'running'.", instance->id);
	if (!str_equal(nic->subnet->az, instance->subnet->az))
		return ec2_refuse(err, 400, "InvalidParameterCombination",
				  "You may not attach a network interface to an instance if they are not in the same "
				  "availability zone");
	if (card >= type->cards)
		return ec2_refuse(err, 400, "InvalidParameterValue", "Network card index %u exceeds the limit for %s.",
				  card, type->name);
	if (aws_nic_at(model, instance, card, device))
		return ec2_refuse(err, 400, "InvalidParameterValue",
				  "Instance '%s' already has an interface attached at device index '%u'.", instance->id,
				  device);
	if (count >= type->nics)
		return ec2_refuse(err, 400, "AttachmentLimitExceeded", "Interface count %u exceeds the limit for %s",
				  count + 1, type->name);
	if (v4->addr_count + v4->prefix_count > type->nic_units || v6->addr_count + v6->prefix_count > type->nic_units)
		return ec2_refuse(err, 400, "PrivateIpAddressLimitExceeded",
				  "Number of private addresses will exceed limit.");
	if ((v4->prefix_count || v6->prefix_count) && str_equal(type->hypervisor, "xen"))
		return ec2_refuse(err, 400, "UnsupportedOperation", "Instance type %s does not support prefixes.",
				  type->name);
	return 0;
}

int aws_nic_attach(struct aws_model *model, struct aws_nic *nic, struct aws_instance *instance, unsigned card,
		   unsigned device, int64_t now_us, struct ec2_err *err)
{
	if (attach_check(model, nic, instance, card, device, err) < 0)
		return -1;
	if (aws_change(model, nic, now_us) < 0)
		return ec2_refuse(err, 500, "InternalError", "An internal error has occurred");
	nic->face.status = AWS_NIC_ATTACHING;
	nic->face.instance = instance;
	nic->face.card = card;
	nic->face.device = device;
	nic->face.delete_on_termination = false;
	nic->face.attach_wall_us = clock_now(&clock_wall);
	aws_id_new(model, nic->managed ? "ela-attach" : "eni-attach", nic->face.attachment);
	become_due(nic, AWS_DUE_ATTACHED, now_us + model->timings.attach_ms * USEC_PER_MSEC);
	if (!model->timings.attach_ms)
		transition(model, nic);
	return 0;
}

int aws_nic_detach(struct aws_model *model, struct aws_nic *nic, int64_t now_us, struct ec2_err *err)
{
	assert(nic->face.instance);
	if (nic->managed)
		return ec2_refuse(err, 400, "OperationNotPermitted",
				  "You are not allowed to manage 'ela-attach' attachments.");
	if (nic->operator_[0])
		return ec2_refuse(err, 400, "OperationNotPermitted",
				  "The operation is not permitted on a resource that is managed by %s.",
				  nic->operator_);
	if (nic->face.device == 0)
		return ec2_refuse(
			err, 400, "OperationNotPermitted",
			"The network interface at device index 0 and networkCard index %u cannot be detached.",
			nic->face.card);
	if (nic->face.status == AWS_NIC_DETACHING)
		return ec2_refuse(err, 400, "IncorrectState", "Attachment '%s' is already being detached.",
				  nic->face.attachment);
	if (aws_change(model, nic, now_us) < 0)
		return ec2_refuse(err, 500, "InternalError", "An internal error has occurred");
	nic->face.status = AWS_NIC_DETACHING;
	become_due(nic, AWS_DUE_DETACHED, now_us + model->timings.detach_ms * USEC_PER_MSEC);
	if (!model->timings.detach_ms)
		transition(model, nic);
	return 0;
}

int aws_nic_delete(struct aws_model *model, struct aws_nic *nic, int64_t now_us, struct ec2_err *err)
{
	if (nic->face.instance)
		return ec2_refuse(err, 400, "InvalidParameterValue", "Network interface '%s' is currently in use.",
				  nic->id);
	if (aws_nic_not_ours(nic))
		return ec2_refuse(err, 400, "OperationNotPermitted",
				  "You do not have permission to access the specified resource.");
	if (aws_change(model, nic, now_us) < 0)
		return ec2_refuse(err, 500, "InternalError", "An internal error has occurred");
	aws_units_give(nic->subnet, &nic->face.v4);
	nic->face.dead = true;
	become_due(nic, AWS_DUE_NOTHING, 0);
	return 0;
}

/* ---- create ---- */

static bool mac_in_use(const struct aws_model *model, const struct macaddr *mac)
{
	for (unsigned i = 0; i < model->nic_count; i++)
		if (!model->nics[i]->face.dead && macaddr_equal(&model->nics[i]->mac, mac))
			return true;
	return false;
}

static void mac_pick(struct aws_model *model, struct macaddr *mac)
{
	static const struct macaddr any;

	if (!macaddr_equal(mac, &any))
		return;
	do {
		uint64_t bits = prng_next(&model->prng);

		memcpy(mac->bytes, &bits, sizeof(mac->bytes));
		mac->bytes[0] = 0x02; /* local, unicast: as every EC2 address */
	} while (mac_in_use(model, mac));
}

static int primary_take(struct aws_model *model, struct aws_subnet *subnet, struct aws_nic *nic,
			const struct ipaddr *primary, struct ec2_err *err)
{
	struct aws_want want = { .family = IP_V4, .addr_count = 1 };

	if (primary->family != IP_NONE)
		want = (struct aws_want){ .family = IP_V4, .explicit_ = { .addr_count = 1, .addrs = { *primary } } };
	return aws_units_take(model, subnet, &want, &nic->face.v4, err);
}

static void units_append(struct aws_units *units, const struct aws_units *more)
{
	assert(units->addr_count + more->addr_count <= AWS_NIC_UNITS_MAX);
	assert(units->prefix_count + more->prefix_count <= AWS_NIC_UNITS_MAX);
	for (unsigned i = 0; i < more->addr_count; i++)
		units->addrs[units->addr_count++] = more->addrs[i];
	for (unsigned i = 0; i < more->prefix_count; i++)
		units->prefixes[units->prefix_count++] = more->prefixes[i];
}

static int create_units(struct aws_model *model, struct aws_nic *nic, const struct aws_create *want,
			struct ec2_err *err)
{
	struct aws_units more;

	if (aws_want_count(&want->v4) >= AWS_NIC_UNITS_MAX || aws_want_count(&want->v6) > AWS_NIC_UNITS_MAX)
		return ec2_refuse(err, 400, "PrivateIpAddressLimitExceeded",
				  "Number of private addresses will exceed limit.");
	if (primary_take(model, want->subnet, nic, &want->primary, err) < 0)
		return -1;
	if (aws_units_take(model, want->subnet, &want->v4, &more, err) < 0) {
		aws_units_give(want->subnet, &nic->face.v4);
		return -1;
	}
	units_append(&nic->face.v4, &more);
	if (aws_want_count(&want->v6) && aws_units_take(model, want->subnet, &want->v6, &nic->face.v6, err) < 0) {
		aws_units_give(want->subnet, &nic->face.v4);
		return -1;
	}
	return 0;
}

int aws_nic_create(struct aws_model *model, const struct aws_create *want, int64_t now_us, struct aws_nic **ret,
		   struct ec2_err *err)
{
	_cleanup_free_ struct aws_nic *nic = calloc(1, sizeof(*nic));
	json_t *tags = want->tags ? json_deep_copy(want->tags) : json_object();

	if (!nic || !tags) {
		json_decref(tags);
		return ec2_refuse(err, 500, "InternalError", "An internal error has occurred");
	}
	if (model->nic_count >= model->nic_quota || model->nic_count == AWS_NICS_MAX) {
		json_decref(tags);
		return ec2_refuse(err, 400, "NetworkInterfaceLimitExceeded",
				  "You have reached the maximum number of network interfaces for this account.");
	}
	if (create_units(model, nic, want, err) < 0) {
		json_decref(tags);
		return -1;
	}
	nic->seq = ++model->next_seq;
	aws_id_new(model, "eni", nic->id);
	nic->mac = want->mac;
	mac_pick(model, &nic->mac);
	nic->subnet = want->subnet;
	nic->managed = want->managed;
	(void)str_copy(nic->type, sizeof(nic->type), want->type ? want->type : "interface");
	nic->created_us = now_us;
	nic->face.tags = tags;
	nic->face.source_dest_check = true;
	(void)str_copy(nic->face.description, sizeof(nic->face.description),
		       want->description ? want->description : "");
	memcpy(nic->face.groups, want->groups, sizeof(nic->face.groups));
	nic->face.group_count = want->group_count;
	nic->face.status = AWS_NIC_PENDING;
	become_due(nic, AWS_DUE_CREATED, now_us + model->timings.create_ms * USEC_PER_MSEC);
	model->nics[model->nic_count++] = nic;
	*ret = take_ptr(nic);
	return 0;
}

int aws_model_boot(struct aws_model *model, struct aws_instance *instance, const struct macaddr *mac,
		   const struct ipaddr *primary, const struct prefix *more, unsigned more_count, struct ec2_err *err)
{
	struct aws_create want = { .subnet = instance->subnet,
				   .mac = *mac,
				   .primary = *primary,
				   .groups = { model->groups[0] },
				   .group_count = model->group_count ? 1 : 0,
				   .v4 = { .family = IP_V4 } };
	struct aws_nic *nic;

	for (unsigned i = 0; i < more_count && i < AWS_NIC_UNITS_MAX; i++) {
		if (more[i].len == 32)
			want.v4.explicit_.addrs[want.v4.explicit_.addr_count++] = more[i].addr;
		else
			want.v4.explicit_.prefixes[want.v4.explicit_.prefix_count++] = more[i];
	}
	if (instance->subnet->cidr6.addr.family == IP_V6)
		want.v6 = (struct aws_want){ .family = IP_V6, .addr_count = 1 };
	if (aws_nic_create(model, &want, 0, &nic, err) < 0)
		return -1;
	nic->face.status = AWS_NIC_IN_USE;
	nic->face.instance = instance;
	nic->face.delete_on_termination = true;
	nic->face.attach_wall_us = clock_now(&clock_wall);
	aws_id_new(model, "eni-attach", nic->face.attachment);
	become_due(nic, AWS_DUE_NOTHING, 0);
	nic->created_us = INT64_MIN / 2; /* older than any lag */
	aws_net_attach(model, nic);
	return 0;
}
